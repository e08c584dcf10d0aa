//! Runs the contenders of each group in turns, or gives them to criterion.

use super::machine::{self, Usage};
use super::stats::{Estimate, ratios};
use criterion::{BenchmarkId, Criterion, SamplingMode};
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

/// As many as an interval takes that leaves one out at each end.
const ROUNDS: usize = 10;

/// What a time per turn is called.
pub const TIME: &str = "ns";

/// What one sample found, by name; the names carry the units.
pub type Metrics = Vec<(&'static str, f64)>;

enum Body {
    /// Makes so many turns; how long they took.
    Timed(Box<dyn FnMut(u64) -> Duration>),
    /// Measures for about so long.
    Measured(Box<dyn FnMut(Duration) -> Metrics>),
}

struct Contender {
    name: &'static str,
    body: Body,
    /// How many turns make a sample.
    turns: u64,
    series: Vec<(&'static str, Vec<f64>)>,
}

/// Those that do the same thing.
pub struct Group {
    name: String,
    /// How long a sample lasts, in units of what the command line says.
    factor: f64,
    contenders: Vec<Contender>,
}

impl Group {
    /// A contender whose turns are timed. The first of a group is the one that the others are
    /// compared with in what is printed.
    pub fn timed(
        &mut self,
        name: &'static str,
        body: impl FnMut(u64) -> Duration + 'static,
    ) -> &mut Group {
        self.contender(name, Body::Timed(Box::new(body)))
    }

    /// A contender that is one expression, over and over in one thread.
    pub fn repeated<R>(
        &mut self,
        name: &'static str,
        mut body: impl FnMut() -> R + 'static,
    ) -> &mut Group {
        self.timed(name, move |turns| {
            let begun = Instant::now();
            for _ in 0..turns {
                black_box(body());
            }
            begun.elapsed()
        })
    }

    /// A contender that measures what it likes.
    pub fn measured(
        &mut self,
        name: &'static str,
        body: impl FnMut(Duration) -> Metrics + 'static,
    ) -> &mut Group {
        self.contender(name, Body::Measured(Box::new(body)))
    }

    fn contender(&mut self, name: &'static str, body: Body) -> &mut Group {
        self.contenders.push(Contender {
            name,
            body,
            turns: 1,
            series: Vec::new(),
        });
        self
    }

    /// Makes each sample longer or shorter than the others' of the suite.
    pub fn factor(&mut self, factor: f64) -> &mut Group {
        self.factor = factor;
        self
    }

    fn has_times(&self) -> bool {
        let is_timed = |contender: &Contender| matches!(contender.body, Body::Timed(_));
        self.contenders.iter().all(is_timed)
    }
}

/// One bench file's groups.
pub struct Suite {
    name: &'static str,
    rounds: Option<usize>,
    each: Duration,
    only: Vec<String>,
    out: Option<File>,
    groups: Vec<Group>,
}

impl Suite {
    /// As the command line says, see [`common`](super).
    pub fn from_args(name: &'static str) -> Suite {
        let mut suite = Suite {
            name,
            rounds: None,
            each: Duration::from_millis(50),
            only: Vec::new(),
            out: None,
            groups: Vec::new(),
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || {
                words
                    .next()
                    .unwrap_or_else(|| panic!("{word} needs a value"))
            };
            if ["--each", "--only", "--out", "--unpinned"].contains(&word.as_str()) {
                suite.rounds.get_or_insert(ROUNDS); // criterion knows none of these
            }
            match word.as_str() {
                "--rounds" => suite.rounds = Some(value().parse().expect("a number of rounds")),
                "--each" => {
                    suite.each = Duration::from_millis(value().parse().expect("milliseconds"));
                }
                "--only" => suite.only.push(value()),
                "--out" => {
                    let file = OpenOptions::new().create(true).append(true).open(value());
                    suite.out = Some(file.expect("a file to write"));
                }
                "--unpinned" => machine::unpin(),
                // cargo's, to see that it runs.
                "--test" => {
                    suite.rounds = Some(1);
                    suite.each = Duration::from_millis(1);
                }
                _ => {} // cargo's, or criterion's
            }
        }
        machine::cpus(); // before a thread is pinned
        suite
    }

    /// Adds a group; nothing if `--only` leaves it out.
    pub fn group(&mut self, name: impl Into<String>, fill: impl FnOnce(&mut Group)) {
        let name = name.into();
        let is_wanted = |only: &String| name.contains(only);
        if !self.only.is_empty() && !self.only.iter().any(is_wanted) {
            return;
        }
        let mut group = Group {
            name,
            factor: 1.0,
            contenders: Vec::new(),
        };
        fill(&mut group);
        self.groups.push(group);
    }

    /// Measures all groups.
    pub fn run(mut self) {
        if self.rounds.is_none() {
            let mut criterion = Criterion::default().configure_from_args();
            let (timed, others) = self.groups.into_iter().partition(Group::has_times);
            for group in timed {
                by_criterion(&mut criterion, group);
            }
            criterion.final_summary();
            self.groups = others;
        }
        if self.groups.is_empty() {
            return;
        }
        let rounds = self.rounds.unwrap_or(3);
        for group in &mut self.groups {
            for contender in &mut group.contenders {
                contender.warm_up(self.each.mul_f64(group.factor));
            }
        }
        let mut noise = Vec::new();
        for round in 0..rounds {
            let (begun, usage) = (Instant::now(), Usage::now());
            for group in &mut self.groups {
                let each = self.each.mul_f64(group.factor);
                let contenders = group.contenders.len();
                // Another one begins each time: nobody is always the one behind the slowest.
                for turn in 0..contenders {
                    group.contenders[(turn + round) % contenders].sample(each);
                }
            }
            noise.push(usage.by_others_until(Usage::now(), begun.elapsed()));
            eprintln!("{}: round {} of {rounds}", self.name, round + 1);
        }
        self.tell(&noise);
    }

    /// Prints medians and ratios, and writes all samples.
    fn tell(&mut self, noise: &[f64]) {
        let cpus = machine::cpus().len();
        for group in &self.groups {
            println!("\n{}: {} ({cpus} CPUs)", self.name, group.name);
            let Some(first) = group.contenders.first() else {
                continue;
            };
            for contender in &group.contenders {
                for (metric, values) in &contender.series {
                    let base = first.series.iter().find(|(name, _)| name == metric);
                    let base = base.map_or(&[][..], |(_, values)| values);
                    print!("  {:40} {metric:10}", contender.name);
                    if let Some(found) = Estimate::of(values) {
                        print!(" {:>12.2}", found.median);
                    }
                    let others = if contender.name == first.name {
                        &[]
                    } else {
                        base
                    };
                    if let Some(ratio) = Estimate::of(&ratios(others, values)) {
                        print!("   {} is {:.2} of it", first.name, ratio.median);
                        print!(" [{:.2}, {:.2}]", ratio.low, ratio.high);
                    }
                    println!();
                }
            }
        }
        let noise: Vec<f64> = noise.iter().map(|share| share * 100.0).collect();
        if let Some(found) = Estimate::of(&noise) {
            println!(
                "\n{}: others used {:.0} % of the machine",
                self.name, found.median
            );
        }
        let Some(out) = &mut self.out else { return };
        let mut line =
            |value: serde_json::Value| writeln!(out, "{value}").expect("a disk with room");
        line(json!({ "bench": self.name, "cpus": cpus, "noise": noise }));
        for group in &self.groups {
            for contender in &group.contenders {
                for (metric, values) in &contender.series {
                    line(json!({
                        "bench": self.name, "group": group.name, "contender": contender.name,
                        "metric": metric, "cpus": cpus, "values": values,
                    }));
                }
            }
        }
    }
}

impl Contender {
    /// Finds out how many turns a sample takes.
    fn warm_up(&mut self, each: Duration) {
        let Body::Timed(body) = &mut self.body else {
            return;
        };
        loop {
            let took = body(self.turns);
            if took * 4 >= each {
                let share = each.as_secs_f64() / took.as_secs_f64();
                self.turns = ((self.turns as f64 * share) as u64).max(1);
                return;
            }
            self.turns *= 2;
        }
    }

    fn sample(&mut self, each: Duration) {
        let metrics = match &mut self.body {
            Body::Timed(body) => {
                let took = body(self.turns);
                vec![(TIME, took.as_secs_f64() * 1e9 / self.turns as f64)]
            }
            Body::Measured(body) => body(each),
        };
        for (metric, value) in metrics {
            match self.series.iter_mut().find(|(name, _)| *name == metric) {
                Some((_, values)) => values.push(value),
                None => self.series.push((metric, vec![value])),
            }
        }
    }
}

fn by_criterion(criterion: &mut Criterion, group: Group) {
    let mut target = criterion.benchmark_group(&group.name);
    target.sampling_mode(SamplingMode::Auto);
    for contender in group.contenders {
        let Body::Timed(mut body) = contender.body else {
            continue;
        };
        target.bench_function(BenchmarkId::from_parameter(contender.name), |bencher| {
            bencher.iter_custom(&mut body);
        });
    }
    target.finish();
}
