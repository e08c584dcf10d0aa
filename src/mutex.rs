//! Locks that hold what they protect: `lock_api`'s types over this crate's locks.
//!
//! `lock_api` brings guards, mapped guards and guards that own their mutex; here stands what it
//! needs to know of the lock and of the thread, and what it has no form for.

use crate::blocking;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::observe::{self, Object, ObjectKind};
use crate::primitive::thread_token;
use crate::raw::owned_lock::OwnedLock;
use crate::raw::park::{GaveUp, Limit};
use lock_api::{GetThreadId, GuardNoSend, RawMutex as _, RawMutexTimed};
use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};
use threadbare_sys::clock;

/// A value that one thread at a time may use, which takes the lock for that and gets a guard.
///
/// A type of [`lock_api`], whose documentation has all functions: [`new`](lock_api::Mutex::new) is
/// `const`, [`lock`](lock_api::Mutex::lock), [`try_lock`](lock_api::Mutex::try_lock),
/// [`try_lock_for`](lock_api::Mutex::try_lock_for) a duration,
/// [`try_lock_until`](lock_api::Mutex::try_lock_until) an instant,
/// [`into_inner`](lock_api::Mutex::into_inner), [`get_mut`](lock_api::Mutex::get_mut). Forms that
/// report errors or signals, or take a [`Deadline`], come by [`MutexExt`].
///
/// To wait for a change of the value, use [`Condvar`](crate::Condvar) with the guard, or a
/// [`Monitor`](crate::Monitor), which is both in one.
///
/// A panic while the mutex is locked releases it; there is no poisoning, so what a panic may leave
/// half changed is the program's to mend. To lock it again in the same thread blocks for ever.
///
/// # Memory ordering
/// What happened before a guard was dropped happens before the next lock returns.
///
/// # Size, cost, end
/// Eight bytes beside the value. Without contention no system call, and one compare-and-swap: the release
/// is a plain store once [`init`](crate::init) or the start of a [`Thread`](crate::Thread) has set that up,
/// and a compare-and-swap before that and for a while after a thread has waited. See
/// [`set_membarrier`](crate::set_membarrier) for who pays.
///
/// After that store the release reads the mutex once more. So the memory may be freed once the guard has
/// been dropped, as borrowing has it, but not as soon as that has let the next owner proceed, as unsafe
/// code might think. [`RawMutex::symmetric`] makes a mutex for that.
///
/// # Fork
/// In the child of a fork a mutex that another thread held stays locked, with the value as it was at
/// that moment. If the program can tell that the value is whole, it may
/// [`force_unlock`](lock_api::Mutex::force_unlock) it there.
///
/// ```
/// use threadbare::Mutex;
///
/// static HITS: Mutex<u64> = Mutex::new(0);
/// std::thread::scope(|s| {
///     for _ in 0..4 {
///         s.spawn(|| *HITS.lock() += 1);
///     }
/// });
/// assert_eq!(*HITS.lock(), 4);
/// ```
pub type Mutex<T> = lock_api::Mutex<RawMutex, T>;

/// What [`Mutex::lock`](lock_api::Mutex::lock) returns: the value, until it is dropped. It stays in
/// the thread that took the lock.
///
/// ```
/// use threadbare::{Mutex, MutexGuard};
///
/// let list = Mutex::new(vec![1, 2]);
/// let mut guard: MutexGuard<'_, Vec<i32>> = list.lock();
/// guard.push(3);
/// // For something long that does not need the list: released, and taken again.
/// MutexGuard::unlocked(&mut guard, || assert!(!list.is_locked()));
/// ```
pub type MutexGuard<'a, T> = lock_api::MutexGuard<'a, RawMutex, T>;

/// A guard of a part of what a [`Mutex`] holds.
///
/// ```
/// use threadbare::{MappedMutexGuard, Mutex, MutexGuard};
///
/// let pair = Mutex::new((1, "one"));
/// let mut name: MappedMutexGuard<'_, &str> = MutexGuard::map(pair.lock(), |pair| &mut pair.1);
/// *name = "uno";
/// drop(name);
/// assert_eq!(*pair.lock(), (1, "uno"));
/// ```
pub type MappedMutexGuard<'a, T> = lock_api::MappedMutexGuard<'a, RawMutex, T>;

/// A guard that owns a reference to its [`Mutex`], and so may outlive all others.
///
/// ```
/// use std::sync::Arc;
/// use threadbare::{ArcMutexGuard, Mutex};
///
/// let mutex = Arc::new(Mutex::new(1));
/// let guard: ArcMutexGuard<i32> = mutex.lock_arc();
/// drop(mutex);
/// assert_eq!(*guard, 1);
/// ```
#[cfg(feature = "arc_lock")]
pub type ArcMutexGuard<T> = lock_api::ArcMutexGuard<RawMutex, T>;

/// A [`Mutex`] that its owner may lock again. The guards lend the value for reading only, since there
/// may be several; a `Cell` or `RefCell` inside makes it writable.
///
/// A type of [`lock_api`]; as `Mutex` otherwise. An [`RLock`](crate::RLock) has the same without a
/// value, with forms for deadlines and signals.
///
/// A [trace function](crate::settrace) that is told that its thread has got the mutex must not lock
/// it: `lock_api` notes the owner only afterwards, so that would wait for ever. Before the wait, when
/// it is told that this begins, it may.
///
/// # Panics
/// To lock it more than `usize::MAX` times in one thread.
///
/// ```
/// use std::cell::Cell;
/// use threadbare::ReentrantMutex;
///
/// let count = ReentrantMutex::new(Cell::new(0));
/// let outer = count.lock();
/// let inner = count.lock();
/// inner.set(outer.get() + 1);
/// assert_eq!(outer.get(), 1);
/// ```
pub type ReentrantMutex<T> = lock_api::ReentrantMutex<RawMutex, RawThreadId, T>;

/// What [`ReentrantMutex::lock`](lock_api::ReentrantMutex::lock) returns.
///
/// ```
/// use threadbare::{ReentrantMutex, ReentrantMutexGuard};
///
/// let mutex = ReentrantMutex::new(1);
/// let guard: ReentrantMutexGuard<'_, i32> = mutex.lock();
/// assert_eq!(*guard, 1);
/// ```
pub type ReentrantMutexGuard<'a, T> = lock_api::ReentrantMutexGuard<'a, RawMutex, RawThreadId, T>;

/// A guard of a part of what a [`ReentrantMutex`] holds.
///
/// ```
/// use threadbare::{MappedReentrantMutexGuard, ReentrantMutex, ReentrantMutexGuard};
///
/// let pair = ReentrantMutex::new((1, "one"));
/// let name: MappedReentrantMutexGuard<'_, &str> =
///     ReentrantMutexGuard::map(pair.lock(), |pair| &pair.1);
/// assert_eq!(*name, "one");
/// ```
pub type MappedReentrantMutexGuard<'a, T> =
    lock_api::MappedReentrantMutexGuard<'a, RawMutex, RawThreadId, T>;

/// A guard that owns a reference to its [`ReentrantMutex`].
///
/// ```
/// use std::sync::Arc;
/// use threadbare::{ArcReentrantMutexGuard, ReentrantMutex};
///
/// let mutex = Arc::new(ReentrantMutex::new(1));
/// let guard: ArcReentrantMutexGuard<i32> = mutex.lock_arc();
/// drop(mutex);
/// assert_eq!(*guard, 1);
/// ```
#[cfg(feature = "arc_lock")]
pub type ArcReentrantMutexGuard<T> = lock_api::ArcReentrantMutexGuard<RawMutex, RawThreadId, T>;

/// The lock in a [`Mutex`], for types that are generic over `lock_api`'s traits.
///
/// `RawMutexFair` is not implemented: a thread that runs may take the lock before the one that was
/// woken for it (LOCK-11).
///
/// ```
/// use lock_api::RawMutex as _;
/// use threadbare::RawMutex;
///
/// static LOCK: RawMutex = RawMutex::INIT;
/// LOCK.lock();
/// assert!(!LOCK.try_lock());
/// // SAFETY: locked above.
/// unsafe { LOCK.unlock() };
/// ```
#[derive(Debug)]
#[repr(transparent)]
pub struct RawMutex(OwnedLock);

const _: () = assert!(size_of::<RawMutex>() == 8); // as documented

impl RawMutex {
    /// A free lock whose release always is a compare-and-swap. It lets the next owner free the memory at
    /// once, and no waiter makes the process's other threads fence
    /// ([`set_membarrier`](crate::set_membarrier)).
    ///
    /// ```
    /// use threadbare::{Mutex, RawMutex};
    ///
    /// static HITS: Mutex<u64> = Mutex::from_raw(RawMutex::symmetric(), 0);
    /// *HITS.lock() += 1;
    /// assert_eq!(*HITS.lock(), 1);
    /// ```
    #[must_use]
    pub const fn symmetric() -> RawMutex {
        RawMutex(OwnedLock::symmetric())
    }

    #[inline]
    fn block(&self, limit: Limit) -> Result<(), GaveUp> {
        let object = Object::new(ObjectKind::Mutex, self);
        observe::blocking(object, || self.0.acquire_contended(limit), Result::is_ok)
    }
}

// SAFETY: the lock is exclusive: its models show it.
unsafe impl lock_api::RawMutex for RawMutex {
    const INIT: RawMutex = RawMutex(OwnedLock::new());

    type GuardMarker = GuardNoSend;

    #[inline]
    fn lock(&self) {
        if !self.0.attempt() {
            let taken = self.block(Limit::NONE);
            debug_assert_eq!(taken, Ok(()), "a wait without limit does not give up");
        }
    }

    #[inline]
    fn try_lock(&self) -> bool {
        self.0.try_acquire()
    }

    #[inline]
    unsafe fn unlock(&self) {
        // SAFETY: the caller holds the lock, and its borrow keeps it there unless it is symmetric.
        unsafe { self.0.release() };
    }

    #[inline]
    fn is_locked(&self) -> bool {
        self.0.is_locked()
    }
}

// SAFETY: as above.
unsafe impl RawMutexTimed for RawMutex {
    type Duration = Duration;
    type Instant = Instant;

    /// A time that the clock does not reach is no limit.
    #[inline]
    fn try_lock_for(&self, timeout: Duration) -> bool {
        let block = || self.block(Limit::until(clock::Deadline::after(timeout)));
        if timeout.is_zero() {
            self.try_lock()
        } else {
            self.0.attempt() || block().is_ok()
        }
    }

    #[inline]
    fn try_lock_until(&self, instant: Instant) -> bool {
        self.0.attempt() || self.block(Limit::until(Deadline::from(instant).0)).is_ok()
    }
}

/// Who a thread is, for `lock_api`: its [`get_ident`](crate::get_ident), which no other thread of the
/// process has, had or will have.
///
/// ```
/// use lock_api::GetThreadId as _;
/// use threadbare::{RawThreadId, get_ident};
///
/// assert_eq!(RawThreadId::INIT.nonzero_thread_id().get() as u64, get_ident());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RawThreadId;

// SAFETY: no two threads have the same token, and a thread keeps its own.
unsafe impl GetThreadId for RawThreadId {
    const INIT: RawThreadId = RawThreadId;

    #[inline]
    fn nonzero_thread_id(&self) -> NonZeroUsize {
        // 64 bits each: see `compile_error!` in `threadbare-sys`.
        NonZeroUsize::new(thread_token() as usize).expect("a token is not zero")
    }
}

/// What [`Mutex`] has beside the functions of `lock_api`: the forms in which all of this crate's
/// blocking operations come.
///
/// ```
/// use std::time::Duration;
/// use threadbare::{Deadline, Mutex, MutexExt};
///
/// let (first, second) = (Mutex::new(1), Mutex::new(2));
/// // A second for both.
/// let deadline = Deadline::after(Duration::from_secs(1))?;
/// if let (Some(a), Some(b)) = (first.lock_until(deadline), second.lock_until(deadline)) {
///     assert_eq!(*a + *b, 3);
/// }
/// # Ok::<(), threadbare::Error>(())
/// ```
pub trait MutexExt: sealed::MutexExt {
    /// What the mutex holds.
    type Value: ?Sized;

    /// Takes the lock within `timeout`; `None` when the time is up. Zero makes one attempt.
    ///
    /// # Errors
    /// [`Error::TimeoutTooLarge`] if `timeout` exceeds [`TIMEOUT_MAX`](crate::TIMEOUT_MAX), also if
    /// the lock is free.
    ///
    /// ```
    /// use std::time::Duration;
    /// use threadbare::{Mutex, MutexExt};
    ///
    /// let mutex = Mutex::new(1);
    /// let guard = mutex.lock_timeout(Duration::from_secs(1))?;
    /// assert!(guard.is_some_and(|value| *value == 1));
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    fn lock_timeout(&self, timeout: Duration)
    -> Result<Option<MutexGuard<'_, Self::Value>>, Error>;

    /// Takes the lock before `deadline`; `None` when the time is up. One attempt is made in any
    /// case.
    ///
    /// ```
    /// use threadbare::{Deadline, Mutex, MutexExt};
    ///
    /// let mutex = Mutex::new(1);
    /// let guard = mutex.lock_until(Deadline::now());
    /// assert!(guard.is_some() && mutex.lock_until(Deadline::now()).is_none());
    /// ```
    fn lock_until(&self, deadline: Deadline) -> Option<MutexGuard<'_, Self::Value>>;

    /// Takes the lock before `deadline`; `None` when the time is up. A signal handler that runs
    /// while the thread sleeps ends the wait, also one installed with `SA_RESTART`. One that runs
    /// just before it falls asleep is not noticed.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after a signal handler ran: the lock was not taken.
    ///
    /// ```
    /// use threadbare::{Deadline, Mutex, MutexExt};
    ///
    /// let mutex = Mutex::new(1);
    /// assert!(mutex.lock_interruptible(Deadline::NEVER)?.is_some());
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    fn lock_interruptible(
        &self,
        deadline: Deadline,
    ) -> Result<Option<MutexGuard<'_, Self::Value>>, Error>;

    /// As [`lock_interruptible`](MutexExt::lock_interruptible), but what ends the wait is `check`, by
    /// returning `true`: it is called before the thread sleeps, after each signal handler that ran,
    /// and every 50 ms, so no signal is missed. If it panics, the lock is not taken.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if `check` has returned `true`.
    ///
    /// ```
    /// use threadbare::{Deadline, Error, Mutex, MutexExt};
    ///
    /// let mutex = Mutex::new(1);
    /// let _guard = mutex.lock();
    /// assert_eq!(mutex.lock_checked(Deadline::NEVER, || true).err(), Some(Error::Interrupted));
    /// ```
    fn lock_checked(
        &self,
        deadline: Deadline,
        check: impl FnMut() -> bool,
    ) -> Result<Option<MutexGuard<'_, Self::Value>>, Error>;
}

mod sealed {
    pub trait MutexExt {}

    impl<T: ?Sized> MutexExt for super::Mutex<T> {}
}

impl<T: ?Sized> MutexExt for Mutex<T> {
    type Value = T;

    fn lock_timeout(&self, timeout: Duration) -> Result<Option<MutexGuard<'_, T>>, Error> {
        taken(self, |raw| {
            let (attempt, try_acquire) = (|| Ok(raw.0.attempt()), || raw.try_lock());
            blocking::lock_within(timeout, attempt, try_acquire, |limit| raw.block(limit))
        })
    }

    fn lock_until(&self, deadline: Deadline) -> Option<MutexGuard<'_, T>> {
        let limit = Limit::until(deadline.0);
        let Ok(guard) = taken(self, |raw| {
            Ok::<_, Infallible>(raw.0.attempt() || raw.block(limit).is_ok())
        });
        guard
    }

    fn lock_interruptible(&self, deadline: Deadline) -> Result<Option<MutexGuard<'_, T>>, Error> {
        taken(self, |raw| {
            blocking::interruptible(deadline, || Ok(raw.0.attempt()), |limit| raw.block(limit))
        })
    }

    fn lock_checked(
        &self,
        deadline: Deadline,
        check: impl FnMut() -> bool,
    ) -> Result<Option<MutexGuard<'_, T>>, Error> {
        taken(self, |raw| {
            blocking::checked(
                deadline,
                check,
                || Ok(raw.0.attempt()),
                |limit| raw.block(limit),
                // SAFETY: it was taken just now, and there is no guard.
                || unsafe { raw.unlock() },
            )
        })
    }
}

/// The guard, if `take` says that it has taken the lock.
fn taken<T: ?Sized, E>(
    mutex: &Mutex<T>,
    take: impl FnOnce(&RawMutex) -> Result<bool, E>,
) -> Result<Option<MutexGuard<'_, T>>, E> {
    // SAFETY: what is released was taken before.
    let raw = unsafe { mutex.raw() };
    let has_it = take(raw)?;
    // SAFETY: the calling thread has taken the lock, and there is no guard yet.
    Ok(has_it.then(|| unsafe { mutex.make_guard_unchecked() }))
}
