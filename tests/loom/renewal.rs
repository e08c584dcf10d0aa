//! Models of what is put right in the child of a fork (FORK-5).

use crate::model::{Data, check_spurious};
use threadbare::primitive::set_fork_generation;
use threadbare::raw::renewal::Renewal;

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
