//! The protocols of `src/raw/` under a scheduler that the input controls.
//!
//! An input is a program for some threads, then the order of their steps and the moments at which the
//! futex is unkind (`src/primitive/model/shuttle.rs`), so what it finds happens again. Where all
//! threads sleep, the oracle says whether they may: a lost wake is noticed there, at once and not by
//! waiting. What it does not show is what weaker orderings allow: that is loom's part.

mod barrier;
mod condition;
mod condvar;
mod event;
pub mod history;
mod lock;
mod park;
mod play;
mod rlock;
mod semaphore;

use crate::Target;

pub use self::{
    barrier::barrier, condition::condition, condvar::condvar, event::event, lock::lock, park::park,
    rlock::rlock, semaphore::semaphore,
};

/// The targets on modelled primitives.
pub const TARGETS: &[Target] = &[
    Target {
        name: "barrier",
        run: barrier,
    },
    Target {
        name: "condition",
        run: condition,
    },
    Target {
        name: "condvar",
        run: condvar,
    },
    Target {
        name: "event",
        run: event,
    },
    Target {
        name: "lock",
        run: lock,
    },
    Target {
        name: "park",
        run: park,
    },
    Target {
        name: "rlock",
        run: rlock,
    },
    Target {
        name: "semaphore",
        run: semaphore,
    },
];
