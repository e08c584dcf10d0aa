//! Which exception an error of the crate is.

use pyo3::exceptions::{PyOverflowError, PyRuntimeError, PyValueError};
use pyo3::{PyErr, create_exception};
use threadbare::{Error, ErrorKind};

create_exception!(
    threading,
    BrokenBarrierError,
    PyRuntimeError,
    "A barrier is broken, was reset, or a time was up there."
);

/// The exception that Python raises for `error`.
pub(crate) fn raised(error: Error) -> PyErr {
    // The one text that a test of CPython's asks for.
    let text = match error {
        Error::ShuttingDown => "can't register atexit after shutdown".to_string(),
        _ => error.to_string(),
    };
    match error.kind() {
        ErrorKind::BrokenBarrier => BrokenBarrierError::new_err(text),
        ErrorKind::Value => PyValueError::new_err(text),
        ErrorKind::Overflow => PyOverflowError::new_err(text),
        _ => PyRuntimeError::new_err(text),
    }
}
