//! What clients, servers and operators do wrong: framing, half-written files, stops; and what the log says of it.

use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use unskew::gateway::Gateway;

use crate::support::*;

const INNER: &str = "[[join]]\nmatch = \"POST /sessions/{id}/join\"\n[record.body]\nrequest = \"/record\"\n";
const NEW: &str = "{\"session_id\":\"s\",\"bitrate\":3000,\"schema\":2}";

/// What the gateway answers to these bytes, until it closes or has said enough.
async fn raw(gateway: &Gateway, request: &str) -> String {
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(std::time::Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_list_of_lengths_and_a_missing_host_are_refused() {
    let server = Upstream::echo().await;
    let gateway = plain("", &[server.entry("1")]);
    for head in ["Host: a\r\nContent-Length: 2, 2", "X: 1\r\nContent-Length: 2"] {
        let answer = raw(&gateway, &format!("POST / HTTP/1.1\r\n{head}\r\n\r\n{{}}")).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{head}: {answer}");
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_key_that_stands_twice_on_the_way_to_the_record_is_refused() {
    let server = Upstream::echo().await;
    let gateway = ruled(INNER, &[server.entry("1")], None);
    for ballast in [0, 100 << 10] {
        let body = format!("{{\"record\":{NEW},\"x\":\"{}\",\"record\":{NEW}}}", "x".repeat(ballast));
        let reply = post(&gateway, "/sessions/s/join", body).await;
        assert_eq!((reply.status.as_u16(), reply.problem()["reason"].as_str()), (422, Some("bad-record")));
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_body_that_is_no_json_passes_and_is_told_and_counted() {
    let server = Upstream::echo().await;
    let gateway = ruled(INNER, &[server.entry("1")], None);
    let body = [b"{\"record\":{},\"x\":\"\xff\"}".as_slice()].concat();
    let reply = post(&gateway, "/sessions/s/join", body).await.ok();
    assert!(reply.explain().contains("passes=\"the body is no JSON\""), "{}", reply.explain());
    assert_eq!(gateway.counts().opaque, 1);
}

#[tokio::test]
async fn a_header_that_is_no_record_passes_and_is_told_and_counted() {
    let server = Upstream::named("a").await;
    let text =
        "[[join]]\nmatch = \"GET /sessions/{id}\"\n[record.header]\nname = \"X-Record\"\nencoding = \"base64\"\n";
    let gateway = ruled(text, &[server.entry("1")], None);
    let request = Request::builder().uri("/sessions/s").header("x-record", "%%%");
    let reply = Client::connect(gateway.address()).await.send(request, sized("")).await.ok();
    assert!(reply.explain().contains("passes=\"the header"), "{}", reply.explain());
    assert_eq!(gateway.counts().opaque, 1);
}

#[tokio::test]
async fn observing_refuses_nothing_and_asks_servers_as_clients_do() {
    let server = Upstream::echo().await;
    let text = "mode = \"observe\"\n[[join]]\nmatch = \"POST /by-body\"\nid = { body = \"/id\" }\n[record]\nclient_version = \"2\"\nbody = { request = \"\", response = \"\" }\n";
    let gateway = ruled(text, &[server.entry("1")], None);
    for body in ["no json".to_string(), format!("{{\"id\":\"s\",\"x\":\"{}\"}}", "x".repeat(70 << 10))] {
        let request = Request::builder().method("POST").uri("/by-body").header("range", "bytes=0-");
        let request = request.header("accept-encoding", "gzip");
        let reply = Client::connect(gateway.address()).await.send(request, sized(body.clone())).await.ok();
        assert!(reply.text() == body && reply.explain().contains("would=\"refuse as "), "{}", reply.explain());
        let seen = server.last();
        assert_eq!((seen.header("range"), seen.header("accept-encoding")), (Some("bytes=0-"), Some("gzip")));
    }
    assert_eq!((gateway.counts().would_refuse, gateway.counts().refused), (2, 0));
}

#[tokio::test]
async fn an_answer_during_a_stop_says_that_its_connection_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (arrived, arrives) = tokio::sync::oneshot::channel();
    let (go_on, goes_on) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer).await;
        let _ = arrived.send(());
        let _ = goes_on.await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
        let _ = stream.read(&mut buffer).await;
    });
    let gateway = plain("[health]\ninterval_ms = 0\n", &[entry(address, "1")]);
    let mut client = Client::connect(gateway.address()).await;
    let asking = tokio::spawn(async move { client.send(Request::builder().uri("/"), sized("")).await });
    arrives.await.unwrap();
    let listening = gateway.address();
    let stopping = tokio::spawn(gateway.stop());
    until("it takes no more connections", || std::net::TcpStream::connect(listening).is_err()).await;
    go_on.send(()).unwrap();
    let reply = asking.await.unwrap().ok();
    assert_eq!((reply.text(), reply.header("connection")), ("{}", "close"));
    stopping.await.unwrap();
}

#[tokio::test]
async fn a_failure_is_told_in_plain_words() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"{\"record\":\"hunter2\"}\r\n\r\n").await;
        }
    });
    let gateway = plain("[health]\ninterval_ms = 0\n", &[entry(address, "1")]);
    let reply = post(&gateway, "/", "{}").await;
    assert_eq!((reply.status.as_u16(), reply.problem()["reason"].as_str()), (502, Some("broken-answer")));
    let detail = reply.problem()["detail"].as_str().unwrap().to_string();
    assert!(detail.contains("the server") && !detail.contains("hunter2"), "{detail}");
}
