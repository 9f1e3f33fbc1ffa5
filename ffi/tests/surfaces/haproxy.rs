//! What is played on HAProxy alone: bodies that its buffer cuts, and reloads.

use http::Request;

use crate::load::{Connections, Load};
use crate::nginx::OLD_CLIENTS;
use crate::redis::Redis;
use crate::scenarios::{NEW, PLAIN_BODY, RULES, json, large};
use crate::stage::Cast::Echo;
use crate::stage::Stage;
use crate::support::{chunked, sized};
use crate::surfaces::{Kind, lacks_redis};

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_haproxy_cut_at_its_buffer_is_refused() {
    if Kind::Haproxy.is_absent() {
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
async fn a_reload_of_haproxy_loses_no_request_and_what_a_shared_directory_knows_stays_known() {
    if Kind::Haproxy.is_absent() || lacks_redis() {
        return;
    }
    let redis = Redis::start(&[]);
    let rules = format!("{RULES}{OLD_CLIENTS}{}", redis.patient(""));
    let mut stage = Stage::set(Kind::Haproxy, &rules, &[Echo("2")], None).await;
    let there = stage.post("/sessions/s/join", NEW).await.ok();
    let load = Load::begin(stage.address(), 2, Connections::OneEach);
    for _ in 0..5 {
        load.serves(40).await;
        stage.reload("-USR2").await;
        load.serves(100).await;
    }
    assert!(load.end().await.expect("no request fails") >= 700);
    // What version 1 can't hold comes from the directory, though the worker is gone that has noted it.
    stage.post("/sessions/s/join", there.text().to_string()).await.ok();
    assert_eq!(json(stage.last("2").text())["bitrate"], 9000);
}
