//! `Lock`.

use crate::args::Truth;
use crate::locks::AnyLock;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// A lock without an owner.
#[pyclass(frozen, weakref, module = "threading")]
pub(crate) struct Lock {
    pub(crate) lock: AnyLock,
}

#[pymethods]
impl Lock {
    #[new]
    fn new() -> Lock {
        Lock {
            lock: AnyLock::Plain(Default::default()),
        }
    }

    #[pyo3(signature = (blocking = Truth(true), timeout = -1.0))]
    fn acquire(&self, py: Python<'_>, blocking: Truth, timeout: f64) -> PyResult<bool> {
        self.lock.acquire(py, &blocking, timeout)
    }

    #[pyo3(signature = (blocking = Truth(true), timeout = -1.0))]
    fn acquire_lock(&self, py: Python<'_>, blocking: Truth, timeout: f64) -> PyResult<bool> {
        self.acquire(py, blocking, timeout)
    }

    fn release(&self) -> PyResult<()> {
        self.lock.release()
    }

    fn release_lock(&self) -> PyResult<()> {
        self.release()
    }

    fn locked(&self) -> bool {
        self.lock.locked()
    }

    fn locked_lock(&self) -> bool {
        self.locked()
    }

    fn _at_fork_reinit(&self) {
        self.lock.at_fork_reinit();
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        self.lock.acquire(py, &Truth(true), -1.0)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.release()
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.lock)
    }
}
