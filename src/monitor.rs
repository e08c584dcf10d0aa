//! A value, its lock and its condition in one.

use crate::blocking;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::observe::{self, Object, ObjectKind};
use crate::raw::condition::RawCondition;
use crate::raw::park::{GaveUp, Limit};
use crate::raw::rlock::RawRLock;
use std::cell::UnsafeCell;
use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

/// A value that one thread at a time may use, and that threads can wait for to change.
///
/// [`lock`](Monitor::lock) gives a guard, which stands for the value; to wait and to notify are
/// functions of the guard, so they cannot be called without the lock (COND-4).
///
/// # What is promised
/// As of a [`Condition`](crate::Condition): a notify is exact and goes to those first that have
/// waited longest; a wait returns because it was notified or its time was up, never for no reason;
/// a notify is not spent on a thread that goes away with a timeout; the lock is held whenever a wait
/// returns. What was waited for should be checked again: [`wait_while`](MonitorGuard::wait_while)
/// does.
///
/// A panic while the monitor is locked releases it; there is no poisoning. To lock it again in the
/// thread that holds it panics, as that could only wait for ever.
///
/// # Memory ordering
/// What happened before a guard was dropped, or gave the lock up in a wait, happens before the next
/// lock returns.
///
/// # Cost
/// 64 bytes beside the value, no allocation. Without contention lock and release cost what those of an
/// [`RLock`](crate::RLock) do. A notify without waiters is a load; one with waiters makes no system call:
/// whom it notifies is woken by the release that follows, when the lock is free.
///
/// # Signals and fork
/// Not for signal handlers: one may interrupt its own thread in the middle of a call, and then waits
/// for ever for the lock. In the child of a fork nobody waits. A monitor that another thread held
/// stays locked, unless it is made [as new](Monitor::at_fork_reinit).
///
/// ```
/// use threadbare::Monitor;
///
/// static JOBS: Monitor<Vec<u32>> = Monitor::new(Vec::new());
///
/// std::thread::scope(|s| {
///     s.spawn(|| {
///         let mut jobs = JOBS.lock();
///         jobs.wait_while(|jobs| jobs.is_empty());
///         assert_eq!(jobs.pop(), Some(1));
///     });
///     let mut jobs = JOBS.lock();
///     jobs.push(1);
///     jobs.notify_one();
/// });
/// ```
pub struct Monitor<T: ?Sized> {
    lock: RawRLock,
    changed: RawCondition,
    value: UnsafeCell<T>,
}

#[cfg(not(threadbare_model))]
const _: () = assert!(size_of::<Monitor<()>>() == 64); // as documented

// SAFETY: the value is lent to the owner of the lock only, one thread at a time.
unsafe impl<T: ?Sized + Send> Sync for Monitor<T> {}

impl<T> Monitor<T> {
    /// A monitor that holds `value`, unlocked.
    ///
    /// ```
    /// static COUNT: threadbare::Monitor<u32> = threadbare::Monitor::new(0);
    /// assert_eq!(*COUNT.lock(), 0);
    /// ```
    #[must_use]
    pub const fn new(value: T) -> Monitor<T> {
        Monitor {
            lock: RawRLock::new(),
            changed: RawCondition::new(),
            value: UnsafeCell::new(value),
        }
    }

    /// A monitor whose release always is a compare-and-swap, as
    /// [`RLock::symmetric`](crate::RLock::symmetric)'s.
    ///
    /// ```
    /// static COUNT: threadbare::Monitor<u32> = threadbare::Monitor::symmetric(0);
    /// assert_eq!(*COUNT.lock(), 0);
    /// ```
    #[must_use]
    pub const fn symmetric(value: T) -> Monitor<T> {
        Monitor {
            lock: RawRLock::symmetric(),
            changed: RawCondition::new(),
            value: UnsafeCell::new(value),
        }
    }

    /// The value. Nobody can hold the lock or wait.
    ///
    /// ```
    /// assert_eq!(threadbare::Monitor::new("value").into_inner(), "value");
    /// ```
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Monitor<T> {
    /// Takes the lock, waiting for it as long as it takes.
    ///
    /// # Panics
    /// If the calling thread holds it already.
    ///
    /// ```
    /// let monitor = threadbare::Monitor::new(vec![1]);
    /// monitor.lock().push(2);
    /// assert_eq!(*monitor.lock(), [1, 2]);
    /// ```
    #[doc(alias = "acquire")]
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> MonitorGuard<'_, T> {
        if !self.lock.attempt_free() {
            let taken = self.block(Limit::NONE);
            debug_assert_eq!(taken, Ok(()), "a wait without limit does not give up");
        }
        // SAFETY: taken just now.
        unsafe { MonitorGuard::new(self) }
    }

    /// Takes the lock if it is free. Never waits, never panics.
    ///
    /// ```
    /// let monitor = threadbare::Monitor::new(1);
    /// let guard = monitor.try_lock();
    /// assert!(guard.is_some() && monitor.try_lock().is_none());
    /// ```
    #[doc(alias = "try_acquire")]
    #[inline]
    pub fn try_lock(&self) -> Option<MonitorGuard<'_, T>> {
        let taken = self.lock.try_acquire_free();
        // SAFETY: taken just now.
        taken.then(|| unsafe { MonitorGuard::new(self) })
    }

    /// Takes the lock within `timeout`; `None` when the time is up. Zero makes one attempt.
    ///
    /// # Errors
    /// [`Error::TimeoutTooLarge`] if `timeout` exceeds [`TIMEOUT_MAX`](crate::TIMEOUT_MAX), also if
    /// the lock is free.
    ///
    /// # Panics
    /// If the calling thread holds it already, unless `timeout` is zero.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let monitor = threadbare::Monitor::new(1);
    /// assert!(monitor.lock_timeout(Duration::from_secs(1))?.is_some());
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<MonitorGuard<'_, T>>, Error> {
        let (attempt, try_acquire) = (|| self.attempt(), || self.lock.try_acquire_free());
        self.taken(|| {
            blocking::lock_within(timeout, attempt, try_acquire, |limit| self.block(limit))
        })
    }

    /// Takes the lock before `deadline`; `None` when the time is up. One attempt is made in any case.
    ///
    /// # Panics
    /// If the calling thread holds it already.
    ///
    /// ```
    /// use threadbare::{Deadline, Monitor};
    ///
    /// assert!(Monitor::new(1).lock_until(Deadline::now()).is_some());
    /// ```
    pub fn lock_until(&self, deadline: Deadline) -> Option<MonitorGuard<'_, T>> {
        let block = || self.block(Limit::until(deadline.0)).is_ok();
        let Ok(guard) = self.taken(|| Ok::<_, Infallible>(self.lock.attempt_free() || block()));
        guard
    }

    /// Takes the lock before `deadline`; `None` when the time is up. A signal handler that runs
    /// while the thread sleeps ends the wait, also one installed with `SA_RESTART`. One that runs
    /// just before it falls asleep is not noticed.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after a signal handler ran: the lock was not taken.
    ///
    /// # Panics
    /// If the calling thread holds it already.
    ///
    /// ```
    /// use threadbare::{Deadline, Monitor};
    ///
    /// assert!(Monitor::new(1).lock_interruptible(Deadline::NEVER)?.is_some());
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn lock_interruptible(
        &self,
        deadline: Deadline,
    ) -> Result<Option<MonitorGuard<'_, T>>, Error> {
        self.taken(|| {
            blocking::interruptible(deadline, || self.attempt(), |limit| self.block(limit))
        })
    }

    /// As [`lock_interruptible`](Monitor::lock_interruptible), but what ends the wait is `check`, by
    /// returning `true`: it is called before the thread sleeps, after each signal handler that ran,
    /// and every 50 ms, so no signal is missed. If it panics, the lock is not taken.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if `check` has returned `true`.
    ///
    /// # Panics
    /// If the calling thread holds it already.
    ///
    /// ```
    /// use threadbare::{Deadline, Monitor};
    ///
    /// assert!(Monitor::new(1).lock_checked(Deadline::NEVER, || true)?.is_some()); // it was free
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn lock_checked(
        &self,
        deadline: Deadline,
        check: impl FnMut() -> bool,
    ) -> Result<Option<MonitorGuard<'_, T>>, Error> {
        self.taken(|| {
            blocking::checked(
                deadline,
                check,
                || self.attempt(),
                |limit| self.block(limit),
                || {
                    let released = self.lock.release();
                    debug_assert_eq!(released, Ok(()), "it was taken just now");
                },
            )
        })
    }

    /// One attempt, as the forms of a blocking call want it.
    fn attempt(&self) -> Result<bool, Error> {
        Ok(self.lock.attempt_free())
    }

    /// Waits for the lock, after an attempt that failed.
    #[cold]
    #[track_caller]
    fn block(&self, limit: Limit) -> Result<(), GaveUp> {
        assert!(
            !self.lock.is_owned(),
            "a thread locked a monitor that it holds already"
        );
        let object = Object::new(ObjectKind::Monitor, self);
        let acquire = || self.lock.acquire_contended(limit);
        observe::blocking(object, acquire, Result::is_ok)
    }

    /// The guard, if `take` says that it has taken the lock.
    fn taken<E>(
        &self,
        take: impl FnOnce() -> Result<bool, E>,
    ) -> Result<Option<MonitorGuard<'_, T>>, E> {
        let has_it = take()?;
        // SAFETY: taken just now.
        Ok(has_it.then(|| unsafe { MonitorGuard::new(self) }))
    }

    /// Whether any thread holds the lock now. Gives no ordering for other memory.
    ///
    /// ```
    /// assert!(!threadbare::Monitor::new(1).is_locked());
    /// ```
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.lock.is_locked()
    }

    /// The value, without locking: nobody else has the monitor.
    ///
    /// ```
    /// let mut monitor = threadbare::Monitor::new(1);
    /// *monitor.get_mut() += 1;
    /// assert_eq!(monitor.into_inner(), 2);
    /// ```
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// Makes lock and condition as new: free, with nobody waiting (FORK-7). For the child of a fork,
    /// where a monitor that another thread held stays locked for ever else. The value is as that
    /// thread left it.
    ///
    /// # Safety
    /// No other thread uses the monitor during the call or is in the middle of using it, as is so in
    /// the child of a fork before it starts threads; and no guard of the calling thread is left.
    ///
    /// ```
    /// let monitor = threadbare::Monitor::new(1);
    /// std::mem::forget(monitor.lock());
    /// // SAFETY: the monitor belongs to this thread alone, and the guard is forgotten.
    /// unsafe { monitor.at_fork_reinit() };
    /// assert!(!monitor.is_locked());
    /// ```
    pub unsafe fn at_fork_reinit(&self) {
        // SAFETY: passed on to the caller.
        unsafe { self.changed.reinit() };
        // SAFETY: passed on to the caller.
        unsafe { self.lock.reinit() };
    }

    /// Whether a thread may be asleep on the lock. For tests that wait for that.
    #[doc(hidden)]
    #[must_use]
    pub fn has_waiters(&self) -> bool {
        self.lock.has_waiters()
    }
}

impl<T: Default> Default for Monitor<T> {
    fn default() -> Monitor<T> {
        Monitor::new(T::default())
    }
}

impl<T> From<T> for Monitor<T> {
    fn from(value: T) -> Monitor<T> {
        Monitor::new(value)
    }
}

/// Shows the value if the lock is free at the moment.
impl<T: ?Sized + fmt::Debug> fmt::Debug for Monitor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Monitor");
        match self.try_lock() {
            Some(guard) => shown.field("value", &&*guard),
            None => shown.field("value", &format_args!("<locked>")),
        };
        shown.finish()
    }
}

/// The value of a [`Monitor`], until it is dropped; and the way to wait and to notify.
///
/// It stays in the thread that took the lock.
///
/// ```compile_fail,E0277
/// let monitor = threadbare::Monitor::new(1);
/// let guard = monitor.lock();
/// std::thread::scope(|s| s.spawn(move || drop(guard)));
/// ```
#[must_use = "a guard that is not kept releases at once"]
pub struct MonitorGuard<'a, T: ?Sized> {
    monitor: &'a Monitor<T>,
    /// The lock is the thread's: the guard is neither sent to others nor shared with them. (The value
    /// may be.)
    of_this_thread: PhantomData<*const ()>,
}

impl<'a, T: ?Sized> MonitorGuard<'a, T> {
    /// # Safety
    /// The calling thread has taken the lock, and there is no guard for that yet.
    #[inline]
    unsafe fn new(monitor: &'a Monitor<T>) -> MonitorGuard<'a, T> {
        MonitorGuard {
            monitor,
            of_this_thread: PhantomData,
        }
    }

    /// Gives the lock up, waits until notified, takes the lock back.
    ///
    /// ```
    /// let state = threadbare::Monitor::new("before");
    /// let mut guard = state.lock();
    /// std::thread::scope(|s| {
    ///     s.spawn(|| {
    ///         let mut guard = state.lock(); // once the other waits
    ///         *guard = "after";
    ///         guard.notify_one();
    ///     });
    ///     guard.wait();
    /// });
    /// assert_eq!(*guard, "after");
    /// ```
    pub fn wait(&mut self) {
        let notified = self.wait_within(Limit::NONE);
        debug_assert_eq!(notified, Ok(()), "a wait without limit does not give up");
    }

    /// As [`wait`](MonitorGuard::wait), for `timeout` at most; whether it was notified. The lock is
    /// taken back in either case, however long that takes (TIME-9).
    ///
    /// # Errors
    /// [`Error::TimeoutTooLarge`] if `timeout` exceeds [`TIMEOUT_MAX`](crate::TIMEOUT_MAX).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let monitor = threadbare::Monitor::new(());
    /// assert_eq!(monitor.lock().wait_timeout(Duration::from_millis(1)), Ok(false));
    /// ```
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<bool, Error> {
        Ok(self.wait_until(Deadline::after(timeout)?))
    }

    /// As [`wait`](MonitorGuard::wait), until `deadline` at most; whether it was notified.
    ///
    /// ```
    /// use threadbare::{Deadline, Monitor};
    ///
    /// assert!(!Monitor::new(()).lock().wait_until(Deadline::now()));
    /// ```
    pub fn wait_until(&mut self, deadline: Deadline) -> bool {
        self.wait_within(Limit::until(deadline.0)).is_ok()
    }

    /// As [`wait_until`](MonitorGuard::wait_until), but a signal handler that runs while the thread
    /// sleeps ends the wait.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after a signal handler ran while the thread slept: the lock is held
    /// again and the thread no longer waits (SIG-3). If it was notified as well, that counts.
    ///
    /// ```
    /// use threadbare::{Deadline, Monitor};
    ///
    /// assert_eq!(Monitor::new(()).lock().wait_interruptible(Deadline::now()), Ok(false));
    /// ```
    pub fn wait_interruptible(&mut self, deadline: Deadline) -> Result<bool, Error> {
        blocking::outcome(self.wait_within(Limit::interruptible(deadline.0)))
    }

    /// As [`wait_interruptible`](MonitorGuard::wait_interruptible), but what ends the wait is `check`,
    /// by returning `true`: it is called before the thread sleeps, after each signal handler that
    /// ran, and every 50 ms, so no signal is missed (SIG-4). It runs without the lock, which is taken
    /// back before its panic, if it panics, goes on.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if `check` has returned `true`.
    ///
    /// ```
    /// use threadbare::{Deadline, Error, Monitor};
    ///
    /// let monitor = Monitor::new(());
    /// let waited = monitor.lock().wait_checked(Deadline::NEVER, || true);
    /// assert_eq!(waited, Err(Error::Interrupted));
    /// ```
    pub fn wait_checked(
        &mut self,
        deadline: Deadline,
        check: impl FnMut() -> bool,
    ) -> Result<bool, Error> {
        let wait = |check: &dyn Fn() -> bool| {
            blocking::outcome(self.wait_within(Limit::checked(deadline.0, check)))
        };
        blocking::with_check(check, wait, drop)
    }

    fn wait_within(&mut self, limit: Limit) -> Result<(), GaveUp> {
        let Monitor { lock, changed, .. } = self.monitor;
        let object = Object::new(ObjectKind::Monitor, self.monitor);
        // SAFETY: this thread owns the lock, as it has the guard, and the condition is used with
        // this lock only.
        let wait = || unsafe { changed.wait_owned(lock, limit) };
        observe::blocking(object, wait, |_| false)
    }

    /// Waits while `condition` is true of the value. It is called with the lock held, first before any
    /// wait, then after each notify.
    ///
    /// ```
    /// let jobs = threadbare::Monitor::new(vec![1]);
    /// let mut guard = jobs.lock();
    /// guard.wait_while(|jobs| jobs.is_empty());
    /// assert_eq!(guard.pop(), Some(1));
    /// ```
    pub fn wait_while(&mut self, condition: impl FnMut(&mut T) -> bool) {
        self.wait_until_while(Deadline::NEVER, condition);
    }

    /// As [`wait_while`](MonitorGuard::wait_while), for `timeout` in all; whether `condition` has
    /// become false.
    ///
    /// # Errors
    /// [`Error::TimeoutTooLarge`] if `timeout` exceeds [`TIMEOUT_MAX`](crate::TIMEOUT_MAX), before
    /// `condition` is called.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let jobs = threadbare::Monitor::new(Vec::<u32>::new());
    /// let mut guard = jobs.lock();
    /// assert!(!guard.wait_timeout_while(Duration::from_millis(1), |jobs| jobs.is_empty())?);
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn wait_timeout_while(
        &mut self,
        timeout: Duration,
        condition: impl FnMut(&mut T) -> bool,
    ) -> Result<bool, Error> {
        Ok(self.wait_until_while(Deadline::after(timeout)?, condition))
    }

    /// As [`wait_while`](MonitorGuard::wait_while), until `deadline`; whether `condition` has become
    /// false.
    ///
    /// ```
    /// use threadbare::{Deadline, Monitor};
    ///
    /// let number = Monitor::new(1);
    /// assert!(number.lock().wait_until_while(Deadline::now(), |number| *number == 0));
    /// ```
    pub fn wait_until_while(
        &mut self,
        deadline: Deadline,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> bool {
        let mut in_time = true;
        while condition(self) {
            if !in_time {
                return false;
            }
            in_time = self.wait_until(deadline);
        }
        true
    }

    /// Lets the thread that has waited longest return from its wait; whether there was one.
    ///
    /// ```
    /// assert!(!threadbare::Monitor::new(1).lock().notify_one());
    /// ```
    #[inline]
    pub fn notify_one(&self) -> bool {
        self.notify(1) == 1
    }

    /// Lets the `n` threads that have waited longest return from their wait, or all if there are
    /// fewer; returns how many. They return one after another as they get the lock, which the caller
    /// still holds.
    ///
    /// ```
    /// assert_eq!(threadbare::Monitor::new(1).lock().notify(3), 0); // nobody waits
    /// ```
    #[inline]
    pub fn notify(&self, n: usize) -> usize {
        let Monitor { lock, changed, .. } = self.monitor;
        // SAFETY: as in `wait_within`.
        let notified = unsafe { changed.notify_owned(lock, n) };
        observe::woken(ObjectKind::Monitor, self.monitor, notified)
    }

    /// [`notify`](MonitorGuard::notify) for all who wait now.
    ///
    /// ```
    /// assert_eq!(threadbare::Monitor::new(1).lock().notify_all(), 0);
    /// ```
    #[inline]
    pub fn notify_all(&self) -> usize {
        self.notify(usize::MAX)
    }

    /// How many threads wait. For tests that wait for that.
    #[doc(hidden)]
    #[must_use]
    pub fn waiting(&self) -> usize {
        // SAFETY: as in `wait_within`.
        unsafe { self.monitor.changed.waiting_owned() }
    }
}

impl<T: ?Sized> Deref for MonitorGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the value is lent to this thread, which owns the lock, and by the guard only.
        unsafe { &*self.monitor.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MonitorGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; the guard is borrowed for as long.
        unsafe { &mut *self.monitor.value.get() }
    }
}

impl<T: ?Sized> Drop for MonitorGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: this thread owns the lock, once, as it has the guard.
        unsafe { self.monitor.lock.release_all() };
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MonitorGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MonitorGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}
