//! What is measured, as closures that do an operation once and assert its result.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use unskew::{
    Ask, Decision, Fleet, Generation, Guest, Held, LoadError, RoutePolicy, Runtime, Sampling, Server, Translation,
};
use unskew_guest::Rules;

use crate::contest::{Contest, timed};
use crate::hand::{self, Shape};
use crate::packs::{self, Trial};
use crate::peers::Peers;
use crate::record::{self, Record, tree};
use crate::structs;

/// The guest that edits trees by hand: `tree-guest/`.
pub const TREE_GUEST: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tree.wasm"));

/// Whether languages take part: they take long to build, and to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    /// Libraries alone, though the program of the peers may have been built with more.
    Libraries,
    /// Languages too.
    Languages,
}

const LANGUAGES: [&str; 3] = ["jaq", "vrl", "jsonata"];

/// The three packs in the sandbox, as a gateway has them: CPU limit on, default limits. Beside each the guest that edits
/// trees, in the same sandbox.
pub struct Sandboxes {
    standard: [Arc<Generation>; 3],
    tree: [Arc<Generation>; 3],
}

impl Sandboxes {
    /// Loads all of them.
    ///
    /// # Errors
    /// If a pack or a guest can't be loaded.
    pub fn new() -> Result<Sandboxes> {
        let load = |shape: Shape, guest: Option<Guest>| -> Result<Arc<Generation>> {
            let builder = Runtime::builder().pack(&record::pack(shape));
            let runtime = guest.into_iter().fold(builder, unskew::RuntimeBuilder::guest).build()?;
            runtime.generation().context("a runtime that was made from a pack has it")
        };
        let all = |guest: Option<Guest>| -> Result<[Arc<Generation>; 3]> {
            let [session, cookie, room] = Shape::ALL.map(|shape| load(shape, guest.clone()));
            Ok([session?, cookie?, room?])
        };
        Ok(Sandboxes { standard: all(None)?, tree: all(Some(Guest::new("tree", TREE_GUEST)))? })
    }

    /// The pack of a shape in the standard guest.
    pub fn standard(&self, shape: Shape) -> Arc<Generation> {
        Arc::clone(&self.standard[shape as usize])
    }

    fn tree(&self, shape: Shape) -> Arc<Generation> {
        Arc::clone(&self.tree[shape as usize])
    }
}

/// `<record>/translate`: the same edit by everybody, and the limits below it.
///
/// # Errors
/// If somebody's result isn't the same JSON.
pub fn translate(sandboxes: &Sandboxes, record: Record, peers: &[Peers], with: With) -> Result<Contest<'static>> {
    let Record { shape, text, .. } = record;
    let (from, to) = record::versions(shape);
    let generation = sandboxes.standard(shape);
    let expected = generation.translate(text, b"", from, to)?;
    let same = |name: &str, result: &[u8]| {
        ensure!(tree(result) == tree(&expected.record), "{}: {name} writes something else", record.name());
        Ok(())
    };

    let wanted = expected.clone();
    let sandbox = timed(move || {
        assert!(generation.translate(text, b"", from, to).is_ok_and(|answer| answer == wanted));
    });
    let (mut rules, wanted) = (native(shape), expected.clone());
    let native = timed(move || {
        assert!(rules.translate(text, b"", from.0, to.0).is_ok_and(|answer| equal(&answer, &wanted)));
    });
    let by_hand = hand::edit(shape, text)?;
    same("value", &by_hand)?;
    let (generation, wanted) = (sandboxes.tree(shape), by_hand.clone());
    let in_sandbox = timed(move || {
        assert!(generation.translate(text, b"", from, to).is_ok_and(|answer| answer.record == wanted));
    });
    let value = timed(move || assert!(hand::edit(shape, text).is_ok_and(|answer| answer == by_hand)));
    let typed = structs::edit(shape, text)?;
    same("structs", &typed)?;
    let typed = timed(move || assert!(structs::edit(shape, text).is_ok_and(|answer| answer == typed)));
    let copy = timed(move || assert!(std::hint::black_box(text.to_vec()) == text));

    let mut contest = Contest::new(format!("{}/translate", record.name()))
        .variant("sandbox", sandbox)
        .variant("native", native)
        .variant("value", value)
        .variant("structs", typed)
        .variant("value-in-sandbox", in_sandbox)
        .variant("memcpy", copy);
    for peers in peers {
        for name in peers.names().iter().filter(|name| with == With::Languages || !LANGUAGES.contains(&name.as_str())) {
            let (result, run) = peers.load(name, shape.name(), text)?;
            match name.as_str() {
                "skip" => ensure!(result == text.trim_ascii().len().to_string().as_bytes(), "skip reads all of it"),
                "sonic-copy" => ensure!(tree(&result) == tree(text), "a copy is the same record"),
                "jsonata" => ensure!(alike(&tree(&result), &tree(&expected.record)), "jsonata writes something else"),
                name => same(name, &result)?,
            }
            contest = contest.variant(name, run);
        }
    }
    Ok(contest)
}

/// `boundary/detect-2b`: the way into the sandbox and back with nothing to do there, beside the nothing natively.
pub fn detect_empty(sandboxes: &Sandboxes) -> Contest<'static> {
    let (generation, mut rules) = (sandboxes.standard(Shape::Session), native(Shape::Session));
    let (from, _) = record::versions(Shape::Session);
    Contest::new("2b/detect")
        .variant(
            "sandbox",
            timed(move || assert!(generation.detect(record::EMPTY).is_ok_and(|found| found.version == from))),
        )
        .variant(
            "native",
            timed(move || assert!(rules.detect(record::EMPTY).is_ok_and(|found| found.version == from.0))),
        )
}

/// `string-1k/copy`: one string of 1 KiB in and out; `translate` to the version that it has.
pub fn copy_string(sandboxes: &Sandboxes) -> Contest<'static> {
    let (generation, mut rules) = (sandboxes.standard(Shape::Session), native(Shape::Session));
    let (same, _) = record::versions(Shape::Session);
    let text = record::one_string();
    let also = text.clone();
    let sandbox = move || {
        let answer = generation.translate(&text, b"", same, same);
        assert!(answer.is_ok_and(|answer| answer.record == text));
    };
    let native = move || {
        let answer = rules.translate(&also, b"", same.0, same.0);
        assert!(answer.is_ok_and(|answer| answer.record == also));
    };
    Contest::new("string-1k/copy").variant("sandbox", timed(sandbox)).variant("native", timed(native))
}

/// `<record>/already-right`: a record that has the wanted version is answered without a copy.
pub fn already_right(sandboxes: &Sandboxes, record: Record) -> Contest<'static> {
    let (generation, mut rules) = (sandboxes.standard(record.shape), native(record.shape));
    let (text, (from, _)) = (record.text, record::versions(record.shape));
    let sandbox = move || assert!(generation.normalize(text, b"", from).is_ok_and(|answer| answer.changed.is_none()));
    let native = move || assert!(rules.normalize(text, b"", from.0).is_ok_and(|answer| answer.changed.is_none()));
    Contest::new(format!("{}/already-right", record.name()))
        .variant("sandbox", timed(sandbox))
        .variant("native", timed(native))
}

/// A translation between two versions of a trial's pack, there and back: with what was carried, if anything was.
pub struct Way {
    generation: Arc<Generation>,
    record: Vec<u8>,
    there: Translation,
    last: unskew::Version,
}

impl Way {
    /// From the first version of the pack to its last.
    ///
    /// # Errors
    /// If the pack has problems, or the way back doesn't restore the record.
    pub fn new(trial: &Trial) -> Result<Way> {
        let runtime = Runtime::new(&trial.pack)?;
        let generation = runtime.generation().context("a runtime that was made from a pack has it")?;
        let last = unskew::Version(u16::try_from(generation.manifest().versions.len() - 1)?);
        let record = trial.record.clone();
        let there = generation.translate(&record, b"", unskew::Version(0), last)?;
        let back = generation.translate(&there.record, &there.carry, last, unskew::Version(0))?;
        ensure!(tree(&back.record) == tree(&record), "there and back is the same record");
        Ok(Way { generation, record, there, last })
    }

    /// The record.
    pub fn record(&self) -> &[u8] {
        &self.record
    }

    /// The carry that the way there leaves.
    pub fn carry(&self) -> &[u8] {
        &self.there.carry
    }

    /// The way there.
    pub fn there(&self) -> impl FnMut() + Send + 'static {
        let Way { generation, record, there, last } = self;
        let (generation, record, wanted, last) = (generation.clone(), record.clone(), there.clone(), *last);
        move || {
            let answer = generation.translate(&record, b"", unskew::Version(0), last);
            assert!(answer.is_ok_and(|answer| answer == wanted));
        }
    }

    /// The way back, with what was carried.
    ///
    /// # Panics
    /// If it fails, which it didn't when it was tried.
    pub fn back(&self) -> impl FnMut() + Send + 'static {
        let Way { generation, there, last, .. } = self;
        let (generation, there, last) = (generation.clone(), there.clone(), *last);
        let translate = move || generation.translate(&there.record, &there.carry, last, unskew::Version(0));
        let wanted = translate().expect("it was tried before");
        move || assert!(translate().is_ok_and(|answer| answer == wanted))
    }
}

/// A fleet of so many servers of both versions of the incident's pack, and the pack's matrix.
pub struct Routing {
    generation: Arc<Generation>,
    fleet: Fleet,
    sessions: Vec<String>,
    expected: Vec<Decision>,
}

impl Routing {
    /// With its tables prepared.
    ///
    /// # Panics
    /// If a session has nowhere to go.
    pub fn new(sandboxes: &Sandboxes, servers: usize) -> Routing {
        let version = |at: usize| if at.is_multiple_of(2) { "1" } else { "2" };
        let server = |at| Server::new(format!("server-{at}"), format!("10.0.0.1:{}", 1000 + at), version(at));
        let fleet = Fleet::new((0..servers).map(server).collect(), RoutePolicy::default()).expect("names differ");
        let generation = sandboxes.standard(Shape::Session);
        fleet.prepare(Some(generation.matrix()));
        let sessions: Vec<String> = (0..1024).map(|at| format!("2_MX40NTgyODA2Mn5-{at:x}")).collect();
        let mut routing = Routing { generation, fleet, sessions, expected: Vec::new() };
        routing.expected = (0..routing.sessions.len()).map(|at| routing.decide(at)).collect();
        assert!(routing.expected.iter().all(|decision| matches!(decision, Decision::Route { .. })));
        routing
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// A join of this session, whose record is of version 1.
    pub fn decide(&self, session: usize) -> Decision {
        let (version, _) = record::versions(Shape::Session);
        let held = Held { version, carry: false, writer: None };
        self.generation.route(&Ask::join(self.sessions[session].as_bytes(), held), &self.fleet)
    }

    /// One session after the other: `fleet-<servers>/route`.
    pub fn contest(self, name: &str) -> Contest<'static> {
        let mut turn = 0;
        let decide = move || {
            turn = (turn + 1) % self.sessions.len();
            assert!(self.decide(turn) == self.expected[turn]);
        };
        Contest::new(format!("{name}/route")).variant("decide", timed(decide))
    }

    /// The same fleet with the first server gone ill: what is built aside, before the snapshot is published.
    ///
    /// # Panics
    /// Never: names differ as they did.
    pub fn rebuilt(&self) -> Fleet {
        let next = self.fleet.with_health(|server| server > 0);
        next.prepare(Some(self.generation.matrix()));
        next
    }

    /// The fleet.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Publishes another snapshot of the fleet.
    pub fn publish(&mut self, fleet: Fleet) {
        self.fleet = fleet;
    }
}

/// `pack-50/push-<samples>-sampled`: from a pack's text as it arrives to the first record that it translates, with its
/// twenty examples, and so many records that went by lately, on which it is tried. The guest is compiled.
///
/// # Errors
/// If the pack can't be loaded.
pub fn push(samples: usize) -> Result<Contest<'static>> {
    let Trial { pack, record } = packs::fifty(1);
    let sampling = Sampling { records: samples, one_of: 1, ..Sampling::default() };
    let runtime = Runtime::builder().sampling(sampling).pack(&pack).build()?;
    for n in 0..samples {
        let text = String::from_utf8(record.clone())?.replace("token", &format!("token {n}"));
        runtime.sample(&text.into());
    }
    let text = String::from_utf8(pack.json().to_vec())?;
    let mut revision = 10_000;
    let push = move || {
        revision += 1;
        let pushed = text.replacen("\"revision\":1", &format!("\"revision\":{revision}"), 1);
        let pack = unskew::Pack::from_json("fifty.json", &pushed).expect("the pack is JSON");
        let generation = runtime.swap(&pack).expect("the revision is newer");
        assert_eq!(generation.manifest().revision, revision);
        let answer = runtime.translate(&record, b"", "0", "5").expect("the record is of version 0");
        assert!(answer.record.starts_with(br#"{"v":"5","#) && answer.counts.carried > 0);
    };
    Ok(Contest::new(format!("pack-50/push-{samples}-sampled")).variant("to-first-answer", timed(push)))
}

/// Bytes of linear memory of a warm instance that has translated a record of 64 KiB between all pairs of the versions of
/// a pack of fifty ops.
///
/// # Errors
/// If the pack can't be loaded, or a translation fails.
pub fn warm_memory() -> Result<usize> {
    let Trial { pack, record } = packs::fifty(1);
    let runtime = Runtime::new(&pack)?;
    let generation = runtime.generation().context("a runtime that was made from a pack has it")?;
    let filler = format!(",\"rest\":\"{}\"}}", "x".repeat((64 << 10) - record.len()));
    let mut text = record;
    text.pop();
    text.extend_from_slice(filler.as_bytes());
    let versions = generation.manifest().versions.len();
    for from in 0..versions {
        let at = |version: usize| u16::try_from(version).map(unskew::Version);
        let (start, mut written) = (at(from)?, Vec::new());
        for to in (0..versions).rev() {
            let answer = generation.translate(&text, b"", start, at(to)?)?;
            ensure!(answer.record.len() > 60 << 10, "a record of 64 KiB stays one");
            if to == from + 1 {
                written = answer.record;
            }
        }
        text = if from + 1 < versions { written } else { text };
    }
    Ok(generation.instance_memory()?)
}

/// The pack of a shape in the native core.
///
/// # Panics
/// If the pack has problems, which the tests of unskew would have told.
pub fn native(shape: Shape) -> Rules {
    Rules::load(record::pack(shape).json()).expect("the packs of testdata/ load")
}

/// The incident's pack in the sandbox.
///
/// # Errors
/// If it can't be loaded.
pub fn incident() -> Result<Runtime, LoadError> {
    Runtime::new(&record::pack(Shape::Session))
}

fn equal(native: &unskew_guest::Translation, sandbox: &Translation) -> bool {
    native.record == sandbox.record && native.carry == sandbox.carry
}

/// Whether two trees are the same to somebody whose numbers are all `f64`.
fn alike(one: &serde_json::Value, other: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Number, Object};
    match (one, other) {
        (Number(one), Number(other)) => one.as_f64() == other.as_f64(),
        (Array(one), Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        (Object(one), Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, one)| other.get(key).is_some_and(|other| alike(one, other)))
        }
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_doubles_forgive_a_last_digit() {
        let [exact, rounded] = ["9007199254740993", "9007199254740992"].map(|text| tree(text.as_bytes()));
        assert!(exact != rounded && alike(&exact, &rounded));
        assert!(!alike(&tree(br#"{"a":1}"#), &tree(br#"{"a":1,"b":2}"#)));
        assert!(!alike(&tree(b"[1]"), &tree(b"[2]")));
    }
}
