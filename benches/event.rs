//! Events: set and cleared, found set, and two threads that set them for each other.

mod common;

use common::bodies::take_turns;
use common::driver::Suite;
use common::load::with_company;
use common::peers::{BareFlag, ParkingLotCount, Sem, StdCount};
use std::hint::black_box;
use std::sync::Arc;
use threadbare::Event;

fn main() {
    with_company();
    let mut suite = Suite::from_args("event");
    suite.group("set and clear", |group| {
        let event = Event::new();
        group.repeated("Event", move || {
            black_box(&event).set();
            black_box(&event).clear();
        });
        let sem = Sem::new(0);
        group.repeated("sem_t", move || {
            black_box(&sem).post();
            black_box(&sem).wait();
        });
        // What std and parking_lot offer instead.
        let flag = (std::sync::Mutex::new(false), std::sync::Condvar::new());
        group.repeated("std Mutex and Condvar", move || {
            *black_box(&flag).0.lock().unwrap() = true;
            black_box(&flag).1.notify_all();
            *black_box(&flag).0.lock().unwrap() = false;
        });
        let flag = (parking_lot::Mutex::new(false), parking_lot::Condvar::new());
        group.repeated("parking_lot Mutex and Condvar", move || {
            *black_box(&flag).0.lock() = true;
            black_box(&flag).1.notify_all();
            *black_box(&flag).0.lock() = false;
        });
    });
    suite.group("wait for what is set", |group| {
        let event = Arc::new(Event::new());
        event.set();
        group.repeated("Event", move || black_box(&event).wait());
        let flag = (std::sync::Mutex::new(true), std::sync::Condvar::new());
        group.repeated("std Mutex and Condvar", move || {
            let set = black_box(&flag).0.lock().unwrap();
            *flag.1.wait_while(set, |set| !*set).unwrap()
        });
        let flag = (parking_lot::Mutex::new(true), parking_lot::Condvar::new());
        group.repeated("parking_lot Mutex and Condvar", move || {
            let mut set = black_box(&flag).0.lock();
            flag.1.wait_while(&mut set, |set| !*set);
            *set
        });
        // Finds it posted, and posts it for the next.
        let sem = Sem::new(1);
        group.repeated("sem_t", move || {
            black_box(&sem).wait();
            black_box(&sem).post();
        });
    });
    suite.group("turns of two threads", |group| {
        take_turns::<Event>(group);
        take_turns::<Sem>(group);
        take_turns::<StdCount>(group);
        take_turns::<ParkingLotCount>(group);
        take_turns::<BareFlag>(group);
    });
    suite.run();
}
