//! Waiting for a thread, and the end of those that nobody waits for.
//!
//! A join waits until the kernel thread is gone, which is after its thread-locals and pthread keys
//! have been destroyed. Who joins first takes the kernel thread under the lock `Record::os`, waits
//! for it and gives its stack back; who comes meanwhile waits for that lock. A joiner without
//! deadline goes straight there. One with a deadline first waits for the end that the thread marks
//! itself, which it can do beside others, and takes the lock for the short rest only.
//!
//! A thread that ends leaves itself to [`reap`], which joins those that nobody has joined, be it
//! that their handles are gone or that nobody cares: an ended thread keeps its stack only until the
//! next start or join of any thread.

use super::record::{Kind, Record};
use super::stacks::Stack;
use crate::error::Error;
use crate::locked::Locked;
use crate::primitive::{thread_token, yield_now};
use crate::raw::park::{GaveUp, Limit};
use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use threadbare_sys::clock::Deadline;
use threadbare_sys::pthread::Pthread;

/// A kernel thread that was made and not yet waited for, and the stack that it runs on. Dropping it
/// leaks both, since the thread may run.
pub(super) struct OsThread {
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

    /// Waits until the thread is gone and gives its stack back.
    ///
    /// # Errors
    /// The thread, if the deadline has come first or libc refuses to wait for it.
    fn join_until(self, deadline: Deadline) -> Result<(), OsThread> {
        let OsThread { thread, stack } = self;
        OsThread::after(thread.join_until(deadline), stack)
    }

    /// As [`join_until`](OsThread::join_until), without waiting.
    fn try_join(self) -> Result<(), OsThread> {
        let OsThread { thread, stack } = self;
        OsThread::after(thread.try_join(), stack)
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

/// Threads that have ended, oldest first, until it is seen that somebody has joined them.
static ENDED: Locked<VecDeque<Arc<Record>>> = Locked::new(VecDeque::new());

/// For a thread at its end.
pub(super) fn leave(record: Arc<Record>) {
    ENDED.with(|ended| ended.push_back(record));
}

/// Joins those of the ended threads whose kernel threads are gone and gives their stacks back.
/// Stops at the first that still has something to do, so it takes no longer than what it ends.
///
/// They stay among the ended ones meanwhile, so that the end of the program finds them there.
pub(super) fn reap() {
    while let Some(record) = ENDED.with(|ended| ended.front().cloned()) {
        let joined = record
            .os
            .try_with(|os| match os.take().map(OsThread::try_join) {
                None | Some(Ok(())) => true,
                Some(Err(thread)) => {
                    *os = Some(thread);
                    false
                }
            });
        // `None`: somebody starts it, still, or joins it.
        let is_joined = joined == Some(true);
        let taken = ENDED.with(|ended| {
            // At the front, unless others do the same at this moment.
            let place = ended.iter().position(|other| Arc::ptr_eq(other, &record))?;
            let taken = ended.remove(place)?;
            if is_joined {
                return Some(taken); // dropped outside the lock
            }
            // To the back: one that takes its time must not keep the others waiting.
            ended.push_back(taken);
            None
        });
        drop(taken);
        if !is_joined {
            return;
        }
    }
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
        self.lifecycle.is_ended() && self.os.try_with(|os| os.is_none()) == Some(true)
    }

    /// Waits until the thread is gone, within `limit`.
    pub(super) fn join(&self, limit: Limit) -> Result<(), GaveUp> {
        if self.is_vanished() {
            return Ok(());
        }
        let is_ours = self.is_ours_to_join();
        if limit.interruptible || !limit.deadline.is_never() || !is_ours {
            self.lifecycle.ended().wait(limit)?;
        }
        if !is_ours {
            return Ok(());
        }
        loop {
            let joined = self.os.with_within(limit, |os| match os.take() {
                None => true, // joined before
                Some(thread) => {
                    *os = thread.join_until(limit.deadline).err();
                    os.is_none()
                }
            })?;
            if joined {
                reap();
                return Ok(());
            }
            if limit.deadline.has_passed() {
                return Err(GaveUp::TimedOut);
            }
            // libc may refuse to let two threads wait for each other. Ours just wait, as asked.
            self.lifecycle.ended().wait(limit)?;
            yield_now();
        }
    }
}
