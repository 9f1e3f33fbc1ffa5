//! What the router reads: per kind of record the tiers of the fleet in order, each with its lookup tables.
//!
//! Built aside in two steps. `Tiers` says which servers belong together and has a table over all of each group,
//! whatever their health; it changes with servers, policy and matrix. `Tables` keeps the groups that have a healthy
//! server, with the slots of ill ones given to others; it changes with health. Servers of one version that read the
//! same are in the same tier for any record, so groups repeat, and each is built once.

use std::collections::HashMap;
use std::sync::Arc;

use crate::contract::{Fidelity, Version};
use crate::fleet::Server;
use crate::maglev::{self, Member};
use crate::matrix::Matrix;
use crate::router::{Held, RoutePolicy, Selection, Tier};

/// Groups of servers by kind of record, with health left out.
pub(crate) struct Tiers {
    rows: Vec<Vec<Group>>,
    /// What each server can do, by kind of record and server; none where it can do nothing or isn't allowed to.
    abilities: Vec<Box<[Option<Tier>]>>,
    /// The best that a server could do were it allowed, by kind of record and server.
    forbidden: Vec<Box<[Option<Tier>]>>,
}

/// Servers of one tier that the selection doesn't tell apart.
struct Group {
    tier: Tier,
    members: Arc<[Member]>,
    table: Arc<[u16]>,
}

/// `Tiers` for one state of health.
pub(crate) struct Tables {
    rows: Vec<Row>,
    healthy: usize,
}

/// What there is for one kind of record.
pub(crate) struct Row {
    /// The groups with a healthy server, in the order of preference.
    pub(crate) stages: Vec<Stage>,
    /// The best tier that only ill servers are in, if it is better than that of the first stage.
    pub(crate) ill: Option<Tier>,
    /// The best that a healthy server could do were it allowed.
    pub(crate) forbidden: Option<Tier>,
    abilities: Box<[Option<Tier>]>,
}

/// One group with a healthy server.
pub(crate) struct Stage {
    pub(crate) tier: Tier,
    pub(crate) table: Arc<[u16]>,
}

/// Kinds of records: none known, then by version, without and with a carry.
fn row(record: Option<Held>) -> usize {
    record.map_or(0, |held| 1 + 2 * held.version.index() + usize::from(held.carry))
}

impl Tables {
    pub(crate) fn new(tiers: &Tiers, is_healthy: impl Fn(u16) -> bool) -> Tables {
        let mut patched = HashMap::new();
        let servers = tiers.abilities.first().map_or(0, |abilities| abilities.len());
        let healthy: Vec<bool> = (0..=u16::MAX).take(servers).map(is_healthy).collect();
        let well = |server: u16| healthy[usize::from(server)];
        let rows = tiers.rows.iter().zip(&tiers.abilities).zip(&tiers.forbidden);
        let rows = rows.map(|((groups, abilities), forbidden)| {
            let (alive, ill): (Vec<_>, Vec<_>) =
                groups.iter().partition(|group| group.members.iter().any(|member| well(member.server)));
            let stages: Vec<Stage> = alive
                .into_iter()
                .map(|group| {
                    let table = patched.entry(Arc::as_ptr(&group.table)).or_insert_with(|| patch(group, well));
                    Stage { tier: group.tier, table: table.clone() }
                })
                .collect();
            let best = stages.first().map(|stage| stage.tier);
            let only_well = |tiers: &[Option<Tier>]| -> Box<[Option<Tier>]> {
                tiers.iter().zip(&healthy).map(|(tier, well)| tier.filter(|_| *well)).collect()
            };
            Row {
                ill: ill.iter().map(|group| group.tier).min().filter(|ill| best.is_none_or(|best| *ill < best)),
                forbidden: only_well(forbidden).iter().flatten().min().copied(),
                abilities: only_well(abilities),
                stages,
            }
        });
        Tables { rows: rows.collect(), healthy: healthy.iter().filter(|well| **well).count() }
    }

    /// What there is for this kind of record.
    pub(crate) fn row(&self, record: Option<Held>) -> Option<&Row> {
        self.rows.get(row(record))
    }

    /// How many servers are healthy.
    pub(crate) fn healthy(&self) -> usize {
        self.healthy
    }
}

impl Row {
    /// What this server can do, if it is healthy and allowed to.
    pub(crate) fn ability(&self, server: usize) -> Option<Tier> {
        self.abilities.get(server).copied().flatten()
    }
}

fn patch(group: &Group, well: impl Fn(u16) -> bool) -> Arc<[u16]> {
    let usable: Vec<Member> = group.members.iter().copied().filter(|member| well(member.server)).collect();
    match usable.len() == group.members.len() {
        true => group.table.clone(),
        false => maglev::patched(&group.table, &usable, well).into(),
    }
}

impl Tiers {
    pub(crate) fn new(servers: &[Server], policy: &RoutePolicy, matrix: Option<&Matrix>) -> Tiers {
        let mut grouping = Grouping { servers, policy, matrix, tables: HashMap::new() };
        let versions = matrix.map_or(&[][..], Matrix::versions);
        let kinds = (0..=u16::MAX)
            .take(versions.len())
            .flat_map(|index| [false, true].map(|carry| Some(Held { version: Version(index), carry, writer: None })));
        let (mut rows, mut abilities, mut forbidden) = (Vec::new(), Vec::new(), Vec::new());
        for kind in std::iter::once(None).chain(kinds) {
            let can: Vec<Option<Tier>> = servers.iter().map(|server| ability(server, kind, matrix)).collect();
            let may = |tier: &Tier| allowed(*tier, policy.max_loss);
            let able: Box<[Option<Tier>]> = can.iter().map(|tier| tier.filter(may)).collect();
            rows.push(grouping.groups(&able, kind));
            abilities.push(able);
            forbidden.push(can.iter().map(|tier| tier.filter(|tier| !may(tier))).collect());
        }
        Tiers { rows, abilities, forbidden }
    }
}

/// What a server can do for a kind of record, allowed or not.
fn ability(server: &Server, record: Option<Held>, matrix: Option<&Matrix>) -> Option<Tier> {
    let (Some(held), Some(matrix)) = (record, matrix) else {
        return Some(Tier::Unknown);
    };
    let id = &*matrix.versions()[held.version.index()].id;
    let version = matrix.version(&server.version);
    let fidelity = version.map_or(Fidelity::None, |version| matrix.verdict(held.version, version).fidelity);
    let reads = fidelity == Fidelity::Native || server.version == id || server.reads.iter().any(|read| read == id);
    match (reads, held.carry && server.version != id, fidelity) {
        (true, false, _) => Some(Tier::Native),
        // It would read the record without what the carry holds for its version, so the record is translated first.
        (true, true, _) => version.map(|_| Tier::Carried),
        (false, _, Fidelity::Native | Fidelity::Exact) => Some(Tier::Exact),
        (false, _, Fidelity::Carried) => Some(Tier::Carried),
        (false, _, Fidelity::Lossy) => Some(Tier::Lossy),
        (false, _, Fidelity::None) => None,
    }
}

fn allowed(tier: Tier, max_loss: Fidelity) -> bool {
    match tier {
        Tier::Native | Tier::Unknown => true,
        Tier::Exact => max_loss >= Fidelity::Exact,
        Tier::Carried => max_loss >= Fidelity::Carried,
        Tier::Lossy => max_loss >= Fidelity::Lossy,
    }
}

/// Members and the table over all of them.
type Built = (Arc<[Member]>, Arc<[u16]>);

struct Grouping<'a> {
    servers: &'a [Server],
    policy: &'a RoutePolicy,
    matrix: Option<&'a Matrix>,
    tables: HashMap<Vec<u16>, Built>,
}

impl Grouping<'_> {
    /// Servers by tier, and inside a tier by the selection's order.
    fn groups(&mut self, abilities: &[Option<Tier>], record: Option<Held>) -> Vec<Group> {
        let mut groups: std::collections::BTreeMap<(Tier, usize), Vec<u16>> = std::collections::BTreeMap::new();
        for (server, ability) in (0..=u16::MAX).zip(abilities) {
            if let Some(tier) = ability {
                let rank = self.rank(&self.servers[usize::from(server)], record);
                groups.entry((*tier, rank)).or_default().push(server);
            }
        }
        let groups = groups.into_iter().map(|((tier, _), servers)| {
            let (members, table) = self.table(servers);
            Group { tier, members, table }
        });
        groups.filter(|group| !group.members.is_empty()).collect()
    }

    fn rank(&self, server: &Server, record: Option<Held>) -> usize {
        let version = self.matrix.and_then(|matrix| matrix.version(&server.version));
        match (&self.policy.selection, version) {
            (Selection::Weighted(_), _) => 0,
            (Selection::Latest, version) => version.map_or(usize::MAX, |version| usize::MAX - 1 - version.index()),
            (Selection::Oldest, version) => version.map_or(usize::MAX, Version::index),
            (Selection::Writer, version) => match record {
                Some(held) => usize::from(version != Some(held.version)),
                None => 0,
            },
        }
    }

    fn table(&mut self, servers: Vec<u16>) -> Built {
        let Grouping { servers: all, policy, tables, .. } = self;
        let build = |servers: &[u16]| {
            let member = |server: &u16| {
                let Server { name, .. } = &all[usize::from(*server)];
                let weight = weight(&all[usize::from(*server)], &policy.selection);
                Member { server: *server, name: maglev::hash(name.as_bytes()), weight }
            };
            let members: Arc<[Member]> = servers.iter().map(member).filter(|member| member.weight > 0).collect();
            let table = maglev::table(&members).into();
            (members, table)
        };
        tables.entry(servers).or_insert_with_key(|servers| build(servers)).clone()
    }
}

fn weight(server: &Server, selection: &Selection) -> u64 {
    let percent = match selection {
        Selection::Weighted(ramp) => {
            ramp.iter().find(|(id, _)| *id == server.version).map_or(100, |(_, percent)| *percent)
        }
        Selection::Writer | Selection::Latest | Selection::Oldest => 100,
    };
    u64::from(server.weight) * u64::from(percent)
}
