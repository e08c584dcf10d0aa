//! `Lock`, against a flag (LOCK).

use super::history::{History, Sequential};
use super::play::{Alone, Patience, RESCUER, Stage, play};
use arbitrary::{Arbitrary, Unstructured};
use threadbare::raw::lock::RawLock;

/// Plays a program on a lock.
pub fn lock(input: &[u8]) {
    play::<Locked>(input);
}

#[derive(Arbitrary, Clone, Debug)]
enum Operation {
    Acquire(Patience),
    TryAcquire,
    Release,
    IsLocked,
}

/// Whether it is locked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Flag(bool);

#[derive(Clone, Debug)]
enum Call {
    /// Of any kind; whether it got the lock.
    Acquire(bool),
    /// Whether it freed the lock.
    Release(bool),
    IsLocked(bool),
}

impl Sequential for Flag {
    type Call = Call;

    fn accepts(&mut self, call: &Call) -> bool {
        match *call {
            // Who gives up, too, has found it locked at the end (LOCK-8).
            Call::Acquire(got_it) => got_it != std::mem::replace(&mut self.0, true),
            Call::Release(freed) => freed == std::mem::replace(&mut self.0, false),
            Call::IsLocked(was) => was == self.0,
        }
    }
}

struct Locked {
    lock: RawLock,
    history: History<Flag>,
}

impl Stage for Locked {
    type Operation = Operation;

    fn new(_: &mut Unstructured) -> arbitrary::Result<Locked> {
        Ok(Locked {
            lock: RawLock::new(),
            history: History::new(Flag(false)),
        })
    }

    fn perform(&self, _: usize, operation: &Operation) {
        let lock = &self.lock;
        self.history.record(|| match *operation {
            Operation::Acquire(patience) => {
                Call::Acquire(patience.judge(lock.acquire(patience.limit())))
            }
            Operation::TryAcquire => Call::Acquire(lock.try_acquire()),
            Operation::Release => Call::Release(lock.release().is_ok()),
            Operation::IsLocked => Call::IsLocked(lock.is_locked()),
        });
    }

    fn rescue(&self, _: &Alone) {
        self.history.cut(|flag| flag.0);
        self.perform(RESCUER, &Operation::Release);
    }

    fn finish(&self) {
        self.history.cut(|flag| flag.0 == self.lock.is_locked());
    }
}
