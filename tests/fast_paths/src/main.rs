//! Walks every fast path, each in a function of its own, for `trace.py` to look at.
//!
//! Each is called twice: the first call may have things to do that come once per thread or process.
//! Locks whose release may be a plain store are made to be of that kind before. Nobody else is there, so
//! what runs is the path without contention. The last are those of std and parking_lot that do the same.

use std::hint::black_box;
use threadbare::{
    Barrier, Condition, Condvar, Event, Local, Lock, Monitor, MonitorGuard, Mutex, MutexGuard,
    RLock, Semaphore,
};

/// Functions under their own names in the program, none of them inlined.
macro_rules! paths {
    ($(fn $name:ident($($argument:ident: $type:ty),*) $(-> $returns:ty)? $body:block)*) => {
        $(
            // SAFETY: no library of the program has such a name.
            #[unsafe(no_mangle)]
            #[inline(never)]
            pub fn $name($($argument: $type),*) $(-> $returns)? $body
        )*
    };
}

paths! {
    fn lock_acquire(lock: &Lock) { lock.acquire(); }
    fn lock_release(lock: &Lock) -> bool { lock.release().is_ok() }
    fn rlock_acquire(lock: &RLock) { lock.acquire(); }
    // Not as the others, or the compiler makes them one function.
    fn rlock_acquire_again(lock: &RLock) -> &RLock { lock.acquire(); lock }
    fn rlock_release_inner(lock: &RLock) -> bool { lock.release().is_err() }
    fn rlock_release(lock: &RLock) -> bool { lock.release().is_ok() }
    fn mutex_lock(mutex: &Mutex<u32>) -> MutexGuard<'_, u32> { mutex.lock() }
    fn mutex_unlock(guard: MutexGuard<'_, u32>) { drop(guard); }
    fn monitor_lock(monitor: &Monitor<u32>) -> MonitorGuard<'_, u32> { monitor.lock() }
    fn monitor_notify_one(guard: &MonitorGuard<'_, u32>) -> bool { guard.notify_one() }
    fn monitor_unlock(guard: MonitorGuard<'_, u32>) { drop(guard); }
    fn condition_notify_one(condition: &Condition) -> bool { condition.notify_one() == Ok(0) }
    fn condition_notify_one_lock(condition: &Condition<Lock>) -> bool {
        condition.notify_one() == Ok(0)
    }
    fn condvar_notify_one(condvar: &Condvar) -> bool { condvar.notify_one() }
    fn semaphore_acquire(semaphore: &Semaphore) { semaphore.acquire(); }
    fn semaphore_release(semaphore: &Semaphore) -> bool { semaphore.release().is_ok() }
    fn event_is_set(event: &Event) -> bool { event.is_set() }
    fn event_set(event: &Event) { event.set(); }
    fn event_wait(event: &Event) { event.wait(); }
    fn event_clear(event: &Event) { event.clear(); }
    fn barrier_wait(barrier: &Barrier) -> bool { barrier.wait() == Ok(0) }
    fn local_with(local: &Local<u32>) -> u32 { local.with(|number| *number) }
    fn get_ident() -> u64 { threadbare::get_ident() }
    fn get_native_id() -> u32 { threadbare::get_native_id() }

    fn std_mutex_lock(mutex: &std::sync::Mutex<u32>) -> std::sync::MutexGuard<'_, u32> {
        mutex.lock().unwrap()
    }
    fn std_mutex_unlock(guard: std::sync::MutexGuard<'_, u32>) { drop(guard); }
    fn parking_lot_mutex_lock(
        mutex: &parking_lot::Mutex<u32>
    ) -> parking_lot::MutexGuard<'_, u32> { mutex.lock() }
    fn parking_lot_mutex_unlock(guard: parking_lot::MutexGuard<'_, u32>) { drop(guard); }
    fn parking_lot_reentrant_lock(
        mutex: &parking_lot::ReentrantMutex<u32>
    ) -> parking_lot::ReentrantMutexGuard<'_, u32> { mutex.lock() }
    // Returns one thing more than the one before, or the compiler makes them one function.
    fn parking_lot_reentrant_lock_again(
        mutex: &parking_lot::ReentrantMutex<u32>
    ) -> (parking_lot::ReentrantMutexGuard<'_, u32>, usize) { (mutex.lock(), 7) }
    fn parking_lot_reentrant_unlock_inner(
        guard: Option<parking_lot::ReentrantMutexGuard<'_, u32>>
    ) { drop(guard); }
    fn parking_lot_reentrant_unlock(guard: parking_lot::ReentrantMutexGuard<'_, u32>) {
        drop(guard);
    }
    fn parking_lot_condvar_notify_one(condvar: &parking_lot::Condvar) -> bool {
        condvar.notify_one()
    }
}

fn main() {
    threadbare::init();
    let (lock, rlock, mutex, monitor) = (
        black_box(Lock::new()),
        black_box(RLock::new()),
        black_box(Mutex::new(0)),
        black_box(Monitor::new(0)),
    );
    let (condition, condition_lock, condvar) = (
        black_box(Condition::new()),
        black_box(Condition::with_lock(Lock::new())),
        black_box(Condvar::new()),
    );
    let (semaphore, event, barrier) = (
        black_box(Semaphore::new(1)),
        black_box(Event::new()),
        black_box(Barrier::new(1)),
    );
    let local: Local<u32> = black_box(Local::new(|| 7));
    let (std_mutex, parking_lot_mutex) = (
        black_box(std::sync::Mutex::new(0)),
        black_box(parking_lot::Mutex::new(0)),
    );
    let (parking_lot_reentrant, parking_lot_condvar) = (
        black_box(parking_lot::ReentrantMutex::new(0)),
        black_box(parking_lot::Condvar::new()),
    );
    // One of 21 releases at least looks whether they may be plain stores.
    for _ in 0..21 {
        rlock.acquire();
        assert!(rlock.release().is_ok());
    }
    (0..21).for_each(|_| drop(mutex.lock()));
    (0..21).for_each(|_| drop(monitor.lock()));
    // Where the program was loaded.
    println!("lock_acquire {:p}", lock_acquire as fn(&Lock));
    for _ in 0..2 {
        lock_acquire(&lock);
        assert!(lock_release(&lock));

        rlock_acquire(&rlock);
        rlock_acquire_again(&rlock);
        assert!(!rlock_release_inner(&rlock));
        assert!(rlock_release(&rlock));

        mutex_unlock(mutex_lock(&mutex));

        let guard = monitor_lock(&monitor);
        assert!(!monitor_notify_one(&guard));
        monitor_unlock(guard);

        condition.acquire();
        assert!(condition_notify_one(&condition));
        assert_eq!(condition.release(), Ok(()));
        condition_lock.acquire();
        assert!(condition_notify_one_lock(&condition_lock));
        assert_eq!(condition_lock.release(), Ok(()));
        assert!(!condvar_notify_one(&condvar));

        semaphore_acquire(&semaphore);
        assert!(semaphore_release(&semaphore));

        event_set(&event);
        assert!(event_is_set(&event));
        event_wait(&event);
        event_clear(&event);

        assert!(barrier_wait(&barrier));

        assert_eq!(local_with(&local), 7);
        assert_ne!(get_ident(), 0);
        assert_eq!(get_native_id(), std::process::id());

        std_mutex_unlock(std_mutex_lock(&std_mutex));
        parking_lot_mutex_unlock(parking_lot_mutex_lock(&parking_lot_mutex));
        let outer = parking_lot_reentrant_lock(&parking_lot_reentrant);
        let (inner, _) = parking_lot_reentrant_lock_again(&parking_lot_reentrant);
        parking_lot_reentrant_unlock_inner(Some(inner));
        parking_lot_reentrant_unlock(outer);
        assert!(!parking_lot_condvar_notify_one(&parking_lot_condvar));
    }
}
