//! Which member of the older shape is which of the newer one: every pair is weighed, the best are taken first, and where
//! two are as good, nothing is.

use super::profile::{Column, Keys};
use super::relate::{Couple, Fit, Relation};
use super::scope::{Scope, alike};
use super::tree::Kind;
use super::trial::Trials;
use super::unpaired;

/// A member of both shapes.
pub(super) struct Match<'c, 's> {
    pub(super) lower: &'c Column<'s>,
    pub(super) upper: &'c Column<'s>,
    /// Only older values of this kind are meant.
    pub(super) only: Option<Kind>,
    pub(super) fit: Fit,
    /// From 0 to 1.
    pub(super) rank: f64,
    /// Others that speak as well for one of its sides.
    pub(super) rivals: Vec<(Keys, Keys)>,
}

impl Match<'_, '_> {
    /// Whether it is proposed, not asked.
    pub(super) fn is_clear(&self) -> bool {
        self.rank >= TAKEN && self.rivals.is_empty()
    }
}

/// From here on a match is proposed; below it is asked.
pub(super) const TAKEN: f64 = 0.25;

/// Below this it isn't even asked.
const ASKED: f64 = 0.12;

/// The best matches among free columns and those that were found already.
pub(super) fn assign<'c, 's>(
    scope: &Scope<'s>,
    lowers: &[&'c Column<'s>],
    uppers: &[&'c Column<'s>],
    mut candidates: Vec<Match<'c, 's>>,
    trials: &mut Trials,
) -> Vec<Match<'c, 's>> {
    for one in lowers {
        for other in uppers.iter().filter(|other| other.keys != one.keys) {
            candidates.extend(weighed(scope, one, other, trials));
        }
    }
    candidates.retain(|one| one.rank >= ASKED);
    candidates.sort_by(|one, other| other.rank.total_cmp(&one.rank));
    let mut taken: Vec<Match<'c, 's>> = Vec::new();
    while !candidates.is_empty() {
        let mut best = candidates.remove(0);
        // Two members that speak for one another alone are left over for one another.
        let alone =
            candidates.iter().all(|other| other.lower.keys != best.lower.keys && other.upper.keys != best.upper.keys);
        if alone {
            best.rank *= 1.3;
        }
        let near = |other: &&Match<'_, '_>| {
            other.rank >= best.rank * 0.97
                && (other.lower.keys == best.lower.keys && other.only == best.only
                    || other.upper.keys == best.upper.keys)
        };
        let near: Vec<&Match<'_, '_>> = candidates.iter().filter(near).collect();
        let among = |other: &&Match<'_, '_>| {
            let all = || near.iter().copied().chain([&best]);
            all().any(|one| one.lower.keys == other.lower.keys) && all().any(|one| one.upper.keys == other.upper.keys)
        };
        let rivals = candidates.iter().filter(|other| !near.is_empty() && among(other));
        best.rivals = rivals.map(|other| (other.lower.keys.clone(), other.upper.keys.clone())).collect();
        let out = |keys: &Keys, side: fn(&(Keys, Keys)) -> &Keys| best.rivals.iter().any(|rival| side(rival) == keys);
        candidates.retain(|other| {
            let same_lower = other.lower.keys == best.lower.keys
                && (best.only.is_none() || other.only.is_none() || other.only == best.only);
            !same_lower
                && other.upper.keys != best.upper.keys
                && !out(&other.lower.keys, |rival| &rival.0)
                && !out(&other.upper.keys, |rival| &rival.1)
        });
        taken.push(best);
    }
    taken
}

/// The match of two columns, or of the values of one kind.
fn weighed<'c, 's>(
    scope: &Scope<'s>,
    lower: &'c Column<'s>,
    upper: &'c Column<'s>,
    trials: &mut Trials,
) -> Option<Match<'c, 's>> {
    let likeness = alike(&lower.keys, &upper.keys);
    let paired = scope.pairs.iter().any(|(one, other)| lower.cells[*one].is_some() || upper.cells[*other].is_some());
    if !paired {
        return unpaired::weighed(lower, upper, likeness, trials);
    }
    let weigh = |column: &Column<'s>, only: Option<Kind>, trials: &mut Trials| {
        let couple = Couple { lower: column, upper, pairs: &scope.pairs, likeness };
        let fit = couple.relate(trials).filter(Fit::holds)?;
        let rank = rank(&fit, column, likeness, scope.pairs.len());
        Some(Match { lower, upper, only, fit, rank, rivals: Vec::new() })
    };
    let mut best = weigh(lower, None, trials);
    let kinds = lower.solid_kinds();
    if kinds.len() > 1 || lower.kinds().len() > 1 {
        for kind in kinds {
            let some = weigh(&lower.of_kind(kind), Some(kind), trials);
            let better = |some: &Match<'_, '_>| best.as_ref().is_none_or(|best| some.rank > best.rank);
            if some.as_ref().is_some_and(better) {
                best = some;
            }
        }
    }
    best
}

/// What speaks for a match: how simple the relation is, how much the values tell, and how alike the names are.
pub(super) fn rank(fit: &Fit, lower: &Column<'_>, likeness: f64, pairs: usize) -> f64 {
    let simple = match &fit.relation {
        Relation::Same => 1.0,
        Relation::Time(..) => 0.95,
        Relation::Scale { .. } | Relation::Convert(_) => 0.85,
        Relation::Wrap { .. } | Relation::Default(_) => 0.9,
        Relation::Elements => 0.8,
        Relation::Map { .. } => 0.6,
    };
    let telling = match (&fit.relation, fit.different) {
        (Relation::Map { .. }, different) => ((pairs.saturating_sub(different)) as f64 / 6.0).min(1.0),
        (Relation::Time(..), 1) => 0.8,
        (_, 0 | 1) => {
            let long = lower.values().all(|node| node.to_string().len() >= 10);
            if long { 0.7 } else { 0.25 }
        }
        (_, 2) => 0.65,
        (_, 3) => 0.85,
        (_, _) => 1.0,
    };
    let present = fit.both as f64 / (fit.both + fit.alone) as f64;
    let agreeing = fit.agree as f64 / fit.both as f64;
    simple * present * agreeing * (0.55 * telling + 0.45 * likeness)
}
