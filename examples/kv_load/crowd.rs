//! Thousands of connections at once.

use std::net::SocketAddr;
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::client::{Answer, Client, Result, command, failed};
use crate::options::Options;

/// Connections spoken to at once: few enough that what is sent fits the sockets' buffers.
const BATCH: usize = 500;

/// Opens all connections, then lets each do its rounds of SET and GET while all stay open.
pub fn run(options: &Options) -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed("getrlimit"))?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(failed("setrlimit"))?;
    let wanted = options.number("--connections", 5000)? as usize;
    let rounds = options.number("--rounds", 100)?;
    let most_mib = options.number("--max-rss-mib", 400)?;
    let pid = options.text("--server-pid");

    let begun = Instant::now();
    let mut clients = open(options.address()?, wanted)?;
    println!("{wanted} connections opened in {:.1?}", begun.elapsed());
    let begun = Instant::now();
    for round in 0..rounds {
        for (batch, clients) in clients.chunks_mut(BATCH).enumerate() {
            let pair = |number: usize| {
                let number = batch * BATCH + number;
                (format!("crowd:{number}"), format!("{number}:{round}"))
            };
            for (number, client) in clients.iter_mut().enumerate() {
                let (key, value) = pair(number);
                let mut both = command(&[b"SET", key.as_bytes(), value.as_bytes()]);
                both.extend(command(&[b"GET", key.as_bytes()]));
                client.send(&both)?;
            }
            for (number, client) in clients.iter_mut().enumerate() {
                let (_, value) = pair(number);
                let (set, got) = (client.answer()?, client.answer()?);
                let right = Answer::Bulk(Some(value.into_bytes()));
                if set != Answer::Simple("OK".into()) || got != right {
                    return Err(format!(
                        "connection {number}: {set:?}, {got:?} for {right:?}"
                    ));
                }
            }
        }
    }
    let took = begun.elapsed();
    let operations = 2 * rounds * wanted as u64;
    let rate = operations as f64 / took.as_secs_f64();
    println!("{operations} operations, all values right, in {took:.1?}: {rate:.0} a second");

    if let Some(pid) = pid {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task"))
            .map_err(failed("tasks"))?
            .count();
        let mib = resident_kib(pid)? / 1024;
        println!("the server has {threads} threads and {mib} MiB resident");
        if threads < wanted {
            return Err(format!("{threads} threads for {wanted} connections"));
        }
        if mib > most_mib {
            return Err(format!("{mib} MiB resident, more than {most_mib}"));
        }
    }
    Ok(())
}

fn open(address: SocketAddr, count: usize) -> Result<Vec<Client>> {
    (0..count).map(|_| Client::connect(address)).collect()
}

/// `VmRSS` of a process.
pub fn resident_kib(pid: &str) -> Result<u64> {
    let status =
        std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(failed("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    kib.ok_or_else(|| "no VmRSS".to_owned())
}
