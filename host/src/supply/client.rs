//! An HTTP client for sources: bounded time, bounded bytes, no redirects.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

type Legacy = hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>;

/// A connection that doesn't come about is given up after this.
const CONNECT: Duration = Duration::from_secs(5);

/// A body is given up when its next bytes don't come within this, and as a whole after `BODY`.
const NEXT_BYTES: Duration = Duration::from_secs(10);
const BODY: Duration = Duration::from_secs(60);

/// Where something is asked for: `http://host:port/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address(http::Uri);

/// The client; connections are kept.
pub(crate) struct Client {
    http: Legacy,
    max_bytes: usize,
}

/// An answer whose body is whole.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Address {
    /// # Errors
    /// What is wrong with the text.
    pub(crate) fn read(text: &str) -> Result<Address, String> {
        let uri: http::Uri = text.parse().map_err(|_| format!("\"{text}\" is no address"))?;
        match (uri.scheme_str(), uri.host()) {
            (Some("http"), Some(host)) if !host.is_empty() && !text.contains('@') => Ok(Address(uri)),
            (Some("https"), _) => Err(format!(
                "\"{text}\": there is no TLS here: put a terminator on this host in front of the source; signatures (`trust.keys`) hold without it"
            )),
            _ => Err(format!("expected an address like \"http://10.0.0.1:8080/pack.toml\", found \"{text}\"")),
        }
    }

    /// The address with this at the end of its path.
    pub(crate) fn with(&self, ending: &str) -> Address {
        let mut parts = self.0.clone().into_parts();
        let (path, query) = (self.0.path(), self.0.query().map(|query| format!("?{query}")).unwrap_or_default());
        parts.path_and_query = format!("{}{ending}{query}", path.trim_end_matches('/')).parse().ok();
        Address(http::Uri::from_parts(parts).unwrap_or_else(|_| self.0.clone()))
    }

    /// The address without what may be a secret in it.
    pub(crate) fn shown(&self) -> String {
        let authority = self.0.authority().map_or("", |authority| authority.as_str());
        format!("http://{authority}{}", self.0.path())
    }
}

impl Client {
    pub(crate) fn new(max_bytes: usize) -> Client {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        connector.set_keepalive(Some(Duration::from_secs(30)));
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(1)
            .build(connector);
        Client { http, max_bytes }
    }

    /// Asks, and reads the whole answer. `patience` is how long the answer's head may take.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    pub(crate) async fn ask(&self, request: Request<Full<Bytes>>, patience: Duration) -> Result<Answer, String> {
        let (head, mut body) = self.open(request, patience).await?.into_parts();
        let reading = async {
            let mut whole = BytesMut::new();
            while let Some(chunk) = next(&mut body, NEXT_BYTES).await? {
                if whole.len() + chunk.len() > self.max_bytes {
                    return Err(format!("its answer is longer than {} bytes (max_bytes)", self.max_bytes));
                }
                whole.extend_from_slice(&chunk);
            }
            Ok(whole.freeze())
        };
        let whole = tokio::time::timeout(BODY, reading).await;
        let body = whole.map_err(|_| format!("its answer isn't whole after {} s", BODY.as_secs()))??;
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// Asks, and returns when the answer begins.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    pub(crate) async fn open(
        &self,
        request: Request<Full<Bytes>>,
        patience: Duration,
    ) -> Result<Response<Incoming>, String> {
        let answer = tokio::time::timeout(CONNECT + patience, self.http.request(request)).await;
        let answer = answer.map_err(|_| format!("no answer within {} s", (CONNECT + patience).as_secs()))?;
        answer.map_err(|error| {
            use std::error::Error as _;
            error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
        })
    }

    /// The most bytes of an answer.
    pub(crate) fn max_bytes(&self) -> usize {
        self.max_bytes
    }
}

/// The next bytes of a body; none at its end.
pub(crate) async fn next(body: &mut Incoming, patience: Duration) -> Result<Option<Bytes>, String> {
    loop {
        let frame = tokio::time::timeout(patience, body.frame()).await;
        match frame.map_err(|_| format!("nothing came for {} s", patience.as_secs()))? {
            None => return Ok(None),
            Some(Err(error)) => return Err(format!("its answer broke off: {error}")),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

impl Address {
    /// A request to it.
    pub(crate) fn request(&self, method: http::Method) -> http::request::Builder {
        Request::builder().method(method).uri(self.0.clone())
    }
}
