//! Threads that borrow: `scope`, `Scope`, `ScopedJoinHandle`, `Builder::spawn_scoped` (rulings 5, 13).

#![cfg(not(threadbare_model))]

mod common;

use common::witness::{OnDrop, run};
use common::{SHORT, is_asleep, until, watchdog};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use threadbare::{
    Deadline, Error, Event, Scope, ScopedJoinHandle, Thread, enumerate, exit, get_native_id, scope,
};

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<ScopedJoinHandle<'static, Cell<u32>>>();
    shared::<Scope<'static, 'static>>();
};

/// Panics without a word on stderr.
fn fail(with: &'static str) -> ! {
    resume_unwind(Box::new(with))
}

/// What a scope with this body panics with.
fn panic_of<'env>(body: impl for<'scope> FnOnce(&'scope Scope<'scope, 'env>)) -> String {
    let payload = catch_unwind(AssertUnwindSafe(|| scope(body))).unwrap_err();
    (*payload.downcast_ref::<&str>().unwrap()).to_string()
}

/// Returns once the thread with this id of the kernel's waits for another one.
fn until_it_joins(tid: u32) {
    until(|| is_asleep(tid));
}

// What is promised.

#[test]
fn threads_borrow_and_return() {
    let _watchdog = watchdog();
    let (numbers, mut doubled, count) = (vec![1, 2, 3], Vec::new(), AtomicUsize::new(0));
    let first = scope(|s| {
        let first = s.spawn(|| &numbers[0]);
        s.spawn(|| doubled.extend(numbers.iter().map(|number| 2 * number)));
        for _ in 0..10 {
            s.spawn(|| count.fetch_add(1, Relaxed));
        }
        first.join().unwrap()
    });
    assert_eq!(
        (*first, doubled, count.into_inner()),
        (1, vec![2, 4, 6], 10)
    );
}

#[test]
fn a_scope_waits_for_threads_that_threads_have_started() {
    let _watchdog = watchdog();
    fn deeper<'scope>(s: &'scope Scope<'scope, '_>, ended: &'scope AtomicU32, depth: u32) {
        s.spawn(move || {
            if depth > 0 {
                deeper(s, ended, depth - 1);
                deeper(s, ended, depth - 1);
            }
            ended.fetch_add(1, Relaxed);
        });
    }
    for _ in 0..20 {
        let ended = AtomicU32::new(0);
        scope(|s| deeper(s, &ended, 4));
        assert_eq!(ended.into_inner(), 31);
    }
    // The last one begins only when the owner waits for the one that starts it.
    let (owner, ended) = (get_native_id(), AtomicBool::new(false));
    scope(|s| {
        s.spawn(|| {
            until_it_joins(owner);
            s.spawn(|| {
                until_it_joins(owner);
                ended.store(true, Relaxed);
            });
        });
    });
    assert!(ended.into_inner());
}

#[test]
fn thr_14_thread_locals_are_destroyed_before_a_scope_returns() {
    let _watchdog = watchdog();
    thread_local! {
        static LOCAL: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
    }
    let (owner, destroyed) = (get_native_id(), Arc::new(AtomicBool::new(false)));
    scope(|s| {
        let destroyed = destroyed.clone();
        s.spawn(move || {
            let at_end = OnDrop(move || {
                until_it_joins(owner);
                destroyed.store(true, Relaxed);
            });
            LOCAL.with(|it| *it.borrow_mut() = Some(Box::new(at_end)));
        });
    });
    assert!(destroyed.load(Relaxed));
}

#[test]
fn ruling_13_the_threads_are_gone_for_the_kernel_when_a_scope_returns() {
    let _watchdog = watchdog();
    // As many as make the scope look through its list.
    for count in [1, 200] {
        let threads = Mutex::new(Vec::new());
        scope(|s| {
            for _ in 0..count {
                let handle = s.spawn(|| ());
                threads.lock().unwrap().push(handle.thread().clone());
            }
        });
        let threads = threads.into_inner().unwrap();
        assert!(threads.iter().all(|thread| !thread.is_alive()));
        assert!(
            threads
                .iter()
                .all(|thread| thread.join_until(Deadline::now()) == Ok(true))
        );
        let listed = enumerate();
        assert!(threads.iter().all(|thread| !listed.contains(thread)));
    }
}

#[test]
fn a_builder_says_how_a_scoped_thread_is() {
    let _watchdog = watchdog();
    let given = Arc::new(());
    scope(|s| {
        let builder = Thread::builder().name("scoped").daemon(false).target({
            let given = given.clone();
            move || drop(given)
        });
        let handle = builder
            .spawn_scoped(s, || Arc::strong_count(&given))
            .unwrap();
        assert!(!handle.thread().daemon() && handle.thread().name() == "scoped");
        assert_eq!(handle.join().unwrap(), 1, "the target is dropped");
    });
}

#[test]
fn the_forms_of_join() {
    let _watchdog = watchdog();
    let go = Event::new();
    scope(|s| {
        let handle = s.spawn(|| go.wait());
        assert_eq!(handle.join_timeout(SHORT), Ok(false));
        assert_eq!(handle.join_until(Deadline::now()), Ok(false));
        assert_eq!(handle.join_interruptible(Deadline::now()), Ok(false));
        assert!(!handle.is_finished());
        assert!(format!("{handle:?}").starts_with("ScopedJoinHandle(<Thread("));
        go.set();
        assert_eq!(handle.join_interruptible(Deadline::NEVER), Ok(true));
        assert!(handle.is_finished() && handle.join().is_ok());
    });
}

#[test]
fn a_handle_of_a_thread_outlives_the_scope_and_owns_nothing_of_it() {
    let _watchdog = watchdog();
    let lent = Arc::new(());
    let thread = scope(|s| {
        let lent = &lent;
        s.spawn(move || lent.clone()).thread().clone()
    });
    assert_eq!(Arc::strong_count(&lent), 1);
    assert!(!thread.is_alive());
    assert_eq!(thread.join(), Ok(()));
    assert_eq!(thread.start(), Err(Error::AlreadyStarted));
}

// Panics.

#[test]
fn a_panic_that_nobody_takes_is_the_scopes() {
    let _watchdog = watchdog();
    let fails = || -> u32 { fail("in a thread") };
    let untaken = "a scoped thread panicked";
    assert_eq!(panic_of(|s| drop(s.spawn(fails))), untaken);
    assert_eq!(panic_of(|s| mem::forget(s.spawn(fails))), untaken);
    assert_eq!(
        panic_of(|s| {
            let handle = s.spawn(fails);
            handle.join_until(Deadline::NEVER).unwrap();
        }),
        untaken
    );
    assert_eq!(
        panic_of(|s| {
            s.spawn(move || drop(s.spawn(fails)));
        }),
        untaken
    );
    assert_eq!(
        panic_of(|s| {
            assert!(s.spawn(fails).join().is_err());
            s.spawn(fails);
        }),
        untaken
    );
}

#[test]
fn a_panic_that_was_taken_is_not() {
    let _watchdog = watchdog();
    let value = scope(|s| {
        let payload = s.spawn(|| -> u32 { fail("taken") }).join().unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&"taken"));
        let other = s.spawn(|| -> u32 { fail("taken by a thread") });
        s.spawn(|| assert!(other.join().is_err()));
        5
    });
    assert_eq!(value, 5);
}

#[test]
fn a_panic_of_the_body_goes_on_after_the_threads_have_ended() {
    let _watchdog = watchdog();
    let (owner, ended) = (get_native_id(), AtomicBool::new(false));
    let message = panic_of(|s| {
        s.spawn(|| {
            until_it_joins(owner);
            ended.store(true, Relaxed);
            fail("in a thread");
        });
        fail("in the body");
    });
    assert_eq!(message, "in the body");
    assert!(ended.into_inner());
}

#[test]
fn exit_in_the_body_waits_and_exit_in_a_thread_is_no_panic() {
    let _watchdog = watchdog();
    let ended = Arc::new(AtomicBool::new(false));
    let thread = Thread::new({
        let ended = ended.clone();
        move || {
            let owner = get_native_id();
            scope(|s| {
                s.spawn(|| {
                    until_it_joins(owner);
                    ended.store(true, Relaxed);
                });
                exit();
            });
            unreachable!("exit unwinds the scope");
        }
    });
    thread.start().unwrap();
    thread.join().unwrap();
    assert!(ended.load(Relaxed));
    run(|| {
        scope(|s| {
            s.spawn(|| exit());
            let payload = s.spawn(|| -> u32 { exit() }).join().unwrap_err();
            assert_eq!(payload.downcast_ref(), Some(&Error::NoResult));
        });
    });
}

// Handles.

#[test]
fn a_leaked_handle_leaks_its_result_and_the_scope_waits_all_the_same() {
    let _watchdog = watchdog();
    let (owner, ended, dropped) = (
        get_native_id(),
        AtomicBool::new(false),
        AtomicBool::new(false),
    );
    scope(|s| {
        mem::forget(s.spawn(|| {
            until_it_joins(owner);
            ended.store(true, Relaxed);
            OnDrop(|| dropped.store(true, Relaxed))
        }));
    });
    assert!(ended.into_inner() && !dropped.into_inner());
}

#[test]
fn ruling_5_a_result_without_a_handle_is_dropped_before_the_scope_returns() {
    let _watchdog = watchdog();
    for _ in 0..500 {
        let dropped = AtomicU32::new(0);
        scope(|s| {
            s.spawn(|| {
                OnDrop(|| {
                    dropped.fetch_add(1, Relaxed);
                })
            });
        });
        assert_eq!(dropped.into_inner(), 1);
    }
}

#[test]
fn a_scoped_thread_cannot_join_itself() {
    let _watchdog = watchdog();
    let (go, failed) = (Event::new(), Mutex::new(None));
    scope(|s| {
        let own = Arc::new(Mutex::new(None::<ScopedJoinHandle<'_, ()>>));
        let given = own.clone();
        let handle = s.spawn(|| {
            let given = given;
            go.wait();
            let handle = given.lock().unwrap().take().unwrap();
            *failed.lock().unwrap() = handle.join().err();
        });
        *own.lock().unwrap() = Some(handle);
        go.set();
    });
    let payload = failed.into_inner().unwrap().unwrap();
    assert_eq!(payload.downcast_ref(), Some(&Error::JoinSelf));
}

// Starts that fail.

#[test]
fn thr_9_a_refused_start_in_a_scope_drops_the_closure_and_is_not_waited_for() {
    let _watchdog = watchdog();
    let (captured, dropped) = (Arc::new(()), AtomicBool::new(false));
    scope(|s| {
        let on_drop = OnDrop(|| dropped.store(true, Relaxed));
        let (builder, own) = (Thread::builder().stack_size(1 << 47), captured.clone());
        let refused = builder.spawn_scoped(s, move || drop((own, on_drop)));
        assert!(matches!(refused.unwrap_err(), Error::Start(_)));
        assert!(dropped.load(Relaxed));
        assert_eq!(Arc::strong_count(&captured), 1);
        let builder = Thread::builder().stack_size(4096);
        let refused = builder.spawn_scoped(s, || ());
        assert_eq!(refused.unwrap_err(), Error::InvalidStackSize);
        assert_eq!(s.spawn(|| 1).join().unwrap(), 1);
    });
}

#[test]
fn scopes_nest() {
    let _watchdog = watchdog();
    let sum = AtomicU32::new(0);
    scope(|outer| {
        outer.spawn(|| {
            scope(|inner| {
                for number in 1..=4 {
                    let sum = &sum;
                    inner.spawn(move || sum.fetch_add(number, Relaxed));
                }
            });
            assert_eq!(sum.load(Relaxed), 10);
        });
    });
    assert_eq!(sum.into_inner(), 10);
}
