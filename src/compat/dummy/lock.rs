//! Locks that count, and do not exclude: there is nobody to exclude.

use super::refuse;
use crate::condition::{CondLock, forwarded};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::guard::{Guard, sealed};
use crate::raw::rlock::MAX_DEPTH;
use std::cell::Cell;
use std::time::Duration;

/// As [`crate::Lock`], but an acquire of a locked one succeeds too, unless it is a
/// [`try_acquire`](Lock::try_acquire) (DTH-3).
///
/// What is acquired twice is locked once: of the two releases that follow, the second errs, and so
/// does a guard that a started thread took while the caller held one.
///
/// ```
/// use threadbare::compat::dummy::{Error, Lock};
/// let lock = Lock::new();
/// lock.acquire();
/// lock.acquire();
/// assert!(!lock.try_acquire());
/// lock.release().unwrap();
/// assert_eq!(lock.release(), Err(Error::ReleaseUnlocked));
/// ```
#[derive(Debug, Default)]
pub struct Lock {
    locked: Cell<bool>,
}

impl Lock {
    /// An unlocked lock.
    ///
    /// ```
    /// assert!(!threadbare::compat::dummy::Lock::new().locked());
    /// ```
    #[must_use]
    pub const fn new() -> Lock {
        Lock {
            locked: Cell::new(false),
        }
    }

    /// Locks it, whether it was locked or not.
    ///
    /// ```
    /// let lock = threadbare::compat::dummy::Lock::new();
    /// lock.acquire();
    /// assert!(lock.locked());
    /// ```
    pub fn acquire(&self) {
        self.locked.set(true);
    }

    /// As [`crate::Lock::try_acquire`].
    ///
    /// ```
    /// let lock = threadbare::compat::dummy::Lock::new();
    /// assert!(lock.try_acquire() && !lock.try_acquire());
    /// ```
    #[must_use = "the lock may not have been taken"]
    pub fn try_acquire(&self) -> bool {
        !self.locked.replace(true)
    }

    fn patiently(&self, _deadline: Deadline) -> Result<bool, Error> {
        self.acquire();
        Ok(true)
    }

    /// As [`crate::Lock::release`].
    /// Errors: [`Error::ReleaseUnlocked`].
    ///
    /// ```
    /// use threadbare::compat::dummy::{Error, Lock};
    /// assert_eq!(Lock::new().release(), Err(Error::ReleaseUnlocked));
    /// ```
    pub fn release(&self) -> Result<(), Error> {
        if self.locked.replace(false) {
            Ok(())
        } else {
            Err(Error::ReleaseUnlocked)
        }
    }

    /// As [`crate::Lock::at_fork_reinit`].
    ///
    /// # Safety
    /// None beyond that of the real one: nobody else can use this.
    ///
    /// ```
    /// let lock = threadbare::compat::dummy::Lock::new();
    /// lock.acquire();
    /// // SAFETY: nobody else uses the lock.
    /// unsafe { lock.at_fork_reinit() };
    /// assert!(!lock.locked());
    /// ```
    pub unsafe fn at_fork_reinit(&self) {
        self.locked.set(false);
    }

    /// As [`crate::Lock::locked`].
    ///
    /// ```
    /// assert!(!threadbare::compat::dummy::Lock::new().locked());
    /// ```
    #[must_use]
    pub fn locked(&self) -> bool {
        self.locked.get()
    }

    /// As [`crate::Lock::guard`].
    ///
    /// ```
    /// let lock = threadbare::compat::dummy::Lock::new();
    /// drop(lock.guard());
    /// assert!(!lock.locked());
    /// ```
    pub fn guard(&self) -> Guard<'_, Lock> {
        Guard::acquire(self)
    }
}

/// As [`crate::RLock`], but it counts without owners (DTH-3): whoever runs holds it if anybody
/// does.
///
/// ```
/// let lock = threadbare::compat::dummy::RLock::new();
/// lock.acquire();
/// lock.acquire();
/// assert_eq!(lock.recursion_count(), 2);
/// ```
#[derive(Debug, Default)]
pub struct RLock {
    depth: Cell<u32>,
}

impl RLock {
    /// A free lock.
    ///
    /// ```
    /// assert!(!threadbare::compat::dummy::RLock::new().locked());
    /// ```
    #[must_use]
    pub const fn new() -> RLock {
        RLock {
            depth: Cell::new(0),
        }
    }

    fn patiently(&self, _deadline: Deadline) -> Result<bool, Error> {
        if self.depth.get() == MAX_DEPTH {
            return Err(Error::TooDeep);
        }
        self.depth.set(self.depth.get() + 1);
        Ok(true)
    }

    /// As [`crate::RLock::acquire`], at once.
    /// Panics if it is held 2³¹ - 1 times already.
    ///
    /// ```
    /// let lock = threadbare::compat::dummy::RLock::new();
    /// lock.acquire();
    /// assert!(lock.is_owned());
    /// ```
    pub fn acquire(&self) {
        if let Err(error) = self.patiently(Deadline::NEVER) {
            refuse(error);
        }
    }

    /// As [`acquire`](RLock::acquire): true.
    ///
    /// ```
    /// let lock = threadbare::compat::dummy::RLock::new();
    /// assert!(lock.try_acquire() && lock.try_acquire());
    /// ```
    #[must_use = "to be written as with the real lock"]
    pub fn try_acquire(&self) -> bool {
        self.acquire();
        true
    }

    /// As [`crate::RLock::release`], whoever acquired it.
    /// Errors: [`Error::NotOwner`] if it is free.
    ///
    /// ```
    /// use threadbare::compat::dummy::{Error, RLock};
    /// assert_eq!(RLock::new().release(), Err(Error::NotOwner));
    /// ```
    pub fn release(&self) -> Result<(), Error> {
        let less = self.depth.get().checked_sub(1).ok_or(Error::NotOwner)?;
        self.depth.set(less);
        Ok(())
    }

    /// As [`crate::RLock::at_fork_reinit`].
    ///
    /// # Safety
    /// None beyond that of the real one: nobody else can use this.
    ///
    /// ```
    /// let lock = threadbare::compat::dummy::RLock::new();
    /// lock.acquire();
    /// // SAFETY: nobody else uses the lock.
    /// unsafe { lock.at_fork_reinit() };
    /// assert!(!lock.locked());
    /// ```
    pub unsafe fn at_fork_reinit(&self) {
        self.depth.set(0);
    }

    /// As [`crate::RLock::locked`].
    ///
    /// ```
    /// assert!(!threadbare::compat::dummy::RLock::new().locked());
    /// ```
    #[must_use]
    pub fn locked(&self) -> bool {
        self.depth.get() > 0
    }

    /// The same as [`locked`](RLock::locked).
    ///
    /// ```
    /// assert!(!threadbare::compat::dummy::RLock::new().is_owned());
    /// ```
    #[must_use]
    pub fn is_owned(&self) -> bool {
        self.locked()
    }

    /// How often it is held, by whomever.
    ///
    /// ```
    /// assert_eq!(threadbare::compat::dummy::RLock::new().recursion_count(), 0);
    /// ```
    #[must_use]
    pub fn recursion_count(&self) -> u32 {
        self.depth.get()
    }

    /// As [`crate::RLock::guard`].
    ///
    /// ```
    /// let lock = threadbare::compat::dummy::RLock::new();
    /// let _outer = lock.guard();
    /// drop(lock.guard());
    /// assert!(lock.is_owned());
    /// ```
    pub fn guard(&self) -> Guard<'_, RLock> {
        Guard::acquire(self)
    }
}

macro_rules! held_and_waited_with {
    ($lock:ty) => {
        impl sealed::Guarded for $lock {
            type Sendness = *const ();

            fn take(&self) {
                self.acquire();
            }

            fn give(&self) -> Result<(), Error> {
                self.release()
            }
        }

        // SAFETY: leaves `owner_proof` out.
        unsafe impl CondLock for $lock {
            forwarded!(self => self);
        }
    };
}

held_and_waited_with!(Lock);
held_and_waited_with!(RLock);
timed_acquires!(impl[] Lock, "Lock::new()");
timed_acquires!(impl[] RLock, "RLock::new()");
