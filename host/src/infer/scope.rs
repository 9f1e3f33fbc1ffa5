//! One scope, the members of records or of elements: what stays, what changes where it stands, what went elsewhere, and
//! what only one side has.

use super::assign::{self, Match};
use super::leftover::{self, Which};
use super::names::likeness;
use super::pair;
use super::place::Path;
use super::profile::{Column, Keys, Profile, keyed_by_data};
use super::relate::{Couple, Fit, Relation};
use super::relink;
use super::several::{self, Several};
use super::tree::{Kind, Node};
use super::trial::Trials;
use super::unpaired;
use super::{Confidence, Strength};

/// What samples say, with the places of both shapes.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) links: Vec<Link>,
    pub(super) changes: Vec<Change>,
    pub(super) several: Vec<Several>,
    pub(super) adds: Vec<Leftover>,
    pub(super) removes: Vec<Leftover>,
    /// Arrays of the newer shape whose elements are told apart by a member.
    pub(super) keyed: Vec<(Path, String)>,
    pub(super) questions: Vec<String>,
}

/// A member that stands elsewhere in the newer shape.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) lower: Path,
    pub(super) upper: Path,
    /// Only values of this kind went there.
    pub(super) only: Option<Kind>,
    pub(super) strength: Strength,
    /// Why it is asked and not proposed.
    pub(super) asked: Option<String>,
}

/// Values that are others in the newer shape.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// In the newer shape, after all links.
    pub(super) at: Path,
    pub(super) relation: Relation,
    /// The one kind of value that the op works on, in both shapes, where there are others.
    pub(super) only: Option<(Kind, Kind)>,
    pub(super) strength: Strength,
    /// Why it is asked and not proposed.
    pub(super) asked: Option<String>,
}

/// A member that only one side has.
#[derive(Clone, Debug)]
pub(super) struct Leftover {
    /// In its own shape.
    pub(super) at: Path,
    /// What the other side is to find, if the samples say so.
    pub(super) value: Option<Node>,
    /// Whether each record has it, or each whose parent is there.
    pub(super) presence: Presence,
    pub(super) strength: Strength,
}

/// How regularly a member is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Always,
    /// Always beside this one, which is not always there.
    Beside(Path),
    Sometimes,
}

/// Members or elements of both sides.
pub(super) struct Scope<'s> {
    pub(super) lower: Path,
    pub(super) upper: Path,
    pub(super) lowers: Vec<&'s Node>,
    pub(super) uppers: Vec<&'s Node>,
    pub(super) pairs: Vec<(usize, usize)>,
    /// Places that are none of the ops' business: markers.
    pub(super) reserved: Vec<Keys>,
}

impl<'s> Scope<'s> {
    /// Looks at all members, and at those of elements within.
    pub(super) fn survey(&self, trials: &mut Trials, findings: &mut Findings) {
        let lower = Profile::of(&self.lowers);
        let upper = Profile::of(&self.uppers);
        let free = |column: &&Column<'s>| !self.reserved.contains(&column.keys);
        let (mut lowers, mut uppers): (Vec<&Column<'s>>, Vec<&Column<'s>>) =
            (lower.columns.iter().filter(free).collect(), upper.columns.iter().filter(free).collect());
        let mut matches: Vec<Match<'_, 's>> = Vec::new();
        let mut uncertain: Vec<Match<'_, 's>> = Vec::new();
        for column in lower.columns.iter().filter(free) {
            let Some(other) = uppers.iter().find(|other| other.keys == column.keys).copied() else { continue };
            if lower.object(&column.keys).is_some() || upper.object(&column.keys).is_some() {
                // A value on one side and an object on the other: null may stay, the rest has gone into it or out of it.
                lowers.retain(|one| one.keys != column.keys || !one.solid_kinds().is_empty());
                uppers.retain(|one| one.keys != column.keys || !one.solid_kinds().is_empty());
                continue;
            }
            let couple = Couple { lower: column, upper: other, pairs: &self.pairs, likeness: 1.0 };
            let Some(fit) = self.at_one_place(&couple, trials, findings) else { continue };
            let mut here = Match { lower: column, upper: other, only: None, fit, rank: 1.0, rivals: Vec::new() };
            if matches!(here.fit.relation, Relation::Map { .. } | Relation::Scale { .. }) && here.fit.both > 0 {
                // Another member may have come here under this name, with the same values: it is weighed with the others.
                here.rank = assign::rank(&here.fit, column, 1.0, self.pairs.len());
                uncertain.push(here);
                continue;
            }
            lowers.retain(|one| one.keys != column.keys);
            uppers.retain(|one| one.keys != column.keys);
            self.absences(&here, findings);
            matches.push(here);
        }
        uncertain.extend(several::wraps(self, &lower, &upper, (&lowers, &uppers), trials));
        let found = assign::assign(self, &lowers, &uppers, uncertain, trials);
        if self.pairs.is_empty() {
            let places = found.iter().filter(|one| one.is_clear() && matches!(one.fit.relation, Relation::Same));
            let asked = places
                .filter_map(|one| unpaired::enumeration(&self.upper.below(&one.upper.keys), one.lower, one.upper));
            findings.questions.extend(asked);
        }
        for one in found.iter().filter(|one| one.rank >= assign::TAKEN) {
            lowers.retain(|column| !column.keys.starts_with(&one.lower.keys));
            uppers.retain(|column| !column.keys.starts_with(&one.upper.keys));
            for (rival_lower, rival_upper) in &one.rivals {
                lowers.retain(|column| column.keys != *rival_lower);
                uppers.retain(|column| column.keys != *rival_upper);
            }
        }
        matches.extend(found);
        relink::links(self, &lower, &upper, &matches, findings);
        for one in matches.iter().filter(|one| one.is_clear()) {
            self.within(one, trials, findings);
        }
        several::cuts(self, &mut lowers, &mut uppers, &mut findings.several);
        several::copies(self, &matches, &mut uppers, &mut findings.several);
        self.unexplained(&mut lowers, &mut uppers, findings);
        for (own, columns, other, which, at) in
            [(&lower, &lowers, &upper, Which::Older, &self.lower), (&upper, &uppers, &lower, Which::Newer, &self.upper)]
        {
            let columns = leftover::collapsed(own, columns, other, &which);
            let found = columns.iter().map(|column| leftover::of(at, own, column, &which));
            match which {
                Which::Older => findings.removes.extend(found),
                Which::Newer => findings.adds.extend(found),
            }
        }
    }

    /// What became of the values at a place that both shapes have; none if that is not to be told.
    fn at_one_place(&self, couple: &Couple<'_, 's>, trials: &mut Trials, findings: &mut Findings) -> Option<Fit> {
        let seen = couple.relate(trials);
        if let Some(fit) = seen.filter(Fit::holds) {
            return Some(fit);
        }
        let alone =
            |(one, other): &&(usize, usize)| couple.lower.cells[*one].is_some() || couple.upper.cells[*other].is_some();
        if self.pairs.iter().any(|pair| alone(&pair)) {
            return None;
        }
        unpaired::at_one_place(&self.upper.below(&couple.upper.keys), couple, trials, findings)
    }

    /// Members that one record of a pair has and the other has not, at one place: absence may have been a way to say
    /// something.
    fn absences(&self, one: &Match<'_, 's>, findings: &mut Findings) {
        let cells = |(low, high): &(usize, usize)| (one.lower.cells[*low], one.upper.cells[*high]);
        let without: Vec<Option<&Node>> =
            self.pairs.iter().map(cells).filter(|(low, _)| low.is_none()).map(|(_, high)| high).collect();
        let new: Vec<&Node> = without.iter().copied().flatten().collect();
        let at = self.upper.below(&one.upper.keys);
        let [first, rest @ ..] = new.as_slice() else { return };
        if rest.is_empty() || !rest.iter().all(|node| node.same(first)) {
            return;
        }
        let evidence = format!(
            "in {} of {} {} only the newer record has it, always {}",
            new.len(),
            self.pairs.len(),
            self.counted(),
            shortened(&first.to_string())
        );
        if new.len() < without.len() {
            findings.questions.push(format!("{at}: {evidence}: was its absence another way to say that?"));
            return;
        }
        let strength = Strength { confidence: Confidence::Medium, evidence };
        let relation = Relation::Default((*first).clone());
        findings.changes.push(Change { at, relation, only: None, strength, asked: None });
    }

    /// Changes of values, and what is in arrays and keyed objects.
    fn within(&self, one: &Match<'_, 's>, trials: &mut Trials, findings: &mut Findings) {
        match &one.fit.relation {
            Relation::Same => {
                let arrays = |kind| one.lower.kinds().contains(&kind) && one.upper.kinds().contains(&kind);
                // Without pairs nothing says yet that arrays hold the same.
                if self.pairs.is_empty() && (arrays(Kind::Array) || arrays(Kind::Object)) {
                    self.elements(one, trials, findings);
                }
            }
            Relation::Elements => self.elements(one, trials, findings),
            Relation::Time(..)
            | Relation::Scale { .. }
            | Relation::Map { .. }
            | Relation::Convert(_)
            | Relation::Wrap { .. }
            | Relation::Default(_) => {
                findings.changes.push(self.change(one, None));
            }
        }
    }

    /// The change of values of a match.
    pub(super) fn change(&self, one: &Match<'_, 's>, asked: Option<String>) -> Change {
        let [lower, upper] = [one.lower, one.upper].map(Column::kinds);
        let solid = |column: &Column<'_>| column.solid_kinds().into_iter().next();
        let only = match (&one.fit.relation, solid(one.lower), solid(one.upper)) {
            (Relation::Time(..) | Relation::Scale { .. } | Relation::Convert(_), Some(low), Some(high))
                if lower.len() > 1 || upper.len() > 1 =>
            {
                Some((low, high))
            }
            _ => None,
        };
        let at = self.upper.below(&one.upper.keys);
        Change { at, relation: one.fit.relation.clone(), only, strength: one.strength(&self.counted()), asked }
    }

    fn elements(&self, one: &Match<'_, 's>, trials: &mut Trials, findings: &mut Findings) {
        let arrays: Vec<(Option<&Node>, Option<&Node>)> =
            self.pairs.iter().map(|(low, high)| (one.lower.cells[*low], one.upper.cells[*high])).collect();
        let within = |node: &'s Node| -> Vec<&'s Node> {
            node.elements().iter().chain(node.members().iter().map(|(_, value)| value)).collect()
        };
        let pairing = pair::elements(&arrays);
        // Paired rows come first, in the order of the pairs, so that elements are numbered as the pairing does.
        let rows = |column: &Column<'s>, paired: Vec<usize>| -> Vec<&'s Node> {
            let rest = (0..column.cells.len()).filter(|row| !paired.contains(row)).collect::<Vec<_>>();
            paired.iter().chain(&rest).filter_map(|row| column.cells[*row]).flat_map(within).collect()
        };
        let (low, high): (Vec<usize>, Vec<usize>) = self.pairs.iter().copied().unzip();
        let (lowers, uppers) = (rows(one.lower, low), rows(one.upper, high));
        if lowers.is_empty() || uppers.is_empty() {
            return;
        }
        let at = self.upper.below(&one.upper.keys).each();
        if let Some((_, key)) = &pairing.keys {
            findings.keyed.push((at.clone(), key.clone()));
        }
        let lower = self.lower.below(&one.lower.keys).each();
        let scope = Scope { lower, upper: at, lowers, uppers, pairs: pairing.pairs, reserved: Vec::new() };
        scope.survey(trials, findings);
    }

    /// Places that both shapes have with values that no op explains.
    fn unexplained(&self, lowers: &mut Vec<&Column<'s>>, uppers: &mut Vec<&Column<'s>>, findings: &mut Findings) {
        let shared: Vec<Keys> = lowers
            .iter()
            .filter(|one| uppers.iter().any(|other| other.keys == one.keys))
            .map(|one| one.keys.clone())
            .collect();
        for keys in shared {
            let one = lowers.iter().find(|column| column.keys == keys).copied();
            let other = uppers.iter().find(|column| column.keys == keys).copied();
            let (Some(one), Some(other)) = (one, other) else { continue };
            lowers.retain(|column| column.keys != keys);
            uppers.retain(|column| column.keys != keys);
            let differing = self.pairs.iter().map(|(low, high)| (one.cells[*low], other.cells[*high])).filter(
                |(low, high)| match (low, high) {
                    (Some(low), Some(high)) => !low.same(high),
                    (None, None) => false,
                    (Some(_), None) | (None, Some(_)) => true,
                },
            );
            let shown: Vec<_> = differing.collect();
            let said =
                |node: Option<&Node>| node.map_or_else(|| "absent".to_owned(), |node| shortened(&node.to_string()));
            let example = shown.first().map(|(low, high)| format!(", first {} and {}", said(*low), said(*high)));
            let place = self.upper.below(&keys);
            findings.questions.push(format!(
                "{place} has other values in {} of {} {}{}: which op makes them of one another? If servers merely change it, nothing is needed",
                shown.len(),
                self.pairs.len(),
                self.counted(),
                example.unwrap_or_default(),
            ));
        }
    }

    /// What pairs of this scope are called.
    pub(super) fn counted(&self) -> String {
        match self.lower.0.is_empty() {
            true => "pairs".to_owned(),
            false => format!("pairs of elements of {}", self.lower),
        }
    }
}

impl Match<'_, '_> {
    /// How sure this is, and why.
    pub(super) fn strength(&self, counted: &str) -> Strength {
        let Fit { relation, both, agree, different, .. } = &self.fit;
        let what = match relation {
            Relation::Same => "the same value".to_owned(),
            Relation::Elements => "the same elements, or most of them,".to_owned(),
            Relation::Time(lower, upper) => {
                format!("the same point in time as {} and as {}", lower.name(), upper.name())
            }
            Relation::Scale { said, .. } => format!("numbers related by {said}"),
            Relation::Convert(_) => "the same said by another kind".to_owned(),
            Relation::Wrap { .. } => "the value stands in an element of the list".to_owned(),
            Relation::Default(_) => "the same value or the default".to_owned(),
            Relation::Map { .. } => "one newer value for each older one".to_owned(),
        };
        let evidence = if *both == 0 {
            unpaired::evidence(self)
        } else {
            let values = if *different == 1 { "value" } else { "values" };
            format!("{what} in {agree} of {both} {counted}, {different} different {values}")
        };
        let confidence = match self.rank {
            _ if !self.rivals.is_empty() => Confidence::Low,
            rank if rank >= 0.5 && agree == both && *both >= 2 => Confidence::High,
            rank if rank >= assign::TAKEN => Confidence::Medium,
            _ => Confidence::Low,
        };
        Strength { confidence, evidence }
    }
}

/// How alike two places are: by their last keys, and a little by their parents.
pub(super) fn alike(lower: &[String], upper: &[String]) -> f64 {
    let key = |keys: &[String]| keys.last().cloned().unwrap_or_default();
    let own = likeness(&key(lower), &key(upper));
    let joined = likeness(&lower.join("_"), &upper.join("_"));
    own.max(joined)
}

/// Whether the members of these values are told apart by data.
pub(super) fn keyed(column: &Column<'_>) -> bool {
    keyed_by_data(column.values().filter(|node| node.kind() == Kind::Object))
}

/// A text that fits a comment.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
