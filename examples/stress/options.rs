//! The command line: `--name value` pairs.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

pub const USAGE: &str = "\
usage: stress [--secs 60] [--threads 64] [--seed N] [--round-ms 2000] [--patience-secs 60]
              [--signals-per-sec 1000] [--forks-per-sec 20]";

pub struct Options {
    /// How long it runs, the last round included.
    pub duration: Duration,
    /// How many threads work at a time, without those that they start.
    pub threads: usize,
    pub seed: u64,
    pub round: Duration,
    /// After how long without progress a thread counts as stuck.
    pub patience: Duration,
    pub signals: u64,
    pub forks: u64,
}

impl Options {
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options {
            duration: Duration::from_secs(60),
            threads: 64,
            seed: RandomState::new().hash_one(0) % 1_000_000_000,
            round: Duration::from_secs(2),
            patience: Duration::from_secs(60),
            signals: 1000,
            forks: 20,
        };
        while let Some(name) = words.next() {
            let value = words.next().ok_or(format!("{name} needs a value"))?;
            let number: Result<u64, _> = value.parse();
            let number = number.map_err(|_| format!("{name}: {value} is no number"))?;
            match name.as_str() {
                "--secs" => options.duration = Duration::from_secs(number),
                "--threads" => options.threads = number as usize,
                "--seed" => options.seed = number,
                "--round-ms" => options.round = Duration::from_millis(number.max(1)),
                "--patience-secs" => options.patience = Duration::from_secs(number.max(1)),
                "--signals-per-sec" => options.signals = number,
                "--forks-per-sec" => options.forks = number,
                _ => return Err(format!("{name}: no such option")),
            }
        }
        Ok(options)
    }
}
