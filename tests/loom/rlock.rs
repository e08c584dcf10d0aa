//! Models of `RLock` (RLOCK).

use crate::model::{
    Data, Doomed, INTERRUPTIBLE, SOON, asymmetric, check, check_limited, check_spurious,
};
use threadbare::raw::asymmetry;
use threadbare::raw::park::{GaveUp, Limit};
use threadbare::raw::rlock::{NotOwner, RawRLock};

/// What the public type does around the protocol.
pub fn acquire(lock: &RawRLock, limit: Limit) -> Result<(), GaveUp> {
    if lock.attempt().unwrap() {
        Ok(())
    } else {
        lock.acquire_contended(limit)
    }
}

struct Locked {
    lock: RawRLock,
    data: Data,
}

impl Locked {
    fn new() -> Locked {
        Locked {
            lock: RawRLock::new(),
            data: Data::new(),
        }
    }

    /// Locked by the first thread.
    fn held() -> Locked {
        let locked = Locked::new();
        assert_eq!(locked.lock.try_acquire(), Ok(true));
        locked
    }

    /// Locked by the first thread, and such that the next owner may free it, whatever others do.
    fn symmetric() -> Locked {
        asymmetry::prepare();
        let locked = Locked {
            lock: RawRLock::symmetric(),
            data: Data::new(),
        };
        for _ in 0..2 {
            assert_eq!(locked.lock.try_acquire(), Ok(true));
            locked.lock.release().unwrap();
        }
        assert_eq!(locked.lock.try_acquire(), Ok(true));
        locked
    }

    fn section(&self, limit: Limit) -> Result<(), GaveUp> {
        acquire(&self.lock, limit)?;
        self.release();
        Ok(())
    }

    fn release(&self) {
        assert!(self.lock.is_owned());
        self.data.add(1);
        self.lock.release().unwrap();
    }
}

#[test]
fn rlock_5_only_the_last_release_lets_another_in() {
    let nested: fn(&Locked) = |locked| {
        acquire(&locked.lock, Limit::NONE).unwrap();
        locked.data.add(1);
        acquire(&locked.lock, SOON).unwrap();
        assert_eq!(locked.lock.depth(), 2);
        locked.data.add(1);
        locked.lock.release().unwrap();
        locked.release();
        assert_eq!(locked.lock.depth(), 0);
    };
    let plain: fn(&Locked) = |locked| locked.section(Limit::NONE).unwrap();
    check_spurious(2, Locked::new, [nested, nested, plain], |locked, _| {
        assert_eq!(locked.data.get(), 7);
        assert!(!locked.lock.is_locked());
    });
}

#[test]
fn rlock_6_a_release_by_another_thread_errs_and_frees_nothing() {
    check(
        3,
        Locked::held,
        [
            |locked: &Locked| locked.release(),
            |locked| locked.section(Limit::NONE).unwrap(),
            |locked| assert_eq!(locked.lock.release(), Err(NotOwner)),
        ],
        |locked, _| assert_eq!(locked.data.get(), 2),
    );
}

#[test]
fn rlock_11_only_the_owner_finds_itself_the_owner() {
    let look: fn(&Locked) = |locked| {
        assert!(!locked.lock.is_owned());
        locked.section(Limit::NONE).unwrap();
        assert!(!locked.lock.is_owned());
    };
    check(
        3,
        Locked::held,
        [|locked| locked.release(), look, look],
        |locked, _| assert_eq!(locked.data.get(), 3),
    );
}

#[test]
fn rlock_8_giving_the_lock_up_and_taking_it_back_restores_the_depth() {
    check(
        3,
        Locked::held,
        [
            |locked: &Locked| {
                locked.lock.try_acquire().unwrap();
                // SAFETY: this thread holds the lock, twice.
                let depth = unsafe { locked.lock.release_all() };
                locked.lock.acquire_all(depth, false);
                assert_eq!(locked.lock.depth(), 2);
                locked.lock.release().unwrap();
                locked.release();
            },
            |locked| locked.section(Limit::NONE).unwrap(),
        ],
        |locked, _| {
            assert_eq!(locked.data.get(), 2);
            assert!(!locked.lock.is_locked());
        },
    );
}

#[test]
fn rlock_3_a_timeout_racing_a_release_loses_no_wake() {
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
            assert_eq!(locked.data.get(), 2 + u32::from(timed.is_ok()));
            assert!(!locked.lock.is_locked());
        },
    );
}

#[test]
fn rlock_the_next_owner_may_destroy_it() {
    check(
        3,
        || Doomed::new(Locked::symmetric()),
        [
            |locked: &Doomed<Locked>| locked.release(),
            |locked| {
                locked.section(Limit::NONE).unwrap();
                locked.destroy();
            },
        ],
        |_, _| {},
    );
}

#[test]
fn rlock_5_on_an_asymmetric_lock_only_the_last_release_lets_another_in() {
    let nested: fn(&Locked) = |locked| {
        acquire(&locked.lock, Limit::NONE).unwrap();
        acquire(&locked.lock, SOON).unwrap();
        locked.data.add(1);
        locked.lock.release().unwrap();
        locked.release();
    };
    let plain: fn(&Locked) = |locked| locked.section(Limit::NONE).unwrap();
    asymmetric(|| {
        let used_once = || {
            let locked = Locked::new();
            locked.section(Limit::NONE).unwrap();
            locked
        };
        check(2, used_once, [nested, plain, plain], |locked, _| {
            assert_eq!(locked.data.get(), 5);
            assert!(!locked.lock.is_locked() && !locked.lock.is_owned());
        });
    });
}

/// What `Monitor` does: takes the lock only where it is free, and frees it whatever the depth.
fn plain_section(locked: &Locked, limit: Limit) -> Result<(), GaveUp> {
    if !locked.lock.try_acquire_free() {
        locked.lock.acquire_contended(limit)?;
    }
    assert!(locked.lock.is_owned() && !locked.lock.try_acquire_free());
    locked.data.add(1);
    // SAFETY: this thread owns the lock.
    assert_eq!(unsafe { locked.lock.release_all() }, 1);
    Ok(())
}

#[test]
fn lock_3_who_takes_only_a_free_lock_is_alone_and_gets_it_once() {
    let section: fn(&Locked) = |locked| {
        assert!(!locked.lock.is_owned());
        plain_section(locked, Limit::NONE).unwrap();
        assert!(!locked.lock.is_owned());
    };
    check_spurious(2, Locked::new, [section; 3], |locked, _| {
        assert_eq!(locked.data.get(), 3);
        assert!(!locked.lock.is_locked());
    });
}

#[test]
fn lock_12_a_timeout_racing_a_release_of_all_loses_no_wake() {
    check_limited(
        3,
        Locked::new,
        [
            |locked: &Locked| plain_section(locked, Limit::NONE),
            |locked| plain_section(locked, SOON),
            |locked| plain_section(locked, Limit::NONE),
        ],
        |locked, [first, timed, last]| {
            assert_eq!((first, last), (Ok(()), Ok(())));
            assert_eq!(locked.data.get(), 2 + u32::from(timed.is_ok()));
            assert!(!locked.lock.is_locked());
        },
    );
}

#[test]
fn lock_the_next_owner_may_destroy_what_was_released_whatever_the_depth() {
    check(
        3,
        || Doomed::new(Locked::symmetric()),
        [
            |locked: &Doomed<Locked>| {
                locked.data.add(1);
                // SAFETY: this thread owns the lock.
                unsafe { locked.lock.release_all() };
            },
            |locked| {
                plain_section(locked, Limit::NONE).unwrap();
                locked.destroy();
            },
        ],
        |_, _| {},
    );
}

#[test]
fn rlock_3_an_interruption_racing_a_release_loses_no_wake() {
    check_limited(
        3,
        Locked::held,
        [
            |locked: &Locked| {
                locked.release();
                Ok(())
            },
            |locked| {
                let taken = locked.section(INTERRUPTIBLE);
                assert!(!locked.lock.is_owned());
                taken
            },
            |locked| locked.section(Limit::NONE),
        ],
        |locked, [_, interrupted, untimed]| {
            assert_ne!(interrupted, Err(GaveUp::TimedOut));
            assert_eq!(untimed, Ok(()));
            assert_eq!(locked.data.get(), 2 + u32::from(interrupted.is_ok()));
            assert!(!locked.lock.is_locked());
        },
    );
}
