//! The page: how the goals stand, the plots, all ratios.

use crate::goals;
use crate::samples::{Samples, of_cpus};
use crate::stats::{Estimate, ratios};
use std::fmt::Write;
use std::process::Command;

const GRID: &str = "contended";
const WAITS: &str = "latency";

/// What is written around the tables.
pub fn write(samples: &Samples, plots: &[(String, String)], command: &str) -> String {
    let mut page = String::new();
    let goals = goals::all(samples);
    let _ = write!(
        page,
        "# Benchmarks\n\n\
         {}\n\n\
         Written by `{command}`; what each bench does, and why, stands at the head of its file in \
         [`benches`](../benches). Contenders were measured in turns, one round after the other. A ratio \
         is the median over the rounds of what both had in the same round, and stands with an interval \
         in which the true median lies with 95 % or more, whatever the distribution. Of times less is \
         better, of throughput more.\n\n\
         ## Goals\n\n\
         A goal is not met if the whole interval is beyond it.\n\n\
         | what | ratio | interval | goal | |\n|---|---|---|---|---|\n",
        machine(samples)
    );
    for goal in &goals {
        let Estimate { median, low, high } = goal.ratio;
        let _ = writeln!(
            page,
            "| {} | {} | {} to {} | {} | {} |",
            goal.what,
            digits(median),
            digits(low),
            digits(high),
            goal.bound(),
            goal.verdict()
        );
    }
    for (file, title) in plots {
        let _ = write!(page, "\n![{title}](benchmarks/{file})\n");
    }
    let mut cpus = samples
        .series
        .iter()
        .map(|series| series.cpus)
        .collect::<Vec<_>>();
    cpus.sort_unstable();
    cpus.dedup();
    for cpus in cpus.into_iter().rev() {
        let _ = write!(page, "\n## On {}\n", of_cpus(cpus));
        let mut benches: Vec<&str> = Vec::new();
        for series in samples.series.iter().filter(|series| series.cpus == cpus) {
            if !benches.contains(&series.bench.as_str()) {
                benches.push(&series.bench);
            }
        }
        for bench in benches {
            let _ = write!(page, "\n### {bench}\n");
            match bench {
                GRID => grid(&mut page, samples, cpus),
                WAITS => waits(&mut page, samples, cpus),
                _ => groups(&mut page, samples, cpus, bench),
            }
        }
    }
    let noise: Vec<String> = samples
        .noise()
        .map(|(bench, share)| format!("{bench} {share:.0} %"))
        .collect();
    let _ = write!(
        page,
        "\n## Noise\n\nShare of the machine that others used meanwhile: {}.\n",
        noise.join(", ")
    );
    page
}

/// All metrics of each group's contenders, and the first one's ratio to each.
fn groups(page: &mut String, samples: &Samples, cpus: u64, bench: &str) {
    for group in samples.groups(cpus, bench) {
        let contenders = samples.contenders(cpus, bench, group);
        let Some(first) = contenders.first() else {
            continue;
        };
        let in_group = samples
            .series
            .iter()
            .filter(|series| series.cpus == cpus && series.bench == bench && series.group == group);
        let _ = write!(
            page,
            "\n| {group} | | median | {first} is … of it | interval |\n|---|---|---|---|---|\n"
        );
        for series in in_group {
            let Some(found) = Estimate::of(&series.values) else {
                continue;
            };
            let base = samples.values(cpus, bench, group, first, &series.metric);
            let ratio = (series.contender != *first)
                .then(|| Estimate::of(&ratios(&base, &series.values)))
                .flatten();
            let (ratio, interval) = ratio.map_or_else(Default::default, |ratio| {
                let interval = format!("{} to {}", digits(ratio.low), digits(ratio.high));
                (digits(ratio.median), interval)
            });
            let (contender, metric, median) =
                (&series.contender, &series.metric, digits(found.median));
            let _ = writeln!(
                page,
                "| {contender} | {metric} | {median} | {ratio} | {interval} |"
            );
        }
    }
}

/// Throughput of each contender by std's.
fn grid(page: &mut String, samples: &Samples, cpus: u64) {
    const STD: &str = "std::sync::Mutex";
    let groups = samples.groups(cpus, GRID);
    let Some(first) = groups.first() else { return };
    let contenders = samples.contenders(cpus, GRID, first);
    let others: Vec<_> = contenders.into_iter().filter(|one| *one != STD).collect();
    let _ = write!(
        page,
        "\nThroughput, as a ratio to that of `std::sync::Mutex`, whose own is in the last column.\n\n\
         | | {} | std, million a second |\n|---{}|---|\n",
        others.join(" | "),
        "|---".repeat(others.len())
    );
    for group in groups {
        let base = samples.values(cpus, GRID, group, STD, "1/s");
        let cell = |who: &&str| {
            let values = samples.values(cpus, GRID, group, who, "1/s");
            Estimate::of(&ratios(&values, &base)).map_or_else(String::new, |ratio| {
                format!(
                    "{} ({} to {})",
                    digits(ratio.median),
                    digits(ratio.low),
                    digits(ratio.high)
                )
            })
        };
        let cells: Vec<String> = others.iter().map(cell).collect();
        let own = Estimate::of(&base).map_or(0.0, |found| found.median / 1e6);
        let _ = writeln!(
            page,
            "| {group} | {} | {} |",
            cells.join(" | "),
            digits(own)
        );
    }
}

/// Percentiles of the time to acquire, and the share of the slowest thread.
fn waits(page: &mut String, samples: &Samples, cpus: u64) {
    const COLUMNS: [&str; 6] = [
        "p50 ns",
        "p90 ns",
        "p99 ns",
        "p99.9 ns",
        "p99.99 ns",
        "max ns",
    ];
    let _ = write!(
        page,
        "\nTime to acquire in µs, and the turns of the slowest thread by those of the fastest; medians \
         over the rounds.\n\n| | | p50 | p90 | p99 | p99.9 | p99.99 | worst | slowest by fastest |\n\
         |---|---|---|---|---|---|---|---|---|\n"
    );
    for group in samples.groups(cpus, WAITS) {
        for who in samples.contenders(cpus, WAITS, group) {
            let median = |metric: &str| {
                let values = samples.values(cpus, WAITS, group, who, metric);
                Estimate::of(&values).map_or(f64::NAN, |found| found.median)
            };
            let cells: Vec<String> = COLUMNS
                .iter()
                .map(|one| digits(median(one) / 1e3))
                .collect();
            let fairness = digits(median("fairness"));
            let _ = writeln!(
                page,
                "| {group} | {who} | {} | {fairness} |",
                cells.join(" | ")
            );
        }
    }
}

/// Three digits that count.
fn digits(number: f64) -> String {
    let before = number.abs().max(1e-9).log10().floor() as i32 + 1;
    let behind = usize::try_from(3 - before).unwrap_or(0).min(4);
    format!("{number:.behind$}")
}

/// Where, with what, of what, and when.
fn machine(samples: &Samples) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or(std::env::consts::ARCH, |(_, name)| name);
    let virtual_machine = if cpu.contains(" hypervisor") {
        ", a virtual machine"
    } else {
        ""
    };
    let kernel = read("/proc/sys/kernel/osrelease");
    let said = |program: &str, words: &[&str]| {
        let output = Command::new(program).args(words).output();
        output
            .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
            .unwrap_or_default()
    };
    let commit = said("git", &["describe", "--always", "--dirty=, with changes"]);
    let (rustc, libc) = (
        said("rustc", &["--version"]),
        said("getconf", &["GNU_LIBC_VERSION"]),
    );
    let date = said("date", &["--utc", "+%F"]);
    let rounds = samples
        .series
        .iter()
        .map(|series| series.values.len())
        .max()
        .unwrap_or(0);
    format!(
        "{model}, {}{virtual_machine}; Linux {}; {libc}; {rustc}; commit {commit}; {date}; up to {rounds} rounds.",
        of_cpus(samples.cpus()),
        kernel.trim(),
    )
}
