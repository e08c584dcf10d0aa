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
use std::hint::black_box;
use threadbare_sys::fork;

/// Runs before `main`, or in the `dlopen` of a library that this crate is linked into: a fork must
/// not come between a thread's first use of the crate and the registration.
// SAFETY: the section holds pointers to functions that take what libc passes or less.
#[used]
#[unsafe(link_section = ".init_array.00100")]
static AT_LOAD: extern "C" fn() = register;

/// For all that takes one of those locks: refers to what runs at load. Who links with a static library
/// takes only those parts of it that the rest refers to. Two instructions.
#[inline]
pub(crate) fn need() {
    black_box(&AT_LOAD);
}

extern "C" fn register() {
    fork::register(before, in_parent, in_child);
}

extern "C" fn before() {
    thread_token(); // of before the fork, since it stays the caller's (FORK-3)
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
    // SAFETY: `before` ran in this thread.
    unsafe { let_go() };
}

extern "C" fn in_child() {
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
