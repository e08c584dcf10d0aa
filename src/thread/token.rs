//! Parking: a thread waits until another one lets it go on, which may have come before.

use super::{Thread, current};
use crate::blocking;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::observe::{self, Object, ObjectKind};
use crate::raw::park::{GaveUp, Limit};
use crate::thread::Record;
use std::time::Duration;

/// Waits until another thread calls [`Thread::unpark`] on this one; at once if that has happened since
/// the last time.
///
/// Each thread has a token, which [`unpark`](Thread::unpark) gives it, at any time, and which this
/// waits for and takes. There is one: given twice before it is taken, it is there once. It has nothing
/// to do with that of [`std::thread::park`].
///
/// Other than std's this does not return without a token, so no loop is needed for the sake of
/// spurious wakes. It is needed where others may unpark the thread for reasons of theirs.
///
/// A thread that this crate did not start gets a [`current_thread`](crate::current_thread) by this,
/// which is what others unpark. In the child of a fork a thread has the token that it had been given
/// before; none is given across processes.
///
/// # Memory ordering
/// What happened before each `unpark` since the last token was taken is visible after the return.
///
/// # Cost
/// A read-modify-write if the token is there, without system call.
///
/// ```
/// use threadbare::{current_thread, park, spawn};
///
/// let parked = current_thread();
/// let other = spawn(move || parked.unpark());
/// park();
/// # other.join().unwrap();
/// ```
pub fn park() {
    let record = current::record();
    if !record.parking.take() {
        let taken = block(&record, Limit::NONE);
        debug_assert_eq!(taken, Ok(()), "a wait without limit does not give up");
    }
}

/// As [`park`], for `timeout` at most; whether the token came. Zero asks for it.
///
/// # Errors
/// [`Error::TimeoutTooLarge`] if `timeout` exceeds [`TIMEOUT_MAX`](crate::TIMEOUT_MAX).
///
/// ```
/// use std::time::Duration;
/// use threadbare::{current_thread, park_timeout};
///
/// assert_eq!(park_timeout(Duration::from_millis(1)), Ok(false));
/// current_thread().unpark();
/// assert_eq!(park_timeout(Duration::from_secs(60)), Ok(true));
/// # Ok::<(), threadbare::Error>(())
/// ```
pub fn park_timeout(timeout: Duration) -> Result<bool, Error> {
    let record = current::record();
    blocking::within(
        timeout,
        || Ok(record.parking.take()),
        |limit| block(&record, limit),
    )
}

/// As [`park`], until `deadline` at most; whether the token came.
///
/// ```
/// use threadbare::{Deadline, current_thread, park_until};
///
/// assert!(!park_until(Deadline::now()));
/// current_thread().unpark();
/// assert!(park_until(Deadline::now()));
/// ```
pub fn park_until(deadline: Deadline) -> bool {
    let record = current::record();
    record.parking.take() || block(&record, Limit::until(deadline.0)).is_ok()
}

/// As [`park_until`], but a signal handler that runs while the thread sleeps ends the wait, also one
/// installed with `SA_RESTART`. A token that the handler gives is taken: then no error is returned. A
/// handler that runs just before the thread falls asleep is not noticed, but the token is.
///
/// # Errors
/// [`Error::Interrupted`] after a signal handler ran.
///
/// ```
/// use threadbare::{Deadline, park_interruptible};
///
/// assert_eq!(park_interruptible(Deadline::now()), Ok(false));
/// ```
pub fn park_interruptible(deadline: Deadline) -> Result<bool, Error> {
    let record = current::record();
    blocking::interruptible(
        deadline,
        || Ok(record.parking.take()),
        |limit| block(&record, limit),
    )
}

/// As [`park_interruptible`], but what ends the wait is `check`, by returning `true`: it is called before
/// the thread sleeps, after each signal handler that ran, and every 50 ms, so no signal is missed
/// (SIG-4). If it panics, a token that came is still there.
///
/// # Errors
/// [`Error::Interrupted`] if `check` has returned `true`.
///
/// ```
/// use threadbare::{Deadline, Error, park_checked};
///
/// assert_eq!(park_checked(Deadline::NEVER, || true), Err(Error::Interrupted));
/// ```
pub fn park_checked(deadline: Deadline, check: impl FnMut() -> bool) -> Result<bool, Error> {
    let record = current::record();
    blocking::checked(
        deadline,
        check,
        || Ok(record.parking.take()),
        |limit| block(&record, limit),
        || record.parking.give(),
    )
}

fn block(record: &Record, limit: Limit) -> Result<(), GaveUp> {
    let object = Object::new(ObjectKind::Token, record);
    observe::blocking(object, || record.parking.wait_contended(limit), |_| false)
}

impl Thread {
    /// Gives the thread its token: a [`park`] of that thread returns, now or the next time. At any
    /// time; before the start the token is kept, after the end it does nothing.
    ///
    /// Async-signal-safe: a signal handler may call it on a handle that it can reach. Like any system
    /// call it may change `errno`.
    ///
    /// ```
    /// use threadbare::{Thread, park};
    ///
    /// let thread = Thread::new(|| park());
    /// thread.unpark(); // it will not wait
    /// thread.start()?;
    /// thread.join()?;
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn unpark(&self) {
        self.record.parking.give();
    }
}
