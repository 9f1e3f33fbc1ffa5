//! Where records begin: the pack's examples and recorded records in every version that they can be translated to, the
//! barest record of each version, and one in which as many ops as possible find something to do.

use super::subject::Subject;
use super::tree::{Segment, Tree};
use super::words::{OpWords, Words};
use crate::contract::Version;

/// Values that ops of some kind may take, for places of which the pack doesn't say what may stand there.
const SAMPLES: [&str; 12] = [
    "1719400000",
    "\"a\"",
    "true",
    "2.5",
    "{\"k\":\"a\"}",
    "[\"a\",\"b\"]",
    "\"2024-06-26T11:06:41Z\"",
    "\"Wed, 26 Jun 2024 11:06:41 GMT\"",
    "[{\"k\":\"a\"},{\"k\":\"b\"}]",
    "\"a b\"",
    "\"{\\\"k\\\":1}\"",
    "null",
];

/// Recorded records longer than this many bytes are no seeds: what grows from them says the same, and takes longer.
const LONGEST: usize = 8 << 10;

/// How many recorded records are seeds at most.
const MOST: usize = 256;

/// The seeds of every version, in the order of versions.
pub(crate) fn gather(subject: &dyn Subject, words: &Words, recorded: &[&[u8]]) -> Vec<Vec<Tree>> {
    let count = words.versions.len();
    let mut seeds: Vec<Vec<Tree>> = vec![Vec::new(); count];
    let examples = words.examples.iter().map(String::as_bytes);
    let recorded = recorded.iter().copied().filter(|record| record.len() <= LONGEST).take(MOST);
    for record in examples.chain(recorded) {
        spread(subject, words, record, &mut seeds);
    }
    for (index, shape) in words.versions.iter().enumerate() {
        for filler in ["1", "\"a\"", "{}"] {
            let mut bare = Tree::Object(Vec::new());
            shape.imprint(&mut bare, &Tree::Scalar(filler.to_owned()));
            if is(subject, &bare, index) {
                push(&mut seeds, index, bare);
                break;
            }
        }
    }
    for index in 0..count {
        for way in [Way::Up, Way::Down] {
            let bases: Vec<Tree> = seeds.get(index).into_iter().flatten().rev().take(2).cloned().collect();
            for base in bases {
                let full = furnished(subject, words, base, index, way);
                spread(subject, words, full.compact().as_bytes(), &mut seeds);
            }
        }
    }
    seeds
}

#[derive(Clone, Copy)]
enum Way {
    Up,
    Down,
}

/// Adds a record in all versions that it can be translated to.
fn spread(subject: &dyn Subject, words: &Words, record: &[u8], seeds: &mut [Vec<Tree>]) {
    let Ok(found) = subject.detect(record) else { return };
    for to in 0..seeds.len() {
        let Ok(there) = subject.translate(record, b"", found, version(to)) else { continue };
        let Some(mut tree) = Tree::read(&there.record) else { continue };
        if let Some(member) = &words.carry_member {
            tree.take(member);
        }
        push(seeds, to, tree);
    }
}

fn push(seeds: &mut [Vec<Tree>], index: usize, tree: Tree) {
    if let Some(seeds) = seeds.get_mut(index)
        && !seeds.contains(&tree)
    {
        seeds.push(tree);
    }
}

/// The record with something at every place where that makes an op of the step do something it didn't do before.
fn furnished(subject: &dyn Subject, words: &Words, base: Tree, index: usize, way: Way) -> Tree {
    let to = match way {
        Way::Up => index + 1,
        Way::Down => index.wrapping_sub(1),
    };
    let mut record = base;
    let ops = words.ops.iter().filter(|op| match way {
        Way::Up => (op.lower, op.upper) == (index, to),
        Way::Down => (op.lower, op.upper) == (to, index),
    });
    for op in ops {
        if !acts(subject, &record, index, to, op) {
            record = candidates(op, &record)
                .into_iter()
                .find(|candidate| acts(subject, candidate, index, to, op))
                .unwrap_or(record);
        }
    }
    record
}

/// The record with one value more, and with what the op's conditions name.
fn candidates(op: &OpWords, record: &Tree) -> Vec<Tree> {
    let Some((own, conditions)) = op.groups.split_first() else { return Vec::new() };
    let mut bases = vec![record.clone()];
    for condition in conditions {
        for (place, literal) in
            condition.places.iter().flat_map(|place| condition.literals.iter().map(move |literal| (place, literal)))
        {
            let mut base = record.clone();
            if base.put(place, literal) && bases.len() < 6 {
                bases.push(base);
            }
        }
    }
    let samples: Vec<Tree> = SAMPLES.iter().filter_map(|text| Tree::read(text.as_bytes())).collect();
    // A fraction is a factor more often than a value.
    let (fractions, plain): (Vec<&Tree>, Vec<&Tree>) = own.literals.iter().partition(|literal| is_fraction(literal));
    let mut found = Vec::new();
    for base in &bases {
        for place in own.places.iter().take(6) {
            for value in plain.iter().copied().take(16).chain(&samples).chain(fractions.iter().copied()) {
                let mut candidate = base.clone();
                if put_below(&mut candidate, place, value) {
                    found.push(candidate);
                }
            }
        }
    }
    found
}

fn is_fraction(literal: &Tree) -> bool {
    matches!(literal, Tree::Scalar(text) if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) && text.contains('.'))
}

/// Puts a value; where it would replace something, that something is left alone.
fn put_below(record: &mut Tree, place: &[Segment], value: &Tree) -> bool {
    let mut probe = record.clone();
    if probe.remove(place) && !place.contains(&Segment::Star) {
        return false;
    }
    record.put(place, value)
}

/// Whether the record is of a version, and the op changes something on its way to the next one.
fn acts(subject: &dyn Subject, record: &Tree, from: usize, to: usize, op: &OpWords) -> bool {
    let record = record.compact();
    let found = subject.detect(record.as_bytes());
    found == Ok(version(from))
        && subject
            .explain(record.as_bytes(), b"", version(from), version(to))
            .is_ok_and(|changes| changes.iter().any(|change| change.op.split(": ").next() == Some(op.label.as_str())))
}

fn is(subject: &dyn Subject, record: &Tree, index: usize) -> bool {
    subject.detect(record.compact().as_bytes()) == Ok(version(index))
}

/// Packs have at most 2^16 versions, since the contract counts them in `u16`.
fn version(index: usize) -> Version {
    Version(u16::try_from(index).unwrap_or(u16::MAX))
}
