//! A JSON document that is kept in a string: decoded, and encoded again so that what nobody has changed keeps its
//! escapes.

use crate::json;

/// The document in a string, and where each of its bytes stands there.
pub(crate) struct Embedded<'t> {
    /// What stands between the quotes.
    raw: &'t [u8],
    pub(crate) text: Vec<u8>,
    /// For each byte of the document, and for its end, where the character or escape that says it starts.
    places: Vec<u32>,
}

/// More differences than this are written anew, with everything between them.
const MAX_EDITS: usize = 512;

impl<'t> Embedded<'t> {
    /// Decodes a string, given with its quotes.
    pub(crate) fn decode(string: &'t [u8]) -> Embedded<'t> {
        let raw = string.get(1..string.len().saturating_sub(1)).unwrap_or_default();
        let (mut text, mut places) = (Vec::with_capacity(raw.len()), Vec::with_capacity(raw.len()));
        let mut at = 0;
        while at < raw.len() {
            let (length, said) = json::character(raw.get(at..).unwrap_or_default());
            text.extend_from_slice(&said);
            places.resize(text.len(), at as u32);
            at += length;
        }
        places.push(raw.len() as u32);
        Embedded { raw, text, places }
    }

    /// The string, with its quotes, that says another document. What that has of the old one keeps its spelling.
    pub(crate) fn encode(&self, document: &[u8]) -> Vec<u8> {
        let mut out = vec![b'"'];
        if encoded(&self.text) == self.raw {
            out.extend(encoded(document));
        } else {
            let (old, new) = (tokens(&self.text), tokens(document));
            let kept = common(&old, &new);
            let mut from = kept.into_iter().peekable();
            let mut starts = vec![0];
            starts.extend(old.iter().scan(0, |at, token| {
                *at += token.len();
                Some(*at)
            }));
            for (index, token) in new.iter().enumerate() {
                match from.next_if(|(_, to)| *to == index) {
                    Some((source, _)) => {
                        let start = starts.get(source).copied().unwrap_or_default();
                        out.extend_from_slice(self.spelling(start, start + token.len()));
                    }
                    None => out.extend(encoded(token)),
                }
            }
        }
        out.push(b'"');
        out
    }

    /// How a piece of the document is spelled.
    fn spelling(&self, start: usize, end: usize) -> &'t [u8] {
        let place = |at: usize| self.places.get(at).map_or(self.raw.len(), |place| *place as usize);
        self.raw.get(place(start)..place(end)).unwrap_or_default()
    }
}

/// The contents of a string that says a text.
fn encoded(text: &[u8]) -> Vec<u8> {
    // A scan has found the document to be UTF-8.
    let quoted = json::quoted(std::str::from_utf8(text).unwrap_or_default()).into_bytes();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_vec()
}

/// The tokens of a valid document, white space included.
fn tokens(text: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.first() {
        let same = |kind: fn(&u8) -> bool| rest.iter().position(|byte| !kind(byte)).unwrap_or(rest.len());
        let length = match first {
            b'"' => 1 + closing(rest.get(1..).unwrap_or_default()),
            b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
            byte if byte.is_ascii_whitespace() => same(u8::is_ascii_whitespace),
            _ => same(|byte| !matches!(byte, b',' | b']' | b'}') && !byte.is_ascii_whitespace()),
        };
        let (token, behind) = rest.split_at(length.clamp(1, rest.len()));
        found.push(token);
        rest = behind;
    }
    found
}

/// Where a string ends whose opening quote has been read.
fn closing(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// Tokens that stand in both lists in the same order, by their places in each: the greedy algorithm of Eugene Myers, "An
/// O(ND) Difference Algorithm and Its Variations" (1986).
fn common(old: &[&[u8]], new: &[&[u8]]) -> Vec<(usize, usize)> {
    let ahead = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (left, right) = (old.get(ahead..).unwrap_or_default(), new.get(ahead..).unwrap_or_default());
    let behind = left.iter().rev().zip(right.iter().rev()).take_while(|(a, b)| a == b).count();
    let (left, right) = (left.split_at(left.len() - behind).0, right.split_at(right.len() - behind).0);
    let mut pairs: Vec<(usize, usize)> = (0..ahead).map(|at| (at, at)).collect();
    pairs.extend(between(left, right).into_iter().map(|(a, b)| (a + ahead, b + ahead)));
    pairs.extend((0..behind).map(|at| (old.len() - behind + at, new.len() - behind + at)));
    pairs
}

fn between(old: &[&[u8]], new: &[&[u8]]) -> Vec<(usize, usize)> {
    let (rows, columns) = (old.len() as isize, new.len() as isize);
    // How far each diagonal has come with so many edits: diagonal k is at index k + edits.
    let mut reached: Vec<Vec<isize>> = Vec::new();
    let far = |reached: &[Vec<isize>], edits: usize, diagonal: isize| -> isize {
        let Some(index) = edits.checked_sub(1) else { return 0 };
        let at = |diagonal: isize| {
            let line = reached.get(index)?;
            usize::try_from(diagonal + index as isize).ok().and_then(|place| line.get(place)).copied()
        };
        let (deleted, inserted) = (at(diagonal - 1).map(|row| row + 1), at(diagonal + 1));
        deleted.max(inserted).unwrap_or(0)
    };
    let slide = |mut row: isize, diagonal: isize| {
        while row < rows && row - diagonal < columns && old.get(row as usize) == new.get((row - diagonal) as usize) {
            row += 1;
        }
        row
    };
    let edits = (0..=(rows + columns) as usize).take(MAX_EDITS).find(|edits| {
        let diagonals = -(*edits as isize)..=*edits as isize;
        let line: Vec<isize> = diagonals
            .map(|diagonal| {
                if (diagonal + *edits as isize) % 2 != 0 {
                    return -1;
                }
                let row = far(&reached, *edits, diagonal);
                if row > rows || row - diagonal > columns || row < diagonal { -1 } else { slide(row, diagonal) }
            })
            .collect();
        let done = line.get((rows - columns + *edits as isize).max(0) as usize) == Some(&rows)
            && (rows - columns).unsigned_abs() <= *edits;
        reached.push(line);
        done
    });
    let mut pairs = Vec::new();
    let Some(edits) = edits else { return pairs };
    let (mut row, mut diagonal) = (rows, rows - columns);
    for edits in (0..=edits).rev() {
        let start = far(&reached, edits, diagonal);
        pairs.extend((start..row).rev().map(|row| (row as usize, (row - diagonal) as usize)));
        let above = edits.checked_sub(1).and_then(|index| {
            let place = usize::try_from(diagonal - 1 + index as isize).ok()?;
            reached.get(index)?.get(place).copied()
        });
        if above.is_some_and(|above| above >= 0 && above + 1 == start) {
            (row, diagonal) = (start - 1, diagonal - 1);
        } else {
            (row, diagonal) = (start, diagonal + 1);
        }
    }
    pairs.reverse();
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_changes_keeps_its_escapes() {
        let string = br#""{\u0022a\": \"x\/y\",\"caf\u00e9\":[1,\u0032, 3],\"b\":\"\\u0041\"}""#;
        let embedded = Embedded::decode(string);
        assert_eq!(embedded.text, "{\"a\": \"x/y\",\"café\":[1,2, 3],\"b\":\"\\u0041\"}".as_bytes());
        assert_eq!(embedded.encode(&embedded.text), string);
        let changed = "{\"a\": \"x/y\",\"new\":\"é\",\"café\":[2, 3],\"c\":\"\\u0041\"}";
        let expected = r#""{\u0022a\": \"x\/y\",\"new\":\"é\",\"caf\u00e9\":[\u0032, 3],\"c\":\"\\u0041\"}""#;
        assert_eq!(String::from_utf8_lossy(&embedded.encode(changed.as_bytes())), expected);
    }

    #[test]
    fn what_two_lists_have_in_common_is_the_same_in_both() {
        let words = |text: &'static str| -> Vec<&'static [u8]> { text.split(' ').map(str::as_bytes).collect() };
        for (old, new, length) in [
            ("a b c a b b a", "c b a b a c", 4),
            ("a b c", "a b c", 3),
            ("a b c", "x", 0),
            ("x", "a b c", 0),
            ("a x b y c", "a b c", 3),
            ("a b c", "a x b y c", 3),
            ("q a b c d", "a b c d q", 4),
        ] {
            let (old, new) = (words(old), words(new));
            let pairs = common(&old, &new);
            assert_eq!(pairs.len(), length, "{old:?} {new:?} {pairs:?}");
            assert!(pairs.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1), "{pairs:?}");
            assert!(pairs.iter().all(|(a, b)| old[*a] == new[*b]), "{pairs:?}");
        }
    }
}
