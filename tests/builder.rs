//! What a builder asks of the kernel for a thread: signal mask, CPUs, scheduling (THR-9).

#![cfg(not(threadbare_model))]

mod child;
mod common;

use child::{Child, in_child};
use common::forked::{finish, start_child};
use common::witness::Witness;
use common::{until, watchdog};
use nix::libc;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::unistd::{Pid, Uid, seteuid};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use threadbare::{Builder, Error, Scheduling, Signals, Thread, get_native_id};

/// Starts `body` in a thread of `builder`'s, waits for it, and fails if it panicked.
#[track_caller]
fn run(builder: Builder, body: impl FnOnce() + Send + 'static) {
    let witness = Witness::default();
    witness.join(&builder.target(witness.watch(body)).spawn().unwrap());
}

/// A thread that says whether it ran, and that.
fn watched(builder: Builder) -> (Thread, Arc<AtomicBool>) {
    let ran = Arc::new(AtomicBool::new(false));
    let target = {
        let ran = ran.clone();
        move || ran.store(true, Relaxed)
    };
    (builder.target(target).build().unwrap(), ran)
}

/// Fails unless `thread`, made by [`watched`], is refused with `errno`, and then is as before.
#[track_caller]
fn is_refused(thread: &Thread, ran: &Arc<AtomicBool>, errno: i32) {
    let Err(Error::Start(refused)) = thread.start() else {
        panic!("it was not refused")
    };
    assert_eq!(refused.raw_os_error(), errno);
    assert_eq!(thread.join(), Err(Error::NotStarted));
    assert_eq!((thread.ident(), thread.is_alive()), (None, false));
    assert!(!ran.load(Relaxed));
    assert_eq!(Arc::strong_count(ran), 2, "the target is back");
}

// Signals.

/// The numbers of the signals that the calling thread has blocked.
fn blocked() -> Vec<i32> {
    let mask = SigSet::thread_get_mask().unwrap();
    let has = |signal: &i32| {
        // SAFETY: the set is valid and the number a signal's.
        unsafe { libc::sigismember(mask.as_ref(), *signal) == 1 }
    };
    (1..=64).filter(has).collect()
}

#[test]
fn a_thread_inherits_its_signal_mask_unless_it_asks() {
    let _watchdog = watchdog();
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGUSR2);
    mask.thread_block().unwrap();
    let mine = blocked();
    assert!(mine.contains(&libc::SIGUSR2));
    for builder in [
        Thread::builder(),
        Thread::builder().signals(Signals::Inherit),
        Thread::builder()
            .signals(Signals::BlockAll)
            .signals(Signals::default()),
    ] {
        let mine = mine.clone();
        run(builder, move || assert_eq!(blocked(), mine));
    }
    assert_eq!(blocked(), mine);
}

#[test]
fn a_thread_has_all_signals_blocked_but_for_those_of_its_faults() {
    let _watchdog = watchdog();
    let mine = blocked();
    run(Thread::builder().signals(Signals::BlockAll), || {
        let cannot = [libc::SIGKILL, libc::SIGSTOP, 32, 33]; // the last two are libc's
        let faults = [
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGFPE,
            libc::SIGILL,
            libc::SIGTRAP,
            libc::SIGSYS,
        ];
        let free: Vec<_> = (1..=64)
            .filter(|signal| !blocked().contains(signal))
            .collect();
        assert!(
            free.iter()
                .all(|signal| cannot.contains(signal) || faults.contains(signal)),
            "{free:?}"
        );
        assert!(faults.iter().all(|fault| free.contains(fault)), "{free:?}");
        // What the thread starts is as it is.
        run(Thread::builder(), move || {
            assert!(blocked().contains(&libc::SIGTERM));
        });
    });
    assert_eq!(blocked(), mine, "the caller has its own mask again");
}

#[test]
fn no_signal_reaches_a_thread_before_they_are_blocked() {
    static MAIN: AtomicU32 = AtomicU32::new(0);
    static ELSEWHERE: AtomicBool = AtomicBool::new(false);
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    extern "C" fn note(_: i32) {
        TAKEN.fetch_add(1, Relaxed);
        // SAFETY: no precondition; async-signal-safe.
        if unsafe { libc::gettid() } as u32 != MAIN.load(Relaxed) {
            ELSEWHERE.store(true, Relaxed);
        }
    }
    let _watchdog = watchdog();
    let action = SigAction::new(
        SigHandler::Handler(note),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    // SAFETY: the handler is async-signal-safe; no other test sends this signal.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
    // A process in which no other thread can take the signal.
    let process = start_child(|| {
        MAIN.store(get_native_id(), Relaxed);
        ELSEWHERE.store(false, Relaxed); // it did not know the thread before
        until(|| TAKEN.load(Relaxed) > 0);
        for _ in 0..1_000 {
            run(Thread::builder().signals(Signals::BlockAll), || ());
        }
        assert!(!ELSEWHERE.load(Relaxed), "a new thread took a signal");
    });
    let is_over = AtomicBool::new(false);
    std::thread::scope(|s| {
        s.spawn(|| {
            while !is_over.load(Relaxed) {
                // It is there, perhaps as a zombie, until it has been waited for.
                let _ = kill(process, Signal::SIGUSR1);
            }
        });
        let _storm_ends = common::witness::OnDrop(|| is_over.store(true, Relaxed));
        finish(process);
    });
}

#[test]
fn a_thread_with_blocked_signals_reports_its_overflow() {
    fn dig(depth: usize) -> usize {
        let page = std::hint::black_box([depth; 512]);
        if depth == 0 {
            return page[0];
        }
        dig(depth - 1) + page[depth % 512]
    }
    let _watchdog = watchdog();
    let test = "a_thread_with_blocked_signals_reports_its_overflow";
    let Some(ended) = Child::run(test, || {
        let builder = Thread::builder().signals(Signals::BlockAll).name("digger");
        run(builder, || assert!(dig(1 << 30) > 0));
    }) else {
        return;
    };
    assert_eq!(ended.signal(), Some(Signal::SIGABRT), "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("thread 'digger' has overflowed its stack"),
        "{ended:?}"
    );
}

// CPUs.

/// The CPUs that the calling thread may run on.
fn cpus() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count())
        .filter(|cpu| set.is_set(*cpu).unwrap())
        .collect()
}

#[test]
fn a_thread_runs_on_the_cpus_that_it_is_given_from_its_first_step() {
    let _watchdog = watchdog();
    let mine = cpus();
    for cpu in mine.repeat(50) {
        run(Thread::builder().affinity([cpu, cpu]), move || {
            // SAFETY: no precondition.
            assert_eq!(unsafe { libc::sched_getcpu() } as usize, cpu);
            assert_eq!(cpus(), [cpu]);
            run(Thread::builder(), move || assert_eq!(cpus(), [cpu]));
        });
    }
    run(Thread::builder().affinity(mine.clone()), {
        let mine = mine.clone();
        move || assert_eq!(cpus(), mine)
    });
    assert_eq!(cpus(), mine, "the caller is bound as before");
}

#[test]
fn thr_9_cpus_that_a_thread_cannot_run_on_are_refused() {
    let _watchdog = watchdog();
    let there = cpus()[0];
    for cpus in [
        vec![],
        vec![8191],
        vec![there, 8191], // the kernel would pass over the second
        vec![there, 8192],
        vec![1024, 100_000],
        vec![usize::MAX, there],
    ] {
        let builder = Thread::builder()
            .signals(Signals::BlockAll)
            .affinity(cpus.clone());
        let (thread, ran) = watched(builder);
        let mine = blocked();
        for _ in 0..3 {
            is_refused(&thread, &ran, libc::EINVAL);
        }
        assert_eq!(blocked(), mine, "{cpus:?}");
        // What was not started can still be run.
        thread.run().unwrap();
        assert!(ran.load(Relaxed));
    }
}

#[test]
fn thr_9_what_the_kernel_refuses_leaves_neither_threads_nor_memory() {
    let _watchdog = watchdog();
    in_child(
        "thr_9_what_the_kernel_refuses_leaves_neither_threads_nor_memory",
        || {
            let (thread, ran) = watched(Thread::builder().affinity([]));
            is_refused(&thread, &ran, libc::EINVAL); // whatever is set up once is there now
            let before = (child::tasks(), child::mapped());
            for _ in 0..1_000 {
                is_refused(&thread, &ran, libc::EINVAL);
            }
            // Stacks would come to 2 GiB; an arena of the allocator takes 64 MiB.
            assert!(child::mapped() <= before.1 + (512 << 20), "memory leaks");
            until(|| child::tasks() <= before.0);
            drop(thread);
            assert_eq!(Arc::strong_count(&ran), 1);
        },
    );
}

// Scheduling.

/// Policy and priority of the calling thread.
fn scheduling() -> (i32, i32) {
    // SAFETY: no precondition.
    let policy = unsafe { libc::sched_getscheduler(0) };
    let mut parameter = libc::sched_param { sched_priority: -1 };
    // SAFETY: the parameter is there to be written.
    let result = unsafe { libc::sched_getparam(0, &mut parameter) };
    assert_eq!(result, 0);
    (policy, parameter.sched_priority)
}

/// Whether this process may have the real-time priority 2: it takes a privilege or a limit, and a
/// container may keep it from root.
fn may_be_real_time() -> bool {
    std::thread::spawn(|| {
        let parameter = libc::sched_param { sched_priority: 2 };
        // SAFETY: sets what the calling thread alone has.
        unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &parameter) == 0 }
    })
    .join()
    .unwrap()
}

#[test]
fn a_thread_is_scheduled_as_it_asks() {
    let _watchdog = watchdog();
    let mine = scheduling();
    for builder in [
        Thread::builder(),
        Thread::builder().scheduling(Scheduling::Inherit),
        Thread::builder()
            .scheduling(Scheduling::Fifo(0))
            .scheduling(Scheduling::default()),
    ] {
        run(builder, move || assert_eq!(scheduling(), mine));
    }
    run(Thread::builder().scheduling(Scheduling::Other), || {
        assert_eq!(scheduling(), (libc::SCHED_OTHER, 0));
    });
    if !may_be_real_time() {
        eprintln!("real-time priorities are not tested: the system keeps them from this user");
        return;
    }
    run(
        Thread::builder().scheduling(Scheduling::RoundRobin(1)),
        || {
            assert_eq!(scheduling(), (libc::SCHED_RR, 1));
        },
    );
    run(Thread::builder().scheduling(Scheduling::Fifo(2)), || {
        assert_eq!(scheduling(), (libc::SCHED_FIFO, 2));
        run(Thread::builder(), || {
            assert_eq!(scheduling(), (libc::SCHED_FIFO, 2));
        });
        run(Thread::builder().scheduling(Scheduling::Other), || {
            assert_eq!(scheduling(), (libc::SCHED_OTHER, 0));
        });
    });
    assert_eq!(scheduling(), mine);
}

#[test]
fn thr_9_a_priority_that_there_is_not_is_refused() {
    let _watchdog = watchdog();
    for scheduling in [
        Scheduling::Fifo(0),
        Scheduling::Fifo(100),
        Scheduling::RoundRobin(0),
        Scheduling::RoundRobin(u8::MAX),
    ] {
        let (thread, ran) = watched(Thread::builder().scheduling(scheduling));
        is_refused(&thread, &ran, libc::EINVAL);
    }
}

#[test]
fn thr_9_a_priority_without_privilege_is_refused_until_there_is_one() {
    let _watchdog = watchdog();
    in_child(
        "thr_9_a_priority_without_privilege_is_refused_until_there_is_one",
        || {
            let (is_root, is_possible) = (Uid::effective().is_root(), may_be_real_time());
            let (soft, hard) = getrlimit(Resource::RLIMIT_RTPRIO).unwrap();
            setrlimit(Resource::RLIMIT_RTPRIO, 0, hard).unwrap();
            if is_root {
                // Takes the capabilities away for as long as it holds (capabilities(7)).
                seteuid(Uid::from_raw(65_534)).unwrap();
            }
            let cpu = cpus()[0];
            let builder = Thread::builder()
                .scheduling(Scheduling::Fifo(2))
                .affinity([cpu])
                .signals(Signals::BlockAll);
            let (thread, ran) = watched(builder);
            for _ in 0..3 {
                is_refused(&thread, &ran, libc::EPERM);
            }
            if is_root {
                seteuid(Uid::from_raw(0)).unwrap();
            }
            setrlimit(Resource::RLIMIT_RTPRIO, soft, hard).unwrap();
            if is_possible {
                thread.start().unwrap();
                thread.join().unwrap();
                assert!(ran.load(Relaxed));
            } else {
                is_refused(&thread, &ran, libc::EPERM);
            }
        },
    );
}

#[test]
fn a_builder_says_what_it_asks_for() {
    let builder = Thread::builder()
        .signals(Signals::BlockAll)
        .affinity([0, 9000])
        .scheduling(Scheduling::Fifo(7));
    let text = format!("{builder:?}");
    assert!(text.contains("blocks_signals: true"), "{text}");
    assert!(text.contains("{0, >= 8192}"), "{text}");
}
