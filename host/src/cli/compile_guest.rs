//! `unskew compile-guest`: the process in which the gateway has a guest compiled; no command for people.

use std::time::Duration;

use clap::Args;
use unskew::{Allowance, compile_aside};

use super::{Failed, Found};

/// Compile a guest from standard input to standard output, within limits
///
/// `unskew serve` runs this for each guest that is not the standard one. What comes out runs in no other build.
#[derive(Debug, Args)]
pub(super) struct CompileGuest {
    /// Which form of engine it is for
    #[arg(long, value_name = "FORM")]
    form: String,
    /// CPU time, in seconds
    #[arg(long, value_name = "SECONDS")]
    cpu_s: u64,
    /// Memory, in bytes
    #[arg(long, value_name = "BYTES")]
    memory_bytes: u64,
}

impl CompileGuest {
    /// Compiles.
    pub(super) fn execute(self) -> Result<Found, Failed> {
        let allowed = Allowance { cpu: Duration::from_secs(self.cpu_s), memory: self.memory_bytes };
        compile_aside(std::io::stdin(), std::io::stdout(), &self.form, allowed).map_err(Failed::Input)?;
        Ok(Found::Good)
    }
}
