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
    /// What may have made others fail.
    disturbances: Vec<Disturbance>,
    now: usize,
}

/// A call, and what it may do to others.
#[derive(Debug)]
struct Disturbance {
    effect: Effect,
    from: usize,
    /// `None` while it lasts.
    to: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// Fails who is there at the same time, and who comes before the next reset.
    Breaks,
    /// Fails who is there at the same time.
    Resets,
    None,
}

impl Seen {
    fn tick(&mut self) -> usize {
        self.now += 1;
        self.now
    }

    /// Whether a thread that came at `from` may have failed by now.
    fn excuses(&self, from: usize) -> bool {
        self.disturbances.iter().any(|disturbance| {
            let Some(to) = disturbance.to.filter(|to| *to < from) else {
                return disturbance.effect != Effect::None; // at the same time
            };
            let undoes = |other: &Disturbance| {
                let is_between = other.from > to && other.to.is_some_and(|end| end < from);
                is_between && other.effect == Effect::Resets
            };
            disturbance.effect == Effect::Breaks && !self.disturbances.iter().any(undoes)
        })
    }
}

struct Shared {
    barrier: RawBarrier,
    seen: Mutex<Seen>,
    inside: Waiting<()>,
    is_acting: AtomicBool,
    resets_at_once: bool,
}

impl Shared {
    /// Calls `operation`, which may have this effect; whether it had, it returns.
    fn disturb(&self, effect: Effect, operation: impl FnOnce() -> bool) {
        let place = {
            let mut seen = self.seen.lock().unwrap();
            let (from, to) = (seen.tick(), None);
            seen.disturbances.push(Disturbance { effect, from, to });
            seen.disturbances.len() - 1
        };
        let had_effect = operation();
        let mut seen = self.seen.lock().unwrap();
        let now = seen.tick();
        seen.disturbances[place].to = Some(now);
        if !had_effect {
            seen.disturbances[place].effect = Effect::None;
        }
    }

    fn reset(&self) {
        self.disturb(Effect::Resets, || {
            self.barrier.reset();
            true
        });
    }

    fn abort(&self) {
        self.disturb(Effect::Breaks, || {
            self.barrier.abort();
            true
        });
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

    /// Whether it passed.
    fn pass_and_tell(&self, thread: usize, limit: Limit, panics: bool) -> bool {
        let from = self.seen.lock().unwrap().tick();
        let passed = self.inside.during(thread, (), || self.pass(limit, panics));
        let mut seen = self.seen.lock().unwrap();
        match passed {
            Ok(seat) => seen.passed[seat as usize] += 1,
            Err(Failure::Broken) => assert!(seen.excuses(from), "since {from}: {seen:?}"),
            Err(Failure::Interrupted) => assert!(limit.interruptible),
        }
        passed.is_ok()
    }

    /// Passes with all seats, alone.
    fn pass_alone(&self) {
        let parties = self.barrier.parties();
        let early: Vec<_> = (1..parties).map(|_| self.barrier.arrive()).collect();
        let are_early = early
            .iter()
            .all(|arrival| matches!(arrival, Arrival::Early(_)));
        assert!(are_early, "the round is not full");
        let Arrival::Last(last) = self.barrier.arrive() else {
            panic!("the round is full");
        };
        assert_eq!(last.trip(), Ok(parties - 1));
        let is_new = self.barrier.n_waiting() == 0 && !self.barrier.is_broken();
        assert!(is_new, "a round leaves nothing to the next one");
    }
}

impl Stage for Shared {
    type Operation = Operation;

    fn new(source: &mut Unstructured) -> arbitrary::Result<Shared> {
        let parties = *source.choose(&[1, 2, 2, 3, 3, 3])?;
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
                if limit.interruptible || limit.deadline.is_never() {
                    self.pass_and_tell(thread, limit, false);
                } else {
                    self.disturb(Effect::Breaks, || !self.pass_and_tell(thread, limit, false));
                }
            }
            Operation::PassToo => {
                self.pass_and_tell(thread, Limit::NONE, false);
            }
            Operation::PassWithPanic => {
                self.disturb(Effect::Breaks, || {
                    !self.pass_and_tell(thread, Limit::NONE, true)
                });
            }
            Operation::Reset => self.reset(),
            Operation::Abort => self.abort(),
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
            self.abort();
            if self.resets_at_once {
                self.reset();
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
        self.pass_alone();
        self.pass_alone();
    }
}
