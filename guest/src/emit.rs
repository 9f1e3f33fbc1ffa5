//! A fused plan carried out: a record is checked, recognised and written in one walk over its tokens.
//!
//! Nothing is kept of the record but the token of each place of the plan. What the plan doesn't foresee, and every
//! flaw, gives the record back: it goes on the tape then, where ops run one by one (`run`) and where it is told what is
//! wrong. The bytes are the same either way, white space around members that go and come included.

mod edit;
mod end;
mod keep;
mod out;

use crate::fuse::{Check, Detector, Fate, Fused, Gone, Task};
use crate::grammar::{Done, Grammar};
use crate::json;
use crate::op::Direction;
use crate::plan::{Glance, NOWHERE, Place, Plan, ROOT, TrieNode};
use crate::rules::{Counts, Translation};
use crate::splice::key;
use crate::tape::{Tape, Text};

use keep::{Element, Ledger};
pub(crate) use out::AHEAD;
use out::Out;

/// What a walk needs, kept from call to call.
#[derive(Default)]
pub(crate) struct Emission {
    out: Out,
    /// For each place of the trie the token of the value met last, or [`NOT_MET`].
    tokens: Vec<u32>,
    /// The turns of the members that have left the open objects.
    leavers: Vec<u32>,
    /// Places that a member is to come from and hasn't when it was asked for, each with the scope that asked.
    missed: Vec<(Place, u32)>,
    /// The keys of the open objects all of whose members the plan looks at.
    keys: Vec<(u32, u32)>,
    ledger: Ledger,
    written: Vec<u8>,
    found: Vec<u8>,
    back: Vec<u8>,
}

/// The token of a place that hasn't been met: the root's, which is no member of anything.
const NOT_MET: u32 = 0;

/// The place of a member whose key needs a closer look.
const UNSURE: Place = NOWHERE - 1;

/// One record on its way.
struct Walk<'r> {
    plan: &'r Plan,
    fused: &'r Fused,
    direction: Direction,
    grammar: Grammar<'r>,
    desk: &'r mut Emission,
    /// Up to where the record's text is written or left out.
    written: usize,
    /// The token of the element that the innermost star has bound, which is what paths below it start from.
    scope: u32,
    counts: Counts,
    /// How the object that was closed last goes, if all of its members have left.
    gone: Option<Gone>,
    /// Where the last member ends of the object that was closed last.
    last_end: usize,
}

/// An object under way.
struct Object<'r> {
    fate: &'r Fate,
    below: &'r TrieNode,
    /// The token of its brace.
    open: u32,
    /// Where the last member ends, or the brace.
    end: usize,
    members: usize,
    /// How many turns of leavers belong to objects around this one.
    leavers: usize,
    /// How many keys do.
    keys: usize,
    /// Members that have left without one between them that stays.
    gap: Option<Gap>,
    /// Of the members that have left, the one whose turn came last.
    last: Option<Gone>,
}

/// Some members that leave one after another.
#[derive(Clone, Copy)]
struct Gap {
    /// Where the member before them ends.
    before: usize,
    /// Where the first of them starts.
    start: usize,
    /// The turn of that whose turn comes last.
    last: u32,
}

/// Writes the record that the tape's index has read as one of another version, with the carry that it needs. None if
/// the record, or what is wrong with it, needs a closer look.
pub(crate) fn emit(
    plan: &Plan,
    fused: &Fused,
    direction: Direction,
    tape: &Tape,
    desk: &mut Emission,
    to: u16,
) -> Option<Translation> {
    desk.out.start(tape.record.end as usize - tape.record.start as usize);
    Walk::new(plan, fused, direction, tape, desk).record(to, tape.record.end as usize)
}

/// Tells the version of the record that the tape's index has read, and whether a carry is in it. None if the record
/// needs a closer look.
pub(crate) fn recognise(plan: &Plan, detector: &Detector, tape: &Tape, desk: &mut Emission) -> Option<(u16, bool)> {
    let mut walk = Walk::new(plan, &detector.walk, Direction::Up, tape, desk);
    walk.whole().then_some(())?;
    let mut recognised =
        detector.versions.iter().zip(0..).filter(|(checks, _)| checks.iter().all(|check| walk.passes(check)));
    let (found, other) = (recognised.next()?.1, recognised.next());
    let carries = detector.carry.is_some_and(|place| walk.met(place).is_some());
    other.is_none().then_some((found, carries))
}

impl<'r> Walk<'r> {
    fn new(plan: &'r Plan, fused: &'r Fused, direction: Direction, tape: &'r Tape, desk: &'r mut Emission) -> Walk<'r> {
        desk.tokens.clear();
        desk.tokens.resize(plan.trie.len(), NOT_MET);
        desk.leavers.clear();
        desk.missed.clear();
        desk.keys.clear();
        desk.ledger.clear();
        let (grammar, written, counts) = (tape.grammar(plan), tape.record.start as usize, Counts::default());
        Walk { plan, fused, direction, grammar, desk, written, scope: 0, counts, gone: None, last_end: 0 }
    }

    /// Walks over the record. Whether it is one.
    fn whole(&mut self) -> bool {
        if self.grammar.at(0) != b'{' {
            return false;
        }
        let done = self.object(0, ROOT, true, 1);
        self.grammar.is_whole(done)
    }

    fn record(&mut self, to: u16, end: usize) -> Option<Translation> {
        let whole = self.whole() && self.fused.checks.iter().all(|check| self.passes(check));
        if !whole
            || self.grammar.deepest.max(self.plan.floor as usize) + self.plan.growth as usize
                > self.plan.policy.max_depth as usize
        {
            return None;
        }
        let mut carry = if self.desk.ledger.len() == 0 { Vec::new() } else { self.carry(to)? };
        if let Some(symbol) = self.plan.carry.filter(|_| !carry.is_empty()) {
            // An inline carry comes last in the root.
            self.write_to(self.last_end);
            let key = key(self.plan, symbol);
            let comma = usize::from(self.desk.out.ends_with(b'{'));
            self.copy(key.start as usize + comma, key.end as usize);
            self.desk.out.append(&carry);
            carry.clear();
        }
        self.write_to(end);
        let record = self.desk.out.bytes().to_vec();
        self.counts.carried += self.desk.ledger.len();
        let fits = record.len() <= self.plan.policy.max_bytes as usize;
        fits.then_some(Translation { record, carry, counts: self.counts })
    }

    /// The token of the value at a place of the innermost scope, if it was met.
    #[inline(always)]
    fn met(&self, place: Place) -> Option<usize> {
        let token = *self.desk.tokens.get(usize::from(place))?;
        (token > self.scope).then_some(token as usize)
    }

    /// The text of the value at a token.
    fn text(&mut self, token: usize) -> &'r [u8] {
        let end = self.grammar.skip(token, 0).end();
        self.grammar.text.get(self.grammar.token(token)..end).unwrap_or_default()
    }

    fn passes(&mut self, check: &Check) -> bool {
        match check {
            Check::Known(known) => *known,
            Check::Present(place, wanted) => self.met(*place).is_some() == *wanted,
            Check::Equals(place, value) => {
                self.met(*place).is_some_and(|token| json::equal(self.text(token), value.as_bytes()))
            }
            Check::Not(checks) => !checks.iter().all(|check| self.passes(check)),
        }
    }

    /// Appends a piece of the text.
    #[inline(always)]
    fn copy(&mut self, start: usize, end: usize) {
        self.desk.out.copy(self.grammar.text, start, end);
    }

    /// Appends the record's text up to here.
    #[inline(always)]
    fn write_to(&mut self, end: usize) {
        self.copy(self.written, end);
        self.written = end;
    }

    /// An object of which the plan knows members. `given` if no op makes or unmakes it.
    fn object(&mut self, open: usize, place: Place, given: bool, depth: usize) -> Done {
        let plan = self.plan;
        let (Some(below), Some(fate)) = (plan.trie.get(usize::from(place)), self.fused.fates.get(usize::from(place)))
        else {
            return Done::FAIL;
        };
        if !self.grammar.enter(depth) {
            return Done::FAIL;
        }
        let mut object = Object {
            fate,
            below,
            open: open as u32,
            end: self.grammar.token(open) + 1,
            members: 0,
            leavers: self.desk.leavers.len(),
            keys: self.desk.keys.len(),
            gap: None,
            last: None,
        };
        let mut i = open + 1;
        if self.grammar.at(i) == b'}' {
            return self.closed(&mut object, i, given, depth);
        }
        loop {
            let Some(&[open, close, colon, first, second, third]) = self.grammar.next(i) else { return Done::FAIL };
            if self.grammar.byte(open) != b'"' || self.grammar.byte(colon) != b':' {
                return Done::FAIL;
            }
            let (key, value) = ((open as usize, close as usize), i + 3);
            let place = match below.glance(self.grammar.text, key.0 + 1, key.1) {
                Glance::Nobody => NOWHERE,
                Glance::Named(place) => place,
                Glance::Unsure => UNSURE,
            };
            let task = if place == NOWHERE { Task::Nothing } else { self.meet(place, value, object.open) };
            let done = match task {
                Task::Any => self.named(&mut object, place, key, value, depth),
                Task::Nothing | Task::Rename => {
                    self.stay(&mut object, key.0);
                    if task == Task::Rename {
                        self.rename(place, key);
                    }
                    match self.grammar.byte(first) {
                        b'"' => Done::new(value + 2, second as usize + 1),
                        _ => self.grammar.skip(value, depth),
                    }
                }
            };
            if done == Done::FAIL {
                return done;
            }
            object.members += 1;
            object.end = done.end();
            i = done.next();
            let after = if i == value + 2 { third } else { self.grammar.token(i) as u32 };
            match self.grammar.byte(after) {
                b',' => i += 1,
                b'}' => return self.closed(&mut object, i, given, depth),
                _ => return Done::FAIL,
            }
        }
    }

    /// Notes where the value of a place stands, and tells what there is to do.
    #[inline(always)]
    fn meet(&mut self, place: Place, value: usize, open: u32) -> Task {
        let (met, task) = (self.desk.tokens.get_mut(usize::from(place)), self.fused.tasks.get(usize::from(place)));
        match (met, task) {
            (Some(met), Some(task)) if *met <= open => {
                *met = value as u32;
                *task
            }
            // A key that stands twice, or no place at all.
            _ => Task::Any,
        }
    }

    /// The brace of an object closes.
    #[inline(always)]
    fn closed(&mut self, object: &mut Object<'r>, i: usize, given: bool, depth: usize) -> Done {
        self.gone = None;
        let plain = object.last.is_none() && object.fate.events.is_empty() && object.below.star.is_none();
        if !plain && self.close(object, given, depth).is_none() {
            return Done::FAIL;
        }
        self.last_end = object.end;
        Done::new(i + 1, self.grammar.token(i) + 1)
    }

    /// A member of which one look at its key doesn't tell all.
    #[inline(never)]
    fn unsure(&mut self, object: &mut Object<'r>, key: (usize, usize), value: usize, depth: usize) -> Done {
        let below = object.below;
        let mut place = below.find(self.grammar.text, key.0 + 1, key.1).map(|slot| slot.node);
        if place.is_none() && self.grammar.slashed(key.0, key.1) {
            let raw = self.grammar.text.get(key.0..key.1 + 1).unwrap_or_default();
            place = below.branch(&json::unescaped(raw)).map(|(_, branch)| branch.node);
        }
        if let Some(place) = place {
            self.meet(place, value, object.open);
            return self.named(object, place, key, value, depth);
        }
        self.stay(object, key.0);
        let Some(star) = below.star else { return self.grammar.skip(value, depth) };
        let Some(fate) = self.fused.fates.get(usize::from(star)) else { return Done::FAIL };
        let key = (key.0 as u32, key.1 as u32 + 1);
        self.desk.keys.push(key);
        let element = Element::new((star, object.open), object.members, value, key);
        self.starred(fate, element, depth)
    }

    /// A member stays: what stood up to its key is written, but for those that have left before it.
    #[inline(always)]
    fn stay(&mut self, object: &mut Object<'r>, key: usize) {
        if let Some(gap) = object.gap.take() {
            self.write_to(gap.start);
            self.written = key;
        }
    }

    /// A member that the plan names, or whose key needs a closer look.
    #[inline(never)]
    fn named(
        &mut self,
        object: &mut Object<'r>,
        place: Place,
        key: (usize, usize),
        value: usize,
        depth: usize,
    ) -> Done {
        if place == UNSURE {
            return self.unsure(object, key, value, depth);
        }
        let Some(fate) = self.fused.fates.get(usize::from(place)) else { return Done::FAIL };
        if self.desk.tokens.get(usize::from(place)) != Some(&(value as u32)) {
            return Done::FAIL; // its key stands twice
        }
        if fate.refused {
            return Done::FAIL;
        }
        if let Some(gone) = fate.gone {
            let done = self.grammar.skip(value, depth);
            let fine = if gone.moved {
                !self.desk.missed.contains(&(place, self.scope))
            } else {
                done != Done::FAIL && !self.opens(fate, value) && self.is_undone(fate, value, done)
            };
            self.leave(object, gone, key.0);
            return if fine { done } else { Done::FAIL };
        }
        let (before, gap, mark) = (self.written, object.gap, self.desk.out.len());
        self.stay(object, key.0);
        if fate.key.is_some() {
            self.rename(place, key);
        }
        if !fate.deeds.is_empty() {
            return self.edited(fate, value, depth);
        }
        let done = self.value(place, fate, value, false, depth);
        if fate.thins
            && let Some(gone) = self.gone.take()
        {
            // It was empty in the end, as if it had never been written.
            (self.written, object.gap) = (before, gap);
            self.desk.out.truncate(mark);
            self.leave(object, gone, key.0);
        }
        done
    }

    /// Writes another key.
    #[inline(never)]
    fn rename(&mut self, place: Place, (start, end): (usize, usize)) {
        let symbol = self.fused.fates.get(usize::from(place)).and_then(|fate| fate.key);
        let new = symbol.map_or(Text::EMPTY, |symbol| key(self.plan, symbol));
        self.write_to(start);
        self.copy(new.start as usize + 1, new.end as usize - 1);
        self.written = end + 1;
    }

    #[inline(always)]
    fn leave(&mut self, object: &mut Object<'r>, gone: Gone, key: usize) {
        self.desk.leavers.push(gone.order);
        object.last = object.last.filter(|last| last.order > gone.order).or(Some(gone));
        let gap = object.gap.get_or_insert(Gap { before: object.end, start: key, last: 0 });
        gap.last = gap.last.max(gone.order);
    }

    /// Whether the plan looks into the value at a token, and the value lets it.
    #[inline(always)]
    fn opens(&self, fate: &Fate, value: usize) -> bool {
        match self.grammar.at(value) {
            b'{' => fate.opens.0,
            b'[' => fate.opens.1,
            _ => false,
        }
    }

    /// A value: up to somewhere in it the text is written, and behind that nothing is to be done.
    fn value(&mut self, place: Place, fate: &'r Fate, value: usize, given: bool, depth: usize) -> Done {
        self.gone = None;
        if !fate.deeds.is_empty() {
            return self.edited(fate, value, depth);
        }
        let opens = self.opens(fate, value);
        match (opens, self.grammar.at(value)) {
            (true, b'{') => self.object(value, place, given, depth + 1),
            _ if !fate.events.is_empty() => Done::FAIL,
            (true, _) => self.array(value, place, depth + 1),
            (false, _) => self.grammar.skip(value, depth),
        }
    }

    fn array(&mut self, open: usize, place: Place, depth: usize) -> Done {
        let star = self.plan.trie.get(usize::from(place)).and_then(|below| below.star);
        let Some((star, fate)) = star.and_then(|star| Some((star, self.fused.fates.get(usize::from(star))?))) else {
            return Done::FAIL;
        };
        if !self.grammar.enter(depth) {
            return Done::FAIL;
        }
        let idle = self.fused.tasks.get(usize::from(star)) == Some(&Task::Nothing);
        let (mut i, mut index) = (open + 1, 0);
        if self.grammar.at(i) != b']' {
            loop {
                let element = Element::new((star, open as u32), index, i, (0, 0));
                let done = if idle { self.grammar.skip(i, depth) } else { self.starred(fate, element, depth) };
                if done == Done::FAIL {
                    return done;
                }
                (i, index) = (done.next(), index + 1);
                match self.grammar.at(i) {
                    b',' => i += 1,
                    b']' => break,
                    _ => return Done::FAIL,
                }
            }
        }
        Done::new(i + 1, self.grammar.token(i) + 1)
    }

    /// An element, or a member that only a star finds.
    #[inline(always)]
    fn starred(&mut self, fate: &'r Fate, element: Element, depth: usize) -> Done {
        if fate.refused || fate.gone.is_some() {
            return Done::FAIL;
        }
        let (place, value) = (element.place, element.token as usize);
        let outer = (self.scope, self.desk.ledger.open(element));
        self.scope = value as u32;
        let done = self.value(place, fate, value, true, depth);
        let name = fate.names.iter().find_map(|place| self.met(*place));
        self.desk.ledger.close(outer.1, done.end(), name);
        self.scope = outer.0;
        if self.gone.take().is_some() { Done::FAIL } else { done }
    }
}
