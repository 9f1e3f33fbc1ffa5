//! The directory that processes share: what is noted goes to Redis, and a copy is kept here for a bounded time.
//!
//! A copy is believed until another process notes something of its session, which Redis tells (client tracking), and for
//! `fresh` at most. While Redis is away copies are believed for `away` at most, what is noted is kept until Redis is back,
//! and nobody waits. Every wait has an end: `timeout`.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::filed::Filed;
use super::hub::Hub;
use super::link::{self, Redis};
use super::{DirectoryLimits, Entry};
use crate::moment;

/// Where a directory stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryStatus {
    /// Whether it is to be reached.
    pub link: DirectoryLink,
    /// Where it is, without its password; none where it is in this process.
    pub at: Option<String>,
    /// Sessions that are known in this process, roughly.
    pub entries: u64,
    /// What was asked of Redis so far: looks and notes.
    pub asked: u64,
    /// How many of them it did not answer in time, or was away for: what this process knew was taken.
    pub unanswered: u64,
    /// What stood in Redis and was none of ours: it was taken as not there.
    pub unread: u64,
}

/// Whether a directory is to be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DirectoryLink {
    /// It is in this process.
    Here,
    /// It answers.
    Up,
    /// It doesn't answer.
    Away {
        /// Since when.
        since: SystemTime,
        /// Why, as the last try has found.
        reason: String,
    },
}

impl DirectoryLink {
    /// `here`, `up` or `away`.
    pub fn as_str(&self) -> &'static str {
        match self {
            DirectoryLink::Here => "here",
            DirectoryLink::Up => "up",
            DirectoryLink::Away { .. } => "away",
        }
    }
}

impl DirectoryStatus {
    /// As the admin API and `unskew_status` tell it.
    pub fn json(&self) -> Value {
        let (since, reason) = match &self.link {
            DirectoryLink::Here | DirectoryLink::Up => (None, None),
            DirectoryLink::Away { since, reason } => (Some(moment::written(*since)), Some(reason)),
        };
        json!({
            "link": self.link.as_str(),
            "at": self.at,
            "since": since,
            "reason": reason,
            "entries": self.entries,
            "asked": self.asked,
            "unanswered": self.unanswered,
            "unread": self.unread,
        })
    }
}

/// A directory in Redis. Dropping it ends its thread.
pub(crate) struct Shared {
    hub: Arc<Hub>,
    orders: mpsc::Sender<Order>,
    /// What the thread is started with.
    idle: Mutex<Option<(Redis, mpsc::Receiver<Order>)>>,
}

/// What a shared directory is bounded by.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// Of the copies; `idle` holds in Redis too.
    pub(crate) limits: DirectoryLimits,
    /// How old a copy may be that is believed.
    pub(crate) fresh: Duration,
    /// The same while Redis is away.
    pub(crate) away: Duration,
    /// How long one look or note may take.
    pub(crate) timeout: Duration,
    /// What keys begin with.
    pub(crate) prefix: String,
}

/// Whether a note takes the place of whatever was noted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// It does.
    Any,
    /// Not where there is a carry: it says more than who wrote a record.
    UnlessCarry,
}

/// Something that the link is to do.
pub(super) struct Order {
    pub(super) session: Arc<str>,
    pub(super) what: What,
    pub(super) until: Instant,
    reply: Reply,
}

pub(super) enum What {
    Look { heard: u64 },
    Note(Filed, Guard),
}

enum Reply {
    Later(oneshot::Sender<Option<Entry>>),
    Now(std::sync::mpsc::SyncSender<Option<Entry>>),
}

impl Shared {
    /// A directory that nobody has reached yet.
    pub(crate) fn new(place: Redis, bounds: Bounds) -> Shared {
        let (orders, taken) = mpsc::channel(QUEUE);
        Shared { hub: Arc::new(Hub::new(bounds, &place)), orders, idle: Mutex::new(Some((place, taken))) }
    }

    /// Starts its thread, and waits a moment for the first connection.
    pub(crate) fn start(&self) -> std::io::Result<()> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((place, orders)) = idle else { return Ok(()) };
        link::start(self.hub.clone(), place, orders)
    }

    pub(crate) fn status(&self) -> DirectoryStatus {
        self.hub.status()
    }

    /// What is known about this session.
    pub(crate) async fn look(&self, session: &str) -> Option<Entry> {
        match self.hub.believed(session) {
            Some(entry) => entry,
            None => self.ask(session, self.hub.look(session)).await.unwrap_or_else(|| self.hub.remembered(session)),
        }
    }

    /// The same for who can't wait as a future does: it blocks the thread.
    pub(crate) fn look_now(&self, session: &str) -> Option<Entry> {
        match self.hub.believed(session) {
            Some(entry) => entry,
            None => self.ask_now(session, self.hub.look(session)).unwrap_or_else(|| self.hub.remembered(session)),
        }
    }

    /// Notes what is known about a session; none says that it has ended.
    pub(crate) async fn note(&self, session: &str, entry: Option<Entry>, guard: Guard) {
        if let Some(what) = self.hub.note(session, entry, guard) {
            self.ask(session, what).await;
        }
    }

    /// The same for who can't wait as a future does: it blocks the thread.
    pub(crate) fn note_now(&self, session: &str, entry: Option<Entry>, guard: Guard) {
        if let Some(what) = self.hub.note(session, entry, guard) {
            self.ask_now(session, what);
        }
    }

    async fn ask(&self, session: &str, what: What) -> Option<Option<Entry>> {
        let (reply, answer) = oneshot::channel();
        let sent = self.send(session, what, Reply::Later(reply));
        let answer = if sent { answer.await.ok() } else { None };
        self.hub.tally(answer)
    }

    fn ask_now(&self, session: &str, what: What) -> Option<Option<Entry>> {
        let (reply, answer) = std::sync::mpsc::sync_channel(1);
        let sent = self.send(session, what, Reply::Now(reply));
        let answer = if sent { answer.recv_timeout(self.hub.bounds.timeout * 2).ok() } else { None };
        self.hub.tally(answer)
    }

    fn send(&self, session: &str, what: What, reply: Reply) -> bool {
        let until = Instant::now() + self.hub.bounds.timeout;
        let order = Order { session: session.into(), what, until, reply };
        self.hub.is_up.load(Ordering::Acquire) && self.orders.try_send(order).is_ok()
    }
}

impl Order {
    /// Answers whoever waits, if somebody still does.
    pub(super) fn answer(self, entry: Option<Entry>) {
        match self.reply {
            Reply::Later(reply) => drop(reply.send(entry)),
            Reply::Now(reply) => drop(reply.try_send(entry)),
        }
    }
}

/// How many looks and notes may wait for the link's thread; more are not answered.
const QUEUE: usize = 4096;
