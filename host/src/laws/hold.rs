//! The laws themselves: what must be true of one record on its way from one version to another.

use fastrand::Rng;

use super::grow::Grower;
use super::subject::{Refused, Subject};
use super::tree::{Difference, Tree, plain, spelled_members};
use super::words::{Full, Words};
use super::{Grown, Law};
use crate::contract::{CarryPlace, Change, Fidelity, Translation, Version};

/// What is needed to hold a subject against the laws.
pub(crate) struct Court<'a> {
    pub(crate) subject: &'a dyn Subject,
    pub(crate) words: &'a Words,
    pub(crate) grower: &'a Grower<'a>,
    pub(crate) versions: u16,
    pub(crate) carry: CarryPlace,
}

/// One record on its way.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    pub(crate) from: Version,
    pub(crate) to: Version,
    /// What the edits in between are drawn from.
    pub(crate) salt: u64,
    pub(crate) grown: Grown,
}

/// What came of a record that broke no law.
pub(crate) enum Outcome {
    /// It isn't of the version that the way begins with.
    Elsewhere,
    /// It was refused.
    Refused(Refused),
    /// All laws hold that apply.
    Held(Box<Held>),
}

/// A translation that broke no law.
pub(crate) struct Held {
    pub(crate) there: Translation,
    /// The laws that had something to say.
    pub(crate) applied: Vec<Law>,
    /// Edits in the other version, with the record as it was edited, that found their way home.
    pub(crate) edits: Vec<String>,
}

/// A law that doesn't hold.
#[derive(Clone, Debug)]
pub(crate) struct Break {
    pub(crate) law: Law,
    /// In terms of the law.
    pub(crate) expected: String,
    pub(crate) found: String,
    /// Where, as a JSON Pointer.
    pub(crate) place: Option<String>,
    /// What a server made of the record in between.
    pub(crate) edited: Option<String>,
    /// What a server at home made of that.
    pub(crate) edited_back: Option<String>,
    /// The op, if it is known already.
    pub(crate) op: Option<String>,
}

/// How many edits in the other version are tried for each record.
const EDITS: u64 = 4;

/// How many round trips stand for a thousand: a record and a carry that come back the same stay the same.
const TRIPS: u32 = 8;

/// Faults that a record at rest in a middle version can have, though it may pass through.
const NOT_AT_REST: [&str; 3] = ["wrong-version", "unknown-version", "ambiguous"];

impl Break {
    fn new(law: Law, expected: impl Into<String>, found: impl Into<String>) -> Break {
        Break {
            law,
            expected: expected.into(),
            found: found.into(),
            place: None,
            edited: None,
            edited_back: None,
            op: None,
        }
    }

    fn differs(law: Law, difference: Difference) -> Break {
        let shown = |text: Option<String>| text.unwrap_or_else(|| "nothing".to_owned());
        let Difference { place, one, other } = difference;
        Break { place: Some(place), ..Break::new(law, shown(one), shown(other)) }
    }

    fn refused(law: Law, expected: &str, refused: &Refused) -> Break {
        let op = match refused {
            Refused::Fault { op, .. } if !op.is_empty() => Some(op.clone()),
            Refused::Fault { .. } | Refused::Failed(_) => None,
        };
        Break { op, ..Break::new(law, expected, refused.to_string()) }
    }
}

impl Court<'_> {
    /// Holds one record against all laws.
    pub(crate) fn hold(&self, record: &[u8], way: Way) -> Result<Outcome, Box<Break>> {
        let Way { from, to, .. } = way;
        if self.subject.detect(record) != Ok(from) {
            return Ok(Outcome::Elsewhere);
        }
        self.identity(record, from)?;
        let there = self.subject.translate(record, b"", from, to);
        if there != self.subject.translate(record, b"", from, to) {
            return Err(Break::new(Law::Pure, "the same answer to the same bytes", "another one").into());
        }
        let normal = self.subject.normalize(record, b"", to);
        let same = match (&there, &normal) {
            (Ok(there), Ok(normal)) => normal.found == from && normal.changed.as_ref() == Some(there),
            (Err(there), Err(normal)) => there == normal,
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
        };
        if !same {
            return Err(Break::new(
                Law::Pure,
                "the same from normalize as from detect and translate",
                "another answer",
            )
            .into());
        }
        let there = match there {
            Ok(there) => there,
            Err(refused) => return self.refusal(record, way, refused),
        };
        let mut applied = vec![Law::Identity, Law::Pure, Law::TotalOrFault, Law::Detect, Law::Untouched];
        let found = self.subject.detect(&there.record);
        if found != Ok(to) {
            let found = found.map_or_else(|refused| refused.to_string(), |found| format!("version index {}", found.0));
            return Err(Break::new(Law::Detect, "a record of the version that it was translated to", found).into());
        }
        self.untouched(record, &there.record)?;
        applied.push(Law::DeclaredLoss);
        self.declared(&there, way)?;
        applied.push(Law::Fusion);
        self.fusion(record, &there, way)?;
        if self.subject.judge(to, from).fidelity == Fidelity::None {
            return Ok(Outcome::Held(Box::new(Held { there, applied, edits: Vec::new() })));
        }
        let Some(back) = self.home(record, &there, way)? else {
            return Ok(Outcome::Held(Box::new(Held { there, applied, edits: Vec::new() })));
        };
        applied.push(Law::Return);
        self.fixpoint(&back, way)?;
        applied.extend([Law::Fixpoint, Law::Stable]);
        let edits = self.edit(&there, way)?;
        if !edits.is_empty() {
            applied.push(Law::Edit);
        }
        Ok(Outcome::Held(Box::new(Held { there, applied, edits })))
    }

    fn identity(&self, record: &[u8], from: Version) -> Result<(), Box<Break>> {
        match self.subject.translate(record, b"", from, from) {
            Ok(same) if same.record == record && same.carry.is_empty() => Ok(()),
            Ok(same) => Err(Break::new(Law::Identity, text(record), text(&same.record)).into()),
            Err(refused) => Err(Break::refused(Law::Identity, "the record as it is", &refused).into()),
        }
    }

    /// A refusal must be one of the rules, and tell what the rules say and not what the record says.
    fn refusal(&self, record: &[u8], way: Way, refused: Refused) -> Result<Outcome, Box<Break>> {
        let Refused::Fault { message, .. } = &refused else {
            return Err(Break::refused(Law::TotalOrFault, "a translation or a fault", &refused).into());
        };
        if let Some(told) = tells(record, message, &self.words.text) {
            let expected = "a fault that names op, place, expected and found, and not what the record says";
            return Err(Break::new(Law::TotalOrFault, expected, format!("{message}, which holds {told}")).into());
        }
        if refused.is(&["undeclared-loss"]) && way.grown == Grown::Ordinary {
            let verdict = self.subject.judge(way.from, way.to);
            let expected = format!("{}: {}", verdict.fidelity, verdict.reason);
            return Err(Break::refused(Law::DeclaredLoss, &expected, &refused).into());
        }
        Ok(Outcome::Refused(refused))
    }

    /// Members of the root that the pack doesn't name keep their bytes, from the key to the end of the value.
    fn untouched(&self, record: &[u8], there: &[u8]) -> Result<(), Box<Break>> {
        let (Some(before), Some(after)) = (spelled_members(record), spelled_members(there)) else {
            return Err(Break::new(Law::Untouched, "an object", text(there)).into());
        };
        for (key, member) in before {
            if !self.words.touches(&plain(&key)) && !after.iter().any(|(_, other)| *other == member) {
                let place = Some(format!("/{}", plain(&key)));
                let found = after.iter().find(|(other, _)| plain(other) == plain(&key));
                let found = found.map_or_else(|| "nothing".to_owned(), |(_, member)| member.clone());
                return Err(Break { place, ..Break::new(Law::Untouched, member, found) }.into());
            }
        }
        Ok(())
    }

    /// What gets lost is a subset of what the verdict declares; and a pair that is said to need no carry needs none for
    /// records that its servers would write.
    fn declared(&self, there: &Translation, way: Way) -> Result<(), Box<Break>> {
        let verdict = self.subject.judge(way.from, way.to);
        let promise = format!("{}: {}", verdict.fidelity, verdict.reason);
        match verdict.fidelity {
            // A native pair is not translated in traffic, so its verdict says nothing of losses.
            Fidelity::Native | Fidelity::Lossy | Fidelity::None => return Ok(()),
            Fidelity::Exact | Fidelity::Carried => {}
        }
        if there.counts.lost > 0 {
            let found = format!("{} values lost", there.counts.lost);
            return Err(Break::new(Law::DeclaredLoss, promise, found).into());
        }
        if way.grown == Grown::Ordinary && verdict.fidelity == Fidelity::Exact && there.counts.carried > 0 {
            let found = format!("{} values that only the carry brings back", there.counts.carried);
            return Err(Break::new(Law::DeclaredLoss, promise, found).into());
        }
        Ok(())
    }

    /// The way back; none where it is lossy and refused.
    fn home(&self, record: &[u8], there: &Translation, way: Way) -> Result<Option<Translation>, Box<Break>> {
        let back = match self.subject.translate(&there.record, &there.carry, way.to, way.from) {
            Ok(back) => back,
            Err(_) if self.subject.judge(way.to, way.from).fidelity == Fidelity::Lossy => return Ok(None),
            Err(refused) => return Err(Break::refused(Law::Return, "the record as it was", &refused).into()),
        };
        if there.counts.lost + back.counts.lost == 0
            && let Some(difference) = self.difference(record, &back.record)
        {
            return Err(Break::differs(Law::Return, difference).into());
        }
        Ok(Some(back))
    }

    /// Where the two are not the same record. Where not all is kept, the spelling of values is not.
    fn difference(&self, one: &[u8], other: &[u8]) -> Option<Difference> {
        match ([one, other].map(|record| self.own(record)), self.keeps_all()) {
            ([Some(one), Some(other)], true) => one.difference(&other),
            ([Some(one), Some(other)], false) => one.difference_in_value(&other),
            ([_, _], _) => Some(Difference { place: String::new(), one: Some(text(one)), other: Some(text(other)) }),
        }
    }

    /// Whether there is a carry, and one that never drops anything.
    fn keeps_all(&self) -> bool {
        self.carry != CarryPlace::None && self.words.full == Full::Refuses
    }

    /// A record without its inline carry.
    pub(crate) fn own(&self, record: &[u8]) -> Option<Tree> {
        let mut tree = Tree::read(record)?;
        if let Some(member) = &self.words.carry_member {
            tree.take(member);
        }
        Some(tree)
    }

    /// A record that alternates has the same bytes each time, and nothing grows.
    fn fixpoint(&self, back: &Translation, way: Way) -> Result<(), Box<Break>> {
        let hop = |of: &Translation, from, to, law| {
            let done = self.subject.translate(&of.record, &of.carry, from, to);
            done.map_err(|refused| Box::new(Break::refused(law, "a way that was there before", &refused)))
        };
        let again = hop(back, way.from, way.to, Law::Fixpoint)?;
        let home = hop(&again, way.to, way.from, Law::Fixpoint)?;
        let once_more = hop(&home, way.from, way.to, Law::Fixpoint)?;
        for (one, other) in [(back, &home), (&again, &once_more)] {
            if one.record != other.record {
                return Err(Break::new(Law::Fixpoint, text(&one.record), text(&other.record)).into());
            }
            if one.carry != other.carry {
                let [one, other] = [one, other].map(|done| format!("carry {}", text(&done.carry)));
                return Err(Break::new(Law::Fixpoint, one, other).into());
            }
        }
        if way.salt.is_multiple_of(16) {
            let mut last = once_more.clone();
            for _ in 0..TRIPS {
                last = hop(&hop(&last, way.to, way.from, Law::Stable)?, way.from, way.to, Law::Stable)?;
            }
            if (&last.record, &last.carry) != (&once_more.record, &once_more.carry) {
                let size = |done: &Translation| {
                    format!("{} bytes of record and {} of carry", done.record.len(), done.carry.len())
                };
                return Err(Break::new(Law::Stable, size(&once_more), size(&last)).into());
            }
        }
        Ok(())
    }

    /// Many steps at once give the bytes of one after another.
    fn fusion(&self, record: &[u8], there: &Translation, way: Way) -> Result<(), Box<Break>> {
        let Way { from, to, .. } = way;
        for middle in (0..self.versions).map(Version) {
            if !(from.min(to) < middle && middle < from.max(to)) {
                continue;
            }
            let first = self.subject.translate(record, b"", from, middle);
            let second = first.and_then(|first| self.subject.translate(&first.record, &first.carry, middle, to));
            let second = match second {
                Ok(second) => second,
                // No version recognises the record at rest in the middle; on the way through it needs no marker.
                Err(refused) if refused.is(&NOT_AT_REST) => continue,
                Err(refused) => return Err(Break::refused(Law::Fusion, &text(&there.record), &refused).into()),
            };
            if second.record != there.record {
                return Err(Break::new(Law::Fusion, text(&second.record), text(&there.record)).into());
            }
            if second.carry != there.carry {
                let [one, other] = [&second, there].map(|done| format!("carry {}", text(&done.carry)));
                return Err(Break::new(Law::Fusion, one, other).into());
            }
        }
        Ok(())
    }

    /// Tries edits: what a server of the other version could make of the record, the same for the same bytes. Returns the
    /// edited records that had a way home.
    fn edit(&self, there: &Translation, way: Way) -> Result<Vec<String>, Box<Break>> {
        let mut tried = Vec::new();
        let Some(own) = self.own(&there.record) else { return Ok(tried) };
        for number in 0..EDITS {
            let mut rng = Rng::with_seed(way.salt.wrapping_add(number));
            let mut edited = own.clone();
            self.grower.edit(&mut rng, &mut edited, way.to);
            let held = self.edited(there, way, &edited)?;
            if let Some(edited) = &held {
                self.edited_again(there, way, edited, &mut rng)?;
            }
            tried.extend(held);
        }
        Ok(tried)
    }

    /// What a server at home changes then survives, too, with all that the carry holds of the first edit.
    fn edited_again(&self, there: &Translation, way: Way, edited: &str, rng: &mut Rng) -> Result<(), Box<Break>> {
        let Ok(home) = self.subject.translate(edited.as_bytes(), &there.carry, way.to, way.from) else { return Ok(()) };
        let Some(mut own) = self.own(&home.record) else { return Ok(()) };
        self.grower.edit(rng, &mut own, way.from);
        match self.edited(&home, Way { from: way.to, to: way.from, ..way }, &own) {
            Ok(_) => Ok(()),
            Err(broken) => {
                let (edited, edited_back) = (Some(edited.to_owned()), broken.edited.clone());
                Err(Box::new(Break { edited, edited_back, ..*broken }))
            }
        }
    }

    /// What a server of the other version changes survives the way home and back, and nothing else changes with it.
    /// Returns the edited record with its inline carry, unless it is none or has no way home.
    pub(crate) fn edited(&self, there: &Translation, way: Way, own: &Tree) -> Result<Option<String>, Box<Break>> {
        let Way { from, to, .. } = way;
        let Some(mut before) = Tree::read(&there.record) else { return Ok(None) };
        let carry = self.words.carry_member.as_deref().and_then(|member| before.take(member));
        let forged = |key: &str| self.words.carry_member.as_deref() == Some(&*plain(key));
        // Another spelling of the same values is no edit, nor is another order of members.
        if own.difference_in_value(&before).is_none() || own.members().iter().any(|(key, _)| forged(key)) {
            return Ok(None);
        }
        let mut whole = own.clone();
        if let Tree::Object(members) = &mut whole {
            members.extend(carry);
        }
        let edited = whole.spaced();
        if self.subject.detect(edited.as_bytes()) != Ok(to) {
            return Ok(None);
        }
        let Ok(home) = self.subject.translate(edited.as_bytes(), &there.carry, to, from) else { return Ok(None) };
        let back = self.subject.translate(&home.record, &home.carry, from, to);
        let in_between = |broken: Break| Box::new(Break { edited: Some(whole.compact()), ..broken });
        let back = match back {
            Ok(back) => back,
            Err(_) if self.subject.judge(from, to).fidelity >= Fidelity::Lossy => return Ok(None),
            Err(refused) => {
                return Err(in_between(Break::refused(Law::Edit, "the record as it was edited", &refused)));
            }
        };
        let lost = home.counts.lost + back.counts.lost > 0 && !self.keeps_all();
        // By value: what a server writes that happens to be what was put there is no edit, however it is spelled.
        let found = self.own(&back.record);
        if !lost && let Some(difference) = found.and_then(|found| own.difference_in_value(&found)) {
            return Err(in_between(Break::differs(Law::Edit, difference)));
        }
        Ok(Some(edited))
    }

    /// Every change of a translation; none where it is refused.
    pub(crate) fn changes(&self, record: &[u8], carry: &[u8], from: Version, to: Version) -> Vec<Change> {
        self.subject.explain(record, carry, from, to).unwrap_or_default()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A longer string of the record that stands in a message and not in the pack, which messages may quote.
fn tells(record: &[u8], message: &str, pack: &str) -> Option<String> {
    let mut told = None;
    Tree::read(record)?.walk(&mut Vec::new(), &mut |_, node| {
        let told_by =
            |said: &String| said.len() >= 12 && message.contains(said.as_str()) && !pack.contains(said.as_str());
        told = node.text().filter(told_by).or(told.take());
    });
    told
}
