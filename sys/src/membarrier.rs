//! Fences that one thread issues on behalf of all others of its process (membarrier(2)).
//!
//! Where one side of a protocol runs often and the other seldom, the often one can do without a
//! fence of its own, with a compiler fence only: [`fence_all`] by the seldom one stands for both.

use crate::Errno;
use rustix::thread::{MembarrierCommand, membarrier};

/// `membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0)`: what [`fence_all`] needs, once in
/// the life of a process. A child of a fork has it from its parent.
///
/// One system call: some 15 µs in a process with one thread, but in one with more it waits for a grace
/// period of the kernel, which was seen to take 18 ms. From then on a switch between processes costs
/// a fence more. Linux 4.14.
///
/// # Errors
/// `ENOSYS` or `EINVAL` on a kernel without it, and what a seccomp filter answers.
pub fn register() -> Result<(), Errno> {
    membarrier(MembarrierCommand::RegisterPrivateExpedited)
}

/// `membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0)`: between the beginning and the end of the
/// call, every thread of the process has executed a full memory barrier, each at some point of its
/// own, and so has the caller.
///
/// One system call, which interrupts each other CPU that runs a thread of this process: with one
/// that did, 11 µs for the caller and 7 for the interrupted thread. Linux 4.14.
///
/// # Errors
/// `EPERM` before [`register`], and what a seccomp filter answers: there was no barrier.
pub fn fence_all() -> Result<(), Errno> {
    membarrier(MembarrierCommand::PrivateExpedited)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_registered_may_fence() {
        // An old kernel has neither, and says so both times.
        assert_eq!(register().is_ok(), register().is_ok());
        assert!(register().is_err() || fence_all().is_ok());
    }
}
