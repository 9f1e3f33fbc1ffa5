//! The laws of translation, held against a loaded pack on records that are grown from it and on recorded ones.
//!
//! A pack's examples are few, and its author chose them. Here a [`Subject`] (the pack in the sandbox, say) is asked to
//! bring thousands of other records from each version to each other one, there and back, edited in between, and by way
//! of the versions in the middle. Where a law doesn't hold, the record is made smaller as long as the same law still
//! fails, so that a [`CounterExample`] shows a few members and not a session.
//!
//! Nothing here knows an op by its name: records grow from the places and literals that the pack holds, and what the
//! ops did is told by `explain`.

mod coverage;
mod grow;
mod hold;
mod seeds;
mod shrink;
mod subject;
mod tree;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use fastrand::Rng;

use crate::contract::Version;
pub use coverage::{Cell, Coverage, Direction, Situation};
use grow::Grower;
use hold::{Break, Court, Outcome, Way};
pub(crate) use shrink::{Simpler, shrink};
pub use subject::{Refused, Subject};
pub(crate) use tree::Tree;
pub(crate) use words::Words;

/// What every translation keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Law {
    /// A record of the wanted version is answered byte for byte.
    Identity,
    /// Bytes that no op names are copied.
    Untouched,
    /// There and back without an edit gives the same JSON.
    Return,
    /// What a server of the other version changes survives the way home and back.
    Edit,
    /// A record that alternates has the same bytes from the second time on.
    Fixpoint,
    /// Many steps at once give the bytes of one after another.
    Fusion,
    /// A translated record is recognised as what it was translated to, and as nothing else.
    Detect,
    /// What can't be translated is refused with a fault that doesn't tell what the record says.
    TotalOrFault,
    /// The same bytes give the same bytes.
    Pure,
    /// What gets lost, or needs the carry, was declared by the verdict on the pair.
    DeclaredLoss,
    /// Nothing grows, however often a record goes there and back.
    Stable,
}

impl Law {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Law; 11] = [
        Law::Identity,
        Law::Untouched,
        Law::Return,
        Law::Edit,
        Law::Fixpoint,
        Law::Fusion,
        Law::Detect,
        Law::TotalOrFault,
        Law::Pure,
        Law::DeclaredLoss,
        Law::Stable,
    ];

    /// The word, in kebab case: `declared-loss`.
    pub fn as_str(self) -> &'static str {
        match self {
            Law::Identity => "identity",
            Law::Untouched => "untouched",
            Law::Return => "return",
            Law::Edit => "edit",
            Law::Fixpoint => "fixpoint",
            Law::Fusion => "fusion",
            Law::Detect => "detect",
            Law::TotalOrFault => "total-or-fault",
            Law::Pure => "pure",
            Law::DeclaredLoss => "declared-loss",
            Law::Stable => "stable",
        }
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a record comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grown {
    /// Somebody recorded it.
    Recorded,
    /// Grown as servers of its version could have written it.
    Ordinary,
    /// Grown as nobody would write it.
    Odd,
}

impl Grown {
    /// The word: `ordinary`.
    pub fn as_str(self) -> &'static str {
        match self {
            Grown::Recorded => "recorded",
            Grown::Ordinary => "ordinary",
            Grown::Odd => "odd",
        }
    }
}

impl Grown {
    /// Whether a record that was made smaller could still have been grown so.
    fn allows(self, tree: &Tree) -> bool {
        match self {
            Grown::Recorded | Grown::Odd => true,
            Grown::Ordinary => {
                let mut pruned = tree.clone();
                pruned.prune();
                pruned == *tree
            }
        }
    }
}

/// Whether hits of ops are counted, which costs as much as the laws themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counting {
    /// They are.
    #[default]
    On,
    /// They are not; the coverage stays empty.
    Off,
}

/// A pack before its laws.
pub struct Laws<'s> {
    subject: &'s dyn Subject,
    words: Words,
    recorded: Vec<(String, Vec<u8>)>,
    seed: u64,
    cases: u32,
    counting: Counting,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Each ordered pair of versions, with the number of records that each law had something to say about.
    pub pairs: Vec<PairCount>,
    /// The laws that don't hold, each with a smallest record; at most one of each law and pair.
    pub broken: Vec<CounterExample>,
    /// Ordinary and recorded records that the rules refuse, by fault and op.
    pub refusals: Vec<Refusal>,
    /// Records that more than one version recognises.
    pub overlaps: Vec<Overlap>,
    /// How often ops met what.
    pub coverage: Coverage,
    /// How many records a cell of the coverage should have met: a hundredth of those of a pair, at most 100.
    pub enough: u64,
}

/// The records of one ordered pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairCount {
    /// The version of the records.
    pub from: String,
    /// The version that they were brought to.
    pub to: String,
    way: (Version, Version),
    /// How many were translated.
    pub translated: u64,
    /// How many were refused.
    pub refused: u64,
    /// How many of them each law applied to, in the order of [`Law::ALL`].
    pub applied: [u64; Law::ALL.len()],
}

/// A law that doesn't hold, with the smallest record that was found to show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterExample {
    /// The law.
    pub law: Law,
    /// The version of the record.
    pub from: String,
    /// The version that it was brought to.
    pub to: String,
    /// The record.
    pub record: String,
    /// What a server of the other version made of it in between, where the law is about that.
    pub edited: Option<String>,
    /// What should be.
    pub expected: String,
    /// What is.
    pub found: String,
    /// Where in the record, as a JSON Pointer, if the law is about a place.
    pub place: Option<String>,
    /// The op that did it, as `step 1→2, op 3: rename`, or the few that can have: ` or ` between them.
    pub op: Option<String>,
    /// What it came from.
    pub grown: Grown,
    /// The name of the recorded record, or the number of the grown one: the same seed and number give the same record.
    pub origin: String,
}

/// Records that the rules refuse in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The version of the records.
    pub from: String,
    /// The version that they were to be brought to.
    pub to: String,
    /// The kind of fault.
    pub kind: String,
    /// The op that refused, as `step 1→2, op 3`, or empty.
    pub op: String,
    /// The fault of the smallest record.
    pub message: String,
    /// The smallest record found.
    pub record: String,
    /// How many there were.
    pub count: u64,
    /// How many of them were recorded ones.
    pub recorded: u64,
}

/// A record that more than one version recognises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// Which versions: `one of versions 1 and 2`, as the fault says it.
    pub message: String,
    /// The smallest record found.
    pub record: String,
    /// What it came from: an odd one bears marks of two versions that only a mistake brings together.
    pub grown: Grown,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Records so far.
    pub done: u64,
    /// Records at the end, if few are refused.
    pub total: u64,
}

/// How many grown records may be refused for one that is translated.
const PATIENCE: u32 = 4;

/// Refusals and overlaps beyond this number are counted and not made smaller.
const SHOWN: usize = 16;

impl<'s> Laws<'s> {
    /// The laws on a subject that has loaded this pack, given in its JSON form: 200 records for each ordered pair, seed 1.
    pub fn new(subject: &'s dyn Subject, pack: &[u8]) -> Laws<'s> {
        let words = Words::read(pack);
        Laws { subject, words, recorded: Vec::new(), seed: 1, cases: 200, counting: Counting::On }
    }

    /// Other records: the same seed gives the same ones.
    #[must_use]
    pub fn seed(self, seed: u64) -> Laws<'s> {
        Laws { seed, ..self }
    }

    /// How many translated records each ordered pair gets.
    #[must_use]
    pub fn cases(self, cases: u32) -> Laws<'s> {
        Laws { cases, ..self }
    }

    /// Whether hits of ops are counted.
    #[must_use]
    pub fn counting(self, counting: Counting) -> Laws<'s> {
        Laws { counting, ..self }
    }

    /// Recorded records, with names: the laws are held on them too, and more grow from them.
    #[must_use]
    pub fn recorded(self, recorded: Vec<(String, Vec<u8>)>) -> Laws<'s> {
        Laws { recorded, ..self }
    }

    /// Grows records and holds the laws on all of them.
    pub fn run(&self, progress: &mut dyn FnMut(Progress)) -> Findings {
        self.with_court(|court| {
            let mut run = Run { laws: self, court, findings: Findings::default(), refusals: BTreeMap::new() };
            run.findings.coverage = Coverage::new(court);
            run.findings.enough = u64::from(self.cases / 100).clamp(1, 100);
            run.all(progress);
            run.findings
        })
    }

    /// The recorded records, and grown ones of every version in turn, for comparing subjects: each with the version that
    /// it was grown as, or recognised as.
    pub fn records(&self, mut with: impl FnMut(&[u8], Version)) {
        for (_, record) in &self.recorded {
            if let Ok(found) = self.subject.detect(record) {
                with(record, found);
            }
        }
        self.with_court(|court| {
            for from in court.all() {
                for number in 0..self.cases {
                    let (record, _) = self.grow(court, from, from, number);
                    with(record.as_bytes(), from);
                }
            }
        });
    }

    /// How many records `records` grows.
    pub(crate) fn planned(&self) -> u64 {
        u64::from(self.cases) * self.words.versions.len() as u64
    }

    fn with_court<R>(&self, with: impl FnOnce(&Court<'_>) -> R) -> R {
        let recorded: Vec<&[u8]> = self.recorded.iter().map(|(_, record)| record.as_slice()).collect();
        let grower = Grower::new(&self.words, seeds::gather(self.subject, &self.words, &recorded));
        let versions = u16::try_from(self.subject.versions().len()).unwrap_or(u16::MAX);
        let carry = self.subject.carry();
        with(&Court { subject: self.subject, words: &self.words, grower: &grower, versions, carry })
    }

    /// The record of this number, and how it was grown.
    fn grow(&self, court: &Court<'_>, from: Version, to: Version, number: u32) -> (String, Grown) {
        let mut rng = Rng::with_seed(self.salt(from, to, number));
        match number.is_multiple_of(2) {
            true => (court.grower.ordinary(&mut rng, from).compact(), Grown::Ordinary),
            false => (court.grower.odd(&mut rng, from).spaced(), Grown::Odd),
        }
    }

    fn salt(&self, from: Version, to: Version, number: u32) -> u64 {
        let mut rng =
            Rng::with_seed(self.seed ^ (u64::from(from.0) << 48) ^ (u64::from(to.0) << 32) ^ u64::from(number));
        rng.u64(..)
    }
}

impl Court<'_> {
    fn all(&self) -> impl Iterator<Item = Version> + Clone + use<> {
        (0..self.versions).map(Version)
    }
}

/// Records that were refused in the same way.
struct Alike {
    smallest: String,
    count: u64,
    recorded: u64,
}

/// A run under way.
struct Run<'r> {
    laws: &'r Laws<'r>,
    court: &'r Court<'r>,
    findings: Findings,
    /// By versions, kind and op.
    refusals: BTreeMap<(Version, Version, String, String), Alike>,
}

impl Run<'_> {
    fn all(&mut self, progress: &mut dyn FnMut(Progress)) {
        let all = self.court.all();
        let pairs: Vec<(Version, Version)> = all
            .clone()
            .flat_map(|from| all.clone().map(move |to| (from, to)))
            .filter(|(from, to)| from != to)
            .collect();
        let each = u64::from(self.laws.cases) + self.laws.recorded.len() as u64;
        let total = pairs.len() as u64 * each;
        for (index, (from, to)) in pairs.into_iter().enumerate() {
            let ids = self.court.subject.versions();
            let id = |version: Version| ids.get(version.index()).cloned().unwrap_or_default();
            self.findings.pairs.push(PairCount {
                way: (from, to),
                from: id(from),
                to: id(to),
                translated: 0,
                refused: 0,
                applied: [0; Law::ALL.len()],
            });
            let mut start = index as u64 * each;
            for (name, record) in &self.laws.recorded {
                let way = Way { from, to, salt: self.laws.seed, grown: Grown::Recorded };
                self.one(record, way, name);
                start += 1;
                progress(Progress { done: start, total });
            }
            let mut translated = 0;
            for number in 0..self.laws.cases.saturating_mul(PATIENCE) {
                if translated >= self.laws.cases || !self.court.grower.has(from) {
                    break;
                }
                let (record, grown) = self.laws.grow(self.court, from, to, number);
                let way = Way { from, to, salt: self.laws.salt(from, to, number), grown };
                translated += self.one(record.as_bytes(), way, &number.to_string());
                if number.is_multiple_of(16) {
                    progress(Progress { done: start + u64::from(translated), total });
                }
            }
        }
        match self.laws.counting {
            Counting::On => self.pursue(),
            Counting::Off => {}
        }
        self.mix();
        self.refusals();
        progress(Progress { done: total, total });
    }

    /// Holds one record against the laws. Returns how many were translated.
    fn one(&mut self, record: &[u8], way: Way, origin: &str) -> u32 {
        let at = self.findings.pairs.iter().position(|pair| pair.way == (way.from, way.to));
        let Some(pair) = at.and_then(|at| self.findings.pairs.get_mut(at)) else { return 0 };
        match self.court.hold(record, way) {
            Ok(Outcome::Elsewhere) => {
                self.overlap(record, way.grown);
                0
            }
            Ok(Outcome::Refused(refused)) => {
                pair.refused += 1;
                if let (Refused::Fault { kind, op, .. }, Grown::Ordinary | Grown::Recorded) = (refused, way.grown) {
                    let text = String::from_utf8_lossy(record).into_owned();
                    let fresh = || Alike { smallest: text.clone(), count: 0, recorded: 0 };
                    let seen = self.refusals.entry((way.from, way.to, kind, op)).or_insert_with(fresh);
                    seen.count += 1;
                    seen.recorded += u64::from(way.grown == Grown::Recorded);
                    if text.len() < seen.smallest.len() {
                        seen.smallest = text;
                    }
                }
                0
            }
            Ok(Outcome::Held(held)) => {
                pair.translated += 1;
                for (applied, law) in pair.applied.iter_mut().zip(Law::ALL) {
                    *applied += u64::from(held.applied.contains(&law));
                }
                match self.laws.counting {
                    Counting::On => self.findings.coverage.count(self.court, record, &held, way),
                    Counting::Off => {}
                }
                1
            }
            Err(broken) => {
                pair.translated += 1;
                let known = self
                    .findings
                    .broken
                    .iter()
                    .any(|other| (other.law, &other.from, &other.to) == (broken.law, &pair.from, &pair.to));
                if !known {
                    let (from, to) = (pair.from.clone(), pair.to.clone());
                    let example = self.smallest(record, way, *broken);
                    self.findings.broken.push(CounterExample { from, to, origin: origin.to_owned(), ..example });
                }
                1
            }
        }
    }

    /// The smallest record, and the smallest edit of it, that break the same law on the same way.
    fn smallest(&self, record: &[u8], way: Way, broken: Break) -> CounterExample {
        let law = broken.law;
        let mut last = (String::from_utf8_lossy(record).into_owned(), broken);
        if let Some(tree) = Tree::read(record) {
            let mut fails = |tree: &Tree| {
                let text = tree.compact();
                match self.court.hold(text.as_bytes(), way) {
                    Err(broken) if broken.law == law && way.grown.allows(tree) => {
                        last = (text, *broken);
                        true
                    }
                    Ok(_) | Err(_) => false,
                }
            };
            // White space is the first to go.
            if fails(&tree) {
                let simpler = match way.grown {
                    Grown::Ordinary => Simpler::OfItsKind,
                    Grown::Recorded | Grown::Odd => Simpler::Anything,
                };
                shrink(tree, simpler, &mut fails);
            }
        }
        let (record, mut broken) = last;
        if let (Some(edited), Ok(there)) =
            (&broken.edited, self.court.subject.translate(record.as_bytes(), b"", way.from, way.to))
            && let Some(edited) = self.court.own(edited.as_bytes())
        {
            shrink(edited, Simpler::Anything, &mut |edited| match self.court.edited(&there, way, edited) {
                Err(other) if other.law == law => {
                    broken = *other;
                    true
                }
                Ok(_) | Err(_) => false,
            });
        }
        let op = broken.op.clone().or_else(|| self.culprit(record.as_bytes(), way, &broken));
        let Break { expected, found, place, edited, .. } = broken;
        let (from, to, origin) = (String::new(), String::new(), String::new());
        CounterExample { law, from, to, record, edited, expected, found, place, op, grown: way.grown, origin }
    }

    /// The op that changed something where the law fails, on the way home or else on the way there.
    fn culprit(&self, record: &[u8], way: Way, broken: &Break) -> Option<String> {
        let Way { from, to, .. } = way;
        let there = self.court.changes(record, b"", from, to);
        let done = self.court.subject.translate(record, b"", from, to);
        let home = match (&broken.edited, done) {
            (Some(edited), Ok(done)) => self.court.changes(edited.as_bytes(), &done.carry, to, from),
            (None, Ok(done)) => self.court.changes(&done.record, &done.carry, to, from),
            (_, Err(_)) => Vec::new(),
        };
        let place = broken.place.as_deref().unwrap_or_default();
        let near = |other: &str| other.starts_with(place) || place.starts_with(other);
        let at_place = home.iter().chain(&there).find(|change| near(&change.place) && !place.is_empty());
        let mut ops: Vec<&String> = there.iter().chain(&home).map(|change| &change.op).collect();
        ops.retain(|op| !op.contains(", stamp"));
        ops.sort();
        ops.dedup();
        match (at_place, ops.as_slice()) {
            (Some(change), _) => Some(change.op.clone()),
            (None, [_] | [_, _] | [_, _, _]) => Some(ops.iter().map(|op| op.as_str()).collect::<Vec<_>>().join(" or ")),
            (None, _) => None,
        }
    }

    /// Grows more records where too few have met an op: at the op, and from those that have met it.
    fn pursue(&mut self) {
        let enough = self.findings.enough;
        let mut tried = BTreeSet::new();
        // What is grown for one cell may be the first to meet another.
        while let Some(key) = self.findings.coverage.lacking(enough).into_iter().find(|key| !tried.contains(key)) {
            tried.insert(key);
            let Some(op) = self.court.words.ops.get(key.0) else { continue };
            let [lower, upper] = [op.lower, op.upper].map(|index| Version(u16::try_from(index).unwrap_or(u16::MAX)));
            for case in 0..self.laws.cases {
                if self.findings.coverage.hits(key) >= enough {
                    break;
                }
                let ways = if case.is_multiple_of(2) { (lower, upper) } else { (upper, lower) };
                let salt = self.laws.salt(ways.0, ways.1, case) ^ key.0 as u64;
                let mut rng = Rng::with_seed(salt);
                let first = rng.choice(self.findings.coverage.first(key)).cloned();
                let (record, (from, to)) =
                    match first.and_then(|(text, from, to)| Some((Tree::read(text.as_bytes())?, (from, to)))) {
                        Some((like, ways)) => (self.court.grower.like(&mut rng, like, ways.0).compact(), ways),
                        None => (self.court.grower.aimed(&mut rng, ways.0, op).spaced(), ways),
                    };
                let way = Way { from, to, salt, grown: Grown::Odd };
                self.one(record.as_bytes(), way, &format!("{case} at {}", op.label));
            }
        }
    }

    /// Looks for records that two versions recognise.
    fn mix(&mut self) {
        let all = self.court.all();
        for (one, other) in all.clone().flat_map(|one| all.clone().map(move |other| (one, other))) {
            for number in 0..(self.laws.cases / 4).min(500) {
                if one == other || !self.court.grower.has(one) {
                    break;
                }
                let mut rng = Rng::with_seed(self.laws.salt(other, one, number) ^ 1);
                let record = self.court.grower.mixed(&mut rng, one, other).compact();
                self.overlap(record.as_bytes(), Grown::Odd);
            }
        }
    }

    /// Notes a record that more than one version recognises, as small as it can be.
    fn overlap(&mut self, record: &[u8], grown: Grown) {
        let message = |record: &[u8]| match self.court.subject.detect(record) {
            Err(Refused::Fault { kind, message, .. }) if kind == "ambiguous" => Some(message),
            Err(_) | Ok(_) => None,
        };
        let Some(said) = message(record) else { return };
        if let Some(known) = self.findings.overlaps.iter_mut().find(|overlap| overlap.message == said) {
            known.grown = known.grown.min(grown);
            return;
        }
        if let (Some(tree), true) = (Tree::read(record), self.findings.overlaps.len() < SHOWN) {
            let small =
                shrink(tree, Simpler::Anything, &mut |tree| message(tree.compact().as_bytes()).as_ref() == Some(&said));
            self.findings.overlaps.push(Overlap { message: said, record: small.compact(), grown });
        }
    }

    /// Makes the records small that were refused, the most frequent first.
    fn refusals(&mut self) {
        let ids = self.court.subject.versions();
        let id = |version: Version| ids.get(version.index()).cloned().unwrap_or_default();
        let mut found: Vec<_> = std::mem::take(&mut self.refusals).into_iter().collect();
        found.sort_by_key(|(_, alike)| std::cmp::Reverse(alike.count));
        for (number, ((from, to, kind, op), Alike { smallest: record, count, recorded })) in
            found.into_iter().enumerate()
        {
            let subject = self.court.subject;
            let fault = |record: &str| match subject.translate(record.as_bytes(), b"", from, to) {
                Err(Refused::Fault { kind: other, op: of, message })
                    if (&other, &of) == (&kind, &op) && subject.detect(record.as_bytes()) == Ok(from) =>
                {
                    Some(message)
                }
                Err(_) | Ok(_) => None,
            };
            let small = match Tree::read(record.as_bytes()) {
                Some(tree) if number < SHOWN => {
                    shrink(tree, Simpler::Anything, &mut |tree| fault(&tree.compact()).is_some()).compact()
                }
                Some(_) | None => record,
            };
            let message = fault(&small).unwrap_or_default();
            let (from, to) = (id(from), id(to));
            self.findings.refusals.push(Refusal { from, to, kind, op, message, record: small, count, recorded });
        }
    }
}

impl Findings {
    /// Whether all laws hold.
    pub fn hold(&self) -> bool {
        self.broken.is_empty()
    }

    /// How many records were translated, over all pairs.
    pub fn translated(&self) -> u64 {
        self.pairs.iter().map(|pair| pair.translated).sum()
    }
}
