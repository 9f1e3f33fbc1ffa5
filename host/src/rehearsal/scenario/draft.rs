//! A scenario as its author writes it: the keys of the file, and the way from them to a [`Scenario`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::super::server::Dialect;
use super::{Phase, Promise, Scenario, ScenarioError};
use crate::Pack;
use crate::config::Config;

/// Reads a file that the scenario names; the answer is its name for messages, and its text.
pub(super) type Read<'a> = &'a dyn Fn(&Path) -> std::io::Result<(String, String)>;

/// Reads a scenario; `name` stands before each problem.
pub(super) fn parse(name: &str, text: &str, read: Read<'_>) -> Result<Scenario, ScenarioError> {
    let draft: Draft = toml::from_str(text).map_err(|error| ScenarioError(vec![refusal(name, text, &error)]))?;
    let mut problems = Problems { name, found: Vec::new() };
    let scenario = draft.check(read, &mut problems);
    match scenario {
        Some(scenario) if problems.found.is_empty() => Ok(scenario),
        Some(_) | None => Err(ScenarioError(problems.found)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    name: String,
    pack: PathBuf,
    gateway: PathBuf,
    #[serde(default)]
    seed: u64,
    load: Load,
    version: Vec<Version>,
    phase: Vec<DraftPhase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Load {
    creates_per_second: f64,
    joins_per_session: u32,
    session: String,
    #[serde(default = "Load::default_in_flight")]
    in_flight: usize,
}

impl Load {
    fn default_in_flight() -> usize {
        256
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Version {
    id: String,
    reads: Option<Vec<String>>,
    session: String,
    connections: String,
    connection: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DraftPhase {
    name: String,
    at: Option<String>,
    duration: String,
    fleet: BTreeMap<String, u32>,
    creates_per_second: Option<f64>,
    joins_per_session: Option<u32>,
    swap: Option<PathBuf>,
    #[serde(default)]
    expect: Expect,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    without: Option<Word>,
    with: Option<Word>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    None,
    Some,
    Predicted,
}

struct Problems<'a> {
    name: &'a str,
    found: Vec<String>,
}

impl Problems<'_> {
    fn at(&mut self, place: &str, message: impl std::fmt::Display) {
        self.found.push(format!("{}: {place}: {message}", self.name));
    }
}

impl Draft {
    /// The scenario, as far as it can be made; it counts only if no problem was noted.
    fn check(self, read: Read<'_>, problems: &mut Problems<'_>) -> Option<Scenario> {
        if self.version.is_empty() || self.phase.is_empty() {
            problems.at("scenario", "there must be at least one [[version]] and one [[phase]]");
        }
        if self.load.in_flight == 0 {
            problems.at("load", "in_flight must be at least 1");
        }
        let ids: Vec<String> = self.version.iter().map(|version| version.id.clone()).collect();
        let dialects: Vec<_> = self.version.into_iter().filter_map(|version| version.check(&ids, problems)).collect();
        let session = span("load: session", &self.load.session, problems);
        let pack = pack(&self.pack, read, problems);
        let gateway = gateway(&self.gateway, read, problems);
        let load = (self.load.creates_per_second, self.load.joins_per_session);
        let phases = self.phase.into_iter().filter_map(|phase| phase.check(&ids, load, read, problems)).collect();
        Some(Scenario {
            name: self.name,
            pack: pack?,
            gateway: gateway?,
            seed: self.seed,
            session: session?,
            in_flight: self.load.in_flight,
            dialects,
            phases,
        })
    }
}

impl Version {
    fn check(self, ids: &[String], problems: &mut Problems<'_>) -> Option<Dialect> {
        let place = format!("version {:?}", self.id);
        let mut reads = Vec::new();
        for id in self.reads.unwrap_or_else(|| vec![self.id.clone()]) {
            match ids.iter().position(|known| *known == id) {
                Some(index) => reads.push(index),
                None => problems.at(&place, format!("it reads {}", unknown(&id, ids))),
            }
        }
        let dialect = Dialect::new(self.id, reads, self.session, self.connections, self.connection);
        dialect.map_err(|error| problems.at(&place, error)).ok()
    }
}

impl DraftPhase {
    fn check(self, ids: &[String], load: (f64, u32), read: Read<'_>, problems: &mut Problems<'_>) -> Option<Phase> {
        let place = format!("phase {:?}", self.name);
        let mut fleet = vec![0; ids.len()];
        for (id, count) in &self.fleet {
            match ids.iter().position(|known| known == id) {
                Some(index) => fleet[index] = *count,
                None => problems.at(&place, format!("fleet has {}", unknown(id, ids))),
            }
        }
        if !(1..=200).contains(&self.fleet.values().fold(0u32, |sum, count| sum.saturating_add(*count))) {
            problems.at(&place, "fleet must have 1 to 200 servers");
        }
        let creates_per_second = self.creates_per_second.unwrap_or(load.0);
        if !(creates_per_second > 0.0 && creates_per_second <= 100_000.0) {
            problems.at(&place, "creates_per_second must be above 0 and at most 100000");
        }
        let duration = span(&format!("{place}: duration"), &self.duration, problems);
        let swap = self.swap.map(|path| pack(&path, read, problems));
        Some(Phase {
            name: self.name,
            at: self.at,
            duration: duration?,
            fleet,
            creates_per_second,
            joins_per_session: self.joins_per_session.unwrap_or(load.1),
            swap: match swap {
                Some(swap) => Some(swap?),
                None => None,
            },
            without: self.expect.without.map(Word::promise),
            with: self.expect.with.map(Word::promise),
        })
    }
}

impl Word {
    fn promise(self) -> Promise {
        match self {
            Word::None => Promise::None,
            Word::Some => Promise::Some,
            Word::Predicted => Promise::Predicted,
        }
    }
}

fn pack(path: &Path, read: Read<'_>, problems: &mut Problems<'_>) -> Option<Pack> {
    let (name, text) = file(path, read, problems)?;
    let pack = match path.extension().is_some_and(|extension| extension == "json") {
        true => Pack::from_json(&name, &text),
        false => Pack::from_toml(&name, &text),
    };
    pack.map_err(|error| problems.found.push(error.to_string())).ok()
}

fn gateway(path: &Path, read: Read<'_>, problems: &mut Problems<'_>) -> Option<Config> {
    let (name, text) = file(path, read, problems)?;
    Config::from_toml(&name, &text).map_err(|error| problems.found.push(error.to_string())).ok()
}

fn file(path: &Path, read: Read<'_>, problems: &mut Problems<'_>) -> Option<(String, String)> {
    read(path).map_err(|error| problems.at(&path.display().to_string(), error)).ok()
}

/// Reads `250ms`, `4s` or `2m`.
fn span(place: &str, text: &str, problems: &mut Problems<'_>) -> Option<Duration> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let seconds = match unit {
        "ms" => Some(0.001),
        "s" => Some(1.0),
        "m" => Some(60.0),
        _ => None,
    };
    let span = seconds.zip(number.trim().parse::<f64>().ok()).map(|(unit, number)| unit * number);
    let span = span.filter(|seconds| (0.001..=86_400.0).contains(seconds)).map(Duration::from_secs_f64);
    if span.is_none() {
        problems.at(place, format!("{text:?} is no time above 0: write it like \"250ms\", \"4s\" or \"2m\""));
    }
    span
}

/// A refusal by the TOML reader, with its line, and the nearest key if there is none of that name.
fn refusal(name: &str, text: &str, error: &toml::de::Error) -> String {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or("");
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    let message = error.message();
    let mut words = message.split('`').skip(1).step_by(2);
    let message = match (message.strip_prefix("unknown field"), words.next()) {
        (Some(_), Some(key)) => format!("key {}", guess(key, words)),
        (Some(_), None) | (None, _) => message.to_string(),
    };
    format!("{name}:{line}:{column}: {message}")
}

fn unknown(id: &str, ids: &[String]) -> String {
    format!("version {}", guess(id, ids.iter().map(String::as_str)))
}

/// The word in quotes, and the nearest of the known ones, or all of them if none is near.
fn guess<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<_> = known.collect();
    let nearest = known.iter().max_by(|a, b| strsim::jaro_winkler(word, a).total_cmp(&strsim::jaro_winkler(word, b)));
    match nearest.filter(|nearest| strsim::jaro_winkler(word, nearest) > 0.7) {
        Some(nearest) => format!("{word:?} is not known, did you mean {nearest:?}?"),
        None => format!("{word:?} is not known, there are: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
name = "n"
pack = "pack.toml"
gateway = "gateway.toml"
[load]
creates_per_second = 10
joins_per_session = 2
session = "1s"
[[version]]
id = "1"
session = '{"id":"${session}","list":[]}'
connections = "/list"
connection = '{"c":"${connection}"}'
[[phase]]
name = "only"
duration = "250ms"
fleet = { "1" = 2 }
"#;

    fn refused(text: &str) -> Vec<String> {
        let read = |_: &Path| Err(std::io::Error::other("no such file"));
        parse("s.toml", text, &read).err().map(|error| error.0).unwrap_or_default()
    }

    #[test]
    fn an_unknown_key_gets_its_line_and_the_nearest_one() {
        let text = GOOD.replace("duration", "duraton");
        assert_eq!(refused(&text), ["s.toml:16:1: key \"duraton\" is not known, did you mean \"duration\"?"]);
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let text = GOOD.replace("\"1\" = 2", "\"2\" = 2").replace("250ms", "soon").replace("/list\"", "/lists\"");
        let problems = refused(&text);
        assert_eq!(problems.len(), 5, "{problems:#?}");
        assert!(problems[0].contains("/lists"), "{problems:#?}");
        assert_eq!(problems[1], "s.toml: pack.toml: no such file");
        assert!(problems[3].contains("phase \"only\": fleet has version \"2\""), "{problems:#?}");
        assert!(problems[4].contains("\"soon\" is no time"), "{problems:#?}");
    }
}
