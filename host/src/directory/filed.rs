//! What stands in Redis under a session: one line that says of what it is, and the carry as it is.
//!
//! ```text
//! u1 <stamp, 16 hex digits> <c|-|x> {"version":"2","shape":"…","writer":"api-7","carry":3}\n{…}
//! ```
//!
//! The stamp orders notes: an older one never takes the place of a newer one, however late it arrives. `c` says that there
//! is a carry, `x` that the session has ended. Whatever reads otherwise is none of ours.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Entry;

/// What was noted of a session, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filed {
    pub(super) stamp: u64,
    /// None where the session has ended.
    pub(super) entry: Option<Entry>,
}

/// It is none of ours: another's value, a cut one, or one of a time that has not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unread;

/// Puts `ARGV[2]` under the key for `ARGV[3]` milliseconds, unless something newer than `ARGV[1]` stands there, which is not
/// of a time after `ARGV[4]` (0), or unless `ARGV[5]` is 1 and there is a carry (2). 1 where it is done.
pub(super) const NOTE: &str = "\
local old = redis.pcall('GETRANGE', KEYS[1], 0, 20)
if type(old) == 'string' and string.sub(old, 1, 3) == 'u1 ' then
  local stamp = string.sub(old, 4, 19)
  if stamp > ARGV[1] and stamp < ARGV[4] then return 0 end
  if ARGV[5] == '1' and string.sub(old, 21, 21) == 'c' then return 2 end
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1";

/// The longest value that is read or written.
pub(super) const LONGEST: usize = 16 << 20;

const PREFIX: usize = 22;

#[derive(Serialize, Deserialize)]
struct Line {
    version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shape: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    writer: Option<String>,
    carry: usize,
}

/// A stamp as it is compared: as text.
pub(super) fn stamped(stamp: u64) -> String {
    format!("{stamp:016x}")
}

impl Filed {
    pub(super) fn write(&self) -> Vec<u8> {
        let flag = match &self.entry {
            None => 'x',
            Some(entry) if entry.carry.is_empty() => '-',
            Some(_) => 'c',
        };
        let mut out = format!("u1 {} {flag} ", stamped(self.stamp)).into_bytes();
        if let Some(Entry { version, shape, writer, carry }) = &self.entry {
            let line = Line {
                version: version.to_string(),
                shape: shape.map(stamped),
                writer: writer.as_ref().map(ToString::to_string),
                carry: carry.len(),
            };
            // Strings and numbers can't fail to be written.
            out.extend(serde_json::to_vec(&line).unwrap_or_default());
            out.push(b'\n');
            out.extend_from_slice(carry);
        }
        out
    }

    /// Reads a value whose stamp is not above `newest`.
    pub(super) fn read(value: Bytes, newest: u64) -> Result<Filed, Unread> {
        let prefix = value.get(..PREFIX).and_then(|prefix| std::str::from_utf8(prefix).ok()).ok_or(Unread)?;
        let (stamp, flag) = match prefix.split(' ').collect::<Vec<_>>()[..] {
            ["u1", stamp, flag, ""] => (u64::from_str_radix(stamp, 16).map_err(|_| Unread)?, flag),
            _ => return Err(Unread),
        };
        if stamp > newest {
            return Err(Unread);
        }
        if flag == "x" {
            return Ok(Filed { stamp, entry: None });
        }
        let end = value.iter().position(|byte| *byte == b'\n').ok_or(Unread)?;
        let line = value.get(PREFIX..end).ok_or(Unread)?;
        let Line { version, shape, writer, carry: length } = serde_json::from_slice(line).map_err(|_| Unread)?;
        let carry = value.slice(end + 1..);
        if carry.len() != length || (flag == "c") == carry.is_empty() {
            return Err(Unread);
        }
        let shape = shape.map(|shape| u64::from_str_radix(&shape, 16)).transpose().map_err(|_| Unread)?;
        let entry = Entry { version: version.into(), shape, writer: writer.map(Into::into), carry };
        Ok(Filed { stamp, entry: Some(entry) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn entry(carry: &'static [u8]) -> Entry {
        Entry { version: "2 é\n".into(), shape: Some(u64::MAX), writer: Some("api \"7\"".into()), carry: carry.into() }
    }

    #[test]
    fn what_is_filed_reads_back() {
        let bare = Entry { shape: None, writer: None, ..entry(b"") };
        for entry in [Some(entry(b"")), Some(entry(b"{\n}\0\xff")), Some(bare), None] {
            let filed = Filed { stamp: 77, entry };
            assert_eq!(Filed::read(filed.write().into(), 77), Ok(filed));
        }
    }

    #[test]
    fn what_is_cut_changed_or_of_another_time_is_not_read() {
        let whole = Filed { stamp: 77, entry: Some(entry(b"carry")) }.write();
        for length in 0..whole.len() {
            assert_eq!(Filed::read(whole[..length].to_vec().into(), 77), Err(Unread), "{length}");
        }
        assert_eq!(Filed::read([&whole[..], b"x"].concat().into(), 77), Err(Unread));
        assert_eq!(Filed::read(whole.into(), 76), Err(Unread));
        for other in ["{\"version\":\"2\"}", "u2 000000000000004d - {}\n", "u1 00000000000000zz x ", "garbage"] {
            assert_eq!(Filed::read(other.as_bytes().into(), u64::MAX), Err(Unread), "{other}");
        }
    }
}
