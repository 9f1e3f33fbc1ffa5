//! Which version a record is: exactly one version must recognise it.

use crate::json;
use crate::plan::{Plan, Recognised, Sym};
use crate::rules::{Fault, FaultKind};
use crate::tape::{DOCUMENT, Tape};

/// The one version that recognises the record on the tape.
pub(crate) fn detect(plan: &Plan, tape: &Tape) -> Result<u16, Fault> {
    let mut found = None;
    for (index, version) in plan.versions.iter().enumerate() {
        if recognises(version, tape) {
            if found.is_some() {
                return Err(ambiguous(plan, tape));
            }
            found = Some(index as u16);
        }
    }
    found.ok_or_else(|| unknown(plan))
}

fn recognises(version: &Recognised, tape: &Tape) -> bool {
    let there = |path: &Vec<Sym>| tape.find(DOCUMENT, path);
    let marked = match &version.marker {
        None => true,
        Some((path, None)) => there(path).is_none(),
        Some((path, Some(value))) => {
            there(path).is_some_and(|node| json::equal(tape.text(tape.node(node).value), value.as_bytes()))
        }
    };
    marked
        && version.has.iter().all(|path| there(path).is_some())
        && version.lacks.iter().all(|path| there(path).is_none())
}

#[cold]
fn ambiguous(plan: &Plan, tape: &Tape) -> Fault {
    let matching = plan.versions.iter().filter(|version| recognises(version, tape));
    let ids: Vec<&str> = matching.map(|version| version.id.as_str()).collect();
    Fault::new(
        FaultKind::Ambiguous,
        "a record that one version recognises",
        format!("one of versions {}", ids.join(" and ")),
    )
}

#[cold]
fn unknown(plan: &Plan) -> Fault {
    let ids: Vec<&str> = plan.versions.iter().map(|version| version.id.as_str()).collect();
    let expected = format!("a record of version {}", ids.join(" or "));
    Fault::new(FaultKind::UnknownVersion, expected, "one that no version recognises")
}
