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

/// Places in the table, as a power of two.
const PLACES: u32 = 6;

static LAST: [AtomicU32; 1 << PLACES] = [const { AtomicU32::new(0) }; 1 << PLACES];

/// Whether the lock whose word is at `address`, and has waiters, is to be kept for one of them now. If so,
/// it was the last time for a while.
pub fn is_due(address: Address) -> bool {
    if cfg!(threadbare_model) {
        return reserves();
    }
    let now = (nanos() >> UNIT) as u32;
    is_due_at(now, &LAST[place(address)])
}

fn is_due_at(now: u32, last: &AtomicU32) -> bool {
    // Relaxed, here and below: a time that stands for itself.
    let before = last.load(Relaxed);
    let due = now.wrapping_sub(before) >= EVERY;
    due && last.compare_exchange(before, now, Relaxed, Relaxed).is_ok()
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
    fn lock_11_it_is_due_once_in_a_while() {
        let last = AtomicU32::new(u32::MAX - 1);
        for now in [2, 6, 10, 2_000_000_000] {
            assert!(is_due_at(now, &last), "at {now}");
            for later in 0..EVERY {
                assert!(!is_due_at(now + later, &last));
            }
        }
    }

    #[test]
    fn words_lie_in_different_places() {
        let words: Vec<_> = (0..64).map(|_| Box::new(AtomicU32::new(0))).collect();
        let mut places: Vec<_> = words.iter().map(|word| place(word.address())).collect();
        places.sort();
        places.dedup();
        assert!(places.len() > 20, "{places:?}");
    }
}
