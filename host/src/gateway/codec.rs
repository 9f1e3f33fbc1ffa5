//! How a record is written in a header.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::HeaderValue;

use crate::config::Encoding;

/// The record in a header's value, if it is written like that.
pub(crate) fn decode(value: &[u8], encoding: Encoding) -> Option<Bytes> {
    match encoding {
        Encoding::Json => Some(Bytes::copy_from_slice(value)),
        Encoding::Base64 => STANDARD.decode(value).ok().map(Bytes::from),
        Encoding::Base64url => {
            let unpadded =
                value.trim_ascii_end().strip_suffix(b"==").or_else(|| value.strip_suffix(b"=")).unwrap_or(value);
            URL_SAFE_NO_PAD.decode(unpadded).ok().map(Bytes::from)
        }
    }
}

/// A header's value with this record, if the record can stand in a header.
pub(crate) fn encode(record: &[u8], encoding: Encoding) -> Option<HeaderValue> {
    match encoding {
        Encoding::Json => HeaderValue::from_bytes(record).ok(),
        Encoding::Base64 => HeaderValue::from_str(&STANDARD.encode(record)).ok(),
        Encoding::Base64url => HeaderValue::from_str(&URL_SAFE_NO_PAD.encode(record)).ok(),
    }
}

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
    fn base64url_is_read_with_and_without_padding() {
        assert_eq!(decode(b"e30=", Encoding::Base64url).unwrap(), &b"{}"[..]);
        assert_eq!(decode(b"e30", Encoding::Base64url).unwrap(), &b"{}"[..]);
        assert_eq!(decode(b"e30!", Encoding::Base64url), None);
        assert_eq!(decode(b"e30", Encoding::Base64), None);
    }

    #[test]
    fn a_line_break_can_not_stand_in_a_header() {
        assert_eq!(encode(b"{\n}", Encoding::Json), None);
    }
}
