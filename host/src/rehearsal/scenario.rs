//! What a rehearsal plays: the phases of fleet, load and packs that a scenario file says, checked and with its files read.

mod draft;

use std::path::Path;
use std::time::Duration;

use crate::Pack;
use crate::config::Config;

use super::server::Dialect;

/// A scenario, ready to be played.
#[derive(Debug)]
pub struct Scenario {
    /// What it is called in tables and reports.
    pub name: String,
    /// The pack that the lane with rules has from the start.
    pub pack: Pack,
    /// The gateway of both lanes; addresses, servers and packs in it are put in by the rehearsal.
    pub gateway: Config,
    /// What both lanes draw the same chances from.
    pub seed: u64,
    /// The time in which a session is joined.
    pub session: Duration,
    /// The most requests in flight per lane.
    pub in_flight: usize,
    /// What servers of each version write and read, oldest first.
    pub dialects: Vec<Dialect>,
    /// The phases, in order.
    pub phases: Vec<Phase>,
}

/// A time in which fleet, load and packs stay as they are.
#[derive(Debug)]
pub struct Phase {
    /// What it is called: `canary`.
    pub name: String,
    /// The hour of the story that it stands for, if any: `12:08`.
    pub at: Option<String>,
    /// How long it lasts.
    pub duration: Duration,
    /// How many servers of each dialect there are, by index into the scenario's dialects.
    pub fleet: Vec<u32>,
    /// New sessions per second.
    pub creates_per_second: f64,
    /// How often each session that is born in this phase is joined.
    pub joins_per_session: u32,
    /// The pack that both lanes swap in when the phase begins.
    pub swap: Option<Pack>,
    /// What the lane without rules must show.
    pub without: Option<Promise>,
    /// What the lane with rules must show.
    pub with: Option<Promise>,
}

/// What a scenario promises of the failed joins of one lane in one phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// No join fails.
    None,
    /// At least one join fails.
    Some,
    /// Joins fail about as often as the mix of the fleet predicts.
    Predicted,
}

/// Why a scenario can't be played: every problem, the file and line first.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ScenarioError(pub Vec<String>);

impl Scenario {
    /// Reads a scenario and the files that it names, which are relative to its own folder.
    ///
    /// # Errors
    /// Every problem of the file, or the first file that can't be read or is refused.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Scenario, ScenarioError> {
        let path = path.as_ref();
        let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
        let name = path.display().to_string();
        let read = |path: &Path| std::fs::read_to_string(path);
        let text = read(path).map_err(|error| ScenarioError(vec![format!("{name}: {error}")]))?;
        draft::parse(&name, &text, &|file| {
            let path = folder.join(file);
            Ok((path.display().to_string(), read(&path)?))
        })
    }

    /// The incident of 2017-02-23, as it stands in `examples/incident`.
    ///
    /// # Errors
    /// None that a build which passed its tests can give.
    pub fn incident() -> Result<Scenario, ScenarioError> {
        draft::parse("examples/incident/scenario.toml", INCIDENT, &|file| {
            let shipped = SHIPPED.iter().find(|(name, _)| Path::new(name) == file);
            let (name, text) = shipped.ok_or_else(|| std::io::Error::other("it is not shipped with the program"))?;
            Ok(((*name).to_string(), (*text).to_string()))
        })
    }

    /// How long all phases take together.
    pub fn duration(&self) -> Duration {
        self.phases.iter().map(|phase| phase.duration).sum()
    }

    /// When each phase begins, after the start.
    pub fn begins(&self) -> Vec<Duration> {
        let ends = self.phases.iter().scan(Duration::ZERO, |end, phase| {
            let begin = *end;
            *end += phase.duration;
            Some(begin)
        });
        ends.collect()
    }

    /// The fleet of a phase for people: `9×v1 1×v2`.
    pub fn fleet_of(&self, phase: &Phase) -> String {
        let some = phase.fleet.iter().zip(&self.dialects).filter(|(count, _)| **count > 0);
        some.map(|(count, dialect)| format!("{count}×{}", label(&dialect.id))).collect::<Vec<_>>().join(" ")
    }
}

impl Promise {
    /// The word in scenario files.
    pub fn as_str(self) -> &'static str {
        match self {
            Promise::None => "none",
            Promise::Some => "some",
            Promise::Predicted => "predicted",
        }
    }
}

/// A version's id for people: numbers get a `v`.
fn label(id: &str) -> String {
    if id.starts_with(|c: char| c.is_ascii_digit()) && id.len() < 4 { format!("v{id}") } else { id.to_string() }
}

const INCIDENT: &str = include_str!("../../../examples/incident/scenario.toml");
const SHIPPED: &[(&str, &str)] = &[
    ("unskew.toml", include_str!("../../../examples/incident/unskew.toml")),
    ("../../testdata/packs/opentok.toml", include_str!("../../../testdata/packs/opentok.toml")),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed assumption is a failed test")]
    use super::*;

    #[test]
    fn the_shipped_incident_is_the_one_on_disk() {
        let shipped = Scenario::incident().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let on_disk = Scenario::from_file(root.join("examples/incident/scenario.toml")).unwrap();
        let digests =
            |scenario: &Scenario| scenario.phases.iter().map(|p| p.swap.as_ref().map(Pack::digest)).collect::<Vec<_>>();
        assert_eq!((shipped.pack.digest(), digests(&shipped)), (on_disk.pack.digest(), digests(&on_disk)));
        assert_eq!(shipped.gateway, on_disk.gateway);
    }

    #[test]
    fn the_incident_is_told_in_four_phases() {
        let scenario = Scenario::incident().unwrap();
        let told: Vec<_> =
            scenario.phases.iter().map(|phase| (phase.at.as_deref(), scenario.fleet_of(phase))).collect();
        let story = [("11:30", "10×v1"), ("12:08", "9×v1 1×v2"), ("13:05", "10×v1"), ("14:10", "10×v1")];
        assert_eq!(told, story.map(|(at, fleet)| (Some(at), fleet.to_string())));
        assert!(scenario.duration() < Duration::from_secs(18));
        assert!(scenario.phases[3].swap.is_some());
    }
}
