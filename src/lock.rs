//! The plain lock.

use crate::blocking;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::guard::{Guard, sealed};
use crate::observe::{self, Object, ObjectKind};
use crate::raw::lock::RawLock;
use crate::raw::park::{GaveUp, Limit};
use std::fmt;
use std::time::Duration;

/// A lock: one thread at a time gets past [`acquire`](Lock::acquire).
///
/// It has no owner: any thread may release it, and the thread that holds it waits like any other
/// if it acquires it again. Nothing is poisoned; a lock dropped while locked is simply gone.
///
/// # Memory ordering
/// What happened before a [`release`](Lock::release) is visible after the acquire that takes the
/// lock next (MEM-1).
///
/// # Fairness
/// A release lets one waiter proceed, normally the one that has slept longest, but a thread that
/// comes at that moment may take the lock first (LOCK-11). About once in a millisecond a release keeps the
/// lock for waiters: it is free then, but who comes lets them go first for a millisecond at most, unless it
/// only tries. So a waiter gets the lock after some milliseconds for each that waits, on average, as far as
/// sections, the scheduler and threads that try again and again let it.
///
/// # Cost
/// 4 bytes. Without contention acquire and release are one compare-and-swap each, without system
/// call, allocation or clock. The memory may be freed as soon as a release has let the next owner
/// proceed.
///
/// # Difference from Python
/// `acquire(blocking, timeout)` is five functions, so its invalid combinations cannot be written.
///
/// ```
/// use threadbare::Lock;
///
/// static LOCK: Lock = Lock::new();
///
/// LOCK.acquire();
/// assert!(!LOCK.try_acquire());
/// LOCK.release()?;
/// # Ok::<(), threadbare::Error>(())
/// ```
#[doc(alias("mutex", "Mutex"))]
pub struct Lock {
    raw: RawLock,
}

const _: () = assert!(size_of::<Lock>() == 4);

impl Lock {
    /// An unlocked lock.
    ///
    /// ```
    /// assert!(!threadbare::Lock::new().locked());
    /// ```
    #[must_use]
    pub const fn new() -> Lock {
        Lock {
            raw: RawLock::new(),
        }
    }

    /// Takes the lock, waiting for it as long as it takes. Signals do not end the wait (SIG-4).
    ///
    /// ```
    /// let lock = threadbare::Lock::new();
    /// lock.acquire();
    /// assert!(lock.locked());
    /// ```
    #[doc(alias = "lock")]
    #[inline]
    pub fn acquire(&self) {
        if !self.raw.attempt() {
            let taken = self.block(Limit::NONE);
            debug_assert_eq!(taken, Ok(()), "a wait without limit does not give up");
        }
    }

    /// Takes the lock if it is free; whether it did. Never waits (LOCK-4).
    ///
    /// ```
    /// let lock = threadbare::Lock::new();
    /// assert!(lock.try_acquire() && !lock.try_acquire());
    /// ```
    #[doc(alias = "try_lock")]
    #[inline]
    #[must_use = "the lock may not have been taken"]
    pub fn try_acquire(&self) -> bool {
        self.raw.try_acquire()
    }

    /// Takes the lock within `timeout`; whether it did. Zero makes one attempt (LOCK-5). A lock that is
    /// free but kept for waiters may be let go to them for a millisecond first ([Fairness](Lock#fairness)).
    ///
    /// # Errors
    /// [`Error::TimeoutTooLarge`] if `timeout` exceeds [`TIMEOUT_MAX`](crate::TIMEOUT_MAX), also
    /// if the lock is free (LOCK-7).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let lock = threadbare::Lock::new();
    /// assert!(lock.acquire_timeout(Duration::from_secs(1))?);
    /// assert!(!lock.acquire_timeout(Duration::from_millis(1))?);
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    #[inline]
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<bool, Error> {
        let (attempt, try_acquire) = (|| Ok(self.raw.attempt()), || self.raw.try_acquire());
        blocking::lock_within(timeout, attempt, try_acquire, |limit| self.block(limit))
    }

    /// Takes the lock before `deadline`; whether it did. One attempt is made in any case.
    ///
    /// ```
    /// use threadbare::{Deadline, Lock};
    ///
    /// let lock = Lock::new();
    /// assert!(lock.acquire_until(Deadline::now()));
    /// assert!(!lock.acquire_until(Deadline::now()));
    /// ```
    #[inline]
    #[must_use = "the lock may not have been taken"]
    pub fn acquire_until(&self, deadline: Deadline) -> bool {
        self.raw.attempt() || self.block(Limit::until(deadline.0)).is_ok()
    }

    /// Takes the lock before `deadline`; whether it did. A signal handler that runs while
    /// the thread sleeps ends the wait, also one installed with `SA_RESTART`. One that runs just
    /// before it falls asleep is not noticed.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after a signal handler ran: the lock was not taken.
    ///
    /// ```
    /// use threadbare::{Deadline, Lock};
    ///
    /// let lock = Lock::new();
    /// assert_eq!(lock.acquire_interruptible(Deadline::NEVER), Ok(true));
    /// assert_eq!(lock.acquire_interruptible(Deadline::now()), Ok(false));
    /// ```
    #[inline]
    pub fn acquire_interruptible(&self, deadline: Deadline) -> Result<bool, Error> {
        blocking::interruptible(
            deadline,
            || Ok(self.raw.attempt()),
            |limit| self.block(limit),
        )
    }

    /// As [`acquire_interruptible`](Lock::acquire_interruptible), but what ends the wait is `check`,
    /// by returning `true`: it is called before the thread sleeps, after each signal handler that
    /// ran, and every 50 ms, so no signal is missed (SIG-4). If it panics, the lock is not taken.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if `check` has returned `true`.
    ///
    /// ```
    /// use threadbare::{Deadline, Error, Lock};
    ///
    /// let lock = Lock::new();
    /// lock.acquire();
    /// assert_eq!(lock.acquire_checked(Deadline::NEVER, || true), Err(Error::Interrupted));
    /// ```
    pub fn acquire_checked(
        &self,
        deadline: Deadline,
        check: impl FnMut() -> bool,
    ) -> Result<bool, Error> {
        blocking::checked(
            deadline,
            check,
            || Ok(self.raw.attempt()),
            |limit| self.block(limit),
            || {
                let _ = self.release(); // it was taken just now
            },
        )
    }

    #[inline]
    fn block(&self, limit: Limit) -> Result<(), GaveUp> {
        let object = Object::new(ObjectKind::Lock, self);
        observe::blocking(object, || self.raw.acquire_contended(limit), Result::is_ok)
    }

    /// Frees the lock, whichever thread took it, and lets one waiter proceed (LOCK-9).
    ///
    /// # Errors
    /// [`Error::ReleaseUnlocked`] if the lock is free (LOCK-10). Of two releases that race for one
    /// acquire exactly one errs.
    ///
    /// ```
    /// use threadbare::{Error, Lock};
    ///
    /// let lock = Lock::new();
    /// lock.acquire();
    /// assert_eq!(lock.release(), Ok(()));
    /// assert_eq!(lock.release(), Err(Error::ReleaseUnlocked));
    /// ```
    #[doc(alias = "unlock")]
    #[inline]
    pub fn release(&self) -> Result<(), Error> {
        self.raw.release().map_err(|_| Error::ReleaseUnlocked)
    }

    /// Whether the lock is taken now (LOCK-13). Gives no ordering for other memory.
    ///
    /// ```
    /// let lock = threadbare::Lock::new();
    /// assert!(!lock.locked());
    /// ```
    #[doc(alias = "is_locked")]
    #[inline]
    #[must_use]
    pub fn locked(&self) -> bool {
        self.raw.is_locked()
    }

    /// Takes the lock and returns a guard that releases it. The guard may be sent to another
    /// thread.
    ///
    /// ```
    /// use threadbare::Lock;
    ///
    /// let lock = Lock::new();
    /// let guard = lock.guard();
    /// std::thread::scope(|s| s.spawn(move || drop(guard)).join()).unwrap();
    /// assert!(!lock.locked());
    /// ```
    #[inline]
    pub fn guard(&self) -> Guard<'_, Lock> {
        Guard::acquire(self)
    }

    /// Makes the lock as new: unlocked, with nobody waiting (FORK-7). For the child of a fork, where
    /// a lock that another thread held stays locked for ever else (FORK-6).
    ///
    /// # Safety
    /// No other thread uses the lock during the call or is in the middle of using it, as is so in the
    /// child of a fork before it starts threads.
    ///
    /// ```
    /// let lock = threadbare::Lock::new();
    /// lock.acquire();
    /// // SAFETY: the lock belongs to this thread alone.
    /// unsafe { lock.at_fork_reinit() };
    /// assert!(!lock.locked());
    /// ```
    #[doc(alias = "_at_fork_reinit")]
    pub unsafe fn at_fork_reinit(&self) {
        // SAFETY: passed on to the caller.
        unsafe { self.raw.reinit() };
    }

    /// Whether a thread may be asleep on the lock. For tests that wait for that.
    #[doc(hidden)]
    #[must_use]
    pub fn has_waiters(&self) -> bool {
        self.raw.has_waiters()
    }
}

impl sealed::Guarded for Lock {
    type Sendness = ();

    fn take(&self) {
        self.acquire();
    }

    fn give(&self) -> Result<(), Error> {
        self.release()
    }
}

impl Default for Lock {
    fn default() -> Lock {
        Lock::new()
    }
}

/// As Python prints it (REPR-1).
impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.locked() { "locked" } else { "unlocked" };
        write!(f, "<{state} threadbare.Lock object at {self:p}>")
    }
}
