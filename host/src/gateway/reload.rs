//! Swaps the configuration's pack when its file changes; a bad one is refused and the old one serves on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::Gateway;
use super::state::State;
use crate::config::Config;
use crate::contract::CarryPlace;
use crate::error::{LoadError, Problem};
use crate::generation::Generation;
use crate::pack::Pack;

/// Editors and deploy tools write a file in several steps; this long after the last one it is read.
const SETTLED: Duration = Duration::from_millis(50);

/// Loads the configuration's pack, logs what came of it, and counts it. None where no pack is configured.
pub(crate) fn reload(state: &State) -> Result<Option<Arc<Generation>>, LoadError> {
    let Some(path) = &state.config.pack else { return Ok(None) };
    let before = state.runtime.generation().map(|generation| generation.id());
    match swap(state, path) {
        Ok(generation) if Some(generation.id()) == before => Ok(Some(generation)),
        Ok(generation) => {
            state.prepare();
            state.counters.swaps.one();
            let manifest = generation.manifest();
            tracing::info!(pack = %manifest.name, pack.revision = manifest.revision, "pack is active");
            Ok(Some(generation))
        }
        Err(error) => {
            state.counters.bad_packs.one();
            for problem in error.to_string().lines() {
                tracing::error!(problem, "pack is refused, the old one serves on");
            }
            Err(error)
        }
    }
}

/// Reads the configuration's file again and takes what can change while it runs: the mode and the servers.
pub(crate) fn reread(gateway: &Gateway) {
    let old = &gateway.state.config;
    let Some(path) = &old.source else { return };
    let new = match Config::from_file(path) {
        Ok(new) => new,
        Err(error) => {
            for problem in error.to_string().lines() {
                tracing::error!(problem, "configuration is refused, the old one holds");
            }
            return;
        }
    };
    gateway.state.set_mode_key(new.mode);
    if let Err(error) = gateway.set_servers(&new.servers) {
        tracing::error!(%error, "servers are refused, the old ones hold");
    }
    let rest = Config {
        mode: old.mode,
        servers: old.servers.clone(),
        listen: old.listen.clone(),
        pack: old.pack.clone(),
        ..new
    };
    if rest != *old {
        tracing::warn!("only mode and servers are taken from the changed configuration: the rest needs a restart");
    }
}

/// Watches the pack's folder, because most tools replace a file rather than write into it.
pub(crate) async fn watch(state: Arc<State>) {
    let Some(path) = state.config.pack.clone() else { return };
    let folder = match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => return,
    };
    let changed = Arc::new(Notify::new());
    let waker = changed.clone();
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading the file is an event as well, and must not lead to the next reading.
        if event.map_or(true, |event| !event.kind.is_access()) {
            waker.notify_one();
        }
    });
    let watching = watcher.and_then(|mut watcher| watcher.watch(folder, RecursiveMode::NonRecursive).map(|()| watcher));
    let _watcher = match watching {
        Ok(watcher) => watcher,
        Err(error) => {
            return tracing::error!(%error, folder = %folder.display(), "pack can't be watched: use SIGHUP");
        }
    };
    let mut last = tokio::fs::read(&path).await.ok();
    // What changed between the first load and the watcher's start is seen here.
    changed.notify_one();
    let mut first = true;
    loop {
        changed.notified().await;
        while tokio::time::timeout(SETTLED, changed.notified()).await.is_ok() {}
        let Ok(now) = tokio::fs::read(&path).await else { continue };
        if !first && last.as_deref() == Some(&now[..]) {
            continue;
        }
        (first, last) = (false, Some(now));
        let state = state.clone();
        let _ = tokio::task::spawn_blocking(move || reload(&state)).await; // logs what it finds
    }
}

/// The refusal of a pack that does not fit the gateway's carrier.
pub(crate) fn objected(name: &str, message: String) -> LoadError {
    let problem = Problem { place: None, pointer: "/policy/carry".to_string(), message };
    LoadError::Problems { name: name.to_string(), problems: vec![problem] }
}

fn swap(state: &State, path: &Path) -> Result<Arc<Generation>, LoadError> {
    let pack = Pack::from_file(path)?;
    let inline =
        serde_json::from_slice::<serde_json::Value>(pack.json()).is_ok_and(|json| json["policy"]["carry"] == "inline");
    if let Some(message) = inline.then(|| state.objection(CarryPlace::Inline)).flatten() {
        return Err(objected(pack.name(), message));
    }
    state.runtime.swap(&pack)
}
