//! `Event`.

use crate::args::deadline_or_now;
use crate::wait::wait;
use pyo3::prelude::*;

/// A flag that threads wait for.
#[pyclass(frozen, subclass, weakref, module = "threading")]
pub(crate) struct Event {
    source: Source,
}

enum Source {
    Own(threadbare::Event),
    /// What says that a timer has finished.
    Timer(threadbare::Timer),
}

impl Event {
    pub(crate) fn of_timer(timer: &threadbare::Timer) -> Event {
        Event {
            source: Source::Timer(timer.clone()),
        }
    }

    fn event(&self) -> &threadbare::Event {
        match &self.source {
            Source::Own(event) => event,
            Source::Timer(timer) => timer.finished(),
        }
    }
}

#[pymethods]
impl Event {
    #[new]
    fn new() -> Event {
        Event {
            source: Source::Own(threadbare::Event::new()),
        }
    }

    fn is_set(&self) -> bool {
        self.event().is_set()
    }

    fn set(&self) {
        self.event().set();
    }

    fn clear(&self) {
        self.event().clear();
    }

    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let deadline = deadline_or_now(timeout)?;
        if self.is_set() {
            return Ok(true);
        }
        wait(py, |check| self.event().wait_checked(deadline, check))
    }

    fn _at_fork_reinit(&self) {
        // SAFETY: as in CPython, who calls it from Python answers for that no other thread uses it.
        unsafe { self.event().at_fork_reinit() };
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.event())
    }
}
