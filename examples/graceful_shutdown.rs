//! An orderly end on SIGTERM: the handler sets an `Event`, which is async-signal-safe; nothing new
//! is accepted from then on, and what has been accepted is finished.
//!
//! ```sh
//! cargo run --example graceful_shutdown
//! ```
//!
//! A producer offers jobs without end, two workers do them. When 100 are done, the program sends
//! itself SIGTERM. It prints how many jobs were accepted and done, and checks that these are all.

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::unistd::getpid;
use std::collections::VecDeque;
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use threadbare::{Event, Monitor, Semaphore, Thread, current_thread, set_exit_timeout};

const WORKERS: usize = 2;
const ENOUGH: u64 = 100;

/// Set by the first SIGTERM or SIGINT.
static STOP: Event = Event::new();

/// The jobs that wait, and whether there will be more.
static JOBS: Monitor<Jobs> = Monitor::new(Jobs {
    waiting: VecDeque::new(),
    is_open: true,
});

/// How many more jobs may wait, so that the producer does not run ahead.
static ROOM: Semaphore = Semaphore::new(16);

static DONE: AtomicU64 = AtomicU64::new(0);

struct Jobs {
    waiting: VecDeque<u64>,
    is_open: bool,
}

/// Only what signal-safety(7) allows: no lock, no allocation, no output.
extern "C" fn stop(_signal: libc::c_int) {
    STOP.set();
}

fn install_handler() -> Result<(), nix::Error> {
    let handler = SigHandler::Handler(stop);
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        // SAFETY: the handler does only what is async-signal-safe.
        unsafe { sigaction(signal, &action) }?;
    }
    Ok(())
}

/// Offers jobs until the end is asked for; returns how many were accepted.
fn produce() -> u64 {
    let mut accepted = 0;
    loop {
        ROOM.acquire();
        let mut jobs = JOBS.lock();
        if !jobs.is_open {
            return accepted;
        }
        jobs.waiting.push_back(accepted);
        jobs.notify_one();
        accepted += 1;
    }
}

/// Does jobs until there are none and there will be no more.
fn work() {
    loop {
        let mut jobs = JOBS.lock();
        jobs.wait_while(|jobs| jobs.waiting.is_empty() && jobs.is_open);
        let Some(job) = jobs.waiting.pop_front() else {
            return;
        };
        drop(jobs); // the lock is for the queue only
        ROOM.release().expect("far fewer permits than fit");
        let mut sum = 0_u64;
        (0..job * 100).for_each(|number| sum = sum.wrapping_mul(31).wrapping_add(number));
        std::hint::black_box(sum);
        if DONE.fetch_add(1, Relaxed) + 1 == ENOUGH {
            println!("{} has done job {ENOUGH}: SIGTERM", current_thread().name());
            kill(getpid(), Signal::SIGTERM).expect("a process may signal itself");
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    install_handler()?;
    // Should a worker hang, the process ends all the same, and names it.
    set_exit_timeout(Some(Duration::from_secs(10)))?;
    let workers: Result<Vec<Thread>, threadbare::Error> = (1..=WORKERS)
        .map(|number| {
            Thread::builder()
                .name(format!("worker {number}"))
                .target(work)
                .spawn()
        })
        .collect();
    let workers = workers?;
    let producer = threadbare::spawn(produce);

    STOP.wait(); // wherever the handler runs, its `set` ends this
    println!("stopping");
    {
        let mut jobs = JOBS.lock();
        jobs.is_open = false;
        jobs.notify_all();
    }
    let accepted = producer.join().expect("it does not panic");
    for worker in &workers {
        worker.join()?;
    }

    let done = DONE.load(Relaxed);
    println!("{accepted} jobs accepted, {done} done");
    assert!(accepted == done && done >= ENOUGH);
    assert!(JOBS.lock().waiting.is_empty());
    Ok(())
}
