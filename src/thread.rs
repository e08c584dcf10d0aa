//! Threads: pthreads on stacks of our own, with Python's life cycle.

mod current;
mod join;
mod name;
mod overflow;
mod stacks;
mod start;

pub use current::{get_ident, get_native_id};
pub use overflow::set_overflow_report;
pub use stacks::set_stack_cache;

use crate::blocking;
use crate::deadline::{self, Deadline};
use crate::error::Error;
use crate::locked::Locked;
use crate::primitive::fresh_token;
use crate::raw::lifecycle::RawLifecycle;
use crate::raw::park::Limit;
use join::OsThread;
use name::Name;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use threadbare_sys::stack::MIN_STACK;
use threadbare_sys::tid;

/// What a thread runs.
type Target = Box<dyn FnOnce() + Send>;

/// The stack size that `stack_size() == 0` stands for: std's default.
const DEFAULT_STACK: usize = 2 << 20;

/// What [`set_stack_size`] set last.
static STACK_SIZE: AtomicUsize = AtomicUsize::new(0);

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
    inner: Arc<Inner>,
}

/// A thread's record, shared by its handles and the thread itself.
struct Inner {
    lifecycle: RawLifecycle,
    /// Who the thread is: taken when it is made, told to others as its ident once it is started.
    token: u64,
    name: Locked<Name>,
    /// Written under the lock of `target`, and only before the start.
    daemon: AtomicBool,
    /// Usable bytes; 0 for what [`set_stack_size`] says at the start.
    stack_size: usize,
    /// Until the start. Its lock orders attempts to start the thread.
    target: Locked<Option<Target>>,
    /// From the start to the join. Its lock is held by who waits for the kernel thread.
    os: Locked<Option<OsThread>>,
}

impl Inner {
    fn usable_stack(&self) -> usize {
        match (self.stack_size, stack_size()) {
            (0, 0) => DEFAULT_STACK,
            (0, size) | (size, _) => size,
        }
    }
}

impl Thread {
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
    /// It waits for nothing but the operating system's answer. On success the thread has its
    /// [`ident`](Thread::ident) and is alive, unless it has ended already.
    ///
    /// # Errors
    /// [`Error::AlreadyStarted`] if it was started before, also by another thread at this moment
    /// (THR-8). [`Error::Start`] if the operating system refuses: the thread is as before and may
    /// be started again (THR-9).
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
        self.inner.start()
    }

    /// Waits until the thread is gone: its thread-locals destroyed, its kernel thread done with this
    /// process. (Its entry under `/proc` may last a moment longer.)
    ///
    /// Any number of threads may wait, any number of times; a thread that is gone is not waited
    /// for (THR-15).
    ///
    /// # Errors
    /// [`Error::NotStarted`], [`Error::JoinSelf`] (THR-16).
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
        self.inner.check_joinable()?;
        let joined = self.inner.join(Limit::NONE);
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
        self.inner.check_joinable()?;
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
        self.inner.check_joinable()?;
        Ok(self.inner.join(Limit::until(deadline.0)).is_ok())
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
        self.inner.check_joinable()?;
        blocking::outcome(self.inner.join(Limit::interruptible(deadline.0)))
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
        self.inner.lifecycle.is_started() && !self.inner.lifecycle.is_ended()
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
        self.inner.name.with(|name| name.to_string())
    }

    /// Changes the name, at any time.
    ///
    /// ```
    /// let thread = threadbare::Thread::new(|| ());
    /// thread.set_name("worker");
    /// assert_eq!(thread.name(), "worker");
    /// ```
    pub fn set_name(&self, name: impl Into<String>) {
        let new = Name::Given(name.into());
        let old = self.inner.name.with(|name| std::mem::replace(name, new));
        drop(old); // outside the lock
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
        self.inner.lifecycle.is_started().then(|| self.inner.token)
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
        self.inner
            .lifecycle
            .is_started()
            .then(|| self.inner.lifecycle.native_id())
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
        // Relaxed: a flag that stands for itself.
        self.inner.daemon.load(Relaxed)
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
        // Under the lock that orders starts, so that none slips in between.
        self.inner.target.with(|_| {
            if !self.inner.lifecycle.is_new() {
                return Err(Error::DaemonAfterStart);
            }
            // Relaxed: a flag that stands for itself.
            self.inner.daemon.store(daemon, Relaxed);
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
        write!(f, "<Thread({}, {status}", self.name())?;
        if self.daemon() {
            f.write_str(" daemon")?;
        }
        if let Some(ident) = self.ident() {
            write!(f, " {ident}")?;
        }
        f.write_str(")>")
    }
}

/// Describes a thread before it is made.
///
/// ```
/// use threadbare::Thread;
///
/// let thread = Thread::builder()
///     .name("log writer")
///     .daemon(true)
///     .stack_size(64 * 1024)
///     .target(|| println!("writing"))
///     .spawn()?;
/// thread.join()?;
/// # Ok::<(), threadbare::Error>(())
/// ```
#[must_use = "a builder makes a thread with `build` or `spawn`"]
pub struct Builder {
    name: Option<String>,
    target_name: Option<String>,
    daemon: Option<bool>,
    stack_size: usize,
    target: Option<Target>,
}

impl Builder {
    fn new() -> Builder {
        Builder {
            name: None,
            target_name: None,
            daemon: None,
            stack_size: 0,
            target: None,
        }
    }

    /// The thread's name. Without one, or with an empty one, it is `Thread-N`, where N counts such
    /// threads (THR-4).
    ///
    /// ```
    /// let thread = threadbare::Thread::builder().name("worker").build()?;
    /// assert_eq!(thread.name(), "worker");
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// The target's name, which makes a default name `Thread-N (NAME)`.
    ///
    /// ```
    /// let thread = threadbare::Thread::builder().target_name("accept").build()?;
    /// assert!(thread.name().ends_with(" (accept)"));
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn target_name(mut self, name: impl Into<String>) -> Builder {
        self.target_name = Some(name.into());
        self
    }

    /// Whether the thread is a daemon. Unless said, it is if the thread that builds it is: the main
    /// thread is none, threads that this crate did not start are (THR-6).
    ///
    /// ```
    /// let thread = threadbare::Thread::builder().daemon(true).build()?;
    /// assert!(thread.daemon());
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn daemon(mut self, daemon: bool) -> Builder {
        self.daemon = Some(daemon);
        self
    }

    /// How many bytes the thread's own frames may take, at least: guard, signal stack and what
    /// libc needs come on top. 0, the default, stands for what [`stack_size`] says at the start.
    ///
    /// ```
    /// use threadbare::{Error, Thread};
    ///
    /// assert!(Thread::builder().stack_size(256 * 1024).build().is_ok());
    /// let error = Thread::builder().stack_size(4096).build().unwrap_err();
    /// assert_eq!(error, Error::InvalidStackSize);
    /// ```
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = bytes;
        self
    }

    /// What the thread runs. Without a target it ends at once (THR-2).
    ///
    /// ```
    /// let thread = threadbare::Thread::builder().target(|| ()).build()?;
    /// thread.start()?;
    /// # thread.join()?;
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn target(mut self, target: impl FnOnce() + Send + 'static) -> Builder {
        self.target = Some(Box::new(target));
        self
    }

    /// Makes the thread, unstarted.
    ///
    /// # Errors
    /// [`Error::InvalidStackSize`] if a stack size other than 0 is below 32 KiB.
    ///
    /// ```
    /// let thread = threadbare::Thread::builder().build()?;
    /// assert!(!thread.is_alive());
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn build(self) -> Result<Thread, Error> {
        check_stack_size(self.stack_size)?;
        Ok(self.finish())
    }

    /// Makes the thread and starts it.
    ///
    /// # Errors
    /// Those of [`build`](Builder::build) and [`Thread::start`].
    ///
    /// ```
    /// let thread = threadbare::Thread::builder().target(|| ()).spawn()?;
    /// assert!(thread.ident().is_some());
    /// # thread.join()?;
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn spawn(self) -> Result<Thread, Error> {
        let thread = self.build()?;
        thread.start()?;
        Ok(thread)
    }

    fn finish(self) -> Thread {
        let inner = Inner {
            lifecycle: RawLifecycle::new(),
            token: fresh_token(),
            name: Locked::new(Name::new(self.name, self.target_name.as_deref())),
            daemon: AtomicBool::new(self.daemon.unwrap_or_else(inherited_daemon)),
            stack_size: self.stack_size,
            target: Locked::new(self.target),
            os: Locked::new(None),
        };
        Thread {
            inner: Arc::new(inner),
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("target_name", &self.target_name)
            .field("daemon", &self.daemon)
            .field("stack_size", &self.stack_size)
            .finish_non_exhaustive()
    }
}

/// The daemon flag of the calling thread, which threads that it makes inherit.
fn inherited_daemon() -> bool {
    current::with(|inner| match inner {
        // Relaxed: a flag that stands for itself.
        Some(inner) => inner.daemon.load(Relaxed),
        None => !tid::is_main_thread(),
    })
}

/// The stack size, in usable bytes, of threads that are started from now on and do not say one
/// themselves. 0, the initial value, stands for the default of 2 MiB.
///
/// Python's call without an argument also resets the size (MOD-12): that is
/// [`set_stack_size(0)`](set_stack_size).
///
/// ```
/// assert_eq!(threadbare::stack_size(), 0);
/// ```
#[must_use]
pub fn stack_size() -> usize {
    // Relaxed: a setting; it carries no other data.
    STACK_SIZE.load(Relaxed)
}

/// Sets the [`stack_size`] and returns what it was; 0 sets the default (MOD-11).
///
/// A size that the system cannot provide is accepted here and refused at the start (MOD-14).
///
/// # Errors
/// [`Error::InvalidStackSize`] for 1 to 32,767, which changes nothing (MOD-13).
///
/// ```
/// use threadbare::{set_stack_size, Error};
///
/// assert_eq!(set_stack_size(256 * 1024), Ok(0));
/// assert_eq!(set_stack_size(32_767), Err(Error::InvalidStackSize));
/// assert_eq!(set_stack_size(0), Ok(256 * 1024));
/// ```
pub fn set_stack_size(bytes: usize) -> Result<usize, Error> {
    check_stack_size(bytes)?;
    // Relaxed: see `stack_size`.
    Ok(STACK_SIZE.swap(bytes, Relaxed))
}

fn check_stack_size(bytes: usize) -> Result<(), Error> {
    if (1..MIN_STACK).contains(&bytes) {
        Err(Error::InvalidStackSize)
    } else {
        Ok(())
    }
}
