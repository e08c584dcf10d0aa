//! Release at the end of a scope (WITH).

use crate::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::mem;

/// Holds what [`guard`](crate::Lock::guard) or [`permit`](crate::Semaphore::permit) acquired, and
/// releases it once when dropped: Python's `with` statement (WITH-1).
///
/// A guard of a `Lock` or a semaphore may be sent to another thread, one of an `RLock` or a
/// `Condition` may not (WITH-4). A leaked guard leaves the lock held, nothing worse (WITH-5).
///
/// # Panics
/// Dropping a guard panics, unless the thread is panicking already, if the release errs because
/// somebody released what the guard holds (WITH-3). [`release`](Guard::release) returns that error
/// instead.
///
/// ```
/// use threadbare::Lock;
///
/// let lock = Lock::new();
/// {
///     let _guard = lock.guard();
///     assert!(lock.locked());
/// }
/// assert!(!lock.locked());
/// ```
///
/// A guard of an `RLock` stays with the thread that owns the lock:
///
/// ```compile_fail,E0277
/// let lock = threadbare::RLock::new();
/// let guard = lock.guard();
/// std::thread::scope(|s| s.spawn(move || drop(guard)));
/// ```
#[must_use = "a guard that is not kept releases at once"]
pub struct Guard<'a, T: Guarded + ?Sized> {
    held: &'a T,
    sendness: PhantomData<T::Sendness>,
}

/// What can be held by a [`Guard`]: sealed, for the five types that have acquire and release.
///
/// ```
/// use threadbare::{Guard, Guarded, Lock, RLock};
///
/// fn is_held<T: Guarded>(_guard: &Guard<'_, T>) -> bool {
///     true
/// }
/// assert!(is_held(&Lock::new().guard()) && is_held(&RLock::new().guard()));
/// ```
pub trait Guarded: sealed::Guarded {}

impl<T: sealed::Guarded + ?Sized> Guarded for T {}

pub(crate) mod sealed {
    use crate::error::Error;

    pub trait Guarded {
        /// `()` if another thread may release, `*const ()` if only the one that acquired.
        type Sendness;

        /// Acquires, without limit.
        fn take(&self);

        /// Releases what `take` acquired.
        fn give(&self) -> Result<(), Error>;
    }
}

impl<'a, T: Guarded + ?Sized> Guard<'a, T> {
    pub(crate) fn acquire(held: &'a T) -> Self {
        held.take();
        Guard {
            held,
            sendness: PhantomData,
        }
    }

    /// Releases now and says whether that went well, where dropping would panic (WITH-3).
    ///
    /// # Errors
    /// Those of the type's own `release`.
    ///
    /// ```
    /// use threadbare::{Error, Lock};
    ///
    /// let lock = Lock::new();
    /// let guard = lock.guard();
    /// lock.release()?; // a mistake
    /// assert_eq!(guard.release(), Err(Error::ReleaseUnlocked));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn release(self) -> Result<(), Error> {
        let held = self.held;
        mem::forget(self);
        held.give()
    }
}

impl<T: Guarded + ?Sized> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if let Err(error) = self.held.give() {
            released_by_others(error);
        }
    }
}

#[cold]
fn released_by_others(error: Error) {
    if !std::thread::panicking() {
        panic!("a guard found its lock released by others: {error}");
    }
}

impl<T: Guarded + fmt::Debug + ?Sized> fmt::Debug for Guard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guard").field(&self.held).finish()
    }
}
