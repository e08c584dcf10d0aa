//! Barriers: rounds of two, as many as a small machine has CPUs, and of eight, which is more.
//!
//! usync's barrier lets one round through and is open from then on, parking_lot and crossbeam have none.

mod common;

use common::driver::{Group, Suite};
use common::load::{together, with_company};
use common::peers::PthreadBarrier;

fn contender<B: Sync + 'static>(
    group: &mut Group,
    name: &'static str,
    parties: usize,
    new: fn(usize) -> B,
    wait: fn(&B),
) {
    group.timed(name, move |turns| {
        let barrier = new(parties);
        together(parties, turns, |_, turns| {
            for _ in 0..turns {
                wait(&barrier);
            }
        })
    });
}

fn main() {
    with_company();
    let mut suite = Suite::from_args("barrier");
    for parties in [2, 8] {
        suite.group(format!("round of {parties}"), |group| {
            contender(
                group,
                "Barrier",
                parties,
                threadbare::Barrier::new,
                |barrier| {
                    let _ = barrier.wait();
                },
            );
            contender(
                group,
                "std::sync::Barrier",
                parties,
                std::sync::Barrier::new,
                |barrier| {
                    barrier.wait();
                },
            );
            contender(
                group,
                "pthread_barrier",
                parties,
                PthreadBarrier::new,
                |barrier| {
                    barrier.wait();
                },
            );
        });
    }
    suite.run();
}
