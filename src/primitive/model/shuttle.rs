//! shuttle: an order of the steps that is drawn, and with it how unkind the futex is.
//!
//! A step is one access to an atomic, or the beginning or the end of one to a cell. What is drawn
//! comes from the scheduler, so that a run can be repeated; where it draws nothing but zeroes, the
//! futex is kind.

use super::Life;
use shuttle::rand::{RngCore, thread_rng};
use std::cell::Cell;
use std::sync::atomic::{self, Ordering, Ordering::Relaxed};
use std::time::Duration;

/// Lets any other thread go on first.
fn step() {
    shuttle::thread::sleep(Duration::ZERO);
}

/// Whether what happens once in so many times happens now.
fn happens_once_in(times: u64) -> bool {
    thread_rng().next_u64() % times == times - 1
}

macro_rules! atomics {
    ($($name:ident of $value:ty),*) => {$(
        /// An atomic whose accesses are steps. They are sequentially consistent.
        #[derive(Debug)]
        pub struct $name {
            value: atomic::$name,
            life: Life,
        }

        #[allow(missing_docs, reason = "std's methods")]
        impl $name {
            /// An atomic that holds `value`.
            pub const fn new(value: $value) -> $name {
                $name { value: atomic::$name::new(value), life: Life::new() }
            }

            #[track_caller]
            fn at_a_step(&self) -> &atomic::$name {
                step();
                self.life.check();
                &self.value
            }

            #[track_caller]
            pub fn load(&self, order: Ordering) -> $value {
                self.at_a_step().load(order)
            }

            #[track_caller]
            pub fn store(&self, value: $value, order: Ordering) {
                self.at_a_step().store(value, order);
            }

            #[track_caller]
            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                self.at_a_step().swap(value, order)
            }

            #[track_caller]
            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.at_a_step().compare_exchange(current, new, success, failure)
            }

            /// Fails now and then for no reason.
            #[track_caller]
            pub fn compare_exchange_weak(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                if happens_once_in(16) {
                    return Err(self.load(failure));
                }
                self.compare_exchange(current, new, success, failure)
            }

            #[track_caller]
            pub fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                self.at_a_step().fetch_add(value, order)
            }

            #[track_caller]
            pub fn fetch_and(&self, value: $value, order: Ordering) -> $value {
                self.at_a_step().fetch_and(value, order)
            }

            #[track_caller]
            pub fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                self.at_a_step().fetch_or(value, order)
            }
        }
    )*};
}
atomics!(AtomicU32 of u32, AtomicU64 of u64);

/// A cell whose accesses last a step, in which no other may fall.
#[derive(Debug)]
pub struct UnsafeCell<T> {
    /// How many read now; -1 while one writes.
    users: Cell<i32>,
    life: Life,
    value: std::cell::UnsafeCell<T>,
}

impl<T> UnsafeCell<T> {
    /// A cell that holds `value`.
    pub const fn new(value: T) -> UnsafeCell<T> {
        UnsafeCell {
            users: Cell::new(0),
            life: Life::new(),
            value: std::cell::UnsafeCell::new(value),
        }
    }

    /// Lends the contents for reading.
    #[track_caller]
    pub fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        step();
        self.life.check();
        assert!(self.users.get() >= 0, "a read during a write");
        self.users.set(self.users.get() + 1);
        step();
        let result = read(self.value.get());
        self.users.set(self.users.get() - 1);
        result
    }

    /// Lends the contents for writing.
    #[track_caller]
    pub fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
        step();
        self.life.check();
        assert!(self.users.get() == 0, "a write during another access");
        self.users.set(-1);
        step();
        let result = write(self.value.get());
        self.users.set(0);
        result
    }
}

/// Whether a release keeps the lock for a waiter.
pub fn reserves() -> bool {
    happens_once_in(4)
}

/// A store.
pub fn overwrite(word: &AtomicU32, value: u32) {
    word.store(value, Relaxed);
}

/// Nothing: all accesses are in one order as it is.
pub fn light_fence() {}

/// See `light_fence`.
pub fn fence_all_threads() -> bool {
    true
}

/// Does what a thread may take long for.
pub(super) fn away(sleep: impl FnOnce()) {
    sleep();
}

/// Whether a wait that nothing is to end early ends now.
pub(super) fn wakes_for_no_reason() -> bool {
    happens_once_in(16)
}

/// Passes the time of a wait that ends early, but not once it was woken.
pub(super) fn linger(woken: impl Fn() -> bool) {
    while !woken() && thread_rng().next_u64() % 8 != 0 {
        shuttle::thread::yield_now();
    }
}
