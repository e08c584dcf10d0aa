//! What the two locks, and a condition on either, have in common.

use crate::args::{Truth, lock_deadline};
use crate::errors::raised;
use crate::wait::wait;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::fmt;
use std::sync::Arc;
use threadbare::{CondLock, Error, Lock, RLock};

/// Either lock, shared by the Python objects that stand for it.
#[derive(Clone)]
pub(crate) enum AnyLock {
    Plain(Arc<Lock>),
    Reentrant(Arc<RLock>),
}

/// What `_release_save` returns: how often the lock was held, and by whom.
pub(crate) type Saved = (u32, u64);

impl AnyLock {
    pub(crate) fn acquire(&self, py: Python<'_>, blocking: &Truth, timeout: f64) -> PyResult<bool> {
        let Some(deadline) = lock_deadline(blocking.0, timeout)? else {
            return Ok(self.try_acquire());
        };
        if self.try_acquire() {
            return Ok(true);
        }
        wait(py, |check| match self {
            AnyLock::Plain(lock) => lock.acquire_checked(deadline, check),
            AnyLock::Reentrant(lock) => lock.acquire_checked(deadline, check),
        })
    }

    fn try_acquire(&self) -> bool {
        match self {
            AnyLock::Plain(lock) => lock.try_acquire(),
            AnyLock::Reentrant(lock) => lock.try_acquire(),
        }
    }

    pub(crate) fn release(&self) -> PyResult<()> {
        let released = match self {
            AnyLock::Plain(lock) => lock.release(),
            AnyLock::Reentrant(lock) => lock.release(),
        };
        released.map_err(raised)
    }

    pub(crate) fn locked(&self) -> bool {
        match self {
            AnyLock::Plain(lock) => lock.locked(),
            AnyLock::Reentrant(lock) => lock.locked(),
        }
    }

    /// Whether the caller may wait and notify (COND-4).
    pub(crate) fn is_owned(&self) -> bool {
        match self {
            AnyLock::Plain(lock) => lock.locked(),
            AnyLock::Reentrant(lock) => lock.is_owned(),
        }
    }

    pub(crate) fn release_save(&self) -> PyResult<Saved> {
        let count = match self {
            AnyLock::Plain(_) => 1,
            AnyLock::Reentrant(lock) => lock.recursion_count(),
        };
        if count == 0 {
            return Err(PyRuntimeError::new_err(Error::NotOwner.to_string()));
        }
        for _ in 0..count {
            self.release()?;
        }
        Ok((count, threadbare::get_ident()))
    }

    pub(crate) fn acquire_restore(&self, py: Python<'_>, (count, _): Saved) {
        py.detach(|| {
            for _ in 0..count {
                self.for_condition().acquire();
            }
        });
    }

    pub(crate) fn at_fork_reinit(&self) {
        // SAFETY: as in CPython, who calls it from Python answers for that no other thread uses it.
        unsafe { self.for_condition().at_fork_reinit() };
    }

    /// The lock, to bind a condition to.
    pub(crate) fn for_condition(&self) -> Arc<dyn CondLock + Send + Sync> {
        match self {
            AnyLock::Plain(lock) => lock.clone(),
            AnyLock::Reentrant(lock) => lock.clone(),
        }
    }
}

/// As the crate prints the lock.
impl fmt::Debug for AnyLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AnyLock::Plain(lock) => lock.fmt(f),
            AnyLock::Reentrant(lock) => lock.fmt(f),
        }
    }
}
