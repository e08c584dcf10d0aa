//! Counters of permits, for which nobody waits.

use super::{check, give_up, refuse};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::guard::{Guard, sealed};
use crate::semaphore::Semaphore as RealSemaphore;
use std::cell::Cell;
use std::time::Duration;

/// As [`crate::Semaphore`], but nobody gives permits while one waits for them: a timeout is over at
/// once, and a wait without limit errs or panics (DTH-4).
///
/// ```
/// use std::time::Duration;
/// use threadbare::compat::dummy::{Error, Semaphore};
/// let semaphore = Semaphore::new(1);
/// semaphore.acquire();
/// assert_eq!(semaphore.acquire_timeout(Duration::from_secs(1)), Ok(false));
/// assert_eq!(semaphore.acquire_n(1), Err(Error::WouldBlockForever));
/// ```
#[derive(Debug)]
pub struct Semaphore {
    permits: Cell<u32>,
}

/// As [`crate::BoundedSemaphore`], and as [`Semaphore`] here.
///
/// ```
/// use threadbare::compat::dummy::{BoundedSemaphore, Error};
/// let semaphore = BoundedSemaphore::new(1);
/// assert_eq!(semaphore.release(), Err(Error::AboveBound));
/// ```
#[derive(Debug)]
pub struct BoundedSemaphore {
    permits: Cell<u32>,
    bound: u32,
}

impl Semaphore {
    /// The most permits that a semaphore can hold.
    ///
    /// ```
    /// use threadbare::compat::dummy::Semaphore;
    /// assert_eq!(Semaphore::MAX_PERMITS, threadbare::Semaphore::MAX_PERMITS);
    /// ```
    pub const MAX_PERMITS: u32 = RealSemaphore::MAX_PERMITS;

    const ABOVE: Error = Error::TooManyPermits;

    const fn of(permits: u32) -> Semaphore {
        Semaphore {
            permits: Cell::new(permits),
        }
    }

    const fn most(&self) -> u32 {
        Semaphore::MAX_PERMITS
    }
}

impl BoundedSemaphore {
    const ABOVE: Error = Error::AboveBound;

    const fn of(permits: u32) -> BoundedSemaphore {
        BoundedSemaphore {
            permits: Cell::new(permits),
            bound: permits,
        }
    }

    const fn most(&self) -> u32 {
        self.bound
    }

    /// As [`crate::BoundedSemaphore::bound`].
    ///
    /// ```
    /// assert_eq!(threadbare::compat::dummy::BoundedSemaphore::new(2).bound(), 2);
    /// ```
    #[must_use]
    pub fn bound(&self) -> u32 {
        self.bound
    }
}

/// What the two have in common. An example begins with `semaphore` made with some permits.
macro_rules! semaphore {
    ($type:ident) => {
        impl $type {
            /// A semaphore with `permits` permits.
            /// Panics if `permits` exceeds [`MAX_PERMITS`](Semaphore::MAX_PERMITS).
            ///
            /// ```
            #[doc = semaphore!(example $type, 2)]
            /// assert_eq!(semaphore.value(), 2);
            /// ```
            #[must_use]
            #[track_caller]
            pub const fn new(permits: u32) -> $type {
                match $type::try_new(permits) {
                    Ok(semaphore) => semaphore,
                    Err(_) => panic!("more permits than a semaphore can hold"),
                }
            }

            /// As `new`, for numbers that are not the program's own.
            /// Errors: [`Error::TooManyPermits`].
            ///
            /// ```
            /// # use threadbare::compat::dummy::*;
            #[doc = concat!("assert!(", stringify!($type), "::try_new(u32::MAX).is_err());")]
            /// ```
            pub const fn try_new(permits: u32) -> Result<$type, Error> {
                if permits > Semaphore::MAX_PERMITS {
                    return Err(Error::TooManyPermits);
                }
                Ok($type::of(permits))
            }

            /// Takes a permit.
            /// Panics if there is none, since nobody would ever give one.
            ///
            /// ```
            #[doc = semaphore!(example $type, 1)]
            /// semaphore.acquire();
            /// assert_eq!(semaphore.value(), 0);
            /// ```
            #[track_caller]
            pub fn acquire(&self) {
                if let Err(error) = self.acquire_n(1) {
                    refuse(error);
                }
            }

            /// Takes a permit if there is one; whether it did.
            ///
            /// ```
            #[doc = semaphore!(example $type, 1)]
            /// assert!(semaphore.try_acquire() && !semaphore.try_acquire());
            /// ```
            #[must_use = "there may have been no permit"]
            pub fn try_acquire(&self) -> bool {
                self.take(1)
            }

            fn patiently(&self, deadline: Deadline) -> Result<bool, Error> {
                self.acquire_n_until(1, deadline)
            }

            /// Takes `n` permits.
            /// Errors: as `try_acquire_n`, and [`Error::WouldBlockForever`] if there are fewer.
            ///
            /// ```
            #[doc = semaphore!(example $type, 2)]
            /// assert_eq!(semaphore.acquire_n(2), Ok(()));
            /// ```
            pub fn acquire_n(&self, n: u32) -> Result<(), Error> {
                self.acquire_n_until(n, Deadline::NEVER).map(drop)
            }

            /// Takes `n` permits if there are as many; whether it did.
            /// Errors: [`Error::ZeroPermits`]; if `n` is more than it can ever hold, the error of a
            /// release that would give it as many.
            ///
            /// ```
            #[doc = semaphore!(example $type, 2)]
            /// assert_eq!(semaphore.try_acquire_n(2), Ok(true));
            /// ```
            pub fn try_acquire_n(&self, n: u32) -> Result<bool, Error> {
                if n == 0 {
                    Err(Error::ZeroPermits)
                } else if n > self.most() {
                    Err($type::ABOVE)
                } else {
                    Ok(self.take(n))
                }
            }

            /// As `try_acquire_n`, for any timeout.
            /// Errors: as there, and [`Error::TimeoutTooLarge`].
            ///
            /// ```
            #[doc = semaphore!(example $type, 2)]
            /// assert_eq!(semaphore.acquire_n_timeout(2, std::time::Duration::ZERO), Ok(true));
            /// ```
            pub fn acquire_n_timeout(&self, n: u32, timeout: Duration) -> Result<bool, Error> {
                check(timeout)?;
                self.try_acquire_n(n)
            }

            /// As `try_acquire_n`, for any deadline that comes some day.
            /// Errors: as there, and [`Error::WouldBlockForever`] if `deadline` is never.
            ///
            /// ```
            /// use threadbare::compat::dummy::Deadline;
            #[doc = semaphore!(example $type, 2)]
            /// assert_eq!(semaphore.acquire_n_until(2, Deadline::NEVER), Ok(true));
            /// ```
            pub fn acquire_n_until(&self, n: u32, deadline: Deadline) -> Result<bool, Error> {
                Ok(self.try_acquire_n(n)? || give_up(deadline)?)
            }

            /// As `acquire_n_until`.
            ///
            /// ```
            /// use threadbare::compat::dummy::Deadline;
            #[doc = semaphore!(example $type, 2)]
            /// assert_eq!(semaphore.acquire_n_interruptible(2, Deadline::NEVER), Ok(true));
            /// ```
            pub fn acquire_n_interruptible(
                &self,
                n: u32,
                deadline: Deadline,
            ) -> Result<bool, Error> {
                self.acquire_n_until(n, deadline)
            }

            /// Gives a permit.
            ///
            /// ```
            #[doc = semaphore!(example $type, 1)]
            /// semaphore.acquire();
            /// assert_eq!(semaphore.release(), Ok(()));
            /// ```
            pub fn release(&self) -> Result<(), Error> {
                self.release_n(1)
            }

            /// Gives `n` permits, all or none.
            /// Errors: [`Error::ZeroPermits`]; the type's own error if it would hold too many.
            ///
            /// ```
            /// use threadbare::compat::dummy::Error;
            #[doc = semaphore!(example $type, 1)]
            /// assert_eq!(semaphore.release_n(0), Err(Error::ZeroPermits));
            /// ```
            pub fn release_n(&self, n: u32) -> Result<(), Error> {
                if n == 0 {
                    return Err(Error::ZeroPermits);
                }
                match self.value().checked_add(n) {
                    Some(permits) if permits <= self.most() => {
                        self.permits.set(permits);
                        Ok(())
                    }
                    _ => Err($type::ABOVE),
                }
            }

            /// How many permits there are.
            ///
            /// ```
            #[doc = semaphore!(example $type, 3)]
            /// assert_eq!(semaphore.value(), 3);
            /// ```
            #[must_use]
            pub fn value(&self) -> u32 {
                self.permits.get()
            }

            /// Takes a permit and returns a guard that gives it back.
            ///
            /// ```
            #[doc = semaphore!(example $type, 1)]
            /// drop(semaphore.permit());
            /// assert_eq!(semaphore.value(), 1);
            /// ```
            pub fn permit(&self) -> Guard<'_, $type> {
                Guard::acquire(self)
            }

            fn take(&self, n: u32) -> bool {
                let left = self.value().checked_sub(n);
                if let Some(permits) = left {
                    self.permits.set(permits);
                }
                left.is_some()
            }
        }

        timed_acquires!(impl[] $type, concat!(stringify!($type), "::new(1)"));

        impl sealed::Guarded for $type {
            type Sendness = *const ();

            fn take(&self) {
                self.acquire();
            }

            fn give(&self) -> Result<(), Error> {
                self.release()
            }
        }

        /// One permit (SEM-1).
        impl Default for $type {
            fn default() -> $type {
                $type::new(1)
            }
        }
    };
    (example $type:ident, $permits:literal) => {
        concat!(
            "let semaphore = threadbare::compat::dummy::",
            stringify!($type),
            "::new(",
            $permits,
            ");"
        )
    };
}

semaphore!(Semaphore);
semaphore!(BoundedSemaphore);
