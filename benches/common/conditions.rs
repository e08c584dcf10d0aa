//! Conditions with their locks, behind one trait.

use super::peers::{PthreadCond, PthreadMutex};
use std::cell::UnsafeCell;
use std::sync::atomic::{
    AtomicU32, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use threadbare_sys::futex;

/// Data under a lock, with a condition to wait on.
pub trait Waiting: Send + Sync + 'static {
    const NAME: &'static str;

    fn new() -> Self;

    /// Changes the data and wakes one, or all, as the lock's users usually do: under the lock.
    fn change(&self, wake: Wake, change: impl FnOnce(&mut State));

    /// Runs under one lock: `before`, then waits until `ready`, then `after`.
    fn wait(
        &self,
        before: impl FnOnce(&mut State),
        ready: impl FnMut(&mut State) -> bool,
        after: impl FnOnce(&mut State),
    );
}

#[derive(Clone, Copy)]
pub enum Wake {
    Some(usize),
    All,
}

/// What the bodies of `condition` keep under the lock.
#[derive(Default)]
pub struct State {
    pub number: u64,
    pub waiting: usize,
}

macro_rules! waiting {
    ($($name:literal $type:ty: $new:expr,
        |$this:ident| $lock:expr, |$guard:ident| $wait:expr,
        $one:expr, $some:expr, $all:expr;)*) => {$(
        impl Waiting for $type {
            const NAME: &'static str = $name;

            fn new() -> Self {
                $new
            }

            fn change(&self, wake: Wake, change: impl FnOnce(&mut State)) {
                let $this = self;
                #[allow(unused_mut, reason = "not each of the guards is changed by a wait")]
                let mut $guard = $lock;
                change(&mut $guard);
                match wake {
                    Wake::Some(1) => {
                        let _ = $one;
                    }
                    Wake::Some(number) => some(number, $some, || {
                        let _ = $one;
                    }),
                    Wake::All => {
                        let _ = $all;
                    }
                }
            }

            fn wait(
                &self,
                before: impl FnOnce(&mut State),
                mut ready: impl FnMut(&mut State) -> bool,
                after: impl FnOnce(&mut State),
            ) {
                let $this = self;
                let mut $guard = $lock;
                before(&mut $guard);
                while !ready(&mut $guard) {
                    $wait;
                }
                after(&mut $guard);
            }
        }
    )*};
}

/// Wakes several, by one call where there is one.
fn some(number: usize, several: Option<&dyn Fn(usize)>, one: impl Fn()) {
    match several {
        Some(several) => several(number),
        None => (0..number).for_each(|_| one()),
    }
}

waiting! {
    "Monitor" threadbare::Monitor<State>: threadbare::Monitor::new(State::default()),
        |this| this.lock(), |guard| guard.wait(),
        guard.notify_one(), Some(&|n| { guard.notify(n); }), guard.notify_all();
    "Condition" OnRLock: OnRLock::default(),
        |this| this.lock(), |guard| guard.wait(),
        this.0.notify_one(), Some(&|n| { let _ = this.0.notify(n); }), this.0.notify_all();
    "Mutex and Condvar" (threadbare::Mutex<State>, threadbare::Condvar): Default::default(),
        |this| this.0.lock(), |guard| this.1.wait(&mut guard),
        this.1.notify_one(), Some(&|n| { this.1.notify(n); }), this.1.notify_all();
    "std" (std::sync::Mutex<State>, std::sync::Condvar): Default::default(),
        |this| this.0.lock().unwrap(), |guard| guard = this.1.wait(guard).unwrap(),
        this.1.notify_one(), None, this.1.notify_all();
    "parking_lot" (parking_lot::Mutex<State>, parking_lot::Condvar): Default::default(),
        |this| this.0.lock(), |guard| this.1.wait(&mut guard),
        this.1.notify_one(), None, this.1.notify_all();
    "usync" (usync::Mutex<State>, usync::Condvar): Default::default(),
        |this| this.0.lock(), |guard| this.1.wait(&mut guard),
        this.1.notify_one(), None, this.1.notify_all();
    "pthread" OnPthread: OnPthread::new(),
        |this| this.lock(), |guard| this.cond.wait(&this.mutex),
        this.cond.notify_one(), None, this.cond.notify_all();
}

/// Python's condition, on the lock that it makes for itself.
#[derive(Default)]
pub struct OnRLock(threadbare::Condition, UnsafeCell<State>);

// SAFETY: the state is reached through the guard alone.
unsafe impl Sync for OnRLock {}

impl OnRLock {
    fn lock(&self) -> Held<'_, impl Fn(), impl Fn()> {
        self.0.acquire();
        let wait = || self.0.wait().expect("a lock that is held");
        let release = || self.0.release().expect("a lock that is held");
        Held {
            state: &self.1,
            wait,
            release,
        }
    }
}

pub struct OnPthread {
    mutex: PthreadMutex,
    cond: PthreadCond,
    state: UnsafeCell<State>,
}

// SAFETY: the state is reached through the guard alone.
unsafe impl Sync for OnPthread {}

impl OnPthread {
    fn new() -> OnPthread {
        OnPthread {
            mutex: PthreadMutex::new(),
            cond: PthreadCond::new(),
            state: UnsafeCell::default(),
        }
    }

    fn lock(&self) -> Held<'_, impl Fn(), impl Fn()> {
        self.mutex.lock();
        let wait = || self.cond.wait(&self.mutex);
        let release = || self.mutex.unlock();
        Held {
            state: &self.state,
            wait,
            release,
        }
    }
}

/// A guard for objects that have none.
struct Held<'a, W, R: Fn()> {
    state: &'a UnsafeCell<State>,
    wait: W,
    release: R,
}

impl<W: Fn(), R: Fn()> Held<'_, W, R> {
    fn wait(&self) {
        (self.wait)();
    }
}

impl<W, R: Fn()> std::ops::Deref for Held<'_, W, R> {
    type Target = State;

    fn deref(&self) -> &State {
        // SAFETY: the lock is held, and nobody else has a reference.
        unsafe { &*self.state.get() }
    }
}

impl<W, R: Fn()> std::ops::DerefMut for Held<'_, W, R> {
    fn deref_mut(&mut self) -> &mut State {
        // SAFETY: the lock is held, and nobody else has a reference.
        unsafe { &mut *self.state.get() }
    }
}

impl<W, R: Fn()> Drop for Held<'_, W, R> {
    fn drop(&mut self) {
        (self.release)();
    }
}

/// The least that waking all can cost: one word that all sleep on, and no lock. The state is not shared:
/// each who is woken is told that it may go.
#[derive(Default)]
pub struct BareBroadcast {
    round: AtomicU32,
    /// The notifier's.
    state: std::sync::Mutex<State>,
    /// Of the state.
    waiting: AtomicUsize,
}

impl Waiting for BareBroadcast {
    const NAME: &'static str = "bare futex, no lock";

    fn new() -> Self {
        BareBroadcast::default()
    }

    fn change(&self, _: Wake, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap();
        change(&mut state);
        self.waiting.store(state.waiting, Relaxed);
        // Release: pairs with the Acquire of who is woken.
        self.round.fetch_add(1, Release);
        futex::wake(&raw const self.round, u32::MAX);
    }

    fn wait(
        &self,
        before: impl FnOnce(&mut State),
        _: impl FnMut(&mut State) -> bool,
        after: impl FnOnce(&mut State),
    ) {
        // Acquire: as said in `change`.
        let round = self.round.load(Acquire);
        before(&mut State::default());
        while self.round.load(Acquire) == round {
            let _ = futex::wait(&self.round, round, None); // the word says whether it may go
        }
        let waiting = self.waiting.load(Relaxed);
        after(&mut State { number: 1, waiting });
    }
}
