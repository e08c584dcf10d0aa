//! `_threadbare`: threadbare as a Python module, with the signatures and exceptions of `threading`.
//!
//! What a call does is the crate's; what is added here is listed in the README beside this folder.
//! `stand-in/threading.py` makes the module `threading` of it.

mod args;
mod barrier;
mod condition;
mod errors;
mod event;
mod exit;
mod local;
mod lock;
mod locks;
mod rlock;
mod semaphore;
mod thread;
mod timer;
mod wait;

/// The module.
#[pyo3::pymodule]
mod _threadbare {
    #[pymodule_export]
    use crate::{
        barrier::Barrier,
        condition::Condition,
        errors::BrokenBarrierError,
        event::Event,
        exit::{register_atexit, set_excepthook, shutdown},
        local::Local,
        lock::Lock,
        rlock::RLock,
        semaphore::{BoundedSemaphore, Semaphore},
        thread::{
            Handle, active_count, current, enumerate, get_ident, get_native_id, main, stack_size,
        },
        timer::Timer,
    };

    #[pymodule_export]
    const TIMEOUT_MAX: f64 = threadbare::TIMEOUT_MAX.as_secs() as f64;
}
