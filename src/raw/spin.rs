//! How long a thread looks again before it sleeps.
//!
//! Going to sleep and being woken costs two system calls and, across cores, the wake-up of a CPU:
//! tens of microseconds. A section under a lock is mostly shorter. So a thread first pauses a
//! little, for who runs on another core, then yields a few times, for who waits for this core.
//!
//! The constants were measured on a virtual machine with 2 cores (AMD Zen 5, Linux 6.18, November
//! 2026), 2 to 32 threads, sections of 0 to 5 µs: 30 to 60 pauses and 7 yields gave 1.12 to 1.35
//! times the throughput of 100 pauses alone (std's policy). There is no figure from a machine with
//! more than 4 CPUs, where others report that yields hurt, so there nobody yields behind sleepers.

use crate::primitive::{cpus, pause, yield_now};

/// Pauses (`PAUSE`, `ISB`) before the first yield: about 1.5 µs.
const PAUSES: u32 = 60;

/// Calls of `sched_yield` before sleep.
const YIELDS: u32 = 7;

/// The most CPUs with which a thread yields although others sleep already.
const FEW_CPUS: u32 = 4;

/// One thread's budget of looking again.
pub struct Spin {
    turns: u32,
}

impl Spin {
    /// Pauses, then yields. With one CPU pauses are useless, and it only yields.
    pub fn new() -> Spin {
        Spin {
            turns: if cpus() == 1 { PAUSES } else { 0 },
        }
    }

    /// Only yields: for waits that end by what another thread first has to get a CPU for.
    pub fn yielding() -> Spin {
        Spin { turns: PAUSES }
    }

    /// Passes some time, unless the budget is used up: then `false`, and the thread is to sleep.
    ///
    /// `crowded` says that others sleep already; pausing would only delay joining them.
    pub fn turn(&mut self, crowded: bool) -> bool {
        if cfg!(threadbare_loom) {
            return false; // a spin is a wait that needs no wake: it would hide lost ones
        }
        if crowded {
            if cpus() > FEW_CPUS {
                return false;
            }
            self.turns = self.turns.max(PAUSES);
        }
        if self.turns < PAUSES {
            pause();
        } else if self.turns < PAUSES + YIELDS {
            yield_now();
        } else {
            return false;
        }
        self.turns += 1;
        true
    }
}

#[cfg(all(test, not(threadbare_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_budget_ends() {
        let mut spin = Spin::new();
        let turns = std::iter::from_fn(|| spin.turn(false).then_some(())).count() as u32;
        assert!(turns == PAUSES + YIELDS || cpus() == 1 && turns == YIELDS);
    }

    #[test]
    fn in_a_crowd_nobody_pauses() {
        let mut spin = Spin::new();
        let turns = std::iter::from_fn(|| spin.turn(true).then_some(())).count() as u32;
        assert_eq!(turns, if cpus() > FEW_CPUS { 0 } else { YIELDS });
    }
}
