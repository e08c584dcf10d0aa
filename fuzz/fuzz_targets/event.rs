//! The door to `threadbare_fuzz::modelled::event`.

#![no_main]

#[cfg(not(threadbare_model))]
compile_error!("this target runs on modelled primitives: see scripts/fuzz.sh");

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| threadbare_fuzz::modelled::event(data));
