//! What connections have done: each thread counts for itself, and who asks adds it all up.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use threadbare::{Local, Mutex, get_ident};

/// All that was counted, up to some moment.
#[derive(Clone, Copy, Default)]
pub struct Counts {
    pub commands: u64,
    pub received: u64,
    pub sent: u64,
}

/// What one thread counts. Others read it meanwhile, which is why it is atomic; each number stands
/// for itself, so relaxed.
#[derive(Default)]
struct Tally {
    commands: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
}

/// A tally is counted here exactly once: among the running ones, or, from the end of its thread on,
/// in the sum.
struct Tallies {
    running: BTreeMap<u64, Arc<Tally>>,
    ended: Counts,
}

static TALLIES: Mutex<Tallies> = Mutex::new(Tallies {
    running: BTreeMap::new(),
    ended: Counts {
        commands: 0,
        received: 0,
        sent: 0,
    },
});

/// Each thread has its own, so that counting meets nobody.
static TALLY: Local<Listed> = Local::new(Listed::new);

/// A thread's tally, which goes over to the sum when the thread ends, however that happens.
struct Listed {
    thread: u64,
    tally: Arc<Tally>,
}

impl Listed {
    fn new() -> Listed {
        let (thread, tally) = (get_ident(), Arc::new(Tally::default()));
        TALLIES.lock().running.insert(thread, tally.clone());
        Listed { thread, tally }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut tallies = TALLIES.lock();
        tallies.running.remove(&self.thread);
        tallies.ended.add(&self.tally);
    }
}

impl Counts {
    fn add(&mut self, tally: &Tally) {
        self.commands += tally.commands.load(Relaxed);
        self.received += tally.received.load(Relaxed);
        self.sent += tally.sent.load(Relaxed);
    }
}

/// What all connections have done, those that have ended and those that are there.
pub fn totals() -> Counts {
    let tallies = TALLIES.lock();
    let mut totals = tallies.ended;
    for tally in tallies.running.values() {
        totals.add(tally);
    }
    totals
}

/// Counts a command of the calling thread's client.
pub fn count_command() {
    TALLY.with(|own| own.tally.commands.fetch_add(1, Relaxed));
}

/// A client's stream; what goes through it is counted for the calling thread.
#[derive(Clone, Copy)]
pub struct Counted<'a>(pub &'a TcpStream);

impl Read for Counted<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let received = self.0.read(bytes)?;
        TALLY.with(|own| own.tally.received.fetch_add(received as u64, Relaxed));
        Ok(received)
    }
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.write(bytes)?;
        TALLY.with(|own| own.tally.sent.fetch_add(sent as u64, Relaxed));
        Ok(sent)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
