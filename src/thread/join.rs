//! Waiting for a thread, and the end of those that nobody waits for.
//!
//! A join waits until the kernel thread is gone, which is after its thread-locals and pthread keys
//! have been destroyed. Who joins first takes the kernel thread under the lock `Inner::os`, waits
//! for it and gives its stack back; who comes meanwhile waits for that lock. A joiner without
//! deadline goes straight there. One with a deadline first waits for the end that the thread marks
//! itself, which it can do beside others, and takes the lock for the short rest only.
//!
//! A thread that nobody has joined when its last handle goes is left to [`reap`].

use super::Inner;
use super::stacks::Stack;
use crate::error::Error;
use crate::locked::Locked;
use crate::primitive::thread_token;
use crate::raw::park::{GaveUp, Limit};
use std::collections::VecDeque;
use threadbare_sys::pthread::Pthread;

/// A kernel thread that was made and not yet waited for, and the stack that it runs on.
pub(super) struct OsThread {
    pub(super) thread: Pthread,
    /// Given back after the join, when the fields of a joined `OsThread` are dropped.
    pub(super) stack: Stack,
}

/// Kernel threads that ended, or will, with nobody to wait for them.
static UNJOINED: Locked<VecDeque<OsThread>> = Locked::new(VecDeque::new());

impl Inner {
    /// Refuses joins that cannot be (THR-16).
    pub(super) fn check_joinable(&self) -> Result<(), Error> {
        if !self.lifecycle.is_started() {
            return Err(Error::NotStarted);
        }
        if self.token() == thread_token() {
            return Err(Error::JoinSelf);
        }
        Ok(())
    }

    /// Waits until the thread is gone, within `limit`.
    pub(super) fn join(&self, limit: Limit) -> Result<(), GaveUp> {
        if limit.interruptible || !limit.deadline.is_never() {
            self.lifecycle.ended().wait(limit)?;
        }
        while let Err(gave_up) = self.os.with_within(limit, |os| join_once(os, limit))? {
            if !limit.deadline.is_never() {
                return Err(gave_up);
            }
            // libc does not let two threads wait for each other. Python's just wait, as asked.
            self.lifecycle.ended().wait(limit)?;
        }
        Ok(())
    }
}

/// Waits for the kernel thread, if nobody has, until the limit's deadline.
fn join_once(os: &mut Option<OsThread>, limit: Limit) -> Result<(), GaveUp> {
    let Some(OsThread { thread, stack }) = os.take() else {
        return Ok(());
    };
    match thread.join_until(limit.deadline) {
        Ok(()) => {
            drop(stack);
            Ok(())
        }
        Err(thread) => {
            *os = Some(OsThread { thread, stack });
            Err(GaveUp::TimedOut)
        }
    }
}

/// When the last handle goes, which may be the thread's own, at its end.
impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(unjoined) = self.os.get_mut().take() {
            reap();
            UNJOINED.with(|threads| threads.push_back(unjoined));
        }
    }
}

/// Joins those of the threads without handles that are gone, oldest first, and gives their stacks
/// back. Stops at the first that still runs. Called at each start and whenever such a thread is
/// added, so their number stays bounded by those that run.
pub(super) fn reap() {
    while let Some(OsThread { thread, stack }) = UNJOINED.with(VecDeque::pop_front) {
        match thread.try_join() {
            Ok(()) => drop(stack),
            Err(thread) => {
                // To the back: one that takes its time must not keep the others waiting.
                UNJOINED.with(|threads| threads.push_back(OsThread { thread, stack }));
                return;
            }
        }
    }
}
