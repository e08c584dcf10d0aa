//! Models of a thread's start and end (THR).

use crate::model::{Data, Doomed, check, check_spurious};
use threadbare::raw::lifecycle::RawLifecycle;
use threadbare::raw::park::Limit;

struct Started {
    lifecycle: RawLifecycle,
    /// Written by who starts the thread, before it says that there is one.
    plan: Data,
    /// Written by the thread.
    work: Data,
}

impl Started {
    /// As it is when the kernel thread has been made: it may run, and its starter has not yet said
    /// that it was made.
    fn new() -> Started {
        let started = Started {
            lifecycle: RawLifecycle::new(),
            plan: Data::new(),
            work: Data::new(),
        };
        assert!(started.lifecycle.is_new());
        started.lifecycle.begin();
        started
    }

    /// What the starter does last.
    fn succeed(&self) {
        self.lifecycle.started();
    }

    /// What the thread does.
    fn run(&self) {
        self.lifecycle.started();
        self.lifecycle.runs_as(7);
        self.work.add(1);
        self.lifecycle.end();
    }
}

#[test]
fn thr_18_who_sees_a_thread_started_sees_what_its_starter_wrote() {
    check(
        3,
        Started::new,
        [
            |started: &Started| {
                started.plan.add(1);
                started.succeed();
            },
            |started| {
                if started.lifecycle.is_started() {
                    assert_eq!(started.plan.get(), 1);
                }
            },
        ],
        |_, _| {},
    );
}

#[test]
fn thr_10_who_sees_a_thread_started_learns_its_kernel_id() {
    check_spurious(
        3,
        Started::new,
        [Started::succeed, Started::run, |started: &Started| {
            if started.lifecycle.is_started() {
                assert_eq!(started.lifecycle.native_id(), 7);
            }
        }],
        |started, _| {
            assert!(started.lifecycle.is_started() && started.lifecycle.is_ended());
            assert_eq!(started.lifecycle.told_native_id(), Some(7));
        },
    );
}

#[test]
fn mem_3_who_waits_for_the_end_or_sees_it_sees_what_the_thread_did() {
    check_spurious(
        3,
        Started::new,
        [
            Started::run,
            |started: &Started| {
                started.lifecycle.ended().wait(Limit::NONE).unwrap();
                assert_eq!(started.work.get(), 1);
            },
            |started: &Started| {
                if started.lifecycle.is_ended() {
                    assert_eq!(started.work.get(), 1);
                }
            },
        ],
        |_, _| {},
    );
}

#[test]
fn thr_14_who_waited_for_the_end_may_free_the_record() {
    check(
        3,
        || Doomed::new(Started::new()),
        [
            |started: &Doomed<Started>| started.run(),
            |started| {
                started.lifecycle.ended().wait(Limit::NONE).unwrap();
                started.destroy();
            },
        ],
        |_, _| {},
    );
}
