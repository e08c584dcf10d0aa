//! A kernel that refuses calls, as a container's seccomp filter makes it.

#![cfg(all(not(threadbare_model), target_arch = "x86_64"))] // the filter is for one architecture

mod child;
mod common;

use child::Child;
use common::{threads, until, watchdog};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use threadbare::{Condition, Lock};

/// Makes the futex `operation` fail with `errno` in the calling thread and those it starts.
fn refuse_futex(operation: i32, errno: i32) {
    let load = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let and = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
    let equal = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let answer = (libc::BPF_RET | libc::BPF_K) as u16;
    let line = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let number = std::mem::offset_of!(libc::seccomp_data, nr) as u32;
    let second = (std::mem::offset_of!(libc::seccomp_data, args) + 8) as u32;
    let mut program = [
        line(load, 0, 0, number),
        line(equal, 0, 4, libc::SYS_futex as u32),
        line(load, 0, 0, second),
        line(
            and,
            0,
            0,
            !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME) as u32,
        ),
        line(equal, 0, 1, operation as u32),
        line(answer, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        line(answer, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: sets a flag of the calling thread.
    let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(result, 0);
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: the program is valid for the call, which copies it.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) };
    assert_eq!(result, 0);
}

#[test]
fn a_thread_that_may_not_wait_ends_the_process_and_does_not_unwind() {
    let _watchdog = watchdog();
    let test = "a_thread_that_may_not_wait_ends_the_process_and_does_not_unwind";
    let body = || {
        refuse_futex(libc::FUTEX_WAIT_BITSET, libc::EPERM);
        let changed = Condition::new();
        let _guard = changed.guard();
        // Caught, an unwinding would leave a waiter that is gone in the queue.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| changed.wait()));
        let _ = changed.notify_all();
    };
    let Some(ended) = Child::run(test, body) else {
        return;
    };
    assert_eq!(ended.signal(), Some(Signal::SIGABRT), "{ended:?}");
    assert!(
        ended.stderr.contains("the kernel refuses futex waits"),
        "{ended:?}"
    );
}

#[test]
fn without_requeue_a_crowd_is_woken_all_the_same() {
    let _watchdog = watchdog();
    let test = "without_requeue_a_crowd_is_woken_all_the_same";
    let body = || {
        const CROWD: usize = 80; // more than a release wakes by itself
        refuse_futex(libc::FUTEX_CMP_REQUEUE, libc::ENOSYS);
        let (changed, returned) = (Condition::new(), AtomicUsize::new(0));
        threads(CROWD + 1, |number| {
            if number < CROWD {
                let _guard = changed.guard();
                changed.wait().unwrap();
                returned.fetch_add(1, Relaxed);
                return;
            }
            let waiting = || {
                let _guard = changed.guard();
                changed.waiting() == Some(CROWD)
            };
            until(waiting);
            // All asleep: only who sleeps is requeued.
            until(|| common::tids().filter(|tid| common::is_asleep(*tid)).count() >= CROWD);
            let _guard = changed.guard();
            assert_eq!(changed.notify_all(), Ok(CROWD));
        });
        assert_eq!(returned.into_inner(), CROWD);
    };
    if let Some(ended) = Child::run(test, body) {
        assert!(ended.status.success(), "{ended:?}");
    }
}

#[test]
fn the_filter_refuses_what_it_is_told_to() {
    let _watchdog = watchdog();
    let test = "the_filter_refuses_what_it_is_told_to";
    let body = || {
        refuse_futex(libc::FUTEX_CMP_REQUEUE, libc::ENOSYS);
        let operation = libc::FUTEX_CMP_REQUEUE | libc::FUTEX_PRIVATE_FLAG;
        let word = 0_u32;
        // SAFETY: the word is valid; nobody sleeps there.
        let moved = unsafe { libc::syscall(libc::SYS_futex, &word, operation, 0, 1, &word, 0) };
        assert_eq!((moved, Errno::last()), (-1, Errno::ENOSYS));
        drop(Lock::new().guard());
    };
    if let Some(ended) = Child::run(test, body) {
        assert!(ended.status.success(), "{ended:?}");
    }
}
