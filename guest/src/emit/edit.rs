//! Values that edits write anew, and what their way back would miss.

use super::{Emission, Walk};
use crate::fuse::{Deed, Fate};
use crate::grammar::Done;
use crate::json;
use crate::op::Put;
use crate::pack::CarryPlace;
use crate::plan::Body;
use crate::rules::Effect;

/// Where what edits have made of a text stands.
#[derive(Clone, Copy)]
pub(super) enum Made<'r> {
    Absent,
    Source(&'r [u8]),
    Plan(&'r str),
    Written,
}

impl<'r> Walk<'r> {
    /// Whether nothing is left of a member that goes.
    pub(super) fn is_undone(&mut self, fate: &'r Fate, value: usize, done: Done) -> bool {
        let text = self.grammar.text.get(self.grammar.token(value)..done.end()).unwrap_or_default();
        matches!(self.worked(&fate.deeds, Made::Source(text)), Some(Made::Absent))
    }

    /// A value that is written anew.
    #[inline(never)]
    pub(super) fn edited(&mut self, fate: &'r Fate, value: usize, depth: usize) -> Done {
        let (start, opens) = (self.grammar.token(value), self.opens(fate, value));
        let done = self.grammar.skip(value, depth);
        let Some(text) = self.grammar.text.get(start..done.end()).filter(|_| !opens && done != Done::FAIL) else {
            return Done::FAIL;
        };
        if let [Deed { code, .. }] = fate.deeds.as_slice()
            && let Body::Edit { edit, .. } = &code.body
            && let Some(zeros) = edit.zeros(self.direction, text)
        {
            self.write_to(done.end());
            self.desk.out.append(zeros);
            return done;
        }
        self.write_to(start);
        let Some(made) = self.worked(&fate.deeds, Made::Source(text)) else { return Done::FAIL };
        self.write(made);
        self.written = done.end();
        if matches!(made, Made::Absent) { Done::FAIL } else { done }
    }

    /// What edits make of a text, one after another. What their way back would miss is kept.
    pub(super) fn worked(&mut self, deeds: &'r [Deed], made: Made<'r>) -> Option<Made<'r>> {
        if let [Deed { code, .. }] = deeds
            && let Body::Edit { edit, .. } = &code.body
        {
            let found = match made {
                Made::Source(text) => Some(text),
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
        let Body::Edit { edit, at } = &code.body else { return None };
        if matches!(made, Made::Absent) && !edit.speaks_of_absence() {
            return Some(made);
        }
        let Emission { written, found, back, ledger, .. } = &mut *self.desk;
        if matches!(made, Made::Written) {
            std::mem::swap(written, found);
        }
        let found_text = match made {
            Made::Absent => None,
            Made::Source(text) => Some(text),
            Made::Plan(text) => Some(text.as_bytes()),
            Made::Written => Some(found.as_slice()),
        };
        let put = edit.write(self.direction, found_text, written).ok()?;
        let now = put.text(found_text, written);
        let carry = self.plan.policy.carry;
        let memory = edit.memory(self.direction, found_text, now, carry, back);
        if !edit.is_stamp() && !json::identical(now, found_text) {
            self.counts.note(Effect::of(found_text.is_some(), now.is_some(), false, memory.is_some()));
        }
        if let Some((was, put)) = memory {
            if carry == CarryPlace::None {
                return None;
            }
            let turn = (*rank, if rank == order { 0 } else { ledger.outermost() }, *order);
            // An op that writes whole elements can't tell them by what they hold.
            ledger.keep(turn, code.digest, at.is_empty(), (was.as_deref(), put.as_deref()));
        }
        Some(match (put, made) {
            (Put::Absent, _) => Made::Absent,
            (Put::Text(text), _) => Made::Plan(text),
            (Put::Written, _) => Made::Written,
            (Put::Same, Made::Written) => {
                std::mem::swap(written, found);
                Made::Written
            }
            (Put::Same, made) => made,
        })
    }

    pub(super) fn write(&mut self, made: Made<'r>) {
        let Emission { out, written, .. } = &mut *self.desk;
        match made {
            Made::Absent => {}
            Made::Source(text) => out.append(text),
            Made::Plan(text) => out.append(text.as_bytes()),
            Made::Written => out.append(written),
        }
    }
}
