//! Data of the crate's own behind one of its locks.
//!
//! A [`RawLock`] orders all who touch the value, and is all that does.
//!
//! # Fork
//!
//! Who is about to fork takes all such locks that lie in statics by [`hold`](Locked::hold), in one
//! order, so no other thread is in the middle of a change; afterwards parent and child let them go.
//! In the child WAITERS may stand for threads that are not there, which costs a needless wake
//! (`raw/lock.rs`).

use crate::primitive::{UnsafeCell, const_unless_modelled, need_fork_handlers};
use crate::raw::lock::RawLock;
use crate::raw::park::{GaveUp, Limit};

/// A value that one thread at a time may touch.
#[derive(Debug)]
pub struct Locked<T> {
    lock: RawLock,
    value: UnsafeCell<T>,
}

// SAFETY: the value is lent out under the lock only, to one thread at a time.
unsafe impl<T: Send> Sync for Locked<T> {}

impl<T> Locked<T> {
    const_unless_modelled! {
        /// A value that nobody has.
        pub fn new(value: T) -> Locked<T> {
            Locked {
                lock: RawLock::new(),
                value: UnsafeCell::new(value),
            }
        }
    }

    /// Calls `access` with the value, once it is free. `access` must not come back here.
    pub fn with<R>(&self, access: impl FnOnce(&mut T) -> R) -> R {
        match self.with_within(Limit::NONE, access) {
            Ok(result) => result,
            Err(_) => unreachable!("a wait without limit does not give up"),
        }
    }

    /// As [`with`](Locked::with), if the value gets free within `limit`.
    pub fn with_within<R>(
        &self,
        limit: Limit,
        access: impl FnOnce(&mut T) -> R,
    ) -> Result<R, GaveUp> {
        self.lock.acquire(limit)?;
        Ok(self.locked(access))
    }

    /// As [`with`](Locked::with), if the value is free now.
    pub fn try_with<R>(&self, access: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.lock.try_acquire().then(|| self.locked(access))
    }

    /// Takes the lock without lending the value; for those who need several locks at once.
    pub fn hold(&self) {
        let taken = self.lock.acquire(Limit::NONE);
        debug_assert_eq!(taken, Ok(()), "a wait without limit does not give up");
    }

    /// The value, for who holds the lock.
    ///
    /// # Safety
    /// The caller has taken the lock by [`hold`](Locked::hold), and uses one such reference at a
    /// time.
    #[expect(clippy::mut_from_ref, reason = "the lock makes the access exclusive")]
    pub unsafe fn held(&self) -> &mut T {
        let value = self.value.with_mut(|value| value);
        // SAFETY: the lock is the caller's, as is any other reference.
        unsafe { &mut *value }
    }

    /// Releases the lock.
    ///
    /// # Safety
    /// The caller has taken the lock by [`hold`](Locked::hold), in this process or, before a fork,
    /// in its parent.
    pub unsafe fn let_go(&self) {
        drop(Release(&self.lock));
    }

    /// Calls `access` and releases the lock, which the caller has taken, also on a panic.
    fn locked<R>(&self, access: impl FnOnce(&mut T) -> R) -> R {
        need_fork_handlers(); // most of these locks are in statics
        let _release = Release(&self.lock);
        // SAFETY: the lock is ours until `_release` is dropped, which is after the last use.
        self.value.with_mut(|value| access(unsafe { &mut *value }))
    }
}

struct Release<'a>(&'a RawLock);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        let released = self.0.release();
        debug_assert_eq!(released, Ok(()), "nobody else releases it");
    }
}
