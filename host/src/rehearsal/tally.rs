//! What a lane has seen: counts and times per phase, failures over time, and how sessions of a phase fared in it.

use std::time::Duration;

use hdrhistogram::Histogram;

/// What one lane has counted so far.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) phases: Vec<PhaseTally>,
    /// Joins and failed joins over time, one entry per `slice`.
    pub(super) timeline: Vec<Slice>,
    slice: Duration,
}

/// What one lane has counted in one phase; a request belongs to the phase in which it was sent.
#[derive(Debug)]
pub(super) struct PhaseTally {
    pub(super) creates: u64,
    pub(super) failed_creates: u64,
    pub(super) joins: u64,
    pub(super) failed_joins: u64,
    /// Failed joins that a server refused with code 1026; the others have another reason.
    pub(super) unreadable: u64,
    pub(super) translated: u64,
    /// Joins whose request went out more than `LATE` after it was due.
    pub(super) late: u64,
    /// Times of all joins, in microseconds.
    pub(super) times: Histogram<u64>,
    /// Joins and failed joins of each session that was born in this phase, while it lasted.
    pub(super) newborn: Vec<Fared>,
    /// The first failure of another kind, for people.
    pub(super) oddity: Option<String>,
}

/// A moment of the timeline.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Slice {
    pub(super) joins: u32,
    pub(super) failed: u32,
}

/// How a session fared.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fared {
    pub(super) joins: u32,
    pub(super) failed: u32,
}

/// What became of one join.
#[derive(Debug)]
pub(super) enum Joined {
    /// It went through; the record was translated for it or not.
    Done { translated: bool },
    /// A server refused the record with code 1026.
    Unreadable,
    /// It failed in another way.
    Odd(String),
}

/// From when on a request counts as late.
const LATE: Duration = Duration::from_millis(100);

impl Tally {
    /// An empty tally of so many phases that take this long together.
    pub(super) fn new(phases: usize, duration: Duration, slice: Duration) -> Tally {
        let slices = (duration.as_secs_f64() / slice.as_secs_f64()).ceil() as usize;
        Tally {
            phases: (0..phases).map(|_| PhaseTally::new()).collect(),
            timeline: vec![Slice::default(); slices.max(1)],
            slice,
        }
    }

    /// A create of this phase was answered.
    pub(super) fn created(&mut self, phase: usize, failure: Option<String>) {
        let phase = &mut self.phases[phase];
        phase.creates += 1;
        if let Some(failure) = failure {
            phase.failed_creates += 1;
            phase.oddity.get_or_insert(failure);
        }
    }

    /// A join of this phase, sent at `at` after the start and `late` after it was due, was answered after `took`.
    pub(super) fn joined(&mut self, phase: usize, at: Duration, late: Duration, took: Duration, outcome: &Joined) {
        let slice = (at.as_secs_f64() / self.slice.as_secs_f64()) as usize;
        let last = self.timeline.len() - 1;
        let slice = &mut self.timeline[slice.min(last)];
        let phase = &mut self.phases[phase];
        slice.joins += 1;
        phase.joins += 1;
        phase.late += u64::from(late > LATE);
        phase.times.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        match outcome {
            Joined::Done { translated } => phase.translated += u64::from(*translated),
            Joined::Unreadable => phase.unreadable += 1,
            Joined::Odd(reason) => {
                phase.oddity.get_or_insert_with(|| reason.clone());
            }
        }
        if outcome.failed() {
            slice.failed += 1;
            phase.failed_joins += 1;
        }
    }

    /// A session that was born in this phase fared so while the phase lasted.
    pub(super) fn fared(&mut self, phase: usize, fared: Fared) {
        if fared.joins > 0 {
            self.phases[phase].newborn.push(fared);
        }
    }

    /// All failed joins so far.
    pub(super) fn failed_joins(&self) -> u64 {
        self.phases.iter().map(|phase| phase.failed_joins).sum()
    }
}

impl PhaseTally {
    fn new() -> PhaseTally {
        // From 1 µs to a minute with three digits: bounds that the constructor takes.
        let times = Histogram::new_with_bounds(1, 60_000_000, 3);
        PhaseTally {
            creates: 0,
            failed_creates: 0,
            joins: 0,
            failed_joins: 0,
            unreadable: 0,
            translated: 0,
            late: 0,
            times: times.unwrap_or_else(|_| unreachable!("the bounds are constants")),
            newborn: Vec::new(),
            oddity: None,
        }
    }

    /// The time below which this share of the joins stayed, in milliseconds.
    pub(super) fn milliseconds(&self, share: f64) -> f64 {
        self.times.value_at_quantile(share) as f64 / 1000.0
    }
}

impl Joined {
    /// Whether the join failed.
    pub(super) fn failed(&self) -> bool {
        match self {
            Joined::Done { .. } => false,
            Joined::Unreadable | Joined::Odd(_) => true,
        }
    }

    /// Whether a server said no, so that the join surely had no effect.
    pub(super) fn refused(&self) -> bool {
        match self {
            Joined::Unreadable => true,
            Joined::Done { .. } | Joined::Odd(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_counts_in_its_phase_and_at_its_moment() {
        let second = Duration::from_secs(1);
        let mut tally = Tally::new(2, 4 * second, second / 2);
        let took = Duration::from_millis(2);
        tally.joined(0, second, Duration::ZERO, took, &Joined::Done { translated: true });
        tally.joined(1, 3 * second, Duration::ZERO, took, &Joined::Unreadable);
        tally.joined(1, 9 * second, second, took, &Joined::Odd("reset".into()));
        assert_eq!((tally.phases[0].joins, tally.phases[0].failed_joins, tally.phases[0].translated), (1, 0, 1));
        assert_eq!((tally.phases[1].joins, tally.phases[1].failed_joins, tally.phases[1].unreadable), (2, 2, 1));
        assert_eq!((tally.phases[1].late, tally.phases[1].oddity.as_deref()), (1, Some("reset")));
        assert_eq!((tally.timeline.len(), tally.timeline[6].failed, tally.timeline[7].failed), (8, 1, 1));
        assert!((tally.phases[0].milliseconds(0.5) - 2.0).abs() < 0.01);
    }
}
