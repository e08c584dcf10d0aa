//! `Condition` (COND, REPR-1).
#![cfg(not(threadbare_model))]

mod common;

use common::waiting::{
    check_bounded_queue, check_exact_numbers, check_gives_up_when_its_time_is_up,
    check_sharing_a_lock, check_wakes_in_every_form, until_waiting, waiting,
};
use common::{
    LONG, SHORT, Unsynchronized, after, check_destroyed_by_the_last_user, check_excludes,
    check_given_up_when_held, check_taken_when_free, check_taken_when_released,
    check_too_large_is_refused, spawn, threads, until, watchdog,
};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;
use std::time::Duration;
use threadbare::{CondLock, Condition, Deadline, Error, ErrorKind, Lock, OwnerProof, RLock};

const fn shared_and_sent<T: Send + Sync>() {}
const _: () = shared_and_sent::<Condition>();
const _: () = shared_and_sent::<Condition<Lock>>();
const _: () = shared_and_sent::<Condition<&'static RLock>>();
const _: () = shared_and_sent::<Condition<Arc<Lock>>>();

/// Runs a generic check once for every kind of lock that a condition can be bound to.
macro_rules! on_every_lock {
    ($check:path) => {{
        $check(&Condition::new());
        $check(&Condition::with_lock(Lock::new()));
        $check(&Condition::with_lock(&RLock::new()));
        $check(&Condition::with_lock(&Lock::new()));
        $check(&Condition::with_lock(Arc::new(RLock::new())));
        $check(&Condition::with_lock(Arc::new(Lock::new())));
    }};
}

waiting_tests!(on_every_lock);

#[test]
fn cond_1_has_an_rlock_of_its_own_or_the_lock_it_is_given() {
    let _watchdog = watchdog();
    static CONDITION: Condition = Condition::new();
    for condition in [&CONDITION, &Condition::default()] {
        condition.acquire();
        assert!(condition.try_acquire(), "the lock is reentrant");
        condition.release().unwrap();
        condition.release().unwrap();
        assert_eq!(condition.release(), Err(Error::NotOwner));
    }
    let lock = Lock::new();
    let condition = Condition::with_lock(&lock);
    condition.acquire();
    assert!(!lock.try_acquire());
    condition.release().unwrap();
    lock.acquire();
    assert!(!condition.try_acquire() && condition.locked());
    assert_eq!(condition.release(), Ok(()));
    assert_eq!(condition.release(), Err(Error::ReleaseUnlocked));
}

fn acts_as_its_lock<L: CondLock + Sync>(condition: &Condition<L>) {
    assert!(!condition.locked());
    check_taken_when_free(condition);
    check_too_large_is_refused(condition);
    condition.acquire();
    assert!(condition.locked());
    check_given_up_when_held(condition);
    check_taken_when_released(condition, |tid| tid.until_asleep());
    condition.release().unwrap();
    assert!(condition.release().is_err() && !condition.locked());
    check_excludes(condition, 4, 1_000);
}

#[test]
fn cond_2_acquire_release_and_locked_are_those_of_the_lock() {
    let _watchdog = watchdog();
    on_every_lock!(acts_as_its_lock);
}

/// A lock that counts what the condition does with it, and whose release can be made to err.
#[derive(Default)]
struct Counting {
    lock: Lock,
    acquired: AtomicUsize,
    released: AtomicUsize,
    refuses: AtomicBool,
}

// SAFETY: leaves `owner_proof` out.
unsafe impl CondLock for Counting {
    fn acquire(&self) {
        self.acquired.fetch_add(1, SeqCst);
        self.lock.acquire();
    }

    fn try_acquire(&self) -> bool {
        self.lock.try_acquire()
    }

    fn acquire_until(&self, deadline: Deadline) -> bool {
        self.lock.acquire_until(deadline)
    }

    fn acquire_interruptible(&self, deadline: Deadline) -> Result<bool, Error> {
        self.lock.acquire_interruptible(deadline)
    }

    fn release(&self) -> Result<(), Error> {
        if self.refuses.load(SeqCst) {
            return Err(Error::NotOwner);
        }
        self.released.fetch_add(1, SeqCst);
        self.lock.release()
    }

    fn locked(&self) -> bool {
        self.lock.locked()
    }
}

#[test]
fn cond_3_works_with_a_lock_of_the_users() {
    let _watchdog = watchdog();
    let condition = Condition::with_lock(Arc::new(Counting::default()));
    check_wakes_in_every_form(&condition);
    check_gives_up_when_its_time_is_up(&condition);
    check_exact_numbers(&condition);

    let counting = Counting::default();
    let condition = Condition::with_lock(&counting);
    condition.acquire();
    assert_eq!(condition.wait_timeout(SHORT), Ok(false));
    assert_eq!(counting.acquired.load(SeqCst), 2);
    assert_eq!(counting.released.load(SeqCst), 1);
    // A release that errs ends the wait before it began: the lock is not held after all.
    counting.refuses.store(true, SeqCst);
    assert_eq!(condition.wait(), Err(Error::NotHeld));
    assert_eq!(condition.wait_timeout(LONG), Err(Error::NotHeld));
    assert_eq!(condition.waiting(), Some(0));
    assert_eq!(counting.acquired.load(SeqCst), 2);
}

/// An `RLock` that claims to be held by everyone.
struct Boastful(RLock);

// SAFETY: forwards the proof of the one lock that it has.
unsafe impl CondLock for Boastful {
    fn acquire(&self) {
        self.0.acquire();
    }

    fn try_acquire(&self) -> bool {
        self.0.try_acquire()
    }

    fn acquire_until(&self, deadline: Deadline) -> bool {
        self.0.acquire_until(deadline)
    }

    fn acquire_interruptible(&self, deadline: Deadline) -> Result<bool, Error> {
        self.0.acquire_interruptible(deadline)
    }

    fn release(&self) -> Result<(), Error> {
        self.0.release()
    }

    fn locked(&self) -> bool {
        self.0.locked()
    }

    fn is_held(&self) -> bool {
        true
    }

    fn owner_proof(&self) -> Option<OwnerProof<'_>> {
        self.0.owner_proof()
    }
}

#[test]
fn cond_4_a_lock_that_proves_its_owner_is_asked_itself() {
    let _watchdog = watchdog();
    let condition = Condition::with_lock(Boastful(RLock::new()));
    let _guard = condition.guard();
    threads(1, |_| {
        assert_eq!(condition.wait_timeout(SHORT), Err(Error::NotHeld));
        assert_eq!(condition.notify_all(), Err(Error::NotHeld));
    });
    assert_eq!(condition.wait_timeout(SHORT), Ok(false));
}

fn needs_the_lock<L: CondLock + Sync>(condition: &Condition<L>) {
    let mut calls = 0;
    let mut predicate = || {
        calls += 1;
        true
    };
    let refused = Err(Error::NotHeld);
    let never = Deadline::NEVER;
    assert_eq!(condition.wait(), Err(Error::NotHeld));
    for timeout in [Duration::ZERO, LONG] {
        assert_eq!(condition.wait_timeout(timeout), refused);
    }
    assert_eq!(condition.wait_until(never), refused);
    assert_eq!(condition.wait_interruptible(never), refused);
    assert_eq!(condition.wait_for(&mut predicate), refused);
    assert_eq!(condition.wait_for_timeout(&mut predicate, LONG), refused);
    assert_eq!(condition.wait_for_until(&mut predicate, never), refused);
    assert_eq!(
        condition.wait_for_interruptible(&mut predicate, never),
        refused
    );
    for n in [0, 1, usize::MAX] {
        assert_eq!(condition.notify(n), Err(Error::NotHeld));
    }
    assert_eq!(condition.notify_one(), Err(Error::NotHeld));
    assert_eq!(condition.notify_all(), Err(Error::NotHeld));
    assert_eq!(calls, 0, "the predicate is not called without the lock");
    assert!(!condition.locked());
    assert_eq!(waiting(condition), 0);
}

#[test]
fn cond_4_and_18_wait_and_notify_without_the_lock_err_and_do_nothing() {
    let _watchdog = watchdog();
    on_every_lock!(needs_the_lock);
    assert_eq!(Error::NotHeld.kind(), ErrorKind::Runtime);
}

#[test]
fn cond_4_an_rlock_must_be_held_by_the_caller() {
    let _watchdog = watchdog();
    let condition = Condition::new();
    thread::scope(|s| {
        let waiters = [spawn(s, || {
            let _guard = condition.guard();
            condition.wait()
        })];
        until_waiting(&condition, 1, &waiters);
        let _guard = condition.guard();
        threads(1, |_| {
            assert_eq!(condition.notify_all(), Err(Error::NotHeld));
            assert_eq!(condition.wait(), Err(Error::NotHeld));
            assert_eq!(condition.waiting(), None);
        });
        assert_eq!(condition.waiting(), Some(1));
        assert_eq!(condition.notify_all(), Ok(1));
    });
}

#[test]
fn cond_4_a_plain_lock_must_be_held_by_somebody() {
    let _watchdog = watchdog();
    let lock = Lock::new();
    let condition = Condition::with_lock(&lock);
    thread::scope(|s| {
        // The wait of a thread that does not hold the lock releases the holder's.
        lock.acquire();
        let waiter = spawn(s, || {
            let result = condition.wait();
            lock.release().unwrap();
            result
        });
        until(|| condition.waiting() == Some(1));
        until(|| !lock.locked());
        waiter.until_asleep();
        // The notify of a thread that does not hold the lock succeeds.
        lock.acquire();
        threads(1, |_| assert_eq!(condition.notify_one(), Ok(1)));
        waiter.until_asleep_in(&lock);
        assert!(!waiter.is_finished(), "it needs the lock");
        lock.release().unwrap();
        assert_eq!(waiter.join(), Ok(()));
    });
    assert!(!lock.locked());
}

#[test]
fn cond_6_an_rlock_is_given_up_whatever_its_depth_and_the_depth_restored() {
    let _watchdog = watchdog();
    let lock = RLock::new();
    let condition = Condition::with_lock(&lock);
    for depth in [1, 2, 5] {
        (0..depth).for_each(|_| lock.acquire());
        assert_eq!(condition.wait_timeout(SHORT), Ok(false));
        assert_eq!(lock.recursion_count(), depth);
        thread::scope(|s| {
            let notifier = s.spawn(|| {
                lock.acquire();
                lock.acquire();
                assert_eq!(condition.notify_one(), Ok(1));
                lock.release().unwrap();
                assert!(lock.is_owned());
                lock.release().unwrap();
            });
            condition.wait().unwrap();
            assert_eq!(lock.recursion_count(), depth);
            notifier.join().unwrap();
        });
        (0..depth).for_each(|_| lock.release().unwrap());
        assert!(!lock.locked());
    }
}

#[test]
fn cond_9_a_timeout_of_zero_releases_and_takes_back_once() {
    let _watchdog = watchdog();
    let counting = Counting::default();
    let condition = Condition::with_lock(&counting);
    condition.acquire();
    assert_eq!(condition.wait_timeout(Duration::ZERO), Ok(false));
    assert_eq!(condition.wait_until(Deadline::now()), Ok(false));
    assert_eq!(counting.released.load(SeqCst), 2);
    assert_eq!(counting.acquired.load(SeqCst), 3);
}

#[test]
fn cond_13_zero_and_an_empty_queue_are_fine_with_the_lock_only() {
    let _watchdog = watchdog();
    let condition = Condition::new();
    assert_eq!(condition.notify(0), Err(Error::NotHeld));
    thread::scope(|s| {
        let waiters = [spawn(s, || {
            let _guard = condition.guard();
            condition.wait()
        })];
        until_waiting(&condition, 1, &waiters);
        let _guard = condition.guard();
        assert_eq!(condition.notify(0), Ok(0));
        assert_eq!(condition.waiting(), Some(1));
        assert_eq!(condition.notify(2), Ok(1));
        assert_eq!(condition.notify(2), Ok(0));
    });
}

#[test]
fn cond_14_a_crowd_is_woken_by_the_release_inside_a_wait_and_beside_others_on_the_lock() {
    let _watchdog = watchdog();
    const CROWD: usize = 100;
    let lock = RLock::new();
    let condition = Condition::with_lock(&lock);
    for _ in 0..3 {
        let back = AtomicUsize::new(0);
        thread::scope(|s| {
            let waiters: Vec<_> = (0..CROWD)
                .map(|_| {
                    spawn(s, || {
                        let _guard = condition.guard();
                        condition.wait().unwrap();
                        if back.fetch_add(1, SeqCst) == CROWD - 1 {
                            condition.notify_one().unwrap(); // the test itself
                        }
                    })
                })
                .collect();
            until_waiting(&condition, CROWD, &waiters);
            lock.acquire();
            lock.acquire();
            // Some sleep on the lock itself when the rest is moved there.
            let others = [(); 4].map(|()| spawn(s, || drop(lock.guard())));
            for other in &others {
                other.until_asleep_in(&lock);
            }
            assert_eq!(condition.notify_all(), Ok(CROWD));
            condition.wait().unwrap();
            assert_eq!(lock.recursion_count(), 2);
            lock.release().unwrap();
            lock.release().unwrap();
        });
        assert!(!lock.locked());
    }
}

#[test]
fn cond_17_wait_for_returns_what_the_predicate_returned_last() {
    let _watchdog = watchdog();
    let condition = Condition::new();
    let _guard = condition.guard();
    assert_eq!(condition.wait_for(|| true), Ok(true));
    assert_eq!(condition.wait_for(|| Some(4)), Ok(Some(4)));
    assert_eq!(condition.wait_for_timeout(|| None::<u8>, SHORT), Ok(None));
}

#[test]
fn cond_18_a_predicate_that_is_true_at_once_releases_nothing() {
    let _watchdog = watchdog();
    let counting = Counting::default();
    let condition = Condition::with_lock(&counting);
    condition.acquire();
    let calls = Cell::new(0);
    let predicate = || {
        calls.set(calls.get() + 1);
        true
    };
    assert_eq!(condition.wait_for(predicate), Ok(true));
    assert_eq!(
        condition.wait_for_timeout(predicate, Duration::ZERO),
        Ok(true)
    );
    assert_eq!(condition.wait_for_until(predicate, after(LONG)), Ok(true));
    assert_eq!(
        condition.wait_for_interruptible(predicate, Deadline::NEVER),
        Ok(true)
    );
    assert_eq!(calls.get(), 4, "once each");
    assert_eq!(counting.released.load(SeqCst), 0);
}

#[test]
fn cond_21_conditions_that_share_a_lock_do_not_wake_each_others_waiters() {
    let _watchdog = watchdog();
    fn check<L: CondLock + Copy + Sync>(lock: L) {
        let both = [Condition::with_lock(lock), Condition::with_lock(lock)];
        check_sharing_a_lock(both.each_ref());
    }
    check(&RLock::new());
    check(&Lock::new());
}

#[test]
fn cond_stress_a_bounded_queue_of_two_conditions_loses_nothing() {
    let _watchdog = watchdog();
    fn check<L: CondLock + Copy + Sync>(lock: L) {
        let both = [Condition::with_lock(lock), Condition::with_lock(lock)];
        check_bounded_queue(both.each_ref());
    }
    check(&RLock::new());
    check(&Lock::new());
}

#[test]
fn cond_22_waiters_whose_stacks_go_at_once_are_not_touched() {
    let _watchdog = watchdog();
    // The threads end as soon as their waits return; a write to a waiter that is gone would hit
    // the stacks of others, or nothing at all.
    let (own, plain) = (Condition::new(), Condition::with_lock(Lock::new()));
    for round in 0..150 {
        thread::scope(|s| {
            let waits = || {
                let _guard = own.guard();
                own.wait_timeout(Duration::from_micros(round * 5)).unwrap();
            };
            let waits_plain = || {
                let _guard = plain.guard();
                plain
                    .wait_timeout(Duration::from_micros(round * 5))
                    .unwrap();
            };
            s.spawn(waits);
            s.spawn(waits_plain);
            s.spawn(waits);
            s.spawn(waits_plain);
            for _ in 0..20 {
                own.acquire();
                own.notify_all().unwrap();
                own.release().unwrap();
                plain.acquire();
                plain.notify_all().unwrap();
                plain.release().unwrap();
            }
        });
    }
    assert_eq!((waiting(&own), waiting(&plain)), (0, 0));
}

fn last_user_destroys<L: CondLock + Sync>(make: impl Fn() -> Condition<L> + Sync) {
    struct Shared<L: CondLock>(Condition<L>, Unsynchronized<bool>);
    let make = || Shared(make(), Unsynchronized::new(false));
    let asleep = |shared: &Shared<L>| waiting(&shared.0) == 1;
    let set = |shared: &Shared<L>| {
        shared.0.acquire();
        // SAFETY: under the lock.
        unsafe { *shared.1.get() = true };
        shared.0.notify_all().unwrap();
        shared.0.release().unwrap();
    };
    let wait = |shared: &Shared<L>| {
        shared.0.acquire();
        // SAFETY: under the lock.
        shared.0.wait_for(|| unsafe { *shared.1.get() }).unwrap();
        shared.0.release().unwrap();
    };
    check_destroyed_by_the_last_user(800, make, asleep, set, wait);
}

#[test]
fn cond_22_the_last_user_may_destroy_it() {
    let _watchdog = watchdog();
    last_user_destroys(|| Condition::with_lock(RLock::symmetric()));
    last_user_destroys(|| Condition::with_lock(Lock::new()));
}

#[test]
fn repr_1_debug_is_pythons_text_and_does_not_block() {
    let _watchdog = watchdog();
    let lock = Lock::new();
    let condition = Condition::with_lock(&lock);
    assert_eq!(
        format!("{condition:?}"),
        format!("<Condition({lock:?}, 0)>")
    );
    let own = Condition::new();
    assert!(format!("{own:?}").ends_with(", ?)>"));
    let _guard = own.guard();
    let text = format!("{own:?}");
    assert!(text.starts_with("<Condition(<locked threadbare.RLock object owner="));
    assert!(text.ends_with(", 0)>"), "{text}");
}
