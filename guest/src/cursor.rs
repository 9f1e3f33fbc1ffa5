//! A validating cursor over JSON text, a byte at a time: for the small texts of packs and carries, for values that an op
//! takes apart, and for saying what is wrong with a record that `scan` has refused.
//!
//! Positions are plain numbers and a failure is one impossible position, so that nothing wide is returned in the loops;
//! what was wrong is kept aside.

/// What is wrong with a document, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// It isn't JSON.
    Syntax { at: u32 },
    /// It is nested deeper than the policy allows.
    Depth { at: u32 },
    /// A key that the plan touches stands twice; the node of the second one.
    Duplicate { node: u32 },
    /// It is no object.
    Opaque,
}

/// A position that no document has.
const FAIL: usize = usize::MAX;

/// No policy allows deeper documents, and nothing that was read or written is deeper.
pub(crate) const DEEPEST: usize = 256;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;
const ODD_HALVES: u64 = 0xf0f0_f0f0_f0f0_f0f0;
const ZEROS: u64 = 0x3030_3030_3030_3030;
const SIXES: u64 = 0x0606_0606_0606_0606;

/// A pass over one text.
pub(crate) struct Cursor<'s> {
    bytes: &'s [u8],
    max_depth: usize,
    flaw: Option<Flaw>,
    pub(crate) deepest: u32,
}

impl<'s> Cursor<'s> {
    /// A pass over text that is known to be valid.
    pub(crate) fn trusting(bytes: &'s [u8]) -> Cursor<'s> {
        Cursor { bytes, max_depth: DEEPEST, flaw: None, deepest: 0 }
    }

    /// What is wrong with a document, if anything is.
    pub(crate) fn flaw(document: &[u8], max_depth: u32) -> Option<Flaw> {
        let mut cursor = Cursor { bytes: document, max_depth: max_depth as usize, flaw: None, deepest: 0 };
        let start = cursor.space(0);
        if cursor.at(start) != b'{' {
            return Some(Flaw::Opaque);
        }
        let end = cursor.skip(start, 0);
        if end == FAIL {
            return cursor.flaw;
        }
        let rest = cursor.space(end);
        (rest != document.len()).then_some(Flaw::Syntax { at: rest as u32 })
    }

    /// The byte at a position, or 0, which stands nowhere in JSON, beyond the end.
    #[inline(always)]
    pub(crate) fn at(&self, position: usize) -> u8 {
        match self.bytes.get(position) {
            Some(byte) => *byte,
            None => 0,
        }
    }

    /// The next position without white space.
    #[inline(always)]
    pub(crate) fn space(&self, mut position: usize) -> usize {
        while matches!(self.at(position), b' ' | b'\n' | b'\r' | b'\t') {
            position += 1;
        }
        position
    }

    /// Whether a text is one valid value and nothing else.
    pub(crate) fn is_value(text: &[u8]) -> bool {
        let mut cursor = Cursor::trusting(text);
        let start = cursor.space(0);
        let end = cursor.skip(start, 0);
        end != FAIL && cursor.space(end) == text.len()
    }

    #[cold]
    fn fail(&mut self, at: usize) -> usize {
        self.flaw.get_or_insert(Flaw::Syntax { at: at.min(self.bytes.len()) as u32 });
        FAIL
    }

    /// Validates a value. `depth` is that of the container around it. Returns its end.
    pub(crate) fn skip(&mut self, start: usize, depth: usize) -> usize {
        match self.at(start) {
            b'"' => self.string(start + 1),
            b'{' => self.container(start, depth + 1, b'}'),
            b'[' => self.container(start, depth + 1, b']'),
            b'-' | b'0'..=b'9' => match number(self.bytes, start) {
                Some(end) => end,
                None => self.fail(start),
            },
            _ => match literal(self.bytes, start) {
                Some(end) => end,
                None => self.fail(start),
            },
        }
    }

    /// Validates an object or an array, as deep as it says itself.
    fn container(&mut self, open: usize, depth: usize, close: u8) -> usize {
        if depth > self.max_depth {
            self.flaw.get_or_insert(Flaw::Depth { at: open as u32 });
            return FAIL;
        }
        self.deepest = self.deepest.max(depth as u32);
        let mut at = self.space(open + 1);
        if self.at(at) == close {
            return at + 1;
        }
        loop {
            if close == b'}' {
                at = self.key(at);
                if at == FAIL {
                    return FAIL;
                }
            }
            at = self.skip(at, depth);
            if at == FAIL {
                return FAIL;
            }
            at = self.space(at);
            match self.at(at) {
                b',' => at = self.space(at + 1),
                byte if byte == close => return at + 1,
                _ => return self.fail(at),
            }
        }
    }

    /// A key and its colon, up to the value.
    #[inline(always)]
    fn key(&mut self, at: usize) -> usize {
        if self.at(at) != b'"' {
            return self.fail(at);
        }
        let end = self.string(at + 1);
        if end == FAIL {
            return FAIL;
        }
        let colon = self.space(end);
        if self.at(colon) != b':' {
            return self.fail(colon);
        }
        self.space(colon + 1)
    }

    /// From behind the opening quote to behind the closing one.
    #[inline]
    pub(crate) fn string(&mut self, start: usize) -> usize {
        let mut at = start;
        let mut high = 0u64;
        loop {
            if let Some(chunk) = self.bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
                let word = u64::from_le_bytes(*chunk);
                let (quotes, slashes) = (word ^ (ONES * b'"' as u64), word ^ (ONES * b'\\' as u64));
                let stop = (quotes.wrapping_sub(ONES) & !quotes)
                    | (slashes.wrapping_sub(ONES) & !slashes)
                    | (word.wrapping_sub(ONES * 0x20) & !word);
                let stop = stop & HIGHS;
                if stop == 0 {
                    high |= word;
                    at += 8;
                    continue;
                }
                // The lowest mark is exact; only marks above it may be false.
                let offset = stop.trailing_zeros() / 8;
                high |= word & ((1u64 << (offset * 8)) - 1);
                at += offset as usize;
            }
            match self.at(at) {
                b'"' => break,
                b'\\' => {
                    at = self.escape(at + 1);
                    if at == FAIL {
                        return FAIL;
                    }
                }
                0..=0x1f => return self.fail(at),
                byte => {
                    high |= u64::from(byte);
                    at += 1;
                }
            }
        }
        if high & HIGHS != 0
            && let Err(error) = std::str::from_utf8(self.bytes.get(start..at).unwrap_or_default())
        {
            return self.fail(start + error.valid_up_to());
        }
        at + 1
    }

    /// From behind a backslash to behind the escape.
    fn escape(&mut self, at: usize) -> usize {
        match self.at(at) {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at + 1,
            b'u' => match self.bytes.get(at + 1..at + 5) {
                Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => at + 5,
                _ => self.fail(at),
            },
            _ => self.fail(at),
        }
    }
}

/// The end of the number that starts here.
#[inline]
pub(crate) fn number(bytes: &[u8], start: usize) -> Option<usize> {
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    let some_digits = |at: usize| {
        let end = digits(bytes, at);
        (end > at).then_some(end)
    };
    let mut at = start + usize::from(byte(start) == b'-');
    at = if byte(at) == b'0' { at + 1 } else { some_digits(at)? };
    if byte(at) == b'.' {
        at = some_digits(at + 1)?;
    }
    if matches!(byte(at), b'e' | b'E') {
        let sign = usize::from(matches!(byte(at + 1), b'+' | b'-'));
        at = some_digits(at + 1 + sign)?;
    }
    Some(at)
}

/// The end of the digits that start here: eight bytes at a time where so many are left.
#[inline(always)]
pub(crate) fn digits(bytes: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        // A byte is a digit if its high half is 3 and stays so after 6 is added.
        let others = ((word & ODD_HALVES) ^ ZEROS) | ((word.wrapping_add(SIXES) & ODD_HALVES) ^ ZEROS);
        if others != 0 {
            return at + others.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

/// The end of `true`, `false` or `null`, if one starts here.
#[inline]
pub(crate) fn literal(bytes: &[u8], start: usize) -> Option<usize> {
    let rest = bytes.get(start..)?;
    match rest.first_chunk::<4>()? {
        b"true" | b"null" => Some(start + 4),
        b"fals" => (rest.get(4) == Some(&b'e')).then_some(start + 5),
        _ => None,
    }
}
