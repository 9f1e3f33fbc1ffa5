//! What comes to the end of an object, and what becomes of one whose members have left.

use super::edit::Made;
use super::{Object, Walk};
use crate::fuse::{Deed, Event, Gone, What};
use crate::grammar::Done;
use crate::json;
use crate::op::{Direction, Emptied};
use crate::plan::{Body, Place};

/// What stands before a member that comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lead {
    Nothing,
    Comma,
    Text(usize, usize),
}

/// The turn of the first member that came, or [`NOBODY`].
type Came = u32;

/// No member has come.
const NOBODY: Came = Came::MAX;

/// What has left an object that others come to.
struct Left {
    /// How many members the object has had.
    members: usize,
    /// Where their turns start.
    turns: usize,
    /// What stood before the first of those at the end of the object, and the last of their turns.
    trailing: Option<(usize, usize, u32)>,
}

impl<'r> Walk<'r> {
    /// Writes the end of an object.
    #[inline(never)]
    pub(super) fn close(&mut self, object: &mut Object<'r>, given: bool, depth: usize) -> Option<()> {
        if object.below.star.is_some() {
            self.keys_differ(object.keys).then_some(())?;
            self.desk.keys.truncate(object.keys);
        }
        let events = &object.fate.events;
        let empty = self.desk.leavers.len() - object.leavers == object.members;
        let goes = |last: &Gone| empty && last.emptied == Emptied::Goes && last.parents > 0;
        let last = object.last.filter(goes);
        if empty && (last.is_some() || !given) && events.iter().any(|event| self.may_come(event)) {
            return None; // a parent that is empty when something comes is remembered
        }
        if let Some(last) = last {
            // Nothing comes, but what is missing may have to be remembered.
            self.events(&mut NOBODY.clone(), events, depth, None)?;
            self.gone = Some(Gone { parents: last.parents - 1, ..last });
        } else {
            let trailing = object.gap.take().map(|gap| {
                self.write_to(gap.before);
                self.written = object.end;
                (gap.before, gap.start, gap.last)
            });
            if !events.is_empty() {
                self.write_to(object.end);
                let left = Left { members: object.members, turns: object.leavers, trailing };
                self.events(&mut NOBODY.clone(), events, depth, Some(&left))?;
            }
        }
        self.desk.leavers.truncate(object.leavers);
        Some(())
    }

    /// Whether no key stands twice.
    fn keys_differ(&mut self, from: usize) -> bool {
        let text = self.grammar.text;
        let keys = self.desk.keys.get(from..).unwrap_or_default().iter();
        let mut keys: Vec<_> =
            keys.map(|key| json::unescaped(text.get(key.0 as usize..key.1 as usize).unwrap_or_default())).collect();
        keys.sort_unstable();
        keys.windows(2).all(|pair| !matches!(pair, [one, other] if one == other))
    }

    /// The token of a member that is to come from elsewhere, if it was met. It must not be met later.
    fn awaited(&mut self, place: Place) -> Option<usize> {
        let met = self.met(place);
        if met.is_none() {
            self.desk.missed.push((place, self.scope));
        }
        met
    }

    /// Whether an event may put something.
    fn may_come(&mut self, event: &Event) -> bool {
        match &event.what {
            What::Moved(place) => self.awaited(*place).is_some(),
            What::Put { unless, deeds } => {
                !deeds.first().is_some_and(|deed| deed.goes(self.direction))
                    && unless.is_none_or(|place| self.met(place).is_none())
            }
            What::Object { .. } => true,
        }
    }

    /// Writes what comes to an object, of which these have left, or to one that is made. Tells the first that came.
    fn events(&mut self, came: &mut Came, events: &'r [Event], depth: usize, left: Option<&Left>) -> Option<()> {
        for event in events {
            match &event.what {
                What::Put { unless: Some(place), .. } if self.met(*place).is_some() => {}
                What::Put { .. } if event.is_literal => {
                    self.lead(came, event.order, left, event);
                    self.counts.defaulted += event.defaults;
                }
                What::Put { deeds, .. } => {
                    let made = self.worked(deeds, Made::Absent)?;
                    if !matches!(made, Made::Absent) {
                        self.lead(came, event.order, left, event);
                        self.write(made);
                    }
                }
                What::Moved(place) => {
                    if let Some(token) = self.awaited(*place) {
                        self.lead(came, event.order, left, event);
                        self.moved(*place, token, depth)?;
                    }
                }
                What::Object { first: false, .. } => {}
                What::Object { place, first: true } => {
                    if self.met(*place).is_none() {
                        self.made(came, event, *place, depth, left)?;
                    }
                }
            }
        }
        Some(())
    }

    /// Writes the value of a member that comes from elsewhere.
    #[inline(never)]
    fn moved(&mut self, place: Place, token: usize, depth: usize) -> Option<()> {
        let written = std::mem::replace(&mut self.written, self.grammar.token(token));
        let fate = self.fused.fates.get(usize::from(place))?;
        let done = self.value(place, fate, token, false, depth);
        if done == Done::FAIL || self.gone.take().is_some() {
            return None;
        }
        self.write_to(done.end());
        self.written = written;
        Some(())
    }

    /// Writes a new object with all that comes to it, if anything does.
    #[inline(never)]
    fn made(
        &mut self,
        came: &mut Came,
        event: &'r Event,
        place: Place,
        depth: usize,
        left: Option<&Left>,
    ) -> Option<()> {
        let inner = &self.fused.fates.get(usize::from(place))?.events;
        let (mark, before) = (self.desk.out.len(), *came);
        let guess = match before {
            NOBODY => inner.iter().find(|event| self.may_come(event)).map_or(event.order, |first| first.order),
            _ => event.order,
        };
        self.lead(came, guess, left, event);
        let mut order = NOBODY;
        self.events(&mut order, inner, depth + 1, None)?;
        if order == NOBODY {
            self.desk.out.truncate(mark);
            *came = before;
            return Some(());
        }
        let as_guessed = order == guess || self.before(before, order, left) == self.before(before, guess, left);
        if !as_guessed || inner.iter().any(|event| event.lets_parents_stay) {
            return None; // that the object was missing is remembered
        }
        *came = if before == NOBODY { order } else { before };
        self.desk.out.push(b'}');
        Some(())
    }

    /// Writes what is known of an event beforehand, and what stands before it.
    #[inline(always)]
    fn lead(&mut self, came: &mut Came, order: u32, left: Option<&Left>, event: &Event) {
        let (start, end) = event.text;
        let start = match self.before(*came, order, left) {
            Lead::Comma => start,
            Lead::Nothing => start + 1,
            Lead::Text(from, to) => {
                self.copy(from, to);
                start + 1
            }
        };
        self.desk.out.copy(&self.fused.text, start, end);
        if *came == NOBODY {
            *came = order;
        }
    }

    /// What stands before a member that comes, by its turn. If members at the end have left after it came (a move puts
    /// before it takes), it has inherited what stood before the first of them.
    fn before(&self, came: Came, order: u32, left: Option<&Left>) -> Lead {
        if came != NOBODY {
            return Lead::Comma;
        }
        let Some(&Left { members, turns, trailing }) = left else { return Lead::Nothing };
        let turns = self.desk.leavers.get(turns..).unwrap_or_default();
        match trailing {
            Some((from, to, last)) if last >= order => Lead::Text(from, to),
            _ if turns.iter().filter(|turn| **turn < order).count() == members => Lead::Nothing,
            _ => Lead::Comma,
        }
    }
}

impl Deed {
    fn goes(&self, direction: Direction) -> bool {
        matches!(&self.code.body, Body::Edit { edit, .. } if edit.goes(direction))
    }
}
