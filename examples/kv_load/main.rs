//! A client for what other clients of the `kv` server do not do: thousands of connections at once,
//! stalled ones, broken input, and a look into the log after the server was stopped under load.

mod bench;
mod client;
mod crowd;
mod durability;
mod options;
mod torture;

use std::process::ExitCode;
use std::time::Duration;

use options::Options;
use threadbare::{Event, Thread};

const USAGE: &str = "\
usage: kv_load COMMAND [options]
  bench      --port N [--clients 50] [--requests 100000]
  crowd      --port N [--connections 5000] [--rounds 100] [--server-pid PID] [--max-rss-mib 400]
  stall      --port N [--stalled 100]
  torture    --port N [--server-pid PID]
  durability --kv PROGRAM";

/// Nothing here works for as long.
const AT_MOST: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let name = words.next().unwrap_or_default();
    // A server that hangs must not hang us: SIGPIPE is ignored by Rust, time is not.
    let watchdog = Thread::builder().name("watchdog").daemon(true).target(|| {
        static NEVER: Event = Event::new();
        let _ = NEVER.wait_timeout(AT_MOST);
        eprintln!("kv_load: took longer than {AT_MOST:?}");
        std::process::exit(1);
    });
    let result = watchdog
        .spawn()
        .map_err(|error| error.to_string())
        .and_then(|_| {
            let options = Options::parse(words)?;
            match name.as_str() {
                "bench" => bench::run(&options),
                "crowd" => crowd::run(&options),
                "stall" => bench::stall(&options),
                "torture" => torture::run(&options),
                "durability" => durability::run(&options),
                _ => Err(USAGE.to_owned()),
            }
        });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kv_load {name}: {error}");
            ExitCode::FAILURE
        }
    }
}
