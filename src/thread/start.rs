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

use super::join::OsThread;
use super::record::{Plan, Record};
use super::stacks::Stack;
use super::{current, exit, hooks, local, overflow};
use crate::error::{Error, OsError};
use crate::observe::{self, TraceEvent};
use std::sync::Arc;
use threadbare_sys::Errno;
use threadbare_sys::pthread;
use threadbare_sys::stack::Region;

/// What a new thread is given.
struct Packet {
    record: Arc<Record>,
    plan: Plan,
    region: Region,
}

impl Record {
    /// Starts the thread.
    pub(super) fn start(self: &Arc<Self>) -> Result<(), Error> {
        let (plan, daemon) = self.begin()?;
        match self.launch_listed(plan, daemon) {
            Ok(()) => {
                self.lifecycle.started();
                Ok(())
            }
            Err((errno, plan)) => {
                let listed = self.with_list(|list, state| {
                    state.plan = plan;
                    self.lifecycle.failed();
                    list.remove(self, state)
                });
                drop(listed);
                Err(Error::Start(OsError(errno)))
            }
        }
    }

    /// Makes the caller the one that starts the thread, lists it, and returns what it is to run
    /// and whether it is a daemon, which can be changed no more.
    fn begin(self: &Arc<Self>) -> Result<(Plan, bool), Error> {
        self.with_list(|list, state| {
            if !self.lifecycle.is_new() {
                return Err(Error::AlreadyStarted);
            }
            if matches!(state.plan, Plan::Used) {
                return Err(Error::TargetUsed);
            }
            self.lifecycle.begin();
            self.starts_here();
            list.insert(self, state);
            Ok((std::mem::replace(&mut state.plan, Plan::Used), state.daemon))
        })
    }

    /// Makes the kernel thread for the plan, which comes back on refusal.
    fn launch_listed(self: &Arc<Self>, plan: Plan, daemon: bool) -> Result<(), (Errno, Plan)> {
        if !daemon && !exit::is_armed() {
            return Err((Errno::NOMEM, plan));
        }
        super::join::reap();
        overflow::prepare();
        // Joiners wait for this lock, so they find the thread once it is known.
        self.os.with(|os| {
            let thread = launch(self, plan)?;
            *os = Some(thread);
            Ok(())
        })
    }
}

/// Makes the kernel thread. On refusal the plan comes back.
fn launch(record: &Arc<Record>, plan: Plan) -> Result<OsThread, (Errno, Plan)> {
    let stack = match Stack::take(record.usable_stack()) {
        Ok(stack) => stack,
        Err(errno) => return Err((errno, plan)),
    };
    let region = stack.region();
    let packet = Packet {
        record: record.clone(),
        plan,
        region,
    };
    // SAFETY: `OsThread` keeps the stack, whose guards are installed, until it has been joined.
    match unsafe { pthread::start(&region, &record.settings, packet, run) } {
        Ok(thread) => Ok(OsThread::new(thread, stack)),
        Err((errno, packet)) => Err((errno, packet.plan)),
    }
}

/// What the new thread does. It does not unwind: whatever panics is caught.
fn run(packet: Packet) {
    let Packet {
        record,
        plan,
        region,
    } = packet;
    current::become_thread(&record);
    record.lifecycle.started();
    record.runs_as(threadbare_sys::tid::gettid());
    // SAFETY: this thread runs on the region until it ends.
    unsafe { overflow::arm(&region) };
    observe::begin(&record);
    if let Plan::Target(target) = plan {
        observe::emit(&TraceEvent::Call);
        let returned = hooks::contain(Some(record.clone()), target);
        observe::emit(if returned {
            &TraceEvent::Return
        } else {
            &TraceEvent::Exception
        });
    }
    if !record.is_ours_to_join() {
        // A fork made this the main thread, and the program ends with that.
        exit::leave(0);
    }
    record.with_list(|list, state| list.unlist(state));
    local::drain();
}
