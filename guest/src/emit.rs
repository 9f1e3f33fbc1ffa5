//! A fused plan carried out: the target is written in one walk over the tape, and nothing on the tape is changed.
//!
//! Whatever a plan does not foresee gives the record back, and the ops run on the tape instead (`run`). The bytes are
//! the same either way, white space around members that go and come included.

use crate::carry::{Entry, Kept};
use crate::fuse::{Check, Deed, Event, Fused, Gone, What};
use crate::json;
use crate::op::{Direction, Emptied, Put};
use crate::pack::CarryPlace;
use crate::plan::{Body, NO_SYM, Place, Sym};
use crate::rules::Effect;
use crate::run::{Binding, Run, same};
use crate::splice::key;
use crate::tape::{DOCUMENT, NONE, Shape, Text, append};

/// What one walk needs, kept from call to call.
#[derive(Default)]
pub(crate) struct Emission {
    /// For each place of the trie the node met last.
    located: Vec<u32>,
    /// What the carry is to keep, with its turn: that of the op, or of the `in` around it and the element.
    kept: Vec<((u32, u32, u32), Entry)>,
    /// The members of an object that is made.
    body: Vec<u8>,
}

/// Some nodes that follow each other on the tape: those of a subtree.
#[derive(Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

/// Where what edits have made of a text stands.
#[derive(Clone, Copy)]
enum Made<'r> {
    Absent,
    Tape(Text),
    Plan(&'r str),
    Written,
}

/// What stands before a member that comes to the end of an object.
#[derive(Clone, Copy)]
enum Lead {
    Nothing,
    Comma,
    Text(Text),
}

/// The turns of members that leave an object.
struct Leavers {
    /// How many members the object has had.
    live: usize,
    orders: [u32; 16],
    count: usize,
    /// What stood before the first of those at the end of the object, and the turn of the last of these.
    trailing: Option<(Text, u32)>,
}

impl<'r> Run<'r> {
    /// Writes the record as the plan says, and returns its carry. None if the record needs its ops one by one.
    pub(crate) fn emit(&mut self, fused: &'r Fused, to: &str, out: &mut Vec<u8>) -> Option<Vec<u8>> {
        self.desk.emission.kept.clear();
        self.desk.emission.located.resize(fused.fates.len(), NONE);
        let whole = Span { start: DOCUMENT, end: self.tape.nodes.len() as u32 };
        self.locate(whole);
        fused.checks.iter().all(|check| self.passes(check, whole)).then_some(())?;
        let (record, root) = (self.tape.record, self.tape.node(DOCUMENT).value);
        self.tape.copy(record.start, root.start, out);
        self.object(fused, DOCUMENT, whole, whole, out)?;
        let mut carry = Vec::new();
        if !self.desk.emission.kept.is_empty() {
            self.desk.emission.kept.sort_by_key(|(turn, _)| *turn);
            self.fresh.extend(self.desk.emission.kept.drain(..).map(|(_, entry)| entry));
            let size: usize = self.fresh.iter().map(Entry::size).sum();
            if size + self.plan.carry_overhead > self.plan.policy.carry_max_bytes as usize {
                return None;
            }
            self.counts.carried += self.fresh.len() as u32;
            carry = self.carry.write(&self.fresh, to);
        }
        // An inline carry comes last in the root, whose closing brace has waited for it.
        if let Some(symbol) = self.plan.carry.filter(|_| !carry.is_empty()) {
            let lead = if out.last() == Some(&b'{') { Lead::Nothing } else { Lead::Comma };
            self.lead(lead, symbol, out);
            append(out, &std::mem::take(&mut carry));
        }
        self.tape.copy(self.tape.node(DOCUMENT).last_end, record.end, out);
        Some(carry)
    }

    /// Notes which node stands at each place.
    fn locate(&mut self, span: Span) {
        let nodes = self.tape.nodes.get(span.start as usize..span.end as usize).unwrap_or_default();
        for (id, node) in (span.start..).zip(nodes) {
            if let Some(located) = self.desk.emission.located.get_mut(usize::from(node.trie)) {
                *located = id;
            }
        }
    }

    /// The node at a place, if there is one among these.
    fn at_place(&self, place: Place, among: Span) -> Option<u32> {
        let id = *self.desk.emission.located.get(usize::from(place))?;
        let there = (among.start..among.end).contains(&id) && self.tape.node(id).trie == place;
        there.then_some(id)
    }

    fn passes(&self, check: &Check, whole: Span) -> bool {
        match check {
            Check::Known(known) => *known,
            Check::Present(place, wanted) => self.at_place(*place, whole).is_some() == *wanted,
            Check::Equals(place, value) => self
                .at_place(*place, whole)
                .is_some_and(|id| json::equal(self.tape.text(self.tape.node(id).value), value.as_bytes())),
            Check::Not(checks) => !checks.iter().all(|check| self.passes(check, whole)),
        }
    }

    /// The nodes of a member or element, of which the last one may end with its parent.
    fn span(&self, id: u32, parent: Span) -> Span {
        let next = self.tape.node(id).next;
        Span { start: id, end: if next == NONE { parent.end } else { next } }
    }

    /// Writes the value of a node. `scope` is what the ops' paths below the last star speak of.
    fn value(&mut self, fused: &'r Fused, id: u32, span: Span, scope: Span, out: &mut Vec<u8>) -> Option<()> {
        let node = self.tape.node(id);
        let (value, shape) = (node.value, node.shape);
        let fate = fused.fates.get(usize::from(node.trie))?;
        if !fate.deeds.is_empty() {
            if shape != Shape::Opaque {
                return None;
            }
            let made = self.worked(&fate.deeds, Made::Tape(value))?;
            self.write(made, out);
            return (!matches!(made, Made::Absent)).then_some(());
        }
        match shape {
            Shape::Object if fate.touched => {
                self.object(fused, id, span, scope, out)?;
                let last_end = self.tape.node(id).last_end;
                self.tape.copy(last_end, value.end, out);
            }
            Shape::Opaque | Shape::Array if !fate.events.is_empty() => return None,
            Shape::Array if fate.touched => self.array(fused, id, span, out)?,
            Shape::Opaque | Shape::Object | Shape::Array => self.tape.copy(value.start, value.end, out),
        }
        Some(())
    }

    fn array(&mut self, fused: &'r Fused, id: u32, span: Span, out: &mut Vec<u8>) -> Option<()> {
        let node = self.tape.node(id);
        let (value, mut at) = (node.value, node.first);
        let (mut written, mut index) = (value.start, 0);
        while at != NONE {
            let child = self.tape.node(at);
            let (next, source, place) = (child.next, child.source, child.trie);
            if !fused.fates.get(usize::from(place))?.touched {
                break; // the elements are all of one place
            }
            self.tape.copy(written, source.start, out);
            self.starred(fused, at, index, self.span(at, span), out)?;
            (written, at, index) = (source.end, next, index + 1);
        }
        self.tape.copy(written, value.end, out);
        Some(())
    }

    /// Writes the value of an element or member that a star has found.
    fn starred(&mut self, fused: &'r Fused, id: u32, index: u32, span: Span, out: &mut Vec<u8>) -> Option<()> {
        if fused.locates {
            self.locate(span);
        }
        self.desk.bound.push(Binding::new(id, index));
        self.value(fused, id, span, span, out)?;
        self.desk.bound.pop();
        Some(())
    }

    /// Writes an object up to where its last member ends.
    fn object(&mut self, fused: &'r Fused, id: u32, span: Span, scope: Span, out: &mut Vec<u8>) -> Option<()> {
        let node = self.tape.node(id);
        let fate = fused.fates.get(usize::from(node.trie))?;
        let (last_end, live, given) = (node.last_end, node.live as usize, node.key == Text::EMPTY);
        let (mut written, mut at, mut index) = (node.value.start, node.first, 0);
        let mut leavers = Leavers { live, orders: [0; 16], count: 0, trailing: None };
        while at != NONE {
            let child = self.tape.node(at);
            let (next, source, member, symbol, place) = (child.next, child.source, child.key, child.symbol, child.trie);
            let own = fused.fates.get(usize::from(place))?;
            if own.refused {
                return None;
            }
            if !own.touched {
                at = next;
                continue;
            }
            if (own.gone.is_some() || own.thins)
                && let Some(gone) = self.leaving(fused, at, scope)?
            {
                let (after, end) = self.leave(fused, at, gone, (span, scope), &mut leavers)?;
                let child = self.tape.node(at);
                let until = if end == 0 { child.before } else { child.start() };
                self.tape.copy(written, until, out);
                (written, at) = (if end == 0 { last_end } else { end }, after);
                continue;
            }
            if let Some(symbol) = own.key {
                let new = key(self.plan, symbol);
                self.tape.copy(written, member.start, out);
                self.tape.copy(new.start + 1, new.end - 1, out);
                written = member.end;
            }
            if own.works {
                self.tape.copy(written, source.start, out);
                let span = self.span(at, span);
                match symbol {
                    NO_SYM => self.starred(fused, at, index, span, out)?,
                    _ => self.value(fused, at, span, scope, out)?,
                }
                written = source.end;
            }
            (at, index) = (next, index + 1);
        }
        self.tape.copy(written, last_end, out);
        if fate.events.is_empty() {
            return Some(());
        }
        if !given && leavers.count == live && fate.events.iter().any(|event| self.may_come(event, scope)) {
            return None; // a parent that is empty when something comes is remembered
        }
        self.events(fused, &fate.events, scope, out, Some(&leavers)).map(|_| ())
    }

    /// Whether a member goes, or a container whose members all go. None if that needs a closer look.
    fn leaving(&self, fused: &Fused, id: u32, scope: Span) -> Option<Option<Gone>> {
        let node = self.tape.node(id);
        let fate = fused.fates.get(usize::from(node.trie))?;
        if fate.gone.is_some() || !fate.thins || node.shape != Shape::Object || node.live == 0 {
            return Some(fate.gone);
        }
        let (mut last, mut count, mut at): (Option<Gone>, u32, u32) = (None, 0, node.first);
        while at != NONE {
            let Some(gone) = self.leaving(fused, at, scope)? else { return Some(None) };
            last = last.filter(|last| last.order > gone.order).or(Some(gone));
            count += 1;
            at = self.tape.node(at).next;
        }
        let Some(last) = last.filter(|_| count == node.live) else { return Some(None) };
        if fate.events.iter().any(|event| self.may_come(event, scope)) {
            return None;
        }
        let taken = last.emptied == Emptied::Goes && last.parents > 0;
        Some(taken.then(|| Gone { parents: last.parents - 1, ..last }))
    }

    /// Whether an event may put something.
    fn may_come(&self, event: &Event, scope: Span) -> bool {
        match &event.what {
            What::Moved(place) => self.at_place(*place, scope).is_some(),
            What::Put { unless, deeds } => {
                !deeds.first().is_some_and(|deed| deed.goes(self.direction))
                    && unless.is_none_or(|place| self.at_place(place, scope).is_none())
            }
            What::Object { .. } => true,
        }
    }

    /// Lets a member go, and those that go directly after it. Returns the member behind them and where it starts, or 0.
    fn leave(
        &mut self,
        fused: &'r Fused,
        first: u32,
        gone: Gone,
        (parent, scope): (Span, Span),
        leavers: &mut Leavers,
    ) -> Option<(u32, u32)> {
        let (mut at, mut gone, mut last) = (first, gone, 0);
        loop {
            let span = self.span(at, parent);
            self.let_go(fused, at, span, scope)?;
            *leavers.orders.get_mut(leavers.count)? = gone.order;
            leavers.count += 1;
            last = last.max(gone.order);
            let node = self.tape.node(at);
            let (next, following) = (node.next, node.following);
            if following == 0 {
                leavers.trailing = Some((self.tape.node(first).lead(), last));
                return Some((next, 0));
            }
            if next == NONE || self.tape.node(next).start() != following {
                return Some((next, following));
            }
            match self.leaving(fused, next, scope)? {
                Some(other) => (at, gone) = (next, other),
                None => return Some((next, following)),
            }
        }
    }

    /// Does the edits of a member that goes, or of all members of a container that does.
    fn let_go(&mut self, fused: &'r Fused, id: u32, span: Span, scope: Span) -> Option<()> {
        let node = self.tape.node(id);
        let (value, shape, mut at) = (node.value, node.shape, node.first);
        let fate = fused.fates.get(usize::from(node.trie))?;
        if fate.refused {
            return None;
        }
        match fate.gone {
            Some(Gone { moved: true, .. }) => Some(()),
            Some(_) if shape != Shape::Opaque => None,
            Some(_) => matches!(self.worked(&fate.deeds, Made::Tape(value))?, Made::Absent).then_some(()),
            None => {
                while at != NONE {
                    let next = self.tape.node(at).next;
                    let span = self.span(at, span);
                    self.let_go(fused, at, span, scope)?;
                    at = next;
                }
                // Nothing comes, but what is missing may have to be remembered.
                self.events(fused, &fate.events, scope, &mut Vec::new(), None).map(|_| ())
            }
        }
    }

    /// Writes what comes to the end of an object, of which these have left, or of one that is made. Returns the turn of
    /// the first that came.
    fn events(
        &mut self,
        fused: &'r Fused,
        events: &'r [Event],
        scope: Span,
        out: &mut Vec<u8>,
        leavers: Option<&Leavers>,
    ) -> Option<Option<u32>> {
        let mut came = None;
        let mut lead = |order: u32| match (came.replace(came.unwrap_or(order)), leavers) {
            (Some(_), _) => Lead::Comma,
            (None, Some(leavers)) => leavers.lead(order),
            (None, None) => Lead::Nothing,
        };
        for event in events {
            match &event.what {
                What::Moved(place) => {
                    let Some(id) = self.at_place(*place, scope) else { continue };
                    let end = self.end(id, scope);
                    self.lead(lead(event.order), event.key, out);
                    self.value(fused, id, Span { start: id, end }, scope, out)?;
                }
                What::Put { unless, deeds } => {
                    if unless.is_some_and(|place| self.at_place(place, scope).is_some()) {
                        continue;
                    }
                    let made = self.worked(deeds, Made::Absent)?;
                    if !matches!(made, Made::Absent) {
                        self.lead(lead(event.order), event.key, out);
                        self.write(made, out);
                    }
                }
                What::Object { place, first } => {
                    if !first || self.at_place(*place, scope).is_some() {
                        continue;
                    }
                    let inner = &fused.fates.get(usize::from(*place))?.events;
                    let mut body = std::mem::take(&mut self.desk.emission.body);
                    body.clear();
                    if let Some(order) = self.events(fused, inner, scope, &mut body, None)? {
                        let stays = |event: &Event| match &event.what {
                            What::Put { deeds, .. } => deeds.iter().any(Deed::lets_parents_stay),
                            What::Moved(_) | What::Object { .. } => false,
                        };
                        if inner.iter().any(stays) {
                            return None; // that the object was missing is remembered
                        }
                        self.lead(lead(order), event.key, out);
                        out.push(b'{');
                        append(out, &body);
                        out.push(b'}');
                    }
                    self.desk.emission.body = body;
                }
            }
        }
        Some(came)
    }

    /// Where the subtree of a node ends.
    fn end(&self, id: u32, scope: Span) -> u32 {
        let mut at = id;
        while at != scope.start && at != NONE {
            let node = self.tape.node(at);
            if node.next != NONE {
                return node.next;
            }
            at = node.parent;
        }
        scope.end
    }

    fn lead(&self, lead: Lead, symbol: Sym, out: &mut Vec<u8>) {
        let key = key(self.plan, symbol);
        match lead {
            Lead::Comma => self.tape.copy(key.start, key.end, out),
            Lead::Nothing => self.tape.copy(key.start + 1, key.end, out),
            Lead::Text(text) => {
                self.tape.copy(text.start, text.end, out);
                self.tape.copy(key.start + 1, key.end, out);
            }
        }
    }

    fn write(&self, made: Made<'r>, out: &mut Vec<u8>) {
        match made {
            Made::Absent => {}
            Made::Tape(text) => self.tape.copy(text.start, text.end, out),
            Made::Plan(text) => append(out, text.as_bytes()),
            Made::Written => append(out, &self.desk.written),
        }
    }

    /// What edits make of a text, one after another. What their way back would miss is kept.
    fn worked(&mut self, deeds: &'r [Deed], made: Made<'r>) -> Option<Made<'r>> {
        if let [Deed { code, .. }] = deeds
            && let Body::Edit { edit, .. } = &code.body
        {
            let found = match made {
                Made::Tape(text) => Some(self.tape.text(text)),
                Made::Absent | Made::Plan(_) | Made::Written => None,
            };
            match edit.quick(self.direction, found, &mut self.desk.written) {
                Some(Put::Written) => return Some(Made::Written),
                Some(Put::Text(text)) => {
                    self.counts.defaulted += u32::from(found.is_none() && !edit.is_stamp());
                    return Some(Made::Plan(text));
                }
                Some(Put::Absent) => return Some(Made::Absent),
                Some(Put::Same) => return Some(made),
                None => {}
            }
        }
        deeds.iter().try_fold(made, |made, deed| self.work(deed, made))
    }

    #[inline(never)]
    fn work(&mut self, deed: &'r Deed, made: Made<'r>) -> Option<Made<'r>> {
        let Deed { order, rank, code } = deed;
        let Body::Edit { edit, .. } = &code.body else { return None };
        if matches!(made, Made::Absent) && !edit.speaks_of_absence() {
            return Some(made);
        }
        if matches!(made, Made::Written) {
            std::mem::swap(&mut self.desk.written, &mut self.desk.found);
        }
        let found = match made {
            Made::Absent => None,
            Made::Tape(text) => Some(self.tape.text(text)),
            Made::Plan(text) => Some(text.as_bytes()),
            Made::Written => Some(self.desk.found.as_slice()),
        };
        let put = edit.write(self.direction, found, &mut self.desk.written).ok()?;
        let now = put.text(found, &self.desk.written);
        let kept = edit.memory(self.direction, found, now, self.plan.policy.carry, &mut self.desk.back);
        if !edit.is_stamp() && !same(now, found) {
            self.counts.note(Effect::of(found.is_some(), now.is_some(), false, kept.is_some()));
        }
        let made = match (put, made) {
            (Put::Absent, _) => Made::Absent,
            (Put::Text(text), _) => Made::Plan(text),
            (Put::Written, _) => Made::Written,
            (Put::Same, Made::Written) => {
                std::mem::swap(&mut self.desk.written, &mut self.desk.found);
                Made::Written
            }
            (Put::Same, made) => made,
        };
        if let Some(value) = kept {
            if self.plan.policy.carry == CarryPlace::None {
                return None;
            }
            let element = self.desk.bound.first().map_or(0, Binding::node);
            let turn = (*rank, if rank == order { 0 } else { element }, *order);
            let kept = Kept { value: Some(value), ..Kept::default() };
            let entry = Entry::new(code.digest, self.place(code), kept);
            self.desk.emission.kept.push((turn, entry));
        }
        Some(made)
    }
}

impl Leavers {
    /// What stands before the first member that comes, by its turn. If members at the end have left after it came (a
    /// move puts before it takes), it has inherited what stood before the first of them.
    fn lead(&self, order: u32) -> Lead {
        let left = self.orders.iter().take(self.count).filter(|leaver| **leaver < order).count();
        match self.trailing {
            Some((lead, last)) if last >= order => Lead::Text(lead),
            _ if left == self.live => Lead::Nothing,
            _ => Lead::Comma,
        }
    }
}

impl Deed {
    fn goes(&self, direction: Direction) -> bool {
        matches!(&self.code.body, Body::Edit { edit, .. } if edit.goes(direction))
    }

    fn lets_parents_stay(&self) -> bool {
        matches!(&self.code.body, Body::Edit { edit, .. } if edit.emptied() == Emptied::Stays)
    }
}
