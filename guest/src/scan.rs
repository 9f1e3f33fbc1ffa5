//! Tokens to tape: one validating walk over a text that keeps only what a plan touches.

use crate::grammar::{Done, Grammar};
use crate::index::Index;
use crate::plan::{NO_SYM, NOWHERE, Place, Plan, Sym, TrieNode};
use crate::tape::{NONE, Node, Shape, Text};

/// A walk over one text.
pub(crate) struct Walk<'s> {
    plan: &'s Plan,
    pub(crate) grammar: Grammar<'s>,
    nodes: &'s mut Vec<Node>,
    /// The second of two nodes with one key, if there are such.
    pub(crate) double: u32,
}

impl<'s> Walk<'s> {
    /// A walk over the tokens of a text that the index has read.
    pub(crate) fn new(
        plan: &'s Plan,
        text: &'s [u8],
        index: &'s Index,
        nodes: &'s mut Vec<Node>,
        max_depth: usize,
    ) -> Walk<'s> {
        Walk { plan, grammar: Grammar::new(text, index, max_depth), nodes, double: NONE }
    }

    /// Reads the one value of the text into a node. Returns its end, or none if it isn't JSON within the limits.
    pub(crate) fn whole(&mut self, id: u32) -> Option<usize> {
        let trie = self.nodes.get(id as usize).map_or(NOWHERE, |node| node.trie);
        let done = self.value(0, id, trie, 0);
        self.grammar.is_whole(done).then(|| done.end())
    }

    #[inline(always)]
    fn node(&mut self, id: u32) -> Option<&mut Node> {
        self.nodes.get_mut(id as usize)
    }

    /// A value that the plan may look into. The node of a container is there already.
    #[inline(always)]
    fn value(&mut self, i: usize, id: u32, trie: Place, depth: usize) -> Done {
        let plan = self.plan;
        match (self.grammar.at(i), plan.trie.get(usize::from(trie))) {
            (b'{', Some(below)) if !below.is_leaf() => self.object(i, id, below, depth + 1),
            (b'[', Some(TrieNode { star: Some(star), .. })) => self.array(i, id, *star, depth + 1),
            _ => self.grammar.skip(i, depth),
        }
    }

    fn object(&mut self, open: usize, id: u32, below: &TrieNode, depth: usize) -> Done {
        if !self.grammar.enter(depth) {
            return Done::FAIL;
        }
        let mut children = Children::new(self.grammar.token(open) + 1);
        let mut i = open + 1;
        if self.grammar.at(i) != b'}' {
            loop {
                let done = self.member(&mut children, i, id, below, depth);
                if done == Done::FAIL {
                    return done;
                }
                i = done.next();
                match self.grammar.at(i) {
                    b',' => i += 1,
                    b'}' => break,
                    _ => return Done::FAIL,
                }
            }
        }
        if below.star.is_some()
            && let Some(node) = self.double_member(children.first)
        {
            self.double = node;
            return Done::FAIL;
        }
        self.finish(id, Shape::Object, &children, i)
    }

    #[inline(never)]
    fn member(&mut self, children: &mut Children, i: usize, id: u32, below: &TrieNode, depth: usize) -> Done {
        let Some((key, close)) = self.grammar.key(i) else { return Done::FAIL };
        let (key_end, value) = (close + 1, i + 3);
        let found = below.find(self.grammar.text, key + 1, close);
        let mut branch = found.map(|slot| (usize::from(slot.index), slot.symbol, slot.node));
        if branch.is_none() && self.grammar.slashed(key, close) {
            let name = crate::json::unescaped(self.grammar.text.get(key..key_end).unwrap_or_default());
            branch = below.branch(&name).map(|(at, branch)| (at, branch.symbol, branch.node));
        }
        children.close(self, key);
        let done = match (branch, below.star) {
            (None, None) => self.grammar.skip(value, depth),
            (Some((at, symbol, node)), _) => {
                let bit = 1u64.checked_shl(at as u32).unwrap_or(0);
                let double = children.seen & bit != 0 || bit == 0 && self.has(children.first, symbol);
                children.seen |= bit;
                let key = Text { start: key as u32, end: key_end as u32 };
                let done = self.child(children, value, id, (symbol, node), key, depth);
                if double {
                    self.double = children.last;
                    return Done::FAIL;
                }
                done
            }
            (None, Some(star)) => {
                let key = Text { start: key as u32, end: key_end as u32 };
                self.child(children, value, id, (NO_SYM, star), key, depth)
            }
        };
        children.count += 1;
        children.end = done.end();
        done
    }

    fn array(&mut self, open: usize, id: u32, star: Place, depth: usize) -> Done {
        if !self.grammar.enter(depth) {
            return Done::FAIL;
        }
        let start = self.grammar.token(open);
        let mut children = Children::new(start + 1);
        let mut i = open + 1;
        if self.grammar.at(i) != b']' {
            loop {
                children.close(self, self.grammar.token(i));
                let done = self.child(&mut children, i, id, (NO_SYM, star), Text::EMPTY, depth);
                if done == Done::FAIL {
                    return done;
                }
                children.count += 1;
                children.end = done.end();
                i = done.next();
                match self.grammar.at(i) {
                    b',' => i += 1,
                    b']' => break,
                    _ => return Done::FAIL,
                }
            }
        }
        self.finish(id, Shape::Array, &children, i)
    }

    /// A touched member or element: its node, and what the plan looks at below it.
    #[inline(always)]
    fn child(
        &mut self,
        children: &mut Children,
        i: usize,
        parent: u32,
        (symbol, trie): (Sym, Place),
        key: Text,
        depth: usize,
    ) -> Done {
        let id = self.nodes.len() as u32;
        let start = self.grammar.token(i) as u32;
        self.nodes.push(Node::new(parent, symbol, trie, key, children.end as u32, start));
        match children.last {
            NONE => children.first = id,
            last => {
                if let Some(last) = self.node(last) {
                    last.next = id;
                }
            }
        }
        (children.last, children.open) = (id, true);
        let done = self.value(i, id, trie, depth);
        if let Some(node) = self.node(id) {
            node.value.end = done.end() as u32;
            node.source = node.value;
        }
        done
    }

    /// Notes what a container holds.
    #[inline(always)]
    fn finish(&mut self, id: u32, shape: Shape, children: &Children, close: usize) -> Done {
        let (first, last, end, count) = (children.first, children.last, children.end as u32, children.count);
        if let Some(node) = self.node(id) {
            (node.first, node.last, node.last_end, node.live, node.shape) = (first, last, end, count, shape);
        }
        Done::new(close + 1, self.grammar.token(close) + 1)
    }

    /// Whether one of the siblings from `first` on has this symbol.
    #[cold]
    fn has(&self, first: u32, symbol: Sym) -> bool {
        let mut at = first;
        while let Some(node) = self.nodes.get(at as usize) {
            if node.symbol == symbol {
                return true;
            }
            at = node.next;
        }
        false
    }

    /// A member of an object, all of whose members are touched, that has the key of another.
    fn double_member(&self, first: u32) -> Option<u32> {
        let mut keys = Vec::new();
        let mut at = first;
        while let Some(node) = self.nodes.get(at as usize) {
            let key = self.grammar.text.get(node.key.start as usize..node.key.end as usize).unwrap_or_default();
            keys.push((crate::json::unescaped(key), at));
            at = node.next;
        }
        keys.sort_unstable();
        keys.windows(2).find_map(|pair| if let [a, b] = pair { (a.0 == b.0).then_some(b.1) } else { None })
    }
}

/// The children of a container, as far as they are read.
struct Children {
    first: u32,
    last: u32,
    count: u32,
    /// Where the last one ends, touched or not, or where the first one may start.
    end: usize,
    /// Whether the last one read is touched and its node doesn't know yet where the next one starts.
    open: bool,
    /// The branches that have been met, a bit for each of the first 64.
    seen: u64,
}

impl Children {
    fn new(start: usize) -> Children {
        Children { first: NONE, last: NONE, count: 0, end: start, open: false, seen: 0 }
    }

    /// The next child starts here.
    #[inline(always)]
    fn close(&mut self, walk: &mut Walk<'_>, start: usize) {
        if self.open
            && let Some(node) = walk.node(self.last)
        {
            node.following = start as u32;
        }
        self.open = false;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use crate::cursor::Cursor;
    use crate::plan::{Plan, ROOT, compile};
    use crate::tape::Tape;
    use proptest::prelude::*;

    fn plan() -> Plan {
        let pack = br#"{"name":"p","revision":1,"version":[{"id":"1","marker":{"path":"/v","absent":true}},{"id":"2","marker":{"path":"/v","value":2}}],
            "step":[{"from":"1","to":"2","ops":[{"rename":"/a/*/b","to":"c"},{"add":"/o/x/y","value":1}]}],"policy":{"max_depth":6}}"#;
        compile(&crate::check::check(pack).ok().unwrap(), &[]).unwrap()
    }

    /// JSON, nearly JSON, and what is neither, long enough for several blocks.
    fn document() -> impl Strategy<Value = Vec<u8>> {
        let pieces = [
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "\"",
            "\\",
            "\\\\",
            "\\\"",
            "\\u00e9",
            "\\ud800",
            "\\u12",
            "\\x",
            " ",
            "\n",
            "\t",
            "\u{1}",
            "\"a\"",
            "\"b\"",
            "\"o\":",
            "\"key\":",
            "é",
            "李",
            "0",
            "-1",
            "1.5e3",
            "01",
            "1.",
            "true",
            "false",
            "null",
            "nul",
            "xyz",
            "{\"a\":[{\"b\":1}]}",
            "\"plain text that fills a block or so of the index\"",
        ];
        let valid = r#"{"a":[{"b":"x\\\" \u00e9é","c":[1,-0.5e+3,true,null,[[]]]} , 7],"o":{"x":{"y":{}}},"tail":"a long text, so that the last block is not the first one 李小龍"}"#;
        let noise = proptest::collection::vec((0..pieces.len(), any::<proptest::sample::Index>(), 0..3u8), 0..4);
        (noise, 0..70usize, proptest::collection::vec(0..pieces.len(), 0..60)).prop_map(move |(noise, shift, soup)| {
            if !soup.is_empty() && shift % 2 == 0 {
                return ["{", &soup.iter().map(|piece| pieces[*piece]).collect::<String>(), "}"].concat().into_bytes();
            }
            let mut bytes = [" ".repeat(shift).as_bytes(), valid.as_bytes()].concat();
            for (piece, at, kind) in noise {
                let at = at.index(bytes.len());
                let end = if kind == 0 { at } else { (at + usize::from(kind)).min(bytes.len()) };
                bytes.splice(at..end, pieces[piece].bytes());
            }
            bytes
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn blocks_and_bytes_agree_on_what_is_json(document in document()) {
            let plan = plan();
            let mut tape = Tape::new(&plan);
            let walked = tape.read(&plan, ROOT, &document).err();
            let twice = matches!(walked, Some(crate::cursor::Flaw::Duplicate { .. }));
            if !twice {
                prop_assert_eq!(walked, Cursor::flaw(&document, plan.policy.max_depth), "{}", String::from_utf8_lossy(&document));
                let mut out = Vec::new();
                if walked.is_none() {
                    tape.write(&plan, &mut out);
                    prop_assert_eq!(out, document);
                }
            }
        }
    }
}
