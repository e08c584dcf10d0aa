//! The append-only log: every write as a RESP array, in the order in which it took effect.
//!
//! Commands append to a queue in memory; one thread writes the queue to the file, and a timer syncs
//! that a little later. See the command line's help for what is lost when.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::mem::replace;
use std::path::Path;
use std::sync::Arc;

use nix::fcntl::{Flock, FlockArg};
use threadbare::Monitor;

use crate::config::replay_limits;
use crate::frame::{Command, CommandBuffer, InputMemory};
use crate::sync::DelayedSync;

/// The most that waits to be written; then commands wait for the writer.
const MOST_QUEUED: usize = 64 << 20;

/// A buffer of records above this is not kept for the next batch.
const KEPT_BATCH: usize = 1 << 20;

/// The log takes no more writes.
#[derive(Debug)]
pub struct LogFailed;

pub struct Log {
    /// `None` without a log file.
    queue: Option<Monitor<Queue>>,
}

#[derive(Default)]
struct Queue {
    records: Vec<u8>,
    failed: bool,
    closing: bool,
}

impl Log {
    pub fn new(to_a_file: bool) -> Log {
        Log {
            queue: to_a_file.then(|| Monitor::new(Queue::default())),
        }
    }

    /// Appends a record. Called with the lock of what it is about held, and before that changes.
    pub fn append(&self, record: &[&[u8]]) -> Result<(), LogFailed> {
        let Some(queue) = &self.queue else {
            return Ok(());
        };
        let mut queue = queue.lock();
        queue.wait_while(|queue| !queue.failed && queue.records.len() >= MOST_QUEUED);
        if queue.failed {
            return Err(LogFailed);
        }
        encode(record, &mut queue.records);
        queue.notify_all();
        Ok(())
    }

    /// Lets the writer end once it has written everything.
    pub fn close(&self) {
        if let Some(queue) = &self.queue {
            let mut queue = queue.lock();
            queue.closing = true;
            queue.notify_all();
        }
    }

    /// Writes what is queued to `file` until the log is closed; whether all of it got there. The
    /// body of the writer's thread.
    pub fn write_to(&'static self, file: Flock<File>) -> bool {
        let Some(queue) = &self.queue else {
            return true;
        };
        let file = Arc::new(file);
        let sync = DelayedSync::new(file.clone(), |error| self.fail(error));
        let mut batch = Vec::new();
        loop {
            let ending = {
                let mut queue = queue.lock();
                queue.wait_while(|it| !it.closing && (it.records.is_empty() || it.failed));
                // After a failure the batch still holds what could not be written.
                batch.append(&mut queue.records);
                queue.notify_all();
                queue.closing
            };
            if !batch.is_empty() {
                match write_batch(&file, &batch) {
                    Ok(()) => {
                        batch.clear();
                        batch.shrink_to(KEPT_BATCH);
                        sync.written();
                    }
                    Err(error) => self.fail(&error),
                }
            }
            if ending {
                sync.end();
                // What came after the last batch is lost, and whatever comes now is refused.
                let mut queue = queue.lock();
                let is_lost = replace(&mut queue.failed, true) || !queue.records.is_empty();
                queue.notify_all();
                return !is_lost;
            }
        }
    }

    /// Refuses writes from now on.
    fn fail(&self, error: &io::Error) {
        let Some(queue) = &self.queue else {
            return;
        };
        let mut queue = queue.lock();
        let has_failed = replace(&mut queue.failed, true);
        queue.notify_all();
        drop(queue);
        if !has_failed {
            complain!("the log cannot be written, writes are refused: {error}");
        }
    }
}

/// Writes a batch, or nothing: half a record must not stay in the middle of the log.
fn write_batch(mut file: &File, batch: &[u8]) -> io::Result<()> {
    let before = file.stream_position()?;
    file.write_all(batch).inspect_err(|_| {
        let cut = file
            .set_len(before)
            .and_then(|()| file.seek(SeekFrom::Start(before)));
        if let Err(error) = cut {
            complain!("a partly written batch could not be cut off the log: {error}");
        }
    })
}

/// Appends `items` as a RESP array of bulk strings.
pub fn encode(items: &[&[u8]], out: &mut Vec<u8>) {
    // Writing to a vector does not fail.
    let _ = write!(out, "*{}\r\n", items.len());
    for item in items {
        let _ = write!(out, "${}\r\n", item.len());
        out.extend_from_slice(item);
        out.extend_from_slice(b"\r\n");
    }
}

/// Opens the log, gives each of its records to `apply`, and returns it ready to be appended to. An
/// unfinished record at the end, as a crash leaves it, is cut off.
pub fn replay(
    path: &Path,
    mut apply: impl FnMut(&[&[u8]]) -> Result<(), String>,
) -> Result<Flock<File>, String> {
    let explain = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    let file = file.map_err(|error| explain(&error))?;
    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock);
    let mut file =
        lock.map_err(|(_, errno)| explain(&format!("in use by another server: {errno}")))?;

    let mut records =
        CommandBuffer::new(replay_limits(), Arc::new(InputMemory::new(usize::MAX >> 1)));
    let mut good = 0_u64;
    let mut source: &File = &file;
    loop {
        let received = records.fill(&mut source).map_err(|error| explain(&error))?;
        if received == 0 {
            break;
        }
        loop {
            let broken =
                |what: &dyn std::fmt::Display| explain(&format!("broken at byte {good}: {what}"));
            let (record, len) = match records.next() {
                Ok(Some(next)) => next,
                Ok(None) => break,
                Err(error) => return Err(broken(&error)),
            };
            match record {
                Command::Borrowed(items) => apply(&items).map_err(|error| broken(&error))?,
                Command::Owned(_) => return Err(broken(&"an inline command")),
            }
            good += len as u64;
        }
    }
    if !records.is_empty() {
        complain!(
            "{}: the last record is incomplete and was cut off",
            path.display()
        );
        file.set_len(good).map_err(|error| explain(&error))?;
    }
    file.seek(SeekFrom::Start(good))
        .map_err(|error| explain(&error))?;
    // A new file's name must survive a power loss too.
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    File::open(parent.unwrap_or(Path::new(".")))
        .and_then(|folder| folder.sync_all())
        .map_err(|error| explain(&error))?;
    Ok(file)
}
