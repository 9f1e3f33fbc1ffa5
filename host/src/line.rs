//! Which generations a runtime holds, and who takes whose place: staged, active, previous, draining.
//!
//! All of it is exchanging pointers under a lock that nobody holds for longer; what takes time was done before. Calls
//! read the active one without the lock.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;

use crate::compile::Compiled;
use crate::error::LoadError;
use crate::generation::Generation;
use crate::life::{Ledger, Life, Phase};
use crate::pack::Digest;
use crate::stats::Counters;

/// The most that a revision may grow by at once: more is a typo, or would leave no room for the next one.
const LEAP: u64 = 1_000_000;

/// How many barred pairs are remembered.
const BARRED: usize = 64;

/// Whether a pack must be newer than the active one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revisions {
    /// As sources offer it: it must be newer, and nobody may have gone back from it.
    Grow,
    /// As a person forces it.
    Any,
}

/// A (guest, pack) pair by content.
pub(crate) type Content = (Digest, Digest);

/// The generations of one runtime.
pub(crate) struct Line {
    active: ArcSwapOption<Generation>,
    held: Mutex<Held>,
    pub(crate) ledger: Arc<Ledger>,
    counters: Arc<Counters>,
}

struct Held {
    /// What the next pack is loaded into.
    guest: Arc<Compiled>,
    staged: Option<Arc<Generation>>,
    previous: Option<Arc<Generation>>,
    draining: Vec<(Weak<Generation>, Instant)>,
    barred: VecDeque<(Content, String)>,
}

/// Where a runtime's generations stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The number of the generation that serves.
    pub active: Option<u64>,
    /// The number of the one that a roll-back brings.
    pub previous: Option<u64>,
    /// The number of the one that waits for its promotion.
    pub staged: Option<u64>,
    /// Since when the active pack is expired, if it is: it serves on.
    pub expired: Option<SystemTime>,
    /// All lives, oldest first: of those that live, and the last ones of those that are gone.
    pub lives: Vec<Life>,
}

impl Line {
    pub(crate) fn new(guest: Arc<Compiled>, ledger: Arc<Ledger>, counters: Arc<Counters>) -> Line {
        let held = Held { guest, staged: None, previous: None, draining: Vec::new(), barred: VecDeque::new() };
        Line { active: ArcSwapOption::empty(), held: Mutex::new(held), ledger, counters }
    }

    pub(crate) fn active(&self) -> Option<Arc<Generation>> {
        self.active.load_full()
    }

    pub(crate) fn staged(&self) -> Option<Arc<Generation>> {
        self.held().staged.clone()
    }

    pub(crate) fn previous(&self) -> Option<Arc<Generation>> {
        self.held().previous.clone()
    }

    pub(crate) fn guest(&self) -> Arc<Compiled> {
        self.held().guest.clone()
    }

    /// What is active or staged with this content.
    pub(crate) fn same(&self, content: Content) -> Option<Arc<Generation>> {
        let same = |generation: &Arc<Generation>| generation.content() == content;
        self.active().filter(same).or_else(|| self.staged().filter(same))
    }

    /// Why this content isn't taken from a source.
    pub(crate) fn barred(&self, content: Content) -> Option<String> {
        self.held().barred.iter().find(|(barred, _)| *barred == content).map(|(_, reason)| reason.clone())
    }

    /// The contents that nobody takes from a source, with the reasons: what a restart has to know.
    pub(crate) fn all_barred(&self) -> Vec<(Content, String)> {
        self.held().barred.iter().cloned().collect()
    }

    pub(crate) fn bar(&self, content: Content, reason: &str) {
        self.held().bar(content, reason);
    }

    /// Publishes a generation: later calls see it, running ones finish on theirs.
    pub(crate) fn activate(&self, next: Arc<Generation>, revisions: Revisions) -> Result<Arc<Generation>, LoadError> {
        let mut held = self.held();
        if let (Some(active), Revisions::Grow) = (self.active(), revisions) {
            grown(&active, &next)?;
        }
        if held.staged.as_ref().is_some_and(|staged| staged.id() == next.id()) {
            held.staged = None;
        }
        held.barred.retain(|(content, _)| *content != next.content());
        held.guest = next.compiled();
        let displaced = held.previous.take();
        self.drain(&mut held, displaced, "a newer one is kept for the way back");
        held.previous = self.active.swap(Some(next.clone()));
        if let Some(previous) = &held.previous {
            self.ledger.enter(previous.id(), Phase::Previous);
        }
        self.ledger.enter(next.id(), Phase::Active);
        self.counters.swaps.add(1);
        Ok(next)
    }

    /// Keeps a generation ready; what was staged before gives way.
    pub(crate) fn stage(&self, next: Arc<Generation>, revisions: Revisions) -> Result<Arc<Generation>, LoadError> {
        let mut held = self.held();
        if let (Some(active), Revisions::Grow) = (self.active(), revisions) {
            grown(&active, &next)?;
        }
        let displaced = held.staged.replace(next.clone());
        self.drain(&mut held, displaced, "another one was staged");
        self.ledger.enter(next.id(), Phase::Staged);
        Ok(next)
    }

    /// Puts what is staged aside. Returns its number.
    pub(crate) fn discard(&self, reason: &str) -> Option<u64> {
        let mut held = self.held();
        let staged = held.staged.take()?;
        let id = staged.id();
        held.bar(staged.content(), reason);
        self.drain(&mut held, Some(staged), reason);
        Some(id)
    }

    /// Brings the previous generation back; the one that served becomes the previous.
    pub(crate) fn roll_back(&self, reason: &str) -> Result<Arc<Generation>, LoadError> {
        let mut held = self.held();
        let back = held.previous.take().ok_or(LoadError::NoPrevious)?;
        held.guest = back.compiled();
        held.barred.retain(|(content, _)| *content != back.content());
        held.previous = self.active.swap(Some(back.clone()));
        if let Some(left) = held.previous.clone() {
            held.bar(left.content(), reason);
            self.ledger.enter_for(left.id(), Phase::Previous, reason);
        }
        self.ledger.enter(back.id(), Phase::Active);
        self.counters.rollbacks.add(1);
        Ok(back)
    }

    /// Puts a generation aside that fails: the previous one takes over from the active one, and a staged one goes.
    /// Where there is nothing to go back to it stays.
    pub(crate) fn quarantine(&self, id: u64, reason: &str) {
        let mut held = self.held();
        if held.staged.as_ref().is_some_and(|staged| staged.id() == id) {
            let failing = held.staged.take();
            held.bar_and_count(failing.as_deref(), reason, &self.counters);
            return self.drain(&mut held, failing, reason);
        }
        if self.active().is_none_or(|active| active.id() != id) {
            return;
        }
        match held.previous.take() {
            Some(back) => {
                held.guest = back.compiled();
                let failing = self.active.swap(Some(back.clone()));
                held.bar_and_count(failing.as_deref(), reason, &self.counters);
                self.drain(&mut held, failing, reason);
                self.ledger.enter_for(back.id(), Phase::Active, format!("in place of generation {id}: {reason}"));
            }
            None => self.ledger.enter_for(id, Phase::Active, format!("{reason}; there is nothing to go back to")),
        }
    }

    /// Frees the instances of generations that have been draining for so long, and forgets those that are gone.
    pub(crate) fn tend(&self, drain: Duration) {
        let mut held = self.held();
        held.draining.retain(|(generation, since)| match generation.upgrade() {
            Some(overdue) if since.elapsed() >= drain => {
                overdue.close();
                self.ledger.enter(overdue.id(), Phase::Drained);
                false
            }
            Some(_) => true,
            None => false,
        });
    }

    /// All that somebody holds, the active one first.
    pub(crate) fn alive(&self) -> Vec<Arc<Generation>> {
        let held = self.held();
        let kept = self.active().into_iter().chain(held.staged.clone()).chain(held.previous.clone());
        kept.chain(held.draining.iter().filter_map(|(generation, _)| generation.upgrade())).collect()
    }

    pub(crate) fn status(&self) -> Status {
        let held = self.held();
        let id = |generation: &Option<Arc<Generation>>| generation.as_ref().map(|generation| generation.id());
        let active = self.active();
        let expired = active.as_ref().and_then(|active| active.expires()).filter(|when| *when <= SystemTime::now());
        let (previous, staged) = (id(&held.previous), id(&held.staged));
        Status { active: id(&active), previous, staged, expired, lives: self.ledger.read() }
    }

    fn drain(&self, held: &mut Held, generation: Option<Arc<Generation>>, reason: &str) {
        let Some(generation) = generation else { return };
        self.ledger.enter_for(generation.id(), Phase::Draining, reason);
        held.draining.retain(|(generation, _)| generation.strong_count() > 0);
        held.draining.push((Arc::downgrade(&generation), Instant::now()));
    }

    /// Whoever panicked had written nothing yet, or one pointer of two: each state is a sound one.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn bar(&mut self, content: Content, reason: &str) {
        self.barred.retain(|(barred, _)| *barred != content);
        self.barred.push_back((content, reason.to_owned()));
        if self.barred.len() > BARRED {
            self.barred.pop_front();
        }
    }

    fn bar_and_count(&mut self, failing: Option<&Generation>, reason: &str, counters: &Counters) {
        counters.quarantines.add(1);
        if let Some(failing) = failing {
            self.bar(failing.content(), reason);
        }
    }
}

/// The same pack must grow, but not leap, and come after what it says that it comes after; a pack of another name is
/// another line of revisions. Who signs a way back says from which revision it leads.
fn grown(active: &Generation, next: &Generation) -> Result<(), LoadError> {
    let (was, is) = (active.manifest(), next.manifest());
    if active.pack().digest() == next.pack().digest() {
        return Ok(()); // the same rules in another guest
    }
    let back = next.statement().rollback_from == Some(was.revision);
    let (name, active, offered) = (is.name.clone(), was.revision, is.revision);
    match (was.name == is.name && !back, next.after()) {
        (true, _) if offered <= active => Err(LoadError::Revision { name, active, offered }),
        (true, _) if offered - active > LEAP => Err(LoadError::Leap { name, active, offered }),
        (true, Some(after)) if active < after => Err(LoadError::TooEarly { name, active, after, offered }),
        (true | false, _) => Ok(()),
    }
}
