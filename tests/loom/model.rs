//! How a model is built and bounded.

use loom::cell::UnsafeCell;
use loom::thread;
use std::ops::Deref;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use threadbare::primitive::{Deadline, Fences, Unkindness, away};
use threadbare::raw::asymmetry;
use threadbare::raw::park::Limit;

pub const SOON: Limit = Limit::until(Deadline::SOON);
pub const INTERRUPTIBLE: Limit = Limit::interruptible(Deadline::NEVER);

/// Runs `threads` on what `new` makes, then, once all have ended, `settled` with what they
/// returned; in every order with at most `preemptions` preemptions. For waits without limit, none
/// of which wakes for no reason.
pub fn check<S, R, const N: usize>(
    preemptions: usize,
    new: fn() -> S,
    threads: [fn(&S) -> R; N],
    settled: fn(&S, [R; N]),
) where
    S: Send + Sync + 'static,
    R: 'static,
{
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    let executions = Arc::new(AtomicUsize::new(0)); // not loom's, as below
    let counted = executions.clone();
    builder.check(move || {
        counted.fetch_add(1, Relaxed);
        // Not loom's Arc: this thread drops it last, after it has joined all others.
        let shared = Arc::new(new());
        let [first, others @ ..] = &threads[..] else {
            unreachable!("a model has threads")
        };
        let spawn = |run: &fn(&S) -> R| {
            let (shared, run) = (shared.clone(), *run);
            thread::spawn(move || run(&shared))
        };
        let others: Vec<_> = others.iter().map(spawn).collect();
        let mut results = vec![first(&shared)];
        away(|| results.extend(others.into_iter().map(|other| other.join().unwrap())));
        settled(&shared, results.try_into().ok().unwrap());
    });
    // For `scripts/models.py`, which adds up a model's lines.
    let executions = executions.load(Relaxed);
    println!("explored: bound {preemptions}, executions {executions}");
}

/// As [`check`], for waits with a limit.
pub fn check_limited<S, R, const N: usize>(
    preemptions: usize,
    new: fn() -> S,
    threads: [fn(&S) -> R; N],
    settled: fn(&S, [R; N]),
) where
    S: Send + Sync + 'static,
    R: 'static,
{
    check_unkind(0, preemptions, new, threads, settled);
}

/// As [`check`], and again with a wait that wakes for no reason in each execution.
pub fn check_spurious<S, R, const N: usize>(
    preemptions: usize,
    new: fn() -> S,
    threads: [fn(&S) -> R; N],
    settled: fn(&S, [R; N]),
) where
    S: Send + Sync + 'static,
    R: 'static,
{
    check(preemptions, new, threads, settled);
    check_unkind(1, preemptions, new, threads, settled);
}

fn check_unkind<S, R, const N: usize>(
    spurious_wakes: u32,
    preemptions: usize,
    new: fn() -> S,
    threads: [fn(&S) -> R; N],
    settled: fn(&S, [R; N]),
) where
    S: Send + Sync + 'static,
    R: 'static,
{
    for late in [true, false] {
        let unkindness = Unkindness {
            spurious_wakes,
            late,
            ..Unkindness::current()
        };
        unkindness.apply();
        check(preemptions, new, threads, settled);
    }
}

/// Runs `check` where each release of a lock that has waiters keeps it for one of them.
pub fn reserving(check: impl Fn()) {
    let unkindness = Unkindness {
        reserves: true,
        ..Unkindness::current()
    };
    unkindness.apply();
    check();
}

/// Runs `check` with both stand-ins for a fence for all threads (`src/primitive/model/loom.rs`), where
/// locks may be released by plain stores: from their second release on, and again from each that finds
/// nobody counted, since the models have no clock.
pub fn asymmetric(check: impl Fn()) {
    asymmetry::prepare();
    for fences in [Fences::OnBothSides, Fences::Remote] {
        fences.apply();
        for late in [true, false] {
            let unkindness = Unkindness {
                late,
                ..Unkindness::current()
            };
            unkindness.apply();
            check();
        }
    }
}

/// Data that only one thread at a time may touch.
pub struct Data(UnsafeCell<u32>);

// SAFETY: loom's cell reports every access that is not ordered with all others.
unsafe impl Sync for Data {}

impl Data {
    pub fn new() -> Data {
        Data(UnsafeCell::new(0))
    }

    pub fn add(&self, n: u32) {
        // SAFETY: exclusive, or loom ends the model.
        self.0.with_mut(|data| unsafe { *data += n });
    }

    pub fn get(&self) -> u32 {
        // SAFETY: nobody writes, or loom ends the model.
        self.0.with(|data| unsafe { *data })
    }
}

/// What one of the threads destroys while others may still be in a call that has let it go on.
///
/// The memory stays, so that what such a call does to it is reported.
pub struct Doomed<T>(*mut T);

// SAFETY: a shared `T`, but for `destroy`, after which loom reports every access.
unsafe impl<T: Send + Sync> Sync for Doomed<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Send for Doomed<T> {}

impl<T> Doomed<T> {
    pub fn new(value: T) -> Doomed<T> {
        Doomed(Box::into_raw(Box::new(value)))
    }

    pub fn destroy(&self) {
        // SAFETY: initialized and destroyed once; its atomics and cells stay readable.
        unsafe { ptr::drop_in_place(self.0) };
    }
}

impl<T> Deref for Doomed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: allocated as long as `self`.
        unsafe { &*self.0 }
    }
}

impl<T> Drop for Doomed<T> {
    fn drop(&mut self) {
        // SAFETY: from a box; frees the memory only, for the contents have been destroyed.
        drop(unsafe { Box::from_raw(self.0.cast::<std::mem::ManuallyDrop<T>>()) });
    }
}
