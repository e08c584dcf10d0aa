//! `Mutex`, `Condvar` and `Monitor` as the checks want them: without guards that are passed around.

use super::{Acquire, Unsynchronized};
use lock_api::RawMutex;
use std::mem::{ManuallyDrop, forget};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use threadbare::{Condvar, Deadline, Error, Monitor, MonitorGuard, Mutex, MutexExt, get_ident};

impl<T: Send> Acquire for Mutex<T> {
    fn acquire(&self) {
        forget(self.lock());
    }
    fn try_acquire(&self) -> bool {
        self.try_lock().map(forget).is_some()
    }
    fn acquire_timeout(&self, timeout: Duration) -> Result<bool, Error> {
        Ok(self.lock_timeout(timeout)?.map(forget).is_some())
    }
    fn acquire_until(&self, deadline: Deadline) -> bool {
        self.lock_until(deadline).map(forget).is_some()
    }
    fn acquire_interruptible(&self, deadline: Deadline) -> Result<bool, Error> {
        Ok(self.lock_interruptible(deadline)?.map(forget).is_some())
    }
    fn release(&self) -> Result<(), Error> {
        if !self.is_locked() {
            return Err(Error::ReleaseUnlocked);
        }
        // SAFETY: the checks release what they have taken, and the guards were forgotten.
        unsafe { self.force_unlock() };
        Ok(())
    }
}

/// A condition variable with the mutex that it is used with.
pub struct CondvarOn<'a, R: RawMutex> {
    pub mutex: &'a lock_api::Mutex<R, ()>,
    pub condvar: &'a Condvar,
}

impl<'a, R: RawMutex> CondvarOn<'a, R> {
    /// The guard that was forgotten, for who is inside.
    pub fn guard(&self) -> ManuallyDrop<lock_api::MutexGuard<'a, R, ()>> {
        assert!(self.mutex.is_locked());
        // SAFETY: the caller is inside, where guards are forgotten, and uses one at a time.
        ManuallyDrop::new(unsafe { self.mutex.make_guard_unchecked() })
    }
}

/// A monitor that keeps the guard of the thread that holds it.
pub struct Watched<'a> {
    pub monitor: &'a Monitor<()>,
    /// Touched by the holder only.
    guard: Unsynchronized<Option<MonitorGuard<'a, ()>>>,
    /// Who that is; 0 for nobody.
    holder: AtomicU64,
}

// SAFETY: a guard is put here and taken by its own thread only.
unsafe impl Sync for Watched<'_> {}

impl<'a> Watched<'a> {
    pub fn new(monitor: &'a Monitor<()>) -> Watched<'a> {
        Watched {
            monitor,
            guard: Unsynchronized::new(None),
            holder: AtomicU64::new(0),
        }
    }

    /// Keeps the guard of the calling thread.
    pub fn keep(&self, guard: MonitorGuard<'a, ()>) {
        // SAFETY: the caller has the lock, as the guard shows.
        let last = unsafe { &mut *self.guard.get() }.replace(guard);
        assert!(last.is_none(), "two threads are inside");
        self.holder.store(get_ident(), Relaxed);
    }

    /// The guard, if it is the calling thread's.
    fn try_kept(&self) -> Option<MonitorGuard<'a, ()>> {
        // Relaxed: what is read is the caller's own or somebody else's.
        if self.holder.load(Relaxed) != get_ident() {
            return None;
        }
        self.holder.store(0, Relaxed);
        // SAFETY: the caller is the holder.
        unsafe { &mut *self.guard.get() }.take()
    }

    /// The guard of the calling thread.
    #[track_caller]
    pub fn kept(&self) -> MonitorGuard<'a, ()> {
        self.try_kept().expect("the caller is inside")
    }

    /// Calls `operate` with the guard of the calling thread, which keeps it, after a panic too.
    #[track_caller]
    pub fn with<R>(&self, operate: impl FnOnce(&mut MonitorGuard<'a, ()>) -> R) -> R {
        struct Lent<'w, 'a>(&'w Watched<'a>, Option<MonitorGuard<'a, ()>>);
        impl Drop for Lent<'_, '_> {
            fn drop(&mut self) {
                let guard = self.1.take().expect("nobody else takes it");
                self.0.keep(guard);
            }
        }
        let mut lent = Lent(self, Some(self.kept()));
        operate(lent.1.as_mut().expect("it was put there just now"))
    }

    /// [`Monitor::at_fork_reinit`].
    ///
    /// # Safety
    /// As there; a guard that is kept is forgotten.
    pub unsafe fn reinit(&self) {
        // SAFETY: there is no other thread.
        forget(unsafe { &mut *self.guard.get() }.take());
        self.holder.store(0, Relaxed);
        // SAFETY: passed on to the caller.
        unsafe { self.monitor.at_fork_reinit() };
    }

    fn keep_if(&self, guard: Option<MonitorGuard<'a, ()>>) -> bool {
        guard.map(|guard| self.keep(guard)).is_some()
    }
}

impl Acquire for Watched<'_> {
    fn acquire(&self) {
        self.keep(self.monitor.lock());
    }
    fn try_acquire(&self) -> bool {
        self.keep_if(self.monitor.try_lock())
    }
    fn acquire_timeout(&self, timeout: Duration) -> Result<bool, Error> {
        Ok(self.keep_if(self.monitor.lock_timeout(timeout)?))
    }
    fn acquire_until(&self, deadline: Deadline) -> bool {
        self.keep_if(self.monitor.lock_until(deadline))
    }
    fn acquire_interruptible(&self, deadline: Deadline) -> Result<bool, Error> {
        Ok(self.keep_if(self.monitor.lock_interruptible(deadline)?))
    }
    fn release(&self) -> Result<(), Error> {
        self.try_kept().map(drop).ok_or(Error::NotOwner)
    }
}
