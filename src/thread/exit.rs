//! The end of the program (EXIT): it waits for the threads that are no daemons.
//!
//! In order (EXIT-2): no callbacks are accepted any more; those that are registered run, the last
//! one first; the main thread counts as ended; all threads that are no daemons are waited for,
//! those included that are started meanwhile. Then the process's other exit handlers run, and the
//! threads that are left end with the process, wherever they are.
//!
//! All this is [`shutdown`], called by hand or by a handler of atexit(3), which is registered by
//! the first start of a thread that is no daemon, or the first callback. It runs in whatever thread
//! calls `exit`, after that thread's thread-locals have been destroyed.
//!
//! Nobody waits for the thread that ends the process, nor for the main thread, which may wait for
//! that itself, nor for threads that have called [`exit_process`]. Of two threads that call
//! [`shutdown`] by hand the later one does not wait for the earlier, which waits for it.

use super::record::{Kind, Record, State};
use super::{current, hooks, join, registry};
use crate::deadline;
use crate::error::{Error, OsError};
use crate::primitive::{thread_token, yield_now};
use crate::raw::event::RawEvent;
use crate::raw::exit_wait::{self, Threads};
use crate::raw::locked::Locked;
use crate::raw::park::Limit;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use threadbare_sys::Errno;
use threadbare_sys::clock::Deadline;
use threadbare_sys::exit;

/// A callback of [`register_atexit`].
type Callback = Box<dyn FnOnce() + Send>;

struct Exit {
    /// Whether a shutdown has begun.
    has_begun: bool,
    callbacks: Vec<Callback>,
    timeout: Option<Duration>,
    /// The thread that runs the process's exit handlers.
    exiting: Option<u64>,
    /// The status that [`exit_process`] was given first.
    status: Option<i32>,
    /// The threads that wait in a [`shutdown`].
    waiting: Vec<u64>,
    /// This is the child of a fork in a process that another thread was ending. std takes that
    /// thread to be at it still, and lets whoever calls `std::process::exit` wait for it.
    is_orphan: bool,
}

static EXIT: Locked<Exit> = Locked::new(Exit {
    has_begun: false,
    callbacks: Vec::new(),
    timeout: None,
    exiting: None,
    status: None,
    waiting: Vec::new(),
    is_orphan: false,
});

/// Whether libc has the handler. Beside [`EXIT`], so that a start takes no lock for it.
static IS_ARMED: AtomicBool = AtomicBool::new(false);

/// Whether the process will wait for its threads before it ends; sees to it at the first call.
///
/// `false` if libc has no memory for one handler more.
pub(super) fn is_armed() -> bool {
    // Relaxed, here and below: the flag stands for itself; the handler reads everything else under
    // locks.
    IS_ARMED.load(Relaxed) || arm()
}

#[cold]
fn arm() -> bool {
    // Noted afterwards, so that whoever finds it can rely on it, in the child of a fork too. Two
    // threads may both do it: the handler then runs twice, and has nothing to do the second time.
    let is_registered = exit::at_exit(at_exit).is_ok();
    IS_ARMED.fetch_or(is_registered, Relaxed);
    is_registered
}

extern "C" fn at_exit() {
    EXIT.with(|exit| exit.exiting = Some(thread_token()));
    note_leaving();
    // What called `exit` is still on the stack, but nothing returns or unwinds there any more.
    hooks::contain_nothing();
    shutdown();
    if let Some(status) = EXIT.with(|exit| exit.status) {
        // SAFETY: libc runs this handler.
        unsafe { exit::exit_again(status) };
    }
}

/// Registers `callback` to be called once when the program ends, before threads are waited for;
/// the one registered last is called first (EXIT-4).
///
/// A panic in it goes to the excepthook, and the others are called all the same. Python stops there.
///
/// # Errors
/// [`Error::ShuttingDown`] once the end has begun; [`Error::Start`] if libc has no memory to note
/// that something is to be done at the end.
///
/// ```
/// threadbare::register_atexit(|| println!("bye"))?;
/// # Ok::<(), threadbare::Error>(())
/// ```
pub fn register_atexit(callback: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    if !is_armed() {
        return Err(Error::Start(OsError(Errno::NOMEM)));
    }
    let callback: Callback = Box::new(callback);
    let refused = EXIT.with(|exit| {
        if exit.has_begun {
            return Some(callback);
        }
        exit.callbacks.push(callback);
        None
    });
    match refused {
        None => Ok(()),
        Some(_) => Err(Error::ShuttingDown),
    }
}

/// Ends what Python's `threading` ends at exit: calls the callbacks of [`register_atexit`], lets
/// threads go on that join the main thread, and waits for all threads that are no daemons, except
/// the calling and the main one (EXIT-2).
///
/// It happens by itself when main returns or panics, and in `std::process::exit`, if a thread was
/// started that is no daemon, or a callback registered. By hand it is for a main that has something
/// left to do afterwards.
///
/// A second call calls no callback again; it only waits for threads that were started since
/// (EXIT-3). A call while another thread is in one takes part of the callbacks that are left, and
/// does not wait for that thread, which may be waiting for this one.
/// Foreign threads are never waited for (EXIT-10), nor is anybody by `_exit`, `abort` or a signal
/// (EXIT-7).
///
/// A thread that never ends is waited for for ever, unless [`set_exit_timeout`] was called.
///
/// ```
/// use threadbare::{Thread, shutdown};
///
/// let thread = Thread::builder().daemon(false).target(|| println!("working")).spawn()?;
/// shutdown();
/// assert!(!thread.is_alive());
/// # Ok::<(), threadbare::Error>(())
/// ```
pub fn shutdown() {
    EXIT.with(|exit| exit.has_begun = true);
    while let Some(callback) = EXIT.with(|exit| exit.callbacks.pop()) {
        hooks::contain(current::record(), callback);
    }
    // Also if nobody has asked for its record yet: who asks later finds that it has ended.
    current::main().lifecycle.end();
    let deadline = match EXIT.with(|exit| exit.timeout) {
        Some(timeout) => Deadline::after(timeout),
        None => Deadline::NEVER,
    };
    let me = thread_token();
    EXIT.with(|exit| exit.waiting.push(me));
    let left = wait_for_all(deadline);
    EXIT.with(|exit| {
        let mine = exit.waiting.iter().rposition(|token| *token == me);
        mine.map(|place| exit.waiting.remove(place))
    });
    if !left.is_empty() {
        say_who_is_left(&left);
    }
}

/// Waits until all threads are gone that the process waits for; returns those that are left at the
/// deadline.
fn wait_for_all(deadline: Deadline) -> Vec<Arc<Record>> {
    let me = thread_token();
    // They may be waiting for this thread. If it ends the process, they are not, and have to come
    // to their end.
    let waiting = EXIT.with(|exit| match exit.exiting {
        Some(exiting) if exiting == me => Vec::new(),
        _ => exit.waiting.clone(),
    });
    exit_wait::wait_for_all(&All { me, waiting }, deadline)
}

/// All threads, as the end of the process sees them.
struct All {
    me: u64,
    /// Those that wait for the same.
    waiting: Vec<u64>,
}

impl Threads for All {
    type Thread = Arc<Record>;

    fn begun(&self) -> u64 {
        registry::begun()
    }

    fn listed(&self) -> Vec<Arc<Record>> {
        registry::snapshot(State::is_waited_for)
    }

    fn ended(&self) -> Vec<Arc<Record>> {
        join::ended()
    }

    fn is_waited_for(&self, record: &Arc<Record>) -> bool {
        record.token != self.me
            && record.with(|state| state.is_waited_for())
            && !self.waiting.contains(&record.token)
            && !record.is_joined()
            && !current::is_main(record)
    }

    fn is_gone_before(&self, record: &Arc<Record>, deadline: Deadline) -> bool {
        record.is_gone_before(deadline)
    }
}

impl State {
    /// Whether the process does not end before the thread, if that is not its main one.
    fn is_waited_for(&self) -> bool {
        !self.daemon && !self.is_leaving && self.kind != Kind::Main
    }
}

/// How long to wait for a thread in the last of its destructors before looking what else it does.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl Record {
    /// Waits until the thread is gone or has asked for the end of the process itself.
    fn is_gone_before(&self, deadline: Deadline) -> bool {
        let limit = Limit::until(deadline);
        if !self.lifecycle.is_started() {
            yield_now(); // whoever starts it has not come to the end of that
            return !deadline.has_passed();
        }
        // First for the end, which a thread that asks for the end of the process marks too.
        if self.lifecycle.ended().wait(limit).is_err() {
            return false;
        }
        // It may still ask for that later, in the destructor of a pthread key.
        while !self.with(|state| state.is_leaving) {
            let next_look = Deadline::after(LOOK_AGAIN).min(deadline);
            if self.join(Limit::until(next_look)).is_ok() {
                return true;
            }
            if deadline.has_passed() {
                return false;
            }
        }
        true
    }
}

#[cold]
fn say_who_is_left(left: &[Arc<Record>]) {
    const MOST: usize = 16;
    let mut text = String::from("threadbare: the process ends without waiting for");
    for (place, record) in left.iter().take(MOST).enumerate() {
        let comma = if place == 0 { "" } else { "," };
        // Writing to a string does not fail.
        let _ = write!(text, "{comma} {}", hooks::quoted(record));
    }
    if left.len() > MOST {
        let _ = write!(text, " and {} more", left.len() - MOST);
    }
    text.push('\n');
    hooks::say(&text);
}

/// Bounds how long the end of the program waits for threads, all together; `None`, the initial
/// value, stands for no bound. It counts from the moment when the callbacks have run, which may
/// still set it. Returns what held so far. When the time is up, a line on stderr names the threads
/// that are left, and they end with the process.
///
/// # Errors
/// [`Error::TimeoutTooLarge`] above [`TIMEOUT_MAX`](crate::TIMEOUT_MAX).
///
/// ```
/// use std::time::Duration;
/// use threadbare::set_exit_timeout;
///
/// assert_eq!(set_exit_timeout(Some(Duration::from_secs(30))), Ok(None));
/// assert_eq!(set_exit_timeout(None), Ok(Some(Duration::from_secs(30))));
/// ```
pub fn set_exit_timeout(timeout: Option<Duration>) -> Result<Option<Duration>, Error> {
    timeout.map_or(Ok(()), deadline::check)?;
    Ok(EXIT.with(|exit| std::mem::replace(&mut exit.timeout, timeout)))
}

/// Ends the process with `status`, from any thread, in the way of `std::process::exit`: after
/// [`shutdown`] and the process's exit handlers. Neither of them waits for the calling thread.
///
/// Other than `std::process::exit` it may be called while the end is under way in another thread,
/// which may be waiting for this one: the process then ends with this `status`. (std lets the
/// second caller sleep for ever. If that is a thread which the end waits for, the process never
/// ends.) The first call decides the status, unless the thread that ends the process calls it.
///
/// In a callback of [`register_atexit`] it unwinds that callback; in a handler of atexit(3) that
/// runs after the end waited for threads, the handlers that are left follow. In the thread that ends
/// the process before it has come to that, in a destructor of a thread-local or a handler that was
/// registered later, std aborts the process, as it does at any second `std::process::exit` of one
/// thread.
///
/// The calling thread's frames are not unwound. Threads that wait in an untimed join of the calling
/// thread are not let go, so if they are no daemons, the process waits for them in vain.
///
/// ```no_run
/// threadbare::exit_process(3);
/// ```
pub fn exit_process(status: i32) -> ! {
    let (status, exiting) = EXIT.with(|exit| {
        let first = *exit.status.get_or_insert(status);
        let status = if exit.is_exiting() { status } else { first };
        (status, exit.exiting)
    });
    if exiting == Some(thread_token()) && hooks::is_contained() {
        super::exit(); // from a callback, back to `shutdown`
    }
    note_leaving();
    leave(status)
}

/// Marks the calling thread as one that ends the process: nobody waits for it. (Where `exit` has
/// destroyed its thread-locals, they have marked its end; in a program without shared libraries it
/// leaves them out.)
fn note_leaving() {
    if let Some(record) = current::known() {
        record.with(|state| state.is_leaving = true);
        if !current::is_main(&record) {
            record.lifecycle.end();
        }
    }
}

impl Exit {
    /// Whether the calling thread runs the process's exit handlers.
    fn is_exiting(&self) -> bool {
        self.exiting == Some(thread_token())
    }
}

/// `exit(status)`, by one thread at a time: the others sleep until the process has ended.
pub(super) fn leave(status: i32) -> ! {
    /// Never set.
    static ENDED: RawEvent = RawEvent::new();

    let (is_exiting, is_anybody, is_orphan) = EXIT.with(|exit| {
        let before = (exit.is_exiting(), exit.exiting.is_some(), exit.is_orphan);
        if exit.is_orphan {
            exit.exiting.get_or_insert(thread_token());
        }
        before
    });
    if is_exiting || (is_orphan && !is_anybody) {
        // SAFETY: this is the thread that libc runs handlers in; or it is to become that, by an
        // entry of which `exiting` lets one thread only through, while std lets nobody through its.
        unsafe { exit::exit_again(status) };
    }
    if !is_anybody {
        std::process::exit(status); // sleeps for ever if main has just returned
    }
    loop {
        // Not std's `park`, which a thread cannot use whose thread-locals have been destroyed.
        let _ = ENDED.wait(Limit::NONE);
    }
}

/// Keeps the state of the exit as it is.
pub(super) fn hold() {
    EXIT.hold();
}

/// Undoes [`hold`].
///
/// # Safety
/// The caller has called it, in this process or, before a fork, in its parent.
pub(super) unsafe fn let_go() {
    // SAFETY: as the caller promises.
    unsafe { EXIT.let_go() };
}

/// In the child of a fork: if another thread was ending the parent, nobody is ending the child. It
/// has an end of its own, with the callbacks that the parent had not come to.
///
/// # Safety
/// The caller has called [`hold`], and there is no other thread.
pub(super) unsafe fn survive() {
    // SAFETY: held.
    let exit = unsafe { EXIT.held() };
    exit.waiting.retain(|token| *token == thread_token());
    if exit.exiting.is_some() && !exit.is_exiting() {
        exit.exiting = None;
        exit.status = None;
        exit.has_begun = false;
        IS_ARMED.store(false, Relaxed); // libc has called it and forgotten it
        exit.is_orphan = true;
    }
}
