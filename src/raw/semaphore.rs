//! A counter of permits that threads take and give (SEM, BSEM).
//!
//! # State word
//!
//! ```text
//!   bit 63 MANY | bits 32..63 waiters | bits 0..32 permits, at most MAX_PERMITS
//!
//!   acquire k:             permits - k, if there are as many
//!   wait:                  waiters + 1, and MANY if k > 1;  later
//!     take:                permits - k, waiters - 1, in one step
//!     give up:             waiters - 1
//!   release n:             permits + n; then wake min(n, waiters), or all under MANY
//! ```
//! Permits and waiters change in one word, so a release cannot miss a waiter: it sees either the
//! waiter counted, or has its permits seen by it. Threads sleep on the lower half while it has the
//! value with which they could not go on. A thread that was woken takes its permits or sleeps
//! again; one that gives up consumed no wake (SEM-8).
//!
//! Threads that want several permits at once may be woken in vain. That must not cost another its
//! wake, so while one waits (MANY) each release wakes all. MANY goes when the last waiter does.
//!
//! In the child of a fork, waiters that are not there stay counted, and MANY with them: a release
//! then asks the kernel to wake as many as are counted, needlessly, and so never fewer than there
//! are.
//!
//! # Ordering
//!
//! Giving permits (Release) pairs with taking them (Acquire): what happened before a `release` is
//! visible to who takes a permit that it gave (MEM-1). All writes are read-modify-writes, so they
//! continue each other's release sequences, whichever permit a thread takes.

use crate::primitive::{AtomicU64, Word, const_unless_modelled, futex_wake};
use crate::raw::park::{GaveUp, Limit, park};
use crate::raw::spin::Spin;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

const ONE_WAITER: u64 = 1 << 32;
const MANY: u64 = 1 << 63;

/// The most permits that a semaphore can hold.
pub const MAX_PERMITS: u32 = i32::MAX as u32;

/// The permits in `state`: its lower half.
const fn permits(state: u64) -> u32 {
    state as u32
}

/// The waiters in `state`.
const fn waiters(state: u64) -> u32 {
    ((state & !MANY) >> 32) as u32
}

/// `state` after `k` permits were taken, if it has as many.
const fn taken(state: u64, k: u32) -> Option<u64> {
    if permits(state) >= k {
        Some(state - k as u64)
    } else {
        None
    }
}

/// `state` after one of its waiters has left.
const fn left(state: u64) -> u64 {
    let state = state - ONE_WAITER;
    if waiters(state) == 0 {
        state & !MANY
    } else {
        state
    }
}

/// How many threads a release of `n` permits into `state` has to wake.
const fn wakes(state: u64, n: u32) -> u32 {
    if state & MANY != 0 || waiters(state) < n {
        waiters(state)
    } else {
        n
    }
}

/// More permits than the bound would be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AboveBound;

/// The protocol of `Semaphore` and `BoundedSemaphore`.
#[derive(Debug)]
#[repr(transparent)]
pub struct RawSemaphore {
    state: AtomicU64,
}

impl RawSemaphore {
    const_unless_modelled! {
        /// A semaphore with `permits` permits, at most [`MAX_PERMITS`].
        pub fn new(permits: u32) -> RawSemaphore {
            RawSemaphore { state: AtomicU64::new(permits as u64) }
        }
    }

    /// The permits that are there now.
    #[inline]
    pub fn value(&self) -> u32 {
        // Relaxed: the answer may be old by the time it is used.
        permits(self.state.load(Relaxed))
    }

    /// How many threads wait, or are about to.
    pub fn waiters(&self) -> u32 {
        // Relaxed: as in `value`.
        waiters(self.state.load(Relaxed))
    }

    /// Takes `k` permits if there are as many.
    #[inline]
    pub fn try_acquire(&self, k: u32) -> bool {
        // Relaxed: a first guess, which the exchange checks.
        let mut state = self.state.load(Relaxed);
        while let Some(new) = taken(state, k) {
            // Acquire: pairs with the Release in `release`.
            match self
                .state
                .compare_exchange_weak(state, new, Acquire, Relaxed)
            {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// Waits for `k` permits and takes them all at once. To be called when an attempt has failed.
    #[cold]
    pub fn acquire_contended(&self, k: u32, limit: Limit) -> Result<(), GaveUp> {
        if limit.deadline.has_passed() {
            return Err(GaveUp::TimedOut);
        }
        if self.spin(k, limit) {
            return Ok(());
        }
        let mut state = self.join_waiters(k);
        loop {
            state = match self.take_and_leave(k, state) {
                Ok(()) => return Ok(()),
                Err(now) => now,
            };
            if let Err(gave_up) = park(&self.state, permits(state), limit) {
                return self.take_or_leave(k, gave_up);
            }
            // Relaxed: a first guess, which the exchange in `take_and_leave` checks.
            state = self.state.load(Relaxed);
        }
    }

    /// Looks again for a while; whether it took the permits.
    fn spin(&self, k: u32, limit: Limit) -> bool {
        let mut spin = Spin::new(limit);
        while spin.turn(self.waiters() > 0) {
            if self.try_acquire(k) {
                return true;
            }
        }
        false
    }

    /// Counts the caller as a waiter; returns the new state.
    fn join_waiters(&self, k: u32) -> u64 {
        let many = if k > 1 { MANY } else { 0 };
        // Relaxed: publishes nothing.
        let mut state = self.state.load(Relaxed);
        loop {
            let new = (state + ONE_WAITER) | many;
            match self
                .state
                .compare_exchange_weak(state, new, Relaxed, Relaxed)
            {
                Ok(_) => return new,
                Err(now) => state = now,
            }
        }
    }

    /// For a waiter: takes its permits and stops waiting, in one step; else the state, in which
    /// there are too few.
    fn take_and_leave(&self, k: u32, mut state: u64) -> Result<(), u64> {
        while let Some(new) = taken(state, k) {
            // Acquire: pairs with the Release in `release`.
            match self
                .state
                .compare_exchange_weak(state, left(new), Acquire, Relaxed)
            {
                Ok(_) => return Ok(()),
                Err(now) => state = now,
            }
        }
        Err(state)
    }

    /// For a waiter whose time is up: takes its permits if they are there after all (SEM-4), else
    /// stops waiting.
    fn take_or_leave(&self, k: u32, gave_up: GaveUp) -> Result<(), GaveUp> {
        // Relaxed: a first guess, which the exchanges check.
        let mut state = self.state.load(Relaxed);
        loop {
            state = match self.take_and_leave(k, state) {
                Ok(()) => return Ok(()),
                Err(now) => now,
            };
            match self
                .state
                .compare_exchange_weak(state, left(state), Relaxed, Relaxed)
            {
                Ok(_) => return Err(gave_up),
                Err(now) => state = now,
            }
        }
    }

    /// Adds `n` permits, all or none, and lets as many waiters go on. Async-signal-safe.
    #[inline]
    pub fn release(&self, n: u32, bound: u32) -> Result<(), AboveBound> {
        let word = self.state.address(); // the semaphore may be gone by the time we wake
        // Relaxed: a first guess, which the exchange checks.
        let mut state = self.state.load(Relaxed);
        loop {
            if bound - permits(state) < n {
                return Err(AboveBound);
            }
            let new = state + u64::from(n);
            // Release: pairs with the Acquire in `try_acquire` and `take_and_leave`.
            match self
                .state
                .compare_exchange_weak(state, new, Release, Relaxed)
            {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        match wakes(state, n) {
            0 => {}
            count => drop(futex_wake(word, count)),
        }
        Ok(())
    }
}

#[cfg(all(test, not(threadbare_model)))]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_compares_the_permits() {
        use memoffset::span_of;
        assert_eq!(span_of!(RawSemaphore, state), 0..8);
        let semaphore = RawSemaphore::new(0);
        semaphore
            .state
            .store(u64::from(MAX_PERMITS) | MANY | ONE_WAITER, Relaxed);
        let word = semaphore.state.futex();
        assert_eq!(std::ptr::from_ref(word).cast(), &raw const semaphore.state);
        // A wait on any other value returns at once; one on this value would sleep.
        let past = Limit::until(crate::primitive::Deadline::now());
        assert_eq!(
            park(&semaphore.state, MAX_PERMITS, past),
            Err(GaveUp::TimedOut)
        );
        assert_eq!(park(&semaphore.state, 0, past), Ok(()));
    }

    #[test]
    fn every_field_is_read_and_changed_by_itself() {
        for many in [0, MANY] {
            for waiting in [1, 2, 0x7fff_ffff] {
                for value in [0, 1, MAX_PERMITS] {
                    let state = many | (u64::from(waiting) << 32) | u64::from(value);
                    assert_eq!((permits(state), waiters(state)), (value, waiting));
                    let after = taken(state, 1);
                    assert_eq!(after, (value > 0).then(|| state.wrapping_sub(1)));
                    assert_eq!(permits(left(state)), value);
                    assert_eq!(waiters(left(state)), waiting - 1);
                    assert_eq!(left(state) & MANY, if waiting == 1 { 0 } else { many });
                }
            }
        }
    }

    #[test]
    fn sem_5_a_release_wakes_one_waiter_for_each_permit() {
        let state = 3 * ONE_WAITER;
        assert_eq!([wakes(0, 5), wakes(state, 1), wakes(state, 5)], [0, 1, 3]);
        assert_eq!(wakes(state | MANY, 1), 3);
    }

    #[test]
    fn sem_6_and_bsem_2_a_release_above_the_bound_changes_nothing() {
        let semaphore = RawSemaphore::new(MAX_PERMITS - 1);
        assert_eq!(semaphore.release(2, MAX_PERMITS), Err(AboveBound));
        assert_eq!(semaphore.release(u32::MAX, MAX_PERMITS), Err(AboveBound));
        assert_eq!(semaphore.value(), MAX_PERMITS - 1);
        assert_eq!(semaphore.release(1, MAX_PERMITS), Ok(()));
        assert_eq!(semaphore.release(1, MAX_PERMITS), Err(AboveBound));
    }

    #[test]
    fn sem_8_several_permits_are_taken_all_or_none() {
        let semaphore = RawSemaphore::new(2);
        assert!(!semaphore.try_acquire(3) && semaphore.value() == 2);
        assert!(semaphore.try_acquire(2) && !semaphore.try_acquire(1));
    }
}
