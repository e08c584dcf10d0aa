//! The reentrant lock.

use crate::blocking;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::guard::{Guard, sealed};
use crate::observe::{self, Object, ObjectKind};
use crate::raw::park::{GaveUp, Limit};
use crate::raw::rlock::RawRLock;
use std::fmt;
use std::time::Duration;

/// A reentrant lock: the thread that owns it may acquire it again, and frees it by releasing it as
/// often.
///
/// The owner is a thread, told apart by a token that no later thread gets: a lock left by a thread
/// that ended stays locked for ever (RLOCK-7). Nothing is poisoned. Not for signal handlers: one may
/// interrupt its own thread in the middle of an acquire or a release.
///
/// # Memory ordering
/// What happened before the release that frees the lock is visible after the acquire that takes it
/// next (MEM-1).
///
/// # Fairness
/// As [`Lock`](crate::Lock).
///
/// # Cost
/// 40 bytes. Without contention, once [`init`](crate::init) or the start of a [`Thread`](crate::Thread)
/// has set it up, the first acquire is one compare-and-swap, and the last release is a store; before
/// that, and for a while after a thread has waited, it is a compare-and-swap too. The acquires and
/// releases between have no atomic read-modify-write at all. See [`set_membarrier`](crate::set_membarrier)
/// for who pays.
///
/// The memory may be freed once the release has returned, not as soon as it has let the next owner
/// proceed; for that there is [`symmetric`](RLock::symmetric).
///
/// ```
/// use threadbare::RLock;
///
/// static LOCK: RLock = RLock::new();
///
/// LOCK.acquire();
/// LOCK.acquire();
/// assert_eq!(LOCK.recursion_count(), 2);
/// LOCK.release()?;
/// LOCK.release()?;
/// assert!(!LOCK.locked());
/// # Ok::<(), threadbare::Error>(())
/// ```
#[doc(alias("ReentrantMutex", "ReentrantLock"))]
pub struct RLock {
    pub(crate) raw: RawRLock,
}

const _: () = assert!(size_of::<RLock>() == 40);

impl RLock {
    /// A free lock.
    ///
    /// ```
    /// assert!(!threadbare::RLock::new().locked());
    /// ```
    #[must_use]
    pub const fn new() -> RLock {
        RLock {
            raw: RawRLock::new(),
        }
    }

    /// A free lock whose release always is a compare-and-swap. It lets the next owner free the memory at
    /// once, and no waiter makes the process's other threads fence
    /// ([`set_membarrier`](crate::set_membarrier)).
    ///
    /// ```
    /// use threadbare::{Condition, RLock};
    ///
    /// static DONE: Condition<RLock> = Condition::with_lock(RLock::symmetric());
    /// assert!(!DONE.locked());
    /// ```
    #[must_use]
    pub const fn symmetric() -> RLock {
        RLock {
            raw: RawRLock::symmetric(),
        }
    }

    /// Takes the lock, once more if the caller owns it, waiting for it as long as it takes.
    ///
    /// # Panics
    /// If the caller holds it 2³¹ - 1 times already; the forms that return a `Result` err instead.
    ///
    /// ```
    /// let lock = threadbare::RLock::new();
    /// lock.acquire();
    /// lock.acquire();
    /// assert!(lock.is_owned());
    /// ```
    #[doc(alias = "lock")]
    #[inline]
    pub fn acquire(&self) {
        if !self.attempt_or_panic() {
            let taken = self.block(Limit::NONE);
            debug_assert_eq!(taken, Ok(()), "a wait without limit does not give up");
        }
    }

    /// Takes the lock if it is free or the caller's; whether it did. Never waits.
    ///
    /// # Panics
    /// As [`acquire`](RLock::acquire).
    ///
    /// ```
    /// let lock = threadbare::RLock::new();
    /// assert!(lock.try_acquire() && lock.try_acquire());
    /// std::thread::scope(|s| s.spawn(|| assert!(!lock.try_acquire())).join()).unwrap();
    /// ```
    #[doc(alias = "try_lock")]
    #[inline]
    #[must_use = "the lock may not have been taken"]
    pub fn try_acquire(&self) -> bool {
        self.raw.try_acquire().unwrap_or_else(|_| too_deep())
    }

    /// Takes the lock within `timeout`; whether it did. Zero makes one attempt.
    ///
    /// # Errors
    /// [`Error::TimeoutTooLarge`] if `timeout` exceeds [`TIMEOUT_MAX`](crate::TIMEOUT_MAX), for
    /// the owner too (RLOCK-4); [`Error::TooDeep`] if the caller holds it 2³¹ - 1 times.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let lock = threadbare::RLock::new();
    /// assert!(lock.acquire_timeout(Duration::ZERO)?);
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    #[inline]
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<bool, Error> {
        let (attempt, try_acquire) = (|| self.attempt(), || self.try_acquire());
        blocking::lock_within(timeout, attempt, try_acquire, |limit| self.block(limit))
    }

    /// Takes the lock before `deadline`; whether it did. One attempt is made in any case.
    ///
    /// # Panics
    /// As [`acquire`](RLock::acquire).
    ///
    /// ```
    /// use threadbare::{Deadline, RLock};
    ///
    /// assert!(RLock::new().acquire_until(Deadline::now()));
    /// ```
    #[inline]
    #[must_use = "the lock may not have been taken"]
    pub fn acquire_until(&self, deadline: Deadline) -> bool {
        self.attempt_or_panic() || self.block(Limit::until(deadline.0)).is_ok()
    }

    /// Takes the lock before `deadline`; whether it did. A signal handler that runs while
    /// the thread sleeps ends the wait, also one installed with `SA_RESTART`. One that runs just
    /// before it falls asleep is not noticed.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after a signal handler ran: the lock was not taken.
    /// [`Error::TooDeep`] if the caller holds it 2³¹ - 1 times.
    ///
    /// ```
    /// use threadbare::{Deadline, RLock};
    ///
    /// assert_eq!(RLock::new().acquire_interruptible(Deadline::NEVER), Ok(true));
    /// ```
    #[inline]
    pub fn acquire_interruptible(&self, deadline: Deadline) -> Result<bool, Error> {
        blocking::interruptible(deadline, || self.attempt(), |limit| self.block(limit))
    }

    /// As [`acquire_interruptible`](RLock::acquire_interruptible), but what ends the wait is `check`,
    /// by returning `true`: it is called before the thread sleeps, after each signal handler that
    /// ran, and every 50 ms, so no signal is missed (SIG-4). If it panics, the lock is not taken.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if `check` has returned `true`; [`Error::TooDeep`].
    ///
    /// ```
    /// use threadbare::{Deadline, Error, RLock};
    ///
    /// let lock = RLock::new();
    /// std::thread::scope(|s| s.spawn(|| lock.acquire()).join()).unwrap();
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
            || self.attempt(),
            |limit| self.block(limit),
            || {
                let _ = self.release(); // it was taken just now
            },
        )
    }

    #[inline]
    fn attempt(&self) -> Result<bool, Error> {
        self.raw.attempt().map_err(|_| Error::TooDeep)
    }

    #[inline]
    fn attempt_or_panic(&self) -> bool {
        self.raw.attempt().unwrap_or_else(|_| too_deep())
    }

    #[inline]
    fn block(&self, limit: Limit) -> Result<(), GaveUp> {
        let object = Object::new(ObjectKind::RLock, self);
        observe::blocking(object, || self.raw.acquire_contended(limit), Result::is_ok)
    }

    /// Undoes one acquire of the caller's; the last one frees the lock and lets one waiter proceed.
    ///
    /// # Errors
    /// [`Error::NotOwner`] if the caller does not own the lock, which then stays as it is (RLOCK-6).
    ///
    /// ```
    /// use threadbare::{Error, RLock};
    ///
    /// let lock = RLock::new();
    /// assert_eq!(lock.release(), Err(Error::NotOwner));
    /// lock.acquire();
    /// assert_eq!(lock.release(), Ok(()));
    /// ```
    #[doc(alias = "unlock")]
    #[inline]
    pub fn release(&self) -> Result<(), Error> {
        self.raw.release().map_err(|_| Error::NotOwner)
    }

    /// Whether any thread owns the lock now (RLOCK-9). Gives no ordering for other memory.
    ///
    /// ```
    /// let lock = threadbare::RLock::new();
    /// let _guard = lock.guard();
    /// assert!(lock.locked());
    /// ```
    #[doc(alias = "is_locked")]
    #[inline]
    #[must_use]
    pub fn locked(&self) -> bool {
        self.raw.is_locked()
    }

    /// Whether the calling thread owns the lock.
    ///
    /// ```
    /// let lock = threadbare::RLock::new();
    /// let _guard = lock.guard();
    /// assert!(lock.is_owned());
    /// std::thread::scope(|s| s.spawn(|| assert!(!lock.is_owned())).join()).unwrap();
    /// ```
    #[inline]
    #[must_use]
    pub fn is_owned(&self) -> bool {
        self.raw.is_owned()
    }

    /// How often the calling thread holds the lock: 0 if it is not the owner (RLOCK-8).
    ///
    /// ```
    /// let lock = threadbare::RLock::new();
    /// assert_eq!(lock.recursion_count(), 0);
    /// lock.acquire();
    /// assert_eq!(lock.recursion_count(), 1);
    /// ```
    #[must_use]
    pub fn recursion_count(&self) -> u32 {
        self.raw.depth()
    }

    /// Takes the lock and returns a guard that undoes it. The guard stays in this thread.
    ///
    /// ```
    /// let lock = threadbare::RLock::new();
    /// let outer = lock.guard();
    /// drop(lock.guard());
    /// assert!(lock.is_owned());
    /// drop(outer);
    /// assert!(!lock.locked());
    /// ```
    #[inline]
    pub fn guard(&self) -> Guard<'_, RLock> {
        Guard::acquire(self)
    }

    /// Makes the lock as new: free, with nobody waiting (FORK-7). For the child of a fork, where a
    /// lock that another thread owned stays locked for ever else, and one that the caller owns is
    /// still the caller's (FORK-6).
    ///
    /// # Safety
    /// No other thread uses the lock, or a [`Condition`](crate::Condition) on it, during the call or
    /// is in the middle of using it, as is so in the child of a fork before it starts threads.
    ///
    /// ```
    /// let lock = threadbare::RLock::new();
    /// lock.acquire();
    /// // SAFETY: the lock belongs to this thread alone.
    /// unsafe { lock.at_fork_reinit() };
    /// assert!(!lock.locked() && !lock.is_owned());
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

#[cold]
#[track_caller]
fn too_deep() -> ! {
    panic!("{}", Error::TooDeep)
}

impl sealed::Guarded for RLock {
    type Sendness = *const ();

    fn take(&self) {
        self.acquire();
    }

    fn give(&self) -> Result<(), Error> {
        self.release()
    }
}

impl Default for RLock {
    fn default() -> RLock {
        RLock::new()
    }
}

/// As Python prints it (REPR-1). The count is the owner's to read, so others see a question mark.
impl fmt::Debug for RLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owner = self.raw.owner();
        let state = if owner == 0 { "unlocked" } else { "locked" };
        write!(f, "<{state} threadbare.RLock object owner={owner} count=")?;
        match self.recursion_count() {
            0 if owner != 0 => f.write_str("?")?,
            count => write!(f, "{count}")?,
        }
        write!(f, " at {self:p}>")
    }
}
