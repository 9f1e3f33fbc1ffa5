//! Instructions, counted by callgrind: the same on every run, however busy the machine is, so that they are the gate.
//!
//! `cargo bench --bench instructions` counts everything once, by running itself under valgrind, and prints it;
//! `-- gate` fails where something takes more than `record/gate.csv` has, by more than a tolerance; `-- accept` writes that
//! file. Only `counted` is counted; for a profile, function by function: `valgrind --tool=callgrind
//! --toggle-collect='*counted*' <this> run session-4k/translate/native`, then `callgrind_annotate`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use unskew_benches::grid::Grid;
use unskew_benches::hand::{self, Shape};
use unskew_benches::ledger::Ledger;
use unskew_benches::machine::Machine;
use unskew_benches::packs::{self, Stair, Trial};
use unskew_benches::record::{self, Record, SESSIONS, Spelling};
use unskew_benches::subject;
use unskew_guest::Rules;

/// Calls that are counted, after as many that warm the buffers up.
const RUNS: usize = 10;

/// How much more may be counted than was accepted: compilers and allocators move a little.
const TOLERANCE: f64 = 1.03;

/// Something that is counted: it returns what it wrote, which is the same each time.
struct Case {
    name: String,
    run: Box<dyn FnMut() -> Vec<u8>>,
}

fn main() -> Result<()> {
    // cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => show(&count()?),
        ["gate"] => gate(),
        ["accept"] => accept(&count()?),
        ["smoke"] => run_all(""),
        ["run"] => run_all(""),
        ["run", name] => run_all(name),
        [..] => bail!("give nothing, `gate`, `accept`, or `run` and perhaps the name of a case"),
    }
}

fn cases() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for record in record::spelled(Spelling::Compact) {
        cases.push(translate(record));
        let Record { shape, text, .. } = record;
        let by_hand = move || hand::edit(shape, text).unwrap_or_default();
        cases.push(Case { name: format!("{}/translate/value", record.name()), run: Box::new(by_hand) });
    }
    let pretty = record::spelled(Spelling::Pretty).into_iter().filter(|record| record.size == "4k");
    cases.extend(pretty.map(translate));
    let (mut rules, right) = (subject::native(Shape::Session), SESSIONS[2].text);
    let run =
        move || rules.normalize(right, b"", 0).map(|answer| answer.found.to_le_bytes().to_vec()).unwrap_or_default();
    cases.push(Case { name: "session-4k/already-right/native".to_owned(), run: Box::new(run) });
    for (steps, stair, name) in [
        (1, Stair::LosesOnce, "stairs-1-loses-once"),
        (32, Stair::LosesOnce, "stairs-32-loses-once"),
        (32, Stair::LosesAlways, "stairs-32-loses-always"),
    ] {
        cases.extend(there_and_back(name, &packs::stairs(steps, stair))?);
    }
    cases.extend(there_and_back("carried-100", &packs::carried(100))?);
    let Trial { pack, .. } = packs::fifty(1);
    let load =
        move || Rules::load(pack.json()).map(|mut rules| vec![u8::from(rules.test().is_empty())]).unwrap_or_default();
    cases.push(Case { name: "pack-50/load-and-test/native".to_owned(), run: Box::new(load) });
    Ok(cases)
}

fn translate(record: Record) -> Case {
    let mut rules = subject::native(record.shape);
    let (from, to) = record::versions(record.shape);
    let run = move || rules.translate(record.text, b"", from.0, to.0).map(|answer| answer.record).unwrap_or_default();
    Case { name: format!("{}/translate/native", record.name()), run: Box::new(run) }
}

fn there_and_back(name: &str, trial: &Trial) -> Result<[Case; 2]> {
    let load = || Rules::load(trial.pack.json()).map_err(|problems| anyhow::anyhow!("{problems:?}"));
    let (mut up, mut down, record) = (load()?, load()?, trial.record.clone());
    let last = u16::try_from(up.manifest().versions.len() - 1)?;
    let there = up.translate(&record, b"", 0, last).map_err(|fault| anyhow::anyhow!("{fault:?}"))?;
    let run = move || up.translate(&record, b"", 0, last).map(|answer| answer.record).unwrap_or_default();
    let back =
        move || down.translate(&there.record, &there.carry, last, 0).map(|answer| answer.record).unwrap_or_default();
    Ok([
        Case { name: format!("{name}/there/native"), run: Box::new(run) },
        Case { name: format!("{name}/back/native"), run: Box::new(back) },
    ])
}

/// Warms each case up and runs `counted` on it, in order.
fn run_all(only: &str) -> Result<()> {
    for Case { name, mut run } in cases()?.into_iter().filter(|case| only.is_empty() || case.name == only) {
        let first = run();
        ensure!(!first.is_empty(), "{name}: it fails");
        for _ in 1..RUNS {
            ensure!(run() == first, "{name}: a warm run writes something else than the first one");
        }
        profile_ends_here();
        let results = counted(&mut run);
        profile_ends_here();
        ensure!(results.iter().all(|result| *result == first), "{name}: a counted run writes something else");
    }
    Ok(())
}

/// Callgrind writes what it has so far whenever this is called.
#[inline(never)]
fn profile_ends_here() {
    std::hint::black_box(());
}

#[inline(never)]
fn counted(run: &mut dyn FnMut() -> Vec<u8>) -> Vec<Vec<u8>> {
    let mut results = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        results.push(std::hint::black_box(run()));
    }
    results
}

/// What each case takes: the profile from the one mark to the other.
fn count() -> Result<Vec<(String, f64)>> {
    let folder = std::env::temp_dir().join(format!("unskew-bench-callgrind-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--dump-before=*profile_ends_here*"]);
    valgrind.arg(format!("--callgrind-out-file={}", folder.join("out").display()));
    let done = valgrind.arg(std::env::current_exe()?).arg("run").output();
    let done = done.context("valgrind can't be started: install the package `valgrind`")?;
    ensure!(done.status.success(), "valgrind failed:\n{}", String::from_utf8_lossy(&done.stderr));
    let names: Vec<String> = cases()?.into_iter().map(|case| case.name).collect();
    // A profile of what was before, and one of what is counted, and so on.
    let counts: Result<Vec<(String, f64)>> = (2..)
        .step_by(2)
        .zip(names)
        .map(|(at, name)| {
            let profile = fs::read_to_string(folder.join(format!("out.{at}")));
            let profile = profile.with_context(|| format!("callgrind wrote no profile of {name}"))?;
            let total =
                profile.lines().find_map(|line| line.strip_prefix("totals: ")).context("a profile has totals")?;
            Ok((name, total.trim().parse::<f64>()? / RUNS as f64))
        })
        .collect();
    fs::remove_dir_all(&folder)?;
    counts
}

fn show(counts: &[(String, f64)]) -> Result<()> {
    let mut ledger = Ledger::new("instructions", Machine::here());
    let mut grid = Grid::new(["counted", "instructions", "÷ value"]);
    for (name, count) in counts {
        ledger.note(name, "instructions", *count, "count", None);
        let value = name.strip_suffix("/native").map(|subject| format!("{subject}/value"));
        let value = counts.iter().find(|(name, _)| Some(name) == value.as_ref());
        let ratio = value.map_or(String::new(), |(_, value)| format!("{:.2}", count / value));
        grid.row([name.clone(), format!("{count:.0}"), ratio]);
    }
    println!("{grid}\nwritten to {}", ledger.write()?.display());
    Ok(())
}

fn accept(counts: &[(String, f64)]) -> Result<()> {
    let lines: String = ours(counts).map(|(name, count)| format!("{name},{count:.0}\n")).collect();
    fs::write(accepted(), format!("name,instructions\n{lines}"))?;
    println!("{} cases are accepted", ours(counts).count());
    Ok(())
}

/// Fails where one of ours takes more than was accepted. Where there is no valgrind there is no gate, but in CI.
fn gate() -> Result<()> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        ensure!(std::env::var_os("CI").is_none(), "there is no valgrind: run `tools/setup bench`");
        println!("the gate is skipped: there is no valgrind");
        return Ok(());
    }
    let accepted = fs::read_to_string(accepted())?;
    let accepted: Vec<(&str, f64)> = accepted
        .lines()
        .skip(1)
        .map(|line| line.split_once(',').and_then(|(name, count)| Some((name, count.parse().ok()?))))
        .collect::<Option<_>>()
        .context("gate.csv has a name and a count in each line")?;
    let counts = count()?;
    let (failed, table) = verdicts(&accepted, &counts);
    println!("{table}");
    ensure!(
        failed == 0,
        "{failed} cases take more instructions than were accepted, or aren't known: make them cheaper, or say why in the \
         commit that runs `make bench-accept`"
    );
    Ok(())
}

/// How many fail, and a row each.
fn verdicts(accepted: &[(&str, f64)], counts: &[(String, f64)]) -> (usize, Grid) {
    let mut grid = Grid::new(["counted", "instructions", "accepted", "ratio", ""]);
    let mut failed = 0;
    for (name, count) in ours(counts) {
        let before = accepted.iter().find(|(accepted, _)| accepted == name).map(|(_, count)| *count);
        let ratio = before.map(|before| count / before);
        let verdict = match ratio {
            Some(ratio) if ratio > TOLERANCE => "MORE",
            Some(ratio) if ratio < 2.0 - TOLERANCE => "less: accept it",
            Some(_) => "",
            None => "UNKNOWN",
        };
        failed += usize::from(verdict == "MORE" || verdict == "UNKNOWN");
        let before = before.map_or(String::new(), |before| format!("{before:.0}"));
        let ratio = ratio.map_or(String::new(), |ratio| format!("{ratio:.3}"));
        grid.row([name.clone(), format!("{count:.0}"), before, ratio, verdict.to_owned()]);
    }
    (failed, grid)
}

/// Without the peers, which are nobody's regression.
fn ours(counts: &[(String, f64)]) -> impl Iterator<Item = &(String, f64)> {
    counts.iter().filter(|(name, _)| name.ends_with("/native"))
}

fn accepted() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("record/gate.csv")
}
