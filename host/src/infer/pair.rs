//! Which records of both sides are of one session, and which elements of two arrays are one element.

use std::collections::{BTreeMap, HashMap};

use super::names::{likeness, says_identity};
use super::profile::{Column, Profile};
use super::tree::{Kind, Node};

/// Rows of both sides that belong together, and why.
#[derive(Clone, Debug, Default)]
pub(super) struct Pairs {
    pub(super) rows: Vec<(usize, usize)>,
    /// By which members, or that there is only one of each.
    pub(super) by: String,
    /// Other members that pair them otherwise, and as well.
    pub(super) rival: Option<String>,
}

/// A pair of members whose values name the rows of both sides.
struct Candidate {
    rows: Vec<(usize, usize)>,
    lower: Vec<String>,
    upper: Vec<String>,
    rank: (usize, u32),
}

impl Pairs {
    /// Pairs by the members that were named. Values that stand in more than one row pair nothing.
    pub(super) fn by_members(lower: &[&Node], upper: &[&Node], keys: (&[String], &[String])) -> Pairs {
        let column = |rows: &[&Node], keys: &[String]| -> Vec<Option<String>> {
            rows.iter().map(|row| keys.iter().try_fold(*row, |node, key| node.member(key)).map(named)).collect()
        };
        let rows = joined(&column(lower, keys.0), &column(upper, keys.1));
        Pairs { rows, by: said(keys.0, keys.1), rival: None }
    }

    /// Pairs by the members that do it best, if some do.
    pub(super) fn found(lower: &Profile<'_>, upper: &Profile<'_>) -> Pairs {
        let mut candidates: Vec<Candidate> = Vec::new();
        for one in &lower.columns {
            for other in &upper.columns {
                candidates.extend(candidate(one, other, lower.rows.min(upper.rows)));
            }
        }
        candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.rank));
        let mut candidates = candidates.into_iter();
        if let Some(best) = candidates.next() {
            let rival = candidates.find(|other| {
                other.rows.len() == best.rows.len() && other.rows.iter().any(|row| !best.rows.contains(row))
            });
            let rival = rival.map(|other| said(&other.lower, &other.upper));
            return Pairs { by: said(&best.lower, &best.upper), rows: best.rows, rival };
        }
        if lower.rows == 1 && upper.rows == 1 {
            let by = "one record on each side, taken as one session".to_owned();
            return Pairs { rows: vec![(0, 0)], by, rival: None };
        }
        Pairs::default()
    }
}

/// Elements of two arrays, or members of two objects whose keys are data, that belong together.
pub(super) struct Elements {
    pub(super) pairs: Vec<(usize, usize)>,
    /// The members that tell elements apart, in the older and in the newer shape.
    pub(super) keys: Option<(String, String)>,
}

/// Pairs the elements of many arrays: by members that name them, else by index where the arrays are as long. Rows of the
/// answer count all elements of a side, array after array.
pub(super) fn elements(arrays: &[(Option<&Node>, Option<&Node>)]) -> Elements {
    let values = |node: Option<&Node>| node.map_or(0, |node| node.elements().len().max(node.members().len()));
    let offsets: Vec<(usize, usize)> = arrays
        .iter()
        .scan((0, 0), |at, (lower, upper)| {
            let here = *at;
            *at = (at.0 + values(*lower), at.1 + values(*upper));
            Some(here)
        })
        .collect();
    let both: Vec<(&Node, &Node, (usize, usize))> = arrays
        .iter()
        .zip(&offsets)
        .filter_map(|((lower, upper), offset)| Some(((*lower)?, (*upper)?, *offset)))
        .collect();
    if both.iter().all(|(lower, upper, _)| lower.kind() == Kind::Object && upper.kind() == Kind::Object) {
        let keys = |node: &Node| node.members().iter().map(|(key, _)| Some(key.clone())).collect::<Vec<_>>();
        let pairs = both.iter().flat_map(|(lower, upper, at)| shifted(joined(&keys(lower), &keys(upper)), *at));
        return Elements { pairs: pairs.collect(), keys: None };
    }
    if let Some((keys, pairs)) = by_keys(&both) {
        return Elements { pairs, keys: Some(keys) };
    }
    let even = both.iter().filter(|(lower, upper, _)| lower.elements().len() == upper.elements().len());
    let pairs: Vec<(usize, usize)> =
        even.clone().flat_map(|(lower, _, at)| (0..lower.elements().len()).map(|n| (at.0 + n, at.1 + n))).collect();
    let mostly = even.count() * 5 >= both.len() * 4;
    Elements { pairs: if mostly { pairs } else { Vec::new() }, keys: None }
}

type Keyed = ((String, String), Vec<(usize, usize)>);

/// The members that pair the most elements, and at least half of the shorter arrays' ones.
fn by_keys(both: &[(&Node, &Node, (usize, usize))]) -> Option<Keyed> {
    let lowers = names(both.iter().map(|(lower, _, _)| *lower));
    let uppers = names(both.iter().map(|(_, upper, _)| *upper));
    let possible: usize = both.iter().map(|(lower, upper, _)| lower.elements().len().min(upper.elements().len())).sum();
    let mut best: Option<((usize, u32), Keyed)> = None;
    for lower in &lowers {
        for upper in &uppers {
            let values = |node: &Node, key: &str| -> Option<Vec<Option<String>>> {
                let values: Vec<Option<String>> = node
                    .elements()
                    .iter()
                    .map(|element| element.member(key).filter(|value| names_something(value)).map(named))
                    .collect();
                unique(&values).then_some(values)
            };
            let pairs: Option<Vec<(usize, usize)>> = both.iter().try_fold(Vec::new(), |mut pairs, (one, other, at)| {
                pairs.extend(shifted(joined(&values(one, lower)?, &values(other, upper)?), *at));
                Some(pairs)
            });
            let Some(pairs) = pairs.filter(|pairs| !pairs.is_empty() && pairs.len() * 2 >= possible) else { continue };
            let rank = (pairs.len(), trust(lower, upper));
            if best.as_ref().is_none_or(|(least, _)| rank > *least) {
                best = Some((rank, ((lower.clone(), upper.clone()), pairs)));
            }
        }
    }
    best.map(|(_, keyed)| keyed)
}

/// The keys of the scalars in elements.
fn names<'s>(arrays: impl Iterator<Item = &'s Node>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (key, value) in arrays.flat_map(Node::elements).flat_map(Node::members) {
        if value.is_scalar() && !names.contains(key) {
            names.push(key.clone());
        }
    }
    names
}

/// Two columns as a key: both unique, and sharing at least two values and half of those that they could.
fn candidate(lower: &Column<'_>, upper: &Column<'_>, most: usize) -> Option<Candidate> {
    let values = |column: &Column<'_>| -> Vec<Option<String>> {
        column.cells.iter().map(|cell| cell.filter(|node| names_something(node)).map(named)).collect()
    };
    let (one, other) = (values(lower), values(upper));
    if !unique(&one) || !unique(&other) {
        return None;
    }
    let rows = joined(&one, &other);
    let trust = trust(lower.last_key(), upper.last_key());
    let numbers = lower.values().all(|node| node.kind() == Kind::Number);
    let short = lower.values().all(|node| named(node).len() < 6);
    let enough = rows.len() >= 2 || most == 1 && !rows.is_empty();
    // Small numbers are found in many places: they name something only where the names agree.
    if !enough || rows.len() * 2 < most || numbers && short && trust < 9 {
        return None;
    }
    let rank = (rows.len(), trust * 2 + u32::from(!numbers));
    Some(Candidate { rows, lower: lower.keys.clone(), upper: upper.keys.clone(), rank })
}

/// How much a pair of members looks like a key by its names.
fn trust(lower: &str, upper: &str) -> u32 {
    let alike = (likeness(lower, upper) * 10.0) as u32;
    alike + if says_identity(lower) || says_identity(upper) { 5 } else { 0 }
}

fn names_something(node: &Node) -> bool {
    matches!(node.kind(), Kind::String | Kind::Number) && node.text() != Some("")
}

/// A value as a name: numbers and numbers in strings are the same.
fn named(node: &Node) -> String {
    node.text().map_or_else(|| node.value(), str::to_owned)
}

fn unique(values: &[Option<String>]) -> bool {
    let mut seen = HashMap::new();
    let some = values.iter().flatten().count() > 0;
    some && values.iter().flatten().all(|value| seen.insert(value, ()).is_none())
}

/// Rows with the same name on both sides, in the order of the first side.
fn joined(lower: &[Option<String>], upper: &[Option<String>]) -> Vec<(usize, usize)> {
    let index = |values: &[Option<String>]| {
        let mut rows: BTreeMap<String, Option<usize>> = BTreeMap::new();
        for (row, value) in values.iter().enumerate() {
            if let Some(value) = value {
                rows.entry(value.clone()).and_modify(|row| *row = None).or_insert(Some(row));
            }
        }
        rows
    };
    let (lower, upper) = (index(lower), index(upper));
    let mut pairs: Vec<(usize, usize)> =
        lower.iter().filter_map(|(name, row)| Some(((*row)?, (*upper.get(name)?)?))).collect();
    pairs.sort_unstable();
    pairs
}

fn shifted(pairs: Vec<(usize, usize)>, at: (usize, usize)) -> impl Iterator<Item = (usize, usize)> {
    pairs.into_iter().map(move |(one, other)| (at.0 + one, at.1 + other))
}

fn said(lower: &[String], upper: &[String]) -> String {
    let path = |keys: &[String]| super::place::Path::default().below(keys).to_string();
    format!("{} = {}", path(lower), path(upper))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn nodes(texts: &[&str]) -> Vec<Node> {
        texts.iter().map(|text| Node::parse(text).unwrap()).collect()
    }

    fn found(lower: &[&str], upper: &[&str]) -> Pairs {
        let (lower, upper) = (nodes(lower), nodes(upper));
        Pairs::found(&Profile::of(&lower.iter().collect::<Vec<_>>()), &Profile::of(&upper.iter().collect::<Vec<_>>()))
    }

    #[test]
    fn a_key_is_found_by_its_values() {
        let pairs = found(
            &[r#"{"session_id":"a","n":1}"#, r#"{"session_id":"b","n":2}"#, r#"{"session_id":"c","n":3}"#],
            &[r#"{"sessionId":"c","m":1}"#, r#"{"sessionId":"a","m":2}"#, r#"{"sessionId":"x","m":3}"#],
        );
        assert_eq!((pairs.rows.as_slice(), pairs.by.as_str()), (&[(0, 1), (2, 0)][..], "/session_id = /sessionId"));
    }

    #[test]
    fn small_numbers_name_nothing_under_other_names() {
        assert!(found(&[r#"{"n":1}"#, r#"{"n":2}"#], &[r#"{"count":2}"#, r#"{"count":1}"#]).rows.is_empty());
    }

    #[test]
    fn elements_are_found_by_key_or_by_index() {
        let arrays = nodes(&[r#"[{"id":"a"},{"id":"b"}]"#, r#"[{"no":"b"},{"no":"a"}]"#, "[1,2]", "[2,3]"]);
        let keyed = elements(&[(Some(&arrays[0]), Some(&arrays[1]))]);
        assert_eq!(keyed.pairs, [(0, 1), (1, 0)]);
        assert_eq!(keyed.keys, Some(("id".into(), "no".into())));
        assert_eq!(elements(&[(Some(&arrays[2]), Some(&arrays[3]))]).pairs, [(0, 0), (1, 1)]);
    }
}
