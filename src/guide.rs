//! Guides: the crate by task instead of by type. Every Rust program in them runs as a
//! test.
//!
//! | | |
//! |---|---|
//! | [`coming_from_python`] | programs side by side, exceptions, timeouts, what differs |
//! | [`coming_from_std_and_parking_lot`] | the same programs with all three, name by name |
//! | [`choosing_a_primitive`] | what for what, sizes and costs, usual mistakes |
//! | [`timeouts_signals_fork_exit`] | how waits end early, what handlers may call, what a child of a fork has, how the program ends |
//! | [`memory_ordering`] | what is visible to whom, after which call |
//! | [`threads_in_logs`] | names in `ps`, gdb, perf, `log` and `tracing` |
//! | [`what_this_crate_is_not`] | what to use instead; mlockall, SCHED_FIFO, two versions, dlclose |
//!
//! Whole programs are in the repository's `examples` folder.

// What the texts link to.
#[cfg(doc)]
use crate::*;

#[doc = include_str!("../docs/guide/coming_from_python.md")]
pub mod coming_from_python {}

#[doc = include_str!("../docs/guide/coming_from_std_and_parking_lot.md")]
pub mod coming_from_std_and_parking_lot {}

#[doc = include_str!("../docs/guide/choosing_a_primitive.md")]
pub mod choosing_a_primitive {}

#[doc = include_str!("../docs/guide/timeouts_signals_fork_exit.md")]
pub mod timeouts_signals_fork_exit {}

#[doc = include_str!("../docs/guide/memory_ordering.md")]
pub mod memory_ordering {}

#[doc = include_str!("../docs/guide/threads_in_logs.md")]
pub mod threads_in_logs {}

#[doc = include_str!("../docs/guide/what_this_crate_is_not.md")]
pub mod what_this_crate_is_not {}
