//! A thread that works in an arena: it waits in forms chosen at random, tells what it does, counts it,
//! and checks what holds for every wait.

use crate::check;
use crate::rng::Rng;
use crate::watch::Slot;
use crate::what::{Form, Tally, What};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;
use threadbare::{Deadline, Error};

/// Something that can be waited for in several forms.
pub trait Wait {
    /// What a wait that succeeds gives.
    type Got;
    const WHAT: What;
    const FORMS: &'static [Form];

    /// Where it is, for texts.
    fn address(&self) -> usize;

    /// `Ok(None)` if its time was up.
    fn wait(self, limit: &Limit) -> Result<Option<Self::Got>, Error>;
}

/// The form of a wait, with what the form needs.
pub struct Limit<'a> {
    pub form: Form,
    pub timeout: Duration,
    pub deadline: Deadline,
    check: &'a dyn Fn() -> bool,
}

impl Limit<'_> {
    pub fn check(&self) -> impl FnMut() -> bool {
        self.check
    }
}

/// Whether a wait may end without what it waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Only by a signal.
    Patient,
    /// Not even by a signal.
    Unbounded,
    Any,
    /// After a short time at the latest.
    Short,
}

/// No run lasts that long: who waits with it has to be woken.
const LONG: Duration = Duration::from_secs(1 << 24);

pub struct Worker<'a> {
    pub rng: Rng,
    pub tally: Tally,
    /// Which of the arena's threads it is, of how many.
    pub number: usize,
    pub crew: usize,
    slot: &'static Slot,
    stop: &'a AtomicBool,
}

impl<'a> Worker<'a> {
    pub fn new(
        rng: Rng,
        arena: usize,
        number: usize,
        crew: usize,
        stop: &'a AtomicBool,
    ) -> Worker<'a> {
        Worker {
            rng,
            tally: Tally::new(),
            number,
            crew,
            slot: Slot::take(arena, number),
            stop,
        }
    }

    /// Whether the round is over.
    pub fn is_over(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// Begins and counts something that does not wait.
    pub fn begin(&mut self, what: What, object: usize) {
        self.slot.begin(what, Form::Plain, object);
        self.tally.count(what, Form::Plain);
    }

    /// Shows something that is not worth counting.
    pub fn show(&self, what: What, object: usize) {
        self.slot.begin(what, Form::Plain, object);
    }

    /// Waits in any form that `patience` allows.
    pub fn wait<W: Wait>(&mut self, it: W, patience: Patience) -> Option<W::Got> {
        self.wait_or_err(it, patience).unwrap_or_else(|error| {
            check!(false, "{:?}: {error}", W::WHAT);
            None
        })
    }

    /// As `wait`, for what may fail otherwise than by an interruption.
    pub fn wait_or_err<W: Wait>(
        &mut self,
        it: W,
        patience: Patience,
    ) -> Result<Option<W::Got>, Error> {
        let mut form = self.rng.pick(W::FORMS);
        let is_endless = match patience {
            Patience::Any => self.rng.one_in(3),
            Patience::Short => false,
            Patience::Patient | Patience::Unbounded => true,
        };
        while is_endless && form == Form::Try
            || !is_endless && form == Form::Plain && patience == Patience::Short
            || patience == Patience::Unbounded && form.is_interruptible()
        {
            form = self.rng.pick(W::FORMS);
        }
        let (timeout, deadline) = if is_endless {
            (LONG, Deadline::NEVER)
        } else {
            let timeout = self.rng.timeout();
            (timeout, Deadline::now().saturating_add(timeout))
        };
        let said_stop = Cell::new(false);
        let mut asks = self.rng.below(4);
        if self.rng.one_in(2) {
            asks = u64::MAX; // never says stop
        }
        let asked = Cell::new(0);
        let check = || {
            asked.set(asked.get() + 1);
            said_stop.set(asked.get() > asks);
            said_stop.get()
        };
        let limit = Limit {
            form,
            timeout,
            deadline,
            check: &check,
        };
        self.slot.begin(W::WHAT, form, it.address());
        let result = it.wait(&limit);
        self.tally.count(W::WHAT, form);
        match result {
            Ok(Some(got)) => Ok(Some(got)),
            Ok(None) => {
                check!(form != Form::Plain, "{:?} gave up without a limit", W::WHAT);
                let is_due = form == Form::Try || deadline.has_passed();
                check!(is_due, "{:?} ({form:?}) ended before its time", W::WHAT);
                self.tally.late(W::WHAT);
                Ok(None)
            }
            Err(Error::Interrupted) => {
                let may_be = match form {
                    Form::Interruptible => true,
                    Form::Checked => said_stop.get(),
                    _ => false,
                };
                check!(may_be, "{:?} ({form:?}) was interrupted", W::WHAT);
                self.tally.interrupted(W::WHAT);
                Ok(None)
            }
            Err(error) => {
                self.tally.late(W::WHAT);
                Err(error)
            }
        }
    }

    /// Does nothing for a while, or gives way, or goes on at once.
    pub fn dawdle(&mut self) {
        match self.rng.below(16) {
            0 => thread::sleep(Duration::from_micros(self.rng.below(200))),
            1..4 => thread::yield_now(),
            4..8 => (0..self.rng.below(300)).for_each(|_| std::hint::spin_loop()),
            _ => {}
        }
    }

    /// At the end of a thread's part: the first of the arena calls `wake` until all others have
    /// come here too.
    pub fn see_off(&mut self, left: &AtomicUsize, mut wake: impl FnMut()) {
        if self.number > 0 {
            left.fetch_add(1, Relaxed);
            return;
        }
        self.show(What::SeeOff, 0);
        while left.load(Relaxed) < self.crew - 1 {
            wake();
            thread::sleep(Duration::from_micros(100));
        }
    }
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        self.slot.give_back();
    }
}

/// `Some(())` for success, as [`Wait::wait`] says it.
pub fn got(succeeded: bool) -> Option<()> {
    succeeded.then_some(())
}

/// [`Wait`] for what has the methods of a lock: named `op`, `try_op`, `op_timeout` and so on.
#[macro_export]
macro_rules! can_be_acquired {
    ($type:ty, $what:ident, $forms:ident $(, $checked:ident)?) => {
        impl Wait for &$type {
            type Got = ();
            const WHAT: What = What::$what;
            const FORMS: &'static [Form] = Form::$forms;

            fn address(&self) -> usize {
                std::ptr::from_ref(*self).addr()
            }

            fn wait(self, limit: &Limit) -> Result<Option<()>, Error> {
                let acquired = match limit.form {
                    Form::Plain => {
                        self.acquire();
                        true
                    }
                    Form::Try => self.try_acquire(),
                    Form::Timeout => self.acquire_timeout(limit.timeout)?,
                    Form::Until => self.acquire_until(limit.deadline),
                    Form::Interruptible => self.acquire_interruptible(limit.deadline)?,
                    $(Form::Checked => self.$checked(limit.deadline, limit.check())?,)?
                    #[allow(unreachable_patterns, reason = "some have all forms")]
                    form => unreachable!("{form:?} is none of its forms"),
                };
                Ok(got(acquired))
            }
        }
    };
}
