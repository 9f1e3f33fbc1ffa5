//! The fidelity of every pair of versions, asked from the guest once per generation.

use crate::contract::{Fidelity, Verdict, Version, VersionInfo};
use crate::maglev;

/// How well a server of each version serves a record of each version. Immutable, read without a call into the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix {
    versions: Vec<VersionInfo>,
    verdicts: Vec<Verdict>,
    key: u64,
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
        let key = key(&versions, &verdicts);
        Ok(Matrix { versions, verdicts, key })
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

    /// The same for two matrices that route the same, so that a swap which changes no verdict rebuilds no tables.
    pub(crate) fn key(&self) -> u64 {
        self.key
    }

    /// Every pair with its verdict: `(held, server, verdict)`, row by row.
    pub fn pairs(&self) -> impl Iterator<Item = (Version, Version, &Verdict)> {
        all(&self.versions)
            .flat_map(move |held| all(&self.versions).map(move |server| (held, server, self.verdict(held, server))))
    }
}

/// Never 0, which stands for no matrix.
fn key(versions: &[VersionInfo], verdicts: &[Verdict]) -> u64 {
    let ids = versions.iter().flat_map(|version| version.id.bytes().chain([0]));
    let fidelities = verdicts.iter().flat_map(|verdict| verdict.fidelity.as_str().bytes().chain([0]));
    maglev::hash(&ids.chain([0]).chain(fidelities).collect::<Vec<u8>>()).max(1)
}

/// A manifest has at most 2^16 versions, since the contract counts them in `u16`.
fn all(versions: &[VersionInfo]) -> impl Iterator<Item = Version> + Clone {
    (0..=u16::MAX).take(versions.len()).map(Version)
}
