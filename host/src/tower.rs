//! A [`tower`](https://docs.rs/tower) layer: the gateway inside servers that are built on hyper, axum or tonic.
//!
//! The layer stands before a service that sends requests on, such as a hyper client. It chooses the server, rewrites the
//! request's URI to its address, makes the record readable, and does the same for the answer. What can't be served is
//! answered with a problem document, or with a status where the request is gRPC, so the service itself never fails. `examples/tower.rs` is a whole gateway.
//!
//! ```no_run
//! use std::convert::Infallible;
//!
//! use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! use unskew::adapter::{Adapter, Surface};
//! use unskew::{config::Config, gateway::runtime, tower::AdapterLayer};
//!
//! let config = Config::from_file("unskew.toml")?;
//! let adapter = Adapter::start(config.clone(), runtime(&config)?, None, Surface::whole("my gateway"))?;
//! let client = Client::builder(TokioExecutor::new()).build_http();
//! let service = tower_layer::Layer::layer(&AdapterLayer::new(adapter), client);
//! # fn takes<S: tower_service::Service<http::Request<hyper::body::Incoming>, Error = Infallible>>(_: S) {}
//! # takes(service);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, request};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use tower_layer::Layer;
use tower_service::Service;

use crate::adapter::{Adapter, Exchange, Forward, Given, ServerFault};

/// Lays an adapter before a service that sends requests on.
#[derive(Clone)]
pub struct AdapterLayer {
    adapter: Adapter,
}

/// A service behind an adapter.
#[derive(Clone)]
pub struct AdapterService<S> {
    adapter: Adapter,
    inner: S,
}

/// Where the request goes; an extension of each request that the inner service gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The server's name.
    pub server: String,
    /// Where it listens.
    pub address: SocketAddr,
}

/// A body that passes, or another one in its place.
pub struct Passing<B> {
    first: Option<Bytes>,
    rest: Option<Pin<Box<B>>>,
    trailers: Option<HeaderMap>,
    /// Ends with the body: until then the request is on its way.
    _exchange: Option<Exchange>,
}

type Answer<R> = Response<Passing<R>>;

impl AdapterLayer {
    /// A layer for what this adapter describes. Spawn `adapter.tend()` as well, for health checks and changed packs.
    pub fn new(adapter: Adapter) -> AdapterLayer {
        AdapterLayer { adapter }
    }
}

impl<S> Layer<S> for AdapterLayer {
    type Service = AdapterService<S>;

    fn layer(&self, inner: S) -> AdapterService<S> {
        AdapterService { adapter: self.adapter.clone(), inner }
    }
}

impl<S, B, R> Service<Request<B>> for AdapterService<S>
where
    S: Service<Request<Passing<B>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body<Data = Bytes> + Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
{
    type Response = Answer<R>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer<R>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(())) // the inner service is waited for where its failure can be answered
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (adapter, inner) = (self.adapter.clone(), self.inner.clone());
        Box::pin(async move { Ok(serve(&adapter, inner, request).await) })
    }
}

async fn serve<S, B, R>(adapter: &Adapter, mut inner: S, request: Request<B>) -> Answer<R>
where
    S: Service<Request<Passing<B>>, Response = Response<R>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body<Data = Bytes>,
    R: Body<Data = Bytes>,
{
    let (head, body) = request.into_parts();
    let mut exchange = adapter.begin(&head);
    let is_grpc = head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(GRPC.as_bytes()));
    let refuse = |problem: Response<Bytes>| (if is_grpc { status_of(problem) } else { problem }).map(Passing::of);
    let (given, mut passing) = match exchange.wanted() {
        None if body.is_end_stream() => (Given::Nothing, Passing::of(Bytes::new())),
        None => (Given::Nothing, Passing::through(body)),
        Some(limit) => match collect(body, limit).await {
            Ok((given, passing)) => (given, passing),
            Err(_) => return refuse(exchange.broken_body()),
        },
    };
    let mut placed = exchange.place(&head, given).await;
    let answer = loop {
        let forward = match placed {
            Ok(forward) => forward,
            Err(problem) => return refuse(problem),
        };
        let again = passing.again();
        let body = match &forward.body {
            Some(body) => Passing::of(body.clone()),
            None => passing,
        };
        let ready = std::future::poll_fn(|cx| inner.poll_ready(cx)).await.map_err(|error| fault(&*error.into()));
        let sent = match ready {
            Ok(()) => inner.call(outgoing(&head, forward, body)).await.map_err(|error| fault(&*error.into())),
            Err(fault) => Err(fault),
        };
        let fault = match sent {
            Ok(answer) => break answer,
            Err(fault) => fault,
        };
        match (fault, again) {
            (ServerFault::Unreachable, Some(again)) => {
                passing = again;
                placed = exchange.unreachable(&head).await;
            }
            (fault, _) => return refuse(exchange.failed(fault)),
        }
    };
    let (mut head, body) = answer.into_parts();
    let wanted = match exchange.answer_head(head.status, &head.headers).await {
        Ok(answer) => {
            answer.edits.apply(&mut head.headers);
            answer.wanted
        }
        Err(problem) => return refuse(problem),
    };
    let Some(limit) = wanted else {
        return Response::from_parts(head, Passing { _exchange: Some(exchange), ..Passing::through(body) });
    };
    let Ok((given, passing)) = collect(body, limit).await else {
        return refuse(exchange.failed(ServerFault::BrokenAnswer));
    };
    match exchange.answer_body(head.status, &head.headers, given).await {
        Ok(answer) => {
            answer.edits.apply(&mut head.headers);
            Response::from_parts(head, answer.body.map_or(passing, Passing::of))
        }
        Err(problem) => refuse(problem),
    }
}

/// A problem as gRPC tells it: a status without a message, in the head alone. `proxy-status` stays, as metadata.
fn status_of(problem: Response<Bytes>) -> Response<Bytes> {
    let code = match problem.status() {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => "14", // UNAVAILABLE
        StatusCode::GATEWAY_TIMEOUT => "4",                                // DEADLINE_EXCEEDED
        StatusCode::PAYLOAD_TOO_LARGE => "8",                              // RESOURCE_EXHAUSTED
        status if status.is_client_error() => "3",                         // INVALID_ARGUMENT
        _ => "13",                                                         // INTERNAL
    };
    let document: Option<serde_json::Value> = serde_json::from_slice(problem.body()).ok();
    let mut message = String::new();
    for byte in document.as_ref().and_then(|document| document["detail"].as_str()).unwrap_or_default().bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => message.push(char::from(byte)),
            _ => message += &format!("%{byte:02X}"),
        }
    }
    let (mut head, _) = problem.into_parts();
    head.status = StatusCode::OK;
    head.headers.remove(CONTENT_LENGTH);
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static(GRPC));
    head.headers.insert(GRPC_STATUS, HeaderValue::from_static(code));
    if let Ok(message) = HeaderValue::from_str(&message) {
        head.headers.insert(GRPC_MESSAGE, message);
    }
    Response::from_parts(head, Bytes::new())
}

const GRPC: &str = "application/grpc";
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The request as the inner service gets it.
fn outgoing<B>(head: &request::Parts, forward: Forward, body: Passing<B>) -> Request<Passing<B>> {
    let mut head = head.clone();
    forward.edits.apply(&mut head.headers);
    if let (None, Some(authority)) = (head.headers.get(HOST), head.uri.authority())
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        head.headers.insert(HOST, host); // the address of the server is not what the client asked for
    }
    let mut uri = std::mem::take(&mut head.uri).into_parts();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = Authority::try_from(forward.address.to_string()).ok(); // an address is one
    head.uri = Uri::from_parts(uri).unwrap_or_default();
    head.extensions.insert(Target { server: forward.server, address: forward.address });
    Request::from_parts(head, body)
}

/// Reads a body, up to `limit`; what was read of a longer one comes before its rest.
async fn collect<B: Body<Data = Bytes>>(body: B, limit: usize) -> Result<(Given, Passing<B>), B::Error> {
    let mut body = Box::pin(body);
    let (mut read, mut trailers) = (BytesMut::new(), None);
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => read.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
        if read.len() > limit {
            let passing = Passing { first: Some(read.freeze()), rest: Some(body), trailers: None, _exchange: None };
            return Ok((Given::TooLong, passing));
        }
    }
    let read = read.freeze();
    Ok((Given::Whole(read.clone()), Passing { trailers, ..Passing::of(read) }))
}

/// What an error of the inner service says. Where a connection was refused nothing was sent, and another server can have
/// the request.
fn fault(error: &(dyn Error + 'static)) -> ServerFault {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<hyper_util::client::legacy::Error>().is_some_and(|error| error.is_connect()) {
            return ServerFault::Unreachable;
        }
        match error.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
            Some(std::io::ErrorKind::ConnectionRefused) => return ServerFault::Unreachable,
            Some(std::io::ErrorKind::TimedOut) => return ServerFault::Timeout,
            Some(_) | None => cause = error.source(),
        }
    }
    ServerFault::BrokenAnswer
}

impl<B> Passing<B> {
    fn of(body: Bytes) -> Passing<B> {
        Passing { first: Some(body), rest: None, trailers: None, _exchange: None }
    }

    fn through(body: B) -> Passing<B> {
        Passing { first: None, rest: Some(Box::pin(body)), trailers: None, _exchange: None }
    }

    /// The same body once more, where all of it is here.
    fn again(&self) -> Option<Passing<B>> {
        let all = self.rest.is_none();
        all.then(|| Passing { first: self.first.clone(), rest: None, trailers: self.trailers.clone(), _exchange: None })
    }
}

impl<B: Body<Data = Bytes>> Body for Passing<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(first) = self.first.take().filter(|first| !first.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if let Some(rest) = &mut self.rest {
            return rest.as_mut().poll_frame(cx);
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.first.as_ref().is_none_or(Bytes::is_empty)
            && self.rest.as_ref().is_none_or(|rest| rest.is_end_stream())
            && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let first = self.first.as_ref().map_or(0, |first| first.len() as u64);
        let Some(rest) = &self.rest else { return SizeHint::with_exact(first) };
        let rest = rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + first);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + first);
        }
        hint
    }
}
