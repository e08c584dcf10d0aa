//! What a [`Builder`](super::Builder) may ask of the kernel for a thread.

use threadbare_sys::settings::Scheduling as Setting;

/// Which signals a new thread takes: see [`Builder::signals`](super::Builder::signals).
///
/// A signal that is sent to a process is taken by any one of its threads that has it not blocked.
/// A server that wants its handlers to run in one thread, or takes signals by sigwait(3) or a
/// signalfd(2) there, starts all others with [`BlockAll`](Signals::BlockAll).
///
/// ```
/// use threadbare::{Signals, Thread};
///
/// let thread = Thread::builder().signals(Signals::BlockAll).target(|| ()).spawn()?;
/// thread.join()?;
/// # Ok::<(), threadbare::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Signals {
    /// Those that the thread that starts it takes, as pthread_create(3) has it.
    #[default]
    Inherit,
    /// None that is sent. What waits interruptibly is not interrupted.
    ///
    /// What a fault in the thread itself raises is not blocked by this: `SIGSEGV`, `SIGBUS`,
    /// `SIGFPE`, `SIGILL`, `SIGTRAP` and `SIGSYS`. While they are blocked, a fault ends the process
    /// past every handler (signal(7)): the report of a stack overflow
    /// ([`set_overflow_report`](crate::set_overflow_report)), crash reporters and seccomp handlers
    /// would say nothing. Nor are the two that libc keeps for itself (nptl(7)), with which it makes
    /// `setuid` hold for all threads.
    BlockAll,
}

/// How the kernel schedules a new thread: see [`Builder::scheduling`](super::Builder::scheduling)
/// and sched(7).
///
/// Real-time priorities, from 1 to 99, come before all ordinary threads: one that computes without
/// ever waiting keeps its CPU from them, but for the 5 % that the kernel sets aside by default. Locks
/// do not lend priorities: a thread of a high one may wait for a holder of a low one.
///
/// ```
/// use threadbare::{Scheduling, Thread};
///
/// let thread = Thread::builder().scheduling(Scheduling::Other).target(|| ()).spawn()?;
/// thread.join()?;
/// # Ok::<(), threadbare::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheduling {
    /// As the thread that starts it, unless that has `SCHED_RESET_ON_FORK`.
    #[default]
    Inherit,
    /// `SCHED_OTHER`, as ordinary threads, with the nice value of the thread that starts it.
    Other,
    /// `SCHED_FIFO` with this priority: runs until it waits or one of a higher priority can run.
    Fifo(u8),
    /// `SCHED_RR` with this priority: as `Fifo`, but those of one priority take turns.
    RoundRobin(u8),
}

impl Scheduling {
    /// What is to be set.
    pub(super) fn setting(self) -> Option<Setting> {
        match self {
            Scheduling::Inherit => None,
            Scheduling::Other => Some(Setting::OTHER),
            Scheduling::Fifo(priority) => Some(Setting::fifo(priority)),
            Scheduling::RoundRobin(priority) => Some(Setting::round_robin(priority)),
        }
    }
}
