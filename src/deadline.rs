//! Absolute points in time, and the timeouts that they are made of.

use crate::error::Error;
use std::fmt;
use std::time::{Duration, Instant};
use threadbare_sys::clock;

/// The largest timeout that any call accepts: 9,223,372,036 s, or 292 years (TIME-4).
///
/// It is the whole seconds that fit the kernel's signed 64-bit nanosecond clock. The value itself
/// is legal.
///
/// ```
/// use std::time::Duration;
/// use threadbare::{Deadline, Error, TIMEOUT_MAX};
///
/// assert!(Deadline::after(TIMEOUT_MAX).is_ok());
/// let beyond = TIMEOUT_MAX + Duration::from_secs(1);
/// assert_eq!(Deadline::after(beyond), Err(Error::TimeoutTooLarge));
/// ```
pub const TIMEOUT_MAX: Duration = clock::TIMEOUT_MAX;

/// A point on `CLOCK_MONOTONIC` at which a wait gives up, or [never](Deadline::NEVER).
///
/// Made once, it can limit several calls together. Changes of the wall clock have no effect
/// (TIME-1), and the clock stands still while the machine is suspended (clock_gettime(2)).
///
/// ```
/// use std::time::Duration;
/// use threadbare::{Deadline, Event, Lock};
///
/// let (ready, lock) = (Event::new(), Lock::new());
/// ready.set();
/// // At most one second for both.
/// let deadline = Deadline::after(Duration::from_secs(1))?;
/// assert!(ready.wait_until(deadline) && lock.acquire_until(deadline));
/// # Ok::<(), threadbare::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline(pub(crate) clock::Deadline);

impl Deadline {
    /// The point that does not come.
    ///
    /// ```
    /// use threadbare::{Deadline, Lock};
    ///
    /// assert!(Lock::new().acquire_until(Deadline::NEVER));
    /// ```
    pub const NEVER: Deadline = Deadline(clock::Deadline::NEVER);

    /// This moment: a call with it makes one attempt.
    ///
    /// ```
    /// use threadbare::{Deadline, Event};
    ///
    /// assert!(!Event::new().wait_until(Deadline::now()));
    /// ```
    #[must_use]
    pub fn now() -> Deadline {
        Deadline(clock::Deadline::now())
    }

    /// The point `timeout` from now. A point that the clock does not reach is `NEVER` (TIME-5).
    ///
    /// # Errors
    /// [`Error::TimeoutTooLarge`] if `timeout` exceeds [`TIMEOUT_MAX`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use threadbare::{Deadline, Lock};
    ///
    /// let deadline = Deadline::after(Duration::from_millis(1))?;
    /// let lock = Lock::new();
    /// lock.acquire();
    /// assert!(!lock.acquire_until(deadline));
    /// assert!(deadline.has_passed());
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn after(timeout: Duration) -> Result<Deadline, Error> {
        check(timeout)?;
        Ok(Deadline(clock::Deadline::after(timeout)))
    }

    /// The point `seconds` from now, for callers that have Python's numbers (TIME-6). Fractions of
    /// a nanosecond are rounded up, so what is positive stays positive (TIME-2).
    ///
    /// # Errors
    /// [`Error::InvalidTimeout`] if `seconds` is negative or not a number,
    /// [`Error::TimeoutTooLarge`] if it exceeds [`TIMEOUT_MAX`]. What a negative number means
    /// differs from call to call in Python; a binding decides that before it comes here.
    ///
    /// ```
    /// use threadbare::{Deadline, Error};
    ///
    /// let before = Deadline::now();
    /// assert!(Deadline::from_secs_f64(1e-12)? > before);
    /// assert_eq!(Deadline::from_secs_f64(f64::NAN), Err(Error::InvalidTimeout));
    /// assert_eq!(Deadline::from_secs_f64(-0.5), Err(Error::InvalidTimeout));
    /// assert_eq!(Deadline::from_secs_f64(f64::INFINITY), Err(Error::TimeoutTooLarge));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn from_secs_f64(seconds: f64) -> Result<Deadline, Error> {
        Deadline::after(duration_from_secs_f64(seconds)?)
    }

    /// This point moved by `by` into the future; `NEVER` if the clock does not reach it. For what
    /// happens again and again, without drift.
    ///
    /// ```
    /// use std::time::Duration;
    /// use threadbare::Deadline;
    ///
    /// let first = Deadline::now();
    /// let second = first.saturating_add(Duration::from_millis(10));
    /// assert!(second > first);
    /// assert_eq!(first.saturating_add(Duration::MAX), Deadline::NEVER);
    /// ```
    #[must_use]
    pub fn saturating_add(self, by: Duration) -> Deadline {
        Deadline(self.0.plus(by))
    }

    /// Whether the point lies behind us.
    ///
    /// ```
    /// use threadbare::Deadline;
    ///
    /// assert!(Deadline::now().has_passed());
    /// assert!(!Deadline::NEVER.has_passed());
    /// ```
    #[must_use]
    pub fn has_passed(self) -> bool {
        self.0.has_passed()
    }

    /// The time that is left, zero if the point has passed, `None` for `NEVER`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use threadbare::Deadline;
    ///
    /// let deadline = Deadline::after(Duration::from_secs(60))?;
    /// assert!(deadline.remaining() <= Some(Duration::from_secs(60)));
    /// assert_eq!(Deadline::NEVER.remaining(), None);
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    #[must_use]
    pub fn remaining(self) -> Option<Duration> {
        self.0.remaining()
    }
}

/// [`Deadline::after`], for what takes whatever can become a deadline.
///
/// ```
/// use std::time::Duration;
/// use threadbare::{Deadline, Error, Event};
///
/// fn wait(event: &Event, patience: impl TryInto<Deadline, Error = Error>) -> Result<bool, Error> {
///     Ok(event.wait_until(patience.try_into()?))
/// }
/// assert_eq!(wait(&Event::new(), Duration::from_millis(1)), Ok(false));
/// assert_eq!(wait(&Event::new(), Duration::MAX), Err(Error::TimeoutTooLarge));
/// ```
impl TryFrom<Duration> for Deadline {
    type Error = Error;

    fn try_from(timeout: Duration) -> Result<Deadline, Error> {
        Deadline::after(timeout)
    }
}

/// The same point; one that has passed already becomes this moment.
///
/// ```
/// use std::time::{Duration, Instant};
/// use threadbare::Deadline;
///
/// let deadline = Deadline::from(Instant::now() + Duration::from_secs(60));
/// assert!(deadline.remaining() > Some(Duration::from_secs(50)));
/// ```
impl From<Instant> for Deadline {
    fn from(instant: Instant) -> Deadline {
        let left = instant.saturating_duration_since(Instant::now());
        Deadline(clock::Deadline::after(left))
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Refuses a timeout beyond [`TIMEOUT_MAX`]. Reads no clock.
pub(crate) fn check(timeout: Duration) -> Result<(), Error> {
    if timeout > TIMEOUT_MAX {
        Err(Error::TimeoutTooLarge)
    } else {
        Ok(())
    }
}

/// `seconds` as a duration, rounded up to the nanosecond.
pub(crate) fn duration_from_secs_f64(seconds: f64) -> Result<Duration, Error> {
    const NANOS_PER_SEC: f64 = 1e9;
    if seconds.is_nan() || seconds < 0.0 {
        return Err(Error::InvalidTimeout);
    }
    // Python's limit is exact: one second more errs.
    if seconds > TIMEOUT_MAX.as_secs_f64() {
        return Err(Error::TimeoutTooLarge);
    }
    let nanos = (seconds.fract() * NANOS_PER_SEC).ceil();
    // Both casts are of whole numbers within range: nanos is at most 10^9.
    Ok(Duration::from_secs(seconds.trunc() as u64) + Duration::from_nanos(nanos as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_2_positive_seconds_are_rounded_up_to_nanoseconds() {
        for (seconds, nanos) in [
            (0.0, 0),
            (-0.0, 0),
            (1e-12, 1),
            (f64::MIN_POSITIVE, 1),
            (0.5, 500_000_000),
            (1.000_000_000_5, 1_000_000_001),
            (0.999_999_999_99, 1_000_000_000),
        ] {
            assert_eq!(
                duration_from_secs_f64(seconds),
                Ok(Duration::from_nanos(nanos)),
                "{seconds}"
            );
        }
    }

    #[test]
    fn time_4_and_7_the_limits_of_seconds() {
        assert_eq!(duration_from_secs_f64(9_223_372_036.0), Ok(TIMEOUT_MAX));
        for seconds in [9_223_372_037.0, 1e100, f64::INFINITY] {
            assert_eq!(duration_from_secs_f64(seconds), Err(Error::TimeoutTooLarge));
        }
        for seconds in [-1.0, -1e-300, f64::NEG_INFINITY, f64::NAN] {
            assert_eq!(duration_from_secs_f64(seconds), Err(Error::InvalidTimeout));
        }
    }
}
