//! A mark of the process that something belongs to, for what a fork may leave behind half done.
//!
//! In the child of a fork a lock may be held by a thread that is not there. A [`Renewal`] beside it
//! tells who comes first in the child, and lets that thread alone put it right.
//!
//! # State word
//!
//! ```text
//!   bits 1..32 generation of the process + 1, or 0: none yet | bit 0 RENEWING
//!
//!   UNUSED       --used first-->                        current(g)
//!   current(f)   --used first in a child, f < g-->      renewing(g)  --put right, wake all-->  current(g)
//!   renewing(f)  --f's child: who renewed is not there-->  renewing(g)
//! ```
//! `g` is the generation of this process, which no other generation in memory exceeds. What is
//! UNUSED is as it was made, so nothing has to be put right. All that find `renewing(g)` wait.
//!
//! # Ordering
//!
//! The store of `current(g)` (Release) pairs with the loads in `is_current` and `renew` (Acquire):
//! who finds the word current finds the rest put right. `renewing(g)` orders nothing: who was there
//! before belongs to another process.

use crate::primitive::{AtomicU32, Word, const_unless_modelled, fork_generation, futex_wake};
use crate::raw::park::{Limit, park};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

const UNUSED: u32 = 0;
const RENEWING: u32 = 1 << 0;

/// The word at first. Models of what is marked begin in use, since three more steps of each thread
/// would be too many for them.
const AT_FIRST: u32 = if cfg!(threadbare_model) {
    current(0)
} else {
    UNUSED
};

/// The word of what is in use in a process of this generation.
const fn current(generation: u32) -> u32 {
    generation.wrapping_add(1) << 1
}

/// The word while a thread of a process of this generation puts things right.
const fn renewing(generation: u32) -> u32 {
    current(generation) | RENEWING
}

/// See the [module](self).
#[derive(Debug)]
#[repr(transparent)]
pub struct Renewal {
    state: AtomicU32,
}

impl Renewal {
    const_unless_modelled! {
        /// For what is as new.
        pub fn new() -> Renewal {
            Renewal { state: AtomicU32::new(AT_FIRST) }
        }
    }

    /// Whether what is marked has been used in this process, and so needs no renewal.
    #[inline]
    pub fn is_current(&self) -> bool {
        // Acquire: pairs with the Release in `renew`.
        self.state.load(Acquire) == current(fork_generation())
    }

    /// Returns once it is current. Calls `renew` if it was used in another process, while all other
    /// threads of this one wait here.
    #[cold]
    pub fn renew(&self, renew: impl FnOnce()) {
        let generation = fork_generation();
        // Acquire, here and below: pairs with the Release at the end.
        let mut state = self.state.load(Acquire);
        while state != current(generation) {
            if state == renewing(generation) {
                let parked = park(&self.state, state, Limit::NONE);
                debug_assert_eq!(parked, Ok(()), "a wait without limit does not give up");
                state = self.state.load(Acquire);
                continue;
            }
            let unused = state == UNUSED;
            let next = if unused { current } else { renewing }(generation);
            // Relaxed: it publishes nothing, and nobody of this process was here before.
            match self.state.compare_exchange(state, next, Relaxed, Acquire) {
                Ok(_) if unused => return,
                Ok(_) => {
                    renew();
                    let word = self.state.address(); // it may be gone by the time we wake
                    // Release: pairs with the Acquire in `is_current` and above.
                    self.state.store(current(generation), Release);
                    futex_wake(word, u32::MAX);
                    return;
                }
                Err(now) => state = now,
            }
        }
    }

    /// Marks it as new.
    ///
    /// # Safety
    /// No other thread uses what is marked, which is as new.
    pub unsafe fn reinit(&self) {
        // Relaxed: nobody else is there.
        self.state.store(UNUSED, Relaxed);
    }
}

#[cfg(all(test, not(threadbare_model)))]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn every_generation_has_words_of_its_own() {
        let generations = [0, 1, 2, 1 << 20, (1 << 31) - 2];
        let words: Vec<_> = generations
            .into_iter()
            .flat_map(|generation| [current(generation), renewing(generation)])
            .chain([UNUSED])
            .collect();
        for (place, word) in words.iter().enumerate() {
            assert!(!words[..place].contains(word), "{word:#x}");
        }
    }

    #[test]
    fn fork_5_only_what_another_process_used_is_renewed_and_that_once() {
        let (renewal, renewed) = (Renewal::new(), Cell::new(0));
        let used = || {
            if !renewal.is_current() {
                renewal.renew(|| renewed.set(renewed.get() + 1));
            }
            assert!(renewal.is_current());
            renewed.get()
        };
        assert_eq!([used(), used()], [0, 0], "it was as new");
        let other = fork_generation() + 7; // as good as one that came before
        renewal.state.store(current(other), Relaxed);
        assert_eq!([used(), used()], [1, 1]);
        renewal.state.store(renewing(other), Relaxed); // by a thread that is not there any more
        assert_eq!([used(), used()], [2, 2]);
        // SAFETY: it belongs to this thread.
        unsafe { renewal.reinit() };
        assert_eq!([used(), used()], [2, 2], "it was as new");
    }
}
