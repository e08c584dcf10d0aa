//! Stacks for threads: cut from slabs, cached, used again.
//!
//! A slab owns its mapping, a [`Stack`] owns a slot of it, and the pool knows which slots are free:
//!
//! ```text
//!   fresh --take, guards installed--> used --give back, room in the cache--> warm --take--> used
//!                                      '-----give back, no room, pages go--> cold --take--> used
//! ```
//! Warm slots keep the pages that their last thread wrote, so the next one takes no page faults;
//! their number is bounded by the cache's size. Fresh and cold ones take address space only. A slab
//! without used and warm slots is unmapped.
//!
//! A stack is given back once the kernel thread that ran on it is gone: its owner joins first.

use crate::raw::locked::Locked;
use std::mem;
use std::sync::Arc;
use threadbare_sys::Errno;
use threadbare_sys::stack::{Layout, Region, Slab};

/// How many bytes of free stacks keep their pages at first: 32 MiB, counted at the stacks' full
/// size; what is resident of them is far less. That is 15 stacks of the default size.
const DEFAULT_CACHE: usize = 32 << 20;

/// The slots of a class's first slab, and the most of any. Each is as large as all before it.
const FEWEST_SLOTS: u32 = 4;
const MOST_SLOTS: u32 = 256;

/// The most bytes of a slab with more than one slot: where memory is locked, all of it is resident
/// at once.
const MOST_BYTES: usize = 16 << 20;

static POOL: Locked<Pool> = Locked::new(Pool {
    classes: Vec::new(),
    warm: 0,
    cache: DEFAULT_CACHE,
});

/// Keeps the pool as it is.
pub(super) fn hold() {
    POOL.hold();
}

/// Undoes [`hold`].
///
/// # Safety
/// The caller has called it, in this process or, before a fork, in its parent.
pub(super) unsafe fn let_go() {
    // SAFETY: as the caller promises.
    unsafe { POOL.let_go() };
}

/// All stacks.
struct Pool {
    classes: Vec<Class>,
    /// Bytes of warm slots.
    warm: usize,
    /// The most that `warm` may be.
    cache: usize,
}

/// All stacks of one layout.
struct Class {
    layout: Layout,
    /// A slab keeps its place while it is mapped.
    slabs: Vec<Option<Owned>>,
    fresh: Vec<Slot>,
    warm: Vec<Slot>,
    cold: Vec<Slot>,
}

/// A slab, and how many of its slots keep it mapped.
struct Owned {
    slab: Arc<Slab>,
    used: u32,
    warm: u32,
}

/// A place for a stack: which slab of its class, which slot of the slab.
#[derive(Clone, Copy)]
struct Slot {
    slab: u32,
    index: u32,
}

/// In which list a slot is when it is free.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Free {
    Fresh,
    Warm,
    Cold,
}

/// A stack that a thread may run on, given back on drop.
pub(crate) struct Stack {
    slab: Arc<Slab>,
    slot: Slot,
    has_guards: bool,
}

impl Stack {
    /// A stack with at least `usable` bytes for the thread's own frames.
    ///
    /// # Errors
    /// `ENOMEM` if there is no room for it; `EAGAIN` if it would have to be locked in memory.
    pub(crate) fn take(usable: usize) -> Result<Stack, Errno> {
        let layout = Layout::for_usable(usable).ok_or(Errno::NOMEM)?;
        let mut stack = POOL.with(|pool| pool.take(layout))?;
        if !stack.has_guards {
            stack.slab.install_guards(stack.slot.index)?;
            stack.has_guards = true;
        }
        Ok(stack)
    }

    /// Where it is.
    pub(crate) fn region(&self) -> Region {
        self.slab.region(self.slot.index)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let layout = self.slab.layout();
        let free = if self.has_guards {
            Free::Warm
        } else {
            Free::Fresh
        };
        let unused = POOL.with(|pool| pool.give_back(layout, self.slot, free));
        let unused = unused.unwrap_or_else(|NoRoom| {
            // SAFETY: nobody runs here any more, since a stack is given back after its thread.
            unsafe { self.slab.discard(self.slot.index) };
            let given = POOL.with(|pool| pool.give_back(layout, self.slot, Free::Cold));
            given.unwrap_or_else(|NoRoom| unreachable!("there is room for any number of cold ones"))
        });
        drop(unused); // a slab is unmapped outside the lock, by its last reference
    }
}

/// The cache has no room for another warm stack.
struct NoRoom;

impl Pool {
    fn take(&mut self, layout: Layout) -> Result<Stack, Errno> {
        let class = self.class(layout);
        let (slot, was) = class.free_slot()?;
        let owned = class.owned(slot);
        owned.used += 1;
        let slab = owned.slab.clone();
        if was == Free::Warm {
            owned.warm -= 1;
            self.warm -= layout.writable_len();
        }
        Ok(Stack {
            slab,
            slot,
            has_guards: was != Free::Fresh,
        })
    }

    /// Takes a used slot back, if there is room for it where it is to go. Returns its slab if that
    /// is not needed any more.
    fn give_back(
        &mut self,
        layout: Layout,
        slot: Slot,
        free: Free,
    ) -> Result<Option<Arc<Slab>>, NoRoom> {
        if free == Free::Warm {
            let warm = self.warm + layout.writable_len();
            if warm > self.cache {
                return Err(NoRoom);
            }
            self.warm = warm;
        }
        let class = self.class(layout);
        let unused = class.give_back(slot, free);
        if class.slabs.iter().all(Option::is_none) {
            self.classes.retain(|class| class.layout != layout);
        }
        Ok(unused)
    }

    fn class(&mut self, layout: Layout) -> &mut Class {
        let place = self.classes.iter().position(|class| class.layout == layout);
        let place = place.unwrap_or_else(|| {
            self.classes.push(Class::new(layout));
            self.classes.len() - 1
        });
        &mut self.classes[place]
    }
}

impl Class {
    fn new(layout: Layout) -> Class {
        Class {
            layout,
            slabs: Vec::new(),
            fresh: Vec::new(),
            warm: Vec::new(),
            cold: Vec::new(),
        }
    }

    /// A free slot, and in which list it was.
    fn free_slot(&mut self) -> Result<(Slot, Free), Errno> {
        if let Some(slot) = self.warm.pop() {
            return Ok((slot, Free::Warm));
        }
        if let Some(slot) = self.cold.pop() {
            return Ok((slot, Free::Cold));
        }
        if self.fresh.is_empty() {
            self.add_slab()?;
        }
        let slot = self.fresh.pop().expect("a slab has at least one slot");
        Ok((slot, Free::Fresh))
    }

    fn add_slab(&mut self) -> Result<(), Errno> {
        let so_far: u32 = self
            .slabs
            .iter()
            .flatten()
            .map(|owned| owned.slab.slots())
            .sum();
        let fitting = u32::try_from(MOST_BYTES / self.layout.slot_len()).unwrap_or(MOST_SLOTS);
        let mut slots = so_far.clamp(FEWEST_SLOTS, MOST_SLOTS).min(fitting).max(1);
        let slab = loop {
            match Slab::new(self.layout, slots) {
                Ok(slab) => break slab,
                Err(errno) if slots == 1 => return Err(errno),
                Err(_) => slots /= 2, // there may be room for fewer
            }
        };
        let vacant = self.slabs.iter().position(Option::is_none);
        let place = vacant.unwrap_or_else(|| {
            self.slabs.push(None);
            self.slabs.len() - 1
        });
        let slab_slots = (0..slots).rev();
        self.fresh.extend(slab_slots.map(|index| Slot {
            slab: place as u32,
            index,
        }));
        self.slabs[place] = Some(Owned {
            slab: Arc::new(slab),
            used: 0,
            warm: 0,
        });
        Ok(())
    }

    fn owned(&mut self, slot: Slot) -> &mut Owned {
        self.slabs[slot.slab as usize]
            .as_mut()
            .expect("a slab with used slots stays")
    }

    /// Takes a used slot back. Returns its slab if that is not needed any more.
    fn give_back(&mut self, slot: Slot, free: Free) -> Option<Arc<Slab>> {
        let owned = self.owned(slot);
        owned.used -= 1;
        if free == Free::Warm {
            owned.warm += 1;
        }
        self.list(free).push(slot);
        self.remove_if_unused(slot.slab)
    }

    fn list(&mut self, free: Free) -> &mut Vec<Slot> {
        match free {
            Free::Fresh => &mut self.fresh,
            Free::Warm => &mut self.warm,
            Free::Cold => &mut self.cold,
        }
    }

    fn remove_if_unused(&mut self, slab: u32) -> Option<Arc<Slab>> {
        let owned = self.slabs[slab as usize].as_ref()?;
        if owned.used > 0 || owned.warm > 0 {
            return None;
        }
        self.fresh.retain(|slot| slot.slab != slab);
        self.cold.retain(|slot| slot.slab != slab);
        self.slabs[slab as usize].take().map(|owned| owned.slab)
    }

    /// Makes all warm slots cold; returns the slabs that are not needed any more.
    fn cool(&mut self) -> Vec<Arc<Slab>> {
        let mut unused = Vec::new();
        for slot in mem::take(&mut self.warm) {
            let owned = self.owned(slot);
            owned.warm -= 1;
            // SAFETY: the slot is free, and nobody can take it while the pool is locked.
            unsafe { owned.slab.discard(slot.index) };
            self.cold.push(slot);
            unused.extend(self.remove_if_unused(slot.slab));
        }
        unused
    }
}

/// Sets how many bytes of free stacks are kept with their pages for threads to come, and gives
/// back what is kept now; returns the size so far. At first it is 32 MiB.
///
/// Stacks count at their full size, although mostly little of it was ever written. Memory above
/// the limit goes back to the system as threads are joined. Starting a thread on a kept stack saves
/// the page faults, some microseconds.
///
/// ```
/// let before = threadbare::set_stack_cache(1 << 20);
/// assert_eq!(threadbare::set_stack_cache(before), 1 << 20);
/// ```
pub fn set_stack_cache(max_bytes: usize) -> usize {
    let (before, unused) = POOL.with(|pool| {
        pool.warm = 0;
        let unused: Vec<_> = pool.classes.iter_mut().flat_map(Class::cool).collect();
        pool.classes
            .retain(|class| class.slabs.iter().any(Option::is_some));
        (mem::replace(&mut pool.cache, max_bytes), unused)
    });
    drop(unused); // unmapped outside the lock
    before
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 64 * 1024;

    fn pool() -> Pool {
        Pool {
            classes: Vec::new(),
            warm: 0,
            cache: usize::MAX,
        }
    }

    fn layout() -> Layout {
        Layout::for_usable(SIZE).unwrap()
    }

    /// Takes a slot by hand: a `Stack` would go back to the one static pool.
    fn take(pool: &mut Pool) -> (Slot, bool) {
        let stack = mem::ManuallyDrop::new(pool.take(layout()).unwrap());
        // SAFETY: the stack is not used again; this gives up its reference to the slab.
        drop(unsafe { std::ptr::read(&stack.slab) });
        (stack.slot, stack.has_guards)
    }

    fn give_back(pool: &mut Pool, slot: Slot, free: Free) -> Option<Arc<Slab>> {
        pool.give_back(layout(), slot, free)
            .unwrap_or_else(|NoRoom| panic!("no room"))
    }

    #[test]
    fn a_warm_stack_is_taken_before_a_fresh_one() {
        let mut pool = pool();
        let (slot, has_guards) = take(&mut pool);
        assert!(!has_guards);
        assert!(give_back(&mut pool, slot, Free::Warm).is_none());
        let (again, has_guards) = take(&mut pool);
        assert!(has_guards && again.index == slot.index && again.slab == slot.slab);
        assert_eq!(pool.warm, 0);
    }

    #[test]
    fn the_cache_is_bounded_and_counts_what_is_in_it() {
        let mut pool = pool();
        pool.cache = 2 * layout().writable_len();
        let slots = [take(&mut pool).0, take(&mut pool).0, take(&mut pool).0];
        give_back(&mut pool, slots[0], Free::Warm);
        give_back(&mut pool, slots[1], Free::Warm);
        assert!(pool.give_back(layout(), slots[2], Free::Warm).is_err());
        assert_eq!(pool.warm, pool.cache);
        give_back(&mut pool, slots[2], Free::Cold);
        assert_eq!(pool.warm, pool.cache);
    }

    #[test]
    fn a_slab_goes_with_its_last_used_and_warm_slot_and_a_class_with_its_last_slab() {
        let mut pool = pool();
        let slots: Vec<_> = (0..FEWEST_SLOTS + 1).map(|_| take(&mut pool).0).collect();
        assert_eq!(
            pool.class(layout()).slabs.len(),
            2,
            "the first slab is full"
        );
        let (last, first) = slots.split_last().unwrap();
        for slot in &first[1..] {
            assert!(give_back(&mut pool, *slot, Free::Cold).is_none());
        }
        assert!(
            give_back(&mut pool, first[0], Free::Cold).is_some(),
            "nothing of it is needed"
        );
        let class = pool.class(layout());
        assert!(class.cold.is_empty() && class.slabs[0].is_none());
        assert!(give_back(&mut pool, *last, Free::Warm).is_none());
        assert_eq!(pool.class(layout()).cool().len(), 1);
        let class = pool.class(layout());
        assert!(class.fresh.is_empty() && class.cold.is_empty());
        let (slot, _) = take(&mut pool);
        assert!(give_back(&mut pool, slot, Free::Cold).is_some() && pool.classes.is_empty());
    }
}
