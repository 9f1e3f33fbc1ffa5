//! `embedded`: ops in the JSON document that a string holds, on a tape of its own.
//!
//! A string is a scalar, so it comes back by its text: where the ops within bring back what the document says but not
//! how it was written (the order of its members, white space), the string itself is kept, too.

use std::sync::Arc;

use super::{Outcome, Run};
use crate::carry::{Carry, Kept};
use crate::cursor::Flaw;
use crate::embed::Embedded;
use crate::json::{self, Kind};
use crate::pack::CarryPlace;
use crate::plan::{Code, NOWHERE};
use crate::rules::FaultKind;
use crate::tape::{DOCUMENT, NONE, Tape};

/// What is expected of the string.
const EXPECTED: &str = "a string that holds a JSON object";

impl<'r> Run<'r> {
    /// Runs ops in the document of a string and writes it back. Returns whether it has changed.
    pub(super) fn embedded(
        &mut self,
        code: &'r Code,
        codes: &'r [Arc<Code>],
        node: u32,
        memory: Option<&Kept>,
        kept: &mut Kept,
    ) -> Outcome<bool> {
        let string = self.rendered(node);
        if Kind::of(&string) != Kind::String {
            let found = Kind::of(&string).name();
            return Err(self.fault(code, node, &[], FaultKind::WrongType, EXPECTED, found));
        }
        let before = self.fresh.len();
        let mut now = self.within(code, codes, node, &string)?;
        if let Some((Some(was), Some(put))) = memory.and_then(|kept| kept.value.as_ref())
            && json::equal(put.as_bytes(), &string)
        {
            now = was.clone().into_bytes();
            self.counts.restored += 1;
        }
        if now == string && self.fresh.len() == before {
            return Ok(false);
        }
        if self.plan.policy.carry != CarryPlace::None && !self.returns(code, codes, (node, before), (&now, &string)) {
            kept.value = Some((Some(json::owned(&string)), Some(json::owned(&now))));
        }
        if now != string {
            self.tape.replace(self.plan, node, &now);
        }
        Ok(now != string)
    }

    /// Runs ops in the document of a string, and returns the string that it is then.
    fn within(&mut self, code: &'r Code, codes: &'r [Arc<Code>], node: u32, string: &[u8]) -> Outcome<Vec<u8>> {
        let embedded = Embedded::decode(string);
        let place = self.plan.trie.get(usize::from(self.tape.node(node).trie)).and_then(|place| place.document);
        let mut tape = Tape::new(self.plan);
        if let Err(flaw) = tape.read(self.plan, place.unwrap_or(NOWHERE), &embedded.text) {
            return Err(match flaw {
                Flaw::Duplicate { .. } => {
                    let expected = "each key that a rule touches once";
                    self.fault(code, node, &[], FaultKind::DuplicateKey, expected, "it twice in one object")
                }
                Flaw::Depth { .. } => {
                    let limit = self.plan.policy.max_depth;
                    let expected = format!("at most {limit} levels of nesting (policy.max_depth)");
                    self.fault(code, node, &[], FaultKind::TooDeep, &expected, "more in the string")
                }
                Flaw::Syntax { .. } | Flaw::Opaque => {
                    self.fault(code, node, &[], FaultKind::WrongType, EXPECTED, "another string")
                }
            });
        }
        // What the stars around are bound to is asked now: their nodes are not on the document's tape.
        self.place(code);
        let outer = self.pointer(node, &[]);
        let outer = self.outer.replace(outer);
        let nodes: Vec<u32> =
            self.desk.bound.iter_mut().map(|binding| std::mem::replace(&mut binding.node, NONE)).collect();
        let keys = std::mem::take(&mut self.keys);
        let (frames, bound) = (self.desk.frames.len(), self.desk.bound.len());
        std::mem::swap(self.tape, &mut tape);
        let done = self.codes(codes, DOCUMENT);
        std::mem::swap(self.tape, &mut tape);
        self.desk.frames.truncate(frames);
        self.desk.bound.truncate(bound);
        self.keys = keys;
        self.outer = outer;
        for (binding, node) in self.desk.bound.iter_mut().zip(nodes) {
            binding.node = node;
        }
        done?;
        let mut document = Vec::with_capacity(embedded.text.len());
        tape.write(self.plan, &mut document);
        Ok(if document == embedded.text { string.to_vec() } else { embedded.encode(&document) })
    }

    /// Whether the other direction, with what the ops within have kept, makes the same string of `now` again.
    fn returns(
        &mut self,
        code: &'r Code,
        codes: &'r [Arc<Code>],
        (node, before): (u32, usize),
        (now, string): (&[u8], &[u8]),
    ) -> bool {
        let entries = self.fresh.get(before..).unwrap_or_default().to_vec();
        let carry = std::mem::replace(&mut self.carry, Carry::of(entries));
        let (fresh, trace, counts) = (std::mem::take(&mut self.fresh), self.trace.take(), self.counts);
        self.direction = self.direction.opposite();
        let back = self.within(code, codes, node, now);
        self.direction = self.direction.opposite();
        (self.carry, self.fresh, self.trace, self.counts) = (carry, fresh, trace, counts);
        back.is_ok_and(|back| back == string)
    }
}
