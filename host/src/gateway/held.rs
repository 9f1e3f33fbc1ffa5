//! Holds an answer back until its record is translated for clients, so that a failure can still be told by a status.
//!
//! Pingora sends the head of an answer before it has read the body. So a request whose answer brings a record runs as
//! a subrequest of itself; what comes out is collected here, translated, and sent with its true length.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, EXPECT, TRANSFER_ENCODING};
use http::{Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::protocols::http::HttpTask;
use pingora::proxy::Session;
use pingora::proxy::subrequest::pipe::{InputBodyType, pipe_subrequest};
use pingora::proxy::subrequest::{BodyMode, Ctx as SubrequestCtx};
use pingora::{Error, ErrorSource, ErrorType};

use super::answer::DIGESTS;
use super::pointer::{Lost, Pointer, splice};
use super::problem::{Owner, Refusal, Refused};
use super::request::Ctx;
use super::state::{Carrier, State};
use crate::limits::{Mode, OnFailure};

const TOO_LARGE: ErrorType = ErrorType::new("AnswerTooLarge");

/// Where the subrequest leaves its context when it ends.
#[derive(Clone, Default)]
pub(crate) struct Slot(Arc<Mutex<Option<Ctx>>>);

impl Slot {
    pub(crate) fn leave(&self, ctx: Ctx) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(ctx);
    }

    fn take(&self) -> Option<Ctx> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What has come of the answer so far.
#[derive(Default)]
struct Collected {
    head: Option<Box<ResponseHeader>>,
    body: BytesMut,
    /// Whether the head was sent because the answer is too long to be held.
    overflows: bool,
}

impl State {
    /// Whether answers to this request are held back.
    pub(crate) fn holds(&self, session: &Session, ctx: &Ctx) -> bool {
        let head = session.req_header();
        self.holds_some(ctx)
            && ctx.mode == Mode::Enforce
            && ctx.generation.is_some()
            && session.subrequest_ctx.is_none()
            && head.method != Method::HEAD
            && !session.is_upgrade_req()
            && self.rules.find(head.method.as_str(), head.uri.path()).is_some()
    }

    /// Runs the request, and answers it. `Ok` when an answer was sent.
    pub(crate) async fn answer_held(&self, session: &mut Session, ctx: &mut Ctx) -> pingora::Result<()> {
        let Some(spawner) = session.subrequest_spawner.take() else {
            return Err(Error::explain(ErrorType::InternalError, "no subrequests"));
        };
        if session.req_header().headers.contains_key(EXPECT) {
            session.as_downstream_mut().write_continue_response().await?;
        }
        let slot = Slot::default();
        let shared = SubrequestCtx::builder().body_mode(BodyMode::ExpectBody).user_ctx(Box::new(slot.clone())).build();
        let (subrequest, handle) = spawner.create_subrequest(session.as_downstream(), shared);
        let limit = self.longest(ctx);
        let inline = ctx.generation.as_ref().is_some_and(|generation| generation.carry_member().is_some());
        let lets_pass = self.failure.call == OnFailure::Open && !inline;
        let mut collected = Collected::default();
        let piped = {
            let collect = |task| collected.collect(task, limit, lets_pass);
            pipe_subrequest(session, subrequest, handle, collect, InputBodyType::SaveBody(0)).await
        };
        if let Err(failed) = piped {
            if *failed.error.esource() == ErrorSource::Downstream {
                return Err(failed.error);
            }
            if failed.error.etype() == &TOO_LARGE {
                let detail = format!(
                    "the answer is longer than the {limit} bytes that a record may have (policy.max_bytes of the pack)"
                );
                return self.refuse_answer(session, ctx, Refusal::new(Refused::BadAnswer, detail)).await;
            }
            // Its context is there when its last task is.
            if let Some(mut tasks) = failed.state.pipe_rx {
                while tasks.recv().await.is_some() {}
            }
            let refusal = slot.take().and_then(|ended| ended.refusal);
            let refusal = refusal.unwrap_or_else(|| self.failure(ctx, &failed.error));
            return self.write_problem(ctx, session, &refusal).await;
        }
        if let Some(ended) = slot.take() {
            *ctx = ended;
        }
        if collected.overflows {
            return session.write_response_body(Some(collected.body.freeze()), true).await;
        }
        self.send(session, ctx, collected).await
    }

    async fn send(&self, session: &mut Session, ctx: &mut Ctx, collected: Collected) -> pingora::Result<()> {
        if let Some(refusal) = ctx.refusal.clone() {
            return self.write_problem(ctx, session, &refusal).await; // the subrequest has counted it
        }
        let Some(mut head) = collected.head else {
            let refusal = Refusal::new(Refused::BrokenAnswer, "the server gave no answer");
            return self.refuse_answer(session, ctx, refusal).await;
        };
        let body = collected.body.freeze();
        let body = match self.for_clients(ctx, &head, body).await {
            Ok(body) => body,
            Err(refusal) => return self.refuse_answer(session, ctx, refusal).await,
        };
        self.explain(ctx, &mut head);
        if ctx.answer_changed {
            for digest in DIGESTS {
                head.remove_header(digest);
            }
            // Other bytes than the server's: its tag holds for their meaning only.
            let tag = head.headers.get(ETAG).and_then(|tag| tag.to_str().ok()).filter(|tag| tag.starts_with('"'));
            if let Some(weak) = tag.map(|tag| format!("W/{tag}")) {
                head.insert_header(ETAG, weak)?;
            }
        }
        head.remove_header(&TRANSFER_ENCODING);
        self.close_when_stopping(session);
        let bodyless = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if !bodyless {
            head.insert_header(CONTENT_LENGTH, body.len())?;
        }
        session.write_response_header(head, bodyless).await?;
        if !bodyless {
            session.write_response_body(Some(body), true).await?;
        }
        Ok(())
    }

    async fn for_clients(&self, ctx: &mut Ctx, head: &ResponseHeader, body: Bytes) -> Result<Bytes, Refusal> {
        let Some(pointer) = self.held_pointer(ctx) else { return Ok(body) };
        // A server's own error is no record, and neither is what we can't read: only a carry is looked for in it.
        let problem =
            head.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/problem"));
        let client = self.client_version(ctx).filter(|_| !problem && head.status.is_success());
        let inline = self.inline(ctx).is_some();
        if body.is_empty() || (client.is_none() && !inline) {
            return Ok(body);
        }
        if head.headers.contains_key(CONTENT_ENCODING) {
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

    async fn refuse_answer(&self, session: &mut Session, ctx: &mut Ctx, refusal: Refusal) -> pingora::Result<()> {
        self.counters.refused.one();
        ctx.refusal = Some(refusal.clone());
        self.write_problem(ctx, session, &refusal).await
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
            Carrier::Body { .. } | Carrier::None | Carrier::Header { .. } | Carrier::Store { .. } => None,
        }
    }

    /// Whether some answers are held back, and requests so need the means to run as subrequests.
    pub(crate) fn holds_some(&self, ctx: &Ctx) -> bool {
        self.held_pointer(ctx).is_some()
    }
}

impl Collected {
    fn collect(&mut self, task: HttpTask, limit: usize, lets_pass: bool) -> pingora::Result<Option<HttpTask>> {
        match task {
            HttpTask::Header(head, _) if head.status.is_informational() => Ok(None),
            HttpTask::Header(head, _) => {
                self.head = Some(head);
                Ok(None)
            }
            HttpTask::Body(piece, _) | HttpTask::UpgradedBody(piece, _) => {
                self.body.extend_from_slice(&piece.unwrap_or_default());
                if self.body.len() <= limit && !self.overflows {
                    return Ok(None);
                }
                if !lets_pass {
                    return Err(Error::new(TOO_LARGE));
                }
                self.overflows = true;
                match self.head.take() {
                    Some(head) => Ok(Some(HttpTask::Header(head, false))),
                    None => Ok(Some(HttpTask::Body(Some(self.body.split().freeze()), false))),
                }
            }
            HttpTask::Trailer(_) | HttpTask::Done => Ok(None),
            HttpTask::Failed(error) => Err(error),
        }
    }
}
