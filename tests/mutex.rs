//! `Mutex`, `ReentrantMutex` and their kin (LOCK, TIME, WITH, MEM-1, RLOCK).
#![cfg(not(threadbare_model))]

mod common;

use common::{
    LONG, Rng, SHORT, TOO_LONG, check_destroyed_by_the_last_user, check_excludes,
    check_given_up_when_held, check_taken_when_free, check_taken_when_released,
    check_too_large_is_refused, has_waiters, spawn, threads, until, watchdog,
};
use lock_api::{GetThreadId, RawMutex as _, RawMutexTimed};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};
use threadbare::{
    Deadline, Error, MappedMutexGuard, MappedReentrantMutexGuard, Mutex, MutexExt, MutexGuard,
    RawMutex, RawThreadId, ReentrantMutex, ReentrantMutexGuard, TIMEOUT_MAX, Thread, get_ident,
};

const fn shared<T: Sync>() {}
const fn shared_and_sent<T: Send + Sync>() {}

// A mutex makes what can be sent shareable; guards stay, and are shared as what they lend.
const _: () = shared_and_sent::<Mutex<Cell<u8>>>();
const _: () = shared_and_sent::<ReentrantMutex<Cell<u8>>>();
const _: () = shared_and_sent::<RawMutex>();
const _: () = shared::<MutexGuard<'static, u8>>();
const _: () = shared::<MappedMutexGuard<'static, u8>>();
const _: () = shared::<ReentrantMutexGuard<'static, u8>>();
const _: () = shared::<MappedReentrantMutexGuard<'static, u8>>();
is_not!(Mutex<Rc<u8>>: Send);
is_not!(Mutex<Rc<u8>>: Sync);
is_not!(ReentrantMutex<Rc<u8>>: Send);
is_not!(ReentrantMutex<Rc<u8>>: Sync);
is_not!(MutexGuard<'static, u8>: Send);
is_not!(MutexGuard<'static, Cell<u8>>: Sync);
is_not!(MappedMutexGuard<'static, u8>: Send);
is_not!(MappedMutexGuard<'static, Cell<u8>>: Sync);
is_not!(ReentrantMutexGuard<'static, u8>: Send);
is_not!(ReentrantMutexGuard<'static, Cell<u8>>: Sync);
is_not!(MappedReentrantMutexGuard<'static, u8>: Send);
is_not!(MappedReentrantMutexGuard<'static, Cell<u8>>: Sync);

// As documented.
const _: () = assert!(size_of::<RawMutex>() == 8 && size_of::<Mutex<u32>>() == 12);
const _: () = assert!(size_of::<RawThreadId>() == 0);

/// A mutex that the caller has locked, for good.
fn held() -> Mutex<()> {
    held_by(Mutex::new(()))
}

fn held_by(mutex: Mutex<()>) -> Mutex<()> {
    std::mem::forget(mutex.lock());
    mutex
}

#[test]
fn lock_1_is_created_unlocked_also_in_a_static() {
    static MUTEX: Mutex<[u8; 3]> = Mutex::new([1, 2, 3]);
    static REENTRANT: ReentrantMutex<Cell<u8>> = ReentrantMutex::new(Cell::new(1));
    assert!(!MUTEX.is_locked() && !REENTRANT.is_locked());
    MUTEX.lock()[0] = 4;
    assert_eq!(*MUTEX.lock(), [4, 2, 3]);
    let default: Mutex<u8> = Mutex::default();
    assert!(!default.is_locked() && default.into_inner() == 0);
    assert_eq!(*Mutex::from("value").lock(), "value");
    assert_eq!(*ReentrantMutex::from("value").lock(), "value");
}

#[test]
fn lock_2_every_form_takes_an_unlocked_mutex() {
    let _watchdog = watchdog();
    let mutex = Mutex::new(());
    check_taken_when_free(&mutex);
    assert!(!mutex.is_locked());
}

#[test]
fn lock_3_every_waiting_form_goes_on_when_it_gets_the_mutex() {
    let _watchdog = watchdog();
    let mutex = held();
    check_taken_when_released(&mutex, |tid| tid.until_asleep_in(&mutex));
}

#[test]
fn lock_4_and_5_forms_with_an_end_give_up_a_locked_mutex() {
    let _watchdog = watchdog();
    let mutex = held();
    check_given_up_when_held(&mutex);
    assert!(mutex.try_lock().is_none(), "nor does its holder get it");
    assert!(mutex.lock_timeout(SHORT).unwrap().is_none());
}

#[test]
fn lock_7_a_timeout_that_is_too_large_errs_even_if_the_mutex_is_free() {
    let _watchdog = watchdog();
    let mutex = Mutex::new(());
    check_too_large_is_refused(&mutex);
    assert!(mutex.lock_timeout(TIMEOUT_MAX).unwrap().is_some());
}

#[test]
fn lock_12_threads_with_random_timeouts_exclude_each_other_and_lose_no_wake() {
    let _watchdog = watchdog();
    check_excludes(&Mutex::new(()), 6, 10_000);
}

#[test]
fn lock_13_tells_whether_it_is_locked() {
    let mutex = Mutex::new(());
    let guard = mutex.lock();
    assert!(mutex.is_locked());
    drop(guard);
    assert!(!mutex.is_locked());
}

#[test]
fn lock_14_a_panic_releases_it_and_poisons_nothing() {
    let mutex = Mutex::new(1);
    let reentrant = ReentrantMutex::new(Cell::new(1));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let (mut guard, outer) = (mutex.lock(), reentrant.lock());
        let _inner = reentrant.lock();
        *guard = 2;
        outer.set(2);
        panic!("while they are locked");
    }));
    assert!(panicked.is_err() && !mutex.is_locked() && !reentrant.is_locked());
    assert_eq!((*mutex.lock(), reentrant.lock().get()), (2, 2));
}

#[test]
fn time_2_and_5_the_forms_of_lock_api_take_any_time() {
    let _watchdog = watchdog();
    let now = Instant::now();
    let past = now.checked_sub(SHORT).unwrap_or(now);
    let far = now + Duration::from_secs(1 << 40);
    let lock = RawMutex::INIT;
    for timeout in [Duration::ZERO, SHORT, TOO_LONG, Duration::MAX] {
        assert!(lock.try_lock_for(timeout), "{timeout:?}");
        // SAFETY: locked just now.
        unsafe { lock.unlock() };
    }
    for instant in [past, now, far] {
        assert!(lock.try_lock_until(instant), "{instant:?}");
        // SAFETY: locked just now.
        unsafe { lock.unlock() };
    }
    // No times of no limit from here on: it is locked.
    assert!(lock.try_lock() && !lock.try_lock() && lock.is_locked());
    assert!(!lock.try_lock_for(Duration::ZERO));
    assert!(!lock.try_lock_until(past));
    let start = Instant::now();
    assert!(!lock.try_lock_for(SHORT));
    assert!(start.elapsed() >= SHORT);
    let start = Instant::now();
    assert!(!lock.try_lock_until(start + SHORT));
    assert!(start.elapsed() >= SHORT);
    for form in [
        (|lock, _| lock.try_lock_for(Duration::MAX)) as fn(&RawMutex, Instant) -> bool,
        |lock, _| lock.try_lock_for(LONG),
        |lock, far| lock.try_lock_until(far),
    ] {
        thread::scope(|s| {
            let lock = &lock;
            let waiter = spawn(s, move || form(lock, far));
            waiter.until_asleep_in(lock);
            // SAFETY: locked above, or by the waiter of the last round.
            unsafe { lock.unlock() };
            assert!(waiter.join());
        });
    }
}

#[test]
fn mem_1_what_one_holder_wrote_the_next_one_reads() {
    let _watchdog = watchdog();
    // The guards lend it mutably: a second one at a time would show as a lost update.
    let mutex = Mutex::new((0_u64, 0_u64));
    let reentrant = ReentrantMutex::new(Cell::new(0_u64));
    threads(4, |_| {
        let mut rng = Rng::new();
        for _ in 0..4_000 {
            let guard = match rng.below(4) {
                0 => mutex.try_lock_for(LONG),
                1 => mutex.lock_timeout(LONG).unwrap(),
                2 => mutex.lock_until(Deadline::NEVER),
                _ => Some(mutex.lock()),
            };
            let mut guard = guard.unwrap();
            let (first, second) = &mut *guard;
            *first += 1;
            *second += 1;
            assert_eq!(first, second);
            drop(guard);
            let outer = reentrant.lock();
            let inner = reentrant.try_lock_for(LONG).unwrap();
            inner.set(outer.get() + 1);
        }
    });
    assert_eq!(*mutex.lock(), (16_000, 16_000));
    assert_eq!(reentrant.lock().get(), 16_000);
}

#[test]
fn lock_free_after_release_the_last_user_may_destroy_it() {
    let _watchdog = watchdog();
    // SAFETY: locked by `held`, which has no guard left.
    let release = |mutex: &Mutex<()>| unsafe { mutex.force_unlock() };
    let take = |mutex: &Mutex<()>| drop(mutex.lock());
    let symmetric = || held_by(Mutex::from_raw(RawMutex::symmetric(), ()));
    check_destroyed_by_the_last_user(3_000, symmetric, has_waiters, release, take);
}

#[test]
fn with_1_guards_release_once_however_they_are_mapped() {
    let mutex = Mutex::new((1, vec![2, 3]));
    let list: MappedMutexGuard<'_, Vec<i32>> = MutexGuard::map(mutex.lock(), |both| &mut both.1);
    let last = MappedMutexGuard::try_map(list, |list| list.last_mut());
    let mut last = last.unwrap_or_else(|_| unreachable!("there is one"));
    *last = 4;
    assert!(mutex.is_locked());
    drop(last);
    assert!(!mutex.is_locked());
    assert_eq!(*mutex.lock(), (1, vec![2, 4]));

    let reentrant = ReentrantMutex::new((1, 2));
    let part: MappedReentrantMutexGuard<'_, i32> =
        ReentrantMutexGuard::map(reentrant.lock(), |both| &both.1);
    assert_eq!((*part, reentrant.lock().0), (2, 1));
    threads(1, |_| assert!(reentrant.try_lock().is_none()));
    drop(part);
    assert!(!reentrant.is_locked());
}

#[test]
fn with_1_a_guard_lets_go_for_a_while_also_when_that_panics() {
    let _watchdog = watchdog();
    let mutex = Mutex::new(1);
    let mut guard = mutex.lock();
    MutexGuard::unlocked(&mut guard, || {
        threads(2, |_| *mutex.lock() += 1);
    });
    assert_eq!(*guard, 3);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        MutexGuard::unlocked(&mut guard, || panic!("on purpose"));
    }));
    assert!(panicked.is_err() && mutex.is_locked());
    drop(guard);
    assert!(!mutex.is_locked());
}

#[test]
fn with_5_a_forgotten_guard_leaves_it_locked_and_nothing_worse() {
    let _watchdog = watchdog();
    let mut mutex = held();
    threads(2, |_| assert!(mutex.lock_timeout(SHORT).unwrap().is_none()));
    // Moved while it is locked: nobody can wait.
    let () = *mutex.get_mut();
    let moved = Box::new(mutex);
    assert!(moved.is_locked());
    // SAFETY: locked by this thread, which has no guard left.
    unsafe { moved.force_unlock() };
    check_taken_when_free(&*moved);
    moved.into_inner();
}

#[test]
fn a_mutex_holds_what_has_no_size() {
    let numbers: &Mutex<[i32]> = &Mutex::new([1, 2, 3]);
    numbers.lock()[1] = 5;
    assert_eq!(*numbers.lock(), [1, 5, 3]);
    let guard = numbers.lock_timeout(SHORT).unwrap().unwrap();
    assert_eq!(guard.len(), 3);
    drop(guard);
    let text: Box<Mutex<dyn Debug>> = Box::new(Mutex::new("text"));
    assert_eq!(
        format!("{:?}", text.lock_until(Deadline::now()).unwrap()),
        "\"text\""
    );
    let reentrant: &ReentrantMutex<[i32]> = &ReentrantMutex::new([1, 2]);
    assert_eq!(reentrant.lock().len(), 2);
}

#[test]
fn debug_shows_the_value_or_that_it_is_locked() {
    let mutex = Mutex::new(7);
    assert_eq!(format!("{mutex:?}"), "Mutex { data: 7 }");
    let guard = mutex.lock();
    assert_eq!(format!("{mutex:?}"), "Mutex { data: <locked> }");
    assert_eq!(format!("{guard:?} {guard}"), "7 7");
    let reentrant = ReentrantMutex::new(7);
    let _guard = reentrant.lock();
    assert_eq!(format!("{reentrant:?}"), "ReentrantMutex { data: 7 }");
}

#[test]
fn rlock_2_and_5_a_reentrant_mutex_is_its_owners_until_the_last_guard_is_gone() {
    let _watchdog = watchdog();
    let mutex = ReentrantMutex::new(RefCell::new(vec![0]));
    assert!(!mutex.is_owned_by_current_thread());
    let mut guards = vec![
        mutex.lock(),
        mutex.try_lock().unwrap(),
        mutex.try_lock_for(SHORT).unwrap(),
        mutex.try_lock_until(Instant::now()).unwrap(),
    ];
    assert!(mutex.is_owned_by_current_thread());
    guards[0].borrow_mut().push(1);
    thread::scope(|s| {
        let other = spawn(s, || mutex.lock().borrow().len());
        while let Some(guard) = guards.pop() {
            other.until_asleep_in(&mutex);
            threads(1, |_| {
                assert!(mutex.try_lock().is_none() && mutex.try_lock_for(SHORT).is_none());
                assert!(!mutex.is_owned_by_current_thread());
            });
            drop(guard);
        }
        assert_eq!(other.join(), 2);
    });
    assert!(!mutex.is_locked());
}

#[test]
fn rlock_7_no_later_thread_inherits_what_an_ended_thread_owned() {
    let _watchdog = watchdog();
    static LEFT: ReentrantMutex<()> = ReentrantMutex::new(());
    let owner = Thread::new(|| std::mem::forget(LEFT.lock()));
    owner.start().unwrap();
    owner.join().unwrap();
    // Later threads get the stacks, pthread ids and thread-locals of ended ones.
    for _ in 0..50 {
        threads(2, |_| assert!(LEFT.try_lock().is_none()));
        common::witness::run(|| assert!(LEFT.try_lock().is_none()));
    }
    assert!(LEFT.is_locked());
}

#[test]
fn mod_9_a_thread_id_is_never_given_again() {
    let _watchdog = watchdog();
    let id = || RawThreadId::INIT.nonzero_thread_id();
    let mut seen = HashSet::from([id()]);
    assert_eq!(id().get() as u64, get_ident());
    for _ in 0..50 {
        for (first, second) in threads(4, |_| (id(), id())) {
            assert_eq!(first, second, "a thread keeps its own");
            assert!(seen.insert(first), "given twice");
        }
    }
    // Also where it is asked for last: in the destructor of a thread-local.
    struct Asks;
    impl Drop for Asks {
        fn drop(&mut self) {
            assert_eq!(Some(RawThreadId.nonzero_thread_id().get()), MINE.get());
            let _guard = COUNT.lock();
            let inner = COUNT.lock();
            inner.set(inner.get() + 1);
        }
    }
    static COUNT: ReentrantMutex<Cell<u32>> = ReentrantMutex::new(Cell::new(0));
    thread_local! {
        static MINE: Cell<Option<usize>> = const { Cell::new(None) };
        static ASKS: Asks = const { Asks };
    }
    threads(3, |_| {
        ASKS.with(|_| ());
        MINE.set(Some(id().get()));
    });
    until(|| COUNT.lock().get() == 3);
}

#[test]
fn lock_11_there_is_no_fair_unlock() {
    // So what is asked of `lock_api` for that does not compile, instead of not doing it.
    is_not!(RawMutex: Fair);
    use lock_api::RawMutexFair as Fair;
    // `Fair` is the trait: parking_lot's lock has it.
    const fn fair<T: Fair>() {}
    const _: () = fair::<parking_lot::RawMutex>();
}

#[test]
fn errors_leave_waiters_alone() {
    let _watchdog = watchdog();
    let mutex = held();
    thread::scope(|s| {
        let waiter = spawn(s, || drop(mutex.lock()));
        waiter.until_asleep_in(&mutex);
        assert_eq!(
            mutex.lock_timeout(TOO_LONG).err(),
            Some(Error::TimeoutTooLarge)
        );
        waiter.until_asleep_in(&mutex);
        // SAFETY: locked by this thread, which has no guard left.
        unsafe { mutex.force_unlock() };
        waiter.join();
    });
}

#[cfg(feature = "arc_lock")]
mod arc_lock {
    use super::*;
    use std::sync::Arc;
    use threadbare::{ArcMutexGuard, ArcReentrantMutexGuard};

    const _: () = shared::<ArcMutexGuard<u8>>();
    is_not!(ArcMutexGuard<u8>: Send);
    is_not!(ArcReentrantMutexGuard<u8>: Send);

    #[test]
    fn a_guard_may_own_its_mutex() {
        let _watchdog = watchdog();
        let mutex = Arc::new(Mutex::new(vec![1]));
        let mut guard = mutex.lock_arc();
        guard.push(2);
        threads(1, |_| {
            assert!(mutex.try_lock_arc().is_none());
            assert!(mutex.try_lock_arc_for(SHORT).is_none());
        });
        let weak = Arc::downgrade(&mutex);
        drop(mutex);
        assert_eq!(*guard, [1, 2]);
        assert!(weak.upgrade().is_some_and(|mutex| mutex.is_locked()));
        drop(guard);
        assert!(weak.upgrade().is_none(), "the guard was the last owner");
    }

    #[test]
    fn a_guard_may_own_its_reentrant_mutex() {
        let mutex = Arc::new(ReentrantMutex::new(1));
        let (outer, inner) = (mutex.lock_arc(), mutex.lock_arc());
        drop(outer);
        assert!(mutex.is_owned_by_current_thread());
        drop(mutex);
        assert_eq!(*inner, 1);
    }
}

#[cfg(feature = "serde")]
#[test]
fn serde_reads_and_writes_the_value() {
    let mutex = Mutex::new(vec![1, 2]);
    let text = serde_json::to_string(&mutex).unwrap();
    assert_eq!(text, "[1,2]");
    let read: Mutex<Vec<i32>> = serde_json::from_str(&text).unwrap();
    assert!(!mutex.is_locked() && !read.is_locked());
    assert_eq!(read.into_inner(), [1, 2]);
    let reentrant = ReentrantMutex::new(3);
    let _guard = reentrant.lock();
    assert_eq!(serde_json::to_string(&reentrant).unwrap(), "3");
    let read: ReentrantMutex<i32> = serde_json::from_str("3").unwrap();
    assert_eq!(*read.lock(), 3);
}
