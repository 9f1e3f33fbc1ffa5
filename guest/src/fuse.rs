//! The code of all steps between two versions as one plan: what becomes of each place, and what is put where.
//!
//! The code is run once, symbolically, over the places of the trie. What is left says for each place of a source record
//! whether its member stays, gets another key, is written anew or goes, and for each object what comes to its end, in
//! the order of the ops. So a record is written in one walk over its tape, however many ops and steps there are
//! (`emit`). A pair whose ops this form can't say has no such plan, and a record for which something out of the ordinary
//! happens (a conflict, a member in an unexpected place) is given back: the ops then run on the tape one by one
//! (`run`), to the same bytes. What is thrown away: the places on the way. Costs: a few words for each place of the trie.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::emit::AHEAD;
use crate::json;
use crate::op::{Direction, Edit, Emptied, Put, Style, Taken};
use crate::plan::{Body, Code, Hop, NO_SYM, Place, Plan, ROOT, Recognised, Sym};

/// The plan of one pair of versions.
pub(crate) struct Fused {
    /// What becomes of the member at each place of the trie.
    pub(crate) fates: Vec<Fate>,
    /// The same in short.
    pub(crate) tasks: Vec<Task>,
    /// What is written for events, one after another.
    pub(crate) text: Vec<u8>,
    /// What detection asks of the source, and of the result as far as it isn't known beforehand; all of it must hold.
    pub(crate) checks: Vec<Check>,
}

/// How a record's version is told in one walk.
pub(crate) struct Detector {
    /// A plan that does nothing.
    pub(crate) walk: Fused,
    /// For each version what must hold.
    pub(crate) versions: Vec<Vec<Check>>,
    /// Where an inline carry stands.
    pub(crate) carry: Option<Place>,
}

/// What there is to do with a member, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Nothing, and nothing below that anybody knows of.
    Nothing,
    /// It gets another key, and nothing is below.
    Rename,
    /// Whatever its fate says.
    Any,
}

/// What becomes of a member.
#[derive(Default)]
pub(crate) struct Fate {
    /// Of an element: where that stands which tells it apart from others, if the plan looks at it.
    pub(crate) names: Vec<Place>,
    /// Whether a record that has a member here is none for this plan.
    pub(crate) refused: bool,
    /// The key that it gets, if that is another one.
    pub(crate) key: Option<Sym>,
    /// What writes its value anew, in order.
    pub(crate) deeds: Vec<Deed>,
    /// Whether it goes from here.
    pub(crate) gone: Option<Gone>,
    /// Whether the plan knows members of its value, and elements.
    pub(crate) opens: (bool, bool),
    /// Whether a member of it goes, so that it may be empty in the end.
    pub(crate) thins: bool,
    /// What is put at the end of this object.
    pub(crate) events: Vec<Event>,
}

/// How a member goes.
#[derive(Clone, Copy)]
pub(crate) struct Gone {
    /// When.
    pub(crate) order: u32,
    /// What becomes of a parent that this empties.
    pub(crate) emptied: Emptied,
    /// How many of its parents the op looks at.
    pub(crate) parents: usize,
    /// Whether it goes to another place, and so keeps its value.
    pub(crate) moved: bool,
}

/// One edit on the way, and when it is its turn.
#[derive(Clone)]
pub(crate) struct Deed {
    pub(crate) order: u32,
    /// The turn of the `in` around it whose `*` comes first, so that elements are done one after another; else its own.
    pub(crate) rank: u32,
    pub(crate) code: Arc<Code>,
}

/// Something that may be put at the end of an object.
pub(crate) struct Event {
    pub(crate) order: u32,
    pub(crate) key: Sym,
    pub(crate) what: What,
    /// A comma, the key, a colon and, as far as that is known beforehand, the value: where that stands among the texts.
    pub(crate) text: (usize, usize),
    /// Whether the text is all that is put.
    pub(crate) is_literal: bool,
    /// How many members that nobody has had are put in.
    pub(crate) defaults: u32,
    /// Whether a parent that is made for what is put stays when that goes again.
    pub(crate) lets_parents_stay: bool,
}

/// What is put.
pub(crate) enum What {
    /// The member at a place, if it is there.
    Moved(Place),
    /// What edits make of nothing, unless there is a member at the place.
    Put { unless: Option<Place>, deeds: Vec<Deed> },
    /// A new object with all that comes to the place, unless there is one. Noted for each that comes, and the first
    /// one tries them all.
    Object { place: Place, first: bool },
}

/// A question of detection.
pub(crate) enum Check {
    /// Whether a member is there.
    Present(Place, bool),
    /// Whether no version but the target would say: all of these hold.
    Not(Vec<Check>),
    /// Whether a member has this value.
    Equals(Place, String),
    /// What is known beforehand.
    Known(bool),
}

/// What stands at a key now.
#[derive(Clone, Copy)]
enum Now {
    /// The member that the source has at a place.
    Source(Place),
    /// What an event of an object puts, or what the source has at a place, if it has.
    Put { holder: Place, event: usize, unless: Option<Place> },
    /// Nothing.
    Vacant,
}

/// Fuses the code from one version to another, if it can be said so.
pub(crate) fn fuse(plan: &Plan, from: u16, to: u16) -> Option<Fused> {
    if plan.trie.iter().any(|node| node.star.is_some() && !node.branches.is_empty()) {
        return None; // a star that binds named members would give each of them two fates
    }
    let direction = if from < to { Direction::Up } else { Direction::Down };
    let steps = plan.steps.get(usize::from(from.min(to))..usize::from(from.max(to)))?;
    let mut fuser = Fuser::new(plan, direction);
    if let Some(Now::Source(carry)) = plan.carry.map(|carry| fuser.child(ROOT, carry)) {
        fuser.fate(carry).refused = true;
    }
    let takes = |code: &&Arc<Code>| matches!(&code.body, Body::Edit { edit, .. } if edit.takes_out(direction));
    let mut checks = fuser.checks(from)?;
    let mut run = |step: &crate::plan::Stretch| -> Option<()> {
        step.stamps.iter().filter(takes).try_for_each(|stamp| fuser.code(stamp, ROOT))?;
        fuser.codes(&step.ops, ROOT)?;
        step.stamps.iter().filter(|stamp| !takes(stamp)).try_for_each(|stamp| fuser.code(stamp, ROOT))
    };
    match direction {
        Direction::Up => steps.iter().try_for_each(&mut run)?,
        Direction::Down => steps.iter().rev().try_for_each(&mut run)?,
    }
    checks.extend(fuser.checks(to)?);
    fuser.objects_are_whole().then_some(())?;
    Some(fuser.done(checks))
}

/// What tells versions apart, if it can be said so.
pub(crate) fn detector(plan: &Plan) -> Option<Detector> {
    let mut fuser = Fuser::new(plan, Direction::Up);
    let versions = plan.versions.iter().map(|version| fuser.questions(version)).collect::<Option<_>>()?;
    let carry = match plan.carry.map(|carry| fuser.child(ROOT, carry)) {
        Some(Now::Source(place)) => Some(place),
        _ => None,
    };
    Some(Detector { walk: fuser.done(Vec::new()), versions, carry })
}

impl Event {
    fn new(order: u32, key: Sym, what: What) -> Event {
        Event { order, key, what, text: (0, 0), is_literal: false, defaults: 0, lets_parents_stay: false }
    }

    /// Writes down what is known of the event beforehand.
    fn spell(&mut self, plan: &Plan, direction: Direction, text: &mut Vec<u8>) {
        let start = text.len();
        text.extend_from_slice(plan.symbols.get(usize::from(self.key)).map_or(&[], |symbol| symbol.spelled(plan)));
        match &self.what {
            What::Moved(_) => {}
            What::Object { .. } => text.push(b'{'),
            What::Put { deeds, .. } => {
                let edits = deeds.iter().filter_map(|deed| match &deed.code.body {
                    Body::Edit { edit, .. } => Some(edit),
                    Body::Relink { .. } | Body::Tuple { .. } | Body::Spread(_) => None,
                    Body::In { .. } | Body::Embedded { .. } => None,
                });
                self.lets_parents_stay = edits.clone().any(|edit| edit.emptied() == Emptied::Stays);
                self.defaults = u32::from(!edits.clone().any(Edit::is_stamp));
                if let [Deed { code, .. }] = deeds.as_slice()
                    && let Body::Edit { edit, .. } = &code.body
                    && let Some(Put::Text(value)) = edit.quick(direction, None, &mut Vec::new())
                {
                    text.extend_from_slice(value.as_bytes());
                    self.is_literal = true;
                }
            }
        }
        self.text = (start, text.len());
    }
}

impl Fate {
    fn task(&self, is_leaf: bool) -> Task {
        let idle = self.deeds.is_empty() && self.events.is_empty() && self.gone.is_none() && !self.refused;
        match (idle && is_leaf, self.key) {
            (true, None) => Task::Nothing,
            (true, Some(_)) => Task::Rename,
            (false, _) => Task::Any,
        }
    }
}

/// Fills in what follows from the rest, at a place and below.
fn complete(plan: &Plan, fates: &mut [Fate], at: Place) {
    let Some(node) = plan.trie.get(usize::from(at)) else { return };
    let below: Vec<Place> = node.branches.iter().map(|branch| branch.node).chain(node.star).collect();
    let mut thins = false;
    for place in below {
        complete(plan, fates, place);
        thins |= fates.get(usize::from(place)).is_some_and(|fate| fate.gone.is_some() || fate.thins);
    }
    let names: Option<Vec<Place>> = node.keys.iter().map(|path| plan.place(at, path)).collect();
    let Some(fate) = fates.get_mut(usize::from(at)) else { return };
    fate.names = names.unwrap_or_default();
    fate.opens = (!node.is_leaf(), node.star.is_some());
    fate.thins = thins;
}

struct Fuser<'p> {
    plan: &'p Plan,
    direction: Direction,
    fates: Vec<Fate>,
    /// What stands at the keys at which something has happened.
    now: BTreeMap<(Place, Sym), Now>,
    order: u32,
    rank: Option<u32>,
    /// The objects that an `in` takes as given.
    scopes: BTreeSet<Place>,
}

impl<'p> Fuser<'p> {
    fn new(plan: &'p Plan, direction: Direction) -> Fuser<'p> {
        let fates = plan.trie.iter().map(|_| Fate::default()).collect();
        let (now, scopes) = (BTreeMap::new(), BTreeSet::new());
        Fuser { plan, direction, fates, now, order: 0, rank: None, scopes }
    }

    fn done(self, checks: Vec<Check>) -> Fused {
        let Fuser { plan, direction, mut fates, .. } = self;
        complete(plan, &mut fates, ROOT);
        let tasks = fates.iter().zip(&plan.trie).map(|(fate, node)| fate.task(node.is_leaf())).collect();
        let mut text = Vec::new();
        fates.iter_mut().flat_map(|fate| &mut fate.events).for_each(|event| event.spell(plan, direction, &mut text));
        text.extend_from_slice(&[b' '; AHEAD]);
        Fused { fates, tasks, text, checks }
    }

    fn fate(&mut self, place: Place) -> &mut Fate {
        #[expect(clippy::indexing_slicing, reason = "places come from this trie alone")]
        &mut self.fates[usize::from(place)]
    }

    /// What stands at a key of an object now.
    fn child(&self, holder: Place, key: Sym) -> Now {
        if let Some(now) = self.now.get(&(holder, key)) {
            return *now;
        }
        let node = self.plan.trie.get(usize::from(holder));
        let branch = node.and_then(|node| node.branches.iter().find(|branch| branch.symbol == key));
        branch.map_or(Now::Vacant, |branch| Now::Source(branch.node))
    }

    fn codes(&mut self, codes: &[Arc<Code>], scope: Place) -> Option<()> {
        match self.direction {
            Direction::Up => codes.iter().try_for_each(|code| self.code(code, scope)),
            Direction::Down => codes.iter().rev().try_for_each(|code| self.code(code, scope)),
        }
    }

    fn code(&mut self, code: &Arc<Code>, frame: Place) -> Option<()> {
        if code.when.is_some() || code.when_upper.is_some() {
            return None;
        }
        self.order += 1;
        let mut scope = frame;
        for hop in &code.scope {
            let next = match hop {
                Hop::Key(key) => match self.child(scope, *key) {
                    Now::Source(place) => Some(place),
                    Now::Vacant => None,
                    Now::Put { .. } => return None,
                },
                Hop::Star => self.plan.trie.get(usize::from(scope)).and_then(|node| node.star),
            };
            let Some(next) = next else { return Some(()) };
            scope = self.whole(next)?;
        }
        match &code.body {
            Body::Relink { taken: Taken::Overwritten, .. } => None,
            Body::Relink { lower, upper, style, taken: Taken::Refused } => {
                let (from, to) = self.direction.sides(lower, upper);
                self.relink(scope, from, to, *style)
            }
            Body::Edit { at, edit } => self.edit(code, scope, at, edit),
            Body::Tuple { .. } | Body::Spread(_) | Body::Embedded { .. } => None,
            Body::In { codes } => {
                self.scopes.insert(scope);
                let starred = code.scope.iter().any(|hop| matches!(hop, Hop::Star));
                if starred && self.rank.is_some() {
                    return None;
                }
                let outer = self.rank;
                self.rank = if starred { Some(self.order) } else { outer };
                self.codes(codes, scope)?;
                self.rank = outer;
                Some(())
            }
        }
    }

    /// Whether an object may have to be made at a place.
    fn is_made(&self, place: Place) -> bool {
        let made = |event: &Event| matches!(event.what, What::Object { place: made, .. } if made == place);
        self.fates.iter().flat_map(|fate| &fate.events).any(made)
    }

    /// Whether no object that may have to be made is also taken as given by an op that puts something into it.
    fn objects_are_whole(&self) -> bool {
        let events = || self.fates.iter().flat_map(|fate| &fate.events);
        let objects = |place: usize| {
            events()
                .filter(move |event| matches!(event.what, What::Object { place: of, .. } if usize::from(of) == place))
        };
        let made =
            (0..self.fates.len()).zip(&self.fates).map(|(place, fate)| (objects(place).count(), fate.events.len()));
        made.into_iter().all(|(noted, come)| noted == 0 || noted == come)
    }

    /// A place that ops look into: it must be what the source has there.
    fn whole(&mut self, place: Place) -> Option<Place> {
        (!self.is_made(place) && self.fate(place).deeds.is_empty()).then_some(place)
    }

    /// The object in which a path ends, and those on the way to it, outermost first, each with its key.
    fn holders(&mut self, scope: Place, parents: &[Sym]) -> Option<Vec<(Place, Sym)>> {
        let mut holders = vec![(scope, NO_SYM)];
        let mut at = scope;
        for key in parents {
            let Now::Source(place) = self.child(at, *key) else { return None };
            if !self.fate(place).deeds.is_empty() || self.fate(place).gone.is_some() {
                return None;
            }
            holders.push((place, *key));
            at = place;
        }
        Some(holders)
    }

    fn relink(&mut self, scope: Place, from: &[Sym], to: &[Sym], style: Style) -> Option<()> {
        let ((old, from_parents), (new, to_parents)) = (from.split_last()?, to.split_last()?);
        let (from_holder, to_holders) =
            (self.holders(scope, from_parents)?.last()?.0, self.holders(scope, to_parents)?);
        let to_holder = to_holders.last()?.0;
        match self.child(to_holder, *new) {
            Now::Source(other) => self.fate(other).refused = true,
            Now::Put { .. } => return None,
            Now::Vacant => {}
        }
        let member = self.child(from_holder, *old);
        if matches!(member, Now::Source(place) if self.is_made(place)) {
            return None;
        }
        match (style, member) {
            (_, Now::Vacant) => return Some(()),
            (Style::Rename, Now::Source(place)) => {
                if self.fate(place).gone.is_some() {
                    return None; // it has been moved here
                }
                self.fate(place).key = Some(*new);
            }
            (Style::Rename, Now::Put { holder, event, unless }) => {
                if let Some(place) = unless {
                    self.fate(place).key = Some(*new);
                }
                self.fate(holder).events.get_mut(event)?.key = *new;
            }
            (Style::Move, Now::Source(place)) => {
                let order = self.order;
                let fate = self.fate(place);
                if fate.gone.is_some() {
                    return None;
                }
                fate.gone = Some(Gone { order, emptied: Emptied::Goes, parents: from_parents.len(), moved: true });
                self.put(&to_holders, *new, What::Moved(place));
            }
            (Style::Move, Now::Put { .. }) => return None,
        }
        self.now.insert((from_holder, *old), Now::Vacant);
        self.now.insert((to_holder, *new), member);
        Some(())
    }

    fn edit(&mut self, code: &Arc<Code>, scope: Place, at: &[Sym], edit: &Edit) -> Option<()> {
        let deed = Deed { order: self.order, rank: self.rank.unwrap_or(self.order), code: code.clone() };
        let Some((last, parents)) = at.split_last() else {
            self.fate(scope).deeds.push(deed);
            return Some(());
        };
        let holders = self.holders(scope, parents)?;
        let holder = holders.last()?.0;
        let goes = edit.goes(self.direction);
        let unless = match self.child(holder, *last) {
            Now::Put { holder, event, unless } if !goes => {
                if let What::Put { deeds, .. } = &mut self.fate(holder).events.get_mut(event)?.what {
                    deeds.push(deed.clone());
                }
                if let Some(place) = unless {
                    self.fate(place).deeds.push(deed);
                }
                return Some(());
            }
            Now::Put { .. } => return None,
            Now::Source(place) if self.is_made(place) => return None,
            Now::Source(place) => {
                let (order, emptied) = (self.order, edit.emptied());
                let fate = self.fate(place);
                fate.deeds.push(deed.clone());
                if goes {
                    if fate.gone.is_some() {
                        return None;
                    }
                    fate.gone = Some(Gone { order, emptied, parents: parents.len(), moved: false });
                    self.now.insert((holder, *last), Now::Vacant);
                }
                Some(place)
            }
            Now::Vacant => None,
        };
        if edit.speaks_of_absence() {
            if unless.is_some_and(|place| self.fate(place).gone.is_some_and(|gone| gone.moved)) {
                return None; // whether it is there isn't told by this object
            }
            let event = self.put(&holders, *last, What::Put { unless, deeds: vec![deed] });
            if !goes {
                self.now.insert((holder, *last), Now::Put { holder, event, unless });
            }
        }
        Some(())
    }

    /// Notes what is put at the end of an object, and that the objects on the way are made if they are missing.
    fn put(&mut self, holders: &[(Place, Sym)], key: Sym, what: What) -> usize {
        let order = self.order;
        let Some(((holder, name), above)) = holders.split_last() else { return 0 };
        let event = self.fate(*holder).events.len();
        self.fate(*holder).events.push(Event::new(order, key, what));
        if !above.is_empty() {
            let first = !self.is_made(*holder);
            self.put(above, *name, What::Object { place: *holder, first });
        }
        event
    }

    /// What must hold for the record, as it is now, to be recognised as one version and as nothing else.
    fn checks(&mut self, to: u16) -> Option<Vec<Check>> {
        let mut all = Vec::new();
        let plan = self.plan;
        for (index, version) in plan.versions.iter().enumerate() {
            let mut own = self.questions(version)?;
            if own.iter().any(|check| matches!(check, Check::Known(false))) {
                own = vec![Check::Known(false)];
            }
            own.retain(|check| !matches!(check, Check::Known(true)));
            match (usize::from(to) == index, own.as_slice()) {
                (true, [Check::Known(_)]) => return None,
                (true, _) => all.extend(own),
                (false, [Check::Known(_)]) => {}
                (false, []) => return None,
                (false, _) => all.push(Check::Not(own)),
            }
        }
        Some(all)
    }

    /// What detection asks for one version.
    fn questions(&mut self, version: &Recognised) -> Option<Vec<Check>> {
        let mut own = Vec::new();
        if let Some((path, value)) = &version.marker {
            own.push(self.check(path, value.as_deref().map_or(Asked::Absent, Asked::Value))?);
        }
        for path in &version.has {
            own.push(self.check(path, Asked::Present)?);
        }
        for path in &version.lacks {
            own.push(self.check(path, Asked::Absent)?);
        }
        Some(own)
    }

    fn check(&mut self, path: &[Sym], asked: Asked<'_>) -> Option<Check> {
        let (last, parents) = path.split_last()?;
        let mut holder = ROOT;
        for key in parents {
            match self.child(holder, *key) {
                Now::Source(place) => holder = place,
                Now::Vacant => return Some(Check::Known(matches!(asked, Asked::Absent))),
                Now::Put { .. } => return None,
            }
        }
        match self.child(holder, *last) {
            Now::Vacant => Some(Check::Known(matches!(asked, Asked::Absent))),
            Now::Source(place) => {
                let place = self.whole(place)?;
                let ran = self.order > 0;
                if ran && self.plan.trie.get(usize::from(place)).is_none_or(|node| !node.is_leaf()) {
                    return None; // it may have become empty and gone
                }
                Some(match asked {
                    Asked::Present => Check::Present(place, true),
                    Asked::Absent => Check::Present(place, false),
                    Asked::Value(text) => Check::Equals(place, text.to_owned()),
                })
            }
            Now::Put { holder, .. } if self.scopes.contains(&holder) => None,
            Now::Put { holder, event, unless } => {
                let direction = self.direction;
                let What::Put { deeds, .. } = &self.fate(holder).events.get(event)?.what else { return None };
                let (deed, sole) = (deeds.last()?.clone(), deeds.len() == 1);
                let Body::Edit { edit, .. } = &deed.code.body else { return None };
                // A stamp writes the same whatever it finds; of other edits it is known what they make of nothing.
                let stamp = matches!(edit, Edit::Stamp { .. });
                if !stamp && !sole {
                    return None;
                }
                if let Some(place) = unless.filter(|_| !stamp) {
                    self.fate(place).refused = true;
                }
                let put = edit.write(direction, None, &mut Vec::new()).ok()?;
                let Put::Text(put) = put else { return None };
                Some(Check::Known(match asked {
                    Asked::Present => true,
                    Asked::Absent => false,
                    Asked::Value(text) => json::equal(text.as_bytes(), put.as_bytes()),
                }))
            }
        }
    }
}

/// What detection asks of a place.
enum Asked<'a> {
    Present,
    Absent,
    Value(&'a str),
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use crate::rules::Rules;
    use proptest::prelude::*;

    /// Packs, and records of their versions, that meet members which go, come, move and are made anew.
    const GROUND: [(&str, &[&str]); 5] = [
        (
            r#"{"name":"p","revision":1,"version":[{"id":"1","marker":{"path":"/v","absent":true}},{"id":"2","marker":{"path":"/v","value":2}}],
            "collection":[{"version":"2","path":"/l/*","key":"/id"}],"step":[{"from":"1","to":"2","ops":[{"rename":"/a","to":"b"},
            {"scale":"/n","factor":1000},{"map":"/m","values":[["x","y"],["z","y"]],"otherwise":"keep"},{"map":"/mm","values":[["x","y"],["z",{"absent":true}]],"otherwise":"keep"},{"move":"/m","to":"/o/m"},
            {"add":"/o/k","value":{"deep":[1]}},{"remove":"/r","restore":""},{"move":"/s","to":"/t"},{"rename":"/l/*/i","to":"id"},{"scale":"/l/*/n","factor":0.5},
            {"add":"/l/*/c","value":[]},{"move":"/l/*/q","to":"/l/*/p/q"},{"remove":"/l/*/g"}]}]}"#,
            &[
                r#"{"a":1,"n":5,"m":"x","r":"","s":{"u":1},"l":[{"i":1,"n":4,"q":{"w":2}},{"i":2,"n":3,"g":0}],"x":null}"#,
                "{ \"x\" : 1 ,\n \"m\": \"w\",\n \"l\" : [ { \"i\" : \"k\" , \"q\" : [ ] } , 7 ] ,\n \"s\" : 0\n}",
                r#"{"b":1,"o":{"m":"y","k":0},"v":2,"l":[{"id":1,"n":2.5,"c":[],"p":{"q":1}}],"n":5005,"t":{}}"#,
                "{ \"v\" : 2 , \"o\" : { \"k\" : { } } }",
            ],
        ),
        (
            r#"{"name":"p","revision":1,"version":[{"id":"1","shape":{"has":["/a"]}},{"id":"2","shape":{"has":["/b"]}},{"id":"3","shape":{"has":["/c/d"]}}],
            "step":[{"from":"1","to":"2","ops":[{"rename":"/a","to":"b"},{"add":"/k","value":1},{"in":"/o","ops":[{"move":"/x","to":"/y"},{"remove":"/z","restore":0}]},
            {"move":"/p/q","to":"/p/r"}]},{"from":"2","to":"3","ops":[{"move":"/b","to":"/c/d"},{"scale":"/k","factor":10},{"rename":"/k","to":"kk"},{"move":"/o/w","to":"/c/w"},{"remove":"/e"}]}],
            "policy":{"carry":"inline"}}"#,
            &[
                r#"{"a":1,"o":{"x":1,"z":2,"w":{}},"p":{"q":1},"e":5}"#,
                "{ \"e\" : 1 , \"o\" : { \"w\" : 1 } , \"a\" : { } }",
                r#"{"b":[],"k":1,"o":{},"p":{},"c":{"x":1}}"#,
                r#"{"c":{"d":1,"w":2},"kk":10,"p":{"r":1}}"#,
                "{ \"c\" : { \"d\" : 1 } , \"kk\" : 15 , \"o\" : { \"y\" : 1 } }",
            ],
        ),
        (
            r#"{"name":"p","revision":1,"version":[{"id":"1","marker":{"path":"/meta/v","value":1}},{"id":"2","marker":{"path":"/meta/v","value":2}}],
            "step":[{"from":"1","to":"2","ops":[{"in":"/rooms/*","ops":[{"rename":"/n","to":"name"},{"remove":"/old"},{"scale":"/who/*/t","factor":1000}]},
            {"map":"/tags/*","values":[["a",1],["b",2]]},{"rename":"/x","to":"swap"},{"rename":"/y","to":"x"},{"rename":"/swap","to":"y"}]}]}"#,
            &[
                r#"{"meta":{"v":1},"rooms":{"one":{"n":1,"old":2,"who":[{"t":1},{"t":2.5}]},"two":{"old":"z"}},"tags":["a","b"],"x":1,"y":2}"#,
                r#"{"rooms":{"k":{"name":"n","who":[{"t":1500}]}},"tags":[1,2],"meta":{"v":2},"y":0}"#,
            ],
        ),
        (
            r#"{"name":"p","revision":1,"version":[{"id":"1","marker":{"path":"/v","value":1}},{"id":"2","marker":{"path":"/v","value":2}}],
            "step":[{"from":"1","to":"2","ops":[{"move":"/a","to":"/b/a"},{"move":"/c","to":"/b/c"},{"remove":"/d"},{"add":"/e/f/g","value":1},{"move":"/h/i/j","to":"/k"}]}],
            "policy":{"carry_max_bytes":160}}"#,
            &[
                r#"{"v":1,"a":1,"c":2,"d":{"long":"a text that the carry can hold only just"},"h":{"i":{"j":[]}}}"#,
                r#"{"b":{"a":1,"z":2},"k":1,"e":{"f":{"g":1}},"v":2}"#,
                "{ \"b\" : { \"a\" : 1 } , \"e\" : { \"f\" : { } } , \"k\" : 1 , \"v\" : 2 }",
            ],
        ),
        (
            r#"{"name":"p","revision":1,"version":[{"id":"1","marker":{"path":"/v","value":1}},{"id":"2","marker":{"path":"/v","value":2}}],
            "collection":[{"version":"2","path":"/rooms/*","key":"/id"},{"version":"1","path":"/rooms/*/who/*","key":"/name/first"}],
            "step":[{"from":"1","to":"2","ops":[{"rename":"/box","to":"case"},{"move":"/crate/a","to":"/lifted"},{"move":"/b/a","to":"/b/c"},
            {"move":"/tree","to":"/forest/tree"},
            {"scale":"/rooms/*/who/*/t","factor":0.1},{"add":"/rooms/*/who/*/k","value":1},{"remove":"/rooms/*/old"},{"map":"/m/*","values":[["x",1],["y",1]],"otherwise":"keep"},
            {"rename":"/a_key_longer_than_a_lane","to":"another_key_longer_than_a_lane"},{"scale":"/a_key_longer_than_a_lamp","factor":1000}]}]}"#,
            &[
                r#"{"v":1,"box":{"a":1},"crate":{"a":1},"b":{"z":1,"a":{}},"tree":{"e":1,"g":[2],"h":0},"rooms":[{"id":1,"old":2,"who":[{"name":{"first":"p"},"t":15},{"t":7,"x":1},{"t":3}]},{"id":1,"who":[{"k":2,"t":1}]}],"m":{"a":"x","b":"y","c":"z"},"a_key_longer_than_a_lane":1,"a_key_longer_than_a_lamp":2}"#,
                r#"{"rooms":[{"id":"r","who":[{"name":{"first":"p"},"t":1.25,"k":5},{"name":{"first":"p"},"t":2,"k":1}]},{"who":[{"k":{}}]}],"case":{},"lifted":3,"crate":{"x":1},"forest":{"tree":{"e":12}},"m":{"a":1,"x":2},"another_key_longer_than_a_lane":[],"v":2,"b":{"c":1,"z":0}}"#,
                "{ \"v\" : 2 , \"forest\" : { \"tree\" : { \"e\" : 1 } } , \"a_key_longer_than_a_lamp\" : 1500 , \"\\u0062\" : { \"c\" : 0 } }",
            ],
        ),
    ];

    /// More of them in a long run.
    fn cases() -> u32 {
        std::env::var("UNSKEW_LAWS").ok().and_then(|number| number.parse().ok()).unwrap_or(10_000)
    }

    fn changed(seed: &str, changes: &[(u8, proptest::sample::Index, proptest::sample::Index)]) -> String {
        let mut text = seed.to_owned();
        let pieces = [
            "null",
            "1",
            "-2.50",
            "{}",
            "[]",
            "\"x\"",
            "{\"k\":1}",
            "[{\"i\":1}]",
            "\"z\"",
            "\"a\":1,",
            "\"b\":2,",
            "\"o\":{\"m\":1},",
            "\"o\":{},",
            "\"c\":0,",
            "\"m\":\"z\",",
            "\"r\":\"\",",
            "\"s\":1,",
            "\"t\":2,",
            "\"k\":3,",
            "\"e\":{\"f\":1},",
            "\"p\":{\"q\":1,\"r\":2},",
            "\"h\":{},",
            " ",
            "\n  ",
            ",",
            "\"g\":9,",
            "\"n\":1.5,",
        ];
        for (kind, at, piece) in changes {
            let places: Vec<usize> = (0..=text.len()).filter(|at| text.is_char_boundary(*at)).collect();
            let at = places[at.index(places.len())];
            let piece = pieces[piece.index(pieces.len())];
            match kind {
                // Before a member, in place of a value, or anywhere.
                0 => {
                    let at = text[at..].find(['{', '[']).map_or(at, |found| at + found + 1);
                    text.insert_str(at, piece);
                }
                1 => {
                    let Some(start) = text[at..].find(':').map(|found| at + found + 1) else { continue };
                    let end = text[start..].find([',', '}', ']']).map_or(start, |found| start + found);
                    text.replace_range(start..end, piece.trim_end_matches(','));
                }
                _ => text.insert_str(at, piece),
            }
        }
        text
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn a_fused_plan_writes_what_the_ops_write_one_by_one(
            ground in 0..GROUND.len(), seed in any::<proptest::sample::Index>(),
            changes in proptest::collection::vec((0..3u8, any::<proptest::sample::Index>(), any::<proptest::sample::Index>()), 0..5),
        ) {
            let (pack, seeds) = GROUND[ground];
            let record = changed(seeds[seed.index(seeds.len())], &changes);
            let mut fused = Rules::load(pack.as_bytes()).unwrap();
            let mut plain = Rules::load(pack.as_bytes()).unwrap();
            plain.unfuse();
            let said = |detected: Result<crate::Detection, crate::Fault>| detected.map_err(|fault| fault.to_string());
            prop_assert_eq!(said(fused.detect(record.as_bytes())), said(plain.detect(record.as_bytes())), "{}", record);
            for to in 0..fused.manifest().versions.len() as u16 {
                let one = fused.normalize(record.as_bytes(), b"", to);
                let other = plain.normalize(record.as_bytes(), b"", to);
                let told = |result: &Result<crate::Normalized, crate::Fault>| result.as_ref().map(|done| {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    done.changed.as_ref().map(|changed| (text(&changed.record), text(&changed.carry), changed.counts))
                }).map_err(ToString::to_string);
                prop_assert_eq!(told(&one), told(&other), "{} to {}", record, to);
            }
        }
    }

    #[test]
    fn the_ground_is_met_by_fused_plans() {
        for (pack, seeds) in GROUND {
            let mut rules = Rules::load(pack.as_bytes()).unwrap();
            for seed in seeds {
                for to in 0..rules.manifest().versions.len() as u16 {
                    rules.normalize(seed.as_bytes(), b"", to).ok();
                }
            }
            assert!(rules.emitted() >= 2, "{} of {pack}", rules.emitted());
        }
    }
}
