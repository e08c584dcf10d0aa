//! Values of which each thread has its own.

use super::thread::{Thread, current_thread, discard};
use crate::error::Error;
use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};

/// As the crate's local: each thread has its own value, made when it first asks for it, and dropped
/// when the thread ends or the local is dropped (LOCAL).
///
/// ```
/// use std::{cell::Cell, rc::Rc};
/// use threadbare::compat::dummy::{Local, Thread};
/// let count = Rc::new(Local::new(|| Cell::new(0)));
/// count.with(|count| count.set(1));
/// let other = count.clone();
/// Thread::new(move || assert_eq!(other.get(), Cell::new(0))).start().unwrap();
/// assert_eq!(count.get(), Cell::new(1));
/// ```
pub struct Local<T: 'static, F = fn() -> T> {
    init: F,
    /// Made with the first value.
    values: OnceCell<Rc<Values<T>>>,
}

/// The values, each with its thread, which is therefore not mistaken for a later one (LOCAL-9).
/// They are shared while they are lent out.
struct Values<T>(RefCell<Vec<(Thread, Rc<T>)>>);

/// What can drop the value of a thread.
pub(super) trait Forget {
    fn forget(&self, thread: &Thread);
}

impl<T> Values<T> {
    fn of(&self, thread: &Thread) -> Option<Rc<T>> {
        let values = self.0.borrow();
        let found = values.iter().find(|(owner, _)| owner == thread);
        found.map(|(_, value)| value.clone())
    }

    /// Takes the value of `thread` out; the caller drops it after the cell is free again
    /// (LOCAL-12).
    fn remove(&self, thread: &Thread) -> Option<Rc<T>> {
        let mut values = self.0.borrow_mut();
        let place = values.iter().position(|(owner, _)| owner == thread)?;
        Some(values.swap_remove(place).1)
    }
}

impl<T> Forget for Values<T> {
    fn forget(&self, thread: &Thread) {
        if let Some(value) = self.remove(thread) {
            discard(value);
        }
    }
}

impl<T, F: Fn() -> T> Local<T, F> {
    /// A local whose values `init` makes.
    ///
    /// ```
    /// assert_eq!(threadbare::compat::dummy::Local::new(|| 1).get(), 1);
    /// ```
    #[must_use]
    pub const fn new(init: F) -> Local<T, F> {
        Local {
            init,
            values: OnceCell::new(),
        }
    }

    /// Calls `access` with the value of the current thread, which is made if there is none.
    ///
    /// ```
    /// let local = threadbare::compat::dummy::Local::new(|| vec![1, 2]);
    /// assert_eq!(local.with(|values| values.len()), 2);
    /// ```
    pub fn with<R>(&self, access: impl FnOnce(&T) -> R) -> R {
        let value = self.current().unwrap_or_else(|| {
            let made = (self.init)();
            // The initializer may have set one itself, and then that counts.
            self.current().unwrap_or_else(|| self.insert(made))
        });
        access(&value)
    }

    /// A clone of the value of the current thread, which is made if there is none.
    ///
    /// ```
    /// assert_eq!(threadbare::compat::dummy::Local::new(|| 1).get(), 1);
    /// ```
    #[must_use]
    pub fn get(&self) -> T
    where
        T: Clone,
    {
        self.with(T::clone)
    }

    /// A clone of the value of the current thread, if it has one (LOCAL-2).
    ///
    /// ```
    /// assert_eq!(threadbare::compat::dummy::Local::new(|| 1).try_get(), None);
    /// ```
    #[must_use]
    pub fn try_get(&self) -> Option<T>
    where
        T: Clone,
    {
        self.current().map(|value| T::clone(&value))
    }

    /// Sets the value of the current thread, and drops what it was.
    /// Errors: [`Error::LocalInUse`] inside of [`with`](Local::with) of the same local.
    ///
    /// ```
    /// use threadbare::compat::dummy::{Error, Local};
    /// let local = Local::new(|| 1);
    /// local.set(2).unwrap();
    /// assert_eq!(local.with(|_| local.set(3)), Err(Error::LocalInUse));
    /// assert_eq!(local.get(), 2);
    /// ```
    pub fn set(&self, value: T) -> Result<(), Error> {
        self.replace(value).map(drop)
    }

    /// Sets the value of the current thread, and returns what it was.
    ///
    /// ```
    /// let local = threadbare::compat::dummy::Local::new(|| 1);
    /// assert_eq!((local.replace(2), local.replace(3)), (Ok(None), Ok(Some(2))));
    /// ```
    pub fn replace(&self, value: T) -> Result<Option<T>, Error> {
        let old = self.take()?;
        self.insert(value);
        Ok(old)
    }

    /// Takes the value of the current thread away, so that the next access makes a new one.
    ///
    /// ```
    /// let local = threadbare::compat::dummy::Local::new(|| 1);
    /// local.set(2).unwrap();
    /// assert_eq!(local.take(), Ok(Some(2)));
    /// assert_eq!(local.get(), 1);
    /// ```
    pub fn take(&self) -> Result<Option<T>, Error> {
        let thread = current_thread();
        let Some(values) = self.values.get() else {
            return Ok(None);
        };
        let Some(value) = values.remove(&thread) else {
            return Ok(None);
        };
        Rc::try_unwrap(value).map(Some).map_err(|lent| {
            values.0.borrow_mut().push((thread, lent));
            Error::LocalInUse
        })
    }

    fn current(&self) -> Option<Rc<T>> {
        self.values.get()?.of(&current_thread())
    }

    /// Gives the current thread, which has none, a value.
    fn insert(&self, value: T) -> Rc<T> {
        let (thread, value) = (current_thread(), Rc::new(value));
        let values = self
            .values
            .get_or_init(|| Rc::new(Values(RefCell::default())));
        let weak: Weak<Values<T>> = Rc::downgrade(values);
        thread.has_values_in(weak);
        values.0.borrow_mut().push((thread, value.clone()));
        value
    }
}

impl<T: fmt::Debug, F> fmt::Debug for Local<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.values.get();
        let value = values.and_then(|values| values.of(&current_thread()));
        f.debug_tuple("Local").field(&value).finish()
    }
}
