//! Threads that use one object all the time: how much they do, how long they wait.

use super::locks::Exclusive;
use super::machine::pin;
use std::cell::UnsafeCell;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Barrier, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// Threads × work under the lock × work between, in a closed loop.
#[derive(Clone, Copy)]
pub struct Load {
    pub threads: usize,
    /// Nanoseconds of work under the lock.
    pub inside: u64,
    /// Nanoseconds of work without it: each time between half and one and a half of this, since
    /// threads in step meet either always or never.
    pub think: u64,
}

/// What each thread brings home.
struct Share {
    turns: u64,
    waits: Histogram,
    span: (Instant, Instant),
}

/// What a load gave.
pub struct Outcome {
    pub per_second: f64,
    /// The turns of the slowest thread by those of the fastest.
    pub fairness: f64,
    /// Of the times to acquire, if they were to be taken.
    pub waits: Histogram,
}

/// A lock and memory that only its holder touches, as the data of a real program would be: side by side,
/// and with nothing else in their cache lines (of which CPUs fetch two at a time), whatever their size.
#[repr(C, align(128))]
struct Shared<L> {
    lock: L,
    protected: UnsafeCell<u64>,
}

// SAFETY: what is protected is touched under the lock alone.
unsafe impl<L: Sync> Sync for Shared<L> {}

/// What has a pair of cache lines for itself.
#[repr(align(128))]
struct Alone<T>(T);

impl Load {
    /// What a group of it is called; the report reads the numbers.
    pub fn name(self) -> String {
        let Load {
            threads,
            inside,
            think,
        } = self;
        format!("threads {threads}, inside {inside} ns, between {think} ns")
    }

    /// Runs for `time` over a new `L`, taking the time of each acquire if `timed`.
    pub fn run<L: Exclusive>(self, time: Duration, timed: bool) -> Outcome {
        let (inside, think) = (Work::of(self.inside), Work::of(self.think));
        let shared = Shared {
            lock: L::new(),
            protected: UnsafeCell::new(0),
        };
        let end = Alone(AtomicBool::new(false));
        let gate = Barrier::new(self.threads + 1);
        let body = |number: usize| {
            pin(number);
            let mut random = Random::new(number as u64);
            let (mut turns, mut waits) = (0, Histogram::default());
            let (shared, end) = (&shared, &end.0); // all of it: it is the type that may be shared
            gate.wait();
            let begun = Instant::now();
            loop {
                let before = timed.then(Instant::now);
                shared.lock.with(|| {
                    if let Some(before) = before {
                        waits.add(before.elapsed());
                    }
                    // SAFETY: under the lock.
                    unsafe { *shared.protected.get() += 1 };
                    inside.work();
                });
                think.scaled(&mut random).work();
                turns += 1;
                // Relaxed: a hint to stop, which publishes nothing.
                if end.load(Relaxed) {
                    break;
                }
            }
            let span = (begun, Instant::now());
            Share { turns, waits, span }
        };
        let shares = thread::scope(|scope| {
            let body = &body;
            let start = |number| scope.spawn(move || body(number));
            let threads: Vec<_> = (0..self.threads).map(start).collect();
            gate.wait(); // or the time is over before they begin
            thread::sleep(time);
            end.0.store(true, Relaxed);
            let join =
                |thread: thread::ScopedJoinHandle<'_, Share>| thread.join().expect("a share");
            threads.into_iter().map(join).collect::<Vec<_>>()
        });
        let spans: Vec<_> = shares.iter().map(|share| share.span).collect();
        let turns: u64 = shares.iter().map(|share| share.turns).sum();
        assert_eq!(
            turns,
            shared.protected.into_inner(),
            "two threads were inside at once"
        );
        let slowest = shares.iter().map(|share| share.turns).min().unwrap_or(0);
        let fastest = shares.iter().map(|share| share.turns).max().unwrap_or(1);
        let mut waits = Histogram::default();
        for share in &shares {
            waits.merge(&share.waits);
        }
        Outcome {
            per_second: turns as f64 / span(&spans).as_secs_f64(),
            fairness: slowest as f64 / fastest.max(1) as f64,
            waits,
        }
    }
}

/// Threads that do something with each other; how long `turns` of each took. `body` is called in
/// each thread with its number and the number of turns.
pub fn together(threads: usize, turns: u64, body: impl Fn(usize, u64) + Sync) -> Duration {
    let gate = Barrier::new(threads);
    let (gate, body) = (&gate, &body);
    let spans = thread::scope(|scope| {
        let start = |number| {
            scope.spawn(move || {
                pin(number);
                gate.wait();
                let begun = Instant::now();
                body(number, turns);
                (begun, Instant::now())
            })
        };
        let threads: Vec<_> = (0..threads).map(start).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| thread.join().expect("its times");
        threads.into_iter().map(join).collect::<Vec<_>>()
    });
    span(&spans)
}

/// From the first beginning to the last end.
///
/// By the threads' own clocks: who waits for them is woken when they are busy already.
fn span(spans: &[(Instant, Instant)]) -> Duration {
    let begun = spans.iter().map(|(begun, _)| *begun).min();
    let ended = spans.iter().map(|(_, ended)| *ended).max();
    begun
        .zip(ended)
        .map_or(Duration::ZERO, |(begun, ended)| ended - begun)
}

/// Makes the process have a second thread, asleep, for the rest of its life, as a server has: some
/// peers go faster while a process is single-threaded.
pub fn with_company() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let _ = thread::spawn(|| {
            loop {
                thread::park();
            }
        });
        let _ = threadbare::spawn(|| ()).join(); // what the first start sets up
    });
}

/// An amount of computation without memory, in turns of a loop.
#[derive(Clone, Copy)]
pub struct Work(u64);

impl Work {
    /// What takes `nanos` on an idle CPU.
    pub fn of(nanos: u64) -> Work {
        static TURNS_PER_MICRO: OnceLock<f64> = OnceLock::new();
        let speed = TURNS_PER_MICRO.get_or_init(|| {
            const TURNS: u64 = 100_000;
            let time = |_| {
                let begun = Instant::now();
                Work(TURNS).work();
                begun.elapsed()
            };
            // The shortest: nobody else had the CPU.
            let least = (0..20).map(time).min().unwrap_or_default();
            TURNS as f64 / (least.as_secs_f64() * 1e6)
        });
        Work((nanos as f64 * speed / 1e3) as u64)
    }

    /// Half to one and a half times as much.
    fn scaled(self, random: &mut Random) -> Work {
        if self.0 == 0 {
            return self;
        }
        Work(self.0 / 2 + random.next() % (self.0 + 1))
    }

    #[inline]
    pub fn work(self) {
        for turn in 0..self.0 {
            black_box(turn);
        }
    }
}

/// Marsaglia's xorshift.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Times in buckets, each at most 1/16 wider than the one before.
#[derive(Clone)]
pub struct Histogram {
    buckets: Vec<u64>,
    most: u64,
}

const BITS: u32 = 4;

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            buckets: vec![0; ((64 - BITS + 1) << BITS) as usize],
            most: 0,
        }
    }
}

impl Histogram {
    pub fn add(&mut self, time: Duration) {
        let nanos = time.as_nanos() as u64;
        self.most = self.most.max(nanos);
        self.buckets[bucket(nanos)] += 1;
    }

    pub fn merge(&mut self, other: &Histogram) {
        self.most = self.most.max(other.most);
        for (ours, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *ours += theirs;
        }
    }

    /// The nanoseconds that a `share` of all do not exceed, up to the width of a bucket.
    pub fn percentile(&self, share: f64) -> f64 {
        let all: u64 = self.buckets.iter().sum();
        let wanted = (all as f64 * share).ceil() as u64;
        let mut so_far = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            so_far += count;
            if so_far >= wanted {
                return upper(index).min(self.most) as f64;
            }
        }
        self.most as f64
    }

    pub fn max(&self) -> f64 {
        self.most as f64
    }
}

/// Small numbers have a bucket each; of others the first digits count.
fn bucket(nanos: u64) -> usize {
    let shift = (64 - nanos.leading_zeros()).saturating_sub(BITS + 1);
    ((u64::from(shift) << BITS) + (nanos >> shift)) as usize
}

/// The largest number in a bucket.
fn upper(index: usize) -> u64 {
    let index = index as u64;
    let shift = (index >> BITS).saturating_sub(1);
    let digits = index - (shift << BITS);
    ((digits + 1) << shift) - 1
}
