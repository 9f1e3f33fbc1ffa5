//! `unskew translate`: a record as another version writes it.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;
use unskew::{Counts, Runtime};

use super::input::{self, Source};
use super::output::{self, Output};
use super::{Failed, Found};

/// Write a session record as another version writes it
///
/// Reads a record and prints it in the version asked for: bytes that no rule touches stay exactly as they are, and no
/// newline is added. What the target version can't hold goes into the carry; keep it with --carry-out and give it
/// back with --carry, and the way back restores it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  unskew translate --pack pack.toml --to 1 record.json
  unskew translate --pack pack.toml --from 2 --to 1 --carry-out kept.json record.json > old.json
  unskew translate --pack pack.toml --from 1 --to 2 --carry kept.json old.json
  curl -s localhost:7070/records/session:17 | unskew translate --pack pack.toml --to 2 --json -")]
pub(super) struct Translate {
    #[command(flatten)]
    way: Way,
    /// Where to write the carry: what the target version can't hold
    #[arg(long, value_name = "FILE")]
    carry_out: Option<PathBuf>,
}

/// The object of `--json`; record and carry stand in it word for word.
#[derive(Serialize)]
struct Translated<'a> {
    from: &'a str,
    to: &'a str,
    record: Option<Box<RawValue>>,
    carry: Option<Box<RawValue>>,
    counts: Counted,
}

#[derive(Serialize)]
struct Counted {
    carried: u32,
    restored: u32,
    lost: u32,
    dropped: u32,
    narrowed: u32,
    defaulted: u32,
}

/// From which version to which, and of what: shared by `translate` and `explain`.
#[derive(Debug, Args)]
pub(super) struct Way {
    /// The rule pack, TOML or JSON
    #[arg(long, value_name = "FILE")]
    pub(super) pack: PathBuf,
    /// The version that the record is of; found out from the record if left out
    #[arg(long, value_name = "VERSION")]
    pub(super) from: Option<String>,
    /// The version that the record is wanted in
    #[arg(long, value_name = "VERSION")]
    pub(super) to: String,
    /// The carry that an earlier translation of this record kept
    #[arg(long, value_name = "FILE")]
    pub(super) carry: Option<Source>,
    /// The record; `-` is standard input
    #[arg(default_value = "-")]
    pub(super) record: Source,
}

/// A record on its way: everything read, both versions known.
pub(super) struct Journey {
    pub(super) runtime: Runtime,
    pub(super) record: Vec<u8>,
    pub(super) carry: Vec<u8>,
    pub(super) from: String,
}

impl Translate {
    /// Translates.
    pub(super) fn execute(self, output: Output) -> Result<Found, Failed> {
        let Way { to, record: source, .. } = &self.way;
        let Journey { runtime, record, carry, from } = self.way.read()?;
        let translation =
            runtime.translate(&record, &carry, &from, to).map_err(|error| source.refused(&record, &error, &runtime))?;
        if let Some(path) = &self.carry_out {
            let written = std::fs::write(path, &translation.carry);
            written.map_err(|error| Failed::Machine(format!("{}: {error}", path.display())))?;
        }
        let Counts { carried, restored, lost, dropped, narrowed, defaulted } = translation.counts;
        match output {
            Output::Text => {
                if self.carry_out.is_none() && !translation.carry.is_empty() {
                    let bytes = translation.carry.len();
                    let (values, them) = (counted(carried), if carried == 1 { "it" } else { "them" });
                    output::note(&format!(
                        "note: version {to} can't hold {values}; --carry-out FILE keeps {them} ({bytes} bytes)"
                    ));
                }
                if lost > 0 {
                    let were = if lost == 1 { "was" } else { "were" };
                    output::note(&format!("note: {} {were} lost", counted(lost)));
                }
                output::print_bytes(&translation.record)?;
            }
            Output::Json => output::print_json(&Translated {
                from: &from,
                to,
                record: output::verbatim(&translation.record),
                carry: output::verbatim(&translation.carry).filter(|_| !translation.carry.is_empty()),
                counts: Counted { carried, restored, lost, dropped, narrowed, defaulted },
            })?,
        }
        Ok(Found::Good)
    }
}

fn counted(values: u32) -> String {
    format!("{values} {}", if values == 1 { "value" } else { "values" })
}

impl Way {
    /// Reads pack, record and carry, and finds out the record's version if it wasn't said.
    pub(super) fn read(&self) -> Result<Journey, Failed> {
        if self.record.is_stdin() && self.carry.as_ref().is_some_and(Source::is_stdin) {
            return Err(Failed::Usage(
                "record and carry can't both be standard input: give one of them as a file".into(),
            ));
        }
        let runtime = input::runtime(&self.pack)?;
        let record = self.record.read()?;
        let carry = self.carry.as_ref().map(Source::read_carry).transpose()?.unwrap_or_default();
        let from = match &self.from {
            Some(from) => from.clone(),
            None => runtime.detect(&record).map_err(|error| self.record.refused(&record, &error, &runtime))?,
        };
        Ok(Journey { runtime, record, carry, from })
    }
}
