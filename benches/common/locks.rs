//! Everything that keeps others out, behind one trait, so that one body runs over all.

use super::peers::{PthreadMutex, Sem};
use std::cell::Cell;
use std::hint::spin_loop;
use std::sync::atomic::{
    AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

/// Runs something while nobody else does.
pub trait Exclusive: Send + Sync + 'static {
    const NAME: &'static str;

    fn new() -> Self;

    fn with<R>(&self, body: impl FnOnce() -> R) -> R;
}

macro_rules! exclusive {
    ($name:literal $lock:ty: $new:expr, |$this:ident, $body:ident| $section:block) => {
        impl Exclusive for $lock {
            const NAME: &'static str = $name;

            fn new() -> Self {
                $new
            }

            #[inline]
            fn with<R>(&self, $body: impl FnOnce() -> R) -> R {
                let $this = self;
                $section
            }
        }
    };
}

/// Objects with guards.
macro_rules! guarded {
    ($($name:literal $lock:ty: $new:expr, |$this:ident| $guard:expr;)*) => {$(
        exclusive! { $name $lock: $new, |$this, body| {
            let _guard = $guard;
            body()
        } }
    )*};
}

guarded! {
    "Mutex" threadbare::Mutex<()>: threadbare::Mutex::new(()), |this| this.lock();
    "ReentrantMutex" threadbare::ReentrantMutex<()>: threadbare::ReentrantMutex::new(()), |this| this.lock();
    "Monitor" threadbare::Monitor<()>: threadbare::Monitor::new(()), |this| this.lock();
    "std::sync::Mutex" std::sync::Mutex<()>: std::sync::Mutex::new(()), |this| this.lock().unwrap();
    "parking_lot::Mutex" parking_lot::Mutex<()>: parking_lot::Mutex::new(()), |this| this.lock();
    "parking_lot::FairMutex" parking_lot::FairMutex<()>: parking_lot::FairMutex::new(()), |this| this.lock();
    "parking_lot::ReentrantMutex" parking_lot::ReentrantMutex<()>: parking_lot::ReentrantMutex::new(()), |this| this.lock();
    "usync::Mutex" usync::Mutex<()>: usync::Mutex::new(()), |this| this.lock();
    "usync::ReentrantMutex" usync::ReentrantMutex<()>: usync::ReentrantMutex::new(()), |this| this.lock();
    // The nearest thing that crossbeam has.
    "crossbeam_utils::ShardedLock" crossbeam_utils::sync::ShardedLock<()>: crossbeam_utils::sync::ShardedLock::new(()), |this| this.write().unwrap();
}

/// Objects with an acquire and a release.
macro_rules! paired {
    ($($name:literal $lock:ty: $new:expr, $acquire:ident, $release:ident;)*) => {$(
        exclusive! { $name $lock: $new, |this, body| {
            this.$acquire();
            let result = body();
            let _ = this.$release();
            result
        } }
    )*};
}

paired! {
    "Lock" threadbare::Lock: threadbare::Lock::new(), acquire, release;
    "RLock" threadbare::RLock: threadbare::RLock::new(), acquire, release;
    "Semaphore" threadbare::Semaphore: threadbare::Semaphore::new(1), acquire, release;
    "BoundedSemaphore" threadbare::BoundedSemaphore: threadbare::BoundedSemaphore::new(1), acquire, release;
    "pthread_mutex" PthreadMutex: PthreadMutex::new(), lock, unlock;
    "sem_t" Sem: Sem::new(1), wait, post;
    "bare CAS and CAS" BareCas: BareCas::default(), acquire, release;
    "bare CAS and swap" BareSwap: BareSwap::default(), acquire, release;
    "bare owner and depth" BareOwned: BareOwned::default(), acquire, release;
}

/// The least that a lock does which notices a release too many, and says who waits in its word.
#[derive(Default)]
pub struct BareCas(AtomicU32);

impl BareCas {
    #[inline]
    pub fn acquire(&self) {
        while self.0.compare_exchange(0, 1, Acquire, Relaxed).is_err() {
            spin_loop();
        }
    }

    #[inline]
    pub fn release(&self) -> bool {
        self.0.compare_exchange(1, 0, Release, Relaxed).is_ok()
    }
}

/// The same, releasing as most locks do.
#[derive(Default)]
pub struct BareSwap(AtomicU32);

impl BareSwap {
    #[inline]
    pub fn acquire(&self) {
        while self.0.compare_exchange(0, 1, Acquire, Relaxed).is_err() {
            spin_loop();
        }
    }

    #[inline]
    pub fn release(&self) -> bool {
        self.0.swap(0, Release) == 1
    }
}

/// The least that a reentrant lock does for its owner, who takes it again: to see that it is the owner,
/// and to count, both times.
#[derive(Default)]
pub struct BareOwned {
    owner: AtomicU64,
    depth: Cell<u32>,
}

// SAFETY: the depth is touched by the owner alone; the lock that would let only one thread become that is
// left out, and only one thread of the bench ever uses it.
unsafe impl Sync for BareOwned {}

thread_local! {
    static ME: Cell<u64> = const { Cell::new(1) };
}

impl BareOwned {
    #[inline]
    pub fn acquire(&self) {
        // Relaxed, here and below: only the own value is recognized.
        if self.owner.load(Relaxed) == ME.get() {
            self.depth.set(self.depth.get() + 1);
        } else {
            self.owner.store(ME.get(), Relaxed);
            self.depth.set(1);
        }
    }

    #[inline]
    pub fn release(&self) -> bool {
        let is_mine = self.owner.load(Relaxed) == ME.get();
        if is_mine {
            self.depth.set(self.depth.get() - 1);
        }
        is_mine
    }
}
