//! `spread`: a member that goes into every element of a list, and comes back from the first.
//!
//! The member's own entry in the carry stands at its place, those of elements at theirs: elements that differ, or have
//! none, come back by their identity wherever they are by then.

use super::{Binding, Outcome, Run};
use crate::carry::Kept;
use crate::json;
use crate::op::{Differing, Direction, Emptied, Taken};
use crate::pack::CarryPlace;
use crate::plan::{Code, Spread, Sym};
use crate::rules::{Effect, Fault, FaultKind};
use crate::tape::Shape;

/// An element, its place among its siblings, and the text of its member.
struct Element {
    node: u32,
    index: u32,
    text: Option<String>,
}

impl<'r> Run<'r> {
    /// Returns whether anything has changed.
    pub(super) fn spread(
        &mut self,
        code: &'r Code,
        node: u32,
        spread: &'r Spread,
        memory: Option<&Kept>,
        kept: &mut Kept,
    ) -> Outcome<bool> {
        let value = self.tape.find(node, &spread.from).map(|id| self.string(id));
        let elements = self.elements(node, spread);
        match self.direction {
            Direction::Up => self.spread_out(code, node, spread, (value, elements), memory, kept),
            Direction::Down => self.gather(code, node, spread, (value, elements), memory, kept),
        }
    }

    fn spread_out(
        &mut self,
        code: &'r Code,
        node: u32,
        spread: &'r Spread,
        (value, elements): (Option<String>, Vec<Element>),
        memory: Option<&Kept>,
        kept: &mut Kept,
    ) -> Outcome<bool> {
        let own = first(&elements);
        if stayed(memory, value.as_deref()) && (spread.taken == Taken::Overwritten || own.is_none()) {
            // The other direction has left the member alone, so it stays; what elements have is nobody's here.
            self.counts.restored += 1;
            for element in elements.iter().filter(|element| element.text.is_some()) {
                let hidden = Kept { value: Some((element.text.clone(), None)), ..Kept::default() };
                let remembered = self.memory_of(code, element);
                self.take_out(code, element.node, &spread.member, (remembered.as_ref(), &hidden));
                self.keep_of(code, element, hidden)?;
            }
            return Ok(own.is_some());
        }
        let Some(value) = value else {
            // What elements have of their own is not this op's doing: on the way back it must stay.
            if own.is_some() || overwritten(memory).is_some() {
                kept.value = Some((None, own.map(str::to_owned)));
            }
            return self.put_back(code, (node, &spread.from), overwritten(memory), kept);
        };
        let mut front = None;
        for element in &elements {
            let there = element.text.as_deref();
            let (remembered, mut own) = (self.memory_of(code, element), Kept::default());
            let put = match remembered.as_ref().and_then(|kept| kept.value.as_ref()) {
                Some((was, Some(put))) if json::equal(put.as_bytes(), value.as_bytes()) => {
                    self.counts.restored += 1;
                    was.as_deref()
                }
                _ => Some(value.as_str()),
            };
            if there.is_some() {
                if spread.taken == Taken::Refused {
                    return Err(self.taken(code, element.node, &spread.member));
                }
                own.value = Some((element.text.clone(), put.map(str::to_owned)));
            }
            match put {
                Some(text) => self.put(code, element.node, &spread.member, text, &mut own)?,
                None => self.take_out(code, element.node, &spread.member, (remembered.as_ref(), &own)),
            }
            front = front.or(put.map(str::to_owned));
            self.keep_of(code, element, own)?;
        }
        if front.as_ref() != Some(&value) {
            kept.value = Some((Some(value), front));
        }
        self.take_out(code, node, &spread.from, (memory, kept));
        self.put_back(code, (node, &spread.from), overwritten(memory), kept)?;
        Ok(true)
    }

    fn gather(
        &mut self,
        code: &'r Code,
        node: u32,
        spread: &'r Spread,
        (there, elements): (Option<String>, Vec<Element>),
        memory: Option<&Kept>,
        kept: &mut Kept,
    ) -> Outcome<bool> {
        let first = first(&elements);
        if stayed(memory, first) && (spread.taken == Taken::Overwritten || there.is_none()) {
            // The other direction has left the elements alone, so they stay; what the parent has is nobody's here.
            self.counts.restored += 1;
            let Some(there) = there else { return Ok(false) };
            kept.value = Some((Some(there), None));
            self.take_out(code, node, &spread.from, (memory, kept));
            return Ok(true);
        }
        let value = match memory.and_then(|kept| kept.value.as_ref()) {
            Some((Some(was), put)) if json::alike(put.as_deref().map(str::as_bytes), first.map(str::as_bytes)) => {
                self.counts.restored += 1;
                Some(was.clone())
            }
            _ => first.map(str::to_owned),
        };
        let Some(value) = value else {
            let mut changed = false;
            for element in &elements {
                let (remembered, mut own) = (self.memory_of(code, element), Kept::default());
                let below = self.fitting(element, spread, overwritten(remembered.as_ref()));
                changed |= self.put_back(code, (element.node, &spread.member), below, &mut own)?;
                self.keep_of(code, element, own)?;
            }
            if changed || there.is_some() {
                kept.value = Some((None, there));
            }
            return Ok(changed);
        };
        if let Some(there) = there {
            if spread.taken == Taken::Refused {
                return Err(self.taken(code, node, &spread.from));
            }
            kept.value = Some((Some(there), Some(value.clone())));
        }
        for element in &elements {
            let (remembered, mut own) = (self.memory_of(code, element), Kept::default());
            if element.text.as_deref() != Some(&value) {
                if spread.differing == Differing::Refused && first.is_some() {
                    let (expected, found) = ("the same value in every element", "another one");
                    return Err(self.fault(code, element.node, &spread.member, FaultKind::Conflict, expected, found));
                }
                own.value = Some((element.text.clone(), Some(value.clone())));
            }
            match self.fitting(element, spread, overwritten(remembered.as_ref())) {
                Some(text) => {
                    self.put(code, element.node, &spread.member, text, &mut own)?;
                    self.counts.restored += 1;
                }
                None => self.take_out(code, element.node, &spread.member, (remembered.as_ref(), &own)),
            }
            self.keep_of(code, element, own)?;
        }
        self.put(code, node, &spread.from, &value, kept)?;
        Ok(true)
    }

    /// A text for an element's member, if the element has a place for it: a server may have made another value of it.
    fn fitting<'t>(&mut self, element: &Element, spread: &'r Spread, text: Option<&'t str>) -> Option<&'t str> {
        let text = text?;
        let mut at = element.node;
        for symbol in spread.member.iter().take(spread.member.len() - 1) {
            match self.tape.child(at, *symbol) {
                Some(child) => at = child,
                None => break,
            }
        }
        let fits = self.tape.node(at).shape == Shape::Object;
        self.counts.lost += u32::from(!fits);
        fits.then_some(text)
    }

    /// All elements, the first of them first.
    fn elements(&self, node: u32, spread: &'r Spread) -> Vec<Element> {
        let Some(list) = self.tape.find(node, &spread.list).filter(|list| self.tape.node(*list).shape != Shape::Opaque)
        else {
            return Vec::new();
        };
        let element = |(index, node): (usize, u32)| {
            let text = self.tape.find(node, &spread.member).map(|id| self.string(id));
            Element { node, index: index as u32, text }
        };
        let mut elements: Vec<Element> = self.tape.children(list).enumerate().map(element).collect();
        if self.tape.node(list).shape == Shape::Object {
            // Members have no order: the first is the one whose key is.
            elements.sort_by_cached_key(|element| self.key(element.node));
        }
        elements
    }

    /// What the carry holds of one element.
    fn memory_of(&mut self, code: &'r Code, element: &Element) -> Option<Kept> {
        if !self.carry.speaks_of(code.digest) {
            return None;
        }
        self.desk.bound.push(Binding { node: element.node, index: element.index, identity: None });
        let place = self.place(code);
        self.desk.bound.pop();
        self.carry.take(code.digest, &place)
    }

    fn keep_of(&mut self, code: &'r Code, element: &Element, kept: Kept) -> Outcome<()> {
        if kept.is_empty() {
            return Ok(());
        }
        self.desk.bound.push(Binding { node: element.node, index: element.index, identity: None });
        let done = self.keep(code, kept);
        self.desk.bound.pop();
        done
    }

    /// Writes a text at a place, whatever stands there.
    fn put(&mut self, code: &'r Code, node: u32, path: &'r [Sym], text: &str, kept: &mut Kept) -> Outcome<()> {
        let before = self.tape.find(node, path).map(|id| self.string(id));
        match (self.tape.find(node, path), path.split_last()) {
            (Some(id), _) => self.tape.replace(self.plan, id, text.as_bytes()),
            (None, Some((last, parents))) => {
                let parent = self.parents(code, node, path, parents, Emptied::Goes, kept)?;
                self.tape.append_text(self.plan, parent, *last, text.as_bytes());
            }
            (None, None) => {}
        }
        if self.trace.is_some() {
            let (place, said) = (self.pointer(node, path), self.said(kept));
            self.note(code, place, before, Some(text.to_owned()), (Effect::Moved, said));
        }
        Ok(())
    }

    fn take_out(&mut self, code: &Code, node: u32, path: &[Sym], (memory, kept): (Option<&Kept>, &Kept)) {
        let Some(id) = self.tape.find(node, path) else { return };
        if self.trace.is_some() {
            let (place, text, said) = (self.pointer(node, path), self.string(id), self.said(kept));
            self.note(code, place, Some(text), None, (Effect::Moved, said));
        }
        self.tape.detach(id);
        self.prune(node, path, Emptied::Goes, memory);
    }

    /// What becomes of a value of which this is kept.
    fn said(&self, kept: &Kept) -> &'static str {
        match (&kept.value, self.plan.policy.carry) {
            (None, _) => "changed",
            (Some(_), CarryPlace::None) => "lost",
            (Some(_), CarryPlace::Beside | CarryPlace::Inline) => "carried",
        }
    }

    fn taken(&self, code: &Code, node: u32, path: &[Sym]) -> Box<Fault> {
        self.fault(code, node, path, FaultKind::Conflict, "no member here yet", "one that exists already")
    }
}

/// The member of the first element that has one.
fn first(elements: &[Element]) -> Option<&str> {
    elements.iter().find_map(|element| element.text.as_deref())
}

/// Whether the other direction has left alone what is still there, or is still not.
fn stayed(memory: Option<&Kept>, found: Option<&str>) -> bool {
    match memory.and_then(|kept| kept.value.as_ref()) {
        Some((None, put)) => json::alike(put.as_deref().map(str::as_bytes), found.map(str::as_bytes)),
        Some((Some(_), _)) | None => false,
    }
}

/// What the other direction has overwritten or hidden.
fn overwritten(memory: Option<&Kept>) -> Option<&str> {
    memory?.value.as_ref()?.0.as_deref()
}
