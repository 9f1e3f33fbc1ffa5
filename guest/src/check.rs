//! The pack with everything resolved: versions by index, ops as data, each path known to be sound.
//!
//! [`check`] finds all problems of a pack before it gives up; compiling what it returns cannot fail but for size.
//! What is thrown away: the author's places, but for the label of each op.

use crate::json;
use crate::op::{Condition, Direction, Edit, Op, Rule};
use crate::pack::{CarryPlace, Duplicates, Field, Outlook, Overflow, Policy, Problem, Problems, Table, hint};
use crate::path::{Path, Seg};

/// A pack without problems.
pub(crate) struct Checked {
    pub(crate) name: String,
    pub(crate) revision: u64,
    pub(crate) versions: Vec<Version>,
    /// Step `i` goes from version `i` to version `i + 1`.
    pub(crate) steps: Vec<Step>,
    pub(crate) collections: Vec<Collection>,
    pub(crate) examples: Vec<Example>,
    pub(crate) policy: Policy,
}

/// One version, and how its records are recognised.
pub(crate) struct Version {
    pub(crate) id: String,
    pub(crate) marker: Option<Marker>,
    pub(crate) has: Vec<Path>,
    pub(crate) lacks: Vec<Path>,
    /// What servers of this version read natively, itself included.
    pub(crate) reads: Vec<u16>,
}

impl Version {
    /// A digest of how records of the version are recognised, and of nothing else: rules may be revised.
    pub(crate) fn digest(&self) -> u64 {
        let mut said = json::fnv1a(json::FNV_SEED, self.id.as_bytes());
        let mut say = |what: &str, path: &Path, value: Option<&str>| {
            let text = format!(
                "\n{what} {path} {}",
                value.map_or_else(String::new, |value| json::canonical(value.as_bytes()))
            );
            said = json::fnv1a(said, text.as_bytes());
        };
        if let Some(marker) = &self.marker {
            say("marker", &marker.path, marker.value.as_deref());
        }
        let mut all: Vec<(&str, &Path)> = self.has.iter().map(|path| ("has", path)).collect();
        all.extend(self.lacks.iter().map(|path| ("lacks", path)));
        all.sort();
        all.into_iter().for_each(|(what, path)| say(what, path, None));
        said
    }
}

/// What the servers of a version write into each record, or none where they write nothing at that place.
#[derive(Clone, PartialEq)]
pub(crate) struct Marker {
    pub(crate) path: Path,
    pub(crate) value: Option<String>,
}

/// The rules between two neighbouring versions; the stamp comes last.
pub(crate) struct Step {
    /// `step 1→2`.
    pub(crate) label: String,
    pub(crate) ways: Ways,
    pub(crate) rules: Vec<Rule>,
}

/// Which ways a step goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ways {
    Both,
    /// `way = "up"`: older records are read by newer servers, and there is no way back.
    Up,
    /// `way = "down"`.
    Down,
}

impl Ways {
    const NAMES: [(&str, Ways); 3] = [("both", Ways::Both), ("up", Ways::Up), ("down", Ways::Down)];

    pub(crate) fn lead(self, direction: Direction) -> bool {
        matches!((self, direction), (Ways::Both, _) | (Ways::Up, Direction::Up) | (Ways::Down, Direction::Down))
    }
}

/// Elements of an array that are told apart by a member, in one of the shapes that the line gives them.
pub(crate) struct Collection {
    /// Ends in `*`.
    pub(crate) path: Path,
    /// The key's path below an element, in each of the shapes.
    pub(crate) keys: Vec<Vec<String>>,
}

/// A record in two versions.
pub(crate) struct Example {
    pub(crate) lower: String,
    pub(crate) upper: String,
}

/// Resolves a pack in its JSON form.
pub(crate) fn check(pack: &[u8]) -> Result<Checked, Vec<Problem>> {
    let problems = Problems::default();
    let checked = Field::whole(pack, &problems).and_then(|whole| whole.table()).and_then(|table| read(table));
    match checked {
        Some(checked) if problems.is_empty() => Ok(checked),
        _ => Err(problems.into_vec()),
    }
}

/// Calls `visit` for every rule with the path of the scopes around it.
pub(crate) fn for_each_rule<'c>(rules: &'c [Rule], scope: &Path, visit: &mut dyn FnMut(&Path, &'c Rule)) {
    for rule in rules {
        visit(scope, rule);
        for_each_rule(rule.op.inner(), &rule.op.scope(scope), visit);
    }
}

fn read(mut table: Table<'_>) -> Option<Checked> {
    let name = table.need("name").and_then(|field| field.string());
    let revision = table.need("revision").and_then(|field| field.integer(0..=u64::MAX));
    read_after(&mut table, revision);
    let policy =
        table.take("policy").map_or(Some(Policy::default()), |field| read_policy(field.called("policy").table()?));
    let versions = read_versions(&mut table);
    let ids: Vec<&str> = versions.iter().map(|version| version.id.as_str()).collect();
    let mut steps = read_steps(&mut table, &ids);
    let collections = read_collections(&mut table, &ids, &steps);
    let examples = table.items("example").into_iter().enumerate().filter_map(read_example).collect();
    let policy = policy?;
    check_reserved(&table, &versions, &steps, &policy);
    for (index, step) in steps.iter_mut().enumerate() {
        step.rules.extend(stamps(versions.get(index)?, versions.get(index + 1)?, &step.label));
    }
    let complete = versions.len() > steps.len() && steps.len() + 1 == versions.len();
    table.finish();
    complete.then_some(Checked { name: name?, revision: revision?, versions, steps, collections, examples, policy })
}

/// The revision beside which gateways may serve by this one. The host holds a gateway to it, before it loads the pack.
fn read_after(table: &mut Table<'_>, revision: Option<u64>) {
    let Some(field) = table.take("after") else { return };
    if let (Some(after), Some(revision)) = (field.integer(0..=u64::MAX), revision)
        && after >= revision
    {
        field.problem(format!("after must be below the pack's own revision {revision}, found {after}"));
    }
}

fn read_versions(table: &mut Table<'_>) -> Vec<Version> {
    let Some(list) = table.need("version") else { return Vec::new() };
    let fields = list.list();
    if fields.is_empty() || fields.len() > usize::from(u16::MAX) {
        list.problem("a pack has at least one version and at most 65535");
    }
    let id_of = |field: &Field<'_>| -> Option<String> {
        serde_json::from_str(field.text())
            .ok()
            .and_then(|v: serde_json::Value| v.get("id")?.as_str().map(str::to_owned))
    };
    let ids: Vec<String> = fields.iter().map(|field| id_of(field).unwrap_or_default()).collect();
    let mut versions = Vec::new();
    for (index, field) in fields.into_iter().enumerate() {
        let name = ids.get(index).cloned().unwrap_or_default();
        let field = field.called(if name.is_empty() {
            format!("version {}", index + 1)
        } else {
            format!("version \"{name}\"")
        });
        if let Some(version) = field.table().and_then(|table| read_version(table, &ids)) {
            if versions.iter().any(|other: &Version| other.id == version.id) {
                field.problem("an earlier version has the same id");
            }
            let alike = |other: &&Version| {
                other.marker == version.marker && other.has == version.has && other.lacks == version.lacks
            };
            if let Some(other) = versions.iter().find(alike) {
                field.problem(format!(
                    "is recognised by the same marker and shape as version \"{}\": no record could be told apart",
                    other.id
                ));
            }
            versions.push(version);
        }
    }
    versions
}

fn read_version(mut table: Table<'_>, ids: &[String]) -> Option<Version> {
    let id = table.need("id").and_then(|field| {
        let id = field.string()?;
        if id.is_empty() || id.len() > 128 || id.chars().any(char::is_control) {
            field.problem("an id is a text of 1 to 128 bytes without control characters");
        }
        Some(id)
    });
    let marker = table.take("marker").map(|field| read_marker(field.table()?));
    let mut shape = table.take("shape").and_then(|field| field.table());
    let mut paths = |name| {
        let fields = shape.as_mut().map(|shape| shape.items(name)).unwrap_or_default();
        fields.iter().filter_map(plain_path).collect::<Vec<Path>>()
    };
    let (has, lacks) = (paths("has"), paths("lacks"));
    if let Some(shape) = shape {
        shape.finish();
    }
    if marker.is_none() && has.is_empty() && lacks.is_empty() {
        table.problem("has neither a marker nor a shape, so no record could be recognised: add marker = { path = \"/schema\", value = 2 }");
    }
    let mut reads: Vec<u16> = Vec::new();
    for field in table.items("reads") {
        let Some(name) = field.string() else { continue };
        match ids.iter().position(|other| *other == name) {
            Some(index) => reads.push(index as u16),
            None => {
                let known: Vec<&str> = ids.iter().map(String::as_str).collect();
                field.problem(format!("reads a version that the pack doesn't have, \"{name}\"{}", hint(&name, &known)));
            }
        }
    }
    table.finish();
    let id = id?;
    reads.extend(ids.iter().position(|other| *other == id).map(|index| index as u16));
    reads.sort_unstable();
    reads.dedup();
    Some(Version { id, marker: marker.unwrap_or(None), has, lacks, reads })
}

fn plain_path(field: &Field<'_>) -> Option<Path> {
    let path = field.path()?;
    if path.scope_len() > 0 {
        field.problem("this path has no place for \"*\": name one member");
        return None;
    }
    Some(path)
}

fn read_marker(mut table: Table<'_>) -> Option<Marker> {
    let path = table.need("path").and_then(|field| plain_path(&field));
    let value = table.take("value").map(|field| field.literal());
    let absent = table.take("absent").and_then(|field| field.boolean());
    if value.is_some() == absent.is_some() || absent == Some(false) {
        table.problem("a marker has either value = … or absent = true");
    }
    table.finish();
    Some(Marker { path: path?, value })
}

fn read_steps(table: &mut Table<'_>, ids: &[&str]) -> Vec<Step> {
    let fields = table.items("step");
    let mut steps: Vec<(usize, Step)> = Vec::new();
    for (index, field) in fields.into_iter().enumerate() {
        let field = field.called(format!("step {}", index + 1));
        let Some(mut step) = field.table() else { continue };
        let mut end = |name| -> Option<(String, Option<usize>)> {
            let field = step.need(name)?;
            let id = field.string()?;
            let version = ids.iter().position(|other| **other == id);
            if version.is_none() {
                field.problem(format!("there is no version \"{id}\"{}", hint(&id, ids)));
            }
            Some((id, version))
        };
        let (from, to) = (end("from"), end("to"));
        let (Some((from, lower)), Some((to, upper))) = (from, to) else {
            step.finish();
            continue;
        };
        let label = format!("step {from}→{to}");
        step.place.clone_from(&label);
        let mut seed = json::FNV_SEED;
        for part in [from.as_bytes(), b"\0", to.as_bytes(), b"\0"] {
            seed = json::fnv1a(seed, part);
        }
        let mut rules: Vec<Rule> = Vec::new();
        for (number, field) in step.items("ops").into_iter().enumerate() {
            let number = number + 1;
            let field = field.called(format!("{label}, op {number}"));
            if let Some(rule) = Rule::read(&field, number.to_string(), seed) {
                check_rule(&field, &rule);
                if rules.iter().any(|other| other.digest == rule.digest) {
                    field.problem("an earlier op of this step is the same");
                }
                rules.push(rule);
            }
        }
        let ways = step.take("way").map_or(Some(Ways::Both), |field| field.choice(&Ways::NAMES));
        let ways = ways.unwrap_or(Ways::Both);
        step.finish();
        match (lower, upper) {
            (Some(lower), Some(upper)) if lower + 1 == upper => {
                if steps.iter().any(|(other, _)| *other == lower) {
                    field.problem(format!("an earlier step goes from \"{from}\" to \"{to}\" already"));
                }
                steps.push((lower, Step { label, ways, rules }));
            }
            (Some(_), Some(_)) => field.problem(format!(
                "goes from \"{from}\" to \"{to}\", but a step goes to the next version of the list: {}",
                ids.join(", ")
            )),
            _ => {}
        }
    }
    steps.sort_by_key(|(lower, _)| *lower);
    for (index, pair) in ids.windows(2).enumerate() {
        if let ([from, to], false) = (pair, steps.iter().any(|(lower, _)| *lower == index)) {
            table.problem(format!(
                "there is no step from \"{from}\" to \"{to}\": add [[step]] with from = \"{from}\", to = \"{to}\""
            ));
        }
    }
    steps.into_iter().map(|(_, step)| step).collect()
}

fn check_rule(field: &Field<'_>, rule: &Rule) {
    let scope = rule.op.at();
    let bound = scope.scope_len();
    for condition in [&rule.when, &rule.when_upper].into_iter().flatten() {
        let stars = condition.path.scope_len();
        if stars > bound || condition.path.0.get(..stars) != scope.0.get(..stars) {
            field.problem(format!(
                "the condition's \"*\"s must be those of the op: {} does not begin like {scope}",
                condition.path
            ));
        }
    }
    for inner in rule.op.inner() {
        check_rule(field, inner);
    }
}

fn read_collections(table: &mut Table<'_>, ids: &[&str], steps: &[Step]) -> Vec<Collection> {
    let mut collections = Vec::new();
    for (index, field) in table.items("collection").into_iter().enumerate() {
        let field = field.called(format!("collection {}", index + 1));
        let Some(mut table) = field.table() else { continue };
        let version = table.need("version").and_then(|field| {
            let id = field.string()?;
            let version = ids.iter().position(|other| **other == id);
            if version.is_none() {
                field.problem(format!("there is no version \"{id}\"{}", hint(&id, ids)));
            }
            version
        });
        let path = table.need("path").and_then(|field| {
            let path = field.path()?;
            if path.scope_len() != path.0.len() {
                field.problem(format!("{path} must end in \"*\": the elements"));
                return None;
            }
            Some(path)
        });
        let key = table.need("key").and_then(|field| plain_path(&field));
        table.finish();
        let (Some(version), Some(path), Some(key)) = (version, path, key) else { continue };
        let whole = key.under(&path);
        let mut shapes = vec![whole.clone()];
        let mut relinks = Vec::new();
        let up: Vec<&Step> = steps.iter().skip(version).collect();
        let down: Vec<&Step> = steps.iter().take(version).rev().collect();
        for (line, upwards) in [(up, true), (down, false)] {
            let mut at = whole.clone();
            for step in line {
                match follow(step, at.clone(), upwards, &mut relinks) {
                    Ok(Followed::Through(next)) => at = next,
                    Ok(Followed::Ends(last)) => {
                        shapes.push(last);
                        break;
                    }
                    Err((op, changed)) => {
                        field.problem(format!(
                            "the key {at} is changed by {}, op {op}: a key passes only through rename and move",
                            step.label
                        ));
                        relinks.push(changed);
                        break;
                    }
                }
                shapes.push(at.clone());
            }
        }
        for step in steps {
            for_each_rule(&step.rules, &Path::default(), &mut |scope, rule| {
                let mistaken =
                    rule.op.paths().into_iter().map(|path| path.under(scope)).find(|path| shapes.contains(path));
                if let Some(path) = mistaken.filter(|_| !relinks.contains(&rule.digest)) {
                    let op = format!("{}, op {}", step.label, rule.label);
                    field.problem(format!("{op}: {path} has the name of the collection's key in another version, and could be taken for it"));
                }
            });
        }
        // Every shape tries every key in the same order, so that an element has one name in all versions.
        let (mut paths, mut keys) = (Vec::new(), Vec::new());
        for shape in shapes {
            let (path, key) = shape.0.split_at(shape.scope_len());
            let name = |seg: &Seg| if let Seg::Key(key) = seg { Some(key.clone()) } else { None };
            let (path, key) = (Path(path.to_vec()), key.iter().filter_map(name).collect::<Vec<String>>());
            if !paths.contains(&path) {
                paths.push(path);
            }
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        collections.extend(paths.into_iter().map(|path| Collection { path, keys: keys.clone() }));
    }
    collections
}

/// Where the key of a collection is after a step.
enum Followed {
    Through(Path),
    /// It was here until the elements became members.
    Ends(Path),
}

/// Follows the key of a collection through a step, up to the op that changes its value. Notes the ops that take it along.
fn follow(step: &Step, place: Path, upwards: bool, relinks: &mut Vec<u64>) -> Result<Followed, (String, u64)> {
    let direction = if upwards { Direction::Up } else { Direction::Down };
    let mut at = place;
    let mut changed = None;
    let mut rules = Vec::new();
    for_each_rule(&step.rules, &Path::default(), &mut |scope, rule| rules.push((scope.clone(), rule)));
    if !upwards {
        rules.reverse();
    }
    for (scope, rule) in rules {
        match &rule.op {
            Op::Relink { lower, upper, .. } => {
                let (from, to) = if upwards { (lower, upper) } else { (upper, lower) };
                if let Some(next) = at.transplanted(&from.under(&scope), &to.under(&scope)) {
                    at = next;
                    relinks.push(rule.digest);
                }
            }
            Op::Edit { at: list, edit }
                if changed.is_none() && edit.key(direction).is_some_and(|key| key.under(&list.under(&scope)) == at) =>
            {
                relinks.push(rule.digest);
                return Ok(Followed::Ends(at));
            }
            // What lies deeper in an element lies as deep in a member.
            Op::Edit { at: list, edit } if edit.keys() && at.0.len() > list.under(&scope).0.len() + 1 => {}
            Op::Edit { .. } | Op::Tuple(_) | Op::Spread { .. } => {
                if rule.op.paths().iter().any(|path| path.under(&scope).covers(&at)) {
                    changed = Some((rule.label.clone(), rule.digest));
                }
            }
            Op::In { .. } | Op::Embedded { .. } => {}
        }
    }
    changed.map_or(Ok(Followed::Through(at)), Err)
}

fn read_example((index, field): (usize, Field<'_>)) -> Option<Example> {
    let mut table = field.called(format!("example {}", index + 1)).table()?;
    let mut record = |name| {
        let field = table.need(name)?;
        let text = field.string()?;
        if serde_json::from_str::<&serde_json::value::RawValue>(&text).is_err() || !text.trim_start().starts_with('{') {
            field.problem(format!("{name} must be the text of a JSON object"));
        }
        Some(text)
    };
    let (lower, upper) = (record("lower"), record("upper"));
    table.finish();
    Some(Example { lower: lower?, upper: upper? })
}

fn read_policy(mut table: Table<'_>) -> Option<Policy> {
    let mut policy = Policy::default();
    let looks = [("pass", Outlook::Pass), ("refuse", Outlook::Refuse)];
    fn choose<T: Copy>(table: &mut Table<'_>, name: &str, names: &[(&str, T)], into: &mut T) {
        if let Some(choice) = table.take(name).and_then(|field| field.choice(names)) {
            *into = choice;
        }
    }
    choose(
        &mut table,
        "carry",
        &[("beside", CarryPlace::Beside), ("inline", CarryPlace::Inline), ("none", CarryPlace::None)],
        &mut policy.carry,
    );
    choose(
        &mut table,
        "carry_overflow",
        &[("refuse", Overflow::Refuse), ("drop", Overflow::Drop)],
        &mut policy.carry_overflow,
    );
    choose(&mut table, "unknown_version", &looks, &mut policy.unknown_version);
    choose(&mut table, "opaque", &looks, &mut policy.opaque);
    choose(
        &mut table,
        "duplicate_keys",
        &[("touched", Duplicates::Touched), ("everywhere", Duplicates::Everywhere)],
        &mut policy.duplicate_keys,
    );
    if let Some(member) = table.take("carry_member").and_then(|field| field.string()) {
        policy.carry_member = member;
    }
    let mut limit = |name, range, into: &mut u32| {
        if let Some(value) = table.take(name).and_then(|field| field.integer(range)) {
            *into = value as u32;
        }
    };
    limit("carry_max_bytes", 0..=16 << 20, &mut policy.carry_max_bytes);
    limit("max_bytes", 2..=64 << 20, &mut policy.max_bytes);
    limit("max_depth", 1..=128, &mut policy.max_depth);
    limit("max_lost", 0..=u64::from(u32::MAX), &mut policy.max_lost);
    table.finish();
    Some(policy)
}

/// Markers and the inline carry belong to the versions and the policy: no op may touch them.
fn check_reserved(table: &Table<'_>, versions: &[Version], steps: &[Step], policy: &Policy) {
    let carry = (policy.carry == CarryPlace::Inline).then(|| Path(vec![Seg::Key(policy.carry_member.clone())]));
    for (index, step) in steps.iter().enumerate() {
        for_each_rule(&step.rules, &Path::default(), &mut |scope, rule| {
            let pointer = format!(
                "/step/{index}/ops/{}",
                rule.label.split('.').next().and_then(|n| n.parse::<usize>().ok()).unwrap_or(1) - 1
            );
            let place = format!("{}, op {}", step.label, rule.label);
            let covers =
                |path: &Path, reserved: &Path| matches!(path.0.first(), Some(Seg::Key(_))) && path.covers(reserved);
            for path in rule.op.paths().into_iter().map(|path| path.under(scope)) {
                let into = |reserved: &&Path| {
                    covers(&path, reserved) && !matches!(rule.op, Op::In { .. })
                        || matches!(path.0.first(), Some(Seg::Key(_))) && reserved.covers(&path)
                };
                if let Some(marker) =
                    versions.iter().filter_map(|version| Some(&version.marker.as_ref()?.path)).find(into)
                {
                    table.problems.note(
                        &pointer,
                        &place,
                        format!("{path} touches the marker {marker}, which the versions stamp themselves"),
                    );
                }
                if carry.as_ref().is_some_and(|carry| into(&carry)) {
                    table.problems.note(
                        &pointer,
                        &place,
                        format!("{path} touches the inline carry (policy.carry_member)"),
                    );
                }
            }
        });
    }
}

/// The rules that write the markers of the one version over those of the other.
fn stamps(lower: &Version, upper: &Version, label: &str) -> Vec<Rule> {
    let mut paths: Vec<&Path> = Vec::new();
    for marker in [&lower.marker, &upper.marker].into_iter().flatten() {
        if !paths.contains(&&marker.path) {
            paths.push(&marker.path);
        }
    }
    let value = |version: &Version, path: &Path| {
        version.marker.as_ref().filter(|marker| marker.path == *path).and_then(|marker| marker.value.clone())
    };
    let stamp = |path: &Path| Rule {
        label: "stamp".to_owned(),
        name: "stamp",
        digest: json::fnv1a(json::FNV_SEED, format!("stamp {label} {path}").as_bytes()),
        op: Op::Edit { at: path.clone(), edit: Edit::Stamp { lower: value(lower, path), upper: value(upper, path) } },
        when: None::<Condition>,
        when_upper: None,
    };
    paths.into_iter().map(stamp).collect()
}
