//! The grammar of JSON over tokens: what nobody touches is checked, and only its end is told.
//!
//! [`Index`] has found the tokens and checked the strings. A call returns the next token and the end of its value in
//! one number, so that nothing wide goes through memory; what is wrong is only said to be wrong, and [`crate::cursor`]
//! tells where.

use wide::u8x16;

use crate::cursor::{literal, number};
use crate::index::{AHEAD, Index};

/// The tokens of one text.
pub(crate) struct Grammar<'s> {
    pub(crate) text: &'s [u8],
    tokens: &'s [u32],
    index: &'s Index,
    /// Deeper than this is a failure.
    max_depth: usize,
    /// The deepest nesting so far.
    pub(crate) deepest: usize,
}

/// Where a value has ended, and the token behind it; or a failure.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Done(u64);

impl Done {
    pub(crate) const FAIL: Done = Done(u64::MAX);

    #[inline(always)]
    pub(crate) fn new(next: usize, end: usize) -> Done {
        Done((next as u64) << 32 | end as u64)
    }

    #[inline(always)]
    pub(crate) fn next(self) -> usize {
        (self.0 >> 32) as usize
    }

    #[inline(always)]
    pub(crate) fn end(self) -> usize {
        self.0 as u32 as usize
    }
}

impl<'s> Grammar<'s> {
    /// The tokens of a text that the index has read.
    pub(crate) fn new(text: &'s [u8], index: &'s Index, max_depth: usize) -> Grammar<'s> {
        Grammar { text, tokens: index.tokens(), index, max_depth, deepest: 0 }
    }

    /// Whether all of the text is one value, which has ended here.
    pub(crate) fn is_whole(&self, done: Done) -> bool {
        done != Done::FAIL && done.next() + AHEAD == self.tokens.len()
    }

    /// Where a token stands. Nobody looks further than [`AHEAD`].
    #[inline(always)]
    pub(crate) fn token(&self, i: usize) -> usize {
        self.tokens.get(i).map_or(0, |at| *at as usize)
    }

    /// The first byte of a token, or whatever stands behind the text.
    #[inline(always)]
    pub(crate) fn at(&self, i: usize) -> u8 {
        self.text.get(self.token(i)).copied().unwrap_or(0)
    }

    /// Where the next tokens stand.
    #[inline(always)]
    pub(crate) fn next<const N: usize>(&self, i: usize) -> Option<&[u32; N]> {
        const { assert!(N <= AHEAD, "so many stand behind the text") }
        self.tokens.get(i..)?.first_chunk()
    }

    /// The byte of a token.
    #[inline(always)]
    pub(crate) fn byte(&self, token: u32) -> u8 {
        self.text.get(token as usize).copied().unwrap_or(0)
    }

    /// The quotes of a key, if a key and a colon stand here.
    #[inline(always)]
    pub(crate) fn key(&self, i: usize) -> Option<(usize, usize)> {
        let [open, close, colon] = *self.next(i)?;
        (self.byte(open) == b'"' && self.byte(colon) == b':').then_some((open as usize, close as usize))
    }

    /// Whether a backslash stands between two places of one string.
    #[inline(always)]
    pub(crate) fn slashed(&self, from: usize, to: usize) -> bool {
        self.index.slashed(from, to)
    }

    #[inline(always)]
    pub(crate) fn enter(&mut self, depth: usize) -> bool {
        self.deepest = self.deepest.max(depth);
        depth <= self.max_depth
    }

    /// Validates a value that nobody touches. `depth` is that of the container around it.
    #[inline(always)]
    pub(crate) fn skip(&mut self, i: usize, depth: usize) -> Done {
        match self.at(i) {
            b'"' => Done::new(i + 2, self.token(i + 1) + 1),
            _ => self.skip_other(i, depth),
        }
    }

    #[inline(never)]
    fn skip_other(&mut self, i: usize, depth: usize) -> Done {
        match self.at(i) {
            b'{' => self.skip_object(i, depth + 1),
            b'[' => self.skip_array(i, depth + 1),
            _ => self.scalar(i),
        }
    }

    #[inline(never)]
    fn skip_object(&mut self, open: usize, depth: usize) -> Done {
        if !self.enter(depth) {
            return Done::FAIL;
        }
        let mut i = open + 1;
        if self.at(i) != b'}' {
            loop {
                if self.key(i).is_none() {
                    return Done::FAIL;
                }
                let done = self.skip(i + 3, depth);
                if done == Done::FAIL {
                    return done;
                }
                i = done.next();
                match self.at(i) {
                    b',' => i += 1,
                    b'}' => break,
                    _ => return Done::FAIL,
                }
            }
        }
        Done::new(i + 1, self.token(i) + 1)
    }

    #[inline(never)]
    fn skip_array(&mut self, open: usize, depth: usize) -> Done {
        if !self.enter(depth) {
            return Done::FAIL;
        }
        let mut i = open + 1;
        if self.at(i) != b']' {
            loop {
                let done = self.skip(i, depth);
                if done == Done::FAIL {
                    return done;
                }
                i = done.next();
                match self.at(i) {
                    b',' => i += 1,
                    b']' => break,
                    _ => return Done::FAIL,
                }
            }
        }
        Done::new(i + 1, self.token(i) + 1)
    }

    /// A number, `true`, `false` or `null`, up to white space or the next token.
    #[inline(always)]
    fn scalar(&mut self, i: usize) -> Done {
        let start = self.token(i);
        let next = self.token(i + 1);
        // Most numbers are a few digits, with the next token right behind them.
        if let Some(lane) = self.text.get(start..).and_then(<[u8]>::first_chunk::<16>) {
            let lane = u8x16::new(*lane);
            let digits = lane.max(u8x16::splat(b'0')).min(u8x16::splat(b'9')).simd_eq(lane).to_bitmask();
            let length = next - start;
            let all = digits.trailing_ones() as usize >= length && length <= 16;
            if all && (self.at(i) != b'0' || length == 1) {
                return Done::new(i + 1, next);
            }
        }
        let end = match self.at(i) {
            b'-' | b'0'..=b'9' => number(self.text, start),
            _ => literal(self.text, start),
        };
        let Some(end) = end else { return Done::FAIL };
        // What goes on behind a scalar without being a token is no white space.
        if end != next && !matches!(self.text.get(end), Some(b' ' | b'\n' | b'\r' | b'\t')) || end > next {
            return Done::FAIL;
        }
        Done::new(i + 1, end)
    }
}
