//! Thousands of threads that are alive at once, as a server with a thread per connection has them:
//! the time until all run, the time to let them end and join them, the memory and the mappings.
//!
//! Each sample is a process of its own, since what one leaves behind would help or burden the next.
//! Stacks of 64 KiB, of which a thread here touches as little as one can.

mod common;

use common::driver::{Group, Metrics, Suite};
use common::machine::{mappings, resident_kib};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use threadbare::{Event, Thread};

const STACK: usize = 64 << 10;

const METRICS: [&str; 5] = ["start ms", "join ms", "both ms", "KiB", "mappings"];

/// What the threads do: say that they run, then sleep until they may end. On the event of this
/// crate, whoever starts them, so that they differ in nothing else.
#[derive(Default)]
struct Crowd {
    running: AtomicUsize,
    end: Event,
}

impl Crowd {
    fn body(self: &Arc<Self>) -> impl FnOnce() + Send + 'static {
        let crowd = self.clone();
        move || {
            crowd.running.fetch_add(1, Relaxed);
            crowd.end.wait();
        }
    }
}

/// In a process of its own: starts them all, prints what METRICS names.
fn child(who: &str, number: usize) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let crowd = Arc::new(Crowd::default());
    let (resident, maps) = (resident_kib(), mappings());
    let begun = Instant::now();
    let mut joins: Vec<Box<dyn FnOnce() -> Result<(), String>>> = Vec::with_capacity(number);
    for _ in 0..number {
        joins.push(match who {
            "Thread" => {
                let builder = Thread::builder().stack_size(STACK).target(crowd.body());
                let thread = builder.spawn().map_err(|error| text(&error))?;
                Box::new(move || thread.join().map_err(|error| error.to_string()))
            }
            _ => {
                let builder = thread::Builder::new().stack_size(STACK);
                let thread = builder.spawn(crowd.body()).map_err(|error| text(&error))?;
                Box::new(move || thread.join().map_err(|_| "a panic".to_owned()))
            }
        });
    }
    while crowd.running.load(Relaxed) < number {
        thread::sleep(Duration::from_micros(100));
    }
    let started = begun.elapsed();
    let (resident, maps) = (resident_kib() - resident, mappings() - maps);
    let ending = Instant::now();
    crowd.end.set();
    for join in joins {
        join()?;
    }
    let joined = ending.elapsed();
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let (started, joined) = (millis(started), millis(joined));
    println!("{started} {joined} {} {resident} {maps}", started + joined);
    Ok(())
}

/// No metrics if the process fails: std's aborts when there are too many mappings.
fn sample(who: &str, number: usize) -> Metrics {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command
        .args(["--child", who, &number.to_string()])
        .stderr(Stdio::null());
    let Ok(output) = command.output() else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let values: Vec<f64> = text
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    if !output.status.success() || values.len() != METRICS.len() {
        return Vec::new();
    }
    METRICS.into_iter().zip(values).collect()
}

fn crowds(group: &mut Group, number: usize) {
    for who in ["Thread", "std::thread"] {
        group.measured(who, move |_| sample(who, number));
    }
}

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().collect();
    if let [_, mode, who, number] = &words[..] {
        if mode == "--child" {
            return match child(who, number.parse().expect("a number")) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("{who}: {error}");
                    ExitCode::FAILURE
                }
            };
        }
    }
    let mut suite = Suite::from_args("many_threads");
    for number in [100, 1_000, 3_000, 10_000, 30_000] {
        suite.group(format!("{number} threads"), |group| crowds(group, number));
    }
    suite.run();
    ExitCode::SUCCESS
}
