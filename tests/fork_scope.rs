//! A fork while another thread is in the middle of a change to a scope's list of threads (FORK-5).
//!
//! The list grows under its lock, and asks the allocator for that, which here stops the thread there.

#![cfg(not(threadbare_model))]

mod common;

use common::forked::{finish, in_child, start_child};
use common::{is_asleep, until, watchdog};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use threadbare::{Event, scope};

struct Stopping;

thread_local! {
    static IS_TO_STOP: Cell<bool> = const { Cell::new(false) };
}

static GO: Event = Event::new();
static STOPS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is done by the system's allocator.
unsafe impl GlobalAlloc for Stopping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if IS_TO_STOP.replace(false) {
            STOPS.fetch_add(1, Relaxed);
            GO.wait();
        }
        // SAFETY: as the caller promises.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Stopping = Stopping;

/// How many threads make the list grow more than once, before it is looked through.
const CROWD: usize = 20;

#[test]
fn fork_5_a_scope_can_be_used_in_the_child_though_its_list_was_being_changed() {
    let _watchdog = watchdog();
    scope(|s| {
        let adds = s.spawn(|| {
            IS_TO_STOP.set(true);
            for _ in 0..CROWD {
                s.spawn(|| ());
            }
        });
        let tid = adds.thread().native_id().unwrap();
        until(|| STOPS.load(Relaxed) == 1 && is_asleep(tid));
        let child = start_child(|| {
            for number in 0..CROWD {
                assert_eq!(s.spawn(move || number).join().unwrap(), number);
            }
        });
        GO.set(); // in the parent only
        finish(child);
        adds.join().unwrap();
        // And in the child of one that was not stopped.
        in_child(|| assert_eq!(s.spawn(|| 1).join().unwrap(), 1));
    });
    assert_eq!(STOPS.load(Relaxed), 1);
}
