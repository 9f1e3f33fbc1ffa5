//! The `store` carrier: records rewritten before the joins that need it, and the races around that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use unskew::gateway::Gateway;
use unskew::{CasOutcome, MemoryStore, Runtime, Store, StoreError, Stored, Tag};

use crate::support::*;

const TEXT: &str = r#"
[[create]]
match = "PUT /sessions/{id}"
[[join]]
match = "POST /sessions/{id}/join"
[record.store]
key = "session:{id}"
"#;

const NEW: &str = "{\"session_id\":\"s\",\"bitrate\":9000,\"schema\":2}";
const OLD: &str = "{\"sid\":\"s\",\"legacy\":\"\"}";

/// A store that does something right before an access, counted from 1.
struct Meddling<F> {
    memory: MemoryStore,
    gets: AtomicU32,
    swaps: AtomicU32,
    before: F,
}

enum Access {
    Get(u32),
    Swap(u32),
}

impl<F: Fn(&MemoryStore, Access)> Meddling<F> {
    fn new(memory: &MemoryStore, before: F) -> Arc<Meddling<F>> {
        Arc::new(Meddling { memory: memory.clone(), gets: AtomicU32::new(0), swaps: AtomicU32::new(0), before })
    }
}

#[async_trait]
impl<F: Fn(&MemoryStore, Access) + Send + Sync> Store for Meddling<F> {
    async fn get(&self, key: &str) -> Result<Option<Stored>, StoreError> {
        (self.before)(&self.memory, Access::Get(self.gets.fetch_add(1, Ordering::SeqCst) + 1));
        self.memory.get(key).await
    }

    async fn compare_and_set(&self, key: &str, tag: &Tag, new: Bytes) -> Result<CasOutcome, StoreError> {
        (self.before)(&self.memory, Access::Swap(self.swaps.fetch_add(1, Ordering::SeqCst) + 1));
        self.memory.compare_and_set(key, tag, new).await
    }
}

fn memory(record: &str) -> MemoryStore {
    let memory = MemoryStore::new(1 << 20);
    memory.put("session:s", Bytes::from(record.to_string()), None);
    memory
}

fn rests(memory: &MemoryStore) -> String {
    String::from_utf8(memory.read("session:s").unwrap().bytes.to_vec()).unwrap()
}

/// A server that answers with the record that it finds in the store.
async fn reader(memory: &MemoryStore) -> Upstream {
    let memory = memory.clone();
    Upstream::answering(move |_| json(&rests(&memory))).await
}

async fn join(gateway: &Gateway) -> Reply {
    post(gateway, "/sessions/s/join", "{}").await
}

#[tokio::test]
async fn a_record_is_rewritten_for_an_old_server_and_restored_for_a_new_one() {
    let memory = memory(NEW);
    let server = reader(&memory).await;
    let gateway = ruled(TEXT, &[server.entry("1")], Some(Arc::new(memory.clone())));
    let reply = join(&gateway).await.ok();
    assert_eq!(reply.text(), OLD);
    assert!(
        reply.explain().contains("tier=carried; ") && reply.explain().contains("from=\"2\"; to=\"1\""),
        "{}",
        reply.explain()
    );
    assert_eq!(join(&gateway).await.ok().text(), OLD, "the second join finds it ready");
    assert_eq!(gateway.counts().rewritten, 1);
    gateway.set_servers(&[server.entry("2")]).unwrap();
    let back: serde_json::Value = serde_json::from_slice(&join(&gateway).await.ok().body).unwrap();
    assert_eq!(back, serde_json::from_str::<serde_json::Value>(NEW).unwrap());
    assert_eq!(gateway.counts().rewritten, 2);
}

#[tokio::test]
async fn an_old_servers_edit_survives_and_the_rest_is_restored() {
    let memory = memory(NEW);
    let server = reader(&memory).await;
    let gateway = ruled(TEXT, &[server.entry("1")], Some(Arc::new(memory.clone())));
    join(&gateway).await.ok();
    memory.put("session:s", Bytes::from_static(b"{\"sid\":\"renamed\",\"legacy\":\"\"}"), None);
    gateway.set_servers(&[server.entry("2")]).unwrap();
    let back: serde_json::Value = serde_json::from_slice(&join(&gateway).await.ok().body).unwrap();
    assert_eq!((&back["session_id"], &back["bitrate"]), (&"renamed".into(), &9000.into()));
}

#[tokio::test]
async fn a_rewrite_that_loses_a_race_is_tried_again() {
    let memory = memory(NEW);
    let store = Meddling::new(&memory, |memory, access| {
        if matches!(access, Access::Swap(1)) {
            memory.put("session:s", Bytes::from(NEW.replace("9000", "7000")), None);
        }
    });
    let server = reader(&memory).await;
    let gateway = ruled(TEXT, &[server.entry("1")], Some(store));
    assert_eq!(join(&gateway).await.ok().text(), OLD);
    assert_eq!((gateway.counts().races, gateway.counts().rewritten), (1, 1));
    gateway.set_servers(&[server.entry("2")]).unwrap();
    assert!(join(&gateway).await.ok().text().contains("7000"), "the later write is what was kept");
}

#[tokio::test]
async fn a_record_that_never_stands_still_is_given_up() {
    let memory = memory(NEW);
    let store = Meddling::new(&memory, |memory, access| {
        if matches!(access, Access::Swap(_)) {
            memory.put("session:s", Bytes::from_static(NEW.as_bytes()), None);
        }
    });
    let server = reader(&memory).await;
    let gateway = ruled(TEXT, &[server.entry("1")], Some(store));
    let reply = join(&gateway).await;
    assert_eq!((reply.status.as_u16(), reply.problem()["reason"].as_str()), (503, Some("race")));
    assert_eq!(reply.header("retry-after"), "1");
    assert!(server.seen().is_empty());
    assert_eq!(gateway.counts().races, 4, "one try and three more");
}

#[tokio::test]
async fn a_write_between_decision_and_forwarding_is_seen() {
    // The first look finds an old record, which the server reads; before the second a new server writes a new one.
    let memory = memory(OLD);
    let store = Meddling::new(&memory, |memory, access| {
        if matches!(access, Access::Get(2)) {
            memory.put("session:s", Bytes::from_static(NEW.as_bytes()), None);
        }
    });
    let server = reader(&memory).await;
    let gateway = ruled(TEXT, &[server.entry("1")], Some(store));
    assert_eq!(join(&gateway).await.ok().text(), OLD);
    assert_eq!((gateway.counts().races, gateway.counts().rewritten), (1, 1));
}

#[tokio::test]
async fn a_record_that_is_gone_is_never_made() {
    let memory = memory(NEW);
    let store = Meddling::new(&memory, |memory, access| {
        if matches!(access, Access::Swap(1)) {
            memory.delete("session:s");
        }
    });
    let server = Upstream::named("a").await;
    let gateway = ruled(TEXT, &[server.entry("1")], Some(store));
    join(&gateway).await.ok();
    assert!(memory.read("session:s").is_none());
    join(&gateway).await.ok();
    assert_eq!(gateway.counts().rewritten, 0);
}

#[tokio::test]
async fn joins_at_the_same_time_leave_one_good_record() {
    let memory = memory(NEW);
    let (old, new) = (reader(&memory).await, reader(&memory).await);
    let gateway = Arc::new(ruled(TEXT, &[old.entry("1"), new.entry("2")], Some(Arc::new(memory.clone()))));
    let joins: Vec<_> = (0..40)
        .map(|_| {
            tokio::spawn({
                let gateway = gateway.clone();
                async move { join(&gateway).await.ok().text().to_string() }
            })
        })
        .collect();
    for join in joins {
        assert_eq!(join.await.unwrap(), NEW, "the server of its own version reads it as it is");
    }
    assert_eq!(gateway.counts().translated, 0);
}

#[tokio::test]
async fn a_stored_record_that_is_broken_is_refused_or_passes_by_the_policy() {
    let memory = memory("{\"secret\":1,\"schema\":7}");
    let server = Upstream::named("a").await;
    let closed = ruled(TEXT, &[server.entry("1")], Some(Arc::new(memory.clone())));
    let reply = join(&closed).await;
    assert_eq!((reply.status.as_u16(), reply.problem()["reason"].as_str()), (502, Some("bad-stored-record")));
    assert!(!reply.text().contains("secret"));
    assert!(server.seen().is_empty());
    let open =
        ruled(&format!("{TEXT}\n[policy]\non_call_failure = \"open\""), &[server.entry("1")], Some(Arc::new(memory)));
    join(&open).await.ok();
    assert_eq!(open.counts().passed_open, 1);
}

#[tokio::test]
async fn what_may_not_be_lost_is_not_served() {
    let memory = memory(NEW);
    let server = reader(&memory).await;
    let strict = ruled(
        &format!("{TEXT}\n[policy]\nmax_loss = \"native\""),
        &[server.entry("1")],
        Some(Arc::new(memory.clone())),
    );
    let reply = join(&strict).await;
    assert_eq!((reply.status.as_u16(), reply.problem()["reason"].as_str()), (503, Some("no-server")));
    assert!(!reply.problem()["detail"].as_str().unwrap().is_empty());
    assert_eq!(rests(&memory), NEW);
}

struct Broken;

#[async_trait]
impl Store for Broken {
    async fn get(&self, _: &str) -> Result<Option<Stored>, StoreError> {
        Err(StoreError("no connection".to_string()))
    }

    async fn compare_and_set(&self, _: &str, _: &Tag, _: Bytes) -> Result<CasOutcome, StoreError> {
        Err(StoreError("no connection".to_string()))
    }
}

#[tokio::test]
async fn a_store_that_fails_is_told_or_passed_by_the_policy() {
    let server = Upstream::named("a").await;
    let closed = ruled(TEXT, &[server.entry("1")], Some(Arc::new(Broken)));
    let reply = join(&closed).await;
    assert_eq!((reply.status.as_u16(), reply.problem()["reason"].as_str()), (503, Some("store-failed")));
    let open =
        ruled(&format!("{TEXT}\n[policy]\non_call_failure = \"open\""), &[server.entry("1")], Some(Arc::new(Broken)));
    join(&open).await.ok();
}

#[tokio::test]
async fn the_http_front_reads_writes_compares_and_deletes() {
    let server = Upstream::named("a").await;
    let text = format!("{TEXT}\n[store]\nlisten = \"127.0.0.1:0\"\n");
    let gateway = Gateway::start(config(&text, &[server.entry("1")]), runtime(), None).unwrap();
    let mut client = Client::connect(gateway.store_address().unwrap()).await;
    let put = |tag: Option<&str>| {
        let request = Request::builder().method("PUT").uri("/records/session:s");
        match tag {
            Some(tag) => request.header("if-match", tag),
            None => request,
        }
    };
    let first = client.send(put(None), sized(NEW)).await.ok().header("etag").to_string();
    let found = client.send(Request::builder().uri("/records/session%3As"), sized("")).await.ok();
    assert_eq!((found.text(), found.header("etag")), (NEW, first.as_str()));
    let second = client.send(put(Some(&first)), sized(NEW)).await.ok().header("etag").to_string();
    assert_ne!(first, second);
    assert_eq!(client.send(put(Some(&first)), sized("late")).await.status, 412);
    assert_eq!(client.send(put(Some("nonsense")), sized("late")).await.status, 412);
    // A join through the gateway rewrites what the servers find here.
    post(&gateway, "/sessions/s/join", "{}").await.ok();
    assert_eq!(client.send(Request::builder().uri("/records/session:s"), sized("")).await.ok().text(), OLD);
    let delete = || Request::builder().method("DELETE").uri("/records/session:s");
    assert_eq!(client.send(delete(), sized("")).await.status, 204);
    assert_eq!(client.send(delete(), sized("")).await.status, 404);
    assert_eq!(client.send(put(Some(&second)), sized("late")).await.status, 412);
    assert_eq!(client.send(Request::builder().uri("/elsewhere"), sized("")).await.status, 404);
    assert_eq!(client.send(Request::builder().method("POST").uri("/records/x"), sized("")).await.status, 405);
}

#[tokio::test]
async fn the_http_front_makes_a_record_once_and_takes_no_endless_time() {
    let server = Upstream::named("a").await;
    let text = format!("{TEXT}\n[store]\nlisten = \"127.0.0.1:0\"\n");
    let gateway = Gateway::start(config(&text, &[server.entry("1")]), runtime(), None).unwrap();
    let mut client = Client::connect(gateway.store_address().unwrap()).await;
    let anew = || Request::builder().method("PUT").uri("/records/k").header("if-none-match", "*");
    assert_eq!(client.send(anew(), sized(NEW)).await.status, 201);
    assert_eq!(client.send(anew(), sized(OLD)).await.status, 412);
    assert_eq!(client.send(Request::builder().uri("/records/k"), sized("")).await.ok().text(), NEW);
    let endless = Request::builder().method("PUT").uri("/records/k?ttl_s=18446744073709551615");
    assert_eq!(client.send(endless, sized(OLD)).await.status, 400);
}

#[tokio::test]
async fn without_rules_the_store_is_left_alone() {
    let memory = memory(NEW);
    let server = reader(&memory).await;
    let config = config(TEXT, &[server.entry("1")]);
    let gateway = Gateway::start(config, Runtime::empty().unwrap(), Some(Arc::new(memory.clone()))).unwrap();
    assert_eq!(join(&gateway).await.ok().text(), NEW);
}
