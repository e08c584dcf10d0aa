//! A lock whose release is the proof that the caller holds it, and can be a plain store.
//!
//! A [`RawLock`] with a word beside it that says how it is released:
//!
//! ```text
//!   bit 31 FOR_GOOD | bits 9..31 waiters: how many threads are counted
//!   bits 1..9 tick: when the last one came | bit 0 SYMMETRIC
//!
//!   SYMMETRIC, nobody for some ms  --release-->  ASYMMETRIC (0)
//!   ASYMMETRIC                     --a waiter is counted; then it fences all threads-->  SYMMETRIC | 1
//!   SYMMETRIC | n                  --a waiter is counted, or leaves-->  SYMMETRIC | n±1
//! ```
//! FOR_GOOD, set from the start or never, keeps it SYMMETRIC. A release looks whether the mode is
//! ASYMMETRIC. If not, it is that of the `RawLock`: a compare-and-swap that finds WAITERS, and a wake. If it
//! is,
//!
//! ```text
//!   release:  store UNLOCKED | compiler fence | load the mode again; if not ASYMMETRIC: wake one
//!   waiter:   count itself in the mode | fence_all, if it was ASYMMETRIC | swap LOCKED | WAITERS
//! ```
//! The store may wipe out WAITERS, which a waiter has set meanwhile; hence the second look and the wake.
//!
//! # Invariants
//!
//! 1. *Whoever may sleep on the lock's word without limit is counted*, from before it sets WAITERS until
//!    it has the lock or gives up. One that is requeued is counted by who requeues it. (A newcomer that
//!    finds the lock reserved may sleep on it for a moment before that; if it is woken meanwhile, for
//!    another, it goes on to be counted and to swap.)
//! 2. *The mode goes to ASYMMETRIC by the holder only, and only while nobody is counted.* So as long
//!    as a thread sleeps, the mode is not ASYMMETRIC.
//! 3. *Who counts itself in an ASYMMETRIC mode swaps LOCKED | WAITERS into the word after its
//!    `fence_all`, in any case*, also if its time is up by then.
//! 4. A holder that requeues others counts them without a fence, and sets WAITERS itself.
//!
//! # Why no wake is lost
//!
//! `fence_all` puts a full fence p(R) into every other thread R, between its begin and its end
//! (membarrier(2); Bessa et al., "Asymmetric fences", ISO C++ P1202). Let W be a thread that waits,
//! and R a thread whose release is a plain store.
//!
//! - W found the mode ASYMMETRIC. If R's store comes before p(R), then W's swap, by 3, finds the lock
//!   free, or taken by a later one. If not, R's second look comes after p(R) too, and finds the mode
//!   changed, since it stays so by 2: R wakes one. So the swap's WAITERS is not wiped out without a wake.
//! - W found that another, V, had made it SYMMETRIC already, which may be in the middle of its
//!   fence. Then a release may wipe out W's WAITERS without a wake; but V's swap comes after, by
//!   3, and WAITERS is set again, to stay as above. Who is woken for it, or finds the lock free by that
//!   swap, leaves WAITERS set for W (`lock.rs`). Until then W may sleep although the lock is free, as it
//!   may while who was woken for it has not come to run.
//! - W found that a holder had made it SYMMETRIC, by 4. Any release by a plain store came before
//!   that one took the lock, so also before W's swap (the mode's AcqRel orders it behind): it does not
//!   wipe that out.
//!
//! After that the lock is a `RawLock`. If instead the mode could be ASYMMETRIC while a thread sleeps,
//! a release delayed between its store and its second look would find it so and wake nobody: that is
//! what the count is for.
//!
//! # The end of the lock
//!
//! The second look reads the mode after the store, so the next owner must not free the lock before the
//! release has returned. [`RawLock`] has no such exception.
//!
//! # Fork
//!
//! In the child of a fork, waiters that are not there stay counted, also when the lock is made as new:
//! it stays symmetric. Who forked in a signal handler while it waited is among them, and leaves.
//!
//! # Ordering
//!
//! The holder's data is ordered by `lock`: the plain store is a Release. The mode is Relaxed but for the
//! counting (AcqRel), which pairs with itself for invariant 4. What orders the two words is the fences.

use crate::primitive::{AtomicU32, Word, const_unless_modelled, futex_wake, light_fence};
use crate::raw::asymmetry;
use crate::raw::lock::RawLock;
use crate::raw::park::{GaveUp, Limit};
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

const ASYMMETRIC: u32 = 0;
const SYMMETRIC: u32 = 1 << 0;
const ONE_TICK: u32 = 1 << 1;
const TICK: u32 = ONE_WAITER - ONE_TICK;
/// Where the count of ticks begins anew; 0 stands for no waiter ever.
const TICKS: u32 = TICK / ONE_TICK;
/// 2^22 of them do not come: there are fewer thread ids (`PID_MAX_LIMIT`).
const ONE_WAITER: u32 = 1 << 9;
const FOR_GOOD: u32 = 1 << 31;

/// Whether no thread is counted in `mode`, and none ever keeps it symmetric.
const fn is_without_waiters(mode: u32) -> bool {
    mode < ONE_WAITER
}

/// Ticks since the last waiter of `mode` came, now that it is `now`; wraps.
const fn age(mode: u32, now: u32) -> u32 {
    match (mode & TICK) / ONE_TICK {
        0 => u32::MAX,
        came => (now % TICKS + TICKS - (came - 1)) % TICKS,
    }
}

/// `mode` with one waiter more, who came at `now`.
const fn with_waiter(mode: u32, now: u32) -> u32 {
    ((mode & !TICK) + ONE_WAITER) | ((now % TICKS + 1) * ONE_TICK) | SYMMETRIC
}

/// The protocol of `Mutex<T>`, and below `RLock` and `Monitor`.
#[derive(Debug)]
#[repr(C)]
pub struct OwnedLock {
    lock: RawLock,
    mode: AtomicU32,
}

impl OwnedLock {
    const_unless_modelled! {
        /// A free lock. Its releases become plain stores once one of the first has found that they may.
        pub fn new() -> OwnedLock {
            OwnedLock {
                lock: RawLock::new(),
                mode: AtomicU32::new(SYMMETRIC),
            }
        }
    }

    const_unless_modelled! {
        /// A free lock that is always released as a [`RawLock`]: the next owner may free it.
        pub fn symmetric() -> OwnedLock {
            OwnedLock {
                lock: RawLock::new(),
                mode: AtomicU32::new(FOR_GOOD | SYMMETRIC),
            }
        }
    }

    /// See [`RawLock::attempt`].
    #[inline]
    pub fn attempt(&self) -> bool {
        self.lock.attempt()
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_acquire(&self) -> bool {
        self.lock.try_acquire()
    }

    /// Takes the lock, waiting for it within `limit`.
    #[inline]
    pub fn acquire(&self, limit: Limit) -> Result<(), GaveUp> {
        if self.attempt() {
            Ok(())
        } else {
            self.acquire_contended(limit)
        }
    }

    /// Waits for the lock. To be called when an attempt has failed.
    #[cold]
    pub fn acquire_contended(&self, limit: Limit) -> Result<(), GaveUp> {
        if self.lock.acquire_awake(limit)? {
            Ok(())
        } else {
            self.acquire_asleep(limit)
        }
    }

    /// Takes the lock for a thread that has looked for long enough.
    fn acquire_asleep(&self, limit: Limit) -> Result<(), GaveUp> {
        if self.count_waiter() == ASYMMETRIC {
            asymmetry::fence_all();
        }
        // Begins with the swap of invariant 3.
        let taken = self.lock.acquire_asleep(limit);
        self.discount_waiter();
        taken
    }

    /// Takes the lock, without limit, for a thread that was counted by
    /// [`expect_waiter`](OwnedLock::expect_waiter).
    #[cold]
    pub fn acquire_expected(&self) {
        let taken = self.lock.acquire_asleep(Limit::NONE);
        debug_assert_eq!(taken, Ok(()), "a wait without limit does not give up");
    }

    /// Ends what [`expect_waiter`](OwnedLock::expect_waiter) has begun; for the thread that was expected,
    /// and has the lock. It may not have known that it was, and have taken the lock as others do.
    pub fn expected_waiter_came(&self) {
        self.discount_waiter();
    }

    /// How many threads are counted.
    #[cfg(any(test, threadbare_model))]
    pub fn counted(&self) -> u32 {
        // Relaxed: for who knows that nobody changes it.
        (self.mode.load(Relaxed) & !FOR_GOOD) / ONE_WAITER
    }

    /// For the holder: makes the next release wake a thread, because one is about to be requeued to
    /// [`as_raw`](OwnedLock::as_raw). That one is to call
    /// [`expected_waiter_came`](OwnedLock::expected_waiter_came) once it has the lock.
    pub fn expect_waiter(&self) {
        self.count_waiter(); // invariant 4
        self.lock.announce_waiter();
    }

    /// Counts a thread; returns the mode before.
    fn count_waiter(&self) -> u32 {
        let now = asymmetry::tick();
        // Relaxed: checked by the exchange.
        let mut mode = self.mode.load(Relaxed);
        loop {
            // AcqRel: pairs with itself, in another thread.
            let counted =
                self.mode
                    .compare_exchange_weak(mode, with_waiter(mode, now), AcqRel, Relaxed);
            match counted {
                Ok(_) => return mode,
                Err(other) => mode = other,
            }
        }
    }

    fn discount_waiter(&self) {
        // Relaxed: nobody concludes anything from its being gone.
        self.mode.fetch_add(ONE_WAITER.wrapping_neg(), Relaxed);
    }

    /// Frees the lock and lets one waiter go on.
    ///
    /// # Safety
    /// The caller holds the lock, and unless it is [`symmetric`](OwnedLock::symmetric) nobody frees it
    /// before this has returned.
    #[inline]
    pub unsafe fn release(&self) {
        // Relaxed, here and below: see the module's proof.
        if self.mode.load(Relaxed) != ASYMMETRIC {
            return self.release_symmetric();
        }
        // SAFETY: passed on to the caller.
        unsafe { self.release_by_store() };
    }

    /// What follows the first look where that finds nobody.
    ///
    /// # Safety
    /// As [`release`](OwnedLock::release).
    #[inline]
    unsafe fn release_by_store(&self) {
        // SAFETY: the caller holds the lock, and the second look lets a waiter go on.
        unsafe { self.lock.store_free() };
        light_fence();
        // Relaxed: as above.
        if self.mode.load(Relaxed) != ASYMMETRIC {
            self.wake_one();
        }
    }

    #[cold]
    fn wake_one(&self) {
        futex_wake(self.lock.word().address(), 1);
    }

    fn release_symmetric(&self) {
        // Relaxed: checked by the exchange.
        let mode = self.mode.load(Relaxed);
        if is_without_waiters(mode) && asymmetry::is_available() && asymmetry::is_due() {
            self.consider(mode);
        }
        let released = self.lock.release();
        debug_assert_eq!(released, Ok(()), "the caller holds it");
    }

    /// For the holder: lets releases to come be plain stores, if that seems right.
    fn consider(&self, mode: u32) {
        let now = asymmetry::tick();
        if asymmetry::may_begin(now, age(mode, now)) {
            // Fails where a waiter came (invariant 2). Relaxed: who takes the lock later sees this by
            // the lock's ordering, who does not is not the holder.
            let _ = self
                .mode
                .compare_exchange(mode, ASYMMETRIC, Relaxed, Relaxed);
        }
    }

    /// Whether some thread has the lock now.
    #[inline]
    pub fn is_locked(&self) -> bool {
        self.lock.is_locked()
    }

    /// Whether a thread may be asleep on the lock.
    pub fn has_waiters(&self) -> bool {
        self.lock.has_waiters()
    }

    /// Makes it as new.
    ///
    /// # Safety
    /// No other thread uses the lock.
    pub unsafe fn reinit(&self) {
        // The mode stays: it is right for a free lock, and the caller may be counted in it.
        // SAFETY: passed on to the caller.
        unsafe { self.lock.reinit() };
    }

    /// The lock that waiters sleep on.
    pub fn as_raw(&self) -> &RawLock {
        &self.lock
    }
}

#[cfg(all(test, not(threadbare_model)))]
pub(super) mod tests {
    use super::*;
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    use nix::unistd::Pid;
    use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};
    use std::sync::atomic::{AtomicUsize, fence};
    use std::time::{Duration, Instant};

    #[test]
    fn every_mode_is_read_as_the_diagram_says() {
        assert!(is_without_waiters(ASYMMETRIC) && is_without_waiters(SYMMETRIC | TICK));
        assert_eq!(age(SYMMETRIC, 7), u32::MAX);
        for now in [0, 1, 254, 255, 1000, 4_000_000_000] {
            for before in [
                ASYMMETRIC,
                SYMMETRIC,
                SYMMETRIC | TICK,
                5 * ONE_WAITER,
                FOR_GOOD,
            ] {
                let mode = with_waiter(before, now);
                assert_eq!(mode / ONE_WAITER, before / ONE_WAITER + 1);
                assert!(mode & SYMMETRIC != 0 && !is_without_waiters(mode));
                for ticks in [0, 1, 2, 254] {
                    assert_eq!(age(mode, now.wrapping_add(ticks)), ticks);
                }
            }
        }
    }

    fn use_once(lock: &OwnedLock) {
        assert!(lock.try_acquire());
        // SAFETY: taken just now.
        unsafe { lock.release() };
        assert!(!lock.is_locked());
    }

    #[test]
    fn one_that_is_to_stay_symmetric_does() {
        asymmetry::prepare();
        let lock = OwnedLock::symmetric();
        for _ in 0..10 {
            use_once(&lock);
            assert_eq!(lock.mode.load(Relaxed), FOR_GOOD | SYMMETRIC);
        }
    }

    #[test]
    fn fork_5_who_made_it_as_new_while_it_waited_leaves_it_in_order() {
        let lock = OwnedLock::new();
        assert!(lock.try_acquire());
        lock.count_waiter();
        // In a signal handler, in the child of a fork.
        // SAFETY: there is this thread only.
        unsafe { lock.reinit() };
        // Back in the wait.
        assert_eq!(lock.lock.acquire_asleep(Limit::NONE), Ok(()));
        lock.discount_waiter();
        assert_eq!(lock.counted(), 0);
        // SAFETY: taken above.
        unsafe { lock.release() };
        assert!(!lock.is_locked());
    }

    #[test]
    fn a_release_by_a_plain_store_frees_the_lock() {
        let lock = OwnedLock::new();
        lock.mode.store(ASYMMETRIC, Relaxed);
        for _ in 0..3 {
            use_once(&lock);
            assert_eq!(lock.mode.load(Relaxed), ASYMMETRIC);
        }
    }

    /// Waits, and ends the process after a minute: a panic would wait for the other thread.
    pub fn until(reached: impl Fn() -> bool) {
        let begun = Instant::now();
        while !reached() {
            if begun.elapsed().as_secs() > 60 {
                eprintln!("what a test waits for does not come");
                std::process::abort();
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn lock_12_the_second_look_finds_who_came_after_the_first() {
        const ROUNDS: usize = 100;
        asymmetry::prepare();
        let (lock, done) = (OwnedLock::new(), AtomicUsize::new(0));
        std::thread::scope(|s| {
            for round in 1..=ROUNDS {
                until(|| lock.try_acquire());
                lock.mode.store(ASYMMETRIC, Relaxed); // and the first look
                s.spawn(|| {
                    lock.acquire_asleep(Limit::NONE).unwrap();
                    // SAFETY: taken just now.
                    unsafe { lock.release() };
                    done.fetch_add(1, Release);
                });
                until(|| lock.has_waiters());
                // Every other time it may be asleep by then.
                (0..round % 2 * 20).for_each(|_| std::thread::yield_now());
                // SAFETY: taken above.
                unsafe { lock.release_by_store() };
                until(|| done.load(Acquire) == round);
            }
        });
    }

    /// As [`until`], for who has to notice at once.
    fn until_now(reached: impl Fn() -> bool) {
        until(|| {
            (0..1000).any(|_| {
                std::hint::spin_loop();
                reached()
            })
        });
    }

    /// Has this thread run on `cpu` only.
    fn stay_on(cpu: usize) {
        let mut only = CpuSet::new();
        only.set(cpu).unwrap();
        sched_setaffinity(Pid::from_raw(0), &only).unwrap();
    }

    /// The store of a release takes long to get to memory: it waits behind others to lines that are in the
    /// other CPU's cache, while the loads after it are done. How often a waiter slept on that had announced
    /// itself meanwhile; it waits by `acquire`, on the second of `cpus`. Ends where it `is_enough`, by how many
    /// rounds there were and what they have lost, and returns both.
    fn lost_wakes(
        cpus: [usize; 2],
        acquire: impl Fn(&OwnedLock) + Sync,
        is_enough: impl Fn(usize, usize) -> bool + Sync,
    ) -> (usize, usize) {
        const END: usize = usize::MAX;
        #[repr(align(64))]
        struct Line(AtomicUsize);
        // Some number of them fits the processor's queue of stores.
        let lines: [Line; 80] = std::array::from_fn(|_| Line(AtomicUsize::new(0)));
        let touch = |round: usize| {
            let some = &lines[..round % lines.len()];
            some.iter().for_each(|line| line.0.store(round, Relaxed));
        };
        asymmetry::prepare();
        let lock = OwnedLock::new();
        let [ready, begun, done] = [(); 3].map(|()| AtomicUsize::new(0));
        std::thread::scope(|s| {
            s.spawn(|| {
                stay_on(cpus[1]);
                for round in 1.. {
                    touch(round);
                    ready.store(round, Release);
                    until_now(|| begun.load(Acquire) >= round);
                    if begun.load(Relaxed) == END {
                        break;
                    }
                    acquire(&lock);
                    // SAFETY: taken just now.
                    unsafe { lock.release() };
                    done.store(round, Release);
                }
            });
            let holder = s.spawn(|| {
                stay_on(cpus[0]);
                let (mut round, mut lost) = (0, 0);
                while !is_enough(round, lost) {
                    round += 1;
                    assert!(lock.try_acquire());
                    lock.mode.store(ASYMMETRIC, Relaxed); // nobody is counted
                    until_now(|| ready.load(Acquire) >= round);
                    begun.store(round, Release);
                    touch(round);
                    // SAFETY: taken above.
                    unsafe { lock.release() };
                    fence(SeqCst); // from here on the lock is seen to be free, so that nobody goes to sleep
                    lost += futex_wake(lock.lock.word().address(), 1);
                    until_now(|| done.load(Acquire) >= round);
                }
                begun.store(END, Release);
                (round, lost)
            });
            holder.join().unwrap()
        })
    }

    /// The race for which there is the fence, and that it is there to be won: without the fence the control
    /// loses a wake in one of eight rounds (AMD Zen 5; in fewer where other threads want the CPUs).
    #[test]
    // Unoptimized stores come too slowly to queue up, and CPUs that share a cache do not make them wait: there the
    // control would lose nothing.
    #[ignore = "takes two CPUs with caches of their own and optimized code: `make stress` runs it"]
    fn lock_12_a_release_by_a_plain_store_wakes_who_is_about_to_sleep() {
        let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
        let cpus: Vec<_> = (0..CpuSet::count())
            .filter(|cpu| allowed.is_set(*cpu).unwrap())
            .collect();
        let [first, .., last] = cpus[..] else {
            eprintln!("left out: it takes two CPUs");
            return;
        };
        let begun = Instant::now();
        let seconds_are_over = |seconds| begun.elapsed() > Duration::from_secs(seconds);
        let unfenced = |lock: &OwnedLock| {
            lock.count_waiter();
            lock.lock.acquire_asleep(Limit::NONE).unwrap();
            lock.discount_waiter();
        };
        let (_, lost) = lost_wakes([first, last], unfenced, |_, lost| {
            lost > 0 || seconds_are_over(60)
        });
        assert_ne!(lost, 0, "the control loses wakes");
        let fenced = |lock: &OwnedLock| lock.acquire_asleep(Limit::NONE).unwrap();
        let (rounds, lost) = lost_wakes([first, last], fenced, |round, _| {
            round == 40_000 || seconds_are_over(120)
        });
        assert!(
            rounds >= 1_000 && lost == 0,
            "{lost} lost in {rounds} rounds"
        );
    }

    #[test]
    fn who_is_counted_makes_it_symmetric_and_it_stays_so() {
        let lock = OwnedLock::new();
        lock.mode.store(ASYMMETRIC, Relaxed);
        assert!(lock.try_acquire());
        lock.expect_waiter();
        // SAFETY: taken above.
        unsafe { lock.release() };
        assert!(!is_without_waiters(lock.mode.load(Relaxed)) && !lock.is_locked());
        lock.acquire_expected();
        lock.expected_waiter_came();
        // SAFETY: taken just now.
        unsafe { lock.release() };
        assert!(is_without_waiters(lock.mode.load(Relaxed)));
    }
}
