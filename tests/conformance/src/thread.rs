//! What the Python class `Thread` is made of, and the functions about threads.

use crate::args::deadline;
use crate::errors::raised;
use crate::wait::wait;
use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{ptr, thread};
use threadbare::{Deadline, Error, Thread};

/// A thread of the crate's. Equal to every other that stands for the same one.
#[pyclass(frozen, eq, hash, module = "threading")]
pub(crate) struct Handle {
    pub(crate) thread: Thread,
    /// What it calls. Empty where the thread was not made here.
    pub(crate) body: Body,
}

impl PartialEq for Handle {
    fn eq(&self, other: &Handle) -> bool {
        self.thread == other.thread
    }
}

impl Hash for Handle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.thread.hash(state);
    }
}

impl Handle {
    pub(crate) fn of(thread: Thread) -> Handle {
        Handle {
            thread,
            body: Body::default(),
        }
    }
}

/// What a thread calls once it is started. Not before: a `Thread` object that is part of its own
/// body would be kept for ever if it is never started.
#[derive(Clone, Default)]
pub(crate) struct Body(Arc<Mutex<Option<Py<PyAny>>>>);

impl Body {
    fn place(&self) -> MutexGuard<'_, Option<Py<PyAny>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts `body` there, unless somebody has; whether it did.
    fn fill(&self, body: Py<PyAny>) -> bool {
        let mut place = self.place();
        let is_empty = place.is_none();
        if is_empty {
            *place = Some(body);
        }
        is_empty
    }

    fn take(&self) -> Option<Py<PyAny>> {
        self.place().take()
    }

    /// Calls it, in the thread. An exception unwinds as a panic that carries the `PyErr`.
    pub(crate) fn run(&self) {
        let Some(body) = self.take() else {
            return;
        };
        let called = Python::attach(|py| {
            END.set(Some(End::new(body.clone_ref(py))));
            call(&body.into_bound(py))
        });
        if let Err(exception) = called {
            resume_unwind(Box::new(exception));
        }
    }
}

thread_local! {
    /// Dropped at the end of the thread, after its values in `Local`s and before the crate says
    /// that it has ended.
    static END: Cell<Option<End>> = const { Cell::new(None) };
}

/// What a thread keeps until it ends.
struct End {
    /// Its `Thread` object, which the excepthook and destructors may ask for.
    body: Option<Py<PyAny>>,
    /// The interpreter's state of the thread, to which each later attachment returns. What is in it
    /// is dropped with it, as in CPython. A second one could not be made in the child of a fork,
    /// where this may be the last.
    attached: ffi::PyGILState_STATE,
}

impl End {
    /// In a thread that is attached.
    fn new(body: Py<PyAny>) -> End {
        End {
            body: Some(body),
            // SAFETY: the interpreter is there. It is undone in `drop`.
            attached: unsafe { ffi::PyGILState_Ensure() },
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // Kept once the interpreter is gone.
        Python::try_attach(|_| {
            drop(self.body.take());
            // SAFETY: belongs to the call in `new`, in this thread, which is attached again.
            unsafe { ffi::PyGILState_Release(self.attached) };
        });
    }
}

/// A reference that is dropped at once, with or without the GIL. PyO3's own wait for a next time.
pub(crate) struct Attached<T>(ManuallyDrop<Py<T>>);

impl<T> Attached<T> {
    pub(crate) fn new(object: Py<T>) -> Attached<T> {
        Attached(ManuallyDrop::new(object))
    }
}

impl<T> Deref for Attached<T> {
    type Target = Py<T>;

    fn deref(&self) -> &Py<T> {
        &self.0
    }
}

impl<T> Drop for Attached<T> {
    fn drop(&mut self) {
        // Kept once the interpreter is gone.
        Python::try_attach(|_| {
            // SAFETY: here alone, and not used after it.
            unsafe { ManuallyDrop::drop(&mut self.0) }
        });
    }
}

unsafe extern "C-unwind" {
    /// As PyO3 declares it, but for what it may do: unwind. Before 3.14 CPython ends daemons that
    /// run beyond the end of the interpreter by `pthread_exit`.
    fn PyObject_CallObject(
        callable: *mut ffi::PyObject,
        arguments: *mut ffi::PyObject,
    ) -> *mut ffi::PyObject;
}

/// Calls `body`. If the interpreter ends meanwhile, the thread sleeps for ever, as from 3.14 on,
/// instead of unwinding through frames that do not expect that.
fn call(body: &Bound<'_, PyAny>) -> PyResult<()> {
    /// Does not let anybody unwind.
    struct Hang;

    impl Drop for Hang {
        fn drop(&mut self) {
            loop {
                thread::park();
            }
        }
    }

    let hang = Hang;
    // SAFETY: `body` is an object, and the arguments may be left out.
    let result = unsafe { PyObject_CallObject(body.as_ptr(), ptr::null_mut()) };
    std::mem::forget(hang);
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(body.py(), result) }.map(drop)
}

#[pymethods]
impl Handle {
    /// A thread that is to be started.
    #[new]
    fn new(
        py: Python<'_>,
        name: Option<String>,
        target_name: Option<String>,
        daemon: Option<bool>,
    ) -> PyResult<Handle> {
        let body = Body::default();
        let mut builder = Thread::builder();
        if let Some(name) = name {
            builder = builder.name(name);
        }
        if let Some(target_name) = target_name {
            builder = builder.target_name(target_name);
        }
        if let Some(daemon) = daemon {
            builder = builder.daemon(daemon);
        }
        let own = body.clone();
        let built = py.detach(|| builder.target(move || own.run()).build());
        Ok(Handle {
            thread: built.map_err(raised)?,
            body,
        })
    }

    /// Starts the thread, which calls `body`.
    fn start(&self, py: Python<'_>, body: Py<PyAny>) -> PyResult<()> {
        if self.thread.ident().is_some() {
            return Err(raised(Error::AlreadyStarted));
        }
        if !self.body.fill(body) {
            return Err(raised(Error::AlreadyStarted)); // by another thread, at this moment
        }
        let started = py.detach(|| self.thread.start());
        if started.is_err() {
            drop(self.body.take());
        }
        started.map_err(raised)
    }

    /// Waits until the thread is gone; whether it is.
    #[pyo3(signature = (timeout = None))]
    fn join(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        // What cannot be joined errs whatever the timeout is (THR-16).
        let is_gone = py.detach(|| self.thread.join_until(Deadline::now()));
        let deadline = deadline(timeout);
        if is_gone.map_err(raised)? {
            return Ok(true);
        }
        let deadline = deadline?;
        wait(py, |check| self.thread.join_checked(deadline, check))
    }

    fn is_alive(&self) -> bool {
        self.thread.is_alive()
    }

    #[getter]
    fn name(&self) -> String {
        self.thread.name()
    }

    #[setter]
    fn set_name(&self, name: String) {
        self.thread.set_name(name);
    }

    #[getter]
    fn ident(&self) -> Option<u64> {
        self.thread.ident()
    }

    #[getter]
    fn native_id(&self, py: Python<'_>) -> Option<u32> {
        py.detach(|| self.thread.native_id())
    }

    #[getter]
    fn daemon(&self) -> bool {
        self.thread.daemon()
    }

    #[setter]
    fn set_daemon(&self, daemon: bool) -> PyResult<()> {
        self.thread.set_daemon(daemon).map_err(raised)
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.thread)
    }
}

/// The calling thread.
#[pyfunction]
pub(crate) fn current() -> Handle {
    Handle::of(threadbare::current_thread())
}

/// The main thread.
#[pyfunction]
pub(crate) fn main() -> Handle {
    Handle::of(threadbare::main_thread())
}

/// All threads that are alive.
#[pyfunction]
pub(crate) fn enumerate(py: Python<'_>) -> Vec<Handle> {
    let alive = py.detach(threadbare::enumerate);
    alive.into_iter().map(Handle::of).collect()
}

/// How many threads are alive.
#[pyfunction]
pub(crate) fn active_count(py: Python<'_>) -> usize {
    py.detach(threadbare::active_count)
}

/// The identity of the calling thread.
#[pyfunction]
pub(crate) fn get_ident() -> u64 {
    threadbare::get_ident()
}

/// The kernel's id of the calling thread.
#[pyfunction]
pub(crate) fn get_native_id() -> u32 {
    threadbare::get_native_id()
}

/// Sets the stack size of threads that are started later; returns the one so far.
#[pyfunction]
#[pyo3(signature = (size = 0))]
pub(crate) fn stack_size(size: isize) -> PyResult<usize> {
    let size = usize::try_from(size);
    let size = size.map_err(|_| PyValueError::new_err("size must be 0 or a positive value"))?;
    threadbare::set_stack_size(size).map_err(raised)
}
