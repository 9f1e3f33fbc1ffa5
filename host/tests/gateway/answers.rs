//! Answers: records translated for clients, ids learned, carries kept between them.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;

use crate::support::*;

const RULES: &str = r#"
[[create]]
match = "POST /sessions"
id = { response-body = "/id" }
[[join]]
match = "POST /sessions/{id}/join"
"#;

/// Records are whole bodies; answers are for clients of version 2.
fn held() -> String {
    format!("{RULES}[record]\nclient_version = \"2\"\nbody = {{ request = \"\", response = \"\" }}\n")
}

fn new_record(extra: &str) -> String {
    format!("{{\"session_id\":\"s\",\"bitrate\":9000,{extra}\"schema\":2}}")
}

#[tokio::test]
async fn a_round_trip_restores_what_the_old_server_could_not_hold() {
    let server = Upstream::echo().await; // an old server that writes back what it was sent
    let gateway = ruled(&held(), &[server.entry("1")], None);
    for extra in ["", "\"n\":1.0,"] {
        let reply = post(&gateway, "/sessions/s/join", new_record(extra)).await.ok();
        assert!(server.last().text().starts_with("{\"sid\":\"s\""), "{}", server.last().text());
        assert!(!server.last().text().contains("bitrate"), "{}", server.last().text());
        let before: serde_json::Value = serde_json::from_str(&new_record(extra)).unwrap();
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&reply.body).unwrap(), before);
        assert_eq!(reply.header("content-length"), reply.body.len().to_string());
        assert_eq!(reply.headers.get("transfer-encoding"), None);
        assert!(!reply.text().contains("_unskew"), "no carry reaches a client: {}", reply.text());
    }
    assert_eq!(gateway.counts().translated, 4);
    assert!(gateway.counts().restored > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_of_one_session_at_once_each_get_their_own_values_back() {
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let arrived = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let arrives = arrived.clone();
    let server = Upstream::answering(move |seen| {
        if seen.text().contains("first") {
            arrives.store(true, std::sync::atomic::Ordering::SeqCst);
            // Waiting blocks: the other tasks of this thread go on elsewhere.
            tokio::task::block_in_place(|| {
                let _ = gate.lock().unwrap().recv_timeout(std::time::Duration::from_secs(20));
            });
        }
        Response::new(Full::new(seen.body.clone()))
    })
    .await;
    let gateway = Arc::new(ruled(&held(), &[server.entry("1")], None));
    let record = |name: &str, bitrate: u32| format!("{{\"session_id\":\"{name}\",\"bitrate\":{bitrate},\"schema\":2}}");
    let (slow, body) = (gateway.clone(), record("first", 1));
    let slow = tokio::spawn(async move { post(&slow, "/sessions/s/join", body).await.ok() });
    until("the first is at the server", || arrived.load(std::sync::atomic::Ordering::SeqCst)).await;
    // The second one's record is at home without a carry.
    post(&gateway, "/sessions/s/join", record("second", 3000)).await.ok();
    go.send(()).unwrap();
    let reply = slow.await.unwrap();
    let value: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((&value["session_id"], &value["bitrate"]), (&"first".into(), &1.into()), "{}", reply.text());
}

#[tokio::test]
async fn held_answers_keep_connections_and_framings() {
    let server = Upstream::echo().await;
    let gateway = ruled(&held(), &[server.entry("1")], None);
    let mut client = Client::connect(gateway.address()).await;
    for ballast in [10, 60_000, 100 << 10, 5, 400 << 10] {
        let record = new_record(&format!("\"ballast\":\"{}\",", "x".repeat(ballast)));
        let before: serde_json::Value = serde_json::from_str(&record).unwrap();
        for body in [sized(record.clone()), chunked(record.clone(), 5000)] {
            let request = Request::builder().method("POST").uri("/sessions/s/join");
            let reply = client.send(request, body).await.ok();
            let after: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
            assert!(after == before, "{ballast} bytes of ballast");
        }
    }
    assert_eq!(gateway.counts().requests, 10);
}

#[tokio::test]
async fn a_record_that_can_not_be_translated_is_a_problem_and_no_broken_answer() {
    let server = Upstream::answering(|_| json("{\"secret\":1,\"schema\":7}")).await;
    let gateway = ruled(&held(), &[server.entry("1")], None);
    let mut client = Client::connect(gateway.address()).await;
    for _ in 0..2 {
        let request = Request::builder().method("POST").uri("/sessions/s/join");
        let reply = client.send(request, sized("{\"sid\":\"s\",\"legacy\":\"\"}")).await;
        assert_eq!(reply.status, 502);
        assert_eq!(reply.problem()["reason"], "bad-answer");
        assert!(!reply.text().contains("secret"), "{reply:?}");
    }
    assert_eq!(gateway.counts().refused, 2);
}

#[tokio::test]
async fn held_requests_are_refused_and_fail_like_others() {
    let gateway = ruled(&format!("{}[health]\ninterval_ms = 0", held()), &[entry(dead_address(), "1")], None);
    let reply = post(&gateway, "/sessions/s/join", "{\"sid\":\"s\",\"legacy\":\"\"}").await;
    assert_eq!(reply.problem()["reason"], "no-server");
    let reply = post(&gateway, "/sessions/s/join", "{\"sid\":").await;
    assert_eq!((reply.status.as_u16(), reply.problem()["reason"].as_str()), (422, Some("bad-record")));
    let counts = gateway.counts();
    assert_eq!((counts.requests, counts.refused, counts.failed), (2, 2, 0));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_told_and_never_half_sent() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"sid\":").await;
        }
    });
    let gateway = ruled(&held(), &[entry(address, "1")], None);
    let reply = post(&gateway, "/sessions/s/join", "{\"sid\":\"s\",\"legacy\":\"\"}").await;
    assert_eq!((reply.status.as_u16(), reply.problem()["reason"].as_str()), (502, Some("broken-answer")));
}

#[tokio::test]
async fn tags_and_digests_of_translated_answers_do_not_lie() {
    let server = Upstream::answering(|seen| {
        let mut response = Response::new(Full::new(seen.body.clone()));
        for (name, value) in [("etag", "\"a\""), ("content-digest", "sha-256=:x:"), ("x-other", "1")] {
            response.headers_mut().insert(name, http::HeaderValue::from_static(value));
        }
        response
    })
    .await;
    let gateway = ruled(&held(), &[server.entry("1")], None);
    let request = Request::builder().method("POST").uri("/sessions/s/join").header("content-digest", "sha-256=:y:");
    let reply = Client::connect(gateway.address()).await.send(request, sized(new_record(""))).await.ok();
    assert_eq!((reply.header("etag"), reply.header("content-digest"), reply.header("x-other")), ("W/\"a\"", "", "1"));
    assert_eq!(server.last().header("content-digest"), None);
}

#[tokio::test]
async fn a_servers_own_error_passes_as_it_is() {
    let server = Upstream::answering(|_| {
        let mut response = Response::new(Full::new(Bytes::from_static(b"{\"code\":1026}")));
        *response.status_mut() = http::StatusCode::BAD_REQUEST;
        response
    })
    .await;
    let gateway = ruled(&held(), &[server.entry("1")], None);
    let reply = post(&gateway, "/sessions/s/join", "{\"sid\":\"s\",\"legacy\":\"\"}").await;
    assert_eq!((reply.status.as_u16(), reply.text()), (400, "{\"code\":1026}"));
}

#[tokio::test]
async fn an_answer_above_max_bytes_is_refused_or_passes_by_the_policy() {
    let long = || format!("{{\"sid\":\"s\",\"legacy\":\"\",\"x\":\"{}\"}}", "x".repeat(2 << 20));
    let server = Upstream::answering(move |_| json(&long())).await;
    let closed = ruled(&held(), &[server.entry("1")], None);
    let reply = post(&closed, "/sessions/s/join", "{\"sid\":\"s\",\"legacy\":\"\"}").await;
    assert_eq!((reply.status.as_u16(), reply.problem()["reason"].as_str()), (502, Some("bad-answer")));
    assert!(reply.text().contains("1048576"));
    let open = ruled(&format!("{}[policy]\non_call_failure = \"open\"", held()), &[server.entry("1")], None);
    let reply = post(&open, "/sessions/s/join", "{\"sid\":\"s\",\"legacy\":\"\"}").await.ok();
    assert!(reply.text() == long(), "{} bytes", reply.body.len());
}

#[tokio::test]
async fn without_a_client_version_answers_stay_as_written() {
    let server = Upstream::echo().await;
    let gateway =
        ruled(&format!("{RULES}[record.body]\nrequest = \"\"\nresponse = \"\"\n"), &[server.entry("1")], None);
    let reply = post(&gateway, "/sessions/s/join", new_record("")).await.ok();
    assert!(reply.text().starts_with("{\"sid\":\"s\""), "{}", reply.text());
}

#[tokio::test]
async fn the_id_of_a_create_is_learned_and_its_joins_follow_the_writer() {
    let made = Arc::new(Mutex::new(0));
    let server = |name: &'static str| {
        let made = made.clone();
        Upstream::answering(move |seen| {
            if seen.path != "/sessions" {
                return json(&format!("\"{name}\""));
            }
            let mut made = made.lock().unwrap();
            *made += 1;
            json(&format!("{{\"id\":\"{}\",\"by\":\"{name}\"}}", *made))
        })
    };
    let (a, b) = (server("a").await, server("b").await);
    // No carrier: only the directory knows which version a session has.
    let text = "[[create]]\nmatch = \"POST /sessions\"\nid = { response-body = \"/id\" }\n[[join]]\nmatch = \"POST /sessions/{id}/join\"\n[[end]]\nmatch = \"DELETE /sessions/{id}\"\n";
    let gateway = ruled(text, &[a.entry("1"), b.entry("2")], None);
    for _ in 0..10 {
        let created = post(&gateway, "/sessions", "{}").await.ok();
        let created: serde_json::Value = serde_json::from_slice(&created.body).unwrap();
        let joined = post(&gateway, &format!("/sessions/{}/join", created["id"].as_str().unwrap()), "{}").await.ok();
        assert_eq!(joined.text(), created["by"].to_string());
    }
    assert_eq!(gateway.counts().unidentified, 0);
    // The only server of its version is gone: nobody else can read the session, and nothing can be translated.
    let of_b = b.seen().iter().any(|seen| seen.path == "/sessions");
    assert!(of_b, "weights spread creates");
    let created = loop {
        let created: serde_json::Value =
            serde_json::from_slice(&post(&gateway, "/sessions", "{}").await.ok().body).unwrap();
        if created["by"] == "b" {
            break created["id"].as_str().unwrap().to_string();
        }
    };
    gateway.set_servers(&[a.entry("1")]).unwrap();
    let refused = post(&gateway, &format!("/sessions/{created}/join"), "{}").await;
    assert_eq!(refused.problem()["reason"], "no-server");
}

#[tokio::test]
async fn an_id_in_a_response_header_is_learned_and_an_end_forgets() {
    let server = Upstream::answering(|seen| {
        let mut response = json("{}");
        if seen.path == "/sessions" {
            response.headers_mut().insert("x-session", http::HeaderValue::from_static("h1"));
        }
        response
    })
    .await;
    let text = "[[create]]\nmatch = \"POST /sessions\"\nid = { response-header = \"x-session\" }\n[[join]]\nmatch = \"GET /sessions/{id}\"\n[[end]]\nmatch = \"DELETE /sessions/{id}\"\n";
    let gateway = ruled(text, &[server.entry("2")], None);
    post(&gateway, "/sessions", "{}").await.ok();
    let old = Upstream::named("old").await;
    gateway.set_servers(&[old.entry("1")]).unwrap();
    assert_eq!(get(&gateway, "/sessions/h1").await.problem()["reason"], "no-server", "it is known to be of version 2");
    gateway.set_servers(&[server.entry("2")]).unwrap();
    let delete = Request::builder().method("DELETE").uri("/sessions/h1");
    Client::connect(gateway.address()).await.send(delete, sized("")).await.ok();
    gateway.set_servers(&[old.entry("1")]).unwrap();
    get(&gateway, "/sessions/h1").await.ok();
}
