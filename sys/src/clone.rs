//! Threads of the kernel alone: started by a bare `clone`, unknown to libc.
//!
//! For monitors that must run whatever state the process is in, and as the measured limit of what
//! starting a thread costs: three system calls and no memory but the stack. Everything else is for
//! [`pthread`](crate::pthread), since such a thread may do very little; [`start`] says what.
//!
//! # How it begins and ends
//!
//! ```text
//! stack, low to high: ........ <- the entry's frames grow down | packet: entry, argument, end
//!
//!   end:  0  --clone, before the thread's first step-->  its id  --the kernel, after its last-->  0
//! ```
//! The new thread's stack pointer is the packet, from which the assembly below reads what to call
//! (so their offsets are part of it). When `entry` returns, the thread makes the `exit` system call.
//! The kernel then clears the end word and wakes its sleepers (`CLONE_CHILD_CLEARTID`), by a futex
//! call that is not private, so they must have slept by [`futex::wait_shared`].
//!
//! # Ordering
//!
//! `clone` orders what the caller did before what the thread does. At the end, a full barrier (the
//! processor's own order on x86_64, `dmb` on aarch64) stands between what the thread did and the
//! kernel's store to the end word, and pairs with the Acquire load that finds the word 0.

use crate::clock::Deadline;
use crate::futex::{self, Outcome};
use crate::stack::{PACKET_ALIGN, PACKET_LEN, Region, Slab};
use crate::{Errno, checked};
use memoffset::offset_of;
use std::arch::asm;
use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Acquire};

/// What a bare thread runs.
pub type Entry = extern "C" fn(*mut c_void);

/// What the assembly finds above the stack.
#[repr(C)]
struct Packet {
    entry: Entry,
    argument: *mut c_void,
}

/// What lies above the stack of a [`Bare`].
#[repr(C)]
struct OwnedPacket {
    packet: Packet,
    end: AtomicU32,
}

const _: () = {
    assert!(size_of::<OwnedPacket>() <= PACKET_LEN && align_of::<OwnedPacket>() <= PACKET_ALIGN);
    assert!(offset_of!(OwnedPacket, packet) == 0);
    // The packet is where the stack begins, which both architectures want on a multiple of 16.
    assert!(PACKET_ALIGN % 16 == 0);
};

/// All that threads of one process share, the id in the end word from the start, and 0 there at the
/// end. No `CLONE_SETTLS`: the thread has no thread-locals of its own.
const FLAGS: libc::c_int = libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM
    | libc::CLONE_PARENT_SETTID
    | libc::CLONE_CHILD_CLEARTID;

/// `clone(FLAGS, region's stack, end, 0, end)`: starts a thread that calls `entry(argument)` and
/// exits; returns its id.
///
/// `end` holds the id until the thread is gone, then 0: wait for that with
/// [`futex::wait_shared`], and read it with Acquire to see what the thread did. From then on the
/// kernel does nothing for the thread in this process's memory, so the region may be reused; in
/// `/proc` the thread may be listed for a moment longer. [`Bare`] does all that.
///
/// The thread has every signal blocked, so no handler runs on it; a fault there ends the process.
/// Three system calls: `clone` and
/// two `rt_sigprocmask` around it. Linux 2.5.49.
///
/// In the child of a fork the thread does not exist, and its copied end word stays as it was.
///
/// # Errors
/// `EAGAIN` (a limit on threads: `RLIMIT_NPROC`, `threads-max`, `pid_max`, a cgroup's), `ENOMEM`.
/// Then no thread was started, and `end` is as before.
///
/// # Safety
/// - Until `*end` is 0 again, `region`'s memory is mapped and nobody else touches it; its guards
///   are installed. Nobody but the kernel writes `*end`, which is 0 now; it stays valid until the
///   kernel has cleared it.
/// - `entry` may make raw system calls, use atomics, and touch memory whose use it may have by what
///   it was given. Its thread has the thread pointer of the thread that started it, so it must not
///   touch a thread-local, be it through what it calls. In particular:
///   - nothing of libc: its functions set `errno`, take locks by thread, cache in thread-locals;
///   - nothing of std that allocates, locks, prints or asks for the current thread;
///   - nothing that may panic: besides the obvious, in debug builds, arithmetic that overflows and
///     pointers that are misaligned. It must not unwind, either.
/// - It ends by returning, or by the `exit` system call after a full memory barrier.
/// - libc does not know the thread: `setuid` and the like leave its credentials alone, and the end
///   of the process does not wait for it.
pub unsafe fn start(
    region: &Region,
    entry: Entry,
    argument: *mut c_void,
    end: *const AtomicU32,
) -> Result<u32, Errno> {
    let packet = region.packet().cast::<Packet>();
    // SAFETY: the place is large enough and aligned (asserted above), and the caller's alone.
    unsafe { packet.write(Packet { entry, argument }) };
    let mask = block_signals()?;
    // SAFETY: the packet is in place above the region's stack; the rest the caller promises.
    let result = unsafe { clone(packet, end) };
    restore_signals(mask);
    // The kernel returns an id, or an error number negated.
    u32::try_from(result)
        .map_err(|_| Errno::from_raw_os_error(i32::try_from(-result).unwrap_or(libc::EINVAL)))
}

/// # Safety
/// As [`start`], with the packet written above the stack.
#[cfg(target_arch = "x86_64")]
unsafe fn clone(packet: *mut Packet, end: *const AtomicU32) -> isize {
    let result;
    // SAFETY: the calling thread goes on at 2 with its registers and its stack as they were, but
    // for those named. The new one is on a stack of its own and ends before 2; it uses the values
    // in its registers for nothing else.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp", // no frame lies above this one
            "mov rdi, [rsp + {argument}]",
            "call [rsp + {entry}]",
            "xor edi, edi",
            "mov eax, {exit}",
            "syscall",
            "ud2",
            "2:",
            argument = const offset_of!(Packet, argument),
            entry = const offset_of!(Packet, entry),
            exit = const libc::SYS_exit,
            inlateout("rax") libc::SYS_clone as isize => result,
            in("rdi") FLAGS as usize,
            in("rsi") packet,
            in("rdx") end,
            in("r10") end,
            in("r8") 0,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// # Safety
/// As [`start`], with the packet written above the stack.
#[cfg(target_arch = "aarch64")]
unsafe fn clone(packet: *mut Packet, end: *const AtomicU32) -> isize {
    let result;
    // SAFETY: the calling thread goes on at 2 with its registers and its stack as they were, but
    // for x0. The new one is on a stack of its own and ends before 2; it uses the values in its
    // registers for nothing else.
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr", // no frame lies above this one
            "ldr x0, [sp, {argument}]",
            "ldr x1, [sp, {entry}]",
            "blr x1",
            "dmb ish", // pairs with the Acquire of who finds the end word 0
            "mov x0, xzr",
            "mov x8, {exit}",
            "svc 0",
            "brk 1",
            "2:",
            argument = const offset_of!(Packet, argument),
            entry = const offset_of!(Packet, entry),
            exit = const libc::SYS_exit,
            inlateout("x0") FLAGS as isize => result,
            in("x1") packet,
            in("x2") end,
            in("x3") 0,
            in("x4") end,
            in("x8") libc::SYS_clone,
            options(nostack),
        );
    }
    result
}

/// `rt_sigprocmask(SIG_SETMASK, all, &before, 8)`: blocks every signal, also those that libc keeps
/// for itself and would leave out; returns the mask as it was.
fn block_signals() -> Result<u64, Errno> {
    let mut before = 0;
    set_signal_mask(&u64::MAX, &mut before)?;
    Ok(before)
}

fn restore_signals(mask: u64) {
    let restored = set_signal_mask(&mask, ptr::null_mut());
    debug_assert_eq!(restored, Ok(()), "the arguments are valid");
}

fn set_signal_mask(mask: &u64, before: *mut u64) -> Result<(), Errno> {
    let (number, how) = (libc::SYS_rt_sigprocmask, libc::SIG_SETMASK);
    // SAFETY: both masks are of the length that is passed, or null where the kernel allows it. No
    // handler is installed or run by this; blocking signals for a moment harms nobody.
    let result = unsafe { libc::syscall(number, how, mask, before, size_of::<u64>()) };
    checked(if result == -1 { -1 } else { 0 })
}

/// A bare thread that was started, together with the stack that it runs on.
///
/// Dropping it leaks the stack: it can neither be unmapped nor reused while the thread may run.
#[derive(Debug)]
#[must_use = "a bare thread that is not joined keeps its stack for ever"]
pub struct Bare {
    slab: ManuallyDrop<Arc<Slab>>,
    slot: u32,
    tid: u32,
}

impl Bare {
    /// [`start`] on a slot of `slab`, with the end word beside the packet.
    ///
    /// # Errors
    /// As `start`; `slab` is dropped.
    ///
    /// # Safety
    /// The slot's guards are installed, and nobody else uses it until the thread has been joined.
    /// What `start` says of `entry` holds here.
    ///
    /// # Panics
    /// If `slot` is not one of the slab's.
    pub unsafe fn start(
        slab: Arc<Slab>,
        slot: u32,
        entry: Entry,
        argument: *mut c_void,
    ) -> Result<Bare, Errno> {
        let region = slab.region(slot);
        let end = end_word(&region);
        // SAFETY: it lies above the slot's stack (asserted for the type) and is nobody else's yet.
        unsafe { end.write(AtomicU32::new(0)) };
        // SAFETY: the slab, and with it the slot and the end word, is kept until that is 0 again;
        // for the rest the caller vouches.
        let tid = unsafe { start(&region, entry, argument, end) }?;
        Ok(Bare {
            slab: ManuallyDrop::new(slab),
            slot,
            tid,
        })
    }

    /// The kernel's id of the thread. Once it is gone another thread may get it.
    #[must_use]
    pub fn tid(&self) -> u32 {
        self.tid
    }

    /// Whether the thread is gone. If so, what it did happened before. No system call.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.left() == 0
    }

    /// Waits until the thread is gone, and lets go of the stack. Signals do not end the wait.
    ///
    /// One futex wait if it still runs, else no system call.
    pub fn join(self) {
        let joined = self.join_until(Deadline::NEVER);
        debug_assert!(joined.is_ok(), "a wait without limit does not give up");
    }

    /// [`join`](Bare::join), until `deadline` at most.
    ///
    /// # Errors
    /// The thread, if it still runs at the deadline.
    pub fn join_until(self, deadline: Deadline) -> Result<(), Bare> {
        let word = end_word(&self.slab.region(self.slot));
        let timed = (!deadline.is_never()).then_some(deadline);
        let mut late = false;
        loop {
            let tid = self.left();
            if tid == 0 {
                drop(ManuallyDrop::into_inner(self.slab));
                return Ok(());
            }
            if late {
                return Err(self);
            }
            // SAFETY: in the slot, which `self` keeps, and initialised by `start`.
            let word = unsafe { &*word };
            late = futex::wait_shared(word, tid, timed) == Outcome::TimedOut;
        }
    }

    /// The end word's value: the thread's id, or 0.
    fn left(&self) -> u32 {
        let word = end_word(&self.slab.region(self.slot));
        // SAFETY: in the slot, which `self` keeps, and initialised by `start`.
        let word = unsafe { &*word };
        // Acquire: pairs with the barrier before the thread's end.
        word.load(Acquire)
    }
}

/// Where the end word of a [`Bare`] lies.
fn end_word(region: &Region) -> *mut AtomicU32 {
    region
        .packet()
        .wrapping_add(offset_of!(OwnedPacket, end))
        .cast()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::{Layout, MIN_STACK};
    use memoffset::span_of;
    use std::cell::UnsafeCell;
    use std::path::Path;
    use std::sync::atomic::Ordering::{Relaxed, Release};
    use std::sync::atomic::{AtomicU64, AtomicUsize};
    use std::time::Duration;

    /// What a thread of these tests is given. It waits for `go`, then tells about itself.
    #[derive(Default)]
    struct Job {
        go: AtomicU32,
        frame: AtomicUsize,
        tid: AtomicU32,
        mask: AtomicU64,
        /// Written without synchronization but the thread's end.
        runs: UnsafeCell<u32>,
    }

    impl Job {
        fn argument(&self) -> *mut c_void {
            ptr::from_ref(self).cast_mut().cast()
        }

        fn let_go(&self) {
            self.go.store(1, Release);
            futex::wake_all(&self.go);
        }

        /// For its thread, and for others when that is gone.
        fn runs(&self) -> u32 {
            // SAFETY: nobody else writes, as the caller knows.
            unsafe { self.runs.get().read() }
        }
    }

    extern "C" fn run(argument: *mut c_void) {
        // SAFETY: the tests pass a job and keep it until the thread is gone.
        let job = unsafe { &*argument.cast::<Job>() };
        let word = ptr::from_ref(&job.go).addr();
        // Acquire: pairs with the Release in `let_go`.
        while job.go.load(Acquire) == 0 {
            let wait = (libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG) as usize;
            // SAFETY: a wait on a word that is alive.
            unsafe { system_call(libc::SYS_futex, [word, wait, 0, 0]) };
        }
        job.frame.store((&raw const word).addr(), Relaxed);
        // SAFETY: no precondition.
        let tid = unsafe { system_call(libc::SYS_gettid, [0; 4]) };
        job.tid.store(tid as u32, Relaxed);
        let mask = job.mask.as_ptr().addr();
        // SAFETY: reads the mask into 8 bytes that are alive.
        unsafe { system_call(libc::SYS_rt_sigprocmask, [0, 0, mask, 8]) };
        let runs = job.runs().wrapping_add(1); // the thread before this one is gone
        // SAFETY: nobody else touches the number before this thread is gone.
        unsafe { job.runs.get().write(runs) };
    }

    /// A system call that leaves `errno` alone, which belongs to another thread.
    ///
    /// # Safety
    /// As the system call.
    unsafe fn system_call(number: libc::c_long, arguments: [usize; 4]) -> isize {
        let result;
        let [first, second, third, fourth] = arguments;
        #[cfg(target_arch = "x86_64")]
        // SAFETY: passed on; the registers that the kernel changes are named.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") number as isize => result,
                in("rdi") first,
                in("rsi") second,
                in("rdx") third,
                in("r10") fourth,
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack),
            );
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: passed on; the kernel changes x0 only.
        unsafe {
            asm!(
                "svc 0",
                inlateout("x0") first as isize => result,
                in("x1") second,
                in("x2") third,
                in("x3") fourth,
                in("x8") number,
                options(nostack),
            );
        }
        result
    }

    fn slab(slots: u32) -> Arc<Slab> {
        let slab = Slab::new(Layout::for_usable(MIN_STACK).unwrap(), slots).unwrap();
        for slot in 0..slots {
            slab.install_guards(slot).unwrap();
        }
        Arc::new(slab)
    }

    /// Starts `job` on a slot that nobody else uses; to be joined before either goes away.
    fn start_job(slab: &Arc<Slab>, slot: u32, job: &Job) -> Bare {
        // SAFETY: the guards are installed; `run` does what an entry may, on a job that the tests
        // keep until they have joined.
        unsafe { Bare::start(slab.clone(), slot, run, job.argument()) }.unwrap()
    }

    /// Joins within half a minute, or panics: a wake that does not come fails the test.
    #[track_caller]
    fn join(thread: Bare) {
        let deadline = Deadline::after(Duration::from_secs(30));
        let joined = thread.join_until(deadline);
        assert!(joined.is_ok() && !deadline.has_passed(), "no wake came");
    }

    fn is_listed(tid: u32) -> bool {
        Path::new(&format!("/proc/self/task/{tid}")).exists()
    }

    /// Returns once the kernel has taken the thread off its list, shortly after its end.
    fn until_unlisted(tid: u32) {
        let deadline = Deadline::after(Duration::from_secs(30));
        while is_listed(tid) {
            assert!(!deadline.has_passed(), "the thread is still there");
            std::thread::yield_now();
        }
    }

    fn signal_mask() -> u64 {
        let mut mask = 0;
        let (number, how) = (libc::SYS_rt_sigprocmask, libc::SIG_SETMASK);
        // SAFETY: reads the mask into 8 bytes that are alive.
        unsafe { libc::syscall(number, how, ptr::null::<u64>(), &mut mask, 8) };
        mask
    }

    fn is_emulated() -> bool {
        std::env::var_os("THREADBARE_EMULATED").is_some() // see scripts/aarch64.sh
    }

    #[test]
    fn a_bare_thread_runs_on_its_stack_and_ends() {
        let (slab, job) = (slab(1), Job::default());
        let thread = start_job(&slab, 0, &job);
        let tid = thread.tid();
        assert!(!thread.is_gone() && is_listed(tid));
        let soon = Deadline::after(Duration::from_millis(2));
        let thread = thread.join_until(soon).expect_err("it waits for `go`");
        assert!(soon.has_passed());
        job.let_go();
        thread.join();
        assert_eq!((job.runs(), job.tid.load(Relaxed)), (1, tid));
        assert!(slab.region(0).stack().contains(&job.frame.load(Relaxed)));
        assert_eq!(Arc::strong_count(&slab), 1, "the stack was given back");
        until_unlisted(tid);
    }

    #[test]
    fn its_end_wakes_who_joins() {
        let (slab, job) = (slab(1), Job::default());
        let thread = start_job(&slab, 0, &job);
        let word = end_word(&slab.region(0)).addr();
        let (joiner, joining) = std::sync::mpsc::channel();
        std::thread::scope(|s| {
            s.spawn(move || {
                joiner.send(crate::tid::gettid()).unwrap();
                join(thread);
            });
            let joiner = joining.recv().unwrap();
            let call = format!("{} {word:#x}", libc::SYS_futex);
            let path = format!("/proc/self/task/{joiner}/syscall");
            let is_awake =
                || std::fs::read_to_string(&path).is_ok_and(|now| !now.starts_with(&call));
            // Where the kernel does not tell, the join may find the end word cleared already.
            while !is_emulated() && is_awake() {
                std::thread::yield_now();
            }
            job.let_go();
        });
    }

    #[test]
    fn an_end_word_of_the_callers_holds_the_id_while_the_thread_lives() {
        let (slab, job, end) = (slab(1), Job::default(), AtomicU32::new(0));
        // SAFETY: as in `start_job`; the end word is waited for below.
        let tid = unsafe { start(&slab.region(0), run, job.argument(), &end) }.unwrap();
        assert_eq!(end.load(Acquire), tid);
        job.let_go();
        let deadline = Deadline::after(Duration::from_secs(30));
        while end.load(Acquire) != 0 {
            let woken = futex::wait_shared(&end, tid, Some(deadline));
            assert_ne!(woken, Outcome::TimedOut);
        }
        assert_eq!(job.runs(), 1);
    }

    #[test]
    fn a_thousand_run_one_after_another_on_one_stack() {
        let (slab, job) = (slab(1), Job::default());
        job.let_go();
        for round in 1..=1000 {
            join(start_job(&slab, 0, &job));
            assert_eq!(job.runs(), round);
        }
    }

    #[test]
    fn many_run_at_once() {
        const MANY: u32 = 100;
        let slab = slab(MANY);
        let jobs: Vec<_> = (0..MANY).map(|_| Job::default()).collect();
        let start = |(slot, job)| start_job(&slab, slot, job);
        let threads: Vec<_> = (0..).zip(&jobs).map(start).collect();
        assert!(threads.iter().all(|thread| is_listed(thread.tid())));
        jobs.iter().for_each(Job::let_go);
        for (thread, job) in threads.into_iter().zip(&jobs) {
            let tid = thread.tid();
            join(thread);
            assert_eq!((job.runs(), job.tid.load(Relaxed)), (1, tid));
        }
    }

    #[test]
    fn it_has_every_signal_blocked_and_its_creator_keeps_its_mask() {
        static HANDLED: AtomicU32 = AtomicU32::new(0);
        extern "C" fn count(_signal: libc::c_int) {
            HANDLED.fetch_add(1, Relaxed);
        }
        // SAFETY: the handler only counts, and no other test uses the signal.
        unsafe { libc::signal(libc::SIGUSR2, count as *const () as libc::sighandler_t) };
        let (slab, job, before) = (slab(1), Job::default(), signal_mask());
        let thread = start_job(&slab, 0, &job);
        assert_eq!(signal_mask(), before);
        let tid = thread.tid();
        let process = std::process::id();
        // SAFETY: the thread lives, and a handler is installed.
        let sent = unsafe { libc::syscall(libc::SYS_tgkill, process, tid, libc::SIGUSR2) };
        assert_eq!(sent, 0);
        job.let_go();
        join(thread);
        assert_eq!(HANDLED.load(Relaxed), 0);
        // Nobody can block these two. (An emulator keeps some for itself.)
        let unblockable = 1 << (libc::SIGKILL - 1) | 1 << (libc::SIGSTOP - 1);
        let mask = job.mask.load(Relaxed) | unblockable;
        assert!(mask == u64::MAX || is_emulated(), "{mask:#x}");
    }

    #[test]
    fn a_refused_start_leaves_everything_as_it_was() {
        let (slab, job, end) = (slab(1), Job::default(), AtomicU32::new(0));
        // SAFETY: the child makes system calls and starts nothing that is not refused; it leaves by
        // `_exit`.
        match unsafe { libc::fork() } {
            0 => {
                let verdict = refused_start(&slab, &job, &end);
                // SAFETY: leaves the child at once, without running anything of the parent's.
                unsafe { libc::_exit(verdict) };
            }
            child => {
                let mut status = -1;
                // SAFETY: `child` is ours and `status` is valid for the call.
                assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
                assert_eq!(status, 0);
            }
        }
    }

    /// In a process that may have no more threads: 0 if a start errs and changes nothing.
    fn refused_start(slab: &Arc<Slab>, job: &Job, end: &AtomicU32) -> libc::c_int {
        let none = libc::rlimit {
            rlim_cur: 1,
            rlim_max: 1,
        };
        // SAFETY: no precondition; the limit does not hold for root, so the child becomes another
        // user, if it may: else it is one already.
        unsafe { libc::setuid(65_534) };
        // SAFETY: the limit is valid for the call.
        unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &none) };
        // Blocked, so that something would be lost.
        let blocked = set_signal_mask(&(1 << (libc::SIGUSR1 - 1)), ptr::null_mut());
        let before = signal_mask();
        // SAFETY: as in `start_job`.
        let plain = unsafe { start(&slab.region(0), run, job.argument(), end) };
        // SAFETY: as in `start_job`.
        let owned = unsafe { Bare::start(slab.clone(), 0, run, job.argument()) };
        let checks = [
            blocked.is_ok(),
            plain == Err(Errno::AGAIN) || (plain.is_err() && is_emulated()),
            owned.is_err(),
            Arc::strong_count(slab) == 1,
            end.load(Acquire) == 0,
            signal_mask() == before,
        ];
        let failed = checks.iter().position(|right| !right);
        failed.map_or(0, |first| first as libc::c_int + 1)
    }

    #[test]
    fn the_packet_is_laid_out_as_the_assembly_reads_it() {
        assert_eq!(span_of!(Packet, ..), 0..16);
        assert_eq!(span_of!(Packet, entry), 0..8);
        assert_eq!(span_of!(Packet, argument), 8..16);
        // The kernel's word lies behind what the assembly reads, and within the packet's place.
        assert_eq!(span_of!(OwnedPacket, packet), 0..16);
        assert_eq!(span_of!(OwnedPacket, end), 16..20);
        assert!(span_of!(OwnedPacket, ..).end <= PACKET_LEN);
    }
}
