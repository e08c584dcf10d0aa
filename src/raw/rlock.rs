//! A lock that its owner may take again (RLOCK).
//!
//! An [`OwnedLock`] with three fields beside it that belong to whoever holds it:
//!
//! ```text
//!   lock      the word that threads contend for
//!   owner     the holder's token; 0 when free
//!   depth     how often the owner took it, 0 when free
//!   pending   waiters of conditions on this lock, notified and to be woken
//! ```
//! # Invariants
//!
//! 1. `owner` is a thread's token only between its acquire and its last release. Tokens are never
//!    reused, so a thread that reads its own token there is the owner, and no other value it may
//!    read, however old, makes it one (RLOCK-7, RLOCK-11).
//! 2. `depth` and `pending` are touched by the owner only.
//! 3. A waiter in `pending` cannot return before it has taken this lock, so while the owner holds
//!    it the waiter is valid (COND-22).
//!
//! # Waking after the release
//!
//! A notify only marks waiters and moves those asleep to `pending`; the last release, also the one
//! inside a wait, wakes them once the lock is free, so they do not run into a held lock. It copies
//! at most [`WAKES`] addresses out before the lock is freed, since afterwards the waiters may be
//! gone. The rest is requeued to the lock's word before that, for the releases to come to wake.
//!
//! # Fork
//!
//! In the child of a fork, what was pending is not there, and `pending` is empty by itself
//! (`raw/waiters.rs`). PENDING may still be set: the last release then finds nobody to wake, and
//! clears it.
//!
//! # Ordering
//!
//! `owner` is Relaxed throughout, by invariant 1. The rest is ordered by `lock`.

use crate::primitive::{
    Address, AtomicU64, UnsafeCell, const_unless_modelled, futex_wake, thread_token,
};
use crate::raw::owned_lock::OwnedLock;
use crate::raw::park::{GaveUp, Limit};
use crate::raw::waiters::{Waiter, WaiterQueue};
use std::sync::atomic::Ordering::Relaxed;

const NOBODY: u64 = 0;

/// The most threads that one release wakes itself; the model checker gets by with fewer.
pub const WAKES: usize = if cfg!(threadbare_model) { 1 } else { 64 };

/// In `depth`: `pending` is not empty. Makes a plain comparison of the depth see both.
const PENDING: u32 = 1 << 31;

/// The most often that an owner may hold a lock.
pub const MAX_DEPTH: u32 = PENDING - 1;

/// The calling thread does not own the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOwner;

/// The owner holds the lock [`MAX_DEPTH`] times already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooDeep;

/// The protocol of `RLock`. In this order, so that what every acquire and release touches lies in
/// the first 20 bytes.
#[derive(Debug)]
#[repr(C)]
pub struct RawRLock {
    lock: OwnedLock,
    owner: AtomicU64,
    /// Times held, and the PENDING bit.
    depth: UnsafeCell<u32>,
    pending: UnsafeCell<WaiterQueue>,
}

#[cfg(not(threadbare_model))] // modelled fields are larger
const _: () = {
    use memoffset::offset_of;
    assert!(offset_of!(RawRLock, lock) == 0 && offset_of!(RawRLock, owner) == 8);
    assert!(offset_of!(RawRLock, depth) == 16 && offset_of!(RawRLock, pending) == 24);
};

// SAFETY: the cells are touched by the owner only (invariant 2), and the lock orders owners.
unsafe impl Sync for RawRLock {}
// SAFETY: nothing in it is tied to a thread but `owner`, which is a token and not a place.
unsafe impl Send for RawRLock {}

impl RawRLock {
    const_unless_modelled! {
        /// A free lock.
        pub fn new() -> RawRLock {
            RawRLock::with(OwnedLock::new())
        }
    }

    const_unless_modelled! {
        /// A free lock that the next owner may free; see [`OwnedLock::symmetric`].
        pub fn symmetric() -> RawRLock {
            RawRLock::with(OwnedLock::symmetric())
        }
    }

    const_unless_modelled! {
        /// A free lock on `lock`, which is free.
        pub fn with(lock: OwnedLock) -> RawRLock {
            RawRLock {
                lock,
                owner: AtomicU64::new(NOBODY),
                depth: UnsafeCell::new(0),
                pending: UnsafeCell::new(WaiterQueue::new()),
            }
        }
    }

    /// Whether the calling thread owns the lock.
    #[inline]
    pub fn is_owned(&self) -> bool {
        // Relaxed: invariant 1.
        self.owner.load(Relaxed) == thread_token()
    }

    /// The owner's token; 0 when free.
    pub fn owner(&self) -> u64 {
        // Relaxed: the answer may be old by the time it is used.
        self.owner.load(Relaxed)
    }

    /// Whether any thread owns the lock now.
    #[inline]
    pub fn is_locked(&self) -> bool {
        self.lock.is_locked()
    }

    /// Whether a thread may be asleep on the lock.
    pub fn has_waiters(&self) -> bool {
        self.lock.has_waiters()
    }

    /// How often the calling thread holds the lock.
    pub fn depth(&self) -> u32 {
        if !self.is_owned() {
            return 0;
        }
        // SAFETY: the caller is the owner (invariant 2).
        unsafe { self.with_depth(|depth| *depth & !PENDING) }
    }

    /// Takes the lock if it is the caller's, or free and not reserved; whether it did. For who waits
    /// otherwise.
    #[inline]
    pub fn attempt(&self) -> Result<bool, TooDeep> {
        self.acquire_again_or(OwnedLock::attempt)
    }

    /// Takes the lock if it is free or the caller's; whether it did. For who does not wait.
    #[inline]
    pub fn try_acquire(&self) -> Result<bool, TooDeep> {
        self.acquire_again_or(OwnedLock::try_acquire)
    }

    /// As [`attempt`](RawRLock::attempt), but not if it is the caller's.
    #[inline]
    pub fn attempt_free(&self) -> bool {
        self.acquire_by(OwnedLock::attempt, thread_token())
    }

    /// As [`try_acquire`](RawRLock::try_acquire), but not if it is the caller's.
    #[inline]
    pub fn try_acquire_free(&self) -> bool {
        self.acquire_by(OwnedLock::try_acquire, thread_token())
    }

    #[inline]
    fn acquire_again_or(&self, take: impl FnOnce(&OwnedLock) -> bool) -> Result<bool, TooDeep> {
        let me = thread_token();
        // Relaxed: invariant 1.
        if self.owner.load(Relaxed) == me {
            // SAFETY: the caller is the owner.
            return unsafe { self.acquire_again() }.map(|()| true);
        }
        Ok(self.acquire_by(take, me))
    }

    #[inline]
    fn acquire_by(&self, take: impl FnOnce(&OwnedLock) -> bool, me: u64) -> bool {
        let acquired = take(&self.lock);
        if acquired {
            // SAFETY: taken just now.
            unsafe { self.own(me, 1) };
        }
        acquired
    }

    /// Waits for the lock. To be called when an attempt has failed, so by a thread that does not
    /// own it.
    #[cold]
    pub fn acquire_contended(&self, limit: Limit) -> Result<(), GaveUp> {
        self.lock.acquire_contended(limit)?;
        // SAFETY: taken just now.
        unsafe { self.own(thread_token(), 1) };
        Ok(())
    }

    /// Takes the lock as often as [`release_all`](RawRLock::release_all) said, waiting for it
    /// without limit. `requeued` says that other threads may sleep on it unannounced.
    ///
    /// The caller does not own it.
    pub fn acquire_all(&self, depth: u32, requeued: bool) {
        if requeued {
            self.lock.acquire_expected();
        } else {
            let taken = self.lock.acquire(Limit::NONE);
            debug_assert_eq!(taken, Ok(()), "a wait without limit does not give up");
        }
        // SAFETY: taken just now.
        unsafe { self.own(thread_token(), depth) };
    }

    /// For who was requeued to the lock, and has taken it: it is waited for no more.
    pub fn expected_waiter_came(&self) {
        self.lock.expected_waiter_came();
    }

    /// How many threads count as waiting.
    #[cfg(threadbare_model)]
    pub fn counted(&self) -> u32 {
        self.lock.counted()
    }

    /// Notes the new owner.
    ///
    /// # Safety
    /// The calling thread, `me`, has just taken `lock`.
    #[inline]
    unsafe fn own(&self, me: u64, depth: u32) {
        // Relaxed: invariant 1.
        self.owner.store(me, Relaxed);
        // SAFETY: the caller has just become the owner (invariant 2).
        unsafe { self.with_depth(|held| *held = depth) };
    }

    /// # Safety
    /// The caller owns the lock.
    #[inline]
    unsafe fn acquire_again(&self) -> Result<(), TooDeep> {
        let deepen = |depth: &mut u32| {
            if *depth & !PENDING == MAX_DEPTH {
                return Err(TooDeep);
            }
            *depth += 1;
            Ok(())
        };
        // SAFETY: called by the owner (invariant 2).
        unsafe { self.with_depth(deepen) }
    }

    /// Undoes one acquire; the last one frees the lock.
    #[inline]
    pub fn release(&self) -> Result<(), NotOwner> {
        if !self.is_owned() {
            return Err(NotOwner);
        }
        // SAFETY: the caller is the owner (invariant 2).
        let depth = unsafe { self.with_depth(|depth| *depth) };
        match depth {
            // SAFETY: as above, and without PENDING nobody is pending.
            1 => unsafe { self.free() },
            // SAFETY: as above.
            last if last == 1 | PENDING => unsafe { self.free_and_wake() },
            // SAFETY: as above.
            _ => unsafe { self.with_depth(|depth| *depth -= 1) },
        }
        Ok(())
    }

    /// Frees the lock however often it is held; returns how often that was.
    ///
    /// # Safety
    /// The caller owns the lock.
    #[inline]
    pub unsafe fn release_all(&self) -> u32 {
        debug_assert!(self.is_owned());
        // SAFETY: the caller is the owner (invariant 2).
        let depth = unsafe { self.with_depth(|depth| *depth) };
        if depth & PENDING == 0 {
            // SAFETY: as above, and without PENDING nobody is pending.
            unsafe { self.free() };
        } else {
            // SAFETY: as above.
            unsafe { self.free_and_wake() };
        }
        depth & !PENDING
    }

    /// Gives the lock up.
    ///
    /// # Safety
    /// The caller owns the lock, and `pending` is empty.
    #[inline]
    unsafe fn free(&self) {
        // SAFETY: called by the owner (invariant 2).
        unsafe { self.with_depth(|depth| *depth = 0) };
        // Relaxed: invariant 1.
        self.owner.store(NOBODY, Relaxed);
        // SAFETY: the owner holds the lock, and its borrow keeps it there unless it is symmetric.
        unsafe { self.lock.release() };
    }

    /// Gives the lock up and wakes whom notifications have left in `pending`.
    ///
    /// # Safety
    /// The caller owns the lock.
    #[cold]
    unsafe fn free_and_wake(&self) {
        let mut asleep: [Option<Address>; WAKES] = [None; WAKES];
        for slot in &mut asleep {
            // SAFETY: called by the owner (invariant 2).
            let waiter = unsafe { self.with_pending(WaiterQueue::pop) };
            // SAFETY: invariant 3.
            *slot = waiter.map(|waiter| unsafe { Waiter::address(waiter) });
        }
        // SAFETY: called by the owner.
        unsafe { self.requeue_pending() };
        // SAFETY: called by the owner, and nobody is pending any more.
        unsafe { self.free() };
        // From here on the waiters may not be there, nor, if it is symmetric, this lock: addresses only.
        for word in asleep.into_iter().flatten() {
            futex_wake(word, 1);
        }
    }

    /// Lets all that is left in `pending` sleep on the lock itself.
    ///
    /// # Safety
    /// The caller owns the lock.
    unsafe fn requeue_pending(&self) {
        // SAFETY: called by the owner (invariant 2).
        while let Some(waiter) = unsafe { self.with_pending(WaiterQueue::pop) } {
            self.lock.expect_waiter();
            // SAFETY: invariant 3.
            let waiter = unsafe { &*waiter };
            // SAFETY: the lock is the caller's, and the waiter's thread needs it to return.
            unsafe { waiter.requeue_to(self.lock.as_raw()) };
        }
    }

    /// For the owner: leaves `waiter`, which was notified while it may sleep, to be woken by the
    /// last release.
    ///
    /// # Safety
    /// The caller owns the lock; the waiter is in no queue and does not return before its thread
    /// has taken this lock (invariant 3).
    pub unsafe fn wake_after_release(&self, waiter: *const Waiter) {
        // SAFETY: the caller is the owner (invariant 2).
        unsafe { self.with_depth(|depth| *depth |= PENDING) };
        // SAFETY: the waiter is in no queue, and valid until it is taken off, which is before the
        // lock is freed.
        let push = |pending: &mut WaiterQueue| unsafe { pending.push(waiter) };
        // SAFETY: the caller is the owner (invariant 2).
        unsafe { self.with_pending(push) };
    }

    /// Makes it as new: free, with nobody pending.
    ///
    /// # Safety
    /// No other thread uses the lock, and nobody is asleep on it or on a condition of it.
    pub unsafe fn reinit(&self) {
        // SAFETY: nobody else touches what belongs to the owner, as the caller promises.
        unsafe { self.with_depth(|depth| *depth = 0) };
        // SAFETY: as above.
        unsafe { self.with_pending(|pending| *pending = WaiterQueue::new()) };
        // Relaxed: nobody else is there.
        self.owner.store(NOBODY, Relaxed);
        // SAFETY: passed on to the caller.
        unsafe { self.lock.reinit() };
    }

    /// # Safety
    /// The calling thread holds `lock`, or nobody else is there.
    #[inline]
    unsafe fn with_depth<R>(&self, access: impl FnOnce(&mut u32) -> R) -> R {
        // SAFETY: exclusive, since only the owner gets here and `access` does not come back.
        self.depth.with_mut(|depth| access(unsafe { &mut *depth }))
    }

    /// # Safety
    /// As [`with_depth`](RawRLock::with_depth).
    unsafe fn with_pending<R>(&self, access: impl FnOnce(&mut WaiterQueue) -> R) -> R {
        // SAFETY: exclusive, since only the owner gets here and `access` does not come back.
        self.pending
            .with_mut(|pending| access(unsafe { &mut *pending }))
    }
}
