//! The one place where a thread of this crate sleeps.

use crate::primitive::{Deadline, Outcome, Word, futex_wait};

/// How long a blocking call may last, and what may end it early.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// When it gives up.
    pub deadline: Deadline,
    /// Whether a signal handler that ran ends it (SIG-4); if not, it goes on waiting.
    pub interruptible: bool,
}

impl Limit {
    /// Until it succeeds.
    pub const NONE: Limit = Limit::until(Deadline::NEVER);

    /// Until `deadline`, signals notwithstanding.
    pub const fn until(deadline: Deadline) -> Limit {
        Limit {
            deadline,
            interruptible: false,
        }
    }

    /// Until `deadline` or a signal.
    pub const fn interruptible(deadline: Deadline) -> Limit {
        Limit {
            deadline,
            interruptible: true,
        }
    }
}

/// Why a blocking call ended without what it waited for. It consumed no wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GaveUp {
    /// The deadline passed.
    TimedOut,
    /// A signal handler ran.
    Interrupted,
}

/// Sleeps while the word is `expected`, within `limit`.
///
/// `Ok` says only that it is time to look at the word again: a wake came, or the word differed, or
/// nothing happened at all. A deadline that has passed already is noticed by the kernel.
#[cold]
pub fn park(word: &impl Word, expected: u32, limit: Limit) -> Result<(), GaveUp> {
    // With any deadline the kernel lets every handler interrupt the wait; without one those
    // installed with SA_RESTART would not (SIG-5).
    let timed = limit.interruptible || !limit.deadline.is_never();
    let deadline = timed.then_some(limit.deadline);
    loop {
        match futex_wait(word, expected, deadline) {
            Outcome::Woken | Outcome::Differed => return Ok(()),
            Outcome::TimedOut => return Err(GaveUp::TimedOut),
            Outcome::Interrupted if limit.interruptible => return Err(GaveUp::Interrupted),
            Outcome::Interrupted => {} // the deadline is absolute: nothing to recompute (TIME-3)
        }
    }
}
