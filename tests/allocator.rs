//! A program whose global allocator asks which threads there are (MOD-5): in every allocation and
//! release of every thread, those of the crate itself, of starting and of ending threads included.

#![cfg(not(threadbare_model))]

mod common;

use common::pthread::Pthread;
use common::watchdog;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use threadbare::{Thread, active_count, current_thread, enumerate, scope, set_stack_cache};

struct Curious;

thread_local! {
    /// The allocator's own questions allocate, too.
    static IS_ASKING: Cell<bool> = const { Cell::new(false) };
}

/// Off while the test harness starts and ends, so that the main thread has no part in it.
static IS_CURIOUS: AtomicBool = AtomicBool::new(false);
static ASKED: AtomicUsize = AtomicUsize::new(0);
static WRONG: AtomicUsize = AtomicUsize::new(0);

fn ask() {
    if !IS_CURIOUS.load(Relaxed) || IS_ASKING.replace(true) {
        return;
    }
    let number = ASKED.fetch_add(1, Relaxed);
    let me = current_thread();
    let mut right = me.is_current() && active_count() > 0;
    if number % 16 == 0 {
        right &= enumerate().first() == Some(&threadbare::main_thread());
    }
    // An assertion would allocate.
    WRONG.fetch_add(usize::from(!right), Relaxed);
    drop(me);
    IS_ASKING.set(false);
}

// SAFETY: all is done by the system's allocator.
unsafe impl GlobalAlloc for Curious {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ask();
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        ask();
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Curious = Curious;

/// Lets the allocator ask while `body` runs.
fn curiously(body: impl FnOnce()) {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = TURN.lock().unwrap();
    let asked = ASKED.load(Relaxed);
    IS_CURIOUS.store(true, Relaxed);
    body();
    IS_CURIOUS.store(false, Relaxed);
    assert!(ASKED.load(Relaxed) > asked, "it was asked");
    assert_eq!(WRONG.load(Relaxed), 0, "it was answered wrongly");
}

/// Starts and ends threads of all sorts in eight threads at once.
fn bustle() {
    common::threads(8, |number| {
        for round in 0..100 {
            let part = Box::new(round);
            let target = move || drop((part, Box::new(round)));
            let thread = Thread::builder().name("busy").target(target).spawn();
            let thread = thread.unwrap();
            if (number + round) % 3 != 0 {
                thread.join().unwrap();
            }
            // A thread of std's, which has a dummy as soon as it allocates.
            if round % 10 == 0 {
                std::thread::spawn(|| drop(Box::new(1))).join().unwrap();
                scope(|s| drop((s.spawn(|| Box::new(1)), s.spawn(|| Box::new(2)))));
            }
        }
    });
}

#[test]
fn mod_5_an_allocator_may_ask_while_threads_start_and_end() {
    let _watchdog = watchdog();
    curiously(bustle);
}

#[test]
fn mod_5_a_dummy_made_inside_the_making_of_a_dummy_is_the_one() {
    let _watchdog = watchdog();
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    const ROUNDS: usize = 100;
    curiously(|| {
        for _ in 0..ROUNDS {
            // It has not allocated yet, so it is the allocator that is first to ask, for the record
            // that this asks for.
            let body = || {
                let me = current_thread();
                let again = current_thread();
                let listed = enumerate();
                let times = listed.iter().filter(|thread| thread.ident() == me.ident());
                let right = me == again && me.is_alive() && times.count() == 1;
                SEEN.fetch_add(usize::from(right), Relaxed);
            };
            Pthread::start(body).join();
        }
    });
    assert_eq!(SEEN.load(Relaxed), ROUNDS);
}

#[test]
fn mod_5_and_fork_11_an_allocator_may_ask_while_others_fork() {
    let _watchdog = watchdog();
    curiously(|| {
        let done = AtomicBool::new(false);
        std::thread::scope(|s| {
            s.spawn(|| {
                let cache = set_stack_cache(0);
                for round in 0..1_000 {
                    // Stacks of a size that nobody had before: the crate has much to allocate.
                    let thread = Thread::builder().stack_size((64 + 4 * (round % 100)) << 10);
                    thread.target(|| ()).spawn().unwrap().join().unwrap();
                }
                set_stack_cache(cache);
                done.store(true, Relaxed);
            });
            s.spawn(|| {
                while !done.load(Relaxed) {
                    // SAFETY: the child leaves at once.
                    match unsafe { fork() }.unwrap() {
                        // SAFETY: runs nothing of the parent's.
                        ForkResult::Child => unsafe { libc::_exit(i32::from(active_count() != 1)) },
                        ForkResult::Parent { child } => {
                            let ended = waitpid(child, None).unwrap();
                            assert!(matches!(ended, WaitStatus::Exited(_, 0)), "{ended:?}");
                        }
                    }
                }
            });
        });
    });
}
