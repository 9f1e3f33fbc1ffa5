//! The tape: the places of one record that a plan could touch, as a flat list of linked nodes.
//!
//! A node knows where its text stands; only what an op changes is marked. Members that no op could look at are not on
//! the tape, and their bytes are copied by `splice` as parts of longer runs. What is thrown away: everything between
//! the touched places but its position. Costs: one node for each touched member that is there.

use crate::cursor::{Cursor, DEEPEST, Flaw};
use crate::grammar::Grammar;
use crate::index::{BLOCK, Index};
use crate::plan::{NO_SYM, NOWHERE, Place, Plan, Sym, TrieNode};
use crate::scan::Walk;
use crate::splice::splice;

/// The tape of one record. Buffers are reused from record to record.
pub(crate) struct Tape {
    pub(crate) nodes: Vec<Node>,
    /// The plan's constants, the record, and behind it whatever ops write or the carry gives back: places in all of it
    /// are plain numbers, and a text is never moved.
    text: Vec<u8>,
    index: Index,
    /// Where the record starts and ends in the text.
    pub(crate) record: Text,
    /// The deepest nesting of the record.
    pub(crate) deepest: u32,
}

/// How many bytes are copied at once.
const LANE: usize = 16;

/// The root of every tape.
pub(crate) const DOCUMENT: u32 = 0;

/// No node.
pub(crate) const NONE: u32 = u32::MAX;

/// A piece of the tape's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Text {
    pub(crate) const EMPTY: Text = Text { start: 0, end: 0 };
    pub(crate) const COMMA: Text = Text { start: 0, end: 1 };
    const OBJECT: Text = Text { start: 1, end: 3 };
    /// What every tape's text starts with.
    pub(crate) const CONSTANTS: &[u8] = b",{}";
}

/// One touched place. At 64 bytes it is written and copied without a call.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) parent: u32,
    pub(crate) next: u32,
    pub(crate) first: u32,
    pub(crate) last: u32,
    /// The key as written, with quotes; empty for elements.
    pub(crate) key: Text,
    /// The value; what its touched members say differs where it is dirty.
    pub(crate) value: Text,
    /// Of a member of its parent's text, where the value stands there, whatever it is now; of an appended one, what is
    /// written before it.
    pub(crate) source: Text,
    /// Where the member before ends in its parent's text, touched or not, or the parent's opening bracket.
    pub(crate) before: u32,
    /// Where the next member of the parent's text starts, or 0 for its last one.
    pub(crate) following: u32,
    /// Of an opened container: where its last member ends.
    pub(crate) last_end: u32,
    /// Of an opened container: how many members it has, touched or not.
    pub(crate) live: u32,
    /// The member's key, or none for elements and for members that only a `*` found.
    pub(crate) symbol: Sym,
    /// What the plan knows below this place.
    pub(crate) trie: Place,
    pub(crate) shape: Shape,
    pub(crate) origin: Origin,
    pub(crate) state: State,
    /// Whether the key is written from the symbol.
    pub(crate) renamed: bool,
}

const _: () = assert!(size_of::<Node>() == 64);

/// What a node's value is, as far as the tape knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Whatever it is, nobody looks into it.
    Opaque,
    Object,
    Array,
}

/// How a member came to its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It stands in its parent's text.
    Source,
    /// It was put at the end.
    Appended,
}

/// What has happened to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing.
    Clean,
    /// It, or anything in it, is changed.
    Dirty,
    /// It is gone from here.
    Gone,
}

impl Node {
    /// A member of its parent's text, whose value starts here and ends nobody knows where.
    #[inline(always)]
    pub(crate) fn new(parent: u32, symbol: Sym, trie: Place, key: Text, before: u32, start: u32) -> Node {
        let value = Text { start, end: start };
        Node {
            parent,
            next: NONE,
            first: NONE,
            last: NONE,
            key,
            value,
            source: value,
            before,
            following: 0,
            last_end: 0,
            live: 0,
            symbol,
            trie,
            shape: Shape::Opaque,
            origin: Origin::Source,
            state: State::Clean,
            renamed: false,
        }
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.state == State::Gone
    }

    /// Whether what is written is not what stands in the text.
    pub(crate) fn is_rewritten(&self) -> bool {
        self.state != State::Clean && self.shape != Shape::Opaque
    }

    /// Where the member starts in its parent's text.
    pub(crate) fn start(&self) -> u32 {
        if self.key == Text::EMPTY { self.source.start } else { self.key.start }
    }

    /// What is written between the member before and this one.
    pub(crate) fn lead(&self) -> Text {
        match self.origin {
            Origin::Source => Text { start: self.before, end: self.start() },
            Origin::Appended => self.source,
        }
    }
}

impl Tape {
    /// A tape for records of this plan.
    pub(crate) fn new(plan: &Plan) -> Tape {
        let text = plan.constants.clone();
        Tape { nodes: Vec::new(), text, index: Index::default(), record: Text::EMPTY, deepest: 0 }
    }

    /// Reads a document of which the plan knows what it knows of a place: validates all of it and keeps its places.
    pub(crate) fn read(&mut self, plan: &Plan, place: Place, document: &[u8]) -> Result<(), Flaw> {
        self.load(plan, document)?;
        self.walk(plan, place, document)
    }

    /// Finds the tokens of a document.
    pub(crate) fn load(&mut self, plan: &Plan, document: &[u8]) -> Result<(), Flaw> {
        self.text.truncate(plan.constants.len());
        let start = self.text.len();
        self.text.reserve(document.len() + BLOCK);
        self.text.extend_from_slice(document);
        let end = self.text.len();
        append(&mut self.text, &[b' '; BLOCK]);
        self.record = Text { start: start as u32, end: end as u32 };
        if !self.index.read(&self.text, start, end) {
            return Err(flaw(plan, document));
        }
        Ok(())
    }

    /// Walks over the tokens that were found last.
    pub(crate) fn walk(&mut self, plan: &Plan, place: Place, document: &[u8]) -> Result<(), Flaw> {
        let first = self.grammar(plan).token(0) as u32;
        if self.text.get(first as usize) != Some(&b'{') {
            return Err(Flaw::Opaque);
        }
        self.nodes.clear();
        self.nodes.push(Node::new(NONE, NO_SYM, place, Text::EMPTY, 0, first));
        let (text, index, nodes) = (&self.text, &self.index, &mut self.nodes);
        let mut walk = Walk::new(plan, text, index, nodes, max_depth(plan));
        let done = walk.whole(DOCUMENT);
        self.deepest = walk.grammar.deepest as u32;
        match (done, walk.double) {
            (Some(end), _) => {
                self.node_mut(DOCUMENT).value.end = end as u32;
                Ok(())
            }
            (None, NONE) => Err(flaw(plan, document)),
            (None, node) => Err(Flaw::Duplicate { node }),
        }
    }

    /// The tokens that were found last.
    pub(crate) fn grammar(&self, plan: &Plan) -> Grammar<'_> {
        Grammar::new(&self.text, &self.index, max_depth(plan))
    }

    /// Appends all that is written for the record: what stands around its value, and the value as the ops have left it.
    pub(crate) fn write(&self, plan: &Plan, out: &mut Vec<u8>) {
        let value = self.node(DOCUMENT).value;
        self.copy(self.record.start, value.start, out);
        splice(plan, self, DOCUMENT, out);
        self.copy(value.end, self.record.end, out);
    }

    /// Appends a piece of the text. Short ones are copied in place: `memory.copy` is a call out of the sandbox.
    #[inline(always)]
    pub(crate) fn copy(&self, start: u32, end: u32, out: &mut Vec<u8>) {
        let (start, end) = (start as usize, end as usize);
        match self.text.get(start..).and_then(<[u8]>::first_chunk::<LANE>) {
            Some(lane) if end - start <= LANE => {
                let length = out.len() + (end - start);
                out.extend_from_slice(lane);
                out.truncate(length);
            }
            _ => self.copy_lanes(start, end, out),
        }
    }

    #[inline(never)]
    fn copy_lanes(&self, start: usize, end: usize, out: &mut Vec<u8>) {
        if end - start > 8 * LANE || end + LANE > self.text.len() {
            return out.extend_from_slice(self.text.get(start..end).unwrap_or_default());
        }
        let length = out.len() + (end - start);
        let mut at = start;
        while at < end {
            if let Some([one, two]) = self.text.get(at..).and_then(|rest| rest.as_chunks::<LANE>().0.first_chunk::<2>())
            {
                out.extend_from_slice(one);
                out.extend_from_slice(two);
            } else if let Some(lane) = self.text.get(at..).and_then(<[u8]>::first_chunk::<LANE>) {
                out.extend_from_slice(lane);
            }
            at += 2 * LANE;
        }
        out.truncate(length);
    }

    pub(crate) fn node(&self, id: u32) -> &Node {
        #[expect(clippy::indexing_slicing, reason = "ids come from this tape alone; a wrong one is a bug and traps")]
        &self.nodes[id as usize]
    }

    pub(crate) fn node_mut(&mut self, id: u32) -> &mut Node {
        #[expect(clippy::indexing_slicing, reason = "as above")]
        &mut self.nodes[id as usize]
    }

    #[inline(always)]
    pub(crate) fn text(&self, text: Text) -> &[u8] {
        self.text.get(text.start as usize..text.end as usize).unwrap_or_default()
    }

    /// The live member of an object with this key.
    pub(crate) fn child(&self, parent: u32, symbol: Sym) -> Option<u32> {
        let node = self.node(parent);
        if node.shape != Shape::Object {
            return None;
        }
        let mut at = node.first;
        while at != NONE {
            let child = self.node(at);
            if child.symbol == symbol && !child.is_gone() {
                return Some(at);
            }
            at = child.next;
        }
        None
    }

    /// The live member at the end of a path.
    pub(crate) fn find(&self, from: u32, path: &[Sym]) -> Option<u32> {
        path.iter().try_fold(from, |at, symbol| self.child(at, *symbol))
    }

    /// The live elements or members of a container, in order.
    pub(crate) fn children(&self, parent: u32) -> impl Iterator<Item = u32> {
        let mut at = self.node(parent).first;
        std::iter::from_fn(move || {
            while at != NONE {
                let id = at;
                let node = self.node(id);
                at = node.next;
                if !node.is_gone() {
                    return Some(id);
                }
            }
            None
        })
    }

    /// Adds to the text what no record holds.
    pub(crate) fn keep(&mut self, text: &[u8]) -> Text {
        let start = self.text.len() as u32;
        append(&mut self.text, text);
        Text { start, end: self.text.len() as u32 }
    }

    /// Gives a member another key.
    pub(crate) fn rename(&mut self, id: u32, symbol: Sym) {
        let node = self.node_mut(id);
        (node.symbol, node.renamed) = (symbol, true);
        self.touch(id);
    }

    /// Marks a node and all above it as changed.
    pub(crate) fn touch(&mut self, id: u32) {
        let mut at = id;
        while at != NONE {
            let node = self.node_mut(at);
            if node.state != State::Clean {
                break;
            }
            node.state = State::Dirty;
            at = node.parent;
        }
    }

    /// Gives a place another text, whole, and looks into it as far as the plan does.
    pub(crate) fn replace(&mut self, plan: &Plan, id: u32, text: &[u8]) {
        let value = self.keep(text);
        let node = self.node_mut(id);
        node.value = value;
        (node.first, node.last, node.live, node.shape) = (NONE, NONE, 0, Shape::Opaque);
        self.open(plan, id);
        self.touch(id);
    }

    /// Puts a new member with an empty object at the end of an object.
    pub(crate) fn append_object(&mut self, plan: &Plan, parent: u32, symbol: Sym) -> u32 {
        let id = self.append(plan, parent, symbol, Text::OBJECT);
        let node = self.node_mut(id);
        node.shape = Shape::Object;
        node.last_end = Text::OBJECT.start + 1;
        id
    }

    /// Puts a new member at the end of an object.
    pub(crate) fn append_text(&mut self, plan: &Plan, parent: u32, symbol: Sym, text: &[u8]) -> u32 {
        let value = self.keep(text);
        let id = self.append(plan, parent, symbol, value);
        self.open(plan, id);
        id
    }

    /// Takes a member away and puts its contents at the end of an object under another key.
    pub(crate) fn graft(&mut self, plan: &Plan, member: u32, parent: u32, symbol: Sym) -> u32 {
        let old = self.node(member).clone();
        let id = self.append(plan, parent, symbol, old.value);
        let node = self.node_mut(id);
        (node.trie, node.first, node.last) = (old.trie, old.first, old.last);
        (node.shape, node.live, node.last_end) = (old.shape, old.live, old.last_end);
        let mut at = old.first;
        while at != NONE {
            let child = self.node_mut(at);
            child.parent = id;
            at = child.next;
        }
        self.node_mut(member).first = NONE;
        id
    }

    fn append(&mut self, plan: &Plan, parent: u32, symbol: Sym, value: Text) -> u32 {
        let id = self.nodes.len() as u32;
        let into = self.node(parent);
        let trie = plan.trie.get(usize::from(into.trie)).and_then(|node| node.below(symbol)).unwrap_or(NOWHERE);
        let lead = if into.live == 0 { Text::EMPTY } else { Text::COMMA };
        let last = into.last;
        let mut node = Node::new(parent, symbol, trie, Text::EMPTY, 0, 0);
        (node.value, node.source, node.origin) = (value, lead, Origin::Appended);
        (node.renamed, node.state) = (true, State::Dirty);
        self.nodes.push(node);
        match last {
            NONE => self.node_mut(parent).first = id,
            last => self.node_mut(last).next = id,
        }
        let into = self.node_mut(parent);
        into.last = id;
        into.live += 1;
        self.touch(parent);
        id
    }

    /// Takes a member away. The next member takes over what stood before it, as if the text from key to key were cut.
    pub(crate) fn detach(&mut self, id: u32) {
        let heir = self.heir(id);
        if let Some(heir) = heir {
            let lead = self.effective_lead(id);
            self.node_mut(heir).source = lead;
        }
        self.touch(id);
        let node = self.node_mut(id);
        node.state = State::Gone;
        let parent = node.parent;
        self.node_mut(parent).live -= 1;
    }

    /// The appended member that directly follows, if nothing else does.
    fn heir(&self, id: u32) -> Option<u32> {
        let mut at = id;
        loop {
            let node = self.node(at);
            match node.origin {
                Origin::Source if node.following != 0 => {
                    // Only a touched member that is gone lets us look further.
                    let next = node.next;
                    let adjacent = next != NONE
                        && self.node(next).origin == Origin::Source
                        && self.node(next).start() == node.following;
                    if !adjacent || !self.node(next).is_gone() {
                        return None;
                    }
                    at = next;
                }
                Origin::Source | Origin::Appended => {
                    let mut next = node.next;
                    while next != NONE && self.node(next).is_gone() {
                        next = self.node(next).next;
                    }
                    return (next != NONE).then_some(next);
                }
            }
        }
    }

    /// What stands before a member: its own lead, or that of the first of the members gone directly before it.
    fn effective_lead(&self, id: u32) -> Text {
        let node = self.node(id);
        if node.origin == Origin::Appended {
            return node.lead();
        }
        let mut lead = None;
        let mut at = self.node(node.parent).first;
        let mut expected = 0;
        while at != NONE && at != id {
            let other = self.node(at);
            if !other.is_gone() || other.following == 0 {
                lead = None;
            } else if lead.is_none() || other.start() != expected {
                lead = Some(other.lead());
            }
            expected = other.following;
            at = other.next;
        }
        lead.filter(|_| node.start() == expected).unwrap_or(node.lead())
    }

    /// Looks into a value as far as the plan does. The text is valid JSON.
    fn open(&mut self, plan: &Plan, id: u32) {
        let Text { start, end } = self.node(id).value;
        let leaf = plan.trie.get(usize::from(self.node(id).trie)).is_none_or(TrieNode::is_leaf);
        if leaf || !matches!(self.text.get(start as usize), Some(b'{' | b'[')) {
            return;
        }
        self.text.extend_from_slice(&[b' '; BLOCK]);
        self.index.read(&self.text, start as usize, end as usize);
        let (text, index, nodes) = (&self.text, &self.index, &mut self.nodes);
        Walk::new(plan, text, index, nodes, DEEPEST).whole(id);
    }
}

fn max_depth(plan: &Plan) -> usize {
    (plan.policy.max_depth as usize).min(DEEPEST)
}

/// What is wrong with a document. One that doesn't start as an object isn't looked into.
#[cold]
fn flaw(plan: &Plan, document: &[u8]) -> Flaw {
    let first = document.iter().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(&b'{') {
        return Flaw::Opaque;
    }
    Cursor::flaw(document, max_depth(plan) as u32).unwrap_or(Flaw::Syntax { at: 0 })
}

/// Appends bytes, a few of them in place: `memory.copy` is a call out of the sandbox. The last lane overlaps the one
/// before, so that no byte is copied alone.
#[inline]
pub(crate) fn append(out: &mut Vec<u8>, bytes: &[u8]) {
    let end = out.len() + bytes.len();
    if bytes.len() > 64 {
        return out.extend_from_slice(bytes);
    }
    if let Some(last) = bytes.last_chunk::<16>() {
        bytes.as_chunks::<16>().0.iter().for_each(|lane| out.extend_from_slice(lane));
        out.truncate(end - 16);
        out.extend_from_slice(last);
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        out.extend_from_slice(first);
        out.truncate(end - 8);
        out.extend_from_slice(last);
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        out.extend_from_slice(first);
        out.truncate(end - 4);
        out.extend_from_slice(last);
    } else {
        bytes.iter().for_each(|byte| out.push(*byte));
    }
}
