//! What a rehearsal showed, as numbers: the object that `--json` prints and the table and report are made of.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::audit::Audit;
use super::promise::{self, Prediction, Verdict};
use super::scenario::{Promise, Scenario};
use super::tally::{PhaseTally, Tally};

/// What a rehearsal showed.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The scenario's name.
    pub scenario: String,
    /// Whether every promise was kept.
    pub kept: bool,
    /// Every phase in order.
    pub phases: Vec<PhaseOutcome>,
    /// What the scenario promises, and whether it was kept.
    pub promises: Vec<Verdict>,
    /// Failed joins per second over time.
    pub timeline: Vec<Moment>,
    /// What the stores held in the end.
    pub audit: Lanes<Audit>,
}

/// What a phase showed.
#[derive(Debug, Clone, Serialize)]
pub struct PhaseOutcome {
    /// The phase's name.
    pub name: String,
    /// The hour that it stands for.
    pub at: Option<String>,
    /// When it began, in seconds after the start.
    pub begins_s: f64,
    /// How long it lasted, in seconds.
    pub seconds: f64,
    /// How many servers there were of each version.
    pub fleet: BTreeMap<String, u32>,
    /// The fleet for people: `9×v1 1×v2`.
    pub fleet_text: String,
    /// Whether a pack was swapped in when it began.
    pub swapped: bool,
    /// What both lanes showed.
    pub lanes: Lanes<LaneOutcome>,
}

/// The same of both lanes.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Lanes<T> {
    /// The lane whose gateway has no rules until the scenario swaps a pack in.
    pub without: T,
    /// The lane that has the pack from the start.
    pub with: T,
}

/// What one lane showed in one phase.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct LaneOutcome {
    /// Sessions created.
    pub creates: u64,
    /// Creates that failed.
    pub failed_creates: u64,
    /// Joins sent.
    pub joins: u64,
    /// Joins that failed, for whatever reason.
    pub failed_joins: u64,
    /// Of these, the ones that a server refused with code 1026.
    pub code_1026: u64,
    /// Joins for which the gateway translated the record.
    pub translated: u64,
    /// The median of the joins' times, in milliseconds.
    pub p50_ms: f64,
    /// The 99th percentile of the joins' times, in milliseconds.
    pub p99_ms: f64,
    /// Joins that went out more than 100 ms after they were due, since the machine was busy.
    pub late: u64,
    /// What the fleet's mix predicts for sessions born in this phase, where the scenario asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prediction: Option<Prediction>,
}

/// A moment of the timeline.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Moment {
    /// When it begins, in seconds after the start.
    pub at_s: f64,
    /// Failed joins per second in both lanes.
    pub failed_per_second: Lanes<f64>,
    /// Joins per second in both lanes.
    pub joins_per_second: Lanes<f64>,
}

/// The length of a moment of the timeline: about sixty of them, but none under a quarter of a second.
pub(super) fn slice(duration: Duration) -> Duration {
    Duration::from_millis(250).max(duration / 60)
}

impl Outcome {
    /// The outcome of a scenario from what the lanes without and with rules counted.
    pub(super) fn of(scenario: &Scenario, slice: Duration, tallies: &[Tally; 2], audits: [Audit; 2]) -> Outcome {
        let [without, with] = tallies;
        let mut promises = Vec::new();
        let mut phases = Vec::new();
        for (index, (phase, begins)) in scenario.phases.iter().zip(scenario.begins()).enumerate() {
            let lane = |tally: &PhaseTally, promise| {
                let predicted = promise == Some(Promise::Predicted);
                LaneOutcome::of(tally, predicted.then(|| Prediction::of(scenario, phase, tally)))
            };
            for (name, promise, tally) in [("without", phase.without, without), ("with", phase.with, with)] {
                let tally = &tally.phases[index];
                promises.extend(promise.map(|promise| promise::judge(scenario, phase, name, promise, tally)));
            }
            let fleet = scenario.dialects.iter().zip(&phase.fleet).filter(|(_, count)| **count > 0);
            phases.push(PhaseOutcome {
                name: phase.name.clone(),
                at: phase.at.clone(),
                begins_s: begins.as_secs_f64(),
                seconds: phase.duration.as_secs_f64(),
                fleet: fleet.map(|(dialect, count)| (dialect.id.clone(), *count)).collect(),
                fleet_text: scenario.fleet_of(phase),
                swapped: phase.swap.is_some(),
                lanes: Lanes {
                    without: lane(&without.phases[index], phase.without),
                    with: lane(&with.phases[index], phase.with),
                },
            });
        }
        let [without_audit, with_audit] = audits;
        promises.push(Verdict {
            phase: "the end".to_string(),
            lane: "with",
            promise: "no edit and nothing of a record is lost".to_string(),
            kept: with_audit.holds(),
            seen: with_audit.to_string(),
        });
        Outcome {
            scenario: scenario.name.clone(),
            kept: promises.iter().all(|verdict| verdict.kept),
            phases,
            promises,
            timeline: timeline(slice, without, with),
            audit: Lanes { without: without_audit, with: with_audit },
        }
    }

    /// The promises that were broken.
    pub fn broken(&self) -> impl Iterator<Item = &Verdict> {
        self.promises.iter().filter(|verdict| !verdict.kept)
    }
}

impl<T> Lanes<T> {
    /// Both lanes with their names, the one without rules first.
    pub fn each(&self) -> [(&'static str, &T); 2] {
        [("without", &self.without), ("with", &self.with)]
    }
}

impl LaneOutcome {
    fn of(tally: &PhaseTally, prediction: Option<Prediction>) -> LaneOutcome {
        LaneOutcome {
            creates: tally.creates,
            failed_creates: tally.failed_creates,
            joins: tally.joins,
            failed_joins: tally.failed_joins,
            code_1026: tally.unreadable,
            translated: tally.translated,
            p50_ms: tally.milliseconds(0.5),
            p99_ms: tally.milliseconds(0.99),
            late: tally.late,
            prediction,
        }
    }
}

fn timeline(slice: Duration, without: &Tally, with: &Tally) -> Vec<Moment> {
    let seconds = slice.as_secs_f64();
    let moments = without.timeline.iter().zip(&with.timeline).enumerate();
    let per_second = |count: u32| f64::from(count) / seconds;
    moments
        .map(|(index, (without, with))| Moment {
            at_s: index as f64 * seconds,
            failed_per_second: Lanes { without: per_second(without.failed), with: per_second(with.failed) },
            joins_per_second: Lanes { without: per_second(without.joins), with: per_second(with.joins) },
        })
        .collect()
}
