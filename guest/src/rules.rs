//! A loaded pack with the buffers of its calls: what the component exports, as plain Rust.

use std::fmt;

use crate::carry::Carry;
use crate::check::{self, Example};
use crate::cursor::Flaw;
use crate::detect::detect;
use crate::emit::{Emission, emit, recognise};
use crate::fuse::{Detector, Fused, detector, fuse};
use crate::json;
use crate::judge::{self, Fidelity, Verdict};
use crate::op::Direction;
use crate::pack::{Duplicates, Policy, Problem};
use crate::plan::{self, Plan, ROOT};
use crate::run::{self, Desk, Run};
use crate::shape;
use crate::tape::{DOCUMENT, Tape};
use crate::trial::{self, Failure};

/// A loaded pack.
pub struct Rules {
    manifest: Manifest,
    plan: Plan,
    matrix: Vec<Verdict>,
    pub(crate) examples: Vec<Example>,
    tape: Tape,
    desk: Desk,
    emission: Emission,
    detector: Option<Detector>,
    /// For each pair of versions its fused plan, or that there is none, once somebody has asked.
    fused: Vec<Option<Option<Box<Fused>>>>,
    /// The version that the last record was found in: a guess, for the next one.
    found: u16,
    #[cfg(test)]
    emitted: u32,
}

/// What a pack is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The pack's name.
    pub name: String,
    /// The pack's revision.
    pub revision: u64,
    /// All versions, oldest first.
    pub versions: Vec<VersionInfo>,
    /// The pack's policy, defaults filled in.
    pub policy: Policy,
}

/// One version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInfo {
    /// The version's id.
    pub id: String,
    /// What servers of this version read natively, itself included.
    pub reads: Vec<u16>,
    /// A digest of how records of this version are recognised.
    pub digest: u64,
}

/// The version of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detection {
    /// The one version that recognises the record.
    pub version: u16,
    /// Whether the record holds an inline carry.
    pub carries: bool,
}

/// A translated record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The record in the target version.
    pub record: Vec<u8>,
    /// The carry to keep beside it.
    pub carry: Vec<u8>,
    /// What happened to values on the way.
    pub counts: Counts,
}

/// A record in the version that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Normalized {
    /// The version that the record was found in.
    pub found: u16,
    /// The translation, or none where the record is already right.
    pub changed: Option<Translation>,
}

/// What happened to the values that the target version cannot hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Values kept in the carry by this call.
    pub carried: u32,
    /// Values that came back from the carry in this call.
    pub restored: u32,
    /// Values that this call lost.
    pub lost: u32,
    /// Values that this call took out of the record, whether or not the carry has them.
    pub dropped: u32,
    /// Values that say less than before, as the target version has a coarser one in their place.
    pub narrowed: u32,
    /// Members that this call put in, as the target version has to have them.
    pub defaulted: u32,
}

/// What a translation does at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The member is elsewhere, or has another key.
    Moved,
    /// The value is written in the target's way, and says the same.
    Changed,
    /// The value is taken out.
    Dropped,
    /// The value says less than before.
    Narrowed,
    /// A value is put in where there was none.
    Defaulted,
    /// The original is back.
    Restored,
}

/// One thing that a translation changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The op, as `step 1→2, op 3: rename`.
    pub op: String,
    /// The place after the change, as a JSON Pointer.
    pub place: String,
    /// The JSON text before, or none where there was nothing.
    pub before: Option<String>,
    /// The JSON text after, or none where there is nothing.
    pub after: Option<String>,
    /// What happened at the place.
    pub effect: Effect,
    /// What became of the value: `changed`, `carried`, `restored` or `lost`.
    pub outcome: &'static str,
}

/// Why a record can't be translated. The input stays as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Why, for programs.
    pub kind: FaultKind,
    /// The op that refused, or empty.
    pub op: String,
    /// The place in the record as a JSON Pointer, or empty.
    pub place: String,
    /// What was expected.
    pub expected: String,
    /// What was found; never the contents of a record.
    pub found: String,
}

/// The kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The bytes are no RFC 8259 JSON.
    NotJson,
    /// The document is no JSON object.
    Opaque,
    /// The record is longer than the policy allows.
    TooLarge,
    /// The record is nested deeper than the policy allows.
    TooDeep,
    /// A touched key stands twice in one object.
    DuplicateKey,
    /// No version recognises the record.
    UnknownVersion,
    /// More than one version recognises the record.
    Ambiguous,
    /// The record is of another version than the caller said.
    WrongVersion,
    /// A rename or a move meets a member that exists already.
    Conflict,
    /// A value is not of the kind that the op works on.
    WrongType,
    /// A value has no counterpart in the target version.
    Unmapped,
    /// A value is out of the range of what the op can express.
    OutOfRange,
    /// The carry would grow beyond its limit.
    CarryFull,
    /// A pack without a carry declares the op exact, and this record would lose something.
    UndeclaredLoss,
    /// More values would be lost than the pack's policy allows.
    TooLossy,
    /// There is no way from the one version to the other.
    NoWay,
}

impl FaultKind {
    /// Whether a limit of the policy is reached, or a carry that it doesn't have is needed.
    fn is_limit(self) -> bool {
        let limits = [FaultKind::CarryFull, FaultKind::TooLarge, FaultKind::TooDeep, FaultKind::TooLossy];
        limits.contains(&self) || self == FaultKind::UndeclaredLoss
    }
}

impl Effect {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Effect::Moved => "moved",
            Effect::Changed => "changed",
            Effect::Dropped => "dropped",
            Effect::Narrowed => "narrowed",
            Effect::Defaulted => "defaulted",
            Effect::Restored => "restored",
        }
    }

    /// What writing a place anew is: whether something was and is there, came back, or needs a memory to come back.
    pub(crate) fn of(was: bool, is: bool, restored: bool, kept: bool) -> Effect {
        match (was, is) {
            _ if restored => Effect::Restored,
            (true, false) => Effect::Dropped,
            (false, true) => Effect::Defaulted,
            (true, true) if kept => Effect::Narrowed,
            (true, true) | (false, false) => Effect::Changed,
        }
    }
}

impl Counts {
    pub(crate) fn note(&mut self, effect: Effect) {
        match effect {
            Effect::Dropped => self.dropped += 1,
            Effect::Narrowed => self.narrowed += 1,
            Effect::Defaulted => self.defaulted += 1,
            Effect::Restored => self.restored += 1,
            Effect::Moved | Effect::Changed => {}
        }
    }
}

impl Fault {
    /// A fault of the record as a whole: no op is at fault.
    pub(crate) fn new(kind: FaultKind, expected: impl Into<String>, found: impl Into<String>) -> Fault {
        Fault { kind, op: String::new(), place: String::new(), expected: expected.into(), found: found.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.place.is_empty() { String::new() } else { format!("at {}", self.place) };
        let head: Vec<&str> = [self.op.as_str(), &place].into_iter().filter(|part| !part.is_empty()).collect();
        if !head.is_empty() {
            write!(f, "{}: ", head.join(" "))?;
        }
        write!(f, "expected {}, found {}", self.expected, self.found)
    }
}

/// What one scan of a record has told.
struct Read {
    found: u16,
    carries: bool,
}

impl Rules {
    /// Reads, checks and compiles a pack in its JSON form.
    ///
    /// # Errors
    /// Every problem of the pack, each with its place.
    pub fn load(pack: &[u8]) -> Result<Rules, Vec<Problem>> {
        let checked = check::check(pack)?;
        let crowded = shape::crowded(&checked);
        let plan = plan::compile(&checked, &crowded)
            .map_err(|message| vec![Problem { pointer: "/step".to_owned(), message }])?;
        let versions = checked.versions.iter().map(|version| VersionInfo {
            id: version.id.clone(),
            reads: version.reads.clone(),
            digest: version.digest(),
        });
        let manifest = Manifest {
            name: checked.name.clone(),
            revision: checked.revision,
            versions: versions.collect(),
            policy: checked.policy.clone(),
        };
        let (tape, detector) = (Tape::new(&plan), detector(&plan));
        Ok(Rules {
            manifest,
            plan,
            matrix: judge::matrix(&checked, &crowded),
            examples: checked.examples,
            tape,
            desk: Desk::default(),
            emission: Emission::default(),
            detector,
            found: 0,
            fused: Vec::new(),
            #[cfg(test)]
            emitted: 0,
        })
    }

    /// What the pack is about.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Runs the pack's examples and the laws on them. Empty if all hold.
    pub fn test(&mut self) -> Vec<Failure> {
        trial::run(self)
    }

    /// Which version a record is of.
    ///
    /// # Errors
    /// The record is no JSON object within the limits, or not exactly one version recognises it.
    pub fn detect(&mut self, record: &[u8]) -> Result<Detection, Fault> {
        self.accept(record)?;
        let Read { found, carries } = self.recognise(record)?;
        Ok(Detection { version: found, carries })
    }

    /// Writes a record of version `from` as one of version `to`.
    ///
    /// # Errors
    /// As [`Rules::detect`]; the record is of another version than `from`; or an op refuses a value.
    pub fn translate(&mut self, record: &[u8], carry: &[u8], from: u16, to: u16) -> Result<Translation, Fault> {
        self.accept(record)?;
        if let Some(done) = self.at_once(record, carry, from, to)? {
            return Ok(done);
        }
        if from == to && self.leads(from, to) && self.recognise(record)?.found == from {
            return Ok(Translation { record: record.to_vec(), carry: carry.to_vec(), counts: Counts::default() });
        }
        self.expect(record, from, to)?;
        self.written(record, carry, from, to)
    }

    /// Detects a record's version and translates it.
    ///
    /// # Errors
    /// As [`Rules::translate`].
    pub fn normalize(&mut self, record: &[u8], carry: &[u8], to: u16) -> Result<Normalized, Fault> {
        self.accept(record)?;
        let guess = self.found;
        if let Some(done) = self.at_once(record, carry, guess, to)? {
            return Ok(Normalized { found: guess, changed: Some(done) });
        }
        let Read { found, .. } = self.recognise(record)?;
        self.way(found, to)?;
        self.found = found;
        if found == to {
            return Ok(Normalized { found, changed: None });
        }
        let done = if found == guess { None } else { self.at_once(record, carry, found, to)? };
        let changed = match done {
            Some(done) => done,
            None => {
                self.walk(record)?;
                self.written(record, carry, found, to)?
            }
        };
        Ok(Normalized { found, changed: Some(changed) })
    }

    /// How well a server of version `server` can serve a record of version `held`.
    pub fn judge(&self, held: u16, server: u16) -> Verdict {
        let count = self.manifest.versions.len();
        let known = usize::from(held) < count && usize::from(server) < count;
        let at = usize::from(held) * count + usize::from(server);
        let verdict = self.matrix.get(at).filter(|_| known).cloned();
        verdict.unwrap_or_else(|| Verdict { fidelity: Fidelity::None, reason: "no such version".to_owned() })
    }

    /// Every change that a translation makes.
    ///
    /// # Errors
    /// As [`Rules::translate`].
    pub fn explain(&mut self, record: &[u8], carry: &[u8], from: u16, to: u16) -> Result<Vec<Change>, Fault> {
        self.accept(record)?;
        self.expect(record, from, to)?;
        let mut run = start(&self.plan, &mut self.tape, &mut self.desk, carry, from);
        run.trace = Some(Vec::new());
        run.steps(from, to).map_err(|fault| *fault)?;
        Ok(run.trace.take().unwrap_or_default())
    }

    /// Runs all ops one by one from now on.
    #[cfg(test)]
    pub(crate) fn unfuse(&mut self) {
        let count = self.manifest.versions.len();
        self.fused = (0..count * count).map(|_| Some(None)).collect();
        self.detector = None;
    }

    /// How many records fused plans have written.
    #[cfg(test)]
    pub(crate) fn emitted(&self) -> u32 {
        self.emitted
    }

    fn expect(&mut self, record: &[u8], from: u16, to: u16) -> Result<(), Fault> {
        let Read { found, .. } = self.walk(record)?;
        if found != from {
            let [expected, found] = [from, found].map(|version| self.plan.id(version));
            let (expected, found) = (format!("a record of version {expected}"), format!("one of version {found}"));
            return Err(Fault::new(FaultKind::WrongVersion, expected, found));
        }
        self.way(from, to)
    }

    fn way(&self, from: u16, to: u16) -> Result<(), Fault> {
        let count = self.manifest.versions.len();
        if usize::from(from.max(to)) >= count {
            return Err(Fault::new(FaultKind::NoWay, format!("a version below {count}"), from.max(to).to_string()));
        }
        match self.plan.barred(from, to) {
            None => Ok(()),
            Some(step) => {
                let expected = format!("a way from version {} to {}", self.plan.id(from), self.plan.id(to));
                let found = format!("{}, which goes the other way only", step.label);
                Err(Fault::new(FaultKind::NoWay, expected, found))
            }
        }
    }

    /// Whether the pack has a way from one version to another.
    pub(crate) fn leads(&self, from: u16, to: u16) -> bool {
        self.way(from, to).is_ok()
    }

    /// Finds the tokens of a record.
    fn accept(&mut self, record: &[u8]) -> Result<(), Fault> {
        let policy = &self.plan.policy;
        if record.len() > policy.max_bytes as usize {
            return Err(too_large(policy, record.len(), ""));
        }
        self.tape.load(&self.plan, record).map_err(|flaw| self.flawed(record, flaw))
    }

    /// Translates the record that was loaded last in one walk, if there is a plan for that and the record is one of
    /// those that it foresees. That it is of version `from`, and everything else, is checked on the way.
    fn at_once(&mut self, record: &[u8], carry: &[u8], from: u16, to: u16) -> Result<Option<Translation>, Fault> {
        if from == to || !carry.is_empty() {
            return Ok(None);
        }
        let Some(fused) = fused(&mut self.fused, &self.plan, from, to) else { return Ok(None) };
        let direction = if from < to { Direction::Up } else { Direction::Down };
        let done = emit(&self.plan, fused, direction, &self.tape, &mut self.emission, to);
        if done.is_some() && self.plan.policy.duplicate_keys == Duplicates::Everywhere {
            no_double_keys(record)?;
        }
        #[cfg(test)]
        (self.emitted += u32::from(done.is_some()));
        Ok(done)
    }

    /// Tells the version of the record that was loaded last.
    fn recognise(&mut self, record: &[u8]) -> Result<Read, Fault> {
        let detector = self.detector.as_ref().filter(|_| self.plan.policy.duplicate_keys != Duplicates::Everywhere);
        match detector.and_then(|detector| recognise(&self.plan, detector, &self.tape, &mut self.emission)) {
            Some((found, carries)) => Ok(Read { found, carries }),
            None => self.walk(record),
        }
    }

    /// Puts the record that was loaded last on the tape, and tells its version.
    fn walk(&mut self, record: &[u8]) -> Result<Read, Fault> {
        self.tape.walk(&self.plan, ROOT, record).map_err(|flaw| self.flawed(record, flaw))?;
        if self.plan.policy.duplicate_keys == Duplicates::Everywhere {
            no_double_keys(record)?;
        }
        let found = detect(&self.plan, &self.tape)?;
        let carries = self.plan.carry.is_some_and(|symbol| self.tape.child(DOCUMENT, symbol).is_some());
        Ok(Read { found, carries })
    }

    /// Translates the record that was read last. A carry that leads to a fault may not be this record's, and must not
    /// make it unreadable: it is given up, and its entries count as lost.
    fn written(&mut self, record: &[u8], carry: &[u8], from: u16, to: u16) -> Result<Translation, Fault> {
        let fault = match self.write(record, carry, from, to) {
            Err(fault) if !fault.kind.is_limit() => fault,
            outcome => return outcome,
        };
        match self.without_carry(record, carry, from)? {
            0 => Err(fault),
            entries => {
                let mut done = self.write(record, b"", from, to).map_err(|_| fault)?;
                done.counts.lost += entries;
                Ok(done)
            }
        }
    }

    /// Reads a record anew, takes an inline carry out, and counts what its carry holds.
    #[cold]
    fn without_carry(&mut self, record: &[u8], carry: &[u8], from: u16) -> Result<u32, Fault> {
        self.accept(record)?;
        self.walk(record)?;
        let inline = self.plan.carry.and_then(|symbol| self.tape.child(DOCUMENT, symbol));
        let text = inline.map_or(carry, |node| self.tape.text(self.tape.node(node).value));
        let (carry, lost) = Carry::read(text, self.plan.id(from), self.plan.policy.carry_max_bytes);
        inline.into_iter().for_each(|node| self.tape.detach(node));
        Ok(carry.len() + lost)
    }

    /// Translates the record that was read last.
    fn write(&mut self, record: &[u8], carry: &[u8], from: u16, to: u16) -> Result<Translation, Fault> {
        let mut run = start(&self.plan, &mut self.tape, &mut self.desk, carry, from);
        let mut out = Vec::with_capacity(record.len() + record.len() / 8 + 256);
        let mut carry = run.steps(from, to).map_err(|fault| *fault)?;
        let counts = run.counts;
        let deepest = run.deepest();
        self.recognised(to)?;
        if let Some(symbol) = self.plan.carry.filter(|_| !carry.is_empty()) {
            self.tape.append_text(&self.plan, DOCUMENT, symbol, &std::mem::take(&mut carry));
        }
        self.tape.write(&self.plan, &mut out);
        if out.len() > self.plan.policy.max_bytes as usize {
            return Err(too_large(&self.plan.policy, out.len(), "the translated record: "));
        }
        if deepest.max(self.plan.floor) + self.plan.growth > self.plan.policy.max_depth {
            // Rare: only a record near the limit can have outgrown it.
            self.tape.read(&self.plan, ROOT, &out).map_err(|flaw| self.flawed(&out, flaw))?;
        }
        Ok(Translation { record: out, carry, counts })
    }

    /// Faults unless the record on the tape, as the ops have left it, is recognised as `to` and nothing else.
    fn recognised(&self, to: u16) -> Result<(), Fault> {
        let (kind, found) = match detect(&self.plan, &self.tape) {
            Ok(found) if found == to => return Ok(()),
            Ok(found) => (FaultKind::WrongVersion, format!("one of version {}", self.plan.id(found))),
            Err(fault) => (fault.kind, fault.found),
        };
        Err(Fault::new(kind, format!("a translated record that version {} alone recognises", self.plan.id(to)), found))
    }

    #[cold]
    fn flawed(&self, record: &[u8], flaw: Flaw) -> Fault {
        let policy = &self.plan.policy;
        match flaw {
            Flaw::Syntax { at } => {
                let found = format!("something else at byte {at} of {}", record.len());
                Fault::new(FaultKind::NotJson, "JSON as in RFC 8259", found)
            }
            Flaw::Depth { at } => {
                let limit = format!("at most {} levels of nesting (policy.max_depth)", policy.max_depth);
                Fault::new(FaultKind::TooDeep, limit, format!("one more at byte {at}"))
            }
            Flaw::Duplicate { node } => Fault {
                place: run::pointer(&self.plan, &self.tape, node, &[]),
                ..Fault::new(FaultKind::DuplicateKey, "each key that a rule touches once", "it twice in one object")
            },
            Flaw::Opaque => Fault::new(FaultKind::Opaque, "a JSON object", "something else"),
        }
    }
}

/// The fused plan of a pair, if it can have one.
fn fused<'f>(all: &'f mut Vec<Option<Option<Box<Fused>>>>, plan: &Plan, from: u16, to: u16) -> Option<&'f Fused> {
    let count = plan.versions.len();
    if usize::from(from.max(to)) >= count || plan.barred(from, to).is_some() {
        return None;
    }
    all.resize_with(count * count, || None);
    let known = all.get_mut(usize::from(from) * count + usize::from(to))?;
    known.get_or_insert_with(|| fuse(plan, from, to).map(Box::new)).as_deref()
}

/// Prepares a translation of the record on the tape: its carry is read and, if inline, taken out.
fn start<'r>(plan: &'r Plan, tape: &'r mut Tape, desk: &'r mut Desk, carry: &[u8], from: u16) -> Run<'r> {
    let id = plan.id(from);
    let limit = plan.policy.carry_max_bytes;
    let inline = plan.carry.and_then(|symbol| tape.child(DOCUMENT, symbol));
    let (carry, lost) = match inline {
        Some(node) => {
            let read = Carry::read(tape.text(tape.node(node).value), id, limit);
            tape.detach(node);
            read
        }
        None => Carry::read(carry, id, limit),
    };
    Run::new(plan, tape, desk, carry, lost)
}

#[cold]
fn too_large(policy: &Policy, length: usize, what: &str) -> Fault {
    let expected = format!("{what}at most {} bytes (policy.max_bytes)", policy.max_bytes);
    Fault::new(FaultKind::TooLarge, expected, format!("{length} bytes"))
}

/// Refuses double keys in any object of a valid value.
fn no_double_keys(text: &[u8]) -> Result<(), Fault> {
    let Some(path) = double_key(text.trim_ascii()) else { return Ok(()) };
    let place = path.iter().rev().fold(String::new(), |place, segment| place + "/" + segment);
    let fault = Fault::new(FaultKind::DuplicateKey, "each key once (policy.duplicate_keys)", "it twice in one object");
    Err(Fault { place, ..fault })
}

/// The path of a double key, innermost segment first.
fn double_key(text: &[u8]) -> Option<Vec<String>> {
    let segment = |key: &[u8]| crate::path::escaped(&String::from_utf8_lossy(key));
    let below = |name: &dyn Fn() -> String, value: &[u8]| {
        let mut path = double_key(value)?;
        path.push(name());
        Some(path)
    };
    match json::Kind::of(text) {
        json::Kind::Object => {
            let members = json::members(text);
            let mut keys: Vec<&[u8]> = members.iter().map(|(key, _)| &**key).collect();
            keys.sort_unstable();
            if let Some([double, _]) = keys.windows(2).find(|pair| matches!(pair, [a, b] if a == b)) {
                return Some(vec![segment(double)]);
            }
            members.iter().find_map(|(key, value)| below(&|| segment(key), value))
        }
        json::Kind::Array => {
            json::elements(text).iter().enumerate().find_map(|(index, value)| below(&|| index.to_string(), value))
        }
        json::Kind::Null | json::Kind::Bool | json::Kind::Number | json::Kind::String => None,
    }
}
