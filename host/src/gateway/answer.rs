//! Answers: what is learned from them, what clients are told, and problem documents.

use bytes::{Bytes, BytesMut};
use http::HeaderName;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use super::codec;
use super::problem::{Owner, Refusal, Refused, quoted};
use super::request::{Ctx, REPLAY_BYTES};
use super::session::{IdPlace, Kind, is_id};
use super::state::{Carrier, State};
use super::translate::Target;
use crate::contract::Version;
use crate::generation::Generation;
use crate::limits::Mode;
use crate::router::Tier;

/// Says where a request went and why, if the configuration asks for it.
pub(crate) const EXPLAIN: HeaderName = HeaderName::from_static("unskew-explain");

/// Headers that begin like this are ours: whatever clients or servers send under such a name is dropped.
pub(crate) const OURS: &str = "unskew-";

/// Headers that no longer hold once a body is translated.
pub(crate) const DIGESTS: [&str; 4] = ["content-digest", "repr-digest", "digest", "content-md5"];

impl State {
    /// Looks at the head of an answer: strips what is ours, learns the session, translates a record in a header.
    pub(crate) async fn read_head(&self, ctx: &mut Ctx, head: &mut ResponseHeader) -> Result<(), Refusal> {
        if head.status.is_informational() {
            return Ok(());
        }
        let forged: Vec<HeaderName> =
            head.headers.keys().filter(|name| name.as_str().starts_with(OURS)).cloned().collect();
        for name in forged {
            head.remove_header(&name);
        }
        if ctx.rule.is_some() && head.status.is_success() {
            self.learn_from_head(ctx, head);
        }
        self.translate_header(ctx, head).await?;
        self.explain(ctx, head);
        Ok(())
    }

    /// Looks at the body of an answer for the session id of a create.
    pub(crate) fn read_body(&self, ctx: &mut Ctx, piece: Option<&Bytes>, end: bool) {
        let Some(learning) = &mut ctx.learning else { return };
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
                    self.note_writer(ctx);
                }
                Ok(_) | Err(_) => self.counters.unidentified.one(),
            }
        }
    }

    /// Adds the line that says where the request went and why.
    pub(crate) fn explain(&self, ctx: &Ctx, head: &mut ResponseHeader) {
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
        if let Ok(value) = http::HeaderValue::from_str(&line) {
            let _ = head.insert_header(EXPLAIN, value);
        }
    }

    /// A client whose connection ends after this answer is told so, and sends its next request on another one.
    pub(crate) fn close_when_stopping(&self, session: &mut Session) {
        if self.is_stopping() {
            session.set_keepalive(None);
        }
    }

    /// Counts where the request went, and logs the decision for those who ask for it.
    pub(crate) fn log(&self, ctx: &Ctx) {
        let Some(placed) = ctx.placed.as_ref().filter(|_| ctx.refusal.is_none()) else { return };
        match placed.tier {
            Tier::Native => self.counters.native.one(),
            Tier::Exact => self.counters.exact.one(),
            Tier::Carried => self.counters.with_carry.one(),
            Tier::Lossy => self.counters.lossy.one(),
            Tier::Unknown => self.counters.unknown.one(),
        }
        if let Some(generation) = &ctx.generation {
            generation.meter().routed(placed.tier.as_str());
        }
        tracing::debug!(
            target: "unskew::decision",
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
        limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(REPLAY_BYTES)
    }

    /// Notes who wrote the session's record, where nothing better is known.
    fn note_writer(&self, ctx: &Ctx) {
        if let (Some(session), Some(placed)) = (&ctx.session, &ctx.placed)
            && self.directory.get(session).is_none_or(|entry| entry.carry.is_empty())
        {
            let server = placed.server();
            self.note(ctx, session, &server.version, Some(&server.name), Bytes::new());
        }
    }

    fn learn_from_head(&self, ctx: &mut Ctx, head: &ResponseHeader) {
        match (ctx.kind(), ctx.rule.as_ref().map(|rule| rule.id.clone())) {
            (Some(Kind::End), _) => {
                if let Some(session) = &ctx.session {
                    self.directory.forget(session);
                }
            }
            (_, Some(IdPlace::ResponseHeader(name))) => {
                let id = head.headers.get(&name).and_then(|value| value.to_str().ok()).filter(|id| is_id(id));
                match id {
                    Some(id) => {
                        ctx.session = Some(id.to_string());
                        self.note_writer(ctx);
                    }
                    None => self.counters.unidentified.one(),
                }
            }
            (_, Some(IdPlace::ResponseBody(_))) => {
                if head.headers.contains_key(CONTENT_ENCODING) {
                    self.counters.unidentified.one();
                } else {
                    ctx.learning = Some(BytesMut::new());
                }
            }
            (Some(Kind::Create), _) => self.note_writer(ctx),
            (Some(Kind::Join) | None, _) => {}
        }
    }

    async fn translate_header(&self, ctx: &mut Ctx, head: &mut ResponseHeader) -> Result<(), Refusal> {
        let Carrier::Header { name, encoding } = &self.carrier else { return Ok(()) };
        let Some(record) = head.headers.get(name).and_then(|value| codec::decode(value.as_bytes(), *encoding)) else {
            return Ok(());
        };
        let translated = match self.client_version(ctx) {
            Some(client) => self.for_client(ctx, record.clone(), client).await?,
            None => None,
        };
        let sealed = self.carry_out(ctx, translated.as_ref().unwrap_or(&record)).await?;
        let several = self.inline(ctx).is_some() && head.headers.get_all(name).iter().count() > 1;
        let record = match sealed.or(translated) {
            Some(record) => record,
            None if several => record, // clients get the one that was looked at
            None => return Ok(()),
        };
        let value = codec::encode(&record, *encoding).ok_or_else(|| {
            let detail = format!("the translated record can't stand in the header {name}: use an encoding of base64");
            Refusal::new(Refused::BadAnswer, detail)
        })?;
        let _ = head.insert_header(name.clone(), value);
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
        let carry = ctx.kept.clone().unwrap_or_else(|| self.carry_of(ctx));
        let target = Target::Client(client);
        let Some(translation) = self.normalize(ctx, &generation, (&record, &carry), target, Owner::Server).await?
        else {
            return Ok(None);
        };
        if let Some(session) = ctx.session.as_ref().filter(|_| self.carrier.comes_back()) {
            let writer = ctx.placed.as_ref().map(|placed| placed.server().name.clone());
            self.note(ctx, session, generation.manifest().id(client), writer.as_deref(), translation.carry.into());
        }
        Ok(Some(translation.record.into()))
    }

    /// Answers with a problem document.
    pub(crate) async fn write_problem(
        &self,
        ctx: &Ctx,
        session: &mut Session,
        refusal: &Refusal,
    ) -> pingora::Result<()> {
        let document = refusal.json();
        let mut head = ResponseHeader::build(refusal.kind.status(), Some(6))?;
        head.insert_header(CONTENT_TYPE, "application/problem+json")?;
        head.insert_header(CONTENT_LENGTH, document.len())?;
        head.insert_header(CACHE_CONTROL, "no-store")?;
        head.insert_header("proxy-status", refusal.proxy_status())?;
        if matches!(refusal.kind, Refused::Race | Refused::NoServer | Refused::StoreFailed) {
            head.insert_header(RETRY_AFTER, "1")?;
        }
        self.explain(ctx, &mut head);
        self.close_when_stopping(session);
        let bodyless = session.req_header().method == http::Method::HEAD;
        session.write_response_header(Box::new(head), bodyless).await?;
        if !bodyless {
            session.write_response_body(Some(document.into()), true).await?;
        }
        Ok(())
    }
}
