//! How long a thread should look again before it sleeps: one mutex under several policies, beside std's,
//! which pauses a hundred times. What `raw/spin.rs` has for its default was chosen by this.

mod common;

use common::bodies::{throughput, throughput_after};
use common::driver::Suite;
use common::load::{Load, with_company};
use threadbare::{SpinPolicy, set_spin_policy};

/// Threads, nanoseconds inside and between: those of `contended` in which policies differ.
const LOADS: [(usize, u64, u64); 8] = [
    (2, 0, 0),
    (2, 50, 0),
    (2, 500, 500),
    (2, 5_000, 5_000),
    (8, 50, 0),
    (8, 500, 500),
    (8, 5_000, 5_000),
    (32, 5_000, 5_000),
];

const fn policy(pauses: u16, yields: u16, yields_behind_sleepers: bool) -> SpinPolicy {
    SpinPolicy {
        pauses,
        yields,
        yields_behind_sleepers,
    }
}

const POLICIES: [(&str, SpinPolicy); 10] = [
    ("60 pauses, 7 yields", policy(60, 7, true)),
    ("none", SpinPolicy::NONE),
    ("100 pauses", policy(100, 0, false)),
    ("7 yields", policy(0, 7, true)),
    ("20 pauses, 7 yields", policy(20, 7, true)),
    ("200 pauses, 7 yields", policy(200, 7, true)),
    ("1000 pauses, 7 yields", policy(1000, 7, true)),
    ("60 pauses, 2 yields", policy(60, 2, true)),
    ("60 pauses, 20 yields", policy(60, 20, true)),
    (
        "60 pauses, 7 yields, not behind sleepers",
        policy(60, 7, false),
    ),
];

fn main() {
    with_company();
    let mut suite = Suite::from_args("spin");
    for (threads, inside, think) in LOADS {
        let load = Load {
            threads,
            inside,
            think,
        };
        suite.group(
            format!("threads {threads}, inside {inside} ns, between {think} ns"),
            |group| {
                for (name, policy) in POLICIES {
                    throughput_after::<threadbare::Mutex<()>>(group, name, load, move || {
                        set_spin_policy(policy);
                    });
                }
                throughput::<std::sync::Mutex<()>>(group, load);
            },
        );
    }
    suite.run();
}
