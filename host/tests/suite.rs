//! The cases of `testdata/suite`, natively and through the component: one thin runner for cases that are data.
//!
//! A file holds a `why`, a `pack` (TOML text) and a list of `case`s. A case translates `record` (with `carry`, if
//! given) `from` one version `to` another and expects the bytes `becomes`, or a `fault` by its kind (and `place`).
//! Then it takes the result home again, as `edit` if a server has changed it, and expects the
//! bytes `back`, or without those the JSON of `record`, or `back_fault`. `carried`, `restored` and `lost` count what each way did.
//! If nothing was lost, the record that the servers of the other version left is there again when it comes back to them.
//! A file with `problems` instead expects exactly those lines of the pack.
#![allow(clippy::unwrap_used, reason = "tests")]

mod subject;

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use subject::portable::portable;
use subject::{Native, component};
use unskew::laws::{Refused, Subject};
use unskew::{CarryPlace, Counts, LoadError, Pack, Runtime, Translation, Version};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[expect(dead_code, reason = "for people")]
    why: String,
    pack: String,
    #[serde(default)]
    case: Vec<Case>,
    problems: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    from: String,
    to: String,
    record: String,
    #[serde(default)]
    carry: String,
    becomes: Option<String>,
    fault: Option<String>,
    place: Option<String>,
    edit: Option<String>,
    /// The fault of the way back, by its kind.
    back_fault: Option<String>,
    back: Option<String>,
    /// Of the way there and the way back: carried, restored, lost.
    #[serde(default)]
    there: Option<[u32; 3]>,
    #[serde(default)]
    home: Option<[u32; 3]>,
    fidelity: Option<String>,
}

#[test]
fn cases_hold_natively() {
    run(|pack| Arc::new(Native::load(pack)));
}

#[test]
fn cases_hold_in_the_sandbox() {
    run(|pack| component(pack));
}

#[test]
fn cases_hold_without_simd() {
    run(|pack| portable(pack));
}

#[test]
fn every_mistake_of_a_pack_is_told_with_its_place() {
    let mut told = 0;
    for (name, file) in files() {
        let Some(expected) = file.problems else { continue };
        let outcome = Pack::from_toml(&name, &file.pack).and_then(|pack| Runtime::new(&pack));
        let Err(LoadError::Problems { problems, .. }) = outcome else { panic!("{name} has no problems") };
        let found: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{name}: {found:#?}");
        told += found.len();
    }
    assert!(told > 10);
}

fn files() -> Vec<(String, File)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/suite");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let file = toml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap_or_else(|e| panic!("{name}: {e}"));
        (name, file)
    };
    paths.into_iter().map(read).collect()
}

fn run(load: impl Fn(&Pack) -> Arc<dyn Subject>) {
    let mut failures = Vec::new();
    let mut count = 0;
    for (name, file) in files() {
        if file.case.is_empty() {
            continue;
        }
        let subject = load(&Pack::from_toml(&name, &file.pack).unwrap_or_else(|error| panic!("{error}")));
        for case in &file.case {
            count += 1;
            if let Err(why) = check(&*subject, case) {
                failures.push(format!("{name}, {}: {why}", case.name));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {count} cases:\n{}", failures.len(), failures.join("\n"));
    assert!(count > 50, "only {count} cases");
}

fn check(subject: &dyn Subject, case: &Case) -> Result<(), String> {
    let index = |id: &str| {
        let at = subject.versions().iter().position(|other| other == id).ok_or(format!("no version {id}"))?;
        Ok::<_, String>(Version(at as u16))
    };
    let (from, to) = (index(&case.from)?, index(&case.to)?);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let value = |text: &str| serde_json::from_str::<Value>(text).map_err(|e| e.to_string());
    if let Some(fidelity) = &case.fidelity {
        same("fidelity", fidelity, &subject.judge(from, to).fidelity.to_string())?;
    }
    let there = subject.translate(case.record.as_bytes(), case.carry.as_bytes(), from, to);
    if let Ok(normalized) = subject.normalize(case.record.as_bytes(), case.carry.as_bytes(), to)
        && normalized.found != to
    {
        same("normalize", &there.clone().ok(), &normalized.changed)?;
    }
    let there = match (there, &case.fault) {
        (Err(refused), Some(kind)) => {
            let Refused::Fault { kind: is, message, .. } = &refused else { return Err(refused.to_string()) };
            same("fault", kind, is)?;
            let place = case.place.as_deref().unwrap_or_default();
            let named = message.contains(&format!("at {place}:"));
            return if place.is_empty() || named { Ok(()) } else { Err(format!("not at {place}: {message}")) };
        }
        (Ok(there), Some(kind)) => return Err(format!("expected the fault {kind}, got {}", text(&there.record))),
        (Err(refused), None) => return Err(refused.to_string()),
        (Ok(there), None) => there,
    };
    if let Some(becomes) = &case.becomes {
        same("becomes", becomes, &text(&there.record))?;
    }
    if let Some(counts) = &case.there {
        same("carried, restored, lost", counts, &numbers(there.counts))?;
    }
    let met = case.edit.clone().unwrap_or_else(|| text(&there.record));
    let home = subject.translate(met.as_bytes(), &there.carry, to, from);
    if let Some(kind) = &case.back_fault {
        let Err(Refused::Fault { kind: is, .. }) = &home else {
            return Err(format!("no fault on the way back: {home:?}"));
        };
        return same("fault of the way back", kind, is);
    }
    let home = home.map_err(|refused| format!("way back: {refused}"))?;
    match &case.back {
        Some(bytes) => same("back", bytes, &text(&home.record))?,
        None => same("back", &value(&case.record)?, &value(&text(&home.record))?)?,
    }
    if let Some(counts) = &case.home {
        same("carried, restored, lost on the way back", counts, &numbers(home.counts))?;
    }
    if there.counts.lost + home.counts.lost > 0 {
        return Ok(());
    }
    if let Some(edit) = case.edit.as_ref().filter(|_| subject.carry() == CarryPlace::Beside) {
        let again = subject.translate(&home.record, &home.carry, from, to).map_err(|refused| refused.to_string())?;
        same("there again", &whole(value(edit)?), &whole(value(&text(&again.record))?))?;
    }
    settles(subject, &home, from, to)
}

/// A record that two fleets take turns with has the same bytes each time it is back, from the second time on.
fn settles(subject: &dyn Subject, home: &Translation, from: Version, to: Version) -> Result<(), String> {
    let hop = |at: &Translation, from, to| {
        subject.translate(&at.record, &at.carry, from, to).map_err(|refused| format!("on a later hop: {refused}"))
    };
    let bytes = |at: &Translation| [&at.record, &at.carry].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let there = hop(home, from, to)?;
    let mut now = hop(&there, to, from)?;
    for _ in 0..49 {
        same("back again", &bytes(home), &bytes(&now))?;
        let away = hop(&now, from, to)?;
        same("there again", &bytes(&there), &bytes(&away))?;
        now = hop(&away, to, from)?;
    }
    Ok(())
}

fn numbers(counts: Counts) -> [u32; 3] {
    [counts.carried, counts.restored, counts.lost]
}

/// A value in which whole numbers are written without a point: `1.0` and `1` are the same to all servers.
fn whole(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(whole).collect(),
        Value::Object(members) => members.into_iter().map(|(key, value)| (key, whole(value))).collect(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15 => (float as i64).into(),
            Some(_) | None => Value::Number(number),
        },
        Value::Null | Value::Bool(_) | Value::String(_) => value,
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, found: &T) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("{what}\n  expected {expected:?}\n  found    {found:?}")) }
}
