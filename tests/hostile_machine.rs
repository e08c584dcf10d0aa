//! A clock that is far ahead, and a single CPU.

#![cfg(not(threadbare_model))]

mod child;
mod common;

use child::{Child, in_child};
use common::{every, watchdog};
use nix::errno::Errno;
use nix::sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, unshare};
use nix::unistd::{Pid, Uid};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::ptr;
use std::time::Duration;
use threadbare::{Deadline, Error, Event, TIMEOUT_MAX, scope, sleep_until};

/// A century, in seconds: what the clock says at least where it is far ahead.
const CENTURY: u64 = 100 * 365 * 24 * 3600;

/// Sets CLOCK_MONOTONIC, for the program that will be loaded, as far ahead as the kernel allows:
/// some 146 years, half of what its nanoseconds can count (time_namespaces(7)).
fn leap() -> std::io::Result<()> {
    let mut flags = CloneFlags::from_bits_retain(libc::CLONE_NEWTIME);
    if !Uid::effective().is_root() {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(flags)?;
    let accepts = |seconds: u64| {
        let mut offsets = File::options()
            .write(true)
            .open("/proc/self/timens_offsets")?;
        // One write: the kernel takes each for a whole setting.
        offsets.write_all(format!("monotonic {seconds} 0\n").as_bytes())
    };
    accepts(CENTURY)?;
    let (mut most, mut too_much) = (CENTURY, TIMEOUT_MAX.as_secs());
    while too_much - most > 1 {
        let middle = most + (too_much - most) / 2;
        match accepts(middle) {
            Ok(()) => most = middle,
            Err(_) => too_much = middle,
        }
    }
    accepts(most)
}

/// Makes the kernel say, to the program that will be loaded, that it runs one CPU only: covers the file
/// of sysfs(5) that libc reads with `file`.
fn hide_cpus(file: &CStr) -> std::io::Result<()> {
    let mut flags = CloneFlags::CLONE_NEWNS;
    if !Uid::effective().is_root() {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(flags)?;
    let mount = |from: *const libc::c_char, to: &CStr, flags| {
        // SAFETY: the paths are strings, and neither flag needs more.
        let result = unsafe { libc::mount(from, to.as_ptr(), ptr::null(), flags, ptr::null()) };
        Errno::result(result).map(drop)
    };
    // What is mounted here stays here.
    mount(ptr::null(), c"/", libc::MS_REC | libc::MS_PRIVATE)?;
    let online = c"/sys/devices/system/cpu/online";
    mount(file.as_ptr(), online, libc::MS_BIND)?;
    Ok(())
}

/// Runs `body` where `change` has changed what a program finds; `None` in that process, or where that
/// may not be.
///
/// # Safety
/// `change` may be called in the child of a fork.
unsafe fn changed(
    change: impl Fn() -> std::io::Result<()> + Clone + Send + Sync + 'static,
    test: &str,
    body: fn(),
) -> Option<Child> {
    // In the child of a fork, as `unshare` changes the process.
    let mut probe = Command::new("true");
    // SAFETY: passed on to the caller.
    unsafe { probe.pre_exec(change.clone()) };
    if let Err(error) = probe.status() {
        eprintln!("skipped: {error}");
        return None;
    }
    let configure = |command: &mut Command| {
        // SAFETY: passed on to the caller.
        unsafe { command.pre_exec(change) };
    };
    Child::run_in(test, configure, body)
}

/// Runs `body` where the clock is far ahead; `None` in that process, or where that may not be.
fn far_ahead(test: &str, body: fn()) -> Option<Child> {
    // SAFETY: system calls, and the allocator, which works there.
    unsafe { changed(leap, test, body) }
}

/// What the clock says.
fn seconds() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is valid for the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    assert_eq!(result, 0);
    now.tv_sec as u64
}

#[test]
fn time_5_with_a_clock_far_ahead_every_wait_ends_when_it_should() {
    let _watchdog = watchdog();
    let test = "time_5_with_a_clock_far_ahead_every_wait_ends_when_it_should";
    let body = || {
        let now = seconds();
        assert!(now >= CENTURY, "the clock says {now} s");
        every::alone();
        every::together();
    };
    if let Some(ended) = far_ahead(test, body) {
        assert!(ended.status.success(), "{ended:?}");
    }
}

#[test]
fn time_4_and_5_with_a_clock_far_ahead_large_timeouts_do_not_overflow() {
    let _watchdog = watchdog();
    let test = "time_4_and_5_with_a_clock_far_ahead_large_timeouts_do_not_overflow";
    let body = || {
        let now = seconds();
        assert!(now >= CENTURY, "the clock says {now} s");
        // The last second that fits, and the first that does not.
        let left = TIMEOUT_MAX.as_secs() - now;
        let reached = Deadline::after(Duration::from_secs(left - 60)).unwrap();
        assert!(reached < Deadline::NEVER && !reached.has_passed());
        let remaining = reached.remaining().unwrap();
        assert!(remaining <= Duration::from_secs(left - 60));
        assert!(remaining >= Duration::from_secs(left - 3600));
        assert_eq!(
            Deadline::after(Duration::from_secs(left + 60)),
            Ok(Deadline::NEVER)
        );
        assert_eq!(Deadline::after(TIMEOUT_MAX), Ok(Deadline::NEVER));
        assert_eq!(
            Deadline::after(TIMEOUT_MAX + Duration::from_secs(1)),
            Err(Error::TimeoutTooLarge)
        );
        assert_eq!(reached.saturating_add(TIMEOUT_MAX), Deadline::NEVER);
        // Waits with such timeouts sleep, and are woken.
        for timeout in [Duration::from_secs(left - 60), TIMEOUT_MAX] {
            let event = Event::new();
            scope(|s| {
                let waits = s.spawn(|| event.wait_timeout(timeout));
                common::until(|| event.has_waiters());
                event.set();
                assert_eq!(waits.join().unwrap(), Ok(true));
            });
        }
        let soon = Deadline::now().saturating_add(Duration::from_millis(5));
        sleep_until(soon);
        assert!(soon.has_passed());
    };
    if let Some(ended) = far_ahead(test, body) {
        assert!(ended.status.success(), "{ended:?}");
    }
}

/// Keeps the process on one CPU. Whoever spins for another there spins in vain until its time slice is
/// over.
fn stay_on_one_cpu() {
    let own = Pid::from_raw(0);
    let allowed = sched_getaffinity(own).unwrap();
    let first = (0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu).unwrap());
    let mut single = CpuSet::new();
    single.set(first.unwrap()).unwrap();
    sched_setaffinity(own, &single).unwrap();
    assert_eq!(sched_getaffinity(own).unwrap(), single);
}

#[test]
fn on_a_single_cpu_of_many_everything_works() {
    let _watchdog = watchdog();
    in_child("on_a_single_cpu_of_many_everything_works", || {
        stay_on_one_cpu();
        every::alone();
        (0..3).for_each(|_| every::together());
    });
}

#[test]
fn with_a_single_cpu_everything_works() {
    let _watchdog = watchdog();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("a_single_cpu");
    std::fs::write(&file, "0\n").unwrap();
    let file = CString::new(file.into_os_string().into_vec()).unwrap();
    let body = || {
        assert_eq!(threadbare_sys::sched::cpus(), 1);
        stay_on_one_cpu();
        every::alone();
        (0..3).for_each(|_| every::together());
    };
    let hide = move || hide_cpus(&file);
    // SAFETY: system calls only.
    let ended = unsafe { changed(hide, "with_a_single_cpu_everything_works", body) };
    if let Some(ended) = ended {
        assert!(ended.status.success(), "{ended:?}");
    }
}
