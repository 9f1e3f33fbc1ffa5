//! What came of holding the laws: counts, counter-examples, refusals and overlaps.

use super::{Coverage, Grown, Law};
use crate::contract::Version;

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Each ordered pair of versions, with the number of records that each law had something to say about.
    pub pairs: Vec<PairCount>,
    /// The laws that don't hold, each with a smallest record; at most one of each law and pair.
    pub broken: Vec<CounterExample>,
    /// Ordinary and recorded records that the rules refuse, by fault and op.
    pub refusals: Vec<Refusal>,
    /// Records that more than one version recognises.
    pub overlaps: Vec<Overlap>,
    /// How often ops met what.
    pub coverage: Coverage,
    /// How many records a cell of the coverage should have met: a hundredth of those of a pair, at most 100.
    pub enough: u64,
}

/// The records of one ordered pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairCount {
    /// The version of the records.
    pub from: String,
    /// The version that they were brought to.
    pub to: String,
    pub(super) way: (Version, Version),
    /// How many were translated.
    pub translated: u64,
    /// How many were refused.
    pub refused: u64,
    /// How many of them each law applied to, in the order of [`Law::ALL`].
    pub applied: [u64; Law::ALL.len()],
}

/// A law that doesn't hold, with the smallest record that was found to show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterExample {
    /// The law.
    pub law: Law,
    /// The version of the record.
    pub from: String,
    /// The version that it was brought to.
    pub to: String,
    /// The record.
    pub record: String,
    /// What a server of the other version made of it in between, where the law is about that.
    pub edited: Option<String>,
    /// What a server of the record's own version made of it when it had come back, where it takes two edits.
    pub edited_back: Option<String>,
    /// What should be.
    pub expected: String,
    /// What is.
    pub found: String,
    /// Where in the record, as a JSON Pointer, if the law is about a place.
    pub place: Option<String>,
    /// The op that did it, as `step 1→2, op 3: rename`, or the few that can have: ` or ` between them.
    pub op: Option<String>,
    /// What it came from.
    pub grown: Grown,
    /// The name of the recorded record, or the number of the grown one: the same seed and number give the same record.
    pub origin: String,
}

/// Records that the rules refuse in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The version of the records.
    pub from: String,
    /// The version that they were to be brought to.
    pub to: String,
    /// The kind of fault.
    pub kind: String,
    /// The op that refused, as `step 1→2, op 3`, or empty.
    pub op: String,
    /// The fault of the smallest record.
    pub message: String,
    /// The smallest record found.
    pub record: String,
    /// How many there were.
    pub count: u64,
    /// How many of them were recorded ones.
    pub recorded: u64,
}

/// A record that more than one version recognises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// Which versions: `one of versions 1 and 2`, as the fault says it.
    pub message: String,
    /// The smallest record found.
    pub record: String,
    /// What it came from: an odd one bears marks of two versions that only a mistake brings together.
    pub grown: Grown,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Records so far.
    pub done: u64,
    /// Records at the end, if few are refused.
    pub total: u64,
}

impl Findings {
    /// Whether all laws hold.
    pub fn hold(&self) -> bool {
        self.broken.is_empty()
    }

    /// How many records were translated, over all pairs.
    pub fn translated(&self) -> u64 {
        self.pairs.iter().map(|pair| pair.translated).sum()
    }
}
