//! Waiting to be notified, with a lock: what holds for everything that can do that (COND).
//!
//! The checks begin and end with nobody inside and nobody waiting.

use super::typed::{CondvarOn, Watched};
use super::{
    LONG, Rng, SHORT, TOO_LONG, Unsynchronized, Worker, after, is_asleep, spawn, threads, until,
    until_nearly,
};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;
use std::time::{Duration, Instant};
use threadbare::{CondLock, Condition, Deadline, Error, TIMEOUT_MAX};

/// What a wait is given to decide whether it is over.
pub type Predicate<'a> = &'a mut dyn FnMut() -> bool;

/// A lock with a queue of threads that wait to be notified. Waits and notifies are for who is inside.
pub trait Waits: Sync {
    /// Takes the lock.
    fn enter(&self);
    /// Releases the lock, which the caller holds.
    fn leave(&self);
    fn is_locked(&self) -> bool;
    fn wait(&self);
    fn wait_timeout(&self, timeout: Duration) -> Result<bool, Error>;
    fn wait_until(&self, deadline: Deadline) -> bool;
    fn wait_interruptible(&self, deadline: Deadline) -> Result<bool, Error>;
    /// Here and below, until the predicate is true.
    fn wait_for(&self, predicate: Predicate<'_>);
    fn wait_for_timeout(&self, predicate: Predicate<'_>, timeout: Duration) -> Result<bool, Error>;
    fn wait_for_until(&self, predicate: Predicate<'_>, deadline: Deadline) -> bool;
    /// By default the loop that users write for what has no such form.
    fn wait_for_interruptible(
        &self,
        predicate: Predicate<'_>,
        deadline: Deadline,
    ) -> Result<bool, Error> {
        let mut in_time = true;
        while !predicate() {
            if !in_time {
                return Ok(false);
            }
            in_time = self.wait_interruptible(deadline)?;
        }
        Ok(true)
    }
    fn notify(&self, n: usize) -> usize;
    /// How many threads it has woken: none or one.
    fn notify_one(&self) -> usize;
    fn notify_all(&self) -> usize;
    /// How many threads wait.
    fn waiting(&self) -> usize;
}

impl<L: CondLock + Sync> Waits for Condition<L> {
    fn enter(&self) {
        self.acquire();
    }
    fn leave(&self) {
        self.release().unwrap();
    }
    fn is_locked(&self) -> bool {
        self.locked()
    }
    fn wait(&self) {
        self.wait().unwrap();
    }
    fn wait_timeout(&self, timeout: Duration) -> Result<bool, Error> {
        self.wait_timeout(timeout)
    }
    fn wait_until(&self, deadline: Deadline) -> bool {
        self.wait_until(deadline).unwrap()
    }
    fn wait_interruptible(&self, deadline: Deadline) -> Result<bool, Error> {
        self.wait_interruptible(deadline)
    }
    fn wait_for(&self, predicate: Predicate<'_>) {
        assert_eq!(self.wait_for(predicate), Ok(true));
    }
    fn wait_for_timeout(&self, predicate: Predicate<'_>, timeout: Duration) -> Result<bool, Error> {
        self.wait_for_timeout(predicate, timeout)
    }
    fn wait_for_until(&self, predicate: Predicate<'_>, deadline: Deadline) -> bool {
        self.wait_for_until(predicate, deadline).unwrap()
    }
    fn wait_for_interruptible(
        &self,
        predicate: Predicate<'_>,
        deadline: Deadline,
    ) -> Result<bool, Error> {
        self.wait_for_interruptible(predicate, deadline)
    }
    fn notify(&self, n: usize) -> usize {
        self.notify(n).unwrap()
    }
    fn notify_one(&self) -> usize {
        self.notify_one().unwrap()
    }
    fn notify_all(&self) -> usize {
        self.notify_all().unwrap()
    }
    fn waiting(&self) -> usize {
        self.waiting().unwrap()
    }
}

impl<R: lock_api::RawMutex + Sync> Waits for CondvarOn<'_, R> {
    fn enter(&self) {
        std::mem::forget(self.mutex.lock());
    }
    fn leave(&self) {
        assert!(self.mutex.is_locked());
        // SAFETY: the caller is inside, and the guard was forgotten.
        unsafe { self.mutex.force_unlock() };
    }
    fn is_locked(&self) -> bool {
        self.mutex.is_locked()
    }
    fn wait(&self) {
        self.condvar.wait(&mut self.guard());
    }
    fn wait_timeout(&self, timeout: Duration) -> Result<bool, Error> {
        self.condvar.wait_timeout(&mut self.guard(), timeout)
    }
    fn wait_until(&self, deadline: Deadline) -> bool {
        self.condvar.wait_until(&mut self.guard(), deadline)
    }
    fn wait_interruptible(&self, deadline: Deadline) -> Result<bool, Error> {
        self.condvar.wait_interruptible(&mut self.guard(), deadline)
    }
    fn wait_for(&self, predicate: Predicate<'_>) {
        self.condvar
            .wait_while(&mut self.guard(), |()| !predicate());
    }
    fn wait_for_timeout(&self, predicate: Predicate<'_>, timeout: Duration) -> Result<bool, Error> {
        self.condvar
            .wait_timeout_while(&mut self.guard(), timeout, |()| !predicate())
    }
    fn wait_for_until(&self, predicate: Predicate<'_>, deadline: Deadline) -> bool {
        self.condvar
            .wait_until_while(&mut self.guard(), deadline, |()| !predicate())
    }
    fn notify(&self, n: usize) -> usize {
        self.condvar.notify(n)
    }
    fn notify_one(&self) -> usize {
        usize::from(self.condvar.notify_one())
    }
    fn notify_all(&self) -> usize {
        self.condvar.notify_all()
    }
    fn waiting(&self) -> usize {
        self.condvar.waiting()
    }
}

impl Waits for Watched<'_> {
    fn enter(&self) {
        self.keep(self.monitor.lock());
    }
    fn leave(&self) {
        drop(self.kept());
    }
    fn is_locked(&self) -> bool {
        self.monitor.is_locked()
    }
    fn wait(&self) {
        self.with(|guard| guard.wait());
    }
    fn wait_timeout(&self, timeout: Duration) -> Result<bool, Error> {
        self.with(|guard| guard.wait_timeout(timeout))
    }
    fn wait_until(&self, deadline: Deadline) -> bool {
        self.with(|guard| guard.wait_until(deadline))
    }
    fn wait_interruptible(&self, deadline: Deadline) -> Result<bool, Error> {
        self.with(|guard| guard.wait_interruptible(deadline))
    }
    fn wait_for(&self, predicate: Predicate<'_>) {
        self.with(|guard| guard.wait_while(|()| !predicate()));
    }
    fn wait_for_timeout(&self, predicate: Predicate<'_>, timeout: Duration) -> Result<bool, Error> {
        self.with(|guard| guard.wait_timeout_while(timeout, |()| !predicate()))
    }
    fn wait_for_until(&self, predicate: Predicate<'_>, deadline: Deadline) -> bool {
        self.with(|guard| guard.wait_until_while(deadline, |()| !predicate()))
    }
    fn notify(&self, n: usize) -> usize {
        self.with(|guard| guard.notify(n))
    }
    fn notify_one(&self) -> usize {
        self.with(|guard| usize::from(guard.notify_one()))
    }
    fn notify_all(&self) -> usize {
        self.with(|guard| guard.notify_all())
    }
    fn waiting(&self) -> usize {
        self.with(|guard| guard.waiting())
    }
}

/// Being inside, until it is dropped.
pub struct Inside<'a, W: Waits>(&'a W);

/// Enters.
#[must_use = "who is not kept leaves at once"]
pub fn inside<W: Waits>(it: &W) -> Inside<'_, W> {
    it.enter();
    Inside(it)
}

impl<W: Waits> Drop for Inside<'_, W> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// How many threads wait; enters to ask.
pub fn waiting<W: Waits>(it: &W) -> usize {
    let _inside = inside(it);
    it.waiting()
}

/// Returns once `count` threads wait and all of `waiters` sleep.
#[track_caller]
pub fn until_waiting<W: Waits, R>(it: &W, count: usize, waiters: &[Worker<'_, R>]) {
    until(|| waiting(it) == count);
    for waiter in waiters {
        waiter.until_asleep();
    }
}

/// A predicate that is true the second time.
fn second_time() -> impl FnMut() -> bool {
    let mut calls = 0;
    move || {
        calls += 1;
        assert!(calls <= 2, "evaluated though nobody notified");
        calls == 2
    }
}

/// A named way to wait, from inside; returns whether it was notified.
pub type Form<W> = (&'static str, fn(&W) -> bool);

/// The forms that wait until they are notified, signals notwithstanding.
pub fn plain<W: Waits>() -> [Form<W>; 8] {
    [
        ("wait", |it| {
            it.wait();
            true
        }),
        ("timeout", |it| it.wait_timeout(LONG).unwrap()),
        ("TIMEOUT_MAX", |it| it.wait_timeout(TIMEOUT_MAX).unwrap()),
        ("until", |it| it.wait_until(after(LONG))),
        ("until never", |it| it.wait_until(Deadline::NEVER)),
        ("wait_for", |it| {
            it.wait_for(&mut second_time());
            true
        }),
        ("wait_for timeout", |it| {
            it.wait_for_timeout(&mut second_time(), TIMEOUT_MAX)
                .unwrap()
        }),
        ("wait_for until", |it| {
            it.wait_for_until(&mut second_time(), after(LONG))
        }),
    ]
}

/// A way to wait that a signal ends.
pub type Interruptible<W> = fn(&W) -> Result<bool, Error>;

/// The forms that wait until they are notified or interrupted.
pub fn interruptible<W: Waits>() -> [Interruptible<W>; 3] {
    [
        |it| it.wait_interruptible(after(LONG)),
        |it| it.wait_interruptible(Deadline::NEVER),
        |it| it.wait_for_interruptible(&mut second_time(), Deadline::NEVER),
    ]
}

/// The forms that give up after a time.
fn expiring<W: Waits>() -> [fn(&W, Duration) -> bool; 6] {
    [
        |it, timeout| it.wait_timeout(timeout).unwrap(),
        |it, timeout| it.wait_until(after(timeout)),
        |it, timeout| it.wait_interruptible(after(timeout)).unwrap(),
        |it, timeout| it.wait_for_timeout(&mut || false, timeout).unwrap(),
        |it, timeout| it.wait_for_until(&mut || false, after(timeout)),
        |it, timeout| {
            it.wait_for_interruptible(&mut || false, after(timeout))
                .unwrap()
        },
    ]
}

/// COND-5, COND-7: every form gives the lock up, waits, and takes it back.
pub fn check_wakes_in_every_form<W: Waits>(it: &W) {
    let plain =
        plain().map(|(name, form)| (name, Box::new(form) as Box<dyn Fn(&W) -> bool + Sync>));
    let interruptible = interruptible().map(|form| {
        let form: Box<dyn Fn(&W) -> bool + Sync> = Box::new(move |it| form(it).unwrap());
        ("interruptible", form)
    });
    for (name, form) in plain.into_iter().chain(interruptible) {
        thread::scope(|s| {
            let waiters = [spawn(s, || {
                it.enter();
                let notified = form(it);
                assert!(it.is_locked(), "{name}");
                it.leave();
                notified
            })];
            until_waiting(it, 1, &waiters);
            assert!(!it.is_locked(), "{name} gives the lock up");
            it.enter();
            assert_eq!(it.notify_one(), 1, "{name}");
            assert_eq!(it.waiting(), 0, "{name}");
            it.leave();
            let [waiter] = waiters;
            assert!(waiter.join(), "{name}");
        });
        assert!(!it.is_locked() && waiting(it) == 0);
    }
}

/// COND-5: whoever takes the lock next finds the waiter.
pub fn check_queues_before_it_releases<W: Waits>(it: &W) {
    for _ in 0..80 {
        it.enter();
        thread::scope(|s| {
            s.spawn(|| {
                it.enter(); // possible once the other waits
                assert_eq!(it.notify_one(), 1);
                it.leave();
            });
            it.wait();
        });
        it.leave();
    }
}

/// COND-7, COND-8: when the time is up, the lock is held and nobody queued.
pub fn check_gives_up_when_its_time_is_up<W: Waits>(it: &W) {
    it.enter();
    for (number, form) in expiring().into_iter().enumerate() {
        let start = Instant::now();
        assert!(!form(it, SHORT), "form {number}");
        assert!(start.elapsed() >= SHORT, "form {number} ended early");
        assert!(it.is_locked(), "form {number}");
        assert_eq!(it.waiting(), 0, "form {number}");
        assert_eq!(it.notify_one(), 0, "form {number}");
    }
    it.leave();
    assert!(!it.is_locked());
}

/// COND-8: a timeout that is too large errs with the lock held, and calls no predicate.
pub fn check_too_large_is_refused_with_the_lock_held<W: Waits>(it: &W) {
    it.enter();
    let mut calls = 0;
    for timeout in [TOO_LONG, Duration::MAX] {
        let refused = Err(Error::TimeoutTooLarge);
        assert_eq!(it.wait_timeout(timeout), refused);
        let mut predicate = || {
            calls += 1;
            true
        };
        assert_eq!(it.wait_for_timeout(&mut predicate, timeout), refused);
    }
    assert_eq!(calls, 0);
    assert!(it.is_locked());
    assert_eq!(it.waiting(), 0);
    it.leave();
}

/// COND-9: even a wait of no time lets others in.
pub fn check_lets_others_in<W: Waits>(it: &W) {
    for (number, form) in expiring().into_iter().enumerate() {
        it.enter();
        // A thread that waits for the lock gets it in between, since even a wait of no time
        // releases it: not always in the first one, which the waiter may win.
        let entered = AtomicBool::new(false);
        thread::scope(|s| {
            s.spawn(|| {
                it.enter();
                entered.store(true, SeqCst);
                it.leave();
            });
            until(|| {
                assert!(!form(it, Duration::ZERO), "form {number}");
                entered.load(SeqCst)
            });
        });
        it.leave();
    }
}

/// COND-10, COND-12, COND-13: a notify wakes exactly as many as it says. CPython's test_notify:
/// waiters that wait twice.
pub fn check_exact_numbers<W: Waits>(it: &W) {
    const WAITERS: usize = 8;
    let (first, second) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|s| {
        let wait_twice = || {
            it.enter();
            it.wait();
            first.fetch_add(1, SeqCst);
            it.wait();
            second.fetch_add(1, SeqCst);
            it.leave();
        };
        let waiters = [(); WAITERS].map(|()| spawn(s, wait_twice));
        until_waiting(it, WAITERS, &waiters);
        let notify = |n| {
            let _inside = inside(it);
            it.notify(n)
        };
        // Three return, wait again and are not served by the same notify.
        assert_eq!(notify(3), 3);
        until(|| first.load(SeqCst) == 3);
        until_waiting(it, WAITERS, &waiters);
        assert_eq!((first.load(SeqCst), second.load(SeqCst)), (3, 0));
        // The next five are those that have not been first.
        assert_eq!(notify(5), 5);
        until(|| first.load(SeqCst) == 8);
        until_waiting(it, WAITERS, &waiters);
        assert_eq!((first.load(SeqCst), second.load(SeqCst)), (8, 0));
        assert_eq!(notify(0), 0);
        assert_eq!(notify(usize::MAX), WAITERS);
        until(|| second.load(SeqCst) == WAITERS);
        assert_eq!(notify(1), 0);
    });
    assert_eq!(first.into_inner(), WAITERS);
}

/// COND-11: the oldest waiter is woken first.
pub fn check_first_in_first_out<W: Waits>(it: &W) {
    const WAITERS: usize = 6;
    let order = Mutex::new(Vec::new());
    thread::scope(|s| {
        let mut waiters = Vec::new();
        for number in 0..WAITERS {
            let order = &order;
            waiters.push(spawn(s, move || {
                it.enter();
                it.wait_timeout(LONG).unwrap();
                order.lock().unwrap().push(number);
                it.leave();
            }));
            until_waiting(it, number + 1, &waiters);
        }
        for number in 1..=WAITERS {
            it.enter();
            assert_eq!(it.notify_one(), 1);
            it.leave();
            until(|| order.lock().unwrap().len() == number);
        }
    });
    assert_eq!(
        order.into_inner().unwrap(),
        (0..WAITERS).collect::<Vec<_>>()
    );
}

/// COND-11: those that time out in the middle leave the order of the rest.
pub fn check_order_without_those_that_left<W: Waits>(it: &W) {
    let order = Mutex::new(Vec::new());
    thread::scope(|s| {
        for number in 0..5 {
            let order = &order;
            let timeout = if number % 2 == 0 { LONG } else { SHORT };
            s.spawn(move || {
                let _inside = inside(it);
                let notified = it.wait_timeout(timeout).unwrap();
                order.lock().unwrap().push((number, notified));
            });
            // Those that time out leave meanwhile.
            until(|| {
                let _inside = inside(it);
                let left = order.lock().unwrap().len();
                it.waiting() + left == number + 1
            });
        }
        until(|| order.lock().unwrap().len() == 2 && waiting(it) == 3);
        for count in 3..=5 {
            {
                let _inside = inside(it);
                assert_eq!(it.notify_one(), 1);
            }
            until(|| order.lock().unwrap().len() == count);
        }
    });
    let order = order.into_inner().unwrap();
    assert_eq!(order[2..], [(0, true), (2, true), (4, true)]);
}

/// COND-12: a latecomer does not steal the wake, and nothing is remembered.
pub fn check_latecomers_get_nothing<W: Waits>(it: &W) {
    for _ in 0..5 {
        thread::scope(|s| {
            let waiters = [spawn(s, || {
                it.enter();
                it.wait();
                it.leave();
            })];
            until_waiting(it, 1, &waiters);
            it.enter();
            assert_eq!(it.notify_one(), 1);
            // Waits before the notified thread can have taken the lock.
            assert_eq!(it.wait_timeout(SHORT), Ok(false));
            it.leave();
        });
    }
    it.enter();
    assert_eq!(it.notify_all(), 0);
    assert_eq!(it.wait_timeout(SHORT), Ok(false));
    it.leave();
}

/// COND-14: all of a crowd are woken, which is more than one release, or notify, wakes by itself.
pub fn check_wakes_a_crowd<W: Waits>(it: &W) {
    const CROWD: usize = 100;
    for timed in [false, true] {
        let returned = AtomicUsize::new(0);
        thread::scope(|s| {
            let wait = || {
                it.enter();
                if timed {
                    assert_eq!(it.wait_timeout(LONG), Ok(true));
                } else {
                    it.wait();
                }
                returned.fetch_add(1, SeqCst);
                it.leave();
            };
            let waiters: Vec<_> = (0..CROWD).map(|_| spawn(s, wait)).collect();
            until_waiting(it, CROWD, &waiters);
            it.enter();
            assert_eq!(it.notify_all(), CROWD);
            assert_eq!(returned.load(SeqCst), 0, "the notifier holds the lock");
            it.leave();
        });
        assert_eq!(returned.into_inner(), CROWD);
        assert!(!it.is_locked());
        drop(inside(it));
    }
}

/// COND-15: a notify does not release the lock, and those it wakes return one after another.
pub fn check_keeps_the_lock<W: Waits>(it: &W) {
    let (at_once, returned) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|s| {
        let waiters = [(); 4].map(|()| {
            spawn(s, || {
                it.enter();
                it.wait();
                assert_eq!(at_once.fetch_add(1, SeqCst), 0, "one after another");
                thread::yield_now();
                at_once.fetch_sub(1, SeqCst);
                returned.fetch_add(1, SeqCst);
                it.leave();
            })
        });
        until_waiting(it, 4, &waiters);
        it.enter();
        assert_eq!(it.notify_all(), 4);
        for waiter in &waiters {
            waiter.until_asleep();
        }
        assert_eq!(returned.load(SeqCst), 0);
        assert!(it.is_locked());
        it.leave();
    });
}

/// COND-16: no notify is spent on a thread that leaves with a timeout.
pub fn check_spends_no_notify_on_who_leaves<W: Waits>(it: &W) {
    for round in 0..40_u64 {
        let deadline = after(Duration::from_millis(2));
        let queued = AtomicBool::new(false);
        thread::scope(|s| {
            let hasty = spawn(s, || {
                it.enter();
                let notified = it.wait_until(deadline);
                it.leave();
                usize::from(notified)
            });
            until(|| waiting(it) == 1 || deadline.has_passed());
            let patient = spawn(s, || {
                it.enter();
                queued.store(true, SeqCst);
                let notified = it.wait_timeout(LONG).unwrap();
                it.leave();
                usize::from(notified)
            });
            until(|| {
                let _inside = inside(it);
                queued.load(SeqCst) // under the lock, so the wait has begun
            });
            // Take the lock while the hasty one waits, sometimes; notify shortly before, at or
            // after its deadline, when it cannot return.
            let early = Duration::from_micros(round % 20 * 10);
            it.enter();
            until_nearly(deadline, early);
            if round % 3 == 0 {
                // On the queue or, its time being up, on the lock.
                until(|| hasty.is_finished() || is_asleep(hasty.tid()));
            }
            let mut notified = it.notify_one();
            it.leave();
            let hasty_was = hasty.join();
            assert_eq!(notified, 1, "one waits with all the time of the world");
            // If the notify reached the hasty one, it says so, and the other goes on waiting.
            it.enter();
            notified += it.notify_all();
            it.leave();
            let patient_was = patient.join();
            assert_eq!(notified, hasty_was + patient_was);
            assert_eq!(patient_was, 1);
        });
    }
}

/// COND-16: under random timeouts each notify is one wait that says so.
pub fn check_every_notify_is_one_return<W: Waits>(it: &W) {
    const ROUNDS: usize = 500;
    let notified = AtomicUsize::new(0);
    let (running, returned) = (AtomicUsize::new(4), AtomicUsize::new(0));
    threads(6, |number| {
        let mut rng = Rng::new();
        if number < 4 {
            for _ in 0..ROUNDS {
                let _inside = inside(it);
                let came = match rng.below(3) {
                    0 => it.wait_timeout(rng.timeout()).unwrap(),
                    1 => it.wait_until(after(rng.timeout())),
                    _ => it.wait_interruptible(after(rng.timeout())).unwrap(),
                };
                returned.fetch_add(usize::from(came), Relaxed);
            }
            running.fetch_sub(1, SeqCst);
        } else {
            while running.load(SeqCst) > 0 {
                let inside = inside(it);
                let count = it.notify(rng.below(4) as usize);
                notified.fetch_add(count, Relaxed);
                drop(inside);
                thread::yield_now(); // the waiters need the lock to leave
            }
        }
    });
    assert_eq!(returned.into_inner(), notified.into_inner());
    assert_eq!(waiting(it), 0);
}

/// COND-17: the predicate decides, under the lock. CPython's test_waitfor: it is true at the fourth
/// notify.
pub fn check_waits_for_what_it_is_told<W: Waits>(it: &W) {
    let state = Unsynchronized::new(0);
    thread::scope(|s| {
        let waiter = s.spawn(|| {
            let _inside = inside(it);
            it.wait_for(&mut || {
                assert!(it.is_locked(), "the predicate runs under the lock");
                // SAFETY: under the lock.
                unsafe { *state.get() == 4 }
            });
            // SAFETY: under the lock.
            assert_eq!(unsafe { *state.get() }, 4);
        });
        for _ in 0..4 {
            until(|| waiting(it) == 1);
            let _inside = inside(it);
            // SAFETY: under the lock.
            unsafe { *state.get() += 1 };
            assert_eq!(it.notify_one(), 1);
        }
        waiter.join().unwrap();
    });
}

/// COND-18: a predicate that is true at once is called once, and nothing is waited for: nobody gets
/// in.
pub fn check_waits_not_for_what_is_so<W: Waits>(it: &W) {
    let entered = AtomicBool::new(false);
    it.enter();
    thread::scope(|s| {
        let other = spawn(s, || {
            let _inside = inside(it);
            entered.store(true, SeqCst);
        });
        other.until_asleep();
        let calls = Cell::new(0);
        let mut predicate = || {
            calls.set(calls.get() + 1);
            true
        };
        it.wait_for(&mut predicate);
        assert_eq!(
            it.wait_for_timeout(&mut predicate, Duration::ZERO),
            Ok(true)
        );
        assert!(it.wait_for_until(&mut predicate, after(LONG)));
        assert_eq!(
            it.wait_for_interruptible(&mut predicate, Deadline::NEVER),
            Ok(true)
        );
        assert_eq!(calls.get(), 4, "once each");
        assert!(!entered.load(SeqCst));
        it.leave();
    });
}

/// COND-19: one deadline for all, and one evaluation more than there are waits.
pub fn check_counts_its_calls<W: Waits>(it: &W) {
    let calls = AtomicUsize::new(0);
    let never = || {
        calls.fetch_add(1, SeqCst);
        false
    };
    it.enter();
    // No time: before the wait and after it.
    let past = Deadline::now();
    assert_eq!(
        it.wait_for_timeout(&mut { never }, Duration::ZERO),
        Ok(false)
    );
    assert_eq!(calls.swap(0, SeqCst), 2);
    assert!(!it.wait_for_until(&mut { never }, past));
    assert_eq!(calls.swap(0, SeqCst), 2);
    assert_eq!(it.wait_for_interruptible(&mut { never }, past), Ok(false));
    assert_eq!(calls.swap(0, SeqCst), 2);
    // The evaluation after the wait that timed out decides.
    let mut late_truth = || calls.fetch_add(1, SeqCst) == 1;
    assert_eq!(it.wait_for_timeout(&mut late_truth, SHORT), Ok(true));
    assert_eq!(calls.swap(0, SeqCst), 2);
    it.leave();

    // CPython's test_waitfor_timeout: one deadline for all, and a call per notify.
    thread::scope(|s| {
        let waiter = s.spawn(|| {
            let _inside = inside(it);
            let start = Instant::now();
            let timeout = Duration::from_millis(30);
            assert_eq!(it.wait_for_timeout(&mut { never }, timeout), Ok(false));
            assert!(start.elapsed() >= timeout);
        });
        let mut notified = 0;
        while !waiter.is_finished() {
            let inside = inside(it);
            notified += it.notify_one();
            drop(inside);
            thread::yield_now(); // the waiter needs the lock to leave
        }
        assert_eq!(calls.load(SeqCst), 2 + notified);
    });
}

/// COND-20: a panic in the predicate leaves the lock held and all usable.
pub fn check_survives_a_panic<W: Waits>(it: &W) {
    thread::scope(|s| {
        let panics = spawn(s, || {
            it.enter();
            let mut calls = 0;
            let unwound = catch_unwind(AssertUnwindSafe(|| {
                it.wait_for(&mut || {
                    calls += 1;
                    assert!(calls < 2, "on purpose");
                    false
                });
            }));
            assert!(unwound.is_err() && it.is_locked());
            assert_eq!(it.waiting(), 0);
            it.leave();
        });
        until(|| waiting(it) == 1);
        {
            let _inside = inside(it);
            assert_eq!(it.notify_one(), 1);
        }
        panics.join();
    });
    check_wakes_in_every_form(it);
}

/// COND-21: two that share a lock do not wake each other's waiters.
pub fn check_sharing_a_lock<W: Waits>(both: [&W; 2]) {
    let returned = [AtomicUsize::new(0), AtomicUsize::new(0)];
    thread::scope(|s| {
        let waiters: Vec<_> = (0..6)
            .map(|number| {
                let (it, returned) = (both[number % 2], &returned[number % 2]);
                spawn(s, move || {
                    let _inside = inside(it);
                    it.wait();
                    returned.fetch_add(1, SeqCst);
                })
            })
            .collect();
        let returned = || [returned[0].load(SeqCst), returned[1].load(SeqCst)];
        until_waiting(both[0], 3, &waiters);
        until_waiting(both[1], 3, &waiters);
        both[0].enter();
        assert_eq!(both[0].notify_one(), 1);
        assert_eq!(both[0].waiting(), 2);
        assert_eq!(both[1].waiting(), 3);
        both[0].leave();
        until(|| returned() == [1, 0]);
        // Both in one section.
        both[0].enter();
        assert_eq!(both[1].notify(2), 2);
        assert_eq!(both[0].notify_one(), 1);
        both[0].leave();
        until(|| returned() == [2, 2]);
        {
            let _inside = inside(both[1]);
            assert_eq!(both[0].notify_all(), 1);
            assert_eq!(both[1].waiting(), 1);
        }
        until(|| returned() == [3, 2]);
        let _inside = inside(both[0]);
        assert_eq!(both[1].notify_all(), 1);
    });
}

/// A bounded queue, of one to wait for items and one for room that share a lock, loses nothing.
pub fn check_bounded_queue<W: Waits>([not_empty, not_full]: [&W; 2]) {
    const ITEMS: usize = 2_000;
    const CAPACITY: usize = 4;
    let queue = Unsynchronized::new(Vec::new());
    let consumed = threads(4, |number| {
        let mut sum = 0;
        for item in 0..ITEMS {
            let _inside = inside(not_empty);
            // SAFETY: all accesses to the queue are under the lock.
            let queue = queue.get();
            if number % 2 == 0 {
                // SAFETY: as above.
                not_full.wait_for(&mut || unsafe { (*queue).len() } < CAPACITY);
                // SAFETY: as above.
                unsafe { (*queue).push(item) };
                not_empty.notify_one();
            } else {
                let mut item = None;
                not_empty.wait_for(&mut || {
                    // SAFETY: as above.
                    item = unsafe { (*queue).pop() };
                    item.is_some()
                });
                sum += item.unwrap();
                not_full.notify_one();
            }
        }
        sum
    });
    assert_eq!(consumed.into_iter().sum::<usize>(), ITEMS * (ITEMS - 1));
    assert!(queue.into_inner().is_empty());
}

/// Makes a test of each check, for each of the places that `$each!` runs a check on.
#[macro_export]
macro_rules! waiting_tests {
    ($each:ident) => {
        $crate::waiting_tests! { $each:
            cond_5_and_7_every_form_gives_the_lock_up_waits_and_takes_it_back:
                check_wakes_in_every_form;
            cond_5_whoever_takes_the_lock_next_finds_the_waiter: check_queues_before_it_releases;
            cond_7_and_8_when_the_time_is_up_the_lock_is_held_and_nobody_queued:
                check_gives_up_when_its_time_is_up;
            cond_8_a_timeout_that_is_too_large_errs_with_the_lock_held:
                check_too_large_is_refused_with_the_lock_held;
            cond_9_a_timeout_of_zero_lets_others_in: check_lets_others_in;
            cond_10_and_12_notify_wakes_exactly_as_many_and_returns_their_number:
                check_exact_numbers;
            cond_11_the_oldest_waiter_is_woken_first: check_first_in_first_out;
            cond_11_one_that_times_out_in_the_middle_leaves_the_order_of_the_rest:
                check_order_without_those_that_left;
            cond_12_a_latecomer_does_not_steal_the_wake: check_latecomers_get_nothing;
            cond_14_notify_all_wakes_one_hundred: check_wakes_a_crowd;
            cond_15_notify_does_not_release_the_lock: check_keeps_the_lock;
            cond_16_a_notify_is_not_spent_on_a_waiter_whose_time_is_up:
                check_spends_no_notify_on_who_leaves;
            cond_16_under_random_timeouts_each_notify_is_one_wait_that_returns_true:
                check_every_notify_is_one_return;
            cond_17_the_predicate_decides_when_the_wait_is_over: check_waits_for_what_it_is_told;
            cond_18_a_predicate_that_is_true_at_once_waits_for_nothing:
                check_waits_not_for_what_is_so;
            cond_19_one_deadline_and_one_evaluation_more_than_waits: check_counts_its_calls;
            cond_20_a_panic_in_the_predicate_leaves_the_lock_held_and_all_usable:
                check_survives_a_panic;
        }
    };
    ($each:ident: $($name:ident: $check:ident;)+) => {
        $(
            #[test]
            fn $name() {
                let _watchdog = $crate::common::watchdog();
                $each!($crate::common::waiting::$check);
            }
        )+
    };
}
