//! x
#[cfg(not(threadbare_loom))]
mod primitive;
#[cfg(not(threadbare_loom))]
#[allow(dead_code, reason = "x")]
mod raw;

// The models under `tests/loom/` reach the protocols from outside.
#[cfg(threadbare_loom)]
#[doc(hidden)]
pub mod primitive;
#[cfg(threadbare_loom)]
#[doc(hidden)]
pub mod raw;
