//! Items that some make and others take, with the waits that look for themselves: none is lost.

use super::{Arena, Shared};
use crate::check;
use crate::what::{Form, What};
use crate::worker::{Limit, Patience, Wait, Worker, got};
use std::ptr;
use std::sync::atomic::AtomicUsize;
use threadbare::{Condition, Condvar, Error, Monitor, MonitorGuard, Mutex, MutexGuard};

/// How many there are, and how many were made and taken.
#[derive(Default)]
struct Items {
    there: u64,
    made: u64,
    taken: u64,
}

impl Items {
    fn make(&mut self) {
        self.there += 1;
        self.made += 1;
    }

    fn take(&mut self) {
        check!(self.there > 0, "there is none, after a wait for one");
        self.there -= 1;
        self.taken += 1;
    }
}

/// The wait for an item under a condition, whose lock is held.
struct Found<'a>(&'a Condition, &'a Shared<Items>);

impl Wait for Found<'_> {
    type Got = ();
    const WHAT: What = What::WaitFor;
    const FORMS: &'static [Form] = &[Form::Plain, Form::Timeout, Form::Until, Form::Interruptible];

    fn address(&self) -> usize {
        ptr::from_ref(self.0).addr()
    }

    fn wait(self, limit: &Limit) -> Result<Option<()>, Error> {
        let Found(condition, items) = self;
        // SAFETY: called with the lock held only.
        let is_there = || unsafe { (*items.get()).there > 0 };
        Ok(got(match limit.form {
            Form::Timeout => condition.wait_for_timeout(is_there, limit.timeout)?,
            Form::Until => condition.wait_for_until(is_there, limit.deadline)?,
            Form::Interruptible => condition.wait_for_interruptible(is_there, limit.deadline)?,
            _ => condition.wait_for(is_there)?,
        }))
    }
}

struct CondvarFound<'a, 'b>(&'a Condvar, &'a mut MutexGuard<'b, Items>);

impl Wait for CondvarFound<'_, '_> {
    type Got = ();
    const WHAT: What = What::CondvarWhile;
    const FORMS: &'static [Form] = &[Form::Plain, Form::Timeout, Form::Until];

    fn address(&self) -> usize {
        ptr::from_ref(self.0).addr()
    }

    fn wait(self, limit: &Limit) -> Result<Option<()>, Error> {
        let CondvarFound(added, items) = self;
        let is_none = |items: &mut Items| items.there == 0;
        Ok(got(match limit.form {
            Form::Timeout => added.wait_timeout_while(items, limit.timeout, is_none)?,
            Form::Until => added.wait_until_while(items, limit.deadline, is_none),
            _ => {
                added.wait_while(items, is_none);
                true
            }
        }))
    }
}

struct MonitorFound<'a, 'b>(&'a mut MonitorGuard<'b, Items>);

impl Wait for MonitorFound<'_, '_> {
    type Got = ();
    const WHAT: What = What::MonitorWhile;
    const FORMS: &'static [Form] = &[Form::Plain, Form::Timeout, Form::Until];

    fn address(&self) -> usize {
        ptr::from_ref::<Items>(self.0).addr()
    }

    fn wait(self, limit: &Limit) -> Result<Option<()>, Error> {
        let is_none = |items: &mut Items| items.there == 0;
        Ok(got(match limit.form {
            Form::Timeout => self.0.wait_timeout_while(limit.timeout, is_none)?,
            Form::Until => self.0.wait_until_while(limit.deadline, is_none),
            _ => {
                self.0.wait_while(is_none);
                true
            }
        }))
    }
}

pub struct Stores {
    condition: Condition,
    conditioned: Shared<Items>,
    added: Condvar,
    mutex: Mutex<Items>,
    monitor: Monitor<Items>,
    left: AtomicUsize,
}

impl Stores {
    pub fn new() -> Stores {
        Stores {
            condition: Condition::new(),
            conditioned: Shared::new(Items::default()),
            added: Condvar::new(),
            mutex: Mutex::new(Items::default()),
            monitor: Monitor::new(Items::default()),
            left: AtomicUsize::new(0),
        }
    }

    /// Makes one in each store that has few, and wakes one for it.
    fn make(&self) {
        let guard = self.condition.guard();
        // SAFETY: under the lock.
        let items = unsafe { &mut *self.conditioned.get() };
        if items.there < 3 {
            items.make();
            check!(self.condition.notify_one().is_ok(), "under the lock");
        }
        drop(guard);
        let mut items = self.mutex.lock();
        if items.there < 3 {
            items.make();
            drop(items);
            self.added.notify_one();
        }
        let mut items = self.monitor.lock();
        if items.there < 3 {
            items.make();
            items.notify_one();
        }
    }

    fn take(&self, worker: &mut Worker) {
        match worker.rng.below(3) {
            0 => {
                let _guard = self.condition.guard();
                let found = Found(&self.condition, &self.conditioned);
                if worker.wait(found, Patience::Any).is_some() {
                    // SAFETY: under the lock.
                    unsafe { (*self.conditioned.get()).take() };
                }
            }
            1 => {
                let mut items = self.mutex.lock();
                let found = CondvarFound(&self.added, &mut items);
                if worker.wait(found, Patience::Any).is_some() {
                    items.take();
                }
            }
            _ => {
                let mut items = self.monitor.lock();
                let found = MonitorFound(&mut items);
                if worker.wait(found, Patience::Any).is_some() {
                    items.take();
                }
            }
        }
    }
}

impl Arena for Stores {
    fn work(&self, worker: &mut Worker) {
        while !worker.is_over() {
            // The first sees to it that there is something to take.
            if worker.number == 0 {
                worker.begin(What::Make, ptr::from_ref(self).addr());
                self.make();
                worker.dawdle();
            } else {
                self.take(worker);
            }
        }
        worker.see_off(&self.left, || self.make());
    }

    fn check(&mut self) {
        let stores = [
            self.conditioned.get_mut(),
            self.mutex.get_mut(),
            self.monitor.get_mut(),
        ];
        for Items { there, made, taken } in stores {
            check!(
                *made == *taken + *there,
                "{taken} of {made} were taken, and {there} are left"
            );
        }
    }

    fn survive(&self) {
        // SAFETY: the caller is alone in the child, and has none of the locks.
        unsafe { self.condition.at_fork_reinit() };
        // SAFETY: as above.
        unsafe { self.monitor.at_fork_reinit() };
        if self.mutex.is_locked() {
            // SAFETY: who had it is not there; a number is whole at any time.
            unsafe { self.mutex.force_unlock() };
        }
        self.make();
        let _guard = self.condition.guard();
        // SAFETY: under the lock.
        let found = self
            .condition
            .wait_for(|| unsafe { (*self.conditioned.get()).there > 0 });
        check!(found == Ok(true), "{found:?}");
        self.added
            .wait_while(&mut self.mutex.lock(), |items| items.there == 0);
        self.monitor.lock().wait_while(|items| items.there == 0);
    }
}
