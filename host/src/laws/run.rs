//! A run of the laws: every pair of versions in turn, then what too few records have met, then what is to be shown.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

use super::findings::{CounterExample, Findings, Overlap, PairCount, Progress, Refusal};
use super::hold::{Break, Court, Outcome, Way};
use super::shrink::{Simpler, shrink};
use super::subject::Refused;
use super::tree::Tree;
use super::{Counting, Coverage, Grown, Law, Laws};
use crate::contract::Version;

/// How many grown records may be refused for one that is translated.
const PATIENCE: u32 = 4;

/// Refusals and overlaps beyond this number are counted and not made smaller.
const SHOWN: usize = 16;

/// Records that were refused in the same way.
struct Alike {
    smallest: String,
    count: u64,
    recorded: u64,
}

/// A run under way.
pub(super) struct Run<'r> {
    laws: &'r Laws<'r>,
    court: &'r Court<'r>,
    findings: Findings,
    /// By versions, kind and op.
    refusals: BTreeMap<(Version, Version, String, String), Alike>,
}

impl<'r> Run<'r> {
    /// Prepares a run.
    pub(super) fn new(laws: &'r Laws<'r>, court: &'r Court<'r>) -> Run<'r> {
        let enough = u64::from(laws.cases / 100).clamp(1, 100);
        let findings = Findings { coverage: Coverage::new(court), enough, ..Findings::default() };
        Run { laws, court, findings, refusals: BTreeMap::new() }
    }

    /// Runs to the end.
    pub(super) fn all(mut self, progress: &mut dyn FnMut(Progress)) -> Findings {
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
        self.findings
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
            && let (Some(edited), None) = (self.court.own(edited.as_bytes()), &broken.edited_back)
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
        let Break { expected, found, place, edited, edited_back, .. } = broken;
        let (from, to, origin) = (String::new(), String::new(), String::new());
        CounterExample {
            law,
            from,
            to,
            record,
            edited,
            edited_back,
            expected,
            found,
            place,
            op,
            grown: way.grown,
            origin,
        }
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
