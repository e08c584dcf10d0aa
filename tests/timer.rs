//! `Timer` (TMR, TIME-7's row of it, THR-4).

#![cfg(not(threadbare_model))]

mod child;
mod common;

use child::in_child;
use common::witness::{OnDrop, Witness, run};
use common::{LONG, TOO_LONG, threads, until, watchdog};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use threadbare::{
    Error, Event, TIMEOUT_MAX, Thread, Timer, current_thread, enumerate, get_ident, set_excepthook,
};

const SOON: Duration = Duration::from_millis(20);

const _: () = {
    const fn shared<T: Send + Sync + Clone>() {}
    shared::<Timer>();
};

/// Counts calls.
#[derive(Clone, Default)]
struct Calls(Arc<AtomicU32>);

impl Calls {
    /// A function that counts its call.
    fn function(&self) -> impl FnOnce() + Send + 'static {
        let calls = self.0.clone();
        move || {
            calls.fetch_add(1, Relaxed);
        }
    }

    fn count(&self) -> u32 {
        self.0.load(Relaxed)
    }
}

/// Returns once the timer's thread sleeps.
fn until_it_waits(timer: &Timer) {
    let tid = timer.native_id().unwrap();
    until(|| common::is_asleep(tid));
}

#[test]
fn tmr_1_a_timer_is_a_thread() {
    let _watchdog = watchdog();
    let timer = Timer::new(None, || ());
    assert_eq!(timer.join(), Err(Error::NotStarted));
    assert_eq!(timer.ident(), None);
    timer.set_name("alarm");
    timer.set_daemon(true).unwrap();
    timer.start().unwrap();
    assert_eq!(timer.start(), Err(Error::AlreadyStarted));
    assert_eq!(timer.set_daemon(false), Err(Error::DaemonAfterStart));
    assert_eq!(timer.join_timeout(Duration::ZERO), Ok(false));
    let thread: &Thread = &timer;
    assert!(thread.is_alive() && enumerate().contains(thread));
    assert_eq!(timer.name(), "alarm");
    timer.cancel();
    timer.join().unwrap();
    assert!(!timer.is_alive() && !enumerate().contains(&timer));
}

#[test]
fn tmr_1_and_thr_6_a_timer_is_a_daemon_if_its_maker_is() {
    let _watchdog = watchdog();
    assert!(
        Timer::new(None, || ()).daemon(),
        "a test's thread is foreign"
    );
    for daemon in [false, true] {
        let witness = Witness::default();
        let maker = Thread::builder()
            .daemon(daemon)
            .target(witness.watch(move || assert_eq!(Timer::new(None, || ()).daemon(), daemon)));
        witness.join(&maker.spawn().unwrap());
    }
}

#[test]
fn thr_4_timers_count_with_threads_and_never_name_their_function() {
    let _watchdog = watchdog();
    in_child(
        "thr_4_timers_count_with_threads_and_never_name_their_function",
        || {
            fn function() {}
            assert_eq!(Thread::new(|| ()).name(), "Thread-1");
            assert_eq!(Timer::new(None, function).name(), "Thread-2");
            assert_eq!(Thread::new(|| ()).name(), "Thread-3");
        },
    );
}

#[test]
fn tmr_2_the_function_runs_once_in_the_timers_thread_after_the_interval() {
    let _watchdog = watchdog();
    let ran = Arc::new((AtomicU32::new(0), AtomicU64::new(0), Mutex::new(None)));
    let timer = Timer::new(SOON, {
        let ran = ran.clone();
        move || {
            ran.0.fetch_add(1, Relaxed);
            ran.1.store(get_ident(), Relaxed);
            *ran.2.lock().unwrap() = Some(current_thread());
        }
    });
    // Measured from the start of the thread, not from the making of the timer.
    let made = Instant::now();
    until(|| made.elapsed() >= SOON);
    let start = Instant::now();
    timer.start().unwrap();
    timer.join().unwrap();
    assert!(start.elapsed() >= SOON);
    assert_eq!(ran.0.load(Relaxed), 1);
    assert_eq!(Some(ran.1.load(Relaxed)), timer.ident());
    assert_eq!(ran.2.lock().unwrap().as_ref(), Some(&*timer));
}

#[test]
fn tmr_3_a_cancelled_timer_ends_promptly_without_calling() {
    let _watchdog = watchdog();
    for interval in [Some(LONG), Some(TIMEOUT_MAX), None] {
        let calls = Calls::default();
        let timer = Timer::new(interval, calls.function());
        timer.start().unwrap();
        until_it_waits(&timer);
        timer.cancel();
        timer.join().unwrap();
        timer.cancel(); // any number of times
        assert_eq!(calls.count(), 0);
        assert!(timer.finished().is_set());
    }
}

#[test]
fn tmr_3_a_timer_cancelled_before_its_start_ends_at_once_without_calling() {
    let _watchdog = watchdog();
    for interval in [Some(Duration::ZERO), Some(LONG), None] {
        let calls = Calls::default();
        let timer = Timer::new(interval, calls.function());
        timer.cancel();
        timer.start().unwrap();
        timer.join().unwrap();
        assert_eq!(calls.count(), 0, "{interval:?}");
    }
}

#[test]
fn tmr_3_a_cancel_during_the_call_or_after_it_changes_nothing() {
    let _watchdog = watchdog();
    let (inside, go) = (Arc::new(Event::new()), Arc::new(Event::new()));
    let calls = Calls::default();
    let timer = Timer::new(Duration::ZERO, {
        let (inside, go, count) = (inside.clone(), go.clone(), calls.function());
        move || {
            inside.set();
            go.wait();
            count();
        }
    });
    timer.start().unwrap();
    inside.wait();
    assert!(!timer.finished().is_set(), "it is set after the call");
    timer.cancel();
    assert!(timer.is_alive());
    go.set();
    timer.join().unwrap();
    timer.cancel();
    assert_eq!(calls.count(), 1);
}

#[test]
fn tmr_3_any_thread_may_cancel_at_any_time_and_the_function_runs_at_most_once() {
    let _watchdog = watchdog();
    for round in 0..300 {
        let calls = Calls::default();
        let timer = Timer::new(Duration::from_micros(round % 7 * 30), calls.function());
        threads(4, |number| {
            if number == 0 {
                timer.start().unwrap();
            } else {
                timer.cancel();
                assert!(timer.finished().is_set());
            }
        });
        timer.join().unwrap();
        assert!(calls.count() <= 1);
    }
}

#[test]
fn tmr_3_the_function_of_a_timer_may_cancel_it() {
    let _watchdog = watchdog();
    let timer = Timer::new(Duration::ZERO, || ());
    timer.set_function({
        let timer = timer.clone();
        move || timer.cancel()
    });
    timer.start().unwrap();
    timer.join().unwrap();
    assert!(timer.finished().is_set());
}

#[test]
fn tmr_4_and_time_7_zero_is_at_once_none_is_never() {
    let _watchdog = watchdog();
    let calls = Calls::default();
    let timer = Timer::new(Duration::ZERO, calls.function());
    timer.start().unwrap();
    timer.join().unwrap();
    assert_eq!(calls.count(), 1);

    let timer = Timer::new(None, calls.function());
    timer.start().unwrap();
    until_it_waits(&timer);
    assert_eq!(timer.join_timeout(SOON), Ok(false));
    timer.cancel();
    timer.join().unwrap();
    assert_eq!(calls.count(), 1);
}

#[test]
fn tmr_4_and_time_7_too_large_an_interval_goes_to_the_excepthook_without_a_call() {
    let _watchdog = watchdog();
    in_child(
        "tmr_4_and_time_7_too_large_an_interval_goes_to_the_excepthook_without_a_call",
        || {
            static TOLD: Mutex<Vec<(String, Thread)>> = Mutex::new(Vec::new());
            drop(set_excepthook(|args| {
                let what = args.message().unwrap().to_owned();
                let told = (what, args.thread.unwrap().clone());
                TOLD.lock().unwrap().push(told);
            }));
            for interval in [TOO_LONG, Duration::MAX] {
                let calls = Calls::default();
                let timer = Timer::new(interval, calls.function());
                assert_eq!(timer.interval(), Some(interval), "the constructor takes it");
                timer.start().unwrap();
                timer.join().unwrap();
                assert_eq!(calls.count(), 0);
                assert!(!timer.finished().is_set());
                let told = std::mem::take(&mut *TOLD.lock().unwrap());
                assert_eq!(
                    told,
                    [(Error::TimeoutTooLarge.to_string(), (*timer).clone())]
                );
            }
        },
    );
}

#[test]
fn tmr_5_interval_and_function_are_read_when_they_are_needed() {
    let _watchdog = watchdog();
    let (first, second) = (Calls::default(), Calls::default());
    // The interval before the start, the function while it waits.
    let timer = Timer::new(LONG, first.function());
    timer.set_interval(SOON);
    assert_eq!(timer.interval(), Some(SOON));
    timer.start().unwrap();
    timer.set_function(second.function());
    timer.join().unwrap();
    assert_eq!((first.count(), second.count()), (0, 1));

    // The one who waits has read the interval already.
    let timer = Timer::new(LONG, first.function());
    timer.start().unwrap();
    until_it_waits(&timer);
    timer.set_interval(Duration::ZERO);
    assert_eq!(timer.join_timeout(SOON), Ok(false));
    timer.cancel();
    timer.join().unwrap();
    assert_eq!(first.count(), 0);
}

#[test]
fn tmr_5_a_replaced_function_is_dropped_at_once_and_may_use_the_timer() {
    let _watchdog = watchdog();
    let timer = Timer::new(None, || ());
    let part = OnDrop({
        let timer = timer.clone();
        move || timer.set_interval(SOON)
    });
    timer.set_function(move || drop(part));
    timer.set_function(|| ());
    assert_eq!(timer.interval(), Some(SOON));
}

#[test]
fn tmr_5_finished_can_be_waited_for() {
    let _watchdog = watchdog();
    let timer = Timer::new(SOON, || ());
    timer.start().unwrap();
    timer.finished().wait();
    timer.join().unwrap();
    // Setting it by hand is what `cancel` does.
    let calls = Calls::default();
    let timer = Timer::new(LONG, calls.function());
    timer.start().unwrap();
    timer.finished().set();
    timer.join().unwrap();
    assert_eq!(calls.count(), 0);
}

#[test]
fn tmr_6_finished_is_not_set_by_a_function_that_panics_and_the_hook_is_told() {
    let _watchdog = watchdog();
    in_child(
        "tmr_6_finished_is_not_set_by_a_function_that_panics_and_the_hook_is_told",
        || {
            static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());
            drop(set_excepthook(|args| {
                let message = args.message().unwrap_or("?").to_owned();
                TOLD.lock().unwrap().push(message);
            }));
            let timer = Timer::new(Duration::ZERO, || panic!("out of time"));
            timer.start().unwrap();
            timer.join().unwrap();
            assert!(!timer.finished().is_set() && !timer.is_alive());
            assert_eq!(*TOLD.lock().unwrap(), ["out of time"]);
        },
    );
}

#[test]
fn thr_20_a_timer_fires_although_all_its_handles_are_gone() {
    let _watchdog = watchdog();
    let fired = Arc::new(Event::new());
    let timer = Timer::new(SOON, {
        let fired = fired.clone();
        move || fired.set()
    });
    timer.start().unwrap();
    let copy = timer.clone();
    drop(timer);
    drop(copy);
    fired.wait();
    until(|| Arc::strong_count(&fired) == 1);
}

#[test]
fn thr_13_a_timers_function_is_dropped_with_the_last_handle_if_it_never_ran() {
    let _watchdog = watchdog();
    let kept = Arc::new(());
    let function = |kept: &Arc<()>| {
        let kept = kept.clone();
        move || drop(kept)
    };
    drop(Timer::new(LONG, function(&kept)));
    assert_eq!(Arc::strong_count(&kept), 1, "never started");

    let timer = Timer::new(LONG, function(&kept));
    timer.start().unwrap();
    timer.cancel();
    timer.join().unwrap();
    drop(timer);
    assert_eq!(Arc::strong_count(&kept), 1, "cancelled");

    // It has run when it is joined: nothing of it is left, though a handle is.
    let timer = Timer::new(Duration::ZERO, function(&kept));
    timer.start().unwrap();
    timer.join().unwrap();
    assert_eq!(Arc::strong_count(&kept), 1, "called");
}

#[test]
fn thr_12_a_timer_can_be_run_in_the_caller() {
    let _watchdog = watchdog();
    let calls = Calls::default();
    let timer = Timer::new(SOON, calls.function());
    let start = Instant::now();
    timer.run().unwrap();
    assert!(start.elapsed() >= SOON && timer.finished().is_set());
    assert_eq!((calls.count(), timer.ident()), (1, None));
    assert_eq!(timer.start(), Err(Error::TargetUsed));
}

#[test]
fn a_timer_may_start_another_one() {
    let _watchdog = watchdog();
    run(|| {
        let last = Arc::new(Event::new());
        let inner = Timer::new(Duration::ZERO, {
            let last = last.clone();
            move || last.set()
        });
        let outer = Timer::new(Duration::ZERO, move || inner.start().unwrap());
        outer.start().unwrap();
        last.wait();
        outer.join().unwrap();
    });
}
