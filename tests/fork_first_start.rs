//! A fork in the middle of a process's first start, in which the `SIGSEGV` handler is installed
//! (FORK-5). In a program of its own, whose `sigaction` takes as long as that.

#![cfg(not(threadbare_model))]

mod common;

use common::forked::{finish, start_child};
use common::{until, watchdog};
use nix::libc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use threadbare::{Event, Thread, get_native_id};

static IS_SLOW: AtomicBool = AtomicBool::new(false);
static ENTERED: Event = Event::new();

/// The thread that is about to fork, and whether it has.
static FORKS: AtomicU32 = AtomicU32::new(0);
static HAS_FORKED: AtomicBool = AtomicBool::new(false);

/// Takes the place of libc's in this program.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
unsafe extern "C" fn sigaction(
    signal: libc::c_int,
    new: *const libc::sigaction,
    old: *mut libc::sigaction,
) -> libc::c_int {
    type Original = unsafe extern "C" fn(
        libc::c_int,
        *const libc::sigaction,
        *mut libc::sigaction,
    ) -> libc::c_int;
    if !new.is_null() && signal == libc::SIGSEGV && IS_SLOW.swap(false, Relaxed) {
        ENTERED.set();
        // The fork has been made, or waits for this to return.
        until(|| HAS_FORKED.load(Relaxed) || common::is_asleep(FORKS.load(Relaxed)));
    }
    // SAFETY: the name is a valid C string.
    let original = unsafe { libc::dlsym(libc::RTLD_NEXT, c"sigaction".as_ptr()) };
    // SAFETY: libc's function of this name has this type.
    let original = unsafe { std::mem::transmute::<*mut libc::c_void, Original>(original) };
    // SAFETY: as the caller promises.
    unsafe { original(signal, new, old) }
}

#[test]
fn fork_5_a_fork_in_the_middle_of_the_first_start() {
    let _watchdog = watchdog();
    IS_SLOW.store(true, Relaxed);
    let first = std::thread::spawn(|| {
        let thread = Thread::new(|| ());
        thread.start().unwrap();
        thread.join().unwrap();
    });
    ENTERED.wait();
    FORKS.store(get_native_id(), Relaxed);
    let child = start_child(|| {
        let thread = Thread::new(|| ());
        thread.start().unwrap();
        thread.join().unwrap();
    });
    HAS_FORKED.store(true, Relaxed);
    finish(child);
    first.join().unwrap();
}
