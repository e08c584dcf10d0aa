//! Uncontended operations make no system call and no allocation.
//!
//! A forked child forbids itself every system call but `exit` (seccomp's strict mode: the kernel
//! kills it at the first one), then does a million operations of one kind, under an allocator that
//! counts.

#![cfg(not(threadbare_model))]

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use threadbare::{
    Barrier, BoundedSemaphore, Condition, Condvar, Deadline, Event, Lock, Monitor, Mutex, MutexExt,
    RLock, ReentrantMutex, Semaphore, current_thread, get_ident, get_native_id, park,
    park_interruptible, park_timeout, park_until,
};

const MILLION: usize = 1_000_000;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static LOCK: Lock = Lock::new();
static RLOCK: RLock = RLock::new();
static CONDITION: Condition = Condition::new();
static PLAIN: Condition<Lock> = Condition::with_lock(Lock::new());
static MUTEX: Mutex<u64> = Mutex::new(0);
static REENTRANT: ReentrantMutex<u64> = ReentrantMutex::new(0);
static CONDVAR: Condvar = Condvar::new();
static MONITOR: Monitor<u64> = Monitor::new(0);
static SEMAPHORE: Semaphore = Semaphore::new(3);
static BOUNDED: BoundedSemaphore = BoundedSemaphore::new(3);
static EVENT: Event = Event::new();
static BARRIER: Barrier<fn()> = Barrier::new(1).with_timeout(SOON).with_action(|| ());
static CROWD: Barrier = Barrier::new(2);

const SOON: Duration = Duration::from_secs(1);

/// Every kind of operation, each leaving its object as it was.
const KINDS: &[(&str, fn())] = &[
    ("Lock acquire, release", || {
        LOCK.acquire();
        LOCK.release().unwrap();
    }),
    ("Lock try_acquire, locked", || {
        assert!(LOCK.try_acquire() && LOCK.locked() && !LOCK.try_acquire());
        LOCK.release().unwrap();
    }),
    ("Lock acquire_timeout, _until, _interruptible", || {
        assert_eq!(LOCK.acquire_timeout(SOON), Ok(true));
        assert_eq!(LOCK.acquire_timeout(Duration::ZERO), Ok(false));
        LOCK.release().unwrap();
        assert!(LOCK.acquire_until(Deadline::NEVER));
        LOCK.release().unwrap();
        assert_eq!(LOCK.acquire_interruptible(Deadline::NEVER), Ok(true));
        LOCK.release().unwrap();
    }),
    ("Lock guard", || drop(LOCK.guard())),
    ("Lock release of an unlocked one", || {
        assert!(LOCK.release().is_err())
    }),
    ("RLock, three deep", || {
        RLOCK.acquire();
        assert!(RLOCK.try_acquire() && RLOCK.acquire_until(Deadline::NEVER));
        assert!(RLOCK.is_owned() && RLOCK.recursion_count() == 3);
        for _ in 0..3 {
            RLOCK.release().unwrap();
        }
    }),
    ("RLock guard, timed, interruptible", || {
        drop(RLOCK.guard());
        assert_eq!(RLOCK.acquire_timeout(SOON), Ok(true));
        assert_eq!(RLOCK.acquire_interruptible(Deadline::NEVER), Ok(true));
        RLOCK.release().unwrap();
        RLOCK.release().unwrap();
    }),
    (
        "Condition notify without waiters, wait_for what is true",
        || {
            let _guard = CONDITION.guard();
            assert_eq!(CONDITION.notify_one(), Ok(0));
            assert_eq!(CONDITION.notify_all(), Ok(0));
            assert_eq!(CONDITION.wait_for(|| true), Ok(true));
        },
    ),
    ("Condition on a Lock", || {
        let _guard = PLAIN.guard();
        assert_eq!(PLAIN.notify(2), Ok(0));
    }),
    ("Mutex", || {
        *MUTEX.lock() += 1;
        let guard = MUTEX.try_lock();
        assert!(guard.is_some() && MUTEX.is_locked() && MUTEX.try_lock().is_none());
        assert!(MUTEX.try_lock_for(Duration::ZERO).is_none());
        drop(guard);
        assert!(MUTEX.try_lock_for(SOON).is_some());
        assert!(MUTEX.lock_timeout(SOON).unwrap().is_some());
        assert!(MUTEX.lock_until(Deadline::NEVER).is_some());
        let guard = MUTEX.lock_interruptible(Deadline::NEVER).unwrap();
        assert!(guard.is_some() && MUTEX.lock_timeout(Duration::ZERO).unwrap().is_none());
    }),
    ("ReentrantMutex, three deep", || {
        let _first = REENTRANT.lock();
        let second = REENTRANT.try_lock();
        assert!(second.is_some() && REENTRANT.try_lock_for(SOON).is_some());
    }),
    (
        "Condvar notify without waiters, wait_while what is false",
        || {
            let mut guard = MUTEX.lock();
            assert!(!CONDVAR.notify_one() && CONDVAR.notify(2) == 0);
            CONDVAR.wait_while(&mut guard, |_| false);
            drop(guard);
            assert_eq!(CONDVAR.notify_all(), 0);
        },
    ),
    ("unpark, park", || {
        for park in [park, || assert!(park_until(Deadline::NEVER))] {
            current_thread().unpark();
            park();
        }
        current_thread().unpark();
        assert_eq!(park_timeout(SOON), Ok(true));
        current_thread().unpark();
        assert_eq!(park_interruptible(Deadline::NEVER), Ok(true));
        assert_eq!(park_timeout(Duration::ZERO), Ok(false));
    }),
    ("Monitor", || {
        let mut guard = MONITOR.lock();
        *guard += 1;
        assert!(!guard.notify_one() && guard.notify(2) + guard.notify_all() == 0);
        guard.wait_while(|_| false);
        assert!(MONITOR.try_lock().is_none() && MONITOR.is_locked());
        drop(guard);
        assert!(MONITOR.try_lock().is_some());
        assert!(MONITOR.lock_timeout(SOON).unwrap().is_some());
        assert!(MONITOR.lock_until(Deadline::NEVER).is_some());
        assert!(
            MONITOR
                .lock_interruptible(Deadline::NEVER)
                .unwrap()
                .is_some()
        );
    }),
    ("Semaphore", || {
        SEMAPHORE.acquire();
        assert!(SEMAPHORE.try_acquire());
        assert_eq!(SEMAPHORE.try_acquire_n(2), Ok(false));
        SEMAPHORE.release_n(2).unwrap();
        SEMAPHORE.acquire_n(2).unwrap();
        assert_eq!(SEMAPHORE.value(), 1);
        SEMAPHORE.release_n(2).unwrap();
        assert_eq!(SEMAPHORE.acquire_timeout(SOON), Ok(true));
        SEMAPHORE.release().unwrap();
        drop(SEMAPHORE.permit());
    }),
    ("BoundedSemaphore", || {
        drop(BOUNDED.permit());
        assert!(BOUNDED.release().is_err());
        assert!(BOUNDED.acquire_until(Deadline::NEVER));
        BOUNDED.release().unwrap();
    }),
    ("Event", || {
        assert!(!EVENT.is_set());
        EVENT.set();
        EVENT.set();
        EVENT.wait();
        assert_eq!(EVENT.wait_timeout(SOON), Ok(true));
        assert!(EVENT.is_set() && EVENT.wait_until(Deadline::NEVER));
        EVENT.clear();
        EVENT.clear();
        assert_eq!(EVENT.wait_timeout(Duration::ZERO), Ok(false));
    }),
    ("Barrier, last to come", || {
        assert_eq!(BARRIER.wait(), Ok(0));
        assert_eq!(BARRIER.wait_timeout(SOON), Ok(0));
        assert_eq!(BARRIER.wait_interruptible(Deadline::NEVER), Ok(0));
    }),
    ("Barrier reset, abort, queries", || {
        CROWD.reset();
        assert!(CROWD.n_waiting() == 0 && CROWD.parties() == 2);
        CROWD.abort();
        assert!(CROWD.broken() && CROWD.wait().is_err());
        CROWD.reset();
    }),
    ("get_ident, get_native_id", || {
        assert!(get_ident() != 0 && get_native_id() != 0);
    }),
];

/// Runs `operation` a million times in a child that may not make system calls; how it ended.
fn in_a_cell(operation: fn()) -> WaitStatus {
    // SAFETY: the child allocates nothing that it expects to succeed, and leaves by `exit`.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => waitpid(child, None).unwrap(),
        ForkResult::Child => {
            operation(); // the first call may ask the kernel who it is
            let before = ALLOCATIONS.load(Relaxed);
            // SAFETY: from here on this process can only compute and exit.
            unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) };
            for _ in 0..MILLION {
                operation();
            }
            let allocated = ALLOCATIONS.load(Relaxed) - before;
            // SAFETY: leaves the process, which has this one thread.
            unsafe { libc::syscall(libc::SYS_exit, i32::from(allocated != 0)) };
            unreachable!("exit returned");
        }
    }
}

#[test]
fn uncontended_operations_make_no_system_call_and_no_allocation() {
    for (kind, operation) in KINDS {
        let ended = in_a_cell(*operation);
        assert!(
            matches!(ended, WaitStatus::Exited(_, 0)),
            "{kind}: {ended:?}"
        );
    }
}

#[test]
fn the_cell_notices_system_calls_and_allocations() {
    let ended = in_a_cell(|| drop(std::fs::metadata("/")));
    assert!(matches!(ended, WaitStatus::Signaled(..)), "{ended:?}");
    let ended = in_a_cell(|| drop(std::hint::black_box(Box::new(1))));
    assert!(matches!(ended, WaitStatus::Exited(_, 1)), "{ended:?}");
}
