//! The primitives as the model checker sees them: loom's atomics and cells, and a futex that is as
//! unkind as the kernel may be.
//!
//! The futex keeps its sleepers in one queue under one modelled mutex, the counterpart of the
//! kernel's hash bucket: the comparison of the word and the queueing are one step for wakers, and
//! what a waker did before its call is visible to a waiter that queues after it. The comparison
//! is a relaxed load: apart from the bucket it may be stale, as in the kernel.
//!
//! At any moment while it is queued
//! - a wait with a deadline may time out,
//! - an interruptible wait may be interrupted,
//! - any other wait may wake for no reason, [`SPURIOUS_WAKES`] times in an execution.
//!
//! Whether it does is a branch that loom explores (its `Notify` may return spuriously, once).

use super::Outcome;
pub use loom::cell::UnsafeCell;
use loom::sync::atomic::Ordering::Relaxed;
pub use loom::sync::atomic::{AtomicU32, AtomicU64};
use loom::sync::{Mutex, Notify};
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed as StdRelaxed};

/// How many waits without a deadline may wake for no reason in one execution. Each one more
/// multiplies the executions; one is enough to tell a wait that is not in a loop.
pub const SPURIOUS_WAKES: u32 = 1;

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

/// Where a word is, or was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(usize);

/// A thread in the bucket's queue. Its plain fields are not loom's: they must not order memory.
struct Sleeper {
    /// The address of the word it sleeps on.
    word: AtomicUsize,
    /// Set when a wake has picked the thread.
    woken: AtomicBool,
    bell: Notify,
}

impl Sleeper {
    fn sleeps_on(&self, word: Address) -> bool {
        self.word.load(StdRelaxed) == word.0
    }
}

loom::lazy_static! {
    static ref BUCKET: Mutex<VecDeque<Arc<Sleeper>>> = Mutex::new(VecDeque::new());
    static ref SPURIOUS_LEFT: Budget = Budget(Cell::new(SPURIOUS_WAKES));
}

/// Plain data of one execution: loom runs all its threads on one, so no two touch it at once.
struct Budget(Cell<u32>);

// SAFETY: see `Budget`.
unsafe impl Sync for Budget {}

impl Budget {
    fn take(&self) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        left > 0
    }
}

/// `FUTEX_WAIT_BITSET`.
pub fn futex_wait(word: &impl Word, expected: u32, deadline: Option<Deadline>) -> Outcome {
    let me = {
        let mut bucket = BUCKET.lock().unwrap();
        if word.peek() != expected {
            return Outcome::Differed;
        }
        let me = Arc::new(Sleeper {
            word: AtomicUsize::new(word.address().0),
            woken: AtomicBool::new(false),
            bell: Notify::new(),
        });
        bucket.push_back(me.clone());
        me
    };
    loop {
        me.bell.wait();
        if me.woken.load(StdRelaxed) {
            return Outcome::Woken;
        }
        let early = match deadline {
            Some(Deadline::SOON) => Outcome::TimedOut,
            Some(Deadline::NEVER) => Outcome::Interrupted,
            None if SPURIOUS_LEFT.take() => Outcome::Woken,
            None => continue, // the bell returns for no reason once only
        };
        let mut bucket = BUCKET.lock().unwrap();
        let Some(place) = bucket.iter().position(|sleeper| Arc::ptr_eq(sleeper, &me)) else {
            return Outcome::Woken; // picked meanwhile: the wake counts
        };
        bucket.remove(place);
        return early;
    }
}

/// `FUTEX_WAKE`.
pub fn futex_wake(word: Address, count: u32) -> usize {
    let mut picked = Vec::new();
    let mut bucket = BUCKET.lock().unwrap();
    bucket.retain(|sleeper| {
        let pick = sleeper.sleeps_on(word) && picked.len() < count as usize;
        if pick {
            sleeper.woken.store(true, StdRelaxed);
            picked.push(sleeper.clone());
        }
        !pick
    });
    drop(bucket);
    for sleeper in &picked {
        sleeper.bell.notify();
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
        sleeper.word.store(to.address().0, StdRelaxed);
    }
    Ok(moving.len())
}

/// The word did not have the expected value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Differed;

/// A point in time: one that may come at any moment, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    comes: bool,
}

impl Deadline {
    /// May come at any moment.
    pub const SOON: Deadline = Deadline { comes: true };
    /// Does not come.
    pub const NEVER: Deadline = Deadline { comes: false };

    /// Whether this is `NEVER`.
    pub fn is_never(self) -> bool {
        !self.comes
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
pub fn yield_now() {}

loom::thread_local! {
    static TOKEN: u64 = {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        NEXT.fetch_add(1, StdRelaxed)
    };
}

/// The identity of the calling thread.
pub fn thread_token() -> u64 {
    TOKEN.with(|token| *token)
}
