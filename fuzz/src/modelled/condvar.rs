//! `Condition` on a lock that is nobody's in particular, and `Condvar` (COND), against a queue.
//!
//! Waits come and go, and are notified, without the lock, so the oracle searches: a wait is two calls,
//! to come into the queue, before the lock is free, and to leave it.

use super::history::{History, Sequential};
use super::play::{Alone, Patience, RESCUER, Stage, Waiting, play};
use arbitrary::{Arbitrary, Unstructured};
use std::cell::Cell;
use std::collections::BTreeSet;
use threadbare::raw::condition::RawCondition;
use threadbare::raw::lock::RawLock;
use threadbare::raw::park::Limit;

/// Plays a program on a condition, used with two locks.
pub fn condvar(input: &[u8]) {
    play::<TwoLocks>(input);
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Operation {
    /// Without a lock.
    Notify(u8),
    /// With one of the locks.
    NotifyLocked(u8, bool),
    /// With one of the locks.
    Wait(Patience, bool),
    /// With a lock that cannot be freed.
    WaitInVain,
}

/// Who waits, in the order in which they came, and who was notified and has not left.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Queue {
    waiting: Vec<usize>,
    notified: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
enum Call {
    Come(usize),
    /// Whether it was notified.
    Leave(usize, bool),
    /// Hands on what it may have got: it notifies another if it was notified.
    LeaveInVain(usize),
    /// So many, and so many were.
    Notify(usize, usize),
}

impl Queue {
    fn notify(&mut self, n: usize) -> usize {
        let count = n.min(self.waiting.len());
        self.notified.extend(self.waiting.drain(..count));
        count
    }
}

impl Sequential for Queue {
    type Call = Call;

    fn accepts(&mut self, call: &Call) -> bool {
        match *call {
            Call::Come(thread) => self.waiting.push(thread),
            Call::Leave(thread, was_notified) => {
                self.waiting.retain(|other| *other != thread);
                return was_notified == self.notified.remove(&thread);
            }
            Call::LeaveInVain(thread) => {
                self.waiting.retain(|other| *other != thread);
                if self.notified.remove(&thread) {
                    self.notify(1);
                }
            }
            Call::Notify(n, notified) => return self.notify(n) == notified,
        }
        true
    }
}

struct TwoLocks {
    locks: [RawLock; 2],
    condition: RawCondition,
    history: History<Queue>,
    /// Who is asleep, or about to be, in a wait; not who wants a lock.
    asleep: Waiting<()>,
    wakes_one: bool,
}

impl TwoLocks {
    fn acquire(&self, which: bool) {
        let taken = self.locks[usize::from(which)].acquire(Limit::NONE);
        taken.expect("a wait without limit does not give up");
    }

    fn release(&self, which: bool) {
        self.locks[usize::from(which)]
            .release()
            .expect("it is held");
    }

    fn notify(&self, n: usize) {
        self.history
            .record(|| Call::Notify(n, self.condition.notify_shared(n)));
    }

    /// With one of the locks held.
    fn wait(&self, thread: usize, patience: Patience, which: bool) {
        let coming = self.history.begin();
        let leaving = Cell::new(None);
        let release = || {
            self.history.end(coming, Call::Come(thread));
            leaving.set(Some(self.history.begin()));
            self.release(which);
            Ok::<(), ()>(())
        };
        // Who has left takes the lock; how it has ended is known only after that.
        let ended = self.asleep.during(thread, (), || {
            let acquire = || self.acquire(which);
            self.condition
                .wait_shared(release, acquire, patience.limit())
        });
        let was_notified = patience.judge(ended.expect("the lock could be freed"));
        let leaving = leaving.get().expect("the lock was freed");
        self.history.end(leaving, Call::Leave(thread, was_notified));
    }

    fn wait_in_vain(&self, thread: usize) {
        let coming = self.history.begin();
        let leaving = Cell::new(None);
        let release = || {
            self.history.end(coming, Call::Come(thread));
            leaving.set(Some(self.history.begin()));
            Err(())
        };
        let acquire = || unreachable!("the lock was not freed");
        let ended = self.condition.wait_shared(release, acquire, Limit::NONE);
        assert_eq!(ended, Err(()));
        let leaving = leaving.get().expect("it was tried");
        self.history.end(leaving, Call::LeaveInVain(thread));
    }
}

impl Stage for TwoLocks {
    type Operation = Operation;

    fn new(source: &mut Unstructured) -> arbitrary::Result<TwoLocks> {
        let nobody = Queue {
            waiting: Vec::new(),
            notified: BTreeSet::new(),
        };
        Ok(TwoLocks {
            locks: [RawLock::new(), RawLock::new()],
            condition: RawCondition::new(),
            history: History::new(nobody),
            asleep: Waiting::new(),
            wakes_one: source.arbitrary()?,
        })
    }

    fn perform(&self, thread: usize, operation: &Operation) {
        match *operation {
            Operation::Notify(n) => self.notify(usize::from(n % 4)),
            Operation::NotifyLocked(n, which) => {
                self.acquire(which);
                self.notify(usize::from(n % 4));
                self.release(which);
            }
            Operation::Wait(patience, which) => {
                self.acquire(which);
                self.wait(thread, patience, which);
                self.release(which);
            }
            Operation::WaitInVain => self.wait_in_vain(thread),
        }
    }

    fn rescue(&self, _: &Alone) {
        let asleep: BTreeSet<usize> = self.asleep.all().into_keys().collect();
        self.history.cut(|queue| {
            let waiting: BTreeSet<usize> = queue.waiting.iter().copied().collect();
            queue.notified.is_empty() && waiting == asleep
        });
        assert_eq!(self.condition.waiting_shared(), asleep.len());
        assert!(!asleep.is_empty(), "who sleeps waits to be notified");
        assert!(self.locks.iter().all(|lock| !lock.is_locked()));
        self.perform(
            RESCUER,
            &Operation::Notify(if self.wakes_one { 1 } else { 3 }),
        );
    }

    fn finish(&self) {
        self.history
            .cut(|queue| queue.waiting.is_empty() && queue.notified.is_empty());
        assert_eq!(self.condition.waiting_shared(), 0);
    }
}
