//! What commands read: packs, records and carries, from files or standard input.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;
use unskew::{CallError, Fault, FaultKind, LoadError, Pack, Runtime};

use super::Failed;
use super::output;

/// A file with a record, or `-` for standard input.
#[derive(Debug, Clone)]
pub(super) struct Source(PathBuf);

/// What every carry looks like from outside; whether its entries fit a record, the rules say.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only whether it can be read counts")]
struct CarryShape {
    unskew: u32,
    at: String,
    kept: Vec<IgnoredAny>,
}

impl Source {
    /// The bytes, or why there are none.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, String> {
        let bytes = if self.is_stdin() {
            let mut bytes = Vec::new();
            if std::io::stdin().is_terminal() {
                output::note("reading from standard input; end it with Ctrl-D");
            }
            std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
        } else {
            std::fs::read(&self.0)
        };
        bytes.map_err(|error| format!("can't be read: {error}"))
    }

    /// The bytes of a record.
    pub(super) fn read(&self) -> Result<Vec<u8>, Failed> {
        self.bytes().map_err(|error| Failed::Input(format!("{}: {error}", self.name())))
    }

    /// The bytes of a carry. An empty file is one: what `--carry-out` writes where there was nothing to keep.
    pub(super) fn read_carry(&self) -> Result<Vec<u8>, Failed> {
        let unusable = |why: &str| Failed::Input(format!("--carry {}: {why}", self.name()));
        let bytes = self.bytes().map_err(|error| unusable(&error))?;
        match bytes.is_empty() || serde_json::from_slice::<CarryShape>(&bytes).is_ok() {
            true => Ok(bytes),
            false => Err(unusable("is no carry: give a file that --carry-out wrote")),
        }
    }

    /// Whether it is standard input.
    pub(super) fn is_stdin(&self) -> bool {
        self.0 == Path::new("-")
    }

    /// What stands before messages about it.
    pub(super) fn name(&self) -> String {
        if self.is_stdin() { "standard input".to_string() } else { self.0.display().to_string() }
    }

    /// A refusal of this record, which it holds. An unknown version is the command line's fault, a failing guest is
    /// ours.
    pub(super) fn refused(&self, record: &[u8], error: &CallError, runtime: &Runtime) -> Failed {
        match error {
            CallError::Fault(_) => Failed::Refused(format!("{}: {}", self.name(), told(record, error))),
            CallError::UnknownVersion(id) => {
                Failed::Usage(format!("version {id:?} is not in the pack, {}", versions(runtime)))
            }
            CallError::NoPack | CallError::Guest(_) => Failed::Machine(error.to_string()),
        }
    }
}

impl std::str::FromStr for Source {
    type Err = std::convert::Infallible;

    fn from_str(path: &str) -> Result<Source, Self::Err> {
        Ok(Source(path.into()))
    }
}

/// Why a call on this record gave no answer; of a record that is no object at all, what it is instead.
pub(super) fn told(record: &[u8], error: &CallError) -> String {
    match error {
        CallError::Fault(fault) if matches!(fault.kind, FaultKind::Opaque | FaultKind::NotJson) => {
            let found = match record {
                [] => "nothing: it is empty",
                [0xef, 0xbb, 0xbf, ..] => "a UTF-8 byte order mark: save it without one",
                [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "UTF-16: save it as UTF-8",
                _ if record.iter().all(u8::is_ascii_whitespace) => "nothing but white space",
                _ if fault.kind == FaultKind::Opaque && std::str::from_utf8(record).is_err() => {
                    "bytes that are no UTF-8"
                }
                _ => return error.to_string(),
            };
            Fault { found: found.to_string(), ..fault.clone() }.to_string()
        }
        CallError::Fault(_) | CallError::NoPack | CallError::Guest(_) | CallError::UnknownVersion(_) => {
            error.to_string()
        }
    }
}

/// A runtime with the pack of this file.
pub(super) fn runtime(pack: &Path) -> Result<Runtime, Failed> {
    if pack == Path::new("-") {
        return Err(no_stdin());
    }
    Pack::from_file(pack).and_then(|pack| Runtime::new(&pack)).map_err(|error| unusable(&error))
}

/// Why `-` is no pack: TOML and JSON are told apart by the file's name.
pub(super) fn no_stdin() -> Failed {
    Failed::Usage("a pack can't be read from standard input: give its file".into())
}

/// Why a pack can't be used.
pub(super) fn unusable(error: &LoadError) -> Failed {
    match error {
        LoadError::Unreadable { .. }
        | LoadError::Problems { .. }
        | LoadError::Examples { .. }
        | LoadError::Revision { .. }
        | LoadError::TooEarly { .. }
        | LoadError::Leap { .. }
        | LoadError::Untrusted { .. }
        | LoadError::Barred { .. }
        | LoadError::Sample { .. }
        | LoadError::NoStaged
        | LoadError::NoPrevious => Failed::Input(error.to_string()),
        LoadError::Guest(_) => Failed::Machine(error.to_string()),
    }
}

/// The versions that a pack has, for a message.
fn versions(runtime: &Runtime) -> String {
    let Some(generation) = runtime.generation() else { return "which has none".to_string() };
    let ids: Vec<&str> = generation.manifest().versions.iter().map(|version| &*version.id).collect();
    format!("it has: {}", ids.join(", "))
}
