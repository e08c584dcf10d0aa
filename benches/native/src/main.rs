//! Locks and conditions beside two that large C++ programs are built on, nsync's and abseil's.
//!
//! The bodies and options are those of the other benches. Calls into a library are not inlined, for
//! them as for a program in C++.

#[path = "../../common/mod.rs"]
mod common;
mod peers;

use common::bodies::{pair, ping_pong, rounds, throughput};
use common::conditions::Waiting;
use common::driver::{Group, Suite};
use common::load::{Load, with_company};
use common::peers::PthreadMutex;
use peers::{Abseil, Nsync, Pair};

type Ours = threadbare::Monitor<common::conditions::State>;
type Std = (
    std::sync::Mutex<common::conditions::State>,
    std::sync::Condvar,
);

fn conditions(group: &mut Group, body: [fn(&mut Group); 4]) {
    body.into_iter().for_each(|body| body(group));
}

fn all_of_8<C: Waiting>(group: &mut Group) {
    rounds::<C>(group, 8, 8);
}

fn main() {
    with_company();
    let mut suite = Suite::from_args("native");
    suite.group("acquire and release", |group| {
        pair::<threadbare::Mutex<()>>(group);
        pair::<std::sync::Mutex<()>>(group);
        pair::<PthreadMutex>(group);
        pair::<Pair<Nsync>>(group);
        pair::<Pair<Abseil>>(group);
    });
    for threads in [2, 8] {
        for work in [50, 500, 5_000] {
            let (inside, think) = (work, work);
            let load = Load {
                threads,
                inside,
                think,
            };
            let name = format!("threads {threads}, inside {inside} ns, between {think} ns");
            suite.group(name, |group| {
                throughput::<threadbare::Mutex<()>>(group, load);
                throughput::<std::sync::Mutex<()>>(group, load);
                throughput::<Pair<Nsync>>(group, load);
                throughput::<Pair<Abseil>>(group, load);
            });
        }
    }
    suite.group("turns of two threads", |group| {
        conditions(
            group,
            [
                ping_pong::<Ours>,
                ping_pong::<Std>,
                ping_pong::<Pair<Nsync>>,
                ping_pong::<Pair<Abseil>>,
            ],
        );
    });
    suite.group("notify_all of 8", |group| {
        conditions(
            group,
            [
                all_of_8::<Ours>,
                all_of_8::<Std>,
                all_of_8::<Pair<Nsync>>,
                all_of_8::<Pair<Abseil>>,
            ],
        );
    });
    suite.run();
}
