//! Targets on the crate as it is: what it computes, and what it asks of the system.

mod deadline;

pub use deadline::deadline;

use crate::Target;

/// All of them.
pub const TARGETS: &[Target] = &[Target {
    name: "deadline",
    run: deadline,
}];
