//! A thread that waits and then calls a function, unless it is told not to (TMR).

use super::Thread;
use super::builder::Builder;
use super::record::Kind;
use crate::event::Event;
use crate::raw::locked::Locked;
use std::cell::UnsafeCell;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// Calls a function after an interval, in a thread of its own, unless it is cancelled.
///
/// It is a [`Thread`], with all that a thread has: it is to be started, can be joined, has a name
/// and a daemon flag. The interval counts from the start of the thread (TMR-2).
///
/// A `Timer` is a cheap handle; clones stand for the same timer.
///
/// ```
/// use std::time::Duration;
/// use threadbare::Timer;
///
/// let timer = Timer::new(Duration::from_millis(1), || println!("time is up"));
/// timer.start()?;
/// timer.join()?;
/// assert!(timer.finished().is_set());
/// # Ok::<(), threadbare::Error>(())
/// ```
#[derive(Clone)]
pub struct Timer {
    thread: Thread,
    shared: Arc<Shared>,
}

struct Shared {
    finished: Event,
    /// Under [`PLANS`].
    plan: UnsafeCell<Plan>,
}

// SAFETY: `plan`, which is `Send`, is touched under the lock only; all else is `Sync`.
unsafe impl Sync for Shared {}

/// Taken for a few stores or loads on the plan of any timer. One lock, so that a fork can take it
/// and finds no timer locked in the child by a thread of the parent's.
static PLANS: Locked<()> = Locked::new(());

/// Keeps the plans as they are.
pub(super) fn hold() {
    PLANS.hold();
}

/// Undoes [`hold`].
///
/// # Safety
/// The caller has called it, in this process or, before a fork, in its parent.
pub(super) unsafe fn let_go() {
    // SAFETY: as the caller promises.
    unsafe { PLANS.let_go() };
}

/// What the thread reads when it needs it (TMR-5).
struct Plan {
    interval: Option<Duration>,
    function: Option<Function>,
}

type Function = Box<dyn FnOnce() + Send>;

impl Timer {
    /// A timer that will call `function` after `interval`; with `None` instead of an interval only
    /// [`cancel`](Timer::cancel) ends it (TMR-4).
    ///
    /// With an interval above [`TIMEOUT_MAX`](crate::TIMEOUT_MAX) the thread panics when it begins
    /// to wait, as Python's does, and the function is not called. If the function panics, that goes
    /// to the excepthook, and `finished` stays as it is (TMR-6).
    ///
    /// ```
    /// use threadbare::Timer;
    ///
    /// let timer = Timer::new(None, || unreachable!("it waits to be cancelled"));
    /// timer.start()?;
    /// timer.cancel();
    /// timer.join()?;
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    #[must_use = "a timer runs once it is started"]
    pub fn new(
        interval: impl Into<Option<Duration>>,
        function: impl FnOnce() + Send + 'static,
    ) -> Timer {
        let shared = Arc::new(Shared {
            finished: Event::new(),
            plan: UnsafeCell::new(Plan {
                interval: interval.into(),
                function: Some(Box::new(function)),
            }),
        });
        let thread = Builder::of(Kind::Timer).target({
            let shared = shared.clone();
            move || shared.run()
        });
        Timer {
            thread: thread.finish(),
            shared,
        }
    }

    /// Keeps the function from being called, if that has not begun, and lets the thread end. At any
    /// time, from any thread, any number of times; before the start too (TMR-3).
    ///
    /// ```
    /// use std::time::Duration;
    /// use threadbare::Timer;
    ///
    /// let timer = Timer::new(Duration::from_secs(3600), || unreachable!("an hour is long"));
    /// timer.start()?;
    /// timer.cancel();
    /// timer.join()?;
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn cancel(&self) {
        self.shared.finished.set();
    }

    /// Set by [`cancel`](Timer::cancel) and when the function has returned (TMR-6).
    ///
    /// ```
    /// use threadbare::Timer;
    ///
    /// let timer = Timer::new(None, || ());
    /// assert!(!timer.finished().is_set());
    /// ```
    #[must_use]
    pub fn finished(&self) -> &Event {
        &self.shared.finished
    }

    /// How long the thread waits (TMR-5).
    ///
    /// ```
    /// use threadbare::Timer;
    ///
    /// assert_eq!(Timer::new(None, || ()).interval(), None);
    /// ```
    #[must_use]
    pub fn interval(&self) -> Option<Duration> {
        self.shared.with(|plan| plan.interval)
    }

    /// Changes how long the thread waits, if it has not begun to (TMR-5).
    ///
    /// ```
    /// use std::time::Duration;
    /// use threadbare::Timer;
    ///
    /// let timer = Timer::new(None, || println!("after all"));
    /// timer.set_interval(Duration::ZERO);
    /// timer.start()?;
    /// timer.join()?;
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn set_interval(&self, interval: impl Into<Option<Duration>>) {
        let interval = interval.into();
        self.shared.with(|plan| plan.interval = interval);
    }

    /// Changes what is called, if that has not begun (TMR-5).
    ///
    /// ```
    /// use std::time::Duration;
    /// use threadbare::Timer;
    ///
    /// let timer = Timer::new(Duration::ZERO, || unreachable!("replaced"));
    /// timer.set_function(|| println!("time is up"));
    /// timer.start()?;
    /// timer.join()?;
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn set_function(&self, function: impl FnOnce() + Send + 'static) {
        let function: Function = Box::new(function);
        let old = self.shared.with(|plan| plan.function.replace(function));
        drop(old); // outside the lock
    }
}

impl Shared {
    /// Calls `access` with the plan, under the lock. It must call nothing of a user's.
    fn with<R>(&self, access: impl FnOnce(&mut Plan) -> R) -> R {
        // SAFETY: the lock is held.
        PLANS.with(|()| access(unsafe { &mut *self.plan.get() }))
    }

    fn run(&self) {
        match self.with(|plan| plan.interval) {
            None => self.finished.wait(),
            Some(interval) => match self.finished.wait_timeout(interval) {
                Ok(_) if self.finished.is_set() => {}
                Ok(_) => self.call(),
                Err(error) => panic!("{error}"),
            },
        }
    }

    fn call(&self) {
        if let Some(function) = self.with(|plan| plan.function.take()) {
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
