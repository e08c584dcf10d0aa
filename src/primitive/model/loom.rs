//! loom: every order of the steps, up to a bound.

use super::Budget;
use std::cell::Cell;
use std::ops::Deref;

macro_rules! atomics {
    ($($name:ident of $value:ty),*) => {$(
        /// loom's, but dropping it counts as a write.
        #[derive(Debug)]
        pub struct $name(loom::sync::atomic::$name);

        impl $name {
            /// An atomic that holds `value`.
            pub fn new(value: $value) -> $name {
                $name(loom::sync::atomic::$name::new(value))
            }
        }

        impl Deref for $name {
            type Target = loom::sync::atomic::$name;

            fn deref(&self) -> &Self::Target {
                &self.0
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                if !std::thread::panicking() {
                    self.0.with_mut(|_| ());
                }
            }
        }
    )*};
}
atomics!(AtomicU32 of u32, AtomicU64 of u64);

/// loom's, but dropping it counts as a write.
#[derive(Debug)]
pub struct UnsafeCell<T>(loom::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    /// A cell that holds `value`.
    pub fn new(value: T) -> UnsafeCell<T> {
        UnsafeCell(loom::cell::UnsafeCell::new(value))
    }
}

impl<T> Deref for UnsafeCell<T> {
    type Target = loom::cell::UnsafeCell<T>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T> Drop for UnsafeCell<T> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.0.with_mut(|_| ());
        }
    }
}

loom::lazy_static! {
    static ref SPURIOUS_LEFT: Budget = Budget::of(UNKINDNESS.get().spurious_wakes);
}

/// What the futex does to the models to come on this thread.
#[derive(Clone, Copy, Debug)]
pub struct Unkindness {
    /// How many waits without a deadline wake for no reason in each execution: those that begin
    /// first.
    pub spurious_wakes: u32,
    /// Whether a wait that ends early begins by letting the others run. If so, each of them makes
    /// one step at least before the end; if not, that takes a preemption. A model is complete only
    /// with both.
    pub late: bool,
}

thread_local! {
    // Not loom's: it outlives the execution. All threads of a model run on one of the system's.
    static UNKINDNESS: Cell<Unkindness> = const {
        Cell::new(Unkindness { spurious_wakes: 0, late: true })
    };
}

impl Unkindness {
    /// Makes it that of the models to come on this thread.
    pub fn apply(self) {
        UNKINDNESS.set(self);
    }
}

/// Whether a wait that nothing is to end early ends now.
pub(super) fn wakes_for_no_reason() -> bool {
    SPURIOUS_LEFT.take()
}

/// Passes the time of a wait that ends early.
pub(super) fn linger(_woken: impl Fn() -> bool) {
    if UNKINDNESS.get().late {
        loom::thread::yield_now();
    }
}
