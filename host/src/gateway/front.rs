//! The in-memory store over HTTP, for servers in other processes: `GET`, `PUT` and `DELETE /records/{key}`.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::listen::stopped;
use super::{ACCEPT_PAUSE, StartError, not_listening};
use crate::store::{CasOutcome, MemoryStore, Tag};

/// The longest record that is taken, in bytes.
const MAX_RECORD: usize = 16 << 20;

/// The longest time to live that is taken.
const LONGEST_TTL: Duration = Duration::from_secs(100 * 366 * 86_400);

/// Serves the store until the gateway stops; returns where it listens.
pub(crate) fn open(
    store: MemoryStore,
    listener: std::net::TcpListener,
    mut stop: watch::Receiver<bool>,
) -> Result<SocketAddr, StartError> {
    let refuse = |reason| not_listening("store.listen", reason);
    let address = listener.local_addr().map_err(refuse)?;
    let listener = TcpListener::from_std(listener).map_err(refuse)?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = stopped(&mut stop) => return,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let _ = stream.set_nodelay(true);
                        let store = store.clone();
                        let answer = service_fn(move |request| {
                            let store = store.clone();
                            async move { Ok::<_, Infallible>(answer(&store, request).await) }
                        });
                        let mut http = hyper::server::conn::http1::Builder::new();
                        http.timer(TokioTimer::new());
                        tokio::spawn(http.serve_connection(TokioIo::new(stream), answer));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "store: connection can't be taken");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    });
    Ok(address)
}

async fn answer(store: &MemoryStore, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let Some(key) = request.uri().path().strip_prefix("/records/").filter(|key| !key.is_empty()) else {
        return plain(StatusCode::NOT_FOUND, "records are at /records/{key}");
    };
    let key = super::session::decode_path(key);
    match *request.method() {
        Method::GET | Method::HEAD => match store.read(&key) {
            Some(stored) => {
                let mut response = tagged(StatusCode::OK, &stored.tag, stored.bytes);
                response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
                response
            }
            None => plain(StatusCode::NOT_FOUND, "no such record"),
        },
        Method::PUT => put(store, &key, request).await,
        Method::DELETE if store.delete(&key) => plain(StatusCode::NO_CONTENT, ""),
        Method::DELETE => plain(StatusCode::NOT_FOUND, "no such record"),
        _ => plain(StatusCode::METHOD_NOT_ALLOWED, "use GET, PUT or DELETE"),
    }
}

async fn put(store: &MemoryStore, key: &str, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let expected = request.headers().get(IF_MATCH).map(|value| untag(value.as_bytes()));
    let ttl = request.uri().query().and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("ttl_s=")));
    let ttl = match ttl.map(str::parse::<u64>) {
        None => None,
        Some(Ok(seconds)) => Some(Duration::from_secs(seconds)),
        Some(Err(_)) => return plain(StatusCode::BAD_REQUEST, "ttl_s is a number of seconds"),
    };
    if ttl.is_some_and(|ttl| ttl > LONGEST_TTL) {
        return plain(StatusCode::BAD_REQUEST, "ttl_s is at most a hundred years: leave it out, and the record stays");
    }
    let anew = match request.headers().get(IF_NONE_MATCH).map(|value| value.as_bytes()) {
        None => false,
        Some(b"*") if expected.is_none() => true,
        Some(_) => return plain(StatusCode::BAD_REQUEST, "If-None-Match is *, and stands alone"),
    };
    let Ok(body) = Limited::new(request.into_body(), MAX_RECORD).collect().await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, "records have at most 16 MiB");
    };
    let body = body.to_bytes();
    match expected {
        None if anew => match store.create(key, body, ttl) {
            Some(tag) => tagged(StatusCode::CREATED, &tag, Bytes::new()),
            None => plain(StatusCode::PRECONDITION_FAILED, "there is a record already"),
        },
        None => tagged(StatusCode::OK, &store.put(key, body, ttl), Bytes::new()),
        Some(None) => plain(StatusCode::PRECONDITION_FAILED, "If-Match is no tag of this store"),
        Some(Some(tag)) => match store.replace(key, &tag, body) {
            CasOutcome::Done(tag) => tagged(StatusCode::OK, &tag, Bytes::new()),
            CasOutcome::Changed => plain(StatusCode::PRECONDITION_FAILED, "the record has changed"),
            CasOutcome::Gone => plain(StatusCode::PRECONDITION_FAILED, "the record is gone"),
        },
    }
}

fn tagged(status: StatusCode, tag: &Tag, body: Bytes) -> Response<Full<Bytes>> {
    let mut text = String::with_capacity(tag.0.len() * 2 + 2);
    text.push('"');
    for byte in &tag.0 {
        let _ = write!(text, "{byte:02x}"); // writing to a string can't fail
    }
    text.push('"');
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    if let Ok(value) = http::HeaderValue::from_str(&text) {
        response.headers_mut().insert(ETAG, value);
    }
    response
}

fn untag(value: &[u8]) -> Option<Tag> {
    let hex = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = hex.chunks(2).map(byte).collect();
    bytes.map(|bytes| Tag(Bytes::from(bytes)))
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}
