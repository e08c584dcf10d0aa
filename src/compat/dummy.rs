//! The API without threads (DTH), for unit tests of code that is written against this crate's
//! names.
//!
//! Everything runs in the caller, in order, and nothing blocks, so a test comes out the same each
//! time. The names, signatures and errors are those of the crate:
//!
//! ```
//! use threadbare::compat::dummy as threading;
//!
//! let event = std::rc::Rc::new(threading::Event::new());
//! let thread = threading::Thread::new({ let event = event.clone(); move || event.set() });
//! thread.start()?; // runs it, to its end
//! assert!(event.is_set() && !thread.is_alive());
//! thread.join()?;
//! # Ok::<(), threading::Error>(())
//! ```
//!
//! # What differs
//! - [`Thread::start`] runs the target before it returns. A thread is current while it runs; then
//!   who started it is current again (DTH-2, DTH-7).
//! - What would wait is done at once, as if others had played their part: a [`Lock`] that is locked
//!   is acquired all the same, also within a timeout (DTH-3); waits for an [`Event`] or a
//!   [`Condition`] return as if it had been set or notified, unless they have no time to wait; a
//!   [`Timer`] fires (DTH-4).
//! - Where that would lie about permits or parties, the time of a wait is up at once: so it is with
//!   semaphores, [`Barrier`], [`Condition::wait_for`] and the join of a thread that runs. Without a
//!   limit nobody could end such a wait: it errs with [`Error::WouldBlockForever`], or panics where
//!   there is no `Result`.
//! - All threads have the ident 1, and [`TIMEOUT_MAX`] is 2³¹ seconds (DTH-5).
//! - No stack size can be set (DTH-6).
//!
//! # What these types are made of
//! Cells: they are not `Sync`, and ask nobody for anything that is `Send`. Threads are listed and
//! numbered per thread of the operating system, so that tests beside each other do not meet; each
//! has its own main thread.
//!
//! Below, a method that is said to be as another one has its errors and panics too.
//!
//! ```compile_fail,E0277
//! static LOCK: threadbare::compat::dummy::Lock = threadbare::compat::dummy::Lock::new();
//! ```

/// The forms of acquire that have an end, for a type whose `patiently` waits until a deadline. What
/// `$new` makes is free.
macro_rules! timed_acquires {
    (impl[$($generics:tt)*] $type:ty, $new:expr) => {
        impl<$($generics)*> $type {
            /// As `acquire`, or if that would wait in vain, false. Errors: where `acquire` panics
            /// for another reason; [`Error::TimeoutTooLarge`] above
            /// [`TIMEOUT_MAX`](crate::compat::dummy::TIMEOUT_MAX).
            ///
            /// ```
            /// # use {std::time::Duration, threadbare::compat::dummy::*};
            #[doc = concat!("assert_eq!(", $new, ".acquire_timeout(Duration::ZERO), Ok(true));")]
            /// ```
            pub fn acquire_timeout(&self, timeout: Duration) -> Result<bool, Error> {
                crate::compat::dummy::check(timeout)?;
                self.patiently(Deadline::after(timeout)?)
            }

            /// As `acquire`, or if that would wait in vain, false. Panics where the others err.
            ///
            /// ```
            /// # use threadbare::compat::dummy::*;
            #[doc = concat!("assert!(", $new, ".acquire_until(Deadline::now()));")]
            /// ```
            #[must_use = "it may not have been acquired"]
            #[track_caller]
            pub fn acquire_until(&self, deadline: Deadline) -> bool {
                match self.patiently(deadline) {
                    Ok(acquired) => acquired,
                    Err(error) => crate::compat::dummy::refuse(error),
                }
            }

            /// As `acquire_until`; nothing is interrupted. Errs where `acquire_until` panics.
            ///
            /// ```
            /// # use threadbare::compat::dummy::*;
            #[doc = concat!("let acquired = ", $new, ".acquire_interruptible(Deadline::now());")]
            /// assert_eq!(acquired, Ok(true));
            /// ```
            pub fn acquire_interruptible(&self, deadline: Deadline) -> Result<bool, Error> {
                self.patiently(deadline)
            }
        }
    };
}

mod barrier;
mod condition;
mod event;
mod local;
mod lock;
mod semaphore;
mod thread;
mod timer;

pub use crate::{
    CondLock, Deadline, Error, ErrorKind, Guard, Guarded, OsError, Truthy, get_native_id,
};
pub use barrier::Barrier;
pub use condition::Condition;
pub use event::Event;
pub use local::Local;
pub use lock::{Lock, RLock};
pub use semaphore::{BoundedSemaphore, Semaphore};
pub use thread::{
    Builder, Thread, active_count, current_thread, enumerate, get_ident, main_thread,
    set_stack_size, stack_size,
};
pub use timer::Timer;

use std::time::Duration;

/// The largest timeout that any call here accepts: 2³¹ seconds (DTH-5). A [`Deadline`] keeps the
/// limit of the crate.
///
/// ```
/// use std::time::Duration;
/// use threadbare::compat::dummy::{Error, Lock, TIMEOUT_MAX};
///
/// assert_eq!(Lock::new().acquire_timeout(TIMEOUT_MAX), Ok(true));
/// let beyond = TIMEOUT_MAX + Duration::from_nanos(1);
/// assert_eq!(Lock::new().acquire_timeout(beyond), Err(Error::TimeoutTooLarge));
/// ```
pub const TIMEOUT_MAX: Duration = Duration::from_secs(1 << 31);

/// Refuses a timeout beyond [`TIMEOUT_MAX`].
fn check(timeout: Duration) -> Result<(), Error> {
    if timeout > TIMEOUT_MAX {
        Err(Error::TimeoutTooLarge)
    } else {
        Ok(())
    }
}

/// How a wait ends that nobody can end: its time is up, if it has any limit.
fn give_up(deadline: Deadline) -> Result<bool, Error> {
    if deadline == Deadline::NEVER {
        Err(Error::WouldBlockForever)
    } else {
        Ok(false)
    }
}

/// For what has no `Result` to err with.
#[cold]
#[track_caller]
fn refuse(error: Error) -> ! {
    panic!("{error}")
}
