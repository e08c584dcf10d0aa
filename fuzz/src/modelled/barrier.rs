//! `Barrier`: all of a round fare alike (BAR).

use super::play::{Alone, Patience, Stage, Waiting, play};
use arbitrary::{Arbitrary, Unstructured};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use threadbare::raw::barrier::{Arrival, Failure, RawBarrier, Waited};
use threadbare::raw::park::Limit;

/// Plays a program on a barrier.
pub fn barrier(input: &[u8]) {
    play::<Shared>(input);
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Operation {
    Pass(Patience),
    /// As the others, so that more rounds are completed.
    PassToo,
    /// Does not trip the barrier if it comes last: the action panics.
    PassWithPanic,
    Reset,
    Abort,
}

/// What has happened.
#[derive(Debug, Default)]
struct Seen {
    /// Of each seat, how often a thread passed with it.
    passed: Vec<usize>,
    trips: usize,
    actions: usize,
    /// Whether something was begun that may make others fail.
    is_disturbed: bool,
}

struct Shared {
    barrier: RawBarrier,
    seen: Mutex<Seen>,
    inside: Waiting<()>,
    is_acting: AtomicBool,
    resets_at_once: bool,
}

impl Shared {
    fn disturb(&self) {
        self.seen.lock().unwrap().is_disturbed = true;
    }

    /// What the public type does around the protocol.
    fn pass(&self, limit: Limit, panics: bool) -> Result<u32, Failure> {
        let last = match self.barrier.arrive() {
            Arrival::Last(last) => last,
            Arrival::Early(early) => match self.barrier.wait(early, limit)? {
                Waited::Last(last) => last,
                Waited::Passed(seat) => return Ok(seat),
            },
        };
        last.act(|| {
            assert!(!self.is_acting.swap(true, Relaxed), "two actions at a time");
            assert!(self.barrier.is_acting());
            self.is_acting.store(false, Relaxed);
        });
        self.seen.lock().unwrap().actions += 1;
        if panics {
            drop(last);
            return Err(Failure::Broken);
        }
        let passed = last.trip();
        if passed.is_ok() {
            self.seen.lock().unwrap().trips += 1;
        }
        passed
    }

    fn pass_and_tell(&self, thread: usize, limit: Limit, panics: bool) {
        match self.inside.during(thread, (), || self.pass(limit, panics)) {
            Ok(seat) => self.seen.lock().unwrap().passed[seat as usize] += 1,
            Err(Failure::Broken) => assert!(self.seen.lock().unwrap().is_disturbed),
            Err(Failure::Interrupted) => assert!(limit.interruptible),
        }
    }
}

impl Stage for Shared {
    type Operation = Operation;

    fn new(source: &mut Unstructured) -> arbitrary::Result<Shared> {
        let parties = source.int_in_range(1..=3)?;
        Ok(Shared {
            barrier: RawBarrier::new(parties),
            seen: Mutex::new(Seen {
                passed: vec![0; parties as usize],
                ..Seen::default()
            }),
            inside: Waiting::new(),
            is_acting: AtomicBool::new(false),
            resets_at_once: source.arbitrary()?,
        })
    }

    fn perform(&self, thread: usize, operation: &Operation) {
        match *operation {
            Operation::Pass(patience) => {
                let limit = patience.limit();
                if !limit.interruptible && !limit.deadline.is_never() {
                    self.disturb();
                }
                self.pass_and_tell(thread, limit, false);
            }
            Operation::PassToo => self.pass_and_tell(thread, Limit::NONE, false),
            Operation::PassWithPanic => {
                self.disturb();
                self.pass_and_tell(thread, Limit::NONE, true);
            }
            Operation::Reset => {
                self.disturb();
                self.barrier.reset();
            }
            Operation::Abort => {
                self.disturb();
                self.barrier.abort();
            }
        }
    }

    fn rescue(&self, alone: &Alone) {
        let barrier = &self.barrier;
        let inside = self.inside.all().len() as u32;
        assert!(!barrier.is_broken(), "a broken barrier lets everybody go");
        assert_eq!(
            barrier.n_waiting(),
            inside,
            "who sleeps is seated in a round that fills"
        );
        assert!(inside < barrier.parties(), "a full round lets everybody go");
        alone.with(|| {
            self.disturb();
            barrier.abort();
            if self.resets_at_once {
                barrier.reset();
            }
        });
    }

    fn finish(&self) {
        let seen = self.seen.lock().unwrap();
        let alike = seen.passed.iter().all(|passed| *passed == seen.trips);
        assert!(alike, "each round has each seat once: {seen:?}");
        assert!(seen.trips <= seen.actions);
        self.barrier.reset();
        assert_eq!(
            (self.barrier.n_waiting(), self.barrier.is_broken()),
            (0, false)
        );
        // It works.
        let early: Vec<_> = (1..self.barrier.parties())
            .map(|_| self.barrier.arrive())
            .collect();
        assert!(
            early
                .iter()
                .all(|arrival| matches!(arrival, Arrival::Early(_)))
        );
        let Arrival::Last(last) = self.barrier.arrive() else {
            panic!("the round is full");
        };
        assert_eq!(last.trip(), Ok(self.barrier.parties() - 1));
    }
}
