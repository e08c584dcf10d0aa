//! `Condition` on a lock that proves who owns it (COND).
//!
//! All that counts happens under the lock, so the oracle needs no search: it is a queue that is
//! changed beside the real one.

use super::play::{Alone, Patience, RESCUER, Stage, Waiting, play};
use arbitrary::{Arbitrary, Unstructured};
use std::collections::{HashSet, VecDeque};
use std::sync::Mutex;
use threadbare::raw::asymmetry;
use threadbare::raw::condition::RawCondition;
use threadbare::raw::rlock::RawRLock;

/// Plays a program on a condition.
pub fn condition(input: &[u8]) {
    play::<Monitor>(input);
}

/// What a thread does in a section of the lock.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Operation {
    /// Notifies so many, then ends the section.
    Notify(u8),
    /// Waits, be it with the lock taken twice.
    Wait { patience: Patience, is_nested: bool },
    /// Both: who is notified is woken by a wait.
    NotifyAndWait(u8, Patience),
    /// Tries to take the lock, no more.
    Enter(Patience),
}

/// Who waits, in the order in which they came, and who was notified and has not returned.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<usize>,
    notified: HashSet<usize>,
}

struct Monitor {
    lock: RawRLock,
    condition: RawCondition,
    queue: Mutex<Queue>,
    /// Who is asleep, or about to be, in a wait; not who wants the lock.
    asleep: Waiting<()>,
    /// Whether the rescuer notifies one or all.
    wakes_one: bool,
}

impl Monitor {
    /// Whether it got the lock.
    fn acquire(&self, patience: Patience) -> bool {
        let taken = self.lock.try_acquire().expect("nobody holds it so often");
        taken || patience.judge(self.lock.acquire_contended(patience.limit()))
    }

    fn release(&self) {
        self.lock.release().expect("it is the caller's");
    }

    /// For the owner of the lock.
    fn notify(&self, n: usize) {
        // SAFETY: the lock is the caller's, and the only one that the condition is used with.
        let notified = unsafe { self.condition.notify_owned(&self.lock, n) };
        let mut queue = self.queue.lock().unwrap();
        let expected = n.min(queue.waiting.len());
        assert_eq!(notified, expected, "of {queue:?}");
        let first: Vec<_> = queue.waiting.drain(..expected).collect();
        queue.notified.extend(first);
    }

    /// For the owner of the lock.
    fn wait(&self, thread: usize, patience: Patience) {
        let depth = self.lock.depth();
        self.queue.lock().unwrap().waiting.push_back(thread);
        let ended = self.asleep.during(thread, (), || {
            // SAFETY: as in `notify`.
            unsafe { self.condition.wait_owned(&self.lock, patience.limit()) }
        });
        assert_eq!(self.lock.depth(), depth);
        let was_notified = patience.judge(ended);
        let mut queue = self.queue.lock().unwrap();
        let is_notified = queue.notified.remove(&thread);
        assert_eq!(was_notified, is_notified, "{thread}, with {queue:?}");
        queue.waiting.retain(|other| *other != thread);
    }
}

impl Stage for Monitor {
    type Operation = Operation;

    fn new(source: &mut Unstructured) -> arbitrary::Result<Monitor> {
        asymmetry::prepare(); // releases may be plain stores
        Ok(Monitor {
            lock: RawRLock::new(),
            condition: RawCondition::new(),
            queue: Mutex::default(),
            asleep: Waiting::new(),
            wakes_one: source.arbitrary()?,
        })
    }

    fn perform(&self, thread: usize, operation: &Operation) {
        let patience = match *operation {
            Operation::Enter(patience) => patience,
            _ => Patience::Endless,
        };
        if !self.acquire(patience) {
            return;
        }
        match *operation {
            Operation::Notify(n) => self.notify(usize::from(n % 4)),
            Operation::Wait {
                patience,
                is_nested,
            } => {
                if is_nested {
                    assert!(self.acquire(Patience::Endless));
                }
                self.wait(thread, patience);
                if is_nested {
                    self.release();
                }
            }
            Operation::NotifyAndWait(n, patience) => {
                self.notify(usize::from(n % 4));
                self.wait(thread, patience);
            }
            Operation::Enter(_) => {}
        }
        self.release();
    }

    fn rescue(&self, _: &Alone) {
        let queue = self.queue.lock().unwrap();
        assert_eq!(queue.notified, HashSet::new(), "who was notified sleeps on");
        let mut waiting: Vec<_> = queue.waiting.iter().copied().collect();
        drop(queue);
        waiting.sort_unstable();
        let asleep: Vec<_> = self.asleep.all().into_keys().collect();
        assert_eq!(asleep, waiting);
        assert!(!asleep.is_empty(), "who sleeps waits to be notified");
        assert!(!self.lock.is_locked());
        self.perform(
            RESCUER,
            &Operation::Notify(if self.wakes_one { 1 } else { 3 }),
        );
    }

    fn finish(&self) {
        assert!(self.acquire(Patience::Endless));
        // SAFETY: as in `notify`.
        assert_eq!(unsafe { self.condition.waiting_owned() }, 0);
        self.release();
        assert!(!self.lock.is_locked() && !self.lock.has_waiters());
    }
}
