//! What a new revision changes, for people and for programs.

use serde_json::{Value, json};
use unskew::check::{Carries, Compared, Detected, Kind, Moved, Revisions, StepChange, VerdictChange};

use super::super::output;
use super::print::cut;

/// How many differences of one kind are printed; `--json` has all.
const SHOWN: usize = 10;

/// For people: a line for each change.
pub(in crate::cli) fn text(revisions: &Revisions) -> String {
    let (old, new) = revisions.revisions;
    let mut text = format!("\nagainst revision {old}, on {} records:\n", revisions.compared);
    let mut lines = Vec::new();
    if new <= old {
        lines.push(format!("revision {new} is not newer than {old}: gateways refuse it; raise `revision` above {old}"));
    }
    lines.extend(revisions.added.iter().map(|id| format!("version {id} is new")));
    lines
        .extend(revisions.removed.iter().map(|id| format!("version {id} is gone: its records can't be read any more")));
    for StepChange { from, to, removed, added, moved } in &revisions.steps {
        lines.extend(removed.iter().map(|op| format!("step {from}→{to}: without {op}")));
        lines.extend(added.iter().map(|op| format!("step {from}→{to}: with {op}")));
        match moved {
            Moved::Yes => lines.push(format!("step {from}→{to}: ops in another order")),
            Moved::No => {}
        }
    }
    for VerdictChange { record, server, old, new, reason } in &revisions.verdicts {
        lines.push(format!(
            "records of version {record} on servers of version {server}: {old} before, {new} now: {reason}"
        ));
    }
    for Detected { record, old, new, count } in revisions.detected.iter().take(SHOWN) {
        lines.push(format!("{count} records are recognised as {old} before, {new} now, such as {record}"));
    }
    for Compared { from, to, kind, place, op, old, new, record, count } in revisions.records.iter().take(SHOWN) {
        let by = op.as_ref().map_or_else(String::new, |op| format!(" ({op})"));
        let what = match kind {
            Kind::Differs => format!("differ at {place}{by}: {} before, {} now", cut(old), cut(new)),
            Kind::Refused => format!("are refused now: {new}"),
            Kind::Possible => format!("are not refused any more: {old}"),
        };
        lines.push(format!("{count} records from version {from} to {to} {what}; such as {}", cut(record)));
    }
    for Carries { home, rests, place, old, new, record, count } in revisions.carries.iter().take(SHOWN) {
        lines.push(format!(
            "{count} records of version {home} that rest in version {rests} don't come back from what revision {} has \
             carried: at {place} {} before, {} now; such as {}",
            revisions.revisions.0,
            cut(old),
            cut(new),
            cut(record)
        ));
    }
    if lines.is_empty() {
        lines.push("nothing changes for records or routes".to_string());
    }
    for line in lines {
        text.push_str(&format!("  {}\n", output::on_one_line(&line)));
    }
    text
}

/// For programs.
pub(in crate::cli) fn object(revisions: &Revisions) -> Value {
    let steps = revisions.steps.iter().map(|StepChange { from, to, removed, added, moved }| {
        json!({"from": from, "to": to, "removed": removed, "added": added, "moved": *moved == Moved::Yes})
    });
    let verdicts = revisions.verdicts.iter().map(|VerdictChange { record, server, old, new, reason }| {
        json!({"record": record, "server": server, "old": old.as_str(), "new": new.as_str(), "reason": reason})
    });
    let detected = revisions
        .detected
        .iter()
        .map(|Detected { record, old, new, count }| json!({"record": record, "old": old, "new": new, "count": count}));
    let records = revisions.records.iter().map(|Compared { from, to, kind, place, op, old, new, record, count }| {
        json!({
            "from": from, "to": to, "kind": kind.as_str(), "place": place, "op": op,
            "old": old, "new": new, "record": record, "count": count,
        })
    });
    let carries = revisions.carries.iter().map(|Carries { home, rests, place, old, new, record, count }| {
        json!({
            "home": home, "rests": rests, "place": place,
            "old": old, "new": new, "record": record, "count": count,
        })
    });
    json!({
        "breaks": revisions.breaks(),
        "revisions": {"old": revisions.revisions.0, "new": revisions.revisions.1},
        "versions": {"added": revisions.added, "removed": revisions.removed},
        "steps": steps.collect::<Vec<_>>(),
        "verdicts": verdicts.collect::<Vec<_>>(),
        "compared": revisions.compared,
        "detected": detected.collect::<Vec<_>>(),
        "records": records.collect::<Vec<_>>(),
        "carries": carries.collect::<Vec<_>>(),
    })
}
