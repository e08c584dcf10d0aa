//! The scheduler: give way, and how many CPUs there are to give way on.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// `sched_yield()`: lets another runnable thread of this CPU run first, if there is one.
///
/// One system call; it cannot fail on Linux (sched_yield(2)).
#[inline]
pub fn yield_now() {
    rustix::thread::sched_yield();
}

/// `sched_getaffinity(0)`: the number of CPUs that the process may use, at least 1.
///
/// Asked once, at the first call; later calls are one load. A later change of the affinity is not
/// noticed. Where the system call is refused the answer is 1. Linux 2.6.
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
    let found = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count().max(1));
    cpus.store(found, Relaxed);
    found
}

#[cfg(test)]
mod tests {
    #[test]
    fn there_is_a_cpu() {
        assert!(super::cpus() >= 1);
        assert_eq!(super::cpus(), super::cpus());
    }
}
