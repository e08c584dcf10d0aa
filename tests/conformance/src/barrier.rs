//! `Barrier`.

use crate::args::deadline;
use crate::errors::raised;
use crate::wait::wait;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use threadbare::Error;

/// A point that threads pass together.
#[pyclass(frozen, subclass, weakref, module = "threading")]
pub(crate) struct Barrier {
    barrier: threadbare::Barrier<Action>,
    /// The one that `barrier` runs.
    action: Arc<Option<Py<PyAny>>>,
    timeout: Option<f64>,
}

type Action = Box<dyn FnMut() + Send>;

/// Runs the action. An exception unwinds as a panic, so it breaks the barrier (BAR-6).
fn run(action: &Option<Py<PyAny>>) {
    let Some(action) = action else { return };
    if let Err(exception) = Python::attach(|py| action.call0(py).map(drop)) {
        resume_unwind(Box::new(exception));
    }
}

#[pymethods]
impl Barrier {
    #[new]
    #[pyo3(signature = (parties, action = None, timeout = None))]
    fn new(parties: i64, action: Option<Py<PyAny>>, timeout: Option<f64>) -> PyResult<Barrier> {
        let parties = usize::try_from(parties).unwrap_or(0); // errs
        let barrier = threadbare::Barrier::try_new(parties).map_err(raised)?;
        let action = Arc::new(action);
        let own = action.clone();
        Ok(Barrier {
            barrier: barrier.with_action(Box::new(move || run(&own))),
            action,
            timeout,
        })
    }

    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<usize> {
        let deadline = deadline(timeout.or(self.timeout))?;
        let waited = wait(py, |check| {
            let pass = AssertUnwindSafe(|| self.barrier.wait_checked(deadline, check));
            // The action's exception is nobody's but this caller's.
            Ok::<_, Error>(catch_unwind(pass))
        });
        match waited? {
            Ok(number) => number.map_err(raised),
            Err(panic) => match panic.downcast::<PyErr>() {
                Ok(exception) => Err(*exception),
                Err(panic) => resume_unwind(panic),
            },
        }
    }

    fn reset(&self, py: Python<'_>) {
        py.detach(|| self.barrier.reset());
    }

    fn abort(&self, py: Python<'_>) {
        py.detach(|| self.barrier.abort());
    }

    #[getter]
    fn parties(&self) -> usize {
        self.barrier.parties()
    }

    #[getter]
    fn n_waiting(&self) -> usize {
        self.barrier.n_waiting()
    }

    #[getter]
    fn broken(&self) -> bool {
        self.barrier.broken()
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.barrier)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&*self.action)
    }
}
