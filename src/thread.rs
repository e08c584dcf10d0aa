//! Threads: pthreads on stacks of our own, with Python's life cycle.

mod builder;
mod current;
mod exit;
mod fork;
mod hooks;
mod join;
mod local;
mod name;
mod overflow;
mod record;
mod registry;
mod returning;
mod scope;
mod settings;
mod sleep;
mod stacks;
mod start;
mod timer;
mod token;

pub use builder::{Builder, set_stack_size, stack_size};
pub use current::{active_count, current_thread, enumerate, get_ident, get_native_id, main_thread};
pub use exit::{exit_process, register_atexit, set_exit_timeout, shutdown};
pub use hooks::{
    ExceptHook, ExceptHookArgs, current_excepthook, default_excepthook, excepthook, exit,
    install_panic_hook, set_excepthook,
};
pub use local::Local;
pub use overflow::set_overflow_report;
pub use returning::{JoinHandle, spawn};
pub use scope::{Scope, ScopedJoinHandle, scope};
pub use settings::{Scheduling, Signals};
pub use sleep::{sleep_interruptible, sleep_until};
pub use stacks::set_stack_cache;
pub use timer::Timer;
pub use token::{park, park_checked, park_interruptible, park_timeout, park_until};

pub(crate) use current::{known, record as known_or_new};
pub(crate) use fork::need as need_fork_handlers;
pub(crate) use hooks::{contain_as, contain_trace, discard};
pub(crate) use record::{Record, Slots};
pub(crate) use registry::listed as running;

use crate::blocking;
use crate::deadline::{self, Deadline};
use crate::error::Error;
use crate::observe::{self, Object, ObjectKind};
use crate::raw::park::{GaveUp, Limit};
use record::{Kind, Plan};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// What can be run as a thread: a type instead of a closure, as in Python a class with a `run`.
///
/// ```
/// use threadbare::{Runnable, Thread};
///
/// struct Greeter(String);
///
/// impl Runnable for Greeter {
///     fn run(self) {
///         println!("hello, {}", self.0);
///     }
/// }
///
/// let thread = Thread::from_runnable(Greeter("world".into()));
/// thread.start()?;
/// thread.join()?;
/// # Ok::<(), threadbare::Error>(())
/// ```
pub trait Runnable: Send + 'static {
    /// What the thread does. `self` is dropped in the thread that runs it (THR-13).
    fn run(self);
}

/// A thread: first a plan, then what runs it, then what is left of it.
///
/// A `Thread` is a cheap handle; clones stand for the same thread. Dropping all of them neither
/// stops the thread nor leaks anything (THR-20).
///
/// A panic in the thread ends that thread only: it reaches neither [`join`](Thread::join) nor the
/// process (HOOK-7). After std's panic message a line on stderr names the thread. What Rust always
/// answers with an abort stays so: a panic while another one unwinds, a panic in the destructor of
/// a thread-local, any panic under `panic = "abort"`.
///
/// An ending thread releases no lock that it holds without a guard, and poisons nothing (THR-21).
///
/// # Memory ordering
/// What happened before [`start`](Thread::start) is visible in the thread. All that the thread did,
/// the destructors of its thread-locals included, is visible after a join that returned, or after
/// [`is_alive`](Thread::is_alive) turned `false` (MEM-3).
///
/// # Difference from Python
/// `start` does not wait for the new thread to run. `ident` is known all the same, and
/// [`native_id`](Thread::native_id) waits for the moment that is missing (THR-10).
///
/// ```
/// use threadbare::Thread;
///
/// let thread = Thread::new(|| println!("hello from a thread"));
/// thread.start()?;
/// thread.join()?;
/// # Ok::<(), threadbare::Error>(())
/// ```
#[derive(Clone)]
pub struct Thread {
    record: Arc<Record>,
}

impl Thread {
    /// The handle of the thread with this record.
    fn of(record: Arc<Record>) -> Thread {
        Thread { record }
    }

    /// A thread that will run `target`, named `Thread-N`.
    ///
    /// ```
    /// use threadbare::Thread;
    ///
    /// let thread = Thread::new(|| ());
    /// assert!(thread.name().starts_with("Thread-"));
    /// assert!(!thread.is_alive());
    /// ```
    #[must_use = "a thread runs once it is started"]
    pub fn new(target: impl FnOnce() + Send + 'static) -> Thread {
        Builder::new().target(target).finish()
    }

    /// A thread that will run `runnable`.
    ///
    /// ```
    /// use threadbare::{Runnable, Thread};
    ///
    /// struct Nothing;
    /// impl Runnable for Nothing {
    ///     fn run(self) {}
    /// }
    ///
    /// Thread::from_runnable(Nothing).start()?;
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    #[must_use = "a thread runs once it is started"]
    pub fn from_runnable(runnable: impl Runnable) -> Thread {
        Thread::new(|| runnable.run())
    }

    /// Begins to describe a thread.
    ///
    /// ```
    /// use threadbare::Thread;
    ///
    /// let thread = Thread::builder().name("worker").target(|| ()).spawn()?;
    /// thread.join()?;
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Starts the thread.
    ///
    /// A name that it was given reaches the kernel in the thread itself, cut to 15 bytes; a thread
    /// named `Thread-N` goes there by the name of the thread that starts it.
    ///
    /// It waits for nothing but the operating system's answer. On success the thread has its
    /// [`ident`](Thread::ident) and is alive, unless it has ended already.
    ///
    /// # Errors
    /// [`Error::AlreadyStarted`] if it was started before, also by another thread at this moment
    /// (THR-8). [`Error::Start`] if the operating system refuses the thread, or what its
    /// [`Builder`] asks for it: the thread is as before and may be started again (THR-9).
    /// [`Error::TargetUsed`] after a [`run`](Thread::run).
    ///
    /// ```
    /// use threadbare::{Error, Thread};
    ///
    /// let thread = Thread::new(|| ());
    /// thread.start()?;
    /// assert_eq!(thread.start(), Err(Error::AlreadyStarted));
    /// # thread.join()?;
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn start(&self) -> Result<(), Error> {
        self.record.start()
    }

    /// Runs the thread's target here and now, in the calling thread; starts nothing (THR-12).
    ///
    /// A panic in it is the caller's. Afterwards the target is gone.
    ///
    /// # Errors
    /// [`Error::AlreadyStarted`]; [`Error::TargetUsed`] the second time, which also holds for a
    /// [`start`](Thread::start) after it (THR-13).
    ///
    /// ```
    /// use threadbare::{Error, Thread};
    ///
    /// let thread = Thread::new(|| println!("in the caller"));
    /// thread.run()?;
    /// assert_eq!(thread.run(), Err(Error::TargetUsed));
    /// assert_eq!(thread.start(), Err(Error::TargetUsed));
    /// assert_eq!(thread.ident(), None);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn run(&self) -> Result<(), Error> {
        let plan = self.record.with(|state| {
            if !self.record.lifecycle.is_new() {
                return Err(Error::AlreadyStarted);
            }
            state.plan.take()
        })?;
        if let Plan::Target(target) = plan {
            target();
        }
        Ok(())
    }

    /// Waits until the thread is gone: its thread-locals destroyed, its kernel thread done with this
    /// process. (Its entry under `/proc` may last a moment longer.)
    ///
    /// Any number of threads may wait, any number of times; a thread that is gone is not waited
    /// for (THR-15). The main thread counts as gone once [`shutdown`] has come to that point. In the
    /// child of a fork all threads of the parent but the caller are gone (FORK-4).
    ///
    /// # Errors
    /// [`Error::NotStarted`], [`Error::JoinSelf`] (THR-16), [`Error::JoinDummy`] (DUM-3).
    ///
    /// ```
    /// use threadbare::{Error, Thread};
    ///
    /// let thread = Thread::new(|| ());
    /// assert_eq!(thread.join(), Err(Error::NotStarted));
    /// thread.start()?;
    /// thread.join()?;
    /// assert!(!thread.is_alive());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn join(&self) -> Result<(), Error> {
        self.record.check_joinable()?;
        let joined = self.block(Limit::NONE);
        debug_assert_eq!(joined, Ok(()), "a wait without limit does not give up");
        Ok(())
    }

    /// As [`join`](Thread::join), for `timeout` at most; whether the thread is gone.
    ///
    /// # Errors
    /// As `join`, which is checked first; then [`Error::TimeoutTooLarge`] if `timeout` exceeds
    /// [`TIMEOUT_MAX`](crate::TIMEOUT_MAX).
    ///
    /// ```
    /// use std::{sync::Arc, time::Duration};
    /// use threadbare::{Event, Thread};
    ///
    /// let go = Arc::new(Event::new());
    /// let thread = Thread::new({ let go = go.clone(); move || go.wait() });
    /// thread.start()?;
    /// assert_eq!(thread.join_timeout(Duration::from_millis(1)), Ok(false));
    /// go.set();
    /// assert_eq!(thread.join_timeout(Duration::from_secs(60)), Ok(true));
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, Error> {
        self.record.check_joinable()?;
        deadline::check(timeout)?;
        self.join_until(Deadline::after(timeout)?)
    }

    /// As [`join`](Thread::join), until `deadline` at most; whether the thread is gone.
    ///
    /// # Errors
    /// As `join`.
    ///
    /// ```
    /// use threadbare::{Deadline, Thread};
    ///
    /// let thread = Thread::new(|| ());
    /// thread.start()?;
    /// assert_eq!(thread.join_until(Deadline::NEVER), Ok(true));
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn join_until(&self, deadline: Deadline) -> Result<bool, Error> {
        self.record.check_joinable()?;
        Ok(self.block(Limit::until(deadline.0)).is_ok())
    }

    /// As [`join_until`](Thread::join_until), but a signal handler that runs while the caller
    /// sleeps ends the wait. The short rest between the end of the thread's own code and the end of
    /// its kernel thread is not interrupted.
    ///
    /// # Errors
    /// As `join`, and [`Error::Interrupted`] after a signal handler ran.
    ///
    /// ```
    /// use threadbare::{Deadline, Thread};
    ///
    /// let thread = Thread::new(|| ());
    /// thread.start()?;
    /// assert_eq!(thread.join_interruptible(Deadline::NEVER), Ok(true));
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn join_interruptible(&self, deadline: Deadline) -> Result<bool, Error> {
        self.record.check_joinable()?;
        blocking::outcome(self.block(Limit::interruptible(deadline.0)))
    }

    /// As [`join_interruptible`](Thread::join_interruptible), but what ends the wait is `check`, by
    /// returning `true`: it is called before the thread sleeps, after each signal handler that ran,
    /// and every 50 ms, so no signal is missed (SIG-4).
    ///
    /// # Errors
    /// As `join`, and [`Error::Interrupted`] if `check` has returned `true`.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use threadbare::{Deadline, Error, Event, Thread};
    ///
    /// let go = Arc::new(Event::new());
    /// let thread = Thread::new({ let go = go.clone(); move || go.wait() });
    /// thread.start()?;
    /// let joined = thread.join_checked(Deadline::NEVER, || true);
    /// assert_eq!(joined, Err(Error::Interrupted));
    /// go.set();
    /// # thread.join()?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn join_checked(
        &self,
        deadline: Deadline,
        check: impl FnMut() -> bool,
    ) -> Result<bool, Error> {
        self.record.check_joinable()?;
        let wait = |check: &dyn Fn() -> bool| self.block(Limit::checked(deadline.0, check));
        blocking::outcome(blocking::with_check(check, wait, drop))
    }

    fn block(&self, limit: Limit) -> Result<(), GaveUp> {
        let object = Object::new(ObjectKind::Thread, &*self.record);
        observe::blocking(object, || self.record.join(limit), |_| false)
    }

    /// Whether the thread was started and has not ended. It turns `false` after the destructors of
    /// the thread's thread-locals have run.
    ///
    /// ```
    /// let thread = threadbare::Thread::new(|| ());
    /// assert!(!thread.is_alive());
    /// ```
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.record.is_alive()
    }

    /// The name. It has no meaning and need not be unique (THR-5).
    ///
    /// ```
    /// let thread = threadbare::Thread::builder().name("worker").build()?;
    /// assert_eq!(thread.name(), "worker");
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> String {
        self.record.with(|state| state.name.clone()).to_string()
    }

    /// Changes the name, at any time.
    ///
    /// While the thread runs, the kernel is told too: `top -H`, `perf` and `/proc` show the first 15
    /// bytes, cut between characters. That of the main thread is the process's. It is for people to
    /// read: if the kernel refuses, nothing happens.
    ///
    /// ```
    /// let thread = threadbare::Thread::new(|| ());
    /// thread.set_name("worker");
    /// assert_eq!(thread.name(), "worker");
    /// ```
    pub fn set_name(&self, name: impl Into<String>) {
        drop(self.record.rename(name.into().into()));
    }

    /// The thread's identity, as [`get_ident`] gives it in the thread; `None` before the start.
    /// It is kept after the end, and no other thread ever has it (THR-18).
    ///
    /// ```
    /// use threadbare::Thread;
    ///
    /// let thread = Thread::new(|| ());
    /// assert_eq!(thread.ident(), None);
    /// thread.start()?;
    /// assert!(thread.ident().is_some());
    /// # thread.join()?;
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    #[must_use]
    pub fn ident(&self) -> Option<u64> {
        self.record
            .lifecycle
            .is_started()
            .then(|| self.record.token)
    }

    /// The kernel's id of the thread, as [`get_native_id`] gives it in the thread; `None` before
    /// the start. Right after the start this waits the microseconds until the thread has told it.
    /// It is kept after the end, when the kernel may give it to another thread.
    ///
    /// ```
    /// use threadbare::{get_native_id, Thread};
    ///
    /// let thread = Thread::new(|| ());
    /// thread.start()?;
    /// assert_ne!(thread.native_id(), Some(get_native_id()));
    /// # thread.join()?;
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    #[must_use]
    pub fn native_id(&self) -> Option<u32> {
        let lifecycle = &self.record.lifecycle;
        if self.record.is_vanished() {
            return lifecycle.told_native_id(); // nobody will tell it any more
        }
        lifecycle.is_started().then(|| lifecycle.native_id())
    }

    /// Whether the thread is a daemon: one that does not keep the program from ending.
    ///
    /// ```
    /// let thread = threadbare::Thread::builder().daemon(true).build()?;
    /// assert!(thread.daemon());
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    #[must_use]
    pub fn daemon(&self) -> bool {
        self.record.with(|state| state.daemon)
    }

    /// Makes the thread a daemon or not, before its start.
    ///
    /// # Errors
    /// [`Error::DaemonAfterStart`] if it was started, also if it has ended (THR-19).
    ///
    /// ```
    /// use threadbare::{Error, Thread};
    ///
    /// let thread = Thread::new(|| ());
    /// thread.set_daemon(true)?;
    /// thread.start()?;
    /// assert_eq!(thread.set_daemon(false), Err(Error::DaemonAfterStart));
    /// # thread.join()?;
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn set_daemon(&self, daemon: bool) -> Result<(), Error> {
        self.record.with(|state| {
            if !self.record.lifecycle.is_new() {
                return Err(Error::DaemonAfterStart);
            }
            state.daemon = daemon;
            Ok(())
        })
    }

    /// Whether this is the calling thread.
    ///
    /// ```
    /// assert!(!threadbare::Thread::new(|| ()).is_current());
    /// ```
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.ident() == Some(get_ident())
    }
}

/// As Python prints it (REPR-3).
impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match (self.ident(), self.is_alive()) {
            (None, _) => "initial",
            (Some(_), true) => "started",
            (Some(_), false) => "stopped",
        };
        let (kind, name, daemon) = self
            .record
            .with(|state| (state.kind, state.name.clone(), state.daemon));
        let class = match kind {
            Kind::Thread => "Thread",
            Kind::Timer => "Timer",
            Kind::Main => "_MainThread",
            Kind::Dummy => "_DummyThread",
        };
        write!(f, "<{class}({name}, {status}")?;
        if daemon {
            f.write_str(" daemon")?;
        }
        if let Some(ident) = self.ident() {
            write!(f, " {ident}")?;
        }
        f.write_str(")>")
    }
}

/// Handles are equal if they stand for the same thread.
impl PartialEq for Thread {
    fn eq(&self, other: &Thread) -> bool {
        Arc::ptr_eq(&self.record, &other.record)
    }
}

impl Eq for Thread {}

impl Hash for Thread {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.record.token.hash(state);
    }
}
