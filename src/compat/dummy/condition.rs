//! A condition for which nobody waits.

use super::lock::RLock;
use super::{check, give_up};
use crate::condition::{CondLock, Truthy};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::guard::{Guard, sealed};
use std::time::Duration;

/// As [`crate::Condition`], but a wait that has time to wait returns as if it had been notified
/// (DTH-4). As nobody ever waits, no notify wakes anybody.
///
/// ```
/// use threadbare::compat::dummy::{Condition, Error};
/// let changed = Condition::new();
/// assert_eq!(changed.wait(), Err(Error::NotHeld));
/// let _guard = changed.guard();
/// assert_eq!(changed.wait(), Ok(()));
/// assert_eq!(changed.notify_all(), Ok(0));
/// ```
#[derive(Debug, Default)]
pub struct Condition<L: CondLock = RLock> {
    lock: L,
}

impl Condition {
    /// A condition with an [`RLock`] of its own.
    ///
    /// ```
    /// assert!(!threadbare::compat::dummy::Condition::new().locked());
    /// ```
    #[must_use]
    pub const fn new() -> Condition {
        Condition::with_lock(RLock::new())
    }
}

impl<L: CondLock> Condition<L> {
    /// As [`crate::Condition::with_lock`].
    ///
    /// ```
    /// use threadbare::compat::dummy::{Condition, Lock};
    /// let lock = Lock::new();
    /// let (one, other) = (Condition::with_lock(&lock), Condition::with_lock(&lock));
    /// one.acquire();
    /// assert!(other.locked());
    /// ```
    #[must_use]
    pub const fn with_lock(lock: L) -> Condition<L> {
        Condition { lock }
    }

    /// Acquires the lock, as the lock does it.
    ///
    /// ```
    /// threadbare::compat::dummy::Condition::new().acquire();
    /// ```
    pub fn acquire(&self) {
        self.lock.acquire();
    }

    /// The lock's `try_acquire`.
    ///
    /// ```
    /// assert!(threadbare::compat::dummy::Condition::new().try_acquire());
    /// ```
    #[must_use = "the lock may not have been taken"]
    pub fn try_acquire(&self) -> bool {
        self.lock.try_acquire()
    }

    fn patiently(&self, deadline: Deadline) -> Result<bool, Error> {
        self.lock.acquire_interruptible(deadline)
    }

    /// The lock's `release`.
    ///
    /// ```
    /// use threadbare::compat::dummy::{Condition, Error};
    /// assert_eq!(Condition::new().release(), Err(Error::NotOwner));
    /// ```
    pub fn release(&self) -> Result<(), Error> {
        self.lock.release()
    }

    /// The lock's `locked`.
    ///
    /// ```
    /// assert!(!threadbare::compat::dummy::Condition::new().locked());
    /// ```
    #[must_use]
    pub fn locked(&self) -> bool {
        self.lock.locked()
    }

    /// As [`crate::Condition::guard`].
    ///
    /// ```
    /// let changed = threadbare::compat::dummy::Condition::new();
    /// let _guard = changed.guard();
    /// assert!(changed.locked());
    /// ```
    pub fn guard(&self) -> Guard<'_, Condition<L>> {
        Guard::acquire(self)
    }

    fn check_held(&self) -> Result<(), Error> {
        if self.lock.is_held() {
            Ok(())
        } else {
            Err(Error::NotHeld)
        }
    }

    /// Returns at once, as if notified. The lock is not given up meanwhile, as nobody is there to
    /// take it.
    /// Errors: [`Error::NotHeld`].
    ///
    /// ```
    /// let changed = threadbare::compat::dummy::Condition::new();
    /// let _guard = changed.guard();
    /// assert_eq!(changed.wait(), Ok(()));
    /// ```
    pub fn wait(&self) -> Result<(), Error> {
        self.check_held()
    }

    /// As [`wait`](Condition::wait): true; with a timeout of zero false (COND-9). Errors:
    /// [`Error::TimeoutTooLarge`] above [`TIMEOUT_MAX`](super::TIMEOUT_MAX), else as `wait`.
    ///
    /// ```
    /// use std::time::Duration;
    /// let changed = threadbare::compat::dummy::Condition::new();
    /// let _guard = changed.guard();
    /// assert_eq!(changed.wait_timeout(Duration::from_secs(1)), Ok(true));
    /// assert_eq!(changed.wait_timeout(Duration::ZERO), Ok(false));
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, Error> {
        check(timeout)?;
        self.check_held()?;
        Ok(!timeout.is_zero())
    }

    /// As [`wait`](Condition::wait): true; if `deadline` has passed, false.
    ///
    /// ```
    /// use threadbare::compat::dummy::{Condition, Deadline};
    /// let changed = Condition::new();
    /// let _guard = changed.guard();
    /// assert_eq!(changed.wait_until(Deadline::NEVER), Ok(true));
    /// assert_eq!(changed.wait_until(Deadline::now()), Ok(false));
    /// ```
    pub fn wait_until(&self, deadline: Deadline) -> Result<bool, Error> {
        self.check_held()?;
        Ok(!deadline.has_passed())
    }

    /// As [`wait_until`](Condition::wait_until).
    ///
    /// ```
    /// use threadbare::compat::dummy::{Condition, Deadline};
    /// let changed = Condition::new();
    /// let _guard = changed.guard();
    /// assert_eq!(changed.wait_interruptible(Deadline::NEVER), Ok(true));
    /// ```
    pub fn wait_interruptible(&self, deadline: Deadline) -> Result<bool, Error> {
        self.wait_until(deadline)
    }

    /// Calls `predicate` until it is true: twice at most, since after that nobody changes anything.
    /// Errors: [`Error::NotHeld`] before the predicate is called, [`Error::WouldBlockForever`]
    /// after it was false twice.
    ///
    /// ```
    /// use threadbare::compat::dummy::{Condition, Error};
    /// let changed = Condition::new();
    /// let _guard = changed.guard();
    /// assert_eq!(changed.wait_for(|| Some(1)), Ok(Some(1)));
    /// assert_eq!(changed.wait_for(|| false), Err(Error::WouldBlockForever));
    /// ```
    pub fn wait_for<R: Truthy>(&self, predicate: impl FnMut() -> R) -> Result<R, Error> {
        self.wait_for_until(predicate, Deadline::NEVER)
    }

    /// As [`wait_for`](Condition::wait_for), but the time is up where that errs: returns what the
    /// predicate returned last.
    /// Errors: [`Error::TimeoutTooLarge`] above [`TIMEOUT_MAX`](super::TIMEOUT_MAX), else
    /// [`Error::NotHeld`]; both before the predicate is called.
    ///
    /// ```
    /// use std::time::Duration;
    /// let changed = threadbare::compat::dummy::Condition::new();
    /// let _guard = changed.guard();
    /// assert_eq!(changed.wait_for_timeout(|| false, Duration::from_secs(1)), Ok(false));
    /// ```
    pub fn wait_for_timeout<R: Truthy>(
        &self,
        predicate: impl FnMut() -> R,
        timeout: Duration,
    ) -> Result<R, Error> {
        check(timeout)?;
        self.evaluate(predicate)
    }

    /// As [`wait_for_timeout`](Condition::wait_for_timeout).
    /// Errors: as [`wait_for`](Condition::wait_for), which this is if `deadline` is never.
    ///
    /// ```
    /// use threadbare::compat::dummy::{Condition, Deadline};
    /// let changed = Condition::new();
    /// let _guard = changed.guard();
    /// assert_eq!(changed.wait_for_until(|| None::<u8>, Deadline::now()), Ok(None));
    /// ```
    pub fn wait_for_until<R: Truthy>(
        &self,
        predicate: impl FnMut() -> R,
        deadline: Deadline,
    ) -> Result<R, Error> {
        let value = self.evaluate(predicate)?;
        if !value.is_truthy() {
            give_up(deadline)?;
        }
        Ok(value)
    }

    /// As [`wait_for_until`](Condition::wait_for_until).
    ///
    /// ```
    /// use threadbare::compat::dummy::{Condition, Deadline};
    /// let changed = Condition::new();
    /// let _guard = changed.guard();
    /// assert_eq!(changed.wait_for_interruptible(|| true, Deadline::NEVER), Ok(true));
    /// ```
    pub fn wait_for_interruptible<R: Truthy>(
        &self,
        predicate: impl FnMut() -> R,
        deadline: Deadline,
    ) -> Result<R, Error> {
        self.wait_for_until(predicate, deadline)
    }

    /// What `predicate` returns, before or after a wait that would be notified at once.
    fn evaluate<R: Truthy>(&self, mut predicate: impl FnMut() -> R) -> Result<R, Error> {
        self.check_held()?;
        let value = predicate();
        Ok(if value.is_truthy() {
            value
        } else {
            predicate()
        })
    }

    /// Nobody waits, so nobody is woken: 0.
    /// Errors: [`Error::NotHeld`].
    ///
    /// ```
    /// let changed = threadbare::compat::dummy::Condition::new();
    /// let _guard = changed.guard();
    /// assert_eq!(changed.notify(3), Ok(0));
    /// ```
    pub fn notify(&self, _n: usize) -> Result<usize, Error> {
        self.check_held()?;
        Ok(0)
    }

    /// As [`notify`](Condition::notify).
    /// Errors: [`Error::NotHeld`].
    ///
    /// ```
    /// use threadbare::compat::dummy::{Condition, Error};
    /// assert_eq!(Condition::new().notify_one(), Err(Error::NotHeld));
    /// ```
    pub fn notify_one(&self) -> Result<usize, Error> {
        self.notify(1)
    }

    /// As [`notify`](Condition::notify).
    /// Errors: [`Error::NotHeld`].
    ///
    /// ```
    /// let changed = threadbare::compat::dummy::Condition::new();
    /// let _guard = changed.guard();
    /// assert_eq!(changed.notify_all(), Ok(0));
    /// ```
    pub fn notify_all(&self) -> Result<usize, Error> {
        self.notify(usize::MAX)
    }
}

timed_acquires!(impl[L: CondLock] Condition<L>, "Condition::new()");

impl<L: CondLock> sealed::Guarded for Condition<L> {
    type Sendness = *const ();

    fn take(&self) {
        self.acquire();
    }

    fn give(&self) -> Result<(), Error> {
        self.release()
    }
}
