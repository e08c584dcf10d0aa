//! Conditions on a lock that does not prove who owns it.
//!
//! ```text
//!   wait:    queue* -> release -> sleep -> notified? yes: true
//!                                         no: leave the queue*, false    -> take the lock back
//!   notify:  take off the queue*, mark notified; wake
//! ```
//! The steps with a star are made under `queue_lock`, which nobody holds while taking another
//! lock. A waiter is settled under it: notify takes it off the queue there, and a thread that gives
//! up looks there whether that has happened (COND-16). The mark is the notifier's last access: a
//! waiter that sees it may return and take its memory along, so wakes use the address (COND-22).
//!
//! The condition itself has to outlive the notifier's call: it gives `queue_lock` back after a
//! waiter was notified.
//!
//! # Fork
//!
//! A thread that vanished in a fork may have held `queue_lock`, in the middle of a change to the
//! queue. The lock frees itself then (`raw/renewed_lock.rs`), and the queue is another process's and
//! so empty.

use super::RawCondition;
use crate::primitive::{Address, futex_wake};
use crate::raw::park::{GaveUp, Limit};
use crate::raw::waiters::{Waiter, WaiterQueue};

/// The most wakes that are put off until the queue's lock is free again.
const WAKES: usize = if cfg!(threadbare_model) { 1 } else { 64 };

impl RawCondition {
    /// Calls `release`, waits to be notified within `limit`, calls `acquire`.
    ///
    /// # Errors
    /// `Err` of the outer result is that of `release`: then nothing was waited for and `acquire`
    /// was not called.
    pub fn wait_shared<E>(
        &self,
        release: impl FnOnce() -> Result<(), E>,
        acquire: impl FnOnce(),
        limit: Limit,
    ) -> Result<Result<(), GaveUp>, E> {
        let waiter = Waiter::new();
        // SAFETY: the waiter is new, and leaves the queue before this call returns: a waiter that
        // was notified has been taken off, and `leave` takes off one that was not.
        self.locked(|queue| unsafe { queue.push(&waiter) });
        if let Err(error) = abort_on_unwind(release) {
            if !self.leave(&waiter) {
                self.notify_shared(1); // what reached us was meant for one that waits
            }
            return Err(error);
        }
        let mut parked = waiter.park(limit);
        if parked.is_err() && !self.leave(&waiter) {
            parked = Ok(()); // notified after all
        }
        acquire();
        Ok(parked)
    }

    /// Takes `waiter` off the queue, unless it was notified; whether it did.
    fn leave(&self, waiter: &Waiter) -> bool {
        self.locked(|queue| {
            let queued = !waiter.is_notified();
            if queued {
                // SAFETY: pushed by `wait_shared`, and only a notify takes others' waiters off.
                unsafe { queue.remove(waiter) };
            }
            queued
        })
    }

    /// Notifies and wakes the `n` threads that have waited longest, or all if there are fewer;
    /// returns how many.
    #[inline]
    pub fn notify_shared(&self, n: usize) -> usize {
        if self.locked(|queue| queue.is_empty()) {
            0
        } else {
            self.notify_queued(n)
        }
    }

    #[cold]
    fn notify_queued(&self, n: usize) -> usize {
        let mut asleep: [Option<Address>; WAKES] = [None; WAKES];
        let mut free = asleep.iter_mut();
        let notified = self.locked(|queue| {
            let mut notified = 0;
            while notified < n {
                let Some(waiter) = queue.pop() else {
                    break;
                };
                // SAFETY: it was queued, so it is valid up to here, and it was taken off.
                if let Some(word) = unsafe { Waiter::notify(waiter) } {
                    match free.next() {
                        Some(slot) => *slot = Some(word),
                        None => drop(futex_wake(word, 1)),
                    }
                }
                notified += 1;
            }
            notified
        });
        for word in asleep.into_iter().flatten() {
            futex_wake(word, 1);
        }
        notified
    }

    /// How many threads wait.
    pub fn waiting_shared(&self) -> usize {
        self.locked(|queue| queue.len())
    }

    fn locked<R>(&self, access: impl FnOnce(&mut WaiterQueue) -> R) -> R {
        // SAFETY: the queue is touched under the lock, and by no vanished thread: in another process it
        // is empty.
        self.queue_lock
            .with(|| (), || unsafe { self.with_queue(access) })
    }
}

/// Calls `operate`, an operation of a user's lock. A panic in there ends the process: it would leave
/// a waiter queued on a stack that is gone, or a guard of a lock that nobody holds.
pub(crate) fn abort_on_unwind<R>(operate: impl FnOnce() -> R) -> R {
    struct Abort;
    impl Drop for Abort {
        fn drop(&mut self) {
            std::process::abort();
        }
    }
    let abort = Abort;
    let result = operate();
    std::mem::forget(abort);
    result
}
