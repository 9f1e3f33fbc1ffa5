//! The admin API over real sockets: what it does, and that nobody gets in.

use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use unskew::gateway::Gateway;

use crate::reload::{Folder, NEW, TEXT, revised};
use crate::support::*;

pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A gateway with an admin API, and the folder of its token and state.
pub(crate) struct Administered {
    pub(crate) gateway: Gateway,
    pub(crate) folder: Folder,
    _servers: [Upstream; 2],
}

impl Administered {
    pub(crate) async fn new(name: &str, extra: &str) -> Administered {
        static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let folder = Folder::new(&format!("{name}-{number}"));
        std::fs::write(folder.0.join("token"), format!("{TOKEN}\n")).unwrap();
        folder.write(&revised(1, "r1"));
        let servers = [Upstream::echo().await, Upstream::echo().await];
        let mut config = config(
            &format!(
                "{extra}{TEXT}[admin]\nlisten = \"127.0.0.1:0\"\ntoken = {{ file = {:?} }}\n",
                folder.0.join("token")
            ),
            &[servers[0].entry("1"), servers[1].entry("1")],
        );
        config.servers[0].name = "a".to_owned();
        config.servers[1].name = "b".to_owned();
        config.pack = Some(folder.pack());
        let runtime = unskew::gateway::runtime(&config).unwrap();
        Administered { gateway: Gateway::start(config, runtime, None).unwrap(), folder, _servers: servers }
    }

    async fn ask(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Reply {
        let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {TOKEN}"));
        Client::connect(self.gateway.admin_address().unwrap()).await.send(request, sized(body)).await
    }

    pub(crate) async fn said(&self, method: &str, path: &str, body: Value) -> Value {
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        serde_json::from_slice(&self.ask(method, path, body).await.ok().body).unwrap()
    }

    pub(crate) async fn metrics(&self) -> String {
        self.ask("GET", "/metrics", "").await.ok().text().to_owned()
    }

    /// The refusal of a request.
    pub(crate) async fn refused(&self, method: &str, path: &str, body: Value) -> (StatusCode, String) {
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let reply = self.ask(method, path, body).await;
        assert_eq!(reply.header("content-type"), "application/problem+json");
        let document: Value = serde_json::from_slice(&reply.body).unwrap();
        (reply.status, document["detail"].as_str().unwrap().to_owned())
    }
}

pub(crate) fn push(revision: u32) -> Value {
    json!({"name": "pushed.toml", "pack": revised(revision, &format!("r{revision}"))})
}

#[tokio::test]
async fn a_pack_is_pushed_staged_promoted_and_rolled_back_and_status_tells_it_all() {
    let admin = Administered::new("admin-push", "").await;
    let pushed = admin.said("POST", "/v1/generations", push(2)).await;
    assert_eq!((&pushed["revision"], &pushed["active"], &pushed["changed"]), (&json!(2), &json!(true), &json!(true)));
    assert!(post(&admin.gateway, "/sessions/p1/join", NEW).await.ok().text().contains("r2"), "active when it says so");
    let again = admin.said("POST", "/v1/generations", push(2)).await;
    assert_eq!((&again["changed"], &again["generation"]), (&json!(false), &pushed["generation"]), "idempotent");

    let mut stage = push(3);
    stage["intent"] = json!("stage");
    assert_eq!(admin.said("POST", "/v1/generations", stage).await["active"], json!(false));
    let status = admin.said("GET", "/v1/status", Value::Null).await;
    assert_eq!((&status["active"]["revision"], &status["staged"]["revision"]), (&json!(2), &json!(3)));
    let trial = json!({"record": "{\"session_id\":\"s\",\"schema\":2}", "to": "1", "generation": "staged"});
    let trial = admin.said("POST", "/v1/dry-run", trial).await;
    assert_eq!((&trial["from"], &trial["to"]), (&json!("2"), &json!("1")));
    assert!(trial["record"].as_str().unwrap().contains("r3"), "{trial}");
    assert_eq!(admin.said("POST", "/v1/promote", Value::Null).await["revision"], json!(3));
    assert!(post(&admin.gateway, "/sessions/p2/join", NEW).await.ok().text().contains("r3"));

    let back = admin.said("POST", "/v1/rollback", json!({"reason": "it \u{1b}[31mlooked wrong"})).await;
    assert_eq!(back["revision"], json!(2));
    assert!(post(&admin.gateway, "/sessions/p3/join", NEW).await.ok().text().contains("r2"));
    let status = admin.said("GET", "/v1/status", Value::Null).await;
    let life = status["generations"].as_array().unwrap().iter().find(|life| life["revision"] == 3).unwrap();
    assert_eq!((&life["phase"], &life["reason"]), (&json!("previous"), &json!("it [31mlooked wrong")));
    let (status, detail) = admin.refused("POST", "/v1/generations", push(3)).await;
    assert_eq!((status, detail.contains("it was put aside")), (StatusCode::CONFLICT, true), "{detail}");
    let mut forced = push(3);
    forced["intent"] = json!("force");
    assert_eq!(admin.said("POST", "/v1/generations", forced).await["active"], json!(true));
    assert_eq!(admin.said("GET", "/v1/pack", Value::Null).await["text"], push(3)["pack"]);
}

#[tokio::test]
async fn what_can_not_be_done_says_why_and_changes_nothing() {
    let admin = Administered::new("admin-refused", "").await;
    let bad = json!({"name": "bad.toml", "pack": revised(2, "").replace("rename", "renam")});
    let (status, detail) = admin.refused("POST", "/v1/generations", bad).await;
    assert_eq!((status, detail.starts_with("bad.toml:14:3:")), (StatusCode::UNPROCESSABLE_ENTITY, true), "{detail}");
    for (path, wanted) in
        [("/v1/promote", "nothing is staged"), ("/v1/rollback", "no previous"), ("/v1/discard", "nothing is staged")]
    {
        let (status, detail) = admin.refused("POST", path, Value::Null).await;
        assert_eq!((status, detail.contains(wanted)), (StatusCode::CONFLICT, true), "{detail}");
    }
    for body in [json!({"pack": 1}), json!({"pak": "x"}), json!([]), json!("x")] {
        assert_eq!(admin.refused("POST", "/v1/generations", body).await.0, StatusCode::BAD_REQUEST);
    }
    let (_, detail) = admin.refused("POST", "/v1/dry-run", json!({"record": 7, "secret": "s3cret"})).await;
    assert!(!detail.contains("s3cret"), "{detail}");
    assert_eq!(admin.ask("POST", "/v1/generations", "{").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(admin.ask("POST", "/v1/generations", vec![b' '; 9 << 20]).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(admin.refused("GET", "/v1/nothing", Value::Null).await.0, StatusCode::NOT_FOUND);
    assert_eq!(admin.refused("DELETE", "/v1/status", Value::Null).await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(admin.refused("PUT", "/v1/mode", json!({"mode": "on"})).await.0, StatusCode::BAD_REQUEST);
    assert!(post(&admin.gateway, "/sessions/r1/join", NEW).await.ok().text().contains("r1"));
}

#[tokio::test]
async fn a_drained_server_gets_no_sessions_and_the_last_one_stays() {
    let admin = Administered::new("admin-drain", "").await;
    let fleet = admin.said("PUT", "/v1/fleet/a", json!({"drain": true})).await;
    assert_eq!((&fleet["servers"][0]["drained"], &fleet["servers"][0]["weight"]), (&json!(true), &json!(0)));
    for number in 0..20 {
        let explained = post(&admin.gateway, &format!("/sessions/d{number}/join"), NEW).await.ok();
        assert!(
            explained.explain().contains("server=\"b\"") || explained.explain().contains("b"),
            "{}",
            explained.explain()
        );
    }
    assert_eq!(admin._servers[0].seen().len(), 0, "it gets nothing");
    let (status, detail) = admin.refused("PUT", "/v1/fleet/b", json!({"drain": true})).await;
    assert_eq!((status, detail.contains("the last server")), (StatusCode::CONFLICT, true), "{detail}");
    assert_eq!(admin.refused("PUT", "/v1/fleet/c", json!({"drain": true})).await.0, StatusCode::NOT_FOUND);
    admin.said("PUT", "/v1/fleet/a", json!({"drain": false})).await;
    for number in 0..40 {
        post(&admin.gateway, &format!("/sessions/e{number}/join"), NEW).await.ok();
    }
    assert!(!admin._servers[0].seen().is_empty());
}

#[tokio::test]
async fn every_route_is_in_the_openapi_document_and_nobody_gets_in_without_the_token() {
    let admin = Administered::new("admin-routes", "").await;
    let document = admin.said("GET", "/openapi.json", Value::Null).await;
    let mut routes = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            routes += 1;
            let (path, method) = (path.replace("{server}", "a"), method.to_uppercase());
            let open = path == "/livez" || path == "/readyz";
            let reached = admin.ask(&method, &path, "").await.status;
            assert!(![404, 405].contains(&reached.as_u16()), "{method} {path}: {reached}");
            let tokens: [Option<String>; 8] = [
                None,
                Some(String::new()),
                Some("Bearer".to_owned()),
                Some("Bearer ".to_owned()),
                Some(format!("Bearer {TOKEN}x")),
                Some(format!("Bearer {}", &TOKEN[1..])),
                Some(format!("Basic {TOKEN}")),
                Some(format!("Bearer {}", "x".repeat(3000))),
            ];
            for token in tokens {
                let mut request = Request::builder().method(&*method).uri(&path);
                if let Some(token) = &token {
                    request = request.header("authorization", token);
                }
                let address = admin.gateway.admin_address().unwrap();
                let reply = Client::connect(address).await.send(request, sized("")).await;
                assert_eq!(reply.status == 401, !open, "{method} {path} with {token:?}: {}", reply.status);
            }
            if !open {
                let request = Request::builder().method(&*method).uri(&path).header("origin", "http://evil.example");
                let request = request.header("authorization", format!("Bearer {TOKEN}"));
                let address = admin.gateway.admin_address().unwrap();
                assert_eq!(Client::connect(address).await.send(request, sized("")).await.status, 403);
            }
            // The data port knows nothing of it: servers get the request, as any other.
            let request =
                Request::builder().method(&*method).uri(&path).header("authorization", format!("Bearer {TOKEN}"));
            let reply = Client::connect(admin.gateway.address()).await.send(request, sized("over the data port")).await;
            assert_eq!(reply.text(), "over the data port", "{method} {path}");
        }
    }
    assert!(routes >= 15, "{routes}");
    let doubled = Request::builder().uri("/v1/status");
    let doubled = doubled.header("authorization", format!("Bearer {TOKEN}")).header("authorization", "Bearer x");
    let reply = Client::connect(admin.gateway.admin_address().unwrap()).await.send(doubled, sized("")).await;
    assert_eq!(reply.status, 401);
}

#[tokio::test]
async fn readiness_is_gated_on_an_active_generation() {
    let folder = Folder::new("admin-ready");
    std::fs::write(folder.0.join("token"), TOKEN).unwrap();
    folder.write("no pack");
    let server = Upstream::echo().await;
    let text = format!(
        "{TEXT}[policy]\non_load_failure = \"open\"\n[admin]\nlisten = \"127.0.0.1:0\"\ntoken = {{ file = {:?} }}\n",
        folder.0.join("token")
    );
    let mut config = config(&text, &[server.entry("1")]);
    config.pack = Some(folder.pack());
    let gateway = Gateway::start(config, unskew::Runtime::empty().unwrap(), None).unwrap();
    let ready = async || {
        let mut client = Client::connect(gateway.admin_address().unwrap()).await;
        client.send(Request::builder().uri("/readyz"), sized("")).await.status
    };
    assert_eq!(ready().await, 503);
    folder.write(&revised(1, ""));
    until("the pack is active", || gateway.counts().swaps == 1).await;
    assert_eq!(ready().await, 200);
}

#[tokio::test]
async fn metrics_count_each_pair_of_each_revision_and_no_more_than_lives() {
    let admin = Administered::new("admin-metrics", "").await;
    for number in 0..7 {
        post(&admin.gateway, &format!("/sessions/m{number}/join"), NEW).await.ok();
    }
    let refused = post(&admin.gateway, "/sessions/m/join", "{\"schema\":7}").await;
    assert_eq!(refused.status, 422);
    let text = admin.ask("GET", "/metrics", "").await.ok().text().to_owned();
    let line =
        |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}\n{text}"));
    assert!(line("unskew_translations_total{pack=\"test\",revision=\"1\"").ends_with("from=\"2\",to=\"1\"} 7"));
    let first = line("unskew_translation_duration_seconds_bucket");
    assert!(first.contains("le=\"0.00000025\""), "{first}");
    let infinite = text.lines().find(|line| line.contains("le=\"+Inf\"")).unwrap();
    assert!(infinite.ends_with(" 7"), "{infinite}");
    assert!(line("unskew_failed_calls_total").contains("kind=\"unknown-version\""));
    assert!(line("unskew_routed_total").contains("tier=\"carried\""));
    assert!(line("unskew_gateway_requests_total").ends_with(" 8"));
    // Each name has its type before its first line, and its lines together.
    let mut seen = std::collections::BTreeSet::new();
    for kind in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        assert!(seen.insert(kind.split(' ').next().unwrap().to_owned()), "{kind} twice");
    }
    for revision in 2..12 {
        admin.said("POST", "/v1/generations", push(revision)).await;
        post(&admin.gateway, &format!("/sessions/n{revision}/join"), NEW).await.ok();
    }
    let text = admin.ask("GET", "/metrics", "").await.ok().text().to_owned();
    let alive = text.lines().filter(|line| line.starts_with("unskew_translations_total{")).count();
    assert_eq!(alive, 2, "the active one and the one before:\n{text}");
}

#[tokio::test]
async fn a_roll_back_by_hand_outlives_a_restart() {
    let folder = Folder::new("admin-state");
    let state = format!("state = {:?}\n", folder.0.join("state"));
    let admin = Administered::new("admin-kept", &state).await;
    admin.said("POST", "/v1/generations", push(2)).await;
    admin.said("POST", "/v1/rollback", Value::Null).await;
    // The source now offers what was rolled back.
    admin.folder.write(&revised(2, "r2"));
    until("it is refused", || admin.gateway.counts().bad_packs >= 1).await;
    let Administered { gateway, folder: files, _servers } = admin;
    gateway.stop().await;
    let mut config = config(&format!("{state}{TEXT}"), &[_servers[0].entry("1")]);
    config.pack = Some(files.pack());
    let runtime = unskew::gateway::runtime(&config).unwrap();
    let gateway = Gateway::start(config, runtime, None).unwrap();
    until("it is refused again", || gateway.counts().bad_packs >= 1).await;
    assert!(post(&gateway, "/sessions/k/join", NEW).await.ok().text().contains("r1"));
}
