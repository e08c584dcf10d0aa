//! A thread before it is made, and what holds for all that are.

use super::name::Name;
use super::record::{Kind, Plan, Record, Target};
use super::settings::{Scheduling, Signals};
use super::{Thread, current};
use crate::error::Error;
use crate::primitive::fresh_token;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use threadbare_sys::settings::Settings;
use threadbare_sys::stack::MIN_STACK;
use threadbare_sys::tid;

/// The stack size that `stack_size() == 0` stands for: std's default.
const DEFAULT_STACK: usize = 2 << 20;

/// What [`set_stack_size`] set last.
static STACK_SIZE: AtomicUsize = AtomicUsize::new(0);

impl Record {
    /// The bytes that the thread's own frames may take.
    pub(super) fn usable_stack(&self) -> usize {
        match (self.stack_size, stack_size()) {
            (0, 0) => DEFAULT_STACK,
            (0, size) | (size, _) => size,
        }
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
    kind: Kind,
    name: Option<String>,
    target_name: Option<String>,
    daemon: Option<bool>,
    stack_size: usize,
    settings: Settings,
    target: Option<Target>,
}

impl Builder {
    pub(super) fn new() -> Builder {
        Builder::of(Kind::Thread)
    }

    pub(super) fn of(kind: Kind) -> Builder {
        Builder {
            kind,
            name: None,
            target_name: None,
            daemon: None,
            stack_size: 0,
            settings: Settings::INHERITED,
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

    /// Which signals the thread takes. Unless said, those that the thread that starts it takes.
    ///
    /// With [`Signals::BlockAll`] none reaches the new thread before they are blocked. That costs
    /// two system calls more; the thread that starts it has its signals blocked for those
    /// microseconds, and then its own mask again.
    ///
    /// ```
    /// use nix::sys::signal::{SigSet, Signal};
    /// use threadbare::{Signals, Thread};
    ///
    /// let thread = Thread::builder()
    ///     .signals(Signals::BlockAll)
    ///     .target(|| assert!(SigSet::thread_get_mask().unwrap().contains(Signal::SIGTERM)))
    ///     .spawn()?;
    /// thread.join()?;
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn signals(mut self, signals: Signals) -> Builder {
        self.settings.blocks_signals = signals == Signals::BlockAll;
        self
    }

    /// The CPUs that the thread may run on, by the numbers that the kernel gives them: those of
    /// `/proc/cpuinfo`, from 0. Unless said, those of the thread that starts it.
    ///
    /// The thread is bound before its first step, and what it starts is bound as it is. It must be
    /// able to run on each of these CPUs: where sched_setaffinity(2) passes over those that it
    /// cannot, [`start`](Thread::start) errs. Four system calls more, three of the thread that
    /// starts it.
    ///
    /// # Errors
    /// None here. `start` gives [`Error::Start`] with `EINVAL` if there is no CPU in `cpus`, or one
    /// that does not exist, is offline, or is kept from the process by its cpuset(7), as that of
    /// a container.
    ///
    /// ```
    /// use nix::libc;
    /// use threadbare::{Error, Thread};
    ///
    /// // SAFETY: no precondition.
    /// let cpu = unsafe { libc::sched_getcpu() } as usize; // one that there is
    /// let thread = Thread::builder()
    ///     .affinity([cpu])
    ///     // SAFETY: no precondition.
    ///     .target(move || assert_eq!(unsafe { libc::sched_getcpu() } as usize, cpu))
    ///     .spawn()?;
    /// thread.join()?;
    ///
    /// let Err(Error::Start(refused)) = Thread::builder().affinity([cpu, 100_000]).spawn() else {
    ///     panic!("a large machine")
    /// };
    /// assert_eq!(refused.raw_os_error(), libc::EINVAL);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn affinity(mut self, cpus: impl IntoIterator<Item = usize>) -> Builder {
        self.settings.cpus = Some(Box::new(cpus.into_iter().collect()));
        self
    }

    /// How the kernel schedules the thread. Unless said, as the one that starts it.
    ///
    /// It holds before the thread's first step. Three system calls more, two of the thread that
    /// starts it.
    ///
    /// # Errors
    /// None here. `start` gives [`Error::Start`] with `EPERM` if the priority is above the limit
    /// `RLIMIT_RTPRIO`, which is 0 for most users, and the process has no `CAP_SYS_NICE`; with
    /// `EINVAL` if it is not from 1 to 99 (sched(7)).
    ///
    /// ```
    /// use threadbare::{Error, Scheduling, Thread};
    ///
    /// let thread = Thread::builder().scheduling(Scheduling::Fifo(10)).build()?;
    /// match thread.start() {
    ///     Ok(()) => thread.join()?,
    ///     Err(Error::Start(refused)) => println!("not for this user: {refused}"),
    ///     Err(other) => return Err(other),
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    pub fn scheduling(mut self, scheduling: Scheduling) -> Builder {
        self.settings.scheduling = scheduling.setting();
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

    /// Makes the thread for what its record is not to have, a daemon unless that was said otherwise.
    pub(super) fn build_without_target(mut self) -> Result<Thread, Error> {
        check_stack_size(self.stack_size)?;
        self.daemon.get_or_insert(true);
        Ok(self.finish_with(Plan::Used))
    }

    pub(super) fn finish(mut self) -> Thread {
        let plan = self.target.take().map_or(Plan::Nothing, Plan::Target);
        self.finish_with(plan)
    }

    fn finish_with(self, plan: Plan) -> Thread {
        let mut record = Record::new(
            fresh_token(),
            self.kind,
            Name::new(self.name, self.target_name.as_deref()),
            self.daemon.unwrap_or_else(inherited_daemon),
            plan,
            self.stack_size,
        );
        record.settings = self.settings;
        Thread::of(Arc::new(record))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("target_name", &self.target_name)
            .field("daemon", &self.daemon)
            .field("stack_size", &self.stack_size)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// The daemon flag of the calling thread, which threads that it makes inherit.
fn inherited_daemon() -> bool {
    current::with(|record| match record {
        Some(record) => record.with(|state| state.daemon),
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
