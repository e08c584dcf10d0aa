//! Threads of libc, on stacks of ours.
//!
//! They are pthreads and not bare `clone`s because Rust code needs what libc sets up for a thread:
//! thread-locals and their destructors, `errno`, cancellation of its caches at exit.

use crate::clock::Deadline;
use crate::settings::{Blocked, Settings};
use crate::stack::{PACKET_ALIGN, PACKET_LEN, Region};
use crate::{Errno, futex, returned};
use std::mem::{MaybeUninit, align_of, size_of};
use std::sync::atomic::{AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

/// What a starting thread finds above its stack.
#[repr(C)]
struct Packet<P> {
    entry: fn(P),
    gate: AtomicU32,
    value: P,
}

// The gate's states: the new thread waits there, may go on, or has to end.
//
//   SHUT  --settings applied-->  OPEN       the thread takes the packet
//   SHUT  --refused-->           REFUSED    the thread ends, `start` joins it and takes the packet
//
// The gate is shut only for a thread with settings that are applied from outside; else it is OPEN from
// the start, and pthread_create orders the packet before the thread. One thread writes it, once, and
// one waits for that:
//
// - The store (Release) pairs with the load that ends the wait (Acquire). All that `start` does to
//   the packet and to the thread by its handle is before it, and the thread takes the packet, the
//   gate in it included, after. So no access there is concurrent.
// - No wake is lost: the kernel compares the word with SHUT in one step with going to sleep, and the
//   store is before the wake. A thread that wakes for no reason looks again.
// - After the store `start` uses the gate's address only, for the wake. The packet may have been
//   taken by then; its memory is there, since the thread cannot be joined before `start` has returned.
// - After REFUSED the thread touches nothing, and the join orders its end before the packet is taken.
//
// There is no model of this. The primitives that models replace lie above this crate, so it would be
// one of a copy.
const SHUT: u32 = 0;
const OPEN: u32 = 1;
const REFUSED: u32 = 2;

/// A thread that was started and whose kernel thread has not been waited for yet.
///
/// Dropping it leaks libc's record of the thread, and its stack must then never be reused.
#[derive(Debug)]
#[must_use = "a started thread has to be joined before its stack can be reused"]
pub struct Pthread(libc::pthread_t);

unsafe extern "C" {
    /// glibc 2.31; the libc crate does not declare it yet.
    fn pthread_clockjoin_np(
        thread: libc::pthread_t,
        result: *mut *mut libc::c_void,
        clock: libc::clockid_t,
        deadline: *const libc::timespec,
    ) -> libc::c_int;
}

/// `pthread_create(&thread, {region's stack}, entry, packet)`: starts a thread that runs
/// `entry(packet)`.
///
/// The packet travels in the region, so nothing is allocated. Six system calls in glibc 2.36:
/// `clone3`, and three `rt_sigprocmask`, `set_robust_list`, `rseq` around it and in the child. What
/// `settings` do not say the thread has from the caller. Blocking signals takes two more; CPUs and
/// scheduling take what they say and two futex calls, since the thread waits until they are set. The
/// caller does not wait for it.
///
/// # Errors
/// The packet comes back with `EAGAIN` (a limit on threads: `RLIMIT_NPROC`, `threads-max`,
/// `pid_max`, a cgroup's), `ENOMEM`, or `EINVAL` (the stack is too small for libc); with `EINVAL` or
/// `EPERM` if the kernel refuses the settings: then the kernel thread was made, and is gone again.
///
/// # Safety
/// Until the thread has been joined, `region`'s memory is mapped and nobody else touches it; its
/// guards are installed.
///
/// # Panics
/// `entry` must not unwind: that aborts the process.
pub unsafe fn start<P: Send + 'static>(
    region: &Region,
    settings: &Settings,
    packet: P,
    entry: fn(P),
) -> Result<Pthread, (Errno, P)> {
    const {
        assert!(size_of::<Packet<P>>() <= PACKET_LEN && align_of::<Packet<P>>() <= PACKET_ALIGN);
    }
    let attributes = match Attributes::with_stack(region) {
        Ok(attributes) => attributes,
        Err(errno) => return Err((errno, packet)),
    };
    let place = region.packet().cast::<Packet<P>>();
    let is_to_wait = settings.are_for_a_thread_that_waits();
    // SAFETY: `place` is aligned and large enough (asserted above), and the region is ours alone.
    unsafe {
        place.write(Packet {
            entry,
            gate: AtomicU32::new(if is_to_wait { SHUT } else { OPEN }),
            value: packet,
        })
    };
    let mut thread = MaybeUninit::uninit();
    let blocked = settings.blocks_signals.then(Blocked::new);
    // SAFETY: the attributes are initialised; the trampoline takes the packet that `place` holds,
    // once, and the caller keeps the region for the thread.
    let result = unsafe {
        libc::pthread_create(
            thread.as_mut_ptr(),
            &attributes.0,
            trampoline::<P>,
            place.cast(),
        )
    };
    drop(blocked);
    if let Err(errno) = returned(result) {
        // SAFETY: no thread was started, so the packet lies where it was written.
        let packet = unsafe { place.read() };
        return Err((errno, packet.value));
    }
    // SAFETY: pthread_create returned 0, so it stored the thread.
    let thread = Pthread(unsafe { thread.assume_init() });
    if !is_to_wait {
        return Ok(thread);
    }
    // SAFETY: just started, joinable, and joined by nobody.
    let applied = unsafe { settings.apply(thread.0) };
    // SAFETY: in the packet, which is there until the thread is let go.
    let gate = unsafe { &raw const (*place).gate };
    let state = if applied.is_ok() { OPEN } else { REFUSED };
    // SAFETY: as above. Release: pairs with the Acquire in `trampoline`, so that the thread takes
    // the packet after this. It may have taken it afterwards; the wake uses the address only.
    unsafe { (*gate).store(state, Release) };
    futex::wake(gate, 1);
    let Err(errno) = applied else {
        return Ok(thread);
    };
    let joined = thread.join();
    assert!(joined.is_ok(), "a thread that waits for nobody is joined");
    // SAFETY: the thread has ended and left the packet where it was written.
    let packet = unsafe { place.read() };
    Err((errno, packet.value))
}

extern "C" fn trampoline<P>(place: *mut libc::c_void) -> *mut libc::c_void {
    let place = place.cast::<Packet<P>>();
    // SAFETY: `start` wrote a packet here, which is there until this thread takes it or ends.
    let gate = unsafe { &(*place).gate };
    // Acquire: pairs with the Release in `start`.
    while gate.load(Acquire) == SHUT {
        let _ = futex::wait(gate, SHUT, None);
    }
    // Relaxed: the value stands for itself, and does not change any more.
    if gate.load(Relaxed) == REFUSED {
        return std::ptr::null_mut();
    }
    // SAFETY: `start` wrote the packet for this thread, which reads it once.
    let packet = unsafe { place.read() };
    (packet.entry)(packet.value);
    std::ptr::null_mut()
}

impl Pthread {
    /// `pthread_join(thread, NULL)`: waits until the kernel thread is gone.
    ///
    /// One futex wait if it still runs, else no system call; signals do not end it. What the
    /// thread did happens before the return.
    ///
    /// # Errors
    /// The thread, if it is the calling one or waits for that to end (`EDEADLK`).
    pub fn join(self) -> Result<(), Pthread> {
        // SAFETY: the thread is joinable; it counts as joined only if the call succeeds.
        let result = unsafe { libc::pthread_join(self.0, std::ptr::null_mut()) };
        returned(result).map_err(|_| self)
    }

    /// `pthread_tryjoin_np(thread, NULL)`: joins the thread if it is gone, else gives it back.
    /// Never blocks, no system call. glibc 2.3.3.
    ///
    /// # Errors
    /// The thread, if it still runs.
    pub fn try_join(self) -> Result<(), Pthread> {
        // SAFETY: the thread is joinable; it counts as joined only if the call succeeds.
        let result = unsafe { libc::pthread_tryjoin_np(self.0, std::ptr::null_mut()) };
        returned(result).map_err(|_| self)
    }

    /// `pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, deadline)`: waits until the kernel
    /// thread is gone, or gives it back at the deadline. Signals do not end it. glibc 2.31.
    ///
    /// # Errors
    /// The thread, if it still runs at the deadline, or as [`join`](Pthread::join).
    pub fn join_until(self, deadline: Deadline) -> Result<(), Pthread> {
        if deadline.is_never() {
            return self.join();
        }
        let point = deadline.timespec();
        let point = libc::timespec {
            tv_sec: point.tv_sec,
            tv_nsec: point.tv_nsec,
        };
        let nothing = std::ptr::null_mut();
        // SAFETY: as in `try_join`; `point` is a valid time and outlives the call.
        let result =
            unsafe { pthread_clockjoin_np(self.0, nothing, libc::CLOCK_MONOTONIC, &point) };
        returned(result).map_err(|_| self)
    }
}

/// Thread attributes, destroyed on drop.
struct Attributes(libc::pthread_attr_t);

impl Attributes {
    fn with_stack(region: &Region) -> Result<Attributes, Errno> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the call initialises what it is given; in glibc it cannot fail.
        returned(unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: pthread_attr_init returned 0.
        let mut attributes = Attributes(unsafe { attributes.assume_init() });
        let (base, len) = (region.stack.cast(), region.stack_len);
        // SAFETY: the attributes are initialised; the stack is only noted here.
        returned(unsafe { libc::pthread_attr_setstack(&mut attributes.0, base, len) })?;
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: the attributes were initialised and are destroyed once.
        unsafe { libc::pthread_attr_destroy(&mut self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::{Layout, MIN_STACK, Slab};
    use memoffset::{offset_of, span_of};
    use std::sync::Arc;
    use std::time::Duration;

    #[derive(Debug)]
    struct Job {
        go: AtomicU32,
        ran_on: AtomicU32,
    }

    fn job() -> Arc<Job> {
        Arc::new(Job {
            go: AtomicU32::new(0),
            ran_on: AtomicU32::new(0),
        })
    }

    fn run(job: Arc<Job>) {
        while job.go.load(Acquire) == 0 {
            let _ = futex::wait(&job.go, 0, None);
        }
        job.ran_on.store(crate::tid::gettid(), Release);
    }

    fn slab() -> Slab {
        let slab = Slab::new(Layout::for_usable(MIN_STACK).unwrap(), 1).unwrap();
        slab.install_guards(0).unwrap();
        slab
    }

    #[test]
    fn a_thread_runs_its_packet_and_is_joined() {
        let (slab, job) = (slab(), job());
        // SAFETY: `slab` lives until the thread has been joined below.
        let thread =
            unsafe { start(&slab.region(0), &Settings::INHERITED, job.clone(), run) }.unwrap();
        let thread = thread.try_join().expect_err("it waits for `go`");
        let soon = Deadline::after(Duration::from_millis(2));
        let thread = thread.join_until(soon).expect_err("it waits for `go`");
        assert!(soon.has_passed());
        job.go.store(1, Release);
        futex::wake_all(&job.go);
        thread.join().unwrap();
        assert_ne!(job.ran_on.load(Acquire), 0);
        assert_eq!(Arc::strong_count(&job), 1, "the packet was consumed");
    }

    #[test]
    fn a_thread_whose_settings_are_refused_is_gone_and_its_packet_is_back() {
        let (slab, job) = (slab(), job());
        let settings = |cpus: &[usize]| Settings {
            blocks_signals: true,
            cpus: Some(Box::new(cpus.iter().copied().collect())),
            scheduling: None,
        };
        for cpus in [&[][..], &[8191], &[8192]] {
            let settings = settings(cpus);
            // SAFETY: nobody else uses `slab`; no thread runs there after a refusal.
            let refused = unsafe { start(&slab.region(0), &settings, job.clone(), run) };
            let (errno, packet) = refused.expect_err("there is no such CPU");
            assert_eq!(errno, Errno::INVAL);
            assert_eq!(Arc::strong_count(&packet), 2, "it came back as it was");
        }
        assert_eq!(job.ran_on.load(Acquire), 0);
    }

    #[test]
    fn a_thread_runs_on_the_stack_it_was_given() {
        static LOCAL: AtomicU32 = AtomicU32::new(0);
        fn look((from, to): (usize, usize)) {
            let here = &raw const from as usize;
            LOCAL.store(u32::from((from..to).contains(&here)), Release);
        }
        let slab = slab();
        let stack = slab.region(0).stack();
        let (inherited, packet) = (Settings::INHERITED, (stack.start, stack.end));
        // SAFETY: `slab` lives until the thread has been joined.
        let thread = unsafe { start(&slab.region(0), &inherited, packet, look) }.unwrap();
        assert!(thread.join_until(Deadline::NEVER).is_ok());
        assert_eq!(LOCAL.load(Acquire), 1);
    }

    #[test]
    fn the_packet_is_laid_out_as_the_trampoline_reads_it() {
        type Largest = Packet<[u64; PACKET_LEN / 8 - 2]>;
        assert_eq!(offset_of!(Largest, entry), 0);
        assert_eq!(span_of!(Largest, gate), 8..12);
        assert_eq!(span_of!(Largest, value), 16..PACKET_LEN);
    }
}
