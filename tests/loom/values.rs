//! Models of the values in `Local`s: of their hand-over between the threads that made them and the
//! drop of the object, and of the reuse of a slot (LOCAL-7, LOCAL-8).

use crate::model::{Data, Doomed, check};
use std::ptr::NonNull;
use threadbare::raw::locked::Locked;
use threadbare::raw::values::{Entry, List, NO_SLOT, Node, Number};

/// A value: who it belongs to, and whether it was dropped.
struct Value {
    owner: u32,
    drops: Data,
}

/// A thread's table with one entry, and the nodes that it may put there.
struct Table {
    entry: Doomed<Entry<Value>>,
    is_freed: Data,
    nodes: [Box<Node<Value>>; 2],
}

// SAFETY: what the pointers in it refer to is shared by the model's threads, and stays as memory.
unsafe impl Sync for Table {}
// SAFETY: as above.
unsafe impl Send for Table {}

impl Table {
    fn new() -> Table {
        let entry = Doomed::new(Entry::new());
        let node = |owner| {
            let drops = Data::new();
            Box::new(Node::new(&entry, Value { owner, drops }))
        };
        let nodes = [node(0), node(1)];
        Table {
            entry,
            is_freed: Data::new(),
            nodes,
        }
    }

    fn node(&self, number: usize) -> NonNull<Node<Value>> {
        NonNull::from(&*self.nodes[number])
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if !std::thread::panicking() && self.is_freed.get() == 0 {
            self.entry.destroy();
        }
    }
}

/// Who has taken a node out drops its value.
fn drop_value(node: NonNull<Node<Value>>) {
    // SAFETY: it stays as memory until the model's end.
    let value = unsafe { &node.as_ref().about };
    assert_eq!(value.drops.get(), 0);
    value.drops.add(1);
}

/// The slot of a `Local` in which two threads have values.
struct Slot {
    list: Locked<List<Value>>,
    tables: [Table; 2],
}

impl Slot {
    fn new() -> Slot {
        let slot = Slot {
            list: Locked::new(List::new()),
            tables: [Table::new(), Table::new()],
        };
        for table in &slot.tables {
            // SAFETY: in no list, and its entry is empty.
            slot.list.with(|list| unsafe { list.link(table.node(0)) });
        }
        slot
    }

    /// What a thread does at its end: drops its value, if it is still there, and frees its table.
    fn end_thread(&self, number: usize) {
        let table = &self.tables[number];
        if table.entry.get().is_some() {
            // SAFETY: this thread's.
            let unlinked = self.list.with(|list| unsafe { list.unlink(&table.entry) });
            unlinked.unwrap().into_iter().for_each(drop_value);
        }
        assert!(table.entry.is_clear_for_good());
        table.is_freed.add(1);
        table.entry.destroy();
    }

    /// What the drop of the `Local` does.
    fn drop_local(&self) {
        let chain = self.list.with(|list| list.empty(|_| false));
        chain.for_each(drop_value);
    }

    fn drops(&self) -> [u32; 2] {
        let drops = |table: &Table| table.nodes[0].about.drops.get();
        [drops(&self.tables[0]), drops(&self.tables[1])]
    }
}

#[test]
fn local_7_and_8_a_value_is_dropped_once_by_its_thread_or_by_the_object() {
    check(
        3,
        Slot::new,
        [
            |slot: &Slot| slot.drop_local(),
            |slot| slot.end_thread(0),
            |slot| slot.end_thread(1),
        ],
        |slot, _| assert_eq!(slot.drops(), [1, 1]),
    );
}

/// A slot whose number goes from one `Local` to another.
struct Reused {
    list: Locked<List<Value>>,
    free: Locked<Vec<u32>>,
    table: Table,
    next: Number,
}

impl Reused {
    /// The first `Local` has slot 1, and the third thread a value there.
    fn new() -> Reused {
        let reused = Reused {
            list: Locked::new(List::new()),
            free: Locked::new(Vec::new()),
            table: Table::new(),
            next: Number::new(),
        };
        let node = reused.table.node(0);
        // SAFETY: in no list, and its entry is empty.
        reused.list.with(|list| unsafe { list.link(node) });
        reused
    }

    /// The drop of the first `Local`, whose borrows have ended.
    fn drop_first(&self) {
        let chain = self.list.with(|list| list.empty(|_| false));
        chain.for_each(drop_value);
        self.free.with(|free| free.push(1));
    }

    /// Another thread is the first to use the next `Local`.
    fn settle_next(&self) {
        if let Some(slot) = self.free.with(Vec::pop) {
            assert_eq!(self.next.settle(slot), Ok(()));
        }
    }

    /// The third thread uses the next `Local`, once that has a slot.
    fn use_next(&self) {
        if self.next.get() == NO_SLOT {
            return;
        }
        let entry = &self.table.entry;
        assert_eq!(entry.get(), None, "a value of the last `Local`");
        let node = self.table.node(1);
        // SAFETY: in no list, and its entry is empty and this thread's.
        self.list.with(|list| unsafe { list.link(node) });
        let found = entry.get().unwrap();
        // SAFETY: linked.
        assert_eq!(unsafe { found.as_ref() }.about.owner, 1);
    }
}

#[test]
fn local_8_who_uses_a_slot_again_finds_no_value_of_the_object_before() {
    check(
        3,
        Reused::new,
        [Reused::drop_first, Reused::settle_next, Reused::use_next],
        |reused, _| assert_eq!(reused.table.nodes[0].about.drops.get(), 1),
    );
}

#[test]
fn local_4_threads_that_use_an_object_first_agree_on_its_slot() {
    fn settle(number: &Number, slot: u32) -> u32 {
        number.settle(slot).err().unwrap_or(slot)
    }
    check(
        3,
        Number::new,
        [
            |number: &Number| settle(number, 1),
            |number| settle(number, 2),
            |number| number.get(),
        ],
        |number, [one, other, seen]| {
            assert!(one == other && number.get() == one);
            assert!(seen == NO_SLOT || seen == one);
        },
    );
}
