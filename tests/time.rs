//! Timeouts and deadlines, across all types (TIME).
#![cfg(not(threadbare_model))]

mod common;

use common::{
    Acquire, SHORT, TOO_LONG, after, check_taken_when_free, futex_of, spawn, until,
    wake_for_nothing, watchdog,
};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};
use threadbare::{
    BoundedSemaphore, CondLock, Condition, Deadline, Error, ErrorKind, Event, Lock, RLock,
    Semaphore, TIMEOUT_MAX, Thread,
};

/// A named call that waits until its deadline, in vain; returns whether it succeeded.
type Call<'a> = (&'static str, &'a (dyn Fn(Deadline) -> bool + Sync));

/// Runs `check` for a call of each type that waits in vain.
fn each_wait_in_vain(check: impl Fn(Call<'_>) + Sync) {
    let (lock, rlock, event) = (Lock::new(), RLock::new(), Event::new());
    let (semaphore, bounded) = (Semaphore::new(1), BoundedSemaphore::new(1));
    bounded.acquire();
    lock.acquire();
    rlock.acquire();
    let (on_rlock, on_lock) = (Condition::new(), Condition::with_lock(Lock::new()));
    static STOP: Event = Event::new(); // never set: the thread ends with the process
    let sleeper = Thread::builder()
        .target(|| STOP.wait())
        .daemon(true)
        .spawn()
        .unwrap();
    thread::scope(|s| {
        // Not the thread that holds the locks.
        s.spawn(|| {
            let waits = |condition: &Condition, deadline| {
                let _guard = condition.guard();
                condition.wait_until(deadline).unwrap()
            };
            let waits_plain = |deadline| {
                let _guard = on_lock.guard();
                on_lock.wait_until(deadline).unwrap()
            };
            let waits_for = |deadline| {
                let _guard = on_rlock.guard();
                on_rlock.wait_for_until(|| false, deadline).unwrap()
            };
            let calls: [Call<'_>; 9] = [
                ("Lock", &|deadline| lock.acquire_until(deadline)),
                ("RLock", &|deadline| rlock.acquire_until(deadline)),
                ("Condition<RLock>", &|deadline| waits(&on_rlock, deadline)),
                ("Condition<Lock>", &waits_plain),
                ("wait_for", &waits_for),
                ("Semaphore", &|deadline| {
                    semaphore.acquire_n_until(2, deadline).unwrap()
                }),
                ("BoundedSemaphore", &|deadline| {
                    bounded.acquire_until(deadline)
                }),
                ("Event", &|deadline| event.wait_until(deadline)),
                ("join", &|deadline| sleeper.join_until(deadline).unwrap()),
            ];
            calls.into_iter().for_each(&check);
        });
    });
}

#[test]
fn time_1_deadlines_lie_on_the_monotonic_clock() {
    let before = Instant::now();
    let deadline = after(Duration::from_secs(60));
    let after_it = Instant::now();
    // `Instant` reads the same clock, so between the two lies the time of a few calls.
    let left = deadline.remaining().unwrap();
    assert!(left <= Duration::from_secs(60));
    assert!(left + after_it.elapsed() + (after_it - before) >= Duration::from_secs(60));
    assert!(Deadline::now() <= Deadline::now() && Deadline::now() < deadline);
    assert!(deadline < Deadline::NEVER);
}

#[test]
fn time_1_one_deadline_limits_several_calls_together() {
    let _watchdog = watchdog();
    let (lock, event, semaphore) = (Lock::new(), Event::new(), Semaphore::new(0));
    lock.acquire();
    let start = Instant::now();
    let deadline = after(SHORT);
    assert!(!event.wait_until(deadline));
    assert!(start.elapsed() >= SHORT && deadline.has_passed());
    assert_eq!(deadline.remaining(), Some(Duration::ZERO));
    // What comes later makes one attempt each.
    assert!(!lock.acquire_until(deadline) && !semaphore.acquire_until(deadline));
    lock.release().unwrap();
    semaphore.release().unwrap();
    assert!(lock.acquire_until(deadline) && semaphore.acquire_until(deadline));
}

#[test]
fn time_2_no_wait_ends_early() {
    let _watchdog = watchdog();
    each_wait_in_vain(|(name, call)| {
        for nanos in [1, 999, 1_000, 50_001, 1_000_000, 3_141_593] {
            let timeout = Duration::from_nanos(nanos);
            let start = Instant::now();
            let deadline = after(timeout);
            assert!(!call(deadline), "{name}");
            assert!(start.elapsed() >= timeout, "{name} ended early");
            assert!(deadline.has_passed(), "{name}");
        }
    });
}

#[test]
fn time_2_positive_fractions_are_positive_timeouts() {
    let start = Instant::now();
    let now = Deadline::now();
    for seconds in [1e-12, f64::MIN_POSITIVE, 1e-9, 0.1] {
        assert!(Deadline::from_secs_f64(seconds).unwrap() > now);
    }
    let deadline = Deadline::from_secs_f64(0.005).unwrap();
    assert!(!Event::new().wait_until(deadline));
    assert!(start.elapsed() >= Duration::from_millis(5));
}

#[test]
fn time_3_wakes_for_no_reason_neither_end_nor_prolong_a_wait() {
    let _watchdog = watchdog();
    each_wait_in_vain(|(name, call)| {
        let timeout = Duration::from_millis(20);
        let ended = AtomicBool::new(false);
        thread::scope(|s| {
            let waiter = spawn(s, || {
                let start = Instant::now();
                let result = call(after(timeout));
                let took = start.elapsed();
                ended.store(true, SeqCst);
                (result, took)
            });
            // A wait that began anew with each wake would last as long as they come.
            let tid = waiter.tid();
            let mut wakes = 0;
            while !ended.load(SeqCst) {
                if let Some(word) = futex_of(tid) {
                    wake_for_nothing(word);
                    wakes += 1;
                }
            }
            let (result, took) = waiter.join();
            assert!(
                !result && took >= timeout,
                "{name}: {took:?}, {wakes} wakes"
            );
        });
    });
}

#[test]
fn time_3_wakes_for_no_reason_do_not_end_a_wait_without_limit() {
    let _watchdog = watchdog();
    let (lock, event, semaphore) = (Lock::new(), Event::new(), Semaphore::new(0));
    let condition = Condition::new();
    lock.acquire();
    thread::scope(|s| {
        let waiters = [
            spawn(s, || lock.acquire()),
            spawn(s, || event.wait()),
            spawn(s, || semaphore.acquire()),
            spawn(s, || {
                let _guard = condition.guard();
                condition.wait().unwrap();
            }),
        ];
        for waiter in &waiters {
            for _ in 0..50 {
                waiter.until_asleep();
                if let Some(word) = futex_of(waiter.tid()) {
                    wake_for_nothing(word);
                }
                assert!(!waiter.is_finished());
            }
            waiter.until_asleep();
        }
        lock.release().unwrap();
        event.set();
        semaphore.release().unwrap();
        until(|| {
            let _guard = condition.guard();
            condition.notify_one() == Ok(1)
        });
    });
}

#[test]
fn time_4_the_maximum_is_legal_and_more_is_not() {
    let _watchdog = watchdog();
    assert_eq!(TIMEOUT_MAX, Duration::from_secs(9_223_372_036));
    for timeout in [
        TOO_LONG,
        TIMEOUT_MAX + Duration::from_secs(1),
        Duration::MAX,
    ] {
        assert_eq!(Deadline::after(timeout), Err(Error::TimeoutTooLarge));
    }
    assert!(Deadline::from_secs_f64(TIMEOUT_MAX.as_secs_f64()).is_ok());
    for seconds in [9_223_372_037.0, 1e100, f64::MAX, f64::INFINITY] {
        let refused = Deadline::from_secs_f64(seconds);
        assert_eq!(refused, Err(Error::TimeoutTooLarge), "{seconds}");
    }
    assert_eq!(Error::TimeoutTooLarge.kind(), ErrorKind::Overflow);
}

#[test]
fn time_5_a_point_beyond_the_clock_is_never() {
    let _watchdog = watchdog();
    let deadline = after(TIMEOUT_MAX);
    assert!(deadline <= Deadline::NEVER && !deadline.has_passed());
    assert!(!Deadline::NEVER.has_passed());
    assert_eq!(Deadline::NEVER.remaining(), None);
    // And a wait until then waits, instead of giving up at once.
    let event = Event::new();
    thread::scope(|s| {
        let waiters = [
            spawn(s, || event.wait_until(deadline)),
            spawn(s, || event.wait_timeout(TIMEOUT_MAX).unwrap()),
            spawn(s, || event.wait_interruptible(deadline).unwrap()),
        ];
        for waiter in &waiters {
            waiter.until_asleep_in(&event);
        }
        event.set();
        assert!(waiters.into_iter().all(|waiter| waiter.join()));
    });
}

#[test]
fn time_6_8_and_10_what_is_negative_or_no_number_errs() {
    for seconds in [-1.0, -0.5, -1e-300, f64::NEG_INFINITY, f64::NAN, -f64::NAN] {
        let refused = Deadline::from_secs_f64(seconds);
        assert_eq!(refused, Err(Error::InvalidTimeout), "{seconds}");
    }
    assert_eq!(Error::InvalidTimeout.kind(), ErrorKind::Value);
    for seconds in [0.0, -0.0] {
        assert!(Deadline::from_secs_f64(seconds).unwrap() <= Deadline::now());
    }
}

#[test]
fn time_6_seconds_become_the_deadline_that_they_say() {
    let minute = Deadline::from_secs_f64(60.25).unwrap().remaining().unwrap();
    assert!(minute <= Duration::from_millis(60_250));
    assert!(minute > Duration::from_secs(30));
}

#[test]
fn time_7_a_timeout_that_is_too_large_errs_before_anything_else() {
    let _watchdog = watchdog();
    let refused = Err(Error::TimeoutTooLarge);
    let taken: [&dyn Acquire; 6] = [
        &Lock::new(),
        &RLock::new(),
        &Condition::new(),
        &Condition::with_lock(Lock::new()),
        &Semaphore::new(1),
        &BoundedSemaphore::new(1),
    ];
    for it in taken {
        assert_eq!(it.acquire_timeout(TOO_LONG), refused);
        check_taken_when_free(it);
    }
    let semaphore = Semaphore::new(2);
    assert_eq!(semaphore.acquire_n_timeout(2, TOO_LONG), refused);
    let event = Event::new();
    event.set();
    assert_eq!(event.wait_timeout(TOO_LONG), refused);
    let condition = Condition::new();
    let _guard = condition.guard();
    assert_eq!(condition.wait_timeout(TOO_LONG), refused);
    assert_eq!(condition.wait_for_timeout(|| true, TOO_LONG), refused);
    let thread = Thread::new(|| {});
    thread.start().unwrap();
    thread.join().unwrap();
    assert_eq!(thread.join_timeout(TOO_LONG), refused);
}

#[test]
fn time_7_no_time_is_one_attempt() {
    let _watchdog = watchdog();
    each_wait_in_vain(|(name, call)| {
        let past = Deadline::now();
        assert!(!call(past), "{name}");
        assert!(!call(after(Duration::ZERO)), "{name}");
    });
    let thread = Thread::new(|| {});
    thread.start().unwrap();
    until(|| thread.join_timeout(Duration::ZERO).unwrap()); // a poll
    assert_eq!(thread.join_timeout(Duration::ZERO), Ok(true));
}

/// A wait whose deadline passes while the caller holds `lock`; whether it did so: on a busy machine the
/// wait may be over before the caller has the lock.
fn outlasts_its_timeout<L: CondLock + Copy + Send + Sync>(lock: L) -> bool {
    let condition = Condition::with_lock(lock);
    let entered = AtomicBool::new(false);
    thread::scope(|s| {
        let waiter = spawn(s, || {
            lock.acquire();
            entered.store(true, SeqCst);
            let result = condition.wait_timeout(SHORT);
            lock.release().unwrap();
            result
        });
        // Once the lock is taken after that, the wait has begun, and perhaps ended.
        until(|| entered.load(SeqCst));
        lock.acquire();
        let waits = condition.waiting() == Some(1);
        if waits {
            let deadline = after(3 * SHORT);
            until(|| deadline.has_passed());
            waiter.until_asleep(); // and its time is up, so it is asleep on the lock
            assert!(!waiter.is_finished());
        }
        lock.release().unwrap();
        assert_eq!(waiter.join(), Ok(false));
        waits
    })
}

#[test]
fn time_9_the_timeout_does_not_cover_taking_the_lock_back() {
    let _watchdog = watchdog();
    let (rlock, lock) = (RLock::new(), Lock::new());
    while !outlasts_its_timeout(&rlock) {}
    while !outlasts_its_timeout(&lock) {}
    assert!(!rlock.locked() && !lock.locked());
}
