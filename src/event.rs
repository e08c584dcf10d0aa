//! The flag that threads wait for.

use crate::blocking;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::observe::{self, Object, ObjectKind};
use crate::raw::event::RawEvent;
use crate::raw::park::{GaveUp, Limit};
use std::fmt;
use std::time::Duration;

/// A flag: threads [`wait`](Event::wait) until another one [`set`](Event::set)s it.
///
/// # What is promised
/// A `set` releases all who wait at that moment, even if a [`clear`](Event::clear) follows before
/// they run (EVT-4). Afterwards waits return at once, until a `clear`, which does not disturb
/// those who wait already (EVT-7).
///
/// # Memory ordering
/// What happened before a `set` is visible after a wait, and after an [`is_set`](Event::is_set),
/// that returned `true` for it (MEM-2).
///
/// # Cost
/// 4 bytes. `is_set`, and a wait when the flag is set, are a load; `set` and `clear` without
/// waiters are one atomic read-modify-write, without system call.
///
/// ```
/// use threadbare::Event;
///
/// static READY: Event = Event::new();
///
/// std::thread::scope(|s| {
///     s.spawn(|| READY.wait());
///     READY.set();
/// });
/// ```
#[doc(alias("ManualResetEvent", "latch"))]
pub struct Event {
    raw: RawEvent,
}

const _: () = assert!(size_of::<Event>() == 4);

impl Event {
    /// An event whose flag is not set.
    ///
    /// ```
    /// assert!(!threadbare::Event::new().is_set());
    /// ```
    #[must_use]
    pub const fn new() -> Event {
        Event {
            raw: RawEvent::new(),
        }
    }

    /// Whether the flag is set: one load.
    ///
    /// ```
    /// let event = threadbare::Event::new();
    /// event.set();
    /// assert!(event.is_set());
    /// ```
    #[inline]
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.raw.is_set()
    }

    /// Sets the flag and releases all who wait. Does nothing if it is set.
    ///
    /// Async-signal-safe: a signal handler may call it. Like any system call it may change
    /// `errno`. The memory may be freed as soon as a waiter has returned.
    ///
    /// ```
    /// let event = threadbare::Event::new();
    /// event.set();
    /// event.wait();
    /// ```
    #[inline]
    pub fn set(&self) {
        self.raw.set();
    }

    /// Clears the flag, so that later waits block. Does nothing if it is clear.
    ///
    /// ```
    /// let event = threadbare::Event::new();
    /// event.set();
    /// event.clear();
    /// assert!(!event.is_set());
    /// ```
    #[inline]
    pub fn clear(&self) {
        self.raw.clear();
    }

    /// Waits until the flag is set. Signals do not end the wait (SIG-4).
    ///
    /// ```
    /// let event = threadbare::Event::new();
    /// event.set();
    /// event.wait(); // returns at once
    /// ```
    #[inline]
    pub fn wait(&self) {
        if !self.is_set() {
            let set = self.block(Limit::NONE);
            debug_assert_eq!(set, Ok(()), "a wait without limit does not give up");
        }
    }

    /// Waits until the flag is set, for `timeout` at most; returns whether it was set (EVT-5).
    /// Zero asks for the flag.
    ///
    /// # Errors
    /// [`Error::TimeoutTooLarge`] if `timeout` exceeds [`TIMEOUT_MAX`](crate::TIMEOUT_MAX).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let event = threadbare::Event::new();
    /// assert_eq!(event.wait_timeout(Duration::from_millis(1)), Ok(false));
    /// event.set();
    /// assert_eq!(event.wait_timeout(Duration::from_secs(60)), Ok(true));
    /// ```
    #[inline]
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, Error> {
        blocking::within(timeout, || Ok(self.is_set()), |limit| self.block(limit))
    }

    /// Waits until the flag is set, until `deadline` at most; returns whether it was set.
    ///
    /// ```
    /// use threadbare::{Deadline, Event};
    ///
    /// assert!(!Event::new().wait_until(Deadline::now()));
    /// ```
    #[inline]
    pub fn wait_until(&self, deadline: Deadline) -> bool {
        self.is_set() || self.block(Limit::until(deadline.0)).is_ok()
    }

    /// Waits until the flag is set, until `deadline` at most; returns whether it was set. A signal handler that runs while
    /// the thread sleeps ends the wait, also one installed with `SA_RESTART`. One that runs just
    /// before it falls asleep is not noticed.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after a signal handler ran.
    ///
    /// ```
    /// use threadbare::{Deadline, Event};
    ///
    /// assert_eq!(Event::new().wait_interruptible(Deadline::now()), Ok(false));
    /// ```
    #[inline]
    pub fn wait_interruptible(&self, deadline: Deadline) -> Result<bool, Error> {
        blocking::interruptible(deadline, || Ok(self.is_set()), |limit| self.block(limit))
    }

    /// As [`wait_interruptible`](Event::wait_interruptible), but what ends the wait is `check`, by
    /// returning `true`: it is called before the thread sleeps, after each signal handler that ran,
    /// and every 50 ms, so no signal is missed (SIG-4).
    ///
    /// # Errors
    /// [`Error::Interrupted`] if `check` has returned `true`.
    ///
    /// ```
    /// use threadbare::{Deadline, Error, Event};
    ///
    /// let event = Event::new();
    /// assert_eq!(event.wait_checked(Deadline::NEVER, || true), Err(Error::Interrupted));
    /// ```
    pub fn wait_checked(
        &self,
        deadline: Deadline,
        check: impl FnMut() -> bool,
    ) -> Result<bool, Error> {
        blocking::checked(
            deadline,
            check,
            || Ok(self.is_set()),
            |limit| self.block(limit),
            || {},
        )
    }

    #[inline]
    fn block(&self, limit: Limit) -> Result<(), GaveUp> {
        let object = Object::new(ObjectKind::Event, self);
        observe::blocking(object, || self.raw.wait_contended(limit), |_| false)
    }

    /// Forgets who waits; the flag stays as it is (FORK-7). For the child of a fork, to save it one
    /// needless wake: an event works there without.
    ///
    /// # Safety
    /// No other thread uses the event during the call or is in the middle of using it, as is so in
    /// the child of a fork before it starts threads.
    ///
    /// ```
    /// let event = threadbare::Event::new();
    /// event.set();
    /// // SAFETY: the event belongs to this thread alone.
    /// unsafe { event.at_fork_reinit() };
    /// assert!(event.is_set());
    /// ```
    #[doc(alias = "_at_fork_reinit")]
    pub unsafe fn at_fork_reinit(&self) {
        // SAFETY: passed on to the caller.
        unsafe { self.raw.reinit() };
    }

    /// Whether a thread may be asleep here. For tests that wait for that.
    #[doc(hidden)]
    #[must_use]
    pub fn has_waiters(&self) -> bool {
        self.raw.has_waiters()
    }
}

impl Default for Event {
    fn default() -> Event {
        Event::new()
    }
}

/// As Python prints it (REPR-2).
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.is_set() { "set" } else { "unset" };
        write!(f, "<threadbare.Event at {self:p}: {state}>")
    }
}
