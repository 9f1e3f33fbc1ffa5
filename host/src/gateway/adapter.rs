//! The gateway without a network: one request and its answer through a surface that reads and writes by itself.
//!
//! An [`Adapter`] is what `unskew.toml` describes: rules, fleet, carriers, policy, directory, counters. For each request
//! it makes an [`Exchange`], which is asked in this order, and answers each time with what is to be done, or with the
//! problem document that the client gets instead:
//!
//! | step | in | out |
//! |---|---|---|
//! | [`Adapter::begin`] | head of the request | whether its body is wanted, and how much of it |
//! | [`Exchange::place`] | the body | server, changes to the head, another body |
//! | [`Exchange::unreachable`] | the server took no connection | the next server, with the same |
//! | [`Exchange::answer_head`] | head of the answer | changes to it, and whether its body is wanted |
//! | [`Exchange::answer_body`] | the body | another body, more changes to the head |
//!
//! The tower layer ([`crate::tower`]) and the C library are made of it; `unskew serve` shares everything beneath.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::UPGRADE;
use http::{HeaderMap, Method, Response, StatusCode, request};

use super::answer::Learned;
use super::failure::unclear;
use super::intake::Intent;
use super::problem::{Refusal, Refused};
use super::request::{Body, Ctx, Wanted};
use super::session::IdPlace;
use super::state::State;
use super::{Counts, StartError, health, reload};
use crate::config::{Config, ServerEntry};
use crate::directory::DirectoryStatus;
use crate::error::{CallError, LoadError};
use crate::generation::Generation;
use crate::limits::Mode;
use crate::pack::Pack;
use crate::router::{Ask, Decision, Load, Tier};
use crate::runtime::Runtime;
use crate::store::Store;

pub use super::edits::Edits;

/// What `unskew.toml` describes, ready for requests. Clones share everything.
#[derive(Clone)]
pub struct Adapter {
    state: Arc<State>,
}

/// What a surface is called, and what it can't do: a configuration that asks for that is refused at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Surface {
    /// Its name in messages.
    pub name: &'static str,
    /// What it can't do.
    pub lacks: &'static [Lack],
}

/// Something that a surface can't do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// It sees no bodies of requests.
    RequestBodies,
    /// It sees no bodies of answers.
    AnswerBodies,
    /// Its requests are spread over processes that share no memory, hence no store in memory.
    SharedMemory,
}

/// One request and its answer. It sees one generation, whatever is swapped in meanwhile. Dropping it ends it.
pub struct Exchange {
    state: Arc<State>,
    ctx: Box<Ctx>,
    looked: Result<Wanted, Refusal>,
    /// Whether the answer's body is to be looked at for a record.
    holds: bool,
}

/// As much of a body as a surface has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// There is none, or it wasn't wanted.
    Nothing,
    /// All of it.
    Whole(Bytes),
    /// There is more of it than was wanted.
    TooLong,
}

/// Where a request goes, and what is changed in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// The server's name.
    pub server: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Changes to the head.
    pub edits: Edits,
    /// Another body; `edits` has its length. None where the body stays.
    pub body: Option<Bytes>,
}

/// What is changed in the head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerHead {
    /// Changes to the head.
    pub edits: Edits,
    /// The longest body that is to be handed to `answer_body` before the head goes out; none where the body passes.
    pub wanted: Option<usize>,
}

/// What is changed in an answer once its body is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerBody {
    /// Changes to the head, on top of those of `answer_head`.
    pub edits: Edits,
    /// Another body; `edits` has its length. None where the body stays.
    pub body: Option<Bytes>,
}

/// Where a join would go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routed {
    /// The server's name and address, and what it can do for the record; none where the join would be refused.
    pub to: Option<(String, SocketAddr, Tier)>,
    /// Why, in one line.
    pub reason: String,
}

/// How a server failed a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerFault {
    /// It took no connection.
    Unreachable,
    /// It took too long.
    Timeout,
    /// Its answer broke off or made no sense.
    BrokenAnswer,
}

impl Adapter {
    /// An adapter for this configuration, within a tokio runtime, and with a `Runtime` such as `gateway::runtime` makes of
    /// the configuration. If it has no rules yet, the configuration's pack is loaded into it.
    /// A store that is handed in takes the place of the configuration's.
    ///
    /// # Errors
    /// If the configuration or the pack can't be used, or the configuration asks for what the surface can't do.
    pub fn start(
        config: Config,
        runtime: Runtime,
        store: Option<Arc<dyn Store>>,
        surface: Surface,
    ) -> Result<Adapter, StartError> {
        config.check()?;
        surface.check(&config)?;
        let threads = tokio::runtime::Handle::try_current().map_err(|_| StartError::Surface {
            surface: surface.name,
            what: "start outside of a tokio runtime: enter one first",
        })?;
        let (state, beside, _) = super::open(config, runtime, store)?;
        super::begin(&state, beside, &threads)?;
        Ok(Adapter { state })
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Checks the servers' health and swaps the pack when its file changes, for as long as it is polled.
    pub async fn tend(&self) {
        let state = || self.state.clone();
        tokio::join!(health::watch(state()), reload::watch(state()), state().supervise());
    }

    /// Begins an exchange by the head of its request.
    pub fn begin(&self, head: &request::Parts) -> Exchange {
        let state = self.state.clone();
        let mut ctx = Box::new(Ctx::new(&state, 0));
        ctx.readable = state.longest(&ctx);
        let looked = match unclear(head) {
            Some(refusal) => {
                state.counters.requests.one();
                Err(refusal)
            }
            None => ctx.look(&state, head),
        };
        let holds = ctx.rule.is_some()
            && ctx.mode == Mode::Enforce
            && head.method != Method::HEAD
            && !head.headers.contains_key(UPGRADE)
            && state.holds_some(&ctx);
        Exchange { state, ctx, looked, holds }
    }

    /// Where a join of this session would go, and why; nothing is sent or noted. Without a record the directory says what
    /// is known of it. A shared directory may block the thread for as long as `directory.timeout_ms` says.
    ///
    /// # Errors
    /// A fault of the record, or `CallError::NoPack`.
    pub fn route(&self, session: &str, record: Option<&[u8]>) -> Result<Routed, CallError> {
        let generation = self.state.runtime.generation().ok_or(CallError::NoPack)?;
        let members = self.state.members();
        let entry = self.state.sessions.look_now(session);
        let held = match record {
            Some(record) => {
                Some(self.state.held_of(&generation, generation.detect(record)?, entry.as_ref(), &members.fleet))
            }
            None => entry.as_ref().and_then(|entry| self.state.held_by(entry, &generation, &members.fleet)),
        };
        let ask = Ask { session: session.as_bytes(), record: held, load: Load::of(&members.in_flight) };
        let decision = generation.route(&ask, &members.fleet);
        let reason = decision.reason().with(&members.fleet, Some(generation.matrix())).to_string();
        let to = match decision {
            Decision::Route { server, tier, .. } => {
                Some((members.fleet.servers()[server].name.clone(), members.address(server), tier))
            }
            Decision::Refuse { .. } => None,
        };
        Ok(Routed { to, reason })
    }

    /// The rules that are active, and the means to replace them.
    pub fn runtime(&self) -> &Runtime {
        &self.state.runtime
    }

    /// Swaps a pack in: later requests see it, those under way finish on theirs. Takes CPU time.
    ///
    /// # Errors
    /// Every problem of the pack; the old one serves on.
    pub fn push(&self, pack: &Pack) -> Result<Arc<Generation>, LoadError> {
        self.state.offer(None, pack, Intent::Activate)
    }

    /// Loads the configuration's pack again; none where the configuration names none. Takes CPU time.
    ///
    /// # Errors
    /// Every problem of the pack; the old one serves on.
    pub fn reload(&self) -> Result<Option<Arc<Generation>>, LoadError> {
        reload::reload(&self.state)
    }

    /// What it has counted so far.
    pub fn counts(&self) -> Counts {
        self.state.counters.snapshot()
    }

    /// What it does with what it finds.
    pub fn mode(&self) -> Mode {
        self.state.mode()
    }

    /// Throws the switch; requests that are under way go on in the mode that they began in.
    pub fn set_mode(&self, mode: Mode) {
        self.state.set_mode(mode);
    }

    /// The servers by name, and whether each is healthy.
    pub fn health(&self) -> Vec<(String, bool)> {
        self.state.members().health()
    }

    /// Where the directory stands: whether it is shared, and whether it is to be reached.
    pub fn directory(&self) -> DirectoryStatus {
        self.state.sessions.status()
    }

    /// Replaces the servers; requests that are under way stay where they are.
    ///
    /// # Errors
    /// If they are no fleet; the old ones stay.
    pub fn set_servers(&self, servers: &[ServerEntry]) -> Result<(), StartError> {
        self.state.set_servers(servers)
    }
}

impl Surface {
    /// A surface that can do everything, in a process of its own.
    pub const fn whole(name: &'static str) -> Surface {
        Surface { name, lacks: &[] }
    }

    /// # Errors
    /// The first thing that this configuration asks for and the surface can't do.
    pub fn check(&self, config: &Config) -> Result<(), StartError> {
        let id_in = |of: fn(&crate::config::IdEntry) -> bool| {
            let rules = config.creates.iter().chain(&config.joins).chain(&config.ends);
            rules.filter_map(|rule| rule.id.as_ref()).any(of)
        };
        let body = config.record.body.as_ref();
        if config.admin.is_some() {
            let what = "[admin]: it has no listener of its own; leave it out, or run `unskew serve` for it";
            return Err(StartError::Surface { surface: self.name, what });
        }
        for lack in self.lacks {
            let asked = match lack {
                Lack::RequestBodies if body.is_some_and(|body| body.request.is_some()) => Some(
                    "record.body.request: it sees no bodies of requests; say record.header, record.cookie or record.store",
                ),
                Lack::RequestBodies if id_in(|id| id.body.is_some()) => {
                    Some("an id in the body: it sees no bodies of requests; put the id into the path or a header")
                }
                Lack::AnswerBodies if body.is_some_and(|body| body.response.is_some()) => Some(
                    "record.body.response: it sees no bodies of answers; leave it out, and answers stay as they are",
                ),
                Lack::AnswerBodies if id_in(|id| id.response_body.is_some()) => {
                    Some("an id in the response-body: it sees no bodies of answers; say response-header")
                }
                Lack::SharedMemory if config.store.is_some() => Some(
                    "[store] in memory: each of its processes would have one of its own; run `unskew serve` for it",
                ),
                Lack::RequestBodies | Lack::AnswerBodies | Lack::SharedMemory => None,
            };
            if let Some(what) = asked {
                return Err(StartError::Surface { surface: self.name, what });
            }
        }
        Ok(())
    }
}

impl Surface {
    /// # Errors
    /// If this configuration gives nothing to agree by to so many processes: each would know its own sessions alone.
    pub fn spread(&self, config: &Config, processes: usize) -> Result<(), StartError> {
        let knows = !(config.creates.is_empty() && config.joins.is_empty());
        let agrees = config.directory.redis.is_some() || config.seal.is_some();
        if processes > 1 && knows && !agrees {
            let what = "sessions in several processes, each with a directory of its own: say [directory] redis = \
                        \"redis://…\" for one that they share, or run one process";
            return Err(StartError::Surface { surface: self.name, what });
        }
        Ok(())
    }
}

impl Exchange {
    /// The longest body that `place` is to be given; none where it needs no body. A longer one is `Given::TooLong`.
    pub fn wanted(&self) -> Option<usize> {
        match self.looked {
            Ok(Wanted::Body) => Some(self.ctx.readable),
            Ok(Wanted::Nothing) | Err(_) => None,
        }
    }

    /// Whether the head of the answer waits for its body, because a record in it is translated for clients.
    pub fn holds(&self) -> bool {
        self.holds
    }

    /// Whether the body of the answer is asked for, if the server agrees to the request.
    pub fn looks(&self) -> bool {
        let learns = matches!(self.ctx.rule.as_ref().map(|rule| &rule.id), Some(IdPlace::ResponseBody(_)));
        self.holds || learns
    }

    /// Chooses the request's server and makes its record readable for it.
    ///
    /// # Errors
    /// The answer that the client gets instead.
    pub async fn place(&mut self, head: &request::Parts, body: Given) -> Result<Forward, Response<Bytes>> {
        let Exchange { state, ctx, looked, .. } = self;
        ctx.body = match body {
            Given::Whole(body) if !body.is_empty() => Body::Whole(body),
            Given::Nothing | Given::Whole(_) => Body::Passes,
            Given::TooLong => Body::Streams { read_before: Bytes::new(), collected: BytesMut::new() },
        };
        let found = match looked.clone() {
            Ok(_) => ctx.settle(state).await,
            Err(refusal) => Err(refusal),
        };
        match found {
            Err(refusal) if ctx.mode == Mode::Observe && refusal.kind != Refused::BadRequest => {
                state.would_refuse(ctx, &refusal);
            }
            Err(refusal) => return Err(self.refuse(refusal)),
            Ok(()) => {}
        }
        self.forward(head).await
    }

    /// The server took no connection: another one, for as often as `policy.retries` says.
    ///
    /// # Errors
    /// The answer that the client gets instead.
    pub async fn unreachable(&mut self, head: &request::Parts) -> Result<Forward, Response<Bytes>> {
        if let Some(placed) = self.ctx.placed.take() {
            let name = placed.server().name.clone();
            tracing::warn!(server = %name, "server can't be reached, another one is tried");
            self.ctx.tried.push(name);
        }
        if self.ctx.tried.len() > self.state.config.policy.retries as usize {
            return Err(self.failed(ServerFault::Unreachable));
        }
        self.state.counters.rerouted.one();
        self.forward(head).await
    }

    /// The request's body broke off or is framed wrongly: the answer that the client gets, if it is still there.
    pub fn broken_body(&mut self) -> Response<Bytes> {
        self.refuse(Refusal::new(Refused::BadBody, "the request's body is framed wrongly"))
    }

    /// The server failed the request: the answer that the client gets.
    pub fn failed(&mut self, fault: ServerFault) -> Response<Bytes> {
        let tried = self.ctx.tried.len();
        let refusal = match fault {
            ServerFault::Unreachable => {
                Refusal::new(Refused::Unreachable, format!("no server took a connection, {tried} tried"))
            }
            ServerFault::Timeout => Refusal::new(Refused::Timeout, "the server sent nothing for too long"),
            ServerFault::BrokenAnswer => {
                Refusal::new(Refused::BrokenAnswer, "the server closed the connection before its answer was whole")
            }
        };
        self.state.counters.failed.one();
        let server = self.ctx.placed.as_ref().map_or("none", |placed| placed.server().name.as_str());
        tracing::warn!(server, kind = refusal.kind.as_str(), "request failed: {}", refusal.detail);
        self.ctx.refusal = Some(refusal.clone());
        self.state.problem(&self.ctx, &refusal)
    }

    /// Looks at the head of the answer: learns the session, translates a record in a header.
    ///
    /// # Errors
    /// The answer that the client gets instead.
    pub async fn answer_head(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<AnswerHead, Response<Bytes>> {
        let edits = match self.state.read_head(&mut self.ctx, status, headers).await {
            Ok(edits) => edits,
            Err(refusal) => return Err(self.refuse(refusal)),
        };
        let looks = (self.holds || self.ctx.learning.is_some()) && !status.is_informational();
        let wanted = looks.then(|| self.state.longest(&self.ctx));
        Ok(AnswerHead { edits, wanted })
    }

    /// Looks at the body of the answer, where `answer_head` has asked for it. `headers` are those of the answer, changed
    /// as `answer_head` said.
    ///
    /// # Errors
    /// The answer that the client gets instead.
    pub async fn answer_body(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        body: Given,
    ) -> Result<AnswerBody, Response<Bytes>> {
        let stays = AnswerBody { edits: Edits::default(), body: None };
        let body = match body {
            Given::Whole(body) => body,
            Given::Nothing => Bytes::new(),
            Given::TooLong => {
                if self.ctx.learning.take().is_some() {
                    self.state.counters.unidentified.one();
                }
                return match self.state.overlong_answer(&self.ctx) {
                    Err(refusal) if self.holds => Err(self.refuse(refusal)),
                    Err(_) | Ok(()) => Ok(stays),
                };
            }
        };
        if self.state.read_body(&mut self.ctx, Some(&body), true) == Learned::Session {
            self.state.note_writer(&self.ctx).await;
        }
        if !self.holds {
            return Ok(stays);
        }
        match self.state.read_whole(&mut self.ctx, status, headers, body).await {
            Ok((body, edits)) => Ok(AnswerBody { edits, body: Some(body) }),
            Err(refusal) => Err(self.refuse(refusal)),
        }
    }

    async fn forward(&mut self, head: &request::Parts) -> Result<Forward, Response<Bytes>> {
        let Exchange { state, ctx, .. } = self;
        let mut placed = state.place(ctx).await;
        if placed.is_ok() {
            placed = state.confirm(ctx).await;
        }
        let too_long = matches!(ctx.body, Body::Streams { .. })
            && ctx.placed.as_ref().is_some_and(|placed| placed.streams_to.is_some());
        if placed.is_ok() && too_long {
            placed = state.overlong_body(ctx);
        }
        let chosen = ctx.placed.as_ref().map(|placed| {
            let edits = state.request_edits(ctx, &head.headers);
            let (server, address) = (placed.server().name.clone(), placed.members.address(placed.server));
            Forward { server, address, edits, body: placed.body.clone() }
        });
        match (placed, chosen) {
            (Ok(()), Some(forward)) => Ok(forward),
            (Err(refusal), _) => Err(self.refuse(refusal)),
            (Ok(()), None) => Err(self.refuse(Refusal::new(Refused::Internal, "no server was chosen"))),
        }
    }

    fn refuse(&mut self, refusal: Refusal) -> Response<Bytes> {
        self.state.counters.refused.one();
        self.ctx.refusal = Some(refusal.clone());
        self.state.problem(&self.ctx, &refusal)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.state.log(&self.ctx);
    }
}
