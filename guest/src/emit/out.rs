//! The bytes of a record as they are written: a buffer that is kept, and filled without asking for room byte by byte.

/// How many bytes must stand behind a text of which pieces are copied.
pub(crate) const AHEAD: usize = 64;

/// More than this is the host's `memcpy`'s to copy. That is a call out of the sandbox.
const LONG: usize = 256;

/// A buffer and how much of it is written.
#[derive(Default)]
pub(super) struct Out {
    bytes: Vec<u8>,
    length: usize,
}

impl Out {
    /// Starts anew, with room for a record that is not much longer than this.
    pub(super) fn start(&mut self, length: usize) {
        self.length = 0;
        self.reserve(length + length / 8 + 256);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn truncate(&mut self, length: usize) {
        self.length = length;
    }

    pub(super) fn ends_with(&self, byte: u8) -> bool {
        self.bytes().last() == Some(&byte)
    }

    #[inline(always)]
    pub(super) fn push(&mut self, byte: u8) {
        match self.bytes.get_mut(self.length) {
            Some(free) => {
                *free = byte;
                self.length += 1;
            }
            None => self.append(&[byte]),
        }
    }

    /// Appends a piece of a text, behind which [`AHEAD`] more bytes stand.
    #[inline(always)]
    pub(super) fn copy(&mut self, text: &[u8], start: usize, end: usize) {
        let short = end.wrapping_sub(start) <= AHEAD;
        let from = text.get(start..).and_then(<[u8]>::first_chunk::<AHEAD>);
        let to = self.bytes.get_mut(self.length..).and_then(<[u8]>::first_chunk_mut::<AHEAD>);
        match (from, to) {
            (Some(from), Some(to)) if short => {
                *to = *from;
                self.length += end - start;
            }
            _ => self.copy_lanes(text, start, end),
        }
    }

    #[inline(never)]
    fn copy_lanes(&mut self, text: &[u8], start: usize, end: usize) {
        let length = end.saturating_sub(start);
        if self.length + length + AHEAD > self.bytes.len() {
            self.reserve(length + AHEAD);
        }
        let (mut from, mut to) = (text.get(start..), self.bytes.get_mut(self.length..));
        self.length += length;
        if length > LONG || end + AHEAD > text.len() {
            if let (Some(from), Some(to)) = (text.get(start..end), to.and_then(|to| to.get_mut(..length))) {
                to.copy_from_slice(from);
            }
            return;
        }
        // Whole blocks: what is too much is written over.
        let mut left = length as isize;
        while left > 0
            && let Some((block, behind)) = from.and_then(<[u8]>::split_first_chunk::<AHEAD>)
            && let Some((room, rest)) = to.and_then(<[u8]>::split_first_chunk_mut::<AHEAD>)
        {
            *room = *block;
            (from, to) = (Some(behind), Some(rest));
            left -= AHEAD as isize;
        }
    }

    /// Appends any bytes. The last lane overlaps the one before, so that no byte is copied alone.
    #[inline(never)]
    pub(super) fn append(&mut self, bytes: &[u8]) {
        let length = bytes.len();
        if self.length + length > self.bytes.len() {
            self.reserve(length);
        }
        let to = self.bytes.get_mut(self.length..self.length + length).unwrap_or_default();
        self.length += length;
        if length > LONG {
            return to.copy_from_slice(bytes);
        }
        if let (Some(end), Some(last)) = (to.last_chunk_mut::<16>(), bytes.last_chunk::<16>()) {
            *end = *last;
            let (to, _) = to.as_chunks_mut::<16>();
            for (to, from) in to.iter_mut().zip(bytes.as_chunks::<16>().0) {
                *to = *from;
            }
            return;
        }
        macro_rules! overlap {
            ($size:literal) => {
                if let (Some(last), Some(first)) = (bytes.last_chunk::<$size>(), bytes.first_chunk::<$size>()) {
                    if let Some(start) = to.first_chunk_mut::<$size>() {
                        *start = *first;
                    }
                    if let Some(end) = to.last_chunk_mut::<$size>() {
                        *end = *last;
                    }
                    return;
                }
            };
        }
        overlap!(8);
        overlap!(4);
        overlap!(2);
        overlap!(1);
    }

    /// Makes room for so many more bytes, and for the lane that may reach beyond them.
    #[cold]
    fn reserve(&mut self, more: usize) {
        let wanted = self.length + more + AHEAD;
        if self.bytes.len() < wanted {
            self.bytes.resize(wanted.max(2 * self.bytes.len()), 0);
        }
    }
}
