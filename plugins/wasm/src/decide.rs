//! What becomes of a request and its answer, without a word about Envoy.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, RANGE, RETRY_AFTER,
    TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::codec::{self, HeadPlace};
use crate::config::{Config, Encoding, PlaceEntry, SelectionKey, Settings};
use crate::contract::{Fidelity, Version};
use crate::edits::Edits;
use crate::fleet::{Fleet, Server};
use crate::pointer::{Lost, Pointer, splice};
use crate::problem::{Owner, Refusal, Refused};
use crate::router::{Ask, Decision, Held, RoutePolicy, Selection, route};
use crate::rules::Pack;
use crate::session::{CompiledRule, Rules};

/// The header that names the server, for the route table; no client's value survives.
pub const SERVER: &str = "x-unskew-server";
/// The header that says where it listens, for `override_host`.
pub const ADDRESS: &str = "x-unskew-address";
const OURS: &str = "x-unskew-";
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// A configuration, ready for requests.
pub struct Filter {
    pack: Pack,
    rules: Rules,
    fleet: Fleet,
    carrier: Carrier,
    client: Option<Version>,
    max_loss: Fidelity,
}

enum Carrier {
    None,
    Body { request: Option<Pointer>, response: Option<Pointer> },
    Head { place: HeadPlace, encoding: Encoding },
}

/// One request and its answer; it keeps its configuration, whatever comes after it.
pub struct Exchange {
    filter: Rc<Filter>,
    rule: Option<Arc<CompiledRule>>,
    session: Option<String>,
    headers: HeaderMap,
    compressed: bool,
    bodyless: bool,
    /// What the server can't hold, for the answer.
    carry: Vec<u8>,
}

/// A record that came with a request, and where in the body it stands, if it stands there.
type Found = (Bytes, Option<std::ops::Range<usize>>);

/// Where a request goes, and what is changed in it.
pub struct Placed {
    /// Names that go, and headers that come.
    pub edits: Edits,
    /// Another body.
    pub body: Option<Bytes>,
}

/// What a client gets in place of an answer.
pub struct Problem {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, but for the length.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The document.
    pub body: Vec<u8>,
}

impl Filter {
    /// The configuration in this text, as `unskew wasm` writes it.
    ///
    /// # Errors
    /// Every problem of the pack, or the first of the rest.
    pub fn read(text: &str) -> Result<Filter, String> {
        let Settings { pack, config } = serde_json::from_str(text).map_err(|error| {
            format!("the filter's configuration can't be read: {error}; write it with `unskew wasm`")
        })?;
        let pack = Pack::load(pack.get())?;
        let carrier = carrier(&config)?;
        let fleet = Fleet::new(servers(&config), policy(&config, &carrier)).map_err(|error| error.to_string())?;
        let client = match &config.record.client_version {
            Some(id) => {
                Some(pack.matrix.version(id).ok_or_else(|| format!("client_version {id:?} is not in the pack"))?)
            }
            None => None,
        };
        let max_loss = fleet.policy().max_loss;
        Ok(Filter { pack, rules: Rules::new(&config), fleet, carrier, client, max_loss })
    }

    /// Begins with the head of a request. `target` is path and query.
    pub fn begin(self: &Rc<Self>, method: &str, target: &str, headers: HeaderMap) -> Exchange {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let rule = self.rules.find(method, path).cloned();
        let session = rule.as_ref().and_then(|rule| rule.id_in_head(path, query, &headers));
        let compressed = headers.get(CONTENT_ENCODING).is_some_and(|value| value != "identity");
        let bodyless = method == "HEAD";
        Exchange { filter: self.clone(), rule, session, headers, compressed, bodyless, carry: Vec::new() }
    }
}

impl Exchange {
    /// The longest body that `place` is to be given; none where it needs none.
    pub fn wanted(&self) -> Option<usize> {
        let wants = self.rule.is_some() && !self.compressed;
        (wants && self.request_pointer().is_some()).then_some(self.filter.pack.max_bytes)
    }

    /// Whether the head of the answer waits for its body.
    pub fn holds(&self) -> bool {
        self.rule.is_some() && !self.bodyless && self.answer_pointer().is_some()
    }

    /// Chooses the server, and makes the record readable for it. `key` picks where there is no session id.
    ///
    /// # Errors
    /// What the client gets instead.
    pub fn place(&mut self, body: Option<&[u8]>, key: &[u8]) -> Result<Placed, Problem> {
        self.placed(body, key).map_err(|refusal| problem(&refusal))
    }

    /// The body is longer than a record may be.
    pub fn too_long(&self) -> Problem {
        let limit = self.filter.pack.max_bytes;
        let detail =
            format!("the body is longer than the {limit} bytes that a record may have (policy.max_bytes of the pack)");
        problem(&Refusal::new(Refused::RecordTooLarge, detail))
    }

    /// Looks at the head of the answer.
    ///
    /// # Errors
    /// What the client gets instead.
    pub fn answer_head(&mut self, headers: &HeaderMap) -> Result<Edits, Problem> {
        let mut edits = Edits::default();
        edits.remove_forged(headers, OURS);
        let filter = self.filter.clone();
        let (Some(client), Some(_), Carrier::Head { place, encoding }) = (filter.client, &self.rule, &filter.carrier)
        else {
            return Ok(edits);
        };
        let values = place.in_answer(headers);
        let Some(record) = values.first().and_then(|value| codec::decode(value, *encoding)) else { return Ok(edits) };
        let done = self.for_client(&record, client).and_then(|done| {
            let Some(record) = done else { return Ok(()) };
            let value = codec::encode(&record, *encoding).ok_or_else(|| {
                Refusal::new(
                    Refused::BadAnswer,
                    format!("the translated record can't stand in the {place}: use an encoding of base64"),
                )
            })?;
            place.lay_into_answer(headers, &value, &mut edits);
            Ok(())
        });
        done.map_err(|refusal| problem(&refusal))?;
        Ok(edits)
    }

    /// Looks at the body of the answer, whose head waits: another body with what that changes in the head, or none.
    ///
    /// # Errors
    /// What the client gets instead.
    pub fn answer_body(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Option<(Bytes, Edits)>, Problem> {
        let Some(body) = self.answered(status, headers, body).map_err(|refusal| problem(&refusal))? else {
            return Ok(None);
        };
        let mut edits = Edits::default();
        edits.remove_all(headers, &DIGESTS);
        let tag = headers.get(ETAG).and_then(|tag| tag.to_str().ok()).filter(|tag| tag.starts_with('"'));
        if let Some(weak) = tag.and_then(|tag| HeaderValue::from_str(&format!("W/{tag}")).ok()) {
            edits.set(ETAG, weak);
        }
        edits.remove(TRANSFER_ENCODING);
        edits.set(CONTENT_LENGTH, body.len());
        Ok(Some((body, edits)))
    }

    fn placed(&mut self, body: Option<&[u8]>, key: &[u8]) -> Result<Placed, Refusal> {
        let filter = self.filter.clone();
        let (fleet, pack) = (&filter.fleet, &filter.pack);
        let found = match self.rule {
            Some(_) => self.record(body)?,
            None => None,
        };
        let version = match &found {
            Some((record, _)) => pack.detect(record, Owner::Client)?,
            None => None,
        };
        let held = version.map(|version| Held { version, carry: false, writer: None });
        let session = self.session.as_deref().map_or(key, str::as_bytes);
        let matrix = self.rule.is_some().then_some(&pack.matrix);
        let ask = Ask { record: held, ..Ask::create(session) };
        let (server, tier) = match route(&ask, fleet, matrix) {
            Decision::Route { server, tier, .. } => (&fleet.servers()[server], tier),
            Decision::Refuse { reason } => {
                return Err(Refusal::new(Refused::NoServer, reason.with(fleet, matrix).to_string()));
            }
        };
        let mut edits = Edits::default();
        edits.remove_forged(&self.headers, OURS);
        let mut new = None;
        if self.holds() {
            edits.set(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            edits.remove_all(&self.headers, &[RANGE]);
        }
        if let (true, Some(from), Some(to), Some((record, place))) =
            (tier.translates(), version, pack.matrix.version(&server.version), found)
            && let Some((record, carry)) = pack.translate((&record, &[]), (from, to), Owner::Client)?
        {
            self.carry = carry;
            match (place, body, &filter.carrier) {
                (Some(place), Some(body), _) => {
                    let body = splice(body, place, &record);
                    edits.remove_all(&self.headers, &DIGESTS);
                    edits.remove_all(&self.headers, &[TRANSFER_ENCODING]);
                    edits.set(CONTENT_LENGTH, body.len());
                    new = Some(body);
                }
                (_, _, Carrier::Head { place, encoding }) => {
                    let value = codec::encode(&record, *encoding).ok_or_else(|| {
                        let detail =
                            format!("the translated record can't stand in the {place}: use an encoding of base64");
                        Refusal::new(Refused::BadRecord, detail)
                    })?;
                    place.lay_into_request(&self.headers, &value, &mut edits);
                }
                (_, _, Carrier::None | Carrier::Body { .. }) => {}
            }
        }
        for (name, value) in [(SERVER, &server.name), (ADDRESS, &server.address)] {
            if let Ok(value) = HeaderValue::from_str(value) {
                edits.set(HeaderName::from_static(name), value);
            }
        }
        Ok(Placed { edits, body: new })
    }

    /// The record that came with the request, and where in the body it stands.
    fn record(&self, body: Option<&[u8]>) -> Result<Option<Found>, Refusal> {
        match (&self.filter.carrier, body.filter(|body| !body.is_empty())) {
            (Carrier::Body { request: Some(pointer), .. }, Some(body)) => match pointer.find(body) {
                Ok(place) => Ok(Some((Bytes::copy_from_slice(&body[place.clone()]), Some(place)))),
                Err(Lost::Absent) => Ok(None),
                Err(Lost::NotJson | Lost::Twice) => Err(Refusal::new(
                    Refused::BadBody,
                    "the body is no JSON, or a key on the way to the record stands twice",
                )),
            },
            (Carrier::Head { place, encoding }, _) => match place.in_request(&self.headers).first() {
                Some(value) => match codec::decode(value, *encoding) {
                    Some(record) => Ok(Some((record, None))),
                    None => Err(Refusal::new(
                        Refused::BadRecord,
                        format!("the {place} is not written as the configuration says"),
                    )),
                },
                None => Ok(None),
            },
            (Carrier::None | Carrier::Body { .. }, _) => Ok(None),
        }
    }

    fn answered(&mut self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<Option<Bytes>, Refusal> {
        let filter = self.filter.clone();
        let (Some(client), Some(pointer)) = (filter.client, self.answer_pointer()) else { return Ok(None) };
        let problem = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/problem"));
        if body.is_empty() || problem || !status.is_success() || headers.contains_key(CONTENT_ENCODING) {
            return Ok(None);
        }
        if body.len() > filter.pack.max_bytes {
            let limit = filter.pack.max_bytes;
            return Err(Refusal::new(
                Refused::BadAnswer,
                format!("the answer is longer than the {limit} bytes that a record may have"),
            ));
        }
        let place = pointer
            .find(body)
            .map_err(|_| Refusal::new(Refused::BadAnswer, "the answer has no record where the configuration says"))?;
        let done = self.for_client(&body[place.clone()], client)?;
        Ok(done.map(|record| splice(body, place, &record)))
    }

    /// A server's record as clients read it; none where it stays.
    fn for_client(&self, record: &[u8], client: Version) -> Result<Option<Vec<u8>>, Refusal> {
        let pack = &self.filter.pack;
        let Some(found) = pack.detect(record, Owner::Server)? else { return Ok(None) };
        if found == client {
            return Ok(None);
        }
        let verdict = pack.matrix.verdict(found, client);
        if verdict.fidelity > self.filter.max_loss {
            return Err(Refusal::new(
                Refused::NoServer,
                format!("the record can be had for clients only {}: {}", verdict.fidelity, verdict.reason),
            ));
        }
        Ok(pack.translate((record, &self.carry), (found, client), Owner::Server)?.map(|(record, _)| record))
    }

    fn request_pointer(&self) -> Option<&Pointer> {
        match &self.filter.carrier {
            Carrier::Body { request, .. } => request.as_ref(),
            Carrier::None | Carrier::Head { .. } => None,
        }
    }

    fn answer_pointer(&self) -> Option<&Pointer> {
        match &self.filter.carrier {
            Carrier::Body { response, .. } => response.as_ref().filter(|_| self.filter.client.is_some()),
            Carrier::None | Carrier::Head { .. } => None,
        }
    }
}

/// Digests of bodies, which hold no more once the body is another.
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

fn problem(refusal: &Refusal) -> Problem {
    let mut headers = vec![
        (CONTENT_TYPE, HeaderValue::from_static("application/problem+json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    // Printable ASCII only, so this is a header value.
    headers.extend(HeaderValue::from_str(&refusal.proxy_status()).ok().map(|status| (PROXY_STATUS, status)));
    if refusal.kind == Refused::NoServer {
        headers.push((RETRY_AFTER, HeaderValue::from_static("1")));
    }
    Problem { status: refusal.kind.status(), headers, body: refusal.json() }
}

fn carrier(config: &Config) -> Result<Carrier, String> {
    let record = &config.record;
    let head = |place, entry: &PlaceEntry| Carrier::Head { place, encoding: entry.encoding };
    Ok(match (&record.body, &record.header, &record.cookie) {
        (Some(body), _, _) => {
            let pointer = |text: &Option<String>| text.as_deref().map(Pointer::parse).transpose();
            Carrier::Body { request: pointer(&body.request)?, response: pointer(&body.response)? }
        }
        (None, Some(header), _) => {
            let name = HeaderName::try_from(&header.name).map_err(|_| format!("{:?} is no header", header.name))?;
            head(HeadPlace::Header(name), header)
        }
        (None, None, Some(cookie)) => head(HeadPlace::Cookie(cookie.name.clone()), cookie),
        (None, None, None) => Carrier::None,
    })
}

fn servers(config: &Config) -> Vec<Server> {
    let server = |entry: &crate::config::ServerEntry| Server {
        name: if entry.name.is_empty() { entry.address.clone() } else { entry.name.clone() },
        address: entry.address.clone(),
        version: entry.version.clone(),
        reads: entry.reads.clone(),
        weight: entry.weight,
        capacity: None,
    };
    config.servers.iter().map(server).collect()
}

fn policy(config: &Config, carrier: &Carrier) -> RoutePolicy {
    let selection = match config.policy.selection {
        SelectionKey::Writer => Selection::Writer,
        SelectionKey::Latest => Selection::Latest,
        SelectionKey::Oldest => Selection::Oldest,
        SelectionKey::Weighted => {
            Selection::Weighted(config.policy.ramp.iter().map(|(id, percent)| (id.clone(), *percent)).collect())
        }
    };
    let max_loss = match carrier {
        Carrier::None => Fidelity::Native,
        Carrier::Body { .. } | Carrier::Head { .. } => config.policy.max_loss.into(),
    };
    RoutePolicy { max_loss, selection, spill: None }
}
