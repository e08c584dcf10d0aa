//! What a fast path costs while nobody else wants the object: the common case in a server that
//! shards its locks. One thread, but in a process that has others, as a server has: some peers go
//! faster while a process is single-threaded.

use criterion::{BenchmarkId, Criterion};
use std::cell::Cell;
use std::ffi::c_void;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use threadbare::{
    Condition, Condvar, Event, Local, Lock, Monitor, Mutex, RLock, ReentrantMutex, Semaphore,
    Thread,
};
use threadbare_sys::clone::Bare;
use threadbare_sys::stack::{Layout, MIN_STACK, Slab};

/// Makes the process have a second thread, asleep, for the rest of its life.
fn with_company() {
    static NEVER_SET: Event = Event::new();
    let company = Thread::builder()
        .daemon(true)
        .target(|| NEVER_SET.wait())
        .spawn();
    company.expect("a second thread");
}

fn lock(c: &mut Criterion) {
    with_company();
    let mut group = c.benchmark_group("acquire and release");
    let mut bench = |name: &str, body: &dyn Fn()| {
        group.bench_function(BenchmarkId::from_parameter(name), |b| b.iter(body));
    };

    let lock = Lock::new();
    bench("Lock", &|| {
        black_box(&lock).acquire();
        let _ = black_box(&lock).release();
    });
    let rlock = RLock::new();
    bench("RLock", &|| {
        black_box(&rlock).acquire();
        let _ = black_box(&rlock).release();
    });
    let semaphore = Semaphore::new(1);
    bench("Semaphore", &|| {
        black_box(&semaphore).acquire();
        let _ = black_box(&semaphore).release();
    });
    let mutex = Mutex::new(());
    bench("Mutex", &|| drop(black_box(&mutex).lock()));
    let reentrant = ReentrantMutex::new(());
    bench("ReentrantMutex", &|| drop(black_box(&reentrant).lock()));
    let monitor = Monitor::new(());
    bench("Monitor", &|| drop(black_box(&monitor).lock()));
    let std = std::sync::Mutex::new(());
    bench("std::sync::Mutex", &|| drop(black_box(&std).lock()));
    let parking_lot = parking_lot::Mutex::new(());
    bench("parking_lot::Mutex", &|| {
        drop(black_box(&parking_lot).lock())
    });
    let word = AtomicU32::new(0);
    bench("bare CAS and CAS", &|| {
        let _ = black_box(&word).compare_exchange(0, 1, Acquire, Relaxed);
        let _ = black_box(&word).compare_exchange(1, 0, Release, Relaxed);
    });
    bench("bare CAS and swap", &|| {
        let _ = black_box(&word).compare_exchange(0, 1, Acquire, Relaxed);
        black_box(&word).swap(0, Release);
    });
    group.finish();

    let mut group = c.benchmark_group("acquire again and release");
    let rlock = RLock::new();
    let _held = rlock.guard();
    group.bench_function("RLock", |b| {
        b.iter(|| {
            black_box(&rlock).acquire();
            let _ = black_box(&rlock).release();
        });
    });
    let reentrant = ReentrantMutex::new(());
    let _held = reentrant.lock();
    group.bench_function("ReentrantMutex", |b| {
        b.iter(|| drop(black_box(&reentrant).lock()));
    });
    let reentrant = parking_lot::ReentrantMutex::new(());
    let _held = reentrant.lock();
    group.bench_function("parking_lot::ReentrantMutex", |b| {
        b.iter(|| drop(black_box(&reentrant).lock()));
    });
    group.finish();
}

/// With the lock held, for those that ask for that.
fn notify(c: &mut Criterion) {
    let mut group = c.benchmark_group("notify without waiters");
    let monitor = Monitor::new(());
    let guard = monitor.lock();
    group.bench_function("Monitor", |b| b.iter(|| black_box(&guard).notify_one()));
    let condition = Condition::new();
    let _guard = condition.guard();
    group.bench_function("Condition", |b| {
        b.iter(|| black_box(&condition).notify_one());
    });
    let condvar = Condvar::new();
    group.bench_function("Condvar", |b| b.iter(|| black_box(&condvar).notify_one()));
    let std = std::sync::Condvar::new();
    group.bench_function("std::sync::Condvar", |b| {
        b.iter(|| black_box(&std).notify_one());
    });
    let parking_lot = parking_lot::Condvar::new();
    group.bench_function("parking_lot::Condvar", |b| {
        b.iter(|| black_box(&parking_lot).notify_one());
    });
    group.finish();
}

fn event(c: &mut Criterion) {
    let mut group = c.benchmark_group("set and clear");
    let event = Event::new();
    group.bench_function("Event", |b| {
        b.iter(|| {
            black_box(&event).set();
            black_box(&event).clear();
        });
    });
    // What std offers instead.
    let (flag, condvar) = (std::sync::Mutex::new(false), std::sync::Condvar::new());
    group.bench_function("std Mutex<bool> and Condvar", |b| {
        b.iter(|| {
            *black_box(&flag).lock().unwrap() = true;
            black_box(&condvar).notify_all();
            *black_box(&flag).lock().unwrap() = false;
        });
    });
    let (flag, condvar) = (parking_lot::Mutex::new(false), parking_lot::Condvar::new());
    group.bench_function("parking_lot Mutex<bool> and Condvar", |b| {
        b.iter(|| {
            *black_box(&flag).lock() = true;
            black_box(&condvar).notify_all();
            *black_box(&flag).lock() = false;
        });
    });
    group.finish();

    let mut group = c.benchmark_group("is set");
    event.set();
    group.bench_function("Event::is_set", |b| b.iter(|| black_box(&event).is_set()));
    group.bench_function("Event::wait", |b| b.iter(|| black_box(&event).wait()));
    let flag = std::sync::Mutex::new(true);
    group.bench_function("std Mutex<bool>", |b| {
        b.iter(|| *black_box(&flag).lock().unwrap())
    });
    group.finish();
}

fn thread(c: &mut Criterion) {
    let mut group = c.benchmark_group("start and join");
    group.bench_function("Thread", |b| {
        b.iter(|| {
            let thread = Thread::new(|| ());
            thread
                .start()
                .and_then(|()| thread.join())
                .expect("a thread");
        });
    });
    group.bench_function("spawn", |b| {
        b.iter(|| threadbare::spawn(|| ()).join().expect("a thread"));
    });
    group.bench_function("std::thread", |b| {
        b.iter(|| std::thread::spawn(|| ()).join().expect("a thread"));
    });
    // The limit: a thread that libc does not know of, on a stack that is there.
    let layout = Layout::for_usable(MIN_STACK).expect("a small stack");
    let slab = Arc::new(Slab::new(layout, 1).expect("a slab"));
    slab.install_guards(0).expect("guards");
    group.bench_function("bare clone", |b| {
        b.iter(|| {
            // SAFETY: the slot has its guards and is free, since each thread is joined; the entry
            // does nothing.
            let thread = unsafe { Bare::start(slab.clone(), 0, nothing, std::ptr::null_mut()) };
            thread.expect("a thread").join();
        });
    });
    group.finish();
}

extern "C" fn nothing(_: *mut c_void) {}

/// Reading a value that the thread has.
fn local(c: &mut Criterion) {
    let mut group = c.benchmark_group("value of this thread");
    let local = Local::new(|| 1);
    group.bench_function("Local::with", |b| {
        b.iter(|| black_box(&local).with(|value| *value));
    });
    let peer = thread_local::ThreadLocal::new();
    group.bench_function("thread_local::ThreadLocal::get_or", |b| {
        b.iter(|| *black_box(&peer).get_or(|| 1));
    });
    thread_local! {
        static STATIC: Cell<i32> = Cell::new(black_box(1));
    }
    group.bench_function("std thread_local!", |b| b.iter(|| STATIC.get()));
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    lock(&mut criterion);
    notify(&mut criterion);
    event(&mut criterion);
    thread(&mut criterion);
    local(&mut criterion);
    criterion.final_summary();
}
