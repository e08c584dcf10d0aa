//! One token that others give a thread, and that it takes or waits for (`park`, `unpark`).
//!
//! # State word
//!
//! ```text
//!   EMPTY   --give-->             GIVEN  --give--> GIVEN
//!   GIVEN   --take-->             EMPTY
//!   EMPTY   --about to sleep-->   PARKED
//!   PARKED  --give, wake-->       GIVEN  --awake, has it-->  EMPTY
//!   PARKED  --awake for another reason-->                    EMPTY
//! ```
//! Any thread may give, one thread takes: the one whose token it is. It alone leaves GIVEN, and it
//! alone makes and leaves PARKED, but for a `give`, which it finds when it is awake. So a token that
//! races a timeout or a signal is taken and not left behind, and a wait succeeds with a token only.
//!
//! A wake is made once for each time that PARKED was seen, after the store. The token's owner may be
//! gone by then, with the word; the wake uses the address.
//!
//! In the child of a fork the word is a copy: what was given before the fork is there, what is given
//! in the parent afterwards is not. A fork by a signal handler of a parked thread leaves PARKED, which
//! is right: it goes back to sleep, and a `give` there wakes for nobody or for it.
//!
//! # Ordering
//!
//! `give` (Release) pairs with the exchange in `take` and after a sleep (Acquire). All changes are
//! read-modify-writes, so who takes a token sees what was before every `give` since the last taking,
//! not only before the first: `give` must store GIVEN over GIVEN for that.

use crate::primitive::{Address, AtomicU32, Word, const_unless_modelled, futex_wake};
use crate::raw::park::{GaveUp, Limit, park};
use crate::raw::spin::Spin;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

const EMPTY: u32 = 0;
const GIVEN: u32 = 1;
const PARKED: u32 = 2;

/// A thread's token.
#[derive(Debug)]
#[repr(transparent)]
pub struct RawToken {
    state: AtomicU32,
}

impl RawToken {
    const_unless_modelled! {
        /// A token that nobody has given.
        pub fn new() -> RawToken {
            RawToken { state: AtomicU32::new(EMPTY) }
        }
    }

    /// Gives the token, if it is not given already, and wakes its owner. Async-signal-safe.
    #[inline]
    pub fn give(&self) {
        let word = self.state.address(); // the owner may take the token and the word along
        // Release: pairs with the Acquire in `take` and `wait_contended`.
        if self.state.swap(GIVEN, Release) == PARKED {
            wake(word);
        }
    }

    /// Takes the token if it is given. For its owner.
    #[inline]
    pub fn take(&self) -> bool {
        // Relaxed: what is seen is taken by the exchange, which nobody else can come before.
        // Acquire: pairs with the Release in `give`.
        self.state.load(Relaxed) == GIVEN && self.state.swap(EMPTY, Acquire) == GIVEN
    }

    /// Takes the token once it is given, within `limit`. For its owner, when it was seen not to be.
    #[cold]
    pub fn wait_contended(&self, limit: Limit) -> Result<(), GaveUp> {
        if limit.deadline.has_passed() {
            return if self.take() {
                Ok(())
            } else {
                Err(GaveUp::TimedOut)
            };
        }
        let mut spin = Spin::new(limit);
        loop {
            if self.take() {
                return Ok(());
            }
            if !spin.turn(false) {
                break;
            }
        }
        loop {
            // Relaxed: publishes nothing, and what is found on failure is taken below. A failure means
            // that the token is given, so that there is nothing to sleep for; or that this is a signal
            // handler in the middle of a wait of the same thread.
            let announced = self.state.compare_exchange(EMPTY, PARKED, Relaxed, Relaxed);
            let parked = match announced {
                Err(GIVEN) => Ok(()),
                _ => park(&self.state, PARKED, limit),
            };
            // Even after a timeout: a token that raced it is not left behind.
            // Acquire: pairs with the Release in `give`.
            if self.state.swap(EMPTY, Acquire) == GIVEN {
                return Ok(());
            }
            parked?;
        }
    }
}

#[cold]
fn wake(word: Address) {
    futex_wake(word, 1);
}

#[cfg(all(test, not(threadbare_model)))]
mod tests {
    use super::*;
    use crate::primitive::Deadline;

    #[test]
    fn a_token_that_is_given_is_taken_although_the_time_is_up() {
        let (token, passed) = (RawToken::new(), Limit::until(Deadline::now()));
        assert_eq!(token.wait_contended(passed), Err(GaveUp::TimedOut));
        token.give();
        assert_eq!(token.wait_contended(passed), Ok(()));
        assert!(!token.take(), "it was taken once");
    }
}
