//! What `check` found, for programs: one object.

use serde_json::{Map, Value, json};
use unskew::check;
use unskew::laws::{Law, PairCount};

use super::super::Found;
use super::{Report, against};

/// The object of `--json`.
pub(super) fn report(report: &Report<'_>) -> Value {
    let generation = report.generation;
    let manifest = generation.manifest();
    let matrix: Vec<Value> = generation
        .matrix()
        .pairs()
        .map(|(held, server, verdict)| {
            json!({
                "record": manifest.id(held),
                "server": manifest.id(server),
                "fidelity": verdict.fidelity.as_str(),
                "reason": verdict.reason,
                "ops": check::causes(verdict),
            })
        })
        .collect();
    let named = |list: &[(String, String)]| -> Vec<Value> {
        list.iter().map(|(name, why)| json!({"record": name, "why": why})).collect()
    };
    let too_bad = report.too_bad();
    let too_bad = too_bad
        .iter()
        .map(|(held, server, fidelity)| json!({"record": held, "server": server, "fidelity": fidelity.as_str()}));
    json!({
        "ok": report.found() == Found::Good,
        "pack": manifest.name,
        "revision": manifest.revision,
        "versions": manifest.versions.iter().map(|version| &*version.id).collect::<Vec<_>>(),
        "problems": [],
        "examples": [],
        "matrix": matrix,
        "fail_on": report.fail_on.map(|fidelity| json!({
            "fidelity": fidelity.as_str(),
            "pairs": too_bad.collect::<Vec<_>>(),
        })),
        "records": report.trips.iter().map(super::Trip::object).collect::<Vec<_>>(),
        "recorded": {
            "read": report.recorded.records.len(),
            "unread": named(&report.recorded.unread),
            "unknown": named(&report.recorded.unknown),
        },
        "laws": laws(report),
        "against": report.against.as_ref().map(against::object),
    })
}

fn laws(report: &Report<'_>) -> Value {
    let findings = &report.findings;
    let broken = findings.broken.iter().map(|broken| {
        json!({
            "law": broken.law.as_str(),
            "from": broken.from,
            "to": broken.to,
            "record": broken.record,
            "edited": broken.edited,
            "edited_back": broken.edited_back,
            "expected": broken.expected,
            "found": broken.found,
            "place": broken.place,
            "op": broken.op,
            "grown": broken.grown.as_str(),
            "origin": broken.origin,
        })
    });
    let refusals = findings.refusals.iter().map(|refusal| {
        json!({
            "from": refusal.from,
            "to": refusal.to,
            "kind": refusal.kind,
            "op": refusal.op,
            "message": refusal.message,
            "record": refusal.record,
            "count": refusal.count,
            "recorded": refusal.recorded,
        })
    });
    let overlaps = findings
        .overlaps
        .iter()
        .map(|overlap| json!({"message": overlap.message, "record": overlap.record, "grown": overlap.grown.as_str()}));
    let coverage = findings.coverage.cells().map(|cell| {
        json!({
            "op": cell.op,
            "direction": cell.direction.as_str(),
            "situation": cell.situation.as_str(),
            "hits": cell.hits,
        })
    });
    json!({
        "seed": report.seed,
        "cases": report.cases,
        "hold": findings.hold(),
        "pairs": findings.pairs.iter().map(pair).collect::<Vec<_>>(),
        "broken": broken.collect::<Vec<_>>(),
        "refusals": refusals.collect::<Vec<_>>(),
        "overlaps": overlaps.collect::<Vec<_>>(),
        "coverage": {"enough": findings.enough, "cells": coverage.collect::<Vec<_>>()},
    })
}

fn pair(pair: &PairCount) -> Value {
    let applied: Map<String, Value> =
        Law::ALL.iter().zip(pair.applied).map(|(law, count)| (law.as_str().to_string(), count.into())).collect();
    json!({
        "from": pair.from,
        "to": pair.to,
        "translated": pair.translated,
        "refused": pair.refused,
        "applied": applied,
    })
}
