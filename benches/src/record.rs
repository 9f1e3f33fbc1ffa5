//! The records and packs that everything is measured on: sessions of `testdata/`, web sessions and rooms made here.

use serde_json::{Value, json};
use unskew::{Pack, Version};

use crate::hand::Shape;

/// A record and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// What it is a record of.
    pub shape: Shape,
    /// Its size, as benches are named by it: `4k`.
    pub size: &'static str,
    /// How it is written.
    pub spelling: Spelling,
    /// Its text.
    pub text: &'static [u8],
}

/// How a record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// Without white space, text as it is.
    Compact,
    /// A member a line, indented by two.
    Pretty,
    /// As `Compact`, and every letter is an ASCII one.
    Ascii,
    /// As `Pretty`, and every letter is an ASCII one.
    PrettyAscii,
}

impl Spelling {
    /// All of them.
    pub const ALL: [Spelling; 4] = [Spelling::Compact, Spelling::Pretty, Spelling::Ascii, Spelling::PrettyAscii];

    /// Its name, as benches have it.
    pub fn name(self) -> &'static str {
        match self {
            Spelling::Compact => "compact",
            Spelling::Pretty => "pretty",
            Spelling::Ascii => "ascii",
            Spelling::PrettyAscii => "pretty-ascii",
        }
    }
}

impl Record {
    /// Its name in benches: `session-4k`, and the spelling where it isn't compact.
    pub fn name(&self) -> String {
        let Record { shape, size, spelling, .. } = self;
        match spelling {
            Spelling::Compact => format!("{}-{size}", shape.name()),
            Spelling::Pretty | Spelling::Ascii | Spelling::PrettyAscii => {
                format!("{}-{size}-{}", shape.name(), spelling.name())
            }
        }
    }
}

/// The same session at four sizes, as `testdata/records` has it.
pub const SESSIONS: [Record; 4] = [
    session("0.4k", include_bytes!("../../testdata/records/opentok-v1-0.4k.json")),
    session("0.7k", include_bytes!("../../testdata/records/opentok-v1-0.7k.json")),
    session("4k", include_bytes!("../../testdata/records/opentok-v1-4k.json")),
    session("64k", include_bytes!("../../testdata/records/opentok-v1-64k.json")),
];

/// The largest of them.
pub const LARGEST: Record = SESSIONS[3];

/// The least there is to detect, so that what is measured is the way into the sandbox and back.
pub const EMPTY: &[u8] = b"{}";

const fn session(size: &'static str, text: &'static [u8]) -> Record {
    Record { shape: Shape::Session, size, spelling: Spelling::Compact, text }
}

/// A record of each shape and size in this spelling. The text is never freed.
pub fn spelled(spelling: Spelling) -> Vec<Record> {
    let sizes = SESSIONS.map(|session| (session.size, session.text.len()));
    let shapes = Shape::ALL.into_iter().flat_map(|shape| sizes.map(|(size, length)| (shape, size, length)));
    let record = |(shape, size, length)| {
        let text = match shape {
            Shape::Session => {
                SESSIONS.into_iter().find(|session| session.size == size).map(|session| tree(session.text))
            }
            Shape::Cookie => Some(grown(length, web)),
            Shape::Room => Some(grown(length, room)),
        };
        let text = text.expect("sessions have every size");
        Record { shape, size, spelling, text: spell(text, spelling).leak() }
    };
    shapes.map(record).collect()
}

fn spell(mut tree: Value, spelling: Spelling) -> Vec<u8> {
    if matches!(spelling, Spelling::Ascii | Spelling::PrettyAscii) {
        to_ascii(&mut tree);
    }
    let text = match spelling {
        Spelling::Compact | Spelling::Ascii => serde_json::to_vec(&tree),
        Spelling::Pretty | Spelling::PrettyAscii => serde_json::to_vec_pretty(&tree),
    };
    text.expect("a tree of JSON is written to memory")
}

/// Puts an `x` in the place of every letter that is none of ASCII.
fn to_ascii(tree: &mut Value) {
    match tree {
        Value::String(text) => {
            *text = text.chars().map(|letter| if letter.is_ascii() { letter } else { 'x' }).collect()
        }
        Value::Array(elements) => elements.iter_mut().for_each(to_ascii),
        Value::Object(members) => members.values_mut().for_each(to_ascii),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The record with the fewest elements that is so long.
fn grown(length: usize, record: impl Fn(u64) -> Value) -> Value {
    let long = |elements| record(elements).to_string().len();
    let [none, two] = [0, 2].map(long);
    let mut elements = (length.saturating_sub(none) / ((two - none) / 2)) as u64;
    while long(elements) > length && elements > 0 {
        elements -= 1;
    }
    record(elements)
}

/// What a web framework keeps: a few members of its own, and a cart that the edit doesn't touch.
fn web(items: u64) -> Value {
    let titles = ["Kopfhörer „Studio“, schwarz", "Mikrofon", "Câble XLR 3 m", "スタンド", "Stativ \"mini\""];
    let item = |n: u64| {
        json!({
            "sku": format!("A-{:05}", n * 7919 % 100_000),
            "title": titles[n as usize % titles.len()],
            "quantity": n % 3 + 1,
            "price": format!("{}.90", n * 13 % 200),
            "options": { "gift": n.is_multiple_of(5), "weight": 0.25 },
        })
    };
    json!({
        "cookie": {
            "original": 36000,
            "path": "/",
            "httpOnly": true,
            "expires": "Fri, 12 Aug 2022 10:00:00 GMT",
            "maxAge": 3600,
        },
        "user": 4711,
        "csrf": "aXvB3kq0-n9QmT1rU5yZsW2d",
        "returnTo": "/konto/übersicht",
        "flash": null,
        "cart": (0..items).map(item).collect::<Value>(),
    })
}

/// A room with participants, each of which three ops change; one in eight has a state that the newer version narrows.
fn room(participants: u64) -> Value {
    let names = ["Zoë Krüger", "李小龍", "Ada Lovelace", "Ирина", "Mia 🎧", "Bob"];
    let participant = |n: u64| {
        json!({
            "id": format!("PA_{:08x}", n.wrapping_mul(0x9e37_79b9) as u32),
            "since": 1_719_400_001 + n * 17,
            "state": if n % 8 == 7 { "away" } else { ["active", "idle"][n as usize % 2] },
            "name": names[n as usize % names.len()],
            "audio": { "muted": n.is_multiple_of(3), "codec": "opus" },
        })
    };
    let participants: Value = (0..participants).map(participant).collect();
    json!({ "name": "Sprechstunde Zürich", "joined_at": 1_719_400_000, "participants": participants, "e2ee": true })
}

/// The text of the incident's pack.
const PACK: &str = include_str!("../../testdata/packs/opentok.toml");

/// The pack of a shape.
///
/// # Panics
/// If a pack of `testdata/packs` isn't TOML, which the tests of unskew would have told.
pub fn pack(shape: Shape) -> Pack {
    let (name, text) = match shape {
        Shape::Session => ("opentok.toml", PACK),
        Shape::Cookie => ("express.toml", include_str!("../../testdata/packs/express.toml")),
        Shape::Room => ("livekit.toml", include_str!("../../testdata/packs/livekit.toml")),
    };
    Pack::from_toml(name, text).expect("the packs of testdata/ are TOML")
}

/// The versions between which records of a shape are translated.
pub fn versions(shape: Shape) -> (Version, Version) {
    (Version(shape.from()), Version(shape.from() + 1))
}

/// The text of the incident's pack in another revision, that answers differently: version 2 gets this revision as its
/// bitrate.
pub fn revised_text(revision: u64) -> String {
    PACK.replace("3000", &revision.to_string()).replace("revision = 7", &format!("revision = {revision}"))
}

/// A record of one string, 1 KiB long, of version 1 of the incident's pack: bytes in and out with next to nothing
/// between.
pub fn one_string() -> Vec<u8> {
    let mut text = br#"{"name":""#.to_vec();
    text.resize(1022, b'x');
    text.extend_from_slice(br#""}"#);
    text
}

/// The tree of a text that is known to be JSON.
///
/// # Panics
/// If it is none.
pub fn tree(text: &[u8]) -> Value {
    serde_json::from_slice(text).expect("it is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_their_size_and_say_the_same_in_every_spelling() {
        let compact = spelled(Spelling::Compact);
        let targets = SESSIONS.map(|session| session.text.len());
        for (record, target) in compact.iter().zip(targets.iter().cycle()) {
            assert!(
                (target * 3 / 5..=*target).contains(&record.text.len()),
                "{}: {}",
                record.name(),
                record.text.len()
            );
        }
        for (record, pretty) in compact.iter().zip(spelled(Spelling::Pretty)) {
            assert_eq!(tree(record.text), tree(pretty.text));
            assert!(pretty.text.len() > record.text.len() && !pretty.text.is_ascii());
        }
        assert!(spelled(Spelling::Ascii).iter().all(|record| record.text.is_ascii()));
    }

    #[test]
    fn times_are_dates() {
        use crate::hand::rfc3339;
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_719_400_001), "2024-06-26T11:06:41Z");
    }
}
