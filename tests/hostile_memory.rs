//! Memory that is gone the moment it may be, and stacks under unusual limits.

#![cfg(not(threadbare_model))]

mod child;
mod common;

use child::{Child, in_child};
use common::{every, futex_of, tids, until, watchdog};
use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use std::ops::Deref;
use std::os::unix::process::CommandExt;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicUsize};
use std::thread;
use threadbare::{
    Barrier, BoundedSemaphore, Condition, Event, Lock, Mutex, Semaphore, Thread, scope, stack_size,
};

/// The size of a page.
fn page() -> usize {
    // SAFETY: no precondition.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap()
}

/// Where nothing is mapped, far from where the kernel puts what comes: it begins at the upper end of what
/// is free, and this is the lower end of a large piece of that.
fn far_away() -> usize {
    const LARGE: usize = 1 << 38;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping, wherever there is room.
    let base = unsafe { libc::mmap(ptr::null_mut(), LARGE, libc::PROT_NONE, flags, -1, 0) };
    assert_ne!(base, libc::MAP_FAILED, "{}", Errno::last());
    // SAFETY: the mapping made just now.
    assert_eq!(unsafe { libc::munmap(base, LARGE) }, 0);
    base.addr()
}

/// A value in the last bytes of a mapping of one page. Behind it, and where other such mappings were,
/// there is nothing, ever: each access there is a fault.
struct AtTheEnd<T>(NonNull<T>);

impl<T> AtTheEnd<T> {
    fn new(value: T) -> AtTheEnd<T> {
        /// Places for mappings: every second page, once each.
        static PLACES: OnceLock<AtomicUsize> = OnceLock::new();
        let page = page();
        let place = PLACES.get_or_init(|| AtomicUsize::new(far_away()));
        let place = place.fetch_add(2 * page, Relaxed);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let place = ptr::without_provenance_mut(place);
        // SAFETY: a new mapping that replaces none.
        let base = unsafe { libc::mmap(place, page, access, flags, -1, 0) };
        assert_eq!(base, place, "{}", Errno::last());
        // Sizes are multiples of alignments, so this is aligned.
        let value_at = base.wrapping_byte_add(page - size_of::<T>()).cast::<T>();
        // SAFETY: mapped just now, large enough and aligned.
        unsafe { value_at.write(value) };
        AtTheEnd(NonNull::new(value_at).unwrap())
    }

    fn into_raw(self) -> *mut T {
        self.0.as_ptr()
    }

    /// # Safety
    /// `value` came from [`into_raw`](AtTheEnd::into_raw), and nobody will use it.
    unsafe fn unmap(value: *mut T) {
        let base = value
            .wrapping_byte_add(size_of::<T>())
            .wrapping_byte_sub(page());
        // SAFETY: the mapping that `new` made, which is not used any more.
        let result = unsafe { libc::munmap(base.cast(), page()) };
        assert_eq!(result, 0);
    }
}

impl<T> Deref for AtTheEnd<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: mapped until `unmap`, which needs the pointer that `into_raw` gives.
        unsafe { self.0.as_ref() }
    }
}

/// One thread waits for the other by `last`, and unmaps the object as soon as that returns, while the
/// other may still be inside of `first`, by which it lets the waiter go. Every other time the waiter
/// is asleep by then.
fn unmapped_by_the_last_user<T: Sync>(
    make: impl Fn() -> T + Sync,
    is_waited_for: impl Fn(&T) -> bool + Sync,
    first: impl Fn(&T) + Sync,
    last: impl Fn(&T) + Sync,
) {
    const ROUNDS: usize = 3_000;
    let place = AtomicPtr::<T>::new(ptr::null_mut());
    let unmapped = AtomicUsize::new(0);
    thread::scope(|s| {
        s.spawn(|| {
            for _ in 0..ROUNDS {
                until(|| !place.load(Relaxed).is_null());
                // Acquire: pairs with the Release below, after which the object is there.
                let object = place.swap(ptr::null_mut(), Acquire);
                // SAFETY: mapped until this thread unmaps it.
                last(unsafe { &*object });
                // SAFETY: the other thread has nothing to do with it but to return from `first`,
                // which is what is tested.
                unsafe { AtTheEnd::unmap(object) };
                unmapped.fetch_add(1, Release);
            }
        });
        for round in 0..ROUNDS {
            let object = AtTheEnd::new(make()).into_raw();
            place.store(object, Release);
            // SAFETY: the other thread keeps it until `first` has let `last` return.
            let object = unsafe { &*object };
            if round % 2 == 0 {
                until(|| is_waited_for(object));
            }
            first(object);
            // Acquire: pairs with the Release above.
            until(|| unmapped.load(Acquire) > round);
        }
    });
}

/// A test in a process of its own, which a fault ends.
macro_rules! unmapped {
    ($($test:ident: $make:expr, $is_waited_for:expr, $first:expr, $last:expr;)*) => {$(
        #[test]
        fn $test() {
            let _watchdog = watchdog();
            in_child(stringify!($test), || {
                unmapped_by_the_last_user($make, $is_waited_for, $first, $last);
            });
        }
    )*};
}

/// Whether a thread sleeps on a word of `object`.
fn has_sleeper<T>(object: &T) -> bool {
    let from = ptr::from_ref(object).addr();
    let words = from..from + size_of::<T>();
    tids().any(|tid| futex_of(tid).is_some_and(|word| words.contains(&word)))
}

fn held() -> Lock {
    let lock = Lock::new();
    lock.acquire();
    lock
}

unmapped! {
    a_lock_is_unmapped_by_its_next_owner:
        held, Lock::has_waiters, |lock| lock.release().unwrap(), Lock::acquire;
    a_mutex_is_unmapped_by_its_next_owner:
        || {
            let mutex = Mutex::new(0_u32);
            std::mem::forget(mutex.lock());
            mutex
        },
        has_sleeper,
        |mutex| {
            // SAFETY: locked by `make`, whose guard is forgotten.
            unsafe { mutex.force_unlock() };
        },
        |mutex| drop(mutex.lock());
    a_semaphore_is_unmapped_by_who_takes_the_permit:
        || Semaphore::new(0), |it| it.waiters() > 0,
        |it| it.release().unwrap(), Semaphore::acquire;
    a_semaphore_is_unmapped_by_who_takes_several_permits:
        || Semaphore::new(0), |it| it.waiters() > 0,
        |it| it.release_n(3).unwrap(), |it| it.acquire_n(3).unwrap();
    a_bounded_semaphore_is_unmapped_by_who_takes_the_permit:
        || {
            let semaphore = BoundedSemaphore::new(1);
            semaphore.acquire();
            semaphore
        },
        |it| it.waiters() > 0, |it| it.release().unwrap(), BoundedSemaphore::acquire;
    an_event_is_unmapped_by_who_waited:
        Event::new, Event::has_waiters, Event::set, Event::wait;
    a_barrier_is_unmapped_by_who_waited:
        || Barrier::new(2), Barrier::has_waiters,
        |it| {
            until(|| it.n_waiting() == 1); // it may go before the last party's wait returns only
            assert_eq!(it.wait(), Ok(1));
        },
        |it| assert_eq!(it.wait(), Ok(0));
}

#[test]
fn what_is_touched_after_its_mapping_ends_the_process() {
    let _watchdog = watchdog();
    let test = "what_is_touched_after_its_mapping_ends_the_process";
    let body = || {
        let lock = AtTheEnd::new(Lock::new()).into_raw();
        // SAFETY: it came from there; the use below is not valid, which is what is looked for.
        unsafe { AtTheEnd::unmap(lock) };
        // SAFETY: none: the fault is to come.
        let word = unsafe { lock.cast::<u32>().read_volatile() };
        println!("{word}");
    };
    if let Some(ended) = Child::run(test, body) {
        assert_eq!(ended.signal(), Some(Signal::SIGSEGV), "{ended:?}");
    }
}

/// Runs `body` where RLIMIT_STACK is unlimited, which has to be said before a program is loaded;
/// `None` in that process, or where that may not be.
fn with_unlimited_stack(test: &str, body: fn()) -> Option<Child> {
    let (_, hard) = getrlimit(Resource::RLIMIT_STACK).unwrap();
    if hard != RLIM_INFINITY && !nix::unistd::Uid::effective().is_root() {
        eprintln!("skipped: the limit of stacks may not be lifted");
        return None;
    }
    let lift = || {
        setrlimit(Resource::RLIMIT_STACK, RLIM_INFINITY, RLIM_INFINITY)?;
        Ok(())
    };
    let configure = |command: &mut std::process::Command| {
        // SAFETY: setrlimit is a system call.
        unsafe { command.pre_exec(lift) };
    };
    Child::run_in(test, configure, body)
}

fn check_unlimited() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_STACK).unwrap();
    assert_eq!((soft, hard), (RLIM_INFINITY, RLIM_INFINITY));
}

#[test]
fn with_an_unlimited_stack_everything_works_and_threads_have_the_usual_size() {
    let _watchdog = watchdog();
    let test = "with_an_unlimited_stack_everything_works_and_threads_have_the_usual_size";
    let body = || {
        check_unlimited();
        every::alone();
        every::together();
        assert_eq!(stack_size(), 0, "the default");
        let mapped = child::mapped();
        let grown = spawn_and(child::mapped) - mapped;
        assert!(grown < 256 << 20, "{grown} bytes for one thread");
    };
    if let Some(ended) = with_unlimited_stack(test, body) {
        assert!(ended.status.success(), "{ended:?}");
    }
}

/// What `look` says in a thread of the crate.
fn spawn_and(look: fn() -> usize) -> usize {
    scope(|s| s.spawn(look).join().unwrap())
}

#[test]
fn with_an_unlimited_stack_a_thread_that_overflows_its_own_is_named() {
    let _watchdog = watchdog();
    let test = "with_an_unlimited_stack_a_thread_that_overflows_its_own_is_named";
    let body = || {
        check_unlimited();
        let digger = Thread::builder()
            .name("digger")
            .target(|| child::overflow_the_stack(&mut [0; 16]));
        digger.spawn().unwrap().join().unwrap();
    };
    let Some(ended) = with_unlimited_stack(test, body) else {
        return;
    };
    assert_eq!(ended.signal(), Some(Signal::SIGABRT), "{ended:?}");
    let said = "thread 'digger' has overflowed its stack";
    assert!(ended.stderr.contains(said), "{ended:?}");
}

#[test]
fn with_an_unlimited_stack_a_fault_of_main_is_no_overflow() {
    let _watchdog = watchdog();
    let test = "with_an_unlimited_stack_a_fault_of_main_is_no_overflow";
    let body = || {
        check_unlimited();
        every::start_and_end(); // installs the handler
        // SAFETY: none: the fault is to come.
        unsafe { ptr::without_provenance::<u32>(16).read_volatile() };
    };
    if let Some(ended) = with_unlimited_stack(test, body) {
        assert_eq!(ended.signal(), Some(Signal::SIGSEGV), "{ended:?}");
        assert!(!ended.stderr.contains("overflowed"), "{ended:?}");
    }
}

#[test]
fn a_condition_and_its_mapping_go_when_the_last_user_has_joined() {
    // A notifier may be inside of its call after the waiter has returned, so a condition goes when
    // both have: as borrowing has it.
    let _watchdog = watchdog();
    in_child(
        "a_condition_and_its_mapping_go_when_the_last_user_has_joined",
        || {
            for _ in 0..300 {
                let mapped = AtTheEnd::new(Condition::new());
                let condition: &Condition = &mapped;
                scope(|s| {
                    s.spawn(|| {
                        let _guard = condition.guard();
                        condition.wait().unwrap();
                    });
                    until(|| {
                        let _guard = condition.guard();
                        condition.notify_one() == Ok(1)
                    });
                });
                // SAFETY: the scope has ended.
                unsafe { AtTheEnd::unmap(mapped.into_raw()) };
            }
        },
    );
}
