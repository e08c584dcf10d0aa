//! The primitives in the child of a fork (FORK-5 to FORK-7), where of all threads only the one that
//! forked exists.
//!
//! A child checks by itself, tells what failed on stderr, and is ended by its parent if it hangs. The
//! threads that it starts are libc's: std's take a lock of std's when they start and end, which a
//! thread that vanished, of another test even, may hold for ever.
#![cfg(not(threadbare_model))]

mod common;

use common::forked::{self, in_child};
use common::pthread::Pthread;
use common::typed::{CondvarOn, Watched};
use common::waiting::{Waits, inside, waiting};
use common::witness::OnDrop;
use common::{Acquire, LONG, SHORT, Tid, Worker, after, spawn, until, watchdog};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;
use std::time::Duration;
use threadbare::{
    Barrier, CondLock, Condition, Condvar, Deadline, Error, Event, Lock, Monitor, Mutex, MutexExt,
    RLock, ReentrantMutex, Semaphore,
};

/// So many threads wait at a fork, and so many are started in the child.
const CROWD: usize = 8;

/// Runs `body` in `count` threads of libc's, and `meanwhile` here, with what they are told apart by;
/// returns when all have ended.
fn crew(count: usize, body: impl Fn() + Sync, meanwhile: impl FnOnce(&[Tid])) {
    struct Joined(Vec<Pthread>);
    impl Drop for Joined {
        fn drop(&mut self) {
            self.0.drain(..).for_each(Pthread::join);
        }
    }
    let tids: Vec<_> = (0..count).map(|_| Tid::new()).collect();
    let body = &body;
    let mut joined = Joined(Vec::new());
    for tid in &tids {
        let member = move || {
            tid.is_mine();
            body();
        };
        // SAFETY: `joined`, declared after what a member borrows, joins it when dropped.
        joined.0.push(unsafe { Pthread::start_borrowing(member) });
    }
    meanwhile(&tids);
}

/// Threads wait, are notified, are all there is; and a wait ends at its deadline.
fn check_works<W: Waits>(it: &W) {
    assert_eq!(waiting(it), 0);
    let woken = AtomicUsize::new(0);
    let wait = || {
        let _inside = inside(it);
        it.wait();
        woken.fetch_add(1, SeqCst);
    };
    crew(CROWD, wait, |_| {
        until(|| waiting(it) == CROWD);
        {
            let _inside = inside(it);
            assert_eq!(it.notify(3), 3);
        }
        until(|| woken.load(SeqCst) == 3);
        let _inside = inside(it);
        assert_eq!(it.waiting(), CROWD - 3);
        assert_eq!(it.notify_all(), CROWD - 3);
    });
    assert_eq!(woken.load(SeqCst), CROWD);
    {
        let _inside = inside(it);
        assert_eq!(it.wait_timeout(SHORT), Ok(false));
        assert_eq!(it.notify_all(), 0);
    }
    assert!(!it.is_locked());
}

/// Runs `then` while a crowd waits; they go on when it returns.
fn while_they_wait<W: Waits>(it: &W, then: impl FnOnce()) {
    let go = AtomicBool::new(false);
    let wait = || {
        let _inside = inside(it);
        it.wait_for(&mut || go.load(Relaxed));
    };
    crew(CROWD, wait, |waiters| {
        until(|| waiting(it) == CROWD);
        waiters.iter().for_each(Tid::until_asleep);
        let failed = catch_unwind(AssertUnwindSafe(then)).err();
        {
            let _inside = inside(it);
            go.store(true, Relaxed);
            it.notify_all();
        }
        // Only now, or they would be waited for, for ever.
        if let Some(panic) = failed {
            resume_unwind(panic);
        }
    });
}

/// Runs a check once for each way in which waiters are kept, and each way to have the lock.
macro_rules! on_each_that_waits {
    ($check:ident) => {{
        $check(&Condition::new());
        $check(&Condition::with_lock(&RLock::new()));
        $check(&Condition::with_lock(Lock::new()));
        $check(&Condition::with_lock(Arc::new(Lock::new())));
        $check(&Watched::new(&Monitor::new(())));
        $check(&CondvarOn {
            mutex: &Mutex::new(()),
            condvar: &Condvar::new(),
        });
    }};
}

#[test]
fn fork_5_a_condition_whose_waiters_have_vanished_can_be_used() {
    fn check<W: Waits>(it: &W) {
        while_they_wait(it, || {
            in_child(|| check_works(it));
            assert_eq!(waiting(it), CROWD, "the parent is unaffected");
        });
        check_works(it);
    }
    let _watchdog = watchdog();
    on_each_that_waits!(check);
}

#[test]
fn fork_5_nobody_is_notified_in_the_child_of_those_who_waited() {
    fn check<W: Waits>(it: &W) {
        while_they_wait(it, || {
            in_child(|| {
                let _inside = inside(it);
                assert_eq!(it.waiting(), 0);
                assert_eq!(it.notify_all(), 0);
                assert_eq!(it.wait_timeout(SHORT), Ok(false));
            });
        });
    }
    let _watchdog = watchdog();
    on_each_that_waits!(check);
}

#[test]
fn fork_5_a_child_of_a_child_has_waiters_of_its_own_too() {
    fn check<W: Waits>(it: &W) {
        while_they_wait(it, || {
            in_child(|| {
                while_they_wait(it, || in_child(|| check_works(it)));
                // An object that the parent has never used.
                let own = Condition::with_lock(Lock::new());
                check_works(&own);
                while_they_wait(&own, || in_child(|| check_works(&own)));
                check_works(it);
            });
        });
    }
    let _watchdog = watchdog();
    on_each_that_waits!(check);
}

#[test]
fn fork_5_a_wait_may_go_on_in_the_child_of_the_thread_that_waits() {
    // The check of a wait runs in the middle of it, and may fork.
    fn check<W: Waits>(it: &W, wait_checked: impl Fn(&mut dyn FnMut() -> bool)) {
        while_they_wait(it, || {
            it.enter();
            let mut child = None;
            wait_checked(&mut || {
                child.get_or_insert_with(forked::start);
                true
            });
            match child.flatten() {
                Some(child) => {
                    assert_eq!(it.waiting(), CROWD);
                    it.leave();
                    forked::finish(child);
                }
                None => forked::end(|| {
                    assert_eq!(it.waiting(), 0);
                    it.leave();
                    check_works(it);
                }),
            }
        });
    }
    let _watchdog = watchdog();
    let monitor = Monitor::new(());
    let it = Watched::new(&monitor);
    check(&it, |stop| {
        let waited = it.with(|guard| guard.wait_checked(Deadline::NEVER, stop));
        assert_eq!(waited, Err(Error::Interrupted));
    });
    let (mutex, condvar) = (Mutex::new(()), Condvar::new());
    let it = CondvarOn {
        mutex: &mutex,
        condvar: &condvar,
    };
    check(&it, |stop| {
        let waited = condvar.wait_checked(&mut it.guard(), Deadline::NEVER, stop);
        assert_eq!(waited, Err(Error::Interrupted));
    });
}

#[test]
fn fork_5_a_release_in_the_child_wakes_nobody_who_was_notified_in_the_parent() {
    let _watchdog = watchdog();
    let condition = Condition::new();
    while_they_wait(&condition, || {
        condition.acquire();
        condition.acquire();
        assert_eq!(condition.notify(CROWD - 1), Ok(CROWD - 1)); // woken by the last release
        in_child(|| {
            assert_eq!(condition.waiting(), Some(0));
            condition.release().unwrap();
            condition.release().unwrap();
            assert_eq!(condition.release(), Err(Error::NotOwner));
            check_works(&condition);
        });
        in_child(|| {
            // The release inside of a wait, and a notify that finds old ones pending.
            let notify = || {
                let _guard = condition.guard();
                condition.notify_one().unwrap();
            };
            crew(1, notify, |_| {
                assert_eq!(condition.wait_timeout(LONG), Ok(true));
            });
            condition.release().unwrap();
            condition.release().unwrap();
            check_works(&condition);
        });
        condition.release().unwrap();
        condition.release().unwrap();
    });
    check_works(&condition);
}

#[test]
fn fork_5_the_release_of_a_monitor_in_the_child_wakes_nobody_either() {
    let _watchdog = watchdog();
    let monitor = Monitor::new(());
    let it = Watched::new(&monitor);
    while_they_wait(&it, || {
        let guard = monitor.lock();
        assert_eq!(guard.notify(CROWD - 1), CROWD - 1); // woken by the release
        it.keep(guard);
        in_child(|| {
            assert_eq!(it.waiting(), 0);
            it.leave();
            check_works(&it);
        });
        in_child(|| {
            // The release inside of a wait, and a notify that finds old ones pending.
            let notify = || {
                monitor.lock().notify_one();
            };
            crew(1, notify, |_| assert_eq!(it.wait_timeout(LONG), Ok(true)));
            it.leave();
            check_works(&it);
        });
        it.leave();
    });
    check_works(&it);
}

/// Runs `fork` often, each time while two threads are somewhere in `hammer`.
fn while_hammered(hammer: impl Fn() + Sync, fork: impl Fn()) {
    const FORKS: usize = 50;
    let (over, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|s| {
        // Also on a panic: else that would wait for the two for ever.
        let _over = OnDrop(|| over.store(true, Relaxed));
        for _ in 0..2 {
            s.spawn(|| {
                while !over.load(Relaxed) {
                    hammer();
                    rounds.fetch_add(1, Relaxed);
                }
            });
        }
        for _ in 0..FORKS {
            let before = rounds.load(Relaxed);
            until(|| rounds.load(Relaxed) > before);
            fork();
        }
    });
}

#[test]
fn fork_5_a_notify_that_a_fork_cut_off_does_not_lock_the_child_out() {
    let _watchdog = watchdog();
    let lock = Lock::new();
    let condition = Condition::with_lock(&lock);
    lock.acquire(); // so that others may notify, and the child has it
    let notify = || {
        condition.notify_one().unwrap();
    };
    while_hammered(notify, || {
        in_child(|| {
            crew(2, notify, |_| ()); // whoever comes first
            lock.release().unwrap();
            check_works(&condition);
        });
    });
    lock.release().unwrap();
}

#[test]
fn fork_5_what_a_fork_cut_off_in_a_condvar_does_not_lock_the_child_out() {
    let _watchdog = watchdog();
    let (mutex, condvar) = (Mutex::new(()), Condvar::new());
    let own = Mutex::new(());
    let notify_and_wait = || {
        condvar.notify_one();
        let _ = condvar.wait_timeout(&mut mutex.lock(), Duration::from_micros(20));
    };
    while_hammered(notify_and_wait, || {
        in_child(|| {
            // With another mutex than that which may be held for ever (FORK-6) ...
            let it = CondvarOn {
                mutex: &own,
                condvar: &condvar,
            };
            check_works(&it);
            // ... and with that one, made free by who knows that its value is whole.
            if mutex.is_locked() {
                // SAFETY: this process has one thread, and it has no guard.
                unsafe { mutex.force_unlock() };
            }
            let it = CondvarOn {
                mutex: &mutex,
                condvar: &condvar,
            };
            check_works(&it);
        });
    });
}

#[test]
fn fork_5_a_wait_that_a_fork_cut_off_does_not_harm_the_child() {
    let _watchdog = watchdog();
    let lock = Lock::new();
    let condition = Condition::with_lock(&lock);
    let wait = || {
        let _guard = condition.guard();
        let _ = condition.notify_one();
        let _ = condition.wait_timeout(Duration::from_micros(20));
    };
    while_hammered(wait, || {
        in_child(|| {
            // SAFETY: this process has one thread.
            unsafe { lock.at_fork_reinit() }; // FORK-6: it may be held
            check_works(&condition);
        });
    });
}

#[test]
fn fork_6_what_a_vanished_thread_holds_is_held_for_ever() {
    let _watchdog = watchdog();
    let (lock, rlock, semaphore) = (Lock::new(), RLock::new(), Semaphore::new(1));
    let (taken, go) = (Event::new(), Event::new());
    thread::scope(|s| {
        s.spawn(|| {
            lock.acquire();
            rlock.acquire();
            semaphore.acquire();
            taken.set();
            go.wait();
            rlock.release().unwrap();
        });
        taken.wait();
        in_child(|| {
            assert!(lock.locked() && rlock.locked() && semaphore.value() == 0);
            assert_eq!(lock.acquire_timeout(SHORT), Ok(false));
            assert_eq!(rlock.acquire_timeout(SHORT), Ok(false));
            assert_eq!(semaphore.acquire_timeout(SHORT), Ok(false));
            assert_eq!(rlock.release(), Err(Error::NotOwner));
            // These two belong to nobody in particular.
            lock.release().unwrap();
            semaphore.release().unwrap();
            assert!(lock.try_acquire() && semaphore.try_acquire());
        });
        go.set();
    });
}

#[test]
fn fork_6_what_the_forking_thread_holds_is_still_its_own() {
    let _watchdog = watchdog();
    let (lock, rlock) = (Lock::new(), RLock::new());
    lock.acquire();
    rlock.acquire();
    rlock.acquire();
    in_child(|| {
        assert!(lock.locked() && !lock.try_acquire());
        assert!(rlock.is_owned() && rlock.recursion_count() == 2);
        rlock.acquire();
        let refused = || assert_eq!(rlock.release(), Err(Error::NotOwner));
        crew(1, refused, |_| ());
        (0..3).for_each(|_| rlock.release().unwrap());
        assert!(!rlock.locked());
        lock.release().unwrap();
    });
    assert!(lock.locked() && rlock.recursion_count() == 2);
}

#[test]
fn fork_6_guards_hold_in_the_child_what_they_hold() {
    let _watchdog = watchdog();
    let (mutex, monitor) = (Mutex::new(1), Monitor::new(1));
    let reentrant = ReentrantMutex::new(1);
    let (mut mine, mut watched, outer) = (mutex.lock(), monitor.lock(), reentrant.lock());
    in_child(|| {
        let refused = || {
            assert!(mutex.lock_timeout(SHORT).unwrap().is_none());
            assert!(monitor.lock_timeout(SHORT).unwrap().is_none());
            assert!(reentrant.try_lock_for(SHORT).is_none());
        };
        crew(1, refused, |_| ());
        let again = catch_unwind(AssertUnwindSafe(|| drop(monitor.lock())));
        assert!(again.is_err(), "it is this thread's");
        let inner = reentrant.lock();
        (*mine, *watched) = (2, 2);
        drop((mine, watched, inner, outer));
        let free = || {
            assert_eq!(
                (*mutex.lock(), *monitor.lock(), *reentrant.lock()),
                (2, 2, 1)
            )
        };
        crew(1, free, |_| ());
    });
    // The parent's own guards have gone with what was run in the child.
    assert_eq!((*mutex.lock(), *monitor.lock()), (1, 1));
}

#[test]
fn fork_6_a_mutex_that_a_vanished_thread_holds_can_be_unlocked_by_force() {
    let _watchdog = watchdog();
    let (mutex, monitor) = (Mutex::new(1), Monitor::new(1));
    let (taken, go) = (Event::new(), Event::new());
    thread::scope(|s| {
        s.spawn(|| {
            let _guards = (mutex.lock(), monitor.lock());
            taken.set();
            go.wait();
        });
        taken.wait();
        in_child(|| {
            assert!(mutex.lock_timeout(SHORT).unwrap().is_none());
            assert!(
                monitor.lock_timeout(SHORT).unwrap().is_none(),
                "nor a panic"
            );
            // SAFETY: who held it is gone, with its guard.
            unsafe { mutex.force_unlock() };
            assert_eq!(*mutex.lock(), 1);
        });
        go.set();
    });
}

/// Forks while a crowd sleeps on `object`, which the caller has taken; in the child, and then here,
/// releases it to a crowd that takes it in turn.
fn check_outlives_its_waiters<A: Acquire>(object: &A) {
    let serve_crowd = || {
        let served = AtomicUsize::new(0);
        let take_turn = || {
            object.acquire();
            served.fetch_add(1, Relaxed);
            object.release().unwrap();
        };
        crew(CROWD, take_turn, |_| object.release().unwrap());
        assert_eq!(served.load(Relaxed), CROWD);
        object.acquire();
        assert_eq!(object.acquire_timeout(Duration::ZERO), Ok(false));
    };
    thread::scope(|s| {
        let wait = || {
            object.acquire();
            object.release().unwrap();
        };
        let waiters: Vec<_> = (0..CROWD).map(|_| spawn(s, wait)).collect();
        waiters.iter().for_each(Worker::until_asleep);
        in_child(serve_crowd);
        object.release().unwrap();
    });
}

#[test]
fn fork_6_a_lock_or_semaphore_whose_waiters_have_vanished_serves_those_of_the_child() {
    let _watchdog = watchdog();
    let (lock, semaphore) = (Lock::new(), Semaphore::new(1));
    lock.acquire();
    check_outlives_its_waiters(&lock);
    semaphore.acquire();
    check_outlives_its_waiters(&semaphore);
    let mutex = Mutex::new(());
    mutex.acquire();
    check_outlives_its_waiters(&mutex);
    let monitor = Monitor::new(());
    let watched = Watched::new(&monitor);
    watched.acquire();
    check_outlives_its_waiters(&watched);
    let several = common::Several(Semaphore::new(3), 3);
    several.acquire();
    check_outlives_its_waiters(&several);
}

#[test]
fn fork_6_an_event_whose_waiters_have_vanished_releases_those_of_the_child() {
    let _watchdog = watchdog();
    let event = Event::new();
    thread::scope(|s| {
        let waiters: Vec<_> = (0..CROWD).map(|_| spawn(s, || event.wait())).collect();
        waiters
            .iter()
            .for_each(|waiter| waiter.until_asleep_in(&event));
        in_child(|| {
            for _ in 0..2 {
                crew(
                    CROWD,
                    || event.wait(),
                    |waiters| {
                        waiters.iter().for_each(|tid| tid.until_asleep_in(&event));
                        event.set();
                    },
                );
                event.clear();
            }
        });
        event.set();
    });
}

/// Forks while a thread holds `object` and a crowd waits for it, and checks that in the child it is
/// held, but after `reinit` as new.
fn check_reinit<A: Acquire>(object: &A, reinit: fn(&A), is_as_new: fn(&A) -> bool) {
    let (taken, go) = (Event::new(), Event::new());
    thread::scope(|s| {
        s.spawn(|| {
            object.acquire();
            taken.set();
            go.wait();
            object.release().unwrap();
        });
        taken.wait();
        let wait = || {
            object.acquire();
            object.release().unwrap();
        };
        let waiters: Vec<_> = (0..CROWD).map(|_| spawn(s, wait)).collect();
        waiters.iter().for_each(Worker::until_asleep);
        in_child(|| {
            assert!(!object.try_acquire());
            reinit(object);
            assert!(is_as_new(object));
            assert!(object.release().is_err(), "it is held by nobody");
            let turns = AtomicUsize::new(0);
            let take_turn = || {
                object.acquire();
                turns.fetch_add(1, Relaxed);
                object.release().unwrap();
            };
            crew(CROWD, take_turn, |_| ());
            assert_eq!(turns.load(Relaxed), CROWD);
            assert!(is_as_new(object));
        });
        go.set();
    });
}

/// A lock of a user's, which knows nothing of forks.
struct Foreign(Lock);

// SAFETY: leaves `owner_proof` out.
unsafe impl CondLock for Foreign {
    fn acquire(&self) {
        self.0.acquire();
    }
    fn try_acquire(&self) -> bool {
        self.0.try_acquire()
    }
    fn acquire_until(&self, deadline: Deadline) -> bool {
        self.0.acquire_until(deadline)
    }
    fn acquire_interruptible(&self, deadline: Deadline) -> Result<bool, Error> {
        self.0.acquire_interruptible(deadline)
    }
    fn release(&self) -> Result<(), Error> {
        self.0.release()
    }
    fn locked(&self) -> bool {
        self.0.locked()
    }
}

#[test]
fn fork_7_a_lock_is_made_as_new() {
    let _watchdog = watchdog();
    check_reinit(
        &Lock::new(),
        // SAFETY: called in a process with one thread.
        |lock| unsafe { lock.at_fork_reinit() },
        |lock| !lock.locked() && !lock.has_waiters(),
    );
    check_reinit(
        &RLock::new(),
        // SAFETY: called in a process with one thread.
        |lock| unsafe { lock.at_fork_reinit() },
        |lock| !lock.locked() && !lock.is_owned() && !lock.has_waiters(),
    );
}

#[test]
fn fork_7_a_monitor_is_made_as_new() {
    let _watchdog = watchdog();
    let monitor = Monitor::new(());
    let it = Watched::new(&monitor);
    // SAFETY: called in a process with one thread.
    let reinit: fn(&Watched<'_>) = |it| unsafe { it.reinit() };
    while_they_wait(&it, || {
        check_reinit(&it, reinit, |it| {
            !it.monitor.is_locked() && !it.monitor.has_waiters() && waiting(it) == 0
        });
    });
    while_they_wait(&it, || {
        // One of the caller's, with threads to be woken by its release.
        let guard = monitor.lock();
        assert_eq!(guard.notify(CROWD - 1), CROWD - 1);
        it.keep(guard);
        in_child(|| {
            reinit(&it);
            assert_eq!(it.release(), Err(Error::NotOwner));
            check_works(&it);
        });
        it.leave();
    });
    check_works(&it);
}

#[test]
fn fork_7_a_lock_of_the_callers_is_made_as_new() {
    let _watchdog = watchdog();
    let condition = Condition::new();
    while_they_wait(&condition, || {
        condition.acquire();
        condition.acquire();
        assert_eq!(condition.notify(CROWD - 1), Ok(CROWD - 1));
        in_child(|| {
            // SAFETY: this process has one thread.
            unsafe { condition.at_fork_reinit() };
            assert_eq!(condition.release(), Err(Error::NotOwner));
            check_works(&condition);
        });
        condition.release().unwrap();
        condition.release().unwrap();
    });
}

#[test]
fn fork_7_a_condition_is_made_as_new_and_keeps_its_kind_of_lock() {
    fn check<L: CondLock + Sync>(condition: &Condition<L>, reentrant: bool) {
        while_they_wait(condition, || {
            check_reinit(
                condition,
                // SAFETY: called in a process with one thread.
                |condition| unsafe { condition.at_fork_reinit() },
                |condition| !condition.locked() && waiting(condition) == 0,
            );
        });
        while_they_wait(condition, || {
            in_child(|| {
                // SAFETY: this process has one thread.
                unsafe { condition.at_fork_reinit() };
                check_works(condition);
                condition.acquire();
                assert_eq!(condition.try_acquire(), reentrant);
            });
        });
    }
    let _watchdog = watchdog();
    check(&Condition::new(), true);
    check(&Condition::with_lock(&RLock::new()), true);
    check(&Condition::with_lock(Lock::new()), false);
    check(&Condition::with_lock(Arc::new(Lock::new())), false);
    check(&Condition::with_lock(Foreign(Lock::new())), false);
}

#[test]
fn fork_7_an_event_keeps_its_flag_and_forgets_who_waited() {
    let _watchdog = watchdog();
    let event = Event::new();
    thread::scope(|s| {
        let waiters: Vec<_> = (0..CROWD).map(|_| spawn(s, || event.wait())).collect();
        waiters
            .iter()
            .for_each(|waiter| waiter.until_asleep_in(&event));
        in_child(|| {
            assert!(event.has_waiters());
            // SAFETY: this process has one thread.
            unsafe { event.at_fork_reinit() };
            assert!(!event.has_waiters() && !event.is_set());
            assert!(!event.wait_until(after(SHORT)));
            event.set();
            // SAFETY: this process has one thread.
            unsafe { event.at_fork_reinit() };
            assert!(event.is_set());
        });
        event.set();
    });
}

#[test]
fn fork_7_a_barrier_that_somebody_was_inside_is_made_as_new() {
    let _watchdog = watchdog();
    let barrier = Barrier::new(2);
    thread::scope(|s| {
        let other = s.spawn(|| barrier.wait());
        until(|| barrier.n_waiting() == 1);
        in_child(|| {
            // SAFETY: the child has no other thread.
            unsafe { barrier.at_fork_reinit() };
            assert_eq!(barrier.n_waiting(), 0);
            assert_eq!(
                barrier.wait_timeout(Duration::from_millis(1)),
                Err(Error::BrokenBarrier)
            );
            barrier.reset();
            assert!(!barrier.broken());
        });
        barrier.wait().unwrap();
        other.join().unwrap().unwrap();
    });
}
