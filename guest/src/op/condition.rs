//! Conditions: what a value at a place must be.

use crate::json::{self, Kind};
use crate::pack::Field;
use crate::path::Path;

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

    /// Whether the other test holds of each value that this one holds of.
    pub(crate) fn implies(&self, other: &Test) -> bool {
        match (self, other) {
            (Test::Equals(text), other) => other.holds(Some(text.as_bytes())),
            (Test::In(texts), other) => texts.iter().all(|text| other.holds(Some(text.as_bytes()))),
            (Test::Absent, other) => other.holds(None),
            (Test::Exists, other) => matches!(other, Test::Exists),
            (Test::Type(_), Test::Exists) => true,
            (Test::Type(kind), Test::Type(other)) => kind == other,
            (Test::Type(_), Test::Equals(_) | Test::In(_) | Test::Absent) => false,
        }
    }
}

impl Condition {
    pub(crate) fn read(field: &Field<'_>) -> Option<Condition> {
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
