//! Chooses the server of a request and makes its record readable for it: in the request, or in the store.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, EXPECT, RANGE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue};

use super::answer::{DIGESTS, OURS};
use super::codec;
use super::edits::Edits;
use super::pointer::splice;
use super::problem::{Owner, Refusal, Refused};
use super::request::{Body, Ctx, Placed, RecordPlace, Streamed};
use super::session::{IdPlace, Kind};
use super::state::{Carrier, Members, State};
use super::translate::{Found, Target};
use crate::contract::Version;
use crate::directory::Entry;
use crate::fleet::Fleet;
use crate::generation::Generation;
use crate::limits::{Mode, OnFailure};
use crate::matrix::Matrix;
use crate::router::{Ask, Decision, Held, Load, Tier, route};
use crate::store::{CasOutcome, Stored};

impl State {
    /// Chooses a server among those that have not failed this request yet, and makes the record readable for it.
    pub(crate) async fn place(&self, ctx: &mut Ctx) -> Result<(), Refusal> {
        let members = self.members();
        let fleet = ctx.reachable(&members);
        (ctx.placed, ctx.seen) = (None, None);
        ctx.trace_deciding();
        let ruled = ctx.rule.is_some();
        let placed = match (ctx.mode, ctx.generation.clone()) {
            (Mode::Enforce, Some(generation)) if ruled => self.place_by_rules(ctx, &members, &fleet, &generation).await,
            (Mode::Enforce, None) if ruled && self.config.has_rules() && self.failure.load == OnFailure::Closed => {
                Err(Refusal::new(
                    Refused::NoRules,
                    "no rule pack could be loaded, and policy.on_load_failure is \"closed\"",
                ))
            }
            (Mode::Observe, Some(generation)) if ruled && ctx.would.is_none() => {
                self.observe(ctx, &members, &fleet, &generation).await;
                self.place_plainly(ctx, &members, &fleet)
            }
            (Mode::Off | Mode::Observe | Mode::Enforce, _) => self.place_plainly(ctx, &members, &fleet),
        };
        placed.and_then(|()| self.lay_cleared(ctx))
    }

    /// Looks at the stored record again, right before the request goes out, and makes it fit the server if somebody
    /// wrote it in between.
    pub(crate) async fn confirm(&self, ctx: &mut Ctx) -> Result<(), Refusal> {
        let (Some(seen), Some(generation), Some(placed)) = (&ctx.seen, ctx.generation.clone(), &ctx.placed) else {
            return Ok(());
        };
        let (members, server) = (placed.members.clone(), placed.server);
        if self.stored(ctx).await?.is_none_or(|now| now.tag == *seen) {
            return Ok(());
        }
        self.counters.races.one();
        let only = members.fleet.with_health(|index| index == server);
        self.place_stored(ctx, &members, &only, &generation).await
    }

    /// What is changed in the head of a request that goes to its server.
    pub(crate) fn request_edits(&self, ctx: &Ctx, headers: &HeaderMap) -> Edits {
        let mut edits = Edits::default();
        edits.remove_forged(headers, OURS);
        if let (Some(trace), Mode::Enforce) = (&ctx.trace, ctx.mode) {
            trace.hand_on(headers, &mut edits);
        }
        if matches!(ctx.body, Body::Whole(_)) {
            edits.remove_all(headers, &[EXPECT]); // the body is here already
        }
        let acts = ctx.mode == Mode::Enforce;
        let learns = matches!(ctx.rule.as_ref().map(|rule| &rule.id), Some(IdPlace::ResponseBody(_)));
        if acts && (learns || (ctx.rule.is_some() && self.holds_some(ctx))) {
            edits.set(ACCEPT_ENCODING, HeaderValue::from_static("identity")); // what is compressed can't be read,
            edits.remove_all(headers, &[RANGE]); // nor can a part of it
        }
        let Some(placed) = &ctx.placed else { return edits };
        if let (Some(value), Carrier::Head { place, .. }) = (&placed.header, &self.carrier) {
            place.lay_into_request(headers, value, &mut edits);
        }
        if placed.body.is_some() || placed.streams_to.is_some() {
            edits.remove_all(headers, &DIGESTS);
        }
        if let Some(body) = &placed.body {
            edits.remove_all(headers, &[TRANSFER_ENCODING]);
            edits.set(CONTENT_LENGTH, body.len());
        } else if placed.streams_to.is_some() {
            edits.remove_all(headers, &[CONTENT_LENGTH]); // not known before the last byte: it is sent in chunks
        }
        edits
    }

    /// What becomes of a body that is longer than a record may be, where its record would be translated: the request is
    /// refused, or, where the policy is open and no carry could slip through, it passes as it is.
    pub(crate) fn overlong_body(&self, ctx: &mut Ctx) -> Result<(), Refusal> {
        if self.failure.call == OnFailure::Closed || self.inline(ctx).is_some() {
            let limit = self.longest(ctx);
            let detail = format!(
                "the body is longer than the {limit} bytes that a record may have (policy.max_bytes of the pack)"
            );
            return Err(Refusal::new(Refused::RecordTooLarge, detail));
        }
        self.counters.passed_open.one();
        if let Some(placed) = &mut ctx.placed {
            placed.streams_to = None;
        }
        Ok(())
    }

    fn place_plainly(&self, ctx: &mut Ctx, members: &Arc<Members>, fleet: &Fleet) -> Result<(), Refusal> {
        let ask = Ask { session: ctx.route_key(), record: None, load: Load::of(&members.in_flight) };
        let decision = route(&ask, fleet, None);
        self.take(ctx, members, None, decision).map(drop)
    }

    async fn place_by_rules(
        &self,
        ctx: &mut Ctx,
        members: &Arc<Members>,
        fleet: &Fleet,
        generation: &Arc<Generation>,
    ) -> Result<(), Refusal> {
        if matches!(self.carrier, Carrier::Store { .. }) && self.store.is_some() && ctx.session.is_some() {
            return self.place_stored(ctx, members, fleet, generation).await;
        }
        let held = self.held(ctx, fleet, generation).await?;
        let ask = Ask { session: ctx.route_key(), record: held, load: Load::of(&members.in_flight) };
        let decision = generation.route(&ask, fleet);
        let tier = self.take(ctx, members, Some(generation.matrix()), decision)?;
        let version = self.version_of_server(ctx, generation);
        let cleared = self.inline(ctx).map(|_| Streamed::Cleared);
        if let (Body::Streams { .. }, Carrier::Body { request: Some(_), .. }, Some(placed)) =
            (&ctx.body, &self.carrier, &mut ctx.placed)
        {
            placed.streams_to = version.map(Streamed::To).or(cleared);
        }
        let Some(version) = version else { return Ok(()) };
        let (Some(held), true, Some(record)) = (held, tier.translates(), &ctx.record) else { return Ok(()) };
        let (record, place) = (record.bytes.clone(), record.place.clone());
        let carry = ctx.carry();
        let pair = (held.version, version);
        let Some(translation) = self.translate(ctx, generation, (&record, &carry), pair, Owner::Client).await? else {
            return Ok(());
        };
        let Some(placed) = &mut ctx.placed else { return Ok(()) };
        match (place, &ctx.body, &self.carrier) {
            (RecordPlace::Body(place), Body::Whole(body), _) => {
                placed.body = Some(splice(body, place, &translation.record));
            }
            (RecordPlace::Header, _, Carrier::Head { place, encoding }) => {
                let value = codec::encode(&translation.record, *encoding).ok_or_else(|| {
                    let detail = format!("the translated record can't stand in the {place}: use an encoding of base64");
                    Refusal::new(Refused::BadRecord, detail)
                })?;
                placed.header = Some(value);
            }
            (RecordPlace::Body(_) | RecordPlace::Header, _, _) => {}
        }
        let kept = Bytes::from(translation.carry);
        ctx.kept = Some(kept.clone());
        if let (Some(session), Some(placed)) = (&ctx.session, &ctx.placed) {
            let server = placed.server();
            self.note(ctx, session, &server.version, Some(&server.name), kept).await;
        }
        Ok(())
    }

    /// The store carrier: the record is read, and rewritten by compare-and-set where its server needs that.
    async fn place_stored(
        &self,
        ctx: &mut Ctx,
        members: &Arc<Members>,
        fleet: &Fleet,
        generation: &Arc<Generation>,
    ) -> Result<(), Refusal> {
        let session = ctx.session.clone().unwrap_or_default();
        let _turn = self.turn(&session).await;
        for _ in 0..=self.config.policy.retries {
            let stored = self.stored(ctx).await?;
            let entry = self.sessions.look(&session).await;
            let held = match &stored {
                Some(stored) => {
                    match self.detect(generation, &stored.bytes, (entry.as_ref(), fleet), Owner::Store).await? {
                        Found::Known(held) => Some(held),
                        Found::Passes => None,
                    }
                }
                None => None,
            };
            if stored.is_none()
                && ctx.kind() != Some(Kind::Create)
                && entry.is_some_and(|entry| !entry.carry.is_empty())
            {
                self.sessions.forget(&session).await; // a carry lives no longer than its record
            }
            let ask = Ask { session: ctx.route_key(), record: held, load: Load::of(&members.in_flight) };
            let tier = self.take(ctx, members, Some(generation.matrix()), generation.route(&ask, fleet))?;
            let Some(stored) = stored else { return Ok(()) };
            ctx.seen = Some(stored.tag.clone());
            let (Some(held), true, Some(version)) = (held, tier.translates(), self.version_of_server(ctx, generation))
            else {
                return Ok(());
            };
            let carry = self.carry_of(ctx).await;
            let pair = (held.version, version);
            let translated = self.translate(ctx, generation, (&stored.bytes, &carry), pair, Owner::Store).await?;
            let Some(translation) = translated else { return Ok(()) };
            match self.replace(ctx, &stored, translation.record.into()).await? {
                CasOutcome::Done(tag) => {
                    self.counters.rewritten.one();
                    ctx.seen = Some(tag);
                    if let Some(placed) = &ctx.placed {
                        let server = placed.server();
                        self.note(ctx, &session, &server.version, Some(&server.name), translation.carry.into()).await;
                    }
                    return Ok(());
                }
                CasOutcome::Changed => self.counters.races.one(),
                CasOutcome::Gone => {
                    self.sessions.forget(&session).await;
                    ctx.seen = None;
                    return Ok(());
                }
            }
        }
        let detail = format!(
            "the record was written by others {} times while it was being rewritten: try again",
            self.config.policy.retries + 1
        );
        Err(Refusal::new(Refused::Race, detail))
    }

    /// What is decided and counted in `observe`; nothing is changed.
    async fn observe(&self, ctx: &mut Ctx, members: &Arc<Members>, fleet: &Fleet, generation: &Arc<Generation>) {
        let stored = self.stored(ctx).await;
        let held = match stored {
            Ok(Some(stored)) => {
                let entry = self.entry_of(ctx).await;
                match self.detect(generation, &stored.bytes, (entry.as_ref(), fleet), Owner::Store).await {
                    Ok(Found::Known(held)) => Ok(Some(held)),
                    Ok(Found::Passes) => Ok(None),
                    Err(refusal) => Err(refusal),
                }
            }
            Ok(None) => self.held(ctx, fleet, generation).await,
            Err(refusal) => Err(refusal),
        };
        let held = match held {
            Ok(held) => held,
            Err(refusal) => return self.would_refuse(ctx, &refusal),
        };
        let ask = Ask { session: ctx.route_key(), record: held, load: Load::of(&members.in_flight) };
        match generation.route(&ask, fleet) {
            Decision::Refuse { reason } => {
                let reason = reason.with(fleet, Some(generation.matrix())).to_string();
                self.would_refuse(ctx, &Refusal::new(Refused::NoServer, reason));
            }
            Decision::Route { server, tier, .. } => {
                let done = if tier.translates() { "translate for" } else { "forward as it is to" };
                ctx.would = Some(format!("{done} {} ({tier})", fleet.servers()[server].name));
                if tier.translates() {
                    self.counters.would_translate.one();
                }
            }
        }
    }

    /// Notes, in `observe`, what `enforce` would have refused.
    pub(crate) fn would_refuse(&self, ctx: &mut Ctx, refusal: &Refusal) {
        self.counters.would_refuse.one();
        ctx.would = Some(format!("refuse as {}: {}", refusal.kind.as_str(), refusal.detail));
    }

    /// What is known about the record before a server is chosen: the record itself decides where it can be seen, else
    /// the directory's writer does.
    async fn held(&self, ctx: &Ctx, fleet: &Fleet, generation: &Arc<Generation>) -> Result<Option<Held>, Refusal> {
        if let Some(record) = &ctx.record {
            return match self.detect(generation, &record.bytes, (ctx.entry.as_ref(), fleet), Owner::Client).await? {
                Found::Known(held) => Ok(Some(held)),
                Found::Passes => Ok(None),
            };
        }
        Ok(ctx.entry.as_ref().and_then(|entry| self.held_by(entry, generation, fleet)))
    }

    /// Takes a decision: the server with its tier, or the refusal.
    fn take(
        &self,
        ctx: &mut Ctx,
        members: &Arc<Members>,
        matrix: Option<&Matrix>,
        decision: Decision,
    ) -> Result<Tier, Refusal> {
        let reason = decision.reason().with(&members.fleet, matrix);
        let taken = match decision {
            Decision::Route { server, tier, reason } => {
                ctx.placed = Some(Placed::new(members.clone(), server, tier, reason));
                ctx.kept = None;
                Ok(tier)
            }
            Decision::Refuse { .. } => Err(Refusal::new(Refused::NoServer, reason.to_string())),
        };
        if let Some(spans) = self.spans.as_ref().filter(|_| ctx.is_traced()) {
            ctx.trace_decided(spans, reason.to_string());
        }
        taken
    }

    fn version_of_server(&self, ctx: &Ctx, generation: &Generation) -> Option<Version> {
        ctx.placed.as_ref().and_then(|placed| generation.version(&placed.server().version))
    }

    /// The carry that the directory keeps for the request's session now.
    pub(crate) async fn carry_of(&self, ctx: &Ctx) -> Bytes {
        self.entry_of(ctx).await.map(|entry| entry.carry).unwrap_or_default()
    }

    async fn entry_of(&self, ctx: &Ctx) -> Option<Entry> {
        match &ctx.session {
            Some(session) => self.sessions.look(session).await,
            None => None,
        }
    }

    /// A body that was collected while it streamed, made readable for its server.
    pub(crate) async fn translate_streamed(&self, ctx: &mut Ctx, body: Bytes) -> Result<Bytes, Refusal> {
        let (Some(generation), Carrier::Body { request: Some(pointer), .. }) = (ctx.generation.clone(), &self.carrier)
        else {
            return Ok(body);
        };
        let Some((server, streamed)) =
            ctx.placed.as_ref().and_then(|placed| Some((placed.server().clone(), placed.streams_to?)))
        else {
            return Ok(body);
        };
        let place = match pointer.find(&body) {
            Ok(place) => place,
            Err(lost) => return ctx.take_lost(self, lost, Owner::Client).map(|()| body),
        };
        let mut record = body.slice(place.clone());
        let cleared = self.carry_in(ctx, &record).await?;
        let as_it_is = cleared.as_ref().map_or_else(|| body.clone(), |record| splice(&body, place.clone(), record));
        record = cleared.unwrap_or(record);
        let Streamed::To(version) = streamed else { return Ok(as_it_is) };
        let (carry, target) = (ctx.carry(), Target::Server(&server, version));
        let Some(translation) = self.normalize(ctx, &generation, (&record, &carry), target, Owner::Client).await?
        else {
            return Ok(as_it_is);
        };
        let kept = Bytes::from(translation.carry);
        ctx.kept = Some(kept.clone());
        if let Some(session) = &ctx.session {
            self.note(ctx, session, &server.version, Some(&server.name), kept).await;
        }
        Ok(splice(&body, place, &translation.record))
    }

    async fn stored(&self, ctx: &Ctx) -> Result<Option<Stored>, Refusal> {
        let (Some(store), Carrier::Store { key }, Some(session)) = (&self.store, &self.carrier, &ctx.session) else {
            return Ok(None);
        };
        match store.get(&key.replace("{id}", session)).await {
            Ok(stored) => Ok(stored),
            Err(error) => match self.failure.call {
                OnFailure::Open => {
                    self.counters.passed_open.one();
                    tracing::warn!(%error, "store can't be asked, the request passes");
                    Ok(None)
                }
                OnFailure::Closed => Err(Refusal::new(Refused::StoreFailed, error.to_string())),
            },
        }
    }

    async fn replace(&self, ctx: &Ctx, stored: &Stored, record: Bytes) -> Result<CasOutcome, Refusal> {
        let (Some(store), Carrier::Store { key }, Some(session)) = (&self.store, &self.carrier, &ctx.session) else {
            return Ok(CasOutcome::Gone);
        };
        let done = store.compare_and_set(&key.replace("{id}", session), &stored.tag, record).await;
        done.map_err(|error| Refusal::new(Refused::StoreFailed, error.to_string()))
    }
}
