//! The directory: session id to the version of its record, who wrote it, and the carry that belongs to it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

/// What is known about a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The id of its record's version.
    pub version: Arc<str>,
    /// The name of the server that wrote it.
    pub writer: Option<Arc<str>>,
    /// What the record's version cannot hold; empty where there is nothing. User data: it goes with its session.
    pub carry: Bytes,
}

/// How much a directory may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryLimits {
    /// Sessions.
    pub entries: u64,
    /// Bytes of all ids and entries together.
    pub bytes: u64,
    /// How long a session is remembered after it was last seen.
    pub idle: Duration,
}

impl Default for DirectoryLimits {
    fn default() -> DirectoryLimits {
        DirectoryLimits { entries: 1 << 20, bytes: 256 << 20, idle: Duration::from_secs(24 * 3600) }
    }
}

/// Session ids and what is known about them: bounded in number and bytes, forgetting what was not seen for long.
#[derive(Clone)]
pub struct Directory {
    entries: moka::sync::Cache<Arc<str>, Entry>,
}

impl Directory {
    /// An empty directory.
    pub fn new(limits: &DirectoryLimits) -> Directory {
        Directory {
            entries: moka::sync::Cache::builder().max_capacity(limits.entries).time_to_idle(limits.idle).build(),
        }
    }

    /// What is known about this session.
    pub fn get(&self, session: &str) -> Option<Entry> {
        self.entries.get(session)
    }

    /// Notes what is known about this session, in place of what was known.
    pub fn note(&self, session: &str, entry: Entry) {
        self.entries.insert(session.into(), entry);
    }

    /// Forgets the session with its carry.
    pub fn forget(&self, session: &str) {
        self.entries.invalidate(session);
    }

    /// How many sessions are known, roughly.
    pub fn len(&self) -> u64 {
        self.entries.entry_count()
    }

    /// Whether no session is known, roughly.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
