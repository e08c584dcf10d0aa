//! The point that threads pass together.

use crate::blocking;
use crate::deadline::{self, Deadline, TIMEOUT_MAX};
use crate::error::Error;
use crate::observe::{self, Object, ObjectKind};
use crate::raw::barrier::{Arrival, Early, Failure, MAX_PARTIES, RawBarrier, Waited};
use crate::raw::park::Limit;
use std::cell::UnsafeCell;
use std::time::Duration;
use std::{fmt, mem, ptr};
use threadbare_sys::clock;

/// A point that a fixed number of threads, the parties, pass together: each
/// [`wait`](Barrier::wait)s until all have come. Then it can be used again.
///
/// A wait that times out breaks the barrier for all, and so does [`abort`](Barrier::abort): present
/// and future waits err until a [`reset`](Barrier::reset). One of the parties, the last to come,
/// runs the action, if there is one, before any is let go (BAR-5).
///
/// # What is promised
/// All waits of a round succeed, or all err, whatever times out or is reset meanwhile (BAR-10); a
/// wait that was interrupted has left its round. The successful ones return the numbers from 0 to
/// `parties` - 1, each once; unless some were interrupted, in the order of arrival (BAR-3). Nobody
/// of the next round mixes with this one: a thread too many waits for its turn (BAR-4, BAR-17).
///
/// # Memory ordering
/// What each party did before its wait is visible to the action, and what the action did to each
/// party after its wait (MEM-4).
///
/// # Fairness
/// None among those who are too many for a round: whoever arrives first takes part in the next one.
///
/// # Cost
/// 72 bytes, with what the action captures on top. An arrival is one atomic read-modify-write, and
/// so is the trip, which wakes all with one system call, or with none if nobody sleeps. Only an
/// interruption may allocate. The memory may be freed once all waits have returned but the last
/// party's.
///
/// # fork
/// As it is in Python: in the child, threads of the parent that were inside still count as parties
/// though they never leave, so a round may pass without them and a reset is never complete. Make it as
/// new there, by [`at_fork_reinit`](Barrier::at_fork_reinit).
///
/// # Differences from Python
/// - An action may call `wait`, which errs, `reset`, which does nothing, and `abort`; in Python
///   these hang (BAR-8).
/// - Waits for a round to end, or a reset, are covered by the timeout, which breaks the next round.
/// - After an interruption no number is given twice in a round (BAR-18).
/// - `abort` does not reach those whose round has been tripped but who have not returned yet
///   (BAR-12).
///
/// ```
/// use threadbare::Barrier;
///
/// static READY: Barrier = Barrier::new(3);
///
/// std::thread::scope(|s| {
///     for _ in 0..3 {
///         s.spawn(|| {
///             // prepare
///             if READY.wait()? == 0 {
///                 println!("all are prepared"); // one of them says so
///             }
///             Ok::<(), threadbare::Error>(())
///         });
///     }
/// });
/// ```
#[doc(alias("CyclicBarrier", "pthread_barrier_t"))]
pub struct Barrier<A = NoAction> {
    raw: RawBarrier,
    /// At most `TIMEOUT_MAX`.
    timeout: Option<Duration>,
    action: UnsafeCell<A>,
}

const _: () = assert!(size_of::<Barrier>() == 72);

// SAFETY: threads that share the barrier lend the action to one of them at a time (`pass`), which
// takes no more than that it may be sent. The rest is `Sync`.
unsafe impl<A: Send> Sync for Barrier<A> {}

/// The action of a [`Barrier`] that has none.
///
/// ```
/// use threadbare::{Barrier, NoAction};
///
/// static BARRIER: Barrier<NoAction> = Barrier::new(2);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoAction;

/// What a [`Barrier`] can do once all have come: sealed, for [`NoAction`] and everything that is
/// `FnMut() + Send`.
///
/// ```
/// use threadbare::{Barrier, BarrierAction, Error};
///
/// fn meet<A: BarrierAction>(barrier: &Barrier<A>) -> Result<bool, Error> {
///     Ok(barrier.wait()? == 0)
/// }
/// assert_eq!(meet(&Barrier::new(1).with_action(|| println!("met"))), Ok(true));
/// ```
pub trait BarrierAction: sealed::Action {}

impl<A: sealed::Action> BarrierAction for A {}

mod sealed {
    pub trait Action {
        /// Whether there is something to run.
        const IS_SOME: bool;

        fn run(&mut self);
    }
}

impl sealed::Action for NoAction {
    const IS_SOME: bool = false;

    fn run(&mut self) {}
}

impl<F: FnMut() + Send> sealed::Action for F {
    const IS_SOME: bool = true;

    fn run(&mut self) {
        self();
    }
}

impl Barrier {
    /// The most parties that a barrier can have: 2²³, more than a process can have threads.
    ///
    /// ```
    /// use threadbare::{Barrier, Error};
    ///
    /// assert!(Barrier::try_new(Barrier::MAX_PARTIES).is_ok());
    /// let more = Barrier::try_new(Barrier::MAX_PARTIES + 1);
    /// assert_eq!(more.unwrap_err(), Error::InvalidParties);
    /// ```
    pub const MAX_PARTIES: usize = MAX_PARTIES as usize;

    /// A barrier for `parties` threads.
    ///
    /// # Panics
    /// If `parties` is 0 or exceeds [`MAX_PARTIES`](Barrier::MAX_PARTIES); in a `static` that is an
    /// error at compile time.
    ///
    /// ```
    /// assert_eq!(threadbare::Barrier::new(2).parties(), 2);
    /// ```
    #[must_use]
    #[track_caller]
    pub const fn new(parties: usize) -> Barrier {
        assert!(parties > 0, "a barrier needs at least one party");
        assert!(
            parties <= Barrier::MAX_PARTIES,
            "more parties than a barrier can have"
        );
        Barrier {
            raw: RawBarrier::new(parties as u32),
            timeout: None,
            action: UnsafeCell::new(NoAction),
        }
    }

    /// A barrier for `parties` threads, for numbers that are not the program's own.
    ///
    /// # Errors
    /// [`Error::InvalidParties`] if `parties` is 0 or exceeds
    /// [`MAX_PARTIES`](Barrier::MAX_PARTIES).
    ///
    /// ```
    /// use threadbare::{Barrier, Error};
    ///
    /// assert_eq!(Barrier::try_new(0).unwrap_err(), Error::InvalidParties);
    /// ```
    pub const fn try_new(parties: usize) -> Result<Barrier, Error> {
        if parties == 0 || parties > Barrier::MAX_PARTIES {
            return Err(Error::InvalidParties);
        }
        Ok(Barrier::new(parties))
    }

    /// The same barrier with an action: the last party to come runs it, in each round once, before
    /// any of them is let go (BAR-5).
    ///
    /// If it panics, the barrier is broken: the others get [`Error::BrokenBarrier`], and the panic
    /// goes on in the thread that ran it (BAR-6).
    ///
    /// ```
    /// use threadbare::Barrier;
    ///
    /// static ROUNDS: Barrier<fn()> = Barrier::new(1).with_action(|| println!("next round"));
    ///
    /// let mut rounds = 0;
    /// let barrier = Barrier::new(1).with_action(|| rounds += 1);
    /// barrier.wait()?;
    /// barrier.wait()?;
    /// drop(barrier);
    /// assert_eq!(rounds, 2);
    /// ROUNDS.wait()?;
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    #[must_use]
    pub const fn with_action<F: FnMut() + Send>(self, action: F) -> Barrier<F> {
        let with_action = Barrier {
            // SAFETY: `self` is a valid barrier, and is forgotten below, so this is a move. A plain
            // one would make the compiler look for a destructor to run, which constants cannot.
            raw: unsafe { ptr::read(&raw const self.raw) },
            timeout: self.timeout,
            action: UnsafeCell::new(action),
        };
        mem::forget(self);
        with_action
    }
}

impl<A> Barrier<A> {
    /// The same barrier with a timeout for each [`wait`](Barrier::wait) that brings no limit of its
    /// own (BAR-9).
    ///
    /// # Panics
    /// If `timeout` exceeds [`TIMEOUT_MAX`]; in a `static` that is an error at compile time.
    ///
    /// ```
    /// use std::time::Duration;
    /// use threadbare::{Barrier, Error};
    ///
    /// static BARRIER: Barrier = Barrier::new(2).with_timeout(Duration::from_millis(1));
    ///
    /// assert_eq!(BARRIER.wait(), Err(Error::BrokenBarrier));
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
    ///
    /// # Errors
    /// [`Error::TimeoutTooLarge`] if `timeout` exceeds [`TIMEOUT_MAX`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use threadbare::{Barrier, Error};
    ///
    /// let barrier = Barrier::new(2).try_with_timeout(Duration::MAX);
    /// assert_eq!(barrier.unwrap_err(), Error::TimeoutTooLarge);
    /// ```
    pub fn try_with_timeout(self, timeout: Duration) -> Result<Barrier<A>, Error> {
        deadline::check(timeout)?;
        Ok(self.with_timeout(timeout))
    }

    /// How many threads a round takes.
    ///
    /// ```
    /// assert_eq!(threadbare::Barrier::new(2).parties(), 2);
    /// ```
    #[must_use]
    pub fn parties(&self) -> usize {
        self.raw.parties() as usize
    }

    /// How many parties of this round have come; 0 if the barrier is broken or being reset
    /// (BAR-13). While an action runs, all of them.
    ///
    /// ```
    /// assert_eq!(threadbare::Barrier::new(2).n_waiting(), 0);
    /// ```
    #[must_use]
    pub fn n_waiting(&self) -> usize {
        self.raw.n_waiting() as usize
    }

    /// Whether the barrier is broken: all waits err until a [`reset`](Barrier::reset).
    ///
    /// ```
    /// let barrier = threadbare::Barrier::new(2);
    /// barrier.abort();
    /// assert!(barrier.broken());
    /// ```
    #[must_use]
    pub fn broken(&self) -> bool {
        self.raw.is_broken()
    }

    /// Makes the barrier usable and empty: who waits gets [`Error::BrokenBarrier`] (BAR-11).
    ///
    /// A new round begins when all of the failed one have left; a wait until then waits for that. A
    /// round that all parties have reached is not disturbed.
    ///
    /// ```
    /// let barrier = threadbare::Barrier::new(1);
    /// barrier.abort();
    /// barrier.reset();
    /// assert_eq!(barrier.wait(), Ok(0));
    /// ```
    pub fn reset(&self) {
        self.raw.reset();
    }

    /// Breaks the barrier: present and future waits get [`Error::BrokenBarrier`], until a
    /// [`reset`](Barrier::reset) (BAR-12). Also all parties of a round whose action runs.
    ///
    /// ```
    /// use threadbare::{Barrier, Error};
    ///
    /// let barrier = Barrier::new(1);
    /// barrier.abort();
    /// assert_eq!(barrier.wait(), Err(Error::BrokenBarrier));
    /// ```
    pub fn abort(&self) {
        self.raw.abort();
    }

    /// Whether a thread may be asleep here. For tests that wait for that.
    #[doc(hidden)]
    #[must_use]
    pub fn has_waiters(&self) -> bool {
        self.raw.has_sleepers()
    }
}

impl<A: BarrierAction> Barrier<A> {
    /// Waits until all parties have come, with the barrier's timeout if it has one; returns this
    /// one's number. Signals do not end the wait (SIG-4).
    ///
    /// # Errors
    /// [`Error::BrokenBarrier`] if the barrier is broken or reset, or breaks because a time is up:
    /// this or another party's. [`Error::WaitInAction`] for the barrier's own action, while it
    /// runs.
    ///
    /// # Panics
    /// If the action does, in the party that runs it.
    ///
    /// ```
    /// use threadbare::Barrier;
    ///
    /// let barrier = Barrier::new(2);
    /// std::thread::scope(|s| {
    ///     let other = s.spawn(|| barrier.wait());
    ///     let (mine, others) = (barrier.wait()?, other.join().unwrap()?);
    ///     assert_eq!(mine + others, 0 + 1);
    ///     Ok::<(), threadbare::Error>(())
    /// })?;
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    #[inline]
    pub fn wait(&self) -> Result<usize, Error> {
        self.pass(|| match self.timeout {
            None => Limit::NONE,
            Some(timeout) => Limit::until(clock::Deadline::after(timeout)),
        })
    }

    /// Waits until all parties have come, for `timeout` at most, whatever the barrier's own;
    /// returns this one's number. With zero, only the last party passes (BAR-16).
    ///
    /// # Errors
    /// As [`wait`](Barrier::wait); [`Error::TimeoutTooLarge`] if `timeout` exceeds [`TIMEOUT_MAX`],
    /// which does not break the barrier.
    ///
    /// # Panics
    /// As [`wait`](Barrier::wait).
    ///
    /// ```
    /// use std::time::Duration;
    /// use threadbare::{Barrier, Error};
    ///
    /// let barrier = Barrier::new(2);
    /// assert_eq!(barrier.wait_timeout(Duration::ZERO), Err(Error::BrokenBarrier));
    /// assert!(barrier.broken());
    /// ```
    #[inline]
    pub fn wait_timeout(&self, timeout: Duration) -> Result<usize, Error> {
        deadline::check(timeout)?;
        self.pass(|| Limit::until(clock::Deadline::after(timeout)))
    }

    /// Waits until all parties have come, until `deadline` at most, whatever the barrier's timeout;
    /// returns this one's number.
    ///
    /// # Errors
    /// As [`wait`](Barrier::wait).
    ///
    /// # Panics
    /// As [`wait`](Barrier::wait).
    ///
    /// ```
    /// use threadbare::{Barrier, Deadline};
    ///
    /// assert_eq!(Barrier::new(1).wait_until(Deadline::now()), Ok(0));
    /// ```
    #[inline]
    pub fn wait_until(&self, deadline: Deadline) -> Result<usize, Error> {
        self.pass(|| Limit::until(deadline.0))
    }

    /// Waits until all parties have come, until `deadline` at most, whatever the barrier's timeout;
    /// returns this one's number. A signal handler that runs while the thread sleeps ends the wait,
    /// also one installed with `SA_RESTART`, unless all parties have come; one that runs just before
    /// it falls asleep is not noticed.
    ///
    /// # Errors
    /// As [`wait`](Barrier::wait); [`Error::Interrupted`] after a signal handler ran: the caller
    /// does not take part any more, and the barrier is not broken (BAR-18).
    ///
    /// # Panics
    /// As [`wait`](Barrier::wait).
    ///
    /// ```
    /// use threadbare::{Barrier, Deadline};
    ///
    /// assert_eq!(Barrier::new(1).wait_interruptible(Deadline::NEVER), Ok(0));
    /// ```
    #[inline]
    pub fn wait_interruptible(&self, deadline: Deadline) -> Result<usize, Error> {
        self.pass(|| Limit::interruptible(deadline.0))
    }

    /// As [`wait_interruptible`](Barrier::wait_interruptible), but what ends the wait is `check`, by
    /// returning `true`: it is called before the thread sleeps, after each signal handler that ran,
    /// and every 50 ms, so no signal is missed (SIG-4). If it panics,
    /// the caller does not take part any more, unless all parties have come.
    ///
    /// # Errors
    /// As [`wait`](Barrier::wait); [`Error::Interrupted`] if `check` has returned `true`.
    ///
    /// ```
    /// use threadbare::{Deadline, Error, Barrier};
    ///
    /// let barrier = Barrier::new(2);
    /// assert_eq!(barrier.wait_checked(Deadline::NEVER, || true), Err(Error::Interrupted));
    /// assert_eq!(barrier.n_waiting(), 0);
    /// ```
    pub fn wait_checked(
        &self,
        deadline: Deadline,
        check: impl FnMut() -> bool,
    ) -> Result<usize, Error> {
        let wait = |check: &dyn Fn() -> bool| self.pass(|| Limit::checked(deadline.0, check));
        blocking::with_check(check, wait, drop)
    }

    /// Makes the barrier as new, with nobody inside; for the child of a fork (FORK-7).
    ///
    /// An action that a vanished thread was in the middle of is left as it is.
    ///
    /// # Safety
    /// No other thread uses the barrier during the call or is in the middle of using it, as is so in
    /// the child of a fork before it starts threads; neither is the caller.
    ///
    /// ```
    /// let barrier = threadbare::Barrier::new(2);
    /// barrier.abort();
    /// // SAFETY: the barrier belongs to this thread alone.
    /// unsafe { barrier.at_fork_reinit() };
    /// assert!(!barrier.broken());
    /// ```
    #[doc(alias = "_at_fork_reinit")]
    pub unsafe fn at_fork_reinit(&self) {
        // SAFETY: passed on to the caller.
        unsafe { self.raw.reinit() };
    }

    /// Waits within `limit`, which is asked for only if that is necessary.
    #[inline]
    fn pass<'c>(&self, limit: impl FnOnce() -> Limit<'c>) -> Result<usize, Error> {
        if A::IS_SOME && self.raw.is_acting() {
            return Err(Error::WaitInAction);
        }
        let last = match self.raw.arrive() {
            Arrival::Last(last) => last,
            Arrival::Early(early) => match self.block(early, limit()) {
                Ok(Waited::Last(last)) => last,
                Ok(Waited::Passed(number)) => return Ok(number as usize),
                Err(failure) => return Err(failure.into()),
            },
        };
        if A::IS_SOME {
            // A panic drops `last`, which breaks the barrier (BAR-6).
            last.act(|| {
                // SAFETY: exclusive, since one thread at a time is in `act`, and a reference that
                // an earlier one had ended before it left (invariant 3 of the protocol, which also
                // orders them). The action itself does not come here: see above.
                let action = unsafe { &mut *self.action.get() };
                action.run();
            });
        }
        Ok(last.trip()? as usize)
    }

    fn block(&self, early: Early, limit: Limit) -> Result<Waited<'_>, Failure> {
        let object = Object::new(ObjectKind::Barrier, self);
        observe::blocking(object, || self.raw.wait(early, limit), |_| false)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::Broken => Error::BrokenBarrier,
            Failure::Interrupted => Error::Interrupted,
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
