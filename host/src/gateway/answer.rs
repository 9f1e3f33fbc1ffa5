//! Answers: what is learned from them, what clients are told, and problem documents.

use bytes::{Bytes, BytesMut};
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, RETRY_AFTER, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::codec;
use super::edits::Edits;
use super::pointer::{Lost, Pointer, splice};
use super::problem::{Owner, Refusal, Refused, quoted};
use super::request::Ctx;
use super::session::{IdPlace, Kind, is_id};
use super::state::{Carrier, State};
use super::translate::{Target, entry};
use crate::contract::Version;
use crate::directory::{Entry, Guard};
use crate::generation::Generation;
use crate::limits::{Mode, OnFailure};
use crate::router::Tier;

/// Says where a request went and why, if the configuration asks for it.
const EXPLAIN: HeaderName = HeaderName::from_static("unskew-explain");

/// Headers that begin like this are ours: whatever clients or servers send under such a name is dropped.
pub(crate) const OURS: &str = "unskew-";

/// Headers that no longer hold once a body is translated.
pub(crate) const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// What the body of an answer has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learned {
    Nothing,
    /// The session that was made; its writer is to be noted.
    Session,
}

impl State {
    /// Looks at the head of an answer: strips what is ours, learns the session, translates a record in a header.
    pub(crate) async fn read_head(
        &self,
        ctx: &mut Ctx,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<Edits, Refusal> {
        let mut edits = Edits::default();
        if status.is_informational() {
            return Ok(edits);
        }
        edits.remove_forged(headers, OURS);
        ctx.answered = Some(status);
        if ctx.rule.is_some() && status.is_success() {
            self.learn_from_head(ctx, headers).await;
        }
        self.translate_header(ctx, headers, &mut edits).await?;
        self.explain(ctx, &mut edits);
        Ok(edits)
    }

    /// The body of an answer as clients get it, with what that changes in its head.
    pub(crate) async fn read_whole(
        &self,
        ctx: &mut Ctx,
        status: StatusCode,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<(Bytes, Edits), Refusal> {
        let body = self.for_clients(ctx, status, headers, body).await?;
        let mut edits = Edits::default();
        self.explain(ctx, &mut edits);
        if ctx.answer_changed {
            edits.remove_all(headers, &DIGESTS);
            // Other bytes than the server's: its tag holds for their meaning only.
            let tag = headers.get(ETAG).and_then(|tag| tag.to_str().ok()).filter(|tag| tag.starts_with('"'));
            if let Some(weak) = tag.and_then(|tag| HeaderValue::from_str(&format!("W/{tag}")).ok()) {
                edits.set(ETAG, weak);
            }
        }
        edits.remove(TRANSFER_ENCODING);
        if !is_bodyless(status) {
            edits.set(CONTENT_LENGTH, body.len());
        }
        Ok((body, edits))
    }

    /// Looks at the body of an answer for the session id of a create. Where it has learned one, its writer is to be noted.
    pub(crate) fn read_body(&self, ctx: &mut Ctx, piece: Option<&Bytes>, end: bool) -> Learned {
        let Some(learning) = &mut ctx.learning else { return Learned::Nothing };
        if let Some(piece) = piece {
            learning.extend_from_slice(piece);
        }
        if learning.len() > self.longest(ctx) {
            ctx.learning = None;
            self.counters.unidentified.one();
        } else if end
            && let Some(body) = ctx.learning.take()
            && let Some(IdPlace::ResponseBody(pointer)) = ctx.rule.as_ref().map(|rule| rule.id.clone())
        {
            match pointer.text(&body) {
                Ok(id) if is_id(&id) => {
                    ctx.session = Some(id);
                    return Learned::Session;
                }
                Ok(_) | Err(_) => self.counters.unidentified.one(),
            }
        }
        Learned::Nothing
    }

    /// Adds the line that says where the request went and why.
    fn explain(&self, ctx: &Ctx, edits: &mut Edits) {
        if !self.config.explain {
            return;
        }
        let mut line = match (&ctx.placed, &ctx.refusal) {
            (_, Some(refusal)) => format!("refused={}; reason={}", refusal.kind.as_str(), quoted(&refusal.detail)),
            (Some(placed), None) => {
                let server = placed.server();
                let matrix = ctx.generation.as_deref().map(Generation::matrix);
                let reason = placed.reason.with(&placed.members.fleet, matrix).to_string();
                let (name, version, reason) = (quoted(&server.name), quoted(&server.version), quoted(&reason));
                format!("server={name}; version={version}; tier={}; reason={reason}", placed.tier)
            }
            (None, None) => "refused=unknown".to_string(),
        };
        if let (Some((from, to)), Some(generation)) = (ctx.translated, &ctx.generation) {
            let (from, to) = (quoted(generation.manifest().id(from)), quoted(generation.manifest().id(to)));
            let counts = ctx.counts;
            let (carried, restored, lost) = (counts.carried, counts.restored, counts.lost);
            line += &format!("; from={from}; to={to}; carried={carried}; restored={restored}; lost={lost}");
        }
        if let Some(why) = ctx.passes {
            line += &format!("; passes={}", quoted(why));
        }
        if let Some(what) = ctx.carry_in {
            line += &format!("; carry-in={what}");
        }
        if let Some(what) = ctx.carry_out {
            line += &format!("; carry-out={what}");
        }
        if let Some(would) = &ctx.would {
            line += &format!("; would={}", quoted(would));
        }
        line += match ctx.mode {
            Mode::Off => "; mode=off",
            Mode::Observe => "; mode=observe",
            Mode::Enforce => "; mode=enforce",
        };
        // `quoted` leaves printable ASCII only, so the line is a header value.
        if let Ok(value) = HeaderValue::from_str(&line) {
            edits.set(EXPLAIN, value);
        }
    }

    /// Counts where the request went, and logs the decision for those who ask for it; its spans go out.
    pub(crate) fn log(&self, ctx: &Ctx) {
        if let Some(spans) = &self.spans {
            ctx.trace_over(spans);
        }
        let Some(placed) = ctx.placed.as_ref().filter(|_| ctx.refusal.is_none()) else { return };
        match placed.tier {
            Tier::Native => self.counters.native.one(),
            Tier::Exact => self.counters.exact.one(),
            Tier::Carried => self.counters.with_carry.one(),
            Tier::Lossy => self.counters.lossy.one(),
            Tier::Unknown => self.counters.unknown.one(),
        }
        if let Some(generation) = &ctx.generation {
            generation.meter().routed(placed.tier);
        }
        if let Some(decisions) = &self.decisions {
            decisions.note(ctx);
        }
        tracing::debug!(
            target: "unskew::decision",
            trace = ctx.trace.as_ref().map(tracing::field::display),
            session = ctx.session.as_deref().unwrap_or_default(),
            server = %placed.server().name,
            version = %placed.server().version,
            tier = %placed.tier,
            pack.revision = ctx.generation.as_ref().map(|generation| generation.manifest().revision),
            carried = ctx.counts.carried,
            restored = ctx.counts.restored,
            lost = ctx.counts.lost,
            carry.r#in = ctx.carry_in,
            carry.out = ctx.carry_out,
            "request is forwarded"
        );
    }

    /// How much of a body is held back for a record or an id.
    pub(crate) fn longest(&self, ctx: &Ctx) -> usize {
        let limit = ctx.generation.as_ref().map(|generation| generation.manifest().policy.max_bytes);
        limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(UNRULED_BYTES)
    }

    /// Notes who wrote the session's record, where nothing better is known.
    pub(crate) async fn note_writer(&self, ctx: &Ctx) {
        if let Some((session, entry)) = written(ctx) {
            self.sessions.note(session, entry, Guard::UnlessCarry).await;
        }
    }

    /// The same for who can't wait as a future does.
    pub(crate) fn note_writer_now(&self, ctx: &Ctx) {
        if let Some((session, entry)) = written(ctx) {
            self.sessions.note_now(session, entry, Guard::UnlessCarry);
        }
    }

    async fn learn_from_head(&self, ctx: &mut Ctx, headers: &HeaderMap) {
        match (ctx.kind(), ctx.rule.as_ref().map(|rule| rule.id.clone())) {
            (Some(Kind::End), _) => {
                if let Some(session) = &ctx.session {
                    self.sessions.forget(session).await;
                }
            }
            (_, Some(IdPlace::ResponseHeader(name))) => {
                let id = headers.get(&name).and_then(|value| value.to_str().ok()).filter(|id| is_id(id));
                match id {
                    Some(id) => {
                        ctx.session = Some(id.to_string());
                        self.note_writer(ctx).await;
                    }
                    None => self.counters.unidentified.one(),
                }
            }
            (_, Some(IdPlace::ResponseBody(_))) => {
                if headers.contains_key(CONTENT_ENCODING) {
                    self.counters.unidentified.one();
                } else {
                    ctx.learning = Some(BytesMut::new());
                }
            }
            (Some(Kind::Create), _) => self.note_writer(ctx).await,
            (Some(Kind::Join) | None, _) => {}
        }
    }

    async fn translate_header(&self, ctx: &mut Ctx, headers: &HeaderMap, edits: &mut Edits) -> Result<(), Refusal> {
        let Carrier::Head { place, encoding } = &self.carrier else { return Ok(()) };
        let values = place.in_answer(headers);
        let Some(record) = values.first().and_then(|value| codec::decode(value, *encoding)) else { return Ok(()) };
        let translated = match self.client_version(ctx) {
            Some(client) => self.for_client(ctx, record.clone(), client).await?,
            None => None,
        };
        let sealed = self.carry_out(ctx, translated.as_ref().unwrap_or(&record)).await?;
        let several = self.inline(ctx).is_some() && values.len() > 1;
        let record = match sealed.or(translated) {
            Some(record) => record,
            None if several => record, // clients get the one that was looked at
            None => return Ok(()),
        };
        let value = codec::encode(&record, *encoding).ok_or_else(|| {
            let detail = format!("the translated record can't stand in the {place}: use an encoding of base64");
            Refusal::new(Refused::BadAnswer, detail)
        })?;
        place.lay_into_answer(headers, &value, edits);
        Ok(())
    }

    /// The version that records in this request's answer are brought to, if they are.
    pub(crate) fn client_version(&self, ctx: &Ctx) -> Option<Version> {
        let acts = ctx.mode == Mode::Enforce && ctx.rule.is_some();
        let id = self.config.record.client_version.as_ref().filter(|_| acts)?;
        ctx.generation.as_ref()?.version(id)
    }

    /// A record of an answer, as clients read it; none where it stays as it is.
    pub(crate) async fn for_client(
        &self,
        ctx: &mut Ctx,
        record: Bytes,
        client: Version,
    ) -> Result<Option<Bytes>, Refusal> {
        let Some(generation) = ctx.generation.clone() else { return Ok(None) };
        let carry = match &ctx.kept {
            Some(kept) => kept.clone(),
            None => self.carry_of(ctx).await,
        };
        let target = Target::Client(client);
        let Some(translation) = self.normalize(ctx, &generation, (&record, &carry), target, Owner::Server).await?
        else {
            return Ok(None);
        };
        if let Some(session) = ctx.session.as_ref().filter(|_| self.carrier.comes_back()) {
            let writer = ctx.placed.as_ref().map(|placed| placed.server().name.clone());
            self.note(ctx, session, generation.manifest().id(client), writer.as_deref(), translation.carry.into())
                .await;
        }
        Ok(Some(translation.record.into()))
    }

    async fn for_clients(
        &self,
        ctx: &mut Ctx,
        status: StatusCode,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Bytes, Refusal> {
        let Some(pointer) = self.held_pointer(ctx) else { return Ok(body) };
        // A server's own error is no record, and neither is what we can't read: only a carry is looked for in it.
        let problem =
            headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/problem"));
        let client = self.client_version(ctx).filter(|_| !problem && status.is_success());
        let inline = self.inline(ctx).is_some();
        if body.is_empty() || (client.is_none() && !inline) {
            return Ok(body);
        }
        if headers.contains_key(CONTENT_ENCODING) {
            let detail = "the answer is compressed, though it was asked for as it is: its carry can't be sealed";
            return if inline { Err(Refusal::new(Refused::BadAnswer, detail)) } else { Ok(body) };
        }
        let place = match pointer.find(&body) {
            Ok(place) => place,
            Err(Lost::Absent | Lost::NotJson) if client.is_none() => return Ok(body),
            Err(lost) => {
                let taken = ctx.take_lost(self, lost, Owner::Server).map(|()| body);
                return taken.map_err(|refusal| Refusal { kind: Refused::BadAnswer, ..refusal });
            }
        };
        let record = body.slice(place.clone());
        let translated = match client {
            Some(client) => self.for_client(ctx, record.clone(), client).await?,
            None => None,
        };
        let sealed = self.carry_out(ctx, translated.as_ref().unwrap_or(&record)).await?;
        match sealed.or(translated) {
            Some(record) => {
                ctx.answer_changed = true;
                Ok(splice(&body, place, &record))
            }
            None => Ok(body),
        }
    }

    /// Where records stand in answers that are translated, or whose carry is sealed, for clients.
    fn held_pointer(&self, ctx: &Ctx) -> Option<&Pointer> {
        let inline = || ctx.generation.as_ref().is_some_and(|generation| generation.carry_member().is_some());
        match &self.carrier {
            Carrier::Body { response: Some(pointer), .. }
                if self.config.record.client_version.is_some() || inline() =>
            {
                Some(pointer)
            }
            Carrier::Body { .. } | Carrier::None | Carrier::Head { .. } | Carrier::Store { .. } => None,
        }
    }

    /// Whether some answers are held back until their record is translated for clients.
    pub(crate) fn holds_some(&self, ctx: &Ctx) -> bool {
        self.held_pointer(ctx).is_some()
    }

    /// The answer to an answer that is longer than a record may be: refused, or, where the policy is open and no carry
    /// could slip through, none.
    pub(crate) fn overlong_answer(&self, ctx: &Ctx) -> Result<(), Refusal> {
        let inline = ctx.generation.as_ref().is_some_and(|generation| generation.carry_member().is_some());
        if self.failure.call == OnFailure::Open && !inline {
            return Ok(());
        }
        let limit = self.longest(ctx);
        let detail = format!(
            "the answer is longer than the {limit} bytes that a record may have (policy.max_bytes of the pack)"
        );
        Err(Refusal::new(Refused::BadAnswer, detail))
    }

    /// The problem document that a client gets in place of an answer.
    pub(crate) fn problem(&self, ctx: &Ctx, refusal: &Refusal) -> Response<Bytes> {
        let document = refusal.json();
        let mut edits = Edits::default();
        edits.set(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        edits.set(CONTENT_LENGTH, document.len());
        edits.set(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // `quoted` leaves printable ASCII only, so this is a header value.
        if let Ok(value) = HeaderValue::from_str(&refusal.proxy_status()) {
            edits.set(PROXY_STATUS, value);
        }
        if matches!(refusal.kind, Refused::Race | Refused::NoServer | Refused::StoreFailed) {
            edits.set(RETRY_AFTER, 1);
        }
        self.explain(ctx, &mut edits);
        let mut answer = Response::new(Bytes::from(document));
        *answer.status_mut() = refusal.kind.status();
        edits.apply(answer.headers_mut());
        answer
    }
}

/// The request's session, and what is known of it by the server that has answered.
fn written(ctx: &Ctx) -> Option<(&str, Entry)> {
    let (session, server) = (ctx.session.as_deref()?, ctx.placed.as_ref()?.server());
    Some((session, entry(ctx, &server.version, Some(&server.name), Bytes::new())))
}

/// Whether an answer of this status has no body, whatever its head says.
pub(crate) fn is_bodyless(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// How much of a body is held back where no pack says how long a record may be.
const UNRULED_BYTES: usize = 64 << 10;
