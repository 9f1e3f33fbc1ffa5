//! How the cost grows with one thing while everything else stays as it is: plots in docs/plots, and the laws held.
//!
//! `cargo bench --bench scaling [-- <seconds per point> | smoke]`; the figures also go to `benches/record/`. A curve whose
//! law is broken is printed as such; nothing fails, since a busy machine bends curves.

use std::sync::Barrier;
use std::time::Instant;

use anyhow::{Context, Result};
use unskew_benches::contest::{Contest, Effort, Run, Timing, quantile, timed};
use unskew_benches::grid::{Grid, time};
use unskew_benches::ledger::Ledger;
use unskew_benches::machine::Machine;
use unskew_benches::packs::{self, Stair, Trial};
use unskew_benches::plot::{Axis, Curve, Plot};
use unskew_benches::subject::Way;

/// What is varied, and what the cost is to do.
struct Study {
    file: &'static str,
    title: &'static str,
    x: Axis,
    law: Law,
    series: Vec<Series>,
}

/// One curve: a name and what is measured at each point.
type Series = (&'static str, Direction, fn(usize) -> Trial);

/// Which way is measured.
#[derive(Clone, Copy)]
enum Direction {
    There,
    Back,
}

/// What the last points of each curve are held against.
#[derive(Clone, Copy)]
enum Law {
    /// The cost of the last point is at most so many times that of the first one.
    Flat(f64),
    /// From the middle on, the cost grows as x does, give or take a quarter.
    Linear,
}

fn main() -> Result<()> {
    let effort = Effort::said(0.25);
    let machine = Machine::here();
    println!("{machine}");
    let mut ledger = Ledger::new("scaling", machine);
    let mut laws = Grid::new(["plot", "curve", "first", "last", "law", ""]);
    for study in studies() {
        let plot = study.measure(effort, &mut ledger, &mut laws)?;
        if effort != Effort::Smoke {
            println!("written to {}", plot.write(study.file)?.display());
        }
    }
    let plot = threads(effort, &mut ledger, &mut laws)?;
    if effort != Effort::Smoke {
        println!("written to {}\n\n{laws}", plot.write("threads")?.display());
        println!("written to {}", ledger.write()?.display());
    }
    Ok(())
}

fn studies() -> [Study; 6] {
    fn there(name: &'static str, trial: fn(usize) -> Trial) -> Series {
        (name, Direction::There, trial)
    }
    [
        Study {
            file: "bytes",
            title: "One rename on a record of this size",
            x: Axis::log("bytes of the record", &[256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20]),
            law: Law::Linear,
            series: vec![there("translate", packs::bytes)],
        },
        Study {
            file: "ops",
            title: "Renames of one step on a record of 256 members",
            x: Axis::log("ops", &[1, 2, 4, 8, 16, 32, 64, 128, 256]),
            law: Law::Flat(2.0),
            series: vec![there("translate", packs::ops)],
        },
        Study {
            file: "steps",
            title: "Steps between the versions of a record of 4 KiB, each of which edits the same two members",
            x: Axis::log("steps", &[1, 2, 4, 8, 16, 32, 64]),
            law: Law::Flat(1.25),
            series: vec![
                there("a rename each", |steps| packs::stairs(steps, Stair::Rename)),
                there("something lost once", |steps| packs::stairs(steps, Stair::LosesOnce)),
                ("lost once: the way back", Direction::Back, |steps| packs::stairs(steps, Stair::LosesOnce)),
                there("something lost at each", |steps| packs::stairs(steps, Stair::LosesAlways)),
                ("lost at each: the way back", Direction::Back, |steps| packs::stairs(steps, Stair::LosesAlways)),
            ],
        },
        Study {
            file: "elements",
            title: "Three ops on each element of an array",
            x: Axis::log("elements", &[1, 10, 100, 1000, 10_000]),
            law: Law::Linear,
            series: vec![there("there", packs::elements), ("back", Direction::Back, packs::elements)],
        },
        Study {
            file: "depth",
            title: "A rename at the bottom of objects in one another, in a record of 4 KiB",
            x: Axis::log("levels", &[1, 2, 4, 8, 16, 32, 60]),
            law: Law::Flat(1.25),
            series: vec![there("translate", packs::depth)],
        },
        Study {
            file: "carry",
            title: "Elements of 1,000 that leave a value in the carry",
            x: Axis::log("values in the carry", &[1, 3, 10, 30, 100, 300, 1000]),
            law: Law::Linear,
            series: vec![there("there", packs::carried), ("back", Direction::Back, packs::carried)],
        },
    ]
}

impl Study {
    fn measure(&self, effort: Effort, ledger: &mut Ledger, laws: &mut Grid) -> Result<Plot> {
        let mut curves: Vec<Curve> = self.series.iter().map(|(name, ..)| Curve::new(name)).collect();
        for x in self.x.marks() {
            let mut contest = Contest::new(format!("{}-{x}/translate", self.file));
            for (at, (name, direction, trial)) in self.series.iter().enumerate() {
                let way = Way::new(&trial(*x)).with_context(|| format!("{}, {name}, {x}", self.file))?;
                let run: Run<'_> = match direction {
                    Direction::There => timed(way.there()),
                    Direction::Back => timed(way.back()),
                };
                contest = contest.variant(&format!("{at}-{name}"), run);
            }
            for (curve, Timing { name, p10, .. }) in curves.iter_mut().zip(contest.run(effort)?) {
                ledger.note(&name, "p10", p10, "ns", None);
                curve.point(*x as f64, p10);
            }
        }
        for curve in &curves {
            self.law.hold(self.file, curve, laws);
        }
        Ok(Plot::new(self.title, self.x.clone(), curves))
    }
}

impl Law {
    fn hold(self, file: &str, curve: &Curve, laws: &mut Grid) {
        let [first, middle, last] =
            [0, curve.points().len() / 2, curve.points().len() - 1].map(|at| curve.points()[at]);
        let (law, held) = match self {
            Law::Flat(times) => {
                (format!("flat: last ÷ first ≤ {times}, is {:.2}", last.1 / first.1), last.1 <= first.1 * times)
            }
            Law::Linear => {
                let growth = (last.1 / middle.1) / (last.0 / middle.0);
                (format!("linear: growth ÷ growth of x, from the middle on, ≤ 1.25, is {growth:.2}"), growth <= 1.25)
            }
        };
        let verdict = if held { "holds" } else { "BROKEN" };
        laws.row([file, curve.name(), &time(first.1), &time(last.1), &law, verdict]);
    }
}

/// Translations a second by one thread and by two, in turns; each thread with records of its own.
fn threads(effort: Effort, ledger: &mut Ledger, laws: &mut Grid) -> Result<Plot> {
    let ways = [("4k", packs::bytes(4 << 10)), ("64k", packs::bytes(60 << 10))];
    let axis = Axis::linear("threads", &[1, 2]);
    let mut curves = Vec::new();
    for (name, trial) in ways {
        let way = Way::new(&trial)?;
        let share = |threads: usize| -> f64 {
            let runs = if effort == Effort::Smoke { 1 } else { (1 << 24) / way.record().len() };
            let start = Barrier::new(threads);
            let nanoseconds = std::thread::scope(|scope| {
                let one = || {
                    let mut there = way.there();
                    start.wait();
                    let clock = Instant::now();
                    (0..runs).for_each(|_| there());
                    clock.elapsed().as_secs_f64() * 1e9 / runs as f64
                };
                let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap_or(f64::NAN)).fold(0.0, f64::max)
            });
            nanoseconds / threads as f64
        };
        let turns = if effort == Effort::Smoke { 1 } else { 15 };
        let pairs: Vec<[f64; 2]> = (0..turns).map(|_| [share(1), share(2)]).collect();
        let mut curve = Curve::new(name);
        for (threads, at) in [(1.0, 0), (2.0, 1)] {
            let p10 = quantile(&pairs.iter().map(|pair| pair[at]).collect::<Vec<_>>(), 0.1);
            ledger.note(&format!("threads-{threads}/translate/{name}"), "p10", p10, "ns", None);
            curve.point(threads, p10);
        }
        let ratio = curve.points()[1].1 / curve.points()[0].1;
        let [one, two] = [0, 1].map(|at| time(curve.points()[at].1));
        let verdict = if ratio <= 0.6 { "holds" } else { "BROKEN" };
        laws.row([
            "threads",
            name,
            &one,
            &two,
            &format!("two do twice as much: ≤ 0.6 of the time, is {ratio:.2}"),
            verdict,
        ]);
        curves.push(curve);
    }
    Ok(Plot::new("Time a translation, with one thread and with two", axis, curves))
}
