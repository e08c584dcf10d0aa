//! Wait for a change of what a mutex holds, with its guard.

use crate::blocking;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::observe::{self, Object, ObjectKind};
use crate::raw::condition::{RawCondition, abort_on_unwind};
use crate::raw::park::{GaveUp, Limit};
use lock_api::{MutexGuard, RawMutex};
use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

/// A queue of threads that gave a mutex up to wait for a [`notify`](Condvar::notify_one).
///
/// A wait takes the guard of any mutex that is made of `lock_api`'s, such as this crate's
/// [`Mutex`](crate::Mutex), and several condition variables may go with one mutex. They are tied for
/// the time of a wait only: threads that wait with guards of different mutexes wait in one queue.
///
/// A [`Monitor`](crate::Monitor) is one mutex with one condition variable, and cheaper to notify.
///
/// # What is promised
/// - A notify wakes exactly as many threads as it says, those first that have waited longest, and
///   only threads that were waiting when it was called (COND-10 to COND-12).
/// - A wait returns because it was notified or because its time was up, never for no reason. A
///   notify is not spent on a thread that goes away with a timeout (COND-16).
/// - The mutex is locked whenever a wait returns.
///
/// Between the notify and the return of the wait other threads may take the mutex, so what was
/// waited for should be checked again: [`wait_while`](Condvar::wait_while) does.
///
/// A notify may come with the mutex held or without. For a thread that looks at the value and then
/// waits not to miss it, the value must change under the mutex.
///
/// # Memory ordering
/// That of the mutex. What happened before a notify happens before the return of the wait that it
/// ends.
///
/// # Cost
/// A notify without waiters is one acquire and release of a word, no system call. Nothing is
/// allocated; 24 bytes.
///
/// # Signals, fork, and the end
/// Not for signal handlers. In the child of a fork nobody waits, whoever did in the parent. The last
/// thread woken may still be inside a call of the notifier's, so the condition variable has to
/// outlive that call, as borrowing sees to.
///
/// ```
/// use threadbare::{Condvar, Mutex};
///
/// static JOBS: Mutex<Vec<u32>> = Mutex::new(Vec::new());
/// static ADDED: Condvar = Condvar::new();
///
/// std::thread::scope(|s| {
///     s.spawn(|| {
///         let mut jobs = JOBS.lock();
///         ADDED.wait_while(&mut jobs, |jobs| jobs.is_empty());
///         assert_eq!(jobs.pop(), Some(1));
///     });
///     JOBS.lock().push(1);
///     ADDED.notify_one();
/// });
/// ```
#[doc(alias("condition variable"))]
pub struct Condvar {
    raw: RawCondition,
}

#[cfg(not(threadbare_model))]
const _: () = assert!(size_of::<Condvar>() == 24); // as documented

impl Condvar {
    /// A condition variable for which nobody waits.
    ///
    /// ```
    /// static CHANGED: threadbare::Condvar = threadbare::Condvar::new();
    /// assert_eq!(CHANGED.notify_all(), 0);
    /// ```
    #[must_use]
    pub const fn new() -> Condvar {
        Condvar {
            raw: RawCondition::new(),
        }
    }

    /// Gives the mutex up, waits until notified, takes the mutex back.
    ///
    /// ```
    /// use threadbare::{Condvar, Mutex};
    ///
    /// let (state, changed) = (Mutex::new("before"), Condvar::new());
    /// let mut guard = state.lock();
    /// std::thread::scope(|s| {
    ///     s.spawn(|| {
    ///         *state.lock() = "after"; // once the other waits
    ///         changed.notify_one();
    ///     });
    ///     changed.wait(&mut guard);
    /// });
    /// assert_eq!(*guard, "after");
    /// ```
    pub fn wait<R: RawMutex, T: ?Sized>(&self, guard: &mut MutexGuard<'_, R, T>) {
        let notified = self.wait_within(guard, Limit::NONE);
        debug_assert_eq!(notified, Ok(()), "a wait without limit does not give up");
    }

    /// As [`wait`](Condvar::wait), for `timeout` at most; whether it was notified. The mutex is
    /// taken back in either case, however long that takes (TIME-9).
    ///
    /// # Errors
    /// [`Error::TimeoutTooLarge`] if `timeout` exceeds [`TIMEOUT_MAX`](crate::TIMEOUT_MAX).
    ///
    /// ```
    /// use std::time::Duration;
    /// use threadbare::{Condvar, Mutex};
    ///
    /// let (state, changed) = (Mutex::new(()), Condvar::new());
    /// let mut guard = state.lock();
    /// assert_eq!(changed.wait_timeout(&mut guard, Duration::from_millis(1)), Ok(false));
    /// ```
    pub fn wait_timeout<R: RawMutex, T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, R, T>,
        timeout: Duration,
    ) -> Result<bool, Error> {
        Ok(self.wait_until(guard, Deadline::after(timeout)?))
    }

    /// As [`wait`](Condvar::wait), until `deadline` at most; whether it was notified.
    ///
    /// ```
    /// use threadbare::{Condvar, Deadline, Mutex};
    ///
    /// let (state, changed) = (Mutex::new(()), Condvar::new());
    /// assert!(!changed.wait_until(&mut state.lock(), Deadline::now()));
    /// ```
    pub fn wait_until<R: RawMutex, T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, R, T>,
        deadline: Deadline,
    ) -> bool {
        self.wait_within(guard, Limit::until(deadline.0)).is_ok()
    }

    /// As [`wait_until`](Condvar::wait_until), but a signal handler that runs while the thread
    /// sleeps ends the wait.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after a signal handler ran while the thread slept: the mutex is locked
    /// again and the thread no longer waits (SIG-3). If it was notified as well, that counts.
    ///
    /// ```
    /// use threadbare::{Condvar, Deadline, Mutex};
    ///
    /// let (state, changed) = (Mutex::new(()), Condvar::new());
    /// let waited = changed.wait_interruptible(&mut state.lock(), Deadline::now());
    /// assert_eq!(waited, Ok(false));
    /// ```
    pub fn wait_interruptible<R: RawMutex, T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, R, T>,
        deadline: Deadline,
    ) -> Result<bool, Error> {
        blocking::outcome(self.wait_within(guard, Limit::interruptible(deadline.0)))
    }

    /// As [`wait_interruptible`](Condvar::wait_interruptible), but what ends the wait is `check`, by
    /// returning `true`: it is called before the thread sleeps, after each signal handler that ran,
    /// and every 50 ms, so no signal is missed (SIG-4). It runs without the mutex, which is taken
    /// back before its panic, if it panics, goes on.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if `check` has returned `true`.
    ///
    /// ```
    /// use threadbare::{Condvar, Deadline, Error, Mutex};
    ///
    /// let (state, changed) = (Mutex::new(()), Condvar::new());
    /// let waited = changed.wait_checked(&mut state.lock(), Deadline::NEVER, || true);
    /// assert_eq!(waited, Err(Error::Interrupted));
    /// ```
    pub fn wait_checked<R: RawMutex, T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, R, T>,
        deadline: Deadline,
        check: impl FnMut() -> bool,
    ) -> Result<bool, Error> {
        let wait = |check: &dyn Fn() -> bool| {
            blocking::outcome(self.wait_within(guard, Limit::checked(deadline.0, check)))
        };
        blocking::with_check(check, wait, drop)
    }

    fn wait_within<R: RawMutex, T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, R, T>,
        limit: Limit,
    ) -> Result<(), GaveUp> {
        let object = Object::new(ObjectKind::Condvar, self);
        // SAFETY: it is released below only, and locked again before this call ends.
        let raw = unsafe { MutexGuard::mutex(guard).raw() };
        let release = || {
            // SAFETY: the guard, which is not used meanwhile, says that the mutex is held here.
            unsafe { raw.unlock() };
            Ok::<(), Infallible>(())
        };
        let acquire = || abort_on_unwind(|| raw.lock());
        observe::blocking(
            object,
            || {
                let Ok(parked) = self.raw.wait_shared(release, acquire, limit);
                parked
            },
            |_| false,
        )
    }

    /// Waits while `condition` is true of what the mutex holds. It is called with the mutex locked,
    /// first before any wait, then after each notify.
    ///
    /// ```
    /// use threadbare::{Condvar, Mutex};
    ///
    /// let (jobs, added) = (Mutex::new(vec![1]), Condvar::new());
    /// let mut guard = jobs.lock();
    /// added.wait_while(&mut guard, |jobs| jobs.is_empty());
    /// assert_eq!(guard.pop(), Some(1));
    /// ```
    pub fn wait_while<R: RawMutex, T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, R, T>,
        condition: impl FnMut(&mut T) -> bool,
    ) {
        self.wait_until_while(guard, Deadline::NEVER, condition);
    }

    /// As [`wait_while`](Condvar::wait_while), for `timeout` in all; whether `condition` has become
    /// false.
    ///
    /// # Errors
    /// [`Error::TimeoutTooLarge`] if `timeout` exceeds [`TIMEOUT_MAX`](crate::TIMEOUT_MAX), before
    /// `condition` is called.
    ///
    /// ```
    /// use std::time::Duration;
    /// use threadbare::{Condvar, Mutex};
    ///
    /// let (jobs, added) = (Mutex::new(Vec::<u32>::new()), Condvar::new());
    /// let mut guard = jobs.lock();
    /// let patience = Duration::from_millis(1);
    /// assert!(!added.wait_timeout_while(&mut guard, patience, |jobs| jobs.is_empty())?);
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn wait_timeout_while<R: RawMutex, T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, R, T>,
        timeout: Duration,
        condition: impl FnMut(&mut T) -> bool,
    ) -> Result<bool, Error> {
        Ok(self.wait_until_while(guard, Deadline::after(timeout)?, condition))
    }

    /// As [`wait_while`](Condvar::wait_while), until `deadline`; whether `condition` has become
    /// false.
    ///
    /// ```
    /// use threadbare::{Condvar, Deadline, Mutex};
    ///
    /// let (number, changed) = (Mutex::new(1), Condvar::new());
    /// let mut guard = number.lock();
    /// assert!(changed.wait_until_while(&mut guard, Deadline::now(), |number| *number == 0));
    /// ```
    pub fn wait_until_while<R: RawMutex, T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, R, T>,
        deadline: Deadline,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> bool {
        let mut in_time = true;
        while condition(guard) {
            if !in_time {
                return false;
            }
            in_time = self.wait_until(guard, deadline);
        }
        true
    }

    /// Lets the thread that has waited longest return from its wait; whether there was one.
    ///
    /// ```
    /// assert!(!threadbare::Condvar::new().notify_one());
    /// ```
    #[inline]
    pub fn notify_one(&self) -> bool {
        self.notify(1) == 1
    }

    /// Lets the `n` threads that have waited longest return from their wait, or all if there are
    /// fewer; returns how many. They return one after another as they get their mutex.
    ///
    /// ```
    /// assert_eq!(threadbare::Condvar::new().notify(3), 0); // nobody waits, nothing is remembered
    /// ```
    #[inline]
    pub fn notify(&self, n: usize) -> usize {
        let notified = self.raw.notify_shared(n);
        observe::woken(ObjectKind::Condvar, self, notified)
    }

    /// [`notify`](Condvar::notify) for all who wait now.
    ///
    /// ```
    /// assert_eq!(threadbare::Condvar::new().notify_all(), 0);
    /// ```
    #[inline]
    pub fn notify_all(&self) -> usize {
        self.notify(usize::MAX)
    }

    /// How many threads wait. For tests that wait for that, and for `Debug`.
    #[doc(hidden)]
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.raw.waiting_shared()
    }
}

impl Default for Condvar {
    fn default() -> Condvar {
        Condvar::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Condvar");
        shown.field("waiting", &self.waiting()).finish()
    }
}
