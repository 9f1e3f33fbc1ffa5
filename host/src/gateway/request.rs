//! One request on its way through the gateway: what it is about, and what is known, decided and done so far.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderValue, StatusCode};

use super::border::UNREAD;
use super::codec::{self, HeadPlace};
use super::pointer::{Lost, Pointer};
use super::problem::{Owner, Refusal, Refused};
use super::session::{CompiledRule, IdPlace, Kind, is_id};
use super::state::{Carrier, InFlight, Members, State};
use super::trace::Trace;
use crate::contract::{Counts, Outlook, Version};
use crate::directory::Entry;
use crate::fleet::{Fleet, Server};
use crate::generation::Generation;
use crate::limits::{Mode, OnFailure};
use crate::router::{Reason, Tier};
use crate::store::Tag;

const COMPRESSED: &str = "a compressed body can't be read: send it as it is";

/// Where a request stands: the context of a [`Gate`](super::Gate).
pub struct Ctx {
    pub(crate) mode: Mode,
    /// Pinned: a request sees one truth from its first byte to its last.
    pub(crate) generation: Option<Arc<Generation>>,
    pub(crate) rule: Option<Arc<CompiledRule>>,
    pub(crate) session: Option<String>,
    /// What a server is picked by where there is no session.
    pub(crate) key: [u8; 8],
    pub(crate) body: Body,
    /// Whether the body can't be read because it is compressed.
    compressed: bool,
    /// The longest body that is read before a server is chosen.
    pub(crate) readable: usize,
    pub(crate) record: Option<Record>,
    /// Whether the record is another than the client's: its carry was opened or taken out.
    pub(crate) cleared: bool,
    /// What became of an inline carry on its way in, and on its way out.
    pub(crate) carry_in: Option<&'static str>,
    pub(crate) carry_out: Option<&'static str>,
    /// What the directory knew of the session before this request changed it.
    pub(crate) entry: Option<Entry>,
    /// What the translation of this request's own record has kept. Its answer is brought back with this and nothing
    /// else, whatever other requests of the session note in the directory meanwhile.
    pub(crate) kept: Option<Bytes>,
    /// The server, and what the record was made for it.
    pub(crate) placed: Option<Placed>,
    /// Servers that could not be reached, by name.
    pub(crate) tried: Vec<String>,
    /// The tag under which the stored record was last seen to fit the server.
    pub(crate) seen: Option<Tag>,
    pub(crate) counts: Counts,
    /// The versions that the record was translated from and to.
    pub(crate) translated: Option<(Version, Version)>,
    /// Why what may be its record passes without being looked at.
    pub(crate) passes: Option<&'static str>,
    /// In `observe`: what would have been done.
    pub(crate) would: Option<String>,
    /// Why the request is not served; the problem document is made of it.
    pub(crate) refusal: Option<Refusal>,
    /// The answer's body, as far as the session id is looked for in it.
    pub(crate) learning: Option<BytesMut>,
    /// Whether the answer's body is another than the server's.
    pub(crate) answer_changed: bool,
    /// The trace that it belongs to.
    pub(crate) trace: Option<Trace>,
    /// The status of the server's answer.
    pub(crate) answered: Option<StatusCode>,
}

/// What of a request must be there before its server can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Its head is enough.
    Nothing,
    /// Its body, if it is not too long.
    Body,
}

/// The request's body, as far as it matters.
pub(crate) enum Body {
    /// Not looked at: it passes.
    Passes,
    /// All of it.
    Whole(Bytes),
    /// Longer than can be read before a server is chosen: it is collected while it streams, if it is to be translated.
    Streams { read_before: Bytes, collected: BytesMut },
}

/// The record that came with the request.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) bytes: Bytes,
    pub(crate) place: RecordPlace,
}

/// Where in the request the record stands.
#[derive(Debug, Clone)]
pub(crate) enum RecordPlace {
    Body(Range<usize>),
    Header,
}

/// What is done with a body that streams.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Streamed {
    /// Its record is brought to this version.
    To(Version),
    /// The version of its server is not known: its record is looked at for a carry alone.
    Cleared,
}

/// A server, and what is to be changed for it.
pub(crate) struct Placed {
    pub(crate) members: Arc<Members>,
    pub(crate) server: usize,
    pub(crate) tier: Tier,
    pub(crate) reason: Reason,
    pub(crate) body: Option<Bytes>,
    pub(crate) header: Option<HeaderValue>,
    /// What is done with a body while it streams.
    pub(crate) streams_to: Option<Streamed>,
    _in_flight: InFlight,
}

impl Placed {
    pub(crate) fn new(members: Arc<Members>, server: usize, tier: Tier, reason: Reason) -> Placed {
        let in_flight = InFlight::new(&members, server);
        Placed { members, server, tier, reason, body: None, header: None, streams_to: None, _in_flight: in_flight }
    }

    pub(crate) fn server(&self) -> &Server {
        &self.members.fleet.servers()[self.server]
    }
}

impl Ctx {
    pub(crate) fn new(state: &State, readable: usize) -> Ctx {
        Ctx {
            mode: state.mode(),
            generation: state.runtime.generation(),
            rule: None,
            session: None,
            key: state.random_key(),
            body: Body::Passes,
            compressed: false,
            readable,
            record: None,
            cleared: false,
            carry_in: None,
            carry_out: None,
            entry: None,
            kept: None,
            placed: None,
            tried: Vec::new(),
            seen: None,
            counts: Counts::default(),
            translated: None,
            passes: None,
            would: None,
            refusal: None,
            learning: None,
            answer_changed: false,
            trace: None,
            answered: None,
        }
    }

    pub(crate) fn kind(&self) -> Option<Kind> {
        self.rule.as_ref().map(|rule| rule.kind)
    }

    /// What a server is picked by.
    pub(crate) fn route_key(&self) -> &[u8] {
        self.session.as_ref().map_or(&self.key, |session| session.as_bytes())
    }

    /// The fleet without the servers that could not be reached.
    pub(crate) fn reachable(&self, members: &Members) -> Fleet {
        let fleet = &members.fleet;
        if self.tried.is_empty() {
            return fleet.clone();
        }
        fleet.with_health(|index| fleet.is_healthy(index) && !self.tried.contains(&fleet.servers()[index].name))
    }

    /// Finds out what the request is about, as far as its head says: its rule, its session, and a record in a header.
    /// Answers whether the body is wanted as well; `settle` goes on from there.
    pub(crate) fn look(&mut self, state: &State, head: &http::request::Parts) -> Result<Wanted, Refusal> {
        state.counters.requests.one();
        if self.mode == Mode::Off {
            return Ok(Wanted::Nothing);
        }
        self.trace = Trace::of(head, state.spans.as_ref());
        let path = head.uri.path();
        let Some(rule) = state.rules.find(head.method.as_str(), path).cloned() else { return Ok(Wanted::Nothing) };
        match rule.kind {
            Kind::Create => state.counters.creates.one(),
            Kind::Join => state.counters.joins.one(),
            Kind::End => state.counters.ends.one(),
        }
        self.session = rule.id_in_head(path, head.uri.query(), &head.headers);
        self.rule = Some(rule.clone());
        if let Some(canary) = self.session.as_ref().and_then(|session| state.generation_for(session)) {
            self.generation = Some(canary); // nothing was asked of the active one yet
        }
        if let Some(message) =
            self.generation.as_ref().and_then(|generation| state.objection(generation.manifest().policy.carry))
        {
            return Err(Refusal::new(Refused::NoRules, message)); // swapped in past the gateway
        }
        if let Carrier::Head { place, encoding } = &state.carrier
            && let values = place.in_request(&head.headers)
            && let Some(value) = values.first()
        {
            match codec::decode(value, *encoding) {
                Some(bytes) => {
                    self.record = Some(Record { bytes, place: RecordPlace::Header });
                    // The server gets the one that was looked at.
                    self.cleared = values.len() > 1 && state.inline(self).is_some();
                }
                None => {
                    let opaque = match place {
                        HeadPlace::Header(_) => "the header of the record is not written as the configuration says",
                        HeadPlace::Cookie(_) => "the cookie of the record is not written as the configuration says",
                    };
                    self.take_opaque(state, opaque, Owner::Client)?;
                }
            }
        }
        let id_in_body = matches!(rule.id, IdPlace::Body(_));
        if !id_in_body && state.carrier.in_requests().is_none() {
            return Ok(Wanted::Nothing);
        }
        if head.headers.get(CONTENT_ENCODING).is_none_or(|value| value == "identity") {
            return Ok(Wanted::Body);
        }
        // A compressed body is no JSON to us; whether there is one, the head says.
        let empty = match head.headers.get(CONTENT_LENGTH) {
            Some(length) => length == "0",
            None => head.version < http::Version::HTTP_2 && !head.headers.contains_key(TRANSFER_ENCODING),
        };
        self.compressed = !empty;
        Ok(Wanted::Nothing)
    }

    /// What is left to find out once the body is here, or is known to be none or too long: a session and a record in it.
    pub(crate) async fn settle(&mut self, state: &State) -> Result<(), Refusal> {
        let Some(rule) = self.rule.clone() else { return Ok(()) };
        if let IdPlace::Body(pointer) = &rule.id {
            self.take_id(pointer)?;
        }
        if self.compressed {
            self.take_opaque(state, COMPRESSED, Owner::Client)?;
        }
        if self.session.is_none() && !self.learns_later() {
            state.counters.unidentified.one();
        }
        self.entry = match &self.session {
            Some(session) => state.sessions.look(session).await,
            None => None,
        };
        if let Some(pointer) = state.carrier.in_requests() {
            self.take_record(state, pointer)?;
        }
        state.clear_request(self).await
    }

    /// The carry that belongs to the record in the request.
    pub(crate) fn carry(&self) -> Bytes {
        self.entry.as_ref().map(|entry| entry.carry.clone()).unwrap_or_default()
    }

    /// Whether the policy refuses what is no record at all.
    pub(crate) fn is_opaque_refused(&self) -> bool {
        self.generation.as_ref().is_some_and(|generation| generation.manifest().policy.opaque == Outlook::Refuse)
    }

    /// What becomes of a body in which the record's place can't be told.
    pub(crate) fn take_lost(&mut self, state: &State, lost: Lost, owner: Owner) -> Result<(), Refusal> {
        match lost {
            Lost::Absent => Ok(()),
            Lost::NotJson => self.take_opaque(state, "the body is no JSON", owner),
            Lost::Twice if self.generation.is_none() => Ok(()),
            Lost::Twice => {
                let detail = "a key on the way to the record stands twice: two readers could take two records from it";
                state.counters.faults.one();
                match state.failure.call {
                    OnFailure::Closed => Err(Refusal::new(Refused::BadRecord, detail)),
                    OnFailure::Open if state.inline(self).is_some() => Err(Refusal::new(Refused::BadRecord, detail)),
                    OnFailure::Open => {
                        state.counters.passed_open.one();
                        self.passes = Some(detail);
                        Ok(())
                    }
                }
            }
        }
    }

    /// What becomes of a record that can't be read: the pack's policy refuses it, or it passes, said and counted.
    fn take_opaque(&mut self, state: &State, why: &'static str, owner: Owner) -> Result<(), Refusal> {
        if owner == Owner::Client && state.inline(self).is_some() {
            return Err(Refusal::new(Refused::BadRecord, format!("{why}: {UNREAD}")));
        }
        if self.is_opaque_refused() {
            return Err(Refusal::new(Refused::BadRecord, format!("{why}, and the pack says opaque = \"refuse\"")));
        }
        if self.generation.is_some() {
            state.counters.opaque.one();
            self.passes = Some(why);
        }
        Ok(())
    }

    fn learns_later(&self) -> bool {
        let place = self.rule.as_ref().map(|rule| &rule.id);
        matches!(place, Some(IdPlace::ResponseHeader(_) | IdPlace::ResponseBody(_)))
    }

    /// The session id, where it stands in the body.
    fn take_id(&mut self, pointer: &Pointer) -> Result<(), Refusal> {
        let unread = |detail: &str| Err(Refusal::new(Refused::BadBody, detail));
        let body = match &self.body {
            Body::Passes if self.compressed => return unread(COMPRESSED),
            Body::Passes => return Ok(()),
            Body::Streams { .. } => {
                let detail = format!(
                    "the session id stands in a body above {} bytes: send it in the path, a header or a cookie",
                    self.readable
                );
                return Err(Refusal::new(Refused::IdTooDeep, detail));
            }
            Body::Whole(body) => body,
        };
        match pointer.text(body) {
            Ok(text) if is_id(&text) => self.session = Some(text),
            Ok(_) | Err(Lost::Absent) => {}
            Err(Lost::NotJson) => return unread("the session id can't be read: the body is no JSON"),
            Err(Lost::Twice) => return unread("the session id can't be read: a key on the way to it stands twice"),
        }
        Ok(())
    }

    fn take_record(&mut self, state: &State, pointer: &Pointer) -> Result<(), Refusal> {
        let Body::Whole(body) = &self.body else { return Ok(()) };
        match pointer.find(body) {
            Ok(place) if place.is_empty() => Ok(()),
            Ok(place) => {
                self.record = Some(Record { bytes: body.slice(place.clone()), place: RecordPlace::Body(place) });
                Ok(())
            }
            Err(lost) => self.take_lost(state, lost, Owner::Client),
        }
    }
}
