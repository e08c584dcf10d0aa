//! Threads, identities and the end of the program in the child of a fork (FORK).
//!
//! Each child runs checks, and its parent, the test, looks at how it ended.

#![cfg(not(threadbare_model))]

mod common;

use common::forked::{finish, in_child, start_child};
use common::witness::run;
use common::{patience, until, watchdog};
use nix::unistd::{ForkResult, fork, getpid};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use threadbare::{
    Deadline, Error, Event, Thread, Timer, active_count, current_thread, enumerate, get_ident,
    get_native_id, main_thread, register_atexit, scope, set_excepthook, shutdown,
};

/// A thread that waits for the event.
fn waiting(name: &str, daemon: bool) -> (Thread, Arc<Event>) {
    let go = Arc::new(Event::new());
    let target = {
        let go = go.clone();
        move || go.wait()
    };
    let builder = Thread::builder().name(name).daemon(daemon);
    (builder.target(target).spawn().unwrap(), go)
}

/// What must hold of the one thread of a child.
fn is_alone(name: &str, daemon: bool) {
    let me = current_thread();
    assert_eq!(enumerate(), std::slice::from_ref(&me));
    assert_eq!(active_count(), 1);
    assert_eq!(main_thread(), me);
    assert_eq!((me.name().as_str(), me.daemon()), (name, daemon));
    assert!(me.is_alive() && me.is_current());
    assert_eq!(me.ident(), Some(get_ident()));
    assert_eq!(me.native_id(), Some(get_native_id()));
    assert_eq!(i32::try_from(get_native_id()), Ok(getpid().as_raw()));
}

#[test]
fn fork_1_and_2_a_foreign_thread_becomes_the_main_thread() {
    let _watchdog = watchdog();
    let (other, go) = waiting("other", true);
    let foreign = || in_child(|| is_alone("MainThread", false));
    std::thread::scope(|s| s.spawn(foreign).join()).unwrap();
    let with_dummy = || {
        let dummy = current_thread();
        assert!(dummy.name().starts_with("Dummy-") && dummy.daemon());
        in_child(|| {
            is_alone("MainThread", false);
            assert_eq!(current_thread(), dummy);
            assert!(format!("{dummy:?}").starts_with("<_MainThread(MainThread, started "));
        });
        assert!(dummy.name().starts_with("Dummy-") && dummy.daemon());
    };
    std::thread::scope(|s| s.spawn(with_dummy).join()).unwrap();
    go.set();
    other.join().unwrap();
}

#[test]
fn fork_2_and_3_a_thread_of_ours_keeps_its_name_kind_daemon_flag_and_ident() {
    let _watchdog = watchdog();
    let ok = Arc::new(AtomicBool::new(false));
    let target = {
        let ok = ok.clone();
        move || {
            let (ident, native_id) = (get_ident(), get_native_id());
            in_child(|| {
                is_alone("forks", true);
                assert_eq!(get_ident(), ident);
                assert_ne!(get_native_id(), native_id);
                assert!(format!("{:?}", current_thread()).starts_with("<Thread(forks, started da"));
                // Asked by another thread first, and again in a grandchild.
                run(move || assert_eq!(main_thread().ident(), Some(ident)));
                in_child(|| is_alone("forks", true));
            });
            assert_eq!(get_native_id(), native_id);
            ok.store(true, Relaxed);
        }
    };
    let thread = Thread::builder().name("forks").daemon(true).target(target);
    thread.spawn().unwrap().join().unwrap();
    assert!(ok.load(Relaxed));
}

#[test]
fn fork_4_started_threads_are_ended_in_the_child_and_unstarted_ones_can_be_started() {
    let _watchdog = watchdog();
    let (running, go) = waiting("running", false);
    assert!(running.native_id().is_some()); // it waits until it is known
    let ended = Thread::new(|| ());
    ended.start().unwrap();
    until(|| !ended.is_alive()); // not joined
    let joined = Thread::new(|| ());
    joined.start().unwrap();
    joined.join().unwrap();
    let ran = Arc::new(AtomicBool::new(false));
    let unstarted = Thread::new({
        let ran = ran.clone();
        move || ran.store(true, Relaxed)
    });
    let ident = running.ident();
    in_child(|| {
        for thread in [&running, &ended, &joined] {
            assert!(!thread.is_alive() && thread.ident().is_some());
            assert!(thread.native_id().is_some());
            thread.join().unwrap();
            assert_eq!(thread.join_timeout(Duration::from_secs(60)), Ok(true));
            assert_eq!(thread.join_interruptible(Deadline::NEVER), Ok(true));
            assert!(thread.start().is_err() && thread.set_daemon(true).is_err());
            thread.set_name("still to be named");
        }
        assert_eq!(running.ident(), ident);
        assert!(format!("{running:?}").contains("stopped"));
        unstarted.start().unwrap();
        unstarted.join().unwrap();
        assert!(ran.load(Relaxed) && !unstarted.is_alive());
        drop((running.clone(), ended.clone()));
    });
    assert!(running.is_alive() && !ran.load(Relaxed));
    go.set();
    running.join().unwrap();
    ended.join().unwrap();
}

#[test]
fn fork_4_a_thread_that_another_waits_for_in_the_parent_is_joined_at_once_in_the_child() {
    let _watchdog = watchdog();
    let (running, go) = waiting("joined", true);
    let joiner = Thread::new({
        let running = running.clone();
        move || running.join().unwrap()
    });
    joiner.start().unwrap();
    until(|| common::is_asleep(joiner.native_id().unwrap()));
    in_child(|| {
        running.join().unwrap();
        joiner.join().unwrap();
    });
    go.set();
    joiner.join().unwrap();
}

#[test]
fn fork_5_whatever_other_threads_do_the_child_can_use_everything() {
    let _watchdog = watchdog();
    let stop = AtomicBool::new(false);
    let named = Thread::new(|| ());
    let rename = || {
        named.set_name("again");
        drop(named.name());
    };
    let busy: [&(dyn Fn() + Sync); 5] = [
        &|| {
            let thread = Thread::new(|| ());
            thread.start().unwrap();
            thread.join().unwrap();
        },
        &|| {
            Thread::builder().stack_size(64 << 10).spawn().unwrap();
        },
        &|| {
            drop(enumerate());
            std::thread::spawn(current_thread).join().unwrap();
        },
        &rename,
        &|| {
            set_excepthook(|_| ()).install();
        },
    ];
    std::thread::scope(|s| {
        for work in busy {
            s.spawn(|| {
                while !stop.load(Relaxed) {
                    work();
                }
            });
        }
        for _ in 0..100 {
            in_child(|| {
                is_alone("MainThread", false);
                run(|| assert_eq!(active_count(), 2));
                named.set_name("in the child");
                named.start().unwrap();
                named.join().unwrap();
                register_atexit(|| ()).unwrap();
                set_excepthook(|_| ()).install();
                run(|| ());
                is_alone("MainThread", false);
            });
        }
        stop.store(true, Relaxed);
    });
}

#[test]
fn fork_9_shutdown_in_the_child_does_not_wait_for_vanished_threads() {
    let _watchdog = watchdog();
    let (running, go) = waiting("never ends in the child", false);
    let called = Arc::new(AtomicUsize::new(0));
    in_child(|| {
        register_atexit({
            let called = called.clone();
            move || {
                called.fetch_add(1, Relaxed);
            }
        })
        .unwrap();
        let worked = Arc::new(AtomicBool::new(false));
        let own = Thread::builder().daemon(false).target({
            let worked = worked.clone();
            move || worked.store(true, Relaxed)
        });
        own.spawn().unwrap();
        shutdown();
        assert!(worked.load(Relaxed) && called.load(Relaxed) == 1);
        shutdown();
        assert_eq!(called.load(Relaxed), 1);
    });
    assert!(running.is_alive() && main_thread().is_alive());
    assert_eq!(called.load(Relaxed), 0, "the parent is not affected");
    // The same by the exit of the process, which waits for a thread of the child's.
    let child = start_child(|| {
        let own = Thread::builder().daemon(false).target(|| ());
        own.spawn().unwrap();
        // SAFETY: what a program's end does.
        unsafe { libc::exit(0) };
    });
    finish(child);
    go.set();
    running.join().unwrap();
}

#[test]
fn fork_9_a_thread_of_ours_that_returns_in_the_child_ends_it() {
    let _watchdog = watchdog();
    let child = Arc::new(std::sync::Mutex::new(None));
    let thread = Thread::builder().daemon(false).target({
        let child = child.clone();
        // SAFETY: the child returns from its thread, as the crate promises to work.
        move || match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child: pid } => *child.lock().unwrap() = Some(pid),
            ForkResult::Child => {
                let own = Thread::builder().daemon(false).target(|| ());
                own.spawn().unwrap();
            }
        }
    });
    thread.spawn().unwrap().join().unwrap();
    let child = child.lock().unwrap().take();
    finish(child.expect("the thread has panicked"));
}

#[test]
fn fork_11_many_threads_fork_at_the_same_time() {
    let _watchdog = watchdog();
    let forking = || {
        for _ in 0..20 {
            in_child(|| {
                is_alone("MainThread", false);
                run(|| ());
            });
        }
    };
    std::thread::scope(|s| {
        for _ in 0..8 {
            s.spawn(forking);
        }
    });
}

#[test]
fn fork_9_a_fork_while_another_thread_waits_at_the_end_of_the_program_leaves_no_end_behind() {
    let _watchdog = watchdog();
    // In a child, since the end of a program comes once.
    in_child(|| {
        let (blocker, go) = waiting("blocker", false);
        let ending = Thread::builder().daemon(true).target(shutdown);
        let ending = ending.spawn().unwrap();
        until(|| common::is_asleep(ending.native_id().unwrap()));
        in_child(|| {
            let own = Thread::builder().daemon(false).target(|| ());
            let own = own.spawn().unwrap();
            shutdown();
            assert!(!own.is_alive());
        });
        go.set();
        blocker.join().unwrap();
        ending.join().unwrap();
    });
}

#[test]
fn fork_5_a_timer_that_others_change_at_that_moment_can_be_used_in_the_child() {
    let _watchdog = watchdog();
    let timer = Timer::new(None, || ());
    let stop = AtomicBool::new(false);
    std::thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                while !stop.load(Relaxed) {
                    timer.set_interval(Duration::ZERO);
                }
            });
        }
        let children: Vec<_> = (0..50)
            .map(|_| start_child(|| timer.set_interval(Duration::from_millis(1))))
            .collect();
        stop.store(true, Relaxed);
        children.into_iter().for_each(finish);
    });
}

// Scopes.

#[test]
fn fork_4_in_the_child_a_scope_does_not_wait_for_threads_of_the_parent() {
    let _watchdog = watchdog();
    let (go, lent) = (Event::new(), AtomicU32::new(0));
    let (mut child, parent) = (None, std::process::id());
    scope(|s| {
        let waiting = s.spawn(|| go.wait());
        for _ in 0..40 {
            s.spawn(|| go.wait()); // more than the list holds before it is looked through
        }
        // SAFETY: the child uses the crate only, and leaves by `_exit`, once the scope has returned.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child: pid } => {
                child = Some(pid);
                assert!(!waiting.is_finished());
                go.set();
            }
            ForkResult::Child => {
                // SAFETY: no precondition.
                unsafe { libc::alarm(30 * patience()) };
                let payload = waiting.join().unwrap_err();
                let is_gone = payload.downcast_ref() == Some(&Error::NoResult);
                for _ in 0..40 {
                    let lent = &lent;
                    s.spawn(move || lent.fetch_add(u32::from(is_gone), Relaxed));
                }
            }
        }
    });
    if std::process::id() != parent {
        // SAFETY: leaves the child without running what belongs to the parent.
        unsafe { libc::_exit(i32::from(lent.into_inner() != 40)) };
    }
    finish(child.unwrap());
}

#[test]
fn fork_5_a_fork_while_others_start_threads_in_the_scope_does_not_block_the_child() {
    let _watchdog = watchdog();
    let stop = AtomicBool::new(false);
    scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                while !stop.load(Relaxed) {
                    s.spawn(|| ());
                }
            });
        }
        let children: Vec<_> = (0..50)
            .map(|_| {
                start_child(|| {
                    assert!(s.spawn(|| ()).join().is_ok());
                    scope(|s| s.spawn(|| ()).join()).unwrap();
                })
            })
            .collect();
        stop.store(true, Relaxed);
        children.into_iter().for_each(finish);
    });
}

#[test]
fn fork_9_a_scoped_thread_that_forked_and_returns_in_the_child_ends_it() {
    let _watchdog = watchdog();
    let lent = AtomicU32::new(1);
    let child = scope(|s| {
        let forks = s.spawn(|| {
            // SAFETY: the child returns from its thread, as the crate promises to work.
            match unsafe { fork() }.unwrap() {
                ForkResult::Parent { child } => Some(child),
                ForkResult::Child => {
                    // What it borrows is there, though the thread that lent it is not.
                    let thread = s.spawn(|| lent.fetch_add(1, Relaxed));
                    assert_eq!(thread.join().unwrap(), 1);
                    None
                }
            }
        });
        forks.join().unwrap().unwrap()
    });
    finish(child);
    assert_eq!(lent.into_inner(), 1);
}
