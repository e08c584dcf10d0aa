//! Models of `Semaphore` and `BoundedSemaphore` (SEM, BSEM).

use crate::model::{Data, Doomed, INTERRUPTIBLE, SOON, check, check_limited, check_spurious};
use std::sync::atomic::{AtomicU32, Ordering::AcqRel, Ordering::Relaxed};
use threadbare::raw::park::{GaveUp, Limit};
use threadbare::raw::semaphore::{AboveBound, MAX_PERMITS, RawSemaphore};

/// What the public type does around the protocol.
fn acquire(semaphore: &RawSemaphore, k: u32, limit: Limit) -> Result<(), GaveUp> {
    if semaphore.try_acquire(k) {
        Ok(())
    } else {
        semaphore.acquire_contended(k, limit)
    }
}

struct Shared {
    semaphore: RawSemaphore,
    data: [Data; 2],
    /// Permits in use. Not loom's: it must not order memory.
    in_use: AtomicU32,
}

impl Shared {
    fn with(permits: u32) -> Shared {
        Shared {
            semaphore: RawSemaphore::new(permits),
            data: [Data::new(), Data::new()],
            in_use: AtomicU32::new(0),
        }
    }

    fn acquire(&self, k: u32, limit: Limit) -> Result<(), GaveUp> {
        acquire(&self.semaphore, k, limit)
    }

    fn release(&self, n: u32) {
        self.semaphore.release(n, MAX_PERMITS).unwrap();
    }

    /// Uses `k` of two permits.
    fn section(&self, k: u32) {
        self.acquire(k, Limit::NONE).unwrap();
        assert!(self.in_use.fetch_add(k, Relaxed) + k <= 2);
        loom::thread::yield_now();
        self.in_use.fetch_sub(k, Relaxed);
        self.release(k);
    }

    /// Whether `permits` are there and nobody counts as a waiter.
    fn is_settled(&self, permits: u32) -> bool {
        (self.semaphore.value(), self.semaphore.waiters()) == (permits, 0)
    }
}

#[test]
fn sem_2_no_more_permits_are_in_use_than_there_are() {
    check_spurious(
        2,
        || Shared::with(2),
        [
            |shared: &Shared| shared.section(1),
            |shared| shared.section(1),
            |shared| shared.section(2),
        ],
        |shared, _| assert!(shared.is_settled(2)),
    );
}

#[test]
fn mem_1_a_permit_taken_at_once_carries_what_was_before_its_release() {
    check(
        3,
        || Shared::with(0),
        [
            |shared: &Shared| {
                shared.data[0].add(1);
                shared.release(1);
            },
            |shared| {
                if shared.semaphore.try_acquire(1) {
                    assert_eq!(shared.data[0].get(), 1);
                }
            },
        ],
        |_, _| {},
    );
}

#[test]
fn mem_1_two_permits_carry_what_was_before_both_releases() {
    check(
        3,
        || Shared::with(0),
        [
            |shared: &Shared| {
                shared.data[0].add(1);
                shared.release(1);
            },
            |shared| {
                shared.data[1].add(1);
                shared.release(1);
            },
            |shared| {
                shared.acquire(2, Limit::NONE).unwrap();
                assert_eq!(shared.data[0].get() + shared.data[1].get(), 2);
            },
        ],
        |shared, _| assert!(shared.is_settled(0)),
    );
}

#[test]
fn sem_5_a_release_of_two_lets_both_waiters_go() {
    let wait: fn(&Shared) = |shared| shared.acquire(1, Limit::NONE).unwrap();
    check(
        3,
        || Shared::with(0),
        [|shared: &Shared| shared.release(2), wait, wait],
        |shared, _| assert!(shared.is_settled(0)),
    );
}

#[test]
fn sem_5_two_releases_let_both_waiters_go() {
    let wait: fn(&Shared) = |shared| shared.acquire(1, Limit::NONE).unwrap();
    check(
        3,
        || Shared::with(0),
        [
            |shared: &Shared| {
                shared.release(1);
                shared.release(1);
            },
            wait,
            wait,
        ],
        |shared, _| assert!(shared.is_settled(0)),
    );
}

/// One permit for two, one of which may give up within `limit`.
fn one_gives_up(limited: fn(&Shared) -> Result<(), GaveUp>) {
    check_limited(
        3,
        || Shared::with(0),
        [
            |shared: &Shared| {
                shared.release(1);
                Ok(())
            },
            limited,
            |shared| {
                shared.acquire(1, Limit::NONE)?;
                shared.release(1);
                Ok(())
            },
        ],
        |shared, _| assert!(shared.is_settled(1)),
    );
}

#[test]
fn sem_8_a_timeout_racing_a_release_costs_neither_permit_nor_wake() {
    one_gives_up(|shared| {
        shared.acquire(1, SOON)?;
        shared.release(1);
        Ok(())
    });
}

#[test]
fn sem_8_an_interruption_racing_a_release_costs_neither_permit_nor_wake() {
    one_gives_up(|shared| {
        shared.acquire(1, INTERRUPTIBLE)?;
        shared.release(1);
        Ok(())
    });
}

#[test]
fn sem_8_who_waits_for_two_takes_no_wake_from_who_waits_for_one() {
    check(
        3,
        || Shared::with(0),
        [
            |shared: &Shared| shared.release(1),
            |shared| shared.acquire(2, Limit::NONE).unwrap(),
            |shared| {
                shared.acquire(1, Limit::NONE).unwrap();
                shared.release(2);
            },
        ],
        |shared, _| assert!(shared.is_settled(0)),
    );
}

#[test]
fn sem_8_who_gives_up_waiting_for_two_leaves_the_permit_to_who_waits_for_one() {
    check_limited(
        3,
        || Shared::with(0),
        [
            |shared: &Shared| {
                shared.release(1);
                Ok(())
            },
            |shared| shared.acquire(2, SOON),
            |shared| shared.acquire(1, Limit::NONE),
        ],
        |shared, [_, two, one]| {
            assert_eq!((two, one), (Err(GaveUp::TimedOut), Ok(())));
            assert!(shared.is_settled(0));
        },
    );
}

#[test]
fn bsem_2_of_two_releases_that_together_exceed_the_bound_one_errs() {
    let release: fn(&Shared) -> _ = |shared| shared.semaphore.release(1, 1);
    check(
        3,
        || Shared::with(0),
        [release, release],
        |shared, results| {
            assert!(results.contains(&Ok(())) && results.contains(&Err(AboveBound)));
            assert!(shared.is_settled(1));
        },
    );
}

#[test]
fn semaphore_who_takes_the_permit_may_destroy_it() {
    check(
        3,
        || Doomed::new(Shared::with(0)),
        [
            |shared: &Doomed<Shared>| shared.release(1),
            |shared| {
                shared.acquire(1, Limit::NONE).unwrap();
                shared.destroy();
            },
        ],
        |_, _| {},
    );
}

#[test]
fn semaphore_the_last_of_two_that_one_release_lets_go_may_destroy_it() {
    struct Counted {
        shared: Doomed<Shared>,
        through: loom::sync::atomic::AtomicU32,
    }
    let take: fn(&Counted) = |counted| {
        counted.shared.acquire(1, Limit::NONE).unwrap();
        // The last one is ordered behind the first.
        if counted.through.fetch_add(1, AcqRel) == 1 {
            counted.shared.destroy();
        }
    };
    check(
        2,
        || Counted {
            shared: Doomed::new(Shared::with(0)),
            through: loom::sync::atomic::AtomicU32::new(0),
        },
        [|counted: &Counted| counted.shared.release(2), take, take],
        |_, _| {},
    );
}

#[test]
fn semaphore_who_takes_a_permit_at_its_deadline_may_destroy_it() {
    check_limited(
        3,
        || Doomed::new(Shared::with(0)),
        [
            |shared: &Doomed<Shared>| {
                shared.release(2);
                Ok(())
            },
            |shared| {
                let waited = shared.acquire(2, SOON);
                if waited.is_err() {
                    shared.acquire(2, Limit::NONE).unwrap(); // they are still to come
                }
                shared.destroy();
                waited
            },
        ],
        |_, _| {},
    );
}
