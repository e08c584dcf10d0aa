//! Private futexes: sleep while a 32-bit word has a value, wake who sleeps (futex(2)).
//!
//! All calls but [`wait_shared`] carry `FUTEX_PRIVATE_FLAG`: the word is shared between the threads
//! of one process only. Between a waker and a waiter on one word the kernel orders memory so that no wake is
//! lost: if the waker changed the word before its call, a waiter that queues later sees the change
//! and does not sleep. Nothing more may be concluded: a return from a call carries no ordering for
//! other memory, that is the business of the atomic accesses around it.

use crate::clock::Deadline;
use crate::{Errno, last_errno};
use rustix::thread::futex::{Flags, wait_bitset};
use std::ffi::c_int;
use std::num::NonZeroU32;
use std::ptr;
use std::sync::atomic::AtomicU32;

/// How a [`wait`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a wait that ended says nothing about the word"]
pub enum Outcome {
    /// A wake picked this thread, or the kernel woke it for no reason (a spurious wake).
    Woken,
    /// The word did not have the expected value, so the thread did not sleep.
    Differed,
    /// The deadline passed. The thread consumed no wake.
    TimedOut,
    /// A signal handler ran. The thread consumed no wake.
    Interrupted,
}

/// All ranks: `FUTEX_BITSET_MATCH_ANY`.
pub const ALL_RANKS: NonZeroU32 = NonZeroU32::MAX;

/// [`wait_ranked`] in all ranks.
pub fn wait(word: &AtomicU32, expected: u32, deadline: Option<Deadline>) -> Outcome {
    wait_ranked(word, expected, deadline, ALL_RANKS)
}

/// `futex(word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected, deadline, NULL, ranks)`: sleeps while
/// `*word == expected`. A [`wake_ranked`] picks those only that have a rank in common with it, each a bit;
/// [`wake`] and [`requeue`] do not look at them.
///
/// The deadline is absolute, so a retry after [`Outcome::Interrupted`] passes the same one.
/// With `None` the kernel goes on by itself after handlers that were installed with `SA_RESTART`;
/// with a deadline, `NEVER` included, each handler interrupts (signal(7)).
///
/// One system call. Linux 2.6.25. If the kernel refuses the call altogether, as a seccomp filter
/// may, the process is aborted: a thread that cannot wait can neither go on nor unwind, since others
/// may hold pointers to what it waits with.
pub fn wait_ranked(
    word: &AtomicU32,
    expected: u32,
    deadline: Option<Deadline>,
    ranks: NonZeroU32,
) -> Outcome {
    wait_for(Flags::PRIVATE, word, expected, deadline, ranks)
}

/// [`wait`] without `FUTEX_PRIVATE_FLAG`: for a word that is woken from outside of this module,
/// such as by the kernel at the end of a thread (`CLONE_CHILD_CLEARTID`, set_tid_address(2)).
///
/// It is not woken by [`wake`]: the kernel tells the two kinds apart. Costs a little more.
pub fn wait_shared(word: &AtomicU32, expected: u32, deadline: Option<Deadline>) -> Outcome {
    wait_for(Flags::empty(), word, expected, deadline, ALL_RANKS)
}

fn wait_for(
    kind: Flags,
    word: &AtomicU32,
    expected: u32,
    deadline: Option<Deadline>,
    ranks: NonZeroU32,
) -> Outcome {
    let deadline = deadline.map(Deadline::timespec);
    match wait_bitset(word, kind, expected, deadline.as_ref(), ranks) {
        Ok(()) => Outcome::Woken,
        Err(Errno::AGAIN) => Outcome::Differed,
        Err(Errno::TIMEDOUT) => Outcome::TimedOut,
        Err(Errno::INTR) => Outcome::Interrupted,
        Err(errno) => refused(errno),
    }
}

/// `futex(word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, count)`: wakes at most `count` of the threads
/// asleep on `word`, those that slept first before the others; returns how many.
///
/// One system call, even when nobody sleeps. Takes a pointer and reads nothing through it: once
/// the caller's store is visible another thread may free the word, and the kernel needs only the
/// address. If that belongs to another futex by now, its sleeper wakes spuriously; if it is no
/// longer mapped, nobody is woken. Async-signal-safe. Linux 2.6.22.
pub fn wake(word: *const AtomicU32, count: u32) -> usize {
    wake_by(libc::FUTEX_WAKE, word, count, ALL_RANKS)
}

/// `futex(word, FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG, count, NULL, NULL, ranks)`: [`wake`] for those
/// that have one of the ranks. Linux 2.6.25.
pub fn wake_ranked(word: *const AtomicU32, count: u32, ranks: NonZeroU32) -> usize {
    wake_by(libc::FUTEX_WAKE_BITSET, word, count, ranks)
}

fn wake_by(operation: c_int, word: *const AtomicU32, count: u32, ranks: NonZeroU32) -> usize {
    let operation = operation | libc::FUTEX_PRIVATE_FLAG;
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    let (no_timeout, no_word) = (ptr::null::<libc::timespec>(), ptr::null::<u32>());
    let ranks = ranks.get();
    // SAFETY: both kinds of wake use the address as a key and access no memory of ours.
    let woken = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word,
            operation,
            count,
            no_timeout,
            no_word,
            ranks,
        )
    };
    usize::try_from(woken).unwrap_or(0)
}

/// [`wake`] for everyone who sleeps on `word`.
pub fn wake_all(word: *const AtomicU32) -> usize {
    wake(word, u32::MAX)
}

/// `futex(from, FUTEX_CMP_REQUEUE | FUTEX_PRIVATE_FLAG, 0, count, to, expected)`: if `*from ==
/// expected`, lets at most `count` threads asleep on `from` sleep on `to` instead, without waking
/// any; returns how many moved.
///
/// A moved thread returns [`Outcome::Woken`] from its wait when `to` is woken, and its deadline and ranks
/// stay in force. One system call. Linux 2.6.22.
///
/// # Errors
/// `EAGAIN` if `*from != expected`: nobody was moved.
///
/// # Safety
/// Threads on `from` must reckon with being woken through `to`, so `from` must still be the word
/// that the caller means: the memory of `from` and `to` is valid throughout the call.
pub unsafe fn requeue(
    from: *const AtomicU32,
    expected: u32,
    to: *const AtomicU32,
    count: u32,
) -> Result<usize, Errno> {
    let operation = libc::FUTEX_CMP_REQUEUE | libc::FUTEX_PRIVATE_FLAG;
    let wake = 0;
    // The kernel takes this number where other operations take the timeout.
    let count = usize::try_from(i32::try_from(count).unwrap_or(i32::MAX)).unwrap_or(0);
    // SAFETY: both words are valid, as the caller promises; the kernel only reads `*from`.
    let moved =
        unsafe { libc::syscall(libc::SYS_futex, from, operation, wake, count, to, expected) };
    usize::try_from(moved).map_err(|_| last_errno())
}

#[cold]
fn refused(errno: Errno) -> ! {
    eprintln!("the kernel refuses futex waits: {errno}");
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::{Acquire, Release};
    use std::time::Duration;

    #[test]
    fn a_word_that_differs_is_not_waited_for() {
        assert_eq!(wait(&AtomicU32::new(1), 0, None), Outcome::Differed);
    }

    #[test]
    fn time_2_a_wait_does_not_end_before_its_deadline() {
        let word = AtomicU32::new(0);
        let deadline = Deadline::after(Duration::from_millis(5));
        while wait(&word, 0, Some(deadline)) != Outcome::TimedOut {}
        assert!(deadline.has_passed());
    }

    #[test]
    fn a_wake_counts_whom_it_woke() {
        let word = AtomicU32::new(0);
        std::thread::scope(|s| {
            s.spawn(|| {
                while word.load(Acquire) == 0 {
                    let _ = wait(&word, 0, None);
                }
            });
            // The sleeper is woken exactly once; before it sleeps, wakes find nobody.
            while wake(&word, 1) == 0 {
                std::thread::yield_now();
            }
            word.store(1, Release);
            wake_all(&word);
        });
    }

    #[test]
    fn a_wake_of_some_ranks_picks_no_others() {
        let [one, two] = [1, 2].map(|rank| NonZeroU32::new(rank).unwrap());
        let word = AtomicU32::new(0);
        std::thread::scope(|s| {
            s.spawn(|| {
                while word.load(Acquire) == 0 {
                    let _ = wait_ranked(&word, 0, None, two);
                }
            });
            // SAFETY: the word lives until the scope ends. Moved to where it is, the sleeper is counted.
            while unsafe { requeue(&word, 0, &word, 1) } != Ok(1) {
                std::thread::yield_now();
            }
            let woken = [one, two].map(|rank| {
                if rank == two {
                    word.store(1, Release);
                }
                wake_ranked(&word, 1, rank)
            });
            wake_all(&word); // or a test that fails would wait for the sleeper
            assert_eq!(woken, [0, 1]);
        });
    }

    #[test]
    fn a_wake_needs_no_memory_behind_the_address() {
        assert_eq!(wake(ptr::without_provenance(8), 1), 0);
    }

    #[test]
    fn a_requeued_sleeper_is_woken_through_the_other_word() {
        let (from, to) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|s| {
            s.spawn(|| {
                while from.load(Acquire) == 0 {
                    let _ = wait(&from, 0, None);
                }
            });
            // SAFETY: both words live until the scope ends.
            while unsafe { requeue(&from, 0, &to, 1) } != Ok(1) {
                std::thread::yield_now();
            }
            from.store(1, Release);
            assert_eq!(wake(&to, 1), 1);
        });
        // SAFETY: as above.
        let differed = unsafe { requeue(&from, 0, &to, 1) };
        assert_eq!(differed, Err(Errno::AGAIN));
    }
}
