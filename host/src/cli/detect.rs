//! `unskew detect`: which version a record is of.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::input::{self, Source};
use super::output::{self, Output};
use super::{Failed, Found};

/// Say which version a session record is of
///
/// Prints the id of the one version of the pack that recognises the record. None, or more than one, is a refusal.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  unskew detect --pack pack.toml record.json
  redis-cli get session:17 | unskew detect --pack pack.toml -")]
pub(super) struct Detect {
    /// The rule pack, TOML or JSON
    #[arg(long, value_name = "FILE")]
    pack: PathBuf,
    /// The record; `-` is standard input
    #[arg(default_value = "-")]
    record: Source,
}

impl Detect {
    /// Detects.
    pub(super) fn execute(self, output: Output) -> Result<Found, Failed> {
        let runtime = input::runtime(&self.pack)?;
        let record = self.record.read()?;
        let version = runtime.detect(&record).map_err(|error| self.record.refused(&record, &error, &runtime))?;
        match output {
            Output::Text => output::print(&format!("{version}\n"))?,
            Output::Json => output::print_json(&json!({ "version": version }))?,
        }
        Ok(Found::Good)
    }
}
