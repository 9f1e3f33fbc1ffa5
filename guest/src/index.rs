//! Bytes to positions: where the tokens of a text stand, found 64 bytes at a time.
//!
//! The first stage of simdjson (Langdale and Lemire, "Parsing Gigabytes of JSON per Second", 2019): masks of a block's
//! quotes, backslashes, structural bytes and white space, of which a few operations on 64 bits make the mask of its
//! tokens. Unlike there, both quotes of a string are tokens, so that a string is skipped without looking at it; and
//! what can be wrong within strings (control characters, escapes, UTF-8) is found here, once and for all.
//! What is thrown away: everything but positions. Costs: four bytes a token, and a bit a byte for the backslashes.

use wide::{i8x16, u8x16};

/// The tokens of one text. Buffers are reused from text to text.
#[derive(Default)]
pub(crate) struct Index {
    /// Where each of `{}[]:,` stands, each quote, and the first byte of each number and literal; whatever is left of
    /// earlier texts behind them.
    tokens: Vec<u32>,
    /// How many of them are this text's.
    count: usize,
    /// A bit for each byte that is a backslash.
    slashes: Vec<u64>,
    /// Where the text starts.
    start: usize,
}

/// How far a block reaches, and so how many bytes behind a text must be there to be read.
pub(crate) const BLOCK: usize = 64;

/// How many tokens stand behind a text.
pub(crate) const AHEAD: usize = 8;

/// Within one block, a bit for each byte.
struct Masks {
    quotes: u64,
    slashes: u64,
    structure: u64,
    /// What is ASCII and neither white space nor a control character.
    solid: u64,
    /// Control characters, white space among them.
    controls: u64,
    /// Beyond ASCII.
    high: u64,
}

impl Index {
    /// Reads what stands from `start` to `end`, behind which [`BLOCK`] more bytes of whatever stand. False if strings
    /// are not as RFC 8259 has them.
    pub(crate) fn read(&mut self, text: &[u8], start: usize, end: usize) -> bool {
        self.count = 0;
        self.slashes.clear();
        self.start = start;
        let (mut escaping, mut within, mut after_scalar) = (0u64, 0u64, 0u64);
        let (mut high_from, mut high_to) = (usize::MAX, 0);
        let mut at = start;
        while at < end {
            let Some(block) = text.get(at..).and_then(<[u8]>::first_chunk::<BLOCK>) else { return false };
            let mut masks = Masks::of(block);
            if end - at < BLOCK {
                masks.cut(end - at);
            }
            let escaped = if masks.slashes | escaping == 0 { 0 } else { masks.escaped(&mut escaping) };
            let quotes = masks.quotes & !escaped;
            let inside = prefix_xor(quotes) ^ within;
            within = ((inside as i64) >> 63) as u64;
            if masks.controls != 0 && masks.controls & (inside | !white(block)) != 0 {
                return false;
            }
            // Most escapes are those of quotes and backslashes, which are known already.
            let others = escaped & inside & !(masks.quotes | masks.slashes);
            if others != 0 && !escapes_are_sound(text, at, others) {
                return false;
            }
            let scalar = masks.solid & !(masks.structure | inside | quotes);
            let starts = scalar & !(scalar << 1 | after_scalar);
            after_scalar = scalar >> 63;
            self.slashes.push(masks.slashes);
            self.note(at as u32, (masks.structure & !inside) | quotes | starts);
            // What is beyond ASCII stands between the first and the last high byte of blocks that have some.
            if masks.high != 0 {
                if masks.high & !inside != 0 {
                    return false;
                }
                high_from = high_from.min(at + masks.high.trailing_zeros() as usize);
                high_to = at + BLOCK - masks.high.leading_zeros() as usize;
            } else if high_from != usize::MAX {
                if std::str::from_utf8(text.get(high_from..high_to).unwrap_or_default()).is_err() {
                    return false;
                }
                high_from = usize::MAX;
            }
            at += BLOCK;
        }
        let rest = text.get(high_from..high_to).unwrap_or_default();
        self.reserve();
        if let Some(ahead) = self.tokens.get_mut(self.count..self.count + AHEAD) {
            ahead.fill(end as u32);
        }
        within == 0 && std::str::from_utf8(rest).is_ok()
    }

    /// Whether a backslash stands between two places of one string.
    #[inline(always)]
    pub(crate) fn slashed(&self, from: usize, to: usize) -> bool {
        let (from, to) = (from - self.start, to - self.start);
        let (first, last) = (from / BLOCK, to / BLOCK);
        let mask = |block: usize| self.slashes.get(block).copied().unwrap_or(0);
        let head = mask(first) >> (from % BLOCK);
        if first == last {
            return head & ((1 << (to - from)) - 1) != 0;
        }
        let tail = mask(last) & ((1 << (to % BLOCK)) - 1);
        head | tail != 0 || (first + 1..last).any(|block| mask(block) != 0)
    }

    /// The tokens, and [`AHEAD`] that stand behind the text, so that a few can be looked at ahead.
    pub(crate) fn tokens(&self) -> &[u32] {
        self.tokens.get(..self.count + AHEAD).unwrap_or_default()
    }

    /// Appends the position of each bit.
    #[inline(always)]
    fn note(&mut self, at: u32, mut bits: u64) {
        let count = bits.count_ones() as usize;
        self.reserve();
        let room = self.tokens.get_mut(self.count..).unwrap_or_default();
        // Eight at a time without a branch for each: what is too many is written over.
        for eight in room.as_chunks_mut::<8>().0 {
            for position in eight {
                *position = at.wrapping_add(bits.trailing_zeros());
                bits &= bits.wrapping_sub(1);
            }
            if bits == 0 {
                break;
            }
        }
        self.count += count;
    }

    /// Makes room for the tokens of a block.
    #[inline(always)]
    fn reserve(&mut self) {
        if self.count + 2 * BLOCK > self.tokens.len() {
            self.grow();
        }
    }

    #[cold]
    fn grow(&mut self) {
        self.tokens.resize(2 * self.tokens.len() + 4 * BLOCK, 0);
    }
}

impl Masks {
    #[inline(always)]
    fn of(block: &[u8; BLOCK]) -> Masks {
        let [a, b, c, d] = [0, 1, 2, 3].map(|lane| lane_of(block, lane));
        let all = |of: &dyn Fn(u8x16) -> u8x16| {
            let bits = |lane: u8x16, at: u32| u64::from(of(lane).to_bitmask()) << (16 * at);
            bits(a, 0) | bits(b, 1) | bits(c, 2) | bits(d, 3)
        };
        let is = |lane: u8x16, byte: u8| lane.simd_eq(u8x16::splat(byte));
        // What few blocks have is looked for in all lanes at once first.
        let any = |of: &dyn Fn(u8x16) -> u8x16| (of(a) | of(b) | of(c) | of(d)).to_bitmask() != 0;
        let rare = |of: &dyn Fn(u8x16) -> u8x16| if any(of) { all(of) } else { 0 };
        // A brace and a bracket differ in one bit.
        let structure = |lane: u8x16| {
            let folded = lane | u8x16::splat(0x20);
            is(folded, b'{') | is(folded, b'}') | is(lane, b':') | is(lane, b',')
        };
        Masks {
            quotes: all(&|lane| is(lane, b'"')),
            slashes: rare(&|lane| is(lane, b'\\')),
            structure: all(&structure),
            // Signed: what is beyond ASCII is negative.
            solid: all(&|lane| lane.cast_signed().simd_gt(i8x16::splat(b' ' as i8)).cast_unsigned()),
            controls: if (a.min(b).min(c.min(d))).simd_lt(u8x16::splat(b' ')).any() {
                all(&|lane| lane.simd_lt(u8x16::splat(b' ')))
            } else {
                0
            },
            high: rare(&|lane| lane),
        }
    }

    /// Forgets what stands behind the first bytes.
    #[cold]
    fn cut(&mut self, length: usize) {
        let kept = (1 << length) - 1;
        self.quotes &= kept;
        self.slashes &= kept;
        self.structure &= kept;
        self.solid &= kept;
        self.controls &= kept;
        self.high &= kept;
    }

    /// The bytes that a backslash before them escapes. `escaping` is 1 if the last byte of the block before does so.
    #[inline(always)]
    fn escaped(&self, escaping: &mut u64) -> u64 {
        const ODD: u64 = 0xaaaa_aaaa_aaaa_aaaa;
        let potential = self.slashes & !*escaping;
        let maybe = potential << 1;
        // Subtracting carries through each run of backslashes: every second one escapes.
        let codes = (maybe | ODD).wrapping_sub(potential) ^ ODD;
        let escaped = codes ^ (self.slashes | *escaping);
        *escaping = (codes & self.slashes) >> 63;
        escaped
    }
}

#[inline(always)]
fn lane_of(block: &[u8; BLOCK], lane: usize) -> u8x16 {
    u8x16::new(block.as_chunks::<16>().0.get(lane).copied().unwrap_or_default())
}

/// For each bit the parity of the bits up to it.
#[inline(always)]
fn prefix_xor(mut bits: u64) -> u64 {
    bits ^= bits << 1;
    bits ^= bits << 2;
    bits ^= bits << 4;
    bits ^= bits << 8;
    bits ^= bits << 16;
    bits ^ (bits << 32)
}

/// The white space of a block.
#[inline(never)]
fn white(block: &[u8; BLOCK]) -> u64 {
    let (lanes, _) = block.as_chunks::<16>();
    lanes.iter().enumerate().fold(0, |mask, (lane, bytes)| {
        let bytes = u8x16::new(*bytes);
        let is = |byte: u8| bytes.simd_eq(u8x16::splat(byte));
        let white = is(b' ') | is(b'\n') | is(b'\r') | is(b'\t');
        mask | u64::from(white.to_bitmask()) << (16 * lane)
    })
}

/// Whether the escaped bytes of a block make escapes that there are.
fn escapes_are_sound(text: &[u8], at: usize, mut escaped: u64) -> bool {
    while escaped != 0 {
        let position = at + escaped.trailing_zeros() as usize;
        match text.get(position) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {}
            Some(b'u') => {
                let digits = text.get(position + 1..).and_then(<[u8]>::first_chunk::<4>);
                if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                    return false;
                }
            }
            _ => return false,
        }
        escaped &= escaped - 1;
    }
    true
}
