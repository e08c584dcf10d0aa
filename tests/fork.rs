//! The primitives in the child of a fork (FORK-5 to FORK-7), where of all threads only the one that
//! forked exists.
//!
//! A child checks by itself, tells what failed on stderr, and is ended by its parent if it hangs. The
//! threads that it starts are libc's: std's take a lock of std's when they start and end, which a
//! thread that vanished, of another test even, may hold for ever.
#![cfg(not(threadbare_loom))]

mod common;

use common::forked::in_child;
use common::{Acquire, LONG, SHORT, Tid, Worker, after, spawn, until, watchdog};
use nix::libc;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;
use std::time::Duration;
use threadbare::{Barrier, CondLock, Condition, Deadline, Error, Event, Lock, RLock, Semaphore};

/// So many threads wait at a fork, and so many are started in the child.
const CROWD: usize = 8;

/// Runs `body` in `count` threads of libc's, and `meanwhile` here, with what they are told apart by;
/// returns when all have ended.
fn crew(count: usize, body: impl Fn() + Sync, meanwhile: impl FnOnce(&[Tid])) {
    struct Member<'a> {
        tid: &'a Tid,
        body: &'a (dyn Fn() + Sync),
    }
    extern "C" fn run(member: *mut libc::c_void) -> *mut libc::c_void {
        // SAFETY: a member, which is kept until this thread has been joined.
        let member = unsafe { &*member.cast::<Member<'_>>() };
        member.tid.is_mine();
        (member.body)(); // a panic does not get past here: it aborts
        ptr::null_mut()
    }
    struct Joined(Vec<libc::pthread_t>);
    impl Drop for Joined {
        fn drop(&mut self) {
            for thread in self.0.drain(..) {
                // SAFETY: started below, and joined once.
                unsafe { libc::pthread_join(thread, ptr::null_mut()) };
            }
        }
    }
    let tids: Vec<_> = (0..count).map(|_| Tid::new()).collect();
    let body = &body;
    let members: Vec<_> = tids.iter().map(|tid| Member { tid, body }).collect();
    let mut joined = Joined(Vec::new());
    for member in &members {
        let member = ptr::from_ref(member).cast_mut().cast();
        let mut thread = MaybeUninit::uninit();
        // SAFETY: `run` takes a member; all are kept until `joined`, declared later, is dropped.
        let result = unsafe { libc::pthread_create(thread.as_mut_ptr(), ptr::null(), run, member) };
        assert_eq!(result, 0);
        // SAFETY: pthread_create returned 0, so it stored the thread.
        joined.0.push(unsafe { thread.assume_init() });
    }
    meanwhile(&tids);
}

/// How many threads wait; takes the lock to ask.
fn waiting<L: CondLock>(condition: &Condition<L>) -> usize {
    let _guard = condition.guard();
    condition.waiting().unwrap()
}

/// Threads wait, are notified, are all there is; and a wait ends at its deadline.
fn check_works<L: CondLock + Sync>(condition: &Condition<L>) {
    assert_eq!(waiting(condition), 0);
    let woken = AtomicUsize::new(0);
    let wait = || {
        let _guard = condition.guard();
        condition.wait().unwrap();
        woken.fetch_add(1, SeqCst);
    };
    crew(CROWD, wait, |_| {
        until(|| waiting(condition) == CROWD);
        {
            let _guard = condition.guard();
            assert_eq!(condition.notify(3), Ok(3));
        }
        until(|| woken.load(SeqCst) == 3);
        let _guard = condition.guard();
        assert_eq!(condition.waiting(), Some(CROWD - 3));
        assert_eq!(condition.notify_all(), Ok(CROWD - 3));
    });
    assert_eq!(woken.load(SeqCst), CROWD);
    {
        let _guard = condition.guard();
        assert_eq!(condition.wait_timeout(SHORT), Ok(false));
        assert_eq!(condition.notify_all(), Ok(0));
    }
    assert!(!condition.locked());
}

/// Runs `then` while a crowd waits for `condition`; they go on when it returns.
fn while_they_wait<L: CondLock + Sync>(condition: &Condition<L>, then: impl FnOnce()) {
    let go = AtomicBool::new(false);
    let wait = || {
        let _guard = condition.guard();
        condition.wait_for(|| go.load(Relaxed)).unwrap();
    };
    crew(CROWD, wait, |waiters| {
        until(|| waiting(condition) == CROWD);
        waiters.iter().for_each(Tid::until_asleep);
        let failed = catch_unwind(AssertUnwindSafe(then)).err();
        {
            let _guard = condition.guard();
            go.store(true, Relaxed);
            condition.notify_all().unwrap();
        }
        // Only now, or they would be waited for, for ever.
        if let Some(panic) = failed {
            resume_unwind(panic);
        }
    });
}

/// Runs a check once for each way in which a condition keeps its waiters, and each way to have the
/// lock.
macro_rules! on_every_lock {
    ($check:ident) => {{
        $check(&Condition::new());
        $check(&Condition::with_lock(&RLock::new()));
        $check(&Condition::with_lock(Lock::new()));
        $check(&Condition::with_lock(Arc::new(Lock::new())));
    }};
}

#[test]
fn fork_5_a_condition_whose_waiters_have_vanished_can_be_used() {
    fn check<L: CondLock + Sync>(condition: &Condition<L>) {
        while_they_wait(condition, || {
            in_child(|| check_works(condition));
            assert_eq!(waiting(condition), CROWD, "the parent is unaffected");
        });
        check_works(condition);
    }
    let _watchdog = watchdog();
    on_every_lock!(check);
}

#[test]
fn fork_5_nobody_is_notified_in_the_child_of_those_who_waited() {
    fn check<L: CondLock + Sync>(condition: &Condition<L>) {
        while_they_wait(condition, || {
            in_child(|| {
                let _guard = condition.guard();
                assert_eq!(condition.waiting(), Some(0));
                assert_eq!(condition.notify_all(), Ok(0));
                assert_eq!(condition.wait_timeout(SHORT), Ok(false));
            });
        });
    }
    let _watchdog = watchdog();
    on_every_lock!(check);
}

#[test]
fn fork_5_a_child_of_a_child_has_waiters_of_its_own_too() {
    fn check<L: CondLock + Sync>(condition: &Condition<L>) {
        while_they_wait(condition, || {
            in_child(|| {
                while_they_wait(condition, || in_child(|| check_works(condition)));
                // An object that the parent has never used.
                let own = Condition::with_lock(Lock::new());
                check_works(&own);
                while_they_wait(&own, || in_child(|| check_works(&own)));
                check_works(condition);
            });
        });
    }
    let _watchdog = watchdog();
    on_every_lock!(check);
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

/// Runs `fork` often, each time while two threads are somewhere in `hammer`.
fn while_hammered(hammer: impl Fn() + Sync, fork: impl Fn()) {
    const FORKS: usize = 50;
    let (over, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|s| {
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
        over.store(true, Relaxed);
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
