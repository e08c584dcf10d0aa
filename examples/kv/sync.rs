//! Syncs a file some time after it was written, by a timer that runs only while there is something
//! to be synced: for an idle server it is no thread and no wake-up.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::Flock;
use threadbare::{Error, Mutex, Timer};

/// How long what was written waits to be synced, together with all that is written meanwhile.
const DELAY: Duration = Duration::from_secs(1);

pub struct DelayedSync {
    file: Arc<Flock<File>>,
    /// Told of every sync that fails.
    failed: Box<dyn Fn(&io::Error) + Send + Sync>,
    pending: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    /// There while something is to be synced. One at a time, however slow the disk is.
    timer: Option<Timer>,
    /// Whether something was written since the timer's sync began.
    is_dirty: bool,
    has_ended: bool,
}

impl DelayedSync {
    pub fn new(
        file: Arc<Flock<File>>,
        failed: impl Fn(&io::Error) + Send + Sync + 'static,
    ) -> Arc<DelayedSync> {
        Arc::new(DelayedSync {
            file,
            failed: Box::new(failed),
            pending: Mutex::default(),
        })
    }

    /// Sees to it that what was just written is synced.
    pub fn written(self: &Arc<Self>) {
        let mut pending = self.pending.lock();
        pending.is_dirty = true;
        if pending.timer.is_some() {
            return; // it will see to that
        }
        if self.arm(&mut pending).is_err() {
            drop(pending);
            self.sync(); // the system has no thread for a timer: now instead of later
        }
    }

    /// Syncs now, with nothing left to be done later.
    pub fn end(&self) {
        let mut pending = self.pending.lock();
        pending.has_ended = true;
        let timer = pending.timer.take();
        drop(pending); // the timer may need it
        if let Some(timer) = timer {
            timer.cancel(); // it may be too late for that, hence the join
            // It was started, and this is not its thread.
            let _ = timer.join();
        }
        self.sync();
    }

    /// A timer fires once, so each delay has one of its own. It is no daemon, as the threads that
    /// come here are none: the process does not end between a write and its sync.
    fn arm(self: &Arc<Self>, pending: &mut Pending) -> Result<(), Error> {
        let sync = self.clone();
        let timer = Timer::new(DELAY, move || sync.on_time());
        timer.set_name("log sync");
        timer.start()?;
        pending.timer = Some(timer);
        Ok(())
    }

    /// What the timer calls.
    fn on_time(self: Arc<Self>) {
        self.pending.lock().is_dirty = false; // before the sync, which may miss what comes now
        self.sync();
        let mut pending = self.pending.lock();
        pending.timer = None;
        if pending.is_dirty && !pending.has_ended && self.arm(&mut pending).is_err() {
            drop(pending);
            self.sync(); // as above
        }
    }

    fn sync(&self) {
        if let Err(error) = self.file.sync_data() {
            (self.failed)(&error);
        }
    }
}
