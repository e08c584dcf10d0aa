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
//! # Fork
//!
//! In the child of a fork, who waited in the parent is not there, and the stacks that the waiters
//! lay on are others' to use. So a queue carries the generation of the process that filled it, and
//! is empty in any other: no waiter in it is touched. Whatever of the queue a vanished thread has
//! written, half of a push included, that generation is an older one.
//!
//! # Ordering
//!
//! The word orders nothing by itself: a waiting thread takes a lock before it returns, and reads
//! what the notifier wrote after that. Where it returns without one (`is_notified` beside a list
//! lock of its own) the Release in `notify` pairs with the Acquire in `is_notified`.

use crate::primitive::{
    Address, AtomicU32, UnsafeCell, Word, const_unless_modelled, fork_generation, futex_requeue,
    futex_wake,
};
use crate::raw::fairness::NEWCOMER;
use crate::raw::lock::RawLock;
use crate::raw::park::{GaveUp, Limit, park_ranked};
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

/// A waiter's place in a queue; touched only by who may touch that.
#[derive(Debug)]
struct Links {
    /// Null after the last one.
    next: *const Waiter,
    /// For the first one, the last.
    previous: *const Waiter,
    /// That of the process in which it was queued.
    generation: u32,
}

impl Waiter {
    /// A waiter in no queue.
    pub fn new() -> Waiter {
        let links = Links {
            next: ptr::null(),
            previous: ptr::null(),
            generation: 0,
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

    /// Whether it was marked as one that is moved, for who has taken the lock since it was notified.
    pub fn was_requeued(&self) -> bool {
        // Relaxed: the lock orders this behind the mark, which is made by a holder of it.
        self.state.load(Relaxed) == REQUEUED
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
                // A newcomer on the lock, should it be moved there.
                park_ranked(&self.state, ASLEEP, limit, || NEWCOMER)?;
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
    /// That of the process in which the queue was filled; means nothing if `first` is null.
    generation: u32,
}

#[cfg(not(threadbare_model))]
const _: () = assert!(size_of::<WaiterQueue>() == 16); // the public types say how large they are

// SAFETY: the pointer is to waiters on any threads' stacks; who may follow it is decided by what
// protects the queue, not by the thread that the queue happens to be used on.
unsafe impl Send for WaiterQueue {}

impl WaiterQueue {
    const_unless_modelled! {
        /// An empty queue.
        pub fn new() -> WaiterQueue {
            WaiterQueue { first: ptr::null(), generation: 0 }
        }
    }

    /// Whether nobody waits. Where nobody has waited, a load.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.first.is_null() || self.generation != fork_generation()
    }

    /// Appends `waiter`.
    ///
    /// # Safety
    /// `waiter` is in no queue, and stays valid and in place until it has been taken off.
    pub unsafe fn push(&mut self, waiter: *const Waiter) {
        let generation = fork_generation();
        if self.is_empty() {
            let alone = Links {
                next: ptr::null(),
                previous: waiter,
                generation,
            };
            // SAFETY: valid, and by being in no queue nobody else's to touch.
            unsafe { Waiter::set_links(waiter, alone) };
            self.generation = generation;
            self.first = waiter;
            return;
        }
        // SAFETY: queued waiters are valid.
        let last = unsafe { Waiter::links(self.first) }.previous;
        let links = Links {
            next: ptr::null(),
            previous: last,
            generation,
        };
        // SAFETY: valid, and by being in no queue nobody else's to touch.
        unsafe { Waiter::set_links(waiter, links) };
        // SAFETY: queued waiters are valid.
        unsafe { Waiter::set_next(last, waiter) };
        // SAFETY: queued waiters are valid.
        unsafe { Waiter::set_previous(self.first, waiter) };
    }

    /// Takes off the first waiter, the one that came before all others.
    pub fn pop(&mut self) -> Option<*const Waiter> {
        if self.is_empty() {
            return None;
        }
        let first = self.first;
        // SAFETY: queued waiters are valid, and this one is in this queue.
        unsafe { self.remove(first) };
        Some(first)
    }

    /// Takes off `waiter`.
    ///
    /// # Safety
    /// `waiter` is in this queue, or was when a fork left the calling thread alone: one that forked
    /// in a signal handler while it waited.
    pub unsafe fn remove(&mut self, waiter: *const Waiter) {
        // SAFETY: valid, as the caller promises.
        let links = unsafe { Waiter::links(waiter) };
        if links.generation != fork_generation() {
            return; // its neighbours are not there any more, and it is in no queue that counts
        }
        let Links { next, previous, .. } = links;
        if waiter == self.first {
            self.first = next;
        } else {
            // SAFETY: a neighbour is in the queue too.
            unsafe { Waiter::set_next(previous, next) };
        }
        // Who has it for its previous one: the next, or the first if it was the last.
        let follower = if next.is_null() { self.first } else { next };
        if !follower.is_null() {
            // SAFETY: a neighbour is in the queue too.
            unsafe { Waiter::set_previous(follower, previous) };
        }
    }

    /// How many wait now; walks the queue.
    pub fn len(&self) -> usize {
        if self.is_empty() {
            return 0;
        }
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
                generation: links.generation,
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

#[cfg(all(test, not(threadbare_model)))]
mod tests {
    use super::*;
    use crate::primitive::{AtomicPtr, futex_wake_ranked};
    use crate::raw::fairness::tests::{OLDER, sleeps};
    use crate::raw::owned_lock::tests::until;

    #[test]
    fn lock_11_who_is_moved_to_a_lock_is_a_newcomer_there() {
        let (lock, place) = (RawLock::new(), AtomicPtr::new(ptr::null_mut()));
        assert!(lock.try_acquire());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let waiter = Waiter::new();
                // Release: pairs with the Acquire below.
                place.store((&raw const waiter).cast_mut(), Release);
                assert_eq!(waiter.park(Limit::NONE), Ok(()));
                lock.acquire_asleep(Limit::NONE).unwrap();
            });
            until(|| !place.load(Acquire).is_null());
            // SAFETY: it stays until its thread has the lock, which is this one's.
            let waiter = unsafe { &*place.load(Acquire) };
            until(|| waiter.state.load(Relaxed) == ASLEEP && sleeps(&waiter.state));
            // SAFETY: it is valid, and in no queue.
            assert!(unsafe { Waiter::notify(waiter) }.is_some());
            lock.announce_waiter();
            // SAFETY: the lock is this thread's, and the other takes it before its waiter is gone.
            unsafe { waiter.requeue_to(&lock) };
            assert!(sleeps(lock.word()));
            let is_older = futex_wake_ranked(lock.word().address(), 1, OLDER) == 1;
            lock.release().unwrap();
            assert!(!is_older);
        });
    }

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
    fn cond_11_any_waiter_may_leave_and_the_others_keep_their_order() {
        for count in 1..=4 {
            for leaves in 0..count {
                let waiters: Vec<_> = (0..count).map(|_| Waiter::new()).collect();
                let mut queue = WaiterQueue::new();
                for waiter in &waiters {
                    // SAFETY: new, and alive until the queue is gone.
                    unsafe { queue.push(waiter) };
                }
                // SAFETY: it was pushed above.
                unsafe { queue.remove(&waiters[leaves]) };
                let late = Waiter::new();
                // SAFETY: new, and alive until the queue has been emptied.
                unsafe { queue.push(&late) };
                let mut expected: Vec<_> = waiters.iter().map(ptr::from_ref).collect();
                expected.remove(leaves);
                expected.push(&late);
                assert_eq!(queue.len(), count);
                let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
                assert_eq!(order, expected);
            }
        }
    }

    #[test]
    fn fork_5_a_queue_that_another_process_filled_is_empty() {
        let (gone, waiter) = (Waiter::new(), Waiter::new());
        let mut queue = WaiterQueue::new();
        let leave_behind = |queue: &mut WaiterQueue| {
            // Where it points to was a waiter in another process.
            queue.first = ptr::without_provenance(8);
            queue.generation = fork_generation().wrapping_sub(1);
        };
        leave_behind(&mut queue);
        assert!(queue.is_empty() && queue.pop().is_none());
        assert_eq!(queue.len(), 0);
        // SAFETY: new, and alive until the end of this test.
        unsafe { queue.push(&waiter) };
        assert_eq!(queue.len(), 1);
        // The waiter of a thread that forked while it waited.
        let nowhere = Links {
            next: ptr::without_provenance(8),
            previous: ptr::without_provenance(8),
            generation: fork_generation().wrapping_sub(1),
        };
        // SAFETY: it is in no queue.
        unsafe { Waiter::set_links(&gone, nowhere) };
        // SAFETY: it is valid, and as one that a fork left behind.
        unsafe { queue.remove(&gone) };
        assert_eq!(queue.pop(), Some(&raw const waiter));
        assert!(queue.is_empty());
        leave_behind(&mut queue);
        // SAFETY: as above.
        unsafe { queue.remove(&gone) };
        assert!(queue.is_empty());
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
