//! `RLock`, against an owner and a depth (RLOCK).

use super::history::{History, Sequential};
use super::play::{Alone, Patience, Stage, play};
use arbitrary::{Arbitrary, Unstructured};
use std::cell::Cell;
use threadbare::raw::asymmetry;
use threadbare::raw::rlock::RawRLock;

/// Plays a program on a lock.
pub fn rlock(input: &[u8]) {
    play::<Locked>(input);
}

#[derive(Arbitrary, Clone, Debug)]
enum Operation {
    Acquire(Patience),
    TryAcquire,
    /// And not if it is the caller's.
    TryAcquireFree,
    Release,
    /// Of all, and the same again.
    ReleaseAndAcquireAll,
    Depth,
    IsLocked,
}

/// Who holds it, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Held(Option<(usize, u32)>);

#[derive(Clone, Debug)]
enum Call {
    Acquire {
        thread: usize,
        got_it: bool,
    },
    AcquireFree {
        thread: usize,
        got_it: bool,
    },
    Release {
        thread: usize,
        was_owner: bool,
    },
    /// For its owner: gives it up, whatever the depth.
    ReleaseAll {
        thread: usize,
        depth: u32,
    },
    AcquireAll {
        thread: usize,
        depth: u32,
    },
    Depth {
        thread: usize,
        depth: u32,
    },
    IsLocked(bool),
}

impl Held {
    fn depth(&self, thread: usize) -> u32 {
        match self.0 {
            Some((owner, depth)) if owner == thread => depth,
            _ => 0,
        }
    }
}

impl Sequential for Held {
    type Call = Call;

    fn accepts(&mut self, call: &Call) -> bool {
        match *call {
            Call::Acquire { thread, got_it } => {
                let depth = self.depth(thread);
                let can = self.0.is_none() || depth > 0;
                if can {
                    self.0 = Some((thread, depth + 1));
                }
                got_it == can
            }
            Call::AcquireFree { thread, got_it } => {
                let can = self.0.is_none();
                if can {
                    self.0 = Some((thread, 1));
                }
                got_it == can
            }
            Call::Release { thread, was_owner } => {
                let depth = self.depth(thread);
                match depth {
                    0 => {}
                    1 => self.0 = None,
                    _ => self.0 = Some((thread, depth - 1)),
                }
                was_owner == (depth > 0)
            }
            Call::ReleaseAll { thread, depth } => {
                let held = std::mem::take(&mut self.0);
                held == Some((thread, depth))
            }
            Call::AcquireAll { thread, depth } => {
                let was_free = self.0.is_none();
                self.0 = Some((thread, depth));
                was_free
            }
            Call::Depth { thread, depth } => depth == self.depth(thread),
            Call::IsLocked(was) => was == self.0.is_some(),
        }
    }
}

struct Locked {
    lock: RawRLock,
    history: History<Held>,
}

impl Locked {
    /// What the public type does around the protocol.
    fn acquire(&self, patience: Patience) -> bool {
        let limit = patience.limit();
        let taken = self.lock.attempt().expect("nobody holds it so often");
        taken || patience.judge(self.lock.acquire_contended(limit))
    }

    fn release_and_acquire_all(&self, thread: usize) {
        if !self.lock.is_owned() {
            return;
        }
        let depth = Cell::new(0);
        self.history.record(|| {
            // SAFETY: this thread owns the lock.
            depth.set(unsafe { self.lock.release_all() });
            let depth = depth.get();
            Call::ReleaseAll { thread, depth }
        });
        let depth = depth.get();
        self.history.record(|| {
            self.lock.acquire_all(depth, false);
            Call::AcquireAll { thread, depth }
        });
    }
}

impl Stage for Locked {
    type Operation = Operation;

    fn new(_: &mut Unstructured) -> arbitrary::Result<Locked> {
        asymmetry::prepare(); // releases may be plain stores
        Ok(Locked {
            lock: RawRLock::new(),
            history: History::new(Held(None)),
        })
    }

    fn perform(&self, thread: usize, operation: &Operation) {
        let lock = &self.lock;
        let call = || match *operation {
            Operation::Acquire(patience) => {
                let got_it = self.acquire(patience);
                Call::Acquire { thread, got_it }
            }
            Operation::TryAcquire => {
                let got_it = lock.try_acquire().expect("nobody holds it so often");
                Call::Acquire { thread, got_it }
            }
            Operation::TryAcquireFree => {
                let got_it = lock.try_acquire_free();
                Call::AcquireFree { thread, got_it }
            }
            Operation::Release => {
                let was_owner = lock.release().is_ok();
                Call::Release { thread, was_owner }
            }
            Operation::Depth | Operation::ReleaseAndAcquireAll => {
                let depth = lock.depth();
                Call::Depth { thread, depth }
            }
            Operation::IsLocked => Call::IsLocked(lock.is_locked()),
        };
        self.history.record(call);
        if let Operation::ReleaseAndAcquireAll = operation {
            self.release_and_acquire_all(thread);
        }
    }

    /// Lets the lock go, or nobody else could (RLOCK-6).
    fn leave(&self, thread: usize) {
        while self.lock.is_owned() {
            self.perform(thread, &Operation::Release);
        }
    }

    fn rescue(&self, _: &Alone) {
        unreachable!(
            "the owner does not sleep and lets go in the end, so nobody may sleep for ever"
        );
    }

    fn finish(&self) {
        self.history.cut(|held| held.0.is_none());
        assert!(!self.lock.is_locked());
    }
}
