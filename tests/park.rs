//! `park` and `unpark`, `sleep_until` and its kin.

#![cfg(not(threadbare_model))]

mod common;

use common::forked::in_child;
use common::pthread::Pthread;
use common::{
    LONG, SHORT, TOO_LONG, after, futex_of, is_asleep, tells_futexes, until, wake_for_nothing,
    watchdog,
};
use nix::libc::{self, c_int};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use threadbare::{
    Deadline, Error, Event, JoinHandle, Thread, current_thread, get_native_id, park,
    park_interruptible, park_timeout, park_until, sleep_interruptible, sleep_until, spawn,
};

/// Takes the token, if it is there.
fn has_token() -> bool {
    park_until(Deadline::now())
}

/// Starts a thread and returns once it sleeps.
fn asleep<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let handle = spawn(body);
    let tid = handle.thread().native_id().unwrap();
    until(|| is_asleep(tid));
    handle
}

// The token.

#[test]
fn a_token_that_came_before_is_taken_at_once_and_is_one() {
    let _watchdog = watchdog();
    let checked = spawn(|| {
        assert!(!has_token());
        current_thread().unpark();
        current_thread().unpark();
        park();
        assert!(!has_token(), "there is one at a time");
        current_thread().unpark();
        assert_eq!(park_timeout(Duration::ZERO), Ok(true));
        current_thread().unpark();
        assert_eq!(park_timeout(LONG), Ok(true));
        current_thread().unpark();
        assert_eq!(park_interruptible(Deadline::NEVER), Ok(true));
        current_thread().unpark();
        assert!(park_until(Deadline::NEVER));
        assert!(!has_token());
    });
    checked.join().unwrap();
}

#[test]
fn unpark_ends_each_form() {
    let _watchdog = watchdog();
    let forms: [fn() -> bool; 6] = [
        || {
            park();
            true
        },
        || park_timeout(LONG).unwrap(),
        || park_until(after(LONG)),
        || park_until(Deadline::NEVER),
        || park_interruptible(after(LONG)).unwrap(),
        || park_interruptible(Deadline::NEVER).unwrap(),
    ];
    for form in forms {
        let handle = asleep(move || (form(), has_token()));
        handle.thread().unpark();
        assert_eq!(handle.join().unwrap(), (true, false));
    }
}

#[test]
fn without_a_token_the_forms_give_up() {
    let _watchdog = watchdog();
    let checked = spawn(|| {
        assert_eq!(park_timeout(SHORT), Ok(false));
        assert_eq!(park_timeout(Duration::ZERO), Ok(false));
        assert!(!park_until(after(SHORT)) && !park_until(Deadline::now()));
        assert_eq!(park_interruptible(after(SHORT)), Ok(false));
        current_thread().unpark();
        assert_eq!(park_timeout(TOO_LONG), Err(Error::TimeoutTooLarge));
        assert!(has_token(), "after an error all is as before");
    });
    checked.join().unwrap();
}

#[test]
fn a_token_is_kept_until_the_start_and_means_nothing_after_the_end() {
    let _watchdog = watchdog();
    let had = Arc::new(AtomicBool::new(false));
    let thread = Thread::new({
        let had = had.clone();
        move || had.store(has_token(), Relaxed)
    });
    thread.unpark();
    thread.start().unwrap();
    thread.join().unwrap();
    assert!(had.load(Relaxed));
    thread.unpark();
    assert!(!thread.is_alive());
}

#[test]
fn mem_park_sees_what_was_before_unpark() {
    let _watchdog = watchdog();
    let value = Arc::new(AtomicU32::new(0));
    let handle = spawn({
        let value = value.clone();
        move || {
            park();
            value.load(Relaxed)
        }
    });
    value.store(1, Relaxed);
    handle.thread().unpark();
    assert_eq!(handle.join().unwrap(), 1);
}

#[test]
fn park_returns_for_a_token_only() {
    let _watchdog = watchdog();
    let handle = asleep(|| {
        park();
        has_token()
    });
    let tid = handle.thread().native_id().unwrap();
    if tells_futexes() {
        for _ in 0..100 {
            until(|| is_asleep(tid));
            if let Some(word) = futex_of(tid) {
                wake_for_nothing(word);
            }
        }
    }
    until(|| is_asleep(tid));
    assert!(!handle.is_finished());
    handle.thread().unpark();
    assert!(!handle.join().unwrap());
}

#[test]
fn it_is_not_the_token_of_std() {
    let _watchdog = watchdog();
    let handles = Arc::new(Mutex::new(None));
    let handle = asleep({
        let handles = handles.clone();
        move || {
            *handles.lock().unwrap() = Some(std::thread::current());
            park();
            std::thread::park(); // whose token is there
        }
    });
    let of_std = handles.lock().unwrap().take().unwrap();
    of_std.unpark();
    let tid = handle.thread().native_id().unwrap();
    until(|| is_asleep(tid));
    assert!(!handle.is_finished());
    handle.thread().unpark();
    handle.join().unwrap();
}

#[test]
fn threads_of_others_park_too() {
    let _watchdog = watchdog();
    let told = Arc::new(Mutex::new(None));
    let body = {
        let told = told.clone();
        move || {
            *told.lock().unwrap() = Some((current_thread(), get_native_id()));
            park();
        }
    };
    let pthread = Pthread::start(body.clone());
    for join in [
        Box::new(move || pthread.join()) as Box<dyn FnOnce()>,
        Box::new(move || std::thread::spawn(body).join().unwrap()),
    ] {
        let told = &told;
        std::thread::scope(|s| {
            s.spawn(move || {
                until(|| told.lock().unwrap().is_some());
                let (thread, tid) = told.lock().unwrap().take().unwrap();
                until(|| is_asleep(tid));
                thread.unpark();
            });
            join();
        });
    }
}

#[test]
fn two_threads_hand_turns_over_and_lose_none() {
    let _watchdog = watchdog();
    const TURNS: usize = 20_000;
    let turn = Arc::new(AtomicUsize::new(0));
    let main = current_thread();
    let other = spawn({
        let turn = turn.clone();
        move || {
            for number in 0..TURNS {
                park();
                assert_eq!(turn.load(Relaxed), 2 * number + 1);
                turn.store(2 * number + 2, Relaxed);
                main.unpark();
            }
        }
    });
    for number in 0..TURNS {
        turn.store(2 * number + 1, Relaxed);
        other.thread().unpark();
        park();
        assert_eq!(turn.load(Relaxed), 2 * number + 2);
    }
    other.join().unwrap();
}

// Signals.

/// The thread that [`unparks`] unparks.
static PARKED: AtomicPtr<Thread> = AtomicPtr::new(std::ptr::null_mut());
static HANDLED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn counts(_: c_int) {
    HANDLED.fetch_add(1, SeqCst);
}

extern "C" fn unparks(_: c_int) {
    // SAFETY: null, or a thread that the test has leaked.
    if let Some(thread) = unsafe { PARKED.load(SeqCst).as_ref() } {
        thread.unpark();
    }
    HANDLED.fetch_add(1, SeqCst);
}

/// Installs the handlers, for one test at a time.
fn handlers() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let install = |signal, handler: extern "C" fn(c_int), flags| {
        let action = SigAction::new(SigHandler::Handler(handler), flags, SigSet::empty());
        // SAFETY: the handlers do only what is async-signal-safe.
        unsafe { sigaction(signal, &action) }.unwrap();
    };
    install(Signal::SIGUSR1, counts, SaFlags::empty());
    install(Signal::SIGUSR2, counts, SaFlags::SA_RESTART);
    install(Signal::SIGURG, unparks, SaFlags::SA_RESTART);
    alone
}

/// Sends a signal to a thread that sleeps, and returns when its handler has run.
fn disturb(tid: u32, signal: Signal) {
    until(|| is_asleep(tid));
    let before = HANDLED.load(SeqCst);
    let (process, thread) = (std::process::id() as c_int, tid as c_int);
    // SAFETY: tgkill touches no memory of ours.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, process, thread, signal as c_int) };
    assert_eq!(sent, 0);
    until(|| HANDLED.load(SeqCst) > before);
}

#[test]
fn sig_2_signals_end_neither_park_nor_sleep() {
    let (_watchdog, _alone) = (watchdog(), handlers());
    let parked = asleep(park);
    let timed = asleep(|| park_until(after(LONG)));
    let sleeping = asleep(|| sleep_until(after(LONG))); // a daemon, which stays asleep
    for handle in [parked.thread(), timed.thread(), sleeping.thread()] {
        let tid = handle.native_id().unwrap();
        for signal in [Signal::SIGUSR1, Signal::SIGUSR2] {
            disturb(tid, signal);
        }
        until(|| is_asleep(tid));
        assert!(handle.is_alive());
    }
    parked.thread().unpark();
    timed.thread().unpark();
    parked.join().unwrap();
    assert!(timed.join().unwrap());
}

#[test]
fn sig_4_and_5_signals_end_the_interruptible_forms() {
    let (_watchdog, _alone) = (watchdog(), handlers());
    for signal in [Signal::SIGUSR1, Signal::SIGUSR2] {
        for deadline in [after(LONG), Deadline::NEVER] {
            let parked = asleep(move || (park_interruptible(deadline), has_token()));
            disturb(parked.thread().native_id().unwrap(), signal);
            assert_eq!(parked.join().unwrap(), (Err(Error::Interrupted), false));
            let sleeping = asleep(move || sleep_interruptible(deadline));
            disturb(sleeping.thread().native_id().unwrap(), signal);
            assert_eq!(sleeping.join().unwrap(), Err(Error::Interrupted));
        }
    }
}

#[test]
fn a_signal_handler_may_unpark_the_thread_that_it_interrupts() {
    let (_watchdog, _alone) = (watchdog(), handlers());
    let forms: [fn() -> Result<bool, Error>; 2] = [
        || {
            park();
            Ok(true)
        },
        || park_interruptible(Deadline::NEVER),
    ];
    for form in forms {
        let parked = asleep(form);
        PARKED.store(Box::into_raw(Box::new(parked.thread().clone())), SeqCst);
        disturb(parked.thread().native_id().unwrap(), Signal::SIGURG);
        assert_eq!(parked.join().unwrap(), Ok(true));
        PARKED.store(std::ptr::null_mut(), SeqCst);
    }
}

// Forks.

#[test]
fn fork_a_child_has_a_token_of_its_own() {
    let _watchdog = watchdog();
    let checked = spawn(|| {
        let me = current_thread();
        me.unpark();
        in_child(|| {
            assert!(has_token(), "it was given before the fork");
            let me = current_thread();
            let other = spawn(move || me.unpark());
            park();
            other.join().unwrap();
            assert!(!has_token());
        });
        assert!(has_token(), "the child has taken its own");
        in_child(|| assert!(!has_token()));
        in_child(|| me.unpark());
        assert!(!has_token(), "the child has given its own");
    });
    checked.join().unwrap();
}

#[test]
fn fork_threads_that_are_parked_in_the_parent_do_not_disturb_the_child() {
    let _watchdog = watchdog();
    let parked = asleep(park);
    in_child(|| {
        parked.thread().unpark(); // which is not there
        let again = asleep(park);
        again.thread().unpark();
        again.join().unwrap();
    });
    let tid = parked.thread().native_id().unwrap();
    until(|| is_asleep(tid));
    assert!(!parked.is_finished());
    parked.thread().unpark();
    parked.join().unwrap();
}

// Sleep.

#[test]
fn time_sleep_lasts_until_the_deadline_and_no_longer_where_that_has_passed() {
    let _watchdog = watchdog();
    for sleep in [
        (|deadline| sleep_until(deadline)) as fn(Deadline),
        |deadline| sleep_interruptible(deadline).unwrap(),
    ] {
        let deadline = after(SHORT);
        sleep(deadline);
        assert!(deadline.has_passed());
        sleep(deadline);
        sleep(Deadline::now());
    }
}

#[test]
fn time_5_a_sleep_until_never_does_not_end() {
    let _watchdog = watchdog();
    let is_past = Arc::new(Event::new());
    let handle = asleep({
        let is_past = is_past.clone();
        move || {
            sleep_until(Deadline::NEVER);
            is_past.set();
        }
    });
    let tid = handle.thread().native_id().unwrap();
    if let Some(word) = futex_of(tid) {
        wake_for_nothing(word);
    }
    until(|| is_asleep(tid));
    assert!(!is_past.is_set()); // a daemon, left behind
}
