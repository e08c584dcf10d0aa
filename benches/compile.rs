//! What the crate costs whoever builds it: a clean release build with its runtime dependencies, and the
//! code that comes out. By cargo, from what cargo has fetched already.

mod common;

use common::driver::{Group, Metrics, Suite};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use std::{env, fs};

/// Builds an empty crate that depends on `package`, in a folder of its own.
fn build(package: &str, dependency: &str) -> Metrics {
    let folder = env::temp_dir().join(format!("threadbare-compile-{}", std::process::id()));
    fs::create_dir_all(folder.join("src")).expect("a temporary folder");
    let manifest = format!(
        "[package]\nname = \"user\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n{dependency}\n"
    );
    fs::write(folder.join("Cargo.toml"), manifest).expect("room for a file");
    fs::write(folder.join("src/lib.rs"), "").expect("room for a file");
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
    fs::copy(ours, folder.join("Cargo.lock")).expect("room for a file");
    let begun = Instant::now();
    let status = Command::new(env::var_os("CARGO").expect("to be run by cargo"))
        .args(["build", "--release", "--quiet", "--offline"])
        .env("CARGO_TARGET_DIR", "target")
        .current_dir(&folder)
        .status();
    let took = begun.elapsed();
    assert!(
        status.is_ok_and(|status| status.success()),
        "{package} was not built"
    );
    let code = code_bytes(&folder.join("target/release/deps"));
    fs::remove_dir_all(&folder).expect("the folder that was made above");
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

fn contender(group: &mut Group, package: &'static str, dependency: String) {
    group.measured(package, move |_| build(package, &dependency));
}

fn main() {
    let mut suite = Suite::from_args("compile");
    suite.group("clean release build", |group| {
        let ours = format!("threadbare = {{ path = {:?} }}", env!("CARGO_MANIFEST_DIR"));
        contender(group, "threadbare", ours);
        contender(group, "parking_lot", "parking_lot = \"0.12\"".to_owned());
    });
    suite.run();
}
