//! Finds the members of one name at the root of a record, in its bytes: to put another value there, or to take them out.

use std::ops::Range;

use serde_json::value::RawValue;

/// The bytes are no JSON document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record is no JSON")]
pub struct NotJson;

/// All members of one name at the root of a record. Keys are compared as JSON reads them, escapes included.
pub(crate) struct Members {
    found: Vec<Member>,
}

struct Member {
    /// From behind the brace or comma before it to the comma or brace behind it.
    segment: Range<usize>,
    value: Range<usize>,
    /// How many members stand before it.
    index: usize,
}

impl Members {
    /// Looks for them; a document that is no object has none.
    pub(crate) fn find(record: &[u8], name: &str) -> Result<Members, NotJson> {
        let text = std::str::from_utf8(record).map_err(|_| NotJson)?;
        serde_json::from_str::<&RawValue>(text).map_err(|_| NotJson)?;
        Ok(Members { found: walk(record, name) })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The place of the value, if there is exactly one.
    pub(crate) fn only(&self) -> Option<Range<usize>> {
        match &self.found[..] {
            [one] => Some(one.value.clone()),
            _ => None,
        }
    }

    /// The record without any of them; all its other bytes stay.
    pub(crate) fn taken_out(&self, record: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(record.len());
        let mut copied = 0;
        for (before, Member { segment, index, .. }) in self.found.iter().enumerate() {
            // One comma goes with a member: the one before it, or where nothing is left before it the one behind.
            let (start, end) = if *index > before {
                (segment.start - 1, segment.end)
            } else {
                (segment.start, segment.end + usize::from(record.get(segment.end) == Some(&b',')))
            };
            out.extend_from_slice(&record[copied..start]);
            copied = end;
        }
        out.extend_from_slice(&record[copied..]);
        out
    }
}

/// The bytes with others at one place.
pub(crate) fn replaced(record: &[u8], place: Range<usize>, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(record.len() - place.len() + value.len());
    out.extend_from_slice(&record[..place.start]);
    out.extend_from_slice(value);
    out.extend_from_slice(&record[place.end..]);
    out
}

/// Walks a text that is known to be JSON; only strings and the root's commas matter.
fn walk(record: &[u8], name: &str) -> Vec<Member> {
    let mut found = Vec::new();
    let (mut at, mut depth, mut index) = (0, 0_u32, 0);
    let (mut start, mut key, mut value) = (0, None, None);
    while let Some(byte) = record.get(at) {
        match byte {
            b'"' => {
                let end = string_end(record, at);
                if depth == 1 && key.is_none() {
                    key = Some(at..end);
                }
                at = end;
                continue;
            }
            b':' if depth == 1 => value = value.or(Some(at + 1)),
            b',' | b'}' if depth == 1 => {
                if let (Some(key), Some(value)) = (key.take(), value.take())
                    && is_named(&record[key], name)
                {
                    found.push(Member { segment: start..at, value: trimmed(record, value..at), index });
                }
                (start, index) = (at + 1, index + 1);
                if *byte == b'}' {
                    return found;
                }
            }
            b'[' if depth == 0 => return found,
            b'{' | b'[' => {
                depth += 1;
                if depth == 1 {
                    start = at + 1;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    found
}

/// Where the string that begins here ends, its quotes included.
fn string_end(record: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = record.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    record.len()
}

fn is_named(key: &[u8], name: &str) -> bool {
    if key.contains(&b'\\') {
        return serde_json::from_slice::<String>(key).is_ok_and(|key| key == name);
    }
    key.get(1..key.len() - 1) == Some(name.as_bytes())
}

fn trimmed(record: &[u8], place: Range<usize>) -> Range<usize> {
    let text = &record[place.clone()];
    let start = place.start + (text.len() - text.trim_ascii_start().len());
    start..start + text.trim_ascii().len()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn without(record: &str) -> String {
        let out = Members::find(record.as_bytes(), "c").unwrap().taken_out(record.as_bytes());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn members_go_and_all_other_bytes_stay() {
        for (record, left) in [
            (r#"{"c":{}}"#, "{}"),
            (r#" { "c" : [1,{"c":2}] } "#, " {} "),
            (r#"{"c":1, "a":1.50 ,"b":"c"}"#, r#"{ "a":1.50 ,"b":"c"}"#),
            (r#"{"a":1, "c":{"x":[",}"]} ,"b":2}"#, r#"{"a":1,"b":2}"#),
            (r#"{"a":{"c":1},"b":["c"],"c":"\"}"}"#, r#"{"a":{"c":1},"b":["c"]}"#),
            (r#"{"c":1,"c":2,"a":3,"\u0063":4,"c":5,"b":6,"c":7}"#, r#"{"a":3,"b":6}"#),
            (r#"{"c":1,"c":2}"#, "{}"),
            (r#"{"C":1,"cc":2,"":3}"#, r#"{"C":1,"cc":2,"":3}"#),
            (r#"[{"c":1}]"#, r#"[{"c":1}]"#),
            (r#""c""#, r#""c""#),
            ("7", "7"),
        ] {
            assert_eq!(without(record), left, "{record}");
        }
    }

    #[test]
    fn the_value_of_the_only_one_is_found_as_it_stands() {
        let value =
            |record: &str| Members::find(record.as_bytes(), "c").unwrap().only().map(|at| record[at].to_owned());
        assert_eq!(value(r#"{"a":"c", "c" : {"x": 1.0 } ,"b":2}"#).as_deref(), Some(r#"{"x": 1.0 }"#));
        assert_eq!(value(r#"{"a":2,"\u0063":"x" }"#).as_deref(), Some("\"x\""));
        assert_eq!(value(r#"{"c":1,"c":2}"#), None);
        assert_eq!(value("{}"), None);
    }

    #[test]
    fn what_two_readers_could_read_in_two_ways_is_no_json() {
        for text in ["", "{", "{\"c\":1}x", "{/**/\"c\":1}", "\u{feff}{\"c\":1}", "{'c':1}", "{\"c\":1,}"] {
            assert!(Members::find(text.as_bytes(), "c").is_err(), "{text}");
        }
        assert!(Members::find(b"{\"c\":1,\"x\":\"\xff\"}", "c").is_err());
    }

    #[test]
    fn a_value_is_replaced_in_its_place() {
        let record = r#"{"a":1, "c" : {} ,"b":2}"#;
        let at = Members::find(record.as_bytes(), "c").unwrap().only().unwrap();
        assert_eq!(replaced(record.as_bytes(), at, b"\"x\""), br#"{"a":1, "c" : "x" ,"b":2}"#);
    }
}
