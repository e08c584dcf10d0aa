//! How long a thread looks again before it sleeps.
//!
//! Going to sleep and being woken costs two system calls and, across cores, the wake-up of a CPU:
//! tens of microseconds. A section under a lock is mostly shorter. So a thread first pauses a
//! little, for who runs on another core, then yields a few times, for who waits for this core.
//!
//! A yield lasts as long as others have to run, on a busy machine many milliseconds. So a thread
//! that is to be back at some point, or at the next signal, does not yield. Once a thread's yields between two
//! sleeps have taken longer than [`LONG_YIELD`], it goes to sleep, and who begins to look within [`BUSY_FOR`]
//! does not yield: others may have work to do that has nothing to do with what is waited for. They may also be
//! the ones that contend for it, to whom a yield is worth much, so that is not long.
//!
//! Each look takes the word's cache line from the thread that works under the lock, and so delays what it
//! waits for. So the pauses between looks grow, each burst by the same: the first looks come at once, for
//! sections of nanoseconds, later ones are late by a small part of what was waited for already.
//!
//! # What the constants come from
//!
//! A virtual machine with 2 cores (AMD Zen 5, Linux 6.18, November 2026), `benches/spin.rs`: throughput of 2 to
//! 32 threads, sections of 0 to 5 µs, nothing or as much between, geometric mean of 28 loads, and the worst of
//! them, by std's mutex (100 pauses, a look after each, then sleep). The bursts of other shapes in builds of
//! their own, with 7 yields and none for 1 s after a long one:
//!
//! | pauses | mean | worst | |
//! |---|---|---|---|
//! | 60, one at a time | 1.00 | 0.78 | |
//! | 200, bursts of 1, 2, 4 … 32 | 1.16 | 0.89 | |
//! | 500, bursts of 1, 2, 4 … 64 | 1.22 | 0.91 | 12 µs before the first yield |
//! | 300, bursts of 1, 2, 3 … | 1.14 | 0.90 | |
//! | 300, bursts of 1, 5, 9 … | 1.22, 1.21 | 0.92, 0.90 | what is taken, in two runs |
//! | 300, bursts of 1, 17, 33 … | 1.21 | 0.77 | sections of 500 ns suffer |
//! | parking_lot: 14, then 7 yields, then sleep | 1.23, 1.21 | 0.61, 0.61 | in the same two runs |
//!
//! For how long nobody yields, by `benches/contended.rs`, with 300 pauses and 7 yields: 4, 8 and 32 threads with
//! 5 µs inside and between, 8 and 32 with 500 ns inside and nothing between, two runs. Beside two processes that
//! use up both CPUs no such difference was seen.
//!
//! | nobody yields for | `Mutex` | `Lock` | `RLock` |
//! |---|---|---|---|
//! | 1 s | 1.22 | 1.26 | 1.24 |
//! | 50 ms | 1.37 | 1.39 | 1.34 |
//! | 20 ms | 1.40 | 1.39 | 1.37 |
//! | 10 ms | 1.42 | 1.44 | 1.40 |
//!
//! How many yields, by `benches/spin.rs` again, with all else as it is. One that nobody else runs in takes 0.3 µs.
//! All looks together take less than half of what it costs to be woken ("release to a sleeper" in
//! `docs/benchmarks.md`); up to as much, a wait costs at most twice what it would if the thread knew how long
//! it will have to wait (Karlin et al., "Empirical studies of competitive spinning", SOSP 1991).
//!
//! | pauses | yields | mean | worst |
//! |---|---|---|---|
//! | 300 | 7 | 1.27 | 0.82 |
//! | 300 | 20 | 1.28 | 0.89 |
//! | 300 | 40 | 1.29 | 0.93 |
//! | 150 | 20 | 1.27 | 0.89 |
//! | 600 | 20 | 1.29 | 0.91 |
//! | parking_lot | | 1.22 | 0.60 |
//!
//! Events, semaphores, barriers and `park` take the same constants, which were not chosen for them;
//! `docs/benchmarks.md` says what comes of it. There is no figure from aarch64 hardware, where a pause is an
//! `ISB`, nor from a machine with more than 4 CPUs, where others report that yields hurt, so there nobody
//! yields behind sleepers.

use crate::primitive::{cpus, nanos, pause, yield_now};
use crate::raw::park::Limit;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// Pauses (`PAUSE`, `ISB`) before the first yield: about 7.5 µs.
const PAUSES: u16 = 300;

/// How many pauses more there are between two looks than between those before.
const GROWTH: u16 = 4;

/// Calls of `sched_yield` before sleep.
const YIELDS: u16 = 20;

/// The most CPUs with which a thread yields although others sleep already.
const FEW_CPUS: u32 = 4;

/// Nanoseconds of yields in which others have used up at least a time slice.
const LONG_YIELD: i64 = 4_000_000;

/// Nanoseconds for which the process then does without yields: where one other thread wants its CPU, in
/// slices of 4 ms, yields cost a thread about a quarter of its time at most.
const BUSY_FOR: i64 = 20_000_000;

/// How long a thread looks again before it sleeps: see [`set_spin_policy`].
///
/// ```
/// use threadbare::SpinPolicy;
///
/// let patient = SpinPolicy { pauses: 1_000, ..SpinPolicy::default() };
/// assert_eq!(patient.yields, 20);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpinPolicy {
    /// How often it pauses first, for a thread that runs on another CPU and is about to be done; it looks
    /// after 1, 6, 15, 28 … of them. A pause is `PAUSE` on x86_64, which takes about 10 cycles or, in newer
    /// CPUs, 40 to 140; `ISB` on aarch64.
    pub pauses: u16,
    /// How often it yields then, for a thread that waits for this CPU: `sched_yield`, which lasts as long as
    /// another thread runs meanwhile. It does not yield if the wait has a deadline or listens to signals. Once
    /// its yields have taken longer than 4 ms it sleeps, and who begins to look within the next 20 ms does not
    /// yield.
    pub yields: u16,
    /// Whether it yields although others sleep already that have come before. It never pauses then.
    pub yields_behind_sleepers: bool,
}

impl SpinPolicy {
    /// To sleep at once.
    ///
    /// ```
    /// threadbare::set_spin_policy(threadbare::SpinPolicy::NONE);
    /// ```
    pub const NONE: SpinPolicy = SpinPolicy {
        pauses: 0,
        yields: 0,
        yields_behind_sleepers: false,
    };

    fn for_cpus(cpus: u32) -> SpinPolicy {
        SpinPolicy {
            // On one CPU nobody else runs meanwhile.
            pauses: if cpus == 1 { 0 } else { PAUSES },
            yields: YIELDS,
            yields_behind_sleepers: cpus <= FEW_CPUS,
        }
    }

    fn pack(self) -> u64 {
        let crowd = u64::from(self.yields_behind_sleepers) << 32;
        IS_SET | crowd | u64::from(self.yields) << 16 | u64::from(self.pauses)
    }

    fn unpack(packed: u64) -> SpinPolicy {
        SpinPolicy {
            pauses: packed as u16,
            yields: (packed >> 16) as u16,
            yields_behind_sleepers: packed >> 32 & 1 != 0,
        }
    }
}

/// What is right for as many CPUs as the process may use when this is first asked: 300 pauses (none on a
/// single CPU) and 20 yields, behind sleepers too if there are at most 4 CPUs.
impl Default for SpinPolicy {
    fn default() -> SpinPolicy {
        SpinPolicy::for_cpus(cpus())
    }
}

/// The bit of [`POLICY`] that is set in each policy.
const IS_SET: u64 = 1 << 33;

/// A [`SpinPolicy`], packed; 0 before the first one is set.
static POLICY: AtomicU64 = AtomicU64::new(0);

/// Sets how long the threads of this process look again, for what they wait for, before they sleep. It
/// holds for all objects of this crate, from each thread's next decision to look again on.
///
/// Sleeping and being woken costs two system calls and the wake-up of a CPU, tens of microseconds; to
/// look again costs processor time that others might use. The default was measured with 2 CPUs.
///
/// ```
/// use threadbare::{SpinPolicy, set_spin_policy, spin_policy};
///
/// // On a machine with many CPUs, all busy:
/// set_spin_policy(SpinPolicy { yields: 0, ..SpinPolicy::default() });
/// assert_eq!(spin_policy().yields, 0);
/// ```
pub fn set_spin_policy(policy: SpinPolicy) {
    // Relaxed, here and below: a value that stands for itself.
    POLICY.store(policy.pack(), Relaxed);
}

/// How long threads look again before they sleep: what [`set_spin_policy`] said last, or the default.
///
/// ```
/// use threadbare::{SpinPolicy, spin_policy};
///
/// assert_eq!(spin_policy(), SpinPolicy::default());
/// ```
#[must_use]
pub fn spin_policy() -> SpinPolicy {
    match POLICY.load(Relaxed) {
        0 => SpinPolicy::default(),
        packed => SpinPolicy::unpack(packed),
    }
}

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

    /// Learns how long yields have lasted; whether that was long.
    fn learn(&self, from: i64, to: i64) -> bool {
        let long = to - from > LONG_YIELD;
        if long {
            self.busy_until.store(to.saturating_add(BUSY_FOR), Relaxed);
        }
        long
    }
}

/// What is left of one thread's budget of looking again.
pub struct Spin {
    left: SpinPolicy,
    /// How often it pauses before the next look.
    burst: u16,
    /// When it began to yield.
    yields_since: Option<i64>,
}

impl Spin {
    /// Pauses, then yields if `limit` allows.
    pub fn new(limit: Limit) -> Spin {
        Spin::with(spin_policy(), limit)
    }

    /// Only yields, if `limit` allows: for waits that end by what another thread first has to get a
    /// CPU for.
    pub fn yielding(limit: Limit) -> Spin {
        let policy = SpinPolicy {
            pauses: 0,
            ..spin_policy()
        };
        Spin::with(policy, limit)
    }

    /// For a wait that ends when so many threads have run: pauses, if all may run at once.
    pub fn for_all_of(threads: u32, limit: Limit) -> Spin {
        if threads > cpus() {
            Spin::yielding(limit)
        } else {
            Spin::new(limit)
        }
    }

    fn with(mut policy: SpinPolicy, limit: Limit) -> Spin {
        let patient = limit.deadline.is_never() && !limit.interruptible;
        if !patient || MACHINE.is_busy(nanos) {
            policy.yields = 0;
        }
        Spin {
            left: policy,
            burst: 1,
            yields_since: None,
        }
    }

    /// Passes some time, unless the budget is used up: then `false`, and the thread is to sleep.
    ///
    /// `crowded` says that others sleep already; pausing would only delay joining them.
    pub fn turn(&mut self, crowded: bool) -> bool {
        if cfg!(threadbare_model) {
            return false; // a spin is a wait that needs no wake: it would hide lost ones
        }
        let left = &mut self.left;
        if crowded {
            if !left.yields_behind_sleepers {
                return false;
            }
            left.pauses = 0;
        }
        if left.pauses > 0 {
            let burst = self.burst.min(left.pauses);
            left.pauses -= burst;
            self.burst += GROWTH;
            (0..burst).for_each(|_| pause());
        } else if left.yields > 0 {
            left.yields -= 1;
            let since = *self.yields_since.get_or_insert_with(nanos);
            yield_now();
            if MACHINE.learn(since, nanos()) {
                left.yields = 0;
            }
        } else {
            return false;
        }
        true
    }
}

#[cfg(all(test, not(threadbare_model)))]
mod tests {
    use super::*;

    fn turns(mut spin: Spin, crowded: bool) -> u32 {
        std::iter::from_fn(|| spin.turn(crowded).then_some(())).count() as u32
    }

    /// How often a thread looks again that pauses so often in all.
    fn looks(pauses: u16) -> u32 {
        let passed = |looks: u32| {
            (0..looks)
                .map(|look| 1 + look * u32::from(GROWTH))
                .sum::<u32>()
        };
        (0..)
            .find(|&looks| passed(looks) >= u32::from(pauses))
            .unwrap()
    }

    #[test]
    fn looks_come_at_growing_intervals_and_all_pauses_are_used() {
        assert_eq!([0, 1, 2, 6, 7, 300].map(looks), [0, 1, 2, 2, 3, 13]);
        for pauses in [0, 1, 2, 6, 7, 300, u16::MAX] {
            let policy = SpinPolicy {
                pauses,
                ..SpinPolicy::NONE
            };
            assert_eq!(turns(Spin::with(policy, Limit::NONE), false), looks(pauses));
        }
    }

    #[test]
    fn the_budget_ends() {
        // Fewer if the machine is busy meanwhile.
        let policy = spin_policy();
        let (looks, yields) = (looks(policy.pauses), u32::from(policy.yields));
        let all = turns(Spin::new(Limit::NONE), false);
        assert!((looks..=looks + yields).contains(&all));
        assert!(turns(Spin::yielding(Limit::NONE), false) <= yields);
    }

    #[test]
    fn what_is_right_depends_on_the_number_of_cpus() {
        let [one, two, many] = [1, 2, 64].map(SpinPolicy::for_cpus);
        assert_eq!((one.pauses, two.pauses, many.pauses), (0, PAUSES, PAUSES));
        assert!(
            [one, two, many]
                .iter()
                .all(|policy| policy.yields == YIELDS)
        );
        assert!(one.yields_behind_sleepers && two.yields_behind_sleepers);
        assert!(!many.yields_behind_sleepers);
    }

    #[test]
    fn a_policy_is_kept_as_it_was_given() {
        for policy in [
            SpinPolicy::NONE,
            SpinPolicy::default(),
            SpinPolicy {
                pauses: u16::MAX,
                yields: 0,
                yields_behind_sleepers: true,
            },
            SpinPolicy {
                pauses: 0,
                yields: u16::MAX,
                yields_behind_sleepers: false,
            },
        ] {
            assert_ne!(policy.pack(), 0);
            assert_eq!(SpinPolicy::unpack(policy.pack()), policy);
        }
        set_spin_policy(SpinPolicy::default()); // as it is for the other tests
        assert_eq!(spin_policy(), SpinPolicy::default());
        assert_ne!(POLICY.load(Relaxed), 0);
    }

    #[test]
    fn who_has_a_deadline_or_listens_to_signals_does_not_yield() {
        let looks = looks(spin_policy().pauses);
        let deadline = crate::primitive::Deadline::after(std::time::Duration::from_secs(1));
        for limit in [
            Limit::until(deadline),
            Limit::interruptible(deadline),
            Limit::interruptible(crate::primitive::Deadline::NEVER),
        ] {
            assert_eq!(turns(Spin::new(limit), false), looks);
            assert_eq!(turns(Spin::yielding(limit), false), 0);
        }
    }

    #[test]
    fn who_waits_for_more_threads_than_can_run_does_not_pause() {
        let few = turns(Spin::for_all_of(cpus(), Limit::NONE), false);
        assert!(few >= looks(spin_policy().pauses));
        let many = turns(Spin::for_all_of(cpus() + 1, Limit::NONE), false);
        assert!(many <= u32::from(spin_policy().yields));
    }

    #[test]
    fn yields_that_have_lasted_long_in_all_end() {
        let mut spin = Spin::with(SpinPolicy::NONE, Limit::NONE);
        spin.left.yields = 20;
        spin.yields_since = Some(nanos() - LONG_YIELD);
        assert_eq!(turns(spin, false), 1);
    }

    #[test]
    fn in_a_crowd_nobody_pauses() {
        for yields_behind_sleepers in [false, true] {
            let policy = SpinPolicy {
                pauses: 10,
                yields: 3,
                yields_behind_sleepers,
            };
            let most = if yields_behind_sleepers { 3 } else { 0 };
            assert!(turns(Spin::with(policy, Limit::NONE), true) <= most);
        }
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
