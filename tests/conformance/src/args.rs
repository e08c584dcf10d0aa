//! Python's arguments: what may be true, and seconds (TIME-7).

use crate::errors::raised;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use threadbare::{Deadline, Error};

/// An argument that is true or not, of whatever type.
pub(crate) struct Truth(pub(crate) bool);

impl<'py> FromPyObject<'_, 'py> for Truth {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Truth> {
        object.is_truthy().map(Truth)
    }
}

/// The end of a wait of `timeout` seconds: without a number never, at once with a negative one.
pub(crate) fn deadline(timeout: Option<f64>) -> PyResult<Deadline> {
    match timeout {
        None => Ok(Deadline::NEVER),
        Some(seconds) if seconds < 0.0 => Ok(Deadline::now()),
        Some(seconds) => Deadline::from_secs_f64(seconds).map_err(raised),
    }
}

/// As [`deadline`], for the waits that take what is not a number for zero.
pub(crate) fn deadline_or_now(timeout: Option<f64>) -> PyResult<Deadline> {
    deadline(timeout.map(|seconds| if seconds.is_nan() { 0.0 } else { seconds }))
}

/// The arguments of a lock's `acquire`: its end, or `None` for one attempt (LOCK-6, LOCK-7).
pub(crate) fn lock_deadline(blocking: bool, timeout: f64) -> PyResult<Option<Deadline>> {
    if timeout == -1.0 {
        return Ok(blocking.then_some(Deadline::NEVER));
    }
    match Deadline::from_secs_f64(timeout) {
        Err(Error::InvalidTimeout) if blocking || timeout.is_nan() => Err(PyValueError::new_err(
            "timeout value must be a non-negative number",
        )),
        Err(Error::TimeoutTooLarge) => Err(raised(Error::TimeoutTooLarge)),
        _ if !blocking => Err(PyValueError::new_err(
            "can't specify a timeout for a non-blocking call",
        )),
        end => end.map(Some).map_err(raised),
    }
}
