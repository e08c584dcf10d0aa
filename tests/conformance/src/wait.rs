//! Waiting for others without keeping them from running.

use crate::errors::raised;
use pyo3::prelude::*;
use threadbare::Error;

/// Calls `block` without the GIL, with a check for the crate to call now and then: it runs Python's
/// signal handlers, if this is the main thread, and ends the wait if one of them raises (SIG-2).
pub(crate) fn wait<T: Send>(
    py: Python<'_>,
    block: impl FnOnce(&mut dyn FnMut() -> bool) -> Result<T, Error> + Send,
) -> PyResult<T> {
    let mut exception = None;
    let result = py.detach(|| {
        block(&mut || {
            exception = check_signals().err();
            exception.is_some()
        })
    });
    match exception {
        Some(exception) => Err(exception),
        None => result.map_err(raised),
    }
}

/// Runs the Python handlers of the signals that have come. Does nothing once the interpreter is
/// gone: daemons may wait longer than that.
pub(crate) fn check_signals() -> PyResult<()> {
    Python::try_attach(|py| py.check_signals()).unwrap_or(Ok(()))
}
