//! `unskew rehearse`: a scenario played on real HTTP, with and without rules.

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use unskew::rehearsal::{self, Outcome, Progress, RehearsalError, Scenario};

use super::input;
use super::output::{self, Output};
use super::table::Table;
use super::{Failed, Found};

/// Rehearse a rolling deployment: play a scenario with and without rules
///
/// Starts strict servers that refuse records they can't read with 400 and code 1026, a real gateway before them and
/// clients that create and join sessions, all on loopback, and plays the phases of the scenario in two lanes at once:
/// one whose gateway has no rules until the scenario swaps a pack in, one that has the pack from the start. Exits
/// with 1 if the scenario's promises are not kept. docs/rehearsal.md explains every key of a scenario.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  unskew rehearse examples/incident/scenario.toml
  unskew rehearse --json --no-report scenario.toml | jq '.phases[].lanes.with.failed_joins'")]
pub(super) struct Rehearse {
    /// The scenario
    scenario: PathBuf,
    #[command(flatten)]
    report: Report,
}

/// Where the report goes.
#[derive(Debug, Args)]
pub(super) struct Report {
    /// Where to write the HTML report
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    report: PathBuf,
    /// Write no report
    #[arg(long)]
    no_report: bool,
}

impl Rehearse {
    /// Rehearses.
    pub(super) fn execute(self, output: Output) -> Result<Found, Failed> {
        let scenario = Scenario::from_file(&self.scenario).map_err(|error| Failed::Input(error.to_string()))?;
        play(&scenario, &self.report, output)
    }
}

/// Plays a scenario, prints what it showed and writes the report.
pub(super) fn play(scenario: &Scenario, report: &Report, output: Output) -> Result<Found, Failed> {
    let report = (!report.no_report).then_some(report.report.as_path());
    if let Some(path) = report {
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(path); // better now than after the play
        opened.map_err(|error| unwritable(path, &error))?;
    }
    let bar = bar(scenario);
    let outcome = rehearsal::play(scenario, &mut |progress| show(&bar, progress));
    bar.finish_and_clear();
    let outcome = outcome.map_err(|error| match &error {
        RehearsalError::Pack(error) => input::unusable(error),
        RehearsalError::Server(_) | RehearsalError::Gateway(_) | RehearsalError::Threads(_) => {
            Failed::Machine(error.to_string())
        }
    })?;
    if let Some(path) = report {
        std::fs::write(path, rehearsal::html(&outcome)).map_err(|error| unwritable(path, &error))?;
    }
    match output {
        Output::Text => print(&outcome, report)?,
        Output::Json => output::print_json(&Printed { outcome: &outcome, report })?,
    }
    for verdict in outcome.broken() {
        let unskew::rehearsal::Verdict { phase, lane, promise, seen, .. } = verdict;
        output::note(&format!("broken promise: {phase}, lane {lane}: {promise}, but {seen}"));
    }
    Ok(if outcome.kept { Found::Good } else { Found::Bad })
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failed {
    Failed::Machine(format!("{}: can't be written: {error}", path.display()))
}

/// The object of `--json`.
#[derive(serde::Serialize)]
struct Printed<'a> {
    #[serde(flatten)]
    outcome: &'a Outcome,
    report: Option<&'a Path>,
}

fn print(outcome: &Outcome, report: Option<&Path>) -> Result<(), Failed> {
    let head = ["phase", "fleet", "lane", "creates", "joins", "failed joins", "translated", "p50", "p99"];
    let mut table = Table::new(&head).numbers(3..9);
    for phase in &outcome.phases {
        for (row, (lane, seen)) in phase.lanes.each().into_iter().enumerate() {
            let name = [phase.at.as_deref().unwrap_or_default(), &phase.name].join(" ").trim().to_string();
            let [name, fleet] =
                if row == 0 { [name, phase.fleet_text.clone()] } else { [String::new(), String::new()] };
            let counts = [seen.creates, seen.joins, seen.failed_joins, seen.translated].map(|count| count.to_string());
            let times = [seen.p50_ms, seen.p99_ms].map(|time| format!("{time:.1} ms"));
            table.row([name, fleet, lane.to_string()].into_iter().chain(counts).chain(times));
        }
    }
    output::print(&format!("{}\n\n{table}\n", outcome.scenario))?;
    for verdict in &outcome.promises {
        let mark = if verdict.kept { "kept  " } else { "BROKEN" };
        let about = format!("{}, {}", verdict.phase, verdict.lane);
        output::print(&format!("{mark}  {about:<20}  {}: {}\n", verdict.promise, verdict.seen))?;
    }
    if let Some(path) = report {
        output::print(&format!("\nreport: {}\n", path.display()))?;
    }
    Ok(())
}

/// A bar on standard error; none where that is no terminal.
fn bar(scenario: &Scenario) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(scenario.duration().as_millis()).unwrap_or(u64::MAX));
    let style = ProgressStyle::with_template("{bar:32} {msg}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}

fn show(bar: &ProgressBar, progress: &Progress<'_>) {
    let [without, with] = progress.failed_joins;
    let at = progress.phase.at.as_deref().unwrap_or_default();
    bar.set_position(u64::try_from(progress.elapsed.as_millis()).unwrap_or(u64::MAX));
    bar.set_message(format!("{at} {}: failed joins {without} without rules, {with} with", progress.phase.name));
}
