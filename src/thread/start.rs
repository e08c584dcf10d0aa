//! From `start` to the first line of what a thread runs, and from its last line to its end.
//!
//! The starting thread takes a stack, puts what the new thread needs into a packet on it, and makes
//! the new thread; it waits for nothing else. Everything it holds is owned by a value until it has
//! been handed over, so a refusal at any step leaves nothing behind (THR-9).
//!
//! Order at the end (THR-14): the target returns or panics; a panic goes to the excepthook; the
//! thread is listed no more; its values in `Local`s are dropped; its thread-locals are destroyed, and
//! what those made in `Local`s; the end is marked, and joiners go on to wait for the kernel thread
//! itself.

use super::hooks::Payload;
use super::join::OsThread;
use super::record::{Plan, Record, State};
use super::stacks::Stack;
use super::{current, exit, hooks, local, overflow};
use crate::error::{Error, OsError};
use crate::observe::{self, TraceEvent};
use crate::raw::asymmetry;
use std::sync::Arc;
use threadbare_sys::Errno;
use threadbare_sys::pthread;
use threadbare_sys::stack::Region;

/// What a new thread is given.
struct Packet<J> {
    record: Arc<Record>,
    job: J,
    region: Region,
}

/// What a new thread has to do: to run the plan of its record, or what no record ever has.
pub(super) trait Job: Send + 'static {
    /// Does it, in the thread whose record this is, and contains what panics.
    fn run(self, record: &Arc<Record>);
}

impl Job for Plan {
    fn run(self, record: &Arc<Record>) {
        if let Plan::Target(target) = self {
            if let Err(Some(payload)) = run_target(record, target) {
                hooks::discard(payload);
            }
        }
    }
}

/// Runs what a thread is there for; what that returns, or panics with once the excepthook has been
/// told, or `None` if it was `exit`.
pub(super) fn run_target<T>(
    record: &Arc<Record>,
    target: impl FnOnce() -> T,
) -> Result<T, Option<Payload>> {
    observe::emit(&TraceEvent::Call);
    let ended = hooks::contained(record.clone(), target);
    observe::emit(match ended {
        Ok(_) => &TraceEvent::Return,
        Err(_) => &TraceEvent::Exception,
    });
    ended
}

impl Record {
    /// Starts the thread, to run the record's plan. On refusal the plan is back.
    pub(super) fn start(self: &Arc<Self>) -> Result<(), Error> {
        let (plan, daemon) = self.begin(|state| state.plan.take())?;
        self.launch_listed(plan, daemon).map_err(|(errno, plan)| {
            self.fail(|state| state.plan = plan);
            Error::Start(OsError(errno))
        })
    }

    /// Starts the thread, whose record has nothing to run, to do `job`. On refusal that is dropped.
    pub(super) fn start_for(self: &Arc<Self>, job: impl Job) -> Result<(), Error> {
        let ((), daemon) = self.begin(|_| Ok(()))?;
        self.launch_listed(job, daemon).map_err(|(errno, job)| {
            self.fail(|_| ());
            drop(job);
            Error::Start(OsError(errno))
        })
    }

    /// Makes the caller the one that starts the thread, and lists it. Returns what `take` takes from
    /// the state, and whether the thread is a daemon, which can be changed no more.
    fn begin<R>(
        self: &Arc<Self>,
        take: impl FnOnce(&mut State) -> Result<R, Error>,
    ) -> Result<(R, bool), Error> {
        self.with_list(|list, state| {
            if !self.lifecycle.is_new() {
                return Err(Error::AlreadyStarted);
            }
            let taken = take(state)?;
            self.lifecycle.begin();
            self.starts_here();
            list.insert(self, state);
            Ok((taken, state.daemon))
        })
    }

    /// Undoes [`begin`](Record::begin).
    fn fail(self: &Arc<Self>, give_back: impl FnOnce(&mut State)) {
        let listed = self.with_list(|list, state| {
            give_back(state);
            self.lifecycle.failed();
            list.remove(self, state)
        });
        drop(listed);
    }

    /// Makes the kernel thread for the job, which comes back on refusal.
    fn launch_listed<J: Job>(self: &Arc<Self>, job: J, daemon: bool) -> Result<(), (Errno, J)> {
        if !daemon && !exit::is_armed() {
            return Err((Errno::NOMEM, job));
        }
        super::join::reap();
        overflow::prepare();
        asymmetry::prepare();
        self.os.begin(|| launch(self, job))?;
        self.lifecycle.started();
        Ok(())
    }
}

/// Makes the kernel thread. On refusal the job comes back.
fn launch<J: Job>(record: &Arc<Record>, job: J) -> Result<OsThread, (Errno, J)> {
    let stack = match Stack::take(record.usable_stack()) {
        Ok(stack) => stack,
        Err(errno) => return Err((errno, job)),
    };
    let region = stack.region();
    let packet = Packet {
        record: record.clone(),
        job,
        region,
    };
    // SAFETY: `OsThread` keeps the stack, whose guards are installed, until it has been joined.
    match unsafe { pthread::start(&region, &record.settings, packet, run) } {
        Ok(thread) => Ok(OsThread::new(thread, stack)),
        Err((errno, packet)) => Err((errno, packet.job)),
    }
}

/// What the new thread does. It does not unwind: whatever panics is caught.
fn run<J: Job>(packet: Packet<J>) {
    let Packet {
        record,
        job,
        region,
    } = packet;
    current::become_thread(&record);
    record.lifecycle.started();
    record.runs_as(threadbare_sys::tid::gettid());
    // SAFETY: this thread runs on the region until it ends.
    unsafe { overflow::arm(&region) };
    observe::begin(&record);
    job.run(&record);
    if !record.is_ours_to_join() {
        // A fork made this the main thread, and the program ends with that.
        exit::leave(0);
    }
    record.with_list(|list, state| list.unlist(state));
    local::drain();
}
