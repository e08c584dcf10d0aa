//! Models of the protocols in `src/raw/`, run by loom in every order of their steps, up to a bound:
//!
//! ```text
//! make loom      # or one of them, where a failure is to be looked at:
//! RUSTFLAGS="--cfg threadbare_model" cargo test --release --test loom -- --exact lock::lock_3_…
//! ```
//!
//! Two or three threads each, four where it takes as many, and one property. The real code runs on
//! the atomics, cells and the futex of `src/primitive/model.rs`, where the unkindness of the kernel
//! is described. A model fails by an assertion, by a deadlock (a lost wake), by accesses to data
//! or to a destroyed object that nothing orders, or by more steps than loom allows (a livelock).
//!
//! `docs/models.md` lists them: the most preemptions in an execution, how many executions there are,
//! and the bugs with which each fails. Those are in `seeds.toml`, and `make seeded` puts them in, one
//! at a time. The bound is 3, and less where one more takes too long.
//!
//! What the models do not show:
//! - Executions with more preemptions. A switch where a thread sleeps, ends or times out is free.
//! - A `compare_exchange_weak` that fails for no reason, a load that sees a later store (load
//!   buffering), a value more than 7 stores old: loom has none of these.
//! - Spinning, which is switched off, since a thread that spins needs no wake, and deadlines that
//!   have passed on entry.
//! - Kernel threads, their stacks and the registry: the models of the join and of the wait at the
//!   end of the process have stand-ins of them, around the real claim, list of the ended and loop.
//! - The gate at which a new thread waits for its settings: `sys/src/pthread.rs` argues its orders.
//! - Releases and notifies that wake more than one thread themselves: `WAKES` is 1 here.
#![cfg(all(threadbare_model, not(threadbare_shuttle)))]

mod barrier;
mod condition;
mod event;
mod exit_wait;
mod join;
mod lifecycle;
mod lock;
mod locked;
mod model;
mod owned_lock;
mod renewal;
mod rlock;
mod semaphore;
mod stacks;
mod token;
mod values;
