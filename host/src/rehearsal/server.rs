//! The strict API servers of a rehearsal: they write records of their version, and refuse with code 1026 what they can't read.

mod dialect;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::{CasOutcome, MemoryStore, Runtime};

pub use dialect::Dialect;

/// The code in the body of an answer that refuses a record, as it stood in the post-mortem.
pub const UNREADABLE: u64 = 1026;

/// The key of a session's record in the store.
pub(super) fn key(session: &str) -> String {
    format!("session:{session}")
}

/// What the servers of one lane share.
pub(super) struct World {
    pub(super) dialects: Vec<Dialect>,
    pub(super) store: MemoryStore,
    /// How servers that read an older version write it as their own: the migration that their release ships with.
    pub(super) migration: Runtime,
    pub(super) births: Mutex<HashMap<String, Birth>>,
}

/// A session's record as it was born.
#[derive(Debug, Clone)]
pub(super) struct Birth {
    pub(super) dialect: usize,
    pub(super) record: Value,
    /// Whether a server rewrote it in a newer version by itself: what that lost is not the gateway's loss.
    pub(super) migrated: bool,
}

impl World {
    /// The births so far.
    pub(super) fn births(&self) -> MutexGuard<'_, HashMap<String, Birth>> {
        self.births.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One running server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    stop: watch::Sender<()>,
}

impl Server {
    /// Starts a server of one dialect on a free port of loopback.
    pub(super) async fn start(world: Arc<World>, dialect: usize) -> std::io::Result<Server> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(());
        tokio::spawn(accept(listener, Arc::new(Api { world, dialect }), stopped));
        Ok(Server { address, stop })
    }

    /// Finishes the requests that it has, after it took what is still on its way for this long.
    pub(super) fn drain(self, time: Duration) {
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            drop(self.stop);
        });
    }
}

struct Api {
    world: Arc<World>,
    dialect: usize,
}

type Answer = Response<Full<Bytes>>;

async fn accept(listener: TcpListener, api: Arc<Api>, mut stopped: watch::Receiver<()>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => return,
        };
        // A failed accept is the client's loss (reset before it was taken) or a shortage that the next one may not meet.
        let Ok((stream, _)) = accepted else { continue };
        let (api, mut stopped) = (api.clone(), stopped.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let service = service_fn(|request| api.clone().answer(request));
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                _ = connection.as_mut() => {}
                _ = stopped.changed() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
        });
    }
}

impl Api {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Answer, Infallible> {
        let path = request.uri().path().to_string();
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let answer = match (request.method(), segments.as_slice()) {
            (&Method::GET, ["health"]) => reply(StatusCode::OK, &json!({"ok": true})),
            (&Method::POST, ["sessions"]) => self.create(request).await,
            (&Method::POST, ["sessions", session, "connections"]) => self.join(session, request).await,
            _ => reply(StatusCode::NOT_FOUND, &json!({"message": "no such resource"})),
        };
        Ok(answer)
    }

    async fn create(&self, request: Request<Incoming>) -> Answer {
        let Some(session) = named(request, "session").await else { return malformed("session") };
        let record = self.own().new_session(&session);
        let (Ok(document), key) = (serde_json::from_slice::<Value>(&record), key(&session)) else {
            return broken("the session template is no JSON");
        };
        self.world.store.put(&key, Bytes::from(record), None);
        self.world.births().insert(session.clone(), Birth { dialect: self.dialect, record: document, migrated: false });
        reply(StatusCode::CREATED, &json!({"session": session}))
    }

    async fn join(&self, session: &str, request: Request<Incoming>) -> Answer {
        let Some(connection) = named(request, "connection").await else { return malformed("connection") };
        let key = key(session);
        loop {
            let Some(stored) = self.world.store.read(&key) else { return gone() };
            let document = match self.read(session, &stored.bytes) {
                Ok(document) => document,
                Err(reason) => return unreadable(&reason),
            };
            let (record, connections) = match self.own().join(document, &connection) {
                Ok(joined) => joined,
                Err(reason) => return unreadable(&reason),
            };
            match self.world.store.replace(&key, &stored.tag, Bytes::from(record)) {
                CasOutcome::Done(_) => {
                    let answer = json!({"session": session, "connection": connection, "connections": connections});
                    return reply(StatusCode::CREATED, &answer);
                }
                CasOutcome::Changed => {} // another writer was faster: read again
                CasOutcome::Gone => return gone(),
            }
        }
    }

    /// Reads a record strictly; one of an older version that this server knows is migrated first.
    fn read(&self, session: &str, record: &[u8]) -> Result<Value, String> {
        let document: Value = serde_json::from_slice(record).map_err(|error| error.to_string())?;
        let own = self.own();
        let refused = match own.accepts(&document) {
            Ok(()) => return Ok(document),
            Err(refused) => refused,
        };
        let older = own.reads.iter().filter(|index| **index != self.dialect);
        let known = older.map(|index| &self.world.dialects[*index]).find(|dialect| dialect.accepts(&document).is_ok());
        let Some(known) = known else { return Err(refused) };
        let migrated = self.world.migration.translate(record, &[], &known.id, &own.id);
        let migrated = migrated.map_err(|error| error.to_string())?;
        let document = serde_json::from_slice(&migrated.record).map_err(|error| error.to_string())?;
        own.accepts(&document)?;
        if let Some(birth) = self.world.births().get_mut(session) {
            birth.migrated = true;
        }
        Ok(document)
    }

    fn own(&self) -> &Dialect {
        &self.world.dialects[self.dialect]
    }
}

/// The member of a small JSON body.
async fn named(request: Request<Incoming>, member: &str) -> Option<String> {
    let body = Limited::new(request.into_body(), 4096).collect().await.ok()?.to_bytes();
    let body: Value = serde_json::from_slice(&body).ok()?;
    body.get(member)?.as_str().map(str::to_string)
}

fn unreadable(reason: &str) -> Answer {
    let message = format!("the session data can't be read: {reason}");
    reply(StatusCode::BAD_REQUEST, &json!({"code": UNREADABLE, "message": message}))
}

fn gone() -> Answer {
    reply(StatusCode::NOT_FOUND, &json!({"message": "no such session"}))
}

fn malformed(member: &str) -> Answer {
    reply(StatusCode::UNPROCESSABLE_ENTITY, &json!({"message": format!("the body must have a string {member:?}")}))
}

fn broken(message: &str) -> Answer {
    reply(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "message": message }))
}

fn reply(status: StatusCode, body: &Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body.to_string())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    answer
}
