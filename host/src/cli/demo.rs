//! `unskew demo`: the incident of 2017-02-23, rehearsed.

use clap::Args;
use unskew::rehearsal::Scenario;

use super::output::Output;
use super::rehearse::{self, Report};
use super::{Failed, Found};

/// Replay the incident of 2017-02-23 and show what the rules change
///
/// Plays the shipped scenario in a quarter of a minute. At 12:08 one of ten servers gets a new version and writes
/// session records that the others can't read; joins fail. At 13:05 it is rolled back, and they go on failing, since
/// its records are still there. At 14:10 the fix arrives: here it is a pack, swapped in while traffic flows. Beside
/// it a second lane has the pack from the start, and no join fails at all. Exits with 1 if anything is otherwise.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  unskew demo
  unskew demo --report /tmp/report.html
  unskew demo --json --no-report")]
pub(super) struct Demo {
    #[command(flatten)]
    report: Report,
}

impl Demo {
    /// Replays.
    pub(super) fn execute(self, output: Output) -> Result<Found, Failed> {
        let scenario = Scenario::incident().map_err(|error| Failed::Machine(error.to_string()))?;
        rehearse::play(&scenario, &self.report, output)
    }
}
