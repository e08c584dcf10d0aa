//! What is known of a thread: its record, shared by its handles and the thread itself.

use super::join::OsThread;
use super::name::Name;
use super::registry::{self, List, Place};
use crate::error::Error;
use crate::observe::{self, TraceHook};
use crate::raw::claim::Claim;
use crate::raw::lifecycle::RawLifecycle;
use crate::raw::token::RawToken;
use std::cell::UnsafeCell;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use threadbare_sys::settings::Settings;
use threadbare_sys::{fork, name};

/// No generation of forks.
const NEVER: u32 = u32::MAX;

/// What a thread runs.
pub(super) type Target = Box<dyn FnOnce() + Send>;

pub(crate) struct Record {
    /// Who the thread is: taken when it is made, told to others as its ident once it is started.
    pub(super) token: u64,
    pub(super) lifecycle: RawLifecycle,
    /// What `park` waits for.
    pub(super) parking: RawToken,
    /// Usable bytes; 0 for what `set_stack_size` says at the start.
    pub(super) stack_size: usize,
    /// What it has otherwise than the thread that starts it.
    pub(super) settings: Settings,
    /// The [`fork::generation`] in which the thread runs: in a later one it is not there.
    generation: AtomicU32,
    /// That in which this crate started it.
    started_in: AtomicU32,
    /// From the start to the join. Its lock is held by who waits for the kernel thread.
    pub(super) os: Claim<OsThread>,
    /// Under the lock of the record's shard: see `registry`.
    pub(super) state: UnsafeCell<State>,
}

// SAFETY: `state` is touched under the lock of the record's shard only; all else is `Sync`.
unsafe impl Sync for Record {}
// SAFETY: `Place`'s pointers are followed under the lock of the shard; all else is `Send`.
unsafe impl Send for Record {}

/// What of a thread may change.
pub(super) struct State {
    pub(super) kind: Kind,
    pub(super) name: Name,
    pub(super) daemon: bool,
    pub(super) plan: Plan,
    /// The kernel's id while the thread can be given a name there.
    kernel_id: Option<u32>,
    /// It waits for the end of the process, so nobody is to wait for it.
    pub(super) is_leaving: bool,
    slots: Slots,
    pub(super) place: Place,
}

/// A thread's own trace and profile function: see `observe`.
#[derive(Clone)]
pub(crate) struct Slots {
    pub(crate) trace: Option<TraceHook>,
    pub(crate) profile: Option<TraceHook>,
}

impl Slots {
    pub(crate) const EMPTY: Slots = Slots {
        trace: None,
        profile: None,
    };
}

/// Where a thread comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Started, or to be started, by this crate.
    Thread,
    /// The same, of a `Timer`.
    Timer,
    /// The one that the process began with, or that forked it.
    Main,
    /// Started by anybody else.
    Dummy,
}

/// What a thread will run.
pub(super) enum Plan {
    Nothing,
    Target(Target),
    /// It has been run, or is being run, or never was in the record.
    Used,
}

impl Plan {
    /// Takes it out, to be run.
    pub(super) fn take(&mut self) -> Result<Plan, Error> {
        match mem::replace(self, Plan::Used) {
            Plan::Used => Err(Error::TargetUsed),
            plan => Ok(plan),
        }
    }
}

impl Record {
    /// The record of a thread that is to be started.
    pub(super) fn new(
        token: u64,
        kind: Kind,
        name: Name,
        daemon: bool,
        plan: Plan,
        stack_size: usize,
    ) -> Record {
        Record {
            token,
            lifecycle: RawLifecycle::new(),
            parking: RawToken::new(),
            stack_size,
            settings: Settings::INHERITED,
            generation: AtomicU32::new(fork::generation()),
            started_in: AtomicU32::new(NEVER),
            os: Claim::new(),
            state: UnsafeCell::new(State {
                kind,
                name,
                daemon,
                plan,
                kernel_id: None,
                is_leaving: false,
                slots: Slots::EMPTY,
                place: Place::NOWHERE,
            }),
        }
    }

    /// For the record of a thread that runs already: says so and lists it.
    pub(super) fn runs_already(self: &Arc<Record>, native_id: u32) {
        self.lifecycle.runs_already(native_id);
        self.with_list(|list, state| {
            state.kernel_id = Some(native_id);
            list.insert(self, state);
        });
    }

    /// Calls `access` with the state, under its lock: see the rules of `registry`.
    pub(super) fn with<R>(&self, access: impl FnOnce(&mut State) -> R) -> R {
        registry::with(self, |_, state| access(state))
    }

    /// As [`with`](Record::with), with the list that the record belongs to.
    pub(super) fn with_list<R>(&self, access: impl FnOnce(&mut List, &mut State) -> R) -> R {
        registry::with(self, access)
    }

    /// Calls `access` with the thread's trace and profile function, under the record's lock.
    pub(crate) fn with_slots<R>(&self, access: impl FnOnce(&mut Slots) -> R) -> R {
        self.with(|state| access(&mut state.slots))
    }

    /// As [`with_slots`](Record::with_slots), unless the thread is listed no more.
    pub(crate) fn with_listed_slots<R>(&self, access: impl FnOnce(&mut Slots) -> R) -> Option<R> {
        self.with(|state| {
            let is_listed = state.place.is_listed();
            is_listed.then(|| access(&mut state.slots))
        })
    }

    /// For who starts the thread: that it is a thread of this process and of this crate.
    pub(super) fn starts_here(&self) {
        // Relaxed: ordered by the lifecycle, and a fork copies all memory.
        self.generation.store(fork::generation(), Relaxed);
        self.started_in.store(fork::generation(), Relaxed);
    }

    /// Whether this process is the one that started the thread, which is to be joined for libc.
    pub(super) fn is_ours_to_join(&self) -> bool {
        // Relaxed: as in `starts_here`.
        self.started_in.load(Relaxed) == fork::generation()
    }

    /// Whether the thread was started before a fork that it did not survive (FORK-4).
    pub(super) fn is_vanished(&self) -> bool {
        // Relaxed: as in `starts_here`.
        self.lifecycle.is_started() && self.generation.load(Relaxed) != fork::generation()
    }

    pub(super) fn is_alive(&self) -> bool {
        self.lifecycle.is_started() && !self.lifecycle.is_ended() && !self.is_vanished()
    }

    /// For the thread itself: tells the kernel the name, if it was given one, and then its kernel id,
    /// so that who knows that finds the name there.
    pub(super) fn runs_as(&self, native_id: u32) {
        self.with(|state| {
            state.kernel_id = Some(native_id);
            if let Name::Given(given) = &state.name {
                // What the kernel calls the thread is for people to read: no reason to fail.
                let _ = name::set_own(given);
            }
        });
        self.lifecycle.runs_as(native_id);
    }

    /// Changes the name, here and in the kernel if the thread runs. Returns the old one, to be
    /// dropped outside of any lock.
    pub(super) fn rename(&self, new: Arc<str>) -> Name {
        self.with(|state| {
            if let Some(id) = state.kernel_id.filter(|_| !self.is_vanished()) {
                // The id is the thread's, since it takes it back under this lock before it ends.
                // What the kernel calls the thread is for people to read: no reason to fail.
                let _ = name::set(id, &new);
            }
            mem::replace(&mut state.name, Name::Given(new))
        })
    }

    /// For the thread itself, at its end: takes the record out of the lists. The lists' reference
    /// is to be dropped outside of any lock.
    pub(super) fn leave_lists(&self) -> Option<Arc<Record>> {
        self.with_list(|list, state| {
            state.kernel_id = None;
            // Still listed, it was not at its end: it has called `exit`, and ends with the process.
            state.is_leaving |= state.place.is_listed();
            list.remove(self, state)
        })
    }

    /// In the child of a fork, for the thread that goes on there: it is the main thread now, under
    /// a new kernel id (FORK-2, FORK-3).
    ///
    /// # Safety
    /// The caller holds all shards, and there is no other thread.
    pub(super) unsafe fn survive(&self, native_id: u32) {
        // Relaxed: there is no other thread.
        self.generation.store(fork::generation(), Relaxed);
        self.lifecycle.runs_already(native_id);
        // SAFETY: the record's shard is held.
        let state = unsafe { &mut *self.state.get() };
        state.kernel_id = Some(native_id);
        state.is_leaving = false;
        observe::survive(&state.slots);
        if state.kind == Kind::Dummy {
            state.kind = Kind::Main;
            state.daemon = false;
            // Not dropped: that might allocate or free, of which a child is better spared.
            mem::forget(mem::replace(&mut state.name, Name::Main));
        }
    }
}
