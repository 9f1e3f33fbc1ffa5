//! Packs from an address, from etcd and from the disk of the last run; with servers that die, lie and never end.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use unskew::config::Config;
use unskew::gateway::{Gateway, StartError};

use crate::reload::{Folder, NEW, TEXT, revised};
use crate::support::*;
use crate::tls::Shown;

/// The record as the old server gets it from the pack of this revision.
pub(crate) fn old(revision: u32) -> String {
    format!("{{\"sid\":\"s\",\"legacy\":\"r{revision}\"}}")
}

pub(crate) fn pack(revision: u32) -> String {
    revised(revision, &format!("r{revision}"))
}

/// Starts on a thread of its own: it waits for its source, which may run on this one.
pub(crate) async fn start(config: Config) -> Result<Gateway, StartError> {
    let start = move || Gateway::start(config.clone(), unskew::gateway::runtime(&config)?, None);
    tokio::task::spawn_blocking(start).await.unwrap()
}

/// What the gateway makes of a record of a session that it never saw.
pub(crate) async fn serves(gateway: &Gateway) -> String {
    static SESSION: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let session = SESSION.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    post(gateway, &format!("/sessions/source-{session}/join"), NEW).await.ok().text().to_owned()
}

pub(crate) async fn until_serves(gateway: &Gateway, revision: u32) {
    for _ in 0..1000 {
        if serves(gateway).await == old(revision) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("revision {revision} is not active within 10 s");
}

/// An HTTP source whose pack can be changed; it counts the answers by status.
struct Packs {
    text: Arc<Mutex<String>>,
    answers: Arc<Mutex<Vec<u16>>>,
    server: Upstream,
}

impl Packs {
    async fn new(text: &str) -> Packs {
        let (text, answers) = (Arc::new(Mutex::new(text.to_owned())), Arc::new(Mutex::new(Vec::new())));
        let (held, counted) = (text.clone(), answers.clone());
        let server = Upstream::answering(move |seen| {
            let text = held.lock().unwrap().clone();
            let tag = format!("\"{}\"", unskew::Digest::of(text.as_bytes()));
            let known = seen.header("if-none-match") == Some(&tag);
            let status = if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
            counted.lock().unwrap().push(status.as_u16());
            let body = if known { Bytes::new() } else { Bytes::from(text) };
            Response::builder().status(status).header("etag", tag).body(Full::new(body)).unwrap()
        })
        .await;
        Packs { text, answers, server }
    }

    fn source(&self) -> String {
        source(self.server.address)
    }
}

fn source(address: std::net::SocketAddr) -> String {
    format!(
        "[source]\nstart_ms = 2000\n[source.http]\nurl = \"http://{address}/p.toml\"\npoll_ms = 20\nmax_bytes = 100000\n"
    )
}

#[tokio::test]
async fn a_pack_at_an_address_is_taken_when_it_changes_and_only_then() {
    let (server, packs) = (Upstream::echo().await, Packs::new(&pack(1)).await);
    let gateway = start(config(&format!("{TEXT}{}", packs.source()), &[server.entry("1")])).await.unwrap();
    until_serves(&gateway, 1).await;
    *packs.text.lock().unwrap() = pack(2);
    until_serves(&gateway, 2).await;
    until("the server is asked by tag", || packs.answers.lock().unwrap().len() > 10).await;
    assert_eq!(packs.answers.lock().unwrap().iter().filter(|status| **status == 200).count(), 2);
    *packs.text.lock().unwrap() = "no pack".to_owned();
    until("the bad pack is refused", || gateway.counts().bad_packs >= 1).await;
    *packs.text.lock().unwrap() = pack(1);
    until("and the older one", || gateway.counts().bad_packs >= 2).await;
    assert_eq!(serves(&gateway).await, old(2));
}

#[tokio::test]
async fn a_source_that_dies_lies_or_never_ends_takes_nothing_away() {
    type Say = Box<dyn Fn(usize) -> Vec<u8> + Send + Sync>;
    let whole = |body: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes();
    let pack_2 = pack(2);
    let cut = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}", pack_2.len(), &pack_2[..150]).into_bytes();
    let endless = [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'#'; 4 << 20]].concat();
    let says: [(&str, Say); 6] = [
        ("cut off", Box::new(move |_| cut.clone())),
        ("endless", Box::new(move |_| endless.clone())),
        (
            "redirect",
            Box::new(|_| b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_vec()),
        ),
        ("gone", Box::new(|_| b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec())),
        ("garbage", Box::new(|_| vec![0xff; 100])),
        ("nothing", Box::new(|_| Vec::new())),
    ];
    for (what, say) in says {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let (count, first) = (asked.clone(), whole(&pack(1)));
        let lies = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).await;
                let answer = if number == 0 { first.clone() } else { say(number) };
                while stream.write_all(&answer).await.is_ok() && what == "endless" && number > 0 {}
            }
        });
        let server = Upstream::echo().await;
        let gateway = start(config(&format!("{TEXT}{}", source(address)), &[server.entry("1")])).await.unwrap();
        until(what, || asked.load(std::sync::atomic::Ordering::SeqCst) > 2).await;
        assert_eq!(serves(&gateway).await, old(1), "{what}");
        assert_eq!(gateway.counts().swaps, 1, "{what}");
        lies.abort();
    }
}

#[tokio::test]
async fn a_source_that_can_wait_holds_its_answer_back_until_something_changes() {
    // It answers a question for what the client has already when that changes, or after the time that it was given.
    let (change, changed) = tokio::sync::watch::channel(pack(1));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let questions = Arc::new(Mutex::new(Vec::new()));
    let asked = questions.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut changed, asked) = (changed.clone(), asked.clone());
            tokio::spawn(async move {
                let mut head = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut head).await {
                    let question = String::from_utf8_lossy(&head[..length]).to_lowercase();
                    let tag = |text: &str| format!("\"{}\"", unskew::Digest::of(text.as_bytes()));
                    asked.lock().unwrap().push(question.clone());
                    if question.contains(&tag(&changed.borrow())) && question.contains("prefer: wait=1") {
                        let known = changed.borrow().clone();
                        let other = changed.wait_for(|now| *now != known);
                        let _ = tokio::time::timeout(Duration::from_secs(1), other).await;
                    }
                    let (text, tag) = (changed.borrow().clone(), tag(&changed.borrow()));
                    let answer = match question.contains(&tag) {
                        true => format!("HTTP/1.1 304 Not Modified\r\netag: {tag}\r\n\r\n"),
                        false => {
                            format!("HTTP/1.1 200 OK\r\netag: {tag}\r\ncontent-length: {}\r\n\r\n{text}", text.len())
                        }
                    };
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    let server = Upstream::echo().await;
    let text = format!("{TEXT}{}wait_s = 1\n", source(address));
    let gateway = start(config(&text, &[server.entry("1")])).await.unwrap();
    until_serves(&gateway, 1).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let while_nothing_changed = questions.lock().unwrap().len();
    // With poll_ms = 20 and an answer at once there would be a hundred.
    assert!((2..8).contains(&while_nothing_changed), "{while_nothing_changed} questions");
    let first = questions.lock().unwrap()[0].clone();
    assert!(!first.contains("prefer:"), "who has nothing yet doesn't wait: {first}");
    let began = Instant::now();
    change.send(pack(2)).unwrap();
    until_serves(&gateway, 2).await;
    assert!(began.elapsed() < Duration::from_millis(900), "told at the change, {:?} after it", began.elapsed());
}

#[tokio::test]
async fn a_body_that_stalls_or_drips_is_cut_and_the_next_one_is_taken() {
    for drip in [None, Some(Duration::from_millis(20))] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = served.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut head = [0; 4096];
                    let _ = stream.read(&mut head).await;
                    // The first answer is good, the next two never end, then there is a newer pack.
                    let text = pack(if number == 0 { 1 } else { 2 });
                    let length = text.len();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{text}");
                    let upto = if [1, 2].contains(&number) { answer.len() - 200 } else { answer.len() };
                    let _ = stream.write_all(&answer.as_bytes()[..upto]).await;
                    for byte in answer.as_bytes()[upto..].iter().take(190) {
                        tokio::time::sleep(drip.unwrap_or(Duration::from_secs(3600))).await;
                        if stream.write_all(&[*byte]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        let server = Upstream::echo().await;
        let text = format!("{TEXT}{}body_ms = 400\n", source(address));
        let gateway = start(config(&text, &[server.entry("1")])).await.unwrap();
        until("the endless ones are cut", || served.load(std::sync::atomic::Ordering::SeqCst) > 2).await;
        assert_eq!(serves(&gateway).await, old(1), "what is active serves on meanwhile");
        until_serves(&gateway, 2).await;
        assert_eq!((gateway.counts().swaps, gateway.counts().bad_packs), (2, 0));
    }
}

#[tokio::test]
async fn what_was_good_last_is_served_at_a_start_whose_source_is_down_and_no_longer_than_that() {
    let folder = Folder::new("last-good");
    let state = format!("state = {:?}\n", folder.0.join("state"));
    let (server, packs) = (Upstream::echo().await, Packs::new(&pack(1)).await);
    let text = |source: &str| config(&format!("{state}{TEXT}{source}"), &[server.entry("1")]);
    let gateway = start(text(&packs.source())).await.unwrap();
    *packs.text.lock().unwrap() = pack(2);
    until_serves(&gateway, 2).await;
    let last = folder.0.join("state/last-good.json");
    until("it is kept", || std::fs::read_to_string(&last).is_ok_and(|last| last.contains("r2"))).await;
    gateway.stop().await;

    let nowhere = source(dead_address());
    let gateway = start(text(&nowhere)).await.unwrap();
    assert_eq!(serves(&gateway).await, old(2));
    gateway.stop().await;

    *packs.text.lock().unwrap() = pack(1);
    let gateway = start(text(&packs.source())).await.unwrap();
    until("the older one is refused after a restart too", || gateway.counts().bad_packs == 1).await;
    assert_eq!(serves(&gateway).await, old(2));
    *packs.text.lock().unwrap() = pack(3);
    until_serves(&gateway, 3).await;
    let kept = folder.0.join("state/last-good.json");
    until("it is kept", || std::fs::read_to_string(&kept).unwrap().contains("r3")).await;
    gateway.stop().await;

    // What the disk has damaged is not served, and is no reason to serve nothing else.
    let damaged = std::fs::read_to_string(&kept).unwrap().replace("r3", "r4");
    std::fs::write(&kept, damaged).unwrap();
    assert!(matches!(start(text(&nowhere)).await, Err(StartError::Load(_))));
    let gateway = start(text(&packs.source())).await.unwrap();
    assert_eq!(serves(&gateway).await, old(3));
}

#[tokio::test]
async fn a_pack_file_needs_its_signature_where_keys_are_configured_and_is_taken_when_that_comes_later() {
    let folder = Folder::new("signed");
    let key = folder.0.join("key");
    minisign(&["-G", "-W", "-f", "-p"], &[&key.with_extension("pub"), Path::new("-s"), &key]);
    let sign = || minisign(&["-S", "-s"], &[&key, Path::new("-m"), &folder.pack()]);
    let server = Upstream::echo().await;
    let mut config = config(TEXT, &[server.entry("1")]);
    config.pack = Some(folder.pack());
    config.trust = toml::from_str(&format!("keys = [{{ file = {:?} }}]", key.with_extension("pub"))).unwrap();
    folder.write(&pack(1));
    let refused = start(config.clone()).await.map(drop).unwrap_err().to_string();
    assert!(refused.contains("sign it with `minisign -S -m FILE`"), "{refused}");
    let open = Gateway::start(config.clone(), unskew::Runtime::empty().unwrap(), None).map(drop).unwrap_err();
    assert!(matches!(open, StartError::Untrusting), "{open}");
    sign();
    let gateway = start(config).await.unwrap();
    assert_eq!(serves(&gateway).await, old(1));
    folder.write(&pack(2)); // under the signature of the one before
    until("it is refused", || gateway.counts().bad_packs >= 1).await;
    assert_eq!(serves(&gateway).await, old(1));
    sign();
    until_serves(&gateway, 2).await;
}

fn minisign(words: &[&str], paths: &[&Path]) {
    let run = Command::new("minisign").args(words).args(paths).stdin(Stdio::null()).output();
    let run = run.expect("the ordinary minisign tool: tools/setup tests installs it");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

/// A real etcd of one member.
pub(crate) struct Etcd {
    child: Child,
    folder: PathBuf,
    ports: [u16; 2],
}

impl Etcd {
    fn start(folder: &Path, ports: [u16; 2]) -> Etcd {
        Etcd::spawn(folder, ports, None)
    }

    /// One that listens with TLS on a third port as well.
    pub(crate) fn secured(folder: &Path, ports: [u16; 2], port: u16, shown: &Shown) -> Etcd {
        Etcd::spawn(folder, ports, Some((port, shown)))
    }

    fn spawn(folder: &Path, ports: [u16; 2], tls: Option<(u16, &Shown)>) -> Etcd {
        let [mut client, peer] = ports.map(|port| format!("http://127.0.0.1:{port}"));
        let local = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target/tools/etcd");
        let program = std::env::var_os("UNSKEW_ETCD").map(PathBuf::from).or(local.exists().then_some(local));
        let mut etcd = Command::new(program.unwrap_or_else(|| "etcd".into()));
        if let Some((port, shown)) = tls {
            client += &format!(",https://127.0.0.1:{port}");
            etcd.arg("--cert-file").arg(&shown.certificate).arg("--key-file").arg(&shown.key);
        }
        etcd.args(["--name", "n1", "--log-level", "error", "--unsafe-no-fsync", "--data-dir"]).arg(folder.join("etcd"));
        etcd.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        etcd.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        etcd.args(["--initial-cluster", &format!("n1={peer}")]).stdout(Stdio::null()).stderr(Stdio::null());
        let child = etcd.spawn().expect("etcd: tools/setup tests gets it");
        Etcd { child, folder: folder.to_owned(), ports }
    }

    fn source(&self) -> String {
        let port = self.ports[0];
        format!(
            "[source.etcd]\nendpoints = [\"http://127.0.0.1:{port}\"]\nkey = \"unskew/p.toml\"\n[source]\nstart_ms = 20000\n"
        )
    }

    /// Asks etcd's JSON gateway until it answers.
    async fn ask(&self, path: &str, question: Value) -> Value {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], self.ports[0]));
        for _ in 0..400 {
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                let request = http::Request::builder().method("POST").uri(path);
                let reply = Client::connect(address).await.try_send(request, sized(question.to_string())).await;
                if let Some(reply) = reply.ok().filter(|reply| reply.status == 200) {
                    return serde_json::from_slice(&reply.body).unwrap();
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("etcd doesn't answer {path}");
    }

    pub(crate) async fn put(&self, value: &str) -> i64 {
        let encoded = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let said = self.ask("/v3/kv/put", json!({"key": encoded("unskew/p.toml"), "value": encoded(value)})).await;
        said["header"]["revision"].as_str().unwrap().parse().unwrap()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_key_of_etcd_is_watched_through_its_death_its_return_and_a_compaction() {
    let folder = Folder::new("etcd");
    let ports = [dead_address().port(), dead_address().port()];
    let mut etcd = Etcd::start(&folder.0, ports);
    etcd.put(&pack(1)).await;
    let server = Upstream::echo().await;
    let gateway = start(config(&format!("{TEXT}{}", etcd.source()), &[server.entry("1")])).await.unwrap();
    until_serves(&gateway, 1).await;
    let began = Instant::now();
    etcd.put(&pack(2)).await;
    until_serves(&gateway, 2).await;
    println!("put to active in {:?}", began.elapsed());
    etcd.put("no pack").await;
    until("it is refused", || gateway.counts().bad_packs >= 1).await;
    assert_eq!(serves(&gateway).await, old(2));

    etcd.kill();
    assert_eq!(serves(&gateway).await, old(2), "it serves on without its source");
    let etcd = Etcd::start(&etcd.folder, ports);
    let revision = etcd.put(&pack(3)).await;
    let revision = revision.max(etcd.put(&pack(4)).await);
    // What was watched from is compacted away.
    etcd.ask("/v3/kv/compaction", json!({"revision": revision.to_string(), "physical": true})).await;
    until_serves(&gateway, 4).await;
    etcd.put(&pack(5)).await;
    until_serves(&gateway, 5).await;
}
