//! What the documents show is what the program does: their examples run, and the words of the code stand in them.
//!
//! A fenced block is named by the words behind its language, which no reader sees. `docs/blocks.rs` has the names.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "docs/blocks.rs"]
mod blocks;
#[path = "docs/words.rs"]
mod words;

use std::path::{Path, PathBuf};
use std::process::Command;

use blocks::Block;
use unskew::{CallError, LoadError, Pack, Runtime};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn document(name: &str) -> String {
    std::fs::read_to_string(workspace().join(name)).unwrap()
}

/// The frame of fragments: two versions, told apart by a marker.
fn framed(fragment: &str) -> String {
    let is_table = |line: &str| line.starts_with("[[") || line.starts_with("[policy]");
    let at = fragment.lines().position(is_table).unwrap_or(usize::MAX);
    let lines = |range: &mut dyn Iterator<Item = &str>| range.collect::<Vec<_>>().join("\n");
    let (ops, rest) = (lines(&mut fragment.lines().take(at)), lines(&mut fragment.lines().skip(at)));
    format!(
        "name = \"docs\"\nrevision = 1\n\
         [[version]]\nid = \"1\"\nmarker = {{ path = \"/schema\", absent = true }}\n\
         [[version]]\nid = \"2\"\nmarker = {{ path = \"/schema\", value = 2 }}\n\
         [[step]]\nfrom = \"1\"\nto = \"2\"\nops = [\n{ops}\n]\n{rest}\n"
    )
}

/// A record on its way through the blocks of a document, with the carry that it left behind.
struct Traveller {
    record: Vec<u8>,
    carry: Vec<u8>,
    /// Whether it is what a translation made, and not where a way starts.
    translated: bool,
}

/// Runs the blocks of one document in order.
fn play(name: &str) -> usize {
    let mut runtime: Option<Runtime> = None;
    let mut refused = Vec::new();
    let mut traveller: Option<Traveller> = None;
    let mut played = 0;
    let mut wrong: Vec<String> = Vec::new();
    let mut same = |place: &str, shown: &str, is: &str| {
        if shown.trim_end() != is {
            wrong.push(format!("{place}\n  shown: {}\n     is: {is}", shown.trim_end()));
        }
    };
    for block in blocks::of(&document(name)) {
        let Block { line, words, text } = &block;
        let place = format!("{name}:{line}");
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        played += 1;
        match words.as_slice() {
            ["toml", form @ ("pack" | "ops")] => {
                assert!(refused.is_empty(), "{place}: no block names the problems of the pack before: {refused:#?}");
                let text = if *form == "ops" { framed(text) } else { text.clone() };
                let pack = Pack::from_toml("docs.toml", &text).unwrap_or_else(|error| panic!("{place}: {error}"));
                (runtime, refused, traveller) = match Runtime::new(&pack) {
                    Ok(runtime) => (Some(runtime), Vec::new(), None),
                    Err(LoadError::Problems { problems, .. }) => {
                        (None, problems.into_iter().map(|problem| problem.message).collect(), None)
                    }
                    Err(error) => panic!("{place}: {error}"),
                };
                assert!(runtime.is_some() || !refused.is_empty(), "{place}: refused without a problem");
            }
            ["text", "problems"] => {
                same(&place, text, &std::mem::take(&mut refused).join("\n"));
            }
            ["json", side @ ("lower" | "upper"), how @ ..] => {
                let runtime = runtime.as_ref().unwrap_or_else(|| panic!("{place}: the pack is refused: {refused:#?}"));
                let shown = text.trim_end().as_bytes().to_vec();
                traveller = Some(match (how, traveller.take()) {
                    // A record of one's own: the start of a way.
                    ([], None) | (["from"], _) => Traveller { record: shown, carry: Vec::new(), translated: false },
                    // A server has written it in between; the carry stays.
                    (["edited"], Some(there)) => Traveller { record: shown, carry: there.carry, translated: false },
                    ([], Some(there)) => {
                        let (from, to) = if *side == "upper" { ("1", "2") } else { ("2", "1") };
                        let answer = runtime.translate(&there.record, &there.carry, from, to);
                        let answer = answer.unwrap_or_else(|error| panic!("{place}: {error}"));
                        same(&place, text, &String::from_utf8_lossy(&answer.record));
                        returns(runtime, &there, (&answer.record, &answer.carry), (to, from), &place);
                        Traveller { record: answer.record, carry: answer.carry, translated: true }
                    }
                    (how, _) => panic!("{place}: no such block: {words:?} {how:?}"),
                });
            }
            ["json", "carry"] => {
                let there = traveller.as_ref().unwrap();
                same(&place, text, &String::from_utf8_lossy(&there.carry));
            }
            ["text", "fault", to] => {
                let (there, runtime) = (traveller.take().unwrap(), runtime.as_ref().unwrap());
                let from = if *to == "2" { "1" } else { "2" };
                let answer = match *to {
                    "detect" => runtime.detect(&there.record).map(drop),
                    to => runtime.translate(&there.record, &there.carry, from, to).map(drop),
                };
                match answer {
                    Err(CallError::Fault(fault)) => same(&place, text, &fault.to_string()),
                    other => same(&place, text, &format!("{other:?}")),
                }
            }
            ["text", "judge", held, server] => {
                let verdict = runtime.as_ref().unwrap().judge(held, server).unwrap();
                same(&place, text, &format!("{}: {}", verdict.fidelity, verdict.reason));
            }
            ["sh"] => {
                text.lines().filter_map(|line| line.strip_prefix("unskew ")).for_each(|line| command(line, &place))
            }
            // Rust blocks are doc tests of the library; the rest is prose.
            ["rust", ..] | ["toml" | "json" | "text" | "http" | "yaml"] => played -= 1,
            other => panic!("{place}: no such block: {other:?}"),
        }
    }
    assert!(refused.is_empty(), "{name}: problems that no block names: {refused:#?}");
    assert!(wrong.is_empty(), "the document shows something else than what is:\n{}", wrong.join("\n"));
    played
}

/// The law of return, for records that start a way.
fn returns(
    runtime: &Runtime,
    there: &Traveller,
    (record, carry): (&[u8], &[u8]),
    (from, to): (&str, &str),
    place: &str,
) {
    if there.translated {
        return;
    }
    let back = runtime.translate(record, carry, from, to).unwrap_or_else(|error| panic!("{place}, back: {error}"));
    let same = characters(&back.record) == characters(&there.record);
    assert!(same, "{place}, back: {}", String::from_utf8_lossy(&back.record));
}

/// What JSON says, but for the order of members and white space; numbers by their text, which no `f64` holds.
fn characters(json: &[u8]) -> Vec<u8> {
    let mut characters: Vec<u8> = json.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    characters.sort_unstable();
    characters
}

/// Runs a command of a document from the top of the repository. It must end well.
fn command(line: &str, place: &str) {
    let line = line.split(" #").next().unwrap();
    let (line, out) = line.split_once(" > ").map_or((line, None), |(line, out)| (line, Some(out)));
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let argument = |word: &str| word.replace("/tmp/", &format!("{}/", scratch.display()));
    let done = Command::new(env!("CARGO_BIN_EXE_unskew"))
        .args(line.split_whitespace().map(argument))
        .current_dir(workspace())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{place}: unskew {line}\n{error}");
    if let Some(out) = out {
        std::fs::write(argument(out.trim()), done.stdout).unwrap();
    }
}

#[test]
fn examples_of_the_rule_language_run() {
    assert!(play("docs/rules.md") > 80, "hardly any example was found");
}

#[test]
fn five_packs_on_hard_ground_are_short() {
    let rules = document("docs/rules.md");
    let (_, section) = rules.split_once("\n## On hard ground\n").unwrap();
    let packs =
        blocks::of(section.split("\n## ").next().unwrap()).into_iter().filter(|block| block.words == ["toml", "pack"]);
    let lines: Vec<usize> = packs.map(|pack| pack.text.lines().count()).collect();
    assert_eq!(lines.len(), 5);
    assert!(lines.iter().all(|lines| *lines < 30), "{lines:?}");
}

#[test]
fn commands_for_operators_run() {
    assert!(play("docs/operations.md") > 0);
}

#[test]
fn commands_that_check_packs_run() {
    assert!(play("docs/check.md") > 0);
}

#[test]
fn embedding_shows_no_blocks_that_nobody_runs() {
    play("docs/embedding.md");
}
