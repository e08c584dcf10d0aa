//! The kernel's id of the calling thread, cached and right after a fork.
//!
//! The id lies in a thread-local. In the child of a fork the calling thread has a new id, so a
//! handler registered with pthread_atfork(3) empties the cache there. Nothing is cached before
//! that handler is in place. A child made by a bare `clone` or `_Fork` runs no such handlers and
//! would see its parent's id; POSIX allows such a child little else than `exec`.

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

thread_local! {
    /// This thread's id; 0 while unknown.
    static CACHED: Cell<u32> = const { Cell::new(0) };
}

/// `gettid()`: the kernel's id of this thread, as `top`, `perf` and `/proc` show it. In the main
/// thread it equals the process id.
///
/// A system call at first, then a load of a thread-local. It cannot fail. Linux 2.4.11.
#[inline]
pub fn gettid() -> u32 {
    match CACHED.get() {
        0 => ask(),
        known => known,
    }
}

/// Whether this is the thread that the process began with, or that forked it (its id is the
/// process id). One system call, or two.
#[must_use]
pub fn is_main_thread() -> bool {
    gettid()
        == rustix::process::getpid()
            .as_raw_nonzero()
            .get()
            .unsigned_abs()
}

#[cold]
fn ask() -> u32 {
    let tid = rustix::thread::gettid()
        .as_raw_nonzero()
        .get()
        .unsigned_abs();
    if forgets_at_fork() {
        CACHED.set(tid);
    }
    tid
}

/// Whether the fork handler is registered; registers it at the first call.
fn forgets_at_fork() -> bool {
    const NOT_YET: u8 = 0;
    const TRYING: u8 = 1;
    const DONE: u8 = 2;
    static HANDLER: AtomicU8 = AtomicU8::new(NOT_YET);

    extern "C" fn forget() {
        CACHED.set(0);
    }

    // Acquire, paired with the Release below: who sees DONE may rely on the registration.
    match HANDLER.compare_exchange(NOT_YET, TRYING, Relaxed, Acquire) {
        Ok(_) => {
            // SAFETY: `forget` is async-signal-safe: it writes a constant-initialised
            // thread-local that has no destructor.
            let result = unsafe { libc::pthread_atfork(None, None, Some(forget)) };
            // Out of memory: the next thread may try again.
            HANDLER.store(if result == 0 { DONE } else { NOT_YET }, Release);
            result == 0
        }
        Err(now) => now == DONE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mod_10_threads_have_distinct_ids_that_stay() {
        let mine = gettid();
        assert_eq!(mine, gettid());
        assert_eq!(mine, rustix::thread::gettid().as_raw_nonzero().get() as u32);
        let other = std::thread::spawn(gettid).join().unwrap();
        assert_ne!(mine, other);
    }

    #[test]
    fn fork_3_the_child_has_its_own_id() {
        assert_ne!(gettid(), 0);
        // SAFETY: the child only makes async-signal-safe calls and leaves by `_exit`.
        match unsafe { libc::fork() } {
            0 => {
                let right = gettid() == std::process::id() && is_main_thread();
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
