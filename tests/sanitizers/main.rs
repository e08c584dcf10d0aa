//! Bugs on purpose, one for each argument: `scripts/sanitize.sh` wants to see each of them reported
//! before it believes a sanitizer that has nothing to say about the crate.
//!
//! All of them happen in threads of the crate's, so on its stacks. Not part of `cargo test`: without
//! a sanitizer there is nothing to see.

#[cfg(threadbare_model)]
const BUGS: [(&str, fn()); 0] = [];

#[cfg(not(threadbare_model))]
use bugs::BUGS;

fn main() {
    let name = std::env::args().nth(1).expect("the name of a bug");
    let bug = BUGS.iter().find(|(known, _)| *known == name);
    bug.expect("a bug of this name").1();
}

#[cfg(not(threadbare_model))]
mod bugs {
    use std::cell::UnsafeCell;
    use std::hint::black_box;
    use std::sync::atomic::Ordering::{self, Acquire, Relaxed, Release};
    use std::sync::atomic::{AtomicBool, AtomicUsize};
    use std::thread::yield_now;
    use threadbare::scope;

    pub const BUGS: [(&str, fn()); 5] = [
        ("none", counted::<RELEASE>),
        ("relaxed_release", counted::<RELAXED>),
        ("freed", freed),
        ("beyond_the_frame", beyond_the_frame),
        ("leaked", leaked),
    ];

    const RELEASE: u8 = 0;
    const RELAXED: u8 = 1;

    /// A number under a lock whose release is ordered as `ORDER` says.
    #[derive(Default)]
    struct Counter<const ORDER: u8> {
        locked: AtomicBool,
        number: UnsafeCell<u32>,
    }

    // SAFETY: the lock keeps the accesses to the number apart, if `ORDER` is `RELEASE`. Else this is
    // the bug.
    unsafe impl<const ORDER: u8> Sync for Counter<ORDER> {}

    impl<const ORDER: u8> Counter<ORDER> {
        const ORDERING: Ordering = if ORDER == RELEASE { Release } else { Relaxed };

        fn count(&self) {
            // Acquire: pairs with the store below, if that is a Release.
            while self.locked.swap(true, Acquire) {
                yield_now();
            }
            // SAFETY: as said of `Sync`.
            unsafe { *self.number.get() += 1 };
            self.locked.store(false, Self::ORDERING);
        }
    }

    /// Two threads that one lock keeps apart, and nothing else: both have started before one counts.
    fn counted<const ORDER: u8>() {
        let (counter, started) = (Counter::<ORDER>::default(), AtomicUsize::new(0));
        let count = || {
            started.fetch_add(1, Relaxed);
            while started.load(Relaxed) < 2 {
                yield_now();
            }
            counter.count();
        };
        scope(|s| {
            for thread in [s.spawn(count), s.spawn(count)] {
                thread.join().unwrap();
            }
        });
        assert_eq!(counter.number.into_inner(), 2);
    }

    /// In a thread of the crate's.
    fn in_a_thread(body: fn()) {
        scope(|s| s.spawn(body).join().unwrap());
    }

    fn freed() {
        in_a_thread(|| {
            let place = Box::into_raw(Box::new(1_u64));
            // SAFETY: made just now.
            drop(unsafe { Box::from_raw(place) });
            // SAFETY: none. This is the bug.
            black_box(unsafe { black_box(place).read_volatile() });
        });
    }

    fn beyond_the_frame() {
        in_a_thread(|| {
            let frame = black_box([1_u64; 4]);
            let end = black_box(frame.as_ptr()).wrapping_add(frame.len());
            // SAFETY: none. This is the bug.
            black_box(unsafe { end.read_volatile() });
        });
    }

    fn leaked() {
        in_a_thread(|| {
            for number in 0..16_u64 {
                black_box(Box::into_raw(Box::new(number)));
            }
        });
    }
}
