//! How often each op met each situation: a law that never met an op says nothing about it.

use std::collections::BTreeMap;
use std::fmt;

use super::hold::{Court, Held, Way};
use crate::contract::{Change, Fidelity, Version};

/// The two ways through a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From the older version to the newer one.
    Up,
    /// From the newer version to the older one.
    Down,
}

/// What an op met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Situation {
    /// It ran and left the record as it was.
    Untouched,
    /// It changed something, and its inverse brings that back.
    Changed,
    /// It changed something that only the carry brings back, or nothing does.
    Carried,
    /// It gave back what the carry had kept.
    Restored,
    /// A server had edited what it wrote, and it did something else on the way home than it would have done.
    Edited,
    /// It put something where there was nothing.
    Absent,
}

/// One cell of the table: an op, a direction and a situation, with the number of records that met it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The op, as `step 1→2, op 3`.
    pub op: String,
    /// The direction in which it ran.
    pub direction: Direction,
    /// What it met.
    pub situation: Situation,
    /// How many records met it.
    pub hits: u64,
}

/// How many records were grown for an op.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tried {
    /// A cell that nobody met may still be met.
    Few,
    /// It isn't: what an op keeps without changing anything, `explain` doesn't show.
    Many,
}

/// The hits of all ops.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    cells: BTreeMap<(usize, Direction, Situation), u64>,
    labels: Vec<String>,
}

impl Situation {
    /// All of them.
    pub const ALL: [Situation; 6] = [
        Situation::Untouched,
        Situation::Changed,
        Situation::Carried,
        Situation::Restored,
        Situation::Edited,
        Situation::Absent,
    ];

    /// The word: `edited`.
    pub fn as_str(self) -> &'static str {
        match self {
            Situation::Untouched => "untouched",
            Situation::Changed => "changed",
            Situation::Carried => "carried",
            Situation::Restored => "restored",
            Situation::Edited => "edited",
            Situation::Absent => "absent",
        }
    }
}

impl Direction {
    /// The word: `up`.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Up => "up",
            Direction::Down => "down",
        }
    }

    fn of(from: Version, to: Version) -> Direction {
        if from < to { Direction::Up } else { Direction::Down }
    }

    fn opposite(self) -> Direction {
        match self {
            Direction::Up => Direction::Down,
            Direction::Down => Direction::Up,
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}: {}", self.op, self.direction.as_str(), self.situation.as_str(), self.hits)
    }
}

impl Coverage {
    /// Every cell that a record can meet, as far as can be told: each op acts in one way or leaves things alone, in both
    /// directions; what a verdict says to be kept can be carried, and then restored and edited on the way back; and
    /// whatever some record met.
    pub fn cells(&self) -> impl Iterator<Item = Cell> {
        self.cells.iter().filter_map(|((op, direction, situation), hits)| {
            let op = self.labels.get(*op)?.clone();
            Some(Cell { op, direction: *direction, situation: *situation, hits: *hits })
        })
    }

    /// The cells that fewer records met than `enough`.
    pub fn rare(&self, enough: u64) -> Vec<Cell> {
        self.cells().filter(|cell| cell.hits < enough).collect()
    }

    /// Whether fewer records than `enough` met this op in some way that is worth another try.
    pub(crate) fn lacks(&self, op: usize, enough: u64, tried: Tried) -> bool {
        self.cells.iter().any(|((of, _, situation), hits)| {
            let hopeless = (*situation, *hits, tried) == (Situation::Carried, 0, Tried::Many);
            *of == op && *hits < enough && !hopeless
        })
    }

    pub(crate) fn new(court: &Court<'_>) -> Coverage {
        let mut coverage = Coverage::default();
        for (number, op) in court.words.ops.iter().enumerate() {
            coverage.labels.push(op.label.clone());
            if op.scope {
                continue;
            }
            let [lower, upper] = [op.lower, op.upper].map(|index| Version(u16::try_from(index).unwrap_or(u16::MAX)));
            for (from, to) in [(lower, upper), (upper, lower)] {
                let verdict = court.subject.judge(from, to);
                if verdict.fidelity == Fidelity::None {
                    continue;
                }
                let direction = Direction::of(from, to);
                coverage.add(number, direction, Situation::Untouched, 0);
                if verdict.reason.contains(&format!("{}:", op.label)) {
                    coverage.add(number, direction, Situation::Carried, 0);
                }
            }
        }
        coverage
    }

    /// Counts what the ops met on one way, home, and home after edits.
    pub(crate) fn count(&mut self, court: &Court<'_>, record: &[u8], held: &Held, way: Way) {
        let Way { from, to, .. } = way;
        let out = Direction::of(from, to);
        let there = court.changes(record, b"", from, to);
        let home = court.changes(&held.there.record, &held.there.carry, to, from);
        let edited: Vec<Vec<Change>> =
            held.edits.iter().map(|edited| court.changes(edited.as_bytes(), &held.there.carry, to, from)).collect();
        for (number, op) in court.words.ops.iter().enumerate() {
            let on_the_way = from.min(to).index() <= op.lower && op.upper <= from.max(to).index();
            if op.scope || !on_the_way {
                continue;
            }
            let label = &op.label;
            for (changes, direction) in [(&there, out), (&home, out.opposite())] {
                let mut acted = false;
                for change in of(changes, label) {
                    acted = true;
                    let situation = match change.outcome.as_str() {
                        "restored" => Situation::Restored,
                        "carried" | "lost" => Situation::Carried,
                        _ => Situation::Changed,
                    };
                    self.add(number, direction, situation, 1);
                    if change.before.is_none() {
                        self.add(number, direction, Situation::Absent, 1);
                    }
                }
                self.add(number, direction, Situation::Untouched, u64::from(!acted));
            }
            for edited in &edited {
                if !of(edited, label).eq(of(&home, label)) {
                    self.add(number, out.opposite(), Situation::Edited, 1);
                }
            }
        }
    }

    fn add(&mut self, op: usize, direction: Direction, situation: Situation, hits: u64) {
        *self.cells.entry((op, direction, situation)).or_default() += hits;
    }
}

/// What an op did.
fn of<'c>(changes: &'c [Change], label: &'c str) -> impl Iterator<Item = &'c Change> {
    changes.iter().filter(move |change| change.op.strip_prefix(label).is_some_and(|rest| rest.starts_with(':')))
}
