//! Which thread this is, for threads that the crate started.

use super::{Inner, join};
use crate::primitive::{adopt_token, thread_token};
use std::cell::{Cell, RefCell};
use std::ptr;
use std::sync::Arc;

thread_local! {
    /// This thread's record; null in threads that the crate did not start. Without a destructor,
    /// so it can be read at any time, in a signal handler too.
    static CURRENT: Cell<*const Inner> = const { Cell::new(ptr::null()) };

    /// Ends the thread when it is destroyed, which is after all other thread-locals.
    static END: RefCell<Option<End>> = const { RefCell::new(None) };
}

/// Marks the thread's end when dropped.
struct End(Arc<Inner>);

impl Drop for End {
    fn drop(&mut self) {
        CURRENT.set(ptr::null());
        join::leave(self.0.clone());
        self.0.lifecycle.end();
    }
}

/// For a new thread, before anything else: makes it be `inner`.
///
/// Thread-locals are destroyed in the reverse order of their first use, those that are first used
/// by a destructor included. So touching ours first makes the end that it marks come after all of
/// them (std registers them with `__cxa_thread_atexit_impl` or a list of its own; a test pins it).
pub(super) fn become_thread(inner: &Arc<Inner>) {
    END.with(|end| *end.borrow_mut() = Some(End(inner.clone())));
    CURRENT.set(Arc::as_ptr(inner));
    adopt_token(inner.token);
}

/// Calls `look` with this thread's record, if the crate started it.
pub(super) fn with<R>(look: impl FnOnce(Option<&Inner>) -> R) -> R {
    // SAFETY: not null only while `END` holds a reference to the record.
    look(unsafe { CURRENT.get().as_ref() })
}

/// The identity of the calling thread: a number that no other thread of the process has, had or
/// will have, and that a fork leaves alone. Never 0.
///
/// Python may give the number of an ended thread to a later one (MOD-8); this crate does not, so
/// a number that was kept tells the truth (MOD-9). It is not the kernel's id: see
/// [`get_native_id`]. One load after the first call; async-signal-safe.
///
/// ```
/// use threadbare::{get_ident, Thread};
///
/// let here = get_ident();
/// let thread = Thread::new(move || assert_ne!(get_ident(), here));
/// thread.start()?;
/// thread.join()?;
/// assert_ne!(thread.ident(), Some(get_ident()));
/// # Ok::<(), threadbare::Error>(())
/// ```
#[must_use]
pub fn get_ident() -> u64 {
    thread_token()
}

/// `gettid()`: the kernel's id of the calling thread, as `top`, `perf` and `/proc` show it; in the
/// main thread the process id (MOD-10). The kernel gives the ids of ended threads to later ones.
///
/// A load after the thread's first call; right in the child of a fork too.
///
/// ```
/// assert_eq!(threadbare::get_native_id(), threadbare::get_native_id());
/// ```
#[must_use]
pub fn get_native_id() -> u32 {
    threadbare_sys::tid::gettid()
}
