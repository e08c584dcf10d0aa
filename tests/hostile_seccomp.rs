//! A kernel that refuses calls, as a container's seccomp filter makes it.

#![cfg(all(not(threadbare_model), target_arch = "x86_64"))] // the filter is for one architecture

mod child;
mod common;

use child::{Child, in_child};
use common::{check_excludes, every, has_waiters, threads, until, watchdog};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use threadbare::{
    Condition, Error, Event, Lock, Mutex, Thread, Timer, active_count, enumerate, init,
    set_stack_cache,
};

/// What the kernel refuses.
#[derive(Clone, Copy)]
struct Refused {
    call: libc::c_long,
    /// A value of the second argument's, without the flags of futex operations, to which it is
    /// limited.
    second: Option<i32>,
}

const MEMBARRIER: Refused = of_any_kind(libc::SYS_membarrier);
const MADVISE: Refused = of_any_kind(libc::SYS_madvise);
const CLONE3: Refused = of_any_kind(libc::SYS_clone3);
const REQUEUE: Refused = futex(libc::FUTEX_CMP_REQUEUE);
const WAKE_BITSET: Refused = futex(libc::FUTEX_WAKE_BITSET);

const fn of_any_kind(call: libc::c_long) -> Refused {
    Refused { call, second: None }
}

const fn futex(operation: i32) -> Refused {
    Refused {
        call: libc::SYS_futex,
        second: Some(operation),
    }
}

/// Makes what is `refused` fail with `errno` in the calling thread and those it starts.
fn refuse(refused: Refused, errno: i32) {
    let load = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let and = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
    let equal = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let answer = (libc::BPF_RET | libc::BPF_K) as u16;
    let line = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let number = std::mem::offset_of!(libc::seccomp_data, nr) as u32;
    let second = (std::mem::offset_of!(libc::seccomp_data, args) + 8) as u32;
    let is_call = |skip| line(equal, 0, skip, refused.call as u32);
    let refusal = line(answer, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32);
    let permission = line(answer, 0, 0, libc::SECCOMP_RET_ALLOW);
    let flags = !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME) as u32;
    let mut program = match refused.second {
        None => vec![line(load, 0, 0, number), is_call(1), refusal, permission],
        Some(value) => vec![
            line(load, 0, 0, number),
            is_call(4),
            line(load, 0, 0, second),
            line(and, 0, 0, flags),
            line(equal, 0, 1, value as u32),
            refusal,
            permission,
        ],
    };
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: sets a flag of the calling thread.
    let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(result, 0);
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: the program is valid for the call, which copies it.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) };
    assert_eq!(result, 0);
}

/// Fails unless the kernel answers `errno` to what is `refused`.
fn check_refused(refused: Refused, errno: i32) {
    let word = 0_u32;
    let operation = refused.second.map_or(0, |it| it | libc::FUTEX_PRIVATE_FLAG);
    let result = match refused.second {
        // SAFETY: a requeue of nobody, from a valid word.
        Some(_) => unsafe { libc::syscall(refused.call, &word, operation, 0, 1, &word, 0) },
        // SAFETY: advice for no memory, a query, or a clone3 without its arguments does nothing.
        None => unsafe { libc::syscall(refused.call, 0, 0, 0, 0, 0, 0) },
    };
    assert_eq!((result, Errno::last_raw()), (-1, errno));
}

/// All works as ever.
fn check_everything(refused: Refused, errno: i32) {
    refuse(refused, errno);
    check_refused(refused, errno);
    every::alone();
    every::together();
}

#[test]
fn a_thread_that_may_not_wait_ends_the_process_and_does_not_unwind() {
    let _watchdog = watchdog();
    let test = "a_thread_that_may_not_wait_ends_the_process_and_does_not_unwind";
    let body = || {
        refuse(futex(libc::FUTEX_WAIT_BITSET), libc::EPERM);
        let changed = Condition::new();
        let _guard = changed.guard();
        // Caught, an unwinding would leave a waiter that is gone in the queue.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| changed.wait()));
        let _ = changed.notify_all();
    };
    let Some(ended) = Child::run(test, body) else {
        return;
    };
    assert_eq!(ended.signal(), Some(Signal::SIGABRT), "{ended:?}");
    assert!(
        ended.stderr.contains("the kernel refuses futex waits"),
        "{ended:?}"
    );
}

/// A crowd so large that some have to be requeued is woken without.
fn check_a_crowd_is_woken(errno: i32) {
    const CROWD: usize = 80; // more than a release wakes by itself
    refuse(REQUEUE, errno);
    check_refused(REQUEUE, errno);
    let (changed, returned) = (Condition::new(), AtomicUsize::new(0));
    threads(CROWD + 1, |number| {
        if number < CROWD {
            let _guard = changed.guard();
            changed.wait().unwrap();
            returned.fetch_add(1, Relaxed);
            return;
        }
        let waiting = || {
            let _guard = changed.guard();
            changed.waiting() == Some(CROWD)
        };
        until(waiting);
        // All asleep: only who sleeps is requeued.
        until(|| common::tids().filter(|tid| common::is_asleep(*tid)).count() >= CROWD);
        let _guard = changed.guard();
        assert_eq!(changed.notify_all(), Ok(CROWD));
    });
    assert_eq!(returned.into_inner(), CROWD);
    every::together();
}

/// Mutexes that are released by plain stores by then are got by who waits for them, although there is no
/// fence for that any more.
fn check_waiters_without_fence(errno: i32) {
    init();
    let mutexes: Vec<_> = (0..5).map(Mutex::new).collect();
    let use_all = || mutexes.iter().for_each(|mutex| *mutex.lock() += 1);
    use_all();
    use_all();
    refuse(MEMBARRIER, errno);
    check_refused(MEMBARRIER, errno);
    for mutex in &mutexes {
        let mut held = mutex.lock();
        std::thread::scope(|s| {
            let waiter = s.spawn(|| *mutex.lock() += 1);
            until(|| has_waiters(mutex));
            *held += 1;
            drop(held);
            waiter.join().unwrap();
        });
    }
    assert!((4..9).eq(mutexes.iter().map(|mutex| *mutex.lock())));
    every::together();
}

/// A start is refused with `errno`, and leaves all as it was.
fn check_no_start(refused: Refused, errno: i32) {
    refuse(refused, errno);
    check_refused(refused, errno);
    set_stack_cache(0);
    let held = Arc::new(());
    let target = held.clone();
    let thread = Thread::new(move || drop(target));
    assert!(thread.start().is_err()); // what is set up once comes to be there
    let (tasks, mapped) = (child::tasks(), child::mapped());
    for _ in 0..100 {
        let Err(Error::Start(os)) = thread.start() else {
            panic!("it was started")
        };
        assert_eq!(os.raw_os_error(), errno);
        assert!(!thread.is_alive() && thread.ident().is_none());
        assert_eq!(thread.join(), Err(Error::NotStarted));
        assert_eq!((active_count(), enumerate().len()), (1, 1));
    }
    assert_eq!(child::tasks(), tasks);
    // A hundred stacks of 2 MiB would show; an arena of the allocator's has 64 MiB.
    let now = child::mapped();
    assert!(now < mapped + (150 << 20), "{mapped} bytes became {now}");
    assert_eq!(Arc::strong_count(&held), 2, "the target is kept, and once");
    let refused = Timer::new(Duration::ZERO, || ()).start();
    assert!(matches!(refused, Err(Error::Start(_))), "{refused:?}");
    every::alone();
}

/// Guards are mappings of their own, and stacks are used again although their pages stay.
fn check_stacks(errno: i32) {
    refuse(MADVISE, errno);
    check_refused(MADVISE, errno);
    let unreadable = || {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().filter(|line| line.contains(" ---p ")).count()
    };
    let before = unreadable();
    let go = Arc::new(Event::new());
    let threads: Vec<_> = (0..10)
        .map(|_| {
            let go = go.clone();
            let thread = Thread::builder().daemon(true).target(move || go.wait());
            thread.spawn().unwrap()
        })
        .collect();
    let guards = unreadable() - before;
    assert!(guards >= 2 * threads.len(), "{guards} guards");
    go.set();
    threads.iter().for_each(|thread| thread.join().unwrap());
    let mappings = child::mappings();
    for cache in [0, 1 << 30] {
        set_stack_cache(cache);
        (0..50).for_each(|_| every::start_and_end());
    }
    assert!(child::mappings() <= mappings + 20, "stacks are left");
}

/// Who waits for a lock that is kept is woken by a plain wake.
fn check_contenders(errno: i32) {
    refuse(WAKE_BITSET, errno);
    check_refused(WAKE_BITSET, errno);
    check_excludes(&Lock::new(), 6, 15_000);
}

/// A test for each refusal, in a process of its own.
macro_rules! refusals {
    ($($test:ident: $check:expr;)*) => {$(
        #[test]
        fn $test() {
            let _watchdog = watchdog();
            in_child(stringify!($test), || $check);
        }
    )*};
}

refusals! {
    without_requeue_enosys_a_crowd_is_woken_all_the_same: check_a_crowd_is_woken(libc::ENOSYS);
    without_requeue_eperm_a_crowd_is_woken_all_the_same: check_a_crowd_is_woken(libc::EPERM);
    without_membarrier_enosys_everything_works: check_everything(MEMBARRIER, libc::ENOSYS);
    without_membarrier_eperm_everything_works: check_everything(MEMBARRIER, libc::EPERM);
    lock_12_without_membarrier_from_now_on_waiters_get_their_locks: check_waiters_without_fence(libc::EPERM);
    without_madvise_enosys_everything_works: check_everything(MADVISE, libc::ENOSYS);
    without_madvise_eperm_everything_works: check_everything(MADVISE, libc::EPERM);
    without_madvise_enosys_stacks_have_guards_and_are_used_again: check_stacks(libc::ENOSYS);
    without_madvise_eperm_stacks_have_guards_and_are_used_again: check_stacks(libc::EPERM);
    lock_11_without_wake_bitset_enosys_waiters_get_their_lock: check_contenders(libc::ENOSYS);
    lock_11_without_wake_bitset_eperm_waiters_get_their_lock: check_contenders(libc::EPERM);
    // libc falls back on clone(2) there, and nowhere else.
    without_clone3_enosys_everything_works: check_everything(CLONE3, libc::ENOSYS);
    thr_9_without_clone3_eperm_a_start_errs_and_leaves_nothing: check_no_start(CLONE3, libc::EPERM);
}

#[test]
fn without_madvise_an_overflow_is_reported_all_the_same() {
    let _watchdog = watchdog();
    let test = "without_madvise_an_overflow_is_reported_all_the_same";
    let body = || {
        refuse(MADVISE, libc::EPERM);
        let digger = Thread::builder()
            .name("digger")
            .target(|| child::overflow_the_stack(&mut [0; 16]));
        digger.spawn().unwrap().join().unwrap();
    };
    let Some(ended) = Child::run(test, body) else {
        return;
    };
    assert_eq!(ended.signal(), Some(Signal::SIGABRT), "{ended:?}");
    let said = "thread 'digger' has overflowed its stack";
    assert!(ended.stderr.contains(said), "{ended:?}");
}
