//! What has to happen when a process forks: handlers that are registered once, and a count of the
//! forks that lie behind this process.
//!
//! In the child of a fork(2) only the calling thread exists. Memory is as the others left it in the
//! middle of whatever they did: locks that they held, lists of where they waited. Who keeps such
//! things notes the [`generation`] in which it wrote them, and compares.
//!
//! Handlers run by pthread_atfork(3), so not in a child made by a bare `clone` or `_Fork`; POSIX
//! allows such a child little else than `exec`. In the child they run in the order in which they
//! were registered: one that was registered before ours still sees the old generation.

use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

/// A function that runs before or after a fork.
pub type Handler = extern "C" fn();

const NOT_YET: u8 = 0;
const TRYING: u8 = 1;
const DONE: u8 = 2;

/// Handlers for pthread_atfork(3), registered when they are first needed and never taken back.
///
/// `prepare` runs in the parent before the fork, `parent` there afterwards, `child` in the child.
/// The last one may do only what is async-signal-safe, and should be quick: it runs in each child
/// that the program ever forks, often right before an `exec`.
#[derive(Debug)]
pub struct Handlers {
    prepare: Option<Handler>,
    parent: Option<Handler>,
    child: Option<Handler>,
    state: AtomicU8,
}

impl Handlers {
    /// Handlers that are not registered yet.
    #[must_use]
    pub const fn new(
        prepare: Option<Handler>,
        parent: Option<Handler>,
        child: Option<Handler>,
    ) -> Handlers {
        Handlers {
            prepare,
            parent,
            child,
            state: AtomicU8::new(NOT_YET),
        }
    }

    /// `pthread_atfork(prepare, parent, child)` at the first call; whether they are registered.
    ///
    /// They are not if memory ran out, in which case the next call tries again, or if another
    /// thread is registering them at this moment: this call does not wait for it. If a fork comes
    /// at that moment, the child never knows them registered, though they may be.
    ///
    /// A load after the first call. No system call but for memory.
    #[inline]
    #[must_use = "if not, a fork goes unnoticed"]
    pub fn ensure(&self) -> bool {
        // Acquire: pairs with the Release in `try_once`, so who sees DONE may rely on it.
        self.state.load(Acquire) == DONE || self.try_once()
    }

    #[cold]
    fn try_once(&self) -> bool {
        // Acquire on failure: as in `ensure`.
        match self
            .state
            .compare_exchange(NOT_YET, TRYING, Relaxed, Acquire)
        {
            Ok(_) => {
                let registered = self.register();
                let state = if registered { DONE } else { NOT_YET };
                // It fails if `insist` was done first. Release: pairs with the Acquire in `ensure`.
                let _ = self.state.compare_exchange(TRYING, state, Release, Relaxed);
                registered
            }
            Err(now) => now == DONE,
        }
    }

    /// [`ensure`](Handlers::ensure) for handlers that may as well run twice: where another thread
    /// is registering them, or was when it vanished in a fork, it registers them too. So it fails
    /// only if memory ran out.
    #[inline]
    #[must_use = "if not, a fork goes unnoticed"]
    pub fn insist(&self) -> bool {
        self.ensure() || self.try_again()
    }

    #[cold]
    fn try_again(&self) -> bool {
        let registered = self.register();
        if registered {
            // Release: pairs with the Acquire in `ensure`.
            self.state.store(DONE, Release);
        }
        registered
    }

    fn register(&self) -> bool {
        let c =
            |handler: Option<Handler>| handler.map(|handler| handler as unsafe extern "C" fn());
        let (prepare, parent, child) = (c(self.prepare), c(self.parent), c(self.child));
        // SAFETY: the functions are safe to call, and stay as long as the program's code does.
        unsafe { libc::pthread_atfork(prepare, parent, child) == 0 }
    }
}

static GENERATION: AtomicU32 = AtomicU32::new(0);

/// Whether this process has counted the fork that made it.
static IS_COUNTED: AtomicBool = AtomicBool::new(false);

static COUNT: Handlers = Handlers::new(Some(expect), None, Some(count));

extern "C" fn expect() {
    // Relaxed: the child has a copy of what its only thread has written.
    IS_COUNTED.store(false, Relaxed);
}

/// Counts a fork once, also if it was registered twice: the number must not change any more once
/// later handlers have seen it.
extern "C" fn count() {
    // Relaxed: the process has one thread now, and others see what it did before it started them.
    if !IS_COUNTED.swap(true, Relaxed) {
        GENERATION.fetch_add(1, Relaxed);
    }
}

/// How often this process and those before it were forked off, as far as that was watched: in a
/// child always more than in its parent. A load.
#[inline]
#[must_use]
pub fn generation() -> u32 {
    // Relaxed: see `count`; it does not change while there are several threads.
    GENERATION.load(Relaxed)
}

/// Lets [`generation`] count the forks to come; whether it does, which fails if memory ran out.
///
/// To be called before anything is kept under a generation. A load after the first call.
#[inline]
#[must_use = "if not, a fork goes unnoticed"]
pub fn watch() -> bool {
    COUNT.insist()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Forks, and checks that `is_right` holds in the child.
    #[track_caller]
    fn check_in_child(is_right: impl FnOnce() -> bool) {
        // SAFETY: the children of these tests compute and leave by `_exit`.
        match unsafe { libc::fork() } {
            0 => {
                let wrong = !is_right();
                // SAFETY: leaves the child at once, without running anything of the parent's.
                unsafe { libc::_exit(i32::from(wrong)) };
            }
            child => {
                let mut status = -1;
                // SAFETY: `child` is ours and `status` is valid for the call.
                assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
                assert_eq!(status, 0);
            }
        }
    }

    #[test]
    fn fork_5_each_child_is_a_generation_later_and_its_parent_is_not() {
        assert!(watch() && watch());
        let mine = generation();
        check_in_child(|| {
            let first = generation();
            check_in_child(|| generation() > first);
            first > mine
        });
        assert_eq!(generation(), mine);
    }

    #[test]
    fn fork_5_handlers_are_registered_once_and_run_around_each_fork() {
        static CALLS: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];
        extern "C" fn prepare() {
            CALLS[0].fetch_add(1, Relaxed);
        }
        extern "C" fn parent() {
            CALLS[1].fetch_add(1, Relaxed);
        }
        extern "C" fn child() {
            CALLS[2].fetch_add(1, Relaxed);
        }
        static HANDLERS: Handlers = Handlers::new(Some(prepare), Some(parent), Some(child));
        // Other tests of this process fork too, so only what a child sees of itself is certain.
        assert!(HANDLERS.ensure() && HANDLERS.ensure() && HANDLERS.insist());
        check_in_child(|| {
            let [prepared, _, children] = &CALLS;
            prepared.load(Relaxed) >= 1 && children.load(Relaxed) == 1
        });
        assert!(CALLS[1].load(Relaxed) >= 1 && CALLS[2].load(Relaxed) == 0);
    }

    #[test]
    fn fork_5_a_registration_that_a_fork_cut_off_is_made_up_for() {
        static CHILDREN: AtomicU32 = AtomicU32::new(0);
        extern "C" fn child() {
            CHILDREN.fetch_add(1, Relaxed);
        }
        static HANDLERS: Handlers = Handlers::new(None, None, Some(child));
        HANDLERS.state.store(TRYING, Relaxed); // by a thread that is not there any more
        assert!(!HANDLERS.ensure());
        assert!(HANDLERS.insist() && HANDLERS.ensure());
        check_in_child(|| CHILDREN.load(Relaxed) == 1);
    }
}
