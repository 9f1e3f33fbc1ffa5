//! How soon a gateway answers: cold start, a swap of the pack, a swap of the guest; and what an instance keeps.
//!
//! `cargo bench --bench start [-- smoke] [<rounds>]`. A cold start is a process of its own, from its first instruction to
//! the first translated record. Everything is in CPU time too, since a compilation has threads of its own.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use unskew::{Guest, Pack, Runtime};
use unskew_benches::contest::quantile;
use unskew_benches::grid::{Grid, time};
use unskew_benches::hand::Shape;
use unskew_benches::ledger::Ledger;
use unskew_benches::machine::Machine;
use unskew_benches::record::{self, SESSIONS};

/// Figures of one thing: wall and CPU nanoseconds of each round.
type Rounds = Vec<[f64; 2]>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let said = |word: &str| arguments.iter().any(|argument| argument == word);
    if said("first-answer") {
        return first_answer();
    }
    let rounds =
        if said("smoke") { 1 } else { arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(10) };
    let machine = Machine::here();
    println!("{machine}\n");
    let mut ledger = Ledger::new("start", machine);
    let mut grid = Grid::new(["what", "wall p10", "wall median", "CPU p10", "CPU median"]);
    let guest = guest_swaps(rounds)?;
    for (name, figures) in [
        ("process/cold-start/first-answer", (0..rounds).map(|_| cold_start()).collect::<Result<Rounds>>()?),
        ("guest/swap/never-compiled", guest.compiled),
        ("guest/swap/known", guest.known),
    ] {
        let of = |at: usize, share| quantile(&figures.iter().map(|round| round[at]).collect::<Vec<_>>(), share);
        let cells = [(0, 0.1), (0, 0.5), (1, 0.1), (1, 0.5)].map(|(at, share)| of(at, share));
        for (statistic, value) in ["wall p10", "wall median", "cpu p10", "cpu median"].into_iter().zip(cells) {
            ledger.note(name, statistic, value, "ns", None);
        }
        grid.row([name.to_owned()].into_iter().chain(cells.map(time)));
    }
    println!("{grid}");
    if !said("smoke") {
        println!("written to {}", ledger.write()?.display());
    }
    Ok(())
}

/// What a fresh process does.
fn first_answer() -> Result<()> {
    let runtime = Runtime::new(&record::pack(Shape::Session))?;
    let answer = runtime.translate(SESSIONS[1].text, b"", "1", "2")?;
    ensure!(answer.record.ends_with(br#""schema":2}"#), "it is of version 2");
    println!("{}", cpu());
    Ok(())
}

fn cold_start() -> Result<[f64; 2]> {
    let start = Instant::now();
    let done = Command::new(std::env::current_exe()?).arg("first-answer").stderr(Stdio::inherit()).output()?;
    let wall = start.elapsed().as_secs_f64() * 1e9;
    ensure!(done.status.success(), "a fresh process has no answer");
    Ok([wall, String::from_utf8(done.stdout)?.trim().parse()?])
}

struct GuestSwaps {
    compiled: Rounds,
    known: Rounds,
}

/// Guests that differ from the standard one in a section that nobody reads: each is compiled, and then swapped in again
/// while it is still known.
fn guest_swaps(rounds: usize) -> Result<GuestSwaps> {
    let runtime = Runtime::new(&record::pack(Shape::Session))?;
    let standard = Guest::standard();
    let mut revision = 10_000;
    let mut swap = |wasm: Vec<u8>| -> Result<[f64; 2]> {
        revision += 1;
        let pack = Pack::from_toml("opentok.toml", &record::revised_text(revision))?;
        let (start, used) = (Instant::now(), cpu());
        runtime.swap_guest(Guest::new("another", wasm), &pack)?;
        let answer = runtime.translate(SESSIONS[1].text, b"", "1", "2")?;
        let figures = [start.elapsed().as_secs_f64() * 1e9, cpu() - used];
        let bitrate = format!("\"bitrate\":{revision}");
        ensure!(answer.record.windows(bitrate.len()).any(|window| window == bitrate.as_bytes()), "another one answers");
        Ok(figures)
    };
    let (mut compiled, mut known) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let mut wasm = standard.wasm().to_vec();
        // A custom section: its id, its length, the length of its name, and its name.
        let name = format!("round {round:02}");
        wasm.extend_from_slice(&[0, u8::try_from(name.len() + 1)?, u8::try_from(name.len())?]);
        wasm.extend_from_slice(name.as_bytes());
        compiled.push(swap(wasm.clone()).context("a guest that nobody has compiled")?);
        known.push(swap(wasm).context("the same guest again")?);
    }
    Ok(GuestSwaps { compiled, known })
}

/// CPU time of this process so far, in nanoseconds; of threads that have ended too.
fn cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}
