//! `Condvar` with the guards of `lock_api`'s mutexes (COND).
#![cfg(not(threadbare_model))]

mod child;
mod common;

use child::Child;
use common::typed::CondvarOn;
use common::waiting::{Waits, check_bounded_queue, check_sharing_a_lock, until_waiting, waiting};
use common::{
    LONG, SHORT, Unsynchronized, check_destroyed_by_the_last_user, spawn, threads, until, watchdog,
};
use lock_api::GuardNoSend;
use nix::sys::signal::Signal;
use std::cell::Cell;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;
use std::time::Duration;
use threadbare::{Condvar, Deadline, Mutex, RawMutex};

const fn shared_and_sent<T: Send + Sync>() {}
const _: () = shared_and_sent::<Condvar>();

/// A lock of a user's: counts what is done with it, and panics when it is told to.
struct Counting {
    lock: RawMutex,
    locked: AtomicUsize,
    unlocked: AtomicUsize,
    panics_in_lock: AtomicBool,
    panics_in_unlock: AtomicBool,
}

// SAFETY: exclusive as the lock that it has.
unsafe impl lock_api::RawMutex for Counting {
    const INIT: Counting = Counting {
        lock: RawMutex::INIT,
        locked: AtomicUsize::new(0),
        unlocked: AtomicUsize::new(0),
        panics_in_lock: AtomicBool::new(false),
        panics_in_unlock: AtomicBool::new(false),
    };
    type GuardMarker = GuardNoSend;

    fn lock(&self) {
        assert!(!self.panics_in_lock.load(SeqCst), "on purpose");
        self.lock.lock();
        self.locked.fetch_add(1, SeqCst);
    }
    fn try_lock(&self) -> bool {
        self.lock.try_lock()
    }
    unsafe fn unlock(&self) {
        assert!(!self.panics_in_unlock.load(SeqCst), "on purpose");
        self.unlocked.fetch_add(1, SeqCst);
        // SAFETY: passed on to the caller.
        unsafe { self.lock.unlock() };
    }
    fn is_locked(&self) -> bool {
        self.lock.is_locked()
    }
}

/// A check with a condition variable on a mutex of this type.
fn on<R: lock_api::RawMutex + Send + Sync>(check: impl Fn(&CondvarOn<'_, R>)) {
    let (mutex, condvar) = (lock_api::Mutex::new(()), Condvar::new());
    check(&CondvarOn {
        mutex: &mutex,
        condvar: &condvar,
    });
    assert!(!mutex.is_locked() && condvar.waiting() == 0);
}

/// Runs a generic check with every mutex: this crate's, parking_lot's, a user's.
macro_rules! on_every_mutex {
    ($check:path) => {{
        on::<RawMutex>(|it| $check(it));
        on::<parking_lot::RawMutex>(|it| $check(it));
        on::<Counting>(|it| $check(it));
    }};
}

waiting_tests!(on_every_mutex);

#[test]
fn cond_1_can_be_a_static_and_a_default() {
    static MUTEX: Mutex<u32> = Mutex::new(1);
    static CHANGED: Condvar = Condvar::new();
    let mut guard = MUTEX.lock();
    let came = CHANGED.wait_until_while(&mut guard, Deadline::now(), |value| {
        *value += 1;
        *value < 3
    });
    assert_eq!((came, *guard), (true, 3));
    let default = Condvar::default();
    assert!(!default.notify_one() && CHANGED.notify(7) == 0);
}

#[test]
fn cond_4_a_notify_needs_no_lock() {
    let _watchdog = watchdog();
    let (mutex, condvar) = (Mutex::new(()), Condvar::new());
    thread::scope(|s| {
        let wait = || condvar.wait(&mut mutex.lock());
        let waiters = [(); 4].map(|()| spawn(s, wait));
        until(|| condvar.waiting() == 4);
        waiters.iter().for_each(|waiter| waiter.until_asleep());
        assert!(!mutex.is_locked());
        assert!(condvar.notify_one());
        until(|| waiters.iter().filter(|it| it.is_finished()).count() == 1);
        // While somebody holds the lock, those notified wait for that.
        let guard = mutex.lock();
        threads(1, |_| assert_eq!(condvar.notify(2), 2));
        until(|| condvar.waiting() == 1);
        assert_eq!(waiters.iter().filter(|it| it.is_finished()).count(), 1);
        drop(guard);
        until(|| waiters.iter().filter(|it| it.is_finished()).count() == 3);
        assert_eq!((condvar.notify_all(), condvar.notify_all()), (1, 0));
    });
}

#[test]
fn cond_5_nothing_is_lost_where_the_value_changes_under_the_mutex_and_the_notify_comes_later() {
    let _watchdog = watchdog();
    const TURNS: usize = 3_000;
    let (turn, changed) = (Mutex::new(0), Condvar::new());
    threads(2, |number| {
        for _ in 0..TURNS {
            let mut guard = turn.lock();
            changed.wait_while(&mut guard, |turn| *turn % 2 != number);
            *guard += 1;
            drop(guard);
            changed.notify_one();
        }
    });
    assert_eq!(turn.into_inner(), 2 * TURNS);
}

#[test]
fn cond_9_a_wait_releases_and_takes_back_once() {
    let _watchdog = watchdog();
    let (mutex, condvar) = (lock_api::Mutex::<Counting, _>::new(()), Condvar::new());
    let mut guard = mutex.lock();
    assert_eq!(condvar.wait_timeout(&mut guard, Duration::ZERO), Ok(false));
    assert!(!condvar.wait_until(&mut guard, Deadline::now()));
    condvar.wait_while(&mut guard, |()| false);
    // SAFETY: nothing is released through it.
    let raw = unsafe { mutex.raw() };
    assert_eq!(raw.unlocked.load(SeqCst), 2);
    assert_eq!(raw.locked.load(SeqCst), 3);
}

#[test]
fn cond_11_threads_with_different_mutexes_wait_in_one_queue() {
    let _watchdog = watchdog();
    let (numbers, texts) = (Mutex::new(0), parking_lot::Mutex::new(String::new()));
    let condvar = Condvar::new();
    let returned = AtomicUsize::new(0);
    let next = || returned.fetch_add(1, SeqCst);
    thread::scope(|s| {
        let mut waiters = Vec::new();
        for place in 0..6 {
            let (numbers, texts, condvar, next) = (&numbers, &texts, &condvar, &next);
            waiters.push(spawn(s, move || {
                if place % 2 == 0 {
                    let mut guard = numbers.lock();
                    condvar.wait(&mut guard);
                    *guard += 1;
                    assert_eq!(next(), place);
                } else {
                    let mut guard = texts.lock();
                    assert_eq!(condvar.wait_timeout(&mut guard, LONG), Ok(true));
                    guard.push('x');
                    assert_eq!(next(), place);
                }
            }));
            until(|| condvar.waiting() == place + 1);
            waiters[place].until_asleep();
        }
        // One after another, whichever mutex the notifier holds.
        for place in 0..4 {
            let held = (place < 2).then(|| numbers.lock());
            assert!(condvar.notify_one());
            drop(held);
            until(|| returned.load(SeqCst) == place + 1);
        }
        // The two that are left need different ones: holding one back does not hold the other.
        let guard = numbers.lock();
        let texts_guard = texts.lock();
        assert_eq!(condvar.notify_all(), 2);
        drop(guard);
        until(|| returned.load(SeqCst) == 5);
        drop(texts_guard);
    });
    assert_eq!(
        (numbers.into_inner(), texts.into_inner().as_str()),
        (3, "xxx")
    );
    assert_eq!(returned.into_inner(), 6);
}

#[test]
fn cond_16_timeouts_with_different_mutexes_take_no_notify_along() {
    let _watchdog = watchdog();
    let mutexes = [Mutex::new(()), Mutex::new(())];
    let condvar = Condvar::new();
    let (notified, returned) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let running = AtomicUsize::new(4);
    threads(5, |number| {
        let mut rng = common::Rng::new();
        if number == 4 {
            while running.load(SeqCst) > 0 {
                notified.fetch_add(condvar.notify(rng.below(4) as usize), SeqCst);
                thread::yield_now();
            }
            return;
        }
        for _ in 0..500 {
            let mut guard = mutexes[number % 2].lock();
            let came = condvar.wait_timeout(&mut guard, rng.timeout()).unwrap();
            returned.fetch_add(usize::from(came), SeqCst);
        }
        running.fetch_sub(1, SeqCst);
    });
    assert_eq!(returned.into_inner(), notified.into_inner());
    assert_eq!(condvar.waiting(), 0);
}

#[test]
fn cond_21_condvars_that_share_a_mutex_do_not_wake_each_others_waiters() {
    let _watchdog = watchdog();
    fn check<R: lock_api::RawMutex + Send + Sync>() {
        let mutex = lock_api::Mutex::<R, ()>::new(());
        let condvars = [Condvar::new(), Condvar::new()];
        let both = condvars.each_ref().map(|condvar| CondvarOn {
            mutex: &mutex,
            condvar,
        });
        check_sharing_a_lock(both.each_ref());
        check_bounded_queue(both.each_ref());
    }
    check::<RawMutex>();
    check::<parking_lot::RawMutex>();
    check::<Counting>();
}

#[test]
fn cond_22_waiters_whose_stacks_go_at_once_are_not_touched() {
    let _watchdog = watchdog();
    let (mutex, condvar) = (Mutex::new(()), Condvar::new());
    for round in 0..150 {
        thread::scope(|s| {
            for _ in 0..3 {
                s.spawn(|| {
                    let timeout = Duration::from_micros(round * 5);
                    condvar.wait_timeout(&mut mutex.lock(), timeout).unwrap();
                });
            }
            for number in 0..20 {
                let held = (number % 2 == 0).then(|| mutex.lock());
                condvar.notify_all();
                drop(held);
            }
        });
    }
    assert_eq!(condvar.waiting(), 0);
}

#[test]
fn cond_22_the_last_user_may_destroy_the_mutex_with_the_condvar() {
    let _watchdog = watchdog();
    // The notify is under the mutex, so the waiter cannot be back before it has returned.
    type Shared = (Mutex<bool>, Condvar);
    let make = || {
        let mutex = Mutex::from_raw(RawMutex::symmetric(), false);
        (mutex, Condvar::new())
    };
    let asleep = |(_, condvar): &Shared| condvar.waiting() == 1;
    let set = |(mutex, condvar): &Shared| {
        let mut guard = mutex.lock();
        *guard = true;
        condvar.notify_all();
    };
    let wait = |(mutex, condvar): &Shared| {
        condvar.wait_while(&mut mutex.lock(), |is_set| !*is_set);
    };
    check_destroyed_by_the_last_user(800, make, asleep, set, wait);
}

#[test]
fn mem_1_what_happened_before_a_notify_is_seen_after_the_wait_that_it_ends() {
    let _watchdog = watchdog();
    // Not under the mutex, which therefore orders nothing here.
    let (mutex, condvar) = (Mutex::new(()), Condvar::new());
    let data = Unsynchronized::new(0);
    for round in 1..=300 {
        thread::scope(|s| {
            let waiter = spawn(s, || {
                condvar.wait(&mut mutex.lock());
                // SAFETY: written before the notify that ended the wait.
                unsafe { *data.get() }
            });
            until(|| condvar.waiting() == 1);
            // SAFETY: the other thread reads it after it was notified.
            unsafe { *data.get() = round };
            assert!(condvar.notify_one());
            assert_eq!(waiter.join(), round);
        });
    }
}

#[test]
fn what_has_no_size_can_be_waited_for() {
    let _watchdog = watchdog();
    let (numbers, condvar): (&Mutex<[Cell<u8>]>, _) = (&Mutex::new([Cell::new(1)]), Condvar::new());
    let mut guard = numbers.lock();
    let waited = condvar.wait_until_while(&mut guard, Deadline::now(), |numbers| {
        numbers[0].replace(2) < 2
    });
    assert!(waited);
    let text: &Mutex<dyn Debug + Send> = &Mutex::new("text");
    let waited = condvar.wait_timeout_while(&mut text.lock(), SHORT, |_| true);
    assert_eq!(waited, Ok(false));
}

#[test]
fn debug_tells_how_many_wait() {
    let _watchdog = watchdog();
    on::<RawMutex>(|it| {
        let text = || format!("{:?}", it.condvar);
        assert_eq!(text(), "Condvar { waiting: 0 }");
        thread::scope(|s| {
            let waiters = [spawn(s, || {
                it.enter();
                Waits::wait(it);
                it.leave();
            })];
            until_waiting(it, 1, &waiters);
            assert_eq!(text(), "Condvar { waiting: 1 }");
            it.condvar.notify_all();
        });
        assert_eq!(waiting(it), 0);
    });
}

/// Waits with a mutex that is told to panic by `arm`, in a process of its own, which that aborts.
fn check_panic_aborts(test: &str, body: fn()) {
    if let Some(ended) = Child::run(test, body) {
        assert_eq!(ended.signal(), Some(Signal::SIGABRT), "{ended:?}");
        assert!(ended.stderr.contains("on purpose"), "{ended:?}");
        assert!(!ended.stderr.contains("survived"), "{ended:?}");
    }
}

fn wait_with_a_mutex_that_panics(arm: fn(&Counting)) {
    let (mutex, condvar) = (
        Arc::new(lock_api::Mutex::<Counting, _>::new(())),
        Condvar::new(),
    );
    let mut guard = mutex.lock();
    // SAFETY: nothing is released through it.
    arm(unsafe { mutex.raw() });
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        condvar.wait_timeout(&mut guard, SHORT)
    }));
    eprintln!("survived: {caught:?}");
}

#[test]
fn a_lock_that_panics_when_it_is_taken_back_ends_the_process() {
    let _watchdog = watchdog();
    check_panic_aborts(
        "a_lock_that_panics_when_it_is_taken_back_ends_the_process",
        || wait_with_a_mutex_that_panics(|raw| raw.panics_in_lock.store(true, SeqCst)),
    );
}

#[test]
fn a_lock_that_panics_when_it_is_given_up_ends_the_process() {
    let _watchdog = watchdog();
    check_panic_aborts(
        "a_lock_that_panics_when_it_is_given_up_ends_the_process",
        || wait_with_a_mutex_that_panics(|raw| raw.panics_in_unlock.store(true, SeqCst)),
    );
}
