//! Python's `threading` model for Rust servers on Linux, built on bare futexes.
//!
//! | | |
//! |---|---|
//! | locks | [`Lock`], [`RLock`]: timeouts, deadlines, ownership errors, no poisoning |
//! | waiting | [`Condition`]: exact first-in first-out notify; [`Event`]: resettable |
//! | meeting | [`Barrier`]: rounds with an action, timeouts, abort and reset |
//! | counting | [`Semaphore`], [`BoundedSemaphore`]: several permits at once, bounds |
//! | meeting | [`Barrier`]: rounds with an action, timeouts, abort and reset |
//! | threads | [`Thread`]: start errors as values, join with a timeout by many, names that the kernel knows, small cached stacks with guard pages, signal mask, CPUs and scheduling from the first step on; [`enumerate`], [`current_thread`] |
//! | time | [`Timer`]; [`Deadline`]: one absolute point on the monotonic clock for any number of calls |
//! | ends | [`set_excepthook`], [`register_atexit`], [`shutdown`] |
//! | values | [`Local`]: one per thread and object, freed with either |
//! | watching | [`settrace`], [`setprofile`]: who blocks on what for how long |
//! | scopes | [`Guard`]: released at the end of the scope |
//!
//! # The model
//!
//! Objects are plain values: each can be a `static`, allocates nothing, and is shared by reference
//! or in an `Arc`. Acquire and release are separate calls, as in Python; [`Guard`] joins them.
//!
//! Every blocking operation comes in a family, here with `op` for `acquire`, `wait` or `join`:
//!
//! | form | meaning |
//! |---|---|
//! | `op()` | waits as long as it takes; signals do not end it |
//! | `try_op()` | one attempt, never waits |
//! | `op_timeout(Duration)` | `Ok(false)` when the time is up |
//! | `op_until(Deadline)` | the same with an absolute point, for several calls in a row |
//! | `op_interruptible(Deadline)` | ends with [`Error::Interrupted`] after a signal handler ran |
//! | `op_checked(Deadline, check)` | the same when `check`, asked after each signal and every 50 ms, says so |
//!
//! What Python raises is an [`Error`], or cannot be written. After an error all is as before.
//!
//! Without contention, acquire, release, set, clear, notify and the like make no system call,
//! allocate nothing and read no clock.
//!
//! ```
//! use std::cell::Cell;
//! use threadbare::{Condition, Thread};
//!
//! // A queue of jobs, touched with the condition's lock held only.
//! struct Jobs(Condition, Cell<u32>);
//! // SAFETY: the cell is touched by the owner of the lock only.
//! unsafe impl Sync for Jobs {}
//! static JOBS: Jobs = Jobs(Condition::new(), Cell::new(0));
//!
//! let worker = Thread::builder()
//!     .name("worker")
//!     .target(|| {
//!         let _guard = JOBS.0.guard();
//!         JOBS.0.wait_for(|| JOBS.1.get() > 0).unwrap();
//!         JOBS.1.set(JOBS.1.get() - 1);
//!     })
//!     .spawn()?;
//! {
//!     let _guard = JOBS.0.guard();
//!     JOBS.1.set(1);
//!     JOBS.0.notify_one()?;
//! }
//! worker.join()?;
//! # Ok::<(), threadbare::Error>(())
//! ```
//!
//! # Python → threadbare
//!
//! | Python | threadbare |
//! |---|---|
//! | `Lock()`, `acquire()`, `release()`, `locked()` | [`Lock::new`], [`acquire`](Lock::acquire), [`release`](Lock::release), [`locked`](Lock::locked) |
//! | `acquire(blocking=False)` | [`try_acquire`](Lock::try_acquire) |
//! | `acquire(timeout=s)` | [`acquire_timeout`](Lock::acquire_timeout), [`acquire_until`](Lock::acquire_until) |
//! | `with lock:` | `let _guard = lock.`[`guard`](Lock::guard)`();` |
//! | `RLock()`, `_is_owned()`, `_recursion_count()` | [`RLock`], [`is_owned`](RLock::is_owned), [`recursion_count`](RLock::recursion_count) |
//! | `Condition()`, `Condition(lock)` | [`Condition::new`], [`Condition::with_lock`] |
//! | `wait(timeout)`, `wait_for(predicate, timeout)` | [`wait`](Condition::wait), [`wait_timeout`](Condition::wait_timeout), [`wait_for`](Condition::wait_for), [`wait_for_timeout`](Condition::wait_for_timeout) |
//! | `notify(n)`, `notify_all()` | [`notify`](Condition::notify), [`notify_all`](Condition::notify_all), which say how many were woken |
//! | `Semaphore(n)`, `release(n)` | [`Semaphore::new`], [`release_n`](Semaphore::release_n) |
//! | `BoundedSemaphore(n)` | [`BoundedSemaphore`] |
//! | `Event()`, `set()`, `clear()`, `is_set()`, `wait(timeout)` | [`Event`] with the same names |
//! | `Barrier(n, action, timeout)`, `wait()`, `reset()`, `abort()` | [`Barrier::new`], [`with_action`](Barrier::with_action), [`with_timeout`](Barrier::with_timeout), the same names |
//! | `Thread(target=f, name=…, daemon=…)` | [`Thread::new`], [`Thread::builder`] |
//! | `start()`, `join(timeout)`, `is_alive()` | [`start`](Thread::start), [`join`](Thread::join), [`join_timeout`](Thread::join_timeout), [`is_alive`](Thread::is_alive) |
//! | `name`, `ident`, `native_id`, `daemon` | [`name`](Thread::name), [`ident`](Thread::ident), [`native_id`](Thread::native_id), [`daemon`](Thread::daemon) |
//! | `get_ident()`, `get_native_id()` | [`get_ident`], [`get_native_id`] |
//! | `stack_size()`, `stack_size(n)` | [`set_stack_size`]`(0)`, [`set_stack_size`]`(n)`; [`stack_size`] only asks |
//! | `local()` and its attributes | [`Local`], one value for each thread: [`with`](Local::with), [`get`](Local::get), [`set`](Local::set), [`take`](Local::take) |
//! | `run()`, a subclass with a `run` | [`run`](Thread::run), [`Runnable`] |
//! | `Timer(interval, f)`, `cancel()`, `finished` | [`Timer::new`], [`cancel`](Timer::cancel), [`finished`](Timer::finished) |
//! | `active_count()`, `current_thread()`, `enumerate()`, `main_thread()` | [`active_count`], [`current_thread`], [`enumerate`], [`main_thread`] |
//! | `excepthook`, `__excepthook__` | [`excepthook`], [`set_excepthook`], [`current_excepthook`], [`default_excepthook`] |
//! | `raise SystemExit` in a thread | [`exit`] |
//! | `settrace()`, `setprofile()`, `gettrace()`, `getprofile()`, `…_all_threads()` | [`settrace`], [`setprofile`], [`gettrace`], [`getprofile`], [`settrace_all_threads`], [`setprofile_all_threads`] |
//! | `sys.gettrace()`, `sys.getprofile()` | [`thread_trace`], [`thread_profile`] |
//! | `_shutdown()`, `_register_atexit(f)` | [`shutdown`], [`register_atexit`] |
//! | `currentThread()`, `getName()` … | deprecated, in [`compat`] |
//! | `dummy_threading` | [`compat::dummy`] |
//! | `TIMEOUT_MAX` | [`TIMEOUT_MAX`] |
//! | `_at_fork_reinit()` | [`at_fork_reinit`](Lock::at_fork_reinit) of each |
//! | `RuntimeError`, `BrokenBarrierError`, `ValueError`, `OverflowError` | [`Error`], told apart by [`Error::kind`] |
//!
//! Not there yet: typed locks, `spawn` with a result, scopes.
//!
//! # The end of the program
//!
//! When main returns or panics, and in `std::process::exit`, the program first waits for all threads
//! that are no daemons ([`shutdown`]). A thread is a daemon if the one that made it is; the main
//! thread is none, and threads that this crate did not start are. [`set_exit_timeout`] bounds the
//! wait. [`exit_process`] ends the program from any thread, also while it waits.
//!
//! # Fork
//!
//! In the child of a fork only the calling thread exists. It is the main thread there, other threads
//! count as ended, and threads can be started and joined. Locks and semaphores are as they were: what
//! another thread held is held for ever, unless it is made as new
//! ([`at_fork_reinit`](Lock::at_fork_reinit)), and an [`RLock`] of the caller's is still its own.
//! Whoever waited is forgotten, and all objects can be used; a [`Barrier`] that somebody was inside
//! has to be made as new. Values in [`Local`]s of other threads are gone, without being dropped.
//!
//! All this rests on pthread_atfork(3): a bare `clone`, `vfork` or `_Fork` leaves a child that may do
//! little else than `exec`. The crate registers its handlers when the program is loaded, so those that
//! the program registers itself may use it.
//!
//! # Differences from Python
//!
//! - Threads run in parallel: there is no interpreter lock.
//! - [`Thread::start`] does not wait for the new thread's first step (see there).
//! - [`Condition::wait_for`] needs the lock even if its predicate is true at once.
//! - A timeout above [`TIMEOUT_MAX`] errs at once, in every call.
//! - A [`Condition`] never spends a notify on a thread that leaves with a timeout.
//! - No index of a [`Barrier`] is given twice in a round, and no wait for one outlasts its timeout.
//! - A panic in an exit callback does not keep the others from being called.
//! - Trace functions hear of what threads wait for instead of lines ([`TraceEvent`]).
//! - The main thread's values in [`Local`]s are not dropped at exit, like statics.
//! - Thread identities are never used again, so neither is the ownership of an `RLock`.
//!
//! # Platform
//!
//! | | |
//! |---|---|
//! | system | Linux 4.14 or newer; guard pages without mappings of their own need 6.13 and are replaced by ordinary ones before |
//! | libc | glibc 2.31 or newer |
//! | architectures | x86_64 and aarch64, 64-bit and little-endian |
//! | Rust | 1.85 or newer |
//!
//! Anything else, musl included, is refused at compile time. A new minimum is a new minor version.
//!
//! The crate is not `no_std`, and cannot usefully be: the end of a thread is noticed by thread-locals
//! with destructors, panics that end threads are caught and reported by std's means, a timeout is a
//! `Duration` and a deadline may come from an `Instant`, and threads and the end of the program are
//! libc's.
//!
//! For what is not here, use what exists: `OnceLock`, `LazyLock` and channels from std or
//! crossbeam.

// docs.rs names the feature that an item needs, which takes a nightly compiler.
#![cfg_attr(docsrs, feature(doc_cfg), doc(auto_cfg(hide(threadbare_loom))))]

#[cfg(not(threadbare_loom))]
mod barrier;
#[cfg(not(threadbare_loom))]
mod blocking;
#[cfg(not(threadbare_loom))]
pub mod compat;
#[cfg(not(threadbare_loom))]
mod condition;
#[cfg(not(threadbare_loom))]
mod condvar;
#[cfg(not(threadbare_loom))]
mod deadline;
#[cfg(not(threadbare_loom))]
mod error;
#[cfg(not(threadbare_loom))]
mod event;
#[cfg(not(threadbare_loom))]
mod guard;
#[cfg(not(threadbare_loom))]
pub mod guide;
#[cfg(not(threadbare_loom))]
mod lock;
#[cfg(not(threadbare_loom))]
mod locked;
#[cfg(not(threadbare_loom))]
mod monitor;
#[cfg(not(threadbare_loom))]
mod mutex;
#[cfg(not(threadbare_loom))]
mod observe;
#[cfg(not(threadbare_loom))]
mod primitive;
#[cfg(not(threadbare_loom))]
mod raw;
#[cfg(not(threadbare_loom))]
mod rlock;
#[cfg(not(threadbare_loom))]
mod semaphore;
#[cfg(not(threadbare_loom))]
mod thread;

#[cfg(not(threadbare_loom))]
pub use crate::{
    barrier::{Barrier, BarrierAction, NoAction},
    condition::{CondLock, Condition, OwnerProof, Truthy},
    condvar::Condvar,
    deadline::{Deadline, TIMEOUT_MAX},
    error::{Error, ErrorKind, OsError},
    event::Event,
    guard::{Guard, Guarded},
    lock::Lock,
    monitor::{Monitor, MonitorGuard},
    mutex::{
        MappedMutexGuard, MappedReentrantMutexGuard, Mutex, MutexExt, MutexGuard, RawMutex,
        RawThreadId, ReentrantMutex, ReentrantMutexGuard,
    },
    observe::{
        __trace_point, Object, ObjectKind, TraceEvent, TraceHook, getprofile, gettrace, setprofile,
        setprofile_all_threads, settrace, settrace_all_threads, thread_profile, thread_trace,
    },
    rlock::RLock,
    semaphore::{BoundedSemaphore, Semaphore},
    thread::{
        Builder, ExceptHook, ExceptHookArgs, JoinHandle, Local, Runnable, Scheduling, Scope,
        ScopedJoinHandle, Signals, Thread, Timer, active_count, current_excepthook, current_thread,
        default_excepthook, enumerate, excepthook, exit, exit_process, get_ident, get_native_id,
        install_panic_hook, main_thread, register_atexit, scope, set_excepthook, set_exit_timeout,
        set_overflow_report, set_stack_cache, set_stack_size, shutdown, spawn, stack_size,
    },
};

#[cfg(all(feature = "arc_lock", not(threadbare_loom)))]
pub use crate::mutex::{ArcMutexGuard, ArcReentrantMutexGuard};

// The models under `tests/loom/` reach the protocols from outside.
#[cfg(threadbare_loom)]
#[doc(hidden)]
pub mod primitive;
#[cfg(threadbare_loom)]
#[doc(hidden)]
pub mod raw;
