//! `Barrier` (BAR, MEM-4, REPR-2, SIG-4, TIME-2, TIME-7).
#![cfg(not(threadbare_model))]

mod common;

use common::{
    LONG, Rng, SHORT, TOO_LONG, Unsynchronized, Worker, after, check_destroyed_by_the_last_user,
    spawn, threads, until, watchdog,
};
use nix::libc::{self, c_int};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};
use threadbare::{
    Barrier, BarrierAction, Deadline, Error, ErrorKind, Event, NoAction, TIMEOUT_MAX,
};

const fn shared_and_sent<T: Send + Sync>() {}
const _: () = shared_and_sent::<Barrier>();
const _: () = shared_and_sent::<Barrier<fn()>>();
// The action moves from party to party, but no two use it at once.
const _: () = shared_and_sent::<Barrier<Cell<u32>>>();
const _: () = assert!(size_of::<Barrier>() == 72 && align_of::<Barrier>() == 8);

type Passed = Result<usize, Error>;
const BROKEN: Passed = Err(Error::BrokenBarrier);

/// A named way to wait.
type Form = (&'static str, fn(&Barrier) -> Passed);

/// The forms that wait until all have come.
const PATIENT: [Form; 7] = [
    ("wait", |barrier| barrier.wait()),
    ("timeout", |barrier| barrier.wait_timeout(LONG)),
    ("TIMEOUT_MAX", |barrier| barrier.wait_timeout(TIMEOUT_MAX)),
    ("until", |barrier| barrier.wait_until(after(LONG))),
    ("until never", |barrier| barrier.wait_until(Deadline::NEVER)),
    ("interruptible", |barrier| {
        barrier.wait_interruptible(after(LONG))
    }),
    ("interruptible never", |barrier| {
        barrier.wait_interruptible(Deadline::NEVER)
    }),
];

/// The forms that pass only as the last party.
const IMPATIENT: [Form; 4] = [
    ("timeout 0", |barrier| barrier.wait_timeout(Duration::ZERO)),
    ("until now", |barrier| barrier.wait_until(Deadline::now())),
    ("until a past point", |barrier| {
        let past = after(Duration::from_nanos(1));
        until(|| past.has_passed());
        barrier.wait_until(past)
    }),
    ("interruptible now", |barrier| {
        barrier.wait_interruptible(Deadline::now())
    }),
];

/// The forms that give up, after `SHORT`.
const EXPIRING: [Form; 3] = [
    ("timeout", |barrier| barrier.wait_timeout(SHORT)),
    ("until", |barrier| barrier.wait_until(after(SHORT))),
    ("interruptible", |barrier| {
        barrier.wait_interruptible(after(SHORT))
    }),
];

/// A thread that waits at `barrier`, asleep already.
fn asleep<'scope, A: BarrierAction + Send>(
    scope: &'scope Scope<'scope, '_>,
    barrier: &'scope Barrier<A>,
) -> Worker<'scope, Passed> {
    let waiter = spawn(scope, || barrier.wait());
    waiter.until_asleep_in(barrier);
    waiter
}

/// The barrier works: all its parties pass, each with a number of its own.
#[track_caller]
fn assert_works<A: BarrierAction + Send>(barrier: &Barrier<A>) {
    let mut numbers = threads(barrier.parties(), |_| barrier.wait().unwrap());
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..barrier.parties()));
    assert_eq!((barrier.n_waiting(), barrier.broken()), (0, false));
}

#[test]
fn bar_1_the_parties_are_at_least_one() {
    static BARRIER: Barrier = Barrier::new(2);
    static TIMED: Barrier = Barrier::new(2).with_timeout(TIMEOUT_MAX);
    static ACTING: Barrier<fn()> = Barrier::new(2).with_timeout(SHORT).with_action(|| ());
    assert_eq!(
        [BARRIER.parties(), TIMED.parties(), ACTING.parties()],
        [2; 3]
    );
    for parties in [0, Barrier::MAX_PARTIES + 1, usize::MAX] {
        let error = Barrier::try_new(parties).unwrap_err();
        assert_eq!(error, Error::InvalidParties);
        assert_eq!(error.kind(), ErrorKind::Value);
        assert!(catch_unwind(|| Barrier::new(parties)).is_err());
    }
    let most = Barrier::try_new(Barrier::MAX_PARTIES).unwrap();
    assert_eq!(most.parties(), Barrier::MAX_PARTIES);
}

#[test]
fn bar_2_and_3_each_party_gets_its_number_in_the_order_of_arrival() {
    let _watchdog = watchdog();
    let barrier = Barrier::new(PATIENT.len() + 1);
    for _ in 0..3 {
        thread::scope(|s| {
            let mut waiters = Vec::new();
            for (name, form) in PATIENT {
                let barrier = &barrier;
                let waiter = spawn(s, move || form(barrier));
                waiter.until_asleep_in(barrier);
                waiters.push((name, waiter));
                assert_eq!(barrier.n_waiting(), waiters.len());
            }
            assert!(barrier.has_waiters());
            assert!(waiters.iter().all(|(_, waiter)| !waiter.is_finished()));
            assert_eq!(barrier.wait(), Ok(PATIENT.len()));
            for (number, (name, waiter)) in waiters.into_iter().enumerate() {
                assert_eq!(waiter.join(), Ok(number), "{name}");
            }
        });
        assert!(barrier.n_waiting() == 0 && !barrier.has_waiters());
    }
}

#[test]
fn bar_4_no_party_overtakes_another_in_many_rounds() {
    let _watchdog = watchdog();
    const PARTIES: usize = 8;
    const ROUNDS: usize = 2_000;
    let barrier = Barrier::new(PARTIES);
    let arrived: [AtomicUsize; ROUNDS] = [const { AtomicUsize::new(0) }; ROUNDS];
    let numbers: [AtomicUsize; ROUNDS] = [const { AtomicUsize::new(0) }; ROUNDS];
    threads(PARTIES, |_| {
        for round in 0..ROUNDS {
            arrived[round].fetch_add(1, Relaxed);
            let number = barrier.wait().unwrap();
            assert_eq!(arrived[round].load(Relaxed), PARTIES);
            numbers[round].fetch_or(1 << number, Relaxed);
        }
    });
    for numbers in numbers {
        assert_eq!(numbers.into_inner(), (1 << PARTIES) - 1);
    }
}

#[test]
fn bar_5_the_action_runs_once_a_round_before_anyone_is_released() {
    let _watchdog = watchdog();
    const PARTIES: usize = 4;
    let (released, actions) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut rounds = 0;
    let barrier = Barrier::new(PARTIES).with_action(|| {
        rounds += 1;
        // Nobody of this round is out, and everybody of the rounds before is.
        assert_eq!(released.load(SeqCst) % PARTIES, 0);
        thread::yield_now();
        assert_eq!(released.load(SeqCst) % PARTIES, 0);
        actions.store(rounds, SeqCst);
    });
    threads(PARTIES, |_| {
        for round in 1..=500 {
            barrier.wait().unwrap();
            assert_eq!(actions.load(SeqCst), round);
            released.fetch_add(1, SeqCst);
            // The next action is not to see this round half released.
            until(|| released.load(SeqCst) >= round * PARTIES);
        }
    });
    drop(barrier);
    assert_eq!(rounds, 500);
}

#[test]
fn bar_6_a_panic_in_the_action_breaks_the_barrier() {
    let _watchdog = watchdog();
    let barrier = Barrier::new(3).with_action({
        let mut fails = true;
        move || {
            if std::mem::replace(&mut fails, false) {
                panic!("as planned");
            }
        }
    });
    thread::scope(|s| {
        let waiters = [asleep(s, &barrier), asleep(s, &barrier)];
        let runner = catch_unwind(AssertUnwindSafe(|| barrier.wait()));
        let payload = runner.unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&"as planned"));
        assert_eq!(waiters.map(Worker::join), [BROKEN, BROKEN]);
        assert!(barrier.broken() && barrier.n_waiting() == 0);
        assert_eq!(barrier.wait(), BROKEN);
    });
    barrier.reset();
    assert_works(&barrier);
}

/// An action that lasts as long as one wants.
struct Slow {
    began: Event,
    ends: Event,
}

impl Slow {
    const fn new() -> Slow {
        Slow {
            began: Event::new(),
            ends: Event::new(),
        }
    }

    fn barrier(&self, parties: usize) -> Barrier<impl BarrierAction + Send> {
        Barrier::new(parties).with_action(|| {
            self.began.set();
            self.ends.wait();
        })
    }
}

#[test]
fn bar_7_who_runs_out_of_time_during_the_action_passes() {
    let _watchdog = watchdog();
    let slow = Slow::new();
    let barrier = slow.barrier(4);
    let long_enough_to_arrive = Duration::from_secs(1);
    let deadline = after(long_enough_to_arrive);
    thread::scope(|s| {
        let waiters = [
            spawn(s, || barrier.wait_until(deadline)),
            spawn(s, || barrier.wait_interruptible(deadline)),
            spawn(s, || barrier.wait_timeout(long_enough_to_arrive)),
        ];
        until(|| barrier.n_waiting() == 3);
        let start = Instant::now();
        let runner = spawn(s, || barrier.wait());
        slow.began.wait();
        until(|| deadline.has_passed() && start.elapsed() > long_enough_to_arrive);
        assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
        assert_eq!((barrier.n_waiting(), barrier.broken()), (4, false));
        slow.ends.set();
        assert_eq!(runner.join(), Ok(3));
        let mut numbers = waiters.map(|waiter| waiter.join().unwrap());
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1, 2]);
    });
    assert_works(&barrier);
}

#[test]
fn bar_8_the_action_may_use_its_barrier_but_not_wait_for_it() {
    let _watchdog = watchdog();
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    static BARRIER: Barrier<fn()> = Barrier::new(2).with_action(|| {
        let state = (BARRIER.parties(), BARRIER.n_waiting(), BARRIER.broken());
        assert_eq!(state, (2, 2, false));
        BARRIER.reset();
        let again = [
            BARRIER.wait(),
            BARRIER.wait_timeout(Duration::ZERO),
            BARRIER.wait_until(Deadline::now()),
            BARRIER.wait_interruptible(Deadline::NEVER),
        ];
        assert_eq!(again, [Err(Error::WaitInAction); 4]);
        assert_eq!((BARRIER.n_waiting(), BARRIER.broken()), (2, false));
        // Another barrier is another matter.
        assert_eq!(Barrier::new(1).with_action(|| ()).wait(), Ok(0));
        assert_eq!(BARRIER.wait(), Err(Error::WaitInAction));
        SEEN.fetch_add(1, SeqCst);
    });
    assert!(Error::WaitInAction.is_runtime());
    assert_works(&BARRIER);
    assert_works(&BARRIER);
    assert_eq!(SEEN.load(SeqCst), 2);
}

#[test]
fn bar_8_and_12_an_abort_by_the_action_fails_its_round() {
    let _watchdog = watchdog();
    static RESETS: AtomicBool = AtomicBool::new(false);
    static BARRIER: Barrier<fn()> = Barrier::new(2).with_action(|| {
        BARRIER.abort();
        if RESETS.load(SeqCst) {
            BARRIER.reset();
        }
    });
    for resets in [false, true] {
        RESETS.store(resets, SeqCst);
        assert_eq!(threads(2, |_| BARRIER.wait()), [BROKEN; 2]);
        assert_eq!((BARRIER.broken(), BARRIER.n_waiting()), (!resets, 0));
        BARRIER.reset();
    }
}

#[test]
fn bar_9_and_time_2_an_expiry_breaks_the_barrier_and_is_never_early() {
    let _watchdog = watchdog();
    for (name, form) in EXPIRING {
        let barrier = Barrier::new(3);
        thread::scope(|s| {
            let other = asleep(s, &barrier);
            let start = Instant::now();
            assert_eq!(form(&barrier), BROKEN, "{name}");
            assert!(start.elapsed() >= SHORT, "{name} ended early");
            assert_eq!(other.join(), BROKEN, "{name}");
        });
        assert!(barrier.broken() && barrier.n_waiting() == 0);
        barrier.reset();
        assert_works(&barrier);
    }
}

#[test]
fn bar_9_the_barriers_own_timeout_holds_for_a_plain_wait_only() {
    let _watchdog = watchdog();
    let barrier = Barrier::new(2).with_timeout(SHORT);
    let start = Instant::now();
    assert_eq!(barrier.wait(), BROKEN);
    assert!(start.elapsed() >= SHORT, "ended early");
    barrier.reset();
    for (name, form) in &PATIENT[1..] {
        thread::scope(|s| {
            let waiter = spawn(s, || form(&barrier));
            waiter.until_asleep_in(&barrier);
            let long_after = after(SHORT * 2);
            until(|| long_after.has_passed());
            assert!(!waiter.is_finished(), "{name}");
            assert_eq!(barrier.wait(), Ok(1), "{name}");
            assert_eq!(waiter.join(), Ok(0), "{name}");
        });
    }
    assert!(!barrier.broken());
    // With an action too.
    let barrier = Barrier::new(2).with_timeout(SHORT).with_action(|| ());
    assert_eq!(barrier.wait(), BROKEN);
}

#[test]
fn bar_10_a_timeout_racing_the_last_arrival_settles_it_for_both() {
    let _watchdog = watchdog();
    let barrier = Barrier::new(2);
    let (mut passed, mut failed) = (0, 0);
    for round in 0..400_u64 {
        let timeout = Duration::from_micros(round % 40 * 5);
        let results = threads(2, |number| match number {
            0 => barrier.wait_timeout(timeout),
            _ => {
                let deadline = after(timeout);
                common::until_nearly(deadline, Duration::from_micros(round % 7));
                barrier.wait()
            }
        });
        match results[..] {
            [Ok(first), Ok(second)] => {
                assert_eq!(first + second, 1);
                assert!(!barrier.broken());
                passed += 1;
            }
            [BROKEN, BROKEN] => {
                assert!(barrier.broken());
                barrier.reset();
                failed += 1;
            }
            _ => panic!("{results:?}"),
        }
        assert_eq!((barrier.n_waiting(), barrier.broken()), (0, false));
    }
    assert_eq!(passed + failed, 400);
}

#[test]
fn bar_11_a_reset_frees_waiters_with_an_error() {
    let _watchdog = watchdog();
    let barrier = Barrier::new(3);
    for _ in 0..20 {
        thread::scope(|s| {
            let waiters = [asleep(s, &barrier), asleep(s, &barrier)];
            barrier.reset();
            assert_eq!((barrier.n_waiting(), barrier.broken()), (0, false));
            assert_eq!(waiters.map(Worker::join), [BROKEN, BROKEN]);
            assert_works(&barrier);
        });
    }
    // With nobody inside it does nothing, or mends the barrier.
    barrier.reset();
    assert_works(&barrier);
    barrier.abort();
    barrier.reset();
    barrier.reset();
    assert_works(&barrier);
}

#[test]
fn bar_11_a_reset_does_not_disturb_a_full_round() {
    let _watchdog = watchdog();
    let slow = Slow::new();
    let barrier = slow.barrier(2);
    thread::scope(|s| {
        let waiters = [spawn(s, || barrier.wait()), spawn(s, || barrier.wait())];
        slow.began.wait();
        barrier.reset();
        assert_eq!((barrier.n_waiting(), barrier.broken()), (2, false));
        slow.ends.set();
        let [first, second] = waiters.map(|waiter| waiter.join().unwrap());
        assert_eq!(first + second, 1);
    });
    assert_works(&barrier);
}

#[test]
fn bar_11_after_a_reset_no_round_begins_before_the_failed_one_has_left() {
    let _watchdog = watchdog();
    let slow = Slow::new();
    let barrier = slow.barrier(2);
    thread::scope(|s| {
        let failed = [spawn(s, || barrier.wait()), spawn(s, || barrier.wait())];
        slow.began.wait();
        barrier.abort();
        barrier.reset();
        assert_eq!((barrier.n_waiting(), barrier.broken()), (0, false));
        // The action still runs, so these wait for it, with their limits.
        let patient = spawn(s, || barrier.wait());
        patient.until_asleep_in(&barrier);
        let start = Instant::now();
        assert_eq!(barrier.wait_timeout(SHORT), BROKEN);
        assert!(start.elapsed() >= SHORT, "ended early");
        assert_eq!(patient.join(), BROKEN);
        assert!(barrier.broken());
        barrier.reset();
        let patient = [asleep(s, &barrier), asleep(s, &barrier)];
        assert_eq!(barrier.n_waiting(), 0);
        slow.ends.set();
        assert_eq!(failed.map(Worker::join), [BROKEN, BROKEN]);
        let [first, second] = patient.map(|waiter| waiter.join().unwrap());
        assert_eq!(first + second, 1);
    });
}

#[test]
fn bar_12_an_abort_fails_present_and_future_waits_until_a_reset() {
    let _watchdog = watchdog();
    let barrier = Barrier::new(PATIENT.len() + 1);
    thread::scope(|s| {
        let waiters = PATIENT.map(|(name, form)| {
            let barrier = &barrier;
            (name, spawn(s, move || form(barrier)))
        });
        for (_, waiter) in &waiters {
            waiter.until_asleep_in(&barrier);
        }
        barrier.abort();
        for (name, waiter) in waiters {
            assert_eq!(waiter.join(), BROKEN, "{name}");
        }
    });
    for _ in 0..2 {
        for (name, form) in PATIENT.into_iter().chain(IMPATIENT).chain(EXPIRING) {
            assert_eq!(form(&barrier), BROKEN, "{name}");
            assert!(barrier.broken() && barrier.n_waiting() == 0);
        }
        barrier.abort();
    }
    barrier.reset();
    assert_works(&barrier);
}

#[test]
fn bar_12_an_abort_during_the_action_fails_the_whole_round() {
    let _watchdog = watchdog();
    let slow = Slow::new();
    let barrier = slow.barrier(3);
    thread::scope(|s| {
        let waiters = [(); 3].map(|()| spawn(s, || barrier.wait()));
        slow.began.wait();
        barrier.abort();
        assert_eq!((barrier.n_waiting(), barrier.broken()), (0, true));
        slow.ends.set();
        assert_eq!(waiters.map(Worker::join), [BROKEN; 3]);
    });
    barrier.reset();
    assert_works(&barrier);
}

#[test]
fn bar_13_the_queries_follow_the_state_and_never_block() {
    let _watchdog = watchdog();
    let barrier = Barrier::new(3);
    let state = || (barrier.n_waiting(), barrier.broken());
    thread::scope(|s| {
        assert_eq!(state(), (0, false));
        let first = asleep(s, &barrier);
        assert_eq!(state(), (1, false));
        let second = asleep(s, &barrier);
        assert_eq!(state(), (2, false));
        assert_eq!(barrier.wait(), Ok(2));
        assert_eq!(state(), (0, false));
        assert!(first.join().is_ok() && second.join().is_ok());
        let waiter = asleep(s, &barrier);
        barrier.abort();
        assert_eq!(state(), (0, true));
        assert_eq!(waiter.join(), BROKEN);
        assert_eq!(state(), (0, true));
        barrier.reset();
        assert_eq!(state(), (0, false));
    });
    assert_eq!(barrier.parties(), 3);
}

#[test]
fn bar_14_a_broken_barrier_is_a_runtime_error() {
    let error = Error::BrokenBarrier;
    assert_eq!(error.kind(), ErrorKind::BrokenBarrier);
    assert!(error.is_runtime());
    assert_eq!(error.to_string(), "barrier broken or reset");
}

#[test]
fn bar_15_a_single_party_passes_at_once_and_runs_the_action() {
    let _watchdog = watchdog();
    let mut actions = 0;
    let barrier = Barrier::new(1).with_action(|| actions += 1);
    for _ in 0..1000 {
        assert_eq!(barrier.wait(), Ok(0));
        assert_eq!(barrier.wait_timeout(Duration::ZERO), Ok(0));
    }
    drop(barrier);
    assert_eq!(actions, 2000);
    let plain = Barrier::new(1);
    for (name, form) in PATIENT.into_iter().chain(IMPATIENT).chain(EXPIRING) {
        assert_eq!(form(&plain), Ok(0), "{name}");
    }
}

#[test]
fn bar_16_without_time_only_the_last_party_passes() {
    let _watchdog = watchdog();
    for (name, form) in IMPATIENT {
        let barrier = Barrier::new(2);
        assert_eq!(form(&barrier), BROKEN, "{name}");
        assert!(barrier.broken(), "{name}");
        assert_eq!(form(&barrier), BROKEN, "{name}");
        barrier.reset();
        thread::scope(|s| {
            let first = asleep(s, &barrier);
            assert_eq!(form(&barrier), Ok(1), "{name}");
            assert_eq!(first.join(), Ok(0), "{name}");
        });
    }
}

#[test]
fn bar_17_who_is_too_many_waits_for_the_next_round() {
    let _watchdog = watchdog();
    let slow = Slow::new();
    let barrier = slow.barrier(2);
    thread::scope(|s| {
        let first = [spawn(s, || barrier.wait()), spawn(s, || barrier.wait())];
        slow.began.wait();
        let third = asleep(s, &barrier);
        assert_eq!(barrier.n_waiting(), 2);
        slow.ends.set();
        let [one, other] = first.map(|waiter| waiter.join().unwrap());
        assert_eq!(one + other, 1);
        until(|| barrier.n_waiting() == 1);
        assert!(!third.is_finished());
        assert_eq!(barrier.wait(), Ok(1));
        assert_eq!(third.join(), Ok(0));
    });
}

#[test]
fn bar_17_and_9_who_is_too_many_and_out_of_time_breaks_the_next_round() {
    let _watchdog = watchdog();
    for resets in [false, true] {
        let slow = Slow::new();
        let barrier = slow.barrier(1);
        thread::scope(|s| {
            let runner = spawn(s, || barrier.wait());
            slow.began.wait();
            let patient = asleep(s, &barrier);
            let start = Instant::now();
            assert_eq!(barrier.wait_timeout(SHORT), BROKEN);
            assert!(start.elapsed() >= SHORT, "ended early");
            assert!(!barrier.broken(), "this round has not failed");
            if resets {
                barrier.reset();
            }
            slow.ends.set();
            assert_eq!(runner.join(), Ok(0));
            assert_eq!(patient.join(), if resets { Ok(0) } else { BROKEN });
            assert_eq!(barrier.broken(), !resets);
        });
    }
}

#[test]
fn bar_17_more_threads_than_parties_pass_in_full_rounds() {
    let _watchdog = watchdog();
    const THREADS: usize = 8;
    const PARTIES: usize = 3;
    const ROUNDS: usize = 2_000;
    let mut rounds = 0;
    let barrier = Barrier::new(PARTIES).with_action(|| rounds += 1);
    let (passed, numbers) = (AtomicUsize::new(0), AtomicUsize::new(0));
    threads(THREADS, |_| {
        // Whoever is left over when enough rounds are over is freed by an abort.
        while let Ok(number) = barrier.wait() {
            numbers.fetch_add(number, Relaxed);
            if passed.fetch_add(1, Relaxed) + 1 == ROUNDS * PARTIES {
                barrier.abort();
            }
        }
    });
    drop(barrier);
    assert!(rounds >= ROUNDS);
    let passed = passed.into_inner();
    // A round that the abort hit during the action has counted, and passed nobody.
    assert!(passed % PARTIES == 0 && (passed / PARTIES).abs_diff(rounds) <= 1);
    let sum_of_a_round = PARTIES * (PARTIES - 1) / 2;
    assert_eq!(numbers.into_inner(), passed / PARTIES * sum_of_a_round);
}

static HANDLED: AtomicUsize = AtomicUsize::new(0);

/// A signal whose handler counts; `SA_RESTART` makes no difference to interruptible waits.
const SIGNAL: Signal = Signal::SIGUSR1;

fn install_handler() {
    extern "C" fn count(_: c_int) {
        HANDLED.fetch_add(1, SeqCst);
    }
    let handler = SigHandler::Handler(count);
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler does only what is async-signal-safe.
    unsafe { sigaction(SIGNAL, &action) }.unwrap();
}

/// Sends the signal to a thread that sleeps at `barrier`.
#[track_caller]
fn disturb<R, A>(worker: &Worker<'_, R>, barrier: &Barrier<A>) {
    worker.until_asleep_in(barrier);
    let (process, tid) = (std::process::id(), worker.tid());
    // SAFETY: tgkill touches no memory of ours.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, process, tid, SIGNAL as c_int) };
    assert_eq!(sent, 0);
}

/// A thread that waits at `barrier` until a signal comes, asleep already.
fn interruptible<'scope>(
    scope: &'scope Scope<'scope, '_>,
    barrier: &'scope Barrier,
) -> Worker<'scope, Result<usize, Error>> {
    let waiter = spawn(scope, || barrier.wait_interruptible(Deadline::NEVER));
    waiter.until_asleep_in(barrier);
    waiter
}

#[test]
fn bar_18_and_sig_4_an_interruption_takes_its_caller_out_and_breaks_nothing() {
    let _watchdog = watchdog();
    install_handler();
    let barrier = Barrier::new(2);
    thread::scope(|s| {
        for _ in 0..10 {
            let waiter = interruptible(s, &barrier);
            disturb(&waiter, &barrier);
            assert_eq!(waiter.join(), Err(Error::Interrupted));
            assert_eq!((barrier.n_waiting(), barrier.broken()), (0, false));
        }
    });
    assert_works(&barrier);
}

#[test]
fn bar_18_after_interruptions_no_number_repeats() {
    let _watchdog = watchdog();
    install_handler();
    const PARTIES: usize = 6;
    let barrier = Barrier::new(PARTIES);
    // Whose places are given up, of the first five: the first, the last, several in either order.
    let cases: [&[usize]; 6] = [&[0], &[4], &[1, 3], &[3, 1], &[0, 1, 2, 3], &[4, 2, 0]];
    for gone in cases {
        thread::scope(|s| {
            let mut waiters: Vec<_> = (0..5).map(|_| Some(interruptible(s, &barrier))).collect();
            for (left, &index) in gone.iter().enumerate() {
                let waiter = waiters[index].take().unwrap();
                disturb(&waiter, &barrier);
                assert_eq!(waiter.join(), Err(Error::Interrupted));
                assert_eq!(barrier.n_waiting(), 4 - left);
            }
            // One comes back and goes again.
            let again = interruptible(s, &barrier);
            disturb(&again, &barrier);
            assert_eq!(again.join(), Err(Error::Interrupted));
            let missing = gone.len() + 1;
            waiters.extend((0..missing).map(|_| Some(spawn(s, || barrier.wait()))));
            let waiters = waiters.into_iter().flatten();
            let mut numbers: Vec<_> = waiters.map(|waiter| waiter.join().unwrap()).collect();
            numbers.sort_unstable();
            assert!(numbers.into_iter().eq(0..PARTIES), "{gone:?}");
        });
        assert_works(&barrier);
    }
}

#[test]
fn bar_18_an_interruption_during_the_action_does_not_count() {
    let _watchdog = watchdog();
    install_handler();
    let slow = Slow::new();
    let barrier = slow.barrier(2);
    thread::scope(|s| {
        let waiter = spawn(s, || barrier.wait_interruptible(Deadline::NEVER));
        until(|| barrier.n_waiting() == 1);
        let runner = spawn(s, || barrier.wait());
        slow.began.wait();
        let newcomer = spawn(s, || barrier.wait_interruptible(Deadline::NEVER));
        disturb(&waiter, &barrier);
        // One that is not of this round can still leave it.
        disturb(&newcomer, &barrier);
        assert_eq!(newcomer.join(), Err(Error::Interrupted));
        waiter.until_asleep_in(&barrier);
        assert!(!waiter.is_finished());
        slow.ends.set();
        assert_eq!((waiter.join(), runner.join()), (Ok(0), Ok(1)));
    });
    assert!(!barrier.broken());
    assert_works(&barrier);
}

#[test]
fn sig_2_and_3_plain_waits_go_on_after_signals() {
    let _watchdog = watchdog();
    install_handler();
    let barrier = Barrier::new(2);
    let plain = [PATIENT[0], PATIENT[1], PATIENT[3], PATIENT[4]];
    for (name, form) in plain {
        thread::scope(|s| {
            let waiter = spawn(s, || form(&barrier));
            for _ in 0..5 {
                let before = HANDLED.load(SeqCst);
                disturb(&waiter, &barrier);
                until(|| HANDLED.load(SeqCst) > before);
            }
            waiter.until_asleep_in(&barrier);
            assert!(!waiter.is_finished(), "{name}");
            assert_eq!(barrier.wait(), Ok(1), "{name}");
            assert_eq!(waiter.join(), Ok(0), "{name}");
        });
    }
}

#[test]
fn time_7_a_timeout_that_is_too_large_errs_and_breaks_nothing() {
    let _watchdog = watchdog();
    let barrier = Barrier::new(1);
    for timeout in [
        TOO_LONG,
        TIMEOUT_MAX + Duration::from_secs(1),
        Duration::MAX,
    ] {
        for _ in 0..2 {
            assert_eq!(barrier.wait_timeout(timeout), Err(Error::TimeoutTooLarge));
            assert_eq!(barrier.n_waiting(), 0);
        }
        let refused = Barrier::new(1).try_with_timeout(timeout);
        assert_eq!(refused.unwrap_err(), Error::TimeoutTooLarge);
        assert!(catch_unwind(|| Barrier::new(1).with_timeout(timeout)).is_err());
    }
    assert_works(&barrier);
    let longest = Barrier::new(1).try_with_timeout(TIMEOUT_MAX).unwrap();
    assert_works(&longest);
    assert_eq!(longest.wait_timeout(TIMEOUT_MAX), Ok(0));
    // What is wrong is said even if the barrier is broken.
    barrier.abort();
    assert_eq!(barrier.wait_timeout(TOO_LONG), Err(Error::TimeoutTooLarge));
}

#[test]
fn mem_4_what_the_parties_did_is_visible_to_the_action_and_its_doing_to_them() {
    let _watchdog = watchdog();
    const PARTIES: usize = 3;
    let data: [Unsynchronized<usize>; PARTIES] = [const { Unsynchronized::new(0) }; PARTIES];
    let sum = Unsynchronized::new(0);
    let barrier = Barrier::new(PARTIES).with_action(|| {
        // SAFETY: the parties write before they arrive only.
        let all = data.iter().map(|data| unsafe { *data.get() });
        let all: usize = all.sum();
        // SAFETY: the parties read between two waits, of which this is in the second.
        unsafe { *sum.get() = all };
    });
    threads(PARTIES, |party| {
        for round in 1..=2_000 {
            // SAFETY: between two waits no other thread touches it.
            unsafe { *data[party].get() = round };
            barrier.wait().unwrap();
            // SAFETY: nobody writes until all have arrived again.
            assert_eq!(unsafe { *sum.get() }, round * PARTIES);
        }
    });
}

#[test]
fn bar_stress_timeouts_aborts_and_resets_leave_each_round_in_agreement() {
    let _watchdog = watchdog();
    const THREADS: usize = 4;
    let barrier = Barrier::new(THREADS - 1);
    let (passed, sum) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let running = AtomicUsize::new(THREADS);
    thread::scope(|s| {
        for _ in 0..THREADS {
            s.spawn(|| {
                let mut rng = Rng::new();
                for _ in 0..5_000 {
                    let result = match rng.below(8) {
                        0 => barrier.wait_timeout(rng.timeout()),
                        1 => barrier.wait_interruptible(after(rng.timeout())),
                        2 if rng.below(40) == 0 => {
                            barrier.abort();
                            BROKEN
                        }
                        _ => barrier.wait(),
                    };
                    match result {
                        Ok(number) => {
                            passed.fetch_add(1, Relaxed);
                            sum.fetch_add(number, Relaxed);
                        }
                        Err(error) => {
                            assert_eq!(error, Error::BrokenBarrier);
                            if rng.below(2) == 0 {
                                barrier.reset();
                            }
                        }
                    }
                }
                running.fetch_sub(1, SeqCst);
            });
        }
        // The last ones wait for parties that do not come any more.
        until(|| {
            if running.load(SeqCst) <= barrier.n_waiting() || barrier.broken() {
                barrier.reset();
            }
            running.load(SeqCst) == 0
        });
    });
    let passed = passed.into_inner();
    assert!(passed % (THREADS - 1) == 0, "rounds pass as a whole");
    assert_eq!(sum.into_inner(), passed / (THREADS - 1) * 3);
    barrier.reset();
    assert_works(&barrier);
}

#[test]
fn bar_free_after_wait_the_last_user_may_destroy_it() {
    let _watchdog = watchdog();
    let (first, last) = (
        |barrier: &Barrier| assert!(barrier.wait().is_ok()),
        // Not the last party: it may go once the other one has made its step.
        |barrier: &Barrier| assert_eq!(barrier.wait(), Ok(0)),
    );
    let first = |barrier: &Barrier| {
        until(|| barrier.n_waiting() == 1);
        first(barrier);
    };
    check_destroyed_by_the_last_user(4_000, || Barrier::new(2), Barrier::has_waiters, first, last);
}

#[test]
fn bar_1_an_action_comes_to_the_same_barrier_and_goes_with_it() {
    struct Counts<'a>(&'a AtomicUsize);

    impl Drop for Counts<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    let drops = AtomicUsize::new(0);
    let counts = Counts(&drops);
    let broken = Barrier::new(2).with_timeout(SHORT);
    broken.abort();
    let barrier = broken.with_action(move || {
        let _kept = &counts;
    });
    assert!(barrier.broken(), "the state goes with it");
    barrier.reset();
    assert_eq!(barrier.wait(), BROKEN, "and the timeout");
    assert_eq!(drops.load(SeqCst), 0);
    drop(barrier);
    assert_eq!(drops.load(SeqCst), 1);
}

#[test]
fn repr_2_debug_is_pythons_text() {
    let _watchdog = watchdog();
    let barrier: Barrier<NoAction> = Barrier::new(2);
    let address = format!("{:p}", &barrier);
    let text = |state: &str| format!("<threadbare.Barrier at {address}: {state}>");
    assert_eq!(format!("{barrier:?}"), text("waiters=0/2"));
    thread::scope(|s| {
        let waiter = asleep(s, &barrier);
        assert_eq!(format!("{barrier:?}"), text("waiters=1/2"));
        barrier.abort();
        assert_eq!(waiter.join(), BROKEN);
        assert_eq!(format!("{barrier:?}"), text("broken"));
    });
}
