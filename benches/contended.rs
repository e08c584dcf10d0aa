//! One lock that several threads want all the time, over a grid of loads: how much they get done
//! together.
//!
//! Closed loops: each thread works under the lock, then without it, and begins again. No work at all
//! shows the lock itself; 50 ns is a counter or a queue's end, 500 ns a map, 5 µs a small computation.
//! Without work between, the lock is what limits; with as much as inside, it is nearly so; with ten
//! times as much, threads meet now and then. More threads than CPUs is what thread-per-connection
//! servers have.

mod common;

use common::bodies::throughput;
use common::driver::Suite;
use common::load::{Load, with_company};
use common::peers::PthreadMutex;

const THREADS: [usize; 4] = [2, 4, 8, 32];

const INSIDE: [u64; 4] = [0, 50, 500, 5_000];

/// Work between, in units of the work inside.
const THINK: [u64; 3] = [0, 1, 10];

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
                suite.group(load.name(), |group| {
                    throughput::<threadbare::Mutex<()>>(group, load);
                    throughput::<threadbare::Lock>(group, load);
                    throughput::<threadbare::RLock>(group, load);
                    throughput::<std::sync::Mutex<()>>(group, load);
                    throughput::<parking_lot::Mutex<()>>(group, load);
                    throughput::<usync::Mutex<()>>(group, load);
                    throughput::<PthreadMutex>(group, load);
                });
            }
        }
    }
    suite.run();
}
