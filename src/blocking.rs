//! The family of forms in which every blocking operation comes.
//!
//! Each form first makes one attempt, which needs neither clock nor system call, and only then
//! blocks. `attempt` says whether it succeeded, `block` waits within a limit.

use crate::deadline::{self, Deadline};
use crate::error::Error;
use crate::raw::park::{GaveUp, Limit};
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

/// What a blocking call that reports signals returns.
pub(crate) fn outcome(parked: Result<(), GaveUp>) -> Result<bool, Error> {
    match parked {
        Ok(()) => Ok(true),
        Err(GaveUp::TimedOut) => Ok(false),
        Err(GaveUp::Interrupted) => Err(Error::Interrupted),
    }
}
