//! `unskew explain`: every change that a translation makes, op by op.

use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;
use unskew::Change;

use super::output::{self, Output};
use super::table::Table;
use super::translate::{Journey, Way};
use super::{Failed, Found};

/// Show what a translation changes, op by op
///
/// Prints one line for each change: which op made it, where, what it did (moved, changed, dropped, narrowed, defaulted
/// or restored the value), whether the value is carried (kept for the way back) or lost, and what stood there before and
/// after. The record stays as it is.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  unskew explain --pack pack.toml --to 1 record.json
  unskew explain --pack pack.toml --from 1 --to 2 --carry kept.json --json record.json")]
pub(super) struct Explain {
    #[command(flatten)]
    way: Way,
}

/// The object of `--json`; values stand in it word for word.
#[derive(Serialize)]
struct Explained<'a> {
    from: &'a str,
    to: &'a str,
    changes: Vec<Changed>,
}

#[derive(Serialize)]
struct Changed {
    op: String,
    place: String,
    effect: String,
    outcome: String,
    before: Option<Box<RawValue>>,
    after: Option<Box<RawValue>>,
}

/// Values longer than this are cut in the table; `--json` has them whole.
const WIDEST: usize = 40;

impl Explain {
    /// Explains.
    pub(super) fn execute(self, output: Output) -> Result<Found, Failed> {
        let Way { to, record: source, .. } = &self.way;
        let Journey { runtime, record, carry, from } = self.way.read()?;
        let changes =
            runtime.explain(&record, &carry, &from, to).map_err(|error| source.refused(&record, &error, &runtime))?;
        match output {
            Output::Text if changes.is_empty() => {
                output::print(&format!("nothing changes from version {from} to {to}\n"))?;
            }
            Output::Text => {
                let mut table = Table::new(&["op", "place", "outcome", "before", "after"]);
                for change in &changes {
                    let [before, after] = [&change.before, &change.after].map(|text| shown(text.as_deref()));
                    let (op, place) = (change.op.clone(), change.place.clone());
                    table.row([op, place, outcome(change), before, after]);
                }
                output::print(&table.to_string())?;
            }
            Output::Json => {
                let text = |text: &Option<String>| text.as_deref().and_then(|text| output::verbatim(text.as_bytes()));
                let changed = |change: &Change| Changed {
                    op: change.op.clone(),
                    place: change.place.clone(),
                    effect: change.effect.clone(),
                    outcome: change.outcome.clone(),
                    before: text(&change.before),
                    after: text(&change.after),
                };
                let changes = changes.iter().map(changed).collect();
                output::print_json(&Explained { from: &from, to, changes })?;
            }
        }
        Ok(Found::Good)
    }
}

/// What happened, and what became of the value if the one doesn't say the other.
fn outcome(change: &Change) -> String {
    match (change.effect.as_str(), change.outcome.as_str()) {
        (effect, outcome @ ("carried" | "lost")) => format!("{effect}, {outcome}"),
        (effect, _) => effect.to_owned(),
    }
}

fn shown(text: Option<&str>) -> String {
    match text {
        None => "nothing".to_string(),
        Some(text) if text.chars().count() <= WIDEST => text.to_string(),
        Some(text) => text.chars().take(WIDEST - 1).chain(['…']).collect(),
    }
}
