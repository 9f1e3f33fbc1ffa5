//! `unskew infer`: proposes a pack from sample records of two versions.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use unskew::infer::{Checked, InferError, Options, Proposal, Proposed, Sample, infer};

use super::input;
use super::output::{self, Output};
use super::{Failed, Found};

/// Propose a rule pack from sample records of two versions
///
/// Compares records that older servers wrote with records that newer ones wrote, and prints a pack as TOML: how the
/// versions are told apart, renames, moves, changed values, added and removed members, each with what speaks for it.
/// What the samples don't decide stands in it as a question, never as a guess. The pack has been tried on the samples:
/// read it, answer the lines that begin with `# ?`, then let `unskew check` look at it.
///
/// Records of the same session in both versions say the most. They are found by a member that names the session; say
/// --match where that one isn't found. Five to twenty records of each side are plenty, the more different the better.
/// The pack holds values of the samples (in maps, defaults and its example): take samples that may be shown.
#[derive(Debug, Args)]
#[command(after_long_help = "\
A sample is a file with one record, with one record a line (NDJSON), or with an array of records; a folder stands for
all files in it that end in .json, .ndjson or .jsonl.

How sure a line is:
  high      several different values agree, and nothing speaks against it
  medium    it fits, but few values or the names alone say so
  low       it is asked: the line is a comment until you take it

Examples:
  unskew infer --older old/ --newer new/ > pack.toml
  unskew infer --older v1.ndjson --newer v2.ndjson --match /sessionId=/session_id --out pack.toml
  unskew infer --older old/ --newer new/ --from 2024-01 --to 2024-06 --name rooms --json

Exit codes:
  0  a pack is proposed, and all samples come back as they were from the other version
  1  a pack is proposed, but some samples don't: its head says which and why; or nothing tells the sides apart
  3  a sample can't be read, or --match pairs nothing")]
pub(super) struct Infer {
    /// Records as the older version writes them: files or folders
    #[arg(long, value_name = "PATH", required = true, num_args = 1..)]
    older: Vec<PathBuf>,
    /// Records as the newer version writes them: files or folders
    #[arg(long, value_name = "PATH", required = true, num_args = 1..)]
    newer: Vec<PathBuf>,
    /// The members that name a session in older and newer records, as JSON Pointers; found if left out
    #[arg(long = "match", value_name = "OLDER=NEWER", value_parser = members)]
    matched: Option<(String, String)>,
    /// The id of the older version
    #[arg(long, value_name = "ID", default_value = "1")]
    from: String,
    /// The id of the newer version
    #[arg(long, value_name = "ID", default_value = "2")]
    to: String,
    /// The name of the pack
    #[arg(long, default_value = "sessions")]
    name: String,
    /// Where to write the pack instead of standard output; a file that exists is never overwritten
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Infer {
    /// Proposes.
    pub(super) fn execute(self, output: Output) -> Result<Found, Failed> {
        if self.from == self.to {
            return Err(Failed::Usage(format!("--from and --to are both {:?}: name two versions", self.from)));
        }
        let [older, newer] = [&self.older, &self.newer].map(|paths| samples(paths));
        let (older, newer) = (older?, newer?);
        let options = Options { name: self.name, from: self.from, to: self.to, matched: self.matched };
        let proposal = infer(&older, &newer, &options).map_err(|error| failed(&error))?;
        if let Some(path) = &self.out {
            let written = std::fs::File::create_new(path)
                .and_then(|mut file| std::io::Write::write_all(&mut file, proposal.toml.as_bytes()));
            written.map_err(|error| Failed::Machine(format!("{}: can't be written: {error}", path.display())))?;
        }
        match output {
            Output::Text => {
                if self.out.is_none() {
                    output::print(&proposal.toml)?;
                }
                output::note(&summary(&proposal));
            }
            Output::Json => output::print_json(&object(&proposal))?,
        }
        Ok(if proposal.checked.refused.is_empty() { Found::Good } else { Found::Bad })
    }
}

/// `/sessionId=/session_id`, or one pointer for both.
fn members(text: &str) -> Result<(String, String), String> {
    let (older, newer) = match text.split_once("=/") {
        Some((older, newer)) => (older.to_owned(), format!("/{newer}")),
        None => (text.to_owned(), text.to_owned()),
    };
    match older.starts_with('/') {
        true => Ok((older, newer)),
        false => Err("expected JSON Pointers, as in /sessionId=/session_id".to_owned()),
    }
}

fn samples(paths: &[PathBuf]) -> Result<Vec<Sample>, Failed> {
    let mut samples = Vec::new();
    for path in paths {
        samples.extend(Sample::read(path).map_err(|error| Failed::Input(error.to_string()))?);
    }
    Ok(samples)
}

fn failed(error: &InferError) -> Failed {
    match error {
        InferError::NoSamples(_) | InferError::Match(_) => Failed::Input(error.to_string()),
        InferError::Alike => Failed::Refused(error.to_string()),
        InferError::Load(error) => input::unusable(error),
    }
}

fn summary(proposal: &Proposal) -> String {
    let counted = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    let active = proposal.ops.iter().filter(|op| op.left_out.is_none()).count();
    let Checked { older, newer, refused, .. } = &proposal.checked;
    let tried = older + newer;
    format!(
        "{} proposed, {} open; {} of {} come back as they were from the other version",
        counted(active, "op"),
        counted(proposal.questions.len(), "question"),
        tried - refused.len(),
        counted(tried, "sample"),
    )
}

fn object(proposal: &Proposal) -> Value {
    let Proposal { toml, pairs, paired_by, ops, questions, checked } = proposal;
    let Checked { older, newer, refused, exact, pairs: _, differing } = checked;
    let ops: Vec<Value> = ops
        .iter()
        .map(|Proposed { kind, place, op, confidence, evidence, question, left_out }| {
            json!({
                "kind": kind,
                "place": place,
                "op": op,
                "confidence": confidence.as_str(),
                "evidence": evidence,
                "question": question,
                "left_out": left_out,
            })
        })
        .collect();
    let differing: Vec<Value> =
        differing.iter().map(|(place, pairs)| json!({"place": place, "pairs": pairs})).collect();
    json!({
        "ok": refused.is_empty(),
        "pack": toml,
        "pairs": pairs,
        "paired_by": paired_by,
        "ops": ops,
        "questions": questions,
        "checked": {"older": older, "newer": newer, "refused": refused, "exact_pairs": exact, "differing": differing},
    })
}

#[cfg(test)]
mod tests {
    use super::members;

    #[test]
    fn members_are_two_pointers_or_one_for_both() {
        let pair = |older: &str, newer: &str| Ok((older.to_owned(), newer.to_owned()));
        assert_eq!(members("/sessionId=/session_id"), pair("/sessionId", "/session_id"));
        assert_eq!(members("/id"), pair("/id", "/id"));
        assert_eq!(members("/a=b=/c"), pair("/a=b", "/c"));
        assert!(members("id=sid").is_err());
    }
}
