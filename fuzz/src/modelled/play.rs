//! Threads that play a program, step by step in the order that the input draws.

use arbitrary::{Arbitrary, Unstructured};
use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner, thread};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use threadbare::primitive::Deadline;
use threadbare::raw::park::{GaveUp, Limit};

/// The most threads of a program, and the most operations of each.
pub const THREADS: usize = 5;
const OPERATIONS: usize = 8;

/// The number by which the thread goes that has no part in the program, and comes to the rescue.
pub const RESCUER: usize = THREADS;

/// More steps than any program takes.
const TOO_MANY_STEPS: usize = 100_000;

/// What a program is played on, with its oracle.
pub trait Stage: Sized + Send + Sync + 'static {
    /// What a thread does at a time.
    type Operation: for<'a> Arbitrary<'a> + Send + Sync + 'static;

    /// An object to play on.
    fn new(source: &mut Unstructured) -> arbitrary::Result<Self>;

    /// Does it, in the thread with this number, and tells the oracle.
    fn perform(&self, thread: usize, operation: &Self::Operation);

    /// For a thread that has done all.
    fn leave(&self, _thread: usize) {}

    /// All threads that have not left sleep. Fails unless they may, then lets some go on.
    fn rescue(&self, alone: &Alone);

    /// All threads have left. Fails if they left behind what they should not.
    fn finish(&self);
}

/// Plays on a `S` what `input` says: how many threads, what each does, and in which order.
pub fn play<S: Stage>(input: &[u8]) {
    let mut source = Unstructured::new(input);
    // Too short an input is none.
    let Ok((stage, parts)) = program::<S>(&mut source) else {
        return;
    };
    let alone = Alone(Arc::new(AtomicBool::new(true)));
    let scheduler = Drawn {
        choices: source.take_rest().to_vec(),
        taken: 0,
        alone: alone.clone(),
        is_over: false,
    };
    let mut config = Config::new();
    config.failure_persistence = FailurePersistence::None; // the input says it all
    config.max_steps = MaxSteps::FailAfter(TOO_MANY_STEPS);
    config.silence_warnings = true;
    let all = Arc::new((stage, parts));
    Runner::new(scheduler, config).run(move || perform(&all, &alone));
}

type Parts<S> = Vec<Vec<<S as Stage>::Operation>>;

fn program<S: Stage>(source: &mut Unstructured) -> arbitrary::Result<(S, Parts<S>)> {
    let stage = S::new(source)?;
    let threads = source.int_in_range(2..=THREADS)?;
    let part = |_| {
        let length = source.int_in_range(1..=OPERATIONS)?;
        (0..length).map(|_| source.arbitrary()).collect()
    };
    let parts: Result<_, _> = (0..threads).map(part).collect();
    Ok((stage, parts?))
}

fn perform<S: Stage>(all: &Arc<(S, Parts<S>)>, alone: &Alone) {
    let present = Arc::new(AtomicUsize::new(all.1.len()));
    let threads: Vec<_> = (0..all.1.len())
        .map(|number| {
            let (all, present) = (all.clone(), present.clone());
            thread::spawn(move || {
                let (stage, parts) = &*all;
                for operation in &parts[number] {
                    stage.perform(number, operation);
                }
                stage.leave(number);
                present.fetch_sub(1, Relaxed);
            })
        })
        .collect();
    alone.set(false);
    let stage = &all.0;
    loop {
        thread::yield_now(); // until all others sleep
        if present.load(Relaxed) == 0 {
            break;
        }
        stage.rescue(alone);
    }
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    stage.finish();
}

/// Keeps the others from taking a step while the rescuer does something.
#[derive(Clone, Debug)]
pub struct Alone(Arc<AtomicBool>);

impl Alone {
    fn set(&self, alone: bool) {
        self.0.store(alone, Relaxed);
    }

    /// Does `work` alone.
    pub fn with(&self, work: impl FnOnce()) {
        self.set(true);
        work();
        self.set(false);
    }
}

/// The scheduler: each choice is a byte of the input; once there are no more, a thread goes on until it
/// sleeps.
struct Drawn {
    choices: Vec<u8>,
    taken: usize,
    alone: Alone,
    is_over: bool,
}

impl Drawn {
    fn draw(&mut self) -> usize {
        let choice = self.choices.get(self.taken).copied();
        self.taken += 1;
        usize::from(choice.unwrap_or(0))
    }
}

impl Scheduler for Drawn {
    fn new_execution(&mut self) -> Option<Schedule> {
        let is_over = std::mem::replace(&mut self.is_over, true);
        (!is_over).then(|| Schedule::new(0))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let rescuer = TaskId::from(0);
        // Not those that could only wake for no reason: the futex sees to that.
        let awake = runnable.iter().filter(|task| task.runnable());
        let awake: Vec<TaskId> = awake.map(|task| task.id()).collect();
        if self.alone.0.load(Relaxed) && awake.contains(&rescuer) {
            return Some(rescuer);
        }
        let others: Vec<TaskId> = awake.into_iter().filter(|task| *task != rescuer).collect();
        match others[..] {
            [] => return Some(rescuer),
            [only] => return Some(only),
            _ => {}
        }
        let choice = self.draw();
        // Mostly the thread that goes on anyway: bugs take a few switches at the right places.
        match current.and_then(|current| others.iter().position(|other| *other == current)) {
            Some(place) if is_yielding => Some(others[(place + 1 + choice) % others.len()]),
            Some(place) if choice < 160 => Some(others[place]),
            _ => Some(others[choice % others.len()]),
        }
    }

    fn next_u64(&mut self) -> u64 {
        self.draw() as u64
    }
}

/// How long an operation is to wait.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Until it succeeds.
    Endless,
    /// Until some moment.
    Timed,
    /// Until some moment, before which a signal comes.
    TimedWithSignal,
    /// Until a signal.
    Interruptible,
}

impl Patience {
    /// What the operation is told.
    pub fn limit(self) -> Limit<'static> {
        match self {
            Patience::Endless => Limit::NONE,
            Patience::Timed => Limit::until(Deadline::SOON),
            Patience::TimedWithSignal => Limit::until(Deadline::AFTER_A_SIGNAL),
            Patience::Interruptible => Limit::interruptible(Deadline::NEVER),
        }
    }

    /// Fails if an operation that was told so may not have ended in this way; whether it succeeded.
    pub fn judge(self, ended: Result<(), GaveUp>) -> bool {
        let is_timed = matches!(self, Patience::Timed | Patience::TimedWithSignal);
        match ended {
            Ok(()) => {}
            Err(GaveUp::TimedOut) => assert!(is_timed, "{self:?} timed out"),
            Err(GaveUp::Interrupted) => {
                assert_eq!(self, Patience::Interruptible, "interrupted");
            }
        }
        ended.is_ok()
    }
}

/// What threads wait for: those in a call that may sleep.
#[derive(Debug)]
pub struct Waiting<W>(Mutex<BTreeMap<usize, W>>);

impl<W: Clone> Waiting<W> {
    /// Nobody waits.
    pub fn new() -> Waiting<W> {
        Waiting(Mutex::new(BTreeMap::new()))
    }

    /// Calls `operation`, in which this thread waits for `what`.
    pub fn during<R>(&self, thread: usize, what: W, operation: impl FnOnce() -> R) -> R {
        self.0.lock().unwrap().insert(thread, what);
        let result = operation();
        self.0.lock().unwrap().remove(&thread);
        result
    }

    /// The threads that wait, and for what.
    pub fn all(&self) -> BTreeMap<usize, W> {
        self.0.lock().unwrap().clone()
    }
}
