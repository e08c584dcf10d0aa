//! Signals (SIG).
#![cfg(not(threadbare_model))]

mod common;

use common::typed::{CondvarOn, Watched};
use common::waiting::{Waits, inside, interruptible, plain, waiting};
use common::{
    Acquire, LONG, Rng, Several, Tid, Worker, after, check_taken_when_free, is_asleep, spawn,
    threads, until, watchdog,
};
use nix::libc::{self, c_int};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};
use threadbare::{
    BoundedSemaphore, Condition, Condvar, Deadline, Error, ErrorKind, Event, Lock, Monitor, Mutex,
    RLock, Semaphore, Thread,
};

/// A signal whose handler counts, without and with `SA_RESTART`.
const PLAIN: Signal = Signal::SIGUSR1;
const RESTART: Signal = Signal::SIGUSR2;
/// Signals whose handlers set `FLAG` and release a permit of `PERMITS`.
const SETS: Signal = Signal::SIGURG;
const RELEASES: Signal = Signal::SIGWINCH;

static HANDLED: AtomicUsize = AtomicUsize::new(0);
static FLAG: Event = Event::new();
static PERMITS: Semaphore = Semaphore::new(0);

extern "C" fn count(_: c_int) {
    HANDLED.fetch_add(1, SeqCst);
}

extern "C" fn set(_: c_int) {
    FLAG.set();
    HANDLED.fetch_add(1, SeqCst);
}

extern "C" fn release(_: c_int) {
    let _ = PERMITS.release();
    HANDLED.fetch_add(1, SeqCst);
}

/// Installs the handlers and keeps the other tests of this file out: the handlers are shared.
fn handlers() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let alone = ALONE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let none = SaFlags::empty();
    let install = |signal, handler: extern "C" fn(c_int), flags| {
        let action = SigAction::new(SigHandler::Handler(handler), flags, SigSet::empty());
        // SAFETY: the handlers do only what is async-signal-safe.
        unsafe { sigaction(signal, &action) }.unwrap();
    };
    install(PLAIN, count, none);
    install(RESTART, count, SaFlags::SA_RESTART);
    install(SETS, set, none);
    install(RELEASES, release, none);
    HANDLED.store(0, SeqCst);
    alone
}

/// Sends `signal` to the thread; whether it is still there.
fn send(tid: u32, signal: Signal) -> bool {
    let (process, tid) = (std::process::id() as c_int, tid as c_int);
    // SAFETY: tgkill touches no memory of ours.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, process, tid, signal as c_int) };
    sent == 0
}

/// Sends `signal` to a thread that sleeps, and returns when its handler has run.
#[track_caller]
fn disturb<R>(worker: &Worker<'_, R>, signal: Signal) {
    worker.until_asleep();
    let before = HANDLED.load(SeqCst);
    assert!(send(worker.tid(), signal));
    until(|| HANDLED.load(SeqCst) > before);
}

/// The caller holds `it`; plain forms in another thread go on waiting after signals, and get it.
#[track_caller]
fn plain_forms_go_on(it: &dyn Acquire) {
    let forms: [fn(&dyn Acquire); 4] = [
        |it| it.acquire(),
        |it| assert!(it.acquire_timeout(LONG).unwrap()),
        |it| assert!(it.acquire_until(after(LONG))),
        |it| assert!(it.acquire_until(Deadline::NEVER)),
    ];
    for form in forms {
        thread::scope(|s| {
            let waiter = spawn(s, move || {
                form(it);
                it.release().unwrap();
            });
            for _ in 0..5 {
                disturb(&waiter, PLAIN);
                disturb(&waiter, RESTART);
            }
            waiter.until_asleep();
            assert!(!waiter.is_finished());
            it.release().unwrap();
            waiter.join();
            it.acquire();
        });
    }
}

/// The caller holds `it`; an interruptible acquire in another thread ends with a signal, whatever
/// its handler's flags, and changes nothing.
#[track_caller]
fn interruptible_forms_end(it: &dyn Acquire) {
    for signal in [PLAIN, RESTART] {
        for deadline in [Deadline::NEVER, after(LONG)] {
            thread::scope(|s| {
                let waiter = spawn(s, move || it.acquire_interruptible(deadline));
                // One that only waits must not be harmed by the other's leaving.
                let other = spawn(s, || {
                    it.acquire();
                    it.release().unwrap();
                });
                other.until_asleep();
                disturb(&waiter, signal);
                assert_eq!(waiter.join(), Err(Error::Interrupted));
                assert!(!other.is_finished());
                threads(1, |_| assert!(!it.try_acquire(), "still held"));
                it.release().unwrap();
                other.join();
            });
            check_taken_when_free(it);
            it.acquire();
        }
    }
}

/// Runs `check` with something of each kind, which the caller holds.
fn each_held(check: fn(&dyn Acquire)) {
    let monitor = Monitor::new(());
    let of_each_kind: [&dyn Acquire; 10] = [
        &Lock::new(),
        &RLock::new(),
        &Condition::new(),
        &Condition::with_lock(Lock::new()),
        &Semaphore::new(1),
        &BoundedSemaphore::new(1),
        &Several(Semaphore::new(3), 3),
        &Several(BoundedSemaphore::new(3), 3),
        &Mutex::new(()),
        &Watched::new(&monitor),
    ];
    for it in of_each_kind {
        it.acquire();
        check(it);
        it.release().unwrap();
    }
}

#[test]
fn sig_2_3_and_5_plain_acquires_go_on_after_handlers_with_and_without_sa_restart() {
    let _watchdog = watchdog();
    let _handlers = handlers();
    each_held(plain_forms_go_on);
}

#[test]
fn sig_1_and_4_interruptible_acquires_report_a_signal_and_take_nothing() {
    let _watchdog = watchdog();
    let _handlers = handlers();
    each_held(interruptible_forms_end);
    assert_eq!(Error::Interrupted.kind(), ErrorKind::Os);
}

#[test]
fn sig_4_permits_are_conserved_by_interruptions() {
    let _watchdog = watchdog();
    let _handlers = handlers();
    let semaphore = Semaphore::new(2);
    for signal in [PLAIN, RESTART] {
        thread::scope(|s| {
            let waiters = [3, 4, 5].map(|n| {
                let semaphore = &semaphore;
                spawn(s, move || {
                    semaphore.acquire_n_interruptible(n, Deadline::NEVER)
                })
            });
            for waiter in &waiters {
                waiter.until_asleep_in(&semaphore);
            }
            for (waiter, left) in waiters.into_iter().zip([2, 1, 0]) {
                disturb(&waiter, signal);
                assert_eq!(waiter.join(), Err(Error::Interrupted));
                assert_eq!((semaphore.value(), semaphore.waiters()), (2, left));
            }
        });
    }
    assert_eq!(semaphore.try_acquire_n(2), Ok(true));
}

#[test]
fn sig_2_and_3_plain_event_waits_go_on() {
    let _watchdog = watchdog();
    let _handlers = handlers();
    let forms: [fn(&Event); 4] = [
        |event| event.wait(),
        |event| assert!(event.wait_timeout(LONG).unwrap()),
        |event| assert!(event.wait_until(after(LONG))),
        |event| assert!(event.wait_until(Deadline::NEVER)),
    ];
    let event = Event::new();
    for form in forms {
        thread::scope(|s| {
            let waiter = spawn(s, || form(&event));
            for _ in 0..5 {
                disturb(&waiter, PLAIN);
                disturb(&waiter, RESTART);
            }
            waiter.until_asleep_in(&event);
            assert!(!waiter.is_finished());
            event.set();
            waiter.join();
            event.clear();
        });
    }
}

#[test]
fn sig_4_interruptible_event_waits_end() {
    let _watchdog = watchdog();
    let _handlers = handlers();
    let event = Event::new();
    for signal in [PLAIN, RESTART] {
        for deadline in [Deadline::NEVER, after(LONG)] {
            thread::scope(|s| {
                let waiter = spawn(s, || event.wait_interruptible(deadline));
                let other = spawn(s, || event.wait());
                other.until_asleep_in(&event);
                disturb(&waiter, signal);
                assert_eq!(waiter.join(), Err(Error::Interrupted));
                assert!(!event.is_set() && !other.is_finished());
                event.set();
                other.join();
                event.clear();
            });
        }
    }
}

fn waits_with_signals<W: Waits>(it: &W) {
    // Plain forms go on and are still queued.
    for (name, form) in plain() {
        thread::scope(|s| {
            let waiter = spawn(s, move || {
                let _inside = inside(it);
                form(it)
            });
            until(|| waiting(it) == 1);
            for _ in 0..5 {
                disturb(&waiter, PLAIN);
                disturb(&waiter, RESTART);
            }
            waiter.until_asleep();
            assert!(!waiter.is_finished(), "{name}");
            it.enter();
            assert_eq!(it.notify_one(), 1, "{name}");
            it.leave();
            assert!(waiter.join(), "{name}");
        });
    }
    // Interruptible ones end, hold the lock again and have left the queue.
    for signal in [PLAIN, RESTART] {
        for form in interruptible() {
            thread::scope(|s| {
                let first = spawn(s, move || {
                    it.enter();
                    let result = form(it);
                    assert!(it.is_locked());
                    assert_eq!(it.waiting(), 1, "only the other one");
                    it.leave();
                    result
                });
                until(|| waiting(it) == 1);
                let second = spawn(s, || {
                    let _inside = inside(it);
                    it.wait();
                });
                until(|| waiting(it) == 2);
                disturb(&first, signal);
                assert_eq!(first.join(), Err(Error::Interrupted));
                // The notify goes to the one that is left.
                it.enter();
                assert_eq!(it.notify_all(), 1);
                it.leave();
                second.join();
            });
        }
    }
    assert!(!it.is_locked() && waiting(it) == 0);
}

/// Runs a check with all that waits in its own way.
macro_rules! on_each_that_waits {
    ($check:ident) => {{
        $check(&Condition::new());
        $check(&Condition::with_lock(Lock::new()));
        $check(&Condition::with_lock(&RLock::new()));
        $check(&Watched::new(&Monitor::new(())));
        $check(&CondvarOn {
            mutex: &Mutex::new(()),
            condvar: &Condvar::new(),
        });
    }};
}

#[test]
fn sig_3_and_4_a_condition_wait_that_is_interrupted_holds_the_lock_and_is_not_queued() {
    let _watchdog = watchdog();
    let _handlers = handlers();
    on_each_that_waits!(waits_with_signals);
}

#[test]
fn sig_3_an_interrupted_wait_restores_the_depth() {
    let _watchdog = watchdog();
    let _handlers = handlers();
    let lock = RLock::new();
    let condition = Condition::with_lock(&lock);
    thread::scope(|s| {
        let waiter = spawn(s, || {
            (0..3).for_each(|_| lock.acquire());
            let result = condition.wait_interruptible(Deadline::NEVER);
            assert_eq!(lock.recursion_count(), 3);
            (0..3).for_each(|_| lock.release().unwrap());
            result
        });
        disturb(&waiter, RESTART);
        assert_eq!(waiter.join(), Err(Error::Interrupted));
    });
    assert!(!lock.locked());
}

#[test]
fn sig_3_join_goes_on_or_is_interrupted() {
    let _watchdog = watchdog();
    let _handlers = handlers();
    static GO: Event = Event::new();
    let thread = Thread::new(|| GO.wait());
    thread.start().unwrap();
    thread::scope(|s| {
        for signal in [PLAIN, RESTART] {
            let joiner = spawn(s, || thread.join_interruptible(Deadline::NEVER));
            disturb(&joiner, signal);
            assert_eq!(joiner.join(), Err(Error::Interrupted));
        }
        let joiner = spawn(s, || thread.join_until(after(LONG)));
        disturb(&joiner, PLAIN);
        disturb(&joiner, RESTART);
        joiner.until_asleep();
        GO.set();
        assert_eq!(joiner.join(), Ok(true));
    });
}

#[test]
fn sig_6_forty_signals_do_not_stretch_or_cut_half_a_second() {
    let _watchdog = watchdog();
    let _handlers = handlers();
    let (lock, rlock, event) = (Lock::new(), RLock::new(), Event::new());
    let (semaphore, condition) = (Semaphore::new(0), Condition::new());
    lock.acquire();
    rlock.acquire();
    let timeout = Duration::from_millis(500);
    let timed = |wait: &dyn Fn() -> bool| {
        let start = Instant::now();
        (wait(), start.elapsed())
    };
    thread::scope(|s| {
        let waiters = [
            spawn(s, || timed(&|| lock.acquire_timeout(timeout).unwrap())),
            spawn(s, || timed(&|| rlock.acquire_timeout(timeout).unwrap())),
            spawn(s, || timed(&|| event.wait_timeout(timeout).unwrap())),
            spawn(s, || timed(&|| semaphore.acquire_timeout(timeout).unwrap())),
            spawn(s, || {
                let _guard = condition.guard();
                timed(&|| condition.wait_timeout(timeout).unwrap())
            }),
        ];
        // Spread over the time of the waits.
        let begun = Instant::now();
        for round in 1..=40 {
            for waiter in &waiters {
                send(waiter.tid(), PLAIN);
            }
            until(|| begun.elapsed() >= Duration::from_millis(12) * round);
        }
        for waiter in waiters {
            let (result, took) = waiter.join();
            assert!(!result);
            assert!(took >= timeout && took < Duration::from_secs(2), "{took:?}");
        }
    });
    assert!(HANDLED.load(SeqCst) > 0);
}

#[test]
fn sig_a_handler_may_set_an_event_that_its_own_thread_waits_for() {
    let _watchdog = watchdog();
    let _handlers = handlers();
    for _ in 0..300 {
        FLAG.clear();
        thread::scope(|s| {
            let waiter = spawn(s, || FLAG.wait());
            let other = spawn(s, || FLAG.wait_timeout(LONG));
            other.until_asleep_in(&FLAG);
            waiter.until_asleep_in(&FLAG);
            send(waiter.tid(), SETS);
            waiter.join();
            assert_eq!(other.join(), Ok(true));
        });
    }
    FLAG.clear();
}

#[test]
fn sig_a_handler_may_release_permits_that_its_own_thread_waits_for() {
    let _watchdog = watchdog();
    let _handlers = handlers();
    for _ in 0..300 {
        thread::scope(|s| {
            let waiter = spawn(s, || PERMITS.acquire());
            waiter.until_asleep_in(&PERMITS);
            send(waiter.tid(), RELEASES);
        });
        assert_eq!((PERMITS.value(), PERMITS.waiters()), (0, 0));
    }
}

#[test]
fn sig_a_storm_of_handlers_that_release_conserves_the_permits() {
    let _watchdog = watchdog();
    let _handlers = handlers();
    const SIGNALS: usize = 2_000;
    let (taken, given) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let done = Event::new();
    let tids = [const { Tid::new() }; 3];
    thread::scope(|s| {
        for tid in &tids {
            let (taken, given, done) = (&taken, &given, &done);
            s.spawn(move || {
                let mut rng = Rng::new();
                tid.is_mine();
                while !done.is_set() {
                    // Handlers run in the middle of these, on the same semaphore.
                    let came = match rng.below(3) {
                        0 => PERMITS.acquire_timeout(rng.timeout()),
                        1 => PERMITS.acquire_interruptible(after(rng.timeout())),
                        _ => {
                            let came = PERMITS.acquire_n_timeout(2, rng.timeout());
                            taken.fetch_add(usize::from(came == Ok(true)), SeqCst);
                            came
                        }
                    };
                    taken.fetch_add(usize::from(came == Ok(true)), SeqCst);
                    if rng.below(2) == 0 {
                        PERMITS.release().unwrap();
                        given.fetch_add(1, SeqCst);
                    }
                }
            });
        }
        for signal in 1..=SIGNALS {
            send(tids[signal % tids.len()].get(), RELEASES);
            until(|| HANDLED.load(SeqCst) == signal);
        }
        done.set();
    });
    let given = given.into_inner() + SIGNALS;
    assert_eq!(PERMITS.value() as usize, given - taken.into_inner());
    assert_eq!(PERMITS.waiters(), 0);
    while PERMITS.try_acquire() {}
}

#[test]
fn lock_12_and_sig_4_a_wake_is_not_lost_to_a_waiter_that_is_interrupted() {
    let _watchdog = watchdog();
    let _handlers = handlers();
    let (lock, semaphore) = (Lock::new(), Semaphore::new(0));
    lock.acquire();
    for _ in 0..100 {
        thread::scope(|s| {
            let on_lock = spawn(s, || lock.acquire_interruptible(Deadline::NEVER));
            let on_semaphore = spawn(s, || semaphore.acquire_interruptible(Deadline::NEVER));
            on_lock.until_asleep_in(&lock);
            on_semaphore.until_asleep_in(&semaphore);
            let patient = spawn(s, || lock.acquire());
            patient.until_asleep_in(&lock);
            // Signal and wake race; whoever is left gets what was released.
            send(on_lock.tid(), PLAIN);
            lock.release().unwrap();
            send(on_semaphore.tid(), PLAIN);
            semaphore.release().unwrap();
            if on_lock.join() == Ok(true) {
                lock.release().unwrap();
            }
            patient.join();
            match on_semaphore.join() {
                Ok(true) => assert_eq!(semaphore.value(), 0),
                interrupted => {
                    assert_eq!(interrupted, Err(Error::Interrupted));
                    assert!(semaphore.try_acquire());
                }
            }
        });
        assert!(lock.locked() && semaphore.waiters() == 0);
    }
}

#[test]
fn cond_16_and_sig_4_a_notify_is_not_lost_to_a_waiter_that_is_interrupted() {
    let _watchdog = watchdog();
    let _handlers = handlers();
    on_each_that_waits!(notify_races_signals);
}

fn notify_races_signals<W: Waits>(it: &W) {
    let mut notified = 0;
    let mut returned = 0;
    for round in 0..100 {
        thread::scope(|s| {
            let waiter = spawn(s, || {
                let _inside = inside(it);
                it.wait_interruptible(Deadline::NEVER)
            });
            until(|| waiting(it) == 1);
            let tid = waiter.tid();
            until(|| is_asleep(tid));
            it.enter();
            if round % 2 == 0 {
                send(tid, PLAIN);
                notified += it.notify_one();
            } else {
                notified += it.notify_one();
                send(tid, PLAIN);
            }
            it.leave();
            match waiter.join() {
                Ok(came) => returned += usize::from(came),
                Err(error) => assert_eq!(error, Error::Interrupted),
            }
        });
    }
    assert_eq!(returned, notified, "each notify is one wait that says so");
}
