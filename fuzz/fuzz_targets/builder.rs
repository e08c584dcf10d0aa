//! The door to `threadbare_fuzz::real::builder`.

// Without AddressSanitizer, which would need memory for an eighth of each stack, however much of
// that is used: some here are as large as the address space.

#![no_main]

#[cfg(threadbare_model)]
compile_error!(
    "this target runs on the real primitives: build it without `--cfg threadbare_model`"
);

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| threadbare_fuzz::real::builder(data));
