//! Spans on their way to a collector: OTLP over HTTP as protobuf (opentelemetry-proto 1.x, `trace/v1`).
//!
//! No request waits for a collector: spans go into a queue of a bounded length, a task sends them in batches, and what
//! the queue can't take, or the collector doesn't, is lost and counted.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::Full;
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};

use super::{StartError, keys};
use crate::config::TracingEntry;
use crate::supply::{self, Address, Client, Pause};

/// One span, as it is noted.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) trace: u128,
    pub(crate) id: u64,
    pub(crate) parent: Option<u64>,
    pub(crate) flags: u8,
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Nanoseconds since 1970.
    pub(crate) began: u64,
    pub(crate) ended: u64,
    pub(crate) attributes: Vec<(&'static str, Value)>,
    /// Why it failed, in a word.
    pub(crate) failed: Option<&'static str>,
}

/// What a span is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Internal,
    Server,
}

/// The value of an attribute.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Word(&'static str),
    Text(String),
    Number(u64),
}

/// Where requests leave their spans.
pub(crate) struct Spans {
    queue: mpsc::UnboundedSender<Post>,
    /// Spans in the queue: it is no longer than `waiting`.
    queued: Arc<AtomicUsize>,
    waiting: usize,
    one_of: u64,
    turns: AtomicU64,
    ids: [RandomState; 3],
    numbers: AtomicU64,
    tally: Arc<Tally>,
}

/// What has become of spans.
#[derive(Default)]
pub(crate) struct Tally {
    sent: AtomicU64,
    lost: AtomicU64,
}

/// The task that sends them, before it runs.
pub(crate) struct Export {
    posts: mpsc::UnboundedReceiver<Post>,
    queued: Arc<AtomicUsize>,
    tally: Arc<Tally>,
    address: Address,
    client: Client,
    headers: HeaderMap,
    service: String,
    every: Duration,
}

enum Post {
    Spans(Vec<Span>),
    /// All that was noted before is to be sent now, and the sender to be told.
    Flush(oneshot::Sender<()>),
}

/// The most spans of one batch.
const BATCH: usize = 512;

/// How often a batch is sent that a collector doesn't take now.
const TRIES: u32 = 4;

/// How long a collector may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer of a collector.
const ANSWER: usize = 64 << 10;

impl Spans {
    /// The queue and its task.
    ///
    /// # Errors
    /// If an address, a header or a file can't be used.
    pub(crate) fn open(entry: &TracingEntry) -> Result<(Spans, Export), StartError> {
        let address = Address::read(&entry.endpoint).map_err(StartError::Secret)?;
        let tls = supply::tls(entry.tls.as_ref(), &[&address]);
        let tls = tls.map_err(|reason| StartError::Secret(format!("tracing.tls: {reason}")))?;
        let mut headers = HeaderMap::new();
        for (name, key) in &entry.headers {
            let at = format!("tracing.headers.{name}");
            let mut value = HeaderValue::try_from(keys::text(&at, key)?)
                .map_err(|_| StartError::Secret(format!("{at}: it is no text for a header")))?;
            value.set_sensitive(true);
            let name = HeaderName::try_from(name.as_str())
                .map_err(|_| StartError::Secret(format!("{at}: it is no header name")))?;
            headers.insert(name, value);
        }
        let (queue, posts) = mpsc::unbounded_channel();
        let (queued, tally) = (Arc::<AtomicUsize>::default(), Arc::<Tally>::default());
        let spans = Spans {
            queue,
            queued: queued.clone(),
            waiting: entry.waiting,
            one_of: entry.one_of.max(1),
            turns: AtomicU64::new(0),
            ids: [RandomState::new(), RandomState::new(), RandomState::new()],
            numbers: AtomicU64::new(0),
            tally: tally.clone(),
        };
        let (service, every) = (entry.service.clone(), Duration::from_millis(entry.every_ms));
        let client = Client::new(ANSWER, tls);
        Ok((spans, Export { posts, queued, tally, address, client, headers, service, every }))
    }

    /// Leaves the spans of a request, or loses and counts them where too many wait. Never waits.
    pub(crate) fn note(&self, spans: Vec<Span>) {
        let many = spans.len();
        let room = |queued: usize| queued.checked_add(many).filter(|queued| *queued <= self.waiting);
        let taken = self.queued.fetch_update(Ordering::AcqRel, Ordering::Relaxed, room).is_ok();
        if !taken || self.queue.send(Post::Spans(spans)).is_err() {
            self.tally.lost(many);
        }
    }

    /// Waits until what was noted is sent or lost, for so long at most.
    pub(crate) async fn flush(&self, longest: Duration) {
        let (done, told) = oneshot::channel();
        if self.queue.send(Post::Flush(done)).is_ok() {
            let _ = tokio::time::timeout(longest, told).await; // what is late is lost
        }
    }

    /// Whether a trace that begins here is exported.
    pub(crate) fn takes_turn(&self) -> bool {
        self.turns.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.one_of)
    }

    /// A random id that no other trace has.
    pub(crate) fn trace_id(&self) -> u128 {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let [high, low, _] = &self.ids;
        let id = (u128::from(high.hash_one(number)) << 64) | u128::from(low.hash_one(number));
        id.max(1)
    }

    /// A random id for a span.
    pub(crate) fn span_id(&self) -> u64 {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        self.ids[2].hash_one(number).max(1)
    }

    /// Spans that the collector has taken.
    pub(crate) fn sent(&self) -> u64 {
        self.tally.sent.load(Ordering::Relaxed)
    }

    /// Spans that no collector will have.
    pub(crate) fn lost(&self) -> u64 {
        self.tally.lost.load(Ordering::Relaxed)
    }
}

impl Tally {
    fn sent(&self, many: usize) {
        self.sent.fetch_add(many as u64, Ordering::Relaxed);
    }

    fn lost(&self, many: usize) {
        self.lost.fetch_add(many as u64, Ordering::Relaxed);
    }
}

/// What a collector makes of a batch.
enum Verdict {
    /// It has taken all but so many.
    Taken(usize),
    /// It may take it later.
    Later(String),
    /// It never will.
    Never(String),
}

impl Export {
    /// Sends until the gateway is gone.
    pub(crate) async fn run(mut self) {
        let mut failing = false;
        loop {
            let (mut batch, mut waits) = (Vec::new(), None);
            let end = tokio::time::Instant::now() + self.every;
            let open = loop {
                match tokio::time::timeout_at(end, self.posts.recv()).await {
                    Err(_) => break true,
                    Ok(None) => break false,
                    Ok(Some(Post::Flush(told))) => {
                        waits = Some(told);
                        break true;
                    }
                    Ok(Some(Post::Spans(spans))) => {
                        batch.extend(spans);
                        if batch.len() >= BATCH {
                            break true;
                        }
                    }
                }
            };
            if !batch.is_empty() {
                let many = batch.len();
                self.send(batch, &mut failing).await;
                self.queued.fetch_sub(many, Ordering::AcqRel);
            }
            if let Some(told) = waits {
                let _ = told.send(()); // who waited may have given up
            }
            if !open {
                return;
            }
        }
    }

    async fn send(&self, batch: Vec<Span>, failing: &mut bool) {
        let many = batch.len();
        let body = Bytes::from(wire::request(&self.service, batch).encode_to_vec());
        let mut pause = Pause::new(Duration::from_secs(2));
        for attempt in 1..=TRIES {
            let reason = match self.ask(body.clone()).await {
                Verdict::Taken(rejected) => {
                    self.tally.sent(many.saturating_sub(rejected));
                    self.tally.lost(rejected.min(many));
                    if std::mem::replace(failing, false) {
                        tracing::info!(collector = self.address.shown(), "collector takes traces again");
                    }
                    return;
                }
                Verdict::Later(_) if attempt < TRIES => {
                    pause.wait().await;
                    continue;
                }
                Verdict::Later(reason) | Verdict::Never(reason) => reason,
            };
            self.tally.lost(many);
            if !std::mem::replace(failing, true) {
                tracing::warn!(
                    reason,
                    collector = self.address.shown(),
                    "traces are lost: see unskew_spans_lost_total"
                );
            }
            return;
        }
    }

    async fn ask(&self, body: Bytes) -> Verdict {
        let mut request = self.address.request(Method::POST).header(CONTENT_TYPE, "application/x-protobuf");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = match request.body(Full::new(body)) {
            Ok(request) => request,
            Err(error) => return Verdict::Never(error.to_string()),
        };
        let answer = match tokio::time::timeout(PATIENCE, self.client.ask(request, PATIENCE)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(reason)) => return Verdict::Later(reason),
            Err(_) => return Verdict::Later(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        match answer.status {
            status if status.is_success() => {
                let said = wire::Response::decode(answer.body).unwrap_or_default();
                let rejected = said.partial_success.map_or(0, |partial| partial.rejected_spans);
                Verdict::Taken(usize::try_from(rejected).unwrap_or(0))
            }
            // The answers after which a client tries again, by the specification of OTLP.
            status @ (StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT) => Verdict::Later(format!("it answers {status}")),
            status => Verdict::Never(format!("it answers {status}")),
        }
    }
}

/// The messages of `opentelemetry/proto/collector/trace/v1` and what they are made of, as far as they are used here.
mod wire {
    use super::{Kind, Span, Value};

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Request {
        #[prost(message, repeated, tag = "1")]
        resource_spans: Vec<ResourceSpans>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Response {
        #[prost(message, optional, tag = "1")]
        pub(super) partial_success: Option<PartialSuccess>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct PartialSuccess {
        #[prost(int64, tag = "1")]
        pub(super) rejected_spans: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct ResourceSpans {
        #[prost(message, optional, tag = "1")]
        resource: Option<Resource>,
        #[prost(message, repeated, tag = "2")]
        scope_spans: Vec<ScopeSpans>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct Resource {
        #[prost(message, repeated, tag = "1")]
        attributes: Vec<KeyValue>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct ScopeSpans {
        #[prost(message, optional, tag = "1")]
        scope: Option<Scope>,
        #[prost(message, repeated, tag = "2")]
        spans: Vec<SpanMessage>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct Scope {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(string, tag = "2")]
        version: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct SpanMessage {
        #[prost(bytes = "vec", tag = "1")]
        trace_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        span_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "4")]
        parent_span_id: Vec<u8>,
        #[prost(string, tag = "5")]
        name: String,
        #[prost(int32, tag = "6")]
        kind: i32,
        #[prost(fixed64, tag = "7")]
        start_time_unix_nano: u64,
        #[prost(fixed64, tag = "8")]
        end_time_unix_nano: u64,
        #[prost(message, repeated, tag = "9")]
        attributes: Vec<KeyValue>,
        #[prost(message, optional, tag = "15")]
        status: Option<Status>,
        #[prost(fixed32, tag = "16")]
        flags: u32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct Status {
        #[prost(string, tag = "2")]
        message: String,
        #[prost(int32, tag = "3")]
        code: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct KeyValue {
        #[prost(string, tag = "1")]
        key: String,
        #[prost(message, optional, tag = "2")]
        value: Option<AnyValue>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct AnyValue {
        #[prost(oneof = "Any", tags = "1, 3")]
        value: Option<Any>,
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    enum Any {
        #[prost(string, tag = "1")]
        Text(String),
        #[prost(int64, tag = "3")]
        Number(i64),
    }

    pub(super) fn request(service: &str, batch: Vec<Span>) -> Request {
        let resource = Resource {
            attributes: vec![
                pair("service.name", Value::Text(service.to_owned())),
                pair("service.version", Value::Word(env!("CARGO_PKG_VERSION"))),
            ],
        };
        let scope = Scope { name: "unskew".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
        let spans = batch.into_iter().map(message).collect();
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans }];
        Request { resource_spans: vec![ResourceSpans { resource: Some(resource), scope_spans }] }
    }

    fn message(span: Span) -> SpanMessage {
        /// Whether the parent is known to be of another process, and that it is.
        const REMOTE_KNOWN: u32 = 0x100;
        const REMOTE: u32 = 0x200;
        let (kind, remote) = match span.kind {
            Kind::Internal => (1, 0),
            Kind::Server => (2, if span.parent.is_some() { REMOTE } else { 0 }),
        };
        SpanMessage {
            trace_id: span.trace.to_be_bytes().to_vec(),
            span_id: span.id.to_be_bytes().to_vec(),
            parent_span_id: span.parent.map(|parent| parent.to_be_bytes().to_vec()).unwrap_or_default(),
            name: span.name.to_owned(),
            kind,
            start_time_unix_nano: span.began,
            end_time_unix_nano: span.ended,
            attributes: span.attributes.into_iter().map(|(key, value)| pair(key, value)).collect(),
            status: span.failed.map(|message| Status { message: message.to_owned(), code: 2 }),
            flags: u32::from(span.flags) | REMOTE_KNOWN | remote,
        }
    }

    fn pair(key: &str, value: Value) -> KeyValue {
        let value = match value {
            Value::Word(word) => Any::Text(word.to_owned()),
            Value::Text(text) => Any::Text(text),
            Value::Number(number) => Any::Number(i64::try_from(number).unwrap_or(i64::MAX)),
        };
        KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
    }
}
