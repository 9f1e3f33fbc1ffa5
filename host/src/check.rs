//! What can be found out about a loaded pack before it meets traffic: its laws, what a new revision of it changes, and
//! whether a fleet may be joined by a server of another version.

mod against;
mod fleet;

pub use against::{Carries, Compared, Detected, Kind, Moved, Revisions, StepChange, VerdictChange};
pub use fleet::{Answer, Cell, Question, ServedBy};

use crate::contract::{CarryPlace, Change, Normalized, Translation, Verdict, Version};
use crate::error::CallError;
use crate::generation::Generation;
use crate::laws::{Laws, Refused, Subject};

/// The laws, to be held on a generation.
///
/// ```
/// let pack = unskew::Pack::from_toml("rooms.toml", r#"
///     name = "rooms"
///     revision = 1
///     version = [
///         { id = "1", marker = { path = "/v", absent = true } },
///         { id = "2", marker = { path = "/v", value = 2 } },
///     ]
///     step = [{ from = "1", to = "2", ops = [{ rename = "/room", to = "room_id" }] }]
/// "#)?;
/// let generation = unskew::Runtime::new(&pack)?.generation().expect("a pack was loaded");
/// let findings = unskew::check::laws(&generation).seed(7).cases(50).run(&mut |_| ());
/// assert!(findings.hold() && findings.translated() >= 100);
/// # Ok::<(), unskew::LoadError>(())
/// ```
pub fn laws(generation: &Generation) -> Laws<'_> {
    Laws::new(generation, generation.pack().json())
}

/// The ops that a verdict names, as `step 1→2, op 6: add /media/bitrate drops a member`.
pub fn causes(verdict: &Verdict) -> Vec<&str> {
    verdict.reason.split("; ").filter(|part| part.starts_with("step ")).collect()
}

impl Subject for Generation {
    fn versions(&self) -> Vec<String> {
        self.manifest().versions.iter().map(|version| version.id.to_string()).collect()
    }

    fn carry(&self) -> CarryPlace {
        self.manifest().policy.carry
    }

    fn detect(&self, record: &[u8]) -> Result<Version, Refused> {
        Ok(Generation::detect(self, record)?.version)
    }

    fn translate(&self, record: &[u8], carry: &[u8], from: Version, to: Version) -> Result<Translation, Refused> {
        Ok(Generation::translate(self, record, carry, from, to)?)
    }

    fn normalize(&self, record: &[u8], carry: &[u8], to: Version) -> Result<Normalized, Refused> {
        Ok(Generation::normalize(self, record, carry, to)?)
    }

    fn explain(&self, record: &[u8], carry: &[u8], from: Version, to: Version) -> Result<Vec<Change>, Refused> {
        Ok(Generation::explain(self, record, carry, from, to)?)
    }

    fn judge(&self, held: Version, server: Version) -> Verdict {
        Generation::judge(self, held, server).clone()
    }
}

impl From<CallError> for Refused {
    fn from(error: CallError) -> Refused {
        match error {
            CallError::Fault(fault) => {
                Refused::Fault { kind: fault.kind.as_str().to_owned(), message: fault.to_string(), op: fault.op }
            }
            CallError::NoPack | CallError::Guest(_) | CallError::UnknownVersion(_) => {
                Refused::Failed(error.to_string())
            }
        }
    }
}
