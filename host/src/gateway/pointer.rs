//! Finds the bytes of one value in a JSON body, and puts others in their place: all other bytes stay as they are.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON Pointer (RFC 6901) into a body; the empty one is the whole body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pointer {
    tokens: Vec<String>,
}

/// Why a place in a body can't be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The body is no JSON.
    NotJson,
    /// A key on the way stands twice: two readers may take two different values.
    Twice,
    /// There is nothing at that place.
    Absent,
}

impl Pointer {
    pub(crate) fn parse(text: &str) -> Result<Pointer, String> {
        if text.is_empty() {
            return Ok(Pointer { tokens: Vec::new() });
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err(format!("a JSON Pointer is empty or begins with \"/\", found \"{text}\""));
        };
        if rest.split('~').skip(1).any(|after| !after.starts_with(['0', '1'])) {
            return Err(format!("in a JSON Pointer ~ is written ~0 and / is written ~1, found \"{text}\""));
        }
        Ok(Pointer { tokens: rest.split('/').map(|token| token.replace("~1", "/").replace("~0", "~")).collect() })
    }

    /// Whether this is the whole body.
    pub(crate) fn is_root(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The bytes of the value at this place, without the white space around it. The whole body is not looked into.
    pub(crate) fn find(&self, body: &[u8]) -> Result<Range<usize>, Lost> {
        if self.is_root() {
            return Ok(0..body.len());
        }
        let text = std::str::from_utf8(body).map_err(|_| Lost::NotJson)?;
        let mut value: &RawValue = serde_json::from_str(text).map_err(|_| Lost::NotJson)?;
        for token in &self.tokens {
            let mut reader = serde_json::Deserializer::from_str(value.get());
            value = Step(token).deserialize(&mut reader).map_err(|error| lost(&error))?.ok_or(Lost::Absent)?;
        }
        // `value` borrows from `body`, so its place is the distance of the two.
        let start = value.get().as_ptr().addr() - body.as_ptr().addr();
        Ok(start..start + value.get().len())
    }

    /// The text at this place, if it is a string or a number: a session id.
    pub(crate) fn text(&self, body: &[u8]) -> Result<String, Lost> {
        let raw = &body[self.find(body)?];
        match raw.first() {
            Some(b'"') => serde_json::from_slice(raw).map_err(|_| Lost::NotJson),
            Some(b'-' | b'0'..=b'9') => std::str::from_utf8(raw).map(str::to_string).map_err(|_| Lost::NotJson),
            _ => Err(Lost::Absent),
        }
    }
}

/// The body with other bytes at one place.
pub(crate) fn splice(body: &[u8], place: Range<usize>, value: &[u8]) -> Bytes {
    if place == (0..body.len()) {
        return Bytes::copy_from_slice(value);
    }
    let mut out = Vec::with_capacity(body.len() - place.len() + value.len());
    out.extend_from_slice(&body[..place.start]);
    out.extend_from_slice(value);
    out.extend_from_slice(&body[place.end..]);
    Bytes::from(out)
}

/// The text has been read as JSON before, so what a step itself refuses is a key that stands twice.
fn lost(error: &serde_json::Error) -> Lost {
    if error.is_data() { Lost::Twice } else { Lost::NotJson }
}

/// One token of the way: the member or element that it names, none where there is none.
struct Step<'t>(&'t str);

impl<'de> DeserializeSeed<'de> for Step<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Step<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = members.next_key::<Cow<'de, str>>()? {
            if key != self.0 {
                members.next_value::<IgnoredAny>()?;
            } else if found.replace(members.next_value::<&RawValue>()?).is_some() {
                return Err(A::Error::custom("a key on the way stands twice"));
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let canonical = self.0 == "0" || !self.0.starts_with('0');
        let wanted = self.0.parse::<usize>().ok().filter(|_| canonical);
        let (mut index, mut found) = (0, None);
        while let Some(element) = elements.next_element::<&RawValue>()? {
            if Some(index) == wanted {
                found = Some(element);
            }
            index += 1;
        }
        Ok(found)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn at<'b>(pointer: &str, body: &'b str) -> Result<&'b str, Lost> {
        Pointer::parse(pointer).unwrap().find(body.as_bytes()).map(|place| &body[place])
    }

    #[test]
    fn find_gives_the_bytes_as_they_stand() {
        let body = " {\"a\" : [ 1.50 , {\"b/c\":  {\"x\" : 1e2 } } ] , \"m~n\":\"\\u0041\"}\n";
        assert_eq!(at("/a/1/b~1c", body), Ok("{\"x\" : 1e2 }"));
        assert_eq!(at("/a/0", body), Ok("1.50"));
        assert_eq!(at("/m~0n", body), Ok("\"\\u0041\""));
        assert_eq!(at("", body), Ok(body));
    }

    #[test]
    fn find_tells_absent_from_broken() {
        assert_eq!(at("/a/b", r#"{"a":{"c":1}}"#), Err(Lost::Absent));
        assert_eq!(at("/a/01", r#"{"a":[1,2]}"#), Err(Lost::Absent));
        assert_eq!(at("/a/b", r#"{"a":null}"#), Err(Lost::Absent));
        assert_eq!(at("/a/b", r#"{"a":"text"}"#), Err(Lost::Absent));
        assert_eq!(at("/a", r#"{"a":1"#), Err(Lost::NotJson));
        assert_eq!(at("/a", r#"{"a":1,"a":2}"#), Err(Lost::Twice));
        assert_eq!(Pointer::parse("/a").unwrap().find(b"{\"a\":\"\xff\"}"), Err(Lost::NotJson));
    }

    #[test]
    fn escaped_keys_are_found() {
        assert_eq!(at("/id", r#"{"\u0069d":7}"#), Ok("7"));
    }

    #[test]
    fn text_is_a_string_or_a_number() {
        let text = |body: &str| Pointer::parse("/id").unwrap().text(body.as_bytes());
        assert_eq!(text(r#"{"id":"a\/b"}"#), Ok("a/b".to_string()));
        assert_eq!(text(r#"{"id":12345678901234567890123}"#), Ok("12345678901234567890123".to_string()));
        assert_eq!(text(r#"{"id":{}}"#), Err(Lost::Absent));
        assert_eq!(text(r#"{"id":null}"#), Err(Lost::Absent));
    }

    #[test]
    fn splice_leaves_the_rest_alone() {
        let body = "{ \"k\" : 1.0, \"r\":{\"x\":1} ,\"k\":2}";
        let place = Pointer::parse("/r").unwrap().find(body.as_bytes()).unwrap();
        assert_eq!(splice(body.as_bytes(), place, b"{}"), "{ \"k\" : 1.0, \"r\":{} ,\"k\":2}".as_bytes());
    }

    #[test]
    fn pointer_that_is_none_is_refused() {
        assert!(Pointer::parse("a").is_err());
        assert!(Pointer::parse("/a~2").is_err());
        assert!(Pointer::parse("/a~").is_err());
    }
}
