//! Values for each thread (LOCAL), and what other crates of the kind were found to get wrong.

#![cfg(not(threadbare_model))]

mod child;
mod common;

use child::{Child, resident};
use common::pthread::Pthread;
use common::{patience, threads, until, watchdog};
use nix::libc;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::mem::{self, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::ptr;
use std::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed,
};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use threadbare::{Error, ErrorKind, Event, Local, Thread, get_ident};

/// The system's allocator, but what is freed is not left as it was, so that a later use shows.
struct Poison;

// SAFETY: passes everything on; between its owner's last use and the system's `dealloc` the memory
// is this function's to write.
unsafe impl GlobalAlloc for Poison {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on to the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on to the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller gives up memory of this size.
        unsafe { place.write_bytes(0xdd, layout.size()) };
        // SAFETY: passed on to the caller.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static POISON: Poison = Poison;

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Local<Vec<u8>>>();
    // Values need not be `Sync`: each thread sees its own.
    shared::<Local<Cell<u32>>>();
    assert!(size_of::<Local<u8>>() == 16, "a number and a function");
};

/// Which values there were, and where they were dropped.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(u32, u64)>>>);

impl Log {
    fn value(&self, number: u32) -> Value {
        Value {
            number,
            log: self.clone(),
        }
    }

    /// The numbers of those that have been dropped, and the thread; sorted.
    fn dropped(&self) -> Vec<(u32, u64)> {
        let mut dropped = self.0.lock().unwrap().clone();
        dropped.sort_unstable();
        dropped
    }
}

/// A value that enters its number in the log when it is dropped.
struct Value {
    number: u32,
    log: Log,
}

impl Drop for Value {
    fn drop(&mut self) {
        let mut log = self.log.0.lock().unwrap();
        log.push((self.number, get_ident()));
    }
}

/// Calls its function when dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// What a value does when it is dropped.
type Act = OnDrop<Box<dyn FnMut() + Send>>;

fn act(act: impl FnMut() + Send + 'static) -> Act {
    OnDrop(Box::new(act))
}

/// Runs `body` in a thread of the crate; returns its result and the thread, which is gone.
#[track_caller]
fn in_thread<R: Send + 'static>(body: impl FnOnce() -> R + Send + 'static) -> (R, Thread) {
    let (send, receive) = channel();
    let thread = Thread::new(move || send.send(body()).unwrap());
    thread.start().unwrap();
    thread.join().unwrap();
    (receive.try_recv().expect("the thread panicked"), thread)
}

/// Runs `body` in a thread of std's, and waits until that is gone, with its thread-locals.
#[track_caller]
fn in_std_thread<R: Send + 'static>(body: impl FnOnce() -> R + Send + 'static) -> R {
    thread::spawn(body).join().unwrap()
}

/// Calls `end` when the calling thread's thread-locals are destroyed: before what was so far first
/// used by the thread, if that is destroyed then too.
fn at_thread_end(end: impl FnMut() + 'static) {
    type End = OnDrop<Box<dyn FnMut()>>;
    thread_local! {
        static ENDS: RefCell<Vec<End>> = const { RefCell::new(Vec::new()) };
    }
    ENDS.with(|ends| ends.borrow_mut().push(OnDrop(Box::new(end))));
}

// One thread.

#[test]
fn local_1_each_thread_has_its_own_value() {
    let _watchdog = watchdog();
    static LOCAL: Local<Cell<u32>> = Local::new(|| Cell::new(1));
    LOCAL.with(|value| value.set(2));
    let ((), _) = in_thread(|| {
        assert_eq!(LOCAL.with(Cell::get), 1);
        LOCAL.set(Cell::new(3)).unwrap();
        assert_eq!(LOCAL.take().unwrap().map(Cell::into_inner), Some(3));
    });
    assert_eq!(LOCAL.with(Cell::get), 2);
    let seen = threads(8, |number| {
        for _ in 0..1000 {
            LOCAL.with(|value| value.set(value.get() + number as u32));
        }
        LOCAL.with(Cell::get)
    });
    assert!((0..8).map(|number| 1 + 1000 * number).eq(seen));
}

#[test]
fn local_2_what_is_absent_in_this_thread_is_not_made_by_asking() {
    let _watchdog = watchdog();
    static MADE: AtomicU32 = AtomicU32::new(0);
    static LOCAL: Local<u32> = Local::new(|| MADE.fetch_add(1, Relaxed));
    assert_eq!(LOCAL.try_get(), None);
    LOCAL.set(7).unwrap();
    let (answers, _) = in_thread(|| {
        let before = (LOCAL.try_get(), LOCAL.take(), format!("{LOCAL:?}"));
        (before, LOCAL.replace(8), format!("{LOCAL:?}"))
    });
    let before = (None, Ok(None), "Local { has_value: false, .. }".to_owned());
    let after = "Local { has_value: true, .. }".to_owned();
    assert_eq!(answers, (before, Ok(None), after));
    assert_eq!((LOCAL.try_get(), MADE.load(Relaxed)), (Some(7), 0));
}

#[test]
fn local_3_the_value_is_there_to_be_changed_in_place() {
    let local = Local::new(|| RefCell::new(vec![1]));
    local.with(|list| list.borrow_mut().push(2));
    local.with(|list| list.borrow_mut().push(3));
    assert_eq!(local.get().into_inner(), [1, 2, 3]);
    let old = local.replace(RefCell::new(vec![])).unwrap();
    assert_eq!(old.map(RefCell::into_inner), Some(vec![1, 2, 3]));
    assert_eq!(local.take().unwrap().map(RefCell::into_inner), Some(vec![]));
    assert_eq!(local.get().into_inner(), [1], "made anew");
}

#[test]
fn local_4_init_runs_once_in_each_thread_that_uses_it_at_the_first_use() {
    let _watchdog = watchdog();
    let made = Arc::new(Mutex::new(Vec::new()));
    let local = Arc::new(Local::new({
        let made = made.clone();
        move || made.lock().unwrap().push(get_ident())
    }));
    assert!(made.lock().unwrap().is_empty());
    let mut idents = threads(4, |_| {
        local.get();
        local.with(|()| local.get());
        get_ident()
    });
    let (ident, _) = in_thread({
        let local = local.clone();
        move || {
            local.get();
            get_ident()
        }
    });
    idents.push(ident);
    let mut made = made.lock().unwrap().clone();
    made.sort_unstable();
    idents.sort_unstable();
    assert_eq!(made, idents);
}

#[test]
fn local_5_an_init_that_fails_leaves_nothing_and_runs_again() {
    let fails = Cell::new(true);
    let local = Local::new(|| {
        assert!(!fails.get(), "on purpose");
        5
    });
    for _ in 0..2 {
        catch_unwind(AssertUnwindSafe(|| local.get())).unwrap_err();
        assert_eq!(local.try_get(), None);
    }
    fails.set(false);
    assert_eq!(local.get(), 5);
}

#[test]
fn what_is_lent_out_is_neither_replaced_nor_taken() {
    let log = Log::default();
    let local = Local::new(|| log.value(1));
    local.with(|value| {
        assert_eq!(local.set(log.value(2)), Err(Error::LocalInUse));
        assert_eq!(local.replace(log.value(3)).err(), Some(Error::LocalInUse));
        // Inside another call, and after it.
        local.with(|_| assert_eq!(local.take().err(), Some(Error::LocalInUse)));
        assert_eq!(local.take().err(), Some(Error::LocalInUse));
        assert_eq!(value.number, 1);
        let here = get_ident();
        assert_eq!(log.dropped(), [(2, here), (3, here)], "what was refused");
    });
    // A panic ends the loan as well.
    catch_unwind(AssertUnwindSafe(|| local.with(|_| panic_any(())))).unwrap_err();
    assert_eq!(
        local.replace(log.value(4)).unwrap().map(|old| old.number),
        Some(1)
    );
    let kinds = [Error::LocalInUse, Error::ThreadEnding].map(|error| error.kind());
    assert_eq!(kinds, [ErrorKind::Runtime; 2]);
}

#[test]
fn a_clone_cannot_take_away_what_it_clones() {
    static LOCAL: Local<Sly> = Local::new(|| Sly(Box::new(6)));
    struct Sly(Box<u32>);
    impl Clone for Sly {
        fn clone(&self) -> Sly {
            assert_eq!(LOCAL.take().err(), Some(Error::LocalInUse));
            Sly(self.0.clone())
        }
    }
    assert_eq!(*LOCAL.get().0, 6);
    assert_eq!(*LOCAL.try_get().unwrap().0, 6);
}

#[test]
fn other_threads_may_take_and_replace_while_this_one_has_lent_its_value_out() {
    let _watchdog = watchdog();
    let local = Local::new(|| 1);
    local.with(|_| {
        thread::scope(|s| {
            s.spawn(|| assert_eq!((local.replace(2), local.take()), (Ok(None), Ok(Some(2)))));
        });
    });
}

// Issue 94 of `thread_local`: an initialiser that comes back replaced what was lent out.

#[test]
fn hole_94_an_init_that_makes_the_value_itself_does_not_replace_it() {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    static DROPPED: AtomicU32 = AtomicU32::new(0);
    static LOCAL: Local<Nested> = Local::new(|| {
        let call = CALLS.fetch_add(1, Relaxed);
        if call == 0 {
            LOCAL.with(|inner| assert_eq!(inner.0, 1));
            LOCAL.with(|inner| assert_eq!(inner.0, 1));
        }
        Nested(call)
    });
    struct Nested(u32);
    impl Drop for Nested {
        fn drop(&mut self) {
            if self.0 == 0 {
                assert_eq!(
                    LOCAL.take().err(),
                    Some(Error::LocalInUse),
                    "it is to be used now"
                );
            }
            DROPPED.fetch_add(1, Relaxed);
        }
    }
    LOCAL.with(|value| {
        assert_eq!(
            (value.0, DROPPED.load(Relaxed)),
            (1, 1),
            "what was there first stays"
        );
    });
    assert_eq!(LOCAL.take().unwrap().map(|value| value.0), Some(1));
    assert_eq!((CALLS.load(Relaxed), DROPPED.load(Relaxed)), (2, 2));
}

#[test]
fn an_init_may_set_and_take_the_value_it_is_to_make() {
    static LOCAL: Local<u32> = Local::new(|| {
        LOCAL.set(1).unwrap();
        assert_eq!(LOCAL.take(), Ok(Some(1)));
        2
    });
    assert_eq!(LOCAL.get(), 2);
}

// The end of a thread.

#[test]
fn local_7_a_value_is_dropped_in_its_thread_after_run_and_before_join_returns() {
    let _watchdog = watchdog();
    let log = Log::default();
    let (first, second) = (Arc::new(Local::new(|| unreachable!())), Local::new(|| 0));
    let (before, thread) = in_thread({
        let (log, first) = (log.clone(), first.clone());
        move || {
            first.set(log.value(1)).unwrap();
            second.set(3).unwrap();
            log.dropped()
        }
    });
    assert_eq!(before, []);
    assert_eq!(log.dropped(), [(1, thread.ident().unwrap())]);
    assert!(first.take().unwrap().is_none());
}

#[test]
fn local_7_values_are_dropped_after_the_panic_was_told_and_are_not_stopped_by_it() {
    static LOCAL: Local<Act> = Local::new(|| act(|| eprintln!("dropped")));
    let Some(child) = Child::run(
        "local_7_values_are_dropped_after_the_panic_was_told_and_are_not_stopped_by_it",
        || {
            let thread = Thread::builder().name("doomed").target(|| {
                LOCAL.with(|_| ());
                panic!("on purpose");
            });
            thread.spawn().unwrap().join().unwrap();
            eprintln!("joined");
        },
    ) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
    let place = |text| {
        child
            .stderr
            .find(text)
            .unwrap_or_else(|| panic!("{child:?}"))
    };
    assert!(place("thread 'doomed' was ended") < place("dropped"));
    assert!(place("dropped") < place("joined"));
}

#[test]
fn local_7_values_made_by_destructors_of_thread_locals_are_dropped_before_join_returns() {
    let _watchdog = watchdog();
    static LOCAL: Local<Option<Value>> = Local::new(|| None);
    let log = Log::default();
    let ((), thread) = in_thread({
        let log = log.clone();
        move || {
            LOCAL.set(Some(log.value(1))).unwrap();
            at_thread_end(move || {
                assert!(LOCAL.take().unwrap().is_none(), "the first went before");
                LOCAL.set(Some(log.value(2))).unwrap();
            });
        }
    });
    let ident = thread.ident().unwrap();
    assert_eq!(log.dropped(), [(1, ident), (2, ident)]);
}

#[test]
fn local_11_destructors_may_use_other_locals_and_what_they_make_is_dropped() {
    let _watchdog = watchdog();
    static CHAIN: [Local<Option<Link>>; 40] = [const { Local::new(|| None) }; 40];
    struct Link(usize, Log);
    impl Drop for Link {
        fn drop(&mut self) {
            self.1.0.lock().unwrap().push((self.0 as u32, get_ident()));
            // Downwards, so that each is found only in a round of its own.
            if let Some(next) = self.0.checked_sub(1) {
                let made = CHAIN[next].replace(Some(Link(next, self.1.clone())));
                assert!(made.unwrap().is_none());
            }
        }
    }
    CHAIN.iter().for_each(|local| local.with(|_| ())); // slots in this order
    let log = Log::default();
    let ((), thread) = in_thread({
        let log = log.clone();
        move || CHAIN[39].set(Some(Link(39, log))).unwrap()
    });
    let ident = thread.ident().unwrap();
    assert!((0..40).map(|link| (link, ident)).eq(log.dropped()));
}

#[test]
fn local_11_a_destructor_that_always_sets_anew_does_not_keep_its_thread() {
    let _watchdog = watchdog();
    static LOCAL: Local<Option<Endless>> = Local::new(|| None);
    static DROPPED: AtomicU32 = AtomicU32::new(0);
    static REFUSED: AtomicU32 = AtomicU32::new(0);
    struct Endless;
    impl Drop for Endless {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Relaxed);
            match LOCAL.set(Some(Endless)) {
                Ok(()) => {}
                Err(_) => {
                    REFUSED.fetch_add(1, Relaxed);
                }
            }
        }
    }
    in_thread(|| LOCAL.set(Some(Endless)).unwrap());
    let once = DROPPED.load(Relaxed);
    assert!((64..1000).contains(&once), "{once}");
    in_std_thread(|| LOCAL.set(Some(Endless)).unwrap());
    assert!(DROPPED.load(Relaxed) >= once + 64);
    // In a thread that goes on, it is a value like any other.
    LOCAL.set(Some(Endless)).unwrap();
    assert!(
        LOCAL
            .take()
            .is_ok_and(|value| value.is_some_and(|value| value.is_some()))
    );
}

#[test]
fn local_11_what_an_endless_destructor_left_goes_with_its_local() {
    let _watchdog = watchdog();
    static ENDLESS: AtomicBool = AtomicBool::new(true);
    static ALIVE: AtomicU32 = AtomicU32::new(0);
    struct Endless(&'static Local<Endless>);
    impl Endless {
        fn set(local: &'static Local<Endless>) {
            ALIVE.fetch_add(1, Relaxed);
            let _ = local.set(Endless(local));
        }
    }
    impl Drop for Endless {
        fn drop(&mut self) {
            ALIVE.fetch_sub(1, Relaxed);
            if ENDLESS.load(Relaxed) {
                Endless::set(self.0);
            }
        }
    }
    let place: *mut Local<Endless> = Box::into_raw(Box::new(Local::new(|| unreachable!())));
    // SAFETY: it is not used any more when it is dropped, below.
    let local: &'static Local<Endless> = unsafe { &*place };
    in_thread(move || Endless::set(local));
    assert_eq!(ALIVE.load(Relaxed), 1);
    ENDLESS.store(false, Relaxed);
    // SAFETY: it came out of a box. The value that is left does not use it now.
    drop(unsafe { Box::from_raw(place) });
    assert_eq!(ALIVE.load(Relaxed), 0);
}

#[test]
fn local_12_a_panic_in_a_drop_stops_neither_the_others_nor_the_end_of_the_thread() {
    let _watchdog = watchdog();
    /// A payload that panics in its turn.
    struct Payload;
    impl Drop for Payload {
        fn drop(&mut self) {
            panic!("on purpose, from a payload");
        }
    }
    let log = Log::default();
    let locals: Arc<[Local<Act>; 3]> = Arc::new([const { Local::new(|| act(|| ())) }; 3]);
    let set = |log: Log, locals: Arc<[Local<Act>; 3]>| {
        for (local, number) in locals.iter().zip(0..) {
            let value = RefCell::new(Some(log.value(number)));
            let drop_it = move || {
                drop(value.take());
                panic_any(Payload);
            };
            local.set(act(drop_it)).unwrap();
        }
    };
    let ((), thread) = in_thread({
        let (log, locals) = (log.clone(), locals.clone());
        move || set(log, locals)
    });
    let ident = thread.ident().unwrap();
    assert_eq!(log.dropped(), [(0, ident), (1, ident), (2, ident)]);
    let other = Log::default();
    in_std_thread({
        let (log, locals) = (other.clone(), locals.clone());
        move || set(log, locals)
    });
    assert_eq!(other.dropped().len(), 3);
}

#[test]
fn local_12_values_are_dropped_outside_all_locks() {
    let _watchdog = watchdog();
    static LOCAL: Local<Option<Act>> = Local::new(|| None);
    static DONE: AtomicU32 = AtomicU32::new(0);
    fn busy() -> Option<Act> {
        Some(act(|| {
            // More than there are locks, in this thread and in one that must not be waited for.
            let locals: Vec<_> = (0..100).map(|number| Local::new(move || number)).collect();
            thread::scope(|s| {
                s.spawn(|| locals.iter().for_each(|local| local.with(|_| ())));
            });
            assert!(locals.iter().map(Local::get).eq(0..100));
            DONE.fetch_add(1, Relaxed);
        }))
    }
    in_thread(|| LOCAL.set(busy()).unwrap());
    assert_eq!(DONE.load(Relaxed), 1, "at the end of a thread");
    let local = Local::new(busy);
    local.with(|_| ());
    drop(local);
    assert_eq!(DONE.load(Relaxed), 2, "with the object");
    LOCAL.set(busy()).unwrap();
    LOCAL.set(None).unwrap();
    assert_eq!(DONE.load(Relaxed), 3, "when replaced");
}

#[test]
fn local_13_foreign_threads_are_covered() {
    let _watchdog = watchdog();
    static LOCAL: Local<Option<Value>> = Local::new(|| None);
    let log = Log::default();
    let ident = in_std_thread({
        let log = log.clone();
        move || {
            LOCAL.set(Some(log.value(1))).unwrap();
            get_ident()
        }
    });
    assert_eq!(log.dropped(), [(1, ident)]);

    extern "C" fn run(log: *mut libc::c_void) -> *mut libc::c_void {
        // SAFETY: the log outlives the thread, which is joined below.
        let log = unsafe { &*log.cast::<Log>() };
        LOCAL.set(Some(log.value(2))).unwrap();
        ptr::null_mut()
    }
    pthread(run, ptr::from_ref(&log).cast_mut().cast());
    assert_eq!(log.dropped().len(), 2);
}

/// Runs a thread of libc's to its end.
fn pthread(run: extern "C" fn(*mut libc::c_void) -> *mut libc::c_void, with: *mut libc::c_void) {
    let mut thread = MaybeUninit::uninit();
    // SAFETY: `thread` is valid for the call; the callers answer for `run` with `with`.
    let result = unsafe { libc::pthread_create(thread.as_mut_ptr(), ptr::null(), run, with) };
    assert_eq!(result, 0);
    // SAFETY: the call returned 0, so it stored the thread.
    let thread = unsafe { thread.assume_init() };
    // SAFETY: joined once.
    let result = unsafe { libc::pthread_join(thread, ptr::null_mut()) };
    assert_eq!(result, 0);
}

#[test]
fn local_13_a_first_value_in_the_destructor_of_a_pthread_key_goes_with_its_local() {
    let _watchdog = watchdog();
    static LOCAL: AtomicPtr<Local<Value>> = AtomicPtr::new(ptr::null_mut());
    static LOG: Mutex<Option<Log>> = Mutex::new(None);
    static KEY: AtomicU32 = AtomicU32::new(0);
    extern "C" fn at_end(_: *mut libc::c_void) {
        // SAFETY: it is dropped below, after the threads have ended.
        let local = unsafe { &*LOCAL.load(Relaxed) };
        local
            .set(LOG.lock().unwrap().clone().unwrap().value(1))
            .unwrap();
    }
    extern "C" fn run(_: *mut libc::c_void) -> *mut libc::c_void {
        let value: *const u8 = &0;
        // SAFETY: the key exists; its destructor does not use the value.
        let result = unsafe { libc::pthread_setspecific(KEY.load(Relaxed), value.cast()) };
        assert_eq!(result, 0);
        ptr::null_mut()
    }
    let mut key = 0;
    // SAFETY: `key` is valid for the call.
    let result = unsafe { libc::pthread_key_create(&mut key, Some(at_end)) };
    assert_eq!(result, 0);
    KEY.store(key, Relaxed);
    let log = Log::default();
    *LOG.lock().unwrap() = Some(log.clone());
    let local = Box::new(Local::<Value>::new(|| unreachable!()));
    LOCAL.store(Box::into_raw(local), Relaxed);
    for _ in 0..20 {
        pthread(run, ptr::null_mut());
    }
    assert_eq!(log.dropped(), [], "nobody told of their end");
    // SAFETY: it came out of a box, and the threads that used it are gone.
    drop(unsafe { Box::from_raw(LOCAL.load(Relaxed)) });
    assert_eq!(log.dropped(), [(1, get_ident()); 20]);
}

#[test]
fn local_14_a_destructor_knows_whose_thread_it_runs_in() {
    let _watchdog = watchdog();
    static SEEN: AtomicU64 = AtomicU64::new(0);
    static LOCAL: Local<Act> = Local::new(|| act(|| SEEN.store(get_ident(), Relaxed)));
    let (thread, go) = (Arc::new(OnceLock::<Thread>::new()), Arc::new(Event::new()));
    let is_current = Arc::new(AtomicBool::new(false));
    let new = Thread::new({
        let (thread, go, is_current) = (thread.clone(), go.clone(), is_current.clone());
        move || {
            go.wait();
            LOCAL.with(|_| ());
            static ASKS: Local<Act> = Local::new(|| unreachable!());
            let ask = move || is_current.store(thread.get().unwrap().is_current(), Relaxed);
            ASKS.set(act(ask)).unwrap();
        }
    });
    thread.set(new.clone()).unwrap();
    new.start().unwrap();
    go.set();
    new.join().unwrap();
    assert_eq!(Some(SEEN.load(Relaxed)), new.ident());
    assert!(is_current.load(Relaxed));
}

// Issues 74 and 75 of `thread_local`: thread-locals that are destroyed before or after its own.

#[test]
fn hole_74_and_75_locals_can_be_used_in_destructors_of_thread_locals_whatever_their_order() {
    let _watchdog = watchdog();
    static LOCAL: Local<Cell<u32>> = Local::new(|| Cell::new(1));
    static SEEN: Mutex<Vec<(u32, Result<u32, Error>)>> = Mutex::new(Vec::new());
    fn use_it() {
        let seen = LOCAL.with(|value| value.replace(5));
        let set = LOCAL
            .replace(Cell::new(2))
            .map(|old| old.map_or(0, |old| old.get()));
        SEEN.lock().unwrap().push((seen, set));
    }
    let seen = |first_local: bool| {
        in_std_thread(move || {
            if first_local {
                LOCAL.set(Cell::new(9)).unwrap();
            }
            at_thread_end(use_it);
            LOCAL.set(Cell::new(9)).unwrap();
        });
        mem::take(&mut *SEEN.lock().unwrap())
    };
    // Still there, and used as ever.
    assert_eq!(seen(true), [(9, Ok(5))]);
    // Gone with its thread: a value for the call, no other thread's.
    assert_eq!(seen(false), [(1, Err(Error::ThreadEnding))]);
    // In threads of the crate values can be had in all destructors.
    for first_local in [true, false] {
        in_thread(move || {
            if first_local {
                LOCAL.set(Cell::new(9)).unwrap();
            }
            at_thread_end(use_it);
            LOCAL.set(Cell::new(9)).unwrap();
        });
        assert_eq!(mem::take(&mut *SEEN.lock().unwrap()), [(1, Ok(5))]);
    }
}

// Issue 79 of `thread_local`: a new thread gets what an ended one had.

#[test]
fn hole_79_no_thread_sees_the_value_of_another_that_ended() {
    let _watchdog = watchdog();
    static LOCAL: Local<Cell<u32>> = Local::new(|| Cell::new(0));
    for round in 1..200 {
        let (before, _) = in_thread(move || LOCAL.with(|value| value.replace(round)));
        assert_eq!(before, 0);
        assert_eq!(
            in_std_thread(move || LOCAL.with(|value| value.replace(round))),
            0
        );
    }
}

// The end of the object.

#[test]
fn local_8_all_values_are_dropped_with_the_object_by_the_thread_that_drops_it() {
    let _watchdog = watchdog();
    let log = Log::default();
    let local = Arc::new(Local::<Value>::new(|| unreachable!()));
    let (made, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Event::new()));
    let waiting: Vec<_> = (1..=4)
        .map(|number| {
            let thread = Thread::new({
                let (log, made, go) = (log.clone(), made.clone(), go.clone());
                let local = local.clone();
                move || {
                    local.set(log.value(number)).unwrap();
                    drop(local);
                    made.fetch_add(1, Relaxed);
                    go.wait();
                }
            });
            thread.start().unwrap();
            thread
        })
        .collect();
    until(|| made.load(Relaxed) == 4);
    in_thread({
        let (log, local) = (log.clone(), local.clone());
        move || local.set(log.value(5)).unwrap()
    });
    local.set(log.value(6)).unwrap();
    assert_eq!(log.dropped().len(), 1, "of the thread that has ended");
    drop(Arc::into_inner(local).expect("it is not shared any more"));
    let here = get_ident();
    let dropped = log.dropped();
    assert!(
        dropped
            .iter()
            .filter(|(number, _)| *number != 5)
            .all(|(_, ident)| *ident == here)
    );
    assert!(dropped.into_iter().map(|(number, _)| number).eq(1..=6));
    go.set();
    waiting.iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(log.dropped().len(), 6, "their ends find nothing left");
}

/// A `Local` with the value `make(n)` in this thread, for n = 0, and in threads that wait for the
/// event, for others up to `count`.
fn in_waiting_threads(
    count: u32,
    make: impl Fn(u32) -> Act,
) -> (Local<Act>, Arc<Event>, Vec<Thread>) {
    let local: Arc<Local<Act>> = Arc::new(Local::new(|| unreachable!()));
    let go = Arc::new(Event::new());
    let made = Arc::new(AtomicU32::new(0));
    local.set(make(0)).unwrap();
    let start = |number| {
        let thread = Thread::new({
            let (local, go, made, value) = (local.clone(), go.clone(), made.clone(), make(number));
            move || {
                local.set(value).unwrap();
                drop(local);
                made.store(number, Relaxed);
                go.wait();
            }
        });
        thread.start().unwrap();
        until(|| made.load(Relaxed) == number);
        thread
    };
    let waiting = (1..=count).map(start).collect();
    (
        Arc::into_inner(local).expect("nobody else has it"),
        go,
        waiting,
    )
}

#[test]
fn local_8_a_panic_in_a_drop_does_not_stop_the_others_and_goes_on_after_them() {
    let _watchdog = watchdog();
    let log = Log::default();
    let make = |number| {
        let value = RefCell::new(Some(log.value(number)));
        act(move || {
            drop(value.take());
            if number > 0 {
                panic_any(number);
            }
        })
    };
    let (local, go, waiting) = in_waiting_threads(3, make);
    let payload = catch_unwind(AssertUnwindSafe(|| drop(local))).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&1_u32), "the first");
    assert!(
        log.dropped()
            .into_iter()
            .map(|(number, _)| number)
            .eq(0..=3)
    );
    go.set();
    waiting.iter().for_each(|thread| thread.join().unwrap());

    // While the thread panics already, that panic goes on.
    let (local, go, waiting) = in_waiting_threads(3, make);
    let payload = catch_unwind(AssertUnwindSafe(move || {
        let _local = local;
        panic_any(77_u32);
    }))
    .unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&77_u32));
    assert_eq!(log.dropped().len(), 8);
    go.set();
    waiting.iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn local_8_a_destructor_may_use_other_locals_while_its_own_is_dropped() {
    let _watchdog = watchdog();
    static OTHER: Local<Cell<u32>> = Local::new(|| Cell::new(0));
    let count = || OTHER.with(|count| count.set(count.get() + 1));
    let (local, go, waiting) = in_waiting_threads(3, |_| act(count));
    drop(local);
    assert_eq!(OTHER.with(Cell::get), 4, "all in this thread");
    go.set();
    waiting.iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_leaked_local_keeps_its_values_until_their_threads_end() {
    let _watchdog = watchdog();
    let log = Log::default();
    let (leaked, go, waiting) = in_waiting_threads(3, |number| {
        let value = RefCell::new(Some(log.value(number)));
        act(move || drop(value.take()))
    });
    // Its memory is used again; what is on the heap does not depend on it.
    let mut leaked = MaybeUninit::new(leaked);
    leaked.write(Local::new(|| act(|| ())));
    // SAFETY: it holds the second one, which is not used again.
    unsafe { leaked.assume_init_drop() };
    assert_eq!(log.dropped(), []);
    go.set();
    waiting.iter().for_each(|thread| thread.join().unwrap());
    let idents = waiting.iter().map(|thread| thread.ident().unwrap());
    assert!((1..).zip(idents).eq(log.dropped()));
}

#[test]
fn local_9_a_new_local_sees_no_value_of_an_earlier_one_at_its_address() {
    let _watchdog = watchdog();
    let place = Mutex::new(None::<Local<u64, Box<dyn Fn() -> u64 + Send + Sync>>>);
    let round = AtomicU64::new(0);
    let (first, second) = (std::sync::Barrier::new(4), std::sync::Barrier::new(4));
    threads(4, |number| {
        for now in 0..300 {
            if number == 0 {
                round.store(now, Relaxed);
                *place.lock().unwrap() = Some(Local::new(Box::new(move || now)));
            }
            first.wait();
            // Some threads have a value of every one, others of some.
            if now % (number as u64 + 1) == 0 {
                let place = place.lock().unwrap();
                let local = place.as_ref().unwrap();
                assert_eq!(local.try_get(), None);
                assert_eq!(local.get(), round.load(Relaxed));
                local.set(u64::MAX).unwrap();
            }
            second.wait();
        }
    });
}

#[test]
fn local_9_a_slot_is_used_again_only_when_it_is_empty() {
    let _watchdog = watchdog();
    for round in 0..100_u32 {
        let numbers = Local::new(move || round);
        assert_eq!(numbers.try_get(), None);
        assert_eq!(numbers.get(), round);
        drop(numbers);
        let texts = Local::new(move || round.to_string());
        assert_eq!(texts.try_get(), None);
        assert_eq!(texts.get(), round.to_string());
        drop(texts);
    }
}

#[test]
fn local_9_a_slot_is_not_given_away_while_its_last_local_is_being_dropped() {
    let _watchdog = watchdog();
    // A slot given back too early is noticed within 200 rounds of optimized code, most often; each
    // takes milliseconds where others have the CPUs.
    let rounds = if cfg!(debug_assertions) {
        3_000
    } else {
        10_000
    };
    let shared: Vec<_> = (0..rounds).map(|_| Arc::new(Local::new(|| 0))).collect();
    let shared = [shared.clone(), shared].map(|shared| Mutex::new(shared.into_iter()));
    let arrived = AtomicUsize::new(0);
    threads(2, |thread| {
        for round in 1..=rounds {
            let local = shared[thread].lock().unwrap().next().unwrap();
            assert_eq!(local.get(), 0);
            arrived.fetch_add(1, Relaxed);
            until(|| arrived.load(Relaxed) >= 2 * round);
            // The one that is not the last to drop it wants slots while the other gives one up.
            drop(local);
            for number in 1..10 {
                let fresh = Local::new(move || number);
                assert_eq!(fresh.get(), number);
            }
        }
    });
}

#[test]
fn a_local_may_move_between_uses() {
    let _watchdog = watchdog();
    let local = Local::new(|| 0);
    local.set(1).unwrap();
    let boxed = Box::new(local);
    assert_eq!(boxed.get(), 1);
    let ((local, there), _) = in_thread(move || {
        let there = boxed.replace(2).unwrap();
        (*boxed, there)
    });
    assert_eq!((local.get(), there), (1, None));
}

// Many.

#[test]
fn thousands_of_locals_at_once_keep_their_values_apart() {
    let _watchdog = watchdog();
    let alive = Arc::new(());
    for count in [31, 32, 33, 1000, 5000] {
        let locals: Vec<_> = (0..count)
            .map(|number| {
                let alive = alive.clone();
                Local::new(move || (number, 0, alive.clone()))
            })
            .collect();
        threads(3, |thread| {
            for local in &locals {
                let (number, _, alive) = local.get();
                local.set((number, thread, alive)).unwrap();
            }
            for (number, local) in locals.iter().enumerate() {
                assert!(local.with(|value| (value.0, value.1) == (number, thread)));
            }
        });
        let half: Vec<_> = locals.into_iter().step_by(2).collect();
        assert!(
            (0..count)
                .step_by(2)
                .eq(half.iter().map(|local| local.get().0))
        );
        drop(half);
        // std's threads may still be on their way out.
        until(|| Arc::strong_count(&alive) == 1);
    }
}

#[test]
fn memory_stays_flat_over_millions_of_locals() {
    let Some(child) = Child::run("memory_stays_flat_over_millions_of_locals", || {
        let rounds = if cfg!(debug_assertions) {
            1_000_000
        } else {
            10_000_000
        };
        let mut before = 0;
        for round in 0..rounds {
            if round == 1000 {
                before = resident();
            }
            let local = Local::new(|| [round; 4]);
            assert_eq!(local.with(|value| value[0]), round);
        }
        let after = resident();
        assert!(
            after < before + (256 << 10),
            "from {before} to {after} bytes"
        );
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}

#[test]
fn memory_stays_flat_over_thousands_of_threads_with_values() {
    let Some(child) = Child::run(
        "memory_stays_flat_over_thousands_of_threads_with_values",
        || {
            let locals: Vec<_> = (0..100).map(|_| Local::new(|| [0_u8; 1000])).collect();
            let mut before = 0;
            for round in 0..2000 {
                if round == 200 {
                    before = resident();
                }
                thread::scope(|s| {
                    let use_all = || locals.iter().for_each(|local| local.with(|_| ()));
                    s.spawn(use_all).join().unwrap();
                });
            }
            let after = resident();
            assert!(after < before + (1 << 20), "from {before} to {after} bytes");
        },
    ) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
}

// Races.

/// Counts how many there are.
struct Counted<'a>(&'a AtomicUsize, Box<u32>);

impl<'a> Counted<'a> {
    fn new(alive: &'a AtomicUsize, number: u32) -> Counted<'a> {
        alive.fetch_add(1, Relaxed);
        Counted(alive, Box::new(number))
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        assert!(*self.1 < 1000, "memory that is not a value");
        *self.1 = u32::MAX;
        self.0.fetch_sub(1, Relaxed);
    }
}

#[test]
fn local_10_locals_are_dropped_while_threads_with_values_end() {
    let _watchdog = watchdog();
    static ALIVE: AtomicUsize = AtomicUsize::new(0);
    for round in 0..if cfg!(debug_assertions) { 300 } else { 2000 } {
        let make = |number| Arc::new(Local::new(move || Counted::new(&ALIVE, number)));
        let locals: Vec<_> = (0..40).map(make).collect();
        let ours: Vec<_> = (0..2)
            .map(|_| {
                let locals = locals.clone();
                Thread::new(move || {
                    for (number, local) in (0..).zip(locals) {
                        local.with(|value| assert_eq!(*value.1, number));
                        // Each is dropped by who has it last.
                    }
                })
            })
            .collect();
        ours.iter().for_each(|thread| thread.start().unwrap());
        // The destructors of std's thread-locals run on after the scope.
        thread::scope(|s| {
            for _ in 0..2 {
                s.spawn(|| locals.iter().for_each(|local| local.with(|_| ())));
            }
        });
        if round % 2 == 0 {
            drop(locals);
        } else {
            // Backwards, towards the threads that drain forwards.
            locals.into_iter().rev().for_each(drop);
        }
        ours.iter().for_each(|thread| thread.join().unwrap());
        until(|| ALIVE.load(Relaxed) == 0);
    }
}

#[test]
fn local_10_locals_come_and_go_in_all_threads_at_once() {
    let _watchdog = watchdog();
    static ALIVE: AtomicUsize = AtomicUsize::new(0);
    type Shared = Arc<Local<Counted<'static>, Box<dyn Fn() -> Counted<'static> + Send + Sync>>>;
    static PLACES: [Mutex<Option<Shared>>; 8] = [const { Mutex::new(None) }; 8];
    let rounds = if cfg!(debug_assertions) { 150 } else { 1000 };
    threads(4, |thread| {
        for round in 0..rounds {
            thread::scope(|s| {
                s.spawn(|| {
                    for step in 0..40 {
                        let place = &PLACES[(thread * 3 + round + step * 5) % PLACES.len()];
                        let number = (step + 1) as u32;
                        let make = move || Counted::new(&ALIVE, number);
                        let shared: Option<Shared> = match step % 3 {
                            0 => place
                                .lock()
                                .unwrap()
                                .replace(Arc::new(Local::new(Box::new(make)))),
                            _ => place.lock().unwrap().clone(),
                        };
                        let Some(local) = shared else { continue };
                        match step % 4 {
                            0 => drop(local.take()),
                            1 => drop(local.replace(Counted::new(&ALIVE, number))),
                            _ => local.with(|value| assert!(*value.1 < 1000)),
                        }
                    }
                });
            });
        }
    });
    PLACES
        .iter()
        .for_each(|place| *place.lock().unwrap() = None);
    until(|| ALIVE.load(Relaxed) == 0);
}

#[test]
fn two_first_uses_at_once_agree_on_a_slot() {
    let _watchdog = watchdog();
    for round in 0..500_u32 {
        let local = Local::new(move || Cell::new(round));
        let seen = threads(3, |_| {
            local.with(|value| value.set(value.get() + 1));
            local.with(Cell::get)
        });
        assert_eq!(seen, [round + 1; 3]);
    }
}

// The end of the process.

/// Forks in a thread that has no values, which makes it the main thread of the child.
#[track_caller]
fn in_new_process(body: fn() -> i32) {
    in_std_thread(move || {
        // SAFETY: the child uses the allocator, which glibc keeps whole over a fork, and ends.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                // SAFETY: no precondition. A child that hangs is to fail.
                unsafe { libc::alarm(20 * patience()) };
                // SAFETY: no other thread of the child is in exit(3). (Not by std, which takes a lock
                // first that another thread of the parent may have held.)
                unsafe { libc::exit(body()) };
            }
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
            }
        }
    });
}

#[test]
fn local_11_values_of_the_main_thread_are_there_in_destructors_and_exit_handlers() {
    let _watchdog = watchdog();
    static LOCAL: Local<Cell<u32>> = Local::new(|| Cell::new(0));
    static DROPS: Local<Act> = Local::new(|| act(|| std::process::abort()));
    extern "C" fn at_exit() {
        let right = LOCAL.with(Cell::get) == 2 && LOCAL.set(Cell::new(3)).is_ok();
        // SAFETY: leaves the process at once.
        unsafe { libc::_exit(if right { 0 } else { 17 }) };
    }
    in_new_process(|| {
        LOCAL.with(|value| value.set(1));
        DROPS.with(|_| ());
        at_thread_end(|| LOCAL.with(|value| value.set(value.get() + 1)));
        // SAFETY: the handler may run at any time.
        let result = unsafe { libc::atexit(at_exit) };
        assert_eq!(result, 0);
        18 // replaced by the handler's
    });
}

#[test]
fn a_value_that_is_lent_out_when_its_thread_ends_the_process_is_not_dropped() {
    let _watchdog = watchdog();
    static SHARED: Local<(AtomicU32, Act)> =
        Local::new(|| (AtomicU32::new(0), act(|| std::process::abort())));
    static OTHER: Local<Act> = Local::new(|| act(|| STATUS.store(0, Relaxed)));
    static STATUS: AtomicU32 = AtomicU32::new(19);
    extern "C" fn at_exit() {
        // SAFETY: leaves the process at once.
        unsafe { libc::_exit(STATUS.load(Relaxed) as i32) };
    }
    in_new_process(|| {
        // SAFETY: the handler may run at any time.
        let result = unsafe { libc::atexit(at_exit) };
        assert_eq!(result, 0);
        // Not in the main thread, which drops nothing. Nor in std's, as above.
        Pthread::start(|| {
            OTHER.with(|_| ());
            SHARED.with(|(count, _)| {
                // SAFETY: this call ends the process, so the borrow does not end before it.
                let count = unsafe { ptr::NonNull::from(count).as_ref() };
                Pthread::start(|| {
                    loop {
                        count.fetch_add(1, Relaxed);
                    }
                });
                until(|| count.load(Relaxed) > 0);
                // SAFETY: no other thread is in exit(3): main waits for this one, the other counts.
                // 20 is replaced by the handler's.
                unsafe { libc::exit(20) };
            })
        })
        .join();
        21
    });
}
