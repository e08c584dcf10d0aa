//! What [`threadbare`](https://docs.rs/threadbare) needs of the Linux kernel and of libc, and
//! nothing of Python's model: a thin layer in which each function names its C call, its cost, its
//! errors and the kernel that it needs.
//!
//! | module | what it wraps |
//! |---|---|
//! | [`clock`] | `CLOCK_MONOTONIC` and points on it |
//! | [`futex`] | wait, wake, requeue on a private 32-bit word |
//! | [`membarrier`] | fences on behalf of all threads |
//! | [`name`] | the name that the kernel shows |
//! | [`fork`] | handlers, and how often the process was forked off |
//! | [`sched`] | `sched_yield`, the number of usable CPUs |
//! | [`tid`] | the kernel's thread id, cached |
//! | [`stack`] | mappings for thread stacks, with guard pages |
//! | [`pthread`] | start a thread on such a stack, join it |
//! | [`settings`] | its signal mask, CPUs and scheduling |
//! | [`clone`] | start one that libc does not know of, for next to nothing |
//! | [`exit`] | handlers of the end of the process |
//! | [`key`] | being told of the end of a thread |
//! | [`overflow`] | notice that a thread ran off its stack |
//!
//! # Platform
//!
//! Linux 4.14 or newer with glibc 2.31 or newer (for `pthread_clockjoin_np`), on x86_64 and aarch64.
//! What newer kernels offer is probed for; each function says what it needs itself. Anything else is
//! refused at compile time: other systems, musl, 32-bit and big-endian targets, and other
//! architectures, since [`clone`] is written in assembly for those two and nothing has been tried on
//! a third.
//!
//! Not `no_std`. Threads are for code that expects what std and libc set up for them, and this crate
//! itself keeps its knowledge of a thread in thread-locals, takes errors from `std::io`, and says on
//! stderr why it ends the process.
//!
//! The crate follows the needs of `threadbare`: use it through that unless you build the like.

#[cfg(not(all(
    target_os = "linux",
    target_env = "gnu",
    target_pointer_width = "64",
    target_endian = "little",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
compile_error!(
    "threadbare runs on Linux with glibc (not musl), on x86_64 and little-endian aarch64"
);

pub mod clock;
pub mod clone;
pub mod exit;
pub mod fork;
pub mod futex;
pub mod key;
pub mod membarrier;
pub mod name;
pub mod overflow;
pub mod pthread;
pub mod sched;
pub mod settings;
pub mod stack;
pub mod tid;

/// An `errno` value, as every fallible function of this crate returns it.
pub use rustix::io::Errno;

/// Turns the return value of a libc call that reports through `errno` into a `Result`.
fn checked(result: libc::c_int) -> Result<(), Errno> {
    if result == -1 {
        Err(last_errno())
    } else {
        Ok(())
    }
}

/// Turns the return value of a pthread call, which is an error number, into a `Result`.
fn returned(result: libc::c_int) -> Result<(), Errno> {
    match result {
        0 => Ok(()),
        errno => Err(Errno::from_raw_os_error(errno)),
    }
}

/// The calling thread's `errno`.
fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}
