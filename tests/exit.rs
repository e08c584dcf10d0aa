//! The end of the program: `shutdown`, `register_atexit`, `set_exit_timeout`, `exit_process` and
//! the wait at exit (EXIT, MAIN, THR-6, MEM-3, ruling 14).
//!
//! What is tested is how a process ends, most of all by the return of its main. So this is a program
//! with a main of its own: without more it runs itself once for each case, and compares the status
//! and the output; with a case's name in the environment it is that case, in its main thread.
//!
//! Arguments choose the cases whose names contain one of them.

#![cfg(not(threadbare_model))]

mod common;

use common::{patience, this_program, until};
use nix::libc;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use std::cell::Cell;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use threadbare::{
    Condition, Deadline, Error, Event, Lock, RLock, Semaphore, Thread, Timer, current_thread,
    enumerate, exit, exit_process, get_native_id, main_thread, park, register_atexit, scope,
    set_excepthook, set_exit_timeout, shutdown, sleep_until, spawn,
};

/// Tells a child which case it is.
const MARK: &str = "THREADBARE_EXIT_CASE";

/// After that a case that hangs is ended, by `SIGALRM`.
const PATIENCE: Duration = Duration::from_secs(60);

/// A timeout that is meant to pass.
const MOMENT: Duration = Duration::from_millis(20);

/// How many cases run at a time: they wait more than they work.
const AT_ONCE: usize = 8;

/// One way to end a process.
struct Case {
    name: &'static str,
    body: fn(),
    status: i32,
    /// All that it says, in order.
    says: &'static [&'static str],
    /// Lines of its stderr; if there are none, it has to be empty.
    complains: &'static [&'static str],
}

impl Case {
    const fn new(
        name: &'static str,
        body: fn(),
        status: i32,
        says: &'static [&'static str],
    ) -> Case {
        Case {
            name,
            body,
            status,
            says,
            complains: &[],
        }
    }

    const fn complaining(self, complains: &'static [&'static str]) -> Case {
        Case { complains, ..self }
    }

    /// Runs the case in a process of its own; what is wrong with how that ended.
    fn check(&self) -> Result<(), String> {
        let ended = this_program()
            .env(MARK, self.name)
            .env_remove("RUST_BACKTRACE")
            .output()
            .unwrap();
        let said = String::from_utf8(ended.stdout).unwrap();
        let complained = String::from_utf8_lossy(&ended.stderr);

        let complains_right = if self.complains.is_empty() {
            complained.is_empty()
        } else {
            let mut wanted = self.complains.iter();
            wanted.all(|wanted| complained.lines().any(|line| line == *wanted))
        };
        let right = ended.status.code() == Some(self.status)
            && said.lines().eq(self.says.iter().copied())
            && complains_right;
        if right {
            return Ok(());
        }
        Err(format!(
            "ended with {}\n  wanted: {}\n  said: {said:?}\n  wanted: {:?}\n  \
             stderr: {complained:?}\n  wanted: {:?}",
            ended.status, self.status, self.says, self.complains
        ))
    }
}

fn main() -> ExitCode {
    if let Ok(name) = std::env::var(MARK) {
        let case = CASES.iter().find(|case| case.name == name).unwrap();
        give_a_limit();
        (case.body)();
        return ExitCode::SUCCESS;
    }
    // As the standard harness has it; other options mean nothing here.
    let (mut wanted, mut skipped) = (Vec::new(), Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--skip" {
            skipped.extend(arguments.next());
        } else if !argument.starts_with('-') {
            wanted.push(argument);
        }
    }
    let is_wanted = |case: &&Case| {
        let is_named = |parts: &[String]| parts.iter().any(|part| case.name.contains(part));
        (wanted.is_empty() || is_named(&wanted)) && !is_named(&skipped)
    };
    let cases: Vec<_> = CASES.iter().filter(is_wanted).collect();
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|s| {
        for _ in 0..AT_ONCE {
            s.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Relaxed)) {
                    match case.check() {
                        Ok(()) => println!("test {} ... ok", case.name),
                        Err(what) => {
                            println!("test {} ... FAILED\n  {what}", case.name);
                            failed.fetch_add(1, Relaxed);
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    let passed = cases.len() - failed;
    let outcome = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {outcome}. {passed} passed; {failed} failed");
    ExitCode::from(u8::from(failed != 0))
}

// What the cases are made of.

/// Ends this process if it hangs.
fn give_a_limit() {
    // SAFETY: no precondition.
    unsafe { libc::alarm(PATIENCE.as_secs() as u32 * patience()) };
}

/// Writes a line to stdout at once, past buffers and whatever the end of the process does to them.
fn say(line: &str) {
    let line = format!("{line}\n");
    // SAFETY: the line is as long as said.
    let written = unsafe { libc::write(1, line.as_ptr().cast(), line.len()) };
    assert_eq!(written, line.len() as isize);
}

/// The kernel's id of the thread that runs the end of this process, once it has begun.
static ENDS_IT: AtomicU32 = AtomicU32::new(0);

/// Lets [`until_the_end`] know who runs the end.
fn expect_the_end() {
    static IN_PROCESS: AtomicU32 = AtomicU32::new(0);
    if IN_PROCESS.swap(std::process::id(), Relaxed) == std::process::id() {
        return;
    }
    ENDS_IT.store(0, Relaxed); // as the parent of a fork may have left it
    if register_atexit(|| ENDS_IT.store(get_native_id(), Relaxed)).is_err() {
        // It has begun, and this is one of its callbacks.
        ENDS_IT.store(get_native_id(), Relaxed);
    }
}

/// Starts a thread that the process waits for.
fn worker(name: &str, target: impl FnOnce() + Send + 'static) -> Thread {
    expect_the_end();
    let builder = Thread::builder().name(name).daemon(false);
    builder.target(target).spawn().unwrap()
}

/// Starts a thread that the process does not wait for.
fn daemon(target: impl FnOnce() + Send + 'static) -> Thread {
    let builder = Thread::builder().name("daemon").daemon(true);
    builder.target(target).spawn().unwrap()
}

/// Starts a thread that is busy until the end waits for it, then says so.
fn late_worker() -> Thread {
    worker("late", || {
        until_the_end();
        say("late");
    })
}

/// Returns when main has been marked as ended and who runs the end of the process sleeps, waiting
/// for threads. At an end that does not wait that never comes.
fn until_the_end() {
    until(|| !main_thread().is_alive() && common::is_asleep(ENDS_IT.load(Relaxed)));
}

/// Returns when the main thread, which has returned, waits for others.
fn until_main_waits() {
    until(|| common::is_asleep(std::process::id()));
}

/// Returns when the main thread waits for the calling thread to be gone from the kernel, be it by
/// itself or behind another that does.
fn until_main_joins_this_thread() {
    until(|| common::is_asleep(std::process::id()) && common::is_being_joined());
}

fn sleep_for_ever() -> ! {
    loop {
        std::thread::park();
    }
}

/// Says a line when dropped.
struct Says(&'static str);

impl Drop for Says {
    fn drop(&mut self) {
        say(self.0);
    }
}

thread_local! {
    /// For values that say something when the thread ends.
    static AT_END: Cell<Option<Box<dyn Send>>> = const { Cell::new(None) };
}

/// Calls its function when dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Registers a handler of libc's.
fn at_exit(handler: extern "C" fn()) {
    // SAFETY: a function for the life of the program.
    assert_eq!(unsafe { libc::atexit(handler) }, 0);
}

/// A pthread key whose values are destroyed once the main thread waits for that, and say so.
fn slow_key() -> libc::pthread_key_t {
    extern "C" fn destroy(_: *mut libc::c_void) {
        until_main_joins_this_thread();
        say("pthread key");
    }
    let mut key = 0;
    // SAFETY: `key` is valid for the call to write; the destructor takes any value.
    let result = unsafe { libc::pthread_key_create(&mut key, Some(destroy)) };
    assert_eq!(result, 0);
    key
}

fn give_value(key: libc::pthread_key_t) {
    let value = std::ptr::without_provenance(1);
    // SAFETY: a key of `slow_key`, whose destructor does not follow the value.
    assert_eq!(unsafe { libc::pthread_setspecific(key, value) }, 0);
}

const CASES: &[Case] = &[
    // How main ends (EXIT-1).
    Case::new("exit_1_main_returns", || drop(late_worker()), 0, &["late"]),
    Case::new(
        "exit_1_main_panics",
        || {
            late_worker();
            panic!("in main");
        },
        101,
        &["late"],
    )
    .complaining(&["in main"]),
    Case::new(
        "exit_1_main_calls_std_process_exit",
        || {
            late_worker();
            std::process::exit(7);
        },
        7,
        &["late"],
    ),
    Case::new(
        "exit_1_main_calls_exit_of_libc",
        || {
            late_worker();
            // SAFETY: nobody else calls it.
            unsafe { libc::exit(7) };
        },
        7,
        &["late"],
    ),
    Case::new(
        "exit_1_main_calls_exit_and_is_not_unwound",
        || {
            let _says = Says("main was unwound");
            late_worker();
            exit();
        },
        0,
        &["late"],
    ),
    Case::new(
        "exit_1_many_workers_all_end",
        || {
            static ENDED: AtomicU32 = AtomicU32::new(0);
            extern "C" fn count() {
                assert_eq!(ENDED.load(Relaxed), 200);
                say("all");
            }
            at_exit(count);
            for _ in 0..200 {
                worker("one of many", || {
                    until(|| !main_thread().is_alive());
                    std::thread::yield_now();
                    ENDED.fetch_add(1, Relaxed);
                });
            }
        },
        0,
        &["all"],
    ),
    Case::new(
        "exit_6_exit_in_another_thread_ends_only_that",
        || {
            let thread = worker("leaver", || {
                let _says = Says("unwound");
                exit();
            });
            thread.join().unwrap();
            say("main goes on");
        },
        0,
        &["unwound", "main goes on"],
    ),
    // Who is waited for.
    Case::new(
        "exit_1_daemons_are_not_waited_for_and_run_no_destructors",
        || {
            let running = std::sync::Arc::new(Event::new());
            for _ in 0..4 {
                let runs = running.clone();
                daemon(move || {
                    let _says = Says("a daemon was unwound");
                    AT_END.set(Some(Box::new(Says(
                        "a daemon's thread-local was destroyed",
                    ))));
                    runs.set();
                    sleep_for_ever();
                });
                running.wait();
                running.clear();
            }
            late_worker();
        },
        0,
        &["late"],
    ),
    Case::new(
        "exit_10_foreign_threads_are_not_waited_for",
        || {
            let known = std::sync::Arc::new(Event::new());
            let is_known = known.clone();
            std::thread::spawn(move || {
                assert!(current_thread().daemon());
                is_known.set();
                sleep_for_ever();
            });
            std::thread::spawn(|| sleep_for_ever());
            known.wait();
            late_worker();
        },
        0,
        &["late"],
    ),
    Case::new(
        "thr_6_threads_made_by_a_foreign_thread_are_daemons_unless_they_say",
        || {
            let foreign = std::thread::spawn(|| {
                Thread::new(|| sleep_for_ever()).start().unwrap();
                late_worker();
            });
            foreign.join().unwrap();
        },
        0,
        &["late"],
    ),
    Case::new(
        "thr_6_threads_made_by_a_daemon_are_daemons_unless_they_say",
        || {
            let maker = daemon(|| {
                Thread::new(|| sleep_for_ever()).start().unwrap();
                late_worker();
            });
            maker.join().unwrap();
        },
        0,
        &["late"],
    ),
    Case::new(
        "ruling_14_a_first_non_daemon_arms_the_end_even_if_it_is_gone",
        || {
            extern "C" fn look() {
                say(if main_thread().is_alive() {
                    "alive"
                } else {
                    "ended"
                });
            }
            at_exit(look);
            daemon(|| sleep_for_ever());
            worker("short", || ()).join().unwrap();
        },
        0,
        &["ended"],
    ),
    Case::new(
        "ruling_14_only_daemons_arm_nothing",
        || {
            extern "C" fn look() {
                say(if main_thread().is_alive() {
                    "alive"
                } else {
                    "ended"
                });
            }
            at_exit(look);
            daemon(|| sleep_for_ever());
            // Made, but not started.
            drop(Thread::new(|| ()));
        },
        0,
        &["alive"],
    ),
    Case::new(
        "exit_2_threads_started_meanwhile_are_waited_for",
        || {
            worker("first", || {
                until_the_end();
                say("first"); // before the next one is there, which does not wait for this line
                worker("second", || {
                    until_the_end();
                    say("second");
                    worker("third", || {
                        until_the_end();
                        say("third");
                    });
                });
            });
        },
        0,
        &["first", "second", "third"],
    ),
    Case::new(
        "exit_5_a_thread_started_by_a_callback_is_waited_for",
        || register_atexit(|| drop(late_worker())).unwrap(),
        0,
        &["late"],
    ),
    Case::new(
        "exit_5_a_thread_started_by_a_daemon_meanwhile_is_waited_for",
        || {
            let starter = daemon(|| {
                until_the_end();
                late_worker();
            });
            worker("other", move || starter.join().unwrap());
        },
        0,
        &["late"],
    ),
    Case::new(
        "mem_3_thread_locals_and_pthread_keys_are_destroyed_before_the_end",
        || {
            extern "C" fn last() {
                say("handler");
            }
            at_exit(last);
            let key = slow_key();
            worker("worker", move || {
                give_value(key);
                AT_END.set(Some(Box::new(OnDrop(|| {
                    until_the_end();
                    say("thread-local");
                }))));
            });
        },
        0,
        &["thread-local", "pthread key", "handler"],
    ),
    Case::new(
        "mem_3_also_of_a_thread_that_a_daemon_joins",
        || {
            let key = slow_key();
            let thread = worker("worker", move || {
                give_value(key);
                until_the_end();
            });
            daemon(move || thread.join().unwrap());
        },
        0,
        &["pthread key"],
    ),
    Case::new(
        "mem_3_also_of_a_thread_that_has_ended_but_for_its_pthread_keys",
        || {
            let key = slow_key();
            let thread = worker("worker", move || give_value(key));
            until(|| !thread.is_alive());
        },
        0,
        &["pthread key"],
    ),
    Case::new(
        "mem_3_also_of_threads_that_others_try_to_join_at_that_moment",
        || {
            let key = slow_key();
            // Each start and each join looks whether the ended threads can be joined.
            for _ in 0..3 {
                daemon(|| {
                    loop {
                        let thread = Thread::builder().daemon(true).spawn().unwrap();
                        thread.join().unwrap();
                    }
                });
            }
            let thread = worker("worker", move || give_value(key));
            until(|| !thread.is_alive());
        },
        0,
        &["pthread key"],
    ),
    // Callbacks (EXIT-2, EXIT-4).
    Case::new(
        "exit_2_callbacks_run_in_reverse_order_while_main_is_alive",
        || {
            for name in ["first", "second", "third"] {
                register_atexit(move || {
                    assert!(main_thread().is_alive());
                    assert!(enumerate().contains(&main_thread()));
                    assert_eq!(current_thread(), main_thread());
                    say(name);
                })
                .unwrap();
            }
            late_worker();
        },
        0,
        &["third", "second", "first", "late"],
    ),
    Case::new(
        "exit_4_callbacks_alone_arm_the_end",
        || register_atexit(|| say("callback")).unwrap(),
        0,
        &["callback"],
    ),
    Case::new(
        "exit_4_once_the_end_has_begun_no_callback_is_taken",
        || {
            fn try_it() {
                let says = Says("dropped");
                let refused = register_atexit(move || drop(says));
                assert_eq!(refused, Err(Error::ShuttingDown));
                assert!(Error::ShuttingDown.is_runtime());
            }
            register_atexit(|| {
                try_it();
                say("callback");
            })
            .unwrap();
            worker("late", || {
                until_the_end();
                try_it();
                say("late");
            });
        },
        0,
        &["dropped", "callback", "dropped", "late"],
    ),
    Case::new(
        "exit_4_a_callback_that_panics_goes_to_the_hook_and_the_others_run",
        || {
            set_excepthook(|args| {
                let name = args.thread.map(Thread::name);
                say(&format!("hook: {:?} in {name:?}", args.message().unwrap()));
            });
            register_atexit(|| say("first")).unwrap();
            register_atexit(|| std::panic::resume_unwind(Box::new("second"))).unwrap();
            register_atexit(|| exit()).unwrap();
            late_worker();
        },
        0,
        &["hook: \"second\" in Some(\"MainThread\")", "first", "late"],
    ),
    Case::new(
        "exit_4_the_default_hook_names_main_for_a_callback",
        || register_atexit(|| panic!("in a callback")).unwrap(),
        0,
        &[],
    )
    .complaining(&[
        "in a callback",
        "thread 'MainThread' was ended by the panic above",
    ]),
    // The main thread (MAIN).
    Case::new(
        "main_2_joiners_of_main_are_released_after_the_callbacks",
        || {
            let joiner = worker("joiner", || {
                main_thread().join().unwrap();
                assert!(!main_thread().is_alive());
                say("released");
            });
            register_atexit(move || {
                let id = joiner.native_id().unwrap();
                until(|| common::is_asleep(id));
                say("callback");
            })
            .unwrap();
        },
        0,
        &["callback", "released"],
    ),
    Case::new(
        "main_2_who_asks_for_main_only_at_the_end_finds_it_ended",
        || {
            // Nothing before the end asks for the main thread.
            let release = std::sync::Arc::new(AtomicBool::new(false));
            let is_released = release.clone();
            worker("joiner", move || {
                until(|| is_released.load(Relaxed));
                until_main_waits();
                main_thread().join().unwrap();
                assert!(!main_thread().is_alive());
                say("released");
            });
            register_atexit(move || release.store(true, Relaxed)).unwrap();
        },
        0,
        &["released"],
    ),
    Case::new(
        "main_2_main_cannot_be_started_changed_or_joined_by_itself",
        || {
            let check = || {
                assert_eq!(main_thread().start(), Err(Error::AlreadyStarted));
                assert_eq!(main_thread().set_daemon(true), Err(Error::DaemonAfterStart));
                assert_eq!(main_thread().name(), "MainThread");
                assert!(!main_thread().daemon());
            };
            check();
            assert_eq!(main_thread().join(), Err(Error::JoinSelf));
            register_atexit(|| {
                assert_eq!(main_thread().join(), Err(Error::JoinSelf));
                say("callback");
            })
            .unwrap();
            worker("late", move || {
                until_the_end();
                check();
                say("late");
            });
        },
        0,
        &["callback", "late"],
    ),
    Case::new(
        "main_3_main_is_the_current_thread_to_the_last",
        || {
            extern "C" fn look() {
                assert_eq!(current_thread(), main_thread());
                assert!(!main_thread().is_alive());
                assert_eq!(main_thread().ident(), Some(threadbare::get_ident()));
                assert_eq!(main_thread().native_id(), Some(std::process::id()));
                assert_eq!(main_thread().join(), Err(Error::JoinSelf));
                say("handler");
            }
            at_exit(look);
            late_worker();
        },
        0,
        &["late", "handler"],
    ),
    // Shutdown by hand (EXIT-3, EXIT-9).
    Case::new(
        "exit_3_a_second_shutdown_calls_nothing_again_and_waits_for_new_threads",
        || {
            register_atexit(|| say("callback")).unwrap();
            let first = late_worker();
            shutdown();
            assert!(!first.is_alive());
            assert!(!main_thread().is_alive());
            let second = worker("second", || {
                until_the_end();
                say("second");
            });
            shutdown();
            assert!(!second.is_alive());
            worker("third", || {
                until_the_end();
                say("third");
            });
        },
        0,
        &["callback", "late", "second", "third"],
    ),
    Case::new(
        "exit_3_a_callback_may_call_shutdown",
        || {
            register_atexit(|| say("first")).unwrap();
            register_atexit(|| {
                shutdown();
                say("second");
            })
            .unwrap();
            late_worker();
        },
        0,
        &["first", "late", "second"],
    ),
    Case::new(
        "exit_3_two_threads_that_shut_down_do_not_wait_for_each_other",
        || {
            for _ in 0..2 {
                worker("shuts down", || {
                    until(|| enumerate().len() == 3);
                    shutdown();
                    until_main_waits();
                    say("went on");
                });
            }
            until(|| !main_thread().is_alive());
        },
        0,
        &["went on", "went on"],
    ),
    Case::new(
        "exit_3_a_worker_that_shuts_down_is_waited_for_at_exit",
        || {
            let other = late_worker();
            worker("shuts down", move || {
                shutdown();
                assert!(!other.is_alive());
                until_main_waits();
                say("went on");
            });
            until(|| !main_thread().is_alive());
        },
        0,
        &["late", "went on"],
    ),
    Case::new(
        "exit_3_who_shuts_down_does_not_wait_for_who_exits_meanwhile",
        || {
            let exits = worker("exits", || {
                until_the_end();
                std::process::exit(3);
            });
            worker("shuts down", move || {
                shutdown();
                drop(exits);
                say("went on");
            });
            sleep_for_ever();
        },
        3,
        &["went on"],
    ),
    // Exit from another thread.
    Case::new(
        "exit_9_std_process_exit_in_a_worker_while_main_sleeps",
        || {
            let other = late_worker();
            worker("exits", move || {
                AT_END.set(Some(Box::new(Says("thread-local"))));
                let _says = Says("unwound");
                assert!(other.is_alive());
                std::process::exit(3);
            });
            sleep_for_ever();
        },
        3,
        &["thread-local", "late"],
    ),
    Case::new(
        "exit_9_std_process_exit_in_a_daemon_while_main_sleeps",
        || {
            late_worker();
            daemon(|| std::process::exit(3));
            sleep_for_ever();
        },
        3,
        &["late"],
    ),
    Case::new(
        "exit_9_std_process_exit_in_a_foreign_thread_while_main_joins_it",
        || {
            late_worker();
            let foreign = std::thread::spawn(|| {
                assert!(current_thread().daemon());
                std::process::exit(3)
            });
            foreign.join().unwrap();
        },
        3,
        &["late"],
    ),
    Case::new(
        "exit_9_main_returns_while_another_thread_exits",
        || {
            late_worker();
            worker("exits", || std::process::exit(3));
            until(|| !main_thread().is_alive());
        },
        3,
        &["late"],
    ),
    Case::new(
        "exit_9_main_joins_the_worker_that_exits",
        || {
            late_worker();
            worker("exits", || std::process::exit(3)).join().unwrap();
            say("not reached");
        },
        3,
        &["late"],
    ),
    Case::new(
        "exit_9_the_thread_that_exits_is_itself_to_the_last",
        || {
            static IDENT: AtomicU32 = AtomicU32::new(0);
            extern "C" fn look() {
                let thread = current_thread();
                assert_eq!(thread.name(), "exits");
                assert!(!thread.is_alive());
                assert!(!enumerate().contains(&thread));
                assert_eq!(thread.native_id(), Some(get_native_id()));
                assert_eq!(thread.join(), Err(Error::JoinSelf));
                assert_ne!(thread, main_thread());
                say("handler");
            }
            at_exit(look);
            register_atexit(|| {
                assert_eq!(current_thread().name(), "exits");
                say("callback");
            })
            .unwrap();
            let seen = worker("exits", || {
                IDENT.store(get_native_id(), Relaxed);
                std::process::exit(3);
            });
            // With a deadline a join tells that the kernel thread is still there.
            until(|| !seen.is_alive());
            assert_eq!(seen.join_timeout(Duration::from_millis(1)), Ok(false));
            sleep_for_ever();
        },
        3,
        &["callback", "handler"],
    ),
    Case::new(
        "exit_9_a_second_std_process_exit_sleeps_so_a_bound_ends_the_wait",
        || {
            set_exit_timeout(Some(5 * MOMENT)).unwrap();
            worker("second", || {
                until_the_end();
                std::process::exit(4);
            });
            std::process::exit(3);
        },
        3,
        &[],
    )
    .complaining(&["threadbare: the process ends without waiting for 'second'"]),
    // exit_process.
    Case::new(
        "exit_process_in_a_worker_while_main_has_returned_and_waits",
        || {
            late_worker();
            worker("exits", || {
                until_the_end();
                exit_process(5);
            });
        },
        5,
        &["late"],
    ),
    Case::new(
        "exit_process_in_a_worker_right_when_main_returns",
        || {
            late_worker();
            worker("exits", || exit_process(5));
        },
        5,
        &["late"],
    ),
    Case::new(
        "exit_process_in_a_worker_while_main_sleeps",
        || {
            late_worker();
            let exits = worker("exits", || {
                let _says = Says("unwound");
                exit_process(5)
            });
            until(|| !exits.is_alive());
            sleep_for_ever();
        },
        5,
        &["late"],
    ),
    Case::new(
        "exit_process_in_a_worker_while_main_shuts_down_by_hand",
        || {
            worker("exits", || {
                until_the_end();
                exit_process(5);
            });
            shutdown();
            // What main does now is cut short, or not.
        },
        5,
        &[],
    ),
    Case::new(
        "exit_process_in_main",
        || {
            late_worker();
            exit_process(5);
        },
        5,
        &["late"],
    ),
    Case::new(
        "exit_process_in_main_while_a_worker_exits",
        || {
            static CALLS: AtomicBool = AtomicBool::new(false);
            worker("late", || {
                until(|| CALLS.load(Relaxed) && common::is_asleep(std::process::id()));
                say("late");
            });
            daemon(|| std::process::exit(3));
            until(|| !main_thread().is_alive());
            CALLS.store(true, Relaxed);
            exit_process(5);
        },
        5,
        &["late"],
    ),
    Case::new(
        "exit_process_in_a_foreign_thread",
        || {
            late_worker();
            std::thread::spawn(|| exit_process(5)).join().unwrap();
        },
        5,
        &["late"],
    ),
    Case::new(
        "exit_process_in_a_foreign_thread_that_is_known",
        || {
            late_worker();
            let foreign = std::thread::spawn(|| {
                assert!(current_thread().is_alive());
                exit_process(5)
            });
            foreign.join().unwrap();
        },
        5,
        &["late"],
    ),
    Case::new(
        "exit_process_without_any_thread",
        || exit_process(5),
        5,
        &[],
    ),
    Case::new(
        "exit_process_in_a_callback",
        || {
            register_atexit(|| say("first")).unwrap();
            register_atexit(|| {
                let _says = Says("unwound");
                exit_process(5);
            })
            .unwrap();
            late_worker();
        },
        5,
        &["unwound", "first", "late"],
    ),
    Case::new(
        "exit_process_in_a_callback_of_a_shutdown_by_hand",
        || {
            register_atexit(|| say("first")).unwrap();
            register_atexit(|| exit_process(5)).unwrap();
            late_worker();
            shutdown();
            say("not reached");
        },
        5,
        &["first", "late"],
    ),
    Case::new(
        "exit_process_in_a_callback_in_a_worker",
        || {
            register_atexit(|| say("first")).unwrap();
            register_atexit(|| exit_process(5)).unwrap();
            late_worker();
            worker("exits", || std::process::exit(3));
            sleep_for_ever();
        },
        5,
        &["first", "late"],
    ),
    Case::new(
        "exit_process_in_a_handler_after_ours",
        || {
            extern "C" fn last() {
                say("last handler");
            }
            extern "C" fn leave() {
                say("handler");
                exit_process(5);
            }
            at_exit(last);
            at_exit(leave);
            late_worker();
        },
        5,
        &["late", "handler", "last handler"],
    ),
    Case::new(
        "exit_process_in_a_handler_after_ours_in_a_worker",
        || {
            extern "C" fn leave() {
                say("handler");
                exit_process(5);
            }
            at_exit(leave);
            worker("exits", || std::process::exit(3));
            sleep_for_ever();
        },
        5,
        &["handler"],
    ),
    Case::new(
        "exit_process_in_two_threads_ends_with_the_first_status",
        || {
            late_worker();
            let first = worker("first", || exit_process(4));
            worker("second", move || {
                until(|| !first.is_alive());
                exit_process(5);
            });
            sleep_for_ever();
        },
        4,
        &["late"],
    ),
    Case::new(
        "exit_process_in_a_scoped_thread_never_ends_the_scope",
        || {
            static IS_OVER: AtomicBool = AtomicBool::new(false);
            let main = get_native_id();
            // Keeps the end from coming until main waits for the scope.
            worker("keeps", move || {
                until(|| IS_OVER.load(Relaxed) && common::is_asleep(main));
            });
            scope(|s| {
                let exits = s.spawn(|| exit_process(5)).thread().clone();
                until(|| !exits.is_alive());
                // More than the scope lists without looking who is gone.
                for _ in 0..100 {
                    s.spawn(|| ()).join().unwrap();
                }
                IS_OVER.store(true, Relaxed);
            });
            say("the scope has left a thread behind");
        },
        5,
        &[],
    ),
    Case::new(
        "exit_in_main_in_a_scope_does_not_wait_for_its_daemons",
        || {
            scope(|s| {
                s.spawn(|| sleep_for_ever());
                exit();
            });
        },
        0,
        &[],
    ),
    Case::new(
        "exit_waits_for_a_scoped_thread_that_is_no_daemon",
        || {
            expect_the_end();
            scope(|s| {
                let builder = Thread::builder().daemon(false);
                let late = builder.spawn_scoped(s, || {
                    until_the_end();
                    say("late");
                });
                late.unwrap();
                exit();
            });
        },
        0,
        &["late"],
    ),
    Case::new(
        "ruling_14_exit_does_not_wait_for_a_thread_with_a_result",
        || {
            drop(spawn(|| sleep_for_ever()));
            late_worker();
        },
        0,
        &["late"],
    ),
    Case::new(
        "exit_process_in_two_threads_while_main_waits",
        || {
            late_worker();
            let first = worker("first", || {
                until_the_end();
                exit_process(4);
            });
            worker("second", move || {
                until(|| !first.is_alive());
                exit_process(5);
            });
        },
        4,
        &["late"],
    ),
    Case::new(
        "exit_process_during_a_wait_with_a_bound",
        || {
            set_exit_timeout(Some(PATIENCE)).unwrap();
            late_worker();
            worker("exits", || {
                until_the_end();
                exit_process(5);
            });
        },
        5,
        &["late"],
    ),
    Case::new(
        "exit_process_in_the_destructor_of_a_pthread_key_of_a_worker_that_main_waits_for",
        || {
            extern "C" fn destroy(_: *mut libc::c_void) {
                until_main_joins_this_thread();
                exit_process(7);
            }
            let mut key = 0;
            // SAFETY: `key` is valid for the call to write; the destructor takes any value.
            let result = unsafe { libc::pthread_key_create(&mut key, Some(destroy)) };
            assert_eq!(result, 0);
            worker("worker", move || give_value(key));
        },
        7,
        &[],
    ),
    Case::new(
        "exit_process_in_the_destructor_of_a_thread_local",
        || {
            late_worker();
            worker("exits", || {
                let _ = std::thread::current();
                AT_END.set(Some(Box::new(OnDrop(|| {
                    until_the_end();
                    exit_process(5);
                }))));
            });
        },
        5,
        &["late"],
    ),
    Case::new(
        "exit_process_frees_a_join_with_a_deadline_only",
        || {
            set_exit_timeout(Some(50 * MOMENT)).unwrap();
            let exits = worker("exits", || {
                until_the_end();
                exit_process(5);
            });
            let again = exits.clone();
            worker("bounded", move || {
                let joined = again.join_timeout(3 * MOMENT);
                assert_eq!(joined, Ok(false));
                say("bounded");
            });
            worker("unbounded", move || exits.join().unwrap());
        },
        5,
        &["bounded"],
    )
    .complaining(&["threadbare: the process ends without waiting for 'unbounded'"]),
    Case::new(
        "exit_in_a_handler_after_ours_ends_with_0",
        || {
            extern "C" fn leave() {
                say("handler");
                exit();
            }
            at_exit(leave);
            late_worker();
            std::process::exit(3);
        },
        0,
        &["late", "handler"],
    ),
    // The bound.
    Case::new(
        "set_exit_timeout_names_who_is_left",
        || {
            assert_eq!(set_exit_timeout(Some(MOMENT)), Ok(None));
            let too_long = threadbare::TIMEOUT_MAX + Duration::from_secs(1);
            assert_eq!(
                set_exit_timeout(Some(too_long)),
                Err(Error::TimeoutTooLarge)
            );
            worker("one", || sleep_for_ever());
            worker("two\nlines", || sleep_for_ever());
            worker("done", || ()).join().unwrap();
            daemon(|| sleep_for_ever());
        },
        0,
        &[],
    )
    .complaining(&["threadbare: the process ends without waiting for 'one', 'two\\nlines'"]),
    Case::new(
        "set_exit_timeout_names_no_more_than_sixteen",
        || {
            set_exit_timeout(Some(Duration::ZERO)).unwrap();
            for number in 0..18 {
                worker(&format!("{number}"), || sleep_for_ever());
            }
        },
        0,
        &[],
    )
    .complaining(&[
        "threadbare: the process ends without waiting for '0', '1', '2', '3', '4', '5', '6', '7', \
         '8', '9', '10', '11', '12', '13', '14', '15' and 2 more",
    ]),
    Case::new(
        "set_exit_timeout_bounds_all_threads_together_and_keeps_still_in_time",
        || {
            set_exit_timeout(Some(PATIENCE)).unwrap();
            late_worker();
            worker("other", until_the_end);
        },
        0,
        &["late"],
    ),
    Case::new(
        "set_exit_timeout_may_be_set_by_a_callback",
        || {
            register_atexit(|| {
                set_exit_timeout(Some(MOMENT)).unwrap();
            })
            .unwrap();
            worker("one", || sleep_for_ever());
        },
        0,
        &[],
    )
    .complaining(&["threadbare: the process ends without waiting for 'one'"]),
    // Blocked for ever (EXIT-8).
    Case::new(
        "exit_8_daemons_blocked_for_ever_do_not_delay_the_end",
        || {
            for (name, block) in BLOCKED {
                block_in(name, true, block);
            }
            late_worker();
        },
        0,
        &["late"],
    ),
    Case::new(
        "exit_8_threads_blocked_for_ever_are_left_when_the_time_is_up",
        || {
            set_exit_timeout(Some(MOMENT)).unwrap();
            for (name, block) in BLOCKED {
                block_in(name, false, block);
            }
        },
        0,
        &[],
    )
    .complaining(&[
        "threadbare: the process ends without waiting for 'Lock', 'RLock', 'Condition', \
         'Semaphore', 'Event', 'join', 'Timer', 'the timer', 'park', 'sleep', 'scope', 'std'",
    ]),
    // Immediate exit (EXIT-7).
    Case::new(
        "exit_7_an_immediate_exit_skips_everything",
        || {
            register_atexit(|| say("callback")).unwrap();
            worker("late", || sleep_for_ever());
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(7) };
        },
        7,
        &[],
    ),
    // The program's other handlers.
    Case::new(
        "exit_2_handlers_registered_before_run_after_the_wait_and_others_first",
        || {
            extern "C" fn before() {
                assert!(!main_thread().is_alive());
                say("registered before");
            }
            extern "C" fn after() {
                assert!(main_thread().is_alive());
                say("registered after");
            }
            at_exit(before);
            register_atexit(|| say("callback")).unwrap();
            at_exit(after);
            late_worker();
        },
        0,
        &["registered after", "callback", "late", "registered before"],
    ),
    Case::new(
        "exit_5_handlers_may_use_everything",
        || {
            extern "C" fn handler() {
                let lock = Lock::new();
                lock.acquire();
                assert!(!lock.acquire_timeout(Duration::from_millis(1)).unwrap());
                lock.release().unwrap();
                let event = std::sync::Arc::new(Event::new());
                let sets = event.clone();
                let thread = worker("late", move || {
                    say("started by a handler");
                    sets.set();
                });
                event.wait();
                assert!(enumerate().contains(&main_thread()));
                thread.join().unwrap();
                daemon(|| sleep_for_ever());
                assert_eq!(register_atexit(|| ()), Err(Error::ShuttingDown));
                shutdown();
                say("handler");
            }
            at_exit(handler);
            late_worker();
        },
        0,
        &["late", "started by a handler", "handler"],
    ),
    Case::new(
        "exit_5_a_first_thread_started_by_a_handler_may_be_joined",
        || {
            extern "C" fn handler() {
                let thread = worker("late", || say("thread"));
                thread.join().unwrap();
                say("handler");
            }
            at_exit(handler);
        },
        0,
        &["thread", "handler"],
    ),
    // fork.
    Case::new(
        "fork_9_a_child_forked_by_a_callback_ends_as_its_parent_does",
        || {
            late_worker();
            register_atexit(|| say("first")).unwrap();
            register_atexit(|| fork_and("child", || ())).unwrap();
        },
        0,
        &["child", "first", "child ended with 0", "first", "late"],
    ),
    Case::new(
        "fork_5_a_child_forked_by_a_handler_ends_as_its_parent_does",
        || {
            extern "C" fn handler() {
                fork_and("child", || {
                    assert_eq!(current_thread(), main_thread());
                    assert_eq!(enumerate(), [main_thread()]);
                    let thread = worker("in the child", || say("in the child"));
                    thread.join().unwrap();
                });
            }
            at_exit(handler);
            late_worker();
        },
        0,
        &["late", "child", "in the child", "child ended with 0"],
    ),
    Case::new(
        "fork_9_a_child_forked_by_a_worker_waits_for_its_own_threads_only",
        || {
            worker("vanishes", sleep_until_children_end);
            worker("forks", || {
                fork_and("child", || drop(late_worker()));
            });
            sleep_until_children_end();
        },
        0,
        &["child", "late", "child ended with 0"],
    ),
    Case::new(
        "fork_9_a_child_forked_during_the_wait_ends_on_its_own",
        || {
            worker("forks", || {
                until_the_end();
                fork_and("child", || {
                    worker("in the child", || {
                        until_the_end();
                        say("in the child");
                    });
                });
            });
        },
        0,
        &["child", "in the child", "child ended with 0"],
    ),
    Case::new(
        "fork_9_a_child_forked_during_the_wait_can_call_exit_process",
        || {
            worker("forks", || {
                until_the_end();
                fork_and("child", || {
                    late_worker();
                    exit_process(6);
                });
            });
        },
        0,
        &["child", "late", "child ended with 6"],
    ),
];

static CHILDREN: AtomicU32 = AtomicU32::new(0);

/// Forks: the child says `name`, calls `body` and returns from here, and so does the parent, once
/// it has said how the child has ended.
fn fork_and(name: &str, body: impl FnOnce()) {
    // SAFETY: the crate promises that its part of the child works; what else the child calls
    // (memory, writes) libc takes care of.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            give_a_limit(); // the parent's does not hold here
            say(name);
            body();
        }
        ForkResult::Parent { child } => {
            match waitpid(child, None).unwrap() {
                WaitStatus::Exited(_, status) => say(&format!("child ended with {status}")),
                other => say(&format!("child: {other:?}")),
            }
            CHILDREN.fetch_add(1, Relaxed);
        }
    }
}

fn sleep_until_children_end() {
    until(|| CHILDREN.load(Relaxed) == 1);
}

/// Ways to block for ever.
const BLOCKED: [(&str, fn()); 11] = [
    ("Lock", || {
        let lock = Lock::new();
        lock.acquire();
        lock.acquire();
    }),
    ("RLock", || {
        static LOCK: RLock = RLock::new();
        let holder = std::thread::spawn(|| {
            LOCK.acquire();
        });
        holder.join().unwrap();
        LOCK.acquire();
    }),
    ("Condition", || {
        let condition = Condition::new();
        condition.acquire();
        condition.wait().unwrap();
    }),
    ("Semaphore", || Semaphore::new(0).acquire()),
    ("Event", || Event::new().wait()),
    ("join", || {
        daemon(|| sleep_for_ever()).join().unwrap();
    }),
    ("Timer", || {
        let timer = Timer::new(PATIENCE * 10, || ());
        timer.set_name("the timer");
        timer.start().unwrap();
        timer.join().unwrap();
    }),
    ("park", park),
    ("sleep", || sleep_until(Deadline::NEVER)),
    ("scope", || {
        scope(|s| s.spawn(|| sleep_for_ever()).join().map(drop).unwrap())
    }),
    ("std", || sleep_for_ever()),
];

/// Starts a thread that blocks for ever; returns when it does.
fn block_in(name: &str, is_daemon: bool, block: fn()) {
    let builder = Thread::builder().name(name).daemon(is_daemon);
    let thread = builder.target(block).spawn().unwrap();
    let id = thread.native_id().unwrap();
    until(|| common::is_asleep(id));
}
