//! Threads: start, join, names, stacks, ends (THR, MOD-8 to MOD-16, HOOK-7, MEM-3).

#![cfg(not(threadbare_model))]

mod child;
mod common;

use child::{Child, in_child};
use common::witness::{OnDrop, Witness, run, waiting};
use common::{until, watchdog};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Uid, fork, setuid};
use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use threadbare::{
    Builder, Deadline, Error, ErrorKind, Event, Lock, Mutex, Runnable, Thread, get_ident,
    get_native_id, init, set_membarrier, set_overflow_report, set_stack_cache, set_stack_size,
    stack_size,
};

const SHORT: Duration = Duration::from_millis(2);

const _: () = {
    const fn shared<T: Send + Sync + Clone>() {}
    shared::<Thread>();
    const fn sent<T: Send>() {}
    sent::<Builder>();
};

// Start.

#[test]
fn thr_2_a_thread_without_target_ends_at_once() {
    let _watchdog = watchdog();
    let thread = Thread::builder().spawn().unwrap();
    thread.join().unwrap();
    assert!(!thread.is_alive());
}

#[test]
fn thr_8_a_second_start_errs_while_it_runs_and_after_its_end() {
    let _watchdog = watchdog();
    let (thread, go) = waiting();
    assert_eq!(thread.start(), Err(Error::AlreadyStarted));
    go.set();
    thread.join().unwrap();
    assert_eq!(thread.start(), Err(Error::AlreadyStarted));
    assert_eq!(Error::AlreadyStarted.kind(), ErrorKind::Runtime);
}

#[test]
fn thr_8_of_two_starts_at_once_exactly_one_succeeds() {
    let _watchdog = watchdog();
    for _ in 0..200 {
        let runs = Arc::new(AtomicU32::new(0));
        let thread = Thread::new({
            let runs = runs.clone();
            move || {
                runs.fetch_add(1, Relaxed);
            }
        });
        let starts = || thread.start().is_ok() as u32;
        let started: u32 = std::thread::scope(|s| {
            let others = [s.spawn(starts), s.spawn(starts)];
            others.map(|other| other.join().unwrap()).iter().sum()
        });
        assert_eq!(started, 1);
        thread.join().unwrap();
        assert_eq!(runs.load(Relaxed), 1);
    }
}

#[test]
fn thr_9_a_start_refused_for_want_of_memory_leaves_nothing_and_may_be_repeated() {
    let _watchdog = watchdog();
    in_child(
        "thr_9_a_start_refused_for_want_of_memory_leaves_nothing_and_may_be_repeated",
        || {
            let ran = Arc::new(AtomicBool::new(false));
            let thread = Thread::builder()
                .stack_size(1 << 30)
                .target({
                    let ran = ran.clone();
                    move || ran.store(true, Relaxed)
                })
                .build()
                .unwrap();
            let (soft, hard) = getrlimit(Resource::RLIMIT_AS).unwrap();
            setrlimit(Resource::RLIMIT_AS, 1 << 29, hard).unwrap();
            for _ in 0..3 {
                let Err(Error::Start(refused)) = thread.start() else {
                    panic!("there was room")
                };
                assert_eq!(refused.raw_os_error(), libc::ENOMEM);
                assert_eq!(thread.join(), Err(Error::NotStarted));
                assert_eq!((thread.ident(), thread.is_alive()), (None, false));
            }
            assert_eq!(Arc::strong_count(&ran), 2, "the target is back");
            setrlimit(Resource::RLIMIT_AS, soft, hard).unwrap();
            thread.start().unwrap();
            thread.join().unwrap();
            assert!(ran.load(Relaxed));
        },
    );
}

#[test]
fn thr_9_a_start_refused_for_too_many_threads_leaves_nothing_and_may_be_repeated() {
    let _watchdog = watchdog();
    in_child(
        "thr_9_a_start_refused_for_too_many_threads_leaves_nothing_and_may_be_repeated",
        || {
            run(|| ()); // whatever is set up once is there now
            // The limit holds for users other than root.
            let (soft, hard) = getrlimit(Resource::RLIMIT_NPROC).unwrap();
            if Uid::effective().is_root() {
                setuid(Uid::from_raw(65_534)).unwrap();
            }
            let mappings = child::mappings();
            setrlimit(Resource::RLIMIT_NPROC, 1, hard).unwrap();
            let thread = Thread::new(|| ());
            for _ in 0..100 {
                let Err(Error::Start(refused)) = thread.start() else {
                    panic!("it is allowed")
                };
                assert_eq!(refused.raw_os_error(), libc::EAGAIN);
            }
            assert!(child::mappings() <= mappings + 1, "mappings leak");
            setrlimit(Resource::RLIMIT_NPROC, soft, hard).unwrap();
            thread.start().unwrap();
            thread.join().unwrap();
        },
    );
}

#[test]
fn mem_3_what_happened_before_the_start_is_visible_and_the_rest_after_the_join() {
    let _watchdog = watchdog();
    for _ in 0..500 {
        let data = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
        data.0.store(1, Relaxed);
        let thread = Thread::new({
            let data = data.clone();
            move || data.1.store(data.0.load(Relaxed) + 1, Relaxed)
        });
        thread.start().unwrap();
        thread.join().unwrap();
        assert_eq!(data.1.load(Relaxed), 2);
    }
}

// In the caller.

#[test]
fn thr_12_run_calls_the_target_in_the_caller_and_starts_nothing() {
    let _watchdog = watchdog();
    let ran_in = Arc::new(AtomicU64::new(0));
    let thread = Thread::new({
        let ran_in = ran_in.clone();
        move || ran_in.store(get_ident(), Relaxed)
    });
    assert_eq!(thread.run(), Ok(()));
    assert_eq!(ran_in.load(Relaxed), get_ident());
    assert_eq!((thread.ident(), thread.native_id()), (None, None));
    assert!(!thread.is_alive() && !threadbare::enumerate().contains(&thread));
    assert_eq!(thread.join(), Err(Error::NotStarted));
    assert_eq!(thread.set_daemon(true), Ok(()));
}

#[test]
fn thr_12_a_panic_in_run_is_the_callers() {
    let _watchdog = watchdog();
    let kept = Arc::new(());
    let thread = Thread::new({
        let kept = kept.clone();
        move || {
            let _kept = kept;
            std::panic::resume_unwind(Box::new(17)); // without std's message
        }
    });
    let panicked = std::panic::catch_unwind(AssertUnwindSafe(|| thread.run()));
    assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&17));
    assert_eq!(Arc::strong_count(&kept), 1, "the target is gone (THR-13)");
    assert_eq!(thread.run(), Err(Error::TargetUsed));
    assert_eq!(thread.start(), Err(Error::TargetUsed));
    assert_eq!(thread.ident(), None);
}

#[test]
fn thr_13_a_target_is_run_once_be_it_here_or_there() {
    let _watchdog = watchdog();
    let runs = Arc::new(AtomicU32::new(0));
    let counting = || {
        let runs = runs.clone();
        Thread::new(move || {
            runs.fetch_add(1, Relaxed);
        })
    };
    let here = counting();
    here.run().unwrap();
    assert_eq!(here.run(), Err(Error::TargetUsed));
    assert_eq!(here.start(), Err(Error::TargetUsed));
    assert_eq!(
        here.set_daemon(true),
        Ok(()),
        "it is as before: never started"
    );
    let there = counting();
    there.start().unwrap();
    assert_eq!(there.run(), Err(Error::AlreadyStarted));
    there.join().unwrap();
    assert_eq!(there.run(), Err(Error::AlreadyStarted));
    assert_eq!(runs.load(Relaxed), 2);
    assert_eq!(Error::TargetUsed.kind(), ErrorKind::Runtime);
}

#[test]
fn thr_12_and_13_of_runs_and_starts_at_once_exactly_one_gets_the_target() {
    let _watchdog = watchdog();
    for _ in 0..200 {
        let runs = Arc::new(AtomicU32::new(0));
        let thread = Thread::new({
            let runs = runs.clone();
            move || {
                runs.fetch_add(1, Relaxed);
            }
        });
        let took = common::threads(4, |number| match number % 2 {
            0 => thread.run().is_ok(),
            _ => thread.start().is_ok(),
        });
        assert_eq!(took.into_iter().filter(|took| *took).count(), 1);
        if thread.ident().is_some() {
            thread.join().unwrap();
        }
        assert_eq!(runs.load(Relaxed), 1);
    }
}

#[test]
fn thr_2_a_thread_without_target_can_be_run_and_started() {
    let _watchdog = watchdog();
    let thread = Thread::builder().build().unwrap();
    assert_eq!(thread.run(), Ok(()));
}

/// Tells where it was run and where it was dropped.
struct Job {
    ran: Arc<AtomicU64>,
    dropped: Arc<AtomicU64>,
    panics: bool,
}

impl Runnable for Job {
    fn run(self) {
        self.ran.store(get_ident(), Relaxed);
        if self.panics {
            std::panic::resume_unwind(Box::new(()));
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        assert!(threadbare::current_thread().is_alive());
        self.dropped.store(get_ident(), Relaxed);
    }
}

#[test]
fn thr_12_and_13_a_runnable_is_run_and_dropped_in_its_thread() {
    let _watchdog = watchdog();
    for panics in [false, true] {
        let (ran, dropped) = <(Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let job = |panics| Job {
            ran: ran.clone(),
            dropped: dropped.clone(),
            panics,
        };
        let thread = Thread::from_runnable(job(panics));
        thread.start().unwrap();
        thread.join().unwrap();
        assert_eq!(Some(ran.load(Relaxed)), thread.ident());
        assert_eq!(Some(dropped.load(Relaxed)), thread.ident());

        Thread::from_runnable(job(false)).run().unwrap();
        assert_eq!(ran.load(Relaxed), get_ident());
        assert_eq!(dropped.load(Relaxed), get_ident());
    }
}

// Identity.

#[test]
fn thr_18_ident_and_native_id_are_unknown_before_the_start_and_kept_after_the_end() {
    let _watchdog = watchdog();
    let seen = Arc::new((AtomicU64::new(0), AtomicU32::new(0)));
    let thread = Thread::new({
        let seen = seen.clone();
        move || {
            seen.0.store(get_ident(), Relaxed);
            seen.1.store(get_native_id(), Relaxed);
        }
    });
    assert_eq!((thread.ident(), thread.native_id()), (None, None));
    thread.start().unwrap();
    let known = (thread.ident().unwrap(), thread.native_id().unwrap());
    thread.join().unwrap();
    assert_eq!(known, (seen.0.load(Relaxed), seen.1.load(Relaxed)));
    assert_eq!(
        (thread.ident(), thread.native_id()),
        (Some(known.0), Some(known.1))
    );
}

#[test]
fn thr_10_a_started_thread_tells_its_ids_to_every_observer() {
    let _watchdog = watchdog();
    for _ in 0..200 {
        let (thread, go) = waiting();
        let task = format!("/proc/self/task/{}", thread.native_id().unwrap());
        assert!(Path::new(&task).exists() && thread.is_alive());
        go.set();
        thread.join().unwrap();
    }
}

#[test]
fn mod_8_and_mod_9_idents_are_never_used_again() {
    let _watchdog = watchdog();
    let mut idents = std::collections::HashSet::from([get_ident()]);
    for _ in 0..300 {
        let thread = Thread::new(|| ());
        thread.start().unwrap();
        thread.join().unwrap();
        assert!(idents.insert(thread.ident().unwrap()));
    }
}

#[test]
fn mod_10_native_ids_are_the_kernels() {
    let _watchdog = watchdog();
    let task = format!("/proc/self/task/{}", get_native_id());
    assert!(Path::new(&task).exists());
}

#[test]
fn is_current_holds_in_the_thread_only() {
    let _watchdog = watchdog();
    let thread = Thread::new(|| ());
    assert!(!thread.is_current());
    let handle: Arc<std::sync::OnceLock<Thread>> = Arc::default();
    let witness = Witness::default();
    let inside = Thread::new(witness.watch({
        let handle = handle.clone();
        move || assert!(handle.get().unwrap().is_current())
    }));
    handle.set(inside.clone()).unwrap();
    inside.start().unwrap();
    witness.join(&inside);
    assert!(!inside.is_current());
}

// Names and flags.

/// The N of `Thread-N`, or of `Thread-N (target)`.
fn number(thread: &Thread) -> u64 {
    let name = thread.name();
    let number = name
        .strip_prefix("Thread-")
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    number.parse().unwrap()
}

#[test]
fn thr_4_default_names_count_and_given_ones_use_up_no_number() {
    let _watchdog = watchdog();
    in_child(
        "thr_4_default_names_count_and_given_ones_use_up_no_number",
        || {
            let first = Thread::new(|| ());
            let named = Thread::builder().name("worker").build().unwrap();
            let empty = Thread::builder().name("").build().unwrap();
            let target = Thread::builder().target_name("serve").build().unwrap();
            let both = Thread::builder()
                .name("own")
                .target_name("serve")
                .build()
                .unwrap();
            assert_eq!(
                (first.name(), empty.name()),
                ("Thread-1".into(), "Thread-2".into())
            );
            assert_eq!((named.name(), both.name()), ("worker".into(), "own".into()));
            assert_eq!(target.name(), "Thread-3 (serve)");
            assert_eq!(number(&Thread::new(|| ())), 4);
        },
    );
}

#[test]
fn thr_5_a_name_can_be_changed_at_any_time_and_be_anything() {
    let _watchdog = watchdog();
    let (thread, go) = waiting();
    thread.set_name("running");
    assert_eq!(thread.name(), "running");
    go.set();
    thread.join().unwrap();
    thread.set_name("");
    assert_eq!(thread.name(), "");
    thread.set_name(String::from("größer\0"));
    assert_eq!(thread.clone().name(), "größer\0");
}

#[test]
fn thr_6_a_thread_is_a_daemon_if_its_maker_is() {
    let _watchdog = watchdog();
    // The thread of a test is foreign: a daemon.
    assert!(Thread::new(|| ()).daemon());
    for daemon in [false, true] {
        let witness = Witness::default();
        let maker = Thread::builder()
            .daemon(daemon)
            .target(witness.watch(move || {
                assert_eq!(Thread::new(|| ()).daemon(), daemon);
                let own = Thread::builder().daemon(!daemon).build().unwrap();
                assert_eq!(own.daemon(), !daemon);
            }));
        witness.join(&maker.spawn().unwrap());
    }
    // In the child of a fork the forking thread is the main thread: none.
    // SAFETY: the child makes one object and leaves by `_exit`.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let daemon = Thread::new(|| ()).daemon();
            // SAFETY: leaves the child without running what belongs to the parent.
            unsafe { libc::_exit(i32::from(daemon)) }
        }
        ForkResult::Parent { child } => {
            assert!(matches!(
                waitpid(child, None).unwrap(),
                WaitStatus::Exited(_, 0)
            ));
        }
    }
}

#[test]
fn thr_19_the_daemon_flag_is_fixed_at_the_start() {
    let _watchdog = watchdog();
    let (thread, go) = waiting();
    let daemon = thread.daemon();
    assert_eq!(thread.set_daemon(!daemon), Err(Error::DaemonAfterStart));
    go.set();
    thread.join().unwrap();
    assert_eq!(thread.set_daemon(!daemon), Err(Error::DaemonAfterStart));
    assert_eq!(thread.daemon(), daemon);
    let new = Thread::new(|| ());
    assert_eq!(new.set_daemon(true), Ok(()));
    assert!(new.daemon());
}

#[test]
fn repr_3_a_thread_prints_its_name_status_and_ident() {
    let _watchdog = watchdog();
    let (thread, go) = waiting();
    thread.set_name("x");
    let ident = thread.ident().unwrap();
    assert_eq!(
        format!("{thread:?}"),
        format!("<Thread(x, started daemon {ident})>")
    );
    go.set();
    thread.join().unwrap();
    assert_eq!(
        format!("{thread:?}"),
        format!("<Thread(x, stopped daemon {ident})>")
    );
    let new = Thread::builder().name("y").daemon(false).build().unwrap();
    assert_eq!(format!("{new:?}"), "<Thread(y, initial)>");
}

// Join.

#[test]
fn thr_15_any_number_of_threads_join_any_number_of_times() {
    let _watchdog = watchdog();
    let (thread, go) = waiting();
    std::thread::scope(|s| {
        for untimed in [true, false, true, false, true] {
            let thread = &thread;
            s.spawn(move || {
                if untimed {
                    thread.join().unwrap();
                }
                assert_eq!(thread.join_timeout(Duration::from_secs(60)), Ok(true));
                assert!(!thread.is_alive());
            });
        }
        assert_eq!(thread.join_timeout(SHORT), Ok(false));
        assert_eq!(thread.join_timeout(Duration::ZERO), Ok(false));
        assert_eq!(thread.join_until(Deadline::now()), Ok(false));
        assert_eq!(thread.join_interruptible(Deadline::now()), Ok(false));
        assert!(thread.is_alive());
        go.set();
    });
    assert_eq!(thread.join(), Ok(()));
    assert_eq!(thread.join_timeout(Duration::ZERO), Ok(true));
    assert_eq!(thread.join_until(Deadline::NEVER), Ok(true));
    assert_eq!(thread.join_interruptible(Deadline::NEVER), Ok(true));
}

#[test]
fn thr_16_a_join_of_an_unstarted_thread_or_of_oneself_errs_before_anything_else() {
    let _watchdog = watchdog();
    let thread = Thread::new(|| ());
    assert_eq!(thread.join(), Err(Error::NotStarted));
    assert_eq!(thread.join_timeout(Duration::MAX), Err(Error::NotStarted));
    thread.start().unwrap();
    assert_eq!(
        thread.join_timeout(Duration::MAX),
        Err(Error::TimeoutTooLarge)
    );
    thread.join().unwrap();

    let own: Arc<std::sync::OnceLock<Thread>> = Arc::default();
    let errors = Arc::new(AtomicUsize::new(0));
    let selfish = Thread::new({
        let (own, errors) = (own.clone(), errors.clone());
        move || {
            let me = own.get().unwrap();
            let results = [
                me.join(),
                me.join_timeout(Duration::MAX).map(drop),
                me.join_until(Deadline::NEVER).map(drop),
            ];
            let selfish = results
                .iter()
                .filter(|result| **result == Err(Error::JoinSelf));
            errors.store(selfish.count(), Relaxed);
        }
    });
    own.set(selfish.clone()).unwrap();
    selfish.start().unwrap();
    selfish.join().unwrap(); // THR-17: the failed ones did no harm
    assert_eq!(errors.load(Relaxed), 3);
}

#[test]
fn thr_17_of_two_threads_that_join_each_other_the_one_with_a_deadline_gives_up() {
    let _watchdog = watchdog();
    let handles: Arc<[std::sync::OnceLock<Thread>; 2]> = Arc::default();
    let witnesses = [Witness::default(), Witness::default()];
    let patient = Thread::new(witnesses[0].watch({
        let handles = handles.clone();
        move || handles[1].get().unwrap().join().unwrap()
    }));
    let hasty = Thread::new(witnesses[1].watch({
        let handles = handles.clone();
        move || {
            let patient = handles[0].get().unwrap();
            until(|| patient.native_id().is_some_and(common::is_asleep));
            assert_eq!(patient.join_timeout(SHORT), Ok(false));
        }
    }));
    handles[0].set(patient.clone()).unwrap();
    handles[1].set(hasty.clone()).unwrap();
    hasty.start().unwrap();
    patient.start().unwrap();
    witnesses[0].join(&patient);
    witnesses[1].join(&hasty);
}

#[test]
fn ruling_13_a_joined_thread_is_gone_from_the_kernel() {
    let _watchdog = watchdog();
    for timed in [false, true] {
        for _ in 0..300 {
            let thread = Thread::new(|| ());
            thread.start().unwrap();
            let task = format!("/proc/self/task/{}", thread.native_id().unwrap());
            if timed {
                assert_eq!(thread.join_timeout(Duration::from_secs(60)), Ok(true));
            } else {
                thread.join().unwrap();
            }
            // The kernel takes the entry away a moment after it has told the joiner.
            until(|| !Path::new(&task).exists());
        }
    }
}

// The end.

#[test]
fn thr_13_the_target_is_dropped_in_its_thread_before_the_end_also_after_a_panic() {
    let _watchdog = watchdog();
    for panics in [false, true] {
        let dropped_by = Arc::new(AtomicU64::new(0));
        let on_drop = OnDrop({
            let dropped_by = dropped_by.clone();
            move || dropped_by.store(get_ident(), Relaxed)
        });
        let thread = Thread::new(move || {
            let _kept = &on_drop;
            if panics {
                std::panic::resume_unwind(Box::new(())); // without std's message
            }
        });
        thread.start().unwrap();
        thread.join().unwrap();
        assert_eq!(Some(dropped_by.load(Relaxed)), thread.ident());
    }
}

#[test]
fn thr_13_a_thread_never_started_keeps_its_target_until_it_is_dropped() {
    let _watchdog = watchdog();
    let kept = Arc::new(());
    let thread = Thread::new({
        let kept = kept.clone();
        move || drop(kept)
    });
    assert_eq!(Arc::strong_count(&kept), 2);
    drop(thread);
    assert_eq!(Arc::strong_count(&kept), 1);
}

/// A thread-local's value that calls something when it is destroyed.
type AtEnd = Cell<Option<OnDrop<Box<dyn FnMut()>>>>;

thread_local! {
    static FIRST: AtEnd = const { Cell::new(None) };
    static LATE: AtEnd = const { Cell::new(None) };
}

#[test]
fn thr_14_join_waits_for_the_destructors_of_thread_locals_those_made_by_others_too() {
    let _watchdog = watchdog();
    for _ in 0..100 {
        let ran = Arc::new(AtomicU32::new(0));
        let handle: Arc<std::sync::OnceLock<Thread>> = Arc::default();
        let thread = Thread::new({
            let (ran, handle) = (ran.clone(), handle.clone());
            move || {
                let first = move || {
                    let ran_late = ran.clone();
                    let me = handle.get().unwrap().clone();
                    assert!(me.is_alive() && me.is_current());
                    assert_eq!(me.join(), Err(Error::JoinSelf));
                    LATE.set(Some(OnDrop(Box::new(move || {
                        assert!(me.is_alive());
                        ran_late.fetch_add(1, Relaxed);
                    }))));
                    ran.fetch_add(1, Relaxed);
                };
                FIRST.set(Some(OnDrop(Box::new(first))));
            }
        });
        handle.set(thread.clone()).unwrap();
        thread.start().unwrap();
        thread.join().unwrap();
        assert_eq!(ran.load(Relaxed), 2);
    }
}

#[test]
fn ruling_13_join_waits_for_the_destructors_of_pthread_keys() {
    let _watchdog = watchdog();
    static RAN: AtomicU32 = AtomicU32::new(0);
    extern "C" fn destroy(_value: *mut libc::c_void) {
        until(common::is_being_joined); // a join that does not wait for this returns meanwhile
        RAN.fetch_add(1, Relaxed);
    }
    let mut key = 0;
    // SAFETY: `key` is valid for the call; `destroy` touches an atomic.
    let result = unsafe { libc::pthread_key_create(&mut key, Some(destroy)) };
    assert_eq!(result, 0);
    for joined in 1..=20 {
        run(move || {
            // SAFETY: the key exists for the rest of the process.
            unsafe { libc::pthread_setspecific(key, std::ptr::dangling::<u8>().cast()) };
        });
        assert_eq!(RAN.load(Relaxed), joined);
    }
}

#[test]
fn thr_20_a_thread_without_handles_runs_on_and_leaks_nothing() {
    let _watchdog = watchdog();
    in_child(
        "thr_20_a_thread_without_handles_runs_on_and_leaks_nothing",
        || {
            let ended = Arc::new(AtomicUsize::new(0));
            let spawn = |ended: &Arc<AtomicUsize>| {
                let ended = ended.clone();
                let target = move || {
                    ended.fetch_add(1, Relaxed);
                };
                drop(
                    Thread::builder()
                        .stack_size(64 * 1024)
                        .target(target)
                        .spawn()
                        .unwrap(),
                );
            };
            let tasks = child::tasks();
            for round in 1..=500 {
                spawn(&ended);
                until(|| ended.load(Relaxed) == round);
            }
            let (mappings, resident) = (child::mappings(), child::resident());
            for round in 501..=5_000 {
                spawn(&ended);
                until(|| ended.load(Relaxed) == round);
            }
            // A leak in each of 4,500 rounds is more than what a busy machine makes of it: threads that
            // are slow to go have stacks meanwhile, and those that come get more arenas of the allocator.
            assert!(child::mappings() <= mappings + 64, "mappings leak");
            assert!(child::resident() <= resident + (8 << 20), "memory leaks");
            until(|| child::tasks() <= tasks + 1); // perhaps the last one
        },
    );
}

#[test]
fn thr_21_an_ending_thread_keeps_the_locks_that_it_holds() {
    let _watchdog = watchdog();
    let lock = Arc::new(Lock::new());
    run({
        let lock = lock.clone();
        move || lock.acquire()
    });
    assert!(!lock.try_acquire());
    assert_eq!(lock.release(), Ok(()));
}

// Panics.

#[test]
fn hook_7_a_panic_ends_its_thread_only_and_stderr_names_it() {
    let _watchdog = watchdog();
    let test = "hook_7_a_panic_ends_its_thread_only_and_stderr_names_it";
    let body = || {
        let thread = Thread::builder()
            .name("broken")
            .target(|| panic!("what happened"))
            .spawn();
        let thread = thread.unwrap();
        assert_eq!(thread.join(), Ok(()));
        assert!(!thread.is_alive());
    };
    let Some(ended) = Child::run(test, body) else {
        return;
    };
    assert!(ended.status.success());
    assert_eq!(
        ended.stderr.matches("what happened").count(),
        1,
        "{}",
        ended.stderr
    );
    assert_eq!(
        ended.stderr.matches("thread 'broken' was ended").count(),
        1,
        "{}",
        ended.stderr
    );
}

#[test]
fn hook_5_a_payload_that_panics_when_dropped_is_contained() {
    let _watchdog = watchdog();
    let thread = Thread::new(|| {
        let payload = OnDrop(|| std::panic::resume_unwind(Box::new("again")));
        std::panic::resume_unwind(Box::new(payload));
    });
    thread.start().unwrap();
    thread.join().unwrap();
    assert!(!thread.is_alive());
}

#[test]
fn a_thread_that_ended_gives_its_stack_back_although_nobody_joins_it() {
    let _watchdog = watchdog();
    in_child(
        "a_thread_that_ended_gives_its_stack_back_although_nobody_joins_it",
        || {
            let start = || {
                let thread = Thread::builder()
                    .stack_size(1 << 20)
                    .target(|| ())
                    .spawn()
                    .unwrap();
                until(|| !thread.is_alive());
                thread
            };
            let kept: Vec<Thread> = (0..50).map(|_| start()).collect();
            let mappings = child::mapped();
            let more: Vec<Thread> = (0..500).map(|_| start()).collect();
            assert!(child::mapped() <= mappings + (64 << 20), "stacks are kept");
            for thread in kept.iter().chain(&more) {
                assert_eq!(thread.join_timeout(Duration::ZERO), Ok(true));
            }
        },
    );
}

#[test]
fn a_change_of_the_cache_may_meet_threads_that_end() {
    let _watchdog = watchdog();
    in_child("a_change_of_the_cache_may_meet_threads_that_end", || {
        let done = Event::new();
        std::thread::scope(|s| {
            s.spawn(|| {
                while !done.is_set() {
                    set_stack_cache(0);
                    set_stack_cache(32 << 20);
                }
            });
            common::threads(2, |_| (0..2_000).for_each(|_| run(|| ())));
            done.set();
        });
    });
}

// Stacks.

/// Uses `bytes` of the stack, and little more.
#[inline(never)]
fn dig(bytes: usize) {
    fn deeper(top: usize, bytes: usize) -> usize {
        let frame = std::hint::black_box([0_u8; 64]);
        let used = top - frame.as_ptr().addr();
        if used >= bytes {
            used
        } else {
            deeper(top, bytes) + usize::from(frame[0])
        }
    }
    let top = 0_u8;
    assert!(deeper((&raw const top).addr(), bytes) >= bytes);
}

#[test]
fn mod_11_to_13_the_stack_size_is_set_reset_and_checked() {
    let _watchdog = watchdog();
    in_child(
        "mod_11_to_13_the_stack_size_is_set_reset_and_checked",
        || {
            assert_eq!(stack_size(), 0);
            assert_eq!(set_stack_size(262_144), Ok(0));
            assert_eq!(set_stack_size(0), Ok(262_144)); // MOD-12: Python's bare call
            assert_eq!(set_stack_size(0), Ok(0));
            for small in [1, 4_096, 32_767] {
                assert_eq!(set_stack_size(small), Err(Error::InvalidStackSize));
                let built = Thread::builder().stack_size(small).build();
                assert_eq!(built.unwrap_err().kind(), ErrorKind::Value);
            }
            for fine in [32_768, 32_769, 65_536, 1 << 20] {
                set_stack_size(fine).unwrap();
                assert_eq!(stack_size(), fine);
                run(move || dig(fine - 1024));
            }
        },
    );
}

#[test]
fn mod_14_a_size_that_does_not_fit_is_accepted_and_refused_at_the_start() {
    let _watchdog = watchdog();
    for size in [1 << 47, usize::MAX] {
        let thread = Thread::builder().stack_size(size).build().unwrap();
        let error = thread.start().unwrap_err();
        assert!(
            error.is_runtime() && error.kind() == ErrorKind::Os,
            "{error}"
        );
    }
}

#[test]
fn ruling_17_the_size_is_what_the_threads_own_frames_may_take() {
    let _watchdog = watchdog();
    for size in [32 * 1024, 64 * 1024, 1 << 20] {
        // The last bytes are for the frame of `dig` that finds that it is there, and its caller.
        let witness = Witness::default();
        let target = witness.watch(move || dig(size - 1024));
        let thread = Thread::builder().stack_size(size).target(target);
        witness.join(&thread.spawn().unwrap());
    }
}

#[test]
fn a_stack_overflow_ends_the_process_and_names_the_thread() {
    let _watchdog = watchdog();
    let test = "a_stack_overflow_ends_the_process_and_names_the_thread";
    let body = || {
        let thread = Thread::builder()
            .name("too deep")
            .target(|| dig(usize::MAX));
        thread.spawn().unwrap().join().unwrap();
    };
    let Some(ended) = Child::run(test, body) else {
        return;
    };
    assert_eq!(ended.signal(), Some(Signal::SIGABRT), "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("thread 'too deep' has overflowed its stack"),
        "{ended:?}"
    );
}

#[test]
fn without_the_report_a_stack_overflow_still_ends_the_process() {
    let _watchdog = watchdog();
    let test = "without_the_report_a_stack_overflow_still_ends_the_process";
    let body = || {
        assert!(set_overflow_report(false));
        run(|| dig(usize::MAX));
    };
    let Some(ended) = Child::run(test, body) else {
        return;
    };
    assert_eq!(ended.signal(), Some(Signal::SIGSEGV), "{ended:?}");
    assert!(!ended.stderr.contains("overflowed"), "{ended:?}");
}

/// Reads where nothing is.
fn fault() {
    let nowhere = std::hint::black_box(std::ptr::without_provenance::<u8>(8));
    // SAFETY: none: the fault is what the callers are about.
    unsafe { nowhere.read_volatile() };
}

#[test]
fn ruling_17_a_fault_that_is_no_overflow_is_passed_on() {
    let _watchdog = watchdog();
    let test = "ruling_17_a_fault_that_is_no_overflow_is_passed_on";
    let body = || {
        run(fault);
    };
    let Some(ended) = Child::run(test, body) else {
        return;
    };
    assert_eq!(ended.signal(), Some(Signal::SIGSEGV), "{ended:?}");
    assert!(!ended.stderr.contains("overflowed"), "{ended:?}");
}

#[test]
fn a_second_fault_in_the_handler_before_ours_ends_the_process() {
    let _watchdog = watchdog();
    let test = "a_second_fault_in_the_handler_before_ours_ends_the_process";
    let body = || {
        extern "C" fn faulty(_signal: i32) {
            fault();
        }
        let action = SigAction::new(
            SigHandler::Handler(faulty),
            SaFlags::empty(),
            SigSet::empty(),
        );
        // SAFETY: the handler faults, which is what the test is about.
        unsafe { sigaction(Signal::SIGSEGV, &action) }.unwrap();
        run(fault);
    };
    let Some(ended) = Child::run(test, body) else {
        return;
    };
    assert_eq!(ended.signal(), Some(Signal::SIGSEGV), "{ended:?}");
}

#[test]
fn a_sigsegv_that_was_sent_does_what_it_did_without_us() {
    let _watchdog = watchdog();
    let test = "a_sigsegv_that_was_sent_does_what_it_did_without_us";
    let body = || {
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default action.
        unsafe { sigaction(Signal::SIGSEGV, &default) }.unwrap();
        run(|| nix::sys::signal::raise(Signal::SIGSEGV).unwrap());
    };
    let Some(ended) = Child::run(test, body) else {
        return;
    };
    assert_eq!(ended.signal(), Some(Signal::SIGSEGV), "{ended:?}");
}

#[test]
fn a_handler_installed_after_the_first_start_stays_on_top() {
    let _watchdog = watchdog();
    in_child(
        "a_handler_installed_after_the_first_start_stays_on_top",
        || {
            let thread = Thread::new(|| ());
            thread.start().unwrap();
            let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
            // SAFETY: the default action.
            unsafe { sigaction(Signal::SIGSEGV, &default) }.unwrap();
            thread.join().unwrap();
            run(|| ());
            // SAFETY: as above.
            let found = unsafe { sigaction(Signal::SIGSEGV, &default) }.unwrap();
            assert!(matches!(found.handler(), SigHandler::SigDfl));
        },
    );
}

#[test]
fn stacks_are_used_again() {
    let _watchdog = watchdog();
    in_child("stacks_are_used_again", || {
        run(|| ());
        let mappings = child::mappings();
        let stack = Arc::new(AtomicUsize::new(0));
        let mut reused = 0;
        for _ in 0..1_000 {
            let before = stack.load(Relaxed);
            run({
                let stack = stack.clone();
                move || {
                    let here = 0_u8;
                    stack.store((&raw const here).addr(), Relaxed);
                }
            });
            reused += usize::from(stack.load(Relaxed) == before);
        }
        assert!(reused >= 990, "reused {reused} times");
        // A leak would show a thousandfold; the allocator may add an arena or two for threads that
        // meet in it.
        assert!(child::mappings() <= mappings + 16);
    });
}

#[test]
fn ruling_17_after_ten_thousand_threads_were_joined_their_memory_is_back() {
    let _watchdog = watchdog();
    in_child(
        "ruling_17_after_ten_thousand_threads_were_joined_their_memory_is_back",
        || {
            // The sizes of the allocator's own pools are not our matter: go once before measuring.
            let crowd = |count: usize| {
                let go = Arc::new(Event::new());
                let threads: Vec<_> = (0..count)
                    .map(|_| {
                        let go = go.clone();
                        let target = move || go.wait();
                        Thread::builder()
                            .stack_size(64 * 1024)
                            .target(target)
                            .spawn()
                            .unwrap()
                    })
                    .collect();
                assert!(threads.iter().all(Thread::is_alive));
                go.set();
                threads.iter().for_each(|thread| thread.join().unwrap());
            };
            let tasks = child::tasks();
            crowd(10_000);
            let resident = child::resident();
            crowd(10_000);
            until(|| child::tasks() == tasks);
            assert!(
                child::resident() <= resident + resident / 10,
                "{} KiB, {} before",
                child::resident() >> 10,
                resident >> 10
            );
            let before = set_stack_cache(0);
            assert_eq!(before, 32 << 20);
            run(|| ());
            assert!(child::mappings() < 200, "slabs are unmapped");
        },
    );
}

#[test]
fn ruling_7_membarrier_can_be_switched_off_and_on_again() {
    let _watchdog = watchdog();
    in_child(
        "ruling_7_membarrier_can_be_switched_off_and_on_again",
        || {
            // Whether the releases of a new mutex become plain stores.
            let is_asymmetric = || {
                let mutex = Mutex::new(());
                (0..3).for_each(|_| drop(mutex.lock()));
                // SAFETY: it is only looked at.
                format!("{:?}", unsafe { mutex.raw() }).contains("mode: 0")
            };
            assert!(!is_asymmetric(), "nothing has set it up");
            set_membarrier(false);
            init();
            run(|| ());
            assert!(!is_asymmetric());
            set_membarrier(true);
            assert!(is_asymmetric(), "this kernel has it");
            set_membarrier(false);
            assert!(!is_asymmetric());
        },
    );
}
