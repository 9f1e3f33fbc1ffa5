//! The figures of docs/performance.md: all variants in turns, 10th percentile, median and ratios beside the goals.
//!
//! `cargo bench --bench table [-- <seconds per contest>]`; the figures also go to `benches/record/`.

use std::time::Duration;

use anyhow::Result;
use unskew_benches::contest::{Contest, Ratio, Timing};
use unskew_benches::ledger::Ledger;
use unskew_benches::machine::Machine;
use unskew_benches::record::RECORDS;
use unskew_benches::subject::{self, Variant};

/// How long a contest runs unless the caller says otherwise.
const SECONDS: f64 = 4.0;

/// A figure held against a goal.
struct Line {
    what: String,
    measured: f64,
    /// The other statistic, where there is one.
    median: Option<f64>,
    unit: &'static str,
    goal: Option<f64>,
}

struct Table {
    ledger: Ledger,
    time: Duration,
    lines: Vec<Line>,
}

fn main() -> Result<()> {
    // cargo adds `--bench`; a number is ours.
    let seconds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(SECONDS);
    let machine = Machine::here();
    println!("{machine}\n");
    let mut table =
        Table { ledger: Ledger::new("table", machine), time: Duration::from_secs_f64(seconds), lines: Vec::new() };
    println!("| {:<40} | {:>12} | {:>12} |", "operation", "p10", "median");
    println!("|{:-<42}|{:->14}|{:->14}|", "", "", "");

    let runtime = subject::runtime()?;
    for record in RECORDS {
        let timings = table.contest(&format!("translate/{}", record.size), subject::translate(&runtime, record));
        let [sandbox, native, value, floor @ ..] = timings.as_slice() else { continue };
        let goal = matches!(record.size, "0.7k" | "4k").then_some(0.35);
        table.ratio(sandbox, value, goal);
        table.ratio(sandbox, native, None);
        table.ratio(native, value, None);
        floor.iter().for_each(|sonic| table.ratio(sandbox, sonic, None));
    }
    table.contest("normalize/already-right-4k", subject::already_right(&runtime, RECORDS[2]));
    table.contest("boundary/detect-2b", subject::detect_empty(&runtime));
    table.contest("boundary/copy-1k", subject::copy_string(&runtime));
    for (servers, name, goal) in [(16, "route/16", Some(200.0)), (1000, "route/1000", None)] {
        let timings = table.contest(name, vec![("decide", subject::route(&runtime, servers))]);
        timings.iter().for_each(|timing| table.time(timing, "ns", goal));
    }
    let timings = table.contest("swap/push-to-answer", vec![("pack", subject::swap())]);
    timings.iter().for_each(|timing| table.time(timing, "ms", Some(50.0)));
    table.memory("memory/warm-instance/after-64k", subject::warm_memory(), Some(2048.0));

    table.goals();
    println!("\nwritten to {}", table.ledger.write()?.display());
    Ok(())
}

impl Table {
    fn contest(&mut self, subject: &str, variants: Vec<Variant>) -> Vec<Timing> {
        let contest = Contest::new(subject);
        let contest = variants.into_iter().fold(contest, |contest, (name, run)| contest.variant(name, run));
        let timings = contest.run(self.time);
        for Timing { name, p10, median, .. } in &timings {
            println!("| {name:<40} | {:>12} | {:>12} |", readable(*p10), readable(*median));
            self.ledger.note(name, "p10", *p10, "ns", None);
            self.ledger.note(name, "median", *median, "ns", None);
        }
        timings
    }

    fn ratio(&mut self, one: &Timing, other: &Timing, goal: Option<f64>) {
        let Ratio { p10, median } = one.over(other);
        let other = other.name.rsplit('/').next().unwrap_or_default();
        let what = format!("{} ÷ {other}", one.name);
        self.ledger.note(&what, "p10", p10, "ratio", goal);
        self.ledger.note(&what, "median", median, "ratio", goal);
        self.lines.push(Line { what, measured: p10, median: Some(median), unit: "", goal });
    }

    fn time(&mut self, timing: &Timing, unit: &'static str, goal: Option<f64>) {
        let scale = if unit == "ms" { 1e-6 } else { 1.0 };
        let median = Some(timing.median * scale);
        self.lines.push(Line { what: timing.name.clone(), measured: timing.p10 * scale, median, unit, goal });
    }

    fn memory(&mut self, name: &str, bytes: usize, goal: Option<f64>) {
        let kib = bytes as f64 / 1024.0;
        self.ledger.note(name, "size", kib, "KiB", goal);
        self.lines.push(Line { what: name.to_owned(), measured: kib, median: None, unit: "KiB", goal });
    }

    /// The second table. What misses its goal by the 10th percentile misses it.
    fn goals(&self) {
        println!("\n| {:<40} | {:>12} | {:>12} | {:>12} |        |", "figure", "p10", "median", "goal");
        println!("|{:-<42}|{:->14}|{:->14}|{:->14}|--------|", "", "", "", "");
        for Line { what, measured, median, unit, goal } in &self.lines {
            let figure = |value: f64| match *unit {
                "" => format!("{value:.2}"),
                unit => format!("{value:.1} {unit}"),
            };
            let verdict = match goal {
                Some(goal) if measured <= goal => "met",
                Some(_) => "MISSED",
                None => "",
            };
            let [median, goal] = [
                median.map_or(String::new(), figure),
                goal.map_or(String::new(), |goal| format!("≤ {}", figure(goal))),
            ];
            println!("| {what:<40} | {:>12} | {median:>12} | {goal:>12} | {verdict:<6} |", figure(*measured));
        }
    }
}

fn readable(nanoseconds: f64) -> String {
    match nanoseconds {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{:.2} µs", ns / 1e3),
        ns => format!("{:.2} ms", ns / 1e6),
    }
}
