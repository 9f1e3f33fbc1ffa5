//! The pack compiled: flat code for each step, and one trie of every place that any op could look at.
//!
//! One plan serves all pairs of versions. A translation runs the code of the steps on its way, one after another, on
//! the tape of one scan: many steps cost one scan, one splice and a few nanoseconds an op, and a → c gives the bytes
//! of a → b → c by construction, because every conflict, guard and append position is met in the same order.
//!
//! What makes that sound is the trie: each place an op names, pulled back through every rename and move that could
//! bring a member there. A member outside of it is nobody's business and is never parsed, only skipped.
//! What is thrown away: the paths' text. Costs: memory in the number of named places, not of pairs.

use std::collections::BTreeSet;
use std::sync::Arc;

use wide::u8x16;

use crate::carry::Carry;
use crate::check::{Checked, Step, Ways, for_each_rule};
use crate::json;
use crate::op::{Condition, Differing, Direction, Edit, Loss, Op, Rule, Style, Taken, Test, Tuple};
use crate::pack::{CarryPlace, Policy};
use crate::path::{Path, Seg};
use crate::shape::Crowded;
use crate::tape::Text;

/// A member key by its index in [`Plan::symbols`].
pub(crate) type Sym = u16;

/// No symbol.
pub(crate) const NO_SYM: Sym = Sym::MAX;

/// A place by its index in [`Plan::trie`].
pub(crate) type Place = u16;

/// The trie's root.
pub(crate) const ROOT: Place = 0;

/// The place of which the plan knows nothing.
pub(crate) const NOWHERE: Place = Place::MAX;

/// More named places than this are a pack that doubles them with every step.
const MAX_PLACES: usize = 1 << 14;

/// More places or keys than this have no numbers.
const MAX_NUMBERS: usize = 1 << 15;

/// A compiled pack.
pub(crate) struct Plan {
    pub(crate) policy: Policy,
    pub(crate) symbols: Vec<Symbol>,
    /// What every tape's text starts with: punctuation and the keys, quoted.
    pub(crate) constants: Vec<u8>,
    pub(crate) trie: Vec<TrieNode>,
    pub(crate) versions: Vec<Recognised>,
    /// Step `i` goes from version `i` to version `i + 1`.
    pub(crate) steps: Vec<Stretch>,
    /// The member of an inline carry, if the policy has one.
    pub(crate) carry: Option<Sym>,
    /// Members of the root that `*` never matches: markers and carry.
    pub(crate) reserved: Vec<Sym>,
    /// Whether the members or elements of what a `*` is bound to are `*`s as well, anywhere.
    pub(crate) stars_in_stars: bool,
    /// How much deeper than its source, or than a text put in, a target can be.
    pub(crate) growth: u32,
    /// How deep a text that an op puts in can be.
    pub(crate) floor: u32,
    /// What the carry calls all ops, sorted.
    pub(crate) digests: Vec<u64>,
    /// The bytes that a carry takes without entries, at most.
    pub(crate) carry_overhead: usize,
}

/// A member key.
pub(crate) struct Symbol {
    pub(crate) name: String,
    /// Where `,"name":` stands among the constants.
    pub(crate) text: Text,
}

impl Symbol {
    /// `,"name":`.
    pub(crate) fn spelled<'p>(&self, plan: &'p Plan) -> &'p [u8] {
        plan.constants.get(self.text.start as usize..self.text.end as usize).unwrap_or_default()
    }
}

/// The places below one place.
#[derive(Default)]
pub(crate) struct TrieNode {
    pub(crate) branches: Vec<Branch>,
    /// The branches by the hash of their keys: a power of two of slots, searched from the one that the hash says on.
    slots: Vec<Slot>,
    /// What the hash multiplies with, chosen so that few keys share a slot.
    multiplier: u64,
    /// Whether keys share a slot.
    crowded: bool,
    /// What holds for members that no branch names, and for elements.
    pub(crate) star: Option<Place>,
    /// What holds in the JSON document that a string here holds.
    pub(crate) document: Option<Place>,
    /// The keys that tell elements apart, if this is a collection: the first that an element has.
    pub(crate) keys: Vec<Vec<String>>,
}

/// A named member of a place.
pub(crate) struct Branch {
    name: Vec<u8>,
    pub(crate) symbol: Sym,
    pub(crate) node: Place,
}

/// Where the search for a key may end.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    lane: u8x16,
    length: u16,
    /// The branch, by its index and by what it says.
    pub(crate) index: u16,
    pub(crate) symbol: Sym,
    pub(crate) node: Place,
}

/// What one look at a key tells.
pub(crate) enum Glance {
    /// It is that of a branch, which leads to a place.
    Named(Place),
    /// No branch has it.
    Nobody,
    /// It is long, it has escapes, or there is more to look at.
    Unsure,
}

/// What keys are told apart by, before the rest of long ones is compared: the first sixteen bytes and the length.
#[derive(Clone, Copy)]
struct Key {
    lane: u8x16,
    /// Or as much as there is room for; of long keys more is compared anyway.
    length: u16,
}

/// How many bytes are compared at once.
const LANE: usize = 16;

/// How records of a version are recognised.
pub(crate) struct Recognised {
    pub(crate) id: String,
    pub(crate) marker: Option<(Vec<Sym>, Option<String>)>,
    pub(crate) has: Vec<Vec<Sym>>,
    pub(crate) lacks: Vec<Vec<Sym>>,
    /// How its carries start.
    head: Vec<u8>,
}

/// The code of one step.
pub(crate) struct Stretch {
    pub(crate) label: String,
    ways: Ways,
    pub(crate) ops: Vec<Arc<Code>>,
    /// Run last, in both directions.
    pub(crate) stamps: Vec<Arc<Code>>,
    /// What the carry calls the step's ops, sorted.
    pub(crate) digests: Vec<u64>,
}

/// One op, compiled.
pub(crate) struct Code {
    /// `step 1→2, op 3`.
    pub(crate) label: String,
    pub(crate) name: &'static str,
    pub(crate) digest: u64,
    /// From the place of the enclosing scope to the node that the op works in.
    pub(crate) scope: Vec<Hop>,
    pub(crate) body: Body,
    pub(crate) when: Option<Guard>,
    pub(crate) when_upper: Option<Guard>,
    /// Upwards and downwards, whether the op is declared to lose something.
    loses: [bool; 2],
}

/// One segment of a scope.
#[derive(Clone, Copy)]
pub(crate) enum Hop {
    Key(Sym),
    Star,
}

/// What an op does below its scope; all paths are plain keys.
pub(crate) enum Body {
    Relink { lower: Vec<Sym>, upper: Vec<Sym>, style: Style, taken: Taken },
    Edit { at: Vec<Sym>, edit: Edit },
    Tuple { places: Vec<Vec<Sym>>, tuple: Tuple },
    Spread(Spread),
    In { codes: Vec<Arc<Code>> },
    Embedded { codes: Vec<Arc<Code>> },
}

/// A member below the scope, and the elements of a list that it goes into.
pub(crate) struct Spread {
    pub(crate) from: Vec<Sym>,
    pub(crate) list: Vec<Sym>,
    /// Below an element.
    pub(crate) member: Vec<Sym>,
    pub(crate) differing: Differing,
    pub(crate) taken: Taken,
}

/// A condition, on a node that the op's scope has bound.
pub(crate) struct Guard {
    /// How many of the scope's stars are bound where the path starts.
    pub(crate) stars: usize,
    pub(crate) path: Vec<Sym>,
    pub(crate) test: Test,
}

impl Plan {
    /// The id of a version, for messages and carries.
    pub(crate) fn id(&self, version: u16) -> &str {
        self.versions.get(usize::from(version)).map_or("?", |version| version.id.as_str())
    }

    /// How the carries of a version start.
    pub(crate) fn carry_head(&self, version: u16) -> &[u8] {
        self.versions.get(usize::from(version)).map_or(&[], |version| version.head.as_slice())
    }

    /// The first step on the way from one version to another that doesn't go there.
    pub(crate) fn barred(&self, from: u16, to: u16) -> Option<&Stretch> {
        let direction = if from < to { Direction::Up } else { Direction::Down };
        let steps = self.steps.get(usize::from(from.min(to))..usize::from(from.max(to)))?;
        steps.iter().find(|step| !step.ways.lead(direction))
    }

    /// The place at the end of a path of keys.
    pub(crate) fn place(&self, from: Place, path: &[String]) -> Option<Place> {
        path.iter().try_fold(from, |at, key| {
            let (_, branch) = self.trie.get(usize::from(at))?.branch(key.as_bytes())?;
            Some(branch.node)
        })
    }

    /// Whether a member of this name is looked at anywhere.
    pub(crate) fn names(&self, key: &[u8]) -> bool {
        self.symbols.iter().any(|symbol| symbol.name.as_bytes() == key)
    }
}

impl Stretch {
    /// The op that the carry calls so.
    pub(crate) fn code(&self, digest: u64) -> Option<&Code> {
        self.ops.iter().chain(&self.stamps).find_map(|code| code.find(digest))
    }
}

impl Code {
    fn find(&self, digest: u64) -> Option<&Code> {
        let within = match &self.body {
            Body::In { codes } | Body::Embedded { codes } => codes.as_slice(),
            Body::Relink { .. } | Body::Edit { .. } | Body::Tuple { .. } | Body::Spread(_) => &[],
        };
        let own = (self.digest == digest).then_some(self);
        own.or_else(|| within.iter().find_map(|code| code.find(digest)))
    }

    pub(crate) fn guard(&self, direction: Direction) -> Option<&Guard> {
        match direction {
            Direction::Up => self.when.as_ref(),
            Direction::Down => self.when_upper.as_ref().or(self.when.as_ref()),
        }
    }

    pub(crate) fn loses(&self, direction: Direction) -> bool {
        match direction {
            Direction::Up => self.loses[0],
            Direction::Down => self.loses[1],
        }
    }
}

impl TrieNode {
    /// The branch of the key that stands in a text from `start` to `end`. Keys with a backslash, written or meant, have
    /// none here.
    pub(crate) fn find(&self, text: &[u8], start: usize, end: usize) -> Option<&Slot> {
        let key = Key::at(text, start, end);
        let at = key.hash(self.multiplier) as usize & self.slots.len().wrapping_sub(1);
        let slot = self.slots.get(at)?;
        if slot.is(key) && key.length <= LANE as u16 {
            return Some(slot);
        }
        let ends = slot.is_empty() || !self.crowded && key.length <= LANE as u16;
        if ends { None } else { self.search(at, key, text.get(start..end)?) }
    }

    /// Where the branch is of the key that stands in a text, as far as one look tells.
    #[inline(always)]
    pub(crate) fn glance(&self, text: &[u8], start: usize, end: usize) -> Glance {
        let key = Key::at(text, start, end);
        let at = key.hash(self.multiplier) as usize & self.slots.len().wrapping_sub(1);
        let Some(slot) = self.slots.get(at) else { return Glance::Unsure };
        if key.length > LANE as u16 || self.star.is_some() {
            Glance::Unsure
        } else if slot.is(key) {
            Glance::Named(slot.node)
        } else if self.crowded || key.lane.simd_eq(u8x16::splat(b'\\')).any() {
            Glance::Unsure
        } else {
            Glance::Nobody
        }
    }

    #[inline(never)]
    fn search(&self, from: usize, key: Key, name: &[u8]) -> Option<&Slot> {
        let mask = self.slots.len().wrapping_sub(1);
        let slots = (from..).map_while(|at| self.slots.get(at & mask)).take_while(|slot| !slot.is_empty());
        let named = |slot: &Slot| self.branches.get(usize::from(slot.index)).is_some_and(|branch| branch.name == name);
        slots.take(self.slots.len()).find(|slot| slot.is(key) && named(slot))
    }

    /// The branch of a key, given without quotes and unescaped.
    pub(crate) fn branch(&self, key: &[u8]) -> Option<(usize, &Branch)> {
        self.branches.iter().enumerate().find(|(_, branch)| branch.name == key)
    }

    /// What lies below a member with this symbol.
    pub(crate) fn below(&self, symbol: Sym) -> Option<Place> {
        self.branches.iter().find(|branch| branch.symbol == symbol).map(|branch| branch.node).or(self.star)
    }

    pub(crate) fn is_leaf(&self) -> bool {
        self.branches.is_empty() && self.star.is_none()
    }

    /// Lays the slots out, once all branches are there. At least half of them stay empty, so that searches end.
    fn hash(&mut self) {
        let named = self.branches.iter().zip(0..).filter(|(branch, _)| !branch.name.contains(&b'\\'));
        let slots: Vec<Slot> = named
            .map(|(branch, index)| {
                let Key { lane, length } = Key::at(&branch.name, 0, branch.name.len());
                Slot { lane, length, index, symbol: branch.symbol, node: branch.node }
            })
            .collect();
        let mask = (4 * slots.len()).next_power_of_two() - 1;
        let shared = |multiplier: u64| {
            let mut taken: Vec<usize> = slots.iter().map(|slot| slot.key().hash(multiplier) as usize & mask).collect();
            taken.sort_unstable();
            taken.windows(2).filter(|pair| matches!(pair, [one, other] if one == other)).count()
        };
        // Any odd numbers with bits all over do.
        let multipliers = (1..64u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        self.multiplier = multipliers.min_by_key(|multiplier| shared(*multiplier)).unwrap_or(1);
        self.crowded = shared(self.multiplier) > 0;
        self.slots = vec![Slot::EMPTY; mask + 1];
        for slot in slots {
            let mut at = slot.key().hash(self.multiplier) as usize & mask;
            while self.slots.get(at).is_some_and(|taken| !taken.is_empty()) {
                at = (at + 1) & mask;
            }
            if let Some(free) = self.slots.get_mut(at) {
                *free = slot;
            }
        }
    }
}

impl Slot {
    const EMPTY: Slot = Slot { lane: u8x16::ZERO, length: u16::MAX, index: u16::MAX, symbol: NO_SYM, node: NOWHERE };

    #[inline(always)]
    fn is(&self, key: Key) -> bool {
        self.length == key.length && self.lane.simd_eq(key.lane).all()
    }

    fn key(&self) -> Key {
        Key { lane: self.lane, length: self.length }
    }

    fn is_empty(&self) -> bool {
        self.index == Slot::EMPTY.index
    }
}

impl Key {
    #[inline(always)]
    fn at(text: &[u8], start: usize, end: usize) -> Key {
        /// Its last bytes, from one on, are a mask for as many bytes as stand before that.
        const MASK: &[u8; 2 * LANE] =
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        let length = end.wrapping_sub(start);
        let lane = match text.get(start..).and_then(<[u8]>::first_chunk::<LANE>) {
            Some(chunk) => u8x16::new(*chunk),
            None => short(text, start, end),
        };
        let mask = MASK.get(LANE - length.min(LANE)..).and_then(<[u8]>::first_chunk::<LANE>);
        let lane = lane & u8x16::new(mask.copied().unwrap_or_default());
        Key { lane, length: length.min(usize::from(u16::MAX)) as u16 }
    }

    #[inline(always)]
    fn hash(self, multiplier: u64) -> u64 {
        let [low, high] = halves(self.lane);
        (low.wrapping_mul(multiplier) ^ high.wrapping_add(u64::from(self.length))).wrapping_mul(multiplier) >> 40
    }
}

#[inline(always)]
fn halves(lane: u8x16) -> [u64; 2] {
    let bytes = lane.to_array();
    let [a, b] = bytes.as_chunks::<8>().0 else { return [0; 2] };
    [u64::from_le_bytes(*a), u64::from_le_bytes(*b)]
}

/// A lane at the end of a text.
#[cold]
fn short(text: &[u8], start: usize, end: usize) -> u8x16 {
    let mut chunk = [0; LANE];
    chunk.iter_mut().zip(text.get(start..end).unwrap_or_default()).for_each(|(to, from)| *to = *from);
    u8x16::new(chunk)
}

/// Compiles a pack.
///
/// # Errors
/// The pack's moves name more places than a plan can hold.
pub(crate) fn compile(checked: &Checked, crowded: &[Crowded]) -> Result<Plan, String> {
    let (symbols, trie, constants) = (Vec::new(), vec![TrieNode::default()], Text::CONSTANTS.to_vec());
    let mut builder = Builder { crowded, symbols, trie, constants };
    for place in places(checked)? {
        builder.insert(&place);
    }
    builder.merge_stars(ROOT);
    for collection in &checked.collections {
        if let Some(node) = builder.find(&collection.path)
            && let Some(node) = builder.trie.get_mut(node as usize)
        {
            node.keys.extend(collection.keys.iter().cloned());
        }
    }
    let versions = checked.versions.iter().map(|version| Recognised {
        id: version.id.clone(),
        marker: version.marker.as_ref().map(|marker| (builder.symbols_of(&marker.path), marker.value.clone())),
        has: version.has.iter().map(|path| builder.symbols_of(path)).collect(),
        lacks: version.lacks.iter().map(|path| builder.symbols_of(path)).collect(),
        head: Carry::head(&version.id),
    });
    let versions: Vec<Recognised> = versions.collect();
    let carry = (checked.policy.carry == CarryPlace::Inline).then(|| builder.symbol(&checked.policy.carry_member));
    let mut reserved: Vec<Sym> =
        versions.iter().filter_map(|version| version.marker.as_ref()?.0.first().copied()).chain(carry).collect();
    reserved.sort_unstable();
    reserved.dedup();
    let steps = checked.steps.iter().map(|step| builder.stretch(step)).collect();
    let steps: Vec<Stretch> = steps;
    let mut digests: Vec<u64> = steps.iter().flat_map(|step| step.digests.iter().copied()).collect();
    digests.sort_unstable();
    let (mut growth, mut floor) = (0, 8); // an inline carry is five levels deep
    for step in &checked.steps {
        for_each_rule(&step.rules, &Path::default(), &mut |scope, rule| match &rule.op {
            Op::Relink { lower, upper, .. } => growth += lower.0.len().abs_diff(upper.0.len()) as u32,
            Op::Edit { at, edit } => {
                growth += edit.growth();
                floor = floor.max((scope.0.len() + at.0.len()) as u32 + edit.depth());
            }
            Op::Tuple(tuple) => {
                let lengths = tuple.places.iter().map(|place| place.0.len() as u32);
                growth += lengths.clone().max().unwrap_or(0);
                floor = floor.max(scope.0.len() as u32 + lengths.max().unwrap_or(0) + tuple.depth());
            }
            Op::Spread { from, to, .. } => growth += from.0.len().abs_diff(to.0.len()) as u32,
            Op::In { .. } | Op::Embedded { .. } => {}
        });
    }
    let carry_overhead = versions.iter().map(|version| Carry::overhead(&version.id)).max().unwrap_or(0);
    let policy = checked.policy.clone();
    let Builder { symbols, mut trie, constants, .. } = builder;
    if trie.len().max(symbols.len()) > MAX_NUMBERS {
        return Err(format!("the pack's ops look at more than {MAX_NUMBERS} places"));
    }
    trie.iter_mut().for_each(TrieNode::hash);
    let starred = |star| trie.get(usize::from(star)).is_some_and(|node: &TrieNode| node.star.is_some());
    let stars_in_stars = trie.iter().filter_map(|node| node.star).any(starred);
    Ok(Plan {
        policy,
        symbols,
        constants,
        trie,
        versions,
        steps,
        carry,
        reserved,
        stars_in_stars,
        growth,
        floor,
        digests,
        carry_overhead,
    })
}

/// Every place that an op or a detection could look at, in any shape that the line gives a record.
fn places(checked: &Checked) -> Result<BTreeSet<Path>, String> {
    let mut all = BTreeSet::new();
    for version in &checked.versions {
        all.extend(version.marker.iter().map(|marker| marker.path.clone()));
        all.extend(version.has.iter().chain(&version.lacks).cloned());
    }
    if checked.policy.carry == CarryPlace::Inline {
        all.insert(Path(vec![Seg::Key(checked.policy.carry_member.clone())]));
    }
    for direction in [Direction::Up, Direction::Down] {
        // Backwards from the end of the run: what later ops look at, seen from before this one.
        let mut needed = BTreeSet::new();
        let mut rules: Vec<(Path, &Rule)> = Vec::new();
        for Step { rules: list, .. } in &checked.steps {
            for_each_rule(list, &Path::default(), &mut |scope, rule| rules.push((scope.clone(), rule)));
        }
        if direction == Direction::Up {
            rules.reverse();
        }
        for (scope, rule) in rules {
            for (before, after) in rule.op.passages(direction) {
                let (before, after) = (before.under(&scope), after.under(&scope));
                let pulled: Vec<Path> =
                    needed.iter().filter_map(|place: &Path| place.transplanted(&after, &before)).collect();
                needed.extend(pulled);
            }
            needed.extend(rule.op.paths().into_iter().map(|path| path.under(&scope)));
            let conditions = [&rule.when, &rule.when_upper].into_iter().flatten();
            needed.extend(conditions.map(|condition| condition.path.under(&scope)));
            if needed.len() > MAX_PLACES {
                return Err(format!(
                    "the pack's ops look at more than {MAX_PLACES} places: moves that are undone and done again multiply them"
                ));
            }
        }
        all.extend(needed);
    }
    Ok(all)
}

struct Builder<'c> {
    /// By version: what ops may find.
    crowded: &'c [Crowded],
    symbols: Vec<Symbol>,
    trie: Vec<TrieNode>,
    constants: Vec<u8>,
}

impl Builder<'_> {
    fn symbol(&mut self, name: &str) -> Sym {
        let known = self.symbols.iter().position(|symbol| symbol.name == name);
        known.unwrap_or_else(|| {
            let start = self.constants.len() as u32;
            self.constants.extend_from_slice(format!(",{}:", json::quoted(name)).as_bytes());
            let text = Text { start, end: self.constants.len() as u32 };
            self.symbols.push(Symbol { name: name.to_owned(), text });
            self.symbols.len() - 1
        }) as Sym
    }

    fn symbols_of(&mut self, path: &Path) -> Vec<Sym> {
        self.keys(&path.0)
    }

    fn keys(&mut self, segs: &[Seg]) -> Vec<Sym> {
        segs.iter().filter_map(|seg| if let Seg::Key(key) = seg { Some(self.symbol(key)) } else { None }).collect()
    }

    fn insert(&mut self, place: &Path) {
        let mut at = ROOT;
        for seg in &place.0 {
            at = match seg {
                Seg::Star => self.star(at),
                Seg::Key(key) => self.named(at, key),
                Seg::Document => self.document(at),
            };
        }
    }

    fn star(&mut self, at: Place) -> Place {
        if let Some(star) = self.trie.get(at as usize).and_then(|node| node.star) {
            return star;
        }
        let star = self.push();
        if let Some(node) = self.trie.get_mut(at as usize) {
            node.star = Some(star);
        }
        star
    }

    fn document(&mut self, at: Place) -> Place {
        if let Some(document) = self.trie.get(at as usize).and_then(|node| node.document) {
            return document;
        }
        let document = self.push();
        if let Some(node) = self.trie.get_mut(at as usize) {
            node.document = Some(document);
        }
        document
    }

    fn named(&mut self, at: Place, key: &str) -> Place {
        let symbol = self.symbol(key);
        if let Some(branch) =
            self.trie.get(at as usize).and_then(|node| node.branches.iter().find(|branch| branch.symbol == symbol))
        {
            return branch.node;
        }
        let node = self.push();
        let name = key.as_bytes().to_vec();
        let branch = Branch { name, symbol, node };
        if let Some(parent) = self.trie.get_mut(at as usize) {
            parent.branches.push(branch);
        }
        node
    }

    /// A new node, or none where there are more already than have numbers: such a pack is refused in the end.
    fn push(&mut self) -> Place {
        if self.trie.len() > MAX_NUMBERS {
            return NOWHERE;
        }
        self.trie.push(TrieNode::default());
        (self.trie.len() - 1) as Place
    }

    /// What holds for every member holds for the named ones, too.
    fn merge_stars(&mut self, at: Place) {
        let Some(node) = self.trie.get(at as usize) else { return };
        let (star, document) = (node.star, node.document);
        let named: Vec<Place> = node.branches.iter().map(|branch| branch.node).collect();
        for below in &named {
            if let Some(star) = star {
                self.merge(star, *below);
            }
        }
        for below in named.into_iter().chain(star).chain(document) {
            self.merge_stars(below);
        }
    }

    fn merge(&mut self, from: Place, into: Place) {
        // Stars below stars double the places with each level.
        if self.trie.len() > MAX_NUMBERS {
            return;
        }
        let Some(node) = self.trie.get(from as usize) else { return };
        let (star, document) = (node.star, node.document);
        let named: Vec<(Sym, Place)> = node.branches.iter().map(|branch| (branch.symbol, branch.node)).collect();
        if let Some(star) = star {
            let to = self.star(into);
            self.merge(star, to);
        }
        if let Some(document) = document {
            let to = self.document(into);
            self.merge(document, to);
        }
        for (symbol, below) in named {
            let Some(name) = self.symbols.get(symbol as usize).map(|symbol| symbol.name.clone()) else { continue };
            let to = self.named(into, &name);
            self.merge(below, to);
        }
    }

    fn find(&self, path: &Path) -> Option<Place> {
        path.0.iter().try_fold(ROOT, |at, seg| {
            let node = self.trie.get(at as usize)?;
            match seg {
                Seg::Star => node.star,
                Seg::Document => node.document,
                Seg::Key(key) => node
                    .branches
                    .iter()
                    .find(|branch| self.symbols.get(branch.symbol as usize).is_some_and(|s| s.name == *key))
                    .map(|b| b.node),
            }
        })
    }

    fn stretch(&mut self, step: &Step) -> Stretch {
        let (stamps, ops): (Vec<Arc<Code>>, Vec<Arc<Code>>) =
            self.codes(step, &step.rules).into_iter().partition(|code| code.name == "stamp");
        let mut digests = Vec::new();
        for_each_rule(&step.rules, &Path::default(), &mut |_, rule| digests.push(rule.digest));
        digests.sort_unstable();
        Stretch { label: step.label.clone(), ways: step.ways, ops, stamps, digests }
    }

    fn codes(&mut self, step: &Step, rules: &[Rule]) -> Vec<Arc<Code>> {
        rules.iter().map(|rule| Arc::new(self.code(step, rule))).collect()
    }

    fn code(&mut self, step: &Step, rule: &Rule) -> Code {
        let crowded = |direction| self.crowded.iter().any(|crowded| crowded.has(direction, rule));
        let loses = [Direction::Up, Direction::Down]
            .map(|direction| rule.loss(direction) != Loss::Nothing || crowded(direction));
        let split = match &rule.op {
            Op::In { at, .. } | Op::Embedded { at, .. } => at.0.len(),
            Op::Relink { .. } | Op::Edit { .. } | Op::Tuple(_) | Op::Spread { .. } => rule.op.at().scope_len(),
        };
        let scope = rule.op.at().0.iter().take(split).map(|seg| match seg {
            Seg::Star | Seg::Document => Hop::Star,
            Seg::Key(key) => Hop::Key(self.symbol(key)),
        });
        let scope = scope.collect();
        let mut tail = |path: &Path| self.keys(path.0.get(split..).unwrap_or_default());
        let body = match &rule.op {
            Op::Relink { lower, upper, style, taken } => {
                Body::Relink { lower: tail(lower), upper: tail(upper), style: *style, taken: *taken }
            }
            Op::Edit { at, edit } => Body::Edit { at: tail(at), edit: edit.clone() },
            Op::Tuple(tuple) => {
                Body::Tuple { places: tuple.places.iter().map(&mut tail).collect(), tuple: tuple.clone() }
            }
            Op::Spread { from, to, differing, taken } => {
                let (list, member) = to.0.split_at(to.scope_len());
                Body::Spread(Spread {
                    from: tail(from),
                    list: tail(&Path(list.to_vec())),
                    member: self.keys(member),
                    differing: *differing,
                    taken: *taken,
                })
            }
            Op::In { rules, .. } => Body::In { codes: self.codes(step, rules) },
            Op::Embedded { rules, .. } => Body::Embedded { codes: self.codes(step, rules) },
        };
        let mut guard = |condition: &Condition| Guard {
            stars: condition.path.0.iter().filter(|seg| **seg == Seg::Star).count(),
            path: self.keys(condition.path.0.get(condition.path.scope_len()..).unwrap_or_default()),
            test: condition.test.clone(),
        };
        Code {
            label: if rule.label == "stamp" {
                format!("{}, stamp", step.label)
            } else {
                format!("{}, op {}", step.label, rule.label)
            },
            name: rule.name,
            digest: rule.digest,
            scope,
            body,
            when: rule.when.as_ref().map(&mut guard),
            when_upper: rule.when_upper.as_ref().map(&mut guard),
            loses,
        }
    }
}
