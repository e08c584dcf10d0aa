//! The end of the program against what other threads do at that moment (EXIT). Each test is a process
//! of its own.

#![cfg(not(threadbare_model))]

mod child;
mod common;

use child::in_child;
use common::watchdog;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::thread::sleep;
use std::time::{Duration, Instant};
use threadbare::{Thread, shutdown};

/// Stands for the scheduler's taking the processor away.
extern "C" fn stop_a_while(_: libc::c_int) {
    let pause = libc::timespec {
        tv_sec: 0,
        tv_nsec: 2_000_000,
    };
    // SAFETY: `pause` is valid for the call, which wants no rest.
    unsafe { libc::nanosleep(&pause, std::ptr::null_mut()) };
}

#[test]
fn exit_2_threads_started_by_threads_that_are_gone_by_then_are_waited_for() {
    static HOPS: AtomicU32 = AtomicU32::new(0);
    static STOPPING: AtomicBool = AtomicBool::new(false);
    const MOST: u32 = 1000;

    /// Each thread starts the next one and ends, and that joins it.
    fn hop(left: u32) {
        HOPS.fetch_add(1, Relaxed);
        if left > 1 {
            let next = Thread::builder()
                .daemon(false)
                .target(move || hop(left - 1));
            next.spawn().unwrap();
        }
    }

    fn stop_again_and_again(thread: libc::pthread_t) {
        loop {
            for extra in 0..50 {
                sleep(Duration::from_micros(2100 + extra * 7));
                if STOPPING.load(Relaxed) {
                    // SAFETY: the main function of this test lasts as long as the process.
                    assert_eq!(unsafe { libc::pthread_kill(thread, libc::SIGUSR1) }, 0);
                }
            }
        }
    }

    let _watchdog = watchdog();
    in_child(
        "exit_2_threads_started_by_threads_that_are_gone_by_then_are_waited_for",
        || {
            let handler = SigHandler::Handler(stop_a_while);
            let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
            // SAFETY: the handler only makes an async-signal-safe call.
            unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
            // SAFETY: no precondition.
            let waiting = unsafe { libc::pthread_self() };
            std::thread::spawn(move || stop_again_and_again(waiting));
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(4) {
                HOPS.store(0, Relaxed);
                let first = Thread::builder().daemon(false).target(|| hop(MOST));
                first.spawn().unwrap();
                STOPPING.store(true, Relaxed);
                shutdown();
                STOPPING.store(false, Relaxed);
                assert_eq!(HOPS.load(Relaxed), MOST);
            }
        },
    );
}
