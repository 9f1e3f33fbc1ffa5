//! Holds an answer back until its record is translated for clients, so that a failure can still be told by a status.
//!
//! Pingora sends the head of an answer before it has read the body. So a request whose answer brings a record runs as
//! a subrequest of itself; what comes out is collected here, translated, and sent with its true length.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;
use http::Method;
use http::header::EXPECT;
use pingora::http::ResponseHeader;
use pingora::protocols::http::HttpTask;
use pingora::proxy::Session;
use pingora::proxy::subrequest::pipe::{InputBodyType, pipe_subrequest};
use pingora::proxy::subrequest::{BodyMode, Ctx as SubrequestCtx};
use pingora::{Error, ErrorSource, ErrorType};

use super::answer::is_bodyless;
use super::problem::{Refusal, Refused};
use super::proxy::edit_answer;
use super::request::Ctx;
use super::state::State;
use crate::limits::Mode;

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
        let overlong = self.overlong_answer(ctx);
        let lets_pass = overlong.is_ok();
        let mut collected = Collected::default();
        let piped = {
            let collect = |task| collected.collect(task, limit, lets_pass);
            pipe_subrequest(session, subrequest, handle, collect, InputBodyType::SaveBody(0)).await
        };
        if let Err(failed) = piped {
            if *failed.error.esource() == ErrorSource::Downstream {
                return Err(failed.error);
            }
            if let (ErrorType::Custom("AnswerTooLarge"), Err(refusal)) = (failed.error.etype(), overlong) {
                return self.refuse_answer(session, ctx, refusal).await;
            }
            // Its context is there when its last task is.
            if let Some(mut tasks) = failed.state.pipe_rx {
                while tasks.recv().await.is_some() {}
            }
            let refusal = slot.take().and_then(|ended| {
                ctx.trace = ended.trace;
                ended.refusal
            });
            ctx.refusal.clone_from(&refusal);
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
        let (body, edits) = match self.read_whole(ctx, head.status, &head.headers, body).await {
            Ok(answer) => answer,
            Err(refusal) => return self.refuse_answer(session, ctx, refusal).await,
        };
        edit_answer(&edits, &mut head)?;
        self.close_when_stopping(session);
        let bodyless = is_bodyless(head.status);
        session.write_response_header(head, bodyless).await?;
        if !bodyless {
            session.write_response_body(Some(body), true).await?;
        }
        Ok(())
    }

    async fn refuse_answer(&self, session: &mut Session, ctx: &mut Ctx, refusal: Refusal) -> pingora::Result<()> {
        self.counters.refused.one();
        ctx.refusal = Some(refusal.clone());
        self.write_problem(ctx, session, &refusal).await
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
