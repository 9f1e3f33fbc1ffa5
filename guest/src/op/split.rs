//! `split` and `join`: one string that becomes several.

use crate::json::{self, Kind};
use crate::op::tuple::{Said, Wrong};
use crate::op::{Direction, Refusal};

/// `{ split = "/name", to = ["/first", "/last"], by = " ", rest = "last" }`.
#[derive(Clone, Debug)]
pub(crate) struct Split {
    /// What stands between the parts; not empty.
    pub(crate) by: String,
    /// How many parts there are, at most.
    pub(crate) parts: usize,
    pub(crate) rest: Rest,
}

/// Which part takes what is left where the separator stands more often than there are parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    First,
    Last,
}

impl Split {
    pub(crate) fn write(&self, direction: Direction, inputs: &[Option<&[u8]>]) -> Result<Vec<Said>, Wrong> {
        let mut inner = Vec::new();
        for (index, text) in inputs.iter().enumerate() {
            let Some(text) = text else { continue };
            if Kind::of(text) != Kind::String {
                return Err((index, Refusal::wrong_type("a string", text)));
            }
            inner.push(text.get(1..text.len() - 1).unwrap_or_default());
        }
        let quoted = |inner: &[u8]| Said::Text([b"\"", inner, b"\""].concat());
        Ok(match direction {
            Direction::Up => {
                let pieces = inner.first().map(|inner| self.pieces(inner)).unwrap_or_default();
                let mut said: Vec<Said> = pieces.into_iter().map(quoted).collect();
                said.resize(self.parts, Said::Absent);
                said
            }
            Direction::Down if inner.is_empty() => vec![Said::Absent],
            Direction::Down => {
                let by = json::quoted(&self.by);
                vec![quoted(&inner.join(by.get(1..by.len() - 1).unwrap_or_default().as_bytes()))]
            }
        })
    }

    /// Cuts what stands between the quotes of a string. Pieces keep their escapes.
    fn pieces<'t>(&self, inner: &'t [u8]) -> Vec<&'t [u8]> {
        let mut cuts = Vec::new();
        let mut at = 0;
        while at < inner.len() {
            match separator(inner.get(at..).unwrap_or_default(), self.by.as_bytes()) {
                Some(length) => {
                    cuts.push((at, at + length));
                    at += length;
                }
                None => at += json::character(inner.get(at..).unwrap_or_default()).0,
            }
        }
        let surplus = (cuts.len() + 1).saturating_sub(self.parts);
        match self.rest {
            Rest::Last => cuts.truncate(cuts.len() - surplus),
            Rest::First => cuts = cuts.split_off(surplus),
        }
        let mut pieces = Vec::new();
        let mut start = 0;
        for (end, next) in cuts {
            pieces.push(inner.get(start..end).unwrap_or_default());
            start = next;
        }
        pieces.push(inner.get(start..).unwrap_or_default());
        pieces
    }
}

/// How long the separator is as it is spelled at the start of a text, if it stands there.
fn separator(text: &[u8], by: &[u8]) -> Option<usize> {
    let (mut length, mut rest) = (0, by);
    while !rest.is_empty() {
        let (size, said) = json::character(text.get(length..).filter(|text| !text.is_empty())?);
        rest = rest.strip_prefix(said.as_slice())?;
        length += size;
    }
    Some(length)
}
