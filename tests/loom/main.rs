#![cfg(threadbare_loom)]
//! Models of the protocols in `src/raw/`.
mod lock;
