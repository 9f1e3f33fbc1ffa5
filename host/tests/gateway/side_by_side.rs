//! Gateways on different revisions side by side: the order in which packs are taken, and records that one has carried.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};
use unskew::{MemoryStore, Pack, Runtime, Store};

use crate::admin::{Administered, push};
use crate::reload::NEW;
use crate::support::*;

const STORED: &str = "[[join]]\nmatch = \"POST /sessions/{id}/join\"\n[record.store]\nkey = \"session:{id}\"\n[health]\ninterval_ms = 0\n";

/// The tests' pack with its carry in the record; the second revision has another op beside.
fn pack(revision: u32) -> Pack {
    let text = PACK.replace("revision = 1", &format!("revision = {revision}"));
    let text = text.replace("[policy]", "[policy]\ncarry = \"inline\"");
    let more = if revision > 1 { "  { rename = \"/nick\", to = \"name\" },\n]" } else { "]" };
    Pack::from_toml("shared.toml", &text.replacen("\n]", &format!("\n{more}"), 1)).unwrap()
}

/// Joins through a gateway of this revision that has a server of this version alone; answers what is stored then.
async fn join(store: &Arc<dyn Store>, server: &Upstream, revision: u32, version: &str) -> Value {
    let runtime = Runtime::new(&pack(revision)).unwrap();
    let config = config(STORED, &[server.entry(version)]);
    let gateway = unskew::gateway::Gateway::start(config, runtime, Some(store.clone())).unwrap();
    post(&gateway, "/sessions/s/join", "{}").await.ok();
    let stored = store.get("session:s").await.unwrap().unwrap();
    serde_json::from_slice(&stored.bytes).unwrap()
}

#[tokio::test]
async fn what_a_gateway_of_one_revision_has_carried_comes_back_by_one_of_another() {
    let server = Upstream::echo().await;
    for (first, second) in [(1, 2), (2, 1), (1, 1), (2, 2)] {
        let memory = MemoryStore::new(1 << 20);
        let born = json!({"session_id": "s", "bitrate": 4321, "schema": 2});
        memory.put("session:s", born.to_string().into(), None);
        let store: Arc<dyn Store> = Arc::new(memory);
        let down = join(&store, &server, first, "1").await;
        assert_eq!((&down["sid"], &down["bitrate"]), (&json!("s"), &Value::Null), "{first}");
        assert!(down["_unskew"].is_object() || down["_unskew"].is_string(), "{down}");
        let up = join(&store, &server, second, "2").await;
        assert_eq!(up, born, "carried by revision {first}, restored by revision {second}");
    }
}

#[tokio::test]
async fn a_pack_is_taken_after_the_one_that_it_comes_after() {
    let admin = Administered::new("order", "").await;
    let ordered = |revision: u32, after: u32| {
        let mut push = push(revision);
        let text = push["pack"]
            .as_str()
            .unwrap()
            .replace("\n[[version]]\nid = \"1\"", &format!("\nafter = {after}\n[[version]]\nid = \"1\""));
        assert!(text.contains("after = "), "{text}");
        push["pack"] = json!(text);
        push
    };
    for intent in ["activate", "stage"] {
        let mut early = ordered(3, 2);
        early["intent"] = json!(intent);
        let (status, detail) = admin.refused("POST", "/v1/generations", early).await;
        assert_eq!(status, StatusCode::CONFLICT);
        assert!(detail.contains("revision 3 comes after revision 2, and revision 1 is active"), "{detail}");
    }
    let status = admin.said("GET", "/v1/status", Value::Null).await;
    let early = status["generations"].as_array().unwrap().iter().find(|life| life["revision"] == 3).unwrap();
    assert_eq!(early["phase"], json!("refused"));
    assert!(early["reason"].as_str().unwrap().contains("comes after revision 2"), "{early}");
    assert!(post(&admin.gateway, "/sessions/o1/join", NEW).await.ok().text().contains("r1"));
    admin.said("POST", "/v1/generations", push(2)).await;
    assert_eq!(admin.said("POST", "/v1/generations", ordered(3, 2)).await["active"], json!(true));
    // A person may know better.
    let mut forced = ordered(9, 8);
    forced["intent"] = json!("force");
    assert_eq!(admin.said("POST", "/v1/generations", forced).await["active"], json!(true));
}

#[tokio::test]
async fn what_a_source_holds_too_early_is_taken_when_its_time_has_come() {
    let admin = Administered::new("held", "").await;
    let early =
        push(3)["pack"].as_str().unwrap().replace("\n[[version]]\nid = \"1\"", "\nafter = 2\n[[version]]\nid = \"1\"");
    admin.folder.write(&early);
    until("it is refused", || admin.gateway.counts().bad_packs == 1).await;
    let status = admin.said("GET", "/v1/status", Value::Null).await;
    assert!(status.to_string().contains("comes after revision 2"), "{status}");
    admin.said("POST", "/v1/generations", push(2)).await;
    until("what was held is active", || admin.gateway.counts().swaps == 3).await;
    assert!(post(&admin.gateway, "/sessions/h1/join", NEW).await.ok().text().contains("r3"));
    let status = admin.said("GET", "/v1/status", Value::Null).await;
    assert!(!status["source"].to_string().contains("comes after"), "{status}");
}
