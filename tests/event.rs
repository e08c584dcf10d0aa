//! `Event` (EVT, MEM-2, REPR-2).
#![cfg(not(threadbare_model))]

mod common;

use common::{
    LONG, Rng, SHORT, TOO_LONG, Unsynchronized, after, check_destroyed_by_the_last_user, is_asleep,
    spawn, threads, until, until_nearly, watchdog,
};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;
use std::time::{Duration, Instant};
use threadbare::{Deadline, Error, Event, TIMEOUT_MAX};

const fn shared_and_sent<T: Send + Sync>() {}
const _: () = shared_and_sent::<Event>();
const _: () = assert!(size_of::<Event>() == 4 && align_of::<Event>() == 4);

/// A named way to wait; returns whether the flag was set.
type Form = (&'static str, fn(&Event) -> bool);

/// The forms that wait until the flag is set.
const PATIENT: [Form; 7] = [
    ("wait", |event| {
        event.wait();
        true
    }),
    ("timeout", |event| event.wait_timeout(LONG).unwrap()),
    ("TIMEOUT_MAX", |event| {
        event.wait_timeout(TIMEOUT_MAX).unwrap()
    }),
    ("until", |event| event.wait_until(after(LONG))),
    ("until never", |event| event.wait_until(Deadline::NEVER)),
    ("interruptible", |event| {
        event.wait_interruptible(after(LONG)).unwrap()
    }),
    ("interruptible never", |event| {
        event.wait_interruptible(Deadline::NEVER).unwrap()
    }),
];

/// The forms that only look.
const IMPATIENT: [Form; 4] = [
    ("timeout 0", |event| {
        event.wait_timeout(Duration::ZERO).unwrap()
    }),
    ("until now", |event| event.wait_until(Deadline::now())),
    ("until a past point", |event| {
        let past = after(Duration::from_nanos(1));
        until(|| past.has_passed());
        event.wait_until(past)
    }),
    ("interruptible now", |event| {
        event.wait_interruptible(Deadline::now()).unwrap()
    }),
];

/// The forms that give up, after `SHORT`.
const EXPIRING: [Form; 3] = [
    ("timeout", |event| event.wait_timeout(SHORT).unwrap()),
    ("until", |event| event.wait_until(after(SHORT))),
    ("interruptible", |event| {
        event.wait_interruptible(after(SHORT)).unwrap()
    }),
];

#[test]
fn evt_1_set_and_clear_are_idempotent() {
    static EVENT: Event = Event::new();
    for event in [&EVENT, &Event::default()] {
        assert!(!event.is_set() && !event.has_waiters());
        for _ in 0..2 {
            event.clear();
            event.clear();
            assert!(!event.is_set());
            event.set();
            assert!(event.is_set());
            event.set();
            assert!(event.is_set());
            event.clear();
            assert!(!event.is_set());
        }
    }
}

#[test]
fn evt_2_and_7_every_form_returns_at_once_while_the_flag_is_set() {
    let _watchdog = watchdog();
    let event = Event::new();
    event.set();
    for _ in 0..2 {
        for (name, form) in PATIENT.into_iter().chain(IMPATIENT).chain(EXPIRING) {
            assert!(form(&event), "{name}");
        }
    }
    event.clear();
    for (name, form) in IMPATIENT {
        assert!(!form(&event), "{name}");
    }
}

#[test]
fn evt_3_set_wakes_all_who_wait_in_whatever_form() {
    let _watchdog = watchdog();
    let event = Event::new();
    for _ in 0..3 {
        thread::scope(|s| {
            let waiters = PATIENT.map(|(name, form)| {
                let event = &event;
                (name, spawn(s, move || form(event)))
            });
            for (name, waiter) in &waiters {
                waiter.until_asleep_in(&event);
                assert!(!waiter.is_finished(), "{name}");
            }
            assert!(event.has_waiters());
            event.set();
            for (name, waiter) in waiters {
                assert!(waiter.join(), "{name}");
            }
        });
        assert!(event.is_set());
        event.clear();
    }
}

#[test]
fn evt_3_one_hundred_waiters_are_all_woken() {
    let _watchdog = watchdog();
    let event = Event::new();
    thread::scope(|s| {
        let waiters: Vec<_> = (0..100).map(|_| spawn(s, || event.wait())).collect();
        for waiter in &waiters {
            waiter.until_asleep_in(&event);
        }
        event.set();
    });
}

#[test]
fn evt_4_set_then_clear_frees_waiters() {
    let _watchdog = watchdog();
    let event = Event::new();
    for _ in 0..20 {
        thread::scope(|s| {
            let waiters = PATIENT.map(|(name, form)| {
                let event = &event;
                (name, spawn(s, move || form(event)))
            });
            for (_, waiter) in &waiters {
                waiter.until_asleep_in(&event);
            }
            event.set();
            event.clear();
            for (name, waiter) in waiters {
                assert!(waiter.join(), "{name}");
            }
        });
        assert!(!event.is_set());
    }
}

#[test]
fn evt_4_a_storm_of_set_and_clear_loses_nobody() {
    let _watchdog = watchdog();
    const PULSES: usize = 300;
    let event = Event::new();
    let (freed, cleared) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let stop = AtomicBool::new(false);
    thread::scope(|s| {
        // Each waits, without limit, once in each pulse.
        let waiters = [(); 4].map(|()| {
            spawn(s, || {
                for pulse in 1..=PULSES {
                    event.wait();
                    freed.fetch_add(1, SeqCst);
                    until(|| cleared.load(SeqCst) == pulse);
                }
            })
        });
        // Others come and go, with timeouts, and clear in between.
        for _ in 0..2 {
            s.spawn(|| {
                let mut rng = Rng::new();
                while !stop.load(Relaxed) {
                    let _ = event.wait_timeout(rng.timeout()).unwrap();
                    event.clear();
                }
            });
        }
        for pulse in 1..=PULSES {
            for waiter in &waiters {
                waiter.until_asleep_in(&event);
            }
            event.set();
            event.clear();
            until(|| freed.load(SeqCst) == pulse * 4);
            cleared.store(pulse, SeqCst);
        }
        stop.store(true, Relaxed);
    });
    assert_eq!(freed.into_inner(), PULSES * 4);
}

#[test]
fn evt_5_false_only_when_the_time_is_up_without_a_set() {
    let _watchdog = watchdog();
    let event = Event::new();
    for (name, form) in EXPIRING {
        let start = Instant::now();
        assert!(!form(&event), "{name}");
        assert!(start.elapsed() >= SHORT, "{name} ended early");
    }
}

#[test]
fn evt_5_a_set_that_comes_when_the_time_is_nearly_up_counts() {
    let _watchdog = watchdog();
    let event = Event::new();
    for round in 0..200_u64 {
        let deadline = after(Duration::from_millis(2));
        thread::scope(|s| {
            let waiter = spawn(s, || event.wait_until(deadline));
            let tid = waiter.tid();
            until(|| is_asleep(tid) || deadline.has_passed());
            let early = Duration::from_micros(round % 20 * 10);
            until_nearly(deadline, early);
            event.set();
            let in_time = !deadline.has_passed();
            event.clear();
            assert!(waiter.join() || !in_time);
        });
    }
}

#[test]
fn evt_6_a_timeout_of_zero_asks_for_the_flag() {
    let _watchdog = watchdog();
    let event = Event::new();
    for (name, form) in IMPATIENT {
        assert!(!form(&event), "{name}");
        event.set();
        assert!(form(&event), "{name}");
        event.clear();
    }
}

#[test]
fn evt_7_a_clear_does_not_disturb_those_who_wait() {
    let _watchdog = watchdog();
    let event = Event::new();
    thread::scope(|s| {
        let waiters: Vec<_> = (0..3).map(|_| spawn(s, || event.wait())).collect();
        for _ in 0..100 {
            for waiter in &waiters {
                waiter.until_asleep_in(&event);
            }
            event.clear();
            assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
        }
        event.set();
    });
}

#[test]
fn evt_5_a_timeout_that_is_too_large_errs_whatever_the_flag() {
    let _watchdog = watchdog();
    let event = Event::new();
    for _ in 0..2 {
        for timeout in [TOO_LONG, Duration::MAX] {
            assert_eq!(event.wait_timeout(timeout), Err(Error::TimeoutTooLarge));
        }
        event.set();
    }
    assert_eq!(event.wait_timeout(TIMEOUT_MAX), Ok(true));
}

#[test]
fn mem_2_what_happened_before_a_set_is_visible_to_who_sees_it() {
    let _watchdog = watchdog();
    for round in 0..3_000 {
        let (event, data) = (Event::new(), Unsynchronized::new(0));
        threads(3, |number| match number {
            0 => {
                // SAFETY: nobody looks before the set.
                unsafe { *data.get() = round };
                event.set();
                event.set(); // an idle set must not hide the first one
            }
            1 => {
                event.wait();
                // SAFETY: nobody writes after the set.
                assert_eq!(unsafe { *data.get() }, round);
            }
            _ => {
                until(|| event.is_set());
                // SAFETY: nobody writes after the set.
                assert_eq!(unsafe { *data.get() }, round);
            }
        });
    }
}

#[test]
fn mem_2_also_through_a_clear() {
    let _watchdog = watchdog();
    for round in 0..500 {
        let (event, data) = (Event::new(), Unsynchronized::new(0));
        thread::scope(|s| {
            let waiter = spawn(s, || {
                event.wait();
                // SAFETY: nobody writes after the set.
                unsafe { *data.get() }
            });
            waiter.until_asleep_in(&event);
            // SAFETY: nobody looks before the set.
            unsafe { *data.get() = round };
            event.set();
            event.clear();
            assert_eq!(waiter.join(), round);
        });
    }
}

#[test]
fn evt_stress_a_relay_of_two_events_loses_no_turn() {
    let _watchdog = watchdog();
    const TURNS: usize = 10_000;
    let events = [Event::new(), Event::new()];
    let turns = Unsynchronized::new(0_usize);
    events[0].set();
    threads(2, |number| {
        let mut rng = Rng::new();
        for turn in 0..TURNS {
            while !events[number].wait_timeout(rng.timeout()).unwrap() {}
            events[number].clear();
            // SAFETY: it is this thread's turn.
            let turns = unsafe { &mut *turns.get() };
            assert_eq!(*turns, 2 * turn + number);
            *turns += 1;
            events[1 - number].set();
        }
    });
    assert_eq!(turns.into_inner(), 2 * TURNS);
}

#[test]
fn evt_free_after_set_the_last_user_may_destroy_it() {
    let _watchdog = watchdog();
    let (set, wait) = (|event: &Event| event.set(), |event: &Event| event.wait());
    check_destroyed_by_the_last_user(4_000, Event::new, Event::has_waiters, set, wait);
}

#[test]
fn repr_2_debug_is_pythons_text() {
    let event = Event::new();
    let address = format!("{:p}", &event);
    assert_eq!(
        format!("{event:?}"),
        format!("<threadbare.Event at {address}: unset>")
    );
    event.set();
    assert_eq!(
        format!("{event:?}"),
        format!("<threadbare.Event at {address}: set>")
    );
}
