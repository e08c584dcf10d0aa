//! When a lock that is released is kept for a waiter (`lock.rs`).
//!
//! Whoever runs takes a lock faster than a thread that has to be woken first, and should: a thread that
//! is woken for each release costs several times what most sections last. But so a waiter may starve. Once
//! in [`EVERY`] is often enough for that, and too seldom to be felt.
//!
//! The lock is kept for one of those who have waited longest. Other releases wake who lies first in the
//! kernel's queue, and mostly in vain: then that thread lies last. So a waiter tells the kernel each time
//! how long it has waited, as a bit that can be asked for (`FUTEX_WAKE_BITSET`). One that sleeps on
//! undisturbed comes to be the first, and needs no rank.
//!
//! The times of releases lie in a table beside the locks, by the address, so that a lock is one word. Two
//! locks that share a place share the times: then each is kept more seldom.

use crate::primitive::{Address, futex_wake, futex_wake_ranked, nanos, reserves};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering::Relaxed};

/// The unit of the times, as a power of two of nanoseconds: about a quarter of a millisecond.
const UNIT: u32 = 18;

/// The least time between two releases of a lock that keep it, in units.
const EVERY: u32 = 4;

/// Places in the table, as a power of two: 4 KiB.
const PLACES: u32 = 10;

static LAST: [AtomicU32; 1 << PLACES] = [const { AtomicU32::new(0) }; 1 << PLACES];

/// Ranks of waiters, by how long they had waited when they last went to sleep: 0 for less than a
/// millisecond, each next for four times as long, the last for more than a quarter of a second. (In models
/// 1 for who sleeps again, 0 else.)
const RANKS: u32 = if cfg!(threadbare_model) { 2 } else { 6 };

/// Nanoseconds of a millisecond, as a power of two.
const MILLISECOND: u32 = 20;

/// Since when a thread waits.
pub struct Since {
    began: i64,
    has_slept: bool,
}

impl Since {
    /// Begins to wait. The look at the clock is also for releases to come: they are made where the dynamic
    /// linker, in which the function may have to be looked for first, cannot be called.
    pub fn now() -> Since {
        Since {
            began: nanos(),
            has_slept: false,
        }
    }

    /// The rank in which to sleep now, as the futex's bit.
    pub fn rank(&mut self) -> NonZeroU32 {
        if !std::mem::replace(&mut self.has_slept, true) {
            return NEWCOMER;
        }
        // In models no time passes.
        let in_models = i64::from(cfg!(threadbare_model)) << MILLISECOND;
        bit(rank_after(nanos() - self.began + in_models))
    }
}

/// The rank of who has waited for so many nanoseconds.
fn rank_after(waited: i64) -> u32 {
    let milliseconds = u64::try_from(waited >> MILLISECOND).unwrap_or(0);
    let rank = milliseconds.checked_ilog2().map_or(0, |twos| twos / 2 + 1);
    rank.min(RANKS - 1)
}

const fn bit(rank: u32) -> NonZeroU32 {
    NonZeroU32::new(1 << rank).expect("a bit")
}

/// The rank of newcomers, and of who is to sleep on a lock without having waited for it.
pub const NEWCOMER: NonZeroU32 = bit(0);

/// For each nanosecond in which ranks are asked for, the least number in which they are not.
const PAUSE_AFTER_ASKING: i64 = 16;

/// When ranks may be asked for again.
static ASK_AGAIN: AtomicI64 = AtomicI64::new(0);

/// How long it took last: who does it may lose the CPU meanwhile, but not each time.
static LAST_TOOK: AtomicI64 = AtomicI64::new(0);

/// Wakes one of those who have waited longest, by their ranks. A waiter that is woken in vain sleeps
/// again behind all others, so their order says little.
///
/// The lock is kept meanwhile, so there are few ranks: each is a system call, and may be for nobody. To find
/// that out the kernel looks at all that sleep, 2 ms for 20,000 threads that were let go at once and want
/// the same lock. So the time for it is bounded, as a share of all time, and else the first is woken.
pub fn wake_longest(word: Address) {
    let began = nanos();
    // Relaxed, here and below: a time that stands for itself.
    let is_woken = began >= ASK_AGAIN.load(Relaxed) && {
        let is_woken = wake_by_rank(word);
        let ended = nanos();
        let before = LAST_TOOK.swap(ended - began, Relaxed);
        ASK_AGAIN.store(ask_again(ended, before.min(ended - began)), Relaxed);
        is_woken
    };
    if !is_woken {
        futex_wake(word, 1);
    }
}

/// Wakes one of the highest rank that there is; `false` if there are newcomers at most.
fn wake_by_rank(word: Address) -> bool {
    let is_woken = |rank| futex_wake_ranked(word, 1, bit(rank)) > 0;
    (1..RANKS).rev().any(is_woken)
}

/// When ranks may be asked for again if it has `ended` now and took so long.
fn ask_again(ended: i64, took: i64) -> i64 {
    ended + took * PAUSE_AFTER_ASKING
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
pub(super) mod tests {
    use super::*;
    use crate::primitive::{Deadline, Word, futex_requeue, pass_time};
    use crate::raw::lock::RawLock;
    use crate::raw::owned_lock::tests::until;
    use crate::raw::park::{Limit, park_ranked};
    use std::time::Duration;

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
    fn lock_11_a_rank_stands_for_four_times_as_long_as_the_one_before() {
        let ranks = [i64::MIN, -1, 0, 1, 3, 4, 15, 16, 63, 64, 255, 256, 1 << 40];
        let ranks = ranks.map(|time: i64| rank_after(time.saturating_mul(1 << MILLISECOND)));
        assert_eq!(ranks, [0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]);
        let bits: u32 = (0..RANKS).map(|rank| bit(rank).get()).sum();
        assert_eq!((bits, NEWCOMER.get()), ((1 << RANKS) - 1, 1));
    }

    /// The ranks of who is no newcomer.
    pub const OLDER: NonZeroU32 = NonZeroU32::new(((1 << RANKS) - 1) & !NEWCOMER.get()).unwrap();

    #[test]
    fn lock_11_who_has_waited_longest_is_woken_first() {
        let (word, last) = (AtomicU32::new(0), AtomicU32::new(u32::MAX));
        std::thread::scope(|scope| {
            let (word, last) = (&word, &last);
            for (number, rank) in [0, 3, 1].into_iter().enumerate() {
                scope.spawn(move || {
                    while word.load(Relaxed) == 0 {
                        // Nothing but a wake ends it before the word changes.
                        let _ = park_ranked(word, 0, Limit::NONE, || bit(rank));
                    }
                    last.store(rank, Relaxed);
                });
                // They are counted where they sleep.
                until(|| futex_requeue(word, 0, word, 3) == Ok(number + 1));
            }
            word.store(1, Relaxed);
            for rank in [3, 1] {
                assert!(wake_by_rank(word.address()));
                until(|| last.load(Relaxed) == rank);
            }
            let is_woken = wake_by_rank(word.address());
            wake_longest(word.address());
            until(|| last.load(Relaxed) == 0);
            assert!(!is_woken);
        });
    }

    /// Lets a thread `wait` for a lock, calls `check` with the lock's word once it sleeps, and then lets it
    /// have the lock.
    fn with_waiter(wait: impl FnOnce(&RawLock) + Send, check: impl FnOnce(&AtomicU32)) {
        let lock = RawLock::new();
        assert!(lock.try_acquire());
        std::thread::scope(|scope| {
            let lock = &lock;
            scope.spawn(move || wait(lock));
            until(|| sleeps(lock.word()));
            check(lock.word());
            lock.release().unwrap();
        });
        assert!(lock.is_locked());
    }

    /// Whether a thread sleeps: it is counted where it does.
    pub fn sleeps(word: &AtomicU32) -> bool {
        futex_requeue(word, word.load(Relaxed), word, 1) == Ok(1)
    }

    #[test]
    fn lock_11_who_is_woken_in_vain_sleeps_again_in_a_higher_rank() {
        let wait = |lock: &RawLock| lock.acquire(Limit::NONE).unwrap();
        with_waiter(wait, |word| {
            assert_eq!(futex_wake_ranked(word.address(), 1, OLDER), 0);
            pass_time(Duration::from_millis(5));
            assert_eq!(futex_wake(word.address(), 1), 1);
            until(|| sleeps(word));
            assert_eq!(futex_wake_ranked(word.address(), 1, OLDER), 1);
        });
    }

    #[test]
    fn lock_11_who_asks_now_and_then_whether_to_go_on_rises_too() {
        let wait = |lock: &RawLock| {
            let check = || false;
            let limit = Limit::checked(Deadline::NEVER, &check);
            lock.acquire(limit).unwrap();
        };
        with_waiter(wait, |word| {
            until(|| futex_wake_ranked(word.address(), 1, OLDER) == 1);
        });
    }

    #[test]
    fn lock_11_ranks_are_asked_for_in_a_small_share_of_the_time() {
        assert_eq!(ask_again(1_000, 0), 1_000);
        let (ended, took) = (7_000_000, 2_000_000);
        assert!(took <= (ask_again(ended, took) - (ended - took)) / 16);
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
