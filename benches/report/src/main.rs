//! Tables and plots of what the benches measured: `make bench-quick`, `make bench-report`.
//!
//! `report SAMPLES` prints how the goals stand. `report SAMPLES MARKDOWN COMMAND` writes a page with
//! all ratios, and plots into the folder of its name, and says that COMMAND made it.

mod goals;
mod page;
mod plots;
mod samples;
#[path = "../../common/stats.rs"]
mod stats;
#[cfg(test)]
mod stats_tests;

use goals::Verdict;
use samples::Samples;
use std::path::Path;
use std::process::ExitCode;

fn run(words: &[String]) -> Result<(), String> {
    let explain = |error: &dyn std::fmt::Display| error.to_string();
    match words {
        [file] => {
            let samples = Samples::read(Path::new(file))?;
            print_goals(&samples);
            Ok(())
        }
        [file, markdown, command] => {
            let samples = Samples::read(Path::new(file))?;
            print_goals(&samples);
            let markdown = Path::new(markdown);
            let folder = markdown.with_extension("");
            std::fs::create_dir_all(&folder).map_err(|error| explain(&error))?;
            let plots = plots::draw(&samples, &folder)?;
            let page = page::write(&samples, &plots, command);
            std::fs::write(markdown, page).map_err(|error| explain(&error))
        }
        _ => Err("usage: report SAMPLES [MARKDOWN COMMAND]".to_owned()),
    }
}

fn print_goals(samples: &Samples) {
    println!("{:82} {:>7} {:>18} {:>7}", "", "ratio", "95 %", "goal");
    let goals = goals::all(samples);
    for goal in &goals {
        let (low, high) = (goal.ratio.low, goal.ratio.high);
        println!(
            "{:82} {:>7.3} {:>18} {:>7} {}",
            goal.what,
            goal.ratio.median,
            format!("[{low:.3}, {high:.3}]"),
            goal.bound(),
            goal.verdict()
        );
    }
    let short = goals
        .iter()
        .filter(|goal| goal.verdict() == Verdict::NotMet);
    println!("\n{} of {} goals are not met", short.count(), goals.len());
    for (bench, share) in samples.noise() {
        if share > 4.0 {
            println!("{bench}: others used {share:.0} % of the machine meanwhile");
        }
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("report: {error}");
            ExitCode::FAILURE
        }
    }
}
