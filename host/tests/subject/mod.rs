//! What is tested twice: the guest linked natively, and the component behind the library.
#![allow(clippy::unwrap_used, dead_code, reason = "tests; not every file uses everything")]

use std::sync::Mutex;

use unskew::{CallError, Pack, Runtime};
use unskew_guest::Rules;

/// A loaded pack under test, natively or in the sandbox.
pub(crate) trait Subject {
    fn name(&self) -> &'static str;
    fn versions(&self) -> Vec<String>;
    fn detect(&self, record: &[u8]) -> Result<u16, Refused>;
    fn translate(&self, record: &[u8], carry: &[u8], from: u16, to: u16) -> Result<Done, Refused>;
    fn normalize(&self, record: &[u8], carry: &[u8], to: u16) -> Result<(u16, Option<Done>), Refused>;
    /// `native`, `exact`, `carried`, `lossy` or `none`.
    fn judge(&self, held: u16, server: u16) -> String;
}

/// A translation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) record: Vec<u8>,
    pub(crate) carry: Vec<u8>,
    /// Carried, restored, lost.
    pub(crate) counts: [u32; 3],
}

/// A fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// In kebab case: `wrong-type`.
    pub(crate) kind: String,
    pub(crate) message: String,
}

/// Both subjects for one pack.
pub(crate) fn both(pack: &Pack) -> Vec<Box<dyn Subject>> {
    vec![Box::new(Native::load(pack)), Box::new(Component::load(pack))]
}

pub(crate) struct Native(Mutex<Rules>);

impl Native {
    pub(crate) fn load(pack: &Pack) -> Native {
        let mut rules = Rules::load(pack.json()).unwrap_or_else(|problems| panic!("{}: {problems:#?}", pack.name()));
        assert_eq!(rules.test(), [], "{}", pack.name());
        Native(Mutex::new(rules))
    }
}

impl From<unskew_guest::Fault> for Refused {
    fn from(fault: unskew_guest::Fault) -> Refused {
        let kind = format!("{:?}", fault.kind).chars().fold(String::new(), |mut out, c| {
            if c.is_uppercase() && !out.is_empty() {
                out.push('-');
            }
            out.extend(c.to_lowercase());
            out
        });
        Refused { kind, message: fault.to_string() }
    }
}

impl From<unskew_guest::Translation> for Done {
    fn from(done: unskew_guest::Translation) -> Done {
        Done {
            record: done.record,
            carry: done.carry,
            counts: [done.counts.carried, done.counts.restored, done.counts.lost],
        }
    }
}

impl Subject for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn versions(&self) -> Vec<String> {
        self.0.lock().unwrap().manifest().versions.iter().map(|version| version.id.clone()).collect()
    }

    fn detect(&self, record: &[u8]) -> Result<u16, Refused> {
        Ok(self.0.lock().unwrap().detect(record)?.version)
    }

    fn translate(&self, record: &[u8], carry: &[u8], from: u16, to: u16) -> Result<Done, Refused> {
        Ok(self.0.lock().unwrap().translate(record, carry, from, to)?.into())
    }

    fn normalize(&self, record: &[u8], carry: &[u8], to: u16) -> Result<(u16, Option<Done>), Refused> {
        let normalized = self.0.lock().unwrap().normalize(record, carry, to)?;
        Ok((normalized.found, normalized.changed.map(Done::from)))
    }

    fn judge(&self, held: u16, server: u16) -> String {
        format!("{:?}", self.0.lock().unwrap().judge(held, server).fidelity).to_lowercase()
    }
}

pub(crate) struct Component(Runtime);

impl Component {
    pub(crate) fn load(pack: &Pack) -> Component {
        Component(Runtime::new(pack).unwrap_or_else(|error| panic!("{error}")))
    }

    fn id(&self, version: u16) -> String {
        self.versions()[usize::from(version)].clone()
    }
}

impl From<CallError> for Refused {
    fn from(error: CallError) -> Refused {
        match error {
            CallError::Fault(fault) => Refused { kind: fault.kind.as_str().to_owned(), message: fault.to_string() },
            other => panic!("{other}"),
        }
    }
}

impl From<unskew::Translation> for Done {
    fn from(done: unskew::Translation) -> Done {
        Done {
            record: done.record,
            carry: done.carry,
            counts: [done.counts.carried, done.counts.restored, done.counts.lost],
        }
    }
}

impl Subject for Component {
    fn name(&self) -> &'static str {
        "component"
    }

    fn versions(&self) -> Vec<String> {
        self.0.generation().unwrap().manifest().versions.iter().map(|version| version.id.to_string()).collect()
    }

    fn detect(&self, record: &[u8]) -> Result<u16, Refused> {
        let generation = self.0.generation().unwrap();
        Ok(generation.detect(record)?.version.index() as u16)
    }

    fn translate(&self, record: &[u8], carry: &[u8], from: u16, to: u16) -> Result<Done, Refused> {
        Ok(self.0.translate(record, carry, &self.id(from), &self.id(to))?.into())
    }

    fn normalize(&self, record: &[u8], carry: &[u8], to: u16) -> Result<(u16, Option<Done>), Refused> {
        let normalized = self.0.normalize(record, carry, &self.id(to))?;
        Ok((normalized.found.index() as u16, normalized.changed.map(Done::from)))
    }

    fn judge(&self, held: u16, server: u16) -> String {
        self.0.judge(&self.id(held), &self.id(server)).unwrap().fidelity.to_string()
    }
}
