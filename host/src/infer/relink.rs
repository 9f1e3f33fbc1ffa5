//! Members that stand elsewhere: objects that went as a whole first, so that what is in them needs no op of its own.

use super::assign::Match;
use super::place::Path;
use super::profile::{Keys, Profile};
use super::relate::Relation;
use super::scope::{Findings, Link, Scope};
use super::{Confidence, Strength};

/// The links of a scope: of objects, and of the members that don't stand where their object takes them.
pub(super) fn links(
    scope: &Scope<'_>,
    lower: &Profile<'_>,
    upper: &Profile<'_>,
    matches: &[Match<'_, '_>],
    findings: &mut Findings,
) {
    let objects = objects(lower, upper, matches);
    for (from, to, count) in &objects {
        let evidence = format!("{count} of its members are found in {}", scope.upper.below(to));
        findings.links.push(Link {
            lower: scope.lower.below(from),
            upper: scope.upper.below(to),
            only: None,
            strength: Strength { confidence: Confidence::High, evidence },
            asked: None,
        });
    }
    for one in matches {
        if !one.is_clear() {
            ask(scope, one, findings);
        } else if one.only.is_some() || carried(&one.lower.keys, &objects) != one.upper.keys {
            findings.links.push(link(scope, one, (&one.lower.keys, &one.upper.keys), None));
        }
    }
}

fn link(scope: &Scope<'_>, one: &Match<'_, '_>, (lower, upper): (&Keys, &Keys), asked: Option<String>) -> Link {
    let strength = one.strength(&scope.counted());
    Link { lower: scope.lower.below(lower), upper: scope.upper.below(upper), only: one.only, strength, asked }
}

/// A match that too little speaks for, or not more than for others: each is shown, none is active.
fn ask(scope: &Scope<'_>, one: &Match<'_, '_>, findings: &mut Findings) {
    let asked = match one.rivals.is_empty() {
        true => "is it this one under another name? If so, take this line and drop what is added and removed for it",
        false => "the samples speak as much for each of these: which is it? Take one line",
    };
    let own = (one.lower.keys.clone(), one.upper.keys.clone());
    let elsewhere = std::iter::once(&own).chain(&one.rivals).filter(|(lower, upper)| lower != upper);
    for (lower, upper) in elsewhere {
        findings.links.push(link(scope, one, (lower, upper), Some(asked.to_owned())));
    }
    if !matches!(one.fit.relation, Relation::Same | Relation::Elements) {
        findings.changes.push(scope.change(one, Some("it goes with the line above that asks for it".to_owned())));
    }
}

/// Objects of the older shape that are others in the newer one: all that is known of their members says so.
fn objects(lower: &Profile<'_>, upper: &Profile<'_>, matches: &[Match<'_, '_>]) -> Vec<(Keys, Keys, usize)> {
    let mut found: Vec<(Keys, Keys, usize)> = Vec::new();
    let clear = |one: &&Match<'_, '_>| one.is_clear() && one.only.is_none();
    for one in matches.iter().filter(clear) {
        let (from, to) = (carried(&one.lower.keys, &found), &one.upper.keys);
        let common = from.iter().rev().zip(to.iter().rev()).take_while(|(a, b)| a == b).count();
        if from == *to || common == 0 {
            continue;
        }
        let (x, y) = (&one.lower.keys[..one.lower.keys.len() - common], &to[..to.len() - common]);
        let (x, y) = (x.to_vec(), y.to_vec());
        if x.is_empty() || y.is_empty() || x.starts_with(&y) || y.starts_with(&x) {
            continue;
        }
        let free = upper.object(&x).is_none() && lower.object(&y).is_none() && lower.column(&y).is_none();
        let inside: Vec<&Match<'_, '_>> =
            matches.iter().filter(clear).filter(|other| other.lower.keys.starts_with(&x)).collect();
        let under = inside.iter().filter(|other| other.upper.keys.starts_with(&y));
        let along = under.clone().filter(|other| other.lower.keys[x.len()..] == other.upper.keys[y.len()..]).count();
        if free && lower.object(&x).is_some() && (along * 2 > inside.len() || under.count() == inside.len()) {
            found.push((x, y, along));
        }
    }
    found
}

/// Where a place of the older shape is once the objects have gone.
fn carried(keys: &Keys, objects: &[(Keys, Keys, usize)]) -> Keys {
    objects.iter().fold(keys.clone(), |at, (from, to, _)| match at.strip_prefix(from.as_slice()) {
        Some(rest) => to.iter().chain(rest).cloned().collect(),
        None => at,
    })
}

/// The links in an order in which each finds its place: renames, then moves; outer ones first; a place that another
/// link wants is left before.
pub(super) fn ordered(links: &[Link]) -> Vec<Link> {
    let is_rename = |link: &Link| {
        link.lower.parent().len() == link.upper.parent().len() && {
            let parent = links.iter().filter(|outer| outer.lower.0.len() < link.lower.0.len());
            let mut outer: Vec<&Link> = parent.collect();
            outer.sort_by_key(|outer| outer.lower.0.len());
            let at = outer.iter().rev().fold(link.lower.clone(), |at, outer| {
                if at.starts_with(&outer.lower) { at.carried_along(&outer.lower, &outer.upper) } else { at }
            });
            at.parent() == link.upper.parent()
        }
    };
    let mut order: Vec<(bool, Link)> = links.iter().map(|link| (!is_rename(link), link.clone())).collect();
    order.sort_by_key(|(moves, link)| (*moves, link.lower.0.len()));
    let mut order: Vec<Link> = order.into_iter().map(|(_, link)| link).collect();
    // Each pass puts a link behind the one that leaves the place it wants; a ring has no such order and stays.
    for _ in 0..order.len() {
        let wanted = (0..order.len()).find_map(|n| {
            let later = (n + 1..order.len()).find(|later| order[*later].lower == order[n].upper)?;
            Some((n, later))
        });
        let Some((n, later)) = wanted else { break };
        let link = order.remove(later);
        order.insert(n, link);
    }
    order
}

/// Where a place of the older shape is after these links.
pub(super) fn after(place: &Path, links: &[(Path, Path)]) -> Path {
    links.iter().fold(place.clone(), |at, (from, to)| at.carried_along(from, to))
}
