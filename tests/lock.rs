//! `Lock` (LOCK, MEM-1, REPR-1).
#![cfg(not(threadbare_model))]

mod common;

use common::{
    Rng, SHORT, TOO_LONG, Tid, Unsynchronized, after, check_destroyed_by_the_last_user,
    check_excludes, check_given_up_when_held, check_taken_when_free, check_taken_when_released,
    check_too_large_is_refused, spawn, threads, until, until_nearly, watchdog,
};
use nix::libc;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::thread;
use std::time::Duration;
use threadbare::{Error, ErrorKind, Lock, TIMEOUT_MAX, Thread};

const fn shared_and_sent<T: Send + Sync>() {}
const _: () = shared_and_sent::<Lock>();
const _: () = assert!(size_of::<Lock>() == 4 && align_of::<Lock>() == 4);

#[test]
fn lock_1_is_created_unlocked() {
    static LOCK: Lock = Lock::new();
    assert!(!LOCK.locked() && !Lock::new().locked() && !Lock::default().locked());
    assert!(!LOCK.has_waiters());
}

#[test]
fn lock_2_every_form_takes_an_unlocked_lock() {
    let _watchdog = watchdog();
    let lock = Lock::new();
    check_taken_when_free(&lock);
    assert!(!lock.locked());
}

#[test]
fn lock_3_every_waiting_form_goes_on_when_it_gets_the_lock() {
    let _watchdog = watchdog();
    let lock = Lock::new();
    lock.acquire();
    check_taken_when_released(&lock, |tid| {
        tid.until_asleep_in(&lock);
        assert!(lock.has_waiters());
    });
}

#[test]
fn lock_3_the_holder_itself_waits_until_any_thread_releases() {
    let _watchdog = watchdog();
    let lock = Lock::new();
    thread::scope(|s| {
        let holder = spawn(s, || {
            lock.acquire();
            lock.acquire();
            lock.release()
        });
        holder.until_asleep_in(&lock);
        assert_eq!(lock.release(), Ok(()));
        assert_eq!(holder.join(), Ok(()));
    });
    assert!(!lock.locked());
}

#[test]
fn lock_4_and_5_forms_with_an_end_give_up_a_locked_lock() {
    let _watchdog = watchdog();
    let lock = Lock::new();
    lock.acquire();
    check_given_up_when_held(&lock);
    assert!(!lock.try_acquire(), "nor does its holder get it");
    assert_eq!(lock.acquire_timeout(SHORT), Ok(false));
}

#[test]
fn lock_7_a_timeout_that_is_too_large_errs_even_if_the_lock_is_free() {
    let _watchdog = watchdog();
    let lock = Lock::new();
    check_too_large_is_refused(&lock);
    assert_eq!(lock.acquire_timeout(TIMEOUT_MAX), Ok(true));
    assert_eq!(Error::TimeoutTooLarge.kind(), ErrorKind::Overflow);
}

#[test]
fn lock_8_after_an_expired_attempt_the_lock_works_as_before() {
    let _watchdog = watchdog();
    let lock = Lock::new();
    lock.acquire();
    threads(4, |_| assert_eq!(lock.acquire_timeout(SHORT), Ok(false)));
    assert!(lock.locked());
    assert_eq!(lock.release(), Ok(()));
    assert!(!lock.locked());
    check_taken_when_free(&lock);
}

#[test]
fn lock_9_any_thread_may_release() {
    let _watchdog = watchdog();
    let lock = Lock::new();
    lock.acquire();
    threads(1, |_| assert_eq!(lock.release(), Ok(())));
    assert!(!lock.locked());
    threads(1, |_| lock.acquire());
    assert!(lock.locked(), "it outlives the thread that took it");
    assert_eq!(lock.release(), Ok(()));
}

#[test]
fn lock_10_release_of_an_unlocked_lock_errs_and_changes_nothing() {
    let _watchdog = watchdog();
    let lock = Lock::new();
    for _ in 0..3 {
        assert_eq!(lock.release(), Err(Error::ReleaseUnlocked));
        assert!(!lock.locked());
    }
    check_taken_when_free(&lock);
    assert_eq!(lock.release(), Err(Error::ReleaseUnlocked));
    assert_eq!(Error::ReleaseUnlocked.kind(), ErrorKind::Runtime);
}

#[test]
fn lock_10_of_racing_releases_of_one_acquisition_exactly_one_succeeds() {
    let _watchdog = watchdog();
    const ROUNDS: usize = 5_000;
    const RACERS: usize = 3;
    let lock = Lock::new();
    let (round, arrived, released) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    threads(RACERS, |number| {
        for current in 1..=ROUNDS {
            if number == 0 {
                assert_eq!(released.load(SeqCst), current - 1);
                lock.acquire();
                round.store(current, SeqCst);
            }
            until(|| round.load(SeqCst) == current);
            if lock.release().is_ok() {
                released.fetch_add(1, SeqCst);
            }
            arrived.fetch_add(1, SeqCst);
            until(|| arrived.load(SeqCst) >= current * RACERS);
        }
    });
    assert_eq!(released.into_inner(), ROUNDS);
}

#[test]
fn lock_11_each_release_lets_exactly_one_waiter_proceed() {
    let _watchdog = watchdog();
    const WAITERS: usize = 5;
    let lock = Lock::new();
    lock.acquire();
    let proceeded = AtomicUsize::new(0);
    thread::scope(|s| {
        let take = || {
            lock.acquire(); // and nobody but the test releases
            proceeded.fetch_add(1, SeqCst);
        };
        let waiters = [(); WAITERS].map(|()| spawn(s, take));
        for waiter in &waiters {
            waiter.until_asleep_in(&lock);
        }
        for released in 1..=WAITERS {
            assert_eq!(lock.release(), Ok(()));
            until(|| proceeded.load(SeqCst) == released);
            assert!(lock.locked() && !lock.try_acquire());
            assert_eq!(proceeded.load(SeqCst), released);
        }
        assert_eq!(lock.release(), Ok(()));
    });
    assert_eq!(lock.release(), Err(Error::ReleaseUnlocked));
}

#[test]
fn lock_11_a_newcomer_may_take_the_lock_before_the_woken_waiter() {
    let _watchdog = watchdog();
    let lock = Lock::new();
    // The waiter may be quicker, so this is tried until it was not.
    let mut overtaken = false;
    while !overtaken {
        lock.acquire();
        thread::scope(|s| {
            let waiter = spawn(s, || {
                lock.acquire();
                lock.release().unwrap();
            });
            waiter.until_asleep_in(&lock);
            lock.release().unwrap();
            overtaken = lock.try_acquire();
            if overtaken {
                lock.release().unwrap(); // the waiter gets its turn all the same
            }
        });
        assert!(!lock.locked());
    }
}

#[test]
fn lock_12_a_wake_is_not_lost_to_a_waiter_that_times_out() {
    let _watchdog = watchdog();
    let lock = Lock::new();
    for round in 0..400_u32 {
        lock.acquire();
        let deadline = after(Duration::from_micros(400));
        thread::scope(|s| {
            s.spawn(|| {
                if lock.acquire_until(deadline) {
                    lock.release().unwrap();
                }
            });
            let patient = spawn(s, || {
                lock.acquire(); // hangs if the wake went to one that gave up
                lock.release().unwrap();
            });
            patient.until_asleep_in(&lock);
            // Release around the moment at which the other gives up.
            let early = Duration::from_micros(u64::from(round % 20) * 10);
            until_nearly(deadline, early);
            lock.release().unwrap();
        });
        assert!(!lock.locked());
    }
}

#[test]
fn lock_12_threads_with_random_timeouts_exclude_each_other_and_lose_no_wake() {
    let _watchdog = watchdog();
    check_excludes(&Lock::new(), 6, 15_000);
}

#[test]
fn lock_13_locked_tells_the_state_now() {
    let lock = Lock::new();
    for _ in 0..2 {
        assert!(!lock.locked());
        lock.acquire();
        assert!(lock.locked());
        lock.release().unwrap();
    }
}

#[test]
fn lock_14_a_locked_lock_may_be_dropped() {
    let lock = Box::new(Lock::new());
    lock.acquire();
    drop(lock);
}

#[test]
fn lock_14_a_panic_poisons_nothing() {
    let lock = Lock::new();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        lock.acquire();
        panic!("while it is held");
    }));
    assert!(panicked.is_err() && lock.locked());
    assert_eq!(lock.release(), Ok(()));
    check_taken_when_free(&lock);
}

#[test]
fn lock_15_works_in_threads_that_the_crate_and_std_did_not_make() {
    let _watchdog = watchdog();
    static LOCK: Lock = Lock::new();
    static TID: Tid = Tid::new();

    extern "C" fn body(_: *mut c_void) -> *mut c_void {
        TID.is_mine();
        LOCK.acquire();
        let timed = LOCK.acquire_timeout(SHORT);
        let released = LOCK.release();
        assert_eq!((timed, released), (Ok(false), Ok(())));
        ptr::null_mut()
    }

    LOCK.acquire();
    let mut thread: libc::pthread_t = 0;
    // SAFETY: the pointers are valid or null as pthread_create(3) allows; `body` cannot unwind.
    let error = unsafe { libc::pthread_create(&mut thread, ptr::null(), body, ptr::null_mut()) };
    assert_eq!(error, 0);
    TID.until_asleep_in(&LOCK);
    LOCK.release().unwrap();
    // SAFETY: created above and joined once.
    assert_eq!(unsafe { libc::pthread_join(thread, ptr::null_mut()) }, 0);
    assert!(!LOCK.locked());
}

#[test]
fn lock_15_works_in_the_crates_own_threads() {
    let _watchdog = watchdog();
    static LOCK: Lock = Lock::new();
    static COUNT: Unsynchronized<usize> = Unsynchronized::new(0);
    let workers: Vec<Thread> = (0..4)
        .map(|_| {
            Thread::new(|| {
                for _ in 0..2_000 {
                    let _guard = LOCK.guard();
                    // SAFETY: under the lock.
                    unsafe { *COUNT.get() += 1 };
                }
            })
        })
        .collect();
    for worker in &workers {
        worker.start().unwrap();
    }
    for worker in &workers {
        worker.join().unwrap();
    }
    // SAFETY: all other threads have ended.
    assert_eq!(unsafe { *COUNT.get() }, 8_000);
}

#[test]
fn mem_1_what_happened_before_a_release_is_visible_to_the_next_holder() {
    let _watchdog = watchdog();
    // A pair of locks that two threads hand to each other, as a signal in either direction.
    let (to_second, to_first) = (Lock::new(), Lock::new());
    to_second.acquire();
    to_first.acquire();
    let data = Unsynchronized::new(0_usize);
    threads(2, |number| {
        let mut rng = Rng::new();
        let (mine, other) = match number {
            0 => (&to_first, &to_second),
            _ => (&to_second, &to_first),
        };
        if number == 0 {
            to_second.release().unwrap();
        }
        for turn in 0..10_000 {
            while !mine.acquire_timeout(rng.timeout()).unwrap() {}
            // SAFETY: it is this thread's turn.
            let data = unsafe { &mut *data.get() };
            assert_eq!(*data, 2 * turn + (1 - number));
            *data += 1;
            other.release().unwrap();
        }
    });
    assert_eq!(data.into_inner(), 20_000);
}

#[test]
fn lock_free_after_release_the_last_user_may_destroy_it() {
    let _watchdog = watchdog();
    let held = || {
        let lock = Lock::new();
        lock.acquire();
        lock
    };
    let take = |lock: &Lock| {
        lock.acquire();
        lock.release().unwrap();
    };
    let release = |lock: &Lock| lock.release().unwrap();
    check_destroyed_by_the_last_user(4_000, held, Lock::has_waiters, release, take);
}

#[test]
fn repr_1_debug_is_pythons_text_and_does_not_block() {
    let lock = Lock::new();
    let address = format!("{:p}", &lock);
    assert_eq!(
        format!("{lock:?}"),
        format!("<unlocked threadbare.Lock object at {address}>")
    );
    lock.acquire();
    assert_eq!(
        format!("{lock:?}"),
        format!("<locked threadbare.Lock object at {address}>")
    );
}

#[test]
fn lock_7_errors_leave_waiters_alone() {
    let _watchdog = watchdog();
    let lock = Lock::new();
    lock.acquire();
    let proceeded = AtomicUsize::new(0);
    thread::scope(|s| {
        let waiter = spawn(s, || {
            lock.acquire();
            proceeded.store(1, Relaxed);
        });
        waiter.until_asleep_in(&lock);
        assert_eq!(lock.acquire_timeout(TOO_LONG), Err(Error::TimeoutTooLarge));
        assert!(lock.has_waiters() && proceeded.load(Relaxed) == 0);
        lock.release().unwrap();
    });
    assert!(lock.locked() && proceeded.into_inner() == 1);
}
