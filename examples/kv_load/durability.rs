//! What was answered is in the log: stop the server under load, and look.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use nix::sys::signal::Signal;
use threadbare::{Error, Semaphore, Thread};

use crate::client::{Answer, Client, Result, Server, failed};
use crate::options::Options;

const WRITERS: u64 = 8;

/// Writes that the load has to have done before it is stopped.
const ENOUGH: u32 = 20_000;

/// What one writer sent and what was answered.
#[derive(Default)]
struct Account {
    sent: AtomicU64,
    answered: AtomicU64,
    /// Increments of a counter that all share.
    counted: AtomicU64,
}

pub fn run(options: &Options) -> Result<()> {
    let program = options.text("--kv").ok_or("--kv is missing")?;
    let folder = std::env::temp_dir().join(format!("kv-durability-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(failed("make a folder"))?;
    let log = folder.join("log");
    let result = stopped(Path::new(program), &log, Signal::SIGTERM)
        .and_then(|()| std::fs::remove_file(&log).map_err(failed("remove the log")))
        .and_then(|()| stopped(Path::new(program), &log, Signal::SIGKILL));
    let _ = std::fs::remove_dir_all(&folder);
    result
}

fn stopped(program: &Path, log: &Path, signal: Signal) -> Result<()> {
    let log = log
        .to_str()
        .ok_or("the temporary folder's name is no text")?;
    let mut server = Server::start(program, &["--log", log])?;
    let accounts: Arc<Vec<Account>> = Arc::new((0..WRITERS).map(|_| Account::default()).collect());
    let done = Arc::new(Semaphore::new(0));
    let text = |error: Error| error.to_string();
    let mut threads = Vec::new();
    for writer in 0..WRITERS {
        let (accounts, done, address) = (accounts.clone(), done.clone(), server.address);
        let target = move || {
            // It ends with an error, since the server goes away.
            let _ = write(address, writer, &accounts[writer as usize], &done);
        };
        threads.push(Thread::builder().target(target).spawn().map_err(text)?);
    }
    done.acquire_n(ENOUGH).map_err(text)?;
    server.signal(signal)?;
    let status = server.wait()?;
    for thread in threads {
        thread.join().map_err(text)?;
    }
    let graceful = signal == Signal::SIGTERM;
    if graceful && !status.success() {
        return Err(format!("the server ended with {status}"));
    }
    let server = Server::start(program, &["--log", log])?;
    check(server.address, &accounts, graceful)?;
    let answered: u64 = accounts
        .iter()
        .map(|account| account.answered.load(Relaxed))
        .sum();
    println!("{signal} after {answered} answered writes: the log has what it must");
    Ok(())
}

/// Sets a key to ever higher numbers and counts, until the server is gone.
fn write(address: SocketAddr, writer: u64, account: &Account, done: &Semaphore) -> Result<()> {
    let mut client = Client::connect(address)?;
    let key = format!("writer:{writer}");
    for number in 1.. {
        account.sent.store(number, Relaxed);
        let ok = Answer::Simple("OK".into());
        client.expect(
            &[b"SET", key.as_bytes(), number.to_string().as_bytes()],
            &ok,
        )?;
        account.answered.store(number, Relaxed);
        if !matches!(client.call(&[b"INCR", b"counter"])?, Answer::Integer(_)) {
            return Err("INCR".to_owned());
        }
        account.counted.store(number, Relaxed);
        done.release().map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Each key has a value that was sent and, after a graceful stop, is not behind what was answered.
fn check(address: SocketAddr, accounts: &[Account], complete: bool) -> Result<()> {
    let mut client = Client::connect(address)?;
    let mut number = |key: &str| match client.call(&[b"GET", key.as_bytes()])? {
        Answer::Bulk(Some(text)) => {
            let number = String::from_utf8(text)
                .ok()
                .and_then(|text| text.parse().ok());
            number.ok_or_else(|| format!("{key} is no number"))
        }
        Answer::Bulk(None) => Ok(0),
        other => Err(format!("{key}: {other:?}")),
    };
    let within = |what: &str, least: u64, value: u64, most: u64| {
        let least = if complete { least } else { 0 };
        let fine = (least..=most).contains(&value);
        fine.then_some(())
            .ok_or_else(|| format!("{what} is {value}, not {least} to {most}"))
    };
    let mut counted = 0;
    for (writer, account) in accounts.iter().enumerate() {
        let key = format!("writer:{writer}");
        let (sent, answered) = (account.sent.load(Relaxed), account.answered.load(Relaxed));
        within(&key, answered, number(&key)?, sent)?;
        counted += account.counted.load(Relaxed);
    }
    within("counter", counted, number("counter")?, counted + WRITERS)
}
