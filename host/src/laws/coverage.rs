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

/// The hits of all ops.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    cells: BTreeMap<Key, u64>,
    labels: Vec<String>,
    /// The first records that met a cell, with their ways: what is like them meets it, too.
    first: BTreeMap<Key, Vec<(String, Version, Version)>>,
}

/// The number of an op, a direction and a situation.
pub(crate) type Key = (usize, Direction, Situation);

/// How many records are kept that met a cell first.
const FIRST: usize = 4;

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

    /// The cells that fewer records met than `enough`.
    pub(crate) fn lacking(&self, enough: u64) -> Vec<Key> {
        self.cells.iter().filter(|(_, hits)| **hits < enough).map(|(key, _)| *key).collect()
    }

    /// How many records met a cell.
    pub(crate) fn hits(&self, key: Key) -> u64 {
        self.cells.get(&key).copied().unwrap_or_default()
    }

    /// The first records that met a cell.
    pub(crate) fn first(&self, key: Key) -> &[(String, Version, Version)] {
        self.first.get(&key).map_or(&[], Vec::as_slice)
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
                coverage.cells.insert((number, direction, Situation::Untouched), 0);
                if verdict.reason.contains(&format!("{}:", op.label)) {
                    coverage.cells.insert((number, direction, Situation::Carried), 0);
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
            let mut met = Vec::new();
            for (changes, direction) in [(&there, out), (&home, out.opposite())] {
                let before = met.len();
                for change in of(changes, label) {
                    let situation = match change.outcome.as_str() {
                        "restored" => Situation::Restored,
                        "carried" | "lost" => Situation::Carried,
                        _ => Situation::Changed,
                    };
                    met.push((number, direction, situation));
                    if change.before.is_none() {
                        met.push((number, direction, Situation::Absent));
                    }
                }
                if met.len() == before {
                    met.push((number, direction, Situation::Untouched));
                }
            }
            if edited.iter().any(|edited| !of(edited, label).eq(of(&home, label))) {
                met.push((number, out.opposite(), Situation::Edited));
            }
            met.sort_unstable();
            met.dedup();
            for key in met {
                *self.cells.entry(key).or_default() += 1;
                let first = self.first.entry(key).or_default();
                if first.len() < FIRST {
                    first.push((String::from_utf8_lossy(record).into_owned(), from, to));
                }
            }
        }
    }
}

/// What an op did.
fn of<'c>(changes: &'c [Change], label: &'c str) -> impl Iterator<Item = &'c Change> {
    changes.iter().filter(move |change| change.op.strip_prefix(label).is_some_and(|rest| rest.starts_with(':')))
}
