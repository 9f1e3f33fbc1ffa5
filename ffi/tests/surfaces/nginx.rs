//! What is played on nginx alone: bodies in files, reloads, several workers.

use std::collections::BTreeSet;

use http::Request;

use crate::load::{Connections, Load};
use crate::redis::Redis;
use crate::scenarios::{BODY, NEW, PLAIN_BODY, RULES, json, large};
use crate::stage::Cast::Echo;
use crate::stage::Stage;
use crate::support::{chunked, sized};
use crate::surfaces::{Kind, lacks_redis};

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_nginx_has_spilled_to_a_file_is_translated() {
    if Kind::Nginx.is_absent() {
        return;
    }
    let mut stage = Stage::set(Kind::Nginx, &format!("{RULES}{PLAIN_BODY}"), &[Echo("1")], None).await;
    for chunks in [None, Some(5000)] {
        let request = Request::builder().method("POST").uri("/sessions/s/join");
        let body = match chunks {
            None => sized(large(400 << 10)),
            Some(chunk) => chunked(large(400 << 10), chunk),
        };
        stage.send(request, body).await.ok();
        let got = json(stage.last("1").text());
        assert_eq!((&got["sid"], got["pad"].as_str().map(str::len)), (&"s".into(), Some(400 << 10)));
    }
    let log = stage.said("error.log");
    let spilled = log.lines().filter(|line| line.contains("a client request body is buffered to a temporary file"));
    assert!(spilled.count() >= 2, "they were in files: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_of_nginx_loses_no_request() {
    if Kind::Nginx.is_absent() {
        return;
    }
    let stage = Stage::set(Kind::Nginx, &format!("{RULES}{BODY}"), &[Echo("1")], None).await;
    let load = Load::begin(stage.address(), 2, Connections::OneEach);
    for _ in 0..10 {
        load.serves(40).await;
        stage.reload("-HUP").await;
    }
    load.serves(200).await;
    assert!(load.end().await.expect("no request fails") >= 600);
}

/// Clients keep records as version 1, and the server as version 2: what version 1 can't hold is in the directory alone.
pub(crate) const OLD_CLIENTS: &str = "[record]\nclient_version = \"1\"\nbody = { request = \"\", response = \"\" }\n";

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_nginx_agree_by_a_directory_in_redis() {
    if Kind::Nginx.is_absent() || lacks_redis() {
        return;
    }
    let mut redis = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let rules = format!("{RULES}{OLD_CLIENTS}{}", redis.patient("away_s = 0"));
    let mut stage = Stage::set(Kind::Workers, &rules, &[Echo("2")], None).await;
    let (mut workers, mut apart) = (BTreeSet::new(), 0);
    for bitrate in 0..60 {
        let there = stage.post("/sessions/s/join", NEW.replace("9000", &bitrate.to_string())).await.ok();
        let back = stage.post("/sessions/s/join", there.text().to_string()).await.ok();
        assert_eq!(json(stage.last("2").text())["bitrate"], bitrate, "whichever worker has noted it");
        let pair = [&there, &back].map(|reply| reply.header("x-worker").to_string());
        apart += usize::from(pair[0] != pair[1]);
        workers.extend(pair);
    }
    assert!(workers.len() == 2 && apart > 5, "{workers:?}, {apart} pairs on two of them");

    // What the directory knows outlives the workers.
    stage.reload("-HUP").await;
    for round in 0.. {
        let reply = stage.post("/sessions/s/join", r#"{"sid":"s"}"#).await.ok();
        assert_eq!(json(stage.last("2").text())["bitrate"], 59);
        if !workers.contains(reply.header("x-worker")) {
            break;
        }
        assert!(round < 500, "no new worker has answered");
    }

    // Without Redis the record's own version is used.
    redis.kill();
    for _ in 0..20 {
        stage.post("/sessions/t/join", r#"{"sid":"t"}"#).await.ok();
        assert_eq!(json(stage.last("2").text())["bitrate"], 3000);
    }
    redis.restart();
    let mut agreed = 0;
    for round in 0.. {
        let there = stage.post("/sessions/u/join", NEW.replace("9000", "777")).await.ok();
        stage.post("/sessions/u/join", there.text().to_string()).await.ok();
        agreed = if json(stage.last("2").text())["bitrate"] == 777 { agreed + 1 } else { 0 };
        if agreed == 30 {
            break;
        }
        assert!(round < 500, "they don't agree again");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_workers_with_nothing_to_agree_by_are_refused() {
    if Kind::Nginx.is_absent() {
        return;
    }
    let said = Stage::refused(Kind::Workers, &format!("{RULES}{BODY}")).await;
    assert!(said.contains("nginx can't do sessions in several processes"), "{said}");
    assert!(said.contains("say [directory] redis = "), "{said}");
}
