//! Where in a head a record stands, and how it is written there.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::edits::Edits;
use crate::config::Encoding;

/// The place of a record in heads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HeadPlace {
    /// A header, in requests and in answers.
    Header(HeaderName),
    /// A cookie (RFC 6265): `Cookie` in requests, `Set-Cookie` in answers.
    Cookie(String),
}

impl HeadPlace {
    /// The values that stand there in a request; the first is the one that counts.
    pub(crate) fn in_request<'h>(&self, headers: &'h HeaderMap) -> Vec<&'h [u8]> {
        match self {
            HeadPlace::Header(name) => headers.get_all(name).iter().map(HeaderValue::as_bytes).collect(),
            HeadPlace::Cookie(name) => {
                let pairs = headers.get_all(COOKIE).iter().flat_map(|line| crumbs(line.as_bytes()));
                pairs.filter_map(|pair| value_of(pair, name)).filter(|value| !value.is_empty()).collect()
            }
        }
    }

    /// The values that stand there in an answer.
    pub(crate) fn in_answer<'h>(&self, headers: &'h HeaderMap) -> Vec<&'h [u8]> {
        match self {
            HeadPlace::Header(name) => headers.get_all(name).iter().map(HeaderValue::as_bytes).collect(),
            HeadPlace::Cookie(name) => {
                let lines = headers.get_all(SET_COOKIE).iter().filter_map(|line| crumbs(line.as_bytes()).next());
                lines.filter_map(|pair| value_of(pair, name)).filter(|value| !value.is_empty()).collect()
            }
        }
    }

    /// Lays a value into a request, in place of all that stand there.
    pub(crate) fn lay_into_request(&self, headers: &HeaderMap, value: &HeaderValue, edits: &mut Edits) {
        match self {
            HeadPlace::Header(name) => edits.set(name.clone(), value.clone()),
            HeadPlace::Cookie(name) => {
                let mut line = Vec::new();
                let pairs = headers.get_all(COOKIE).iter().flat_map(|line| crumbs(line.as_bytes()));
                let mut laid = false;
                for pair in pairs {
                    let ours = value_of(pair, name).is_some();
                    if ours && std::mem::replace(&mut laid, true) {
                        continue;
                    }
                    if !line.is_empty() {
                        line.extend_from_slice(b"; ");
                    }
                    match ours {
                        true => line.extend([name.as_bytes(), b"=", value.as_bytes()].concat()),
                        false => line.extend_from_slice(pair),
                    }
                }
                // Made of what stood in headers, and of base64.
                if let Ok(line) = HeaderValue::from_bytes(&line) {
                    edits.set(COOKIE, line);
                }
            }
        }
    }

    /// Lays a value into an answer, in place of all that stand there; a cookie keeps its attributes.
    pub(crate) fn lay_into_answer(&self, headers: &HeaderMap, value: &HeaderValue, edits: &mut Edits) {
        match self {
            HeadPlace::Header(name) => edits.set(name.clone(), value.clone()),
            HeadPlace::Cookie(name) => {
                let mut laid = false;
                for line in headers.get_all(SET_COOKIE) {
                    let text = line.as_bytes();
                    let end = text.iter().position(|byte| *byte == b';').unwrap_or(text.len());
                    if value_of(text[..end].trim_ascii(), name).is_none_or(<[u8]>::is_empty) {
                        edits.set(SET_COOKIE, line.clone());
                    } else if !std::mem::replace(&mut laid, true)
                        && let Ok(line) =
                            HeaderValue::from_bytes(&[name.as_bytes(), b"=", value.as_bytes(), &text[end..]].concat())
                    {
                        edits.set(SET_COOKIE, line);
                    }
                }
            }
        }
    }
}

impl fmt::Display for HeadPlace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeadPlace::Header(name) => write!(out, "header {name}"),
            HeadPlace::Cookie(name) => write!(out, "cookie {name}"),
        }
    }
}

/// The pairs of a line of cookies.
fn crumbs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty())
}

/// The value of a pair, if it is of this name; quotes around it are no part of it.
fn value_of<'p>(pair: &'p [u8], name: &str) -> Option<&'p [u8]> {
    let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
    Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
}

/// The record in a value, if it is written like that: base64 with or without its padding.
pub(crate) fn decode(value: &[u8], encoding: Encoding) -> Option<Bytes> {
    match encoding {
        Encoding::Json => Some(Bytes::copy_from_slice(value)),
        Encoding::Base64 => ANY_STANDARD.decode(value.trim_ascii()).ok().map(Bytes::from),
        Encoding::Base64url => ANY_URL_SAFE.decode(value.trim_ascii()).ok().map(Bytes::from),
    }
}

/// A value with this record, if the record can stand in a head.
pub(crate) fn encode(record: &[u8], encoding: Encoding) -> Option<HeaderValue> {
    match encoding {
        Encoding::Json => HeaderValue::from_bytes(record).ok(),
        Encoding::Base64 => HeaderValue::from_str(&STANDARD.encode(record)).ok(),
        Encoding::Base64url => HeaderValue::from_str(&URL_SAFE_NO_PAD.encode(record)).ok(),
    }
}

const EITHER: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const ANY_STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, EITHER);
const ANY_URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, EITHER);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_comes_back() {
        let record = b"{\"a\":\"\xc3\xbc?>\"}";
        for encoding in [Encoding::Json, Encoding::Base64, Encoding::Base64url] {
            let value = encode(record, encoding).unwrap();
            assert_eq!(decode(value.as_bytes(), encoding).unwrap(), &record[..], "{encoding:?}");
        }
    }

    #[test]
    fn base64_is_read_with_and_without_padding() {
        assert_eq!(decode(b"e30=", Encoding::Base64url).unwrap(), &b"{}"[..]);
        assert_eq!(decode(b"e30", Encoding::Base64url).unwrap(), &b"{}"[..]);
        assert_eq!(decode(b"e30!", Encoding::Base64url), None);
        assert_eq!(decode(b"e30=", Encoding::Base64).unwrap(), &b"{}"[..]);
        assert_eq!(decode(b"e30", Encoding::Base64).unwrap(), &b"{}"[..]);
        assert_eq!(decode(b"%%%", Encoding::Base64), None);
    }

    #[test]
    fn a_cookie_is_replaced_among_others_with_its_attributes() {
        let place = HeadPlace::Cookie("r".to_string());
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1; r=\"old\"; rr=2"));
        headers.append(COOKIE, HeaderValue::from_static("r=late;b=3"));
        headers.append(SET_COOKIE, HeaderValue::from_static("a=1; Path=/"));
        headers.append(SET_COOKIE, HeaderValue::from_static("r=old; Path=/; Secure"));
        assert_eq!(place.in_request(&headers), [&b"old"[..], b"late"]);
        assert_eq!(place.in_answer(&headers), [&b"old"[..]]);
        let (new, mut edits) = (HeaderValue::from_static("new"), Edits::default());
        place.lay_into_request(&headers, &new, &mut edits);
        place.lay_into_answer(&headers, &new, &mut edits);
        edits.apply(&mut headers);
        assert_eq!(headers[COOKIE], "a=1; r=new; rr=2; b=3");
        let set: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
        assert_eq!(set, ["a=1; Path=/", "r=new; Path=/; Secure"]);
        // A cookie that is taken away holds no record.
        headers.insert(SET_COOKIE, HeaderValue::from_static("r=; Max-Age=0"));
        assert!(place.in_answer(&headers).is_empty());
    }

    #[test]
    fn a_line_break_can_not_stand_in_a_header() {
        assert_eq!(encode(b"{\n}", Encoding::Json), None);
    }
}
