//! The C interfaces of both, as contenders.

use crate::common::conditions::{State, Waiting, Wake};
use crate::common::locks::Exclusive;
use std::cell::UnsafeCell;
use std::ffi::c_void;

/// A library's mutex and condition.
pub trait Native: Send + Sync + 'static {
    const NAME: &'static str;

    fn new() -> Self;

    fn lock(&self);

    /// # Safety
    /// The calling thread holds the lock.
    unsafe fn unlock(&self);

    /// # Safety
    /// The calling thread holds the lock.
    unsafe fn wait(&self);

    fn notify_one(&self);

    fn notify_all(&self);
}

/// Either, with data.
pub struct Pair<N>(N, UnsafeCell<State>);

// SAFETY: the data is touched under the lock alone.
unsafe impl<N: Native> Sync for Pair<N> {}

impl<N: Native> Exclusive for Pair<N> {
    const NAME: &'static str = N::NAME;

    fn new() -> Self {
        Pair(N::new(), UnsafeCell::default())
    }

    #[inline]
    fn with<R>(&self, body: impl FnOnce() -> R) -> R {
        self.0.lock();
        let result = body();
        // SAFETY: locked above.
        unsafe { self.0.unlock() };
        result
    }
}

impl<N: Native> Waiting for Pair<N> {
    const NAME: &'static str = N::NAME;

    fn new() -> Self {
        Exclusive::new()
    }

    fn change(&self, wake: Wake, change: impl FnOnce(&mut State)) {
        self.with(|| {
            // SAFETY: under the lock.
            change(unsafe { &mut *self.1.get() });
            match wake {
                Wake::Some(number) => (0..number).for_each(|_| self.0.notify_one()),
                Wake::All => self.0.notify_all(),
            }
        });
    }

    fn wait(
        &self,
        before: impl FnOnce(&mut State),
        mut ready: impl FnMut(&mut State) -> bool,
        after: impl FnOnce(&mut State),
    ) {
        self.with(|| {
            // SAFETY: under the lock.
            before(unsafe { &mut *self.1.get() });
            // SAFETY: under the lock; the reference ends before the wait that lets go of it.
            while !ready(unsafe { &mut *self.1.get() }) {
                // SAFETY: under the lock.
                unsafe { self.0.wait() };
            }
            // SAFETY: under the lock.
            after(unsafe { &mut *self.1.get() });
        });
    }
}

/// `nsync_mu` and `nsync_cv` are both a word, a pointer, and zeros at first.
#[repr(C)]
#[derive(Default)]
struct NsyncObject(u32, usize);

unsafe extern "C" {
    fn nsync_mu_lock(mu: *mut NsyncObject);
    fn nsync_mu_unlock(mu: *mut NsyncObject);
    fn nsync_cv_wait(cv: *mut NsyncObject, mu: *mut NsyncObject);
    fn nsync_cv_signal(cv: *mut NsyncObject);
    fn nsync_cv_broadcast(cv: *mut NsyncObject);
}

#[derive(Default)]
pub struct Nsync {
    mu: Box<UnsafeCell<NsyncObject>>,
    cv: Box<UnsafeCell<NsyncObject>>,
}

// SAFETY: made to be used by several threads; the boxes keep them in their places.
unsafe impl Send for Nsync {}
// SAFETY: as above.
unsafe impl Sync for Nsync {}

impl Native for Nsync {
    const NAME: &'static str = "nsync";

    fn new() -> Self {
        Nsync::default()
    }

    #[inline]
    fn lock(&self) {
        // SAFETY: initialised, and not held by this thread: the benches do not nest it.
        unsafe { nsync_mu_lock(self.mu.get()) };
    }

    #[inline]
    unsafe fn unlock(&self) {
        // SAFETY: the caller holds it.
        unsafe { nsync_mu_unlock(self.mu.get()) };
    }

    unsafe fn wait(&self) {
        // SAFETY: the caller holds the mutex.
        unsafe { nsync_cv_wait(self.cv.get(), self.mu.get()) };
    }

    fn notify_one(&self) {
        // SAFETY: initialised.
        unsafe { nsync_cv_signal(self.cv.get()) };
    }

    fn notify_all(&self) {
        // SAFETY: initialised.
        unsafe { nsync_cv_broadcast(self.cv.get()) };
    }
}

unsafe extern "C" {
    fn absl_mutex_new() -> *mut c_void;
    fn absl_mutex_lock(mutex: *mut c_void);
    fn absl_mutex_unlock(mutex: *mut c_void);
    fn absl_mutex_free(mutex: *mut c_void);
    fn absl_cond_new() -> *mut c_void;
    fn absl_cond_wait(cond: *mut c_void, mutex: *mut c_void);
    fn absl_cond_signal(cond: *mut c_void);
    fn absl_cond_broadcast(cond: *mut c_void);
    fn absl_cond_free(cond: *mut c_void);
}

pub struct Abseil {
    mutex: *mut c_void,
    cond: *mut c_void,
}

// SAFETY: made to be used by several threads.
unsafe impl Send for Abseil {}
// SAFETY: as above.
unsafe impl Sync for Abseil {}

impl Native for Abseil {
    const NAME: &'static str = "absl::Mutex";

    fn new() -> Self {
        // SAFETY: no precondition.
        let mutex = unsafe { absl_mutex_new() };
        // SAFETY: likewise.
        let cond = unsafe { absl_cond_new() };
        Abseil { mutex, cond }
    }

    #[inline]
    fn lock(&self) {
        // SAFETY: made by `new`, and not held by this thread: the benches do not nest it.
        unsafe { absl_mutex_lock(self.mutex) };
    }

    #[inline]
    unsafe fn unlock(&self) {
        // SAFETY: the caller holds it.
        unsafe { absl_mutex_unlock(self.mutex) };
    }

    unsafe fn wait(&self) {
        // SAFETY: the caller holds the mutex.
        unsafe { absl_cond_wait(self.cond, self.mutex) };
    }

    fn notify_one(&self) {
        // SAFETY: made by `new`.
        unsafe { absl_cond_signal(self.cond) };
    }

    fn notify_all(&self) {
        // SAFETY: made by `new`.
        unsafe { absl_cond_broadcast(self.cond) };
    }
}

impl Drop for Abseil {
    fn drop(&mut self) {
        // SAFETY: made by `new`; nobody uses it any more.
        unsafe { absl_cond_free(self.cond) };
        // SAFETY: likewise.
        unsafe { absl_mutex_free(self.mutex) };
    }
}
