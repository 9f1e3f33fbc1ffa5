//! How ops are spelled. Each op takes its arguments out of its table; what is left over is a problem.

use crate::json;
use crate::op::convert::{self, Convert};
use crate::op::flags::Flags;
use crate::op::key_by::KeyBy;
use crate::op::map::{self, Map};
use crate::op::split::{Rest, Split};
use crate::op::table::{Rows, Side};
use crate::op::wrap::Wrap;
use crate::op::{Condition, Differing, Edit, OPS, Op, Relation, Rule, Style, Taken, Tuple};
use crate::pack::{Field, Table, hint};
use crate::path::{Path, Seg};

impl Rule {
    /// Reads one op. `path_seed` is the digest of the step and of the scopes around.
    pub(crate) fn read(field: &Field<'_>, label: String, path_seed: u64) -> Option<Rule> {
        let mut table = field.table()?;
        let known: Vec<&'static str> = OPS.iter().flat_map(|op| [op.name].into_iter().chain(op.twin)).collect();
        let named: Vec<&'static str> = known.iter().copied().filter(|name| table.has(name)).collect();
        // `in` is also an argument name of conditions, never of ops; `to` and the like are no op names.
        let name = match named.as_slice() {
            [name] => *name,
            [] => {
                let first = table.keys().next().unwrap_or_default().to_owned();
                table.problem(format!("unknown op \"{first}\"{}", hint(&first, &known)));
                return None;
            }
            [first, second, ..] => {
                table.problem(format!("\"{first}\" and \"{second}\" are two ops: write two entries"));
                return None;
            }
        };
        let digest = match name {
            // Ops in a scope keep their entries when their neighbours change.
            "in" | "embedded" => [name, "when", "when_upper"]
                .into_iter()
                .filter_map(|name| table.take(name))
                .fold(path_seed, |seed, field| json::fnv1a(json::fnv1a(seed, b"\0"), field.literal().as_bytes())),
            _ => json::fnv1a(path_seed, field.literal().as_bytes()),
        };
        let op = Op::read(name, &mut table, &label, digest);
        let when = table.take("when").and_then(|field| Condition::read(&field));
        let when_upper = table.take("when_upper").and_then(|field| Condition::read(&field));
        if let (Some(upper), None) = (&when_upper, &when) {
            table.problem(format!("when_upper on {} has no when: name the condition for the way up, too", upper.path));
        }
        table.finish();
        Some(Rule { label, name, op: op?, when, when_upper, digest })
    }
}

impl Op {
    fn read(name: &'static str, table: &mut Table<'_>, label: &str, digest: u64) -> Option<Op> {
        let at_field = table.need(name)?;
        let edit = |at: Option<Path>, edit: Option<Edit>| Some(Op::Edit { at: at?, edit: edit? });
        let swapped = |edit: Option<Edit>| edit.map(|edit| Edit::Swapped(Box::new(edit)));
        match name {
            "rename" => read_rename(&at_field, table),
            "move" => read_move(&at_field, table),
            "add" => {
                let at = at_field.member_path();
                let value = table.need("value").map(|field| field.literal());
                let taken = read_taken(table);
                edit(at, value.map(|value| Edit::Add { value, taken }))
            }
            "remove" => {
                let restore = table.take("restore").map(|field| field.literal());
                edit(at_field.member_path(), Some(Edit::Remove { restore }))
            }
            "default" => edit(at_field.member_path(), map::read_default(table)),
            "map" => edit(at_field.path(), Map::read(table, &at_field)),
            "scale" => edit(at_field.path(), convert::read_scale(table)),
            "time" => edit(at_field.path(), convert::read_time(table)),
            "convert" => edit(at_field.path(), Convert::read(table)),
            "wrap" => edit(at_field.member_path(), Wrap::read(table)),
            "unwrap" => edit(at_field.member_path(), swapped(Wrap::read(table))),
            "key_by" => edit(at_field.member_path(), KeyBy::read(table)),
            "list" => edit(at_field.member_path(), swapped(KeyBy::read(table))),
            "copy" | "table" | "flags" | "split" | "join" => read_tuple(name, &at_field, table),
            "spread" => read_spread(&at_field, table),
            "in" => Some(Op::In { at: at_field.path()?, rules: read_rules(table, label, digest) }),
            "embedded" => Some(Op::Embedded { at: at_field.path()?, rules: read_rules(table, label, digest) }),
            _ => None,
        }
    }
}

fn read_rename(at: &Field<'_>, table: &mut Table<'_>) -> Option<Op> {
    let at = at.member_path();
    let to = table.need("to");
    let taken = read_taken(table);
    let key = to.as_ref().and_then(Field::string);
    let (at, key, to) = (at?, key?, to?);
    if key.starts_with('/') {
        to.problem(format!("a rename stays in its parent: write the new key alone, or use move to \"{key}\""));
        return None;
    }
    let mut upper = at.clone();
    upper.0.pop();
    upper.0.push(Seg::Key(key));
    if upper == at {
        to.problem("the new key is the old one");
        return None;
    }
    Some(Op::Relink { lower: at, upper, style: Style::Rename, taken })
}

fn read_move(at: &Field<'_>, table: &mut Table<'_>) -> Option<Op> {
    let at = at.member_path();
    let to = table.need("to");
    let taken = read_taken(table);
    let upper = to.as_ref().and_then(Field::member_path);
    let (lower, upper, to) = (at?, upper?, to?);
    if !same_stars(&lower, &upper, &to) {
        return None;
    }
    if lower.covers(&upper) || upper.covers(&lower) {
        to.problem(format!("{lower} cannot move to {upper}: one of them lies in the other"));
        return None;
    }
    Some(Op::Relink { lower, upper, style: Style::Move, taken })
}

fn read_tuple(name: &str, at: &Field<'_>, table: &mut Table<'_>) -> Option<Op> {
    let to = table.need("to");
    let taken = read_taken(table);
    let other = to.as_ref().map(|to| (to, read_places(to)));
    let (lower, upper, relation) = match name {
        "copy" => {
            let (lower, upper) = (vec![at.member_path()?], vec![to.as_ref()?.member_path()?]);
            let both = lower.iter().chain(&upper).cloned().collect();
            (lower, both, Relation::Copy)
        }
        "table" => {
            let (lower, one) = read_places(at)?;
            let (_, Some((upper, other))) = other? else { return None };
            (lower, upper, Relation::Table(Rows::read(table, one, other)?))
        }
        "flags" => {
            let (mut places, mut names) = (Vec::new(), Vec::new());
            for line in at.list() {
                match line.list().as_slice() {
                    [place, name] => {
                        places.push(place.member_path()?);
                        names.push(json::quoted(&name.string()?));
                    }
                    _ => line.problem("a flag is a pair: [path of the boolean, its name in the set]"),
                }
            }
            if names.is_empty()
                || names.iter().enumerate().any(|(index, name)| names.iter().skip(index + 1).any(|other| other == name))
            {
                at.problem("flags needs at least one pair, and each name once");
                return None;
            }
            (places, vec![to.as_ref()?.member_path()?], Relation::Flags(Flags(names)))
        }
        _ => {
            let by = table.need("by").and_then(|by| {
                let text = by.string()?;
                if text.is_empty() {
                    by.problem("by must not be empty: it is what stands between the parts");
                }
                Some(text).filter(|text| !text.is_empty())
            });
            let names = [("first", Rest::First), ("last", Rest::Last)];
            let rest = table.take("rest").map_or(Some(Rest::Last), |field| field.choice(&names));
            let split = |parts: usize| Some(Relation::Split(Split { by: by?, parts, rest: rest? }));
            if name == "split" {
                let (_, Some((upper, _))) = other? else { return None };
                let parts = upper.len();
                (vec![at.member_path()?], upper, split(parts)?)
            } else {
                let (lower, _) = read_places(at)?;
                let parts = lower.len();
                (lower, vec![to.as_ref()?.member_path()?], Relation::Swapped(Box::new(split(parts)?)))
            }
        }
    };
    let to = to?;
    for side in [&lower, &upper] {
        if side.iter().enumerate().any(|(index, path)| side.iter().skip(index + 1).any(|other| other == path)) {
            to.problem("one path stands twice on one side");
            return None;
        }
    }
    let tuple = Tuple::new(lower, upper, relation, taken);
    for (index, path) in tuple.places.iter().enumerate() {
        for other in tuple.places.iter().skip(index + 1) {
            if !same_stars(path, other, &to) {
                return None;
            }
            if path.covers(other) || other.covers(path) {
                to.problem(format!("{path} and {other}: one of them lies in the other"));
                return None;
            }
        }
    }
    Some(Op::Tuple(tuple))
}

fn read_spread(at: &Field<'_>, table: &mut Table<'_>) -> Option<Op> {
    let to = table.need("to");
    let taken = read_taken(table);
    let names = [("first", Differing::Kept), ("same", Differing::Refused)];
    let differing = table.take("back").map_or(Some(Differing::Kept), |field| field.choice(&names));
    let (from, to_path, to) = (at.member_path()?, to.as_ref()?.member_path()?, to?);
    let (outer, inner) = (from.scope_len(), to_path.scope_len());
    let stars = |path: &Path| path.0.iter().filter(|seg| **seg == Seg::Star).count();
    let shared = to_path.0.get(..outer) == from.0.get(..outer) && stars(&to_path) == stars(&from) + 1;
    if !shared || inner <= outer + 1 {
        to.problem(format!(
            "{to_path} must have the \"*\"s of {from} and one more: the elements that the member goes into"
        ));
        return None;
    }
    if from.covers(&to_path) || to_path.covers(&from) {
        to.problem(format!("{from} cannot go to {to_path}: one of them lies in the other"));
        return None;
    }
    Some(Op::Spread { from, to: to_path, differing: differing?, taken })
}

fn read_rules(table: &mut Table<'_>, label: &str, digest: u64) -> Vec<Rule> {
    let ops = table.need("ops").map(|field| field.list()).unwrap_or_default();
    let read = |(index, field): (usize, Field<'_>)| {
        let label = format!("{label}.{}", index + 1);
        let place = field.place.rsplit_once("op ").map_or(String::new(), |(step, _)| format!("{step}op {label}"));
        Rule::read(&field.called(place), label, digest)
    };
    ops.into_iter().enumerate().filter_map(read).collect()
}

/// One path, or a list of paths.
fn read_places(field: &Field<'_>) -> Option<(Vec<Path>, Side)> {
    if field.kind() != json::Kind::Array {
        return Some((vec![field.member_path()?], Side::One));
    }
    let fields = field.list();
    if fields.is_empty() {
        field.problem("needs at least one path");
        return None;
    }
    let paths: Option<Vec<Path>> = fields.iter().map(Field::member_path).collect();
    Some((paths?, Side::Many(fields.len())))
}

fn read_taken(table: &mut Table<'_>) -> Taken {
    match table.take("overwrite").and_then(|field| field.boolean()) {
        Some(true) => Taken::Overwritten,
        Some(false) | None => Taken::Refused,
    }
}

fn same_stars(path: &Path, other: &Path, field: &Field<'_>) -> bool {
    let same = path.0.get(..path.scope_len()) == other.0.get(..other.scope_len());
    if !same {
        field.problem(format!("both paths must have the same \"*\"s in the same places: {path} and {other} do not"));
    }
    same
}
