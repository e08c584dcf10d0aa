//! Who waits for a kernel thread, and gives its stack back (THR-15).
//!
//! # State
//!
//! ```text
//!   EMPTY  --begin-->  THERE  --claimed; it is gone, its stack is given back-->  EMPTY
//!                        ^  '--claimed--> its deadline comes, or libc refuses --.
//!                        '-------------------------------------------------------'
//! ```
//! under one lock, which whoever has claimed the thread holds while it waits. Who comes meanwhile
//! waits for that lock, and finds EMPTY or claims the thread itself.
//!
//! # Invariants
//!
//! 1. The kernel thread is waited for by one thread at a time, and successfully once: that takes it
//!    out for good, and its stack along.
//! 2. `begin` makes the thread under the lock. So once there is one, whoever comes finds it, and
//!    EMPTY means that it is gone; before, nobody comes (a join asks first whether it was started).
//! 3. A joiner that gives up leaves it as it was.
//!
//! A joiner without limit goes straight to the lock. One with a limit first waits for the end that
//! the thread marks itself, which it can do beside others, and takes the lock for the short rest
//! only; so it keeps nobody from giving up in time.
//!
//! # Threads that nobody joins
//!
//! A thread that ends leaves itself in a list, from which [`reap`] joins those whose kernel threads
//! are gone, one attempt each. It stays in the list meanwhile, and leaves it once somebody is seen
//! to have joined it: who has looked through the list has missed none that is still to be joined.
//!
//! # Ordering
//!
//! The lock orders all who touch the thread (`raw/lock.rs`), the list has its own. What the thread
//! did is visible to who joined it by the join itself, and to all others by the lock (MEM-3).

use crate::primitive::{Deadline, const_unless_modelled, yield_now};
use crate::raw::event::RawEvent;
use crate::raw::locked::Locked;
use crate::raw::park::{GaveUp, Limit};
use std::collections::VecDeque;

/// A kernel thread that was made and not yet waited for. Dropping it leaks it.
pub trait KernelThread: Sized {
    /// Waits until the thread is gone, and gives its stack back.
    ///
    /// # Errors
    /// The thread, and why it is not joined.
    fn join_until(self, deadline: Deadline) -> Result<(), (Self, NotJoined)>;

    /// As [`join_until`](KernelThread::join_until), without waiting.
    ///
    /// # Errors
    /// The thread, if it is not gone.
    fn try_join(self) -> Result<(), Self>;
}

/// Why a kernel thread was not joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotJoined {
    /// The deadline came first.
    TimedOut,
    /// libc refuses to let two threads wait for each other.
    Refused,
}

/// A kernel thread, from the start to the join.
#[derive(Debug)]
pub struct Claim<K> {
    thread: Locked<Option<K>>,
}

impl<K: KernelThread> Claim<K> {
    const_unless_modelled! {
        /// Of a thread that is to be started.
        pub fn new() -> Claim<K> {
            Claim { thread: Locked::new(None) }
        }
    }

    /// Keeps the thread that `make` makes. Joiners wait meanwhile, so they find it once it is known.
    ///
    /// # Errors
    /// Those of `make`: there is no thread.
    pub fn begin<E>(&self, make: impl FnOnce() -> Result<K, E>) -> Result<(), E> {
        self.thread.with(|thread| {
            *thread = Some(make()?);
            Ok(())
        })
    }

    /// Of a thread that has ended: whether it is known to be joined.
    pub fn is_joined(&self) -> bool {
        self.thread.try_with(|thread| thread.is_none()) == Some(true)
    }

    /// Joins the thread if it is gone and nobody is about to; whether it is joined.
    pub fn try_join(&self) -> bool {
        let joined = self.thread.try_with(|thread| {
            let claimed = thread.take();
            *thread = claimed.and_then(|thread| thread.try_join().err());
            thread.is_none()
        });
        // `None`: somebody starts it, still, or joins it.
        joined == Some(true)
    }

    /// Waits until the thread is gone, within `limit`. `ended` is the end that it marks itself.
    pub fn join(&self, ended: &RawEvent, limit: Limit) -> Result<(), GaveUp> {
        if limit.interruptible || !limit.deadline.is_never() {
            ended.wait(limit)?;
        }
        let claim = |thread: &mut Option<K>| {
            let Some(claimed) = thread.take() else {
                return Ok(()); // joined before
            };
            claimed
                .join_until(limit.deadline)
                .map_err(|(claimed, why)| {
                    *thread = Some(claimed);
                    why
                })
        };
        loop {
            let joined = self.thread.with_within(limit, claim)?;
            match joined {
                Ok(()) => return Ok(()),
                Err(NotJoined::TimedOut) => return Err(GaveUp::TimedOut),
                Err(NotJoined::Refused) => {} // ours just wait, as asked
            }
            ended.wait(limit)?;
            yield_now();
        }
    }
}

/// A thread that has left itself to [`reap`].
pub trait Ended: Clone {
    /// Its kernel thread.
    type Thread: KernelThread;

    /// By which that is joined.
    fn claim(&self) -> &Claim<Self::Thread>;

    /// Whether it is the same as `other`.
    fn is(&self, other: &Self) -> bool;
}

/// Joins those of the ended threads whose kernel threads are gone and gives their stacks back.
/// Stops at the first that still has something to do, so it takes no longer than what it ends.
///
/// They stay among the ended ones meanwhile, so that the end of the program finds them there.
pub fn reap<E: Ended>(ended: &Locked<VecDeque<E>>) {
    while let Some(thread) = ended.with(|ended| ended.front().cloned()) {
        let is_joined = thread.claim().try_join();
        let taken = ended.with(|ended| {
            // At the front, unless others do the same at this moment.
            let place = ended.iter().position(|other| other.is(&thread))?;
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
