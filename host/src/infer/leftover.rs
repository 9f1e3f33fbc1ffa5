//! Members that only one shape has: what they are worth to records of the other one.

use super::place::Path;
use super::profile::{Column, Keys, Profile};
use super::scope::{Leftover, Presence, shortened};
use super::{Confidence, Strength};

/// Which side has the member.
pub(super) enum Which {
    Older,
    Newer,
}

/// The columns; where all of an object's are among them and the other side has no such object, the object instead. One
/// that is to be put in must always be the same for that.
pub(super) fn collapsed<'s>(
    own: &Profile<'s>,
    columns: &[&Column<'s>],
    other: &Profile<'s>,
    which: &Which,
) -> Vec<Column<'s>> {
    let one_value = |object: &Column<'_>| match which {
        Which::Older => true,
        Which::Newer => object.constant().is_some(),
    };
    let all = |keys: &Keys| {
        let below = |column: &&Column<'s>| column.keys.len() > keys.len() && column.keys.starts_with(keys);
        own.columns.iter().filter(below).all(|column| columns.iter().any(|one| one.keys == column.keys))
    };
    let whole: Vec<&Column<'s>> = own
        .objects
        .iter()
        .filter(|object| !object.keys.is_empty() && own.column(&object.keys).is_none())
        .filter(|object| other.object(&object.keys).is_none() && other.column(&object.keys).is_none())
        .filter(|object| {
            all(&object.keys) && one_value(object) && object.values().any(|node| !node.members().is_empty())
        })
        .collect();
    let within = |column: &Column<'_>| {
        whole.iter().any(|object| column.keys.len() > object.keys.len() && column.keys.starts_with(&object.keys))
    };
    let objects = whole.iter().filter(|object| !within(object)).map(|object| (*object).clone());
    columns.iter().filter(|column| !within(column)).map(|column| (*column).clone()).chain(objects).collect()
}

/// What is to be said of such a member.
pub(super) fn of(scope: &Path, profile: &Profile<'_>, column: &Column<'_>, which: &Which) -> Leftover {
    let at = scope.below(&column.keys);
    let present = column.present();
    let presence = presence(scope, profile, column);
    let distinct = column.distinct();
    let (record, has) = match which {
        Which::Older => ("older", "no newer one has it"),
        Which::Newer => ("newer", "no older one has it"),
    };
    let mut evidence = format!("in {present} of {} {record} {}, {has}", profile.rows, elements(scope));
    let (value, confidence) = match distinct.as_slice() {
        [] => (None, Confidence::Medium),
        [(node, _)] => {
            evidence.push_str(&format!("; always {}", shortened(&node.to_string())));
            (Some((*node).clone()), if present >= 3 { Confidence::High } else { Confidence::Medium })
        }
        [(node, count), ..] => {
            evidence.push_str(&format!("; {} different values", distinct.len()));
            let common = count * 2 > present;
            if common {
                evidence.push_str(&format!(", {} in {count}", shortened(&node.to_string())));
            }
            (common.then(|| (*node).clone()), Confidence::Medium)
        }
    };
    Leftover { at, value, presence, strength: Strength { confidence, evidence } }
}

fn elements(scope: &Path) -> String {
    if scope.0.is_empty() { "records".to_owned() } else { format!("elements of {scope}") }
}

fn presence(scope: &Path, profile: &Profile<'_>, column: &Column<'_>) -> Presence {
    let present = |one: &Column<'_>, row: usize| one.cells[row].is_some();
    if column.present() == profile.rows {
        return Presence::Always;
    }
    // A neighbour that is there exactly where this member is says when it is wanted.
    let parent = column.keys.split_last().map_or(&[][..], |(_, parent)| parent);
    let neighbours = profile.columns.iter().filter(|other| {
        other.keys != column.keys && other.keys.len() == parent.len() + 1 && other.keys.starts_with(parent)
    });
    let mut beside =
        neighbours.filter(|other| (0..profile.rows).all(|row| present(other, row) == present(column, row)));
    match beside.next() {
        Some(other) if !parent.is_empty() => Presence::Beside(scope.below(&other.keys)),
        _ => Presence::Sometimes,
    }
}
