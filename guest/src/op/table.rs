//! `table`: rows that say which values of some members stand for which values of others.

use crate::json;
use crate::op::tuple::{Said, Wrong};
use crate::op::{Direction, Loss, Refusal};
use crate::pack::{Field, Table};
use crate::rules::FaultKind;

/// The rows of a `table`, in the order in which they are tried.
#[derive(Clone, Debug)]
pub(crate) struct Rows(Vec<Row>);

#[derive(Clone, Debug)]
struct Row {
    lower: Vec<Cell>,
    upper: Vec<Cell>,
}

/// What a row says of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cell {
    /// `{ any = true }`: matches everything, writes nothing.
    Any,
    /// `{ absent = true }`.
    Absent,
    Text(String),
}

impl Cell {
    fn matches(&self, found: Option<&[u8]>) -> bool {
        match self {
            Cell::Any => true,
            Cell::Absent => found.is_none(),
            Cell::Text(text) => found.is_some_and(|found| json::equal(text.as_bytes(), found)),
        }
    }

    /// What stands there after it was written, where nothing had stood there.
    fn written(&self) -> Option<&[u8]> {
        match self {
            Cell::Any | Cell::Absent => None,
            Cell::Text(text) => Some(text.as_bytes()),
        }
    }

    fn said(&self) -> Said {
        match self {
            Cell::Any => Said::Nothing,
            Cell::Absent => Said::Absent,
            Cell::Text(text) => Said::Text(text.clone().into_bytes()),
        }
    }
}

impl Row {
    fn sides(&self, direction: Direction) -> (&[Cell], &[Cell]) {
        match direction {
            Direction::Up => (&self.lower, &self.upper),
            Direction::Down => (&self.upper, &self.lower),
        }
    }
}

impl Rows {
    pub(crate) fn write(&self, direction: Direction, inputs: &[Option<&[u8]>]) -> Result<Vec<Said>, Wrong> {
        if let Some(row) = self.find(direction, inputs) {
            return Ok(row.sides(direction).1.iter().map(Cell::said).collect());
        }
        let outputs = self.0.first().map_or(0, |row| row.sides(direction).1.len());
        match inputs.iter().enumerate().find_map(|(input, text)| Some((input, (*text)?))) {
            None => Ok(vec![Said::Nothing; outputs]),
            Some((input, text)) => {
                Err((input, Refusal::another(FaultKind::Unmapped, "values that a row of the table names", text)))
            }
        }
    }

    pub(crate) fn depth(&self) -> u32 {
        let cells = self.0.iter().flat_map(|row| row.lower.iter().chain(&row.upper));
        cells.filter_map(Cell::written).map(json::depth).max().unwrap_or(0)
    }

    pub(crate) fn loss(&self, direction: Direction) -> Loss {
        let comes_back = |row: &Row| {
            let (from, to) = row.sides(direction);
            let there: Vec<Option<&[u8]>> = to.iter().map(Cell::written).collect();
            let back = self.find(direction.opposite(), &there).map(|row| row.sides(direction).0);
            !from.contains(&Cell::Any) && back == Some(from)
        };
        if self.0.iter().all(comes_back) { Loss::Nothing } else { Loss::Kept("has one row for several values") }
    }

    fn find(&self, direction: Direction, inputs: &[Option<&[u8]>]) -> Option<&Row> {
        self.0.iter().find(|row| row.sides(direction).0.iter().zip(inputs).all(|(cell, found)| cell.matches(*found)))
    }

    /// Reads `rows`. A side that is written as one path has one cell in each row, otherwise a list of as many cells as
    /// it has paths.
    pub(crate) fn read(table: &mut Table<'_>, lower: Side, upper: Side) -> Option<Rows> {
        let field = table.need("rows")?;
        let mut rows: Vec<Row> = Vec::new();
        for line in field.list() {
            let pair = line.list();
            let [older, newer] = pair.as_slice() else {
                line.problem("a row is a pair: [older values, newer values]");
                continue;
            };
            let (Some(lower), Some(upper)) = (lower.cells(older), upper.cells(newer)) else { continue };
            if rows.iter().any(|row| row.lower.iter().zip(&lower).all(|(a, b)| *a == Cell::Any || a == b)) {
                line.problem("an earlier row takes all older values of this one: it never matches");
            }
            rows.push(Row { lower, upper });
        }
        if rows.is_empty() {
            field.problem("a table needs at least one row");
            return None;
        }
        Some(Rows(rows))
    }
}

/// How one side of a table is written.
#[derive(Clone, Copy)]
pub(crate) enum Side {
    /// As one path.
    One,
    /// As a list of paths.
    Many(usize),
}

impl Side {
    fn cells(self, field: &Field<'_>) -> Option<Vec<Cell>> {
        let cell = |field: &Field<'_>| match field.literal().as_str() {
            r#"{"absent":true}"# => Cell::Absent,
            r#"{"any":true}"# => Cell::Any,
            text => Cell::Text(text.to_owned()),
        };
        match self {
            Side::One => Some(vec![cell(field)]),
            Side::Many(count) => {
                let cells: Vec<Cell> = field.list().iter().map(cell).collect();
                if cells.len() != count {
                    field.problem(format!("needs {count} values, one for each path, found {}", cells.len()));
                    return None;
                }
                Some(cells)
            }
        }
    }
}
