//! Whether locks of this process may be released by a plain store (`owned_lock.rs`): it is set up once,
//! can be switched off, and is paid for by who waits, so that is kept rare.
//!
//! A waiter that finds such a lock has all threads of the process execute a fence (membarrier(2)),
//! which takes some 10 µs of its time and 7 µs of each CPU that runs one of them. So
//! - a lock on which a thread was about to sleep is released as others are for [`HOLD`] ticks;
//! - no more than [`SOME`] locks go over to plain stores within a tick;
//! - where there were more than [`FEW`] fences within a tick, none does for [`REST`] ticks. Those that have
//!   stay so until a thread waits for them.
//!
//! The numbers are from a virtual machine with 2 cores (AMD Zen 5, Linux 6.18, November 2026), where
//! without them 2 threads made 4,000 to 70,000 fences a second, and with a hold of 8 ms at most 60. No
//! machine with more CPUs has been measured: a fence interrupts each that runs one of our threads.
//!
//! # Ordering
//!
//! All Relaxed: whether a release is a plain store is between the threads that use the lock, and each
//! lock has its own word for that. Nothing here is modelled but the fence.

use crate::primitive::{coarse_tick, fence_all_threads, pass_time, register_fence};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// Ticks since the last sleep on a lock after which it may be released by plain stores.
const HOLD: u32 = 2;

/// The fences that are nothing to worry about within one tick.
const FEW: u32 = 8;

/// The locks that may go over within one tick: so many fences may come at once, later.
const SOME: u32 = 64;

/// Ticks without new locks of that kind after there were more fences.
const REST: u32 = 32;

/// How many releases there are to one that looks whether its lock may go over. With sections of
/// 50 ns and two threads that do nothing else, `Mutex` has 0.93 of std's throughput if all look, 1.05 so.
const LOOKS_EVERY: u32 = 16;

/// Not set up, or without success.
const UNAVAILABLE: u32 = 0;
/// Set up: there is a fence for all threads.
const AVAILABLE: u32 = 1;
/// The program does not want it.
const SWITCHED_OFF: u32 = 2;

static PROCESS: Process = Process {
    state: AtomicU32::new(UNAVAILABLE),
    limiter: Limiter {
        fences: PerTick::new(),
        transitions: PerTick::new(),
        rests_until: AtomicU32::new(0),
    },
};

struct Process {
    state: AtomicU32,
    limiter: Limiter,
}

/// What keeps fences rare.
struct Limiter {
    fences: PerTick,
    transitions: PerTick,
    rests_until: AtomicU32,
}

impl Limiter {
    /// Whether one more lock may go over to plain stores now.
    fn admits(&self, now: u32) -> bool {
        let left = self.rests_until.load(Relaxed).wrapping_sub(now);
        !(1..=REST).contains(&left) && self.transitions.count(now) <= SOME
    }

    fn note_fence(&self, now: u32) {
        if self.fences.count(now) > FEW {
            self.rests_until.store(now.wrapping_add(REST), Relaxed);
        }
    }
}

/// How often something has happened in a tick: the number in the lowest bits, above it those of the tick
/// that have room.
struct PerTick(AtomicU32);

impl PerTick {
    const NUMBER: u32 = 0xff;

    const fn new() -> PerTick {
        PerTick(AtomicU32::new(0))
    }

    /// Once more; how often that makes in this tick. Counts too few where threads count at once, which
    /// does not matter.
    fn count(&self, now: u32) -> u32 {
        let bits = PerTick::NUMBER.count_ones();
        let tick = now << bits;
        let noted = self.0.load(Relaxed);
        let number = if noted & !PerTick::NUMBER == tick {
            (noted & PerTick::NUMBER) + 1
        } else {
            1
        };
        self.0
            .store(tick | number.min(PerTick::NUMBER - 1), Relaxed);
        number
    }
}

/// Sets it up, unless that has been done or is not wanted. To be called where 18 ms do not matter.
pub fn prepare() {
    if PROCESS.state.load(Relaxed) == UNAVAILABLE {
        set_up();
    }
}

#[cold]
fn set_up() {
    // The first look at the clock looks for the function, which is nothing for a release to do: it may
    // be one that the dynamic linker or an allocator is waiting for.
    coarse_tick();
    let state = if register_fence() {
        AVAILABLE
    } else {
        SWITCHED_OFF // so that nobody asks again
    };
    // Not if it was switched off meanwhile.
    let _ = PROCESS
        .state
        .compare_exchange(UNAVAILABLE, state, Relaxed, Relaxed);
}

/// Says whether it is wanted. Locks that are released by plain stores stay so until a thread waits for
/// them.
pub fn set_wanted(is_wanted: bool) {
    if is_wanted {
        // It may have been refused, too: then that is asked again.
        let _ = PROCESS
            .state
            .compare_exchange(SWITCHED_OFF, UNAVAILABLE, Relaxed, Relaxed);
        prepare();
    } else {
        PROCESS.state.store(SWITCHED_OFF, Relaxed);
    }
}

/// Whether it is set up and wanted.
#[inline]
pub fn is_available() -> bool {
    PROCESS.state.load(Relaxed) == AVAILABLE
}

/// Whether this release is one of those that look whether the lock may go over. To look, which reads the
/// clock, takes longer than a release.
pub fn is_due() -> bool {
    let here = 0_u8;
    cfg!(threadbare_model) || Place::of_stack((&raw const here).addr()).next_is_due()
}

/// Where some threads, mostly one, are in the sequence of releases that look. Not a thread-local: to reach
/// one for the first time may allocate, where the crate is part of a library that was loaded late, and the
/// release may be that of an allocator's lock.
#[repr(align(64))]
struct Place(AtomicU32);

static PLACES: [Place; 1 << PLACES_BITS] = [const { Place(AtomicU32::new(0)) }; 1 << PLACES_BITS];
const PLACES_BITS: u32 = 8;

impl Place {
    /// 2^32 by the golden ratio: its multiples, modulo 2^32, are spread evenly, also every so many of them
    /// (Knuth, The Art of Computer Programming, vol. 3, 6.4). So of locks that a thread uses in turn each
    /// comes to be looked at.
    const STEP: u32 = 0x9e37_79b9;

    fn of_stack(address: usize) -> &'static Place {
        let stack = (address >> 14) as u32; // the least stack is twice as large
        let index = stack.wrapping_mul(Place::STEP) >> (u32::BITS - PLACES_BITS);
        &PLACES[index as usize]
    }

    fn next_is_due(&self) -> bool {
        // Two steps may become one where threads share a place, which does not matter.
        let place = self.0.load(Relaxed);
        self.0.store(place.wrapping_add(Place::STEP), Relaxed);
        place <= u32::MAX / LOOKS_EVERY
    }
}

/// Now, in ticks of 4 ms; wraps. Stands still while there is nothing to be timed.
pub fn tick() -> u32 {
    if is_available() { coarse_tick() } else { 0 }
}

/// Whether a lock may go over to plain stores now, `ticks` after a thread was about to sleep on it.
pub fn may_begin(now: u32, ticks: u32) -> bool {
    cfg!(threadbare_model) || (ticks >= HOLD && PROCESS.limiter.admits(now))
}

/// Between its beginning and its end every thread of the process has executed a full fence. For who
/// has found a lock that is released by plain stores.
#[cold]
pub fn fence_all() {
    PROCESS.limiter.note_fence(tick());
    if !fence_all_threads() {
        // A filter for system calls that was installed after the registration. No lock will need
        // this any more, once each has been waited for. As for this one, what the fence is for is
        // that stores become visible which the other threads have made already, or that they see
        // ours: the hardware does that within a time far shorter than this.
        PROCESS.state.store(SWITCHED_OFF, Relaxed);
        pass_time(Duration::from_millis(10));
    }
}

#[cfg(all(test, not(threadbare_model)))]
mod tests {
    use super::*;

    fn limiter(now: u32) -> Limiter {
        Limiter {
            fences: PerTick::new(),
            transitions: PerTick::new(),
            rests_until: AtomicU32::new(now),
        }
    }

    #[test]
    fn many_fences_within_a_tick_are_followed_by_a_rest() {
        for now in [1, 1000, u32::MAX - 3] {
            let limiter = limiter(now);
            (0..FEW).for_each(|_| limiter.note_fence(now));
            assert!(limiter.admits(now));
            limiter.note_fence(now);
            assert!(!limiter.admits(now) && !limiter.admits(now.wrapping_add(REST - 1)));
            assert!(limiter.admits(now.wrapping_add(REST)));
        }
    }

    #[test]
    fn a_few_fences_in_each_tick_are_not() {
        let limiter = limiter(0);
        for now in 1..1000 {
            (0..FEW).for_each(|_| limiter.note_fence(now));
            assert!(limiter.admits(now));
        }
    }

    #[test]
    fn some_locks_are_admitted_in_each_tick() {
        let limiter = limiter(7);
        for now in 7..10 {
            let admitted = (0..1000).filter(|_| limiter.admits(now)).count();
            assert_eq!(admitted, SOME as usize);
        }
    }

    /// Which of a thread's releases look at the clock.
    fn looks(releases: usize) -> Vec<usize> {
        let place = Place(AtomicU32::new(0));
        (0..releases).filter(|_| place.next_is_due()).collect()
    }

    #[test]
    fn one_of_sixteen_releases_looks_at_the_clock_the_first_among_them() {
        let looks = looks(16_000);
        assert!((990..1010).contains(&looks.len()));
        assert_eq!(looks[0], 0);
        assert!(looks.windows(2).all(|next| next[1] - next[0] <= 21));
    }

    #[test]
    fn each_of_some_locks_that_are_used_in_turn_is_looked_at() {
        let looks = looks(40 * 300);
        for locks in 1..40 {
            for lock in 0..locks {
                assert!(looks.iter().any(|release| release % locks == lock));
            }
        }
    }

    #[test]
    fn stacks_that_lie_side_by_side_have_places_of_their_own() {
        for size in [32 << 10, 64 << 10, 2 << 20, 8 << 20] {
            let of = |n: usize| Place::of_stack(0x7f12_3456_7000 + n * (size + 0x1000));
            for n in 0..100 {
                assert!(!std::ptr::eq(of(n), of(n + 1)), "{size}");
            }
        }
    }

    #[test]
    fn a_lock_is_left_alone_for_a_while_after_a_sleep() {
        assert!(!may_begin(5, 0) && !may_begin(5, HOLD - 1));
    }
}
