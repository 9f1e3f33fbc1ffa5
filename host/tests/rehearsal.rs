//! Rehearsals as a whole: the demo keeps its promises, a broken one is named, and the report opens in a browser.

#![allow(clippy::unwrap_used, reason = "a failed assumption is a failed test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn tmp(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn unskew(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_unskew")).args(args).current_dir(root()).output().unwrap()
}

fn object(output: &Output) -> Value {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}\n{err}"))
}

fn count(phase: &Value, lane: &str, what: &str) -> u64 {
    phase["lanes"][lane][what].as_u64().unwrap()
}

#[test]
fn the_demo_shows_the_incident_and_its_report_opens_in_a_browser() {
    let report = tmp("demo.html");
    let begun = Instant::now();
    let output = unskew(&["demo", "--json", "--report", report.to_str().unwrap()]);
    let took = begun.elapsed();
    let demo = object(&output);
    let broken = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{broken}");
    assert!(took < Duration::from_secs(20), "{took:?}");

    let phases = demo["phases"].as_array().unwrap();
    let [steady, canary, rollback, fix] = phases.as_slice() else { panic!("{demo}") };
    for phase in phases {
        assert!(count(phase, "without", "creates") > 100 && count(phase, "with", "joins") > 100, "{phase}");
        assert_eq!(count(phase, "with", "failed_joins"), 0, "{phase}");
        assert_eq!(count(phase, "without", "failed_joins"), count(phase, "without", "code_1026"), "{phase}");
    }
    assert_eq!(count(steady, "without", "failed_joins"), 0);
    assert!(count(canary, "without", "failed_joins") > 0);
    assert!(count(rollback, "without", "failed_joins") > 0);
    assert_eq!(count(fix, "without", "failed_joins"), 0);
    assert!(count(rollback, "with", "translated") > 0, "old sessions must be translated down");
    assert!(count(fix, "without", "translated") > 0, "the swapped pack must translate");
    assert_eq!(demo["audit"]["with"]["lost_edits"], 0);

    opens_in_a_browser(&report);
}

/// Loads the page in headless Chromium: nothing on its console, and its parts in the document.
fn opens_in_a_browser(page: &Path) {
    let profile = tmp("chromium");
    let _ = std::fs::remove_dir_all(&profile);
    let output = chromium(&profile).arg("--dump-dom").arg(format!("file://{}", page.display())).output().unwrap();
    let [dom, said] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("CONSOLE"), "{said}");
    for part in
        ["<svg", "12:08 canary", "pack swapped in", "class=\"curve without\"", "class=\"curve with\"", "</html>"]
    {
        assert!(dom.contains(part), "{part}: {dom}");
    }
    let picture = tmp("report.png");
    let _ = std::fs::remove_file(&picture);
    let shot = format!("--screenshot={}", picture.display());
    let output = chromium(&profile).arg(shot).arg(format!("file://{}", page.display())).output().unwrap();
    assert!(output.status.success() && std::fs::metadata(&picture).unwrap().len() > 10_000);
}

fn chromium(profile: &Path) -> Command {
    let named = std::env::var("UNSKEW_CHROMIUM").ok();
    let known = ["chromium", "chromium-browser", "google-chrome"].map(String::from);
    let found = named.into_iter().chain(known).find(|name| Command::new(name).arg("--version").output().is_ok());
    let mut command =
        Command::new(found.expect("Chromium is needed: `make test` installs it, UNSKEW_CHROMIUM names one"));
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
    command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    command.args(["--enable-logging=stderr", "--window-size=1100,1600"]);
    command.arg(format!("--user-data-dir={}", profile.display()));
    command
}

#[test]
fn a_roll_out_translates_both_ways_and_loses_nothing() {
    let output = unskew(&["rehearse", "--json", "--no-report", "examples/rollout/scenario.toml"]);
    let rehearsal = object(&output);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let [_, _, rollback, all] = rehearsal["phases"].as_array().unwrap().as_slice() else { panic!("{rehearsal}") };
    assert!(count(rollback, "with", "translated") > 0, "records of version 2 must be brought down");
    assert!(count(all, "with", "translated") > 0, "what was carried must be brought back up");
    let audit = &rehearsal["audit"]["with"];
    assert_eq!((&audit["lost_edits"], &audit["altered"], &audit["unreadable"]), (&0.into(), &0.into(), &0.into()));
    assert!(audit["at_home"].as_u64().unwrap() > 100, "{audit}");
}

#[test]
fn a_broken_promise_is_named_and_exits_with_1() {
    let phases = "[[phase]]\nname = \"calm\"\nduration = \"1s\"\nfleet = { \"1\" = 2 }\nexpect = { with = \"some\" }\n";
    let output = unskew(&["rehearse", "--no-report", &scenario("promise", PACK, phases)]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("broken promise: calm, lane with: joins fail, all with code 1026, but 0 of "), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("BROKEN"));
}

/// The control of all the zeros: a pack that forgets one op passes its load, and the strict servers find it out.
#[test]
fn a_wrong_pack_is_found_out_by_the_servers() {
    let pack = std::fs::read_to_string(root().join(PACK)).unwrap();
    let (head, rest) = pack.split_once("[[example]]").unwrap();
    let (_, policy) = rest.split_once("[policy]").unwrap();
    let forgetful = head.lines().filter(|line| !line.contains("legacyToken")).collect::<Vec<_>>().join("\n");
    std::fs::write(tmp("forgetful-pack.toml"), format!("{forgetful}\n[policy]{policy}")).unwrap();
    let phases = "[[phase]]\nname = \"half\"\nduration = \"1s\"\nfleet = { \"1\" = 5, \"2\" = 5 }\n\
                  [[phase]]\nname = \"back\"\nduration = \"1s\"\nfleet = { \"1\" = 5 }\nexpect = { with = \"none\" }\n";
    let pack = tmp("forgetful-pack.toml");
    let output = unskew(&["rehearse", "--json", "--no-report", &scenario("forgetful", pack.to_str().unwrap(), phases)]);
    let rehearsal = object(&output);
    assert_eq!((output.status.code(), &rehearsal["kept"]), (Some(1), &false.into()));
    let back = &rehearsal["phases"][1];
    assert!(count(back, "with", "code_1026") > 0, "{back}");
}

const PACK: &str = "testdata/packs/opentok.toml";

/// A scenario with the servers of the roll-out, another pack and other phases.
fn scenario(name: &str, pack: &str, phases: &str) -> String {
    let rollout = std::fs::read_to_string(root().join("examples/rollout/scenario.toml")).unwrap();
    let (head, _) = rollout.split_once("[[phase]]").unwrap();
    let head = head.replace("../../testdata/packs/opentok.toml", root().join(pack).to_str().unwrap());
    let head = head.replace("../incident/", &format!("{}/examples/incident/", root().display()));
    let path = tmp(&format!("{name}.toml"));
    std::fs::write(&path, format!("{head}{phases}")).unwrap();
    path.display().to_string()
}
