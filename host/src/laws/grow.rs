//! Records grown from seeds by random changes: ordinary ones, as the servers of a version could have written them, and
//! odd ones, as nobody would.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::tree::{Segment, Tree, plain, quoted};
use super::words::{OpWords, Words};
use crate::contract::Version;

/// What records grow from.
pub(crate) struct Grower<'w> {
    words: &'w Words,
    /// By version.
    seeds: Vec<Vec<Tree>>,
    /// By version: what stands, or may stand, at a place.
    values: Vec<BTreeMap<Vec<Segment>, Vec<Tree>>>,
    /// Literals of the pack, values of the seeds, and odd ones.
    palette: Vec<Tree>,
    /// Keys as JSON text.
    keys: Vec<String>,
}

/// Values that stand at one place of seeds are remembered up to this number.
const VALUES: usize = 24;

/// The kind of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    Bool,
    Whole,
    Fraction,
    String,
    Array,
    Object,
}

impl Kind {
    fn of(tree: &Tree) -> Kind {
        match tree {
            Tree::Array(_) => Kind::Array,
            Tree::Object(_) => Kind::Object,
            Tree::Scalar(text) => match text.as_bytes().first() {
                Some(b'n') => Kind::Null,
                Some(b't' | b'f') => Kind::Bool,
                Some(b'"') => Kind::String,
                Some(_) | None if text.contains(['.', 'e', 'E']) => Kind::Fraction,
                Some(_) | None => Kind::Whole,
            },
        }
    }
}

/// What the pack does with a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// No op knows it.
    Unknown,
    /// An op may look at it.
    MayBeRead,
}

/// What parsers, printers and ops get wrong.
const ODD: [&str; 29] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1.0",
    "1E2",
    "-1",
    "-1500",
    "9007199254740993",
    "18446744073709551615",
    "123456789012345678901234567890",
    "0.1000",
    "1719400000123",
    "\"\"",
    "\"1.50\"",
    "\"a\\/b\"",
    "\"caf\\u00e9\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud800\"",
    "\"é\"",
    "[]",
    "{}",
    "[ 1 , {\"k\": null} ]",
    "{ \"a\" : [] }",
    "\"Thu, 01 Jan 1970 00:00:00 GMT\"",
    "[null]",
    "\"a, b, c\"",
    "\" a  b \"",
];

impl<'w> Grower<'w> {
    /// Prepares to grow from these seeds, by version.
    pub(crate) fn new(words: &'w Words, seeds: Vec<Vec<Tree>>) -> Grower<'w> {
        let mut values = Vec::new();
        let mut palette: Vec<Tree> = ODD.iter().filter_map(|text| Tree::read(text.as_bytes())).collect();
        palette.extend(words.literals());
        let mut keys = Vec::new();
        for seeds in &seeds {
            let mut seen: BTreeMap<Vec<Segment>, Vec<Tree>> = BTreeMap::new();
            for seed in seeds {
                seed.walk(&mut Vec::new(), &mut |place, node| {
                    if let Some(Segment::Key(key)) = place.last() {
                        keys.push(quoted(key));
                    }
                    let known = seen.entry(place.to_vec()).or_default();
                    if place.is_empty() || known.len() >= VALUES || known.contains(node) {
                        return;
                    }
                    known.push(node.clone());
                    palette.push(node.clone());
                });
            }
            values.push(seen);
        }
        for op in &words.ops {
            for group in &op.groups {
                for place in &group.places {
                    if let Some(Segment::Key(key)) = place.last() {
                        keys.push(quoted(key));
                    }
                    for version in [op.lower, op.upper] {
                        // Only where the version has something of that kind: what else a literal would add belongs to
                        // another shape.
                        if let Some(known) = values.get_mut(version).and_then(|values| values.get_mut(place)) {
                            let kinds: Vec<Kind> = known.iter().map(Kind::of).collect();
                            let alike = group.literals.iter().filter(|literal| kinds.contains(&Kind::of(literal)));
                            known.extend(alike.cloned());
                        }
                    }
                }
            }
        }
        keys.sort();
        keys.dedup();
        palette.sort_by_cached_key(Tree::compact);
        palette.dedup();
        Grower { words, seeds, values, palette, keys }
    }

    /// Whether there is anything to grow records of a version from.
    pub(crate) fn has(&self, version: Version) -> bool {
        self.seeds.get(version.index()).is_some_and(|seeds| !seeds.is_empty())
    }

    /// A record that the servers of a version could have written: members of its shape, each with a value that could
    /// stand there, in plain spelling; some are missing, and some are there that no op knows.
    pub(crate) fn ordinary(&self, rng: &mut Rng, version: Version) -> Tree {
        let mut tree = self.seed(rng, version);
        for _ in 0..rng.usize(0..6) {
            self.ordinary_change(rng, &mut tree, version);
        }
        tree.prune();
        tree
    }

    /// A record that is recognised as a version's, at best, and holds anything.
    pub(crate) fn odd(&self, rng: &mut Rng, version: Version) -> Tree {
        let mut tree = self.seed(rng, version);
        for _ in 0..rng.usize(0..3) {
            self.aimed_change(rng, &mut tree, version);
        }
        for _ in 0..rng.usize(0..6) {
            match rng.u8(0..4) {
                0 => self.named_change(rng, &mut tree),
                1 => self.ordinary_change(rng, &mut tree, version),
                _ => self.odd_change(rng, &mut tree),
            }
        }
        tree
    }

    /// An odd record in which this op finds something.
    pub(crate) fn aimed(&self, rng: &mut Rng, version: Version, op: &OpWords) -> Tree {
        let mut tree = self.seed(rng, version);
        self.aim(rng, &mut tree, version, op);
        if rng.bool() {
            self.ordinary_change(rng, &mut tree, version);
        }
        tree
    }

    /// An odd record like this one.
    pub(crate) fn like(&self, rng: &mut Rng, mut tree: Tree, version: Version) -> Tree {
        if let Tree::Object(members) = &mut tree {
            self.add_unknown(rng, members);
        }
        for _ in 0..rng.usize(0..3) {
            self.ordinary_change(rng, &mut tree, version);
        }
        tree
    }

    /// What a server of a version could do to a record between two translations.
    pub(crate) fn edit(&self, rng: &mut Rng, tree: &mut Tree, version: Version) {
        match rng.u8(0..5) {
            0 => self.odd_change(rng, tree),
            1 => self.named_change(rng, tree),
            2 | 3 => self.aimed_change(rng, tree, version),
            _ => self.ordinary_change(rng, tree, version),
        }
    }

    /// A record of one version that bears marks of another.
    pub(crate) fn mixed(&self, rng: &mut Rng, one: Version, other: Version) -> Tree {
        let mut tree = self.seed(rng, one);
        let filler = self.any(rng).clone();
        if rng.bool() {
            let theirs = self.seed(rng, other);
            let taken: Vec<_> = theirs.members().iter().filter(|_| rng.bool()).cloned().collect();
            if let Tree::Object(members) = &mut tree {
                for (key, value) in taken {
                    if !members.iter().any(|(own, _)| *own == key) {
                        members.push((key, value));
                    }
                }
            }
        }
        if let Some(shape) = self.words.versions.get(other.index()) {
            let mut marked = shape.clone();
            marked.lacks.clear();
            if rng.bool() {
                marked.marker = marked.marker.filter(|(_, value)| value.is_some());
            }
            marked.imprint(&mut tree, &filler);
        }
        tree
    }

    fn seed(&self, rng: &mut Rng, version: Version) -> Tree {
        let seeds = self.seeds.get(version.index()).map_or(&[][..], Vec::as_slice);
        rng.choice(seeds).cloned().unwrap_or_else(|| Tree::Object(Vec::new()))
    }

    fn any(&self, rng: &mut Rng) -> &Tree {
        // The palette is never empty: odd values are in every one.
        &self.palette[rng.usize(0..self.palette.len())]
    }

    /// Changes a record within the shape of its version.
    fn ordinary_change(&self, rng: &mut Rng, tree: &mut Tree, version: Version) {
        let mut places = Vec::new();
        tree.walk(&mut Vec::new(), &mut |place, _| places.push(place.to_vec()));
        let number = rng.usize(0..places.len());
        let place = &places[number];
        let Some(node) = tree.nth(number) else { return };
        let seen =
            self.values.get(version.index()).and_then(|values| values.get(place)).filter(|seen| !seen.is_empty());
        let known = seen.and_then(|seen| rng.choice(seen)).cloned();
        let use_of_it = match place.first() {
            Some(Segment::Key(key)) if !self.words.touches(key) => Use::Unknown,
            Some(Segment::Key(_) | Segment::Star) | None => Use::MayBeRead,
        };
        match node {
            Tree::Scalar(text) => match (known, fresh(rng, text, use_of_it)) {
                (Some(known), _) if rng.bool() => *node = known,
                (_, Some(fresh)) => *text = fresh,
                (Some(known), None) => *node = known,
                (None, None) => {}
            },
            Tree::Object(members) => match rng.u8(0..3) {
                0 | 1 if !members.is_empty() => {
                    let at = rng.usize(0..members.len());
                    members.remove(at);
                }
                _ => self.add_unknown(rng, members),
            },
            Tree::Array(items) => match rng.u8(0..3) {
                0 if !items.is_empty() => {
                    let at = rng.usize(0..items.len());
                    items.remove(at);
                }
                _ if items.len() < 6 && !items.is_empty() => {
                    // Its like, and yet another one: what tells elements apart differs.
                    let mut item = items[rng.usize(0..items.len())].clone();
                    for (_, value) in
                        if let Tree::Object(members) = &mut item { members.iter_mut() } else { [].iter_mut() }
                    {
                        if let Tree::Scalar(text) = value
                            && let Some(fresh) = fresh(rng, text, Use::Unknown)
                            && rng.bool()
                        {
                            *text = fresh;
                        }
                    }
                    items.push(item);
                }
                _ => {}
            },
        }
    }

    /// Puts something at a place that an op or a marker names, or takes it out there.
    fn named_change(&self, rng: &mut Rng, tree: &mut Tree) {
        let Some(op) = rng.choice(&self.words.ops) else { return };
        let Some(group) = rng.choice(&op.groups) else { return };
        let Some(place) = rng.choice(&group.places) else { return };
        match rng.u8(0..4) {
            0 => {
                tree.remove(place);
            }
            1 => {
                tree.put(place, &self.any(rng).clone());
            }
            _ => {
                let literal = rng.choice(&group.literals).unwrap_or_else(|| self.any(rng)).clone();
                tree.put(place, &literal);
            }
        }
    }

    /// Makes an op of a neighbouring step find something.
    fn aimed_change(&self, rng: &mut Rng, tree: &mut Tree, version: Version) {
        let near = |op: &&OpWords| [op.lower, op.upper].contains(&version.index());
        if let Some(op) = rng.choice(self.words.ops.iter().filter(near).collect::<Vec<_>>()) {
            self.aim(rng, tree, version, op);
        }
    }

    /// Makes an op find something: its conditions as it wants them, and at its own place another
    /// value of the kind that it takes, an odd spelling, or nothing.
    fn aim(&self, rng: &mut Rng, tree: &mut Tree, version: Version, op: &OpWords) {
        let Some((own, conditions)) = op.groups.split_first() else { return };
        for condition in conditions {
            if let (Some(place), Some(literal), true) =
                (rng.choice(&condition.places), rng.choice(&condition.literals), rng.u8(0..3) > 0)
            {
                let object = || Tree::Object(vec![("\"x_1\"".to_owned(), literal.clone())]);
                tree.put(place, &if rng.u8(0..4) == 0 { object() } else { literal.clone() });
            }
        }
        // Not every place that an op seems to name is one.
        let there: Vec<&Vec<Segment>> = own.places.iter().filter(|place| tree.has(place)).collect();
        let place = if rng.u8(0..8) > 0 { rng.choice(&there).copied() } else { None };
        let Some(place) = place.or_else(|| rng.choice(&own.places)) else { return };
        let seen = self.values.get(version.index()).and_then(|values| values.get(place));
        let known = seen.and_then(|seen| rng.choice(seen)).or_else(|| rng.choice(&own.literals)).cloned();
        let Some(known) = known else { return };
        let value = match (&known, rng.u8(0..8)) {
            (_, 0) => {
                tree.remove(place);
                return;
            }
            (Tree::Scalar(text), 1..=3) => respelled(rng, text),
            (_, 6) => self.any(rng).clone(),
            (Tree::Scalar(text), 4 | 5) => fresh(rng, text, Use::MayBeRead).map(Tree::Scalar).unwrap_or(known),
            (_, _) => known,
        };
        tree.put(place, &value);
    }

    /// Changes a record in a way that no server would.
    fn odd_change(&self, rng: &mut Rng, tree: &mut Tree) {
        let number = rng.usize(0..tree.size());
        let value = self.any(rng).clone();
        let key = rng.choice(&self.keys).cloned().unwrap_or_else(|| "\"a\"".to_owned());
        let Some(node) = tree.nth(number) else { return };
        match (rng.u8(0..12), node) {
            (0 | 1, scalar @ Tree::Scalar(_)) => *scalar = value,
            (0, Tree::Object(members)) if !members.is_empty() => {
                let at = rng.usize(0..members.len());
                members.remove(at);
            }
            (2 | 3, Tree::Object(members)) => {
                if !members.iter().any(|(other, _)| plain(other) == plain(&key)) {
                    members.push((key, value));
                }
            }
            (4, Tree::Array(items)) if !items.is_empty() && items.len() < 8 => {
                let item = items[rng.usize(0..items.len())].clone();
                items.push(item);
            }
            (5, Tree::Array(items)) if !items.is_empty() => {
                let at = rng.usize(0..items.len());
                items.remove(at);
            }
            (6, Tree::Object(members)) if !members.is_empty() => {
                let by = rng.usize(0..members.len());
                members.rotate_left(by);
            }
            (7, Tree::Object(members)) if !members.is_empty() => {
                let at = rng.usize(0..members.len());
                let key = &mut members[at].0;
                if let Some(first) = key.chars().nth(1).filter(char::is_ascii_alphanumeric) {
                    *key = format!("\"\\u{:04x}{}", u32::from(first), &key[2..]);
                }
            }
            (8, Tree::Object(members)) => self.add_unknown(rng, members),
            (9, Tree::Object(members)) if !members.is_empty() => {
                let at = rng.usize(0..members.len());
                members[at].1 = value;
            }
            (10, Tree::Array(items)) if items.len() > 1 => {
                let other = rng.usize(0..items.len());
                items.swap(0, other);
            }
            (_, Tree::Scalar(_) | Tree::Array(_) | Tree::Object(_)) => {}
        }
    }

    /// A member that no op knows.
    fn add_unknown(&self, rng: &mut Rng, members: &mut Vec<(String, Tree)>) {
        let key = format!("\"x_{}\"", rng.u8(0..97));
        if !members.iter().any(|(other, _)| *other == key) && members.len() < 64 {
            let at = rng.usize(0..=members.len());
            members.insert(at, (key, self.any(rng).clone()));
        }
    }
}

/// The same value or one near it, in a spelling that no printer would choose.
fn respelled(rng: &mut Rng, text: &str) -> Tree {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    Tree::Scalar(match (text.as_bytes().first(), inner) {
        (Some(b'-' | b'0'..=b'9'), _) if !text.contains(['.', 'e', 'E']) => match rng.u8(0..5) {
            0 => format!("{text}.0"),
            1 => format!("{text}e0"),
            2 => format!("{text}.{}", rng.u16(1..1000)),
            3 => format!("{text}E+1"),
            _ => quoted(text),
        },
        (Some(b'-' | b'0'..=b'9'), _) if !text.contains(['e', 'E']) => format!("{text}{}", rng.u8(..)),
        (_, Some(inner)) => match inner.chars().next() {
            Some(first) if first.is_ascii_alphanumeric() => format!("\"\\u{:04x}{}\"", u32::from(first), &inner[1..]),
            Some(_) | None => text.to_owned(),
        },
        (_, None) => text.to_owned(),
    })
}

/// Another scalar of the same kind in plain spelling. Strings that an op reads are left alone: what it takes can't be
/// told from here.
fn fresh(rng: &mut Rng, text: &str, used: Use) -> Option<String> {
    match text.as_bytes().first()? {
        b't' | b'f' => Some(rng.bool().to_string()),
        b'"' if used == Use::Unknown => Some(quoted(&format!("{}{}", rng.lowercase(), rng.u16(..)))),
        b'-' | b'0'..=b'9' if text.contains(['e', 'E']) => None,
        b'-' | b'0'..=b'9' => {
            let whole = match rng.u8(0..4) {
                0 => i64::from(rng.u8(..)),
                1 => i64::from(rng.i16(..)),
                2 => 1_400_000_000 + i64::from(rng.u32(0..400_000_000)),
                _ => 1_400_000_000_000 + i64::from(rng.u32(..)) * 90,
            };
            let fraction = text.split_once('.').map(|(_, fraction)| fraction.len()).filter(|digits| *digits < 10);
            Some(match fraction {
                None => whole.to_string(),
                Some(digits) => {
                    let digits: String = (1..digits).map(|_| rng.digit(10)).collect();
                    format!("{whole}.{digits}{}", rng.u8(1..10))
                }
            })
        }
        _ => None,
    }
}
