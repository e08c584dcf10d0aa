//! What the protocols in `raw/` are built of: atomics, cells, the futex, points in time, the
//! identity of a thread. Real ones, or under `--cfg threadbare_model` ones that a model checker
//! controls. The choice is made here and nowhere else.
//!
//! Both halves offer the same names. Only `new` differs: modelled atomics cannot be made in a
//! constant, so constructors of raw types are written inside [`const_unless_modelled!`].

#[cfg(threadbare_model)]
mod model;

#[cfg(threadbare_model)]
pub use model::*;
#[cfg(not(threadbare_model))]
pub use real::*;

/// Makes a function `const`, except under the model checker.
macro_rules! const_unless_modelled {
    ($(#[$attribute:meta])* pub fn $($rest:tt)*) => {
        $(#[$attribute])*
        #[cfg(not(threadbare_model))]
        pub const fn $($rest)*

        $(#[$attribute])*
        #[cfg(threadbare_model)]
        pub fn $($rest)*
    };
}
pub(crate) use const_unless_modelled;

/// How a futex wait ended; the words are `threadbare_sys`'s.
pub use threadbare_sys::futex::{ALL_RANKS, Outcome};

#[cfg(not(threadbare_model))]
mod real {
    pub(crate) use crate::thread::need_fork_handlers;
    use std::num::NonZeroU32;
    use std::ptr;
    use std::sync::atomic::Ordering::{Relaxed, Release, SeqCst};
    use std::sync::atomic::compiler_fence;
    pub use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};
    use std::time::Duration;
    use threadbare_sys::Errno;
    pub use threadbare_sys::clock::Deadline;
    pub use threadbare_sys::fork::generation as fork_generation;
    use threadbare_sys::futex::{self, Outcome};
    pub use threadbare_sys::sched::{cpus, yield_now};
    use threadbare_sys::{membarrier, tid};

    /// An atomic that threads can sleep on: itself, or its lower half.
    pub trait Word {
        /// The 32 bits that the kernel compares.
        fn futex(&self) -> &AtomicU32;

        /// Their address, to wake by once the word may be gone.
        fn address(&self) -> Address {
            Address(self.futex())
        }
    }

    impl Word for AtomicU32 {
        #[inline]
        fn futex(&self) -> &AtomicU32 {
            self
        }
    }

    impl Word for AtomicU64 {
        #[inline]
        fn futex(&self) -> &AtomicU32 {
            let low_half = ptr::from_ref(self).cast::<AtomicU32>();
            // SAFETY: little-endian (asserted by threadbare-sys), so the lower half lies first and
            // is aligned; it lives as long as `self`. Our code accesses the whole word only: the
            // half is the kernel's to read, which no other access races with.
            unsafe { &*low_half }
        }
    }

    /// Where a word is, or was: all that a wake needs.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Address(*const AtomicU32);

    /// See [`futex::wait_ranked`].
    pub fn futex_wait(
        word: &impl Word,
        expected: u32,
        deadline: Option<Deadline>,
        ranks: NonZeroU32,
    ) -> Outcome {
        futex::wait_ranked(word.futex(), expected, deadline, ranks)
    }

    /// See [`futex::wake`].
    pub fn futex_wake(word: Address, count: u32) -> usize {
        futex::wake(word.0, count)
    }

    /// See [`futex::wake_ranked`].
    pub fn futex_wake_ranked(word: Address, count: u32, ranks: NonZeroU32) -> usize {
        futex::wake_ranked(word.0, count, ranks)
    }

    /// See [`futex::requeue`].
    pub fn futex_requeue(
        from: &AtomicU32,
        expected: u32,
        to: &AtomicU32,
        count: u32,
    ) -> Result<usize, Errno> {
        // SAFETY: both are references, so both words are valid throughout the call.
        unsafe { futex::requeue(from, expected, to, count) }
    }

    impl Address {
        /// As a number.
        pub fn addr(self) -> usize {
            self.0.addr()
        }
    }

    /// Asked only of a model.
    pub fn reserves() -> bool {
        false
    }

    /// The end of a sleep of a wait that is to end at `deadline`, but in a moment at the latest.
    pub fn for_a_moment(deadline: Deadline, moment: Duration) -> Deadline {
        deadline.min(Deadline::after(moment))
    }

    /// How long a wait sleeps at a time that asks now and then whether to go on.
    const CHECK_EVERY: Duration = Duration::from_millis(50);

    /// The end of such a sleep, if the wait as a whole is to end at `deadline`.
    pub fn before_next_check(deadline: Deadline) -> Deadline {
        for_a_moment(deadline, CHECK_EVERY)
    }

    /// Stores `value` with Release, over whatever read-modify-writes of others have made of the word.
    #[inline]
    pub fn overwrite(word: &AtomicU32, value: u32) {
        word.store(value, Release);
    }

    /// Keeps the compiler from moving accesses across, and nothing else: one half of what
    /// [`fence_all_threads`] does the other half of.
    #[inline]
    pub fn light_fence() {
        compiler_fence(SeqCst);
    }

    /// See [`membarrier::register`]; whether there will be a fence.
    pub fn register_fence() -> bool {
        membarrier::register().is_ok()
    }

    /// See [`membarrier::fence_all`]; whether there was a fence.
    pub fn fence_all_threads() -> bool {
        membarrier::fence_all().is_ok()
    }

    /// Now, to the precision of the kernel's tick, in units of 4 ms; wraps.
    pub fn coarse_tick() -> u32 {
        const UNIT: i64 = 4_000_000;
        (Deadline::now_coarse().nanos() / UNIT) as u32
    }

    /// Sleeps for so long.
    pub fn pass_time(time: Duration) {
        let (nobody, end) = (AtomicU32::new(0), Deadline::after(time));
        while futex::wait(&nobody, 0, Some(end)) != Outcome::TimedOut {}
    }

    /// Nanoseconds on the monotonic clock.
    pub fn nanos() -> i64 {
        Deadline::now().nanos()
    }

    /// Tells the CPU that this is a spin loop.
    #[inline]
    pub fn pause() {
        std::hint::spin_loop();
    }

    thread_local! {
        /// This thread's token; 0 while it has none. Atomic for the sake of signal handlers.
        static TOKEN: AtomicU64 = const { AtomicU64::new(0) };
    }

    /// The identity of the calling thread: nonzero, never that of another thread of the process,
    /// past or present, and kept across a fork (MOD-9). Async-signal-safe.
    #[inline]
    pub fn thread_token() -> u64 {
        // Relaxed, here and below: the thread's own.
        match TOKEN.with(|token| token.load(Relaxed)) {
            0 => take_token(),
            token => token,
        }
    }

    /// Lets the calling thread go by `token`, from [`fresh_token`], which it has not used before.
    pub fn adopt_token(token: u64) {
        TOKEN.with(|own| own.store(token, Relaxed));
    }

    /// The token of the thread that the process began with; known to others before that thread
    /// asks for it.
    pub const INITIAL_THREAD: u64 = 1;

    /// A token that no thread has or had.
    pub fn fresh_token() -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(INITIAL_THREAD + 1);
        // Relaxed: only that no two calls get the same matters. 2^64 threads do not come.
        NEXT.fetch_add(1, Relaxed)
    }

    #[cold]
    fn take_token() -> u64 {
        let token = if tid::is_initial_thread() {
            INITIAL_THREAD
        } else {
            fresh_token()
        };
        // A signal handler may have been here meanwhile; then its token is the thread's.
        let taken = TOKEN.with(|own| own.compare_exchange(0, token, Relaxed, Relaxed));
        taken.err().unwrap_or(token)
    }

    /// A cell whose accesses the model checker can see; see `loom::cell::UnsafeCell`.
    #[derive(Debug, Default)]
    pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        /// A cell that holds `value`.
        pub const fn new(value: T) -> UnsafeCell<T> {
            UnsafeCell(std::cell::UnsafeCell::new(value))
        }

        /// Lends the contents for reading.
        #[inline]
        pub fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
            read(self.0.get())
        }

        /// Lends the contents for writing.
        #[inline]
        pub fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
            write(self.0.get())
        }
    }
}
