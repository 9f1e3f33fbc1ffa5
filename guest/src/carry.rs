//! The carry: what a target version cannot hold, kept as one JSON document.
//!
//! An entry belongs to an op, by the op's digest, and to a place, by what the op's `*`s are bound to. It holds the
//! text that was there and the text that was put there instead, so that the way back can tell an edit from none.
//! Texts stand in JSON strings: a server that rewrites the record's numbers and escapes leaves them alone.

use serde::Deserialize;

use crate::cursor::Cursor;
use crate::json;
use crate::tape::append;

/// The format that is written and read.
const FORMAT: u32 = 1;
const FORMAT_TEXT: &[u8] = b"1";

/// A carry that was read, and which of its entries have been used.
#[derive(Default)]
pub(crate) struct Carry {
    entries: Vec<Entry>,
    used: Vec<bool>,
    /// Digest of op and place, and entry, sorted.
    index: Vec<(u64, usize)>,
    /// The ops that have entries, sorted.
    ops: Vec<u64>,
    /// How deep the deepest text is.
    pub(crate) deepest: u32,
}

/// What one op could not hold at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) op: u64,
    pub(crate) place: Vec<Bound>,
    pub(crate) kept: Kept,
    text: Vec<u8>,
}

/// What an entry remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// The text or absence that was there, and what was put there.
    pub(crate) value: Option<(Option<String>, Option<String>)>,
    /// Whether the op was done, where its condition would not say so.
    pub(crate) done: Option<bool>,
    /// How many of the place's parents were there though empty.
    pub(crate) parents: Option<u32>,
    /// The same of an op that works on several places at once.
    pub(crate) several: Option<Several>,
}

/// What an op could not hold of several places, each in the op's order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Several {
    /// The texts or absences that were there.
    pub(crate) was: Vec<Option<String>>,
    /// What was put there.
    pub(crate) put: Vec<Option<String>>,
    /// How many of each place's parents were there though empty.
    #[serde(default)]
    pub(crate) parents: Vec<Option<u32>>,
}

/// What a `*` is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// A member of an object, by its key.
    Member(String),
    /// An element, by the text of its collection's key.
    Key(String),
    /// An element, by its index and the digest of its untouched bytes.
    Index(u32, u64),
}

impl Kept {
    pub(crate) fn is_empty(&self) -> bool {
        self.value.is_none() && self.done.is_none() && self.parents.is_none() && self.several.is_none()
    }

    /// All texts, what was there first.
    fn texts(&self) -> impl Iterator<Item = &String> {
        let one = self.value.iter().flat_map(|(was, put)| [was, put]);
        let several = self.several.iter().flat_map(|several| several.was.iter().chain(&several.put));
        one.chain(several).flatten()
    }
}

impl Entry {
    pub(crate) fn new(op: u64, place: Vec<Bound>, kept: Kept) -> Entry {
        let mut text = Vec::new();
        push_entry(&mut text, op, &place);
        if let Some((was, put)) = &kept.value {
            push_value(&mut text, was.as_deref().map(str::as_bytes), put.as_deref().map(str::as_bytes));
        }
        if let Some(several) = &kept.several {
            text.extend_from_slice(b",\"texts\":{\"was\":");
            push_texts(&mut text, &several.was);
            text.extend_from_slice(b",\"put\":");
            push_texts(&mut text, &several.put);
            if several.parents.iter().any(Option::is_some) {
                text.extend_from_slice(b",\"parents\":[");
                for (index, parents) in several.parents.iter().enumerate() {
                    text.extend_from_slice(if index > 0 { b"," } else { b"" });
                    text.extend_from_slice(parents.map_or("null".to_owned(), |parents| parents.to_string()).as_bytes());
                }
                text.push(b']');
            }
            text.push(b'}');
        }
        if let Some(done) = kept.done {
            text.extend_from_slice(format!(",\"done\":{done}").as_bytes());
        }
        if let Some(parents) = kept.parents {
            text.extend_from_slice(format!(",\"parents\":{parents}").as_bytes());
        }
        text.push(b'}');
        Entry { op, place, kept, text }
    }

    /// How many bytes the entry takes in a carry.
    pub(crate) fn size(&self) -> usize {
        self.text.len() + 1
    }
}

impl Carry {
    /// Reads the carry of a record found at version `at`. Also returns how many entries are lost: those of a carry
    /// that rests at another version, and one for a carry, or an entry, that is malformed.
    pub(crate) fn read(text: &[u8], at: &str, max_bytes: u32) -> (Carry, u32) {
        if text.is_empty() {
            return (Carry::default(), 0);
        }
        let document =
            (text.len() <= max_bytes as usize).then(|| serde_json::from_slice::<Document>(text).ok()).flatten();
        let Some(document) = document.filter(|document| document.unskew == FORMAT) else {
            return (Carry::default(), 1);
        };
        if document.at != at {
            return (Carry::default(), document.kept.len().max(1) as u32);
        }
        let found = document.kept.len();
        let entries: Vec<Entry> = document.kept.into_iter().filter_map(EntryDocument::sound).collect();
        let lost = (found - entries.len()) as u32;
        (Carry::of(entries), lost)
    }

    /// A carry of these entries.
    pub(crate) fn of(entries: Vec<Entry>) -> Carry {
        let mut index: Vec<(u64, usize)> =
            entries.iter().enumerate().map(|(i, entry)| (digest(entry.op, &entry.place), i)).collect();
        index.sort_unstable();
        let mut ops: Vec<u64> = entries.iter().map(|entry| entry.op).collect();
        ops.sort_unstable();
        let texts = entries.iter().flat_map(|entry| entry.kept.texts());
        let deepest = texts.map(|text| json::depth(text.as_bytes())).max().unwrap_or(0);
        Carry { used: vec![false; entries.len()], entries, index, ops, deepest }
    }

    pub(crate) fn len(&self) -> u32 {
        self.entries.len() as u32
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether an op has entries at all.
    pub(crate) fn speaks_of(&self, op: u64) -> bool {
        self.ops.binary_search(&op).is_ok()
    }

    /// Takes the entry of an op at a place.
    pub(crate) fn take(&mut self, op: u64, place: &[Bound]) -> Option<Kept> {
        let wanted = digest(op, place);
        let start = self.index.partition_point(|(digest, _)| *digest < wanted);
        let candidates = self.index.get(start..)?.iter().take_while(|(digest, _)| *digest == wanted);
        for (_, at) in candidates {
            let (Some(entry), Some(used)) = (self.entries.get(*at), self.used.get_mut(*at)) else { continue };
            if !*used && entry.op == op && entry.place == place {
                *used = true;
                return Some(entry.kept.clone());
            }
        }
        None
    }

    /// Gives up the entries of ops that have run and found no place for them. Returns how many.
    pub(crate) fn orphan(&mut self, ops: &[u64]) -> u32 {
        let mut orphans = 0;
        for (entry, used) in self.entries.iter().zip(&mut self.used) {
            if !*used && ops.binary_search(&entry.op).is_ok() {
                *used = true;
                orphans += 1;
            }
        }
        orphans
    }

    /// Gives up entries of ops that the pack doesn't have until `excess` bytes are freed. Returns how many.
    pub(crate) fn give_way(&mut self, known: &[u64], excess: usize) -> u32 {
        let (mut freed, mut given) = (0, 0);
        for (entry, used) in self.entries.iter().zip(&mut self.used) {
            if freed < excess && !*used && known.binary_search(&entry.op).is_err() {
                *used = true;
                freed += entry.size();
                given += 1;
            }
        }
        given
    }

    /// The bytes of the entries that nobody has used.
    pub(crate) fn size(&self) -> usize {
        self.unused().map(Entry::size).sum()
    }

    /// The carry of the target: entries that nobody has used, then fresh ones. Empty where there are none.
    pub(crate) fn write(&self, fresh: &[Entry], at: &str) -> Vec<u8> {
        let size = self.size() + fresh.iter().map(Entry::size).sum::<usize>();
        if size == 0 {
            return Vec::new();
        }
        let mut out = Carry::head(at);
        out.reserve(size + 2);
        for entry in self.unused().chain(fresh) {
            out.extend_from_slice(&entry.text);
            out.push(b',');
        }
        out.pop();
        out.extend_from_slice(b"]}");
        out
    }

    /// The bytes of a carry without entries.
    pub(crate) fn overhead(at: &str) -> usize {
        Carry::head(at).len() + 2
    }

    /// How a carry starts that rests at a version.
    pub(crate) fn head(at: &str) -> Vec<u8> {
        let mut out = b"{\"unskew\":".to_vec();
        out.extend_from_slice(FORMAT_TEXT);
        out.extend_from_slice(b",\"at\":");
        json::quote_into(&mut out, at.as_bytes());
        out.extend_from_slice(b",\"kept\":[");
        out
    }

    fn unused(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().zip(&self.used).filter(|(_, used)| !**used).map(|(entry, _)| entry)
    }
}

/// Starts an entry.
pub(crate) fn push_entry(out: &mut Vec<u8>, op: u64, place: &[Bound]) {
    append(out, b"{\"op\":\"");
    push_hex(out, op);
    out.push(b'"');
    if place.is_empty() {
        return;
    }
    append(out, b",\"in\":[");
    for (index, bound) in place.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        match bound {
            Bound::Member(key) => json::quote_into(out, key.as_bytes()),
            Bound::Key(key) => {
                append(out, b"{\"key\":");
                json::quote_into(out, key.as_bytes());
                out.push(b'}');
            }
            Bound::Index(index, digest) => {
                append(out, format!("[{index},\"").as_bytes());
                push_hex(out, *digest);
                append(out, b"\"]");
            }
        }
    }
    out.push(b']');
}

/// Appends to an entry what was there and what was put there.
pub(crate) fn push_value(out: &mut Vec<u8>, was: Option<&[u8]>, put: Option<&[u8]>) {
    append(out, b",\"text\":[");
    push_text(out, was);
    out.push(b',');
    push_text(out, put);
    out.push(b']');
}

fn push_texts(out: &mut Vec<u8>, values: &[Option<String>]) {
    out.push(b'[');
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_text(out, value.as_deref().map(str::as_bytes));
    }
    out.push(b']');
}

/// A JSON string, `null` for what wasn't there.
fn push_text(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        Some(value) => json::quote_into(out, value),
        None => append(out, b"null"),
    }
}

fn push_hex(out: &mut Vec<u8>, number: u64) {
    let digit = |shift: u32| match (number >> shift & 0xf) as u8 {
        nibble @ 0..10 => b'0' + nibble,
        nibble => b'a' - 10 + nibble,
    };
    out.extend_from_slice(&[60, 56, 52, 48, 44, 40, 36, 32, 28, 24, 20, 16, 12, 8, 4, 0].map(digit));
}

fn digest(op: u64, place: &[Bound]) -> u64 {
    place.iter().fold(op, |seed, bound| match bound {
        Bound::Member(key) => json::fnv1a(seed ^ 1, key.as_bytes()),
        Bound::Key(key) => json::fnv1a(seed ^ 2, key.as_bytes()),
        Bound::Index(index, digest) => json::fnv1a(json::fnv1a(seed ^ 3, &index.to_le_bytes()), &digest.to_le_bytes()),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    unskew: u32,
    at: String,
    kept: Vec<EntryDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryDocument {
    op: String,
    #[serde(default)]
    r#in: Vec<BoundDocument>,
    text: Option<(Option<String>, Option<String>)>,
    texts: Option<Several>,
    done: Option<bool>,
    parents: Option<u32>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum BoundDocument {
    Member(String),
    Key { key: String },
    Index(u32, String),
}

impl EntryDocument {
    fn sound(self) -> Option<Entry> {
        let hex = |text: &str| (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok()).flatten();
        let bound = |bound| {
            Some(match bound {
                BoundDocument::Member(key) => Bound::Member(key),
                BoundDocument::Key { key } => Bound::Key(key),
                BoundDocument::Index(index, digest) => Bound::Index(index, hex(&digest)?),
            })
        };
        let place = self.r#in.into_iter().map(bound).collect::<Option<Vec<Bound>>>()?;
        let kept = Kept { value: self.text, done: self.done, parents: self.parents, several: self.texts };
        let valid = kept.texts().all(|text| {
            Cursor::is_value(text.as_bytes())
                && !text.starts_with([' ', '\n', '\r', '\t'])
                && !text.ends_with([' ', '\n', '\r', '\t'])
        });
        (valid && !kept.is_empty()).then(|| hex(&self.op).map(|op| Entry::new(op, place, kept))).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let place = vec![Bound::Member("a\"b".into()), Bound::Key("\"c\"".into()), Bound::Index(3, 7)];
        let several = Several { was: vec![None, Some("2".into())], put: vec![None], parents: vec![Some(1), None] };
        let value = Some((Some("1.0".into()), None));
        Entry::new(5, place, Kept { value, done: Some(true), parents: Some(1), several: Some(several) })
    }

    #[test]
    fn what_is_written_is_read() {
        let text = Carry::default().write(&[entry()], "1");
        let (mut carry, lost) = Carry::read(&text, "1", 1000);
        assert_eq!((lost, carry.size()), (0, entry().size()));
        assert_eq!(carry.write(&[], "1"), text);
        assert_eq!(carry.take(5, &entry().place), Some(entry().kept));
        assert_eq!(carry.take(5, &entry().place), None);
        assert!(carry.write(&[], "1").is_empty());
    }

    #[test]
    fn sizes_add_up_to_what_is_written() {
        let none = Kept { done: Some(false), ..Kept::default() };
        let fresh = [entry(), Entry::new(6, Vec::new(), none)];
        let written = Carry::default().write(&fresh, "2024-06");
        // The last entry has no comma behind it.
        let sizes: usize = fresh.iter().map(Entry::size).sum();
        assert_eq!(written.len(), Carry::overhead("2024-06") + sizes - 1);
        let (carry, _) = Carry::read(&written, "2024-06", written.len() as u32);
        assert_eq!((carry.len(), carry.size()), (2, sizes), "as long as the limit is no too long");
        assert_eq!(Carry::read(&written, "2024-06", written.len() as u32 - 1).1, 1);
    }

    #[test]
    fn entries_of_unknown_ops_give_way_as_far_as_room_is_needed_and_others_never() {
        let kept = Kept { done: Some(true), ..Kept::default() };
        let fresh: Vec<Entry> = (1..6).map(|op| Entry::new(op, Vec::new(), kept.clone())).collect();
        let one = fresh.first().map_or(0, Entry::size);
        let written = Carry::default().write(&fresh, "1");
        for (excess, given) in [(0, 0), (1, 1), (one, 1), (one + 1, 2), (9 * one, 4)] {
            let (mut carry, _) = Carry::read(&written, "1", 1000);
            assert_eq!(carry.give_way(&[2], excess), given, "{excess} bytes too many");
            assert_eq!(carry.size(), (5 - given as usize) * one);
            assert_eq!(carry.give_way(&[2], 9 * one), 4 - given, "what is given is gone");
            assert!(carry.take(2, &[]).is_some(), "a known op's entry stays");
        }
    }

    #[test]
    fn orphans_are_those_of_the_ops_that_ran_each_once() {
        let kept = Kept { parents: Some(1), ..Kept::default() };
        let fresh: Vec<Entry> = (1..5).map(|op| Entry::new(op, Vec::new(), kept.clone())).collect();
        let (mut carry, _) = Carry::read(&Carry::default().write(&fresh, "1"), "1", 1000);
        assert!(carry.take(1, &[]).is_some());
        assert_eq!(carry.orphan(&[1, 2, 3]), 2);
        assert_eq!(carry.orphan(&[1, 2, 3]), 0);
        assert!(carry.take(2, &[]).is_none() && carry.take(4, &[]).is_some());
        assert!(carry.speaks_of(4) && !carry.speaks_of(5));
    }

    #[test]
    fn a_carry_that_cannot_be_trusted_is_ignored_and_counted() {
        let text = Carry::default().write(&[entry()], "1");
        let lost = |text: &[u8], at, limit| Carry::read(text, at, limit).1;
        assert_eq!(lost(&text, "2", 1000), 1);
        assert_eq!(lost(&text, "1", 10), 1);
        assert_eq!(lost(b"{}", "1", 1000), 1);
        assert_eq!(lost(b"\xff", "1", 1000), 1);
        for bad in [
            r#"{"unskew":2,"at":"1","kept":[]}"#,
            r#"{"unskew":1,"at":"1","kept":[{"op":"x"}]}"#,
            r#"{"unskew":1,"at":"1","kept":[{"op":"0000000000000005","text":["{",null]}]}"#,
            r#"{"unskew":1,"at":"1","kept":[{"op":"0000000000000005"}]}"#,
        ] {
            assert_eq!(lost(bad.as_bytes(), "1", 1000), 1, "{bad}");
        }
    }
}
