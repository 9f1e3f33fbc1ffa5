//! The instruction set: what each op does in both directions, and what a direction can lose.
//!
//! There are four kinds. A *relink* puts a member elsewhere and never looks at its value. An *edit* is a function of
//! one member's text (or absence), together with its inverse. A *tuple* is such a function of several members at once,
//! and a *spread* one of a member and many. `in` and `embedded` scope other ops. A new op that works on one value is a
//! variant of [`Edit`], one that works on several a variant of [`Relation`]; the compiler names the places that must
//! learn it. How each op is spelled stands in `op/read.rs`, and what people are told about it in `op/reference.rs`.

mod condition;
mod convert;
mod edit;
mod flags;
mod key_by;
mod map;
mod read;
mod reference;
mod split;
mod table;
mod tuple;
mod wrap;

use crate::json::Kind;
use crate::path::{Path, Seg};
use crate::rules::FaultKind;

pub(crate) use condition::{Condition, Test};
pub(crate) use edit::{Edit, Put, Recalled};
pub use reference::{OPS, Reference};
pub(crate) use tuple::{Recall, Relation, State, Tuple};

/// The two ways to run a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the older version to the newer one.
    Up,
    /// From the newer version to the older one.
    Down,
}

impl Direction {
    /// What this direction starts from, and what it leads to.
    pub(crate) fn sides<'s, T: ?Sized>(self, lower: &'s T, upper: &'s T) -> (&'s T, &'s T) {
        match self {
            Direction::Up => (lower, upper),
            Direction::Down => (upper, lower),
        }
    }

    pub(crate) fn opposite(self) -> Direction {
        match self {
            Direction::Up => Direction::Down,
            Direction::Down => Direction::Up,
        }
    }
}

/// An op with its conditions, as a step lists it.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// The op's number in its step, `3` or, within an `in`, `3.1`.
    pub(crate) label: String,
    /// The op's name: `rename`.
    pub(crate) name: &'static str,
    pub(crate) op: Op,
    /// Whether the op is done, upwards.
    pub(crate) when: Option<Condition>,
    /// Whether the op is undone where nothing remembers; as `when` if there is none.
    pub(crate) when_upper: Option<Condition>,
    /// What the carry calls this op.
    pub(crate) digest: u64,
}

/// What becomes of a parent whose last member an op takes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Emptied {
    /// It goes, too: the op's other direction made it.
    Goes,
    /// It stays, empty.
    Stays,
}

/// What an op does.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// `rename`, `move`: the member at `lower` is the member at `upper`.
    Relink { lower: Path, upper: Path, style: Style, taken: Taken },
    /// The ops on one member: the text at a place is written anew.
    Edit { at: Path, edit: Edit },
    /// `copy`, `table`, `flags`, `split`: the texts at some places are written from those at others.
    Tuple(Tuple),
    /// `{ spread = "/codec", to = "/tracks/*/codec" }`: a member goes into every element of a list.
    Spread { from: Path, to: Path, differing: Differing, taken: Taken },
    /// `{ in = "/auth", ops = [ … ] }`: ops below a place.
    In { at: Path, rules: Vec<Rule> },
    /// `{ embedded = "/payload", ops = [ … ] }`: ops in the JSON document that a string holds.
    Embedded { at: Path, rules: Vec<Rule> },
}

/// Where a relinked member goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// `{ rename = "/a/b", to = "c" }`: it stays where it is.
    Rename,
    /// `{ move = "/a/b", to = "/c" }`: it goes to the end of its new parent.
    Move,
}

/// What an op does about a member that stands where it wants to put one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The record is refused.
    Refused,
    /// `overwrite = true`: the member goes, and is kept.
    Overwritten,
}

/// What a `spread` does on the way back about elements that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Differing {
    /// They are kept.
    Kept,
    /// `back = "same"`: the record is refused.
    Refused,
}

/// Why an op can't be done on a value. Never holds the value itself.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) kind: FaultKind,
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl Refusal {
    pub(crate) fn wrong_type(expected: &str, text: &[u8]) -> Refusal {
        let found = Kind::of(text).name().to_owned();
        Refusal { kind: FaultKind::WrongType, expected: expected.to_owned(), found }
    }

    /// Of a kind that is right, but not one of the values.
    pub(crate) fn another(kind: FaultKind, expected: &str, text: &[u8]) -> Refusal {
        Refusal { kind, expected: expected.to_owned(), found: format!("another {}", Kind::of(text).name()) }
    }
}

/// What a direction of an op can lose that only a carry brings back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    Nothing,
    /// Named for people: `drops a member`.
    Kept(&'static str),
}

impl Rule {
    /// What the direction can lose: what the op loses, and the memory of a condition that the op itself changes.
    pub(crate) fn loss(&self, direction: Direction) -> Loss {
        let loss = self.op.loss(direction);
        let own = match (&self.when, &self.when_upper) {
            (Some(condition), None) => self.op.disturbs(&condition.path, &Path::default()),
            (Some(lower), Some(upper)) if self.op.relinks(&lower.path, &upper.path) => {
                let (asked, later) = direction.sides(lower, upper);
                !asked.test.implies(&later.test)
            }
            _ => false,
        };
        if loss == Loss::Nothing && own { Loss::Kept("changes what its own condition looks at") } else { loss }
    }
}

impl Op {
    /// Whether the op writes at, above or below a place.
    fn disturbs(&self, place: &Path, scope: &Path) -> bool {
        match self {
            Op::Relink { .. } | Op::Edit { .. } | Op::Tuple(_) | Op::Spread { .. } => {
                self.paths().into_iter().any(|path| {
                    let path = path.under(scope);
                    path.covers(place) || place.covers(&path)
                })
            }
            Op::In { rules, .. } | Op::Embedded { rules, .. } => {
                let scope = self.scope(scope);
                self.embeds() && place.covers(&scope) || rules.iter().any(|rule| rule.op.disturbs(place, &scope))
            }
        }
    }

    /// Whether the op does nothing but bring the member at the one place to the other.
    fn relinks(&self, from: &Path, to: &Path) -> bool {
        matches!(self, Op::Relink { lower, upper, .. } if lower == from && upper == to)
    }

    fn embeds(&self) -> bool {
        matches!(self, Op::Embedded { .. })
    }

    fn loss(&self, direction: Direction) -> Loss {
        match self {
            Op::Relink { taken: Taken::Overwritten, .. } => Loss::Kept("overwrites a member"),
            Op::Relink { taken: Taken::Refused, .. } => Loss::Nothing,
            Op::Edit { edit, .. } => edit.loss(direction),
            Op::Tuple(tuple) => tuple.loss(direction),
            Op::Spread { taken: Taken::Overwritten, .. } => Loss::Kept("overwrites members"),
            Op::Spread { differing, .. } => match (direction, differing) {
                (Direction::Up, _) => Loss::Kept("has no place for a member where there are no elements"),
                (Direction::Down, Differing::Kept) => Loss::Kept("has one place for many members"),
                (Direction::Down, Differing::Refused) => Loss::Nothing,
            },
            Op::In { rules, .. } | Op::Embedded { rules, .. } => {
                rules.iter().map(|rule| rule.loss(direction)).find(|loss| *loss != Loss::Nothing).unwrap_or_else(|| {
                    match self.embeds() && !rules.iter().all(|rule| rule.op.stays()) {
                        true => Loss::Kept("moves members of a document that is text"),
                        false => Loss::Nothing,
                    }
                })
            }
        }
    }

    /// Whether all that the op touches stays where it is, so that a document comes back by its text.
    fn stays(&self) -> bool {
        match self {
            Op::Relink { style, taken, .. } => (*style, *taken) == (Style::Rename, Taken::Refused),
            Op::Edit { edit, .. } => edit.stays(),
            Op::Tuple(_) | Op::Spread { .. } => false,
            Op::In { rules, .. } | Op::Embedded { rules, .. } => rules.iter().all(|rule| rule.op.stays()),
        }
    }

    /// The op's own place, for messages.
    pub(crate) fn at(&self) -> &Path {
        match self {
            Op::Relink { lower, .. } => lower,
            Op::Tuple(tuple) => tuple.at(),
            Op::Spread { from, .. } => from,
            Op::Edit { at, .. } | Op::In { at, .. } | Op::Embedded { at, .. } => at,
        }
    }

    /// All places that the op names.
    pub(crate) fn paths(&self) -> Vec<Path> {
        match self {
            Op::Relink { lower, upper, .. } => vec![lower.clone(), upper.clone()],
            Op::Tuple(tuple) => tuple.places.clone(),
            Op::Spread { from, to, .. } => vec![from.clone(), to.clone()],
            Op::Edit { at, edit } => edit.below().into_iter().map(|path| path.under(at)).chain([at.clone()]).collect(),
            Op::In { at, .. } | Op::Embedded { at, .. } => vec![at.clone()],
        }
    }

    /// The places that the op itself reads or writes in the shape that a direction starts from: what the servers of that
    /// side know. Those of the ops within are theirs.
    pub(crate) fn begins(&self, direction: Direction) -> Vec<Path> {
        match self {
            Op::Relink { lower, upper, .. } => vec![direction.sides(lower, upper).0.clone()],
            Op::Spread { from, to, .. } => vec![direction.sides(from, to).0.clone()],
            Op::Tuple(tuple) => tuple.begins(direction),
            Op::Edit { at, edit } if edit.begins(direction) => vec![at.clone()],
            Op::Edit { .. } | Op::In { .. } | Op::Embedded { .. } => Vec::new(),
        }
    }

    /// Where the paths of the ops within start, given where those of this op do.
    pub(crate) fn scope(&self, scope: &Path) -> Path {
        match self {
            Op::In { at, .. } => at.under(scope),
            Op::Embedded { at, .. } => {
                let mut path = at.under(scope);
                path.0.push(Seg::Document);
                path
            }
            Op::Relink { .. } | Op::Edit { .. } | Op::Tuple(_) | Op::Spread { .. } => scope.clone(),
        }
    }

    /// The ops within.
    pub(crate) fn inner(&self) -> &[Rule] {
        match self {
            Op::In { rules, .. } | Op::Embedded { rules, .. } => rules,
            Op::Relink { .. } | Op::Edit { .. } | Op::Tuple(_) | Op::Spread { .. } => &[],
        }
    }

    /// Pairs of places whose values are the same before and after the op: what stands at the second one afterwards can
    /// have stood at the first one before.
    pub(crate) fn passages(&self, direction: Direction) -> Vec<(Path, Path)> {
        let upwards = match self {
            Op::Relink { lower, upper, .. } => vec![(lower.clone(), upper.clone())],
            Op::Spread { from, to, .. } => vec![(from.clone(), to.clone())],
            Op::Tuple(tuple) => tuple.passages(),
            Op::Edit { at, edit } => {
                edit.passages().into_iter().map(|(lower, upper)| (lower.under(at), upper.under(at))).collect()
            }
            Op::In { .. } | Op::Embedded { .. } => Vec::new(),
        };
        match direction {
            Direction::Up => upwards,
            Direction::Down => upwards.into_iter().map(|(lower, upper)| (upper, lower)).collect(),
        }
    }
}
