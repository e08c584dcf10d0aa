//! Events: who waits is freed by the next `set`, a `clear` right after it notwithstanding.

use super::Arena;
use crate::check;
use crate::disturb::SET_BY_HANDLERS;
use crate::what::{Form, What};
use crate::worker::{Limit, Patience, Wait, Worker, got};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;
use threadbare::{Error, Event};

impl Wait for &Event {
    type Got = ();
    const WHAT: What = What::EventWait;
    const FORMS: &'static [Form] = Form::BUT_TRY;

    fn address(&self) -> usize {
        std::ptr::from_ref(*self).addr()
    }

    fn wait(self, limit: &Limit) -> Result<Option<()>, Error> {
        let was_set = match limit.form {
            Form::Timeout => self.wait_timeout(limit.timeout)?,
            Form::Until => self.wait_until(limit.deadline),
            Form::Interruptible => self.wait_interruptible(limit.deadline)?,
            Form::Checked => self.wait_checked(limit.deadline, limit.check())?,
            _ => {
                self.wait();
                true
            }
        };
        Ok(got(was_set))
    }
}

/// One thread waits, another sets and clears.
#[derive(Default)]
struct Couple {
    event: Event,
    /// Waits that have returned.
    returned: AtomicU64,
    has_left: AtomicBool,
}

pub struct Events {
    /// Half of the threads, two by two.
    couples: Vec<Couple>,
    /// For the others: anybody sets, clears, waits.
    shared: Event,
    left: AtomicUsize,
}

impl Events {
    pub fn new(crew: usize) -> Events {
        Events {
            couples: (0..crew / 4).map(|_| Couple::default()).collect(),
            shared: Event::new(),
            left: AtomicUsize::new(0),
        }
    }

    /// Waits to be freed by one `set` at a time.
    fn wait(&self, worker: &mut Worker, couple: &Couple) {
        while !worker.is_over() {
            // Never gives up, so that who is there to be seen waiting waits until it is freed.
            let freed = worker.wait(&couple.event, Patience::Unbounded);
            check!(freed.is_some(), "it gave up");
            couple.returned.fetch_add(1, Relaxed);
            worker.dawdle();
        }
        couple.has_left.store(true, Relaxed);
    }

    /// Frees who waits by a single `set`, with a `clear` at once.
    fn free(&self, worker: &mut Worker, couple: &Couple) {
        while !couple.has_left.load(Relaxed) {
            worker.show(What::Hold, 0);
            if !couple.event.has_waiters() {
                thread::yield_now();
                continue;
            }
            let returned = couple.returned.load(Relaxed);
            worker.begin(What::EventSet, std::ptr::from_ref(&couple.event).addr());
            couple.event.set();
            couple.event.clear();
            worker.show(What::SeeOff, std::ptr::from_ref(&couple.event).addr());
            let mut looks = 0;
            while couple.returned.load(Relaxed) == returned {
                looks += 1;
                if looks < 20 {
                    thread::yield_now();
                } else {
                    thread::sleep(std::time::Duration::from_micros(20));
                }
            }
        }
    }

    fn mix(&self, worker: &mut Worker) {
        while !worker.is_over() {
            // The first sees to it that not all wait.
            let patience = match worker.number {
                0 => Patience::Short,
                _ => Patience::Any,
            };
            let event = match worker.rng.below(3) {
                0 => &SET_BY_HANDLERS,
                _ => &self.shared,
            };
            match worker.rng.below(4) {
                0 => {
                    worker.begin(What::EventSet, std::ptr::from_ref(event).addr());
                    event.set();
                }
                1 => {
                    worker.begin(What::EventSet, std::ptr::from_ref(event).addr());
                    event.clear();
                }
                _ => {
                    worker.wait(event, patience);
                }
            }
        }
    }
}

impl Arena for Events {
    fn work(&self, worker: &mut Worker) {
        // The first is of those who mix: it sees the others off.
        let from_end = worker.crew - 1 - worker.number;
        match self.couples.get(from_end / 2) {
            Some(couple) if from_end % 2 == 0 => self.wait(worker, couple),
            Some(couple) => self.free(worker, couple),
            None => self.mix(worker),
        }
        worker.see_off(&self.left, || {
            self.shared.set();
            SET_BY_HANDLERS.set();
        });
    }

    fn check(&mut self) {
        self.shared.set();
        check!(self.shared.is_set(), "a set was lost");
        self.shared.wait();
        self.shared.clear();
        check!(!self.shared.is_set(), "a clear was lost");
        for couple in &self.couples {
            check!(!couple.event.is_set(), "it was cleared last");
        }
    }

    fn survive(&self) {
        let was_set = self.shared.is_set();
        // SAFETY: the caller is alone in the child.
        unsafe { self.shared.at_fork_reinit() };
        check!(self.shared.is_set() == was_set, "the flag stays");
        self.shared.set();
        self.shared.wait();
        for couple in &self.couples {
            couple.event.set(); // works without being made as new
            couple.event.wait();
        }
    }
}
