//! Notice that a thread ran off its stack.
//!
//! A thread that is [armed](arm) takes signals on a stack of its own where they ask for it, and
//! remembers the address range of its guard. The `SIGSEGV` handler compares: a fault in the guard
//! of the faulting thread is an overflow; every other fault is passed to the handler that was
//! there before.

use crate::stack::Region;
use crate::{Errno, checked};
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

thread_local! {
    /// The addresses of this thread's guard; empty while it is not armed.
    static GUARD: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// What the handler needs; set before it is installed.
struct Handling {
    report: fn(),
    previous: libc::sigaction,
}

static HANDLING: OnceLock<Handling> = OnceLock::new();

/// `sigaction(SIGSEGV, …)`: from now on an overflow of an armed thread calls `report` and aborts
/// the process. Other faults go to the handler that was installed before.
///
/// `report` runs in a signal handler, on the signal stack of the thread that overflowed: it may
/// only make async-signal-safe calls (signal-safety(7)). In armed threads the previous handler runs
/// on that stack too, some 12 KiB, and without its own mask and flags.
///
/// Two system calls at the first call; later calls return what that returned, and its `report`
/// stays. In the child of a fork that came in the middle of the first call, a call never returns.
///
/// # Errors
/// Those of sigaction(2); nothing is installed then.
pub fn install(report: fn()) -> Result<(), Errno> {
    static INSTALLED: OnceLock<Result<(), Errno>> = OnceLock::new();
    *INSTALLED.get_or_init(|| install_once(report))
}

fn install_once(report: fn()) -> Result<(), Errno> {
    let mut previous = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: asks for the current action and changes nothing.
    checked(unsafe { libc::sigaction(libc::SIGSEGV, std::ptr::null(), previous.as_mut_ptr()) })?;
    // SAFETY: the call succeeded, so the action was stored.
    let previous = unsafe { previous.assume_init() };
    HANDLING.get_or_init(|| Handling { report, previous });
    // SAFETY: all-zero is a valid action: no flags, an empty mask.
    let mut action = unsafe { MaybeUninit::<libc::sigaction>::zeroed().assume_init() };
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_fault;
    action.sa_sigaction = handler as libc::sighandler_t;
    // Not SA_NODEFER: a second fault, in the previous handler say, finds the signal blocked, and
    // then the kernel ends the process.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: `on_fault` is async-signal-safe as far as what it calls is (`report`, and the
    // previous handler, which was in the same position before).
    checked(unsafe { libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut()) })
}

/// `sigaltstack(…)`: gives the calling thread the signal stack of `region`, and makes faults in
/// its guard count as overflows. One system call.
///
/// # Errors
/// Those of sigaltstack(2); the thread is not armed then.
///
/// # Safety
/// The calling thread runs on `region`, and does so until it ends.
pub unsafe fn arm(region: &Region) -> Result<(), Errno> {
    let stack = libc::stack_t {
        ss_sp: region.signal_stack.cast(),
        ss_flags: 0,
        ss_size: region.signal_stack_len,
    };
    // SAFETY: the memory is this thread's until it ends, as the caller promises.
    checked(unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) })?;
    let guard = region.guard();
    GUARD.set((guard.start, guard.end));
    Ok(())
}

/// `write(2, text)`: says something on stderr from within a signal handler. A failure is ignored:
/// there is nobody left to tell. Async-signal-safe.
pub fn say(text: &[u8]) {
    let _ = rustix::io::write(rustix::stdio::stderr(), text);
}

/// The handler. Touches only constant-initialised thread-locals without destructors.
extern "C" fn on_fault(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    let Some(handling) = HANDLING.get() else {
        return; // cannot be: it is set before the handler is installed
    };
    // SAFETY: the kernel hands an SA_SIGINFO handler valid information.
    let fault = unsafe { &*info };
    // Positive: from the kernel, for an access. Else somebody has sent the signal (sigaction(2)).
    let is_access = fault.si_code > 0;
    let (from, to) = GUARD.get();
    // SAFETY: for SIGSEGV the information has an address, which for an access is where that was.
    let address = unsafe { fault.si_addr() } as usize;
    if is_access && (from..to).contains(&address) {
        (handling.report)();
        std::process::abort();
    }
    pass_on(&handling.previous, is_access, signal, info, context);
}

/// Does what would have happened without our handler.
fn pass_on(
    previous: &libc::sigaction,
    is_access: bool,
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    type Plain = extern "C" fn(libc::c_int);
    type Informed = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
    match previous.sa_sigaction {
        libc::SIG_IGN if !is_access => {}
        libc::SIG_DFL | libc::SIG_IGN => {
            // A bad access repeats on return and then ends the process as it would have.
            // SAFETY: the previous action is valid as it was.
            unsafe { libc::sigaction(signal, previous, std::ptr::null_mut()) };
            if !is_access {
                // What was sent is sent again; it arrives when this handler returns.
                // SAFETY: no precondition; async-signal-safe.
                unsafe { libc::raise(signal) };
            }
        }
        handler if previous.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: with SA_SIGINFO the stored address is a handler of this type.
            let handler = unsafe { std::mem::transmute::<usize, Informed>(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: without SA_SIGINFO the stored address is a handler of this type.
            let handler = unsafe { std::mem::transmute::<usize, Plain>(handler) };
            handler(signal);
        }
    }
}
