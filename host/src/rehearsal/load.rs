//! The load of a rehearsal: when each session is born and joined, drawn once so that both lanes get the same.

use std::time::Duration;

use super::scenario::Scenario;

/// One session of the load.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Session {
    /// The phase in which it is born.
    pub(super) born: usize,
    /// When it is created, after the start.
    pub(super) at: Duration,
    /// When it is joined, after the start, in order.
    pub(super) joins: Vec<Duration>,
}

/// All sessions of a scenario, in the order of their births. The same scenario gives the same sessions.
///
/// Births are even with jitter. A session's joins come early rather than late (the time is squared), as people
/// come to a meeting at its start; those after the end of the last phase are left out.
pub(super) fn sessions(scenario: &Scenario) -> Vec<Session> {
    let mut chance = Chance(scenario.seed);
    let end = scenario.duration();
    let mut sessions = Vec::new();
    for (born, (phase, begin)) in scenario.phases.iter().zip(scenario.begins()).enumerate() {
        let every = 1.0 / phase.creates_per_second;
        let count = (phase.duration.as_secs_f64() * phase.creates_per_second).round() as u64;
        for n in 0..count {
            let at = begin + Duration::from_secs_f64((n as f64 + chance.unit()) * every);
            let joins = (0..phase.joins_per_session).map(|_| at + scenario.session.mul_f64(chance.unit().powi(2)));
            let mut joins: Vec<_> = joins.filter(|join| *join < end).collect();
            joins.sort();
            sessions.push(Session { born, at, joins });
        }
    }
    sessions
}

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
pub(super) struct Chance(pub(super) u64);

impl Chance {
    /// The next 64 bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 up to, but not, 1.
    fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed assumption is a failed test")]
    use super::*;

    #[test]
    fn the_same_scenario_gives_the_same_load() {
        let scenario = Scenario::incident().unwrap();
        assert_eq!(sessions(&scenario), sessions(&scenario));
    }

    #[test]
    fn sessions_are_born_in_their_phase_and_joined_after_it() {
        let scenario = Scenario::incident().unwrap();
        let (begins, sessions) = (scenario.begins(), sessions(&scenario));
        assert_eq!(sessions.len(), 3000);
        for session in &sessions {
            assert!(session.at >= begins[session.born]);
            assert!(session.joins.iter().all(|join| *join >= session.at && *join < scenario.duration()));
        }
        let late = |phase: usize| {
            move |session: &&Session| session.born == 1 && session.joins.iter().any(|j| *j > begins[phase])
        };
        assert!(
            sessions.iter().filter(late(2)).count() > 100,
            "sessions of the canary must be joined after the roll-back"
        );
    }
}
