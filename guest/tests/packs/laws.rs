//! The laws of translation for one record, natively: what the properties here and the fuzz targets hold.

use unskew_guest::{CarryPlace, Fault, FaultKind, Overflow, Rules, Translation};

/// Identity, purity, detection, return, fixpoint and fusion for a record of any version, to every other version.
///
/// # Errors
/// Which of them is broken, and how.
pub fn laws(rules: &mut Rules, record: &[u8]) -> Result<(), String> {
    let Ok(found) = rules.detect(record) else { return Ok(()) };
    let (from, count) = (found.version, rules.manifest().versions.len() as u16);
    let same = rules.translate(record, b"", from, from).map_err(|fault| format!("identity: {fault}"))?;
    equal("identity", record, &same.record)?;
    for to in (0..count).filter(|to| *to != from) {
        let way = format!("{from} to {to}");
        let there = rules.translate(record, b"", from, to);
        if there != rules.translate(record, b"", from, to) {
            return Err(format!("pure, {way}"));
        }
        let Ok(there) = there else { continue };
        if !rules.detect(&there.record).is_ok_and(|found| found.version == to) {
            return Err(format!("detect, {way}: {}", text(&there.record)));
        }
        for middle in from.min(to) + 1..from.max(to) {
            fusion(rules, record, &there, [from, middle, to])?;
        }
        let Some(home) = onward(rules, &there, to, from)? else { continue };
        // Without a carry, or with one that drops what doesn't fit, spellings are not kept.
        let policy = &rules.manifest().policy;
        let all = policy.carry != CarryPlace::None && policy.carry_overflow == Overflow::Refuse;
        let kept = all && !found.carries;
        if kept && there.counts.lost == 0 && home.counts.lost == 0 {
            let law = format!("return, {way}, by {} with {}", text(&there.record), text(&there.carry));
            equal(&law, &canonical(record), &canonical(&home.record))?;
        }
        let Some(again) = onward(rules, &home, from, to)? else { continue };
        let Some(back) = onward(rules, &again, to, from)? else { continue };
        // What a full carry has dropped may take another round trip to settle.
        if [&there, &home, &again, &back].iter().all(|done| done.counts.lost == 0) {
            equal(&format!("fixpoint, {way}"), &home.record, &back.record)?;
            equal(&format!("fixpoint of the carry, {way}"), &home.carry, &back.carry)?;
        }
    }
    Ok(())
}

/// Many steps at once give the bytes of one after another, unless nothing recognises the record in the middle.
fn fusion(rules: &mut Rules, record: &[u8], there: &Translation, [from, middle, to]: [u16; 3]) -> Result<(), String> {
    let law = format!("fusion, {from} to {to} by {middle}");
    let first = rules.translate(record, b"", from, middle);
    match first.and_then(|first| rules.translate(&first.record, &first.carry, middle, to)) {
        Ok(second) => {
            equal(&law, &there.record, &second.record)?;
            equal(&law, &there.carry, &second.carry)
        }
        Err(fault) if at_rest(&fault) => Ok(()),
        Err(fault) => Err(format!("{law}: {fault}")),
    }
}

/// The translation of a translation, which must be possible; none at a limit, or where what was lost makes a conflict.
fn onward(rules: &mut Rules, done: &Translation, from: u16, to: u16) -> Result<Option<Translation>, String> {
    match rules.translate(&done.record, &done.carry, from, to) {
        Ok(way) => Ok(Some(way)),
        Err(fault) if at_limit(&fault) || fault.kind == FaultKind::NoWay || done.counts.lost > 0 => Ok(None),
        Err(fault) => Err(format!("no way to {to} for {} with {}: {fault}", text(&done.record), text(&done.carry))),
    }
}

fn equal(law: &str, expected: &[u8], found: &[u8]) -> Result<(), String> {
    if expected == found {
        return Ok(());
    }
    Err(format!("{law}\n  expected {}\n  found    {}", text(expected), text(found)))
}

/// Whether a fault is about a record at rest: one that is too large there, or that no version recognises.
fn at_rest(fault: &Fault) -> bool {
    let kinds = [FaultKind::WrongVersion, FaultKind::UnknownVersion, FaultKind::Ambiguous];
    at_limit(fault) || kinds.contains(&fault.kind)
}

/// Whether a fault is about a limit of the policy.
pub fn at_limit(fault: &Fault) -> bool {
    let kinds = [FaultKind::CarryFull, FaultKind::TooLarge, FaultKind::TooDeep, FaultKind::TooLossy];
    kinds.contains(&fault.kind) || fault.kind == FaultKind::UndeclaredLoss
}

/// Bytes for people.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Valid JSON without white space and inline carries, and with its members sorted: scalars by their text, keys by what
/// they say.
pub fn canonical(json: &[u8]) -> Vec<u8> {
    let mut rest = json;
    canonical_value(&mut rest)
}

fn canonical_value(rest: &mut &[u8]) -> Vec<u8> {
    *rest = rest.trim_ascii_start();
    let close = match rest.first() {
        Some(b'{') => b'}',
        Some(b'[') => b']',
        Some(b'"') => return embedded(string(rest)),
        _ => {
            let end = rest.iter().position(|byte| b",]} \t\r\n".contains(byte)).unwrap_or(rest.len());
            return rest.split_off(..end).unwrap_or_default().to_vec();
        }
    };
    let open = if close == b'}' { b'{' } else { b'[' };
    let mut items: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    loop {
        *rest = rest[1..].trim_ascii_start(); // an opening bracket or a comma
        if rest.first() == Some(&close) {
            break;
        }
        let key = if close == b'}' { said(string(rest)) } else { Vec::new() };
        *rest = rest.trim_ascii_start();
        if close == b'}' {
            *rest = &rest[1..]; // the colon
        }
        let value = canonical_value(rest);
        if key != b"_unskew" {
            items.push((key, value));
        }
        *rest = rest.trim_ascii_start();
        if rest.first() == Some(&close) {
            break;
        }
    }
    *rest = &rest[1..];
    if close == b'}' {
        items.sort_by(|a, b| a.0.cmp(&b.0)); // stable: keys that stand twice keep their order
    }
    let items = items.into_iter().map(|(key, value)| match close {
        b'}' => [key, b":".to_vec(), value].concat(),
        _ => value,
    });
    [vec![open], items.collect::<Vec<_>>().join(&b','), vec![close]].concat()
}

/// A string, or the document that it holds: members within that have no order either.
fn embedded(text: &[u8]) -> Vec<u8> {
    let said = said(text);
    let holds = said.starts_with(b"{") && serde_json::from_slice::<&serde_json::value::RawValue>(&said).is_ok();
    if holds { [b"\"", &canonical(&said)[..], b"\""].concat() } else { text.to_vec() }
}

/// Takes the string that starts here, with its quotes.
pub fn string<'r>(rest: &mut &'r [u8]) -> &'r [u8] {
    let mut end = 1;
    while rest[end] != b'"' {
        end += if rest[end] == b'\\' { 2 } else { 1 };
    }
    rest.split_off(..=end).unwrap_or_default()
}

/// What a key says, or its text where no text can say that.
fn said(key: &[u8]) -> Vec<u8> {
    serde_json::from_slice::<String>(key).map_or_else(|_| key.to_vec(), String::into_bytes)
}
