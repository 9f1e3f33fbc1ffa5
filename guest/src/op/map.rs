//! `map` and `default`: one value, or absence, for another.

use crate::json::{self, Kind};
use crate::op::{Direction, Edit, Loss, Put, Refusal};
use crate::pack::{Field, Table};
use crate::rules::FaultKind;

/// JSON text, or none for absence.
pub(crate) type Cell = Option<String>;

/// `{ map = "/a", values = [["x", 1]], otherwise = "keep" }`: cell by cell.
#[derive(Clone, Debug)]
pub(crate) struct Map {
    cells: Vec<(Cell, Cell)>,
    /// Upwards and downwards, whether the text of a cell goes to the other one and comes back from there.
    returns: Vec<[bool; 2]>,
    otherwise: Otherwise,
}

/// What a `map` does with a value that no line names.
#[derive(Clone, Debug)]
enum Otherwise {
    /// `"keep"`: it stays.
    Keep,
    /// `"refuse"`, or a table that says nothing for a direction: a fault.
    Values { lower: Option<String>, upper: Option<String> },
}

impl Map {
    fn new(cells: Vec<(Cell, Cell)>, otherwise: Otherwise) -> Map {
        let returns = |from: &Cell, to: &Cell, direction: Direction| {
            let mapped = |direction, cell: &Cell| mapped(&cells, direction, cell.as_deref().map(str::as_bytes));
            mapped(direction, from) == Some(to) && mapped(direction.opposite(), to) == Some(from)
        };
        let both = |(lower, upper)| [returns(lower, upper, Direction::Up), returns(upper, lower, Direction::Down)];
        let returns = cells.iter().map(|(lower, upper)| both((lower, upper))).collect();
        Map { cells, returns, otherwise }
    }

    /// What a value becomes, if it stands in a line as it is spelled there and comes back from there.
    pub(crate) fn quick(&self, direction: Direction, found: &[u8]) -> Option<Put<'_>> {
        let is = |cell: &Cell| json::identical(cell.as_deref().map(str::as_bytes), Some(found));
        self.cells.iter().zip(&self.returns).find_map(|((lower, upper), [up, down])| match direction {
            Direction::Up => (*up && is(lower)).then(|| Put::literal(upper)),
            Direction::Down => (*down && is(upper)).then(|| Put::literal(lower)),
        })
    }

    pub(crate) fn write(&self, direction: Direction, found: Option<&[u8]>) -> Result<Put<'_>, Refusal> {
        Ok(match (mapped(&self.cells, direction, found), found, &self.otherwise) {
            (Some(cell), _, _) => Put::literal(cell),
            (None, None, _) => Put::Absent,
            (None, Some(_), Otherwise::Keep) => Put::Same,
            (None, Some(text), Otherwise::Values { lower, upper }) => {
                let value = match direction {
                    Direction::Up => upper,
                    Direction::Down => lower,
                };
                let refused = || Refusal::another(FaultKind::Unmapped, "a value that the map names", text);
                Put::Text(value.as_deref().ok_or_else(refused)?)
            }
        })
    }

    pub(crate) fn texts(&self) -> Vec<&String> {
        let others = match &self.otherwise {
            Otherwise::Keep => [None, None],
            Otherwise::Values { lower, upper } => [lower.as_ref(), upper.as_ref()],
        };
        self.cells.iter().flat_map(|(lower, upper)| [lower.as_ref(), upper.as_ref()]).chain(others).flatten().collect()
    }

    pub(crate) fn speaks_of_absence(&self) -> bool {
        self.cells.iter().any(|(lower, upper)| lower.is_none() || upper.is_none())
    }

    pub(crate) fn loss(&self, direction: Direction) -> Loss {
        let comes_back = |cell: &Cell| {
            let there = mapped(&self.cells, direction, cell.as_deref().map(str::as_bytes));
            let back =
                there.and_then(|there| mapped(&self.cells, direction.opposite(), there.as_deref().map(str::as_bytes)));
            back == Some(cell)
        };
        let side = |(lower, upper): &(Cell, Cell)| match direction {
            Direction::Up => comes_back(lower),
            Direction::Down => comes_back(upper),
        };
        let closed = match (&self.otherwise, direction) {
            (Otherwise::Keep, _) => false,
            (Otherwise::Values { upper, .. }, Direction::Up) => upper.is_none(),
            (Otherwise::Values { lower, .. }, Direction::Down) => lower.is_none(),
        };
        // With no cell for absence, an absent member stays absent both ways.
        let absence = comes_back(&None)
            || (mapped(&self.cells, direction, None).is_none()
                && mapped(&self.cells, direction.opposite(), None).is_none());
        if self.cells.iter().all(side) && closed && absence {
            Loss::Nothing
        } else {
            Loss::Kept("maps several values to one")
        }
    }

    pub(crate) fn read(table: &mut Table<'_>, at: &Field<'_>) -> Option<Edit> {
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
        Some(Edit::Map(Map::new(cells, otherwise)))
    }
}

/// Reads `{ default = "/a", lower = 1, upper = 2 }`.
pub(crate) fn read_default(table: &mut Table<'_>) -> Option<Edit> {
    let lower = table.take("lower").map(|field| field.literal());
    let upper = table.take("upper").map(|field| field.literal());
    if lower.is_none() && upper.is_none() {
        table.problem("a default says what absence means: lower for older servers, upper for newer ones, or both");
        return None;
    }
    if let (Some(lower), Some(upper)) = (&lower, &upper)
        && json::equal(lower.as_bytes(), upper.as_bytes())
    {
        table.problem("absence means the same on both sides: nothing would change");
        return None;
    }
    Some(Edit::Default { lower, upper })
}

/// The cell that a value is mapped to, if a line names the value.
fn mapped<'m>(cells: &'m [(Cell, Cell)], direction: Direction, found: Option<&[u8]>) -> Option<&'m Cell> {
    let sides = |pair: &'m (Cell, Cell)| match direction {
        Direction::Up => (&pair.0, &pair.1),
        Direction::Down => (&pair.1, &pair.0),
    };
    cells.iter().map(sides).find(|(from, _)| json::alike(from.as_deref().map(str::as_bytes), found)).map(|(_, to)| to)
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
