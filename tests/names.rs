//! What threads are called: by the kernel (THR-5) and in print (REPR-3).

#![cfg(not(threadbare_model))]

mod child;
mod common;

use child::in_child;
use common::pthread::Pthread;
use common::witness::{Witness, waiting};
use common::{threads, until, watchdog};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use std::ffi::c_void;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use threadbare::{Event, Thread, Timer, current_thread, get_native_id, main_thread};

/// What the kernel calls the thread of this process with this id.
fn comm(tid: u32) -> String {
    let comm = fs::read_to_string(format!("/proc/self/task/{tid}/comm"));
    comm.unwrap().strip_suffix('\n').unwrap().to_owned()
}

fn own_comm() -> String {
    comm(get_native_id())
}

/// Starts the builder's thread; what the kernel calls it when its target begins.
fn comm_at_start(name: Option<&str>) -> String {
    let seen: Arc<std::sync::OnceLock<String>> = Arc::default();
    let builder = Thread::builder().target({
        let seen = seen.clone();
        move || seen.set(own_comm()).unwrap()
    });
    let builder = match name {
        Some(name) => builder.name(name),
        None => builder,
    };
    builder.spawn().unwrap().join().unwrap();
    seen.get().unwrap().clone()
}

#[test]
fn thr_5_the_kernel_knows_a_given_name_before_the_target_runs_cut_between_characters() {
    let _watchdog = watchdog();
    for (name, shown) in [
        ("worker", "worker"),
        ("exactly 15 byte", "exactly 15 byte"),
        ("exactly 16 bytes", "exactly 16 byte"),
        ("fourteen bytesé", "fourteen bytes"),
        ("thirteen byteé", "thirteen byteé"),
        ("中中中中中中", "中中中中中"),
        ("🧵🧵🧵🧵", "🧵🧵🧵"),
        ("cut\0here", "cut"),
        ("\0", ""),
        (" ", " "),
    ] {
        assert_eq!(comm_at_start(Some(name)), shown, "{name:?}");
    }
}

#[test]
fn thr_5_a_thread_without_a_given_name_has_its_starters() {
    let _watchdog = watchdog();
    // The starter is a thread of libc's, so that what the harness calls it does not matter.
    static SEEN: AtomicU32 = AtomicU32::new(0);
    Pthread::start(|| {
        assert_eq!(comm_at_start(None), own_comm());
        current_thread().set_name("starter");
        assert_eq!(comm_at_start(None), "starter");
        SEEN.store(1, Relaxed);
    })
    .join();
    assert_eq!(SEEN.load(Relaxed), 1);
}

#[test]
fn thr_5_a_thread_renames_itself_and_is_renamed_by_others_while_it_runs() {
    let _watchdog = watchdog();
    let renamed = Arc::new(Event::new());
    let go = Arc::new(Event::new());
    let witness = Witness::default();
    let thread = Thread::new(witness.watch({
        let (renamed, go) = (renamed.clone(), go.clone());
        move || {
            current_thread().set_name("by itself, longer");
            assert_eq!(own_comm(), "by itself, long");
            renamed.set();
            go.wait();
            assert_eq!(own_comm(), "by another");
        }
    }));
    thread.set_name("before the start");
    thread.start().unwrap();
    renamed.wait();
    assert_eq!(thread.name(), "by itself, longer");
    let tid = thread.native_id().unwrap();
    for (name, shown) in [
        ("größer als fünfzehn", "größer als f"),
        ("", ""),
        ("a\0b", "a"),
        ("by another", "by another"),
    ] {
        thread.set_name(name);
        assert_eq!(
            (comm(tid), thread.name()),
            (shown.to_owned(), name.to_owned())
        );
    }
    go.set();
    witness.join(&thread);
}

#[test]
fn thr_5_a_name_set_before_the_start_counts() {
    let _watchdog = watchdog();
    let go = Arc::new(Event::new());
    let thread = Thread::new({
        let go = go.clone();
        move || go.wait()
    });
    thread.set_name("early");
    thread.start().unwrap();
    until(|| comm(thread.native_id().unwrap()) == "early");
    go.set();
    thread.join().unwrap();
}

#[test]
fn thr_5_an_ended_thread_renames_nobody() {
    let _watchdog = watchdog();
    in_child("thr_5_an_ended_thread_renames_nobody", || {
        let comms = || -> Vec<String> {
            let tasks = fs::read_dir("/proc/self/task").unwrap();
            let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm"));
            tasks.map(|task| name(task.unwrap()).unwrap()).collect()
        };
        let (thread, go) = waiting();
        go.set();
        thread.join().unwrap();
        let tid = thread.native_id().unwrap();
        until(|| !fs::exists(format!("/proc/self/task/{tid}")).unwrap());
        thread.set_name("nobody");
        assert_eq!(thread.name(), "nobody");
        assert!(!comms().contains(&"nobody\n".into()));

        // One that has unlisted itself but whose kernel thread is still there.
        let (dummy, gone) = (Arc::new(std::sync::OnceLock::new()), Event::new());
        let (gone, told) = (Arc::new(gone), dummy.clone());
        let foreign = Pthread::start({
            let gone = gone.clone();
            move || {
                told.set(current_thread()).unwrap();
                gone.wait();
            }
        });
        until(|| dummy.get().is_some());
        let dummy: &Thread = dummy.get().unwrap();
        dummy.set_name("guest");
        assert_eq!(comm(dummy.native_id().unwrap()), "guest");
        gone.set();
        foreign.join();
        dummy.set_name("nobody");
        assert!(!comms().contains(&"nobody\n".into()));
    });
}

#[test]
fn thr_5_a_thread_that_counts_as_ended_is_renamed_no_more_although_the_kernel_still_has_it() {
    let _watchdog = watchdog();
    static LATE: Event = Event::new();
    static GO: Event = Event::new();
    extern "C" fn stay(_value: *mut c_void) {
        LATE.set();
        GO.wait();
    }
    let mut key = 0;
    // SAFETY: `key` is valid for the call; the destructor uses statics.
    let result = unsafe { libc::pthread_key_create(&mut key, Some(stay)) };
    assert_eq!(result, 0);
    let thread = Thread::builder().name("ended").target(move || {
        // SAFETY: the key exists for the rest of the process.
        unsafe { libc::pthread_setspecific(key, std::ptr::dangling::<u8>().cast()) };
    });
    let thread = thread.spawn().unwrap();
    LATE.wait();
    assert!(!thread.is_alive());
    thread.set_name("too late");
    assert_eq!(thread.name(), "too late");
    assert_eq!(comm(thread.native_id().unwrap()), "ended");
    GO.set();
    thread.join().unwrap();
}

#[test]
fn thr_5_threads_of_the_parent_name_nobody_in_the_child_of_a_fork() {
    let _watchdog = watchdog();
    let (thread, go) = waiting();
    thread.set_name("in the parent");
    // SAFETY: the child renames and leaves by `_exit`.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            thread.set_name("in the child");
            let right = thread.name() == "in the child" && own_comm() != "in the child";
            // SAFETY: leaves the child without running what belongs to the parent.
            unsafe { libc::_exit(i32::from(!right)) }
        }
        ForkResult::Parent { child } => {
            let ended = waitpid(child, None).unwrap();
            assert!(matches!(ended, WaitStatus::Exited(_, 0)), "{ended:?}");
        }
    }
    assert_eq!(comm(thread.native_id().unwrap()), "in the parent");
    go.set();
    thread.join().unwrap();
}

#[test]
fn thr_5_any_number_of_threads_may_rename_one_that_ends_meanwhile() {
    let _watchdog = watchdog();
    for _ in 0..100 {
        let (thread, go) = waiting();
        threads(3, |number| {
            for round in 0..10 {
                thread.set_name(format!("{number} {round}"));
                if (number, round) == (0, 3) {
                    go.set();
                }
            }
        });
        thread.join().unwrap();
        assert!(thread.name().ends_with(" 9"));
        assert!(
            !["0", "1", "2"].contains(&&own_comm()[..1]),
            "a stranger was renamed"
        );
    }
}

#[test]
fn dum_3_and_thr_5_a_foreign_thread_may_rename_itself() {
    let _watchdog = watchdog();
    let seen = threads(1, |_| {
        current_thread().set_name("guest");
        (
            own_comm(),
            current_thread().name(),
            std::thread::current().name().map(str::to_owned),
        )
    });
    assert_eq!(seen, [("guest".into(), "guest".into(), None)]);
}

#[test]
fn repr_3_every_kind_of_thread_prints_its_class_name_status_and_ident() {
    let _watchdog = watchdog();
    let print = |thread: &Thread| format!("{thread:?}");
    for daemon in [false, true] {
        let mark = if daemon { " daemon" } else { "" };
        let go = Arc::new(Event::new());
        let target = {
            let go = go.clone();
            move || go.wait()
        };
        let thread = Thread::builder().name("x").daemon(daemon).target(target);
        let thread = thread.build().unwrap();
        let timer = Timer::new(None, || ());
        timer.set_name("x");
        timer.set_daemon(daemon).unwrap();
        assert_eq!(print(&thread), format!("<Thread(x, initial{mark})>"));
        assert_eq!(format!("{timer:?}"), format!("<Timer(x, initial{mark})>"));
        for (class, it) in [("Thread", &thread), ("Timer", &*timer)] {
            it.start().unwrap();
            let ident = it.ident().unwrap();
            assert_eq!(print(it), format!("<{class}(x, started{mark} {ident})>"));
        }
        go.set();
        timer.cancel();
        for (class, it) in [("Thread", &thread), ("Timer", &*timer)] {
            it.join().unwrap();
            let ident = it.ident().unwrap();
            assert_eq!(print(it), format!("<{class}(x, stopped{mark} {ident})>"));
        }
    }
    let main = main_thread();
    let ident = main.ident().unwrap();
    assert_eq!(
        print(&main),
        format!("<_MainThread(MainThread, started {ident})>")
    );
    let dummy = threads(1, |_| {
        let me = current_thread();
        let (name, ident) = (me.name(), me.ident().unwrap());
        assert_eq!(
            print(&me),
            format!("<_DummyThread({name}, started daemon {ident})>")
        );
        me
    });
    until(|| !dummy[0].is_alive());
    let (name, ident) = (dummy[0].name(), dummy[0].ident().unwrap());
    assert_eq!(
        print(&dummy[0]),
        format!("<_DummyThread({name}, stopped daemon {ident})>")
    );
}

#[test]
fn repr_3_printing_and_naming_a_thread_from_its_own_debug_text_does_not_hang() {
    let _watchdog = watchdog();
    let thread = Thread::new(|| ());
    thread.set_name(format!("{thread:?}"));
    assert!(format!("{thread:?}").starts_with("<Thread(<Thread(Thread-"));
}
