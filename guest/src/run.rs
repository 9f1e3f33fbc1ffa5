//! The ops of one translation, run on the tape one after another.
//!
//! The carry has one rule for all ops: an op runs its inverse on what it wrote, and wherever that is not the input, it
//! writes an entry, and otherwise none. On the way back an op that finds its entry gives the original back if the
//! value is still what was put there; if somebody edited it, the edit wins.

mod edit;
mod embedded;
mod keep;
mod relink;
mod spread;
mod tuple;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::carry::{Bound, Carry, Entry, Kept};
use crate::json;
use crate::op::{Direction, Style};
use crate::pack::Overflow;
use crate::path;
use crate::plan::{Body, Code, Guard, Hop, Plan, Stretch, Sym};
use crate::rules::{Change, Counts, Effect, Fault, FaultKind};
use crate::splice::splice;
use crate::tape::{DOCUMENT, NONE, Shape, Tape};

/// What an op comes to. A fault is boxed: hardly anything is returned where all is well.
pub(crate) type Outcome<T> = Result<T, Box<Fault>>;

/// An element or member that a star has bound.
pub(crate) struct Binding {
    node: u32,
    /// Its place among its siblings.
    index: u32,
    /// What the carry calls it, once somebody has asked.
    identity: Option<Bound>,
}

/// What a translation needs while it runs, kept from call to call.
#[derive(Default)]
pub(crate) struct Desk {
    /// The nodes that scopes have bound: the frame of the innermost `in`, then its stars.
    frames: Vec<u32>,
    /// What the stars have bound, outermost first.
    pub(crate) bound: Vec<Binding>,
    /// What an edit writes, and what its inverse makes of that.
    pub(crate) written: Vec<u8>,
    pub(crate) back: Vec<u8>,
}

/// One translation under way.
pub(crate) struct Run<'r> {
    pub(crate) plan: &'r Plan,
    pub(crate) tape: &'r mut Tape,
    pub(crate) direction: Direction,
    pub(crate) carry: Carry,
    pub(crate) fresh: Vec<Entry>,
    pub(crate) counts: Counts,
    /// How many of the lost values were there: not those whose entry could not be read or found no place.
    dropped: u32,
    pub(crate) desk: &'r mut Desk,
    /// The keys of the elements of arrays by where their text starts, sorted, for telling whether they are unique.
    keys: BTreeMap<u32, Vec<String>>,
    /// Where the string stands that holds the document on the tape, if that isn't the record.
    outer: Option<String>,
    /// What was changed, if somebody asked.
    pub(crate) trace: Option<Vec<Change>>,
}

impl Binding {
    pub(crate) fn new(node: u32, index: u32) -> Binding {
        Binding { node, index, identity: None }
    }
}

impl<'r> Run<'r> {
    /// Prepares a translation of the record on the tape. Of its carry, `lost` entries could not be read.
    pub(crate) fn new(plan: &'r Plan, tape: &'r mut Tape, desk: &'r mut Desk, carry: Carry, lost: u32) -> Run<'r> {
        // A call that ended in a fault has left its scopes.
        desk.frames.clear();
        desk.bound.clear();
        Run {
            plan,
            tape,
            direction: Direction::Up,
            carry,
            fresh: Vec::new(),
            counts: Counts { lost, ..Counts::default() },
            dropped: 0,
            desk,
            keys: BTreeMap::new(),
            outer: None,
            trace: None,
        }
    }

    /// Runs all steps from one version to the other, and returns the carry of the target.
    pub(crate) fn steps(&mut self, from: u16, to: u16) -> Outcome<Vec<u8>> {
        let plan = self.plan;
        let (low, high) = (usize::from(from.min(to)), usize::from(from.max(to)));
        let steps = plan.steps.get(low..high).unwrap_or_default();
        self.direction = if from < to { Direction::Up } else { Direction::Down };
        match self.direction {
            Direction::Up => steps.iter().try_for_each(|step| self.step(step))?,
            Direction::Down => steps.iter().rev().try_for_each(|step| self.step(step))?,
        }
        Ok(self.carry.write(&self.fresh, plan.id(to)))
    }

    /// How deep the record and the texts that the carry gives back are.
    pub(crate) fn deepest(&self) -> u32 {
        self.tape.deepest.max(self.carry.deepest + self.plan.floor)
    }

    fn step(&mut self, step: &'r Stretch) -> Outcome<()> {
        let before = self.fresh.len();
        // The two ways mirror each other: what takes a marker out runs before the ops, what puts one in after them.
        let direction = self.direction;
        let takes = |stamp: &&Arc<Code>| matches!(&stamp.body, Body::Edit { edit, .. } if edit.takes_out(direction));
        step.stamps.iter().filter(takes).try_for_each(|stamp| self.code(stamp, DOCUMENT))?;
        self.codes(&step.ops, DOCUMENT)?;
        step.stamps.iter().filter(|stamp| !takes(stamp)).try_for_each(|stamp| self.code(stamp, DOCUMENT))?;
        if self.carry.is_empty() && self.fresh.is_empty() {
            return Ok(());
        }
        self.counts.lost += self.carry.orphan(&step.digests);
        let limit = self.plan.policy.carry_max_bytes as usize;
        let fresh: usize = self.fresh.iter().map(Entry::size).sum();
        let size = self.carry.size() + fresh + self.plan.carry_overhead;
        if size > limit {
            self.counts.lost += self.carry.give_way(&self.plan.digests, size - limit);
        }
        let size = self.carry.size() + fresh + self.plan.carry_overhead;
        if size > limit && self.fresh.len() > before {
            match self.plan.policy.carry_overflow {
                Overflow::Drop => {
                    if let Some(op) = self.undeclared(step, before) {
                        let (expected, found) = ("a record that the op can bring back", "one that a full carry drops");
                        let fault = Fault::new(FaultKind::UndeclaredLoss, expected.to_owned(), found.to_owned());
                        return Err(Box::new(Fault { op: op.label.clone(), ..fault }));
                    }
                    let entries = (self.fresh.len() - before) as u32;
                    let spellings = self.fresh.iter().skip(before).filter(|entry| self.spells(step, entry)).count();
                    let dropped = entries - spellings as u32;
                    self.fresh.truncate(before);
                    self.counts.carried -= entries;
                    self.counts.lost += dropped;
                    self.dropped += dropped;
                    if self.dropped > self.plan.policy.max_lost {
                        let (expected, found) = (self.bearable(), self.dropped.to_string());
                        let fault = Fault::new(FaultKind::TooLossy, expected, found);
                        return Err(Box::new(Fault { op: step.label.clone(), ..fault }));
                    }
                }
                Overflow::Refuse => {
                    return Err(Box::new(Fault {
                        kind: FaultKind::CarryFull,
                        op: step.label.clone(),
                        place: String::new(),
                        expected: format!("a carry of at most {limit} bytes (policy.carry_max_bytes)"),
                        found: format!("{size} bytes to keep"),
                    }));
                }
            }
        }
        Ok(())
    }

    /// The first op of a step that has kept more than a spelling from entry `before` on, but is declared to lose nothing.
    fn undeclared(&self, step: &'r Stretch, before: usize) -> Option<&'r Code> {
        let lost = self.fresh.iter().skip(before).filter(|entry| !self.spells(step, entry));
        lost.filter_map(|entry| step.code(entry.op)).find(|code| !code.loses(self.direction))
    }

    /// Whether an entry says no more than how something is spelled.
    fn spells(&self, step: &Stretch, entry: &Entry) -> bool {
        let (back, kept) = (self.direction.opposite(), &entry.kept);
        match (step.code(entry.op).map(|code| &code.body), &kept.value, &kept.several) {
            (Some(Body::Edit { edit, .. }), Some((Some(was), put)), _) => {
                let mut out = Vec::new();
                let put = put.as_deref().map(str::as_bytes);
                let text = edit.write(back, put, &mut out).map(|text| text.text(put, &out));
                matches!(text, Ok(Some(text)) if json::equal(text, was.as_bytes()))
            }
            (Some(Body::Tuple { tuple, .. }), _, Some(several)) => several.spells(back, tuple),
            (Some(_) | None, _, _) => false,
        }
    }

    fn codes(&mut self, codes: &'r [Arc<Code>], frame: u32) -> Outcome<()> {
        match self.direction {
            Direction::Up => codes.iter().try_for_each(|code| self.code(code, frame)),
            Direction::Down => codes.iter().rev().try_for_each(|code| self.code(code, frame)),
        }
    }

    fn code(&mut self, code: &'r Code, frame: u32) -> Outcome<()> {
        let base = self.desk.frames.len();
        self.desk.frames.push(frame);
        let done = self.bind(code, frame, 0, base);
        self.desk.frames.truncate(base);
        done
    }

    /// Runs an op at every node that its scope finds.
    fn bind(&mut self, code: &'r Code, mut node: u32, mut depth: usize, base: usize) -> Outcome<()> {
        while let Some(Hop::Key(symbol)) = code.scope.get(depth) {
            let Some(child) = self.tape.child(node, *symbol) else { return Ok(()) };
            (node, depth) = (child, depth + 1);
        }
        if depth == code.scope.len() {
            return self.at(code, node, base);
        }
        if self.tape.node(node).shape == Shape::Opaque {
            return Ok(());
        }
        let (depth, innermost) = (depth + 1, depth + 1 == code.scope.len());
        let reserved = if node == DOCUMENT && self.outer.is_none() { self.plan.reserved.as_slice() } else { &[] };
        let mut at = self.tape.node(node).first;
        let mut index = 0;
        while at != NONE {
            let child = self.tape.node(at);
            if !child.is_gone() && !reserved.contains(&child.symbol) {
                self.desk.frames.push(at);
                self.desk.bound.push(Binding::new(at, index));
                if innermost {
                    self.at(code, at, base)?;
                } else {
                    self.bind(code, at, depth, base)?;
                }
                self.desk.bound.pop();
                self.desk.frames.pop();
                index += 1;
            }
            at = self.tape.node(at).next;
        }
        Ok(())
    }

    /// Runs an op at one node.
    fn at(&mut self, code: &'r Code, node: u32, base: usize) -> Outcome<()> {
        let guarded = code.when.is_some() || code.when_upper.is_some();
        if guarded || !self.carry.is_empty() || self.trace.is_some() {
            return self.remembering(code, node, base);
        }
        let mut kept = Kept::default();
        match &code.body {
            Body::Relink { lower, upper, style: Style::Rename, taken } => {
                let (from, to) = self.direction.sides(lower, upper);
                match (self.tape.find(node, from), to.last()) {
                    (Some(member), Some(symbol)) if self.tape.find(node, to).is_none() => {
                        self.tape.rename(member, *symbol);
                        return Ok(());
                    }
                    _ => self.relink(code, node, (from, to), (Style::Rename, *taken), None, &mut kept)?,
                }
            }
            Body::Relink { lower, upper, style, taken } => {
                self.relink(code, node, self.direction.sides(lower, upper), (*style, *taken), None, &mut kept)?
            }
            Body::Edit { at, edit } => {
                if self.quick(code, node, at, edit)? {
                    return Ok(());
                }
                self.edit(code, node, at, edit, None, &mut kept)?
            }
            Body::Tuple { places, tuple } => self.tuple(code, node, places, tuple, None, &mut kept)?,
            Body::Spread(spread) => self.spread(code, node, spread, None, &mut kept)?,
            Body::In { codes } => return self.codes(codes, node),
            Body::Embedded { codes } => self.embedded(code, codes, node, None, &mut kept)?,
        };
        if kept.is_empty() { Ok(()) } else { self.keep(code, kept) }
    }

    /// Runs an op at one node, if its memory or its condition says so, and keeps what the way back would miss.
    fn remembering(&mut self, code: &'r Code, node: u32, base: usize) -> Outcome<()> {
        let memory = if self.carry.speaks_of(code.digest) {
            let place = self.place(code);
            self.carry.take(code.digest, &place)
        } else {
            None
        };
        let guard = code.guard(self.direction);
        let doing = match (&memory, guard) {
            // An entry that doesn't say otherwise is that of an op that was done.
            (Some(kept), _) => kept.done.unwrap_or(true),
            (None, Some(guard)) => self.holds(guard, base),
            (None, None) => true,
        };
        let mut kept = Kept::default();
        if doing {
            let changed = match &code.body {
                Body::Relink { lower, upper, style, taken } => {
                    let (from, to) = self.direction.sides(lower, upper);
                    self.relink(code, node, (from, to), (*style, *taken), memory.as_ref(), &mut kept)?
                }
                Body::Edit { at, edit } => self.edit(code, node, at, edit, memory.as_ref(), &mut kept)?,
                Body::Tuple { places, tuple } => self.tuple(code, node, places, tuple, memory.as_ref(), &mut kept)?,
                Body::Spread(spread) => self.spread(code, node, spread, memory.as_ref(), &mut kept)?,
                Body::In { codes } => {
                    self.codes(codes, node)?;
                    true
                }
                Body::Embedded { codes } => self.embedded(code, codes, node, memory.as_ref(), &mut kept)?,
            };
            if changed && code.guard(self.direction.opposite()).is_some_and(|guard| !self.holds(guard, base)) {
                kept.done = Some(true);
            }
        } else if code.guard(self.direction.opposite()).is_some_and(|guard| self.holds(guard, base)) {
            kept.done = Some(false);
        }
        if !kept.is_empty() {
            self.keep(code, kept)?;
        }
        Ok(())
    }

    fn holds(&self, guard: &Guard, base: usize) -> bool {
        let frame = self.desk.frames.get(base + guard.stars).copied().unwrap_or(DOCUMENT);
        let Some(found) = self.tape.find(frame, &guard.path) else { return guard.test.holds(None) };
        if self.tape.node(found).is_rewritten() {
            return guard.test.holds(Some(&self.rendered(found)));
        }
        guard.test.holds(Some(self.tape.text(self.tape.node(found).value)))
    }

    /// The unescaped key of a member.
    fn key(&self, id: u32) -> Vec<u8> {
        let node = self.tape.node(id);
        match self.plan.symbols.get(usize::from(node.symbol)) {
            Some(symbol) => symbol.name.as_bytes().to_vec(),
            None => json::unescaped(self.tape.text(node.key)).into_owned(),
        }
    }

    fn rendered(&self, id: u32) -> Vec<u8> {
        let mut text = Vec::new();
        splice(self.plan, self.tape, id, &mut text);
        text
    }

    fn string(&self, id: u32) -> String {
        String::from_utf8_lossy(&self.rendered(id)).into_owned()
    }

    #[cold]
    fn fault(&self, code: &Code, node: u32, path: &[Sym], kind: FaultKind, expected: &str, found: &str) -> Box<Fault> {
        Box::new(Fault {
            kind,
            op: code.label.clone(),
            place: self.pointer(node, path),
            expected: expected.to_owned(),
            found: found.to_owned(),
        })
    }

    /// A place as a JSON Pointer into the record as it is now.
    fn pointer(&self, node: u32, path: &[Sym]) -> String {
        let mut out = self.outer.clone().unwrap_or_default();
        out.push_str(&pointer(self.plan, self.tape, node, &self.desk.bound));
        for symbol in path {
            out.push('/');
            out.push_str(&path::escaped(self.plan.symbols.get(usize::from(*symbol)).map_or("", |symbol| &symbol.name)));
        }
        out
    }

    fn note(
        &mut self,
        code: &Code,
        place: String,
        before: Option<String>,
        after: Option<String>,
        (effect, outcome): (Effect, &'static str),
    ) {
        if let Some(trace) = &mut self.trace {
            let op = format!("{}: {}", code.label, code.name);
            trace.push(Change { op, place, before, after, effect, outcome });
        }
    }
}

/// The JSON Pointer of a node. The indexes of bound elements are known.
pub(crate) fn pointer(plan: &Plan, tape: &Tape, id: u32, bound: &[Binding]) -> String {
    let mut segments = Vec::new();
    let mut at = id;
    while at != DOCUMENT && at != NONE {
        let node = tape.node(at);
        let parent = node.parent;
        segments.push(match plan.symbols.get(usize::from(node.symbol)) {
            Some(symbol) => path::escaped(&symbol.name),
            None if tape.node(parent).shape == Shape::Array => {
                let known = bound.iter().find(|binding| binding.node == at).map(|binding| binding.index as usize);
                known.unwrap_or_else(|| tape.children(parent).take_while(|child| *child != at).count()).to_string()
            }
            None => path::escaped(&String::from_utf8_lossy(&json::unescaped(tape.text(node.key)))),
        });
        at = parent;
    }
    segments.iter().rev().fold(String::new(), |out, segment| out + "/" + segment)
}
