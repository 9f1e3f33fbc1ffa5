//! The clients of a lane: they create and join sessions through the gateway and note what they were answered.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::server::UNREADABLE;
use super::tally::Joined;

/// Clients of one gateway; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    http: Client<HttpConnector, Full<Bytes>>,
    gateway: SocketAddr,
}

/// What a join was answered.
#[derive(Debug)]
pub(super) struct JoinAnswer {
    pub(super) outcome: Joined,
    /// How many connections the session has now, if the join went through.
    pub(super) connections: Option<u64>,
}

struct Answer {
    status: StatusCode,
    /// Where the gateway sent the request and why; empty if it doesn't say.
    explain: String,
    body: Value,
}

/// How long a client waits: far longer than anything takes that is not broken.
const PATIENCE: Duration = Duration::from_secs(10);

impl Clients {
    /// Clients of the gateway at this address.
    pub(super) fn new(gateway: SocketAddr) -> Clients {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Clients { http: Client::builder(TokioExecutor::new()).build(connector), gateway }
    }

    /// Creates a session.
    ///
    /// # Errors
    /// What went wrong, for people.
    pub(super) async fn create(&self, session: &str) -> Result<(), String> {
        let answer = self.post("/sessions", &json!({ "session": session })).await?;
        match answer.status {
            StatusCode::CREATED => Ok(()),
            status => Err(format!("create answered {status}: {}", answer.body)),
        }
    }

    /// Joins a session with a connection of this name.
    pub(super) async fn join(&self, session: &str, connection: &str) -> JoinAnswer {
        let path = format!("/sessions/{session}/connections");
        let answer = match self.post(&path, &json!({ "connection": connection })).await {
            Ok(answer) => answer,
            Err(error) => return JoinAnswer { outcome: Joined::Odd(error), connections: None },
        };
        let outcome = match answer.status {
            StatusCode::CREATED => Joined::Done { translated: answer.explain.contains("; from=") },
            StatusCode::BAD_REQUEST if answer.body["code"] == UNREADABLE => Joined::Unreadable,
            status => Joined::Odd(format!("join answered {status}: {}", answer.body)),
        };
        JoinAnswer { outcome, connections: answer.body["connections"].as_u64() }
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Answer, String> {
        let request = Request::builder().method(Method::POST).uri(format!("http://{}{path}", self.gateway));
        let request = request.header(http::header::CONTENT_TYPE, "application/json");
        let request = request.body(Full::new(Bytes::from(body.to_string()))).map_err(|error| error.to_string())?;
        let exchange = async {
            let answer = self.http.request(request).await.map_err(|error| error.to_string())?;
            let (head, body) = answer.into_parts();
            let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
            let explain = head.headers.get("unskew-explain").and_then(|value| value.to_str().ok()).unwrap_or_default();
            let body =
                serde_json::from_slice(&body).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into()));
            Ok(Answer { status: head.status, explain: explain.to_string(), body })
        };
        tokio::time::timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err(format!("no answer in {PATIENCE:?}")))
    }
}
