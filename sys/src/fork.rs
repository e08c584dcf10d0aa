//! What has to be put right around fork(2).

use std::sync::atomic::{
    AtomicU8, AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

static GENERATION: AtomicU32 = AtomicU32::new(0);

/// How many forks lie between this process and the one in which [`watch`] was called first.
#[inline]
pub fn generation() -> u32 {
    GENERATION.load(Relaxed)
}

/// Makes sure that forks are counted.
pub fn watch() -> bool {
    extern "C" fn count() {
        GENERATION.fetch_add(1, Relaxed);
    }
    static COUNT: Handlers = Handlers::new(None, None, Some(count));
    COUNT.ensure()
}

/// A handler of pthread_atfork(3).
pub type Handler = extern "C" fn();

/// Handlers that are registered once.
#[derive(Debug)]
pub struct Handlers {
    state: AtomicU8,
    prepare: Option<Handler>,
    parent: Option<Handler>,
    child: Option<Handler>,
}

impl Handlers {
    /// Handlers, not registered yet.
    pub const fn new(
        prepare: Option<Handler>,
        parent: Option<Handler>,
        child: Option<Handler>,
    ) -> Handlers {
        Handlers {
            state: AtomicU8::new(0),
            prepare,
            parent,
            child,
        }
    }

    /// Whether they are registered.
    pub fn ensure(&self) -> bool {
        unsafe extern "C" {
            fn pthread_atfork(
                prepare: Option<Handler>,
                parent: Option<Handler>,
                child: Option<Handler>,
            ) -> libc::c_int;
        }
        match self.state.compare_exchange(0, 1, Relaxed, Acquire) {
            Ok(_) => {
                // SAFETY: functions for the life of the program.
                let result = unsafe { pthread_atfork(self.prepare, self.parent, self.child) };
                self.state.store(if result == 0 { 2 } else { 0 }, Release);
                result == 0
            }
            Err(now) => now == 2,
        }
    }
}
