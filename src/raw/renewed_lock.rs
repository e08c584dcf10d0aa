//! A lock that no thread of another process holds (FORK-5).
//!
//! For a short piece of work on something that is not in a static, so that no fork can hold its
//! lock: a fork may cut a thread off in the middle of that. The thread that comes first in the child
//! frees the lock and puts right what it protects, while others wait for that (`renewal.rs`).

use crate::primitive::const_unless_modelled;
use crate::raw::lock::RawLock;
use crate::raw::park::Limit;
use crate::raw::renewal::Renewal;

/// See the [module](self).
#[derive(Debug)]
pub struct RenewedLock {
    lock: RawLock,
    /// Whether it is one of this process.
    renewal: Renewal,
}

impl RenewedLock {
    const_unless_modelled! {
        /// A free lock.
        pub fn new() -> RenewedLock {
            RenewedLock {
                lock: RawLock::new(),
                renewal: Renewal::new(),
            }
        }
    }

    /// Calls `access` with the lock held. In a process that was forked off since the last use `renew`
    /// is called before, by one thread, with what a vanished thread may have left half done.
    ///
    /// Neither of them unwinds or comes back here. (A fork by a signal handler in the middle of this
    /// would leave its child with the lock; fork(2) is not for handlers where there are threads.)
    #[inline]
    pub fn with<R>(&self, renew: impl FnOnce(), access: impl FnOnce() -> R) -> R {
        if !self.renewal.is_current() {
            self.renewal.renew(|| {
                // SAFETY: no thread of this process is past this point, since all wait for `renew`.
                unsafe { self.lock.reinit() };
                renew();
            });
        }
        let taken = self.lock.acquire(Limit::NONE);
        debug_assert_eq!(taken, Ok(()), "a wait without limit does not give up");
        let result = access();
        let released = self.lock.release();
        debug_assert_eq!(released, Ok(()), "nobody else releases it");
        result
    }

    /// Makes it as new.
    ///
    /// # Safety
    /// No other thread uses the lock.
    pub unsafe fn reinit(&self) {
        // SAFETY: passed on to the caller.
        unsafe { self.lock.reinit() };
        // SAFETY: passed on to the caller; the lock is as new.
        unsafe { self.renewal.reinit() };
    }
}
