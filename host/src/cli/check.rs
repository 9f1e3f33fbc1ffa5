//! `unskew check`: what is wrong with a pack, what it can do, and whether it brings real records there and back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use unskew::{Fidelity, Generation, LoadError, Pack, Problem, Runtime, Verdict, Version};

use super::input::{self, Source};
use super::output::{self, Output};
use super::table::Table;
use super::{Failed, Found};

/// Check a rule pack, and records against it
///
/// Prints every problem of the pack with its file, line and column, or, if there is none, how well servers of each
/// version can serve records of each version. Runs the pack's own examples. Records given after the pack are brought
/// to every other version and back, and must come back as they were. Where a table's way isn't lossless a line says
/// why, for neighbouring versions; all other ways are made of theirs, and --json has the reasons of all.
#[derive(Debug, Args)]
#[command(after_long_help = "\
What the table says of a record and a server:
  native    the server reads the record as it is
  exact     translation loses nothing
  carried   translation loses nothing as long as the carry is kept
  lossy     translation loses something
  none      there is no translation

Examples:
  unskew check pack.toml
  unskew check pack.toml recorded/*.json        in CI: exits 1 if anything is wrong
  unskew check --json pack.toml")]
pub(super) struct Check {
    /// The rule pack, TOML or JSON
    pack: PathBuf,
    /// Recorded session records; `-` is standard input
    #[arg(value_name = "RECORD")]
    records: Vec<Source>,
}

/// One record brought to one version and back.
struct Trip {
    record: String,
    version: Option<String>,
    by: String,
    came_back: CameBack,
}

/// How a record came back.
enum CameBack {
    /// As it was.
    Same,
    /// It was not sent: the table says already that this way loses something.
    NotSent(Fidelity),
    /// Otherwise, or not at all.
    Wrong(String),
    /// The record can't be read: this is why.
    Unread(String),
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
        let Some(generation) = runtime.generation() else {
            return Err(Failed::Machine("the pack was not taken".into()));
        };
        let mut trips = Vec::new();
        for record in &self.records {
            match record.bytes() {
                Ok(bytes) => trips.extend(journeys(&generation, &record.name(), &bytes)),
                Err(error) => trips.push(Trip::without_version(record.name(), CameBack::Unread(error))),
            }
        }
        match output {
            Output::Text => {
                output::print(&overview(&generation))?;
                for trip in &trips {
                    output::print(&trip.line())?;
                }
            }
            Output::Json => output::print_json(&object(&generation, &trips))?,
        }
        Ok(trips.iter().map(Trip::found).max().unwrap_or(Found::Good))
    }
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

/// The pack in a line, and the fidelity of every pair.
fn overview(generation: &Generation) -> String {
    let manifest = generation.manifest();
    let ids: Vec<&str> = manifest.versions.iter().map(|version| &*version.id).collect();
    let name = output::on_one_line(&manifest.name);
    let mut text = format!("{name} revision {}: no problems, all examples hold\n\n", manifest.revision);
    let head: Vec<String> =
        ["record \\ server".to_string()].into_iter().chain(ids.iter().map(ToString::to_string)).collect();
    let mut table = Table::new(&head.iter().map(String::as_str).collect::<Vec<_>>());
    for held in versions(generation) {
        let cells = versions(generation).map(|server| generation.judge(held, server).fidelity.to_string());
        table.row([manifest.id(held).to_string()].into_iter().chain(cells));
    }
    text.push_str(&table.to_string());
    let reasons = generation.matrix().pairs().filter(|(_, _, verdict)| verdict.fidelity > Fidelity::Exact);
    let (near, far): (Vec<_>, Vec<_>) = reasons.partition(|(held, server, _)| held.0.abs_diff(server.0) == 1);
    let mut lines: Vec<String> = Vec::new();
    for (held, server, Verdict { fidelity, reason }) in near {
        let [held, server, reason] = [manifest.id(held), manifest.id(server), reason].map(output::on_one_line);
        lines.push(format!("{held} → {server} {fidelity}: {reason}\n"));
    }
    if !far.is_empty() {
        lines.push("ways between versions further apart are made of these; --json has all reasons\n".to_string());
    }
    if !lines.is_empty() {
        text.push('\n');
        text.push_str(&lines.concat());
    }
    text
}

fn object(generation: &Generation, trips: &[Trip]) -> Value {
    let manifest = generation.manifest();
    let matrix: Vec<Value> = generation
        .matrix()
        .pairs()
        .map(|(held, server, verdict)| {
            json!({
                "record": manifest.id(held),
                "server": manifest.id(server),
                "fidelity": verdict.fidelity.as_str(),
                "reason": verdict.reason,
            })
        })
        .collect();
    let records: Vec<Value> = trips
        .iter()
        .map(|trip| json!({"record": trip.record, "version": trip.version, "by": trip.by, "came_back": trip.came_back.as_str(), "wrong": trip.wrong()}))
        .collect();
    json!({
        "ok": trips.iter().all(|trip| trip.wrong().is_none()),
        "pack": manifest.name,
        "revision": manifest.revision,
        "versions": manifest.versions.iter().map(|version| &*version.id).collect::<Vec<_>>(),
        "problems": [],
        "examples": [],
        "matrix": matrix,
        "records": records,
    })
}

/// Brings a record to every other version and back.
fn journeys(generation: &Generation, name: &str, record: &[u8]) -> Vec<Trip> {
    let manifest = generation.manifest();
    let found = match generation.detect(record) {
        Ok(found) => found.version,
        Err(error) => {
            let came_back = CameBack::Wrong(input::told(record, &error));
            return vec![Trip::without_version(name.to_string(), came_back)];
        }
    };
    let others = versions(generation).filter(|by| *by != found);
    let trip = |by: Version| Trip {
        record: name.to_string(),
        version: Some(manifest.id(found).to_string()),
        by: manifest.id(by).to_string(),
        came_back: CameBack::of(generation, record, found, by),
    };
    others.map(trip).collect()
}

impl CameBack {
    fn of(generation: &Generation, record: &[u8], home: Version, by: Version) -> CameBack {
        let worst = generation.judge(home, by).fidelity.max(generation.judge(by, home).fidelity);
        match worst {
            Fidelity::Lossy | Fidelity::None => CameBack::NotSent(worst),
            Fidelity::Native | Fidelity::Exact | Fidelity::Carried => {
                there_and_back(generation, record, home, by).map_or_else(CameBack::Wrong, |()| CameBack::Same)
            }
        }
    }

    fn as_str(&self) -> &'static str {
        match self {
            CameBack::Same => "same",
            CameBack::NotSent(_) => "not-sent",
            CameBack::Wrong(_) => "wrong",
            CameBack::Unread(_) => "unread",
        }
    }
}

fn there_and_back(generation: &Generation, record: &[u8], home: Version, by: Version) -> Result<(), String> {
    if generation.judge(home, by).fidelity >= Fidelity::Lossy || generation.judge(by, home).fidelity >= Fidelity::Lossy
    {
        return Ok(()); // the table says already that it won't come back whole
    }
    let away = generation.translate(record, &[], home, by).map_err(|error| format!("on the way there: {error}"))?;
    let found = generation.detect(&away.record).map_err(|error| format!("after the way there: {error}"))?.version;
    if found != by {
        return Err(format!("after the way there it is found to be of version {}", generation.manifest().id(found)));
    }
    let back = generation
        .translate(&away.record, &away.carry, by, home)
        .map_err(|error| format!("on the way back: {error}"))?;
    let texts: [Result<&RawValue, _>; 2] = [record, &back.record].map(serde_json::from_slice);
    match texts {
        [Ok(before), Ok(after)] => match difference(before, after, &mut String::new()) {
            Some(place) => Err(format!("it comes back different at {place}")),
            None => Ok(()),
        },
        [Err(error), _] | [_, Err(error)] => Err(format!("it comes back as no JSON: {error}")),
    }
}

/// The first place where two documents differ, as a JSON Pointer. Scalars are compared by their text, so that no number
/// is too long to be compared; members may stand in any order.
fn difference(before: &RawValue, after: &RawValue, place: &mut String) -> Option<String> {
    type Members<'t> = BTreeMap<String, &'t RawValue>;
    if before.get() == after.get() {
        return None;
    }
    let length = place.len();
    let mut within = |key: String, before: Option<&&RawValue>, after: Option<&&RawValue>| {
        place.push_str(&format!("/{key}"));
        let found = match (before, after) {
            (Some(before), Some(after)) => difference(before, after, place),
            (None, _) | (_, None) => Some(place.clone()),
        };
        place.truncate(length);
        found
    };
    let objects: [Result<Members<'_>, _>; 2] = [before, after].map(|text| serde_json::from_str(text.get()));
    if let [Ok(before), Ok(after)] = &objects {
        let keys = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
        return keys
            .into_iter()
            .find_map(|key| within(key.replace('~', "~0").replace('/', "~1"), before.get(key), after.get(key)));
    }
    let arrays: [Result<Vec<&RawValue>, _>; 2] = [before, after].map(|text| serde_json::from_str(text.get()));
    if let [Ok(before), Ok(after)] = &arrays {
        return (0..before.len().max(after.len()))
            .find_map(|index| within(index.to_string(), before.get(index), after.get(index)));
    }
    Some(if place.is_empty() { "the root".to_string() } else { place.clone() })
}

fn versions(generation: &Generation) -> impl Iterator<Item = Version> {
    (0..=u16::MAX).take(generation.manifest().versions.len()).map(Version)
}

impl Trip {
    fn without_version(record: String, came_back: CameBack) -> Trip {
        Trip { record, version: None, by: String::new(), came_back }
    }

    fn found(&self) -> Found {
        match &self.came_back {
            CameBack::Same | CameBack::NotSent(_) => Found::Good,
            CameBack::Wrong(_) => Found::Bad,
            CameBack::Unread(_) => Found::Unread,
        }
    }

    fn wrong(&self) -> Option<&str> {
        match &self.came_back {
            CameBack::Wrong(wrong) | CameBack::Unread(wrong) => Some(wrong),
            CameBack::Same | CameBack::NotSent(_) => None,
        }
    }

    fn line(&self) -> String {
        let Trip { record, version, by, came_back } = self;
        let came_back = match came_back {
            CameBack::Same => "as it was".to_string(),
            CameBack::NotSent(fidelity) => format!("not tried, the way is {fidelity}"),
            CameBack::Wrong(wrong) | CameBack::Unread(wrong) => wrong.clone(),
        };
        match version {
            Some(version) => {
                let [version, by] = [version, by].map(|id| output::on_one_line(id));
                format!("{record}: version {version}, by version {by} and back: {came_back}\n")
            }
            None => format!("{record}: {came_back}\n"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_found_by_place() {
        let differ = |before: &str, after: &str| {
            let [before, after]: [&RawValue; 2] = [before, after].map(|text| serde_json::from_str(text).unwrap());
            difference(before, after, &mut String::new())
        };
        assert_eq!(differ(r#"{"a":[1,{"b/c":2}]}"#, r#"{ "a" : [1, {"b/c":2}] }"#), None);
        assert_eq!(differ(r#"{"a":[1,{"b/c":2}]}"#, r#"{"a":[1,{"b/c":3}]}"#).as_deref(), Some("/a/1/b~1c"));
        assert_eq!(differ(r#"{"a":1}"#, r#"{"b":2,"a":1}"#).as_deref(), Some("/b"));
        assert_eq!(differ("[1,2]", "[1]").as_deref(), Some("/1"));
        assert_eq!(differ(r#"{"a":1e400}"#, r#"{"a":1e401}"#).as_deref(), Some("/a"));
    }
}
