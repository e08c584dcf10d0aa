//! Plots as SVG, without a background and in colours that can be read on white and on black.

use crate::samples::{Samples, number_in};
use crate::stats::Estimate;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::ops::Range;
use std::path::Path;

const INK: RGBColor = RGBColor(128, 128, 128);

/// A contender has the same colour everywhere.
const COLOURS: [(&str, RGBColor); 8] = [
    ("Mutex", RGBColor(213, 94, 0)),
    ("Thread", RGBColor(213, 94, 0)),
    ("Lock", RGBColor(230, 159, 0)),
    ("std::sync::Mutex", RGBColor(60, 130, 200)),
    ("std::thread", RGBColor(60, 130, 200)),
    ("parking_lot::Mutex", RGBColor(0, 158, 115)),
    ("usync::Mutex", RGBColor(190, 110, 160)),
    ("pthread_mutex", RGBColor(140, 120, 90)),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

struct Line<'a> {
    name: &'a str,
    points: Vec<(f64, f64)>,
}

/// What the samples have for one picture.
type Panels = fn(&Samples) -> Vec<Panel<'_>>;

/// Draws all that there are samples for; files and titles.
pub fn draw(samples: &Samples, folder: &Path) -> Result<Vec<(String, String)>, String> {
    let mut drawn = Vec::new();
    let plots: [(&str, &str, Panels); 3] = [
        (
            "throughput.svg",
            "Throughput of a contended lock by the number of threads",
            throughput,
        ),
        ("latency.svg", "How long threads wait for a lock", latency),
        ("threads.svg", "Starting and joining many threads", threads),
    ];
    for (file, title, panels) in plots {
        let panels = panels(samples);
        if panels.iter().any(|panel| !panel.lines.is_empty()) {
            picture(&folder.join(file), title, &panels)
                .map_err(|error| format!("{file}: {error}"))?;
            drawn.push((file.to_owned(), title.to_owned()));
        }
    }
    Ok(drawn)
}

/// One system of coordinates, both axes logarithmic.
struct Panel<'a> {
    title: String,
    x: &'a str,
    y: &'a str,
    lines: Vec<Line<'a>>,
    /// How a place on the x axis is called.
    label: fn(f64) -> String,
    ticks: Vec<f64>,
}

fn throughput(samples: &Samples) -> Vec<Panel<'_>> {
    let cpus = samples.cpus();
    let panel = |inside: u64| {
        let mut lines: Vec<Line> = Vec::new();
        let mut ticks = Vec::new();
        for group in samples.groups(cpus, "contended") {
            let is_it = number_in(group, "inside") == Some(inside)
                && number_in(group, "between") == Some(inside);
            let Some(threads) = number_in(group, "threads").filter(|_| is_it) else {
                continue;
            };
            ticks.push(threads as f64);
            for name in samples.contenders(cpus, "contended", group) {
                let values = samples.values(cpus, "contended", group, name, "1/s");
                add(&mut lines, name, threads as f64, &values, 1e6);
            }
        }
        Panel {
            title: format!("{inside} ns inside and between"),
            x: "threads",
            y: "million a second",
            lines,
            label: |x| format!("{x:.0}"),
            ticks,
        }
    };
    [50, 500, 5_000].map(panel).into()
}

fn latency(samples: &Samples) -> Vec<Panel<'_>> {
    // Places that are evenly spaced on a logarithmic axis.
    const PERCENTILES: [(&str, f64); 6] = [
        ("p50 ns", 1.0),
        ("p90 ns", 2.0),
        ("p99 ns", 4.0),
        ("p99.9 ns", 8.0),
        ("p99.99 ns", 16.0),
        ("max ns", 32.0),
    ];
    let cpus = samples.cpus();
    let wanted = |group: &&str| {
        number_in(group, "threads").is_some_and(|threads| threads >= 8)
            && number_in(group, "inside") == Some(5_000)
    };
    let groups = samples.groups(cpus, "latency").into_iter().filter(wanted);
    let panel = |group: &str| {
        let mut lines = Vec::new();
        for name in samples.contenders(cpus, "latency", group) {
            for (metric, x) in PERCENTILES {
                let values = samples.values(cpus, "latency", group, name, metric);
                add(&mut lines, name, x, &values, 1e3);
            }
        }
        Panel {
            title: format!(
                "{} threads, 5 µs inside, {} between",
                threads_in(group),
                between_in(group)
            ),
            x: "percentile",
            y: "µs",
            lines,
            label: |x| {
                let name = PERCENTILES.iter().find(|(_, place)| *place == x.round());
                let name = name.map_or("", |(name, _)| name.trim_end_matches(" ns"));
                name.trim_start_matches('p').to_owned()
            },
            ticks: PERCENTILES.iter().map(|(_, x)| *x).collect(),
        }
    };
    groups.map(panel).collect()
}

fn threads_in(group: &str) -> u64 {
    number_in(group, "threads").unwrap_or(0)
}

fn between_in(group: &str) -> String {
    match number_in(group, "between").unwrap_or(0) {
        0 => "none".to_owned(),
        nanos => format!("{} µs", nanos / 1_000),
    }
}

fn threads(samples: &Samples) -> Vec<Panel<'_>> {
    let cpus = samples.cpus();
    let panel = |(metric, y, unit): (&str, &'static str, f64)| {
        let mut lines = Vec::new();
        let mut ticks = Vec::new();
        for group in samples.groups(cpus, "many_threads") {
            let number = group
                .split(' ')
                .next()
                .and_then(|word| word.parse::<f64>().ok());
            let Some(number) = number else { continue };
            ticks.push(number);
            for name in samples.contenders(cpus, "many_threads", group) {
                let values = samples.values(cpus, "many_threads", group, name, metric);
                add(&mut lines, name, number, &values, unit);
            }
        }
        Panel {
            title: y.to_owned(),
            x: "threads alive at once",
            y: "",
            lines,
            label: |x| format!("{x:.0}"),
            ticks,
        }
    };
    [
        ("both ms", "start and join, ms", 1.0),
        ("KiB", "resident, MiB", 1024.0),
        ("mappings", "mappings", 1.0),
    ]
    .map(panel)
    .into()
}

fn add<'a>(lines: &mut Vec<Line<'a>>, name: &'a str, x: f64, values: &[f64], unit: f64) {
    let Some(found) = Estimate::of(values).filter(|found| found.median > 0.0) else {
        return;
    };
    let point = (x, found.median / unit);
    match lines.iter_mut().find(|line| line.name == name) {
        Some(line) => line.points.push(point),
        None => lines.push(Line {
            name,
            points: vec![point],
        }),
    }
}

fn picture(
    path: &Path,
    title: &str,
    panels: &[Panel<'_>],
) -> Result<(), Box<dyn std::error::Error>> {
    const PANEL: (u32, u32) = (320, 280);
    let width = PANEL.0 * panels.len() as u32;
    let root = SVGBackend::new(path, (width, PANEL.1 + 70)).into_drawing_area();
    let text = |size: i32| ("sans-serif", size).into_font().color(&INK);
    let root = root.titled(title, text(17))?;
    let (above, legend) = root.split_vertically(PANEL.1);
    for (area, panel) in above.split_evenly((1, panels.len())).iter().zip(panels) {
        draw_panel(area, panel)?;
    }
    let mut names: Vec<&str> = Vec::new();
    for line in panels.iter().flat_map(|panel| &panel.lines) {
        if !names.contains(&line.name) {
            names.push(line.name);
        }
    }
    let mut x = 20;
    for name in names {
        let colour = colour(name).stroke_width(3);
        legend.draw(&PathElement::new([(x, 12), (x + 18, 12)], colour))?;
        legend.draw(&Text::new(name.to_owned(), (x + 24, 6), text(13)))?;
        x += 44 + 7 * name.len() as i32;
    }
    root.present()?;
    Ok(())
}

fn draw_panel(area: &Area<'_>, panel: &Panel<'_>) -> Result<(), Box<dyn std::error::Error>> {
    let points = || panel.lines.iter().flat_map(|line| &line.points);
    let (x, y) = (
        span(points().map(|(x, _)| *x), 1.1),
        span(points().map(|(_, y)| *y), 1.5),
    );
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, ("sans-serif", 14).into_font().color(&INK))
        .margin(8)
        .margin_right(20)
        .x_label_area_size(38)
        .y_label_area_size(58)
        .build_cartesian_2d(
            x.log_scale().with_key_points(panel.ticks.clone()),
            y.clone().log_scale().with_key_points(decades(&y)),
        )?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(INK.mix(0.25))
        .axis_style(INK)
        .label_style(("sans-serif", 12).into_font().color(&INK))
        .x_desc(panel.x)
        .y_desc(panel.y)
        .x_label_formatter(&|x| (panel.label)(*x))
        .y_label_formatter(&|y| {
            if *y < 1.0 {
                format!("{y}")
            } else {
                format!("{y:.0}")
            }
        })
        .draw()?;
    for line in &panel.lines {
        let colour = colour(line.name);
        chart.draw_series(LineSeries::new(
            line.points.iter().copied(),
            colour.stroke_width(2),
        ))?;
        let dots = line
            .points
            .iter()
            .map(|point| Circle::new(*point, 3, colour.filled()));
        chart.draw_series(dots)?;
    }
    Ok(())
}

/// From the least to the most, with a margin.
fn span(values: impl Iterator<Item = f64>, margin: f64) -> Range<f64> {
    let (least, most) = values.fold((f64::INFINITY, 0.0_f64), |(least, most), value| {
        (least.min(value), most.max(value))
    });
    least / margin..most * margin
}

/// Round numbers in a range: powers of ten, or with thirds between if there are few.
fn decades(range: &Range<f64>) -> Vec<f64> {
    let powers = |steps: &'static [f64]| -> Vec<f64> {
        let all =
            (-9..12).flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)));
        all.filter(|value| range.contains(value)).collect()
    };
    let tens = powers(&[1.0]);
    if tens.len() >= 3 {
        tens
    } else {
        powers(&[1.0, 2.0, 5.0])
    }
}

fn colour(name: &str) -> RGBColor {
    COLOURS
        .iter()
        .find(|(one, _)| *one == name)
        .map_or(RGBColor(150, 140, 200), |(_, colour)| *colour)
}
