//! Misuse that does not compile (WITH-4, SEM-1, LOCK-1, WITH-2).
#![cfg(not(threadbare_model))]

use std::env;
use std::process::Command;

/// The compiler whose messages the `.stderr` files hold.
const MESSAGES_OF: &str = "rustc 1.95.";

// What the messages stand for is checked with every compiler by constants in `guard.rs`.
#[test]
fn misuse_is_refused_at_compile_time() {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().unwrap();
    if version.stdout.starts_with(MESSAGES_OF.as_bytes()) {
        trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
    }
}
