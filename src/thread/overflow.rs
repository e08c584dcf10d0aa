//! What is said when a thread runs off its stack (design: its own name, on stderr).

use super::current;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use threadbare_sys::overflow;
use threadbare_sys::stack::Region;

static ENABLED: AtomicBool = AtomicBool::new(true);

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

/// For a new thread: lets it report an overflow of `region`, on which it runs.
///
/// # Safety
/// The calling thread runs on `region` until it ends.
pub(super) unsafe fn arm(region: &Region) {
    // Relaxed: see `set_overflow_report`.
    if !ENABLED.load(Relaxed) || overflow::install(report).is_err() {
        return;
    }
    // Without a signal stack an overflow still ends the process, only without its name.
    // SAFETY: passed on to the caller.
    let _ = unsafe { overflow::arm(region) };
}

/// Runs in the `SIGSEGV` handler of the thread that overflowed: async-signal-safe, so no
/// allocation, no lock that is waited for, no buffered output.
fn report() {
    let mut text = Text {
        bytes: [0; 256],
        len: 0,
    };
    // Truncation is all that can go wrong, and what fits is still worth saying.
    let _ = current::with(|inner| match inner {
        Some(inner) => {
            let named = inner
                .name
                .try_with(|name| write!(text, "\nthread '{name:.150}'"));
            named.unwrap_or_else(|| write!(text, "\nthread with ident {}", inner.ident()))
        }
        None => write!(text, "\nthread"),
    });
    let _ = text.write_str(" has overflowed its stack\n");
    overflow::say(&text.bytes[..text.len]);
}

/// Text of bounded length, without allocation.
struct Text {
    bytes: [u8; 256],
    len: usize,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let free = &mut self.bytes[self.len..];
        let fits = text.len().min(free.len());
        free[..fits].copy_from_slice(&text.as_bytes()[..fits]);
        self.len += fits;
        if fits == text.len() {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}
