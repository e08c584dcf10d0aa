//! loom: every order of the steps, up to a bound.
//!
//! # Fences for all threads
//!
//! loom has no membarrier(2). There are two stand-ins, and models of what uses it run with both:
//! - [`Fences::OnBothSides`]: the fence that the one side does without is there, a full one, as is the
//!   other's. What is right with membarrier need not be right with less than that (ISO C++ P1202).
//! - [`Fences::Remote`]: the one side has none. The other's makes each other thread execute one before its
//!   next access, and waits for that; so it lies anywhere in that thread, as in the kernel. A thread that
//!   sleeps or has ended has done so by then, and one that wakes does so first.

use super::{Budget, Life};
use loom::sync::atomic::fence;
use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::atomic::Ordering::{Release, SeqCst};

macro_rules! atomics {
    ($($name:ident of $value:ty),*) => {$(
        /// loom's, but dropping it counts as a write, and nothing may come after that.
        #[derive(Debug)]
        pub struct $name(loom::sync::atomic::$name, Life);

        impl $name {
            /// An atomic that holds `value`.
            pub fn new(value: $value) -> $name {
                $name(loom::sync::atomic::$name::new(value), Life::new())
            }
        }

        impl Deref for $name {
            type Target = loom::sync::atomic::$name;

            #[track_caller]
            fn deref(&self) -> &Self::Target {
                self.1.check();
                take_part();
                &self.0
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                if !std::thread::panicking() {
                    self.0.with_mut(|_| ());
                }
            }
        }
    )*};
}
atomics!(AtomicU32 of u32, AtomicU64 of u64);

/// loom's, but dropping it counts as a write, and nothing may come after that.
#[derive(Debug)]
pub struct UnsafeCell<T>(loom::cell::UnsafeCell<T>, Life);

impl<T> UnsafeCell<T> {
    /// A cell that holds `value`.
    pub fn new(value: T) -> UnsafeCell<T> {
        UnsafeCell(loom::cell::UnsafeCell::new(value), Life::new())
    }
}

impl<T> Deref for UnsafeCell<T> {
    type Target = loom::cell::UnsafeCell<T>;

    #[track_caller]
    fn deref(&self) -> &Self::Target {
        self.1.check();
        &self.0
    }
}

impl<T> Drop for UnsafeCell<T> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.0.with_mut(|_| ());
        }
    }
}

loom::lazy_static! {
    static ref SPURIOUS_LEFT: Budget = Budget::of(UNKINDNESS.get().spurious_wakes);
}

/// What the futex does to the models to come on this thread.
#[derive(Clone, Copy, Debug)]
pub struct Unkindness {
    /// How many waits without a deadline wake for no reason in each execution: those that begin
    /// first.
    pub spurious_wakes: u32,
    /// Whether a wait that ends early begins by letting the others run. If so, each of them makes
    /// one step at least before the end; if not, that takes a preemption. A model is complete only
    /// with both.
    pub late: bool,
    /// Whether each release of a lock that has waiters keeps it for them, or none.
    pub reserves: bool,
}

thread_local! {
    // Not loom's: it outlives the execution. All threads of a model run on one of the system's.
    static UNKINDNESS: Cell<Unkindness> = const {
        Cell::new(Unkindness { spurious_wakes: 0, late: true, reserves: false })
    };
}

impl Unkindness {
    /// That of the models to come on this thread.
    pub fn current() -> Unkindness {
        UNKINDNESS.get()
    }

    /// Makes it that of the models to come on this thread.
    pub fn apply(self) {
        UNKINDNESS.set(self);
    }
}

/// Whether a release keeps the lock for a waiter.
pub fn reserves() -> bool {
    UNKINDNESS.get().reserves
}

/// See the real one. loom would leave it open whether the store comes before or after the others'
/// read-modify-writes that it races with, although those before it began with one of the same thread, and
/// so come before. As a read-modify-write itself it comes last. That another does not see it yet shows
/// by what this thread does not see afterwards.
pub fn overwrite(word: &AtomicU32, value: u32) {
    word.swap(value, Release);
}

/// How a fence for all threads is modelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fences {
    /// A full fence in each of the two threads.
    OnBothSides,
    /// A full fence in the one that asks, and by its doing in all others.
    Remote,
}

thread_local! {
    // Not loom's, as above.
    static FENCES: Cell<Fences> = const { Cell::new(Fences::OnBothSides) };
}

impl Fences {
    /// Makes it that of the models to come on this thread.
    pub fn apply(self) {
        FENCES.set(self);
    }

    fn are_remote() -> bool {
        FENCES.get() == Fences::Remote
    }
}

/// What a thread knows of the fences for all.
#[derive(Default)]
struct Member {
    /// The last one that it has executed its part of.
    done: Cell<u32>,
    /// It sleeps or has ended, and has executed a fence before that.
    is_away: Cell<bool>,
}

/// The threads of one execution. Plain data, which orders nothing: see `Budget`.
#[derive(Default)]
struct Members {
    all: RefCell<Vec<Rc<Member>>>,
    /// How many fences there were.
    fences: Cell<u32>,
}

// SAFETY: see `Budget`.
unsafe impl Sync for Members {}
// SAFETY: see `Budget`.
unsafe impl Send for Members {}

/// Ends with its thread.
struct Membership(Rc<Member>);

impl Membership {
    fn new() -> Membership {
        let member = Rc::new(Member::default());
        MEMBERS.all.borrow_mut().push(member.clone());
        Membership(member)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            fence(SeqCst);
        }
        self.0.is_away.set(true);
    }
}

loom::lazy_static! {
    static ref MEMBERS: Members = Members::default();
}

loom::thread_local! {
    static MEMBERSHIP: Membership = Membership::new();
}

/// Before an access: executes the thread's part of fences for all that it has not had yet.
fn take_part() {
    if Fences::are_remote() {
        MEMBERSHIP.with(|me| {
            let fences = MEMBERS.fences.get();
            if me.0.done.replace(fences) != fences {
                fence(SeqCst);
            }
        });
    }
}

/// Does what others are not to wait for, when it comes to fences.
pub fn away(sleep: impl FnOnce()) {
    if !Fences::are_remote() {
        return sleep();
    }
    MEMBERSHIP.with(|me| {
        fence(SeqCst);
        me.0.is_away.set(true);
    });
    sleep();
    MEMBERSHIP.with(|me| {
        me.0.is_away.set(false);
    });
    take_part();
}

/// The light side's; see the module.
pub fn light_fence() {
    if !Fences::are_remote() {
        fence(SeqCst);
    }
}

/// The heavy side's; there always is one.
pub fn fence_all_threads() -> bool {
    // For loom a fence is one with the access before it. Others may come between.
    linger(|| false);
    fence(SeqCst);
    if Fences::are_remote() {
        let this = MEMBERS.fences.get() + 1;
        MEMBERS.fences.set(this);
        take_part();
        let is_missing = |member: &Rc<Member>| !member.is_away.get() && member.done.get() < this;
        while MEMBERS.all.borrow().iter().any(is_missing) {
            loom::thread::yield_now();
            take_part(); // in another's
        }
        fence(SeqCst);
    }
    true
}

/// Whether a wait that nothing is to end early ends now.
pub(super) fn wakes_for_no_reason() -> bool {
    SPURIOUS_LEFT.take()
}

/// Passes the time of a wait that ends early.
pub(super) fn linger(_woken: impl Fn() -> bool) {
    if UNKINDNESS.get().late {
        loom::thread::yield_now();
    }
}
