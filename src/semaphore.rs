//! Counters of permits: without a bound, and with one.

use crate::blocking;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::guard::{Guard, sealed};
use crate::observe::{self, Object, ObjectKind};
use crate::raw::park::{GaveUp, Limit};
use crate::raw::semaphore::{MAX_PERMITS, RawSemaphore};
use std::fmt;
use std::time::Duration;

/// A counter of permits: acquiring takes one, or waits until there is one; releasing gives one.
///
/// A release may come from any thread, and may lift the counter above its first value; see
/// [`BoundedSemaphore`] where that would be a mistake.
///
/// # What is promised
/// Permits are neither lost nor made, whatever times out or is interrupted, and no thread sleeps
/// while there is a permit that it could take (SEM-8).
///
/// # Memory ordering
/// What happened before a release is visible after an acquire that takes a permit later (MEM-1).
///
/// # Fairness
/// A release wakes those who have slept longest, but a thread that comes at that moment may take
/// the permit first (SEM-7). One that wants several at once may starve beside others that want
/// fewer.
///
/// # Cost
/// 8 bytes. Acquire and release are one compare-and-swap each, without system call unless somebody
/// waits. The memory may be freed as soon as a release has let the last user proceed.
///
/// ```
/// use threadbare::Semaphore;
///
/// static FREE_SLOTS: Semaphore = Semaphore::new(2);
///
/// FREE_SLOTS.acquire();
/// {
///     let _permit = FREE_SLOTS.permit();
///     assert!(!FREE_SLOTS.try_acquire());
/// }
/// assert_eq!(FREE_SLOTS.value(), 1);
/// ```
pub struct Semaphore {
    raw: RawSemaphore,
}

const _: () = assert!(size_of::<Semaphore>() == 8);

impl Semaphore {
    /// The most permits that a semaphore can hold: 2³¹ - 1.
    ///
    /// ```
    /// use threadbare::{Error, Semaphore};
    ///
    /// let full = Semaphore::new(Semaphore::MAX_PERMITS);
    /// assert_eq!(full.release(), Err(Error::TooManyPermits));
    /// ```
    pub const MAX_PERMITS: u32 = MAX_PERMITS;

    /// A semaphore with `permits` permits.
    ///
    /// # Panics
    /// If `permits` exceeds [`MAX_PERMITS`](Semaphore::MAX_PERMITS); in a `static` that is an
    /// error at compile time.
    ///
    /// ```
    /// assert_eq!(threadbare::Semaphore::new(0).value(), 0);
    /// ```
    #[must_use]
    #[track_caller]
    pub const fn new(permits: u32) -> Semaphore {
        assert!(
            permits <= MAX_PERMITS,
            "more permits than a semaphore can hold"
        );
        Semaphore {
            raw: RawSemaphore::new(permits),
        }
    }

    /// A semaphore with `permits` permits, for numbers that are not the program's own.
    ///
    /// # Errors
    /// [`Error::TooManyPermits`] if `permits` exceeds [`MAX_PERMITS`](Semaphore::MAX_PERMITS).
    ///
    /// ```
    /// use threadbare::{Error, Semaphore};
    ///
    /// assert_eq!(Semaphore::try_new(u32::MAX).unwrap_err(), Error::TooManyPermits);
    /// ```
    pub const fn try_new(permits: u32) -> Result<Semaphore, Error> {
        if permits > MAX_PERMITS {
            return Err(Error::TooManyPermits);
        }
        Ok(Semaphore {
            raw: RawSemaphore::new(permits),
        })
    }

    /// Takes a permit, waiting for it as long as it takes. Signals do not end the wait (SIG-4).
    ///
    /// ```
    /// let semaphore = threadbare::Semaphore::new(1);
    /// semaphore.acquire();
    /// assert_eq!(semaphore.value(), 0);
    /// ```
    #[doc(alias("wait", "down", "P"))]
    #[inline]
    pub fn acquire(&self) {
        if !self.try_acquire() {
            let taken = self.block(1, Limit::NONE);
            debug_assert_eq!(taken, Ok(()), "a wait without limit does not give up");
        }
    }

    /// Takes a permit if there is one; whether it did. Never waits (SEM-3).
    ///
    /// ```
    /// let semaphore = threadbare::Semaphore::new(1);
    /// assert!(semaphore.try_acquire() && !semaphore.try_acquire());
    /// ```
    #[inline]
    #[must_use = "there may have been no permit"]
    pub fn try_acquire(&self) -> bool {
        self.raw.try_acquire(1)
    }

    /// Takes a permit within `timeout`; whether it did. Zero makes one attempt (SEM-4).
    ///
    /// # Errors
    /// [`Error::TimeoutTooLarge`] if `timeout` exceeds [`TIMEOUT_MAX`](crate::TIMEOUT_MAX).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let semaphore = threadbare::Semaphore::new(0);
    /// assert_eq!(semaphore.acquire_timeout(Duration::from_millis(1)), Ok(false));
    /// ```
    #[inline]
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<bool, Error> {
        self.acquire_n_timeout(1, timeout)
    }

    /// Takes a permit before `deadline`; whether it did. One attempt is made in any case.
    ///
    /// ```
    /// use threadbare::{Deadline, Semaphore};
    ///
    /// assert!(Semaphore::new(1).acquire_until(Deadline::now()));
    /// ```
    #[inline]
    #[must_use = "there may have been no permit"]
    pub fn acquire_until(&self, deadline: Deadline) -> bool {
        self.try_acquire() || self.block(1, Limit::until(deadline.0)).is_ok()
    }

    /// Takes a permit before `deadline`; whether it did. A signal handler that runs while
    /// the thread sleeps ends the wait, also one installed with `SA_RESTART`. One that runs just
    /// before it falls asleep is not noticed.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after a signal handler ran: no permit was taken.
    ///
    /// ```
    /// use threadbare::{Deadline, Semaphore};
    ///
    /// assert_eq!(Semaphore::new(1).acquire_interruptible(Deadline::NEVER), Ok(true));
    /// ```
    #[inline]
    pub fn acquire_interruptible(&self, deadline: Deadline) -> Result<bool, Error> {
        self.acquire_n_interruptible(1, deadline)
    }

    /// As [`acquire_interruptible`](Semaphore::acquire_interruptible), but what ends the wait is `check`,
    /// by returning `true`: it is called before the thread sleeps, after each signal handler that
    /// ran, and every 50 ms, so no signal is missed (SIG-4). If it panics, a permit is not taken.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if `check` has returned `true`.
    ///
    /// ```
    /// use threadbare::{Deadline, Error, Semaphore};
    ///
    /// let semaphore = Semaphore::new(0);
    /// assert_eq!(semaphore.acquire_checked(Deadline::now(), || false), Ok(false));
    /// assert_eq!(semaphore.acquire_checked(Deadline::NEVER, || true), Err(Error::Interrupted));
    /// ```
    pub fn acquire_checked(
        &self,
        deadline: Deadline,
        check: impl FnMut() -> bool,
    ) -> Result<bool, Error> {
        blocking::checked(
            deadline,
            check,
            || Ok(self.try_acquire()),
            |limit| self.block(1, limit),
            || {
                let _ = self.release(); // it was taken just now
            },
        )
    }

    /// Takes `n` permits at once, all or none, waiting for them as long as it takes.
    ///
    /// # Errors
    /// [`Error::ZeroPermits`] if `n` is 0, [`Error::TooManyPermits`] if it exceeds
    /// [`MAX_PERMITS`](Semaphore::MAX_PERMITS), so that the wait would not end.
    ///
    /// ```
    /// let semaphore = threadbare::Semaphore::new(3);
    /// semaphore.acquire_n(2)?;
    /// assert_eq!(semaphore.value(), 1);
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    #[inline]
    pub fn acquire_n(&self, n: u32) -> Result<(), Error> {
        if !self.try_acquire_n(n)? {
            let taken = self.block(n, Limit::NONE);
            debug_assert_eq!(taken, Ok(()), "a wait without limit does not give up");
        }
        Ok(())
    }

    /// Takes `n` permits if there are as many; whether it did.
    ///
    /// # Errors
    /// As [`acquire_n`](Semaphore::acquire_n).
    ///
    /// ```
    /// assert_eq!(threadbare::Semaphore::new(1).try_acquire_n(2), Ok(false));
    /// ```
    #[inline]
    pub fn try_acquire_n(&self, n: u32) -> Result<bool, Error> {
        match n {
            0 => Err(Error::ZeroPermits),
            1..=MAX_PERMITS => Ok(self.raw.try_acquire(n)),
            _ => Err(Error::TooManyPermits),
        }
    }

    /// Takes `n` permits at once within `timeout`; whether it did.
    ///
    /// # Errors
    /// As [`acquire_n`](Semaphore::acquire_n), and [`Error::TimeoutTooLarge`] if `timeout` exceeds
    /// [`TIMEOUT_MAX`](crate::TIMEOUT_MAX).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let semaphore = threadbare::Semaphore::new(2);
    /// assert_eq!(semaphore.acquire_n_timeout(2, Duration::ZERO), Ok(true));
    /// ```
    #[inline]
    pub fn acquire_n_timeout(&self, n: u32, timeout: Duration) -> Result<bool, Error> {
        blocking::within(
            timeout,
            || self.try_acquire_n(n),
            |limit| self.block(n, limit),
        )
    }

    /// Takes `n` permits at once before `deadline`; whether it did.
    ///
    /// # Errors
    /// As [`acquire_n`](Semaphore::acquire_n).
    ///
    /// ```
    /// use threadbare::{Deadline, Semaphore};
    ///
    /// assert_eq!(Semaphore::new(2).acquire_n_until(3, Deadline::now()), Ok(false));
    /// ```
    #[inline]
    pub fn acquire_n_until(&self, n: u32, deadline: Deadline) -> Result<bool, Error> {
        Ok(self.try_acquire_n(n)? || self.block(n, Limit::until(deadline.0)).is_ok())
    }

    /// Takes `n` permits at once before `deadline` and the next signal; whether it did.
    ///
    /// # Errors
    /// As [`acquire_n`](Semaphore::acquire_n), and [`Error::Interrupted`] after a signal handler
    /// ran: no permit was taken.
    ///
    /// ```
    /// use threadbare::{Deadline, Semaphore};
    ///
    /// assert_eq!(Semaphore::new(2).acquire_n_interruptible(2, Deadline::NEVER), Ok(true));
    /// ```
    #[inline]
    pub fn acquire_n_interruptible(&self, n: u32, deadline: Deadline) -> Result<bool, Error> {
        blocking::interruptible(
            deadline,
            || self.try_acquire_n(n),
            |limit| self.block(n, limit),
        )
    }

    #[inline]
    fn block(&self, n: u32, limit: Limit) -> Result<(), GaveUp> {
        let object = Object::new(ObjectKind::Semaphore, self);
        observe::blocking(
            object,
            || self.raw.acquire_contended(n, limit),
            Result::is_ok,
        )
    }

    /// Gives a permit, and lets a waiter proceed. Any thread may.
    ///
    /// Async-signal-safe: a signal handler may call it. Like any system call it may change
    /// `errno`.
    ///
    /// # Errors
    /// [`Error::TooManyPermits`] if there are [`MAX_PERMITS`](Semaphore::MAX_PERMITS) already.
    ///
    /// ```
    /// let semaphore = threadbare::Semaphore::new(0);
    /// semaphore.release()?;
    /// assert_eq!(semaphore.value(), 1);
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    #[doc(alias("post", "up", "V"))]
    #[inline]
    pub fn release(&self) -> Result<(), Error> {
        self.release_n(1)
    }

    /// Gives `n` permits, all or none, and lets up to `n` waiters proceed (SEM-5).
    ///
    /// # Errors
    /// [`Error::ZeroPermits`] if `n` is 0, [`Error::TooManyPermits`] if there would be more than
    /// [`MAX_PERMITS`](Semaphore::MAX_PERMITS).
    ///
    /// ```
    /// use threadbare::{Error, Semaphore};
    ///
    /// let semaphore = Semaphore::new(0);
    /// semaphore.release_n(3)?;
    /// assert_eq!(semaphore.value(), 3);
    /// assert_eq!(semaphore.release_n(0), Err(Error::ZeroPermits));
    /// # Ok::<(), Error>(())
    /// ```
    #[inline]
    pub fn release_n(&self, n: u32) -> Result<(), Error> {
        self.release_within(n, MAX_PERMITS, Error::TooManyPermits)
    }

    /// Gives `n` permits unless there would be more than `bound`, which errs with `above`.
    #[inline]
    fn release_within(&self, n: u32, bound: u32, above: Error) -> Result<(), Error> {
        if n == 0 {
            return Err(Error::ZeroPermits);
        }
        self.raw.release(n, bound).map_err(|_| above)
    }

    /// How many permits there are now. Gives no ordering for other memory.
    ///
    /// ```
    /// assert_eq!(threadbare::Semaphore::default().value(), 1);
    /// ```
    #[inline]
    #[must_use]
    pub fn value(&self) -> u32 {
        self.raw.value()
    }

    /// Takes a permit and returns a guard that gives it back. The guard may be sent to another
    /// thread.
    ///
    /// ```
    /// let semaphore = threadbare::Semaphore::new(1);
    /// let permit = semaphore.permit();
    /// assert_eq!(semaphore.value(), 0);
    /// drop(permit);
    /// assert_eq!(semaphore.value(), 1);
    /// ```
    #[inline]
    pub fn permit(&self) -> Guard<'_, Semaphore> {
        Guard::acquire(self)
    }

    /// How many threads wait, or are about to. For tests that wait for that.
    #[doc(hidden)]
    #[must_use]
    pub fn waiters(&self) -> u32 {
        self.raw.waiters()
    }
}

impl sealed::Guarded for Semaphore {
    type Sendness = ();

    fn take(&self) {
        self.acquire();
    }

    fn give(&self) -> Result<(), Error> {
        self.release()
    }
}

/// One permit (SEM-1).
impl Default for Semaphore {
    fn default() -> Semaphore {
        Semaphore::new(1)
    }
}

/// As Python prints it (REPR-2).
impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<threadbare.Semaphore at {self:p}: value={}>",
            self.value()
        )
    }
}

/// A [`Semaphore`] that never holds more permits than it began with: what guards a resource of
/// fixed size, where a release too many is a mistake.
///
/// Promises, ordering, fairness and cost are the `Semaphore`'s; it takes 16 bytes.
///
/// ```
/// use threadbare::{BoundedSemaphore, Error};
///
/// static CONNECTIONS: BoundedSemaphore = BoundedSemaphore::new(5);
///
/// drop(CONNECTIONS.permit());
/// assert_eq!(CONNECTIONS.release(), Err(Error::AboveBound));
/// assert_eq!(CONNECTIONS.value(), 5);
/// ```
pub struct BoundedSemaphore {
    semaphore: Semaphore,
    bound: u32,
}

const _: () = assert!(size_of::<BoundedSemaphore>() == 16);

impl BoundedSemaphore {
    /// A semaphore with `permits` permits, which is also its bound. Zero is legal (BSEM-3).
    ///
    /// # Panics
    /// If `permits` exceeds [`MAX_PERMITS`](Semaphore::MAX_PERMITS); in a `static` that is an
    /// error at compile time.
    ///
    /// ```
    /// assert_eq!(threadbare::BoundedSemaphore::new(3).bound(), 3);
    /// ```
    #[must_use]
    #[track_caller]
    pub const fn new(permits: u32) -> BoundedSemaphore {
        BoundedSemaphore {
            semaphore: Semaphore::new(permits),
            bound: permits,
        }
    }

    /// A semaphore with `permits` permits, for numbers that are not the program's own.
    ///
    /// # Errors
    /// [`Error::TooManyPermits`] if `permits` exceeds [`MAX_PERMITS`](Semaphore::MAX_PERMITS).
    ///
    /// ```
    /// assert!(threadbare::BoundedSemaphore::try_new(u32::MAX).is_err());
    /// ```
    pub const fn try_new(permits: u32) -> Result<BoundedSemaphore, Error> {
        match Semaphore::try_new(permits) {
            Ok(semaphore) => Ok(BoundedSemaphore {
                semaphore,
                bound: permits,
            }),
            Err(error) => Err(error),
        }
    }

    /// See [`Semaphore::acquire`].
    ///
    /// ```
    /// threadbare::BoundedSemaphore::new(1).acquire();
    /// ```
    #[inline]
    pub fn acquire(&self) {
        self.semaphore.acquire();
    }

    /// See [`Semaphore::try_acquire`].
    ///
    /// ```
    /// assert!(!threadbare::BoundedSemaphore::new(0).try_acquire());
    /// ```
    #[inline]
    #[must_use = "there may have been no permit"]
    pub fn try_acquire(&self) -> bool {
        self.semaphore.try_acquire()
    }

    /// See [`Semaphore::acquire_timeout`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let semaphore = threadbare::BoundedSemaphore::new(1);
    /// assert_eq!(semaphore.acquire_timeout(Duration::ZERO), Ok(true));
    /// ```
    #[inline]
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<bool, Error> {
        self.semaphore.acquire_timeout(timeout)
    }

    /// See [`Semaphore::acquire_until`].
    ///
    /// ```
    /// use threadbare::{BoundedSemaphore, Deadline};
    ///
    /// assert!(BoundedSemaphore::new(1).acquire_until(Deadline::now()));
    /// ```
    #[inline]
    #[must_use = "there may have been no permit"]
    pub fn acquire_until(&self, deadline: Deadline) -> bool {
        self.semaphore.acquire_until(deadline)
    }

    /// See [`Semaphore::acquire_interruptible`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```
    /// use threadbare::{BoundedSemaphore, Deadline};
    ///
    /// assert_eq!(BoundedSemaphore::new(1).acquire_interruptible(Deadline::NEVER), Ok(true));
    /// ```
    #[inline]
    pub fn acquire_interruptible(&self, deadline: Deadline) -> Result<bool, Error> {
        self.semaphore.acquire_interruptible(deadline)
    }

    /// See [`Semaphore::acquire_checked`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```
    /// use threadbare::{BoundedSemaphore, Deadline};
    ///
    /// assert_eq!(BoundedSemaphore::new(1).acquire_checked(Deadline::NEVER, || true), Ok(true));
    /// ```
    pub fn acquire_checked(
        &self,
        deadline: Deadline,
        check: impl FnMut() -> bool,
    ) -> Result<bool, Error> {
        self.semaphore.acquire_checked(deadline, check)
    }

    /// See [`Semaphore::acquire_n`].
    ///
    /// # Errors
    /// As there, and [`Error::AboveBound`] if `n` exceeds the bound, so that the wait would not
    /// end.
    ///
    /// ```
    /// use threadbare::{BoundedSemaphore, Error};
    ///
    /// assert_eq!(BoundedSemaphore::new(2).acquire_n(2), Ok(()));
    /// assert_eq!(BoundedSemaphore::new(2).acquire_n(3), Err(Error::AboveBound));
    /// ```
    #[inline]
    pub fn acquire_n(&self, n: u32) -> Result<(), Error> {
        self.check_bound(n)?;
        self.semaphore.acquire_n(n)
    }

    /// See [`Semaphore::try_acquire_n`].
    ///
    /// # Errors
    /// As [`acquire_n`](BoundedSemaphore::acquire_n).
    ///
    /// ```
    /// assert_eq!(threadbare::BoundedSemaphore::new(2).try_acquire_n(2), Ok(true));
    /// ```
    #[inline]
    pub fn try_acquire_n(&self, n: u32) -> Result<bool, Error> {
        self.check_bound(n)?;
        self.semaphore.try_acquire_n(n)
    }

    /// See [`Semaphore::acquire_n_timeout`].
    ///
    /// # Errors
    /// As there and as [`acquire_n`](BoundedSemaphore::acquire_n).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let semaphore = threadbare::BoundedSemaphore::new(2);
    /// assert_eq!(semaphore.acquire_n_timeout(2, Duration::ZERO), Ok(true));
    /// ```
    #[inline]
    pub fn acquire_n_timeout(&self, n: u32, timeout: Duration) -> Result<bool, Error> {
        self.check_bound(n)?;
        self.semaphore.acquire_n_timeout(n, timeout)
    }

    /// See [`Semaphore::acquire_n_until`].
    ///
    /// # Errors
    /// As [`acquire_n`](BoundedSemaphore::acquire_n).
    ///
    /// ```
    /// use threadbare::{BoundedSemaphore, Deadline};
    ///
    /// assert_eq!(BoundedSemaphore::new(2).acquire_n_until(2, Deadline::now()), Ok(true));
    /// ```
    #[inline]
    pub fn acquire_n_until(&self, n: u32, deadline: Deadline) -> Result<bool, Error> {
        self.check_bound(n)?;
        self.semaphore.acquire_n_until(n, deadline)
    }

    /// See [`Semaphore::acquire_n_interruptible`].
    ///
    /// # Errors
    /// As there and as [`acquire_n`](BoundedSemaphore::acquire_n).
    ///
    /// ```
    /// use threadbare::{BoundedSemaphore, Deadline};
    ///
    /// assert_eq!(BoundedSemaphore::new(2).acquire_n_interruptible(2, Deadline::NEVER), Ok(true));
    /// ```
    #[inline]
    pub fn acquire_n_interruptible(&self, n: u32, deadline: Deadline) -> Result<bool, Error> {
        self.check_bound(n)?;
        self.semaphore.acquire_n_interruptible(n, deadline)
    }

    fn check_bound(&self, n: u32) -> Result<(), Error> {
        if n > self.bound {
            Err(Error::AboveBound)
        } else {
            Ok(())
        }
    }

    /// Gives a permit back, and lets a waiter proceed. Any thread may. Async-signal-safe.
    ///
    /// # Errors
    /// [`Error::AboveBound`] if all permits are there already (BSEM-1).
    ///
    /// ```
    /// use threadbare::{BoundedSemaphore, Error};
    ///
    /// let semaphore = BoundedSemaphore::new(1);
    /// assert_eq!(semaphore.release(), Err(Error::AboveBound));
    /// semaphore.acquire();
    /// assert_eq!(semaphore.release(), Ok(()));
    /// ```
    #[inline]
    pub fn release(&self) -> Result<(), Error> {
        self.release_n(1)
    }

    /// Gives `n` permits back, all or none, and lets up to `n` waiters proceed (BSEM-2).
    ///
    /// # Errors
    /// [`Error::ZeroPermits`] if `n` is 0, which is checked first; [`Error::AboveBound`] if there
    /// would be more permits than the bound.
    ///
    /// ```
    /// use threadbare::{BoundedSemaphore, Error};
    ///
    /// let semaphore = BoundedSemaphore::new(3);
    /// semaphore.acquire_n(2)?;
    /// assert_eq!(semaphore.release_n(3), Err(Error::AboveBound));
    /// assert_eq!(semaphore.value(), 1);
    /// # Ok::<(), Error>(())
    /// ```
    #[inline]
    pub fn release_n(&self, n: u32) -> Result<(), Error> {
        self.semaphore
            .release_within(n, self.bound, Error::AboveBound)
    }

    /// How many permits there are now.
    ///
    /// ```
    /// assert_eq!(threadbare::BoundedSemaphore::default().value(), 1);
    /// ```
    #[inline]
    #[must_use]
    pub fn value(&self) -> u32 {
        self.semaphore.value()
    }

    /// The most permits that it can hold: as many as it began with.
    ///
    /// ```
    /// let semaphore = threadbare::BoundedSemaphore::new(2);
    /// semaphore.acquire();
    /// assert_eq!(semaphore.bound(), 2);
    /// ```
    #[inline]
    #[must_use]
    pub fn bound(&self) -> u32 {
        self.bound
    }

    /// Takes a permit and returns a guard that gives it back. The guard may be sent to another
    /// thread.
    ///
    /// ```
    /// let semaphore = threadbare::BoundedSemaphore::new(1);
    /// let _permit = semaphore.permit();
    /// assert!(!semaphore.try_acquire());
    /// ```
    #[inline]
    pub fn permit(&self) -> Guard<'_, BoundedSemaphore> {
        Guard::acquire(self)
    }

    /// How many threads wait, or are about to. For tests that wait for that.
    #[doc(hidden)]
    #[must_use]
    pub fn waiters(&self) -> u32 {
        self.semaphore.waiters()
    }
}

impl sealed::Guarded for BoundedSemaphore {
    type Sendness = ();

    fn take(&self) {
        self.acquire();
    }

    fn give(&self) -> Result<(), Error> {
        self.release()
    }
}

/// One permit.
impl Default for BoundedSemaphore {
    fn default() -> BoundedSemaphore {
        BoundedSemaphore::new(1)
    }
}

/// As Python prints it (REPR-2).
impl fmt::Debug for BoundedSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, bound) = (self.value(), self.bound);
        write!(
            f,
            "<threadbare.BoundedSemaphore at {self:p}: value={value}/{bound}>"
        )
    }
}
