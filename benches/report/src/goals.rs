//! The goals, and how they stand.
//!
//! A goal is short only if the whole interval of its ratio is beyond the bound: one measurement more
//! or less should not decide.

use crate::samples::{Samples, number_in};
use crate::stats::{Estimate, geometric_means, ratios};
use std::fmt;

pub struct Goal {
    pub what: String,
    pub ratio: Estimate,
    bound: Bound,
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

use Bound::{AtLeast, AtMost};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Met,
    /// The median is beyond the bound, not the whole interval.
    Close,
    NotMet,
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Verdict::Met => "met",
            Verdict::Close => "met within the spread",
            Verdict::NotMet => "not met",
        })
    }
}

impl Goal {
    pub fn bound(&self) -> String {
        match self.bound {
            AtMost(bound) => format!("≤ {bound:.2}"),
            AtLeast(bound) => format!("≥ {bound:.2}"),
        }
    }

    pub fn verdict(&self) -> Verdict {
        let Estimate { median, low, high } = self.ratio;
        let (is_met, may_be_met) = match self.bound {
            AtMost(bound) => (median <= bound, low <= bound),
            AtLeast(bound) => (median >= bound, high >= bound),
        };
        match (is_met, may_be_met) {
            (true, _) => Verdict::Met,
            (_, true) => Verdict::Close,
            _ => Verdict::NotMet,
        }
    }
}

const TIME: &str = "ns";
const RUST_MUTEXES: [&str; 3] = ["std::sync::Mutex", "parking_lot::Mutex", "usync::Mutex"];
const PEERS_IN_GRID: [&str; 4] = [
    "std::sync::Mutex",
    "parking_lot::Mutex",
    "usync::Mutex",
    "pthread_mutex",
];

/// The goals for which there are measurements.
pub fn all(samples: &Samples) -> Vec<Goal> {
    let mut goals = Goals {
        samples,
        cpus: samples.cpus(),
        all: Vec::new(),
    };
    goals.uncontended();
    for who in ["Mutex", "Lock", "RLock"] {
        goals.contended(who);
    }
    goals.waits();
    goals.conditions();
    goals.others();
    goals.threads();
    goals.all
}

struct Goals<'a> {
    samples: &'a Samples,
    cpus: u64,
    all: Vec<Goal>,
}

impl Goals<'_> {
    /// Leaves it out if nothing was measured.
    fn push(&mut self, what: String, ratios: &[f64], bound: Bound) {
        if let Some(ratio) = Estimate::of(ratios) {
            self.all.push(Goal { what, ratio, bound });
        }
    }

    fn values(&self, bench: &str, group: &str, who: &str, metric: &str) -> Vec<f64> {
        self.samples.values(self.cpus, bench, group, who, metric)
    }

    /// One contender's time by another's, in one group.
    fn times(&mut self, bench: &str, group: &str, ours: &str, theirs: &str, bound: f64) {
        self.metric(bench, group, ours, theirs, TIME, bound);
    }

    fn metric(
        &mut self,
        bench: &str,
        group: &str,
        ours: &str,
        theirs: &str,
        metric: &str,
        bound: f64,
    ) {
        let our_values = self.values(bench, group, ours, metric);
        let their_values = self.values(bench, group, theirs, metric);
        let place = if self.cpus == 1 { ", 1 CPU" } else { "" };
        let name = if metric == TIME {
            ""
        } else {
            metric.split(' ').next().unwrap_or("")
        };
        let name = if name.is_empty() {
            String::new()
        } else {
            format!(", {name}")
        };
        let what = format!("{group}{name}{place}: {ours} by {theirs}");
        self.push(what, &ratios(&our_values, &their_values), AtMost(bound));
    }

    fn uncontended(&mut self) {
        let (bench, group) = ("uncontended", "acquire and release");
        let median = |who: &&str| {
            let values = self.values(bench, group, who, TIME);
            Estimate::of(&values).map_or(f64::INFINITY, |estimate| estimate.median)
        };
        let best = RUST_MUTEXES
            .into_iter()
            .min_by(|one, other| median(one).total_cmp(&median(other)));
        if let Some(best) = best {
            self.times(bench, group, "Lock", best, 1.0);
        }
        self.times(bench, group, "Lock", "bare CAS and swap", 1.05);
        self.times(bench, group, "Lock", "bare CAS and CAS", 1.05);
        for (ours, of_std, of_parking_lot) in [
            ("Mutex", "std::sync::Mutex", "parking_lot::Mutex"),
            ("RLock", "std::sync::Mutex", "parking_lot::ReentrantMutex"),
            (
                "ReentrantMutex",
                "std::sync::Mutex",
                "parking_lot::ReentrantMutex",
            ),
        ] {
            self.times(bench, group, ours, of_std, 0.6);
            self.times(bench, group, ours, of_parking_lot, 0.6);
        }
        let group = "acquire again and release";
        self.times(bench, group, "RLock", "parking_lot::ReentrantMutex", 0.5);
        self.times(bench, "is set", "Event::is_set", "bare load", 1.0);
    }

    /// The throughputs of `who` by those of what `peer` says for each cell, round by round.
    fn grid(
        &self,
        who: &str,
        threads: &[u64],
        peer: impl Fn(&str) -> Option<String>,
    ) -> Vec<Vec<f64>> {
        let of_cell = |group: &&str| {
            let is_wanted = number_in(group, "threads").is_some_and(|one| threads.contains(&one));
            let peer = is_wanted.then(|| peer(group)).flatten()?;
            let ours = self.values("contended", group, who, "1/s");
            let theirs = self.values("contended", group, &peer, "1/s");
            let ratios = ratios(&ours, &theirs);
            (!ratios.is_empty()).then_some(ratios)
        };
        let groups = self.samples.groups(self.cpus, "contended");
        groups.iter().filter_map(of_cell).collect()
    }

    fn contended(&mut self, who: &str) {
        let of_std = |_: &str| Some("std::sync::Mutex".to_owned());
        let best = |group: &str| {
            let median = |peer: &&str| {
                let values = self.values("contended", group, peer, "1/s");
                Estimate::of(&values).map_or(0.0, |estimate| estimate.median)
            };
            let best = PEERS_IN_GRID
                .into_iter()
                .max_by(|a, b| median(a).total_cmp(&median(b)));
            best.map(str::to_owned)
        };
        let few = geometric_means(&self.grid(who, &[2, 4], of_std));
        let many = geometric_means(&self.grid(who, &[8, 32], of_std));
        let all = [2, 4, 8, 32];
        let by_best = geometric_means(&self.grid(who, &all, best));
        let cells = self.grid(who, &all, of_std);
        let median = |cell: &&Vec<f64>| Estimate::of(cell).map_or(f64::INFINITY, |one| one.high);
        let worst = cells
            .iter()
            .min_by(|one, other| median(one).total_cmp(&median(other)));
        let worst = worst.cloned().unwrap_or_default();
        self.push(
            format!("grid, 2 and 4 threads: {who} by std"),
            &few,
            AtLeast(1.05),
        );
        self.push(
            format!("grid, 8 and 32 threads: {who} by std"),
            &many,
            AtLeast(1.2),
        );
        self.push(
            format!("grid: {who} by the best peer of each cell"),
            &by_best,
            AtLeast(1.0),
        );
        self.push(
            format!("grid, worst cell: {who} by std"),
            &worst,
            AtLeast(0.85),
        );
    }

    fn waits(&mut self) {
        let (bench, theirs) = ("latency", "std::sync::Mutex");
        let groups = self.samples.groups(self.cpus, bench);
        for group in groups {
            if number_in(group, "threads").is_some_and(|threads| threads >= 8) {
                self.metric(bench, group, "Mutex", theirs, "max ns", 0.25);
            }
            self.metric(bench, group, "Mutex", theirs, "p99.9 ns", 2.0);
        }
    }

    fn conditions(&mut self) {
        let bench = "condition";
        for who in ["Condition", "Monitor"] {
            self.times(
                bench,
                "notify, nobody waits",
                who,
                "std::sync::Condvar",
                0.01,
            );
            self.times(bench, "turns of two threads", who, "std", 0.2);
            self.alone(bench, "turns of two threads", who, "std", 0.4);
            self.times(bench, "notify_all of 8", who, "std", 0.5);
            self.times(bench, "notify_all of 64", who, "std", 0.25);
        }
    }

    /// The same where there is only one CPU.
    fn alone(&mut self, bench: &str, group: &str, ours: &str, theirs: &str, bound: f64) {
        let cpus = std::mem::replace(&mut self.cpus, 1);
        if cpus != 1 {
            self.times(bench, group, ours, theirs, bound);
        }
        self.cpus = cpus;
    }

    fn others(&mut self) {
        self.times(
            "semaphore",
            "release and acquire",
            "Semaphore",
            "sem_t",
            1.0,
        );
        self.times(
            "semaphore",
            "turns of two threads",
            "Semaphore",
            "sem_t",
            0.1,
        );
        self.times("event", "set and clear", "Event", "sem_t", 1.0);
        self.times("event", "wait for what is set", "Event", "sem_t", 1.0);
        self.times("event", "turns of two threads", "Event", "sem_t", 0.1);
        self.times(
            "barrier",
            "round of 2",
            "Barrier",
            "std::sync::Barrier",
            0.1,
        );
        self.times(
            "barrier",
            "round of 8",
            "Barrier",
            "std::sync::Barrier",
            0.3,
        );
        self.times(
            "local",
            "value of this thread",
            "Local::with",
            "ThreadLocal::get",
            1.05,
        );
    }

    fn threads(&mut self) {
        for who in ["Thread", "spawn"] {
            self.times("spawn", "start and join", who, "std::thread::spawn", 0.8);
            self.alone("spawn", "start and join", who, "std::thread::spawn", 0.7);
        }
        let (bench, group) = ("many_threads", "10000 threads");
        self.metric(bench, group, "Thread", "std::thread", "both ms", 0.5);
        self.metric(bench, group, "Thread", "std::thread", "KiB", 0.9);
        for number in [10_000, 30_000] {
            let mut mappings =
                self.values(bench, &format!("{number} threads"), "Thread", "mappings");
            mappings
                .iter_mut()
                .for_each(|mapping| *mapping /= number as f64);
            let what = format!("{number} threads: mappings for each Thread");
            self.push(what, &mappings, AtMost(0.01));
        }
        let (bench, group) = ("compile", "clean release build");
        self.metric(bench, group, "threadbare", "parking_lot", "ms", 1.5);
    }
}
