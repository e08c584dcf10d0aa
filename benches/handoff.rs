//! How fast one thread wakes another that waits for nothing but it: the cost below every wait.
//!
//! Two threads in turns, each asleep or about to be while the other runs; and a lock that is released
//! to one thread that has slept on it for long, which no looking again can help.

mod common;

use common::bodies::take_turns;
use common::driver::{Group, Suite};
use common::load::{together, with_company};
use common::locks::Exclusive;
use common::machine::pin;
use common::peers::{BareFlag, PthreadMutex};
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Two threads that unpark each other by what `start` gave them.
fn parking<U: Send + Sync + 'static>(
    group: &mut Group,
    name: &'static str,
    handle: fn() -> U,
    park: fn(),
    unpark: fn(&U),
) {
    group.timed(name, move |turns| {
        // Each turn is a token of its own: a park may return without one.
        let turn = [AtomicBool::new(true), AtomicBool::new(false)];
        let handles = [std::sync::OnceLock::new(), std::sync::OnceLock::new()];
        together(2, turns, |number, turns| {
            let _ = handles[number].set(handle());
            let other = handles[1 - number].wait_for();
            for _ in 0..turns {
                // Acquire and Release: as what is handed over would need.
                while !turn[number].swap(false, Acquire) {
                    park();
                }
                turn[1 - number].store(true, Release);
                unpark(other);
            }
        })
    });
}

/// `OnceLock::wait` of newer Rust.
trait WaitFor<T> {
    fn wait_for(&self) -> &T;
}

impl<T> WaitFor<T> for std::sync::OnceLock<T> {
    fn wait_for(&self) -> &T {
        loop {
            if let Some(value) = self.get() {
                return value;
            }
            thread::yield_now();
        }
    }
}

/// From before the release to after the acquire of who has slept on it for a while.
fn to_a_sleeper<L: Exclusive>(group: &mut Group) {
    const ASLEEP: Duration = Duration::from_micros(300);
    group.timed(L::NAME, |turns| {
        let lock = L::new();
        let (go, gone) = (mpsc::channel(), mpsc::channel());
        let (go_sender, go_receiver) = go;
        let (gone_sender, gone_receiver) = gone;
        thread::scope(|scope| {
            let lock = &lock;
            scope.spawn(move || {
                pin(1);
                while go_receiver.recv().is_ok() {
                    let _ = gone_sender.send(lock.with(Instant::now));
                }
            });
            let releaser = scope.spawn(move || {
                pin(0);
                let mut sum = Duration::ZERO;
                for _ in 0..turns {
                    let released = lock.with(|| {
                        let _ = go_sender.send(());
                        let begun = Instant::now();
                        while begun.elapsed() < ASLEEP {
                            thread::yield_now();
                        }
                        Instant::now()
                    });
                    let acquired = gone_receiver.recv().expect("the time");
                    sum += acquired.saturating_duration_since(released);
                }
                sum
            });
            releaser.join().expect("the times")
        })
    });
}

fn main() {
    with_company();
    let mut suite = Suite::from_args("handoff");
    suite.group("turns of two threads", |group| {
        parking(
            group,
            "threadbare::park",
            threadbare::current_thread,
            threadbare::park,
            |thread| thread.unpark(),
        );
        parking(
            group,
            "std::thread::park",
            thread::current,
            thread::park,
            |thread| thread.unpark(),
        );
        take_turns::<threadbare::Semaphore>(group);
        take_turns::<threadbare::Event>(group);
        take_turns::<BareFlag>(group);
        group.timed("crossbeam_utils Parker", |turns| {
            let parkers = [(); 2].map(|()| crossbeam_utils::sync::Parker::new());
            let unparkers = [0, 1].map(|number: usize| parkers[number].unparker().clone());
            let parkers = parkers.map(std::sync::Mutex::new); // each for one thread
            unparkers[0].unpark();
            together(2, turns, |number, turns| {
                let parker = parkers[number].lock().expect("nobody panics");
                for _ in 0..turns {
                    parker.park();
                    unparkers[1 - number].unpark();
                }
            })
        });
    });
    suite.group("release to a sleeper", |group| {
        to_a_sleeper::<threadbare::Mutex<()>>(group);
        to_a_sleeper::<threadbare::Lock>(group);
        to_a_sleeper::<std::sync::Mutex<()>>(group);
        to_a_sleeper::<parking_lot::Mutex<()>>(group);
        to_a_sleeper::<usync::Mutex<()>>(group);
        to_a_sleeper::<PthreadMutex>(group);
    });
    suite.run();
}
