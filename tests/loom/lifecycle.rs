//! Models of a thread's start and end (THR).

use crate::model::{Data, Doomed, check, check_spurious};
use std::sync::atomic::Ordering::Relaxed;
use threadbare::primitive::AtomicU32;
use threadbare::raw::lifecycle::RawLifecycle;
use threadbare::raw::locked::Locked;
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

#[test]
fn thr_9_a_start_that_fails_leaves_the_thread_to_the_next() {
    struct Planned {
        lifecycle: RawLifecycle,
        /// Under the lock of the record.
        plan: Locked<Data>,
        starts: AtomicU32,
    }
    impl Planned {
        /// Whether the caller is to start it.
        fn begin(&self) -> bool {
            self.plan.with(|plan| {
                let is_new = self.lifecycle.is_new();
                if is_new {
                    self.lifecycle.begin();
                    plan.add(1);
                }
                is_new
            })
        }
    }
    check(
        3,
        || Planned {
            lifecycle: RawLifecycle::new(),
            plan: Locked::new(Data::new()),
            starts: AtomicU32::new(0),
        },
        [
            |planned: &Planned| {
                if planned.begin() {
                    planned.plan.with(|_| planned.lifecycle.failed());
                }
                false
            },
            |planned| {
                let begun = planned.begin();
                if begun {
                    assert!(!planned.lifecycle.is_started());
                    planned.starts.store(1, Relaxed);
                    planned.lifecycle.started();
                }
                begun
            },
            |planned| {
                let is_started = planned.lifecycle.is_started();
                assert!(!is_started || planned.starts.load(Relaxed) == 1);
                is_started
            },
        ],
        |planned, [_, begun, seen]| {
            assert!(begun || !seen);
            assert!(planned.lifecycle.is_started() == begun && planned.lifecycle.is_new() != begun);
        },
    );
}
