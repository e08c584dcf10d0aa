//! Runs every target over its saved inputs, and over random ones that are the same each time.
//!
//! A program with a main of its own: as in the fuzzer, a target runs in the main thread, and beside no
//! other. Targets that are named on the command line are run alone.
//!
//! `corpus/NAME/` holds what reaches as much of the code as the fuzzer found to reach;
//! `findings/NAME/` what once failed.

use std::fs;
use std::path::{Path, PathBuf};
use threadbare_fuzz::{TARGETS, Target};

/// How many random inputs each target gets, and how long they are at most. With these numbers all bugs
/// of `tests/seeds.toml` are found.
const RANDOM_INPUTS: u64 = if cfg!(threadbare_model) {
    20_000
} else {
    2_000
};
const LONGEST: u64 = if cfg!(threadbare_model) { 1024 } else { 512 };

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files in a folder, by name; none if there is no such folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Runs an input, and says which one it was if it fails.
fn run(target: &Target, input: &str, bytes: &[u8]) {
    struct Named<'a>(&'a str, &'a str);
    impl Drop for Named<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("target {}, input {}", self.0, self.1);
            }
        }
    }
    let _named = Named(target.name, input);
    (target.run)(bytes);
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (options, names): (Vec<&str>, Vec<&str>) = arguments
        .iter()
        .map(String::as_str)
        .partition(|argument| argument.starts_with('-'));
    let is_chosen = |target: &&Target| names.is_empty() || names.contains(&target.name);
    let chosen: Vec<&Target> = TARGETS.iter().filter(is_chosen).collect();
    if options.contains(&"--list") {
        chosen
            .iter()
            .for_each(|target| println!("{}: test", target.name));
        return;
    }
    // One after the other: some targets count the threads of the process.
    for target in &chosen {
        saved_inputs(target);
        random_inputs(target);
        println!("test {} ... ok", target.name);
    }
    println!("\ntest result: ok. {} passed; 0 failed", chosen.len());
}

fn saved_inputs(target: &Target) {
    let corpus = files(&package().join("corpus").join(target.name));
    assert!(!corpus.is_empty(), "{} has no saved inputs", target.name);
    let findings = files(&package().join("findings").join(target.name));
    for path in corpus.iter().chain(&findings) {
        run(
            target,
            &path.display().to_string(),
            &fs::read(path).unwrap(),
        );
    }
}

fn random_inputs(target: &Target) {
    for seed in 1..=RANDOM_INPUTS {
        let mut random = Random(seed);
        let length = random.next() % LONGEST;
        let bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        run(target, &format!("of seed {seed}"), &bytes);
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
