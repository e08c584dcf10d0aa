//! `Guard` (WITH).
#![cfg(not(threadbare_model))]

mod common;

use common::{SHORT, spawn, threads, until, watchdog};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use threadbare::{BoundedSemaphore, Condition, Error, Guard, Lock, RLock, Semaphore};

const fn sent<T: Send>() {}
const _: () = sent::<Guard<'static, Lock>>();
const _: () = sent::<Guard<'static, Semaphore>>();
const _: () = sent::<Guard<'static, BoundedSemaphore>>();

is_not!(Guard<'static, RLock>: Send);
is_not!(Guard<'static, Condition>: Send);
is_not!(Guard<'static, Condition<Arc<RLock>>>: Send);
is_not!(Guard<'static, Condition<&'static RLock>>: Send);

/// What a guard can be of.
trait Held {
    fn free(&self) -> bool;
}

impl Held for Lock {
    fn free(&self) -> bool {
        !self.locked()
    }
}

impl Held for RLock {
    fn free(&self) -> bool {
        !self.locked()
    }
}

impl Held for Condition {
    fn free(&self) -> bool {
        !self.locked()
    }
}

impl Held for Condition<Lock> {
    fn free(&self) -> bool {
        !self.locked()
    }
}

impl Held for Semaphore {
    fn free(&self) -> bool {
        self.value() == 1
    }
}

impl Held for BoundedSemaphore {
    fn free(&self) -> bool {
        self.value() == 1
    }
}

/// Calls a macro with one free object of each type and the name of the method that makes guards.
macro_rules! with_each {
    ($check:ident) => {
        $check!(Lock::new(), guard, Error::ReleaseUnlocked);
        $check!(RLock::new(), guard, Error::NotOwner);
        $check!(Condition::new(), guard, Error::NotOwner);
        $check!(
            Condition::with_lock(Lock::new()),
            guard,
            Error::ReleaseUnlocked
        );
        $check!(BoundedSemaphore::new(1), permit, Error::AboveBound);
    };
}

#[test]
fn with_1_acquires_at_the_beginning_and_releases_once_at_the_end() {
    macro_rules! check {
        ($object:expr, $guard:ident, $error:expr) => {
            let object = $object;
            {
                let _guard = object.$guard();
                assert!(!object.free());
            }
            assert!(object.free());
            assert_eq!(object.release(), Err($error), "it was released once");
        };
    }
    with_each!(check);
    let semaphore = Semaphore::new(1);
    let guard = semaphore.permit();
    assert!(!semaphore.free());
    drop(guard);
    assert!(semaphore.free());
}

#[test]
fn with_1_releases_when_a_panic_passes() {
    macro_rules! check {
        ($object:expr, $guard:ident, $error:expr) => {
            let object = $object;
            let passed = catch_unwind(AssertUnwindSafe(|| {
                let _guard = object.$guard();
                panic!("on purpose");
            }));
            let payload = passed.expect_err("the panic passes on");
            assert_eq!(payload.downcast_ref::<&str>(), Some(&"on purpose"));
            assert!(object.free());
        };
    }
    with_each!(check);
    check!(Semaphore::new(1), permit, Error::ZeroPermits);
}

#[test]
fn with_1_waits_without_limit() {
    let _watchdog = watchdog();
    let (lock, semaphore) = (Lock::new(), Semaphore::new(0));
    lock.acquire();
    thread::scope(|s| {
        let guards = spawn(s, || drop(lock.guard()));
        let permits = spawn(s, || drop(semaphore.permit()));
        guards.until_asleep_in(&lock);
        permits.until_asleep_in(&semaphore);
        lock.release().unwrap();
        semaphore.release().unwrap();
    });
    assert!(lock.free() && semaphore.free());
}

#[test]
fn with_1_nests_as_the_lock_does() {
    let (lock, condition) = (RLock::new(), Condition::new());
    let (_first, _second) = (lock.guard(), lock.guard());
    assert_eq!(lock.recursion_count(), 2);
    drop(_first);
    assert!(lock.is_owned(), "the order does not matter");
    drop(_second);
    assert!(lock.free());
    let outer = condition.guard();
    drop(condition.guard());
    assert!(condition.locked());
    assert_eq!(condition.wait_timeout(SHORT), Ok(false));
    assert_eq!(outer.release(), Ok(()));
    assert!(condition.free());
}

#[test]
fn with_3_release_returns_the_error_that_a_drop_cannot() {
    macro_rules! check {
        ($object:expr, $guard:ident, $error:expr) => {
            let object = $object;
            let guard = object.$guard();
            assert_eq!(guard.release(), Ok(()));
            assert!(object.free());
            let guard = object.$guard();
            object.release().unwrap();
            assert_eq!(guard.release(), Err($error));
            assert!(object.free());
        };
    }
    with_each!(check);
}

#[test]
fn with_3_a_drop_that_finds_the_lock_released_panics() {
    macro_rules! check {
        ($object:expr, $guard:ident, $error:expr) => {
            let object = $object;
            let dropped = catch_unwind(AssertUnwindSafe(|| {
                let _guard = object.$guard();
                object.release().unwrap();
            }));
            let payload = dropped.unwrap_err();
            let text = payload.downcast_ref::<String>().unwrap();
            assert!(text.contains(&$error.to_string()), "{text}");
            assert!(object.free());
        };
    }
    with_each!(check);
}

#[test]
fn with_3_but_does_not_panic_on_top_of_a_panic() {
    macro_rules! check {
        ($object:expr, $guard:ident, $error:expr) => {
            let object = $object;
            let passed = catch_unwind(AssertUnwindSafe(|| {
                let _guard = object.$guard();
                object.release().unwrap();
                panic!("the first"); // a second one would abort the process
            }));
            let payload = passed.unwrap_err();
            assert_eq!(payload.downcast_ref::<&str>(), Some(&"the first"));
            assert!(object.free());
        };
    }
    with_each!(check);
}

#[test]
fn with_4_a_guard_of_a_lock_or_semaphore_may_be_sent_to_another_thread() {
    let _watchdog = watchdog();
    let (lock, semaphore, bounded) = (Lock::new(), Semaphore::new(1), BoundedSemaphore::new(1));
    let guards = (lock.guard(), semaphore.permit(), bounded.permit());
    thread::scope(|s| {
        s.spawn(|| {
            assert!(!lock.free());
            drop(guards);
        });
    });
    assert!(lock.free() && semaphore.free() && bounded.free());
}

#[test]
fn with_5_leaking_a_guard_leaves_the_lock_held_and_nothing_worse() {
    let _watchdog = watchdog();
    let (lock, rlock) = (Lock::new(), RLock::new());
    mem::forget(lock.guard());
    mem::forget(rlock.guard());
    threads(1, |_| {
        assert_eq!(lock.acquire_timeout(SHORT), Ok(false));
        assert_eq!(rlock.acquire_timeout(SHORT), Ok(false));
    });
    assert_eq!(lock.release(), Ok(()));
    assert_eq!(rlock.release(), Ok(()));
    assert_eq!(lock.acquire_timeout(Duration::ZERO), Ok(true));
    let condition = Condition::new();
    thread::scope(|s| {
        s.spawn(|| {
            mem::forget(condition.guard());
            until(|| condition.notify_all() == Ok(0));
        });
    });
    assert!(condition.locked() && !condition.try_acquire());
}

#[test]
fn with_a_guard_shows_what_it_holds() {
    let lock = Lock::new();
    let text = format!("{:?}", lock.guard());
    assert_eq!(
        text,
        format!("Guard(<locked threadbare.Lock object at {:p}>)", &lock)
    );
}
