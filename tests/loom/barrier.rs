//! Models of `Barrier` (BAR, MEM-4).

use crate::model::{Data, Doomed, INTERRUPTIBLE, SOON, check, check_limited, check_spurious};
use threadbare::raw::barrier::{Arrival, Failure, RawBarrier, Waited};
use threadbare::raw::park::Limit;

type Passed = Result<u32, Failure>;

struct Shared {
    barrier: RawBarrier,
    /// The first is the action's; each party has one of the others.
    data: [Data; 4],
}

impl Shared {
    fn with(parties: u32) -> Shared {
        Shared {
            barrier: RawBarrier::new(parties),
            data: [(); 4].map(|()| Data::new()),
        }
    }

    /// What the public type does around the protocol, with an action.
    fn pass_with(&self, limit: Limit, action: impl FnOnce()) -> Passed {
        let last = match self.barrier.arrive() {
            Arrival::Last(last) => last,
            Arrival::Early(early) => match self.barrier.wait(early, limit)? {
                Waited::Last(last) => last,
                Waited::Passed(seat) => return Ok(seat),
            },
        };
        last.act(action);
        last.trip()
    }

    /// With an action that must be alone.
    fn pass(&self, limit: Limit) -> Passed {
        self.pass_with(limit, || self.data[0].add(1))
    }

    /// Writes before, reads after what the action has written. The first wait may be interrupted.
    fn pass_with_data(&self, party: usize, limit: Limit) -> Passed {
        self.data[party].add(1);
        let action = || {
            let all: u32 = self.data[1..].iter().map(Data::get).sum();
            assert_eq!(all, self.barrier.parties());
            self.data[0].add(1);
        };
        let mut passed = self.pass_with(limit, action);
        if passed == Err(Failure::Interrupted) {
            passed = self.pass_with(Limit::NONE, action);
        }
        if passed.is_ok() {
            assert_eq!(self.data[0].get(), 1);
        }
        passed
    }

    /// How often the action ran, once all threads have ended.
    fn actions(&self) -> u32 {
        self.data[0].get()
    }

    /// Whether nobody is left inside: once all threads have ended, all parties can pass again.
    fn is_settled(&self) -> bool {
        let is_empty = self.barrier.n_waiting() == 0 && !self.barrier.is_broken();
        let early = (1..self.barrier.parties()).map(|_| self.barrier.arrive());
        let are_early = early.fold(true, |all, one| all && matches!(one, Arrival::Early(_)));
        match self.barrier.arrive() {
            Arrival::Last(last) => is_empty && are_early && last.trip().is_ok(),
            Arrival::Early(_) => false,
        }
    }

    /// Whether nobody is left inside after a reset, and the barrier was broken exactly if `broken`.
    fn is_settled_and_was(&self, broken: bool) -> bool {
        let was_broken = self.barrier.is_broken();
        self.barrier.reset();
        was_broken == broken && self.is_settled()
    }
}

/// Whether all passed, each with a seat of its own; if not, none did.
fn all_alike<const N: usize>(mut passed: [Passed; N]) -> bool {
    passed.sort_by_key(|passed| passed.unwrap_or(0));
    let ok = passed[0].is_ok();
    for (seat, passed) in passed.into_iter().enumerate() {
        let expected = if ok {
            Ok(seat as u32)
        } else {
            Err(Failure::Broken)
        };
        assert_eq!(passed, expected);
    }
    ok
}

#[test]
fn mem_4_the_action_sees_what_all_did_and_all_see_what_it_did() {
    check_spurious(
        3,
        || Shared::with(3),
        [
            |shared: &Shared| shared.pass_with_data(1, Limit::NONE),
            |shared| shared.pass_with_data(2, Limit::NONE),
            |shared| shared.pass_with_data(3, Limit::NONE),
        ],
        |shared, passed| assert!(all_alike(passed) && shared.is_settled()),
    );
}

/// Three for a barrier of two. One may be interrupted; if it passes instead, it comes again for the
/// one who is left over.
#[test]
fn bar_4_and_17_who_is_too_many_takes_part_in_the_next_round() {
    let once: fn(&Shared) -> [Option<u32>; 2] = |shared| [shared.pass(Limit::NONE).ok(), None];
    check_limited(
        3,
        || Shared::with(2),
        [once, once, |shared| match shared.pass(INTERRUPTIBLE) {
            Ok(seat) => [Some(seat), shared.pass(Limit::NONE).ok()],
            Err(failure) => {
                assert_eq!(failure, Failure::Interrupted);
                [None, None]
            }
        }],
        |shared, [first, second, third]| {
            // Two rounds, or one.
            let rounds = if third[0].is_some() { 2 } else { 1 };
            let seats = [first, second, third].concat();
            for seat in 0..2 {
                let taken = seats.iter().filter(|taken| **taken == Some(seat));
                assert_eq!(taken.count(), rounds);
            }
            assert_eq!(shared.actions(), rounds as u32);
            assert!(shared.is_settled());
        },
    );
}

#[test]
fn bar_5_and_17_the_action_runs_in_one_thread_at_a_time() {
    let pass: fn(&Shared) -> Passed = |shared| shared.pass(Limit::NONE);
    check_spurious(
        3,
        || Shared::with(1),
        [pass, pass, pass],
        |shared, passed| {
            assert_eq!(passed, [Ok(0); 3]);
            assert_eq!(shared.actions(), 3);
            assert!(shared.is_settled());
        },
    );
}

#[test]
fn bar_7_and_10_a_timeout_racing_the_last_arrival_settles_the_round_for_all() {
    check_limited(
        3,
        || Shared::with(3),
        [
            |shared: &Shared| shared.pass(Limit::NONE),
            |shared| shared.pass(SOON),
            |shared| shared.pass(SOON),
        ],
        |shared, passed| {
            let ok = all_alike(passed);
            assert!(shared.is_settled_and_was(!ok));
            assert_eq!(shared.actions(), u32::from(ok));
        },
    );
}

#[test]
fn bar_9_and_17_the_timeout_of_who_is_too_many_breaks_the_next_round() {
    check_limited(
        3,
        || Shared::with(1),
        [
            |shared: &Shared| shared.pass(Limit::NONE),
            |shared| shared.pass(SOON),
        ],
        |shared, [_, limited]| assert!(shared.is_settled_and_was(limited.is_err())),
    );
}

#[test]
fn bar_9_and_17_who_is_too_many_for_a_round_fails_with_the_next_one() {
    check_limited(
        3,
        || Shared::with(1),
        [
            |shared: &Shared| shared.pass(Limit::NONE),
            |shared| shared.pass(SOON),
            |shared| shared.pass(Limit::NONE),
        ],
        |shared, [first, limited, other]| {
            assert!(shared.is_settled_and_was(limited.is_err()));
            let passed = [first, limited, other]
                .iter()
                .filter(|it| it.is_ok())
                .count();
            assert_eq!(shared.actions(), passed as u32);
        },
    );
}

/// Comes again once after a failure.
fn pass_again(shared: &Shared, party: usize) -> Passed {
    shared.data[party].add(1);
    let action = || {
        assert_eq!((shared.data[1].get(), shared.data[2].get()), (1, 1));
        shared.data[0].add(1);
    };
    let passed = shared.pass_with(Limit::NONE, action);
    passed.or_else(|_| shared.pass_with(Limit::NONE, action))
}

#[test]
fn bar_11_a_reset_fails_who_waits_and_then_the_barrier_works() {
    check_spurious(
        3,
        || Shared::with(2),
        [
            |shared: &Shared| pass_again(shared, 1),
            |shared| {
                shared.barrier.reset();
                pass_again(shared, 2)
            },
        ],
        |shared, passed| {
            assert!(all_alike(passed) && shared.is_settled());
            assert_eq!(shared.actions(), 1);
        },
    );
}

#[test]
fn bar_10_and_11_a_reset_fails_both_parties_or_neither_or_one_that_was_alone() {
    check(
        3,
        || Shared::with(2),
        [
            |shared: &Shared| pass_again(shared, 1),
            |shared| pass_again(shared, 2),
            |shared| {
                shared.barrier.reset();
                Ok(0)
            },
        ],
        |shared, [first, second, _]| {
            assert!(all_alike([first, second]) && shared.is_settled());
            assert_eq!(shared.actions(), 1);
        },
    );
}

#[test]
fn bar_9_and_11_a_timeout_racing_a_reset_fails_both_parties_or_neither() {
    check_limited(
        3,
        || Shared::with(2),
        [
            |shared: &Shared| shared.pass(Limit::NONE),
            |shared| {
                shared.barrier.reset();
                shared.pass(SOON)
            },
        ],
        |shared, passed| {
            let ok = all_alike(passed);
            assert!(shared.is_settled_and_was(!ok));
            assert_eq!(shared.actions(), u32::from(ok));
        },
    );
}

#[test]
fn bar_9_and_11_a_timeout_during_a_reset_breaks_the_barrier_for_all() {
    check_limited(
        3,
        || {
            let shared = Shared::with(2);
            assert!(matches!(shared.barrier.arrive(), Arrival::Early(_))); // and stays inside
            shared.barrier.reset();
            shared
        },
        [
            |shared: &Shared| shared.pass(SOON),
            |shared| shared.pass(Limit::NONE),
        ],
        |shared, passed| assert!(!all_alike(passed) && shared.barrier.is_broken()),
    );
}

#[test]
fn bar_12_an_abort_fails_both_parties_or_neither() {
    let pass: fn(&Shared) -> Passed = |shared| shared.pass(Limit::NONE);
    check(
        3,
        || Shared::with(2),
        [pass, pass, |shared| {
            shared.barrier.abort();
            Err(Failure::Broken)
        }],
        |shared, [first, second, _]| {
            all_alike([first, second]);
            assert!(shared.is_settled_and_was(true) && shared.actions() <= 1);
        },
    );
}

#[test]
fn bar_12_after_abort_and_reset_no_action_runs_beside_one_that_was_aborted() {
    let pass: fn(&Shared) -> Passed = |shared| shared.pass(Limit::NONE);
    check(
        3,
        || Shared::with(1),
        [pass, pass, |shared| {
            shared.barrier.abort();
            shared.barrier.reset();
            Err(Failure::Broken)
        }],
        |shared, _| assert!(shared.is_settled()),
    );
}

#[test]
fn bar_6_a_last_thread_that_does_not_trip_breaks_the_barrier() {
    let pass: fn(&Shared) -> Passed = |shared| match shared.barrier.arrive() {
        Arrival::Last(_dropped) => Err(Failure::Broken),
        Arrival::Early(early) => match shared.barrier.wait(early, Limit::NONE)? {
            Waited::Last(_) => unreachable!("the barrier has failed"),
            Waited::Passed(seat) => Ok(seat),
        },
    };
    check(
        3,
        || Shared::with(2),
        [pass, pass, pass],
        |shared, passed| {
            assert!(!all_alike(passed) && shared.is_settled_and_was(true));
        },
    );
}

#[test]
fn bar_18_who_is_interrupted_leaves_a_seat_that_is_given_once_more() {
    check_limited(
        2,
        || Shared::with(3),
        [
            |shared: &Shared| shared.pass_with_data(1, Limit::NONE),
            |shared| shared.pass_with_data(2, INTERRUPTIBLE),
            |shared| shared.pass_with_data(3, INTERRUPTIBLE),
        ],
        |shared, passed| {
            assert!(all_alike(passed) && shared.is_settled());
            assert_eq!(shared.actions(), 1);
        },
    );
}

#[test]
fn bar_18_an_interruption_racing_a_timeout_leaves_nobody_behind() {
    check_limited(
        2,
        || Shared::with(3),
        [
            |shared: &Shared| shared.pass(Limit::NONE),
            |shared| match shared.pass(INTERRUPTIBLE) {
                Err(Failure::Interrupted) => shared.pass(Limit::NONE),
                passed => passed,
            },
            |shared| shared.pass(SOON),
        ],
        |shared, passed| {
            let ok = all_alike(passed);
            assert!(shared.is_settled_and_was(!ok));
        },
    );
}

#[test]
fn bar_18_an_interruption_of_who_is_too_many_breaks_nothing() {
    check_limited(
        3,
        || Shared::with(1),
        [
            |shared: &Shared| shared.pass(Limit::NONE),
            |shared| shared.pass(INTERRUPTIBLE),
            |shared| shared.pass(Limit::NONE),
        ],
        |shared, [first, interrupted, other]| {
            assert_eq!((first, other), (Ok(0), Ok(0)));
            assert!(matches!(interrupted, Ok(0) | Err(Failure::Interrupted)));
            assert!(shared.is_settled());
        },
    );
}

#[test]
fn bar_18_an_interruption_of_who_is_too_many_racing_a_reset_leaves_nobody_behind() {
    check_limited(
        3,
        || Shared::with(1),
        [
            |shared: &Shared| shared.pass(Limit::NONE),
            |shared| shared.pass(INTERRUPTIBLE),
            |shared| {
                shared.barrier.abort();
                shared.barrier.reset();
                Err(Failure::Broken)
            },
        ],
        |shared, _| assert!(shared.is_settled()),
    );
}

#[test]
fn barrier_who_was_let_go_by_a_trip_may_destroy_it() {
    let pass: fn(&Doomed<Shared>) = |shared| {
        if shared.pass(Limit::NONE) == Ok(0) {
            shared.destroy();
        }
    };
    check(3, || Doomed::new(Shared::with(2)), [pass, pass], |_, _| {});
}

#[test]
fn barrier_who_was_let_go_by_an_abort_may_destroy_it() {
    check(
        3,
        || Doomed::new(Shared::with(2)),
        [
            |shared: &Doomed<Shared>| {
                assert_eq!(shared.pass(Limit::NONE), Err(Failure::Broken));
                shared.destroy();
            },
            |shared| shared.barrier.abort(),
        ],
        |_, _| {},
    );
}
