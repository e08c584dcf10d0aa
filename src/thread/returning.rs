//! Threads that hand what they return to who joins them.
//!
//! What such a thread runs is never in its record: handles of the thread may outlive all that it
//! borrows (`scope`), and nobody else may start it. It has ended, for joiners too, only after its
//! target and what it returned were dropped or left in the [`Outcome`].

use super::builder::Builder;
use super::hooks::{self, Payload};
use super::record::Record;
use super::start::{Job, run_target};
use super::{Deadline, Error, Thread};
use crate::mutex::Mutex;
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::Result as Returned;
use std::time::Duration;

/// What the thread has to do; it contains by itself what panics.
type Task<'a> = Box<dyn FnOnce(&Arc<Record>) + Send + 'a>;

impl Job for Task<'static> {
    fn run(self, record: &Arc<Record>) {
        self(record);
    }
}

/// What has come of a thread's target, shared by the thread and the handle. `None` before the end, and
/// once it was taken; of a panic the payload, of `exit` none.
type Outcome<T> = Mutex<Option<Result<T, Option<Payload>>>>;

/// How many threads of a scope have panicked, less those whose payload somebody has taken.
pub(super) type Untaken = AtomicUsize;

/// A thread that was started, and what it will return.
pub(super) struct Returning<T> {
    thread: Thread,
    outcome: Arc<Outcome<T>>,
    untaken: Option<Arc<Untaken>>,
}

impl<T> Returning<T> {
    /// Starts a thread that runs `target`, as `builder` says but for what is to be run. `untaken`
    /// counts it while it has panicked and nobody has taken that.
    ///
    /// # Safety
    /// The thread has been joined before `'a` is over, in the process that calls this.
    pub(super) unsafe fn start<'a, F>(
        builder: Builder,
        target: F,
        untaken: Option<Arc<Untaken>>,
    ) -> Result<Returning<T>, Error>
    where
        F: FnOnce() -> T + Send + 'a,
        T: Send + 'a,
    {
        let thread = builder.build_without_target()?;
        let outcome = Arc::new(Outcome::new(None));
        let (left, count) = (outcome.clone(), untaken.clone());
        let task: Task<'a> = Box::new(move |record| {
            let ended = run_target(record, target);
            if let (Some(count), Err(Some(_))) = (count, &ended) {
                // Relaxed, here and below: whoever asks for the number has joined the threads that
                // change it.
                count.fetch_add(1, Relaxed);
            }
            *left.lock() = Some(ended);
            // If the handle is gone, what was returned is dropped here.
            hooks::contain(record.clone(), || drop(left));
        });
        // SAFETY: the types differ in the lifetime only. The thread drops the task when it has done
        // it, a start that fails before it returns; so it does not outlive `'a`, as the caller
        // promises. In the child of a fork it is never touched.
        let task = unsafe { mem::transmute::<Task<'a>, Task<'static>>(task) };
        thread.record.start_for(task)?;
        Ok(Returning {
            thread,
            outcome,
            untaken,
        })
    }

    pub(super) fn thread(&self) -> &Thread {
        &self.thread
    }

    pub(super) fn join(self) -> Returned<T> {
        if let Err(error) = self.thread.join() {
            return Err(Box::new(error));
        }
        // Locked only by a thread that has vanished in a fork, and left nothing to be trusted.
        let ended = self.outcome.try_lock().and_then(|mut it| it.take());
        match ended {
            Some(Ok(value)) => Ok(value),
            Some(Err(Some(payload))) => {
                if let Some(untaken) = self.untaken {
                    untaken.fetch_sub(1, Relaxed);
                }
                Err(payload)
            }
            Some(Err(None)) | None => Err(Box::new(Error::NoResult)),
        }
    }
}

/// Starts a thread that runs `f`, and returns the handle by which to join it and take what `f`
/// returns. As [`std::thread::spawn`], with a thread of this crate: it is listed by
/// [`enumerate`](super::enumerate), has the trace functions and the stack of one, and its panics go to
/// the [`excepthook`](super::excepthook) before the handle has them.
///
/// The thread is a daemon, so the program's end does not wait for it; what starts threads that it
/// shall wait for is [`Builder::daemon`], or [`Thread`]. A handle that is dropped leaves the thread
/// alone. What `f` returns is then dropped in the thread, where a panic in that goes to the excepthook,
/// or with the handle if the thread has come to its end already.
///
/// What happened before the call happens before `f`, and what happened in `f` before the return of
/// a join.
///
/// # Panics
/// If the operating system refuses the thread; [`Builder::spawn_returning`] returns an error then.
///
/// ```
/// let sum = threadbare::spawn(|| (1..=100).sum::<u32>());
/// assert_eq!(sum.join().unwrap(), 5050);
/// ```
#[track_caller]
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match Builder::new().spawn_returning(f) {
        Ok(handle) => handle,
        Err(error) => panic!("{error}"),
    }
}

impl Builder {
    /// Starts a thread that runs `f` and returns the handle that has what `f` returns: as
    /// [`spawn`], with what was said of the thread. It is a daemon unless that was said otherwise; a
    /// [`target`](Builder::target) that was given is dropped.
    ///
    /// # Errors
    /// Those of [`build`](Builder::build) and [`Thread::start`]; `f` has been dropped then.
    ///
    /// ```
    /// let thread = threadbare::Thread::builder().name("adder").spawn_returning(|| 1 + 1)?;
    /// assert_eq!(thread.thread().name(), "adder");
    /// assert_eq!(thread.join().unwrap(), 2);
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    pub fn spawn_returning<F, T>(self, f: F) -> Result<JoinHandle<T>, Error>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: `'static` is never over.
        unsafe { Returning::start(self, f, None) }.map(JoinHandle)
    }
}

/// What [`spawn`] returns: the right to join the thread and take what it returns.
///
/// ```
/// let handle = threadbare::spawn(|| "done");
/// assert_eq!(handle.join().unwrap(), "done");
/// ```
pub struct JoinHandle<T>(Returning<T>);

/// The functions of a handle on a thread that returns something, for `JoinHandle` and
/// `ScopedJoinHandle`.
macro_rules! join_handle {
    ($($handle:tt)+) => {
        $($handle)+ {
            /// Waits until the thread is gone, as [`Thread::join`] does, and takes what it returned.
            ///
            /// # Errors
            /// What the thread panicked with; the excepthook has been told already. Or, in a
            /// `Box` that can be `downcast` to [`Error`]: [`Error::NoResult`] if the thread ended
            /// by [`exit`](crate::exit), or is one of the parent's in the child of a fork;
            /// [`Error::JoinSelf`] in the thread itself.
            ///
            /// ```
            /// let handle = threadbare::spawn(|| panic!("out of luck"));
            /// let payload = handle.join().unwrap_err();
            /// assert_eq!(payload.downcast_ref(), Some(&"out of luck"));
            /// ```
            pub fn join(self) -> Returned<T> {
                self.0.join()
            }

            /// Waits for `timeout` at most until the thread is gone; whether it is. Then
            /// [`join`](Self::join) does not wait.
            ///
            /// # Errors
            /// [`Error::TimeoutTooLarge`], [`Error::JoinSelf`].
            ///
            /// ```
            /// use std::time::Duration;
            ///
            /// let handle = threadbare::spawn(|| 1);
            /// if handle.join_timeout(Duration::from_secs(60))? {
            ///     assert_eq!(handle.join().unwrap(), 1);
            /// }
            /// # Ok::<(), threadbare::Error>(())
            /// ```
            pub fn join_timeout(&self, timeout: Duration) -> Result<bool, Error> {
                self.0.thread().join_timeout(timeout)
            }

            /// Waits until `deadline` at most until the thread is gone; whether it is.
            ///
            /// # Errors
            /// [`Error::JoinSelf`].
            ///
            /// ```
            /// let handle = threadbare::spawn(|| 1);
            /// assert_eq!(handle.join_until(threadbare::Deadline::NEVER), Ok(true));
            /// ```
            pub fn join_until(&self, deadline: Deadline) -> Result<bool, Error> {
                self.0.thread().join_until(deadline)
            }

            /// As [`join_until`](Self::join_until), but a signal handler that runs while the caller
            /// sleeps ends the wait.
            ///
            /// # Errors
            /// [`Error::Interrupted`], [`Error::JoinSelf`].
            ///
            /// ```
            /// let handle = threadbare::spawn(|| 1);
            /// assert_eq!(handle.join_interruptible(threadbare::Deadline::NEVER), Ok(true));
            /// ```
            pub fn join_interruptible(&self, deadline: Deadline) -> Result<bool, Error> {
                self.0.thread().join_interruptible(deadline)
            }

            /// As [`join_interruptible`](Self::join_interruptible), but what ends the wait is `check`,
            /// by returning `true`: see [`Thread::join_checked`].
            ///
            /// # Errors
            /// [`Error::Interrupted`], [`Error::JoinSelf`].
            ///
            /// ```
            /// let handle = threadbare::spawn(|| 1);
            /// assert_eq!(handle.join_checked(threadbare::Deadline::NEVER, || false), Ok(true));
            /// ```
            pub fn join_checked(
                &self,
                deadline: Deadline,
                check: impl FnMut() -> bool,
            ) -> Result<bool, Error> {
                self.0.thread().join_checked(deadline, check)
            }

            /// Whether the thread has ended: its target has returned or panicked, and its
            /// thread-locals have been destroyed.
            ///
            /// ```
            /// let handle = threadbare::spawn(|| 1);
            /// handle.join_until(threadbare::Deadline::NEVER)?;
            /// assert!(handle.is_finished());
            /// # Ok::<(), threadbare::Error>(())
            /// ```
            #[must_use]
            pub fn is_finished(&self) -> bool {
                !self.0.thread().is_alive()
            }

            /// The thread.
            ///
            /// ```
            /// let handle = threadbare::spawn(|| 1);
            /// assert!(handle.thread().daemon());
            /// ```
            #[must_use]
            pub fn thread(&self) -> &Thread {
                self.0.thread()
            }
        }
    };
}
pub(super) use join_handle;

join_handle!(impl<T> JoinHandle<T>);

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JoinHandle").field(self.thread()).finish()
    }
}
