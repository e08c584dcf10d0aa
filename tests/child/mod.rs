//! For tests that need a process of their own, or look at one from outside.

#![allow(dead_code, reason = "each test file uses a part of it")]

use crate::common::this_program;
use nix::libc::{_SC_PAGESIZE, sysconf};
use nix::sys::signal::Signal;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

/// How a test that was run as a process of its own has ended.
#[derive(Debug)]
pub struct Child {
    pub status: ExitStatus,
    pub stderr: String,
}

impl Child {
    /// Runs `body` in a new process, which is this test program told to run `test` alone; `test` is
    /// the name of the calling test. In that process it calls `body` and returns `None`.
    pub fn run(test: &str, body: fn()) -> Option<Child> {
        Child::run_in(test, |_| (), body)
    }

    /// As [`run`](Child::run), with a process that `configure` has changed.
    pub fn run_in(test: &str, configure: impl FnOnce(&mut Command), body: fn()) -> Option<Child> {
        const MARK: &str = "THREADBARE_TEST_CHILD";
        if std::env::var_os(MARK).is_some() {
            body();
            return None;
        }
        let mut command = this_program();
        command
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(MARK, "1");
        command
            .env_remove("RUST_BACKTRACE")
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        configure(&mut command);
        let mut child = command.spawn().unwrap();
        let mut stderr = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .unwrap();
        // The last word is an emulator's, if a signal ends what it runs.
        if let Some(own) = stderr.find("qemu: uncaught target signal") {
            stderr.truncate(own);
        }
        Some(Child {
            status: child.wait().unwrap(),
            stderr,
        })
    }

    /// The signal that ended it.
    pub fn signal(&self) -> Option<Signal> {
        self.status
            .signal()
            .map(|signal| Signal::try_from(signal).unwrap())
    }
}

/// Runs `body` in a process of its own, which ends well: for what changes the limits of a process,
/// or counts what it has. `test` is the name of the calling test.
pub fn in_child(test: &str, body: fn()) {
    if let Some(ended) = Child::run(test, body) {
        assert!(ended.status.success(), "{ended:?}");
    }
}

/// How many mappings this process has.
pub fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps")
        .unwrap()
        .lines()
        .count()
}

/// The resident memory of this process in bytes.
pub fn resident() -> usize {
    statm(1)
}

fn statm(field: usize) -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(field).unwrap().parse().unwrap();
    // SAFETY: no precondition.
    let page = unsafe { sysconf(_SC_PAGESIZE) };
    pages * usize::try_from(page).unwrap()
}

/// The size of this process's mappings in bytes.
pub fn mapped() -> usize {
    statm(0)
}

/// How many threads this process has.
pub fn tasks() -> usize {
    crate::common::tids().count()
}

/// Runs off the stack of the calling thread.
#[expect(unconditional_recursion, reason = "it is to run off its stack")]
pub fn overflow_the_stack(depth: &mut [u64; 16]) {
    depth[0] += 1;
    let mut deeper = std::hint::black_box(*depth);
    overflow_the_stack(&mut deeper);
    std::hint::black_box(&deeper);
}
