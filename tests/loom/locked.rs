//! Models of the crate's own data behind a lock, and of a lock held over a fork (FORK-5).

use crate::model::{Data, SOON, check, check_limited, check_spurious};
use threadbare::raw::locked::Locked;
use threadbare::raw::park::GaveUp;

/// Two halves that are the same whenever nobody has them.
struct Halves(Data, Data);

impl Halves {
    fn new() -> Locked<Halves> {
        Locked::new(Halves(Data::new(), Data::new()))
    }

    fn change(&mut self) {
        self.0.add(1);
        self.1.add(1);
    }

    fn whole(&self) -> u32 {
        assert_eq!(self.0.get(), self.1.get());
        self.0.get()
    }
}

#[test]
fn lock_3_one_thread_at_a_time_has_the_value() {
    check_spurious(
        3,
        Halves::new,
        [
            |locked: &Locked<Halves>| {
                locked.with(Halves::change);
                true
            },
            |locked| {
                locked.with(Halves::change);
                true
            },
            |locked| locked.try_with(Halves::change).is_some(),
        ],
        |locked, changed| {
            let changes = changed.iter().filter(|changed| **changed).count();
            assert_eq!(locked.with(|halves| halves.whole()) as usize, changes);
        },
    );
}

#[test]
fn lock_12_who_gives_up_has_not_had_the_value() {
    check_limited(
        3,
        Halves::new,
        [
            |locked: &Locked<Halves>| locked.with_within(SOON, Halves::change),
            |locked| locked.with_within(SOON, Halves::change),
            |locked| {
                locked.with(Halves::change);
                Ok(())
            },
        ],
        |locked, results| {
            assert!(!results.contains(&Err(GaveUp::Interrupted)));
            let changes = results.iter().filter(|result| result.is_ok()).count();
            assert_eq!(locked.with(|halves| halves.whole()) as usize, changes);
        },
    );
}

/// What a thread does that forks, in parent and child: it finds nothing half changed.
fn fork(locked: &[Locked<Halves>; 2]) {
    locked.iter().for_each(Locked::hold);
    for one in locked {
        // SAFETY: held.
        unsafe { one.held() }.whole();
    }
    for one in locked.iter().rev() {
        // SAFETY: held by this thread.
        unsafe { one.let_go() };
    }
}

#[test]
fn fork_5_who_holds_all_finds_nothing_half_changed_beside_another_who_forks() {
    check(
        3,
        || [Halves::new(), Halves::new()],
        [fork, fork, |locked| {
            locked[1].with(Halves::change);
            locked[0].with(Halves::change);
        }],
        |locked, _| {
            let whole = |one: &Locked<Halves>| one.with(|halves| halves.whole());
            assert_eq!([whole(&locked[0]), whole(&locked[1])], [1, 1]);
        },
    );
}
