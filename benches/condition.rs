//! Conditions: nobody waits, two threads in turns, some of many are woken, all are.
//!
//! With the lock held while notifying, as Python demands and most code does. The threads of the last
//! two wait again before the next round, so a round is over when each has had the lock.

mod common;

use common::bodies::{ping_pong, rounds};
use common::conditions::{BareBroadcast, OnPthread, OnRLock};
use common::driver::{Group, Suite};
use common::load::with_company;
use common::peers::PthreadCond;
use std::hint::black_box;
use std::time::{Duration, Instant};

fn all_of(group: &mut Group, threads: usize, woken: usize) {
    rounds::<threadbare::Monitor<_>>(group, threads, woken);
    rounds::<OnRLock>(group, threads, woken);
    rounds::<(threadbare::Mutex<_>, threadbare::Condvar)>(group, threads, woken);
    rounds::<(std::sync::Mutex<_>, std::sync::Condvar)>(group, threads, woken);
    rounds::<(parking_lot::Mutex<_>, parking_lot::Condvar)>(group, threads, woken);
    rounds::<(usync::Mutex<_>, usync::Condvar)>(group, threads, woken);
    rounds::<OnPthread>(group, threads, woken);
}

fn main() {
    with_company();
    let mut suite = Suite::from_args("condition");

    suite.group("notify, nobody waits", |group| {
        // Python's, and those of a monitor, want the lock to be held.
        group.timed("Monitor", |turns| {
            let monitor = threadbare::Monitor::new(());
            let guard = monitor.lock();
            repeat(turns, || black_box(&guard).notify_one())
        });
        group.timed("Condition", |turns| {
            let condition = threadbare::Condition::new();
            let _guard = condition.guard();
            repeat(turns, || black_box(&condition).notify_one())
        });
        let condvar = threadbare::Condvar::new();
        group.repeated("Condvar", move || black_box(&condvar).notify_one());
        let condvar = std::sync::Condvar::new();
        group.repeated("std::sync::Condvar", move || {
            black_box(&condvar).notify_one()
        });
        let condvar = parking_lot::Condvar::new();
        group.repeated("parking_lot::Condvar", move || {
            black_box(&condvar).notify_one()
        });
        let condvar = usync::Condvar::new();
        group.repeated("usync::Condvar", move || black_box(&condvar).notify_one());
        let condvar = PthreadCond::new();
        group.repeated("pthread_cond", move || black_box(&condvar).notify_one());
    });
    suite.group("turns of two threads", |group| {
        ping_pong::<threadbare::Monitor<_>>(group);
        ping_pong::<OnRLock>(group);
        ping_pong::<(threadbare::Mutex<_>, threadbare::Condvar)>(group);
        ping_pong::<(std::sync::Mutex<_>, std::sync::Condvar)>(group);
        ping_pong::<(parking_lot::Mutex<_>, parking_lot::Condvar)>(group);
        ping_pong::<(usync::Mutex<_>, usync::Condvar)>(group);
        ping_pong::<OnPthread>(group);
    });
    suite.group("notify(4) of 8", |group| all_of(group, 8, 4));
    for (name, threads) in [("notify_all of 8", 8), ("notify_all of 64", 64)] {
        suite.group(name, |group| {
            all_of(group, threads, threads);
            rounds::<BareBroadcast>(group, threads, threads);
        });
    }
    suite.run();
}

fn repeat<R>(turns: u64, body: impl Fn() -> R) -> Duration {
    let begun = Instant::now();
    for _ in 0..turns {
        black_box(body());
    }
    begun.elapsed()
}
