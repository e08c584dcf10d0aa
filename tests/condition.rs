//! `Condition` (COND, REPR-1).
#![cfg(not(threadbare_loom))]

mod common;

use common::{
    LONG, Rng, SHORT, TOO_LONG, Unsynchronized, Worker, after, check_destroyed_by_the_last_user,
    check_excludes, check_given_up_when_held, check_taken_when_free, check_taken_when_released,
    check_too_large_is_refused, is_asleep, spawn, threads, until, until_nearly, watchdog,
};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use threadbare::{
    CondLock, Condition, Deadline, Error, ErrorKind, Lock, OwnerProof, RLock, TIMEOUT_MAX,
};

const fn shared_and_sent<T: Send + Sync>() {}
const _: () = shared_and_sent::<Condition>();
const _: () = shared_and_sent::<Condition<Lock>>();
const _: () = shared_and_sent::<Condition<&'static RLock>>();
const _: () = shared_and_sent::<Condition<Arc<Lock>>>();

/// Runs a generic check once for every kind of lock that a condition can be bound to.
macro_rules! on_every_lock {
    ($check:ident) => {{
        $check(&Condition::new());
        $check(&Condition::with_lock(Lock::new()));
        $check(&Condition::with_lock(&RLock::new()));
        $check(&Condition::with_lock(&Lock::new()));
        $check(&Condition::with_lock(Arc::new(RLock::new())));
        $check(&Condition::with_lock(Arc::new(Lock::new())));
    }};
}

/// How many threads wait; takes the lock to ask.
fn waiting<L: CondLock>(condition: &Condition<L>) -> usize {
    let _guard = condition.guard();
    condition.waiting().unwrap()
}

/// Returns once `count` threads wait and all of `waiters` sleep.
#[track_caller]
fn until_waiting<L: CondLock, R>(
    condition: &Condition<L>,
    count: usize,
    waiters: &[Worker<'_, R>],
) {
    until(|| waiting(condition) == count);
    for waiter in waiters {
        waiter.until_asleep();
    }
}

/// A named way to wait, with the lock held; returns whether it was notified.
type Form<L> = (&'static str, fn(&Condition<L>) -> bool);

/// The forms that wait until they are notified; of `wait_for` a predicate that is true the second
/// time.
fn patient<L: CondLock>() -> [Form<L>; 11] {
    fn second_time() -> impl FnMut() -> bool {
        let mut calls = 0;
        move || {
            calls += 1;
            calls > 1
        }
    }
    [
        ("wait", |it| it.wait().is_ok()),
        ("timeout", |it| it.wait_timeout(LONG).unwrap()),
        ("TIMEOUT_MAX", |it| it.wait_timeout(TIMEOUT_MAX).unwrap()),
        ("until", |it| it.wait_until(after(LONG)).unwrap()),
        ("until never", |it| it.wait_until(Deadline::NEVER).unwrap()),
        ("interruptible", |it| {
            it.wait_interruptible(after(LONG)).unwrap()
        }),
        ("interruptible never", |it| {
            it.wait_interruptible(Deadline::NEVER).unwrap()
        }),
        ("wait_for", |it| it.wait_for(second_time()).unwrap()),
        ("wait_for timeout", |it| {
            it.wait_for_timeout(second_time(), TIMEOUT_MAX).unwrap()
        }),
        ("wait_for until", |it| {
            it.wait_for_until(second_time(), after(LONG)).unwrap()
        }),
        ("wait_for interruptible", |it| {
            it.wait_for_interruptible(second_time(), Deadline::NEVER)
                .unwrap()
        }),
    ]
}

/// The forms that give up after a time.
fn expiring<L: CondLock>() -> [fn(&Condition<L>, Duration) -> bool; 6] {
    [
        |it, timeout| it.wait_timeout(timeout).unwrap(),
        |it, timeout| it.wait_until(after(timeout)).unwrap(),
        |it, timeout| it.wait_interruptible(after(timeout)).unwrap(),
        |it, timeout| it.wait_for_timeout(|| false, timeout).unwrap(),
        |it, timeout| it.wait_for_until(|| false, after(timeout)).unwrap(),
        |it, timeout| it.wait_for_interruptible(|| false, after(timeout)).unwrap(),
    ]
}

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
    wakes_in_every_form(&condition);
    gives_up_when_its_time_is_up(&condition);
    exact_numbers(&condition);

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

fn needs_the_lock<L: CondLock>(condition: &Condition<L>) {
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

fn wakes_in_every_form<L: CondLock + Sync>(condition: &Condition<L>) {
    for (name, form) in patient() {
        thread::scope(|s| {
            let waiters = [spawn(s, move || {
                condition.acquire();
                let notified = form(condition);
                assert!(condition.locked(), "{name}");
                condition.release().unwrap();
                notified
            })];
            until_waiting(condition, 1, &waiters);
            assert!(!condition.locked(), "{name} gives the lock up");
            condition.acquire();
            assert_eq!(condition.notify_one(), Ok(1), "{name}");
            assert_eq!(condition.waiting(), Some(0), "{name}");
            condition.release().unwrap();
            let [waiter] = waiters;
            assert!(waiter.join(), "{name}");
        });
        assert!(!condition.locked() && waiting(condition) == 0);
    }
}

#[test]
fn cond_5_and_7_every_form_gives_the_lock_up_waits_and_takes_it_back() {
    let _watchdog = watchdog();
    on_every_lock!(wakes_in_every_form);
}

fn queues_before_it_releases<L: CondLock + Sync>(condition: &Condition<L>) {
    for _ in 0..80 {
        condition.acquire();
        thread::scope(|s| {
            s.spawn(|| {
                condition.acquire(); // possible once the other waits
                assert_eq!(condition.notify_one(), Ok(1));
                condition.release().unwrap();
            });
            condition.wait().unwrap();
        });
        condition.release().unwrap();
    }
}

#[test]
fn cond_5_whoever_takes_the_lock_next_finds_the_waiter() {
    let _watchdog = watchdog();
    on_every_lock!(queues_before_it_releases);
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

fn gives_up_when_its_time_is_up<L: CondLock>(condition: &Condition<L>) {
    condition.acquire();
    for (number, form) in expiring().into_iter().enumerate() {
        let start = Instant::now();
        assert!(!form(condition, SHORT), "form {number}");
        assert!(start.elapsed() >= SHORT, "form {number} ended early");
        assert!(condition.locked(), "form {number}");
        assert_eq!(condition.waiting(), Some(0), "form {number}");
        assert_eq!(condition.notify_one(), Ok(0), "form {number}");
    }
    condition.release().unwrap();
    assert!(!condition.locked());
}

#[test]
fn cond_7_and_8_when_the_time_is_up_the_lock_is_held_and_nobody_queued() {
    let _watchdog = watchdog();
    on_every_lock!(gives_up_when_its_time_is_up);
}

fn refuses_what_is_too_large<L: CondLock>(condition: &Condition<L>) {
    condition.acquire();
    let mut calls = 0;
    for timeout in [TOO_LONG, Duration::MAX] {
        let refused = Err(Error::TimeoutTooLarge);
        assert_eq!(condition.wait_timeout(timeout), refused);
        let predicate = || {
            calls += 1;
            true
        };
        assert_eq!(condition.wait_for_timeout(predicate, timeout), refused);
    }
    assert_eq!(calls, 0);
    assert!(condition.locked());
    assert_eq!(condition.waiting(), Some(0));
    condition.release().unwrap();
}

#[test]
fn cond_8_a_timeout_that_is_too_large_errs_with_the_lock_held() {
    let _watchdog = watchdog();
    on_every_lock!(refuses_what_is_too_large);
}

fn lets_others_in<L: CondLock + Sync>(condition: &Condition<L>) {
    for (number, form) in expiring().into_iter().enumerate() {
        condition.acquire();
        // A thread that waits for the lock gets it in between, since even a wait of no time
        // releases it: not always in the first one, which the waiter may win.
        let entered = AtomicBool::new(false);
        thread::scope(|s| {
            s.spawn(|| {
                condition.acquire();
                entered.store(true, SeqCst);
                condition.release().unwrap();
            });
            until(|| {
                assert!(!form(condition, Duration::ZERO), "form {number}");
                entered.load(SeqCst)
            });
        });
        condition.release().unwrap();
    }
}

#[test]
fn cond_9_a_timeout_of_zero_releases_and_takes_back_once() {
    let _watchdog = watchdog();
    on_every_lock!(lets_others_in);
    let counting = Counting::default();
    let condition = Condition::with_lock(&counting);
    condition.acquire();
    assert_eq!(condition.wait_timeout(Duration::ZERO), Ok(false));
    assert_eq!(condition.wait_until(Deadline::now()), Ok(false));
    assert_eq!(counting.released.load(SeqCst), 2);
    assert_eq!(counting.acquired.load(SeqCst), 3);
}

fn exact_numbers<L: CondLock + Sync>(condition: &Condition<L>) {
    // CPython's test_notify: waiters that wait twice.
    const WAITERS: usize = 8;
    let (first, second) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|s| {
        let wait_twice = || {
            condition.acquire();
            condition.wait().unwrap();
            first.fetch_add(1, SeqCst);
            condition.wait().unwrap();
            second.fetch_add(1, SeqCst);
            condition.release().unwrap();
        };
        let waiters = [(); WAITERS].map(|()| spawn(s, wait_twice));
        until_waiting(condition, WAITERS, &waiters);
        let notify = |n| {
            let _guard = condition.guard();
            condition.notify(n).unwrap()
        };
        // Three return, wait again and are not served by the same notify.
        assert_eq!(notify(3), 3);
        until(|| first.load(SeqCst) == 3);
        until_waiting(condition, WAITERS, &waiters);
        assert_eq!((first.load(SeqCst), second.load(SeqCst)), (3, 0));
        // The next five are those that have not been first.
        assert_eq!(notify(5), 5);
        until(|| first.load(SeqCst) == 8);
        until_waiting(condition, WAITERS, &waiters);
        assert_eq!((first.load(SeqCst), second.load(SeqCst)), (8, 0));
        assert_eq!(notify(0), 0);
        assert_eq!(notify(usize::MAX), WAITERS);
        until(|| second.load(SeqCst) == WAITERS);
        assert_eq!(notify(1), 0);
    });
    assert_eq!(first.into_inner(), WAITERS);
}

#[test]
fn cond_10_and_12_notify_wakes_exactly_as_many_and_returns_their_number() {
    let _watchdog = watchdog();
    on_every_lock!(exact_numbers);
    on_every_lock!(exact_numbers);
}

fn first_in_first_out<L: CondLock + Sync>(condition: &Condition<L>) {
    const WAITERS: usize = 6;
    let order = Mutex::new(Vec::new());
    thread::scope(|s| {
        let mut waiters = Vec::new();
        for number in 0..WAITERS {
            let order = &order;
            waiters.push(spawn(s, move || {
                condition.acquire();
                condition.wait_timeout(LONG).unwrap();
                order.lock().unwrap().push(number);
                condition.release().unwrap();
            }));
            until_waiting(condition, number + 1, &waiters);
        }
        for number in 1..=WAITERS {
            condition.acquire();
            assert_eq!(condition.notify_one(), Ok(1));
            condition.release().unwrap();
            until(|| order.lock().unwrap().len() == number);
        }
    });
    assert_eq!(
        order.into_inner().unwrap(),
        (0..WAITERS).collect::<Vec<_>>()
    );
}

#[test]
fn cond_11_the_oldest_waiter_is_woken_first() {
    let _watchdog = watchdog();
    on_every_lock!(first_in_first_out);
}

#[test]
fn cond_11_one_that_times_out_in_the_middle_leaves_the_order_of_the_rest() {
    let _watchdog = watchdog();
    let condition = Condition::new();
    let order = Mutex::new(Vec::new());
    thread::scope(|s| {
        let mut waiters = Vec::new();
        for number in 0..5 {
            let (condition, order) = (&condition, &order);
            let timeout = if number % 2 == 0 { LONG } else { SHORT };
            waiters.push(spawn(s, move || {
                let _guard = condition.guard();
                let notified = condition.wait_timeout(timeout).unwrap();
                order.lock().unwrap().push((number, notified));
            }));
            // Those that time out leave meanwhile.
            until(|| {
                let _guard = condition.guard();
                let left = order.lock().unwrap().len();
                condition.waiting().unwrap() + left == number + 1
            });
        }
        until(|| order.lock().unwrap().len() == 2 && waiting(&condition) == 3);
        for count in 3..=5 {
            {
                let _guard = condition.guard();
                assert_eq!(condition.notify_one(), Ok(1));
            }
            until(|| order.lock().unwrap().len() == count);
        }
    });
    let order = order.into_inner().unwrap();
    assert_eq!(order[2..], [(0, true), (2, true), (4, true)]);
}

fn latecomers_get_nothing<L: CondLock + Sync>(condition: &Condition<L>) {
    for _ in 0..5 {
        thread::scope(|s| {
            let waiters = [spawn(s, || {
                condition.acquire();
                condition.wait().unwrap();
                condition.release().unwrap();
            })];
            until_waiting(condition, 1, &waiters);
            condition.acquire();
            assert_eq!(condition.notify_one(), Ok(1));
            // Waits before the notified thread can have taken the lock.
            assert_eq!(condition.wait_timeout(SHORT), Ok(false));
            condition.release().unwrap();
        });
    }
    // Nor is anything remembered.
    condition.acquire();
    assert_eq!(condition.notify_all(), Ok(0));
    assert_eq!(condition.wait_timeout(SHORT), Ok(false));
    condition.release().unwrap();
}

#[test]
fn cond_12_a_latecomer_does_not_steal_the_wake() {
    let _watchdog = watchdog();
    on_every_lock!(latecomers_get_nothing);
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

fn wakes_a_crowd<L: CondLock + Sync>(condition: &Condition<L>) {
    const CROWD: usize = 100; // more than one release wakes by itself
    for timed in [false, true] {
        let returned = AtomicUsize::new(0);
        thread::scope(|s| {
            let wait = || {
                condition.acquire();
                let notified = if timed {
                    condition.wait_timeout(LONG).unwrap()
                } else {
                    condition.wait().is_ok()
                };
                assert!(notified);
                returned.fetch_add(1, SeqCst);
                condition.release().unwrap();
            };
            let waiters: Vec<_> = (0..CROWD).map(|_| spawn(s, wait)).collect();
            until_waiting(condition, CROWD, &waiters);
            condition.acquire();
            assert_eq!(condition.notify_all(), Ok(CROWD));
            assert_eq!(returned.load(SeqCst), 0, "the notifier holds the lock");
            condition.release().unwrap();
        });
        assert_eq!(returned.into_inner(), CROWD);
        assert!(!condition.locked());
        check_taken_when_free(condition);
    }
}

#[test]
fn cond_14_notify_all_wakes_one_hundred() {
    let _watchdog = watchdog();
    on_every_lock!(wakes_a_crowd);
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

fn keeps_the_lock<L: CondLock + Sync>(condition: &Condition<L>) {
    let (inside, returned) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|s| {
        let waiters = [(); 4].map(|()| {
            spawn(s, || {
                condition.acquire();
                condition.wait().unwrap();
                assert_eq!(inside.fetch_add(1, SeqCst), 0, "one after another");
                thread::yield_now();
                inside.fetch_sub(1, SeqCst);
                returned.fetch_add(1, SeqCst);
                condition.release().unwrap();
            })
        });
        until_waiting(condition, 4, &waiters);
        condition.acquire();
        assert_eq!(condition.notify_all(), Ok(4));
        for waiter in &waiters {
            waiter.until_asleep();
        }
        assert_eq!(returned.load(SeqCst), 0);
        assert!(condition.locked());
        condition.release().unwrap();
    });
}

#[test]
fn cond_15_notify_does_not_release_the_lock() {
    let _watchdog = watchdog();
    on_every_lock!(keeps_the_lock);
}

fn spends_no_notify_on_who_leaves<L: CondLock + Sync>(condition: &Condition<L>) {
    for round in 0..40_u64 {
        let deadline = after(Duration::from_millis(2));
        let queued = AtomicBool::new(false);
        thread::scope(|s| {
            let hasty = spawn(s, || {
                condition.acquire();
                let notified = condition.wait_until(deadline).unwrap();
                condition.release().unwrap();
                usize::from(notified)
            });
            until(|| waiting(condition) == 1 || deadline.has_passed());
            let patient = spawn(s, || {
                condition.acquire();
                queued.store(true, SeqCst);
                let notified = condition.wait_timeout(LONG).unwrap();
                condition.release().unwrap();
                usize::from(notified)
            });
            until(|| {
                let _guard = condition.guard();
                queued.load(SeqCst) // under the lock, so the wait has begun
            });
            // Take the lock while the hasty one waits, sometimes; notify shortly before, at or
            // after its deadline, when it cannot return.
            let early = Duration::from_micros(round % 20 * 10);
            condition.acquire();
            until_nearly(deadline, early);
            if round % 3 == 0 {
                // On the condition or, its time being up, on the lock.
                until(|| hasty.is_finished() || is_asleep(hasty.tid()));
            }
            let mut notified = condition.notify_one().unwrap();
            condition.release().unwrap();
            let hasty_was = hasty.join();
            assert_eq!(notified, 1, "one waits with all the time of the world");
            // If the notify reached the hasty one, it says so, and the other goes on waiting.
            condition.acquire();
            notified += condition.notify_all().unwrap();
            condition.release().unwrap();
            let patient_was = patient.join();
            assert_eq!(notified, hasty_was + patient_was);
            assert_eq!(patient_was, 1);
        });
    }
}

#[test]
fn cond_16_a_notify_is_not_spent_on_a_waiter_whose_time_is_up() {
    let _watchdog = watchdog();
    on_every_lock!(spends_no_notify_on_who_leaves);
}

fn waits_for_what_it_is_told<L: CondLock + Sync>(condition: &Condition<L>) {
    // CPython's test_waitfor: the predicate is true at the fourth notify.
    let state = Unsynchronized::new(0);
    thread::scope(|s| {
        let waiter = s.spawn(|| {
            let _guard = condition.guard();
            let result = condition.wait_for(|| {
                assert!(condition.locked(), "the predicate runs under the lock");
                // SAFETY: under the lock.
                let now = unsafe { *state.get() };
                (now == 4).then_some(now)
            });
            assert_eq!(result, Ok(Some(4)));
        });
        for _ in 0..4 {
            until(|| waiting(condition) == 1);
            let _guard = condition.guard();
            // SAFETY: under the lock.
            unsafe { *state.get() += 1 };
            assert_eq!(condition.notify_one(), Ok(1));
        }
        waiter.join().unwrap();
    });
}

#[test]
fn cond_17_wait_for_returns_what_the_predicate_returned_last() {
    let _watchdog = watchdog();
    on_every_lock!(waits_for_what_it_is_told);
    let condition = Condition::new();
    let _guard = condition.guard();
    assert_eq!(condition.wait_for(|| true), Ok(true));
    assert_eq!(condition.wait_for_timeout(|| None::<u8>, SHORT), Ok(None));
}

#[test]
fn cond_18_a_predicate_that_is_true_at_once_waits_for_nothing() {
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

fn counts_its_calls<L: CondLock + Sync>(condition: &Condition<L>) {
    let calls = AtomicUsize::new(0);
    let never = || {
        calls.fetch_add(1, SeqCst);
        false
    };
    condition.acquire();
    // No time: before the wait and after it.
    let past = Deadline::now();
    assert_eq!(condition.wait_for_timeout(never, Duration::ZERO), Ok(false));
    assert_eq!(calls.swap(0, SeqCst), 2);
    assert_eq!(condition.wait_for_until(never, past), Ok(false));
    assert_eq!(calls.swap(0, SeqCst), 2);
    assert_eq!(condition.wait_for_interruptible(never, past), Ok(false));
    assert_eq!(calls.swap(0, SeqCst), 2);
    // The evaluation after the wait that timed out decides.
    let late_truth = || calls.fetch_add(1, SeqCst) == 1;
    assert_eq!(condition.wait_for_timeout(late_truth, SHORT), Ok(true));
    assert_eq!(calls.swap(0, SeqCst), 2);
    condition.release().unwrap();

    // CPython's test_waitfor_timeout: one deadline for all, and a call per notify.
    thread::scope(|s| {
        let waiter = s.spawn(|| {
            let _guard = condition.guard();
            let start = Instant::now();
            let timeout = Duration::from_millis(30);
            assert_eq!(condition.wait_for_timeout(never, timeout), Ok(false));
            assert!(start.elapsed() >= timeout);
        });
        let mut notified = 0;
        while !waiter.is_finished() {
            let guard = condition.guard();
            notified += condition.notify_one().unwrap();
            drop(guard);
            thread::yield_now(); // the waiter needs the lock to leave
        }
        assert_eq!(calls.load(SeqCst), 2 + notified);
    });
}

#[test]
fn cond_19_one_deadline_and_one_evaluation_more_than_waits() {
    let _watchdog = watchdog();
    on_every_lock!(counts_its_calls);
}

fn survives_a_panic<L: CondLock + Sync>(condition: &Condition<L>) {
    thread::scope(|s| {
        let panics = spawn(s, || {
            condition.acquire();
            let mut calls = 0;
            let unwound = catch_unwind(AssertUnwindSafe(|| {
                condition.wait_for(|| {
                    calls += 1;
                    assert!(calls < 2, "on purpose");
                    false
                })
            }));
            assert!(unwound.is_err() && condition.locked());
            assert_eq!(condition.waiting(), Some(0));
            condition.release().unwrap();
        });
        until(|| waiting(condition) == 1);
        {
            let _guard = condition.guard();
            assert_eq!(condition.notify_one(), Ok(1));
        }
        panics.join();
    });
    wakes_in_every_form(condition);
}

#[test]
fn cond_20_a_panic_in_the_predicate_leaves_the_lock_held_and_all_usable() {
    let _watchdog = watchdog();
    on_every_lock!(survives_a_panic);
}

fn share_a_lock<L: CondLock + Copy + Sync + Send>(lock: L) {
    let conditions = [Condition::with_lock(lock), Condition::with_lock(lock)];
    let returned = [AtomicUsize::new(0), AtomicUsize::new(0)];
    thread::scope(|s| {
        let waiters: Vec<_> = (0..6)
            .map(|number| {
                let (condition, returned) = (&conditions[number % 2], &returned[number % 2]);
                spawn(s, move || {
                    let _guard = condition.guard();
                    condition.wait().unwrap();
                    returned.fetch_add(1, SeqCst);
                })
            })
            .collect();
        let returned = || [returned[0].load(SeqCst), returned[1].load(SeqCst)];
        until_waiting(&conditions[0], 3, &waiters);
        until_waiting(&conditions[1], 3, &waiters);
        lock.acquire();
        assert_eq!(conditions[0].notify_one(), Ok(1));
        assert_eq!(conditions[0].waiting(), Some(2));
        assert_eq!(conditions[1].waiting(), Some(3));
        lock.release().unwrap();
        until(|| returned() == [1, 0]);
        // Both in one section.
        lock.acquire();
        assert_eq!(conditions[1].notify(2), Ok(2));
        assert_eq!(conditions[0].notify_one(), Ok(1));
        lock.release().unwrap();
        until(|| returned() == [2, 2]);
        {
            let _guard = conditions[1].guard();
            assert_eq!(conditions[0].notify_all(), Ok(1));
            assert_eq!(conditions[1].waiting(), Some(1));
        }
        until(|| returned() == [3, 2]);
        let _guard = conditions[0].guard();
        assert_eq!(conditions[1].notify_all(), Ok(1));
    });
}

#[test]
fn cond_21_conditions_that_share_a_lock_do_not_wake_each_others_waiters() {
    let _watchdog = watchdog();
    share_a_lock(&RLock::new());
    share_a_lock(&Lock::new());
}

fn every_notify_is_one_return<L: CondLock + Sync>(condition: &Condition<L>) {
    const ROUNDS: usize = 500;
    let notified = AtomicUsize::new(0);
    let (running, returned) = (AtomicUsize::new(4), AtomicUsize::new(0));
    threads(6, |number| {
        let mut rng = Rng::new();
        if number < 4 {
            for _ in 0..ROUNDS {
                let _guard = condition.guard();
                let came = match rng.below(3) {
                    0 => condition.wait_timeout(rng.timeout()).unwrap(),
                    1 => condition.wait_until(after(rng.timeout())).unwrap(),
                    _ => condition.wait_interruptible(after(rng.timeout())).unwrap(),
                };
                returned.fetch_add(usize::from(came), Relaxed);
            }
            running.fetch_sub(1, SeqCst);
        } else {
            while running.load(SeqCst) > 0 {
                let guard = condition.guard();
                let count = condition.notify(rng.below(4) as usize).unwrap();
                notified.fetch_add(count, Relaxed);
                drop(guard);
                thread::yield_now(); // the waiters need the lock to leave
            }
        }
    });
    assert_eq!(returned.into_inner(), notified.into_inner());
    assert_eq!(waiting(condition), 0);
}

#[test]
fn cond_16_under_random_timeouts_each_notify_is_one_wait_that_returns_true() {
    let _watchdog = watchdog();
    on_every_lock!(every_notify_is_one_return);
}

fn is_a_bounded_queue<L: CondLock + Copy + Sync + Send>(lock: L) {
    const ITEMS: usize = 2_000;
    const CAPACITY: usize = 4;
    let (not_empty, not_full) = (Condition::with_lock(lock), Condition::with_lock(lock));
    let queue = Unsynchronized::new(Vec::new());
    let consumed = threads(4, |number| {
        let mut sum = 0;
        for item in 0..ITEMS {
            lock.acquire();
            // SAFETY: all accesses to the queue are under the lock.
            let queue = queue.get();
            if number % 2 == 0 {
                // SAFETY: as above.
                let full = || unsafe { (*queue).len() } == CAPACITY;
                not_full.wait_for(|| !full()).unwrap();
                // SAFETY: as above.
                unsafe { (*queue).push(item) };
                not_empty.notify_one().unwrap();
            } else {
                // SAFETY: as above.
                let item = not_empty.wait_for(|| unsafe { (*queue).pop() }).unwrap();
                sum += item.unwrap();
                not_full.notify_one().unwrap();
            }
            lock.release().unwrap();
        }
        sum
    });
    assert_eq!(consumed.into_iter().sum::<usize>(), ITEMS * (ITEMS - 1));
    assert!(queue.into_inner().is_empty());
}

#[test]
fn cond_stress_a_bounded_queue_of_two_conditions_loses_nothing() {
    let _watchdog = watchdog();
    is_a_bounded_queue(&RLock::new());
    is_a_bounded_queue(&Lock::new());
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
    last_user_destroys(Condition::new);
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
