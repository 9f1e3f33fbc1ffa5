//! A client of the admin API: one question, one answer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::cli::Failed;

/// An admin API and the way into it.
pub(super) struct Admin {
    address: String,
    token: String,
}

/// A guest may have to be compiled, and records be tried.
const PATIENCE: Duration = Duration::from_secs(60);

impl Admin {
    /// By the command line, else by the environment.
    pub(super) fn new(address: Option<String>, token_file: Option<PathBuf>) -> Result<Admin, Failed> {
        let address = address.or_else(|| std::env::var("UNSKEW_ADMIN").ok()).unwrap_or("127.0.0.1:9180".to_string());
        let address = address.trim_start_matches("http://").trim_end_matches('/').to_string();
        let token = match token_file {
            Some(file) => read(&file)?,
            None => std::env::var("UNSKEW_TOKEN").map_err(|_| {
                Failed::Usage("no token: say --token-file, or set UNSKEW_TOKEN, to what admin.token of the gateway's configuration holds".into())
            })?,
        };
        Ok(Admin { address, token: token.trim_end().to_string() })
    }

    /// Asks. What the gateway refuses is `Failed::Refused` with its words.
    pub(super) fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, Failed> {
        let machine = |what: String| Failed::Machine(format!("{}: {what}", self.address));
        let waiting = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let waiting = waiting.map_err(|error| machine(format!("no event loop: {error}")))?;
        let asked = waiting.block_on(async { tokio::time::timeout(PATIENCE, self.exchange(method, path, body)).await });
        let (status, answer) = asked
            .map_err(|_| machine(format!("no answer within {} s", PATIENCE.as_secs())))?
            .map_err(|error| machine(format!("{error}: is there a gateway with [admin] at this address?")))?;
        let said: Value = serde_json::from_slice(&answer).unwrap_or_default();
        match (status.is_success(), said["detail"].as_str()) {
            (true, _) => Ok(said),
            (false, Some(detail)) => Err(Failed::Refused(detail.to_string())),
            (false, None) => Err(machine(format!("it answers {status}"))),
        }
    }

    async fn exchange(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<(http::StatusCode, Bytes)> {
        let stream = TcpStream::connect(&self.address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.address)
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let answer = sender.send_request(request).await?;
        Ok((answer.status(), answer.into_body().collect().await?.to_bytes()))
    }
}

fn read(file: &Path) -> Result<String, Failed> {
    std::fs::read_to_string(file).map_err(|error| Failed::Input(format!("{}: can't be read: {error}", file.display())))
}
