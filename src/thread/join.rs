//! Waiting for a thread, and the end of those that nobody waits for.
//!
//! A join waits until the kernel thread is gone, which is after its thread-locals and pthread keys
//! have been destroyed. Who joins first claims the kernel thread, waits for it and gives its stack
//! back, while others wait for that (`raw/claim.rs`).
//!
//! A thread that ends leaves itself to [`reap`], which joins those that nobody has joined, be it
//! that their handles are gone or that nobody cares: an ended thread keeps its stack only until the
//! next start or join of any thread.

use super::record::{Kind, Record};
use super::stacks::Stack;
use crate::error::Error;
use crate::primitive::thread_token;
use crate::raw::claim::{self, Claim, Ended, KernelThread, NotJoined};
use crate::raw::locked::Locked;
use crate::raw::park::{GaveUp, Limit};
use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use threadbare_sys::clock::Deadline;
use threadbare_sys::pthread::Pthread;

/// A kernel thread that was made and not yet waited for, and the stack that it runs on. Dropping it
/// leaks both, since the thread may run.
pub(crate) struct OsThread {
    thread: Pthread,
    stack: ManuallyDrop<Stack>,
}

impl OsThread {
    pub(super) fn new(thread: Pthread, stack: Stack) -> OsThread {
        OsThread {
            thread,
            stack: ManuallyDrop::new(stack),
        }
    }

    fn after(joined: Result<(), Pthread>, stack: ManuallyDrop<Stack>) -> Result<(), OsThread> {
        match joined {
            Ok(()) => {
                drop(ManuallyDrop::into_inner(stack));
                Ok(())
            }
            Err(thread) => Err(OsThread { thread, stack }),
        }
    }
}

impl KernelThread for OsThread {
    fn join_until(self, deadline: Deadline) -> Result<(), (OsThread, NotJoined)> {
        let OsThread { thread, stack } = self;
        OsThread::after(thread.join_until(deadline), stack).map_err(|thread| {
            let why = if deadline.has_passed() {
                NotJoined::TimedOut
            } else {
                NotJoined::Refused
            };
            (thread, why)
        })
    }

    fn try_join(self) -> Result<(), OsThread> {
        let OsThread { thread, stack } = self;
        OsThread::after(thread.try_join(), stack)
    }
}

impl Ended for Arc<Record> {
    type Thread = OsThread;

    fn claim(&self) -> &Claim<OsThread> {
        &self.os
    }

    fn is(&self, other: &Arc<Record>) -> bool {
        Arc::ptr_eq(self, other)
    }
}

/// Threads that have ended, oldest first, until it is seen that somebody has joined them.
static ENDED: Locked<VecDeque<Arc<Record>>> = Locked::new(VecDeque::new());

/// For a thread at its end.
pub(super) fn leave(record: Arc<Record>) {
    ENDED.with(|ended| ended.push_back(record));
}

/// See [`claim::reap`].
pub(super) fn reap() {
    claim::reap(&ENDED);
}

/// The threads that have ended and have not been seen to be joined.
pub(super) fn ended() -> Vec<Arc<Record>> {
    ENDED.with(|ended| ended.iter().cloned().collect())
}

/// Keeps the ended threads as they are.
pub(super) fn hold() {
    ENDED.hold();
}

/// Undoes [`hold`].
///
/// # Safety
/// The caller has called it, in this process or, before a fork, in its parent.
pub(super) unsafe fn let_go() {
    // SAFETY: as the caller promises.
    unsafe { ENDED.let_go() };
}

/// In the child of a fork: forgets the parent's ended threads, which are not the child's to join.
///
/// # Safety
/// The caller has called [`hold`].
pub(super) unsafe fn forget_all() {
    // SAFETY: held.
    let ended = unsafe { ENDED.held() };
    std::mem::forget(std::mem::take(ended));
}

impl Record {
    /// Refuses joins that cannot be (THR-16, DUM-3).
    pub(super) fn check_joinable(&self) -> Result<(), Error> {
        if !self.lifecycle.is_started() {
            return Err(Error::NotStarted);
        }
        if self.token == thread_token() {
            return Err(Error::JoinSelf);
        }
        if self.with(|state| state.kind) == Kind::Dummy {
            return Err(Error::JoinDummy);
        }
        Ok(())
    }

    /// Whether somebody has waited for the kernel thread, which is gone.
    pub(super) fn is_joined(&self) -> bool {
        self.lifecycle.is_ended() && self.os.is_joined()
    }

    /// Waits until the thread is gone, within `limit`.
    pub(super) fn join(&self, limit: Limit) -> Result<(), GaveUp> {
        if self.is_vanished() {
            return Ok(());
        }
        let ended = self.lifecycle.ended();
        if !self.is_ours_to_join() {
            return ended.wait(limit);
        }
        self.os.join(ended, limit)?;
        reap();
        Ok(())
    }
}
