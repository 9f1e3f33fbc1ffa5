//! Requests without a pause, of which none may fail.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use tokio::task::JoinHandle;

use crate::support::{Client, sized};

/// Clients that send one join after the other. The bitrate of an answer tells by which pack it was translated.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    newest: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Result<(), String>>>,
}

/// How clients connect.
#[derive(Clone, Copy)]
pub(crate) enum Connections {
    /// One for all requests of a client, until the surface closes it.
    Kept,
    /// One for each request: a connection that the surface closes while it is idle is no failure.
    OneEach,
}

impl Load {
    pub(crate) fn begin(address: SocketAddr, clients: usize, connections: Connections) -> Load {
        let (stop, served, newest) = (Arc::default(), Arc::default(), Arc::default());
        let mut load = Load { stop, served, newest, clients: Vec::new() };
        for _ in 0..clients {
            let (stop, served, newest) = (load.stop.clone(), load.served.clone(), load.newest.clone());
            load.clients.push(tokio::spawn(async move {
                let (mut client, mut last) = (Client::connect(address).await, 0);
                while !stop.load(Ordering::SeqCst) {
                    let request = Request::builder().method("POST").uri("/sessions/t/join");
                    let reply = client.try_send(request, sized(r#"{"sid":"t"}"#)).await;
                    let reply = reply.map_err(|error| format!("no answer: {error}"))?;
                    let record: Option<serde_json::Value> = serde_json::from_slice(&reply.body).ok();
                    // A record of version 1 has none, and counts as served by any.
                    let is_old = record.as_ref().is_some_and(|record| record["sid"] == "t");
                    let bitrate = record.and_then(|record| record["bitrate"].as_u64()).or(is_old.then_some(0));
                    let (200, Some(bitrate)) = (reply.status.as_u16(), bitrate) else {
                        return Err(format!("{reply:?}"));
                    };
                    if bitrate < last {
                        return Err(format!("after an answer by {last} one by {bitrate}"));
                    }
                    last = bitrate;
                    newest.fetch_max(bitrate, Ordering::SeqCst);
                    served.fetch_add(1, Ordering::SeqCst);
                    let closes = reply.header("connection").eq_ignore_ascii_case("close"); // as nginx does after a thousand
                    if closes || matches!(connections, Connections::OneEach) {
                        client = Client::connect(address).await;
                    }
                }
                Ok(())
            }));
        }
        load
    }

    /// Waits until a request was served by the pack of this bitrate.
    pub(crate) async fn reaches(&self, bitrate: u64) {
        self.wait(&format!("a pack with bitrate {bitrate}"), || self.newest.load(Ordering::SeqCst) >= bitrate).await;
    }

    /// Waits until so many more were served.
    pub(crate) async fn serves(&self, more: usize) {
        let goal = self.served.load(Ordering::SeqCst) + more;
        self.wait("more requests", || self.served.load(Ordering::SeqCst) >= goal).await;
    }

    /// Ends it: how many were served, or how one failed.
    pub(crate) async fn end(self) -> Result<usize, String> {
        self.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.await.map_err(|error| error.to_string())??;
        }
        Ok(self.served.load(Ordering::SeqCst))
    }

    /// Waits until something is so, or a request has failed, which `end` tells.
    async fn wait(&self, what: &str, so: impl Fn() -> bool) {
        for _ in 0..15_000 {
            if so() || self.clients.iter().any(JoinHandle::is_finished) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("not within 30 s: {what}");
    }
}
