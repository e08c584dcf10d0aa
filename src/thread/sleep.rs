//! Sleeping to a point in time, which is waiting for what does not happen.

use crate::deadline::Deadline;
use crate::error::Error;
use crate::observe::{self, Object, ObjectKind};
use crate::raw::event::RawEvent;
use crate::raw::park::{GaveUp, Limit};

/// Sleeps until `deadline`; for [`NEVER`](Deadline::NEVER) as long as the process lasts. Signals do
/// not end it.
///
/// What is done again and again, each time at a [`saturating_add`](Deadline::saturating_add) after the
/// time before, comes without drift. The kernel may wake a thread a little late: by its timer slack, 50
/// µs by default (PR_SET_TIMERSLACK(2const)), and until a CPU is free.
///
/// There is no `sleep`, `yield_now` or `available_parallelism` here: std's do the same for all threads,
/// those of this crate included. ([`std::thread::sleep`] emits no [`TraceEvent`](crate::TraceEvent).)
///
/// ```
/// use std::time::Duration;
/// use threadbare::{Deadline, sleep_until};
///
/// let mut next = Deadline::now();
/// for _ in 0..3 {
///     next = next.saturating_add(Duration::from_millis(1));
///     sleep_until(next);
///     assert!(next.has_passed());
/// }
/// ```
pub fn sleep_until(deadline: Deadline) {
    let ended = sleep(Limit::until(deadline.0));
    debug_assert_eq!(ended, GaveUp::TimedOut, "nothing else ends it");
}

/// As [`sleep_until`], but a signal handler that runs meanwhile ends it, also one installed with
/// `SA_RESTART`. One that runs just before the thread falls asleep is not noticed.
///
/// # Errors
/// [`Error::Interrupted`] after a signal handler ran.
///
/// ```
/// use std::time::Duration;
/// use threadbare::{Deadline, sleep_interruptible};
///
/// let deadline = Deadline::after(Duration::from_millis(1))?;
/// sleep_interruptible(deadline)?;
/// assert!(deadline.has_passed());
/// # Ok::<(), threadbare::Error>(())
/// ```
pub fn sleep_interruptible(deadline: Deadline) -> Result<(), Error> {
    match sleep(Limit::interruptible(deadline.0)) {
        GaveUp::TimedOut => Ok(()),
        GaveUp::Interrupted => Err(Error::Interrupted),
    }
}

fn sleep(limit: Limit) -> GaveUp {
    if limit.deadline.has_passed() {
        return GaveUp::TimedOut;
    }
    let never = RawEvent::new();
    let object = Object::new(ObjectKind::Sleep, &never);
    match observe::blocking(object, || never.wait_contended(limit), |_| false) {
        Err(gave_up) => gave_up,
        Ok(()) => unreachable!("nobody sets the event"),
    }
}
