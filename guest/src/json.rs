//! JSON text: what a value is, which strings and values are equal, and values written compactly. Values stay text;
//! no `f64` and no tree is made of them.

use std::borrow::Cow;

use wide::u8x16;

use crate::cursor::Cursor;
use crate::number::Decimal;
use crate::tape::append;

/// The six kinds of JSON values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

impl Kind {
    /// The kind of a valid value, by its first byte.
    pub(crate) fn of(text: &[u8]) -> Kind {
        match text.first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            _ => Kind::Number,
        }
    }

    pub(crate) const NAMES: [(&str, Kind); 6] = [
        ("null", Kind::Null),
        ("boolean", Kind::Bool),
        ("number", Kind::Number),
        ("string", Kind::String),
        ("array", Kind::Array),
        ("object", Kind::Object),
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::Bool => "boolean",
            Kind::Number => "number",
            Kind::String => "string",
            Kind::Array => "array",
            Kind::Object => "object",
        }
    }
}

/// What a string says, without its quotes and escapes. A lone surrogate becomes the three bytes that UTF-8 would have
/// for it, so that different strings stay different; the result is for comparing, never for a record.
pub(crate) fn unescaped(raw: &[u8]) -> Cow<'_, [u8]> {
    let inner = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
    if !inner.contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((&c, tail)) = rest.split_first() {
        rest = tail;
        if c != b'\\' {
            out.push(c);
            continue;
        }
        let Some((&escape, tail)) = rest.split_first() else { break };
        rest = tail;
        match escape {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let mut code = hex4(rest);
                rest = rest.get(4..).unwrap_or_default();
                if (0xd800..0xdc00).contains(&code) && rest.starts_with(b"\\u") {
                    let low = hex4(rest.get(2..).unwrap_or_default());
                    if (0xdc00..0xe000).contains(&low) {
                        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                        rest = rest.get(6..).unwrap_or_default();
                    }
                }
                match char::from_u32(code) {
                    Some(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                    None => out.extend([
                        0xe0 | (code >> 12) as u8,
                        0x80 | (code >> 6 & 0x3f) as u8,
                        0x80 | (code & 0x3f) as u8,
                    ]),
                }
            }
            plain => out.push(plain),
        }
    }
    Cow::Owned(out)
}

/// The length of the first character or escape in the contents of a string, and what it says.
pub(crate) fn character(text: &[u8]) -> (usize, Vec<u8>) {
    let size = match text {
        [
            b'\\',
            b'u',
            b'd' | b'D',
            b'8' | b'9' | b'a' | b'A' | b'b' | b'B',
            _,
            _,
            b'\\',
            b'u',
            b'd' | b'D',
            b'c'..=b'f' | b'C'..=b'F',
            ..,
        ] => 12,
        [b'\\', b'u', ..] => 6,
        [b'\\', ..] => 2,
        [first, ..] => match first {
            0..=0x7f => 1,
            0x80..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xff => 4,
        },
        [] => 0,
    };
    let spelled = text.get(..size).unwrap_or(text);
    let said = if spelled.first() == Some(&b'\\') {
        unescaped(&[b"\"", spelled, b"\""].concat()).into_owned()
    } else {
        spelled.to_vec()
    };
    (spelled.len(), said)
}

fn hex4(digits: &[u8]) -> u32 {
    digits.iter().take(4).fold(0, |code, c| code << 4 | char::from(*c).to_digit(16).unwrap_or(0))
}

/// A string as JSON text, quotes included.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    quote_into(&mut out, text.as_bytes());
    String::from_utf8(out).unwrap_or_default()
}

/// Appends a text of UTF-8 as a JSON string, quotes included.
pub(crate) fn quote_into(out: &mut Vec<u8>, text: &[u8]) {
    // Most texts are plain, or such a string themselves.
    let (open, plain, close): (&[u8], _, &[u8]) = match text {
        [b'"', within @ .., b'"'] => (b"\"\\\"", within, b"\\\"\""),
        _ => (b"\"", text, b"\""),
    };
    if special(plain).is_some() {
        return escape_into(out, text);
    }
    append(out, open);
    append(out, plain);
    append(out, close);
}

#[inline(never)]
fn escape_into(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut rest = text;
    while let Some((plain, tail)) = special(rest).and_then(|at| rest.split_at_checked(at)) {
        append(out, plain);
        let Some((special, tail)) = tail.split_first() else { break };
        match special {
            b'"' => append(out, b"\\\""),
            b'\\' => append(out, b"\\\\"),
            b'\n' => append(out, b"\\n"),
            b'\r' => append(out, b"\\r"),
            b'\t' => append(out, b"\\t"),
            other => out.extend_from_slice(format!("\\u{other:04x}").as_bytes()),
        }
        rest = tail;
    }
    append(out, rest);
    out.push(b'"');
}

/// Where the first byte stands that a string can't hold without an escape.
fn special(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(lane) = text.get(at..).and_then(<[u8]>::first_chunk::<16>) {
        if let Some(found) = special_of(lane) {
            return Some(at + found);
        }
        at += 16;
    }
    // The last lane overlaps the one before, in which nothing was found.
    match text.last_chunk::<16>() {
        Some(last) => Some(text.len() - 16 + special_of(last)?),
        None => text.iter().position(|c| matches!(c, 0..b' ' | b'"' | b'\\')),
    }
}

#[inline(always)]
fn special_of(lane: &[u8; 16]) -> Option<usize> {
    let lane = u8x16::new(*lane);
    let is = |byte: u8| lane.simd_eq(u8x16::splat(byte));
    let bits = (is(b'"') | is(b'\\') | lane.simd_lt(u8x16::splat(b' '))).to_bitmask();
    (bits != 0).then(|| bits.trailing_zeros() as usize)
}

/// Whether two valid values are equal: strings after unescaping, numbers by exact value, objects without regard to
/// the order of members, and the rest as RFC 8259 has it.
pub(crate) fn equal(a: &[u8], b: &[u8]) -> bool {
    if identical(Some(a), Some(b)) {
        return true;
    }
    let kind = Kind::of(a);
    if kind != Kind::of(b) {
        return false;
    }
    match kind {
        Kind::Null | Kind::Bool => false,
        Kind::Number => Decimal::same(a, b),
        Kind::String => unescaped(a) == unescaped(b),
        Kind::Array => {
            let (left, right) = (elements(a), elements(b));
            left.len() == right.len() && left.into_iter().zip(right).all(|(x, y)| equal(x, y))
        }
        Kind::Object => {
            let (mut left, mut right) = (members(a), members(b));
            left.sort_by(|x, y| x.0.cmp(&y.0));
            right.sort_by(|x, y| x.0.cmp(&y.0));
            left.len() == right.len() && left.iter().zip(&right).all(|(x, y)| x.0 == y.0 && equal(x.1, y.1))
        }
    }
}

/// Whether two valid values are the same: scalars by their text, objects without regard to the order of members.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    if a == b {
        return true;
    }
    match (Kind::of(a), Kind::of(b)) {
        (Kind::Array, Kind::Array) => {
            let (left, right) = (elements(a), elements(b));
            left.len() == right.len() && left.into_iter().zip(right).all(|(x, y)| same(x, y))
        }
        (Kind::Object, Kind::Object) => {
            let (mut left, mut right) = (members(a), members(b));
            left.sort_by(|x, y| x.0.cmp(&y.0));
            right.sort_by(|x, y| x.0.cmp(&y.0));
            left.len() == right.len() && left.iter().zip(&right).all(|(x, y)| x.0 == y.0 && same(x.1, y.1))
        }
        _ => false,
    }
}

/// Whether two texts, or absences, are the same, without the byte-by-byte `memcmp` of the sandbox.
pub(crate) fn identical(one: Option<&[u8]>, other: Option<&[u8]>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return one.is_none() && other.is_none() };
    let ((ones, rest), (others, other_rest)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    one.len() == other.len()
        && ones.iter().zip(others).all(|(one, other)| u64::from_le_bytes(*one) == u64::from_le_bytes(*other))
        && rest.iter().zip(other_rest).all(|(one, other)| one == other)
}

/// Whether two places hold equal values, or nothing both.
pub(crate) fn alike(a: Option<&[u8]>, b: Option<&[u8]>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => equal(a, b),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// The members of a valid object: unescaped key and value text, in order.
pub(crate) fn members(text: &[u8]) -> Vec<(Cow<'_, [u8]>, &[u8])> {
    spelled(text).into_iter().map(|(key, value)| (unescaped(key), value)).collect()
}

/// The members of a valid object: the texts of key and value, in order.
pub(crate) fn spelled(text: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut cursor = Cursor::trusting(text);
    let mut found = Vec::new();
    let mut at = cursor.space(1);
    while cursor.at(at) == b'"' {
        let end = cursor.string(at + 1);
        let key = text.get(at..end).unwrap_or_default();
        let start = cursor.space(cursor.space(end) + 1);
        let end = cursor.skip(start, 1);
        let Some(value) = text.get(start..end) else { break };
        found.push((key, value));
        at = cursor.space(end);
        if cursor.at(at) == b',' {
            at = cursor.space(at + 1);
        }
    }
    found
}

/// The elements of a valid array, as text, in order.
pub(crate) fn elements(text: &[u8]) -> Vec<&[u8]> {
    let mut cursor = Cursor::trusting(text);
    let mut found = Vec::new();
    let mut at = cursor.space(1);
    while !matches!(cursor.at(at), b']' | 0) {
        let end = cursor.skip(at, 1);
        let Some(value) = text.get(at..end) else { break };
        found.push(value);
        at = cursor.space(end);
        if cursor.at(at) == b',' {
            at = cursor.space(at + 1);
        }
    }
    found
}

/// The value at a path of plain keys below a valid value.
pub(crate) fn value_at<'a>(text: &'a [u8], keys: &[String]) -> Option<&'a [u8]> {
    keys.iter().try_fold(text, |text, key| {
        if Kind::of(text) != Kind::Object {
            return None;
        }
        members(text).into_iter().find(|(name, _)| **name == *key.as_bytes()).map(|(_, value)| value)
    })
}

/// A valid value in which `value` stands at a path of plain keys. What stands in its way is replaced by objects; all
/// else keeps its text.
pub(crate) fn with(text: &[u8], keys: &[String], value: &[u8]) -> Vec<u8> {
    let Some((first, rest)) = keys.split_first() else { return value.to_vec() };
    let members = if Kind::of(text) == Kind::Object { spelled(text) } else { Vec::new() };
    let named = |key: &[u8]| *unescaped(key) == *first.as_bytes();
    let there = members.iter().find(|(key, _)| named(key)).map(|(_, there)| *there);
    let inner = with(there.unwrap_or(b"{}"), rest, value);
    let quoted = quoted(first);
    let all = members.iter().map(|(key, there)| (*key, if named(key) { inner.as_slice() } else { *there }));
    let last = there.is_none().then_some((quoted.as_bytes(), inner.as_slice()));
    object(&all.chain(last).collect::<Vec<_>>())
}

/// An array of values given as text.
pub(crate) fn array(elements: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut out = vec![b'['];
    for (index, element) in elements.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(element.as_ref());
    }
    out.push(b']');
    out
}

/// An object of members given as text, keys with their quotes.
pub(crate) fn object(members: &[(&[u8], impl AsRef<[u8]>)]) -> Vec<u8> {
    let mut out = vec![b'{'];
    for (index, (key, value)) in members.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(key);
        out.push(b':');
        out.extend_from_slice(value.as_ref());
    }
    out.push(b'}');
    out
}

/// Whether a text is a number as JSON has it.
pub(crate) fn is_number(text: &[u8]) -> bool {
    matches!(text.first(), Some(b'-' | b'0'..=b'9'))
        && text.last().is_some_and(u8::is_ascii_digit)
        && Cursor::is_value(text)
}

/// A valid value as text of its own.
pub(crate) fn owned(text: &[u8]) -> String {
    // A scan has found the record to be UTF-8, and values end between characters.
    std::str::from_utf8(text).unwrap_or_default().to_owned()
}

/// One spelling for equal strings and numbers; other values, and what has no other spelling, as they stand.
pub(crate) fn canonical(text: &[u8]) -> String {
    let other = match Kind::of(text) {
        Kind::String => String::from_utf8(unescaped(text).into_owned()).ok().map(|text| quoted(&text)),
        Kind::Number => Decimal::parse(text).map(|number| number.text()),
        Kind::Null | Kind::Bool | Kind::Array | Kind::Object => None,
    };
    other.unwrap_or_else(|| String::from_utf8_lossy(text).into_owned())
}

/// How deep a valid value is: 0 for a scalar.
pub(crate) fn depth(text: &[u8]) -> u32 {
    let mut cursor = Cursor::trusting(text);
    cursor.skip(cursor.space(0), 0);
    cursor.deepest
}

/// A valid value without the white space between its tokens.
pub(crate) fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in text.chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c == '"' {
            in_string = true;
        } else if c.is_ascii_whitespace() {
            continue;
        }
        out.push(c);
    }
    out
}

/// The 64-bit FNV-1a hash of Fowler, Noll and Vo: names ops and elements in a carry, guards against nothing.
pub(crate) fn fnv1a(seed: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(seed, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Where an FNV-1a hash starts.
pub(crate) const FNV_SEED: u64 = 0xcbf2_9ce4_8422_2325;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equality_is_exact_and_ignores_spelling() {
        for (a, b) in [
            ("1", "1.0"),
            ("1E2", "100"),
            ("-0", "0"),
            ("\"a\\u0062\"", "\"ab\""),
            ("{\"a\":1,\"b\":[2]}", "{ \"b\" : [ 2.0 ] , \"\\u0061\":1}"),
            ("\"\\ud83d\\ude00\"", "\"😀\""),
        ] {
            assert!(equal(a.as_bytes(), b.as_bytes()), "{a} {b}");
        }
        for (a, b) in [
            ("9007199254740993", "9007199254740992"),
            ("\"\\ud800\"", "\"\\ud801\""),
            ("[1]", "[1,1]"),
            ("{\"a\":1}", "{\"a\":1,\"b\":1}"),
            ("true", "false"),
            ("\"1\"", "1"),
        ] {
            assert!(!equal(a.as_bytes(), b.as_bytes()), "{a} {b}");
        }
    }

    #[test]
    fn a_quoted_text_says_what_the_text_says() {
        for at in 0..40 {
            for special in ["", "\"", "\\", "\n", "\u{1}", "é", "😀"] {
                let text = format!("{}{special}{}", "x".repeat(at), "y".repeat(40 - at));
                let quoted = quoted(&text);
                assert_eq!(serde_json::from_str::<String>(&quoted).ok().as_ref(), Some(&text));
                assert_eq!(&*unescaped(quoted.as_bytes()), text.as_bytes());
            }
        }
    }

    #[test]
    fn compact_keeps_strings() {
        assert_eq!(compact("{ \"a \\\" b\" : [ 1 , \"x y\" ] }"), "{\"a \\\" b\":[1,\"x y\"]}");
    }
}
