//! A fork in the middle of a process's first start, in which the `SIGSEGV` handler is installed
//! (FORK-5). In a program of its own, whose `sigaction` takes as long as the test wants.

#![cfg(not(threadbare_loom))]

mod common;

use common::watchdog;
use nix::libc;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use threadbare::{Event, Thread};

static IS_SLOW: AtomicBool = AtomicBool::new(false);
static ENTERED: Event = Event::new();

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
        std::thread::sleep(Duration::from_millis(300));
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
    // SAFETY: the child does what the crate promises to work.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            // SAFETY: no precondition.
            unsafe { libc::alarm(20) };
            let thread = Thread::new(|| ());
            let is_right = thread.start().is_ok() && thread.join().is_ok();
            // SAFETY: leaves at once.
            unsafe { libc::_exit(i32::from(!is_right)) }
        }
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
        }
    }
    first.join().unwrap();
}
