//! Packs that mean another shape by a version's id, swapped in while the directory knows sessions of it.

use unskew::gateway::Gateway;
use unskew::{Pack, Runtime};

use crate::support::*;

/// The pack of the tests, in this revision; `marker` is what records of version 2 are told by.
fn pack(revision: u32, marker: &str) -> Pack {
    let text = PACK
        .replace("revision = 1", &format!("revision = {revision}"))
        .replace("marker = { path = \"/schema\", value = 2 }", &format!("marker = {marker}"));
    Pack::from_toml("test.toml", &text).unwrap()
}

const ONE_SHAPE: &str = "{ path = \"/schema\", value = 2 }";
const ANOTHER: &str = "{ path = \"/schema\", value = \"two\" }";

async fn joined(gateway: &Gateway, session: &str, record: &str) -> Reply {
    post(gateway, &format!("/sessions/{session}/join"), record.to_string()).await
}

#[tokio::test]
async fn what_the_directory_knows_of_another_shape_is_not_believed() {
    let (old, new) = (Upstream::named("old").await, Upstream::named("new").await);
    let runtime = Runtime::new(&pack(1, ONE_SHAPE)).unwrap();
    // No carrier: only the directory knows which version a session has.
    let text = "[[create]]\nmatch = \"POST /sessions/{id}\"\n[[join]]\nmatch = \"POST /sessions/{id}/join\"\n";
    let gateway = Gateway::start(config(text, &[new.entry("2")]), runtime.clone(), None).unwrap();
    post(&gateway, "/sessions/s", "{}").await.ok();
    gateway.set_servers(&[old.entry("1")]).unwrap();
    assert_eq!(joined(&gateway, "s", "{}").await.problem()["reason"], "no-server", "it is known to be of version 2");
    // Another revision of the same shape changes nothing.
    runtime.swap(&pack(2, ONE_SHAPE)).unwrap();
    assert_eq!(joined(&gateway, "s", "{}").await.problem()["reason"], "no-server");
    assert_eq!(gateway.counts().other_shapes, 0);
    runtime.swap(&pack(3, ANOTHER)).unwrap();
    let reply = joined(&gateway, "s", "{}").await.ok();
    assert!(reply.text().contains("old") && reply.explain().contains("tier=unknown"), "{}", reply.explain());
    assert_eq!(gateway.counts().other_shapes, 1);
    // What is noted from now on is believed, and what was noted before is again when its shape comes back.
    gateway.set_servers(&[new.entry("2")]).unwrap();
    post(&gateway, "/sessions/t", "{}").await.ok();
    gateway.set_servers(&[old.entry("1")]).unwrap();
    assert_eq!(joined(&gateway, "t", "{}").await.problem()["reason"], "no-server");
    assert_eq!(gateway.counts().other_shapes, 1);
    runtime.swap(&pack(4, ONE_SHAPE)).unwrap();
    assert_eq!(joined(&gateway, "s", "{}").await.problem()["reason"], "no-server");
    joined(&gateway, "t", "{}").await.ok();
    assert_eq!(gateway.counts().other_shapes, 2);
}

#[tokio::test]
async fn a_record_that_can_be_seen_decides_and_its_carry_stays() {
    let (old, new) = (Upstream::echo().await, Upstream::echo().await);
    let runtime = Runtime::new(&pack(1, ONE_SHAPE)).unwrap();
    let text = "[[join]]\nmatch = \"POST /sessions/{id}/join\"\n[record.body]\nrequest = \"\"\n";
    let gateway = Gateway::start(config(text, &[new.entry("2")]), runtime.clone(), None).unwrap();
    // Version 2 can't hold `legacy`: the directory keeps it, for a session of version 2.
    joined(&gateway, "s", "{\"sid\":\"s\",\"legacy\":\"L\"}").await.ok();
    assert!(!new.last().text().contains("legacy"), "{}", new.last().text());
    runtime.swap(&pack(2, ANOTHER)).unwrap();
    gateway.set_servers(&[old.entry("1")]).unwrap();
    // The record is what it is found to be, and the op that has kept its value is the same.
    let record = new.last().text().replace("\"schema\":2", "\"schema\":\"two\"");
    let reply = joined(&gateway, "s", &record).await.ok();
    assert_eq!(reply.text(), "{\"sid\":\"s\",\"legacy\":\"L\"}");
    assert!(reply.explain().contains("from=\"2\"; to=\"1\""), "{}", reply.explain());
    assert_eq!(gateway.counts().other_shapes, 1);
    // One of the old shape is of no version that the pack knows.
    let reply = joined(&gateway, "s", "{\"session_id\":\"s\",\"schema\":2}").await;
    assert_eq!(reply.problem()["reason"], "bad-record");
}
