//! Starts and joins threads one after another, ROUNDS times, while LIVE others are alive and asleep:
//! `live_threads LIVE ROUNDS`. scripts/registry-cost.sh counts what that takes.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;
use threadbare::Thread;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = || arguments.next().ok_or("usage: live_threads LIVE ROUNDS");
    let live: usize = number()?.parse()?;
    let rounds: usize = number()?.parse()?;

    let asleep = Arc::new(AtomicUsize::new(0));
    for _ in 0..live {
        let asleep = asleep.clone();
        start(move || {
            asleep.fetch_add(1, Relaxed);
            // std's sleep and not one of the crate's, which looks again for a while: the count of
            // instructions is to be the same each time.
            loop {
                thread::park();
            }
        })?;
    }
    while asleep.load(Relaxed) < live {
        thread::sleep(Duration::from_millis(10));
    }
    for _ in 0..rounds {
        start(|| ())?.join()?;
    }
    Ok(()) // those that sleep are daemons: they end with the process
}

fn start(target: impl FnOnce() + Send + 'static) -> Result<Thread, threadbare::Error> {
    let thread = Thread::builder().daemon(true).stack_size(32 * 1024);
    thread.target(target).spawn()
}
