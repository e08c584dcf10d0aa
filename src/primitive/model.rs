//! The primitives as a model checker sees them: its atomics and cells, and a futex that is as unkind
//! as the kernel may be.
//!
//! There are two checkers. loom (`tests/loom/`) goes through all orders of the steps of a few threads,
//! and through what their orderings allow to be seen. With `--cfg threadbare_shuttle` it is shuttle
//! (`fuzz/`): any number of threads, long histories, in orders that are drawn; what is written is seen
//! at once. Both report an access to an atomic or a cell after its drop, by whoever owes the object
//! nothing any more (destroy safety); shuttle only as long as nothing else lies in its place.
//!
//! The futex keeps its sleepers in one queue under one modelled mutex, the counterpart of the
//! kernel's hash bucket: the comparison of the word and the queueing are one step for wakers, and
//! what a waker did before its call is visible to a waiter that queues after it. The comparison
//! is a relaxed load: apart from the bucket it may be stale, as in the kernel.
//!
//! At any moment while it is queued
//! - a wait with a deadline times out,
//! - an interruptible wait is interrupted,
//! - a wait until [`Deadline::AFTER_A_SIGNAL`] is interrupted, and times out the next time,
//! - any other wait wakes for no reason, but not all of them: how many is the checker's to say.
//!
//! Such a wait does not sleep: its thread stays runnable and leaves the queue when it runs next,
//! which may be after a wake has picked it. So these waits end even if their wake is lost; a lost
//! wake shows as a deadlock where a wait of the fourth kind is left over.
//!
//! What it cannot do: wake in an order other than first come, first served (the kernel prefers
//! real-time threads); wake a thread without ordering its memory behind the waker's. Nor can it make a
//! call that finds nothing to do and orders nothing: the kernel wakes nobody without a look into the
//! bucket where nobody sleeps, while here who wakes in vain, who finds a word that differs and who times
//! out have all been at the bucket, one behind the other.

#[cfg(not(threadbare_shuttle))]
#[path = "model/loom.rs"]
mod checker;
#[cfg(threadbare_shuttle)]
#[path = "model/shuttle.rs"]
mod checker;

#[cfg(not(threadbare_shuttle))]
use loom as library;
#[cfg(threadbare_shuttle)]
use shuttle as library;

pub use self::checker::*;
use super::Outcome;
use library::sync::Mutex;
use library::thread::{self, Thread};
use std::cell::Cell;
use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// Notes that what it is in has been dropped.
#[derive(Debug)]
struct Life(AtomicBool);

impl Life {
    const fn new() -> Life {
        Life(AtomicBool::new(true))
    }

    #[track_caller]
    fn check(&self) {
        assert!(self.0.load(Relaxed), "an access after the drop");
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.0.store(false, Relaxed);
    }
}

/// See the real `Word`.
pub trait Word {
    /// What the kernel would compare.
    fn peek(&self) -> u32;

    /// The word's address.
    fn address(&self) -> Address;
}

impl Word for AtomicU32 {
    fn peek(&self) -> u32 {
        self.load(Relaxed)
    }

    fn address(&self) -> Address {
        Address(std::ptr::from_ref(self) as usize)
    }
}

impl Word for AtomicU64 {
    fn peek(&self) -> u32 {
        self.load(Relaxed) as u32
    }

    fn address(&self) -> Address {
        Address(std::ptr::from_ref(self) as usize)
    }
}

/// A pointer, by its address in an [`AtomicU64`].
#[derive(Debug)]
pub struct AtomicPtr<T> {
    address: AtomicU64,
    _to: std::marker::PhantomData<fn(T) -> T>,
}

impl<T> AtomicPtr<T> {
    /// An atomic that holds `pointer`.
    pub fn new(pointer: *mut T) -> AtomicPtr<T> {
        AtomicPtr {
            address: AtomicU64::new(pointer.expose_provenance() as u64),
            _to: std::marker::PhantomData,
        }
    }

    /// The pointer.
    pub fn load(&self, order: std::sync::atomic::Ordering) -> *mut T {
        std::ptr::with_exposed_provenance_mut(self.address.load(order) as usize)
    }

    /// Makes it `pointer`.
    pub fn store(&self, pointer: *mut T, order: std::sync::atomic::Ordering) {
        self.address
            .store(pointer.expose_provenance() as u64, order);
    }
}

/// The models fork by [`set_fork_generation`], which calls no handlers.
pub(crate) fn need_fork_handlers() {}

/// Where a word is, or was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(usize);

impl Address {
    /// As a number.
    pub fn addr(self) -> usize {
        self.0
    }
}

/// A thread in the bucket's queue. Its plain fields are not the checker's: they must not order memory.
struct Sleeper {
    /// The address of the word it sleeps on.
    word: AtomicUsize,
    ranks: NonZeroU32,
    /// Set when a wake has picked the thread.
    woken: AtomicBool,
    thread: Thread,
}

impl Sleeper {
    fn sleeps_on(&self, word: Address) -> bool {
        self.word.load(Relaxed) == word.0
    }

    /// Takes it off the queue, unless a wake has.
    fn leave(self: &Arc<Sleeper>) -> bool {
        let mut bucket = BUCKET.lock().unwrap();
        let place = bucket.iter().position(|sleeper| Arc::ptr_eq(sleeper, self));
        place.map(|place| bucket.remove(place)).is_some()
    }
}

library::lazy_static! {
    static ref BUCKET: Mutex<VecDeque<Arc<Sleeper>>> = Mutex::new(VecDeque::new());
    static ref SIGNALS_LEFT: Budget = Budget::of(1);
}

/// Plain data of one execution: a checker runs all its threads on one of the system's, so no two touch
/// it at once.
struct Budget(Cell<u32>);

// SAFETY: see `Budget`.
unsafe impl Sync for Budget {}

impl Budget {
    fn of(count: u32) -> Budget {
        Budget(Cell::new(count))
    }

    fn take(&self) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        left > 0
    }
}

/// `FUTEX_WAIT_BITSET`.
pub fn futex_wait(
    word: &impl Word,
    expected: u32,
    deadline: Option<Deadline>,
    ranks: NonZeroU32,
) -> Outcome {
    let me = Arc::new(Sleeper {
        word: AtomicUsize::new(word.address().0),
        ranks,
        woken: AtomicBool::new(false),
        thread: thread::current(),
    });
    {
        let mut bucket = BUCKET.lock().unwrap();
        if word.peek() != expected {
            return Outcome::Differed;
        }
        bucket.push_back(me.clone());
    }
    let early = match deadline {
        Some(Deadline(When::Soon)) => Outcome::TimedOut,
        Some(Deadline(When::Never)) => Outcome::Interrupted,
        Some(Deadline(When::AfterASignal)) if SIGNALS_LEFT.take() => Outcome::Interrupted,
        Some(Deadline(When::AfterASignal)) => Outcome::TimedOut,
        None if wakes_for_no_reason() => Outcome::Woken,
        None => {
            while !me.woken.load(Relaxed) {
                away(thread::park);
            }
            return Outcome::Woken;
        }
    };
    linger(|| me.woken.load(Relaxed));
    if me.leave() {
        early
    } else {
        Outcome::Woken // picked meanwhile: the wake counts
    }
}

/// `FUTEX_WAKE`.
pub fn futex_wake(word: Address, count: u32) -> usize {
    futex_wake_ranked(word, count, NonZeroU32::MAX)
}

/// `FUTEX_WAKE_BITSET`.
pub fn futex_wake_ranked(word: Address, count: u32, ranks: NonZeroU32) -> usize {
    let mut picked = Vec::new();
    let mut bucket = BUCKET.lock().unwrap();
    bucket.retain(|sleeper| {
        let is_meant = sleeper.sleeps_on(word) && sleeper.ranks.get() & ranks.get() != 0;
        let pick = is_meant && picked.len() < count as usize;
        if pick {
            sleeper.woken.store(true, Relaxed);
            picked.push(sleeper.clone());
        }
        !pick
    });
    drop(bucket);
    for sleeper in &picked {
        sleeper.thread.unpark();
    }
    picked.len()
}

/// `FUTEX_CMP_REQUEUE`, waking none.
pub fn futex_requeue(
    from: &AtomicU32,
    expected: u32,
    to: &AtomicU32,
    count: u32,
) -> Result<usize, Differed> {
    let bucket = BUCKET.lock().unwrap();
    if from.peek() != expected {
        return Err(Differed);
    }
    let here = bucket
        .iter()
        .filter(|sleeper| sleeper.sleeps_on(from.address()));
    let moving: Vec<_> = here.take(count as usize).cloned().collect();
    for sleeper in &moving {
        sleeper.word.store(to.address().0, Relaxed);
    }
    Ok(moving.len())
}

/// The word did not have the expected value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Differed;

/// The end of a sleep of a wait that is checked now and then; the models have none.
pub fn before_next_check(deadline: Deadline) -> Deadline {
    deadline
}

/// The end of a sleep that is to last for a moment only.
pub fn for_a_moment(_: Deadline, _: std::time::Duration) -> Deadline {
    Deadline::SOON
}

/// A point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(When);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Soon,
    AfterASignal,
    Never,
}

impl Deadline {
    /// Comes at any moment of a wait.
    pub const SOON: Deadline = Deadline(When::Soon);
    /// Comes at any moment of a wait, but the first such wait of an execution a signal ends.
    pub const AFTER_A_SIGNAL: Deadline = Deadline(When::AfterASignal);
    /// Does not come.
    pub const NEVER: Deadline = Deadline(When::Never);

    /// Whether this is `NEVER`.
    pub fn is_never(self) -> bool {
        self == Deadline::NEVER
    }

    /// Not yet: it comes while a thread sleeps.
    pub fn has_passed(self) -> bool {
        false
    }
}

/// Under the model nobody spins: a spin is a wait that needs no wake.
pub fn cpus() -> u32 {
    1
}

/// See `cpus`.
pub fn pause() {}

/// See `cpus`.
pub fn nanos() -> i64 {
    0
}

/// See `cpus`.
pub fn yield_now() {}

/// There always is the checker's fence for all threads.
pub fn register_fence() -> bool {
    true
}

/// Time stands still.
pub fn coarse_tick() -> u32 {
    0
}

/// See `coarse_tick`.
pub fn pass_time(_: std::time::Duration) {}

thread_local! {
    // Not the checker's: it outlives the execution, all of which runs on one of the system's threads.
    static FORKS: Cell<u32> = const { Cell::new(0) };
}

/// How often the modelled process has been forked off.
pub fn fork_generation() -> u32 {
    FORKS.get()
}

/// Makes it another process: to be called while a model has one thread, the first time at the
/// beginning of each execution.
pub fn set_fork_generation(generation: u32) {
    FORKS.set(generation);
}

library::thread_local! {
    static TOKEN: u64 = {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        NEXT.fetch_add(1, Relaxed)
    };
}

/// The identity of the calling thread.
pub fn thread_token() -> u64 {
    TOKEN.with(|token| *token)
}
