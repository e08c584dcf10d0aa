//! Models of the lock that is released by a plain store, beginning as one that is.

use crate::model::{Data, SOON, asymmetric, check, check_limited, check_spurious, reserving};
use threadbare::raw::owned_lock::OwnedLock;
use threadbare::raw::park::{GaveUp, Limit};

struct Locked {
    lock: OwnedLock,
    data: Data,
}

impl Locked {
    fn new() -> Locked {
        let locked = Locked {
            lock: OwnedLock::new(),
            data: Data::new(),
        };
        // The first release finds that the next may be a plain store.
        assert!(locked.lock.try_acquire());
        locked.release();
        locked
    }

    /// Locked by the first thread.
    fn held() -> Locked {
        let locked = Locked::new();
        assert!(locked.lock.try_acquire());
        locked
    }

    fn release(&self) {
        self.data.add(1);
        // SAFETY: held by the caller, and alive to the end of the model.
        unsafe { self.lock.release() };
    }

    /// One acquire, one access, one release.
    fn section(&self, limit: Limit) -> Result<(), GaveUp> {
        self.lock.acquire(limit)?;
        self.release();
        Ok(())
    }
}

#[test]
fn lock_3_only_one_thread_at_a_time_has_the_lock() {
    asymmetric(|| {
        let section: fn(&Locked) -> _ = |locked| locked.section(Limit::NONE);
        check_spurious(3, Locked::new, [section; 3], |locked, _| {
            assert_eq!(locked.data.get(), 4);
            assert!(!locked.lock.is_locked());
        });
    });
}

#[test]
fn mem_1_a_waiter_sees_what_was_before_the_release() {
    asymmetric(|| {
        check(
            3,
            Locked::held,
            [Locked::release, |locked| {
                locked.section(Limit::NONE).unwrap();
            }],
            |locked, _| assert_eq!(locked.data.get(), 3),
        );
    });
}

#[test]
fn lock_12_each_of_two_waiters_gets_the_lock() {
    asymmetric(|| {
        let wait: fn(&Locked) = |locked| locked.section(Limit::NONE).unwrap();
        check(
            3,
            Locked::held,
            [Locked::release, wait, wait],
            |locked, _| {
                assert_eq!(locked.data.get(), 4);
            },
        );
    });
}

#[test]
fn lock_12_a_timeout_racing_a_release_loses_no_wake() {
    asymmetric(|| {
        check_limited(
            3,
            Locked::held,
            [
                |locked: &Locked| {
                    locked.release();
                    Ok(())
                },
                |locked| locked.section(SOON),
                |locked| locked.section(Limit::NONE),
            ],
            |locked, [_, timed, untimed]| {
                assert_eq!(untimed, Ok(()));
                assert_eq!(locked.data.get(), 3 + u32::from(timed.is_ok()));
                assert!(!locked.lock.is_locked() && locked.lock.counted() == 0);
            },
        );
    });
}

/// Two wait for a lock whose holder takes it once more.
fn taken_again(bound: usize) {
    asymmetric(|| {
        check(
            bound,
            Locked::held,
            [
                |locked: &Locked| {
                    locked.release();
                    locked.section(Limit::NONE).unwrap();
                },
                |locked| locked.section(Limit::NONE).unwrap(),
                |locked| locked.section(Limit::NONE).unwrap(),
            ],
            |locked, _| assert_eq!((locked.data.get(), locked.lock.counted()), (5, 0)),
        );
    });
}

#[test]
fn lock_12_who_waits_gets_the_lock_from_who_takes_it_again_and_again() {
    taken_again(3);
}

#[test]
fn lock_a_waiter_beside_one_that_is_expected_gets_the_lock() {
    asymmetric(|| {
        check(
            2,
            Locked::new,
            [
                |locked: &Locked| {
                    locked.lock.acquire(Limit::NONE).unwrap();
                    locked.lock.expect_waiter();
                    locked.release();
                    locked.lock.acquire_expected();
                    locked.lock.expected_waiter_came();
                    locked.release();
                },
                |locked| locked.section(Limit::NONE).unwrap(),
                |locked| locked.section(Limit::NONE).unwrap(),
            ],
            |locked, _| assert_eq!((locked.data.get(), locked.lock.counted()), (5, 0)),
        );
    });
}

#[test]
fn lock_12_who_waits_for_a_lock_that_is_kept_gets_it_from_one_that_is_released_by_a_store() {
    reserving(|| taken_again(2));
}
