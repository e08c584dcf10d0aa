//! Being told of the end of a thread that somebody else started.
//!
//! Not a thread-local with a destructor: one that is first used when the thread's thread-locals
//! have been destroyed already, in the destructor of a pthread key, is destroyed never.

use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};

/// A key of pthread_key_create(3), made when it is first needed and never deleted.
#[derive(Debug)]
pub struct Key {
    /// The key, and one more; 0 until there is one.
    key: AtomicU64,
    destroy: unsafe extern "C" fn(*mut c_void),
}

impl Key {
    /// A key with this destructor: it is called in each thread that ends with a value other than
    /// null, after the thread's thread-locals were destroyed, with that value; again, up to four
    /// times in all, if it or another destructor has set one meanwhile.
    pub const fn new(destroy: unsafe extern "C" fn(*mut c_void)) -> Key {
        Key {
            key: AtomicU64::new(0),
            destroy,
        }
    }

    /// `pthread_setspecific(key, value)`: sets the calling thread's value, if memory and the
    /// process's 1,024 keys allow; whether it did. No system call.
    ///
    /// # Safety
    /// If it is not null, the destructor may be called with `value` when this thread ends.
    pub unsafe fn set(&self, value: *mut c_void) -> bool {
        let Some(key) = self.get() else { return false };
        // SAFETY: the key is never deleted; the destructor takes the value, as the caller promises.
        unsafe { libc::pthread_setspecific(key, value) == 0 }
    }

    fn get(&self) -> Option<libc::pthread_key_t> {
        // Acquire: pairs with the Release in `make`.
        match self.key.load(Acquire) {
            0 => self.make(),
            one_more => Some((one_more - 1) as libc::pthread_key_t),
        }
    }

    #[cold]
    fn make(&self) -> Option<libc::pthread_key_t> {
        let mut key = 0;
        // SAFETY: `key` is valid for the call; what the destructor takes is for `set` to see to.
        if unsafe { libc::pthread_key_create(&mut key, Some(self.destroy)) } != 0 {
            return None;
        }
        let one_more = u64::from(key) + 1;
        // Release: pairs with the Acquire in `get`.
        match self.key.compare_exchange(0, one_more, Release, Acquire) {
            Ok(_) => Some(key),
            Err(others) => {
                // SAFETY: nobody else knows this key.
                unsafe { libc::pthread_key_delete(key) };
                Some((others - 1) as libc::pthread_key_t)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    #[test]
    fn the_destructor_gets_each_threads_value_at_its_end_and_again_if_it_sets_one() {
        static SUM: AtomicUsize = AtomicUsize::new(0);
        static KEY: Key = Key::new(destroy);
        extern "C" fn destroy(value: *mut c_void) {
            SUM.fetch_add(value.addr(), Relaxed);
            if value.addr() > 1 {
                assert!(set(value.addr() / 2));
            }
        }
        fn set(number: usize) -> bool {
            // SAFETY: the destructor follows no pointer.
            unsafe { KEY.set(std::ptr::without_provenance_mut(number)) }
        }
        let set = |number| move || assert!(set(number));
        let threads = [std::thread::spawn(set(2)), std::thread::spawn(set(100))];
        for thread in threads {
            thread.join().unwrap();
        }
        // Four times at most.
        assert_eq!(SUM.load(Relaxed), 2 + 1 + 100 + 50 + 25 + 12);
    }
}
