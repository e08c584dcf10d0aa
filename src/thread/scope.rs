//! Threads that borrow from the one that starts them.
//!
//! # Why nothing outlives what it borrows
//!
//! 1. [`scope`] returns, by whatever way, only after each thread of it has been joined: it catches
//!    panics of its body, and its list names all threads that may still run. A thread is put on the
//!    list before the function that starts it returns, so by a thread that is not joined before.
//! 2. A thread has ended, for joiners, after all that it was given and all that it made for the
//!    handle was dropped or left with the handle (`returning`).
//! 3. A handle cannot leave the scope: `'scope` is the lifetime of a borrow of the [`Scope`], which
//!    is gone when [`scope`] returns. One that is leaked leaks what its thread has returned.
//! 4. In the child of a fork the other threads are gone; nothing of theirs is dropped there. One of
//!    them may have been starting another: the list is locked anew and forgotten.

use super::builder::Builder;
use super::returning::{Returning, Untaken, join_handle};
use super::{Deadline, Error, Thread};
use crate::raw::renewed_lock::RenewedLock;
use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::Result as Returned;
use std::time::Duration;

/// Where threads can be started that borrow from the stack: see [`scope`].
///
/// ```
/// use threadbare::{Scope, scope};
///
/// fn start_all<'scope>(scope: &'scope Scope<'scope, '_>, names: &'scope [&str]) {
///     for name in names {
///         scope.spawn(move || println!("{name}"));
///     }
/// }
/// let names = ["a", "b"];
/// scope(|s| start_all(s, &names));
/// ```
pub struct Scope<'scope, 'env: 'scope> {
    threads: Threads,
    untaken: Arc<Untaken>,
    /// Invariant: with a longer `'scope` threads could borrow what is gone at its end, with a
    /// shorter one from the body of `scope`, which ends before they do.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// The threads that are not known to be gone.
struct Threads {
    lock: RenewedLock,
    list: UnsafeCell<List>,
}

#[derive(Default)]
struct List {
    threads: Vec<Thread>,
    /// At this length those that are gone are taken off, and it becomes twice what is left: so a long
    /// life with many short threads costs constant time for each, and space for those that live. It
    /// is not enough that they have ended: their kernel threads may have something to do, and who has
    /// called `exit_process` never gets any further.
    full: usize,
}

// SAFETY: the list is touched under the lock only.
unsafe impl Sync for Threads {}

impl Threads {
    fn new() -> Threads {
        Threads {
            lock: RenewedLock::new(),
            list: UnsafeCell::default(),
        }
    }

    /// Calls `access` with the list, under its lock. It does not panic.
    fn with<R>(&self, access: impl FnOnce(&mut List) -> R) -> R {
        let list = self.list.get();
        let forget = || {
            // SAFETY: nobody else of this process touches the list meanwhile. It is not looked into:
            // a vanished thread may have been changing it.
            unsafe { list.write(List::default()) };
        };
        // SAFETY: under the lock nobody else touches the list.
        self.lock.with(forget, || access(unsafe { &mut *list }))
    }

    fn add(&self, thread: Thread) {
        const LEAST: usize = 32;
        let gone = self.with(|list| {
            let mut gone = Vec::new();
            if list.threads.len() >= list.full.max(LEAST) {
                let threads = mem::take(&mut list.threads).into_iter();
                (gone, list.threads) = threads.partition(|thread| thread.record.is_joined());
                list.full = 2 * list.threads.len();
            }
            list.threads.push(thread);
            gone
        });
        drop(gone);
    }

    fn next(&self) -> Option<Thread> {
        self.with(|list| list.threads.pop())
    }
}

/// Calls `f` with a scope in which it can start threads that borrow from outside of `f`, and waits
/// for all of them, those included that they start.
///
/// As [`std::thread::scope`]. Beyond what that promises, the threads' thread-locals have been
/// destroyed and their kernel threads are gone when it returns.
///
/// The threads are daemons, for a program may end while a scope runs. A scope with a thread that has
/// called [`exit_process`](crate::exit_process) does not return. In the child of a fork the threads of
/// the parent are not waited for.
///
/// # Panics
/// With what `f` panics with; else if a thread has panicked and nobody has taken that by a join.
///
/// ```
/// let (numbers, mut doubled) = (vec![1, 2, 3], Vec::new());
/// threadbare::scope(|s| {
///     let sum = s.spawn(|| numbers.iter().sum::<i32>());
///     s.spawn(|| doubled.extend(numbers.iter().map(|number| 2 * number)));
///     assert_eq!(sum.join().unwrap(), 6);
/// });
/// assert_eq!(doubled, [2, 4, 6]);
/// ```
#[track_caller]
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope {
        threads: Threads::new(),
        untaken: Arc::default(),
        scope: PhantomData,
        env: PhantomData,
    };
    let returned = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    scope.join_all();
    match returned {
        Err(payload) => resume_unwind(payload),
        // Relaxed: all threads were joined.
        Ok(_) if scope.untaken.load(Relaxed) > 0 => panic!("a scoped thread panicked"),
        Ok(value) => value,
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Starts a thread in the scope: as [`spawn`](crate::spawn), but `f` may borrow all that
    /// outlives the scope.
    ///
    /// # Panics
    /// If the operating system refuses the thread; [`Builder::spawn_scoped`] returns an error then.
    ///
    /// ```
    /// let text = String::from("borrowed");
    /// let len = threadbare::scope(|s| s.spawn(|| text.len()).join().unwrap());
    /// assert_eq!(len, 8);
    /// ```
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        match Builder::new().spawn_scoped(self, f) {
            Ok(handle) => handle,
            Err(error) => panic!("{error}"),
        }
    }

    /// Waits until all threads of the scope are gone.
    fn join_all(&self) {
        // A thread that starts another puts that on the list before it ends, so once all are joined
        // that were on it, and it is empty, there are no others.
        while let Some(thread) = self.threads.next() {
            if thread.join().is_err() {
                // It was started, and is not this one, which is outside of the scope. To go on would
                // leave it with what it borrows.
                process::abort();
            }
        }
    }
}

impl Builder {
    /// Starts a thread in `scope`: as [`Scope::spawn`], with what was said of the thread. It is a
    /// daemon unless that was said otherwise; a [`target`](Builder::target) that was given is
    /// dropped.
    ///
    /// # Errors
    /// Those of [`build`](Builder::build) and [`Thread::start`]; `f` has been dropped then.
    ///
    /// ```
    /// use threadbare::{Thread, scope};
    ///
    /// let text = String::from("borrowed");
    /// scope(|s| {
    ///     let thread = Thread::builder().stack_size(64 << 10).spawn_scoped(s, || text.len())?;
    ///     assert_eq!(thread.join().unwrap(), 8);
    ///     Ok::<(), threadbare::Error>(())
    /// })?;
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn spawn_scoped<'scope, F, T>(
        self,
        scope: &'scope Scope<'scope, '_>,
        f: F,
    ) -> Result<ScopedJoinHandle<'scope, T>, Error>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        // SAFETY: put on the list below, by which the scope joins it before `'scope` is over.
        let started = unsafe { Returning::start(self, f, Some(scope.untaken.clone())) }?;
        scope.threads.add(started.thread().clone());
        Ok(ScopedJoinHandle(started, PhantomData))
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

/// What [`Scope::spawn`] returns: the right to join the thread and take what it returns.
///
/// ```
/// threadbare::scope(|s| {
///     let handle = s.spawn(|| "done");
///     assert_eq!(handle.join().unwrap(), "done");
/// });
/// ```
pub struct ScopedJoinHandle<'scope, T>(Returning<T>, PhantomData<&'scope ()>);

join_handle!(impl<T> ScopedJoinHandle<'_, T>);

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_tuple("ScopedJoinHandle");
        shown.field(self.thread()).finish()
    }
}

#[cfg(all(test, not(threadbare_model)))]
mod tests {
    use super::*;

    impl Scope<'_, '_> {
        fn len(&self) -> usize {
            self.threads.with(|list| list.threads.len())
        }
    }

    #[test]
    fn a_list_of_many_short_threads_stays_small() {
        scope(|s| {
            let mut longest = 0;
            for _ in 0..10_000 {
                s.spawn(|| ()).join().unwrap();
                longest = longest.max(s.len());
            }
            assert!(longest <= 33, "{longest}");
        });
    }

    #[test]
    fn a_list_of_short_threads_that_nobody_joins_shrinks_too() {
        scope(|s| {
            for _ in 0..100 {
                let threads: Vec<_> = (0..100).map(|_| s.spawn(|| ()).thread().clone()).collect();
                while threads.iter().any(Thread::is_alive) {
                    std::thread::yield_now();
                }
            }
            assert!(s.len() <= 1_000, "{}", s.len());
        });
    }
}
