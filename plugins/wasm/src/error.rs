//! Why a call of the guest failed, as the host says it.

use std::fmt;

pub(crate) use guest::FaultKind;

/// A fault of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) op: String,
    pub(crate) place: String,
    pub(crate) expected: String,
    pub(crate) found: String,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "the host has more ways to fail, and its problem documents know them")]
pub(crate) enum CallError {
    /// The rules refuse this record.
    Fault(Fault),
    /// No pack is loaded.
    NoPack,
    /// The guest failed.
    Guest(&'static str),
    /// The pack has no version of this id.
    UnknownVersion(String),
}

impl From<guest::Fault> for CallError {
    fn from(fault: guest::Fault) -> CallError {
        let guest::Fault { kind, op, place, expected, found } = fault;
        CallError::Fault(Fault { kind, op, place, expected, found })
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Fault(fault) => fault.fmt(f),
            CallError::NoPack => f.write_str("no pack is loaded"),
            CallError::Guest(what) => write!(f, "guest failed: {what}"),
            CallError::UnknownVersion(id) => write!(f, "version {id:?} is not in the pack"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.op.is_empty(), self.place.is_empty()) {
            (true, true) => f.write_str("record")?,
            (true, false) => write!(f, "record at {}", self.place)?,
            (false, true) => f.write_str(&self.op)?,
            (false, false) => write!(f, "{} at {}", self.op, self.place)?,
        }
        if !self.expected.is_empty() {
            write!(f, ": expected {}", self.expected)?;
        }
        match self.found.is_empty() {
            true => Ok(()),
            false => write!(f, ": found {}", self.found),
        }
    }
}
