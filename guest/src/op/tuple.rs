//! Tuples: functions of the texts at some places to the texts at others, each with its inverse.

use crate::json;
use crate::op::flags::Flags;
use crate::op::split::Split;
use crate::op::table::Rows;
use crate::op::{Direction, Loss, Refusal, Taken};
use crate::path::Path;
use crate::rules::FaultKind;

/// `copy`, `table`, `flags`, `split`: places below one scope, and how those of one side give those of the other.
#[derive(Clone, Debug)]
pub(crate) struct Tuple {
    /// Each place once, whichever side has it.
    pub(crate) places: Vec<Path>,
    /// The places that older servers know, by their index.
    lower: Vec<usize>,
    /// Those that newer servers know.
    upper: Vec<usize>,
    relation: Relation,
    taken: Taken,
}

/// How the texts of the two sides belong together.
#[derive(Clone, Debug)]
pub(crate) enum Relation {
    /// `{ copy = "/a", to = "/b" }`: newer servers want the same twice.
    Copy,
    /// `{ table = ["/a", "/b"], to = ["/c"], rows = [[[true, false], ["x"]]] }`: row by row.
    Table(Rows),
    /// `{ flags = [["/a", "x"]], to = "/c" }`: booleans become a set of names.
    Flags(Flags),
    /// `{ split = "/a", to = ["/b", "/c"], by = " " }`: one string becomes several.
    Split(Split),
    /// `join`: another relation with its sides swapped.
    Swapped(Box<Relation>),
}

/// What stands at each place of a tuple.
pub(crate) type State = Vec<Option<Vec<u8>>>;

/// What a relation says of one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// Nothing: it stays as it is.
    Nothing,
    Absent,
    Text(Vec<u8>),
}

/// What is wrong with a tuple, and at which of its places.
pub(crate) type Wrong = (usize, Refusal);

impl Tuple {
    pub(crate) fn new(lower: Vec<Path>, upper: Vec<Path>, relation: Relation, taken: Taken) -> Tuple {
        let mut places: Vec<Path> = Vec::new();
        let mut number = |path: Path| {
            let known = places.iter().position(|place| *place == path);
            known.unwrap_or_else(|| {
                places.push(path);
                places.len() - 1
            })
        };
        let lower = lower.into_iter().map(&mut number).collect();
        let upper = upper.into_iter().map(&mut number).collect();
        Tuple { places, lower, upper, relation, taken }
    }

    /// What stands at the places after the op, given what does before it.
    pub(crate) fn apply(&self, direction: Direction, state: &State) -> Result<State, Wrong> {
        let (from, to) = self.sides(direction);
        let inputs: Vec<Option<&[u8]>> =
            from.iter().map(|place| state.get(*place).and_then(|text| text.as_deref())).collect();
        let outputs = self.relation.write(direction, &inputs).map_err(|(input, refusal)| {
            let place = from.get(input).copied().unwrap_or_default();
            (place, refusal)
        })?;
        let mut after = state.clone();
        for place in from.iter().filter(|place| !to.contains(place)) {
            if let Some(text) = after.get_mut(*place) {
                *text = None;
            }
        }
        for (place, said) in to.iter().zip(outputs) {
            let both = from.contains(place);
            let Some(text) = after.get_mut(*place) else { continue };
            match said {
                Said::Nothing => {}
                Said::Absent if both => *text = None,
                // Whatever stands there, this op has not put it there.
                Said::Absent => {}
                Said::Text(_) if !both && text.is_some() && self.taken == Taken::Refused => {
                    return Err((*place, taken()));
                }
                Said::Text(said) => *text = Some(said),
            }
        }
        Ok(after)
    }

    /// What stands at the places after the op, where the carry says what was there before the other direction, and
    /// what that had put there instead. An edit wins for the places that it makes a difference to.
    pub(crate) fn recall(
        &self,
        direction: Direction,
        found: &State,
        (was, put): (&State, &State),
    ) -> Result<(State, Recall), Wrong> {
        if was.len() != found.len() || put.len() != found.len() {
            return Ok((self.apply(direction, found)?, Recall::Forgotten));
        }
        if equal(put, found) {
            return Ok((was.clone(), Recall::Restored));
        }
        let edited = self.apply(direction, found)?;
        let Ok(plain) = self.apply(direction, put) else { return Ok((edited, Recall::Forgotten)) };
        let sides = edited.iter().zip(&plain).zip(was);
        let mut joined: State = sides
            .map(|((edited, plain), was)| if alike(edited, plain) { was.clone() } else { edited.clone() })
            .collect();
        let (from, to) = self.sides(direction);
        if let [set] = to
            && let Some(Some(was)) = was.get(*set)
            && let Some(said) = self.relation.join(direction, from.iter().map(|place| found.get(*place)), was)
            && let Some(text) = joined.get_mut(*set)
        {
            *text = Some(said);
        }
        // It must say what the edit says.
        let says = |state: &State| self.apply(direction.opposite(), state).ok();
        match (says(&joined), says(&edited)) {
            (Some(joint), Some(plain)) if equal(&joint, &plain) => Ok((joined, Recall::Restored)),
            _ => Ok((edited, Recall::Forgotten)),
        }
    }

    pub(crate) fn at(&self) -> &Path {
        static NOWHERE: Path = Path(Vec::new());
        let first = self.lower.first().and_then(|place| self.places.get(*place));
        first.unwrap_or(&NOWHERE)
    }

    /// Whether there is something to do where no place holds anything.
    pub(crate) fn speaks_of_absence(&self, direction: Direction) -> bool {
        self.apply(direction, &vec![None; self.places.len()]).is_ok_and(|after| after.iter().any(Option::is_some))
    }

    /// How deep the texts are that the op puts in.
    pub(crate) fn depth(&self) -> u32 {
        match &self.relation {
            Relation::Table(rows) => rows.depth(),
            Relation::Flags(_) | Relation::Swapped(_) => 1,
            Relation::Copy | Relation::Split(_) => 0,
        }
    }

    pub(crate) fn passages(&self) -> Vec<(Path, Path)> {
        match (&self.relation, self.places.as_slice()) {
            (Relation::Copy, [first, second]) => vec![(first.clone(), second.clone())],
            _ => Vec::new(),
        }
    }

    pub(crate) fn loss(&self, direction: Direction) -> Loss {
        match self.taken {
            Taken::Overwritten => Loss::Kept("overwrites a member"),
            Taken::Refused => self.relation.loss(direction),
        }
    }

    /// The places that the servers know from which a direction starts.
    pub(crate) fn begins(&self, direction: Direction) -> Vec<Path> {
        self.sides(direction).0.iter().filter_map(|place| self.places.get(*place).cloned()).collect()
    }

    fn sides(&self, direction: Direction) -> (&[usize], &[usize]) {
        match direction {
            Direction::Up => (&self.lower, &self.upper),
            Direction::Down => (&self.upper, &self.lower),
        }
    }
}

/// What has come of a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recall {
    /// All of it, or what no edit touched.
    Restored,
    /// Nothing.
    Forgotten,
}

impl Relation {
    fn write(&self, direction: Direction, inputs: &[Option<&[u8]>]) -> Result<Vec<Said>, Wrong> {
        match (self, direction) {
            (Relation::Copy, Direction::Up) => {
                let copy = inputs.first().copied().flatten();
                Ok(vec![Said::Nothing, copy.map_or(Said::Absent, |text| Said::Text(text.to_vec()))])
            }
            (Relation::Copy, Direction::Down) => Ok(vec![Said::Nothing]),
            (Relation::Table(rows), _) => rows.write(direction, inputs),
            (Relation::Flags(flags), _) => flags.write(direction, inputs),
            (Relation::Split(split), _) => split.write(direction, inputs),
            (Relation::Swapped(relation), _) => relation.write(direction.opposite(), inputs),
        }
    }

    /// Writes the one text of this direction so that what the carry holds of it lives on as far as the edit lets it.
    fn join<'s>(
        &self,
        direction: Direction,
        found: impl Iterator<Item = Option<&'s Option<Vec<u8>>>>,
        was: &[u8],
    ) -> Option<Vec<u8>> {
        match (self, direction) {
            (Relation::Flags(flags), Direction::Up) => {
                let found: Vec<Option<&[u8]>> = found.map(|text| text.and_then(|text| text.as_deref())).collect();
                flags.join(&found, was)
            }
            _ => None,
        }
    }

    fn loss(&self, direction: Direction) -> Loss {
        match (self, direction) {
            (Relation::Copy, Direction::Up) | (Relation::Split(_), Direction::Up) => Loss::Nothing,
            (Relation::Copy, Direction::Down) => Loss::Kept("drops the copy"),
            (Relation::Split(_), Direction::Down) => Loss::Kept("joins texts that can hold the separator"),
            (Relation::Table(rows), _) => rows.loss(direction),
            (Relation::Flags(_), Direction::Up) => Loss::Kept("tells no absent flag from a false one"),
            (Relation::Flags(_), Direction::Down) => Loss::Kept("has no place for other names and their order"),
            (Relation::Swapped(relation), _) => relation.loss(direction.opposite()),
        }
    }
}

fn taken() -> Refusal {
    Refusal {
        kind: FaultKind::Conflict,
        expected: "no member here yet".to_owned(),
        found: "one that exists already".to_owned(),
    }
}

fn equal(a: &State, b: &State) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b))
}

fn alike(a: &Option<Vec<u8>>, b: &Option<Vec<u8>>) -> bool {
    json::alike(a.as_deref(), b.as_deref())
}
