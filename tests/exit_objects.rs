//! Every object in what runs when a program ends: handlers of atexit(3), static destructors,
//! destructors of main's thread-locals, callbacks of `register_atexit` (EXIT-2, EXIT-5).
//!
//! A program with a main of its own, as `tests/exit.rs`: it runs itself once for each way to end, and
//! looks at the status and at what was said.

#![cfg(not(threadbare_model))]

mod common;

use common::{every, patience, this_program};
use std::io::Write;
use std::process::{ExitCode, exit};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use threadbare::{Thread, exit_process, register_atexit};

/// Tells a child how to end.
const MARK: &str = "THREADBARE_EXIT_OBJECTS";

/// A child that hangs is ended after so many seconds, or more where all is slow.
const PATIENCE: u32 = 60;

/// A way to end: its name, what does it, whether that is in the main thread, whose thread-locals are
/// destroyed then.
type Way = (&'static str, fn(), bool);

const WAYS: [Way; 4] = [
    ("main returns", || (), true),
    ("process::exit", || exit(0), true),
    ("exit_process", || exit_process(0), true),
    (
        "exit_process in a thread",
        || {
            let thread = Thread::new(|| exit_process(0));
            thread.start().unwrap();
            threadbare::park(); // for ever
        },
        false,
    ),
];

/// Whether this process is a child: the static destructor is in the parent too.
static IS_CHILD: AtomicBool = AtomicBool::new(false);

/// Says something past all buffers, which may be gone.
fn say(text: &str) {
    let mut stdout = std::io::stdout();
    stdout.write_all(text.as_bytes()).unwrap();
    stdout.write_all(b"\n").unwrap();
    stdout.flush().unwrap();
}

/// Uses every object, with threads, daemons and others, and says so. A panic here cannot be passed on.
fn use_all(place: &str) {
    let used = std::panic::catch_unwind(|| {
        every::alone();
        every::together();
        let thread = Thread::builder().daemon(false).target(every::alone);
        thread.spawn().unwrap().join().unwrap();
    });
    if used.is_err() {
        // SAFETY: ends the process, which has failed.
        unsafe { libc::_exit(1) };
    }
    say(place);
}

extern "C" fn at_exit() {
    use_all("atexit");
}

extern "C" fn static_destructor() {
    if IS_CHILD.load(Relaxed) {
        use_all("fini_array");
    }
}

/// Called by libc after the handlers of atexit(3).
#[used]
#[unsafe(link_section = ".fini_array")]
static DESTRUCTOR: extern "C" fn() = static_destructor;

struct Last;

impl Drop for Last {
    fn drop(&mut self) {
        use_all("thread-local");
    }
}

thread_local! {
    static LAST: Last = const { Last };
}

/// Ends as `way` says, after everything was set up.
fn child(way: &Way) -> ExitCode {
    IS_CHILD.store(true, Relaxed);
    // SAFETY: no precondition. Without a handler the signal ends the child.
    unsafe { libc::alarm(PATIENCE * patience()) };
    // SAFETY: the handler may be called at any time after main.
    assert_eq!(unsafe { libc::atexit(at_exit) }, 0);
    register_atexit(|| use_all("callback")).unwrap();
    LAST.with(|_| ());
    use_all("main");
    (way.1)();
    ExitCode::SUCCESS
}

fn main() -> ExitCode {
    if let Ok(name) = std::env::var(MARK) {
        let way = WAYS.iter().find(|way| way.0 == name);
        return child(way.unwrap());
    }
    let mut failed = 0;
    for (name, _, is_in_main) in WAYS {
        let ended = this_program().env(MARK, name).output().unwrap();
        let said = String::from_utf8(ended.stdout).unwrap();
        let mut wanted = vec!["main", "callback", "atexit", "fini_array"];
        if is_in_main {
            wanted.insert(1, "thread-local");
        }
        let is_right = ended.status.success() && said.lines().eq(wanted.iter().copied());
        println!("test {name} ... {}", if is_right { "ok" } else { "FAILED" });
        if !is_right {
            failed += 1;
            let stderr = String::from_utf8_lossy(&ended.stderr);
            println!(
                "  {}\n  said: {said:?}\n  wanted: {wanted:?}\n  {stderr}",
                ended.status
            );
        }
    }
    let passed = WAYS.len() - failed;
    let outcome = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {outcome}. {passed} passed; {failed} failed");
    ExitCode::from(u8::from(failed != 0))
}
