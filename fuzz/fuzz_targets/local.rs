//! The door to `threadbare_fuzz::real::local`.

#![no_main]

#[cfg(threadbare_model)]
compile_error!(
    "this target runs on the real primitives: build it without `--cfg threadbare_model`"
);

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| threadbare_fuzz::real::local(data));
