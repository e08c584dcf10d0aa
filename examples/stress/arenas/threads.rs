//! Threads: each one runs, ends and is joined, whatever it dies of and whatever it holds then.

use super::Arena;
use crate::check;
use crate::disturb::Deliberate;
use crate::what::{Form, What};
use crate::worker::{Limit, Patience, Wait, Worker, got};
use std::panic::panic_any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use threadbare::{
    Error, JoinHandle, Local, Lock, Monitor, Mutex, RLock, Semaphore, Thread, Timer, active_count,
    current_thread, enumerate, exit, get_ident, main_thread, scope, spawn,
};

impl Wait for &Thread {
    type Got = ();
    const WHAT: What = What::Join;
    const FORMS: &'static [Form] = Form::BUT_TRY;

    fn address(&self) -> usize {
        self.native_id().unwrap_or(0) as usize
    }

    fn wait(self, limit: &Limit) -> Result<Option<()>, Error> {
        Ok(got(match limit.form {
            Form::Timeout => self.join_timeout(limit.timeout)?,
            Form::Until => self.join_until(limit.deadline)?,
            Form::Interruptible => self.join_interruptible(limit.deadline)?,
            Form::Checked => self.join_checked(limit.deadline, limit.check())?,
            _ => {
                self.join()?;
                true
            }
        }))
    }
}

impl<T> Wait for &JoinHandle<T> {
    type Got = ();
    const WHAT: What = What::JoinHandle;
    const FORMS: &'static [Form] = &[
        Form::Timeout,
        Form::Until,
        Form::Interruptible,
        Form::Checked,
    ];

    fn address(&self) -> usize {
        self.thread().native_id().unwrap_or(0) as usize
    }

    fn wait(self, limit: &Limit) -> Result<Option<()>, Error> {
        Ok(got(match limit.form {
            Form::Timeout => self.join_timeout(limit.timeout)?,
            Form::Until => self.join_until(limit.deadline)?,
            Form::Checked => self.join_checked(limit.deadline, limit.check())?,
            _ => self.join_interruptible(limit.deadline)?,
        }))
    }
}

/// How many values were made and dropped, of all [`Counted`].
static MADE: AtomicU64 = AtomicU64::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Panics that threads of this arena died of, and those that the excepthook was told of.
static PANICKED: AtomicU64 = AtomicU64::new(0);
pub static REPORTED: AtomicU64 = AtomicU64::new(0);

/// A value whose end is counted.
struct Counted(u64);

impl Counted {
    fn new() -> Counted {
        MADE.fetch_add(1, Relaxed);
        Counted(get_ident())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Relaxed);
    }
}

/// How a thread ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Return,
    Panic,
    Exit,
}

impl End {
    fn come(self) {
        match self {
            End::Return => {}
            End::Panic => {
                PANICKED.fetch_add(1, Relaxed);
                panic_any(Deliberate);
            }
            End::Exit => exit(),
        }
    }
}

/// What a thread may die with.
struct Estate {
    lock: Lock,
    rlock: RLock,
    permits: Semaphore,
    mutex: Mutex<u32>,
    monitor: Monitor<u32>,
}

impl Estate {
    fn new() -> Estate {
        Estate {
            lock: Lock::new(),
            rlock: RLock::new(),
            permits: Semaphore::new(2),
            mutex: Mutex::new(0),
            monitor: Monitor::new(0),
        }
    }
}

pub struct Threads {
    estate: Arc<Estate>,
    locals: Arc<Local<Counted>>,
    started: AtomicU64,
    ran: Arc<AtomicU64>,
    left: AtomicUsize,
}

impl Threads {
    pub fn new() -> Threads {
        Threads {
            estate: Arc::new(Estate::new()),
            locals: Arc::new(Local::new(Counted::new)),
            started: AtomicU64::new(0),
            ran: Arc::default(),
            left: AtomicUsize::new(0),
        }
    }

    /// Builds and starts a thread of any kind.
    fn start(&self, worker: &mut Worker, body: impl FnOnce() + Send + 'static) -> Thread {
        let mut builder = Thread::builder().daemon(worker.rng.one_in(2));
        if worker.rng.one_in(2) {
            builder = builder.stack_size((32 * 1024) << worker.rng.below(4));
        }
        if worker.rng.one_in(3) {
            builder = builder.name(format!("of {}", worker.number));
        }
        let (ran, locals) = (self.ran.clone(), self.locals.clone());
        let thread = builder.target(move || {
            let own = locals.with(|counted| counted.0);
            check!(own == get_ident(), "a value of another thread");
            drop(locals); // the value goes with the thread or with the object, whoever is first
            ran.fetch_add(1, Relaxed);
            body();
        });
        let thread = thread.build().expect("the size is large enough");
        check!(!thread.is_alive(), "alive before its start");
        worker.begin(What::Start, 0);
        let started = thread.start();
        check!(started.is_ok(), "start: {started:?}");
        check!(thread.start() == Err(Error::AlreadyStarted), "two starts");
        self.started.fetch_add(1, Relaxed);
        thread
    }

    /// Joins a thread, in several forms and perhaps from several threads.
    fn join(&self, worker: &mut Worker, thread: &Thread) {
        let helpers: Vec<_> = (0..worker.rng.below(3))
            .map(|_| {
                let thread = thread.clone();
                let wait = Duration::from_micros(worker.rng.below(300));
                self.started.fetch_add(1, Relaxed);
                worker.begin(What::Start, 0);
                let ran = self.ran.clone();
                spawn(move || {
                    ran.fetch_add(1, Relaxed);
                    while thread.join_timeout(wait) != Ok(true) {}
                    thread.is_alive()
                })
            })
            .collect();
        while worker.wait(thread, Patience::Any).is_none() {}
        check!(!thread.is_alive(), "joined, and alive");
        if worker.rng.one_in(8) {
            check!(!enumerate().contains(thread), "joined, and listed");
        }
        for helper in helpers {
            while worker.wait(&helper, Patience::Any).is_none() {}
            let was_alive = helper.join();
            check!(matches!(was_alive, Ok(false)), "joined, and alive");
        }
    }

    fn end(worker: &mut Worker) -> End {
        worker
            .rng
            .pick(&[End::Return, End::Return, End::Panic, End::Exit])
    }

    /// A thread that ends somehow.
    fn live(&self, worker: &mut Worker) {
        let end = Threads::end(worker);
        let pause = Duration::from_micros(worker.rng.below(300));
        let naps = worker.rng.one_in(3);
        let thread = self.start(worker, move || {
            if naps {
                std::thread::sleep(pause);
            }
            check!(current_thread().is_current(), "somebody else");
            end.come();
        });
        if worker.rng.one_in(4) {
            thread.set_name("renamed");
        }
        self.join(worker, &thread);
    }

    /// A thread that takes something and ends without giving it back; this one sees to it then.
    fn die(&self, worker: &mut Worker) {
        let end = Threads::end(worker);
        let estate = self.estate.clone();
        match worker.rng.below(5) {
            0 => {
                let thread = self.start(worker, move || {
                    estate.lock.acquire();
                    end.come();
                });
                self.join(worker, &thread);
                // Nobody else releases it: one thread of this arena does for each that died.
                check!(self.estate.lock.locked(), "released by its owner's end");
                worker.dawdle();
                let released = self.estate.lock.release();
                check!(released.is_ok(), "{released:?}");
            }
            1 => {
                // The lock of a dead owner stays locked, so it is one of their own.
                let estate = Arc::new(Estate::new());
                let theirs = estate.clone();
                let depth = 1 + worker.rng.below(3);
                let thread = self.start(worker, move || {
                    (0..depth).for_each(|_| theirs.rlock.acquire());
                    end.come();
                });
                self.join(worker, &thread);
                let rlock = &estate.rlock;
                check!(rlock.locked() && !rlock.is_owned(), "inherited");
                check!(!rlock.try_acquire(), "taken from the dead");
                let released = rlock.release();
                check!(released == Err(Error::NotOwner), "{released:?}");
                // SAFETY: nobody else has it.
                unsafe { rlock.at_fork_reinit() };
                check!(rlock.try_acquire(), "not as new");
                check!(rlock.release().is_ok(), "not as new");
            }
            2 => {
                let thread = self.start(worker, move || {
                    estate.permits.acquire();
                    end.come();
                });
                self.join(worker, &thread);
                let released = self.estate.permits.release();
                check!(released.is_ok(), "{released:?}");
            }
            3 => {
                // Guards release as the thread unwinds.
                let thread = self.start(worker, move || {
                    let mut value = estate.mutex.lock();
                    *value += 1;
                    end.come();
                });
                self.join(worker, &thread);
            }
            _ => {
                let thread = self.start(worker, move || {
                    let mut value = estate.monitor.lock();
                    *value += 1;
                    value.notify_all();
                    end.come();
                });
                self.join(worker, &thread);
            }
        }
    }

    fn return_something(&self, worker: &mut Worker) {
        let number = worker.rng.next();
        let panics = worker.rng.one_in(4);
        self.started.fetch_add(1, Relaxed);
        let ran = self.ran.clone();
        worker.begin(What::Start, 0);
        let handle = spawn(move || {
            ran.fetch_add(1, Relaxed);
            if panics {
                End::Panic.come();
            }
            number
        });
        if worker.rng.one_in(2) {
            worker.wait(&handle, Patience::Any);
        }
        worker.show(What::JoinHandle, 0);
        let result = handle.join();
        match result {
            Ok(value) => check!(value == number && !panics, "{value} for {number}"),
            Err(payload) => check!(payload.is::<Deliberate>() && panics, "a panic"),
        }
    }

    fn borrow(&self, worker: &mut Worker) {
        let count = AtomicU64::new(0);
        let threads = worker.rng.below(4);
        worker.begin(What::Scope, 0);
        self.started.fetch_add(threads, Relaxed);
        scope(|s| {
            for _ in 0..threads {
                s.spawn(|| {
                    count.fetch_add(1, Relaxed);
                    self.ran.fetch_add(1, Relaxed);
                });
            }
        });
        check!(count.into_inner() == threads, "a scope ended too early");
    }

    fn time(&self, worker: &mut Worker) {
        let fired = Arc::new(AtomicU64::new(0));
        let interval = worker.rng.timeout();
        let timer = Timer::new(interval, {
            let fired = fired.clone();
            move || {
                fired.fetch_add(1, Relaxed);
            }
        });
        let (before, after) = (worker.rng.one_in(8), worker.rng.one_in(2));
        if before {
            worker.begin(What::Cancel, 0);
            timer.cancel();
        }
        worker.begin(What::Timer, 0);
        let started = timer.start();
        check!(started.is_ok(), "{started:?}");
        worker.dawdle();
        if after {
            worker.begin(What::Cancel, 0);
            timer.cancel();
        }
        while worker.wait(&*timer, Patience::Any).is_none() {}
        let fired = fired.load(Relaxed);
        let expected = match (before, after) {
            (true, _) => fired == 0,
            (false, true) => fired <= 1,
            (false, false) => fired == 1,
        };
        check!(expected, "fired {fired} times: {before}, {after}");
        check!(timer.finished().is_set(), "neither fired nor cancelled");
    }

    /// An object with values in several threads, dropped while they end.
    fn forget(&self, worker: &mut Worker) {
        worker.begin(What::Local, 0);
        let local: Arc<Local<Counted>> = Arc::new(Local::new(Counted::new));
        local.with(|_| ());
        let threads: Vec<_> = (0..1 + worker.rng.below(2))
            .map(|_| {
                let local = local.clone();
                let replaces = worker.rng.one_in(2);
                self.start(worker, move || {
                    local.with(|_| ());
                    if replaces {
                        let before = local.replace(Counted::new());
                        check!(matches!(before, Ok(Some(_))), "no value");
                    }
                })
            })
            .collect();
        if worker.rng.one_in(2) {
            let own = local.take();
            check!(matches!(own, Ok(Some(_))), "no value");
        }
        drop(local);
        threads.iter().for_each(|thread| self.join(worker, thread));
    }

    fn look_round(&self, worker: &mut Worker) {
        worker.begin(What::Registry, 0);
        let own = current_thread();
        let listed = enumerate();
        check!(listed.contains(&own), "not listed: {}", own.name());
        check!(listed.contains(&main_thread()), "main is not listed");
        check!(own.ident() == Some(get_ident()), "not its ident");
        check!(active_count() >= 2, "there are main and this one");
        check!(!main_thread().is_current(), "this is not main");
        check!(own.join().is_err(), "it joined itself");
    }
}

impl Arena for Threads {
    fn work(&self, worker: &mut Worker) {
        while !worker.is_over() {
            match worker.rng.below(16) {
                0..5 => self.live(worker),
                5..9 => self.die(worker),
                9 => self.return_something(worker),
                10 => self.borrow(worker),
                11 | 12 => self.time(worker),
                13 | 14 => self.forget(worker),
                _ => self.look_round(worker),
            }
        }
        worker.see_off(&self.left, || ());
    }

    fn check(&mut self) {
        let (started, ran) = (*self.started.get_mut(), self.ran.load(Relaxed));
        check!(started == ran, "{ran} of {started} threads ran");
        self.locals = Arc::new(Local::new(Counted::new)); // drops the old one, with its values
        let (made, dropped) = (MADE.load(Relaxed), DROPPED.load(Relaxed));
        check!(made == dropped, "of {made} values {dropped} were dropped");
        let (panicked, reported) = (PANICKED.load(Relaxed), REPORTED.load(Relaxed));
        check!(panicked == reported, "{reported} of {panicked} panics told");
        let estate = Arc::get_mut(&mut self.estate);
        check!(estate.is_some(), "a target was not dropped");
        let Some(estate) = estate else { return };
        check!(!estate.lock.locked(), "a lock is left");
        check!(estate.permits.value() == 2, "a permit is lost");
        check!(!estate.mutex.is_locked(), "a mutex is left");
        check!(!estate.monitor.is_locked(), "a monitor is left");
    }

    fn survive(&self) {
        let alone = (active_count(), enumerate().len());
        check!(
            alone == (1, 1),
            "{alone:?} threads, and the caller is alone"
        );
        check!(main_thread().is_current(), "the caller is main");
        let thread = Thread::new(|| ());
        check!(thread.start().is_ok() && thread.join().is_ok(), "no thread");
        let timer = Timer::new(Duration::from_micros(10), || ());
        check!(timer.start().is_ok() && timer.join().is_ok(), "no timer");
        check!(timer.finished().is_set(), "it did not fire");
        let number = spawn(|| 17).join();
        check!(matches!(number, Ok(17)), "no result");
        check!(self.locals.with(|own| own.0) == get_ident(), "not its own");
    }
}
