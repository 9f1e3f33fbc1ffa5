//! What two columns have to do with one another: the same values, or values that an op turns into one another.

use std::collections::{BTreeMap, BTreeSet};

use super::decimal::Decimal;
use super::profile::Column;
use super::times::{self, Form};
use super::tree::{Kind, Node};
use super::trial::{Body, Trials};

/// How the values of the newer column come from those of the older one.
#[derive(Clone, Debug)]
pub(super) enum Relation {
    /// They are the same.
    Same,
    /// Arrays, or objects whose keys are data: element by element, looked at in a scope of their own.
    Elements,
    /// Points in time in two forms.
    Time(Form, Form),
    /// A unit: the arguments of `scale`, and how people say it.
    Scale { body: Body, said: String },
    /// Another kind that says the same: the arguments of `convert`.
    Convert(Body),
    /// A value and the list that it became an element of, or the other way round.
    Wrap { body: Body },
    /// The same, and what an absent older one stands for.
    Default(Node),
    /// Value by value; `None` is absence.
    Map { cells: Vec<(Option<Node>, Option<Node>)>, others: Others },
}

/// What becomes of values that the samples don't show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    Refused,
    Kept,
}

/// A relation with what speaks for it.
#[derive(Clone, Debug)]
pub(super) struct Fit {
    pub(super) relation: Relation,
    /// Pairs that both have a value.
    pub(super) both: usize,
    /// Those of them that fit.
    pub(super) agree: usize,
    /// Pairs in which one of them only has a value.
    pub(super) alone: usize,
    /// How many different values fitted.
    pub(super) different: usize,
}

/// Two columns with the rows that belong together.
#[derive(Clone, Copy)]
pub(super) struct Couple<'c, 's> {
    pub(super) lower: &'c Column<'s>,
    pub(super) upper: &'c Column<'s>,
    pub(super) pairs: &'c [(usize, usize)],
    /// How alike the names are; 1 for the same place.
    pub(super) likeness: f64,
}

/// More lines than this make no map that a person would write.
const LONGEST_MAP: usize = 24;

impl Fit {
    /// Whether all but one in ten pairs fit.
    pub(super) fn holds(&self) -> bool {
        self.agree > 0 && self.agree * 10 >= self.both * 9
    }
}

impl<'s> Couple<'_, 's> {
    /// The simplest relation that holds for the paired rows, if one does.
    pub(super) fn relate(&self, trials: &mut Trials) -> Option<Fit> {
        let both = self.both();
        if both.is_empty() {
            return None;
        }
        let containers = |kind| both.iter().all(|(one, other)| one.kind() == kind && other.kind() == kind);
        let same = self.fit(Relation::Same, |one, other| one.same(other));
        if same.holds() && (same.agree == same.both || same.both >= 10) {
            return Some(same);
        }
        if containers(Kind::Array) || containers(Kind::Object) {
            return Some(self.overlap());
        }
        if both.iter().any(|(one, other)| !one.is_scalar() || !other.is_scalar()) {
            return None;
        }
        self.time(trials, &both)
            .or_else(|| self.scale(trials, &both))
            .or_else(|| self.convert(trials, &both))
            .or_else(|| self.map())
    }

    pub(super) fn both(&self) -> Vec<(&'s Node, &'s Node)> {
        self.pairs
            .iter()
            .filter_map(|(one, other)| Some((self.lower.cells[*one]?, self.upper.cells[*other]?)))
            .collect()
    }

    fn alone(&self) -> usize {
        let there =
            |(one, other): &(usize, usize)| self.lower.cells[*one].is_some() != self.upper.cells[*other].is_some();
        self.pairs.iter().filter(|pair| there(pair)).count()
    }

    pub(super) fn fit(&self, relation: Relation, mut fits: impl FnMut(&Node, &Node) -> bool) -> Fit {
        let both = self.both();
        let agreeing: Vec<&Node> = both.iter().filter(|(one, other)| fits(one, other)).map(|(one, _)| *one).collect();
        let mut values: Vec<String> = agreeing.iter().map(|node| node.value()).collect();
        values.sort_unstable();
        values.dedup();
        Fit { relation, both: both.len(), agree: agreeing.len(), alone: self.alone(), different: values.len() }
    }

    /// Containers fit as far as they hold the same scalars.
    fn overlap(&self) -> Fit {
        self.fit(Relation::Elements, |one, other| {
            let [mut one, mut other] = [one, other].map(|node| {
                let mut leaves = Vec::new();
                scalars(node, &mut leaves);
                leaves
            });
            let most = one.len().max(other.len());
            one.sort_unstable();
            other.sort_unstable();
            let common = one.iter().filter(|leaf| other.binary_search(leaf).is_ok()).count();
            common * 3 >= most || self.likeness > 0.8
        })
    }

    fn time(&self, trials: &mut Trials, both: &[(&'s Node, &'s Node)]) -> Option<Fit> {
        let [lowers, uppers] = [self.lower, self.upper].map(|column| times::forms(trials, column));
        for lower in &lowers {
            for upper in uppers.iter().filter(|upper| *upper != lower) {
                let solid: Vec<(&Node, &Node)> = both
                    .iter()
                    .copied()
                    .filter(|(one, other)| one.kind() != Kind::Null && other.kind() != Kind::Null)
                    .collect();
                let (lower, upper) = times::settled(trials, lower, upper, &solid);
                let bodies = [times::body(&lower, &upper)];
                let fit = self.fit(Relation::Time(lower, upper), |one, other| {
                    one.kind() == Kind::Null && other.kind() == Kind::Null || trials.relates(&bodies, 0, (one, other))
                });
                if fit.holds() {
                    return Some(fit);
                }
            }
        }
        None
    }

    fn scale(&self, trials: &mut Trials, both: &[(&'s Node, &'s Node)]) -> Option<Fit> {
        let numbers: Vec<(&Node, &Node, Decimal, Decimal)> = both
            .iter()
            .filter(|(one, other)| one.kind() == other.kind())
            .filter_map(|(one, other)| {
                Some((*one, *other, Decimal::parse(one.number()?)?, Decimal::parse(other.number()?)?))
            })
            .collect();
        let solid = both.iter().filter(|(one, _)| one.kind() != Kind::Null).count();
        if numbers.len() < solid || numbers.len() < 2 {
            return None;
        }
        let bodies = factors(&numbers);
        let fitting = (0..bodies.len())
            .find(|n| numbers.iter().all(|(one, other, _, _)| trials.relates(&bodies, *n, (one, other))))?;
        let body = bodies[fitting].clone();
        let said = body.arguments.clone();
        Some(self.fit(Relation::Scale { body, said }, |_, _| true))
    }

    fn convert(&self, trials: &mut Trials, both: &[(&'s Node, &'s Node)]) -> Option<Fit> {
        let [lower, upper] = [self.lower, self.upper].map(Column::solid_kinds);
        let (mut lower, mut upper) = (lower.into_iter(), upper.into_iter());
        let (Some(low), None, Some(high), None) = (lower.next(), lower.next(), upper.next(), upper.next()) else {
            return None;
        };
        if low == high || both.iter().map(|(one, _)| one.value()).collect::<BTreeSet<_>>().len() < 2 {
            return None;
        }
        let body = Body::new("convert", format!("lower = \"{}\", upper = \"{}\"", low.name(), high.name()));
        let bodies = [body.clone()];
        let fit = self.fit(Relation::Convert(body), |one, other| {
            one.kind() == Kind::Null && other.kind() == Kind::Null || trials.relates(&bodies, 0, (one, other))
        });
        fit.holds().then_some(fit)
    }

    fn map(&self) -> Option<Fit> {
        let mut cells: BTreeMap<String, (Option<Node>, Option<Node>, usize)> = BTreeMap::new();
        let mut conflicts = 0;
        for (one, other) in self.pairs.iter().map(|(one, other)| (self.lower.cells[*one], self.upper.cells[*other])) {
            if one.is_none() && other.is_none() {
                continue;
            }
            if [one, other].into_iter().flatten().any(|node| !short(node)) {
                return None;
            }
            let cell =
                cells.entry(one.map_or_else(String::new, Node::value)).or_insert((one.cloned(), other.cloned(), 0));
            match (&cell.1, other) {
                (Some(known), Some(other)) if known.same(other) => cell.2 += 1,
                (None, None) => cell.2 += 1,
                _ => conflicts += 1,
            }
        }
        let changed = |(one, other, _): &&(Option<Node>, Option<Node>, usize)| match (one, other) {
            (Some(one), Some(other)) => !one.same(other),
            (None, None) => false,
            (Some(_), None) | (None, Some(_)) => true,
        };
        let (changes, rows) = (cells.values().filter(changed).count(), self.pairs.len());
        let mut results: Vec<String> =
            cells.values().map(|cell| cell.1.as_ref().map_or_else(String::new, Node::value)).collect();
        results.sort_unstable();
        results.dedup();
        let kept = cells.len() - changes;
        let others = if kept > 2 * changes.max(2) { Others::Kept } else { Others::Refused };
        let lines = if others == Others::Kept { changes } else { cells.len() };
        let numbers = cells.values().all(|cell| cell.0.as_ref().is_some_and(|node| node.kind() == Kind::Number));
        let repeated = (rows >= cells.len() + 2 || cells.len() <= 3) && (results.len() >= 2 || self.likeness > 0.8);
        let alike = rows >= cells.len() + 2 || self.likeness > 0.8;
        if conflicts * 10 > rows
            || lines > LONGEST_MAP
            || !repeated
            || !alike
            || results.len() < 2 && self.likeness < 0.5
            || numbers && cells.len() > 4
        {
            return None;
        }
        let agree = self.both().len().saturating_sub(conflicts);
        let different = cells.len();
        let cells: Vec<(Option<Node>, Option<Node>)> = cells
            .into_values()
            .filter(|cell| others == Others::Refused || changed(&cell))
            .map(|(one, other, _)| (one, other))
            .collect();
        let cells = in_order(cells, self.lower);
        Some(Fit { relation: Relation::Map { cells, others }, both: self.both().len(), agree, alone: 0, different })
    }
}

/// The lines of a map, the most common older value first.
fn in_order(mut cells: Vec<(Option<Node>, Option<Node>)>, lower: &Column<'_>) -> Vec<(Option<Node>, Option<Node>)> {
    let order: Vec<String> = lower.distinct().iter().map(|(node, _)| node.value()).collect();
    let rank = |cell: &(Option<Node>, Option<Node>)| match &cell.0 {
        Some(node) => order.iter().position(|value| *value == node.value()).unwrap_or(order.len()),
        None => order.len() + 1,
    };
    cells.sort_by_key(rank);
    cells
}

/// The ops `scale` that could take these numbers to those, the simplest first.
fn factors(numbers: &[(&Node, &Node, Decimal, Decimal)]) -> Vec<Body> {
    let places = |number: &Decimal| number.to_string().split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let digits = numbers.iter().map(|(_, _, one, _)| places(one)).max().unwrap_or(0);
    let digits = if digits == 0 { String::new() } else { format!(", digits = {digits}") };
    let mut bodies: Vec<Body> = Vec::new();
    let mut push = |factor: &str, offset: &str, round: &str| {
        let body = Body::new("scale", format!("factor = {factor}{offset}{digits}{round}"));
        if !bodies.contains(&body) {
            bodies.push(body);
        }
    };
    let nonzero = || numbers.iter().filter(|(_, _, one, other)| !one.is_zero() && !other.is_zero());
    // The largest numbers say the factor best.
    let Some((_, _, one, other)) = nonzero().max_by_key(|(_, _, one, other)| one.magnitude() + other.magnitude())
    else {
        return bodies;
    };
    if let Some(factor) = Decimal::factor(one, other).filter(|factor| !factor.is_one()) {
        push(&factor.to_string(), "", "");
    }
    let apart = other.magnitude() - one.magnitude();
    let units = [
        "1000",
        "1000000",
        "1000000000",
        "100",
        "10",
        "60",
        "3600",
        "86400",
        "1024",
        "1048576",
        "8",
        "0.001",
        "0.000001",
        "0.01",
        "0.1",
        "0.125",
    ];
    for unit in units {
        let near = Decimal::parse(unit).is_some_and(|unit| (unit.magnitude() - apart).abs() <= 1);
        for round in ["", ", round = \"nearest\"", ", round = \"ceil\""] {
            if near {
                push(unit, "", round);
            }
        }
    }
    let mut distinct = numbers.iter().filter(|(_, _, x, _)| x != &numbers[0].2);
    if let (Some((_, _, x, y)), true) = (distinct.next(), numbers.len() >= 3) {
        let line = Decimal::line([(&numbers[0].2, &numbers[0].3), (x, y)]);
        if let Some((factor, offset)) = line.filter(|(factor, offset)| !factor.is_zero() && !offset.is_zero()) {
            push(&factor.to_string(), &format!(", offset = {offset}"), "");
            push(&factor.to_string(), &format!(", offset = {offset}"), ", round = \"nearest\"");
        }
    }
    bodies
}

/// Whether a value could stand in a map.
fn short(node: &Node) -> bool {
    node.is_scalar() && node.text().is_none_or(|text| text.len() <= 64)
}

fn scalars(node: &Node, into: &mut Vec<String>) {
    for inner in node.elements().iter().chain(node.members().iter().map(|(_, value)| value)) {
        scalars(inner, into);
    }
    if node.is_scalar() {
        into.push(node.value());
    }
}
