//! What each thread is doing, where others can see it; the watchdog that looks; and the end of a run
//! that failed.

use crate::what::{Form, What};
use nix::sys::signal::SigSet;
use std::fmt::{self, Write};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
use std::thread;
use std::time::Duration;

/// The most threads that work at a time.
pub const SLOTS: usize = 512;

/// How often the watchdog looks.
const TICK: Duration = Duration::from_millis(100);

/// What one thread is doing. Its own to write, anybody's to read; `Relaxed`, as nothing follows from
/// it but a line of text.
pub struct Slot {
    /// The thread, 0 for none.
    tid: AtomicU32,
    /// An arena's number, and the thread's in it.
    place: AtomicUsize,
    /// A `What`, and a `Form` above it.
    doing: AtomicUsize,
    object: AtomicUsize,
    /// Grows with each operation that begins.
    steps: AtomicU64,
    /// The watchdog's: for how many ticks `steps` has not changed.
    still: AtomicU64,
    seen: AtomicU64,
}

static TABLE: [Slot; SLOTS] = [const { Slot::new() }; SLOTS];

/// The names of the arenas, for texts.
pub const ARENAS: [&str; 9] = [
    "locks",
    "conditions",
    "items",
    "semaphores",
    "events",
    "barriers",
    "threads",
    "parking",
    "disturbance",
];

/// Whether this process is the child of a fork.
static IS_CHILD: AtomicBool = AtomicBool::new(false);

impl Slot {
    const fn new() -> Slot {
        Slot {
            tid: AtomicU32::new(0),
            place: AtomicUsize::new(0),
            doing: AtomicUsize::new(0),
            object: AtomicUsize::new(0),
            steps: AtomicU64::new(0),
            still: AtomicU64::new(0),
            seen: AtomicU64::new(0),
        }
    }

    /// A slot for the calling thread, which is number `number` in `arena`.
    pub fn take(arena: usize, number: usize) -> &'static Slot {
        let own = threadbare::get_native_id();
        let take = |slot: &&Slot| {
            // Relaxed: nothing else of the slot means anything to its next user.
            let taken = slot.tid.compare_exchange(0, own, Relaxed, Relaxed);
            taken.is_ok()
        };
        let slot = TABLE.iter().find(take).expect("there are enough slots");
        slot.place.store(arena << 16 | number, Relaxed);
        slot.steps.store(0, Relaxed);
        slot.begin(What::Begin, Form::Plain, 0);
        slot
    }

    pub fn give_back(&self) {
        self.tid.store(0, Relaxed);
    }

    /// The calling thread, whose slot this is, begins something.
    pub fn begin(&self, what: What, form: Form, object: usize) {
        self.doing
            .store(what as usize | (form as usize) << 8, Relaxed);
        self.object.store(object, Relaxed);
        let steps = self.steps.load(Relaxed);
        self.steps.store(steps + 1, Relaxed);
    }

    fn describe(&self, out: &mut dyn Write) -> fmt::Result {
        let (place, doing) = (self.place.load(Relaxed), self.doing.load(Relaxed));
        let still = TICK * self.still.load(Relaxed) as u32;
        writeln!(
            out,
            "  {:6} {:>11} {:<3} {} ({}) of {:#x}, step {}, for {still:?}",
            self.tid.load(Relaxed),
            ARENAS[place >> 16],
            place & 0xffff,
            What::TEXTS[doing & 0xff],
            Form::TEXTS[doing >> 8],
            self.object.load(Relaxed),
            self.steps.load(Relaxed),
        )
    }
}

/// The ids of the threads that work.
pub fn working() -> impl Iterator<Item = u32> {
    let tids = TABLE.iter().map(|slot| slot.tid.load(Relaxed));
    tids.filter(|tid| *tid != 0)
}

/// In the child of a fork: forgets the parent's threads.
pub fn enter_child() {
    IS_CHILD.store(true, Relaxed);
    TABLE.iter().for_each(Slot::give_back);
}

/// Fails the run if a thread makes no progress for `patience`. Time is counted in ticks of the
/// watchdog's own, so that a machine that stood still has not let anybody wait.
pub fn watch(patience: Duration) {
    let most = patience.as_millis() / TICK.as_millis();
    let look = move || {
        // Handlers run in threads that are joined, so that none is left when they are counted.
        let blocked = SigSet::all().thread_block();
        blocked.expect("the set is valid");
        loop {
            thread::sleep(TICK);
            for slot in &TABLE {
                let steps = slot.steps.load(Relaxed);
                let is_still = slot.tid.load(Relaxed) != 0 && slot.seen.load(Relaxed) == steps;
                slot.seen.store(steps, Relaxed);
                let still = if is_still {
                    slot.still.load(Relaxed) + 1
                } else {
                    0
                };
                slot.still.store(still, Relaxed);
                if u128::from(still) > most {
                    fail(format_args!("a thread is stuck"));
                }
            }
        }
    };
    let thread = thread::Builder::new().name("watchdog".to_owned());
    drop(thread.spawn(look).expect("a thread can be started"));
}

/// Writes without any lock, which may be held by a thread that is stuck or, after a fork, gone.
pub struct Stderr;

impl Write for Stderr {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: the bytes are valid for the call.
        unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
        Ok(())
    }
}

/// What each thread does, according to itself.
pub fn dump_slots() {
    let busy = TABLE.iter().filter(|slot| slot.tid.load(Relaxed) != 0);
    busy.for_each(|slot| {
        let _ = slot.describe(&mut Stderr);
    });
}

/// Where each thread is, according to the kernel.
fn dump_tasks() {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return;
    };
    let _ = writeln!(Stderr, "the kernel says (id, name, state, where, call):");
    for task in tasks.flatten() {
        let read = |name| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let (stat, wchan, call) = (read("stat"), read("wchan"), read("syscall"));
        // The name in parentheses may contain anything; the state follows the last one.
        let (name, rest) = stat.rsplit_once(')').unwrap_or_default();
        let name = name.split_once('(').unwrap_or_default().1;
        let state = rest.split_whitespace().next().unwrap_or("?");
        let call = call.trim_end();
        let id = task.file_name();
        let _ = writeln!(
            Stderr,
            "  {:6} {name:15} {state} {wchan:20} {call}",
            id.to_string_lossy()
        );
    }
}

/// Says what is wrong and what everybody does, and ends the process.
pub fn fail(text: fmt::Arguments) -> ! {
    static FAILED: AtomicBool = AtomicBool::new(false);
    // Of several failures one speaks, and ends the process. Relaxed: nothing else is shared.
    while FAILED.swap(true, Relaxed) {
        thread::sleep(Duration::from_secs(1));
    }
    let place = if IS_CHILD.load(Relaxed) {
        " in the child of a fork"
    } else {
        ""
    };
    let _ = writeln!(Stderr, "FAILED{place}: {text}");
    let _ = writeln!(Stderr, "what the threads were doing:");
    dump_slots();
    if place.is_empty() {
        dump_tasks();
    }
    // SAFETY: ends the process, whose threads may be in any state.
    unsafe { libc::_exit(1) }
}

/// Fails the run unless a condition holds.
#[macro_export]
macro_rules! check {
    ($condition:expr, $($text:tt)*) => {
        if !$condition {
            $crate::watch::fail(format_args!("{} ({}:{})", format_args!($($text)*), file!(), line!()));
        }
    };
}
