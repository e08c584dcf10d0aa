//! The scheduler: give way, and how many CPUs there are to give way on.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// `sched_yield()`: lets another runnable thread of this CPU run first, if there is one.
///
/// One system call; it cannot fail on Linux (sched_yield(2)).
#[inline]
pub fn yield_now() {
    rustix::thread::sched_yield();
}

/// How many CPUs the process may run on, at least 1: those that are online
/// (`sysconf(_SC_NPROCESSORS_ONLN)`), or fewer if its first thread is bound to fewer, as all are by
/// `taskset` and in a container with a set of CPUs (sched_getaffinity(2)).
///
/// Asked once, at the first call, which reads a file of the kernel's; later calls are one load. What the
/// calling thread is bound to does not matter: who asks first asks for all.
#[inline]
pub fn cpus() -> u32 {
    static CPUS: AtomicU32 = AtomicU32::new(0);
    // Relaxed: the value stands for itself, and whoever asks at the same time finds the same.
    match CPUS.load(Relaxed) {
        0 => ask(&CPUS),
        known => known,
    }
}

#[cold]
fn ask(cpus: &AtomicU32) -> u32 {
    // SAFETY: no precondition.
    let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    // Where it does not tell, there are many: that is the cautious answer for who spins.
    let online = u32::try_from(online).unwrap_or(u32::MAX);
    let bound = rustix::thread::sched_getaffinity(Some(rustix::process::getpid()));
    // It errs on more than 1,024 CPUs.
    let found = bound.map_or(online, |cpus| online.min(cpus.count())).max(1);
    cpus.store(found, Relaxed);
    found
}

#[cfg(test)]
mod tests {
    #[test]
    fn there_is_a_cpu() {
        assert!(super::cpus() >= 1);
        assert_eq!(super::cpus(), super::cpus());
        let libc_finds = std::thread::available_parallelism().unwrap().get();
        assert!(super::cpus() as usize >= libc_finds); // which may be bound by a quota too
    }
}
