//! What has to happen when a process forks: handlers, and a count of the forks that lie behind this
//! process.
//!
//! In the child of a fork(2) only the calling thread exists. Memory is as the others left it in the
//! middle of whatever they did: locks that they held, lists of where they waited. Who keeps such
//! things notes the [`generation`] in which it wrote them, and compares.
//!
//! Handlers run by pthread_atfork(3), so not in a child made by a bare `clone` or `_Fork`; POSIX
//! allows such a child little else than `exec`. In the child they run in the order in which they
//! were registered: one that was registered before ours still sees the old generation.
//!
//! They are registered when the program is loaded, before there are threads. Later would be too
//! late: a fork that is under way in another thread runs no handler that comes meanwhile, and its
//! child would find locks held and caches filled by whoever went on after the registration.

use crate::tid;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// A function that runs before or after a fork.
pub type Handler = extern "C" fn();

/// Registers handlers for pthread_atfork(3), for the life of the program: `prepare` runs in the
/// parent before the fork, `parent` there afterwards, `child` in the child, where [`generation`]
/// has counted the fork already. `child` may do only what is async-signal-safe, and should be
/// quick: it runs in each child that the program ever forks, often right before an `exec`.
///
/// `prepare` may take locks under which memory is allocated, also where the global allocator takes
/// its own by such handlers, if it registers them at its first allocation, as jemalloc does: those
/// that are registered later run earlier before a fork, so this allocates first.
///
/// To be called when the program is loaded, from `.init_array`. Aborts if memory has run out then.
pub fn register(prepare: Handler, parent: Handler, child: Handler) {
    watch();
    drop(black_box(Box::new(0_u8)));
    at_fork(Some(prepare), Some(parent), child);
}

/// Runs before `main`, or in the `dlopen` of a library that this crate is linked into, and before
/// what has no number there.
// SAFETY: the section holds pointers to functions that take what libc passes or less.
#[used]
#[unsafe(link_section = ".init_array.00100")]
static AT_LOAD: extern "C" fn() = watch;

/// Lets [`generation`] count the forks to come.
extern "C" fn watch() {
    static IS_WATCHED: AtomicBool = AtomicBool::new(false);
    // Relaxed: whoever loads the program is one thread.
    if !IS_WATCHED.swap(true, Relaxed) {
        at_fork(None, None, count);
    }
}

fn at_fork(prepare: Option<Handler>, parent: Option<Handler>, child: Handler) {
    let c = |handler: Handler| handler as unsafe extern "C" fn();
    let (prepare, parent) = (prepare.map(c), parent.map(c));
    // SAFETY: the functions are safe to call, and stay as long as the program's code does.
    if unsafe { libc::pthread_atfork(prepare, parent, Some(c(child))) } != 0 {
        eprintln!("out of memory: cannot register a handler for fork");
        std::process::abort();
    }
}

static GENERATION: AtomicU32 = AtomicU32::new(0);

extern "C" fn count() {
    // Relaxed: the process has one thread now, and others see what it did before it started them.
    GENERATION.fetch_add(1, Relaxed);
    tid::forget();
}

/// How often this process and those before it were forked off: in a child always more than in its
/// parent. A load.
#[inline]
#[must_use]
pub fn generation() -> u32 {
    // Relaxed: see `count`; it does not change while there are several threads.
    GENERATION.load(Relaxed)
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
    fn fork_5_each_child_is_one_generation_later_and_its_parent_is_not() {
        let mine = generation();
        check_in_child(|| {
            let first = generation();
            check_in_child(|| generation() == first + 1);
            first == mine + 1
        });
        assert_eq!(generation(), mine);
    }

    #[test]
    fn fork_5_handlers_run_around_each_fork_and_the_childs_after_the_count() {
        static CALLS: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];
        static SEEN: AtomicU32 = AtomicU32::new(0);
        extern "C" fn prepare() {
            CALLS[0].fetch_add(1, Relaxed);
        }
        extern "C" fn parent() {
            CALLS[1].fetch_add(1, Relaxed);
        }
        extern "C" fn child() {
            SEEN.store(generation(), Relaxed);
        }
        register(prepare, parent, child);
        // Other tests of this process fork too, so only what a child sees of itself is certain.
        check_in_child(|| CALLS[0].load(Relaxed) >= 1 && SEEN.load(Relaxed) == generation());
        assert!(CALLS[1].load(Relaxed) >= 1 && SEEN.load(Relaxed) == 0);
    }
}
