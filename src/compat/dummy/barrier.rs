//! A point that one thread passes, and more cannot.

use super::{TIMEOUT_MAX, check, give_up};
use crate::deadline::Deadline;
use crate::error::Error;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

/// As the crate's barrier. With one party each wait passes; with more nobody else can come, so the
/// time of a wait is up at once, which breaks the barrier, and a wait without limit errs and
/// changes nothing (DTH-4).
///
/// ```
/// use threadbare::compat::dummy::{Barrier, Error};
/// assert_eq!(Barrier::new(1).wait(), Ok(0));
/// assert_eq!(Barrier::new(2).wait(), Err(Error::WouldBlockForever));
/// ```
pub struct Barrier<A = fn()> {
    parties: usize,
    timeout: Option<Duration>,
    broken: Cell<bool>,
    acting: Cell<bool>,
    action: RefCell<A>,
}

impl Barrier {
    /// The most parties that a barrier can have: 2²³.
    ///
    /// ```
    /// use threadbare::compat::dummy::Barrier;
    /// assert!(Barrier::try_new(Barrier::MAX_PARTIES + 1).is_err());
    /// ```
    pub const MAX_PARTIES: usize = 1 << 23;

    /// A barrier for `parties` threads.
    /// Panics if `parties` is 0 or exceeds [`MAX_PARTIES`](Barrier::MAX_PARTIES).
    ///
    /// ```
    /// assert_eq!(threadbare::compat::dummy::Barrier::new(2).parties(), 2);
    /// ```
    #[must_use]
    #[track_caller]
    pub const fn new(parties: usize) -> Barrier {
        match Barrier::try_new(parties) {
            Ok(barrier) => barrier,
            Err(_) => panic!("a barrier has from 1 to 2^23 parties"),
        }
    }

    /// As [`new`](Barrier::new), for numbers that are not the program's own.
    /// Errors: [`Error::InvalidParties`].
    ///
    /// ```
    /// use threadbare::compat::dummy::{Barrier, Error};
    /// assert_eq!(Barrier::try_new(0).unwrap_err(), Error::InvalidParties);
    /// ```
    pub const fn try_new(parties: usize) -> Result<Barrier, Error> {
        if parties == 0 || parties > Barrier::MAX_PARTIES {
            return Err(Error::InvalidParties);
        }
        Ok(Barrier {
            parties,
            timeout: None,
            broken: Cell::new(false),
            acting: Cell::new(false),
            action: RefCell::new(|| ()),
        })
    }

    /// The same barrier with an action, which each wait that passes calls (BAR-5).
    ///
    /// ```
    /// let mut rounds = 0;
    /// threadbare::compat::dummy::Barrier::new(1).with_action(|| rounds += 1).wait().unwrap();
    /// assert_eq!(rounds, 1);
    /// ```
    #[must_use]
    pub const fn with_action<F: FnMut()>(self, action: F) -> Barrier<F> {
        Barrier {
            parties: self.parties,
            timeout: self.timeout,
            broken: self.broken,
            acting: self.acting,
            action: RefCell::new(action),
        }
    }
}

impl<A> Barrier<A> {
    /// The same barrier with a timeout for each [`wait`](Barrier::wait) that brings no limit of its
    /// own.
    /// Panics if `timeout` exceeds [`TIMEOUT_MAX`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use threadbare::compat::dummy::{Barrier, Error};
    /// let barrier = Barrier::new(2).with_timeout(Duration::from_secs(1));
    /// assert_eq!(barrier.wait(), Err(Error::BrokenBarrier));
    /// ```
    #[must_use]
    #[track_caller]
    pub const fn with_timeout(mut self, timeout: Duration) -> Barrier<A> {
        // The comparison of durations is not for constants yet.
        assert!(
            timeout.as_nanos() <= TIMEOUT_MAX.as_nanos(),
            "timeout too large"
        );
        self.timeout = Some(timeout);
        self
    }

    /// As [`with_timeout`](Barrier::with_timeout), for numbers that are not the program's own.
    /// Errors: [`Error::TimeoutTooLarge`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use threadbare::compat::dummy::{Barrier, Error};
    /// let barrier = Barrier::new(2).try_with_timeout(Duration::MAX);
    /// assert_eq!(barrier.unwrap_err(), Error::TimeoutTooLarge);
    /// ```
    pub fn try_with_timeout(self, timeout: Duration) -> Result<Barrier<A>, Error> {
        check(timeout)?;
        Ok(self.with_timeout(timeout))
    }

    /// How many threads a round takes.
    ///
    /// ```
    /// assert_eq!(threadbare::compat::dummy::Barrier::new(2).parties(), 2);
    /// ```
    #[must_use]
    pub fn parties(&self) -> usize {
        self.parties
    }

    /// While the action runs 1, else 0.
    ///
    /// ```
    /// assert_eq!(threadbare::compat::dummy::Barrier::new(2).n_waiting(), 0);
    /// ```
    #[must_use]
    pub fn n_waiting(&self) -> usize {
        usize::from(self.acting.get() && !self.broken())
    }

    /// Whether all waits err until a [`reset`](Barrier::reset).
    ///
    /// ```
    /// let barrier = threadbare::compat::dummy::Barrier::new(2);
    /// barrier.abort();
    /// assert!(barrier.broken());
    /// ```
    #[must_use]
    pub fn broken(&self) -> bool {
        self.broken.get()
    }

    /// Makes a broken barrier usable. In the action it does nothing.
    ///
    /// ```
    /// let barrier = threadbare::compat::dummy::Barrier::new(1);
    /// barrier.abort();
    /// barrier.reset();
    /// assert_eq!(barrier.wait(), Ok(0));
    /// ```
    pub fn reset(&self) {
        if !self.acting.get() {
            self.broken.set(false);
        }
    }

    /// Breaks the barrier.
    ///
    /// ```
    /// use threadbare::compat::dummy::{Barrier, Error};
    /// let barrier = Barrier::new(1);
    /// barrier.abort();
    /// assert_eq!(barrier.wait(), Err(Error::BrokenBarrier));
    /// ```
    pub fn abort(&self) {
        self.broken.set(true);
    }
}

impl<A: FnMut()> Barrier<A> {
    /// Passes, if there is one party; returns its number, 0.
    /// Errors: [`Error::BrokenBarrier`] if the barrier is broken, or breaks because it has a
    /// timeout; [`Error::WouldBlockForever`] if it has none; [`Error::WaitInAction`].
    /// Panics if the action does, which breaks the barrier (BAR-6).
    ///
    /// ```
    /// assert_eq!(threadbare::compat::dummy::Barrier::new(1).wait(), Ok(0));
    /// ```
    pub fn wait(&self) -> Result<usize, Error> {
        self.pass(|| match self.timeout {
            Some(_) => Ok(false),
            None => give_up(Deadline::NEVER),
        })
    }

    /// As [`wait`](Barrier::wait), with a timeout. Errors: as `wait`; [`Error::TimeoutTooLarge`]
    /// above [`TIMEOUT_MAX`], which does not break the barrier.
    ///
    /// ```
    /// use std::time::Duration;
    /// use threadbare::compat::dummy::{Barrier, Error};
    /// let barrier = Barrier::new(2);
    /// assert_eq!(barrier.wait_timeout(Duration::from_secs(1)), Err(Error::BrokenBarrier));
    /// assert!(barrier.broken());
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<usize, Error> {
        check(timeout)?;
        self.pass(|| Ok(false))
    }

    /// As [`wait`](Barrier::wait), with a deadline instead of the barrier's timeout.
    ///
    /// ```
    /// use threadbare::compat::dummy::{Barrier, Deadline};
    /// assert_eq!(Barrier::new(1).wait_until(Deadline::now()), Ok(0));
    /// ```
    pub fn wait_until(&self, deadline: Deadline) -> Result<usize, Error> {
        self.pass(|| give_up(deadline))
    }

    /// As [`wait_until`](Barrier::wait_until).
    ///
    /// ```
    /// use threadbare::compat::dummy::{Barrier, Deadline};
    /// assert_eq!(Barrier::new(1).wait_interruptible(Deadline::NEVER), Ok(0));
    /// ```
    pub fn wait_interruptible(&self, deadline: Deadline) -> Result<usize, Error> {
        self.wait_until(deadline)
    }

    /// Passes, or finds out with `others` that they do not come.
    fn pass(&self, others: impl FnOnce() -> Result<bool, Error>) -> Result<usize, Error> {
        if self.acting.get() {
            return Err(Error::WaitInAction);
        }
        if !self.broken() {
            if self.parties > 1 && !others()? {
                self.abort();
            } else {
                self.act();
            }
        }
        if self.broken() {
            Err(Error::BrokenBarrier)
        } else {
            Ok(0)
        }
    }

    fn act(&self) {
        self.acting.set(true);
        let acted = catch_unwind(AssertUnwindSafe(|| self.action.borrow_mut()()));
        self.acting.set(false);
        if let Err(payload) = acted {
            self.abort();
            resume_unwind(payload);
        }
    }
}

/// As Python prints it (REPR-2).
impl<A> fmt::Debug for Barrier<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<threadbare.Barrier at {self:p}: ")?;
        if self.broken() {
            f.write_str("broken>")
        } else {
            write!(f, "waiters={}/{}>", self.n_waiting(), self.parties())
        }
    }
}
