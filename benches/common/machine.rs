//! The CPUs, who else uses them, and what the process takes.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::fs;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

static UNPINNED: AtomicBool = AtomicBool::new(false);

/// Leaves threads where the kernel puts them.
pub fn unpin() {
    UNPINNED.store(true, Relaxed);
}

/// The CPUs that the process could use when it was first asked.
pub fn cpus() -> &'static [usize] {
    static CPUS: OnceLock<Vec<usize>> = OnceLock::new();
    CPUS.get_or_init(|| {
        let set = sched_getaffinity(Pid::from_raw(0)).expect("the CPUs of this process");
        let is_ours = |cpu: &usize| set.is_set(*cpu).unwrap_or(false);
        (0..CpuSet::count()).filter(is_ours).collect()
    })
}

/// Binds the calling thread to one CPU, in turn: thread 0 to the first, 1 to the second.
pub fn pin(thread: usize) {
    if UNPINNED.load(Relaxed) {
        return;
    }
    let mut set = CpuSet::new();
    set.set(cpus()[thread % cpus().len()]).expect("a CPU");
    sched_setaffinity(Pid::from_raw(0), &set).expect("a CPU of this process");
}

/// Processor time, in clock ticks: of all CPUs (what a hypervisor took included), and of this process
/// with its children that have ended. A server that a bench measures counts among the others.
#[derive(Clone, Copy)]
pub struct Usage {
    all: f64,
    ours: f64,
    machine: usize,
}

impl Usage {
    pub fn now() -> Usage {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        // The sum, and then a line for each CPU.
        let cpus = stat.lines().filter(|line| line.starts_with("cpu")).count();
        let first = stat.lines().next().unwrap_or_default();
        let ticks = first
            .split_whitespace()
            .skip(1)
            .map(|text| text.parse().unwrap_or(0.0));
        // user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in user.
        let busy = ticks
            .take(8)
            .enumerate()
            .filter(|(kind, _)| !matches!(kind, 3 | 4));
        let own = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // Behind the name, which may contain anything: state is the first, utime the 12th.
        let after_name = own.rsplit(')').next().unwrap_or_default();
        let of_self = after_name.split_whitespace().skip(11).take(4);
        Usage {
            all: busy.map(|(_, ticks)| ticks).sum(),
            ours: of_self.map(|text| text.parse().unwrap_or(0.0)).sum(),
            machine: cpus.saturating_sub(1).max(1),
        }
    }

    /// What share of the machine others have used until `later`, in `time`; 0.0 to 1.0.
    pub fn by_others_until(self, later: Usage, time: Duration) -> f64 {
        const TICKS_PER_SECOND: f64 = 100.0;
        let others = (later.all - self.all) - (later.ours - self.ours);
        (others / TICKS_PER_SECOND / time.as_secs_f64() / self.machine as f64).clamp(0.0, 1.0)
    }
}

/// Memory that the process has in RAM, in KiB.
pub fn resident_kib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or(f64::NAN)
}

/// How many mappings the process has.
pub fn mappings() -> f64 {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().count() as f64
}
