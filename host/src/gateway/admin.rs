//! The admin API: a listener of its own, one gate before all routes, and nothing of it on the data port.
//!
//! Whoever comes in must bear the token; a request that a browser sent for another site has none, and one with an
//! `Origin` is turned away even so. Bodies are read whole before any route sees them, within bounds of length and time.

mod documents;
mod metrics;
mod openapi;
mod routes;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, ORIGIN, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use super::listen::stopped;
use super::state::State;
use super::{ACCEPT_PAUSE, StartError, keys, not_listening};
use crate::pack::Digest;

/// Connections at once; more wait to be taken.
const CONNECTIONS: usize = 64;

/// A head must be here within this, and a body within `BODY`.
const HEAD: Duration = Duration::from_secs(5);
const BODY: Duration = Duration::from_secs(30);

/// The shortest token, in bytes.
const TOKEN_BYTES: usize = 32;

/// Who may come in, and with how much.
struct Gate {
    token: Digest,
    max_bytes: usize,
    routes: TowerToHyperService<axum::Router>,
}

type Answer = Response<axum::body::Body>;

/// The listener, before it runs.
pub(crate) struct Admin {
    listener: std::net::TcpListener,
    pub(crate) address: SocketAddr,
    token: Digest,
    max_bytes: usize,
}

impl Admin {
    /// Takes its address and its token.
    pub(crate) fn open(config: &crate::config::Config) -> Result<Option<Admin>, StartError> {
        let Some(entry) = &config.admin else { return Ok(None) };
        let token = keys::text("admin.token", &entry.token)?;
        if token.len() < TOKEN_BYTES {
            return Err(StartError::Secret(format!(
                "admin.token: it has {} bytes, {TOKEN_BYTES} are needed: `openssl rand -hex 32` makes one",
                token.len()
            )));
        }
        let listener = super::bind(&entry.listen)?;
        let address = listener.local_addr().map_err(|reason| not_listening(&entry.listen, reason))?;
        let max_bytes = entry.max_bytes.saturating_mul(2); // a guest comes in base64
        Ok(Some(Admin { listener, address, token: Digest::of(token.as_bytes()), max_bytes }))
    }

    /// Serves until the gateway stops.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn start(self, state: Arc<State>, mut stop: watch::Receiver<bool>) -> Result<(), StartError> {
        let Admin { listener, address, token, max_bytes } = self;
        let listener = TcpListener::from_std(listener).map_err(|reason| not_listening(&address.to_string(), reason))?;
        let routes = TowerToHyperService::new(routes::routes(state));
        let gate = Arc::new(Gate { token, max_bytes, routes });
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        tracing::info!(%address, "admin API listens");
        tokio::spawn(async move {
            loop {
                let Ok(place) = room.clone().acquire_owned().await else { return };
                let stream = tokio::select! {
                    () = stopped(&mut stop) => return,
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => stream,
                        Err(error) => {
                            tracing::warn!(%error, "admin API: connection can't be taken");
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                            continue;
                        }
                    },
                };
                let _ = stream.set_nodelay(true);
                let gate = gate.clone();
                let answer = service_fn(move |request| {
                    let gate = gate.clone();
                    async move { Ok::<_, Infallible>(gate.answer(request).await) }
                });
                let mut http = hyper::server::conn::http1::Builder::new();
                http.timer(TokioTimer::new()).header_read_timeout(HEAD);
                tokio::spawn(async move {
                    let _ = http.serve_connection(TokioIo::new(stream), answer).await;
                    drop(place);
                });
            }
        });
        Ok(())
    }
}

impl Gate {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let open = matches!(head.uri.path(), "/livez" | "/readyz") && matches!(head.method, Method::GET | Method::HEAD);
        if !open {
            if head.headers.contains_key(ORIGIN) {
                return problem(StatusCode::FORBIDDEN, "browsers have no business here: the request has an Origin");
            }
            if !self.admits(head.headers.get_all(AUTHORIZATION).iter().collect::<Vec<_>>().as_slice()) {
                let mut refusal = problem(
                    StatusCode::UNAUTHORIZED,
                    "say `Authorization: Bearer …` with the token that `admin.token` of the configuration names",
                );
                refusal.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                return refusal;
            }
        }
        let body = tokio::time::timeout(BODY, Limited::new(body, self.max_bytes).collect()).await;
        let body = match body {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                let detail = format!("the body has more than {} bytes: raise admin.max_bytes", self.max_bytes);
                return problem(StatusCode::PAYLOAD_TOO_LARGE, &detail);
            }
            Ok(Err(_)) => return problem(StatusCode::BAD_REQUEST, "the body broke off"),
            Err(_) => return problem(StatusCode::REQUEST_TIMEOUT, "the body took too long"),
        };
        match self.routes.call(Request::from_parts(head, Full::new(body))).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        }
    }

    /// Exactly one token, and the right one. Digests are compared, so that the time tells nothing of the token.
    fn admits(&self, given: &[&HeaderValue]) -> bool {
        let [given] = given else { return false };
        let token = given.as_bytes().strip_prefix(b"Bearer ").unwrap_or_default();
        Digest::of(token) == self.token
    }
}

/// An answer of `application/problem+json` (RFC 9457).
fn problem(status: StatusCode, detail: &str) -> Answer {
    let document = json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or_default(),
        "status": status.as_u16(),
        "detail": detail,
    });
    let mut answer = Response::new(axum::body::Body::from(Bytes::from(document.to_string())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    answer
}
