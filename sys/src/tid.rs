//! The kernel's id of the calling thread, cached and right after a fork.
//!
//! The id lies in a thread-local. In the child of a fork the calling thread has a new id, so the
//! handler of [`fork`] empties the cache there. A child made by a bare `clone` or `_Fork` runs no
//! such handler and would see its parent's id; POSIX allows such a child little else than `exec`.

use crate::fork;
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

thread_local! {
    /// This thread's id; 0 while unknown.
    static CACHED: Cell<u32> = const { Cell::new(0) };
}

/// The process's id; 0 while unknown.
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// `gettid()`: the kernel's id of this thread, as `top`, `perf` and `/proc` show it. In the main
/// thread it equals the process id.
///
/// A load of a thread-local after a thread's first call, which makes no system call either where
/// libc's own record of the id can be used. It cannot fail. Linux 2.4.11.
#[inline]
pub fn gettid() -> u32 {
    match CACHED.get() {
        0 => ask(),
        known => known,
    }
}

/// Whether this is the thread that the process began with, or that forked it (its id is the
/// process id). One system call at first.
#[must_use]
pub fn is_main_thread() -> bool {
    // Relaxed: the value stands for itself, and whoever asks at the same time gets the same.
    let mut process = PROCESS.load(Relaxed);
    if process == 0 {
        process = rustix::process::getpid()
            .as_raw_nonzero()
            .get()
            .unsigned_abs();
        PROCESS.store(process, Relaxed);
    }
    gettid() == process
}

/// Whether this is the thread that the first process to ask here began with. Unlike
/// [`is_main_thread`] it is `false` for a thread that has become a process's first by a fork.
///
/// Two system calls. Async-signal-safe.
#[must_use]
pub fn is_initial_thread() -> bool {
    static FIRST: AtomicU32 = AtomicU32::new(0);
    let process = rustix::process::getpid();
    let process = process.as_raw_nonzero().get().unsigned_abs();
    // Relaxed: the value stands for itself.
    let first = FIRST.compare_exchange(0, process, Relaxed, Relaxed);
    first.err().unwrap_or(process) == process
        && fork::generation() == 0 // a process in another namespace may have the same id
        && from_kernel() == process
}

#[cold]
fn ask() -> u32 {
    let tid = recorded_by_libc().unwrap_or_else(from_kernel);
    CACHED.set(tid);
    tid
}

/// `gettid()`, asked of the kernel: right in a fork handler, which may run before ours.
#[must_use]
pub fn from_kernel() -> u32 {
    rustix::thread::gettid()
        .as_raw_nonzero()
        .get()
        .unsigned_abs()
}

/// The id as libc got it from `clone`, without a system call, if that can be relied on.
///
/// pthread_getcpuclockid(3) makes the id of a thread's CPU clock of it, in a form that is part of
/// the kernel's interface: `~tid << 3 | 6` (clock_getres(2), the kernel's `posix-timers_types.h`).
/// The first thread that asks compares it with the kernel's answer.
fn recorded_by_libc() -> Option<u32> {
    const UNKNOWN: u8 = 0;
    const RIGHT: u8 = 1;
    const WRONG: u8 = 2;
    static RECORD: AtomicU8 = AtomicU8::new(UNKNOWN);

    // Relaxed: the value stands for itself, and whoever compares at the same time finds the same.
    let known = RECORD.load(Relaxed);
    if known == WRONG {
        return None;
    }
    let mut clock = MaybeUninit::uninit();
    // SAFETY: no precondition.
    let this = unsafe { libc::pthread_self() };
    // SAFETY: the calling thread exists, and `clock` is valid for the call to write.
    let result = unsafe { libc::pthread_getcpuclockid(this, clock.as_mut_ptr()) };
    if result != 0 {
        return None;
    }
    // SAFETY: the call returned 0, so it stored the clock.
    let clock = unsafe { clock.assume_init() };
    let tid = (!(clock >> 3)).unsigned_abs();
    if known == UNKNOWN {
        let right = tid == from_kernel();
        RECORD.store(if right { RIGHT } else { WRONG }, Relaxed);
        return right.then_some(tid);
    }
    Some(tid)
}

/// In the child of a fork. Async-signal-safe: an atomic, and a constant-initialised thread-local
/// without a destructor.
pub(crate) fn forget() {
    CACHED.set(0);
    PROCESS.store(0, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mod_10_threads_have_distinct_ids_that_stay() {
        let mine = gettid();
        assert_eq!(mine, gettid());
        assert_eq!(mine, from_kernel());
        let both = || (gettid(), from_kernel());
        let (other, other_by_kernel) = std::thread::spawn(both).join().unwrap();
        assert_eq!(other, other_by_kernel);
        assert_ne!(mine, other);
    }

    #[test]
    fn fork_3_the_child_has_its_own_id() {
        assert!(gettid() != 0 && !is_main_thread());
        // SAFETY: the child only makes async-signal-safe calls and leaves by `_exit`.
        match unsafe { libc::fork() } {
            0 => {
                let right = gettid() == from_kernel() && is_main_thread();
                // SAFETY: leaves the child at once, without running anything of the parent's.
                unsafe { libc::_exit(i32::from(!right)) };
            }
            child => {
                let mut status = -1;
                // SAFETY: `child` is ours and `status` is valid for the call.
                assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
                assert_eq!(status, 0);
            }
        }
    }
}
