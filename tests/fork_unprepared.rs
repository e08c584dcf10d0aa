//! Forks in a program that has made no thread of the crate's yet (FORK-5). A program of its own, since
//! any other test would have.

#![cfg(not(threadbare_loom))]

mod common;

use common::{until, watchdog};
use nix::libc;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use threadbare::{
    Thread, current_excepthook, getprofile, gettrace, set_exit_timeout, set_stack_cache,
    setprofile, settrace,
};

/// What takes one of the crate's locks.
const USES: [fn(); 6] = [
    || settrace(gettrace()),
    || setprofile(getprofile()),
    || drop(current_excepthook().install()),
    || assert!(set_exit_timeout(None).is_ok()),
    || assert_ne!(set_stack_cache(1 << 20), 0),
    || {
        let thread = Thread::builder().daemon(true).build().unwrap();
        assert!(thread.daemon());
    },
];

/// Forks while other threads do what is to be possible in the child too.
fn check(usage: fn()) {
    let (stop, uses) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                while !stop.load(Relaxed) {
                    usage();
                    uses.fetch_add(1, Relaxed);
                }
            });
        }
        until(|| uses.load(Relaxed) >= 1000); // they are at it
        for _ in 0..50 {
            // SAFETY: the child does what the crate promises to work.
            match unsafe { fork() }.unwrap() {
                ForkResult::Child => {
                    // SAFETY: no precondition. A child that hangs is to fail.
                    unsafe { libc::alarm(10) };
                    usage();
                    // SAFETY: leaves at once.
                    unsafe { libc::_exit(0) }
                }
                ForkResult::Parent { child } => {
                    let mut ended = WaitStatus::StillAlive;
                    until(|| {
                        ended = waitpid(child, Some(WaitPidFlag::WNOHANG)).unwrap();
                        ended != WaitStatus::StillAlive
                    });
                    if ended != WaitStatus::Exited(child, 0) {
                        stop.store(true, Relaxed);
                        panic!("{ended:?}");
                    }
                }
            }
        }
        stop.store(true, Relaxed);
    });
}

#[test]
fn fork_5_whatever_the_program_has_called_first() {
    let _watchdog = watchdog();
    // Each in a process that has not called anything yet.
    for usage in USES {
        // SAFETY: the only other thread is the test harness's, which is not needed.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let ended = std::panic::catch_unwind(|| check(usage));
                // SAFETY: leaves at once.
                unsafe { libc::_exit(i32::from(ended.is_err())) }
            }
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
            }
        }
    }
}
