//! `local`: attributes that each thread has for itself.

use crate::thread::Attached;
use pyo3::exceptions::{PyAttributeError, PyTypeError};
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};
use std::cell::Cell;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Values of attributes, by thread.
#[pyclass(frozen, subclass, weakref, name = "local", module = "threading")]
pub(crate) struct Local {
    values: threadbare::Local<Values, Box<dyn Fn() -> Values + Send + Sync>>,
    /// What `values` has, of all threads.
    all: All,
    /// For the initialiser of a subclass.
    args: Py<PyTuple>,
    kwargs: Option<Py<PyDict>>,
}

/// The attributes of one thread.
struct Values {
    dict: Attached<PyDict>,
    /// Whether the initialiser is to be called.
    is_new: Cell<bool>,
    all: All,
}

/// The dictionaries of all threads, for the garbage collector. Locked with the GIL held, for a
/// push or a removal.
#[derive(Clone, Default)]
struct All(Arc<Mutex<Vec<Py<PyDict>>>>);

impl All {
    fn lock(&self) -> MutexGuard<'_, Vec<Py<PyDict>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Values {
    fn new(all: All) -> Values {
        Python::attach(|py| {
            let dict = PyDict::new(py).unbind();
            all.lock().push(dict.clone_ref(py));
            Values {
                dict: Attached::new(dict),
                is_new: Cell::new(true),
                all,
            }
        })
    }
}

/// At the end of the thread or of the object, with or without the GIL (LOCAL-7, LOCAL-8).
impl Drop for Values {
    fn drop(&mut self) {
        Python::try_attach(|_| {
            let mut all = self.all.lock();
            let place = all.iter().position(|dict| dict.is(&*self.dict));
            drop(place.map(|place| all.swap_remove(place))); // not the last reference
        });
    }
}

unsafe extern "C" {
    /// What `_thread._local` is made of, in every CPython from 3.9 on.
    fn _PyObject_GenericGetAttrWithDict(
        object: *mut ffi::PyObject,
        name: *mut ffi::PyObject,
        dict: *mut ffi::PyObject,
        suppress: std::ffi::c_int,
    ) -> *mut ffi::PyObject;

    /// The same.
    fn _PyObject_GenericSetAttrWithDict(
        object: *mut ffi::PyObject,
        name: *mut ffi::PyObject,
        value: *mut ffi::PyObject,
        dict: *mut ffi::PyObject,
    ) -> std::ffi::c_int;
}

impl Local {
    /// The calling thread's attributes; initialised, if they are new (LOCAL-4, LOCAL-5).
    fn dict<'py>(slf: &Bound<'py, Local>) -> PyResult<Bound<'py, PyDict>> {
        let py = slf.py();
        let this = slf.get();
        let (dict, is_new) = this
            .values
            .with(|values| (values.dict.clone_ref(py), values.is_new.replace(false)));
        if is_new && has_initialiser(&slf.get_type())? {
            let kwargs = this.kwargs.as_ref().map(|kwargs| kwargs.bind(py));
            let arguments = [slf.as_any().clone()].into_iter();
            let arguments = arguments.chain(this.args.bind(py));
            let arguments = PyTuple::new(py, arguments.collect::<Vec<_>>())?;
            let init = slf.get_type().getattr("__init__")?;
            if let Err(exception) = init.call(arguments, kwargs) {
                drop(this.values.take());
                return Err(exception);
            }
        }
        Ok(dict.into_bound(py))
    }

    fn set(
        slf: &Bound<'_, Local>,
        name: &Bound<'_, PyString>,
        value: *mut ffi::PyObject,
    ) -> PyResult<()> {
        let dict = Local::dict(slf)?;
        if name == "__dict__" {
            let class = slf.get_type().name()?;
            return Err(PyAttributeError::new_err(format!(
                "'{class}' object attribute '__dict__' is read-only"
            )));
        }
        // SAFETY: all are objects, but the value, which is null to delete the attribute.
        let status = unsafe {
            _PyObject_GenericSetAttrWithDict(slf.as_ptr(), name.as_ptr(), value, dict.as_ptr())
        };
        match status {
            0 => Ok(()),
            _ => Err(PyErr::fetch(slf.py())),
        }
    }
}

/// Whether the class has an `__init__` that is not `object`'s.
fn has_initialiser(class: &Bound<'_, PyType>) -> PyResult<bool> {
    let object = class.py().get_type::<PyAny>();
    Ok(!class.getattr("__init__")?.is(&object.getattr("__init__")?))
}

#[pymethods]
impl Local {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*args, **kwargs))]
    fn new(
        class: &Bound<'_, PyType>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Local> {
        let has_some = !args.is_empty() || kwargs.is_some_and(|kwargs| !kwargs.is_empty());
        if has_some && !has_initialiser(class)? {
            return Err(PyTypeError::new_err(
                "Initialization arguments are not supported",
            ));
        }
        let all = All::default();
        let own = all.clone();
        let local = Local {
            values: threadbare::Local::new(Box::new(move || Values::new(own.clone()))),
            all,
            args: args.clone().unbind(),
            kwargs: kwargs.map(|kwargs| kwargs.clone().unbind()),
        };
        // Python itself calls the initialiser in this thread.
        local.values.with(|values| values.is_new.set(false));
        Ok(local)
    }

    fn __getattribute__<'py>(
        slf: &Bound<'py, Local>,
        name: &Bound<'py, PyString>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let dict = Local::dict(slf)?;
        if name == "__dict__" {
            return Ok(dict.into_any());
        }
        // SAFETY: all are objects.
        let value = unsafe {
            _PyObject_GenericGetAttrWithDict(slf.as_ptr(), name.as_ptr(), dict.as_ptr(), 0)
        };
        // SAFETY: a new reference, or null with an exception set.
        unsafe { Bound::from_owned_ptr_or_err(slf.py(), value) }
    }

    fn __setattr__(
        slf: &Bound<'_, Local>,
        name: &Bound<'_, PyString>,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        Local::set(slf, name, value.as_ptr())
    }

    fn __delattr__(slf: &Bound<'_, Local>, name: &Bound<'_, PyString>) -> PyResult<()> {
        Local::set(slf, name, ptr::null_mut())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.args)?;
        visit.call(&self.kwargs)?;
        for dict in &*self.all.lock() {
            visit.call(dict)?; // this reference
            visit.call(dict)?; // and the one in `Values`
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        let mut dicts = Vec::new();
        for dict in &*self.all.lock() {
            dicts.push(dict.clone_ref(py));
        }
        for dict in dicts {
            dict.bind(py).clear();
        }
    }
}
