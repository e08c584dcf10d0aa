//! How long a thread should look again before it sleeps: one mutex under several policies, beside std's,
//! which pauses a hundred times. What `raw/spin.rs` has for its default was chosen by this.

mod common;

use common::bodies::{throughput, throughput_after};
use common::driver::Suite;
use common::load::{Load, with_company};
use threadbare::{SpinPolicy, set_spin_policy};

const THREADS: [usize; 4] = [2, 4, 8, 32];

/// Nanoseconds.
const INSIDE: [u64; 4] = [0, 50, 500, 5_000];

const fn policy(pauses: u16, yields: u16, yields_behind_sleepers: bool) -> SpinPolicy {
    SpinPolicy {
        pauses,
        yields,
        yields_behind_sleepers,
    }
}

const POLICIES: [(&str, SpinPolicy); 10] = [
    ("300 pauses, 20 yields", policy(300, 20, true)),
    ("none", SpinPolicy::NONE),
    ("300 pauses", policy(300, 0, false)),
    ("20 yields", policy(0, 20, true)),
    ("60 pauses, 20 yields", policy(60, 20, true)),
    ("150 pauses, 20 yields", policy(150, 20, true)),
    ("600 pauses, 20 yields", policy(600, 20, true)),
    ("300 pauses, 7 yields", policy(300, 7, true)),
    ("300 pauses, 40 yields", policy(300, 40, true)),
    (
        "300 pauses, 20 yields, not behind sleepers",
        policy(300, 20, false),
    ),
];

fn main() {
    with_company();
    let mut suite = Suite::from_args("spin");
    let loads = THREADS.into_iter().flat_map(|threads| {
        let of_inside = move |inside| {
            let thinks = if inside == 0 {
                vec![0]
            } else {
                vec![0, inside]
            };
            thinks.into_iter().map(move |think| Load {
                threads,
                inside,
                think,
            })
        };
        INSIDE.into_iter().flat_map(of_inside)
    });
    for load in loads {
        suite.group(load.name(), |group| {
            for (name, policy) in POLICIES {
                throughput_after::<threadbare::Mutex<()>>(group, name, load, move || {
                    set_spin_policy(policy);
                });
            }
            throughput::<std::sync::Mutex<()>>(group, load);
            throughput::<parking_lot::Mutex<()>>(group, load);
        });
    }
    suite.run();
}
