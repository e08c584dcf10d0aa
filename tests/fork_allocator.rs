//! Forks in a program whose global allocator keeps itself whole over a fork by handlers that it
//! registers at its first allocation, as jemalloc does (FORK-5). Under some of its locks the crate
//! allocates, so it has to take them before the allocator takes its own.

#![cfg(not(threadbare_model))]

mod common;

use common::forked::in_child;
use common::patience;
use nix::unistd::alarm;
use std::alloc::{GlobalAlloc, Layout, System};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::thread::{scope, yield_now};
use threadbare::{Thread, shutdown};

struct Forked;

/// The allocator's lock. It spins, since others might allocate.
static IS_LOCKED: AtomicBool = AtomicBool::new(false);

extern "C" fn lock() {
    while IS_LOCKED.swap(true, Acquire) {
        yield_now();
    }
}

extern "C" fn unlock() {
    IS_LOCKED.store(false, Release);
}

fn register() {
    static IS_REGISTERED: AtomicBool = AtomicBool::new(false);
    // Relaxed: the program's first allocation is made by its first thread.
    if IS_REGISTERED.load(Relaxed) {
        return;
    }
    IS_REGISTERED.store(true, Relaxed);
    // SAFETY: the handlers take and release a lock, and stay for the life of the program.
    if unsafe { libc::pthread_atfork(Some(lock), Some(unlock), Some(unlock)) } != 0 {
        process::abort();
    }
}

// SAFETY: all is done by the system's allocator.
unsafe impl GlobalAlloc for Forked {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        register();
        lock();
        // SAFETY: as the caller promises.
        let place = unsafe { System.alloc(layout) };
        unlock();
        place
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        lock();
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(place, layout) };
        unlock();
    }
}

#[global_allocator]
static ALLOCATOR: Forked = Forked;

/// A thread that has ended and is still to be joined, which makes `shutdown` allocate.
fn leave_an_ended_thread() {
    let thread = Thread::builder().daemon(true).target(|| ()).spawn();
    thread.unwrap();
}

#[test]
fn fork_5_the_crates_locks_are_taken_before_those_of_the_allocator() {
    // Not a watchdog of this process's: it could not allocate either.
    alarm::set(60 * patience());
    let stop = AtomicBool::new(false);
    scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                while !stop.load(Relaxed) {
                    shutdown(); // allocates under a lock of the crate's
                }
            });
        }
        for _ in 0..300 {
            leave_an_ended_thread();
            in_child(|| ());
        }
        stop.store(true, Relaxed);
    });
    alarm::cancel();
}
