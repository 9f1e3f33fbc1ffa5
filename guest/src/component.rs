//! The component's exports: the one file of the guest that knows generated WIT types.

use std::cell::RefCell;

use crate::rules::{self, FaultKind, Rules};
use crate::{CarryPlace, Outlook};
use exports::unskew::compat::rules as wit;

wit_bindgen::generate!({ path: "../wit", world: "guest" });

struct Component;

thread_local! {
    // One pack an instance; an instance has one thread.
    static LOADED: RefCell<Option<Rules>> = const { RefCell::new(None) };
}

/// The loaded pack. Without one the call is the host's bug, and it traps.
#[expect(clippy::expect_used, reason = "the contract says that such a call traps")]
fn with<T>(call: impl FnOnce(&mut Rules) -> T) -> T {
    LOADED.with_borrow_mut(|rules| call(rules.as_mut().expect("a pack is loaded before any other call")))
}

impl wit::Guest for Component {
    fn load(pack: Vec<u8>) -> Result<wit::Manifest, Vec<wit::Problem>> {
        let problem = |problem: crate::Problem| wit::Problem { pointer: problem.pointer, message: problem.message };
        let rules = Rules::load(&pack).map_err(|problems| problems.into_iter().map(problem).collect::<Vec<_>>())?;
        let manifest = rules.manifest().into();
        LOADED.set(Some(rules));
        Ok(manifest)
    }

    fn test() -> Vec<wit::Failure> {
        let failure = |failure: crate::Failure| wit::Failure { name: failure.name, message: failure.message };
        with(Rules::test).into_iter().map(failure).collect()
    }

    fn detect(session: wit::SessionRecord) -> Result<wit::Detection, wit::Fault> {
        let detection = with(|rules| rules.detect(&session))?;
        Ok(wit::Detection { version: detection.version, carries: detection.carries })
    }

    fn translate(
        session: wit::SessionRecord,
        carry: wit::Carry,
        origin: u16,
        target: u16,
    ) -> Result<wit::Translation, wit::Fault> {
        Ok(with(|rules| rules.translate(&session, &carry, origin, target))?.into())
    }

    fn normalize(session: wit::SessionRecord, carry: wit::Carry, target: u16) -> Result<wit::Normalized, wit::Fault> {
        let normalized = with(|rules| rules.normalize(&session, &carry, target))?;
        Ok(wit::Normalized { found: normalized.found, changed: normalized.changed.map(Into::into) })
    }

    fn judge(held: u16, server: u16) -> wit::Verdict {
        let verdict = with(|rules| rules.judge(held, server));
        wit::Verdict { fidelity: verdict.fidelity.into(), reason: verdict.reason }
    }

    fn explain(
        session: wit::SessionRecord,
        carry: wit::Carry,
        origin: u16,
        target: u16,
    ) -> Result<Vec<wit::Change>, wit::Fault> {
        let change = |change: rules::Change| wit::Change {
            op: change.op,
            place: change.place,
            before: change.before,
            after: change.after,
            effect: change.effect.name().to_owned(),
            outcome: change.outcome.to_owned(),
        };
        Ok(with(|rules| rules.explain(&session, &carry, origin, target))?.into_iter().map(change).collect())
    }
}

impl From<&rules::Manifest> for wit::Manifest {
    fn from(manifest: &rules::Manifest) -> wit::Manifest {
        let outlook = |outlook| match outlook {
            Outlook::Pass => wit::Outlook::Pass,
            Outlook::Refuse => wit::Outlook::Refuse,
        };
        let policy = wit::Policy {
            carry: match manifest.policy.carry {
                CarryPlace::Beside => wit::CarryPlace::Beside,
                CarryPlace::Inline => wit::CarryPlace::Inline,
                CarryPlace::None => wit::CarryPlace::None,
            },
            carry_member: manifest.policy.carry_member.clone(),
            max_bytes: manifest.policy.max_bytes,
            max_depth: manifest.policy.max_depth,
            unknown_version: outlook(manifest.policy.unknown_version),
            opaque: outlook(manifest.policy.opaque),
        };
        let version = |version: &rules::VersionInfo| wit::VersionInfo {
            id: version.id.clone(),
            reads: version.reads.clone(),
            digest: version.digest,
        };
        wit::Manifest {
            name: manifest.name.clone(),
            revision: manifest.revision,
            versions: manifest.versions.iter().map(version).collect(),
            policy,
        }
    }
}

impl From<rules::Translation> for wit::Translation {
    fn from(translation: rules::Translation) -> wit::Translation {
        let rules::Counts { carried, restored, lost, dropped, narrowed, defaulted } = translation.counts;
        wit::Translation {
            record: translation.record,
            carry: translation.carry,
            counts: wit::Counts { carried, restored, lost, dropped, narrowed, defaulted },
        }
    }
}

impl From<rules::Fault> for wit::Fault {
    fn from(fault: rules::Fault) -> wit::Fault {
        let kind = match fault.kind {
            FaultKind::NotJson => wit::FaultKind::NotJson,
            FaultKind::Opaque => wit::FaultKind::Opaque,
            FaultKind::TooLarge => wit::FaultKind::TooLarge,
            FaultKind::TooDeep => wit::FaultKind::TooDeep,
            FaultKind::DuplicateKey => wit::FaultKind::DuplicateKey,
            FaultKind::UnknownVersion => wit::FaultKind::UnknownVersion,
            FaultKind::Ambiguous => wit::FaultKind::Ambiguous,
            FaultKind::WrongVersion => wit::FaultKind::WrongVersion,
            FaultKind::Conflict => wit::FaultKind::Conflict,
            FaultKind::WrongType => wit::FaultKind::WrongType,
            FaultKind::Unmapped => wit::FaultKind::Unmapped,
            FaultKind::OutOfRange => wit::FaultKind::OutOfRange,
            FaultKind::CarryFull => wit::FaultKind::CarryFull,
            FaultKind::UndeclaredLoss => wit::FaultKind::UndeclaredLoss,
            FaultKind::TooLossy => wit::FaultKind::TooLossy,
            FaultKind::NoWay => wit::FaultKind::NoWay,
        };
        wit::Fault { kind, op: fault.op, place: fault.place, expected: fault.expected, found: fault.found }
    }
}

impl From<crate::Fidelity> for wit::Fidelity {
    fn from(fidelity: crate::Fidelity) -> wit::Fidelity {
        match fidelity {
            crate::Fidelity::Native => wit::Fidelity::Native,
            crate::Fidelity::Exact => wit::Fidelity::Exact,
            crate::Fidelity::Carried => wit::Fidelity::Carried,
            crate::Fidelity::Lossy => wit::Fidelity::Lossy,
            crate::Fidelity::None => wit::Fidelity::None,
        }
    }
}

export!(Component);
