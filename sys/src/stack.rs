//! Memory for thread stacks: slabs of equal slots, each slot with guard pages of its own.
//!
//! ```text
//! slot, low to high: | guard | signal stack | guard | stack ........ | packet |
//! ```
//! A stack grows down, so running off its end, or off the signal stack's, meets a guard and
//! faults. The signal stack is where a handler can still run then. The packet is how a starting
//! thread receives what it is to run, without an allocation.
//!
//! Guards are `MADV_GUARD_INSTALL` where the kernel really has it (Linux 6.13): it adds no
//! mapping, so the number of threads is not bounded by `vm.max_map_count`. Emulators accept the
//! call and do nothing, so it is believed only after a guarded page has been seen to fault.
//! Elsewhere, and where a single call fails (locked memory), a guard is an `mprotect`ed page.

use crate::{Errno, checked, last_errno};
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};

/// The smallest usable stack that is handed out, in bytes.
pub const MIN_STACK: usize = 32 * 1024;

/// Bytes at the top of each slot for the start packet.
pub const PACKET_LEN: usize = 128;

/// The alignment of a packet, and of the stack's top below it.
pub const PACKET_ALIGN: usize = 64;

/// `MADV_GUARD_INSTALL`, which the libc crate does not name yet.
const MADV_GUARD_INSTALL: libc::c_int = 102;

/// How a slot is laid out: all lengths in bytes, all but the packet's multiples of the page size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    guard: usize,
    signal_stack: usize,
    /// The stack, what libc needs of it, and the packet.
    stack: usize,
}

impl Layout {
    /// The layout that leaves at least `usable` bytes to the thread's own frames, after what libc
    /// keeps on the stack (thread-locals, its descriptor) and the packet. `None` if `usable` is
    /// below [`MIN_STACK`] or too large for an address space.
    #[must_use]
    pub fn for_usable(usable: usize) -> Option<Layout> {
        Layout::with_pages(usable, rustix::param::page_size())
    }

    /// As [`for_usable`](Layout::for_usable), with pages of `page` bytes: the kernel's, but in tests.
    fn with_pages(usable: usize, page: usize) -> Option<Layout> {
        if usable < MIN_STACK {
            return None;
        }
        let stack = usable
            .checked_add(libc_overhead())?
            .max(libc_minimum())
            .checked_add(PACKET_LEN)?
            .checked_next_multiple_of(page)?;
        let layout = Layout {
            guard: page,
            signal_stack: signal_stack_len(page),
            stack,
        };
        // An address space has 2^47 bytes; half of that keeps all sums below from overflowing.
        let total = stack.checked_add(2 * page + layout.signal_stack)?;
        (total <= 1 << 46).then_some(layout)
    }

    /// The length of a slot.
    #[must_use]
    pub const fn slot_len(self) -> usize {
        2 * self.guard + self.signal_stack + self.stack
    }

    /// The bytes of a slot that a thread may write, and so the most that a used one keeps.
    #[must_use]
    pub const fn writable_len(self) -> usize {
        self.signal_stack + self.stack
    }
}

/// What glibc itself needs of a stack: static thread-locals, the thread descriptor and a little
/// rest.
fn libc_overhead() -> usize {
    /// 0 until it is known. Not a cell of std's: in the child of a fork, that would wait for a
    /// thread of the parent's that was about to fill it.
    static OVERHEAD: AtomicUsize = AtomicUsize::new(0);
    // Relaxed: the value stands for itself, and whoever asks at the same time gets the same.
    match OVERHEAD.load(Relaxed) {
        0 => {
            let overhead = ask_libc_overhead();
            OVERHEAD.store(overhead, Relaxed);
            overhead
        }
        known => known,
    }
}

/// Asked from glibc where it tells (2.15), else a generous guess.
#[cold]
fn ask_libc_overhead() -> usize {
    type MinStack = unsafe extern "C" fn(*const libc::pthread_attr_t) -> libc::size_t;
    // SAFETY: the name is a valid C string; RTLD_DEFAULT searches what is loaded.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__pthread_get_minstack".as_ptr()) };
    if found.is_null() {
        return 16 * 1024;
    }
    // SAFETY: glibc has had this function with this signature since 2.15.
    let min_stack = unsafe { std::mem::transmute::<*mut libc::c_void, MinStack>(found) };
    // SAFETY: the function does not look at its argument.
    unsafe { min_stack(std::ptr::null()) }
}

/// `sysconf(_SC_THREAD_STACK_MIN)`: the least that glibc accepts for a stack, be it used or not. On
/// x86_64 16 KiB, on aarch64 128 KiB, since its pages may be as large as 64 KiB.
fn libc_minimum() -> usize {
    // SAFETY: no precondition.
    let minimum = unsafe { libc::sysconf(libc::_SC_THREAD_STACK_MIN) };
    usize::try_from(minimum).unwrap_or(0)
}

/// Room for the kernel's signal frame, which grows with the CPU's registers, and for handlers.
fn signal_stack_len(page: usize) -> usize {
    (rustix::param::linux_minsigstksz() + 12 * 1024).next_multiple_of(page)
}

/// An anonymous private mapping, unmapped on drop.
#[derive(Debug)]
struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping is plain memory; nothing about it belongs to the thread that made it.
unsafe impl Send for Mapping {}
// SAFETY: a shared mapping gives out addresses only.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// `mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
    /// MAP_STACK, -1, 0)`.
    fn new(len: usize) -> Result<Mapping, Errno> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice touches nothing that exists.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(last_errno());
        }
        let base = NonNull::new(base.cast()).expect("mmap does not return page zero");
        Ok(Mapping { base, len })
    }

    /// The address `offset` bytes into the mapping.
    fn at(&self, offset: usize) -> *mut u8 {
        debug_assert!(offset <= self.len);
        self.base.as_ptr().wrapping_add(offset)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // It fails only if it would split a mapping and there are as many as allowed (ENOMEM); then
        // the address space stays taken.
        // SAFETY: the mapping is ours alone, and whoever ran on it has been joined (`Region`).
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// A mapping cut into equal slots, each for one thread's stack.
///
/// Address space only: a page takes memory when it is first written.
#[derive(Debug)]
pub struct Slab {
    mapping: Mapping,
    layout: Layout,
    slots: u32,
}

impl Slab {
    /// Maps `slots` slots: one system call, and a second one that keeps huge pages away, since one
    /// of them would back many small stacks at once with memory that nobody asked for.
    ///
    /// # Errors
    /// `ENOMEM` if address space, mappings or a limit ran out, `EAGAIN` if memory is to be locked
    /// (mlockall(2)) and there is a limit on that (mmap(2)).
    ///
    /// # Panics
    /// If `slots` is 0.
    pub fn new(layout: Layout, slots: u32) -> Result<Slab, Errno> {
        assert!(slots > 0, "a slab has at least one slot");
        let len = layout
            .slot_len()
            .checked_mul(slots as usize)
            .ok_or(Errno::NOMEM)?;
        let mapping = Mapping::new(len)?;
        let base = mapping.base.as_ptr().cast();
        // A kernel without huge pages answers EINVAL, which is as good.
        // SAFETY: the range is our fresh mapping; the advice changes no contents.
        unsafe { libc::madvise(base, len, libc::MADV_NOHUGEPAGE) };
        Ok(Slab {
            mapping,
            layout,
            slots,
        })
    }

    /// How its slots are laid out.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// How many slots it has.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// The addresses of a slot's parts.
    ///
    /// # Panics
    /// If `slot` is not below [`slots`](Slab::slots).
    #[must_use]
    pub fn region(&self, slot: u32) -> Region {
        assert!(slot < self.slots, "slot out of range");
        let Layout {
            guard,
            signal_stack,
            stack,
        } = self.layout;
        let start = slot as usize * self.layout.slot_len();
        let stack_at = start + guard + signal_stack + guard;
        Region {
            signal_stack: self.mapping.at(start + guard),
            signal_stack_len: signal_stack,
            stack: self.mapping.at(stack_at),
            stack_len: (stack - PACKET_LEN) / PACKET_ALIGN * PACKET_ALIGN,
            guard_len: guard,
        }
    }

    /// Installs a slot's two guards: to be done once, before the first thread runs there. Two
    /// system calls.
    ///
    /// # Errors
    /// `ENOMEM` if a guard needs a mapping of its own and no more are allowed.
    ///
    /// # Panics
    /// If `slot` is not below [`slots`](Slab::slots).
    pub fn install_guards(&self, slot: u32) -> Result<(), Errno> {
        let region = self.region(slot);
        let below_signal_stack = region.signal_stack.wrapping_sub(region.guard_len);
        install_guard(below_signal_stack, region.guard_len)?;
        install_guard(region.guard().start as *mut u8, region.guard_len)
    }

    /// `madvise(MADV_DONTNEED)`: gives a slot's memory back; its guards stay. One system call.
    ///
    /// # Safety
    /// Nobody runs on the slot or holds a pointer into it.
    ///
    /// # Panics
    /// If `slot` is not below [`slots`](Slab::slots).
    pub unsafe fn discard(&self, slot: u32) {
        let region = self.region(slot);
        let from = region.signal_stack;
        let len = self.layout.slot_len() - self.layout.guard;
        // Locked memory cannot be given back (EINVAL) and stays; that is what locking asks for.
        // A guard in between is passed over, whichever kind it is.
        // SAFETY: the range lies in our mapping and nobody uses it, as the caller promises.
        unsafe { libc::madvise(from.cast(), len, libc::MADV_DONTNEED) };
    }
}

/// Where the parts of a slot are. Plain addresses: whoever uses them keeps the slab alive.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    pub(crate) signal_stack: *mut u8,
    pub(crate) signal_stack_len: usize,
    pub(crate) stack: *mut u8,
    pub(crate) stack_len: usize,
    guard_len: usize,
}

// SAFETY: these are addresses; what may be done with them is said where it is done.
unsafe impl Send for Region {}

impl Region {
    /// The addresses of the page or pages below the stack: a fault there is an overflow.
    #[must_use]
    pub fn guard(&self) -> Range<usize> {
        let stack = self.stack as usize;
        stack - self.guard_len..stack
    }

    /// The addresses of the stack, without guard and packet.
    #[must_use]
    pub fn stack(&self) -> Range<usize> {
        let stack = self.stack as usize;
        stack..stack + self.stack_len
    }

    /// Where a starting thread finds its packet: above the stack, aligned to [`PACKET_ALIGN`].
    pub(crate) fn packet(&self) -> *mut u8 {
        self.stack.wrapping_add(self.stack_len)
    }
}

/// Makes `len` bytes from `page` fault on every access.
fn install_guard(page: *mut u8, len: usize) -> Result<(), Errno> {
    if advice_guards() {
        // SAFETY: the pages are ours, hold nothing, and lie apart from any stack.
        let result = unsafe { libc::madvise(page.cast(), len, MADV_GUARD_INSTALL) };
        if result == 0 {
            return Ok(());
        }
    }
    // SAFETY: as above.
    checked(unsafe { libc::mprotect(page.cast(), len, libc::PROT_NONE) })
}

/// Whether `MADV_GUARD_INSTALL` really guards here: probed once.
fn advice_guards() -> bool {
    const UNKNOWN: u8 = 0;
    const YES: u8 = 1;
    const NO: u8 = 2;
    static GUARDS: AtomicU8 = AtomicU8::new(UNKNOWN);
    // Relaxed: the value stands for itself, and whoever probes at the same time finds the same.
    match GUARDS.load(Relaxed) {
        UNKNOWN => {
            let Ok(guards) = probe_guard() else {
                return false; // could not find out this time
            };
            GUARDS.store(if guards { YES } else { NO }, Relaxed);
            guards
        }
        known => known == YES,
    }
}

/// Guards a page and lets the kernel read from it: only a real guard answers `EFAULT`.
///
/// # Errors
/// Those of mmap(2) and pipe(2), when memory or file descriptors ran out.
#[cold]
fn probe_guard() -> Result<bool, Errno> {
    let page = rustix::param::page_size();
    let probe = Mapping::new(page)?;
    let address = probe.base.as_ptr().cast();
    // SAFETY: the page is ours and holds nothing.
    if unsafe { libc::madvise(address, page, MADV_GUARD_INSTALL) } != 0 {
        return Ok(false);
    }
    let (_reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let writer = std::os::fd::AsRawFd::as_raw_fd(&writer);
    // SAFETY: the kernel checks the address; the mapping is alive and we hold no reference to it.
    let written = unsafe { libc::write(writer, address, 1) };
    Ok(written == -1 && last_errno() == Errno::FAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slab(slots: u32) -> Slab {
        Slab::new(Layout::for_usable(MIN_STACK).unwrap(), slots).unwrap()
    }

    /// Whether the kernel can read a byte at `address`.
    fn is_readable(address: usize) -> bool {
        let (_reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let writer = std::os::fd::AsRawFd::as_raw_fd(&writer);
        // SAFETY: the kernel checks the address and answers EFAULT if it cannot be read.
        unsafe { libc::write(writer, address as *const libc::c_void, 1) == 1 }
    }

    #[test]
    fn mod_13_stacks_below_32_kib_are_refused() {
        assert_eq!(Layout::for_usable(MIN_STACK - 1), None);
        assert_eq!(Layout::for_usable(usize::MAX), None);
        assert_eq!(Layout::for_usable(1 << 47), None);
    }

    #[test]
    fn sizes_are_rounded_up_to_pages_and_never_down() {
        let page = rustix::param::page_size();
        for usable in [MIN_STACK, MIN_STACK + 1, 65_536, 1 << 20, (1 << 20) + 1] {
            let slab = Slab::new(Layout::for_usable(usable).unwrap(), 2).unwrap();
            let region = slab.region(1);
            assert!(region.stack().len() >= usable + libc_overhead());
            assert_eq!(slab.layout().slot_len() % page, 0);
            assert_eq!(region.guard().end, region.stack().start);
            assert_eq!(region.packet() as usize % PACKET_ALIGN, 0);
        }
    }

    /// aarch64 and powerpc have kernels with 16 and 64 KiB.
    #[test]
    fn with_pages_of_every_size_all_parts_are_whole_pages() {
        for page in [4, 16, 64, 2048].map(|kib| kib * 1024) {
            for usable in [MIN_STACK, MIN_STACK + 1, 65_536, 1 << 20, (1 << 20) + 1] {
                let layout = Layout::with_pages(usable, page).unwrap();
                let parts = [layout.guard, layout.signal_stack, layout.stack];
                assert!(parts.iter().all(|part| *part > 0 && part % page == 0));
                assert_eq!(
                    layout.slot_len(),
                    parts.iter().sum::<usize>() + layout.guard
                );
                let slab = Slab::new(layout, 3).unwrap();
                let base = slab.mapping.base.as_ptr() as usize;
                for slot in 0..3 {
                    let region = slab.region(slot);
                    let offset =
                        |address: usize| address - base - slot as usize * layout.slot_len();
                    let signal_stack = offset(region.signal_stack as usize);
                    assert_eq!(signal_stack, layout.guard);
                    let guard = offset(region.guard().start)..offset(region.guard().end);
                    assert_eq!(guard.start, signal_stack + region.signal_stack_len);
                    assert_eq!((guard.start % page, guard.len()), (0, page));
                    assert_eq!(guard.end, offset(region.stack().start));
                    assert!(region.stack().len() >= usable + libc_overhead());
                    let packet = region.packet() as usize;
                    assert_eq!(packet % PACKET_ALIGN, 0);
                    assert!(offset(packet) + PACKET_LEN <= layout.slot_len());
                }
            }
        }
    }

    /// Where pages are larger than this machine's, so are guards.
    #[test]
    fn guards_of_large_pages_are_guarded_from_end_to_end() {
        const PAGE: usize = 64 * 1024;
        let layout = Layout::with_pages(MIN_STACK, PAGE).unwrap();
        let slab = Slab::new(layout, 2).unwrap();
        slab.install_guards(0).unwrap();
        slab.install_guards(1).unwrap();
        let own = rustix::param::page_size();
        for slot in 0..2 {
            let region = slab.region(slot);
            let below = region.signal_stack as usize - PAGE..region.signal_stack as usize;
            for guard in [below, region.guard()] {
                assert_eq!(guard.len(), PAGE);
                assert!(guard.clone().step_by(own).all(|page| !is_readable(page)));
                assert!(!is_readable(guard.end - 1) && is_readable(guard.end));
            }
        }
    }

    #[test]
    fn each_slot_has_its_guards_and_the_rest_is_usable() {
        let slab = slab(3);
        for slot in 0..3 {
            slab.install_guards(slot).unwrap();
        }
        for slot in 0..3 {
            let region = slab.region(slot);
            let signal_stack = region.signal_stack as usize;
            assert!(!is_readable(region.guard().start) && !is_readable(region.guard().end - 1));
            assert!(!is_readable(signal_stack - 1));
            assert!(is_readable(signal_stack) && is_readable(region.stack().start));
            assert!(is_readable(region.packet() as usize + PACKET_LEN - 1));
        }
    }

    #[test]
    fn guards_outlive_a_discard() {
        let slab = slab(1);
        slab.install_guards(0).unwrap();
        let region = slab.region(0);
        // SAFETY: nobody runs on the slot and the byte lies in its stack.
        unsafe { region.stack.write(7) };
        // SAFETY: nobody runs on the slot.
        unsafe { slab.discard(0) };
        // SAFETY: the byte lies in the slot's stack, which reads as zero again.
        assert_eq!(unsafe { region.stack.read() }, 0);
        assert!(!is_readable(region.guard().start));
    }

    #[test]
    fn a_slab_unmaps_itself() {
        const LEN: usize = 1 << 30; // far above what other tests of this process map meanwhile
        let before = address_space();
        let slab = Slab::new(Layout::for_usable(LEN).unwrap(), 1).unwrap();
        assert!(address_space() >= before + LEN / 2);
        drop(slab);
        assert!(address_space() < before + LEN / 2);
    }

    /// The size of this process's mappings in bytes.
    fn address_space() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: usize = statm.split(' ').next().unwrap().parse().unwrap();
        pages * rustix::param::page_size()
    }
}
