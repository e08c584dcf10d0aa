//! `Semaphore` and `BoundedSemaphore` (SEM, BSEM, MEM-1, REPR-2).
#![cfg(not(threadbare_model))]

mod common;

use common::{
    Acquire, EXPIRING, IMPATIENT, PATIENT, Rng, SHORT, Several, after,
    check_destroyed_by_the_last_user, check_excludes, check_given_up_when_held,
    check_taken_when_free, check_taken_when_released, check_too_large_is_refused, spawn, threads,
    until, until_nearly, watchdog,
};
use std::panic::catch_unwind;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;
use threadbare::{BoundedSemaphore, Deadline, Error, ErrorKind, Semaphore, TIMEOUT_MAX};

const fn shared_and_sent<T: Send + Sync>() {}
const _: () = shared_and_sent::<Semaphore>();
const _: () = shared_and_sent::<BoundedSemaphore>();
const _: () = assert!(size_of::<Semaphore>() == 8);
const _: () = assert!(Semaphore::MAX_PERMITS == i32::MAX as u32);

const MAX: u32 = Semaphore::MAX_PERMITS;

#[test]
fn sem_1_begins_with_as_many_permits_as_asked_for() {
    static SEMAPHORE: Semaphore = Semaphore::new(3);
    static BOUNDED: BoundedSemaphore = BoundedSemaphore::new(3);
    assert_eq!((SEMAPHORE.value(), SEMAPHORE.waiters()), (3, 0));
    assert_eq!((BOUNDED.value(), BOUNDED.bound()), (3, 3));
    assert_eq!(Semaphore::default().value(), 1);
    assert_eq!(BoundedSemaphore::default().value(), 1);
    for permits in [0, 1, MAX] {
        assert_eq!(Semaphore::new(permits).value(), permits);
        assert_eq!(Semaphore::try_new(permits).unwrap().value(), permits);
        assert_eq!(BoundedSemaphore::try_new(permits).unwrap().bound(), permits);
    }
}

#[test]
fn sem_1_more_permits_than_it_can_hold_are_refused() {
    for permits in [MAX + 1, u32::MAX] {
        assert!(catch_unwind(|| Semaphore::new(permits)).is_err());
        assert!(catch_unwind(|| BoundedSemaphore::new(permits)).is_err());
        let refused = Semaphore::try_new(permits).unwrap_err();
        assert_eq!(refused, Error::TooManyPermits);
        let refused = BoundedSemaphore::try_new(permits).unwrap_err();
        assert_eq!(refused, Error::TooManyPermits);
    }
    assert_eq!(Error::TooManyPermits.kind(), ErrorKind::Overflow);
}

#[test]
fn sem_2_every_form_takes_one_permit_if_there_is_one() {
    let _watchdog = watchdog();
    let semaphore = Semaphore::new(1);
    check_taken_when_free(&semaphore);
    let bounded = BoundedSemaphore::new(1);
    check_taken_when_free(&bounded);
    check_taken_when_free(&Several(Semaphore::new(3), 3));
    check_taken_when_free(&Several(BoundedSemaphore::new(3), 3));
    let all = PATIENT.into_iter().chain(IMPATIENT).chain(EXPIRING);
    let (semaphore, count) = (Semaphore::new(100), all.clone().count() as u32);
    all.for_each(|(name, form)| assert!(form(&semaphore), "{name}"));
    assert_eq!(semaphore.value(), 100 - count);
}

#[test]
fn sem_2_every_waiting_form_goes_on_when_it_gets_a_permit() {
    let _watchdog = watchdog();
    let semaphore = Semaphore::new(0);
    check_taken_when_released(&semaphore, |tid| {
        tid.until_asleep_in(&semaphore);
        assert_eq!((semaphore.value(), semaphore.waiters()), (0, 1));
    });
    let bounded = BoundedSemaphore::new(1);
    bounded.acquire();
    check_taken_when_released(&bounded, |tid| {
        tid.until_asleep_in(&bounded);
        assert_eq!((bounded.value(), bounded.waiters()), (0, 1));
    });
    // Three at once, of which two are there.
    let three = Several(Semaphore::new(0), 3);
    check_taken_when_released(&three, |tid| {
        tid.until_asleep_in(&three);
        assert_eq!((three.0.value(), three.0.waiters()), (0, 1));
    });
    let three = Several(BoundedSemaphore::new(3), 3);
    three.acquire();
    check_taken_when_released(&three, |tid| tid.until_asleep_in(&three));
}

#[test]
fn sem_3_and_4_forms_with_an_end_give_up_when_there_is_no_permit() {
    let _watchdog = watchdog();
    let semaphore = Semaphore::new(0);
    check_given_up_when_held(&semaphore);
    assert_eq!((semaphore.value(), semaphore.waiters()), (0, 0));
    let bounded = BoundedSemaphore::new(1);
    bounded.acquire();
    check_given_up_when_held(&bounded);
    let three = Several(Semaphore::new(3), 3);
    three.acquire();
    check_given_up_when_held(&three);
    assert_eq!((three.0.value(), three.0.waiters()), (0, 0));
    let three = Several(BoundedSemaphore::new(3), 3);
    three.acquire();
    check_given_up_when_held(&three);
}

#[test]
fn sem_4_a_timeout_that_is_too_large_errs_whatever_the_counter() {
    let _watchdog = watchdog();
    check_too_large_is_refused(&Semaphore::new(1));
    check_too_large_is_refused(&BoundedSemaphore::new(1));
    check_too_large_is_refused(&Several(Semaphore::new(2), 2));
    check_too_large_is_refused(&Several(BoundedSemaphore::new(2), 2));
    let semaphore = Semaphore::new(2);
    assert_eq!(semaphore.acquire_timeout(TIMEOUT_MAX), Ok(true));
    assert_eq!(semaphore.acquire_n_timeout(1, TIMEOUT_MAX), Ok(true));
}

#[test]
fn sem_4_a_permit_given_when_the_time_is_nearly_up_is_not_lost() {
    let _watchdog = watchdog();
    let semaphore = Semaphore::new(0);
    for round in 0..400_u64 {
        let deadline = after(Duration::from_micros(400));
        let taken = thread::scope(|s| {
            let waiter = spawn(s, || semaphore.acquire_until(deadline));
            let early = Duration::from_micros(round % 20 * 10);
            until_nearly(deadline, early);
            semaphore.release().unwrap();
            waiter.join()
        });
        assert_eq!(semaphore.value(), u32::from(!taken));
        assert_eq!(semaphore.waiters(), 0);
        assert_eq!(semaphore.try_acquire(), !taken);
    }
}

#[test]
fn sem_5_release_of_n_adds_n_and_lets_n_proceed() {
    let _watchdog = watchdog();
    let semaphore = Semaphore::new(0);
    semaphore.release_n(3).unwrap();
    assert_eq!(semaphore.value(), 3);
    assert!((0..3).all(|_| semaphore.try_acquire()) && !semaphore.try_acquire());

    let proceeded = AtomicUsize::new(0);
    thread::scope(|s| {
        let take = || {
            semaphore.acquire();
            proceeded.fetch_add(1, SeqCst);
        };
        let waiters = [(); 6].map(|()| spawn(s, take));
        for waiter in &waiters {
            waiter.until_asleep_in(&semaphore);
        }
        assert_eq!(semaphore.waiters(), 6);
        for (released, total) in [(1, 1), (2, 3), (3, 6)] {
            semaphore.release_n(released).unwrap();
            until(|| proceeded.load(SeqCst) == total);
            assert_eq!(semaphore.value(), 0);
            until(|| semaphore.waiters() == 6 - total as u32);
        }
    });
    assert_eq!((semaphore.value(), semaphore.waiters()), (0, 0));
}

#[test]
fn sem_5_a_number_of_zero_errs_and_changes_nothing() {
    let _watchdog = watchdog();
    let (semaphore, bounded) = (Semaphore::new(2), BoundedSemaphore::new(2));
    bounded.acquire();
    let never = Deadline::NEVER;
    for value in [2, 0] {
        assert_eq!(semaphore.release_n(0), Err(Error::ZeroPermits));
        assert_eq!(semaphore.acquire_n(0), Err(Error::ZeroPermits));
        assert_eq!(semaphore.try_acquire_n(0), Err(Error::ZeroPermits));
        let timed = semaphore.acquire_n_timeout(0, SHORT);
        assert_eq!(timed, Err(Error::ZeroPermits));
        let timed = semaphore.acquire_n_until(0, never);
        assert_eq!(timed, Err(Error::ZeroPermits));
        let timed = semaphore.acquire_n_interruptible(0, never);
        assert_eq!(timed, Err(Error::ZeroPermits));
        assert_eq!(semaphore.value(), value);
        let _ = semaphore.try_acquire_n(2);
    }
    assert_eq!(bounded.release_n(0), Err(Error::ZeroPermits));
    assert_eq!(bounded.acquire_n(0), Err(Error::ZeroPermits));
    assert_eq!(bounded.value(), 1);
    assert_eq!(Error::ZeroPermits.kind(), ErrorKind::Value);
}

#[test]
fn sem_5_several_permits_are_taken_all_or_none() {
    let _watchdog = watchdog();
    let semaphore = Semaphore::new(2);
    assert_eq!(semaphore.try_acquire_n(3), Ok(false));
    assert_eq!(semaphore.acquire_n_timeout(3, SHORT), Ok(false));
    assert_eq!(semaphore.value(), 2);
    thread::scope(|s| {
        let waiter = spawn(s, || semaphore.acquire_n(5));
        for value in 2..5 {
            waiter.until_asleep_in(&semaphore);
            assert_eq!(semaphore.value(), value, "it takes none before it has all");
            semaphore.release().unwrap();
        }
        assert_eq!(waiter.join(), Ok(()));
    });
    assert_eq!((semaphore.value(), semaphore.waiters()), (0, 0));
}

#[test]
fn sem_6_the_counter_may_exceed_its_first_value_but_not_the_maximum() {
    let semaphore = Semaphore::new(1);
    for _ in 0..10 {
        semaphore.release().unwrap();
    }
    assert_eq!(semaphore.value(), 11);
    semaphore.release_n(MAX - 11).unwrap();
    assert_eq!(semaphore.value(), MAX);
    for n in [1, 2, MAX, MAX + 1, u32::MAX] {
        assert_eq!(semaphore.release_n(n), Err(Error::TooManyPermits));
    }
    assert_eq!(semaphore.release(), Err(Error::TooManyPermits));
    assert_eq!(semaphore.value(), MAX);
    semaphore.acquire();
    assert_eq!(semaphore.release_n(2), Err(Error::TooManyPermits));
    assert_eq!(semaphore.value(), MAX - 1);
    assert_eq!(semaphore.release(), Ok(()));
}

#[test]
fn sem_6_more_permits_than_it_can_hold_cannot_be_asked_for() {
    let _watchdog = watchdog();
    let semaphore = Semaphore::new(1);
    let (n, never, refused) = (MAX + 1, Deadline::NEVER, Err(Error::TooManyPermits));
    assert_eq!(semaphore.acquire_n(n), Err(Error::TooManyPermits));
    assert_eq!(semaphore.try_acquire_n(n), refused);
    assert_eq!(semaphore.acquire_n_timeout(n, SHORT), refused);
    assert_eq!(semaphore.acquire_n_until(n, never), refused);
    assert_eq!(semaphore.acquire_n_interruptible(n, never), refused);
    assert_eq!(semaphore.acquire_n_timeout(MAX, SHORT), Ok(false));
    assert_eq!((semaphore.value(), semaphore.waiters()), (1, 0));
}

#[test]
fn sem_7_a_newcomer_may_take_a_permit_before_the_woken_waiter() {
    let _watchdog = watchdog();
    let semaphore = Semaphore::new(0);
    // The waiter may be quicker, so this is tried until it was not.
    let mut overtaken = false;
    while !overtaken {
        thread::scope(|s| {
            let waiter = spawn(s, || semaphore.acquire());
            waiter.until_asleep_in(&semaphore);
            semaphore.release().unwrap();
            overtaken = semaphore.try_acquire();
            if overtaken {
                waiter.until_asleep_in(&semaphore);
                assert!(!waiter.is_finished());
                semaphore.release().unwrap(); // it goes on waiting and gets the next one
            }
        });
    }
    assert_eq!((semaphore.value(), semaphore.waiters()), (0, 0));
}

#[test]
fn sem_8_permits_are_conserved_under_timeouts_and_mixed_numbers() {
    let _watchdog = watchdog();
    const PERMITS: u32 = 4;
    const ROUNDS: usize = 8_000;
    let semaphore = Semaphore::new(PERMITS);
    let inside = AtomicUsize::new(0);
    threads(6, |number| {
        let mut rng = Rng::new();
        for round in 0..ROUNDS {
            let n = 1 + rng.below(u64::from(PERMITS)) as u32;
            let taken = match rng.below(4) {
                // Some never give up, so that a lost wake or permit shows.
                _ if number == 0 => {
                    semaphore.acquire_n(1).unwrap();
                    Some(1)
                }
                _ if number == 1 => semaphore.acquire_n(n).map(|()| Some(n)).unwrap(),
                0 => semaphore.try_acquire_n(n).unwrap().then_some(n),
                1 => semaphore
                    .acquire_n_timeout(n, rng.timeout())
                    .unwrap()
                    .then_some(n),
                2 => semaphore.acquire_until(after(rng.timeout())).then_some(1),
                _ => semaphore
                    .acquire_n_interruptible(n, after(rng.timeout()))
                    .unwrap()
                    .then_some(n),
            };
            let Some(n) = taken else { continue };
            let others = inside.fetch_add(n as usize, SeqCst);
            assert!(others + n as usize <= PERMITS as usize, "permits were made");
            if round % 8 == 0 {
                thread::yield_now();
            }
            inside.fetch_sub(n as usize, SeqCst);
            if rng.below(2) == 0 {
                semaphore.release_n(n).unwrap();
            } else {
                (0..n).for_each(|_| semaphore.release().unwrap());
            }
        }
    });
    assert_eq!((semaphore.value(), semaphore.waiters()), (PERMITS, 0));
}

#[test]
fn sem_8_producers_and_consumers_balance() {
    let _watchdog = watchdog();
    const EACH: usize = 6_000;
    let semaphore = Semaphore::new(0);
    let acquired: usize = threads(6, |number| {
        let mut rng = Rng::new();
        let mut acquired = 0;
        if number % 2 == 0 {
            let mut left = EACH;
            while left > 0 {
                let n = (1 + rng.below(3) as usize).min(left);
                semaphore.release_n(n as u32).unwrap();
                left -= n;
            }
        } else {
            while acquired < EACH {
                let n = (1 + rng.below(3) as usize).min(EACH - acquired);
                let timeout = rng.timeout();
                if semaphore.acquire_n_timeout(n as u32, timeout).unwrap() {
                    acquired += n;
                }
            }
        }
        acquired
    })
    .into_iter()
    .sum();
    assert_eq!(acquired, 3 * EACH);
    assert_eq!((semaphore.value(), semaphore.waiters()), (0, 0));
}

#[test]
fn sem_8_one_that_wants_one_permit_is_not_kept_asleep_by_one_that_wants_many() {
    let _watchdog = watchdog();
    let semaphore = Semaphore::new(0);
    thread::scope(|s| {
        let many = spawn(s, || semaphore.acquire_n(10));
        many.until_asleep_in(&semaphore);
        for _ in 0..20 {
            let one = spawn(s, || semaphore.acquire());
            one.until_asleep_in(&semaphore);
            semaphore.release().unwrap();
            one.join();
            many.until_asleep_in(&semaphore);
        }
        // When the demanding one has given up or got its share, single wakes do.
        semaphore.release_n(10).unwrap();
        assert_eq!(many.join(), Ok(()));
        assert_eq!(semaphore.acquire_n_timeout(2, SHORT), Ok(false));
        let ones = [(); 3].map(|()| spawn(s, || semaphore.acquire()));
        for one in &ones {
            one.until_asleep_in(&semaphore);
        }
        for _ in &ones {
            semaphore.release().unwrap();
        }
    });
    assert_eq!((semaphore.value(), semaphore.waiters()), (0, 0));
}

#[test]
fn sem_8_a_wake_is_not_lost_to_a_waiter_that_times_out() {
    let _watchdog = watchdog();
    let semaphore = Semaphore::new(0);
    for round in 0..300_u64 {
        let deadline = after(Duration::from_micros(400));
        thread::scope(|s| {
            s.spawn(|| {
                if semaphore.acquire_until(deadline) {
                    semaphore.release().unwrap();
                }
            });
            let patient = spawn(s, || semaphore.acquire());
            patient.until_asleep_in(&semaphore);
            let early = Duration::from_micros(round % 20 * 10);
            until_nearly(deadline, early);
            semaphore.release().unwrap();
        });
        assert_eq!((semaphore.value(), semaphore.waiters()), (0, 0));
    }
}

#[test]
fn sem_9_any_thread_may_release_and_drop_while_held_is_fine() {
    let _watchdog = watchdog();
    let semaphore = Box::new(Semaphore::new(1));
    semaphore.acquire();
    threads(2, |_| semaphore.release().unwrap());
    assert_eq!(semaphore.value(), 2);
    semaphore.acquire();
    drop(semaphore);
    let bounded = BoundedSemaphore::new(1);
    bounded.acquire();
    threads(1, |_| bounded.release().unwrap());
    bounded.acquire();
}

/// Ten threads acquire twice on seven permits, of which the main thread has taken one.
fn exactly_as_many_proceed(semaphore: &impl Acquire, waiters: impl Fn() -> u32) {
    const THREADS: usize = 10;
    semaphore.acquire();
    let (first, second) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let proceeded = || first.load(SeqCst) + second.load(SeqCst);
    thread::scope(|s| {
        for _ in 0..THREADS {
            s.spawn(|| {
                semaphore.acquire();
                first.fetch_add(1, SeqCst);
                semaphore.acquire();
                second.fetch_add(1, SeqCst);
            });
        }
        let mut total = 6;
        // All ten wait in the end, on the first or the second acquire, but those that are through.
        let settled = |total: usize| {
            until(|| proceeded() == total);
            until(|| waiters() as usize == THREADS - second.load(SeqCst));
            assert_eq!(proceeded(), total);
        };
        settled(total);
        for _ in 0..7 {
            semaphore.release().unwrap();
            total += 1;
            settled(total);
        }
        for _ in total..2 * THREADS {
            semaphore.release().unwrap();
        }
    });
    assert_eq!(proceeded(), 2 * THREADS);
    assert!(!semaphore.try_acquire());
    semaphore.release().unwrap();
    assert!(semaphore.try_acquire() && !semaphore.try_acquire());
}

#[test]
fn sem_10_exactly_as_many_proceed_as_permits_are_released() {
    let _watchdog = watchdog();
    let semaphore = Semaphore::new(7);
    exactly_as_many_proceed(&semaphore, || semaphore.waiters());
    let bounded = BoundedSemaphore::new(7);
    exactly_as_many_proceed(&bounded, || bounded.waiters());
}

#[test]
fn sem_10_also_when_they_are_released_several_at_a_time() {
    let _watchdog = watchdog();
    let semaphore = Semaphore::new(7);
    semaphore.acquire();
    let proceeded = AtomicUsize::new(0);
    thread::scope(|s| {
        for _ in 0..10 {
            s.spawn(|| {
                for _ in 0..2 {
                    semaphore.acquire();
                    proceeded.fetch_add(1, SeqCst);
                }
            });
        }
        let mut total = 6;
        until(|| proceeded.load(SeqCst) == total);
        for n in [7, 2, 4] {
            semaphore.release_n(n).unwrap();
            total += n as usize;
            until(|| proceeded.load(SeqCst) == total && semaphore.value() == 0);
        }
        semaphore.release().unwrap();
    });
    assert_eq!(proceeded.into_inner(), 20);
    assert_eq!((semaphore.value(), semaphore.waiters()), (0, 0));
}

#[test]
fn sem_3_of_ten_attempts_on_three_permits_three_succeed() {
    let _watchdog = watchdog();
    let semaphore = Semaphore::new(4);
    semaphore.acquire();
    let taken = threads(10, |_| semaphore.try_acquire());
    assert_eq!(taken.into_iter().filter(|taken| *taken).count(), 3);
    assert_eq!(semaphore.value(), 0);
}

#[test]
fn bsem_1_a_release_above_the_bound_errs_and_adds_nothing() {
    let _watchdog = watchdog();
    let semaphore = BoundedSemaphore::new(2);
    assert_eq!(semaphore.release(), Err(Error::AboveBound));
    semaphore.acquire();
    assert_eq!(semaphore.release(), Ok(()));
    assert_eq!(semaphore.release(), Err(Error::AboveBound));
    assert_eq!(semaphore.value(), 2);
    assert_eq!(Error::AboveBound.kind(), ErrorKind::Value);
    let full = BoundedSemaphore::new(MAX);
    assert_eq!(full.release(), Err(Error::AboveBound));
}

#[test]
fn bsem_2_the_bound_is_checked_against_all_permits_of_a_release() {
    let _watchdog = watchdog();
    let semaphore = BoundedSemaphore::new(3);
    semaphore.acquire_n(2).unwrap();
    for n in [3, 4, MAX, u32::MAX] {
        assert_eq!(semaphore.release_n(n), Err(Error::AboveBound));
        assert_eq!(semaphore.value(), 1, "nothing is added");
    }
    assert_eq!(semaphore.release_n(0), Err(Error::ZeroPermits));
    assert_eq!(semaphore.release_n(2), Ok(()));
    assert_eq!(semaphore.release_n(0), Err(Error::ZeroPermits));

    // Nobody is woken by one that errs.
    semaphore.acquire_n(3).unwrap();
    thread::scope(|s| {
        let waiter = spawn(s, || semaphore.acquire());
        waiter.until_asleep_in(&semaphore);
        assert_eq!(semaphore.release_n(4), Err(Error::AboveBound));
        waiter.until_asleep_in(&semaphore);
        assert!(!waiter.is_finished() && semaphore.value() == 0);
        semaphore.release_n(3).unwrap();
        waiter.join();
    });
    assert_eq!(semaphore.value(), 2);
}

#[test]
fn bsem_2_the_check_and_the_addition_are_one_step() {
    let _watchdog = watchdog();
    const ROUNDS: usize = 2_000;
    let semaphore = BoundedSemaphore::new(3);
    for _ in 0..ROUNDS / 10 {
        semaphore.acquire_n(3).unwrap();
        let released: u32 = threads(3, |_| u32::from(semaphore.release_n(2).is_ok()))
            .into_iter()
            .sum();
        assert_eq!(released, 1, "two would be four permits");
        assert_eq!(semaphore.value(), 2);
        semaphore.release().unwrap();
    }
    // And while others acquire.
    let balance: i64 = threads(4, |_| {
        let mut rng = Rng::new();
        let mut balance = 0;
        for _ in 0..ROUNDS {
            let n = 1 + rng.below(3) as u32;
            if rng.below(2) == 0 {
                let taken = semaphore.try_acquire_n(n).unwrap();
                balance -= i64::from(taken) * i64::from(n);
            } else if semaphore.release_n(n).is_ok() {
                balance += i64::from(n);
            }
            assert!(semaphore.value() <= 3);
        }
        balance
    })
    .into_iter()
    .sum();
    assert_eq!(i64::from(semaphore.value()), 3 + balance);
}

#[test]
fn bsem_2_more_permits_than_the_bound_cannot_be_asked_for() {
    let _watchdog = watchdog();
    let semaphore = BoundedSemaphore::new(2);
    let (never, refused) = (Deadline::NEVER, Err(Error::AboveBound));
    for n in [3, MAX, MAX + 1, u32::MAX] {
        assert_eq!(semaphore.acquire_n(n), Err(Error::AboveBound));
        assert_eq!(semaphore.try_acquire_n(n), refused);
        assert_eq!(semaphore.acquire_n_timeout(n, SHORT), refused);
        assert_eq!(semaphore.acquire_n_until(n, never), refused);
        assert_eq!(semaphore.acquire_n_interruptible(n, never), refused);
    }
    assert_eq!((semaphore.value(), semaphore.waiters()), (2, 0));
}

#[test]
fn bsem_3_with_a_bound_of_zero_every_release_errs() {
    let _watchdog = watchdog();
    let semaphore = BoundedSemaphore::new(0);
    assert!(!semaphore.try_acquire());
    assert_eq!(semaphore.acquire_timeout(SHORT), Ok(false));
    for n in [1, 2] {
        assert_eq!(semaphore.release_n(n), Err(Error::AboveBound));
    }
    assert_eq!((semaphore.value(), semaphore.bound()), (0, 0));
}

#[test]
fn bsem_4_as_many_releases_as_acquires_in_any_order_are_fine() {
    let _watchdog = watchdog();
    const BOUND: u32 = 5;
    let semaphore = BoundedSemaphore::new(BOUND);
    for _ in 0..50 {
        threads(2 * BOUND as usize, |number| {
            if number % 2 == 0 {
                semaphore.acquire();
            } else {
                // A release before any acquire errs, and is to be made later.
                until(|| semaphore.release().is_ok());
            }
        });
        assert_eq!(semaphore.value(), BOUND);
        assert_eq!(semaphore.release(), Err(Error::AboveBound));
    }
}

#[test]
fn mem_1_with_one_permit_threads_exclude_each_other_and_lose_no_wake() {
    let _watchdog = watchdog();
    check_excludes(&Semaphore::new(1), 6, 8_000);
    check_excludes(&BoundedSemaphore::new(1), 5, 8_000);
    check_excludes(&Several(Semaphore::new(3), 2), 5, 8_000);
}

#[test]
fn sem_free_after_release_the_last_user_may_destroy_it() {
    let _watchdog = watchdog();
    let release = |semaphore: &Semaphore| semaphore.release().unwrap();
    let asleep = |semaphore: &Semaphore| semaphore.waiters() > 0;
    let empty = || Semaphore::new(0);
    check_destroyed_by_the_last_user(4_000, empty, asleep, release, Semaphore::acquire);
    let release = |semaphore: &Semaphore| semaphore.release_n(3).unwrap();
    let take = |semaphore: &Semaphore| semaphore.acquire_n(3).unwrap();
    check_destroyed_by_the_last_user(2_000, empty, asleep, release, take);
}

#[test]
fn repr_2_debug_is_pythons_text() {
    let (semaphore, bounded) = (Semaphore::new(3), BoundedSemaphore::new(5));
    bounded.acquire();
    assert_eq!(
        format!("{semaphore:?}"),
        format!("<threadbare.Semaphore at {:p}: value=3>", &semaphore)
    );
    assert_eq!(
        format!("{bounded:?}"),
        format!("<threadbare.BoundedSemaphore at {:p}: value=4/5>", &bounded)
    );
}
