//! Values that each thread has for itself, per object (LOCAL).
//!
//! # A value's life
//!
//! ```text
//!   Local ----slot number----> list of the slot's nodes      slots.rs, under a lock
//!                                |      |      |
//!                              node   node   node            a value each, on the heap
//!                                ^      ^      ^
//!   each thread's table ---------'------'------'             table.rs, from slot to node
//!
//!   made --link--> in the list and in its thread's table --unlink--> dropped, or given to the user
//!   (a Box)            |       (lent out and back)                     ^ (Unlinked, as a Box)
//!                      '--retire, when the Local is dropped: all at once-'
//! ```
//! 1. A node is in the list of its slot exactly if it is in its thread's table. Both change
//!    together, under the lock of the list. So whoever of two has taken a node out, the thread at
//!    its end or the one that drops the `Local`, is the only one who knows it.
//! 2. A slot has one `Local` from the time its number is taken until all its nodes have been
//!    taken out, so what a thread finds there is its own value for that `Local`, of that type.
//! 3. A value is reached through its table by the thread that made it, while that has a borrow of
//!    the `Local`; else by who has taken it out. Borrows of the `Local` end before its drop, so
//!    the one happens before the other.
//! 4. A value that is lent out is neither replaced nor taken out. (Not even by a thread's end:
//!    `exit` destroys thread-locals beneath calls that will not return, and those may have shared
//!    the value with other threads.)
//! 5. What others touch of a node, its links, and of a table, its entries, they touch under the
//!    lock; tables are freed when they are empty.
//! 6. Initialisers, destructors and the allocator run under no lock.
//!
//! So every access by two threads is ordered by a lock, but for two: the slot number, which is
//! written once (Release) and read (Acquire); the entry that is nulled by who drops the `Local`
//! (Release), before the owner frees its table (Acquire). Both, and the hand-over of nodes, are in
//! `raw/values.rs`, for the model checker.
//!
//! # fork
//!
//! The locks are held over it, so lists and tables are whole in the child. Nodes of the threads that
//! vanished stay in the lists, as memory: their values may be half changed. Each table says in
//! which generation of processes its owner runs; the survivor's moves on in the child.

mod slots;
mod table;

use super::hooks;
use crate::error::Error;
use crate::raw::values::{NO_SLOT, Number};
use slots::{Loan, Node, NodeOf};
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::thread::panicking;
use table::Refused;

pub(super) use slots::{hold, let_go};
pub(super) use table::{drain, finish, survive};

/// A value for each thread: Python's `local`, for one value instead of attributes.
///
/// The value is made by `init` when a thread first uses it, and dropped
/// - when the thread ends, in that thread, before a [`join`](crate::Thread::join) returns (LOCAL-7);
/// - when the `Local` is dropped, the values of all threads, in the thread that drops it (LOCAL-8).
///   (Not that of a thread that is ending just then and drops its own: this is not waited for.)
///
/// Threads that the crate did not start are included (LOCAL-13). What there is no value for costs
/// nothing: a `Local` is a number and `init`, and can be a `static` or a field of any object.
///
/// Only shared borrows are given out, as calls may nest; use a `Cell` or `RefCell` to change a value
/// in place, neither of which others can see.
///
/// # The end of a thread
/// Values are dropped after what the thread runs has returned or panicked, once more after its
/// thread-locals' destructors, and in other threads (std's, libc's) among these. A destructor may use
/// any `Local` (LOCAL-11): what it makes is dropped in its turn, for 64 rounds; what is left then
/// stays until its `Local` is dropped. (A global allocator that uses a `Local` makes a value anew with
/// each that is freed, so it should not.) The end takes as long as the highest numbered `Local` that
/// the thread used asks for. A panic of a destructor ends neither the other drops nor
/// the thread (LOCAL-12).
///
/// After that a thread has no values: [`with`](Local::with) makes one for the call, and others err.
/// That is seen only by destructors of thread-locals in other threads and of pthread keys.
///
/// Some values are not dropped at their thread's end. Those of the main thread stay at the
/// process's end, as statics do, so that destructors and exit handlers can use them. In a thread
/// that the crate did not start, and that has had no value before its pthread keys are destroyed,
/// those made by then stay until their `Local` is dropped; and so does a value that is lent out
/// by a call in which the thread ends the process.
///
/// # fork
/// In the child the values of the thread that forked live on; those of others are leaked (FORK-8).
///
/// # Cost
/// `with` takes a few loads and no lock. To make and drop a value takes an allocation and two
/// uncontended locks. Each thread has a table of half a KiB once it has a value, and 8 bytes or
/// more for every `Local` in use beyond the first 31. Slots of dropped `Local`s are used again.
///
/// ```
/// use std::cell::Cell;
/// use threadbare::{Local, Thread};
///
/// static REQUESTS: Local<Cell<u32>> = Local::new(|| Cell::new(0));
///
/// REQUESTS.with(|count| count.set(count.get() + 1));
/// let thread = Thread::new(|| REQUESTS.with(|count| assert_eq!(count.get(), 0)));
/// thread.start()?;
/// thread.join()?;
/// REQUESTS.with(|count| assert_eq!(count.get(), 1));
/// # Ok::<(), threadbare::Error>(())
/// ```
///
/// Values go from thread to thread when the `Local` is dropped, so they are `Send`:
///
/// ```compile_fail,E0277
/// let local = threadbare::Local::new(|| std::rc::Rc::new(1));
/// local.with(|one| assert_eq!(**one, 1));
/// ```
///
/// They go in and come out, so a `Local` of a type is not one of its supertypes:
///
/// ```compile_fail,E0308
/// use threadbare::Local;
///
/// fn keep(_: &'static str) {}
///
/// fn spoil(local: &Local<fn(&'static str)>) {
///     local.set(keep).unwrap();
/// }
/// let local = Local::<for<'a> fn(&'a str)>::new(|| |_| ());
/// spoil(&local); // `keep` would be called with any `&str`
/// ```
pub struct Local<T, F = fn() -> T> {
    /// Where the values are; [`NO_SLOT`] at first.
    slot: Number,
    init: F,
    /// It drops values of `T`; and takes some in, so it is invariant.
    values: PhantomData<(T, fn(T))>,
}

// SAFETY: a `&Local` in several threads gives each of them its own `T`, never that of another, so
// `T` need not be `Sync`. It moves values between threads: made in one, dropped with the `Local` in
// another; so `T` is `Send`. `init` is called by all of them, so `F` is `Sync`. (`Send` is derived:
// with `T: Send` for the same reason, and `F: Send`.)
unsafe impl<T: Send, F: Sync> Sync for Local<T, F> {}

impl<T: Send + 'static, F: Fn() -> T> Local<T, F> {
    /// A `Local` whose values `init` makes: once in each thread that uses it, at the first use
    /// (LOCAL-4).
    ///
    /// ```
    /// use std::cell::RefCell;
    /// use threadbare::Local;
    ///
    /// static LINE: Local<RefCell<String>> = Local::new(|| RefCell::new(String::new()));
    ///
    /// // With a closure that captures, in a type that is inferred.
    /// let capacity = 80;
    /// let line = Local::new(move || RefCell::new(String::with_capacity(capacity)));
    /// line.with(|line| line.borrow_mut().push('x'));
    /// LINE.with(|line| assert!(line.borrow().is_empty()));
    /// ```
    #[must_use]
    pub const fn new(init: F) -> Local<T, F> {
        Local {
            slot: Number::new(),
            init,
            values: PhantomData,
        }
    }

    /// Calls `look` with this thread's value, which is made if there is none.
    ///
    /// A panic in `init` reaches the caller and leaves no value (LOCAL-5). `init` may use the same
    /// `Local`: the value that is there first stays, and the other is dropped. In a thread that has
    /// no values any more, `look` gets one for this call.
    ///
    /// A few loads if there is a value.
    ///
    /// ```
    /// use threadbare::Local;
    ///
    /// let scratch = Local::new(|| vec![0_u8; 4096]);
    /// assert_eq!(scratch.with(|bytes| bytes.len()), 4096);
    /// ```
    #[inline]
    pub fn with<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        match self.loan() {
            Some(loan) => look(loan.value()),
            None => self.with_new(look),
        }
    }

    #[cold]
    fn with_new<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        let mut value = (self.init)();
        loop {
            match self.insert(value) {
                // SAFETY: linked just now, by this thread; `self` is borrowed throughout.
                Ok(node) => return look(unsafe { Loan::of(node) }.value()),
                Err(Refused::Closed(value)) => return look(&value),
                Err(Refused::Occupied(another)) => match self.loan() {
                    Some(loan) => {
                        // The loan keeps it in place, whatever this destructor does.
                        drop(another);
                        return look(loan.value());
                    }
                    None => value = another,
                },
            }
        }
    }

    /// A clone of this thread's value, which is made if there is none.
    ///
    /// ```
    /// let local = threadbare::Local::new(|| 1);
    /// assert_eq!(local.get(), 1);
    /// ```
    #[inline]
    pub fn get(&self) -> T
    where
        T: Clone,
    {
        self.with(T::clone)
    }

    /// A clone of this thread's value, if it has one: none is made, whatever others have (LOCAL-2).
    ///
    /// ```
    /// let local = threadbare::Local::new(|| 1);
    /// assert_eq!(local.try_get(), None);
    /// assert_eq!(local.get(), 1);
    /// assert_eq!(local.try_get(), Some(1));
    /// ```
    #[inline]
    pub fn try_get(&self) -> Option<T>
    where
        T: Clone,
    {
        self.loan().map(|loan| loan.value().clone())
    }

    /// Gives this thread the value; the one it had is dropped, `init` is not called.
    ///
    /// # Errors
    /// As [`replace`](Local::replace), with which this is the same but for the result.
    ///
    /// ```
    /// let local = threadbare::Local::new(|| 1);
    /// local.set(2)?;
    /// assert_eq!(local.get(), 2);
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn set(&self, value: T) -> Result<(), Error> {
        self.replace(value).map(drop)
    }

    /// Takes this thread's value away; the next use makes a new one. `None` if there is none.
    ///
    /// # Errors
    /// [`Error::LocalInUse`] in a call of [`with`](Local::with) (or of `clone`, by
    /// [`get`](Local::get)) on the same `Local` in this thread.
    ///
    /// ```
    /// let local = threadbare::Local::new(|| 1);
    /// assert_eq!(local.take(), Ok(None));
    /// local.set(2)?;
    /// assert_eq!(local.take(), Ok(Some(2)));
    /// assert_eq!(local.get(), 1);
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn take(&self) -> Result<Option<T>, Error> {
        let slot = self.slot.get();
        let removed = table::remove(slot).map_err(|slots::OnLoan| Error::LocalInUse)?;
        // SAFETY: what is in this slot is of type `T` (invariant 2).
        Ok(removed.map(|node| unsafe { node.into_value() }))
    }

    /// Gives this thread the value and returns the one it had; `init` is not called.
    ///
    /// # Errors
    /// All is as before, and `value` is dropped.
    /// - [`Error::LocalInUse`] in a call of [`with`](Local::with) (or of `clone`, by
    ///   [`get`](Local::get)) on the same `Local` in this thread.
    /// - [`Error::ThreadEnding`] in a thread that has no values any more (see [`Local`]).
    ///
    /// ```
    /// use threadbare::{Error, Local};
    ///
    /// let local = Local::new(|| 1);
    /// assert_eq!(local.replace(2), Ok(None));
    /// assert_eq!(local.replace(3), Ok(Some(2)));
    /// assert_eq!(local.with(|_| local.replace(4)), Err(Error::LocalInUse));
    /// assert_eq!(local.get(), 3);
    /// ```
    pub fn replace(&self, mut value: T) -> Result<Option<T>, Error> {
        loop {
            if let Some(node) = self.node() {
                // SAFETY: what is found is linked and this thread's; `self` is borrowed throughout.
                return match unsafe { slots::replace(node, value) } {
                    Ok(before) => Ok(Some(before)),
                    Err((slots::OnLoan, _)) => Err(Error::LocalInUse),
                };
            }
            match self.insert(value) {
                Ok(_) => return Ok(None),
                Err(Refused::Closed(_)) => return Err(Error::ThreadEnding),
                // The allocator uses this `Local` itself, and was first.
                Err(Refused::Occupied(again)) => value = again,
            }
        }
    }

    #[inline]
    fn loan(&self) -> Option<Loan<'_, T>> {
        // SAFETY: what is found is linked and this thread's, and `self` is borrowed for as long.
        self.node().map(|node| unsafe { Loan::of(node) })
    }

    fn insert(&self, value: T) -> Result<NonNull<NodeOf<T>>, Refused<T>> {
        // SAFETY: the slot is this `Local`'s, whose values are of type `T`, and `self` is borrowed.
        unsafe { table::insert(self.slot_or_new(), value) }
    }

    fn slot_or_new(&self) -> u32 {
        let known = self.slot.get();
        if known != NO_SLOT {
            return known;
        }
        let new = slots::take();
        match self.slot.settle(new) {
            Ok(()) => new,
            Err(known) => {
                slots::retire(new, drop);
                known
            }
        }
    }
}

impl<T, F> Local<T, F> {
    /// This thread's value, as a node.
    #[inline]
    fn node(&self) -> Option<NonNull<NodeOf<T>>> {
        table::find(self.slot.get()).map(NonNull::<Node>::cast)
    }
}

/// Drops the values of all threads (LOCAL-8).
///
/// If some of them panic, the others are dropped all the same; then the first panic goes on, unless
/// the thread is panicking already.
impl<T, F> Drop for Local<T, F> {
    fn drop(&mut self) {
        let slot = self.slot.get();
        if slot != NO_SLOT {
            drop_values(slot);
        }
    }
}

fn drop_values(slot: u32) {
    let mut first = None;
    slots::retire(slot, |node| {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(node))) {
            match first {
                None => first = Some(payload),
                Some(_) => hooks::discard(payload),
            }
        }
    });
    match first {
        Some(payload) if panicking() => hooks::discard(payload),
        Some(payload) => resume_unwind(payload),
        None => {}
    }
}

/// Says whether this thread has a value. Makes none.
impl<T, F> fmt::Debug for Local<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local")
            .field("has_value", &self.node().is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "../../tests/common/pthread.rs"]
#[expect(dead_code, reason = "these tests use a part of it")]
mod pthread;

#[cfg(test)]
mod tests {
    use super::pthread::Pthread;
    use super::*;
    use crate::Event;
    use std::sync::atomic::Ordering::Relaxed;
    use std::sync::atomic::{AtomicBool, AtomicU32};
    use std::thread;

    /// Forks; in the child `holds` tells whether all is well.
    #[track_caller]
    fn in_child(holds: impl FnOnce() -> bool) {
        // SAFETY: the child uses the allocator, which glibc keeps whole over a fork, and this crate.
        match unsafe { libc::fork() } {
            0 => {
                // SAFETY: no precondition. A child that hangs is to fail.
                unsafe { libc::alarm(20) };
                let well = catch_unwind(AssertUnwindSafe(holds)).unwrap_or(false);
                // SAFETY: leaves the child at once, without running anything of the parent's.
                unsafe { libc::_exit(i32::from(!well)) };
            }
            child => {
                let mut status = -1;
                // SAFETY: `child` is ours and `status` is valid for the call.
                assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
                assert_eq!(status, 0);
            }
        }
    }

    /// Calls its function when dropped, so that a test that fails does not hang.
    struct AtEnd<F: FnMut()>(F);

    impl<F: FnMut()> Drop for AtEnd<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }

    /// Says who it is when dropped.
    struct Tell(&'static AtomicU32, u32);

    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.fetch_add(self.1, Relaxed);
        }
    }

    #[test]
    fn fork_8_values_of_the_survivor_stay_and_those_of_others_are_gone() {
        static DROPPED: AtomicU32 = AtomicU32::new(0);
        let local = Local::new(|| Tell(&DROPPED, 1));
        let (made, go) = (Event::new(), Event::new());
        thread::scope(|s| {
            let other = s.spawn(|| {
                local.set(Tell(&DROPPED, 1000)).unwrap();
                made.set();
                go.wait();
            });
            let _go = AtEnd(|| go.set());
            made.wait();
            local.set(Tell(&DROPPED, 10)).unwrap();
            in_child(|| {
                let mine = local.with(|tell| tell.1) == 10;
                // A child of the child: the same thread survives again.
                in_child(|| local.with(|tell| tell.1) == 10);
                let fresh = Pthread::run(|| local.with(|tell| tell.1));
                let fresh = fresh == 1 && DROPPED.swap(0, Relaxed) == 1;
                // SAFETY: the parent's `local` is not this one, which is not used again.
                drop(unsafe { std::ptr::read(&local) });
                mine && fresh && DROPPED.load(Relaxed) == 10
            });
            go.set();
            // The scope alone would not wait for destructors of thread-locals, which drop the value.
            other.join().unwrap();
        });
        drop(local);
        assert_eq!(
            DROPPED.load(Relaxed),
            1010,
            "in the parent nothing has changed"
        );
    }

    #[test]
    fn fork_8_a_slot_with_values_of_vanished_threads_is_used_again_without_them() {
        let local = Local::new(|| 1);
        let (made, go) = (Event::new(), Event::new());
        thread::scope(|s| {
            s.spawn(|| {
                // By libc, which gives its stack to those that are started alike.
                Pthread::run(|| {
                    local.set(2).unwrap();
                    made.set();
                    go.wait();
                });
            });
            let _go = AtEnd(|| go.set());
            made.wait();
            in_child(|| {
                let slot = local.slot.get();
                // SAFETY: the parent's `local` is not this one, which is not used again.
                drop(unsafe { std::ptr::read(&local) });
                let again = Local::new(|| String::from("new"));
                let ours = again.get() == "new" && again.slot.get() == slot;
                // On the stack, and with the thread-locals, of a thread that vanished.
                let theirs = || again.try_get().is_none() && again.get() == "new";
                ours && (0..4).all(|_| Pthread::run(theirs))
            });
        });
    }

    #[test]
    fn fork_5_a_fork_meets_no_list_half_changed() {
        static STOP: AtomicBool = AtomicBool::new(false);
        static SHARED: Local<u32> = Local::new(|| 1);
        thread::scope(|s| {
            let _stop = AtEnd(|| STOP.store(true, Relaxed));
            for _ in 0..3 {
                s.spawn(|| {
                    while !STOP.load(Relaxed) {
                        let locals: [Local<_, _>; 20] = std::array::from_fn(|_| Local::new(|| 1));
                        locals.iter().for_each(|local| assert_eq!(local.get(), 1));
                        thread::scope(|s| s.spawn(|| SHARED.get()).join()).unwrap();
                    }
                });
            }
            for _ in 0..100 {
                in_child(|| {
                    let locals: Vec<_> = (0..100).map(|n| Local::new(move || n)).collect();
                    let right = locals.iter().zip(0..).all(|(local, n)| local.get() == n);
                    right && SHARED.get() == 1 && SHARED.take() == Ok(Some(1))
                });
            }
        });
        assert_eq!(
            SHARED.try_get(),
            None,
            "only the children have made one here"
        );
    }
}
