//! Proposes the step between two versions from sample records of both: a pack for a person to edit.
//!
//! Records are paired where something tells that they are of one session; members are weighed against one another by
//! their values (paired ones by value, others by sets, kinds and ranges) and by their names; what is proposed is tried
//! in the sandbox on the samples. What the samples don't decide is asked in a comment and not guessed.

mod assign;
mod decimal;
mod draft;
mod element;
mod leftover;
mod names;
mod pair;
mod place;
mod profile;
mod propose;
mod prove;
mod relate;
mod relink;
mod sample;
mod scope;
mod several;
mod times;
mod tree;
mod trial;
mod unpaired;
mod write;

pub use sample::{Sample, SampleError};

use crate::error::LoadError;
use draft::{Draft, Recognition};
use pair::Pairs;
use place::Path;
use profile::Profile;
use scope::{Findings, Scope};
use tree::Node;
use trial::Trials;

/// What the samples don't say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The pack's name.
    pub name: String,
    /// The id of the older version.
    pub from: String,
    /// The id of the newer version.
    pub to: String,
    /// JSON Pointers to the members that name a session, in older and in newer records; found if left out.
    pub matched: Option<(String, String)>,
}

impl Default for Options {
    fn default() -> Options {
        Options { name: "sessions".to_owned(), from: "1".to_owned(), to: "2".to_owned(), matched: None }
    }
}

/// A proposed pack with what it is made of.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The pack, with evidence and questions as comments. It loads.
    pub toml: String,
    /// How many records of both sides were taken as of one session, and by what.
    pub pairs: usize,
    /// `/session_id = /sessionId`, or empty where there are no pairs.
    pub paired_by: String,
    /// The ops in the order of the pack, those that are left out among them.
    pub ops: Vec<Proposed>,
    /// What a person has to answer, as in the pack's comments.
    pub questions: Vec<String>,
    /// How far the samples came in the sandbox.
    pub checked: Checked,
}

/// A proposed op.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// The op's name: `rename`.
    pub kind: &'static str,
    /// Where it works.
    pub place: String,
    /// As it stands in the pack.
    pub op: String,
    /// How sure it is.
    pub confidence: Confidence,
    /// How many records speak for it, and which values.
    pub evidence: String,
    /// What the samples leave open about it.
    pub question: Option<String>,
    /// Why it stands in the pack as a comment only; none if it is active.
    pub left_out: Option<String>,
}

/// How much speaks for a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// Several different values, and nothing against it.
    High,
    /// It fits, but few values or names alone say so.
    Medium,
    /// Something else would fit as well: it is asked, not proposed.
    Low,
}

impl Confidence {
    /// The word: `high`.
    pub fn as_str(self) -> &'static str {
        match self {
            Confidence::High => "high",
            Confidence::Medium => "medium",
            Confidence::Low => "low",
        }
    }
}

/// How the proposed pack did on the samples, in the sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// How many older records were brought to the newer version and back.
    pub older: usize,
    /// How many newer records were brought to the older version and back.
    pub newer: usize,
    /// Those that didn't come back as they were, each with the reason.
    pub refused: Vec<String>,
    /// How many pairs' older record becomes the newer one to the last value.
    pub exact: usize,
    /// Of how many.
    pub pairs: usize,
    /// Where the others differ, arrays by `*`, and in how many pairs: the most frequent first. Sessions live on, so not
    /// every difference is a rule's.
    pub differing: Vec<(String, usize)>,
}

impl Checked {
    /// In sentences.
    fn said(&self) -> Vec<String> {
        let Checked { older, newer, refused, exact, pairs, differing } = self;
        let mut said = vec![format!(
            "Tried in the sandbox: {} of {} samples come back as they were from the other version.",
            older + newer - refused.len(),
            older + newer
        )];
        if *pairs > 0 {
            said.push(format!("{exact} of {pairs} pairs: the older record becomes the newer one, to the last value."));
        }
        if !differing.is_empty() {
            let places: Vec<String> =
                differing.iter().take(8).map(|(place, count)| format!("{place} ({count})")).collect();
            let more = differing.len().saturating_sub(8);
            let more = if more > 0 { format!(" and {more} more places") } else { String::new() };
            said.push(format!("The others differ at {}{more}.", places.join(", ")));
        }
        let mut reasons: Vec<(&str, &str, usize)> = Vec::new();
        for refused in refused {
            let (name, reason) = refused.split_once(": ").unwrap_or((refused, ""));
            match reasons.iter_mut().find(|(_, known, _)| *known == reason) {
                Some((_, _, count)) => *count += 1,
                None => reasons.push((name, reason, 1)),
            }
        }
        said.extend(reasons.into_iter().map(|(name, reason, count)| {
            let samples = if count == 1 { name.to_owned() } else { format!("{name} and {} more", count - 1) };
            format!("? {samples}: {reason}")
        }));
        said
    }
}

/// What speaks for something, and how much.
#[derive(Clone, Debug)]
struct Strength {
    confidence: Confidence,
    evidence: String,
}

/// Why nothing can be proposed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum InferError {
    /// One side has no samples.
    #[error("there are no {0} samples: at least one record of each version is needed")]
    NoSamples(&'static str),
    /// The members that should name sessions can't, or don't.
    #[error("{0}")]
    Match(String),
    /// Both sides look the same.
    #[error("nothing tells older from newer samples: no member that only one side has, and none that says the version")]
    Alike,
    /// The sandbox can't be set up, or the proposal doesn't load.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// Proposes a pack of two versions and one step from records of both.
///
/// ```
/// use unskew::infer::{Options, Sample, infer};
///
/// let older = Sample::parse("older", r#"
///     {"sessionId":"a1","createdAt":1700000000,"mode":"routed"}
///     {"sessionId":"b2","createdAt":1700000050,"mode":"relayed"}
///     {"sessionId":"c3","createdAt":1700000099,"mode":"routed"}
/// "#)?;
/// let newer = Sample::parse("newer", r#"
///     {"session_id":"c3","createdAt":1700000099000,"mode":"routed","v":2}
///     {"session_id":"a1","createdAt":1700000000000,"mode":"routed","v":2}
///     {"session_id":"b2","createdAt":1700000050000,"mode":"relayed","v":2}
/// "#)?;
/// let proposal = infer(&older, &newer, &Options::default())?;
/// assert_eq!(proposal.paired_by, "/sessionId = /session_id");
/// let ops: Vec<&str> = proposal.ops.iter().map(|op| op.op.as_str()).collect();
/// assert_eq!(ops, [
///     r#"{ rename = "/sessionId", to = "session_id" }"#,
///     r#"{ time = "/createdAt", lower = "unix-s", upper = "unix-ms" }"#,
/// ]);
/// assert!(proposal.toml.contains(r#"marker = { path = "/v", value = 2 }"#));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If a side is empty, the named members pair nothing, or both sides look the same.
pub fn infer(older: &[Sample], newer: &[Sample], options: &Options) -> Result<Proposal, InferError> {
    for (samples, side) in [(older, "older"), (newer, "newer")] {
        if samples.is_empty() {
            return Err(InferError::NoSamples(side));
        }
    }
    let [lowers, uppers] = [older, newer].map(|side| side.iter().map(Sample::tree).collect::<Vec<&Node>>());
    let (lower, upper) = (Profile::of(&lowers), Profile::of(&uppers));
    let pairs = match &options.matched {
        Some(keys) => matched(&lowers, &uppers, keys)?,
        None => Pairs::found(&lower, &upper),
    };
    let mut recognitions = Recognition::candidates(&lower, &upper);
    if recognitions.is_empty() {
        return Err(InferError::Alike);
    }
    let recognised = recognitions.remove(0);
    let scope = Scope {
        lower: Path::default(),
        upper: Path::default(),
        lowers,
        uppers,
        pairs: pairs.rows.clone(),
        reserved: recognised.reserved.clone(),
    };
    let mut findings = Findings::default();
    scope.survey(&mut Trials::default(), &mut findings);
    let ops = propose::ops(&findings);
    let mut questions = findings.questions.clone();
    if let Some(rival) = &pairs.rival {
        questions
            .insert(0, format!("records could also be paired by {rival}, which pairs others: is {} right?", pairs.by));
    }
    let draft = Draft {
        name: options.name.clone(),
        from: options.from.clone(),
        to: options.to.clone(),
        about: about(older, newer, &pairs),
        recognised,
        collections: draft::collections(&findings),
        ops,
        questions,
        example: None,
    };
    let (draft, checked) = prove::proven(draft, recognitions, (older, newer), &pairs.rows)?;
    let asked = draft.ops.iter().filter_map(|op| Some(format!("{}: {}", op.place, op.question.as_ref()?)));
    Ok(Proposal {
        toml: write::pack(&draft),
        pairs: pairs.rows.len(),
        paired_by: pairs.by,
        questions: asked.chain(draft.questions.iter().cloned()).collect(),
        ops: draft.ops,
        checked,
    })
}

fn matched(lowers: &[&Node], uppers: &[&Node], (lower, upper): &(String, String)) -> Result<Pairs, InferError> {
    let plain = |pointer: &str| {
        Path::parse_plain(pointer).ok_or_else(|| {
            InferError::Match(format!(
                "{pointer:?} names no one member: write a JSON Pointer without \"*\", as \"/sessionId\""
            ))
        })
    };
    let (one, other) = (plain(lower)?, plain(upper)?);
    let pairs = Pairs::by_members(lowers, uppers, (&one, &other));
    match pairs.rows.is_empty() {
        true => Err(InferError::Match(format!(
            "{lower} of older and {upper} of newer records have no value in common that is of one record each: name members that hold the session's id"
        ))),
        false => Ok(pairs),
    }
}

fn about(older: &[Sample], newer: &[Sample], pairs: &Pairs) -> Vec<String> {
    let records = |count: usize, side: &str| format!("{count} {side} record{}", if count == 1 { "" } else { "s" });
    let mut about = vec![format!("{} and {}.", records(older.len(), "older"), records(newer.len(), "newer"))];
    about.push(match pairs.rows.len() {
        0 => "No two of them are known to be of one session: names, kinds and ranges are all that was compared."
            .to_owned(),
        1 => format!("1 pair is of one session, by {}.", pairs.by),
        count => format!("{count} pairs are of one session each, by {}.", pairs.by),
    });
    about
}
