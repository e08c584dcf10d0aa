//! Reading a value that the thread has: of the one object, and of one of 64 in turns.

mod common;

use common::driver::Suite;
use common::load::with_company;
use std::cell::Cell;
use std::hint::black_box;
use threadbare::Local;

fn main() {
    with_company();
    let mut suite = Suite::from_args("local");
    suite.group("value of this thread", |group| {
        let local = Local::new(|| 1);
        group.repeated("Local::with", move || {
            black_box(&local).with(|value| *value)
        });
        let local = Local::new(|| 1);
        group.repeated("Local::get", move || black_box(&local).get());
        let peer = thread_local::ThreadLocal::new();
        peer.get_or(|| 1);
        group.repeated("ThreadLocal::get", move || black_box(&peer).get().copied());
        let peer = thread_local::ThreadLocal::new();
        group.repeated("ThreadLocal::get_or", move || {
            *black_box(&peer).get_or(|| 1)
        });
        thread_local! {
            static STATIC: Cell<i32> = Cell::new(black_box(1));
        }
        group.repeated("std thread_local!", || STATIC.get());
    });
    suite.group("one of 64", |group| {
        let locals: Vec<_> = (0..64).map(|_| Local::new(|| 1)).collect();
        let mut next = 0;
        group.repeated("Local::with", move || {
            next = (next + 1) % 64;
            locals[next].with(|value| *value)
        });
        let peers: Vec<_> = (0..64).map(|_| thread_local::ThreadLocal::new()).collect();
        let mut next = 0;
        group.repeated("ThreadLocal::get_or", move || {
            next = (next + 1) % 64;
            *peers[next].get_or(|| 1)
        });
    });
    suite.run();
}
