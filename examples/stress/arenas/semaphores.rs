//! Permits: none comes from nowhere, none is lost, not by signal handlers either.

use super::Arena;
use crate::disturb::{GIVEN, GIVEN_SO_FAR};
use crate::what::{Form, What};
use crate::worker::{Limit, Patience, Wait, Worker, got};
use crate::{can_be_acquired, check};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use threadbare::{BoundedSemaphore, Error, Semaphore};

can_be_acquired!(Semaphore, Semaphore, ALL, acquire_checked);
can_be_acquired!(BoundedSemaphore, Bounded, ALL, acquire_checked);

/// Several permits at once.
struct Several<'a, S>(&'a S, u32);

macro_rules! several_can_be_acquired {
    ($type:ty, $what:ident) => {
        impl Wait for Several<'_, $type> {
            type Got = ();
            const WHAT: What = What::$what;
            const FORMS: &'static [Form] = Form::BUT_CHECKED;

            fn address(&self) -> usize {
                std::ptr::from_ref(self.0).addr()
            }

            fn wait(self, limit: &Limit) -> Result<Option<()>, Error> {
                let Several(it, n) = self;
                Ok(match limit.form {
                    Form::Plain => Some(it.acquire_n(n)?),
                    Form::Try => got(it.try_acquire_n(n)?),
                    Form::Timeout => got(it.acquire_n_timeout(n, limit.timeout)?),
                    Form::Until => got(it.acquire_n_until(n, limit.deadline)?),
                    _ => got(it.acquire_n_interruptible(n, limit.deadline)?),
                })
            }
        }
    };
}

several_can_be_acquired!(Semaphore, SemaphoreMany);
several_can_be_acquired!(BoundedSemaphore, BoundedMany);

const PERMITS: u32 = 4;

pub struct Semaphores {
    /// Permits that are given several at a time, and not given back.
    meals: Semaphore,
    served: AtomicU64,
    eaten: AtomicU64,
    semaphore: Semaphore,
    bounded: BoundedSemaphore,
    /// How many permits of each are out, at least.
    out: [AtomicU32; 2],
    /// Permits that were taken of those that signal handlers give.
    received: AtomicU64,
    /// What had been given to `GIVEN`, and what of it was there, at the beginning.
    before: (u64, u32),
    left: AtomicUsize,
}

impl Semaphores {
    /// To be made while no signals are sent.
    pub fn new() -> Semaphores {
        Semaphores {
            meals: Semaphore::new(0),
            served: AtomicU64::new(0),
            eaten: AtomicU64::new(0),
            semaphore: Semaphore::new(PERMITS),
            bounded: BoundedSemaphore::new(PERMITS),
            out: [const { AtomicU32::new(0) }; 2],
            received: AtomicU64::new(0),
            before: (GIVEN_SO_FAR.load(Relaxed), GIVEN.value()),
            left: AtomicUsize::new(0),
        }
    }

    /// The first gives, the others take. While there are permits, none of them sleeps for long.
    fn dine(&self, worker: &mut Worker) {
        if worker.number > 0 {
            if worker.wait(&self.meals, Patience::Any).is_some() {
                self.eaten.fetch_add(1, Relaxed);
            }
            return;
        }
        let n = 1 + worker.rng.below(4) as u32;
        self.serve(n);
        worker.begin(What::Permits, std::ptr::from_ref(&self.meals).addr());
        worker.show(What::SeeOff, std::ptr::from_ref(&self.meals).addr());
        while self.meals.value() > 0 && self.meals.waiters() > 0 {
            std::thread::yield_now();
        }
    }

    fn serve(&self, n: u32) {
        check!(self.meals.release_n(n).is_ok(), "no room");
        self.served.fetch_add(n.into(), Relaxed);
    }

    fn hold(&self, worker: &mut Worker, which: usize, n: u32) {
        let out = self.out[which].fetch_add(n, Relaxed) + n;
        check!(out <= PERMITS, "{out} permits of {PERMITS} are out");
        worker.show(What::Hold, std::ptr::from_ref(self).addr());
        worker.dawdle();
        self.out[which].fetch_sub(n, Relaxed);
        worker.begin(What::Permits, 0);
    }
}

impl Arena for Semaphores {
    fn work(&self, worker: &mut Worker) {
        while !worker.is_over() {
            let n = match worker.rng.below(3) {
                0 => 1 + worker.rng.below(PERMITS.into()) as u32,
                _ => 1,
            };
            let released = match worker.rng.below(20) {
                0..8 => {
                    let taken = match n {
                        1 => worker.wait(&self.semaphore, Patience::Any),
                        _ => worker.wait(Several(&self.semaphore, n), Patience::Any),
                    };
                    if taken.is_none() {
                        continue;
                    }
                    self.hold(worker, 0, n);
                    match n {
                        1 => self.semaphore.release(),
                        _ if worker.rng.one_in(2) => self.semaphore.release_n(n),
                        _ => (0..n).try_for_each(|_| self.semaphore.release()),
                    }
                }
                8..16 => {
                    let taken = match n {
                        1 => worker.wait(&self.bounded, Patience::Any),
                        _ => worker.wait(Several(&self.bounded, n), Patience::Any),
                    };
                    if taken.is_none() {
                        continue;
                    }
                    self.hold(worker, 1, n);
                    match n {
                        1 => self.bounded.release(),
                        _ => self.bounded.release_n(n),
                    }
                }
                16..19 => {
                    self.dine(worker);
                    continue;
                }
                _ => {
                    // May have to wait for a signal. The first sees to it that not all do.
                    let patience = match worker.number {
                        0 => Patience::Short,
                        _ => Patience::Any,
                    };
                    if worker.wait(&GIVEN, patience).is_some() {
                        self.received.fetch_add(1, Relaxed);
                    }
                    continue;
                }
            };
            check!(released.is_ok(), "{released:?}");
        }
        worker.see_off(&self.left, || {
            self.serve(1);
            check!(GIVEN.release().is_ok(), "no room");
            GIVEN_SO_FAR.fetch_add(1, Relaxed);
        });
    }

    fn check(&mut self) {
        let values = (self.semaphore.value(), self.bounded.value());
        check!(values == (PERMITS, PERMITS), "{values:?} of {PERMITS} each");
        let waiting = (self.semaphore.waiters(), self.bounded.waiters());
        check!(waiting == (0, 0), "{waiting:?} wait, and nobody is there");
        let (served, eaten) = (*self.served.get_mut(), *self.eaten.get_mut());
        let left = u64::from(self.meals.value());
        check!(
            served == eaten + left && self.meals.waiters() == 0,
            "of {served} permits {eaten} were taken, and {left} are left"
        );
        let (given, there) = self.before;
        let given = GIVEN_SO_FAR.load(Relaxed) - given;
        let (received, left) = (*self.received.get_mut(), GIVEN.value());
        check!(
            u64::from(there) + given == received + u64::from(left),
            "of {there} permits and {given} more {received} came and {left} are left"
        );
        let released = self.bounded.release();
        check!(released == Err(Error::AboveBound), "{released:?}");
        check!(self.semaphore.try_acquire_n(PERMITS) == Ok(true), "not all");
        check!(!self.semaphore.try_acquire(), "one too many");
    }

    fn survive(&self) {
        // Permits that others had are out for ever, unless somebody gives them back.
        for _ in 0..PERMITS {
            check!(self.semaphore.release().is_ok(), "no room");
        }
        self.semaphore.acquire();
        let taken = self.semaphore.try_acquire_n(PERMITS - 1);
        check!(taken == Ok(true), "{taken:?}");
        while self.bounded.release().is_ok() {}
        let value = self.bounded.value();
        check!(value == PERMITS, "{value}");
        self.bounded.acquire();
        check!(self.bounded.release() == Ok(()), "it was taken");
    }
}
