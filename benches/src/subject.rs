//! What is measured, as closures that do an operation once and assert its result: the table and criterion share them.

use std::sync::Arc;

use unskew::{Ask, Decision, Fleet, Generation, Held, LoadError, RoutePolicy, Runtime, Server, Translation, Version};
use unskew_guest::Rules;

use crate::hand;
use crate::record::{self, EMPTY, Record};

/// Versions of the incident's pack by index.
const ONE: Version = Version(0);
const TWO: Version = Version(1);

/// A closure of one variant, and the variant's name.
pub type Variant = (&'static str, Box<dyn FnMut()>);

/// The incident's pack in the sandbox, as a gateway has it: CPU limit on, default limits.
///
/// # Errors
/// If the pack or the guest can't be loaded.
pub fn runtime() -> Result<Runtime, LoadError> {
    Runtime::new(&record::pack())
}

/// `translate/<size>`: version 1 to 2. In the sandbox through the library, the same core natively, the same edit by
/// hand on `serde_json::Value`, and a copy by way of `sonic_rs::Value` as a floor
/// (feature `sonic`).
///
/// # Panics
/// If the pack or the guest can't be loaded, or the peers' results are not the same JSON.
pub fn translate(runtime: &Runtime, record: Record) -> Vec<Variant> {
    let text = record.text;
    let generation = active(runtime);
    let expected = generation.translate(text, b"", ONE, TWO).expect("the record is of version 1");
    let by_hand = hand::upgrade(text).expect("the record is an object");
    assert_eq!(tree(&by_hand), tree(&expected.record), "the edit by hand writes the same session");
    let mut rules = native();

    let wanted = expected.clone();
    let sandbox = move || {
        let answer = generation.translate(text, b"", ONE, TWO).expect("the record is of version 1");
        assert!(answer == wanted);
    };
    let native = move || {
        let answer = rules.translate(text, b"", ONE.0, TWO.0).expect("the record is of version 1");
        assert!(same(&answer, &expected));
    };
    let value = move || assert!(hand::upgrade(text).is_ok_and(|answer| answer == by_hand));
    let mut variants: Vec<Variant> =
        vec![("sandbox", Box::new(sandbox)), ("native", Box::new(native)), ("value", Box::new(value))];
    variants.extend(floor(text));
    variants
}

#[cfg(feature = "sonic")]
fn floor(text: &'static [u8]) -> Option<Variant> {
    let copy = hand::sonic_copy(text).expect("the record is JSON");
    assert_eq!(tree(&copy), tree(text), "a copy is the same session");
    Some(("sonic-copy", Box::new(move || assert!(hand::sonic_copy(text).is_ok_and(|answer| answer == copy)))))
}

#[cfg(not(feature = "sonic"))]
fn floor(_: &'static [u8]) -> Option<Variant> {
    None
}

/// `boundary/detect-2b`: the way into the sandbox and back with nothing to do there, beside the nothing natively.
///
/// # Panics
/// As [`translate`].
pub fn detect_empty(runtime: &Runtime) -> Vec<Variant> {
    let generation = active(runtime);
    let mut rules = native();
    let sandbox = move || assert!(generation.detect(EMPTY.text).is_ok_and(|found| found.version == ONE));
    let native = move || assert!(rules.detect(EMPTY.text).is_ok_and(|found| found.version == ONE.0));
    vec![("sandbox", Box::new(sandbox)), ("native", Box::new(native))]
}

/// `boundary/copy-1k`: one string of 1 KiB in and out; `translate` to the version that it has.
///
/// # Panics
/// As [`translate`].
pub fn copy_string(runtime: &Runtime) -> Vec<Variant> {
    let generation = active(runtime);
    let mut rules = native();
    let text = record::one_string();
    let same = text.clone();
    let sandbox = move || {
        let answer = generation.translate(&text, b"", ONE, ONE);
        assert!(answer.is_ok_and(|answer| answer.record == text));
    };
    let native = move || {
        let answer = rules.translate(&same, b"", ONE.0, ONE.0);
        assert!(answer.is_ok_and(|answer| answer.record == same));
    };
    vec![("sandbox", Box::new(sandbox)), ("native", Box::new(native))]
}

/// `normalize/already-right-<size>`: a record that has the wanted version is answered without a copy.
///
/// # Panics
/// As [`translate`].
pub fn already_right(runtime: &Runtime, record: Record) -> Vec<Variant> {
    let generation = active(runtime);
    let mut rules = native();
    let text = record.text;
    let sandbox = move || assert!(generation.normalize(text, b"", ONE).is_ok_and(|answer| answer.changed.is_none()));
    let native = move || assert!(rules.normalize(text, b"", ONE.0).is_ok_and(|answer| answer.changed.is_none()));
    vec![("sandbox", Box::new(sandbox)), ("native", Box::new(native))]
}

/// `route/<servers>`: a join whose record is of version 1, among servers of both versions; a session after the other.
///
/// # Panics
/// As [`translate`].
pub fn route(runtime: &Runtime, servers: usize) -> Box<dyn FnMut()> {
    let generation = active(runtime);
    let version = |at: usize| if at.is_multiple_of(2) { "1" } else { "2" };
    let server = |at| Server::new(format!("server-{at}"), format!("10.0.0.1:{}", 1000 + at), version(at));
    let fleet = Fleet::new((0..servers).map(server).collect(), RoutePolicy::default()).expect("names differ");
    fleet.prepare(Some(generation.matrix()));
    let held = Held { version: ONE, carry: false, writer: None };
    let sessions: Vec<String> = (0..1024).map(|at| format!("2_MX40NTgyODA2Mn5-{at:x}")).collect();
    let decide = move |id: &String| generation.route(&Ask::join(id.as_bytes(), held), &fleet);
    let expected: Vec<Decision> = sessions.iter().map(&decide).collect();
    assert!(expected.iter().all(|decision| matches!(decision, Decision::Route { .. })));
    let mut turn = 0;
    Box::new(move || {
        turn = (turn + 1) % sessions.len();
        assert!(decide(&sessions[turn]) == expected[turn]);
    })
}

/// `swap/push-to-answer`: from a pack's text as it arrives to the first record that it translates.
///
/// # Panics
/// If a revision can't be swapped in, or another one answers.
pub fn swap() -> Box<dyn FnMut()> {
    let runtime = runtime().expect("the incident's pack loads");
    let text = record::RECORDS[0].text;
    let mut revision = 10_000;
    Box::new(move || {
        revision += 1;
        let pushed = record::revised_text(revision);
        let pack = unskew::Pack::from_toml("opentok.toml", &pushed).expect("the pack is TOML");
        runtime.swap(&pack).expect("the revision is newer");
        let answer = runtime.translate(text, b"", "1", "2").expect("the record is of version 1");
        let bitrate = format!("\"bitrate\":{revision}");
        assert!(answer.record.windows(bitrate.len()).any(|window| window == bitrate.as_bytes()));
    })
}

/// Bytes of linear memory of a warm instance that has translated the largest record.
///
/// # Panics
/// As [`translate`].
pub fn warm_memory() -> usize {
    let runtime = runtime().expect("the incident's pack loads");
    let generation = active(&runtime);
    let answer = generation.translate(record::LARGEST.text, b"", ONE, TWO).expect("the record is of version 1");
    assert!(answer.record.len() > record::LARGEST.text.len());
    generation.instance_memory().expect("an instance is free")
}

/// The incident's pack in the native core.
///
/// # Panics
/// If the pack has problems.
pub fn native() -> Rules {
    Rules::load(record::pack().json()).expect("the incident's pack loads")
}

fn active(runtime: &Runtime) -> Arc<Generation> {
    runtime.generation().expect("a runtime that was made from a pack has it")
}

fn same(native: &unskew_guest::Translation, sandbox: &Translation) -> bool {
    native.record == sandbox.record && native.carry == sandbox.carry
}

fn tree(text: &[u8]) -> serde_json::Value {
    serde_json::from_slice(text).expect("a result is JSON")
}
