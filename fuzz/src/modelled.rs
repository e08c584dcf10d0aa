//! Targets on modelled primitives: what the bytes decide is the schedule, too.

use crate::Target;

/// All of them.
pub const TARGETS: &[Target] = &[];
