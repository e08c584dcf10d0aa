//! Threads that return something: `spawn`, `JoinHandle`, `Builder::spawn_returning` (rulings 5, 14, 15).

#![cfg(not(threadbare_model))]

mod child;
mod common;

use child::in_child;
use common::forked::{self, start_child};
use common::witness::{OnDrop, Witness};
use common::{SHORT, TOO_LONG, is_asleep, patience, until, watchdog};
use nix::libc;
use nix::unistd::{ForkResult, Pid, fork};
use std::any::Any;
use std::cell::RefCell;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use threadbare::{
    Deadline, Error, ErrorKind, Event, ExceptHook, JoinHandle, Thread, current_thread, enumerate,
    exit, get_ident, scope, set_excepthook, set_stack_size, shutdown, spawn,
};

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<JoinHandle<std::cell::Cell<u32>>>(); // which is not `Sync` itself
};

/// More address space than there is, so that a start is refused.
const TOO_LARGE: usize = 1 << 47;

/// The error that stands for a result that is not there.
fn error_of(payload: &(dyn Any + Send)) -> Error {
    *payload.downcast_ref().expect("an error of the crate")
}

/// A thread that waits for the event and returns 7.
fn waiting() -> (JoinHandle<u32>, Arc<Event>) {
    let go = Arc::new(Event::new());
    let target = {
        let go = go.clone();
        move || {
            go.wait();
            7
        }
    };
    (spawn(target), go)
}

/// An excepthook for one test at a time, which counts what says `name`.
struct Hooked {
    before: Option<ExceptHook>,
    told: Arc<AtomicUsize>,
    _alone: MutexGuard<'static, ()>,
}

impl Hooked {
    /// Counts the panics whose message is `message`.
    fn by(message: &'static str) -> Hooked {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let told = Arc::new(AtomicUsize::new(0));
        let before = set_excepthook({
            let told = told.clone();
            move |args| {
                assert!(
                    args.thread
                        .is_some_and(|thread| thread.is_current() && thread.is_alive())
                );
                told.fetch_add(usize::from(args.message() == Some(message)), Relaxed);
            }
        });
        Hooked {
            before: Some(before),
            told,
            _alone: alone,
        }
    }

    fn times(&self) -> usize {
        self.told.load(Relaxed)
    }
}

impl Drop for Hooked {
    fn drop(&mut self) {
        if let Some(before) = self.before.take() {
            before.install();
        }
    }
}

// What a join returns.

#[test]
fn a_join_returns_what_the_thread_returned() {
    let _watchdog = watchdog();
    assert_eq!(spawn(|| vec![1, 2, 3]).join().unwrap(), [1, 2, 3]);
    assert!(spawn(|| ()).join().is_ok());
    let (handle, go) = waiting();
    go.set();
    until(|| handle.is_finished());
    assert_eq!(handle.join().unwrap(), 7);
}

#[test]
fn ruling_15_a_panic_goes_to_the_excepthook_once_and_then_to_the_joiner() {
    let _watchdog = watchdog();
    let hooked = Hooked::by("told and taken");
    let handle = spawn(|| -> u32 { resume_unwind(Box::new("told and taken")) });
    let payload = handle.join().unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"told and taken"));
    assert_eq!(hooked.times(), 1);
}

#[test]
fn a_thread_that_ended_by_exit_has_no_result() {
    let _watchdog = watchdog();
    let hooked = Hooked::by("never");
    let payload = spawn(|| -> u32 { exit() }).join().unwrap_err();
    let error = error_of(&*payload);
    assert_eq!(error, Error::NoResult);
    assert_eq!(error.kind(), ErrorKind::Runtime);
    assert_eq!(
        error.to_string(),
        "the thread that was joined has returned nothing"
    );
    assert_eq!(hooked.times(), 0);
}

#[test]
fn thr_16_a_thread_cannot_join_itself() {
    let _watchdog = watchdog();
    let dropped = Arc::new(AtomicBool::new(false));
    let own = Arc::new(Mutex::new(None::<JoinHandle<OnDrop<_>>>));
    let (is_given, go) = (own.clone(), Arc::new(Event::new()));
    let handle = spawn({
        let (go, dropped) = (go.clone(), dropped.clone());
        move || {
            go.wait();
            let handle = is_given.lock().unwrap().take().unwrap();
            assert_eq!(handle.join_timeout(SHORT), Err(Error::JoinSelf));
            assert_eq!(handle.join_until(Deadline::now()), Err(Error::JoinSelf));
            assert_eq!(
                handle.join_interruptible(Deadline::now()),
                Err(Error::JoinSelf)
            );
            assert!(!handle.is_finished());
            let payload = handle.join().map(drop).unwrap_err();
            assert_eq!(error_of(&*payload), Error::JoinSelf);
            OnDrop(move || dropped.store(true, Relaxed))
        }
    });
    let thread = handle.thread().clone();
    *own.lock().unwrap() = Some(handle);
    go.set();
    thread.join().unwrap();
    assert!(
        dropped.load(Relaxed),
        "the thread came to its end and dropped what it returned"
    );
}

#[test]
fn the_timed_forms_tell_whether_the_thread_is_gone() {
    let _watchdog = watchdog();
    let (handle, go) = waiting();
    assert_eq!(handle.join_timeout(SHORT), Ok(false));
    assert_eq!(handle.join_timeout(TOO_LONG), Err(Error::TimeoutTooLarge));
    assert_eq!(handle.join_until(Deadline::now()), Ok(false));
    assert_eq!(handle.join_interruptible(Deadline::now()), Ok(false));
    let stopped = handle.join_checked(Deadline::NEVER, || true);
    assert_eq!(stopped, Err(Error::Interrupted));
    assert!(!handle.is_finished());
    go.set();
    assert_eq!(handle.join_interruptible(Deadline::NEVER), Ok(true));
    assert_eq!(handle.join_checked(Deadline::NEVER, || true), Ok(true));
    assert_eq!(handle.join_until(Deadline::NEVER), Ok(true));
    assert!(handle.is_finished());
    assert_eq!(handle.join().unwrap(), 7);
}

#[test]
fn mem_3_a_join_sees_what_the_thread_did() {
    let _watchdog = watchdog();
    let done = Arc::new(AtomicU32::new(0));
    let handle = spawn({
        let done = done.clone();
        move || done.store(1, Relaxed)
    });
    handle.join().unwrap();
    assert_eq!(done.load(Relaxed), 1);
}

// What the thread is.

#[test]
fn ruling_14_it_is_a_daemon_and_listed() {
    let _watchdog = watchdog();
    let (handle, go) = waiting();
    let thread = handle.thread().clone();
    assert!(thread.daemon() && thread.is_alive() && thread.name().starts_with("Thread-"));
    assert!(enumerate().contains(&thread));
    assert_eq!(thread.start(), Err(Error::AlreadyStarted));
    assert_eq!(thread.run(), Err(Error::AlreadyStarted));
    assert!(format!("{handle:?}").starts_with("JoinHandle(<Thread(Thread-"));
    go.set();
    handle.join().unwrap();
    assert!(!enumerate().contains(&thread));
    thread.join().unwrap();
    assert_eq!(thread.run(), Err(Error::AlreadyStarted));
}

#[test]
fn ruling_14_it_is_a_daemon_also_if_who_starts_it_is_none() {
    let _watchdog = watchdog();
    let witness = Witness::default();
    let target = witness.watch(|| {
        assert!(spawn(|| current_thread().daemon()).join().unwrap());
        assert!(scope(|s| s.spawn(|| current_thread().daemon()).join()).unwrap());
        let builder = Thread::builder().target(|| ());
        assert!(!builder.build().unwrap().daemon());
    });
    let thread = Thread::builder().daemon(false).target(target);
    witness.join(&thread.spawn().unwrap());
}

#[test]
fn a_builder_says_how_the_thread_is() {
    let _watchdog = watchdog();
    let builder = Thread::builder()
        .name("adder")
        .stack_size(64 << 10)
        .daemon(false);
    let handle = builder.spawn_returning(|| 1 + 1).unwrap();
    assert_eq!(handle.thread().name(), "adder");
    assert!(!handle.thread().daemon());
    assert_eq!(handle.join().unwrap(), 2);
    let handle = Thread::builder().spawn_returning(|| ()).unwrap();
    assert!(handle.thread().daemon());
    handle.join().unwrap();
}

#[test]
fn a_target_that_was_given_before_is_dropped_and_not_run() {
    let _watchdog = watchdog();
    let given = Arc::new(());
    let builder = Thread::builder().target({
        let given = given.clone();
        move || unreachable!("{given:?} is not to be run")
    });
    let (go, there) = (Arc::new(Event::new()), Arc::new(Event::new()));
    let handle = builder.spawn_returning({
        let (go, there) = (go.clone(), there.clone());
        move || {
            there.set();
            go.wait();
        }
    });
    there.wait();
    assert_eq!(Arc::strong_count(&given), 1);
    go.set();
    handle.unwrap().join().unwrap();
}

// Who drops what.

#[test]
fn ruling_5_without_a_handle_the_result_is_dropped_in_the_thread_before_its_end() {
    let _watchdog = watchdog();
    thread_local! {
        static LOCAL: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
    }
    let (log, go) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Event::new()));
    let logs = |what: &'static str| {
        let log = log.clone();
        OnDrop(move || log.lock().unwrap().push((what, get_ident())))
    };
    let (captured, returned, local) = (logs("captured"), logs("returned"), logs("local"));
    let handle = spawn({
        let go = go.clone();
        move || {
            let _captured = captured;
            LOCAL.with(|it| *it.borrow_mut() = Some(Box::new(local)));
            go.wait();
            returned
        }
    });
    let thread = handle.thread().clone();
    drop(handle);
    go.set();
    thread.join().unwrap();
    let ident = thread.ident().unwrap();
    let order = ["captured", "returned", "local"].map(|what| (what, ident));
    assert_eq!(*log.lock().unwrap(), order);
}

#[test]
fn a_handle_that_is_dropped_after_the_end_drops_the_result() {
    let _watchdog = watchdog();
    let dropped_by = Arc::new(Mutex::new(None));
    let returned = {
        let dropped_by = dropped_by.clone();
        OnDrop(move || *dropped_by.lock().unwrap() = Some(get_ident()))
    };
    let handle = spawn(move || returned);
    until(|| handle.is_finished());
    assert_eq!(*dropped_by.lock().unwrap(), None);
    drop(handle);
    assert_eq!(*dropped_by.lock().unwrap(), Some(get_ident()));
}

#[test]
fn a_result_is_dropped_once_whoever_comes_last() {
    let _watchdog = watchdog();
    let drops = Arc::new(AtomicUsize::new(0));
    for round in 0..2_000 {
        let drops = drops.clone();
        let handle = spawn(move || {
            OnDrop(move || {
                drops.fetch_add(1, Relaxed);
            })
        });
        let thread = handle.thread().clone();
        match round % 4 {
            0 => std::thread::yield_now(),
            1 => until(|| handle.is_finished()),
            2 => (0..round / 8).for_each(|_| std::hint::spin_loop()),
            _ => {}
        }
        drop(handle);
        thread.join().unwrap();
    }
    assert_eq!(drops.load(Relaxed), 2_000);
}

#[test]
fn a_result_that_panics_when_dropped_goes_to_the_excepthook() {
    let _watchdog = watchdog();
    let hooked = Hooked::by("dropped badly");
    let go = Arc::new(Event::new());
    let handle = Thread::builder().spawn_returning({
        let go = go.clone();
        move || {
            go.wait();
            OnDrop(|| resume_unwind(Box::new("dropped badly")))
        }
    });
    let handle = handle.unwrap();
    let thread = handle.thread().clone();
    drop(handle);
    go.set();
    thread.join().unwrap();
    assert_eq!(hooked.times(), 1);
    // A payload is no better.
    let go = Arc::new(Event::new());
    let handle = spawn({
        let go = go.clone();
        move || {
            go.wait();
            resume_unwind(Box::new(OnDrop(|| {
                resume_unwind(Box::new("dropped badly"))
            })))
        }
    });
    let thread = handle.thread().clone();
    drop::<JoinHandle<()>>(handle);
    go.set();
    thread.join().unwrap();
    assert_eq!(hooked.times(), 2);
}

#[test]
fn thr_14_thread_locals_are_destroyed_before_a_join_returns_and_before_it_is_finished() {
    let _watchdog = watchdog();
    thread_local! {
        static LOCAL: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
    }
    let (go, destroyed) = (Arc::new(Event::new()), Arc::new(AtomicBool::new(false)));
    let at_end = {
        let (go, destroyed) = (go.clone(), destroyed.clone());
        OnDrop(move || {
            go.wait();
            destroyed.store(true, Relaxed);
        })
    };
    let handle = spawn(move || LOCAL.with(|it| *it.borrow_mut() = Some(Box::new(at_end))));
    let thread = handle.thread().clone();
    until(|| !enumerate().contains(&thread)); // it has returned
    assert!(!handle.is_finished());
    assert_eq!(handle.join_timeout(SHORT), Ok(false));
    go.set();
    handle.join().unwrap();
    assert!(destroyed.load(Relaxed));
}

// Starts that fail.

#[test]
fn thr_9_a_refused_start_drops_the_closure_and_leaves_nothing_behind() {
    let _watchdog = watchdog();
    let captured = Arc::new(());
    let refused = |bytes| {
        let captured = captured.clone();
        let builder = Thread::builder().name("refused").stack_size(bytes);
        builder.spawn_returning(move || drop(captured)).unwrap_err()
    };
    assert!(matches!(refused(TOO_LARGE), Error::Start(_)));
    assert_eq!(refused(4096), Error::InvalidStackSize);
    assert_eq!(Arc::strong_count(&captured), 1);
    assert!(enumerate().iter().all(|thread| thread.name() != "refused"));
}

#[test]
fn ruling_5_nobody_else_can_start_what_was_refused() {
    let _watchdog = watchdog();
    let found = Mutex::new(None);
    std::thread::scope(|s| {
        s.spawn(|| {
            until(|| {
                let mut threads = enumerate().into_iter();
                let thread = threads.find(|thread| thread.name() == "seen at its start");
                let is_found = thread.is_some();
                if is_found {
                    *found.lock().unwrap() = thread;
                }
                is_found
            });
        });
        until(|| {
            let builder = Thread::builder()
                .name("seen at its start")
                .stack_size(TOO_LARGE);
            assert!(builder.spawn_returning(|| ()).is_err());
            found.lock().unwrap().is_some()
        });
    });
    let thread = found.into_inner().unwrap().unwrap();
    assert_eq!(thread.start(), Err(Error::TargetUsed));
    assert_eq!(thread.run(), Err(Error::TargetUsed));
    assert_eq!(thread.join(), Err(Error::NotStarted));
    assert!(!thread.is_alive() && thread.ident().is_none());
}

#[test]
fn spawn_panics_if_the_system_refuses() {
    let _watchdog = watchdog();
    in_child("spawn_panics_if_the_system_refuses", || {
        set_stack_size(TOO_LARGE).unwrap();
        let refused = std::panic::catch_unwind(|| spawn(|| ()));
        let payload = refused.map(drop).unwrap_err();
        let text = payload.downcast_ref::<String>().unwrap();
        assert!(text.starts_with("cannot start a thread: "), "{text}");
    });
}

// Forks.

#[test]
fn fork_4_in_the_child_a_vanished_thread_has_no_result_and_one_that_ended_has() {
    let _watchdog = watchdog();
    let (running, go) = waiting();
    let (ended, finished) = waiting();
    finished.set();
    until(|| ended.is_finished());
    let lent = Arc::new(());
    let (mut running, mut ended) = (Some(running), Some(ended));
    forked::in_child(|| {
        let running = running.take().unwrap();
        assert!(running.is_finished());
        assert_eq!(running.join_until(Deadline::NEVER), Ok(true));
        let payload = running.join().unwrap_err();
        assert_eq!(error_of(&*payload), Error::NoResult);
        assert_eq!(ended.take().unwrap().join().unwrap(), 7);
        let own = lent.clone();
        assert_eq!(spawn(move || Arc::strong_count(&own)).join().unwrap(), 2);
    });
    go.set();
    assert_eq!(running.unwrap().join().unwrap(), 7);
    assert_eq!(ended.unwrap().join().unwrap(), 7);
}

#[test]
fn fork_5_a_fork_at_any_moment_leaves_handles_that_can_be_joined() {
    let _watchdog = watchdog();
    let stop = AtomicBool::new(false);
    std::thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                while !stop.load(Relaxed) {
                    drop(spawn(|| vec![0_u8; 64]));
                    assert!(spawn(|| vec![0_u8; 64]).join().is_ok());
                }
            });
        }
        for _ in 0..100 {
            let handle = spawn(|| vec![7_u8; 64]);
            let child = start_child(|| {
                match handle.join() {
                    Ok(value) => assert_eq!(value, [7; 64]),
                    Err(payload) => assert_eq!(error_of(&*payload), Error::NoResult),
                }
                assert_eq!(spawn(|| 1).join().unwrap(), 1);
            });
            forked::finish(child);
        }
        stop.store(true, Relaxed);
    });
}

/// Forks in a spawned thread. In the child another thread joins that one while it does `what`, and ends
/// the process well only if that gives what is `wanted`. Returns the child.
fn joined_in_child(what: fn(), wanted: Result<u32, Error>) -> Pid {
    let own = Arc::new(Mutex::new(None::<JoinHandle<u32>>));
    let (given, go) = (own.clone(), Arc::new(Event::new()));
    let child = Arc::new(Mutex::new(None));
    let handle = spawn({
        let (go, child) = (go.clone(), child.clone());
        move || {
            go.wait();
            // SAFETY: the child returns from its thread, as the crate promises to work.
            match unsafe { fork() }.unwrap() {
                ForkResult::Parent { child: pid } => *child.lock().unwrap() = Some(pid),
                ForkResult::Child => {
                    // SAFETY: no precondition. Without a handler the signal ends the child.
                    unsafe { libc::alarm(30 * patience()) };
                    let handle = given.lock().unwrap().take().unwrap();
                    let joins = move || {
                        let got = handle.join().map_err(|payload| error_of(&*payload));
                        // SAFETY: leaves the child, which nobody cleans up after.
                        unsafe { libc::_exit(i32::from(got != wanted)) };
                    };
                    let joins = Thread::builder()
                        .daemon(false)
                        .target(joins)
                        .spawn()
                        .unwrap();
                    until(|| is_asleep(joins.native_id().unwrap()));
                    what();
                }
            }
            5
        }
    });
    let thread = handle.thread().clone();
    *own.lock().unwrap() = Some(handle);
    go.set();
    thread.join().unwrap();
    let child = child.lock().unwrap().take();
    child.expect("the thread has panicked")
}

#[test]
fn fork_9_a_thread_that_forked_and_returns_in_the_child_hands_its_result_over_there() {
    let _watchdog = watchdog();
    forked::finish(joined_in_child(|| (), Ok(5)));
}

#[test]
fn fork_9_a_thread_that_forked_and_shuts_down_in_the_child_has_no_result_yet() {
    let _watchdog = watchdog();
    forked::finish(joined_in_child(shutdown, Err(Error::NoResult)));
}
