//! Calls into the generation that a request has pinned: large records off the event loop, failures by the policy, and
//! what comes out counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::problem::{Owner, Refusal, Refused};
use super::request::Ctx;
use super::state::State;
use crate::contract::{Counts, Detection, Fidelity, Normalized, Outlook, Translation, Version};
use crate::directory::{Entry, Guard, OtherShape};
use crate::error::{CallError, FaultKind};
use crate::fleet::{Fleet, Server};
use crate::generation::Generation;
use crate::router::Held;

/// What a record was found to be.
pub(crate) enum Found {
    /// Of this version, with what the router wants to know.
    Known(Held),
    /// Nothing that the rules speak of, or that they failed on: it passes as it is.
    Passes,
}

impl State {
    /// What a record is. `entry` is what the directory knows about its session, `fleet` what its writer is sought in.
    pub(crate) async fn detect(
        &self,
        generation: &Arc<Generation>,
        record: &Bytes,
        (entry, fleet): (Option<&Entry>, &Fleet),
        owner: Owner,
    ) -> Result<Found, Refusal> {
        let (pinned, bytes) = (generation.clone(), record.clone());
        let detected = self.offload.run(record.len(), move || pinned.detect(&bytes)).await;
        match detected {
            Ok(detection) => {
                self.runtime.sample(record);
                Ok(Found::Known(self.held_of(generation, detection, entry, fleet)))
            }
            Err(error) => {
                self.settle(generation, &error, owner)?;
                Ok(Found::Passes)
            }
        }
    }

    /// What the router wants to know of a record that was found to be this.
    pub(crate) fn held_of(
        &self,
        generation: &Generation,
        detection: Detection,
        entry: Option<&Entry>,
        fleet: &Fleet,
    ) -> Held {
        let id = generation.manifest().id(detection.version);
        // What a carry holds is tied to ops and not to shapes: it stays, whatever the version's id has come to mean.
        let carry = entry.is_some_and(|entry| !entry.carry.is_empty() && *entry.version == *id);
        let believed = entry
            .filter(|entry| self.believed(entry, generation).is_some() || generation.version(&entry.version).is_none());
        let writer = believed.and_then(|entry| fleet.index(entry.writer.as_ref()?));
        Held { version: detection.version, carry: carry || detection.inline_carry, writer }
    }

    /// What the router wants to know of a record of which the directory alone knows.
    pub(crate) fn held_by(&self, entry: &Entry, generation: &Generation, fleet: &Fleet) -> Option<Held> {
        let version = self.believed(entry, generation)?;
        let writer = entry.writer.as_ref().and_then(|name| fleet.index(name));
        Some(Held { version, carry: !entry.carry.is_empty(), writer })
    }

    /// Writes a record of version `from` as one of version `to` and counts what happened to its values. None where
    /// the rules fail and the policy lets it pass.
    pub(crate) async fn translate(
        &self,
        ctx: &mut Ctx,
        generation: &Arc<Generation>,
        (record, carry): (&Bytes, &Bytes),
        (from, to): (Version, Version),
        owner: Owner,
    ) -> Result<Option<Translation>, Refusal> {
        let (pinned, bytes, kept) = (generation.clone(), record.clone(), carry.clone());
        let call = move || timed(|| pinned.translate(&bytes, &kept, from, to));
        let began = Instant::now();
        let (translated, took) = self.offload.run(record.len() + carry.len(), call).await;
        if let Some(spans) = self.spans.as_ref().filter(|_| ctx.is_traced()) {
            ctx.trace_translated(spans, generation, (Some(from), to), began, translated.as_ref());
        }
        match translated {
            Ok(translation) => {
                self.keepable(ctx, &translation, owner)?;
                generation.meter().translated((from, to), translation.counts, took);
                self.shadowed(generation, (record, carry), (from, to), &translation);
                self.tally(ctx, translation.counts, (from, to));
                Ok(Some(translation))
            }
            Err(error) => self.settle(generation, &error, owner).map(|()| None),
        }
    }

    /// Brings a record of whatever version to `to`, where that is allowed. None where it stays as it is.
    pub(crate) async fn normalize(
        &self,
        ctx: &mut Ctx,
        generation: &Arc<Generation>,
        (record, carry): (&Bytes, &Bytes),
        target: Target<'_>,
        owner: Owner,
    ) -> Result<Option<Translation>, Refusal> {
        let (pinned, bytes, kept, to) = (generation.clone(), record.clone(), carry.clone(), target.version());
        let call = move || timed(|| pinned.normalize(&bytes, &kept, to));
        let began = Instant::now();
        let (normalized, took) = self.offload.run(record.len() + carry.len(), call).await;
        if let Some(spans) = self.spans.as_ref().filter(|_| ctx.is_traced()) {
            match &normalized {
                Ok(Normalized { changed: None, .. }) => {}
                Ok(Normalized { found, changed: Some(made) }) => {
                    ctx.trace_translated(spans, generation, (Some(*found), to), began, Ok(made));
                }
                Err(error) => ctx.trace_translated(spans, generation, (None, to), began, Err(error)),
            }
        }
        let Normalized { found, changed } = match normalized {
            Ok(normalized) => normalized,
            Err(error) => return self.settle(generation, &error, owner).map(|()| None),
        };
        let Some(translation) = changed.filter(|_| !target.reads(generation, found, carry)) else { return Ok(None) };
        let verdict = generation.judge(found, to);
        if verdict.fidelity > self.max_loss() {
            let (from, to) = (generation.manifest().id(found), generation.manifest().id(to));
            let detail = format!(
                "a record of version {from} can be had for version {to} only {}: {}",
                verdict.fidelity, verdict.reason
            );
            if let (Target::Server(..), Some(session)) = (target, &ctx.session) {
                self.note(ctx, session, from, None, carry.clone()).await; // the next try goes to a server of that version
            }
            return Err(Refusal::new(Refused::NoServer, detail));
        }
        self.keepable(ctx, &translation, owner)?;
        generation.meter().translated((found, to), translation.counts, took);
        self.shadowed(generation, (record, carry), (found, to), &translation);
        self.tally(ctx, translation.counts, (found, to));
        Ok(Some(translation))
    }

    /// Runs a translation on the staged generation too, beside the request, if it is its turn.
    fn shadowed(
        &self,
        generation: &Generation,
        (record, carry): (&Bytes, &Bytes),
        pair: (Version, Version),
        made: &Translation,
    ) {
        if self.shadow.turn()
            && let Some(staged) = self.runtime.staged().filter(|staged| staged.id() != generation.id())
        {
            self.shadow.compare((generation, staged), (record.clone(), carry.clone()), pair, made);
        }
    }

    /// Notes in the directory what a session's record is now, with its carry.
    pub(crate) async fn note(&self, ctx: &Ctx, session: &str, version: &str, writer: Option<&str>, carry: Bytes) {
        self.sessions.note(session, entry(ctx, version, writer, carry), Guard::Any).await;
    }

    /// What the directory's entry says of its record's version; nothing where the active pack means another shape by
    /// the same id.
    pub(crate) fn believed(&self, entry: &Entry, generation: &Generation) -> Option<Version> {
        entry.version(generation.manifest()).unwrap_or_else(|OtherShape(_)| {
            self.counters.other_shapes.one();
            let manifest = generation.manifest();
            let (pack, revision) = (&manifest.name, manifest.revision);
            tracing::info!(version = %entry.version, %pack, pack.revision = revision, "version of the directory has another shape in the pack");
            None
        })
    }

    /// What the failure policy makes of a failed call: an error refuses, else the record passes.
    fn settle(&self, generation: &Generation, error: &CallError, owner: Owner) -> Result<(), Refusal> {
        let policy = &generation.manifest().policy;
        let spared = match error {
            CallError::Fault(fault) => match fault.kind {
                FaultKind::UnknownVersion => policy.unknown_version == Outlook::Pass,
                FaultKind::Opaque => policy.opaque == Outlook::Pass,
                _ => false,
            },
            CallError::NoPack | CallError::Guest(_) | CallError::UnknownVersion(_) => false,
        };
        if spared {
            return Ok(());
        }
        generation.meter().failed(error.as_str());
        match error {
            CallError::Guest(_) => self.counters.guest_failures.one(),
            CallError::Fault(_) | CallError::NoPack | CallError::UnknownVersion(_) => self.counters.faults.one(),
        }
        match self.failure.call {
            crate::limits::OnFailure::Open => {
                self.counters.passed_open.one();
                tracing::warn!(kind = error.as_str(), %error, "record passes untranslated");
                Ok(())
            }
            crate::limits::OnFailure::Closed => Err(Refusal::of_call(error, owner)),
        }
    }

    /// A carry needs a session to be kept under; where there is none, its values would be lost without a word.
    fn keepable(&self, ctx: &Ctx, translation: &Translation, owner: Owner) -> Result<(), Refusal> {
        let stays = owner == Owner::Server && !self.carrier.comes_back(); // the server keeps what clients don't see
        if translation.carry.is_empty() || ctx.session.is_some() || stays || self.max_loss() >= Fidelity::Lossy {
            return Ok(());
        }
        let kind = match owner {
            Owner::Client => Refused::BadRecord,
            Owner::Store => Refused::BadStoredRecord,
            Owner::Server => Refused::BadAnswer,
        };
        Err(Refusal::new(kind, "the request names no session under which the carry of its record could be kept"))
    }

    fn tally(&self, ctx: &mut Ctx, counts: Counts, pair: (Version, Version)) {
        self.counters.translated.one();
        self.counters.carried.many(counts.carried.into());
        self.counters.restored.many(counts.restored.into());
        self.counters.lost.many(counts.lost.into());
        self.counters.dropped.many(counts.dropped.into());
        self.counters.narrowed.many(counts.narrowed.into());
        self.counters.defaulted.many(counts.defaulted.into());
        ctx.counts.carried += counts.carried;
        ctx.counts.restored += counts.restored;
        ctx.counts.lost += counts.lost;
        ctx.translated = Some(pair);
    }
}

/// What the directory is told of a record of this version.
pub(crate) fn entry(ctx: &Ctx, version: &str, writer: Option<&str>, carry: Bytes) -> Entry {
    let manifest = ctx.generation.as_deref().map(Generation::manifest);
    let shape = manifest.and_then(|manifest| manifest.shape(version));
    Entry { version: version.into(), shape, writer: writer.map(Into::into), carry }
}

/// A call with the time that it took.
fn timed<T>(call: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let answer = call();
    (answer, began.elapsed())
}

/// Who is to read a normalised record.
#[derive(Clone, Copy)]
pub(crate) enum Target<'a> {
    /// A server, which may read other versions than its own.
    Server(&'a Server, Version),
    /// Clients.
    Client(Version),
}

impl Target<'_> {
    fn version(self) -> Version {
        match self {
            Target::Server(_, version) | Target::Client(version) => version,
        }
    }

    /// Whether a record of this version is readable as it is. One with a carry is not: what the carry holds would
    /// stay away.
    fn reads(self, generation: &Generation, found: Version, carry: &Bytes) -> bool {
        match self {
            Target::Client(_) => false,
            Target::Server(server, version) => {
                let id = generation.manifest().id(found);
                let by_pack = generation.manifest().versions.get(version.index());
                let reads = server.reads.iter().any(|read| read == id)
                    || by_pack.is_some_and(|info| info.reads.contains(&found));
                reads && carry.is_empty()
            }
        }
    }
}
