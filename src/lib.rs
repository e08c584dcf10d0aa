//! Python's `threading` model for Rust servers on Linux, built on bare futexes.
//!
//! | | |
//! |---|---|
//! | data in locks | [`Mutex`], [`ReentrantMutex`]: `lock_api`'s types; [`Monitor`]: a value to wait for; [`Condvar`] |
//! | locks | [`Lock`], [`RLock`]: timeouts, deadlines, ownership errors, no poisoning; [`Guard`] |
//! | waiting | [`Condition`]: exact first-in first-out notify; [`Event`]: resettable; [`park`], [`sleep_until`] |
//! | counting | [`Semaphore`], [`BoundedSemaphore`]: several permits at once, bounds |
//! | meeting | [`Barrier`]: rounds with an action, timeouts, abort and reset |
//! | threads | [`Thread`]: start errors as values, join with a timeout by many, names that the kernel knows, small cached stacks with guard pages, signal mask, CPUs and scheduling from the first step on; [`enumerate`], [`current_thread`] |
//! | their results | [`spawn`], [`scope`]: as std's, with threads of this crate; [`JoinHandle`] |
//! | time | [`Timer`]; [`Deadline`]: one absolute point on the monotonic clock for any number of calls |
//! | ends | [`set_excepthook`], [`register_atexit`], [`shutdown`] |
//! | values | [`Local`]: one per thread and object, freed with either |
//! | watching | [`settrace`], [`setprofile`]: who blocks on what for how long |
//!
//! # The model
//!
//! Objects are plain values: each can be a `static`, allocates nothing, and is shared by reference
//! or in an `Arc`.
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
//! allocate nothing and read no clock (but for one release of sixteen while a lock's releases are no plain
//! stores yet, or again: see [`set_membarrier`]).
//!
//! ```
//! use threadbare::{Monitor, Thread};
//!
//! static JOBS: Monitor<Vec<&str>> = Monitor::new(Vec::new());
//!
//! let worker = Thread::builder()
//!     .name("worker")
//!     .target(|| {
//!         let mut jobs = JOBS.lock();
//!         jobs.wait_while(|jobs| jobs.is_empty());
//!         println!("{:?}", jobs.pop());
//!     })
//!     .spawn()?;
//! {
//!     let mut jobs = JOBS.lock();
//!     jobs.push("sweep");
//!     jobs.notify_one();
//! }
//! worker.join()?;
//! # Ok::<(), threadbare::Error>(())
//! ```
//!
//! # Guides
//!
//! - Coming from [Python](guide::coming_from_python), or from
//!   [std and parking_lot](guide::coming_from_std_and_parking_lot): programs side by side, and what
//!   differs.
//! - [Choosing a primitive](guide::choosing_a_primitive): what for what, sizes, costs, usual mistakes.
//! - [Timeouts, signals, fork, exit](guide::timeouts_signals_fork_exit): at the end of main the
//!   program waits for threads that are no daemons, and more such rules.
//! - [Memory ordering](guide::memory_ordering): what is visible to whom, after which call.
//! - [Threads in logs](guide::threads_in_logs), debuggers and profilers, by name.
//! - [What this crate is not](guide::what_this_crate_is_not), and what to use instead.
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
//! Where the behaviour differs: [coming from Python](guide::coming_from_python#what-is-different).
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

// docs.rs names the feature that an item needs, which takes a nightly compiler.
#![cfg_attr(docsrs, feature(doc_cfg), doc(auto_cfg(hide(threadbare_model))))]
// Under the models the protocols are public, but nobody's to use.
#![cfg_attr(
    threadbare_model,
    allow(clippy::new_without_default, reason = "see above")
)]

#[cfg(not(threadbare_model))]
mod barrier;
#[cfg(not(threadbare_model))]
mod blocking;
#[cfg(not(threadbare_model))]
pub mod compat;
#[cfg(not(threadbare_model))]
mod condition;
#[cfg(not(threadbare_model))]
mod condvar;
#[cfg(not(threadbare_model))]
mod deadline;
#[cfg(not(threadbare_model))]
mod error;
#[cfg(not(threadbare_model))]
mod event;
#[cfg(not(threadbare_model))]
mod guard;
#[cfg(not(threadbare_model))]
pub mod guide;
#[cfg(not(threadbare_model))]
mod lock;
#[cfg(not(threadbare_model))]
mod monitor;
#[cfg(not(threadbare_model))]
mod mutex;
#[cfg(not(threadbare_model))]
mod observe;
#[cfg(not(threadbare_model))]
mod primitive;
#[cfg(not(threadbare_model))]
mod process;
#[cfg(not(threadbare_model))]
mod raw;
#[cfg(not(threadbare_model))]
mod rlock;
#[cfg(not(threadbare_model))]
mod semaphore;
#[cfg(not(threadbare_model))]
mod thread;

#[cfg(not(threadbare_model))]
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
    process::{init, set_membarrier},
    raw::spin::{SpinPolicy, set_spin_policy, spin_policy},
    rlock::RLock,
    semaphore::{BoundedSemaphore, Semaphore},
    thread::{
        Builder, ExceptHook, ExceptHookArgs, JoinHandle, Local, Runnable, Scheduling, Scope,
        ScopedJoinHandle, Signals, Thread, Timer, active_count, current_excepthook, current_thread,
        default_excepthook, enumerate, excepthook, exit, exit_process, get_ident, get_native_id,
        install_panic_hook, main_thread, park, park_checked, park_interruptible, park_timeout,
        park_until, register_atexit, scope, set_excepthook, set_exit_timeout, set_overflow_report,
        set_stack_cache, set_stack_size, shutdown, sleep_interruptible, sleep_until, spawn,
        stack_size,
    },
};

#[cfg(all(feature = "arc_lock", not(threadbare_model)))]
pub use crate::mutex::{ArcMutexGuard, ArcReentrantMutexGuard};

// The models under `tests/loom/` reach the protocols from outside.
#[cfg(threadbare_model)]
#[doc(hidden)]
pub mod primitive;
#[cfg(threadbare_model)]
#[doc(hidden)]
pub mod raw;
