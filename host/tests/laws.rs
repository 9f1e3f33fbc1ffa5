//! The laws of translation on all packs of `testdata/packs`, natively and in the sandbox, as `unskew check` holds them.
//!
//! `UNSKEW_LAWS` sets the number of records for each ordered pair of versions; the default, 1,000, suits CI, and 10,000
//! are for a long run.
#![allow(clippy::unwrap_used, reason = "tests")]

mod subject;

use std::path::Path;

use subject::{Native, component};
use unskew::laws::{Cell, Counting, Findings, Law, Laws, Refused, Situation, Subject};
use unskew::{Pack, Translation, Version};

/// From this number of records on, known faults are met.
const LONG: u32 = 10_000;

/// Laws that are known not to hold on a pack yet: the fix takes its line away.
const KNOWN: [(&str, Law); 3] = [
    // A server takes all members of a `spread`, `table` or `overwrite` away and puts in what only the other version has:
    // what the op remembers doesn't fit any more, and what was put in is lost on the way home and back.
    ("grants", Law::Edit),
    ("issues", Law::Edit),
    ("tower", Law::Edit),
];

#[test]
fn laws_hold_natively() {
    let mut rare = Vec::new();
    for (name, pack) in packs() {
        let native = Native::load(&pack);
        let findings = Laws::new(&native, pack.json()).cases(cases()).run(&mut |_| ());
        hold(&name, &findings);
        for (_, law) in KNOWN.iter().filter(|(of, _)| *of == name) {
            let seen = cases() < LONG || findings.broken.iter().any(|broken| broken.law == *law);
            assert!(seen, "{name}: {law} holds: take it off the list");
        }
        let cells = findings.coverage.rare(findings.enough).into_iter().filter(|cell| !unseen(cell));
        rare.extend(cells.map(|cell| format!("{name}: {cell} of {}", findings.enough)));
    }
    assert!(rare.is_empty(), "met by too few records:\n{}", rare.join("\n"));
}

#[test]
fn laws_hold_in_the_sandbox() {
    for (name, pack) in packs() {
        let generation = component(&pack);
        let laws = Laws::new(&*generation, pack.json()).cases(cases()).counting(Counting::Off);
        hold(&name, &laws.run(&mut |_| ()));
    }
}

#[test]
fn the_sandbox_answers_as_the_native_core_does() {
    for (name, pack) in packs() {
        let (native, component) = (Native::load(&pack), component(&pack));
        let mut compared = 0;
        Laws::new(&native, pack.json()).cases(cases()).seed(2).records(|record, _| {
            let found = native.detect(record);
            assert_eq!(kind(&found), kind(&Subject::detect(&*component, record)), "{name}");
            let Ok(from) = found else { return };
            for to in (0..native.versions().len() as u16).map(Version) {
                let there = both(&native, &*component, (record, b""), (from, to));
                if let Ok(there) = there {
                    both(&native, &*component, (&there.record, &there.carry), (to, from)).unwrap();
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

fn hold(name: &str, findings: &Findings) {
    let broken = findings.broken.iter().filter(|broken| !KNOWN.contains(&(name, broken.law)));
    let broken: Vec<_> = broken.collect();
    assert!(broken.is_empty(), "{name}: {broken:#?}");
    let ordinary: Vec<_> = findings.overlaps.iter().filter(|found| found.grown < unskew::laws::Grown::Odd).collect();
    assert!(ordinary.is_empty(), "{name}: {ordinary:#?}");
    for pair in &findings.pairs {
        let enough = pair.translated > u64::from(cases()) / 20;
        assert!(enough, "{name}: {pair:?}");
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
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/packs");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    assert!(paths.len() >= 4);
    let name = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
    paths.into_iter().map(|path| (name(&path), Pack::from_file(&path).unwrap())).collect()
}
