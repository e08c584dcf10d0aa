//! Models of `Condition` (COND), on a lock that proves who owns it and on one that does not.

use crate::model::{
    Data, Doomed, INTERRUPTIBLE, SOON, asymmetric, check, check_limited, check_spurious,
};
use crate::rlock;
use std::cell::Cell;
use threadbare::primitive::set_fork_generation;
use threadbare::raw::condition::RawCondition;
use threadbare::raw::event::RawEvent;
use threadbare::raw::lock::RawLock;
use threadbare::raw::park::{GaveUp, Limit};
use threadbare::raw::rlock::RawRLock;

/// A lock with a condition on it.
trait Monitor: Send + Sync + 'static {
    fn new() -> Self;
    fn acquire(&self);
    fn release(&self);
    fn wait(&self, limit: Limit) -> Result<(), GaveUp>;
    fn notify(&self, n: usize) -> usize;
    fn waiting(&self) -> usize;
}

struct Owned(RawRLock, RawCondition);

impl Monitor for Owned {
    fn new() -> Owned {
        Owned(RawRLock::new(), RawCondition::new())
    }

    fn acquire(&self) {
        rlock::acquire(&self.0, Limit::NONE).unwrap();
    }

    fn release(&self) {
        self.0.release().unwrap();
    }

    fn wait(&self, limit: Limit) -> Result<(), GaveUp> {
        assert!(self.0.is_owned());
        // SAFETY: the lock is ours, and the only one that the condition is used with.
        let result = unsafe { self.1.wait_owned(&self.0, limit) };
        assert!(self.0.is_owned());
        result
    }

    fn notify(&self, n: usize) -> usize {
        assert!(self.0.is_owned());
        // SAFETY: as above.
        unsafe { self.1.notify_owned(&self.0, n) }
    }

    fn waiting(&self) -> usize {
        assert!(self.0.is_owned());
        // SAFETY: as above.
        unsafe { self.1.waiting_owned() }
    }
}

struct Shared(RawLock, RawCondition);

impl Monitor for Shared {
    fn new() -> Shared {
        Shared(RawLock::new(), RawCondition::new())
    }

    fn acquire(&self) {
        self.0.acquire(Limit::NONE).unwrap();
    }

    fn release(&self) {
        self.0.release().unwrap();
    }

    fn wait(&self, limit: Limit) -> Result<(), GaveUp> {
        let waited = self
            .1
            .wait_shared(|| self.0.release(), || self.acquire(), limit);
        waited.unwrap()
    }

    fn notify(&self, n: usize) -> usize {
        self.1.notify_shared(n)
    }

    fn waiting(&self) -> usize {
        self.1.waiting_shared()
    }
}

/// A monitor and what it protects.
struct Model<M> {
    monitor: M,
    /// What the waiters wait for; no more of them are to come once it is not 0.
    stage: Data,
    /// How many have come.
    came: Data,
    /// How many have returned, and whether the one that came first is among them.
    returned: Data,
    first_returned: Data,
}

impl<M: Monitor> Model<M> {
    fn new() -> Model<M> {
        Model {
            monitor: M::new(),
            stage: Data::new(),
            came: Data::new(),
            returned: Data::new(),
            first_returned: Data::new(),
        }
    }

    /// A section with one wait, for a thread that may be notified or not.
    fn wait_once(&self, limit: Limit) -> Result<(), GaveUp> {
        self.monitor.acquire();
        let result = self.monitor.wait(limit);
        self.monitor.release();
        result
    }

    /// A section that lasts until `stage` is set.
    fn wait_for_stage(&self, stage: u32) {
        self.monitor.acquire();
        while self.stage.get() < stage {
            self.monitor.wait(Limit::NONE).unwrap();
        }
        self.monitor.release();
    }

    /// A section that sets the next `stage` and notifies `n`.
    fn next_stage(&self, n: usize) {
        self.monitor.acquire();
        self.stage.add(1);
        self.monitor.notify(n);
        self.monitor.release();
    }

    /// A section with one wait, unless it came too late; it does not look why it was woken.
    fn wait_in_line(&self) {
        self.monitor.acquire();
        if self.stage.get() == 0 {
            let is_first = self.came.get() == 0;
            self.came.add(1);
            self.monitor.wait(Limit::NONE).unwrap();
            self.returned.add(1);
            self.first_returned.add(u32::from(is_first));
        }
        self.monitor.release();
    }

    /// Nobody is left in the queue.
    fn is_settled(&self) -> bool {
        self.monitor.acquire();
        self.monitor.waiting() == 0
    }
}

fn a_waiter_is_notified_by_who_takes_the_lock_next<M: Monitor>() {
    check_spurious(
        3,
        Model::<M>::new,
        [|model| model.next_stage(1), |model| model.wait_for_stage(1)],
        |model, _| assert!(model.is_settled()),
    );
}

fn notify_wakes_exactly_the_one_that_came_first<M: Monitor>(preemptions: usize) {
    check_spurious(
        preemptions,
        Model::<M>::new,
        [
            |model| {
                model.monitor.acquire();
                model.stage.add(1);
                let waiting = model.monitor.waiting();
                assert_eq!(model.monitor.notify(1), waiting.min(1));
                model.monitor.release();
                model.monitor.acquire();
                let returned = model.returned.get();
                assert!(returned <= 1 && returned == model.first_returned.get());
                let left = waiting - waiting.min(1);
                assert_eq!(model.monitor.notify(usize::MAX), left);
                model.monitor.release();
            },
            Model::wait_in_line,
            Model::wait_in_line,
        ],
        |model, _| assert_eq!(model.returned.get(), model.came.get()),
    );
}

/// What each thread made of notifications: gave so many, or got one.
enum Balance {
    Gave(usize),
    Got(Result<(), GaveUp>),
}

impl Balance {
    /// As many were given as were got.
    fn is_even(all: &[Balance]) -> bool {
        let sum = all.iter().map(|one| match *one {
            Balance::Gave(count) => count as isize,
            Balance::Got(result) => -isize::from(result.is_ok()),
        });
        sum.sum::<isize>() == 0
    }
}

fn gives<M: Monitor>(model: &Model<M>, n: usize) -> Balance {
    model.monitor.acquire();
    let notified = model.monitor.notify(n);
    model.monitor.release();
    Balance::Gave(notified)
}

fn each_notified_wait_is_true_and_each_other_false<M: Monitor>(
    preemptions: usize,
    notify: fn(&Model<M>) -> Balance,
    waits: [fn(&Model<M>) -> Balance; 2],
) {
    let [one, other] = waits;
    check_limited(
        preemptions,
        Model::<M>::new,
        [notify, one, other],
        |model, results| {
            assert!(Balance::is_even(&results));
            assert!(model.is_settled());
        },
    );
}

fn within<M: Monitor>(limit: Limit) -> fn(&Model<M>) -> Balance {
    if limit.interruptible {
        |model| Balance::Got(model.wait_once(INTERRUPTIBLE))
    } else {
        |model| Balance::Got(model.wait_once(SOON))
    }
}

fn notify_then_wait_on_the_same_lock_wakes_the_other<M: Monitor>() {
    check(
        3,
        Model::<M>::new,
        [
            |model| {
                model.monitor.acquire();
                model.stage.add(1);
                model.monitor.notify(1);
                while model.stage.get() < 2 {
                    model.monitor.wait(Limit::NONE).unwrap();
                }
                model.monitor.release();
            },
            |model| {
                model.wait_for_stage(1);
                model.next_stage(1);
            },
        ],
        |model, _| assert!(model.is_settled()),
    );
}

fn notify_all_wakes_more_than_one_release_wakes_itself<M: Monitor>(preemptions: usize) {
    check(
        preemptions,
        Model::<M>::new,
        [
            |model| model.next_stage(usize::MAX),
            Model::wait_in_line,
            Model::wait_in_line,
        ],
        |model, _| assert_eq!(model.returned.get(), model.came.get()),
    );
}

mod owned {
    use super::*;

    #[test]
    fn cond_5_a_waiter_is_queued_before_the_lock_is_free() {
        a_waiter_is_notified_by_who_takes_the_lock_next::<Owned>();
    }

    #[test]
    fn cond_11_notify_wakes_the_one_that_came_first_and_no_other() {
        notify_wakes_exactly_the_one_that_came_first::<Owned>(2);
    }

    #[test]
    fn cond_16_a_timeout_racing_notify_is_settled_once() {
        let wait = within::<Owned>(SOON);
        each_notified_wait_is_true_and_each_other_false(2, |model| gives(model, 1), [wait; 2]);
    }

    #[test]
    fn cond_16_an_interruption_racing_notify_is_settled_once() {
        let wait = within::<Owned>(INTERRUPTIBLE);
        each_notified_wait_is_true_and_each_other_false(2, |model| gives(model, 1), [wait; 2]);
    }

    #[test]
    fn cond_16_a_timeout_of_a_requeued_waiter_is_settled_once() {
        let wait = within::<Owned>(SOON);
        each_notified_wait_is_true_and_each_other_false(2, |model| gives(model, 2), [wait; 2]);
    }

    #[test]
    fn notify_then_wait_on_one_lock_wakes_the_other() {
        notify_then_wait_on_the_same_lock_wakes_the_other::<Owned>();
    }

    #[test]
    fn cond_14_notify_all_wakes_those_it_requeues() {
        notify_all_wakes_more_than_one_release_wakes_itself::<Owned>(3);
    }

    #[test]
    fn cond_14_each_of_two_requeued_waiters_gets_the_lock() {
        check(
            1,
            Model::<Owned>::new,
            [
                Model::wait_in_line,
                Model::wait_in_line,
                Model::wait_in_line,
                // Last, so that all wait where nobody is preempted.
                |model: &Model<Owned>| model.next_stage(usize::MAX),
            ],
            |model, _| assert_eq!(model.returned.get(), model.came.get()),
        );
    }

    #[test]
    fn cond_14_a_requeued_waiter_gets_the_lock_beside_a_newcomer_and_one_that_gives_up() {
        check_limited(
            2,
            Model::<Owned>::new,
            [
                |model: &Model<Owned>| {
                    model.next_stage(usize::MAX);
                    model.next_stage(0); // as good as a newcomer
                    Ok(())
                },
                |model| {
                    model.wait_in_line();
                    Ok(())
                },
                |model| model.wait_once(SOON),
            ],
            |model, _| {
                assert_eq!(model.returned.get(), model.came.get());
                assert!(model.is_settled());
            },
        );
    }

    /// On a lock that is released by a plain store.
    fn on_asymmetric() -> Model<Owned> {
        let model = Model::<Owned>::new();
        model.monitor.acquire();
        model.monitor.release();
        model
    }

    #[test]
    fn cond_14_on_an_asymmetric_lock_each_of_two_requeued_waiters_gets_the_lock() {
        asymmetric(|| {
            check(
                1,
                on_asymmetric,
                [
                    Model::wait_in_line,
                    Model::wait_in_line,
                    Model::wait_in_line,
                    |model: &Model<Owned>| model.next_stage(usize::MAX),
                ],
                |model, _| {
                    assert_eq!(model.returned.get(), model.came.get());
                    assert_eq!(model.monitor.0.counted(), 0);
                },
            );
        });
    }

    #[test]
    fn cond_14_on_an_asymmetric_lock_a_requeued_waiter_gets_it_beside_a_newcomer() {
        asymmetric(|| {
            check(
                2,
                on_asymmetric,
                [
                    |model: &Model<Owned>| {
                        model.next_stage(usize::MAX);
                        model.next_stage(0);
                    },
                    Model::wait_in_line,
                    Model::wait_in_line,
                ],
                |model, _| {
                    assert_eq!(model.returned.get(), model.came.get());
                    assert_eq!(model.monitor.0.counted(), 0);
                },
            );
        });
    }

    #[test]
    fn cond_16_on_an_asymmetric_lock_a_timeout_racing_notify_is_settled_once() {
        asymmetric(|| {
            check_limited(
                2,
                on_asymmetric,
                [
                    |model: &Model<Owned>| {
                        model.next_stage(1);
                        Ok(())
                    },
                    |model| model.wait_once(SOON),
                ],
                |model, _| {
                    assert!(!model.monitor.0.is_locked());
                    assert_eq!(model.monitor.0.counted(), 0);
                },
            );
        });
    }

    #[test]
    fn cond_6_wait_gives_the_lock_up_whatever_the_depth_and_restores_it() {
        check(
            3,
            Model::<Owned>::new,
            [
                |model: &Model<Owned>| {
                    model.monitor.acquire();
                    model.wait_for_stage(1);
                    assert_eq!(model.monitor.0.depth(), 1);
                    model.monitor.release();
                },
                |model| {
                    model.monitor.acquire();
                    model.next_stage(1);
                    model.monitor.release();
                },
            ],
            |model, _| assert!(!model.monitor.0.is_locked()),
        );
    }

    #[test]
    fn condition_who_was_notified_may_destroy_it() {
        check(
            3,
            || Doomed::new(Model::<Owned>::new()),
            [
                |model: &Doomed<Model<Owned>>| model.next_stage(1),
                |model| {
                    model.wait_for_stage(1);
                    model.destroy();
                },
            ],
            |_, _| {},
        );
    }
}

mod shared {
    use super::*;

    #[test]
    fn cond_5_a_waiter_is_queued_before_the_lock_is_free() {
        a_waiter_is_notified_by_who_takes_the_lock_next::<Shared>();
    }

    #[test]
    fn cond_11_notify_wakes_the_one_that_came_first_and_no_other() {
        notify_wakes_exactly_the_one_that_came_first::<Shared>(3);
    }

    #[test]
    fn cond_16_a_timeout_racing_notify_is_settled_once() {
        let wait = within::<Shared>(SOON);
        each_notified_wait_is_true_and_each_other_false(3, |model| gives(model, 1), [wait; 2]);
    }

    #[test]
    fn cond_16_an_interruption_racing_notify_is_settled_once() {
        let wait = within::<Shared>(INTERRUPTIBLE);
        each_notified_wait_is_true_and_each_other_false(3, |model| gives(model, 1), [wait; 2]);
    }

    #[test]
    fn cond_4_a_notify_without_the_lock_is_settled_once() {
        let wait = within::<Shared>(SOON);
        let notify = |model: &Model<Shared>| Balance::Gave(model.monitor.notify(1));
        each_notified_wait_is_true_and_each_other_false(3, notify, [wait; 2]);
    }

    #[test]
    fn cond_4_two_notifies_without_the_lock_share_no_waiter() {
        let wait = within::<Shared>(SOON);
        let notify = |model: &Model<Shared>| Balance::Gave(model.monitor.notify(1));
        check_limited(
            2,
            Model::<Shared>::new,
            [notify, notify, wait, wait],
            |model, results| {
                assert!(Balance::is_even(&results));
                assert!(model.is_settled());
            },
        );
    }

    #[test]
    fn cond_22_notify_without_the_lock_leaves_the_waiters_memory_alone() {
        check_limited(
            3,
            Model::<Shared>::new,
            [
                |model: &Model<Shared>| Balance::Gave(model.monitor.notify(1)),
                |model| Balance::Got(model.wait_once(SOON)),
            ],
            |_, _| {},
        );
    }

    /// A thread forks while it waits, as a signal handler may. In the child its waiter is still
    /// there, in a queue that is the parent's.
    #[test]
    fn fork_5_in_a_child_a_notify_reaches_who_waits_there_and_no_waiter_of_the_parent() {
        struct Forking {
            model: Model<Shared>,
            is_child: RawEvent,
        }
        check_spurious(
            3,
            || {
                set_fork_generation(0);
                Forking {
                    model: Model::new(),
                    is_child: RawEvent::new(),
                }
            },
            [
                |Forking { model, is_child }: &Forking| {
                    let counts = Cell::new((0, 0));
                    // Nothing in here panics: that would end the process.
                    let fork = || {
                        set_fork_generation(1);
                        is_child.set();
                        model.monitor.acquire();
                        model.stage.add(1);
                        counts.set((model.monitor.notify(1), model.came.get()));
                        model.monitor.release();
                        Err(())
                    };
                    let Shared(_, condition) = &model.monitor;
                    let waited = condition.wait_shared(fork, || unreachable!(), Limit::NONE);
                    let (notified, came) = counts.get();
                    assert_eq!((waited, notified), (Err(()), came as usize));
                },
                |Forking { model, is_child }| {
                    is_child.wait(Limit::NONE).unwrap();
                    model.wait_in_line();
                },
            ],
            |Forking { model, .. }, _| {
                assert_eq!(model.returned.get(), model.came.get());
                assert!(model.is_settled());
            },
        );
    }

    #[test]
    fn cond_5_a_notify_that_comes_after_the_lock_was_free_reaches_who_came_before_the_change() {
        check_spurious(
            3,
            Model::<Shared>::new,
            [
                |model: &Model<Shared>| {
                    model.monitor.acquire();
                    model.stage.add(1);
                    model.monitor.release();
                    model.monitor.notify(1);
                },
                |model| model.wait_for_stage(1),
            ],
            |model, _| assert!(model.is_settled()),
        );
    }

    #[test]
    fn cond_8_a_wait_whose_release_errs_hands_its_notify_on() {
        check(
            3,
            Model::<Shared>::new,
            [
                |model: &Model<Shared>| model.next_stage(1),
                |model| model.wait_for_stage(1),
                |model| {
                    let condition = &model.monitor.1;
                    let waited = condition.wait_shared(|| Err(()), || unreachable!(), Limit::NONE);
                    assert_eq!(waited, Err(()));
                },
            ],
            |model, _| assert!(model.is_settled()),
        );
    }

    #[test]
    fn notify_then_wait_on_one_lock_wakes_the_other() {
        notify_then_wait_on_the_same_lock_wakes_the_other::<Shared>();
    }

    #[test]
    fn cond_14_notify_all_wakes_more_than_it_puts_off() {
        notify_all_wakes_more_than_one_release_wakes_itself::<Shared>(3);
    }
}

/// A condition that is used with two locks, as a `Condvar` can be.
mod two_locks {
    use super::*;

    /// Who waits uses one of the locks, and touches what that protects.
    struct TwoLocks {
        locks: [(RawLock, Data); 2],
        condition: RawCondition,
    }

    impl TwoLocks {
        fn new() -> TwoLocks {
            let lock = || (RawLock::new(), Data::new());
            TwoLocks {
                locks: [lock(), lock()],
                condition: RawCondition::new(),
            }
        }

        /// A section of the lock with this number, with one wait.
        fn wait_once(&self, number: usize, limit: Limit) -> Balance {
            let (lock, data) = &self.locks[number];
            lock.acquire(Limit::NONE).unwrap();
            data.add(1);
            let acquire = || lock.acquire(Limit::NONE).unwrap();
            let waited = self
                .condition
                .wait_shared(|| lock.release(), acquire, limit);
            data.add(1);
            lock.release().unwrap();
            Balance::Got(waited.unwrap())
        }

        fn is_settled(&self) -> bool {
            let free = |(lock, _): &(RawLock, Data)| !lock.is_locked();
            self.condition.waiting_shared() == 0 && self.locks.iter().all(free)
        }
    }

    #[test]
    fn cond_16_waiters_with_different_locks_are_settled_once() {
        check_limited(
            3,
            TwoLocks::new,
            [
                |model: &TwoLocks| Balance::Gave(model.condition.notify_shared(1)),
                |model| model.wait_once(0, SOON),
                |model| model.wait_once(1, SOON),
            ],
            |model, results| {
                assert!(Balance::is_even(&results));
                assert!(model.is_settled());
                assert!(model.locks.iter().all(|(_, data)| data.get() == 2));
            },
        );
    }

    #[test]
    fn cond_14_notify_under_one_lock_wakes_the_waiters_of_both() {
        // Each waits until it is told under its own lock.
        fn wait_for_stage(model: &TwoLocks, number: usize) {
            let (lock, stage) = &model.locks[number];
            let acquire = || lock.acquire(Limit::NONE).unwrap();
            acquire();
            while stage.get() == 0 {
                let waited = model
                    .condition
                    .wait_shared(|| lock.release(), acquire, Limit::NONE);
                waited.unwrap().unwrap();
            }
            lock.release().unwrap();
        }
        check_spurious(
            3,
            TwoLocks::new,
            [
                |model: &TwoLocks| {
                    for (lock, stage) in &model.locks {
                        lock.acquire(Limit::NONE).unwrap();
                        stage.add(1);
                        lock.release().unwrap();
                    }
                    // The first one's, or nobody's, is held.
                    model.locks[0].0.acquire(Limit::NONE).unwrap();
                    model.condition.notify_shared(usize::MAX);
                    model.locks[0].0.release().unwrap();
                },
                |model| wait_for_stage(model, 0),
                |model| wait_for_stage(model, 1),
            ],
            |model, _| assert!(model.is_settled()),
        );
    }
}
