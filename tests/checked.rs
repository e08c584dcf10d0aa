//! The forms that ask a function whether to go on waiting (SIG-4, ruling 16).

#![cfg(not(threadbare_model))]

mod common;

use common::{until, watchdog};
use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;
use threadbare::{
    Barrier, BoundedSemaphore, Condition, Condvar, Deadline, Error, Event, Lock, Monitor, Mutex,
    MutexExt, RLock, Semaphore, Thread, park_checked,
};

/// A wait that cannot succeed, with a deadline and a check; what it says.
type Way = fn(Deadline, &mut dyn FnMut() -> bool) -> Result<bool, Error>;

/// Takes the lock in another thread, for good.
fn take_elsewhere(lock: &RLock) {
    std::thread::scope(|s| s.spawn(|| lock.acquire()).join()).unwrap();
}

/// Each checks by itself that its object is as it should be after the wait.
const WAYS: [Way; 12] = [
    |deadline, check| {
        let lock = Lock::new();
        lock.acquire();
        let result = lock.acquire_checked(deadline, check);
        assert!(!lock.has_waiters() || lock.release().is_ok());
        result
    },
    |deadline, check| {
        let lock = RLock::new();
        take_elsewhere(&lock);
        let result = lock.acquire_checked(deadline, check);
        assert!(!lock.is_owned());
        result
    },
    |deadline, check| {
        let semaphore = Semaphore::new(0);
        let result = semaphore.acquire_checked(deadline, check);
        semaphore.release().unwrap();
        assert_eq!(semaphore.value(), 1);
        result
    },
    |deadline, check| {
        let semaphore = BoundedSemaphore::new(1);
        semaphore.acquire();
        semaphore.acquire_checked(deadline, check)
    },
    |deadline, check| Event::new().wait_checked(deadline, check),
    |deadline, check| {
        let condition = Condition::new();
        let _guard = condition.guard();
        let result = condition.wait_checked(deadline, check);
        assert_eq!(
            (condition.waiting(), condition.notify_one()),
            (Some(0), Ok(0))
        );
        result
    },
    |deadline, check| {
        let mutex = Mutex::new(());
        let guard = mutex.lock();
        let result = mutex.lock_checked(deadline, check);
        drop(guard);
        let result = result.map(|guard| guard.is_some());
        assert!(mutex.try_lock().is_some());
        result
    },
    |deadline, check| {
        let monitor = Monitor::new(());
        std::thread::scope(|s| s.spawn(|| forget(monitor.lock())).join()).unwrap();
        let result = monitor.lock_checked(deadline, check);
        result.map(|guard| guard.is_some())
    },
    |deadline, check| {
        let (mutex, condvar) = (Mutex::new(()), Condvar::new());
        let result = condvar.wait_checked(&mut mutex.lock(), deadline, check);
        assert!(!mutex.is_locked() && !condvar.notify_one());
        result
    },
    |deadline, check| {
        let monitor = Monitor::new(());
        let mut guard = monitor.lock();
        let result = guard.wait_checked(deadline, check);
        assert_eq!((guard.waiting(), guard.notify_all()), (0, 0));
        drop(guard);
        assert!(!monitor.is_locked());
        result
    },
    |deadline, check| park_checked(deadline, check),
    |deadline, check| {
        let go = Arc::new(Event::new());
        let thread = Thread::new({
            let go = go.clone();
            move || go.wait()
        });
        thread.start().unwrap();
        let result = catch_unwind(AssertUnwindSafe(|| thread.join_checked(deadline, check)));
        go.set();
        thread.join().unwrap();
        result.unwrap_or_else(|payload| std::panic::resume_unwind(payload))
    },
];

#[test]
fn ruling_16_a_check_that_says_stop_ends_the_wait() {
    let _watchdog = watchdog();
    for (place, way) in WAYS.iter().enumerate() {
        let mut calls = 0;
        let stop = &mut || {
            calls += 1;
            calls == 3 // the thread has slept twice by then
        };
        assert_eq!(
            way(Deadline::NEVER, stop),
            Err(Error::Interrupted),
            "way {place}"
        );
        assert_eq!(calls, 3);
    }
}

#[test]
fn ruling_16_what_a_check_sees_needs_no_signal() {
    let _watchdog = watchdog();
    for way in WAYS {
        let (asked, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|s| {
            let waiting = s.spawn(|| {
                way(Deadline::NEVER, &mut || {
                    asked.store(true, Relaxed);
                    stop.load(Relaxed)
                })
            });
            until(|| asked.load(Relaxed));
            stop.store(true, Relaxed);
            assert_eq!(waiting.join().unwrap(), Err(Error::Interrupted));
        });
    }
}

#[test]
fn ruling_16_the_deadline_holds_beside_the_check() {
    let _watchdog = watchdog();
    for way in WAYS {
        let deadline = common::after(Duration::from_millis(120) * common::patience());
        let mut calls = 0;
        let go_on = &mut || {
            calls += 1;
            false
        };
        assert_eq!(way(deadline, go_on), Ok(false));
        assert!(deadline.has_passed() && calls >= 2, "{calls} calls");
    }
}

#[test]
fn ruling_16_a_panic_of_the_check_goes_on_after_the_wait() {
    let _watchdog = watchdog();
    for way in WAYS {
        let panics = AssertUnwindSafe(|| way(Deadline::NEVER, &mut || panic!("in the check")));
        let payload = catch_unwind(panics).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&"in the check"));
    }
}

#[test]
fn ruling_16_and_cond_8_a_panic_of_the_check_goes_on_with_the_lock_held() {
    let _watchdog = watchdog();
    let (mutex, condvar, monitor) = (Mutex::new(()), Condvar::new(), Monitor::new(()));
    let (mut guard, mut watched) = (mutex.lock(), monitor.lock());
    let panics = [
        catch_unwind(AssertUnwindSafe(|| {
            condvar.wait_checked(&mut guard, Deadline::NEVER, || panic!("in the check"))
        })),
        catch_unwind(AssertUnwindSafe(|| {
            watched.wait_checked(Deadline::NEVER, || panic!("in the check"))
        })),
    ];
    assert!(panics.iter().all(Result::is_err));
    assert!(mutex.is_locked() && condvar.waiting() == 0);
    assert!(monitor.try_lock().is_none() && watched.waiting() == 0);
}

#[test]
fn ruling_16_a_lock_that_a_panicking_check_lets_in_is_not_kept() {
    let _watchdog = watchdog();
    // The check frees the lock and panics, so the thread may get the lock it gives up.
    let mutex = Mutex::new(());
    forget(mutex.lock());
    let panics = AssertUnwindSafe(|| {
        mutex.lock_checked(Deadline::NEVER, || {
            // SAFETY: locked above, and the guard was forgotten.
            unsafe { mutex.force_unlock() };
            panic!("in the check");
        })
    });
    assert!(catch_unwind(panics).is_err() && !mutex.is_locked());
    let monitor = Monitor::new(());
    let (taken, go, gone) = (Event::new(), Event::new(), Event::new());
    std::thread::scope(|s| {
        s.spawn(|| {
            let guard = monitor.lock();
            taken.set();
            go.wait();
            drop(guard);
            gone.set();
        });
        taken.wait();
        let panics = AssertUnwindSafe(|| {
            monitor.lock_checked(Deadline::NEVER, || {
                go.set();
                gone.wait();
                panic!("in the check");
            })
        });
        assert!(catch_unwind(panics).is_err());
        assert!(monitor.try_lock().is_some(), "kept without a guard");
    });
}

#[test]
fn ruling_16_a_wait_that_succeeds_does_not_care_for_the_check() {
    let _watchdog = watchdog();
    let lock = Lock::new();
    assert_eq!(
        lock.acquire_checked(Deadline::NEVER, || unreachable!("it is free")),
        Ok(true)
    );
    let asked = AtomicBool::new(false);
    std::thread::scope(|s| {
        let other = s.spawn(|| {
            lock.acquire_checked(Deadline::NEVER, || {
                asked.store(true, Relaxed);
                false
            })
        });
        until(|| asked.load(Relaxed));
        lock.release().unwrap();
        assert_eq!(other.join().unwrap(), Ok(true));
    });
    assert!(lock.locked());
}

#[test]
fn ruling_16_and_bar_18_a_check_takes_its_party_out_of_the_round() {
    let _watchdog = watchdog();
    let barrier = Barrier::new(2);
    let calls = AtomicU32::new(0);
    let stop = || calls.fetch_add(1, Relaxed) == 1;
    assert_eq!(
        barrier.wait_checked(Deadline::NEVER, stop),
        Err(Error::Interrupted)
    );
    assert!(!barrier.broken() && barrier.n_waiting() == 0);
    let panics = AssertUnwindSafe(|| barrier.wait_checked(Deadline::NEVER, || panic!("in it")));
    assert!(catch_unwind(panics).is_err());
    assert!(!barrier.broken() && barrier.n_waiting() == 0);
    std::thread::scope(|s| {
        let other = s.spawn(|| barrier.wait());
        let mine = barrier.wait_checked(Deadline::NEVER, || false).unwrap();
        assert_eq!(mine + other.join().unwrap().unwrap(), 1);
    });
}

#[test]
fn ruling_16_a_check_may_use_the_object() {
    let _watchdog = watchdog();
    let lock = Lock::new();
    lock.acquire();
    let mut calls = 0;
    let release = || {
        calls += 1;
        if calls == 2 {
            lock.release().unwrap();
        }
        false
    };
    assert_eq!(lock.acquire_checked(Deadline::NEVER, release), Ok(true));
    let condition = Condition::new();
    let _guard = condition.guard();
    let notify = || {
        let _inner = condition.guard();
        condition.notify_one().unwrap();
        false
    };
    assert_eq!(condition.wait_checked(Deadline::NEVER, notify), Ok(true));
    let (mutex, condvar) = (Mutex::new(1), Condvar::new());
    let mut guard = mutex.lock();
    let notify = || {
        *mutex.lock() += 1; // it is free meanwhile
        condvar.notify_one();
        false
    };
    let waited = condvar.wait_checked(&mut guard, Deadline::NEVER, notify);
    assert_eq!((waited, *guard), (Ok(true), 2));
    let monitor = Monitor::new(1);
    let mut guard = monitor.lock();
    let notify = || {
        let mut inner = monitor.lock();
        *inner += 1;
        inner.notify_one();
        false
    };
    let waited = guard.wait_checked(Deadline::NEVER, notify);
    assert_eq!((waited, *guard), (Ok(true), 2));
}
