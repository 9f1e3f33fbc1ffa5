//! `unskew pack`: what a gateway's rules are, and other ones in their place, by its admin API.

mod admin;
mod print;

use std::path::PathBuf;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use unskew::check::{self, Revisions};
use unskew::{Guest, Pack as Rules, Runtime};

use super::output::{self, Output};
use super::{Failed, Found, check as checking, input};
use admin::Admin;

/// Look at a gateway's rules and put others in their place
///
/// Speaks to the admin API of a running gateway, [admin] in its configuration. A pack or guest that a `.minisig` file
/// lies beside is sent with that signature. What the gateway refuses is told with its reason, and what was active serves
/// on.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  unskew pack status --admin 127.0.0.1:9180 --token-file admin.token
  unskew pack diff pack.toml                       what would change, against what is active
  unskew pack push pack.toml                       check it and make it active
  unskew pack push --stage pack.toml               check it and keep it ready; then: unskew pack promote
  unskew pack canary 5                             five percent of the sessions for what is staged
  unskew pack push --guest guest.wasm pack.toml    with a guest of your own
  unskew pack rollback --reason 'joins fail'       back to the generation before

UNSKEW_ADMIN stands for --admin, and UNSKEW_TOKEN for what the token's file holds.")]
pub(super) struct Pack {
    /// Where the admin API listens
    #[arg(long, value_name = "ADDRESS", global = true)]
    admin: Option<String>,
    /// The file that holds the token
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send a pack, a guest or both; active when this returns, unless --stage
    Push(Push),
    /// Show what is active, staged and previous, and what became of all that was offered
    Status,
    /// Make what is staged active
    Promote,
    /// Bring the generation before back; sources don't bring back what is left
    Rollback(Reason),
    /// Put what is staged aside
    Discard(Reason),
    /// Give what is staged a share of the sessions, always the same ones
    Canary(Canary),
    /// Compare a pack with the active one: verdicts, ops, and what becomes of grown records
    Diff(Diff),
}

#[derive(Debug, Args)]
struct Push {
    /// The pack; left out, the active one goes into the guest
    #[arg(value_name = "PACK", required_unless_present = "guest")]
    pack: Option<PathBuf>,
    /// A component that the pack runs in instead of the guest that serves
    #[arg(long, value_name = "FILE")]
    guest: Option<PathBuf>,
    /// Keep it ready instead of making it active
    #[arg(long, conflicts_with = "force")]
    stage: bool,
    /// Take it whatever its revision is, and though it was put aside
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct Reason {
    /// Why, for status and log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Args)]
struct Canary {
    /// The share; 0 takes it back
    #[arg(value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(..=100))]
    percent: u32,
}

#[derive(Debug, Args)]
struct Diff {
    /// The pack
    #[arg(value_name = "PACK")]
    pack: PathBuf,
    /// How many grown records each ordered pair of versions is compared on
    #[arg(long, value_name = "N", default_value_t = 50)]
    cases: u32,
}

impl Pack {
    /// Does it.
    pub(super) fn execute(self, output: Output) -> Result<Found, Failed> {
        let admin = Admin::new(self.admin, self.token_file)?;
        match self.command {
            Command::Push(push) => push.execute(&admin, output),
            Command::Status => {
                let status = admin.ask("GET", "/v1/status", &Value::Null)?;
                said(output, &status, print::status)
            }
            Command::Promote => {
                let active = admin.ask("POST", "/v1/promote", &Value::Null)?;
                said(output, &active, |active| format!("{} is active\n", print::named(active)))
            }
            Command::Rollback(reason) => {
                let active = admin.ask("POST", "/v1/rollback", &reason.body())?;
                said(output, &active, |active| format!("{} is active again\n", print::named(active)))
            }
            Command::Discard(reason) => {
                let gone = admin.ask("POST", "/v1/discard", &reason.body())?;
                said(output, &gone, |gone| format!("generation {} is put aside\n", gone["generation"]))
            }
            Command::Canary(Canary { percent }) => {
                let set = admin.ask("PUT", "/v1/canary", &json!({"percent": percent}))?;
                said(output, &set, |set| match set["staged"].as_u64() {
                    Some(staged) => format!("generation {staged} serves {percent} % of the sessions\n"),
                    None => format!("nothing is staged; what will be serves {percent} % of the sessions\n"),
                })
            }
            Command::Diff(diff) => diff.execute(&admin, output),
        }
    }
}

impl Push {
    fn execute(self, admin: &Admin, output: Output) -> Result<Found, Failed> {
        let unusable = |error: unskew::LoadError| input::unusable(&error);
        let pack = self.pack.as_deref().map(Rules::from_file).transpose().map_err(unusable)?;
        let guest = self.guest.as_deref().map(Guest::from_file).transpose().map_err(unusable)?;
        let intent = match (self.stage, self.force) {
            (true, _) => "stage",
            (false, true) => "force",
            (false, false) => "activate",
        };
        let mut body = json!({"intent": intent});
        if let Some(pack) = &pack {
            body["name"] = json!(pack.name());
            body["pack"] = json!(pack.text());
            body["signature"] = json!(pack.signature());
        }
        if let Some(guest) = &guest {
            body["guest"] = json!(STANDARD.encode(guest.wasm()));
            body["guest_signature"] = json!(guest.signature());
        }
        let began = Instant::now();
        let taken = admin.ask("POST", "/v1/generations", &body)?;
        let took = began.elapsed();
        said(output, &taken, |taken| {
            let named = print::named(taken);
            match (taken["active"] == true, taken["changed"] == true) {
                (true, true) => format!("{named} is active, {} ms after it was sent\n", took.as_millis()),
                (true, false) => format!("{named} was active already\n"),
                (false, _) => format!("{named} is staged: unskew pack promote makes it active\n"),
            }
        })
    }
}

impl Reason {
    fn body(&self) -> Value {
        self.reason.as_ref().map_or(Value::Null, |reason| json!({"reason": reason}))
    }
}

impl Diff {
    fn execute(self, admin: &Admin, output: Output) -> Result<Found, Failed> {
        let new = input::runtime(&self.pack)?;
        let active = admin.ask("GET", "/v1/pack", &Value::Null)?;
        let text = |member: &str| active[member].as_str().unwrap_or_default().to_owned();
        let old = Rules::from_text(&text("name"), &text("text")).and_then(|pack| Runtime::new(&pack));
        let old = old.map_err(|error| Failed::Input(format!("the active pack can't be loaded here: {error}")))?;
        let (Some(old), Some(new)) = (old.generation(), new.generation()) else {
            return Err(Failed::Machine("a pack was not taken".into()));
        };
        let [before, now] = [&old, &new].map(|generation| check::laws(generation).cases(self.cases));
        let revisions = Revisions::compare((&old, &before), (&new, &now), &mut |_| ());
        match output {
            Output::Text => output::print(checking::against::text(&revisions).trim_start())?,
            Output::Json => output::print_json(&checking::against::object(&revisions))?,
        }
        Ok(if revisions.breaks() { Found::Bad } else { Found::Good })
    }
}

fn said(output: Output, answer: &Value, text: impl FnOnce(&Value) -> String) -> Result<Found, Failed> {
    match output {
        Output::Text => output::print(&text(answer))?,
        Output::Json => output::print_json(answer)?,
    }
    Ok(Found::Good)
}
