//! Shapes: which places the records of a version have, as far as a pack tells, and so which ops may find something
//! where they put something.
//!
//! An op that puts a member where one stands already, and has none to put there, leaves that one alone and must remember
//! to. A pack tells of such records where other ops name the place in the same shape: a verdict has to say so.

use std::collections::BTreeSet;

use crate::check::{Checked, Step, Version, for_each_rule};
use crate::op::{Condition, Direction, Rule, Test};
use crate::path::Path;

/// What ops may find on the ways from one version, by their digests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crowded {
    up: BTreeSet<u64>,
    down: BTreeSet<u64>,
}

impl Crowded {
    /// Whether the op, or one within it, may find something where it puts something.
    pub(crate) fn has(&self, direction: Direction, rule: &Rule) -> bool {
        let own = match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        };
        own.contains(&rule.digest) || rule.op.inner().iter().any(|inner| self.has(direction, inner))
    }
}

/// The crowded ops on the ways from each version.
pub(crate) fn crowded(checked: &Checked) -> Vec<Crowded> {
    let from = |held: usize| {
        let (below, above) = checked.steps.split_at(held);
        let mut shape = Shape::default();
        below.iter().zip(&checked.versions).for_each(|(step, version)| {
            shape.rests(version);
            shape.learn(step, Direction::Up);
        });
        let mut upper = Shape::default();
        above.iter().zip(checked.versions.iter().skip(held + 1)).rev().for_each(|(step, version)| {
            upper.rests(version);
            upper.learn(step, Direction::Down);
        });
        shape.0.extend(upper.0);
        checked.versions.get(held).into_iter().for_each(|version| shape.rests(version));
        let (mut up, mut down) = (BTreeSet::new(), BTreeSet::new());
        let mut rising = shape.clone();
        above.iter().for_each(|step| rising.visit(step, Direction::Up, &mut up));
        below.iter().rev().for_each(|step| shape.visit(step, Direction::Down, &mut down));
        Crowded { up, down }
    };
    (0..checked.versions.len()).map(from).collect()
}

/// The places that records have.
#[derive(Clone, Default)]
struct Shape(BTreeSet<Path>);

impl Shape {
    /// What the version's own shape says.
    fn rests(&mut self, version: &Version) {
        self.0.extend(version.has.iter().cloned());
        self.0.retain(|place| !version.lacks.iter().any(|lacking| lacking.covers(place)));
    }

    /// Goes a step on, and learns what its ops name.
    fn learn(&mut self, step: &Step, direction: Direction) {
        for (scope, rule) in rules(step, direction) {
            self.0.extend(rule.op.begins(direction).into_iter().map(|path| path.under(&scope)));
            self.pass(rule, &scope, direction);
        }
    }

    /// Goes a step on, and notes the ops that may find something.
    fn visit(&mut self, step: &Step, direction: Direction, found: &mut BTreeSet<u64>) {
        for (scope, rule) in rules(step, direction) {
            let mut ends = rule.op.begins(direction.opposite()).into_iter();
            let begins = rule.op.begins(direction);
            let crowded = |end: Path| {
                let at = end.under(&scope);
                !begins.contains(&end) && !rule.heeds(direction, &end) && self.0.iter().any(|place| at.covers(place))
            };
            if ends.any(crowded) {
                found.insert(rule.digest);
            }
            self.pass(rule, &scope, direction);
        }
    }

    /// What the op makes of the places.
    fn pass(&mut self, rule: &Rule, scope: &Path, direction: Direction) {
        let under = |paths: Vec<Path>| -> Vec<Path> { paths.into_iter().map(|path| path.under(scope)).collect() };
        let (begins, ends) = (under(rule.op.begins(direction)), under(rule.op.begins(direction.opposite())));
        let passages: Vec<(Path, Path)> =
            rule.op.passages(direction).into_iter().map(|(from, to)| (from.under(scope), to.under(scope))).collect();
        let left = |place: &Path| begins.iter().any(|begin| !ends.contains(begin) && begin.covers(place));
        let gone: Vec<Path> = self.0.iter().filter(|place| left(place)).cloned().collect();
        for place in gone {
            self.0.remove(&place);
            self.0.extend(passages.iter().filter_map(|(from, to)| place.transplanted(from, to)));
        }
        self.0.extend(ends);
    }
}

impl Rule {
    /// Whether the op's condition sees to it that nothing is left alone at its other place.
    fn heeds(&self, direction: Direction, end: &Path) -> bool {
        let asked = match direction {
            Direction::Up => self.when.as_ref(),
            Direction::Down => self.when_upper.as_ref().or(self.when.as_ref()),
        };
        asked.is_some_and(|Condition { path, test }| match test {
            Test::Absent => path == end,
            Test::Equals(_) | Test::In(_) | Test::Exists | Test::Type(_) => self.op.begins(direction).contains(path),
        })
    }
}

/// The ops of a step in the order in which they run, each with the scope around it; stamps aside.
fn rules(step: &Step, direction: Direction) -> Vec<(Path, &Rule)> {
    let mut all = Vec::new();
    for_each_rule(&step.rules, &Path::default(), &mut |scope, rule| all.push((scope.clone(), rule)));
    all.retain(|(_, rule)| rule.label != "stamp");
    match direction {
        Direction::Up => {}
        Direction::Down => all.reverse(),
    }
    all
}
