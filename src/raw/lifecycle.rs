//! From a thread's construction to its end (THR).
//!
//! # State word
//!
//! ```text
//!   NEW  --begin-->  STARTING  --the clone succeeded, or the thread runs-->  STARTED
//!    ^------failed------'
//! ```
//! and beside it two events, each set once: `running`, when the thread has told its kernel id, and
//! `ended`, as its very last step that any other thread waits for.
//!
//! `begin` is called under the lock of the thread's record, by who found the thread new, so it needs
//! no read-modify-write. STARTED is stored by both the starting and the started thread, whoever is
//! first (ruling: start makes no handshake); both store the same, and nothing follows it.
//!
//! # Ordering
//!
//! STARTED (Release) pairs with the loads in `is_started` (Acquire): who sees it sees what the
//! starting thread wrote before, the identity above all. `ended` carries all that the thread did
//! (MEM-3), `running` its kernel id.

use crate::primitive::{AtomicU32, const_unless_modelled};
use crate::raw::event::RawEvent;
use crate::raw::park::Limit;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

const NEW: u32 = 0;
const STARTING: u32 = 1;
const STARTED: u32 = 2;

/// The protocol of a thread's start and end.
#[derive(Debug)]
pub struct RawLifecycle {
    state: AtomicU32,
    /// The kernel's id; 0 until `running` is set.
    native_id: AtomicU32,
    running: RawEvent,
    ended: RawEvent,
}

impl RawLifecycle {
    const_unless_modelled! {
        /// A thread that has not been started.
        pub fn new() -> RawLifecycle {
            RawLifecycle {
                state: AtomicU32::new(NEW),
                native_id: AtomicU32::new(0),
                running: RawEvent::new(),
                ended: RawEvent::new(),
            }
        }
    }

    /// Whether nobody has started the thread, or is about to.
    pub fn is_new(&self) -> bool {
        // Relaxed: called under the lock that orders `begin` and `failed`.
        self.state.load(Relaxed) == NEW
    }

    /// Makes the caller the one that starts the thread, which is new.
    pub fn begin(&self) {
        debug_assert!(self.is_new());
        // Relaxed: others only tell STARTED from the rest.
        self.state.store(STARTING, Relaxed);
    }

    /// For who began: there is no thread after all.
    pub fn failed(&self) {
        // Relaxed: as in `begin`.
        self.state.store(NEW, Relaxed);
    }

    /// For who began, once there is a thread, and for that thread.
    pub fn started(&self) {
        // Release: pairs with the Acquire in `is_started`.
        self.state.store(STARTED, Release);
    }

    /// For the thread: its kernel id, for who asks and waits for it.
    pub fn runs_as(&self, native_id: u32) {
        // Relaxed: ordered by `running`.
        self.native_id.store(native_id, Relaxed);
        self.running.set();
    }

    /// For a thread that nobody has to start: it runs, under this id of the kernel's.
    pub fn runs_already(&self, native_id: u32) {
        self.started();
        self.runs_as(native_id);
    }

    /// For the thread: that it has ended. Its last access.
    pub fn end(&self) {
        self.ended.set();
    }

    /// Whether there is, or was, a thread.
    pub fn is_started(&self) -> bool {
        // Acquire: pairs with the Release in `started`.
        self.state.load(Acquire) == STARTED
    }

    /// Whether the thread has ended.
    pub fn is_ended(&self) -> bool {
        self.ended.is_set()
    }

    /// The event that tells of the end.
    pub fn ended(&self) -> &RawEvent {
        &self.ended
    }

    /// The thread's kernel id, if it has told it.
    pub fn told_native_id(&self) -> Option<u32> {
        // Relaxed: ordered by `running`.
        self.running.is_set().then(|| self.native_id.load(Relaxed))
    }

    /// Of a started thread, its kernel id; waits the moment until it is known.
    pub fn native_id(&self) -> u32 {
        let told = self.running.wait(Limit::NONE);
        debug_assert_eq!(told, Ok(()), "a wait without limit does not give up");
        // Relaxed: ordered by `running`.
        self.native_id.load(Relaxed)
    }
}
