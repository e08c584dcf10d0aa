//! How long a thread looks again before it sleeps.
//!
//! Going to sleep and being woken costs two system calls and, across cores, the wake-up of a CPU:
//! tens of microseconds. A section under a lock is mostly shorter. So a thread first pauses a
//! little, for who runs on another core, then yields a few times, for who waits for this core.
//!
//! A yield lasts as long as others have to run, on a busy machine many milliseconds. So a thread
//! that is to be back at some point, or at the next signal, does not yield; and once a yield has
//! taken longer than [`LONG_YIELD`], which those who contend for a lock do not cause but others with
//! work to do, nobody yields for [`BUSY_FOR`].
//!
//! The constants were measured on a virtual machine with 2 cores (AMD Zen 5, Linux 6.18, November
//! 2026), 2 to 32 threads, sections of 0 to 5 µs: 30 to 60 pauses and 7 yields gave 1.12 to 1.35
//! times the throughput of 100 pauses alone (std's policy). There is no figure from a machine with
//! more than 4 CPUs, where others report that yields hurt, so there nobody yields behind sleepers.

use crate::primitive::{cpus, nanos, pause, yield_now};
use crate::raw::park::Limit;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// Pauses (`PAUSE`, `ISB`) before the first yield: about 1.5 µs.
const PAUSES: u32 = 60;

/// Calls of `sched_yield` before sleep.
const YIELDS: u32 = 7;

/// The most CPUs with which a thread yields although others sleep already.
const FEW_CPUS: u32 = 4;

/// Nanoseconds of a yield in which others have used up at least a time slice.
const LONG_YIELD: i64 = 4_000_000;

/// Nanoseconds for which the process then does without yields: they may cost it one long yield a
/// second.
const BUSY_FOR: i64 = 1_000_000_000;

static MACHINE: Machine = Machine {
    busy_until: AtomicI64::new(0),
};

/// What is known of the machine's other work. Not modelled: it decides how long a thread looks
/// again, not what it sees.
struct Machine {
    busy_until: AtomicI64,
}

impl Machine {
    /// Whether a yield may last long, now that it is `now`.
    fn is_busy(&self, now: impl FnOnce() -> i64) -> bool {
        // Relaxed, here and below: a hint that stands for itself.
        let until = self.busy_until.load(Relaxed);
        until != 0 && now() < until
    }

    /// Learns how long a yield has lasted; whether that was long.
    fn learn(&self, from: i64, to: i64) -> bool {
        let long = to - from > LONG_YIELD;
        if long {
            self.busy_until.store(to.saturating_add(BUSY_FOR), Relaxed);
        }
        long
    }
}

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
        let yields = if patient && !MACHINE.is_busy(nanos) {
            YIELDS
        } else {
            0
        };
        PAUSES + yields
    }

    /// Passes some time, unless the budget is used up: then `false`, and the thread is to sleep.
    ///
    /// `crowded` says that others sleep already; pausing would only delay joining them.
    pub fn turn(&mut self, crowded: bool) -> bool {
        if cfg!(threadbare_model) {
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
            pause();
        } else {
            let before = nanos();
            yield_now();
            if MACHINE.learn(before, nanos()) {
                self.end = self.turns;
            }
        }
        self.turns += 1;
        true
    }
}

#[cfg(all(test, not(threadbare_model)))]
mod tests {
    use super::*;

    fn turns(mut spin: Spin, crowded: bool) -> u32 {
        std::iter::from_fn(|| spin.turn(crowded).then_some(())).count() as u32
    }

    #[test]
    fn the_budget_ends() {
        // Fewer if the machine is busy meanwhile.
        let pauses = if cpus() == 1 { 0 } else { PAUSES };
        let all = turns(Spin::new(Limit::NONE), false);
        assert!((pauses..=pauses + YIELDS).contains(&all));
        assert!(turns(Spin::yielding(Limit::NONE), false) <= YIELDS);
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
        assert!(turns(Spin::new(Limit::NONE), true) <= yields);
    }

    #[test]
    fn after_a_long_yield_nobody_yields_for_a_while() {
        let machine = Machine {
            busy_until: AtomicI64::new(0),
        };
        assert!(!machine.is_busy(|| unreachable!("nothing is known, so the time does not matter")));
        assert!(!machine.learn(100, 100 + LONG_YIELD) && !machine.is_busy(|| 200));
        let end = 101 + LONG_YIELD;
        assert!(machine.learn(100, end) && machine.is_busy(|| end));
        assert!(machine.is_busy(|| end + BUSY_FOR - 1) && !machine.is_busy(|| end + BUSY_FOR));
    }
}
