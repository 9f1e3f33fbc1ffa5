//! What is kept for the way back, and what the carry calls the place where it was.

use super::{Binding, Outcome, Run};
use crate::carry::{Bound, Entry, Kept};
use crate::identity;
use crate::pack::CarryPlace;
use crate::plan::{Body, Code};
use crate::rules::FaultKind;
use crate::tape::{DOCUMENT, Shape};

impl<'r> Run<'r> {
    pub(super) fn keep(&mut self, code: &'r Code, kept: Kept) -> Outcome<()> {
        if self.plan.policy.carry == CarryPlace::None {
            if !code.loses(self.direction) {
                let place = self.desk.bound.last().map_or(DOCUMENT, |binding| binding.node);
                return Err(self.fault(
                    code,
                    place,
                    &[],
                    FaultKind::UndeclaredLoss,
                    "a record that the op can bring back",
                    "one that needs a carry (policy.carry is none)",
                ));
            }
            self.counts.lost += 1;
            self.dropped += 1;
            if self.dropped > self.plan.policy.max_lost {
                let place = self.desk.bound.last().map_or(DOCUMENT, |binding| binding.node);
                return Err(self.fault(code, place, &[], FaultKind::TooLossy, &self.bearable(), "one more"));
            }
            return Ok(());
        }
        self.counts.carried += 1;
        let place = self.place(code);
        self.fresh.push(Entry::new(code.digest, place, kept));
        Ok(())
    }

    pub(super) fn bearable(&self) -> String {
        format!("at most {} lost values (policy.max_lost)", self.plan.policy.max_lost)
    }

    /// What the stars are bound to, as the carry names it.
    pub(crate) fn place(&mut self, code: &Code) -> Vec<Bound> {
        let mut bound = std::mem::take(&mut self.desk.bound);
        // An op that writes whole elements can't tell them by what they hold.
        let whole = matches!(&code.body, Body::Edit { at, .. } if at.is_empty());
        let last = bound.len();
        for (depth, binding) in bound.iter_mut().enumerate() {
            if binding.identity.is_none() {
                let by_content = !(whole && depth + 1 == last);
                binding.identity = Some(
                    self.identity(binding.node, binding.index)
                        .filter(|_| by_content)
                        .unwrap_or_else(|| self.position(binding)),
                );
            }
        }
        let place = bound.iter().filter_map(|binding| binding.identity.clone()).collect();
        self.desk.bound = bound;
        place
    }

    /// An element by its key, or by its index and the bytes that nobody touches.
    pub(super) fn identity(&mut self, id: u32, index: u32) -> Option<Bound> {
        let node = self.tape.node(id);
        if self.tape.node(node.parent).shape == Shape::Object {
            return None;
        }
        let text = self.tape.text(node.value);
        let trie = self.plan.trie.get(usize::from(node.trie));
        if let Some(trie) = trie.filter(|trie| !trie.keys.is_empty())
            && let Some(name) = identity::name_of(trie, text)
        {
            let parent = node.parent;
            let names = self.keys.entry(self.tape.node(parent).value.start).or_insert_with(|| {
                let texts = self.tape.children(parent).map(|element| self.tape.text(self.tape.node(element).value));
                let mut names: Vec<String> = texts.filter_map(|text| identity::name_of(trie, text)).collect();
                names.sort_unstable();
                names
            });
            if identity::is_single(names, &name) {
                return Some(Bound::Key(name));
            }
        }
        identity::digest_of(self.plan, trie, text).map(|digest| Bound::Index(index, digest))
    }

    /// A member by its name; an element by nothing but its index, and then the array must be as long as it was.
    pub(super) fn position(&self, binding: &Binding) -> Bound {
        let parent = self.tape.node(self.tape.node(binding.node).parent);
        match parent.shape {
            Shape::Object => Bound::Member(self.member_name(binding.node)),
            Shape::Array | Shape::Opaque => Bound::Index(binding.index, identity::length_digest(parent.live)),
        }
    }

    /// The name of a member, as it is now.
    pub(super) fn member_name(&self, id: u32) -> String {
        let node = self.tape.node(id);
        match self.plan.symbols.get(usize::from(node.symbol)) {
            Some(symbol) => symbol.name.clone(),
            None => identity::member_name(self.tape.text(node.key)),
        }
    }
}
