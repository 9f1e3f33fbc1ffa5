//! Laws of the router, checked on random fleets against the simplest thing that could decide the same.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::convert::Infallible;
use std::sync::atomic::AtomicU32;

use proptest::prelude::*;
use unskew::{
    Ask, Decision, Fidelity, Fleet, FleetError, Held, Load, Matrix, RoutePolicy, Selection, Server, Tier, Verdict,
    Version, VersionInfo, route,
};

const VERSIONS: u16 = 3;

/// A matrix of versions "0", "1", …; a server reads its own version natively and others as `fidelities` has it.
fn matrix(fidelities: &[Fidelity]) -> Matrix {
    let info = |n: u16| VersionInfo { id: n.to_string().into(), reads: vec![Version(n)], digest: 0 };
    let judge = |held: Version, server: Version| {
        let given = fidelities[held.index() * usize::from(VERSIONS) + server.index()];
        let fidelity = if held == server { Fidelity::Native } else { given };
        Ok::<_, Infallible>(Verdict { fidelity, reason: format!("step {}→{}", held.0, server.0) })
    };
    let Ok(matrix) = Matrix::judged((0..VERSIONS).map(info).collect(), judge);
    matrix
}

fn server(n: usize, version: impl ToString) -> Server {
    Server::new(format!("api-{n}"), format!("127.0.0.1:{}", 9000 + n), version.to_string())
}

fn fidelity() -> impl Strategy<Value = Fidelity> {
    prop::sample::select(vec![Fidelity::Native, Fidelity::Exact, Fidelity::Carried, Fidelity::Lossy, Fidelity::None])
}

fn selection() -> impl Strategy<Value = Selection> {
    prop_oneof![
        Just(Selection::Writer),
        Just(Selection::Latest),
        Just(Selection::Oldest),
        Just(Selection::Weighted(vec![])),
        Just(Selection::Weighted(vec![("1".into(), 5), ("2".into(), 0)])),
    ]
}

/// Version (3 is one that the pack doesn't have), versions read beside, weight, health.
type Draft = (u16, Vec<u16>, u32, bool);

fn fleet(drafts: &[Draft], policy: &RoutePolicy) -> Fleet {
    let servers = drafts.iter().enumerate().map(|(n, (version, reads, weight, _))| Server {
        reads: reads.iter().map(ToString::to_string).collect(),
        weight: *weight,
        ..server(n, version)
    });
    Fleet::new(servers.collect(), policy.clone()).unwrap().with_health(|n| drafts[n].3)
}

/// What a server can do, spelled out.
fn tier(server: &Server, held: Option<Held>, matrix: &Matrix) -> Option<Tier> {
    let Some(held) = held else { return Some(Tier::Unknown) };
    let (id, own) = (held.version.0.to_string(), matrix.version(&server.version));
    let pair = own.map_or(Fidelity::None, |own| matrix.verdict(held.version, own).fidelity);
    if server.version == id {
        return Some(Tier::Native);
    }
    if pair == Fidelity::Native || server.reads.contains(&id) {
        return if held.carry { own.map(|_| Tier::Carried) } else { Some(Tier::Native) };
    }
    match pair {
        Fidelity::Native | Fidelity::None => None,
        Fidelity::Exact => Some(Tier::Exact),
        Fidelity::Carried => Some(Tier::Carried),
        Fidelity::Lossy => Some(Tier::Lossy),
    }
}

fn candidates(fleet: &Fleet, held: Option<Held>, matrix: &Matrix) -> Vec<(usize, Tier)> {
    let policy = fleet.policy();
    let worst = match policy.max_loss {
        Fidelity::Native => Tier::Native,
        Fidelity::Exact => Tier::Exact,
        Fidelity::Carried => Tier::Carried,
        Fidelity::Lossy | Fidelity::None => Tier::Lossy,
    };
    let percent = |server: &Server| match &policy.selection {
        Selection::Weighted(ramp) => ramp.iter().find(|(id, _)| *id == server.version).map_or(100, |(_, n)| *n),
        Selection::Writer | Selection::Latest | Selection::Oldest => 100,
    };
    let servers = fleet.servers().iter().enumerate();
    servers
        .filter(|(n, server)| fleet.is_healthy(*n) && server.weight > 0 && percent(server) > 0)
        .filter_map(|(n, server)| Some((n, tier(server, held, matrix)?)))
        .filter(|(_, tier)| *tier <= worst || *tier == Tier::Unknown)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_decision_is_the_best_that_is_allowed_and_the_same_everywhere(
        drafts in prop::collection::vec(
            (0..=VERSIONS, prop::collection::vec(0..VERSIONS, 0..2), 0..3u32, prop::bool::weighted(0.7)), 0..8),
        fidelities in prop::collection::vec(fidelity(), 9),
        max_loss in fidelity(),
        selection in selection(),
        held in prop::option::of((0..VERSIONS, any::<bool>(), prop::option::of(0..8usize))),
        session in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let held = held.map(|(version, carry, writer)| Held { version: Version(version), carry, writer });
        let matrix = matrix(&fidelities);
        let policy = RoutePolicy { max_loss, selection, spill: None };
        let fleet = fleet(&drafts, &policy);
        let ask = Ask { session: &session, record: held, load: Load::default() };
        let decision = route(&ask, &fleet, Some(&matrix));

        // The same again, and the same from a gateway whose configuration lists the servers the other way round.
        prop_assert_eq!(decision, route(&ask, &fleet, Some(&matrix)));
        let turned: Vec<Draft> = drafts.iter().rev().cloned().collect();
        let n = drafts.len();
        let mirrored = Fleet::new(fleet.servers().iter().rev().cloned().collect(), policy.clone()).unwrap();
        let mirrored = mirrored.with_health(|at| turned[at].3);
        let other = held.map(|held| Held { writer: held.writer.filter(|at| *at < n).map(|at| n - 1 - at), ..held });
        let other = route(&Ask { record: other, ..ask }, &mirrored, Some(&matrix));

        let candidates = candidates(&fleet, held, &matrix);
        let best = candidates.iter().map(|(_, tier)| *tier).min();
        match decision {
            Decision::Route { server, tier, .. } => {
                prop_assert!(candidates.contains(&(server, tier)), "{server} {tier} of {candidates:?}");
                prop_assert_eq!(Some(tier), best);
                let in_tier = || candidates.iter().filter(|(_, of)| *of == tier).map(|(n, _)| *n);
                let rank = |n: usize| matrix.version(&fleet.servers()[n].version).map(|version| version.0);
                match &policy.selection {
                    Selection::Latest => prop_assert_eq!(rank(server), in_tier().map(rank).max().unwrap()),
                    Selection::Oldest => {
                        let oldest = in_tier().map(|n| rank(n).unwrap_or(u16::MAX)).min().unwrap();
                        prop_assert_eq!(rank(server).unwrap_or(u16::MAX), oldest);
                    }
                    Selection::Writer => {
                        let writer = held.and_then(|held| held.writer).filter(|writer| in_tier().any(|n| n == *writer));
                        prop_assert!(writer.is_none_or(|writer| writer == server));
                    }
                    Selection::Weighted(_) => {}
                }
                match other {
                    Decision::Route { server: at, .. } => prop_assert_eq!(n - 1 - at, server),
                    Decision::Refuse { .. } => prop_assert!(false, "the mirrored fleet refuses"),
                }
            }
            Decision::Refuse { .. } => prop_assert_eq!(candidates, vec![]),
        }
        let line = decision.reason().with(&fleet, Some(&matrix)).to_string();
        prop_assert!(!line.contains('\n') && line.starts_with("record of "), "{}", line);
    }
}

fn placed(fleet: &Fleet, record: Option<Held>, matrix: Option<&Matrix>) -> Vec<String> {
    let place = |n: u32| {
        let session = format!("2_MX40NTgyODA2Mn5-{n}");
        match route(&Ask { session: session.as_bytes(), record, load: Load::default() }, fleet, matrix) {
            Decision::Route { server, .. } => fleet.servers()[server].name.clone(),
            Decision::Refuse { reason } => panic!("{reason}"),
        }
    };
    (0..20_000).map(place).collect()
}

fn moved(before: &[String], after: &[String]) -> f64 {
    let moved = before.iter().zip(after).filter(|(before, after)| before != after).count();
    moved as f64 / before.len() as f64
}

fn held(version: u16) -> Option<Held> {
    Some(Held { version: Version(version), carry: false, writer: None })
}

#[test]
fn a_server_that_falls_ill_moves_its_own_sessions_only_and_gets_them_back() {
    let all = Fleet::new((0..16).map(|n| server(n, 0)).collect(), RoutePolicy::default()).unwrap();
    let before = placed(&all, None, None);
    let after = placed(&all.with_health(|n| n != 3), None, None);
    for (before, after) in before.iter().zip(&after) {
        assert!(before == after || before == "api-3", "{before} to {after}");
        assert_ne!(after, "api-3");
    }
    assert_eq!(placed(&all.with_health(|n| n != 3).with_health(|_| true), None, None), before);
}

/// The bound that `maglev.rs` states: the share of the server that comes or goes, and a twentieth.
#[test]
fn a_server_that_comes_or_goes_moves_its_share_and_a_twentieth_at_most() {
    for n in [2, 10, 16, 100] {
        let fleet = |n: usize| Fleet::new((0..n).map(|n| server(n, 0)).collect(), RoutePolicy::default()).unwrap();
        let moved = moved(&placed(&fleet(n), None, None), &placed(&fleet(n + 1), None, None));
        assert!(moved <= 1.0 / (n + 1) as f64 + 0.05, "{n} servers: {moved}");
    }
}

#[test]
fn a_canary_moves_no_session_whose_record_it_can_not_read_natively() {
    let matrix = matrix(&[Fidelity::Carried; 9]);
    let ten: Vec<Server> = (0..10).map(|n| server(n, 0)).collect();
    let canary = ten.iter().cloned().chain([server(10, 1)]).collect();
    let [before, after] = [ten, canary].map(|servers| Fleet::new(servers, RoutePolicy::default()).unwrap());
    let stay = placed(&before, held(0), Some(&matrix));
    assert_eq!(stay, placed(&after, held(0), Some(&matrix)));
    // And all sessions that it wrote itself come to it.
    assert!(placed(&after, held(1), Some(&matrix)).iter().all(|name| name == "api-10"));
}

#[test]
fn creates_follow_weights_and_a_ramp() {
    let servers = || vec![server(0, 0), server(1, 0), Server { weight: 2, ..server(2, 1) }];
    let share = |selection| {
        let fleet = Fleet::new(servers(), RoutePolicy { selection, ..RoutePolicy::default() }).unwrap();
        placed(&fleet, None, None).iter().filter(|name| *name == "api-2").count() as f64 / 20_000.0
    };
    assert!((share(Selection::Weighted(vec![])) - 0.5).abs() < 0.02);
    assert!((share(Selection::Weighted(vec![("1".into(), 5)])) - 0.1 / 2.1).abs() < 0.01);
    assert_eq!(share(Selection::Weighted(vec![("1".into(), 0)])), 0.0);
}

#[test]
fn a_full_tier_lets_the_next_one_in_and_no_other() {
    let matrix = matrix(&[Fidelity::Carried; 9]);
    let capacity = |server| Server { capacity: Some(10), ..server };
    let servers = vec![capacity(server(0, 1)), capacity(server(1, 0)), capacity(server(2, 0))];
    let policy = RoutePolicy { spill: Some(0.8), ..RoutePolicy::default() };
    let fleet = Fleet::new(servers, policy).unwrap();
    let busy = |loads: [u32; 3]| {
        let loads = loads.map(AtomicU32::new);
        let ask = Ask { load: Load::of(&loads), ..Ask::join(b"session", held(1).unwrap()) };
        match route(&ask, &fleet, Some(&matrix)) {
            Decision::Route { server, tier, reason } => (server, tier, reason.to_string()),
            Decision::Refuse { reason } => panic!("{reason}"),
        }
    };
    assert_eq!(busy([7, 0, 0]), (0, Tier::Native, "native: picked by session".into()));
    let (server, tier, reason) = busy([8, 0, 0]);
    assert!(server != 0);
    assert_eq!((tier, &*reason), (Tier::Carried, "carried: spilled, better servers being full"));
    assert_eq!(busy([8, 8, 0]).0, 2);
    assert_eq!(busy([8, 8, 8]), (0, Tier::Native, "native: picked by session, all servers being full".into()));
}

#[test]
fn decisions_say_why_in_one_line() {
    let matrix = matrix(&[Fidelity::Lossy; 9]);
    let line = |servers: Vec<Server>, max_loss, healthy: &dyn Fn(usize) -> bool, record| {
        let policy = RoutePolicy { max_loss, ..RoutePolicy::default() };
        let fleet = Fleet::new(servers, policy).unwrap().with_health(healthy);
        let decision = route(&Ask { session: b"s", record, load: Load::default() }, &fleet, Some(&matrix));
        decision.reason().with(&fleet, Some(&matrix)).to_string()
    };
    let two = || vec![server(0, 0), server(1, 1)];
    let carry = held(0).map(|held| Held { carry: true, ..held });
    assert_eq!(
        line(two(), Fidelity::Native, &|_| true, held(0)),
        r#"record of version "0" to api-0 of version "0": native: picked by session"#
    );
    assert_eq!(
        line(two(), Fidelity::Lossy, &|n| n == 1, carry),
        r#"record of version "0" with a carry to api-1 of version "1": lossy: picked by session, no native server being healthy; step 0→1"#
    );
    assert_eq!(
        line(two(), Fidelity::Carried, &|n| n == 1, held(0)),
        r#"record of version "0": no server: the best that a healthy one can do is lossy, the policy allows carried"#
    );
    assert_eq!(
        line(two(), Fidelity::Lossy, &|_| false, held(0)),
        r#"record of version "0": no server: none of 2 is healthy"#
    );
    assert_eq!(
        line(vec![], Fidelity::Lossy, &|_| true, None),
        "record of unknown version: no server: the fleet is empty"
    );
    assert_eq!(
        line(vec![server(0, "next")], Fidelity::Lossy, &|_| true, held(0)),
        r#"record of version "0": no server: no healthy one can serve the record, translated or not"#
    );
}

#[test]
fn a_fleet_with_two_servers_of_one_name_is_none() {
    let twice = Fleet::new(vec![server(1, 0), server(1, 1)], RoutePolicy::default());
    assert_eq!(twice.unwrap_err(), FleetError::Duplicate("api-1".into()));
}
