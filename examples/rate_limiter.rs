//! A rate limiter: a bucket of tokens that a `Timer` refills. Who takes a token may go on; while
//! the bucket is empty, callers wait for the next one, or are turned away when their time is up.
//!
//! ```sh
//! cargo run --example rate_limiter
//! ```
//!
//! Four clients send 40 requests through a limiter that lets 10 pass at once and one every 2 ms
//! from then on. It prints how many passed in which time, and checks that it cannot have been less,
//! and that no token comes once the limiter is stopped.

use std::sync::Arc;
use std::time::{Duration, Instant};
use threadbare::{BoundedSemaphore, Deadline, Error, Mutex, Thread, Timer};

const BURST: u32 = 10;
const PERIOD: Duration = Duration::from_millis(2);
const CLIENTS: u32 = 4;
const REQUESTS: u32 = 10;

/// Lets [`BURST`] requests pass at once, and one each [`PERIOD`] in the long run.
struct Limiter {
    /// Bounded: a full bucket stays full.
    tokens: BoundedSemaphore,
    start: Instant,
    /// The timer of the next token; none once the limiter is stopped.
    next: Mutex<Option<Timer>>,
}

impl Limiter {
    fn start() -> Result<Arc<Limiter>, Error> {
        let start = Instant::now();
        let limiter = Arc::new(Limiter {
            tokens: BoundedSemaphore::new(BURST),
            start,
            next: Mutex::new(None),
        });
        let first = Deadline::from(start + PERIOD);
        *limiter.next.lock() = Some(limiter.timer(first)?);
        Ok(limiter)
    }

    /// A started timer for the token that is due then. A `Timer` fires once, so each starts the next.
    ///
    /// Each is a thread of its own, which at one each 2 ms costs little. For thousands a second a
    /// single thread that waits with `Event::wait_until` is cheaper.
    fn timer(self: &Arc<Limiter>, due: Deadline) -> Result<Timer, Error> {
        let limiter = self.clone();
        let timer = Timer::new(due.remaining(), move || limiter.tick(due));
        timer.set_name("refill");
        timer.set_daemon(true)?;
        timer.start()?;
        Ok(timer)
    }

    fn tick(self: &Arc<Limiter>, due: Deadline) {
        let mut next = self.next.lock();
        if next.is_none() {
            return; // stopped while we were on our way here
        }
        match self.tokens.release() {
            Ok(()) | Err(Error::AboveBound) => {} // the bucket was full: this token is lost
            Err(error) => panic!("{error}"),
        }
        // Not from now on: what one tick is late must not delay those after it.
        let timer = self.timer(due.saturating_add(PERIOD));
        *next = Some(timer.expect("the system has room for a thread"));
    }

    /// Whether a request may pass within `patience`.
    fn may_pass(&self, patience: Duration) -> Result<bool, Error> {
        self.tokens.acquire_timeout(patience)
    }

    /// Ends the refilling. No token comes after this has returned.
    fn stop(&self) -> Result<(), Error> {
        let timer = self.next.lock().take();
        timer.map_or(Ok(()), |timer| {
            timer.cancel();
            timer.join()
        })
    }
}

fn main() -> Result<(), Error> {
    let limiter = Limiter::start()?;
    let client = |limiter: Arc<Limiter>| {
        move || {
            for _ in 0..REQUESTS {
                let passed = limiter.may_pass(Duration::from_secs(60));
                assert_eq!(passed, Ok(true), "no token for a minute");
            }
        }
    };
    let clients: Result<Vec<Thread>, Error> = (0..CLIENTS)
        .map(|_| Thread::builder().target(client(limiter.clone())).spawn())
        .collect();
    for client in clients? {
        client.join()?;
    }
    let elapsed = limiter.start.elapsed();
    limiter.stop()?;

    let requests = CLIENTS * REQUESTS;
    println!(
        "{requests} requests passed in {elapsed:.0?}: {BURST} at once, then one each {PERIOD:?}"
    );
    // A timer never fires early.
    assert!(elapsed >= PERIOD * (requests - BURST));

    // What was left in the bucket, and then nothing more.
    while limiter.may_pass(Duration::ZERO)? {}
    assert!(!limiter.may_pass(PERIOD * 3)?);
    println!("stopped: no more pass");
    Ok(())
}
