//! Values that are reached only while their lock is held.

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use threadbare::{Condition, Guard, Lock};

/// A value and the lock that guards it.
///
/// The lock is a plain `Lock`, not an `RLock`: a thread that locked the same
/// value twice would otherwise hold two `&mut` to it; this way it deadlocks.
pub struct Guarded<T> {
    lock: Lock,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached only through `Held`, which exists only while
// `lock` is held, so one thread at a time has it; it moves between threads,
// hence `T: Send`.
unsafe impl<T: Send> Sync for Guarded<T> {}

impl<T> Guarded<T> {
    pub const fn new(value: T) -> Self {
        Guarded {
            lock: Lock::new(),
            value: UnsafeCell::new(value),
        }
    }

    /// Waits for the lock; the value is free again when the result is dropped.
    pub fn lock(&self) -> Held<'_, T> {
        Held {
            _guard: self.lock.guard(),
            cell: &self.value,
            _exclusive: PhantomData,
        }
    }
}

impl<T: Default> Default for Guarded<T> {
    fn default() -> Self {
        Guarded::new(T::default())
    }
}

/// The value of a [`Guarded`] whose lock is held.
pub struct Held<'a, T> {
    _guard: Guard<'a, Lock>,
    cell: &'a UnsafeCell<T>,
    /// Makes `Held` as shareable between threads as the `&mut T` it stands for.
    _exclusive: PhantomData<&'a mut T>,
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: `_guard` holds the lock, and no other `Held` of this value
        // exists while it does; `&self` forbids a `&mut T` from this one.
        unsafe { &*self.cell.get() }
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: `_guard` holds the lock, and no other `Held` of this value
        // exists while it does; `&mut self` forbids any other borrow from this one.
        unsafe { &mut *self.cell.get() }
    }
}

/// A value that threads also wait for changes of.
pub struct Watched<T> {
    changed: Condition<Lock>,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached only with the lock of `changed` held, by one thread at a time; it
// moves between threads, hence `T: Send`.
unsafe impl<T: Send> Sync for Watched<T> {}

impl<T> Watched<T> {
    pub const fn new(value: T) -> Self {
        Watched {
            changed: Condition::with_lock(Lock::new()),
            value: UnsafeCell::new(value),
        }
    }

    /// Changes the value, and wakes those who wait for a change.
    pub fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let _guard = self.changed.guard();
        // SAFETY: `_guard` holds the lock; `change` cannot come back here, it would deadlock.
        let result = change(unsafe { &mut *self.value.get() });
        // The lock is held, so there is no error to come.
        let _ = self.changed.notify_all();
        result
    }

    /// Waits until `take` finds what it looks for. It may change the value; others are woken when
    /// it has found something.
    pub fn wait_for<R>(&self, mut take: impl FnMut(&mut T) -> Option<R>) -> R {
        let _guard = self.changed.guard();
        // SAFETY: the predicate is called with the lock held, one call at a time.
        let attempt = || take(unsafe { &mut *self.value.get() });
        let found = self.changed.wait_for(attempt).ok().flatten();
        let _ = self.changed.notify_all(); // as above
        found.expect("the lock is held, and there is no timeout")
    }
}
