//! Ops on several places at once: what stands there is written anew, from what stood there and what the carry holds.

use super::{Outcome, Run};
use crate::carry::{Kept, Several};
use crate::json;
use crate::op::{Direction, Emptied, Recall, State, Tuple};
use crate::pack::CarryPlace;
use crate::plan::{Code, Sym};
use crate::rules::Effect;

impl<'r> Run<'r> {
    /// Writes the texts of several places anew. Returns whether one has changed.
    pub(super) fn tuple(
        &mut self,
        code: &'r Code,
        node: u32,
        places: &'r [Vec<Sym>],
        tuple: &'r Tuple,
        memory: Option<&Kept>,
        kept: &mut Kept,
    ) -> Outcome<bool> {
        let ids: Vec<Option<u32>> = places.iter().map(|path| self.tape.find(node, path)).collect();
        let memory = memory.and_then(|kept| kept.several.as_ref());
        if memory.is_none() && ids.iter().all(Option::is_none) && !tuple.speaks_of_absence(self.direction) {
            return Ok(false);
        }
        let found: State = ids.iter().map(|id| id.map(|id| self.rendered(id))).collect();
        let recalled = match memory {
            Some(Several { was, put, .. }) => tuple.recall(self.direction, &found, (&state(was), &state(put))),
            None => tuple.apply(self.direction, &found).map(|after| (after, Recall::Forgotten)),
        };
        let (after, outcome) = recalled.map_err(|(place, refusal)| {
            let path = places.get(place).map(Vec::as_slice).unwrap_or_default();
            self.fault(code, node, path, refusal.kind, &refusal.expected, &refusal.found)
        })?;
        let back = tuple.apply(self.direction.opposite(), &after);
        let mut several = Several::default();
        if !back.as_ref().is_ok_and(|back| every(back, &found, json::same)) {
            let spelling = back.is_ok_and(|back| every(&back, &found, json::equal));
            if !(spelling && self.plan.policy.carry == CarryPlace::None) {
                (several.was, several.put) = (texts(&found), texts(&after));
            }
        }
        let lossy = !several.was.is_empty();
        for (was, is) in found.iter().zip(&after).filter(|(was, is)| was != is) {
            if outcome == Recall::Forgotten && lossy {
                self.counts.note(Effect::of(was.is_some(), is.is_some(), false, lossy));
            }
        }
        self.counts.restored += u32::from(outcome == Recall::Restored);
        let mut changed = false;
        let mut put_in: Vec<Option<u32>> = vec![None; places.len()];
        for (index, path) in places.iter().enumerate() {
            let (was, now) = (found.get(index).and_then(Option::as_ref), after.get(index).and_then(Option::as_ref));
            let Some(text) = now.filter(|_| was != now) else { continue };
            changed = true;
            match (ids.get(index).copied().flatten(), path.split_last()) {
                (Some(id), _) => self.tape.replace(self.plan, id, text),
                (None, Some((last, parents))) => {
                    let mut made = Kept::default();
                    let parent = self.parents(code, node, path, parents, Emptied::Goes, &mut made)?;
                    self.tape.append_text(self.plan, parent, *last, text);
                    if let Some(empty) = put_in.get_mut(index) {
                        *empty = made.parents;
                    }
                }
                (None, None) => {}
            }
        }
        for (index, path) in places.iter().enumerate() {
            let gone = after.get(index).is_some_and(Option::is_none);
            if let Some(Some(id)) = ids.get(index).filter(|_| gone) {
                changed = true;
                self.tape.detach(*id);
                let parents = memory.map(|several| several.parents.iter().zip(places)).into_iter().flatten();
                let shared = parents.filter_map(|(parents, place)| {
                    let length = (*parents)? as usize;
                    (place.get(..length) == path.get(..length)).then_some(length as u32)
                });
                let there = Kept { parents: shared.max(), ..Kept::default() };
                self.prune(node, path, Emptied::Goes, Some(&there));
            }
        }
        if put_in.iter().any(Option::is_some) {
            several.parents = put_in;
        }
        if self.trace.is_some() {
            self.trace_tuple(code, (node, places), (&found, &after), outcome, !several.was.is_empty());
        }
        kept.several = Some(several).filter(|several| *several != Several::default());
        Ok(changed)
    }

    fn trace_tuple(
        &mut self,
        code: &Code,
        (node, places): (u32, &[Vec<Sym>]),
        (found, after): (&State, &State),
        outcome: Recall,
        lost: bool,
    ) {
        let said = match (outcome, lost, self.plan.policy.carry) {
            (Recall::Restored, _, _) => "restored",
            (Recall::Forgotten, true, CarryPlace::None) => "lost",
            (Recall::Forgotten, true, CarryPlace::Beside | CarryPlace::Inline) => "carried",
            (Recall::Forgotten, false, _) => "changed",
        };
        let text = |text: &Option<Vec<u8>>| text.as_ref().map(|text| String::from_utf8_lossy(text).into_owned());
        for ((path, was), now) in places.iter().zip(found).zip(after) {
            if was != now {
                let place = self.pointer(node, path);
                let effect = match outcome {
                    Recall::Forgotten if !lost => Effect::Changed,
                    _ => Effect::of(was.is_some(), now.is_some(), outcome == Recall::Restored, lost),
                };
                self.note(code, place, text(was), text(now), (effect, said));
            }
        }
    }
}

impl Several {
    /// Whether the op makes what was there of what was put there, but for its spelling.
    pub(super) fn spells(&self, direction: Direction, tuple: &Tuple) -> bool {
        !self.was.is_empty()
            && tuple.apply(direction, &state(&self.put)).is_ok_and(|back| every(&back, &state(&self.was), json::equal))
    }
}

fn state(texts: &[Option<String>]) -> State {
    texts.iter().map(|text| text.as_ref().map(|text| text.clone().into_bytes())).collect()
}

fn texts(state: &State) -> Vec<Option<String>> {
    state.iter().map(|text| text.as_deref().map(json::owned)).collect()
}

/// Whether two states have the same places, and what stands at each is the same to `same`.
fn every(a: &State, b: &State, same: impl Fn(&[u8], &[u8]) -> bool) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| match (a, b) {
            (Some(a), Some(b)) => same(a, b),
            (None, None) => true,
            (None, Some(_)) | (Some(_), None) => false,
        })
}
