//! x

#[cfg(not(threadbare_loom))]
mod blocking;
#[cfg(not(threadbare_loom))]
mod condition;
#[cfg(not(threadbare_loom))]
mod deadline;
#[cfg(not(threadbare_loom))]
mod error;
#[cfg(not(threadbare_loom))]
mod event;
#[cfg(not(threadbare_loom))]
mod guard;
#[cfg(not(threadbare_loom))]
mod lock;
#[cfg(not(threadbare_loom))]
mod locked;
#[cfg(not(threadbare_loom))]
mod primitive;
#[cfg(not(threadbare_loom))]
mod raw;
#[cfg(not(threadbare_loom))]
mod rlock;
#[cfg(not(threadbare_loom))]
mod semaphore;
#[cfg(not(threadbare_loom))]
mod thread;

#[cfg(not(threadbare_loom))]
pub use crate::{
    condition::{CondLock, Condition, OwnerProof, Truthy},
    deadline::{Deadline, TIMEOUT_MAX},
    error::{Error, ErrorKind, OsError},
    event::Event,
    guard::{Guard, Guarded},
    lock::Lock,
    rlock::RLock,
    semaphore::{BoundedSemaphore, Semaphore},
    thread::{
        Builder, Thread, get_ident, get_native_id, set_overflow_report, set_stack_cache,
        set_stack_size, stack_size,
    },
};

// The models under `tests/loom/` reach the protocols from outside.
#[cfg(threadbare_loom)]
#[doc(hidden)]
pub mod primitive;
#[cfg(threadbare_loom)]
#[doc(hidden)]
pub mod raw;
