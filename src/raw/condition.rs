//! A queue of threads that wait to be notified (COND).
//!
//! Each waiting thread lies in the queue as a [`Waiter`] on its own stack, with a word of its own
//! to sleep on, so a notify picks exactly those that came first (COND-10, COND-11) and a wake
//! cannot be stolen (COND-12). Nothing is remembered when nobody waits.
//!
//! What protects the queue depends on the lock that the condition is bound to, for life:
//!
//! - [`owned`](self): a lock that proves who owns it. Wait and notify both require to be its
//!   owner (COND-4), so the lock itself protects the queue. No step here costs an atomic access
//!   that the lock has not paid for.
//! - [`shared`]: any other lock. A plain lock is held by nobody in particular, and a `notify` may
//!   come from a thread that does not hold it, so the queue has a lock of its own.
//!
//! # Owned: who settles a waiter
//!
//! ```text
//!   wait:    queue, release all -> sleep -> take the lock back -> notified? yes: true
//!                                                                no: leave the queue, false
//!   notify:  take off the queue, mark notified, leave it to be woken by the last release
//! ```
//! All but the sleep happens under the lock. So a waiter is settled once: by the notify that takes
//! it off the queue, or by its own thread, which finds itself still queued (COND-16). Between its
//! deadline and the lock it can still be notified, and that counts. It stays valid while it is
//! queued or to be woken, because its thread takes the lock before it returns (COND-22).
//!
//! # Fork
//!
//! In the child of a fork nobody waits: the queue is empty by itself (`raw/waiters.rs`).

mod shared;

#[cfg(not(threadbare_model))]
pub(crate) use shared::abort_on_unwind;

use crate::primitive::{UnsafeCell, const_unless_modelled};
use crate::raw::park::{GaveUp, Limit};
use crate::raw::renewed_lock::RenewedLock;
use crate::raw::rlock::RawRLock;
use crate::raw::waiters::{Waiter, WaiterQueue};

/// The protocol of `Condition`.
#[derive(Debug)]
pub struct RawCondition {
    queue: UnsafeCell<WaiterQueue>,
    /// Protects `queue` in [`shared`] use.
    queue_lock: RenewedLock,
}

// SAFETY: `queue` is touched under the lock that protects it only, which orders its users.
unsafe impl Sync for RawCondition {}
// SAFETY: a condition that can be moved has no waiters, so its queue is empty.
unsafe impl Send for RawCondition {}

impl RawCondition {
    const_unless_modelled! {
        /// A condition for which nobody waits.
        pub fn new() -> RawCondition {
            RawCondition {
                queue: UnsafeCell::new(WaiterQueue::new()),
                queue_lock: RenewedLock::new(),
            }
        }
    }

    /// Makes it as new: nobody waits.
    ///
    /// # Safety
    /// No other thread uses the condition.
    pub unsafe fn reinit(&self) {
        // SAFETY: nobody else touches the queue, as the caller promises.
        unsafe { self.with_queue(|queue| *queue = WaiterQueue::new()) };
        // SAFETY: nobody else uses the lock.
        unsafe { self.queue_lock.reinit() };
    }

    /// Gives the lock up, waits to be notified within `limit`, takes the lock back however long
    /// that takes (TIME-9).
    ///
    /// # Safety
    /// The caller owns `lock`, and all uses of this condition are with this same lock, through
    /// the `_owned` functions.
    pub unsafe fn wait_owned(&self, lock: &RawRLock, limit: Limit) -> Result<(), GaveUp> {
        let waiter = Waiter::new();
        // SAFETY: the waiter is new, and it has left the queue when this call returns.
        let join = |queue: &mut WaiterQueue| unsafe { queue.push(&waiter) };
        // SAFETY: the caller owns the lock.
        unsafe { self.with_queue(join) };
        // SAFETY: the caller owns the lock.
        let depth = unsafe { lock.release_all() };
        let parked = waiter.park(limit);
        lock.acquire_all(depth, waiter.is_requeued());
        // It may have been marked since, when it was awake already.
        if waiter.was_requeued() {
            lock.expected_waiter_came();
        }
        if waiter.is_notified() {
            return Ok(());
        }
        // SAFETY: nobody took the waiter off, or it would have been notified.
        let leave = |queue: &mut WaiterQueue| unsafe { queue.remove(&waiter) };
        // SAFETY: the lock is ours again.
        unsafe { self.with_queue(leave) };
        parked
    }

    /// Notifies the `n` threads that have waited longest, or all if there are fewer; returns how
    /// many. They are woken by the last release of `lock`.
    ///
    /// # Safety
    /// As [`wait_owned`](RawCondition::wait_owned).
    #[inline]
    pub unsafe fn notify_owned(&self, lock: &RawRLock, n: usize) -> usize {
        // SAFETY: the caller owns the lock.
        if unsafe { self.with_queue(|queue| queue.is_empty()) } {
            return 0;
        }
        // SAFETY: passed on to the caller.
        unsafe { self.notify_waiting(lock, n) }
    }

    /// # Safety
    /// As [`wait_owned`](RawCondition::wait_owned).
    #[cold]
    unsafe fn notify_waiting(&self, lock: &RawRLock, n: usize) -> usize {
        let mut notified = 0;
        while notified < n {
            // SAFETY: the caller owns the lock.
            let Some(waiter) = (unsafe { self.with_queue(WaiterQueue::pop) }) else {
                break;
            };
            // SAFETY: it was queued, so it is valid, and we took it off.
            let asleep = unsafe { Waiter::notify(waiter) }.is_some();
            if asleep {
                // SAFETY: the caller owns the lock, which the waiter's thread needs to return.
                unsafe { lock.wake_after_release(waiter) };
            }
            notified += 1;
        }
        notified
    }

    /// For the owner of the lock: how many threads wait.
    ///
    /// # Safety
    /// As [`wait_owned`](RawCondition::wait_owned).
    pub unsafe fn waiting_owned(&self) -> usize {
        // SAFETY: the caller owns the lock.
        unsafe { self.with_queue(|queue| queue.len()) }
    }

    /// Access to the queue.
    ///
    /// # Safety
    /// The caller holds what protects the queue, or nobody else is there; `access` does not come back here.
    #[inline]
    unsafe fn with_queue<R>(&self, access: impl FnOnce(&mut WaiterQueue) -> R) -> R {
        // SAFETY: exclusive, since only the holder of what protects the queue gets here.
        self.queue.with_mut(|queue| access(unsafe { &mut *queue }))
    }
}
