//! `flags`: booleans that become a set of names.

use crate::json::{self, Kind};
use crate::op::Direction;
use crate::op::Refusal;
use crate::op::tuple::{Said, Wrong};

/// The names of the flags, as JSON text, in the order of their places.
#[derive(Clone, Debug)]
pub(crate) struct Flags(pub(crate) Vec<String>);

impl Flags {
    pub(crate) fn write(&self, direction: Direction, inputs: &[Option<&[u8]>]) -> Result<Vec<Said>, Wrong> {
        if inputs.iter().all(Option::is_none) {
            let places = match direction {
                Direction::Up => 1,
                Direction::Down => self.0.len(),
            };
            return Ok(vec![Said::Absent; places]);
        }
        match direction {
            Direction::Up => Ok(vec![Said::Text(json::array(&self.raised(inputs)?))]),
            Direction::Down => {
                let set = inputs.first().copied().flatten().unwrap_or_default();
                if Kind::of(set) != Kind::Array {
                    return Err((0, Refusal::wrong_type("an array of names", set)));
                }
                let names = json::elements(set);
                let said = |flag: &String| match has(&names, flag) {
                    true => Said::Text(b"true".to_vec()),
                    false => Said::Text(b"false".to_vec()),
                };
                Ok(self.0.iter().map(said).collect())
            }
        }
    }

    /// The set that the carry holds, with the flags as they are now: other names and the order stay.
    pub(crate) fn join(&self, flags: &[Option<&[u8]>], was: &[u8]) -> Option<Vec<u8>> {
        if Kind::of(was) != Kind::Array {
            return None;
        }
        let raised = self.raised(flags).ok()?;
        let mut names = json::elements(was);
        names.retain(|name| !self.0.iter().any(|flag| says(name, flag)) || raised.iter().any(|flag| says(name, flag)));
        let missing: Vec<&[u8]> = raised.iter().filter(|flag| !has(&names, flag)).map(|flag| flag.as_bytes()).collect();
        names.extend(missing);
        Some(json::array(&names))
    }

    fn raised(&self, inputs: &[Option<&[u8]>]) -> Result<Vec<&String>, Wrong> {
        let mut raised = Vec::new();
        for (index, (flag, input)) in self.0.iter().zip(inputs).enumerate() {
            match input {
                Some(b"true") => raised.push(flag),
                Some(b"false") | None => {}
                Some(other) => return Err((index, Refusal::wrong_type("a boolean", other))),
            }
        }
        Ok(raised)
    }
}

fn has(names: &[&[u8]], flag: &str) -> bool {
    names.iter().any(|name| says(name, flag))
}

fn says(name: &[u8], flag: &str) -> bool {
    json::equal(name, flag.as_bytes())
}
