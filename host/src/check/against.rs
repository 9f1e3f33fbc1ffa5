//! What a new revision of a pack changes, for the pack, for routes, for records, and for what the old one has carried.

use std::collections::BTreeMap;

use crate::contract::{Change, Fidelity, Translation, Version};
use crate::generation::Generation;
use crate::laws::{Laws, Progress, Refused, Simpler, Subject, Tree, Words, shrink};

/// What a new revision changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revisions {
    /// The old revision and the new one.
    pub revisions: (u64, u64),
    /// Versions that only the new one has.
    pub added: Vec<String>,
    /// Versions that only the old one has.
    pub removed: Vec<String>,
    /// Steps whose ops changed.
    pub steps: Vec<StepChange>,
    /// Pairs whose verdict changed.
    pub verdicts: Vec<VerdictChange>,
    /// Records that are recognised otherwise.
    pub detected: Vec<Detected>,
    /// Records that are translated otherwise.
    pub records: Vec<Compared>,
    /// Carries of the old revision from which the new one restores something else.
    pub carries: Vec<Carries>,
    /// How many records were compared.
    pub compared: u64,
}

/// A step whose ops changed: the ops as they are written, in JSON form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepChange {
    /// The older version.
    pub from: String,
    /// The newer version.
    pub to: String,
    /// Ops that only the old revision has.
    pub removed: Vec<String>,
    /// Ops that only the new revision has.
    pub added: Vec<String>,
    /// Whether ops that both have stand in another order.
    pub moved: Moved,
}

/// Whether ops stand in another order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// They do.
    Yes,
    /// They don't.
    No,
}

/// A pair whose verdict changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictChange {
    /// The version of the records.
    pub record: String,
    /// The version of the servers.
    pub server: String,
    /// What it was.
    pub old: Fidelity,
    /// What it is.
    pub new: Fidelity,
    /// Why it is so now.
    pub reason: String,
}

/// Records that are recognised otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detected {
    /// The smallest one found.
    pub record: String,
    /// What the old revision takes it for: a version's id, or a fault.
    pub old: String,
    /// What the new one takes it for.
    pub new: String,
    /// How many there were.
    pub count: u64,
}

/// What became of a translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It gives another record.
    Differs,
    /// It was possible and is refused now.
    Refused,
    /// It was refused and is possible now.
    Possible,
}

impl Kind {
    /// The word: `differs`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Differs => "differs",
            Kind::Refused => "refused",
            Kind::Possible => "possible",
        }
    }
}

/// Records that are translated otherwise in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// The version of the records.
    pub from: String,
    /// The version that they are brought to.
    pub to: String,
    /// What became of it.
    pub kind: Kind,
    /// Where, in the translated record, as a JSON Pointer; empty where one of them is refused.
    pub place: String,
    /// The op of the new revision that works there, or that refuses, as far as that can be told.
    pub op: Option<String>,
    /// What the old revision makes of it: what stands there, or the fault.
    pub old: String,
    /// What the new one makes of it.
    pub new: String,
    /// The smallest one found.
    pub record: String,
    /// How many there were.
    pub count: u64,
}

/// Carries of the old revision from which the new one restores something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carries {
    /// The version at home, to which the way back leads.
    pub home: String,
    /// The version in which the record rests.
    pub rests: String,
    /// Where something else comes back, as a JSON Pointer.
    pub place: String,
    /// What stood there.
    pub old: String,
    /// What the new revision puts there, or why it refuses.
    pub new: String,
    /// The smallest record at home that was found.
    pub record: String,
    /// How many there were.
    pub count: u64,
}

impl Revisions {
    /// Compares two generations on records grown from both and on the recorded ones that both were given.
    pub fn compare(
        old: (&Generation, &Laws<'_>),
        new: (&Generation, &Laws<'_>),
        progress: &mut dyn FnMut(Progress),
    ) -> Revisions {
        let mut comparison = Comparison::new(old.0, new.0);
        comparison.packs();
        let (total, mut done) = (old.1.planned() + new.1.planned(), 0);
        for laws in [old.1, new.1] {
            laws.records(|record, _| {
                comparison.record(record);
                done += 1;
                if done % 16 == 0 {
                    progress(Progress { done, total });
                }
            });
        }
        comparison.finish()
    }

    /// Whether something that worked doesn't any more: records refused, values not restored, verdicts worse, versions
    /// gone, or a revision that gateways would not take.
    pub fn breaks(&self) -> bool {
        let worse = self.verdicts.iter().any(|change| change.new > change.old);
        let refused = self.records.iter().any(|record| record.kind == Kind::Refused);
        let (old, new) = self.revisions;
        worse || refused || new <= old || !self.carries.is_empty() || !self.removed.is_empty()
    }
}

/// How many kinds of differences are made small.
const SHOWN: usize = 24;

/// A comparison under way. The maps hold the smallest record so far, and how many there were.
struct Comparison<'g> {
    old: &'g Generation,
    new: &'g Generation,
    found: Revisions,
    detected: BTreeMap<(String, String), (String, u64)>,
    records: BTreeMap<Difference, (String, u64)>,
    carries: BTreeMap<(String, String, String), (String, u64)>,
}

/// What tells kinds of differences apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Difference {
    from: String,
    to: String,
    kind: Kind,
    /// The op, or where none is known, the place with `*` for indexes.
    about: String,
}

impl<'g> Comparison<'g> {
    fn new(old: &'g Generation, new: &'g Generation) -> Comparison<'g> {
        let found = Revisions { revisions: (old.manifest().revision, new.manifest().revision), ..Revisions::default() };
        let (detected, records, carries) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Comparison { old, new, found, detected, records, carries }
    }

    /// What can be told without records.
    fn packs(&mut self) {
        let ids = |generation: &Generation| generation.versions();
        let (old, new) = (ids(self.old), ids(self.new));
        self.found.added = new.iter().filter(|id| !old.contains(id)).cloned().collect();
        self.found.removed = old.iter().filter(|id| !new.contains(id)).cloned().collect();
        for record in &new {
            for server in &new {
                let judged = |generation: &Generation| {
                    Some(generation.judge(generation.version(record)?, generation.version(server)?).clone())
                };
                if let (Some(was), Some(is)) = (judged(self.old), judged(self.new))
                    && was.fidelity != is.fidelity
                {
                    let (record, server) = (record.clone(), server.clone());
                    let change =
                        VerdictChange { record, server, old: was.fidelity, new: is.fidelity, reason: is.reason };
                    self.found.verdicts.push(change);
                }
            }
        }
        let [was, is] = [self.old, self.new].map(|generation| Words::steps(generation.pack().json()));
        for ((from, to), ops) in &is {
            let before = was.get(&(from.clone(), to.clone())).cloned().unwrap_or_default();
            let only = |ops: &[String], others: &[String]| -> Vec<String> {
                ops.iter().filter(|op| !others.contains(op)).cloned().collect()
            };
            let (removed, added) = (only(&before, ops), only(ops, &before));
            let stayed = |ops: &[String]| -> Vec<String> {
                ops.iter().filter(|op| !removed.contains(op) && !added.contains(op)).cloned().collect()
            };
            let moved = if stayed(&before) == stayed(ops) { Moved::No } else { Moved::Yes };
            if !(removed.is_empty() && added.is_empty() && moved == Moved::No) {
                self.found.steps.push(StepChange { from: from.clone(), to: to.clone(), removed, added, moved });
            }
        }
    }

    fn record(&mut self, record: &[u8]) {
        self.found.compared += 1;
        let text = String::from_utf8_lossy(record);
        if let Some(key) = self.recognised(record) {
            smallest(&mut self.detected, key, &text);
            return;
        }
        let Ok(found) = Subject::detect(self.new, record) else { return };
        let from = self.new.manifest().id(found).to_owned();
        for to in self.new.versions() {
            if let Some((key, _)) = self.translated(record, &from, &to) {
                smallest(&mut self.records, key, &text);
            }
            if let Some((place, _)) = self.restored(record, &from, &to) {
                smallest(&mut self.carries, (from.clone(), to.clone(), starred(&place)), &text);
            }
        }
    }

    /// What the two take a record for, if that is not the same.
    fn recognised(&self, record: &[u8]) -> Option<(String, String)> {
        let [old, new] = [self.old, self.new].map(|generation| match Subject::detect(generation, record) {
            Ok(version) => Ok(generation.manifest().id(version).to_owned()),
            Err(Refused::Fault { kind, .. }) => Err(kind),
            Err(Refused::Failed(message)) => Err(message),
        });
        let name = |found: Result<String, String>| found.unwrap_or_else(|kind| kind);
        (old != new).then(|| (name(old), name(new)))
    }

    /// How a translation differs: what tells it from others, and the difference.
    fn translated(&self, record: &[u8], from: &str, to: &str) -> Option<(Difference, Compared)> {
        let old = hop(self.old, record, b"", from, to)?;
        let new = hop(self.new, record, b"", from, to)?;
        let fault = |refused: &Refused| match refused {
            Refused::Fault { op, .. } if !op.is_empty() => Some(op.clone()),
            Refused::Fault { .. } | Refused::Failed(_) => None,
        };
        let (kind, place, op, was, is) = match (old, new) {
            (Ok(old), Ok(new)) => {
                let [was, is] = [&old, &new].map(|done| Tree::read(&done.record));
                let difference = was?.difference(&is?)?;
                let op = self.op_at(record, from, to, &difference.place);
                let shown = |text: Option<String>| text.unwrap_or_else(|| "nothing".to_owned());
                (Kind::Differs, difference.place, op, shown(difference.one), shown(difference.other))
            }
            (Ok(_), Err(new)) => (Kind::Refused, String::new(), fault(&new), "translated".to_owned(), new.to_string()),
            (Err(old), Ok(_)) => (Kind::Possible, String::new(), fault(&old), old.to_string(), "translated".to_owned()),
            (Err(_), Err(_)) => return None,
        };
        let about = op.clone().unwrap_or_else(|| starred(&place));
        let (from, to) = (from.to_owned(), to.to_owned());
        let key = Difference { from: from.clone(), to: to.clone(), kind, about };
        let record = String::from_utf8_lossy(record).into_owned();
        Some((key, Compared { from, to, kind, place, op, old: was, new: is, record, count: 0 }))
    }

    /// The op of the new revision that works at a place, or else of the old one.
    fn op_at(&self, record: &[u8], from: &str, to: &str, place: &str) -> Option<String> {
        let near = |change: &Change| change.place.starts_with(place) || place.starts_with(&change.place);
        [self.new, self.old].into_iter().find_map(|generation| {
            let (from, to) = (generation.version(from)?, generation.version(to)?);
            let changes = Subject::explain(generation, record, b"", from, to).ok()?;
            changes.into_iter().find(near).map(|change| change.op)
        })
    }

    /// Where the new revision brings something else back from a carry of the old one, if the old one brings all back.
    fn restored(&self, record: &[u8], home: &str, rests: &str) -> Option<(String, Carries)> {
        let there = hop(self.old, record, b"", home, rests)?.ok().filter(|there| there.counts.carried > 0)?;
        let old = hop(self.old, &there.record, &there.carry, rests, home)?.ok()?;
        let was = Tree::read(&old.record)?;
        let (place, old, new) = match hop(self.new, &there.record, &there.carry, rests, home)? {
            Ok(new) => {
                let difference = was.difference(&Tree::read(&new.record)?)?;
                // What a changed op makes of the record without any carry is no question of carries.
                let bare = [self.old, self.new].map(|pack| hop(pack, &there.record, b"", rests, home));
                if let [Some(Ok(old)), Some(Ok(new))] = bare
                    && Tree::read(&old.record)?.difference(&Tree::read(&new.record)?) == Some(difference.clone())
                {
                    return None;
                }
                let shown = |text: Option<String>| text.unwrap_or_else(|| "nothing".to_owned());
                (difference.place, shown(difference.one), shown(difference.other))
            }
            Err(refused) => (String::new(), "restored".to_owned(), refused.to_string()),
        };
        let (home, rests) = (home.to_owned(), rests.to_owned());
        let record = String::from_utf8_lossy(record).into_owned();
        Some((place.clone(), Carries { home, rests, place, old, new, record, count: 0 }))
    }

    /// Makes the records small, the most frequent first.
    fn finish(mut self) -> Revisions {
        for ((old, new), (record, count)) in by_count(std::mem::take(&mut self.detected)) {
            let same = |text: &str| self.recognised(text.as_bytes()) == Some((old.clone(), new.clone()));
            let record = small(record, &same);
            self.found.detected.push(Detected { record, old, new, count });
        }
        for (key, (record, count)) in by_count(std::mem::take(&mut self.records)) {
            let now = |text: &str| {
                self.recognised(text.as_bytes()).is_none().then_some(())?;
                let found = Subject::detect(self.new, text.as_bytes()).ok()?;
                (self.new.manifest().id(found) == key.from).then_some(())?;
                self.translated(text.as_bytes(), &key.from, &key.to).filter(|(other, _)| *other == key)
            };
            let record = small(record, &|text| now(text).is_some());
            if let Some((_, compared)) = now(&record) {
                self.found.records.push(Compared { count, ..compared });
            }
        }
        for ((home, rests, place), (record, count)) in by_count(std::mem::take(&mut self.carries)) {
            let now = |text: &str| {
                self.recognised(text.as_bytes()).is_none().then_some(())?;
                self.restored(text.as_bytes(), &home, &rests).filter(|(other, _)| starred(other) == place)
            };
            let record = small(record, &|text| now(text).is_some());
            if let Some((_, carries)) = now(&record) {
                self.found.carries.push(Carries { count, ..carries });
            }
        }
        self.found
    }
}

/// A translation by ids; none if the pack lacks one of them, or they are the same.
fn hop(
    generation: &Generation,
    record: &[u8],
    carry: &[u8],
    from: &str,
    to: &str,
) -> Option<Result<Translation, Refused>> {
    let [from, to]: [Version; 2] = [generation.version(from)?, generation.version(to)?];
    (from != to).then(|| Subject::translate(generation, record, carry, from, to))
}

fn smallest<K: Ord>(seen: &mut BTreeMap<K, (String, u64)>, key: K, record: &str) {
    let (smallest, count) = seen.entry(key).or_insert_with(|| (record.to_owned(), 0));
    *count += 1;
    if record.len() < smallest.len() {
        *smallest = record.to_owned();
    }
}

fn by_count<K>(seen: BTreeMap<K, (String, u64)>) -> Vec<(K, (String, u64))> {
    let mut seen: Vec<_> = seen.into_iter().collect();
    seen.sort_by_key(|(_, (_, count))| std::cmp::Reverse(*count));
    seen.truncate(SHOWN);
    seen
}

fn small(record: String, holds: &dyn Fn(&str) -> bool) -> String {
    match Tree::read(record.as_bytes()).filter(|tree| holds(&tree.compact())) {
        Some(tree) => shrink(tree, Simpler::Anything, &mut |tree| holds(&tree.compact())).compact(),
        None => record,
    }
}

/// A place with `*` for indexes, so that elements of one array are one kind.
fn starred(place: &str) -> String {
    let index = |segment: &str| !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit());
    place.split('/').map(|segment| if index(segment) { "*" } else { segment }).collect::<Vec<_>>().join("/")
}
