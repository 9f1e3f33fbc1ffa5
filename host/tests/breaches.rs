//! Each law of translation is broken on purpose, and the breach is seen and shown by a small record.
#![allow(clippy::unwrap_used, reason = "tests")]

mod subject;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use subject::Native;
use unskew::laws::{Findings, Law, Laws, Refused, Subject};
use unskew::{CarryPlace, Change, Normalized, Pack, Translation, Verdict, Version};

/// A pack whose guest breaks one law.
struct Breach {
    honest: Native,
    law: Law,
    calls: AtomicU32,
    last: Mutex<Option<Translation>>,
}

/// More translations in a row than there are before the trips that show growth.
const MANY: u32 = 10;

impl Subject for Breach {
    fn versions(&self) -> Vec<String> {
        self.honest.versions()
    }

    fn carry(&self) -> CarryPlace {
        self.honest.carry()
    }

    fn detect(&self, record: &[u8]) -> Result<Version, Refused> {
        self.calls.store(0, Ordering::Relaxed);
        self.honest.detect(record)
    }

    fn translate(&self, record: &[u8], carry: &[u8], from: Version, to: Version) -> Result<Translation, Refused> {
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        let mut last = self.last.lock().unwrap();
        let unedited = last.clone().filter(|last| !carry.is_empty() && last.carry == carry);
        let record = match (self.law, &unedited) {
            (Law::Edit, Some(unedited)) => unedited.record.as_slice(),
            _ => record,
        };
        let mut done = self.honest.translate(record, carry, from, to)?;
        let grow = |done: &mut Translation| done.record.push(b' ');
        match self.law {
            Law::Identity if from == to => grow(&mut done),
            Law::Untouched if from != to => {
                done.record = String::from_utf8(done.record).unwrap().replace("\"x_", "\"y_").into_bytes();
            }
            Law::Return => done.carry.clear(),
            Law::Fixpoint if !carry.is_empty() => grow(&mut done),
            Law::Stable if calls > MANY => grow(&mut done),
            Law::Fusion if from.0.abs_diff(to.0) > 1 => grow(&mut done),
            Law::Detect if from < to => done.record = record.to_vec(),
            Law::TotalOrFault if from != to && record.len() % 2 == 0 => return Err(Refused::Failed("trap".into())),
            Law::Pure if calls % 2 == 1 => grow(&mut done),
            Law::DeclaredLoss => done.counts.lost = u32::from(done.counts.carried > 0),
            _ => {}
        }
        if self.law == Law::Edit && carry.is_empty() {
            *last = Some(done.clone());
        }
        Ok(done)
    }

    fn normalize(&self, record: &[u8], carry: &[u8], to: Version) -> Result<Normalized, Refused> {
        let found = self.honest.detect(record)?;
        let calls = self.calls.load(Ordering::Relaxed);
        let changed = self.translate(record, carry, found, to)?;
        self.calls.store(calls, Ordering::Relaxed);
        Ok(Normalized { found, changed: Some(changed) })
    }

    fn explain(&self, record: &[u8], carry: &[u8], from: Version, to: Version) -> Result<Vec<Change>, Refused> {
        self.honest.explain(record, carry, from, to)
    }

    fn judge(&self, held: Version, server: Version) -> Verdict {
        self.honest.judge(held, server)
    }
}

/// A line of three versions in which something is renamed, something scaled, and something dropped.
const PACK: &str = r#"
name = "line"
revision = 1
version = [
  { id = "1", marker = { path = "/v", value = 1 } },
  { id = "2", marker = { path = "/v", value = 2 } },
  { id = "3", marker = { path = "/v", value = 3 } },
]
step = [
  { from = "1", to = "2", ops = [{ rename = "/room", to = "name" }, { remove = "/token" }] },
  { from = "2", to = "3", ops = [{ time = "/opened", lower = "unix-ms", upper = "unix-s" }] },
]
[[example]]
lower = '{"v":1,"room":"r","token":"t","opened":1719400000123,"tags":[{"k":1},{"k":2}]}'
upper = '{"v":3,"name":"r","opened":1719400000,"tags":[{"k":1},{"k":2}]}'
"#;

fn findings(law: Law) -> Findings {
    let pack = Pack::from_toml("line.toml", PACK).unwrap();
    let (calls, last) = (AtomicU32::new(0), Mutex::new(None));
    let breach = Breach { honest: Native::load(&pack), law, calls, last };
    Laws::new(&breach, pack.json()).cases(200).run(&mut |_| ())
}

#[test]
fn every_law_sees_its_breach() {
    for law in Law::ALL {
        let findings = findings(law);
        let seen = findings.broken.iter().find(|broken| broken.law == law);
        let seen = seen.unwrap_or_else(|| panic!("{law}: {:#?}", findings.broken));
        assert!(!findings.hold());
        assert!(seen.record.len() < 60, "{law}: {}", seen.record);
        assert!(seen.edited.as_ref().is_none_or(|edited| edited.len() < 60), "{law}: {seen:?}");
    }
}

#[test]
fn the_same_seed_grows_the_same_records() {
    let pack = Pack::from_toml("line.toml", PACK).unwrap();
    let native = Native::load(&pack);
    let grown = |seed| {
        let mut grown = Vec::new();
        Laws::new(&native, pack.json()).cases(50).seed(seed).records(|record, _| grown.push(record.to_vec()));
        grown
    };
    assert_eq!(grown(1), grown(1));
    assert_ne!(grown(1), grown(2));
    let [one, other] = [1, 1].map(|seed| Laws::new(&native, pack.json()).cases(50).seed(seed).run(&mut |_| ()));
    assert!(one.hold(), "{:#?}", one.broken);
    assert_eq!((one.pairs, one.refusals), (other.pairs, other.refusals));
}
