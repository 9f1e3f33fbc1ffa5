//! A pack at an address: asked for again and again with its `ETag`, waiting at the server where it can.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, ETAG, IF_NONE_MATCH};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::Full;
use tokio::sync::mpsc::Sender;

use super::{Address, Client, Closed, Delivery, Parcel, Pause, RunsIn, deliver};

/// What is asked for, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    pub(crate) pack: Address,
    pub(crate) guest: Option<Address>,
    /// Whether signatures are asked for: as `ADDRESS.minisig`.
    pub(crate) signed: bool,
    /// Between two questions.
    pub(crate) poll: Duration,
    /// How long the server may hold an answer back until something changes; zero asks for no such thing.
    pub(crate) wait: Duration,
    pub(crate) client: Client,
    pub(crate) token: Option<HeaderValue>,
}

/// One address with what was last found there.
struct Resource {
    address: Address,
    tag: Option<HeaderValue>,
    found: Option<Bytes>,
}

/// Whether a resource may be missing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needed {
    Must,
    May,
}

impl Http {
    /// Asks until nobody listens any more.
    pub(crate) async fn run(self, to: Sender<Delivery>) {
        let Err(Closed) = self.ask(&to).await;
    }

    async fn ask(&self, to: &Sender<Delivery>) -> Result<std::convert::Infallible, Closed> {
        let mut resources = Resources::of(self);
        let mut pause = Pause::new(self.poll.max(Duration::from_secs(30)));
        let (mut last, mut failing) = (None, false);
        loop {
            match resources.refresh(self).await {
                Ok(parcel) => {
                    pause.over();
                    if std::mem::replace(&mut failing, false) || last.as_ref() != Some(&parcel) {
                        deliver(to, Delivery::Parcel(parcel.clone())).await?;
                        last = Some(parcel);
                    }
                    tokio::time::sleep(self.poll.mul_f64(0.9 + fastrand::f64() / 5.0)).await;
                }
                Err(reason) => {
                    // Told once, not at each try.
                    if !std::mem::replace(&mut failing, true) {
                        deliver(to, Delivery::Failed(format!("{}: {reason}", self.pack.shown()))).await?;
                    }
                    pause.wait().await;
                }
            }
        }
    }
}

struct Resources {
    pack: Resource,
    pack_signature: Option<Resource>,
    guest: Option<Resource>,
    guest_signature: Option<Resource>,
}

impl Resources {
    fn of(http: &Http) -> Resources {
        let resource = |address: Address| Resource { address, tag: None, found: None };
        let signature = |address: &Address| http.signed.then(|| resource(address.with(".minisig")));
        Resources {
            pack: resource(http.pack.clone()),
            pack_signature: signature(&http.pack),
            guest: http.guest.clone().map(resource),
            guest_signature: http.guest.as_ref().and_then(signature),
        }
    }

    async fn refresh(&mut self, http: &Http) -> Result<Parcel, String> {
        self.pack.refresh(http, Needed::Must, http.wait).await?;
        let others = [
            (self.pack_signature.as_mut(), Needed::May),
            (self.guest.as_mut(), Needed::Must),
            (self.guest_signature.as_mut(), Needed::May),
        ];
        for (resource, needed) in others {
            if let Some(resource) = resource {
                resource.refresh(http, needed, Duration::ZERO).await?;
            }
        }
        let bytes = |resource: &Option<Resource>| resource.as_ref()?.found.as_ref().map(|found| found.to_vec());
        let text = |resource: &Option<Resource>| Some(String::from_utf8_lossy(&bytes(resource)?).into_owned());
        Ok(Parcel {
            name: http.pack.shown(),
            pack: self.pack.found.as_ref().map(|found| found.to_vec()).unwrap_or_default(),
            pack_signature: text(&self.pack_signature),
            runs_in: bytes(&self.guest).map_or(RunsIn::Present, RunsIn::Shipped),
            guest_signature: text(&self.guest_signature),
        })
    }
}

impl Resource {
    async fn refresh(&mut self, http: &Http, needed: Needed, wait: Duration) -> Result<(), String> {
        /// How long a server may take that isn't asked to wait.
        const PATIENCE: Duration = Duration::from_secs(10);
        let mut request = self.address.request(Method::GET);
        if let (Some(tag), Some(_)) = (&self.tag, &self.found) {
            request = request.header(IF_NONE_MATCH, tag);
            if !wait.is_zero() {
                // RFC 7240: how long the client is willing to wait for an answer.
                request = request.header(HeaderName::from_static("prefer"), format!("wait={}", wait.as_secs()));
            }
        }
        if let Some(token) = &http.token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Full::default()).map_err(|error| error.to_string())?;
        let answer = http.client.ask(request, PATIENCE + wait).await?;
        match (answer.status, needed) {
            (StatusCode::OK, _) => {
                self.tag = answer.headers.get(ETAG).cloned();
                self.found = Some(answer.body);
                Ok(())
            }
            (StatusCode::NOT_MODIFIED, _) if self.found.is_some() => Ok(()),
            (StatusCode::NOT_FOUND | StatusCode::GONE, Needed::May) => {
                (self.tag, self.found) = (None, None);
                Ok(())
            }
            (status, _) if status.is_redirection() => {
                Err(format!("{status}: redirects aren't followed: configure the address where it is"))
            }
            (status, _) => Err(format!("{}: the server answers {status}", self.address.shown())),
        }
    }
}
