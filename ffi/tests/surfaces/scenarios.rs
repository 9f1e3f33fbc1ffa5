//! The scenarios. Each says what must happen, and is played on every surface; the logs must be the same.

use std::panic::Location;
use std::pin::Pin;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Request;

use crate::guest::{self, Guest};
use crate::load::{Connections, Load};
use crate::stage::{Cast, Stage};
use crate::support::{PACK, chunked, sized};
use crate::surfaces::Kind;
use crate::table::{self, Row};
use Cast::{Dead, Echo, Flawed};

pub(crate) const RULES: &str = r#"
explain = false
[[create]]
match = "POST /sessions"
id = { response-body = "/session_id" }
[[join]]
match = "POST /sessions/{id}/join"
[[join]]
match = "GET /sessions/{id}"
[[end]]
match = "DELETE /sessions/{id}"
"#;

pub(crate) const BODY: &str = "[record]\nclient_version = \"2\"\nbody = { request = \"\", response = \"\" }\n";
pub(crate) const PLAIN_BODY: &str = "[record]\nbody = { request = \"\" }\n";
pub(crate) const NEW: &str = r#"{"session_id":"s","bitrate":9000,"schema":2}"#;
pub(crate) const DOWN: &str = r#"{"sid":"s","legacy":""}"#;
pub(crate) const OLD: &str = r#"{"sid":"s","legacy":"x"}"#;

type Played<'s> = Pin<Box<dyn Future<Output = ()> + Send + 's>>;
type Play = for<'s> fn(&'s mut Stage) -> Played<'s>;

/// Plays a scenario on every surface that is here; what the servers and the client got is the same on each.
#[track_caller]
fn everywhere<'a>(rules: &'a str, cast: &'a [Cast], play: Play) -> impl Future<Output = ()> + 'a {
    played(table::row(Location::caller().line()), &[], rules, cast, None, play)
}

/// The same, without the surfaces of which docs/gateways says that they can't do it.
#[track_caller]
fn everywhere_but<'a>(
    but: &'a [Kind],
    rules: &'a str,
    cast: &'a [Cast],
    guest: Option<&'a [u8]>,
    play: Play,
) -> impl Future<Output = ()> + 'a {
    played(table::row(Location::caller().line()), but, rules, cast, guest, play)
}

async fn played(row: &Row, but: &[Kind], rules: &str, cast: &[Cast], guest: Option<&[u8]>, play: Play) {
    assert_eq!(row.but.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), but, "{} of the table", row.test);
    let mut first: Option<(Kind, Vec<String>)> = None;
    for kind in Kind::present().into_iter().filter(|kind| !but.contains(kind)) {
        eprintln!("{kind:?}");
        let mut stage = Stage::set(kind, &format!("{RULES}{rules}"), cast, guest).await;
        play(&mut stage).await;
        assert!(!stage.log.is_empty(), "nothing was played");
        match &first {
            None => first = Some((kind, std::mem::take(&mut stage.log))),
            Some((other, log)) => assert_eq!(&stage.log, log, "{kind:?} differs from {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_created_on_the_new_version_and_its_joins_stay_there() {
    let rules = format!("[policy]\nselection = \"latest\"\n{PLAIN_BODY}");
    everywhere_but(&[Kind::EnvoyWasm], &rules, &[Echo("1"), Echo("2")], None, |stage| {
        Box::pin(async move {
            stage.post("/sessions", NEW).await.ok();
            stage.post("/sessions/s/join", NEW).await.ok();
            // The answer told the session: a join without a record finds its version in the directory.
            stage.send(Request::builder().uri("/sessions/s"), sized("")).await;
            assert_eq!((stage.got("1"), stage.got("2")), (0, 3), "native joins are kept");
            assert_eq!(stage.last("2").text(), "");
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_is_served_by_an_old_server_and_what_it_can_not_hold_comes_back() {
    everywhere(BODY, &[Echo("1")], |stage| {
        Box::pin(async move {
            for _ in 0..3 {
                let reply = stage.post("/sessions/s/join", NEW).await.ok();
                assert_eq!(stage.last("1").text(), DOWN, "readable for version 1");
                let (mut before, mut after) = (json(NEW), json(reply.text()));
                assert_eq!(before.as_object_mut(), after.as_object_mut(), "the carry came back");
            }
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_roll_back_sessions_of_the_new_version_go_down_to_the_old_one() {
    // The new server is gone, not only unhealthy: the request is placed again, and its record made readable again.
    let rules = format!("[policy]\nselection = \"latest\"\n{PLAIN_BODY}");
    everywhere_but(&[Kind::Haproxy, Kind::EnvoyWasm], &rules, &[Dead("2"), Echo("1")], None, |stage| {
        Box::pin(async move {
            stage.post("/sessions/s/join", NEW).await.ok();
            assert_eq!(stage.last("1").text(), DOWN);
            let large = large(400 << 10);
            stage.post("/sessions/t/join", large.clone()).await;
            assert!(stage.log.pop().is_some_and(|told| told.starts_with("client got")));
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_served_is_refused_as_a_problem_and_reaches_no_server() {
    let rules = format!("[policy]\nmax_loss = \"native\"\n{PLAIN_BODY}");
    everywhere(&rules, &[Echo("1")], |stage| {
        Box::pin(async move {
            let reply = stage.post("/sessions/s/join", NEW).await;
            assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, "1"));
            assert_eq!(reply.problem()["reason"], "no-server");
            let reply = stage.post("/sessions/s/join", r#"{"sid":"s","sid":"t"}"#).await;
            assert_eq!((reply.status.as_u16(), stage.got("1")), (422, 0), "{reply:?}");
            assert!(!reply.text().contains("\"t\""), "nothing of the record is told");
            stage.post("/sessions/s/join", OLD).await.ok(); // and the next one is served
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_can_not_be_translated_is_a_problem_and_no_broken_answer() {
    everywhere(BODY, &[Echo("2")], |stage| {
        Box::pin(async move {
            // A record without a version passes to the server, whose answer has none either.
            let reply = stage.post("/sessions/s/join", "[1]").await;
            stage.log.push(format!("{}", reply.status));
            let reply = stage.post("/sessions/s/join", r#"{"schema":7}"#).await;
            assert_eq!(reply.status, 422);
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_every_length_and_framing_arrive_translated() {
    everywhere(BODY, &[Echo("1")], |stage| {
        Box::pin(async move {
            for length in [4 << 10, 64 << 10, 400 << 10] {
                let record = large(length);
                for chunks in [None, Some(1000)] {
                    let request = Request::builder().method("POST").uri("/sessions/s/join");
                    let body = match chunks {
                        None => sized(record.clone()),
                        Some(chunk) => chunked(record.clone(), chunk),
                    };
                    let reply = stage.send(request, body).await.ok();
                    let got = json(stage.last("1").text());
                    assert_eq!((&got["sid"], &got["bitrate"]), (&"s".into(), &serde_json::Value::Null));
                    assert_eq!(got["pad"].as_str().map(str::len), Some(length), "not cut");
                    assert_eq!(json(reply.text()), json(&record));
                }
            }
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_longer_than_a_record_may_be_is_refused_and_not_cut() {
    everywhere(PLAIN_BODY, &[Echo("1")], |stage| {
        Box::pin(async move {
            let reply = stage.post("/sessions/s/join", large((1 << 20) + 1)).await;
            assert_eq!((reply.status.as_u16(), stage.got("1")), (413, 0));
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_in_headers_are_made_readable_both_ways() {
    let rules = "[record]\nclient_version = \"2\"\nheader = { name = \"X-Record\", encoding = \"base64url\" }\n";
    everywhere(rules, &[Echo("1")], |stage| {
        Box::pin(async move {
            let request = Request::builder().method("POST").uri("/sessions/s/join");
            let reply = stage.send(request.header("x-record", URL_SAFE_NO_PAD.encode(NEW)), sized("{}")).await.ok();
            assert_eq!(decoded(stage.last("1").header("x-record").unwrap()), DOWN);
            assert_eq!(json(&decoded(reply.header("x-record"))), json(NEW));
            assert_eq!(stage.last("1").text(), "{}", "the body is left alone");
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_in_cookies_are_made_readable_both_ways_and_keep_their_attributes() {
    let rules = "[record]\nclient_version = \"2\"\ncookie = { name = \"record\" }\n";
    everywhere(rules, &[Echo("1")], |stage| {
        Box::pin(async move {
            let request = Request::builder().method("POST").uri("/sessions/s/join");
            let cookies = format!("theme=dark; record={}; lang=en", URL_SAFE_NO_PAD.encode(NEW));
            let reply = stage.send(request.header("cookie", cookies), sized("{}")).await.ok();
            let (before, after) = (DOWN, reply.header("set-cookie"));
            let there = format!("theme=dark; record={}; lang=en", URL_SAFE_NO_PAD.encode(before));
            assert_eq!(stage.last("1").header("cookie"), Some(&*there));
            let value = after.strip_prefix("record=").and_then(|rest| rest.strip_suffix("; Path=/; HttpOnly"));
            assert_eq!(json(&decoded(value.unwrap())), json(NEW), "{after}");
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_rule_speaks_of_passes_as_it_is() {
    everywhere(PLAIN_BODY, &[Echo("1")], |stage| {
        Box::pin(async move {
            let reply = stage.post("/other?x=a%20b&y", NEW).await.ok();
            assert_eq!((stage.last("1").text(), reply.text()), (NEW, NEW));
            let head = Request::builder().method("HEAD").uri("/sessions/s");
            let reply = stage.client().await.send(head, sized("")).await;
            assert_eq!((reply.status.as_u16(), reply.text()), (200, ""));
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_traps_or_never_ends_costs_its_request_and_nothing_else() {
    let rules = format!("{PLAIN_BODY}\n[guest]\nfile = \"guest.wasm\"\nquarantine_after = 0\n");
    for hostile in [guest::TRAP, guest::LOOP] {
        let guest = Guest { detect: hostile, ..Guest::HEALTHY }.component();
        everywhere_but(&[Kind::EnvoyWasm], &rules, &[Echo("1")], Some(&guest), |stage| {
            Box::pin(async move {
                for _ in 0..3 {
                    let reply = stage.post("/sessions/s/join", OLD).await;
                    assert_eq!((reply.status.as_u16(), stage.got("1")), (500, 0));
                    assert_eq!(reply.problem()["reason"], "guest-failed");
                }
                stage.post("/other", OLD).await.ok(); // it lives, and serves what needs no guest
            })
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_whose_file_changes_is_swapped_in_and_a_bad_one_changes_nothing() {
    everywhere_but(&[Kind::EnvoyWasm], BODY, &[Echo("1")], None, |stage| {
        Box::pin(async move {
            let load = Load::begin(stage.address(), 1, Connections::Kept);
            load.reaches(3000).await;
            stage.push(&pack(2));
            load.reaches(BITRATE + 2).await;
            stage.push("name = \"no pack\"");
            load.serves(20).await;
            stage.push(&pack(3));
            load.reaches(BITRATE + 3).await;
            load.end().await.expect("no request fails");
            stage.log.push("no request failed".to_string());
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_are_swapped_a_thousand_times_under_load_and_no_request_fails() {
    let rules = format!("{BODY}[source.http]\nurl = \"http://PACKS/pack.toml\"\npoll_ms = 2\nwait_s = 0\n");
    everywhere_but(&[Kind::EnvoyWasm], &rules, &[Echo("1")], None, |stage| {
        Box::pin(async move {
            let began = std::time::Instant::now();
            let load = Load::begin(stage.address(), 3, Connections::Kept);
            for revision in 2..SWAPS + 2 {
                stage.push(&pack(revision));
                load.reaches(BITRATE + revision).await; // each of them has served
            }
            let served = load.end().await.expect("no request fails");
            assert!(served as u64 > SWAPS);
            eprintln!("{SWAPS} swaps, {served} requests, {:?}", began.elapsed());
            stage.log.push("no request failed".to_string());
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_load_notices_a_single_request_that_fails() {
    let stage = Stage::set(Kind::Serve, &format!("{RULES}{BODY}"), &[Flawed("1")], None).await;
    let load = Load::begin(stage.address(), 3, Connections::Kept);
    load.serves(1000).await; // it gives up before
    let failed = load.end().await.expect_err("one of them has failed");
    assert!(failed.contains("500"), "{failed}");
}

const SWAPS: u64 = 1000;

/// What a pack puts into records, above its revision.
pub(crate) const BITRATE: u64 = 10_000;

pub(crate) fn pack(revision: u64) -> String {
    let pack = PACK.replace("revision = 1", &format!("revision = {revision}"));
    pack.replace("\"/bitrate\", value = 3000", &format!("\"/bitrate\", value = {}", BITRATE + revision))
}

pub(crate) fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

fn decoded(value: &str) -> String {
    String::from_utf8(URL_SAFE_NO_PAD.decode(value).unwrap()).unwrap()
}

pub(crate) fn large(length: usize) -> String {
    format!(r#"{{"session_id":"s","bitrate":9000,"pad":"{}","schema":2}}"#, "x".repeat(length))
}
