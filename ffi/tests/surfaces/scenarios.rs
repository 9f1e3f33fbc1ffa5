//! The scenarios. Each says what must happen, and is played on every surface; the logs must be the same.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Request;

use crate::guest::{self, Guest};
use crate::stage::{Cast, Stage};
use crate::support::{Client, PACK, chunked, sized, until};
use crate::surfaces::Kind;
use Cast::{Dead, Echo};

const RULES: &str = r#"
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

const BODY: &str = "[record]\nclient_version = \"2\"\nbody = { request = \"\", response = \"\" }\n";
const PLAIN_BODY: &str = "[record]\nbody = { request = \"\" }\n";
const NEW: &str = r#"{"session_id":"s","bitrate":9000,"schema":2}"#;
const DOWN: &str = r#"{"sid":"s","legacy":""}"#;
const OLD: &str = r#"{"sid":"s","legacy":"x"}"#;

type Played<'s> = Pin<Box<dyn Future<Output = ()> + Send + 's>>;
type Play = for<'s> fn(&'s mut Stage) -> Played<'s>;

/// Plays a scenario on every surface that is here; what the servers and the client got is the same on each.
async fn everywhere(rules: &str, cast: &[Cast], play: Play) {
    everywhere_but(&[], rules, cast, None, play).await;
}

/// The same, without the surfaces of which docs/gateways says that they can't do it.
async fn everywhere_but(but: &[Kind], rules: &str, cast: &[Cast], guest: Option<&[u8]>, play: Play) {
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
    everywhere(&rules, &[Echo("1"), Echo("2")], |stage| {
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
    everywhere_but(&[Kind::Haproxy], &rules, &[Dead("2"), Echo("1")], None, |stage| {
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
        everywhere_but(&[], &rules, &[Echo("1")], Some(&guest), |stage| {
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
async fn packs_are_swapped_under_load_and_no_request_fails() {
    everywhere(BODY, &[Echo("1")], |stage| {
        Box::pin(async move {
            let mut clients = Vec::new();
            let stop = Arc::new(AtomicBool::new(false));
            for _ in 0..4 {
                let (mut client, stop, address) = (stage.client().await, stop.clone(), stage.address());
                clients.push(tokio::spawn(async move {
                    let mut count = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let request = Request::builder().method("POST").uri("/sessions/s/join");
                        let reply = client.send(request, sized(r#"{"session_id":"s","schema":2}"#)).await;
                        assert_eq!(reply.status, 200, "{reply:?}");
                        count += 1;
                        if reply.header("connection") == "close" {
                            client = Client::connect(address).await; // as nginx says after a thousand requests
                        }
                    }
                    count
                }));
            }
            for revision in 2..40 {
                let pack = PACK.replace("revision = 1", &format!("revision = {revision}"));
                stage.push(
                    &pack.replace(
                        "add = \"/bitrate\", value = 3000",
                        &format!("add = \"/bitrate\", value = {revision}"),
                    ),
                );
                tokio::time::sleep(Duration::from_millis(60)).await;
            }
            // Each process of the surface is on the last pack before the load ends.
            let mut right = 0;
            for _ in 0..200 {
                let client = &mut stage.client().await;
                let request = Request::builder().method("POST").uri("/sessions/t/join");
                let reply = client.send(request, sized(r#"{"sid":"t"}"#)).await.ok();
                right = if json(reply.text())["bitrate"] == 39 { right + 1 } else { 0 };
                if right == 20 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert_eq!(right, 20, "the last pack is active");
            stop.store(true, Ordering::Relaxed);
            for client in clients {
                assert!(client.await.unwrap() > 10);
            }
            stage.log.push("no request failed".to_string());
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_haproxy_cut_at_its_buffer_is_refused() {
    if !Kind::present().contains(&Kind::Haproxy) {
        return;
    }
    let mut stage = Stage::set(Kind::Cramped, &format!("{RULES}{PLAIN_BODY}"), &[Echo("1")], None).await;
    for chunks in [None, Some(1000)] {
        let request = Request::builder().method("POST").uri("/sessions/s/join");
        let body = match chunks {
            None => sized(large(40 << 10)),
            Some(chunk) => chunked(large(40 << 10), chunk),
        };
        let reply = stage.send(request, body).await;
        assert_eq!((reply.status.as_u16(), stage.got("1")), (413, 0), "{chunks:?}");
    }
    stage.post("/sessions/s/join", large(10 << 10)).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_of_nginx_loses_no_request() {
    if !Kind::present().contains(&Kind::Nginx) {
        return;
    }
    let mut stage = Stage::set(Kind::Nginx, &format!("{RULES}{PLAIN_BODY}"), &[Echo("1")], None).await;
    let (address, served) = (stage.address(), Arc::new(AtomicUsize::new(0)));
    let count = served.clone();
    let load = tokio::spawn(async move {
        loop {
            let request = Request::builder().method("POST").uri("/sessions/s/join");
            let reply = Client::connect(address).await.send(request, sized(NEW)).await.ok();
            assert_eq!(reply.text(), DOWN);
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    for round in 1..=5 {
        let enough = || served.load(Ordering::SeqCst) >= round * 20 || load.is_finished();
        until("requests are served", enough).await;
        stage.signal("-HUP");
    }
    until("requests are served", || served.load(Ordering::SeqCst) >= 120 || load.is_finished()).await;
    assert!(!load.is_finished(), "a request failed");
    load.abort();
    stage.post("/sessions/s/join", NEW).await.ok();
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

fn decoded(value: &str) -> String {
    String::from_utf8(URL_SAFE_NO_PAD.decode(value).unwrap()).unwrap()
}

fn large(length: usize) -> String {
    format!(r#"{{"session_id":"s","bitrate":9000,"pad":"{}","schema":2}}"#, "x".repeat(length))
}
