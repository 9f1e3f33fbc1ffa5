//! The pack's own examples, and the laws on them.

use crate::json;
use crate::rules::{Rules, Translation};

/// An example or a law that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which: `example 2, upwards`.
    pub name: String,
    /// What was expected and what came out.
    pub message: String,
}

/// Runs all examples: both directions as JSON, and the laws of identity, return and fixpoint on both records.
pub(crate) fn run(rules: &mut Rules) -> Vec<Failure> {
    let mut failures = Vec::new();
    let examples = std::mem::take(&mut rules.examples);
    for (index, example) in examples.iter().enumerate() {
        let name = format!("example {}", index + 1);
        let mut note = |what: &str, message: String| failures.push(Failure { name: format!("{name}, {what}"), message });
        let sides = [("lower", &example.lower), ("upper", &example.upper)].map(|(side, text)| match rules.detect(text.as_bytes()) {
            Ok(detection) => Some(detection.version),
            Err(fault) => {
                note(side, fault.to_string());
                None
            }
        });
        let [Some(lower), Some(upper)] = sides else { continue };
        if lower >= upper {
            note("lower", "must be of an older version than upper".to_owned());
            continue;
        }
        let ways = [("upwards", lower, upper, &example.lower, &example.upper), ("downwards", upper, lower, &example.upper, &example.lower)];
        for (way, from, to, source, target) in ways {
            if let Err(message) = way_holds(rules, (from, to), source, target) {
                note(way, message);
            }
        }
    }
    rules.examples = examples;
    failures
}

fn way_holds(rules: &mut Rules, (from, to): (u16, u16), source: &str, target: &str) -> Result<(), String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut translate = |record: &[u8], carry: &[u8], from, to| -> Result<Translation, String> { rules.translate(record, carry, from, to).map_err(|fault| fault.to_string()) };
    let same = translate(source.as_bytes(), b"", from, from)?;
    if same.record != source.as_bytes() {
        return Err("identity: a record of the wanted version is changed".to_owned());
    }
    let there = translate(source.as_bytes(), b"", from, to)?;
    if !json::equal(there.record.trim_ascii(), target.trim().as_bytes()) {
        return Err(format!("expected {}, got {}", target.trim(), text(&there.record)));
    }
    let back = translate(&there.record, &there.carry, to, from)?;
    if back.counts.lost == 0 && there.counts.lost == 0 && !json::equal(back.record.trim_ascii(), source.trim().as_bytes()) {
        return Err(format!("return: expected {} again, got {}", source.trim(), text(&back.record)));
    }
    let again = translate(&back.record, &back.carry, from, to)?;
    let once_more = translate(&again.record, &again.carry, to, from)?;
    if (&back.record, &back.carry) != (&once_more.record, &once_more.carry) {
        return Err(format!("fixpoint: {} turned into {}", text(&back.record), text(&once_more.record)));
    }
    Ok(())
}
