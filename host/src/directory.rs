//! The directory: session id to the version of its record, who wrote it, and the carry that belongs to it.

mod filed;
mod hub;
mod link;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::contract::{Manifest, Version};
pub(crate) use link::Redis;
pub(crate) use shared::{Bounds, Guard, Shared};
pub use shared::{DirectoryLink, DirectoryStatus};

/// What is known about a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The id of its record's version: an id and not an index, since it outlives generations.
    pub version: Arc<str>,
    /// The digest of that version's shape, `VersionInfo::digest`, in the pack of that time; none where there was no pack,
    /// or it didn't have the version. A pack that means another shape by the same id differs in it.
    pub shape: Option<u64>,
    /// The name of the server that wrote it.
    pub writer: Option<Arc<str>>,
    /// What the record's version cannot hold; empty where there is nothing. User data: it goes with its session.
    pub carry: Bytes,
}

impl Entry {
    /// The version of the record in this manifest, or none where it has no version of that id.
    ///
    /// # Errors
    /// The version of that id, if it has another shape: then nothing is known about the record's version.
    pub fn version(&self, manifest: &Manifest) -> Result<Option<Version>, OtherShape> {
        let Some(version) = manifest.version(&self.version) else { return Ok(None) };
        let now = manifest.versions.get(version.index()).map(|info| info.digest);
        if self.shape.is_some() && self.shape != now { Err(OtherShape(version)) } else { Ok(Some(version)) }
    }
}

/// The version that a manifest means by an entry's id is not the one that the entry speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pack means another shape by the version's id")]
pub struct OtherShape(pub Version);

/// How much a directory may hold. Beyond it the sessions that were not seen for longest are forgotten.
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
    /// A million sessions, 256 MiB, a day.
    fn default() -> DirectoryLimits {
        DirectoryLimits { entries: 1 << 20, bytes: 256 << 20, idle: Duration::from_secs(24 * 3600) }
    }
}

/// Session ids and what is known about them: bounded in number and bytes, forgetting what was not seen for long.
/// Clones share their entries.
///
/// ```
/// use unskew::{Directory, DirectoryLimits, Entry};
///
/// let directory = Directory::new(&DirectoryLimits::default());
/// let writer = Some("api-7".into());
/// let entry = Entry { version: "2".into(), shape: None, writer, carry: Default::default() };
/// directory.note("session-1", entry.clone());
/// assert_eq!(directory.get("session-1"), Some(entry));
/// directory.forget("session-1");
/// assert_eq!(directory.get("session-1"), None);
/// ```
#[derive(Clone)]
pub struct Directory {
    entries: Cache<Arc<str>, Entry>,
}

/// What moka keeps beside an entry, roughly, in bytes.
const OVERHEAD: usize = 160;

impl Entry {
    /// What it weighs under the id of its session.
    fn weight(&self, session: &str) -> usize {
        let writer = self.writer.as_ref().map_or(0, |writer| writer.len());
        session.len() + self.version.len() + writer + self.carry.len() + OVERHEAD
    }
}

impl DirectoryLimits {
    /// What something of so many bytes weighs. One capacity bounds number and bytes: nothing weighs less than its share.
    fn weight(&self, bytes: usize) -> u32 {
        let least = u32::try_from(self.bytes / self.entries.max(1)).unwrap_or(u32::MAX).max(1);
        u32::try_from(bytes).unwrap_or(u32::MAX).max(least)
    }
}

impl Directory {
    /// An empty directory.
    pub fn new(limits: &DirectoryLimits) -> Directory {
        let bounds = limits.clone();
        let weigh = move |session: &Arc<str>, entry: &Entry| bounds.weight(entry.weight(session));
        let entries = Cache::builder()
            .max_capacity(limits.bytes)
            .weigher(weigh)
            .time_to_idle(limits.idle)
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Directory { entries }
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

    /// How many sessions are known, roughly: what the last few operations did may not be counted yet.
    pub fn len(&self) -> u64 {
        self.entries.entry_count()
    }

    /// Whether no session is known, roughly.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(limits: &DirectoryLimits, entries: u32, carry: usize) -> u64 {
        let directory = Directory::new(limits);
        for n in 0..entries {
            let entry = Entry { version: "1".into(), shape: None, writer: None, carry: vec![0; carry].into() };
            directory.note(&format!("session-{n}"), entry);
        }
        directory.entries.run_pending_tasks();
        directory.len()
    }

    #[test]
    fn it_is_bounded_in_number_and_in_bytes() {
        let limits = DirectoryLimits { entries: 100, bytes: 1 << 20, ..DirectoryLimits::default() };
        assert!((90..=100).contains(&filled(&limits, 1000, 0)));
        assert!((8..=10).contains(&filled(&limits, 1000, 100 << 10)));
    }
}
