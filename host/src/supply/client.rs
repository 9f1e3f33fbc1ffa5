//! An HTTP client for sources: bounded time, bounded bytes, no redirects.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;

type Legacy = hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A connection that doesn't come about is given up after this.
const CONNECT: Duration = Duration::from_secs(5);

/// A body is given up when its next bytes don't come within this, and as a whole after `BODY`.
const NEXT_BYTES: Duration = Duration::from_secs(10);
const BODY: Duration = Duration::from_secs(60);

/// Where something is asked for: `http://host:port/path`, or `https://`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address(http::Uri);

/// The client; connections are kept. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: Legacy,
    max_bytes: usize,
    /// How long a whole body may take.
    body: Duration,
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
            (Some("http" | "https"), Some(host)) if !host.is_empty() && !text.contains('@') => Ok(Address(uri)),
            _ => Err(format!("expected an address like \"http://10.0.0.1:8080/pack.toml\", found \"{text}\"")),
        }
    }

    /// Whether it is asked by TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.0.scheme_str() == Some("https")
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
        format!("{}://{authority}{}", self.0.scheme_str().unwrap_or("http"), self.0.path())
    }
}

impl Client {
    pub(crate) fn new(max_bytes: usize, tls: ClientConfig) -> Client {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        connector.set_keepalive(Some(Duration::from_secs(30)));
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(connector),
        );
        Client { http, max_bytes, body: BODY }
    }

    /// The client, with another time for a whole body.
    pub(crate) fn within(self, body: Duration) -> Client {
        Client { body, ..self }
    }

    /// Asks, and reads the whole answer. `patience` is how long the answer's head may take.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    pub(crate) async fn ask(&self, request: Request<Full<Bytes>>, patience: Duration) -> Result<Answer, String> {
        let (head, mut body) = self.open(request, patience).await?.into_parts();
        let reading = async {
            let mut whole = BytesMut::new();
            while let Some(chunk) = next(&mut body, NEXT_BYTES.min(self.body)).await? {
                if whole.len() + chunk.len() > self.max_bytes {
                    return Err(format!("its answer is longer than {} bytes (max_bytes)", self.max_bytes));
                }
                whole.extend_from_slice(&chunk);
            }
            Ok(whole.freeze())
        };
        let whole = tokio::time::timeout(self.body, reading).await;
        let body = whole.map_err(|_| format!("its answer isn't whole after {} ms", self.body.as_millis()))??;
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
            let mut said = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                let next = error.to_string();
                // An I/O error repeats what it wraps.
                said = if said.ends_with(&next) { said } else { format!("{said}: {next}") };
                cause = error.source();
            }
            said
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
