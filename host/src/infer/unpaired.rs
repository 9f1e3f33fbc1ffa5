//! Sides of which nothing is known to be of one session: names, kinds, ranges and sets of values are all there is.

use std::collections::BTreeSet;

use super::assign::Match;
use super::decimal::Decimal;
use super::place::Path;
use super::profile::Column;
use super::relate::{Couple, Fit, Relation};
use super::scope::{Findings, keyed, shortened};
use super::times;
use super::tree::{Kind, Node};
use super::trial::{Body, Trials};

/// Sets of values are compared up to this size.
const ENUMERATION: usize = 8;

/// What became of a member that stands where it stood, as far as distributions tell; what they don't is asked.
pub(super) fn at_one_place(
    place: &Path,
    couple: &Couple<'_, '_>,
    trials: &mut Trials,
    findings: &mut Findings,
) -> Option<Fit> {
    let (lower, upper) = (couple.lower, couple.upper);
    let kinds = [lower, upper].map(Column::solid_kinds);
    if !kinds[0].is_empty() && !kinds[1].is_empty() && kinds[0].is_disjoint(&kinds[1]) {
        return time(lower, upper, trials).map(fit);
    }
    if keyed(lower) || keyed(upper) {
        return Some(fit(Relation::Elements));
    }
    if let Some(relation) = time(lower, upper, trials) {
        return Some(fit(relation));
    }
    findings.questions.extend(enumeration(place, lower, upper));
    if let Some((body, said)) = unit(lower, upper) {
        findings.questions.push(format!("{place}: {said}. Is it another unit? {}", body.at(&place.to_string())));
    }
    Some(fit(Relation::Same))
}

/// Few values that are others on the other side: which became which, nobody knows.
pub(super) fn enumeration(place: &Path, lower: &Column<'_>, upper: &Column<'_>) -> Option<String> {
    let [low, high] = [lower, upper].map(values);
    let small = |column: &Column<'_>, values: &BTreeSet<String>| {
        let short = column.values().all(|node| node.text().is_none_or(|text| text.len() <= 32));
        short
            && values.len() <= ENUMERATION
            && values.len() < column.present()
            && column.kinds().contains(&Kind::String)
    };
    let [gone, new] = [low.difference(&high), high.difference(&low)].map(|set| set.cloned().collect::<Vec<_>>());
    if !small(lower, &low) || !small(upper, &high) || gone.is_empty() || new.is_empty() {
        return None;
    }
    Some(format!(
        "{place}: only older records say {}, only newer ones {}: which became which? \
         {{ map = {}, values = [[{}, {}]], otherwise = \"keep\" }}",
        gone.join(", "),
        new.join(", "),
        super::write::string(&place.to_string()),
        gone[0],
        new[0],
    ))
}

/// A member under two names.
pub(super) fn weighed<'c, 's>(
    lower: &'c Column<'s>,
    upper: &'c Column<'s>,
    likeness: f64,
    trials: &mut Trials,
) -> Option<Match<'c, 's>> {
    let kinds = [lower, upper].map(Column::solid_kinds);
    let relation = match time(lower, upper, trials) {
        Some(relation) if likeness >= 0.5 => Some((relation, likeness * 0.8)),
        _ if kinds[0].is_disjoint(&kinds[1]) => None,
        _ => {
            let scaled = unit(lower, upper).filter(|_| likeness >= 0.85);
            let [low, high] = [lower, upper].map(values);
            let common = low.intersection(&high).count();
            let shared = common as f64 / low.len().min(high.len()).max(1) as f64;
            let telling = (common as f64 / 4.0).min(1.0);
            let rank = (likeness * 0.45).max(0.55 * shared * telling + 0.4 * likeness);
            match scaled {
                Some((body, said)) => Some((Relation::Scale { body, said }, likeness * 0.4)),
                None if rank >= 0.25 => Some((Relation::Same, rank)),
                None => None,
            }
        }
    };
    let (relation, rank) = relation?;
    Some(Match { lower, upper, only: None, fit: fit(relation), rank, rivals: Vec::new() })
}

/// What speaks for a match of columns without pairs.
pub(super) fn evidence(one: &Match<'_, '_>) -> String {
    let [low, high] = [one.lower, one.upper].map(values);
    let common = low.intersection(&high).count();
    let range = |column: &Column<'_>| {
        let example = column.values().find(|node| node.kind() != Kind::Null).map(|node| shortened(&node.to_string()));
        format!(
            "{} in {} of {} records",
            example.unwrap_or_else(|| "null".to_owned()),
            column.present(),
            column.cells.len()
        )
    };
    let seen = format!("older as {}, newer as {}", range(one.lower), range(one.upper));
    match &one.fit.relation {
        Relation::Same
        | Relation::Elements
        | Relation::Map { .. }
        | Relation::Convert(_)
        | Relation::Wrap { .. }
        | Relation::Default(_) => {
            let common = match common {
                0 => "no value in common: the names alone say so".to_owned(),
                1 => "1 value in common".to_owned(),
                common => format!("{common} values in common"),
            };
            format!("no pairs to compare; {common}, {seen}")
        }
        Relation::Time(lower, upper) => {
            format!(
                "no pairs to compare; all older values are {}, all newer ones {}, {seen}",
                lower.name(),
                upper.name()
            )
        }
        Relation::Scale { said, .. } => format!("no pairs to compare; {said}, {seen}"),
    }
}

fn fit(relation: Relation) -> Fit {
    Fit { relation, both: 0, agree: 0, alone: 0, different: 0 }
}

fn values(column: &Column<'_>) -> BTreeSet<String> {
    column.values().filter(|node| node.kind() != Kind::Null && node.kind() != Kind::Bool).map(Node::value).collect()
}

/// Two forms of time, where each side has one form only and they differ.
fn time(lower: &Column<'_>, upper: &Column<'_>, trials: &mut Trials) -> Option<Relation> {
    let [low, high] = [lower, upper].map(|column| times::forms(trials, column));
    match (low.as_slice(), high.as_slice()) {
        ([low], [high]) if low != high => Some(Relation::Time(low.clone(), high.clone())),
        _ => None,
    }
}

/// Numbers whose middles are a thousand, or a thousand thousands apart.
fn unit(lower: &Column<'_>, upper: &Column<'_>) -> Option<(Body, String)> {
    let middle = |column: &Column<'_>| -> Option<i64> {
        let numbers: Vec<Decimal> = column
            .values()
            .filter(|node| node.kind() == Kind::Number)
            .filter_map(|node| Decimal::parse(node.number()?))
            .collect();
        let mut sizes: Vec<i64> = numbers.iter().filter(|number| !number.is_zero()).map(Decimal::magnitude).collect();
        sizes.sort_unstable();
        (sizes.len() >= 3).then(|| sizes[sizes.len() / 2])
    };
    let apart = middle(upper)? - middle(lower)?;
    let factor = match apart {
        3 => "1000",
        6 => "1000000",
        -3 => "0.001",
        -6 => "0.000001",
        _ => return None,
    };
    let said = format!("the middle of its numbers is about {factor} times what it was");
    Some((Body::new("scale", format!("factor = {factor}")), said))
}
