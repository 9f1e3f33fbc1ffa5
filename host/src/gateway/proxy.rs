//! The gateway's place in Pingora's phases: each of them asks `State`, and changes the request or the answer.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::HttpPeer;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::{Error, ErrorType};

use super::adapter::Adapter;
use super::answer::Learned;
use super::edits::Edits;
use super::failure::{is_client_gone, unclear};
use super::held::Slot;
use super::problem::{Refusal, Refused};
use super::request::{Body, Ctx, Wanted};
use super::state::State;
use crate::limits::Mode;

/// The gateway as Pingora sees it: a [`ProxyHttp`] to run, or to hand each phase to from a proxy of one's own.
///
/// A proxy of one's own has a [`Ctx`] in its context and calls the phases that this one implements, `request_filter`,
/// `upstream_peer`, `fail_to_connect`, `upstream_request_filter`, `request_body_filter`, `response_filter`,
/// `response_body_filter`, `fail_to_proxy`, `logging`, `allow_spawning_subrequest` and `suppress_error_log`; each of them
/// is needed. Where `request_filter` answers `true`, the client has its answer. `examples/pingora.rs` is a whole one.
pub struct Gate(pub(crate) Arc<State>);

impl Gate {
    /// A gate for what this adapter describes.
    pub fn new(adapter: &Adapter) -> Gate {
        Gate(adapter.state().clone())
    }
}

#[async_trait]
impl ProxyHttp for Gate {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx::new(&self.0, REPLAY_BYTES)
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
        let answer = match self.0.gather(ctx, session).await? {
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
        self.0.confirm(ctx).await.or_else(|refusal| refuse(ctx, refusal))?;
        edit_request(&self.0.request_edits(ctx, &request.headers), request)
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
                let overlong = streams_to.is_some() && collected_bytes > self.0.longest(ctx);
                if overlong {
                    self.0.overlong_body(ctx).or_else(|refusal| refuse(ctx, refusal))?;
                }
                let Body::Streams { collected, .. } = &mut ctx.body else { return Ok(()) };
                if overlong {
                    *body = Some(collected.split().freeze());
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
        let edits = self.0.read_head(ctx, head.status, &head.headers).await;
        edit_answer(&edits.or_else(|refusal| refuse(ctx, refusal))?, head)
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Ctx,
    ) -> pingora::Result<Option<Duration>> {
        if self.0.read_body(ctx, body.as_ref(), end) == Learned::Session {
            self.0.note_writer_now(ctx); // before the client has the last byte, and Pingora waits for no future here
        }
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
            // Where the end of the body came without a piece.
            if self.0.read_body(ctx, None, true) == Learned::Session {
                self.0.note_writer(ctx).await;
            }
        }
        let left = session.subrequest_ctx.as_ref().and_then(|shared| shared.user_ctx()?.downcast_ref::<Slot>());
        match left {
            Some(slot) => slot.leave(std::mem::replace(ctx, Ctx::new(&self.0, REPLAY_BYTES))),
            None => self.0.log(ctx),
        }
    }

    fn suppress_error_log(&self, _session: &Session, ctx: &Ctx, _error: &Error) -> bool {
        ctx.refusal.as_ref().is_some_and(|refusal| !refusal.kind.is_failure())
    }
}

impl State {
    /// Finds out what the request is about: its rule, its session, and the record that it brings, as far as these can
    /// be known before a server is chosen.
    async fn gather(&self, ctx: &mut Ctx, session: &mut Session) -> pingora::Result<Result<(), Refusal>> {
        match ctx.look(self, session.req_header()) {
            Ok(Wanted::Nothing) => {}
            Ok(Wanted::Body) => ctx.body = read_body(session).await?,
            Err(refusal) => return Ok(Err(refusal)),
        }
        Ok(ctx.settle(self).await)
    }

    /// Answers with a problem document.
    pub(crate) async fn write_problem(
        &self,
        ctx: &Ctx,
        session: &mut Session,
        refusal: &Refusal,
    ) -> pingora::Result<()> {
        let (parts, document) = self.problem(ctx, refusal).into_parts();
        let mut head = ResponseHeader::build(parts.status, Some(parts.headers.len()))?;
        for (name, value) in parts.headers.iter() {
            head.append_header(name.clone(), value.clone())?;
        }
        self.close_when_stopping(session);
        let bodyless = session.req_header().method == http::Method::HEAD;
        session.write_response_header(Box::new(head), bodyless).await?;
        if !bodyless {
            session.write_response_body(Some(document), true).await?;
        }
        Ok(())
    }

    /// A client whose connection ends after this answer is told so, and sends its next request on another one.
    pub(crate) fn close_when_stopping(&self, session: &mut Session) {
        if self.is_stopping() {
            session.set_keepalive(None);
        }
    }
}

/// Pingora keeps this much of a request's body to send it again; a longer body can't be read before its server is
/// chosen.
const REPLAY_BYTES: usize = 64 << 10;

/// The body of a request as far as it can be read before its server is chosen.
async fn read_body(session: &mut Session) -> pingora::Result<Body> {
    if session.as_downstream_mut().is_body_empty() {
        return Ok(Body::Passes);
    }
    let headers = &session.req_header().headers;
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > REPLAY_BYTES) {
        return Ok(Body::Streams { read_before: Bytes::new(), collected: BytesMut::new() });
    }
    if headers.contains_key(EXPECT) {
        session.as_downstream_mut().write_continue_response().await.map_err(Error::into_down)?;
    }
    let downstream = session.as_downstream_mut();
    downstream.enable_retry_buffering();
    let mut read = BytesMut::new();
    while let Some(piece) = downstream.read_request_body().await.map_err(Error::into_down)? {
        read.extend_from_slice(&piece);
        if downstream.retry_buffer_truncated() {
            // Only a chunked body gets here, and one that is not at its end: its last chunk is a read of its own.
            return Ok(Body::Streams { read_before: read.freeze(), collected: BytesMut::new() });
        }
    }
    Ok(if read.is_empty() { Body::Passes } else { Body::Whole(read.freeze()) })
}

fn edit_request(edits: &Edits, head: &mut RequestHeader) -> pingora::Result<()> {
    for name in &edits.remove {
        head.remove_header(name);
    }
    for (index, (name, value)) in edits.set.iter().enumerate() {
        match edits.is_first(index) {
            true => head.insert_header(name.clone(), value.clone())?,
            false => drop(head.append_header(name.clone(), value.clone())?),
        }
    }
    Ok(())
}

/// Makes changes to the head of an answer.
pub(crate) fn edit_answer(edits: &Edits, head: &mut ResponseHeader) -> pingora::Result<()> {
    for name in &edits.remove {
        head.remove_header(name);
    }
    for (index, (name, value)) in edits.set.iter().enumerate() {
        match edits.is_first(index) {
            true => head.insert_header(name.clone(), value.clone())?,
            false => drop(head.append_header(name.clone(), value.clone())?),
        }
    }
    Ok(())
}

fn refuse<T>(ctx: &mut Ctx, refusal: Refusal) -> pingora::Result<T> {
    let status = refusal.kind.status().as_u16();
    ctx.refusal = Some(refusal);
    Err(Error::new(ErrorType::HTTPStatus(status)))
}
