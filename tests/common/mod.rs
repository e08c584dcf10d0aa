//! What the integration tests share: waiting for states instead of sleeping, a watchdog, threads,
//! and checks that hold for everything that can be acquired.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod every;
pub mod forked;
pub mod pthread;
pub mod typed;
pub mod waiting;
pub mod witness;

use std::cell::UnsafeCell;
use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::io::{Write, stderr};
use std::ops::Deref;
use std::panic::Location;
use std::process::Command;
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::{Acquire as AcquireOrder, Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use nix::libc;
use threadbare::{
    BoundedSemaphore, CondLock, Condition, Deadline, Error, Lock, RLock, Semaphore, TIMEOUT_MAX,
    get_native_id,
};

/// A timeout that a working test does not reach.
pub const LONG: Duration = Duration::from_secs(600);

/// A timeout that a test waits for.
pub const SHORT: Duration = Duration::from_millis(5);

/// The first timeout that is refused.
pub const TOO_LONG: Duration = TIMEOUT_MAX.saturating_add(Duration::from_nanos(1));

/// A deadline a `timeout` away.
pub fn after(timeout: Duration) -> Deadline {
    Deadline::after(timeout).unwrap()
}

/// How much longer than usual things may take before they count as hanging: whoever runs the tests
/// on something slow says so (`scripts/sanitize.sh`, `scripts/aarch64.sh`).
pub fn patience() -> u32 {
    /// 0 until it is known. Not a cell of std's: a fork may come while it is filled.
    static FACTOR: AtomicU32 = AtomicU32::new(0);
    if FACTOR.load(Relaxed) == 0 {
        let told = std::env::var("THREADBARE_PATIENCE");
        let factor = told.map_or(1, |factor| factor.parse().expect("a number"));
        FACTOR.store(factor, Relaxed);
    }
    FACTOR.load(Relaxed)
}

/// Returns once `condition` holds; panics if it does not within half a minute.
#[track_caller]
pub fn until(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    let mut looks = 0;
    while !condition() {
        if start.elapsed() > Duration::from_secs(30) * patience() {
            let place = Location::caller();
            tell(&format!("what was waited for at {place} did not come"));
            panic!("the state did not come");
        }
        // Who looks all the time takes the CPU from those who are to bring the state about.
        looks += 1;
        if looks < 20 {
            thread::yield_now();
        } else {
            thread::sleep(Duration::from_micros(20));
        }
    }
}

/// Returns when no more than `left` remains until `deadline`, as precisely as it can be had.
pub fn until_nearly(deadline: Deadline, left: Duration) {
    while deadline.remaining() > Some(left) {
        thread::yield_now();
    }
}

/// Past the capture of the test harness, whose contents an abort would lose.
fn tell(text: &str) {
    let thread = thread::current();
    let name = thread.name().unwrap_or("?");
    let _ = writeln!(stderr(), "{name}: {text}");
}

/// Aborts the process if it lives for more than a minute, so that a lost wake fails the test.
pub struct Watchdog {
    leash: Option<Sender<()>>,
    dog: Option<JoinHandle<()>>,
}

/// A watchdog for the calling test, to be kept until its end.
#[track_caller]
#[must_use = "it guards as long as it lives"]
pub fn watchdog() -> Watchdog {
    let place = Location::caller();
    let test = thread::current().name().unwrap_or("?").to_owned();
    let (leash, leashed) = channel();
    let (begins, begun) = channel();
    let dog = thread::spawn(move || {
        let _ = begins.send(());
        let waited = leashed.recv_timeout(Duration::from_secs(60) * patience());
        if waited == Err(RecvTimeoutError::Timeout) {
            tell(&format!(
                "the test {test} at {place} hangs; --nocapture may tell more"
            ));
            std::process::abort();
        }
    });
    // Before the test takes away what a thread needs to begin.
    let _ = begun.recv();
    Watchdog {
        leash: Some(leash),
        dog: Some(dog),
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.leash = None;
        if let Some(dog) = self.dog.take() {
            let _ = dog.join();
        }
    }
}

/// Runs `body` in `count` threads that begin together, each with its number.
pub fn threads<R: Send>(count: usize, body: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let start = Barrier::new(count);
    thread::scope(|s| {
        let handles: Vec<_> = (0..count)
            .map(|number| {
                let (start, body) = (&start, &body);
                s.spawn(move || {
                    start.wait();
                    body(number)
                })
            })
            .collect();
        handles.into_iter().map(|h| h.join().unwrap()).collect()
    })
}

/// Pseudo-random numbers (xorshift), different in each run.
pub struct Rng(u64);

impl Rng {
    pub fn new() -> Rng {
        Rng(RandomState::new().build_hasher().finish() | 1)
    }

    /// A number from 0 to `limit` - 1.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// A timeout around what a short critical section takes, zero among them.
    pub fn timeout(&mut self) -> Duration {
        match self.below(4) {
            0 => Duration::ZERO,
            _ => Duration::from_nanos(self.below(150_000)),
        }
    }
}

/// The kernel's id of a thread, told by itself.
#[derive(Default)]
pub struct Tid(AtomicU32);

impl Tid {
    pub const fn new() -> Tid {
        Tid(AtomicU32::new(0))
    }

    /// For the thread itself, right before it blocks.
    pub fn is_mine(&self) {
        self.0.store(get_native_id(), Release);
    }

    /// The id, once it is told.
    #[track_caller]
    pub fn get(&self) -> u32 {
        until(|| self.0.load(AcquireOrder) != 0);
        self.0.load(AcquireOrder)
    }

    /// Returns once the thread sleeps.
    #[track_caller]
    pub fn until_asleep(&self) {
        let tid = self.get();
        until(|| is_asleep(tid));
    }

    /// Returns once the thread sleeps on a word of `object`.
    #[track_caller]
    pub fn until_asleep_in<T>(&self, object: &T) {
        let tid = self.get();
        let from = ptr::from_ref(object).addr();
        until(|| {
            futex_of(tid).map_or_else(
                || is_asleep(tid) && !tells_futexes(),
                |word| (from..from + size_of_val(object)).contains(&word),
            )
        });
    }
}

/// A thread of a test, whose sleep can be observed.
pub struct Worker<'scope, R> {
    tid: Arc<Tid>,
    handle: ScopedJoinHandle<'scope, R>,
}

/// Starts a thread in `scope` that tells its id right before `body`.
pub fn spawn<'scope, R: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    body: impl FnOnce() -> R + Send + 'scope,
) -> Worker<'scope, R> {
    let tid = Arc::new(Tid::new());
    let told = Arc::clone(&tid);
    let handle = scope.spawn(move || {
        told.is_mine();
        drop(told);
        body()
    });
    Worker { tid, handle }
}

impl<R> Worker<'_, R> {
    #[track_caller]
    pub fn tid(&self) -> u32 {
        self.tid.get()
    }

    #[track_caller]
    pub fn until_asleep(&self) {
        self.tid.until_asleep();
    }

    #[track_caller]
    pub fn until_asleep_in<T>(&self, object: &T) {
        self.tid.until_asleep_in(object);
    }

    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    #[track_caller]
    pub fn join(self) -> R {
        self.handle.join().unwrap()
    }
}

/// The kernel's ids of the threads that this process has.
pub fn tids() -> impl Iterator<Item = u32> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok())
}

/// Whether the thread sleeps in a futex wait, or, where the kernel does not tell, sleeps at all.
pub fn is_asleep(tid: u32) -> bool {
    if tells_futexes() {
        return futex_of(tid).is_some();
    }
    let stat = fs::read_to_string(format!("/proc/self/task/{tid}/stat")).unwrap_or_default();
    // The name in parentheses may contain anything; the state follows the last one.
    let state = stat.rsplit(')').next().unwrap_or_default();
    state.trim_start().starts_with('S')
}

/// The address of the word that the thread sleeps on, if it does.
pub fn futex_of(tid: u32) -> Option<usize> {
    let line = fs::read_to_string(format!("/proc/self/task/{tid}/syscall")).ok()?;
    let mut fields = line.split_whitespace();
    let call: i64 = fields.next()?.parse().ok()?;
    if call != libc::SYS_futex {
        return None;
    }
    let word = fields.next()?.strip_prefix("0x")?;
    usize::from_str_radix(word, 16).ok()
}

/// Whether somebody waits for the calling thread to be gone from the kernel: sleeps on a word in
/// libc's record of it.
pub fn is_being_joined() -> bool {
    const RECORD: usize = 4096; // more than glibc's `struct pthread` has
    // SAFETY: no precondition.
    let record = unsafe { libc::pthread_self() } as usize;
    tids().any(|tid| futex_of(tid).is_some_and(|word| (record..record + RECORD).contains(&word)))
}

/// Whether the mutex is locked and a thread may sleep on it, of which it says nothing but by `Debug`.
pub fn has_waiters<T: ?Sized>(mutex: &threadbare::Mutex<T>) -> bool {
    // SAFETY: it is only looked at.
    format!("{:?}", unsafe { mutex.raw() }).contains("state: 3")
}

/// Whether this kernel shows the system call in which a thread sleeps (proc_pid_syscall(5)). Under
/// an emulator, which says so (`scripts/aarch64.sh`), it shows the host's.
pub fn tells_futexes() -> bool {
    std::env::var_os("THREADBARE_EMULATED").is_none()
        && fs::read_to_string("/proc/thread-self/syscall").is_ok()
}

/// A command that runs this test program anew; where it is emulated, by its emulator too.
pub fn this_program() -> Command {
    let program = std::env::current_exe().unwrap();
    let Some(emulator) = std::env::var_os("THREADBARE_EMULATED") else {
        return Command::new(program);
    };
    let mut command = Command::new(emulator);
    command.arg(program);
    command
}

/// Wakes whoever sleeps on the word at `address`, for no reason.
pub fn wake_for_nothing(address: usize) {
    let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: FUTEX_WAKE uses the address as a key and accesses no memory of ours.
    unsafe { libc::syscall(libc::SYS_futex, address, operation, i32::MAX) };
}

/// Does not compile if the type has the trait: then it is not clear which implementation is meant.
#[macro_export]
macro_rules! is_not {
    ($type:ty: $trait:ident) => {
        const _: fn() = || {
            struct IfSo;
            trait Ambiguous<A> {
                fn check() {}
            }
            impl<T: ?Sized> Ambiguous<()> for T {}
            impl<T: ?Sized + $trait> Ambiguous<IfSo> for T {}
            <$type as Ambiguous<_>>::check();
        };
    };
}

/// What can be acquired, in all forms.
pub trait Acquire: Sync {
    fn acquire(&self);
    fn try_acquire(&self) -> bool;
    fn acquire_timeout(&self, timeout: Duration) -> Result<bool, Error>;
    fn acquire_until(&self, deadline: Deadline) -> bool;
    fn acquire_interruptible(&self, deadline: Deadline) -> Result<bool, Error>;
    fn release(&self) -> Result<(), Error>;
}

macro_rules! acquire {
    ($type:ty $(, $parameter:ident: $bound:path)*) => {
        impl<$($parameter: $bound + Sync),*> Acquire for $type {
            fn acquire(&self) {
                self.acquire();
            }
            fn try_acquire(&self) -> bool {
                self.try_acquire()
            }
            fn acquire_timeout(&self, timeout: Duration) -> Result<bool, Error> {
                self.acquire_timeout(timeout)
            }
            fn acquire_until(&self, deadline: Deadline) -> bool {
                self.acquire_until(deadline)
            }
            fn acquire_interruptible(&self, deadline: Deadline) -> Result<bool, Error> {
                self.acquire_interruptible(deadline)
            }
            fn release(&self) -> Result<(), Error> {
                self.release()
            }
        }
    };
}

acquire!(Lock);
acquire!(RLock);
acquire!(Condition<L>, L: CondLock);
acquire!(Semaphore);
acquire!(BoundedSemaphore);

/// Several permits of a semaphore, taken together.
pub struct Several<S>(pub S, pub u32);

macro_rules! acquire_several {
    ($type:ty) => {
        impl Acquire for Several<$type> {
            fn acquire(&self) {
                self.0.acquire_n(self.1).unwrap();
            }
            fn try_acquire(&self) -> bool {
                self.0.try_acquire_n(self.1).unwrap()
            }
            fn acquire_timeout(&self, timeout: Duration) -> Result<bool, Error> {
                self.0.acquire_n_timeout(self.1, timeout)
            }
            fn acquire_until(&self, deadline: Deadline) -> bool {
                self.0.acquire_n_until(self.1, deadline).unwrap()
            }
            fn acquire_interruptible(&self, deadline: Deadline) -> Result<bool, Error> {
                self.0.acquire_n_interruptible(self.1, deadline)
            }
            fn release(&self) -> Result<(), Error> {
                self.0.release_n(self.1)
            }
        }
    };
}

acquire_several!(Semaphore);
acquire_several!(BoundedSemaphore);

/// A named way to acquire; returns whether it was acquired.
pub type Form = (&'static str, fn(&dyn Acquire) -> bool);

/// The forms that wait until they get it.
pub const PATIENT: [Form; 7] = [
    ("acquire", |it| {
        it.acquire();
        true
    }),
    ("timeout", |it| it.acquire_timeout(LONG).unwrap()),
    ("TIMEOUT_MAX", |it| it.acquire_timeout(TIMEOUT_MAX).unwrap()),
    ("until", |it| it.acquire_until(after(LONG))),
    ("until never", |it| it.acquire_until(Deadline::NEVER)),
    ("interruptible", |it| {
        it.acquire_interruptible(after(LONG)).unwrap()
    }),
    ("interruptible never", |it| {
        it.acquire_interruptible(Deadline::NEVER).unwrap()
    }),
];

/// The forms that make one attempt.
pub const IMPATIENT: [Form; 6] = [
    ("try", |it| it.try_acquire()),
    ("timeout 0", |it| {
        it.acquire_timeout(Duration::ZERO).unwrap()
    }),
    ("until now", |it| it.acquire_until(Deadline::now())),
    ("until a past point", |it| {
        let past = after(Duration::from_nanos(1));
        until(|| past.has_passed());
        it.acquire_until(past)
    }),
    ("interruptible now", |it| {
        it.acquire_interruptible(Deadline::now()).unwrap()
    }),
    ("interruptible at a past point", |it| {
        let past = after(Duration::from_nanos(1));
        until(|| past.has_passed());
        it.acquire_interruptible(past).unwrap()
    }),
];

/// The forms that give up, after [`SHORT`].
pub const EXPIRING: [Form; 3] = [
    ("timeout", |it| it.acquire_timeout(SHORT).unwrap()),
    ("until", |it| it.acquire_until(after(SHORT))),
    ("interruptible", |it| {
        it.acquire_interruptible(after(SHORT)).unwrap()
    }),
];

/// Every form takes what is free.
#[track_caller]
pub fn check_taken_when_free(it: &dyn Acquire) {
    for (name, form) in PATIENT.into_iter().chain(IMPATIENT).chain(EXPIRING) {
        assert!(form(it), "{name}");
        it.release().expect(name);
    }
}

/// In another thread than the caller, who holds it, the forms with an end give up, no earlier
/// than they should, and change nothing.
#[track_caller]
pub fn check_given_up_when_held(it: &dyn Acquire) {
    threads(2, |_| {
        for (name, form) in IMPATIENT {
            assert!(!form(it), "{name}");
        }
        for (name, form) in EXPIRING {
            let start = Instant::now();
            assert!(!form(it), "{name}");
            assert!(start.elapsed() >= SHORT, "{name} ended early");
        }
    });
    it.release().unwrap();
    check_taken_when_free(it);
    it.acquire();
}

/// Every form that waits gets it once the caller, who holds it, has released it. `asleep` waits
/// until the thread sleeps there.
#[track_caller]
pub fn check_taken_when_released(it: &dyn Acquire, asleep: impl Fn(&Tid)) {
    for (name, form) in PATIENT {
        thread::scope(|s| {
            let waiter = spawn(s, move || {
                assert!(form(it), "{name}");
                it.release().expect(name);
            });
            asleep(&waiter.tid);
            assert!(!waiter.is_finished(), "{name}");
            it.release().expect(name);
            waiter.join();
            assert!(it.try_acquire(), "{name} left it unusable");
        });
    }
}

/// A timeout that is too large errs, whether it is free or held by the caller, and changes nothing.
#[track_caller]
pub fn check_too_large_is_refused(it: &dyn Acquire) {
    for timeout in [
        TOO_LONG,
        TIMEOUT_MAX + Duration::from_secs(1),
        Duration::MAX,
    ] {
        assert_eq!(it.acquire_timeout(timeout), Err(Error::TimeoutTooLarge));
    }
    assert!(it.try_acquire(), "an error took it");
    assert_eq!(it.acquire_timeout(TOO_LONG), Err(Error::TimeoutTooLarge));
    threads(1, |_| {
        assert_eq!(it.acquire_timeout(TOO_LONG), Err(Error::TimeoutTooLarge));
        assert!(!it.try_acquire(), "an error freed it");
    });
    it.release().unwrap();
    check_taken_when_free(it);
}

/// Threads that all want it, with and without timeouts, one at a time, touching memory of which
/// only the ordering of acquire and release keeps the accesses apart. At the end it is free.
#[track_caller]
pub fn check_excludes(it: &dyn Acquire, count: usize, rounds: usize) {
    let shared = Unsynchronized::new((0_usize, 0_usize));
    let taken: usize = threads(count, |number| {
        let mut rng = Rng::new();
        let mut taken = 0;
        for round in 0..rounds {
            let form = match rng.below(4) {
                // One thread in two is never satisfied with less, so a lost wake shows.
                _ if number % 2 == 0 => {
                    it.acquire();
                    true
                }
                0 => it.try_acquire(),
                1 => it.acquire_timeout(rng.timeout()).unwrap(),
                2 => it.acquire_until(after(rng.timeout())),
                _ => it.acquire_interruptible(after(rng.timeout())).unwrap(),
            };
            if form {
                taken += 1;
                // SAFETY: whoever has it is alone.
                let (first, second) = unsafe { &mut *shared.get() };
                *first += 1;
                if round % 16 == 0 {
                    thread::yield_now(); // so that others find it held, and sleep
                }
                *second += 1;
                assert_eq!(first, second, "somebody else was inside");
                it.release().unwrap();
            }
        }
        taken
    })
    .into_iter()
    .sum();
    let (first, second) = shared.into_inner();
    assert_eq!((first, second), (taken, taken));
    assert!(it.try_acquire(), "it is free at the end");
    it.release().unwrap();
}

/// Memory that is shared without more ado.
pub struct Unsynchronized<T>(UnsafeCell<T>);

// SAFETY: the users say what keeps their accesses apart.
unsafe impl<T: Send> Sync for Unsynchronized<T> {}

impl<T> Unsynchronized<T> {
    pub const fn new(value: T) -> Unsynchronized<T> {
        Unsynchronized(UnsafeCell::new(value))
    }

    pub fn get(&self) -> *mut T {
        self.0.get()
    }

    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

/// A value on a page of its own. Once destroyed, each access to it is a fault.
pub struct Doomed<T>(NonNull<T>);

/// More than any type here takes, and no more than any kernel's page.
const PAGE: usize = 4096;

impl<T> Doomed<T> {
    pub fn new(value: T) -> Doomed<T> {
        assert!(size_of::<T>() <= PAGE && align_of::<T>() <= PAGE);
        let (access, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: a new mapping replaces none.
        let page = unsafe { libc::mmap(ptr::null_mut(), PAGE, access, flags, -1, 0) };
        assert_ne!(page, libc::MAP_FAILED);
        let page = NonNull::new(page).unwrap().cast::<T>();
        // SAFETY: mapped just now, large enough and aligned.
        unsafe { page.write(value) };
        Doomed(page)
    }

    /// Takes the memory away. The address stays reserved, so that nothing else comes to lie there.
    ///
    /// # Safety
    /// Nobody will use the value; `place` came from [`Doomed::into_raw`].
    pub unsafe fn destroy(place: *mut T) {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
        // SAFETY: what is replaced is the page that `new` mapped, which is not used any more.
        let gone = unsafe { libc::mmap(place.cast(), PAGE, libc::PROT_NONE, flags, -1, 0) };
        assert_ne!(gone, libc::MAP_FAILED);
    }

    pub fn into_raw(self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T> Deref for Doomed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: `destroy` needs the pointer that `into_raw` gives, which takes `self`.
        unsafe { self.0.as_ref() }
    }
}

/// Two threads share one object after another: what `last` does depends on what `first` does, and
/// when `last` has returned, the object is destroyed, while `first` may still be inside its call.
/// In every other round `first` begins when `asleep` says that `last` sleeps.
pub fn check_destroyed_by_the_last_user<T: Sync>(
    rounds: usize,
    make: impl Fn() -> T + Sync,
    asleep: impl Fn(&T) -> bool + Sync,
    first: impl Fn(&T) + Sync,
    last: impl Fn(&T) + Sync,
) {
    let mailbox = AtomicPtr::<T>::new(ptr::null_mut());
    let destroyed = AtomicUsize::new(0);
    thread::scope(|s| {
        s.spawn(|| {
            for _ in 0..rounds {
                until(|| !mailbox.load(Relaxed).is_null());
                let place = mailbox.swap(ptr::null_mut(), AcquireOrder);
                // SAFETY: only this thread destroys it, below.
                last(unsafe { &*place });
                // SAFETY: it came out of `into_raw`; the other thread has nothing left to do with
                // it but to return from `first`, which is what is tested.
                unsafe { Doomed::destroy(place) };
                destroyed.fetch_add(1, Release);
            }
        });
        for round in 0..rounds {
            let place = Doomed::new(make()).into_raw();
            mailbox.store(place, Release);
            // SAFETY: the other thread keeps it until `first` has let `last` return.
            let object = unsafe { &*place };
            if round % 2 == 0 {
                until(|| asleep(object));
            }
            first(object);
            until(|| destroyed.load(AcquireOrder) > round);
        }
    });
}
