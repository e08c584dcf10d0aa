//! What a fast path costs while nobody else wants the object: the common case in a server that
//! shards its locks. One thread, but in a process that has others, as a server has: some peers go
//! faster while a process is single-threaded.

mod common;

use common::bodies::pair;
use common::driver::{Group, Suite};
use common::load::with_company;
use common::locks::{BareCas, BareOwned, BareSwap, Exclusive};
use common::peers::{PthreadMutex, Sem};
use std::hint::black_box;
use threadbare::{BoundedSemaphore, Event, Lock, Monitor, Mutex, RLock, ReentrantMutex, Semaphore};

/// The same, by who holds it already.
fn again<L: Exclusive>(group: &mut Group) {
    let lock = L::new();
    group.timed(L::NAME, move |turns| {
        lock.with(|| {
            let begun = std::time::Instant::now();
            for _ in 0..turns {
                black_box(&lock).with(|| ());
            }
            begun.elapsed()
        })
    });
}

fn main() {
    with_company();
    let mut suite = Suite::from_args("uncontended");

    suite.group("acquire and release", |group| {
        pair::<Lock>(group);
        pair::<Mutex<()>>(group);
        pair::<RLock>(group);
        pair::<ReentrantMutex<()>>(group);
        pair::<Monitor<()>>(group);
        pair::<Semaphore>(group);
        pair::<BoundedSemaphore>(group);
        pair::<std::sync::Mutex<()>>(group);
        pair::<parking_lot::Mutex<()>>(group);
        pair::<parking_lot::FairMutex<()>>(group);
        pair::<parking_lot::ReentrantMutex<()>>(group);
        pair::<usync::Mutex<()>>(group);
        pair::<usync::ReentrantMutex<()>>(group);
        pair::<crossbeam_utils::sync::ShardedLock<()>>(group);
        pair::<PthreadMutex>(group);
        pair::<Sem>(group);
        pair::<BareCas>(group);
        pair::<BareSwap>(group);
    });

    suite.group("acquire again and release", |group| {
        again::<RLock>(group);
        again::<ReentrantMutex<()>>(group);
        again::<parking_lot::ReentrantMutex<()>>(group);
        again::<usync::ReentrantMutex<()>>(group);
        again::<BareOwned>(group);
    });

    // Many locks, each used rarely: what they do to the caches counts too.
    fn sharded<L: Exclusive>(group: &mut Group) {
        const SHARDS: usize = 65_536;
        let locks: Vec<L> = (0..SHARDS).map(|_| L::new()).collect();
        let mut random = common::load::Random::new(1);
        group.repeated(L::NAME, move || {
            locks[random.next() as usize % SHARDS].with(|| ());
        });
    }
    suite.group("one of 65,536 locks", |group| {
        sharded::<Lock>(group);
        sharded::<Mutex<()>>(group);
        sharded::<RLock>(group);
        sharded::<std::sync::Mutex<()>>(group);
        sharded::<parking_lot::Mutex<()>>(group);
        sharded::<usync::Mutex<()>>(group);
    });

    suite.group("try to acquire in vain", |group| {
        let lock = Lock::new();
        lock.acquire();
        group.repeated("Lock", move || black_box(&lock).try_acquire());
        let lock = std::sync::Mutex::new(());
        std::mem::forget(lock.lock());
        group.repeated("std::sync::Mutex", move || {
            black_box(&lock).try_lock().is_ok()
        });
        let lock = parking_lot::Mutex::new(());
        std::mem::forget(lock.lock());
        group.repeated("parking_lot::Mutex", move || {
            black_box(&lock).try_lock().is_some()
        });
    });

    suite.group("is set", |group| {
        let event = Event::new();
        event.set();
        group.repeated("Event::is_set", move || black_box(&event).is_set());
        let flag = std::sync::Mutex::new(true);
        group.repeated("std Mutex<bool>", move || *black_box(&flag).lock().unwrap());
        let flag = std::sync::atomic::AtomicBool::new(true);
        group.repeated("bare load", move || {
            black_box(&flag).load(std::sync::atomic::Ordering::Acquire)
        });
    });

    suite.run();
}
