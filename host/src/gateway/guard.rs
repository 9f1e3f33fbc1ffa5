//! The way back that needs nobody: a canary that does worse goes, and so does what a source made active.
//!
//! It compares rates of failure and mean times with those of the generation before. It needs a minimum of calls on both
//! sides, so that missing data never triggers, and leaves alone what a person made active.

use std::time::{Duration, Instant};

use crate::config::RolloutEntry;
use crate::generation::Generation;
use crate::meter::Total;

/// What is watched, and since when.
#[derive(Default)]
pub(crate) struct Guard {
    canary: Option<Watched>,
    /// What a source made active lately, and when.
    supplied: Option<(u64, Instant)>,
}

struct Watched {
    generation: u64,
    /// What the active generation had done when this one began.
    before: Total,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Discard(String),
    RollBack(String),
}

impl Guard {
    /// Notes that a source, and no person, made this generation active.
    pub(crate) fn supplied(&mut self, generation: u64) {
        self.supplied = Some((generation, Instant::now()));
    }

    /// Notes that a person decided.
    pub(crate) fn decided(&mut self) {
        self.supplied = None;
    }

    /// Notes from where on the active generation's calls are compared with those of what is staged.
    pub(crate) fn begin(&mut self, active: Option<&Generation>, staged: Option<&Generation>) {
        let before = active.map(|active| active.meter().total()).unwrap_or_default();
        self.canary = staged.map(|staged| Watched { generation: staged.id(), before });
    }

    /// Looks at the staged generation, and at the active one with the one before.
    pub(crate) fn look(
        &mut self,
        policy: &RolloutEntry,
        active: &Generation,
        staged: Option<&Generation>,
        previous: Option<&Generation>,
    ) -> Option<Verdict> {
        if let (Some(canary), Some(staged)) = (&self.canary, staged)
            && canary.generation == staged.id()
        {
            let reference = active.meter().total().since(&canary.before);
            if let Some(reason) = worse(policy, &staged.meter().total(), &reference) {
                return Some(Verdict::Discard(reason));
            }
        }
        let (generation, since) = self.supplied?;
        if generation != active.id() || since.elapsed() > Duration::from_secs(policy.guard_s) {
            self.supplied = None;
            return None;
        }
        worse(policy, &active.meter().total(), &previous?.meter().total()).map(Verdict::RollBack)
    }
}

/// Why one has done worse than the other, if it has.
fn worse(policy: &RolloutEntry, candidate: &Total, reference: &Total) -> Option<String> {
    let enough = |total: &Total| total.calls >= policy.guard_calls.max(1);
    if !enough(candidate) || !enough(reference) {
        return None;
    }
    let [now, before] = [candidate, reference].map(|total| 100.0 * total.failed as f64 / total.calls as f64);
    if now - before > policy.guard_failures_percent {
        return Some(format!("it goes back by itself: {now:.1} % of its calls fail, {before:.1} % of those before it"));
    }
    let mean = |total: &Total| total.seconds * 1e6 / total.calls.saturating_sub(total.failed).max(1) as f64;
    let [now, before] = [candidate, reference].map(mean);
    let slow = policy.guard_latency_factor > 0.0 && now > before * policy.guard_latency_factor && now > 100.0;
    slow.then(|| format!("it goes back by itself: its calls take {now:.0} µs, those before it {before:.0} µs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(calls: u64, failed: u64, micros: f64) -> Total {
        Total { calls, failed, seconds: (calls - failed) as f64 * micros / 1e6 }
    }

    #[test]
    fn it_takes_enough_calls_on_both_sides_and_a_clear_difference() {
        let policy = RolloutEntry::default();
        let good = total(1000, 1, 20.0);
        assert_eq!(worse(&policy, &total(10, 10, 20.0), &good), None, "too few calls");
        assert_eq!(worse(&policy, &total(1000, 500, 20.0), &total(0, 0, 0.0)), None, "nothing to compare with");
        assert_eq!(worse(&policy, &total(1000, 10, 20.0), &good), None, "0.9 % more is allowed");
        assert!(worse(&policy, &total(1000, 12, 20.0), &good).is_some_and(|said| said.contains("1.2 %")));
        assert_eq!(worse(&policy, &total(1000, 1, 90.0), &good), None, "below 100 µs nobody notices");
        assert!(worse(&policy, &total(1000, 1, 500.0), &good).is_some_and(|said| said.contains("500 µs")));
    }
}
