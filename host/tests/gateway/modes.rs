//! The switch: off, observe, enforce.

use std::sync::Arc;

use bytes::Bytes;
use unskew::{MemoryStore, Mode};

use crate::support::*;

const NEW: &str = "{\"session_id\":\"s\",\"bitrate\":9000,\"schema\":2}";
const TEXT: &str = "mode = \"off\"\n[[join]]\nmatch = \"POST /sessions/{id}/join\"\n";

#[tokio::test]
async fn the_switch_is_thrown_while_it_runs() {
    let server = Upstream::echo().await;
    let gateway = ruled(&format!("{TEXT}[record.body]\nrequest = \"\"\n"), &[server.entry("1")], None);
    assert_eq!(gateway.mode(), Mode::Off);
    let reply = post(&gateway, "/sessions/s/join", NEW).await.ok();
    assert_eq!(reply.text(), NEW);
    assert!(reply.explain().contains("mode=off"), "{}", reply.explain());
    assert_eq!((gateway.counts().joins, gateway.counts().would_translate), (0, 0));
    gateway.set_mode(Mode::Observe);
    let reply = post(&gateway, "/sessions/s/join", NEW).await.ok();
    assert_eq!(reply.text(), NEW);
    assert_eq!((gateway.counts().would_translate, gateway.counts().translated), (1, 0));
    assert_eq!(post(&gateway, "/sessions/s/join", "{\"schema\":7}").await.ok().text(), "{\"schema\":7}");
    assert_eq!((gateway.counts().would_refuse, gateway.counts().refused), (1, 0));
    gateway.set_mode(Mode::Enforce);
    assert_ne!(post(&gateway, "/sessions/s/join", NEW).await.ok().text(), NEW);
    assert_eq!(gateway.counts().translated, 1);
    gateway.set_mode(Mode::Off);
    assert_eq!(post(&gateway, "/sessions/s/join", NEW).await.ok().text(), NEW);
}

#[tokio::test]
async fn observing_changes_nothing_in_the_store() {
    let memory = MemoryStore::new(1 << 20);
    memory.put("session:s", Bytes::from_static(NEW.as_bytes()), None);
    let server = Upstream::named("a").await;
    let gateway = ruled(&format!("{TEXT}[record.store]\n"), &[server.entry("1")], Some(Arc::new(memory.clone())));
    gateway.set_mode(Mode::Observe);
    post(&gateway, "/sessions/s/join", "{}").await.ok();
    assert_eq!(memory.read("session:s").unwrap().bytes, NEW);
    assert_eq!(gateway.counts().would_translate, 1);
}
