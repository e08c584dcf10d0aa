//! The names of old: what Python called things before it settled, all deprecated (ALIAS), and its
//! [`dummy`] module without threads.
//!
//! | old | now |
//! |---|---|
//! | [`currentThread`], [`activeCount`] | [`current_thread`], [`active_count`] |
//! | `Condition.notifyAll`, `Event.isSet` | [`Condition::notify_all`], [`Event::is_set`] |
//! | `Thread.getName`, `setName`, `isDaemon`, `setDaemon` | [`Thread::name`], [`Thread::set_name`], [`Thread::daemon`], [`Thread::set_daemon`] |
//! | `Thread.isAlive` | [`Thread::is_alive`] |
//! | `Lock.acquire_lock`, `release_lock`, `locked_lock` | [`Lock::acquire`], [`Lock::release`], [`Lock::locked`] |
//! | [`stack_size`] with or without an argument | [`set_stack_size`]; [`crate::stack_size`] only asks |
//!
//! The methods are there wherever the crate is; nothing is to be imported.

#![allow(non_snake_case, reason = "these are Python's names, letter for letter")]

pub mod dummy;

use crate::condition::{CondLock, Condition};
use crate::error::Error;
use crate::event::Event;
use crate::lock::Lock;
use crate::thread::{Thread, active_count, current_thread, set_stack_size};

/// [`current_thread`] (ALIAS-1).
///
/// ```
/// # #![expect(deprecated, reason = "this is about an old name")]
/// assert!(threadbare::compat::currentThread().is_current());
/// ```
#[deprecated = "Python 3.10 deprecates it: use `current_thread`"]
#[must_use]
pub fn currentThread() -> Thread {
    current_thread()
}

/// [`active_count`] (ALIAS-1).
///
/// ```
/// # #![expect(deprecated, reason = "this is about an old name")]
/// assert!(threadbare::compat::activeCount() >= 1);
/// ```
#[deprecated = "Python 3.10 deprecates it: use `active_count`"]
#[must_use]
pub fn activeCount() -> usize {
    active_count()
}

/// Python's `stack_size([size])`: sets the size of stacks to come and returns the one so far. A
/// missing argument counts as 0, so it sets the default (MOD-12).
///
/// # Errors
/// As [`set_stack_size`].
///
/// ```
/// use threadbare::compat::stack_size;
///
/// stack_size(Some(262_144))?;
/// assert_eq!((stack_size(None), stack_size(None)), (Ok(262_144), Ok(0)));
/// # Ok::<(), threadbare::Error>(())
/// ```
pub fn stack_size(size: impl Into<Option<usize>>) -> Result<usize, Error> {
    set_stack_size(size.into().unwrap_or(0))
}

/// Old names (ALIAS-1, ALIAS-2).
impl Thread {
    /// [`name`](Thread::name).
    ///
    /// ```
    /// # #![expect(deprecated, reason = "this is about an old name")]
    /// assert!(threadbare::Thread::new(|| ()).getName().starts_with("Thread-"));
    /// ```
    #[deprecated = "Python 3.10 deprecates it: use `name`"]
    #[must_use]
    pub fn getName(&self) -> String {
        self.name()
    }

    /// [`set_name`](Thread::set_name).
    ///
    /// ```
    /// # #![expect(deprecated, reason = "this is about an old name")]
    /// let thread = threadbare::Thread::new(|| ());
    /// thread.setName("worker");
    /// assert_eq!(thread.name(), "worker");
    /// ```
    #[deprecated = "Python 3.10 deprecates it: use `set_name`"]
    pub fn setName(&self, name: impl Into<String>) {
        self.set_name(name);
    }

    /// [`daemon`](Thread::daemon).
    ///
    /// ```
    /// # #![expect(deprecated, reason = "this is about an old name")]
    /// assert!(!threadbare::main_thread().isDaemon());
    /// ```
    #[deprecated = "Python 3.10 deprecates it: use `daemon`"]
    #[must_use]
    pub fn isDaemon(&self) -> bool {
        self.daemon()
    }

    /// [`set_daemon`](Thread::set_daemon).
    ///
    /// # Errors
    /// Its errors.
    ///
    /// ```
    /// # #![expect(deprecated, reason = "this is about an old name")]
    /// let thread = threadbare::Thread::new(|| ());
    /// thread.setDaemon(true)?;
    /// assert!(thread.daemon());
    /// # Ok::<(), threadbare::Error>(())
    /// ```
    #[deprecated = "Python 3.10 deprecates it: use `set_daemon`"]
    pub fn setDaemon(&self, daemon: bool) -> Result<(), Error> {
        self.set_daemon(daemon)
    }

    /// [`is_alive`](Thread::is_alive).
    ///
    /// ```
    /// # #![expect(deprecated, reason = "this is about an old name")]
    /// assert!(threadbare::main_thread().isAlive());
    /// ```
    #[deprecated = "Python 3.9 removed it: use `is_alive`"]
    #[must_use]
    pub fn isAlive(&self) -> bool {
        self.is_alive()
    }
}

/// Old names (ALIAS-1).
impl<L: CondLock> Condition<L> {
    /// [`notify_all`](Condition::notify_all).
    ///
    /// # Errors
    /// Its errors.
    ///
    /// ```
    /// # #![expect(deprecated, reason = "this is about an old name")]
    /// let changed = threadbare::Condition::new();
    /// let _guard = changed.guard();
    /// assert_eq!(changed.notifyAll(), Ok(0));
    /// ```
    #[deprecated = "Python 3.10 deprecates it: use `notify_all`"]
    pub fn notifyAll(&self) -> Result<usize, Error> {
        self.notify_all()
    }
}

/// Old names (ALIAS-1).
impl Event {
    /// [`is_set`](Event::is_set).
    ///
    /// ```
    /// # #![expect(deprecated, reason = "this is about an old name")]
    /// assert!(!threadbare::Event::new().isSet());
    /// ```
    #[deprecated = "Python 3.10 deprecates it: use `is_set`"]
    #[must_use]
    pub fn isSet(&self) -> bool {
        self.is_set()
    }
}

/// Old names (ALIAS-3).
impl Lock {
    /// [`acquire`](Lock::acquire).
    ///
    /// ```
    /// # #![expect(deprecated, reason = "this is about an old name")]
    /// let lock = threadbare::Lock::new();
    /// lock.acquire_lock();
    /// assert!(lock.locked());
    /// ```
    #[deprecated = "use `acquire`"]
    pub fn acquire_lock(&self) {
        self.acquire();
    }

    /// [`release`](Lock::release).
    ///
    /// # Errors
    /// Its errors.
    ///
    /// ```
    /// # #![expect(deprecated, reason = "this is about an old name")]
    /// assert!(threadbare::Lock::new().release_lock().is_err());
    /// ```
    #[deprecated = "use `release`"]
    pub fn release_lock(&self) -> Result<(), Error> {
        self.release()
    }

    /// [`locked`](Lock::locked).
    ///
    /// ```
    /// # #![expect(deprecated, reason = "this is about an old name")]
    /// assert!(!threadbare::Lock::new().locked_lock());
    /// ```
    #[deprecated = "use `locked`"]
    #[must_use]
    pub fn locked_lock(&self) -> bool {
        self.locked()
    }
}
