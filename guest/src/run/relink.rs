//! Ops that put a member elsewhere.

use super::{Outcome, Run};
use crate::carry::Kept;
use crate::json;
use crate::op::{Emptied, Style, Taken};
use crate::plan::{Code, Sym};
use crate::rules::{Effect, FaultKind};

impl<'r> Run<'r> {
    /// Puts a member elsewhere. Returns whether anything was there to put.
    pub(super) fn relink(
        &mut self,
        code: &'r Code,
        node: u32,
        (from, to): (&'r [Sym], &'r [Sym]),
        (style, taken): (Style, Taken),
        memory: Option<&Kept>,
        kept: &mut Kept,
    ) -> Outcome<bool> {
        let (found, there) = (self.tape.find(node, from), self.tape.find(node, to));
        let remembered = memory.and_then(|kept| kept.value.as_ref());
        if let Some((None, stayed)) = remembered
            && (taken == Taken::Overwritten || there.is_none())
            && self.says(found, stayed.as_deref())
        {
            // The other direction has left this alone, so it stays; what stands at the other place is nobody's here.
            self.counts.restored += 1;
            let Some(there) = there else { return Ok(false) };
            let text = self.string(there);
            self.tape.detach(there);
            self.prune(node, to, Emptied::Goes, memory);
            self.note_hidden(code, node, to, &text);
            kept.value = Some((Some(text), None));
            return Ok(true);
        }
        let below = remembered.and_then(|(was, put)| was.as_deref().filter(|_| put.is_none()));
        let member = match (found, there) {
            (None, there) => {
                // Nothing to put elsewhere. What is there is not this op's doing: on the way back it must stay.
                let there = there.map(|there| self.string(there));
                if below.is_some() || there.is_some() {
                    kept.value = Some((None, there));
                }
                return self.put_back(code, (node, from), below, kept);
            }
            (Some(member), Some(there)) if taken == Taken::Overwritten => {
                kept.value = Some((Some(self.string(there)), None));
                self.tape.detach(there);
                member
            }
            (Some(_), Some(_)) => {
                return Err(self.fault(
                    code,
                    node,
                    to,
                    FaultKind::Conflict,
                    "no member here yet",
                    "one that exists already",
                ));
            }
            (Some(member), None) => member,
        };
        let (Some((last, parents)), Some(_)) = (to.split_last(), from.last()) else { return Ok(false) };
        let before = self.trace.is_some().then(|| self.pointer(node, from));
        match style {
            Style::Rename => {
                self.tape.rename(member, *last);
            }
            Style::Move => {
                let parent = self.parents(code, node, to, parents, Emptied::Goes, kept)?;
                self.tape.graft(self.plan, member, parent, *last);
            }
        }
        self.put_back(code, (node, from), below, kept)?;
        if style == Style::Move {
            self.tape.detach(member);
            // Parents that were remembered together with what stayed are those of the other place.
            let own = memory.filter(|kept| !matches!(kept.value, Some((None, _))));
            self.prune(node, from, Emptied::Goes, own);
        }
        if let Some(before) = before {
            let after = self.pointer(node, to);
            let (before, moved) = (Some(json::quoted(&before)), Some(json::quoted(&after)));
            self.note(code, after, before, moved, (Effect::Moved, "changed"));
        }
        Ok(true)
    }

    /// Puts a member back that the other direction has overwritten or hidden. Returns whether there is one.
    pub(super) fn put_back(
        &mut self,
        code: &'r Code,
        (node, path): (u32, &'r [Sym]),
        text: Option<&str>,
        kept: &mut Kept,
    ) -> Outcome<bool> {
        let (Some(text), Some((last, parents))) = (text, path.split_last()) else { return Ok(false) };
        let parent = self.parents(code, node, path, parents, Emptied::Goes, kept)?;
        self.tape.append_text(self.plan, parent, *last, text.as_bytes());
        self.counts.restored += 1;
        if self.trace.is_some() {
            let place = self.pointer(node, path);
            self.note(code, place, None, Some(text.to_owned()), (Effect::Restored, "restored"));
        }
        Ok(true)
    }

    /// Notes that a member is out of sight until the way back.
    pub(super) fn note_hidden(&mut self, code: &Code, node: u32, path: &[Sym], text: &str) {
        if self.trace.is_some() {
            let place = self.pointer(node, path);
            self.note(code, place, Some(text.to_owned()), None, (Effect::Dropped, "carried"));
        }
    }

    /// Whether a member, or none, says what a text, or none, does.
    pub(super) fn says(&self, member: Option<u32>, text: Option<&str>) -> bool {
        let found = member.map(|member| self.rendered(member));
        json::alike(found.as_deref(), text.map(str::as_bytes))
    }
}
