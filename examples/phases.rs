//! A computation in phases: a `Barrier` keeps the threads in step, and its action, which the last
//! to come runs while the others wait, does what concerns all of them.
//!
//! ```sh
//! cargo run --release --example phases
//! ```
//!
//! Four threads let heat spread along a rod whose ends are kept at 100 and 0 degrees, each on a part
//! of it. In each phase a thread computes its part of the next state from the whole of the present
//! one. The action swaps the two and decides whether they have become alike. It prints how many
//! phases that took and the temperatures, and checks that one thread alone comes to the same.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use threadbare::Barrier;

const WORKERS: usize = 4;
const CELLS: usize = 42; // the outer two never change
const PART: usize = (CELLS - 2) / WORKERS;
const ENOUGH: f64 = 1e-4;

/// Temperatures, as the bits of an `f64` each. `Relaxed` everywhere: the barrier orders all accesses
/// of one phase before those of the next.
struct Rod([AtomicU64; CELLS]);

impl Rod {
    fn new() -> Rod {
        let rod = Rod([const { AtomicU64::new(0) }; CELLS]);
        rod.set(0, 100.0);
        rod
    }

    fn get(&self, cell: usize) -> f64 {
        f64::from_bits(self.0[cell].load(Relaxed))
    }

    fn set(&self, cell: usize, temperature: f64) {
        self.0[cell].store(temperature.to_bits(), Relaxed);
    }
}

/// What the threads share.
struct Simulation {
    rods: [Rod; 2],
    /// Phases that are over. Its parity says which rod is the present one.
    phases: AtomicUsize,
    /// The largest change of any cell in this phase. The bits of numbers that are not negative are
    /// ordered as the numbers are.
    change: AtomicU64,
    is_over: AtomicBool,
}

impl Simulation {
    fn new() -> Simulation {
        Simulation {
            rods: [Rod::new(), Rod::new()],
            phases: AtomicUsize::new(0),
            change: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        }
    }

    /// The present state, and the next.
    fn rods(&self) -> (&Rod, &Rod) {
        let present = self.phases.load(Relaxed) % 2;
        (&self.rods[present], &self.rods[1 - present])
    }

    /// One thread's part of one phase.
    fn advance(&self, part: usize) {
        let (present, next) = self.rods();
        let mut change: f64 = 0.0;
        for cell in 1 + part * PART..1 + (part + 1) * PART {
            let new = (present.get(cell - 1) + present.get(cell + 1)) / 2.0;
            change = change.max((new - present.get(cell)).abs());
            next.set(cell, new);
        }
        self.change.fetch_max(change.to_bits(), Relaxed);
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Relaxed)
    }

    /// Between two phases; one thread, while all others wait.
    fn end_phase(&self) {
        let change = f64::from_bits(self.change.swap(0, Relaxed));
        self.phases.fetch_add(1, Relaxed);
        self.is_over.store(change < ENOUGH, Relaxed);
    }
}

fn main() {
    let simulation = Simulation::new();
    let barrier = Barrier::new(WORKERS).with_action(|| simulation.end_phase());
    threadbare::scope(|s| {
        for part in 0..WORKERS {
            let (simulation, barrier) = (&simulation, &barrier);
            s.spawn(move || {
                while !simulation.is_over() {
                    simulation.advance(part);
                    barrier.wait().expect("nobody aborts it");
                }
            });
        }
    });
    let phases = simulation.phases.load(Relaxed);
    let rod = simulation.rods().0;
    let every_tenth: Vec<_> = (0..CELLS).step_by(10).map(|cell| rod.get(cell)).collect();
    println!("{WORKERS} threads, {phases} phases: {every_tenth:.2?}");

    // The same by one thread.
    let alone = Simulation::new();
    while !alone.is_over() {
        (0..WORKERS).for_each(|part| alone.advance(part));
        alone.end_phase();
    }
    assert_eq!(alone.phases.load(Relaxed), phases);
    for cell in 0..CELLS {
        assert_eq!(alone.rods().0.get(cell), rod.get(cell), "cell {cell}");
    }
}
