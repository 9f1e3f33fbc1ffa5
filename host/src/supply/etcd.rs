//! A pack under a key of etcd, watched through etcd's own JSON gateway (`/v3/…`).
//!
//! `KEY` holds the pack, `KEY.minisig` its signature, `KEY.wasm` a guest and `KEY.wasm.minisig` the guest's; one etcd
//! transaction can write all of them, and all are read at one revision. A watch only says that something has changed:
//! what is delivered was always read whole, so that a compaction, a restart or a lost connection needs no catching up.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;

use super::client::next;
use super::{Address, Client, Closed, Delivery, Parcel, Pause, RunsIn, deliver};

/// Which key of which etcd.
#[derive(Clone, Debug)]
pub(crate) struct Etcd {
    /// Tried in turn.
    pub(crate) endpoints: Vec<Address>,
    pub(crate) key: String,
    pub(crate) user: Option<(String, String)>,
    pub(crate) max_bytes: usize,
    pub(crate) client: Client,
}

impl Etcd {
    /// The longest answer: base64 makes four bytes of three, and there may be a pack, a guest and their signatures.
    pub(crate) fn longest(max_bytes: usize) -> usize {
        max_bytes.saturating_mul(3)
    }
}

/// How long etcd may take to answer a question.
const PATIENCE: Duration = Duration::from_secs(5);

/// A watch that is silent for so long is begun anew: a connection may be dead without a word.
const SILENCE: Duration = Duration::from_secs(30);

const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Etcd {
    /// Watches until nobody listens any more.
    pub(crate) async fn run(self, to: Sender<Delivery>) {
        let Err(Closed) = self.watch(&to).await;
    }

    async fn watch(&self, to: &Sender<Delivery>) -> Result<std::convert::Infallible, Closed> {
        let mut pause = Pause::new(LONGEST_PAUSE);
        let mut told = Told { last: None, failing: false };
        for turn in 0.. {
            let endpoint = &self.endpoints[turn % self.endpoints.len()];
            let mut session = Session { etcd: self, client: &self.client, endpoint, token: None };
            let Err(end) = session.follow(to, &mut told, &mut pause).await;
            match end {
                End::Closed => return Err(Closed),
                End::Silent => {}
                End::Failed(reason) => {
                    if !std::mem::replace(&mut told.failing, true) {
                        deliver(to, Delivery::Failed(format!("{}: {reason}", self.shown(endpoint)))).await?;
                    }
                    pause.wait().await;
                }
            }
        }
        Err(Closed)
    }

    fn shown(&self, endpoint: &Address) -> String {
        format!("etcd {} of {}", self.key, endpoint.shown().trim_end_matches('/'))
    }
}

/// What was said already.
struct Told {
    last: Option<Parcel>,
    failing: bool,
}

/// Why a session with one endpoint ended.
enum End {
    Closed,
    /// Nothing happened for a while: it is begun anew.
    Silent,
    Failed(String),
}

impl From<Closed> for End {
    fn from(_: Closed) -> End {
        End::Closed
    }
}

impl From<String> for End {
    fn from(reason: String) -> End {
        End::Failed(reason)
    }
}

struct Session<'a> {
    etcd: &'a Etcd,
    client: &'a Client,
    endpoint: &'a Address,
    token: Option<String>,
}

impl Session<'_> {
    /// Reads, watches from there, and reads again at each change.
    async fn follow(
        &mut self,
        to: &Sender<Delivery>,
        told: &mut Told,
        pause: &mut Pause,
    ) -> Result<std::convert::Infallible, End> {
        self.log_in().await?;
        let revision = self.read(to, told).await?;
        pause.over();
        let request = json!({"create_request": {
            "key": self.key(), "range_end": self.range_end(), "start_revision": (revision + 1).to_string(),
        }});
        let request = self.request("/v3/watch", &request)?;
        let answer = self.client.open(request, PATIENCE).await?;
        if !answer.status().is_success() {
            return Err(End::Failed(format!("a watch is answered {}", answer.status())));
        }
        let mut body = answer.into_body();
        let mut text = BytesMut::new();
        loop {
            let chunk = match next(&mut body, SILENCE).await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Err(End::Failed("the watch ended".to_owned())),
                Err(reason) if reason.starts_with("nothing came") => return Err(End::Silent),
                Err(reason) => return Err(End::Failed(reason)),
            };
            if text.len() + chunk.len() > self.client.max_bytes() {
                return Err(End::Failed("an event is longer than max_bytes".to_owned()));
            }
            text.extend_from_slice(&chunk);
            let mut changed = false;
            // One object a line.
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                changed |= event(&text.split_to(end + 1))?;
            }
            if changed {
                self.read(to, told).await?;
            }
        }
    }

    async fn log_in(&mut self) -> Result<(), String> {
        let Some((name, password)) = &self.etcd.user else { return Ok(()) };
        let answer = self.ask("/v3/auth/authenticate", &json!({"name": name, "password": password})).await?;
        self.token = answer["token"].as_str().map(ToOwned::to_owned);
        match self.token {
            Some(_) => Ok(()),
            None => Err("it gave no token for this user".to_owned()),
        }
    }

    /// Reads all keys at one revision and delivers them if they are others than before. Returns the revision.
    async fn read(&self, to: &Sender<Delivery>, told: &mut Told) -> Result<i64, End> {
        let range = json!({"key": self.key(), "range_end": self.range_end()});
        let answer = self.ask("/v3/kv/range", &range).await?;
        let revision = answer["header"]["revision"].as_str().and_then(|text| text.parse().ok());
        let revision: i64 = revision.ok_or_else(|| "its answer has no revision".to_owned())?;
        let mut found = BTreeMap::new();
        for pair in answer["kvs"].as_array().into_iter().flatten() {
            let decoded = |member: &str| STANDARD.decode(pair[member].as_str().unwrap_or_default());
            let (Ok(key), Ok(value)) = (decoded("key"), decoded("value")) else {
                return Err(End::Failed("its answer is no base64".to_owned()));
            };
            found.insert(String::from_utf8_lossy(&key).into_owned(), value);
        }
        let key = &self.etcd.key;
        let Some(pack) = found.remove(key) else { return Err(End::Failed("there is no such key".to_owned())) };
        let mut text =
            |ending: &str| Some(String::from_utf8_lossy(&found.remove(&format!("{key}{ending}"))?).into_owned());
        let (pack_signature, guest_signature) = (text(".minisig"), text(".wasm.minisig"));
        let guest = found.remove(&format!("{key}.wasm"));
        let longest = pack.len().max(guest.as_ref().map_or(0, Vec::len));
        if longest > self.etcd.max_bytes {
            let most = self.etcd.max_bytes;
            return Err(End::Failed(format!("it holds {longest} bytes, {most} are allowed (max_bytes)")));
        }
        let runs_in = guest.map_or(RunsIn::Standard, RunsIn::Shipped);
        let parcel = Parcel { name: format!("etcd:{key}"), pack, pack_signature, runs_in, guest_signature };
        let failed = std::mem::replace(&mut told.failing, false);
        if failed || told.last.as_ref() != Some(&parcel) {
            deliver(to, Delivery::Parcel(parcel.clone())).await?;
            told.last = Some(parcel);
        }
        Ok(revision)
    }

    async fn ask(&self, path: &str, question: &Value) -> Result<Value, String> {
        let answer = self.client.ask(self.request(path, question)?, PATIENCE).await?;
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        match answer.status.is_success() {
            true => Ok(said),
            false => Err(format!("{path} is answered {}: {}", answer.status, said["message"].as_str().unwrap_or(""))),
        }
    }

    fn request(&self, path: &str, question: &Value) -> Result<Request<Full<Bytes>>, String> {
        let mut request = self.endpoint.with(path).request(Method::POST).header(CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        request.body(Full::new(Bytes::from(question.to_string()))).map_err(|error| error.to_string())
    }

    fn key(&self) -> String {
        STANDARD.encode(&self.etcd.key)
    }

    /// The end of all keys that begin with the key and a dot, which is the key's own end as well: `.` is `0x2e`.
    fn range_end(&self) -> String {
        STANDARD.encode(format!("{}/", self.etcd.key))
    }
}

/// Whether an object of the watch says that something has changed.
fn event(line: &[u8]) -> Result<bool, End> {
    let said: Value = serde_json::from_slice(line).map_err(|error| format!("an event is no JSON: {error}"))?;
    let result = &said["result"];
    if !said["error"].is_null() {
        return Err(End::Failed("the watch ended with an error".to_owned()));
    }
    if result["canceled"] == true {
        // Compacted away: reading again is all that it takes.
        return Err(match result["compact_revision"].is_null() {
            false => End::Silent,
            true => End::Failed("etcd has ended the watch".to_owned()),
        });
    }
    Ok(result["events"].as_array().is_some_and(|events| !events.is_empty()))
}
