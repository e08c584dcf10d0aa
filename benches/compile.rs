//! What the crate costs whoever builds it: a clean release build with its runtime dependencies, and the
//! code that comes out. By cargo, from what cargo has fetched already.

mod common;

use common::driver::{Group, Metrics, Suite};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use std::{env, fs};

/// Builds `package` into a directory of its own.
fn build(package: &str) -> Metrics {
    let target = env::temp_dir().join(format!("threadbare-compile-{}", std::process::id()));
    let begun = Instant::now();
    let status = Command::new(env::var_os("CARGO").expect("to be run by cargo"))
        .args([
            "build",
            "--release",
            "--quiet",
            "--offline",
            "--package",
            package,
        ])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    let took = begun.elapsed();
    assert!(
        status.is_ok_and(|status| status.success()),
        "{package} was not built"
    );
    let code = code_bytes(&target.join("release/deps"));
    fs::remove_dir_all(&target).expect("the directory that was made above");
    vec![
        ("ms", took.as_secs_f64() * 1e3),
        ("KiB of code", code / 1024.0),
    ]
}

/// Instructions and constants in the libraries, as size(1) tells.
fn code_bytes(folder: &Path) -> f64 {
    let files = fs::read_dir(folder).expect("what was built");
    let paths = files.map(|file| file.expect("what was built").path());
    let libraries: Vec<PathBuf> = paths
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "rlib")
        })
        .collect();
    let output = Command::new("size")
        .arg("--totals")
        .args(libraries)
        .output();
    let output = output.expect("size, of binutils").stdout;
    let output = String::from_utf8_lossy(&output);
    let totals = output.lines().last().unwrap_or_default();
    totals
        .split_whitespace()
        .next()
        .and_then(|text| text.parse().ok())
        .expect("the sum")
}

fn contender(group: &mut Group, package: &'static str) {
    group.measured(package, move |_| build(package));
}

fn main() {
    let mut suite = Suite::from_args("compile");
    suite.group("clean release build", |group| {
        contender(group, "threadbare");
        contender(group, "parking_lot");
    });
    suite.run();
}
