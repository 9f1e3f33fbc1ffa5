//! What the carry is to keep of a record: noted while it is walked, named and written once all of it is known.

use std::collections::BTreeMap;

use super::Walk;
use crate::carry::{self, Bound};
use crate::identity;
use crate::json;
use crate::plan::Place;
use crate::tape::{NONE, append};

/// When an entry is written: the turn of its op, or of the `in` around it and its element.
pub(super) type Turn = (u32, u32, u32);

/// The entries of one record.
#[derive(Default)]
pub(super) struct Ledger {
    /// Whatever stars have bound, in the order of the record.
    elements: Vec<Element>,
    /// The innermost element, or [`NONE`].
    innermost: u32,
    entries: Vec<Entry>,
    /// What entries say of values, one after another.
    texts: Vec<u8>,
    /// The carry as it is written.
    carry: Vec<u8>,
}

/// Something that a star has bound.
pub(super) struct Element {
    pub(super) place: Place,
    /// The token of its value.
    pub(super) token: u32,
    /// The token of the array or object that it is in.
    list: u32,
    index: u32,
    /// Its key with quotes, if it is a member.
    key: (u32, u32),
    /// The element around it, or [`NONE`].
    outer: u32,
    /// Where its value ends.
    end: u32,
    /// The token of the value that tells it apart from others, if the plan looks at that.
    name: Option<u32>,
}

struct Entry {
    turn: Turn,
    op: u64,
    /// Whether the op has written all of its element.
    whole: bool,
    element: u32,
    /// Where its text ends among the texts, and where it starts.
    text: (u32, u32),
}

impl Element {
    pub(super) fn new((place, list): (Place, u32), index: usize, token: usize, key: (u32, u32)) -> Element {
        let (token, index) = (token as u32, index as u32);
        Element { place, token, list, index, key, outer: NONE, end: 0, name: None }
    }
}

impl Ledger {
    pub(super) fn clear(&mut self) {
        self.elements.clear();
        self.innermost = NONE;
        self.entries.clear();
        self.texts.clear();
    }

    pub(super) fn len(&self) -> u32 {
        self.entries.len() as u32
    }

    /// A star binds an element. Returns the one around it.
    #[inline(always)]
    pub(super) fn open(&mut self, mut element: Element) -> u32 {
        let outer = self.innermost;
        element.outer = outer;
        self.innermost = self.elements.len() as u32;
        self.elements.push(element);
        outer
    }

    /// The innermost element has ended.
    #[inline(always)]
    pub(super) fn close(&mut self, outer: u32, end: usize, name: Option<usize>) {
        if let Some(element) = self.elements.get_mut(self.innermost as usize) {
            (element.end, element.name) = (end as u32, name.map(|token| token as u32));
        }
        self.innermost = outer;
    }

    /// The token of the outermost element.
    pub(super) fn outermost(&self) -> u32 {
        let (mut at, mut token) = (self.innermost, 0);
        while let Some(element) = self.elements.get(at as usize) {
            (at, token) = (element.outer, element.token);
        }
        token
    }

    /// Keeps what was at a place of the innermost element, and what was put there.
    pub(super) fn keep(&mut self, turn: Turn, op: u64, whole: bool, (was, put): (Option<&[u8]>, Option<&[u8]>)) {
        let start = self.texts.len() as u32;
        carry::push_value(&mut self.texts, was, put);
        self.texts.extend_from_slice(b"},");
        let text = (start, self.texts.len() as u32);
        self.entries.push(Entry { turn, op, whole, element: self.innermost, text });
    }
}

impl Walk<'_> {
    /// The carry of the target. None if it is longer than it may be.
    #[inline(never)]
    pub(super) fn carry(&mut self, to: u16) -> Option<Vec<u8>> {
        let mut ledger = std::mem::take(&mut self.desk.ledger);
        if !ledger.entries.is_sorted_by_key(|entry| entry.turn) {
            ledger.entries.sort_by_key(|entry| entry.turn);
        }
        let mut names = BTreeMap::new();
        let mut out = std::mem::take(&mut ledger.carry);
        out.clear();
        append(&mut out, self.plan.carry_head(to));
        let head = out.len();
        for entry in &ledger.entries {
            let place = self.place(&ledger, entry, &mut names);
            carry::push_entry(&mut out, entry.op, &place);
            let (start, end) = entry.text;
            append(&mut out, ledger.texts.get(start as usize..end as usize).unwrap_or_default());
        }
        let fits = out.len() - head + self.plan.carry_overhead <= self.plan.policy.carry_max_bytes as usize;
        out.pop();
        append(&mut out, b"]}");
        let carry = fits.then(|| out.to_vec());
        ledger.carry = out;
        self.desk.ledger = ledger;
        carry
    }

    /// What the stars are bound to, as the carry names it.
    fn place(&mut self, ledger: &Ledger, entry: &Entry, names: &mut BTreeMap<u32, Vec<String>>) -> Vec<Bound> {
        let mut place = Vec::new();
        let (mut at, mut whole) = (entry.element, entry.whole);
        while let Some(element) = ledger.elements.get(at as usize) {
            place.push(self.bound(ledger, element, whole, names));
            (at, whole) = (element.outer, false);
        }
        place.reverse();
        place
    }

    fn bound(
        &mut self,
        ledger: &Ledger,
        element: &Element,
        whole: bool,
        names: &mut BTreeMap<u32, Vec<String>>,
    ) -> Bound {
        if element.key != (0, 0) {
            let key = self.grammar.text.get(element.key.0 as usize..element.key.1 as usize).unwrap_or_default();
            return Bound::Member(identity::member_name(key));
        }
        let list = || ledger.elements.iter().filter(|other| other.list == element.list);
        let trie = self.plan.trie.get(usize::from(element.place));
        if !whole {
            if let Some(name) = self.name(element) {
                let all = names.entry(element.list).or_insert_with(|| {
                    let mut all: Vec<String> = list().filter_map(|other| self.name(other)).collect();
                    all.sort_unstable();
                    all
                });
                if identity::is_single(all, &name) {
                    return Bound::Key(name);
                }
            }
            if let Some(digest) = identity::digest_of(self.plan, trie, self.element_text(element)) {
                return Bound::Index(element.index, digest);
            }
        }
        Bound::Index(element.index, identity::length_digest(list().count() as u32))
    }

    /// What tells an element apart from others, if its collection has a key.
    fn name(&mut self, element: &Element) -> Option<String> {
        let trie = self.plan.trie.get(usize::from(element.place))?;
        match element.name {
            Some(token) => Some(json::canonical(self.text(token as usize))),
            None => identity::name_of(trie, self.element_text(element)),
        }
    }

    fn element_text(&self, element: &Element) -> &[u8] {
        let start = self.grammar.token(element.token as usize);
        self.grammar.text.get(start..element.end as usize).unwrap_or_default()
    }
}
