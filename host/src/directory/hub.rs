//! What a process knows of sessions that others know too: copies with the time until which they are believed, and notes
//! that Redis doesn't have yet.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use moka::Expiry;
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::filed::{Filed, Unread};
use super::link::Redis;
use super::shared::{Bounds, DirectoryLink, DirectoryStatus, Guard, What};
use super::{Entry, OVERHEAD};

/// What requests and the link have in common.
pub(super) struct Hub {
    pub(super) bounds: Bounds,
    at: String,
    copies: Cache<Arc<str>, Copy>,
    /// How often another process noted something, by hash of the session: an answer that was on its way meanwhile is old.
    heard: Vec<AtomicU64>,
    /// Grows with each connection, and where Redis forgot everything: what was copied before is no longer fresh.
    epoch: AtomicU64,
    /// Whether Redis tells what others note.
    hears: AtomicBool,
    stamp: AtomicU64,
    link: Mutex<DirectoryLink>,
    pub(super) is_up: AtomicBool,
    asked: AtomicU64,
    unanswered: AtomicU64,
    unread: AtomicU64,
}

/// What is known here of a session.
#[derive(Clone)]
struct Copy {
    filed: Filed,
    state: Kept,
    at: Instant,
    epoch: u64,
    heard: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// As it stands in Redis.
    Filed,
    /// Noted here, and not in Redis yet.
    Unsent(Guard),
}

/// What became of a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// Something else stands there and stays.
    Outdone,
}

impl Hub {
    pub(super) fn new(bounds: Bounds, place: &Redis) -> Hub {
        let (limits, lasts) = (bounds.limits.clone(), bounds.clone());
        let weigh = move |session: &Arc<str>, copy: &Copy| {
            let bytes = copy.filed.entry.as_ref().map_or(session.len() + OVERHEAD, |entry| entry.weight(session));
            limits.weight(bytes)
        };
        let copies = Cache::builder()
            .max_capacity(bounds.limits.bytes)
            .weigher(weigh)
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(UntilOld(lasts))
            .build();
        let reason = "not reached yet".to_owned();
        Hub {
            bounds,
            at: place.shown(),
            copies,
            heard: (0..1024).map(|_| AtomicU64::new(0)).collect(),
            epoch: AtomicU64::new(0),
            hears: AtomicBool::new(false),
            stamp: AtomicU64::new(0),
            link: Mutex::new(DirectoryLink::Away { since: SystemTime::now(), reason }),
            is_up: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            unread: AtomicU64::new(0),
        }
    }

    pub(super) fn status(&self) -> DirectoryStatus {
        DirectoryStatus {
            link: self.link.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            at: Some(self.at.clone()),
            entries: self.copies.entry_count(),
            asked: self.asked.load(Ordering::Relaxed),
            unanswered: self.unanswered.load(Ordering::Relaxed),
            unread: self.unread.load(Ordering::Relaxed),
        }
    }

    /// What is known without asking; none where Redis has to be asked.
    pub(super) fn believed(&self, session: &str) -> Option<Option<Entry>> {
        let copy = self.copies.get(session)?;
        let believed = match copy.state {
            Kept::Unsent(_) => true,
            Kept::Filed => {
                self.hears.load(Ordering::Acquire)
                    && copy.epoch == self.epoch.load(Ordering::Acquire)
                    && copy.at.elapsed() < self.bounds.fresh
            }
        };
        believed.then_some(copy.filed.entry)
    }

    /// What is believed of a session for which Redis gave no answer. The copies themselves end when they are too old.
    pub(super) fn remembered(&self, session: &str) -> Option<Entry> {
        let copy = self.copies.get(session)?;
        let old = copy.state == Kept::Filed && copy.at.elapsed() >= self.bounds.away;
        copy.filed.entry.filter(|_| !old)
    }

    pub(super) fn look(&self, session: &str) -> What {
        What::Look { heard: self.stripe(session).load(Ordering::Acquire) }
    }

    /// Keeps a note here, until it stands in Redis. None where the guard keeps what there is.
    pub(super) fn note(&self, session: &str, entry: Option<Entry>, guard: Guard) -> Option<What> {
        let known = self.copies.get(session).and_then(|copy| copy.filed.entry);
        if guard == Guard::UnlessCarry && known.is_some_and(|entry| !entry.carry.is_empty()) {
            return None;
        }
        let filed = Filed { stamp: self.next_stamp(), entry };
        self.copies.insert(session.into(), self.copy(session, filed.clone(), Kept::Unsent(guard)));
        Some(What::Note(filed, guard))
    }

    fn copy(&self, session: &str, filed: Filed, state: Kept) -> Copy {
        let (epoch, heard) = (self.epoch.load(Ordering::Acquire), self.stripe(session).load(Ordering::Acquire));
        Copy { filed, state, at: Instant::now(), epoch, heard }
    }

    /// What stands in Redis has come; `heard` is from before it was asked for.
    pub(super) fn found(&self, session: &Arc<str>, filed: Result<Option<Filed>, Unread>, heard: u64) -> Option<Entry> {
        let filed = filed.unwrap_or_else(|Unread| {
            self.unread.fetch_add(1, Ordering::Relaxed);
            tracing::warn!("a value under a key of the directory is none of ours: it is taken as not there");
            None
        });
        if let Some(filed) = &filed {
            self.stamp.fetch_max(filed.stamp, Ordering::AcqRel);
        }
        let mut answer = filed.as_ref().and_then(|filed| filed.entry.clone());
        self.copies.entry_by_ref(session).and_compute_with(|known| {
            let known = known.map(moka::Entry::into_value);
            // Noted here while the answer was on its way.
            if let Some(known) = &known
                && (matches!(known.state, Kept::Unsent(_))
                    || filed.as_ref().is_some_and(|filed| filed.stamp < known.filed.stamp))
            {
                answer = known.filed.entry.clone();
                return Op::Nop;
            }
            match filed {
                Some(filed) if self.stripe(session).load(Ordering::Acquire) == heard => {
                    Op::Put(self.copy(session, filed, Kept::Filed))
                }
                Some(_) | None => Op::Remove,
            }
        });
        answer
    }

    /// A note has come to Redis.
    pub(super) fn filed(&self, session: &Arc<str>, stamp: u64, outcome: Outcome) {
        self.copies.entry_by_ref(session).and_compute_with(|known| match known.map(moka::Entry::into_value) {
            Some(known) if known.filed.stamp == stamp => {
                let still = self.stripe(session).load(Ordering::Acquire) == known.heard;
                match outcome {
                    Outcome::Done if still => Op::Put(self.copy(session, known.filed, Kept::Filed)),
                    Outcome::Done | Outcome::Outdone => Op::Remove,
                }
            }
            Some(_) | None => Op::Nop,
        });
    }

    /// Another process has noted something of this session.
    pub(super) fn heard(&self, session: &Arc<str>) {
        self.stripe(session).fetch_add(1, Ordering::AcqRel);
        self.copies.entry_by_ref(session).and_compute_with(|known| match known.map(|known| known.into_value().state) {
            Some(Kept::Filed) => Op::Remove,
            Some(Kept::Unsent(_)) | None => Op::Nop,
        });
    }

    /// Nothing that was copied so far is fresh any more.
    pub(super) fn doubt_all(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// What Redis doesn't know yet.
    pub(super) fn unsent(&self) -> Vec<(Arc<str>, Filed, Guard)> {
        let unsent = |(session, copy): (Arc<Arc<str>>, Copy)| match copy.state {
            Kept::Unsent(guard) => Some(((*session).clone(), copy.filed, guard)),
            Kept::Filed => None,
        };
        self.copies.iter().filter_map(unsent).collect()
    }

    pub(super) fn up(&self, hears: bool) {
        self.doubt_all();
        self.hears.store(hears, Ordering::Release);
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = DirectoryLink::Up;
        self.is_up.store(true, Ordering::Release);
    }

    pub(super) fn away(&self, reason: String) {
        self.is_up.store(false, Ordering::Release);
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match &*link {
            DirectoryLink::Away { since, .. } => *since,
            DirectoryLink::Up | DirectoryLink::Here => SystemTime::now(),
        };
        *link = DirectoryLink::Away { since, reason };
    }

    /// The newest stamp that is believed: other machines' clocks may go wrong by an hour.
    pub(super) fn newest(&self) -> u64 {
        now() + 3_600_000_000
    }

    /// Microseconds, and always more than any stamp that was seen: what follows from a note is newer than it, whatever the
    /// clocks of two machines say.
    fn next_stamp(&self) -> u64 {
        let now = now();
        let next = |last: u64| Some(now.max(last + 1));
        let last = self.stamp.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        now.max(last.map_or(0, |last| last + 1))
    }

    pub(super) fn tally(&self, answer: Option<Option<Entry>>) -> Option<Option<Entry>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if answer.is_none() {
            self.unanswered.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    fn stripe(&self, session: &str) -> &AtomicU64 {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325; // FNV-1a
        for byte in session.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let index = usize::try_from(hash % self.heard.len() as u64).unwrap_or(0);
        &self.heard[index]
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(0)
}

/// When a copy's time is over: soon where Redis has it, as late as Redis itself would where it doesn't.
struct UntilOld(Bounds);

impl UntilOld {
    fn lasts(&self, copy: &Copy) -> Option<Duration> {
        Some(match copy.state {
            Kept::Filed => self.0.fresh.max(self.0.away),
            Kept::Unsent(_) => self.0.limits.idle,
        })
    }
}

impl Expiry<Arc<str>, Copy> for UntilOld {
    fn expire_after_create(&self, _: &Arc<str>, copy: &Copy, _: Instant) -> Option<Duration> {
        self.lasts(copy)
    }

    fn expire_after_update(&self, _: &Arc<str>, copy: &Copy, _: Instant, _: Option<Duration>) -> Option<Duration> {
        self.lasts(copy)
    }
}
