//! `Semaphore` and `BoundedSemaphore`, against a number (SEM, BSEM).

use super::history::{History, Sequential};
use super::play::{Alone, Patience, RESCUER, Stage, Waiting, play};
use arbitrary::{Arbitrary, Unstructured};
use threadbare::raw::semaphore::{MAX_PERMITS, RawSemaphore};

/// Plays a program on a semaphore.
pub fn semaphore(input: &[u8]) {
    play::<Shared>(input);
}

/// The most permits of an operation, and of a semaphore with a bound.
const MOST: u32 = 3;

#[derive(Clone, Copy, Debug)]
struct Few(u32);

impl<'a> Arbitrary<'a> for Few {
    fn arbitrary(source: &mut Unstructured<'a>) -> arbitrary::Result<Few> {
        source.int_in_range(1..=MOST).map(Few)
    }
}

#[derive(Arbitrary, Clone, Debug)]
enum Operation {
    Acquire(Few, Patience),
    TryAcquire(Few),
    Release(Few),
    Value,
}

/// The permits that are there, and how many may be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Permits {
    value: u32,
    bound: u32,
}

#[derive(Clone, Debug)]
enum Call {
    /// Of any kind, of so many; whether it got them.
    Acquire(u32, bool),
    /// Of so many; whether there was room.
    Release(u32, bool),
    Value(u32),
}

impl Sequential for Permits {
    type Call = Call;

    fn accepts(&mut self, call: &Call) -> bool {
        match *call {
            // Who gives up, too, has found too few at the end (SEM-4).
            Call::Acquire(count, got_them) => {
                let can = self.value >= count;
                if can {
                    self.value -= count;
                }
                got_them == can
            }
            Call::Release(count, had_room) => {
                let can = self.value + count <= self.bound;
                if can {
                    self.value += count;
                }
                had_room == can
            }
            Call::Value(value) => value == self.value,
        }
    }
}

struct Shared {
    semaphore: RawSemaphore,
    bound: u32,
    history: History<Permits>,
    /// How many permits each wants.
    waiting: Waiting<u32>,
}

impl Stage for Shared {
    type Operation = Operation;

    fn new(source: &mut Unstructured) -> arbitrary::Result<Shared> {
        let value = source.int_in_range(0..=MOST)?;
        let bound = if source.arbitrary()? {
            MOST
        } else {
            MAX_PERMITS
        };
        Ok(Shared {
            semaphore: RawSemaphore::new(value),
            bound,
            history: History::new(Permits { value, bound }),
            waiting: Waiting::new(),
        })
    }

    fn perform(&self, thread: usize, operation: &Operation) {
        let semaphore = &self.semaphore;
        self.history.record(|| match *operation {
            Operation::Acquire(Few(count), patience) => {
                let wait = || semaphore.acquire_contended(count, patience.limit());
                let got_them = semaphore.try_acquire(count)
                    || patience.judge(self.waiting.during(thread, count, wait));
                Call::Acquire(count, got_them)
            }
            Operation::TryAcquire(Few(count)) => Call::Acquire(count, semaphore.try_acquire(count)),
            Operation::Release(Few(count)) => {
                Call::Release(count, semaphore.release(count, self.bound).is_ok())
            }
            Operation::Value => Call::Value(semaphore.value()),
        });
    }

    fn rescue(&self, _: &Alone) {
        let wanted = self.waiting.all();
        let fewest = *wanted.values().min().expect("some wait");
        let value = self.semaphore.value();
        assert!(value < fewest, "some could go on");
        self.history.cut(|permits| permits.value == value);
        let waiters = self.semaphore.waiters() as usize;
        assert_eq!(
            waiters,
            wanted.len(),
            "who waits is counted, and nobody else"
        );
        // Enough for one of them.
        self.perform(RESCUER, &Operation::Release(Few(fewest - value)));
    }

    fn finish(&self) {
        let value = self.semaphore.value();
        self.history.cut(|permits| permits.value == value);
        assert_eq!(self.semaphore.waiters(), 0);
    }
}
