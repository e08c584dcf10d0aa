//! Functions that are told what threads do: the trace and profile functions (TRC).
//!
//! Each thread with a record has two slots, one for each function. A thread that this crate starts
//! fills them, before anything of its own runs, with what [`settrace`] and [`setprofile`] have
//! stored; [`settrace_all_threads`] and [`setprofile_all_threads`] also fill those of all threads
//! that run. An event goes to the functions in the slots of the thread in which it happens.
//!
//! # Rules
//!
//! 1. Events are emitted on slow paths only, where they cost one relaxed load while no function is
//!    set anywhere.
//! 2. They are emitted by the public types, before a thread queues or sleeps, and after it is
//!    settled and has its lock back; never in between, and never under a lock of the crate's. So a
//!    function may do whatever it likes, block on the same object too.
//! 3. A function that panics is removed from its thread's slot, and the panic said once. What ends
//!    it quietly is [`exit`](crate::exit). Neither ends the thread.
//! 4. While a function runs, its thread emits no events.
//! 5. A call holds a reference to its function, so one may be replaced at any time.

use crate::raw::locked::Locked;
use crate::thread::{self, Record, Slots};
use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use threadbare_sys::clock::Deadline;

/// A function that is told of events.
///
/// ```
/// use threadbare::{TraceEvent, TraceHook};
///
/// let hook = TraceHook::new(|event| println!("{event:?}"));
/// hook.call(&TraceEvent::Call);
/// ```
#[derive(Clone)]
pub struct TraceHook(Arc<Function>);

type Function = dyn Fn(&TraceEvent<'_>) + Send + Sync;

impl TraceHook {
    /// The hook that calls `function`, in whatever thread an event happens.
    ///
    /// ```
    /// use threadbare::TraceHook;
    ///
    /// let hook = TraceHook::new(|event| println!("{event:?}"));
    /// assert!(hook.clone().is(&hook));
    /// ```
    pub fn new(function: impl Fn(&TraceEvent<'_>) + Send + Sync + 'static) -> TraceHook {
        TraceHook(Arc::new(function))
    }

    /// Calls the function.
    ///
    /// ```
    /// use threadbare::{TraceEvent, TraceHook};
    ///
    /// TraceHook::new(|event| println!("{event:?}")).call(&TraceEvent::Return);
    /// ```
    pub fn call(&self, event: &TraceEvent<'_>) {
        (self.0)(event);
    }

    /// Whether both are clones of one hook.
    ///
    /// ```
    /// use threadbare::TraceHook;
    ///
    /// assert!(!TraceHook::new(|_| ()).is(&TraceHook::new(|_| ())));
    /// ```
    #[must_use]
    pub fn is(&self, other: &TraceHook) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for TraceHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TraceHook(..)")
    }
}

/// What has happened in the calling thread, which [`current_thread`](crate::current_thread) names.
///
/// The profile function is told of the first five, the trace function of all.
///
/// ```
/// use threadbare::{TraceEvent, TraceHook};
///
/// let hook = TraceHook::new(|event| {
///     if let TraceEvent::BlockExit { object, waited } = event {
///         println!("{object:?} kept me waiting for {waited:?}");
///     }
/// });
/// # let _ = hook;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceEvent<'a> {
    /// A thread of this crate begins to run its target.
    Call,
    /// The target has returned.
    Return,
    /// The target has panicked, or ended by [`exit`](crate::exit).
    Exception,
    /// The thread could not go on at once, and begins to wait.
    BlockEnter {
        /// What it waits for.
        object: Object,
    },
    /// It does not wait any more, be it that it got what it waited for or that it gave up.
    BlockExit {
        /// What it waited for.
        object: Object,
        /// For how long, a lock that it had to take back included.
        waited: Duration,
    },
    /// It got what it had to wait for: a lock, permits.
    Acquire {
        /// What it got.
        object: Object,
        /// For how long it waited.
        waited: Duration,
    },
    /// It notified threads that wait for a condition. (What sets an event or releases a semaphore
    /// is never told: that may happen in a signal handler.)
    Wake {
        /// What they wait for.
        object: Object,
        /// How many they are.
        count: usize,
    },
    /// It came by a [`trace_point!`](crate::trace_point).
    Point {
        /// What the mark says.
        name: &'a str,
        /// Where it is.
        location: &'a Location<'a>,
    },
}

/// What a thread waits for.
///
/// ```
/// use threadbare::{ObjectKind, TraceEvent, TraceHook};
///
/// let hook = TraceHook::new(|event| match event {
///     TraceEvent::BlockEnter { object } if object.kind == ObjectKind::Lock => {
///         println!("lock at {:#x}", object.address);
///     }
///     _ => {}
/// });
/// # let _ = hook;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Object {
    /// Of which type it is.
    pub kind: ObjectKind,
    /// Where it is.
    pub address: usize,
}

impl Object {
    pub(crate) fn new<T: ?Sized>(kind: ObjectKind, object: &T) -> Object {
        Object {
            kind,
            address: std::ptr::from_ref(object).cast::<()>().addr(),
        }
    }
}

/// The types that threads wait for.
///
/// ```
/// println!("{:?}", threadbare::ObjectKind::Condition);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ObjectKind {
    /// A [`Lock`](crate::Lock).
    Lock,
    /// An [`RLock`](crate::RLock).
    RLock,
    /// A [`Condition`](crate::Condition).
    Condition,
    /// A [`Semaphore`](crate::Semaphore), also that in a
    /// [`BoundedSemaphore`](crate::BoundedSemaphore).
    Semaphore,
    /// A [`Mutex`](crate::Mutex) or [`ReentrantMutex`](crate::ReentrantMutex), by the address of the
    /// lock in it.
    Mutex,
    /// A [`Condvar`](crate::Condvar).
    Condvar,
    /// A [`Monitor`](crate::Monitor): its lock, or a change of its value.
    Monitor,
    /// An [`Event`](crate::Event).
    Event,
    /// A [`Barrier`](crate::Barrier).
    Barrier,
    /// The end of a [`Thread`](crate::Thread), by the address of its record.
    Thread,
    /// The token of the calling thread, in [`park`](crate::park), by the address of its record.
    Token,
    /// A point in time, in [`sleep_until`](crate::sleep_until), by an address on the thread's stack.
    Sleep,
}

/// Which of the two functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Trace,
    Profile,
}

impl Which {
    const BOTH: [Which; 2] = [Which::Profile, Which::Trace];

    fn of(self, slots: &mut Slots) -> &mut Option<TraceHook> {
        match self {
            Which::Trace => &mut slots.trace,
            Which::Profile => &mut slots.profile,
        }
    }

    /// Whether the function is told of `event`.
    fn hears(self, event: &TraceEvent<'_>) -> bool {
        use TraceEvent::{Acquire, Point, Wake};
        self == Which::Trace || !matches!(event, Acquire { .. } | Wake { .. } | Point { .. })
    }
}

/// How many slots are filled, those of [`STORED`] included.
static FILLED: AtomicUsize = AtomicUsize::new(0);

/// What threads fill their slots with.
static STORED: Locked<Slots> = Locked::new(Slots::EMPTY);

thread_local! {
    /// Whether the thread runs a function (rule 4). Without a destructor: usable at any time.
    static IN_FUNCTION: Cell<bool> = const { Cell::new(false) };
}

/// Whether anybody is to be told of anything.
#[inline]
fn is_on() -> bool {
    // Relaxed: a thread may learn a moment later that a function was set; the slots themselves
    // are read under a lock.
    FILLED.load(Relaxed) != 0
}

/// Puts `new` into the slot; returns what was there, to be dropped outside of any lock.
fn fill(slot: &mut Option<TraceHook>, new: Option<TraceHook>) -> Option<TraceHook> {
    // Relaxed: see `is_on`. Counted up first, so that it never falls below what is filled.
    FILLED.fetch_add(usize::from(new.is_some()), Relaxed);
    let old = std::mem::replace(slot, new);
    FILLED.fetch_sub(usize::from(old.is_some()), Relaxed);
    old
}

/// For a new thread: fills its slots.
pub(crate) fn begin(record: &Record) {
    if !is_on() {
        return;
    }
    for which in Which::BOTH {
        // Under both locks: who stores another function after that, for all threads, finds this slot
        // filled and fills it again.
        let old = STORED.with(|stored| {
            let hook = which.of(stored).clone();
            record.with_slots(|slots| fill(which.of(slots), hook))
        });
        give_up(record, old);
    }
}

/// For a thread that ends and is listed no more, so that nobody fills its slots again: empties them.
pub(crate) fn end(record: &Record) {
    if !is_on() {
        return;
    }
    for which in Which::BOTH {
        give_up(
            record,
            record.with_slots(|slots| fill(which.of(slots), None)),
        );
    }
}

/// Drops what was in a slot of `record`, in the thread itself. What the function has captured may
/// panic then, as the function may when called.
fn give_up(record: &Record, old: Option<TraceHook>) {
    if old.is_some() {
        thread::contain_trace(record, || drop(old));
    }
}

/// Tells the calling thread's functions of `event`.
#[inline]
pub(crate) fn emit(event: &TraceEvent<'_>) {
    if is_on() {
        tell(event);
    }
}

#[cold]
fn tell(event: &TraceEvent<'_>) {
    let Some(record) = thread::known() else {
        return; // without a record there are no slots
    };
    if IN_FUNCTION.replace(true) {
        return;
    }
    for which in Which::BOTH {
        if !which.hears(event) {
            continue;
        }
        let Some(hook) = record.with_slots(|slots| which.of(slots).clone()) else {
            continue;
        };
        if !thread::contain_trace(&record, || hook.call(event)) {
            let removed = record.with_slots(|slots| {
                let slot = which.of(slots);
                let is_same = slot.as_ref().is_some_and(|now| now.is(&hook));
                is_same.then(|| fill(slot, None)).flatten()
            });
            give_up(&record, removed);
        }
        // It may have been taken from the slot meanwhile, and this be the last of it.
        give_up(&record, Some(hook));
    }
    IN_FUNCTION.set(false);
}

/// Calls `wait`, which blocks on `object`, and tells of it. `acquires` says that what it returns
/// tells whether the thread has got the object.
#[cold]
pub(crate) fn blocking<R>(
    object: Object,
    wait: impl FnOnce() -> R,
    acquired: impl FnOnce(&R) -> bool,
) -> R {
    if !is_on() {
        return wait();
    }
    tell(&TraceEvent::BlockEnter { object });
    let begun = Deadline::now().nanos();
    let result = wait();
    let waited = Deadline::now().nanos() - begun;
    let waited = Duration::from_nanos(waited.unsigned_abs());
    tell(&TraceEvent::BlockExit { object, waited });
    if acquired(&result) {
        tell(&TraceEvent::Acquire { object, waited });
    }
    result
}

/// Tells that `count` threads were notified that wait for `object`; returns `count`.
#[inline]
pub(crate) fn woken<T: ?Sized>(kind: ObjectKind, object: &T, count: usize) -> usize {
    if count > 0 {
        let object = Object::new(kind, object);
        emit(&TraceEvent::Wake { object, count });
    }
    count
}

/// Calls `access` with what is stored, under its lock.
fn stored<R>(access: impl FnOnce(&mut Slots) -> R) -> R {
    STORED.with(access)
}

fn store(which: Which, hook: Option<TraceHook>) {
    drop(stored(|stored| fill(which.of(stored), hook)));
}

fn store_everywhere(which: Which, hook: Option<TraceHook>) {
    thread::known_or_new(); // the caller is included, whoever started it
    store(which, hook.clone());
    for record in thread::running() {
        let hook = hook.clone();
        drop(record.with_listed_slots(|slots| fill(which.of(slots), hook)));
    }
}

/// Stores the trace function of threads that are started from now on; `None` stops it. Threads that
/// run, the caller included, keep theirs (TRC-1).
///
/// A thread reads it when it begins to run, so one that has just been started may or may not be
/// affected (TRC-2). Threads that this crate did not start have a function only after
/// [`settrace_all_threads`].
///
/// Events come from slow paths only: where a thread of this crate begins and ends, blocks, wakes
/// others. The function runs in the thread concerned; it may use anything, the object in question
/// included. While it runs, its thread emits no further events. If it panics, that is said on
/// stderr, the thread goes on without it.
///
/// ```
/// use threadbare::{TraceHook, gettrace, settrace};
///
/// settrace(Some(TraceHook::new(|event| println!("{event:?}"))));
/// assert!(gettrace().is_some());
/// settrace(None);
/// ```
pub fn settrace(hook: Option<TraceHook>) {
    store(Which::Trace, hook);
}

/// As [`settrace`], for the profile function, which hears of fewer events: see [`TraceEvent`].
///
/// ```
/// use threadbare::{TraceHook, getprofile, setprofile};
///
/// setprofile(Some(TraceHook::new(|event| println!("{event:?}"))));
/// assert!(getprofile().is_some());
/// setprofile(None);
/// ```
pub fn setprofile(hook: Option<TraceHook>) {
    store(Which::Profile, hook);
}

/// What [`settrace`] has stored (TRC-3).
///
/// ```
/// assert!(threadbare::gettrace().is_none());
/// ```
#[must_use]
pub fn gettrace() -> Option<TraceHook> {
    stored(|stored| stored.trace.clone())
}

/// What [`setprofile`] has stored (TRC-3).
///
/// ```
/// assert!(threadbare::getprofile().is_none());
/// ```
#[must_use]
pub fn getprofile() -> Option<TraceHook> {
    stored(|stored| stored.profile.clone())
}

/// As [`settrace`], and for all threads that run and are listed by
/// [`enumerate`](crate::enumerate), the caller included (TRC-4).
///
/// ```
/// use threadbare::{TraceHook, settrace_all_threads, thread_trace};
///
/// settrace_all_threads(Some(TraceHook::new(|event| println!("{event:?}"))));
/// assert!(thread_trace().is_some());
/// settrace_all_threads(None);
/// assert!(thread_trace().is_none());
/// ```
pub fn settrace_all_threads(hook: Option<TraceHook>) {
    store_everywhere(Which::Trace, hook);
}

/// As [`setprofile`], and for all threads that run and are listed by
/// [`enumerate`](crate::enumerate), the caller included (TRC-4).
///
/// ```
/// use threadbare::{TraceHook, setprofile_all_threads, thread_profile};
///
/// setprofile_all_threads(Some(TraceHook::new(|event| println!("{event:?}"))));
/// assert!(thread_profile().is_some());
/// setprofile_all_threads(None);
/// ```
pub fn setprofile_all_threads(hook: Option<TraceHook>) {
    store_everywhere(Which::Profile, hook);
}

/// The calling thread's own trace function: `sys.gettrace()` (TRC-5).
///
/// ```
/// assert!(threadbare::thread_trace().is_none());
/// ```
#[must_use]
pub fn thread_trace() -> Option<TraceHook> {
    thread::known()?.with_slots(|slots| slots.trace.clone())
}

/// The calling thread's own profile function: `sys.getprofile()` (TRC-5).
///
/// ```
/// assert!(threadbare::thread_profile().is_none());
/// ```
#[must_use]
pub fn thread_profile() -> Option<TraceHook> {
    thread::known()?.with_slots(|slots| slots.profile.clone())
}

/// Marks a point for the trace function, as lines do in Python. Costs one relaxed load while no
/// function is set anywhere.
///
/// ```
/// threadbare::trace_point!("request parsed");
/// ```
#[macro_export]
macro_rules! trace_point {
    ($name:expr) => {
        $crate::__trace_point($name)
    };
}

/// What [`trace_point!`](crate::trace_point) stands for.
#[doc(hidden)]
#[inline]
#[track_caller]
pub fn __trace_point(name: &str) {
    emit(&TraceEvent::Point {
        name,
        location: Location::caller(),
    });
}

/// In the child of a fork: counts what is left. The caller has called [`hold`]; there is no other
/// thread.
pub(crate) fn survive(own: &Slots) {
    // SAFETY: held, and there is no other thread.
    let stored = unsafe { STORED.held() };
    let slots = [&own.trace, &own.profile, &stored.trace, &stored.profile];
    let filled = slots.into_iter().flatten().count();
    // Relaxed: there is no other thread.
    FILLED.store(filled, Relaxed);
}

/// Keeps what is stored as it is.
pub(crate) fn hold() {
    STORED.hold();
}

/// Undoes [`hold`].
///
/// # Safety
/// The caller has called it, in this process or, before a fork, in its parent.
pub(crate) unsafe fn let_go() {
    // SAFETY: as the caller promises.
    unsafe { STORED.let_go() };
}
