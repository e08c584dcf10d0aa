//! Which slot a `Local` has, and which values are in it: all that threads share.
//!
//! Everything here is behind locks: one for the numbers, and [`SHARDS`] for the lists, chosen by
//! number, so that threads which use different `Local`s hardly ever meet. None of these locks is
//! held while another is taken, except over a fork, in the order of [`hold`]. Under them runs
//! nothing but this file and `raw/values.rs`: no initialiser, no destructor, no allocator.

use super::table::Table;
use crate::raw::locked::Locked;
use crate::raw::values::{self, List};
use std::mem::{self, ManuallyDrop};
use std::ptr::NonNull;

pub(super) use crate::raw::values::OnLoan;

/// How many locks the lists share. The odds that two threads which begin or end at the same moment
/// want the same one are small with as many as there are CPUs in common servers.
const SHARDS: usize = 16;

static NUMBERS: Locked<Numbers> = Locked::new(Numbers {
    issued: 0,
    free: Vec::new(),
});

static LISTS: [Locked<Lists>; SHARDS] =
    [const { Locked::new(Lists { lists: Vec::new() }) }; SHARDS];

/// The slot numbers, from 1.
struct Numbers {
    /// The highest that was ever taken.
    issued: u32,
    /// Those that were given back. It has room for all that were issued.
    free: Vec<u32>,
}

/// The lists of a shard. Number `n` is in shard `n % SHARDS`, at `n / SHARDS`.
struct Lists {
    lists: Vec<List<Head>>,
}

impl Lists {
    fn of(&mut self, slot: u32) -> &mut List<Head> {
        &mut self.lists[slot as usize / SHARDS]
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
        let has_room = move_if_larger(&mut lists.lists, &mut spare, len);
        if has_room && lists.lists.len() < len {
            lists.lists.resize_with(len, List::new);
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

/// What each node begins with.
pub(super) type Node = values::Node<Head>;
/// Where a thread's table has a node.
pub(super) type Entry = values::Entry<Head>;

/// What is known of a node beside its place.
pub(super) struct Head {
    slot: u32,
    /// Drops the `NodeOf` that this is.
    drop: unsafe fn(*mut Node),
    /// Of the thread that made it.
    owner: *const Table,
}

/// A node and the value in it.
#[repr(C)] // a pointer to the node is one to its head
pub(super) struct NodeOf<T> {
    node: Node,
    value: T,
}

impl<T: Send + 'static> NodeOf<T> {
    /// A node that is in no list yet, with room at `entry` of `owner`'s table.
    pub(super) fn new(slot: u32, owner: &Table, entry: &Entry, value: T) -> Box<NodeOf<T>> {
        /// # Safety
        /// `node` came out of a `Box<NodeOf<T>>` and is not used again.
        unsafe fn drop_as<T>(node: *mut Node) {
            // SAFETY: passed on to the caller.
            drop(unsafe { Box::from_raw(node.cast::<NodeOf<T>>()) });
        }
        let head = Head {
            slot,
            drop: drop_as::<T>,
            owner,
        };
        Box::new(NodeOf {
            node: Node::new(entry, head),
            value,
        })
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
        // SAFETY: as the caller promises.
        unsafe { node.node.lend() };
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
        // SAFETY: lent by `of`, in this thread, to which the loan is tied by its reference.
        unsafe { self.0.node.give_back() };
    }
}

/// Puts `value` in the place of the one in `node`, which is returned.
///
/// # Safety
/// As for [`Loan::of`], for the time of the call.
pub(super) unsafe fn replace<T>(node: NonNull<NodeOf<T>>, value: T) -> Result<T, (OnLoan, T)> {
    let node = node.as_ptr();
    // SAFETY: linked nodes are valid.
    let this = unsafe { &(*node).node };
    // SAFETY: linked, and the calling thread's.
    if unsafe { this.is_on_loan() } {
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
    let slot = node.node.about.slot;
    // SAFETY: not null, as it came out of a box.
    let node = unsafe { NonNull::new_unchecked(Box::into_raw(node)) };
    // SAFETY: in a box until it is taken out; the rest is the caller's promise.
    lists(slot).with(|lists| unsafe { lists.of(slot).link(node.cast()) });
    node
}

/// Takes the node at `entry` out of its list, if there is one by the time the list is locked.
///
/// # Errors
/// [`OnLoan`], and all is as before.
///
/// # Safety
/// `entry` is of the calling thread's own table, at `slot`.
pub(super) unsafe fn unlink(slot: u32, entry: &Entry) -> Result<Option<Unlinked>, OnLoan> {
    // SAFETY: passed on to the caller.
    let unlinked = lists(slot).with(|lists| unsafe { lists.of(slot).unlink(entry) });
    Ok(unlinked?.map(Unlinked))
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
        let drop = unsafe { self.0.as_ref() }.about.drop;
        // SAFETY: made from a box of the type that `drop` was made for, and not used again.
        unsafe { drop(self.0.as_ptr()) };
    }
}

/// Takes all nodes of all threads out of a list, oldest first; those of threads that vanished at a
/// fork are leaked.
fn empty(slot: u32) -> impl Iterator<Item = Unlinked> {
    // SAFETY: a table is not freed while it has nodes, and a vanished thread's never.
    let lost = |head: &Head| unsafe { &*head.owner }.has_vanished();
    let chain = lists(slot).with(|lists| lists.of(slot).empty(lost));
    chain.map(Unlinked)
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
