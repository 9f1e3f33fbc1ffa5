//! Guests as they are shipped: a component with its name and its signature.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::engine;
use crate::error::LoadError;
use crate::pack::{self, Digest};

/// A guest as it is shipped: a component and its signature.
#[derive(Clone)]
pub struct Guest {
    name: String,
    wasm: Bytes,
    signature: Option<Arc<str>>,
}

impl Guest {
    /// A guest without a signature; `name` stands before its problems.
    pub fn new(name: &str, wasm: impl Into<Bytes>) -> Guest {
        Guest { name: name.to_owned(), wasm: wasm.into(), signature: None }
    }

    /// The guest that this crate was built with; it is trusted without a signature.
    pub fn standard() -> Guest {
        Guest::new("the standard guest", Bytes::from_static(engine::STANDARD_WASM))
    }

    /// The guest in this file, with its signature if a `.minisig` file lies beside it.
    ///
    /// # Errors
    /// If the file can't be read.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Guest, LoadError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let wasm = std::fs::read(path)
            .map_err(|error| LoadError::Unreadable { name: name.clone(), reason: error.to_string() })?;
        Ok(Guest::new(&name, wasm).signed(pack::signature_beside(path)))
    }

    /// The guest with the text of its `.minisig` file.
    #[must_use]
    pub fn signed(self, signature: Option<String>) -> Guest {
        Guest { signature: signature.map(Into::into), ..self }
    }

    /// The file's name, or what the caller called it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The component.
    pub fn wasm(&self) -> &[u8] {
        &self.wasm
    }

    /// The text of its signature.
    pub fn signature(&self) -> Option<&str> {
        self.signature.as_deref()
    }

    /// The digest of the component.
    pub fn digest(&self) -> Digest {
        match std::ptr::eq(self.wasm.as_ptr(), engine::STANDARD_WASM.as_ptr()) {
            true => engine::standard_digest(),
            false => Digest::of(&self.wasm),
        }
    }
}

impl From<&[u8]> for Guest {
    fn from(wasm: &[u8]) -> Guest {
        Guest::new("guest", wasm.to_vec())
    }
}

impl From<Vec<u8>> for Guest {
    fn from(wasm: Vec<u8>) -> Guest {
        Guest::new("guest", wasm)
    }
}

impl From<&Vec<u8>> for Guest {
    fn from(wasm: &Vec<u8>) -> Guest {
        Guest::from(wasm.as_slice())
    }
}

impl<const N: usize> From<&[u8; N]> for Guest {
    fn from(wasm: &[u8; N]) -> Guest {
        Guest::from(wasm.as_slice())
    }
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guest").field("name", &self.name).field("bytes", &self.wasm.len()).finish_non_exhaustive()
    }
}
