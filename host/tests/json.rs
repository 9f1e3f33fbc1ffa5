//! RFC 8259 as it is: JSONTestSuite's verdicts, and spellings that no translation may change, natively and in the sandbox.
#![allow(clippy::unwrap_used, reason = "tests")]

mod subject;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use subject::{Native, component};
use unskew::laws::{Refused, Subject};
use unskew::{Pack, Version};

const OLD: Version = Version(0);
const NEW: Version = Version(1);

/// Ops beside, around and inside of what is tested.
const PACK: &str = r#"
name = "neighbours"
revision = 1
version = [{ id = "1", marker = { path = "/v", absent = true } }, { id = "2", marker = { path = "/v", value = 2 } }]

[[step]]
from = "1"
to = "2"
ops = [
  { rename = "/old", to = "new" },
  { move = "/moved", to = "/to/moved" },
  { remove = "/gone", restore = "" },
  { rename = "/list/*/old", to = "new" },
]
"#;

#[test]
fn all_318_parsing_files_get_the_verdict_of_rfc_8259() {
    let (suite, free) = (texts("parsing.tsv"), free_verdicts());
    assert_eq!(suite.len(), 318);
    assert_eq!(free.len(), 35);
    for (how, subject) in subjects() {
        for (name, text) in &suite {
            let expected = match name.as_bytes()[0] {
                b'y' => "accepted",
                b'n' if name.contains("opening_arrays") || name.contains("open_array_object") => "too-deep",
                b'n' => "not-json",
                _ => &free[name],
            };
            for (form, record, becomes) in around(text) {
                let verdict = verdict(&*subject, &record, &becomes);
                assert_eq!(verdict, met(name, form, expected), "{name} {form}, {}", how);
            }
            let object = text.iter().find(|byte| !b" \t\r\n".contains(byte)) == Some(&b'{');
            let whole = subject.detect(text).map_or_else(kind, |_| "accepted".to_owned());
            assert_eq!(whole, if object { expected } else { "opaque" }, "{name} as a record, {}", how);
        }
    }
}

#[test]
fn what_parsers_tend_to_change_stays_as_it_is() {
    let suite = texts("transform.tsv");
    assert_eq!(suite.len(), 22);
    for (how, subject) in subjects() {
        for (name, text) in &suite {
            let raw_surrogates = name.ends_with("_invalid_codepoint") || name.ends_with("_invalid_codepoints");
            let expected = if raw_surrogates && !name.contains("escaped") { "not-json" } else { "accepted" };
            for (form, record, becomes) in around(text) {
                let verdict = verdict(&*subject, &record, &becomes);
                assert_eq!(verdict, met(name, form, expected), "{name} {form}, {}", how);
            }
        }
    }
}

#[test]
fn numbers_and_strings_keep_their_spelling() {
    let (numbers, strings) = (texts("numbers.txt"), texts("strings.txt"));
    assert!(numbers.len() >= 60 && strings.len() >= 40);
    for (how, subject) in subjects() {
        for (_, text) in numbers.iter().chain(&strings) {
            for (form, record, becomes) in around(text) {
                let what = format!("{} {form}, {}", String::from_utf8_lossy(text), how);
                assert_eq!(verdict(&*subject, &record, &becomes), "accepted", "{what}");
            }
            for (lower, upper, back) in [
                (r#"{"old":T}"#, r#"{"new":T,"v":2}"#, r#"{"old":T}"#),
                (r#"{"moved":T,"z":[T]}"#, r#"{"z":[T],"to":{"moved":T},"v":2}"#, r#"{"z":[T],"moved":T}"#),
                (r#"{"gone":T,"z":T}"#, r#"{"z":T,"v":2}"#, r#"{"z":T,"gone":T}"#),
                (r#"{"list":[T,{"old":T}]}"#, r#"{"list":[T,{"new":T}],"v":2}"#, r#"{"list":[T,{"old":T}]}"#),
            ] {
                let there = subject.translate(&filled(lower, text), b"", OLD, NEW).unwrap();
                assert_eq!(there.record, filled(upper, text), "{lower}, {}", how);
                let home = subject.translate(&there.record, &there.carry, NEW, OLD).unwrap();
                assert_eq!((home.record, home.carry), (filled(back, text), vec![]), "{lower}, {}", how);
            }
        }
        // A string is a key, too.
        for (_, key) in &strings {
            let (lower, upper) = (r#"{"old":0,T:{T :1},"z":2}"#, r#"{"new":0,T:{T :1},"z":2,"v":2}"#);
            assert_eq!(verdict(&*subject, &filled(lower, key), &filled(upper, key)), "accepted");
        }
    }
}

#[test]
fn whole_documents_keep_their_bytes() {
    let folder = folder().join("documents");
    let documents = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let documents = documents.map(|path| (path.display().to_string(), std::fs::read(path).unwrap()));
    let documents: Vec<(String, Vec<u8>)> = documents.collect();
    assert!(documents.len() >= 5);
    for (how, subject) in subjects() {
        for (name, document) in &documents {
            let same = subject.translate(document, b"", OLD, OLD).unwrap();
            assert_eq!(&same.record, document, "identity, {}", how);
            let there = subject.translate(document, b"", OLD, NEW).unwrap();
            let home = subject.translate(&there.record, &there.carry, NEW, OLD).unwrap();
            assert_eq!(&home.record, document, "return, {}", how);
            for (form, record, becomes) in around(document.trim_ascii()) {
                let verdict = verdict(&*subject, &record, &becomes);
                assert_eq!(verdict, met(name, form, "accepted"), "{name} {form}, {}", how);
            }
        }
    }
}

/// The guest linked natively and the component, by name.
fn subjects() -> [(&'static str, Arc<dyn Subject>); 2] {
    let pack = Pack::from_toml("neighbours.toml", PACK).unwrap();
    [("natively", Arc::new(Native::load(&pack))), ("in the sandbox", component(&pack))]
}

/// Records that hold a text where nobody looks and where ops do, and what becomes of them.
fn around(text: &[u8]) -> [(&'static str, Vec<u8>, Vec<u8>); 3] {
    [
        ("beside an op", r#"{"old":0,"x":T,"z":1}"#, r#"{"new":0,"x":T,"z":1,"v":2}"#),
        ("around an op", r#"{"list":T,"old":0}"#, r#"{"list":T,"new":0,"v":2}"#),
        ("in an op's element", r#"{"list":[T ,{"old":0}]}"#, r#"{"list":[T ,{"new":0}],"v":2}"#),
    ]
    .map(|(form, record, becomes)| (form, filled(record, text), filled(becomes, text)))
}

/// What is met by a text: where an op looks at every member, keys that stand twice are refused.
fn met<'v>(name: &str, form: &str, verdict: &'v str) -> &'v str {
    let doubled = ["duplicated_key", "same_key", "windows"].iter().any(|word| name.contains(word));
    if doubled && form == "around an op" { "duplicate-key" } else { verdict }
}

fn filled(form: &str, text: &[u8]) -> Vec<u8> {
    form.split('T').map(str::as_bytes).collect::<Vec<_>>().join(text)
}

/// `accepted` if the record becomes exactly this, else the kind of its fault.
fn verdict(subject: &dyn Subject, record: &[u8], becomes: &[u8]) -> String {
    match subject.translate(record, b"", OLD, NEW) {
        Ok(done) if done.record == becomes => "accepted".to_owned(),
        Ok(done) => format!("changed to {}", String::from_utf8_lossy(&done.record)),
        Err(refused) => kind(refused),
    }
}

fn kind(refused: Refused) -> String {
    match refused {
        Refused::Fault { kind, .. } => kind,
        Refused::Failed(why) => why,
    }
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/json"))
}

/// The texts of a file by name: a line is a name and a text with escapes (and how often it stands there, and what
/// follows), or a text alone.
fn texts(file: &str) -> Vec<(String, Vec<u8>)> {
    let lines = std::fs::read_to_string(folder().join(file)).unwrap();
    let lines = lines.lines().filter(|line| !line.starts_with('#'));
    let text = |line: &str| match line.split('\t').collect::<Vec<_>>()[..] {
        [text] => (text.to_owned(), bytes(text)),
        [name, text] => (name.to_owned(), bytes(text)),
        [name, text, times, rest] => {
            (name.to_owned(), [bytes(text).repeat(times.parse().unwrap()), bytes(rest)].concat())
        }
        _ => panic!("{file}: {line}"),
    };
    lines.map(text).collect()
}

/// `\xNN` is a byte, `\\` a backslash.
fn bytes(escaped: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), escaped);
    while let Some((plain, escape)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        rest = match escape.strip_prefix('x') {
            Some(hex) => {
                bytes.push(u8::from_str_radix(&hex[..2], 16).unwrap());
                &hex[2..]
            }
            None => {
                bytes.push(b'\\');
                escape.strip_prefix('\\').unwrap()
            }
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// What docs/json.md says of the files whose verdict RFC 8259 leaves free.
fn free_verdicts() -> BTreeMap<String, String> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/json.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `i_"));
    let row = |row: &str| {
        let (name, rest) = row.split_once("` | ").unwrap();
        (format!("i_{name}"), rest.split(" |").next().unwrap().trim_matches('`').to_owned())
    };
    rows.map(row).collect()
}
