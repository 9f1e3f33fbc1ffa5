//! A directory that gateways share in a real Redis: they agree, and lose nothing of theirs when it is killed, slow or lies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use unskew::gateway::Gateway;
use unskew::{DirectoryLink, Pack, Runtime};

use crate::redis::Redis;
use crate::reload::{Folder, TEXT};
use crate::support::*;

/// With a bitrate that version 1 can't hold.
const NEW: &str = r#"{"session_id":"s","bitrate":9000,"schema":2}"#;
const DOWN: &str = r#"{"sid":"s","legacy":""}"#;
/// The same as version 2 gets it back, and as it gets it where the carry is not known.
const BACK: &str = r#"{"session_id":"s","schema":2,"bitrate":9000}"#;
const LOST: &str = r#"{"session_id":"s","bitrate":3000,"schema":2}"#;

fn gateway(server: &Upstream, version: &str, text: &str) -> Gateway {
    ruled(&format!("{TEXT}{text}"), &[server.entry(version)], None)
}

/// The record as the server of the gateway got it.
async fn joined(gateway: &Gateway, session: &str, record: &str) -> serde_json::Value {
    let reply = post(gateway, &format!("/sessions/{session}/join"), record.to_owned()).await.ok();
    serde_json::from_str(reply.text()).unwrap()
}

fn value(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

fn is_up(gateway: &Gateway) -> bool {
    gateway.directory().link == DirectoryLink::Up
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_agree_on_version_writer_and_carry() {
    let redis = Redis::start(&[]);
    let server = Upstream::echo().await;
    let text = redis.patient("");
    let (old, new) = (gateway(&server, "1", &text), gateway(&server, "2", &text));
    assert!(is_up(&old) && is_up(&new), "{:?}", old.directory());
    // What version 1 can't hold waits in Redis, and comes back through the other gateway; again and again, so that a
    // copy that is too old would show.
    for bitrate in 0..50 {
        let record = NEW.replace("9000", &bitrate.to_string());
        assert_eq!(joined(&old, "s", &record).await, value(DOWN));
        assert_eq!(joined(&new, "s", DOWN).await, value(&BACK.replace("9000", &bitrate.to_string())), "{bitrate}");
    }

    // Who wrote a session's record is known to the gateway that didn't make it.
    let (one, two) = (Upstream::named("one").await, Upstream::named("two").await);
    let text = format!(
        "[[create]]\nmatch = \"POST /sessions\"\nid = {{ response-header = \"x-session\" }}\n\
         [[join]]\nmatch = \"GET /sessions/{{id}}\"\n[[end]]\nmatch = \"DELETE /sessions/{{id}}\"\n{text}"
    );
    let made = Upstream::answering(|seen| {
        let mut reply = json("{}");
        let id = seen.header("x-want").unwrap_or("none");
        reply.headers_mut().insert("x-session", id.parse().unwrap());
        reply
    })
    .await;
    let maker = ruled(&text, &[entry_named("two", &made, "2")], None);
    let joiner = ruled(&text, &[entry_named("one", &one, "1"), entry_named("two", &two, "2")], None);
    for id in ["w1", "w2", "w3", "w4"] {
        let request = http::Request::builder().method("POST").uri("/sessions").header("x-want", id);
        Client::connect(maker.address()).await.send(request, sized("")).await.ok();
        let reply = get(&joiner, &format!("/sessions/{id}")).await.ok();
        assert!(reply.text().contains("two"), "{}", reply.explain());
    }
    // Ended at one of them, it is ended at both, and its carry is gone from Redis.
    let end = http::Request::builder().method("DELETE").uri("/sessions/w1");
    Client::connect(joiner.address()).await.send(end, sized("")).await.ok();
    let left: String = redis.ask(&["GET", "unskew:w1"]);
    assert!(left.ends_with(" x "), "{left}");
    let lives: i64 = redis.ask(&["PTTL", "unskew:w1"]);
    assert!((1..=300_000).contains(&lives), "not for ever: {lives}");
}

fn entry_named(name: &str, server: &Upstream, version: &str) -> unskew::config::ServerEntry {
    unskew::config::ServerEntry { name: name.to_owned(), ..server.entry(version) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_is_known_to_the_other_gateway_before_its_client_has_the_answer() {
    let redis = Redis::start(&[]);
    let (old, new) = (Upstream::named("old").await, Upstream::named("new").await);
    let count = Arc::new(AtomicUsize::new(0));
    let maker = Upstream::answering(move |_| {
        json(&format!("{{\"session_id\":\"made-{}\",\"schema\":2}}", count.fetch_add(1, Ordering::SeqCst)))
    })
    .await;
    let text = format!(
        "[[create]]\nmatch = \"POST /sessions\"\nid = {{ response-body = \"/session_id\" }}\n\
         [[join]]\nmatch = \"GET /sessions/{{id}}\"\n{}",
        redis.patient("")
    );
    let making = ruled(&text, &[maker.entry("2")], None);
    let joining = ruled(&text, &[old.entry("1"), new.entry("2")], None);
    for number in 0..100 {
        post(&making, "/sessions", "{}").await.ok();
        let reply = get(&joining, &format!("/sessions/made-{number}")).await.ok();
        assert!(reply.text().contains("new") && reply.explain().contains("native"), "{}", reply.explain());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_killed_under_load_and_no_request_fails_or_waits() {
    let mut redis = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let folder = Folder::new("directory-admin");
    let token = folder.0.join("token");
    std::fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
    let server = Upstream::echo().await;
    let admin = format!("[admin]\nlisten = \"127.0.0.1:0\"\ntoken = {{ file = {token:?} }}\n");
    let text = redis.patient("away_s = 600");
    let (old, new) = (gateway(&server, "1", &format!("{text}{admin}")), gateway(&server, "2", &text));
    let status = async || {
        let ask = |path| http::Request::builder().uri(path).header("authorization", BEARER);
        let mut client = Client::connect(old.admin_address().unwrap()).await;
        let status = client.send(ask("/v1/status"), sized("")).await.ok();
        let metrics = client.send(ask("/metrics"), sized("")).await.ok();
        let away = metrics.text().lines().find(|line| line.starts_with("unskew_directory_away ")).unwrap().to_owned();
        (value(status.text())["directory"].clone(), away)
    };
    assert_eq!(joined(&old, "before", NEW).await, value(DOWN));
    assert_eq!((status().await.0["link"].clone(), status().await.1), (json!("up"), "unskew_directory_away 0".into()));

    let stop = Arc::new(AtomicBool::new(false));
    let (address, done) = (old.address(), stop.clone());
    let load = tokio::spawn(async move {
        let (mut client, mut longest, mut count) = (Client::connect(address).await, Duration::ZERO, 0);
        while !done.load(Ordering::SeqCst) {
            let began = Instant::now();
            let request = http::Request::builder().method("POST").uri(format!("/sessions/load-{}/join", count % 40));
            let reply = client.send(request, sized(NEW)).await.ok();
            assert_eq!(value(reply.text()), value(DOWN));
            (longest, count) = (longest.max(began.elapsed()), count + 1);
        }
        (longest, count)
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    redis.kill();
    until("it is seen that Redis is away", || !is_up(&old) && !is_up(&new)).await;
    let (said, away) = status().await;
    assert_eq!((said["link"].as_str(), away.as_str()), (Some("away"), "unskew_directory_away 1"));
    assert!(!said["reason"].as_str().unwrap().is_empty() && said["since"].is_string(), "{said}");
    // A record's own version is used where nothing is known, and what was known stays known.
    assert_eq!(joined(&old, "unseen", NEW).await, value(DOWN));
    assert_eq!(joined(&old, "before", NEW).await, value(DOWN));
    assert_eq!(joined(&new, "unseen", DOWN).await, value(LOST), "the other gateway can't know");
    assert_eq!(joined(&old, "away", NEW).await, value(DOWN));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!load.is_finished(), "a request failed");
    assert!(old.directory().unanswered > 0);

    redis.restart();
    until("Redis is back", || is_up(&old) && is_up(&new)).await;
    stop.store(true, Ordering::SeqCst);
    let (longest, count) = load.await.unwrap();
    assert!(count > 100, "{count}");
    assert!(longest < Duration::from_secs(4), "nobody waits for the time of a look, {longest:?}");
    // What was noted before, and what was noted meanwhile, is there for the other one.
    for session in ["away", "before"] {
        until_filed(&redis, session, "9000").await;
        assert_eq!(joined(&new, session, DOWN).await, value(BACK), "{session}");
    }
    assert_eq!(status().await.1, "unskew_directory_away 0");
}

const BEARER: &str = "Bearer 0123456789abcdef0123456789abcdef";

/// Waits until Redis has a carry with this value of the session: what was noted while it was away has come.
async fn until_filed(redis: &Redis, session: &str, value: &str) {
    let has =
        || redis.ask::<Option<String>>(&["GET", &format!("unskew:{session}")]).is_some_and(|at| at.contains(value));
    until("the note has come to Redis", has).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_that_is_slow_costs_one_wait_and_what_it_does_late_undoes_nothing() {
    let redis = Redis::start(&[]);
    let server = Upstream::echo().await;
    let text = redis.directory("timeout_ms = 500");
    let (old, new) = (gateway(&server, "1", &text), gateway(&server, "2", &text));
    until("both are up", || is_up(&old) && is_up(&new)).await;
    redis.signal("-STOP");
    // This note waits in Redis' own buffers, and comes late.
    let began = Instant::now();
    assert_eq!(joined(&old, "s", &NEW.replace("9000", "1")).await, value(DOWN));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    until("it is seen that Redis is away", || !is_up(&old)).await;
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(joined(&old, "s", NEW).await, value(DOWN));
    }
    let each = began.elapsed() / 20;
    assert!(each < Duration::from_millis(250), "nobody waits for Redis any more, {each:?}");
    redis.signal("-CONT");
    until("Redis is back", || is_up(&old) && is_up(&new)).await;
    tokio::time::sleep(Duration::from_millis(300)).await; // whatever comes late is there now
    until_filed(&redis, "s", "9000").await;
    assert_eq!(joined(&new, "s", DOWN).await, value(BACK));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_none_of_ours_in_redis_is_counted_and_taken_as_not_there() {
    let redis = Redis::start(&[]);
    let server = Upstream::echo().await;
    let text = redis.patient("");
    let (old, new) = (gateway(&server, "1", &text), gateway(&server, "2", &text));
    assert_eq!(joined(&old, "sound", NEW).await, value(DOWN));
    let sound: String = redis.ask(&["GET", "unskew:sound"]);
    let cut = sound[..sound.len() - 3].to_owned();
    let future = format!("u1 {} {}", "f".repeat(16), &sound[20..]);
    for (session, wrong) in [("garbage", "garbage"), ("cut", cut.as_str()), ("future", future.as_str())] {
        redis.ask::<()>(&["SET", &format!("unskew:{session}"), wrong]);
    }
    redis.ask::<()>(&["RPUSH", "unskew:list", "a", "b"]);
    for (number, session) in ["garbage", "cut", "future", "list"].into_iter().enumerate() {
        // The record says its own version; its carry is not known.
        assert_eq!(joined(&new, session, DOWN).await, value(LOST), "{session}");
        assert_eq!(new.directory().unread, number as u64 + 1, "{session}");
        // The next note takes its place.
        assert_eq!(joined(&old, session, NEW).await, value(DOWN));
        assert_eq!(joined(&new, session, DOWN).await, value(BACK), "{session}");
    }
    assert!(is_up(&new) && is_up(&old), "wrong data is no broken Redis");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_forgotten_when_nobody_asks_for_it_and_kept_while_somebody_does() {
    let redis = Redis::start(&[]);
    let server = Upstream::echo().await;
    let text = redis.patient("ttl_s = 3\nfresh_ms = 0\naway_s = 0");
    let (old, new) = (gateway(&server, "1", &text), gateway(&server, "2", &text));
    let lives = |session: &str| redis.ask::<i64>(&["PTTL", &format!("unskew:{session}")]);
    joined(&old, "idle", NEW).await;
    joined(&old, "busy", NEW).await;
    assert!((1..=3000).contains(&lives("idle")));
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let request = http::Request::builder().method("POST").uri("/sessions/busy/join");
        Client::connect(new.address()).await.send(request, sized("")).await; // asked for, and nothing noted
    }
    assert_eq!(lives("idle"), -2, "gone");
    assert!(lives("busy") > 0);
    assert_eq!(joined(&new, "idle", DOWN).await, value(LOST));
    assert_eq!(joined(&new, "busy", DOWN).await, value(BACK));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_signs_in_and_says_why_not_without_its_password() {
    let redis = Redis::start(
        &"--user unskew on >pass/word ~unskew:* &* +@all --user default off".split(' ').collect::<Vec<_>>(),
    );
    let server = Upstream::echo().await;
    let (folder, port) = (Folder::new("directory-auth"), redis.port);
    let password = folder.0.join("password");
    std::fs::write(&password, "pass/word\n").unwrap();
    let directory = |redis: &str, more: &str| format!("[directory]\ntimeout_ms = 5000\nredis = \"{redis}\"\n{more}\n");
    let good = gateway(&server, "1", &directory(&format!("redis://unskew:pass%2Fword@127.0.0.1:{port}/3"), ""));
    assert!(is_up(&good), "{:?}", good.directory());
    joined(&good, "s", NEW).await;
    let filed =
        directory(&format!("redis://unskew@127.0.0.1:{port}/3"), &format!("password = {{ file = {password:?} }}"));
    let other = gateway(&server, "2", &filed);
    assert_eq!(joined(&other, "s", DOWN).await, value(BACK));
    let elsewhere = gateway(&server, "2", &directory(&format!("redis://unskew:pass%2Fword@127.0.0.1:{port}/4"), ""));
    assert_eq!(joined(&elsewhere, "s", DOWN).await, value(LOST), "another database");

    let bad = gateway(&server, "1", &directory(&format!("redis://unskew:hush-hush@127.0.0.1:{port}/3"), ""));
    let said = format!("{} {:?}", bad.directory().json(), bad.directory());
    assert!(said.contains("WRONGPASS") && said.contains("db 3") && !said.contains("hush"), "{said}");
    assert_eq!(joined(&bad, "s", NEW).await, value(DOWN), "it serves all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_other_gateway_noted_under_another_shape_is_not_believed() {
    let redis = Redis::start(&[]);
    let (old, new) = (Upstream::named("old").await, Upstream::named("new").await);
    let text = format!(
        "[[create]]\nmatch = \"POST /sessions/{{id}}\"\n[[join]]\nmatch = \"POST /sessions/{{id}}/join\"\n{}",
        redis.patient("")
    );
    let maker = ruled(&text, &[new.entry("2")], None);
    post(&maker, "/sessions/s", "{}").await.ok();
    let same = ruled(&text, &[old.entry("1")], None);
    assert_eq!(post(&same, "/sessions/s/join", "{}").await.problem()["reason"], "no-server", "it is of version 2");
    let another = PACK.replace("revision = 1", "revision = 2").replace("value = 2 }", "value = \"two\" }");
    let runtime = Runtime::new(&Pack::from_toml("another.toml", &another).unwrap()).unwrap();
    let other = Gateway::start(config(&text, &[old.entry("1")]), runtime, None).unwrap();
    assert!(post(&other, "/sessions/s/join", "{}").await.ok().explain().contains("tier=unknown"));
    assert_eq!((same.counts().other_shapes, other.counts().other_shapes), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_redis_does_not_tell_what_others_note_it_is_asked_each_time() {
    let redis = Redis::start(&"--user deaf on >p ~* &* +@all -client|tracking".split(' ').collect::<Vec<_>>());
    let server = Upstream::echo().await;
    let directory = |user: &str| {
        let at = format!("redis://{user}127.0.0.1:{}", redis.port);
        format!("[directory]\ntimeout_ms = 5000\nfresh_ms = 60000\nredis = \"{at}\"\n")
    };
    let (old, deaf) = (gateway(&server, "1", &directory("")), gateway(&server, "2", &directory("deaf:p@")));
    assert!(is_up(&deaf), "{:?}", deaf.directory());
    for bitrate in 0..20 {
        joined(&old, "s", &NEW.replace("9000", &bitrate.to_string())).await;
        assert_eq!(joined(&deaf, "s", DOWN).await, value(&BACK.replace("9000", &bitrate.to_string())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_used_and_not_asked_for_again() {
    let redis = Redis::start(&[]);
    let server = Upstream::named("any").await;
    let text = format!(
        "[[create]]\nmatch = \"POST /sessions/{{id}}\"\n[[join]]\nmatch = \"GET /sessions/{{id}}\"\n{}",
        redis.patient("fresh_ms = 60000\nttl_s = 600")
    );
    let (maker, joiner) = (ruled(&text, &[server.entry("2")], None), ruled(&text, &[server.entry("2")], None));
    post(&maker, "/sessions/s", "{}").await.ok();
    for _ in 0..50 {
        get(&joiner, "/sessions/s").await.ok();
    }
    assert_eq!(joiner.directory().asked, 1, "{:?}", joiner.directory());
}
