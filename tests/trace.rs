//! Trace and profile functions (TRC).
//!
//! What is stored concerns every thread that the process starts, so the tests run one at a time,
//! and each looks at its own threads only.

#![cfg(not(threadbare_model))]

mod child;
mod common;

use child::Child;
use common::{after, until, watchdog};
use std::mem::forget;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use threadbare::{
    Condition, Condvar, Deadline, Error, Event, Lock, Monitor, Mutex as TypedMutex, MutexExt,
    ObjectKind, RLock, ReentrantMutex, Semaphore, Thread, TraceEvent, TraceHook, current_thread,
    exit, getprofile, gettrace, park_timeout, setprofile, setprofile_all_threads, settrace,
    settrace_all_threads, sleep_until, thread_profile, thread_trace, trace_point,
};

const SHORT: Duration = Duration::from_millis(2);

/// The right to store functions; none are stored before and afterwards.
struct Alone(#[expect(dead_code, reason = "held")] MutexGuard<'static, ()>);

impl Alone {
    fn take() -> Alone {
        static ALONE: Mutex<()> = Mutex::new(());
        Alone(ALONE.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        settrace_all_threads(None);
        setprofile_all_threads(None);
    }
}

/// What a function was told, in short.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn hook(&self) -> TraceHook {
        let log = self.clone();
        TraceHook::new(move |event| log.0.lock().unwrap().push(short(event)))
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn short(event: &TraceEvent<'_>) -> String {
    match event {
        TraceEvent::BlockEnter { object } => format!("enter {:?}", object.kind),
        TraceEvent::BlockExit { object, .. } => format!("exit {:?}", object.kind),
        TraceEvent::Acquire { object, .. } => format!("acquire {:?}", object.kind),
        TraceEvent::Wake { object, count } => format!("wake {count} {:?}", object.kind),
        TraceEvent::Point { name, .. } => format!("point {name}"),
        other => format!("{other:?}"),
    }
}

/// Runs `target` in a thread and returns what it returned.
fn run<R: Send + 'static>(target: impl FnOnce() -> R + Send + 'static) -> R {
    let result = Arc::new(Mutex::new(None));
    let thread = Thread::new({
        let result = result.clone();
        move || *result.lock().unwrap() = Some(target())
    });
    thread.start().unwrap();
    thread.join().unwrap();
    let result = result.lock().unwrap().take();
    result.expect("the thread has panicked")
}

/// One way to block for a short while and give up, for each type.
const WAYS: [(ObjectKind, fn()); 13] = [
    (ObjectKind::Lock, || {
        let lock = Lock::new();
        lock.acquire();
        assert_eq!(lock.acquire_timeout(SHORT), Ok(false));
        assert!(lock.locked() && lock.release().is_ok());
    }),
    (ObjectKind::RLock, || {
        let lock = RLock::new();
        std::thread::scope(|s| s.spawn(|| lock.acquire()).join()).unwrap();
        assert_eq!(lock.acquire_timeout(SHORT), Ok(false));
    }),
    (ObjectKind::Semaphore, || {
        let semaphore = Semaphore::new(0);
        assert_eq!(semaphore.acquire_timeout(SHORT), Ok(false));
        assert_eq!(semaphore.value(), 0);
    }),
    (ObjectKind::Event, || {
        assert_eq!(Event::new().wait_timeout(SHORT), Ok(false));
    }),
    (ObjectKind::Condition, || {
        let condition = Condition::new();
        let _guard = condition.guard();
        assert_eq!(condition.wait_timeout(SHORT), Ok(false));
        assert_eq!(condition.waiting(), Some(0));
    }),
    (ObjectKind::Mutex, || {
        let mutex = TypedMutex::new(());
        let guard = mutex.lock();
        assert!(mutex.lock_timeout(SHORT).unwrap().is_none());
        drop(guard);
        assert!(!mutex.is_locked());
    }),
    (ObjectKind::Mutex, || {
        let mutex = ReentrantMutex::new(());
        std::thread::scope(|s| s.spawn(|| forget(mutex.lock())).join()).unwrap();
        assert!(mutex.try_lock_for(SHORT).is_none());
    }),
    (ObjectKind::Condvar, || {
        let (mutex, condvar) = (TypedMutex::new(()), Condvar::new());
        let waited = condvar.wait_timeout(&mut mutex.lock(), SHORT);
        assert_eq!((waited, condvar.waiting()), (Ok(false), 0));
    }),
    (ObjectKind::Monitor, || {
        let monitor = Monitor::new(());
        std::thread::scope(|s| s.spawn(|| forget(monitor.lock())).join()).unwrap();
        assert!(monitor.lock_timeout(SHORT).unwrap().is_none());
    }),
    (ObjectKind::Monitor, || {
        let monitor = Monitor::new(());
        let mut guard = monitor.lock();
        assert_eq!((guard.wait_timeout(SHORT), guard.waiting()), (Ok(false), 0));
    }),
    (ObjectKind::Thread, || {
        let go = Arc::new(Event::new());
        let thread = Thread::new({
            let go = go.clone();
            move || go.wait()
        });
        thread.start().unwrap();
        assert_eq!(thread.join_timeout(SHORT), Ok(false));
        go.set();
        thread.join().unwrap();
    }),
    (ObjectKind::Token, || {
        assert_eq!(park_timeout(SHORT), Ok(false));
    }),
    (ObjectKind::Sleep, || sleep_until(after(SHORT))),
];

#[test]
fn trc_1_and_2_threads_started_later_install_what_is_stored_and_nobody_else() {
    let (_watchdog, _alone) = (watchdog(), Alone::take());
    let go = Arc::new(Event::new());
    let seen = Arc::new(AtomicBool::new(true));
    let before = Thread::new({
        let (go, seen) = (go.clone(), seen.clone());
        move || {
            seen.store(false, Relaxed);
            go.wait();
            seen.store(thread_trace().is_some(), Relaxed);
        }
    });
    before.start().unwrap();
    until(|| !seen.load(Relaxed)); // TRC-2: it may read what is stored until it runs
    let hook = TraceHook::new(|_| ());
    settrace(Some(hook.clone()));
    assert!(thread_trace().is_none(), "the caller is not affected");
    assert!(run(move || thread_trace().unwrap().is(&hook)));
    assert!(run(|| thread_profile().is_none()));
    go.set();
    before.join().unwrap();
    assert!(!seen.load(Relaxed), "a running thread is not affected");
    settrace(None);
    assert!(run(|| thread_trace().is_none()));
}

#[test]
fn trc_3_what_is_stored_can_be_read() {
    let (_watchdog, _alone) = (watchdog(), Alone::take());
    assert!(gettrace().is_none() && getprofile().is_none());
    let (trace, profile) = (TraceHook::new(|_| ()), TraceHook::new(|_| ()));
    settrace(Some(trace.clone()));
    setprofile(Some(profile.clone()));
    assert!(gettrace().unwrap().is(&trace) && getprofile().unwrap().is(&profile));
    setprofile(None);
    assert!(gettrace().is_some() && getprofile().is_none());
}

#[test]
fn trc_4_the_all_threads_forms_reach_running_threads_and_the_caller() {
    let (_watchdog, _alone) = (watchdog(), Alone::take());
    let stop = Arc::new(AtomicBool::new(false));
    let has = Arc::new(AtomicUsize::new(0));
    let running = Thread::new({
        let (stop, has) = (stop.clone(), has.clone());
        move || {
            while !stop.load(Relaxed) {
                let both = [thread_trace().is_some(), thread_profile().is_some()];
                has.store(both.into_iter().filter(|it| *it).count(), Relaxed);
            }
        }
    });
    running.start().unwrap();
    settrace_all_threads(Some(TraceHook::new(|_| ())));
    until(|| has.load(Relaxed) == 1);
    setprofile_all_threads(Some(TraceHook::new(|_| ())));
    until(|| has.load(Relaxed) == 2);
    assert!(thread_trace().is_some() && thread_profile().is_some());
    assert!(gettrace().is_some() && getprofile().is_some());
    settrace_all_threads(None);
    setprofile_all_threads(None);
    until(|| has.load(Relaxed) == 0);
    assert!(thread_trace().is_none() && thread_profile().is_none() && gettrace().is_none());
    stop.store(true, Relaxed);
    running.join().unwrap();
}

#[test]
fn trc_5_a_thread_tells_of_its_begin_and_its_end() {
    let (_watchdog, _alone) = (watchdog(), Alone::take());
    let (trace, profile) = (Log::default(), Log::default());
    settrace(Some(trace.hook()));
    setprofile(Some(profile.hook()));
    let ends: [(fn(), &str); 3] = [
        (|| (), "Return"),
        (|| panic!("on purpose"), "Exception"),
        (|| exit(), "Exception"),
    ];
    for (target, end) in ends {
        let thread = Thread::new(target);
        thread.start().unwrap();
        thread.join().unwrap();
        assert_eq!(trace.take(), ["Call", end]);
        assert_eq!(profile.take(), ["Call", end]);
    }
}

#[test]
fn trc_5_points_acquires_and_wakes_go_to_the_trace_function_only() {
    let (_watchdog, _alone) = (watchdog(), Alone::take());
    let (trace, profile) = (Log::default(), Log::default());
    settrace(Some(trace.hook()));
    setprofile(Some(profile.hook()));
    let lock = Arc::new(Lock::new());
    lock.acquire();
    let thread = Thread::new({
        let lock = lock.clone();
        move || {
            lock.acquire();
            trace_point!("here");
        }
    });
    thread.start().unwrap();
    until(|| profile.0.lock().unwrap().len() == 2);
    lock.release().unwrap();
    thread.join().unwrap();
    let all = [
        "Call",
        "enter Lock",
        "exit Lock",
        "acquire Lock",
        "point here",
        "Return",
    ];
    assert_eq!(trace.take(), all);
    assert_eq!(
        profile.take(),
        ["Call", "enter Lock", "exit Lock", "Return"]
    );

    let condition = Arc::new(Condition::new());
    let waiting = Thread::new({
        let condition = condition.clone();
        move || {
            condition.acquire();
            condition.wait().unwrap();
        }
    });
    waiting.start().unwrap();
    until(|| {
        let _guard = condition.guard();
        condition.waiting() == Some(1)
    });
    trace.take();
    run({
        let condition = condition.clone();
        move || {
            let _guard = condition.guard();
            assert_eq!(condition.notify(0), Ok(0));
            assert_eq!(condition.notify_all(), Ok(1));
            assert_eq!(condition.notify_all(), Ok(0));
        }
    });
    waiting.join().unwrap();
    let woken = trace.take().into_iter().filter(|it| it.starts_with("wake"));
    assert_eq!(woken.collect::<Vec<_>>(), ["wake 1 Condition"]);
}

/// Keeps those events of its kind.
fn of(kind: ObjectKind, told: Vec<String>) -> Vec<String> {
    let kind = format!("{kind:?}");
    let of_kind = told.into_iter().filter(|it| it.ends_with(&kind));
    of_kind.collect()
}

#[test]
fn trc_5_a_monitor_tells_of_its_lock_and_of_its_waits() {
    let (_watchdog, _alone) = (watchdog(), Alone::take());
    let log = Log::default();
    settrace(Some(log.hook()));
    let monitor = Arc::new(Monitor::new(false));
    let guard = monitor.lock();
    let thread = Thread::new({
        let monitor = monitor.clone();
        move || monitor.lock().wait_while(|is_set| !*is_set)
    });
    thread.start().unwrap();
    until(|| monitor.has_waiters());
    drop(guard);
    until(|| monitor.lock().waiting() == 1);
    let notifier = monitor.clone();
    run(move || {
        let mut guard = notifier.lock();
        *guard = true;
        assert_eq!(guard.notify(0), 0);
        assert_eq!(guard.notify(2), 1);
    });
    thread.join().unwrap();
    let mut told = of(ObjectKind::Monitor, log.take());
    let wake = told.iter().position(|it| it == "wake 1 Monitor");
    told.remove(wake.unwrap()); // of the notifier, some time before the wait ends
    let lock = ["enter Monitor", "exit Monitor", "acquire Monitor"];
    assert_eq!(told[..3], lock);
    // Whoever looks how many wait may be in its way when it takes the lock back: that is a part of
    // the wait.
    assert_eq!(told[3..], ["enter Monitor", "exit Monitor"]);
}

#[test]
fn trc_5_a_condvar_tells_of_its_waits_and_wakes() {
    let (_watchdog, _alone) = (watchdog(), Alone::take());
    let log = Log::default();
    settrace(Some(log.hook()));
    static MUTEX: TypedMutex<()> = TypedMutex::new(());
    static CONDVAR: Condvar = Condvar::new();
    let thread = Thread::new(|| CONDVAR.wait(&mut MUTEX.lock()));
    thread.start().unwrap();
    until(|| CONDVAR.waiting() == 1);
    run(|| {
        assert_eq!((CONDVAR.notify(0), CONDVAR.notify_all()), (0, 1));
        assert!(!CONDVAR.notify_one());
    });
    thread.join().unwrap();
    let mut told = of(ObjectKind::Condvar, log.take());
    told.sort();
    assert_eq!(told, ["enter Condvar", "exit Condvar", "wake 1 Condvar"]);
}

#[test]
fn trc_5_a_point_tells_its_place_and_a_block_how_long_it_was() {
    let (_watchdog, _alone) = (watchdog(), Alone::take());
    let seen = Arc::new(TypedMutex::new((0, Duration::ZERO)));
    settrace(Some(TraceHook::new({
        let seen = seen.clone();
        move |event| match event {
            TraceEvent::Point {
                name: "here",
                location,
            } => {
                assert_eq!(location.file(), file!());
                seen.lock().0 += 1;
            }
            TraceEvent::BlockExit { waited, .. } => seen.lock().1 = *waited,
            _ => {}
        }
    })));
    static EVENT: Event = Event::new();
    let thread = Thread::new(|| {
        trace_point!("here");
        EVENT.wait();
    });
    thread.start().unwrap();
    until(|| EVENT.has_waiters());
    let waits = Instant::now();
    until(|| waits.elapsed() >= SHORT);
    let at_least = waits.elapsed();
    EVENT.set();
    thread.join().unwrap();
    let (points, waited) = *seen.lock();
    assert_eq!(points, 1);
    assert!(waited >= at_least, "{waited:?} of {at_least:?}");
}

#[test]
fn trc_5_each_blocking_call_is_told_with_its_object_and_one_that_need_not_block_is_not() {
    let (_watchdog, _alone) = (watchdog(), Alone::take());
    let log = Log::default();
    settrace(Some(log.hook()));
    for (kind, way) in WAYS {
        run(way);
        let (enter, exit) = (format!("enter {kind:?}"), format!("exit {kind:?}"));
        let told = log.take();
        let place = told.iter().position(|it| *it == enter);
        let place = place.unwrap_or_else(|| panic!("{told:?}"));
        assert!(told[place..].contains(&exit), "{told:?}");
    }
    run(|| {
        let lock = Lock::new();
        lock.acquire();
        lock.release().unwrap();
        let event = Event::new();
        event.set();
        event.wait();
        Semaphore::new(1).acquire();
        let condition = Condition::new();
        let _guard = condition.guard();
        condition.notify_all().unwrap();
        let (mutex, condvar, monitor) = (TypedMutex::new(1), Condvar::new(), Monitor::new(1));
        condvar.wait_while(&mut mutex.lock(), |_| false);
        condvar.notify_all();
        let mut guard = monitor.lock();
        guard.wait_while(|_| false);
        guard.notify_all();
        assert!(monitor.try_lock().is_none());
    });
    assert_eq!(log.take(), ["Call", "Return"]);
}

#[test]
fn ruling_3_a_function_that_panics_is_removed_and_the_thread_goes_on() {
    const NAME: &str = "ruling_3_a_function_that_panics_is_removed_and_the_thread_goes_on";
    let _watchdog = watchdog();
    let body = || {
        for (_, way) in WAYS {
            let calls = Arc::new(AtomicUsize::new(0));
            setprofile(Some(TraceHook::new({
                let calls = calls.clone();
                move |event| {
                    if let TraceEvent::BlockEnter { .. } = event {
                        calls.fetch_add(1, Relaxed);
                        panic!("on purpose");
                    }
                }
            })));
            assert!(run(move || {
                way();
                way();
                thread_profile().is_none()
            }));
            setprofile(None);
            // The join has threads in it that have functions of their own.
            assert!((1..=3).contains(&calls.load(Relaxed)), "{calls:?}");
        }
    };
    if let Some(ended) = Child::run(NAME, body) {
        assert!(ended.status.success(), "{ended:?}");
        assert!(
            ended
                .stderr
                .contains("Exception in the trace function of thread 'Thread-")
        );
        assert!(!ended.stderr.contains("was ended by"), "{ended:?}");
    }
}

#[test]
fn ruling_3_a_function_may_block_on_anything_and_emits_nothing_itself() {
    let (_watchdog, _alone) = (watchdog(), Alone::take());
    let entered = Arc::new(AtomicUsize::new(0));
    settrace(Some(TraceHook::new({
        let entered = entered.clone();
        move |event| {
            if let TraceEvent::BlockEnter { .. } = event {
                entered.fetch_add(1, Relaxed);
                for (kind, way) in WAYS {
                    if kind != ObjectKind::Thread {
                        way();
                    }
                }
            }
        }
    })));
    for (kind, way) in WAYS {
        if kind != ObjectKind::Thread {
            entered.store(0, Relaxed);
            run(way);
            assert_eq!(entered.load(Relaxed), 1, "nested events of {kind:?}");
        }
    }
}

#[test]
fn ruling_3_a_function_may_block_on_the_object_itself() {
    let (_watchdog, _alone) = (watchdog(), Alone::take());
    static LOCK: Lock = Lock::new();
    static CONDITION: Condition = Condition::new();
    settrace(Some(TraceHook::new(|event| match event {
        TraceEvent::BlockEnter { object } if object.kind == ObjectKind::Lock => {
            LOCK.acquire();
            LOCK.release().unwrap();
        }
        TraceEvent::BlockEnter { object } if object.kind == ObjectKind::Condition => {
            assert_eq!(CONDITION.wait_timeout(SHORT), Ok(false));
        }
        _ => {}
    })));
    LOCK.acquire();
    let thread = Thread::new(|| LOCK.acquire());
    thread.start().unwrap();
    until(|| LOCK.has_waiters());
    LOCK.release().unwrap();
    thread.join().unwrap();
    assert!(LOCK.locked());
    run(|| {
        let _guard = CONDITION.guard();
        assert_eq!(CONDITION.wait_timeout(SHORT), Ok(false));
    });
    assert!(!CONDITION.locked());
}

#[test]
fn ruling_3_a_function_may_use_the_typed_lock_that_its_thread_waits_for() {
    let (_watchdog, _alone) = (watchdog(), Alone::take());
    static MUTEX: TypedMutex<u32> = TypedMutex::new(0);
    static REENTRANT: ReentrantMutex<()> = ReentrantMutex::new(());
    static MONITOR: Monitor<u32> = Monitor::new(0);
    settrace(Some(TraceHook::new(|event| {
        let TraceEvent::BlockEnter { object } = event else {
            return;
        };
        match object.kind {
            ObjectKind::Mutex if object.address == (&raw const MUTEX).addr() => *MUTEX.lock() += 1,
            ObjectKind::Mutex => drop((REENTRANT.lock(), REENTRANT.lock())),
            ObjectKind::Monitor => *MONITOR.lock() += 1,
            _ => {}
        }
    })));
    let takes: [fn(); 3] = [
        || *MUTEX.lock() += 1,
        || drop(REENTRANT.lock()),
        || *MONITOR.lock() += 1,
    ];
    for take in takes {
        let tid = Arc::new(common::Tid::new());
        let thread = Thread::new({
            let tid = tid.clone();
            move || {
                tid.is_mine();
                take();
            }
        });
        let guards = (MUTEX.lock(), REENTRANT.lock(), MONITOR.lock());
        thread.start().unwrap();
        tid.until_asleep(); // in the function
        drop(guards);
        thread.join().unwrap();
    }
    settrace(None);
    assert_eq!((*MUTEX.lock(), *MONITOR.lock()), (2, 2));
    assert!(!REENTRANT.is_locked());
}

#[test]
fn ruling_3_a_function_cannot_get_at_what_the_waiting_thread_has() {
    let (_watchdog, _alone) = (watchdog(), Alone::take());
    static MONITOR: Monitor<u32> = Monitor::new(0);
    static REFUSED: AtomicUsize = AtomicUsize::new(0);
    settrace(Some(TraceHook::new(|event| {
        if let TraceEvent::BlockEnter { object } | TraceEvent::BlockExit { object, .. } = event {
            if object.kind == ObjectKind::Monitor {
                assert!(
                    MONITOR.try_lock().is_none(),
                    "the guard's owner has the value"
                );
                REFUSED.fetch_add(1, Relaxed);
            }
        }
    })));
    run(|| {
        let mut guard = MONITOR.lock();
        assert_eq!(guard.wait_timeout(SHORT), Ok(false));
        *guard += 1;
        assert!(thread_trace().is_some(), "the function has panicked");
    });
    assert_eq!(REFUSED.load(Relaxed), 2);
    // To lock it there would be to wait for oneself: that panics, and the function is removed.
    settrace(Some(TraceHook::new(|event| {
        if let TraceEvent::BlockEnter { .. } = event {
            drop(MONITOR.lock());
        }
    })));
    run(|| {
        let mut guard = MONITOR.lock();
        assert_eq!(guard.wait_timeout(SHORT), Ok(false));
        assert!(thread_trace().is_none() && MONITOR.try_lock().is_none());
        assert_eq!(*guard, 1);
    });
    assert!(!MONITOR.is_locked());
}

#[test]
fn ruling_3_a_function_that_keeps_the_lock_for_good_makes_the_forms_with_an_end_give_up() {
    let (_watchdog, _alone) = (watchdog(), Alone::take());
    static MONITOR: Monitor<u32> = Monitor::new(0);
    static MUTEX: TypedMutex<u32> = TypedMutex::new(0);
    static FREED: Event = Event::new();
    settrace(Some(TraceHook::new(|event| {
        if let TraceEvent::BlockEnter { object } = event {
            FREED.wait(); // the other thread has let it go
            match object.kind {
                ObjectKind::Monitor => forget(MONITOR.lock()),
                ObjectKind::Mutex => forget(MUTEX.lock()),
                _ => {}
            }
        }
    })));
    // A second guard would be one too many.
    let ways: [fn() -> bool; 2] = [
        || MONITOR.lock_timeout(SHORT).unwrap().is_none(),
        || MUTEX.lock_timeout(SHORT).unwrap().is_none(),
    ];
    for gives_up in ways {
        FREED.clear();
        let guards = (MONITOR.try_lock(), MUTEX.try_lock());
        let tid = Arc::new(common::Tid::new());
        let told = tid.clone();
        std::thread::scope(|s| {
            let gave_up = s.spawn(move || {
                run(move || {
                    told.is_mine();
                    gives_up()
                })
            });
            tid.until_asleep_in(&FREED);
            drop(guards);
            FREED.set();
            assert!(gave_up.join().unwrap());
        });
    }
    assert!(MONITOR.is_locked() && MUTEX.is_locked());
}

#[test]
fn ruling_3_a_function_that_releases_the_conditions_lock_makes_the_wait_err() {
    let (_watchdog, _alone) = (watchdog(), Alone::take());
    static CONDITION: Condition = Condition::new();
    settrace(Some(TraceHook::new(|event| {
        if let TraceEvent::BlockEnter { .. } = event {
            CONDITION.release().unwrap();
        }
    })));
    run(|| {
        CONDITION.acquire();
        assert_eq!(CONDITION.wait_until(Deadline::NEVER), Err(Error::NotHeld));
    });
    assert!(!CONDITION.locked());
}

#[test]
fn ruling_3_exit_in_a_function_ends_the_function_only() {
    let (_watchdog, _alone) = (watchdog(), Alone::take());
    let hook = TraceHook::new(|_| exit());
    settrace(Some(hook.clone()));
    for (_, way) in WAYS {
        let hook = hook.clone();
        assert!(run(move || {
            way();
            thread_trace().is_some_and(|own| own.is(&hook))
        }));
    }
}

#[test]
fn trc_4_functions_may_be_replaced_while_threads_run_them() {
    let (_watchdog, _alone) = (watchdog(), Alone::take());
    struct Gone(Arc<AtomicUsize>);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.fetch_add(1, Relaxed);
        }
    }
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let stop = stop.clone();
            let thread = Thread::new(move || {
                while !stop.load(Relaxed) {
                    trace_point!("again");
                }
            });
            thread.start().unwrap();
            thread
        })
        .collect();
    let gone = Arc::new(AtomicUsize::new(0));
    let calls = Arc::new(AtomicUsize::new(0));
    for _ in 0..500 {
        let (held, calls) = (Gone(gone.clone()), calls.clone());
        settrace_all_threads(Some(TraceHook::new(move |_| {
            let _ = &held;
            calls.fetch_add(1, Relaxed);
        })));
    }
    until(|| calls.load(Relaxed) > 0);
    settrace_all_threads(None);
    stop.store(true, Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(gone.load(Relaxed), 500, "a function is kept or freed twice");
}

#[test]
fn trc_5_a_foreign_thread_hears_nothing_before_it_has_a_handle() {
    let (_watchdog, _alone) = (watchdog(), Alone::take());
    let log = Log::default();
    settrace(Some(log.hook()));
    let foreign = std::thread::spawn({
        let log = log.clone();
        move || {
            trace_point!("unheard");
            assert!(current_thread().is_alive() && thread_trace().is_none());
            settrace_all_threads(Some(log.hook()));
            trace_point!("heard");
        }
    });
    foreign.join().unwrap();
    assert_eq!(log.take(), ["point heard"]);
}

/// Panics when dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("when dropped");
    }
}

#[test]
fn trc_5_a_function_that_panics_when_dropped_ends_neither_its_thread_nor_its_call() {
    let (_watchdog, _alone) = (watchdog(), Alone::take());
    // The last of it is dropped at the end of a thread.
    let bomb = Bomb;
    settrace(Some(TraceHook::new(move |_| {
        let _ = &bomb;
    })));
    run(|| settrace(None));
    // The last of it is dropped after a call of it.
    let bomb = Bomb;
    settrace_all_threads(Some(TraceHook::new(move |_| {
        let _ = &bomb;
        settrace_all_threads(None);
    })));
    assert_eq!(Event::new().wait_timeout(SHORT), Ok(false));
    // Nor does it keep its thread from hearing of events.
    let log = Log::default();
    settrace_all_threads(Some(log.hook()));
    trace_point!("heard");
    assert_eq!(log.take(), ["point heard"]);
}

#[test]
fn trc_4_threads_that_end_meanwhile_keep_no_function() {
    let (_watchdog, _alone) = (watchdog(), Alone::take());
    let functions = Arc::new(AtomicUsize::new(0));
    let stop = AtomicBool::new(false);
    let ended: Vec<Thread> = std::thread::scope(|s| {
        let crowd = s.spawn(|| {
            let mut ended = Vec::new();
            while !stop.load(Relaxed) {
                let two = [0, 1].map(|_| Thread::builder().daemon(true).spawn().unwrap());
                for thread in two {
                    thread.join().unwrap();
                    ended.push(thread);
                }
            }
            ended
        });
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(2) {
            let held = functions.clone();
            settrace_all_threads(Some(TraceHook::new(move |_| {
                let _ = &held;
            })));
            settrace_all_threads(None);
        }
        stop.store(true, Relaxed);
        crowd.join().unwrap()
    });
    settrace_all_threads(None);
    assert!(!ended.is_empty() && Arc::strong_count(&functions) == 1);
}
