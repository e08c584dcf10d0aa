//! All of the crate at once, for as long as it is told to: threads that take, wait, notify, start,
//! join and die in every form there is, with signals and forks in between.
//!
//! ```sh
//! cargo run --release --example stress -- --secs 60
//! ```
//!
//! A run consists of rounds. In each, every arena (`arenas/`) has new objects and a crew of threads,
//! half of them std's, which do what a generator of random numbers tells them; another thread sends
//! signals, and another forks. What can be checked at any time is; the rest when all threads have
//! left. Then nothing may be left either: no thread, no mapping, no memory, no open file. For a
//! thread that waits in vain the round does not end, and the watchdog says what each was doing.
//!
//! The seed is printed. With the same seed, threads and round the threads do the same again, but the
//! schedule is the kernel's. `make stress` runs this; it takes no part in `cargo test`, since what
//! it finds grows with the time that it is given.

mod arenas;
mod disturb;
mod options;
mod rng;
mod watch;
mod what;
mod worker;

use arenas::{Arena, MAKE};
use options::Options;
use rng::Rng;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use threadbare::{Builder, Deadline, Thread, park_until, set_stack_cache};
use what::{Tally, What};
use worker::Worker;

/// The index in [`watch::ARENAS`] of those who disturb.
const DISTURBANCE: usize = MAKE.len();

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("stress: {error}\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    println!("seed {}, {} threads", options.seed, options.threads);
    watch::watch(options.patience);
    disturb::install();

    let begin = Instant::now();
    let (mut tally, mut rounds) = (Tally::new(), 0);
    let mut before = Holdings::now();
    while begin.elapsed() < options.duration {
        let left = options.duration - begin.elapsed();
        tally.add(&round(&options, rounds, options.round.min(left)));
        rounds += 1;
        before.check_after(rounds);
        if rounds % 30 == 0 {
            let (seconds, operations) = (begin.elapsed().as_secs(), tally.total());
            println!("{seconds} s, {rounds} rounds, {operations} operations");
        }
    }
    if begin.elapsed() > Duration::from_secs(20) {
        tally.check_complete(disturb::forms_of);
    }

    println!("{}", tally.table());
    let [threads, timers] = [What::Start, What::Timer].map(|what| tally.of(what));
    println!(
        "{} s, {rounds} rounds, {} operations, {threads} threads and {timers} timers started, \
         {} signals sent, {} handled, {} forks",
        begin.elapsed().as_secs(),
        tally.total(),
        tally.of(What::Signal),
        disturb::HANDLED.load(Relaxed),
        tally.of(What::Fork),
    );
    println!("stress: {rounds} rounds passed, 0 failed");
    ExitCode::SUCCESS
}

/// One round: new objects, new threads; all of it is checked and gone at the end.
fn round(options: &Options, number: usize, length: Duration) -> Tally {
    let mut rng = Rng::new(options.seed, &[number]);
    let crew = (options.threads / MAKE.len()).clamp(4, watch::SLOTS / MAKE.len() - 2);
    let mut arenas: Vec<Box<dyn Arena>> = MAKE.iter().map(|make| make(crew, &mut rng)).collect();
    let stop = AtomicBool::new(false);
    let sum = Mutex::new(Tally::new());
    let seed = rng.next();
    let run = |arena: usize, number: usize, work: &(dyn Fn(&mut Worker) + Sync)| {
        let rng = Rng::new(seed, &[arena, number]);
        let mut worker = Worker::new(rng, arena, number, crew, &stop);
        work(&mut worker);
        sum.lock().expect("no panic").add(&worker.tally);
    };
    // std's scope ends last, as threads of both kinds use what is borrowed.
    thread::scope(|foreign| {
        let mut handles = Vec::new();
        threadbare::scope(|own| {
            let (run, arenas) = (&run, &arenas);
            for (index, arena) in arenas.iter().enumerate() {
                for number in 0..crew {
                    let body = move || run(index, number, &|worker| arena.work(worker));
                    let name = format!("{} {number}", watch::ARENAS[index]);
                    if rng.one_in(2) {
                        let builder = thread::Builder::new().name(name);
                        handles.push(builder.spawn_scoped(foreign, body).expect("room"));
                    } else {
                        let builder = sized(Thread::builder().name(name), &mut rng);
                        builder.spawn_scoped(own, body).map(drop).expect("room");
                    }
                }
            }
            if options.signals > 0 {
                let body = |worker: &mut Worker| {
                    disturb::send_signals(worker, options.signals);
                };
                own.spawn(move || run(DISTURBANCE, 0, &body));
            }
            if options.forks > 0 {
                let (forks, patience) = (options.forks, options.patience);
                let body = move |worker: &mut Worker| {
                    disturb::fork_again_and_again(worker, forks, patience, arenas);
                };
                own.spawn(move || run(DISTURBANCE, 1, &body));
            }
            // Handlers unpark this thread.
            let end = Deadline::now().saturating_add(length);
            while park_until(end) {}
            stop.store(true, Relaxed);
        });
        // Unlike the crate's, std's scope does not wait until threads are gone.
        for handle in handles {
            handle.join().expect("a panic ends the process");
        }
    });
    arenas.iter_mut().for_each(|arena| arena.check());
    sum.into_inner().expect("no panic")
}

/// A stack of some size.
fn sized(builder: Builder, rng: &mut Rng) -> Builder {
    match rng.below(3) {
        0 => builder,
        _ => builder.stack_size((64 * 1024) << rng.below(4)),
    }
}

/// What a process holds of what could leak.
#[derive(Debug)]
struct Holdings {
    tasks: usize,
    descriptors: usize,
    mappings: usize,
    resident: usize,
}

/// In as many rounds all that is kept for reuse has come to be there, such as libc's stacks.
const WARM: usize = 8;

impl Holdings {
    /// What is there when all threads of a round are gone, and what is cached is given back.
    fn now() -> Holdings {
        let count = |folder| std::fs::read_dir(folder).map_or(0, Iterator::count);
        let kept = set_stack_cache(0);
        set_stack_cache(kept);
        // SAFETY: no precondition.
        unsafe { libc::malloc_trim(0) };
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let resident = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
        Holdings {
            tasks: count("/proc/self/task"),
            descriptors: count("/proc/self/fd"),
            mappings: maps.lines().count(),
            resident: resident.unwrap_or(0),
        }
    }

    /// Fails the run if more is there than before. While it is not yet warm, what is there counts
    /// as before.
    fn check_after(&mut self, rounds: usize) {
        let mut now = Holdings::now();
        let mut looks = 0;
        while now.tasks > self.tasks && looks < 1000 {
            thread::sleep(Duration::from_millis(1)); // /proc shows joined threads a moment longer
            now = Holdings::now();
            looks += 1;
        }
        let no_leak = now.tasks == self.tasks && now.descriptors == self.descriptors;
        check!(no_leak, "{now:?} after round {rounds}, {self:?} before");
        if rounds <= WARM {
            *self = now;
            return;
        }
        // Room for what an allocator may keep at one time and not at another.
        let (mappings, resident) = (self.mappings + 100, self.resident * 2 + 4096);
        let no_growth = now.mappings < mappings && now.resident < resident;
        check!(no_growth, "{now:?} after round {rounds}, {self:?} before");
    }
}
