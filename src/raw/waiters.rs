//! First-in first-out lists of waiting threads, and the word that each sleeps on.
//!
//! A [`Waiter`] lies on the stack of the thread that waits and is in at most one [`WaiterQueue`].
//! The queue itself does no locking: whoever uses it says what protects it.
//!
//! # A waiter's word
//!
//! ```text
//!   AWAKE  --its thread, about to sleep-->  ASLEEP
//!   AWAKE  --notify-->                      NOTIFIED
//!   ASLEEP --notify; a wake is owed-->      NOTIFIED  --requeued to a lock-->  REQUEUED
//! ```
//! Only the waiting thread goes to ASLEEP; all else is done by who took the waiter off its queue.
//! NOTIFIED and REQUEUED are final: each waiter is notified once at most (COND-16). A thread that
//! woke for nothing stays ASLEEP, which may cost a needless wake.
//!
//! # Ordering
//!
//! The word orders nothing by itself: a waiting thread takes a lock before it returns, and reads
//! what the notifier wrote after that. Where it returns without one (`is_notified` beside a list
//! lock of its own) the Release in `notify` pairs with the Acquire in `is_notified`.

use crate::primitive::{
    Address, AtomicU32, UnsafeCell, Word, const_unless_modelled, futex_requeue, futex_wake,
};
use crate::raw::lock::RawLock;
use crate::raw::park::{GaveUp, Limit, park};
use crate::raw::spin::Spin;
use std::marker::PhantomPinned;
use std::ptr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;
const NOTIFIED: u32 = 2;
const REQUEUED: u32 = 3;

/// One waiting thread.
#[derive(Debug)]
pub struct Waiter {
    state: AtomicU32,
    links: UnsafeCell<Links>,
    _on_a_stack: PhantomPinned,
}

/// A waiter's neighbours; touched only by who may touch its queue.
#[derive(Debug)]
struct Links {
    next: *const Waiter,
    previous: *const Waiter,
}

impl Waiter {
    /// A waiter in no queue.
    pub fn new() -> Waiter {
        let links = Links {
            next: ptr::null(),
            previous: ptr::null(),
        };
        Waiter {
            state: AtomicU32::new(AWAKE),
            links: UnsafeCell::new(links),
            _on_a_stack: PhantomPinned,
        }
    }

    /// Whether it has been notified.
    pub fn is_notified(&self) -> bool {
        // Acquire: pairs with the Release in `notify`.
        self.state.load(Acquire) >= NOTIFIED
    }

    /// Whether its thread may have been moved to sleep on the lock that it is to take.
    pub fn is_requeued(&self) -> bool {
        // A read-modify-write sees the latest mark. A load might not: a thread that was moved and
        // woken there has seen nothing of the one who moved it but the wake, which orders nothing.
        // Relaxed: the mark stands for itself.
        self.state.fetch_or(0, Relaxed) == REQUEUED
    }

    /// For its thread: sleeps until it is notified, within `limit`.
    pub fn park(&self, limit: Limit) -> Result<(), GaveUp> {
        let mut spin = Spin::yielding(limit);
        while !self.is_notified() {
            if spin.turn(false) {
                continue;
            }
            // Relaxed: announces the sleep, publishes nothing. On failure we were notified, which
            // `is_notified` reads with Acquire.
            let asleep = self.state.compare_exchange(AWAKE, ASLEEP, Relaxed, Relaxed);
            if asleep == Ok(AWAKE) || asleep == Err(ASLEEP) {
                park(&self.state, ASLEEP, limit)?;
            }
        }
        Ok(())
    }

    /// Notifies it; returns where to wake its thread if that may sleep.
    ///
    /// Without a lock that keeps its thread from returning, the waiter may be gone afterwards.
    ///
    /// # Safety
    /// `waiter` was valid up to this call, and the caller took it off its queue.
    pub unsafe fn notify(waiter: *const Waiter) -> Option<Address> {
        // SAFETY: the waiter is valid until its state says that it was notified.
        let state = unsafe { &(*waiter).state };
        let word = state.address(); // the waiter may be gone by the time we wake
        // Release: pairs with the Acquire in `is_notified`.
        let before = state.swap(NOTIFIED, Release);
        (before == ASLEEP).then_some(word)
    }

    /// Where its thread sleeps.
    ///
    /// # Safety
    /// `waiter` is valid.
    pub unsafe fn address(waiter: *const Waiter) -> Address {
        // SAFETY: valid, as the caller promises.
        unsafe { &(*waiter).state }.address()
    }

    /// Lets its thread, if it still sleeps, sleep on `lock` instead.
    ///
    /// # Safety
    /// The caller owns `lock`, which the thread has to take before it returns: that keeps the
    /// waiter, and so its address, in place.
    pub unsafe fn requeue_to(&self, lock: &RawLock) {
        // Relaxed: see `is_requeued`.
        self.state.store(REQUEUED, Relaxed);
        if futex_requeue(&self.state, REQUEUED, lock.word(), 1).is_err() {
            // The kernel does not do it: the thread comes to the lock by itself.
            futex_wake(self.state.address(), 1);
        }
    }
}

/// Waiters in the order in which they came.
#[derive(Debug)]
pub struct WaiterQueue {
    first: *const Waiter,
    last: *const Waiter,
}

// SAFETY: the pointers are to waiters on any threads' stacks; who may follow them is decided by
// what protects the queue, not by the thread that the queue happens to be used on.
unsafe impl Send for WaiterQueue {}

impl WaiterQueue {
    const_unless_modelled! {
        /// An empty queue.
        pub fn new() -> WaiterQueue {
            WaiterQueue { first: ptr::null(), last: ptr::null() }
        }
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    /// Appends `waiter`.
    ///
    /// # Safety
    /// `waiter` is in no queue, and stays valid and in place until it has been taken off.
    pub unsafe fn push(&mut self, waiter: *const Waiter) {
        let links = Links {
            next: ptr::null(),
            previous: self.last,
        };
        // SAFETY: valid, and by being in no queue nobody else's to touch.
        unsafe { Waiter::set_links(waiter, links) };
        if self.last.is_null() {
            self.first = waiter;
        } else {
            // SAFETY: queued waiters are valid.
            unsafe { Waiter::set_next(self.last, waiter) };
        }
        self.last = waiter;
    }

    /// Takes off the first waiter, the one that came before all others.
    pub fn pop(&mut self) -> Option<*const Waiter> {
        let first = self.first;
        if first.is_null() {
            return None;
        }
        // SAFETY: queued waiters are valid, and this one is in this queue.
        unsafe { self.remove(first) };
        Some(first)
    }

    /// Takes off `waiter`.
    ///
    /// # Safety
    /// `waiter` is in this queue.
    pub unsafe fn remove(&mut self, waiter: *const Waiter) {
        // SAFETY: queued waiters are valid.
        let Links { next, previous } = unsafe { Waiter::links(waiter) };
        if previous.is_null() {
            self.first = next;
        } else {
            // SAFETY: a neighbour is in the queue too.
            unsafe { Waiter::set_next(previous, next) };
        }
        if next.is_null() {
            self.last = previous;
        } else {
            // SAFETY: a neighbour is in the queue too.
            unsafe { Waiter::set_previous(next, previous) };
        }
    }

    /// How many wait now; walks the queue.
    pub fn len(&self) -> usize {
        let mut count = 0;
        let mut waiter = self.first;
        while !waiter.is_null() {
            count += 1;
            // SAFETY: queued waiters are valid.
            waiter = unsafe { Waiter::links(waiter) }.next;
        }
        count
    }
}

/// Access to a queued waiter's links. All of these are called by [`WaiterQueue`] only, whose user
/// has exclusive access to the queue and with it to the links of all that is in it.
impl Waiter {
    /// # Safety
    /// `waiter` is valid and the caller has exclusive access to its links.
    unsafe fn links(waiter: *const Waiter) -> Links {
        // SAFETY: valid, as the caller promises.
        let links = unsafe { &(*waiter).links };
        links.with(|links| {
            // SAFETY: nobody writes the links meanwhile, as the caller promises.
            let links = unsafe { &*links };
            Links {
                next: links.next,
                previous: links.previous,
            }
        })
    }

    /// # Safety
    /// As [`links`](Waiter::links).
    unsafe fn set_links(waiter: *const Waiter, new: Links) {
        // SAFETY: valid, as the caller promises.
        let links = unsafe { &(*waiter).links };
        // SAFETY: nobody else touches the links meanwhile, as the caller promises.
        links.with_mut(|links| unsafe { links.write(new) });
    }

    /// # Safety
    /// As [`links`](Waiter::links).
    unsafe fn set_next(waiter: *const Waiter, next: *const Waiter) {
        // SAFETY: passed on to the caller.
        let links = unsafe { Waiter::links(waiter) };
        // SAFETY: passed on to the caller.
        unsafe { Waiter::set_links(waiter, Links { next, ..links }) };
    }

    /// # Safety
    /// As [`links`](Waiter::links).
    unsafe fn set_previous(waiter: *const Waiter, previous: *const Waiter) {
        // SAFETY: passed on to the caller.
        let links = unsafe { Waiter::links(waiter) };
        // SAFETY: passed on to the caller.
        unsafe { Waiter::set_links(waiter, Links { previous, ..links }) };
    }
}

#[cfg(all(test, not(threadbare_loom)))]
mod tests {
    use super::*;

    #[test]
    fn cond_11_waiters_leave_in_the_order_in_which_they_came() {
        let waiters = [Waiter::new(), Waiter::new(), Waiter::new(), Waiter::new()];
        let mut queue = WaiterQueue::new();
        assert!(queue.is_empty() && queue.pop().is_none());
        for waiter in &waiters {
            // SAFETY: new, and alive until the end of this test.
            unsafe { queue.push(waiter) };
        }
        assert_eq!(queue.len(), 4);
        // SAFETY: it was pushed above.
        unsafe { queue.remove(&waiters[1]) };
        // SAFETY: it was pushed above.
        unsafe { queue.remove(&waiters[3]) };
        assert_eq!(queue.pop(), Some(&raw const waiters[0]));
        assert_eq!(queue.pop(), Some(&raw const waiters[2]));
        assert!(queue.pop().is_none() && queue.is_empty());
    }

    #[test]
    fn cond_16_a_waiter_is_notified_once_and_owes_a_wake_only_when_asleep() {
        let waiter = Waiter::new();
        assert!(!waiter.is_notified());
        // SAFETY: the waiter is alive and in no queue.
        assert_eq!(unsafe { Waiter::notify(&waiter) }, None);
        assert!(waiter.is_notified() && !waiter.is_requeued());
        assert_eq!(waiter.park(Limit::NONE), Ok(()));
    }
}
