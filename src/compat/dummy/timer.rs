//! A thread that does not wait before it calls a function.

use super::event::Event;
use super::thread::{Builder, Thread};
use super::{check, refuse};
use crate::error::Error;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

/// As the crate's timer, but it fires at its start, unless it was cancelled before (DTH-4).
///
/// ```
/// use std::time::Duration;
/// use threadbare::compat::dummy::Timer;
/// let timer = Timer::new(Duration::from_secs(3600), || println!("an hour later"));
/// timer.start().unwrap();
/// assert!(timer.finished().is_set());
/// ```
#[derive(Clone)]
pub struct Timer {
    thread: Thread,
    plan: Rc<Plan>,
}

/// What the thread reads when it needs it (TMR-5).
struct Plan {
    finished: Event,
    interval: Cell<Option<Duration>>,
    function: RefCell<Option<Box<dyn FnOnce()>>>,
}

impl Timer {
    /// A timer that will call `function` after no time at all. Without an interval nobody could
    /// cancel it in time: the thread then panics with [`Error::WouldBlockForever`] instead, and
    /// with [`Error::TimeoutTooLarge`] if the interval exceeds [`TIMEOUT_MAX`](super::TIMEOUT_MAX).
    ///
    /// ```
    /// let timer = threadbare::compat::dummy::Timer::new(None, || unreachable!());
    /// timer.cancel();
    /// timer.start().unwrap();
    /// ```
    #[must_use = "a timer runs once it is started"]
    pub fn new(interval: impl Into<Option<Duration>>, function: impl FnOnce() + 'static) -> Timer {
        let plan = Rc::new(Plan {
            finished: Event::new(),
            interval: Cell::new(interval.into()),
            function: RefCell::new(Some(Box::new(function))),
        });
        let target = plan.clone();
        Timer {
            thread: Builder::new().target(move || target.run()).finish(),
            plan,
        }
    }

    /// Keeps the function from being called, before the start (TMR-3).
    ///
    /// ```
    /// use std::time::Duration;
    /// use threadbare::compat::dummy::Timer;
    /// let timer = Timer::new(Duration::ZERO, || unreachable!());
    /// timer.cancel();
    /// timer.start().unwrap();
    /// ```
    pub fn cancel(&self) {
        self.plan.finished.set();
    }

    /// Set by [`cancel`](Timer::cancel) and when the function has returned (TMR-6).
    ///
    /// ```
    /// assert!(!threadbare::compat::dummy::Timer::new(None, || ()).finished().is_set());
    /// ```
    #[must_use]
    pub fn finished(&self) -> &Event {
        &self.plan.finished
    }

    /// How long the thread would wait.
    ///
    /// ```
    /// assert_eq!(threadbare::compat::dummy::Timer::new(None, || ()).interval(), None);
    /// ```
    #[must_use]
    pub fn interval(&self) -> Option<Duration> {
        self.plan.interval.get()
    }

    /// Changes how long the thread would wait (TMR-5).
    ///
    /// ```
    /// use std::time::Duration;
    /// use threadbare::compat::dummy::Timer;
    /// let timer = Timer::new(None, || ());
    /// timer.set_interval(Duration::ZERO);
    /// assert_eq!(timer.interval(), Some(Duration::ZERO));
    /// ```
    pub fn set_interval(&self, interval: impl Into<Option<Duration>>) {
        self.plan.interval.set(interval.into());
    }

    /// Changes what is called (TMR-5).
    ///
    /// ```
    /// use std::time::Duration;
    /// use threadbare::compat::dummy::Timer;
    /// let timer = Timer::new(Duration::ZERO, || unreachable!("replaced"));
    /// timer.set_function(|| println!("time is up"));
    /// timer.start().unwrap();
    /// ```
    pub fn set_function(&self, function: impl FnOnce() + 'static) {
        let old = self.plan.function.replace(Some(Box::new(function)));
        drop(old); // after the cell is free again
    }
}

impl Plan {
    fn run(&self) {
        let Some(interval) = self.interval.get() else {
            if self.finished.is_set() {
                return;
            }
            refuse(Error::WouldBlockForever);
        };
        if let Err(error) = check(interval) {
            refuse(error);
        }
        if self.finished.is_set() {
            return;
        }
        let function = self.function.take();
        if let Some(function) = function {
            function();
        }
        self.finished.set();
    }
}

/// A timer is a thread.
impl Deref for Timer {
    type Target = Thread;

    fn deref(&self) -> &Thread {
        &self.thread
    }
}

/// As Python prints it (REPR-3).
impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.thread, f)
    }
}
