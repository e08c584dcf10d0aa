//! Wait until another thread says that something changed.

use crate::blocking;
use crate::deadline::{self, Deadline};
use crate::error::Error;
use crate::guard::{Guard, sealed};
use crate::lock::Lock;
use crate::observe::{self, Object, ObjectKind};
use crate::raw::condition::RawCondition;
use crate::raw::park::Limit;
use crate::raw::rlock::RawRLock;
use crate::rlock::RLock;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A lock with a queue of threads that gave it up to wait for a [`notify`](Condition::notify).
///
/// By default it has an [`RLock`] of its own. [`with_lock`](Condition::with_lock) takes a `Lock`
/// or an `RLock`, by value, by reference or in an `Arc`, so that several conditions can share one.
///
/// # What is promised
/// - A notify wakes exactly as many threads as it says, those first that have waited longest, and
///   only threads that were waiting when it was called (COND-10 to COND-12).
/// - A wait returns because it was notified or because its time was up, never for no reason.
///   A notify is not spent on a thread that goes away with a timeout (COND-16).
/// - The lock is held whenever a wait returns, with an error too (COND-8).
/// - A wait gives an `RLock` up completely, however often it is held, and takes it back as often
///   (COND-6).
///
/// Between the notify and the return of the wait other threads may take the lock, so what was
/// waited for should be checked again: [`wait_for`](Condition::wait_for) does.
///
/// # Who may wait and notify
/// With an `RLock`, its owner. With a plain `Lock`, any thread while some thread holds the lock:
/// a wait then releases that thread's lock, as in Python (COND-4).
///
/// # Memory ordering
/// As the lock.
///
/// # Cost
/// With an `RLock` a notify without waiters is a load, and one with waiters makes no system call:
/// those that it wakes are woken by the release that follows. With another lock the queue has a lock
/// of its own, and a notify wakes by itself. Nothing is allocated.
///
/// # Signals, fork, and the end
/// Not for signal handlers, not even on an `RLock`: a handler may interrupt its own thread in the
/// middle of a call. In the child of a fork a condition can be used, and nobody waits for it, whoever
/// did in the parent; its lock is as it was at the fork (FORK-5, FORK-6). A condition is freed, as
/// every value, when nobody borrows it: the last one woken may still be inside a call of the
/// notifier's.
///
/// ```
/// use threadbare::{Condition, Thread};
/// use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
///
/// static READY: AtomicBool = AtomicBool::new(false);
/// static CHANGED: Condition = Condition::new();
///
/// let thread = Thread::new(|| {
///     let _guard = CHANGED.guard();
///     READY.store(true, Relaxed);
///     CHANGED.notify_one().unwrap();
/// });
/// thread.start()?;
/// {
///     let _guard = CHANGED.guard();
///     CHANGED.wait_for(|| READY.load(Relaxed))?;
/// }
/// thread.join()?;
/// # Ok::<(), threadbare::Error>(())
/// ```
#[doc(alias("Condvar", "condition variable"))]
pub struct Condition<L: CondLock = RLock> {
    lock: L,
    raw: RawCondition,
}

/// A lock that a [`Condition`] can be bound to.
///
/// Implemented for `Lock`, `RLock`, and references and `Arc`s of such locks. Others may implement
/// it for a lock of their own; the condition then keeps its queue under a lock word of its own.
///
/// # Safety
/// An implementation that forwards [`owner_proof`](CondLock::owner_proof) must always forward it
/// to the same lock. One that leaves it out promises nothing beyond what the methods say.
///
/// ```
/// use threadbare::{CondLock, Condition, Deadline, Error, Lock};
/// use std::time::Duration;
///
/// /// A lock that is logged.
/// struct Logged(Lock);
///
/// // SAFETY: leaves `owner_proof` out.
/// unsafe impl CondLock for Logged {
///     fn acquire(&self) {
///         self.0.acquire();
///         println!("acquired");
///     }
///     fn try_acquire(&self) -> bool { self.0.try_acquire() }
///     fn acquire_until(&self, deadline: Deadline) -> bool { self.0.acquire_until(deadline) }
///     fn acquire_interruptible(&self, deadline: Deadline) -> Result<bool, Error> {
///         self.0.acquire_interruptible(deadline)
///     }
///     fn release(&self) -> Result<(), Error> { self.0.release() }
///     fn locked(&self) -> bool { self.0.locked() }
/// }
///
/// let condition = Condition::with_lock(Logged(Lock::new()));
/// condition.acquire();
/// assert_eq!(condition.wait_timeout(Duration::from_millis(1)), Ok(false));
/// ```
pub unsafe trait CondLock {
    /// Takes the lock, waiting without limit.
    fn acquire(&self);

    /// Takes the lock if it is free; whether it did.
    #[must_use = "the lock may not have been taken"]
    fn try_acquire(&self) -> bool;

    /// Takes the lock before `deadline`; whether it did.
    #[must_use = "the lock may not have been taken"]
    fn acquire_until(&self, deadline: Deadline) -> bool;

    /// Takes the lock within `timeout`; whether it did.
    ///
    /// # Errors
    /// [`Error::TimeoutTooLarge`] if `timeout` exceeds [`TIMEOUT_MAX`](crate::TIMEOUT_MAX).
    fn acquire_timeout(&self, timeout: Duration) -> Result<bool, Error> {
        deadline::check(timeout)?;
        Ok(self.try_acquire() || self.acquire_until(Deadline::after(timeout)?))
    }

    /// Takes the lock before `deadline` and the next signal; whether it did.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after a signal handler ran.
    fn acquire_interruptible(&self, deadline: Deadline) -> Result<bool, Error>;

    /// Undoes one acquire.
    ///
    /// # Errors
    /// If the lock is not there to be released.
    fn release(&self) -> Result<(), Error>;

    /// Whether any thread holds the lock.
    fn locked(&self) -> bool;

    /// Whether the calling thread may wait and notify: by default, whether any thread holds the
    /// lock.
    fn is_held(&self) -> bool {
        self.locked()
    }

    /// Makes the lock as new, after a fork (FORK-7). By default it is released for as long as it is
    /// held and can be, which is all that can be done through the other methods.
    ///
    /// # Safety
    /// As [`Lock::at_fork_reinit`].
    unsafe fn at_fork_reinit(&self) {
        while self.locked() && self.release().is_ok() {}
    }

    /// The lock whose owner alone may wait and notify, if this is one.
    #[doc(hidden)]
    fn owner_proof(&self) -> Option<OwnerProof<'_>> {
        None
    }
}

/// That a lock proves who owns it. Only this crate can make one.
#[doc(hidden)]
#[derive(Debug)]
pub struct OwnerProof<'a>(&'a RawRLock);

/// The methods that a lock, or what it points to, has already.
macro_rules! forwarded {
    ($self:ident => $lock:expr) => {
        #[inline]
        fn acquire(&$self) {
            $lock.acquire();
        }

        #[inline]
        fn try_acquire(&$self) -> bool {
            $lock.try_acquire()
        }

        #[inline]
        fn acquire_until(&$self, deadline: Deadline) -> bool {
            $lock.acquire_until(deadline)
        }

        #[inline]
        fn acquire_timeout(&$self, timeout: Duration) -> Result<bool, Error> {
            $lock.acquire_timeout(timeout)
        }

        #[inline]
        fn acquire_interruptible(&$self, deadline: Deadline) -> Result<bool, Error> {
            $lock.acquire_interruptible(deadline)
        }

        #[inline]
        fn release(&$self) -> Result<(), Error> {
            $lock.release()
        }

        #[inline]
        fn locked(&$self) -> bool {
            $lock.locked()
        }

        unsafe fn at_fork_reinit(&$self) {
            // SAFETY: passed on to the caller.
            unsafe { $lock.at_fork_reinit() };
        }
    };
}
pub(crate) use forwarded;

// SAFETY: leaves `owner_proof` out.
unsafe impl CondLock for Lock {
    forwarded!(self => self);
}

// SAFETY: the proof is of the lock itself.
unsafe impl CondLock for RLock {
    forwarded!(self => self);

    #[inline]
    fn is_held(&self) -> bool {
        self.is_owned()
    }

    #[inline]
    fn owner_proof(&self) -> Option<OwnerProof<'_>> {
        Some(OwnerProof(&self.raw))
    }
}

macro_rules! cond_lock_for_pointer {
    ($pointer:ty) => {
        // SAFETY: everything is forwarded to the one lock that the pointer points to for life.
        unsafe impl<L: CondLock + ?Sized> CondLock for $pointer {
            forwarded!(self => (**self));

            #[inline]
            fn is_held(&self) -> bool {
                (**self).is_held()
            }

            #[inline]
            fn owner_proof(&self) -> Option<OwnerProof<'_>> {
                (**self).owner_proof()
            }
        }
    };
}

cond_lock_for_pointer!(&L);
cond_lock_for_pointer!(Arc<L>);

/// What a predicate may return: something that is true or not.
///
/// ```
/// use threadbare::Truthy;
///
/// assert!(true.is_truthy() && Some(0).is_truthy());
/// assert!(!false.is_truthy() && !None::<u8>.is_truthy());
/// ```
pub trait Truthy {
    /// Whether the wait is over.
    fn is_truthy(&self) -> bool;
}

impl Truthy for bool {
    fn is_truthy(&self) -> bool {
        *self
    }
}

impl<T> Truthy for Option<T> {
    fn is_truthy(&self) -> bool {
        self.is_some()
    }
}

impl Condition {
    /// A condition with an [`RLock`] of its own.
    ///
    /// ```
    /// static CHANGED: threadbare::Condition = threadbare::Condition::new();
    /// CHANGED.acquire();
    /// assert!(CHANGED.locked());
    /// ```
    #[must_use]
    pub const fn new() -> Condition {
        Condition::with_lock(RLock::new())
    }
}

impl<L: CondLock> Condition<L> {
    /// A condition on `lock`, to which it stays bound.
    ///
    /// ```
    /// use threadbare::{Condition, RLock};
    ///
    /// let lock = RLock::new();
    /// let (not_empty, not_full) = (Condition::with_lock(&lock), Condition::with_lock(&lock));
    /// let _guard = not_empty.guard();
    /// assert_eq!(not_full.notify_one(), Ok(0)); // the lock is the same
    /// ```
    #[must_use]
    pub const fn with_lock(lock: L) -> Condition<L> {
        Condition {
            lock,
            raw: RawCondition::new(),
        }
    }

    /// Takes the lock, waiting for it as long as it takes.
    ///
    /// ```
    /// let changed = threadbare::Condition::new();
    /// changed.acquire();
    /// ```
    #[inline]
    pub fn acquire(&self) {
        self.lock.acquire();
    }

    /// Takes the lock if it is free (or an `RLock` of the caller's); whether it did.
    ///
    /// Here and below, what the lock's own function says about panics and errors holds.
    ///
    /// ```
    /// assert!(threadbare::Condition::new().try_acquire());
    /// ```
    #[inline]
    #[must_use = "the lock may not have been taken"]
    pub fn try_acquire(&self) -> bool {
        self.lock.try_acquire()
    }

    /// Takes the lock within `timeout`; whether it did. Zero makes one attempt.
    ///
    /// # Errors
    /// [`Error::TimeoutTooLarge`] if `timeout` exceeds [`TIMEOUT_MAX`](crate::TIMEOUT_MAX).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// assert_eq!(threadbare::Condition::new().acquire_timeout(Duration::ZERO), Ok(true));
    /// ```
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<bool, Error> {
        self.lock.acquire_timeout(timeout)
    }

    /// Takes the lock before `deadline`; whether it did. One attempt is made in any case.
    ///
    /// ```
    /// use threadbare::{Condition, Deadline};
    ///
    /// assert!(Condition::new().acquire_until(Deadline::now()));
    /// ```
    #[inline]
    #[must_use = "the lock may not have been taken"]
    pub fn acquire_until(&self, deadline: Deadline) -> bool {
        self.lock.acquire_until(deadline)
    }

    /// Takes the lock before `deadline` and the next signal; whether it did.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after a signal handler ran: the lock was not taken.
    ///
    /// ```
    /// use threadbare::{Condition, Deadline};
    ///
    /// assert_eq!(Condition::new().acquire_interruptible(Deadline::NEVER), Ok(true));
    /// ```
    #[inline]
    pub fn acquire_interruptible(&self, deadline: Deadline) -> Result<bool, Error> {
        self.lock.acquire_interruptible(deadline)
    }

    /// Releases the lock once.
    ///
    /// # Errors
    /// Those of the lock's own `release`.
    ///
    /// ```
    /// use threadbare::{Condition, Error};
    ///
    /// assert_eq!(Condition::new().release(), Err(Error::NotOwner));
    /// ```
    #[inline]
    pub fn release(&self) -> Result<(), Error> {
        self.lock.release()
    }

    /// Whether any thread holds the lock now (COND-2).
    ///
    /// ```
    /// assert!(!threadbare::Condition::new().locked());
    /// ```
    #[inline]
    #[must_use]
    pub fn locked(&self) -> bool {
        self.lock.locked()
    }

    /// Takes the lock and returns a guard that releases it. The guard stays in this thread.
    ///
    /// ```
    /// let changed = threadbare::Condition::new();
    /// let _guard = changed.guard();
    /// assert_eq!(changed.notify_all(), Ok(0));
    /// ```
    #[inline]
    pub fn guard(&self) -> Guard<'_, Condition<L>> {
        Guard::acquire(self)
    }

    /// Gives the lock up, waits until notified, takes the lock back.
    ///
    /// # Errors
    /// [`Error::NotHeld`] if the caller may not wait (see the type), or if the lock's own release
    /// errs because another thread has released it at this very moment.
    ///
    /// ```
    /// use threadbare::{Condition, Error};
    ///
    /// let changed = Condition::new();
    /// assert_eq!(changed.wait(), Err(Error::NotHeld));
    ///
    /// let guard = changed.guard();
    /// std::thread::scope(|s| {
    ///     s.spawn(|| {
    ///         let _guard = changed.guard(); // once the other waits
    ///         changed.notify_one().unwrap();
    ///     });
    ///     changed.wait().unwrap();
    /// });
    /// # drop(guard);
    /// ```
    pub fn wait(&self) -> Result<(), Error> {
        self.wait_within(Limit::NONE).map(drop)
    }

    /// As [`wait`](Condition::wait), for `timeout` at most; whether it was notified. The lock is
    /// taken back in either case, however long that takes (TIME-9).
    ///
    /// # Errors
    /// [`Error::TimeoutTooLarge`] if `timeout` exceeds [`TIMEOUT_MAX`](crate::TIMEOUT_MAX), else
    /// as `wait`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let changed = threadbare::Condition::new();
    /// let _guard = changed.guard();
    /// assert_eq!(changed.wait_timeout(Duration::from_millis(1)), Ok(false));
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, Error> {
        self.wait_until(Deadline::after(timeout)?)
    }

    /// As [`wait`](Condition::wait), until `deadline` at most; whether it was notified.
    ///
    /// # Errors
    /// As `wait`.
    ///
    /// ```
    /// use threadbare::{Condition, Deadline};
    ///
    /// let changed = Condition::new();
    /// let _guard = changed.guard();
    /// assert_eq!(changed.wait_until(Deadline::now()), Ok(false));
    /// ```
    pub fn wait_until(&self, deadline: Deadline) -> Result<bool, Error> {
        self.wait_within(Limit::until(deadline.0))
    }

    /// As [`wait_until`](Condition::wait_until), but a signal handler that runs while the thread
    /// sleeps ends the wait.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after a signal handler ran while the thread slept: the lock is held
    /// again and the thread no longer waits (SIG-3). If it was notified as well, that counts. Else as
    /// `wait`.
    ///
    /// ```
    /// use threadbare::{Condition, Deadline};
    ///
    /// let changed = Condition::new();
    /// let _guard = changed.guard();
    /// assert_eq!(changed.wait_interruptible(Deadline::now()), Ok(false));
    /// ```
    pub fn wait_interruptible(&self, deadline: Deadline) -> Result<bool, Error> {
        self.wait_within(Limit::interruptible(deadline.0))
    }

    /// As [`wait_interruptible`](Condition::wait_interruptible), but what ends the wait is `check`, by
    /// returning `true`: it is called before the thread sleeps, after each signal handler that ran,
    /// and every 50 ms, so no signal is missed (SIG-4). It runs
    /// without the lock, which is taken back before its panic, if it panics, goes on.
    ///
    /// # Errors
    /// As `wait`; [`Error::Interrupted`] if `check` has returned `true`.
    ///
    /// ```
    /// use threadbare::{Deadline, Error, Condition};
    ///
    /// let changed = Condition::new();
    /// let _guard = changed.guard();
    /// assert_eq!(changed.wait_checked(Deadline::NEVER, || true), Err(Error::Interrupted));
    /// ```
    pub fn wait_checked(
        &self,
        deadline: Deadline,
        check: impl FnMut() -> bool,
    ) -> Result<bool, Error> {
        let wait = |check: &dyn Fn() -> bool| self.wait_within(Limit::checked(deadline.0, check));
        blocking::with_check(check, wait, drop)
    }

    fn wait_within(&self, limit: Limit) -> Result<bool, Error> {
        self.held()?;
        let object = Object::new(ObjectKind::Condition, self);
        // Who holds the lock is asked again in there: a trace function may have released it.
        observe::blocking(object, || self.wait_unobserved(limit), |_| false)
    }

    fn wait_unobserved(&self, limit: Limit) -> Result<bool, Error> {
        let parked = match self.held()? {
            // SAFETY: the caller owns the lock, to which the condition is bound for life; `CondLock`
            // says that the proof is always of the same lock.
            Some(lock) => unsafe { self.raw.wait_owned(lock, limit) },
            None => {
                // Somebody else may have released it meanwhile: then it is not held, as if before.
                let release = || self.lock.release().map_err(|_| Error::NotHeld);
                self.raw
                    .wait_shared(release, || self.lock.acquire(), limit)?
            }
        };
        blocking::outcome(parked)
    }

    /// Refuses a caller that may not wait and notify. Returns the lock that it owns, if the lock is
    /// one that proves that.
    #[inline]
    fn held(&self) -> Result<Option<&RawRLock>, Error> {
        let proof = self.lock.owner_proof();
        // With a proof the lock itself is asked, since more than an error depends on the answer.
        let held = match &proof {
            Some(OwnerProof(lock)) => lock.is_owned(),
            None => self.lock.is_held(),
        };
        if held {
            Ok(proof.map(|OwnerProof(lock)| lock))
        } else {
            Err(Error::NotHeld)
        }
    }

    /// Waits until `predicate` returns something [true](Truthy), and returns that. The predicate
    /// is called with the lock held, first before any wait, then after each notify (COND-17).
    ///
    /// # Errors
    /// As [`wait`](Condition::wait), before the predicate is called.
    ///
    /// # Difference from Python
    /// The lock must be held even if the predicate is true at once (COND-18).
    ///
    /// ```
    /// use threadbare::Condition;
    ///
    /// let changed = Condition::new();
    /// let _guard = changed.guard();
    /// let mut jobs = vec!["first"];
    /// assert_eq!(changed.wait_for(|| jobs.pop())?, Some("first"));
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn wait_for<R: Truthy>(&self, predicate: impl FnMut() -> R) -> Result<R, Error> {
        self.wait_for_within(predicate, Limit::NONE)
    }

    /// As [`wait_for`](Condition::wait_for), for `timeout` in all; returns what the predicate
    /// returned last, which on timeout is something false (COND-19).
    ///
    /// # Errors
    /// [`Error::TimeoutTooLarge`] if `timeout` exceeds [`TIMEOUT_MAX`](crate::TIMEOUT_MAX), else
    /// as `wait`; both before the predicate is called.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let changed = threadbare::Condition::new();
    /// let _guard = changed.guard();
    /// assert!(!changed.wait_for_timeout(|| false, Duration::from_millis(1))?);
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn wait_for_timeout<R: Truthy>(
        &self,
        predicate: impl FnMut() -> R,
        timeout: Duration,
    ) -> Result<R, Error> {
        self.wait_for_until(predicate, Deadline::after(timeout)?)
    }

    /// As [`wait_for`](Condition::wait_for), until `deadline`; returns what the predicate returned
    /// last.
    ///
    /// # Errors
    /// As `wait`, before the predicate is called.
    ///
    /// ```
    /// use threadbare::{Condition, Deadline};
    ///
    /// let changed = Condition::new();
    /// let _guard = changed.guard();
    /// assert_eq!(changed.wait_for_until(|| None::<u8>, Deadline::now())?, None);
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn wait_for_until<R: Truthy>(
        &self,
        predicate: impl FnMut() -> R,
        deadline: Deadline,
    ) -> Result<R, Error> {
        self.wait_for_within(predicate, Limit::until(deadline.0))
    }

    /// As [`wait_for_until`](Condition::wait_for_until), but a signal handler that runs during a
    /// wait ends the call.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after a signal handler ran: the lock is held. Else as `wait`.
    ///
    /// ```
    /// use threadbare::{Condition, Deadline};
    ///
    /// let changed = Condition::new();
    /// let _guard = changed.guard();
    /// assert!(changed.wait_for_interruptible(|| true, Deadline::NEVER)?);
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn wait_for_interruptible<R: Truthy>(
        &self,
        predicate: impl FnMut() -> R,
        deadline: Deadline,
    ) -> Result<R, Error> {
        self.wait_for_within(predicate, Limit::interruptible(deadline.0))
    }

    fn wait_for_within<R: Truthy>(
        &self,
        mut predicate: impl FnMut() -> R,
        limit: Limit,
    ) -> Result<R, Error> {
        self.held()?;
        let mut in_time = true;
        loop {
            let value = predicate();
            if value.is_truthy() || !in_time {
                return Ok(value);
            }
            in_time = self.wait_within(limit)?;
        }
    }

    /// Lets the `n` threads that have waited longest return from their wait, or all if there are
    /// fewer; returns how many (COND-10). Zero does nothing (COND-13). They return one after
    /// another as they get the lock, which the caller still holds (COND-15).
    ///
    /// # Errors
    /// [`Error::NotHeld`] if the caller may not notify (see the type).
    ///
    /// ```
    /// use threadbare::{Condition, Error};
    ///
    /// let changed = Condition::new();
    /// assert_eq!(changed.notify(0), Err(Error::NotHeld));
    /// let _guard = changed.guard();
    /// assert_eq!(changed.notify(3), Ok(0)); // nobody waits, nothing is remembered
    /// ```
    #[inline]
    pub fn notify(&self, n: usize) -> Result<usize, Error> {
        let notified = match self.held()? {
            // SAFETY: as in `wait_unobserved`.
            Some(lock) => unsafe { self.raw.notify_owned(lock, n) },
            None => self.raw.notify_shared(n),
        };
        Ok(observe::woken(ObjectKind::Condition, self, notified))
    }

    /// [`notify`](Condition::notify) for one thread.
    ///
    /// # Errors
    /// As `notify`.
    ///
    /// ```
    /// let changed = threadbare::Condition::new();
    /// let _guard = changed.guard();
    /// assert_eq!(changed.notify_one(), Ok(0));
    /// ```
    #[inline]
    pub fn notify_one(&self) -> Result<usize, Error> {
        self.notify(1)
    }

    /// [`notify`](Condition::notify) for all who wait now (COND-14).
    ///
    /// # Errors
    /// As `notify`.
    ///
    /// ```
    /// let changed = threadbare::Condition::new();
    /// let _guard = changed.guard();
    /// assert_eq!(changed.notify_all(), Ok(0));
    /// ```
    #[inline]
    pub fn notify_all(&self) -> Result<usize, Error> {
        self.notify(usize::MAX)
    }

    /// Makes the condition as new: nobody waits, and its lock is [as new](CondLock::at_fork_reinit)
    /// (FORK-7). For the child of a fork, where a lock that another thread held stays locked for
    /// ever else (FORK-6). The kind of the lock stays what it is.
    ///
    /// # Safety
    /// No other thread uses the condition or its lock during the call or is in the middle of using
    /// it, as is so in the child of a fork before it starts threads.
    ///
    /// ```
    /// let changed = threadbare::Condition::new();
    /// changed.acquire();
    /// // SAFETY: the condition belongs to this thread alone.
    /// unsafe { changed.at_fork_reinit() };
    /// assert!(!changed.locked());
    /// ```
    #[doc(alias = "_at_fork_reinit")]
    pub unsafe fn at_fork_reinit(&self) {
        // SAFETY: passed on to the caller.
        unsafe { self.raw.reinit() };
        // SAFETY: passed on to the caller.
        unsafe { self.lock.at_fork_reinit() };
    }

    /// How many threads wait; `None` if only the lock's owner could tell and the caller is not.
    /// For tests that wait for that, and for `Debug`.
    #[doc(hidden)]
    #[must_use]
    pub fn waiting(&self) -> Option<usize> {
        match self.lock.owner_proof() {
            None => Some(self.raw.waiting_shared()),
            // SAFETY: as in `wait_unobserved`.
            Some(OwnerProof(lock)) => lock.is_owned().then(|| unsafe { self.raw.waiting_owned() }),
        }
    }
}

impl<L: CondLock> sealed::Guarded for Condition<L> {
    type Sendness = *const ();

    fn take(&self) {
        self.acquire();
    }

    fn give(&self) -> Result<(), Error> {
        self.release()
    }
}

impl<L: CondLock + Default> Default for Condition<L> {
    fn default() -> Condition<L> {
        Condition::with_lock(L::default())
    }
}

/// As Python prints it (REPR-1). With an `RLock` the waiters are the owner's to count, so others
/// see a question mark.
impl<L: CondLock + fmt::Debug> fmt::Debug for Condition<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<Condition({:?}, ", self.lock)?;
        match self.waiting() {
            Some(waiting) => write!(f, "{waiting})>"),
            None => f.write_str("?)>"),
        }
    }
}
