//! What disturbs the threads at work: signals, and forks whose children work too.

use crate::arenas::{Arena, MAKE};
use crate::check;
use crate::rng::Rng;
use crate::watch::{self, dump_slots, enter_child, working};
use crate::what::{Form, What};
use crate::worker::Worker;
use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use std::panic::{self, PanicHookInfo};
use std::sync::atomic::Ordering::Release;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering::Acquire, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use threadbare::{Event, Semaphore, Thread, get_ident, main_thread};

/// The payload of panics that are part of the play.
pub struct Deliberate;

/// What signal handlers give and set, how many permits were given, and how often handlers ran.
pub static GIVEN: Semaphore = Semaphore::new(0);
pub static GIVEN_SO_FAR: AtomicU64 = AtomicU64::new(0);
pub static SET_BY_HANDLERS: Event = Event::new();
pub static HANDLED: AtomicU64 = AtomicU64::new(0);

/// Whom handlers unpark: main, which sleeps most of the time.
static UNPARKED: AtomicPtr<Thread> = AtomicPtr::new(std::ptr::null_mut());

/// Does all that a handler may do.
extern "C" fn handle(_signal: i32) {
    let errno = Errno::last();
    HANDLED.fetch_add(1, Relaxed);
    // Few at a time, so that those who take them have to wait.
    if GIVEN.value() < 3 && GIVEN.release().is_ok() {
        GIVEN_SO_FAR.fetch_add(1, Relaxed);
    }
    SET_BY_HANDLERS.set();
    // Acquire: pairs with the Release in `install`.
    let thread = UNPARKED.load(Acquire);
    if !thread.is_null() {
        // SAFETY: stored by `install`, never freed.
        unsafe { &*thread }.unpark();
    }
    check!(get_ident() != 0, "a handler runs in no thread");
    errno.set();
}

/// Sets the handlers, one with SA_RESTART and one without; and lets panics that are not part of the
/// play fail the run.
pub fn install() {
    // Release: pairs with the Acquire in `handle`.
    UNPARKED.store(Box::into_raw(Box::new(main_thread())), Release);
    for (signal, flags) in [
        (Signal::SIGUSR1, SaFlags::SA_RESTART | SaFlags::SA_ONSTACK),
        (Signal::SIGUSR2, SaFlags::SA_ONSTACK),
    ] {
        let handler = SigHandler::Handler(handle);
        let action = SigAction::new(handler, flags, SigSet::empty());
        // SAFETY: the handler does only what is async-signal-safe.
        unsafe { sigaction(signal, &action) }.expect("the signals are valid");
    }
    panic::set_hook(Box::new(|info: &PanicHookInfo| {
        if !info.payload().is::<Deliberate>() {
            watch::fail(format_args!("{info}"));
        }
    }));
    threadbare::set_excepthook(|args| {
        let is_ours = args
            .payload
            .is_some_and(|payload| payload.is::<Deliberate>());
        check!(is_ours, "the excepthook was told of {}", args.type_name);
        crate::arenas::reported();
    });
}

/// The threads that this process has.
fn tasks() -> Vec<u32> {
    let tasks = std::fs::read_dir("/proc/self/task");
    let tasks = tasks.into_iter().flatten().flatten();
    let ids = tasks.filter_map(|task| task.file_name().to_str()?.parse().ok());
    ids.collect()
}

/// Sends signals to threads at random, `per_second` on average, until the round is over. Not longer:
/// a signal would let a thread look again that waits for a wake which was lost.
pub fn send_signals(worker: &mut Worker, per_second: u64) {
    let mean = 1_000_000_000 / per_second;
    let (mut all, mut refreshed) = (Vec::new(), 0);
    let mut next = Instant::now();
    let own = nix::unistd::getpid().as_raw();
    while !worker.is_over() {
        // Those at work more often than those that come and go.
        let target = if worker.rng.one_in(4) {
            if refreshed == 0 {
                (all, refreshed) = (tasks(), 16);
            }
            refreshed -= 1;
            worker.rng.pick(&all)
        } else {
            let working: Vec<u32> = working().collect();
            worker.rng.pick(&working)
        };
        let signal = worker.rng.pick(&[libc::SIGUSR1, libc::SIGUSR2]);
        worker.begin(What::Signal, target as usize);
        // SAFETY: no memory is involved; a thread that has ended is none of this process's.
        unsafe { libc::syscall(libc::SYS_tgkill, own, target, signal) };
        next += Duration::from_nanos(worker.rng.below(2 * mean));
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// Forks again and again, `per_second` times at most, until the round is over.
pub fn fork_again_and_again(
    worker: &mut Worker,
    per_second: u64,
    patience: Duration,
    arenas: &[Box<dyn Arena>],
) {
    let mean = 1_000_000 / per_second;
    while !worker.is_over() {
        worker.show(What::Sleep, 0);
        thread::sleep(Duration::from_micros(worker.rng.below(2 * mean)));
        let rng = Rng::new(worker.rng.next(), &[]);
        worker.begin(What::Fork, 0);
        // SAFETY: the child uses the crate and glibc only, and leaves by `_exit`.
        match unsafe { fork() }.expect("there is room for a process") {
            ForkResult::Child => live_as_child(rng, patience, arenas),
            ForkResult::Parent { child } => {
                let ended = loop {
                    match waitpid(child, None) {
                        Err(Errno::EINTR) => {}
                        ended => break ended,
                    }
                };
                let expected = Ok(WaitStatus::Exited(child, 0));
                check!(ended == expected, "the child of a fork: {ended:?}");
            }
        }
    }
}

/// In a child that hangs.
extern "C" fn give_up(_signal: i32) {
    use std::fmt::Write;
    let _ = writeln!(watch::Stderr, "FAILED: the child of a fork hangs");
    dump_slots();
    // SAFETY: ends the child.
    unsafe { libc::_exit(1) }
}

/// Uses what the parent's threads were in the middle of using, then new objects in new threads.
fn live_as_child(mut rng: Rng, patience: Duration, arenas: &[Box<dyn Arena>]) -> ! {
    enter_child();
    let handler = SigHandler::Handler(give_up);
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler takes no lock.
    unsafe { sigaction(Signal::SIGALRM, &action) }.expect("the signal is valid");
    nix::unistd::alarm::set(patience.as_secs() as u32);
    arenas.iter().for_each(|arena| arena.survive());

    let which = rng.below(MAKE.len() as u64) as usize;
    let crew = 4 + rng.below(3) as usize;
    let mut arena = MAKE[which](crew, &mut rng);
    if which != crate::arenas::THREADS {
        // In all others' memory there is what vanished threads left behind.
        play(&mut *arena, which, crew, &mut rng);
    }
    // SAFETY: leaves the child without running what belongs to the parent.
    unsafe { libc::_exit(0) }
}

/// A short round of one arena.
fn play(arena: &mut dyn Arena, which: usize, crew: usize, rng: &mut Rng) {
    let stop = AtomicBool::new(false);
    let seed = rng.next();
    threadbare::scope(|s| {
        for number in 0..crew {
            let (arena, stop) = (&*arena, &stop);
            s.spawn(move || {
                let rng = Rng::new(seed, &[number]);
                let mut worker = Worker::new(rng, which, number, crew, stop);
                arena.work(&mut worker);
            });
        }
        thread::sleep(Duration::from_micros(rng.below(8_000)));
        stop.store(true, Relaxed);
    });
    arena.check();
}

/// The forms in which an operation can be done.
pub fn forms_of(what: What) -> &'static [Form] {
    match what {
        What::Begin | What::SeeOff | What::Hold => &[],
        What::Fork | What::Signal => &[], // may be switched off
        What::Lock | What::RLock | What::Mutex | What::MonitorLock => Form::ALL,
        What::Semaphore | What::Bounded => Form::ALL,
        What::ReentrantMutex => &[Form::Plain, Form::Try, Form::Timeout],
        What::ConditionLock | What::SemaphoreMany | What::BoundedMany => Form::BUT_CHECKED,
        What::ConditionWait | What::PlainWait | What::CondvarWait | What::MonitorWait => {
            Form::BUT_TRY
        }
        What::EventWait | What::BarrierWait | What::Join | What::Park => Form::BUT_TRY,
        What::JoinHandle => &[
            Form::Timeout,
            Form::Until,
            Form::Interruptible,
            Form::Checked,
        ],
        What::WaitFor => &[Form::Plain, Form::Timeout, Form::Until, Form::Interruptible],
        What::CondvarWhile | What::MonitorWhile => &[Form::Plain, Form::Timeout, Form::Until],
        What::Sleep => &[Form::Plain, Form::Interruptible],
        _ => &[Form::Plain],
    }
}
