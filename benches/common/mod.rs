//! What the benches share: who is measured beside whom, under what load, and in what order.
//!
//! # Two ways to run
//!
//! `cargo bench` gives each body to criterion, which is good at one thing at a time: whether a change
//! of the code changed its time. It measures one contender for seconds, then the next, so a machine
//! that grows slower meanwhile favours the first. For ratios between contenders the suite runs in
//! rounds instead (`cargo bench --bench NAME -- --rounds 10 --each 50`): a short sample of each, in
//! turns, so that in each round all had the same machine. A ratio is the median over the rounds, with
//! an interval that says what the rounds differ by. What is not one time per turn (throughput of a
//! grid, percentiles, memory) is always measured in rounds.
//!
//! # Options
//!
//! `--rounds N --each MS` as above; `--only TEXT`, perhaps several times, for the groups whose names
//! have it; `--out FILE` appends the samples as lines of JSON, which `benches/report` reads;
//! `--unpinned` leaves it to the kernel on which CPUs the threads run, else they are pinned in turn to
//! those that the process has. Each of these means rounds.
//! `taskset -c 0 cargo bench …` shows what one CPU makes of it.

#![allow(dead_code, reason = "each bench uses a part of it")]

pub mod bodies;
pub mod conditions;
pub mod driver;
pub mod load;
pub mod locks;
pub mod machine;
pub mod peers;
pub mod stats;
