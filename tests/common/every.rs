//! A use of every object, for surroundings in which all must work as ever.

use super::{SHORT, Unsynchronized, after};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use threadbare::{
    Barrier, BoundedSemaphore, Condition, Condvar, Deadline, Error, Event, Local, Lock, Monitor,
    Mutex, MutexExt, RLock, ReentrantMutex, Semaphore, Thread, Timer, active_count, current_thread,
    enumerate, main_thread, park_timeout, scope, sleep_until, spawn,
};

/// What one thread alone can do with each object: take, give back, wait in vain in the kernel.
pub fn alone() {
    let in_vain = |wait: &dyn Fn(Deadline) -> bool| {
        let (start, deadline) = (Instant::now(), after(SHORT));
        assert!(!wait(deadline));
        assert!(start.elapsed() >= SHORT && deadline.has_passed());
    };

    let lock = Lock::new();
    lock.acquire();
    in_vain(&|deadline| lock.acquire_until(deadline));
    assert_eq!(lock.release(), Ok(()));
    assert_eq!(lock.release(), Err(Error::ReleaseUnlocked));

    let rlock = RLock::new();
    rlock.acquire();
    assert!(rlock.try_acquire());
    assert_eq!((rlock.recursion_count(), rlock.release()), (2, Ok(())));
    assert_eq!(
        (rlock.release(), rlock.release()),
        (Ok(()), Err(Error::NotOwner))
    );

    let mutex = Mutex::new(1);
    let guard = mutex.lock();
    in_vain(&|deadline| mutex.lock_until(deadline).is_some());
    drop(guard);
    let reentrant = ReentrantMutex::new(1);
    assert_eq!(*reentrant.lock() + *reentrant.lock(), 2);

    let condition = Condition::new();
    let guard = condition.guard();
    in_vain(&|deadline| condition.wait_until(deadline).unwrap());
    in_vain(&|deadline| condition.wait_for_until(|| false, deadline).unwrap());
    assert_eq!(condition.notify_all(), Ok(0));
    drop(guard);
    let condition = Condition::with_lock(Lock::new());
    let guard = condition.guard();
    in_vain(&|deadline| condition.wait_until(deadline).unwrap());
    drop(guard);
    let condvar = Condvar::new();
    in_vain(&|deadline| condvar.wait_until(&mut mutex.lock(), deadline));
    assert_eq!(condvar.notify_all(), 0);
    let monitor = Monitor::new(1);
    in_vain(&|deadline| monitor.lock().wait_until(deadline));

    let semaphore = Semaphore::new(1);
    assert!(semaphore.try_acquire());
    in_vain(&|deadline| semaphore.acquire_until(deadline));
    in_vain(&|deadline| semaphore.acquire_n_until(2, deadline).unwrap());
    assert_eq!((semaphore.release_n(2), semaphore.value()), (Ok(()), 2));
    let bounded = BoundedSemaphore::new(1);
    assert_eq!(bounded.release(), Err(Error::AboveBound));
    bounded.acquire();
    in_vain(&|deadline| bounded.acquire_until(deadline));

    let event = Event::new();
    in_vain(&|deadline| event.wait_until(deadline));
    event.set();
    assert!(event.wait_timeout(Duration::ZERO).unwrap());
    event.clear();
    assert!(!event.is_set());

    let barrier = Barrier::new(2);
    in_vain(&|deadline| barrier.wait_until(deadline) != Err(Error::BrokenBarrier));
    barrier.reset();
    assert!(!barrier.broken());
    assert_eq!(Barrier::new(1).wait(), Ok(0));

    static LOCAL: Local<Cell<u32>> = Local::new(|| Cell::new(1));
    assert_eq!(LOCAL.with(Cell::get), 1);
    let this = current_thread();
    if this == main_thread() {
        // Others keep none if they end the process.
        assert_eq!(LOCAL.replace(Cell::new(2)), Ok(Some(Cell::new(1))));
    }
    assert!(LOCAL.take().is_ok());

    assert!(this.is_current() && enumerate().contains(&main_thread()));
    in_vain(&|deadline| park_timeout(deadline.remaining().unwrap()).unwrap());
    this.unpark();
    assert_eq!(park_timeout(Duration::ZERO), Ok(true));
    in_vain(&|deadline| {
        sleep_until(deadline);
        false
    });
}

/// How many threads of the crate use the objects together, and how often.
const CREW: usize = 4;
const ROUNDS: usize = 20;

/// What several threads do with each object: exclude each other, wait for each other, let each other
/// go on; and how they start and end.
pub fn together() {
    let inside = Inside::default();
    let turns = Turns::default();
    let (event, acknowledged) = (Event::new(), Semaphore::new(0));
    let passed = AtomicUsize::new(0);
    let barrier = Barrier::new(CREW).with_action(|| {
        passed.fetch_add(1, Relaxed);
    });
    let local = Local::new(|| Cell::new(0));
    scope(|s| {
        for number in 0..CREW {
            let (inside, turns, barrier) = (&inside, &turns, &barrier);
            let (event, acknowledged, local) = (&event, &acknowledged, &local);
            s.spawn(move || {
                for _ in 0..ROUNDS {
                    inside.enter_each();
                    turns.take_each(number);
                    assert!(barrier.wait().unwrap() < CREW);
                    local.with(|count| count.set(count.get() + 1));
                    // One sets the event for the others, and takes it back when all have seen it.
                    if number == 0 {
                        event.set();
                        acknowledged.acquire_n(CREW as u32 - 1).unwrap();
                        event.clear();
                    } else {
                        event.wait();
                        acknowledged.release().unwrap();
                    }
                    barrier.wait().unwrap();
                }
                assert_eq!(local.with(Cell::get), ROUNDS);
            });
        }
    });
    inside.check(CREW * ROUNDS);
    assert_eq!(passed.into_inner(), 2 * ROUNDS);
    start_and_end();
}

/// Threads of every kind, and timers.
pub fn start_and_end() {
    let before = active_count();
    let ran = Arc::new(AtomicUsize::new(0));
    for stack in [32 << 10, 64 << 10, 1 << 20] {
        let counts = ran.clone();
        let thread = Thread::builder().stack_size(stack).daemon(true);
        let thread = thread.target(move || {
            counts.fetch_add(1, Relaxed);
        });
        let thread = thread.spawn().unwrap();
        thread.join().unwrap();
        assert!(!thread.is_alive() && thread.join_timeout(Duration::ZERO) == Ok(true));
    }
    assert_eq!(ran.load(Relaxed), 3);
    assert_eq!(spawn(|| 17).join().unwrap(), 17);
    let counts = ran.clone();
    let timer = Timer::new(SHORT, move || {
        counts.fetch_add(1, Relaxed);
    });
    timer.set_daemon(true).unwrap();
    timer.start().unwrap();
    timer.join().unwrap();
    assert!(timer.finished().is_set() && ran.load(Relaxed) == 4);
    let waits = Thread::builder().daemon(true).target(threadbare::park);
    let waits = waits.spawn().unwrap();
    assert_eq!(waits.join_timeout(SHORT), Ok(false));
    waits.unpark();
    waits.join().unwrap();
    assert_eq!(active_count(), before);
}

/// What excludes, each with a count that it protects.
#[derive(Default)]
struct Inside {
    lock: Lock,
    rlock: RLock,
    semaphore: Semaphore,
    bounded: BoundedSemaphore,
    mutex: Mutex<usize>,
    reentrant: ReentrantMutex<Cell<usize>>,
    monitor: Monitor<usize>,
    counts: [Count; 4],
}

/// Memory that one thread at a time touches.
struct Count(Unsynchronized<usize>);

impl Default for Count {
    fn default() -> Count {
        Count(Unsynchronized::new(0))
    }
}

impl Count {
    fn add(&self) {
        // SAFETY: the caller is inside of what protects it.
        unsafe { *self.0.get() += 1 };
    }
}

impl Inside {
    fn enter_each(&self) {
        let [lock, rlock, semaphore, bounded] = &self.counts;
        self.lock.acquire();
        lock.add();
        self.lock.release().unwrap();
        self.rlock.acquire();
        self.rlock.acquire();
        rlock.add();
        self.rlock.release().unwrap();
        self.rlock.release().unwrap();
        self.semaphore.acquire();
        semaphore.add();
        self.semaphore.release().unwrap();
        self.bounded.acquire();
        bounded.add();
        self.bounded.release().unwrap();
        *self.mutex.lock() += 1;
        let reentrant = self.reentrant.lock();
        reentrant.set(self.reentrant.lock().get() + 1);
        *self.monitor.lock() += 1;
    }

    fn check(self, entries: usize) {
        for count in self.counts {
            assert_eq!(count.0.into_inner(), entries);
        }
        assert_eq!(self.mutex.into_inner(), entries);
        assert_eq!(self.reentrant.into_inner().into_inner(), entries);
        assert_eq!(self.monitor.into_inner(), entries);
    }
}

/// What threads wait for under a lock: their turn, one after the other.
#[derive(Default)]
struct Turns {
    on_rlock: Condition,
    of_rlock: AtomicUsize,
    on_lock: Condition<Lock>,
    of_lock: AtomicUsize,
    changed: Condvar,
    mutex: Mutex<usize>,
    monitor: Monitor<usize>,
}

impl Turns {
    fn take_each(&self, number: usize) {
        let is_mine = |turn: usize| turn % CREW == number;
        let guard = self.on_rlock.guard();
        let found = self
            .on_rlock
            .wait_for(|| is_mine(self.of_rlock.load(Relaxed)));
        assert_eq!(found, Ok(true));
        self.of_rlock.fetch_add(1, Relaxed);
        self.on_rlock.notify_all().unwrap();
        drop(guard);

        let guard = self.on_lock.guard();
        let found = self
            .on_lock
            .wait_for(|| is_mine(self.of_lock.load(Relaxed)));
        assert_eq!(found, Ok(true));
        self.of_lock.fetch_add(1, Relaxed);
        self.on_lock.notify_all().unwrap();
        drop(guard);

        let mut turn = self.mutex.lock();
        self.changed.wait_while(&mut turn, |turn| !is_mine(*turn));
        *turn += 1;
        self.changed.notify_all();
        drop(turn);

        let mut turn = self.monitor.lock();
        turn.wait_while(|turn| !is_mine(*turn));
        *turn += 1;
        turn.notify_all();
    }
}
