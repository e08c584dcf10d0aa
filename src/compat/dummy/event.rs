//! A flag for which nobody waits.

use super::check;
use crate::deadline::Deadline;
use crate::error::Error;
use std::cell::Cell;
use std::time::Duration;

/// As [`crate::Event`], but a wait that has time to wait returns as if the flag had been set
/// (DTH-4).
///
/// ```
/// use std::time::Duration;
/// use threadbare::compat::dummy::Event;
/// let event = Event::new();
/// assert_eq!(event.wait_timeout(Duration::from_secs(1)), Ok(true));
/// assert!(!event.is_set());
/// ```
#[derive(Debug, Default)]
pub struct Event {
    set: Cell<bool>,
}

impl Event {
    /// An event whose flag is not set.
    ///
    /// ```
    /// assert!(!threadbare::compat::dummy::Event::new().is_set());
    /// ```
    #[must_use]
    pub const fn new() -> Event {
        Event {
            set: Cell::new(false),
        }
    }

    /// As [`crate::Event::is_set`].
    ///
    /// ```
    /// assert!(!threadbare::compat::dummy::Event::new().is_set());
    /// ```
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.set.get()
    }

    /// As [`crate::Event::set`].
    ///
    /// ```
    /// let event = threadbare::compat::dummy::Event::new();
    /// event.set();
    /// assert!(event.is_set());
    /// ```
    pub fn set(&self) {
        self.set.set(true);
    }

    /// As [`crate::Event::clear`].
    ///
    /// ```
    /// let event = threadbare::compat::dummy::Event::new();
    /// event.set();
    /// event.clear();
    /// assert!(!event.is_set());
    /// ```
    pub fn clear(&self) {
        self.set.set(false);
    }

    /// Returns at once, whether the flag is set or not.
    ///
    /// ```
    /// threadbare::compat::dummy::Event::new().wait();
    /// ```
    pub fn wait(&self) {}

    /// True; with a timeout of zero the flag (EVT-6).
    /// Errors: [`Error::TimeoutTooLarge`] if `timeout` exceeds [`TIMEOUT_MAX`](super::TIMEOUT_MAX).
    ///
    /// ```
    /// use std::time::Duration;
    /// let event = threadbare::compat::dummy::Event::new();
    /// assert_eq!(event.wait_timeout(Duration::ZERO), Ok(false));
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, Error> {
        check(timeout)?;
        Ok(self.is_set() || !timeout.is_zero())
    }

    /// True; if `deadline` has passed, the flag.
    ///
    /// ```
    /// use threadbare::compat::dummy::{Deadline, Event};
    /// assert!(Event::new().wait_until(Deadline::NEVER));
    /// assert!(!Event::new().wait_until(Deadline::now()));
    /// ```
    pub fn wait_until(&self, deadline: Deadline) -> bool {
        self.is_set() || !deadline.has_passed()
    }

    /// As [`wait_until`](Event::wait_until).
    ///
    /// ```
    /// use threadbare::compat::dummy::{Deadline, Event};
    /// assert_eq!(Event::new().wait_interruptible(Deadline::NEVER), Ok(true));
    /// ```
    pub fn wait_interruptible(&self, deadline: Deadline) -> Result<bool, Error> {
        Ok(self.wait_until(deadline))
    }
}
