//! `unskew serve`: the gateway.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, filter, fmt};
use unskew::config::Config;
use unskew::gateway::{self, StartError};
use unskew::{Compiler, Guest, LoadError, Pack, Runtime};

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
            let rules = rules(&config)?;
            let problems = misfits(&config, rules.as_ref());
            if !problems.is_empty() {
                let lines: Vec<String> =
                    problems.iter().map(|problem| format!("{}: {problem}", self.config.display())).collect();
                return Err(Failed::Input(lines.join("\n")));
            }
            match output {
                Output::Text => output::print(&format!("{}: no problems\n", self.config.display()))?,
                Output::Json => output::print_json(&json!({"ok": true, "config": self.config}))?,
            }
            return Ok(Found::Good);
        }
        log(output);
        gateway::serve(config, compiler()).map(|()| Found::Good).map_err(|error| stopped(&error))
    }
}

/// This program, as long as it runs the same file, whatever lies under its name by then.
fn compiler() -> Compiler {
    let here = if cfg!(target_os = "linux") { Ok("/proc/self/exe".into()) } else { std::env::current_exe() };
    here.map_or_else(|_| Compiler::default(), |program| Compiler::default().aside(program))
}

/// The configuration's pack in its guest, by its keys; none where it comes from a source, which isn't asked here.
fn rules(config: &Config) -> Result<Option<Runtime>, Failed> {
    let keeps_nothing = Config { state: None, ..config.clone() };
    let runtime = gateway::runtime(&keeps_nothing).map_err(|error| stopped(&error))?;
    let Some(pack) = &config.pack else { return Ok(None) };
    let loaded = Pack::from_file(pack).and_then(|pack| match &config.guest.file {
        Some(file) => runtime.swap_guest(Guest::from_file(file)?, &pack),
        None => runtime.swap(&pack),
    });
    loaded.map(|_| Some(runtime)).map_err(|error| input::unusable(&error))
}

/// What is right in configuration and pack each by itself, and can't work together.
fn misfits(config: &Config, rules: Option<&Runtime>) -> Vec<String> {
    let mut problems = Vec::new();
    if config.listen.parse::<SocketAddr>().is_err() {
        problems.push(format!("listen: expected an address like \"127.0.0.1:8080\", found {:?}", config.listen));
    }
    let record = &config.record;
    if rules.is_none()
        && config.source.is_none()
        && (record.body.is_some() || record.header.is_some() || record.cookie.is_some() || record.store.is_some())
    {
        problems.push("record: there is no pack, so no record is ever translated: say pack = \"…\"".to_string());
    }
    if record.store.is_some() && config.store.is_none() {
        problems.push("record.store: it needs a store: add [store] with kind = \"memory\"".to_string());
    }
    let Some(generation) = rules.and_then(Runtime::generation) else { return problems };
    for server in &config.servers {
        if !server.version.is_empty() && generation.version(&server.version).is_none() {
            let (address, version) = (&server.address, &server.version);
            problems.push(format!("server {address}: its version {version:?} is not in the pack"));
        }
    }
    for id in config.policy.ramp.keys().chain(&record.client_version) {
        if generation.version(id).is_none() {
            problems.push(format!("policy.ramp, record.client_version: the version {id:?} is not in the pack"));
        }
    }
    problems
}

/// Logs to standard error: lines for people, objects for programs. Pingora's own lines print what it has in its
/// buffers, bodies and heads, at `error` already: none of them is let through, whatever RUST_LOG says, and the gateway
/// logs each failure in its own words.
fn log(output: Output) {
    let wanted = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let ours = filter::filter_fn(|line| !line.target().starts_with("pingora"));
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match output {
        Output::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        Output::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry().with(lines).with(wanted).with(ours).init();
}

fn stopped(error: &StartError) -> Failed {
    match error {
        StartError::Load(LoadError::Guest(_)) | StartError::Listen { .. } | StartError::Threads(_) => {
            Failed::Machine(error.to_string())
        }
        StartError::Load(_)
        | StartError::Config(_)
        | StartError::Fleet(_)
        | StartError::Seal(_)
        | StartError::Secret(_)
        | StartError::State { .. }
        | StartError::Untrusting
        | StartError::NoStore
        | StartError::Surface { .. } => Failed::Input(error.to_string()),
    }
}
