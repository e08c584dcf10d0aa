//! The one place where a thread of this crate sleeps.

use crate::primitive::{ALL_RANKS, Deadline, Outcome, Word, before_next_check, futex_wait};
use std::fmt;
use std::num::NonZeroU32;

/// How long a blocking call may last, and what may end it early.
#[derive(Clone, Copy)]
pub struct Limit<'a> {
    /// When it gives up.
    pub deadline: Deadline,
    /// Whether a signal handler that ran ends it (SIG-4); if not, it goes on waiting.
    pub interruptible: bool,
    /// What is asked instead whether to end it, where that is wanted: after each signal, and every
    /// now and then, so that a signal just before a sleep is not missed. It does not unwind.
    pub check: Option<&'a dyn Fn() -> bool>,
}

impl<'a> Limit<'a> {
    /// Until it succeeds.
    pub const NONE: Limit<'static> = Limit::until(Deadline::NEVER);

    /// Until `deadline`, signals notwithstanding.
    pub const fn until(deadline: Deadline) -> Limit<'static> {
        Limit {
            deadline,
            interruptible: false,
            check: None,
        }
    }

    /// Until `deadline` or a signal.
    pub const fn interruptible(deadline: Deadline) -> Limit<'static> {
        Limit {
            deadline,
            interruptible: true,
            check: None,
        }
    }

    /// Until `deadline` or until `check` says so. `check` must not unwind: others hold pointers to
    /// what a sleeping thread waits with.
    pub const fn checked(deadline: Deadline, check: &'a dyn Fn() -> bool) -> Limit<'a> {
        Limit {
            deadline,
            interruptible: true,
            check: Some(check),
        }
    }

    /// The same, but until `deadline`.
    pub const fn with_deadline(self, deadline: Deadline) -> Limit<'a> {
        Limit { deadline, ..self }
    }
}

impl fmt::Debug for Limit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limit")
            .field("deadline", &self.deadline)
            .field("interruptible", &self.interruptible)
            .field("is_checked", &self.check.is_some())
            .finish()
    }
}

/// Why a blocking call ended without what it waited for. It consumed no wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GaveUp {
    /// The deadline passed.
    TimedOut,
    /// A signal handler ran, or the check said so.
    Interrupted,
}

/// Sleeps while the word is `expected`, within `limit`.
///
/// `Ok` says only that it is time to look at the word again: a wake came, or the word differed, or
/// nothing happened at all. A deadline that has passed already is noticed by the kernel.
#[cold]
pub fn park(word: &impl Word, expected: u32, limit: Limit) -> Result<(), GaveUp> {
    park_ranked(word, expected, limit, || ALL_RANKS)
}

/// [`park`], in these ranks: a wake of some ranks picks no others. They are asked for anew each time it
/// sleeps again, which is behind all others. (Where the kernel itself goes on after a handler, the ranks
/// stay.)
#[cold]
pub fn park_ranked(
    word: &impl Word,
    expected: u32,
    limit: Limit,
    mut ranks: impl FnMut() -> NonZeroU32,
) -> Result<(), GaveUp> {
    if let Some(check) = limit.check {
        return park_checked(word, expected, limit.deadline, check, ranks);
    }
    // With any deadline the kernel lets every handler interrupt the wait; without one those
    // installed with SA_RESTART would not (SIG-5).
    let timed = limit.interruptible || !limit.deadline.is_never();
    let deadline = timed.then_some(limit.deadline);
    loop {
        match futex_wait(word, expected, deadline, ranks()) {
            Outcome::Woken | Outcome::Differed => return Ok(()),
            Outcome::TimedOut => return Err(GaveUp::TimedOut),
            Outcome::Interrupted if limit.interruptible => return Err(GaveUp::Interrupted),
            Outcome::Interrupted => {} // the deadline is absolute: nothing to recompute (TIME-3)
        }
    }
}

/// [`park_ranked`] in slices, with `check` before each.
fn park_checked(
    word: &impl Word,
    expected: u32,
    deadline: Deadline,
    check: &dyn Fn() -> bool,
    mut ranks: impl FnMut() -> NonZeroU32,
) -> Result<(), GaveUp> {
    loop {
        if check() {
            return Err(GaveUp::Interrupted);
        }
        let slice = before_next_check(deadline);
        match futex_wait(word, expected, Some(slice), ranks()) {
            Outcome::Woken | Outcome::Differed => return Ok(()),
            Outcome::TimedOut if slice == deadline => return Err(GaveUp::TimedOut),
            Outcome::TimedOut | Outcome::Interrupted => {}
        }
    }
}

#[cfg(all(test, not(threadbare_model)))]
mod tests {
    use super::*;

    #[test]
    fn a_limit_tells_all_that_ends_a_wait() {
        let check = || true;
        let limit = Limit::checked(Deadline::NEVER, &check);
        let told = "Limit { deadline: Deadline(never), interruptible: true, is_checked: true }";
        assert_eq!(format!("{limit:?}"), told);
    }
}
