//! The figures of docs/performance.md: all variants in turns, 10th percentile, median and ratios beside the goals.
//!
//! `cargo bench --bench table [-- <seconds per contest> | smoke] [languages]`; the figures also go to `benches/record/`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use unskew_benches::contest::{Contest, Effort, Ratio, Timing};
use unskew_benches::grid::{Grid, time};
use unskew_benches::hand::Shape;
use unskew_benches::ledger::Ledger;
use unskew_benches::machine::Machine;
use unskew_benches::packs::{self, Stair};
use unskew_benches::peers::Peers;
use unskew_benches::record::{self, Record, SESSIONS, Spelling};
use unskew_benches::subject::{self, Routing, Sandboxes, Way, With};

/// A figure held against a goal.
struct Line {
    what: String,
    measured: f64,
    /// The other statistic, where there is one.
    median: Option<f64>,
    unit: &'static str,
    goal: Option<f64>,
}

struct Table {
    ledger: Ledger,
    effort: Effort,
    with: With,
    lines: Vec<Line>,
}

fn main() -> Result<()> {
    let effort = Effort::said(3.0);
    let machine = Machine::here();
    println!("{machine}");
    let languages = std::env::args().any(|argument| argument == "languages");
    let with = if languages { With::Languages } else { With::Libraries };
    let peers = peers(with)?;
    let name = if languages { "peers" } else { "table" };
    let mut table = Table { ledger: Ledger::new(name, machine), effort, with, lines: Vec::new() };

    let sandboxes = Sandboxes::new()?;
    table.records("the same edit, 10th percentiles", effort, SESSIONS.into(), &sandboxes, &peers)?;
    let others = record::spelled(Spelling::Compact).into_iter().filter(|record| record.shape != Shape::Session);
    table.records("other shapes", effort.share(0.4), others.collect(), &sandboxes, &peers)?;
    if !languages {
        let spellings = [Spelling::Pretty, Spelling::Ascii, Spelling::PrettyAscii];
        let others = spellings.into_iter().flat_map(record::spelled);
        table.records("other spellings", effort.share(0.15), others.collect(), &sandboxes, &peers)?;
        table.rest(&sandboxes)?;
    }
    if effort != Effort::Smoke {
        table.goals();
        println!("\nwritten to {}", table.ledger.write()?.display());
    }
    Ok(())
}

/// The peers in processes of their own; `make bench` and `make bench-peers` build them.
fn peers(with: With) -> Result<Vec<Peers>> {
    let this = std::env::current_exe()?;
    let program = this.ancestors().nth(2).context("a bench stands two folders deep")?.join("unskew-peers");
    let started = Peers::start(&program, &[]);
    let started = started
        .with_context(|| format!("{}: build it by `cargo build --release` in benches/peers", program.display()))?;
    let mut all = vec![started];
    let jsonata: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/jsonata");
    if with == With::Languages {
        match Peers::start("node", &[jsonata.join("peer.mjs").as_os_str() as &OsStr]) {
            Ok(peers) => all.push(peers),
            Err(error) => {
                println!("jsonata is left out: {error:#}; it needs node, and `npm ci` in {}", jsonata.display())
            }
        }
    }
    Ok(all)
}

impl Table {
    /// The same edit by everybody, a row a record.
    fn records(
        &mut self,
        title: &str,
        effort: Effort,
        records: Vec<Record>,
        sandboxes: &Sandboxes,
        peers: &[Peers],
    ) -> Result<()> {
        let mut grid: Option<Grid> = None;
        for record in records {
            let timings = self.contest(subject::translate(sandboxes, record, peers, self.with)?, effort)?;
            let grid = grid.get_or_insert_with(|| {
                let variants = timings.iter().map(Timing::variant);
                Grid::new([title, "bytes"].into_iter().chain(variants).chain(["sandbox ÷ value"]))
            });
            let sandbox = variant(&timings, "sandbox")?;
            let Ratio { p10, .. } = sandbox.over(variant(&timings, "value")?);
            let times = timings.iter().map(|timing| time(timing.p10));
            let cells = [record.name(), record.text.len().to_string()].into_iter().chain(times);
            grid.row(cells.chain([format!("{p10:.2}")]));
            let goal = |goals: [f64; 4]| {
                let at = SESSIONS.iter().position(|session| session.size == record.size)?;
                (record.shape == Shape::Session && record.spelling == Spelling::Compact).then(|| goals[at])
            };
            self.ratio(sandbox, variant(&timings, "value")?, goal([0.24, 0.20, 0.12, 0.12]));
            let at_4k = |goal: f64| (record.name() == "session-4k").then_some(goal);
            for (other, goal) in [("sonic-copy", at_4k(0.6)), ("native", at_4k(1.5))] {
                if let Ok(other) = variant(&timings, other) {
                    self.ratio(sandbox, other, goal);
                }
            }
        }
        if let Some(grid) = grid {
            println!("\n{grid}");
        }
        Ok(())
    }

    /// All that is no edit of a record.
    fn rest(&mut self, sandboxes: &Sandboxes) -> Result<()> {
        let small = self.effort.share(0.5);
        let mut grid = Grid::new(["what", "p10", "median"]);
        let mut show = |timings: &[Timing]| {
            timings
                .iter()
                .for_each(|Timing { name, p10, median, .. }| grid.row([name.clone(), time(*p10), time(*median)]));
        };
        let timings = self.contest(subject::detect_empty(sandboxes), small)?;
        show(&timings);
        let timings = self.contest(subject::copy_string(sandboxes), small)?;
        self.goal(variant(&timings, "sandbox")?, "ns", Some(350.0));
        show(&timings);
        show(&self.contest(subject::already_right(sandboxes, SESSIONS[2]), small)?);
        for (servers, name, goal) in [(16, "fleet-16", 60.0), (1000, "fleet-1000", 100.0)] {
            let timings = self.contest(Routing::new(sandboxes, servers).contest(name), small)?;
            self.goal(variant(&timings, "decide")?, "ns", Some(goal));
            show(&timings);
        }
        for (stair, name) in [(Stair::LosesOnce, "loses-once"), (Stair::LosesAlways, "loses-always")] {
            for (way, timings) in self.stairs(stair, name)? {
                self.ratio(variant(&timings, "32")?, variant(&timings, "1")?, Some(1.25));
                show(&timings);
                if !way.is_empty() {
                    println!("{way}");
                }
            }
        }
        for samples in [0, 100] {
            let timings = self.contest(subject::push(samples)?, small)?;
            self.goal(variant(&timings, "to-first-answer")?, "ms", Some(10.0));
            show(&timings);
        }
        self.memory("memory/warm-instance/all-pairs-64k", subject::warm_memory()?, 1024.0);
        println!("{grid}");
        Ok(())
    }

    /// 32 steps beside one, there and back.
    fn stairs(&mut self, stair: Stair, name: &str) -> Result<Vec<(String, Vec<Timing>)>> {
        let [one, many] = [1, 32].map(|steps| Way::new(&packs::stairs(steps, stair)));
        let (one, many) = (one?, many?);
        let note = format!(
            "{name}: the carry has {} and {} bytes after 1 and 32 steps",
            one.carry().len(),
            many.carry().len()
        );
        let there = Contest::new(format!("stairs-{name}/there"))
            .variant("1", unskew_benches::contest::timed(one.there()))
            .variant("32", unskew_benches::contest::timed(many.there()));
        let back = Contest::new(format!("stairs-{name}/back"))
            .variant("1", unskew_benches::contest::timed(one.back()))
            .variant("32", unskew_benches::contest::timed(many.back()));
        let small = self.effort.share(0.5);
        Ok(vec![(note, self.contest(there, small)?), (String::new(), self.contest(back, small)?)])
    }

    fn contest(&mut self, contest: Contest<'_>, effort: Effort) -> Result<Vec<Timing>> {
        let timings = contest.run(effort)?;
        for Timing { name, p10, median, .. } in &timings {
            self.ledger.note(name, "p10", *p10, "ns", None);
            self.ledger.note(name, "median", *median, "ns", None);
        }
        Ok(timings)
    }

    fn ratio(&mut self, one: &Timing, other: &Timing, goal: Option<f64>) {
        let Ratio { p10, median } = one.over(other);
        let what = format!("{} ÷ {}", one.name, other.variant());
        self.ledger.note(&what, "p10", p10, "ratio", goal);
        self.ledger.note(&what, "median", median, "ratio", goal);
        if goal.is_some() {
            self.lines.push(Line { what, measured: p10, median: Some(median), unit: "", goal });
        }
    }

    fn goal(&mut self, timing: &Timing, unit: &'static str, goal: Option<f64>) {
        let scale = if unit == "ms" { 1e-6 } else { 1.0 };
        let median = Some(timing.median * scale);
        self.lines.push(Line { what: timing.name.clone(), measured: timing.p10 * scale, median, unit, goal });
    }

    fn memory(&mut self, name: &str, bytes: usize, goal: f64) {
        let kib = bytes as f64 / 1024.0;
        self.ledger.note(name, "size", kib, "KiB", Some(goal));
        self.lines.push(Line { what: name.to_owned(), measured: kib, median: None, unit: "KiB", goal: Some(goal) });
    }

    /// What misses its goal by the 10th percentile misses it.
    fn goals(&self) {
        let mut grid = Grid::new(["goal", "p10", "median", "goal", ""]);
        for Line { what, measured, median, unit, goal } in &self.lines {
            let figure = |value: f64| match *unit {
                "" => format!("{value:.2}"),
                unit => format!("{value:.1} {unit}"),
            };
            let verdict = match goal {
                Some(goal) if measured <= goal => "met",
                Some(_) => "MISSED",
                None => "",
            };
            let median = median.map_or(String::new(), figure);
            let goal = goal.map_or(String::new(), |goal| format!("≤ {}", figure(goal)));
            grid.row([what.clone(), figure(*measured), median, goal, verdict.to_owned()]);
        }
        println!("{grid}");
    }
}

fn variant<'a>(timings: &'a [Timing], name: &str) -> Result<&'a Timing> {
    timings.iter().find(|timing| timing.variant() == name).with_context(|| format!("nobody is called {name:?}"))
}
