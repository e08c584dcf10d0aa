//! Which threads there are (MOD-1 to MOD-7, DUM, LOCAL-14). What needs the real main thread is in
//! `main_thread.rs`.

#![cfg(not(threadbare_model))]
#![expect(
    clippy::mutable_key_type,
    reason = "what may change in a thread is not what its hash is made of"
)]

mod child;
mod common;

use child::in_child;
use common::pthread::Pthread;
use common::witness::{OnDrop, Witness, run, waiting};
use common::{threads, until, watchdog};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Uid, fork, setuid};
use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::time::Duration;
use threadbare::{
    Condition, Error, Event, Lock, RLock, Semaphore, Thread, active_count, current_thread,
    enumerate, get_ident, get_native_id, main_thread, set_excepthook,
};

fn is_listed(thread: &Thread) -> bool {
    enumerate().contains(thread)
}

fn names() -> Vec<String> {
    enumerate().iter().map(Thread::name).collect()
}

/// A key whose destructor calls `destroy`, for the rest of the process.
fn key(destroy: extern "C" fn(*mut c_void)) -> libc::pthread_key_t {
    let mut key = 0;
    // SAFETY: `key` is valid for the call; the destructors here may run at any thread's end.
    let result = unsafe { libc::pthread_key_create(&mut key, Some(destroy)) };
    assert_eq!(result, 0);
    key
}

/// Has the destructor of `key` called at the end of the calling thread.
fn arm(key: libc::pthread_key_t) {
    // SAFETY: the key exists; the value is not followed.
    let result = unsafe { libc::pthread_setspecific(key, std::ptr::dangling::<u8>().cast()) };
    assert_eq!(result, 0);
}

// The list.

#[test]
fn mod_1_and_2_the_list_holds_what_is_alive_in_the_order_of_making() {
    let _watchdog = watchdog();
    in_child(
        "mod_1_and_2_the_list_holds_what_is_alive_in_the_order_of_making",
        || {
            assert_eq!(names(), ["MainThread"], "nobody else has asked yet");
            assert_eq!(active_count(), 1);
            let go = Arc::new(Event::new());
            let make = |name: &str, daemon| {
                let go = go.clone();
                let thread = Thread::builder().name(name).daemon(daemon);
                thread.target(move || go.wait()).build().unwrap()
            };
            let made = ["a", "b", "c", "d"].map(|name| make(name, name == "b"));
            assert_eq!(names(), ["MainThread"], "unstarted ones are not listed");
            for place in [2, 0, 1] {
                made[place].start().unwrap();
            }
            assert_eq!(names(), ["MainThread", "a", "b", "c"]);
            current_thread().set_name("dummy");
            assert_eq!(enumerate().len(), 5);
            assert!(names().contains(&"dummy".into()));
            assert_eq!(active_count(), 5);
            go.set();
            for thread in &made[..3] {
                thread.join().unwrap();
            }
            assert_eq!((names().len(), active_count()), (2, 2));
            made[3].start().unwrap();
            made[3].join().unwrap();
            assert_eq!((names().len(), active_count()), (2, 2));
        },
    );
}

#[test]
fn mod_1_each_call_gives_a_new_list() {
    let _watchdog = watchdog();
    let mut list = enumerate();
    list.clear();
    assert!(!enumerate().is_empty());
}

#[test]
fn mod_1_and_2_the_list_is_sensible_while_threads_start_and_end() {
    let _watchdog = watchdog();
    in_child(
        "mod_1_and_2_the_list_is_sensible_while_threads_start_and_end",
        || {
            const STARTING: usize = 8;
            let quiet = active_count();
            let done = AtomicUsize::new(0);
            std::thread::scope(|s| {
                for _ in 0..STARTING {
                    s.spawn(|| {
                        for round in 0..300 {
                            let thread = Thread::new(|| ());
                            thread.start().unwrap();
                            if round % 2 == 0 {
                                thread.join().unwrap();
                            }
                        }
                        done.fetch_add(1, Relaxed);
                    });
                }
                while done.load(Relaxed) < STARTING {
                    let list = enumerate();
                    assert_eq!(list[0], main_thread(), "main was made first");
                    let different: HashSet<_> = list.iter().collect();
                    assert_eq!(different.len(), list.len(), "nobody is there twice");
                    let known: Vec<_> = list.iter().filter_map(Thread::ident).collect();
                    assert!(known.is_sorted());
                    for thread in &list[1..] {
                        assert!(thread.name().starts_with("Thread-"), "{thread:?}");
                        assert!(!thread.is_current());
                    }
                    // Besides main, each of them has one it waits for, and some that nobody joins.
                    assert!((1..=quiet + STARTING * 300).contains(&active_count()));
                }
            });
            until(|| active_count() == quiet);
            assert_eq!(enumerate().len(), quiet);
        },
    );
}

#[test]
fn mod_3_a_joined_thread_is_not_listed() {
    let _watchdog = watchdog();
    for round in 0..2_000 {
        let thread = Thread::new(|| ());
        thread.start().unwrap();
        if round % 2 == 0 {
            thread.join().unwrap();
        } else {
            assert_eq!(thread.join_timeout(common::LONG), Ok(true));
        }
        assert!(!is_listed(&thread));
    }
}

/// A thread-local's value that calls something when it is destroyed.
type AtEnd = Cell<Option<OnDrop<Box<dyn FnMut()>>>>;

thread_local! {
    static AT_END: AtEnd = const { Cell::new(None) };
}

/// Has `last` called by the destructor of a thread-local of the calling thread, which has not been
/// used before.
fn at_end(last: impl FnMut() + 'static) {
    AT_END.set(Some(OnDrop(Box::new(last))));
}

#[test]
fn mod_3_and_5_a_thread_is_listed_in_its_target_and_excepthook_not_in_its_thread_locals() {
    let _watchdog = watchdog();
    in_child(
        "mod_3_and_5_a_thread_is_listed_in_its_target_and_excepthook_not_in_its_thread_locals",
        || {
            static SEEN: Mutex<Vec<(&str, bool, bool, bool)>> = Mutex::new(Vec::new());
            fn look(place: &'static str) {
                let me = current_thread();
                assert_eq!(enumerate().len(), active_count());
                let seen = (place, is_listed(&me), me.is_alive(), me.is_current());
                SEEN.lock().unwrap().push(seen);
            }
            drop(set_excepthook(|args| {
                assert_eq!(args.thread, Some(&current_thread()));
                look("hook");
            }));
            let part = OnDrop(|| look("drop of the target"));
            let thread = Thread::new(move || {
                let _part = part;
                at_end(|| look("thread-local"));
                look("target");
                std::panic::resume_unwind(Box::new(OnDrop(|| look("drop of the payload"))));
            });
            thread.start().unwrap();
            thread.join().unwrap();
            assert_eq!(
                *SEEN.lock().unwrap(),
                [
                    ("target", true, true, true),
                    ("drop of the target", true, true, true),
                    ("hook", true, true, true),
                    ("drop of the payload", true, true, true),
                    ("thread-local", false, true, true),
                ]
            );
        },
    );
}

#[test]
fn mod_5_the_functions_may_be_called_while_handles_and_targets_are_dropped() {
    let _watchdog = watchdog();
    let calls = Arc::new(AtomicUsize::new(0));
    let curious = || {
        let calls = calls.clone();
        OnDrop(move || {
            assert!(!enumerate().is_empty() && active_count() > 0);
            assert!(current_thread().is_current());
            calls.fetch_add(1, Relaxed);
        })
    };
    // A target that was never run; one that was run here; one in its thread.
    let part = curious();
    drop(Thread::new(move || drop(part)));
    let part = curious();
    Thread::new(move || drop(part)).run().unwrap();
    let part = curious();
    run(move || drop(part));
    assert_eq!(calls.load(Relaxed), 3);
}

/// Lets the process, which is a child of its own, start no thread more; returns what undoes that.
fn forbid_threads() -> impl FnOnce() {
    // The limit holds for users other than root.
    let (soft, hard) = getrlimit(Resource::RLIMIT_NPROC).unwrap();
    if Uid::effective().is_root() {
        setuid(Uid::from_raw(65_534)).unwrap();
    }
    setrlimit(Resource::RLIMIT_NPROC, 1, hard).unwrap();
    move || setrlimit(Resource::RLIMIT_NPROC, soft, hard).unwrap()
}

#[test]
fn mod_4_a_refused_start_leaves_nothing_listed() {
    let _watchdog = watchdog();
    in_child("mod_4_a_refused_start_leaves_nothing_listed", || {
        let (other, go) = waiting();
        let before = enumerate();
        let allow = forbid_threads();
        let threads: Vec<_> = (0..40).map(|_| Thread::new(|| ())).collect();
        for thread in &threads {
            assert!(matches!(thread.start(), Err(Error::Start(_))));
            assert!(!is_listed(thread) && !thread.is_alive());
            assert_eq!(thread.set_daemon(false), Ok(()), "it is new again");
        }
        assert_eq!(active_count(), before.len());
        assert_eq!(enumerate(), before);
        allow();
        for thread in &threads {
            thread.start().unwrap();
            thread.join().unwrap();
        }
        assert_eq!(enumerate(), before);
        go.set();
        other.join().unwrap();
    });
}

#[test]
fn thr_11_a_thread_is_listed_without_ident_while_its_start_is_in_progress() {
    let _watchdog = watchdog();
    in_child(
        "thr_11_a_thread_is_listed_without_ident_while_its_start_is_in_progress",
        || {
            static SEEN: AtomicUsize = AtomicUsize::new(0);
            let observer = std::thread::spawn(|| {
                while SEEN.load(Relaxed) < 20 {
                    for thread in enumerate() {
                        if thread.ident().is_none() {
                            assert_eq!(thread.join(), Err(Error::NotStarted));
                            assert_eq!((thread.native_id(), thread.is_alive()), (None, false));
                            SEEN.fetch_add(1, Relaxed);
                        }
                    }
                }
            });
            // Each start is refused, so a thread seen has none that runs.
            let allow = forbid_threads();
            let thread = Thread::new(|| ());
            while !observer.is_finished() {
                assert!(matches!(thread.start(), Err(Error::Start(_))));
            }
            observer.join().unwrap();
            allow();
        },
    );
}

#[test]
fn thr_20_the_list_keeps_a_thread_without_handles() {
    let _watchdog = watchdog();
    let go = Arc::new(Event::new());
    let name = "without handles";
    let target = {
        let go = go.clone();
        move || go.wait()
    };
    let thread = Thread::builder().name(name).target(target).spawn();
    drop(thread.unwrap());
    let find = || enumerate().into_iter().find(|thread| thread.name() == name);
    let found = find().unwrap();
    assert!(found.is_alive());
    go.set();
    found.join().unwrap();
    assert_eq!(find(), None);
}

// The calling thread.

#[test]
fn mod_6_a_thread_always_gets_the_handle_that_started_it() {
    let _watchdog = watchdog();
    let handle: Arc<OnceLock<Thread>> = Arc::default();
    let witness = Witness::default();
    let thread = Thread::new(witness.watch({
        let handle = handle.clone();
        move || {
            let me = handle.get().unwrap();
            assert!(current_thread() == *me && current_thread() == current_thread());
            assert_eq!(me.ident(), Some(get_ident()));
            assert_eq!(me.native_id(), Some(get_native_id()));
            assert!(enumerate().contains(me));
            assert!(HashSet::from([me.clone()]).contains(&current_thread()));
        }
    }));
    handle.set(thread.clone()).unwrap();
    thread.start().unwrap();
    witness.join(&thread);
    assert_ne!(current_thread(), thread);
}

#[test]
fn mod_7_every_thread_gets_the_same_main_thread() {
    let _watchdog = watchdog();
    let main = main_thread();
    assert_ne!(main, current_thread(), "tests do not run in it");
    assert!(threads(4, |_| main_thread()).iter().all(|it| *it == main));
    run(move || assert_eq!(main_thread(), main));
}

#[test]
fn main_2_what_main_refuses_and_grants_to_others() {
    let _watchdog = watchdog();
    let main = main_thread();
    assert_eq!(main.start(), Err(Error::AlreadyStarted));
    assert_eq!(main.run(), Err(Error::AlreadyStarted));
    assert_eq!(main.set_daemon(true), Err(Error::DaemonAfterStart));
    assert_eq!(main.join_timeout(common::SHORT), Ok(false));
    assert_eq!(
        main.join_timeout(Duration::MAX),
        Err(Error::TimeoutTooLarge)
    );
    assert!(main.is_alive() && !main.daemon() && is_listed(&main));
}

#[test]
fn mod_7_and_fork_2_a_child_knows_its_main_thread_although_nothing_was_listed_before_the_fork() {
    let _watchdog = watchdog();
    in_child(
        "mod_7_and_fork_2_a_child_knows_its_main_thread_although_nothing_was_listed_before_the_fork",
        || {
            let ident = get_ident(); // makes no record
            // SAFETY: the child makes one record and leaves by `_exit`.
            match unsafe { fork() }.unwrap() {
                ForkResult::Child => {
                    let me = current_thread();
                    let right = me == main_thread()
                        && me.ident() == Some(ident)
                        && me.is_current()
                        && me.join() == Err(Error::JoinSelf)
                        && enumerate() == [me];
                    // SAFETY: leaves the child without running what belongs to the parent.
                    unsafe { libc::_exit(i32::from(!right)) }
                }
                ForkResult::Parent { child } => {
                    let ended = waitpid(child, None).unwrap();
                    assert!(matches!(ended, WaitStatus::Exited(_, 0)), "{ended:?}");
                }
            }
        },
    );
}

// Dummies.

#[test]
fn dum_1_locks_idents_and_conditions_make_no_dummy() {
    let _watchdog = watchdog();
    in_child("dum_1_locks_idents_and_conditions_make_no_dummy", || {
        let before = active_count();
        let lock = Arc::new(RLock::new());
        let condition = Condition::with_lock(lock.clone());
        threads(3, |_| {
            let _ = (get_ident(), get_native_id());
            for _ in 0..100 {
                lock.acquire();
                std::thread::yield_now();
                lock.release().unwrap();
            }
            condition.acquire();
            condition.notify_all().unwrap();
            let woken = condition.wait_timeout(common::SHORT);
            assert!(woken.is_ok());
            condition.release().unwrap();
            let plain = Lock::new();
            plain.acquire();
            Semaphore::new(1).acquire();
            Event::new().set();
            let _ = main_thread();
            assert_eq!(active_count(), before);
            assert_eq!(enumerate().len(), before);
            assert!(Thread::new(|| ()).daemon());
            assert_eq!(
                active_count(),
                before,
                "nor does the constructor of a thread"
            );
        });
    });
}

#[test]
fn dum_2_a_dummy_is_a_started_daemon_with_a_number() {
    let _watchdog = watchdog();
    threads(2, |_| {
        let me = current_thread();
        let number = me.name().strip_prefix("Dummy-").map(str::to_owned);
        assert!(number.unwrap().parse::<u64>().unwrap() > 0);
        assert!(me.daemon() && me.is_alive() && me.is_current() && is_listed(&me));
        assert_eq!(me.ident(), Some(get_ident()));
        assert_eq!(me.native_id(), Some(get_native_id()));
        assert_eq!(me, current_thread());
    });
}

#[test]
fn dum_2_dummies_take_their_numbers_from_the_same_row_as_threads() {
    let _watchdog = watchdog();
    in_child(
        "dum_2_dummies_take_their_numbers_from_the_same_row_as_threads",
        || {
            assert_eq!(Thread::new(|| ()).name(), "Thread-1");
            assert_eq!(current_thread().name(), "Dummy-2");
            assert_eq!(Thread::new(|| ()).name(), "Thread-3");
            assert_eq!(threads(1, |_| current_thread().name()), ["Dummy-4"]);
        },
    );
}

#[test]
fn dum_3_a_dummy_cannot_be_joined_started_or_changed_but_named() {
    let _watchdog = watchdog();
    let check = |dummy: &Thread, join: Error| {
        assert_eq!(dummy.join(), Err(join));
        assert_eq!(dummy.join_timeout(Duration::MAX), Err(join));
        assert_eq!(dummy.start(), Err(Error::AlreadyStarted));
        assert_eq!(dummy.run(), Err(Error::AlreadyStarted));
        assert_eq!(dummy.set_daemon(false), Err(Error::DaemonAfterStart));
        assert!(dummy.daemon());
        dummy.set_name("guest");
        assert_eq!(dummy.name(), "guest");
    };
    let here = current_thread();
    check(&here, Error::JoinSelf);
    let ended = threads(1, |_| {
        check(&here, Error::JoinDummy);
        assert_eq!(
            here.join_until(threadbare::Deadline::now()),
            Err(Error::JoinDummy)
        );
        current_thread()
    });
    until(|| !ended[0].is_alive());
    check(&ended[0], Error::JoinDummy);
}

#[test]
fn dum_4_a_dummy_goes_with_its_thread_and_is_nobody_afterwards() {
    let _watchdog = watchdog();
    let dummy: Arc<OnceLock<Thread>> = Arc::default();
    let enter = |dummy: Arc<OnceLock<Thread>>| {
        move || {
            dummy.set(current_thread()).unwrap();
            assert!(is_listed(dummy.get().unwrap()));
        }
    };
    Pthread::start(enter(dummy.clone())).join();
    let gone = dummy.get().unwrap();
    assert!(!is_listed(gone) && !gone.is_alive() && !gone.is_current());
    assert!(gone.ident().is_some() && gone.native_id().is_some(), "kept");

    let dummy: Arc<OnceLock<Thread>> = Arc::default();
    std::thread::spawn(enter(dummy.clone())).join().unwrap();
    let gone = dummy.get().unwrap();
    assert!(!is_listed(gone) && !gone.is_alive() && !gone.is_current());
}

#[test]
fn dum_5_a_later_thread_with_the_same_pthread_id_gets_a_dummy_of_its_own() {
    let _watchdog = watchdog();
    let seen: Arc<Mutex<HashSet<Thread>>> = Arc::default();
    let mut pthread_ids = HashSet::new();
    for round in 1..=100 {
        let seen_here = seen.clone();
        let thread = Pthread::start(move || {
            seen_here.lock().unwrap().insert(current_thread());
        });
        pthread_ids.insert(thread.id());
        thread.join();
        assert_eq!(seen.lock().unwrap().len(), round);
    }
    assert!(pthread_ids.len() < 100, "libc uses ids again");
    let idents: HashSet<_> = seen.lock().unwrap().iter().map(Thread::ident).collect();
    assert_eq!(idents.len(), 100);
}

#[test]
fn dum_4_a_thousand_dummies_come_and_go() {
    let _watchdog = watchdog();
    in_child("dum_4_a_thousand_dummies_come_and_go", || {
        const CROWD: usize = 1_000;
        let before = active_count();
        let barrier = Arc::new(Barrier::new(CROWD + 1));
        let crowd: Vec<_> = (0..CROWD)
            .map(|_| {
                let barrier = barrier.clone();
                Pthread::start(move || {
                    let me = current_thread();
                    barrier.wait(); // all are there
                    barrier.wait(); // all were looked at
                    assert_eq!(me, current_thread());
                })
            })
            .collect();
        barrier.wait();
        assert_eq!(active_count(), before + CROWD);
        let list = enumerate();
        assert_eq!(list.len(), before + CROWD);
        assert_eq!(list.iter().collect::<HashSet<_>>().len(), before + CROWD);
        barrier.wait();
        crowd.into_iter().for_each(Pthread::join);
        assert_eq!(active_count(), before);
        assert_eq!(enumerate().len(), before);
    });
}

// Destructors.

#[test]
fn local_14_in_destructors_of_a_thread_of_ours_it_is_still_itself_and_makes_no_dummy() {
    let _watchdog = watchdog();
    in_child(
        "local_14_in_destructors_of_a_thread_of_ours_it_is_still_itself_and_makes_no_dummy",
        || {
            static CALLS: AtomicU32 = AtomicU32::new(0);
            extern "C" fn look(_value: *mut c_void) {
                let me = current_thread();
                let right = me.name() == "mine" && me.is_current() && me == current_thread();
                CALLS.fetch_add(u32::from(right), Relaxed);
            }
            let key = key(look);
            let before = active_count();
            for round in 1..=20 {
                let target = move || {
                    arm(key);
                    at_end(|| look(std::ptr::null_mut()));
                };
                let thread = Thread::builder().name("mine").target(target).spawn();
                thread.unwrap().join().unwrap();
                assert_eq!(CALLS.load(Relaxed), 2 * round);
                assert_eq!(active_count(), before);
            }
        },
    );
}

#[test]
fn local_14_destructors_of_foreign_threads_leave_no_stray_dummy() {
    let _watchdog = watchdog();
    in_child(
        "local_14_destructors_of_foreign_threads_leave_no_stray_dummy",
        || {
            static HANDLES: Mutex<Vec<Thread>> = Mutex::new(Vec::new());
            fn ask() {
                let me = current_thread();
                assert!(me.is_current());
                HANDLES.lock().unwrap().push(me);
            }
            extern "C" fn destroy(_value: *mut c_void) {
                ask();
            }
            let key = key(destroy);
            let before = active_count();
            // Whether it asks before its end, in a thread-local, in a pthread key.
            for way in 1..8 {
                for late in [false, true] {
                    let body = move || {
                        if way & 1 != 0 && !late {
                            ask();
                        }
                        if way & 2 != 0 {
                            at_end(ask);
                        }
                        if way & 4 != 0 {
                            arm(key);
                        }
                        if way & 1 != 0 && late {
                            ask();
                        }
                    };
                    for round in 0..6 {
                        if round % 2 == 0 {
                            Pthread::start(body).join();
                        } else {
                            std::thread::spawn(body).join().unwrap();
                        }
                        let handles = std::mem::take(&mut *HANDLES.lock().unwrap());
                        assert_eq!(handles.len() as u32, u32::count_ones(way));
                        let label = format!("way {way}, late {late}");
                        assert!(handles.iter().all(|it| *it == handles[0]), "{label}: MOD-6");
                        assert!(handles.iter().all(|it| !it.is_alive()), "{label}");
                        assert_eq!(
                            (active_count(), enumerate().len()),
                            (before, before),
                            "{label}"
                        );
                    }
                }
            }
        },
    );
}

// The kernel's ids.

#[test]
fn mod_10_native_ids_are_those_of_the_listed_threads() {
    let _watchdog = watchdog();
    let (thread, go) = waiting();
    let found = enumerate().into_iter().find(|it| *it == thread).unwrap();
    let task = format!("/proc/self/task/{}", found.native_id().unwrap());
    assert!(std::path::Path::new(&task).exists());
    assert_eq!(main_thread().native_id(), Some(std::process::id()));
    go.set();
    thread.join().unwrap();
    let seen = AtomicBool::new(false);
    threads(1, |_| {
        seen.store(
            current_thread().native_id() == Some(get_native_id()),
            Relaxed,
        );
    });
    assert!(seen.load(Relaxed));
}
