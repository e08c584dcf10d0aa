//! Which threads there are (MOD-1 to MOD-5), and the locks of their records.
//!
//! The records of all threads that were started and have not ended lie in lists, spread over
//! [`SHARDS`] by their token. A thread is put into its list by who starts it, before there is a
//! kernel thread, and leaves it as its last step but one; in between it is taken from what
//! [`enumerate`](super::enumerate) shows (MOD-3). Both are a few stores under the lock of one
//! shard, however many threads there are.
//!
//! The lock of a shard protects its list and the [`State`] of every record whose token belongs
//! there, listed or not. That is one lock per start instead of two, and a number of locks that
//! does not grow, so that a fork can take them all and find nothing half done in the child.
//!
//! # Rules
//!
//! 1. Under a shard's lock nothing is called that the crate did not write: no hook, no destructor of
//!    a user's value, no allocator. So all of this may be used in any of them (MOD-5, HOOK-10).
//! 2. Shards are locked one at a time, or all in ascending order.
//! 3. A list owns one reference to each record in it, so that what lies in a list is valid.

use super::record::{Record, State};
use crate::raw::locked::Locked;
use std::ptr;
use std::sync::Arc;

/// Enough that a machine's cores starting and ending threads seldom meet; a power of two.
const SHARDS: usize = 16;

static ALL: [Shard; SHARDS] = [const { Shard(Locked::new(List::new())) }; SHARDS];

/// A lock and its list, on a cache line of their own.
#[repr(align(64))]
struct Shard(Locked<List>);

/// The records of one shard's threads.
pub(super) struct List {
    first: *const Record,
    /// How many of them are to be seen from outside.
    listed: usize,
    /// How many threads that are no daemons have ever been put into it.
    begun: u64,
}

// SAFETY: the pointers are to records on the heap, which are `Sync`; who may follow them is decided
// by the shard's lock.
unsafe impl Send for List {}

/// A record's place in its list.
pub(super) struct Place {
    next: *const Record,
    previous: *const Record,
    is_linked: bool,
    is_listed: bool,
}

impl Place {
    pub(super) const NOWHERE: Place = Place {
        next: ptr::null(),
        previous: ptr::null(),
        is_linked: false,
        is_listed: false,
    };

    /// Whether the thread is to be seen from outside.
    pub(super) fn is_listed(&self) -> bool {
        self.is_listed
    }
}

fn shard(token: u64) -> &'static Locked<List> {
    &ALL[token as usize % SHARDS].0
}

/// Calls `access` with the state of `record` and the list that it belongs to, under their lock.
pub(super) fn with<R>(record: &Record, access: impl FnOnce(&mut List, &mut State) -> R) -> R {
    // SAFETY: the lock of the record's shard is held.
    shard(record.token).with(|list| access(list, unsafe { &mut *record.state.get() }))
}

/// As [`with`], if the lock is free now: for signal handlers.
pub(super) fn try_with<R>(record: &Record, access: impl FnOnce(&mut State) -> R) -> Option<R> {
    // SAFETY: the lock of the record's shard is held.
    shard(record.token).try_with(|_| access(unsafe { &mut *record.state.get() }))
}

impl List {
    const fn new() -> List {
        List {
            first: ptr::null(),
            listed: 0,
            begun: 0,
        }
    }

    /// Puts `record`, whose state is `state`, into the list. It is in none.
    pub(super) fn insert(&mut self, record: &Arc<Record>, state: &mut State) {
        debug_assert!(!state.place.is_linked);
        let record = Arc::into_raw(record.clone());
        if !self.first.is_null() {
            // SAFETY: it is in this list, and not `record`.
            unsafe { state_in_list(self.first) }.place.previous = record;
        }
        state.place = Place {
            next: self.first,
            previous: ptr::null(),
            is_linked: true,
            is_listed: true,
        };
        self.first = record;
        self.listed += 1;
        self.begun += u64::from(!state.daemon);
    }

    /// Shows the record, whose state is `state`, no more.
    pub(super) fn unlist(&mut self, state: &mut State) {
        if state.place.is_listed {
            state.place.is_listed = false;
            self.listed -= 1;
        }
    }

    /// Takes `record`, whose state is `state`, out of the list. The list's reference is to be
    /// dropped outside the lock (rule 1).
    pub(super) fn remove(&mut self, record: &Record, state: &mut State) -> Option<Arc<Record>> {
        self.unlist(state);
        if !state.place.is_linked {
            return None;
        }
        let Place { next, previous, .. } = std::mem::replace(&mut state.place, Place::NOWHERE);
        let link = if previous.is_null() {
            &mut self.first
        } else {
            // SAFETY: it is in this list, and not `record`.
            &mut unsafe { state_in_list(previous) }.place.next
        };
        let own = std::mem::replace(link, next);
        debug_assert!(ptr::eq(own, record));
        if !next.is_null() {
            // SAFETY: as above.
            unsafe { state_in_list(next) }.place.previous = previous;
        }
        // SAFETY: made by `Arc::into_raw` in `insert`, and this reference leaves the list here.
        // (`own` and not `record`: a reference may not be followed beyond what it refers to.)
        Some(unsafe { Arc::from_raw(own) })
    }

    /// Calls `look` with each record and its state.
    fn each(&self, mut look: impl FnMut(*const Record, &mut State)) {
        let mut record = self.first;
        while !record.is_null() {
            // SAFETY: it is in this list, and no other state is lent out.
            let state = unsafe { state_in_list(record) };
            let next = state.place.next;
            look(record, state);
            record = next;
        }
    }
}

/// The state of a record in a list whose lock the caller holds.
///
/// # Safety
/// `record` is in that list, so it is valid (rule 3); its state is not lent out otherwise.
unsafe fn state_in_list<'a>(record: *const Record) -> &'a mut State {
    // SAFETY: valid, as the caller promises.
    let state = unsafe { &(*record).state };
    // SAFETY: the lock of the list's shard protects the state.
    unsafe { &mut *state.get() }
}

/// How many threads [`listed`] gives.
pub(super) fn count() -> usize {
    let _all = HeldAll::take();
    // SAFETY: all are held.
    let listed = ALL.iter().map(|shard| unsafe { shard.0.held() }.listed);
    listed.sum()
}

/// How many threads that are no daemons have been listed since the process began or was forked off.
/// It never falls, so if it is the same twice, none was listed in between.
pub(super) fn begun() -> u64 {
    ALL.iter()
        .map(|shard| shard.0.with(|list| list.begun))
        .sum()
}

/// All threads that are to be seen, in the order in which they were made, as of one moment.
pub(crate) fn listed() -> Vec<Arc<Record>> {
    snapshot(|state| state.place.is_listed)
}

/// All threads whose state is `wanted` and that have not ended, in the order in which they were
/// made, as of one moment.
pub(super) fn snapshot(wanted: impl Fn(&State) -> bool) -> Vec<Arc<Record>> {
    let mut found = Vec::new();
    loop {
        // Under the locks nothing is allocated: what does not fit is counted.
        let all = collect(&wanted, &mut found);
        if all == found.len() {
            found.sort_unstable_by_key(|record: &Arc<Record>| record.token);
            return found;
        }
        found.clear();
        found.reserve(all + all / 8 + 8); // some may come meanwhile
    }
}

/// Pushes the records that are `wanted`, as far as there is room; returns how many there are.
fn collect(wanted: impl Fn(&State) -> bool, found: &mut Vec<Arc<Record>>) -> usize {
    let mut count = 0;
    let _all = HeldAll::take();
    for shard in &ALL {
        // SAFETY: all are held.
        let list = unsafe { shard.0.held() };
        list.each(|record, state| {
            if !wanted(state) {
                return;
            }
            count += 1;
            if found.len() < found.capacity() {
                // SAFETY: the list owns a reference (rule 3); this adds one for `found`.
                unsafe { Arc::increment_strong_count(record) };
                // SAFETY: the reference that was added.
                found.push(unsafe { Arc::from_raw(record) });
            }
        });
    }
    count
}

/// All shards, locked.
struct HeldAll;

impl HeldAll {
    fn take() -> HeldAll {
        hold();
        HeldAll
    }
}

impl Drop for HeldAll {
    fn drop(&mut self) {
        // SAFETY: taken by `take`.
        unsafe { let_go() };
    }
}

/// Locks all shards.
pub(super) fn hold() {
    for shard in &ALL {
        shard.0.hold();
    }
}

/// Unlocks all shards.
///
/// # Safety
/// The caller has locked them with [`hold`].
pub(super) unsafe fn let_go() {
    for shard in ALL.iter().rev() {
        // SAFETY: as the caller promises.
        unsafe { shard.0.let_go() };
    }
}

/// In the child of a fork: leaves no record but `survivor` in the lists. The others' references
/// are given up without being dropped: their threads were cut off in the middle of anything.
///
/// # Safety
/// The caller has locked all shards with [`hold`], and there is no other thread.
pub(super) unsafe fn keep_only(survivor: Option<&Arc<Record>>) {
    for shard in &ALL {
        // SAFETY: all are held.
        *unsafe { shard.0.held() } = List::new();
    }
    let Some(record) = survivor else { return };
    // SAFETY: held.
    let list = unsafe { shard(record.token).held() };
    // SAFETY: the lock of its shard is held.
    let state = unsafe { &mut *record.state.get() };
    state.place = Place::NOWHERE;
    list.insert(record, state);
}
