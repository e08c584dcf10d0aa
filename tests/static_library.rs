//! A static library that a C compiler's linker takes the parts of that are referred to (FORK-5): those
//! that see to forks must be among them.

#![cfg(not(threadbare_model))]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const MANIFEST: &str = r#"
[package]
name = "library"
edition = "2024"

[lib]
path = "lib.rs"
crate-type = ["staticlib"]

[dependencies]
threadbare = { path = "PATH" }

# As many parts as possible.
[profile.dev]
codegen-units = 256

[workspace]
"#;

const LIBRARY: &str = r#"
#[unsafe(no_mangle)]
pub extern "C" fn start() {
    let wait = || threadbare::Event::new().wait();
    let thread = threadbare::Thread::builder().daemon(true).target(wait);
    drop(thread.spawn().unwrap());
}

#[unsafe(no_mangle)]
pub extern "C" fn count() -> usize {
    threadbare::active_count()
}
"#;

/// Returns 0 if there are two threads, and one in the child of a fork.
const PROGRAM: &str = r"
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

void start(void);
size_t count(void);

int main(void) {
    int status = 0;
    start();
    if (count() != 2)
        return 1;
    pid_t child = fork();
    if (child == 0)
        _exit(count() == 1 ? 0 : 2);
    return waitpid(child, &status, 0) == child && status == 0 ? 0 : 3;
}
";

#[track_caller]
fn run(command: &mut Command) {
    let ended = command.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(
        ended.status.success(),
        "{command:?}: {}\n{said}",
        ended.status
    );
}

#[test]
fn fork_5_a_static_library_sees_to_forks() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("static_library");
    fs::create_dir_all(&dir).unwrap();
    let write = |name: &str, text: &str| fs::write(dir.join(name), text).unwrap();
    write(
        "Cargo.toml",
        &MANIFEST.replace("PATH", root.to_str().unwrap()),
    );
    write("lib.rs", LIBRARY);
    write("main.c", PROGRAM);
    // The same versions, which are there.
    fs::copy(root.join("Cargo.lock"), dir.join("Cargo.lock")).unwrap();

    let cargo = env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let arguments = ["build", "--offline", "--target-dir", "target"];
    run(Command::new(cargo).args(arguments).current_dir(&dir));
    let arguments = [
        "-o",
        "program",
        "main.c",
        "target/debug/liblibrary.a",
        "-lm",
    ];
    run(Command::new("cc").args(arguments).current_dir(&dir));
    run(Command::new("timeout")
        .args(["60", "./program"])
        .current_dir(&dir));
}
