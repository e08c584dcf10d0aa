//! How long a thread looks again before it sleeps.
//!
//! Going to sleep and being woken costs two system calls and, across cores, the wake-up of a CPU:
//! tens of microseconds. A section under a lock is mostly shorter. So a thread first pauses a
//! little, for who runs on another core, then yields a few times, for who waits for this core.
//!
//! A yield lasts as long as others have to run, on a busy machine many milliseconds. So a thread
//! that is to be back at some point, or at the next signal, does not yield.
//!
//! The constants were measured on a virtual machine with 2 cores (AMD Zen 5, Linux 6.18, November
//! 2026), 2 to 32 threads, sections of 0 to 5 µs: 30 to 60 pauses and 7 yields gave 1.12 to 1.35
//! times the throughput of 100 pauses alone (std's policy). There is no figure from a machine with
//! more than 4 CPUs, where others report that yields hurt, so there nobody yields behind sleepers.

use crate::primitive::{cpus, pause, yield_now};
use crate::raw::park::Limit;

/// Pauses (`PAUSE`, `ISB`) before the first yield: about 1.5 µs.
const PAUSES: u32 = 60;

/// Calls of `sched_yield` before sleep.
const YIELDS: u32 = 7;

/// The most CPUs with which a thread yields although others sleep already.
const FEW_CPUS: u32 = 4;

/// One thread's budget of looking again.
pub struct Spin {
    turns: u32,
    /// The turns after which the budget is used up.
    end: u32,
}

impl Spin {
    /// Pauses, then yields if `limit` allows. With one CPU pauses are useless, so it only yields.
    pub fn new(limit: Limit) -> Spin {
        let turns = if cpus() == 1 { PAUSES } else { 0 };
        Spin {
            turns,
            end: Spin::end(limit),
        }
    }

    /// Only yields, if `limit` allows: for waits that end by what another thread first has to get a
    /// CPU for.
    pub fn yielding(limit: Limit) -> Spin {
        Spin {
            turns: PAUSES,
            end: Spin::end(limit),
        }
    }

    fn end(limit: Limit) -> u32 {
        let patient = limit.deadline.is_never() && !limit.interruptible;
        if patient { PAUSES + YIELDS } else { PAUSES }
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
        if self.turns >= self.end {
            return false;
        }
        if self.turns < PAUSES {
            pause()
        } else {
            yield_now()
        }
        self.turns += 1;
        true
    }
}

#[cfg(all(test, not(threadbare_loom)))]
mod tests {
    use super::*;

    fn turns(mut spin: Spin, crowded: bool) -> u32 {
        std::iter::from_fn(|| spin.turn(crowded).then_some(())).count() as u32
    }

    #[test]
    fn the_budget_ends() {
        let pauses = if cpus() == 1 { 0 } else { PAUSES };
        assert_eq!(turns(Spin::new(Limit::NONE), false), pauses + YIELDS);
        assert_eq!(turns(Spin::yielding(Limit::NONE), false), YIELDS);
    }

    #[test]
    fn who_has_a_deadline_or_listens_to_signals_does_not_yield() {
        let pauses = if cpus() == 1 { 0 } else { PAUSES };
        let deadline = crate::primitive::Deadline::after(std::time::Duration::from_secs(1));
        for limit in [
            Limit::until(deadline),
            Limit::interruptible(deadline),
            Limit::interruptible(crate::primitive::Deadline::NEVER),
        ] {
            assert_eq!(turns(Spin::new(limit), false), pauses);
            assert_eq!(turns(Spin::yielding(limit), false), 0);
        }
    }

    #[test]
    fn in_a_crowd_nobody_pauses() {
        let yields = if cpus() > FEW_CPUS { 0 } else { YIELDS };
        assert_eq!(turns(Spin::new(Limit::NONE), true), yields);
    }
}
