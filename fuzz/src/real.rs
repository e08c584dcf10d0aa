//! Targets on the crate as it is: what it computes, what it asks of the system, what is built on it.

mod builder;
mod deadline;
mod kv;
mod local;
mod resp;

pub use builder::builder;
pub use deadline::deadline;
pub use kv::kv;
pub use local::local;
pub use resp::resp;

use crate::Target;

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "builder",
        run: builder,
    },
    Target {
        name: "deadline",
        run: deadline,
    },
    Target {
        name: "kv",
        run: kv,
    },
    Target {
        name: "local",
        run: local,
    },
    Target {
        name: "resp",
        run: resp,
    },
];
