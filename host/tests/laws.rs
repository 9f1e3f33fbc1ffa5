//! The laws of translation on all packs of `testdata/packs` and of the suite, natively and in the sandbox, as
//! `unskew check` holds them.
//!
//! `UNSKEW_LAWS` sets the number of records for each ordered pair of versions; the default, 1,000, suits CI, and 10,000
//! are for a long run.
#![allow(clippy::unwrap_used, reason = "tests")]

mod subject;

use std::path::Path;
use std::sync::Arc;

use subject::portable::portable;
use subject::{Native, component};
use unskew::laws::{Cell, Counting, Findings, Laws, Refused, Situation, Subject};
use unskew::{Fidelity, Generation, Pack, Translation, Version};

#[test]
fn laws_hold_natively() {
    let mut rare = Vec::new();
    let counted = packs().into_iter().map(|pack| (pack, Counting::On));
    // What an op of the suite can meet is in its cases: some are there to leave no choice.
    for ((name, pack), counting) in counted.chain(suite().into_iter().map(|pack| (pack, Counting::Off))) {
        let native = Native::load(&pack);
        let findings = Laws::new(&native, pack.json()).cases(cases()).counting(counting).run(&mut |_| ());
        hold(&name, &native, cases(), &findings);
        if counting == Counting::On {
            let cells = findings.coverage.rare(findings.enough).into_iter().filter(|cell| !unseen(cell));
            rare.extend(cells.map(|cell| format!("{name}: {cell} of {}", findings.enough)));
        }
    }
    assert!(rare.is_empty(), "met by too few records:\n{}", rare.join("\n"));
}

#[test]
fn laws_hold_in_the_sandbox() {
    laws_hold(component, cases());
}

#[test]
fn laws_hold_in_the_sandbox_without_simd() {
    laws_hold(portable, cases() / 5); // each byte of a lane takes its time there
}

fn laws_hold(load: fn(&Pack) -> Arc<Generation>, cases: u32) {
    for (name, pack) in packs().into_iter().chain(suite()) {
        let generation = load(&pack);
        let laws = Laws::new(&*generation, pack.json()).cases(cases).counting(Counting::Off);
        hold(&name, &*generation, cases, &laws.run(&mut |_| ()));
    }
}

#[test]
fn the_sandbox_answers_as_the_native_core_does() {
    for (name, pack) in packs().into_iter().chain(suite()) {
        let (native, component) = (Native::load(&pack), component(&pack));
        let mut compared = 0;
        Laws::new(&native, pack.json()).cases(cases()).seed(2).records(|record, _| {
            let found = native.detect(record);
            assert_eq!(kind(&found), kind(&Subject::detect(&*component, record)), "{name}");
            let Ok(from) = found else { return };
            for to in (0..native.versions().len() as u16).map(Version) {
                let there = both(&native, &*component, (record, b""), (from, to));
                if let Ok(there) = there {
                    both(&native, &*component, (&there.record, &there.carry), (to, from)).ok();
                    compared += 1;
                }
            }
        });
        assert!(compared > cases() / 2, "{name}: only {compared} translations");
    }
}

/// What both answer, which must be the same but for the words of a fault.
fn both(
    native: &dyn Subject,
    component: &dyn Subject,
    (record, carry): (&[u8], &[u8]),
    (from, to): (Version, Version),
) -> Result<Translation, Refused> {
    let [one, other] = [native, component].map(|subject| subject.translate(record, carry, from, to));
    assert_eq!(kind(&one), kind(&other), "{}", String::from_utf8_lossy(record));
    one
}

fn kind<T: Clone>(outcome: &Result<T, Refused>) -> Result<T, String> {
    outcome.clone().map_err(|refused| match refused {
        Refused::Fault { kind, .. } => kind,
        Refused::Failed(message) => panic!("{message}"),
    })
}

fn hold(name: &str, subject: &dyn Subject, cases: u32, findings: &Findings) {
    assert!(findings.hold(), "{name}: {:#?}", findings.broken);
    let ordinary: Vec<_> = findings.overlaps.iter().filter(|found| found.grown < unskew::laws::Grown::Odd).collect();
    assert!(ordinary.is_empty(), "{name}: {ordinary:#?}");
    for pair in &findings.pairs {
        let version = |id: &str| Version(subject.versions().iter().position(|other| other == id).unwrap() as u16);
        let none = subject.judge(version(&pair.from), version(&pair.to)).fidelity == Fidelity::None;
        assert!(none || pair.translated > u64::from(cases) / 20, "{name}: {pair:?}");
    }
}

/// An entry that an op keeps without changing anything is none of `explain`'s changes: whether one is, no record tells.
fn unseen(cell: &Cell) -> bool {
    (cell.situation, cell.hits) == (Situation::Carried, 0)
}

fn cases() -> u32 {
    std::env::var("UNSKEW_LAWS").ok().and_then(|number| number.parse().ok()).unwrap_or(1000)
}

fn packs() -> Vec<(String, Pack)> {
    let packs: Vec<_> = texts("packs").into_iter().map(|(name, text)| loaded(name, &text)).collect();
    assert!(packs.len() >= 8);
    packs
}

/// The packs of the suite that have no mistakes.
fn suite() -> Vec<(String, Pack)> {
    let files = texts("suite").into_iter().map(|(name, text)| (name, toml::from_str::<toml::Table>(&text).unwrap()));
    let sound = files.filter(|(_, file)| !file.contains_key("problems"));
    let packs: Vec<_> = sound.map(|(name, file)| loaded(name, file["pack"].as_str().unwrap())).collect();
    assert!(packs.len() >= 30);
    packs
}

fn loaded(name: String, text: &str) -> (String, Pack) {
    let pack = Pack::from_toml(&name, text).unwrap_or_else(|error| panic!("{error}"));
    (name, pack)
}

fn texts(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata")).join(folder);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let name = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
    paths.into_iter().map(|path| (name(&path), std::fs::read_to_string(&path).unwrap())).collect()
}
