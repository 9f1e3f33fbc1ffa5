//! The laws of translation, held against a loaded pack on records that are grown from it and on recorded ones.
//!
//! A pack's examples are few, and its author chose them. Here a [`Subject`] (the pack in the sandbox, say) is asked to
//! bring thousands of other records from each version to each other one, there and back, edited in between, and by way
//! of the versions in the middle. Where a law doesn't hold, the record is made smaller as long as the same law still
//! fails, so that a [`CounterExample`] shows a few members and not a session.
//!
//! Nothing here knows an op by its name: records grow from the places and literals that the pack holds, and what the
//! ops did is told by `explain`.

mod coverage;
mod findings;
mod grow;
mod hold;
mod run;
mod seeds;
mod shrink;
mod subject;
mod tree;
mod words;

use std::fmt;

use fastrand::Rng;

use crate::contract::Version;
pub use coverage::{Cell, Coverage, Direction, Situation};
pub use findings::{CounterExample, Findings, Overlap, PairCount, Progress, Refusal};
use grow::Grower;
use hold::Court;
use run::Run;
pub(crate) use shrink::{Simpler, shrink};
pub use subject::{Refused, Subject};
pub(crate) use tree::Tree;
pub(crate) use words::Words;

/// What every translation keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Law {
    /// A record of the wanted version is answered byte for byte.
    Identity,
    /// Bytes that no op names are copied.
    Untouched,
    /// There and back without an edit gives the same JSON.
    Return,
    /// What a server of the other version changes survives the way home and back.
    Edit,
    /// A record that alternates has the same bytes from the second time on.
    Fixpoint,
    /// Many steps at once give the bytes of one after another.
    Fusion,
    /// A translated record is recognised as what it was translated to, and as nothing else.
    Detect,
    /// What can't be translated is refused with a fault that doesn't tell what the record says.
    TotalOrFault,
    /// The same bytes give the same bytes.
    Pure,
    /// What gets lost, or needs the carry, was declared by the verdict on the pair.
    DeclaredLoss,
    /// Nothing grows, however often a record goes there and back.
    Stable,
}

impl Law {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Law; 11] = [
        Law::Identity,
        Law::Untouched,
        Law::Return,
        Law::Edit,
        Law::Fixpoint,
        Law::Fusion,
        Law::Detect,
        Law::TotalOrFault,
        Law::Pure,
        Law::DeclaredLoss,
        Law::Stable,
    ];

    /// The word, in kebab case: `declared-loss`.
    pub fn as_str(self) -> &'static str {
        match self {
            Law::Identity => "identity",
            Law::Untouched => "untouched",
            Law::Return => "return",
            Law::Edit => "edit",
            Law::Fixpoint => "fixpoint",
            Law::Fusion => "fusion",
            Law::Detect => "detect",
            Law::TotalOrFault => "total-or-fault",
            Law::Pure => "pure",
            Law::DeclaredLoss => "declared-loss",
            Law::Stable => "stable",
        }
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a record comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grown {
    /// Somebody recorded it.
    Recorded,
    /// Grown as servers of its version could have written it.
    Ordinary,
    /// Grown as nobody would write it.
    Odd,
}

impl Grown {
    /// The word: `ordinary`.
    pub fn as_str(self) -> &'static str {
        match self {
            Grown::Recorded => "recorded",
            Grown::Ordinary => "ordinary",
            Grown::Odd => "odd",
        }
    }
}

impl Grown {
    /// Whether a record that was made smaller could still have been grown so.
    fn allows(self, tree: &Tree) -> bool {
        match self {
            Grown::Recorded | Grown::Odd => true,
            Grown::Ordinary => {
                let mut pruned = tree.clone();
                pruned.prune();
                pruned == *tree
            }
        }
    }
}

/// Whether hits of ops are counted, which costs as much as the laws themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counting {
    /// They are.
    #[default]
    On,
    /// They are not; the coverage stays empty.
    Off,
}

/// A pack before its laws.
pub struct Laws<'s> {
    subject: &'s dyn Subject,
    words: Words,
    recorded: Vec<(String, Vec<u8>)>,
    seed: u64,
    cases: u32,
    counting: Counting,
}

impl<'s> Laws<'s> {
    /// The laws on a subject that has loaded this pack, given in its JSON form: 200 records for each ordered pair, seed 1.
    pub fn new(subject: &'s dyn Subject, pack: &[u8]) -> Laws<'s> {
        let words = Words::read(pack);
        Laws { subject, words, recorded: Vec::new(), seed: 1, cases: 200, counting: Counting::On }
    }

    /// Other records: the same seed gives the same ones.
    #[must_use]
    pub fn seed(self, seed: u64) -> Laws<'s> {
        Laws { seed, ..self }
    }

    /// How many translated records each ordered pair gets.
    #[must_use]
    pub fn cases(self, cases: u32) -> Laws<'s> {
        Laws { cases, ..self }
    }

    /// Whether hits of ops are counted.
    #[must_use]
    pub fn counting(self, counting: Counting) -> Laws<'s> {
        Laws { counting, ..self }
    }

    /// Recorded records, with names: the laws are held on them too, and more grow from them.
    #[must_use]
    pub fn recorded(self, recorded: Vec<(String, Vec<u8>)>) -> Laws<'s> {
        Laws { recorded, ..self }
    }

    /// Grows records and holds the laws on all of them.
    pub fn run(&self, progress: &mut dyn FnMut(Progress)) -> Findings {
        self.with_court(|court| Run::new(self, court).all(progress))
    }

    /// The recorded records, and grown ones of every version in turn, for comparing subjects: each with the version that
    /// it was grown as, or recognised as.
    pub fn records(&self, mut with: impl FnMut(&[u8], Version)) {
        for (_, record) in &self.recorded {
            if let Ok(found) = self.subject.detect(record) {
                with(record, found);
            }
        }
        self.with_court(|court| {
            for from in court.all() {
                for number in 0..self.cases {
                    let (record, _) = self.grow(court, from, from, number);
                    with(record.as_bytes(), from);
                }
            }
        });
    }

    /// How many records `records` grows.
    pub(crate) fn planned(&self) -> u64 {
        u64::from(self.cases) * self.words.versions.len() as u64
    }

    fn with_court<R>(&self, with: impl FnOnce(&Court<'_>) -> R) -> R {
        let recorded: Vec<&[u8]> = self.recorded.iter().map(|(_, record)| record.as_slice()).collect();
        let grower = Grower::new(&self.words, seeds::gather(self.subject, &self.words, &recorded));
        let versions = u16::try_from(self.subject.versions().len()).unwrap_or(u16::MAX);
        let carry = self.subject.carry();
        with(&Court { subject: self.subject, words: &self.words, grower: &grower, versions, carry })
    }

    /// The record of this number, and how it was grown.
    fn grow(&self, court: &Court<'_>, from: Version, to: Version, number: u32) -> (String, Grown) {
        let mut rng = Rng::with_seed(self.salt(from, to, number));
        match number.is_multiple_of(2) {
            true => (court.grower.ordinary(&mut rng, from).compact(), Grown::Ordinary),
            false => (court.grower.odd(&mut rng, from).spaced(), Grown::Odd),
        }
    }

    fn salt(&self, from: Version, to: Version, number: u32) -> u64 {
        let mut rng =
            Rng::with_seed(self.seed ^ (u64::from(from.0) << 48) ^ (u64::from(to.0) << 32) ^ u64::from(number));
        rng.u64(..)
    }
}

impl Court<'_> {
    fn all(&self) -> impl Iterator<Item = Version> + Clone + use<> {
        (0..self.versions).map(Version)
    }
}
