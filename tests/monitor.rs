//! `Monitor` (LOCK, COND, WITH).
#![cfg(not(threadbare_model))]

mod common;

use common::typed::Watched;
use common::{
    LONG, SHORT, TOO_LONG, check_destroyed_by_the_last_user, check_excludes,
    check_given_up_when_held, check_taken_when_free, check_taken_when_released,
    check_too_large_is_refused, spawn, threads, until, watchdog,
};
use std::cell::Cell;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::rc::Rc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;
use threadbare::{Deadline, Error, Monitor, MonitorGuard, Thread};

const fn shared_and_sent<T: Send + Sync>() {}
const _: () = shared_and_sent::<Monitor<Cell<u8>>>();
is_not!(Monitor<Rc<u8>>: Send);
is_not!(Monitor<Rc<u8>>: Sync);
// A guard is not shared either: whoever has a reference to it may notify.
is_not!(MonitorGuard<'static, u8>: Send);
is_not!(MonitorGuard<'static, u8>: Sync);

/// How many threads wait; takes the lock to ask.
fn waiting<T: ?Sized>(monitor: &Monitor<T>) -> usize {
    monitor.lock().waiting()
}

/// Runs a generic check with a monitor.
macro_rules! on_a_monitor {
    ($check:path) => {
        $check(&Watched::new(&Monitor::new(())))
    };
}

waiting_tests!(on_a_monitor);

#[test]
fn lock_1_is_created_unlocked_also_in_a_static() {
    static MONITOR: Monitor<[u8; 3]> = Monitor::new([1, 2, 3]);
    assert!(!MONITOR.is_locked());
    MONITOR.lock()[0] = 4;
    assert_eq!(*MONITOR.lock(), [4, 2, 3]);
    let default: Monitor<u8> = Monitor::default();
    assert!(!default.is_locked() && default.into_inner() == 0);
    let mut from = Monitor::from("value");
    *from.get_mut() = "other";
    assert_eq!(from.into_inner(), "other");
}

#[test]
fn lock_2_to_8_every_form_of_lock_does_what_that_of_a_lock_does() {
    let _watchdog = watchdog();
    let monitor = Monitor::new(());
    let it = Watched::new(&monitor);
    check_taken_when_free(&it);
    check_too_large_is_refused(&it);
    it.keep(monitor.lock());
    check_given_up_when_held(&it);
    check_taken_when_released(&it, |tid| {
        tid.until_asleep_in(&monitor);
        assert!(monitor.has_waiters());
    });
    drop(it.kept());
    assert!(!monitor.is_locked());
}

#[test]
fn lock_12_threads_with_random_timeouts_exclude_each_other_and_lose_no_wake() {
    let _watchdog = watchdog();
    check_excludes(&Watched::new(&Monitor::new(())), 6, 10_000);
}

#[test]
fn lock_3_a_thread_that_has_it_is_told_so_instead_of_waiting_for_itself() {
    let _watchdog = watchdog();
    let monitor = Monitor::new(1);
    let mut guard = monitor.lock();
    let again: [fn(&Monitor<i32>); 8] = [
        |it| drop(it.lock()),
        |it| drop(it.lock_timeout(SHORT)),
        |it| drop(it.lock_timeout(LONG)),
        |it| drop(it.lock_until(Deadline::now())),
        |it| drop(it.lock_until(Deadline::NEVER)),
        |it| drop(it.lock_interruptible(Deadline::NEVER)),
        |it| drop(it.lock_checked(Deadline::NEVER, || false)),
        |it| drop(it.lock_checked(Deadline::now(), || unreachable!("it does not wait"))),
    ];
    for (place, again) in again.into_iter().enumerate() {
        let panicked = catch_unwind(AssertUnwindSafe(|| again(&monitor)));
        let payload = panicked.expect_err(&format!("form {place}"));
        let text: Option<&&str> = payload.downcast_ref();
        assert!(text.is_some_and(|text| text.contains("holds already")));
    }
    assert!(monitor.try_lock().is_none());
    assert!(monitor.lock_timeout(Duration::ZERO).unwrap().is_none());
    assert_eq!(
        monitor.lock_timeout(TOO_LONG).err(),
        Some(Error::TimeoutTooLarge)
    );
    // It is held as before, once.
    *guard = 2;
    threads(1, |_| assert!(monitor.try_lock().is_none()));
    assert_eq!(guard.wait_timeout(SHORT), Ok(false));
    drop(guard);
    assert!(!monitor.is_locked() && *monitor.lock() == 2);
}

#[test]
fn lock_3_the_message_names_the_place_that_locked_twice() {
    static PLACES: Monitor<Vec<u32>> = Monitor::new(Vec::new());
    let _watchdog = watchdog();
    let monitor = Monitor::new(1);
    let _guard = monitor.lock();
    let before = take_hook();
    set_hook(Box::new(move |panic| {
        let here = panic.location().filter(|it| it.file() == file!());
        PLACES.lock().extend(here.map(|it| it.line()));
        before(panic);
    }));
    let (line, caught) = (line!(), catch_unwind(AssertUnwindSafe(|| monitor.lock())));
    drop(take_hook());
    assert!(caught.is_err() && PLACES.lock().contains(&line));
}

#[test]
fn lock_14_a_panic_releases_it_and_poisons_nothing() {
    let _watchdog = watchdog();
    let monitor = Monitor::new(1);
    thread::scope(|s| {
        let waiter = spawn(s, || {
            let mut guard = monitor.lock();
            guard.wait_while(|value| *value == 1);
            *guard
        });
        until(|| waiting(&monitor) == 1);
        waiter.until_asleep();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let mut guard = monitor.lock();
            *guard = 2;
            guard.notify_one(); // the release by the panic is what wakes it
            panic!("while it is locked");
        }));
        assert!(panicked.is_err());
        assert_eq!(waiter.join(), 2);
    });
    assert!(!monitor.is_locked());
}

#[test]
fn cond_5_a_wait_gives_up_its_own_monitor_and_no_other() {
    let _watchdog = watchdog();
    let (outer, inner) = (Monitor::new(()), Monitor::new(()));
    let outer_guard = outer.lock();
    let mut inner_guard = inner.lock();
    thread::scope(|s| {
        s.spawn(|| {
            let guard = inner.lock(); // possible once the other waits
            assert!(outer.try_lock().is_none());
            assert!(guard.notify_one());
        });
        inner_guard.wait();
    });
    drop(outer_guard);
    assert!(!outer.is_locked() && inner.is_locked());
}

#[test]
fn cond_14_a_crowd_is_woken_by_the_release_inside_a_wait_and_beside_others_on_the_lock() {
    let _watchdog = watchdog();
    const CROWD: usize = 100; // more than one release wakes by itself
    let monitor = Monitor::new(0);
    thread::scope(|s| {
        let waiters: Vec<_> = (0..CROWD)
            .map(|_| {
                spawn(s, || {
                    let mut back = monitor.lock();
                    back.wait();
                    *back += 1;
                    if *back == CROWD {
                        assert!(back.notify_one()); // the test itself
                    }
                })
            })
            .collect();
        until(|| waiting(&monitor) == CROWD);
        waiters.iter().for_each(|waiter| waiter.until_asleep());
        let mut guard = monitor.lock();
        // Some sleep on the lock itself when the rest is moved there.
        let others = [(); 4].map(|()| spawn(s, || drop(monitor.lock())));
        others
            .iter()
            .for_each(|other| other.until_asleep_in(&monitor));
        assert_eq!(guard.notify_all(), CROWD);
        guard.wait();
        assert_eq!(*guard, CROWD);
    });
    assert!(!monitor.is_locked() && waiting(&monitor) == 0);
}

#[test]
fn cond_17_predicates_see_and_change_the_value() {
    let _watchdog = watchdog();
    let monitor = Monitor::new(vec![1, 2, 3]);
    let mut guard = monitor.lock();
    // `true` goes on waiting: what else runs meanwhile is another thread.
    thread::scope(|s| {
        s.spawn(|| {
            let mut guard = monitor.lock();
            guard.push(4);
            guard.notify_one();
        });
        let mut calls = 0;
        guard.wait_while(|list| {
            calls += 1;
            assert!(monitor.try_lock().is_none(), "lent to the predicate alone");
            list.len() < 4
        });
        assert_eq!(calls, 2);
    });
    let taken = guard.wait_timeout_while(LONG, |list| list.pop().is_none());
    assert_eq!((taken, guard.len()), (Ok(true), 3));
    let taken = guard.wait_until_while(Deadline::now(), |list| list.pop() != Some(2));
    assert_eq!(
        (taken, guard.len()),
        (true, 1),
        "twice, once after the wait"
    );
    assert_eq!(
        guard.wait_timeout_while(SHORT, |list| list.len() == 1),
        Ok(false)
    );
}

#[test]
fn cond_stress_a_bounded_queue_loses_nothing() {
    let _watchdog = watchdog();
    const ITEMS: usize = 2_000;
    const CAPACITY: usize = 4;
    let queue = Monitor::new(Vec::new());
    let consumed = threads(4, |number| {
        let mut sum = 0;
        for item in 0..ITEMS {
            let mut queue = queue.lock();
            if number % 2 == 0 {
                queue.wait_while(|queue| queue.len() == CAPACITY);
                queue.push(item);
            } else {
                queue.wait_while(|queue| queue.is_empty());
                sum += queue.pop().unwrap();
            }
            queue.notify_all();
        }
        sum
    });
    assert_eq!(consumed.into_iter().sum::<usize>(), ITEMS * (ITEMS - 1));
    assert!(queue.into_inner().is_empty());
}

#[test]
fn cond_22_waiters_whose_stacks_go_at_once_are_not_touched() {
    let _watchdog = watchdog();
    let monitor = Monitor::new(());
    for round in 0..150 {
        thread::scope(|s| {
            for _ in 0..3 {
                s.spawn(|| {
                    let timeout = Duration::from_micros(round * 5);
                    monitor.lock().wait_timeout(timeout).unwrap();
                });
            }
            for _ in 0..20 {
                monitor.lock().notify_all();
            }
        });
    }
    assert_eq!(waiting(&monitor), 0);
}

#[test]
fn cond_22_the_last_user_may_destroy_it() {
    let _watchdog = watchdog();
    let asleep = |monitor: &Monitor<bool>| waiting(monitor) == 1;
    let set = |monitor: &Monitor<bool>| {
        let mut guard = monitor.lock();
        *guard = true;
        guard.notify_all();
    };
    let wait = |monitor: &Monitor<bool>| monitor.lock().wait_while(|is_set| !*is_set);
    check_destroyed_by_the_last_user(800, || Monitor::symmetric(false), asleep, set, wait);
}

#[test]
fn with_5_a_forgotten_guard_leaves_it_locked_and_nothing_worse() {
    let _watchdog = watchdog();
    let monitor = Monitor::new(1);
    std::mem::forget(monitor.lock());
    threads(2, |_| {
        assert!(monitor.lock_timeout(SHORT).unwrap().is_none())
    });
    assert!(catch_unwind(AssertUnwindSafe(|| drop(monitor.lock()))).is_err());
    // Moved while it is locked: nobody can wait.
    let mut moved = Box::new(monitor);
    *moved.get_mut() += 1;
    assert!(moved.is_locked() && moved.try_lock().is_none());
    assert_eq!(format!("{moved:?}"), "Monitor { value: <locked> }");
    // SAFETY: the monitor is this thread's alone, and the guard is forgotten.
    unsafe { moved.at_fork_reinit() };
    assert_eq!(*moved.lock(), 2);
    assert_eq!(moved.into_inner(), 2);
}

#[test]
fn with_5_a_guard_forgotten_after_a_notify_leaves_those_it_woke_to_wait_for_the_lock() {
    let _watchdog = watchdog();
    static MONITOR: Monitor<u8> = Monitor::new(0);
    // They wait for ever: daemons.
    let returned = &*Box::leak(Box::new(AtomicUsize::new(0)));
    for _ in 0..2 {
        let waits = Thread::builder().daemon(true).target(|| {
            MONITOR.lock().wait();
            returned.fetch_add(1, SeqCst);
        });
        waits.spawn().unwrap();
    }
    until(|| waiting(&MONITOR) == 2);
    let guard = MONITOR.lock();
    assert_eq!(guard.notify_all(), 2);
    std::mem::forget(guard);
    threads(2, |_| {
        assert!(MONITOR.lock_timeout(SHORT).unwrap().is_none())
    });
    assert_eq!(returned.load(SeqCst), 0);
}

#[test]
fn rlock_7_no_later_thread_inherits_what_an_ended_thread_owned() {
    let _watchdog = watchdog();
    static LEFT: Monitor<u8> = Monitor::new(0);
    let owner = Thread::new(|| std::mem::forget(LEFT.lock()));
    owner.start().unwrap();
    owner.join().unwrap();
    for _ in 0..50 {
        // It would panic in the owner.
        let refused = || assert!(LEFT.lock_until(Deadline::now()).is_none());
        threads(2, |_| refused());
        common::witness::run(refused);
    }
}

#[test]
fn a_monitor_holds_what_has_no_size() {
    let _watchdog = watchdog();
    let numbers: &Monitor<[i32]> = &Monitor::new([1, 2, 3]);
    numbers.lock()[1] = 5;
    numbers.lock().wait_while(|numbers| numbers.len() != 3);
    assert_eq!(*numbers.lock(), [1, 5, 3]);
    let text: Box<Monitor<dyn Debug + Send>> = Box::new(Monitor::new("text"));
    assert_eq!(text.lock().wait_timeout_while(SHORT, |_| true), Ok(false));
    assert_eq!(format!("{text:?}"), "Monitor { value: \"text\" }");
}

#[test]
fn debug_shows_the_value_or_that_it_is_locked() {
    let monitor = Monitor::new(7);
    assert_eq!(format!("{monitor:?}"), "Monitor { value: 7 }");
    let guard = monitor.lock();
    assert_eq!(format!("{monitor:?}"), "Monitor { value: <locked> }");
    assert_eq!(format!("{guard:?} {guard}"), "7 7");
    drop(guard);
    threads(1, |_| {
        assert_eq!(format!("{monitor:?}"), "Monitor { value: 7 }")
    });
}
