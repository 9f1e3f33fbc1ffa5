//! What a pack speaks of, whatever its ops are called: the places and literals of each op, the rules of detection, the
//! examples.
//!
//! Every string that begins with `/` is a place, everything else a literal. An op in the `ops` of another one is also
//! read with the places of that one before its own.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::{Segment, Tree, place, plain};

/// What a pack speaks of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words {
    pub(crate) versions: Vec<Shape>,
    /// The ops in pack order, those of an op before it.
    pub(crate) ops: Vec<OpWords>,
    /// The records of the examples.
    pub(crate) examples: Vec<String>,
    /// Where an inline carry lies.
    pub(crate) carry_member: Option<String>,
    /// Whether a full carry drops what doesn't fit.
    pub(crate) full: Full,
    /// The pack itself.
    pub(crate) text: String,
}

/// What a full carry does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Full {
    /// It refuses the record.
    #[default]
    Refuses,
    /// It drops what doesn't fit.
    Drops,
}

/// How a version is recognised.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    pub(crate) id: String,
    /// The marker's place, and what stands there.
    pub(crate) marker: Option<(Vec<Segment>, Option<Tree>)>,
    /// Places that must be there.
    pub(crate) has: Vec<Vec<Segment>>,
    /// Places that must not.
    pub(crate) lacks: Vec<Vec<Segment>>,
}

/// What an op speaks of.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpWords {
    /// How changes call it: `step 1→2, op 3`.
    pub(crate) label: String,
    /// The index of the step's lower version.
    pub(crate) lower: usize,
    /// The index of the step's upper version.
    pub(crate) upper: usize,
    /// Whether it has ops of its own, which do what it does.
    pub(crate) scope: bool,
    /// Places with literals that may stand there: those of the op itself first, then those of its conditions.
    pub(crate) groups: Vec<Group>,
}

/// Places and literals that one table of a pack names together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    pub(crate) places: Vec<Vec<Segment>>,
    pub(crate) literals: Vec<Tree>,
}

impl Words {
    /// Reads a pack in its JSON form.
    pub(crate) fn read(pack: &[u8]) -> Words {
        let text = String::from_utf8_lossy(pack).into_owned();
        let Some(pack) = Tree::read(pack) else { return Words::default() };
        let list = |key: &str| pack.member(key).map_or(&[][..], Tree::items);
        let versions: Vec<Shape> = list("version").iter().map(Shape::read).collect();
        let mut ops = Vec::new();
        for step in list("step") {
            let id = |key| step.member(key).and_then(Tree::text).unwrap_or_default();
            let (from, to) = (id("from"), id("to"));
            let index = |id: &str| versions.iter().position(|version| version.id == id).unwrap_or_default();
            let step_words = OpWords { lower: index(&from), upper: index(&to), ..OpWords::default() };
            for (number, op) in step.member("ops").map_or(&[][..], Tree::items).iter().enumerate() {
                read_op(op, &[Vec::new()], format!("step {from}→{to}, op {}", number + 1), &step_words, &mut ops);
            }
        }
        let side = |example: &Tree, side| example.member(side).and_then(Tree::text);
        let examples = list("example").iter().flat_map(|example| [side(example, "lower"), side(example, "upper")]);
        let policy = |key| pack.member("policy").and_then(|policy| policy.member(key)).and_then(Tree::text);
        let carry_member = (policy("carry").as_deref() == Some("inline"))
            .then(|| policy("carry_member").unwrap_or_else(|| "_unskew".to_owned()));
        let full = match policy("carry_overflow").as_deref() {
            Some("drop") => Full::Drops,
            Some(_) | None => Full::Refuses,
        };
        Words { versions, ops, examples: examples.flatten().collect(), carry_member, full, text }
    }

    /// The ops of each step as they are written, in JSON form, by its versions.
    pub(crate) fn steps(pack: &[u8]) -> BTreeMap<(String, String), Vec<String>> {
        let pack = Tree::read(pack);
        let steps = pack.as_ref().and_then(|pack| pack.member("step")).map_or(&[][..], Tree::items);
        let read = |step: &Tree| {
            let id = |key| step.member(key).and_then(Tree::text).unwrap_or_default();
            let ops = step.member("ops").map_or(&[][..], Tree::items).iter().map(Tree::compact).collect();
            ((id("from"), id("to")), ops)
        };
        steps.iter().map(read).collect()
    }

    /// Every literal of the pack, each once.
    pub(crate) fn literals(&self) -> Vec<Tree> {
        let of_ops = self.ops.iter().flat_map(|op| &op.groups).flat_map(|group| &group.literals);
        let markers = self.versions.iter().filter_map(|version| version.marker.as_ref()?.1.as_ref());
        let mut seen = BTreeSet::new();
        of_ops.chain(markers).filter(|literal| seen.insert(literal.compact())).cloned().collect()
    }

    /// Whether an op, a marker or a shape names a member of the root, or what is below.
    pub(crate) fn touches(&self, key: &str) -> bool {
        let mut places = self.places();
        let named = places.any(|place| match place.first() {
            Some(Segment::Key(first)) => first == key,
            Some(Segment::Star) => true,
            None => false,
        });
        named || self.carry_member.as_deref() == Some(key)
    }

    fn places(&self) -> impl Iterator<Item = &Vec<Segment>> {
        let of_ops = self.ops.iter().flat_map(|op| &op.groups).flat_map(|group| &group.places);
        let of_versions = self.versions.iter().flat_map(|version| {
            version.marker.iter().map(|(place, _)| place).chain(&version.has).chain(&version.lacks)
        });
        of_ops.chain(of_versions)
    }
}

impl Shape {
    fn read(version: &Tree) -> Shape {
        let id = version.member("id").and_then(Tree::text).unwrap_or_default();
        let marker = version.member("marker").and_then(|marker| {
            let at = marker.member("path").and_then(Tree::text)?;
            Some((place(&at)?, marker.member("value").cloned()))
        });
        let places = |key| {
            let list = version.member("shape").and_then(|shape| shape.member(key)).map_or(&[][..], Tree::items);
            list.iter().filter_map(|path| place(&path.text()?)).collect()
        };
        Shape { id, marker, has: places("has"), lacks: places("lacks") }
    }

    /// Makes a record look as this version's rule wants it; `filler` stands where anything may.
    pub(crate) fn imprint(&self, record: &mut Tree, filler: &Tree) {
        for place in &self.has {
            let mut probe = record.clone();
            if !probe.remove(place) {
                record.put(place, filler);
            }
        }
        self.lacks.iter().for_each(|place| {
            record.remove(place);
        });
        match &self.marker {
            Some((place, Some(value))) => {
                record.put(place, value);
            }
            Some((place, None)) => {
                record.remove(place);
            }
            None => {}
        }
    }
}

fn read_op(op: &Tree, scopes: &[Vec<Segment>], label: String, step: &OpWords, into: &mut Vec<OpWords>) {
    let mut words = OpWords { label, ..step.clone() };
    let own: Vec<Vec<Segment>> = op.members().iter().filter_map(|(_, value)| place(&value.text()?)).collect();
    for (key, value) in op.members() {
        if plain(key) == "ops" {
            words.scope = true;
            let scopes: Vec<Vec<Segment>> = own.iter().flat_map(|own| below(scopes, own)).collect();
            for (number, inner) in value.items().iter().enumerate() {
                read_op(inner, &scopes, format!("{}.{}", words.label, number + 1), step, into);
            }
        }
    }
    group(op, scopes, Depth::Op, &mut words.groups);
    into.push(words);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// The op itself: its own strings are names of units, kinds and modes, or keys.
    Op,
    /// A table in it.
    Table,
}

/// Reads one table of a pack, then those in it.
fn group(table: &Tree, scopes: &[Vec<Segment>], depth: Depth, into: &mut Vec<Group>) {
    let mut words = Group::default();
    let mut inner = Vec::new();
    let mut keys = Vec::new();
    for (key, value) in table.members() {
        match value {
            _ if plain(key) == "ops" => {}
            Tree::Scalar(_) => match value.text().map(|text| (place(&text), text)) {
                Some((Some(place), _)) => words.places.extend(below(scopes, &place)),
                Some((None, text)) if depth == Depth::Op => keys.push(text),
                Some((None, _)) | None => words.literals.push(value.clone()),
            },
            Tree::Array(_) => listed(value, scopes, &mut words),
            Tree::Object(_) => {
                words.literals.push(value.clone());
                inner.push(value);
            }
        }
    }
    // A key beside a place may be the name that the member has on the other side.
    let renamed = words.places.first().cloned().and_then(|mut place| place.pop().map(|_| place));
    if let Some(parent) = renamed {
        words.places.extend(keys.into_iter().map(|key| [&parent[..], &[Segment::Key(key)]].concat()));
    }
    into.push(words);
    inner.into_iter().for_each(|table| group(table, scopes, Depth::Table, into));
}

/// Every scalar in a list, and every table with what it holds.
fn listed(list: &Tree, scopes: &[Vec<Segment>], into: &mut Group) {
    for value in list.items() {
        match value {
            Tree::Scalar(_) => match value.text().and_then(|text| place(&text)) {
                Some(place) => into.places.extend(below(scopes, &place)),
                None => into.literals.push(value.clone()),
            },
            Tree::Array(_) => listed(value, scopes, into),
            Tree::Object(members) => {
                into.literals.push(value.clone());
                into.literals.extend(members.iter().map(|(_, value)| value.clone()));
            }
        }
    }
}

fn below(scopes: &[Vec<Segment>], place: &[Segment]) -> Vec<Vec<Segment>> {
    scopes.iter().map(|scope| [scope, place].concat()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn places_and_literals_are_found_whatever_an_op_is_called() {
        let pack = br#"{"version":[{"id":"1","marker":{"path":"/v","absent":true}},{"id":"2","shape":{"has":["/x"]}}],
            "step":[{"from":"1","to":"2","ops":[
                {"frob":"/a/b","to":"c","values":[["x",1]],"when":{"path":"/w","equals":"y"}},
                {"in":"/list/*","ops":[{"frob":"/k","unit":"s"}]}]}],
            "example":[{"lower":"{}","upper":"{\"x\":1}"}],"policy":{"carry":"inline"}}"#;
        let words = Words::read(pack);
        let labels: Vec<&str> = words.ops.iter().map(|op| op.label.as_str()).collect();
        assert_eq!(labels, ["step 1→2, op 1", "step 1→2, op 2.1", "step 1→2, op 2"]);
        let place = |path: &str| place(path).unwrap();
        let [own, condition] = [&words.ops[0].groups[0], &words.ops[0].groups[1]];
        assert_eq!(own.places[..2], [place("/a/b"), place("/a/c")]);
        let scalar = |text: &str| Tree::Scalar(text.to_owned());
        assert_eq!(own.literals[..2], [scalar("\"x\""), scalar("1")]);
        assert_eq!((&condition.places[..], &condition.literals[..]), (&[place("/w")][..], &[scalar("\"y\"")][..]));
        assert_eq!(words.ops[1].groups[0].places[0], place("/list/*/k"));
        assert_eq!((words.examples.len(), words.carry_member.as_deref()), (2, Some("_unskew")));
        assert!(words.touches("list") && words.touches("x") && words.touches("_unskew") && !words.touches("b"));
    }
}
