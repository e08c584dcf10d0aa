//! Models of `Event` (EVT).

use crate::model::{Data, Doomed, INTERRUPTIBLE, SOON, check, check_limited, check_spurious};
use threadbare::raw::event::RawEvent;
use threadbare::raw::park::{GaveUp, Limit};

struct Flagged {
    event: RawEvent,
    data: Data,
}

impl Flagged {
    fn new() -> Flagged {
        Flagged {
            event: RawEvent::new(),
            data: Data::new(),
        }
    }

    /// Writes, then sets.
    fn publish(&self) {
        self.data.add(1);
        self.event.set();
    }

    fn wait(&self) {
        self.event.wait(Limit::NONE).unwrap();
    }
}

#[test]
fn evt_3_set_lets_both_waiters_go() {
    check(
        3,
        Flagged::new,
        [Flagged::publish, Flagged::wait, Flagged::wait],
        |flagged, _| assert!(flagged.event.is_set()),
    );
}

#[test]
fn evt_2_a_wait_lasts_until_the_flag_is_set() {
    check_spurious(
        3,
        Flagged::new,
        [Flagged::publish, |flagged| {
            flagged.wait();
            assert!(flagged.event.is_set());
        }],
        |_, _| {},
    );
}

#[test]
fn evt_4_set_then_clear_frees_waiters() {
    check(
        3,
        Flagged::new,
        [
            |flagged: &Flagged| {
                let is_present = flagged.event.has_waiters();
                flagged.event.set();
                if is_present {
                    flagged.event.clear();
                }
            },
            Flagged::wait,
        ],
        |_, _| {},
    );
}

#[test]
fn mem_2_who_sees_the_flag_sees_what_was_before_set() {
    check(
        3,
        Flagged::new,
        [Flagged::publish, |flagged| {
            if flagged.event.is_set() {
                assert_eq!(flagged.data.get(), 1);
            }
        }],
        |_, _| {},
    );
}

#[test]
fn mem_2_a_wait_sees_what_was_before_set_though_the_flag_is_cleared() {
    check_limited(
        3,
        Flagged::new,
        [
            Flagged::publish,
            |flagged| flagged.event.clear(),
            |flagged| {
                if flagged.event.wait(SOON).is_ok() {
                    assert_eq!(flagged.data.get(), 1);
                }
            },
        ],
        |_, _| {},
    );
}

#[test]
fn evt_5_a_timeout_racing_set_loses_no_wake() {
    check_limited(
        3,
        Flagged::new,
        [
            |flagged: &Flagged| {
                flagged.event.set();
                Ok(())
            },
            |flagged| flagged.event.wait(SOON),
            |flagged| flagged.event.wait(Limit::NONE),
        ],
        |flagged, [_, _, untimed]| {
            assert_eq!(untimed, Ok(()));
            assert!(flagged.event.is_set());
        },
    );
}

#[test]
fn evt_7_clear_racing_set_strands_no_waiter() {
    check(
        3,
        Flagged::new,
        [
            |flagged: &Flagged| {
                flagged.event.clear();
                flagged.event.set();
            },
            |flagged| flagged.event.set(),
            Flagged::wait,
        ],
        |flagged, _| assert!(flagged.event.is_set()),
    );
}

#[test]
fn event_a_waiter_that_saw_the_flag_may_destroy_it() {
    check(
        3,
        || Doomed::new(Flagged::new()),
        [
            |flagged: &Doomed<Flagged>| flagged.publish(),
            |flagged| {
                flagged.wait();
                flagged.destroy();
            },
        ],
        |_, _| {},
    );
}

#[test]
fn evt_5_an_interruption_racing_set_loses_no_wake() {
    check_limited(
        3,
        Flagged::new,
        [
            |flagged: &Flagged| {
                flagged.publish();
                Ok(())
            },
            |flagged| flagged.event.wait(INTERRUPTIBLE),
            |flagged| flagged.event.wait(Limit::NONE),
        ],
        |_, [_, interrupted, untimed]| {
            assert_ne!(interrupted, Err(GaveUp::TimedOut));
            assert_eq!(untimed, Ok(()));
        },
    );
}

#[test]
fn event_who_saw_the_flag_at_its_deadline_may_destroy_it() {
    check_limited(
        3,
        || Doomed::new(Flagged::new()),
        [
            |flagged: &Doomed<Flagged>| {
                flagged.publish();
                Ok(())
            },
            |flagged| {
                let waited = flagged.event.wait(SOON);
                if waited.is_err() {
                    flagged.wait(); // `set` is still to come
                }
                flagged.destroy();
                waited
            },
        ],
        |_, _| {},
    );
}
