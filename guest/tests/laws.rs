//! The laws on the native core alone, for records of all of testdata's packs with values put in and changed.
//! `host/tests/laws.rs` holds more of them, and through the component, too.
#![allow(clippy::unwrap_used, reason = "tests")]

mod packs;

use std::cell::RefCell;

use packs::laws::{laws, string, text};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use unskew_guest::Rules;

/// Values that stand where others stood.
const ODD: [&str; 12] = [
    "null",
    "true",
    "-0",
    "1.50",
    "1E2",
    "123456789012345678901234567890",
    "\"\"",
    "\"\\ud800\"",
    "\"caf\\u00e9\"",
    "[ ]",
    "{ \"a\" : [1, {}] }",
    "[ { \"id\": 1 } , 2 ]",
];

#[test]
fn laws_hold_for_every_pack_of_testdata() {
    for source in packs::sources() {
        let rules = RefCell::new(Rules::load(source.json.as_bytes()).unwrap());
        let edits = proptest::collection::vec((0..2u8, any::<u16>(), 0..ODD.len()), 0..4);
        let strategy = (0..source.records.len(), edits);
        let config = Config { cases: 150, failure_persistence: None, ..Config::default() };
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let outcome = TestRunner::new_with_rng(config, rng).run(&strategy, |(record, edits)| {
            let mut record = source.records[record].clone().into_bytes();
            if serde_json::from_slice::<serde_json::Value>(&record).is_err() {
                return Ok(()); // a case of what is no JSON
            }
            edits.into_iter().for_each(|(kind, place, odd)| edit(&mut record, kind, usize::from(place), ODD[odd]));
            laws(&mut rules.borrow_mut(), &record)
                .map_err(|why| TestCaseError::fail(format!("{}: {why}", text(&record))))
        });
        outcome.unwrap_or_else(|error| panic!("{}: {error}", source.name));
    }
}

/// Puts a value in the place of another, or a member into an object.
fn edit(record: &mut Vec<u8>, kind: u8, place: usize, odd: &str) {
    let values = values(record);
    let (start, end) = values[place % values.len()];
    let object = record[start] == b'{';
    match kind {
        0 if start > 0 => drop(record.splice(start..end, odd.bytes())),
        1 if object => {
            let comma = if record[start + 1..end - 1].trim_ascii().is_empty() { "" } else { "," };
            let member = format!("\"x{place}\": {odd}{comma}");
            drop(record.splice(start + 1..start + 1, member.bytes()));
        }
        _ => {}
    }
}

/// Where the values of a document start and end.
fn values(record: &[u8]) -> Vec<(usize, usize)> {
    let (mut found, mut open, mut at) = (Vec::new(), Vec::new(), 0);
    while at < record.len() {
        let start = at;
        match record[at] {
            b'{' | b'[' => open.push(start),
            b'}' | b']' => found.extend(open.pop().map(|start| (start, at + 1))),
            b'"' => {
                let mut rest = &record[at..];
                at += string(&mut rest).len() - 1;
                if rest.trim_ascii_start().first() != Some(&b':') {
                    found.push((start, at + 1));
                }
            }
            b'-' | b'0'..=b'9' | b'a'..=b'z' => {
                let end =
                    record[at..].iter().position(|byte| b",]} \t\r\n".contains(byte)).unwrap_or(record.len() - at);
                at += end - 1;
                found.push((start, at + 1));
            }
            _ => {}
        }
        at += 1;
    }
    found
}
