//! The end of the process, as libc runs it.

use crate::Errno;

/// `atexit(handler)`: calls `handler` when the process ends by exit(3) or by the return of main,
/// before the handlers that were registered earlier. It does not unwind: that aborts.
///
/// # Errors
/// `ENOMEM`.
pub fn at_exit(handler: extern "C" fn()) -> Result<(), Errno> {
    // SAFETY: a function for the life of the program.
    if unsafe { libc::atexit(handler) } == 0 {
        Ok(())
    } else {
        Err(Errno::NOMEM)
    }
}

/// `exit(status)` for a handler of [`at_exit`]: the handlers that are left run, and the process
/// ends with this status instead.
///
/// POSIX leaves open what a second call does. glibc goes on where the first one is, if it is made
/// by the same thread (`__run_exit_handlers`).
///
/// # Safety
/// libc runs a handler in the calling thread: no other thread is in exit(3).
pub unsafe fn exit_again(status: i32) -> ! {
    // SAFETY: as the caller promises.
    unsafe { libc::exit(status) }
}
