//! Semaphores: up and down by one thread, and two threads that let each other go.

mod common;

use common::bodies::take_turns;
use common::driver::{Group, Suite};
use common::load::{together, with_company};
use common::peers::{BareFlag, ParkingLotCount, Permits, Sem, StdCount};
use std::hint::black_box;
use threadbare::Semaphore;

fn up_and_down<P: Permits>(group: &mut Group) {
    let permits = P::none();
    group.repeated(P::NAME, move || {
        black_box(&permits).release();
        black_box(&permits).acquire();
    });
}

/// Four threads that share two permits, with some work while they have one: a pool.
fn pool(group: &mut Group, name: &'static str, permits: impl Pool) {
    group.timed(name, move |turns| {
        let work = common::load::Work::of(500);
        together(4, turns, |_, turns| {
            for _ in 0..turns {
                permits.take();
                work.work();
                permits.give();
                work.work();
            }
        })
    });
}

trait Pool: Sync + 'static {
    fn take(&self);
    fn give(&self);
}

impl Pool for Semaphore {
    fn take(&self) {
        self.acquire();
    }

    fn give(&self) {
        let _ = self.release();
    }
}

impl Pool for Sem {
    fn take(&self) {
        self.wait();
    }

    fn give(&self) {
        self.post();
    }
}

/// What std and parking_lot have no type for.
struct Counted<P>(P);

impl<P: Permits> Pool for Counted<P> {
    fn take(&self) {
        self.0.acquire();
    }

    fn give(&self) {
        self.0.release();
    }
}

fn two<P: Permits>() -> Counted<P> {
    let permits = P::none();
    permits.release();
    permits.release();
    Counted(permits)
}

fn main() {
    with_company();
    let mut suite = Suite::from_args("semaphore");
    suite.group("release and acquire", |group| {
        up_and_down::<Semaphore>(group);
        up_and_down::<Sem>(group);
        up_and_down::<StdCount>(group);
        up_and_down::<ParkingLotCount>(group);
    });
    suite.group("turns of two threads", |group| {
        take_turns::<Semaphore>(group);
        take_turns::<Sem>(group);
        take_turns::<StdCount>(group);
        take_turns::<ParkingLotCount>(group);
        take_turns::<BareFlag>(group);
    });
    suite.group("2 permits for 4 threads", |group| {
        pool(group, "Semaphore", Semaphore::new(2));
        pool(group, "sem_t", Sem::new(2));
        pool(group, "std Mutex and Condvar", two::<StdCount>());
        pool(
            group,
            "parking_lot Mutex and Condvar",
            two::<ParkingLotCount>(),
        );
    });
    suite.run();
}
