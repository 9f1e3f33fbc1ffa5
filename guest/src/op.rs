//! The instruction set: how each op is spelled, what it does in both directions, and what a direction can lose.
//!
//! There are three kinds. A *relink* puts a member elsewhere and never looks at its value. An *edit* is a function of
//! one member's text (or absence), together with its inverse. `in` scopes other ops. A new op that works on one value
//! is a variant of [`Edit`]; the compiler names the places that must learn it.

use std::borrow::Cow;

use crate::json::{self, Kind};
use crate::number::{Decimal, Rounding, Scale};
use crate::pack::{Field, Table, hint};
use crate::path::{Path, Seg};
use crate::rules::FaultKind;
use crate::time::{TimeFormat, Zone};

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
    Relink { lower: Path, upper: Path, style: Style },
    /// The other ops: the text at a place is written anew.
    Edit { at: Path, edit: Edit },
    /// `{ in = "/auth", ops = [ … ] }`: ops below a place.
    In { at: Path, rules: Vec<Rule> },
}

/// Where a relinked member goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// `{ rename = "/a/b", to = "c" }`: it stays where it is.
    Rename,
    /// `{ move = "/a/b", to = "/c" }`: it goes to the end of its new parent.
    Move,
}

/// A function of one member's text or absence, and its inverse.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    /// `{ add = "/a", value = 1 }`: put in where absent; taken out on the way back.
    Add { value: String },
    /// `{ remove = "/a", restore = "" }`: taken out; on the way back `restore` is put in where absent.
    Remove { restore: Option<String> },
    /// `{ map = "/a", values = [["x", 1]], otherwise = "keep" }`: cell by cell.
    Map { cells: Vec<(Cell, Cell)>, otherwise: Otherwise },
    /// `{ scale = "/a", factor = 1000, offset = 0, digits = 0, round = "floor" }`: number × factor + offset.
    Scale(Scale),
    /// `{ time = "/a", lower = "unix-s", upper = "rfc3339" }`: a point in time in two forms.
    Time { lower: TimeFormat, upper: TimeFormat },
    /// No op of a pack: the versions' markers, written at the end of each step.
    Stamp { lower: Option<String>, upper: Option<String> },
}

/// One side of a line of a `map`: JSON text, or none for absence.
pub(crate) type Cell = Option<String>;

/// What a `map` does with a value that no line names.
#[derive(Clone, Debug)]
pub(crate) enum Otherwise {
    /// `"keep"`: it stays.
    Keep,
    /// `"refuse"`, or a table that says nothing for a direction: a fault.
    Values { lower: Option<String>, upper: Option<String> },
}

/// A condition on a record.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) path: Path,
    pub(crate) test: Test,
}

/// What a condition asks of the value at its path.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    /// `equals = "x"`.
    Equals(String),
    /// `in = ["x", "y"]`.
    In(Vec<String>),
    /// `absent = true`.
    Absent,
    /// `exists = true`.
    Exists,
    /// `type = "string"`.
    Type(Kind),
}

impl Test {
    pub(crate) fn holds(&self, value: Option<&[u8]>) -> bool {
        match (self, value) {
            (Test::Absent, value) => value.is_none(),
            (_, None) => false,
            (Test::Exists, Some(_)) => true,
            (Test::Equals(text), Some(value)) => json::equal(text.as_bytes(), value),
            (Test::In(texts), Some(value)) => texts.iter().any(|text| json::equal(text.as_bytes(), value)),
            (Test::Type(kind), Some(value)) => Kind::of(value) == *kind,
        }
    }
}

/// What an edit leaves at its place.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Put<'p> {
    /// Nothing.
    Absent,
    /// What was there.
    Same,
    /// A text of the pack's or the carry's.
    Text(&'p str),
    /// What the edit has written into the buffer that it was given.
    Written,
}

impl<'p> Put<'p> {
    /// The text that stands at the place afterwards, or none for absence.
    pub(crate) fn text<'t>(self, found: Option<&'t [u8]>, written: &'t [u8]) -> Option<&'t [u8]>
    where
        'p: 't,
    {
        match self {
            Put::Absent => None,
            Put::Same => found,
            Put::Text(text) => Some(text.as_bytes()),
            Put::Written => Some(written),
        }
    }

    fn literal(text: &'p Option<String>) -> Put<'p> {
        text.as_deref().map_or(Put::Absent, Put::Text)
    }
}

/// Why an edit can't be done on a value. Never holds the value itself.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) kind: FaultKind,
    pub(crate) expected: String,
    pub(crate) found: String,
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
            _ => false,
        };
        if loss == Loss::Nothing && own { Loss::Kept("changes what its own condition looks at") } else { loss }
    }
}

impl Op {
    /// Whether the op writes at, above or below a place.
    fn disturbs(&self, place: &Path, scope: &Path) -> bool {
        match self {
            Op::Relink { .. } | Op::Edit { .. } => self.paths().into_iter().any(|path| {
                let path = path.under(scope);
                path.covers(place) || place.covers(&path)
            }),
            Op::In { at, rules } => rules.iter().any(|rule| rule.op.disturbs(place, &at.under(scope))),
        }
    }

    fn loss(&self, direction: Direction) -> Loss {
        match self {
            Op::Relink { .. } => Loss::Nothing,
            Op::Edit { edit, .. } => edit.loss(direction),
            Op::In { rules, .. } => rules
                .iter()
                .map(|rule| rule.loss(direction))
                .find(|loss| *loss != Loss::Nothing)
                .unwrap_or(Loss::Nothing),
        }
    }

    /// The op's own place, for messages.
    pub(crate) fn at(&self) -> &Path {
        match self {
            Op::Relink { lower, .. } => lower,
            Op::Edit { at, .. } | Op::In { at, .. } => at,
        }
    }

    /// All places that the op names.
    pub(crate) fn paths(&self) -> Vec<&Path> {
        match self {
            Op::Relink { lower, upper, .. } => vec![lower, upper],
            Op::Edit { at, .. } | Op::In { at, .. } => vec![at],
        }
    }
}

impl Edit {
    /// What stands at the place afterwards. A text that is neither there nor in the pack replaces what is in `out`.
    pub(crate) fn write(
        &self,
        direction: Direction,
        found: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<Put<'_>, Refusal> {
        let Some(text) = found else {
            return Ok(match (self, direction) {
                (Edit::Add { value }, Direction::Up) => Put::Text(value),
                (Edit::Remove { restore }, Direction::Down) => Put::literal(restore),
                (Edit::Stamp { upper, .. }, Direction::Up) => Put::literal(upper),
                (Edit::Stamp { lower, .. }, Direction::Down) => Put::literal(lower),
                (Edit::Map { cells, .. }, _) => mapped(cells, direction, None).map_or(Put::Absent, Put::literal),
                (Edit::Add { .. }, Direction::Down) | (Edit::Remove { .. }, Direction::Up) => Put::Absent,
                (Edit::Scale(_) | Edit::Time { .. }, _) => Put::Absent,
            });
        };
        Ok(match (self, direction) {
            (Edit::Add { .. }, Direction::Up) | (Edit::Remove { .. }, Direction::Down) => Put::Same,
            (Edit::Add { .. }, Direction::Down) | (Edit::Remove { .. }, Direction::Up) => Put::Absent,
            (Edit::Stamp { upper, .. }, Direction::Up) => Put::literal(upper),
            (Edit::Stamp { lower, .. }, Direction::Down) => Put::literal(lower),
            (Edit::Map { cells, otherwise }, _) => match (mapped(cells, direction, found), otherwise) {
                (Some(cell), _) => Put::literal(cell),
                (None, Otherwise::Keep) => Put::Same,
                (None, Otherwise::Values { lower, upper }) => {
                    let value = match direction {
                        Direction::Up => upper,
                        Direction::Down => lower,
                    };
                    Put::Text(value.as_deref().ok_or_else(|| unmapped(text))?)
                }
            },
            (Edit::Scale(scale), _) => {
                if !scale.by_zeros(direction, text, out) {
                    *out = scaled(scale, direction, text)?;
                }
                Put::Written
            }
            (Edit::Time { lower, upper }, _) => {
                *out = match direction {
                    Direction::Up => retimed(lower, upper, text)?,
                    Direction::Down => retimed(upper, lower, text)?,
                };
                Put::Written
            }
        })
    }

    /// What [`Edit::write`] leaves, if it is sure without a look that the other direction makes the input of it again.
    #[inline]
    pub(crate) fn quick(&self, direction: Direction, found: Option<&[u8]>, out: &mut Vec<u8>) -> Option<Put<'_>> {
        match (self, direction, found) {
            (Edit::Add { value }, Direction::Up, None) => Some(Put::Text(value)),
            (Edit::Scale(scale), Direction::Up, Some(text)) => {
                scale.by_zeros(direction, text, out).then_some(Put::Written)
            }
            (Edit::Scale(_) | Edit::Time { .. }, _, None) => Some(Put::Absent),
            (Edit::Stamp { lower: None, upper: Some(value) }, Direction::Up, None) => Some(Put::Text(value)),
            (Edit::Stamp { lower: Some(value), upper: None }, Direction::Down, None) => Some(Put::Text(value)),
            _ => None,
        }
    }

    /// What becomes of a parent that the edit empties.
    pub(crate) fn emptied(&self) -> Emptied {
        match self {
            Edit::Remove { .. } => Emptied::Stays,
            Edit::Add { .. } | Edit::Map { .. } | Edit::Scale(_) | Edit::Time { .. } | Edit::Stamp { .. } => {
                Emptied::Goes
            }
        }
    }

    /// Whether this is a stamp that leaves nothing behind.
    pub(crate) fn takes_out(&self, direction: Direction) -> bool {
        match (self, direction) {
            (Edit::Stamp { upper, .. }, Direction::Up) => upper.is_none(),
            (Edit::Stamp { lower, .. }, Direction::Down) => lower.is_none(),
            _ => false,
        }
    }

    /// How deep the texts are that the edit puts in.
    pub(crate) fn depth(&self) -> u32 {
        let texts: Vec<&String> = match self {
            Edit::Add { value } => vec![value],
            Edit::Remove { restore } => restore.iter().collect(),
            Edit::Map { cells, otherwise } => {
                let others = match otherwise {
                    Otherwise::Keep => [None, None],
                    Otherwise::Values { lower, upper } => [lower.as_ref(), upper.as_ref()],
                };
                cells
                    .iter()
                    .flat_map(|(lower, upper)| [lower.as_ref(), upper.as_ref()])
                    .chain(others)
                    .flatten()
                    .collect()
            }
            Edit::Stamp { lower, upper } => lower.iter().chain(upper).collect(),
            Edit::Scale(_) | Edit::Time { .. } => Vec::new(),
        };
        texts.into_iter().map(|text| json::depth(text.as_bytes())).max().unwrap_or(0)
    }

    /// Whether an absent member is more to this edit than nothing to do.
    pub(crate) fn speaks_of_absence(&self) -> bool {
        match self {
            Edit::Add { .. } | Edit::Stamp { .. } => true,
            Edit::Remove { restore } => restore.is_some(),
            Edit::Map { cells, .. } => cells.iter().any(|(lower, upper)| lower.is_none() || upper.is_none()),
            Edit::Scale(_) | Edit::Time { .. } => false,
        }
    }

    /// What the direction can lose on a record that its servers would write.
    pub(crate) fn loss(&self, direction: Direction) -> Loss {
        match (self, direction) {
            (Edit::Add { .. }, Direction::Up) | (Edit::Remove { .. }, Direction::Down) | (Edit::Stamp { .. }, _) => {
                Loss::Nothing
            }
            (Edit::Add { .. }, Direction::Down) | (Edit::Remove { .. }, Direction::Up) => Loss::Kept("drops a member"),
            (Edit::Map { cells, otherwise }, _) => {
                let comes_back = |cell: &Cell| {
                    let there = mapped(cells, direction, cell.as_deref().map(str::as_bytes));
                    let back = there
                        .and_then(|there| mapped(cells, direction.opposite(), there.as_deref().map(str::as_bytes)));
                    back == Some(cell)
                };
                let side = |(lower, upper): &(Cell, Cell)| match direction {
                    Direction::Up => comes_back(lower),
                    Direction::Down => comes_back(upper),
                };
                let closed = match otherwise {
                    Otherwise::Keep => false,
                    Otherwise::Values { lower, upper } => match direction {
                        Direction::Up => upper.is_none(),
                        Direction::Down => lower.is_none(),
                    },
                };
                // With no cell for absence, an absent member stays absent both ways.
                let absence = comes_back(&None)
                    || (mapped(cells, direction, None).is_none()
                        && mapped(cells, direction.opposite(), None).is_none());
                if cells.iter().all(side) && closed && absence {
                    Loss::Nothing
                } else {
                    Loss::Kept("maps several values to one")
                }
            }
            (Edit::Scale(scale), Direction::Up) => {
                if scale.upper_digits.is_none() {
                    Loss::Nothing
                } else {
                    Loss::Kept("rounds a number")
                }
            }
            (Edit::Scale(scale), Direction::Down) => {
                if scale.down_is_exact() {
                    Loss::Nothing
                } else {
                    Loss::Kept("rounds a number")
                }
            }
            (Edit::Time { lower, upper }, Direction::Up) => retiming_loss(lower, upper),
            (Edit::Time { lower, upper }, Direction::Down) => retiming_loss(upper, lower),
        }
    }
}

/// The cell that a value is mapped to, if a line names the value.
fn mapped<'m>(cells: &'m [(Cell, Cell)], direction: Direction, found: Option<&[u8]>) -> Option<&'m Cell> {
    let sides = |pair: &'m (Cell, Cell)| match direction {
        Direction::Up => (&pair.0, &pair.1),
        Direction::Down => (&pair.1, &pair.0),
    };
    let matches = |cell: &Cell| match (cell, found) {
        (None, None) => true,
        (Some(text), Some(found)) => json::equal(text.as_bytes(), found),
        _ => false,
    };
    cells.iter().map(sides).find(|(from, _)| matches(from)).map(|(_, to)| to)
}

fn unmapped(text: &[u8]) -> Refusal {
    let found = format!("another {}", Kind::of(text).name());
    Refusal { kind: FaultKind::Unmapped, expected: "a value that the map names".to_owned(), found }
}

/// A number, or a number kept in a string, stays the one or the other.
fn scaled(scale: &Scale, direction: Direction, text: &[u8]) -> Result<Vec<u8>, Refusal> {
    let (number, in_string) = number_in(text).ok_or_else(|| wrong_type("a number", text))?;
    let result = match direction {
        Direction::Up => scale.up(&number),
        Direction::Down => scale.down(&number),
    };
    let result = result.ok_or_else(|| Refusal {
        kind: FaultKind::OutOfRange,
        expected: "a number of at most 4096 digits".to_owned(),
        found: "a longer one".to_owned(),
    })?;
    Ok(if in_string { format!("\"{result}\"").into_bytes() } else { result.into_bytes() })
}

fn number_in(text: &[u8]) -> Option<(Cow<'_, [u8]>, bool)> {
    match Kind::of(text) {
        Kind::Number => Some((Cow::Borrowed(text), false)),
        Kind::String => {
            let inner = json::unescaped(text);
            Decimal::parse(&inner).is_some().then_some((inner, true))
        }
        Kind::Null | Kind::Bool | Kind::Array | Kind::Object => None,
    }
}

fn wrong_type(expected: &str, text: &[u8]) -> Refusal {
    Refusal { kind: FaultKind::WrongType, expected: expected.to_owned(), found: Kind::of(text).name().to_owned() }
}

/// A point in time in another form. Unix time may stand in a string, as numbers may.
fn retimed(from: &TimeFormat, to: &TimeFormat, text: &[u8]) -> Result<Vec<u8>, Refusal> {
    let inner = match (from.is_number(), Kind::of(text)) {
        (true, _) => number_in(text).map(|(number, _)| number),
        (false, Kind::String) => Some(json::unescaped(text)),
        (false, _) => None,
    };
    let inner = inner.ok_or_else(|| wrong_type(from.expectation(), text))?;
    let nanos = std::str::from_utf8(&inner).ok().and_then(|text| from.read(text)).ok_or_else(|| Refusal {
        kind: FaultKind::WrongType,
        expected: from.expectation().to_owned(),
        found: format!("another {}", Kind::of(text).name()),
    })?;
    let out = to.write(nanos).ok_or_else(|| Refusal {
        kind: FaultKind::OutOfRange,
        expected: "a point in time in the years 0 to 9999".to_owned(),
        found: "one beyond".to_owned(),
    })?;
    Ok(if to.is_number() { out.into_bytes() } else { json::quoted(&out).into_bytes() })
}

fn retiming_loss(from: &TimeFormat, to: &TimeFormat) -> Loss {
    match from {
        _ if from.precision() > to.precision() => Loss::Kept("rounds a point in time"),
        TimeFormat::Unix { .. } | TimeFormat::HttpDate => Loss::Nothing,
        TimeFormat::Rfc3339 | TimeFormat::Format { .. } => Loss::Kept("loses the spelling of a date"),
    }
}

// Reading. Each op takes its arguments out of its table; what is left over is a problem.

impl Rule {
    pub(crate) const NAMES: [&str; 8] = ["rename", "move", "add", "remove", "map", "scale", "time", "in"];

    /// Reads one op. `path_seed` is the digest of the step and of the scopes around.
    pub(crate) fn read(field: &Field<'_>, label: String, path_seed: u64) -> Option<Rule> {
        let mut table = field.table()?;
        let named: Vec<&'static str> = Rule::NAMES.into_iter().filter(|name| table.has(name)).collect();
        // `in` is also an argument name of conditions, never of ops; `to` and the like are no op names.
        let name = match named.as_slice() {
            [name] => *name,
            [] => {
                let first = table.keys().next().unwrap_or_default().to_owned();
                table.problem(format!("unknown op \"{first}\"{}", hint(&first, &Rule::NAMES)));
                return None;
            }
            [first, second, ..] => {
                table.problem(format!("\"{first}\" and \"{second}\" are two ops: write two entries"));
                return None;
            }
        };
        let digest = match name {
            // Ops in a scope keep their entries when their neighbours change.
            "in" => ["in", "when", "when_upper"]
                .into_iter()
                .filter_map(|name| table.take(name))
                .fold(path_seed, |seed, field| json::fnv1a(json::fnv1a(seed, b"\0"), field.literal().as_bytes())),
            _ => json::fnv1a(path_seed, field.literal().as_bytes()),
        };
        let op = Op::read(name, &mut table, &label, digest);
        let when = table.take("when").and_then(|field| Condition::read(&field));
        let when_upper = table.take("when_upper").and_then(|field| Condition::read(&field));
        if let (Some(upper), None) = (&when_upper, &when) {
            table.problem(format!("when_upper on {} has no when: name the condition for the way up, too", upper.path));
        }
        table.finish();
        Some(Rule { label, name, op: op?, when, when_upper, digest })
    }
}

impl Op {
    fn read(name: &'static str, table: &mut Table<'_>, label: &str, digest: u64) -> Option<Op> {
        let at_field = table.need(name)?;
        let edit = |at: Option<Path>, edit: Option<Edit>| Some(Op::Edit { at: at?, edit: edit? });
        match name {
            "rename" => {
                let at = at_field.member_path();
                let to = table.need("to");
                let key = to.as_ref().and_then(Field::string);
                let (at, key, to) = (at?, key?, to?);
                if key.starts_with('/') {
                    to.problem(format!(
                        "a rename stays in its parent: write the new key alone, or use move to \"{key}\""
                    ));
                    return None;
                }
                let mut upper = at.clone();
                upper.0.pop();
                upper.0.push(Seg::Key(key));
                if upper == at {
                    to.problem("the new key is the old one");
                    return None;
                }
                Some(Op::Relink { lower: at, upper, style: Style::Rename })
            }
            "move" => {
                let at = at_field.member_path();
                let to = table.need("to");
                let upper = to.as_ref().and_then(Field::member_path);
                let (lower, upper, to) = (at?, upper?, to?);
                let (scope, other) = (lower.scope_len(), upper.scope_len());
                if lower.0.get(..scope) != upper.0.get(..other) {
                    to.problem(format!(
                        "both paths must have the same \"*\"s in the same places: {lower} and {upper} do not"
                    ));
                    return None;
                }
                if lower.covers(&upper) || upper.covers(&lower) {
                    to.problem(format!("{lower} cannot move to {upper}: one of them lies in the other"));
                    return None;
                }
                Some(Op::Relink { lower, upper, style: Style::Move })
            }
            "add" => {
                let at = at_field.member_path();
                let value = table.need("value").map(|field| Edit::Add { value: field.literal() });
                edit(at, value)
            }
            "remove" => {
                let restore = table.take("restore").map(|field| field.literal());
                edit(at_field.member_path(), Some(Edit::Remove { restore }))
            }
            "map" => edit(at_field.path(), read_map(table, &at_field)),
            "scale" => edit(at_field.path(), read_scale(table)),
            "time" => edit(at_field.path(), read_time(table)),
            "in" => {
                let at = at_field.path();
                let ops = table.need("ops").map(|field| field.list()).unwrap_or_default();
                let read = |(index, field): (usize, Field<'_>)| {
                    let label = format!("{label}.{}", index + 1);
                    let place =
                        field.place.rsplit_once("op ").map_or(String::new(), |(step, _)| format!("{step}op {label}"));
                    Rule::read(&field.called(place), label, digest)
                };
                let rules = ops.into_iter().enumerate().filter_map(read).collect();
                Some(Op::In { at: at?, rules })
            }
            _ => None,
        }
    }
}

fn read_map(table: &mut Table<'_>, at: &Field<'_>) -> Option<Edit> {
    let values = table.need("values")?;
    let mut cells: Vec<(Cell, Cell)> = Vec::new();
    let ends_in_star = at.path().is_some_and(|path| path.scope_len() == path.0.len());
    for line in values.list() {
        let pair = line.list();
        let [lower, upper] = pair.as_slice() else {
            line.problem("a line of a map is a pair: [older value, newer value]");
            continue;
        };
        let (Some(lower), Some(upper)) = (read_cell(lower, ends_in_star), read_cell(upper, ends_in_star)) else {
            continue;
        };
        if mapped(&cells, Direction::Up, lower.as_deref().map(str::as_bytes)).is_some() {
            line.problem("an earlier line has the same older value: this one never matches");
        }
        cells.push((lower, upper));
    }
    if cells.is_empty() {
        values.problem("a map needs at least one line");
    }
    let otherwise = match table.take("otherwise") {
        None => Otherwise::Values { lower: None, upper: None },
        Some(field) if field.kind() == Kind::Object => {
            let mut table = field.table()?;
            let lower = table.take("lower").map(|field| field.literal());
            let upper = table.take("upper").map(|field| field.literal());
            table.finish();
            Otherwise::Values { lower, upper }
        }
        Some(field) => match field.string()?.as_str() {
            "keep" => Otherwise::Keep,
            "refuse" => Otherwise::Values { lower: None, upper: None },
            other => {
                field.problem(format!(
                    "unknown value \"{other}\": use \"keep\", \"refuse\" or a table {{ lower = …, upper = … }}"
                ));
                return None;
            }
        },
    };
    Some(Edit::Map { cells, otherwise })
}

fn read_cell(field: &Field<'_>, ends_in_star: bool) -> Option<Cell> {
    match field.literal().as_str() {
        r#"{"absent":true}"# if ends_in_star => {
            field.problem("an element cannot become absent: the places of the others would change");
            None
        }
        r#"{"absent":true}"# => Some(None),
        r#"{"any":true}"# => {
            field.problem("\"any\" has no place in a map: use otherwise");
            None
        }
        text => Some(Some(text.to_owned())),
    }
}

fn read_scale(table: &mut Table<'_>) -> Option<Edit> {
    let decimal = |field: &Field<'_>| {
        let number = (field.kind() == Kind::Number).then(|| Decimal::parse(field.text().as_bytes())).flatten();
        if number.is_none() {
            field.problem("must be a number");
        }
        number
    };
    let factor = table.need("factor").and_then(|field| {
        let factor = decimal(&field)?;
        if factor.is_zero() {
            field.problem("a factor of 0 has no way back");
            return None;
        }
        Some(factor)
    });
    let offset = table.take("offset").map_or(Some(Decimal::integer(0)), |field| decimal(&field));
    let digits = table.take("digits").map_or(Some(0), |field| field.integer(0..=64));
    let rounding = table.take("round").map_or(Some(Rounding::Floor), |field| field.choice(&Rounding::NAMES));
    Some(Edit::Scale(Scale::new(factor?, offset?, digits? as u32, rounding?)))
}

fn read_time(table: &mut Table<'_>) -> Option<Edit> {
    let lower = table.need("lower").and_then(|field| read_time_format(&field));
    let upper_field = table.need("upper");
    let upper = upper_field.as_ref().and_then(read_time_format);
    let (lower, upper) = (lower?, upper?);
    if lower == upper {
        upper_field?.problem("both forms are the same: nothing would change");
        return None;
    }
    Some(match (&lower, &upper) {
        // Two numbers: exact at any length, which points in time are not.
        (TimeFormat::Unix { digits: low }, TimeFormat::Unix { digits: high }) => {
            Edit::Scale(Scale::of_units(*low, *high))
        }
        _ => Edit::Time { lower, upper },
    })
}

fn read_time_format(field: &Field<'_>) -> Option<TimeFormat> {
    if field.kind() != Kind::Object {
        let name = field.string()?;
        let format = TimeFormat::named(&name);
        if format.is_none() {
            field.problem(format!(
                "unknown form \"{name}\"{}, or a table {{ format = \"%F %T\" }}",
                hint(&name, &TimeFormat::NAMES)
            ));
        }
        return format;
    }
    let mut table = field.table()?;
    let format = table.need("format");
    let mut zones = Vec::new();
    if let Some(mut declared) = table.take("zones").and_then(|field| field.table()) {
        let names: Vec<String> = declared.keys().map(str::to_owned).collect();
        for name in names {
            let Some(field) = declared.take(&name) else { continue };
            match field.string().as_deref().map(Zone::offset) {
                Some(Some(offset)) => zones.push(Zone { name, offset }),
                Some(None) => field.problem("an offset is written \"-08:00\""),
                None => {}
            }
        }
    }
    table.finish();
    let format = format?;
    TimeFormat::strftime(&format.string()?, zones).map_err(|why| format.problem(why)).ok()
}

impl Condition {
    fn read(field: &Field<'_>) -> Option<Condition> {
        let mut table = field.table()?;
        let path = table.need("path").and_then(|field| field.path());
        let mut tests = Vec::new();
        if let Some(field) = table.take("equals") {
            tests.push(Some(Test::Equals(field.literal())));
        }
        if let Some(field) = table.take("in") {
            tests.push(Some(Test::In(field.list().iter().map(Field::literal).collect())));
        }
        for (name, test) in [("absent", Test::Absent), ("exists", Test::Exists)] {
            if let Some(field) = table.take(name) {
                let said = field.boolean();
                if said == Some(false) {
                    field.problem(format!("write {name} = true, or the other of absent and exists"));
                }
                tests.push(said.map(|_| test));
            }
        }
        if let Some(field) = table.take("type") {
            tests.push(field.choice(&Kind::NAMES).map(Test::Type));
        }
        if tests.len() != 1 {
            table.problem("a condition has exactly one of equals, in, absent, exists, type");
            return None;
        }
        table.finish();
        Some(Condition { path: path?, test: tests.pop()?? })
    }
}
