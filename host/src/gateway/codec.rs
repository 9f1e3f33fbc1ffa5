//! How a record is written in a header.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::HeaderValue;

use crate::config::Encoding;

/// The record in a header's value, if it is written like that: base64 with or without its padding.
pub(crate) fn decode(value: &[u8], encoding: Encoding) -> Option<Bytes> {
    match encoding {
        Encoding::Json => Some(Bytes::copy_from_slice(value)),
        Encoding::Base64 => ANY_STANDARD.decode(value.trim_ascii()).ok().map(Bytes::from),
        Encoding::Base64url => ANY_URL_SAFE.decode(value.trim_ascii()).ok().map(Bytes::from),
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
    fn a_line_break_can_not_stand_in_a_header() {
        assert_eq!(encode(b"{\n}", Encoding::Json), None);
    }
}
