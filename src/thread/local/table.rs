//! Where a thread has its values: the table from slots to nodes.
//!
//! A thread makes its table when it first has a value, and frees it when it ends:
//!
//! ```text
//!   FRESH --first value--> one of its own --finish--> CLOSED
//!     '------------------finish------------------------^
//! ```
//! FRESH and CLOSED are static, and empty for ever, so a look-up need not tell the three apart.
//!
//! A table lies on the heap and not in the thread-local itself, which costs a look-up one load. For
//! a thread may end without our being told: it got its first value in the destructor of a pthread
//! key, or vanished at a fork, or left by the bare system call. Then the table is leaked, and what
//! others may still do to it is done to memory that is there.
//!
//! Entries never move: the first are in the table, the others in chunks, each as large as all before
//! it.

use super::slots::{self, Entry, Node, NodeOf};
use crate::thread::{current, hooks};
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32};
use threadbare_sys::fork::generation;
use threadbare_sys::tid::is_main_thread;

/// How many entries lie in the table itself. Slot 0 is nobody's, so 31 `Local`s are found at once,
/// which is more than programs mostly have.
const FIRST: usize = 1 << FIRST_BITS;
const FIRST_BITS: u32 = 5;

/// Chunks for all other slots.
const CHUNKS: usize = (u32::BITS - FIRST_BITS) as usize;

/// How often a thread at its end looks for values that the destructors of others have made. A chain
/// of destructors, each of which makes the value of the next, takes one round a link, or less; one
/// without end costs no more than that many drops.
const ROUNDS: usize = 64;

static FRESH: Table = Table::new(0);
static CLOSED: Table = Table::new(0);

thread_local! {
    /// This thread's table. Without a destructor, so it can be read at any time.
    static TABLE: Cell<*const Table> = const { Cell::new(&raw const FRESH) };

    /// For threads that the crate did not start.
    static AT_THREAD_END: AtThreadEnd = const { AtThreadEnd };
}

/// Finishes the thread's table when dropped.
struct AtThreadEnd;

impl Drop for AtThreadEnd {
    fn drop(&mut self) {
        finish();
    }
}

/// A thread's table. Only atomics, as two of them are static; all but the entries (`raw/values.rs`)
/// are the owner's alone, therefore Relaxed.
pub(super) struct Table {
    first: [Entry; FIRST],
    chunks: [AtomicPtr<Entry>; CHUNKS],
    /// Whether a value has come in since this was last set to `false`.
    has_news: AtomicBool,
    /// The generation in which the owner runs.
    generation: AtomicU32,
}

/// In which chunk the entry of a slot is that is not among the first, and where in it.
const fn place(slot: u32) -> (usize, usize) {
    let chunk = slot.ilog2() - FIRST_BITS;
    (chunk as usize, slot as usize - chunk_len(chunk as usize))
}

/// How many entries a chunk has: as many as there are before it.
const fn chunk_len(chunk: usize) -> usize {
    FIRST << chunk
}

fn chunk_layout(chunk: usize) -> Layout {
    Layout::array::<Entry>(chunk_len(chunk)).expect("2^31 pointers fit in the memory")
}

impl Table {
    const fn new(generation: u32) -> Table {
        Table {
            first: [const { Entry::new() }; FIRST],
            chunks: [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS],
            has_news: AtomicBool::new(false),
            generation: AtomicU32::new(generation),
        }
    }

    /// Whether the owner did not come along when this process was forked.
    pub(super) fn has_vanished(&self) -> bool {
        // Relaxed: written where there is no other thread.
        self.generation.load(Relaxed) != generation()
    }

    /// The entry of `slot`, if there is room for it.
    #[inline]
    fn entry(&self, slot: u32) -> Option<&Entry> {
        match self.first.get(slot as usize) {
            Some(entry) => Some(entry),
            None => self.later_entry(slot),
        }
    }

    /// Not inlined: it would treble the code of each use.
    #[inline(never)]
    fn later_entry(&self, slot: u32) -> Option<&Entry> {
        let (chunk, index) = place(slot);
        Some(&self.chunk(chunk)?[index])
    }

    fn chunk(&self, chunk: usize) -> Option<&[Entry]> {
        let start = NonNull::new(self.chunks[chunk].load(Relaxed))?;
        // SAFETY: `entry_with_room` allocated as many, which live as long as the table.
        Some(unsafe { std::slice::from_raw_parts(start.as_ptr(), chunk_len(chunk)) })
    }

    /// The entry of `slot`, for which room is made.
    fn entry_with_room(&self, slot: u32) -> &Entry {
        loop {
            if let Some(entry) = self.entry(slot) {
                return entry;
            }
            let (chunk, _) = place(slot);
            let layout = chunk_layout(chunk);
            // Zeroed, so that pages of a large one stay untouched where it is not used.
            // SAFETY: the size is not zero.
            let new = unsafe { alloc_zeroed(layout) };
            if new.is_null() {
                handle_alloc_error(layout);
            }
            // All zeroes is an empty entry, a null `AtomicPtr`, on all platforms that there are.
            let room = &self.chunks[chunk];
            if room.load(Relaxed).is_null() {
                room.store(new.cast(), Relaxed);
            } else {
                // The allocator uses a `Local` itself, and was first.
                // SAFETY: allocated above with this layout.
                unsafe { dealloc(new, layout) };
            }
        }
    }

    /// Calls `look` with each entry that there is room for, also with those for which there comes
    /// to be while it runs, and its slot.
    fn for_each(&self, mut look: impl FnMut(u32, &Entry)) {
        for (slot, entry) in (0..).zip(&self.first) {
            look(slot, entry);
        }
        for chunk in 0..CHUNKS {
            let entries = self.chunk(chunk).unwrap_or_default();
            for (slot, entry) in (chunk_len(chunk) as u32..).zip(entries) {
                look(slot, entry);
            }
        }
    }

    /// Whether no thread will touch the table any more, but its owner.
    fn is_empty(&self) -> bool {
        let mut is_empty = true;
        self.for_each(|_, entry| is_empty &= entry.is_clear_for_good());
        is_empty
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        for (chunk, start) in self.chunks.iter_mut().enumerate() {
            let start = *start.get_mut();
            if !start.is_null() {
                // SAFETY: `entry_with_room` allocated it with this layout.
                unsafe { dealloc(start.cast(), chunk_layout(chunk)) };
            }
        }
    }
}

/// The calling thread's table, without more ado: maybe FRESH or CLOSED.
#[inline]
fn with_table<R>(look: impl FnOnce(&Table) -> R) -> R {
    // SAFETY: static, or freed by `finish` in this thread, which has replaced it before, and which
    // runs when nothing else of ours does, or else it does not go on (`exit` runs it).
    look(unsafe { &*TABLE.get() })
}

/// The calling thread's own table, if it has one now.
fn own() -> Option<NonNull<Table>> {
    let table = TABLE.get();
    let is_static = ptr::eq(table, &raw const FRESH) || ptr::eq(table, &raw const CLOSED);
    NonNull::new(table.cast_mut()).filter(|_| !is_static)
}

/// What the calling thread has in `slot`.
#[inline]
pub(super) fn find(slot: u32) -> Option<NonNull<Node>> {
    with_table(|table| table.entry(slot)?.get())
}

/// Takes out what the calling thread has in `slot`.
pub(super) fn remove(slot: u32) -> Result<Option<slots::Unlinked>, slots::OnLoan> {
    with_table(|table| match table.entry(slot) {
        // SAFETY: the entry of this thread's table at this slot.
        Some(entry) if entry.get().is_some() => unsafe { slots::unlink(slot, entry) },
        _ => Ok(None),
    })
}

/// Why a value did not come in, and the value.
pub(super) enum Refused<T> {
    /// There is one.
    Occupied(T),
    /// The thread is about to end.
    Closed(T),
}

/// Puts a value in a slot of the calling thread.
///
/// # Safety
/// The slot's `Local` is not dropped during the call, and holds values of `T`.
pub(super) unsafe fn insert<T: Send + 'static>(
    slot: u32,
    value: T,
) -> Result<NonNull<NodeOf<T>>, Refused<T>> {
    if !is_open() {
        return Err(Refused::Closed(value));
    }
    with_table(|table| {
        let entry = table.entry_with_room(slot);
        let node = NodeOf::new(slot, table, entry, value);
        // From here on not even the allocator runs, which might use the `Local` itself.
        if entry.get().is_some() {
            return Err(Refused::Occupied(node.into_value()));
        }
        table.has_news.store(true, Relaxed);
        // SAFETY: the entry is of this thread's table at this slot, and null; the rest is the
        // caller's promise.
        Ok(unsafe { slots::link(node) })
    })
}

/// Whether the calling thread may have values: it has a table of its own, from now on at least.
fn is_open() -> bool {
    if ptr::eq(TABLE.get(), &raw const FRESH) {
        make();
    }
    !ptr::eq(TABLE.get(), &raw const CLOSED)
}

#[cold]
fn make() {
    // The main thread keeps its values: they are to be there in destructors and exit handlers, and
    // the process's end frees them (LOCAL-11).
    let will_finish =
        current::is_ours() || is_main_thread() || AT_THREAD_END.try_with(|_| ()).is_ok();
    if !will_finish {
        TABLE.set(&raw const CLOSED);
        return;
    }
    let table = Box::new(Table::new(generation()));
    // The allocator may use a `Local` itself; then it was first.
    if ptr::eq(TABLE.get(), &raw const FRESH) {
        TABLE.set(Box::into_raw(table));
        // From here on a fork moves it on. One that came before, by the allocator or in a signal
        // handler, has not.
        survive();
    }
}

/// Drops the calling thread's values (LOCAL-7), also those that come in meanwhile, in [`ROUNDS`]
/// rounds; what comes in then is left, and so are values on loan, of calls that will not return.
pub(in crate::thread) fn drain() {
    let Some(table) = own() else { return };
    // SAFETY: as in `with_table`.
    let table = unsafe { table.as_ref() };
    for _ in 0..ROUNDS {
        table.has_news.store(false, Relaxed);
        table.for_each(|slot, entry| {
            if entry.get().is_none() {
                return;
            }
            // SAFETY: the entry of this thread's table at this slot.
            if let Ok(Some(node)) = unsafe { slots::unlink(slot, entry) } {
                // Nobody is left who could be told.
                if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(node))) {
                    hooks::discard(payload);
                }
            }
        });
        if !table.has_news.load(Relaxed) {
            break;
        }
    }
}

/// Ends the calling thread's table: drains it, and lets no value in any more.
///
/// What is left goes with its `Local`; until then the table stays, for the sake of who drops that.
pub(in crate::thread) fn finish() {
    drain();
    let own = own();
    TABLE.set(&raw const CLOSED);
    let Some(table) = own else { return };
    // SAFETY: it is this thread's own, from `make`.
    let is_empty = unsafe { table.as_ref() }.is_empty();
    if is_empty {
        // SAFETY: it came out of a box in `make`; no other thread has to do with it, as it is
        // empty, and this one has just forgotten it.
        drop(unsafe { Box::from_raw(table.as_ptr()) });
    }
}

/// In the child of a fork: the calling thread is the one that has not vanished (FORK-8).
pub(in crate::thread) fn survive() {
    if let Some(table) = own() {
        // SAFETY: as in `with_table`.
        let table = unsafe { table.as_ref() };
        // Relaxed: there is no other thread.
        table.generation.store(generation(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Local;

    #[test]
    fn each_slot_has_a_place_of_its_own() {
        let mut expected = (0, 0);
        for slot in FIRST as u32..10_000 {
            assert_eq!(place(slot), expected);
            expected.1 += 1;
            if expected.1 == chunk_len(expected.0) {
                expected = (expected.0 + 1, 0);
            }
        }
        assert_eq!(place(u32::MAX), (CHUNKS - 1, chunk_len(CHUNKS - 1) - 1));
    }

    #[test]
    fn fork_8_whoever_counts_as_vanished_leaves_no_value_to_a_slots_next_owner() {
        std::thread::spawn(|| {
            let numbers = Local::new(|| 1_u64);
            numbers.get();
            let slot = numbers.slot.get();
            let left = find(slot).unwrap().cast::<NodeOf<u64>>();
            with_table(|table| {
                table
                    .generation
                    .store(generation().wrapping_sub(1), Relaxed)
            });
            drop(numbers);
            assert_eq!(find(slot), None);
            // SAFETY: made from a box by `link`; it is in no list, and its owner has lost it.
            assert_eq!(unsafe { Box::from_raw(left.as_ptr()) }.into_value(), 1);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn every_entry_is_looked_at_with_its_slot() {
        let table = Table::new(0);
        let slots = [0, 31, 32, 63, 64, 127, 1000];
        for slot in slots {
            table.entry_with_room(slot);
        }
        let mut seen = Vec::new();
        table.for_each(|slot, entry| {
            assert!(ptr::eq(table.entry(slot).unwrap(), entry));
            seen.push(slot);
        });
        let (low, high) = (0..128, 512..1024);
        assert!(seen.into_iter().eq(low.chain(high)));
        assert!(table.entry(128).is_none() && table.is_empty());
    }
}
