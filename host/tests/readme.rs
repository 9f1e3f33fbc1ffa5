//! The README and the guides tell the truth: every command in them runs here, and says what stands there.
//!
//! In a `console` block `…` stands for any text, and on a line of its own for any lines. The Rust block is a doc test
//! (`host/src/lib.rs`). `make demo` is run here as what it runs, and `make test` is what runs this.

#![allow(clippy::unwrap_used, reason = "a failed assumption is a failed test")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// A command of a block and what it prints.
struct Step {
    command: String,
    printed: Vec<String>,
}

#[test]
fn every_command_of_the_readme_says_what_stands_there() {
    let folder = workplace("readme");
    assert!(play("README.md", &folder) >= 9);
    let restored = [root().join("testdata/records/opentok-v2-0.4k.json"), folder.join("new.json")];
    let [before, after] =
        restored.map(|path| serde_json::from_slice::<serde_json::Value>(&std::fs::read(path).unwrap()));
    assert_eq!(before.unwrap(), after.unwrap());
}

#[test]
fn the_guide_leads_from_samples_to_a_gateway() {
    let folder = workplace("guide");
    assert!(play("docs/guide.md", &folder) >= 8);
}

#[test]
fn every_command_on_proposals_says_what_stands_there() {
    let folder = workplace("infer");
    assert!(play("docs/infer.md", &folder) >= 2);
}

#[test]
fn every_link_leads_somewhere() {
    for page in ["README.md", "docs/guide.md", "docs/infer.md", "docs/rehearsal.md", "examples/incident/README.md"] {
        let path = root().join(page);
        let text = std::fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let link = link.split('#').next().unwrap();
            let known = link.is_empty() || link.contains("://") || path.parent().unwrap().join(link).exists();
            assert!(known, "{page}: {link}");
        }
    }
}

#[test]
fn the_scenario_of_the_docs_is_one() {
    let folder = workplace("readme").join("scenario");
    std::fs::create_dir_all(&folder).unwrap();
    let text = std::fs::read_to_string(root().join("docs/rehearsal.md")).unwrap();
    std::fs::write(folder.join("scenario.toml"), blocks(&text, "toml").remove(0)).unwrap();
    std::fs::copy(root().join("testdata/packs/opentok.toml"), folder.join("pack.toml")).unwrap();
    let gateway = std::fs::read_to_string(root().join("examples/incident/unskew.toml")).unwrap();
    std::fs::write(folder.join("unskew.toml"), gateway.replace("../../testdata/packs/opentok.toml", "pack.toml"))
        .unwrap();
    let scenario = unskew::rehearsal::Scenario::from_file(folder.join("scenario.toml")).unwrap();
    assert_eq!((scenario.phases.len(), scenario.phases[0].swap.is_some()), (1, true));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Runs the commands of a page, with its first configuration as `unskew.toml`; how many there were.
fn play(page: &str, folder: &Path) -> usize {
    let text = std::fs::read_to_string(root().join(page)).unwrap();
    if let Some(config) = blocks(&text, "toml").into_iter().find(|block| block.starts_with("# unskew.toml\n")) {
        std::fs::write(folder.join("unskew.toml"), config.replace(":8080", ":0")).unwrap();
    }
    let steps: Vec<Step> = blocks(&text, "console").iter().flat_map(|block| steps(block)).collect();
    for step in &steps {
        match step.command.as_str() {
            "make test" => assert!(step.printed.is_empty()),
            "make demo" => demo(step, folder),
            serve if serve.starts_with("unskew serve") && !serve.ends_with("--check") => serves(step, folder),
            _ => run(step, folder),
        }
    }
    steps.len()
}

/// A folder of a page's own in which commands find what the repository has, and may write. What an earlier run left in
/// it is gone, and its links are made anew: the target folder outlives checkouts. Tests of one page share it.
fn workplace(page: &str) -> PathBuf {
    static MADE: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let mut made = MADE.lock().unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages").join(page);
    if !made.iter().any(|one| one == page) {
        let _ = std::fs::remove_dir_all(&folder); // links are removed, not what they lead to
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["testdata", "examples"] {
            std::os::unix::fs::symlink(root().join(name), folder.join(name)).unwrap();
        }
        made.push(page.to_owned());
    }
    folder
}

fn blocks(text: &str, kind: &str) -> Vec<String> {
    let begin = format!("```{kind}\n");
    text.split(&begin).skip(1).map(|block| block.split("```").next().unwrap().to_string()).collect()
}

fn steps(block: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(Step { command: command.to_string(), printed: Vec::new() }),
            (None, Some(step)) => step.printed.push(line.to_string()),
            (None, None) => panic!("a block must begin with a command: {block}"),
        }
    }
    steps
}

fn shell(command: &str, folder: &Path) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_unskew"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).current_dir(folder).env("PATH", path);
    shell
}

fn run(step: &Step, folder: &Path) {
    let output = shell(&step.command, folder).output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success(), "{}: {err}", step.command);
    let printed: Vec<&str> = out.lines().collect();
    let expected: Vec<&str> = step.printed.iter().map(String::as_str).collect();
    assert!(fits(&expected, &printed), "$ {}\nexpected:\n{}\nprinted:\n{out}", step.command, expected.join("\n"));
}

/// The demo prints the same lines with other numbers.
fn demo(step: &Step, folder: &Path) {
    let output = shell("unskew demo", folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let out = String::from_utf8(output.stdout).unwrap();
    let shape = |line: &str| {
        let numberless: String = line.chars().filter(|c| !c.is_ascii_digit() && *c != '.').collect();
        numberless.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let printed: Vec<String> = out.lines().map(shape).collect();
    let expected: Vec<String> = step.printed.iter().skip(1).map(|line| shape(line)).collect();
    assert_eq!(expected, printed);
    assert!(folder.join("report.html").exists());
}

/// A gateway runs until it is told to stop: here, after the line that stands in the README.
fn serves(step: &Step, folder: &Path) {
    let program = env!("CARGO_BIN_EXE_unskew");
    let args = step.command.split_whitespace().skip(1);
    let mut child = Command::new(program)
        .args(args)
        .current_dir(folder)
        .env_remove("RUST_LOG")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let expected = step.printed[0].replace(":8080", ":…");
    let found = lines.by_ref().map_while(Result::ok).any(|line| line_fits(&expected, &line));
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let _until_it_has_stopped = lines.by_ref().map_while(Result::ok).count();
    assert!(found && child.wait().unwrap().success());
}

/// Whether the printed lines are the expected ones, `…` standing for any.
fn fits(expected: &[&str], printed: &[&str]) -> bool {
    match (expected.split_first(), printed.split_first()) {
        (None, None) => true,
        (Some((&"…", rest)), None) => fits(rest, printed),
        (Some((&"…", rest)), Some((_, later))) => fits(rest, printed) || fits(expected, later),
        (Some((line, rest)), Some((print, later))) => line_fits(line, print) && fits(rest, later),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

fn line_fits(expected: &str, printed: &str) -> bool {
    match expected.split_once('…') {
        None => expected == printed,
        Some((head, tail)) => {
            let rest = printed.strip_prefix(head);
            rest.is_some_and(|rest| {
                tail.split('…').try_fold(rest, |rest, part| rest.split_once(part).map(|(_, rest)| rest)).is_some()
            })
        }
    }
}
