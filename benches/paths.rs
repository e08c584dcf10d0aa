//! Single paths for tools that count: instructions by callgrind (scripts/instructions.py), system
//! calls by strace (scripts/system-calls.py). By itself it measures nothing.
//!
//! `paths fast ROUNDS` walks every fast path so many times, each in a function of its own name, that
//! of a peer beginning with that peer's. `paths WHO ROUNDS` starts and joins so many threads, for WHO
//! see `START_AND_JOIN`.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use threadbare::{
    Barrier, BoundedSemaphore, Condition, Condvar, Event, Local, Lock, Monitor, MonitorGuard,
    Mutex, RLock, ReentrantMutex, Semaphore, Thread,
};

/// Functions under their own names in the program, none of them inlined.
macro_rules! paths {
    ($(fn $name:ident($($argument:ident: $type:ty),*) $(-> $returns:ty)? $body:block)*) => {
        $(
            // SAFETY: no library of the program has such a name.
            #[unsafe(no_mangle)]
            #[inline(never)]
            fn $name($($argument: $type),*) $(-> $returns)? $body
        )*
    };
}

paths! {
    fn lock(lock: &Lock) -> bool { lock.acquire(); lock.release().is_ok() }
    fn rlock(lock: &RLock) -> bool { lock.acquire(); lock.release().is_ok() }
    // Not quite as the one before, or the compiler makes them one function.
    fn rlock_again(lock: &RLock) -> bool { lock.acquire(); lock.release().is_err() }
    fn mutex(mutex: &Mutex<u32>) { *mutex.lock() += 1; }
    fn reentrant_mutex(mutex: &ReentrantMutex<u32>) -> u32 { *mutex.lock() }
    fn reentrant_mutex_again(mutex: &ReentrantMutex<u32>) -> u32 { !*mutex.lock() }
    fn monitor(monitor: &Monitor<u32>) { *monitor.lock() += 1; }
    fn monitor_notify(guard: &MonitorGuard<'_, u32>) -> bool { guard.notify_one() }
    fn condition_notify(condition: &Condition) -> bool { condition.notify_one() == Ok(0) }
    fn condition_on_lock_notify(condition: &Condition<Lock>) -> bool {
        condition.notify_one() == Ok(0)
    }
    fn condvar_notify(condvar: &Condvar) -> bool { condvar.notify_one() }
    fn semaphore(semaphore: &Semaphore) -> bool { semaphore.acquire(); semaphore.release().is_ok() }
    fn bounded_semaphore(semaphore: &BoundedSemaphore) -> bool {
        semaphore.acquire();
        semaphore.release().is_ok()
    }
    fn event_set(event: &Event) { event.set(); }
    fn event_is_set(event: &Event) -> bool { event.is_set() }
    fn event_wait(event: &Event) { event.wait(); }
    fn event_clear(event: &Event) { event.clear(); }
    fn barrier_of_one(barrier: &Barrier) -> bool { barrier.wait() == Ok(0) }
    fn local_with(local: &Local<u32>) -> u32 { local.with(|number| *number) }
    fn local_get(local: &Local<u32>) -> u32 { local.get() }

    fn bare_cas_and_cas(word: &AtomicU32) -> bool {
        word.compare_exchange(0, 1, Acquire, Relaxed).is_ok()
            && word.compare_exchange(1, 0, Release, Relaxed).is_ok()
    }
    fn std_mutex(mutex: &std::sync::Mutex<u32>) { *mutex.lock().unwrap() += 1; }
    fn std_condvar_notify(condvar: &std::sync::Condvar) { condvar.notify_one(); }
    fn parking_lot_mutex(mutex: &parking_lot::Mutex<u32>) { *mutex.lock() += 1; }
    fn parking_lot_reentrant_mutex(mutex: &parking_lot::ReentrantMutex<u32>) -> u32 {
        *mutex.lock()
    }
    fn parking_lot_reentrant_mutex_again(mutex: &parking_lot::ReentrantMutex<u32>) -> u32 {
        !*mutex.lock()
    }
    fn parking_lot_condvar_notify(condvar: &parking_lot::Condvar) -> bool { condvar.notify_one() }
    fn usync_mutex(mutex: &usync::Mutex<u32>) { *mutex.lock() += 1; }
    fn thread_local_get_or(local: &thread_local::ThreadLocal<u32>) -> u32 { *local.get_or(|| 7) }
}

fn fast(rounds: u64) {
    let (lock_, rlock_, held) = (Lock::new(), RLock::new(), RLock::new());
    let (mutex_, reentrant) = (Mutex::new(0), ReentrantMutex::new(0));
    let held_reentrant = ReentrantMutex::new(0);
    let (monitor_, notified) = (Monitor::new(0), Monitor::new(0));
    let (condition, on_lock) = (Condition::new(), Condition::with_lock(Lock::new()));
    let condvar = Condvar::new();
    let (semaphore_, bounded) = (Semaphore::new(1), BoundedSemaphore::new(1));
    let (event, barrier) = (Event::new(), Barrier::new(1));
    let local: Local<u32> = Local::new(|| 7);
    let word = AtomicU32::new(0);
    let (std_mutex_, std_condvar) = (std::sync::Mutex::new(0), std::sync::Condvar::new());
    let (pl_mutex, pl_condvar) = (parking_lot::Mutex::new(0), parking_lot::Condvar::new());
    let pl_reentrant = parking_lot::ReentrantMutex::new(0);
    let held_pl = parking_lot::ReentrantMutex::new(0);
    let usync_mutex_ = usync::Mutex::new(0);
    let thread_local_ = thread_local::ThreadLocal::new();

    // As a program with threads has it.
    Thread::new(|| ()).start().expect("a thread");
    held.acquire();
    condition.acquire();
    on_lock.acquire();
    let _held = (held_reentrant.lock(), held_pl.lock());
    let guard = notified.lock();
    for _ in 0..rounds {
        black_box(lock(black_box(&lock_)));
        black_box(rlock(black_box(&rlock_)));
        black_box(rlock_again(black_box(&held)));
        mutex(black_box(&mutex_));
        black_box(reentrant_mutex(black_box(&reentrant)));
        black_box(reentrant_mutex_again(black_box(&held_reentrant)));
        monitor(black_box(&monitor_));
        black_box(monitor_notify(black_box(&guard)));
        black_box(condition_notify(black_box(&condition)));
        black_box(condition_on_lock_notify(black_box(&on_lock)));
        black_box(condvar_notify(black_box(&condvar)));
        black_box(semaphore(black_box(&semaphore_)));
        black_box(bounded_semaphore(black_box(&bounded)));
        event_set(black_box(&event));
        black_box(event_is_set(black_box(&event)));
        event_wait(black_box(&event));
        event_clear(black_box(&event));
        black_box(barrier_of_one(black_box(&barrier)));
        black_box(local_with(black_box(&local)));
        black_box(local_get(black_box(&local)));

        black_box(bare_cas_and_cas(black_box(&word)));
        std_mutex(black_box(&std_mutex_));
        std_condvar_notify(black_box(&std_condvar));
        parking_lot_mutex(black_box(&pl_mutex));
        black_box(parking_lot_reentrant_mutex(black_box(&pl_reentrant)));
        black_box(parking_lot_reentrant_mutex_again(black_box(&held_pl)));
        black_box(parking_lot_condvar_notify(black_box(&pl_condvar)));
        usync_mutex(black_box(&usync_mutex_));
        black_box(thread_local_get_or(black_box(&thread_local_)));
    }
    condition.release().expect("it is held");
    on_lock.release().expect("it is held");
    held.release().expect("it is held");
}

const START_AND_JOIN: [(&str, fn()); 6] = [
    ("thread", || {
        let thread = Thread::new(|| ());
        thread
            .start()
            .and_then(|()| thread.join())
            .expect("a thread");
    }),
    ("thread_named", || {
        let thread = Thread::builder().name("a name").target(|| ()).spawn();
        thread.and_then(|thread| thread.join()).expect("a thread");
    }),
    ("spawn", || {
        threadbare::spawn(|| ()).join().expect("a thread")
    }),
    ("std_thread", || {
        std::thread::spawn(|| ()).join().expect("a thread")
    }),
    ("std_thread_named", || {
        let thread = std::thread::Builder::new()
            .name("a name".to_owned())
            .spawn(|| ());
        thread.expect("a thread").join().expect("a thread");
    }),
    ("pthread", || {
        extern "C" fn nothing(_: *mut std::ffi::c_void) -> *mut std::ffi::c_void {
            std::ptr::null_mut()
        }
        let (mut thread, none) = (0, std::ptr::null_mut());
        // SAFETY: `thread` takes the id; the entry does nothing.
        unsafe { libc::pthread_create(&mut thread, none, nothing, none.cast()) };
        // SAFETY: just created, and joined once.
        unsafe { libc::pthread_join(thread, none.cast()) };
    }),
];

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let rounds = words.get(1).and_then(|word| word.parse::<u64>().ok());
    let (Some(who), Some(rounds)) = (words.first(), rounds) else {
        println!("paths: for scripts/instructions.py and scripts/system-calls.py");
        return ExitCode::SUCCESS; // as `cargo bench` runs it
    };
    match START_AND_JOIN.iter().find(|(name, _)| name == who) {
        Some((_, start_and_join)) => (0..rounds).for_each(|_| start_and_join()),
        None => fast(rounds),
    }
    ExitCode::SUCCESS
}
