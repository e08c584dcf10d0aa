//! `RLock`.

use crate::args::Truth;
use crate::locks::{AnyLock, Saved};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// A lock that its owner may take again.
#[pyclass(frozen, subclass, weakref, module = "threading")]
pub(crate) struct RLock {
    pub(crate) lock: AnyLock,
}

#[pymethods]
impl RLock {
    /// Arguments are for the `__init__` of a subclass.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> RLock {
        RLock {
            lock: AnyLock::Reentrant(Default::default()),
        }
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

    fn _is_owned(&self) -> bool {
        self.lock.is_owned()
    }

    fn _recursion_count(&self) -> u32 {
        match &self.lock {
            AnyLock::Plain(_) => 0,
            AnyLock::Reentrant(lock) => lock.recursion_count(),
        }
    }

    fn _release_save(&self) -> PyResult<Saved> {
        self.lock.release_save()
    }

    fn _acquire_restore(&self, py: Python<'_>, saved: Saved) {
        self.lock.acquire_restore(py, saved);
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
