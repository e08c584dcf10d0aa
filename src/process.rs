//! What is set up once for the whole process.

use crate::raw::asymmetry;

/// Sets up what makes releases of [`Mutex`](crate::Mutex), [`ReentrantMutex`](crate::ReentrantMutex),
/// [`RLock`](crate::RLock) and [`Monitor`](crate::Monitor) cheap, unless it has been or was switched off
/// by [`set_membarrier`]. The first start of a [`Thread`](crate::Thread) does it too, so this is for
/// programs whose threads are others', best at the beginning of main.
///
/// One system call the first time (`membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)`): 15 µs in a
/// process with one thread; with more it was seen to take 18 ms. Where the kernel or a filter for system
/// calls refuses it, all works as without.
///
/// ```
/// threadbare::init();
/// ```
pub fn init() {
    asymmetry::prepare();
}

/// Says whether releases may be plain stores that waiters pay for. By default they may.
///
/// A release of a lock for which nobody waits is then about half as expensive, since it has no atomic
/// read-modify-write. A thread that finds such a lock taken, and would sleep, first has all running
/// threads of the process execute a memory fence (`membarrier(2)`, Linux 4.14): some 10 µs for itself,
/// an interrupt of 7 µs for each CPU that runs one of them, as measured with 2 CPUs; more CPUs have
/// not been measured, and the kernel may let it wait for that of another process. It happens about once in
/// 8 ms at most for each lock. In the process as a whole, no more than 64 locks begin to be released so
/// within 4 ms, and none for 128 ms after there were 9 such fences within 4 ms.
///
/// Switch it off where such an interrupt is one too many, as on CPUs that are kept free of interrupts for
/// real-time threads, and where a filter for system calls will be installed later that ends who calls
/// `membarrier` (one that refuses it does no harm); before the first lock is used, or locks stay as they
/// are until a thread waits for them. Single locks may be [`symmetric`](crate::RLock::symmetric).
///
/// ```
/// threadbare::set_membarrier(false);
/// ```
pub fn set_membarrier(is_wanted: bool) {
    asymmetry::set_wanted(is_wanted);
}
