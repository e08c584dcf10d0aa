//! Threads of libc's own, which neither the crate nor std has started.

use std::ffi::c_void;

/// A thread of libc's own.
pub struct Pthread(libc::pthread_t);

impl Pthread {
    /// Starts a thread that allocates nothing before `body`.
    pub fn start(body: impl FnOnce() + Send + 'static) -> Pthread {
        // SAFETY: `body` borrows nothing that ends.
        unsafe { Pthread::start_borrowing(body) }
    }

    /// What `body` returns, which a thread runs that ends before this does. In the child of a fork it
    /// may be called where std's threads may not: those take a lock of std's when they start, which
    /// another thread of the parent may have held.
    pub fn run<R: Send>(body: impl FnOnce() -> R + Send) -> R {
        let mut result = None;
        // SAFETY: joined in the same statement, before what `body` borrows, and `result`, end.
        unsafe { Pthread::start_borrowing(|| result = Some(body())) }.join();
        result.expect("a panic does not get out of such a thread")
    }

    /// As [`start`](Pthread::start), for a `body` that borrows. A panic does not get past the thread:
    /// it aborts.
    ///
    /// # Safety
    /// What `body` borrows outlives the thread.
    pub unsafe fn start_borrowing<'a>(body: impl FnOnce() + Send + 'a) -> Pthread {
        extern "C" fn enter(body: *mut c_void) -> *mut c_void {
            let body: *mut Box<dyn FnOnce() + Send> = body.cast();
            // SAFETY: made by `Box::into_raw` below, for this thread, which ends within 'a as the caller
            // promises.
            let body = unsafe { Box::from_raw(body) };
            body();
            std::ptr::null_mut()
        }
        let body: Box<Box<dyn FnOnce() + Send + 'a>> = Box::new(Box::new(body));
        let body = Box::into_raw(body).cast();
        let mut thread = 0;
        // SAFETY: `thread` is valid for the call; `enter` takes the body, once.
        let result = unsafe { libc::pthread_create(&mut thread, std::ptr::null(), enter, body) };
        assert_eq!(result, 0);
        Pthread(thread)
    }

    pub fn id(&self) -> libc::pthread_t {
        self.0
    }

    pub fn join(self) {
        // SAFETY: the thread is joinable, and joined once.
        let result = unsafe { libc::pthread_join(self.0, std::ptr::null_mut()) };
        assert_eq!(result, 0);
    }
}
