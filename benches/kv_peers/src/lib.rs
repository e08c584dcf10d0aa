//! What `examples/kv` takes from threadbare, built of std's threads and of std's or parking_lot's
//! locks, as one would without threadbare. So the same source makes the servers that
//! `benches/kv.rs` compares.
//!
//! Only as much as the server uses, and only as exact: nothing here is to be used elsewhere.

mod locks;
mod thread;

pub use locks::{Barrier, BoundedSemaphore, Event, Monitor, MonitorGuard, Mutex, MutexGuard};
pub use thread::{
    Builder, ExceptHookArgs, Local, Thread, Timer, enumerate, get_ident, install_panic_hook,
    register_atexit, set_excepthook,
};

use std::fmt;
use std::time::{Duration, Instant};

/// What went wrong, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// A point of time.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    pub fn after(timeout: Duration) -> Result<Deadline, Error> {
        let point = Instant::now().checked_add(timeout);
        point
            .map(Deadline)
            .ok_or_else(|| Error("timeout too large".to_owned()))
    }
}
