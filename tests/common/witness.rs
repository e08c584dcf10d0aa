//! Threads of the crate's own in tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use threadbare::{Event, Thread};

/// A started thread that waits for the event.
pub fn waiting() -> (Thread, Arc<Event>) {
    let go = Arc::new(Event::new());
    let thread = Thread::new({
        let go = go.clone();
        move || go.wait()
    });
    thread.start().unwrap();
    (thread, go)
}

/// Whether something has come to its end: a panic in a thread stays there, so a test whose thread
/// checks something has to ask.
#[derive(Clone, Default)]
pub struct Witness(Arc<AtomicBool>);

impl Witness {
    /// `target`, watched.
    pub fn watch(&self, target: impl FnOnce() + Send + 'static) -> impl FnOnce() + Send + 'static {
        let seen = self.0.clone();
        move || {
            target();
            seen.store(true, Relaxed);
        }
    }

    /// Joins `thread` and fails if what was watched has not come to its end.
    #[track_caller]
    pub fn join(&self, thread: &Thread) {
        thread.join().unwrap();
        assert!(self.0.load(Relaxed), "a check in the thread failed");
    }
}

/// Starts `target`, waits for it, and fails if it panicked.
#[track_caller]
pub fn run(target: impl FnOnce() + Send + 'static) {
    let witness = Witness::default();
    let thread = Thread::new(witness.watch(target));
    thread.start().unwrap();
    witness.join(&thread);
}

/// Calls its function when dropped.
pub struct OnDrop<F: FnMut()>(pub F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
