//! The `header` carrier.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use http::{HeaderValue, Request};

use crate::support::*;

const NEW: &str = "{\"session_id\":\"s\",\"bitrate\":9000,\"schema\":2}";
const OLD: &str = "{\"sid\":\"s\",\"legacy\":\"\"}";

fn text(encoding: &str, client: &str) -> String {
    format!(
        "[[join]]\nmatch = \"GET /sessions/{{id}}\"\n[record]\nclient_version = \"{client}\"\nheader = {{ name = \"X-Record\", encoding = \"{encoding}\" }}\n"
    )
}

async fn echo_header() -> Upstream {
    Upstream::answering(|seen| {
        let mut response = json("{}");
        if let Some(record) = seen.headers.get("x-record") {
            response.headers_mut().insert("x-record", record.clone());
        }
        response
    })
    .await
}

#[tokio::test]
async fn a_record_in_a_header_is_translated_both_ways() {
    let server = echo_header().await;
    let write = |encoding: &str, record: &str| match encoding {
        "json" => record.to_string(),
        "base64" => STANDARD.encode(record),
        _ => URL_SAFE.encode(record),
    };
    let read = |encoding: &str, value: &str| match encoding {
        "json" => value.to_string(),
        "base64" => String::from_utf8(STANDARD.decode(value).unwrap()).unwrap(),
        _ => String::from_utf8(URL_SAFE_NO_PAD.decode(value).unwrap()).unwrap(),
    };
    for encoding in ["json", "base64", "base64url"] {
        let gateway = ruled(&text(encoding, "2"), &[server.entry("1")], None);
        let request = Request::builder().uri("/sessions/s").header("x-record", write(encoding, NEW));
        let reply = Client::connect(gateway.address()).await.send(request, sized("")).await.ok();
        assert_eq!(read(encoding, server.last().header("x-record").unwrap()), OLD, "{encoding}");
        let back: serde_json::Value = serde_json::from_str(&read(encoding, reply.header("x-record"))).unwrap();
        assert_eq!(back, serde_json::from_str::<serde_json::Value>(NEW).unwrap(), "{encoding}");
    }
}

#[tokio::test]
async fn a_header_that_is_broken_is_refused() {
    let server = echo_header().await;
    let gateway = ruled(&text("json", "2"), &[server.entry("1")], None);
    let request = Request::builder().uri("/sessions/s").header("x-record", "{\"sid\":");
    let reply = Client::connect(gateway.address()).await.send(request, sized("")).await;
    assert_eq!((reply.status.as_u16(), reply.problem()["reason"].as_str()), (422, Some("bad-record")));
    get(&gateway, "/sessions/s").await.ok();
}

#[tokio::test]
async fn a_broken_record_in_an_answers_header_is_a_problem() {
    let server = Upstream::answering(|_| {
        let mut response = json("{}");
        response.headers_mut().insert("x-record", HeaderValue::from_static("{\"schema\":7}"));
        response
    })
    .await;
    let gateway = ruled(&text("json", "2"), &[server.entry("1")], None);
    let reply = get(&gateway, "/sessions/s").await;
    assert_eq!((reply.status.as_u16(), reply.problem()["reason"].as_str()), (502, Some("bad-answer")));
}
