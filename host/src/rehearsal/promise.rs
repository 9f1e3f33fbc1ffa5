//! Whether a rehearsal kept what its scenario promises, and what the mix of a fleet predicts.

use serde::Serialize;

use super::scenario::{Phase, Promise, Scenario};
use super::tally::{Fared, PhaseTally};

/// A promise and whether it was kept.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// The phase that it is about.
    pub phase: String,
    /// The lane that it is about, `without` or `with`.
    pub lane: &'static str,
    /// What was promised: `no join fails`.
    pub promise: String,
    /// Whether it was kept.
    pub kept: bool,
    /// What was seen.
    pub seen: String,
}

/// How often joins of sessions that are born in a phase should fail, and how often they did.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Prediction {
    /// The share that the fleet's mix predicts.
    pub predicted: f64,
    /// How far chance may lead from it.
    pub tolerance: f64,
    /// The share that was seen.
    pub seen: f64,
}

/// Judges what a phase promised of one lane. Whatever it promised, nothing but refused records may go wrong.
pub(super) fn judge(
    scenario: &Scenario,
    phase: &Phase,
    lane: &'static str,
    promise: Promise,
    tally: &PhaseTally,
) -> Verdict {
    let (promise, kept, mut seen) = match promise {
        Promise::None => ("no join fails", tally.failed_joins == 0 && tally.joins > 0, failed(tally)),
        Promise::Some => ("joins fail, all with code 1026", tally.failed_joins > 0, failed(tally)),
        Promise::Predicted => {
            let prediction = Prediction::of(scenario, phase, tally);
            ("joins fail as the fleet's mix predicts, all with code 1026", prediction.holds(), prediction.to_string())
        }
    };
    let others = tally.failed_creates + tally.failed_joins - tally.unreadable;
    if others > 0 {
        let first = tally.oddity.as_deref().unwrap_or("unknown");
        seen = format!("{seen}; {others} requests failed otherwise, the first: {first}");
    }
    let promise = promise.to_string();
    Verdict { phase: phase.name.clone(), lane, promise, kept: kept && others == 0, seen }
}

fn failed(tally: &PhaseTally) -> String {
    format!("{} of {} joins failed", tally.failed_joins, tally.joins)
}

impl Prediction {
    /// What the mix of the fleet predicts for sessions that are born in this phase, against what they met.
    ///
    /// A session is written by one server and joined at another: both are drawn by their share of the fleet, and the
    /// gateway without rules keeps a session at the server that it hashes to. So the share of failed joins is
    /// Σ share(a)·share(b) over all pairs of versions where b doesn't read a; for 9×v1 1×v2 that is 0.1·0.9 = 9 %.
    ///
    /// All joins of a session succeed or fail together, so chance deals in sessions and not in joins: the variance of
    /// the share is p(1-p)·Σn²/(Σn)², n being the joins of each session. The tolerance is four standard deviations,
    /// which chance leaves once in 15,000 runs, and one point of a hundred, since a hash spreads sessions only nearly
    /// by weight.
    pub(super) fn of(scenario: &Scenario, phase: &Phase, tally: &PhaseTally) -> Prediction {
        let predicted = mismatch(scenario, phase);
        let sum = |count: fn(&Fared) -> f64| tally.newborn.iter().map(count).fold(0.0, |sum, n| sum + n);
        let joins = sum(|session| f64::from(session.joins)).max(1.0);
        let squares = sum(|session| f64::from(session.joins).powi(2)).max(1.0);
        let failed = sum(|session| f64::from(session.failed));
        let deviation = (predicted * (1.0 - predicted) * squares).sqrt() / joins;
        Prediction { predicted, tolerance: 4.0 * deviation + 0.01, seen: failed / joins }
    }

    /// Whether what was seen is what was predicted, and not nothing.
    pub fn holds(&self) -> bool {
        self.seen > 0.0 && (self.seen - self.predicted).abs() <= self.tolerance
    }
}

impl std::fmt::Display for Prediction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [seen, predicted, tolerance] = [self.seen, self.predicted, self.tolerance].map(|share| share * 100.0);
        write!(f, "{seen:.1} % of the joins of new sessions failed, predicted {predicted:.1} ± {tolerance:.1} %")
    }
}

/// The share of joins at which the server can't read what another server of the same fleet wrote.
fn mismatch(scenario: &Scenario, phase: &Phase) -> f64 {
    let servers = f64::from(phase.fleet.iter().sum::<u32>().max(1));
    let share = |count: &u32| f64::from(*count) / servers;
    let mut failing = 0.0;
    for (writer, written) in phase.fleet.iter().enumerate() {
        for (reader, read) in phase.fleet.iter().enumerate() {
            if !scenario.dialects[reader].reads.contains(&writer) {
                failing += share(written) * share(read);
            }
        }
    }
    failing
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed assumption is a failed test")]
    use std::time::Duration;

    use super::super::tally::{Joined, Tally};
    use super::*;

    #[test]
    fn one_server_in_ten_predicts_nine_percent() {
        let scenario = Scenario::incident().unwrap();
        assert!((mismatch(&scenario, &scenario.phases[1]) - 0.09).abs() < 1e-9);
        assert_eq!(mismatch(&scenario, &scenario.phases[0]), 0.0);
    }

    #[test]
    fn the_tolerance_counts_sessions_and_not_joins() {
        let scenario = Scenario::incident().unwrap();
        let second = Duration::from_secs(1);
        let prediction = |failing: u32| {
            let mut tally = Tally::new(1, second, second);
            for n in 0..400 {
                tally.fared(0, Fared { joins: 3, failed: if n < failing { 3 } else { 0 } });
            }
            Prediction::of(&scenario, &scenario.phases[1], &tally.phases[0])
        };
        assert!((prediction(36).tolerance - 0.0672).abs() < 0.001, "{}", prediction(36));
        assert!(prediction(36).holds() && prediction(20).holds() && prediction(55).holds());
        assert!(!prediction(0).holds() && !prediction(80).holds());
    }

    #[test]
    fn a_failure_of_another_kind_breaks_a_promise() {
        let scenario = Scenario::incident().unwrap();
        let second = Duration::from_secs(1);
        let mut tally = Tally::new(1, second, second);
        tally.created(0, Some("reset".into()));
        tally.joined(0, second, second, second, &Joined::Done { translated: false });
        let verdict = judge(&scenario, &scenario.phases[0], "with", Promise::None, &tally.phases[0]);
        let seen = "0 of 1 joins failed; 1 requests failed otherwise, the first: reset";
        assert_eq!((verdict.kept, verdict.seen.as_str()), (false, seen));
    }
}
