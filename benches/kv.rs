//! The example server, end to end, on this crate, on std and on parking_lot: the same source, with
//! what `benches/kv_peers` has in this crate's place.
//!
//! Clients in closed loops, over TCP: most of the time is the kernel's, so this says how much of what
//! the other benches show is left in a program. One group connects anew for each command, which starts
//! and ends a thread each time.
//!
//! The servers are programs of their own; `scripts/bench.sh` builds them. Those that are not there are
//! left out.

mod common;

#[allow(dead_code, reason = "another program's, which uses more of it")]
#[path = "../examples/kv_load/client.rs"]
mod client;

use client::{Client, Server, command};
use common::driver::{Group, Metrics, Suite};
use common::load::{Histogram, Random};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// The servers, by where cargo puts them beside this program: `target/release/deps/kv-…`.
const SERVERS: [(&str, &str); 3] = [
    ("threadbare", "release/examples/kv"),
    ("std", "kv-std/release/kv"),
    ("parking_lot", "kv-parking_lot/release/kv"),
];

const KEYS: u64 = 10_000;

#[derive(Clone, Copy)]
enum Call {
    Get,
    Set,
    /// Connects, gets, and closes.
    Connect,
}

impl Call {
    fn make(self, client: &mut Client, random: &mut Random) -> client::Result<()> {
        let key = format!("key:{}", random.next() % KEYS);
        let text = match self {
            Call::Set => command(&[b"SET", key.as_bytes(), b"a value of some bytes"]),
            Call::Get | Call::Connect => command(&[b"GET", key.as_bytes()]),
        };
        client.send(&text)?;
        client.answer().map(drop)
    }
}

/// What `clients` get done in `time`.
fn load(address: SocketAddr, clients: u64, call: Call, time: Duration) -> client::Result<Metrics> {
    let end = AtomicBool::new(false);
    let end = &end;
    let one = |number: u64| {
        move || {
            let mut random = Random::new(number);
            let mut waits = Histogram::default();
            let mut calls = 0_u64;
            let mut client = Client::connect(address)?;
            let begun = Instant::now();
            // Relaxed: a hint to stop.
            while !end.load(Relaxed) {
                let before = Instant::now();
                if let Call::Connect = call {
                    client = Client::connect(address)?;
                }
                call.make(&mut client, &mut random)?;
                waits.add(before.elapsed());
                calls += 1;
            }
            Ok((calls as f64 / begun.elapsed().as_secs_f64(), waits))
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|number| scope.spawn(one(number)))
            .collect();
        thread::sleep(time);
        end.store(true, Relaxed);
        let (mut per_second, mut waits) = (0.0, Histogram::default());
        for thread in threads {
            let result: client::Result<_> = thread.join().expect("a client");
            let (calls, own) = result?;
            per_second += calls;
            waits.merge(&own);
        }
        let micros = |share| waits.percentile(share) / 1e3;
        Ok(vec![
            ("1/s", per_second),
            ("p50 µs", micros(0.5)),
            ("p99 µs", micros(0.99)),
        ])
    })
}

/// A server that is started when it is first needed.
fn contender(group: &mut Group, name: &'static str, program: PathBuf, clients: u64, call: Call) {
    let mut server = None;
    group.measured(name, move |time| {
        let server: &mut Server =
            server.get_or_insert_with(|| Server::start(&program, &[]).expect("the server starts"));
        load(server.address, clients, call, time).expect("the server answers")
    });
}

fn main() {
    let mut suite = Suite::from_args("kv");
    let program = std::env::current_exe().expect("this program");
    let target = program.ancestors().nth(3).unwrap_or(Path::new("target"));
    for (name, clients, call) in [
        ("GET, 8 clients", 8, Call::Get),
        ("SET, 8 clients", 8, Call::Set),
        ("GET, 64 clients", 64, Call::Get),
        ("connect and GET, 4 clients", 4, Call::Connect),
    ] {
        suite.group(name, |group| {
            for (server, path) in SERVERS {
                let program = target.join(path);
                if program.exists() {
                    contender(group, server, program, clients, call);
                } else {
                    eprintln!(
                        "kv: {server} is left out, there is no {}",
                        program.display()
                    );
                }
            }
        });
    }
    suite.run();
}
