//! One request and its answer in Envoy: the steps of `host::adapter`, with bodies that Envoy hands over in pieces.
//!
//! A body that is looked at is collected here and not by Envoy, whose buffer has a limit of its own; Envoy gets one byte
//! in its place, so that it knows where the body goes before trailers. A request that found no server is begun anew with
//! its head as the client sent it, and its exchange waits in `AGAIN` for the filter that Envoy makes for it then.

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use bytes::Bytes;
use host::adapter::{AnswerBody, AnswerHead, Edits, Exchange, Forward, Given, ServerFault};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, request};

use super::Open;
use super::abi::{Envoy, Headers, Part, Stream};

/// What Envoy is told at the end of a hook.
pub(crate) enum Last {
    /// What has come goes on.
    Goes,
    /// It waits.
    Waits,
    /// The client gets this.
    Answers(Response<Bytes>),
    /// The stream begins anew.
    Again,
}

/// One request and its answer.
pub(crate) struct Filter {
    open: Arc<Open>,
    live: Option<Live>,
    request: OnItsWay,
    answer: OnItsWay,
    /// Why Envoy answers by itself.
    envoys: Option<Answerer>,
}

/// A request that was looked at.
struct Live {
    exchange: Exchange,
    threads: tokio::runtime::Handle,
    /// As the client sent it.
    head: request::Parts,
    body: Sent,
    /// The names of headers that were changed for the server.
    changed: Vec<HeaderName>,
    /// The answer's head, as it goes to the client.
    answer: (StatusCode, HeaderMap),
}

/// What is left of the request's body, should another server be tried.
enum Sent {
    /// There was none.
    None,
    /// All of it.
    Whole(Bytes),
    /// Nothing: it has passed.
    Passed,
}

/// How far a request or an answer is.
enum OnItsWay {
    /// Its body, if it has one, passes.
    Passes,
    /// Its head waits for its body.
    Collects(Collected),
    /// Its body passes, and is looked at when all of it is there.
    Reads(Collected),
    /// Its body is dropped as it comes, and this one laid in its place.
    Lays(Bytes),
    /// The client got something else.
    Refused,
}

/// What has come of a body.
struct Collected {
    bytes: Vec<u8>,
    limit: usize,
    /// Envoy has a byte in its place.
    marked: bool,
}

/// Who answers in place of the server.
enum Answerer {
    /// Another filter, or Envoy's own rules: it isn't our affair.
    Somebody,
    /// Envoy, because the server failed.
    Because(ServerFault),
}

/// A request that begins anew.
struct Waiting {
    token: String,
    live: Live,
    forward: Forward,
}

/// Names the request that begins anew. It is taken out before anybody sees it, and tells nobody anything.
const TOKEN: &str = "x-unskew-again";
/// How many may wait on a thread: one, unless another filter stops some of them on their way to us.
const MOST: usize = 64;

thread_local! {
    static AGAIN: RefCell<Vec<Waiting>> = const { RefCell::new(Vec::new()) };
}

impl Filter {
    pub(crate) fn new(open: Arc<Open>) -> Filter {
        Filter { open, live: None, request: OnItsWay::Passes, answer: OnItsWay::Passes, envoys: None }
    }

    /// The head of the request: its body is waited for, or it goes.
    pub(crate) fn request_head(&mut self, envoy: &Envoy, stream: Stream, ends: bool) -> Last {
        // SAFETY: the hook's stream is alive, and nothing is changed while the values are read.
        let lines = unsafe { envoy.headers(stream, Headers::Request) };
        if let Some((_, token)) = lines.iter().find(|(name, _)| *name == TOKEN.as_bytes()) {
            let waiting = taken(token);
            // SAFETY: as above; the lines are read anew.
            unsafe { envoy.remove(stream, Headers::Request, TOKEN) };
            return match waiting {
                Some(waiting) => self.resumes(envoy, stream, waiting, ends),
                None => self.request_head(envoy, stream, ends), // a client has sent it
            };
        }
        let Some(head) = request_head(&lines) else {
            return self.refuses(plain(400, "bad-request", "The request can't be understood"));
        };
        let Some(started) = self.open.started() else {
            return self.refuses(plain(503, "no-rules", "The gateway has no rules"));
        };
        let (exchange, threads) = (started.adapter.begin(&head), started.threads.handle().clone());
        let wanted = exchange.wanted();
        let body = if ends { Sent::None } else { Sent::Passed };
        let answer = (StatusCode::OK, HeaderMap::new());
        self.live = Some(Live { exchange, threads, head, body, changed: Vec::new(), answer });
        match wanted {
            Some(limit) if !ends => {
                self.request = OnItsWay::Collects(Collected::of(limit));
                Last::Waits
            }
            Some(_) | None => self.places(envoy, stream, Given::Nothing),
        }
    }

    /// A piece of the request's body.
    pub(crate) fn request_body(&mut self, envoy: &Envoy, stream: Stream, ends: bool) -> Last {
        match &mut self.request {
            OnItsWay::Passes | OnItsWay::Reads(_) => Last::Goes,
            OnItsWay::Refused => Last::Waits,
            OnItsWay::Collects(body) => {
                // SAFETY: the hook is one of this body.
                let much = unsafe { body.takes(envoy, stream, [Part::HeldRequest, Part::Request], ends) };
                match (much, ends) {
                    (true, _) | (_, true) => self.request_ends(envoy, stream),
                    (false, false) => Last::Waits,
                }
            }
            OnItsWay::Lays(body) => {
                let body = ends.then(|| std::mem::take(body));
                // SAFETY: as above.
                unsafe { lays(envoy, stream, [Part::HeldRequest, Part::Request], body) };
                Last::Goes
            }
        }
    }

    /// The request's body is here, or more of it than a record may have.
    pub(crate) fn request_ends(&mut self, envoy: &Envoy, stream: Stream) -> Last {
        match std::mem::replace(&mut self.request, OnItsWay::Passes) {
            OnItsWay::Passes | OnItsWay::Reads(_) => Last::Goes,
            OnItsWay::Refused => {
                self.request = OnItsWay::Refused;
                Last::Waits
            }
            OnItsWay::Lays(body) => {
                // SAFETY: the stream is alive; what is held is ours.
                unsafe { lays(envoy, stream, [Part::HeldRequest, Part::HeldRequest], Some(body)) };
                Last::Goes
            }
            OnItsWay::Collects(Collected { bytes, limit, marked: _ }) => {
                let too_long = bytes.len() > limit;
                let bytes = Bytes::from(bytes);
                let given = match too_long {
                    true => Given::TooLong,
                    false => Given::Whole(bytes.clone()),
                };
                if let (Some(live), false) = (&mut self.live, too_long) {
                    live.body = Sent::Whole(bytes.clone());
                }
                let last = self.places(envoy, stream, given);
                match (&last, std::mem::replace(&mut self.request, OnItsWay::Passes)) {
                    // SAFETY: the stream is alive; what is held is the byte that we have put there.
                    (Last::Goes, OnItsWay::Lays(new)) => unsafe {
                        lays(envoy, stream, [Part::HeldRequest; 2], Some(new))
                    },
                    // SAFETY: as above.
                    (Last::Goes, _) => unsafe { lays(envoy, stream, [Part::HeldRequest; 2], Some(bytes)) },
                    (_, request) => self.request = request,
                }
                last
            }
        }
    }

    /// Envoy answers by itself; its head comes next.
    pub(crate) fn envoy_answers(&mut self, why: &[u8]) {
        let why = String::from_utf8_lossy(why);
        let has = |parts: &[&str]| parts.iter().any(|part| why.contains(part));
        self.envoys = Some(match () {
            () if has(&["connection_failure", "connection_timeout", "no_healthy_upstream", "{overflow"]) => {
                Answerer::Because(ServerFault::Unreachable)
            }
            () if has(&["response_timeout", "per_try_timeout"]) => Answerer::Because(ServerFault::Timeout),
            () if has(&["upstream_reset", "upstream_codec", "protocol_error"]) => {
                Answerer::Because(ServerFault::BrokenAnswer)
            }
            () => Answerer::Somebody,
        });
    }

    /// The head of the answer.
    pub(crate) fn answer_head(&mut self, envoy: &Envoy, stream: Stream, ends: bool) -> Last {
        match self.envoys.take() {
            _ if matches!(self.request, OnItsWay::Refused) => return Last::Goes, // it is ours
            Some(Answerer::Somebody) => {
                self.live = None;
                return Last::Goes;
            }
            Some(Answerer::Because(ServerFault::Unreachable)) => return self.tries_another(envoy, stream),
            Some(Answerer::Because(fault)) => {
                if let Some(live) = &mut self.live {
                    let problem = live.exchange.failed(fault);
                    self.says_instead(envoy, stream, problem);
                }
                return Last::Goes;
            }
            None => {}
        }
        // SAFETY: the hook's stream is alive, and nothing is changed while the values are read.
        let lines = unsafe { envoy.headers(stream, Headers::Response) };
        let Some(live) = &mut self.live else { return Last::Goes };
        let Some((status, headers)) = answer_head(&lines) else { return Last::Goes };
        match live.threads.block_on(live.exchange.answer_head(status, &headers)) {
            Err(problem) => self.refuses(problem),
            Ok(AnswerHead { edits, wanted }) => {
                // SAFETY: as above; the lines are not used any more.
                unsafe { edit(envoy, stream, Headers::Response, &edits) };
                live.answer = (status, headers);
                edits.apply(&mut live.answer.1);
                let holds = live.exchange.holds();
                self.answer = match wanted {
                    Some(limit) if holds => OnItsWay::Collects(Collected::of(limit)),
                    Some(limit) => OnItsWay::Reads(Collected::of(limit)),
                    None => OnItsWay::Passes,
                };
                match (&self.answer, ends) {
                    (_, true) => self.answer_ends(envoy, stream),
                    (OnItsWay::Collects(_), false) => Last::Waits,
                    (_, false) => Last::Goes,
                }
            }
        }
    }

    /// A piece of the answer's body.
    pub(crate) fn answer_body(&mut self, envoy: &Envoy, stream: Stream, ends: bool) -> Last {
        let parts = [Part::HeldResponse, Part::Response];
        match &mut self.answer {
            OnItsWay::Passes => Last::Goes,
            OnItsWay::Refused => Last::Waits,
            OnItsWay::Collects(body) => {
                // SAFETY: the hook is one of this body.
                let much = unsafe { body.takes(envoy, stream, parts, ends) };
                match (much, ends) {
                    (true, _) | (_, true) => self.answer_ends(envoy, stream),
                    (false, false) => Last::Waits,
                }
            }
            OnItsWay::Reads(body) => {
                // SAFETY: as above.
                unsafe { envoy.read(stream, Part::Response, &mut body.bytes) };
                match body.bytes.len() > body.limit || ends {
                    true => self.answer_ends(envoy, stream),
                    false => Last::Goes,
                }
            }
            OnItsWay::Lays(body) => {
                let body = ends.then(|| std::mem::take(body));
                // SAFETY: as above.
                unsafe { lays(envoy, stream, parts, body) };
                Last::Goes
            }
        }
    }

    /// The answer's body is here, or more of it than a record may have.
    pub(crate) fn answer_ends(&mut self, envoy: &Envoy, stream: Stream) -> Last {
        let held = [Part::HeldResponse; 2];
        match std::mem::replace(&mut self.answer, OnItsWay::Passes) {
            OnItsWay::Passes => Last::Goes,
            OnItsWay::Refused => Last::Waits,
            OnItsWay::Lays(body) => {
                // SAFETY: the stream is alive; what is held is ours.
                unsafe { lays(envoy, stream, held, Some(body)) };
                Last::Goes
            }
            OnItsWay::Reads(body) => {
                // Its head has gone: what comes of it is what is learnt.
                if let Some(live) = &mut self.live {
                    let threads = live.threads.clone();
                    let _ = threads.block_on(live.answer_body(&body));
                }
                Last::Goes
            }
            OnItsWay::Collects(body) => {
                let Some(live) = &mut self.live else { return Last::Goes };
                let threads = live.threads.clone();
                match threads.block_on(live.answer_body(&body)) {
                    Err(problem) => self.refuses(problem),
                    Ok(AnswerBody { edits, body: new }) => {
                        let new = new.unwrap_or_else(|| Bytes::from(body.bytes));
                        // SAFETY: the stream is alive; what is held is the byte that we have put there.
                        unsafe {
                            edit(envoy, stream, Headers::Response, &edits);
                            lays(envoy, stream, held, Some(new));
                        }
                        Last::Goes
                    }
                }
            }
        }
    }

    /// A step has panicked.
    pub(crate) fn breaks(&mut self) -> Last {
        self.live = None;
        self.refuses(plain(500, "internal", "The gateway has a fault"))
    }

    /// The stream could not begin anew.
    pub(crate) fn gives_up(&mut self, envoy: &Envoy, stream: Stream) {
        let waiting = AGAIN.with_borrow_mut(Vec::pop);
        if let Some(Waiting { mut live, .. }) = waiting {
            let problem = live.exchange.failed(ServerFault::Unreachable);
            self.live = Some(live);
            self.says_instead(envoy, stream, problem);
        }
    }

    fn refuses(&mut self, problem: Response<Bytes>) -> Last {
        (self.request, self.answer) = (OnItsWay::Refused, OnItsWay::Passes);
        Last::Answers(problem)
    }

    fn places(&mut self, envoy: &Envoy, stream: Stream, given: Given) -> Last {
        let Some(live) = &mut self.live else { return Last::Goes };
        match live.threads.block_on(live.exchange.place(&live.head, given)) {
            Err(problem) => self.refuses(problem),
            Ok(forward) => self.forwards(envoy, stream, forward),
        }
    }

    /// Changes the head, and names the server. A new body is left in `request`.
    fn forwards(&mut self, envoy: &Envoy, stream: Stream, forward: Forward) -> Last {
        let Some(live) = &mut self.live else { return Last::Goes };
        live.changed =
            forward.edits.remove.iter().chain(forward.edits.set.iter().map(|(name, _)| name)).cloned().collect();
        // SAFETY: the stream is alive.
        let known = unsafe {
            edit(envoy, stream, Headers::Request, &forward.edits);
            // A retry of the route's would take this server's record to another one.
            envoy.set(stream, Headers::Request, "x-envoy-max-retries", b"0");
            envoy.send_to(stream, &forward.address.to_string())
        };
        if !known {
            let problem = live.exchange.failed(ServerFault::Unreachable);
            return self.refuses(problem);
        }
        if let Some(body) = forward.body {
            self.request = OnItsWay::Lays(body);
        }
        Last::Goes
    }

    /// The server took no connection: another one, if all of the request is still here.
    fn tries_another(&mut self, envoy: &Envoy, stream: Stream) -> Last {
        let Some(mut live) = self.live.take() else { return Last::Goes };
        let tried = match live.body {
            Sent::Passed => Err(live.exchange.failed(ServerFault::Unreachable)),
            Sent::None | Sent::Whole(_) => live.threads.block_on(live.exchange.unreachable(&live.head)),
        };
        let forward = match tried {
            Ok(forward) => forward,
            Err(problem) => {
                self.live = Some(live);
                self.says_instead(envoy, stream, problem);
                return Last::Goes;
            }
        };
        let token = token();
        // SAFETY: the stream is alive.
        unsafe {
            for name in live.changed.drain(..) {
                envoy.remove(stream, Headers::Request, name.as_str());
                for value in live.head.headers.get_all(&name) {
                    envoy.add(stream, Headers::Request, name.as_str(), value.as_bytes());
                }
            }
            envoy.set(stream, Headers::Request, TOKEN, token.as_bytes());
        }
        AGAIN.with_borrow_mut(|waiting| {
            if waiting.len() >= MOST {
                waiting.remove(0);
            }
            waiting.push(Waiting { token, live, forward });
        });
        Last::Again
    }

    /// The request begins anew, with another server.
    fn resumes(&mut self, envoy: &Envoy, stream: Stream, waiting: Waiting, ends: bool) -> Last {
        let Waiting { token: _, live, mut forward } = waiting;
        if let (None, Sent::Whole(body)) = (&forward.body, &live.body) {
            forward.edits.remove.push(TRANSFER_ENCODING);
            forward.edits.set.push((CONTENT_LENGTH, HeaderValue::from(body.len())));
            forward.body = Some(body.clone());
        }
        self.live = Some(live);
        let last = self.forwards(envoy, stream, forward);
        if let (Last::Goes, true) = (&last, ends)
            && let OnItsWay::Lays(body) = std::mem::replace(&mut self.request, OnItsWay::Passes)
        {
            // SAFETY: the stream is alive.
            unsafe { envoy.append(stream, Part::HeldRequest, &body) };
        }
        last
    }

    /// Makes a problem document of Envoy's own answer.
    fn says_instead(&mut self, envoy: &Envoy, stream: Stream, problem: Response<Bytes>) {
        // SAFETY: the stream is alive.
        unsafe {
            envoy.set(stream, Headers::Response, ":status", problem.status().as_str().as_bytes());
            for (name, value) in problem.headers() {
                envoy.set(stream, Headers::Response, name.as_str(), value.as_bytes());
            }
            let length = problem.body().len().to_string();
            envoy.set(stream, Headers::Response, "content-length", length.as_bytes());
        }
        self.answer = OnItsWay::Lays(problem.into_body());
    }
}

impl Live {
    async fn answer_body(&mut self, body: &Collected) -> Result<AnswerBody, Response<Bytes>> {
        let given = match body.bytes.len() > body.limit {
            true => Given::TooLong,
            false => Given::Whole(Bytes::copy_from_slice(&body.bytes)),
        };
        let (status, headers) = &self.answer;
        self.exchange.answer_body(*status, headers, given).await
    }
}

impl Collected {
    fn of(limit: usize) -> Collected {
        Collected { bytes: Vec::new(), limit, marked: false }
    }

    /// Takes what has come, and says whether it is more than is wanted. Envoy keeps one byte in its place.
    ///
    /// # Safety
    /// The hook is one of this body.
    unsafe fn takes(&mut self, envoy: &Envoy, stream: Stream, [held, here]: [Part; 2], ends: bool) -> bool {
        // SAFETY: the caller's promise.
        unsafe {
            if self.marked {
                // Envoy may have laid the last piece behind our byte.
                let mut kept = Vec::new();
                envoy.take(stream, held, &mut kept);
                self.bytes.extend_from_slice(kept.get(1..).unwrap_or_default());
            }
            envoy.take(stream, here, &mut self.bytes);
            let much = self.bytes.len() > self.limit;
            self.marked = !ends && !much;
            if self.marked {
                envoy.append(stream, held, b" ");
            }
            much
        }
    }
}

/// Drops what is here of a body, and lays another in its place.
///
/// # Safety
/// The stream is alive, and the hook is one that may change this body.
unsafe fn lays(envoy: &Envoy, stream: Stream, [held, here]: [Part; 2], body: Option<Bytes>) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut dropped = Vec::new();
        envoy.take(stream, held, &mut dropped);
        envoy.take(stream, here, &mut dropped);
        if let Some(body) = body.filter(|body| !body.is_empty()) {
            envoy.append(stream, here, &body);
        }
    }
}

/// Changes a head.
///
/// # Safety
/// `stream` is alive.
unsafe fn edit(envoy: &Envoy, stream: Stream, whose: Headers, edits: &Edits) {
    // SAFETY: the caller's promise.
    unsafe {
        for name in &edits.remove {
            envoy.remove(stream, whose, name.as_str());
        }
        for (index, (name, value)) in edits.set.iter().enumerate() {
            match edits.set[..index].iter().any(|(before, _)| before == name) {
                true => envoy.add(stream, whose, name.as_str(), value.as_bytes()),
                false => envoy.set(stream, whose, name.as_str(), value.as_bytes()),
            }
        }
    }
}

/// The head as the library reads it; none where it can't be read.
fn request_head(lines: &[(&[u8], &[u8])]) -> Option<request::Parts> {
    let pseudo = |wanted: &[u8]| lines.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
    let request = Request::builder().method(pseudo(b":method")?).uri(pseudo(b":path")?).body(()).ok()?;
    let (mut head, ()) = request.into_parts();
    head.headers = header_map(lines)?;
    if let Some(host) = pseudo(b":authority") {
        head.headers.insert(http::header::HOST, HeaderValue::from_bytes(host).ok()?);
    }
    Some(head)
}

fn answer_head(lines: &[(&[u8], &[u8])]) -> Option<(StatusCode, HeaderMap)> {
    let (_, status) = lines.iter().find(|(name, _)| *name == b":status")?;
    Some((StatusCode::from_bytes(status).ok()?, header_map(lines)?))
}

fn header_map(lines: &[(&[u8], &[u8])]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in lines.iter().filter(|(name, _)| !name.starts_with(b":")) {
        headers.append(HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?);
    }
    Some(headers)
}

/// A problem document for where there is no exchange that could make one.
fn plain(status: u16, reason: &'static str, title: &'static str) -> Response<Bytes> {
    let body =
        format!(r#"{{"type":"urn:unskew:problem:{reason}","title":"{title}","status":{status},"reason":"{reason}"}}"#);
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/problem+json"));
    response.headers_mut().insert("cache-control", HeaderValue::from_static("no-store"));
    response
}

fn taken(token: &[u8]) -> Option<Waiting> {
    AGAIN.with_borrow_mut(|waiting| {
        let index = waiting.iter().position(|waiting| waiting.token.as_bytes() == token)?;
        Some(waiting.remove(index))
    })
}

/// Something that no client can guess.
fn token() -> String {
    let random = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", random(), random())
}
