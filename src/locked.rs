//! Data of the crate's own behind one of its locks.

use crate::raw::lock::RawLock;
use crate::raw::park::{GaveUp, Limit};
use crate::thread;
use std::cell::UnsafeCell;

/// A value that one thread at a time may touch.
#[derive(Debug)]
pub(crate) struct Locked<T> {
    lock: RawLock,
    value: UnsafeCell<T>,
}

// SAFETY: the value is lent out under the lock only, to one thread at a time.
unsafe impl<T: Send> Sync for Locked<T> {}

impl<T> Locked<T> {
    pub(crate) const fn new(value: T) -> Locked<T> {
        Locked {
            lock: RawLock::new(),
            value: UnsafeCell::new(value),
        }
    }

    /// Calls `access` with the value, once it is free. `access` must not come back here.
    pub(crate) fn with<R>(&self, access: impl FnOnce(&mut T) -> R) -> R {
        match self.with_within(Limit::NONE, access) {
            Ok(result) => result,
            Err(_) => unreachable!("a wait without limit does not give up"),
        }
    }

    /// As [`with`](Locked::with), if the value gets free within `limit`.
    pub(crate) fn with_within<R>(
        &self,
        limit: Limit,
        access: impl FnOnce(&mut T) -> R,
    ) -> Result<R, GaveUp> {
        self.lock.acquire(limit)?;
        Ok(self.locked(access))
    }

    /// As [`with`](Locked::with), if the value is free now.
    pub(crate) fn try_with<R>(&self, access: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.lock.try_acquire().then(|| self.locked(access))
    }

    /// Takes the lock without lending the value; for those who need several locks at once.
    pub(crate) fn hold(&self) {
        let taken = self.lock.acquire(Limit::NONE);
        debug_assert_eq!(taken, Ok(()), "a wait without limit does not give up");
    }

    /// The value, for who holds the lock.
    ///
    /// # Safety
    /// The caller has taken the lock by [`hold`](Locked::hold), and uses one such reference at a
    /// time.
    #[expect(clippy::mut_from_ref, reason = "the lock makes the access exclusive")]
    pub(crate) unsafe fn held(&self) -> &mut T {
        // SAFETY: the lock is the caller's, as is any other reference.
        unsafe { &mut *self.value.get() }
    }

    /// Releases the lock.
    ///
    /// # Safety
    /// The caller has taken the lock by [`hold`](Locked::hold), in this process or, before a fork,
    /// in its parent.
    pub(crate) unsafe fn let_go(&self) {
        drop(Release(&self.lock));
    }

    /// Calls `access` and releases the lock, which the caller has taken, also on a panic.
    fn locked<R>(&self, access: impl FnOnce(&mut T) -> R) -> R {
        thread::need_fork_handlers(); // most of these locks are in statics
        let _release = Release(&self.lock);
        // SAFETY: the lock is ours until `_release` is dropped, which is after the last use.
        access(unsafe { &mut *self.value.get() })
    }
}

struct Release<'a>(&'a RawLock);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        let released = self.0.release();
        debug_assert_eq!(released, Ok(()), "nobody else releases it");
    }
}
