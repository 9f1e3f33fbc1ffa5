//! What is tested twice: the guest linked natively, and the component behind the library.
#![allow(clippy::unwrap_used, dead_code, reason = "tests; not every file uses everything")]

pub(crate) mod portable;

use std::sync::{Arc, Mutex};

use unskew::laws::{Refused, Subject};
use unskew::{
    CarryPlace, Change, Counts, Fidelity, Generation, Normalized, Pack, Runtime, Translation, Verdict, Version,
};
use unskew_guest::Rules;

/// The guest linked natively.
pub(crate) struct Native(Mutex<Rules>);

impl Native {
    pub(crate) fn load(pack: &Pack) -> Native {
        let mut rules = Rules::load(pack.json()).unwrap_or_else(|problems| panic!("{}: {problems:#?}", pack.name()));
        assert_eq!(rules.test(), [], "{}", pack.name());
        Native(Mutex::new(rules))
    }
}

impl Subject for Native {
    fn versions(&self) -> Vec<String> {
        self.0.lock().unwrap().manifest().versions.iter().map(|version| version.id.clone()).collect()
    }

    fn carry(&self) -> CarryPlace {
        match self.0.lock().unwrap().manifest().policy.carry {
            unskew_guest::CarryPlace::Beside => CarryPlace::Beside,
            unskew_guest::CarryPlace::Inline => CarryPlace::Inline,
            unskew_guest::CarryPlace::None => CarryPlace::None,
        }
    }

    fn detect(&self, record: &[u8]) -> Result<Version, Refused> {
        Ok(Version(self.0.lock().unwrap().detect(record).map_err(refused)?.version))
    }

    fn translate(&self, record: &[u8], carry: &[u8], from: Version, to: Version) -> Result<Translation, Refused> {
        self.0.lock().unwrap().translate(record, carry, from.0, to.0).map(translation).map_err(refused)
    }

    fn normalize(&self, record: &[u8], carry: &[u8], to: Version) -> Result<Normalized, Refused> {
        let normalized = self.0.lock().unwrap().normalize(record, carry, to.0).map_err(refused)?;
        Ok(Normalized { found: Version(normalized.found), changed: normalized.changed.map(translation) })
    }

    fn explain(&self, record: &[u8], carry: &[u8], from: Version, to: Version) -> Result<Vec<Change>, Refused> {
        let changes = self.0.lock().unwrap().explain(record, carry, from.0, to.0).map_err(refused)?;
        let own = |change: unskew_guest::Change| Change {
            op: change.op,
            place: change.place,
            before: change.before,
            after: change.after,
            effect: change.effect.name().to_owned(),
            outcome: change.outcome.to_owned(),
        };
        Ok(changes.into_iter().map(own).collect())
    }

    fn judge(&self, held: Version, server: Version) -> Verdict {
        let verdict = self.0.lock().unwrap().judge(held.0, server.0);
        let fidelity = match verdict.fidelity {
            unskew_guest::Fidelity::Native => Fidelity::Native,
            unskew_guest::Fidelity::Exact => Fidelity::Exact,
            unskew_guest::Fidelity::Carried => Fidelity::Carried,
            unskew_guest::Fidelity::Lossy => Fidelity::Lossy,
            unskew_guest::Fidelity::None => Fidelity::None,
        };
        Verdict { fidelity, reason: verdict.reason }
    }
}

/// The component behind the library.
pub(crate) fn component(pack: &Pack) -> Arc<Generation> {
    Runtime::new(pack).unwrap_or_else(|error| panic!("{error}")).generation().unwrap()
}

fn translation(done: unskew_guest::Translation) -> Translation {
    let unskew_guest::Counts { carried, restored, lost, dropped, narrowed, defaulted } = done.counts;
    let counts = Counts { carried, restored, lost, dropped, narrowed, defaulted };
    Translation { record: done.record, carry: done.carry, counts }
}

/// The kind as the library writes it: `WrongType` is `wrong-type`.
fn refused(fault: unskew_guest::Fault) -> Refused {
    let kind = format!("{:?}", fault.kind).chars().fold(String::new(), |mut out, c| {
        if c.is_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.extend(c.to_lowercase());
        out
    });
    Refused::Fault { kind, message: fault.to_string(), op: fault.op }
}
