//! The tape: the places of one record that a plan could touch, as a flat list of linked nodes.
//!
//! A node knows where its text stands; only what an op changes is marked. Members that no op could look at are not on
//! the tape, and their bytes are copied by `splice` as parts of longer runs. What is thrown away: everything between
//! the touched places but its position. Costs: one node for each touched member that is there.

use crate::plan::{NONE, Plan, ROOT, Sym, TrieNode};
use crate::scan::{Flaw, Scanner};

/// The tape of one record. Buffers are reused from record to record.
#[derive(Default)]
pub(crate) struct Tape {
    pub(crate) nodes: Vec<Node>,
    /// Text that no record holds: values that ops write or that the carry gives back.
    pub(crate) scratch: Vec<u8>,
    /// The deepest nesting of the record.
    pub(crate) deepest: u32,
}

/// The root of every tape.
pub(crate) const DOCUMENT: u32 = 0;

/// A piece of text in the record or in the scratch buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) buffer: Buffer,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// Where a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Buffer {
    Record,
    Scratch,
}

impl Text {
    pub(crate) const EMPTY: Text = Text { buffer: Buffer::Scratch, start: 0, end: 0 };
    const COMMA: Text = Text { buffer: Buffer::Scratch, start: 0, end: 1 };
    const OBJECT: Text = Text { buffer: Buffer::Scratch, start: 1, end: 3 };
    /// What the scratch buffer starts with.
    const CONSTANTS: &[u8] = b",{}";
}

/// One touched place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) parent: u32,
    pub(crate) next: u32,
    pub(crate) first: u32,
    pub(crate) last: u32,
    /// The member's key, or none for elements and for members that only a `*` found.
    pub(crate) symbol: Sym,
    /// What the plan knows below this place.
    pub(crate) trie: u32,
    /// The key as written, with quotes; empty for elements.
    pub(crate) key: Text,
    /// The value; what its touched members say differs where it is dirty.
    pub(crate) value: Text,
    /// Where a value stands in its parent's text, whatever it is now.
    pub(crate) source: Text,
    /// What is written between the member before and this one.
    pub(crate) lead: Text,
    /// Where the next member of the source starts, or 0 for its last one.
    pub(crate) following: u32,
    /// Of an opened container: where its last member ends.
    pub(crate) last_end: u32,
    /// Of an opened container: how many members it has, touched or not.
    pub(crate) live: u32,
    pub(crate) shape: Shape,
    pub(crate) origin: Origin,
    /// Whether it is gone from here, or anything in it is changed.
    pub(crate) gone: bool,
    pub(crate) dirty: bool,
    /// Whether the key is written from the symbol.
    pub(crate) renamed: bool,
}

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

impl Node {
    pub(crate) fn new(parent: u32, symbol: Sym, trie: u32, key: Text, lead: Text, value: Text) -> Node {
        Node {
            parent,
            next: NONE,
            first: NONE,
            last: NONE,
            symbol,
            trie,
            key,
            value,
            source: value,
            lead,
            following: 0,
            last_end: 0,
            live: 0,
            shape: Shape::Opaque,
            origin: Origin::Source,
            gone: false,
            dirty: false,
            renamed: false,
        }
    }

    /// Where the member starts in its parent's text.
    pub(crate) fn start(&self) -> u32 {
        if self.key == Text::EMPTY { self.source.start } else { self.key.start }
    }
}

impl Tape {
    /// Reads a record: validates all of it and keeps the places of the plan.
    pub(crate) fn read(&mut self, plan: &Plan, record: &[u8]) -> Result<(), Flaw> {
        self.nodes.clear();
        self.scratch.clear();
        self.scratch.extend_from_slice(Text::CONSTANTS);
        let mut scanner = Scanner::new(record, plan.policy.max_depth);
        let start = scanner.space(0);
        let text = Text { buffer: Buffer::Record, start: start as u32, end: 0 };
        self.nodes.push(Node::new(NONE, NONE, ROOT, Text::EMPTY, Text::EMPTY, text));
        let end = scanner.open(plan, &mut self.nodes, DOCUMENT, start, 0);
        let end = scanner.finish(end)?;
        self.deepest = scanner.deepest;
        if let Some(node) = self.nodes.get_mut(DOCUMENT as usize) {
            node.value.end = end as u32;
        }
        Ok(())
    }

    pub(crate) fn node(&self, id: u32) -> &Node {
        #[expect(clippy::indexing_slicing, reason = "ids come from this tape alone; a wrong one is a bug and traps")]
        &self.nodes[id as usize]
    }

    pub(crate) fn node_mut(&mut self, id: u32) -> &mut Node {
        #[expect(clippy::indexing_slicing, reason = "as above")]
        &mut self.nodes[id as usize]
    }

    pub(crate) fn text<'t>(&'t self, record: &'t [u8], text: Text) -> &'t [u8] {
        let buffer = match text.buffer {
            Buffer::Record => record,
            Buffer::Scratch => &self.scratch,
        };
        buffer.get(text.start as usize..text.end as usize).unwrap_or_default()
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
            if child.symbol == symbol && !child.gone {
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
                if !node.gone {
                    return Some(id);
                }
            }
            None
        })
    }

    /// Adds text to the scratch buffer.
    pub(crate) fn keep(&mut self, text: &[u8]) -> Text {
        let start = self.scratch.len() as u32;
        self.scratch.extend_from_slice(text);
        Text { buffer: Buffer::Scratch, start, end: self.scratch.len() as u32 }
    }

    /// Marks a node and all above it as changed.
    pub(crate) fn touch(&mut self, id: u32) {
        let mut at = id;
        while at != NONE {
            let node = self.node_mut(at);
            if node.dirty {
                break;
            }
            node.dirty = true;
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
        let trie = plan.trie.get(self.node(parent).trie as usize).and_then(|node| node.below(symbol)).unwrap_or(NONE);
        let lead = if self.node(parent).live == 0 { Text::EMPTY } else { Text::COMMA };
        let mut node = Node::new(parent, symbol, trie, Text::EMPTY, lead, value);
        (node.origin, node.renamed, node.dirty) = (Origin::Appended, true, true);
        let id = self.nodes.len() as u32;
        self.nodes.push(node);
        let last = self.node(parent).last;
        match last {
            NONE => self.node_mut(parent).first = id,
            last => self.node_mut(last).next = id,
        }
        let parent = self.node_mut(parent);
        parent.last = id;
        parent.live += 1;
        let parent = self.node(id).parent;
        self.touch(parent);
        id
    }

    /// Takes a member away. The next member takes over what stood before it, as if the text from key to key were cut.
    pub(crate) fn detach(&mut self, id: u32) {
        let heir = self.heir(id);
        if let Some(heir) = heir {
            let lead = self.effective_lead(id);
            self.node_mut(heir).lead = lead;
        }
        self.touch(id);
        let node = self.node_mut(id);
        node.gone = true;
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
                    if !adjacent || !self.node(next).gone {
                        return None;
                    }
                    at = next;
                }
                Origin::Source | Origin::Appended => {
                    let mut next = node.next;
                    while next != NONE && self.node(next).gone {
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
            return node.lead;
        }
        let mut lead = None;
        let mut at = self.node(node.parent).first;
        let mut expected = 0;
        while at != NONE && at != id {
            let other = self.node(at);
            if !other.gone || other.following == 0 {
                lead = None;
            } else if lead.is_none() || other.start() != expected {
                lead = Some(other.lead);
            }
            expected = other.following;
            at = other.next;
        }
        lead.filter(|_| node.start() == expected).unwrap_or(node.lead)
    }

    /// Looks into a value as far as the plan does. The text is valid JSON.
    fn open(&mut self, plan: &Plan, id: u32) {
        let node = self.node(id);
        let value = node.value;
        let leaf = plan.trie.get(node.trie as usize).is_none_or(TrieNode::is_leaf);
        if leaf || value.buffer == Buffer::Record {
            return;
        }
        let mut scanner = Scanner::trusting(&self.scratch);
        scanner.buffer = Buffer::Scratch;
        scanner.open(plan, &mut self.nodes, id, value.start as usize, 0);
    }
}
