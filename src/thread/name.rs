//! What threads are called.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A thread's name: given, or made from a number that counts such threads (THR-4).
///
/// Cloning allocates nothing, so it may be done under a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// `MainThread`.
    Main,
    /// `Thread-N`; not spelled out, so that most threads allocate nothing for it.
    Numbered(u64),
    /// `Dummy-N`, of the same numbers (DUM-2).
    Dummy(u64),
    Given(Arc<str>),
}

impl Name {
    /// The given name, or if that is missing or empty, the next default one, with the name of the
    /// target if there is one.
    pub(crate) fn new(given: Option<String>, target: Option<&str>) -> Name {
        match (given, target) {
            (Some(name), _) if !name.is_empty() => Name::Given(name.into()),
            (_, Some(target)) => Name::Given(format!("Thread-{} ({target})", next_number()).into()),
            (_, None) => Name::Numbered(next_number()),
        }
    }

    /// The next name for a thread of somebody else's.
    pub(super) fn dummy() -> Name {
        Name::Dummy(next_number())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Main => f.write_str("MainThread"),
            Name::Numbered(number) => write!(f, "Thread-{number}"),
            Name::Dummy(number) => write!(f, "Dummy-{number}"),
            Name::Given(name) => f.write_str(name),
        }
    }
}

/// A name for a message of one line: what would break the line is escaped.
pub(crate) struct Quoted<'a>(pub(crate) &'a Name);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Name::Given(name) => write!(f, "'{}'", name.escape_debug()),
            made_here => write!(f, "'{made_here}'"),
        }
    }
}

fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // Relaxed: only that no two threads get the same matters.
    NEXT.fetch_add(1, Relaxed)
}
