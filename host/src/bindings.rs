//! The contract's generated types, and their translation into the library's own: the one file that knows both.

use wasmtime::Store;

use crate::contract;
use crate::error::{Fault, FaultKind};
use crate::instance::State;

use generated::exports::unskew::compat::rules;

pub(crate) use generated::{Guest, GuestPre};

mod generated {
    wasmtime::component::bindgen!({ path: "../wit", world: "guest" });
}

/// What `load` finds wrong: pointer and message.
pub(crate) struct PackProblem {
    pub(crate) pointer: String,
    pub(crate) message: String,
}

pub(crate) type Answer<T> = wasmtime::Result<Result<T, Fault>>;

impl Guest {
    pub(crate) fn load(
        &self,
        store: &mut Store<State>,
        pack: &[u8],
    ) -> wasmtime::Result<Result<contract::Manifest, Vec<PackProblem>>> {
        let answer = self.unskew_compat_rules().call_load(store, pack)?;
        let problem = |problem: rules::Problem| PackProblem { pointer: problem.pointer, message: problem.message };
        Ok(answer.map(manifest).map_err(|problems| problems.into_iter().map(problem).collect()))
    }

    pub(crate) fn test(&self, store: &mut Store<State>) -> wasmtime::Result<Vec<contract::Failure>> {
        let failures = self.unskew_compat_rules().call_test(store)?;
        let own = |failure: rules::Failure| contract::Failure { name: failure.name, message: failure.message };
        Ok(failures.into_iter().map(own).collect())
    }

    pub(crate) fn detect(&self, store: &mut Store<State>, record: &[u8]) -> Answer<contract::Detection> {
        let answer = self.unskew_compat_rules().call_detect(store, record)?;
        let own = |found: rules::Detection| contract::Detection {
            version: contract::Version(found.version),
            inline_carry: found.carries,
        };
        Ok(answer.map(own).map_err(fault))
    }

    pub(crate) fn translate(
        &self,
        store: &mut Store<State>,
        record: &[u8],
        carry: &[u8],
        from: contract::Version,
        to: contract::Version,
    ) -> Answer<contract::Translation> {
        let answer = self.unskew_compat_rules().call_translate(store, record, carry, from.0, to.0)?;
        Ok(answer.map(translation).map_err(fault))
    }

    pub(crate) fn normalize(
        &self,
        store: &mut Store<State>,
        record: &[u8],
        carry: &[u8],
        to: contract::Version,
    ) -> Answer<contract::Normalized> {
        let answer = self.unskew_compat_rules().call_normalize(store, record, carry, to.0)?;
        let own = |normalized: rules::Normalized| contract::Normalized {
            found: contract::Version(normalized.found),
            changed: normalized.changed.map(translation),
        };
        Ok(answer.map(own).map_err(fault))
    }

    pub(crate) fn judge(
        &self,
        store: &mut Store<State>,
        held: contract::Version,
        server: contract::Version,
    ) -> wasmtime::Result<contract::Verdict> {
        let verdict = self.unskew_compat_rules().call_judge(store, held.0, server.0)?;
        let fidelity = match verdict.fidelity {
            rules::Fidelity::Native => contract::Fidelity::Native,
            rules::Fidelity::Exact => contract::Fidelity::Exact,
            rules::Fidelity::Carried => contract::Fidelity::Carried,
            rules::Fidelity::Lossy => contract::Fidelity::Lossy,
            rules::Fidelity::None => contract::Fidelity::None,
        };
        Ok(contract::Verdict { fidelity, reason: verdict.reason })
    }

    pub(crate) fn explain(
        &self,
        store: &mut Store<State>,
        record: &[u8],
        carry: &[u8],
        from: contract::Version,
        to: contract::Version,
    ) -> Answer<Vec<contract::Change>> {
        let answer = self.unskew_compat_rules().call_explain(store, record, carry, from.0, to.0)?;
        let own = |change: rules::Change| contract::Change {
            op: change.op,
            place: change.place,
            before: change.before,
            after: change.after,
            effect: change.effect,
            outcome: change.outcome,
        };
        Ok(answer.map(|changes| changes.into_iter().map(own).collect()).map_err(fault))
    }
}

fn manifest(manifest: rules::Manifest) -> contract::Manifest {
    let version = |info: rules::VersionInfo| contract::VersionInfo {
        id: info.id.into(),
        reads: info.reads.into_iter().map(contract::Version).collect(),
        digest: info.digest,
    };
    contract::Manifest {
        name: manifest.name,
        revision: manifest.revision,
        versions: manifest.versions.into_iter().map(version).collect(),
        policy: contract::Policy {
            carry: match manifest.policy.carry {
                rules::CarryPlace::Beside => contract::CarryPlace::Beside,
                rules::CarryPlace::Inline => contract::CarryPlace::Inline,
                rules::CarryPlace::None => contract::CarryPlace::None,
            },
            carry_member: manifest.policy.carry_member,
            max_bytes: manifest.policy.max_bytes,
            max_depth: manifest.policy.max_depth,
            unknown_version: outlook(manifest.policy.unknown_version),
            opaque: outlook(manifest.policy.opaque),
        },
    }
}

fn outlook(outlook: rules::Outlook) -> contract::Outlook {
    match outlook {
        rules::Outlook::Pass => contract::Outlook::Pass,
        rules::Outlook::Refuse => contract::Outlook::Refuse,
    }
}

fn translation(translation: rules::Translation) -> contract::Translation {
    contract::Translation {
        record: translation.record,
        carry: translation.carry,
        counts: contract::Counts {
            carried: translation.counts.carried,
            restored: translation.counts.restored,
            lost: translation.counts.lost,
            dropped: translation.counts.dropped,
            narrowed: translation.counts.narrowed,
            defaulted: translation.counts.defaulted,
        },
    }
}

fn fault(fault: rules::Fault) -> Fault {
    let kind = match fault.kind {
        rules::FaultKind::NotJson => FaultKind::NotJson,
        rules::FaultKind::Opaque => FaultKind::Opaque,
        rules::FaultKind::TooLarge => FaultKind::TooLarge,
        rules::FaultKind::TooDeep => FaultKind::TooDeep,
        rules::FaultKind::DuplicateKey => FaultKind::DuplicateKey,
        rules::FaultKind::UnknownVersion => FaultKind::UnknownVersion,
        rules::FaultKind::Ambiguous => FaultKind::Ambiguous,
        rules::FaultKind::WrongVersion => FaultKind::WrongVersion,
        rules::FaultKind::Conflict => FaultKind::Conflict,
        rules::FaultKind::WrongType => FaultKind::WrongType,
        rules::FaultKind::Unmapped => FaultKind::Unmapped,
        rules::FaultKind::OutOfRange => FaultKind::OutOfRange,
        rules::FaultKind::CarryFull => FaultKind::CarryFull,
        rules::FaultKind::UndeclaredLoss => FaultKind::UndeclaredLoss,
        rules::FaultKind::TooLossy => FaultKind::TooLossy,
        rules::FaultKind::NoWay => FaultKind::NoWay,
    };
    Fault { kind, op: fault.op, place: fault.place, expected: fault.expected, found: fault.found }
}
