//! A stage: servers, a surface before them, and a log of what each server got and each client was told.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http::Request;
use http::request::Builder;
use http_body_util::combinators::BoxBody;

use crate::support::{Client, PACK, Reply, Seen, Upstream, dead_address, sized};
use crate::surfaces::{Kind, Running};

/// A server of a scenario.
#[derive(Clone, Copy)]
pub(crate) enum Cast {
    /// It answers with the body that it gets, as a server that keeps the record would.
    Echo(&'static str),
    /// Nothing listens at its address.
    Dead(&'static str),
}

/// A surface with its servers, and what has happened on it.
pub(crate) struct Stage {
    running: Running,
    servers: Vec<(&'static str, Upstream)>,
    folder: PathBuf,
    /// What the servers got and the clients were told, in words that are the same on every surface.
    pub(crate) log: Vec<String>,
}

impl Stage {
    pub(crate) async fn set(kind: Kind, rules: &str, cast: &[Cast], guest: Option<&[u8]>) -> Stage {
        let folder = folder();
        if let Some(guest) = guest {
            std::fs::write(folder.join("guest.wasm"), guest).unwrap();
        }
        let mut text = rules.to_string();
        let mut servers = Vec::new();
        for one in cast {
            let (version, address) = match one {
                Cast::Echo(version) => {
                    let version: &'static str = version;
                    let server = Upstream::answering(move |seen| echo(version, seen)).await;
                    let address = server.address;
                    servers.push((version, server));
                    (version, address)
                }
                Cast::Dead(version) => (*version, dead_address()),
            };
            text += &format!("\n[[server]]\nname = \"v{version}\"\naddress = \"{address}\"\nversion = \"{version}\"\n");
        }
        // No health checks: what happens is then the same in each run.
        let text = format!("pack = \"pack.toml\"\n{text}\n[health]\ninterval_ms = 0\n");
        std::fs::write(folder.join("unskew.toml"), text).unwrap();
        std::fs::write(folder.join("pack.toml"), PACK).unwrap();
        let running = kind.start(&folder).await;
        Stage { running, servers, folder, log: Vec::new() }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.running.address()).await
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running.address()
    }

    /// Sends a signal to the surface's process.
    pub(crate) fn signal(&self, signal: &str) {
        let Running::Process(_, process) = &self.running else { panic!("no process") };
        let sent = std::process::Command::new("kill").arg(signal).arg(process.child.id().to_string()).status();
        assert!(sent.unwrap().success());
    }

    /// Writes a pack beside the old one and renames it over.
    pub(crate) fn push(&self, pack: &str) {
        let beside = self.folder.join("pack.new");
        std::fs::write(&beside, pack).unwrap();
        std::fs::rename(beside, self.folder.join("pack.toml")).unwrap();
    }

    pub(crate) async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Reply {
        self.send(Request::builder().method("POST").uri(path), sized(body)).await
    }

    /// Sends a request, and logs what came of it.
    pub(crate) async fn send(&mut self, request: Builder, body: BoxBody<Bytes, std::convert::Infallible>) -> Reply {
        let before: Vec<usize> = self.servers.iter().map(|(_, server)| server.seen().len()).collect();
        let reply = self.client().await.send(request, body).await;
        for ((version, server), before) in self.servers.iter().zip(before) {
            for seen in &server.seen()[before..] {
                self.log.push(format!("v{version} got {}", told(seen)));
            }
        }
        let record = ["x-record", "set-cookie"].map(|name| reply.header(name).to_string()).join(" ");
        self.log.push(match reply.status.as_u16() {
            200 => format!("client got 200 {record} {}", reply.text()),
            status => format!("client got {status} {}", reply.problem()["reason"]),
        });
        reply
    }

    /// What the last server of this version got last.
    pub(crate) fn last(&self, version: &str) -> Seen {
        let server = self.servers.iter().find(|(known, _)| *known == version);
        server.unwrap_or_else(|| panic!("no server of {version}")).1.last()
    }

    pub(crate) fn got(&self, version: &str) -> usize {
        self.servers.iter().filter(|(known, _)| *known == version).map(|(_, server)| server.seen().len()).sum()
    }
}

fn told(seen: &Seen) -> String {
    let headers = ["x-record", "cookie"].map(|name| seen.header(name).unwrap_or("-").to_string()).join(" ");
    // That a body came whole is proof of its framing; whether in chunks is the surface's affair.
    format!("{} {} [{headers}] {}", seen.method, seen.path, seen.text())
}

/// Sends back what it got: body and headers with a record in them.
fn echo(version: &str, seen: &Seen) -> http::Response<http_body_util::Full<Bytes>> {
    let mut response = http::Response::new(http_body_util::Full::new(seen.body.clone()));
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    response.headers_mut().insert("x-version", version.parse().unwrap());
    if let Some(record) = seen.headers.get("x-record") {
        response.headers_mut().insert("x-record", record.clone());
    }
    if let Some(cookie) = seen.header("cookie").and_then(|cookie| cookie.split("; ").find(|c| c.starts_with("record=")))
    {
        response.headers_mut().insert("set-cookie", format!("{cookie}; Path=/; HttpOnly").parse().unwrap());
    }
    response
}

fn folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("unskew-surfaces-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}
