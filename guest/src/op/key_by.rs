//! `key_by` and `list`: a list of objects that becomes an object of objects, keyed by one of their members.

use std::collections::{BTreeMap, BTreeSet};

use crate::json::{self, Kind};
use crate::op::edit::{Edit, Put, Recalled};
use crate::op::{Direction, Refusal};
use crate::pack::Table;
use crate::path::{Path, Seg};
use crate::rules::FaultKind;

/// `{ key_by = "/a", key = "id" }`.
#[derive(Clone, Debug)]
pub(crate) struct KeyBy {
    /// The member of each element that becomes its key.
    key: String,
    /// The same as JSON text.
    quoted: String,
}

/// An element without its key: the key and the value, as JSON text.
type Keyed<'t> = (&'t [u8], Vec<u8>);

impl KeyBy {
    pub(crate) fn write(
        &self,
        direction: Direction,
        found: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<Put<'_>, Refusal> {
        let Some(text) = found else { return Ok(Put::Absent) };
        match direction {
            Direction::Up => {
                let members = self.keyed(text)?;
                let mut seen = BTreeSet::new();
                if !members.iter().all(|(key, _)| seen.insert(json::unescaped(key))) {
                    return Err(Refusal {
                        kind: FaultKind::DuplicateKey,
                        expected: format!("each {} once", self.key),
                        found: "two elements with the same one".to_owned(),
                    });
                }
                *out = json::object(&members);
            }
            Direction::Down => {
                let elements: Vec<Vec<u8>> = self.elements(text)?.into_iter().map(|(_, element)| element).collect();
                *out = json::array(&elements);
            }
        }
        Ok(Put::Written)
    }

    /// The elements of an object in the order that the carry remembers, others behind them.
    pub(crate) fn recall(&self, found: Option<&[u8]>, was: Option<&str>, out: &mut Vec<u8>) -> Recalled<'static> {
        let order = was.map(str::as_bytes).filter(|was| Kind::of(was) == Kind::Array);
        let (Some(text), Some(order)) = (found, order) else { return Recalled::Nothing };
        let Ok(elements) = self.elements(text) else { return Recalled::Nothing };
        let order = json::elements(order);
        let ranks: BTreeMap<_, usize> =
            order.iter().enumerate().map(|(rank, key)| (json::unescaped(key), rank)).collect();
        let rank = |key: &[u8]| ranks.get(&json::unescaped(key)).copied().unwrap_or(usize::MAX);
        let mut elements: Vec<(usize, Vec<u8>)> =
            elements.into_iter().map(|(key, element)| (rank(key), element)).collect();
        elements.sort_by_key(|(rank, _)| *rank);
        let elements: Vec<Vec<u8>> = elements.into_iter().map(|(_, element)| element).collect();
        *out = json::array(&elements);
        Recalled::Merged(Put::Written)
    }

    /// The keys of a list in their order, where there is an order to lose.
    pub(crate) fn order(&self, list: &[u8]) -> Option<String> {
        let keys: Vec<Vec<u8>> = self.keyed(list).ok()?.into_iter().map(|(key, _)| key.to_vec()).collect();
        (keys.len() > 1).then(|| json::owned(&json::array(&keys)))
    }

    pub(crate) fn below(&self) -> Vec<Path> {
        vec![Path(vec![Seg::Star]), self.path()]
    }

    /// Where the key stands below a list.
    pub(crate) fn path(&self) -> Path {
        Path(vec![Seg::Star, Seg::Key(self.key.clone())])
    }

    fn keyed<'t>(&self, list: &'t [u8]) -> Result<Vec<Keyed<'t>>, Refusal> {
        if Kind::of(list) != Kind::Array {
            return Err(Refusal::wrong_type("an array", list));
        }
        let keyed = |element: &'t [u8]| {
            let members = if Kind::of(element) == Kind::Object { json::spelled(element) } else { Vec::new() };
            let is_key = |(name, _): &(&[u8], &[u8])| *json::unescaped(name) == *self.key.as_bytes();
            let key = members.iter().find(|member| is_key(member)).map(|(_, value)| *value);
            let key = key.filter(|key| Kind::of(key) == Kind::String);
            let others: Vec<(&[u8], &[u8])> = members.into_iter().filter(|member| !is_key(member)).collect();
            Some((key?, json::object(&others)))
        };
        let keyed = |element| {
            keyed(element)
                .ok_or_else(|| Refusal::wrong_type(&format!("objects whose {} is a string", self.key), element))
        };
        json::elements(list).into_iter().map(keyed).collect()
    }

    /// The members of an object as elements of a list, each with its key as it is spelled.
    fn elements<'t>(&self, object: &'t [u8]) -> Result<Vec<Keyed<'t>>, Refusal> {
        if Kind::of(object) != Kind::Object {
            return Err(Refusal::wrong_type("an object", object));
        }
        let element = |(key, value): (&'t [u8], &'t [u8])| {
            if Kind::of(value) != Kind::Object {
                return Err(Refusal::wrong_type("an object of objects", value));
            }
            let others = json::spelled(value);
            if others.iter().any(|(name, _)| *json::unescaped(name) == *self.key.as_bytes()) {
                return Err(Refusal {
                    kind: FaultKind::Conflict,
                    expected: format!("no {} within the members", self.key),
                    found: "one that exists already".to_owned(),
                });
            }
            let members: Vec<(&[u8], &[u8])> = [(self.quoted.as_bytes(), key)].into_iter().chain(others).collect();
            Ok((key, json::object(&members)))
        };
        json::spelled(object).into_iter().map(element).collect()
    }

    pub(crate) fn read(table: &mut Table<'_>) -> Option<Edit> {
        let key = table.need("key")?;
        let name = key.string()?;
        if name.starts_with('/') {
            key.problem(format!(
                "the key is a member of the elements themselves: write its name alone, not \"{name}\""
            ));
            return None;
        }
        let quoted = json::quoted(&name);
        Some(Edit::KeyBy(KeyBy { key: name, quoted }))
    }
}
