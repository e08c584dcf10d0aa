//! Models of what is put right in the child of a fork (FORK-5).

use crate::model::{Data, check_spurious};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use threadbare::primitive::set_fork_generation;
use threadbare::raw::renewal::Renewal;
use threadbare::raw::renewed_lock::RenewedLock;

/// Something that was in use when the process was forked off.
struct Left {
    renewal: Renewal,
    /// How often it was put right.
    renewed: Data,
}

impl Left {
    fn new() -> Left {
        set_fork_generation(0);
        let left = Left {
            renewal: Renewal::new(),
            renewed: Data::new(),
        };
        assert!(left.renewal.is_current());
        set_fork_generation(1);
        left
    }

    /// As it was made.
    fn unused() -> Left {
        let left = Left::new();
        // SAFETY: nobody uses it yet.
        unsafe { left.renewal.reinit() };
        left
    }

    /// Looks at it once it is current.
    fn enter(&self) {
        if !self.renewal.is_current() {
            self.renewal.renew(|| self.renewed.add(1));
        }
        assert_eq!(self.renewed.get(), 1);
    }
}

#[test]
fn fork_5_one_thread_puts_right_what_a_fork_left_and_the_others_wait() {
    let enter: fn(&Left) = Left::enter;
    check_spurious(3, Left::new, [enter; 3], |left, _| {
        assert!(left.renewal.is_current());
    });
}

#[test]
fn fork_5_what_is_as_new_is_not_put_right() {
    let enter = |left: &Left| {
        if !left.renewal.is_current() {
            left.renewal.renew(|| unreachable!("it is as new"));
        }
        assert!(left.renewal.is_current());
    };
    check_spurious(3, Left::unused, [enter; 3], |left, _| {
        assert_eq!(left.renewed.get(), 0);
    });
}

/// Runs what a thread of the parent was cut off in by a fork: `act` is not left.
fn vanish(act: impl FnOnce(&dyn Fn())) {
    // Without the panic hook, which would print.
    let cut_off: &dyn Fn() = &|| resume_unwind(Box::new(()));
    let ended = catch_unwind(AssertUnwindSafe(|| act(cut_off)));
    assert!(ended.is_err());
}

#[test]
fn fork_5_what_a_fork_left_while_it_was_put_right_is_put_right_again() {
    fn left_renewing() -> Left {
        let left = Left::new();
        vanish(|cut_off| left.renewal.renew(cut_off));
        set_fork_generation(2);
        left
    }
    let enter: fn(&Left) = Left::enter;
    check_spurious(3, left_renewing, [enter; 3], |left, _| {
        assert!(left.renewal.is_current());
    });
}

/// A lock that a thread held, in the middle of a change, when the process was forked off.
struct Held {
    lock: RenewedLock,
    renewed: Data,
    data: Data,
}

impl Held {
    fn new() -> Held {
        set_fork_generation(0);
        let held = Held {
            lock: RenewedLock::new(),
            renewed: Data::new(),
            data: Data::new(),
        };
        vanish(|cut_off| held.lock.with(|| unreachable!("it is as new"), cut_off));
        set_fork_generation(1);
        held
    }

    fn section(&self) {
        let renew = || self.renewed.add(1);
        self.lock.with(renew, || {
            assert_eq!(self.renewed.get(), 1);
            self.data.add(1);
        });
    }
}

#[test]
fn fork_5_a_lock_that_a_vanished_thread_held_is_freed_once() {
    let section: fn(&Held) = Held::section;
    check_spurious(2, Held::new, [section; 3], |held, _| {
        assert_eq!((held.renewed.get(), held.data.get()), (1, 3));
    });
}
