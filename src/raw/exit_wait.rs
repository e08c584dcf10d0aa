//! The wait for all threads at the end of the process (EXIT-2), those included that are started
//! meanwhile.
//!
//! # Where a thread is
//!
//! ```text
//!   listed, begun + 1  --start, in the thread that starts it-->  runs
//!     --left to be joined-->  listed and ended  --its end-->  ended  --joined-->  nowhere
//! ```
//! # Invariants
//!
//! 1. A thread is counted in `begun` in the step that lists it, which is before there is one; the
//!    number never falls.
//! 2. It is among the ended before it leaves the list, and until it has been joined. So who looks
//!    through the list first and the ended ones then misses none.
//! 3. So once nobody was found, and none was begun since before that look, there is nobody left.
//!    A thread that nobody waits for, a daemon, may start another later: that one is too late.
//!
//! # Ordering
//!
//! Both are looked through under their locks, which order them behind who was there before.

use crate::primitive::Deadline;

/// The threads of the process.
pub trait Threads {
    /// One of them.
    type Thread;

    /// How many that are waited for have ever been listed.
    fn begun(&self) -> u64;

    /// Those that are waited for and listed, as of one moment.
    fn listed(&self) -> Vec<Self::Thread>;

    /// Those that have ended and are not known to be joined.
    fn ended(&self) -> Vec<Self::Thread>;

    /// Whether the process does not end before `thread`, one of the above, which is not joined.
    fn is_waited_for(&self, thread: &Self::Thread) -> bool;

    /// Waits until `thread` is gone, or for a while if it is still being started; `false` if the
    /// deadline came.
    fn is_gone_before(&self, thread: &Self::Thread, deadline: Deadline) -> bool;
}

/// Waits until all threads are gone that the process waits for; returns those that are left at the
/// deadline.
pub fn wait_for_all<T: Threads>(threads: &T, deadline: Deadline) -> Vec<T::Thread> {
    loop {
        let begun = threads.begun();
        let mut left = threads.listed();
        // A thread that ends is left to be joined before it leaves the lists, so none is missed.
        left.extend(threads.ended());
        left.retain(|thread| threads.is_waited_for(thread));
        if left.is_empty() {
            // Those that were found and are gone by now may have started others meanwhile.
            if threads.begun() == begun || deadline.has_passed() {
                return left;
            }
            continue;
        }
        let is_gone = |thread: &T::Thread| threads.is_gone_before(thread, deadline);
        if !left.iter().all(is_gone) {
            left.retain(|thread| !is_gone(thread));
            return left;
        }
    }
}
