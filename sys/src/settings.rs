//! What a thread has otherwise than the one that starts it: signal mask, CPUs, scheduling.
//!
//! Signals are blocked in the starting thread around `pthread_create`, so they are in the new one
//! from its first instruction on; pthread_attr_setsigmask_np(3) came with glibc 2.32 only. CPUs and
//! scheduling are set by the starting thread while the new one waits to be let go (see
//! [`pthread::start`](crate::pthread::start)), and not by attributes: where the kernel refuses those,
//! older glibc returns while the thread may still run on its stack (its bug 19511).

use crate::{Errno, returned};
use std::fmt;
use std::mem::MaybeUninit;

/// What a new thread has otherwise than the thread that starts it. By default: nothing.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Whether all signals are blocked, but for those that a fault of the thread's own raises:
    /// `SIGSEGV`, `SIGBUS`, `SIGFPE`, `SIGILL`, `SIGTRAP` and `SIGSYS` are inherited.
    pub blocks_signals: bool,
    /// The CPUs that it may run on.
    pub cpus: Option<Box<CpuSet>>,
    /// How the kernel schedules it.
    pub scheduling: Option<Scheduling>,
}

const _: () = assert!(size_of::<Settings>() == 16, "threads of all kinds carry it");

impl Settings {
    /// A thread like the one that starts it.
    pub const INHERITED: Settings = Settings {
        blocks_signals: false,
        cpus: None,
        scheduling: None,
    };

    /// Whether [`apply`](Settings::apply) has anything to do.
    pub(crate) fn are_for_a_thread_that_waits(&self) -> bool {
        self.cpus.is_some() || self.scheduling.is_some()
    }

    /// Sets the CPUs and the scheduling of `thread`: two system calls for the one, one for the
    /// other.
    ///
    /// # Errors
    /// `EINVAL`: there is no CPU in the set, or one that the thread cannot run on, or no such
    /// priority. `EPERM`: the priority is above what the process may have.
    ///
    /// # Safety
    /// The thread has not been joined, and is not detached.
    pub(crate) unsafe fn apply(&self, thread: libc::pthread_t) -> Result<(), Errno> {
        if let Some(cpus) = &self.cpus {
            // SAFETY: passed on to the caller.
            unsafe { cpus.bind(thread) }?;
        }
        if let Some(scheduling) = self.scheduling {
            // SAFETY: passed on to the caller.
            unsafe { scheduling.set(thread) }?;
        }
        Ok(())
    }
}

/// Signals are blocked in the calling thread while this lives.
pub(crate) struct Blocked {
    before: libc::sigset_t,
}

impl Blocked {
    /// `pthread_sigmask(SIG_BLOCK, {what blocks_signals says}, &before)`: leaves out those that
    /// libc keeps for itself, so `setuid` and the like still reach the thread. One system call, and
    /// another one at the end.
    pub(crate) fn new() -> Blocked {
        let mut before = MaybeUninit::uninit();
        // SAFETY: the set and the place for the old mask are valid; no handler runs by this.
        let result = unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, &all_but_faults(), before.as_mut_ptr())
        };
        debug_assert_eq!(result, 0, "it fails for an unknown operation only");
        // SAFETY: the call has stored the mask.
        let before = unsafe { before.assume_init() };
        Blocked { before }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        let nowhere = std::ptr::null_mut();
        // SAFETY: the mask is one that the thread has had.
        let result = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, nowhere) };
        debug_assert_eq!(result, 0, "it fails for an unknown operation only");
    }
}

fn all_but_faults() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: fills the set that it is given; it cannot fail.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    // SAFETY: filled above.
    let mut set = unsafe { set.assume_init() };
    for fault in [
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGILL,
        libc::SIGTRAP,
        libc::SIGSYS,
    ] {
        // SAFETY: the set is initialised and the number a signal's.
        unsafe { libc::sigdelset(&mut set, fault) };
    }
    set
}

/// A set of CPUs, by the numbers that the kernel gives them.
#[derive(Clone, PartialEq, Eq)]
pub struct CpuSet {
    words: [u64; CpuSet::CPUS / 64],
    /// Whether a number was too large for the words.
    is_too_large: bool,
}

impl CpuSet {
    /// Numbers from this one on are no CPU's: no kernel is built for more (`NR_CPUS` of x86_64;
    /// that of aarch64 is lower).
    pub const CPUS: usize = 8192;

    /// `pthread_setaffinity_np(thread, size, set)`, and `pthread_getaffinity_np` to see that none
    /// was left out: the kernel passes over CPUs that the thread cannot run on, unless it cannot run
    /// on any (sched_setaffinity(2)). Two system calls. glibc 2.3.4.
    ///
    /// # Errors
    /// `EINVAL`: the set is empty, or a CPU does not exist, is offline, or is not in the cpuset of
    /// the process (cpuset(7)).
    ///
    /// # Safety
    /// The thread has not been joined, and is not detached.
    unsafe fn bind(&self, thread: libc::pthread_t) -> Result<(), Errno> {
        if self.is_too_large {
            return Err(Errno::INVAL);
        }
        let (size, words) = (size_of_val(&self.words), self.words.as_ptr());
        // SAFETY: the set is valid and `size` long; the thread is as the caller promises.
        returned(unsafe { libc::pthread_setaffinity_np(thread, size, words.cast()) })?;
        let mut bound = [0_u64; CpuSet::CPUS / 64];
        let words = bound.as_mut_ptr();
        // SAFETY: as above; any bits may be stored in the words.
        returned(unsafe { libc::pthread_getaffinity_np(thread, size, words.cast()) })?;
        if bound == self.words {
            Ok(())
        } else {
            Err(Errno::INVAL)
        }
    }

    fn contains(&self, cpu: usize) -> bool {
        self.words[cpu / 64] & (1 << (cpu % 64)) != 0
    }
}

impl FromIterator<usize> for CpuSet {
    /// A number that is no CPU's makes a set that no thread can be bound to.
    fn from_iter<I: IntoIterator<Item = usize>>(cpus: I) -> CpuSet {
        let mut set = CpuSet {
            words: [0; CpuSet::CPUS / 64],
            is_too_large: false,
        };
        for cpu in cpus {
            match set.words.get_mut(cpu / 64) {
                Some(word) => *word |= 1 << (cpu % 64),
                None => {
                    set.is_too_large = true;
                    break; // whatever follows, of which there may be no end
                }
            }
        }
        set
    }
}

impl fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut set = f.debug_set();
        set.entries((0..CpuSet::CPUS).filter(|cpu| self.contains(*cpu)));
        if self.is_too_large {
            set.entry(&format_args!(">= {}", CpuSet::CPUS));
        }
        set.finish()
    }
}

/// How the kernel schedules a thread (sched(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduling {
    policy: u8,
    priority: u8,
}

impl Scheduling {
    /// `SCHED_OTHER`: by turns, as ordinary threads.
    pub const OTHER: Scheduling = Scheduling {
        policy: libc::SCHED_OTHER as u8,
        priority: 0,
    };

    /// `SCHED_FIFO`: ahead of all of a lower priority. The kernel knows those from 1 to 99.
    #[must_use]
    pub const fn fifo(priority: u8) -> Scheduling {
        Scheduling {
            policy: libc::SCHED_FIFO as u8,
            priority,
        }
    }

    /// `SCHED_RR`: the same, by turns among those of one priority.
    #[must_use]
    pub const fn round_robin(priority: u8) -> Scheduling {
        Scheduling {
            policy: libc::SCHED_RR as u8,
            priority,
        }
    }

    /// `pthread_setschedparam(thread, policy, priority)`. One system call.
    ///
    /// # Errors
    /// `EINVAL`: no such priority. `EPERM`: it is above `RLIMIT_RTPRIO`, without `CAP_SYS_NICE`.
    ///
    /// # Safety
    /// The thread has not been joined, and is not detached.
    unsafe fn set(self, thread: libc::pthread_t) -> Result<(), Errno> {
        let priority = libc::sched_param {
            sched_priority: self.priority.into(),
        };
        // SAFETY: the thread is as the caller promises, and the parameter is valid for the call.
        returned(unsafe { libc::pthread_setschedparam(thread, self.policy.into(), &priority) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_the_cpus_that_it_was_given() {
        let set: CpuSet = [0, 63, 64, 8191, 63].into_iter().collect();
        assert_eq!(format!("{set:?}"), "{0, 63, 64, 8191}");
        assert!(!set.is_too_large);
    }

    #[test]
    fn a_number_that_is_no_cpus_is_remembered() {
        for cpu in [8192, usize::MAX] {
            let set: CpuSet = [1, cpu].into_iter().collect();
            assert!(set.is_too_large, "{set:?}");
        }
        let endless: CpuSet = (0..).collect();
        assert!(endless.is_too_large);
    }

    #[test]
    fn signals_are_blocked_for_a_while_but_for_those_of_faults() {
        let mask = || {
            let mut mask = MaybeUninit::uninit();
            // SAFETY: asks for the mask and changes nothing.
            unsafe { libc::pthread_sigmask(0, std::ptr::null(), mask.as_mut_ptr()) };
            // SAFETY: stored by the call.
            unsafe { mask.assume_init() }
        };
        // SAFETY: the set is valid and the number a signal's.
        let has = |mask: libc::sigset_t, signal| unsafe { libc::sigismember(&mask, signal) } == 1;
        let before = mask();
        let blocked = Blocked::new();
        let now = mask();
        assert!(has(now, libc::SIGTERM) && has(now, libc::SIGPROF) && has(now, libc::SIGABRT));
        assert!(!has(now, libc::SIGSEGV) && !has(now, libc::SIGSYS));
        drop(blocked);
        let after = mask();
        assert!((1..=64).all(|signal| has(before, signal) == has(after, signal)));
    }
}
