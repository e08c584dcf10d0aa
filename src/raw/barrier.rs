//! A point that threads pass together, round after round (BAR).
//!
//! # State word
//!
//! ```text
//!   bits 40..64 threads inside | bits 5..40 round | SLEEPERS | VACATED | DOOMED | RESETTING | BROKEN
//!
//!   filling     n < parties are inside, each with a seat          n_waiting = n
//!      |  the last one arrives                    timeout, abort: -> broken
//!      |                                          reset: -> resetting
//!   tripping    n >= parties; the last runs the action
//!      |  trip: count 0, wake all                 abort, panic in the action: -> broken
//!   filling, round + 1 (broken if DOOMED)         reset: no effect (BAR-11)
//!
//!   broken      who is inside or comes leaves with an error       reset: -> resetting,
//!                                                                 or round + 1 if nobody is inside
//!   resetting   who is inside leaves with an error, who comes     abort, timeout of who waits
//!      |        leaves and waits outside                          outside: -> broken
//!      |  the last one leaves: wake all
//!   filling, round + 1
//! ```
//! A thread counts itself in with one `fetch_add`; what it found there says what it is:
//!
//! - *seated*: the round was filling. It waits until the round moves on, which means success, or
//!   fails. Until the round is full it may break it (timeout) or give its seat back (interruption).
//!   After that it waits without limit: the round is as good as settled (BAR-7).
//! - *the last*: seated, and the round is full with it. It runs the action and trips the barrier.
//! - *a newcomer*: the round was full already (BAR-17). A trip wipes it out of the count with all
//!   others, and it arrives anew. If its time is up before, the next round is DOOMED.
//! - *outside*: the round had failed, and it has left at once.
//!
//! # Invariants
//!
//! 1. A round that has failed moves on only when nobody is inside. Any other moves on by its trip,
//!    or when an interrupted thread that is alone inside leaves. So for a seated thread a new round
//!    means success, whatever happened since, and all of a round fare alike (BAR-4, BAR-10).
//! 2. A full round stays full until it trips or fails: only newcomers leave it. So each round has
//!    one last thread at most.
//! 3. The last thread is counted until it trips the barrier or leaves a failed round. By 1 no other
//!    round begins before, so no other thread is the last one meanwhile: the action is its alone.
//! 4. SLEEPERS is set over all who sleep. It goes in the step that ends what they wait for, and who
//!    makes that step wakes all.
//!
//! # Seats
//!
//! A seat is the count that its thread found, until a thread gives one back (VACATED). From then on
//! those who arrive, which the old value of the word tells them, take theirs under `seats_lock`:
//! one that was given back, or the next that nobody had. Those on their way to the lock are in the
//! count already. So in a full round as many are seated or on their way as it has parties, none of
//! whom can leave any more. The last is who takes the last seat, not who found the last count:
//! it trips when nobody is on the way. Thus nobody takes a seat of a round that is over, and who
//! sets VACATED, and prepares `seats` before it frees the lock, finds nobody of another round at it.
//! If the round fails, those on their way still take seats, which then mean nothing.
//!
//! # Ordering
//!
//! Arrivals are AcqRel, everything that moves or leaves a round is Release, and who waits looks with
//! Acquire. Every write is a read-modify-write, so all release sequences go on to the end. Hence the
//! past of all parties is visible to the last one, and its action to all of them (MEM-4) and to the
//! last ones of later rounds, also when its own round failed. Seats are ordered by their lock, under
//! which a seat is taken after the arrival.

use crate::primitive::{
    AtomicU64, UnsafeCell, Word, const_unless_modelled, futex_wake, thread_token,
};
use crate::raw::lock::RawLock;
use crate::raw::park::{GaveUp, Limit, park};
use crate::raw::spin::Spin;
use std::mem;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

const BROKEN: u64 = 1 << 0;
const RESETTING: u64 = 1 << 1;
/// The next round begins broken. Means nothing in a round that has failed.
const DOOMED: u64 = 1 << 2;
/// A seat of this round was given back.
const VACATED: u64 = 1 << 3;
const SLEEPERS: u64 = 1 << 4;
const ONE_ROUND: u64 = 1 << 5;
const ONE_THREAD: u64 = 1 << 40;
const ROUND: u64 = ONE_THREAD - ONE_ROUND;

/// The most parties of a barrier. The count has room for twice as many, and the kernel for half as
/// many threads (`PID_MAX_LIMIT`), so newcomers cannot make it overflow.
pub const MAX_PARTIES: u32 = 1 << 23;

/// `runner` while no action runs; no thread's token.
const NOBODY: u64 = 0;

/// The threads inside.
const fn count(state: u64) -> u32 {
    (state / ONE_THREAD) as u32
}

/// The round, in its place.
const fn round(state: u64) -> u64 {
    state & ROUND
}

/// Whether the round of `state` can only be left with an error.
const fn has_failed(state: u64) -> bool {
    state & (BROKEN | RESETTING) != 0
}

/// Whether a thread of the round `mine` knows its fate from `state`.
const fn is_settled(state: u64, mine: u64) -> bool {
    round(state) != mine || has_failed(state)
}

/// Whether in `state` the round `mine` waits for more to arrive.
const fn is_filling(state: u64, mine: u64, parties: u32) -> bool {
    !is_settled(state, mine) && count(state) < parties
}

/// An empty round after that of `state`.
const fn next_round(state: u64) -> u64 {
    (round(state) + ONE_ROUND) & ROUND
}

/// `state`, full, after the trip.
const fn tripped(state: u64) -> u64 {
    if state & DOOMED == 0 {
        next_round(state)
    } else {
        next_round(state) | BROKEN
    }
}

/// `state` after it was broken.
const fn broken(state: u64) -> u64 {
    (state & !(RESETTING | SLEEPERS)) | BROKEN
}

/// `state`, failed, after a thread has left.
const fn left(state: u64) -> u64 {
    let state = state - ONE_THREAD;
    if state & RESETTING != 0 && count(state) == 0 {
        next_round(state)
    } else {
        state
    }
}

/// `state`, filling, after a seat was given back.
const fn vacated(state: u64) -> u64 {
    if count(state) == 1 {
        next_round(state)
    } else {
        (state - ONE_THREAD) | VACATED
    }
}

/// `state` after a reset.
const fn reset(state: u64, parties: u32) -> u64 {
    let resetting = (state & !(BROKEN | SLEEPERS)) | RESETTING;
    if state & RESETTING != 0 {
        state
    } else if state & BROKEN != 0 {
        if count(state) == 0 {
            next_round(state)
        } else {
            resetting
        }
    } else if count(state) >= parties {
        state & !DOOMED
    } else if count(state) == 0 {
        state
    } else {
        resetting
    }
}

/// Why a thread did not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The round was broken, be it by this thread's timeout, or reset.
    Broken,
    /// A signal handler ran. The thread is out, and nothing else has changed.
    Interrupted,
}

impl From<GaveUp> for Failure {
    fn from(gave_up: GaveUp) -> Failure {
        match gave_up {
            GaveUp::TimedOut => Failure::Broken,
            GaveUp::Interrupted => Failure::Interrupted,
        }
    }
}

/// What a thread that came to the barrier is.
#[derive(Debug)]
pub enum Arrival<'a> {
    /// The one who completes its round.
    Last(Last<'a>),
    /// One who waits for the others.
    Early(Early),
}

/// What a thread is that has to wait.
#[derive(Debug)]
pub struct Early {
    standing: Standing,
    /// The round that it came to.
    round: u64,
}

#[derive(Debug)]
enum Standing {
    /// Inside, with this seat.
    Seated(u32),
    /// Inside, beside a full round.
    Newcomer,
    /// Outside, because of a reset.
    Outside,
    /// Outside, because the barrier is broken.
    Refused,
}

/// How a wait has ended well.
#[derive(Debug)]
pub enum Waited<'a> {
    /// The round was tripped; the thread's seat.
    Passed(u32),
    /// The thread has arrived anew, as the last of its round.
    Last(Last<'a>),
}

/// The seats of a round in which some were given back. Those that were never given come last.
#[derive(Debug)]
struct Seats {
    vacant: Vec<u32>,
    fresh: u32,
}

impl Seats {
    /// Begins a round in which the seats below `fresh` are taken.
    fn begin(&mut self, fresh: u32) {
        self.vacant.clear();
        self.fresh = fresh;
    }

    fn give_back(&mut self, seat: u32) {
        self.vacant.push(seat);
    }

    /// A seat, and how many are taken with it.
    fn take(&mut self) -> (u32, u32) {
        let seat = self.vacant.pop().unwrap_or_else(|| {
            self.fresh += 1;
            self.fresh - 1
        });
        (seat, self.fresh - self.vacant.len() as u32)
    }
}

/// The protocol of `Barrier`.
#[derive(Debug)]
pub struct RawBarrier {
    state: AtomicU64,
    /// The token of the thread that runs the action.
    runner: AtomicU64,
    parties: u32,
    /// Protects `seats`.
    seats_lock: RawLock,
    seats: UnsafeCell<Seats>,
}

// SAFETY: `seats` is touched under `seats_lock` only; the rest is atomic or does not change.
unsafe impl Sync for RawBarrier {}

impl RawBarrier {
    const_unless_modelled! {
        /// A barrier for `parties` threads, from 1 to [`MAX_PARTIES`].
        pub fn new(parties: u32) -> RawBarrier {
            RawBarrier {
                state: AtomicU64::new(0),
                runner: AtomicU64::new(NOBODY),
                parties,
                seats_lock: RawLock::new(),
                seats: UnsafeCell::new(Seats { vacant: Vec::new(), fresh: 0 }),
            }
        }
    }

    /// Makes the barrier as new, a round later.
    ///
    /// # Safety
    /// No other thread uses it, and nobody goes on with a use that was begun.
    pub unsafe fn reinit(&self) {
        // Relaxed, here and below: nobody else is there.
        let state = self.state.load(Relaxed);
        self.state.store(next_round(state), Relaxed);
        self.runner.store(NOBODY, Relaxed);
        // SAFETY: nobody else uses the lock.
        unsafe { self.seats_lock.reinit() };
        let new = Seats {
            vacant: Vec::new(),
            fresh: 0,
        };
        // Not dropped: a vanished thread may have been at it.
        // SAFETY: nobody else touches the seats, as the caller promises.
        self.seats.with_mut(|seats| unsafe { seats.write(new) });
    }

    /// How many threads a round takes.
    pub fn parties(&self) -> u32 {
        self.parties
    }

    /// How many of them are there; 0 once the round has failed (BAR-13).
    pub fn n_waiting(&self) -> u32 {
        // Relaxed: the answer may be old by the time it is used.
        let state = self.state.load(Relaxed);
        if has_failed(state) {
            0
        } else {
            count(state).min(self.parties) // newcomers are for another round
        }
    }

    /// Whether the barrier is broken.
    pub fn is_broken(&self) -> bool {
        // Relaxed: as in `n_waiting`.
        self.state.load(Relaxed) & BROKEN != 0
    }

    /// Whether a thread may be asleep here.
    pub fn has_sleepers(&self) -> bool {
        // Relaxed: as in `n_waiting`.
        self.state.load(Relaxed) & SLEEPERS != 0
    }

    /// Whether the calling thread is inside [`Last::act`].
    pub fn is_acting(&self) -> bool {
        // Relaxed: tokens are never reused, so a thread reads its own only if it wrote it last.
        self.runner.load(Relaxed) == thread_token()
    }

    /// Comes to the barrier. Whoever is not the last is to [`wait`](RawBarrier::wait).
    #[inline]
    pub fn arrive(&self) -> Arrival<'_> {
        // Release: pairs with the Acquire of the last arrival, here. Acquire: in the last thread,
        // that; and it pairs with the Release in `change`, by which the runner of an earlier round
        // left.
        let before = self.state.fetch_add(ONE_THREAD, AcqRel);
        let seat = count(before);
        if before & (BROKEN | RESETTING | VACATED) != 0 || seat >= self.parties {
            return self.arrive_irregularly(before);
        }
        self.sit_down(round(before), seat, seat + 1)
    }

    /// What a thread is that has `seat`, and with which as many as `taken` seats are.
    #[inline]
    fn sit_down(&self, round: u64, seat: u32, taken: u32) -> Arrival<'_> {
        if taken == self.parties {
            Arrival::Last(Last {
                barrier: self,
                seat,
            })
        } else {
            Arrival::Early(Early {
                standing: Standing::Seated(seat),
                round,
            })
        }
    }

    /// The rest of an arrival that found `before`, which is not a round that fills in order.
    #[cold]
    fn arrive_irregularly(&self, before: u64) -> Arrival<'_> {
        let round = round(before);
        let standing = if has_failed(before) {
            self.leave();
            if before & BROKEN != 0 {
                Standing::Refused
            } else {
                Standing::Outside
            }
        } else if count(before) >= self.parties {
            Standing::Newcomer
        } else {
            let (seat, taken) = self.with_seats(Seats::take);
            return self.sit_down(round, seat, taken);
        };
        Arrival::Early(Early { standing, round })
    }

    /// Waits until the round of `early` is settled, within `limit`; who came at a bad moment
    /// arrives anew meanwhile.
    pub fn wait(&self, mut early: Early, limit: Limit) -> Result<Waited<'_>, Failure> {
        loop {
            let round = early.round;
            match early.standing {
                Standing::Seated(seat) => {
                    self.wait_seated(round, seat, limit)?;
                    return Ok(Waited::Passed(seat));
                }
                Standing::Newcomer => self.wait_for_trip(round, limit)?,
                Standing::Outside => self.wait_for_reset(round, limit)?,
                Standing::Refused => return Err(Failure::Broken),
            }
            match self.arrive() {
                Arrival::Last(last) => return Ok(Waited::Last(last)),
                Arrival::Early(again) => early = again,
            }
        }
    }

    /// For the owner of `seat`: waits until its round is settled.
    fn wait_seated(&self, mine: u64, seat: u32, mut limit: Limit) -> Result<(), Failure> {
        let over = |state| is_settled(state, mine);
        let settled = loop {
            let gave_up = match self.watch(limit, over) {
                (_, Some(gave_up)) => gave_up,
                (state, None) => break state,
            };
            let gone = match gave_up {
                GaveUp::TimedOut => self.break_filling(mine),
                GaveUp::Interrupted => self.vacate(mine, seat),
            };
            if gone {
                return Err(gave_up.into());
            }
            // Settled, or full: then it is the last one's to settle, and lasts as long as the
            // action does (BAR-7).
            limit = Limit::NONE;
        };
        if round(settled) == mine {
            self.leave();
            return Err(Failure::Broken);
        }
        Ok(())
    }

    /// For a newcomer beside the round `mine`: waits until it can arrive anew.
    fn wait_for_trip(&self, mine: u64, limit: Limit) -> Result<(), Failure> {
        let over = |state| is_settled(state, mine);
        let (mut state, gave_up) = self.watch(limit, over);
        if let Some(gave_up) = gave_up {
            let doomed = match gave_up {
                GaveUp::TimedOut => DOOMED,
                GaveUp::Interrupted => 0,
            };
            let gone = |state| (!over(state)).then(|| (state - ONE_THREAD) | doomed);
            match self.change(gone) {
                Ok(_) => return Err(gave_up.into()),
                Err(now) => state = now,
            }
        }
        if round(state) == mine {
            self.leave();
            if state & BROKEN != 0 {
                return Err(Failure::Broken);
            }
        }
        // Nothing is left of it here. A limit that has passed holds for the new arrival too, but a
        // signal does not come twice.
        match gave_up {
            Some(GaveUp::Interrupted) => Err(Failure::Interrupted),
            Some(GaveUp::TimedOut) | None => Ok(()),
        }
    }

    /// For a thread outside: waits until the reset of the round `failed` is complete, or the
    /// barrier is broken. If its time is up, it breaks the barrier itself.
    fn wait_for_reset(&self, failed: u64, limit: Limit) -> Result<(), Failure> {
        let over = |state| round(state) != failed || state & RESETTING == 0;
        match self.watch(limit, over) {
            (_, None) => Ok(()),
            (_, Some(GaveUp::Interrupted)) => Err(Failure::Interrupted),
            (_, Some(GaveUp::TimedOut)) => {
                match self.change(|state| (!over(state)).then(|| broken(state))) {
                    Ok(_) => Err(Failure::Broken),
                    Err(_) => Ok(()), // as in `wait_for_trip`
                }
            }
        }
    }

    /// Waits until the state is `over`; returns it, and whether the thread gave up by `limit`.
    fn watch(&self, limit: Limit, over: impl Fn(u64) -> bool) -> (u64, Option<GaveUp>) {
        // Acquire: pairs with the Release in `change`, as all loads here: what ends the wait may
        // be a trip.
        let mut state = self.state.load(Acquire);
        if !over(state) {
            if limit.deadline.has_passed() {
                return (state, Some(GaveUp::TimedOut));
            }
            state = self.spin(limit, &over);
        }
        while !over(state) {
            if state & SLEEPERS == 0 {
                // Announce ourselves before sleeping, or `change` would skip the wake.
                // Relaxed: publishes nothing. Acquire on failure: `now` may show a trip.
                let announced = state | SLEEPERS;
                if let Err(now) = self
                    .state
                    .compare_exchange(state, announced, Relaxed, Acquire)
                {
                    state = now;
                    continue;
                }
            }
            // The lower half: the flags and 27 bits of the round, but not the count, so that an
            // arrival disturbs nobody. A thread would sleep through the end of its round only if a
            // multiple of 2^27 rounds fell between its last look and its sleep.
            let parked = park(&self.state, (state | SLEEPERS) as u32, limit);
            state = self.state.load(Acquire);
            if let Err(gave_up) = parked {
                return (state, Some(gave_up));
            }
        }
        (state, None)
    }

    /// Looks again for a while; returns the state seen last.
    fn spin(&self, limit: Limit, over: impl Fn(u64) -> bool) -> u64 {
        let mut spin = Spin::for_all_of(self.parties, limit);
        loop {
            let state = self.state.load(Acquire);
            if over(state) || !spin.turn(state & SLEEPERS != 0) {
                return state;
            }
        }
    }

    /// For a seated thread: leaves the round `mine` broken, if that is still filling.
    fn break_filling(&self, mine: u64) -> bool {
        let filling = |state| is_filling(state, mine, self.parties);
        self.change(|state| filling(state).then(|| broken(state - ONE_THREAD)))
            .is_ok()
    }

    /// For a seated thread: gives its seat in the round `mine` back, if that is still filling.
    #[cold]
    fn vacate(&self, mine: u64, seat: u32) -> bool {
        self.with_seats(|seats| {
            let filling = |state| is_filling(state, mine, self.parties);
            let Ok(before) = self.change(|state| filling(state).then(|| vacated(state))) else {
                return false;
            };
            if count(before) > 1 {
                if before & VACATED == 0 {
                    seats.begin(count(before));
                }
                seats.give_back(seat);
            }
            true
        })
    }

    /// Calls `access` with the seats, under their lock.
    fn with_seats<R>(&self, access: impl FnOnce(&mut Seats) -> R) -> R {
        let taken = self.seats_lock.acquire(Limit::NONE);
        debug_assert_eq!(taken, Ok(()), "a wait without limit does not give up");
        // SAFETY: exclusive under the lock, and `access` does not come back here.
        let result = self.seats.with_mut(|seats| access(unsafe { &mut *seats }));
        let released = self.seats_lock.release();
        debug_assert_eq!(released, Ok(()), "taken above");
        result
    }

    /// For a thread that is inside a round that has failed: leaves it.
    fn leave(&self) {
        let gone = self.change(|state| Some(left(state)));
        debug_assert!(gone.is_ok(), "leaving takes no condition");
    }

    /// Fails all who are inside and all who come, until a reset.
    pub fn abort(&self) {
        // There is nothing to do if it is broken.
        let _ = self.change(|state| (state & BROKEN == 0).then(|| broken(state)));
    }

    /// Fails all who wait, and lets a new round begin once they have left.
    pub fn reset(&self) {
        // There is nothing to do if nobody waits, or it is done already.
        let _ = self.change(|state| {
            let new = reset(state, self.parties);
            (new != state).then_some(new)
        });
    }

    /// Makes of the state what `to` says, and wakes all who sleep if that takes SLEEPERS away;
    /// returns the state before. Nothing of the barrier is touched after the step, for those that it lets go may free it.
    ///
    /// # Errors
    /// The state for which `to` had nothing to say.
    #[inline]
    fn change(&self, to: impl Fn(u64) -> Option<u64>) -> Result<u64, u64> {
        let word = self.state.address(); // the barrier may be gone by the time we wake
        // Relaxed: a first guess, which the exchange checks.
        let mut state = self.state.load(Relaxed);
        while let Some(new) = to(state) {
            // Release: pairs with the Acquire in `watch` and `spin`, if this is a trip, and in
            // `arrive`, if a thread leaves that has run the action.
            match self
                .state
                .compare_exchange_weak(state, new, Release, Relaxed)
            {
                Ok(_) => {
                    if state & !new & SLEEPERS != 0 {
                        futex_wake(word, u32::MAX);
                    }
                    return Ok(state);
                }
                Err(now) => state = now,
            }
        }
        Err(state)
    }
}

/// The thread that completes a round. Dropped instead of tripped, it breaks the barrier.
#[derive(Debug)]
#[must_use = "the others wait for the trip"]
pub struct Last<'a> {
    barrier: &'a RawBarrier,
    seat: u32,
}

impl Last<'_> {
    /// Calls `action`, which no other thread does meanwhile for the same barrier (invariant 3).
    pub fn act(&self, action: impl FnOnce()) {
        struct Acting<'a>(&'a RawBarrier);

        impl Drop for Acting<'_> {
            fn drop(&mut self) {
                // Relaxed: see `is_acting`.
                self.0.runner.store(NOBODY, Relaxed);
            }
        }

        // Relaxed: see `is_acting`.
        self.barrier.runner.store(thread_token(), Relaxed);
        let _acting = Acting(self.barrier);
        action();
    }

    /// Lets all parties pass, unless the round has failed meanwhile; returns the caller's seat.
    #[inline]
    pub fn trip(self) -> Result<u32, Failure> {
        let (barrier, seat) = (self.barrier, self.seat);
        mem::forget(self);
        match barrier.change(|state| (!has_failed(state)).then(|| tripped(state))) {
            Ok(_) => Ok(seat),
            Err(_) => {
                barrier.leave();
                Err(Failure::Broken)
            }
        }
    }
}

impl Drop for Last<'_> {
    fn drop(&mut self) {
        let gone = self
            .barrier
            .change(|state| Some(broken(state - ONE_THREAD)));
        debug_assert!(gone.is_ok(), "breaking takes no condition");
    }
}

#[cfg(all(test, not(threadbare_model)))]
mod tests {
    use super::*;

    const PARTIES: u32 = 3;
    const FLAGS: u64 = ONE_ROUND - 1;

    /// Every mix of flags, with no, some, enough and more threads, in some rounds.
    fn states() -> impl Iterator<Item = u64> {
        let rounds = [0, ONE_ROUND, ROUND];
        let counts = 0..=PARTIES + 1;
        rounds.into_iter().flat_map(move |round| {
            let counts = counts.clone();
            counts.flat_map(move |count| {
                (0..=FLAGS).map(move |flags| (u64::from(count) * ONE_THREAD) | round | flags)
            })
        })
    }

    #[test]
    fn the_fields_do_not_overlap_and_the_kernel_compares_flags_and_round() {
        use memoffset::span_of;
        assert_eq!(span_of!(RawBarrier, state).len(), 8);
        assert_eq!(FLAGS | ROUND | (u64::from(u32::MAX >> 8) * ONE_THREAD), !0);
        assert_eq!(FLAGS & ROUND, 0);
        assert_eq!(count(!0), 2 * MAX_PARTIES - 1);
        let barrier = RawBarrier::new(PARTIES);
        barrier.state.store((7 * ONE_THREAD) | SLEEPERS, Relaxed);
        // A wait on any other value returns at once; one on this value would sleep.
        let past = Limit::until(crate::primitive::Deadline::now());
        let slept = park(&barrier.state, SLEEPERS as u32, past);
        assert_eq!(slept, Err(GaveUp::TimedOut));
        assert_eq!(park(&barrier.state, 0, past), Ok(()));
    }

    #[test]
    fn bar_2_a_round_is_filling_full_or_failed() {
        for state in states() {
            let failed = state & (BROKEN | RESETTING) != 0;
            assert_eq!(has_failed(state), failed);
            let mine = round(state);
            assert_eq!(is_settled(state, mine), failed);
            assert!(is_settled(state, next_round(state)));
            let filling = !failed && count(state) < PARTIES;
            assert_eq!(is_filling(state, mine, PARTIES), filling);
            assert!(!is_filling(state, next_round(state), PARTIES));
        }
    }

    #[test]
    fn bar_4_a_new_round_is_empty_and_differs_from_the_old_one() {
        for state in states() {
            let new = next_round(state);
            assert_eq!((count(new), new & FLAGS), (0, 0));
            assert_ne!(round(new), round(state));
            let doomed = if state & DOOMED != 0 { BROKEN } else { 0 };
            assert_eq!(tripped(state), new | doomed);
        }
    }

    #[test]
    fn bar_9_and_12_breaking_keeps_the_round_and_who_is_inside() {
        for state in states() {
            let broken = broken(state);
            assert_eq!(broken & (BROKEN | RESETTING | SLEEPERS), BROKEN);
            assert_eq!((round(broken), count(broken)), (round(state), count(state)));
        }
    }

    #[test]
    fn bar_11_a_reset_disturbs_no_full_round_and_waits_for_who_is_inside() {
        for state in states().filter(|state| state & RESETTING == 0 || count(*state) > 0) {
            let new = reset(state, PARTIES);
            if state & RESETTING != 0 {
                assert_eq!(new, state);
            } else if has_failed(state) && count(state) == 0 {
                assert_eq!(new, next_round(state));
            } else if has_failed(state) || (1..PARTIES).contains(&count(state)) {
                assert_eq!(new & (BROKEN | RESETTING | SLEEPERS), RESETTING);
                assert_eq!((round(new), count(new)), (round(state), count(state)));
            } else {
                assert_eq!(new | DOOMED, state | DOOMED);
                assert!(count(state) == 0 || new & DOOMED == 0);
            }
        }
    }

    #[test]
    fn bar_2_only_the_last_one_to_leave_a_reset_round_ends_it() {
        for state in states().filter(|state| has_failed(*state) && count(*state) > 0) {
            let new = left(state);
            if state & RESETTING != 0 && count(state) == 1 {
                assert_eq!(new, next_round(state));
            } else {
                assert_eq!(new, state - ONE_THREAD);
            }
        }
    }

    #[test]
    fn bar_18_who_leaves_alone_leaves_an_empty_round() {
        for state in states().filter(|state| is_filling(*state, round(*state), PARTIES)) {
            match count(state) {
                0 => {}
                1 => assert_eq!(vacated(state), next_round(state)),
                _ => assert_eq!(vacated(state), (state - ONE_THREAD) | VACATED),
            }
        }
    }

    #[test]
    fn bar_18_seats_that_were_given_back_are_given_once_more() {
        let mut seats = Seats {
            vacant: vec![9],
            fresh: 9,
        };
        seats.begin(3);
        seats.give_back(1);
        assert_eq!(seats.take(), (1, 3));
        assert_eq!(seats.take(), (3, 4));
        seats.give_back(0);
        seats.give_back(2);
        let (first, second) = (seats.take(), seats.take());
        assert_eq!((first.0 + second.0, first.1, second.1), (2, 3, 4));
        assert_eq!(seats.take(), (4, 5));
    }

    #[test]
    fn bar_3_the_seats_are_the_order_of_arrival() {
        let barrier = RawBarrier::new(2);
        for _ in 0..3 {
            let Arrival::Early(early) = barrier.arrive() else {
                panic!("one is missing")
            };
            let Arrival::Last(last) = barrier.arrive() else {
                panic!("nobody is missing")
            };
            assert_eq!(barrier.n_waiting(), 2);
            assert_eq!(last.trip(), Ok(1));
            let waited = barrier.wait(early, Limit::NONE);
            assert!(matches!(waited, Ok(Waited::Passed(0))), "{waited:?}");
        }
    }
}
