//! `unskew replay`: what another pack would have made of the decisions that a gateway logged.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use unskew::{Fidelity, Generation};

use super::output::{self, Output};
use super::{Failed, Found, input};

/// Run a decision log through a pack and report what would change
///
/// Reads the lines that a gateway with [decisions] wrote. Each decision names the version of its record and of its server:
/// where the pack would judge that pair otherwise than it was decided, that is reported, with how many requests it
/// concerns. Lines that hold their record are translated as well, and those that the pack would refuse are counted by
/// reason. Exits with 1 if something would get worse.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  unskew replay --pack next.toml decisions.ndjson
  unskew replay --pack next.toml --json decisions.ndjson decisions.1.ndjson")]
pub(super) struct Replay {
    /// The pack
    #[arg(long, value_name = "PACK")]
    pack: PathBuf,
    /// The decision logs
    #[arg(value_name = "LOG", required = true)]
    logs: Vec<PathBuf>,
}

/// Decisions of one kind: the record's version, the server's, the tier.
type Kind = (String, String, String);

/// What came of it.
#[derive(Default)]
struct Report {
    decisions: u64,
    unreadable: u64,
    changed: BTreeMap<Kind, (u64, String, String)>,
    worse: bool,
    translated: u64,
    refused: BTreeMap<String, u64>,
}

impl Replay {
    /// Replays.
    pub(super) fn execute(self, output: Output) -> Result<Found, Failed> {
        let runtime = input::runtime(&self.pack)?;
        let Some(generation) = runtime.generation() else {
            return Err(Failed::Machine("the pack was not taken".into()));
        };
        let mut report = Report::default();
        for log in &self.logs {
            let unread = |error: std::io::Error| Failed::Input(format!("{}: can't be read: {error}", log.display()));
            let file = std::io::BufReader::new(std::fs::File::open(log).map_err(unread)?);
            for line in std::io::BufRead::lines(file) {
                match serde_json::from_str::<Value>(&line.map_err(unread)?) {
                    Ok(decision) if decision.is_object() => report.decision(&generation, &decision),
                    Ok(_) | Err(_) => report.unreadable += 1,
                }
            }
        }
        match output {
            Output::Text => output::print(&report.text(&generation))?,
            Output::Json => output::print_json(&report.object(&generation))?,
        }
        Ok(if report.worse || !report.refused.is_empty() { Found::Bad } else { Found::Good })
    }
}

impl Report {
    fn decision(&mut self, generation: &Generation, decision: &Value) {
        self.decisions += 1;
        let text = |member: &str| decision[member].as_str().unwrap_or_default().to_owned();
        let (record, server, tier) = (text("record_version"), text("server_version"), text("tier"));
        let versions = [&record, &server].map(|id| generation.version(id));
        let (now, reason) = match versions {
            [Some(held), Some(server)] => {
                let verdict = generation.judge(held, server);
                (verdict.fidelity.as_str().to_owned(), verdict.reason.clone())
            }
            [None, _] | [_, None] => ("unknown".to_owned(), "a version is not in the pack".to_owned()),
        };
        if tier != "unknown" && tier != now {
            self.worse |= rank(&now) > rank(&tier);
            self.changed.entry((record, server.clone(), tier)).or_insert((0, now, reason)).0 += 1;
        }
        let (Some(held), [_, Some(to)]) = (decision["record"].as_str(), versions) else { return };
        let found = generation.detect(held.as_bytes()).map(|found| found.version);
        match found.and_then(|found| generation.translate(held.as_bytes(), b"", found, to)) {
            Ok(_) => self.translated += 1,
            Err(error) => {
                let op = match &error {
                    unskew::CallError::Fault(fault) if !fault.op.is_empty() => format!(", {}", fault.op),
                    _ => String::new(),
                };
                *self.refused.entry(format!("to version {server}: {}{op}", error.as_str())).or_default() += 1;
            }
        }
    }

    fn text(&self, generation: &Generation) -> String {
        let manifest = generation.manifest();
        let mut text = format!(
            "{} decisions, {} of their records translated, by {} revision {}:\n",
            self.decisions, self.translated, manifest.name, manifest.revision
        );
        for ((record, server, was), (count, now, reason)) in &self.changed {
            let line = format!(
                "{count} requests, record of version {record} on a server of {server}: {was} before, {now} now: {reason}"
            );
            text.push_str(&format!("  {}\n", output::on_one_line(&line)));
        }
        for (reason, count) in &self.refused {
            text.push_str(&format!("  {count} records would be refused {reason}\n"));
        }
        if self.changed.is_empty() && self.refused.is_empty() {
            text.push_str("  nothing would change\n");
        }
        if self.unreadable > 0 {
            text.push_str(&format!("  {} lines are no decisions\n", self.unreadable));
        }
        text
    }

    fn object(&self, generation: &Generation) -> Value {
        let changed = self.changed.iter().map(|((record, server, was), (count, now, reason))| {
            json!({"record": record, "server": server, "old": was, "new": now, "reason": reason, "count": count})
        });
        json!({
            "pack": generation.manifest().name,
            "revision": generation.manifest().revision,
            "decisions": self.decisions,
            "unreadable": self.unreadable,
            "changed": changed.collect::<Vec<_>>(),
            "translated": self.translated,
            "refused": self.refused,
            "worse": self.worse,
        })
    }
}

/// The better the lower.
fn rank(word: &str) -> usize {
    let order = [Fidelity::Native, Fidelity::Exact, Fidelity::Carried, Fidelity::Lossy];
    order.iter().position(|fidelity| fidelity.as_str() == word).unwrap_or(order.len())
}
