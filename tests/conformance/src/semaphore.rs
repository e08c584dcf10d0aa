//! `Semaphore` and `BoundedSemaphore`.

use crate::args::{Truth, deadline};
use crate::errors::raised;
use crate::wait::wait;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use threadbare::{Deadline, Error};

/// A number of permits: what is negative errs, and what is too large as well (SEM-1, SEM-6).
fn permits(number: i64, negative: &'static str) -> PyResult<u32> {
    if number < 0 {
        return Err(PyValueError::new_err(negative));
    }
    u32::try_from(number).map_err(|_| raised(Error::TooManyPermits))
}

/// The arguments of `acquire`: its end (SEM-3, SEM-4).
fn end(blocking: &Truth, timeout: Option<f64>) -> PyResult<Deadline> {
    match (blocking, timeout) {
        (Truth(true), timeout) => deadline(timeout),
        (Truth(false), None) => Ok(Deadline::now()),
        (Truth(false), Some(_)) => Err(PyValueError::new_err(
            "can't specify timeout for non-blocking acquire",
        )),
    }
}

macro_rules! semaphore {
    ($(#[$doc:meta])* $Semaphore:ident) => {
        $(#[$doc])*
        #[pyclass(frozen, subclass, weakref, module = "threading")]
        pub(crate) struct $Semaphore {
            semaphore: threadbare::$Semaphore,
        }

        #[pymethods]
        impl $Semaphore {
            #[new]
            #[pyo3(signature = (value = 1))]
            fn new(value: i64) -> PyResult<$Semaphore> {
                let value = permits(value, "semaphore initial value must be >= 0")?;
                let semaphore = threadbare::$Semaphore::try_new(value).map_err(raised)?;
                Ok($Semaphore { semaphore })
            }

            #[pyo3(signature = (blocking = Truth(true), timeout = None))]
            fn acquire(
                &self,
                py: Python<'_>,
                blocking: Truth,
                timeout: Option<f64>,
            ) -> PyResult<bool> {
                let deadline = end(&blocking, timeout)?;
                if self.semaphore.try_acquire() {
                    return Ok(true);
                }
                if !blocking.0 {
                    return Ok(false);
                }
                wait(py, |check| self.semaphore.acquire_checked(deadline, check))
            }

            #[pyo3(signature = (n = 1))]
            fn release(&self, n: i64) -> PyResult<()> {
                let n = permits(n, "n must be one or more")?;
                self.semaphore.release_n(n).map_err(raised)
            }

            fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
                self.acquire(py, Truth(true), None)
            }

            #[pyo3(signature = (*_exception))]
            fn __exit__(&self, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
                self.release(1)
            }

            fn __repr__(&self) -> String {
                format!("{:?}", self.semaphore)
            }
        }
    };
}

semaphore! {
    /// Permits that threads take and give.
    Semaphore
}

semaphore! {
    /// The same, never above the number at first.
    BoundedSemaphore
}
