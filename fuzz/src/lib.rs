//! What the fuzz targets run: for each a plain function that makes operations out of bytes, carries
//! them out, and panics where the outcome is not what an oracle says.
//!
//! A file in `fuzz_targets/` is no more than a door to such a function. `tests/saved_inputs.rs` comes
//! in by another one, without a fuzzer: with the inputs that were saved, and with random ones.

#[cfg(threadbare_model)]
pub mod modelled;
#[cfg(not(threadbare_model))]
pub mod real;

#[cfg(threadbare_model)]
pub use modelled::TARGETS;
#[cfg(not(threadbare_model))]
pub use real::TARGETS;

// Where files of the crate that are compiled into targets look for it.
#[cfg(not(threadbare_model))]
pub(crate) mod error {
    pub(crate) use threadbare::Error;
}

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of its file in `fuzz_targets/`, and of its folders of inputs.
    pub name: &'static str,
    /// What it runs.
    pub run: fn(&[u8]),
}
