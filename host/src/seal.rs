//! Seals the carry of a record that clients keep: a MAC bound to its session, so that no other carry comes back.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::generation::CarryMember;
use crate::member::{Members, NotJson, replaced};

/// Keys that carries are sealed with before a client gets them, and opened with when it brings them back.
///
/// A sealed carry is a string: `1.`, then base64url of an HMAC-SHA256 and the carry. The MAC is bound to the session id
/// and to the member's name, so a carry of another session is as good as a forged one. It is not encrypted: whoever
/// holds a record can read what its carry holds. An older carry of the same session is genuine; what it can do is what
/// a carry can: bring back values that this session once had, where the record still says what was put in their place.
///
/// The first key seals, all of them open. To change keys without losing carries: add the new one at the end
/// everywhere, then put it first everywhere, and take the old one away once the records of its time are gone.
///
/// ```
/// use unskew::{CarryMember, Crossing, Seal};
///
/// let seal = Seal::new([b"a key of at least thirty-two bytes"])?;
/// let member = CarryMember { name: "_unskew".into(), max_bytes: 16384 };
///
/// // Out: what a server wrote, for the client of session "s1".
/// let record = br#"{"sid":"s1","_unskew":{"unskew":1,"at":"1","kept":[]}}"#;
/// let Crossing::Sealed(sealed) = seal.outward("s1", &member, record)? else { panic!() };
///
/// // In: the client brings it back, and the record is what it was.
/// let Crossing::Opened(opened) = seal.inward("s1", &member, &sealed)? else { panic!() };
/// assert_eq!(opened, record);
///
/// // For another session, or never sealed: it is taken out, and all other bytes stay.
/// let Crossing::Stripped(stripped) = seal.inward("s2", &member, &sealed)? else { panic!() };
/// assert_eq!(stripped, br#"{"sid":"s1"}"#);
/// assert_eq!(seal.inward("s1", &member, record)?, Crossing::Stripped(stripped));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Seal {
    /// Keyed ahead: a request copies the one that it needs. Never empty.
    keys: Vec<Hmac<Sha256>>,
}

/// Why keys can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// There is none.
    #[error("no key: one is needed to seal with")]
    NoKey,
    /// One is too short to be a secret.
    #[error("key {number} has {bytes} bytes: at least {} are needed", Seal::LEAST_KEY)]
    ShortKey {
        /// Which, counted from one.
        number: usize,
        /// Its length.
        bytes: usize,
    },
}

/// What became of a record's carry on its way in from a client, or out to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Crossing {
    /// The record stays as it is: it has no carry, or on its way out one that is sealed already.
    Unchanged,
    /// The record with its carry opened.
    Opened(Vec<u8>),
    /// The record with its carry sealed.
    Sealed(Vec<u8>),
    /// The record without its carry, which was none of this session's.
    Stripped(Vec<u8>),
}

impl Seal {
    /// The fewest bytes of a key: as many as SHA-256 gives (RFC 2104, section 3).
    pub const LEAST_KEY: usize = 32;

    /// A seal with these keys: the first seals, all open.
    ///
    /// # Errors
    /// If there is no key, or one is shorter than `LEAST_KEY`.
    pub fn new<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>) -> Result<Seal, SealError> {
        let keyed = |(index, key): (usize, K)| {
            let (number, bytes) = (index + 1, key.as_ref().len());
            let short = SealError::ShortKey { number, bytes };
            if bytes < Seal::LEAST_KEY { Err(short) } else { Hmac::new_from_slice(key.as_ref()).map_err(|_| short) }
        };
        let keys = keys.into_iter().enumerate().map(keyed).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err(SealError::NoKey) } else { Ok(Seal { keys }) }
    }

    /// A record on its way in: a genuine carry of this session is opened, any other is taken out, as is one that is
    /// longer than the pack allows, or stands twice.
    ///
    /// # Errors
    /// If the record is no JSON: then nobody can say what is in it.
    pub fn inward(&self, session: &str, member: &CarryMember, record: &[u8]) -> Result<Crossing, NotJson> {
        let found = Members::find(record, &member.name)?;
        let carry = found.only().and_then(|place| {
            let carry = self.genuine(session, member, &record[place.clone()])?;
            Some(replaced(record, place, &carry))
        });
        Ok(match carry {
            Some(record) => Crossing::Opened(record),
            None if found.is_empty() => Crossing::Unchanged,
            None => Crossing::Stripped(found.taken_out(record)),
        })
    }

    /// A record on its way out: its carry is sealed for this session. What stands in its place and is no carry is
    /// taken out, as is one that stands twice.
    ///
    /// # Errors
    /// If the record is no JSON: then it holds no carry either.
    pub fn outward(&self, session: &str, member: &CarryMember, record: &[u8]) -> Result<Crossing, NotJson> {
        let found = Members::find(record, &member.name)?;
        let Some(place) = found.only() else {
            return Ok(if found.is_empty() {
                Crossing::Unchanged
            } else {
                Crossing::Stripped(found.taken_out(record))
            });
        };
        let value = &record[place.clone()];
        if value.starts_with(b"{") {
            let sealed = format!("\"{}\"", self.seal(session, &member.name, value)); // has nothing to escape
            return Ok(Crossing::Sealed(replaced(record, place, sealed.as_bytes())));
        }
        Ok(match self.genuine(session, member, value) {
            Some(_) => Crossing::Unchanged,
            None => Crossing::Stripped(found.taken_out(record)),
        })
    }

    /// A record without any carry, for where there is no session that one could be sealed for.
    ///
    /// # Errors
    /// If the record is no JSON.
    pub fn strip(member: &CarryMember, record: &[u8]) -> Result<Crossing, NotJson> {
        let found = Members::find(record, &member.name)?;
        Ok(if found.is_empty() { Crossing::Unchanged } else { Crossing::Stripped(found.taken_out(record)) })
    }

    /// A carry by itself, sealed: printable ASCII without anything that JSON, headers or cookies escape.
    pub fn seal(&self, session: &str, member: &str, carry: &[u8]) -> String {
        let mut sealed = Vec::with_capacity(TAG + carry.len());
        for key in self.keys.iter().take(1) {
            sealed.extend_from_slice(&said(key, session, member, carry).finalize().into_bytes());
        }
        sealed.extend_from_slice(carry);
        FORMAT.to_owned() + &URL_SAFE_NO_PAD.encode(sealed)
    }

    /// The carry that was sealed for this session and member with one of the keys, or none.
    pub fn open(&self, session: &str, member: &str, sealed: &str) -> Option<Vec<u8>> {
        let sealed = URL_SAFE_NO_PAD.decode(sealed.strip_prefix(FORMAT)?).ok()?;
        let (tag, carry) = sealed.split_at_checked(TAG)?;
        // `verify_slice` takes as long for a tag that is nearly right as for any other.
        let genuine = |key: &Hmac<Sha256>| said(key, session, member, carry).verify_slice(tag).is_ok();
        self.keys.iter().any(genuine).then(|| carry.to_vec())
    }

    /// The carry in a member's value, if it is one that this session was given.
    fn genuine(&self, session: &str, member: &CarryMember, value: &[u8]) -> Option<Vec<u8>> {
        let most = FORMAT.len() + (TAG + member.max_bytes as usize).div_ceil(3) * 4;
        let text = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= most)?;
        self.open(session, &member.name, text)
    }
}

impl fmt::Debug for Seal {
    /// Says how many keys there are, and none of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").field("keys", &self.keys.len()).finish()
    }
}

/// What a sealed carry begins with; another format would begin otherwise.
const FORMAT: &str = "1.";

/// The length of a MAC, in bytes.
const TAG: usize = 32;

/// What the MAC is of. The lengths keep a session's end and a member's beginning apart.
fn said(key: &Hmac<Sha256>, session: &str, member: &str, carry: &[u8]) -> Hmac<Sha256> {
    let mut mac = key.clone();
    mac.update(b"unskew carry 1\0");
    for part in [session.as_bytes(), member.as_bytes()] {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.update(carry);
    mac
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const CARRY: &str = r#"{"unskew":1,"at":"1","kept":[{"op":"0000000000000005","done":true}]}"#;

    fn key(n: u8) -> [u8; 32] {
        [n; 32]
    }

    fn member() -> CarryMember {
        CarryMember { name: "_unskew".into(), max_bytes: 100 }
    }

    fn sealed(seal: &Seal, session: &str) -> String {
        let record = format!("{{\"a\":1.50, \"_unskew\" : {CARRY} ,\"b\":2}}");
        match seal.outward(session, &member(), record.as_bytes()).unwrap() {
            Crossing::Sealed(record) => String::from_utf8(record).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_sealed_comes_back_byte_for_byte() {
        let seal = Seal::new([key(1)]).unwrap();
        let sealed = sealed(&seal, "s");
        assert!(sealed.starts_with("{\"a\":1.50, \"_unskew\" : \"1.") && sealed.ends_with("\" ,\"b\":2}"), "{sealed}");
        let opened = format!("{{\"a\":1.50, \"_unskew\" : {CARRY} ,\"b\":2}}");
        assert_eq!(seal.inward("s", &member(), sealed.as_bytes()), Ok(Crossing::Opened(opened.into_bytes())));
        assert_eq!(seal.outward("s", &member(), sealed.as_bytes()), Ok(Crossing::Unchanged), "sealed once is enough");
    }

    #[test]
    fn what_was_not_sealed_for_this_session_is_taken_out() {
        let seal = Seal::new([key(1)]).unwrap();
        let genuine = sealed(&seal, "s");
        let value = seal.seal("s", "_unskew", CARRY.as_bytes());
        let mut forged = URL_SAFE_NO_PAD.decode(value.strip_prefix("1.").unwrap()).unwrap();
        *forged.last_mut().unwrap() ^= 1;
        let forged = format!("1.{}", URL_SAFE_NO_PAD.encode(&forged));
        let twice = genuine.replace("\"b\":2", "\"b\":2,\"\\u005funskew\":{}");
        let other_member = seal.seal("s", "_other", CARRY.as_bytes());
        let moved = seal.seal("s_", "unskew", CARRY.as_bytes());
        let long = seal.seal("s", "_unskew", &[b'x'; 101]);
        let mut all = vec![sealed(&seal, "other"), sealed(&Seal::new([key(2)]).unwrap(), "s"), twice];
        for value in [&forged, &other_member, &moved, &long, "", "1.", "1.AAAA", &value[2..], &format!("{value}=")] {
            all.push(format!("{{\"a\":1.50, \"_unskew\" : \"{value}\" ,\"b\":2}}"));
        }
        for value in [CARRY, "null", "7", "[]", "\"\\u0031\""] {
            all.push(format!("{{\"a\":1.50, \"_unskew\" : {value} ,\"b\":2}}"));
        }
        for record in all {
            let stripped = Crossing::Stripped(b"{\"a\":1.50,\"b\":2}".to_vec());
            assert_eq!(seal.inward("s", &member(), record.as_bytes()), Ok(stripped), "{record}");
        }
        let most = seal.seal("s", "_unskew", &[b'x'; 100]);
        let most = format!("{{\"_unskew\":\"{most}\"}}");
        assert!(matches!(seal.inward("s", &member(), most.as_bytes()), Ok(Crossing::Opened(_))));
    }

    #[test]
    fn what_is_no_carry_never_goes_out() {
        let seal = Seal::new([key(1)]).unwrap();
        let foreign = sealed(&seal, "other");
        for record in ["{\"_unskew\":{},\"_unskew\":{}}", "{\"_unskew\":7}", "{\"_unskew\":[{}]}"] {
            let stripped = Crossing::Stripped(b"{}".to_vec());
            assert_eq!(seal.outward("s", &member(), record.as_bytes()), Ok(stripped), "{record}");
        }
        assert!(matches!(seal.outward("s", &member(), foreign.as_bytes()), Ok(Crossing::Stripped(_))));
        assert_eq!(seal.outward("s", &member(), b"{\"a\":1}"), Ok(Crossing::Unchanged));
        assert_eq!(Seal::strip(&member(), b"{\"_unskew\":{}}"), Ok(Crossing::Stripped(b"{}".to_vec())));
    }

    #[test]
    fn keys_rotate_the_first_seals_and_all_open() {
        let (old, both, new) = (Seal::new([key(1)]), Seal::new([key(2), key(1)]), Seal::new([key(2)]));
        let (old, both, new) = (old.unwrap(), both.unwrap(), new.unwrap());
        let of_old = old.seal("s", "m", b"{}");
        assert_eq!(both.open("s", "m", &of_old).as_deref(), Some(&b"{}"[..]));
        assert_eq!(new.open("s", "m", &of_old), None);
        let of_both = both.seal("s", "m", b"{}");
        assert_eq!(of_both, new.seal("s", "m", b"{}"));
        assert_eq!(old.open("s", "m", &of_both), None);
    }

    #[test]
    fn the_mac_is_rfc_2104s() {
        // HMAC-SHA256 of the sealed bytes, computed with Python's hmac module.
        let seal = Seal::new([key(7)]).unwrap();
        assert_eq!(seal.seal("s1", "_unskew", b"{}"), "1.okhAoCF3VnbRnC1KBVV8R4FBK5WomeXaJRowje611_h7fQ");
    }

    #[test]
    fn keys_that_are_no_secret_are_refused_and_none_is_ever_shown() {
        assert_eq!(Seal::new::<[u8; 0]>([]).unwrap_err(), SealError::NoKey);
        let error = Seal::new([&key(1)[..], &[7; 31]]).unwrap_err();
        assert_eq!(error.to_string(), "key 2 has 31 bytes: at least 32 are needed");
        assert_eq!(format!("{:?}", Seal::new([b"abcdefghijklmnopqrstuvwxyz0123456789"]).unwrap()), "Seal { keys: 1 }");
    }
}
