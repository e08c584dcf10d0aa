//! The hand-over of a value between the thread that made it and the drop of its `Local` (LOCAL-7,
//! LOCAL-8).
//!
//! A [`Node`] carries a value. It lies in the [`List`] of its `Local`'s slot, which is under a lock,
//! and in an [`Entry`] of its thread's table, where that thread finds it without one:
//!
//! ```text
//!   a box  --link-->  in the list and in its entry  --unlink, by its thread-->  a box
//!                                       '--empty, by who drops the `Local`-->   a box, in a chain
//!
//!   number:  NO_SLOT  --settle, once-->  n, the slot's
//! ```
//! # Invariants
//!
//! 1. A node is in the list exactly if it is in its entry: both change under the list's lock. So
//!    whoever of two has taken it out, its thread at its end or the one that drops the `Local`, is
//!    the only one who knows it, and a value is dropped once.
//! 2. A slot's number goes from `Local` to `Local` with its list empty, so whatever a thread finds
//!    in its entry is of the `Local` that has the number now.
//! 3. Between link and unlink only its own thread touches a value, while it borrows the `Local`,
//!    whose drop comes after.
//! 4. `empty` touches an entry last by the store that clears it; an entry that its thread has seen
//!    clear by [`is_clear_for_good`](Entry::is_clear_for_good) may be freed.
//!
//! # Ordering
//!
//! The list's lock orders all but two accesses. An entry is read by its thread without the lock:
//! what is there it has put there itself; and that nothing is there any more reaches it with the
//! number (below), since the slot's next `Local` got that behind the clearing. The store that
//! clears (Release) pairs with the load before the entry is freed (Acquire). `settle` (Release)
//! pairs with the loads of the number (Acquire): what happened before the number was taken, above
//! all that the nodes of its last `Local` went, is visible to all who use it.

use crate::primitive::{AtomicPtr, AtomicU32, UnsafeCell, const_unless_modelled};
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// What a `Local` has for a slot until it is first used.
pub const NO_SLOT: u32 = 0;

/// The number of a `Local`'s slot.
#[derive(Debug)]
#[repr(transparent)]
pub struct Number {
    slot: AtomicU32,
}

impl Number {
    const_unless_modelled! {
        /// [`NO_SLOT`].
        pub fn new() -> Number {
            Number { slot: AtomicU32::new(NO_SLOT) }
        }
    }

    /// The slot, or [`NO_SLOT`].
    #[inline]
    pub fn get(&self) -> u32 {
        // Acquire: pairs with the Release in `settle`.
        self.slot.load(Acquire)
    }

    /// Makes it `slot`, which is the caller's, unless there is one.
    ///
    /// # Errors
    /// The slot that there is.
    pub fn settle(&self, slot: u32) -> Result<(), u32> {
        // Release: what happened before the slot was taken is visible to all who use it: pairs with
        // the Acquire in `get` and, on failure, here.
        let settled = self.slot.compare_exchange(NO_SLOT, slot, Release, Acquire);
        settled.map(drop)
    }
}

/// Where a thread finds its node of a slot.
#[derive(Debug)]
#[repr(transparent)]
pub struct Entry<M> {
    node: AtomicPtr<Node<M>>,
}

impl<M> Entry<M> {
    const_unless_modelled! {
        /// Nothing.
        pub fn new() -> Entry<M> {
            Entry { node: AtomicPtr::new(ptr::null_mut()) }
        }
    }

    /// For its thread: what is there.
    #[inline]
    pub fn get(&self) -> Option<NonNull<Node<M>>> {
        // Relaxed: this thread's own, or null: see the module's ordering.
        NonNull::new(self.node.load(Relaxed))
    }

    /// For its thread, which puts nothing there any more: whether nobody else will touch it.
    pub fn is_clear_for_good(&self) -> bool {
        // Acquire: pairs with the Release in `List::empty`.
        self.node.load(Acquire).is_null()
    }
}

/// What a value lies behind, and `M`, what else is to be known of it.
#[derive(Debug)]
pub struct Node<M> {
    pub about: M,
    /// Where its thread looks for it.
    entry: *const Entry<M>,
    /// Its neighbours in the list. Under the list's lock.
    previous: UnsafeCell<*mut Node<M>>,
    next: UnsafeCell<*mut Node<M>>,
    /// How many calls of its thread have lent the value out. That thread's alone; others have no
    /// business with a value of a `Local` that is being used.
    loans: UnsafeCell<usize>,
}

impl<M> Node<M> {
    /// A node in no list, with room at `entry`.
    pub fn new(entry: &Entry<M>, about: M) -> Node<M> {
        Node {
            about,
            entry,
            previous: UnsafeCell::new(ptr::null_mut()),
            next: UnsafeCell::new(ptr::null_mut()),
            loans: UnsafeCell::new(0),
        }
    }

    /// Notes that the value is lent out.
    ///
    /// # Safety
    /// The node is linked and the calling thread's.
    #[inline]
    pub unsafe fn lend(&self) {
        // SAFETY: this thread's alone.
        self.loans.with_mut(|loans| unsafe { *loans += 1 });
    }

    /// Undoes one [`lend`](Node::lend).
    ///
    /// # Safety
    /// As for `lend`, which was called.
    #[inline]
    pub unsafe fn give_back(&self) {
        // SAFETY: this thread's alone.
        self.loans.with_mut(|loans| unsafe { *loans -= 1 });
    }

    /// Whether the value is lent out.
    ///
    /// # Safety
    /// As for [`lend`](Node::lend).
    pub unsafe fn is_on_loan(&self) -> bool {
        // SAFETY: this thread's alone.
        self.loans.with(|loans| unsafe { *loans > 0 })
    }

    /// # Safety
    /// The caller holds the list's lock, or the node is nobody else's.
    unsafe fn next(&self) -> *mut Node<M> {
        // SAFETY: exclusive, as the caller promises.
        self.next.with(|next| unsafe { *next })
    }

    /// # Safety
    /// As for [`next`](Node::next).
    unsafe fn set_next(&self, to: *mut Node<M>) {
        // SAFETY: exclusive, as the caller promises.
        self.next.with_mut(|next| unsafe { *next = to });
    }

    /// # Safety
    /// As for [`next`](Node::next).
    unsafe fn previous(&self) -> *mut Node<M> {
        // SAFETY: exclusive, as the caller promises.
        self.previous.with(|previous| unsafe { *previous })
    }

    /// # Safety
    /// As for [`next`](Node::next).
    unsafe fn set_previous(&self, to: *mut Node<M>) {
        // SAFETY: exclusive, as the caller promises.
        self.previous.with_mut(|previous| unsafe { *previous = to });
    }
}

/// The value is lent out.
#[derive(Debug)]
pub struct OnLoan;

/// All nodes of a slot. Who has a `&mut` of it holds the list's lock.
#[derive(Debug)]
pub struct List<M> {
    first: *mut Node<M>,
}

// SAFETY: nodes are reached under the lock; what they carry is `Send` (see `NodeOf::new`).
unsafe impl<M> Send for List<M> {}

impl<M> List<M> {
    /// No nodes.
    pub const fn new() -> List<M> {
        List {
            first: ptr::null_mut(),
        }
    }

    /// Puts a node in the list and in its entry.
    ///
    /// # Safety
    /// The node is in no list, and valid until it is taken out of this one. Its entry is empty and
    /// the calling thread's.
    pub unsafe fn link(&mut self, node: NonNull<Node<M>>) {
        // SAFETY: valid, and nobody else knows it.
        let this = unsafe { node.as_ref() };
        // SAFETY: nobody else's.
        unsafe { this.set_next(self.first) };
        // SAFETY: linked nodes are valid.
        if let Some(next) = unsafe { self.first.as_ref() } {
            // SAFETY: under the list's lock.
            unsafe { next.set_previous(node.as_ptr()) };
        }
        self.first = node.as_ptr();
        // SAFETY: the caller's.
        let entry = unsafe { &*this.entry };
        // Relaxed: others look at it under the lock only.
        entry.node.store(node.as_ptr(), Relaxed);
    }

    /// Takes the node at `entry`, if there is one, out of both.
    ///
    /// # Errors
    /// [`OnLoan`], and all is as before.
    ///
    /// # Safety
    /// `entry` is the calling thread's, for this list's slot.
    pub unsafe fn unlink(&mut self, entry: &Entry<M>) -> Result<Option<NonNull<Node<M>>>, OnLoan> {
        // Relaxed: the lock keeps others from writing it.
        let Some(node) = NonNull::new(entry.node.load(Relaxed)) else {
            return Ok(None);
        };
        // SAFETY: what is in an entry is linked, and so valid while the list is locked.
        let this = unsafe { node.as_ref() };
        // SAFETY: linked, and this thread's.
        if unsafe { this.is_on_loan() } {
            return Err(OnLoan);
        }
        // SAFETY: under the list's lock.
        let previous = unsafe { this.previous() };
        // SAFETY: under the list's lock.
        let next = unsafe { this.next() };
        // SAFETY: linked nodes are valid.
        match unsafe { previous.as_ref() } {
            // SAFETY: under the list's lock.
            Some(previous) => unsafe { previous.set_next(next) },
            None => self.first = next,
        }
        // SAFETY: linked nodes are valid.
        if let Some(next) = unsafe { next.as_ref() } {
            // SAFETY: under the list's lock.
            unsafe { next.set_previous(previous) };
        }
        // Relaxed: as in `link`.
        entry.node.store(ptr::null_mut(), Relaxed);
        Ok(Some(node))
    }

    /// Takes all nodes of all threads out, oldest first, for who drops their `Local`; those that are
    /// `lost` are leaked. No table is freed that has a node in an entry.
    pub fn empty(&mut self, lost: impl Fn(&M) -> bool) -> Chain<M> {
        let mut chain = ptr::null_mut();
        let mut node = std::mem::replace(&mut self.first, ptr::null_mut());
        // SAFETY: linked nodes are valid.
        while let Some(this) = unsafe { node.as_ref() } {
            // SAFETY: under the list's lock.
            let next = unsafe { this.next() };
            if !lost(&this.about) {
                // SAFETY: under the list's lock.
                unsafe { this.set_next(chain) };
                chain = node;
            }
            // Also where nobody will look: what is found in a slot is taken for its `Local`'s.
            // SAFETY: a table is not freed while an entry has a node.
            let entry = unsafe { &*this.entry };
            // Release: pairs with the Acquire in `is_clear_for_good`. It is the last access to the
            // table, which its thread may free once it sees it.
            entry.node.store(ptr::null_mut(), Release);
            node = next;
        }
        Chain(chain)
    }
}

/// Nodes that are in no list any more, of one slot, and belong to whoever has this.
#[derive(Debug)]
pub struct Chain<M>(*mut Node<M>);

impl<M> Iterator for Chain<M> {
    type Item = NonNull<Node<M>>;

    fn next(&mut self) -> Option<NonNull<Node<M>>> {
        let node = NonNull::new(self.0)?;
        // SAFETY: nodes of the chain are ours, and so valid.
        let this = unsafe { node.as_ref() };
        // SAFETY: nobody else's.
        self.0 = unsafe { this.next() };
        Some(node)
    }
}
