//! Active health checks: every server is asked in turn, and the fleet is told when one changes.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::state::State;

/// Checks all servers, again and again; never ends unless checks are switched off.
pub(crate) async fn watch(state: Arc<State>) {
    let config = state.config.health.clone();
    if config.interval_ms == 0 {
        return;
    }
    let mut streaks: HashMap<String, u32> = HashMap::new();
    loop {
        let members = state.members();
        let mut checks = JoinSet::new();
        for (index, server) in members.fleet.servers().iter().enumerate() {
            let (name, address, path) = (server.name.clone(), server.address.clone(), config.path.clone());
            let (healthy, limit) = (members.fleet.is_healthy(index), Duration::from_millis(config.timeout_ms));
            checks.spawn(async move {
                let check = tokio::time::timeout(limit, alive(&address, path.as_deref())).await;
                (name, healthy, matches!(check, Ok(Ok(true))))
            });
        }
        let mut seen = HashMap::new();
        while let Some(Ok((name, healthy, alive))) = checks.join_next().await {
            let streak = if alive == healthy { 0 } else { streaks.get(&name).copied().unwrap_or(0) + 1 };
            let needed = if healthy { config.unhealthy_after } else { config.healthy_after };
            if alive != healthy && streak >= needed {
                tracing::warn!(server = %name, healthy = alive, "server's health has changed");
                state.set_health(&name, alive);
                seen.insert(name, 0);
            } else {
                seen.insert(name, streak);
            }
        }
        streaks = seen;
        tokio::time::sleep(Duration::from_millis(config.interval_ms)).await;
    }
}

async fn alive(address: &str, path: Option<&str>) -> io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    let Some(path) = path else { return Ok(true) };
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nuser-agent: unskew-health\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut status = [0; 12]; // HTTP/1.1 200
    stream.read_exact(&mut status).await?;
    Ok(status.starts_with(b"HTTP/1.") && status[8] == b' ' && status[9] == b'2')
}
