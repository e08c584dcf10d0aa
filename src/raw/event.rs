//! One flag that threads set, clear and wait for (EVT).
//!
//! # State word
//!
//! ```text
//!   bits 2..32 generation: clears so far, wrapping | bit 1 WAITERS | bit 0 SET: the flag
//!
//!   g            --set-->            g | SET            --clear-->  g+1
//!   g | WAITERS  --set, wake all-->  g | SET | WAITERS  --clear-->  g+1
//! ```
//! WAITERS may be set for nobody (a needless wake); it is clear over a sleeper only while a wake
//! is on its way. A waiter may go when it sees SET, or a generation other than its own, so a
//! `clear` right after `set` takes nothing from those who waited (EVT-4). It would go back to
//! sleep only if a multiple of 2^30 clears fell between two of its loads.
//!
//! In the child of a fork WAITERS may stand for threads that are not there: one needless wake, by
//! the next `set`.
//!
//! # Ordering
//!
//! `set` (Release) pairs with the loads in `is_set` and `wait_contended` (Acquire) and carries all
//! that happened before `set` (MEM-2). Every other write is a read-modify-write, so it continues
//! the release sequence that `set` heads; a plain store in `clear` would break the pair.

use crate::primitive::{Address, AtomicU32, Word, const_unless_modelled, futex_wake};
use crate::raw::park::{GaveUp, Limit, park};
use crate::raw::spin::Spin;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

const SET: u32 = 1 << 0;
const WAITERS: u32 = 1 << 1;
const ONE_GENERATION: u32 = 1 << 2;

/// Whether a thread that began to wait on `entered` may go, now that the word is `state`.
const fn is_released(entered: u32, state: u32) -> bool {
    state & SET != 0 || (state ^ entered) >= ONE_GENERATION
}

/// What `clear` makes of `state`, in which the flag is set.
const fn cleared(state: u32) -> u32 {
    (state & !(SET | WAITERS)).wrapping_add(ONE_GENERATION)
}

/// The protocol of `Event`.
#[derive(Debug)]
#[repr(transparent)]
pub struct RawEvent {
    state: AtomicU32,
}

impl RawEvent {
    const_unless_modelled! {
        /// An event whose flag is not set.
        pub fn new() -> RawEvent {
            RawEvent { state: AtomicU32::new(0) }
        }
    }

    /// Whether the flag is set.
    #[inline]
    pub fn is_set(&self) -> bool {
        // Acquire: pairs with the Release in `set`.
        self.state.load(Acquire) & SET != 0
    }

    /// Whether a thread may be asleep here.
    pub fn has_waiters(&self) -> bool {
        // Relaxed: the answer may be old by the time it is used.
        self.state.load(Relaxed) & (SET | WAITERS) == WAITERS
    }

    /// Sets the flag and wakes all who wait. Async-signal-safe.
    #[inline]
    pub fn set(&self) {
        let word = self.state.address(); // the event may be gone by the time we wake
        // Release: pairs with the Acquire loads in `is_set` and `wait_contended`.
        let before = self.state.fetch_or(SET, Release);
        if before & (SET | WAITERS) == WAITERS {
            wake_waiters(word);
        }
    }

    /// Clears the flag.
    #[inline]
    pub fn clear(&self) {
        // Relaxed: clearing publishes nothing, and continues the release sequence of `set`.
        let mut state = self.state.load(Relaxed);
        while state & SET != 0 {
            match self
                .state
                .compare_exchange_weak(state, cleared(state), Relaxed, Relaxed)
            {
                Ok(_) => return,
                Err(now) => state = now,
            }
        }
    }

    /// Waits until the flag is set, within `limit`.
    #[inline]
    pub fn wait(&self, limit: Limit) -> Result<(), GaveUp> {
        if self.is_set() {
            Ok(())
        } else {
            self.wait_contended(limit)
        }
    }

    /// Waits for a `set`. To be called when the flag was seen clear.
    #[cold]
    pub fn wait_contended(&self, limit: Limit) -> Result<(), GaveUp> {
        // Acquire: pairs with `set`, as all loads of the word here.
        let entered = self.state.load(Acquire);
        if !is_released(entered, entered) && limit.deadline.has_passed() {
            return Err(GaveUp::TimedOut);
        }
        let mut state = self.spin(entered, limit);
        while !is_released(entered, state) {
            if state & WAITERS == 0 {
                // Announce ourselves before sleeping, or `set` would skip the wake.
                // Relaxed: publishes nothing. Acquire on failure: `now` may show a `set`.
                let announced = state | WAITERS;
                if let Err(now) = self
                    .state
                    .compare_exchange(state, announced, Relaxed, Acquire)
                {
                    state = now;
                    continue;
                }
            }
            let parked = park(&self.state, state | WAITERS, limit);
            // Read even after a timeout: a `set` that raced it wins.
            state = self.state.load(Acquire);
            if parked.is_err() && !is_released(entered, state) {
                return parked;
            }
        }
        Ok(())
    }

    /// Forgets who waits; the flag stays.
    ///
    /// # Safety
    /// No other thread uses the event.
    pub unsafe fn reinit(&self) {
        // Relaxed: nobody else is there.
        self.state.fetch_and(!WAITERS, Relaxed);
    }

    /// Looks again for a while; returns the state seen last.
    fn spin(&self, entered: u32, limit: Limit) -> u32 {
        let mut spin = Spin::new(limit);
        loop {
            let state = self.state.load(Acquire);
            if is_released(entered, state) || !spin.turn(state & WAITERS != 0) {
                return state;
            }
        }
    }
}

#[cold]
fn wake_waiters(word: Address) {
    futex_wake(word, u32::MAX);
}

#[cfg(all(test, not(threadbare_model)))]
mod tests {
    use super::*;

    #[test]
    fn evt_4_a_waiter_is_released_by_the_flag_or_by_a_later_generation() {
        for low in 0..4 {
            let entered = (7 * ONE_GENERATION) | (low & WAITERS);
            assert_eq!(
                is_released(entered, (7 * ONE_GENERATION) | low),
                low & SET != 0
            );
            assert!(is_released(entered, (8 * ONE_GENERATION) | low));
            assert!(is_released(entered, (6 * ONE_GENERATION) | low));
        }
    }

    #[test]
    fn evt_7_clearing_starts_a_generation_and_forgets_the_waiters() {
        for low in [SET, SET | WAITERS] {
            assert_eq!(cleared((7 * ONE_GENERATION) | low), 8 * ONE_GENERATION);
            assert_eq!(cleared((u32::MAX - 3) | low), 0, "the generation wraps");
        }
    }

    #[test]
    fn evt_1_set_and_clear_are_idempotent() {
        let event = RawEvent::new();
        event.clear();
        assert!(!event.is_set());
        event.set();
        event.set();
        assert!(event.is_set());
        event.clear();
        event.clear();
        assert!(!event.is_set());
    }
}
