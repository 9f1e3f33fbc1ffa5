//! The trace of a request: taken from its `traceparent` (W3C Trace Context) or begun here, and handed on to the server.
//!
//! Where traces are exported, the request's own span and those of its decisions and translations are noted on the way.
//! No span holds what a record says, a path or a session's id; a session stands in it as a digest.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::edits::Edits;
use super::otlp::{Kind, Span, Spans, Value};
use super::request::Ctx;
use crate::contract::{Translation, Version};
use crate::error::CallError;
use crate::generation::Generation;
use crate::limits::Mode;
use crate::pack::Digest;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// A request's place in a trace.
pub(crate) struct Trace {
    id: u128,
    /// The span of whoever sent the request; none where the trace begins here.
    parent: Option<u64>,
    flags: u8,
    /// The request's own span; none where traces are not exported, and the header passes as it came.
    span: Option<u64>,
    noted: Option<Box<Noted>>,
}

/// What is noted of a request whose trace is exported.
struct Noted {
    method: &'static str,
    clock: Clock,
    deciding: Instant,
    spans: Vec<Span>,
}

/// Moments of the wall clock by a clock that never jumps.
#[derive(Clone, Copy)]
struct Clock {
    wall: Duration,
    began: Instant,
}

/// The flag that says that somebody keeps the trace.
const SAMPLED: u8 = 1;

/// The flags that are known (level 2): sampled, and that the id is random. Others are not handed on.
const KNOWN: u8 = 3;

impl Trace {
    /// The trace that a request belongs to. Without an exporter only one that comes with it counts.
    pub(crate) fn of(head: &http::request::Parts, spans: Option<&Spans>) -> Option<Trace> {
        let taken = parent(&head.headers);
        let Some(spans) = spans else {
            return taken.map(|(id, parent, flags)| Trace { id, parent: Some(parent), flags, span: None, noted: None });
        };
        let (id, parent, flags) = match taken {
            Some((id, parent, flags)) => (id, Some(parent), flags & KNOWN),
            None => (spans.trace_id(), None, if spans.takes_turn() { SAMPLED } else { 0 }),
        };
        let noted = (flags & SAMPLED != 0).then(|| Box::new(Noted::begun(known(head.method.as_str()))));
        Some(Trace { id, parent, flags, span: Some(spans.span_id()), noted })
    }

    /// Tells the server that this request's span is the parent of its own.
    pub(crate) fn hand_on(&self, headers: &HeaderMap, edits: &mut Edits) {
        let Some(span) = self.span else { return };
        let text = format!("00-{:032x}-{span:016x}-{:02x}", self.id, self.flags);
        if let Ok(value) = HeaderValue::try_from(text) {
            edits.set(TRACEPARENT, value);
        }
        if self.parent.is_none() {
            edits.remove_all(headers, &[TRACESTATE]); // of a trace that nobody could read
        }
    }
}

/// The trace's id, as logs have it.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.id)
    }
}

impl Noted {
    fn begun(method: &'static str) -> Noted {
        let (wall, began) = (SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(), Instant::now());
        Noted { method, clock: Clock { wall, began }, deciding: began, spans: Vec::new() }
    }
}

impl Clock {
    /// Nanoseconds since 1970.
    fn at(self, moment: Instant) -> u64 {
        u64::try_from((self.wall + moment.saturating_duration_since(self.began)).as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Ctx {
    /// Whether what is done for this request is noted for its trace.
    pub(crate) fn is_traced(&self) -> bool {
        self.trace.as_ref().is_some_and(|trace| trace.noted.is_some())
    }

    /// A server is being chosen from now on.
    pub(crate) fn trace_deciding(&mut self) {
        if let Some(noted) = self.trace.as_mut().and_then(|trace| trace.noted.as_mut()) {
            noted.deciding = Instant::now();
        }
    }

    /// A server was chosen, or none: `reason` is the line that says why.
    pub(crate) fn trace_decided(&mut self, spans: &Spans, reason: String) {
        let mut attributes = self.pack_attributes();
        let mut failed = None;
        match &self.placed {
            Some(placed) => {
                let server = placed.server();
                attributes.push(("unskew.server", Value::Text(server.name.clone())));
                attributes.push(("unskew.server.version", Value::Text(server.version.clone())));
                attributes.push(("unskew.tier", Value::Word(placed.tier.as_str())));
            }
            None => failed = Some("no-server"),
        }
        attributes.push(("unskew.reason", Value::Text(reason)));
        let began = self.trace.as_ref().and_then(|trace| Some(trace.noted.as_ref()?.deciding));
        if let Some(began) = began {
            self.trace_span(spans, "decision", began, attributes, failed);
            self.trace_deciding(); // where it is looked at again
        }
    }

    /// A record was translated since `began`, or could not be. `from` is none where it was not recognised.
    pub(crate) fn trace_translated(
        &mut self,
        spans: &Spans,
        generation: &Generation,
        (from, to): (Option<Version>, Version),
        began: Instant,
        outcome: Result<&Translation, &CallError>,
    ) {
        let manifest = generation.manifest();
        let mut attributes = vec![
            ("unskew.pack", Value::Text(manifest.name.clone())),
            ("unskew.pack.revision", Value::Number(manifest.revision)),
            ("unskew.to", Value::Text(manifest.id(to).to_owned())),
        ];
        if let Some(from) = from {
            attributes.push(("unskew.from", Value::Text(manifest.id(from).to_owned())));
            attributes.push(("unskew.fidelity", Value::Word(generation.judge(from, to).fidelity.as_str())));
        }
        if let Some(placed) = &self.placed {
            attributes.push(("unskew.tier", Value::Word(placed.tier.as_str())));
        }
        if let Ok(translation) = outcome {
            let counts = translation.counts;
            for (name, count) in
                [("unskew.carried", counts.carried), ("unskew.restored", counts.restored), ("unskew.lost", counts.lost)]
            {
                attributes.push((name, Value::Number(count.into())));
            }
        }
        self.trace_span(spans, "translate", began, attributes, outcome.err().map(CallError::as_str));
    }

    /// The request is over: its spans go out, unless there is none.
    pub(crate) fn trace_over(&self, spans: &Spans) {
        let Some(trace) = &self.trace else { return };
        let (Some(noted), Some(id)) = (&trace.noted, trace.span) else { return };
        let status = self.refusal.as_ref().map(|refusal| refusal.kind.status()).or(self.answered);
        let mut attributes = self.pack_attributes();
        attributes.push(("http.request.method", Value::Word(noted.method)));
        if let Some(rule) = &self.rule {
            attributes.push(("http.route", Value::Text(rule.route.to_string())));
        }
        if let Some(status) = status {
            attributes.push(("http.response.status_code", Value::Number(status.as_u16().into())));
        }
        if let Some(session) = &self.session {
            let digest = Digest::of(session.as_bytes()).to_string();
            attributes.push(("unskew.session", Value::Text(digest[..16].to_owned())));
        }
        let mode = match self.mode {
            Mode::Off => "off",
            Mode::Observe => "observe",
            Mode::Enforce => "enforce",
        };
        attributes.push(("unskew.mode", Value::Word(mode)));
        let failed = match (&self.refusal, status) {
            (Some(refusal), _) => Some(refusal.kind.as_str()),
            (None, Some(status)) if status.is_server_error() => Some("server-error"),
            (None, None) => Some("no-answer"),
            (None, Some(_)) => None,
        };
        if let Some(failed) = failed {
            attributes.push(("error.type", Value::Word(failed)));
        }
        // A client's own fault is no error of a server's span.
        let failed = failed.filter(|_| status.is_none_or(|status: StatusCode| status.is_server_error()));
        let request = Span {
            trace: trace.id,
            id,
            parent: trace.parent,
            flags: trace.flags,
            name: "request",
            kind: Kind::Server,
            began: noted.clock.at(noted.clock.began),
            ended: noted.clock.at(Instant::now()),
            attributes,
            failed,
        };
        spans.note(noted.spans.iter().cloned().chain([request]).collect());
    }

    fn pack_attributes(&self) -> Vec<(&'static str, Value)> {
        let Some(generation) = &self.generation else { return Vec::new() };
        let manifest = generation.manifest();
        vec![
            ("unskew.pack", Value::Text(manifest.name.clone())),
            ("unskew.pack.revision", Value::Number(manifest.revision)),
            ("unskew.generation", Value::Number(generation.id())),
        ]
    }

    fn trace_span(
        &mut self,
        spans: &Spans,
        name: &'static str,
        began: Instant,
        attributes: Vec<(&'static str, Value)>,
        failed: Option<&'static str>,
    ) {
        /// A request that is tried again and again notes no more than this.
        const MOST: usize = 32;
        let Some(trace) = &mut self.trace else { return };
        let Some(noted) = trace.noted.as_mut().filter(|noted| noted.spans.len() < MOST) else { return };
        noted.spans.push(Span {
            trace: trace.id,
            id: spans.span_id(),
            parent: trace.span,
            flags: trace.flags,
            name,
            kind: Kind::Internal,
            began: noted.clock.at(began),
            ended: noted.clock.at(Instant::now()),
            attributes,
            failed,
        });
    }
}

/// What the one `traceparent` of a request says: trace id, span id and flags (W3C Trace Context, section 3.2). None where
/// it is none, stands twice, or breaks a rule of its version; what a later version appends is not looked at.
fn parent(headers: &HeaderMap) -> Option<(u128, u64, u8)> {
    let mut all = headers.get_all(TRACEPARENT).iter();
    let (text, None) = (all.next()?.to_str().ok()?, all.next()) else { return None };
    let bytes = text.as_bytes();
    let lower = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let (form, rest) = bytes.split_at_checked(55)?;
    let parts = [&form[..2], &form[3..35], &form[36..52], &form[53..]];
    let dashes = [form[2], form[35], form[52]].iter().all(|byte| *byte == b'-');
    if !dashes || !parts.into_iter().all(lower) || parts[0] == b"ff" {
        return None;
    }
    match (parts[0], rest.first()) {
        (_, None) => {}
        (b"00", Some(_)) => return None,
        (_, Some(byte)) if *byte != b'-' => return None,
        (_, Some(_)) => {}
    }
    let id = u128::from_str_radix(text.get(3..35)?, 16).ok().filter(|id| *id != 0)?;
    let span = u64::from_str_radix(text.get(36..52)?, 16).ok().filter(|span| *span != 0)?;
    Some((id, span, u8::from_str_radix(text.get(53..55)?, 16).ok()?))
}

/// A method that everybody knows; a client's own words are no attribute.
fn known(method: &str) -> &'static str {
    const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    METHODS.into_iter().find(|known| *known == method).unwrap_or("_OTHER")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Option<(u128, u64, u8)> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACEPARENT, HeaderValue::from_str(value).unwrap());
        }
        parent(&headers)
    }

    #[test]
    fn a_traceparent_is_taken_by_the_rules_of_its_version_and_by_no_others() {
        const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let said = Some((0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, 0x00f0_67aa_0ba9_02b7, 1));
        assert_eq!(read(&[GOOD]), said);
        // A later version may append, after a dash.
        assert_eq!(read(&[&GOOD.replacen("00", "cc", 1)]), said);
        assert_eq!(read(&[&format!("{}-what-comes", GOOD.replacen("00", "cc", 1))]), said);
        for bad in [
            "",
            "00",
            &GOOD[..54],
            &format!("{GOOD}-"),
            &format!("{GOOD}-00"),
            &format!("{GOOD}0"),
            &format!("{}.what", GOOD.replacen("00", "cc", 1)),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.replacen("00", "0g", 1),
            &GOOD.to_uppercase(),
            &GOOD.replace('-', "_"),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &GOOD.replace("00f067aa0ba902b7", "+0f067aa0ba902b7"),
            &GOOD.replace("-01", "-0G"),
            &format!(" {GOOD}"),
        ] {
            assert_eq!(read(&[bad]), None, "{bad:?}");
        }
        assert_eq!(read(&[GOOD, GOOD]), None, "two of them are none");
    }
}
