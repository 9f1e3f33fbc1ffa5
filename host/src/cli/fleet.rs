//! `unskew fleet`: may a server of another version join this fleet?

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;
use unskew::check::{Answer, Question, ServedBy};
use unskew::config::Config;
use unskew::{Fidelity, Server};

use super::output::{self, Output};
use super::table::Table;
use super::{Failed, Found, input};

/// Ask before a deploy: may a server of this version join the fleet?
///
/// Says for sessions of each version what a join would get on each server, once the new one is there: the server reads
/// the record as it is, or it is translated first, exactly, with a carry or with losses, or the join fails. The answer
/// is yes if every server can serve every session well enough, so that none fails when the others are away, as in a
/// roll-back. --served-by any asks for less: one server for each session.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit codes:
  0  yes
  1  no, and why
  2  the command line is wrong
  3  the pack or the configuration can't be read or used

Examples:
  unskew fleet --fleet 1,1,1 --joining 2 pack.toml
  unskew fleet --config unskew.toml --joining 2          the servers, the pack and max_loss of a gateway
  unskew fleet --fleet 1,2 --joining 3 --max-loss lossy --served-by any --json pack.toml")]
pub(super) struct Fleet {
    /// The rule pack, TOML or JSON; the configuration's if none is given
    #[arg(required_unless_present = "config")]
    pack: Option<PathBuf>,
    /// The versions of the servers that there are
    #[arg(long, value_name = "VERSION", value_delimiter = ',', required_unless_present = "config")]
    fleet: Vec<String>,
    /// Take the servers, the pack and `max_loss` from the configuration of a gateway
    #[arg(long, value_name = "FILE", conflicts_with = "fleet")]
    config: Option<PathBuf>,
    /// The version of the server that wants to join
    #[arg(long, value_name = "VERSION")]
    joining: String,
    /// The worst that a join may get; the configuration's, or carried
    #[arg(long, value_name = "FIDELITY")]
    max_loss: Option<MaxLoss>,
    /// Which servers must be able to serve each session
    #[arg(long, value_name = "WHICH", default_value = "all")]
    served_by: Which,
}

/// The worst that a join may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MaxLoss {
    /// Servers read records as they are
    Native,
    /// Nothing is lost, and no carry needed
    Exact,
    /// The carry keeps what would be lost
    Carried,
    /// Something is lost
    Lossy,
}

/// Which servers must be able to serve each session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// Every one, so that any of them may leave
    All,
    /// One at least
    Any,
}

impl Fleet {
    /// Answers.
    pub(super) fn execute(self, output: Output) -> Result<Found, Failed> {
        let config = self.config.as_ref().map(Config::from_file).transpose();
        let config = config.map_err(|error| Failed::Input(error.to_string()))?;
        let pack = self.pack.as_ref().or_else(|| config.as_ref().and_then(|config| config.pack.as_ref()));
        let pack = pack.ok_or_else(|| Failed::Usage("the configuration names no pack: give one".into()))?;
        let runtime = input::runtime(pack)?;
        let Some(generation) = runtime.generation() else {
            return Err(Failed::Machine("the pack was not taken".into()));
        };
        let question = self.question(config.as_ref());
        let answer = question.answer(generation.matrix());
        match output {
            Output::Text => output::print(&text(&question, &answer))?,
            Output::Json => output::print_json(&object(&question, &answer))?,
        }
        Ok(if answer.may { Found::Good } else { Found::Bad })
    }

    fn question(&self, config: Option<&Config>) -> Question {
        let fleet = match config {
            Some(config) => config
                .servers
                .iter()
                .map(|entry| {
                    let name = if entry.name.is_empty() { &entry.address } else { &entry.name };
                    Server { reads: entry.reads.clone(), ..Server::new(name, &entry.address, &entry.version) }
                })
                .collect(),
            None => {
                let server = |(number, id): (usize, &String)| Server::new(format!("server {}", number + 1), "", id);
                self.fleet.iter().enumerate().map(server).collect()
            }
        };
        let max_loss = match self.max_loss {
            Some(MaxLoss::Native) => Fidelity::Native,
            Some(MaxLoss::Exact) => Fidelity::Exact,
            Some(MaxLoss::Carried) => Fidelity::Carried,
            Some(MaxLoss::Lossy) => Fidelity::Lossy,
            None => config.map_or(Fidelity::Carried, |config| config.policy.max_loss.into()),
        };
        let served_by = match self.served_by {
            Which::All => ServedBy::All,
            Which::Any => ServedBy::Any,
        };
        Question { fleet, joining: Server::new("the new one", "", &self.joining), max_loss, served_by }
    }
}

fn text(question: &Question, answer: &Answer) -> String {
    let id = output::on_one_line(&question.joining.version);
    let counted = question.fleet.iter().fold(BTreeMap::<&str, usize>::new(), |mut counted, server| {
        *counted.entry(&server.version).or_default() += 1;
        counted
    });
    let fleet: Vec<String> = counted.iter().map(|(id, count)| format!("{count}×{}", output::on_one_line(id))).collect();
    let mut text = format!("may a server of version {id} join {}?\n\n", fleet.join(" "));
    let Some(first) = answer.cells.first() else { return text };
    let row = answer.cells.iter().filter(|cell| cell.session == first.session);
    let head = row.map(|cell| match cell.servers.contains(&question.joining.name) {
        true => format!("{} (new)", cell.server),
        false => cell.server.clone(),
    });
    let head: Vec<String> = ["session \\ server".to_string()].into_iter().chain(head).collect();
    let mut table = Table::new(&head.iter().map(String::as_str).collect::<Vec<_>>());
    for row in answer.cells.chunk_by(|one, other| one.session == other.session) {
        let said = |cell: &unskew::check::Cell| match cell.fidelity {
            Fidelity::None => "fails".to_string(),
            Fidelity::Native | Fidelity::Exact | Fidelity::Carried | Fidelity::Lossy => cell.fidelity.to_string(),
        };
        let session = row.first().map(|cell| cell.session.clone());
        table.row(session.into_iter().chain(row.iter().map(said)));
    }
    text.push_str(&format!("{table}\n"));
    for cell in answer.cells.iter().filter(|cell| cell.allowed && cell.fidelity > Fidelity::Exact) {
        let [session, server, reason] =
            [&cell.session, &cell.server, &cell.reason].map(|text| output::on_one_line(text));
        text.push_str(&format!("{session} on {server}, {}: {reason}\n", cell.fidelity));
    }
    for objection in &answer.objections {
        text.push_str(&format!("{}\n", output::on_one_line(objection)));
    }
    let limit = question.max_loss;
    text.push_str(&match (answer.may, question.served_by) {
        (true, ServedBy::All) => format!("yes: every server can serve every session, {limit} at worst\n"),
        (true, ServedBy::Any) => format!("yes: some server can serve every session, {limit} at worst\n"),
        (false, _) => "no\n".to_string(),
    });
    text
}

fn object(question: &Question, answer: &Answer) -> serde_json::Value {
    let cells = answer.cells.iter().map(|cell| {
        json!({
            "session": cell.session,
            "server": cell.server,
            "servers": cell.servers,
            "fidelity": cell.fidelity.as_str(),
            "reason": cell.reason,
            "allowed": cell.allowed,
        })
    });
    json!({
        "may": answer.may,
        "joining": question.joining.version,
        "fleet": question.fleet.iter().map(|server| json!({"name": server.name, "version": server.version}))
            .collect::<Vec<_>>(),
        "max_loss": question.max_loss.as_str(),
        "served_by": match question.served_by { ServedBy::All => "all", ServedBy::Any => "any" },
        "joins": cells.collect::<Vec<_>>(),
        "objections": answer.objections,
    })
}
