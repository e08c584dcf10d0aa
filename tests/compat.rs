//! The names of old (ALIAS). What they do is the business of the new ones.

#![cfg(not(threadbare_model))]
#![expect(deprecated, reason = "that is what this is about")]

mod common;

use common::watchdog;
use std::sync::Arc;
use threadbare::compat::{activeCount, currentThread, stack_size};
use threadbare::{Condition, Error, Event, Lock, Thread, active_count, current_thread};

#[test]
fn alias_1_functions_are_their_modern_forms() {
    std::thread::spawn(|| {
        assert_eq!(currentThread(), current_thread());
        assert!(activeCount() >= 2 && active_count() >= 2);
    })
    .join()
    .unwrap();
}

#[test]
fn alias_1_and_2_methods_of_a_thread_are_their_modern_forms() {
    let _watchdog = watchdog();
    let go = Arc::new(Event::new());
    let thread = Thread::new({
        let go = go.clone();
        move || go.wait()
    });
    thread.setName("old");
    assert_eq!(
        (thread.getName(), thread.name()),
        ("old".into(), "old".into())
    );
    thread.setDaemon(true).unwrap();
    assert!(thread.isDaemon() && thread.daemon() && !thread.isAlive());
    thread.start().unwrap();
    assert!(thread.isAlive());
    assert_eq!(thread.setDaemon(false), Err(Error::DaemonAfterStart));
    go.set();
    thread.join().unwrap();
    assert!(!thread.isAlive());
}

#[test]
fn alias_1_methods_of_condition_and_event_are_their_modern_forms() {
    let condition = Condition::new();
    assert_eq!(condition.notifyAll(), Err(Error::NotHeld));
    let _guard = condition.guard();
    assert_eq!(condition.notifyAll(), Ok(0));
    let event = Event::new();
    assert!(!event.isSet());
    event.set();
    assert!(event.isSet());
}

#[test]
fn alias_3_a_lock_has_its_oldest_names_too() {
    let lock = Lock::new();
    lock.acquire_lock();
    assert!(lock.locked_lock() && lock.locked());
    assert_eq!(lock.release_lock(), Ok(()));
    assert_eq!(lock.release_lock(), Err(Error::ReleaseUnlocked));
}

#[test]
fn mod_12_a_missing_size_counts_as_zero() {
    assert_eq!(stack_size(262_144), Ok(0));
    assert_eq!(stack_size(None), Ok(262_144));
    assert_eq!(stack_size(None), Ok(0));
    assert_eq!(stack_size(Some(4096)), Err(Error::InvalidStackSize));
}
