//! A stage: servers, a surface before them, and a log of what each server got and each client was told.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

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
    /// It echoes, but fails its hundredth request.
    Flawed(&'static str),
    /// Nothing listens at its address.
    Dead(&'static str),
}

/// A surface with its servers, and what has happened on it.
pub(crate) struct Stage {
    running: Running,
    servers: Vec<(&'static str, Upstream)>,
    folder: PathBuf,
    /// The pack, where it is polled for, and who serves it.
    packs: (Arc<Mutex<String>>, Upstream),
    /// What the servers got and the clients were told, in words that are the same on every surface.
    pub(crate) log: Vec<String>,
}

impl Stage {
    pub(crate) async fn set(kind: Kind, rules: &str, cast: &[Cast], guest: Option<&[u8]>) -> Stage {
        Stage::on(rules, cast, guest, async |folder| kind.start(folder).await).await
    }

    /// A stage on what is started in this way.
    pub(crate) async fn on(
        rules: &str,
        cast: &[Cast],
        guest: Option<&[u8]>,
        start: impl AsyncFnOnce(&Path) -> Running,
    ) -> Stage {
        let (folder, packs) = (folder(), packs().await);
        let servers = written(&folder, rules, cast, guest, packs.1.address).await;
        let running = start(&folder).await;
        Stage { running, servers, folder, packs, log: Vec::new() }
    }

    /// What the surface says when it refuses this configuration.
    pub(crate) async fn refused(kind: Kind, rules: &str) -> String {
        let (folder, packs) = (folder(), packs().await);
        written(&folder, rules, &[Cast::Echo("1")], None, packs.1.address).await;
        let said = kind.refused(&folder).await;
        let _ = std::fs::remove_dir_all(&folder);
        said
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.running.address()).await
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running.address()
    }

    /// What stands in a log of the surface's.
    pub(crate) fn said(&self, log: &str) -> String {
        std::fs::read_to_string(self.folder.join(log)).unwrap()
    }

    /// The processes that the surface's process has started.
    pub(crate) fn children(&self) -> Vec<u32> {
        let Running::Process(_, process) = &self.running else { panic!("no process") };
        let id = process.child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        children.split_whitespace().map(|child| child.parse().unwrap()).collect()
    }

    /// Reloads the surface by this signal, and waits until a new process of it has begun.
    pub(crate) async fn reload(&self, signal: &str) {
        let before = self.children();
        self.signal(signal);
        let began = || self.children().iter().any(|child| !before.contains(child));
        crate::support::until("a new process has begun", began).await;
    }

    /// Sends a signal to the surface's process.
    pub(crate) fn signal(&self, signal: &str) {
        let Running::Process(_, process) = &self.running else { panic!("no process") };
        let sent = std::process::Command::new("kill").arg(signal).arg(process.child.id().to_string()).status();
        assert!(sent.unwrap().success());
    }

    /// Writes a pack beside the old one and renames it over; where it is polled for, it is there from now on.
    pub(crate) fn push(&self, pack: &str) {
        *self.packs.0.lock().unwrap() = pack.to_string();
        let beside = self.folder.join("pack.new");
        std::fs::write(&beside, pack).unwrap();
        std::fs::rename(beside, self.folder.join("pack.toml")).unwrap();
        if self.folder.join("ecds.yaml").exists() {
            crate::envoy::wasm::discover(&self.folder); // its pack is part of Envoy's configuration
        }
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
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

    /// Where the server of this version listens.
    pub(crate) fn server(&self, version: &str) -> String {
        let server = self.servers.iter().find(|(known, _)| *known == version);
        server.unwrap_or_else(|| panic!("no server of {version}")).1.address.to_string()
    }

    pub(crate) fn got(&self, version: &str) -> usize {
        self.servers.iter().filter(|(known, _)| *known == version).map(|(_, server)| server.seen().len()).sum()
    }
}

/// A request as its server got it, byte for byte, but for what one hop says to the next: that a body came whole is proof
/// of its framing, and whether in chunks is the surface's affair. What Envoy tells of itself is no part of it either.
fn told(seen: &Seen) -> String {
    let hop = ["connection", "content-length", "transfer-encoding"];
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let told = format!("{name}: {}", if name == "host" { "as sent" } else { value.to_str().unwrap() });
        let envoys =
            ["x-request-id", "x-forwarded-proto"].contains(&name.as_str()) || name.as_str().starts_with("x-envoy-");
        (!envoys && !hop.contains(&name.as_str())).then_some(told)
    };
    let mut headers: Vec<String> = seen.headers.iter().filter_map(header).collect();
    headers.sort(); // of names; several values of one name have an order, and none of the scenarios sends such
    format!("{} {} [{}] {}", seen.method, seen.path, headers.join(", "), seen.text())
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

/// Writes `unskew.toml` with its pack, its guest and its servers, which it starts.
async fn written(
    folder: &Path,
    rules: &str,
    cast: &[Cast],
    guest: Option<&[u8]>,
    packs: SocketAddr,
) -> Vec<(&'static str, Upstream)> {
    if let Some(guest) = guest {
        std::fs::write(folder.join("guest.wasm"), guest).unwrap();
    }
    let mut text = rules.replace("PACKS", &packs.to_string());
    let mut servers = Vec::new();
    for one in cast {
        let (version, server) = match *one {
            Cast::Echo(version) => (version, Some(Upstream::answering(move |seen| echo(version, seen)).await)),
            Cast::Flawed(version) => {
                let count = AtomicU32::new(0);
                let flawed = move |seen: &Seen| {
                    let mut answer = echo(version, seen);
                    if count.fetch_add(1, Ordering::SeqCst) == 99 {
                        *answer.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
                    }
                    answer
                };
                (version, Some(Upstream::answering(flawed).await))
            }
            Cast::Dead(version) => (version, None),
        };
        let address = server.as_ref().map_or_else(dead_address, |server| server.address);
        text += &format!("\n[[server]]\nname = \"v{version}\"\naddress = \"{address}\"\nversion = \"{version}\"\n");
        servers.extend(server.map(|server| (version, server)));
    }
    let pack = if rules.contains("[source.") { "" } else { "pack = \"pack.toml\"" };
    // No health checks: what happens is then the same in each run.
    std::fs::write(folder.join("unskew.toml"), format!("{pack}\n{text}\n[health]\ninterval_ms = 0\n")).unwrap();
    std::fs::write(folder.join("pack.toml"), PACK).unwrap();
    servers
}

/// A server of the pack, which can be another from one moment to the next.
async fn packs() -> (Arc<Mutex<String>>, Upstream) {
    let text = Arc::new(Mutex::new(PACK.to_string()));
    let held = text.clone();
    let server = Upstream::answering(move |seen| {
        let text = held.lock().unwrap().clone();
        let tag = format!("\"{}\"", unskew::Digest::of(text.as_bytes()));
        let known = seen.header("if-none-match") == Some(&tag);
        let (status, body) = if known { (304, Bytes::new()) } else { (200, Bytes::from(text)) };
        http::Response::builder().status(status).header("etag", tag).body(http_body_util::Full::new(body)).unwrap()
    })
    .await;
    (text, server)
}

pub(crate) fn folder() -> PathBuf {
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
