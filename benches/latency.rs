//! How long a thread waits for a lock that several want, and whether each gets its share.
//!
//! The loads are those of `contended` in which a policy shows: two threads that meet now and then;
//! a lock that is always wanted, and one that is wanted half of the time, by four and by sixteen
//! threads per CPU of a small machine. Long samples: the worst wait is a rare event.

mod common;

use common::driver::{Group, Suite};
use common::load::{Load, with_company};
use common::locks::Exclusive;

const LOADS: [Load; 7] = [
    Load {
        threads: 2,
        inside: 500,
        think: 500,
    },
    Load {
        threads: 2,
        inside: 5_000,
        think: 5_000,
    },
    Load {
        threads: 8,
        inside: 500,
        think: 0,
    },
    Load {
        threads: 8,
        inside: 5_000,
        think: 0,
    },
    Load {
        threads: 8,
        inside: 5_000,
        think: 5_000,
    },
    Load {
        threads: 32,
        inside: 5_000,
        think: 0,
    },
    Load {
        threads: 32,
        inside: 5_000,
        think: 5_000,
    },
];

fn contender<L: Exclusive>(group: &mut Group, load: Load) {
    group.measured(L::NAME, move |time| {
        let outcome = load.run::<L>(time, true);
        let waits = outcome.waits;
        vec![
            ("p50 ns", waits.percentile(0.5)),
            ("p90 ns", waits.percentile(0.9)),
            ("p99 ns", waits.percentile(0.99)),
            ("p99.9 ns", waits.percentile(0.999)),
            ("p99.99 ns", waits.percentile(0.999_9)),
            ("max ns", waits.max()),
            ("fairness", outcome.fairness),
        ]
    });
}

fn main() {
    with_company();
    let mut suite = Suite::from_args("latency");
    for load in LOADS {
        suite.group(load.name(), |group| {
            // What is asserted of the worst wait is asserted for more threads than two.
            group.factor(if load.threads == 2 { 0.2 } else { 1.0 });
            contender::<threadbare::Mutex<()>>(group, load);
            contender::<std::sync::Mutex<()>>(group, load);
            contender::<parking_lot::Mutex<()>>(group, load);
        });
    }
    suite.run();
}
