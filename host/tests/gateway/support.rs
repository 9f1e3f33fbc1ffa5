//! Servers, clients and packs for the gateway's tests.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use unskew::config::{Config, ServerEntry};
use unskew::gateway::Gateway;
use unskew::{Pack, Runtime, Store};

/// Two versions: a rename both ways, a member that version 2 cannot hold, and one that version 1 cannot hold.
pub(crate) const PACK: &str = r#"
name = "test"
revision = 1
[[version]]
id = "1"
marker = { path = "/schema", absent = true }
[[version]]
id = "2"
marker = { path = "/schema", value = 2 }
[[step]]
from = "1"
to = "2"
ops = [
  { rename = "/sid", to = "session_id" },
  { add = "/bitrate", value = 3000 },
  { remove = "/legacy", restore = "" },
]
[policy]
max_bytes = 1048576
"#;

/// A request as a server got it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A server behind the gateway; it stops when it is dropped.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

/// What a server keeps of requests.
#[derive(Clone, Copy)]
enum Memory {
    All,
    None,
}

impl Upstream {
    /// A server that answers 200 with `{"server":"<name>"}`.
    pub(crate) async fn named(name: &'static str) -> Upstream {
        Upstream::answering(move |_| json(&format!("{{\"server\":\"{name}\"}}"))).await
    }

    /// A server that sends every body back.
    pub(crate) async fn echo() -> Upstream {
        Upstream::answering(|seen| Response::new(Full::new(seen.body.clone()))).await
    }

    /// A server that sends every body back and keeps nothing of it.
    pub(crate) async fn forgetful() -> Upstream {
        Upstream::serving(|seen| Response::new(Full::new(seen.body.clone())), Memory::None).await
    }

    pub(crate) async fn answering(answer: impl Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static) -> Upstream {
        Upstream::serving(answer, Memory::All).await
    }

    async fn serving(
        answer: impl Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static,
        memory: Memory,
    ) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (seen.clone(), Arc::new(answer));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new(); // ends with the task
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (log, answer) = (log.clone(), answer.clone());
                connections.spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (log, answer) = (log.clone(), answer.clone());
                        async move {
                            let (head, body) = request.into_parts();
                            let body = body.collect().await.map(|body| body.to_bytes());
                            let Ok(body) = body else { return Ok(Response::new(Full::default())) };
                            let path = head.uri.path_and_query().unwrap().to_string();
                            let seen = Seen { method: head.method, path, headers: head.headers, body };
                            let response = answer(&seen);
                            match memory {
                                Memory::All => log.lock().unwrap().push(seen),
                                Memory::None => {}
                            }
                            Ok::<_, Infallible>(response)
                        }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Upstream { address, seen, task }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The last request, which must be there.
    pub(crate) fn last(&self) -> Seen {
        self.seen().pop().expect("the server got a request")
    }

    pub(crate) fn entry(&self, version: &str) -> ServerEntry {
        entry(self.address, version)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A server entry named by its address.
pub(crate) fn entry(address: SocketAddr, version: &str) -> ServerEntry {
    ServerEntry {
        name: String::new(),
        address: address.to_string(),
        version: version.to_string(),
        reads: Vec::new(),
        weight: 1,
    }
}

/// A free address on which nothing listens.
pub(crate) fn dead_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A configuration with these servers and whatever the text adds.
pub(crate) fn config(text: &str, servers: &[ServerEntry]) -> Config {
    let mut config: Config = toml::from_str(text).unwrap();
    config.listen = "127.0.0.1:0".to_string();
    config.threads = 2;
    config.explain = true;
    config.servers = servers.to_vec();
    config
}

/// A gateway without rules.
pub(crate) fn plain(text: &str, servers: &[ServerEntry]) -> Gateway {
    Gateway::start(config(text, servers), Runtime::empty().unwrap(), None).unwrap()
}

/// A gateway with the pack of the tests.
pub(crate) fn ruled(text: &str, servers: &[ServerEntry], store: Option<Arc<dyn Store>>) -> Gateway {
    Gateway::start(config(text, servers), runtime(), store).unwrap()
}

pub(crate) fn runtime() -> Runtime {
    Runtime::new(&Pack::from_toml("test.toml", PACK).unwrap()).unwrap()
}

pub(crate) fn json(text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text.to_string())));
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    response
}

/// An answer as the client got it.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn explain(&self) -> &str {
        self.header("unskew-explain")
    }

    /// The problem document, which this must be.
    pub(crate) fn problem(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert!(self.header("proxy-status").starts_with("unskew; error="), "{self:?}");
        let document: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(document["status"], self.status.as_u16());
        document
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Reply {
        assert_eq!(self.status, 200, "{self:?}");
        self
    }
}

/// One keep-alive connection to a gateway.
pub(crate) struct Client {
    sender: SendRequest<BoxBody<Bytes, Infallible>>,
    host: String,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Client { sender, host: address.to_string() }
    }

    pub(crate) async fn send(&mut self, request: http::request::Builder, body: BoxBody<Bytes, Infallible>) -> Reply {
        self.try_send(request, body).await.unwrap()
    }

    pub(crate) async fn try_send(
        &mut self,
        request: http::request::Builder,
        body: BoxBody<Bytes, Infallible>,
    ) -> Result<Reply, hyper::Error> {
        let request = request.header("host", &self.host).body(body).unwrap();
        let answer = async {
            self.sender.ready().await?;
            let (head, body) = self.sender.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Reply { status: head.status, headers: head.headers, body })
        };
        tokio::time::timeout(Duration::from_secs(20), answer).await.expect("no answer within 20 s")
    }
}

/// A body with a content-length.
pub(crate) fn sized(body: impl Into<Bytes>) -> BoxBody<Bytes, Infallible> {
    Full::new(body.into()).boxed()
}

/// A body in chunks of so many bytes.
pub(crate) fn chunked(body: impl Into<Bytes>, chunk: usize) -> BoxBody<Bytes, Infallible> {
    let body: Bytes = body.into();
    let pieces: Vec<_> =
        (0..body.len()).step_by(chunk).map(|at| Ok(Frame::data(body.slice(at..body.len().min(at + chunk))))).collect();
    BodyExt::boxed(StreamBody::new(Pieces(pieces.into_iter())))
}

struct Pieces(std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>);

impl futures_core::Stream for Pieces {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}

pub(crate) async fn post(gateway: &Gateway, path: &str, body: impl Into<Bytes>) -> Reply {
    let request = Request::builder().method("POST").uri(path);
    Client::connect(gateway.address()).await.send(request, sized(body)).await
}

pub(crate) async fn get(gateway: &Gateway, path: &str) -> Reply {
    Client::connect(gateway.address()).await.send(Request::builder().uri(path), sized("")).await
}

/// Waits until something is so; fails after 10 s.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 10 s: {what}");
}
