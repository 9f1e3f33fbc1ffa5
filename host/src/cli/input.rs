//! What commands read: packs, records and carries, from files or standard input.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use unskew::{CallError, LoadError, Pack, Runtime};

use super::Failed;

/// A file with a record, or `-` for standard input.
#[derive(Debug, Clone)]
pub(super) struct Source(PathBuf);

impl Source {
    /// The bytes.
    pub(super) fn read(&self) -> Result<Vec<u8>, Failed> {
        let bytes = if self.is_stdin() {
            let mut bytes = Vec::new();
            if std::io::stdin().is_terminal() {
                eprintln!("reading from standard input; end it with Ctrl-D");
            }
            std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
        } else {
            std::fs::read(&self.0)
        };
        bytes.map_err(|error| Failed::Input(format!("{}: {error}", self.name())))
    }

    /// Whether it is standard input.
    pub(super) fn is_stdin(&self) -> bool {
        self.0 == Path::new("-")
    }

    /// What stands before messages about it.
    pub(super) fn name(&self) -> String {
        if self.is_stdin() { "standard input".to_string() } else { self.0.display().to_string() }
    }

    /// A refusal of what it holds. An unknown version is the command line's fault, a failing guest is ours.
    pub(super) fn refused(&self, error: &CallError, runtime: &Runtime) -> Failed {
        match error {
            CallError::Fault(fault) => Failed::Refused(format!("{}: {fault}", self.name())),
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

/// A runtime with the pack of this file.
pub(super) fn runtime(pack: &Path) -> Result<Runtime, Failed> {
    Pack::from_file(pack).and_then(|pack| Runtime::new(&pack)).map_err(|error| unusable(&error))
}

/// Why a pack can't be used.
pub(super) fn unusable(error: &LoadError) -> Failed {
    match error {
        LoadError::Unreadable { .. }
        | LoadError::Problems { .. }
        | LoadError::Examples { .. }
        | LoadError::Revision { .. }
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
