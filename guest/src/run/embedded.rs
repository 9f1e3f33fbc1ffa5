//! `embedded`: ops in the JSON document that a string holds, on a tape of its own.

use super::{Outcome, Run};
use crate::cursor::Flaw;
use crate::embed::Embedded;
use crate::json::{self, Kind};
use crate::plan::{Code, NOWHERE};
use crate::rules::FaultKind;
use crate::tape::{DOCUMENT, NONE, Tape};

impl<'r> Run<'r> {
    /// Runs ops in the document of a string and writes it back. Returns whether it has changed.
    pub(super) fn embedded(&mut self, code: &'r Code, codes: &'r [Code], node: u32) -> Outcome<bool> {
        let string = self.rendered(node);
        let expected = "a string that holds a JSON object";
        if Kind::of(&string) != Kind::String {
            let found = Kind::of(&string).name();
            return Err(self.fault(code, node, &[], FaultKind::WrongType, expected, found));
        }
        let embedded = Embedded::decode(&string);
        let place = self.plan.trie.get(usize::from(self.tape.node(node).trie)).and_then(|place| place.document);
        let mut tape = Tape::new(self.plan);
        if let Err(flaw) = tape.read_at(self.plan, place.unwrap_or(NOWHERE), &embedded.text) {
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
                    self.fault(code, node, &[], FaultKind::WrongType, expected, "another string")
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
        std::mem::swap(self.tape, &mut tape);
        let done = self.codes(codes, DOCUMENT);
        std::mem::swap(self.tape, &mut tape);
        self.keys = keys;
        self.outer = outer;
        for (binding, node) in self.desk.bound.iter_mut().zip(nodes) {
            binding.node = node;
        }
        done?;
        let mut document = Vec::with_capacity(embedded.text.len());
        tape.write(self.plan, &mut document);
        if document == embedded.text {
            return Ok(false);
        }
        let string = embedded.encode(&document);
        debug_assert!(json::equal(&string, json::quoted(&String::from_utf8_lossy(&document)).as_bytes()));
        self.tape.replace(self.plan, node, &string);
        Ok(true)
    }
}
