//! The protocols: state words and the queues of who waits for them. No data, no guards, no Python.
//!
//! All lock-free code of the crate is here, and only here: this is what the models under
//! `tests/loom/` cover and what a reviewer reads twice. Each file says what its word means, who
//! moves it from which state to which, and which accesses pair.
//!
//! No operation touches an object's memory after the store that lets another thread go on: that
//! thread may free the object. What is left to do then, a wake, needs the address only. (The two
//! exceptions are said in `condition/shared.rs` and `owned_lock.rs`.)

pub mod asymmetry;
pub mod barrier;
pub mod claim;
pub mod condition;
pub mod event;
pub mod exit_wait;
pub mod fairness;
pub mod lifecycle;
pub mod lock;
pub mod locked;
pub mod owned_lock;
pub mod park;
pub mod renewal;
pub mod renewed_lock;
pub mod rlock;
pub mod semaphore;
pub mod spin;
pub mod token;
pub mod values;
pub mod waiters;
