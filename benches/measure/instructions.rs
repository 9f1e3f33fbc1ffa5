//! Instructions of the native core, counted by callgrind: the same on every run, however busy the machine is.
//!
//! `cargo bench --bench instructions` runs itself under valgrind for each record. Only `counted` is counted; the
//! profile of one record, function by function: `valgrind --tool=callgrind --toggle-collect='*counted*' <this> 4k`,
//! then `callgrind_annotate`.

use std::hint::black_box;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use unskew_benches::hand;
use unskew_benches::ledger::Ledger;
use unskew_benches::machine::Machine;
use unskew_benches::record::{RECORDS, Record};
use unskew_benches::subject;
use unskew_guest::{Rules, Translation};

/// Calls that are counted, after as many that warm the buffers up.
const RUNS: u64 = 10;

/// What is counted.
const VARIANTS: [&str; 2] = ["native", "value"];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    match arguments.as_slice() {
        [] => count_all(),
        [variant, size] => {
            let record = RECORDS.into_iter().find(|record| record.size == size).context("no record of this size")?;
            run(variant, record)
        }
        [..] => bail!("give nothing, or a variant (native, value) and a size (0.4k, 0.7k, 4k, 64k)"),
    }
}

fn count_all() -> Result<()> {
    let mut ledger = Ledger::new("instructions", Machine::here());
    println!("| {:<24} | {:>12} | {:>8} |", "translate", "instructions", "a byte");
    println!("|{:-<26}|{:->14}|{:->10}|", "", "", "");
    for record in RECORDS {
        for variant in VARIANTS {
            let count = count(variant, record)? as f64 / RUNS as f64;
            let name = format!("translate/{}/{variant}", record.size);
            println!("| {name:<24} | {count:>12.0} | {:>8.2} |", count / record.text.len() as f64);
            ledger.note(&name, "instructions", count, "count", None);
        }
    }
    println!("\nwritten to {}", ledger.write()?.display());
    Ok(())
}

fn count(variant: &str, record: Record) -> Result<u64> {
    let this = std::env::current_exe()?;
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*counted*"]);
    let done = valgrind.arg(this).args([variant, record.size]).output();
    let done = done.context("valgrind can't be started: install the package `valgrind`")?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "valgrind failed:\n{said}");
    let collected =
        said.lines().find_map(|line| line.split_once("Collected :")).context("valgrind collected nothing")?;
    Ok(collected.1.trim().parse()?)
}

fn run(variant: &str, record: Record) -> Result<()> {
    let mut rules = subject::native();
    let expected = rules.translate(record.text, b"", 0, 1);
    let by_hand = hand::upgrade(record.text)?;
    for _ in 0..RUNS {
        ensure!(rules.translate(record.text, b"", 0, 1) == expected, "a warm core answers as a fresh one");
    }
    for _ in 0..RUNS {
        match variant {
            "native" => ensure!(counted_native(&mut rules, record.text) == expected.as_ref().ok().cloned()),
            "value" => ensure!(counted_value(record.text)? == by_hand),
            other => bail!("no variant {other:?}"),
        }
    }
    Ok(())
}

#[inline(never)]
fn counted_native(rules: &mut Rules, record: &[u8]) -> Option<Translation> {
    black_box(rules.translate(black_box(record), b"", 0, 1).ok())
}

#[inline(never)]
fn counted_value(record: &[u8]) -> Result<Vec<u8>> {
    Ok(black_box(hand::upgrade(black_box(record))?))
}
