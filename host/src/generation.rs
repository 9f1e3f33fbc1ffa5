//! One loaded (guest, pack) pair with its instances and its matrix: what a request pins and a swap replaces.

use crate::contract::{Change, Detection, Failure, Manifest, Normalized, Translation, Verdict, Version};
use crate::error::CallError;
use crate::fleet::Fleet;
use crate::matrix::Matrix;
use crate::pack::Pack;
use crate::router::{self, Ask, Decision};

/// A loaded (guest, pack) pair. Pin it with an `Arc` for as long as a request lasts, so that the request sees one
/// truth from its first byte to its last.
pub struct Generation {
    id: u64,
    manifest: Manifest,
    matrix: Matrix,
    pack: Pack,
}

impl Generation {
    /// Its number, unique in the process and growing.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What the pack is about.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The pack that it was loaded from.
    pub fn pack(&self) -> &Pack {
        &self.pack
    }

    /// The version of this id.
    pub fn version(&self, id: &str) -> Option<Version> {
        self.manifest.version(id)
    }

    /// Which version a record is of.
    ///
    /// # Errors
    /// A fault if no version recognises it, or more than one.
    pub fn detect(&self, _record: &[u8]) -> Result<Detection, CallError> {
        Err(CallError::NoPack)
    }

    /// Writes a record of version `from` as one of version `to`.
    ///
    /// # Errors
    /// A fault if the record can't be translated; it stays as it was.
    pub fn translate(
        &self,
        _record: &[u8],
        _carry: &[u8],
        _from: Version,
        _to: Version,
    ) -> Result<Translation, CallError> {
        Err(CallError::NoPack)
    }

    /// Detects and translates in one crossing: the hot call.
    ///
    /// # Errors
    /// As `detect` and `translate`.
    pub fn normalize(&self, _record: &[u8], _carry: &[u8], _to: Version) -> Result<Normalized, CallError> {
        Err(CallError::NoPack)
    }

    /// How well a server of version `server` serves a record of version `held`: from the matrix, no guest is asked.
    pub fn judge(&self, held: Version, server: Version) -> &Verdict {
        self.matrix.verdict(held, server)
    }

    /// All pairs.
    pub fn matrix(&self) -> &Matrix {
        &self.matrix
    }

    /// Every change that `translate` would make. Slow: for people.
    ///
    /// # Errors
    /// As `translate`.
    pub fn explain(
        &self,
        _record: &[u8],
        _carry: &[u8],
        _from: Version,
        _to: Version,
    ) -> Result<Vec<Change>, CallError> {
        Err(CallError::NoPack)
    }

    /// What failed of the pack's examples and laws when it was loaded; empty unless the load was told to go on.
    pub fn test(&self) -> &[Failure] {
        &[]
    }

    /// Where a request goes, by this generation's matrix.
    pub fn route(&self, ask: &Ask<'_>, fleet: &Fleet) -> Decision {
        router::route(ask, fleet, Some(&self.matrix))
    }
}
