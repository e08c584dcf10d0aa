//! Threads with whatever settings, and what they see of them (THR, MOD-11 to MOD-14).

use arbitrary::{Arbitrary, Result, Unstructured};
use std::collections::BTreeSet;
use std::fs;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use threadbare::{
    Builder, Error, Scheduling, Signals, Thread, current_thread, enumerate, get_ident,
    get_native_id, set_stack_cache, set_stack_size, stack_size,
};
use threadbare_sys::stack::{Layout, MIN_STACK, PACKET_LEN, Slab};

/// What `stack_size() == 0` stands for.
const DEFAULT_STACK: usize = 2 << 20;

/// Stacks up to here must be had; above, the system may say no.
const MODEST: usize = 1 << 32;

/// How much of a stack is written to at most.
const DUG: usize = 512 << 10;

/// What the frames take by which the writing of a stack may overshoot.
const FRAMES: usize = 8 << 10;

/// Threads of an input, so that none takes long.
const MOST_THREADS: usize = 12;

/// Some threads, one after the other.
pub fn builder(data: &[u8]) {
    let mut bytes = Unstructured::new(data);
    let tasks = tasks();
    // It ends where the bytes do.
    for _ in 0..MOST_THREADS {
        if bytes.is_empty() || step(&mut bytes).is_err() {
            break;
        }
    }
    set_stack_size(0).unwrap();
    set_stack_cache(32 << 20);
    // The kernel forgets a thread a little after it was joined, and those that were refused when
    // they have ended.
    let patience = Instant::now() + Duration::from_secs(20);
    while !self::tasks().is_subset(&tasks) {
        assert!(Instant::now() < patience, "a thread is left");
        std::thread::yield_now();
    }
}

fn step(bytes: &mut Unstructured) -> Result<()> {
    match bytes.int_in_range(0..=7)? {
        0 => {
            layout(size(bytes)?);
        }
        1 => global_size(size(bytes)?),
        2 => {
            let most = size(bytes)?;
            set_stack_cache(most);
            assert_eq!(set_stack_cache(most), most);
        }
        _ => Asked::choose(bytes)?.run(),
    }
    Ok(())
}

/// The threads of this process that the kernel knows.
fn tasks() -> BTreeSet<String> {
    let entries = fs::read_dir("/proc/self/task").unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    entries
        .map(|entry| name(entry).into_string().unwrap())
        .collect()
}

/// Any size, or one about a limit.
fn size(bytes: &mut Unstructured) -> Result<usize> {
    let about = match bytes.int_in_range(0..=7)? {
        0 => 0,
        1 => MIN_STACK,
        2 => 64 << 10,
        3 => 1 << bytes.int_in_range(0..=47)?,
        4 => usize::MAX,
        5 => usize::MAX / 2,
        6 => bytes.int_in_range(0..=1 << 20)?,
        _ => bytes.arbitrary()?,
    };
    let by = match bytes.int_in_range(0..=3)? {
        0 => bytes.arbitrary::<i8>()?,
        by => by - 2,
    };
    Ok(about.saturating_add_signed(by.into()))
}

/// What is laid out for a size has room for it.
fn layout(usable: usize) -> bool {
    let Some(layout) = Layout::for_usable(usable) else {
        assert!(usable < MIN_STACK || usable > 1 << 45, "{usable}");
        return false;
    };
    assert!(usable >= MIN_STACK);
    // SAFETY: no precondition.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let (slot, writable) = (layout.slot_len(), layout.writable_len());
    assert_eq!((slot % page, writable % page), (0, 0));
    assert!(slot <= 1 << 46 && writable < slot);
    assert_eq!(slot - writable, 2 * page, "a guard for each of two stacks");
    assert!(writable >= usable + PACKET_LEN);
    if usable <= MODEST {
        let slab = Slab::new(layout, 2).unwrap();
        let regions = [slab.region(0), slab.region(1)];
        for region in &regions {
            assert!(region.stack().len() >= usable);
            assert_eq!(region.guard().end, region.stack().start);
            assert_eq!(region.guard().len(), page);
        }
        assert_eq!(regions[1].stack().start - regions[0].stack().start, slot);
    }
    true
}

fn is_too_small(size: usize) -> bool {
    (1..32_768).contains(&size)
}

fn global_size(size: usize) {
    let before = stack_size();
    let result = set_stack_size(size);
    if is_too_small(size) {
        assert_eq!(result, Err(Error::InvalidStackSize));
        assert_eq!(stack_size(), before);
    } else {
        assert_eq!(result, Ok(before));
        assert_eq!(stack_size(), size);
    }
}

/// What a builder is asked for.
#[derive(Clone, Debug, Default)]
struct Asked {
    name: Option<String>,
    target_name: Option<String>,
    daemon: Option<bool>,
    stack_size: usize,
    cpus: Option<Vec<usize>>,
    scheduling: Scheduling,
    signals: Signals,
}

/// What a thread sees of itself.
#[derive(Debug, PartialEq)]
struct Seen {
    ident: u64,
    native_id: u32,
    name: String,
    comm: Vec<u8>,
    daemon: bool,
    /// Whether a thread that it makes is a daemon.
    heir: bool,
    cpus: BTreeSet<usize>,
    /// Policy and priority.
    scheduling: (i32, i32),
    blocked: Vec<i32>,
    usable: usize,
}

impl Asked {
    fn choose(bytes: &mut Unstructured) -> Result<Asked> {
        // Each is most often left out, or many things would be refused together.
        let mut asked = Asked::default();
        if bytes.ratio(1, 2)? {
            asked.name = Some(text(bytes)?);
        }
        if bytes.ratio(1, 4)? {
            asked.target_name = Some(text(bytes)?);
        }
        if bytes.ratio(1, 2)? {
            asked.daemon = Some(bytes.arbitrary()?);
        }
        if bytes.ratio(1, 2)? {
            asked.stack_size = size(bytes)?;
        }
        if bytes.ratio(1, 4)? {
            asked.cpus = Some(cpu_numbers(bytes)?);
        }
        if bytes.ratio(1, 4)? {
            asked.scheduling = match bytes.int_in_range(0..=3)? {
                0 => Scheduling::Other,
                1 => Scheduling::Fifo(bytes.int_in_range(0..=101)?),
                2 => Scheduling::RoundRobin(bytes.int_in_range(0..=101)?),
                _ => Scheduling::Fifo(bytes.arbitrary()?),
            };
        }
        if bytes.ratio(1, 4)? {
            asked.signals = Signals::BlockAll;
        }
        Ok(asked)
    }

    fn builder(&self) -> Builder {
        let mut builder = Thread::builder()
            .stack_size(self.stack_size)
            .scheduling(self.scheduling)
            .signals(self.signals);
        if let Some(name) = &self.name {
            builder = builder.name(name);
        }
        if let Some(name) = &self.target_name {
            builder = builder.target_name(name);
        }
        if let Some(daemon) = self.daemon {
            builder = builder.daemon(daemon);
        }
        if let Some(cpus) = &self.cpus {
            builder = builder.affinity(cpus.iter().copied());
        }
        assert!(format!("{builder:?}").starts_with("Builder { name: "));
        builder
    }

    /// The bytes that the thread's own frames may take.
    fn usable(&self) -> usize {
        match (self.stack_size, stack_size()) {
            (0, 0) => DEFAULT_STACK,
            (0, size) | (size, _) => size,
        }
    }

    /// The errors with which the start may be refused; whether it may succeed.
    fn outcome(&self) -> (Vec<i32>, bool) {
        let mut errors = Vec::new();
        if self.usable() > 1 << 45 {
            errors.push(libc::ENOMEM);
        }
        if let Some(cpus) = &self.cpus {
            let mine = cpus_of_this_thread();
            if cpus.is_empty() || cpus.iter().any(|cpu| !mine.contains(cpu)) {
                errors.push(libc::EINVAL);
            }
        }
        if let Scheduling::Fifo(priority) | Scheduling::RoundRobin(priority) = self.scheduling {
            if !(1..=99).contains(&priority) {
                errors.push(libc::EINVAL);
            } else if !may_be_real_time() {
                errors.push(libc::EPERM);
            }
        }
        let may_succeed = errors.is_empty() || errors == [libc::ENOMEM] && layout(self.usable());
        if self.usable() > MODEST && errors.is_empty() {
            errors.push(libc::ENOMEM);
        }
        (errors, may_succeed)
    }

    fn run(&self) {
        let seen = Arc::new(Mutex::new(None));
        let target = {
            let (seen, usable) = (seen.clone(), self.usable());
            move || *seen.lock().unwrap() = Some(Seen::look(usable))
        };
        let mine = Seen::look(0);
        let before = enumerate();
        let built = self.builder().target(target).build();
        if is_too_small(self.stack_size) {
            assert_eq!(built.unwrap_err(), Error::InvalidStackSize);
            assert_eq!(Arc::strong_count(&seen), 1, "the target is gone");
            return;
        }
        let thread = built.unwrap();
        self.is_named(&thread.name());
        assert_eq!(
            thread.daemon(),
            self.daemon.unwrap_or(current_thread().daemon())
        );
        let (errors, may_succeed) = self.outcome();
        match thread.start() {
            Ok(()) => {
                assert!(may_succeed, "{self:?} was not refused");
                thread.join().unwrap();
                let seen = seen.lock().unwrap().take().expect("it did not run");
                self.has_been_given(&thread, &seen, &mine);
                assert_eq!(thread.start(), Err(Error::AlreadyStarted));
            }
            Err(Error::Start(refused)) => {
                assert!(
                    errors.contains(&refused.raw_os_error()),
                    "{refused:?}: {self:?}"
                );
                assert_eq!(thread.join(), Err(Error::NotStarted));
                assert_eq!((thread.ident(), thread.native_id()), (None, None));
                assert_eq!(Arc::strong_count(&seen), 2, "the target is back");
                assert!(seen.lock().unwrap().is_none());
                // What was not started can still be run, here.
                thread.run().unwrap();
                let seen = seen.lock().unwrap().take().expect("it did not run");
                assert_eq!(seen.ident, mine.ident);
            }
            Err(error) => panic!("{error}: {self:?}"),
        }
        assert!(!thread.is_alive());
        assert_eq!(Arc::strong_count(&seen), 1, "the target is gone");
        assert_eq!(Seen::look(0), mine, "the caller is as it was");
        assert_eq!(enumerate().len(), before.len());
    }

    fn is_named(&self, name: &str) {
        match (&self.name, &self.target_name) {
            (Some(given), _) if !given.is_empty() => assert_eq!(name, given),
            (_, target) => {
                let rest = name.strip_prefix("Thread-").expect("a default name");
                let digits = match target {
                    Some(target) => rest.strip_suffix(&format!(" ({target})")),
                    None => Some(rest),
                };
                assert!(digits.unwrap().parse::<u64>().is_ok(), "{name}");
            }
        }
    }

    fn has_been_given(&self, thread: &Thread, seen: &Seen, mine: &Seen) {
        assert_eq!(thread.ident(), Some(seen.ident));
        assert_ne!(seen.ident, mine.ident);
        assert_eq!(thread.native_id(), Some(seen.native_id));
        assert_eq!(seen.name, thread.name());
        // What no one has chosen is not told to the kernel.
        let is_chosen =
            self.target_name.is_some() || self.name.as_ref().is_some_and(|it| !it.is_empty());
        let comm = if is_chosen {
            cut(&seen.name)
        } else {
            mine.comm.clone()
        };
        assert_eq!(seen.comm, comm, "{self:?}");
        assert_eq!((seen.daemon, seen.heir), (thread.daemon(), thread.daemon()));
        let cpus = self.cpus.iter().flatten().copied().collect();
        let cpus: BTreeSet<usize> = if self.cpus.is_some() {
            cpus
        } else {
            mine.cpus.clone()
        };
        assert_eq!(seen.cpus, cpus);
        let scheduling = match self.scheduling {
            Scheduling::Other => (libc::SCHED_OTHER, 0),
            Scheduling::Fifo(priority) => (libc::SCHED_FIFO, priority.into()),
            Scheduling::RoundRobin(priority) => (libc::SCHED_RR, priority.into()),
            _ => mine.scheduling,
        };
        assert_eq!(seen.scheduling, scheduling);
        if self.signals == Signals::Inherit {
            assert_eq!(seen.blocked, mine.blocked);
        } else {
            assert!(
                [libc::SIGTERM, libc::SIGINT, libc::SIGUSR1, 64]
                    .iter()
                    .all(|signal| seen.blocked.contains(signal))
            );
            assert!(!seen.blocked.contains(&libc::SIGSEGV));
        }
        // What libc asks for is more than it needs, by far more than the frames up to the target.
        assert!(
            seen.usable >= self.usable(),
            "{} usable: {self:?}",
            seen.usable
        );
    }
}

impl Seen {
    /// What the calling thread sees; `usable` bytes of its stack are tried, or some of them.
    fn look(usable: usize) -> Seen {
        let this = current_thread();
        let native_id = get_native_id();
        let comm = fs::read(format!("/proc/self/task/{native_id}/comm")).unwrap();
        Seen {
            ident: get_ident(),
            native_id,
            name: this.name(),
            comm: comm.strip_suffix(b"\n").unwrap().to_vec(),
            daemon: this.daemon(),
            heir: Thread::builder().build().unwrap().daemon(),
            cpus: cpus_of_this_thread(),
            scheduling: scheduling(),
            blocked: blocked(),
            usable: if usable == 0 { 0 } else { dig(usable) },
        }
    }
}

/// Names: any, those about the length that the kernel takes, some with NULs and wide characters.
fn text(bytes: &mut Unstructured) -> Result<String> {
    if bytes.arbitrary()? {
        let length = bytes.int_in_range(0..=20)?;
        let pieces = ["a", "b", " ", "\0", "é", "€", "𝄞", "\n"];
        return (0..length)
            .map(|_| bytes.choose(&pieces).copied())
            .collect();
    }
    bytes.arbitrary()
}

/// What the kernel is told of a name: its beginning, in whole characters.
fn cut(name: &str) -> Vec<u8> {
    let mut kept = Vec::new();
    for character in name.chars() {
        let mut buffer = [0; 4];
        let encoded = character.encode_utf8(&mut buffer).as_bytes();
        if character == '\0' || kept.len() + encoded.len() > 15 {
            break;
        }
        kept.extend(encoded);
    }
    kept
}

fn cpu_numbers(bytes: &mut Unstructured) -> Result<Vec<usize>> {
    let mine: Vec<usize> = cpus_of_this_thread().into_iter().collect();
    let count = bytes.int_in_range(0..=4)?;
    let choose = |_| match u8::arbitrary(bytes)? {
        0..16 => bytes.arbitrary(),
        16..32 => bytes.int_in_range(0..=8200),
        _ => bytes.choose(&mine).copied(),
    };
    (0..count).map(choose).collect()
}

fn cpus_of_this_thread() -> BTreeSet<usize> {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: there is room for a set of this size.
    let result = unsafe { libc::sched_getaffinity(0, size_of_val(&set), set.as_mut_ptr()) };
    assert_eq!(result, 0);
    // SAFETY: all bits are valid, and were zero at first.
    let set = unsafe { set.assume_init() };
    let has = |cpu: &usize| {
        // SAFETY: the number is below the set's size.
        unsafe { libc::CPU_ISSET(*cpu, &set) }
    };
    (0..libc::CPU_SETSIZE as usize).filter(has).collect()
}

fn scheduling() -> (i32, i32) {
    // SAFETY: no precondition.
    let policy = unsafe { libc::sched_getscheduler(0) };
    let mut parameter = libc::sched_param { sched_priority: -1 };
    // SAFETY: the parameter is there to be written.
    let result = unsafe { libc::sched_getparam(0, &mut parameter) };
    assert_eq!(result, 0);
    (policy, parameter.sched_priority)
}

fn may_be_real_time() -> bool {
    static MAY: OnceLock<bool> = OnceLock::new();
    let ask = || {
        let parameter = libc::sched_param { sched_priority: 99 };
        // SAFETY: sets what the calling thread alone has.
        unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &parameter) == 0 }
    };
    *MAY.get_or_init(|| std::thread::spawn(ask).join().unwrap())
}

fn blocked() -> Vec<i32> {
    let mut mask = MaybeUninit::uninit();
    // SAFETY: nothing is set, and there is room for the mask.
    let result =
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), mask.as_mut_ptr()) };
    assert_eq!(result, 0);
    // SAFETY: the call has stored the mask.
    let mask = unsafe { mask.assume_init() };
    let has = |signal: &i32| {
        // SAFETY: the set is valid and the number a signal's.
        unsafe { libc::sigismember(&mask, *signal) == 1 }
    };
    (1..=64).filter(has).collect()
}

/// Bytes of the stack below this frame. `usable` of them are written to, less what others have
/// taken, or [`DUG`].
#[inline(never)]
fn dig(usable: usize) -> usize {
    let here = black_box(0_u8);
    let here = std::ptr::from_ref(&here) as usize;
    dig_to(here - usable.min(DUG).saturating_sub(FRAMES));
    here - stack_start()
}

/// Makes frames until one is below `address`.
#[inline(never)]
fn dig_to(address: usize) -> u8 {
    let page = black_box([address as u8; 512]);
    if (std::ptr::from_ref(&page) as usize) < address {
        return page[0];
    }
    dig_to(address).wrapping_add(page[address % 512])
}

/// The lowest address of the calling thread's stack.
fn stack_start() -> usize {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: the thread is the calling one, and there is room for its attributes.
    let result = unsafe { libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) };
    assert_eq!(result, 0);
    let (mut start, mut length) = (std::ptr::null_mut(), 0);
    // SAFETY: the call above has stored the attributes.
    let result =
        unsafe { libc::pthread_attr_getstack(attributes.as_ptr(), &mut start, &mut length) };
    assert_eq!(result, 0);
    // SAFETY: they are not used any more.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    start as usize
}
