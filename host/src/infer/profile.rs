//! What a set of records has in common: a column of values for every place, and where objects stand.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::{Kind, Node};

/// A place within a scope, without `*`. Empty for the scope's own values, where they are no objects.
pub(super) type Keys = Vec<String>;

/// The values of many records, or of many elements, place by place in the order in which they were first seen.
#[derive(Debug, Default)]
pub(super) struct Profile<'s> {
    /// How many records.
    pub(super) rows: usize,
    /// Values that are no objects, and objects whose members are told apart by data.
    pub(super) columns: Vec<Column<'s>>,
    /// Objects; their members stand in columns of their own.
    pub(super) objects: Vec<Column<'s>>,
}

/// The values at one place, row by row.
#[derive(Clone, Debug)]
pub(super) struct Column<'s> {
    pub(super) keys: Keys,
    pub(super) cells: Vec<Option<&'s Node>>,
}

impl<'s> Profile<'s> {
    /// The profile of these values.
    pub(super) fn of(rows: &[&'s Node]) -> Profile<'s> {
        let mut profile = Profile { rows: rows.len(), ..Profile::default() };
        let all: Vec<(usize, &Node)> = rows.iter().copied().enumerate().collect();
        profile.add(Vec::new(), &all);
        profile
    }

    pub(super) fn column(&self, keys: &[String]) -> Option<&Column<'s>> {
        self.columns.iter().find(|column| column.keys == keys)
    }

    pub(super) fn object(&self, keys: &[String]) -> Option<&Column<'s>> {
        self.objects.iter().find(|object| object.keys == keys)
    }

    fn add(&mut self, keys: Keys, values: &[(usize, &'s Node)]) {
        let objects: Vec<(usize, &Node)> =
            values.iter().copied().filter(|(_, node)| node.kind() == Kind::Object).collect();
        let keyed = keyed_by_data(objects.iter().map(|(_, node)| *node));
        let others = values.iter().filter(|(_, node)| node.kind() != Kind::Object || keyed);
        let others = self.cells(others.copied());
        if others.iter().any(Option::is_some) {
            self.columns.push(Column { keys: keys.clone(), cells: others });
        }
        if keyed || objects.is_empty() {
            return;
        }
        let cells = self.cells(objects.iter().copied());
        self.objects.push(Column { keys: keys.clone(), cells });
        let mut names: Vec<&str> = Vec::new();
        let mut seen = BTreeSet::new();
        for (key, _) in objects.iter().flat_map(|(_, node)| node.members()) {
            if seen.insert(key.as_str()) {
                names.push(key);
            }
        }
        for name in names {
            let members: Vec<(usize, &Node)> =
                objects.iter().filter_map(|(row, node)| Some((*row, node.member(name)?))).collect();
            let below = keys.iter().cloned().chain([name.to_owned()]).collect();
            self.add(below, &members);
        }
    }

    fn cells(&self, values: impl Iterator<Item = (usize, &'s Node)>) -> Vec<Option<&'s Node>> {
        let mut cells = vec![None; self.rows];
        for (row, node) in values {
            cells[row] = Some(node); // rows are numbered from 0 to self.rows
        }
        cells
    }
}

impl<'s> Column<'s> {
    /// The values that are there.
    pub(super) fn values(&self) -> impl Iterator<Item = &'s Node> {
        self.cells.iter().copied().flatten()
    }

    /// In how many rows there is one.
    pub(super) fn present(&self) -> usize {
        self.values().count()
    }

    pub(super) fn kinds(&self) -> BTreeSet<Kind> {
        self.values().map(Node::kind).collect()
    }

    /// The kinds but for null.
    pub(super) fn solid_kinds(&self) -> BTreeSet<Kind> {
        self.kinds().into_iter().filter(|kind| *kind != Kind::Null).collect()
    }

    /// The different values with their numbers, the most common first.
    pub(super) fn distinct(&self) -> Vec<(&'s Node, usize)> {
        let mut counts: BTreeMap<String, (&Node, usize)> = BTreeMap::new();
        for node in self.values() {
            counts.entry(node.value()).or_insert((node, 0)).1 += 1;
        }
        let mut counts: Vec<(&Node, usize)> = counts.into_values().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }

    /// The one value that stands in every row where there is one.
    pub(super) fn constant(&self) -> Option<&'s Node> {
        match self.distinct().as_slice() {
            [(node, _)] => Some(node),
            _ => None,
        }
    }

    /// The same with only the values of this kind.
    pub(super) fn of_kind(&self, kind: Kind) -> Column<'s> {
        let cells = self.cells.iter().map(|cell| cell.filter(|node| node.kind() == kind)).collect();
        Column { keys: self.keys.clone(), cells }
    }

    pub(super) fn last_key(&self) -> &str {
        self.keys.last().map_or("", String::as_str)
    }
}

/// Whether the keys of these objects are data, as ids are, and no names of members: many, none of them common, and
/// what they lead to is of one kind.
pub(super) fn keyed_by_data<'s>(objects: impl Iterator<Item = &'s Node>) -> bool {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut kinds = BTreeSet::new();
    let mut number = 0;
    for object in objects {
        number += 1;
        for (key, value) in object.members() {
            *counts.entry(key).or_default() += 1;
            kinds.insert(value.kind());
        }
    }
    let common = counts.values().max().copied().unwrap_or(0);
    number >= 2 && counts.len() >= 5 && kinds.len() == 1 && common * 2 <= number
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn nodes(texts: &[&str]) -> Vec<Node> {
        texts.iter().map(|text| Node::parse(text).unwrap()).collect()
    }

    #[test]
    fn every_place_has_a_column() {
        let records = nodes(&[r#"{"a":1,"b":{"c":"x"}}"#, r#"{"b":null,"a":1.0}"#, r#"{"b":{"d":[1]}}"#]);
        let profile = Profile::of(&records.iter().collect::<Vec<_>>());
        let places: Vec<String> = profile.columns.iter().map(|column| column.keys.join(".")).collect();
        assert_eq!(places, ["a", "b", "b.c", "b.d"]);
        assert_eq!(profile.column(&["a".into()]).unwrap().constant().unwrap().to_string(), "1");
        assert_eq!(profile.object(&["b".into()]).unwrap().present(), 2);
        assert_eq!(profile.column(&["b".into()]).unwrap().present(), 1);
    }

    #[test]
    fn keys_that_are_data_are_no_places() {
        let records: Vec<String> =
            (0..6).map(|n| format!(r#"{{"people":{{"p{n}":{{"x":1}},"q{n}":{{"x":2}}}}}}"#)).collect();
        let records = nodes(&records.iter().map(String::as_str).collect::<Vec<_>>());
        let profile = Profile::of(&records.iter().collect::<Vec<_>>());
        assert_eq!(profile.columns.len(), 1);
        assert_eq!(profile.columns[0].keys, ["people"]);
    }
}
