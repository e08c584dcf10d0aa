//! What happens to panics, and `exit` (HOOK, EXIT-6, THR-16, ruling 15).
//!
//! The hook belongs to the process, so each test runs in a process of its own.

#![cfg(not(threadbare_model))]

mod child;
mod common;

use child::Child;
use common::{until, watchdog};
use nix::sys::signal::Signal;
use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use threadbare::{
    Error, ExceptHookArgs, Lock, Thread, current_excepthook, current_thread, default_excepthook,
    enumerate, excepthook, exit, get_ident, install_panic_hook, register_atexit, set_excepthook,
};

/// Runs the test's body in a process of its own and returns how that ended; in that process,
/// returns from the test.
macro_rules! in_child {
    ($test:ident, $body:expr) => {{
        let _watchdog = watchdog();
        match Child::run(stringify!($test), $body) {
            Some(ended) => ended,
            None => return,
        }
    }};
}

/// As `in_child`, if all is in the body.
macro_rules! child_test {
    ($(#[$doc:meta])* $test:ident, $body:block) => {
        $(#[$doc])*
        #[test]
        fn $test() {
            let ended = in_child!($test, || $body);
            assert!(ended.status.success(), "{}", ended.stderr);
        }
    };
}

/// Runs `target` in a thread called `name`, and waits for its end.
fn run_as(name: &str, target: impl FnOnce() + Send + 'static) -> Thread {
    let thread = Thread::builder().name(name).target(target).spawn().unwrap();
    thread.join().unwrap();
    assert!(!thread.is_alive());
    thread
}

fn run(target: impl FnOnce() + Send + 'static) -> Thread {
    run_as("broken", target)
}

/// What a hook was told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    type_name: String,
    message: Option<String>,
    location: Option<String>,
    thread: Option<Thread>,
}

impl Seen {
    fn new(args: &ExceptHookArgs<'_>) -> Seen {
        Seen {
            type_name: args.type_name.into(),
            message: args.message().map(Into::into),
            location: args.location.map(Into::into),
            thread: args.thread.cloned(),
        }
    }
}

/// Sets a hook that keeps what it is told.
fn keep_all() -> Arc<Mutex<Vec<Seen>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keeps = seen.clone();
    set_excepthook(move |args| keeps.lock().unwrap().push(Seen::new(args)));
    seen
}

fn take(seen: &Mutex<Vec<Seen>>) -> Vec<Seen> {
    std::mem::take(&mut seen.lock().unwrap())
}

/// The lines of `text` that are not empty.
fn lines(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.is_empty()).collect()
}

/// Calls its function when dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// `file:line:` of the calling line plus `below`.
macro_rules! place {
    ($below:expr) => {
        format!("{}:{}:", file!(), line!() + $below)
    };
}

// What the hook is told.

child_test!(
    hook_1_the_hook_is_told_payload_and_thread_which_is_alive_and_listed,
    {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let keeps = seen.clone();
        set_excepthook(move |args| {
            let thread = args.thread.unwrap();
            assert_eq!(*thread, current_thread());
            assert!(thread.is_alive() && thread.is_current());
            assert!(enumerate().contains(thread));
            assert!(args.backtrace.is_none());
            let number = args.payload.unwrap().downcast_ref::<u32>().copied();
            keeps.lock().unwrap().push((Seen::new(args), number));
        });
        let text = String::from("formatted");
        let threads = [
            run(|| panic!("plain")),
            run(move || panic!("{text}")),
            run(|| panic_any(17_u32)),
            run(|| resume_unwind(Box::new("silent"))),
        ];
        let told = |type_name: &str, message: Option<&str>, thread: &Thread| Seen {
            type_name: type_name.into(),
            message: message.map(Into::into),
            location: None,
            thread: Some(thread.clone()),
        };
        let wanted = [
            (told("&str", Some("plain"), &threads[0]), None),
            (told("String", Some("formatted"), &threads[1]), None),
            (told("dyn Any", None, &threads[2]), Some(17)),
            (told("&str", Some("silent"), &threads[3]), None),
        ];
        assert_eq!(*seen.lock().unwrap(), wanted);
    }
);

child_test!(hook_1_with_the_panic_hook_it_is_told_the_place_too, {
    install_panic_hook();
    install_panic_hook(); // does nothing
    let seen = keep_all();
    let place = place!(1);
    run(|| panic!("here"));
    run(|| resume_unwind(Box::new("nowhere")));
    let seen = take(&seen);
    assert_eq!(seen.len(), 2);
    let location = seen[0].location.as_ref().unwrap();
    assert!(location.starts_with(&place), "{location}");
    assert_eq!(seen[1].location, None);
});

#[test]
fn hook_1_with_a_backtrace_asked_for_it_is_told_the_frames() {
    let ended = in_child!(
        hook_1_with_a_backtrace_asked_for_it_is_told_the_frames,
        || {
            // SAFETY: no other thread reads the environment now.
            unsafe { std::env::set_var("RUST_BACKTRACE", "1") };
            install_panic_hook();
            let hook = set_excepthook(|args| {
                let frames = args.backtrace.unwrap().to_string();
                assert!(frames.contains("hook_1_with_a_backtrace"), "{frames}");
                default_excepthook(args);
            });
            run(|| panic!("here"));
            hook.install();
        }
    );
    assert!(ended.status.success());
    let stderr = ended.stderr;
    assert!(
        stderr.starts_with("Exception in thread 'broken':\n"),
        "{stderr}"
    );
    assert!(stderr.contains("hook_1_with_a_backtrace"), "{stderr}");
}

// The default hook.

#[test]
fn hook_2_without_the_panic_hook_one_line_names_the_thread() {
    let ended = in_child!(
        hook_2_without_the_panic_hook_one_line_names_the_thread,
        || {
            run_as("two\nlines", || panic!("what happened"));
        }
    );
    assert!(ended.status.success());
    let stderr = &ended.stderr;
    let lines = lines(stderr);
    assert_eq!(lines.len(), 4, "{stderr}");
    assert!(
        lines[0].contains(" panicked at tests/hooks.rs:"),
        "{stderr}"
    );
    assert_eq!(lines[1], "what happened");
    assert!(lines[2].starts_with("note: run with `RUST_BACKTRACE=1`"));
    assert_eq!(
        lines[3],
        "thread 'two\\nlines' was ended by the panic above"
    );
}

#[test]
fn hook_2_with_the_panic_hook_one_message_says_all() {
    let ended = in_child!(hook_2_with_the_panic_hook_one_message_says_all, || {
        install_panic_hook();
        run(|| panic!("what {}", "happened"));
        run(|| panic_any(17));
    });
    assert!(ended.status.success());
    let stderr = &ended.stderr;
    let lines = lines(stderr);
    assert_eq!(lines.len(), 6, "{stderr}");
    assert_eq!(lines[0], "Exception in thread 'broken':");
    assert!(
        lines[1].starts_with("panicked at tests/hooks.rs:"),
        "{stderr}"
    );
    assert_eq!(lines[2], "what happened");
    assert_eq!(lines[5], "dyn Any");
}

#[test]
fn hook_9_a_hook_is_called_by_hand_without_a_thread() {
    let ended = in_child!(hook_9_a_hook_is_called_by_hand_without_a_thread, || {
        let payload: Box<dyn Any + Send> = Box::new("by hand");
        let mut args = ExceptHookArgs::new(&*payload);
        assert!(args.thread.is_none() && args.location.is_none() && args.backtrace.is_none());
        excepthook(&args);
        args.location = Some("a.rs:1:2");
        excepthook(&args);
        let thread = Thread::builder().name("unstarted").build().unwrap();
        args.thread = Some(&thread);
        args.payload = None;
        args.type_name = "nothing";
        excepthook(&args);
        eprintln!("ident {}", get_ident());
        let seen = keep_all();
        excepthook(&args);
        assert_eq!(take(&seen).len(), 1);
        // What the hook does is not contained.
        set_excepthook(|_| resume_unwind(Box::new("out of the hook")));
        let ended = catch_unwind(AssertUnwindSafe(|| excepthook(&args)));
        assert_eq!(ended.unwrap_err().downcast_ref(), Some(&"out of the hook"));
    });
    assert!(ended.status.success(), "{}", ended.stderr);
    let lines = lines(&ended.stderr);
    let ident = lines[7].strip_prefix("ident ").unwrap();
    let wanted = [
        &format!("thread with ident {ident} was ended by the panic above"),
        &format!("Exception in thread with ident {ident}:"),
        "panicked at a.rs:1:2:",
        "by hand",
        "Exception in thread 'unstarted':",
        "panicked at a.rs:1:2:",
        "nothing",
    ];
    assert_eq!(lines[..7], wanted);
    assert_eq!(lines.len(), 8, "{}", ended.stderr);
}

#[test]
fn hook_3_without_a_stderr_nothing_is_said() {
    let ended = in_child!(hook_3_without_a_stderr_nothing_is_said, || {
        nix::unistd::close(2).unwrap();
        run(|| resume_unwind(Box::new("unheard")));
    });
    assert!(ended.status.success());
    assert_eq!(ended.stderr, "");
}

// Replacing the hook.

#[test]
fn hook_4_the_hook_at_the_time_of_the_failure_counts_and_can_be_restored() {
    let ended = in_child!(
        hook_4_the_hook_at_the_time_of_the_failure_counts_and_can_be_restored,
        || {
            let fail = || drop(run(|| resume_unwind(Box::new("failure"))));
            let go = Arc::new(threadbare::Event::new());
            let waits = go.clone();
            let early = Thread::new(move || {
                waits.wait();
                resume_unwind(Box::new("early"));
            });
            early.start().unwrap();
            assert_eq!(format!("{:?}", current_excepthook()), "ExceptHook(default)");
            let first = keep_all();
            assert_eq!(format!("{:?}", current_excepthook()), "ExceptHook(custom)");
            go.set();
            early.join().unwrap();
            assert_eq!(take(&first).len(), 1);

            let count = Arc::new(AtomicU32::new(0));
            let counts = count.clone();
            let before = set_excepthook(move |_| {
                counts.fetch_add(1, Relaxed);
            });
            fail();
            assert_eq!((take(&first).len(), count.load(Relaxed)), (0, 1));
            let second = before.clone().install();
            fail();
            assert_eq!((take(&first).len(), count.load(Relaxed)), (1, 1));
            drop(second.install());
            drop(before);
            assert_eq!(Arc::strong_count(&first), 1, "it is not kept");
            fail();
            assert_eq!(count.load(Relaxed), 2);
            set_excepthook(default_excepthook);
            assert_eq!(Arc::strong_count(&count), 1);
            fail();
        }
    );
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(
        ended.stderr,
        "thread 'broken' was ended by the panic above\n"
    );
}

child_test!(hook_4_hooks_change_while_threads_fail, {
    let told = Arc::new(AtomicU32::new(0));
    let threads: Vec<_> = (0..200)
        .map(|_| {
            let told = told.clone();
            set_excepthook(move |_| {
                told.fetch_add(1, Relaxed);
            });
            let thread = Thread::new(|| resume_unwind(Box::new("failure")));
            thread.start().unwrap();
            thread
        })
        .collect();
    threads.iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(told.load(Relaxed), 200);
});

child_test!(
    a_hook_that_is_replaced_while_it_runs_is_dropped_at_its_end,
    {
        let dropped = Arc::new(AtomicBool::new(false));
        let drops = dropped.clone();
        let last_user = OnDrop(move || {
            drops.store(true, Relaxed);
            panic!("in the destructor of the hook");
        });
        let saw = dropped.clone();
        drop(set_excepthook(move |_| {
            let _ = &last_user;
            drop(set_excepthook(|_| ()));
            assert!(!saw.load(Relaxed), "it is still running");
        }));
        run(|| resume_unwind(Box::new("failure")));
        assert!(dropped.load(Relaxed));
    }
);

// Hooks that do things.

#[test]
fn hook_5_a_hook_that_panics_is_reported_and_the_thread_ends() {
    let ended = in_child!(
        hook_5_a_hook_that_panics_is_reported_and_the_thread_ends,
        || {
            let calls = Arc::new(AtomicU32::new(0));
            let counts = calls.clone();
            set_excepthook(move |_| {
                counts.fetch_add(1, Relaxed);
                panic!("in the hook");
            });
            run(|| resume_unwind(Box::new("failure")));
            assert_eq!(calls.load(Relaxed), 1, "its own panics go elsewhere");
            install_panic_hook();
            run(|| resume_unwind(Box::new("failure")));
        }
    );
    assert!(ended.status.success(), "{}", ended.stderr);
    let stderr = &ended.stderr;
    let lines = lines(stderr);
    assert_eq!(lines.len(), 7, "{stderr}");
    assert!(
        lines[0].contains(" panicked at tests/hooks.rs:"),
        "{stderr}"
    );
    assert_eq!(lines[1], "in the hook");
    let header = "Exception in the excepthook of thread 'broken':";
    assert_eq!(lines[3], format!("{header} the panic above"));
    assert_eq!(lines[4], header);
    assert!(
        lines[5].starts_with("panicked at tests/hooks.rs:"),
        "{stderr}"
    );
    assert_eq!(lines[6], "in the hook");
}

#[test]
fn hook_5_a_hook_that_exits_ends_the_thread_quietly() {
    let ended = in_child!(hook_5_a_hook_that_exits_ends_the_thread_quietly, || {
        set_excepthook(|_| exit());
        run(|| resume_unwind(Box::new("failure")));
    });
    assert!(ended.status.success());
    assert_eq!(ended.stderr, "");
}

child_test!(
    hook_5_payloads_that_panic_or_exit_when_dropped_are_contained,
    {
        let told = Arc::new(AtomicU32::new(0));
        let counts = told.clone();
        set_excepthook(move |_| {
            counts.fetch_add(1, Relaxed);
        });
        run(|| panic_any(OnDrop(|| panic!("again"))));
        run(|| panic_any(OnDrop(|| exit())));
        run(|| panic_any(OnDrop(|| panic_any(OnDrop(|| panic!("and again"))))));
        run(|| {
            thread_local! {
                static KEPT: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
            }
            panic_any(OnDrop(|| KEPT.with(|kept| kept.borrow_mut().push(1))));
        });
        assert_eq!(told.load(Relaxed), 4);
    }
);

child_test!(hook_10_a_hook_may_use_all_of_the_crate, {
    let passed = Arc::new(AtomicBool::new(false));
    let passes = passed.clone();
    set_excepthook(move |args| {
        let thread = args.thread.unwrap();
        thread.set_name("renamed");
        // THR-16: also from its excepthook.
        assert_eq!(thread.join(), Err(Error::JoinSelf));
        assert_eq!(thread.start(), Err(Error::AlreadyStarted));
        let inner = Thread::new(|| drop(enumerate()));
        inner.start().unwrap();
        inner.join().unwrap();
        assert!(enumerate().contains(thread));
        let lock = Lock::new();
        lock.acquire();
        lock.release().unwrap();
        let again = current_excepthook();
        again.install();
        passes.store(true, Relaxed);
    });
    let thread = run(|| resume_unwind(Box::new("failure")));
    assert!(passed.load(Relaxed));
    assert_eq!(thread.name(), "renamed");
});

child_test!(hook_5_a_thread_started_by_a_hook_may_fail_too, {
    let depth = Arc::new(AtomicU32::new(0));
    let counts = depth.clone();
    set_excepthook(move |_| {
        if counts.fetch_add(1, Relaxed) < 5 {
            run(|| resume_unwind(Box::new("deeper")));
        }
    });
    run(|| resume_unwind(Box::new("first")));
    assert_eq!(depth.load(Relaxed), 6);
});

// Whose panics are ours.

#[test]
fn hook_7_panics_of_other_threads_are_stds_alone() {
    let ended = in_child!(hook_7_panics_of_other_threads_are_stds_alone, || {
        let seen = keep_all();
        let ended = std::thread::spawn(|| panic!("before")).join();
        assert!(ended.is_err());
        install_panic_hook();
        let ended = std::thread::spawn(|| {
            assert!(!current_thread().name().is_empty()); // a dummy changes nothing
            panic!("after");
        });
        assert!(ended.join().is_err());
        assert_eq!(take(&seen), []);
    });
    assert!(ended.status.success(), "{}", ended.stderr);
    let lines = lines(&ended.stderr);
    assert_eq!(lines.len(), 5, "{}", ended.stderr);
    assert_eq!((lines[1], lines[4]), ("before", "after"));
}

child_test!(
    hook_7_a_panic_that_the_thread_catches_itself_reaches_no_hook,
    {
        let seen = keep_all();
        run(|| {
            let caught = catch_unwind(|| panic!("caught"));
            assert!(caught.is_err());
        });
        assert_eq!(take(&seen), []);
    }
);

#[test]
fn ruling_15_after_a_panic_that_was_caught_the_next_has_its_own_place() {
    let ended = in_child!(
        ruling_15_after_a_panic_that_was_caught_the_next_has_its_own_place,
        || {
            install_panic_hook();
            let seen = keep_all();
            let place = place!(3);
            run(|| {
                let _ = catch_unwind(|| panic!("caught"));
                panic!("not caught");
            });
            let seen = take(&seen);
            let location = seen[0].location.as_ref().unwrap();
            assert!(location.starts_with(&place), "{location}, not {place}");
            assert_eq!(seen.len(), 1);
            assert_eq!(seen[0].message.as_deref(), Some("not caught"));
        }
    );
    assert!(ended.status.success(), "{}", ended.stderr);
    // The first is not printed, the second is: it might have come while the first unwound.
    assert!(
        !ended.stderr.lines().any(|line| line == "caught"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.lines().any(|line| line == "not caught"));
}

child_test!(
    ruling_15_the_programs_own_panic_hook_gets_what_is_not_ours,
    {
        static THEIRS: AtomicU32 = AtomicU32::new(0);
        let seen = keep_all();
        std::panic::set_hook(Box::new(|_| {
            THEIRS.fetch_add(1, Relaxed);
        }));
        run(|| panic!("without ours"));
        assert_eq!((THEIRS.load(Relaxed), take(&seen).len()), (1, 1));
        install_panic_hook();
        run(|| panic!("with ours"));
        assert_eq!((THEIRS.load(Relaxed), take(&seen).len()), (1, 1));
        assert!(std::thread::spawn(|| panic!("not ours")).join().is_err());
        assert_eq!((THEIRS.load(Relaxed), take(&seen).len()), (2, 0));
        // A hook that the program sets afterwards replaces ours.
        std::panic::set_hook(Box::new(|_| {
            THEIRS.fetch_add(10, Relaxed);
        }));
        run(|| panic!("without ours again"));
        let told = take(&seen);
        assert_eq!((THEIRS.load(Relaxed), told.len()), (12, 1));
        assert_eq!(told[0].location, None);
    }
);

#[test]
fn ruling_15_a_panic_while_another_unwinds_is_said_before_the_abort() {
    let ended = in_child!(
        ruling_15_a_panic_while_another_unwinds_is_said_before_the_abort,
        || {
            install_panic_hook();
            run(|| {
                let _second = OnDrop(|| panic!("the second"));
                panic!("the first");
            });
        }
    );
    assert_eq!(ended.signal(), Some(Signal::SIGABRT));
    assert!(ended.stderr.contains("the second"), "{}", ended.stderr);
}

child_test!(
    hook_1_panics_of_many_threads_at_once_reach_the_hook_once_each,
    {
        install_panic_hook();
        let seen = keep_all();
        const PLACES: [fn(); 3] = [|| panic!("0"), || panic!("1"), || panic!("2")];
        let threads: Vec<_> = (0..60)
            .map(|number| {
                let builder = Thread::builder().name(format!("{}", number % 3));
                builder.target(PLACES[number % 3]).spawn().unwrap()
            })
            .collect();
        threads.iter().for_each(|thread| thread.join().unwrap());
        let mut places = BTreeMap::new();
        let mut told: Vec<_> = take(&seen);
        assert_eq!(told.len(), 60);
        for seen in &told {
            let thread = seen.thread.as_ref().unwrap();
            assert_eq!(seen.message.as_deref(), Some(&*thread.name()));
            let place = places.entry(thread.name()).or_insert(&seen.location);
            assert_eq!(*place, &seen.location, "the place is the panic's own");
        }
        assert_eq!(places.len(), 3);
        told.sort_by_key(|seen| seen.thread.as_ref().unwrap().ident());
        let idents: Vec<_> = told
            .iter()
            .map(|seen| seen.thread.clone().unwrap())
            .collect();
        assert_eq!(idents, threads, "each once");
    }
);

// exit().

#[test]
fn exit_6_exit_unwinds_its_thread_quietly() {
    let ended = in_child!(exit_6_exit_unwinds_its_thread_quietly, || {
        install_panic_hook();
        let seen = keep_all();
        let lock = Arc::new(Lock::new());
        let dropped = Arc::new(AtomicBool::new(false));
        let (locks, drops) = (lock.clone(), dropped.clone());
        run(move || {
            let _guard = locks.guard();
            let _value = OnDrop(move || drops.store(true, Relaxed));
            exit();
        });
        assert!(dropped.load(Relaxed));
        assert!(lock.try_acquire(), "the guard released it");
        assert_eq!(take(&seen), []);
    });
    assert!(ended.status.success());
    assert_eq!(ended.stderr, "");
}

child_test!(exit_6_exit_in_a_thread_of_stds_unwinds_to_its_join, {
    let seen = keep_all();
    let dropped = Arc::new(AtomicBool::new(false));
    let drops = dropped.clone();
    let foreign = std::thread::spawn(move || {
        let _value = OnDrop(move || drops.store(true, Relaxed));
        exit();
    });
    assert!(foreign.join().is_err());
    assert!(dropped.load(Relaxed));
    assert_eq!(take(&seen), []);
});

child_test!(exit_6_exit_in_a_destructor_without_a_panic_unwinds, {
    let passed = Arc::new(AtomicBool::new(false));
    let passes = passed.clone();
    run(move || {
        let _later = OnDrop(move || passes.store(true, Relaxed));
        drop(OnDrop(|| exit()));
        unreachable!();
    });
    assert!(passed.load(Relaxed));
});

#[test]
fn exit_6_exit_in_a_destructor_during_a_panic_aborts_and_says_why() {
    let ended = in_child!(
        exit_6_exit_in_a_destructor_during_a_panic_aborts_and_says_why,
        || {
            run(|| {
                let _exits = OnDrop(|| exit());
                resume_unwind(Box::new("failure"));
            });
        }
    );
    assert_eq!(ended.signal(), Some(Signal::SIGABRT));
    let wanted = "threadbare::exit() in a thread that cannot unwind\n";
    assert_eq!(ended.stderr, wanted);
}

child_test!(exit_6_run_by_hand_in_a_thread_unwinds_to_that_thread, {
    let seen = keep_all();
    let outer = run(|| {
        let inner = Thread::new(|| exit());
        let _ = inner.run();
        unreachable!();
    });
    assert!(!outer.is_alive());
    assert_eq!(take(&seen), []);
});

#[test]
fn exit_4_panics_in_callbacks_go_to_the_hook_in_whatever_thread() {
    let ended = in_child!(
        exit_4_panics_in_callbacks_go_to_the_hook_in_whatever_thread,
        || {
            register_atexit(|| eprintln!("the last")).unwrap();
            register_atexit(|| exit()).unwrap();
            register_atexit(|| resume_unwind(Box::new("failure"))).unwrap();
            set_excepthook(|args| {
                assert_eq!(args.thread, Some(&current_thread()));
                eprintln!(
                    "{}: {}",
                    args.thread.unwrap().name(),
                    args.message().unwrap()
                );
            });
            let thread = Thread::builder().name("exits").daemon(true);
            thread.target(|| std::process::exit(7)).spawn().unwrap();
            until(|| false);
        }
    );
    assert_eq!(ended.status.code(), Some(7));
    assert_eq!(ended.stderr, "exits: failure\nthe last\n");
}
