//! How answers reach standard output: text for people, one object for programs, bytes for the next program.

use std::borrow::Cow;
use std::io::{ErrorKind, Write as _};

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

/// Prints one object. A reader that has gone away is not an error, it has seen enough; a full disk is one.
pub(super) fn print_json(object: &impl Serialize) -> Result<(), Failed> {
    let mut text = serde_json::to_vec(object)
        .map_err(|error| Failed::Machine(format!("standard output: the answer can't be written as JSON: {error}")))?;
    text.push(b'\n');
    reached(write(&text))
}

/// Prints text; control characters from packs and records are spelt out, so that they don't steer a terminal.
pub(super) fn print(text: &str) -> Result<(), Failed> {
    reached(write(harmless(text).as_bytes()))
}

/// Writes bytes, exactly these, all of them.
pub(super) fn print_bytes(bytes: &[u8]) -> Result<(), Failed> {
    write(bytes).map_err(|error| unwritable(&error))
}

/// Says something on standard error, on a line of its own. There is nobody to tell if that fails.
pub(super) fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", harmless(text));
}

/// Text of a pack's author where only one line is expected: line breaks are spelt out.
pub(super) fn on_one_line(text: &str) -> String {
    text.replace('\n', "\\n")
}

/// What the outcome of writing an answer means.
pub(super) fn reached(written: std::io::Result<()>) -> Result<(), Failed> {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(unwritable(&error)),
        Err(_) | Ok(()) => Ok(()),
    }
}

fn unwritable(error: &std::io::Error) -> Failed {
    Failed::Machine(format!("standard output: can't be written: {error}"))
}

fn write(bytes: &[u8]) -> std::io::Result<()> {
    let mut stdout = std::io::stdout();
    stdout.write_all(bytes)?;
    stdout.flush()
}

fn harmless(text: &str) -> Cow<'_, str> {
    let steers = |char: char| char.is_control() && char != '\n';
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut spelt = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if steers(char) {
            spelt.extend(char.escape_default());
        } else {
            spelt.push(char);
        }
    }
    Cow::Owned(spelt)
}

/// JSON bytes as they are, inside a larger object; bytes that are no JSON as a string.
pub(super) fn verbatim(bytes: &[u8]) -> Option<Box<RawValue>> {
    let text = String::from_utf8_lossy(bytes);
    let raw = RawValue::from_string(text.to_string());
    raw.or_else(|_| serde_json::value::to_raw_value(&text)).ok()
}
