//! The `body` carrier in requests: either framing, whole bodies and pointers, small and large records.

use http::Request;
use unskew::gateway::Gateway;

use crate::support::*;

const WHOLE: &str = r#"
[[join]]
match = "POST /sessions/{id}/join"
[[join]]
match = "POST /by-body"
id = { body = "/session/key" }
[record.body]
request = ""
"#;

const INNER: &str = r#"
[[join]]
match = "POST /sessions/{id}/join"
[record.body]
request = "/session"
"#;

/// A record of version 2 with so many bytes of ballast.
fn record(ballast: usize) -> String {
    format!(
        "{{\"session_id\":\"s\",  \"n\":1.50,\"ballast\":\"{}\",\"bitrate\":3000,\"schema\":2}}",
        "x".repeat(ballast)
    )
}

/// The same record as version 1 has it.
fn lowered(ballast: usize) -> String {
    format!("{{\"sid\":\"s\",  \"n\":1.50,\"ballast\":\"{}\",\"legacy\":\"\"}}", "x".repeat(ballast))
}

async fn join(
    gateway: &Gateway,
    body: http_body_util::combinators::BoxBody<bytes::Bytes, std::convert::Infallible>,
) -> Reply {
    let request = Request::builder().method("POST").uri("/sessions/s/join");
    Client::connect(gateway.address()).await.send(request, body).await
}

#[tokio::test]
async fn a_record_is_translated_with_its_content_length() {
    let server = Upstream::echo().await;
    let gateway = ruled(WHOLE, &[server.entry("1")], None);
    let reply = join(&gateway, sized(record(10))).await.ok();
    assert_eq!(reply.text(), lowered(10));
    let seen = server.last();
    assert_eq!(seen.header("content-length"), Some(lowered(10).len().to_string().as_str()));
    assert_eq!(seen.header("transfer-encoding"), None);
    assert!(reply.explain().contains("from=\"2\"; to=\"1\""), "{}", reply.explain());
    assert_eq!(gateway.counts().translated, 1);
}

#[tokio::test]
async fn a_record_in_chunks_is_translated() {
    let server = Upstream::echo().await;
    let gateway = ruled(WHOLE, &[server.entry("1")], None);
    for chunk in [1, 7, 4096] {
        assert_eq!(join(&gateway, chunked(record(500), chunk)).await.ok().text(), lowered(500));
        assert_eq!(server.last().header("content-length"), Some(lowered(500).len().to_string().as_str()));
    }
}

#[tokio::test]
async fn large_records_are_translated_as_they_stream() {
    let server = Upstream::echo().await;
    let gateway = ruled(WHOLE, &[server.entry("1")], None);
    let around = record(0).len(); // the replay buffer holds 64 KiB to the byte
    for ballast in [(64 << 10) - around, (64 << 10) - around + 1, 64 << 10, 100 << 10, 400 << 10] {
        for body in [sized(record(ballast)), chunked(record(ballast), 5000), chunked(record(ballast), 90_000)] {
            let reply = join(&gateway, body).await.ok();
            assert!(reply.text() == lowered(ballast), "{ballast} bytes of ballast: {} came back", reply.body.len());
        }
    }
    assert_eq!(gateway.counts().translated, 15);
}

#[tokio::test]
async fn a_connection_is_used_again_after_large_and_small_records() {
    let server = Upstream::echo().await;
    let gateway = ruled(WHOLE, &[server.entry("1")], None);
    let mut client = Client::connect(gateway.address()).await;
    for ballast in [10, 100 << 10, 20, 100 << 10, 30] {
        for body in [sized(record(ballast)), chunked(record(ballast), 5000)] {
            let request = Request::builder().method("POST").uri("/sessions/s/join");
            assert!(client.send(request, body).await.ok().text() == lowered(ballast), "{ballast}");
        }
    }
}

#[tokio::test]
async fn what_the_server_reads_is_left_alone() {
    let server = Upstream::echo().await;
    let mut entry = server.entry("1");
    entry.reads = vec!["2".to_string()];
    let gateway = ruled(WHOLE, &[entry], None);
    for ballast in [10, 100 << 10] {
        assert!(join(&gateway, sized(record(ballast))).await.ok().text() == record(ballast));
        assert!(join(&gateway, sized(lowered(ballast))).await.ok().text() == lowered(ballast));
    }
    assert_eq!(gateway.counts().translated, 0);
}

#[tokio::test]
async fn a_record_goes_to_the_server_of_its_version() {
    let (old, new) = (Upstream::named("old").await, Upstream::named("new").await);
    let gateway = ruled(WHOLE, &[old.entry("1"), new.entry("2")], None);
    for session in 0..8 {
        let path = format!("/sessions/s{session}/join");
        assert_eq!(post(&gateway, &path, record(1)).await.ok().text(), "{\"server\":\"new\"}");
        assert_eq!(
            post(&gateway, &format!("/sessions/u{session}/join"), lowered(1)).await.ok().text(),
            "{\"server\":\"old\"}"
        );
    }
    assert_eq!(gateway.counts().translated, 0);
}

#[tokio::test]
async fn around_a_pointer_every_byte_stays() {
    let server = Upstream::echo().await;
    let gateway = ruled(INNER, &[server.entry("1")], None);
    for ballast in [10, 100 << 10] {
        let around = |record: &str| format!("{{ \"a\" : 1.0e0,\t\"session\" :  {record} , \"a\":\"\\u00fc\" }}\n");
        for body in [sized(around(&record(ballast))), chunked(around(&record(ballast)), 999)] {
            assert!(join(&gateway, body).await.ok().text() == around(&lowered(ballast)), "{ballast}");
        }
    }
    let without = "{\"other\":1}";
    assert_eq!(join(&gateway, sized(without)).await.ok().text(), without);
    assert_eq!(join(&gateway, sized("")).await.ok().text(), "");
}

#[tokio::test]
async fn a_session_id_in_the_body_is_found() {
    let server = Upstream::echo().await;
    let other = Upstream::echo().await;
    let gateway = ruled(WHOLE, &[server.entry("1"), other.entry("1")], None);
    for session in 0..6 {
        let body = format!("{{\"session\":{{\"key\":\"s{session}\"}},\"sid\":\"s\",\"legacy\":\"\"}}");
        let first = post(&gateway, "/by-body", body.clone()).await.ok();
        let second = post(&gateway, "/by-body", body).await.ok();
        assert_eq!(first.explain(), second.explain());
    }
    assert_eq!(gateway.counts().unidentified, 0);
    let reply = post(&gateway, "/by-body", "{\"session\":").await;
    assert_eq!((reply.status.as_u16(), reply.problem()["reason"].as_str()), (400, Some("bad-body")));
}

#[tokio::test]
async fn a_session_id_in_a_large_body_is_refused_with_the_limit() {
    let server = Upstream::echo().await;
    let gateway = ruled(WHOLE, &[server.entry("1")], None);
    let body = format!("{{\"session\":{{\"key\":\"s\"}},\"x\":\"{}\"}}", "x".repeat(70_000));
    for body in [sized(body.clone()), chunked(body.clone(), 1000)] {
        let request = Request::builder().method("POST").uri("/by-body");
        let reply = Client::connect(gateway.address()).await.send(request, body).await;
        assert_eq!(reply.status, 413);
        assert!(reply.problem()["detail"].as_str().unwrap().contains("65536 bytes"), "{reply:?}");
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_record_above_max_bytes_is_refused_with_the_limit() {
    let server = Upstream::echo().await;
    let gateway = ruled(WHOLE, &[server.entry("1")], None);
    let request = Request::builder().method("POST").uri("/sessions/s/join");
    let sent = Client::connect(gateway.address()).await.try_send(request, sized(record(2 << 20))).await;
    // The gateway answers and closes while the client still sends: the answer may be lost to a reset.
    if let Ok(reply) = sent {
        assert_eq!(reply.status, 413);
        assert!(reply.problem()["detail"].as_str().unwrap().contains("1048576"), "{reply:?}");
    }
    until("it is counted", || gateway.counts().refused == 1).await;
    let open = ruled(&format!("{WHOLE}\n[policy]\non_call_failure = \"open\""), &[server.entry("1")], None);
    let reply = join(&open, chunked(record(2 << 20), 60_000)).await.ok();
    assert!(reply.text() == record(2 << 20), "{} bytes came back", reply.body.len());
    assert_eq!(open.counts().passed_open, 1);
}

#[tokio::test]
async fn a_record_that_is_broken_is_refused_and_its_text_told_to_nobody() {
    let server = Upstream::echo().await;
    let gateway = ruled(WHOLE, &[server.entry("1")], None);
    let large = format!("{{\"secret\":\"{}\"", "x".repeat(100 << 10));
    for body in [
        "{\"secret\":1",
        "{\"session_id\":1,\"session_id\":2,\"secret\":1,\"schema\":2}",
        "{\"secret\":1,\"schema\":7}",
        &large,
    ] {
        let reply = join(&gateway, sized(body.to_string())).await;
        assert_eq!(reply.status, 422, "{body:.40} {reply:?}");
        assert_eq!(reply.problem()["reason"], "bad-record");
        assert!(!reply.text().contains("secret") && !reply.explain().contains("secret"), "{reply:?}");
    }
    assert_eq!((gateway.counts().faults, gateway.counts().refused), (4, 4));
}

#[tokio::test]
async fn with_an_open_policy_a_broken_record_passes() {
    let server = Upstream::echo().await;
    let gateway = ruled(&format!("{WHOLE}\n[policy]\non_call_failure = \"open\""), &[server.entry("1")], None);
    for body in ["{\"a\":".to_string(), format!("{{\"secret\":\"{}\"", "x".repeat(100 << 10))] {
        assert!(join(&gateway, sized(body.clone())).await.ok().text() == body);
    }
    assert_eq!((gateway.counts().passed_open, gateway.counts().refused), (2, 0));
}

#[tokio::test]
async fn a_body_that_is_no_object_passes() {
    let server = Upstream::echo().await;
    let gateway = ruled(WHOLE, &[server.entry("1")], None);
    for body in ["[1,2]", "\"text\""] {
        assert_eq!(join(&gateway, sized(body)).await.ok().text(), body);
    }
}

#[tokio::test]
async fn a_record_is_made_ready_for_the_server_that_takes_over() {
    let new = Upstream::echo().await;
    // The server of the record's own version is dead: the request falls to the other, in the other version.
    let gateway =
        ruled(&format!("{INNER}[health]\ninterval_ms = 0"), &[entry(dead_address(), "1"), new.entry("2")], None);
    let around = |record: &str| format!("{{\"session\":{record}}}");
    let reply = join(&gateway, sized(around(&lowered(5)))).await.ok();
    assert!(reply.text().contains("\"session_id\":\"s\"") && reply.text().contains("\"schema\":2"), "{}", reply.text());
    assert_eq!(gateway.counts().rerouted, 1);
}

#[tokio::test]
async fn a_client_that_waits_for_a_go_ahead_gets_one() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = Upstream::echo().await;
    let gateway = ruled(WHOLE, &[server.entry("1")], None);
    let mut stream = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
    let body = record(3);
    let head = format!(
        "POST /sessions/s/join HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut go_ahead = [0; 25];
    stream.read_exact(&mut go_ahead).await.unwrap();
    assert_eq!(&go_ahead, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(&lowered(3)), "{answer}");
}
