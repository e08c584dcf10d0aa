//! Conditions: a notify wakes as many as it says, those that have waited longest, and no others.

use super::{Arena, Shared};
use crate::check;
use crate::rng::Rng;
use crate::what::{Form, What};
use crate::worker::{Limit, Patience, Wait, Worker, got};
use std::collections::{HashMap, HashSet, VecDeque};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use threadbare::{
    CondLock, Condition, Condvar, Error, Guard, Lock, Monitor, MonitorGuard, Mutex, MutexGuard,
};

/// What happened at a condition, in the order in which the lock let it happen.
enum Entry {
    /// A thread, known by its ticket, begins to wait.
    Joined(u32),
    /// So many were to be notified, and so many were.
    Notified(usize, usize),
    /// The wait of a thread has returned; whether it was notified.
    Left(u32, bool),
}

/// The entries since nobody waited, and how many were notified and have returned in all.
#[derive(Default)]
struct Log {
    entries: Vec<Entry>,
    tickets: u32,
    waiting: usize,
    notified: usize,
    returned: usize,
}

/// More is too much to remember.
const MANY: usize = 100_000;

impl Log {
    fn join(&mut self) -> u32 {
        self.tickets += 1;
        self.waiting += 1;
        self.entries.push(Entry::Joined(self.tickets));
        self.tickets
    }

    fn leave(&mut self, ticket: u32, was_notified: bool) {
        self.waiting -= 1;
        self.returned += usize::from(was_notified);
        self.entries.push(Entry::Left(ticket, was_notified));
    }

    fn notify(&mut self, asked: usize, notified: usize) {
        check!(notified <= asked, "{notified} notified instead of {asked}");
        self.notified += notified;
        self.entries.push(Entry::Notified(asked, notified));
    }

    /// Goes through the entries when nobody waits. `in_line` says that the lock itself keeps the
    /// line, so that a thread whose time is up stands in it until it has the lock again.
    fn check(&mut self, in_line: bool) {
        check!(self.waiting == 0, "{} wait", self.waiting);
        let left = self.entries.iter().filter_map(|entry| match entry {
            Entry::Left(ticket, was_notified) => Some((*ticket, *was_notified)),
            _ => None,
        });
        let fates: HashMap<u32, bool> = left.collect();
        let mut line = VecDeque::new();
        let mut served = HashSet::new();
        for entry in self.entries.drain(..) {
            match entry {
                // Who will give up has its place as long as nobody knows when it goes.
                Entry::Joined(ticket) if in_line || fates[&ticket] => line.push_back(ticket),
                Entry::Joined(_) => {}
                Entry::Notified(asked, notified) => {
                    let expected = asked.min(line.len());
                    check!(
                        notified == expected || !in_line && notified < expected,
                        "{notified} of {} were notified instead of {expected}",
                        line.len()
                    );
                    served.extend(line.drain(..notified));
                }
                Entry::Left(ticket, true) => {
                    let was_due = served.remove(&ticket);
                    check!(was_due, "ticket {ticket} went before its turn");
                }
                Entry::Left(ticket, false) => {
                    let was_due = served.contains(&ticket);
                    check!(!was_due, "a notify was spent on {ticket}, who gave up");
                    line.retain(|other| *other != ticket);
                }
            }
        }
        check!(served.is_empty(), "{served:?} were notified, and wait");
    }
}

impl<L: CondLock> Wait for Waiting<'_, L> {
    type Got = ();
    const WHAT: What = What::ConditionWait;
    const FORMS: &'static [Form] = Form::BUT_TRY;

    fn address(&self) -> usize {
        ptr::from_ref(self.0).addr()
    }

    fn wait(self, limit: &Limit) -> Result<Option<()>, Error> {
        Ok(got(match limit.form {
            Form::Timeout => self.0.wait_timeout(limit.timeout)?,
            Form::Until => self.0.wait_until(limit.deadline)?,
            Form::Interruptible => self.0.wait_interruptible(limit.deadline)?,
            Form::Checked => self.0.wait_checked(limit.deadline, limit.check())?,
            _ => {
                self.0.wait()?;
                true
            }
        }))
    }
}

/// The wait for a condition, whose lock is held.
struct Waiting<'a, L: CondLock>(&'a Condition<L>);

/// As above, of a condition on a plain lock: counted by itself.
struct PlainWaiting<'a>(&'a Condition<Lock>);

impl Wait for PlainWaiting<'_> {
    type Got = ();
    const WHAT: What = What::PlainWait;
    const FORMS: &'static [Form] = Form::BUT_TRY;

    fn address(&self) -> usize {
        ptr::from_ref(self.0).addr()
    }

    fn wait(self, limit: &Limit) -> Result<Option<()>, Error> {
        Waiting(self.0).wait(limit)
    }
}

struct CondvarWaiting<'a, 'b, T>(&'a Condvar, &'a mut MutexGuard<'b, T>);

impl<T> Wait for CondvarWaiting<'_, '_, T> {
    type Got = ();
    const WHAT: What = What::CondvarWait;
    const FORMS: &'static [Form] = Form::BUT_TRY;

    fn address(&self) -> usize {
        ptr::from_ref(self.0).addr()
    }

    fn wait(self, limit: &Limit) -> Result<Option<()>, Error> {
        let CondvarWaiting(condvar, guard) = self;
        Ok(got(match limit.form {
            Form::Timeout => condvar.wait_timeout(guard, limit.timeout)?,
            Form::Until => condvar.wait_until(guard, limit.deadline),
            Form::Interruptible => condvar.wait_interruptible(guard, limit.deadline)?,
            Form::Checked => condvar.wait_checked(guard, limit.deadline, limit.check())?,
            _ => {
                condvar.wait(guard);
                true
            }
        }))
    }
}

struct MonitorWaiting<'a, 'b, T>(&'a mut MonitorGuard<'b, T>);

impl<T> Wait for MonitorWaiting<'_, '_, T> {
    type Got = ();
    const WHAT: What = What::MonitorWait;
    const FORMS: &'static [Form] = Form::BUT_TRY;

    fn address(&self) -> usize {
        ptr::from_ref::<T>(self.0).addr()
    }

    fn wait(self, limit: &Limit) -> Result<Option<()>, Error> {
        Ok(got(match limit.form {
            Form::Timeout => self.0.wait_timeout(limit.timeout)?,
            Form::Until => self.0.wait_until(limit.deadline),
            Form::Interruptible => self.0.wait_interruptible(limit.deadline)?,
            Form::Checked => self.0.wait_checked(limit.deadline, limit.check())?,
            _ => {
                self.0.wait();
                true
            }
        }))
    }
}

/// A condition of some kind, its lock, and a log under the lock.
trait Station {
    type Held<'a>
    where
        Self: 'a;
    /// See [`Log::check`].
    const IN_LINE: bool;

    /// Takes the lock.
    fn enter(&self, worker: &mut Worker) -> Option<Self::Held<'_>>;
    /// Whether it was notified.
    fn wait(&self, held: &mut Self::Held<'_>, worker: &mut Worker) -> bool;
    fn notify(&self, held: &Self::Held<'_>, n: usize) -> usize;
    fn log<'a>(&self, held: &'a mut Self::Held<'_>) -> &'a mut Log;
    /// Notifies one without the lock, where that can be done.
    fn notify_from_outside(&self) -> usize;
}

struct Conditioned<L: CondLock> {
    condition: Condition<L>,
    log: Shared<Log>,
}

/// `n` by one of the three functions.
fn notify<L: CondLock>(condition: &Condition<L>, n: usize) -> usize {
    let notified = match n {
        1 => condition.notify_one(),
        usize::MAX => condition.notify_all(),
        _ => condition.notify(n),
    };
    notified.unwrap_or_else(|error| {
        check!(false, "notify under the lock: {error}");
        0
    })
}

impl Station for Conditioned<threadbare::RLock> {
    type Held<'a> = Guard<'a, Condition>;
    const IN_LINE: bool = true;

    fn enter(&self, worker: &mut Worker) -> Option<Guard<'_, Condition>> {
        worker.begin(What::ConditionLock, ptr::from_ref(self).addr());
        Some(self.condition.guard())
    }

    fn wait(&self, _: &mut Guard<'_, Condition>, worker: &mut Worker) -> bool {
        // However deep the lock is held, the wait gives it up, and has it back as deep.
        let depth = worker.rng.below(3);
        (0..depth).for_each(|_| self.condition.acquire());
        let was_notified = worker.wait(Waiting(&self.condition), Patience::Any);
        for _ in 0..depth {
            check!(self.condition.release().is_ok(), "a depth is lost");
        }
        was_notified.is_some()
    }

    fn notify(&self, _: &Guard<'_, Condition>, n: usize) -> usize {
        notify(&self.condition, n)
    }

    fn log<'a>(&self, _: &'a mut Guard<'_, Condition>) -> &'a mut Log {
        // SAFETY: whoever has the guard is alone.
        unsafe { &mut *self.log.get() }
    }

    fn notify_from_outside(&self) -> usize {
        let refused = self.condition.notify_one();
        check!(refused == Err(Error::NotHeld), "{refused:?} to no owner");
        0
    }
}

impl Station for Conditioned<Lock> {
    type Held<'a> = Guard<'a, Condition<Lock>>;
    const IN_LINE: bool = false;

    fn enter(&self, worker: &mut Worker) -> Option<Guard<'_, Condition<Lock>>> {
        worker.begin(What::ConditionLock, ptr::from_ref(self).addr());
        Some(self.condition.guard())
    }

    fn wait(&self, _: &mut Guard<'_, Condition<Lock>>, worker: &mut Worker) -> bool {
        let waiting = PlainWaiting(&self.condition);
        worker.wait(waiting, Patience::Any).is_some()
    }

    fn notify(&self, _: &Guard<'_, Condition<Lock>>, n: usize) -> usize {
        notify(&self.condition, n)
    }

    fn log<'a>(&self, _: &'a mut Guard<'_, Condition<Lock>>) -> &'a mut Log {
        // SAFETY: whoever has the guard is alone.
        unsafe { &mut *self.log.get() }
    }

    fn notify_from_outside(&self) -> usize {
        // Works while anybody holds the lock.
        self.condition.notify_one().unwrap_or_else(|error| {
            check!(error == Error::NotHeld, "{error}");
            0
        })
    }
}

struct WithMutex {
    changed: Condvar,
    log: Mutex<Log>,
}

impl Station for WithMutex {
    type Held<'a> = MutexGuard<'a, Log>;
    const IN_LINE: bool = false;

    fn enter(&self, worker: &mut Worker) -> Option<MutexGuard<'_, Log>> {
        worker.wait(&self.log, Patience::Any)
    }

    fn wait(&self, held: &mut MutexGuard<'_, Log>, worker: &mut Worker) -> bool {
        let waiting = CondvarWaiting(&self.changed, held);
        worker.wait(waiting, Patience::Any).is_some()
    }

    fn notify(&self, _: &MutexGuard<'_, Log>, n: usize) -> usize {
        match n {
            1 => self.changed.notify_one().into(),
            usize::MAX => self.changed.notify_all(),
            _ => self.changed.notify(n),
        }
    }

    fn log<'a>(&self, held: &'a mut MutexGuard<'_, Log>) -> &'a mut Log {
        held
    }

    fn notify_from_outside(&self) -> usize {
        self.changed.notify_one().into()
    }
}

impl Station for Monitor<Log> {
    type Held<'a> = MonitorGuard<'a, Log>;
    const IN_LINE: bool = true;

    fn enter(&self, worker: &mut Worker) -> Option<MonitorGuard<'_, Log>> {
        worker.wait(self, Patience::Any)
    }

    fn wait(&self, held: &mut MonitorGuard<'_, Log>, worker: &mut Worker) -> bool {
        worker.wait(MonitorWaiting(held), Patience::Any).is_some()
    }

    fn notify(&self, held: &MonitorGuard<'_, Log>, n: usize) -> usize {
        match n {
            1 => held.notify_one().into(),
            usize::MAX => held.notify_all(),
            _ => held.notify(n),
        }
    }

    fn log<'a>(&self, held: &'a mut MonitorGuard<'_, Log>) -> &'a mut Log {
        held
    }

    fn notify_from_outside(&self) -> usize {
        0 // there is no way to
    }
}

/// Waits, or notifies some. `outside` counts who was notified without the lock.
fn turn<S: Station>(station: &S, worker: &mut Worker, outside: Option<&AtomicUsize>) {
    if let Some(outside) = outside.filter(|_| worker.rng.one_in(8)) {
        worker.begin(What::Notify, ptr::from_ref(station).addr());
        outside.fetch_add(station.notify_from_outside(), Relaxed);
        return;
    }
    let Some(mut held) = station.enter(worker) else {
        return;
    };
    let log = station.log(&mut held);
    let is_full = log.entries.len() > MANY;
    if is_full && log.waiting == 0 {
        finish(log, S::IN_LINE, outside);
    }
    // The first sees to it that not all wait.
    if worker.number > 0 && !is_full && worker.rng.below(5) < 3 {
        let ticket = log.join();
        let was_notified = station.wait(&mut held, worker);
        station.log(&mut held).leave(ticket, was_notified);
    } else {
        let n = match worker.rng.below(6) {
            _ if is_full => usize::MAX,
            0 => 0,
            1..4 => 1,
            4 => 2 + worker.rng.below(3) as usize,
            _ => usize::MAX,
        };
        worker.begin(What::Notify, ptr::from_ref(station).addr());
        let notified = station.notify(&held, n);
        station.log(&mut held).notify(n, notified);
        worker.dawdle();
    }
}

/// Checks a log when nobody waits.
fn finish(log: &mut Log, in_line: bool, outside: Option<&AtomicUsize>) {
    let Some(outside) = outside else {
        return log.check(in_line);
    };
    // Who was notified without the lock is in no log, so there is no telling whose turn it was.
    log.entries.clear();
    let notified = log.notified + outside.load(Relaxed);
    // A notify from outside may be about to be counted.
    let returned = log.returned;
    check!(returned <= notified + 64, "{returned} of {notified}");
}

pub struct Conditions {
    condition: Conditioned<threadbare::RLock>,
    plain: Conditioned<Lock>,
    condvar: WithMutex,
    monitor: Monitor<Log>,
    /// Whether notifies come without the lock too, and how many they woke of the middle two.
    is_outside: bool,
    outside: [AtomicUsize; 2],
    left: AtomicUsize,
}

impl Conditions {
    pub fn new(rng: &mut Rng) -> Conditions {
        Conditions {
            condition: Conditioned {
                condition: Condition::new(),
                log: Shared::new(Log::default()),
            },
            plain: Conditioned {
                condition: Condition::with_lock(Lock::new()),
                log: Shared::new(Log::default()),
            },
            condvar: WithMutex {
                changed: Condvar::new(),
                log: Mutex::new(Log::default()),
            },
            monitor: Monitor::new(Log::default()),
            is_outside: rng.one_in(3),
            outside: [const { AtomicUsize::new(0) }; 2],
            left: AtomicUsize::new(0),
        }
    }

    fn outside(&self, which: usize) -> Option<&AtomicUsize> {
        self.is_outside.then(|| &self.outside[which])
    }
}

impl Arena for Conditions {
    fn work(&self, worker: &mut Worker) {
        while !worker.is_over() {
            match worker.rng.below(4) {
                0 => turn(&self.condition, worker, None),
                1 => turn(&self.plain, worker, self.outside(0)),
                2 => turn(&self.condvar, worker, self.outside(1)),
                _ => turn(&self.monitor, worker, None),
            }
            if worker.rng.one_in(256) {
                self.condition.notify_from_outside();
            }
        }
        worker.see_off(&self.left, || {
            fn wake<S: Station>(station: &S, mut held: S::Held<'_>) {
                let notified = station.notify(&held, usize::MAX);
                station.log(&mut held).notify(usize::MAX, notified);
            }
            wake(&self.condition, self.condition.condition.guard());
            wake(&self.plain, self.plain.condition.guard());
            wake(&self.condvar, self.condvar.log.lock());
            wake(&self.monitor, self.monitor.lock());
        });
    }

    fn check(&mut self) {
        let outside = self.outside.each_mut().map(|outside| *outside.get_mut());
        let is_outside = self.is_outside;
        let check = |log: &mut Log, in_line, outside| {
            let (notified, returned) = (log.notified + outside, log.returned);
            check!(notified == returned, "{notified} notified, {returned} came");
            if in_line || !is_outside {
                log.check(in_line);
            }
        };
        check(self.condition.log.get_mut(), true, 0);
        check(self.plain.log.get_mut(), false, outside[0]);
        check(self.condvar.log.get_mut(), false, outside[1]);
        check(self.monitor.get_mut(), true, 0);
        self.condition.condition.acquire();
        let late = self.condition.condition.notify_all();
        check!(late == Ok(0), "{late:?} wait");
        check!(self.condition.condition.release().is_ok(), "it was taken");
        check!(self.condvar.changed.notify_all() == 0, "somebody waits");
    }

    fn survive(&self) {
        // SAFETY: the caller is alone in the child, and has none of the locks.
        unsafe { self.condition.condition.at_fork_reinit() };
        // SAFETY: as above.
        unsafe { self.plain.condition.at_fork_reinit() };
        // SAFETY: as above.
        unsafe { self.monitor.at_fork_reinit() };
        self.condition.condition.acquire();
        check!(self.condition.condition.notify_all() == Ok(0), "not new");
        let waited = self
            .condition
            .condition
            .wait_timeout(std::time::Duration::from_micros(100));
        check!(waited == Ok(false), "{waited:?}");
        check!(self.condition.condition.release() == Ok(()), "not held");
        self.plain.condition.acquire();
        check!(self.plain.condition.notify_all() == Ok(0), "not new");
        check!(self.plain.condition.release() == Ok(()), "not held");
        check!(self.condvar.changed.notify_all() == 0, "nobody waits");
        let mut guard = self.monitor.lock();
        check!(guard.notify_all() == 0, "nobody waits");
        let waited = guard.wait_timeout(std::time::Duration::from_micros(100));
        check!(waited == Ok(false), "{waited:?}");
    }
}
