//! What the laws are held against: anything that translates as a loaded pack does.

use std::fmt;

use crate::contract::{CarryPlace, Change, Normalized, Translation, Verdict, Version};

/// A loaded pack, in the sandbox or linked natively.
pub trait Subject {
    /// The ids of its versions, oldest first.
    fn versions(&self) -> Vec<String>;
    /// Where the carry lives.
    fn carry(&self) -> CarryPlace;
    /// Which version a record is of.
    ///
    /// # Errors
    /// No version recognises it, or more than one.
    fn detect(&self, record: &[u8]) -> Result<Version, Refused>;
    /// A record in another version.
    ///
    /// # Errors
    /// The rules refuse it.
    fn translate(&self, record: &[u8], carry: &[u8], from: Version, to: Version) -> Result<Translation, Refused>;
    /// Detects and translates in one call.
    ///
    /// # Errors
    /// As `detect` and `translate`.
    fn normalize(&self, record: &[u8], carry: &[u8], to: Version) -> Result<Normalized, Refused>;
    /// Every change of a translation.
    ///
    /// # Errors
    /// As `translate`.
    fn explain(&self, record: &[u8], carry: &[u8], from: Version, to: Version) -> Result<Vec<Change>, Refused>;
    /// What is promised of a pair.
    fn judge(&self, held: Version, server: Version) -> Verdict;
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The rules refuse the record.
    Fault {
        /// In kebab case: `wrong-type`.
        kind: String,
        /// The op that refused, as `step 1→2, op 3`, or empty.
        op: String,
        /// The whole fault in a line.
        message: String,
    },
    /// The guest failed, which no record may make it do.
    Failed(String),
}

impl Refused {
    /// Whether this is a fault of this kind.
    pub fn is(&self, kinds: &[&str]) -> bool {
        match self {
            Refused::Fault { kind, .. } => kinds.contains(&kind.as_str()),
            Refused::Failed(_) => false,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Fault { message, .. } | Refused::Failed(message) => f.write_str(message),
        }
    }
}
