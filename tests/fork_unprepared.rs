//! Forks in a program that has made no thread of the crate's yet (FORK-5). A program of its own, since
//! any other test would have.

#![cfg(not(threadbare_model))]

mod common;

use common::forked::in_child;
use common::{until, watchdog};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
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
        let forks = || (0..50).for_each(|_| in_child(usage));
        let ended = catch_unwind(AssertUnwindSafe(forks));
        stop.store(true, Relaxed);
        ended.unwrap_or_else(|payload| resume_unwind(payload));
    });
}

#[test]
fn fork_5_whatever_the_program_has_called_first() {
    let _watchdog = watchdog();
    // Each in a process that has not called anything yet.
    for usage in USES {
        in_child(|| check(usage));
    }
}
