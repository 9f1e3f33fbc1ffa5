//! How answers reach standard output: text for people, one object for programs, bytes for the next program.

use std::io::Write as _;

use serde::Serialize;
use serde_json::value::RawValue;

use super::Failed;

/// Whom the answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// People.
    Text,
    /// Programs.
    Json,
}

/// Prints one object. A reader that has gone away is not an error: it has seen enough.
pub(super) fn print_json(object: &impl Serialize) {
    let mut text = serde_json::to_vec(object).unwrap_or_default();
    text.push(b'\n');
    let _ = std::io::stdout().write_all(&text);
}

/// Prints text as it is.
pub(super) fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Writes bytes, exactly these.
pub(super) fn print_bytes(bytes: &[u8]) -> Result<(), Failed> {
    let mut stdout = std::io::stdout();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    written.map_err(|error| Failed::Machine(format!("standard output: {error}")))
}

/// JSON bytes as they are, inside a larger object; bytes that are no JSON as a string.
pub(super) fn verbatim(bytes: &[u8]) -> Option<Box<RawValue>> {
    let text = String::from_utf8_lossy(bytes);
    let raw = RawValue::from_string(text.to_string());
    raw.or_else(|_| serde_json::value::to_raw_value(&text)).ok()
}
