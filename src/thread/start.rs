//! From `start` to the first line of what a thread runs, and from its last line to its end.
//!
//! The starting thread takes a stack, puts what the new thread needs into a packet on it, and makes
//! the new thread; it waits for nothing else. Everything it holds is owned by a value until it has
//! been handed over, so a refusal at any step leaves nothing behind (THR-9).
//!
//! Order at the end (THR-14): the target returns or panics; the panic is reported; thread-locals
//! are destroyed; the end is marked and joiners go on to wait for the kernel thread itself.

use super::join::OsThread;
use super::name::Quoted;
use super::overflow;
use super::stacks::Stack;
use super::{Inner, Target, current};
use crate::error::{Error, OsError};
use std::any::Any;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use threadbare_sys::Errno;
use threadbare_sys::pthread;
use threadbare_sys::stack::Region;

/// What a new thread is given.
struct Packet {
    inner: Arc<Inner>,
    target: Option<Target>,
    region: Region,
}

impl Inner {
    /// Starts the thread.
    pub(super) fn start(self: &Arc<Self>) -> Result<(), Error> {
        let target = self.target.with(|target| {
            let begun = self.lifecycle.begin();
            begun.then(|| target.take()).ok_or(Error::AlreadyStarted)
        })?;
        super::join::reap();
        overflow::prepare();
        // Joiners wait for this lock, so they find the thread once it is known.
        let launched = self.os.with(|os| {
            let thread = launch(self.clone(), target)?;
            *os = Some(thread);
            Ok(())
        });
        match launched {
            Ok(()) => {
                self.lifecycle.started();
                Ok(())
            }
            Err((errno, target)) => {
                self.target.with(|place| {
                    *place = target;
                    self.lifecycle.failed();
                });
                Err(Error::Start(OsError(errno)))
            }
        }
    }
}

/// Makes the kernel thread. On refusal the target comes back.
fn launch(inner: Arc<Inner>, target: Option<Target>) -> Result<OsThread, (Errno, Option<Target>)> {
    let stack = match Stack::take(inner.usable_stack()) {
        Ok(stack) => stack,
        Err(errno) => return Err((errno, target)),
    };
    let region = stack.region();
    let packet = Packet {
        inner,
        target,
        region,
    };
    // SAFETY: `OsThread` keeps the stack, whose guards are installed, until it has been joined.
    match unsafe { pthread::start(&region, packet, run) } {
        Ok(thread) => Ok(OsThread::new(thread, stack)),
        Err((errno, packet)) => Err((errno, packet.target)),
    }
}

/// What the new thread does. It does not unwind: whatever panics is caught.
fn run(packet: Packet) {
    let Packet {
        inner,
        target,
        region,
    } = packet;
    current::become_thread(&inner);
    inner.lifecycle.started();
    inner.lifecycle.runs_as(threadbare_sys::tid::gettid());
    // SAFETY: this thread runs on the region until it ends.
    unsafe { overflow::arm(&region) };
    let Some(target) = target else {
        return;
    };
    if let Err(payload) = catch_unwind(AssertUnwindSafe(target)) {
        report(&inner, payload);
    }
}

/// Says which thread the panic ended. What it was and where, std's panic hook has said.
#[cold]
fn report(inner: &Inner, payload: Box<dyn Any + Send>) {
    let name = inner.name.with(|name| Quoted(name).to_string());
    let line = format!("thread {name} was ended by the panic above\n");
    // Without a stderr there is nobody to tell.
    let _ = std::io::stderr().write_all(line.as_bytes());
    // A payload may panic when dropped, and so may what that panics with.
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(another);
    }
}
