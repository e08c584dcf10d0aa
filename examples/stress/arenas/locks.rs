//! What excludes: one thread at a time is inside, however it came in.

use super::{Arena, Shared};
use crate::what::{Form, What};
use crate::worker::{Limit, Patience, Wait, Worker, got};
use crate::{can_be_acquired, check};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use threadbare::{
    Condition, Error, Lock, Monitor, MonitorGuard, Mutex, MutexExt, MutexGuard, RLock,
    ReentrantMutex, ReentrantMutexGuard,
};

can_be_acquired!(Lock, Lock, ALL, acquire_checked);
can_be_acquired!(RLock, RLock, ALL, acquire_checked);
can_be_acquired!(Condition, ConditionLock, BUT_CHECKED);
can_be_acquired!(Condition<Lock>, ConditionLock, BUT_CHECKED);

impl<'a, T> Wait for &'a Mutex<T> {
    type Got = MutexGuard<'a, T>;
    const WHAT: What = What::Mutex;
    const FORMS: &'static [Form] = Form::ALL;

    fn address(&self) -> usize {
        std::ptr::from_ref(*self).addr()
    }

    fn wait(self, limit: &Limit) -> Result<Option<MutexGuard<'a, T>>, Error> {
        Ok(match limit.form {
            Form::Plain => Some(self.lock()),
            Form::Try => self.try_lock(),
            Form::Timeout => self.lock_timeout(limit.timeout)?,
            Form::Until => self.lock_until(limit.deadline),
            Form::Interruptible => self.lock_interruptible(limit.deadline)?,
            Form::Checked => self.lock_checked(limit.deadline, limit.check())?,
        })
    }
}

impl<'a, T> Wait for &'a ReentrantMutex<T> {
    type Got = ReentrantMutexGuard<'a, T>;
    const WHAT: What = What::ReentrantMutex;
    const FORMS: &'static [Form] = &[Form::Plain, Form::Try, Form::Timeout];

    fn address(&self) -> usize {
        std::ptr::from_ref(*self).addr()
    }

    fn wait(self, limit: &Limit) -> Result<Option<ReentrantMutexGuard<'a, T>>, Error> {
        Ok(match limit.form {
            Form::Try => self.try_lock(),
            Form::Timeout => self.try_lock_for(limit.timeout),
            _ => Some(self.lock()),
        })
    }
}

impl<'a, T> Wait for &'a Monitor<T> {
    type Got = MonitorGuard<'a, T>;
    const WHAT: What = What::MonitorLock;
    const FORMS: &'static [Form] = Form::ALL;

    fn address(&self) -> usize {
        std::ptr::from_ref(*self).addr()
    }

    fn wait(self, limit: &Limit) -> Result<Option<MonitorGuard<'a, T>>, Error> {
        Ok(match limit.form {
            Form::Plain => Some(self.lock()),
            Form::Try => self.try_lock(),
            Form::Timeout => self.lock_timeout(limit.timeout)?,
            Form::Until => self.lock_until(limit.deadline),
            Form::Interruptible => self.lock_interruptible(limit.deadline)?,
            Form::Checked => self.lock_checked(limit.deadline, limit.check())?,
        })
    }
}

/// Two counts that are equal whenever nobody is inside.
#[derive(Default)]
struct Pair {
    first: u64,
    second: u64,
}

pub struct Locks {
    lock: Lock,
    locked: Shared<Pair>,
    rlock: RLock,
    rlocked: Shared<Pair>,
    condition: Condition,
    condition_locked: Shared<Pair>,
    plain: Condition<Lock>,
    plain_locked: Shared<Pair>,
    mutex: Mutex<Pair>,
    reentrant: ReentrantMutex<Cell<u64>>,
    monitor: Monitor<Pair>,
    /// How often somebody was inside of each.
    entries: [AtomicU64; 7],
}

impl Locks {
    pub fn new() -> Locks {
        Locks {
            lock: Lock::new(),
            locked: Shared::new(Pair::default()),
            rlock: RLock::new(),
            rlocked: Shared::new(Pair::default()),
            condition: Condition::new(),
            condition_locked: Shared::new(Pair::default()),
            plain: Condition::with_lock(Lock::new()),
            plain_locked: Shared::new(Pair::default()),
            mutex: Mutex::new(Pair::default()),
            reentrant: ReentrantMutex::new(Cell::new(0)),
            monitor: Monitor::new(Pair::default()),
            entries: [const { AtomicU64::new(0) }; 7],
        }
    }

    /// Counts an entry, in two steps that must not mix with another's.
    fn be_inside(&self, which: usize, worker: &mut Worker, pair: &mut Pair) {
        pair.first += 1;
        let first = pair.first;
        worker.show(What::Hold, std::ptr::from_ref(pair).addr());
        worker.dawdle();
        pair.second += 1;
        check!(
            pair.first == first && pair.second == first,
            "somebody else was inside of {which}"
        );
        self.entries[which].fetch_add(1, Relaxed);
    }

    /// As `be_inside`, of what `it` protects.
    fn with<'a, W: Wait<Got = ()>>(
        &'a self,
        which: usize,
        worker: &mut Worker,
        (it, pair): (W, &'a Shared<Pair>),
        release: impl FnOnce() -> Result<(), Error>,
    ) {
        if worker.wait(it, Patience::Any).is_none() {
            return;
        }
        // SAFETY: whoever has the lock is alone, which is what is tested.
        self.be_inside(which, worker, unsafe { &mut *pair.get() });
        worker.begin(What::Release, 0);
        let released = release();
        check!(released.is_ok(), "{which} was not released: {released:?}");
    }

    fn rlock_several_times(&self, worker: &mut Worker) {
        check!(!self.rlock.is_owned(), "an RLock belongs to who has left");
        if worker.rng.one_in(16) {
            let released = self.rlock.release();
            check!(released == Err(Error::NotOwner), "{released:?}");
        }
        if worker.wait(&self.rlock, Patience::Any).is_none() {
            return;
        }
        let mut depth = 1;
        while worker.rng.one_in(2) && depth < 5 {
            depth += 1;
            // The owner never waits, so every form but those that ask first succeeds.
            if worker.wait(&self.rlock, Patience::Any).is_none() {
                depth -= 1;
            }
        }
        let counted = self.rlock.recursion_count();
        check!(counted == depth, "depth {counted} instead of {depth}");
        // SAFETY: whoever has the lock is alone, which is what is tested.
        self.be_inside(1, worker, unsafe { &mut *self.rlocked.get() });
        while depth > 0 {
            check!(
                self.rlock.is_owned() && self.rlock.locked(),
                "the RLock is lost at depth {depth}"
            );
            worker.begin(What::Release, 0);
            let released = self.rlock.release();
            check!(released.is_ok(), "at depth {depth}: {released:?}");
            depth -= 1;
        }
        check!(!self.rlock.is_owned(), "released, and still owned");
    }
}

impl Arena for Locks {
    fn work(&self, worker: &mut Worker) {
        while !worker.is_over() {
            match worker.rng.below(7) {
                0 => self.with(0, worker, (&self.lock, &self.locked), || {
                    self.lock.release()
                }),
                1 => self.rlock_several_times(worker),
                2 => {
                    let what = (&self.condition, &self.condition_locked);
                    self.with(2, worker, what, || self.condition.release());
                }
                3 => {
                    let what = (&self.plain, &self.plain_locked);
                    self.with(3, worker, what, || self.plain.release());
                }
                4 => {
                    if let Some(mut guard) = worker.wait(&self.mutex, Patience::Any) {
                        self.be_inside(4, worker, &mut guard);
                    }
                }
                5 => {
                    if let Some(outer) = worker.wait(&self.reentrant, Patience::Any) {
                        let inside = outer.get() + 1;
                        outer.set(inside);
                        let inner = worker.wait(&self.reentrant, Patience::Any);
                        check!(inner.is_some(), "the owner had to wait");
                        worker.dawdle();
                        check!(outer.get() == inside, "somebody else was inside");
                        self.entries[5].fetch_add(1, Relaxed);
                    }
                }
                _ => {
                    if let Some(mut guard) = worker.wait(&self.monitor, Patience::Any) {
                        self.be_inside(6, worker, &mut guard);
                    }
                }
            }
        }
    }

    fn check(&mut self) {
        let pairs = [
            self.locked.get_mut(),
            self.rlocked.get_mut(),
            self.condition_locked.get_mut(),
            self.plain_locked.get_mut(),
            self.mutex.get_mut(),
            self.monitor.get_mut(),
        ];
        let entries = [0, 1, 2, 3, 4, 6].map(|which| self.entries[which].load(Relaxed));
        for (pair, entries) in pairs.into_iter().zip(entries) {
            let counts = (pair.first, pair.second);
            check!(counts == (entries, entries), "{counts:?} of {entries}");
        }
        let entries = self.entries[5].load(Relaxed);
        check!(self.reentrant.get_mut().get() == entries, "entries lost");
        let is_free = !self.lock.locked()
            && !self.rlock.locked()
            && !self.condition.locked()
            && !self.plain.locked()
            && !self.mutex.is_locked()
            && !self.reentrant.is_locked()
            && !self.monitor.is_locked();
        check!(is_free, "a lock is held by nobody");
        let released = [self.lock.release(), self.plain.release()];
        check!(
            released == [Err(Error::ReleaseUnlocked); 2],
            "a free lock was released: {released:?}"
        );
    }

    fn survive(&self) {
        // SAFETY: the caller is alone in the child.
        unsafe { self.lock.at_fork_reinit() };
        // SAFETY: as above; the calling thread had none of these locks.
        unsafe { self.rlock.at_fork_reinit() };
        // SAFETY: as above.
        unsafe { self.condition.at_fork_reinit() };
        // SAFETY: as above.
        unsafe { self.plain.at_fork_reinit() };
        // SAFETY: as above.
        unsafe { self.monitor.at_fork_reinit() };
        if self.mutex.is_locked() {
            // SAFETY: who had it is not there; nobody looks at what it protects.
            unsafe { self.mutex.force_unlock() };
        }
        check!(self.lock.try_acquire(), "not as new");
        check!(self.lock.release().is_ok(), "not as new");
        self.rlock.acquire();
        check!(self.rlock.release().is_ok(), "not as new");
        self.condition.acquire();
        check!(self.condition.notify_all() == Ok(0), "nobody waits");
        check!(self.condition.release().is_ok(), "not as new");
        self.plain.acquire();
        check!(self.plain.notify_all() == Ok(0), "nobody waits");
        check!(self.plain.release().is_ok(), "not as new");
        drop(self.mutex.lock());
        drop(self.monitor.lock());
    }
}
