//! Where a request goes: a pure function over record version, session id, fleet, matrix and policy.
//!
//! Two questions, as in virtual-actor systems. *Compatibility*: servers are in tiers by what they can do for the
//! record, best first, and the policy says where to stop. *Selection*: the order of servers inside a tier. Among
//! servers that neither tells apart the session's key picks, from a table built aside; so ties are settled the same
//! way by every gateway, and a session stays where it is while its server is healthy.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::contract::{Fidelity, Version};
use crate::fleet::Fleet;
use crate::maglev;
use crate::matrix::Matrix;
use crate::tables::{Row, Stage};

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
    /// All of them, best first.
    pub(crate) const ALL: [Tier; 5] = [Tier::Native, Tier::Exact, Tier::Carried, Tier::Lossy, Tier::Unknown];

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
    record: Option<Held>,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Routed {
        server: usize,
        tier: Tier,
        how: How,
        /// A better tier has ill servers only.
        ill: Option<Tier>,
    },
    EmptyFleet,
    NoneHealthy {
        servers: usize,
    },
    /// The best that a healthy server could do isn't allowed.
    Forbidden {
        best: Tier,
        allowed: Fidelity,
    },
    NoneCan,
}

/// What settled the choice inside the tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Key,
    Writer,
    /// The first choice of the same group was over its limit.
    Neighbour,
    /// All choices of better groups were over their limit.
    Spilled,
    /// All were over their limit.
    Overloaded,
}

impl Reason {
    /// The same line with the names of servers and versions, and what the guest says of the pair.
    pub fn with<'a>(&self, fleet: &'a Fleet, matrix: Option<&'a Matrix>) -> impl fmt::Display + use<'a> {
        Named { reason: *self, fleet, matrix }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.outcome {
            Outcome::Routed { tier, how, ill, .. } => {
                let how = match how {
                    How::Key => "picked by session",
                    How::Writer => "it wrote the record",
                    How::Neighbour => "picked by session, its first choice being full",
                    How::Spilled => "spilled, better servers being full",
                    How::Overloaded => "picked by session, all servers being full",
                };
                write!(f, "{tier}: {how}")?;
                ill.map_or(Ok(()), |ill| write!(f, ", no {ill} server being healthy"))
            }
            Outcome::EmptyFleet => f.write_str("no server: the fleet is empty"),
            Outcome::NoneHealthy { servers } => write!(f, "no server: none of {servers} is healthy"),
            Outcome::Forbidden { best, allowed } => {
                write!(f, "no server: the best that a healthy one can do is {best}, the policy allows {allowed}")
            }
            Outcome::NoneCan => f.write_str("no server: no healthy one can serve the record, translated or not"),
        }
    }
}

struct Named<'a> {
    reason: Reason,
    fleet: &'a Fleet,
    matrix: Option<&'a Matrix>,
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.reason.record.zip(self.matrix);
        match held.and_then(|(held, matrix)| matrix.versions().get(held.version.index()).map(|info| (held, info))) {
            Some((held, info)) if held.carry => write!(f, "record of version {:?} with a carry", info.id)?,
            Some((_, info)) => write!(f, "record of version {:?}", info.id)?,
            None => f.write_str("record of unknown version")?,
        }
        let Outcome::Routed { server: index, tier, .. } = self.reason.outcome else {
            return write!(f, ": {}", self.reason);
        };
        let Some(server) = self.fleet.servers().get(index) else {
            return write!(f, ": {}", self.reason);
        };
        write!(f, " to {} of version {:?}: {}", server.name, server.version, self.reason)?;
        match held.and_then(|(held, matrix)| Some(matrix.verdict(held.version, matrix.version(&server.version)?))) {
            Some(verdict) if tier.translates() && !verdict.reason.is_empty() => write!(f, "; {}", verdict.reason),
            Some(_) | None => Ok(()),
        }
    }
}

/// How many servers of a group the key leads to before the group counts as full.
const PROBES: u64 = 4;

/// Where this request goes. Pure: the same ask, fleet and matrix give the same decision in every gateway. Allocates
/// nothing once the fleet's tables for this matrix are built.
pub fn route(ask: &Ask<'_>, fleet: &Fleet, matrix: Option<&Matrix>) -> Decision {
    let record = ask.record;
    fleet.tables(matrix, |tables| {
        let refuse = |outcome| Decision::Refuse { reason: Reason { record, outcome } };
        // A version that the matrix doesn't have belongs to another generation: as good as unknown.
        let Some(row) = tables.row(record).or_else(|| tables.row(None)) else {
            return refuse(Outcome::EmptyFleet);
        };
        match choose(ask, fleet, row) {
            Some((server, tier, how)) => {
                let outcome = Outcome::Routed { server, tier, how, ill: row.ill };
                Decision::Route { server, tier, reason: Reason { record, outcome } }
            }
            None if fleet.servers().is_empty() => refuse(Outcome::EmptyFleet),
            None if tables.healthy() == 0 => refuse(Outcome::NoneHealthy { servers: fleet.servers().len() }),
            None => refuse(match row.forbidden {
                Some(best) => Outcome::Forbidden { best, allowed: fleet.policy().max_loss },
                None => Outcome::NoneCan,
            }),
        }
    })
}

fn choose(ask: &Ask<'_>, fleet: &Fleet, row: &Row) -> Option<(usize, Tier, How)> {
    let best = row.stages.first()?;
    let full = |server: usize| is_full(server, ask.load, fleet);
    if let (Selection::Writer, Some(writer)) = (&fleet.policy().selection, ask.record.and_then(|held| held.writer))
        && row.ability(writer) == Some(best.tier)
        && fleet.servers()[writer].weight > 0
        && !full(writer)
    {
        return Some((writer, best.tier, How::Writer));
    }
    let hash = maglev::hash(ask.session);
    let pick = |stage: &Stage, probe: u64| {
        let hash = if probe == 0 { hash } else { maglev::again(hash, probe) };
        maglev::pick(&stage.table, hash).map(usize::from)
    };
    for (rank, stage) in row.stages.iter().enumerate() {
        for probe in 0..PROBES {
            let server = pick(stage, probe)?;
            if !full(server) {
                let how = match (rank, probe) {
                    (0, 0) => How::Key,
                    (0, _) => How::Neighbour,
                    (_, _) => How::Spilled,
                };
                return Some((server, stage.tier, how));
            }
        }
    }
    Some((pick(best, 0)?, best.tier, How::Overloaded))
}

/// Whether one request more would bring the server over its limit.
fn is_full(server: usize, load: Load<'_>, fleet: &Fleet) -> bool {
    let (Some(limit), Some(in_flight)) = (fleet.policy().spill, load.0) else {
        return false;
    };
    let capacity = fleet.servers().get(server).and_then(|server| server.capacity);
    match (capacity, in_flight.get(server)) {
        (Some(capacity), Some(busy)) => {
            f64::from(busy.load(Ordering::Relaxed)) + 1.0 > f64::from(capacity) * f64::from(limit)
        }
        (_, _) => false,
    }
}
