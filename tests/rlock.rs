//! `RLock` (RLOCK, MEM-1, REPR-1).
#![cfg(not(threadbare_model))]

mod common;

use common::{
    LONG, Rng, SHORT, TOO_LONG, Unsynchronized, after, check_destroyed_by_the_last_user,
    check_excludes, check_given_up_when_held, check_taken_when_free, check_taken_when_released,
    check_too_large_is_refused, spawn, threads, until, watchdog,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;
use threadbare::{Deadline, Error, ErrorKind, RLock, TIMEOUT_MAX, Thread};

const fn shared_and_sent<T: Send + Sync>() {}
const _: () = shared_and_sent::<RLock>();
const _: () = assert!(size_of::<RLock>() == 40);

/// Acquires `lock` in every form, as its owner.
fn acquire_in_every_form(lock: &RLock) -> u32 {
    lock.acquire();
    assert!(lock.try_acquire());
    assert_eq!(lock.acquire_timeout(Duration::ZERO), Ok(true));
    assert_eq!(lock.acquire_timeout(SHORT), Ok(true));
    assert_eq!(lock.acquire_timeout(TIMEOUT_MAX), Ok(true));
    assert!(lock.acquire_until(Deadline::now()));
    assert!(lock.acquire_until(Deadline::NEVER));
    assert_eq!(lock.acquire_interruptible(Deadline::now()), Ok(true));
    assert_eq!(lock.acquire_interruptible(after(LONG)), Ok(true));
    9
}

#[test]
fn rlock_1_is_created_free() {
    static LOCK: RLock = RLock::new();
    for lock in [&LOCK, &RLock::default()] {
        assert!(!lock.locked() && !lock.is_owned() && !lock.has_waiters());
        assert_eq!(lock.recursion_count(), 0);
    }
}

#[test]
fn rlock_2_the_owner_acquires_again_at_once_in_every_form() {
    let _watchdog = watchdog();
    let lock = RLock::new();
    lock.acquire();
    let depth = 1 + acquire_in_every_form(&lock);
    assert_eq!(lock.recursion_count(), depth);
    for left in (0..depth).rev() {
        assert_eq!(lock.release(), Ok(()));
        assert_eq!(lock.recursion_count(), left);
    }
    assert!(!lock.locked());
}

#[test]
fn rlock_2_the_depth_is_checked() {
    let _watchdog = watchdog();
    const MAX_DEPTH: u32 = i32::MAX as u32;
    let lock = RLock::new();
    lock.acquire();
    // Two thousand million acquires take too long, so the depth is written where it lies.
    let depth = ptr::from_ref(&lock)
        .cast::<u32>()
        .cast_mut()
        .wrapping_add(4);
    // SAFETY: a cell of the lock's, within it and aligned, that only its owner, this thread, uses.
    unsafe { depth.write(MAX_DEPTH - 1) };
    assert_eq!(lock.recursion_count(), MAX_DEPTH - 1, "it lies elsewhere");
    assert_eq!(lock.acquire_timeout(Duration::ZERO), Ok(true));
    assert_eq!(lock.recursion_count(), MAX_DEPTH);

    assert_eq!(lock.acquire_timeout(SHORT), Err(Error::TooDeep));
    assert_eq!(
        lock.acquire_interruptible(Deadline::NEVER),
        Err(Error::TooDeep)
    );
    let forms: [(&str, &dyn Fn()); 4] = [
        ("acquire", &|| lock.acquire()),
        ("try_acquire", &|| assert!(lock.try_acquire())),
        ("acquire_until", &|| {
            assert!(lock.acquire_until(Deadline::NEVER))
        }),
        ("guard", &|| drop(lock.guard())),
    ];
    for (name, form) in forms {
        let payload = catch_unwind(AssertUnwindSafe(form)).expect_err(name);
        let text = payload.downcast_ref::<String>().unwrap();
        assert_eq!(*text, Error::TooDeep.to_string(), "{name}");
    }
    assert_eq!(lock.recursion_count(), MAX_DEPTH, "an error changed it");
    assert_eq!(Error::TooDeep.kind(), ErrorKind::Overflow);
    assert_eq!(lock.release(), Ok(()));
    assert_eq!(lock.recursion_count(), MAX_DEPTH - 1);
}

#[test]
fn rlock_3_every_form_takes_a_free_lock() {
    let _watchdog = watchdog();
    let lock = RLock::new();
    check_taken_when_free(&lock);
    assert!(!lock.locked());
    assert!(lock.acquire_until(Deadline::now()));
    assert!(lock.is_owned() && lock.recursion_count() == 1);
}

#[test]
fn rlock_3_others_give_up_when_their_time_is_up() {
    let _watchdog = watchdog();
    let lock = RLock::new();
    lock.acquire();
    check_given_up_when_held(&lock);
    assert_eq!(lock.recursion_count(), 1);
}

#[test]
fn rlock_3_others_go_on_when_the_owner_releases_and_own_it_once() {
    let _watchdog = watchdog();
    let lock = RLock::new();
    lock.acquire();
    check_taken_when_released(&lock, |tid| {
        tid.until_asleep_in(&lock);
        assert!(lock.has_waiters());
    });
    thread::scope(|s| {
        let waiter = spawn(s, || {
            lock.acquire();
            assert!(lock.is_owned());
            assert_eq!(lock.recursion_count(), 1);
            let depth = acquire_in_every_form(&lock);
            for _ in 0..=depth {
                assert_eq!(lock.release(), Ok(()));
            }
        });
        waiter.until_asleep_in(&lock);
        lock.release().unwrap();
    });
    assert!(!lock.locked());
}

#[test]
fn rlock_4_a_timeout_that_is_too_large_errs_for_the_owner_too() {
    let _watchdog = watchdog();
    let lock = RLock::new();
    check_too_large_is_refused(&lock);
    lock.acquire();
    assert_eq!(lock.acquire_timeout(TOO_LONG), Err(Error::TimeoutTooLarge));
    assert_eq!(lock.recursion_count(), 1);
}

#[test]
fn rlock_5_only_the_last_release_frees_it() {
    let _watchdog = watchdog();
    const DEPTH: usize = 4;
    let lock = RLock::new();
    for _ in 0..DEPTH {
        lock.acquire();
    }
    let proceeded = AtomicUsize::new(0);
    thread::scope(|s| {
        let take = || {
            lock.acquire();
            proceeded.fetch_add(1, SeqCst);
            lock.release().unwrap();
        };
        let waiters = [(); 3].map(|()| spawn(s, take));
        for waiter in &waiters {
            waiter.until_asleep_in(&lock);
        }
        for left in (1..DEPTH).rev() {
            assert_eq!(lock.release(), Ok(()));
            assert_eq!(lock.recursion_count() as usize, left);
            threads(1, |_| assert!(!lock.try_acquire()));
            assert_eq!(proceeded.load(SeqCst), 0);
        }
        assert_eq!(lock.release(), Ok(()));
        until(|| proceeded.load(SeqCst) == 3);
    });
    assert!(!lock.locked());
}

#[test]
fn rlock_5_the_last_release_lets_one_waiter_proceed() {
    let _watchdog = watchdog();
    const WAITERS: usize = 4;
    let lock = RLock::new();
    lock.acquire();
    let (proceeded, may_release) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|s| {
        let take = || {
            lock.acquire();
            let turn = proceeded.fetch_add(1, SeqCst) + 1;
            until(|| may_release.load(SeqCst) >= turn);
            lock.release().unwrap();
        };
        let waiters = [(); WAITERS].map(|()| spawn(s, take));
        for waiter in &waiters {
            waiter.until_asleep_in(&lock);
        }
        lock.release().unwrap();
        for turn in 1..=WAITERS {
            until(|| proceeded.load(SeqCst) == turn);
            assert!(lock.locked() && !lock.try_acquire());
            assert_eq!(proceeded.load(SeqCst), turn);
            may_release.store(turn, SeqCst);
        }
    });
    assert!(!lock.locked());
}

#[test]
fn rlock_6_release_by_who_does_not_own_it_errs_and_changes_nothing() {
    let _watchdog = watchdog();
    let lock = RLock::new();
    assert_eq!(lock.release(), Err(Error::NotOwner));
    assert!(!lock.locked());
    lock.acquire();
    lock.acquire();
    threads(2, |_| assert_eq!(lock.release(), Err(Error::NotOwner)));
    assert_eq!(lock.recursion_count(), 2);
    lock.release().unwrap();
    lock.release().unwrap();
    assert_eq!(lock.release(), Err(Error::NotOwner));
    check_taken_when_free(&lock);
    assert_eq!(Error::NotOwner.kind(), ErrorKind::Runtime);
}

#[test]
fn rlock_7_no_later_thread_inherits_what_an_ended_thread_owned() {
    let _watchdog = watchdog();
    let std_left = RLock::new();
    threads(1, |_| std_left.acquire());
    static OWN_LEFT: RLock = RLock::new();
    let owner = Thread::new(|| OWN_LEFT.acquire());
    owner.start().unwrap();
    owner.join().unwrap();
    for lock in [&std_left, &OWN_LEFT] {
        // Later threads get the stacks, pthread ids and thread-locals of ended ones, and with
        // some luck their kernel ids.
        for _ in 0..50 {
            threads(2, |_| {
                assert!(lock.locked() && !lock.is_owned() && !lock.try_acquire());
                assert_eq!(lock.release(), Err(Error::NotOwner));
                assert_eq!(lock.recursion_count(), 0);
            });
        }
        assert_eq!(lock.acquire_timeout(SHORT), Ok(false));
    }
    for _ in 0..50 {
        let later = Thread::new(|| assert!(!OWN_LEFT.is_owned() && !OWN_LEFT.try_acquire()));
        later.start().unwrap();
        later.join().unwrap();
    }
    assert!(OWN_LEFT.locked() && std_left.locked());
}

#[test]
fn rlock_8_ownership_and_depth_are_the_callers_own() {
    let _watchdog = watchdog();
    let lock = RLock::new();
    for depth in 1..=5 {
        lock.acquire();
        assert!(lock.is_owned());
        assert_eq!(lock.recursion_count(), depth);
        threads(1, |_| {
            assert!(!lock.is_owned());
            assert_eq!(lock.recursion_count(), 0);
        });
    }
    for depth in (0..5).rev() {
        lock.release().unwrap();
        assert_eq!(lock.is_owned(), depth > 0);
    }
}

#[test]
fn rlock_9_locked_tells_of_any_owner() {
    let _watchdog = watchdog();
    let lock = RLock::new();
    lock.acquire();
    assert!(lock.locked());
    threads(1, |_| assert!(lock.locked()));
    lock.release().unwrap();
    assert!(!lock.locked());
}

#[test]
fn rlock_11_nobody_takes_another_for_itself() {
    let _watchdog = watchdog();
    let lock = RLock::new();
    threads(5, |number| {
        for round in 0..8_000 {
            assert!(!lock.is_owned(), "while others come and go");
            assert_eq!(lock.recursion_count(), 0);
            if number == 0 {
                continue; // one only looks
            }
            assert_eq!(lock.release(), Err(Error::NotOwner));
            lock.acquire();
            lock.acquire();
            assert!(lock.is_owned() && lock.recursion_count() == 2);
            if round % 64 == 0 {
                thread::yield_now();
            }
            lock.release().unwrap();
            assert!(lock.is_owned() && lock.recursion_count() == 1);
            lock.release().unwrap();
        }
    });
}

#[test]
fn mem_1_threads_with_random_timeouts_exclude_each_other_and_lose_no_wake() {
    let _watchdog = watchdog();
    check_excludes(&RLock::new(), 6, 15_000);
}

#[test]
fn mem_1_nested_sections_exclude_each_other() {
    let _watchdog = watchdog();
    let lock = RLock::new();
    let shared = Unsynchronized::new(0_usize);
    let added: usize = threads(4, |_| {
        let mut rng = Rng::new();
        let mut added = 0;
        for _ in 0..5_000 {
            let mut depth = 0;
            for _ in 0..=rng.below(4) {
                depth += usize::from(lock.acquire_timeout(rng.timeout()).unwrap());
            }
            if depth > 0 {
                assert_eq!(lock.recursion_count() as usize, depth);
                // SAFETY: under the lock.
                unsafe { *shared.get() += 1 };
                added += 1;
            }
            for _ in 0..depth {
                lock.release().unwrap();
            }
        }
        added
    })
    .into_iter()
    .sum();
    assert_eq!(shared.into_inner(), added);
    assert!(!lock.locked());
}

#[test]
fn rlock_free_after_release_the_last_user_may_destroy_it() {
    let _watchdog = watchdog();
    let held = || {
        let lock = RLock::new();
        lock.acquire();
        lock.acquire();
        lock
    };
    let release = |lock: &RLock| {
        lock.release().unwrap();
        lock.release().unwrap();
    };
    let take = |lock: &RLock| {
        lock.acquire();
        lock.release().unwrap();
    };
    check_destroyed_by_the_last_user(4_000, held, RLock::has_waiters, release, take);
}

#[test]
fn repr_1_debug_is_pythons_text_and_does_not_block() {
    let _watchdog = watchdog();
    let lock = RLock::new();
    let address = format!("{:p}", &lock);
    assert_eq!(
        format!("{lock:?}"),
        format!("<unlocked threadbare.RLock object owner=0 count=0 at {address}>")
    );
    lock.acquire();
    lock.acquire();
    let text = format!("{lock:?}");
    assert!(text.starts_with("<locked threadbare.RLock object owner="));
    assert!(!text.contains("owner=0 "));
    assert!(text.ends_with(&format!(" count=2 at {address}>")), "{text}");
    threads(1, |_| {
        let text = format!("{lock:?}");
        assert!(text.ends_with(&format!(" count=? at {address}>")), "{text}");
    });
}
