//! The life of generations: the states that each went through, when, and the reason for the last one.
//!
//! Everything that is offered gets an entry, what is refused too, so that status can say why a pack is not active. The
//! entries of those that live are all kept, and the last ones of those that are gone.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::pack::Digest;

/// How many entries of generations that are gone are kept.
const GONE: usize = 64;

/// Where a generation stands in its life, in the order in which it goes through them; not every one sees them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Its bytes are here.
    Fetched,
    /// Its signatures are those of configured keys, or none are asked for.
    Verified,
    /// Its guest is compiled, off the threads of requests.
    Compiled,
    /// Its guest imports nothing and exports the contract, and has loaded the pack without a problem.
    Loaded,
    /// It passes the pack's own examples.
    Tested,
    /// The laws hold on recent records; only where records are sampled.
    Sampled,
    /// It is ready and waits for its promotion.
    Staged,
    /// It serves.
    Active,
    /// It served last, and is kept warm for a way back.
    Previous,
    /// It is put aside; requests that began with it may still run on it.
    Draining,
    /// The time to drain is over: its instances are freed, though somebody still holds it.
    Drained,
    /// Nobody holds it any more.
    Freed,
    /// It never came to serve.
    Refused,
}

impl Phase {
    /// The word: `active`.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Fetched => "fetched",
            Phase::Verified => "verified",
            Phase::Compiled => "compiled",
            Phase::Loaded => "loaded",
            Phase::Tested => "tested",
            Phase::Sampled => "sampled",
            Phase::Staged => "staged",
            Phase::Active => "active",
            Phase::Previous => "previous",
            Phase::Draining => "draining",
            Phase::Drained => "drained",
            Phase::Freed => "freed",
            Phase::Refused => "refused",
        }
    }

    fn is_end(self) -> bool {
        matches!(self, Phase::Freed | Phase::Refused)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What became of one generation, or of what was offered to become one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// The generation's number.
    pub id: u64,
    /// Where its pack came from: a file, an address, `pushed`.
    pub origin: String,
    /// The pack's name, once it was loaded.
    pub pack: Option<String>,
    /// The pack's revision, once it was loaded.
    pub revision: Option<u64>,
    /// The digest of the pack.
    pub digest: Digest,
    /// The digest of the guest, once it is known.
    pub guest: Option<Digest>,
    /// Where it is.
    pub phase: Phase,
    /// Why it is there, where that isn't plain.
    pub reason: Option<String>,
    /// All phases that it went through, with their time.
    pub phases: Vec<(Phase, SystemTime)>,
}

/// The lives of one runtime's generations.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<VecDeque<Life>>);

impl Ledger {
    /// Begins a life; its number is unique in the process and grows.
    pub(crate) fn open(&self, origin: &str, digest: Digest) -> u64 {
        static IDS: AtomicU64 = AtomicU64::new(1);
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        let phases = vec![(Phase::Fetched, SystemTime::now())];
        let (origin, phase) = (origin.to_owned(), Phase::Fetched);
        let life = Life { id, origin, pack: None, revision: None, digest, guest: None, phase, reason: None, phases };
        let mut lives = self.lives();
        lives.push_back(life);
        if lives.iter().filter(|life| life.phase.is_end()).count() > GONE
            && let Some(oldest) = lives.iter().position(|life| life.phase.is_end())
        {
            lives.remove(oldest);
        }
        id
    }

    pub(crate) fn guest(&self, id: u64, guest: Digest) {
        self.with(id, |life| life.guest = Some(guest));
    }

    pub(crate) fn pack(&self, id: u64, name: &str, revision: u64) {
        self.with(id, |life| (life.pack, life.revision) = (Some(name.to_owned()), Some(revision)));
    }

    pub(crate) fn enter(&self, id: u64, phase: Phase) {
        self.with(id, |life| life.enter(phase, None));
    }

    /// Enters a phase for this reason. What was freed keeps the reason for which it was put aside.
    pub(crate) fn enter_for(&self, id: u64, phase: Phase, reason: impl Into<String>) {
        self.with(id, |life| life.enter(phase, Some(reason.into())));
    }

    /// All entries, oldest first.
    pub(crate) fn read(&self) -> Vec<Life> {
        self.lives().iter().cloned().collect()
    }

    fn with(&self, id: u64, change: impl FnOnce(&mut Life)) {
        if let Some(life) = self.lives().iter_mut().rfind(|life| life.id == id) {
            change(life);
        }
    }

    fn lives(&self) -> MutexGuard<'_, VecDeque<Life>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Life {
    fn enter(&mut self, phase: Phase, reason: Option<String>) {
        /// A generation may go back and forth between two for a long time.
        const STEPS: usize = 32;
        if self.phases.len() == STEPS {
            self.phases.remove(1);
        }
        self.phases.push((phase, SystemTime::now()));
        self.reason = reason.or_else(|| self.reason.take().filter(|_| phase.is_end() || phase == Phase::Drained));
        self.phase = phase;
    }
}
