//! What is said when a thread runs off its stack (design: its own name, on stderr).

use super::name::Quoted;
use super::{current, registry};
use crate::raw::locked::Locked;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use threadbare_sys::overflow;
use threadbare_sys::stack::Region;

static ENABLED: AtomicBool = AtomicBool::new(true);

/// Taken to install the handler, and by who forks: the child of a fork in between would take the
/// thread that does it, which is not there, to be at it for ever.
static INSTALL: Locked<()> = Locked::new(());

/// Whether that has been done, or tried.
static IS_INSTALLED: AtomicBool = AtomicBool::new(false);

/// Keeps the handler from being installed.
pub(super) fn hold() {
    INSTALL.hold();
}

/// Undoes [`hold`].
///
/// # Safety
/// The caller has called it, in this process or, before a fork, in its parent.
pub(super) unsafe fn let_go() {
    // SAFETY: as the caller promises.
    unsafe { INSTALL.let_go() };
}

/// Whether threads started from now on name themselves on stderr when they overflow their stack;
/// returns what held so far. At first they do.
///
/// It takes a `SIGSEGV` handler, installed at the first start, which passes every other fault on
/// to the handler that was there before, and a signal stack for each thread. A program that
/// handles `SIGSEGV` itself, in a way that does not bear company, switches it off before its
/// first start. A stack overflow ends the process either way.
///
/// ```
/// let before = threadbare::set_overflow_report(true);
/// assert!(before);
/// ```
pub fn set_overflow_report(enabled: bool) -> bool {
    // Relaxed: a setting; it carries no other data.
    ENABLED.swap(enabled, Relaxed)
}

/// For who starts a thread: installs the handler, if it is wanted and not there.
///
/// Before the start and not in the new thread: a handler that the program installs after a start
/// is the program's, and ours must not come on top of it.
pub(super) fn prepare() {
    // Relaxed: see `set_overflow_report`.
    if !ENABLED.load(Relaxed) || IS_INSTALLED.load(Relaxed) {
        return;
    }
    INSTALL.with(|()| {
        // Without the handler an overflow still ends the process, only without a name.
        let _ = overflow::install(report);
    });
    IS_INSTALLED.store(true, Relaxed);
}

/// For a new thread: lets it report an overflow of `region`, on which it runs.
///
/// # Safety
/// The calling thread runs on `region` until it ends.
pub(super) unsafe fn arm(region: &Region) {
    // Relaxed: see `set_overflow_report`.
    if ENABLED.load(Relaxed) {
        // Without a signal stack an overflow still ends the process, only without a name.
        // SAFETY: passed on to the caller.
        let _ = unsafe { overflow::arm(region) };
    }
}

/// Runs in the `SIGSEGV` handler of the thread that overflowed: async-signal-safe, so no
/// allocation, no lock that is waited for, no buffered output.
fn report() {
    let mut text = Text {
        bytes: [0; 256],
        len: 0,
    };
    // What does not fit is left out, and the rest is still worth saying.
    let _ = current::with(|record| match record {
        Some(record) => {
            let named = registry::try_with(record, |state| {
                write!(text, "\nthread {}", Quoted(&state.name))
            });
            named.unwrap_or_else(|| write!(text, "\nthread with ident {}", record.token))
        }
        None => write!(text, "\nthread"),
    });
    overflow::say(&text.bytes[..text.len]);
    overflow::say(b" has overflowed its stack\n");
}

/// Text of bounded length, without allocation.
struct Text {
    bytes: [u8; 256],
    len: usize,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let free = &mut self.bytes[self.len..];
        let mut fits = text.len().min(free.len());
        while !text.is_char_boundary(fits) {
            fits -= 1;
        }
        free[..fits].copy_from_slice(&text.as_bytes()[..fits]);
        self.len += fits;
        if fits == text.len() {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_does_not_fit_is_cut_between_characters() {
        let mut text = Text {
            bytes: [0; 256],
            len: 0,
        };
        assert!(text.write_str(&"x".repeat(255)).is_ok());
        assert!(text.write_str("é").is_err() && text.len == 255);
        assert!(text.write_str("y").is_ok() && text.len == 256);
        assert!(text.write_str("z").is_err() && text.write_str("").is_ok());
    }
}
