//! How well servers of one version can serve records of another, before any record is seen.

use crate::check::Checked;
use crate::op::{Direction, Loss};
use crate::pack::{CarryPlace, Overflow};
use crate::shape::Crowded;

/// How well a server can serve a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fidelity {
    /// It reads the record as it is.
    Native,
    /// Translation loses nothing and needs no carry.
    Exact,
    /// Translation needs the carry to bring everything back.
    Carried,
    /// Translation loses something.
    Lossy,
    /// There is no translation.
    None,
}

/// The judgement of one pair of versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The fidelity of the pair.
    pub fidelity: Fidelity,
    /// Why, naming the ops that decide.
    pub reason: String,
}

/// The verdicts of all pairs, row by row: the version held, then the version of the server.
pub(crate) fn matrix(checked: &Checked, crowded: &[Crowded]) -> Vec<Verdict> {
    let servers = 0..checked.versions.len();
    let row = |(held, crowded)| servers.clone().map(move |server| judge(checked, crowded, held, server));
    crowded.iter().enumerate().flat_map(row).collect()
}

fn judge(checked: &Checked, crowded: &Crowded, held: usize, server: usize) -> Verdict {
    let id = |index: usize| checked.versions.get(index).map_or("", |version| version.id.as_str());
    if checked.versions.get(server).is_some_and(|version| version.reads.contains(&(held as u16))) {
        let reason = if held == server {
            "same version".to_owned()
        } else {
            format!("servers of version {} read version {}", id(server), id(held))
        };
        return Verdict { fidelity: Fidelity::Native, reason };
    }
    let direction = if held < server { Direction::Up } else { Direction::Down };
    let steps = checked.steps.get(held.min(server)..held.max(server)).unwrap_or_default();
    if let Some(step) = steps.iter().find(|step| !step.ways.lead(direction)) {
        return Verdict { fidelity: Fidelity::None, reason: format!("{} goes the other way only", step.label) };
    }
    let mut losses = Vec::new();
    for step in steps {
        for rule in &step.rules {
            let why = match (rule.loss(direction), crowded.has(direction, rule)) {
                (Loss::Kept(why), _) => why,
                (Loss::Nothing, true) => "may find a member where it puts one",
                (Loss::Nothing, false) => continue,
            };
            losses.push(format!("{}, op {}: {} {} {why}", step.label, rule.label, rule.name, rule.op.at()));
        }
    }
    if losses.is_empty() {
        return Verdict { fidelity: Fidelity::Exact, reason: "nothing is lost".to_owned() };
    }
    let (fidelity, why) = match (checked.policy.carry, checked.policy.carry_overflow) {
        (CarryPlace::None, _) => (Fidelity::Lossy, "; no carry keeps it"),
        (_, Overflow::Drop) => (Fidelity::Lossy, "; a full carry drops it"),
        (CarryPlace::Beside | CarryPlace::Inline, Overflow::Refuse) => (Fidelity::Carried, ""),
    };
    let mut reason = losses.join("; ") + why;
    if fidelity == Fidelity::Lossy && checked.policy.max_lost < u32::MAX {
        reason.push_str(&format!("; a record that would lose more than {} values is refused", checked.policy.max_lost));
    }
    Verdict { fidelity, reason }
}
