//! Stacks of loom's threads, kept for the threads to come.
//!
//! loom maps and unmaps one for each thread of each execution, which takes more time than all else.
//! So this program has a `mmap` and a `munmap` of its own, which the linker prefers to the C
//! library's; they keep what was mapped as a stack. What a thread left on its stack is still there
//! when the next one begins on it, which reads none of it.

use libc::{MAP_FAILED, MAP_STACK, SYS_mmap, SYS_munmap, c_int, c_long, off_t, size_t};
use std::ffi::c_void;
use std::sync::Mutex;

/// Address and length of the stacks that there are, and whether each is in use.
static STACKS: Mutex<Vec<(usize, usize, bool)>> = Mutex::new(Vec::new());

/// `mmap`. A stack may be one that was there before, whose lowest page is still protected.
///
/// # Safety
/// As mmap(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mmap(
    address: *mut c_void,
    length: size_t,
    protection: c_int,
    flags: c_int,
    file: c_int,
    offset: off_t,
) -> *mut c_void {
    let mut stacks = STACKS.lock().unwrap();
    let is_stack = flags & MAP_STACK != 0 && address.is_null();
    let mut free = stacks
        .iter_mut()
        .filter(|(_, long, in_use)| is_stack && *long == length && !in_use);
    if let Some((stack, _, in_use)) = free.next() {
        *in_use = true;
        return *stack as *mut c_void;
    }
    // SAFETY: passed on to the caller.
    let mapped = unsafe {
        libc::syscall(
            SYS_mmap,
            address,
            length,
            c_long::from(protection),
            c_long::from(flags),
            c_long::from(file),
            offset,
        )
    } as *mut c_void;
    if is_stack && mapped != MAP_FAILED {
        stacks.push((mapped as usize, length, true));
    }
    mapped
}

/// `munmap`, but of a stack.
///
/// # Safety
/// As munmap(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn munmap(address: *mut c_void, length: size_t) -> c_int {
    let mut stacks = STACKS.lock().unwrap();
    let whole = (address as usize, length);
    if let Some(stack) = stacks.iter_mut().find(|stack| (stack.0, stack.1) == whole) {
        stack.2 = false;
        return 0;
    }
    // SAFETY: passed on to the caller.
    unsafe { libc::syscall(SYS_munmap, address, length) as c_int }
}
