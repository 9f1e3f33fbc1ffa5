//! The pack on its way: how versions are told apart, the ops in order, and what is left to be asked.

use super::Proposed;
use super::names::says_version;
use super::place::Path;
use super::profile::{Column, Keys, Profile};
use super::scope::{Findings, shortened};
use super::tree::Node;

/// A pack that can still be changed.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) from: String,
    pub(super) to: String,
    /// What it was made from, line by line.
    pub(super) about: Vec<String>,
    pub(super) recognised: Recognition,
    pub(super) ops: Vec<Proposed>,
    pub(super) questions: Vec<String>,
    /// The elements, their key, and why it is left out if it is.
    pub(super) collections: Vec<(Path, String, Option<String>)>,
    pub(super) example: Option<Example>,
}

/// One record in both versions.
#[derive(Clone, Debug)]
pub(super) struct Example {
    /// Where it is from.
    pub(super) about: String,
    pub(super) lower: String,
    pub(super) upper: String,
    /// Whether servers wrote both records, or the rules one of them: that is asked.
    pub(super) written_by: WrittenBy,
}

/// Who wrote the newer record of an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WrittenBy {
    Servers,
    Rules,
}

/// How both versions are told apart.
#[derive(Clone, Debug)]
pub(super) struct Recognition {
    pub(super) lower: Recognised,
    pub(super) upper: Recognised,
    pub(super) evidence: String,
    /// Places that the versions write themselves.
    pub(super) reserved: Vec<Keys>,
}

/// How one version is recognised, with the place as a pack says it.
#[derive(Clone, Debug)]
pub(super) enum Recognised {
    Absent(String),
    Value(String, Node),
    Has(String),
    Lacks(String),
}

impl Recognition {
    /// All that tell the samples apart, the best first; if none does wholly, the one that does mostly.
    pub(super) fn candidates(lower: &Profile<'_>, upper: &Profile<'_>) -> Vec<Recognition> {
        let mut found: Vec<Recognition> =
            upper.columns.iter().filter_map(|column| marker(lower, upper, column)).collect();
        let mut shapes = Vec::new();
        for (own, other, newer) in [(upper, lower, Side::Newer), (lower, upper, Side::Older)] {
            for column in own.columns.iter().chain(own.objects.iter()).filter(|column| !column.keys.is_empty()) {
                let elsewhere = other.column(&column.keys).is_some() || other.object(&column.keys).is_some();
                let inside = own.column(&column.keys).map_or(0, Column::present)
                    + own.object(&column.keys).map_or(0, Column::present);
                if !elsewhere {
                    shapes.push((inside == own.rows, column.keys.len(), newer, column.keys.clone(), inside, own.rows));
                }
            }
        }
        let wholly: Vec<_> = shapes.iter().filter(|shape| shape.0).cloned().collect();
        let mut shapes = if wholly.is_empty() { shapes } else { wholly };
        shapes.sort_by_key(|(_, depth, newer, _, inside, _)| (std::cmp::Reverse(*inside), *newer, *depth));
        shapes.dedup_by(|one, other| one.3 == other.3);
        found.extend(shapes.into_iter().map(|(_, _, side, keys, inside, rows)| shape(side, keys, (inside, rows))));
        found
    }
}

/// Which side has what tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Newer,
    Older,
}

fn shape(side: Side, keys: Keys, (inside, rows): (usize, usize)) -> Recognition {
    let place = Path::default().below(&keys).to_string();
    let (lower, upper, words) = match side {
        Side::Newer => (Recognised::Lacks(place.clone()), Recognised::Has(place.clone()), ("newer", "older")),
        Side::Older => (Recognised::Has(place.clone()), Recognised::Lacks(place.clone()), ("older", "newer")),
    };
    let mut evidence = format!(
        "{place} is in {inside} of {rows} {} records and in no {} one; servers write no marker",
        words.0, words.1
    );
    if inside < rows {
        evidence =
            format!("? {evidence}: records without it look the same in both versions. Could servers write a marker?");
    }
    Recognition { lower, upper, evidence, reserved: Vec::new() }
}

/// A member that says the version: the same in all newer records, and another or none in all older ones.
fn marker(lower: &Profile<'_>, upper: &Profile<'_>, column: &Column<'_>) -> Option<Recognition> {
    let value = column.constant().filter(|node| node.is_scalar())?;
    if !says_version(column.last_key()) || column.keys.len() > 2 || column.present() < upper.rows {
        return None;
    }
    let place = Path::default().below(&column.keys).to_string();
    let new = shortened(&value.to_string());
    let (older, was) = match (lower.column(&column.keys), lower.object(&column.keys)) {
        (None, None) => (Recognised::Absent(place.clone()), "none has it".to_owned()),
        (Some(older), None) => {
            let constant = older.constant().filter(|node| node.is_scalar() && !node.same(value))?;
            if older.present() < lower.rows {
                return None;
            }
            (
                Recognised::Value(place.clone(), constant.clone()),
                format!("all say {}", shortened(&constant.to_string())),
            )
        }
        (_, Some(_)) => return None,
    };
    let evidence =
        format!("{place} is {new} in all {} newer records; of the {} older ones {was}", upper.rows, lower.rows);
    Some(Recognition {
        lower: older,
        upper: Recognised::Value(place, value.clone()),
        evidence,
        reserved: vec![column.keys.clone()],
    })
}

/// Arrays whose elements a member tells apart, where something in them is to be remembered.
pub(super) fn collections(findings: &Findings) -> Vec<(Path, String, Option<String>)> {
    let touched = |path: &Path| {
        let places =
            findings.links.iter().map(|link| &link.upper).chain(findings.changes.iter().map(|change| &change.at));
        let leftovers = findings.adds.iter().chain(&findings.removes).map(|leftover| &leftover.at);
        places.chain(leftovers).any(|place| place.starts_with(path))
    };
    let changed = |path: &Path, key: &str| {
        let place = path.below(&[key.to_owned()]);
        findings.changes.iter().any(|change| change.at == place)
    };
    let kept = findings.keyed.iter().filter(|(path, key)| touched(path) && !changed(path, key));
    kept.map(|(path, key)| (path.clone(), key.clone(), None)).collect()
}
