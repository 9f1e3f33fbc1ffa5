//! What all requests of one gateway share: rules, fleet, store, directory, mode and counters.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use http::HeaderName;
use tokio::sync::{Mutex, MutexGuard};

use super::StartError;
use super::codec::HeadPlace;
use super::counters::Counters;
use super::decisions::Decisions;
use super::intake::Intake;
use super::otlp::Spans;
use super::pointer::Pointer;
use super::session::Rules;
use super::sessions::Sessions;
use super::shadow::Shadow;
use crate::config::{Config, Encoding, FailureKey, ModeKey, SelectionKey, ServerEntry};
use crate::contract::{CarryPlace, Fidelity};
use crate::fleet::{Fleet, FleetError, Server};
use crate::generation::Generation;
use crate::limits::{FailurePolicy, Mode, OnFailure};
use crate::offload::Offload;
use crate::router::{RoutePolicy, Selection};
use crate::runtime::Runtime;
use crate::seal::Seal;
use crate::store::Store;

/// What all requests of one gateway share.
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) rules: Rules,
    pub(crate) carrier: Carrier,
    pub(crate) runtime: Runtime,
    pub(crate) store: Option<Arc<dyn Store>>,
    pub(crate) sessions: Sessions,
    pub(crate) counters: Counters,
    pub(crate) offload: Offload,
    pub(crate) failure: FailurePolicy,
    pub(crate) intake: Intake,
    pub(crate) shadow: Shadow,
    pub(crate) decisions: Option<Decisions>,
    /// Where spans are left, if traces are exported.
    pub(crate) spans: Option<Spans>,
    /// What inline carries are sealed with for clients.
    pub(crate) seal: Option<Seal>,
    members: ArcSwap<Members>,
    servers: std::sync::Mutex<Servers>,
    mode: AtomicU8,
    stopping: AtomicBool,
    keys: AtomicU64,
    /// Joins of one session take turns, so that a record and its carry change together; the stripes bound the memory.
    turns: Vec<Mutex<()>>,
}

/// Where records are, ready to use.
#[derive(Debug, Clone)]
pub(crate) enum Carrier {
    None,
    Body { request: Option<Pointer>, response: Option<Pointer> },
    Head { place: HeadPlace, encoding: Encoding },
    Store { key: String },
}

impl Carrier {
    /// Whether clients see the records, and so could forge a carry that lies in them.
    pub(crate) fn meets_clients(&self) -> bool {
        matches!(self, Carrier::Body { .. } | Carrier::Head { .. })
    }

    /// Where records stand in the bodies of requests.
    pub(crate) fn in_requests(&self) -> Option<&Pointer> {
        match self {
            Carrier::Body { request, .. } => request.as_ref(),
            Carrier::None | Carrier::Head { .. } | Carrier::Store { .. } => None,
        }
    }

    /// Whether clients bring back the records that they were given.
    pub(crate) fn comes_back(&self) -> bool {
        matches!(self, Carrier::Body { request: Some(_), .. } | Carrier::Head { .. })
    }
}

/// The servers as they were configured last, and which of them are drained by hand.
struct Servers {
    entries: Vec<ServerEntry>,
    drained: BTreeSet<String>,
}

impl Servers {
    /// What the fleet is made of: drained servers weigh nothing.
    fn effective(&self) -> Vec<ServerEntry> {
        let mut entries = self.entries.clone();
        for entry in entries.iter_mut().filter(|entry| self.drained.contains(entry.called())) {
            entry.weight = 0;
        }
        entries
    }
}

/// What a server is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// It takes sessions by its weight.
    AsConfigured,
    /// It takes none.
    None,
}

/// What came of draining a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Draining {
    Done,
    NoSuchServer,
    /// No other server takes sessions.
    LastOne,
}

/// A snapshot of the servers with the requests that are on their way to each.
pub(crate) struct Members {
    pub(crate) fleet: Fleet,
    pub(crate) in_flight: Arc<[AtomicU32]>,
    /// By index of the server; parsed once, because every request needs one.
    addresses: Arc<[SocketAddr]>,
}

impl State {
    pub(crate) fn new(
        config: Config,
        runtime: Runtime,
        store: Option<Arc<dyn Store>>,
        seal: Option<Seal>,
        (intake, decisions, spans, sessions): (Intake, Option<Decisions>, Option<Spans>, Sessions),
    ) -> Result<State, FleetError> {
        let carrier = carrier(&config);
        let fleet = Fleet::new(servers(&config.servers, &config), policy(&config, &carrier))?;
        fleet.prepare(runtime.generation().as_deref().map(Generation::matrix));
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let lanes = if config.policy.large_at_a_time == 0 { cores } else { config.policy.large_at_a_time };
        let on = |key: FailureKey| match key {
            FailureKey::Closed => OnFailure::Closed,
            FailureKey::Open => OnFailure::Open,
        };
        Ok(State {
            rules: Rules::new(&config),
            sessions,
            counters: Counters::default(),
            offload: Offload::new(lanes),
            failure: FailurePolicy { load: on(config.policy.on_load_failure), call: on(config.policy.on_call_failure) },
            seal,
            intake,
            shadow: Shadow::new(config.rollout.shadow_one_of),
            decisions,
            spans,
            members: ArcSwap::from_pointee(Members::new(fleet)),
            servers: std::sync::Mutex::new(Servers { entries: config.servers.clone(), drained: BTreeSet::new() }),
            mode: AtomicU8::new(config.mode as u8),
            stopping: AtomicBool::new(false),
            keys: AtomicU64::new(0),
            turns: (0..1024).map(|_| Mutex::new(())).collect(),
            carrier,
            runtime,
            store,
            config,
        })
    }

    pub(crate) fn mode(&self) -> Mode {
        match self.mode.load(Ordering::Relaxed) {
            mode if mode == ModeKey::Off as u8 => Mode::Off,
            mode if mode == ModeKey::Observe as u8 => Mode::Observe,
            _ => Mode::Enforce,
        }
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        let key = match mode {
            Mode::Off => ModeKey::Off,
            Mode::Observe => ModeKey::Observe,
            Mode::Enforce => ModeKey::Enforce,
        };
        self.set_mode_key(key);
    }

    pub(crate) fn set_mode_key(&self, key: ModeKey) {
        self.mode.store(key as u8, Ordering::Relaxed);
    }

    /// From now on every answer says that its connection ends.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub(crate) fn members(&self) -> Arc<Members> {
        self.members.load_full()
    }

    /// Replaces the servers. Those that stay, by name and address, keep their health, and drained ones stay drained.
    pub(crate) fn set_servers(&self, entries: &[ServerEntry]) -> Result<(), StartError> {
        Config { servers: entries.to_vec(), ..self.config.clone() }.check()?;
        let mut held = self.held_servers();
        let next = Servers { entries: entries.to_vec(), drained: held.drained.clone() };
        self.publish_servers(&next)?;
        *held = next;
        Ok(())
    }

    /// Drains a server, so that it gets no sessions, or lets it take them again.
    pub(crate) fn drain(&self, name: &str, service: Service) -> Draining {
        let mut held = self.held_servers();
        let mut next = Servers { entries: held.entries.clone(), drained: held.drained.clone() };
        if !next.entries.iter().any(|entry| entry.called() == name) {
            return Draining::NoSuchServer;
        }
        match service {
            Service::None => next.drained.insert(name.to_owned()),
            Service::AsConfigured => next.drained.remove(name),
        };
        if next.effective().iter().all(|entry| entry.weight == 0) || self.publish_servers(&next).is_err() {
            return Draining::LastOne;
        }
        *held = next;
        Draining::Done
    }

    /// The names of drained servers.
    pub(crate) fn drained(&self) -> BTreeSet<String> {
        self.held_servers().drained.clone()
    }

    fn held_servers(&self) -> std::sync::MutexGuard<'_, Servers> {
        self.servers.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn publish_servers(&self, next: &Servers) -> Result<(), FleetError> {
        let fleet = Fleet::new(servers(&next.effective(), &self.config), policy(&self.config, &self.carrier))?;
        self.publish(|old| {
            let health = |index: usize| {
                let server = &fleet.servers()[index];
                let before =
                    old.fleet.index(&server.name).filter(|at| old.fleet.servers()[*at].address == server.address);
                before.is_none_or(|at| old.fleet.is_healthy(at))
            };
            Members::new(fleet.with_health(health))
        });
        Ok(())
    }

    /// Publishes what a check found of a server, if the fleet still has it.
    pub(crate) fn set_health(&self, name: &str, healthy: bool) {
        self.publish(|old| {
            let found = old.fleet.index(name);
            let health = |index| if Some(index) == found { healthy } else { old.fleet.is_healthy(index) };
            Members {
                fleet: old.fleet.with_health(health),
                in_flight: old.in_flight.clone(),
                addresses: old.addresses.clone(),
            }
        });
    }

    /// Builds the router's tables for the active generation, so that no request has to.
    pub(crate) fn prepare(&self) {
        self.members.load().fleet.prepare(self.runtime.generation().as_deref().map(Generation::matrix));
    }

    /// A key for a request without a session: every call gives another one, spread over all values.
    pub(crate) fn random_key(&self) -> [u8; 8] {
        // splitmix64: a counter spread so well that neighbours share no bits
        let mut key = self.keys.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        key = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        key = (key ^ (key >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (key ^ (key >> 31)).to_le_bytes()
    }

    /// Waits until no other join of this session is between reading its record and noting its carry.
    pub(crate) async fn turn(&self, session: &str) -> MutexGuard<'_, ()> {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325; // FNV-1a
        for byte in session.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let stripe = usize::try_from(hash % self.turns.len() as u64).unwrap_or(0);
        self.turns[stripe].lock().await
    }

    /// The worst fidelity that is allowed.
    pub(crate) fn max_loss(&self) -> Fidelity {
        self.config.policy.max_loss.into()
    }

    /// Why a pack can't be used with this gateway's carrier, if it can't.
    pub(crate) fn objection(&self, carry: CarryPlace) -> Option<String> {
        let inline = carry == CarryPlace::Inline && self.carrier.meets_clients();
        (inline && self.seal.is_none()).then(|| {
            "policy.carry = \"inline\" lays the carry into records that clients can reach: say \"beside\", and the \
             gateway keeps it in its directory, or give the gateway's configuration a key to seal it with, [seal] \
             keys = [{ file = \"…\" }]"
                .to_string()
        })
    }

    fn publish(&self, next: impl Fn(&Members) -> Members) {
        self.members.rcu(|old| {
            let next = next(old);
            next.fleet.prepare(self.runtime.generation().as_deref().map(Generation::matrix));
            Arc::new(next)
        });
    }
}

impl Members {
    /// The servers by name, and whether each is healthy.
    pub(crate) fn health(&self) -> Vec<(String, bool)> {
        let named = |(index, server): (usize, &Server)| (server.name.clone(), self.fleet.is_healthy(index));
        self.fleet.servers().iter().enumerate().map(named).collect()
    }

    fn new(fleet: Fleet) -> Members {
        let in_flight = fleet.servers().iter().map(|_| AtomicU32::new(0)).collect();
        // `Config::check` has parsed them all; one that doesn't parse is one that nobody reaches.
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let addresses = fleet.servers().iter().map(|server| server.address.parse().unwrap_or(nowhere)).collect();
        Members { fleet, in_flight, addresses }
    }

    pub(crate) fn address(&self, server: usize) -> SocketAddr {
        self.addresses[server]
    }
}

/// One request on its way to a server; counted until it is dropped.
pub(crate) struct InFlight {
    counters: Arc<[AtomicU32]>,
    server: usize,
}

impl InFlight {
    pub(crate) fn new(members: &Members, server: usize) -> InFlight {
        members.in_flight[server].fetch_add(1, Ordering::Relaxed);
        InFlight { counters: members.in_flight.clone(), server }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.counters[self.server].fetch_sub(1, Ordering::Relaxed);
    }
}

fn carrier(config: &Config) -> Carrier {
    let record = &config.record;
    let pointer = |text: &Option<String>| text.as_deref().and_then(|text| Pointer::parse(text).ok());
    if let Some(body) = &record.body {
        return Carrier::Body { request: pointer(&body.request), response: pointer(&body.response) };
    }
    if let Some(header) = &record.header
        && let Ok(name) = HeaderName::try_from(header.name.as_str())
    {
        return Carrier::Head { place: HeadPlace::Header(name), encoding: header.encoding };
    }
    if let Some(cookie) = &record.cookie {
        return Carrier::Head { place: HeadPlace::Cookie(cookie.name.clone()), encoding: cookie.encoding };
    }
    match &record.store {
        Some(store) => Carrier::Store { key: store.key.clone() },
        None => Carrier::None,
    }
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
    // Where records can't be seen they can't be translated: only servers that read them as they are will do.
    let max_loss = if matches!(carrier, Carrier::None) { Fidelity::Native } else { config.policy.max_loss.into() };
    let spill = (config.policy.server_limit > 0).then_some(config.policy.spill);
    RoutePolicy { max_loss, selection, spill }
}

fn servers(entries: &[ServerEntry], config: &Config) -> Vec<Server> {
    let capacity = (config.policy.server_limit > 0).then_some(config.policy.server_limit);
    let server = |entry: &ServerEntry| Server {
        name: entry.called().to_owned(),
        address: entry.address.clone(),
        version: entry.version.clone(),
        reads: entry.reads.clone(),
        weight: entry.weight,
        capacity,
    };
    entries.iter().map(server).collect()
}
