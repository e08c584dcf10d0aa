//! What can go wrong, as one type.

use std::fmt;
use threadbare_sys::Errno;

/// Why a call did not do what it was asked to.
///
/// After an error everything is as it was before the call; a wait on a condition that was
/// interrupted has given its lock up and taken it back. [`kind`](Error::kind) tells which exception
/// Python raises there.
///
/// ```
/// use threadbare::{Error, ErrorKind, Lock};
///
/// let error = Lock::new().release().unwrap_err();
/// assert_eq!(error, Error::ReleaseUnlocked);
/// assert_eq!(error.kind(), ErrorKind::Runtime);
/// assert_eq!(error.to_string(), "release of an unlocked lock");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A [`Lock`](crate::Lock) was released that nobody had acquired (LOCK-10).
    ReleaseUnlocked,
    /// An [`RLock`](crate::RLock) was released by a thread that does not own it (RLOCK-6).
    NotOwner,
    /// A [`Condition`](crate::Condition) was waited for or notified without its lock (COND-4).
    NotHeld,
    /// An [`RLock`](crate::RLock) is held as often as it can count (RLOCK-2).
    TooDeep,
    /// A timeout exceeds [`TIMEOUT_MAX`](crate::TIMEOUT_MAX) (TIME-4).
    TimeoutTooLarge,
    /// A timeout in seconds is negative or not a number (TIME-7).
    InvalidTimeout,
    /// A signal handler ran while an interruptible form waited (SIG-4).
    Interrupted,
    /// No permit at all was to be acquired or released (SEM-5).
    ZeroPermits,
    /// A semaphore would hold more than
    /// [`MAX_PERMITS`](crate::Semaphore::MAX_PERMITS) (SEM-6).
    TooManyPermits,
    /// A [`BoundedSemaphore`](crate::BoundedSemaphore) would hold more than its bound (BSEM-1).
    AboveBound,
    /// A [`Barrier`](crate::Barrier) is broken or was reset, or a time was up there (BAR-2).
    BrokenBarrier,
    /// A [`Barrier`](crate::Barrier) was to have no party, or more than
    /// [`MAX_PARTIES`](crate::Barrier::MAX_PARTIES) (BAR-1).
    InvalidParties,
    /// The action of a [`Barrier`](crate::Barrier) waited for the same barrier (BAR-8).
    WaitInAction,
    /// A thread was started that had been started before (THR-8).
    AlreadyStarted,
    /// A thread was joined that has not been started (THR-16).
    NotStarted,
    /// A thread was to join itself (THR-16).
    JoinSelf,
    /// A thread was joined that this crate did not start, and that is not the main one (DUM-3).
    JoinDummy,
    /// A thread's target has been run already (THR-13).
    TargetUsed,
    /// A thread was joined for what it returns, which is nothing: it ended by
    /// [`exit`](crate::exit), or vanished in a fork.
    NoResult,
    /// The end of the program has begun (EXIT-4).
    ShuttingDown,
    /// The daemon flag of a thread was to be changed after its start (THR-19).
    DaemonAfterStart,
    /// A stack size is below 32 KiB or beyond any address space (MOD-13).
    InvalidStackSize,
    /// A [`Local`](crate::Local) was to lose its value in a call that has borrowed it.
    LocalInUse,
    /// A [`Local`](crate::Local) was given a value in a thread that has none any more, since it is
    /// about to end.
    ThreadEnding,
    /// A [dummy](crate::compat::dummy) was to wait without limit for what nobody can do (DTH-4).
    WouldBlockForever,
    /// [Dummy](crate::compat::dummy) threads have no stacks of their own (DTH-6).
    StackSizeFixed,
    /// The operating system refused a thread (THR-9).
    Start(OsError),
}

/// Which exception Python raises for an [`Error`].
///
/// ```
/// use threadbare::{Deadline, ErrorKind};
///
/// assert_eq!(Deadline::from_secs_f64(-1.0).unwrap_err().kind(), ErrorKind::Value);
/// assert_eq!(Deadline::from_secs_f64(1e100).unwrap_err().kind(), ErrorKind::Overflow);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// `RuntimeError`.
    Runtime,
    /// `BrokenBarrierError`, which is a `RuntimeError` (BAR-14).
    BrokenBarrier,
    /// `ValueError`.
    Value,
    /// `OverflowError`.
    Overflow,
    /// The operating system said no: `RuntimeError` where it concerns a thread, `InterruptedError`
    /// where a signal came.
    Os,
}

/// The `errno` with which the operating system refused a call.
///
/// ```
/// use threadbare::{Error, Thread};
///
/// // More address space than there is: accepted, and refused at the start (MOD-14).
/// let thread = Thread::builder().stack_size(1 << 47).build()?;
/// let Err(Error::Start(refused)) = thread.start() else { panic!("there is room") };
/// assert_ne!(refused.raw_os_error(), 0);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OsError(pub(crate) Errno);

impl OsError {
    /// The number, as `errno` has it.
    ///
    /// ```
    /// use threadbare::{Error, Thread};
    ///
    /// let thread = Thread::builder().stack_size(1 << 47).build()?;
    /// match thread.start() {
    ///     Err(Error::Start(refused)) => assert!(refused.raw_os_error() > 0),
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn raw_os_error(self) -> i32 {
        self.0.raw_os_error()
    }
}

impl fmt::Display for OsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for OsError {}

impl Error {
    /// Which exception Python raises here.
    ///
    /// ```
    /// use threadbare::{Error, ErrorKind};
    ///
    /// assert_eq!(Error::ZeroPermits.kind(), ErrorKind::Value);
    /// ```
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Error::ReleaseUnlocked
            | Error::NotOwner
            | Error::NotHeld
            | Error::WaitInAction
            | Error::AlreadyStarted
            | Error::NotStarted
            | Error::JoinSelf
            | Error::JoinDummy
            | Error::TargetUsed
            | Error::NoResult
            | Error::ShuttingDown
            | Error::DaemonAfterStart
            | Error::LocalInUse
            | Error::ThreadEnding
            | Error::WouldBlockForever
            | Error::StackSizeFixed => ErrorKind::Runtime,
            Error::BrokenBarrier => ErrorKind::BrokenBarrier,
            Error::InvalidTimeout
            | Error::ZeroPermits
            | Error::AboveBound
            | Error::InvalidParties
            | Error::InvalidStackSize => ErrorKind::Value,
            Error::TooDeep | Error::TimeoutTooLarge | Error::TooManyPermits => ErrorKind::Overflow,
            Error::Interrupted | Error::Start(_) => ErrorKind::Os,
        }
    }

    /// Whether Python raises a `RuntimeError` or a kind of it: that includes a broken barrier and a
    /// refused start.
    ///
    /// ```
    /// use threadbare::{Error, RLock};
    ///
    /// assert!(RLock::new().release().unwrap_err().is_runtime());
    /// assert!(!Error::TimeoutTooLarge.is_runtime());
    /// ```
    #[must_use]
    pub const fn is_runtime(&self) -> bool {
        matches!(self.kind(), ErrorKind::Runtime | ErrorKind::BrokenBarrier)
            || matches!(self, Error::Start(_))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Error::ReleaseUnlocked => "release of an unlocked lock",
            Error::NotOwner => "release of a reentrant lock by a thread that does not own it",
            Error::NotHeld => "wait or notify without the condition's lock",
            Error::TooDeep => "reentrant lock held too often",
            Error::TimeoutTooLarge => "timeout too large",
            Error::InvalidTimeout => "timeout negative or not a number",
            Error::Interrupted => "interrupted by a signal",
            Error::ZeroPermits => "number of permits must be at least one",
            Error::TooManyPermits => "more permits than a semaphore can hold",
            Error::AboveBound => "semaphore released too many times",
            Error::BrokenBarrier => "barrier broken or reset",
            Error::InvalidParties => "number of parties must be from 1 to 2^23",
            Error::WaitInAction => "wait for a barrier in its own action",
            Error::AlreadyStarted => "threads can only be started once",
            Error::NotStarted => "cannot join a thread before it is started",
            Error::JoinSelf => "cannot join the current thread",
            Error::JoinDummy => "cannot join a thread that threadbare did not start",
            Error::TargetUsed => "the target of this thread has been run already",
            Error::NoResult => "the thread that was joined has returned nothing",
            Error::ShuttingDown => "the end of the program has begun",
            Error::DaemonAfterStart => "cannot set the daemon flag of a started thread",
            Error::InvalidStackSize => "stack size not valid",
            Error::LocalInUse => "thread-local value replaced or taken while it is borrowed",
            Error::ThreadEnding => "thread-local value set while its thread ends",
            Error::WouldBlockForever => "wait that nobody can end",
            Error::StackSizeFixed => "dummy threads have no stacks of their own",
            Error::Start(errno) => return write!(f, "cannot start a thread: {errno}"),
        };
        f.write_str(text)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Start(errno) => Some(errno),
            _ => None,
        }
    }
}
