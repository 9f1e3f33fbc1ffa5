//! Where records rest: read and replaced by compare-and-set, never created by us.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use moka::Expiry;
use moka::ops::compute::{CompResult, Op};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

/// A store of session records that the servers read and write themselves.
#[async_trait]
pub trait Store: Send + Sync {
    /// The record under this key with its tag, or none.
    ///
    /// # Errors
    /// If the store can't be asked.
    async fn get(&self, key: &str) -> Result<Option<Stored>, StoreError>;

    /// Replaces the record if it is still the one of this tag; its time to live stays as it is.
    ///
    /// # Errors
    /// If the store can't be asked. Then nothing is known about the record.
    async fn compare_and_set(&self, key: &str, tag: &Tag, new: Bytes) -> Result<CasOutcome, StoreError>;
}

/// A record with the tag that a replacement is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The record.
    pub bytes: Bytes,
    /// Tells this record from any other that stood or will stand under its key.
    pub tag: Tag,
}

/// What tells one write from the next; opaque outside of its store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag(pub Bytes);

/// What became of a compare-and-set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CasOutcome {
    /// The record is replaced; this is its new tag.
    Done(Tag),
    /// Somebody else wrote it in between; nothing was done.
    Changed,
    /// There is no record under this key (any more); none was made.
    Gone,
}

/// The store can't be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("store: {0}")]
pub struct StoreError(pub String);

/// A store in this process, for one gateway, tests and rehearsals. Bounded in bytes; the records that nobody touched
/// for longest give way. Clones share their records.
///
/// ```
/// use unskew::{CasOutcome, MemoryStore};
///
/// let store = MemoryStore::new(1 << 20);
/// let first = store.put("session:7", "{}".into(), None);
/// let CasOutcome::Done(second) = store.replace("session:7", &first, r#"{"v":2}"#.into()) else { panic!() };
/// assert_eq!(store.replace("session:7", &first, "late".into()), CasOutcome::Changed);
/// assert_eq!(store.read("session:7").map(|stored| stored.tag), Some(second.clone()));
/// store.delete("session:7");
/// assert_eq!(store.replace("session:7", &second, "{}".into()), CasOutcome::Gone);
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    records: Cache<String, Record>,
    writes: Arc<AtomicU64>,
}

#[derive(Clone)]
struct Record {
    bytes: Bytes,
    write: u64,
    expires: Option<Instant>,
}

/// What moka keeps beside an entry, roughly, in bytes.
const OVERHEAD: usize = 160;

impl MemoryStore {
    /// An empty store of at most so many bytes.
    pub fn new(max_bytes: u64) -> MemoryStore {
        let records = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|key: &String, record: &Record| {
                u32::try_from(key.len() + record.bytes.len() + OVERHEAD).unwrap_or(u32::MAX)
            })
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(UntilExpired)
            .build();
        MemoryStore { records, writes: Arc::default() }
    }

    /// Writes a record blindly, as servers do; `ttl` none means that it stays. Returns its tag.
    pub fn put(&self, key: &str, bytes: Bytes, ttl: Option<Duration>) -> Tag {
        let record = Record { bytes, write: self.next(), expires: expiry(ttl) };
        let tag = record.tag();
        // In line with `replace`, which a plain insert is not.
        self.records.entry_by_ref(key).and_upsert_with(|_| record);
        tag
    }

    /// Writes a record where there is none; its tag, or none where there is one already.
    pub fn create(&self, key: &str, bytes: Bytes, ttl: Option<Duration>) -> Option<Tag> {
        let record = Record { bytes, write: self.next(), expires: expiry(ttl) };
        let tag = record.tag();
        let done = self.records.entry_by_ref(key).and_compute_with(|entry| match entry {
            Some(_) => Op::Nop,
            None => Op::Put(record),
        });
        matches!(done, CompResult::Inserted(_)).then_some(tag)
    }

    /// The record under this key with its tag, or none.
    pub fn read(&self, key: &str) -> Option<Stored> {
        self.records.get(key).map(|record| Stored { tag: record.tag(), bytes: record.bytes })
    }

    /// Replaces the record if it is still the one of this tag; its time to live stays as it is.
    pub fn replace(&self, key: &str, tag: &Tag, new: Bytes) -> CasOutcome {
        let done =
            self.records.entry_by_ref(key).and_compute_with(|entry| match entry.map(|entry| entry.into_value()) {
                Some(old) if old.tag() == *tag => {
                    Op::Put(Record { bytes: new, write: self.next(), expires: old.expires })
                }
                Some(_) | None => Op::Nop,
            });
        match done {
            CompResult::ReplacedWith(entry) | CompResult::Inserted(entry) => CasOutcome::Done(entry.into_value().tag()),
            CompResult::Unchanged(_) => CasOutcome::Changed,
            CompResult::StillNone(_) | CompResult::Removed(_) => CasOutcome::Gone,
        }
    }

    /// Removes a record; whether there was one.
    pub fn delete(&self, key: &str) -> bool {
        let removed = self.records.entry_by_ref(key).and_compute_with(|entry| match entry {
            Some(_) => Op::Remove,
            None => Op::Nop,
        });
        matches!(removed, CompResult::Removed(_))
    }

    fn next(&self) -> u64 {
        self.writes.fetch_add(1, Ordering::Relaxed)
    }
}

/// When a record's time is over; one that no clock reaches stays.
fn expiry(ttl: Option<Duration>) -> Option<Instant> {
    ttl.and_then(|ttl| Instant::now().checked_add(ttl))
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<Stored>, StoreError> {
        Ok(self.read(key))
    }

    async fn compare_and_set(&self, key: &str, tag: &Tag, new: Bytes) -> Result<CasOutcome, StoreError> {
        Ok(self.replace(key, tag, new))
    }
}

impl Record {
    fn tag(&self) -> Tag {
        Tag(Bytes::from(self.write.to_string()))
    }
}

struct UntilExpired;

impl Expiry<String, Record> for UntilExpired {
    fn expire_after_create(&self, _: &String, record: &Record, now: Instant) -> Option<Duration> {
        record.expires.map(|expires| expires.saturating_duration_since(now))
    }

    fn expire_after_update(&self, _: &String, record: &Record, now: Instant, _: Option<Duration>) -> Option<Duration> {
        record.expires.map(|expires| expires.saturating_duration_since(now))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn of_many_who_replace_the_same_record_one_wins() {
        let store = MemoryStore::new(1 << 20);
        let tag = store.put("k", Bytes::from_static(b"0"), None);
        let wins = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|n| {
                    let (store, tag) = (store.clone(), tag.clone());
                    scope.spawn(move || store.replace("k", &tag, n.to_string().into()))
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .filter(|out| matches!(out, CasOutcome::Done(_)))
                .count()
        });
        assert_eq!(wins, 1);
    }

    #[test]
    fn a_replacement_keeps_the_time_to_live() {
        let store = MemoryStore::new(1 << 20);
        let tag = store.put("k", Bytes::from_static(b"0"), Some(Duration::from_secs(3600)));
        assert!(matches!(store.replace("k", &tag, Bytes::from_static(b"1")), CasOutcome::Done(_)));
        let expires = |key| store.records.get(key).unwrap().expires;
        assert!(expires("k").is_some_and(|expires| expires > Instant::now() + Duration::from_secs(3500)));

        let tag = store.put("short", Bytes::from_static(b"0"), Some(Duration::ZERO));
        assert_eq!(store.read("short"), None);
        assert_eq!(store.replace("short", &tag, Bytes::from_static(b"1")), CasOutcome::Gone);
    }

    #[test]
    fn a_record_that_is_deleted_and_written_again_is_another_one() {
        let store = MemoryStore::new(1 << 20);
        let tag = store.put("k", Bytes::from_static(b"0"), None);
        assert!(store.delete("k"));
        assert!(!store.delete("k"));
        store.put("k", Bytes::from_static(b"0"), None);
        assert_eq!(store.replace("k", &tag, Bytes::from_static(b"1")), CasOutcome::Changed);
    }
}
