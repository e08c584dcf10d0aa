//! Models of `Lock` (LOCK).

use crate::model::{
    Data, Doomed, INTERRUPTIBLE, SOON, check, check_limited, check_spurious, reserving,
};
use std::cell::Cell;
use threadbare::primitive::Deadline;
use threadbare::raw::lock::{NotLocked, RawLock};
use threadbare::raw::park::{GaveUp, Limit};

struct Locked {
    lock: RawLock,
    data: Data,
}

impl Locked {
    fn new() -> Locked {
        Locked {
            lock: RawLock::new(),
            data: Data::new(),
        }
    }

    /// Locked by the first thread.
    fn held() -> Locked {
        let locked = Locked::new();
        assert!(locked.lock.try_acquire());
        locked
    }

    /// One acquire, one access, one release.
    fn section(&self, limit: Limit) -> Result<(), GaveUp> {
        self.lock.acquire(limit)?;
        self.data.add(1);
        self.lock.release().unwrap();
        Ok(())
    }

    fn release(&self) -> Result<(), GaveUp> {
        self.data.add(1);
        self.lock.release().unwrap();
        Ok(())
    }

    fn is_free(&self) -> bool {
        !self.lock.is_locked() && !self.lock.has_waiters()
    }
}

#[test]
fn lock_3_only_one_thread_at_a_time_has_the_lock() {
    let section: fn(&Locked) -> _ = |locked| locked.section(Limit::NONE);
    check_spurious(3, Locked::new, [section; 3], |locked, _| {
        assert_eq!(locked.data.get(), 3);
        assert!(locked.is_free());
    });
}

#[test]
fn mem_1_an_attempt_that_succeeds_sees_what_was_before_the_release() {
    check(
        3,
        Locked::held,
        [
            |locked| {
                locked.data.add(1);
                locked.lock.release().unwrap();
            },
            |locked| {
                if locked.lock.try_acquire() {
                    assert_eq!(locked.data.get(), 1);
                }
            },
        ],
        |_, _| {},
    );
}

#[test]
fn mem_1_a_waiter_sees_what_was_before_the_release() {
    check(
        3,
        Locked::held,
        [Locked::release, |locked| locked.section(Limit::NONE)],
        |locked, _| assert_eq!(locked.data.get(), 2),
    );
}

#[test]
fn mem_1_a_timeout_that_gets_the_lock_after_all_sees_what_was_before_the_release() {
    check_limited(
        3,
        Locked::held,
        [Locked::release, |locked| locked.section(SOON)],
        |locked, results| {
            let sections = results.iter().filter(|result| result.is_ok()).count();
            assert_eq!(locked.data.get() as usize, sections);
            assert!(!locked.lock.is_locked());
        },
    );
}

#[test]
fn lock_12_each_of_two_waiters_gets_the_lock() {
    let wait: fn(&Locked) -> _ = |locked| locked.section(Limit::NONE);
    check(
        3,
        Locked::held,
        [Locked::release, wait, wait],
        |locked, _| assert_eq!(locked.data.get(), 3),
    );
}

/// A holder, and two that wait, one of them for a while.
fn timeout_beside_release() {
    check_limited(
        3,
        Locked::held,
        [
            Locked::release,
            |locked| locked.section(SOON),
            |locked| locked.section(Limit::NONE),
        ],
        |locked, [_, timed, untimed]| {
            assert_eq!(untimed, Ok(()));
            assert_eq!(locked.data.get(), 2 + u32::from(timed.is_ok()));
            assert!(!locked.lock.is_locked() && locked.lock.try_acquire());
        },
    );
}

#[test]
fn lock_12_a_timeout_racing_a_release_loses_no_wake() {
    timeout_beside_release();
}

#[test]
fn lock_12_an_interruption_racing_a_release_loses_no_wake() {
    check_limited(
        3,
        Locked::held,
        [
            Locked::release,
            |locked| locked.section(INTERRUPTIBLE),
            |locked| locked.section(Limit::NONE),
        ],
        |locked, [_, interrupted, untimed]| {
            assert_ne!(interrupted, Err(GaveUp::TimedOut));
            assert_eq!(untimed, Ok(()));
            assert!(!locked.lock.is_locked());
        },
    );
}

#[test]
fn sig_2_a_signal_does_not_end_a_wait_that_is_not_interruptible() {
    check_limited(
        3,
        Locked::held,
        [
            Locked::release,
            |locked| locked.section(Limit::until(Deadline::AFTER_A_SIGNAL)),
            |locked| locked.section(Limit::NONE),
        ],
        |locked, [_, disturbed, untimed]| {
            assert_ne!(disturbed, Err(GaveUp::Interrupted));
            assert_eq!(untimed, Ok(()));
            assert!(!locked.lock.is_locked());
        },
    );
}

#[test]
fn lock_10_of_two_releases_of_one_acquisition_exactly_one_errs() {
    fn contended() -> Locked {
        let locked = Locked::held();
        locked.lock.announce_waiter();
        locked
    }
    let release: fn(&Locked) -> _ = |locked| locked.lock.release();
    for new in [Locked::held, contended] {
        check(3, new, [release; 2], |locked, results| {
            assert!(results.contains(&Ok(())) && results.contains(&Err(NotLocked)));
            assert!(locked.is_free());
        });
    }
}

#[test]
fn lock_the_next_owner_may_destroy_it() {
    check(
        3,
        || Doomed::new(Locked::held()),
        [
            |locked: &Doomed<Locked>| locked.lock.release().unwrap(),
            |locked| {
                locked.section(Limit::NONE).unwrap();
                locked.destroy();
            },
        ],
        |_, _| {},
    );
}

/// Waits until the second time that it is asked whether to go on.
fn checked(locked: &Locked, deadline: Deadline) -> Result<(), GaveUp> {
    let asked = Cell::new(0);
    let check = || {
        asked.set(asked.get() + 1);
        asked.get() == 2
    };
    locked.section(Limit::checked(deadline, &check))
}

#[test]
fn sig_4_a_check_that_ends_a_wait_racing_a_release_loses_no_wake() {
    check_limited(
        3,
        Locked::held,
        [
            |locked: &Locked| {
                locked.release()?;
                locked.section(Limit::NONE)
            },
            |locked| checked(locked, Deadline::NEVER),
            |locked| locked.section(Limit::NONE),
        ],
        |locked, [first, checked, untimed]| {
            assert_eq!((first, untimed), (Ok(()), Ok(())));
            assert_ne!(checked, Err(GaveUp::TimedOut));
            assert_eq!(locked.data.get(), 3 + u32::from(checked.is_ok()));
            assert!(!locked.lock.is_locked());
        },
    );
}

#[test]
fn sig_4_a_checked_wait_ends_at_its_deadline() {
    check_limited(
        3,
        Locked::held,
        [Locked::release, |locked| checked(locked, Deadline::SOON)],
        |locked, [_, checked]| {
            assert_ne!(
                checked,
                Err(GaveUp::Interrupted),
                "it comes in the first slice"
            );
            assert_eq!(locked.data.get(), 1 + u32::from(checked.is_ok()));
        },
    );
}

#[test]
fn fork_6_a_word_with_waiters_that_are_not_there_strands_none_that_is() {
    fn forked() -> Locked {
        let locked = Locked::held();
        locked.lock.announce_waiter(); // in the parent
        locked
    }
    let wait: fn(&Locked) -> _ = |locked| locked.section(Limit::NONE);
    check_spurious(3, forked, [Locked::release, wait, wait], |locked, _| {
        assert_eq!(locked.data.get(), 3);
        assert!(!locked.lock.is_locked());
    });
}

#[test]
fn lock_3_only_one_thread_at_a_time_has_a_lock_that_is_kept_for_waiters() {
    let section: fn(&Locked) -> _ = |locked| locked.section(Limit::NONE);
    reserving(|| {
        check_spurious(3, Locked::new, [section; 3], |locked, _| {
            assert_eq!(locked.data.get(), 3);
            assert!(locked.lock.try_acquire());
        });
    });
}

#[test]
fn lock_11_a_timeout_leaves_no_lock_kept_for_nobody() {
    reserving(|| {
        check_limited(
            3,
            Locked::held,
            [Locked::release, |locked| locked.section(SOON)],
            |locked, [_, timed]| {
                assert_eq!(locked.data.get(), 1 + u32::from(timed.is_ok()));
                assert!(!locked.lock.is_locked());
                assert!(locked.lock.try_acquire() && !locked.lock.try_acquire());
            },
        );
    });
}

#[test]
fn lock_11_who_comes_back_to_a_lock_that_is_kept_for_nobody_gets_it() {
    reserving(|| {
        check_limited(
            3,
            Locked::held,
            [
                |locked: &Locked| {
                    locked.release()?;
                    locked.section(Limit::NONE)
                },
                |locked| locked.section(SOON),
            ],
            |locked, [back, timed]| {
                assert_eq!(back, Ok(()));
                assert_eq!(locked.data.get(), 2 + u32::from(timed.is_ok()));
            },
        );
    });
}

#[test]
fn lock_12_a_timeout_beside_a_lock_that_is_kept_loses_no_wake() {
    reserving(timeout_beside_release);
}

#[test]
fn lock_12_who_comes_again_and_again_leaves_nobody_behind() {
    reserving(|| {
        check(
            3,
            Locked::held,
            [
                |locked: &Locked| {
                    locked.release()?;
                    locked.section(Limit::NONE)
                },
                |locked| locked.section(Limit::NONE),
                |locked| locked.section(Limit::NONE),
            ],
            |locked, _| assert_eq!(locked.data.get(), 4),
        );
    });
}

#[test]
fn lock_the_next_owner_may_destroy_what_was_kept_for_it() {
    reserving(|| {
        check(
            3,
            || Doomed::new(Locked::held()),
            [
                |locked: &Doomed<Locked>| locked.lock.release().unwrap(),
                |locked| {
                    locked.section(Limit::NONE).unwrap();
                    locked.destroy();
                },
            ],
            |_, _| {},
        );
    });
}

#[test]
fn lock_10_of_two_releases_beside_a_lock_that_is_kept_exactly_one_errs() {
    reserving(|| {
        check(
            2,
            Locked::held,
            [
                |locked: &Locked| locked.lock.release().is_ok(),
                |locked| locked.lock.release().is_ok(),
                |locked| {
                    // The section is not its own if the second release comes that late.
                    locked.lock.acquire(Limit::NONE).unwrap();
                    locked.lock.release().is_ok()
                },
            ],
            |locked, released| {
                let released = released.into_iter().filter(|it| *it).count();
                assert_eq!(released, 2, "as often as it was acquired");
                assert!(!locked.lock.is_locked() && locked.lock.try_acquire());
            },
        );
    });
}

#[test]
fn sig_2_a_check_that_says_to_stop_is_heard_also_where_the_lock_is_kept() {
    reserving(|| {
        check_limited(
            2,
            Locked::held,
            [
                |locked: &Locked| {
                    locked.release()?;
                    let asked = Cell::new(false);
                    let stop = || {
                        asked.set(true);
                        true
                    };
                    let taken = locked.section(Limit::checked(Deadline::NEVER, &stop));
                    assert_eq!(taken.is_err(), asked.get());
                    Ok(())
                },
                |locked| locked.section(Limit::NONE),
            ],
            |locked, [_, patient]| {
                assert_eq!(patient, Ok(()));
                assert!(locked.lock.try_acquire());
            },
        );
    });
}
