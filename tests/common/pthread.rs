//! Threads of libc's own, which neither the crate nor std has started.

use std::ffi::c_void;

/// A thread of libc's own.
pub struct Pthread(libc::pthread_t);

impl Pthread {
    /// Starts a thread that allocates nothing before `body`.
    pub fn start(body: impl FnOnce() + Send + 'static) -> Pthread {
        extern "C" fn enter(body: *mut c_void) -> *mut c_void {
            let body: *mut Box<dyn FnOnce() + Send> = body.cast();
            // SAFETY: made by `Box::into_raw` below, for this thread.
            let body = unsafe { Box::from_raw(body) };
            body();
            std::ptr::null_mut()
        }
        let body: Box<Box<dyn FnOnce() + Send>> = Box::new(Box::new(body));
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
