//! Swaps the configuration's pack when its file changes; a bad one is refused and the old one serves on.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::Gateway;
use super::state::State;
use crate::config::Config;
use crate::contract::CarryPlace;
use crate::error::{LoadError, Problem};
use crate::generation::Generation;
use crate::limits::OnFailure;
use crate::pack::Pack;

/// Editors and deploy tools write a file in several steps; this long after the last one it is read.
const SETTLED: Duration = Duration::from_millis(50);

/// A file that is held open for writing is read all the same once nothing was written for so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether the system says that a file was closed after writing; elsewhere only its size and time can tell.
const TELLS_CLOSING: bool = cfg!(target_os = "linux");

const IRREGULAR: &str = "it is no regular file: write the pack beside it and rename it over";

/// Loads the configuration's pack, logs what came of it, and counts it. None where no pack is configured.
pub(crate) fn reload(state: &State) -> Result<Option<Arc<Generation>>, LoadError> {
    let Some(path) = &state.config.pack else { return Ok(None) };
    let old = state.runtime.generation();
    let before = old.as_ref().map(|generation| generation.id());
    match swap(state, path) {
        Ok(generation) if Some(generation.id()) == before => Ok(Some(generation)),
        Ok(generation) => {
            state.prepare();
            state.counters.swaps.one();
            let manifest = generation.manifest();
            tracing::info!(pack = %manifest.name, pack.revision = manifest.revision, "pack is active");
            warn_of_strangers(state, &generation);
            warn_of_other_shapes(old.as_deref(), &generation);
            Ok(Some(generation))
        }
        Err(error) => {
            state.counters.bad_packs.one();
            for problem in error.to_string().lines() {
                match (before, state.failure.load) {
                    (Some(_), _) => tracing::error!(problem, "pack is refused, the old one serves on"),
                    (None, OnFailure::Open) => tracing::error!(problem, "pack is refused, requests pass untranslated"),
                    (None, OnFailure::Closed) => tracing::debug!(problem, "pack is refused"), // who starts it is told
                }
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
    } else if let Some(generation) = gateway.state.runtime.generation() {
        warn_of_strangers(&gateway.state, &generation);
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

/// Watches the pack's folder, because most tools replace a file rather than write into it. A file that somebody is
/// still writing is left alone until it is closed: its beginning may be a whole pack by itself.
pub(crate) async fn watch(state: Arc<State>) {
    let Some(path) = state.config.pack.clone() else { return };
    let folder = match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => return,
    };
    let changes = Arc::new(Changes::default());
    let (seen, name) = (changes.clone(), path.file_name().map(ToOwned::to_owned));
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
        Ok(event) => {
            let ours = event.paths.iter().any(|path| path.file_name() == name.as_deref());
            seen.note(event.kind, ours);
        }
        Err(_) => seen.woken.notify_one(),
    });
    let watching = watcher.and_then(|mut watcher| watcher.watch(folder, RecursiveMode::NonRecursive).map(|()| watcher));
    let _watcher = match watching {
        Ok(watcher) => watcher,
        Err(error) => {
            return tracing::error!(%error, folder = %folder.display(), "pack can't be watched: use SIGHUP");
        }
    };
    let mut last = read_settled(&path).await.ok();
    // What changed between the first load and the watcher's start is seen here.
    changes.woken.notify_one();
    let (mut first, mut is_there) = (true, true);
    loop {
        changes.quiet().await;
        let now = match read_settled(&path).await {
            Ok(now) => now,
            Err(reason) => {
                if std::mem::replace(&mut is_there, false) {
                    tracing::warn!(%reason, pack = %path.display(), "pack's file can't be read, what is active serves on");
                }
                continue;
            }
        };
        is_there = true;
        if !first && last.as_deref() == Some(&now[..]) {
            continue;
        }
        (first, last) = (false, Some(now));
        let state = state.clone();
        let _ = tokio::task::spawn_blocking(move || reload(&state)).await; // logs what it finds
    }
}

/// What the watcher has seen.
#[derive(Default)]
struct Changes {
    woken: Notify,
    /// Whether the pack's file has been written to and not been closed since.
    being_written: AtomicBool,
}

impl Changes {
    fn note(&self, kind: EventKind, ours: bool) {
        match kind {
            EventKind::Modify(ModifyKind::Data(_)) if ours => self.being_written.store(TELLS_CLOSING, Ordering::SeqCst),
            EventKind::Access(AccessKind::Close(AccessMode::Write)) if ours => {
                self.being_written.store(false, Ordering::SeqCst);
            }
            // Reading the file is an event as well, and must not lead to the next reading.
            EventKind::Access(_) => return,
            // Another file is there now, or none.
            EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) if ours => {
                self.being_written.store(false, Ordering::SeqCst);
            }
            EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => {}
        }
        self.woken.notify_one();
    }

    /// Waits for a change, and then until nothing has changed for a while and nobody is writing.
    async fn quiet(&self) {
        self.woken.notified().await;
        loop {
            while tokio::time::timeout(SETTLED, self.woken.notified()).await.is_ok() {}
            let written = self.being_written.load(Ordering::SeqCst);
            if !written || tokio::time::timeout(PATIENCE, self.woken.notified()).await.is_err() {
                return;
            }
        }
    }
}

/// The bytes of a file whose size and time of change stay as they are for a moment.
async fn read_settled(path: &Path) -> std::io::Result<Vec<u8>> {
    let look = async || {
        let found = tokio::fs::metadata(path).await?;
        if !found.is_file() {
            return Err(std::io::Error::other(IRREGULAR)); // opening a pipe would wait for its writer for ever
        }
        Ok((found.len(), found.modified()?))
    };
    let mut before = look().await?;
    loop {
        tokio::time::sleep(SETTLED).await;
        let now = look().await?;
        if now == before {
            return tokio::fs::read(path).await;
        }
        before = now;
    }
}

/// Says which servers write a version that the active pack doesn't have: nothing is translated for them or from them.
fn warn_of_strangers(state: &State, generation: &Generation) {
    let members = state.members();
    for server in members.fleet.servers() {
        if !server.version.is_empty() && generation.version(&server.version).is_none() {
            tracing::warn!(server = %server.name, version = %server.version, "the active pack doesn't have this server's version: nothing is translated for it");
        }
    }
}

/// Says which versions have another shape than the pack before meant by the same id.
fn warn_of_other_shapes(old: Option<&Generation>, new: &Generation) {
    let Some(old) = old else { return };
    for info in &new.manifest().versions {
        if old.manifest().shape(&info.id).is_some_and(|shape| shape != info.digest) {
            tracing::warn!(version = %info.id, "version has another shape than in the pack before: the directory isn't believed where it speaks of that one");
        }
    }
}

/// The refusal of a pack that does not fit the gateway's carrier.
pub(crate) fn objected(name: &str, message: String) -> LoadError {
    let problem = Problem { place: None, pointer: "/policy/carry".to_string(), message };
    LoadError::Problems { name: name.to_string(), problems: vec![problem] }
}

fn swap(state: &State, path: &Path) -> Result<Arc<Generation>, LoadError> {
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(LoadError::Unreadable { name: path.display().to_string(), reason: IRREGULAR.to_string() });
    }
    let pack = Pack::from_file(path)?;
    let inline =
        serde_json::from_slice::<serde_json::Value>(pack.json()).is_ok_and(|json| json["policy"]["carry"] == "inline");
    if let Some(message) = inline.then(|| state.objection(CarryPlace::Inline)).flatten() {
        return Err(objected(pack.name(), message));
    }
    state.runtime.swap(&pack)
}
