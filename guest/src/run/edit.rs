//! Ops that write the text of one place anew, and the parents that come and go with it.

use std::borrow::Cow;

use super::{Outcome, Run};
use crate::carry::Kept;
use crate::json;
use crate::op::{Edit, Emptied, Put, Recalled, Refusal};
use crate::pack::CarryPlace;
use crate::plan::{Code, Sym};
use crate::rules::{Effect, FaultKind};
use crate::tape::Shape;

impl<'r> Run<'r> {
    /// Writes the text of a place anew if its way back is sure beforehand. Returns whether it was.
    pub(super) fn quick(&mut self, code: &'r Code, node: u32, at: &'r [Sym], edit: &'r Edit) -> Outcome<bool> {
        let target = self.tape.find(node, at);
        let found = match target {
            Some(id) if self.tape.node(id).is_rewritten() => return Ok(false),
            Some(id) => Some(self.tape.text(self.tape.node(id).value)),
            None => None,
        };
        let Some(put) = edit.quick(self.direction, found, &mut self.desk.written) else { return Ok(false) };
        match (target, put) {
            (_, Put::Same) | (None, Put::Absent) => {}
            (Some(id), Put::Text(text)) => self.tape.replace(self.plan, id, text.as_bytes()),
            (Some(id), Put::Written) => self.tape.replace(self.plan, id, &self.desk.written),
            (None, Put::Text(text)) => {
                let Some((last, parents)) = at.split_last() else { return Ok(false) };
                let mut kept = Kept::default();
                let parent = self.parents(code, node, at, parents, edit.emptied(), &mut kept)?;
                self.tape.append_text(self.plan, parent, *last, text.as_bytes());
                if !edit.is_stamp() {
                    self.counts.note(Effect::Defaulted);
                }
                if !kept.is_empty() {
                    self.keep(code, kept)?;
                }
            }
            (Some(_), Put::Absent) | (None, Put::Written) => return Ok(false),
        }
        Ok(true)
    }

    /// Writes the text of a place anew. Returns whether it has changed.
    pub(super) fn edit(
        &mut self,
        code: &'r Code,
        node: u32,
        at: &'r [Sym],
        edit: &'r Edit,
        memory: Option<&Kept>,
        kept: &mut Kept,
    ) -> Outcome<bool> {
        let target = self.tape.find(node, at);
        if target.is_none() && memory.is_none() && !edit.speaks_of_absence() {
            return Ok(false);
        }
        let rendered;
        let found: Option<&[u8]> = match target {
            None => None,
            Some(id) if self.tape.node(id).is_rewritten() => {
                rendered = self.rendered(id);
                Some(&rendered)
            }
            Some(id) => Some(self.tape.text(self.tape.node(id).value)),
        };
        let mut written = std::mem::take(&mut self.desk.written);
        let recalled = match memory.and_then(|kept| kept.value.as_ref()) {
            Some((was, put)) => edit.recall(self.direction, found, (was.as_deref(), put.as_deref()), &mut written),
            None => Recalled::Nothing,
        };
        let (put, restored, pure) = match recalled {
            Recalled::Original(put) => (put, true, true),
            Recalled::Merged(put) => (put, true, false),
            Recalled::Nothing => match edit.write(self.direction, found, &mut written) {
                Ok(put) => (put, false, false),
                Err(Refusal { kind, expected, found }) => {
                    return Err(self.fault(code, node, at, kind, &expected, &found));
                }
            },
        };
        if !pure {
            let now = put.text(found, &written);
            let memory = edit.memory(self.direction, found, now, self.plan.policy.carry, &mut self.desk.back);
            let owned = |text: Option<Cow<'_, [u8]>>| text.map(|text| json::owned(&text));
            kept.value = memory.map(|(was, put)| (owned(was), owned(put)));
        }
        let before = self.trace.is_some().then(|| found.map(|text| String::from_utf8_lossy(text).into_owned()));
        let changed = !json::identical(put.text(found, &written), found);
        let after = put.text(None, &written);
        let effect = Effect::of(found.is_some(), put.text(found, &written).is_some(), restored, kept.value.is_some());
        if restored || changed && !edit.is_stamp() {
            self.counts.note(effect);
        }
        match (target, after) {
            _ if !changed => {}
            (Some(id), Some(text)) => self.tape.replace(self.plan, id, text),
            (Some(id), None) => {
                self.tape.detach(id);
                self.prune(node, at, edit.emptied(), memory);
            }
            (None, Some(text)) => {
                if let Some((last, parents)) = at.split_last() {
                    let parent = self.parents(code, node, at, parents, edit.emptied(), kept)?;
                    self.tape.append_text(self.plan, parent, *last, text);
                }
            }
            (None, None) => {}
        }
        if let Some(before) = before
            && changed
        {
            let outcome = match (restored, kept.value.is_some(), self.plan.policy.carry) {
                (true, _, _) => "restored",
                (false, true, CarryPlace::None) => "lost",
                (false, true, CarryPlace::Beside | CarryPlace::Inline) => "carried",
                (false, false, _) => "changed",
            };
            let place = self.pointer(node, at);
            let after = after.map(|text| String::from_utf8_lossy(text).into_owned());
            self.note(code, place, before, after, (effect, outcome));
        }
        self.desk.written = written;
        Ok(changed)
    }

    /// The object in which a path ends, made where it is missing. Remembers what the way back would not leave as it
    /// is: parents that were there though empty, or, where emptied parents stay, that some were not there.
    pub(super) fn parents(
        &mut self,
        code: &'r Code,
        node: u32,
        path: &'r [Sym],
        parents: &'r [Sym],
        emptied: Emptied,
        kept: &mut Kept,
    ) -> Outcome<u32> {
        let (mut at, mut existing) = (node, 0);
        while let Some(child) = parents.get(existing).and_then(|symbol| self.tape.child(at, *symbol)) {
            (at, existing) = (child, existing + 1);
        }
        let found = self.tape.node(at);
        if found.shape != Shape::Object {
            let kind = json::Kind::of(self.tape.text(found.value)).name();
            let place = path.get(..existing).unwrap_or_default();
            return Err(self.fault(code, node, place, FaultKind::WrongType, "an object to put a member into", kind));
        }
        let remembered = match emptied {
            Emptied::Goes => existing > 0 && found.live == 0,
            Emptied::Stays => existing < parents.len(),
        };
        if remembered {
            kept.parents = Some(existing as u32);
        }
        for symbol in parents.iter().skip(existing) {
            at = self.tape.append_object(self.plan, at, *symbol);
        }
        Ok(at)
    }

    /// Takes away the parents that have become empty, as far as the op does so or the carry says that they were not
    /// there.
    pub(super) fn prune(&mut self, node: u32, path: &[Sym], emptied: Emptied, memory: Option<&Kept>) {
        let keep = match (memory.and_then(|kept| kept.parents), emptied) {
            (Some(keep), _) => keep as usize,
            (None, Emptied::Goes) => 0,
            (None, Emptied::Stays) => return,
        };
        for length in (keep + 1..path.len()).rev() {
            let Some(parent) = path.get(..length).and_then(|above| self.tape.find(node, above)) else { return };
            if self.tape.node(parent).live > 0 {
                return;
            }
            self.tape.detach(parent);
        }
    }
}
