//! Which slot a `Local` has, and which values are in it: all that threads share.
//!
//! Everything here is behind locks: one for the numbers, and [`SHARDS`] for the lists, chosen by
//! number, so that threads which use different `Local`s hardly ever meet. None of these locks is
//! held while another is taken, except over a fork, in the order of [`hold`]. Under them runs
//! nothing but this file: no initialiser, no destructor, no allocator.

use super::table::Table;
use crate::locked::Locked;
use std::cell::Cell;
use std::mem::{self, ManuallyDrop};
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::{Relaxed, Release};

/// How many locks the lists share. The odds that two threads which begin or end at the same moment
/// want the same one are small with as many as there are CPUs in common servers.
const SHARDS: usize = 16;

static NUMBERS: Locked<Numbers> = Locked::new(Numbers {
    issued: 0,
    free: Vec::new(),
});

static LISTS: [Locked<Lists>; SHARDS] =
    [const { Locked::new(Lists { heads: Vec::new() }) }; SHARDS];

/// The slot numbers, from 1.
struct Numbers {
    /// The highest that was ever taken.
    issued: u32,
    /// Those that were given back. It has room for all that were issued.
    free: Vec<u32>,
}

/// The lists of a shard. Number `n` is in shard `n % SHARDS`, at `n / SHARDS`.
struct Lists {
    heads: Vec<*mut Node>,
}

// SAFETY: nodes are reached under the lock; their values are `Send` (see `NodeOf::new`).
unsafe impl Send for Lists {}

impl Lists {
    fn head(&mut self, slot: u32) -> &mut *mut Node {
        &mut self.heads[slot as usize / SHARDS]
    }
}

fn lists(slot: u32) -> &'static Locked<Lists> {
    &LISTS[slot as usize % SHARDS]
}

/// Takes a number that no other `Local` has, in whose list is nothing.
///
/// # Panics
/// If 2^32 - 1 are taken.
pub(super) fn take() -> u32 {
    let mut spare = Vec::new();
    loop {
        let taken = NUMBERS.with(|numbers| {
            if let Some(slot) = numbers.free.pop() {
                return Ok((slot, false));
            }
            let issued = numbers.issued as usize;
            if move_if_larger(&mut numbers.free, &mut spare, issued + 1) {
                numbers.issued = numbers.issued.checked_add(1).ok_or(None)?;
                return Ok((numbers.issued, true));
            }
            Err(Some(2 * issued + SHARDS))
        });
        match taken {
            Ok((slot, is_new)) => {
                if is_new {
                    make_room(slot);
                }
                return slot;
            }
            Err(Some(room)) => spare = Vec::with_capacity(room),
            Err(None) => panic!("no more than 2^32 - 1 `Local`s can be in use"),
        }
    }
}

/// Gives a number back whose list is empty.
fn give_back(slot: u32) {
    NUMBERS.with(|numbers| {
        debug_assert!(numbers.free.len() < numbers.free.capacity());
        numbers.free.push(slot);
    });
}

/// For the first owner of a number: makes its list.
fn make_room(slot: u32) {
    let len = slot as usize / SHARDS + 1;
    let mut spare = Vec::new();
    while !lists(slot).with(|lists| {
        let has_room = move_if_larger(&mut lists.heads, &mut spare, len);
        if has_room && lists.heads.len() < len {
            lists.heads.resize(len, ptr::null_mut());
        }
        has_room
    }) {
        spare = Vec::with_capacity(2 * len);
    }
}

/// Whether `full` has room for `needed` items; it moves to `spare` where that has and it has not.
/// Then `spare` has its old memory, to be freed outside the lock.
fn move_if_larger<T>(full: &mut Vec<T>, spare: &mut Vec<T>, needed: usize) -> bool {
    if full.capacity() < needed && spare.capacity() >= needed {
        spare.append(full);
        mem::swap(full, spare);
    }
    full.capacity() >= needed
}

/// What each node begins with; see the diagram in `local.rs` for its life.
pub(super) struct Node {
    slot: u32,
    /// Drops the `NodeOf` that this is.
    drop: unsafe fn(*mut Node),
    /// Of the thread that made it.
    owner: *const Table,
    /// Where the owner looks for it.
    entry: *const AtomicPtr<Node>,
    /// Its neighbours in the list. Under the list's lock.
    previous: Cell<*mut Node>,
    next: Cell<*mut Node>,
    /// How many calls of the owner have lent the value out. The owner's; others have no business
    /// with a value of a `Local` that is being used.
    loans: Cell<usize>,
}

/// A node and the value in it.
#[repr(C)] // a pointer to the node is one to its head
pub(super) struct NodeOf<T> {
    node: Node,
    value: T,
}

impl<T: Send + 'static> NodeOf<T> {
    /// A node that is in no list yet, with room at `entry` of `owner`'s table.
    pub(super) fn new(
        slot: u32,
        owner: &Table,
        entry: &AtomicPtr<Node>,
        value: T,
    ) -> Box<NodeOf<T>> {
        /// # Safety
        /// `node` came out of a `Box<NodeOf<T>>` and is not used again.
        unsafe fn drop_as<T>(node: *mut Node) {
            // SAFETY: passed on to the caller.
            drop(unsafe { Box::from_raw(node.cast::<NodeOf<T>>()) });
        }
        let node = Node {
            slot,
            drop: drop_as::<T>,
            owner,
            entry,
            previous: Cell::new(ptr::null_mut()),
            next: Cell::new(ptr::null_mut()),
            loans: Cell::new(0),
        };
        Box::new(NodeOf { node, value })
    }

    pub(super) fn into_value(self) -> T {
        self.value
    }
}

/// Borrows a value; while one of these lives, nothing takes, replaces or drops it.
pub(super) struct Loan<'a, T>(&'a NodeOf<T>);

impl<'a, T> Loan<'a, T> {
    /// # Safety
    /// `node` is linked, the calling thread's, and its `Local` is not dropped during `'a`.
    #[inline]
    pub(super) unsafe fn of(node: NonNull<NodeOf<T>>) -> Loan<'a, T> {
        // SAFETY: linked nodes are valid. Its owner, which this is, takes it out of its list only
        // with no loans, so not during ours; others do when its `Local` is dropped.
        let node = unsafe { node.as_ref() };
        node.node.loans.set(node.node.loans.get() + 1);
        Loan(node)
    }

    #[inline]
    pub(super) fn value(&self) -> &T {
        &self.0.value
    }
}

impl<T> Drop for Loan<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let loans = &self.0.node.loans;
        loans.set(loans.get() - 1);
    }
}

/// The value is lent out.
#[derive(Debug)]
pub(super) struct OnLoan;

/// Puts `value` in the place of the one in `node`, which is returned.
///
/// # Safety
/// As for [`Loan::of`], for the time of the call.
pub(super) unsafe fn replace<T>(node: NonNull<NodeOf<T>>, value: T) -> Result<T, (OnLoan, T)> {
    let node = node.as_ptr();
    // SAFETY: linked nodes are valid, and the field is the calling thread's.
    let loans = unsafe { &(*node).node.loans };
    if loans.get() > 0 {
        return Err((OnLoan, value));
    }
    // SAFETY: valid as before.
    let place = unsafe { &raw mut (*node).value };
    // SAFETY: it holds a value, to which nobody has a reference, as there are no loans.
    Ok(unsafe { place.replace(value) })
}

/// Puts a node in its list and its entry, from where [`unlink`] or [`retire`] takes it.
///
/// # Safety
/// The entry is null and of the calling thread's own table, at the node's slot, whose `Local` is
/// not dropped during the call.
pub(super) unsafe fn link<T>(node: Box<NodeOf<T>>) -> NonNull<NodeOf<T>> {
    let node = Box::into_raw(node);
    let start = node.cast::<Node>();
    // SAFETY: it came out of a box, and nobody else knows it yet.
    let this = unsafe { &*start };
    // SAFETY: the entry lies in the caller's own table.
    let entry = unsafe { &*this.entry };
    lists(this.slot).with(|lists| {
        let head = lists.head(this.slot);
        this.next.set(*head);
        // SAFETY: linked nodes are valid while the list is locked.
        if let Some(next) = unsafe { head.as_ref() } {
            next.previous.set(start);
        }
        *head = start;
        // Relaxed: others look at it under the lock only.
        entry.store(start, Relaxed);
    });
    // SAFETY: not null, as it came out of a box.
    unsafe { NonNull::new_unchecked(node) }
}

/// Takes the node at `entry` out of its list, if there is one by the time the list is locked.
///
/// # Errors
/// [`OnLoan`], and all is as before.
///
/// # Safety
/// `entry` is of the calling thread's own table, at `slot`.
pub(super) unsafe fn unlink(
    slot: u32,
    entry: &AtomicPtr<Node>,
) -> Result<Option<Unlinked>, OnLoan> {
    lists(slot).with(|lists| {
        // Relaxed: the lock keeps others from writing it.
        let Some(node) = NonNull::new(entry.load(Relaxed)) else {
            return Ok(None);
        };
        // SAFETY: what is in an entry is linked, and so valid while the list is locked.
        let this = unsafe { node.as_ref() };
        if this.loans.get() > 0 {
            return Err(OnLoan);
        }
        // SAFETY: as for `this`.
        match unsafe { this.previous.get().as_ref() } {
            Some(previous) => previous.next.set(this.next.get()),
            None => *lists.head(slot) = this.next.get(),
        }
        // SAFETY: as for `this`.
        if let Some(next) = unsafe { this.next.get().as_ref() } {
            next.previous.set(this.previous.get());
        }
        entry.store(ptr::null_mut(), Relaxed);
        Ok(Some(Unlinked(node)))
    })
}

/// A node that is in no list any more, and so belongs to whoever has this. Dropping it drops the
/// value.
pub(super) struct Unlinked(NonNull<Node>);

impl Unlinked {
    /// # Safety
    /// The node is a `NodeOf<T>`.
    pub(super) unsafe fn into_value<T>(self) -> T {
        let node = ManuallyDrop::new(self).0.cast::<NodeOf<T>>();
        // SAFETY: made from a box by `link`; its type is the caller's promise.
        unsafe { Box::from_raw(node.as_ptr()) }.value
    }
}

impl Drop for Unlinked {
    fn drop(&mut self) {
        // SAFETY: the node is valid, as it is ours.
        let drop = unsafe { self.0.as_ref() }.drop;
        // SAFETY: made from a box of the type that `drop` was made for, and not used again.
        unsafe { drop(self.0.as_ptr()) };
    }
}

/// Nodes that are in no list any more, of one slot, linked by `next`.
struct Chain(*mut Node);

impl Iterator for Chain {
    type Item = Unlinked;

    fn next(&mut self) -> Option<Unlinked> {
        let node = NonNull::new(self.0)?;
        // SAFETY: nodes of the chain are ours, and so valid.
        self.0 = unsafe { node.as_ref() }.next.get();
        Some(Unlinked(node))
    }
}

/// Takes all nodes of all threads out of a list, oldest first; those of threads that vanished at a
/// fork are leaked.
fn empty(slot: u32) -> Chain {
    lists(slot).with(|lists| {
        let mut chain = ptr::null_mut();
        let mut node = mem::replace(lists.head(slot), ptr::null_mut());
        // SAFETY: linked nodes are valid while the list is locked.
        while let Some(this) = unsafe { node.as_ref() } {
            let next = this.next.get();
            // SAFETY: a table is not freed while it has nodes, and a vanished thread's never.
            let owner = unsafe { &*this.owner };
            if !owner.has_vanished() {
                this.next.set(chain);
                chain = node;
            }
            // Also where nobody will look: what is found in a slot is taken for its `Local`'s.
            // SAFETY: the entry is in the owner's table, of which the same holds.
            let entry = unsafe { &*this.entry };
            // Release, paired with the Acquire in `Table::is_empty`: it is the last access to the
            // table, which the owner may free once it sees it.
            entry.store(ptr::null_mut(), Release);
            node = next;
        }
        Chain(chain)
    })
}

/// Gives up a slot, for the `Local` that had it and that nobody uses any more: calls `dispose` with
/// each of its values. It must not panic.
pub(super) fn retire(slot: u32, dispose: impl FnMut(Unlinked)) {
    empty(slot).for_each(dispose);
    give_back(slot);
}

/// For who is about to fork: waits until nobody is inside, and keeps everybody out. The only place
/// that takes more than one of the locks: the numbers', then the lists' in order.
pub(in crate::thread) fn hold() {
    NUMBERS.hold();
    LISTS.iter().for_each(Locked::hold);
}

/// Ends [`hold`].
///
/// # Safety
/// The calling thread called `hold`, be it before it forked, and has not called this since.
pub(in crate::thread) unsafe fn let_go() {
    for lists in LISTS.iter().rev() {
        // SAFETY: passed on to the caller.
        unsafe { lists.let_go() };
    }
    // SAFETY: passed on to the caller.
    unsafe { NUMBERS.let_go() };
}
