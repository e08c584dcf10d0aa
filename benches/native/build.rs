//! Compiles the C face of abseil's mutex, and links both libraries.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/abseil.cc");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .define("NDEBUG", None) // or it looks for deadlocks
        .file("src/abseil.cc")
        .compile("abseil_shim");
    let output = Command::new("pkg-config")
        .args(["--libs", "absl_synchronization"])
        .output()
        .expect("pkg-config");
    assert!(output.status.success(), "libabsl-dev is not installed");
    // In their order, and behind what needs them: Debian's are static.
    for word in String::from_utf8_lossy(&output.stdout).split_whitespace() {
        println!("cargo::rustc-link-arg={word}");
    }
    println!("cargo::rustc-link-arg=-lnsync");
    println!("cargo::rustc-link-arg=-lstdc++");
}
