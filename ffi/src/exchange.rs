//! One request and its answer over the C ABI: the steps of `host::adapter`, with heads as lines of text.

use host::adapter::{self, AnswerHead, Edits, Forward, Given, ServerFault};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, request};

use crate::call::{Bytes, Failed, Status, answer, call, guarded};
use crate::handle::{Handle, Started, open};

/// One request on its way. Calls with one exchange come one after the other, on whatever thread.
pub struct Exchange {
    inner: adapter::Exchange,
    threads: tokio::runtime::Handle,
    head: request::Parts,
    answer: (StatusCode, HeaderMap),
    held: Held,
}

/// What is to be done.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on: with the request to `server`, or with the answer to the client.
    Forward = 0,
    /// Hand over the body first, with the next step; one that is longer than `limit` need not be read any further.
    Body = 1,
    /// Answer the client with `status`, the lines of `set` and `body`, and end the exchange.
    Refuse = 2,
}

/// What is to be done, and what is changed on the way.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Answer {
    pub verdict: Verdict,
    /// Of a refusal.
    pub status: u16,
    /// Of `unskew_place`: whether the head of the answer waits for its body, because its record is translated.
    pub holds: bool,
    /// Of `unskew_place`: whether the body of the answer will be asked for.
    pub looks: bool,
    /// The longest body that is wanted.
    pub limit: usize,
    /// The server's name.
    pub server: Bytes,
    /// Where it listens, as `ip:port`.
    pub address: Bytes,
    /// Headers that go, with all their values: a name a line, each ended by CR LF.
    pub remove: Bytes,
    /// Headers that come, in place of all of their name: lines like `name: value`, each ended by CR LF.
    pub set: Bytes,
    /// Another body, whose length stands in `set`. Its `data` is null where the body stays as it is.
    pub body: Bytes,
}

/// What an answer points to.
#[derive(Default)]
struct Held {
    server: String,
    address: String,
    remove: Vec<u8>,
    set: Vec<u8>,
    body: bytes::Bytes,
}

/// What is in `body` of a step.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Have {
    /// There is none, or it wasn't wanted.
    Nothing = 0,
    /// All of it.
    Whole = 1,
    /// There is more of it than was wanted, or not all of it is to be had.
    TooLong = 2,
}

/// How a server failed a request.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It took no connection.
    Unreachable = 0,
    /// It took too long.
    Timeout = 1,
    /// Its answer broke off or made no sense.
    BrokenAnswer = 2,
}

/// Begins an exchange. `target` is path and query as they stand in the request, `headers` lines like `name: value`, ended
/// by LF or CR LF. The verdict is `FORWARD` or `BODY`: `unskew_place` comes next in both cases. Null where the handle can't
/// be used: then the request can't be served, unless the program says otherwise.
///
/// # Safety
/// `handle` is open and stays so until the exchange has ended, the texts can be read, `answer` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unskew_begin(
    handle: *const Handle,
    method: Bytes,
    target: Bytes,
    headers: Bytes,
    answer: *mut Answer,
) -> *mut Exchange {
    let begun = guarded(|| {
        // SAFETY: the caller's promise.
        let (handle, method, target) = unsafe { (open(handle)?, method.read(), target.read()) };
        // SAFETY: the caller's promise.
        let headers = unsafe { headers.read() };
        let started = handle.started()?;
        let head = request_head(method, target, headers)?;
        let exchange = Box::new(Exchange::new(started, head));
        let mut first = Answer::of(Verdict::Forward);
        if let Some(limit) = exchange.inner.wanted() {
            (first.verdict, first.limit) = (Verdict::Body, limit);
        }
        // SAFETY: the caller's promise.
        unsafe { crate::call::answer(answer, || first) }?;
        Ok(exchange)
    });
    begun.map_or(std::ptr::null_mut(), Box::into_raw)
}

/// Chooses the request's server, and makes its record readable for it. `have` is an `unskew_have`. The verdict is `FORWARD` or `REFUSE`.
///
/// # Safety
/// `exchange` has begun and not ended, `body` can be read, `answer` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unskew_place(exchange: *mut Exchange, have: u32, body: Bytes, answer: *mut Answer) -> Status {
    // SAFETY: the caller's promise.
    step(exchange, answer, |exchange| {
        // SAFETY: the caller's promise.
        let given = unsafe { given(have, body) }?;
        let Exchange { inner, threads, head, .. } = exchange;
        let placed = threads.block_on(inner.place(head, given));
        exchange.forward(placed)
    })
}

/// The server took no connection: another one. The verdict is `FORWARD` or `REFUSE`.
///
/// # Safety
/// As `unskew_place`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unskew_unreachable(exchange: *mut Exchange, answer: *mut Answer) -> Status {
    step(exchange, answer, |exchange| {
        let Exchange { inner, threads, head, .. } = exchange;
        let placed = threads.block_on(inner.unreachable(head));
        exchange.forward(placed)
    })
}

/// The server failed the request: `fault` is an `unskew_fault`. The verdict is `REFUSE`.
///
/// # Safety
/// As `unskew_place`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unskew_failed(exchange: *mut Exchange, fault: u32, answer: *mut Answer) -> Status {
    step(exchange, answer, |exchange| {
        let faults = [
            (Fault::Unreachable, ServerFault::Unreachable),
            (Fault::Timeout, ServerFault::Timeout),
            (Fault::BrokenAnswer, ServerFault::BrokenAnswer),
        ];
        let known = faults.into_iter().find(|(known, _)| *known as u32 == fault);
        let (_, fault) = known.ok_or_else(|| Failed::input(format!("{fault} is no unskew_fault")))?;
        let problem = exchange.inner.failed(fault);
        Ok(exchange.refuse(problem))
    })
}

/// Looks at the head of the answer. The verdict is `FORWARD`, with what is changed in the head, or `BODY`, with the same:
/// then head and body wait for `unskew_answer_body`, or `REFUSE`.
///
/// # Safety
/// As `unskew_place`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unskew_answer_head(
    exchange: *mut Exchange,
    status: u16,
    headers: Bytes,
    answer: *mut Answer,
) -> Status {
    step(exchange, answer, |exchange| {
        // SAFETY: the caller's promise.
        let headers = header_map(unsafe { headers.read() })?;
        let status = StatusCode::from_u16(status).map_err(|_| Failed::input(format!("{status} is no status")))?;
        let Exchange { inner, threads, .. } = exchange;
        match threads.block_on(inner.answer_head(status, &headers)) {
            Ok(AnswerHead { edits, wanted }) => {
                exchange.answer = (status, headers);
                edits.apply(&mut exchange.answer.1);
                let verdict = if wanted.is_some() { Verdict::Body } else { Verdict::Forward };
                Ok(Answer { limit: wanted.unwrap_or(0), ..exchange.edited(verdict, &edits, None) })
            }
            Err(problem) => Ok(exchange.refuse(problem)),
        }
    })
}

/// Looks at the body of the answer. The verdict is `FORWARD`, with what is changed on top of what `unskew_answer_head`
/// said, or `REFUSE`.
///
/// # Safety
/// As `unskew_place`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unskew_answer_body(
    exchange: *mut Exchange,
    have: u32,
    body: Bytes,
    answer: *mut Answer,
) -> Status {
    step(exchange, answer, |exchange| {
        // SAFETY: the caller's promise.
        let given = unsafe { given(have, body) }?;
        let Exchange { inner, threads, answer: (status, headers), .. } = exchange;
        match threads.block_on(inner.answer_body(*status, headers, given)) {
            Ok(adapter::AnswerBody { edits, body }) => Ok(exchange.edited(Verdict::Forward, &edits, body)),
            Err(problem) => Ok(exchange.refuse(problem)),
        }
    })
}

/// Ends an exchange, wherever it stands; null is allowed.
///
/// # Safety
/// `exchange` has begun and not ended, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unskew_end(exchange: *mut Exchange) {
    if !exchange.is_null() {
        // SAFETY: `unskew_begin` made it from a box, and the caller ends it once.
        let exchange = unsafe { Box::from_raw(exchange) };
        let _ = guarded(|| {
            drop(exchange);
            Ok(())
        });
    }
}

fn step(
    exchange: *mut Exchange,
    out: *mut Answer,
    body: impl FnOnce(&mut Exchange) -> Result<Answer, Failed>,
) -> Status {
    call(|| {
        // SAFETY: each step's caller promises that the exchange has begun, not ended, and is in no other call.
        let exchange = unsafe { exchange.as_mut() };
        let exchange = exchange.ok_or_else(|| Failed::input("the exchange is null: unskew_begin has refused it"))?;
        let found = body(exchange)?;
        // SAFETY: each step's caller promises that the answer can be written to.
        unsafe { answer(out, || found) }
    })
}

impl Exchange {
    fn new(started: &Started, head: request::Parts) -> Exchange {
        let inner = started.adapter.begin(&head);
        let answer = (StatusCode::OK, HeaderMap::new());
        Exchange { inner, threads: started.threads.handle().clone(), head, answer, held: Held::default() }
    }

    fn forward(&mut self, placed: Result<Forward, Response<bytes::Bytes>>) -> Result<Answer, Failed> {
        match placed {
            Ok(Forward { server, address, edits, body }) => {
                self.held.server = server;
                self.held.address = address.to_string();
                let edited = self.edited(Verdict::Forward, &edits, body);
                let (server, address) =
                    (Bytes::of(self.held.server.as_bytes()), Bytes::of(self.held.address.as_bytes()));
                Ok(Answer { server, address, holds: self.inner.holds(), looks: self.inner.looks(), ..edited })
            }
            Err(problem) => Ok(self.refuse(problem)),
        }
    }

    fn edited(&mut self, verdict: Verdict, edits: &Edits, body: Option<bytes::Bytes>) -> Answer {
        let held = &mut self.held;
        held.remove.clear();
        for name in &edits.remove {
            held.remove.extend_from_slice(name.as_str().as_bytes());
            held.remove.extend_from_slice(b"\r\n");
        }
        held.set.clear();
        for (name, value) in &edits.set {
            line(&mut held.set, name, value);
        }
        let changed = body.is_some();
        held.body = body.unwrap_or_default();
        let (remove, set) = (Bytes::of(&held.remove), Bytes::of(&held.set));
        Answer { remove, set, body: if changed { Bytes::of(&held.body) } else { Bytes::NONE }, ..Answer::of(verdict) }
    }

    fn refuse(&mut self, problem: Response<bytes::Bytes>) -> Answer {
        let (head, body) = problem.into_parts();
        self.held.set.clear();
        for (name, value) in &head.headers {
            line(&mut self.held.set, name, value);
        }
        self.held.body = body;
        let (set, body) = (Bytes::of(&self.held.set), Bytes::of(&self.held.body));
        Answer { status: head.status.as_u16(), set, body, ..Answer::of(Verdict::Refuse) }
    }
}

impl Answer {
    pub(crate) fn none() -> Answer {
        Answer::of(Verdict::Forward)
    }

    fn of(verdict: Verdict) -> Answer {
        Answer {
            verdict,
            status: 0,
            holds: false,
            looks: false,
            limit: 0,
            server: Bytes::NONE,
            address: Bytes::NONE,
            remove: Bytes::NONE,
            set: Bytes::NONE,
            body: Bytes::NONE,
        }
    }
}

/// # Safety
/// `body` can be read.
unsafe fn given(have: u32, body: Bytes) -> Result<Given, Failed> {
    match have {
        _ if have == Have::Nothing as u32 => Ok(Given::Nothing),
        // SAFETY: the caller's promise.
        _ if have == Have::Whole as u32 => Ok(Given::Whole(bytes::Bytes::copy_from_slice(unsafe { body.read() }))),
        _ if have == Have::TooLong as u32 => Ok(Given::TooLong),
        _ => Err(Failed::input(format!("{have} is no unskew_have"))),
    }
}

fn line(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn request_head(method: &[u8], target: &[u8], headers: &[u8]) -> Result<request::Parts, Failed> {
    let request = Request::builder().method(method).uri(target).body(());
    let request = request.map_err(|error| Failed::input(format!("the request's head can't be read: {error}")))?;
    let (mut head, ()) = request.into_parts();
    head.headers = header_map(headers)?;
    Ok(head)
}

fn header_map(lines: &[u8]) -> Result<HeaderMap, Failed> {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)) {
        if line.is_empty() {
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = colon.map_or((line, &b""[..]), |at| (&line[..at], &line[at + 1..]));
        let read = HeaderName::from_bytes(name).ok().zip(HeaderValue::from_bytes(value.trim_ascii()).ok());
        let (name, value) = read.ok_or_else(|| {
            Failed::input(format!("header line {} can't be read", headers.len() + 1)) // what it says is nobody's
        })?;
        headers.append(name, value);
    }
    Ok(headers)
}
