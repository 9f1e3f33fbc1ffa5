//! The fidelity of every pair of versions, asked from the guest once per generation.

use crate::contract::{Fidelity, Verdict, Version, VersionInfo};

/// How well a server of each version serves a record of each version. Immutable, read without a call into the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix {
    versions: Vec<VersionInfo>,
    verdicts: Vec<Verdict>,
}

impl Matrix {
    /// The matrix of these versions, each pair judged by `judge(held, server)`.
    ///
    /// # Errors
    /// The first error of `judge`.
    pub fn judged<E>(
        versions: Vec<VersionInfo>,
        mut judge: impl FnMut(Version, Version) -> Result<Verdict, E>,
    ) -> Result<Matrix, E> {
        let mut verdicts = Vec::with_capacity(versions.len() * versions.len());
        for held in all(&versions) {
            for server in all(&versions) {
                verdicts.push(judge(held, server)?);
            }
        }
        Ok(Matrix { versions, verdicts })
    }

    /// The verdict on serving a record of version `held` from a server of version `server`.
    pub fn verdict(&self, held: Version, server: Version) -> &Verdict {
        static UNKNOWN: Verdict = Verdict { fidelity: Fidelity::None, reason: String::new() };
        let n = self.versions.len();
        match held.index() < n && server.index() < n {
            true => &self.verdicts[held.index() * n + server.index()],
            false => &UNKNOWN,
        }
    }

    /// The versions, oldest first.
    pub fn versions(&self) -> &[VersionInfo] {
        &self.versions
    }

    /// The version of this id.
    pub fn version(&self, id: &str) -> Option<Version> {
        all(&self.versions).find(|version| &*self.versions[version.index()].id == id)
    }

    /// Every pair with its verdict: `(held, server, verdict)`, row by row.
    pub fn pairs(&self) -> impl Iterator<Item = (Version, Version, &Verdict)> {
        all(&self.versions)
            .flat_map(move |held| all(&self.versions).map(move |server| (held, server, self.verdict(held, server))))
    }
}

/// A manifest has at most 2^16 versions, since the contract counts them in `u16`.
fn all(versions: &[VersionInfo]) -> impl Iterator<Item = Version> + Clone {
    (0..=u16::MAX).take(versions.len()).map(Version)
}
