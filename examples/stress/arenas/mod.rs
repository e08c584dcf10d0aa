//! Sets of objects, each with what must hold of them.

mod barriers;
mod conditions;
mod events;
mod items;
mod locks;
mod parking;
mod semaphores;
mod threads;

use crate::rng::Rng;
use crate::worker::Worker;
use std::cell::UnsafeCell;
use std::sync::atomic::Ordering::Relaxed;

/// A set of objects that threads work on for a round.
pub trait Arena: Sync {
    /// What one of the threads does until the round is over. It checks what can be checked at any
    /// time, and leaves nobody waiting.
    fn work(&self, worker: &mut Worker);

    /// Checks what holds when all threads have left.
    fn check(&mut self);

    /// In the child of a fork, in which the caller is alone: makes the objects as new where that is
    /// needed, and uses them.
    fn survive(&self);
}

/// A new arena, and its index in [`crate::watch::ARENAS`].
pub type Make = fn(crew: usize, rng: &mut Rng) -> Box<dyn Arena>;

/// How to make each arena. The least it needs are two threads.
pub const MAKE: [Make; 8] = [
    |_, _| Box::new(locks::Locks::new()),
    |_, rng| Box::new(conditions::Conditions::new(rng)),
    |_, _| Box::new(items::Stores::new()),
    |_, _| Box::new(semaphores::Semaphores::new()),
    |crew, _| Box::new(events::Events::new(crew)),
    |crew, _| Box::new(barriers::Barriers::new(crew)),
    |_, _| Box::new(threads::Threads::new()),
    |crew, _| Box::new(parking::Parking::new(crew)),
];

/// The index of the arena of threads. What it counts, it counts over the whole process.
pub const THREADS: usize = 6;

/// The excepthook was told of a panic that is part of the play.
pub fn reported() {
    threads::REPORTED.fetch_add(1, Relaxed);
}

/// Memory that is shared without more ado: the objects under test keep its users apart.
pub struct Shared<T>(UnsafeCell<T>);

// SAFETY: who uses it says what keeps the accesses apart.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub const fn new(value: T) -> Shared<T> {
        Shared(UnsafeCell::new(value))
    }

    pub fn get(&self) -> *mut T {
        self.0.get()
    }

    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}
