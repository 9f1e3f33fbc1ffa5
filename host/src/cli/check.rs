//! `unskew check`: what is wrong with a pack, what it can do, whether its laws hold, and what a revision changes.

pub(super) mod against;
mod object;
mod print;
mod records;
mod trip;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use unskew::check::{self, Revisions};
use unskew::laws::{Counting, Findings, Grown, Laws, Progress};
use unskew::{Fidelity, Generation, LoadError, Pack, Problem, Runtime, Version};

use self::records::Recorded;
use self::trip::Trip;
use super::input::{self, Source};
use super::output::{self, Output};
use super::{Failed, Found};

/// Check a rule pack: its problems, its examples, its laws
///
/// Prints every problem of the pack with its file, line and column, or, if there is none, how well servers of each
/// version can serve records of each version. Runs the pack's own examples. Then grows records of each version from
/// the examples and from what the pack names, brings them to each other version, there and back and edited in between,
/// and holds the laws of translation on them; where one doesn't hold it shows a record as small as it could be made.
/// Records given after the pack are brought to every other version and back, and must come back as they were. Where a
/// table's way isn't lossless a line says why, for neighbouring versions; all other ways are made of theirs, and --json
/// has the reasons of all. docs/check.md explains the laws, the hints and the object of --json.
#[derive(Debug, Args)]
#[command(after_long_help = "\
What the table says of a record and a server:
  native    the server reads the record as it is
  exact     translation loses nothing
  carried   translation loses nothing as long as the carry is kept
  lossy     translation loses something
  none      there is no translation

Exit codes:
  0  no problems, all examples and laws hold, every record came back, no pair is as bad as --fail-on
  1  one of these is not so, or with --against something that worked doesn't any more
  2  the command line is wrong
  3  a file can't be read or used

Examples:
  unskew check pack.toml
  unskew check pack.toml recorded/*.json            in CI: exits 1 if anything is wrong
  unskew check pack.toml --records sessions.ndjson --cases 10000 --seed 7
  unskew check pack.toml --fail-on lossy            no pair may lose anything
  unskew check pack.toml --against deployed.toml    what the new revision changes
  unskew check --json pack.toml")]
pub(super) struct Check {
    /// The rule pack, TOML or JSON
    pack: PathBuf,
    /// Recorded session records, each with a line of its own in the answer; `-` is standard input
    #[arg(value_name = "RECORD")]
    named: Vec<Source>,
    /// Recorded records by the many: a folder of .json, .ndjson and .jsonl files, or one such file
    #[arg(long, value_name = "PATH")]
    records: Vec<PathBuf>,
    /// How many grown records each ordered pair of versions gets; 0 holds no laws
    #[arg(long, value_name = "N", default_value_t = 200)]
    cases: u32,
    /// Which records grow: the same seed grows the same ones
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Exit with 1 if a server of one version would serve records of another this badly, or worse
    #[arg(long, value_name = "FIDELITY")]
    fail_on: Option<FailOn>,
    /// The pack that is deployed: list what this one changes
    #[arg(long, value_name = "PACK")]
    against: Option<PathBuf>,
}

/// What is too bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// A pair that needs the carry
    Carried,
    /// A pair that loses something
    Lossy,
    /// A pair without translation
    None,
}

impl FailOn {
    fn fidelity(self) -> Fidelity {
        match self {
            FailOn::Carried => Fidelity::Carried,
            FailOn::Lossy => Fidelity::Lossy,
            FailOn::None => Fidelity::None,
        }
    }
}

/// All that was found out about a pack that loads.
struct Report<'g> {
    generation: &'g Generation,
    trips: Vec<Trip>,
    recorded: Recorded,
    seed: u64,
    cases: u32,
    findings: Findings,
    fail_on: Option<Fidelity>,
    against: Option<Revisions>,
}

impl Check {
    /// Checks.
    pub(super) fn execute(self, output: Output) -> Result<Found, Failed> {
        if self.pack == Path::new("-") {
            return Err(input::no_stdin());
        }
        let runtime = match Pack::from_file(&self.pack).and_then(|pack| Runtime::new(&pack)) {
            Ok(runtime) => runtime,
            Err(LoadError::Problems { name, problems }) => return refused(&name, &problems, &[], output),
            Err(LoadError::Examples { name, failures }) => {
                let failures: Vec<String> =
                    failures.iter().map(|failure| failure.to_string().replace('\n', "\\n")).collect();
                return refused(&name, &[], &failures, output);
            }
            Err(error) => return Err(input::unusable(&error)),
        };
        let deployed = self.against.as_deref().map(input::runtime).transpose()?;
        let Some(generation) = runtime.generation() else {
            return Err(Failed::Machine("the pack was not taken".into()));
        };
        let mut recorded = Recorded::read(&self.records);
        recorded.sort_out(&generation);
        let mut trips = Vec::new();
        for record in &self.named {
            match record.bytes() {
                Ok(bytes) => {
                    trips.extend(trip::journeys(&generation, &record.name(), &bytes));
                    recorded.named.push((record.name(), bytes));
                }
                Err(error) => trips.push(Trip::unread(record.name(), error)),
            }
        }
        let laws = self.laws(&generation, &recorded);
        let bar = bar();
        let findings = match self.cases {
            0 => Findings::default(),
            _ => laws.run(&mut |progress| show(&bar, "laws", progress)),
        };
        let against = deployed.and_then(|runtime| runtime.generation()).map(|old| {
            let before = self.laws(&old, &recorded);
            Revisions::compare((&old, &before), (&generation, &laws), &mut |progress| show(&bar, "revisions", progress))
        });
        bar.finish_and_clear();
        let fail_on = self.fail_on.map(FailOn::fidelity);
        let report = Report {
            generation: &generation,
            trips,
            recorded,
            seed: self.seed,
            cases: self.cases,
            findings,
            fail_on,
            against,
        };
        match output {
            Output::Text => output::print(&print::report(&report))?,
            Output::Json => output::print_json(&object::report(&report))?,
        }
        Ok(report.found())
    }

    fn laws<'g>(&self, generation: &'g Generation, recorded: &Recorded) -> Laws<'g> {
        check::laws(generation).seed(self.seed).cases(self.cases).counting(Counting::On).recorded(recorded.all())
    }
}

impl Report<'_> {
    fn found(&self) -> Found {
        let refused = self.findings.refusals.iter().any(|refusal| refusal.recorded > 0);
        let overlaps = self.findings.overlaps.iter().any(|overlap| overlap.grown < Grown::Odd);
        let breaks = self.against.as_ref().is_some_and(Revisions::breaks);
        let good = self.findings.hold() && !refused && !overlaps && !breaks && self.too_bad().is_empty();
        let trips = self.trips.iter().map(Trip::found).max().unwrap_or(Found::Good);
        let recorded = match (self.recorded.unread.is_empty(), self.recorded.unknown.is_empty()) {
            (false, _) => Found::Unread,
            (true, false) => Found::Bad,
            (true, true) => Found::Good,
        };
        if good { trips.max(recorded) } else { trips.max(recorded).max(Found::Bad) }
    }

    /// The pairs of different versions that are as bad as `--fail-on`.
    fn too_bad(&self) -> Vec<(&str, &str, Fidelity)> {
        let manifest = self.generation.manifest();
        let Some(limit) = self.fail_on else { return Vec::new() };
        let pairs = self.generation.matrix().pairs();
        pairs
            .filter(|(held, server, verdict)| held != server && verdict.fidelity >= limit)
            .map(|(held, server, verdict)| (manifest.id(held), manifest.id(server), verdict.fidelity))
            .collect()
    }
}

fn versions(generation: &Generation) -> impl Iterator<Item = Version> {
    (0..=u16::MAX).take(generation.manifest().versions.len()).map(Version)
}

/// Prints why a pack is refused.
fn refused(name: &str, problems: &[Problem], failures: &[String], output: Output) -> Result<Found, Failed> {
    match output {
        Output::Text => {
            for problem in problems {
                let join = if problem.place.is_some() { ":" } else { ": " };
                output::print(&format!("{name}{join}{problem}\n"))?;
            }
            for failure in failures {
                output::print(&format!("{name}: {failure}\n"))?;
            }
            output::note(&match (problems.len(), failures.len()) {
                (0, 1) => "1 example fails".to_string(),
                (0, failures) => format!("{failures} examples fail"),
                (1, _) => "1 problem".to_string(),
                (problems, _) => format!("{problems} problems"),
            });
        }
        Output::Json => {
            let problems = problems.iter().map(|problem| {
                let Problem { place, pointer, message } = problem;
                json!({
                    "line": place.map(|place| place.line),
                    "column": place.map(|place| place.column),
                    "pointer": pointer,
                    "message": message,
                })
            });
            let problems: Vec<Value> = problems.collect();
            output::print_json(&json!({"ok": false, "pack": name, "problems": problems, "examples": failures}))?;
        }
    }
    Ok(Found::Bad)
}

/// A bar on standard error; none where that is no terminal.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:32} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    bar
}

fn show(bar: &ProgressBar, what: &'static str, progress: Progress) {
    bar.set_message(what);
    bar.set_length(progress.total);
    bar.set_position(progress.done);
}
