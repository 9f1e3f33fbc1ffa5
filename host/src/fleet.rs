//! The fleet: an immutable snapshot of servers, their health and the route policy.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::matrix::Matrix;
use crate::router::RoutePolicy;
use crate::tables::{Tables, Tiers};

/// One server of the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its name, unique in the fleet.
    pub name: String,
    /// Where it listens: `host:port`.
    pub address: String,
    /// The id of the version that it writes.
    pub version: String,
    /// Ids of versions that it reads, beside what the pack says of its version.
    pub reads: Vec<String>,
    /// Its share of the sessions; 0 gets none.
    pub weight: u32,
    /// How many requests it takes at once, for spilling; none means any number.
    pub capacity: Option<u32>,
}

impl Server {
    /// A server of weight 1 that reads what the pack says.
    pub fn new(name: impl Into<String>, address: impl Into<String>, version: impl Into<String>) -> Server {
        Server {
            name: name.into(),
            address: address.into(),
            version: version.into(),
            reads: Vec::new(),
            weight: 1,
            capacity: None,
        }
    }
}

/// Servers, their health and the route policy. Immutable: a change is a new snapshot, built aside and published by
/// whoever holds it. The tables that decisions are made from belong to a snapshot and a matrix; `prepare` builds
/// them ahead, else the first decision does. Cheap to clone.
///
/// ```
/// use unskew::{Ask, Decision, Fleet, RoutePolicy, Server, Tier};
///
/// let servers = vec![Server::new("a", "10.0.0.1:80", "1"), Server::new("b", "10.0.0.2:80", "1")];
/// let fleet = Fleet::new(servers, RoutePolicy::default())?;
/// let ill = fleet.with_health(|server| fleet.servers()[server].name == "b");
/// let decision = unskew::route(&Ask::create(b"session-1"), &ill, None);
/// assert!(matches!(decision, Decision::Route { server: 1, tier: Tier::Unknown, .. }));
/// # Ok::<(), unskew::FleetError>(())
/// ```
#[derive(Clone)]
pub struct Fleet {
    servers: Arc<[Server]>,
    policy: Arc<RoutePolicy>,
    /// What doesn't depend on health, shared by all snapshots of these servers.
    tiers: Arc<Cache<Tiers>>,
    health: Arc<Health>,
}

struct Health {
    healthy: Box<[bool]>,
    tables: Cache<Tables>,
}

/// Why servers are no fleet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FleetError {
    /// Two servers have one name.
    #[error("server {0:?} stands twice in the fleet: give each a name of its own")]
    Duplicate(String),
    /// More servers than a table can hold.
    #[error("the fleet has {0} servers, at most 65535 are supported")]
    TooMany(usize),
}

impl Fleet {
    /// A fleet in which every server is healthy.
    ///
    /// # Errors
    /// If two servers have one name, or there are more than 65,535.
    pub fn new(servers: Vec<Server>, policy: RoutePolicy) -> Result<Fleet, FleetError> {
        if servers.len() > usize::from(u16::MAX) {
            return Err(FleetError::TooMany(servers.len()));
        }
        let mut names = std::collections::BTreeSet::new();
        if let Some(twice) = servers.iter().find(|server| !names.insert(&*server.name)) {
            return Err(FleetError::Duplicate(twice.name.clone()));
        }
        let healthy = servers.iter().map(|_| true).collect();
        Ok(Fleet {
            servers: servers.into(),
            policy: Arc::new(policy),
            tiers: Arc::new(Cache::default()),
            health: Arc::new(Health { healthy, tables: Cache::default() }),
        })
    }

    /// The same fleet with this health, by index of the server. Tables are built for it at `prepare` or at the first
    /// decision; sessions of servers that stay healthy stay where they are.
    #[must_use]
    pub fn with_health(&self, healthy: impl Fn(usize) -> bool) -> Fleet {
        let healthy = (0..self.servers.len()).map(healthy).collect();
        Fleet { health: Arc::new(Health { healthy, tables: Cache::default() }), ..self.clone() }
    }

    /// Builds the tables for this matrix now, so that no request does: call it after a swap and for each new snapshot.
    pub fn prepare(&self, matrix: Option<&Matrix>) {
        self.tables(matrix, |_| ());
    }

    /// The servers; decisions name them by index.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// Whether a server is healthy.
    pub fn is_healthy(&self, server: usize) -> bool {
        self.health.healthy.get(server).copied().unwrap_or(false)
    }

    /// The server of this name.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.servers.iter().position(|server| server.name == name)
    }

    /// The policy that the fleet is routed by.
    pub fn policy(&self) -> &RoutePolicy {
        &self.policy
    }

    /// The tables for this matrix, built if need be.
    pub(crate) fn tables<R>(&self, matrix: Option<&Matrix>, read: impl FnOnce(&Tables) -> R) -> R {
        let key = matrix.map_or(0, Matrix::key);
        let build = || {
            self.tiers.with(
                key,
                || Tiers::new(&self.servers, &self.policy, matrix),
                |tiers| Tables::new(tiers, |server| self.is_healthy(usize::from(server))),
            )
        };
        self.health.tables.with(key, build, read)
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet")
            .field("servers", &self.servers)
            .field("healthy", &self.health.healthy)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// What was built for the last matrices, by their key: two, since requests of the previous generation still run while
/// the next one serves.
struct Cache<T> {
    built: ArcSwap<Vec<(u64, Arc<T>)>>,
    building: Mutex<()>,
}

impl<T> Default for Cache<T> {
    fn default() -> Cache<T> {
        Cache { built: ArcSwap::default(), building: Mutex::new(()) }
    }
}

impl<T> Cache<T> {
    fn with<R>(&self, key: u64, build: impl FnOnce() -> T, read: impl FnOnce(&T) -> R) -> R {
        let built = self.built.load();
        if let Some((_, found)) = built.iter().find(|(of, _)| *of == key) {
            return read(found);
        }
        drop(built);
        read(&self.build(key, build))
    }

    #[cold]
    fn build(&self, key: u64, build: impl FnOnce() -> T) -> Arc<T> {
        let _one = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.built.load_full();
        if let Some((_, found)) = before.iter().find(|(of, _)| *of == key) {
            return found.clone();
        }
        let new = Arc::new(build());
        let kept = before.iter().take(1).cloned();
        self.built.store(Arc::new(std::iter::once((key, new.clone())).chain(kept).collect()));
        new
    }
}
