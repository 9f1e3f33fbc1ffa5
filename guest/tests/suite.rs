//! The cases of `testdata/suite` on the native core alone: seconds after a change, and what mutation testing runs.
//! `host/tests/suite.rs` says what a case is, and runs them through the component, too.
#![allow(clippy::unwrap_used, reason = "tests")]

mod packs;

use std::fmt::Debug;

use packs::laws::text;
use serde_json::Value;
use toml_edit::{DocumentMut, Item, Table};
use unskew_guest::{CarryPlace, Counts, Fault, Rules};

#[test]
fn cases_hold() {
    let mut failures = Vec::new();
    let mut count = 0;
    for (name, file) in files() {
        let Some(Item::ArrayOfTables(cases)) = file.get("case") else { continue };
        let mut rules = Rules::load(packs::json(pack(&file).as_table()).as_bytes())
            .unwrap_or_else(|problems| panic!("{name}: {problems:#?}"));
        assert_eq!(rules.test(), [], "{name}");
        for case in cases {
            count += 1;
            if let Err(why) = hold(&mut rules, case) {
                failures.push(format!("{name}, {}: {why}", case["name"].as_str().unwrap()));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {count} cases:\n{}", failures.len(), failures.join("\n"));
    assert!(count > 50, "only {count} cases");
}

#[test]
fn mistakes_are_told() {
    let mut told = 0;
    for (name, file) in files() {
        let Some(expected) = file.get("problems").and_then(Item::as_array) else { continue };
        let Err(problems) = Rules::load(packs::json(pack(&file).as_table()).as_bytes()) else {
            panic!("{name} has no problems")
        };
        let found: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
        for line in expected.iter().map(|line| line.as_str().unwrap()) {
            assert!(found.iter().any(|message| line.ends_with(message)), "{name}: {line} is not in {found:#?}");
            told += 1;
        }
        assert_eq!(found.len(), expected.len(), "{name}: {found:#?}");
    }
    assert!(told > 10, "only {told} problems");
}

fn files() -> Vec<(String, DocumentMut)> {
    packs::texts("suite").into_iter().map(|(name, text)| (name, text.parse().unwrap())).collect()
}

fn pack(file: &DocumentMut) -> DocumentMut {
    file["pack"].as_str().unwrap().parse().unwrap()
}

fn hold(rules: &mut Rules, case: &Table) -> Result<(), String> {
    let said = |key: &str| case.get(key).and_then(Item::as_str);
    let versions: Vec<String> = rules.manifest().versions.iter().map(|version| version.id.clone()).collect();
    let index = |key: &str| versions.iter().position(|id| Some(id.as_str()) == said(key)).unwrap() as u16;
    let (from, to) = (index("from"), index("to"));
    if let Some(fidelity) = said("fidelity") {
        same("fidelity", fidelity, format!("{:?}", rules.judge(from, to).fidelity).to_lowercase().as_str())?;
    }
    let record = said("record").unwrap();
    let carry = said("carry").unwrap_or_default().as_bytes();
    let there = rules.translate(record.as_bytes(), carry, from, to);
    if let Ok(normalized) = rules.normalize(record.as_bytes(), carry, to)
        && normalized.found != to
    {
        same("normalize", &there.clone().ok(), &normalized.changed)?;
    }
    let there = match (there, said("fault")) {
        (Err(fault), Some(kind)) => {
            same("fault", kind, kebab(&fault).as_str())?;
            return same("place", said("place").unwrap_or(&fault.place), fault.place.as_str());
        }
        (Ok(there), Some(kind)) => {
            return Err(format!("expected the fault {kind}, got {}", text(&there.record)));
        }
        (Err(fault), None) => return Err(fault.to_string()),
        (Ok(there), None) => there,
    };
    let found = text(&there.record);
    same("becomes", said("becomes").unwrap_or(&found), found.as_str())?;
    same("there", &counts(case, "there", there.counts), &there.counts)?;
    let met = said("edit").unwrap_or(&found);
    let home = match (rules.translate(met.as_bytes(), &there.carry, to, from), said("back_fault")) {
        (Err(fault), Some(kind)) => return same("fault of the way back", kind, kebab(&fault).as_str()),
        (Err(fault), None) => return Err(format!("way back: {fault}")),
        (Ok(home), Some(kind)) => return Err(format!("expected the fault {kind}, got {}", text(&home.record))),
        (Ok(home), None) => home,
    };
    match said("back") {
        Some(bytes) => same("back", bytes, text(&home.record).as_str())?,
        None => same("back", &values(record.as_bytes()), &values(&home.record))?,
    }
    same("home", &counts(case, "home", home.counts), &home.counts)?;
    match said("edit") {
        Some(edit) if beside(rules) && there.counts.lost + home.counts.lost == 0 => {
            let again = rules.translate(&home.record, &home.carry, from, to).map_err(|fault| fault.to_string())?;
            same("there again", &whole(values(edit.as_bytes())), &whole(values(&again.record)))
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether the carry is no part of the record.
fn beside(rules: &Rules) -> bool {
    rules.manifest().policy.carry == CarryPlace::Beside
}

/// A fault's kind as cases spell it: `no-way`.
fn kebab(fault: &Fault) -> String {
    format!("{:?}", fault.kind).chars().fold(String::new(), |mut out, c| {
        if c.is_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.extend(c.to_lowercase());
        out
    })
}

/// The counts that a case speaks of, or those that were found.
fn counts(case: &Table, key: &str, found: Counts) -> Counts {
    let Some(expected) = case.get(key).and_then(Item::as_array) else { return found };
    let at = |index| expected.get(index).and_then(|count| count.as_integer()).unwrap() as u32;
    Counts { carried: at(0), restored: at(1), lost: at(2), ..found }
}

/// A record as values: other spellings of them are the same.
fn values(record: &[u8]) -> Value {
    serde_json::from_slice(record).unwrap()
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

fn same<T: PartialEq + Debug + ?Sized>(what: &str, expected: &T, found: &T) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("{what}\n  expected {expected:?}\n  found    {found:?}")) }
}
