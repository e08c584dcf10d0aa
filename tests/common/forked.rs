//! Children of forks in tests.

use super::patience;
use nix::libc;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};

/// The seconds after which a child that hangs is ended.
const PATIENCE: u32 = 30;

/// Forks, runs `body` in the child, and waits for its end: it must not panic nor hang.
#[track_caller]
pub fn in_child(body: impl FnOnce()) {
    finish(start_child(body));
}

/// Begins to run `body` in the child of a fork, which then leaves without any clean-up.
pub fn start_child(body: impl FnOnce()) -> Pid {
    start().unwrap_or_else(|| end(body))
}

/// Forks; in the child, which is ended if it hangs, `None`. The child is to [`end`].
pub fn start() -> Option<Pid> {
    // SAFETY: the child uses what can be used there, which is what these tests are about; glibc's
    // allocator and threads can. It leaves by `_exit`.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => Some(child),
        ForkResult::Child => {
            // SAFETY: no precondition. Without a handler the signal ends the child.
            unsafe { libc::alarm(PATIENCE * patience()) };
            // std's hook would print through what a vanished thread may have locked.
            set_hook(Box::new(|panic| tell(&format!("in the child: {panic}\n"))));
            None
        }
    }
}

/// In a child: runs `body` and leaves, with success if that does not panic.
pub fn end(body: impl FnOnce()) -> ! {
    let failed = catch_unwind(AssertUnwindSafe(body)).is_err();
    // SAFETY: leaves the child without running what belongs to the parent.
    unsafe { libc::_exit(i32::from(failed)) }
}

/// Waits for a child, which is to have ended with success.
#[track_caller]
pub fn finish(child: Pid) {
    assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
}

/// Writes to stderr without any lock of std's.
fn tell(text: &str) {
    // SAFETY: the bytes are valid for the call.
    unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
}
