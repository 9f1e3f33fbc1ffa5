//! `unskew serve`: the gateway.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tracing_subscriber::EnvFilter;
use unskew::LoadError;
use unskew::config::Config;
use unskew::gateway::{self, StartError};

use super::output::{self, Output};
use super::{Failed, Found, input};

/// Run the gateway
///
/// Takes requests, sends each to a server that can serve its session, and translates session records where no such
/// server is at hand. SIGHUP or a changed pack file swaps the pack while requests flow; a pack with problems is
/// refused and the old one serves on. SIGTERM and SIGINT let requests finish first. Logs go to standard error, one
/// object a line with --json; RUST_LOG says how much. docs/gateway.md explains every key of the configuration.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  unskew serve --config unskew.toml
  unskew serve --config unskew.toml --check                      is the configuration good?
  unskew serve --config unskew.toml --listen 127.0.0.1:0         on a free port; the log says which
  kill -HUP $(pidof unskew)                                      swap the pack in that its file holds now")]
pub(super) struct Serve {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "unskew.toml")]
    config: PathBuf,
    /// Listen here instead of where the configuration says
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Use this pack instead of the configuration's
    #[arg(long, value_name = "FILE")]
    pack: Option<PathBuf>,
    /// Read configuration and pack, say what is wrong, and don't serve
    #[arg(long)]
    check: bool,
}

impl Serve {
    /// Serves until it is told to stop.
    pub(super) fn execute(self, output: Output) -> Result<Found, Failed> {
        let mut config = Config::from_file(&self.config).map_err(|error| Failed::Input(error.to_string()))?;
        config.listen = self.listen.unwrap_or(config.listen);
        config.pack = self.pack.or(config.pack);
        if self.check {
            if let Some(pack) = &config.pack {
                input::runtime(pack)?;
            }
            match output {
                Output::Text => output::print(&format!("{}: no problems\n", self.config.display()))?,
                Output::Json => output::print_json(&json!({"ok": true, "config": self.config}))?,
            }
            return Ok(Found::Good);
        }
        log(output);
        gateway::serve(config).map(|()| Found::Good).map_err(|error| stopped(&error))
    }
}

/// Logs to standard error: lines for people, objects for programs.
fn log(output: Output) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match output {
        Output::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        Output::Json => log.json().init(),
    }
}

fn stopped(error: &StartError) -> Failed {
    match error {
        StartError::Load(LoadError::Guest(_)) | StartError::Listen { .. } | StartError::Threads(_) => {
            Failed::Machine(error.to_string())
        }
        StartError::Load(_) | StartError::Config(_) | StartError::Fleet(_) | StartError::NoStore => {
            Failed::Input(error.to_string())
        }
    }
}
