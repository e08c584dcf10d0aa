//! What threads do: the operations, the forms in which they wait, and how often each was done.

use crate::check;
use std::fmt::Write;

macro_rules! whats {
    ($($what:ident = $text:literal,)*) => {
        /// An operation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum What { $($what,)* }

        impl What {
            pub const TEXTS: &[&str] = &[$($text,)*];
            const ALL: &[What] = &[$(What::$what,)*];
        }
    };
}

whats! {
    Begin = "begin",
    SeeOff = "see the others off",
    Hold = "hold what it has",
    Lock = "Lock.acquire",
    RLock = "RLock.acquire",
    Mutex = "Mutex.lock",
    ReentrantMutex = "ReentrantMutex.lock",
    MonitorLock = "Monitor.lock",
    ConditionLock = "Condition.acquire",
    Release = "release",
    ConditionWait = "Condition<RLock>.wait",
    PlainWait = "Condition<Lock>.wait",
    CondvarWait = "Condvar.wait",
    MonitorWait = "Monitor.wait",
    WaitFor = "Condition.wait_for",
    CondvarWhile = "Condvar.wait_while",
    MonitorWhile = "Monitor.wait_while",
    Notify = "notify",
    Make = "make items",
    Semaphore = "Semaphore.acquire",
    SemaphoreMany = "Semaphore.acquire_n",
    Bounded = "BoundedSemaphore.acquire",
    BoundedMany = "BoundedSemaphore.acquire_n",
    Permits = "release of permits",
    EventWait = "Event.wait",
    EventSet = "Event.set, clear",
    BarrierWait = "Barrier.wait",
    BarrierBreak = "Barrier.abort, reset",
    Start = "Thread.start",
    Join = "Thread.join",
    JoinHandle = "JoinHandle.join",
    Scope = "scope",
    Timer = "Timer.start",
    Cancel = "Timer.cancel",
    Local = "Local",
    Registry = "enumerate and others",
    Park = "park",
    Unpark = "unpark",
    Sleep = "sleep",
    Fork = "fork, and the child's end",
    Signal = "signals sent",
}

/// How an operation waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Form {
    Plain,
    Try,
    Timeout,
    Until,
    Interruptible,
    Checked,
}

impl Form {
    pub const TEXTS: [&str; 6] = [
        "plain",
        "try",
        "timeout",
        "until",
        "interruptible",
        "checked",
    ];

    /// All forms.
    pub const ALL: &[Form] = &[
        Form::Plain,
        Form::Try,
        Form::Timeout,
        Form::Until,
        Form::Interruptible,
        Form::Checked,
    ];
    /// For what has no form that makes one attempt.
    pub const BUT_TRY: &[Form] = &[
        Form::Plain,
        Form::Timeout,
        Form::Until,
        Form::Interruptible,
        Form::Checked,
    ];
    /// For what has no form with a check.
    pub const BUT_CHECKED: &[Form] = &[
        Form::Plain,
        Form::Try,
        Form::Timeout,
        Form::Until,
        Form::Interruptible,
    ];
    /// Whether a signal can end it.
    pub const fn is_interruptible(self) -> bool {
        matches!(self, Form::Interruptible | Form::Checked)
    }
}

/// How often operations were done, and how often that was in vain: without what was waited for, for
/// the time or an error, or for a signal.
#[derive(Clone)]
pub struct Tally {
    done: [[u64; Form::ALL.len()]; What::ALL.len()],
    late: [u64; What::ALL.len()],
    interrupted: [u64; What::ALL.len()],
}

impl Tally {
    pub const fn new() -> Tally {
        Tally {
            done: [[0; Form::ALL.len()]; What::ALL.len()],
            late: [0; What::ALL.len()],
            interrupted: [0; What::ALL.len()],
        }
    }

    pub fn count(&mut self, what: What, form: Form) {
        self.done[what as usize][form as usize] += 1;
    }

    pub fn late(&mut self, what: What) {
        self.late[what as usize] += 1;
    }

    pub fn interrupted(&mut self, what: What) {
        self.interrupted[what as usize] += 1;
    }

    pub fn add(&mut self, other: &Tally) {
        for (sums, counts) in self.done.iter_mut().zip(&other.done) {
            sums.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
        }
        let late = self.late.iter_mut().zip(&other.late);
        late.for_each(|(sum, n)| *sum += n);
        let interrupted = self.interrupted.iter_mut().zip(&other.interrupted);
        interrupted.for_each(|(sum, n)| *sum += n);
    }

    /// How often `what` was done, in any form.
    pub fn of(&self, what: What) -> u64 {
        self.done[what as usize].iter().sum()
    }

    pub fn total(&self) -> u64 {
        What::ALL.iter().map(|what| self.of(*what)).sum()
    }

    /// Fails if there is an operation, or a form of one, that was never done.
    pub fn check_complete(&self, forms_of: impl Fn(What) -> &'static [Form]) {
        for what in What::ALL {
            for form in forms_of(*what) {
                check!(
                    self.done[*what as usize][*form as usize] > 0,
                    "{what:?} was never done in the form {form:?}"
                );
            }
        }
    }

    /// A line for each operation, with columns for the forms.
    pub fn table(&self) -> String {
        let mut table = format!("{:28}", "");
        for form in Form::TEXTS {
            let _ = write!(table, "{form:>14}");
        }
        table.push_str("       in vain   interrupted\n");
        for what in What::ALL {
            let index = *what as usize;
            if self.of(*what) == 0 {
                continue;
            }
            let _ = write!(table, "{:28}", What::TEXTS[index]);
            for count in self.done[index] {
                match count {
                    0 => table.push_str(&" ".repeat(14)),
                    _ => drop(write!(table, "{count:>14}")),
                }
            }
            let (late, interrupted) = (self.late[index], self.interrupted[index]);
            if late + interrupted > 0 {
                let _ = write!(table, "{late:>14}{interrupted:>14}");
            }
            table.push('\n');
        }
        table
    }
}
