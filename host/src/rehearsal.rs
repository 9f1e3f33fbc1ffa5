//! Rolling deployments, rehearsed: a scenario played on real HTTP with strict servers, with and without rules, side by side.

mod audit;
mod client;
mod lane;
mod load;
mod outcome;
mod plot;
mod promise;
mod report;
mod scenario;
mod server;
mod shape;
mod tally;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::gateway::StartError;
use crate::{LoadError, Runtime};

use lane::Lane;

pub use audit::Audit;
pub use outcome::{LaneOutcome, Lanes, Moment, Outcome, PhaseOutcome};
pub use promise::{Prediction, Verdict};
pub use report::html;
pub use scenario::{Phase, Promise, Scenario, ScenarioError};
pub use server::{Dialect, UNREADABLE};

/// How far a rehearsal has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The phase that is being played.
    pub phase: &'a Phase,
    /// The time since the start.
    pub elapsed: Duration,
    /// How long the whole rehearsal takes.
    pub total: Duration,
    /// Failed joins so far in the lane without rules and the one with rules.
    pub failed_joins: [u64; 2],
}

/// Why a rehearsal could not be played to its end.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// The pack was refused.
    #[error(transparent)]
    Pack(#[from] LoadError),
    /// A server could not be started.
    #[error("an embedded server could not be started: {0}")]
    Server(std::io::Error),
    /// A gateway could not be started or did not take its servers.
    #[error("the embedded gateway: {0}")]
    Gateway(#[from] StartError),
    /// The machine gave no threads.
    #[error("the rehearsal's own threads could not be started: {0}")]
    Threads(std::io::Error),
}

/// Plays a scenario in both lanes at once; `watch` is told ten times a second how far it is.
///
/// # Errors
/// If it could not be played; a broken promise is no error but stands in the outcome.
pub fn play(scenario: &Scenario, watch: &mut dyn FnMut(&Progress<'_>)) -> Result<Outcome, RehearsalError> {
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(RehearsalError::Threads)?;
    let outcome = threads.block_on(play_lanes(scenario, watch));
    threads.shutdown_timeout(Duration::from_secs(1));
    outcome
}

async fn play_lanes(scenario: &Scenario, watch: &mut dyn FnMut(&Progress<'_>)) -> Result<Outcome, RehearsalError> {
    let slice = outcome::slice(scenario.duration());
    let migration = Runtime::new(&scenario.pack)?;
    let with = Lane::start(scenario, Runtime::new(&scenario.pack)?, migration.clone(), slice).await?;
    let without = Lane::start(scenario, Runtime::empty()?, migration, slice).await?;
    let mut lanes = [without, with];

    let start = Instant::now();
    let mut living = JoinSet::new();
    let mut chance = load::Chance(scenario.seed);
    for session in load::sessions(scenario) {
        let name = format!("2_MX40NTgyODA2Mn5-{:016x}", chance.bits());
        for lane in &lanes {
            living.spawn(lane.shared.clone().live(name.clone(), session.clone(), start));
        }
    }

    let mut begins = scenario.begins().into_iter().enumerate().skip(1).peekable();
    let mut phase = 0;
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    loop {
        let turn = begins.peek().map_or(start + scenario.duration(), |(_, begin)| start + *begin);
        tokio::select! {
            () = tokio::time::sleep_until(turn) => match begins.next() {
                Some((next, _)) => {
                    let [without, with] = &mut lanes;
                    let (a, b) = tokio::join!(without.turn(scenario, next), with.turn(scenario, next));
                    a.and(b)?;
                    phase = next;
                }
                None => break,
            },
            _ = ticks.tick() => watch(&Progress {
                phase: &scenario.phases[phase],
                elapsed: start.elapsed(),
                total: scenario.duration(),
                failed_joins: [0, 1].map(|lane: usize| lanes[lane].shared.tally().failed_joins()),
            }),
        }
    }
    while living.join_next().await.is_some() {}

    let [without, with] = lanes;
    let shared = [without.shared.clone(), with.shared.clone()];
    let audits = [without.finish().await, with.finish().await];
    let tallies = shared.map(take);
    Ok(Outcome::of(scenario, slice, &tallies, audits))
}

/// The tally of a lane whose sessions are over.
fn take(shared: Arc<lane::Shared>) -> tally::Tally {
    std::mem::replace(&mut *shared.tally(), tally::Tally::new(0, Duration::ZERO, Duration::from_secs(1)))
}
