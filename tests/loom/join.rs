//! Models of the join: of the hand-over of a kernel thread from who starts it to who joins or reaps
//! it (THR-15, MEM-3).

use crate::model::{Data, INTERRUPTIBLE, SOON, check, check_limited};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use threadbare::primitive::Deadline;
use threadbare::raw::claim::{Claim, Ended, KernelThread, NotJoined, reap};
use threadbare::raw::event::RawEvent;
use threadbare::raw::lifecycle::RawLifecycle;
use threadbare::raw::locked::Locked;
use threadbare::raw::park::{GaveUp, Limit};

/// What stands for a kernel thread and its stack.
pub struct Kernel {
    /// It has been made.
    pub made: RawEvent,
    /// The kernel thread's very last step.
    pub gone: RawEvent,
    /// Touched by the thread as long as there is one, and by who gives it back.
    stack: Data,
    /// How often libc will refuse to wait for it. Not loom's, as the next: they must not order
    /// memory.
    refusals: AtomicU32,
    /// How often it was joined, and its stack given back.
    pub joins: AtomicU32,
}

pub struct Handle(Arc<Kernel>);

impl Handle {
    fn give_back(&self) {
        self.0.stack.add(1);
        self.0.joins.fetch_add(1, Relaxed);
    }
}

impl KernelThread for Handle {
    fn join_until(self, deadline: Deadline) -> Result<(), (Handle, NotJoined)> {
        if self.0.refusals.load(Relaxed) > 0 {
            self.0.refusals.fetch_sub(1, Relaxed);
            return Err((self, NotJoined::Refused));
        }
        match self.0.gone.wait(Limit::until(deadline)) {
            Ok(()) => {
                self.give_back();
                Ok(())
            }
            Err(_) => Err((self, NotJoined::TimedOut)),
        }
    }

    fn try_join(self) -> Result<(), Handle> {
        if self.0.gone.is_set() {
            self.give_back();
            return Ok(());
        }
        Err(self)
    }
}

/// A thread's record, with what of the kernel's it stands for.
pub struct Record {
    pub lifecycle: RawLifecycle,
    pub claim: Claim<Handle>,
    pub kernel: Arc<Kernel>,
    /// Written by the thread.
    pub work: Data,
}

impl Record {
    pub fn new() -> Record {
        let kernel = Kernel {
            made: RawEvent::new(),
            gone: RawEvent::new(),
            stack: Data::new(),
            refusals: AtomicU32::new(0),
            joins: AtomicU32::new(0),
        };
        Record {
            lifecycle: RawLifecycle::new(),
            claim: Claim::new(),
            kernel: Arc::new(kernel),
            work: Data::new(),
        }
    }

    /// What the starter does.
    pub fn start(&self) {
        self.lifecycle.begin();
        let made: Result<(), ()> = self.claim.begin(|| {
            self.kernel.made.set();
            Ok(Handle(self.kernel.clone()))
        });
        made.unwrap();
        self.lifecycle.started();
    }

    /// What the thread does.
    fn run(&self) {
        self.kernel.made.wait(Limit::NONE).unwrap();
        self.lifecycle.started();
        self.work.add(1);
        self.end();
    }

    /// What it does last.
    pub fn end(&self) {
        self.lifecycle.end();
        self.kernel.stack.add(1);
        self.kernel.gone.set();
    }

    pub fn join(&self, limit: Limit) -> Result<(), GaveUp> {
        self.claim.join(self.lifecycle.ended(), limit)?;
        self.see_it_gone();
        Ok(())
    }

    /// It is gone, and all that it did is visible, its stack given back.
    pub fn see_it_gone(&self) {
        assert_eq!(self.work.get(), 1);
        assert_eq!(self.kernel.stack.get(), 2);
    }

    /// Once all threads have ended: it is joined, if not before, and that was done once.
    fn is_settled(&self) -> bool {
        self.join(Limit::NONE).unwrap();
        self.claim.is_joined() && self.kernel.joins.load(Relaxed) == 1
    }
}

fn started() -> Record {
    let record = Record::new();
    record.start();
    record
}

fn runs(record: &Record) -> Result<(), GaveUp> {
    record.run();
    Ok(())
}

#[test]
fn thr_15_each_of_two_joiners_returns_when_the_thread_is_gone() {
    let join: fn(&Record) -> _ = |record| record.join(Limit::NONE);
    check(3, started, [runs, join, join], |record, results| {
        assert_eq!(results, [Ok(()); 3]);
        assert!(record.is_settled());
    });
}

#[test]
fn thr_15_a_joiner_that_times_out_leaves_the_thread_to_the_other() {
    check_limited(
        3,
        started,
        [
            runs,
            |record| record.join(SOON),
            |record| record.join(Limit::NONE),
        ],
        |record, [_, timed, untimed]| {
            assert_ne!(timed, Err(GaveUp::Interrupted));
            assert_eq!(untimed, Ok(()));
            assert!(record.is_settled());
        },
    );
}

#[test]
fn thr_15_two_joiners_that_give_up_leave_it_joinable() {
    check_limited(
        3,
        started,
        [
            runs,
            |record| record.join(SOON),
            |record| record.join(INTERRUPTIBLE),
        ],
        |record, [_, timed, interrupted]| {
            assert_ne!(timed, Err(GaveUp::Interrupted));
            assert_ne!(interrupted, Err(GaveUp::TimedOut));
            assert!(record.is_settled());
        },
    );
}

#[test]
fn thr_18_who_sees_a_thread_started_can_join_it_before_its_starter_has_it() {
    check(
        3,
        Record::new,
        [Record::start, Record::run, |record: &Record| {
            if record.lifecycle.is_started() {
                record.join(Limit::NONE).unwrap();
            }
        }],
        |record, _| assert!(record.is_settled()),
    );
}

#[test]
fn thr_16_a_joiner_whom_libc_refuses_waits_all_the_same() {
    fn refused() -> Record {
        let record = started();
        record.kernel.refusals.store(1, Relaxed);
        record
    }
    let join: fn(&Record) -> _ = |record| record.join(Limit::NONE);
    check(3, refused, [runs, join, join], |record, results| {
        assert_eq!(results, [Ok(()); 3]);
        assert!(record.is_settled());
    });
}

/// A record and the list of those that have ended.
struct Left {
    record: Arc<Record>,
    ended: Locked<VecDeque<Listed>>,
}

#[derive(Clone)]
pub struct Listed(pub Arc<Record>);

impl Ended for Listed {
    type Thread = Handle;

    fn claim(&self) -> &Claim<Handle> {
        &self.0.claim
    }

    fn is(&self, other: &Listed) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Left {
    fn new() -> Left {
        Left {
            record: Arc::new(started()),
            ended: Locked::new(VecDeque::new()),
        }
    }

    /// What the thread does: it leaves itself.
    fn run(&self) {
        self.record.work.add(1);
        let left = Listed(self.record.clone());
        self.ended.with(|ended| ended.push_back(left));
        self.record.end();
    }

    /// What any start or join does.
    fn reap(&self) {
        reap(&self.ended);
        // Nobody has given anything up but a thread that was joined.
        if self.record.lifecycle.is_ended() && self.ended.with(|ended| ended.is_empty()) {
            self.record.see_it_gone();
        }
    }

    /// Once all threads have ended.
    fn is_settled(&self) -> bool {
        self.reap();
        self.ended.with(|ended| ended.is_empty()) && self.record.kernel.joins.load(Relaxed) == 1
    }
}

#[test]
fn thr_a_thread_that_nobody_joins_is_reaped_once() {
    check(
        3,
        Left::new,
        [Left::run, Left::reap, Left::reap],
        |left, _| {
            assert!(left.is_settled());
        },
    );
}

#[test]
fn thr_15_of_a_reaper_and_a_joiner_one_joins() {
    check_limited(
        3,
        Left::new,
        [Left::run, Left::reap, |left| {
            // With a limit or without: who gives up leaves it to the reaper.
            if left.record.join(SOON).is_err() {
                left.record.join(Limit::NONE).unwrap();
            }
        }],
        |left, _| assert!(left.is_settled()),
    );
}
