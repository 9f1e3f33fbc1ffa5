//! The gateway's place in Pingora's phases: each of them asks `State`, and changes the request or the answer.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::HeaderName;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, EXPECT, RANGE, TRANSFER_ENCODING};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::HttpPeer;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::{Error, ErrorType};

use super::answer::{DIGESTS, OURS};
use super::failure::{is_client_gone, unclear};
use super::held::Slot;
use super::problem::{Refusal, Refused};
use super::request::{Body, Ctx};
use super::session::IdPlace;
use super::state::{Carrier, State};
use crate::limits::{Mode, OnFailure};

/// The gateway as Pingora sees it.
pub(crate) struct Gate(pub(crate) Arc<State>);

#[async_trait]
impl ProxyHttp for Gate {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx::new(&self.0)
    }

    fn allow_spawning_subrequest(&self, session: &Session, ctx: &Ctx) -> bool {
        self.0.holds_some(ctx) && session.subrequest_ctx.is_none()
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> pingora::Result<bool> {
        if let Some(refusal) = unclear(session.req_header()) {
            self.0.counters.requests.one();
            self.0.counters.refused.one();
            session.set_keepalive(None); // where its body ends is not known
            ctx.refusal = Some(refusal.clone());
            self.0.write_problem(ctx, session, &refusal).await?;
            return Ok(true);
        }
        if self.0.holds(session, ctx) {
            self.0.answer_held(session, ctx).await?;
            return Ok(true);
        }
        let answer = match ctx.gather(&self.0, session).await? {
            Ok(()) => self.0.place(ctx).await,
            Err(refusal) if ctx.mode == Mode::Observe => {
                self.0.would_refuse(ctx, &refusal);
                self.0.place(ctx).await
            }
            Err(refusal) => Err(refusal),
        };
        let Err(refusal) = answer else { return Ok(false) };
        self.0.counters.refused.one();
        ctx.refusal = Some(refusal.clone());
        self.0.write_problem(ctx, session, &refusal).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, _session: &mut Session, ctx: &mut Ctx) -> pingora::Result<Box<HttpPeer>> {
        if ctx.placed.is_none() {
            self.0.place(ctx).await.or_else(|refusal| refuse(ctx, refusal))?;
        }
        if let Body::Streams { read_before, collected } = &mut ctx.body {
            *collected = BytesMut::from(&read_before[..]);
        }
        let Some(address) = ctx.placed.as_ref().map(|placed| placed.members.address(placed.server)) else {
            return refuse(ctx, Refusal::new(Refused::Internal, "no server was chosen"));
        };
        let timeouts = &self.0.config.timeouts;
        let mut peer = HttpPeer::new(address, false, String::new());
        peer.options.connection_timeout = Some(Duration::from_millis(timeouts.connect_ms));
        peer.options.read_timeout = Some(Duration::from_millis(timeouts.read_ms));
        Ok(Box::new(peer))
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Ctx,
        mut e: Box<Error>,
    ) -> Box<Error> {
        if let Some(placed) = ctx.placed.take() {
            let name = placed.server().name.clone();
            tracing::warn!(server = %name, error = %e.etype().as_str(), "server can't be reached, another one is tried");
            ctx.tried.push(name);
            self.0.counters.rerouted.one();
        }
        e.set_retry(true); // nothing was sent yet
        e
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> pingora::Result<()> {
        let forged: Vec<HeaderName> =
            request.headers.keys().filter(|name| name.as_str().starts_with(OURS)).cloned().collect();
        for name in forged {
            request.remove_header(&name);
        }
        self.0.confirm(ctx).await.or_else(|refusal| refuse(ctx, refusal))?;
        if matches!(ctx.body, Body::Whole(_)) {
            request.remove_header(&EXPECT); // the body is here already
        }
        let acts = ctx.mode == Mode::Enforce;
        let learns = matches!(ctx.rule.as_ref().map(|rule| &rule.id), Some(IdPlace::ResponseBody(_)));
        let holds = self.0.holds_some(ctx);
        if acts && (learns || (ctx.rule.is_some() && holds)) {
            request.insert_header(ACCEPT_ENCODING, "identity")?; // what is compressed can't be read,
            request.remove_header(&RANGE); // nor can a part of it
        }
        let Some(placed) = &ctx.placed else { return Ok(()) };
        if let (Some(value), Carrier::Header { name, .. }) = (&placed.header, &self.0.carrier) {
            request.insert_header(name.clone(), value.clone())?;
        }
        if placed.body.is_some() || placed.streams_to.is_some() {
            for digest in DIGESTS {
                request.remove_header(digest);
            }
        }
        if let Some(body) = &placed.body {
            request.remove_header(&TRANSFER_ENCODING);
            request.insert_header(CONTENT_LENGTH, body.len())?;
        } else if placed.streams_to.is_some() {
            request.remove_header(&CONTENT_LENGTH); // not known before the last byte: Pingora sends it in chunks
        }
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Ctx,
    ) -> pingora::Result<()> {
        // A `None` before the end would end the body to the server: what is held back is an empty piece.
        let streams_to = ctx.placed.as_ref().and_then(|placed| placed.streams_to);
        match &mut ctx.body {
            Body::Passes => {}
            Body::Whole(_) => {
                if let Some(new) = ctx.placed.as_ref().and_then(|placed| placed.body.as_ref()) {
                    *body = Some(if end { new.clone() } else { Bytes::new() });
                }
            }
            Body::Streams { collected, .. } => {
                if let Some(piece) = body.take() {
                    collected.extend_from_slice(&piece);
                }
                let collected_bytes = collected.len();
                let limit = self.0.longest(ctx);
                let refuses = self.0.failure.call == OnFailure::Closed || self.0.inline(ctx).is_some();
                let Body::Streams { collected, .. } = &mut ctx.body else { return Ok(()) };
                if streams_to.is_some() && collected_bytes > limit {
                    if refuses {
                        let detail = format!(
                            "the body is longer than the {limit} bytes that a record may have (policy.max_bytes of the pack)"
                        );
                        return refuse(ctx, Refusal::new(Refused::RecordTooLarge, detail));
                    }
                    self.0.counters.passed_open.one();
                    *body = Some(collected.split().freeze());
                    if let Some(placed) = &mut ctx.placed {
                        placed.streams_to = None;
                    }
                } else if streams_to.is_none() {
                    let all = collected.split().freeze();
                    *body = (!all.is_empty() || !end).then_some(all);
                } else if end {
                    let all = collected.split().freeze();
                    *body = Some(self.0.translate_streamed(ctx, all).await.or_else(|refusal| refuse(ctx, refusal))?);
                } else {
                    *body = Some(Bytes::new());
                }
            }
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> pingora::Result<()> {
        self.0.close_when_stopping(session);
        self.0.read_head(ctx, head).await.or_else(|refusal| refuse(ctx, refusal))
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Ctx,
    ) -> pingora::Result<Option<Duration>> {
        self.0.read_body(ctx, body.as_ref(), end);
        Ok(None)
    }

    async fn fail_to_proxy(&self, session: &mut Session, e: &Error, ctx: &mut Ctx) -> FailToProxy {
        if is_client_gone(e) {
            tracing::debug!("client is gone");
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        }
        let refusal = match &ctx.refusal {
            Some(refusal) => refusal.clone(),
            None => ctx.refusal.insert(self.0.failure(ctx, e)).clone(),
        };
        let counters = &self.0.counters;
        if refusal.kind.is_failure() {
            counters.failed.one();
            let server = ctx.placed.as_ref().map_or("none", |placed| placed.server().name.as_str());
            let kind = refusal.kind.as_str();
            tracing::warn!(server, kind, error = e.etype().as_str(), "request failed: {}", refusal.detail);
        } else {
            counters.refused.one();
        }
        if session.response_written().is_none() {
            session.set_keepalive(None); // the request's body may not have been read
            if self.0.write_problem(ctx, session, &refusal).await.is_err() {
                tracing::debug!("client is gone");
            }
        }
        FailToProxy { error_code: refusal.kind.status().as_u16(), can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, e: Option<&Error>, ctx: &mut Ctx) {
        if e.is_none() {
            self.0.read_body(ctx, None, true); // where the end of the body came without a piece
        }
        let left = session.subrequest_ctx.as_ref().and_then(|shared| shared.user_ctx()?.downcast_ref::<Slot>());
        match left {
            Some(slot) => slot.leave(std::mem::replace(ctx, Ctx::new(&self.0))),
            None => self.0.log(ctx),
        }
    }

    fn suppress_error_log(&self, _session: &Session, ctx: &Ctx, _error: &Error) -> bool {
        ctx.refusal.as_ref().is_some_and(|refusal| !refusal.kind.is_failure())
    }
}

fn refuse<T>(ctx: &mut Ctx, refusal: Refusal) -> pingora::Result<T> {
    let status = refusal.kind.status().as_u16();
    ctx.refusal = Some(refusal);
    Err(Error::new(ErrorType::HTTPStatus(status)))
}
