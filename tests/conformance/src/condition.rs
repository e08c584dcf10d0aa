//! `Condition`.

use crate::args::{Truth, deadline, deadline_or_now};
use crate::errors::raised;
use crate::lock::Lock;
use crate::locks::{AnyLock, Saved};
use crate::rlock::RLock;
use crate::wait::{check_signals, wait};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::sync::Arc;
use threadbare::{CondLock, Error, Truthy};

/// A lock with a queue of threads that wait for a notification.
#[pyclass(frozen, subclass, weakref, module = "threading")]
pub(crate) struct Condition {
    lock: AnyLock,
    condition: threadbare::Condition<Arc<dyn CondLock + Send + Sync>>,
}

/// What a predicate returned; an exception ends the wait as well.
struct Verdict {
    value: PyResult<Py<PyAny>>,
    is_truthy: bool,
}

impl Verdict {
    fn of(predicate: &Py<PyAny>) -> Verdict {
        Python::attach(|py| {
            let judged = predicate.bind(py).call0().and_then(|value| {
                let is_truthy = value.is_truthy()?;
                Ok((value.unbind(), is_truthy))
            });
            match judged {
                Ok((value, is_truthy)) => Verdict {
                    value: Ok(value),
                    is_truthy,
                },
                Err(exception) => Verdict {
                    value: Err(exception),
                    is_truthy: true,
                },
            }
        })
    }
}

impl Truthy for Verdict {
    fn is_truthy(&self) -> bool {
        self.is_truthy
    }
}

#[pymethods]
impl Condition {
    #[new]
    #[pyo3(signature = (lock = None))]
    fn new(lock: Option<&Bound<'_, PyAny>>) -> PyResult<Condition> {
        let lock = match lock {
            None => AnyLock::Reentrant(Default::default()),
            Some(lock) => {
                if let Ok(lock) = lock.cast::<Lock>() {
                    lock.get().lock.clone()
                } else if let Ok(lock) = lock.cast::<RLock>() {
                    lock.get().lock.clone()
                } else {
                    return Err(PyTypeError::new_err("a Condition takes a Lock or an RLock"));
                }
            }
        };
        Ok(Condition {
            condition: threadbare::Condition::with_lock(lock.for_condition()),
            lock,
        })
    }

    #[pyo3(signature = (blocking = Truth(true), timeout = -1.0))]
    fn acquire(&self, py: Python<'_>, blocking: Truth, timeout: f64) -> PyResult<bool> {
        self.lock.acquire(py, &blocking, timeout)
    }

    fn release(&self) -> PyResult<()> {
        self.lock.release()
    }

    fn locked(&self) -> bool {
        self.lock.locked()
    }

    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let deadline = deadline_or_now(timeout)?;
        wait(py, |check| self.condition.wait_checked(deadline, check))
    }

    #[pyo3(signature = (predicate, timeout = None))]
    fn wait_for(
        &self,
        py: Python<'_>,
        predicate: &Bound<'_, PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let deadline = deadline(timeout)?;
        let predicate = predicate.clone().unbind();
        py.detach(|| {
            loop {
                let ask = || Verdict::of(&predicate);
                match self.condition.wait_for_interruptible(ask, deadline) {
                    Ok(verdict) => return verdict.value,
                    Err(Error::Interrupted) => check_signals()?,
                    Err(error) => return Err(raised(error)),
                }
            }
        })
    }

    #[pyo3(signature = (n = 1))]
    fn notify(&self, n: isize) -> PyResult<()> {
        let n = usize::try_from(n).unwrap_or(0); // COND-13
        self.condition.notify(n).map(drop).map_err(raised)
    }

    fn notify_all(&self) -> PyResult<()> {
        self.condition.notify_all().map(drop).map_err(raised)
    }

    fn _is_owned(&self) -> bool {
        self.lock.is_owned()
    }

    fn _release_save(&self) -> PyResult<Saved> {
        self.lock.release_save()
    }

    fn _acquire_restore(&self, py: Python<'_>, saved: Saved) {
        self.lock.acquire_restore(py, saved);
    }

    fn _at_fork_reinit(&self) {
        // SAFETY: as in CPython, who calls it from Python answers for that no other thread uses it.
        unsafe { self.condition.at_fork_reinit() };
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        self.lock.acquire(py, &Truth(true), -1.0)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.release()
    }

    fn __repr__(&self) -> String {
        match self.condition.waiting() {
            Some(waiting) => format!("<Condition({:?}, {waiting})>", self.lock),
            None => format!("<Condition({:?}, ?)>", self.lock),
        }
    }
}
