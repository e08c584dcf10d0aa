//! Models of a thread's token (`park`, `unpark`).

use crate::model::{Data, Doomed, INTERRUPTIBLE, SOON, check, check_limited, check_spurious};
use std::sync::atomic::Ordering::Relaxed;
use threadbare::primitive::{AtomicU32, Deadline};
use threadbare::raw::park::{GaveUp, Limit};
use threadbare::raw::token::RawToken;

struct Owned {
    token: RawToken,
    data: Data,
    note: AtomicU32,
}

impl Owned {
    fn new() -> Owned {
        Owned {
            token: RawToken::new(),
            data: Data::new(),
            note: AtomicU32::new(0),
        }
    }

    /// Writes, then gives the token.
    fn give(&self) -> Result<(), GaveUp> {
        self.data.add(1);
        self.token.give();
        Ok(())
    }

    /// What `park` does.
    fn park(&self, limit: Limit) -> Result<(), GaveUp> {
        if self.token.take() {
            return Ok(());
        }
        self.token.wait_contended(limit)
    }
}

#[test]
fn park_returns_with_a_token_and_no_token_is_lost() {
    check_spurious(
        3,
        Owned::new,
        [Owned::give, |owned| {
            owned.park(Limit::NONE)?;
            assert_eq!(owned.data.get(), 1);
            Ok(())
        }],
        |owned, _| assert!(!owned.token.take(), "it was given once"),
    );
}

#[test]
fn park_twice_takes_two_tokens() {
    check_spurious(
        3,
        || (Owned::new(), Owned::new()),
        [
            |(here, there): &(Owned, Owned)| {
                here.give().unwrap();
                there.park(Limit::NONE).unwrap();
                here.give().unwrap();
            },
            |(here, there)| {
                here.park(Limit::NONE).unwrap();
                there.token.give();
                here.park(Limit::NONE).unwrap();
                assert_eq!(here.data.get(), 2);
            },
        ],
        |(here, there), _| assert!(!here.token.take() && !there.token.take()),
    );
}

#[test]
fn park_sees_what_was_before_every_token_that_it_takes_as_one() {
    check(
        3,
        Owned::new,
        [
            |owned: &Owned| {
                owned.token.give();
                owned.note.store(1, Relaxed);
                owned.token.give();
                0
            },
            |owned| {
                owned.park(Limit::NONE).unwrap();
                owned.note.load(Relaxed)
            },
        ],
        |owned, [_, seen]| {
            // Either the second token is still there, or it was taken with the first.
            assert!(owned.token.take() || seen == 1);
        },
    );
}

#[test]
fn park_that_times_out_leaves_no_token_behind_and_loses_none() {
    check_limited(
        3,
        Owned::new,
        [Owned::give, |owned| owned.park(SOON)],
        |owned, [_, parked]| {
            assert_ne!(parked, Err(GaveUp::Interrupted));
            assert_eq!(owned.token.take(), parked.is_err());
        },
    );
}

#[test]
fn park_that_is_interrupted_leaves_no_token_behind_and_loses_none() {
    check_limited(
        3,
        Owned::new,
        [Owned::give, |owned| owned.park(INTERRUPTIBLE)],
        |owned, [_, parked]| {
            assert_ne!(parked, Err(GaveUp::TimedOut));
            assert_eq!(owned.token.take(), parked.is_err());
        },
    );
}

#[test]
fn park_goes_on_after_a_signal() {
    check_limited(
        3,
        Owned::new,
        [Owned::give, |owned| {
            owned.park(Limit::until(Deadline::AFTER_A_SIGNAL))
        }],
        |owned, [_, parked]| {
            assert_ne!(parked, Err(GaveUp::Interrupted));
            assert_eq!(owned.token.take(), parked.is_err());
        },
    );
}

#[test]
fn park_may_end_the_thread_and_its_token() {
    check(
        3,
        || Doomed::new(Owned::new()),
        [
            |owned: &Doomed<Owned>| owned.give().unwrap(),
            |owned| {
                owned.park(Limit::NONE).unwrap();
                owned.destroy();
            },
        ],
        |_, _| {},
    );
}
