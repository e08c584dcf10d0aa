//! Barriers: all of a round fare alike, each has a number of its own, and the action runs once.

use super::{Arena, Shared};
use crate::check;
use crate::what::{Form, What};
use crate::worker::{Limit, Patience, Wait, Worker};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use threadbare::{Barrier, BarrierAction, Error};

impl<A: BarrierAction> Wait for &Barrier<A> {
    type Got = usize;
    const WHAT: What = What::BarrierWait;
    const FORMS: &'static [Form] = Form::BUT_TRY;

    fn address(&self) -> usize {
        std::ptr::from_ref(*self).addr()
    }

    fn wait(self, limit: &Limit) -> Result<Option<usize>, Error> {
        match limit.form {
            Form::Timeout => self.wait_timeout(limit.timeout),
            Form::Until => self.wait_until(limit.deadline),
            Form::Interruptible => self.wait_interruptible(limit.deadline),
            Form::Checked => self.wait_checked(limit.deadline, limit.check()),
            _ => self.wait(),
        }
        .map(Some)
    }
}

/// What the action and the parties know of the rounds of a barrier.
struct Rounds {
    parties: usize,
    /// Whether a round may fail after its action.
    may_fail: bool,
    /// How often the action has run. Plain memory: the barrier orders the accesses.
    passed: Shared<u64>,
    /// Which numbers were given out, for the last four rounds.
    numbers: [AtomicU64; 4],
    /// Whether the round is the last one. Plain memory too.
    is_last: Shared<bool>,
}

impl Rounds {
    fn new(parties: usize, may_fail: bool) -> Arc<Rounds> {
        Arc::new(Rounds {
            parties,
            may_fail,
            passed: Shared::new(0),
            numbers: [const { AtomicU64::new(0) }; 4],
            is_last: Shared::new(false),
        })
    }

    /// The action: all parties are there, so each has its number of the round before.
    fn pass(&self) -> u64 {
        // SAFETY: no other party reads it before the action ends, nor after it came here.
        let passed = unsafe { &mut *self.passed.get() };
        let before = self.numbers[(*passed % 4) as usize].swap(0, Relaxed);
        self.check_numbers(*passed, before);
        *passed += 1;
        *passed
    }

    /// All of a round fare alike: all have their numbers, or none has one.
    fn check_numbers(&self, round: u64, numbers: u64) {
        let (all, none) = ((1 << self.parties) - 1, 0);
        check!(
            numbers == all || numbers == none && (self.may_fail || round == 0),
            "round {round} gave the numbers {numbers:#b} to {} parties",
            self.parties
        );
    }

    /// A party has passed with `number`; returns the round.
    fn passed(&self, number: usize) -> u64 {
        // SAFETY: the next action does not begin before this thread comes again.
        let round = unsafe { *self.passed.get() };
        let before = self.numbers[(round % 4) as usize].fetch_or(1 << number, Relaxed);
        let is_own = number < self.parties && before & (1 << number) == 0;
        check!(is_own, "round {round} gave number {number} twice");
        round
    }
}

pub struct Barriers {
    /// Half of the threads: nobody is late, each round passes.
    steady: Barrier<Box<dyn FnMut() + Send>>,
    steady_rounds: Arc<Rounds>,
    /// The others but one: it times out, is interrupted, aborted, reset.
    rough: Barrier<Box<dyn FnMut() + Send>>,
    rough_rounds: Arc<Rounds>,
    /// Tells the steady barrier's action that the end has come.
    over: Arc<AtomicBool>,
    left: AtomicUsize,
}

impl Barriers {
    pub fn new(crew: usize) -> Barriers {
        let steady_rounds = Rounds::new((crew / 2).clamp(1, 63), false);
        let rough_rounds = Rounds::new((crew - 1 - crew / 2).clamp(1, 63), true);
        let over = Arc::new(AtomicBool::new(false));
        let steady_action = {
            let (rounds, over) = (steady_rounds.clone(), over.clone());
            move || {
                rounds.pass();
                // SAFETY: as in `pass`.
                unsafe { *rounds.is_last.get() = over.load(Relaxed) };
            }
        };
        let rough_action = {
            let rounds = rough_rounds.clone();
            move || {
                rounds.pass();
            }
        };
        Barriers {
            steady: Barrier::new(steady_rounds.parties).with_action(Box::new(steady_action)),
            rough: Barrier::new(rough_rounds.parties).with_action(Box::new(rough_action)),
            steady_rounds,
            rough_rounds,
            over,
            left: AtomicUsize::new(0),
        }
    }

    fn keep_step(&self, worker: &mut Worker) {
        let mut round = 0;
        loop {
            worker.dawdle();
            if worker.is_over() {
                self.over.store(true, Relaxed);
            }
            let Some(number) = worker.wait(&self.steady, Patience::Unbounded) else {
                unreachable!("checked by `wait`");
            };
            let passed = self.steady_rounds.passed(number);
            round += 1;
            check!(passed == round, "round {passed} for one in round {round}");
            // SAFETY: the next action does not begin before this thread comes again.
            if unsafe { *self.steady_rounds.is_last.get() } {
                return;
            }
        }
    }

    fn stumble(&self, worker: &mut Worker) {
        while !worker.is_over() {
            worker.dawdle();
            let patience = match worker.rng.one_in(8) {
                true => Patience::Any,
                false => Patience::Patient,
            };
            match worker.wait_or_err(&self.rough, patience) {
                Ok(Some(number)) => drop(self.rough_rounds.passed(number)),
                Ok(None) => {} // interrupted
                Err(Error::BrokenBarrier) => {
                    if self.rough.broken() && worker.rng.one_in(2) {
                        worker.begin(What::BarrierBreak, 0);
                        self.rough.reset();
                    }
                }
                Err(error) => check!(false, "{error}"),
            }
        }
    }

    fn spoil(&self, worker: &mut Worker) {
        while !worker.is_over() {
            worker.begin(What::BarrierBreak, std::ptr::from_ref(&self.rough).addr());
            match worker.rng.below(4) {
                0 => self.rough.abort(),
                _ => self.rough.reset(),
            }
            worker.show(What::Sleep, 0);
            let pause = worker.rng.below(2_000);
            std::thread::sleep(std::time::Duration::from_micros(pause));
        }
    }
}

impl Arena for Barriers {
    fn work(&self, worker: &mut Worker) {
        // The first one is the spoiler, which sees the others off.
        let number = worker.number;
        if (1..=self.steady_rounds.parties).contains(&number) {
            self.keep_step(worker);
        } else if (1..=self.rough_rounds.parties)
            .contains(&(number.wrapping_sub(self.steady_rounds.parties)))
        {
            self.stumble(worker);
        } else if number == 0 {
            self.spoil(worker);
        }
        worker.see_off(&self.left, || self.rough.abort());
    }

    fn check(&mut self) {
        let inside = (self.steady.n_waiting(), self.rough.n_waiting());
        check!(inside == (0, 0), "{inside:?} wait, and nobody is there");
        check!(!self.steady.broken(), "nobody broke it");
        self.rough.reset();
        check!(!self.rough.broken(), "it was reset");
        for rounds in [&self.steady_rounds, &self.rough_rounds] {
            // SAFETY: all threads have left.
            let passed = unsafe { *rounds.passed.get() };
            let numbers = rounds.numbers[(passed % 4) as usize].load(Relaxed);
            rounds.check_numbers(passed, numbers);
        }
        let late = self.rough.wait_timeout(std::time::Duration::ZERO);
        let expected = match self.rough_rounds.parties {
            1 => Ok(0),
            _ => Err(Error::BrokenBarrier),
        };
        check!(late == expected, "{late:?}");
    }

    fn survive(&self) {
        // SAFETY: the caller is alone in the child.
        unsafe { self.rough.at_fork_reinit() };
        let fresh = (self.rough.n_waiting(), self.rough.broken());
        check!(fresh == (0, false), "not as new: {fresh:?}");
        self.rough.abort();
        check!(self.rough.wait() == Err(Error::BrokenBarrier), "not broken");
        self.rough.reset();
        check!(!self.rough.broken(), "not reset");
    }
}
