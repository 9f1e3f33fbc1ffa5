//! Bytes to tape: one validating pass over RFC 8259 JSON that keeps only what a plan touches.
//!
//! The whole grammar and UTF-8 are checked, of skipped values too. Strings, which are most of a record, go eight bytes
//! at a time. Positions are plain numbers and a failure is one impossible position, so that nothing wide is returned
//! in the loops; what was wrong is kept aside.

use crate::plan::{NONE, Plan, TrieNode};
use crate::tape::{Buffer, Node, Shape, Text};

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
const DEEPEST: usize = 256;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// A pass over one text.
pub(crate) struct Scanner<'s> {
    bytes: &'s [u8],
    max_depth: usize,
    /// For each open container, whether it is an object.
    objects: [bool; DEEPEST + 1],
    /// Whether the last string held an escape.
    escaped: bool,
    flaw: Option<Flaw>,
    pub(crate) deepest: u32,
    pub(crate) buffer: Buffer,
}

impl<'s> Scanner<'s> {
    pub(crate) fn new(bytes: &'s [u8], max_depth: u32) -> Scanner<'s> {
        let max_depth = (max_depth as usize).min(DEEPEST);
        Scanner {
            bytes,
            max_depth,
            objects: [false; DEEPEST + 1],
            escaped: false,
            flaw: None,
            deepest: 0,
            buffer: Buffer::Record,
        }
    }

    /// A pass over text that is known to be valid.
    pub(crate) fn trusting(bytes: &'s [u8]) -> Scanner<'s> {
        Scanner::new(bytes, DEEPEST as u32)
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
        let mut scanner = Scanner::trusting(text);
        let start = scanner.space(0);
        let end = scanner.skip(start, 0);
        end != FAIL && scanner.space(end) == text.len()
    }

    /// Takes the end of the document's value.
    pub(crate) fn finish(&self, end: usize) -> Result<usize, Flaw> {
        if end == FAIL {
            return Err(self.flaw.unwrap_or(Flaw::Syntax { at: 0 }));
        }
        let rest = self.space(end);
        if rest != self.bytes.len() {
            return Err(Flaw::Syntax { at: rest as u32 });
        }
        Ok(end)
    }

    #[cold]
    fn fail(&mut self, at: usize) -> usize {
        self.flaw.get_or_insert(Flaw::Syntax { at: at.min(self.bytes.len()) as u32 });
        FAIL
    }

    #[cold]
    fn fail_with(&mut self, flaw: Flaw) -> usize {
        self.flaw.get_or_insert(flaw);
        FAIL
    }

    /// Reads the value of a node and looks into it as far as the plan does. Returns its end.
    fn touched(&mut self, plan: &Plan, nodes: &mut Vec<Node>, id: u32, start: usize, depth: usize) -> usize {
        let end = self.open(plan, nodes, id, start, depth);
        if end != FAIL
            && let Some(node) = nodes.get_mut(id as usize)
        {
            (node.value.start, node.value.end) = (start as u32, end as u32);
            node.source = node.value;
        }
        end
    }

    /// Looks into the value of a node as far as the plan does. Returns its end.
    pub(crate) fn open(&mut self, plan: &Plan, nodes: &mut Vec<Node>, id: u32, start: usize, depth: usize) -> usize {
        let trie = nodes.get(id as usize).map_or(NONE, |node| node.trie);
        match (self.at(start), plan.trie.get(trie as usize)) {
            (b'{', Some(below)) if !below.is_leaf() => self.object(plan, nodes, id, below, start, depth + 1),
            (b'{', _) => self.skip(start, depth),
            _ if depth == 0 && self.buffer == Buffer::Record => self.fail_with(Flaw::Opaque),
            (b'[', Some(TrieNode { star: Some(star), .. })) => self.array(plan, nodes, id, *star, start, depth + 1),
            _ => self.skip(start, depth),
        }
    }

    fn object(
        &mut self,
        plan: &Plan,
        nodes: &mut Vec<Node>,
        id: u32,
        below: &TrieNode,
        open: usize,
        depth: usize,
    ) -> usize {
        if !self.enter(open, depth, true) {
            return FAIL;
        }
        let (mut last_end, mut previous, mut touched, mut live) = (open + 1, NONE, NONE, 0);
        let mut at = self.space(open + 1);
        if self.at(at) == b'}' {
            set_container(nodes, id, Shape::Object, last_end, live);
            return at + 1;
        }
        loop {
            let key = at;
            if self.at(at) != b'"' {
                return self.fail(at);
            }
            self.escaped = false;
            at = self.string(at + 1);
            if at == FAIL {
                return FAIL;
            }
            let name = self.bytes.get(key + 1..at - 1).unwrap_or_default();
            let branch = if self.escaped {
                let raw = self.bytes.get(key..at).unwrap_or_default();
                below.branch(&crate::json::unescaped(raw))
            } else {
                below.branch(name)
            };
            let key_end = at;
            at = self.space(at);
            if self.at(at) != b':' {
                return self.fail(at);
            }
            at = self.space(at + 1);
            if touched != NONE
                && let Some(node) = nodes.get_mut(touched as usize)
            {
                node.following = key as u32;
            }
            touched = NONE;
            let found = match (branch, below.star) {
                (Some(branch), _) => Some((branch.symbol, branch.node)),
                (None, star) => star.map(|star| (NONE, star)),
            };
            at = match found {
                None => self.skip(at, depth),
                Some((symbol, trie)) => {
                    touched = nodes.len() as u32;
                    let key_text = Text { buffer: self.buffer, start: key as u32, end: key_end as u32 };
                    let lead = Text { buffer: self.buffer, start: last_end as u32, end: key as u32 };
                    let value = Text { buffer: self.buffer, start: 0, end: 0 };
                    nodes.push(Node::new(id, symbol, trie, key_text, lead, value));
                    if symbol != NONE && self.is_double(nodes, id, symbol) {
                        return self.fail_with(Flaw::Duplicate { node: touched });
                    }
                    link(nodes, id, &mut previous, touched);
                    self.touched(plan, nodes, touched, at, depth)
                }
            };
            if at == FAIL {
                return FAIL;
            }
            live += 1;
            last_end = at;
            at = self.space(at);
            match self.at(at) {
                b',' => at = self.space(at + 1),
                b'}' => break,
                _ => return self.fail(at),
            }
        }
        if below.star.is_some()
            && let Some(node) = self.double_member(nodes, id)
        {
            return self.fail_with(Flaw::Duplicate { node });
        }
        set_container(nodes, id, Shape::Object, last_end, live);
        at + 1
    }

    fn array(&mut self, plan: &Plan, nodes: &mut Vec<Node>, id: u32, star: u32, open: usize, depth: usize) -> usize {
        if !self.enter(open, depth, false) {
            return FAIL;
        }
        let (mut last_end, mut previous, mut live) = (open + 1, NONE, 0);
        let mut at = self.space(open + 1);
        if self.at(at) == b']' {
            set_container(nodes, id, Shape::Array, last_end, live);
            return at + 1;
        }
        loop {
            if previous != NONE
                && let Some(node) = nodes.get_mut(previous as usize)
            {
                node.following = at as u32;
            }
            let element = nodes.len() as u32;
            let lead = Text { buffer: self.buffer, start: last_end as u32, end: at as u32 };
            let value = Text { buffer: self.buffer, start: at as u32, end: 0 };
            nodes.push(Node::new(id, NONE, star, Text::EMPTY, lead, value));
            link(nodes, id, &mut previous, element);
            at = self.touched(plan, nodes, element, at, depth);
            if at == FAIL {
                return FAIL;
            }
            live += 1;
            last_end = at;
            at = self.space(at);
            match self.at(at) {
                b',' => at = self.space(at + 1),
                b']' => break,
                _ => return self.fail(at),
            }
        }
        set_container(nodes, id, Shape::Array, last_end, live);
        at + 1
    }

    #[inline(always)]
    fn enter(&mut self, at: usize, depth: usize, object: bool) -> bool {
        if depth > self.max_depth {
            self.fail_with(Flaw::Depth { at: at as u32 });
            return false;
        }
        self.deepest = self.deepest.max(depth as u32);
        if let Some(kind) = self.objects.get_mut(depth) {
            *kind = object;
        }
        true
    }

    fn is_double(&self, nodes: &[Node], id: u32, symbol: u32) -> bool {
        let mut at = nodes.get(id as usize).map_or(NONE, |node| node.first);
        while let Some(node) = nodes.get(at as usize) {
            if node.symbol == symbol {
                return true;
            }
            at = node.next;
        }
        false
    }

    /// A member of an object, all of whose members are touched, that has the key of another.
    fn double_member(&self, nodes: &[Node], id: u32) -> Option<u32> {
        let mut keys = Vec::new();
        let mut at = nodes.get(id as usize)?.first;
        while let Some(node) = nodes.get(at as usize) {
            let key = self.bytes.get(node.key.start as usize..node.key.end as usize).unwrap_or_default();
            keys.push((crate::json::unescaped(key), at));
            at = node.next;
        }
        keys.sort_unstable();
        keys.windows(2).find_map(|pair| if let [a, b] = pair { (a.0 == b.0).then_some(b.1) } else { None })
    }

    /// Validates a value that nobody touches. `depth` is that of the container around it. Returns its end.
    pub(crate) fn skip(&mut self, start: usize, depth: usize) -> usize {
        let mut at = start;
        let mut level = depth;
        loop {
            // A value starts here.
            match self.at(at) {
                b'"' => {
                    at = self.string(at + 1);
                    if at == FAIL {
                        return FAIL;
                    }
                }
                open @ (b'{' | b'[') => {
                    level += 1;
                    if !self.enter(at, level, open == b'{') {
                        return FAIL;
                    }
                    at = self.space(at + 1);
                    match (open, self.at(at)) {
                        (b'{', b'}') | (b'[', b']') => {
                            level -= 1;
                            at += 1;
                        }
                        (b'{', _) => {
                            at = self.key(at);
                            if at == FAIL {
                                return FAIL;
                            }
                            continue;
                        }
                        _ => continue,
                    }
                }
                b'-' | b'0'..=b'9' => {
                    at = self.number(at);
                    if at == FAIL {
                        return FAIL;
                    }
                }
                b't' => at = self.word(at, b"true"),
                b'f' => at = self.word(at, b"false"),
                b'n' => at = self.word(at, b"null"),
                _ => return self.fail(at),
            }
            if at == FAIL {
                return FAIL;
            }
            // A value has ended.
            loop {
                if level == depth {
                    return at;
                }
                at = self.space(at);
                let object = matches!(self.objects.get(level), Some(true));
                match self.at(at) {
                    b',' => {
                        at = self.space(at + 1);
                        if object {
                            at = self.key(at);
                            if at == FAIL {
                                return FAIL;
                            }
                        }
                        break;
                    }
                    b'}' if object => at += 1,
                    b']' if !object => at += 1,
                    _ => return self.fail(at),
                }
                level -= 1;
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
        self.escaped = true;
        match self.at(at) {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at + 1,
            b'u' => match self.bytes.get(at + 1..at + 5) {
                Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => at + 5,
                _ => self.fail(at),
            },
            _ => self.fail(at),
        }
    }

    #[inline]
    fn number(&mut self, start: usize) -> usize {
        let mut at = start + usize::from(self.at(start) == b'-');
        match self.at(at) {
            b'0' => at += 1,
            b'1'..=b'9' => at = self.digits(at),
            _ => return self.fail(at),
        }
        if self.at(at) == b'.' {
            let end = self.digits(at + 1);
            if end == at + 1 {
                return self.fail(end);
            }
            at = end;
        }
        if matches!(self.at(at), b'e' | b'E') {
            let sign = usize::from(matches!(self.at(at + 1), b'+' | b'-'));
            let end = self.digits(at + 1 + sign);
            if end == at + 1 + sign {
                return self.fail(end);
            }
            at = end;
        }
        at
    }

    #[inline(always)]
    fn digits(&self, mut at: usize) -> usize {
        while self.at(at).is_ascii_digit() {
            at += 1;
        }
        at
    }

    fn word(&mut self, at: usize, word: &[u8]) -> usize {
        match self.bytes.get(at..at + word.len()) {
            Some(found) if found == word => at + word.len(),
            _ => self.fail(at),
        }
    }
}

/// Appends a node to its parent's children.
fn link(nodes: &mut [Node], parent: u32, previous: &mut u32, id: u32) {
    match nodes.get_mut(*previous as usize) {
        Some(node) => node.next = id,
        None => {
            if let Some(node) = nodes.get_mut(parent as usize) {
                node.first = id;
            }
        }
    }
    *previous = id;
    if let Some(node) = nodes.get_mut(parent as usize) {
        node.last = id;
    }
}

fn set_container(nodes: &mut [Node], id: u32, shape: Shape, last_end: usize, live: u32) {
    if let Some(node) = nodes.get_mut(id as usize) {
        (node.shape, node.last_end, node.live) = (shape, last_end as u32, live);
    }
}
