//! What holds in a program's real main thread (MAIN-1, MAIN-2, MOD-7, THR-5): each check is a process
//! of its own, since libtest runs tests in other threads.

#[cfg(not(threadbare_model))]
mod common;
#[cfg(not(threadbare_model))]
use {checks::CHECKS, common::this_program, std::process::ExitCode};

#[cfg(threadbare_model)]
fn main() {}

#[cfg(not(threadbare_model))]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mark, name] = &arguments[..] {
        if mark == "--run" {
            #[cfg(not(threadbare_model))]
            nix::unistd::alarm::set(60 * common::patience()); // ends the process if it hangs
            let check = CHECKS.iter().find(|(known, _)| known == name);
            check.expect("a check of this name").1();
            return ExitCode::SUCCESS;
        }
    }
    let filter = arguments.iter().find(|it| !it.starts_with('-'));
    let (mut passed, mut failed) = (0, 0);
    for (name, _) in CHECKS {
        if filter.is_some_and(|part| !name.contains(part.as_str())) {
            continue;
        }
        let ended = this_program().args(["--run", name]).status();
        let ok = ended.is_ok_and(|status| status.success());
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
        passed += u8::from(ok);
        failed += u8::from(!ok);
    }
    let outcome = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {outcome}. {passed} passed; {failed} failed");
    ExitCode::from(failed)
}

#[cfg(not(threadbare_model))]
mod checks {
    use crate::common::forked::in_child;
    use crate::common::witness::run;
    use std::fs;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use std::time::Duration;
    use threadbare::{
        Error, Thread, active_count, current_thread, enumerate, get_ident, get_native_id,
        main_thread,
    };

    pub const CHECKS: [(&str, fn()); 9] = [
        ("main_1_the_main_thread_is_there_from_the_start", is_there),
        (
            "main_2_it_cannot_be_started_joined_by_itself_or_made_a_daemon",
            refuses,
        ),
        (
            "mod_7_asked_for_first_by_another_thread_it_has_its_ident",
            asked_for_by_another,
        ),
        (
            "mod_7_after_its_ident_was_asked_for_it_keeps_that",
            asked_for_after_ident,
        ),
        ("thr_6_threads_made_in_main_are_no_daemons", inherits),
        (
            "thr_5_the_kernel_calls_the_process_by_mains_name",
            is_renamed,
        ),
        (
            "main_1_it_is_listed_without_having_been_asked_for",
            is_listed_unasked,
        ),
        (
            "fork_2_a_main_thread_that_only_others_have_asked_for_stays_the_same",
            forks_unasked,
        ),
        (
            "fork_2_a_main_thread_that_nobody_has_asked_for_stays_it",
            forks_unknown,
        ),
    ];

    fn forks_unasked() {
        let main = std::thread::spawn(main_thread).join().unwrap();
        in_child(|| {
            assert_eq!(main_thread(), main);
            assert_eq!((current_thread(), main.is_alive()), (main.clone(), true));
            assert_eq!(main.ident(), Some(get_ident()));
            assert_eq!(main.native_id(), Some(get_native_id()));
            assert_eq!(enumerate(), [main]);
        });
    }

    fn forks_unknown() {
        in_child(|| {
            static IDENT: AtomicU64 = AtomicU64::new(0);
            run(|| IDENT.store(main_thread().ident().unwrap(), Relaxed));
            assert_eq!(IDENT.load(Relaxed), get_ident());
            assert_eq!(enumerate(), [current_thread()]);
        });
    }

    fn is_there() {
        let main = main_thread();
        assert_eq!(current_thread(), main);
        assert_eq!((main.name(), main.daemon()), ("MainThread".into(), false));
        assert!(main.is_alive() && main.is_current());
        assert_eq!(main.ident(), Some(get_ident()));
        assert_eq!(main.native_id(), Some(get_native_id()));
        assert_eq!(main.native_id(), Some(std::process::id()), "MOD-10");
        assert_eq!((enumerate(), active_count()), (vec![main], 1));
    }

    fn refuses() {
        let main = current_thread();
        assert_eq!(main.start(), Err(Error::AlreadyStarted));
        assert_eq!(main.run(), Err(Error::AlreadyStarted));
        assert_eq!(main.set_daemon(true), Err(Error::DaemonAfterStart));
        assert_eq!(main.join(), Err(Error::JoinSelf));
        assert_eq!(main.join_timeout(Duration::MAX), Err(Error::JoinSelf));
        assert!(main.is_alive());
    }

    fn asked_for_by_another() {
        let others = || {
            let main = main_thread();
            assert!(!main.is_current() && main.is_alive());
            assert_eq!(main.native_id(), Some(std::process::id()));
            assert_eq!(main.join_timeout(Duration::from_millis(1)), Ok(false));
            main
        };
        let main = std::thread::spawn(others).join().unwrap();
        assert_eq!(main.ident(), Some(get_ident()));
        assert!(main.is_current() && main == current_thread());
        assert_eq!(main.join(), Err(Error::JoinSelf));
    }

    fn asked_for_after_ident() {
        let ident = get_ident();
        let main = std::thread::spawn(main_thread).join().unwrap();
        assert_eq!(main.ident(), Some(ident));
        assert_eq!(current_thread(), main);
    }

    fn inherits() {
        assert!(!Thread::new(|| ()).daemon());
        assert!(
            std::thread::spawn(|| Thread::new(|| ()).daemon())
                .join()
                .unwrap()
        );
    }

    fn is_renamed() {
        let comm = || fs::read_to_string("/proc/self/comm").unwrap();
        current_thread().set_name("by itself");
        assert_eq!(comm(), "by itself\n");
        let rename = || main_thread().set_name("by somebody else");
        std::thread::spawn(rename).join().unwrap();
        assert_eq!(comm(), "by somebody els\n");
        assert_eq!(current_thread().name(), "by somebody else");
    }

    fn is_listed_unasked() {
        let list = std::thread::spawn(enumerate).join().unwrap();
        assert_eq!(list, [current_thread()]);
        assert_eq!(std::thread::spawn(active_count).join().unwrap(), 1);
    }
}
