//! A loaded pack: the guest itself, with the matrix that the router reads.

use std::cell::RefCell;
use std::sync::Arc;

use guest::Rules;

use crate::contract::{Fidelity, Outlook, Verdict, Version, VersionInfo};
use crate::error::CallError;
use crate::matrix::Matrix;
use crate::problem::{Owner, Refusal};

/// A record and its carry.
pub(crate) type Translated = (Vec<u8>, Vec<u8>);

/// What one pack says.
pub(crate) struct Pack {
    rules: RefCell<Rules>,
    pub(crate) matrix: Matrix,
    pub(crate) max_bytes: usize,
    unknown_version: Outlook,
    opaque: Outlook,
}

impl Pack {
    /// Loads a pack, and tries it on its examples.
    pub(crate) fn load(json: &str) -> Result<Pack, String> {
        let mut rules = Rules::load(json.as_bytes()).map_err(|problems| {
            let lines = problems.iter().map(|problem| format!("{}: {}", problem.pointer, problem.message));
            lines.collect::<Vec<_>>().join("\n")
        })?;
        if let Some(failure) = rules.test().first() {
            return Err(format!("{}: {}", failure.name, failure.message));
        }
        let manifest = rules.manifest();
        if manifest.policy.carry == guest::CarryPlace::Inline {
            return Err("an inline carry would lie where clients reach it: the filter has no seal for it".to_string());
        }
        let info = |version: &guest::VersionInfo| VersionInfo {
            id: Arc::from(&*version.id),
            reads: version.reads.iter().copied().map(Version).collect(),
            digest: version.digest,
        };
        let outlook = |outlook| match outlook {
            guest::Outlook::Pass => Outlook::Pass,
            guest::Outlook::Refuse => Outlook::Refuse,
        };
        let policy = &manifest.policy;
        let (unknown_version, opaque) = (outlook(policy.unknown_version), outlook(policy.opaque));
        let max_bytes = usize::try_from(policy.max_bytes).unwrap_or(usize::MAX);
        let versions = manifest.versions.iter().map(info).collect();
        let matrix = Matrix::judged(versions, |held, server| {
            let verdict = rules.judge(held.0, server.0);
            Ok::<_, String>(Verdict { fidelity: fidelity(verdict.fidelity), reason: verdict.reason })
        })?;
        Ok(Pack { rules: RefCell::new(rules), matrix, max_bytes, unknown_version, opaque })
    }

    /// The version that a record is of; none where the pack lets it pass as it is.
    pub(crate) fn detect(&self, record: &[u8], owner: Owner) -> Result<Option<Version>, Refusal> {
        let found = self.rules.borrow_mut().detect(record);
        self.settled(found.map(|found| Version(found.version)), owner)
    }

    /// Record and carry in another version; none where the record passes.
    pub(crate) fn translate(
        &self,
        (record, carry): (&[u8], &[u8]),
        (from, to): (Version, Version),
        owner: Owner,
    ) -> Result<Option<Translated>, Refusal> {
        let done = self.rules.borrow_mut().translate(record, carry, from.0, to.0);
        self.settled(done.map(|done| (done.record, done.carry)), owner)
    }

    fn settled<T>(&self, done: Result<T, guest::Fault>, owner: Owner) -> Result<Option<T>, Refusal> {
        match done {
            Ok(done) => Ok(Some(done)),
            Err(fault) => match fault.kind {
                guest::FaultKind::UnknownVersion if self.unknown_version == Outlook::Pass => Ok(None),
                guest::FaultKind::Opaque if self.opaque == Outlook::Pass => Ok(None),
                _ => Err(Refusal::of_call(&CallError::from(fault), owner)),
            },
        }
    }
}

fn fidelity(fidelity: guest::Fidelity) -> Fidelity {
    match fidelity {
        guest::Fidelity::Native => Fidelity::Native,
        guest::Fidelity::Exact => Fidelity::Exact,
        guest::Fidelity::Carried => Fidelity::Carried,
        guest::Fidelity::Lossy => Fidelity::Lossy,
        guest::Fidelity::None => Fidelity::None,
    }
}
