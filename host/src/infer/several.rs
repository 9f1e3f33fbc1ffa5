//! Members that became several, or became one: cut strings, copies, and values that became elements of lists.

use super::assign::Match;
use super::element;
use super::place::Path;
use super::profile::{Column, Keys, Profile};
use super::relate::{Couple, Relation};
use super::scope::{Scope, alike};
use super::tree::{Kind, Node};
use super::trial::{Body, Trials};
use super::write::string;
use super::{Confidence, Strength};

/// An op on several places.
#[derive(Clone, Debug)]
pub(super) struct Several {
    pub(super) kind: Kinds,
    /// In the older shape; a copy has none.
    pub(super) lower: Vec<Path>,
    /// In the newer shape.
    pub(super) upper: Vec<Path>,
    /// The arguments but for the places.
    pub(super) arguments: String,
    pub(super) strength: Strength,
    pub(super) question: Option<String>,
}

/// The ops on several places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kinds {
    Split,
    Join,
    Copy,
}

/// What stands between the parts of a string.
const SEPARATORS: [&str; 10] = [" ", ", ", ",", ":", "/", "@", "|", ";", "-", "_"];

/// Which of two parts holds what is left of a text that has the separator more than once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    First,
    Last,
}

/// Strings that were cut in two, or joined of two. Takes the columns that it explains out of both lists.
pub(super) fn cuts<'s>(
    scope: &Scope<'s>,
    lowers: &mut Vec<&Column<'s>>,
    uppers: &mut Vec<&Column<'s>>,
    into: &mut Vec<Several>,
) {
    while let Some((whole, parts, found)) = cut(scope, lowers, uppers, Kinds::Split) {
        lowers.retain(|column| column.keys != whole);
        uppers.retain(|column| !parts.contains(&column.keys));
        into.push(found);
    }
    while let Some((whole, parts, found)) = cut(scope, uppers, lowers, Kinds::Join) {
        uppers.retain(|column| column.keys != whole);
        lowers.retain(|column| !parts.contains(&column.keys));
        into.push(found);
    }
}

fn cut<'s>(
    scope: &Scope<'s>,
    wholes: &[&Column<'s>],
    parts: &[&Column<'s>],
    name: Kinds,
) -> Option<(Keys, [Keys; 2], Several)> {
    let strings = |column: &&&Column<'s>| column.solid_kinds().into_iter().eq([Kind::String]);
    let row = |pair: &(usize, usize)| if name == Kinds::Split { *pair } else { (pair.1, pair.0) };
    for whole in wholes.iter().filter(strings) {
        for first in parts.iter().filter(strings) {
            for last in parts.iter().filter(strings).filter(|last| last.keys != first.keys) {
                for by in SEPARATORS {
                    let rows = scope.pairs.iter().map(row).map(|(one, other)| {
                        [whole.cells[one], first.cells[other], last.cells[other]].map(|node| node.and_then(Node::text))
                    });
                    let Some((seen, odd, rest)) = agreed(rows, by) else { continue };
                    let found = said(scope, (whole, first, last), by, (seen, odd), rest, name);
                    return Some((whole.keys.clone(), [first.keys.clone(), last.keys.clone()], found));
                }
            }
        }
    }
    None
}

/// In how many rows a text is its parts with the separator between, how many have an empty last part instead of none,
/// and which part takes the rest. None if a row disagrees, or fewer than two are cut.
fn agreed<'t>(rows: impl Iterator<Item = [Option<&'t str>; 3]>, by: &str) -> Option<(usize, usize, Rest)> {
    let (mut seen, mut odd, mut firsts, mut lasts) = (0, 0, false, false);
    for row in rows {
        match row {
            [Some(whole), Some(first), Some(last)] if whole == format!("{first}{by}{last}") => {
                seen += 1;
                firsts |= first.contains(by);
                lasts |= last.contains(by);
            }
            [Some(whole), Some(first), Some("")] if whole == first => odd += 1,
            [Some(whole), Some(first), None] if whole == first && !whole.contains(by) => {}
            [None, None, None] => {}
            _ => return None,
        }
    }
    let rest = if firsts { Rest::First } else { Rest::Last };
    (seen >= 2 && !(firsts && lasts)).then_some((seen, odd, rest))
}

fn said(
    scope: &Scope<'_>,
    (whole, first, last): (&Column<'_>, &Column<'_>, &Column<'_>),
    by: &str,
    (seen, odd): (usize, usize),
    rest: Rest,
    name: Kinds,
) -> Several {
    let (outer, inner) = match name {
        Kinds::Split | Kinds::Copy => (&scope.lower, &scope.upper),
        Kinds::Join => (&scope.upper, &scope.lower),
    };
    let whole = vec![outer.below(&whole.keys)];
    let parts = vec![inner.below(&first.keys), inner.below(&last.keys)];
    let rest = if rest == Rest::First { ", rest = \"first\"" } else { "" };
    let by = string(by);
    let arguments = format!(", by = {by}{rest}");
    let confidence = if seen >= 3 && odd == 0 { Confidence::High } else { Confidence::Medium };
    let evidence = format!("both parts with {by} between in {seen} of {} {}", scope.pairs.len(), scope.counted());
    let question = (odd > 0).then(|| {
        format!(
            "{odd} have an empty last part where there is nothing to cut, and the rule leaves it absent: is that right?"
        )
    });
    let (lower, upper) = if name == Kinds::Join { (parts, whole) } else { (whole, parts) };
    Several { kind: name, lower, upper, arguments, strength: Strength { confidence, evidence }, question }
}

/// New members that always say what another one says that stayed. Takes them out of the list.
pub(super) fn copies<'s>(
    scope: &Scope<'s>,
    matches: &[Match<'_, 's>],
    uppers: &mut Vec<&Column<'s>>,
    into: &mut Vec<Several>,
) {
    uppers.retain(|copy| {
        let first =
            matches.iter().filter(|one| one.is_clear() && one.only.is_none()).map(|one| one.upper).find(|first| {
                let differ = copy.cells.iter().zip(&first.cells).any(|(copy, first)| match (copy, first) {
                    (Some(copy), Some(first)) => !copy.same(first),
                    (None, None) => false,
                    (Some(_), None) | (None, Some(_)) => true,
                });
                !differ && first.distinct().len() >= 3
            });
        let Some(first) = first else { return true };
        let [from, to] = [&first.keys, &copy.keys].map(|keys| scope.upper.below(keys));
        let evidence = format!(
            "the same as {from} in {} of {} newer records, {} different values",
            copy.present(),
            copy.cells.len(),
            first.distinct().len()
        );
        let strength = Strength { confidence: Confidence::High, evidence };
        let (lower, upper, arguments) = (Vec::new(), vec![from, to], String::new());
        into.push(Several { kind: Kinds::Copy, lower, upper, arguments, strength, question: None });
        false
    });
}

/// Values, or whole objects, that became elements of lists, or were such elements.
pub(super) fn wraps<'c, 's>(
    scope: &Scope<'s>,
    lower: &'c Profile<'s>,
    upper: &'c Profile<'s>,
    (lowers, uppers): (&[&'c Column<'s>], &[&'c Column<'s>]),
    trials: &mut Trials,
) -> Vec<Match<'c, 's>> {
    let mut found = Vec::new();
    let values = |own: &'c Profile<'s>, other: &Profile<'s>, columns: &[&'c Column<'s>]| -> Vec<&'c Column<'s>> {
        let objects =
            own.objects.iter().filter(|object| !object.keys.is_empty() && other.object(&object.keys).is_none());
        let scalars = columns.iter().copied().filter(|column| column.values().all(Node::is_scalar));
        objects.chain(scalars).collect()
    };
    let lists = |columns: &[&'c Column<'s>]| -> Vec<&'c Column<'s>> {
        columns.iter().copied().filter(|column| column.solid_kinds().into_iter().eq([Kind::Array])).collect()
    };
    for (ones, others, name) in
        [(values(lower, upper, lowers), lists(uppers), "wrap"), (lists(lowers), values(upper, lower, uppers), "unwrap")]
    {
        for one in &ones {
            for other in &others {
                found.extend(wrapped(scope, one, other, name, trials));
            }
        }
    }
    found
}

fn wrapped<'c, 's>(
    scope: &Scope<'s>,
    lower: &'c Column<'s>,
    upper: &'c Column<'s>,
    name: &'static str,
    trials: &mut Trials,
) -> Option<Match<'c, 's>> {
    let likeness = alike(&lower.keys, &upper.keys);
    let couple = Couple { lower, upper, pairs: &scope.pairs, likeness };
    let both = couple.both();
    let pairs = both.iter().map(|(one, other)| sides_of(name, *one, *other));
    let full: Vec<element::Pair<'_>> = pairs.filter(|(_, list)| !list.elements().is_empty()).collect();
    let (value, list) = full.first()?;
    let arguments = match list.elements().first()?.same(value) {
        true => String::new(),
        false => element::arguments(&full)?,
    };
    // A list without such an element, beside a record that has no value.
    // (The column of an object knows nothing of the other values at its place.)
    let alone = scope.pairs.iter().any(|(one, other)| {
        let (_, list) = sides_of(name, lower.cells[*one], upper.cells[*other]);
        let (record, keys) = sides_of(name, (scope.lowers[*one], &lower.keys), (scope.uppers[*other], &upper.keys)).0;
        list.is_some() && keys.iter().try_fold(record, |node, key| node.member(key)).is_none()
    });
    let none = if alone { ", none = { absent = true }" } else { "" };
    let body = Body::new(name, format!("on_edit = \"head\"{arguments}{none}"));
    let bodies = [body.clone()];
    let fit = couple.fit(Relation::Wrap { body }, |one, other| trials.relates(&bodies, 0, (one, other)));
    if !fit.holds() {
        return None;
    }
    let telling = (fit.different as f64 / 3.0).min(1.0);
    let present = fit.both as f64 / (fit.both + fit.alone) as f64;
    let rank = 0.9 * present * (0.55 * telling + 0.45 * likeness);
    Some(Match { lower, upper, only: None, fit, rank, rivals: Vec::new() })
}

/// The side of the value, and that of the list.
fn sides_of<T>(name: &str, lower: T, upper: T) -> (T, T) {
    if name == "wrap" { (lower, upper) } else { (upper, lower) }
}
