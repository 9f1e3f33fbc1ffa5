//! The pack's own examples, and the laws on them.

use crate::json;
use crate::pack::{CarryPlace, Policy};
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
        let mut note =
            |what: &str, message: String| failures.push(Failure { name: format!("{name}, {what}"), message });
        let sides = [("lower", &example.lower), ("upper", &example.upper)].map(|(side, text)| {
            match rules.detect(text.as_bytes()) {
                Ok(detection) => Some(detection.version),
                Err(fault) => {
                    note(side, fault.to_string());
                    None
                }
            }
        });
        let [Some(lower), Some(upper)] = sides else { continue };
        if lower >= upper {
            note("lower", "must be of an older version than upper".to_owned());
            continue;
        }
        let ways = [
            ("upwards", lower, upper, &example.lower, &example.upper),
            ("downwards", upper, lower, &example.upper, &example.lower),
        ];
        for (way, from, to, source, target) in ways {
            if !rules.leads(from, to) {
                continue;
            }
            if let Err(message) = way_holds(rules, (from, to), source, target) {
                note(way, message);
            }
        }
    }
    rules.examples = examples;
    failures
}

/// A record without its inline carry, which is no part of an example.
fn own(record: &[u8], policy: &Policy) -> Vec<u8> {
    if policy.carry != CarryPlace::Inline {
        return record.trim_ascii().to_vec();
    }
    let mut out = vec![b'{'];
    for (key, value) in json::members(record.trim_ascii()) {
        if *key != *policy.carry_member.as_bytes() {
            let key = json::quoted(&String::from_utf8_lossy(&key));
            out.extend([key.as_bytes(), b":", value, b","].concat());
        }
    }
    if out.last() == Some(&b',') {
        out.pop();
    }
    out.push(b'}');
    out
}

fn way_holds(rules: &mut Rules, (from, to): (u16, u16), source: &str, target: &str) -> Result<(), String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let policy = rules.manifest().policy.clone();
    let returns = rules.leads(to, from);
    let mut translate = |record: &[u8], carry: &[u8], from, to| -> Result<Translation, String> {
        rules.translate(record, carry, from, to).map_err(|fault| fault.to_string())
    };
    let same = translate(source.as_bytes(), b"", from, from)?;
    if same.record != source.as_bytes() {
        return Err("identity: a record of the wanted version is changed".to_owned());
    }
    let there = translate(source.as_bytes(), b"", from, to)?;
    // A record that only its carry brings back is not what an example of the other way would give.
    let other_way_is_exact = !returns || translate(target.as_bytes(), b"", to, from)?.counts.carried == 0;
    if (other_way_is_exact || from < to) && !json::equal(&own(&there.record, &policy), target.trim().as_bytes()) {
        return Err(format!("expected {}, got {}", target.trim(), text(&there.record)));
    }
    if !returns {
        return Ok(());
    }
    let back = translate(&there.record, &there.carry, to, from)?;
    if back.counts.lost == 0
        && there.counts.lost == 0
        && !json::equal(&own(&back.record, &policy), source.trim().as_bytes())
    {
        return Err(format!("return: expected {} again, got {}", source.trim(), text(&back.record)));
    }
    let again = translate(&back.record, &back.carry, from, to)?;
    let once_more = translate(&again.record, &again.carry, to, from)?;
    if (&back.record, &back.carry) != (&once_more.record, &once_more.carry) {
        return Err(format!("fixpoint: {} turned into {}", text(&back.record), text(&once_more.record)));
    }
    Ok(())
}
