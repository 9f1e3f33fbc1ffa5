//! The draft before the rules: what the sandbox refuses is left out with its reason, and both ways are tried on samples.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{CallError, FaultKind, LoadError};
use crate::pack::Pack;
use crate::runtime::Runtime;

use super::Checked;
use super::draft::{Draft, Example, Recognition, WrittenBy};
use super::place::Path;
use super::sample::Sample;
use super::tree::{Kind, Node};
use super::write;

/// Makes a draft that loads and whose ops take the samples, and says how far they come. Where the versions themselves
/// aren't told apart, the other ways to do that are tried.
pub(super) fn proven(
    draft: Draft,
    recognitions: Vec<Recognition>,
    sides: Sides<'_>,
    pairs: &[(usize, usize)],
) -> Result<(Draft, Checked), LoadError> {
    let mut best = Settled::from(draft.clone(), sides);
    for recognised in recognitions {
        if best.as_ref().is_ok_and(Settled::is_recognised) {
            break;
        }
        let next = Settled::from(Draft { recognised, ..draft.clone() }, sides);
        let better = match (&best, &next) {
            (Ok(best), Ok(next)) => next.passed() > best.passed(),
            (Err(_), Ok(_)) => true,
            (_, Err(_)) => false,
        };
        if better {
            best = next;
        }
    }
    let Settled { mut draft, runtime, trips } = best?;
    let refused = |trip: &Trip| Some(format!("{}: {}", trip.name, trip.outcome.as_ref().err()?.reason()));
    let checked = Checked {
        older: sides.0.len(),
        newer: sides.1.len(),
        refused: trips.iter().filter_map(refused).collect(),
        exact: pairs.iter().filter(|pair| exact(&runtime, &draft, sides, **pair)).count(),
        pairs: pairs.len(),
        differing: differing(&runtime, &draft, sides, pairs),
    };
    example(&runtime, &mut draft, sides, pairs);
    draft.about.extend(checked.said());
    loaded(&mut draft)?;
    Ok((draft, checked))
}

/// Older and newer samples.
pub(super) type Sides<'s> = (&'s [Sample], &'s [Sample]);

/// A draft without the ops that samples are refused by.
struct Settled {
    draft: Draft,
    runtime: Runtime,
    trips: Vec<Trip>,
}

impl Settled {
    fn from(mut draft: Draft, (older, newer): Sides<'_>) -> Result<Settled, LoadError> {
        loop {
            let runtime = loaded(&mut draft)?;
            let trips = trips(&runtime, &draft, older, newer);
            match refused_op(&draft, &trips) {
                Some((index, reason)) => draft.ops[index].left_out = Some(reason), // one that is active
                None => return Ok(Settled { draft, runtime, trips }),
            }
        }
    }

    fn is_recognised(&self) -> bool {
        !self.trips.iter().any(|trip| matches!(trip.outcome, Err(Refused::Recognition(_))))
    }

    fn passed(&self) -> usize {
        self.trips.iter().filter(|trip| trip.outcome.is_ok()).count()
    }
}

/// One sample to the other version and back.
struct Trip {
    name: String,
    outcome: Result<(), Refused>,
}

/// Why a sample doesn't come there and back.
enum Refused {
    /// An op refuses it.
    Op(String, String),
    /// It is not recognised as what it is.
    Recognition(String),
    Other(String),
}

impl Refused {
    fn reason(&self) -> &str {
        match self {
            Refused::Op(_, reason) | Refused::Recognition(reason) | Refused::Other(reason) => reason,
        }
    }
}

/// Loads the draft; what its problems are about is left out, one after the other.
fn loaded(draft: &mut Draft) -> Result<Runtime, LoadError> {
    loop {
        let pack = Pack::from_toml("proposal", &write::pack(draft))?;
        let problems = match Runtime::new(&pack) {
            Ok(runtime) => return Ok(runtime),
            Err(LoadError::Problems { problems, name }) => (name, problems),
            Err(LoadError::Examples { .. }) if draft.example.is_some() => {
                draft.example = None;
                continue;
            }
            Err(error) => return Err(error),
        };
        let (name, problems) = problems;
        let mut helped = false;
        for problem in &problems {
            let number = |prefix: &str| problem.pointer.strip_prefix(prefix)?.split('/').next()?.parse::<usize>().ok();
            if let Some(index) = number("/step/0/ops/").and_then(|n| active(draft, n)) {
                draft.ops[index].left_out = Some(problem.message.clone());
                helped = true;
                break; // the numbers of the others have changed
            }
            let collection = number("/collection/")
                .and_then(|n| draft.collections.iter_mut().filter(|collection| collection.2.is_none()).nth(n));
            if let Some(collection) = collection {
                collection.2 = Some(problem.message.clone());
                helped = true;
                break;
            }
        }
        if !helped {
            return Err(LoadError::Problems { name, problems });
        }
    }
}

/// The op that is the `n`th one in the pack.
fn active(draft: &Draft, n: usize) -> Option<usize> {
    draft.ops.iter().enumerate().filter(|(_, op)| op.left_out.is_none()).map(|(index, _)| index).nth(n)
}

fn trips(runtime: &Runtime, draft: &Draft, older: &[Sample], newer: &[Sample]) -> Vec<Trip> {
    let ways = [(older, &draft.from, &draft.to), (newer, &draft.to, &draft.from)];
    let trip = |sample: &Sample, home: &str, away: &str| Trip {
        name: sample.name().to_owned(),
        outcome: there_and_back(runtime, sample, home, away),
    };
    ways.iter().flat_map(|(samples, home, away)| samples.iter().map(move |sample| trip(sample, home, away))).collect()
}

fn there_and_back(runtime: &Runtime, sample: &Sample, home: &str, away: &str) -> Result<(), Refused> {
    let record = sample.text().as_bytes();
    let found = runtime.detect(record).map_err(refused)?;
    if found != home {
        return Err(Refused::Recognition(format!("is recognised as version {found}")));
    }
    let there = runtime.translate(record, b"", home, away).map_err(refused)?;
    let back = runtime.translate(&there.record, &there.carry, away, home).map_err(refused)?;
    let back = std::str::from_utf8(&back.record).ok().and_then(|text| Node::parse(text).ok());
    match back.is_some_and(|back| back.same(sample.tree())) {
        true => Ok(()),
        false => Err(Refused::Other(format!("comes back different from version {away}"))),
    }
}

fn refused(error: CallError) -> Refused {
    match error {
        CallError::Fault(fault) if !fault.op.is_empty() => Refused::Op(fault.op.clone(), fault.to_string()),
        CallError::Fault(fault)
            if matches!(fault.kind, FaultKind::UnknownVersion | FaultKind::Ambiguous | FaultKind::WrongVersion) =>
        {
            Refused::Recognition(fault.to_string())
        }
        error => Refused::Other(error.to_string()),
    }
}

/// The op that refuses the most samples, with why.
fn refused_op(draft: &Draft, trips: &[Trip]) -> Option<(usize, String)> {
    let mut counts: BTreeMap<usize, (usize, String)> = BTreeMap::new();
    for trip in trips {
        let Err(Refused::Op(op, reason)) = &trip.outcome else { continue };
        let number = op.rsplit_once("op ").and_then(|(_, label)| label.split('.').next()?.parse::<usize>().ok());
        let Some(index) = number.and_then(|number| active(draft, number.checked_sub(1)?)) else { continue };
        counts.entry(index).or_insert_with(|| (0, format!("{} refuses {reason}", trip.name))).0 += 1;
    }
    let (index, (count, reason)) = counts.into_iter().max_by_key(|(_, (count, _))| *count)?;
    Some((index, format!("refused by {count} samples, first {}", reason.replace(" refuses ", ": "))))
}

/// Whether a pair's older record becomes its newer one, to the last value.
fn exact(runtime: &Runtime, draft: &Draft, (older, newer): Sides<'_>, pair: (usize, usize)) -> bool {
    let (one, other) = (&older[pair.0], &newer[pair.1]);
    let there = runtime.translate(one.text().as_bytes(), b"", &draft.from, &draft.to);
    let there = there.ok().and_then(|there| Node::parse(std::str::from_utf8(&there.record).ok()?).ok());
    there.is_some_and(|there| there.same(other.tree()))
}

/// Where older records differ from the newer ones of their pairs once they are translated, the most frequent first.
fn differing(
    runtime: &Runtime,
    draft: &Draft,
    (older, newer): Sides<'_>,
    pairs: &[(usize, usize)],
) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<Path, usize> = BTreeMap::new();
    for (one, other) in pairs {
        let there = runtime.translate(older[*one].text().as_bytes(), b"", &draft.from, &draft.to);
        let Some(there) = there.ok().and_then(|there| String::from_utf8(there.record).ok()) else { continue };
        let Ok(there) = Node::parse(&there) else { continue };
        let mut places = BTreeSet::new();
        differences(Some(&there), Some(newer[*other].tree()), &Path::default(), &mut places);
        for place in places {
            *counts.entry(place).or_default() += 1;
        }
    }
    let mut counts: Vec<(String, usize)> =
        counts.into_iter().map(|(place, count)| (place.to_string(), count)).collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

fn differences(one: Option<&Node>, other: Option<&Node>, at: &Path, into: &mut BTreeSet<Path>) {
    match (one, other) {
        (Some(one), Some(other)) if one.same(other) => {}
        (Some(one), Some(other)) if one.kind() == Kind::Object && other.kind() == Kind::Object => {
            let only_there = other.members().iter().filter(|(key, _)| one.member(key).is_none());
            for (key, _) in one.members().iter().chain(only_there) {
                differences(one.member(key), other.member(key), &at.below(std::slice::from_ref(key)), into);
            }
        }
        (Some(one), Some(other))
            if one.kind() == Kind::Array
                && other.kind() == Kind::Array
                && one.elements().len() == other.elements().len() =>
        {
            for (one, other) in one.elements().iter().zip(other.elements()) {
                differences(Some(one), Some(other), &at.each(), into);
            }
        }
        _ => {
            into.insert(at.clone());
        }
    }
}

/// The smallest pair that the rules make of one another becomes the pack's example; without pairs, the smallest older
/// record with what the rules make of it.
fn example(runtime: &Runtime, draft: &mut Draft, sides: Sides<'_>, pairs: &[(usize, usize)]) {
    let (older, newer) = sides;
    let mut pairs: Vec<(usize, usize)> = pairs.to_vec();
    pairs.sort_by_key(|(one, other)| older[*one].text().len() + newer[*other].text().len());
    for pair in pairs {
        if !exact(runtime, draft, sides, pair) {
            continue;
        }
        let (one, other) = (&older[pair.0], &newer[pair.1]);
        let about = format!(
            "The smallest pair of samples that these rules make of one another: {} and {}",
            one.name(),
            other.name()
        );
        draft.example = Some(Example {
            about,
            lower: one.tree().to_string(),
            upper: other.tree().to_string(),
            written_by: WrittenBy::Servers,
        });
        if loaded(draft).is_ok() && draft.example.is_some() {
            return;
        }
    }
    let mut samples: Vec<&Sample> = older.iter().collect();
    samples.sort_by_key(|sample| sample.text().len());
    for sample in samples {
        let there = runtime.translate(sample.text().as_bytes(), b"", &draft.from, &draft.to);
        let Some(there) = there.ok().and_then(|there| String::from_utf8(there.record).ok()) else { continue };
        let Ok(there) = Node::parse(&there) else { continue };
        let about = format!(
            "{} and what these rules make of it: is it right? No pair of samples shows it; drop the \"#\" if it is",
            sample.name()
        );
        let (lower, upper) = (sample.tree().to_string(), there.to_string());
        draft.example = Some(Example { about, lower, upper, written_by: WrittenBy::Rules });
        return;
    }
    draft.example = None;
}
