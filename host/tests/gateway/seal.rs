//! Inline carries where clients can reach them: sealed on their way out, opened or taken out on their way in.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use unskew::gateway::Gateway;
use unskew::{CarryMember, Crossing, Pack, Runtime, Seal};

use crate::support::*;

const RULES: &str =
    "[[join]]\nmatch = \"POST /sessions/{id}/join\"\n[[join]]\nmatch = \"POST /by-query\"\nid = { query = \"id\" }\n";
const BODY: &str = "[record.body]\nrequest = \"\"\nresponse = \"\"\n";
const FIRST: &str = "the first key, of thirty-two bytes and more";
const SECOND: &str = "the second key, of thirty-two bytes and more";
/// A record that version 1 can't hold without a carry.
const NEW: &str = "{\"session_id\":\"s\",\"bitrate\":9000,\"schema\":2}";
/// What clients would write to have their way with a member that they can't see.
const FORGED: &str = r#"{"unskew":1,"at":"1","kept":[]}"#;

/// Key files, which go with the test.
struct Keys(PathBuf);

impl Keys {
    fn new(name: &str) -> Keys {
        let folder = std::env::temp_dir().join(format!("unskew-seal-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("first"), FIRST).unwrap();
        std::fs::write(folder.join("second"), format!("{SECOND}\n")).unwrap();
        Keys(folder)
    }

    /// The configuration of these keys, in this order.
    fn text(&self, names: &[&str]) -> String {
        let keys: Vec<_> =
            names.iter().map(|name| format!("{{ file = \"{}\" }}", self.0.join(name).display())).collect();
        format!("[seal]\nkeys = [{}]\n", keys.join(", "))
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn inline_pack() -> Pack {
    Pack::from_toml("inline.toml", &PACK.replace("[policy]", "[policy]\ncarry = \"inline\"")).unwrap()
}

fn sealing(text: &str, server: &Upstream, version: &str) -> Gateway {
    let runtime = Runtime::new(&inline_pack()).unwrap();
    Gateway::start(config(text, &[server.entry(version)]), runtime, None).unwrap()
}

fn member() -> CarryMember {
    CarryMember { name: "_unskew".into(), max_bytes: 16384 }
}

fn value(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

/// The carry of a client's record, which must be sealed.
fn sealed(record: &str) -> String {
    let sealed = value(record)["_unskew"].as_str().expect("a sealed carry").to_string();
    assert!(sealed.starts_with("1.") && !record.contains("kept"), "{record}");
    sealed
}

#[tokio::test]
async fn a_sealed_carry_comes_back_and_restores_the_record() {
    let keys = Keys::new("round-trip");
    let server = Upstream::echo().await;
    let text = format!("{RULES}{BODY}{}[record]\nclient_version = \"1\"\n", keys.text(&["first"]));
    let gateway = sealing(&text, &server, "2");
    // The server's record, as a client of version 1 gets it.
    let mut reply = post(&gateway, "/sessions/s/join", NEW).await.ok();
    for round in 1..4 {
        sealed(reply.text());
        assert!(reply.text().starts_with("{\"sid\":\"s\"") && !reply.text().contains("9000"), "{}", reply.text());
        assert_eq!(reply.header("content-length"), reply.body.len().to_string());
        reply = post(&gateway, "/sessions/s/join", reply.body).await.ok();
        assert!(reply.explain().contains("carry-in=opened; carry-out=sealed"), "{}", reply.explain());
        assert_eq!(value(server.last().text()), value(NEW), "the server sees its own record, and no carry");
        assert_eq!((gateway.counts().opened, gateway.counts().sealed), (round, round + 1));
    }
    // Of a record that streams, too.
    let large = NEW.replace("\"schema\"", &format!("\"x\":\"{}\",\"schema\"", "x".repeat(100 << 10)));
    let reply = post(&gateway, "/sessions/s/join", large.clone()).await.ok();
    sealed(reply.text());
    post(&gateway, "/sessions/s/join", reply.body).await.ok();
    assert!(value(server.last().text()) == value(&large));
    assert_eq!((gateway.counts().stripped, gateway.counts().opened), (0, 4));
}

#[tokio::test]
async fn without_a_client_version_a_carry_is_sealed_and_opened_for_the_next_server() {
    let keys = Keys::new("next");
    let (old, new) = (Upstream::echo().await, Upstream::echo().await);
    let gateway = sealing(&format!("{RULES}{BODY}{}", keys.text(&["first"])), &old, "1");
    let reply = post(&gateway, "/sessions/s/join", NEW).await.ok();
    assert!(old.last().text().contains("\"_unskew\":{\"unskew\":1,"), "servers see it as it is: {}", old.last().text());
    sealed(reply.text());
    gateway.set_servers(&[new.entry("2")]).unwrap();
    assert_eq!(value(post(&gateway, "/sessions/s/join", reply.body).await.ok().text()), value(NEW));
    assert_eq!(value(new.last().text()), value(NEW));
}

#[tokio::test]
async fn a_carry_in_a_header_is_sealed_and_opened() {
    let keys = Keys::new("header");
    let server = Upstream::answering(|seen| {
        let mut response = json("{}");
        for record in seen.headers.get_all("x-record") {
            response.headers_mut().append("x-record", record.clone());
            response.headers_mut().append("x-record", record.clone());
        }
        response
    })
    .await;
    let text = format!(
        "{RULES}[record]\nclient_version = \"1\"\nheader = {{ name = \"X-Record\", encoding = \"base64\" }}\n{}",
        keys.text(&["first"])
    );
    let gateway = sealing(&text, &server, "2");
    let mut record = NEW.to_string();
    for _ in 0..2 {
        let request =
            Request::builder().method("POST").uri("/sessions/s/join").header("x-record", STANDARD.encode(&record));
        // Only the first is looked at, and only the first goes on.
        let request = request.header("x-record", STANDARD.encode(r#"{"sid":"s","_unskew":{}}"#));
        let reply = Client::connect(gateway.address()).await.send(request, sized("")).await.ok();
        let seen: Vec<_> = server.last().headers.get_all("x-record").iter().cloned().collect();
        assert_eq!(seen.len(), 1);
        assert_eq!(value(std::str::from_utf8(&STANDARD.decode(&seen[0]).unwrap()).unwrap()), value(NEW));
        assert_eq!(reply.headers.get_all("x-record").iter().count(), 1);
        record = String::from_utf8(STANDARD.decode(reply.header("x-record")).unwrap()).unwrap();
        sealed(&record);
    }
    assert_eq!((gateway.counts().opened, gateway.counts().stripped), (1, 0));
}

#[tokio::test]
async fn a_carry_that_is_not_this_sessions_is_taken_out_and_the_request_is_served() {
    let keys = Keys::new("forged");
    let text = format!("{RULES}[record.body]\nrequest = \"\"\n{}", keys.text(&["first"]));
    let (old, new, stranger) = (Upstream::echo().await, Upstream::echo().await, Upstream::echo().await);
    let (same, other, unknown) = (sealing(&text, &old, "1"), sealing(&text, &new, "2"), sealing(&text, &stranger, ""));
    // A genuine one, to be tampered with.
    let record = Runtime::new(&inline_pack()).unwrap().translate(NEW.as_bytes(), b"", "2", "1").unwrap().record;
    let carry = value(std::str::from_utf8(&record).unwrap())["_unskew"].to_string();
    let seal = Seal::new([FIRST]).unwrap();
    let genuine = seal.seal("s", "_unskew", carry.as_bytes());
    let tampered = genuine.replacen(&genuine[60..61], if &genuine[60..61] == "A" { "B" } else { "A" }, 1);
    let foreign = Seal::new([SECOND]).unwrap().seal("s", "_unskew", carry.as_bytes());
    let oversized = seal.seal("s", "_unskew", &[b' '; 16385]);
    let members = [
        format!("\"_unskew\":{FORGED}"),
        format!("\"_unskew\":{carry}"),
        format!("\"\\u005funskew\":{carry}"),
        format!("\"_unskew\":\"{tampered}\""),
        format!("\"_unskew\":\"{foreign}\""),
        format!("\"_unskew\":\"{}\"", seal.seal("t", "_unskew", carry.as_bytes())),
        format!("\"_unskew\":\"{oversized}\""),
        format!("\"_unskew\":\"{genuine}\",\"_unskew\":{FORGED}"),
        "\"_unskew\":\"\"".to_string(),
        "\"_unskew\":null".to_string(),
    ];
    let mut count = 0;
    for ballast in [0, 100 << 10] {
        let clean = format!("{{\"sid\":\"s\",  \"n\":1.50,\"x\":\"{}\",\"legacy\":\"\"}}", "x".repeat(ballast));
        for member in &members {
            count += 1;
            let body = clean.replace(",\"legacy\"", &format!(",{member},\"legacy\""));
            let streams = ballast > 0; // its head is sent before the body is there
            for gateway in [&same, &other] {
                let reply = post(gateway, "/sessions/s/join", body.clone()).await.ok();
                assert_eq!(gateway.counts().stripped, count, "{member}");
                assert!(streams || reply.explain().contains("; carry-in=stripped"), "{}", reply.explain());
            }
            assert!(old.last().text() == clean, "{member}: all other bytes stay");
            if streams {
                post(&unknown, "/sessions/s/join", body.clone()).await.ok();
                assert!(stranger.last().text() == clean, "{member}: whatever version the server is of");
            }
            assert_eq!(value(new.last().text())["bitrate"], 3000, "{member}: the default, not what a carry says");
            assert!(!new.last().text().contains("_unskew\":\""), "{member}");
        }
    }
    // The genuine one does what the others would.
    let body = format!("{{\"sid\":\"s\",\"_unskew\":\"{genuine}\",\"legacy\":\"\"}}");
    post(&other, "/sessions/s/join", body.clone()).await.ok();
    assert_eq!(value(new.last().text())["bitrate"], 9000);
    // A request that names no session has none to be opened for.
    post(&other, "/by-query", body).await.ok();
    assert_eq!((value(new.last().text())["bitrate"].as_u64(), other.counts().stripped), (Some(3000), count + 1));
}

#[tokio::test]
async fn a_record_that_can_not_be_looked_into_is_refused_whatever_else_passes() {
    let keys = Keys::new("unread");
    let server = Upstream::echo().await;
    let text = |pointer: &str| {
        format!(
            "{RULES}[record.body]\nrequest = \"{pointer}\"\n[policy]\non_call_failure = \"open\"\n{}",
            keys.text(&["first"])
        )
    };
    let (whole, inner) = (sealing(&text(""), &server, "1"), sealing(&text("/r"), &server, "1"));
    let record = format!("{{\"sid\":\"s\",\"_unskew\":{FORGED}}}");
    let twice = format!("{{\"r\":{record},\"x\":\"{}\",\"r\":{record}}}", "x".repeat(100));
    for body in [format!("\u{feff}{record}"), record.replace("{\"sid\"", "{/**/\"sid\"")] {
        assert_eq!(post(&whole, "/sessions/s/join", body).await.problem()["reason"], "bad-record");
    }
    for body in [twice.clone().into_bytes(), [format!("{{\"r\":{record},\"x\":\"").as_bytes(), b"\xff\"}"].concat()] {
        assert_eq!(post(&inner, "/sessions/s/join", body).await.problem()["reason"], "bad-record");
    }
    let request = Request::builder().method("POST").uri("/sessions/s/join").header("content-encoding", "gzip");
    let reply = Client::connect(whole.address()).await.send(request, sized(record.clone())).await;
    assert_eq!(reply.problem()["reason"], "bad-record");
    let endless = record.replace("\"s\"", &format!("\"{}\"", "x".repeat(2 << 20)));
    assert_eq!(post(&whole, "/sessions/s/join", endless).await.problem()["reason"], "record-too-large");
    assert!(server.seen().iter().all(|seen| !seen.text().contains("unskew")), "no server got it");
}

#[tokio::test]
async fn no_answer_shows_a_carry() {
    let keys = Keys::new("answers");
    let text = format!("{RULES}{BODY}{}[record]\nclient_version = \"1\"\n", keys.text(&["first"]));
    // What the server's answer is, the path's last part says; its record holds a carry.
    let record = format!("{{\"sid\":\"s\",\"_unskew\":{FORGED}}}");
    let server = Upstream::answering(move |seen| {
        let mut response = Response::new(Full::new(record.clone().into()));
        match seen.path.rsplit('=').next() {
            Some("error") => *response.status_mut() = http::StatusCode::CONFLICT,
            Some("gzip") => drop(response.headers_mut().insert("content-encoding", HeaderValue::from_static("gzip"))),
            Some("text") => return Response::new(Full::new("well done".into())),
            Some("twice") => return json(&record.replace("}}", "},\"_unskew\":7}")),
            _ => {}
        }
        response
    })
    .await;
    let gateway = sealing(&text, &server, "1");
    let own = |id: &str| format!("{{\"sid\":\"{id}\",\"legacy\":\"\"}}");
    for (id, status) in [("plain", 200), ("error", 409)] {
        let reply = post(&gateway, &format!("/by-query?id={id}"), own(id)).await;
        assert_eq!(reply.status.as_u16(), status, "{reply:?}");
        let opened = Seal::new([FIRST]).unwrap().inward(id, &member(), &reply.body).unwrap();
        assert!(matches!(opened, Crossing::Opened(record) if record.ends_with(format!("{FORGED}}}").as_bytes())));
    }
    assert_eq!(post(&gateway, "/by-query?id=text", own("text")).await.ok().text(), "well done");
    // What can't be sealed isn't sent, or not with the answer.
    assert_eq!(post(&gateway, "/by-query?id=gzip", own("gzip")).await.problem()["reason"], "bad-answer");
    let nobody = post(&gateway, "/by-query", own("nobody")).await;
    assert_eq!(nobody.problem()["reason"], "bad-answer");
    assert_eq!(post(&gateway, "/by-query?id=twice", own("twice")).await.problem()["reason"], "bad-answer");
    let lossy = sealing(&format!("{text}[policy]\nmax_loss = \"lossy\"\n"), &server, "1");
    assert_eq!(post(&lossy, "/by-query", own("nobody")).await.ok().text(), "{\"sid\":\"s\"}");
}

#[tokio::test]
async fn keys_are_changed_without_losing_a_carry() {
    let keys = Keys::new("rotation");
    let server = Upstream::echo().await;
    let gateway = |names: &[&str]| {
        sealing(&format!("{RULES}{BODY}{}[record]\nclient_version = \"1\"\n", keys.text(names)), &server, "2")
    };
    let (before, between, after) = (gateway(&["first"]), gateway(&["second", "first"]), gateway(&["second"]));
    let restored = || value(server.last().text())["bitrate"] == 9000;
    let of_first = post(&before, "/sessions/s/join", NEW).await.ok().body;
    let of_second = post(&between, "/sessions/s/join", of_first.clone()).await.ok().body;
    assert!(restored(), "the old key still opens");
    post(&after, "/sessions/s/join", of_second.clone()).await.ok();
    assert!(restored(), "the new one has sealed");
    post(&after, "/sessions/s/join", of_first).await.ok();
    assert!(!restored() && after.counts().stripped == 1, "a key that is gone opens nothing");
    post(&before, "/sessions/s/join", of_second).await.ok();
    assert!(!restored() && before.counts().stripped == 1);
}

#[tokio::test]
async fn without_keys_a_pack_swapped_in_past_the_gateway_is_not_served_by() {
    let server = Upstream::echo().await;
    let runtime = Runtime::empty().unwrap();
    let gateway =
        Gateway::start(config(&format!("{RULES}{BODY}"), &[server.entry("1")]), runtime.clone(), None).unwrap();
    runtime.swap(&inline_pack()).unwrap();
    let reply = post(&gateway, "/sessions/s/join", NEW).await;
    assert_eq!((reply.status.as_u16(), reply.problem()["reason"].as_str()), (503, Some("no-rules")));
    assert!(reply.text().contains("[seal]") && server.seen().is_empty(), "{}", reply.text());
}

#[test]
fn keys_that_can_not_be_used_are_told_by_their_place_and_never_shown() {
    let keys = Keys::new("unusable");
    std::fs::write(keys.0.join("short"), "0123456789012345678901234567890\n").unwrap();
    let start = |text: &str| Gateway::start(config(text, &[]), Runtime::empty().unwrap(), None).map(drop).unwrap_err();
    let error = start(&keys.text(&["first", "short"])).to_string();
    assert!(
        error.ends_with("/short: key 2 has 31 bytes: at least 32 are needed") && !error.contains("0123"),
        "{error}"
    );
    let error = start(&keys.text(&["none"])).to_string();
    assert!(error.contains("/none: can't be read"), "{error}");
    assert!(start("[seal]\nkeys = []\n").to_string().contains("/seal/keys: no key"));
    assert!(start("[seal]\nkeys = [{}]\n").to_string().contains("/seal/keys/0: say file or env"));
    assert!(
        start("[seal]\nkeys = [{ env = \"UNSKEW_NOT_SET\" }]\n").to_string().contains("UNSKEW_NOT_SET: can't be read")
    );
}

#[tokio::test]
async fn a_program_takes_keys_from_files_beside_its_configuration_and_from_its_environment() {
    let keys = Keys::new("program");
    std::fs::write(keys.0.join("pack.toml"), PACK.replace("[policy]", "[policy]\ncarry = \"inline\"")).unwrap();
    let server = Upstream::echo().await;
    let address = dead_address();
    let text = format!(
        "listen = \"{address}\"\npack = \"pack.toml\"\n[[server]]\naddress = \"{}\"\nversion = \"2\"\n{RULES}{BODY}[record]\nclient_version = \"1\"\n[seal]\nkeys = [{{ env = \"UNSKEW_KEY\" }}, {{ file = \"second\" }}]\n",
        server.address
    );
    std::fs::write(keys.0.join("unskew.toml"), text).unwrap();
    let program = |key: &str| {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_unskew"));
        program.args(["serve", "--config"]).arg(keys.0.join("unskew.toml")).env("UNSKEW_KEY", key);
        program.stdout(std::process::Stdio::null());
        program
    };
    let refused = program("too short a secret").output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && said.contains("environment variable UNSKEW_KEY: key 1 has 18 bytes"),
        "{said}"
    );
    assert!(!said.contains("too short"), "{said}");
    let log = std::fs::File::create(keys.0.join("log")).unwrap();
    let mut serving = program(FIRST).env("RUST_LOG", "trace").stderr(log).spawn().unwrap();
    until("it listens", || std::net::TcpStream::connect(address).is_ok()).await;
    let request = Request::builder().method("POST").uri("/sessions/s/join");
    let reply = Client::connect(address).await.send(request, sized(NEW)).await.ok();
    serving.kill().unwrap();
    serving.wait().unwrap();
    assert!(Seal::new([FIRST]).unwrap().open("s", "_unskew", &sealed(reply.text())).is_some());
    let log = std::fs::read_to_string(keys.0.join("log")).unwrap();
    assert!(!log.contains(FIRST) && !log.contains(SECOND) && !log.is_empty());
}
