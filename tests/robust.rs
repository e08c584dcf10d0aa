//! Starts and ends under want: crowds of threads, starts that are refused half-way, and what is left
//! of them: nothing.

#![cfg(not(threadbare_model))]

mod child;
mod common;

use child::{Child, in_child};
use common::{until, watchdog};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Uid, setuid};
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use threadbare::{Error, Event, Thread, active_count, enumerate, set_stack_cache};

/// The smallest stack, for crowds.
const SMALL: usize = 32 * 1024;

/// What an idle thread takes, of the kernel's memory and this process's, generously.
const THREAD_COST: u64 = 40 * 1024;

/// Crowds take turns: there are only so many thread ids.
static TURN: Mutex<()> = Mutex::new(());

/// A thread on a stack of this size that waits for `go`.
fn waiter(go: &Arc<Event>, stack: usize) -> Thread {
    let go = go.clone();
    let thread = Thread::builder().daemon(true).stack_size(stack);
    thread.target(move || go.wait()).build().unwrap()
}

/// What a process holds of what could leak.
#[derive(Debug, PartialEq, Eq)]
struct Holdings {
    mappings: usize,
    descriptors: usize,
    tasks: usize,
    listed: usize,
}

impl Holdings {
    fn now() -> Holdings {
        Holdings {
            mappings: child::mappings(),
            descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
            tasks: child::tasks(),
            listed: enumerate().len(),
        }
    }

    /// Fails if there is more now; less, as the allocator gives something back, is fine.
    #[track_caller]
    fn check(&self) {
        until(|| child::tasks() <= self.tasks); // /proc shows joined threads a moment longer
        let now = Holdings::now();
        assert_eq!(now.listed, active_count());
        assert_eq!(now.listed, self.listed, "{now:?}");
        assert_eq!(now.descriptors, self.descriptors, "{now:?}");
        assert!(
            now.mappings <= self.mappings + 2,
            "{now:?}, {self:?} before"
        );
    }
}

/// A number in a file of the kernel's; `None` if it is not there, or says `max`.
fn limit(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The limit `name` of the control groups that this process is in, where it can be found.
fn group_limit(controller: &str, name: &str) -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let of = |line: &str| -> Option<u64> {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let root = match controllers {
            "" => "/sys/fs/cgroup".to_owned(),
            some if some.split(',').any(|it| it == controller) => {
                format!("/sys/fs/cgroup/{controller}")
            }
            _ => return None,
        };
        // A group may be bounded by any above it; inside a container the root is the group itself.
        let ancestors = std::path::Path::new(path).ancestors();
        let here = |at: &std::path::Path| limit(&format!("{root}{}/{name}", at.display()));
        ancestors.filter_map(here).min()
    };
    groups.lines().filter_map(of).min()
}

/// Why this machine does not allow `count` threads, if it does not.
fn too_many(count: u64) -> Option<String> {
    let with_room = count + 500;
    // "… running/all …", of the whole machine.
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    let ids_taken = load.split(['/', ' ']).nth(4).unwrap();
    let ids_taken: u64 = ids_taken.parse().unwrap();
    let (soft, _) = getrlimit(Resource::RLIMIT_NPROC).unwrap();
    let memory = fs::read_to_string("/proc/meminfo").unwrap();
    let available = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let available = available.and_then(|line| line.trim().strip_suffix(" kB"));
    let available: u64 = available.unwrap().parse().unwrap();
    let of_memory = |bytes: Option<u64>| bytes.map(|bytes| bytes / THREAD_COST);
    [
        (
            "pid_max",
            limit("/proc/sys/kernel/pid_max").map(|max| max.saturating_sub(ids_taken)),
        ),
        ("threads-max", limit("/proc/sys/kernel/threads-max")),
        (
            "RLIMIT_NPROC",
            (!Uid::effective().is_root()).then_some(soft),
        ),
        (
            "the control group's pids.max",
            group_limit("pids", "pids.max"),
        ),
        ("free memory", of_memory(Some(available * 1024))),
        (
            "the control group's memory",
            of_memory(group_limit("memory", "memory.max")),
        ),
        (
            "the control group's memory",
            of_memory(group_limit("memory", "memory.limit_in_bytes")),
        ),
    ]
    .into_iter()
    .find(|(_, most)| most.is_some_and(|most| most < with_room))
    .map(|(what, most)| format!("{what} allows {}", most.unwrap_or(0)))
}

/// Brings about whatever is set up once. The allocator's pools for threads are not our matter.
fn warm_up() {
    let go = Arc::new(Event::new());
    let threads: Vec<_> = (0..200).map(|_| waiter(&go, SMALL)).collect();
    threads.iter().for_each(|thread| thread.start().unwrap());
    go.set();
    threads.iter().for_each(|thread| thread.join().unwrap());
    set_stack_cache(0);
}

/// Has `count` threads alive at once, ends and joins them all, and compares what is left.
fn crowd(count: usize) {
    if let Some(reason) = too_many(count as u64) {
        eprintln!("skipped: {count} threads at once: {reason}");
        return;
    }
    warm_up();
    let before = Holdings::now();
    let begin = Instant::now();
    let go = Arc::new(Event::new());
    let threads: Vec<Thread> = (0..count).map(|_| waiter(&go, SMALL)).collect();
    for (number, thread) in threads.iter().enumerate() {
        if let Err(error) = thread.start() {
            panic!("thread {number}: {error}");
        }
    }
    assert_eq!(active_count(), before.listed + count);
    assert!(enumerate()[before.listed..] == threads[..]);
    assert!(threads.iter().all(Thread::is_alive));
    // Stacks lie together: far from one mapping each.
    let mappings = child::mappings();
    assert!(
        mappings < before.mappings + count / 20 + 50,
        "{mappings} mappings"
    );
    let resident = child::resident() >> 10;
    go.set();
    for thread in threads {
        thread.join().unwrap();
    }
    let took = begin.elapsed();
    eprintln!("{count} threads at once: {took:?}, {resident} KiB resident, {mappings} mappings");
    set_stack_cache(0);
    before.check();
}

/// Runs `body` in a process of its own and passes on what it says.
fn reported(test: &str, body: fn()) {
    if let Some(ended) = Child::run(test, body) {
        assert!(ended.status.success(), "{ended:?}");
        eprint!("{}", ended.stderr);
    }
}

#[test]
fn twenty_thousand_threads_live_at_once_and_leave_nothing() {
    let _turn = TURN.lock();
    let _watchdog = watchdog();
    reported(
        "twenty_thousand_threads_live_at_once_and_leave_nothing",
        || {
            crowd(20_000);
        },
    );
}

#[test]
fn thirty_thousand_threads_live_at_once_where_the_machine_allows() {
    let _turn = TURN.lock();
    let _watchdog = watchdog();
    reported(
        "thirty_thousand_threads_live_at_once_where_the_machine_allows",
        || {
            crowd(30_000);
        },
    );
}

/// Starts threads until one is refused, three times over; after each time they can go on.
fn until_refused(stack: usize, at_least: usize, errno: i32) {
    let before = Holdings::now();
    for _ in 0..3 {
        let go = Arc::new(Event::new());
        let mut alive = Vec::new();
        let refused = loop {
            assert!(alive.len() < 100_000, "there is no limit");
            let thread = waiter(&go, stack);
            match thread.start() {
                Ok(()) => alive.push(thread),
                Err(error) => break (thread, error),
            }
        };
        let (thread, error) = refused;
        assert!(alive.len() >= at_least, "{} threads", alive.len());
        let Error::Start(os) = error else {
            panic!("{error}")
        };
        assert_eq!(os.raw_os_error(), errno, "{error}");
        assert_eq!(active_count(), before.listed + alive.len());
        assert!(!enumerate().contains(&thread) && thread.ident().is_none());
        for _ in 0..50 {
            assert_eq!(thread.start(), Err(error), "again");
        }
        assert_eq!(
            Arc::strong_count(&go),
            alive.len() + 2,
            "targets are kept, and once"
        );
        go.set();
        for thread in &alive {
            thread.join().unwrap();
        }
        // There is room now.
        thread.start().unwrap();
        thread.join().unwrap();
        assert_eq!(Arc::strong_count(&go), 1);
        before.check();
    }
}

#[test]
fn thr_9_the_start_that_exceeds_the_number_of_processes_leaves_nothing() {
    let _turn = TURN.lock();
    let _watchdog = watchdog();
    in_child(
        "thr_9_the_start_that_exceeds_the_number_of_processes_leaves_nothing",
        || {
            warm_up();
            // The limit holds for users other than root, and counts all that the user has.
            let (_, hard) = getrlimit(Resource::RLIMIT_NPROC).unwrap();
            let most = if Uid::effective().is_root() {
                setuid(Uid::from_raw(61_234)).unwrap();
                300
            } else {
                let own = child::tasks() as u64;
                eprintln!("not root: other processes of this user count too");
                own + 5_000
            };
            setrlimit(Resource::RLIMIT_NPROC, most, hard).unwrap();
            until_refused(SMALL, if most == 300 { 290 } else { 1 }, libc::EAGAIN);
        },
    );
}

#[test]
fn thr_9_the_start_that_exceeds_the_address_space_leaves_nothing() {
    let _turn = TURN.lock();
    let _watchdog = watchdog();
    in_child(
        "thr_9_the_start_that_exceeds_the_address_space_leaves_nothing",
        || {
            warm_up();
            let (_, hard) = getrlimit(Resource::RLIMIT_AS).unwrap();
            let room = child::mapped() as u64 + (1 << 30);
            setrlimit(Resource::RLIMIT_AS, room, hard).unwrap();
            // Large ones, so that what is too little for a stack is enough for the allocator,
            // without which neither Rust's nor libc's code goes on.
            until_refused(16 << 20, 50, libc::ENOMEM);
        },
    );
}
