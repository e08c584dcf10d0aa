//! The end of the program, and of threads that raise.

use crate::errors::raised;
use crate::thread::{Attached, Handle};
use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;
use std::panic::resume_unwind;
use std::time::Duration;
use threadbare::{ExceptHookArgs, default_excepthook};

/// Makes `hook(exception, handle)` what is called when an exception ends a thread or an exit
/// callback, in that thread.
#[pyfunction]
pub(crate) fn set_excepthook(hook: Py<PyAny>) {
    threadbare::set_excepthook(move |args| report(&hook, args));
}

fn report(hook: &Py<PyAny>, args: &ExceptHookArgs<'_>) {
    let payload = args.payload;
    let Some(exception) = payload.and_then(|payload| payload.downcast_ref::<PyErr>()) else {
        return default_excepthook(args);
    };
    Python::attach(|py| {
        let exception = exception.clone_ref(py).into_value(py); // with its traceback
        let thread = args.thread.cloned().map(Handle::of);
        if let Err(another) = hook.call1(py, (exception, thread)) {
            if !another.is_instance_of::<PySystemExit>(py) {
                another.write_unraisable(py, None); // HOOK-5
            }
        }
    });
}

/// Registers `callback` to be called before threads are waited for at the end (EXIT-4).
#[pyfunction]
pub(crate) fn register_atexit(callback: Py<PyAny>) -> PyResult<()> {
    let callback = Attached::new(callback);
    let call = move || {
        let called = Python::try_attach(|py| callback.call0(py).map(drop));
        if let Some(Err(exception)) = called {
            resume_unwind(Box::new(exception));
        }
    };
    threadbare::register_atexit(call).map_err(raised)
}

/// Calls the exit callbacks and waits for the threads that are no daemons (EXIT-2).
///
/// The interpreter ends after that, and threads that are started meanwhile sleep for ever once they
/// need it. So when the process ends, nobody is waited for any more.
#[pyfunction]
pub(crate) fn shutdown(py: Python<'_>) -> PyResult<()> {
    py.detach(threadbare::shutdown);
    threadbare::set_exit_timeout(Some(Duration::ZERO)).map_err(raised)?;
    Ok(())
}
