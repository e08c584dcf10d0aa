//! glibc's objects, which Rust has no types for, and what std and parking_lot users build in place of
//! a semaphore and an event.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU32, Ordering::Acquire, Ordering::Release};
use threadbare_sys::futex;

/// `pthread_mutex_t`, as `PTHREAD_MUTEX_INITIALIZER` makes it.
pub struct PthreadMutex(Box<UnsafeCell<libc::pthread_mutex_t>>);

// SAFETY: made to be used by several threads; the box keeps it in its place.
unsafe impl Send for PthreadMutex {}
// SAFETY: as above.
unsafe impl Sync for PthreadMutex {}

impl PthreadMutex {
    pub fn new() -> PthreadMutex {
        PthreadMutex(Box::new(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER)))
    }

    #[inline]
    pub fn lock(&self) {
        // SAFETY: initialised, and not held by this thread: the benches do not nest it.
        unsafe { libc::pthread_mutex_lock(self.0.get()) };
    }

    #[inline]
    pub fn unlock(&self) {
        // SAFETY: held by this thread.
        unsafe { libc::pthread_mutex_unlock(self.0.get()) };
    }
}

/// `pthread_cond_t`, as `PTHREAD_COND_INITIALIZER` makes it.
pub struct PthreadCond(Box<UnsafeCell<libc::pthread_cond_t>>);

// SAFETY: made to be used by several threads; the box keeps it in its place.
unsafe impl Send for PthreadCond {}
// SAFETY: as above.
unsafe impl Sync for PthreadCond {}

impl PthreadCond {
    pub fn new() -> PthreadCond {
        PthreadCond(Box::new(UnsafeCell::new(libc::PTHREAD_COND_INITIALIZER)))
    }

    pub fn wait(&self, mutex: &PthreadMutex) {
        // SAFETY: both are initialised, and the mutex is held by this thread.
        unsafe { libc::pthread_cond_wait(self.0.get(), mutex.0.get()) };
    }

    #[inline]
    pub fn notify_one(&self) {
        // SAFETY: initialised.
        unsafe { libc::pthread_cond_signal(self.0.get()) };
    }

    #[inline]
    pub fn notify_all(&self) {
        // SAFETY: initialised.
        unsafe { libc::pthread_cond_broadcast(self.0.get()) };
    }
}

/// `pthread_barrier_t`.
pub struct PthreadBarrier(Box<UnsafeCell<libc::pthread_barrier_t>>);

// SAFETY: made to be used by several threads; the box keeps it in its place.
unsafe impl Send for PthreadBarrier {}
// SAFETY: as above.
unsafe impl Sync for PthreadBarrier {}

impl PthreadBarrier {
    pub fn new(parties: usize) -> PthreadBarrier {
        // SAFETY: plain integers, for which zeros are values.
        let barrier = Box::new(UnsafeCell::new(unsafe { std::mem::zeroed() }));
        let parties = u32::try_from(parties).expect("so many threads");
        // SAFETY: the memory is nobody else's yet.
        let made = unsafe { libc::pthread_barrier_init(barrier.get(), std::ptr::null(), parties) };
        assert_eq!(made, 0);
        PthreadBarrier(barrier)
    }

    pub fn wait(&self) {
        // SAFETY: initialised.
        unsafe { libc::pthread_barrier_wait(self.0.get()) };
    }
}

/// `sem_t`, within one process.
pub struct Sem(Box<UnsafeCell<libc::sem_t>>);

// SAFETY: made to be used by several threads; the box keeps it in its place.
unsafe impl Send for Sem {}
// SAFETY: as above.
unsafe impl Sync for Sem {}

impl Sem {
    pub fn new(value: u32) -> Sem {
        // SAFETY: plain integers, for which zeros are values.
        let sem = Box::new(UnsafeCell::new(unsafe { std::mem::zeroed() }));
        // SAFETY: the memory is nobody else's yet.
        let made = unsafe { libc::sem_init(sem.get(), 0, value) };
        assert_eq!(made, 0);
        Sem(sem)
    }

    #[inline]
    pub fn wait(&self) {
        // SAFETY: initialised. No handler runs in the benches, so it is not interrupted.
        unsafe { libc::sem_wait(self.0.get()) };
    }

    #[inline]
    pub fn post(&self) {
        // SAFETY: initialised.
        unsafe { libc::sem_post(self.0.get()) };
    }
}

/// Something that is counted up by one thread and down by another, or set and waited for.
pub trait Permits: Send + Sync + 'static {
    const NAME: &'static str;

    /// Without permits.
    fn none() -> Self;

    fn acquire(&self);

    fn release(&self);
}

macro_rules! permits {
    ($($name:literal $type:ty: $none:expr, |$this:ident| $acquire:expr, $release:expr;)*) => {$(
        impl Permits for $type {
            const NAME: &'static str = $name;

            fn none() -> Self {
                $none
            }

            #[inline]
            fn acquire(&self) {
                let $this = self;
                $acquire
            }

            #[inline]
            fn release(&self) {
                let $this = self;
                $release
            }
        }
    )*};
}

permits! {
    "Semaphore" threadbare::Semaphore: threadbare::Semaphore::new(0),
        |this| this.acquire(), { let _ = this.release(); };
    // For one who waits and clears, as a semaphore.
    "Event" threadbare::Event: threadbare::Event::new(),
        |this| { this.wait(); this.clear() }, this.set();
    "sem_t" Sem: Sem::new(0), |this| this.wait(), this.post();
    "std Mutex and Condvar" StdCount: StdCount::default(),
        |this| this.acquire(), this.release();
    "parking_lot Mutex and Condvar" ParkingLotCount: ParkingLotCount::default(),
        |this| this.acquire(), this.release();
    "bare futex" BareFlag: BareFlag::default(), |this| this.acquire(), this.release();
}

/// A semaphore of std's parts.
#[derive(Default)]
pub struct StdCount(std::sync::Mutex<u32>, std::sync::Condvar);

impl StdCount {
    fn acquire(&self) {
        let count = self.0.lock().unwrap();
        let mut count = self.1.wait_while(count, |count| *count == 0).unwrap();
        *count -= 1;
    }

    fn release(&self) {
        *self.0.lock().unwrap() += 1;
        self.1.notify_one();
    }
}

/// A semaphore of parking_lot's parts.
#[derive(Default)]
pub struct ParkingLotCount(parking_lot::Mutex<u32>, parking_lot::Condvar);

impl ParkingLotCount {
    fn acquire(&self) {
        let mut count = self.0.lock();
        self.1.wait_while(&mut count, |count| *count == 0);
        *count -= 1;
    }

    fn release(&self) {
        *self.0.lock() += 1;
        self.1.notify_one();
    }
}

/// A flag for one who waits, that always enters the kernel to wake: the cost of the kernel's part.
#[derive(Default)]
pub struct BareFlag(AtomicU32);

impl BareFlag {
    fn acquire(&self) {
        // Acquire: pairs with the Release in `release`.
        while self.0.swap(0, Acquire) == 0 {
            let _ = futex::wait(&self.0, 0, None); // the word says whether it may go
        }
    }

    fn release(&self) {
        self.0.store(1, Release);
        futex::wake(&raw const self.0, 1);
    }
}
