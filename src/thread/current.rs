//! Which thread this is (MOD-6, MOD-7, MAIN, DUM).

use super::name::Name;
use super::record::{Kind, Plan, Record};
use super::{Thread, join, local, registry};
use crate::observe;
use crate::primitive::{INITIAL_THREAD, adopt_token, thread_token};
use crate::raw::locked::Locked;
use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use threadbare_sys::key::Key;
use threadbare_sys::tid;

thread_local! {
    /// This thread's record; null while it has none. Without a destructor, so it can be read at any
    /// time, in a signal handler too.
    static CURRENT: Cell<*const Record> = const { Cell::new(ptr::null()) };

    /// Ends a thread of ours when it is destroyed, after all other thread-locals.
    static END: RefCell<Option<End>> = const { RefCell::new(None) };

    /// Whether the end of this thread's dummy is over. Without a destructor too.
    static IS_OVER: Cell<bool> = const { Cell::new(false) };
}

/// Marks the end of a thread of ours when dropped.
struct End(Arc<Record>);

impl Drop for End {
    fn drop(&mut self) {
        let record = &self.0;
        if is_main(record) {
            return; // it ends with the process
        }
        local::finish();
        // Keeps the record until the kernel thread is gone, so destructors of pthread keys,
        // which are yet to run, find it as ever (LOCAL-14).
        join::leave(record.clone());
        drop(record.leave_lists());
        observe::end(record);
        record.lifecycle.end();
    }
}

/// Ends a dummy: its value in a thread is a reference to the thread's record.
static DUMMY_END: Key = Key::new(end_dummy);

/// The first time it marks the end and keeps the record, for the destructors of other keys that
/// ask for it (LOCAL-14). The second time, after all of them, it gives it up.
///
/// # Safety
/// `record` is a reference to this thread's record, made by `Arc::into_raw`, which this takes over.
unsafe extern "C" fn end_dummy(record: *mut c_void) {
    // SAFETY: as the caller promises.
    let record = unsafe { Arc::from_raw(record.cast_const().cast::<Record>()) };
    if is_main(&record) {
        return; // since a fork: it ends with the process, and `MAIN` keeps it
    }
    if let Some(listed) = record.leave_lists() {
        drop(listed);
        observe::end(&record);
        record.lifecycle.end();
        let kept = Arc::into_raw(record);
        // SAFETY: a reference made just now, for the value alone.
        if unsafe { DUMMY_END.set(kept.cast_mut().cast()) } {
            return;
        }
        // SAFETY: made just now; no value has it.
        drop(unsafe { Arc::from_raw(kept) });
    }
    CURRENT.set(ptr::null());
    IS_OVER.set(true);
}

/// For a new thread, before anything else: makes it be `record`.
///
/// Thread-locals are destroyed in the reverse order of their first use, those that are first used
/// by a destructor included. So touching ours first makes the end that it marks come after all of
/// them (std registers them with `__cxa_thread_atexit_impl` or a list of its own; a test pins it).
pub(super) fn become_thread(record: &Arc<Record>) {
    END.with(|end| *end.borrow_mut() = Some(End(record.clone())));
    CURRENT.set(Arc::as_ptr(record));
    adopt_token(record.token);
}

/// Calls `look` with this thread's record, if it has one. Async-signal-safe if `look` is.
pub(super) fn with<R>(look: impl FnOnce(Option<&Record>) -> R) -> R {
    // SAFETY: while not null, the record is kept: the main thread's by `MAIN` or, from a main
    // thread of before a fork, for ever; a dummy's by its value of `DUMMY_END`; one of ours by `END`
    // and then, until the kernel thread is gone, by the threads that are left to be joined.
    look(unsafe { CURRENT.get().as_ref() })
}

/// Whether the calling thread is one of this crate's, which [`End`] ends.
pub(super) fn is_ours() -> bool {
    with(|record| record.is_some_and(Record::is_ours_to_join))
}

/// The calling thread's record, if it has one.
pub(crate) fn known() -> Option<Arc<Record>> {
    let record = CURRENT.get();
    if record.is_null() {
        return None;
    }
    // SAFETY: valid, as said in `with`, and made by an `Arc`; this adds a reference.
    unsafe { Arc::increment_strong_count(record) };
    // SAFETY: the reference that was added.
    Some(unsafe { Arc::from_raw(record) })
}

/// The calling thread's record, made if there is none.
pub(crate) fn record() -> Arc<Record> {
    known().unwrap_or_else(unknown)
}

#[cold]
fn unknown() -> Arc<Record> {
    if tid::is_main_thread() {
        let record = main();
        CURRENT.set(Arc::as_ptr(&record));
        return record;
    }
    let record = Record::new(
        thread_token(),
        Kind::Dummy,
        Name::dummy(),
        true,
        Plan::Used,
        0,
    );
    let record = Arc::new(record);
    if let Some(meanwhile) = known() {
        return meanwhile; // the allocator has asked too
    }
    let native_id = tid::gettid();
    let kept = Arc::into_raw(record.clone());
    // SAFETY: a reference made just now, for the value alone.
    if !IS_OVER.get() && unsafe { DUMMY_END.set(kept.cast_mut().cast()) } {
        CURRENT.set(kept);
        record.runs_already(native_id);
    } else {
        // SAFETY: made just now; no value has it.
        drop(unsafe { Arc::from_raw(kept) });
        // Its end would go unnoticed, so it counts as over and is not listed (LOCAL-14).
        record.lifecycle.runs_already(native_id);
        record.lifecycle.end();
    }
    record
}

/// The main thread's record, once somebody has asked for it.
static MAIN: Locked<Option<Arc<Record>>> = Locked::new(None);

/// Its token.
static MAIN_TOKEN: AtomicU64 = AtomicU64::new(INITIAL_THREAD);

/// The main thread's record, made if there is none.
pub(super) fn main() -> Arc<Record> {
    if let Some(record) = known_main() {
        return record;
    }
    // Relaxed: written in the child of a fork, before there are other threads.
    let token = MAIN_TOKEN.load(Relaxed);
    let record = Record::new(token, Kind::Main, Name::Main, false, Plan::Used, 0);
    let record = Arc::new(record);
    MAIN.with(|main| {
        main.get_or_insert_with(|| {
            record.runs_already(std::process::id());
            record.clone()
        })
        .clone()
    })
}

/// The main thread's record, if somebody has asked for it.
pub(super) fn known_main() -> Option<Arc<Record>> {
    MAIN.with(|main| main.clone())
}

/// Whether the record is the main thread's.
pub(super) fn is_main(record: &Arc<Record>) -> bool {
    MAIN.with(|main| main.as_ref().is_some_and(|main| Arc::ptr_eq(main, record)))
}

/// Keeps the main thread's record from being made or looked up.
pub(super) fn hold() {
    MAIN.hold();
}

/// Undoes [`hold`].
///
/// # Safety
/// The caller has called it.
pub(super) unsafe fn let_go() {
    // SAFETY: as the caller promises.
    unsafe { MAIN.let_go() };
}

/// In the child of a fork: makes the calling thread the main one (FORK-2). Returns its record, if
/// it has one.
///
/// # Safety
/// The caller has called [`hold`] and holds all shards, and there is no other thread.
pub(super) unsafe fn survive() -> Option<Arc<Record>> {
    // SAFETY: held, as the caller promises.
    let main = unsafe { MAIN.held() };
    let token = thread_token();
    // Others may have asked for the record of a main thread that has never asked itself.
    let mine = |main: &Arc<Record>| main.token == token;
    let survivor = known().or_else(|| main.clone().filter(mine));
    // Relaxed: there is no other thread.
    MAIN_TOKEN.store(token, Relaxed);
    if let Some(record) = &survivor {
        CURRENT.set(Arc::as_ptr(record));
        // SAFETY: as the caller promises.
        unsafe { record.survive(tid::from_kernel()) };
    }
    // Not dropped: handles and, in the survivor, `CURRENT` may still stand for it.
    std::mem::forget(std::mem::replace(main, survivor.clone()));
    survivor
}

/// The handle of the calling thread, always the same one (MOD-6).
///
/// For a thread that this crate did not start it is a dummy, made and listed at the first call:
/// named `Dummy-N`, a daemon, not to be joined, gone from [`enumerate`](super::enumerate) when the
/// thread ends (DUM). It may be called anywhere, in hooks and destructors too.
///
/// One load and a reference count after a thread's first call.
///
/// ```
/// use threadbare::{Thread, current_thread};
///
/// let thread = Thread::new(|| current_thread().set_name("renamed"));
/// thread.start()?;
/// thread.join()?;
/// assert_eq!(thread.name(), "renamed");
/// # Ok::<(), threadbare::Error>(())
/// ```
#[must_use]
pub fn current_thread() -> Thread {
    Thread::of(record())
}

/// The main thread: the one that the process began with, or in the child of a fork the one that
/// forked (MOD-7, FORK-2), whoever calls.
///
/// It is named `MainThread`, is no daemon, and counts as alive until [`shutdown`](super::shutdown)
/// begins, which lets threads go on that join it (MAIN).
///
/// ```
/// assert!(threadbare::main_thread().is_alive());
/// ```
#[must_use]
pub fn main_thread() -> Thread {
    Thread::of(main())
}

/// How many threads are alive: the length of what [`enumerate`] would return at this moment
/// (MOD-2).
///
/// ```
/// assert!(threadbare::active_count() >= 1);
/// ```
#[must_use]
pub fn active_count() -> usize {
    main();
    registry::count()
}

/// The threads that are alive, in the order in which they were made: the main thread, those that
/// this crate has started or is about to, daemons included, and the dummies of others that have
/// asked for their [`current_thread`] (MOD-1). A thread that was joined is not among them (MOD-3).
///
/// The list is of one moment. Making it keeps threads from starting and ending for as long as it
/// takes to copy the handles, and no lock or condition waits for it. It may be called anywhere, in
/// hooks and destructors too (MOD-5).
///
/// ```
/// use threadbare::{enumerate, main_thread};
///
/// assert!(enumerate().contains(&main_thread()));
/// ```
#[must_use]
pub fn enumerate() -> Vec<Thread> {
    main();
    registry::listed().into_iter().map(Thread::of).collect()
}

/// The identity of the calling thread: a number that no other thread of the process has, had or
/// will have, and that a fork leaves alone. Never 0.
///
/// Python may give the number of an ended thread to a later one (MOD-8); this crate does not, so
/// a number that was kept tells the truth (MOD-9). It is not the kernel's id: see
/// [`get_native_id`]. One load after the first call; async-signal-safe.
///
/// ```
/// use threadbare::{get_ident, Thread};
///
/// let here = get_ident();
/// let thread = Thread::new(move || assert_ne!(get_ident(), here));
/// thread.start()?;
/// thread.join()?;
/// assert_ne!(thread.ident(), Some(get_ident()));
/// # Ok::<(), threadbare::Error>(())
/// ```
#[must_use]
pub fn get_ident() -> u64 {
    thread_token()
}

/// `gettid()`: the kernel's id of the calling thread, as `top`, `perf` and `/proc` show it; in the
/// main thread the process id (MOD-10). The kernel gives the ids of ended threads to later ones.
///
/// A load after the thread's first call; right in the child of a fork too.
///
/// ```
/// assert_eq!(threadbare::get_native_id(), threadbare::get_native_id());
/// ```
#[must_use]
pub fn get_native_id() -> u32 {
    tid::gettid()
}
