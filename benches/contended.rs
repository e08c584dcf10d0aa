//! One lock that several threads want all the time, over a grid of loads: how much they get done
//! together.
//!
//! Closed loops: each thread works under the lock, then without it, and begins again. No work at all
//! shows the lock itself; 50 ns is a counter or a queue's end, 500 ns a map, 5 µs a small computation.
//! Without work between, the lock is what limits; with as much as inside, it is nearly so; with ten
//! times as much, threads meet now and then. More threads than CPUs is what thread-per-connection
//! servers have.

mod common;

use common::driver::{Group, Suite};
use common::load::{Load, with_company};
use common::locks::Exclusive;
use common::peers::PthreadMutex;

const THREADS: [usize; 4] = [2, 4, 8, 32];

const INSIDE: [u64; 4] = [0, 50, 500, 5_000];

/// Work between, in units of the work inside.
const THINK: [u64; 3] = [0, 1, 10];

fn contender<L: Exclusive>(group: &mut Group, load: Load) {
    group.measured(L::NAME, move |time| {
        let outcome = load.run::<L>(time, false);
        vec![("1/s", outcome.per_second), ("fairness", outcome.fairness)]
    });
}

fn main() {
    with_company();
    let mut suite = Suite::from_args("contended");
    for threads in THREADS {
        for inside in INSIDE {
            for times in THINK {
                if inside == 0 && times != 0 {
                    continue; // all the same
                }
                let think = inside * times;
                let load = Load {
                    threads,
                    inside,
                    think,
                };
                suite.group(
                    format!("threads {threads}, inside {inside} ns, between {think} ns"),
                    |group| {
                        contender::<threadbare::Mutex<()>>(group, load);
                        contender::<threadbare::Lock>(group, load);
                        contender::<threadbare::RLock>(group, load);
                        contender::<std::sync::Mutex<()>>(group, load);
                        contender::<parking_lot::Mutex<()>>(group, load);
                        contender::<usync::Mutex<()>>(group, load);
                        contender::<PthreadMutex>(group, load);
                    },
                );
            }
        }
    }
    suite.run();
}
