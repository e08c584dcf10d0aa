//! The API without threads (DTH).
#![cfg(not(threadbare_model))]

mod common;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;
use threadbare::compat::dummy::{
    Barrier, BoundedSemaphore, Condition, Deadline, Error, ErrorKind, Event, Local, Lock, RLock,
    Semaphore, TIMEOUT_MAX, Thread, Timer, active_count, current_thread, enumerate, get_ident,
    get_native_id, main_thread, set_stack_size, stack_size,
};

const SECOND: Duration = Duration::from_secs(1);
const TOO_LONG: Duration = TIMEOUT_MAX.saturating_add(Duration::from_nanos(1));

/// A point that comes, but not during the test.
fn some_day() -> Deadline {
    Deadline::after(TIMEOUT_MAX).unwrap()
}

/// What a panic of `action` says.
#[track_caller]
fn panic_of<R>(action: impl FnOnce() -> R) -> String {
    match catch_unwind(AssertUnwindSafe(action)) {
        Ok(_) => panic!("no panic"),
        Err(payload) => *payload.downcast::<String>().expect("a formatted message"),
    }
}

/// What happened, in order, for closures that own their part of it.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<&'static str>>>);

impl Log {
    fn add(&self, what: &'static str) {
        self.0.borrow_mut().push(what);
    }

    fn take(&self) -> Vec<&'static str> {
        self.0.take()
    }
}

/// Adds to the log when it is dropped.
struct Dropped(Log, &'static str);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.add(self.1);
    }
}

/// The same program on the crate and on its dummy. A path, not the names, is what differs.
macro_rules! scenario {
    ($($module:tt)+) => {
        use $($module)+ as threading;
        use std::collections::VecDeque;
        use std::sync::{Arc, Mutex, PoisonError};
        use std::time::Duration;
        use threading::{
            BoundedSemaphore, Builder, CondLock, Condition, Deadline, Error, Event, Guard, Lock,
            RLock, Semaphore, Thread,
        };

        const LONG: Duration = Duration::from_secs(600);

        struct Shared {
            lock: Lock,
            queue: Mutex<VecDeque<u32>>,
            slots: BoundedSemaphore,
            items: Semaphore,
            produced: Event,
            sum: (Condition, Mutex<Option<u32>>),
        }

        impl Shared {
            fn with_queue<R>(&self, access: impl FnOnce(&mut VecDeque<u32>) -> R) -> R {
                let _guard = self.lock.guard();
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                access(&mut queue)
            }

            fn produce(&self) -> Result<(), Error> {
                for item in 1..=10 {
                    self.slots.acquire();
                    self.with_queue(|queue| queue.push_back(item));
                    self.items.release()?;
                }
                self.produced.set();
                Ok(())
            }

            fn consume(&self) -> Result<(), Error> {
                self.produced.wait();
                let mut sum = 0;
                for _ in 1..=10 {
                    assert!(self.items.acquire_timeout(LONG)?);
                    sum += self.with_queue(VecDeque::pop_front).expect("an item");
                    self.slots.release()?;
                }
                let (changed, result) = &self.sum;
                let _guard = changed.guard();
                *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(sum);
                changed.notify_all()?;
                Ok(())
            }
        }

        #[test]
        #[allow(
            clippy::arc_with_non_send_sync,
            reason = "a program for threads has `Arc`s, also where it runs without them"
        )]
        fn dth_1_a_producer_and_a_consumer() -> Result<(), Error> {
            let _watchdog = crate::common::watchdog();
            let shared = Arc::new(Shared {
                lock: Lock::new(),
                queue: Mutex::default(),
                slots: BoundedSemaphore::new(10),
                items: Semaphore::new(0),
                produced: Event::new(),
                sum: (Condition::new(), Mutex::new(None)),
            });
            let producer = Thread::new({
                let shared = shared.clone();
                move || shared.produce().unwrap()
            });
            let consumer = Thread::builder().name("consumer").target({
                let shared = shared.clone();
                move || shared.consume().unwrap()
            });
            let consumer = consumer.build()?;
            assert_eq!(producer.join(), Err(Error::NotStarted));
            producer.start()?;
            consumer.start()?;
            assert_eq!(producer.start(), Err(Error::AlreadyStarted));
            {
                let (changed, result) = &shared.sum;
                let _guard = changed.guard();
                let sum = changed.wait_for_timeout(
                    || *result.lock().unwrap_or_else(PoisonError::into_inner),
                    LONG,
                )?;
                assert_eq!(sum, Some(55));
            }
            producer.join()?;
            assert!(consumer.join_timeout(LONG)?);
            assert!(!consumer.is_alive() && consumer.ident().is_some());
            assert_eq!(consumer.name(), "consumer");
            assert_eq!(shared.slots.value(), 10);
            assert_eq!(shared.slots.release(), Err(Error::AboveBound));
            assert_eq!(shared.lock.release(), Err(Error::ReleaseUnlocked));
            Ok(())
        }

        /// Each line is one signature, which both modules have.
        #[test]
        fn dth_1_the_signatures_are_the_same() {
            type Timed<T> = fn(&T, Duration) -> Result<bool, Error>;
            type Interruptible<T> = fn(&T, Deadline) -> Result<bool, Error>;
            macro_rules! acquired {
                ($type:ty) => {
                    let _: fn(&$type) = <$type>::acquire;
                    let _: fn(&$type) -> bool = <$type>::try_acquire;
                    let _: Timed<$type> = <$type>::acquire_timeout;
                    let _: fn(&$type, Deadline) -> bool = <$type>::acquire_until;
                    let _: Interruptible<$type> = <$type>::acquire_interruptible;
                    let _: fn(&$type) -> Result<(), Error> = <$type>::release;
                    let _: fn() -> $type = <$type>::default;
                };
            }
            macro_rules! locked {
                ($type:ty) => {
                    acquired!($type);
                    let _: fn() -> $type = <$type>::new;
                    let _: fn(&$type) -> bool = <$type>::locked;
                    let _: for<'a> fn(&'a $type) -> Guard<'a, $type> = <$type>::guard;
                };
            }
            macro_rules! counted {
                ($type:ty) => {
                    acquired!($type);
                    let _: fn(u32) -> $type = <$type>::new;
                    let _: fn(u32) -> Result<$type, Error> = <$type>::try_new;
                    let _: fn(&$type, u32) -> Result<(), Error> = <$type>::acquire_n;
                    let _: fn(&$type, u32) -> Result<bool, Error> = <$type>::try_acquire_n;
                    let _: fn(&$type, u32, Duration) -> Result<bool, Error> =
                        <$type>::acquire_n_timeout;
                    let _: fn(&$type, u32, Deadline) -> Result<bool, Error> =
                        <$type>::acquire_n_until;
                    let _: fn(&$type, u32, Deadline) -> Result<bool, Error> =
                        <$type>::acquire_n_interruptible;
                    let _: fn(&$type, u32) -> Result<(), Error> = <$type>::release_n;
                    let _: fn(&$type) -> u32 = <$type>::value;
                    let _: for<'a> fn(&'a $type) -> Guard<'a, $type> = <$type>::permit;
                };
            }
            locked!(Lock);
            locked!(RLock);
            let _: fn(&RLock) -> bool = RLock::is_owned;
            let _: fn(&RLock) -> u32 = RLock::recursion_count;
            locked!(Condition);
            let _: fn(&Condition) -> Result<(), Error> = Condition::wait;
            let _: Timed<Condition> = Condition::wait_timeout;
            let _: Interruptible<Condition> = Condition::wait_until;
            let _: Interruptible<Condition> = Condition::wait_interruptible;
            let _: fn(&Condition, fn() -> bool) -> Result<bool, Error> = Condition::wait_for;
            let _: fn(&Condition, fn() -> bool, Duration) -> Result<bool, Error> =
                Condition::wait_for_timeout;
            let _: fn(&Condition, fn() -> bool, Deadline) -> Result<bool, Error> =
                Condition::wait_for_until;
            let _: fn(&Condition, fn() -> bool, Deadline) -> Result<bool, Error> =
                Condition::wait_for_interruptible;
            let _: fn(&Condition, usize) -> Result<usize, Error> = Condition::notify;
            let _: fn(&Condition) -> Result<usize, Error> = Condition::notify_one;
            let _: fn(&Condition) -> Result<usize, Error> = Condition::notify_all;
            let _: fn(Lock) -> Condition<Lock> = Condition::with_lock;
            let _: fn(&'static RLock) -> Condition<&'static RLock> = Condition::with_lock;
            let _: fn(Arc<Lock>) -> Condition<Arc<Lock>> = Condition::with_lock;
            let _: fn(&Lock) -> bool = CondLock::is_held;
            counted!(Semaphore);
            let _: u32 = Semaphore::MAX_PERMITS;
            counted!(BoundedSemaphore);
            let _: fn(&BoundedSemaphore) -> u32 = BoundedSemaphore::bound;
            let _: fn() -> Event = Event::new;
            let _: fn() -> Event = Event::default;
            let _: fn(&Event) -> bool = Event::is_set;
            let _: [fn(&Event); 3] = [Event::set, Event::clear, Event::wait];
            let _: Timed<Event> = Event::wait_timeout;
            let _: fn(&Event, Deadline) -> bool = Event::wait_until;
            let _: Interruptible<Event> = Event::wait_interruptible;
            let _: fn(fn()) -> Thread = Thread::new;
            let _: fn() -> Builder = Thread::builder;
            let _: fn(&Thread) -> Thread = Thread::clone;
            let _: fn(&Thread) -> Result<(), Error> = Thread::start;
            let _: fn(&Thread) -> Result<(), Error> = Thread::join;
            let _: Timed<Thread> = Thread::join_timeout;
            let _: Interruptible<Thread> = Thread::join_until;
            let _: Interruptible<Thread> = Thread::join_interruptible;
            let _: fn(&Thread) -> bool = Thread::is_alive;
            let _: fn(&Thread) -> String = Thread::name;
            let _: fn(&Thread, &'static str) = Thread::set_name;
            let _: fn(&Thread) -> Option<u64> = Thread::ident;
            let _: fn(&Thread) -> Option<u32> = Thread::native_id;
            let _: fn(&Thread) -> bool = Thread::daemon;
            let _: fn(&Thread, bool) -> Result<(), Error> = Thread::set_daemon;
            let _: fn(&Thread) -> bool = Thread::is_current;
            let _: fn(Builder, String) -> Builder = Builder::name;
            let _: fn(Builder, String) -> Builder = Builder::target_name;
            let _: fn(Builder, bool) -> Builder = Builder::daemon;
            let _: fn(Builder, usize) -> Builder = Builder::stack_size;
            let _: fn(Builder, fn()) -> Builder = Builder::target;
            let _: fn(Builder) -> Result<Thread, Error> = Builder::build;
            let _: fn(Builder) -> Result<Thread, Error> = Builder::spawn;
            let _: fn() -> u64 = threading::get_ident;
            let _: fn() -> u32 = threading::get_native_id;
            let _: fn() -> usize = threading::stack_size;
            let _: fn(usize) -> Result<usize, Error> = threading::set_stack_size;
            let _: Duration = threading::TIMEOUT_MAX;
        }
    };
}

mod on_threads {
    scenario!(threadbare);
}

mod without_threads {
    scenario!(threadbare::compat::dummy);
}

#[test]
fn dth_1_objects_are_made_in_constants() {
    thread_local! {
        static LOCK: Lock = const { Lock::new() };
        static RLOCK: RLock = const { RLock::new() };
        static CONDITION: Condition<Lock> = const { Condition::with_lock(Lock::new()) };
        static SEMAPHORE: Semaphore = const { Semaphore::new(2) };
        static BOUNDED: BoundedSemaphore = const { BoundedSemaphore::new(2) };
        static EVENT: Event = const { Event::new() };
        static BARRIER: Barrier<fn()> =
            const { Barrier::new(1).with_timeout(SECOND).with_action(|| ()) };
        static LOCAL: Local<u32> = const { Local::new(|| 7) };
    }
    assert!(LOCK.with(Lock::try_acquire) && RLOCK.with(RLock::try_acquire));
    assert!(CONDITION.with(Condition::try_acquire));
    assert_eq!(
        (
            SEMAPHORE.with(Semaphore::value),
            BOUNDED.with(BoundedSemaphore::value)
        ),
        (2, 2)
    );
    assert!(!EVENT.with(Event::is_set));
    assert_eq!(BARRIER.with(Barrier::wait), Ok(0));
    assert_eq!(LOCAL.with(Local::get), 7);
}

#[test]
fn dth_2_start_runs_the_target_before_it_returns() {
    let log = Log::default();
    let thread = Thread::new({
        let (log, dropped) = (log.clone(), Dropped(log.clone(), "target dropped"));
        move || {
            log.add("target");
            drop(dropped);
        }
    });
    assert!(!thread.is_alive() && log.take().is_empty());
    thread.start().unwrap();
    assert_eq!(log.take(), ["target", "target dropped"]);
    assert_eq!(thread.start(), Err(Error::AlreadyStarted));
    assert_eq!(thread.run(), Err(Error::AlreadyStarted));
    assert_eq!(
        Thread::builder().build().unwrap().start(),
        Ok(()),
        "without a target"
    );
}

#[test]
fn dth_2_a_panic_ends_the_thread_and_nothing_else() {
    /// Panics when dropped.
    struct Sore;
    impl Drop for Sore {
        fn drop(&mut self) {
            panic!("even when dropped");
        }
    }
    let lock = Rc::new(Lock::new());
    for payload in [
        Box::new("out of luck") as Box<dyn std::any::Any + Send>,
        Box::new(Sore),
    ] {
        let thread = Thread::new({
            let lock = lock.clone();
            move || {
                let _guard = lock.guard();
                std::panic::resume_unwind(payload);
            }
        });
        assert_eq!(thread.start(), Ok(()));
        assert!(!lock.locked(), "guards are released");
        assert!(!thread.is_alive());
        assert_eq!(thread.join(), Ok(()));
        assert_eq!(enumerate(), [main_thread()]);
    }
}

#[test]
fn dth_2_run_is_a_call_and_its_panic_the_callers() {
    let thread = Thread::new(|| {
        assert_eq!(current_thread(), main_thread());
        panic!("{}", "out of luck");
    });
    assert_eq!(panic_of(|| thread.run()), "out of luck");
    assert_eq!(thread.ident(), None);
    assert_eq!(thread.run(), Err(Error::TargetUsed));
    assert_eq!(thread.start(), Err(Error::TargetUsed));
    assert_eq!(thread.join(), Err(Error::NotStarted));
}

#[test]
fn dth_3_a_locked_lock_is_acquired_unless_that_is_not_to_block() {
    let lock = Lock::new();
    assert!(lock.try_acquire() && lock.locked());
    lock.acquire();
    for timeout in [Duration::ZERO, SECOND, TIMEOUT_MAX] {
        assert_eq!(lock.acquire_timeout(timeout), Ok(true));
    }
    for deadline in [Deadline::now(), some_day(), Deadline::NEVER] {
        assert!(lock.acquire_until(deadline));
        assert_eq!(lock.acquire_interruptible(deadline), Ok(true));
    }
    assert!(!lock.try_acquire());
    assert_eq!(lock.release(), Ok(()), "however often it was acquired");
    assert!(!lock.locked());
    let error = lock.release().unwrap_err();
    assert_eq!(
        (error, error.kind()),
        (Error::ReleaseUnlocked, ErrorKind::Runtime)
    );
    assert!(lock.try_acquire(), "an error changes nothing");
}

#[test]
fn dth_3_an_rlock_counts_without_owners() {
    let lock = Rc::new(RLock::new());
    assert_eq!(lock.release(), Err(Error::NotOwner));
    lock.acquire();
    assert!(lock.try_acquire() && lock.acquire_until(Deadline::now()));
    assert_eq!(lock.acquire_timeout(Duration::ZERO), Ok(true));
    assert_eq!(lock.acquire_interruptible(Deadline::NEVER), Ok(true));
    assert_eq!(lock.recursion_count(), 5);
    let other = Thread::new({
        let lock = lock.clone();
        move || {
            assert!(lock.is_owned());
            lock.acquire();
            (0..6).for_each(|_| lock.release().unwrap());
        }
    });
    other.start().unwrap();
    assert!(
        !lock.locked() && !lock.is_owned(),
        "released by another thread"
    );
    assert_eq!(lock.recursion_count(), 0);
    assert_eq!(lock.release(), Err(Error::NotOwner));
}

#[test]
fn dth_3_and_7_guards_release_once() {
    let (lock, rlock, condition) = (Lock::new(), RLock::new(), Condition::new());
    let (semaphore, bounded) = (Semaphore::new(1), BoundedSemaphore::new(1));
    for _ in 0..2 {
        let held = (lock.guard(), rlock.guard(), condition.guard());
        let permits = (semaphore.permit(), bounded.permit());
        assert!(lock.locked() && rlock.locked() && condition.locked());
        assert_eq!((semaphore.value(), bounded.value()), (0, 0));
        drop((held, permits));
        assert!(!lock.locked() && !rlock.locked() && !condition.locked());
        assert_eq!((semaphore.value(), bounded.value()), (1, 1));
    }
    let guard = lock.guard();
    lock.release().unwrap();
    assert_eq!(guard.release(), Err(Error::ReleaseUnlocked));
}

#[test]
fn dth_4_event_waits_return_at_once() {
    let event = Event::new();
    event.wait();
    assert_eq!(event.wait_timeout(SECOND), Ok(true));
    assert_eq!(event.wait_interruptible(some_day()), Ok(true));
    assert!(event.wait_until(Deadline::NEVER) && !event.is_set());
    for set in [false, true, false] {
        if set {
            event.set()
        } else {
            event.clear()
        }
        assert_eq!(event.is_set(), set);
        // Those that do not wait tell the flag.
        assert_eq!(event.wait_timeout(Duration::ZERO), Ok(set));
        assert_eq!(event.wait_until(Deadline::now()), set);
        assert_eq!(event.wait_interruptible(Deadline::now()), Ok(set));
    }
}

#[test]
fn dth_4_condition_waits_return_at_once_with_the_lock() {
    let lock = Lock::new();
    let changed = Condition::with_lock(&lock);
    for held in [false, true] {
        let in_time = |yes| if held { Ok(yes) } else { Err(Error::NotHeld) };
        assert_eq!(changed.wait(), in_time(true).map(drop));
        assert_eq!(changed.wait_timeout(SECOND), in_time(true));
        assert_eq!(changed.wait_until(Deadline::NEVER), in_time(true));
        assert_eq!(changed.wait_interruptible(some_day()), in_time(true));
        assert_eq!(changed.wait_timeout(Duration::ZERO), in_time(false));
        assert_eq!(changed.wait_until(Deadline::now()), in_time(false));
        let woken = if held { Ok(0) } else { Err(Error::NotHeld) };
        assert_eq!(changed.notify(2), woken);
        assert_eq!((changed.notify_one(), changed.notify_all()), (woken, woken));
        assert_eq!(lock.locked(), held);
        lock.acquire();
    }
}

#[test]
fn dth_4_wait_for_gives_up_on_what_stays_false() {
    let changed = Condition::new();
    let calls = Cell::new(0);
    // True at the call with this number.
    let true_at = |number| {
        calls.set(0);
        let calls = &calls;
        move || {
            calls.set(calls.get() + 1);
            (calls.get() == number).then_some(number)
        }
    };
    assert_eq!(changed.wait_for(true_at(1)), Err(Error::NotHeld));
    assert_eq!(
        changed.wait_for_timeout(true_at(1), SECOND),
        Err(Error::NotHeld)
    );
    assert_eq!(calls.get(), 0);
    let _guard = changed.guard();
    for number in [1, 2] {
        assert_eq!(changed.wait_for(true_at(number)), Ok(Some(number)));
        assert_eq!(calls.get(), number);
        assert_eq!(
            changed.wait_for_timeout(true_at(number), SECOND),
            Ok(Some(number))
        );
    }
    assert_eq!(changed.wait_for(true_at(3)), Err(Error::WouldBlockForever));
    assert_eq!(calls.get(), 2);
    let never = changed.wait_for_until(true_at(3), Deadline::NEVER);
    assert_eq!(never, Err(Error::WouldBlockForever));
    let never = changed.wait_for_interruptible(true_at(3), Deadline::NEVER);
    assert_eq!(never, Err(Error::WouldBlockForever));
    assert_eq!(
        changed.wait_for_timeout(true_at(3), Duration::ZERO),
        Ok(None)
    );
    assert_eq!(changed.wait_for_until(true_at(3), some_day()), Ok(None));
    assert_eq!(
        changed.wait_for_interruptible(true_at(3), some_day()),
        Ok(None)
    );
    assert_eq!(calls.get(), 2);
    assert!(changed.locked());
}

#[test]
fn dth_4_semaphore_waits_that_nobody_can_end_are_refused() {
    let semaphore = Semaphore::new(1);
    semaphore.acquire();
    assert!(!semaphore.try_acquire());
    assert_eq!(semaphore.acquire_timeout(SECOND), Ok(false));
    assert_eq!(semaphore.acquire_interruptible(some_day()), Ok(false));
    assert!(!semaphore.acquire_until(some_day()));
    let forever = Error::WouldBlockForever;
    assert_eq!(forever.kind(), ErrorKind::Runtime);
    assert_eq!(semaphore.acquire_n(2), Err(forever));
    assert_eq!(semaphore.acquire_n_until(2, Deadline::NEVER), Err(forever));
    assert_eq!(
        semaphore.acquire_interruptible(Deadline::NEVER),
        Err(forever)
    );
    assert_eq!(panic_of(|| semaphore.acquire()), forever.to_string());
    assert_eq!(panic_of(|| semaphore.permit()), forever.to_string());
    assert_eq!(
        panic_of(|| semaphore.acquire_until(Deadline::NEVER)),
        forever.to_string()
    );
    semaphore.release_n(3).unwrap();
    assert_eq!(semaphore.acquire_n_timeout(2, SECOND), Ok(true));
    assert_eq!(semaphore.acquire_n_until(2, some_day()), Ok(false));
    assert_eq!(
        semaphore.value(),
        1,
        "all or none, and errors change nothing"
    );
}

#[test]
fn dth_4_semaphores_refuse_what_the_real_ones_refuse() {
    let (semaphore, bounded) = (Semaphore::new(1), BoundedSemaphore::new(1));
    assert_eq!(semaphore.release_n(0), Err(Error::ZeroPermits));
    assert_eq!(bounded.try_acquire_n(0), Err(Error::ZeroPermits));
    assert_eq!(semaphore.release_n(u32::MAX), Err(Error::TooManyPermits));
    assert_eq!(
        semaphore.release_n(Semaphore::MAX_PERMITS),
        Err(Error::TooManyPermits)
    );
    assert_eq!(
        semaphore.try_acquire_n(u32::MAX),
        Err(Error::TooManyPermits)
    );
    assert_eq!(bounded.try_acquire_n(2), Err(Error::AboveBound));
    assert_eq!(bounded.release(), Err(Error::AboveBound));
    assert_eq!((semaphore.value(), bounded.value()), (1, 1));
    assert_eq!(semaphore.release_n(Semaphore::MAX_PERMITS - 1), Ok(()));
    let above = Semaphore::MAX_PERMITS + 1;
    assert_eq!(
        BoundedSemaphore::try_new(above).unwrap_err(),
        Error::TooManyPermits
    );
    catch_unwind(|| Semaphore::new(above)).unwrap_err();
}

#[test]
fn dth_4_barriers_pass_one_party_and_no_more() {
    let alone = Barrier::new(1);
    assert_eq!((alone.wait(), alone.wait()), (Ok(0), Ok(0)));
    assert_eq!(alone.wait_timeout(Duration::ZERO), Ok(0));

    let barrier = Barrier::new(2);
    assert_eq!(barrier.wait(), Err(Error::WouldBlockForever));
    assert_eq!(
        barrier.wait_until(Deadline::NEVER),
        Err(Error::WouldBlockForever)
    );
    assert_eq!(barrier.wait_timeout(TOO_LONG), Err(Error::TimeoutTooLarge));
    assert!(!barrier.broken(), "an error changes nothing");
    for wait in [
        |barrier: &Barrier| barrier.wait_timeout(SECOND),
        |barrier: &Barrier| barrier.wait_until(some_day()),
        |barrier: &Barrier| barrier.wait_interruptible(some_day()),
    ] {
        assert_eq!(wait(&barrier), Err(Error::BrokenBarrier));
        assert!(barrier.broken());
        assert_eq!(barrier.wait(), Err(Error::BrokenBarrier));
        barrier.reset();
        assert!(!barrier.broken());
    }
    let limited = Barrier::new(2).with_timeout(SECOND);
    assert_eq!(limited.wait(), Err(Error::BrokenBarrier));
    assert_eq!(Error::BrokenBarrier.kind(), ErrorKind::BrokenBarrier);
    assert!(Error::BrokenBarrier.is_runtime());

    for parties in [0, Barrier::MAX_PARTIES + 1] {
        assert_eq!(
            Barrier::try_new(parties).unwrap_err(),
            Error::InvalidParties
        );
        catch_unwind(|| Barrier::new(parties)).unwrap_err();
    }
    let refused = Barrier::new(1).try_with_timeout(TOO_LONG);
    assert_eq!(refused.unwrap_err(), Error::TimeoutTooLarge);
}

#[test]
fn dth_4_a_barriers_action_is_as_the_real_ones() {
    type Action = Box<dyn FnMut()>;
    let barrier: Rc<RefCell<Option<Rc<Barrier<Action>>>>> = Rc::default();
    let log = Log::default();
    let action: Action = Box::new({
        let (barrier, log) = (barrier.clone(), log.clone());
        move || {
            let barrier = barrier.borrow().clone().unwrap();
            assert_eq!((barrier.n_waiting(), barrier.broken()), (1, false));
            assert_eq!(barrier.wait(), Err(Error::WaitInAction));
            log.add("action");
            match log.0.borrow().len() {
                1 => {}
                2 => {
                    barrier.abort();
                    barrier.reset(); // does nothing here
                }
                _ => panic!("{}", "the action's own"),
            }
        }
    });
    let shared = Rc::new(Barrier::new(1).with_action(action));
    barrier.replace(Some(shared.clone()));
    assert_eq!(shared.wait(), Ok(0));
    assert_eq!(shared.n_waiting(), 0);
    assert_eq!(shared.wait(), Err(Error::BrokenBarrier));
    assert_eq!(shared.wait(), Err(Error::BrokenBarrier));
    shared.reset();
    assert_eq!(panic_of(|| shared.wait()), "the action's own");
    assert!(shared.broken());
    assert_eq!(log.take().len(), 3);
    barrier.take(); // which holds itself
}

#[test]
fn dth_4_a_timer_fires_at_once_unless_cancelled() {
    let log = Log::default();
    let timer = |interval: Option<Duration>| {
        let log = log.clone();
        Timer::new(interval, move || log.add("fired"))
    };
    for interval in [Duration::ZERO, SECOND, TIMEOUT_MAX] {
        let timer = timer(Some(interval));
        assert!(log.take().is_empty() && !timer.finished().is_set());
        timer.start().unwrap();
        assert_eq!(log.take(), ["fired"]);
        assert!(timer.finished().is_set() && !timer.is_alive());
        assert_eq!(timer.join(), Ok(()));
        timer.cancel();
    }
    for interval in [Some(SECOND), None] {
        let timer = timer(interval);
        timer.cancel();
        timer.start().unwrap();
        assert!(log.take().is_empty() && timer.finished().is_set());
    }
    // Nobody could cancel the one, and the other has no interval: panics end their threads.
    for interval in [None, Some(TOO_LONG)] {
        let timer = timer(interval);
        timer.start().unwrap();
        assert!(log.take().is_empty() && !timer.finished().is_set() && !timer.is_alive());
    }
    let replaced = timer(None);
    replaced.set_interval(SECOND);
    replaced.set_function(|| panic!("of the function's own"));
    assert_eq!(replaced.interval(), Some(SECOND));
    replaced.start().unwrap();
    assert!(log.take().is_empty() && !replaced.finished().is_set());
}

#[test]
fn dth_5_all_idents_are_one() {
    assert_eq!((get_ident(), main_thread().ident()), (1, Some(1)));
    let thread = Thread::new(|| {
        assert_eq!((get_ident(), current_thread().ident()), (1, Some(1)));
        assert_eq!(current_thread().native_id(), Some(get_native_id()));
        current_thread().set_name("checked");
    });
    assert_eq!((thread.ident(), thread.native_id()), (None, None));
    thread.start().unwrap();
    assert_eq!(
        (thread.name().as_str(), thread.ident()),
        ("checked", Some(1))
    );
}

#[test]
fn dth_5_timeouts_end_at_two_to_the_31() {
    assert_eq!(TIMEOUT_MAX, Duration::from_secs(1 << 31));
    let too_large = Err(Error::TimeoutTooLarge);
    let (lock, rlock) = (Lock::new(), RLock::new());
    let (semaphore, bounded) = (Semaphore::new(1), BoundedSemaphore::new(1));
    let (event, condition) = (Event::new(), Condition::new());
    assert_eq!(lock.acquire_timeout(TOO_LONG), too_large);
    assert_eq!(rlock.acquire_timeout(TOO_LONG), too_large);
    assert_eq!(condition.acquire_timeout(TOO_LONG), too_large);
    assert!(!lock.locked() && !rlock.locked() && !condition.locked());
    assert_eq!(semaphore.acquire_timeout(TOO_LONG), too_large);
    assert_eq!(bounded.acquire_n_timeout(1, TOO_LONG), too_large);
    assert_eq!((semaphore.value(), bounded.value()), (1, 1));
    event.set();
    assert_eq!(event.wait_timeout(TOO_LONG), too_large);
    let _guard = condition.guard();
    assert_eq!(condition.wait_timeout(TOO_LONG), too_large);
    assert_eq!(condition.wait_for_timeout(|| true, TOO_LONG), too_large);
    let thread = Thread::builder().spawn().unwrap();
    assert_eq!(thread.join_timeout(TOO_LONG), too_large);
    assert_eq!(thread.join_timeout(TIMEOUT_MAX), Ok(true));
}

#[test]
fn dth_6_there_is_no_stack_size() {
    assert_eq!(stack_size(), 0);
    for bytes in [1, 32 * 1024, 1 << 20] {
        let error = set_stack_size(bytes).unwrap_err();
        assert_eq!(
            (error, error.kind()),
            (Error::StackSizeFixed, ErrorKind::Runtime)
        );
    }
    assert_eq!((set_stack_size(0), stack_size()), (Ok(0), 0));
    assert!(Thread::builder().stack_size(1 << 20).spawn().is_ok());
    let refused = Thread::builder().stack_size(32_767).build();
    assert_eq!(refused.unwrap_err(), Error::InvalidStackSize);
}

#[test]
fn dth_7_a_thread_is_current_while_it_runs_and_ended_after() {
    let (main, checked) = (main_thread(), Rc::new(Cell::new(0)));
    assert_eq!((main.name().as_str(), main.daemon()), ("MainThread", false));
    assert!(main.is_alive() && main.is_current());
    let nested = {
        let (main, checked) = (main.clone(), checked.clone());
        move || {
            let outer = current_thread();
            assert!(outer.is_alive() && outer.is_current() && !main.is_current());
            assert_eq!(enumerate(), [main.clone(), outer.clone()]);
            assert_eq!(outer.join(), Err(Error::JoinSelf));
            assert_eq!(main.join(), Err(Error::WouldBlockForever));
            assert_eq!(main.join_timeout(SECOND), Ok(false));
            assert_eq!(outer.start(), Err(Error::AlreadyStarted));
            let inner = Thread::new({
                let (main, outer, checked) = (main.clone(), outer.clone(), checked.clone());
                move || {
                    let inner = current_thread();
                    assert_eq!(enumerate(), [main, outer.clone(), inner.clone()]);
                    assert_eq!(active_count(), 3);
                    assert!(inner.daemon(), "inherited");
                    assert_eq!(outer.join(), Err(Error::WouldBlockForever));
                    assert_eq!(outer.join_until(some_day()), Ok(false));
                    checked.set(checked.get() + 1);
                    panic!("{}", "and ends all the same");
                }
            });
            inner.start().unwrap();
            assert_eq!((inner.join(), inner.is_alive()), (Ok(()), false));
            assert_eq!(current_thread(), outer);
            assert_eq!(active_count(), 2);
            checked.set(checked.get() + 1);
        }
    };
    let thread = Thread::builder()
        .name("outer")
        .daemon(true)
        .target(nested)
        .build()
        .unwrap();
    assert_eq!(format!("{thread:?}"), "<Thread(outer, initial daemon)>");
    thread.start().unwrap();
    assert_eq!(format!("{thread:?}"), "<Thread(outer, stopped daemon 1)>");
    assert_eq!(checked.get(), 2);
    assert!(!thread.is_alive() && !thread.is_current());
    assert_eq!(
        (current_thread(), enumerate()),
        (main.clone(), vec![main.clone()])
    );
    assert_eq!(thread.set_daemon(false), Err(Error::DaemonAfterStart));
    assert_eq!(
        (main.start(), main.join()),
        (Err(Error::AlreadyStarted), Err(Error::JoinSelf))
    );
    assert_eq!(main.set_daemon(true), Err(Error::DaemonAfterStart));
}

#[test]
fn dth_7_names_are_counted_in_each_thread_of_the_system() {
    let names = || {
        let named = Thread::builder().name("worker").build().unwrap();
        assert_eq!(named.name(), "worker");
        let target = Thread::builder()
            .name("")
            .target_name("accept")
            .build()
            .unwrap();
        let timer = Timer::new(None, || ());
        [Thread::new(|| ()).name(), target.name(), timer.name()]
    };
    let expected = ["Thread-3", "Thread-1 (accept)", "Thread-2"];
    std::thread::scope(|s| {
        for _ in 0..2 {
            assert_eq!(s.spawn(names).join().unwrap(), expected);
        }
    });
}

#[test]
fn dth_7_a_local_has_a_value_per_thread_until_its_end() {
    let log = Log::default();
    type Words = RefCell<Vec<Dropped>>;
    let local: Rc<Local<Words>> = Rc::new(Local::new(Words::default));
    local.with(|words| words.borrow_mut().push(Dropped(log.clone(), "main's")));
    let thread = Thread::new({
        let (local, log) = (local.clone(), log.clone());
        move || {
            local.with(|words| {
                assert!(words.borrow().is_empty());
                words.borrow_mut().push(Dropped(log.clone(), "thread's"));
            });
            log.add("target");
        }
    });
    thread.start().unwrap();
    assert_eq!(log.take(), ["target", "thread's"]);
    assert_eq!(local.with(|words| words.borrow().len()), 1);
    drop((thread, local));
    assert_eq!(log.take(), ["main's"], "with the local");
}

#[test]
fn dth_7_locals_are_dropped_by_their_thread_after_it_was_unlisted() {
    /// Sets a value in another local when dropped, and panics.
    struct Last(Rc<Local<Option<Dropped>>>, Log);
    impl Drop for Last {
        fn drop(&mut self) {
            assert_eq!(enumerate(), [main_thread()]);
            assert!(current_thread() != main_thread() && current_thread().is_alive());
            let late = Dropped(self.1.clone(), "set by a destructor");
            assert!(self.0.set(Some(late)).is_ok());
            self.1.add("destructor");
            panic!("in a destructor");
        }
    }
    let log = Log::default();
    let late: Rc<Local<_>> = Rc::new(Local::new(|| None));
    let local = Rc::new(Local::new(|| None));
    let thread = Thread::new({
        let (late, local, log) = (late.clone(), local.clone(), log.clone());
        move || assert!(local.set(Some(Last(late, log))).is_ok())
    });
    thread.start().unwrap();
    assert_eq!(log.take(), ["destructor", "set by a destructor"]);
    assert!(!thread.is_alive());
    assert!(
        late.with(Option::is_none) && local.with(Option::is_none),
        "main has its own"
    );
}

#[test]
fn dth_7_a_local_is_not_replaced_while_it_is_lent_out() {
    let local = Local::new(|| 1);
    assert_eq!((local.try_get(), local.take()), (None, Ok(None)));
    let replaced = local.with(|one| {
        assert_eq!((*one, local.get(), local.try_get()), (1, 1, Some(1)));
        [
            local.set(2),
            local.replace(2).map(drop),
            local.take().map(drop),
        ]
    });
    assert_eq!(replaced, [Err(Error::LocalInUse); 3]);
    assert_eq!(local.replace(3), Ok(Some(1)));
    assert_eq!((local.take(), local.get()), (Ok(Some(3)), 1));
}
