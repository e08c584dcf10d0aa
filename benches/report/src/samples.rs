//! What the benches wrote: a line of JSON for each series of samples.

use crate::stats::Estimate;
use serde_json::Value;
use std::path::Path;

/// A contender's values of one metric, one for each round.
pub struct Series {
    pub bench: String,
    pub group: String,
    pub contender: String,
    pub metric: String,
    pub cpus: u64,
    pub values: Vec<f64>,
}

pub struct Samples {
    pub series: Vec<Series>,
    /// By bench, in percent of the machine.
    noise: Vec<(String, Vec<f64>)>,
}

impl Samples {
    pub fn read(path: &Path) -> Result<Samples, String> {
        let explain = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| explain(&error))?;
        let mut samples = Samples {
            series: Vec::new(),
            noise: Vec::new(),
        };
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).map_err(|error| explain(&error))?;
            let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
            let numbers = |key: &str| -> Vec<f64> {
                let all = value[key].as_array();
                all.map_or(&[][..], Vec::as_slice)
                    .iter()
                    .filter_map(Value::as_f64)
                    .collect()
            };
            let cpus = value["cpus"].as_u64().unwrap_or(0);
            if value.get("noise").is_some() {
                let bench = format!("{} on {}", text("bench"), of_cpus(cpus));
                samples.noise.push((bench, numbers("noise")));
                continue;
            }
            samples.series.push(Series {
                bench: text("bench"),
                group: text("group"),
                contender: text("contender"),
                metric: text("metric"),
                cpus,
                values: numbers("values"),
            });
        }
        Ok(samples)
    }

    /// The most CPUs that were used.
    pub fn cpus(&self) -> u64 {
        self.series
            .iter()
            .map(|series| series.cpus)
            .max()
            .unwrap_or(0)
    }

    /// A contender's values, or none if it was not measured.
    pub fn values(
        &self,
        cpus: u64,
        bench: &str,
        group: &str,
        contender: &str,
        metric: &str,
    ) -> Vec<f64> {
        let is_it = |series: &&Series| {
            series.cpus == cpus
                && series.bench == bench
                && series.group == group
                && series.contender == contender
                && series.metric == metric
        };
        self.series
            .iter()
            .find(is_it)
            .map_or_else(Vec::new, |series| series.values.clone())
    }

    /// The groups of a bench, in their order.
    pub fn groups(&self, cpus: u64, bench: &str) -> Vec<&str> {
        let of_bench = self
            .series
            .iter()
            .filter(|series| series.cpus == cpus && series.bench == bench);
        distinct(of_bench.map(|series| series.group.as_str()))
    }

    /// The contenders of a group, in their order.
    pub fn contenders(&self, cpus: u64, bench: &str, group: &str) -> Vec<&str> {
        let of_group = self
            .series
            .iter()
            .filter(|series| series.cpus == cpus && series.bench == bench && series.group == group);
        distinct(of_group.map(|series| series.contender.as_str()))
    }

    /// What share of the machine others used, by bench.
    pub fn noise(&self) -> impl Iterator<Item = (&str, f64)> {
        let median = |values: &[f64]| Estimate::of(values).map(|estimate| estimate.median);
        // The servers of kv are others to who measures them.
        self.noise
            .iter()
            .filter(|(bench, _)| !bench.starts_with("kv "))
            .filter_map(move |(bench, values)| Some((bench.as_str(), median(values)?)))
    }
}

pub fn of_cpus(cpus: u64) -> String {
    if cpus == 1 {
        "1 CPU".to_owned()
    } else {
        format!("{cpus} CPUs")
    }
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut all = Vec::new();
    for name in names {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

/// The number in a group's name that follows a word, as in `threads 8, inside 50 ns`.
pub fn number_in(group: &str, word: &str) -> Option<u64> {
    let mut words = group.split([' ', ',']).skip_while(|one| *one != word);
    words.nth(1)?.parse().ok()
}
