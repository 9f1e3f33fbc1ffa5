//! The laws of translation as properties, on records grown from each pack's own examples, natively and in the sandbox.
//!
//! `UNSKEW_LAWS` sets the number of records per pack and subject; the default suits CI.
#![allow(clippy::unwrap_used, reason = "tests")]

mod subject;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use subject::{Component, Done, Native, Refused, Subject};
use unskew::Pack;

const PACKS: [&str; 8] = ["opentok", "express", "livekit", "ladder", "grants", "issues", "webhooks", "tower"];

#[test]
fn laws_hold_natively() {
    for name in PACKS {
        let pack = pack(name);
        hold(name, &pack, &Native::load(&pack), cases(4000));
    }
}

#[test]
fn laws_hold_in_the_sandbox() {
    for name in PACKS {
        let pack = pack(name);
        hold(name, &pack, &Component::load(&pack), cases(1000));
    }
}

#[test]
fn the_sandbox_answers_as_the_native_core_does() {
    for name in PACKS {
        let pack = pack(name);
        let (native, component) = (Native::load(&pack), Component::load(&pack));
        let seeds = seeds(&pack);
        run(name, cases(1000), &seeds, |record| {
            let found = native.detect(record);
            let kind = |outcome: Result<Done, Refused>| outcome.map_err(|refused| refused.kind);
            prop_assert_eq!(
                found.clone().map_err(|refused| refused.kind),
                component.detect(record).map_err(|refused| refused.kind)
            );
            let Ok(from) = found else { return Ok(()) };
            for to in 0..native.versions().len() as u16 {
                let there = native.translate(record, b"", from, to);
                prop_assert_eq!(kind(there.clone()), kind(component.translate(record, b"", from, to)));
                let Ok(there) = there else { continue };
                prop_assert_eq!(
                    kind(native.translate(&there.record, &there.carry, to, from)),
                    kind(component.translate(&there.record, &there.carry, to, from))
                );
            }
            Ok(())
        });
    }
}

fn cases(default: u32) -> u32 {
    std::env::var("UNSKEW_LAWS").ok().and_then(|number| number.parse().ok()).unwrap_or(default)
}

fn pack(name: &str) -> Pack {
    Pack::from_file(format!("{}/../testdata/packs/{name}.toml", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// All examples of a pack, in all versions that they can be translated to.
fn seeds(pack: &Pack) -> Vec<Tree> {
    let whole: serde_json::Value = serde_json::from_slice(pack.json()).unwrap();
    let native = Native::load(pack);
    let mut seeds = Vec::new();
    for example in whole["example"].as_array().unwrap() {
        for side in ["lower", "upper"] {
            let record = example[side].as_str().unwrap().as_bytes();
            let from = native.detect(record).unwrap();
            for to in 0..native.versions().len() as u16 {
                if native.judge(from, to) == "none" {
                    continue;
                }
                let seed = Tree::read(&native.translate(record, b"", from, to).unwrap().record);
                seeds.push(seed.without_carry().0);
            }
        }
    }
    seeds
}

fn hold(name: &str, pack: &Pack, subject: &dyn Subject, cases: u32) {
    let seeds = seeds(pack);
    let palette = palette(&seeds);
    let count = subject.versions().len() as u16;
    let (translated, refused) = (std::cell::Cell::new(0u32), std::cell::Cell::new(0u32));
    run(name, cases, &seeds, |record| {
        let Ok(from) = subject.detect(record) else { return Ok(()) };
        for to in 0..count {
            let outcome = laws(subject, record, b"", from, to, count, &palette)?;
            let counter = if outcome { &translated } else { &refused };
            counter.set(counter.get() + 1);
        }
        Ok(())
    });
    assert!(translated.get() > cases / 2, "{name}: only {} translations, {} refused", translated.get(), refused.get());
}

fn run(name: &str, cases: u32, seeds: &[Tree], law: impl Fn(&[u8]) -> Result<(), TestCaseError>) {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
    let rng = proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha);
    let change = (0u8..12, any::<u16>(), any::<u16>());
    let strategy = (0..seeds.len(), proptest::collection::vec(change, 0..9));
    let palette = palette(seeds);
    let outcome = TestRunner::new_with_rng(config, rng).run(&strategy, |(seed, changes)| {
        let mut tree = seeds[seed].clone();
        for (kind, place, value) in changes {
            tree.change(kind, usize::from(place), usize::from(value), &palette);
        }
        let record = tree.write();
        law(record.as_bytes()).map_err(|error| TestCaseError::fail(format!("{error}\nrecord: {record}")))
    });
    if let Err(error) = outcome {
        panic!("{name}: {error}");
    }
}

/// Checks all laws on one record and carry. False if the record is refused.
fn laws(
    subject: &dyn Subject,
    record: &[u8],
    carry: &[u8],
    from: u16,
    to: u16,
    count: u16,
    palette: &[String],
) -> Result<bool, TestCaseError> {
    let context = |law: &str, done: &Done| {
        format!(
            "{law}, {from} to {to}: {} carry {}",
            String::from_utf8_lossy(&done.record),
            String::from_utf8_lossy(&done.carry)
        )
    };
    let same = subject.translate(record, carry, from, from).unwrap();
    prop_assert_eq!(&same.record, record, "identity");
    let there = match subject.translate(record, carry, from, to) {
        Ok(there) => there,
        Err(refused) => {
            prop_assert!(!refused.message.is_empty());
            prop_assert_eq!(Err(refused), subject.translate(record, carry, from, to), "pure");
            return Ok(false);
        }
    };
    prop_assert_eq!(Ok(there.clone()), subject.translate(record, carry, from, to), "pure");
    prop_assert_eq!(subject.detect(&there.record), Ok(to), "{}", context("detect", &there));
    untouched(record, &there.record)?;

    if subject.judge(to, from) == "none" {
        return Ok(true); // a step that goes one way only
    }
    let back = subject.translate(&there.record, &there.carry, to, from);
    prop_assert!(back.is_ok(), "{}: {:?}", context("return", &there), back);
    let back = back.unwrap();
    prop_assert_eq!(there.counts[2], 0, "{}", context("declared loss", &there));
    prop_assert!(
        Tree::read(&back.record).without_carry().0.same(&Tree::read(record).without_carry().0),
        "{}, then {}",
        context("return", &there),
        context("", &back)
    );

    let again = subject.translate(&back.record, &back.carry, from, to).unwrap();
    let back_again = subject.translate(&again.record, &again.carry, to, from).unwrap();
    let once_more = subject.translate(&back_again.record, &back_again.carry, from, to).unwrap();
    prop_assert_eq!(&back, &Done { counts: back.counts, ..back_again.clone() }, "{}", context("fixpoint", &back));
    prop_assert_eq!(
        (&again.record, &again.carry),
        (&once_more.record, &once_more.carry),
        "{}",
        context("fixpoint", &again)
    );

    for middle in 0..count {
        if (middle > from && middle < to) || (middle < from && middle > to) {
            let first = subject.translate(record, carry, from, middle);
            let second = first.and_then(|first| subject.translate(&first.record, &first.carry, middle, to));
            if matches!(&second, Err(refused) if ["wrong-version", "unknown-version", "ambiguous"].contains(&&*refused.kind))
            {
                // No version would recognise the record at rest in the middle; on the way through it needs no marker.
                continue;
            }
            prop_assert!(second.is_ok(), "{} by {middle}: {:?}", context("fusion", &there), second);
            let second = second.unwrap();
            prop_assert_eq!(
                (String::from_utf8_lossy(&there.record), String::from_utf8_lossy(&there.carry)),
                (String::from_utf8_lossy(&second.record), String::from_utf8_lossy(&second.carry)),
                "fusion by {}",
                middle
            );
        }
    }

    if from != to {
        edits(subject, &there, from, to, palette)?;
    }
    Ok(true)
}

/// What a server of the other version changes survives the way home and back, and nothing else changes with it.
fn edits(subject: &dyn Subject, there: &Done, from: u16, to: u16, palette: &[String]) -> Result<(), TestCaseError> {
    for turn in 0..4u8 {
        // All kinds of changes, four of them for each record.
        let kind = turn * 3 + (there.record.len() % 3) as u8;
        let (mut tree, carry) = Tree::read(&there.record).without_carry();
        let place = there.record.len() * 31 + usize::from(kind) * 7;
        tree.change(kind, place, there.carry.len() + usize::from(kind), palette);
        let own = tree.clone();
        if own.alike(&Tree::read(&there.record).without_carry().0) {
            continue; // another spelling of the same values is no edit
        }
        tree.put_back(carry);
        let edited = tree.write();
        if subject.detect(edited.as_bytes()) != Ok(to) {
            continue;
        }
        let Ok(home) = subject.translate(edited.as_bytes(), &there.carry, to, from) else { continue };
        let Ok(back) = subject.translate(&home.record, &home.carry, from, to) else {
            return Err(TestCaseError::fail(format!(
                "edit: no way back for {edited}, home {}",
                String::from_utf8_lossy(&home.record)
            )));
        };
        prop_assert!(
            Tree::read(&back.record).without_carry().0.same(&own),
            "edit: {} with carry {}\nhome {} carry {}\nback {}",
            edited,
            String::from_utf8_lossy(&there.carry),
            String::from_utf8_lossy(&home.record),
            String::from_utf8_lossy(&home.carry),
            String::from_utf8_lossy(&back.record)
        );
    }
    Ok(())
}

/// Members of the root that no op names keep their bytes, key, colon and white space around it included.
fn untouched(record: &[u8], there: &[u8]) -> Result<(), TestCaseError> {
    let (record, there) = (String::from_utf8_lossy(record), String::from_utf8_lossy(there));
    for (start, _) in record.match_indices("\"x_root") {
        let rest = &record[start..];
        let colon = rest.find(':').unwrap();
        let mut stream =
            serde_json::Deserializer::from_str(&rest[colon + 1..]).into_iter::<Box<serde_json::value::RawValue>>();
        if stream.next().is_some_and(|value| value.is_ok()) {
            let member = &rest[..colon + 1 + stream.byte_offset()];
            prop_assert!(there.contains(member), "untouched: {member} is not in {there}");
        }
    }
    Ok(())
}

/// A JSON document with its spelling: what grows records and compares them.
#[derive(Clone, Debug)]
enum Tree {
    Scalar(String),
    Array(Vec<Tree>),
    /// Keys as JSON text.
    Object(Vec<(String, Tree)>),
}

/// Values that stand in the seeds, and odd ones; keys come from here as well.
fn palette(seeds: &[Tree]) -> Vec<String> {
    let odd = [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1.0",
        "1E2",
        "-1",
        "-1500",
        "9007199254740993",
        "18446744073709551615",
        "123456789012345678901234567890",
        "0.1000",
        "1719400000123",
        "\"\"",
        "\"1.50\"",
        "\"a\\/b\"",
        "\"caf\\u00e9\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud800\"",
        "\"é\"",
        "[]",
        "{}",
        "[ 1 , {\"k\": null} ]",
        "{ \"a\" : [] }",
        "\"Thu, 01 Jan 1970 00:00:00 GMT\"",
    ];
    let mut palette: Vec<String> = odd.into_iter().map(str::to_owned).collect();
    seeds.iter().for_each(|seed| seed.collect(&mut palette));
    palette.sort();
    palette.dedup();
    palette
}

impl Tree {
    fn read(text: &[u8]) -> Tree {
        let raw: &serde_json::value::RawValue =
            serde_json::from_slice(text).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(text)));
        Tree::of(raw.get())
    }

    fn of(text: &str) -> Tree {
        match text.as_bytes()[0] {
            b'[' => {
                let items: Vec<&serde_json::value::RawValue> = serde_json::from_str(text).unwrap();
                Tree::Array(items.into_iter().map(|item| Tree::of(item.get())).collect())
            }
            b'{' => Tree::Object(members(text)),
            _ => Tree::Scalar(text.to_owned()),
        }
    }

    /// The same JSON: scalars by their text, members in any order.
    fn same(&self, other: &Tree) -> bool {
        match (self, other) {
            (Tree::Scalar(a), Tree::Scalar(b)) => a == b,
            (Tree::Array(a), Tree::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b)),
            (Tree::Object(a), Tree::Object(b)) => {
                let find = |key: &str| b.iter().find(|(other, _)| plain(other) == plain(key));
                a.len() == b.len() && a.iter().all(|(key, value)| find(key).is_some_and(|(_, other)| value.same(other)))
            }
            _ => false,
        }
    }

    /// The same values, however they are spelled.
    fn alike(&self, other: &Tree) -> bool {
        match (self, other) {
            (Tree::Scalar(a), Tree::Scalar(b)) => {
                let number = |text: &str| text.parse::<f64>().ok();
                a == b || plain(a) == plain(b) || number(a).is_some_and(|a| Some(a) == number(b))
            }
            (Tree::Array(a), Tree::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.alike(b)),
            (Tree::Object(a), Tree::Object(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|((x, a), (y, b))| plain(x) == plain(y) && a.alike(b))
            }
            _ => false,
        }
    }

    /// Apart from the inline carry, if there is one.
    fn without_carry(self) -> (Tree, Option<(String, Tree)>) {
        match self {
            Tree::Object(mut members) => {
                let carry = members.iter().position(|(key, _)| key == "\"_unskew\"").map(|at| members.remove(at));
                (Tree::Object(members), carry)
            }
            other => (other, None),
        }
    }

    fn put_back(&mut self, carry: Option<(String, Tree)>) {
        if let Tree::Object(members) = self {
            members.extend(carry);
        }
    }

    fn write(&self) -> String {
        match self {
            Tree::Scalar(text) => text.clone(),
            Tree::Array(items) => format!("[{}]", items.iter().map(Tree::write).collect::<Vec<_>>().join(", ")),
            Tree::Object(members) => {
                let members = members.iter().map(|(key, value)| match key.len() % 3 {
                    0 => format!("{key}:{}", value.write()),
                    1 => format!(" {key} : {}", value.write()),
                    _ => format!("\n  {key}: {} ", value.write()),
                });
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }
        }
    }

    fn collect(&self, into: &mut Vec<String>) {
        into.push(self.write());
        match self {
            Tree::Scalar(_) => {}
            Tree::Array(items) => items.iter().for_each(|item| item.collect(into)),
            Tree::Object(members) => members.iter().for_each(|(key, value)| {
                into.push(key.clone());
                value.collect(into);
            }),
        }
    }

    fn size(&self) -> usize {
        1 + match self {
            Tree::Scalar(_) => 0,
            Tree::Array(items) => items.iter().map(Tree::size).sum(),
            Tree::Object(members) => members.iter().map(|(_, value)| value.size()).sum(),
        }
    }

    fn nth(&mut self, place: usize) -> &mut Tree {
        if place == 0 {
            return self;
        }
        let mut place = place - 1;
        let children: Vec<&mut Tree> = match self {
            Tree::Scalar(_) => unreachable!("a scalar has size one"),
            Tree::Array(items) => items.iter_mut().collect(),
            Tree::Object(members) => members.iter_mut().map(|(_, value)| value).collect(),
        };
        for child in children {
            let size = child.size();
            if place < size {
                return child.nth(place);
            }
            place -= size;
        }
        unreachable!("places are below the size")
    }

    fn change(&mut self, kind: u8, place: usize, value: usize, palette: &[String]) {
        let whole = self.size();
        let text = palette[value % palette.len()].clone();
        let keys: Vec<&String> = palette.iter().filter(|text| text.starts_with('"') && !text.contains('\\')).collect();
        let key = keys[(value / 7 + place) % keys.len()].clone();
        let target = self.nth(place % whole);
        match (kind, target) {
            (0 | 1, scalar @ Tree::Scalar(_)) => *scalar = Tree::of(&text),
            (0, Tree::Object(members)) if !members.is_empty() => {
                let at = value % members.len();
                members.remove(at);
            }
            (2 | 3, Tree::Object(members)) => {
                let taken = members.iter().any(|(other, _)| plain(other) == plain(&key));
                if !taken {
                    members.push((key, Tree::of(&text)));
                }
            }
            (4, Tree::Array(items)) if !items.is_empty() => {
                let item = items[value % items.len()].clone();
                items.push(item);
            }
            (5, Tree::Array(items)) if !items.is_empty() => {
                let at = value % items.len();
                items.remove(at);
            }
            (6, Tree::Object(members)) if !members.is_empty() => {
                let by = value % members.len();
                members.rotate_left(by);
            }
            (7, Tree::Object(members)) if !members.is_empty() => {
                let at = value % members.len();
                let (key, _) = &mut members[at];
                if key.len() > 2 && key.as_bytes()[1].is_ascii_alphanumeric() {
                    *key = format!("\"\\u{:04x}{}", key.as_bytes()[1], &key[2..]);
                }
            }
            (8, Tree::Object(members)) => {
                let depth = if place.is_multiple_of(whole) { "root" } else { "deep" };
                let key = format!("\"x_{depth}{}\"", value % 97);
                if !members.iter().any(|(other, _)| *other == key) {
                    members.insert(value % (members.len() + 1), (key, Tree::of(&text)));
                }
            }
            (9, Tree::Object(members)) if !members.is_empty() => {
                let at = value % members.len();
                members[at].1 = Tree::of(&text);
            }
            (10, Tree::Array(items)) if items.len() > 1 => items.swap(0, value % 2),
            _ => {}
        }
    }
}

fn plain(key: &str) -> String {
    serde_json::from_str(key).unwrap_or_else(|_| key.to_owned())
}

fn members(text: &str) -> Vec<(String, Tree)> {
    // serde_json unescapes keys; their text is found again by walking.
    let mut found = Vec::new();
    let mut rest = text[1..].trim_start();
    while !rest.starts_with('}') {
        let mut keys = serde_json::Deserializer::from_str(rest).into_iter::<Box<serde_json::value::RawValue>>();
        let key = keys.next().unwrap().unwrap().get().to_owned();
        rest = rest[keys.byte_offset()..].trim_start()[1..].trim_start();
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Box<serde_json::value::RawValue>>();
        let value = values.next().unwrap().unwrap();
        found.push((key, Tree::of(value.get())));
        rest = rest[values.byte_offset()..].trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    found
}
