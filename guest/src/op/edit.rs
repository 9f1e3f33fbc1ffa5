//! Edits: functions of one member's text or absence, each with its inverse.

use std::borrow::Cow;

use crate::json;
use crate::number::Scale;
use crate::op::convert::{self, Convert};
use crate::op::key_by::KeyBy;
use crate::op::map::Map;
use crate::op::wrap::Wrap;
use crate::op::{Direction, Emptied, Loss, Refusal, Taken};
use crate::pack::CarryPlace;
use crate::path::{Path, Seg};
use crate::time::{self, TimeFormat};

/// A function of one member's text or absence, and its inverse.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    /// `{ add = "/a", value = 1 }`: put in where absent; taken out on the way back.
    Add { value: String, taken: Taken },
    /// `{ remove = "/a", restore = "" }`: taken out; on the way back `restore` is put in where absent.
    Remove { restore: Option<String> },
    /// `{ default = "/a", lower = 1, upper = 2 }`: what an absent member means is made explicit.
    Default { lower: Option<String>, upper: Option<String> },
    /// `{ map = "/a", values = [["x", 1]], otherwise = "keep" }`: cell by cell.
    Map(Map),
    /// `{ scale = "/a", factor = 1000, offset = 0, digits = 0, round = "floor" }`: number × factor + offset.
    Scale(Scale),
    /// `{ time = "/a", lower = "unix-s", upper = "rfc3339" }`: a point in time in two forms.
    Time { lower: TimeFormat, upper: TimeFormat },
    /// `{ convert = "/a", lower = "string", upper = "number" }`: strings, numbers and booleans into one another.
    Convert(Convert),
    /// `{ wrap = "/a", on_edit = "head" }`: a value becomes an element of a list.
    Wrap(Wrap),
    /// `{ key_by = "/a", key = "id" }`: a list of objects becomes an object of objects.
    KeyBy(KeyBy),
    /// `unwrap`, `list`: another edit with its sides swapped.
    Swapped(Box<Edit>),
    /// No op of a pack: the versions' markers, written at the end of each step.
    Stamp { lower: Option<String>, upper: Option<String> },
}

/// What an edit leaves at its place.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Put<'p> {
    /// Nothing.
    Absent,
    /// What was there.
    Same,
    /// A text of the pack's or the carry's.
    Text(&'p str),
    /// What the edit has written into the buffer that it was given.
    Written,
}

impl<'p> Put<'p> {
    /// The text that stands at the place afterwards, or none for absence.
    pub(crate) fn text<'t>(self, found: Option<&'t [u8]>, written: &'t [u8]) -> Option<&'t [u8]>
    where
        'p: 't,
    {
        match self {
            Put::Absent => None,
            Put::Same => found,
            Put::Text(text) => Some(text.as_bytes()),
            Put::Written => Some(written),
        }
    }

    pub(crate) fn literal(text: &'p Option<String>) -> Put<'p> {
        text.as_deref().map_or(Put::Absent, Put::Text)
    }

    fn kept(text: Option<&'p str>) -> Put<'p> {
        text.map_or(Put::Absent, Put::Text)
    }
}

/// What an entry of the carry says of one text: what was there, and what was put there.
pub(crate) type Remembered<'m> = (Option<&'m str>, Option<&'m str>);

/// What the carry is to remember of one text: what was there, and what was put there.
pub(crate) type Memory<'t> = (Option<Cow<'t, [u8]>>, Option<Cow<'t, [u8]>>);

/// What an edit makes of what the carry remembers.
pub(crate) enum Recalled<'p> {
    /// Nothing: somebody has edited the value, and the edit wins.
    Nothing,
    /// The original, as nobody has edited what was put there.
    Original(Put<'p>),
    /// Some of the original, and some of an edit: its inverse must be looked at again.
    Merged(Put<'p>),
}

impl Edit {
    /// What stands at the place afterwards. A text that is neither there nor in the pack replaces what is in `out`.
    pub(crate) fn write(
        &self,
        direction: Direction,
        found: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<Put<'_>, Refusal> {
        Ok(match (self, direction, found) {
            (Edit::Add { value, .. }, Direction::Up, None) => Put::Text(value),
            (Edit::Add { value, taken: Taken::Overwritten }, Direction::Up, Some(_)) => Put::Text(value),
            (Edit::Add { taken: Taken::Refused, .. }, Direction::Up, Some(_)) => Put::Same,
            (Edit::Add { .. }, Direction::Down, _) | (Edit::Remove { .. }, Direction::Up, _) => Put::Absent,
            (Edit::Remove { restore }, Direction::Down, None) => Put::literal(restore),
            (Edit::Remove { .. }, Direction::Down, Some(_)) | (Edit::Default { .. }, _, Some(_)) => Put::Same,
            (Edit::Default { lower, .. }, Direction::Up, None) => Put::literal(lower),
            (Edit::Default { upper, .. }, Direction::Down, None) => Put::literal(upper),
            (Edit::Stamp { upper, .. }, Direction::Up, _) => Put::literal(upper),
            (Edit::Stamp { lower, .. }, Direction::Down, _) => Put::literal(lower),
            (Edit::Map(map), _, _) => map.write(direction, found)?,
            (Edit::Wrap(wrap), _, _) => wrap.write(direction, found, out)?,
            (Edit::KeyBy(key_by), _, _) => key_by.write(direction, found, out)?,
            (Edit::Swapped(edit), _, _) => edit.write(direction.opposite(), found, out)?,
            (Edit::Scale(_) | Edit::Time { .. } | Edit::Convert(_), _, None) => Put::Absent,
            (Edit::Convert(convert), _, Some(text)) => convert.write(direction, text, out)?,
            (Edit::Scale(scale), _, Some(text)) => {
                if !scale.by_zeros(direction, text, out) {
                    *out = convert::scaled(scale, direction, text)?;
                }
                Put::Written
            }
            (Edit::Time { lower, upper }, _, Some(text)) => {
                let (from, to) = direction.sides(lower, upper);
                if !time::at_once(from, to, text, out) {
                    *out = convert::retimed(from, to, text)?;
                }
                Put::Written
            }
        })
    }

    /// The zeros that this puts behind a number, if that is all it does and the other direction takes them away again.
    #[inline]
    pub(crate) fn zeros(&self, direction: Direction, found: &[u8]) -> Option<&'static [u8]> {
        match (self, direction) {
            (Edit::Scale(scale), Direction::Up) => scale.zeros_behind(found),
            _ => None,
        }
    }

    /// What [`Edit::write`] leaves, if it is sure without a look that the other direction makes the input of it again.
    #[inline]
    pub(crate) fn quick(&self, direction: Direction, found: Option<&[u8]>, out: &mut Vec<u8>) -> Option<Put<'_>> {
        match (self, direction, found) {
            (Edit::Add { value, .. }, Direction::Up, None) => Some(Put::Text(value)),
            (Edit::Scale(scale), Direction::Up, Some(text)) => {
                scale.by_zeros(direction, text, out).then_some(Put::Written)
            }
            (Edit::Time { lower, upper }, _, Some(text)) => {
                let (from, to) = direction.sides(lower, upper);
                time::at_once(from, to, text, out).then_some(Put::Written)
            }
            (Edit::Scale(_) | Edit::Time { .. }, _, None) => Some(Put::Absent),
            (Edit::Map(map), _, Some(text)) => map.quick(direction, text),
            (Edit::Stamp { lower: None, upper: Some(value) }, Direction::Up, None) => Some(Put::Text(value)),
            (Edit::Stamp { lower: Some(value), upper: None }, Direction::Down, None) => Some(Put::Text(value)),
            _ => None,
        }
    }

    /// What the carry's memory of the place comes to, now that `found` stands there.
    pub(crate) fn recall<'m>(
        &'m self,
        direction: Direction,
        found: Option<&[u8]>,
        memory: Remembered<'m>,
        out: &mut Vec<u8>,
    ) -> Recalled<'m> {
        let (was, put) = memory;
        match (self, direction) {
            (Edit::Swapped(edit), _) => edit.recall(direction.opposite(), found, memory, out),
            (Edit::KeyBy(key_by), Direction::Down) => key_by.recall(found, was, out),
            // What the one server has there is none of the other's business.
            (Edit::Add { taken: Taken::Overwritten, .. }, _) => Recalled::Merged(Put::kept(was)),
            _ if json::alike(put.map(str::as_bytes), found) => {
                // What the op left as it was stays as it is now, in whatever spelling.
                let put = if was.is_some() && was == put { Put::Same } else { Put::kept(was) };
                if self.merges() { Recalled::Merged(put) } else { Recalled::Original(put) }
            }
            (Edit::Wrap(wrap), Direction::Up) => wrap.recall(found, was, out),
            (
                Edit::Add { .. }
                | Edit::Remove { .. }
                | Edit::Default { .. }
                | Edit::Map(_)
                | Edit::Scale(_)
                | Edit::Time { .. }
                | Edit::Convert(_)
                | Edit::Wrap(_)
                | Edit::KeyBy(_)
                | Edit::Stamp { .. },
                _,
            ) => Recalled::Nothing,
        }
    }

    /// The carry's one rule: what was there and what was put there, where the inverse of what was put isn't what was
    /// there. A pack without a carry doesn't remember how a value was spelled.
    pub(crate) fn memory<'t>(
        &self,
        direction: Direction,
        found: Option<&'t [u8]>,
        now: Option<&'t [u8]>,
        carry: CarryPlace,
        back: &mut Vec<u8>,
    ) -> Option<Memory<'t>> {
        let put = self.write(direction.opposite(), now, back);
        let back = put.map(|put| put.text(now, back));
        if matches!(back, Ok(back) if self.comes_back(back, found)) {
            return self.keepsake(direction, found).map(|keepsake| (Some(Cow::Owned(keepsake.into_bytes())), None));
        }
        let spelling = || matches!((back, found), (Ok(Some(back)), Some(found)) if json::equal(back, found));
        (carry != CarryPlace::None || !spelling()).then(|| (found.map(Cow::Borrowed), now.map(Cow::Borrowed)))
    }

    /// What must be remembered of a text even though the inverse brings it back, as servers may lose it by themselves.
    fn keepsake(&self, direction: Direction, found: Option<&[u8]>) -> Option<String> {
        match (self, direction) {
            (Edit::Swapped(edit), _) => edit.keepsake(direction.opposite(), found),
            (Edit::KeyBy(key_by), Direction::Up) => key_by.order(found?),
            _ => None,
        }
    }

    /// Whether what the inverse gives is what was there: the text itself, but for lists and objects that the op builds
    /// anew, in which white space and the order of members say nothing.
    fn comes_back(&self, back: Option<&[u8]>, found: Option<&[u8]>) -> bool {
        match (back, found) {
            (Some(back), Some(found)) if self.merges() => json::same(back, found),
            (back, found) => json::identical(back, found),
        }
    }

    /// Whether a memory can be joined with an edit, so that what comes of it isn't a function of one text alone.
    fn merges(&self) -> bool {
        match self {
            Edit::Wrap(_) | Edit::KeyBy(_) | Edit::Add { taken: Taken::Overwritten, .. } => true,
            Edit::Swapped(edit) => edit.merges(),
            Edit::Add { .. }
            | Edit::Remove { .. }
            | Edit::Default { .. }
            | Edit::Map(_)
            | Edit::Scale(_)
            | Edit::Time { .. }
            | Edit::Convert(_)
            | Edit::Stamp { .. } => false,
        }
    }

    /// Whether this writes a version's marker, which is no value of anybody's.
    pub(crate) fn is_stamp(&self) -> bool {
        matches!(self, Edit::Stamp { .. })
    }

    /// Whether nothing is left, whatever was there.
    pub(crate) fn goes(&self, direction: Direction) -> bool {
        match (self, direction) {
            (Edit::Add { .. }, Direction::Down) | (Edit::Remove { .. }, Direction::Up) => true,
            _ => self.takes_out(direction),
        }
    }

    /// What becomes of a parent that the edit empties.
    pub(crate) fn emptied(&self) -> Emptied {
        match self {
            Edit::Remove { .. } => Emptied::Stays,
            Edit::Add { .. }
            | Edit::Default { .. }
            | Edit::Map(_)
            | Edit::Scale(_)
            | Edit::Time { .. }
            | Edit::Convert(_)
            | Edit::Wrap(_)
            | Edit::KeyBy(_)
            | Edit::Swapped(_)
            | Edit::Stamp { .. } => Emptied::Goes,
        }
    }

    /// Whether this is a stamp that leaves nothing behind.
    pub(crate) fn takes_out(&self, direction: Direction) -> bool {
        match (self, direction) {
            (Edit::Stamp { upper, .. }, Direction::Up) => upper.is_none(),
            (Edit::Stamp { lower, .. }, Direction::Down) => lower.is_none(),
            _ => false,
        }
    }

    /// How deep the texts are that the edit puts in.
    pub(crate) fn depth(&self) -> u32 {
        let texts: Vec<&String> = match self {
            Edit::Add { value, .. } => vec![value],
            Edit::Remove { restore } => restore.iter().collect(),
            Edit::Map(map) => map.texts(),
            Edit::Stamp { lower, upper } | Edit::Default { lower, upper } => lower.iter().chain(upper).collect(),
            Edit::Wrap(wrap) => return wrap.depth(),
            Edit::Swapped(edit) => return edit.depth(),
            Edit::Scale(_) | Edit::Time { .. } | Edit::Convert(_) | Edit::KeyBy(_) => Vec::new(),
        };
        texts.into_iter().map(|text| json::depth(text.as_bytes())).max().unwrap_or(0)
    }

    /// How much deeper the edit can make what it finds.
    pub(crate) fn growth(&self) -> u32 {
        match self {
            Edit::Wrap(wrap) => wrap.growth(),
            Edit::Swapped(edit) => edit.growth(),
            Edit::Add { .. }
            | Edit::Remove { .. }
            | Edit::Default { .. }
            | Edit::Map(_)
            | Edit::Scale(_)
            | Edit::Time { .. }
            | Edit::Convert(_)
            | Edit::KeyBy(_)
            | Edit::Stamp { .. } => 0,
        }
    }

    /// Whether an absent member is more to this edit than nothing to do.
    pub(crate) fn speaks_of_absence(&self) -> bool {
        match self {
            Edit::Add { .. } | Edit::Stamp { .. } | Edit::Default { .. } => true,
            Edit::Remove { restore } => restore.is_some(),
            Edit::Map(map) => map.speaks_of_absence(),
            Edit::Scale(_) | Edit::Time { .. } | Edit::Convert(_) | Edit::Wrap(_) | Edit::KeyBy(_) => false,
            Edit::Swapped(edit) => edit.speaks_of_absence(),
        }
    }

    /// Whether the servers that a direction starts from know the member.
    pub(crate) fn begins(&self, direction: Direction) -> bool {
        match self {
            Edit::Add { .. } => direction == Direction::Down,
            Edit::Remove { .. } => direction == Direction::Up,
            Edit::Swapped(edit) => edit.begins(direction.opposite()),
            Edit::Default { .. }
            | Edit::Map(_)
            | Edit::Scale(_)
            | Edit::Time { .. }
            | Edit::Convert(_)
            | Edit::Wrap(_)
            | Edit::KeyBy(_)
            | Edit::Stamp { .. } => true,
        }
    }

    /// Whether a value stays at its place and keeps the way it is laid out.
    pub(crate) fn stays(&self) -> bool {
        match self {
            Edit::Map(map) => !map.speaks_of_absence(),
            Edit::Scale(_) | Edit::Time { .. } | Edit::Convert(_) => true,
            Edit::Add { .. }
            | Edit::Remove { .. }
            | Edit::Default { .. }
            | Edit::Wrap(_)
            | Edit::KeyBy(_)
            | Edit::Swapped(_)
            | Edit::Stamp { .. } => false,
        }
    }

    /// The places below its own that the edit looks at.
    pub(crate) fn below(&self) -> Vec<Path> {
        match self {
            Edit::Wrap(wrap) => wrap.below(),
            Edit::KeyBy(key_by) => key_by.below(),
            Edit::Swapped(edit) => edit.below(),
            Edit::Add { .. }
            | Edit::Remove { .. }
            | Edit::Default { .. }
            | Edit::Map(_)
            | Edit::Scale(_)
            | Edit::Time { .. }
            | Edit::Convert(_)
            | Edit::Stamp { .. } => Vec::new(),
        }
    }

    /// Where the member stands below a list that becomes the key of its elements, which are members from then on.
    pub(crate) fn key(&self, direction: Direction) -> Option<Path> {
        match (self, direction) {
            (Edit::Swapped(edit), _) => edit.key(direction.opposite()),
            (Edit::KeyBy(key_by), Direction::Up) => Some(key_by.path()),
            _ => None,
        }
    }

    /// Whether the edit makes members of elements, or elements of members.
    pub(crate) fn keys(&self) -> bool {
        self.key(Direction::Up).or(self.key(Direction::Down)).is_some()
    }

    /// Pairs of places below its own, older and newer, whose values the edit takes from the one to the other.
    pub(crate) fn passages(&self) -> Vec<(Path, Path)> {
        match self {
            Edit::Wrap(wrap) => vec![(Path::default(), wrap.scalar())],
            Edit::KeyBy(_) => vec![(Path(vec![Seg::Star]), Path(vec![Seg::Star]))],
            Edit::Swapped(edit) => edit.passages().into_iter().map(|(lower, upper)| (upper, lower)).collect(),
            Edit::Add { .. }
            | Edit::Remove { .. }
            | Edit::Default { .. }
            | Edit::Map(_)
            | Edit::Scale(_)
            | Edit::Time { .. }
            | Edit::Convert(_)
            | Edit::Stamp { .. } => Vec::new(),
        }
    }

    /// What the direction can lose on a record that its servers would write.
    pub(crate) fn loss(&self, direction: Direction) -> Loss {
        match (self, direction) {
            (Edit::Add { taken: Taken::Overwritten, .. }, Direction::Up) => Loss::Kept("overwrites a member"),
            (Edit::Add { .. }, Direction::Up) | (Edit::Remove { .. }, Direction::Down) | (Edit::Stamp { .. }, _) => {
                Loss::Nothing
            }
            (Edit::Add { .. }, Direction::Down) | (Edit::Remove { .. }, Direction::Up) => Loss::Kept("drops a member"),
            (Edit::Default { .. }, _) => Loss::Kept("tells no absent member from an explicit one"),
            (Edit::Map(map), _) => map.loss(direction),
            (Edit::Scale(scale), Direction::Up) if scale.upper_digits.is_none() => Loss::Nothing,
            (Edit::Scale(scale), Direction::Down) if scale.down_is_exact() => Loss::Nothing,
            (Edit::Scale(_), _) => Loss::Kept("rounds a number"),
            (Edit::Time { lower, upper }, Direction::Up) => convert::retiming_loss(lower, upper),
            (Edit::Time { lower, upper }, Direction::Down) => convert::retiming_loss(upper, lower),
            (Edit::Convert(convert), _) => convert.loss(),
            (Edit::Wrap(wrap), Direction::Up) if wrap.is_choosy() => {
                Loss::Kept("wraps values that its where leaves out")
            }
            (Edit::Wrap(_), Direction::Up) | (Edit::KeyBy(_), Direction::Down) => Loss::Nothing,
            (Edit::Wrap(_), Direction::Down) => Loss::Kept("has a place for one element"),
            (Edit::KeyBy(_), Direction::Up) => Loss::Kept("has no order of elements"),
            (Edit::Swapped(edit), _) => edit.loss(direction.opposite()),
        }
    }
}
