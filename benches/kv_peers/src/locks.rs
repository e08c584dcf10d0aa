//! The locks.

use crate::Error;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use std::time::{Duration, Instant};

#[cfg(feature = "parking_lot")]
pub use parking_lot::{Mutex, MutexGuard};

#[cfg(not(feature = "parking_lot"))]
pub use std::sync::MutexGuard;

/// std's, which takes no notice of panics.
#[cfg(not(feature = "parking_lot"))]
#[derive(Default)]
pub struct Mutex<T>(std::sync::Mutex<T>);

#[cfg(not(feature = "parking_lot"))]
impl<T> Mutex<T> {
    pub const fn new(value: T) -> Mutex<T> {
        Mutex(std::sync::Mutex::new(value))
    }

    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A mutex with a condition.
pub struct Monitor<T> {
    value: Mutex<T>,
    condition: Condition,
}

pub struct MonitorGuard<'a, T> {
    /// There but for the moment in which a wait takes it.
    guard: Option<MutexGuard<'a, T>>,
    condition: &'a Condition,
}

impl<T> Monitor<T> {
    pub const fn new(value: T) -> Monitor<T> {
        Monitor {
            value: Mutex::new(value),
            condition: Condition::new(),
        }
    }

    pub fn lock(&self) -> MonitorGuard<'_, T> {
        MonitorGuard {
            guard: Some(self.value.lock()),
            condition: &self.condition,
        }
    }
}

impl<T> MonitorGuard<'_, T> {
    pub fn wait_while(&mut self, mut condition: impl FnMut(&mut T) -> bool) {
        while condition(self) {
            self.wait(None);
        }
    }

    /// One wait, of a limited time if that is given.
    pub fn wait(&mut self, timeout: Option<Duration>) {
        if let Some(guard) = self.guard.take() {
            self.guard = Some(self.condition.wait(guard, timeout));
        }
    }

    pub fn notify_all(&self) {
        self.condition.notify_all();
    }
}

impl<T> Deref for MonitorGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.guard.as_ref().expect("no wait is under way")
    }
}

impl<T> DerefMut for MonitorGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.guard.as_mut().expect("no wait is under way")
    }
}

#[cfg(feature = "parking_lot")]
struct Condition(parking_lot::Condvar);

#[cfg(feature = "parking_lot")]
impl Condition {
    const fn new() -> Condition {
        Condition(parking_lot::Condvar::new())
    }

    fn wait<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        timeout: Option<Duration>,
    ) -> MutexGuard<'a, T> {
        match timeout {
            None => self.0.wait(&mut guard),
            Some(timeout) => {
                self.0.wait_for(&mut guard, timeout);
            }
        }
        guard
    }

    fn notify_all(&self) {
        self.0.notify_all();
    }
}

#[cfg(not(feature = "parking_lot"))]
struct Condition(std::sync::Condvar);

#[cfg(not(feature = "parking_lot"))]
impl Condition {
    const fn new() -> Condition {
        Condition(std::sync::Condvar::new())
    }

    fn wait<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Option<Duration>,
    ) -> MutexGuard<'a, T> {
        match timeout {
            None => self
                .0
                .wait(guard)
                .unwrap_or_else(|poisoned| poisoned.into_inner()),
            Some(timeout) => {
                let result = self.0.wait_timeout(guard, timeout);
                result.unwrap_or_else(|poisoned| poisoned.into_inner()).0
            }
        }
    }

    fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// A flag that a signal handler may set. No lock can be taken there, so who waits looks from time to
/// time.
#[derive(Default)]
pub struct Event(AtomicBool);

const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Event {
    pub const fn new() -> Event {
        Event(AtomicBool::new(false))
    }

    pub fn set(&self) {
        self.0.store(true, Release);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Acquire)
    }

    pub fn wait(&self) {
        while !self.is_set() {
            std::thread::sleep(LOOK_EVERY);
        }
    }

    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, Error> {
        let end = Instant::now() + timeout;
        while !self.is_set() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            std::thread::sleep(left.min(LOOK_EVERY));
        }
        Ok(true)
    }
}

/// Permits to try for.
pub struct BoundedSemaphore(Mutex<u32>);

impl BoundedSemaphore {
    pub const fn new(permits: u32) -> BoundedSemaphore {
        BoundedSemaphore(Mutex::new(permits))
    }

    pub fn try_acquire(&self) -> bool {
        let mut permits = self.0.lock();
        let is_one_left = *permits > 0;
        *permits -= u32::from(is_one_left);
        is_one_left
    }

    pub fn release(&self) -> Result<(), Error> {
        *self.0.lock() += 1;
        Ok(())
    }
}

/// One round.
pub struct Barrier(Monitor<Meeting>);

struct Meeting {
    missing: usize,
    is_broken: bool,
}

impl Barrier {
    pub const fn new(parties: usize) -> Barrier {
        Barrier(Monitor::new(Meeting {
            missing: parties,
            is_broken: false,
        }))
    }

    pub fn wait(&self) -> Result<usize, Error> {
        let mut meeting = self.0.lock();
        meeting.missing = meeting.missing.saturating_sub(1);
        meeting.notify_all();
        meeting.wait_while(|meeting| meeting.missing > 0 && !meeting.is_broken);
        if meeting.missing > 0 {
            return Err(Error("broken barrier".to_owned()));
        }
        Ok(0)
    }

    pub fn abort(&self) {
        let mut meeting = self.0.lock();
        meeting.is_broken = true;
        meeting.notify_all();
    }
}
