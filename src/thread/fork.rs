//! fork(2): the child finds all locks of this crate's own free, and itself alone (FORK).
//!
//! Before a fork the forking thread takes every lock that the crate keeps for itself in a static,
//! so that no other thread is cut off in the middle of a change. There is a fixed number of them,
//! however many threads there are, and nobody holds one for longer than a few stores and no two in
//! another order. The registry's come last: under the others memory is allocated, and a user's
//! allocator may ask which threads there are (MOD-5). Afterwards parent and child release them.
//!
//! In the child the other threads are gone. Their records are taken out of the lists and nothing
//! of theirs is dropped, since it may be half changed. That they have ended shows by the
//! generation in which they were started (`Record::is_vanished`). Their stacks stay as they are;
//! whoever joined them for libc, or was about to, is not trusted to have finished: the child
//! never touches a kernel thread of its parent.
//!
//! A lock that a thread of the parent's holds while it waits, `Record::os`, is left alone in the
//! child for the same reason.

use super::{current, exit, hooks, join, local, overflow, registry, stacks, timer};
use crate::observe;
use crate::primitive::thread_token;
use std::alloc::{Layout, handle_alloc_error};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use threadbare_sys::fork::{self, Handler, Handlers};

static HANDLERS: Handlers = Handlers::new(Some(before), Some(in_parent), Some(in_child));

/// Makes sure that a fork finds the crate prepared: before any of the locks is taken that `before`
/// takes, so in whatever a program may call first, and before a first record is listed.
///
/// Whether it could: memory may be short. A load after the first call.
pub(crate) fn prepare() -> bool {
    // The generation is counted first: its handler is registered before ours.
    fork::watch() && HANDLERS.insist()
}

/// As [`prepare`], for who cannot report an error: without memory the process is aborted, as by any
/// allocation that fails.
pub(super) fn insist() {
    if !prepare() {
        handle_alloc_error(Layout::new::<[Handler; 3]>());
    }
}

/// The thread that forks and has taken all locks; [`NOBODY`] between forks. The handlers may have
/// been registered twice, and then are to do nothing the second time.
static FORKS: AtomicU64 = AtomicU64::new(NOBODY);

const NOBODY: u64 = 0;

extern "C" fn before() {
    let me = thread_token();
    // Relaxed, here and below: a thread finds its own token only if it has written that itself.
    if FORKS.load(Relaxed) == me {
        return;
    }
    join::hold();
    stacks::hold();
    overflow::hold();
    timer::hold();
    hooks::hold();
    exit::hold();
    observe::hold();
    local::hold();
    current::hold();
    registry::hold();
    FORKS.store(me, Relaxed);
}

/// Releases what `before` took.
///
/// # Safety
/// The calling thread, or its original in the parent, has called `before`.
unsafe fn let_go() {
    // SAFETY: as the caller promises.
    unsafe { registry::let_go() };
    // SAFETY: as above.
    unsafe { current::let_go() };
    // SAFETY: as above.
    unsafe { local::let_go() };
    // SAFETY: as above.
    unsafe { observe::let_go() };
    // SAFETY: as above.
    unsafe { exit::let_go() };
    // SAFETY: as above.
    unsafe { hooks::let_go() };
    // SAFETY: as above.
    unsafe { timer::let_go() };
    // SAFETY: as above.
    unsafe { overflow::let_go() };
    // SAFETY: as above.
    unsafe { stacks::let_go() };
    // SAFETY: as above.
    unsafe { join::let_go() };
}

extern "C" fn in_parent() {
    if FORKS.load(Relaxed) == thread_token() {
        FORKS.store(NOBODY, Relaxed);
        // SAFETY: `before` ran in this thread.
        unsafe { let_go() };
    }
}

extern "C" fn in_child() {
    if FORKS.load(Relaxed) != thread_token() {
        return;
    }
    FORKS.store(NOBODY, Relaxed);
    // SAFETY: `before` ran, and the child of a fork has one thread.
    let survivor = unsafe { current::survive() };
    // SAFETY: as above.
    unsafe { registry::keep_only(survivor.as_ref()) };
    // SAFETY: as above.
    unsafe { join::forget_all() };
    // SAFETY: as above.
    unsafe { exit::survive() };
    local::survive();
    // SAFETY: `before` ran in this thread's original.
    unsafe { let_go() };
}
