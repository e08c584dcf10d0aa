//! The family of forms in which every blocking operation comes.
//!
//! Each form first makes one attempt, which needs neither clock nor system call, and only then
//! blocks. `attempt` says whether it succeeded, `block` waits within a limit.

use crate::deadline::{self, Deadline};
use crate::error::Error;
use crate::raw::park::{GaveUp, Limit};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;
use threadbare_sys::clock;

/// `op_timeout`: within `timeout`; whether it succeeded.
#[inline]
pub(crate) fn within(
    timeout: Duration,
    attempt: impl FnOnce() -> Result<bool, Error>,
    block: impl FnOnce(Limit) -> Result<(), GaveUp>,
) -> Result<bool, Error> {
    deadline::check(timeout)?;
    if attempt()? {
        return Ok(true);
    }
    if timeout.is_zero() {
        return Ok(false);
    }
    Ok(block(Limit::until(clock::Deadline::after(timeout))).is_ok())
}

/// [`within`] for locks: with a `timeout` of zero, which is no wait, it is not `attempt` that counts, which
/// lets threads go first that wait, but `try_acquire`.
#[inline]
pub(crate) fn lock_within(
    timeout: Duration,
    attempt: impl FnOnce() -> Result<bool, Error>,
    try_acquire: impl FnOnce() -> bool,
    block: impl FnOnce(Limit) -> Result<(), GaveUp>,
) -> Result<bool, Error> {
    let attempt = || Ok(attempt()? || (timeout.is_zero() && try_acquire()));
    within(timeout, attempt, block)
}

/// `op_interruptible`: before `deadline` and the next signal; whether it succeeded.
#[inline]
pub(crate) fn interruptible(
    deadline: Deadline,
    attempt: impl FnOnce() -> Result<bool, Error>,
    block: impl FnOnce(Limit) -> Result<(), GaveUp>,
) -> Result<bool, Error> {
    if attempt()? {
        return Ok(true);
    }
    outcome(block(Limit::interruptible(deadline.0)))
}

/// `op_checked`: before `deadline` and before `check` says to stop; whether it succeeded. `undo`
/// takes back a success that nobody will be told of.
pub(crate) fn checked(
    deadline: Deadline,
    check: impl FnMut() -> bool,
    attempt: impl FnOnce() -> Result<bool, Error>,
    block: impl FnOnce(Limit) -> Result<(), GaveUp>,
    undo: impl FnOnce(),
) -> Result<bool, Error> {
    if attempt()? {
        return Ok(true);
    }
    let wait = |check: &dyn Fn() -> bool| outcome(block(Limit::checked(deadline.0, check)));
    with_check(check, wait, |result| {
        if result == Ok(true) {
            undo();
        }
    })
}

/// Calls `wait` with a check that does not unwind. If `check` panics, that stops the wait, and then
/// the panic goes on, once `undo` has been called with what the wait has returned.
pub(crate) fn with_check<R>(
    check: impl FnMut() -> bool,
    wait: impl FnOnce(&dyn Fn() -> bool) -> R,
    undo: impl FnOnce(R),
) -> R {
    let check = RefCell::new(check);
    let panic = Cell::new(None);
    let contained = || {
        let called = catch_unwind(AssertUnwindSafe(|| check.borrow_mut()()));
        called.unwrap_or_else(|payload| {
            panic.set(Some(payload));
            true
        })
    };
    let result = wait(&contained);
    if let Some(payload) = panic.take() {
        undo(result);
        resume_unwind(payload);
    }
    result
}

/// What a blocking call that reports signals returns.
pub(crate) fn outcome(parked: Result<(), GaveUp>) -> Result<bool, Error> {
    match parked {
        Ok(()) => Ok(true),
        Err(GaveUp::TimedOut) => Ok(false),
        Err(GaveUp::Interrupted) => Err(Error::Interrupted),
    }
}
