//! The words of the contract as the library's own types: what a guest says, free of wire formats.

use std::fmt;
use std::sync::Arc;

/// A version of the record: its index in the manifest of one generation. Never store it; store its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u16);

impl Version {
    /// The index in `Manifest::versions`.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// What a pack is about, as the guest found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The pack's name.
    pub name: String,
    /// The pack's revision; a newer pack of the same name has a greater one.
    pub revision: u64,
    /// All versions, oldest first.
    pub versions: Vec<VersionInfo>,
    /// The pack's policy, defaults filled in.
    pub policy: Policy,
}

impl Manifest {
    /// The version of this id.
    pub fn version(&self, id: &str) -> Option<Version> {
        let index = self.versions.iter().position(|version| &*version.id == id)?;
        u16::try_from(index).ok().map(Version)
    }

    /// The digest of the shape of the version of this id.
    pub fn shape(&self, id: &str) -> Option<u64> {
        self.versions.iter().find(|version| &*version.id == id).map(|version| version.digest)
    }

    /// The id of a version; empty for an index that the manifest doesn't have.
    pub fn id(&self, version: Version) -> &str {
        self.versions.get(version.index()).map_or("", |version| &version.id)
    }
}

/// One version of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInfo {
    /// The version's id in the pack.
    pub id: Arc<str>,
    /// The versions that servers of this version read natively, itself included.
    pub reads: Vec<Version>,
    /// A digest of how records of this version are recognised: packs that mean another shape by the same id differ in it.
    pub digest: u64,
}

/// How records are treated where the rules leave a choice; part of the pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Where the carry lives.
    pub carry: CarryPlace,
    /// The member that holds an inline carry.
    pub carry_member: String,
    /// The longest record that is read or written, in bytes.
    pub max_bytes: u32,
    /// The deepest nesting of arrays and objects.
    pub max_depth: u32,
    /// What becomes of a record of a version that the pack doesn't know.
    pub unknown_version: Outlook,
    /// What becomes of a body that is no JSON object.
    pub opaque: Outlook,
}

/// Where the carry lives between two translations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CarryPlace {
    /// The caller keeps the bytes beside the record.
    Beside,
    /// In a member of the record itself.
    Inline,
    /// Nowhere: what the target version cannot hold is lost.
    None,
}

/// What is done with a record that the rules do not speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// It passes through, byte for byte.
    Pass,
    /// It is refused with a fault.
    Refuse,
}

/// The answer to `detect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detection {
    /// The one version that recognises the record.
    pub version: Version,
    /// Whether the record holds an inline carry.
    pub inline_carry: bool,
}

/// A translated record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The record in the target version.
    pub record: Vec<u8>,
    /// The carry to keep beside it; empty where there is nothing to keep or the carry is inline.
    pub carry: Vec<u8>,
    /// What happened to values on the way.
    pub counts: Counts,
}

/// What happened to the values that the target version cannot hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Kept in the carry by this call.
    pub carried: u32,
    /// Came back from the carry in this call.
    pub restored: u32,
    /// Lost by this call.
    pub lost: u32,
    /// Taken out of the record, whether or not the carry has them.
    pub dropped: u32,
    /// Say less than before, as the target version has a coarser value in their place.
    pub narrowed: u32,
    /// Put in, as the target version has to have them.
    pub defaulted: u32,
}

/// The answer to `normalize`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Normalized {
    /// The version that the record was found in.
    pub found: Version,
    /// The translation, or none where the record is already right and stays as it is with its carry.
    pub changed: Option<Translation>,
}

/// How well a server of one version can serve a record of another. Ordered: the better, the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fidelity {
    /// The server reads the record as it is.
    Native,
    /// Translation loses nothing and needs no carry.
    Exact,
    /// Translation needs the carry to bring everything back.
    Carried,
    /// Translation loses something.
    Lossy,
    /// There is no translation.
    None,
}

impl Fidelity {
    /// The word: `carried`.
    pub fn as_str(self) -> &'static str {
        match self {
            Fidelity::Native => "native",
            Fidelity::Exact => "exact",
            Fidelity::Carried => "carried",
            Fidelity::Lossy => "lossy",
            Fidelity::None => "none",
        }
    }
}

impl fmt::Display for Fidelity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The judgement of one pair of versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The fidelity of the pair.
    pub fidelity: Fidelity,
    /// Why, naming the op that decides.
    pub reason: String,
}

/// One thing that a translation changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The op, as `step 1→2, op 3: rename`.
    pub op: String,
    /// The place after the change, as a JSON Pointer.
    pub place: String,
    /// The JSON text before, or none where there was nothing.
    pub before: Option<String>,
    /// The JSON text after, or none where there is nothing.
    pub after: Option<String>,
    /// What happened at the place: `moved`, `changed`, `dropped`, `narrowed`, `defaulted` or `restored`.
    pub effect: String,
    /// What became of the value: `changed`, `restored`, `carried` or `lost`.
    pub outcome: String,
}

/// An example or a law of the pack that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which: `example 2, upwards`.
    pub name: String,
    /// What was expected and what came out.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.message)
    }
}
