//! Where requests go: sessions stay, dead servers are avoided, and the client is told why nobody answers.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::*;

const JOINS: &str = r#"
[[join]]
match = "POST /sessions/{id}/join"
"#;

#[tokio::test]
async fn a_request_and_its_answer_pass_as_they_are() {
    let server = Upstream::echo().await;
    let gateway = plain("", &[server.entry("1")]);
    let request =
        Request::builder().method("PUT").uri("/a/b?c=%20d").header("x-mine", "1").header("unskew-explain", "forged");
    let reply = Client::connect(gateway.address()).await.send(request, sized("\x00 any bytes \u{fc}")).await.ok();
    assert_eq!(reply.text(), "\x00 any bytes \u{fc}");
    let seen = server.last();
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("PUT", "/a/b?c=%20d"));
    assert_eq!(seen.header("x-mine"), Some("1"));
    assert_eq!(seen.header("unskew-explain"), None, "internal headers of clients are dropped");
    assert!(reply.explain().contains("tier=unknown"), "{}", reply.explain());
}

#[tokio::test]
async fn a_servers_forged_internal_headers_are_dropped() {
    let server = Upstream::answering(|_| {
        let mut response = json("{}");
        response.headers_mut().insert("unskew-explain", http::HeaderValue::from_static("forged"));
        response.headers_mut().insert("unskew-other", http::HeaderValue::from_static("forged"));
        response
    })
    .await;
    let mut quiet = config("", &[server.entry("1")]);
    quiet.explain = false;
    let gateway = unskew::gateway::Gateway::start(quiet, unskew::Runtime::empty().unwrap(), None).unwrap();
    let reply = get(&gateway, "/").await.ok();
    assert!(reply.headers.keys().all(|name| !name.as_str().starts_with("unskew-")), "{reply:?}");
}

#[tokio::test]
async fn a_session_stays_on_its_server_and_sessions_spread() {
    let servers = [Upstream::named("a").await, Upstream::named("b").await, Upstream::named("c").await];
    let entries: Vec<_> = servers.iter().map(|server| server.entry("1")).collect();
    let gateway = plain(JOINS, &entries);
    let mut used = BTreeSet::new();
    for session in 0..20 {
        let path = format!("/sessions/s{session}/join");
        let first = post(&gateway, &path, "{}").await.ok();
        for _ in 0..3 {
            assert_eq!(post(&gateway, &path, "{}").await.ok().text(), first.text(), "{path}");
        }
        used.insert(first.text().to_string());
    }
    assert!(used.len() > 1, "20 sessions on one of three servers: {used:?}");
    assert_eq!(gateway.counts().joins, 80);
}

#[tokio::test]
async fn requests_without_a_session_go_by_weight() {
    let (heavy, none) = (Upstream::named("heavy").await, Upstream::named("none").await);
    let mut entries = [heavy.entry("1"), none.entry("1")];
    entries[1].weight = 0;
    let gateway = plain("", &entries);
    for _ in 0..20 {
        get(&gateway, "/").await.ok();
    }
    assert_eq!((heavy.seen().len(), none.seen().len()), (20, 0));
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let server = Upstream::echo().await;
    let gateway = plain(JOINS, &[server.entry("1")]);
    let mut client = Client::connect(gateway.address()).await;
    for number in 0..20 {
        let request = Request::builder().method("POST").uri("/sessions/s/join");
        let text = format!("{{\"number\":{number}}}");
        let body = if number % 2 == 0 { sized(text.clone()) } else { chunked(text.clone(), 3) };
        assert_eq!(client.send(request, body).await.ok().text(), text);
    }
}

#[tokio::test]
async fn large_bodies_pass_in_either_framing() {
    let server = Upstream::echo().await;
    let gateway = plain(JOINS, &[server.entry("1")]);
    for length in [64 << 10, (64 << 10) + 1, 100 << 10, 400 << 10] {
        let body: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        for framed in [sized(body.clone()), chunked(body.clone(), 7000), chunked(body.clone(), 70_000)] {
            let request = Request::builder().method("POST").uri("/sessions/s/join");
            let reply = Client::connect(gateway.address()).await.send(request, framed).await.ok();
            assert!(reply.body == body, "{length} bytes came back as {}", reply.body.len());
        }
    }
}

#[tokio::test]
async fn a_dead_server_is_passed_over() {
    let alive = Upstream::named("alive").await;
    let gateway = plain(JOINS, &[entry(dead_address(), "1"), alive.entry("1"), entry(dead_address(), "1")]);
    for session in 0..12 {
        post(&gateway, &format!("/sessions/s{session}/join"), "{\"a\":1}").await.ok();
    }
    assert_eq!(alive.seen().len(), 12);
    assert!(alive.seen().iter().all(|seen| seen.text() == "{\"a\":1}"));
    assert!(gateway.counts().rerouted > 0);
    assert_eq!(gateway.counts().failed, 0);
}

#[tokio::test]
async fn no_server_left_is_told_as_a_problem() {
    let gateway = plain("[health]\ninterval_ms = 0", &[entry(dead_address(), "1")]);
    let reply = get(&gateway, "/x").await;
    assert_eq!(reply.status, 503);
    let problem = reply.problem();
    assert_eq!(problem["type"], "urn:unskew:problem:no-server");
    assert!(reply.header("proxy-status").contains("error=destination_unavailable"), "{reply:?}");
    assert!(reply.explain().starts_with("refused=no-server"), "{reply:?}");
    assert_eq!(gateway.counts().refused, 1);
}

#[tokio::test]
async fn a_server_that_answers_nothing_is_told_as_a_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap(); // takes connections, never reads
    let gateway = plain("[timeouts]\nread_ms = 100", &[entry(listener.local_addr().unwrap(), "1")]);
    let reply = get(&gateway, "/").await;
    assert_eq!(reply.status, 504);
    assert_eq!(reply.problem()["reason"], "server-timeout");
    assert_eq!(gateway.counts().failed, 1);
}

#[tokio::test]
async fn a_server_that_hangs_up_is_told_as_a_broken_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 1024];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-le").await;
        }
    });
    let gateway = plain("", &[entry(address, "1")]);
    let reply = post(&gateway, "/", "x").await;
    assert_eq!(reply.status, 502, "{reply:?}");
    assert_eq!(reply.problem()["reason"], "broken-answer");
}

#[tokio::test]
async fn a_client_that_goes_away_is_nobodys_failure() {
    let server = Upstream::echo().await;
    let gateway = plain(JOINS, &[server.entry("1")]);
    let half = b"POST /sessions/s/join HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{";
    for _ in 0..5 {
        let mut stream = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
        stream.write_all(half).await.unwrap();
    }
    until("all are taken", || gateway.counts().requests == 5).await;
    post(&gateway, "/sessions/s/join", "{}").await.ok();
    assert_eq!((gateway.counts().failed, gateway.counts().refused), (0, 0));
}

#[tokio::test]
async fn a_full_server_spills_to_the_next() {
    let (entered, entering) = std::sync::mpsc::channel();
    let (entered, gate) = (std::sync::Mutex::new(entered), std::sync::Arc::new(std::sync::Barrier::new(2)));
    let waiting = gate.clone();
    let (_threads, slow) = tokio::task::spawn_blocking(|| {
        let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let slow = threads.block_on(Upstream::answering(move |_| {
            entered.lock().unwrap().send(()).unwrap();
            waiting.wait();
            json("{\"server\":\"new\"}")
        }));
        (Leaked(Some(threads)), slow)
    })
    .await
    .unwrap();
    let old = Upstream::named("old").await;
    let text = format!("{JOINS}[record.body]\nrequest = \"\"\n[policy]\nserver_limit = 1\nspill = 1.0\n");
    let gateway = ruled(&text, &[slow.entry("2"), old.entry("1")], None);
    let record = "{\"session_id\":\"s\",\"bitrate\":3000,\"schema\":2}";
    let address = gateway.address();
    let first = tokio::spawn(async move {
        let request = Request::builder().method("POST").uri("/sessions/s/join");
        Client::connect(address).await.send(request, sized(record)).await
    });
    tokio::task::spawn_blocking(move || entering.recv_timeout(Duration::from_secs(10)).unwrap()).await.unwrap();
    // The only server of the record's version is busy, so the next tier takes this one, translated.
    assert_eq!(post(&gateway, "/sessions/t/join", record).await.ok().text(), "{\"server\":\"old\"}");
    tokio::task::spawn_blocking(move || gate.wait()).await.unwrap();
    assert_eq!(first.await.unwrap().ok().text(), "{\"server\":\"new\"}");
    until("both are counted", || (gateway.counts().native, gateway.counts().with_carry) == (1, 1)).await;
}

/// Threads of a server that may be dropped where waiting is forbidden.
struct Leaked(Option<tokio::runtime::Runtime>);

impl Drop for Leaked {
    fn drop(&mut self) {
        if let Some(threads) = self.0.take() {
            threads.shutdown_background();
        }
    }
}

#[tokio::test]
async fn health_checks_take_a_server_out_and_bring_it_back() {
    let sick = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let flag = sick.clone();
    let server = Upstream::answering(move |seen| {
        let mut response = json("{}");
        if seen.path == "/healthz" && flag.load(std::sync::atomic::Ordering::SeqCst) {
            *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        }
        response
    })
    .await;
    let health = "[health]\npath = \"/healthz\"\ninterval_ms = 20\nunhealthy_after = 2\nhealthy_after = 2";
    let gateway = plain(health, &[server.entry("1")]);
    until("the sick server is out", || !gateway.health()[0].1).await;
    assert_eq!(get(&gateway, "/").await.problem()["reason"], "no-server");
    sick.store(false, std::sync::atomic::Ordering::SeqCst);
    until("the well server is back", || gateway.health()[0].1).await;
    get(&gateway, "/").await.ok();
}

#[tokio::test]
async fn tcp_health_checks_see_a_dead_server() {
    let alive = Upstream::named("alive").await;
    let gateway = plain("[health]\ninterval_ms = 20", &[alive.entry("1"), entry(dead_address(), "1")]);
    until("the dead server is out", || gateway.health() == expected(&gateway, [true, false])).await;
}

fn expected(gateway: &unskew::gateway::Gateway, healthy: [bool; 2]) -> Vec<(String, bool)> {
    gateway.health().into_iter().map(|(name, _)| name).zip(healthy).collect()
}

#[tokio::test]
async fn servers_can_be_replaced_while_it_runs() {
    let (old, new) = (Upstream::named("old").await, Upstream::named("new").await);
    let gateway = plain("", &[old.entry("1")]);
    assert_eq!(get(&gateway, "/").await.ok().text(), "{\"server\":\"old\"}");
    gateway.set_servers(&[new.entry("1")]).unwrap();
    assert_eq!(get(&gateway, "/").await.ok().text(), "{\"server\":\"new\"}");
}

#[tokio::test]
async fn two_gateways_run_side_by_side() {
    let (a, b) = (Upstream::named("a").await, Upstream::named("b").await);
    let (left, right) = (plain("", &[a.entry("1")]), plain("", &[b.entry("1")]));
    let (from_left, from_right) = tokio::join!(get(&left, "/"), get(&right, "/"));
    assert_eq!((from_left.ok().text(), from_right.ok().text()), ("{\"server\":\"a\"}", "{\"server\":\"b\"}"));
    left.stop().await;
    get(&right, "/").await.ok();
    assert_eq!(right.counts().requests, 2);
}

#[tokio::test]
async fn stopping_lets_requests_finish_and_takes_no_more() {
    let (entered, entering) = std::sync::mpsc::channel();
    let (leave, leaving) = std::sync::mpsc::channel::<()>();
    let (entered, leaving) = (std::sync::Mutex::new(entered), std::sync::Mutex::new(leaving));
    let server = tokio::task::spawn_blocking(|| {
        // a server of its own threads, because its answer blocks
        let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = threads.block_on(Upstream::answering(move |_| {
            entered.lock().unwrap().send(()).unwrap();
            leaving.lock().unwrap().recv().unwrap();
            json("{\"late\":true}")
        }));
        (threads, server)
    })
    .await
    .unwrap();
    let gateway = plain("", &[server.1.entry("1")]);
    let address = gateway.address();
    let mut idle = Client::connect(address).await;
    let request =
        tokio::spawn(async move { Client::connect(address).await.send(Request::builder().uri("/"), sized("")).await });
    tokio::task::spawn_blocking(move || entering.recv_timeout(Duration::from_secs(10)).unwrap()).await.unwrap();
    let stopping = tokio::spawn(gateway.stop());
    until("nothing is taken any more", || std::net::TcpStream::connect(address).is_err()).await;
    assert!(!stopping.is_finished(), "a request is under way");
    assert!(idle.try_send(Request::builder().uri("/"), sized("")).await.is_err(), "idle connections are closed");
    leave.send(()).unwrap();
    assert_eq!(request.await.unwrap().ok().text(), "{\"late\":true}");
    stopping.await.unwrap();
    server.0.shutdown_background();
}
