//! Throughput and latency, where redis-benchmark is not installed; and under stalled clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use threadbare::{Error, Event, Semaphore, Thread};

use crate::client::{Client, Result, command};
use crate::options::Options;

/// Prints throughput and latency of SET and GET.
pub fn run(options: &Options) -> Result<()> {
    let clients = options.number("--clients", 50)?;
    let requests = options.number("--requests", 100_000)?;
    for name in ["SET", "GET"] {
        let load = Load {
            clients,
            requests: requests / clients.max(1),
            name,
        };
        let (took, latencies) = load.run(options.address()?)?;
        let rate = latencies.len() as f64 / took.as_secs_f64();
        let at = |share| percentile(&latencies, share);
        println!(
            "{name}: {rate:.0} requests a second, p50 {:.3?}, p99 {:.3?}, p99.9 {:.3?}",
            at(0.5),
            at(0.99),
            at(0.999)
        );
    }
    Ok(())
}

/// Compares the p99 of a few clients without and with stalled others.
///
/// On a machine that does other things a p99 jumps by more than what is looked for, so one good
/// attempt out of a few suffices: clients that really slow the others would spoil each.
pub fn stall(options: &Options) -> Result<()> {
    const ATTEMPTS: usize = 3;
    const MOST: f64 = 2.0;
    let address = options.address()?;
    let stalled = options.number("--stalled", 100)? as usize;
    for _ in 0..ATTEMPTS {
        let ratio = stall_ratio(address, stalled)?;
        println!("median ratio of p99 beside {stalled} stalled clients: {ratio:.2}");
        if ratio <= MOST {
            return Ok(());
        }
    }
    Err("stalled clients slow the others".to_owned())
}

/// The median over some rounds of the p99 beside stalled clients to that without.
fn stall_ratio(address: SocketAddr, stalled: usize) -> Result<f64> {
    const ROUNDS: usize = 7;
    let load = Load {
        clients: 8,
        requests: 2_500,
        name: "GET",
    };
    load.run(address)?; // once for nothing
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let (_, alone) = load.run(address)?;
        let mut others = Vec::new();
        for _ in 0..stalled {
            let mut other = Client::connect(address)?;
            other.send(b"*3\r\n$3\r\nSET\r\n$5\r\nstall\r\n$100\r\nhalf a va")?;
            others.push(other);
        }
        let (_, beside) = load.run(address)?;
        drop(others);
        let (alone, beside) = (percentile(&alone, 0.99), percentile(&beside, 0.99));
        println!("p99 {alone:.1?} alone, {beside:.1?} beside them");
        ratios.push(beside.as_secs_f64() / alone.as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    Ok(ratios[ROUNDS / 2])
}

/// A closed loop of clients, each on a thread of its own.
#[derive(Clone, Copy)]
struct Load {
    clients: u64,
    requests: u64,
    name: &'static str,
}

impl Load {
    /// How long it took, and the latency of each request, sorted.
    fn run(self, address: SocketAddr) -> Result<(Duration, Vec<Duration>)> {
        let go = Arc::new(Event::new());
        let ready = Arc::new(Semaphore::new(0));
        let mut results = Vec::new();
        let mut threads = Vec::new();
        for number in 0..self.clients {
            let latencies: Arc<Vec<AtomicU64>> = Arc::new(
                (0..self.requests)
                    .map(|_| AtomicU64::new(u64::MAX))
                    .collect(),
            );
            results.push(latencies.clone());
            let (go, ready) = (go.clone(), ready.clone());
            let target = move || {
                let client = Client::connect(address);
                let _ = ready.release();
                go.wait();
                // A failure leaves latencies that are found missing.
                let _ = client.and_then(|client| self.calls(client, number, &latencies));
            };
            let thread = Thread::builder()
                .stack_size(128 << 10)
                .target(target)
                .spawn();
            threads.push(thread.map_err(|error| error.to_string())?);
        }
        let text = |error: Error| error.to_string();
        ready.acquire_n(self.clients as u32).map_err(text)?;
        let begun = Instant::now();
        go.set();
        for thread in threads {
            thread.join().map_err(text)?;
        }
        let took = begun.elapsed();
        let all = results.iter().flat_map(|latencies| latencies.iter());
        let mut all: Vec<_> = all.map(|latency| latency.load(Relaxed)).collect();
        all.sort_unstable();
        if all.last() == Some(&u64::MAX) {
            return Err("requests failed".to_owned());
        }
        Ok((took, all.into_iter().map(Duration::from_nanos).collect()))
    }

    fn calls(self, mut client: Client, number: u64, latencies: &[AtomicU64]) -> Result<()> {
        for (call, latency) in latencies.iter().enumerate() {
            let key = format!("bench:{}", (call as u64 * 7919 + number) % 10_000);
            let text = match self.name {
                "SET" => command(&[b"SET", key.as_bytes(), b"a value of some bytes"]),
                _ => command(&[b"GET", key.as_bytes()]),
            };
            let begun = Instant::now();
            client.send(&text)?;
            client.answer()?;
            latency.store(begun.elapsed().as_nanos() as u64, Relaxed);
        }
        Ok(())
    }
}

/// The latency that a `share` of all does not exceed.
fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    sorted
        .get((last as f64 * share) as usize)
        .copied()
        .unwrap_or_default()
}
