//! One bit that one thread sets at a time (LOCK).
//!
//! # State word
//!
//! ```text
//!   bit 2 RESERVED | bit 1 WAITERS | bit 0 LOCKED
//!
//!   UNLOCKED             --acquire-->                  LOCKED
//!   LOCKED               --a waiter announces itself--> LOCKED | WAITERS
//!   UNLOCKED or RESERVED --acquire, having slept-->     LOCKED | WAITERS
//!   LOCKED               --release-->                  UNLOCKED
//!   LOCKED | WAITERS     --release, wake one-->        UNLOCKED
//!   LOCKED | WAITERS     --release, wake one, about once a millisecond--> RESERVED
//! ```
//! Other words do not occur. WAITERS may be set for nobody (a needless wake). It is clear over a sleeper
//! only while a wake is on its way to some thread that has slept, or for a moment at most while the lock
//! is RESERVED (see below); that thread takes the lock with WAITERS set or sets it again before it
//! sleeps, because it cannot know whether others sleep too. One that gives up after its wait consumed no
//! wake, so it owes nobody one (LOCK-12).
//!
//! # Fairness
//!
//! A newcomer may take the lock before the woken thread does (LOCK-11), but not if it is RESERVED: that
//! is free, for threads that have slept. A newcomer that would wait then sleeps for [`RESERVATION`] at
//! most, or until it is woken, and goes on as one that has slept. So nobody sleeps for long on a lock that
//! is free; and who makes one attempt only, or the last one before it gives up, takes it, for nobody might
//! be left for whom it is reserved. (So may one whose look saw it locked still, at that moment.)
//!
//! WAITERS may stand for nobody, and then the lock would be kept for nobody. So the release first asks the
//! kernel whether anyone sleeps, by a requeue to where they sleep already, which counts them and leaves
//! them in their order. After that RESERVED is stored as UNLOCKED is, and one of those that have waited
//! longest is woken: nothing of the lock is touched afterwards.
//!
//! # Fork
//!
//! In the child of a fork the word is as it was (FORK-6). WAITERS may stand for threads that are not
//! there, which costs a needless wake; a thread that comes to sleep announces itself all the same.
//!
//! # Ordering
//!
//! Each step to LOCKED is an Acquire and pairs with the Release in `release` and
//! `release_contended`: what happened before the release is visible to the next owner (MEM-1).
//! Announcing oneself with `swap` may take the lock, so it is an Acquire too; as a
//! read-modify-write it keeps the release sequence going.

use crate::primitive::{
    AtomicU32, Word, const_unless_modelled, for_a_moment, futex_requeue, futex_wake, overwrite,
};
use crate::raw::fairness::{self, NEWCOMER, Since};
use crate::raw::park::{GaveUp, Limit, park_ranked};
use crate::raw::spin::Spin;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

const UNLOCKED: u32 = 0;
const LOCKED: u32 = 1 << 0;
const WAITERS: u32 = 1 << 1;
const CONTENDED: u32 = LOCKED | WAITERS;
const RESERVED: u32 = 1 << 2;

/// How long a newcomer waits for the thread for which the lock is reserved.
const RESERVATION: Duration = Duration::from_millis(1);

/// Whether nobody has a lock whose word is `state`.
const fn is_free(state: u32) -> bool {
    state & LOCKED == 0
}

/// Whether a thread may be asleep on a lock whose word is `state`.
const fn has_waiters(state: u32) -> bool {
    state & WAITERS != 0
}

/// The lock was not locked, so it could not be released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotLocked;

/// The protocol of `Lock`.
#[derive(Debug)]
#[repr(transparent)]
pub struct RawLock {
    state: AtomicU32,
}

impl RawLock {
    const_unless_modelled! {
        /// An unlocked lock.
        pub fn new() -> RawLock {
            RawLock { state: AtomicU32::new(UNLOCKED) }
        }
    }

    /// Takes the lock if it is free and not reserved. For who waits otherwise.
    #[inline]
    pub fn attempt(&self) -> bool {
        // Acquire: pairs with the Release in `release` and `release_contended`.
        self.state
            .compare_exchange(UNLOCKED, LOCKED, Acquire, Relaxed)
            .is_ok()
    }

    /// Takes the lock if it is free. For who does not wait.
    #[inline]
    pub fn try_acquire(&self) -> bool {
        // Acquire: pairs with the Release in `release` and `release_contended`.
        let attempt = self
            .state
            .compare_exchange(UNLOCKED, LOCKED, Acquire, Relaxed);
        match attempt {
            Ok(_) => true,
            Err(RESERVED) => self.last_attempt(),
            Err(_) => false,
        }
    }

    /// Takes the lock, waiting for it within `limit`.
    #[inline]
    pub fn acquire(&self, limit: Limit) -> Result<(), GaveUp> {
        if self.attempt() {
            Ok(())
        } else {
            self.acquire_contended(limit)
        }
    }

    /// Waits for the lock. To be called when an attempt has failed.
    #[cold]
    pub fn acquire_contended(&self, limit: Limit) -> Result<(), GaveUp> {
        if self.acquire_awake(limit)? {
            Ok(())
        } else {
            self.acquire_asleep(limit)
        }
    }

    /// Takes the lock if it gets free while the thread looks again for a while; whether it did. To be
    /// called when an attempt has failed.
    pub fn acquire_awake(&self, limit: Limit) -> Result<bool, GaveUp> {
        if limit.deadline.has_passed() {
            return self.give_up(GaveUp::TimedOut);
        }
        match self.spin(limit, |state| state == UNLOCKED) {
            UNLOCKED if self.attempt() => Ok(true),
            RESERVED => self.let_another_take_it(limit),
            _ => Ok(false),
        }
    }

    /// Waits for a moment, in which the thread that the lock is reserved for may take it.
    #[cold]
    fn let_another_take_it(&self, limit: Limit) -> Result<bool, GaveUp> {
        let moment = for_a_moment(limit.deadline, RESERVATION);
        let limit = limit.with_deadline(moment);
        match park_ranked(&self.state, RESERVED, limit, || NEWCOMER) {
            // It may be the limit's deadline that has passed; who goes to sleep on it notices.
            Ok(()) | Err(GaveUp::TimedOut) => Ok(false),
            Err(gave_up) => self.give_up(gave_up),
        }
    }

    /// For who is about to give up: one more attempt if its time is up. Who was interrupted is told so.
    fn give_up(&self, gave_up: GaveUp) -> Result<bool, GaveUp> {
        if gave_up == GaveUp::TimedOut && self.last_attempt() {
            Ok(true)
        } else {
            Err(gave_up)
        }
    }

    /// Takes the lock for a thread beside which others may be asleep without being announced: one
    /// that slept on the word itself, be it by a requeue. Sleeps in turn if it has to.
    #[cold]
    pub fn acquire_asleep(&self, limit: Limit) -> Result<(), GaveUp> {
        let mut since = Since::now();
        // Acquire: pairs with the Release in `release` and `release_contended`.
        while !is_free(self.state.swap(CONTENDED, Acquire)) {
            if let Err(gave_up) = park_ranked(&self.state, CONTENDED, limit, || since.rank()) {
                return self.give_up(gave_up).map(drop);
            }
            self.spin(limit, is_free);
        }
        Ok(())
    }

    /// Takes the lock, reserved or not, as one beside whom others may be asleep; whether it did.
    #[cold]
    fn last_attempt(&self) -> bool {
        [UNLOCKED, RESERVED].into_iter().any(|free| {
            // Acquire: pairs with the Release in `release` and `release_contended`.
            let attempt = self
                .state
                .compare_exchange(free, CONTENDED, Acquire, Relaxed);
            attempt.is_ok()
        })
    }

    /// Looks again for a while, or until `is_it`; returns the state seen last.
    fn spin(&self, limit: Limit, is_it: impl Fn(u32) -> bool) -> u32 {
        let mut spin = Spin::new(limit);
        loop {
            // Relaxed: a hint; who acts on it does so by a read-modify-write.
            let state = self.state.load(Relaxed);
            if is_it(state) || !spin.turn(state & (WAITERS | RESERVED) != 0) {
                return state;
            }
        }
    }

    /// Frees the lock, whoever took it, and lets one waiter go on.
    #[inline]
    pub fn release(&self) -> Result<(), NotLocked> {
        // Release: pairs with the Acquire of whoever takes the lock next.
        match self
            .state
            .compare_exchange(LOCKED, UNLOCKED, Release, Relaxed)
        {
            Ok(_) => Ok(()),
            Err(state) => self.release_contended(state),
        }
    }

    /// Frees the lock without a look at who waits for it.
    ///
    /// # Safety
    /// The caller holds the lock, and sees to it itself that a waiter goes on.
    #[inline]
    pub unsafe fn store_free(&self) {
        debug_assert!(self.is_locked());
        // Release: pairs with the Acquire of whoever takes the lock next.
        overwrite(&self.state, UNLOCKED);
    }

    #[cold]
    fn release_contended(&self, mut state: u32) -> Result<(), NotLocked> {
        let word = self.state.address(); // the lock may be gone by the time we wake
        let mut keeps = false;
        while !is_free(state) {
            keeps = has_waiters(state) && (keeps || fairness::keeps(word, || self.has_sleeper()));
            let to = if keeps { RESERVED } else { UNLOCKED };
            // Release: pairs with the Acquire of whoever takes the lock next.
            match self
                .state
                .compare_exchange_weak(state, to, Release, Relaxed)
            {
                Ok(_) => {
                    if has_waiters(state) && keeps {
                        fairness::wake_longest(word);
                    } else if has_waiters(state) {
                        futex_wake(word, 1);
                    }
                    return Ok(());
                }
                Err(now) => state = now,
            }
        }
        Err(NotLocked)
    }

    /// For the holder: whether a thread sleeps on the lock, as the kernel knows it.
    fn has_sleeper(&self) -> bool {
        futex_requeue(&self.state, CONTENDED, &self.state, 1) == Ok(1)
    }

    /// Whether some thread has the lock now.
    #[inline]
    pub fn is_locked(&self) -> bool {
        // Relaxed: the answer may be old by the time it is used; nothing is concluded from it
        // about other memory.
        !is_free(self.state.load(Relaxed))
    }

    /// Whether a thread may be asleep on the lock.
    pub fn has_waiters(&self) -> bool {
        // Relaxed: as in `is_locked`.
        has_waiters(self.state.load(Relaxed))
    }

    /// For the owner: makes the next release wake a thread, because one is about to be requeued to
    /// [`word`](RawLock::word).
    pub fn announce_waiter(&self) {
        // Relaxed: publishes nothing.
        self.state.fetch_or(WAITERS, Relaxed);
    }

    /// Makes it as new.
    ///
    /// # Safety
    /// No other thread uses the lock.
    pub unsafe fn reinit(&self) {
        // Relaxed: nobody else is there.
        self.state.store(UNLOCKED, Relaxed);
    }

    /// The word that waiters sleep on.
    pub fn word(&self) -> &AtomicU32 {
        &self.state
    }
}

#[cfg(all(test, not(threadbare_model)))]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_as_the_diagram_says() {
        for (state, free, waiters) in [
            (UNLOCKED, true, false),
            (RESERVED, true, false),
            (LOCKED, false, false),
            (CONTENDED, false, true),
        ] {
            assert_eq!((is_free(state), has_waiters(state)), (free, waiters));
        }
    }

    #[test]
    fn lock_10_a_release_errs_exactly_when_the_lock_is_free() {
        let lock = RawLock::new();
        assert_eq!(lock.release(), Err(NotLocked));
        assert!(lock.try_acquire() && !lock.try_acquire());
        assert_eq!(lock.release(), Ok(()));
        assert_eq!(lock.release(), Err(NotLocked));
        assert!(lock.try_acquire());
        lock.announce_waiter();
        assert_eq!(lock.release(), Ok(()));
        assert!(!lock.is_locked() && !lock.has_waiters());
    }
}
