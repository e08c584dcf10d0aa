//! Threads that run in the caller of `start`.

use super::local::Forget;
use super::{check, get_native_id, give_up};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::thread::{contain_as, discard as discard_payload};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::time::Duration;
use threadbare_sys::stack::MIN_STACK;

/// The ident of every thread (DTH-5).
const IDENT: u64 = 1;

/// How often values that destructors of values have set are looked for when a thread ends
/// (LOCAL-11).
const ROUNDS: usize = 8;

type Target = Box<dyn FnOnce()>;

/// As [`crate::Thread`], but [`start`](Thread::start) runs it to its end (DTH-2).
///
/// A panic in it ends it, as it ends a real one, and does not reach the caller of `start`.
///
/// ```
/// use std::{cell::Cell, rc::Rc};
/// use threadbare::compat::dummy::Thread;
/// let done = Rc::new(Cell::new(false));
/// let thread = Thread::new({ let done = done.clone(); move || done.set(true) });
/// thread.start().unwrap();
/// assert!(done.get());
/// ```
#[derive(Clone)]
pub struct Thread {
    inner: Rc<Inner>,
}

struct Inner {
    name: RefCell<String>,
    daemon: Cell<bool>,
    stage: Cell<Stage>,
    plan: RefCell<Plan>,
    /// Where values of this thread are to be dropped at its end.
    locals: RefCell<Vec<Weak<dyn Forget>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    Running,
    /// Not listed any more; its values in locals are being dropped (THR-14).
    Leaving,
    Ended,
}

enum Plan {
    Nothing,
    Target(Target),
    /// It has been run, or is being run.
    Used,
}

/// What a thread of the operating system knows of the dummies that it runs.
struct Threads {
    main: Thread,
    /// Those that have been started and not ended, the current one last.
    running: RefCell<Vec<Thread>>,
    /// How many have got a default name.
    numbered: Cell<u64>,
}

thread_local! {
    static THREADS: Threads = Threads {
        main: Thread::of("MainThread".to_owned(), false, Stage::Running, Plan::Nothing),
        running: RefCell::new(Vec::new()),
        numbered: Cell::new(0),
    };
}

impl Thread {
    /// A thread that will run `target`.
    ///
    /// ```
    /// use threadbare::compat::dummy::Thread;
    /// assert!(Thread::new(|| ()).name().starts_with("Thread-"));
    /// ```
    #[must_use = "a thread runs once it is started"]
    pub fn new(target: impl FnOnce() + 'static) -> Thread {
        Builder::new().target(target).finish()
    }

    fn of(name: String, daemon: bool, stage: Stage, plan: Plan) -> Thread {
        let inner = Inner {
            name: RefCell::new(name),
            daemon: Cell::new(daemon),
            stage: Cell::new(stage),
            plan: RefCell::new(plan),
            locals: RefCell::default(),
        };
        Thread {
            inner: Rc::new(inner),
        }
    }

    /// Begins to describe a thread.
    ///
    /// ```
    /// use threadbare::compat::dummy::Thread;
    /// let thread = Thread::builder().name("worker").target(|| ()).spawn().unwrap();
    /// assert!(!thread.is_alive());
    /// ```
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Runs the thread to its end, and then returns.
    /// Errors: [`Error::AlreadyStarted`]; [`Error::TargetUsed`] after a [`run`](Thread::run).
    ///
    /// ```
    /// use threadbare::compat::dummy::{Error, Thread};
    /// let thread = Thread::new(|| ());
    /// thread.start().unwrap();
    /// assert_eq!(thread.start(), Err(Error::AlreadyStarted));
    /// ```
    pub fn start(&self) -> Result<(), Error> {
        let target = self.take_target()?;
        self.inner.stage.set(Stage::Running);
        THREADS.with(|threads| threads.running.borrow_mut().push(self.clone()));
        if let Some(target) = target {
            contain_as(&self.name(), target);
        }
        self.inner.stage.set(Stage::Leaving);
        self.forget_values();
        THREADS.with(|threads| threads.running.borrow_mut().pop());
        self.inner.stage.set(Stage::Ended);
        Ok(())
    }

    /// Runs the thread's target, without being that thread (THR-12). A panic in it is the caller's.
    /// Errors: [`Error::AlreadyStarted`]; [`Error::TargetUsed`] the second time.
    ///
    /// ```
    /// use threadbare::compat::dummy::{Error, Thread};
    /// let thread = Thread::new(|| println!("in the caller"));
    /// thread.run().unwrap();
    /// assert_eq!(thread.run(), Err(Error::TargetUsed));
    /// ```
    pub fn run(&self) -> Result<(), Error> {
        if let Some(target) = self.take_target()? {
            target();
        }
        Ok(())
    }

    fn take_target(&self) -> Result<Option<Target>, Error> {
        if self.is_started() {
            return Err(Error::AlreadyStarted);
        }
        match self.inner.plan.replace(Plan::Used) {
            Plan::Nothing => Ok(None),
            Plan::Target(target) => Ok(Some(target)),
            Plan::Used => Err(Error::TargetUsed),
        }
    }

    fn is_started(&self) -> bool {
        self.inner.stage.get() != Stage::New
    }

    /// Lets `values` forget those of this thread when it ends.
    pub(super) fn has_values_in(&self, values: Weak<dyn Forget>) {
        let mut locals = self.inner.locals.borrow_mut();
        // Each once, and those that are gone no more, since the main thread does not end.
        locals.retain(|other| other.strong_count() > 0 && !Weak::ptr_eq(other, &values));
        locals.push(values);
    }

    /// Drops the thread's values in locals, and those that their destructors set. What is set in
    /// the last round stays until its local goes.
    fn forget_values(&self) {
        for _ in 0..ROUNDS {
            let locals = self.inner.locals.take();
            for values in locals.iter().filter_map(Weak::upgrade) {
                values.forget(self);
                discard(values); // the destructor may have dropped its local
            }
        }
    }

    /// Returns if the thread has ended. Errors: [`Error::NotStarted`], [`Error::JoinSelf`];
    /// [`Error::WouldBlockForever`] for a thread that runs, which is one that has started the
    /// caller.
    ///
    /// ```
    /// use threadbare::compat::dummy::{Error, Thread};
    /// let thread = Thread::new(|| ());
    /// assert_eq!(thread.join(), Err(Error::NotStarted));
    /// thread.start().unwrap();
    /// assert_eq!(thread.join(), Ok(()));
    /// ```
    pub fn join(&self) -> Result<(), Error> {
        self.join_until(Deadline::NEVER).map(drop)
    }

    /// Whether the thread has ended.
    /// Errors: [`Error::NotStarted`], [`Error::JoinSelf`]; then [`Error::TimeoutTooLarge`] above
    /// [`TIMEOUT_MAX`](super::TIMEOUT_MAX).
    ///
    /// ```
    /// use std::time::Duration;
    /// use threadbare::compat::dummy::Thread;
    /// let thread = Thread::builder().spawn().unwrap();
    /// assert_eq!(thread.join_timeout(Duration::ZERO), Ok(true));
    /// ```
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, Error> {
        self.check_joinable()?;
        check(timeout)?;
        Ok(!self.is_alive())
    }

    /// Whether the thread has ended. Errors: [`Error::NotStarted`], [`Error::JoinSelf`];
    /// [`Error::WouldBlockForever`] if it runs and `deadline` is never.
    ///
    /// ```
    /// use threadbare::compat::dummy::{Deadline, Thread};
    /// let thread = Thread::builder().spawn().unwrap();
    /// assert_eq!(thread.join_until(Deadline::NEVER), Ok(true));
    /// ```
    pub fn join_until(&self, deadline: Deadline) -> Result<bool, Error> {
        self.check_joinable()?;
        Ok(!self.is_alive() || give_up(deadline)?)
    }

    /// As [`join_until`](Thread::join_until).
    ///
    /// ```
    /// use threadbare::compat::dummy::{Deadline, Thread};
    /// let thread = Thread::builder().spawn().unwrap();
    /// assert_eq!(thread.join_interruptible(Deadline::NEVER), Ok(true));
    /// ```
    pub fn join_interruptible(&self, deadline: Deadline) -> Result<bool, Error> {
        self.join_until(deadline)
    }

    fn check_joinable(&self) -> Result<(), Error> {
        if !self.is_started() {
            Err(Error::NotStarted)
        } else if self.is_current() {
            Err(Error::JoinSelf)
        } else {
            Ok(())
        }
    }

    /// Whether the thread was started and has not ended.
    ///
    /// ```
    /// use threadbare::compat::dummy::{Thread, current_thread};
    /// let thread = Thread::new(|| assert!(current_thread().is_alive()));
    /// thread.start().unwrap();
    /// assert!(!thread.is_alive());
    /// ```
    #[must_use]
    pub fn is_alive(&self) -> bool {
        matches!(self.inner.stage.get(), Stage::Running | Stage::Leaving)
    }

    /// The name.
    ///
    /// ```
    /// use threadbare::compat::dummy::Thread;
    /// assert_eq!(Thread::builder().name("worker").build().unwrap().name(), "worker");
    /// ```
    #[must_use]
    pub fn name(&self) -> String {
        self.inner.name.borrow().clone()
    }

    /// Changes the name, at any time.
    ///
    /// ```
    /// let thread = threadbare::compat::dummy::Thread::new(|| ());
    /// thread.set_name("worker");
    /// assert_eq!(thread.name(), "worker");
    /// ```
    pub fn set_name(&self, name: impl Into<String>) {
        self.inner.name.replace(name.into());
    }

    /// 1, and `None` before the start.
    ///
    /// ```
    /// use threadbare::compat::dummy::Thread;
    /// assert_eq!(Thread::new(|| ()).ident(), None);
    /// assert_eq!(Thread::builder().spawn().unwrap().ident(), Some(1));
    /// ```
    #[must_use]
    pub fn ident(&self) -> Option<u64> {
        self.is_started().then_some(IDENT)
    }

    /// The kernel's id of the caller, in which the thread runs; `None` before the start.
    ///
    /// ```
    /// use threadbare::compat::dummy::{Thread, get_native_id};
    /// assert_eq!(Thread::builder().spawn().unwrap().native_id(), Some(get_native_id()));
    /// ```
    #[must_use]
    pub fn native_id(&self) -> Option<u32> {
        self.is_started().then(get_native_id)
    }

    /// Whether the thread was said to be a daemon, which means nothing here.
    ///
    /// ```
    /// assert!(!threadbare::compat::dummy::Thread::new(|| ()).daemon());
    /// ```
    #[must_use]
    pub fn daemon(&self) -> bool {
        self.inner.daemon.get()
    }

    /// Makes the thread a daemon or not, before its start.
    /// Errors: [`Error::DaemonAfterStart`].
    ///
    /// ```
    /// let thread = threadbare::compat::dummy::Thread::new(|| ());
    /// assert_eq!(thread.set_daemon(true), Ok(()));
    /// ```
    pub fn set_daemon(&self, daemon: bool) -> Result<(), Error> {
        if self.is_started() {
            return Err(Error::DaemonAfterStart);
        }
        self.inner.daemon.set(daemon);
        Ok(())
    }

    /// Whether this is the thread that runs.
    ///
    /// ```
    /// assert!(threadbare::compat::dummy::main_thread().is_current());
    /// ```
    #[must_use]
    pub fn is_current(&self) -> bool {
        *self == current_thread()
    }
}

/// Drops what may panic when dropped; nobody is left who could be told.
pub(super) fn discard<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        discard_payload(payload);
    }
}

/// The same thread.
impl PartialEq for Thread {
    fn eq(&self, other: &Thread) -> bool {
        Rc::ptr_eq(&self.inner, &other.inner)
    }
}

impl Eq for Thread {}

/// As Python prints it (REPR-3).
impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self.inner.stage.get() {
            Stage::New => "initial",
            Stage::Running | Stage::Leaving => "started",
            Stage::Ended => "stopped",
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

/// As [`crate::Builder`].
///
/// ```
/// use threadbare::compat::dummy::Thread;
/// let thread = Thread::builder().name("worker").daemon(true).target(|| ()).spawn().unwrap();
/// assert!(thread.daemon());
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
    pub(super) fn new() -> Builder {
        Builder {
            name: None,
            target_name: None,
            daemon: None,
            stack_size: 0,
            target: None,
        }
    }

    /// The thread's name; without one it is `Thread-N`.
    ///
    /// ```
    /// use threadbare::compat::dummy::Thread;
    /// assert_eq!(Thread::builder().name("worker").build().unwrap().name(), "worker");
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// The target's name, which makes a default name `Thread-N (NAME)`.
    ///
    /// ```
    /// use threadbare::compat::dummy::Thread;
    /// let thread = Thread::builder().target_name("accept").build().unwrap();
    /// assert!(thread.name().ends_with(" (accept)"));
    /// ```
    pub fn target_name(mut self, name: impl Into<String>) -> Builder {
        self.target_name = Some(name.into());
        self
    }

    /// Whether the thread is a daemon. Unless said, it is if the thread that builds it is.
    ///
    /// ```
    /// use threadbare::compat::dummy::Thread;
    /// assert!(Thread::builder().daemon(true).build().unwrap().daemon());
    /// ```
    pub fn daemon(mut self, daemon: bool) -> Builder {
        self.daemon = Some(daemon);
        self
    }

    /// A size that is checked as the real one is, and has no effect: the thread runs on the stack
    /// of its caller.
    ///
    /// ```
    /// use threadbare::compat::dummy::{Error, Thread};
    /// let error = Thread::builder().stack_size(4096).build().unwrap_err();
    /// assert_eq!(error, Error::InvalidStackSize);
    /// ```
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = bytes;
        self
    }

    /// What the thread runs.
    ///
    /// ```
    /// use threadbare::compat::dummy::Thread;
    /// Thread::builder().target(|| println!("now")).build().unwrap().start().unwrap();
    /// ```
    pub fn target(mut self, target: impl FnOnce() + 'static) -> Builder {
        self.target = Some(Box::new(target));
        self
    }

    /// Makes the thread, unstarted.
    /// Errors: [`Error::InvalidStackSize`] if a stack size other than 0 is below 32 KiB.
    ///
    /// ```
    /// assert_eq!(threadbare::compat::dummy::Thread::builder().build().unwrap().ident(), None);
    /// ```
    pub fn build(self) -> Result<Thread, Error> {
        if (1..MIN_STACK).contains(&self.stack_size) {
            return Err(Error::InvalidStackSize);
        }
        Ok(self.finish())
    }

    /// Makes the thread and runs it to its end.
    /// Errors: those of [`build`](Builder::build).
    ///
    /// ```
    /// threadbare::compat::dummy::Thread::builder().target(|| println!("now")).spawn().unwrap();
    /// ```
    pub fn spawn(self) -> Result<Thread, Error> {
        let thread = self.build()?;
        thread.start()?;
        Ok(thread)
    }

    pub(super) fn finish(self) -> Thread {
        let name = match (self.name, self.target_name) {
            (Some(name), _) if !name.is_empty() => name,
            (_, Some(target)) => format!("Thread-{} ({target})", next_number()),
            (_, None) => format!("Thread-{}", next_number()),
        };
        let daemon = self.daemon.unwrap_or_else(|| current_thread().daemon());
        let plan = self.target.map_or(Plan::Nothing, Plan::Target);
        Thread::of(name, daemon, Stage::New, plan)
    }
}

fn next_number() -> u64 {
    THREADS.with(|threads| {
        threads.numbered.set(threads.numbered.get() + 1);
        threads.numbered.get()
    })
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

/// The thread that runs: the one that was started last and has not ended, or the main thread.
///
/// ```
/// use threadbare::compat::dummy::{current_thread, main_thread};
/// assert_eq!(current_thread(), main_thread());
/// ```
#[must_use]
pub fn current_thread() -> Thread {
    THREADS.with(|threads| {
        let running = threads.running.borrow();
        running.last().unwrap_or(&threads.main).clone()
    })
}

/// The thread that stands for the caller outside of all dummy threads. Each thread of the operating
/// system has one.
///
/// ```
/// assert_eq!(threadbare::compat::dummy::main_thread().name(), "MainThread");
/// ```
#[must_use]
pub fn main_thread() -> Thread {
    THREADS.with(|threads| threads.main.clone())
}

/// The main thread and those that run, the current one last.
///
/// ```
/// use threadbare::compat::dummy::{enumerate, main_thread};
/// assert_eq!(enumerate(), [main_thread()]);
/// ```
#[must_use]
pub fn enumerate() -> Vec<Thread> {
    THREADS.with(|threads| {
        let running = threads.running.borrow();
        let listed = running
            .iter()
            .filter(|thread| thread.inner.stage.get() == Stage::Running);
        std::iter::once(&threads.main)
            .chain(listed)
            .cloned()
            .collect()
    })
}

/// The length of [`enumerate`].
///
/// ```
/// assert_eq!(threadbare::compat::dummy::active_count(), 1);
/// ```
#[must_use]
pub fn active_count() -> usize {
    enumerate().len()
}

/// 1 (DTH-5).
///
/// ```
/// assert_eq!(threadbare::compat::dummy::get_ident(), 1);
/// ```
#[must_use]
pub fn get_ident() -> u64 {
    IDENT
}

/// 0: the platform's default.
///
/// ```
/// assert_eq!(threadbare::compat::dummy::stack_size(), 0);
/// ```
#[must_use]
pub fn stack_size() -> usize {
    0
}

/// Accepts 0, the default, and returns it (DTH-6).
/// Errors: [`Error::StackSizeFixed`] for any other size.
///
/// ```
/// use threadbare::compat::dummy::{Error, set_stack_size};
/// assert_eq!(set_stack_size(0), Ok(0));
/// assert_eq!(set_stack_size(256 * 1024), Err(Error::StackSizeFixed));
/// ```
pub fn set_stack_size(bytes: usize) -> Result<usize, Error> {
    if bytes == 0 {
        Ok(0)
    } else {
        Err(Error::StackSizeFixed)
    }
}
