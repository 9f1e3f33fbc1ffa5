//! The pack as its author wrote it: JSON tables that know their place, so that every problem can name it.
//!
//! Nothing is resolved here: a [`Table`] hands out its members one by one and notes what is missing, of the wrong kind
//! or unknown. Values keep their JSON text.

use std::cell::RefCell;

use serde_json::value::RawValue;

use crate::json::{self, Kind};
use crate::path::{self, Path};

/// Something wrong with a pack, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the pack, as a JSON Pointer into its JSON form.
    pub pointer: String,
    /// What is wrong and what to do, the place for people first.
    pub message: String,
}

/// How records are treated where the rules leave a choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Where the carry lives.
    pub carry: CarryPlace,
    /// The member that holds an inline carry.
    pub carry_member: String,
    /// The longest carry, in bytes.
    pub carry_max_bytes: u32,
    /// What is done when the carry would grow beyond that.
    pub carry_overflow: Overflow,
    /// What is done with a record of a version that the pack doesn't know.
    pub unknown_version: Outlook,
    /// What is done with a body that is no JSON object.
    pub opaque: Outlook,
    /// Which double keys are refused.
    pub duplicate_keys: Duplicates,
    /// The longest record, in bytes.
    pub max_bytes: u32,
    /// The deepest nesting of a record.
    pub max_depth: u32,
    /// The most values that one translation may lose, where no carry keeps them.
    pub max_lost: u32,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            carry: CarryPlace::Beside,
            carry_member: "_unskew".to_owned(),
            carry_max_bytes: 16 << 10,
            carry_overflow: Overflow::Refuse,
            unknown_version: Outlook::Refuse,
            opaque: Outlook::Pass,
            duplicate_keys: Duplicates::Touched,
            max_bytes: 1 << 20,
            max_depth: 64,
            max_lost: u32::MAX,
        }
    }
}

/// Where the carry lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CarryPlace {
    /// The caller keeps the bytes beside the record.
    Beside,
    /// In a member of the record.
    Inline,
    /// Nowhere.
    None,
}

/// What is done when the carry would grow beyond its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The record is refused with a fault.
    Refuse,
    /// The step's entries are dropped as a whole; pairs that carry are lossy.
    Drop,
}

/// What is done with a record that the rules do not speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// It passes, byte for byte.
    Pass,
    /// It is refused with a fault.
    Refuse,
}

/// Which double keys are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicates {
    /// Those of keys that an op touches.
    Touched,
    /// All.
    Everywhere,
}

/// Collects all problems of a pack.
#[derive(Default)]
pub(crate) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    pub(crate) fn note(&self, pointer: &str, place: &str, message: impl Into<String>) {
        let message = message.into();
        let message = if place.is_empty() { message } else { format!("{place}: {message}") };
        self.0.borrow_mut().push(Problem { pointer: pointer.to_owned(), message });
    }

    pub(crate) fn into_vec(self) -> Vec<Problem> {
        self.0.into_inner()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}

/// One value of the pack, with its place.
#[derive(Clone)]
pub(crate) struct Field<'p> {
    raw: &'p RawValue,
    pub(crate) pointer: String,
    /// The place for people: `step 1→2, op 3`.
    pub(crate) place: String,
    problems: &'p Problems,
}

/// One object of the pack, with its place.
pub(crate) struct Table<'p> {
    members: Vec<(String, &'p RawValue)>,
    taken: Vec<String>,
    pub(crate) pointer: String,
    pub(crate) place: String,
    pub(crate) problems: &'p Problems,
}

impl<'p> Field<'p> {
    /// The whole pack.
    pub(crate) fn whole(pack: &'p [u8], problems: &'p Problems) -> Option<Field<'p>> {
        match serde_json::from_slice(pack) {
            Ok(raw) => Some(Field { raw, pointer: String::new(), place: String::new(), problems }),
            Err(error) => {
                problems.note("", "", format!("the pack is no JSON: {error}"));
                None
            }
        }
    }

    pub(crate) fn text(&self) -> &'p str {
        self.raw.get()
    }

    pub(crate) fn problem(&self, message: impl Into<String>) {
        self.problems.note(&self.pointer, &self.place, message);
    }

    /// This value, spoken of as `place`.
    pub(crate) fn called(mut self, place: impl Into<String>) -> Field<'p> {
        self.place = place.into();
        self
    }

    pub(crate) fn kind(&self) -> Kind {
        Kind::of(self.text().as_bytes())
    }

    fn expected(&self, what: &str) {
        let name = self.pointer.rsplit('/').next().unwrap_or_default();
        self.problem(format!("{name} must be {what}, found {}", self.kind().name()));
    }

    pub(crate) fn string(&self) -> Option<String> {
        let text = serde_json::from_str(self.text()).ok();
        if text.is_none() {
            self.expected("a string");
        }
        text
    }

    pub(crate) fn path(&self) -> Option<Path> {
        Path::parse(&self.string()?).map_err(|why| self.problem(why)).ok()
    }

    /// A path that ends in a key.
    pub(crate) fn member_path(&self) -> Option<Path> {
        let path = self.path()?;
        if path.scope_len() == path.0.len() {
            self.problem(format!("{path} ends in \"*\", but this op works on one member: end the path in a key"));
            return None;
        }
        Some(path)
    }

    pub(crate) fn boolean(&self) -> Option<bool> {
        let value = serde_json::from_str(self.text()).ok();
        if value.is_none() {
            self.expected("true or false");
        }
        value
    }

    pub(crate) fn integer(&self, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let value: Option<u64> = serde_json::from_str(self.text()).ok().filter(|value| range.contains(value));
        if value.is_none() {
            let name = self.pointer.rsplit('/').next().unwrap_or_default();
            self.problem(format!(
                "{name} must be a whole number from {} to {}, found {}",
                range.start(),
                range.end(),
                self.text()
            ));
        }
        value
    }

    /// A value as it stands, compact.
    pub(crate) fn literal(&self) -> String {
        json::compact(self.text())
    }

    /// One of a few names.
    pub(crate) fn choice<T: Copy>(&self, names: &[(&str, T)]) -> Option<T> {
        let text = self.string()?;
        let found = names.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
            self.problem(format!("unknown value \"{text}\"{}", hint(&text, &known)));
        }
        found
    }

    pub(crate) fn list(&self) -> Vec<Field<'p>> {
        let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(self.text()) else {
            self.expected("a list");
            return Vec::new();
        };
        let item = |(index, raw)| Field {
            raw,
            pointer: format!("{}/{index}", self.pointer),
            place: self.place.clone(),
            problems: self.problems,
        };
        items.into_iter().enumerate().map(item).collect()
    }

    pub(crate) fn table(&self) -> Option<Table<'p>> {
        let Ok(Members(members)) = serde_json::from_str(self.text()) else {
            self.expected("a table");
            return None;
        };
        for (index, (key, _)) in members.iter().enumerate() {
            if members.iter().take(index).any(|(other, _)| other == key) {
                self.problem(format!("\"{key}\" stands here twice"));
            }
        }
        Some(Table {
            members,
            taken: Vec::new(),
            pointer: self.pointer.clone(),
            place: self.place.clone(),
            problems: self.problems,
        })
    }
}

impl<'p> Table<'p> {
    /// A member, if it is there.
    pub(crate) fn take(&mut self, name: &str) -> Option<Field<'p>> {
        self.taken.push(name.to_owned());
        let (_, raw) = self.members.iter().find(|(key, _)| key == name)?;
        let pointer = format!("{}/{}", self.pointer, path::escaped(name));
        Some(Field { raw, pointer, place: self.place.clone(), problems: self.problems })
    }

    /// A member that must be there.
    pub(crate) fn need(&mut self, name: &str) -> Option<Field<'p>> {
        let field = self.take(name);
        if field.is_none() {
            self.problem(format!("\"{name}\" is missing"));
        }
        field
    }

    /// All items of a list member, which may be missing.
    pub(crate) fn items(&mut self, name: &str) -> Vec<Field<'p>> {
        self.take(name).map(|field| field.list()).unwrap_or_default()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.members.iter().any(|(key, _)| key == name)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|(key, _)| key.as_str())
    }

    pub(crate) fn problem(&self, message: impl Into<String>) {
        self.problems.note(&self.pointer, &self.place, message);
    }

    /// Notes every member that nobody asked for.
    pub(crate) fn finish(self) {
        let known: Vec<&str> = self.taken.iter().map(String::as_str).collect();
        for key in self.keys().filter(|key| !known.contains(key)) {
            let pointer = format!("{}/{}", self.pointer, path::escaped(key));
            self.problems.note(&pointer, &self.place, format!("unknown key \"{key}\"{}", hint(key, &known)));
        }
    }
}

/// The end of a message about an unknown name: the nearest known one, or all of them.
pub(crate) fn hint(name: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|other| (distance(name, other), other)).min();
    match nearest {
        Some((edits, other)) if edits * 2 <= name.len() => format!(", did you mean \"{other}\"?"),
        _ => format!(": use one of {}", known.join(", ")),
    }
}

/// The Levenshtein distance of two names.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut previous = i;
        let mut next = vec![i + 1];
        for (y, above) in b.iter().zip(row.iter().skip(1)) {
            let left = next.last().copied().unwrap_or(0);
            next.push((left + 1).min(above + 1).min(previous + usize::from(x != *y)));
            previous = *above;
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

/// The members of an object in order, double keys included.
struct Members<'p>(Vec<(String, &'p RawValue)>);

impl<'de: 'p, 'p> serde::Deserialize<'de> for Members<'p> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Vec<(String, &'de RawValue)>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a table")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Visitor).map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_name_the_nearest() {
        assert_eq!(hint("renam", &["rename", "move"]), ", did you mean \"rename\"?");
        assert_eq!(hint("3", &["1", "2"]), ": use one of 1, 2");
        assert_eq!(hint("zzzzz", &["rename", "move"]), ": use one of rename, move");
    }
}
