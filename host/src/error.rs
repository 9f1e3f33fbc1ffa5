//! Errors, cut by who must act: the author of a pack, the owner of a record, the operator, or us.

use std::fmt;
use std::time::Duration;

use crate::contract::Failure;
use crate::trust::TrustError;

/// Where something stands in a file, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One thing that is wrong with a pack. Prints as `14:3: step 1→2, op 3: …`, always on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands in the file, if that could be told.
    pub place: Option<Place>,
    /// Where it stands in the pack's JSON form, as a JSON Pointer.
    pub pointer: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "{place}: ")?;
        }
        for char in self.message.chars() {
            // what a pack holds must not break the line, or steer the terminal that shows it
            match char.is_control() {
                true => write!(f, "{}", char.escape_default())?,
                false => write!(f, "{char}")?,
            }
        }
        Ok(())
    }
}

/// Why a pack or a guest was not taken. What was active before stays active.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoadError {
    /// The file can't be read.
    #[error("{name}: can't be read: {reason}")]
    Unreadable {
        /// The file.
        name: String,
        /// The system's word.
        reason: String,
    },
    /// The pack is wrong; all of its problems, one line each.
    #[error("{}", lines(name, problems))]
    Problems {
        /// The file, or `pack`.
        name: String,
        /// At least one.
        problems: Vec<Problem>,
    },
    /// The pack fails its own examples or laws.
    #[error("{}", failed(name, failures))]
    Examples {
        /// The file, or `pack`.
        name: String,
        /// At least one.
        failures: Vec<Failure>,
    },
    /// The guest can't be used.
    #[error("guest: {0}")]
    Guest(#[from] GuestError),
    /// The offered pack is not newer than the active one of the same name.
    #[error(
        "pack {name:?}: revision {offered} is not newer than the active revision {active}: raise `revision` above {active}, or force the swap"
    )]
    Revision {
        /// The pack's own name.
        name: String,
        /// The active revision.
        active: u64,
        /// The offered revision.
        offered: u64,
    },
    /// The revision of the offered pack is out of all proportion to the active one.
    #[error(
        "pack {name:?}: revision {offered} is more than a million above the active revision {active}: take a smaller one, or force the swap"
    )]
    Leap {
        /// The pack's own name.
        name: String,
        /// The active revision.
        active: u64,
        /// The offered revision.
        offered: u64,
    },
    /// The pack comes after a revision that was never here.
    #[error(
        "pack {name:?}: revision {offered} comes after revision {after}, and revision {active} is active: take revision {after} or a newer one first, or force the swap"
    )]
    TooEarly {
        /// The pack's own name.
        name: String,
        /// The active revision.
        active: u64,
        /// The revision that must have been active.
        after: u64,
        /// The offered revision.
        offered: u64,
    },
    /// The pack or the guest isn't trusted.
    #[error("{name}: {reason}")]
    Untrusted {
        /// The file, or `pack`, or `guest`.
        name: String,
        /// Why.
        reason: TrustError,
    },
    /// Somebody went back from just this pack and guest, or they were put aside.
    #[error("{name}: it was put aside ({reason}): ship a newer revision, or force this one")]
    Barred {
        /// The file, or `pack`.
        name: String,
        /// Why it was put aside.
        reason: String,
    },
    /// The pack does worse than the active one on records that went by lately.
    #[error("{}", .wrong.iter().map(|wrong| format!("{name}: on recent records: {wrong}")).collect::<Vec<_>>().join("\n"))]
    Sample {
        /// The file, or `pack`.
        name: String,
        /// Each thing that is wrong, once.
        wrong: Vec<String>,
    },
    /// Nothing is staged that could be promoted.
    #[error("nothing is staged: push a pack with `--stage` first")]
    NoStaged,
    /// There is nothing to roll back to.
    #[error("there is no previous generation to roll back to")]
    NoPrevious,
}

/// Why a guest is refused before it serves a single call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuestError {
    /// A guest must import nothing.
    #[error("it imports {}, and a guest must import nothing", .0.join(", "))]
    Imports(Vec<String>),
    /// The guest doesn't export the contract.
    #[error("it doesn't export unskew:compat/rules@0.1.0 as the contract has it: {0}")]
    Exports(String),
    /// The artefact is longer than allowed.
    #[error("it has {found} bytes, {limit} are allowed: raise the limit on a guest's artefact or build a smaller one")]
    TooLarge {
        /// Its length in bytes.
        found: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Compiling it takes too long.
    #[error("it wasn't compiled within {} ms: build a smaller one, or raise the limit on compiling", .limit.as_millis())]
    Slow {
        /// The limit.
        limit: Duration,
    },
    /// Compiling it takes too much memory.
    #[error("compiling it takes more than {} MiB of memory: build a smaller one, or raise the limit on compiling", .limit >> 20)]
    Greedy {
        /// The limit in bytes.
        limit: u64,
    },
    /// The bytes are no component that the engine compiles.
    #[error("it is no component that can be compiled: {0}")]
    Compile(String),
    /// The sandbox itself can't be set up on this machine.
    #[error("the sandbox can't be set up: {0}")]
    Engine(String),
    /// A call at load time failed.
    #[error("while it was loaded: {0}")]
    Failed(#[from] GuestFailure),
}

/// A guest that broke a rule of the house in a call. Its instance is gone; the next call gets another one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuestFailure {
    /// The guest trapped: a bug in the guest.
    #[error("trap: {0}")]
    Trap(String),
    /// The call used up its CPU time.
    #[error("cpu budget: the call used more than its {} µs of CPU time", .budget.as_micros())]
    CpuBudget {
        /// What the call was allowed.
        budget: Duration,
    },
    /// The guest wanted more memory than it may have.
    #[error("memory: the guest wanted {wanted} bytes, {limit} are allowed")]
    Memory {
        /// What it asked for, in bytes.
        wanted: usize,
        /// What it may have, in bytes.
        limit: usize,
    },
    /// The answer breaks the contract.
    #[error("wrong answer: {0}")]
    WrongAnswer(String),
    /// All instances were busy for as long as a call may wait.
    #[error("pool exhausted: all {instances} instances were busy for {} ms: allow more instances", .waited.as_millis())]
    PoolExhausted {
        /// How many instances there may be.
        instances: usize,
        /// How long the call waited.
        waited: Duration,
    },
    /// No instance could be made.
    #[error("no instance: {0}")]
    NoInstance(String),
}

impl GuestFailure {
    /// The kind, for metrics and logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            GuestFailure::Trap(_) => "trap",
            GuestFailure::CpuBudget { .. } => "cpu-budget",
            GuestFailure::Memory { .. } => "memory",
            GuestFailure::WrongAnswer(_) => "wrong-answer",
            GuestFailure::PoolExhausted { .. } => "pool-exhausted",
            GuestFailure::NoInstance(_) => "no-instance",
        }
    }
}

/// Why a call gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The rules refuse this record; it stays as it was.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// No pack is loaded.
    #[error("no pack is loaded: swap one in first")]
    NoPack,
    /// The guest failed; nothing is known about the record.
    #[error("guest failed: {0}")]
    Guest(#[from] GuestFailure),
    /// The pack has no version of this id.
    #[error("version {0:?} is not in the pack")]
    UnknownVersion(String),
}

impl CallError {
    /// The kind, for metrics and logs: a fault's kind, a guest failure's kind, `no-pack` or `unknown-version-id`.
    pub fn as_str(&self) -> &'static str {
        match self {
            CallError::Fault(fault) => fault.kind.as_str(),
            CallError::NoPack => "no-pack",
            CallError::Guest(failure) => failure.as_str(),
            CallError::UnknownVersion(_) => "unknown-version-id",
        }
    }
}

/// What a translation cannot do, and why. Never holds the contents of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Why, for programs.
    pub kind: FaultKind,
    /// The op that refused, as `step 1→2, op 3`, or empty.
    pub op: String,
    /// The place in the record as a JSON Pointer, or empty for the whole record.
    pub place: String,
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub found: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.op.is_empty(), self.place.is_empty()) {
            (true, true) => f.write_str("record")?,
            (true, false) => write!(f, "record at {}", self.place)?,
            (false, true) => f.write_str(&self.op)?,
            (false, false) => write!(f, "{} at {}", self.op, self.place)?,
        }
        write!(f, ": {}", self.kind.as_str())?;
        match (self.expected.is_empty(), self.found.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => write!(f, ": found {}", self.found),
            (false, true) => write!(f, ": expected {}", self.expected),
            (false, false) => write!(f, ": expected {}, found {}", self.expected, self.found),
        }
    }
}

impl std::error::Error for Fault {}

/// The kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The bytes are no RFC 8259 JSON.
    NotJson,
    /// The document is no JSON object.
    Opaque,
    /// The record is longer than the pack's `max_bytes`.
    TooLarge,
    /// The record is nested deeper than the pack's `max_depth`.
    TooDeep,
    /// A key stands twice in one object.
    DuplicateKey,
    /// No version recognises the record.
    UnknownVersion,
    /// More than one version recognises the record.
    Ambiguous,
    /// The record is of another version than the caller said.
    WrongVersion,
    /// A rename or a move meets a member that exists already.
    Conflict,
    /// A value is not of the kind that the op works on.
    WrongType,
    /// A value has no counterpart in the target version.
    Unmapped,
    /// A value is out of the range of what the op can express.
    OutOfRange,
    /// The carry would grow beyond its limit.
    CarryFull,
    /// The pair is declared exact, but this record would lose something.
    UndeclaredLoss,
    /// More values would be lost than the pack's policy allows.
    TooLossy,
    /// There is no way from the one version to the other.
    NoWay,
}

impl FaultKind {
    /// The kind as it stands in the contract: `too-large`.
    pub fn as_str(self) -> &'static str {
        match self {
            FaultKind::NotJson => "not-json",
            FaultKind::Opaque => "opaque",
            FaultKind::TooLarge => "too-large",
            FaultKind::TooDeep => "too-deep",
            FaultKind::DuplicateKey => "duplicate-key",
            FaultKind::UnknownVersion => "unknown-version",
            FaultKind::Ambiguous => "ambiguous",
            FaultKind::WrongVersion => "wrong-version",
            FaultKind::Conflict => "conflict",
            FaultKind::WrongType => "wrong-type",
            FaultKind::Unmapped => "unmapped",
            FaultKind::OutOfRange => "out-of-range",
            FaultKind::CarryFull => "carry-full",
            FaultKind::UndeclaredLoss => "undeclared-loss",
            FaultKind::TooLossy => "too-lossy",
            FaultKind::NoWay => "no-way",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Every problem on a line of its own, each with the file before it: what editors and CI logs can jump to.
fn lines(name: &str, problems: &[Problem]) -> String {
    let line = |problem: &Problem| match problem.place {
        Some(_) => format!("{name}:{problem}"),
        None => format!("{name}: {problem}"),
    };
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn failed(name: &str, failures: &[Failure]) -> String {
    failures.iter().map(|failure| format!("{name}: {failure}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_print_as_lines_that_an_editor_can_jump_to() {
        let problem = |place, message: &str| Problem { place, pointer: "/step/0".into(), message: message.into() };
        let error = LoadError::Problems {
            name: "a.toml".into(),
            problems: vec![problem(Some(Place { line: 14, column: 3 }), "step 1→2, op 3: x"), problem(None, "y")],
        };
        assert_eq!(error.to_string(), "a.toml:14:3: step 1→2, op 3: x\na.toml: y");
    }

    #[test]
    fn a_fault_prints_place_first_and_leaves_out_what_is_empty() {
        let mut fault = Fault {
            kind: FaultKind::WrongType,
            op: "step 1→2, op 3".into(),
            place: "/auth/token".into(),
            expected: "string".into(),
            found: "null".into(),
        };
        assert_eq!(fault.to_string(), "step 1→2, op 3 at /auth/token: wrong-type: expected string, found null");
        fault.op.clear();
        fault.place.clear();
        fault.found.clear();
        assert_eq!(fault.to_string(), "record: wrong-type: expected string");
    }
}
