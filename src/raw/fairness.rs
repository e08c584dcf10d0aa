//! When a lock that is released is kept for a waiter (`lock.rs`).
//!
//! Whoever runs takes a lock faster than a thread that has to be woken first, and should: a thread that
//! is woken for each release costs several times what most sections last. But so a waiter may starve. Once
//! in [`EVERY`] is often enough for that, and too seldom to be felt.
//!
//! The times lie in a table beside the locks, by the address, so that a lock is one word. Two locks that
//! share a place share the times: then each is kept more seldom.

use crate::primitive::{Address, nanos, reserves};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The unit of the times, as a power of two of nanoseconds: about a quarter of a millisecond.
const UNIT: u32 = 18;

/// The least time between two releases of a lock that keep it, in units.
const EVERY: u32 = 4;

/// Places in the table, as a power of two: 4 KiB.
const PLACES: u32 = 10;

static LAST: [AtomicU32; 1 << PLACES] = [const { AtomicU32::new(0) }; 1 << PLACES];

/// Looks at the clock for the first time, if need be, on behalf of releases to come: they are made where
/// the dynamic linker, in which the function may have to be looked for, cannot be called.
pub fn prepare() {
    let _ = nanos();
}

/// Whether the lock whose word is at `address`, and has waiters, is to be kept for one of them now: if that
/// has not been for a while, and there is one that sleeps.
pub fn keeps(address: Address, has_sleeper: impl FnOnce() -> bool) -> bool {
    if cfg!(threadbare_model) {
        return reserves() && has_sleeper();
    }
    let now = (nanos() >> UNIT) as u32;
    keeps_at(now, &LAST[place(address)], has_sleeper)
}

fn keeps_at(now: u32, last: &AtomicU32, has_sleeper: impl FnOnce() -> bool) -> bool {
    // Relaxed, here and below: a time that stands for itself. Where another thread has stored a later one
    // meanwhile, it seems long ago, and the lock is kept once too often.
    if now.wrapping_sub(last.load(Relaxed)) < EVERY {
        return false;
    }
    let has_sleeper = has_sleeper();
    // Nobody may sleep yet: then soon again.
    let wait = if has_sleeper { EVERY } else { 1 };
    last.store(now.wrapping_add(wait).wrapping_sub(EVERY), Relaxed);
    has_sleeper
}

/// The address, scattered.
fn place(address: Address) -> usize {
    const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
    let scattered = (address.addr() as u64).wrapping_mul(GOLDEN_RATIO);
    (scattered >> (u64::BITS - PLACES)) as usize
}

#[cfg(all(test, not(threadbare_model)))]
mod tests {
    use super::*;
    use crate::primitive::Word;

    #[test]
    fn lock_11_a_lock_is_kept_once_in_a_while() {
        let last = AtomicU32::new(u32::MAX - 1);
        for now in [2, 6, 10, 2_000_000_000] {
            assert!(keeps_at(now, &last, || true), "at {now}");
            for later in 0..EVERY {
                assert!(!keeps_at(now + later, &last, || unreachable!("not due")));
            }
        }
    }

    #[test]
    fn lock_11_where_nobody_sleeps_it_is_asked_again_soon() {
        let last = AtomicU32::new(0);
        assert!(!keeps_at(EVERY, &last, || false));
        assert!(!keeps_at(EVERY, &last, || unreachable!("asked just now")));
        assert!(keeps_at(EVERY + 1, &last, || true));
    }

    #[test]
    fn words_lie_in_different_places() {
        let words: Vec<_> = (0..64).map(|_| Box::new(AtomicU32::new(0))).collect();
        let mut places: Vec<_> = words.iter().map(|word| place(word.address())).collect();
        places.sort();
        places.dedup();
        assert!(places.len() > 50, "{places:?}");
    }
}
