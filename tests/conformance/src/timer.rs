//! What the Python class `Timer` is made of.

use crate::event::Event;
use crate::thread::{Body, Handle};
use pyo3::prelude::*;
use std::time::Duration;
use threadbare::TIMEOUT_MAX;

/// A timer that is to be started, its thread, and the event that says that it has finished.
#[pyclass(frozen, module = "threading")]
pub(crate) struct Timer {
    timer: threadbare::Timer,
    body: Body,
}

#[pymethods]
impl Timer {
    #[new]
    fn new() -> Timer {
        let body = Body::default();
        let own = body.clone();
        Timer {
            timer: threadbare::Timer::new(None, move || own.run()),
            body,
        }
    }

    /// The thread. What it is started with is called when the time is up.
    fn handle(&self) -> Handle {
        Handle {
            thread: (*self.timer).clone(),
            body: self.body.clone(),
        }
    }

    fn finished(&self) -> Event {
        Event::of_timer(&self.timer)
    }

    fn cancel(&self) {
        self.timer.cancel();
    }

    /// What is too long errs in the thread (TMR-4).
    #[pyo3(signature = (seconds = None))]
    fn set_interval(&self, seconds: Option<f64>) {
        let interval = seconds.map(|seconds| {
            let seconds = if seconds > 0.0 { seconds } else { 0.0 };
            let beyond = TIMEOUT_MAX + Duration::from_secs(1);
            Duration::try_from_secs_f64(seconds).unwrap_or(beyond)
        });
        self.timer.set_interval(interval);
    }
}
