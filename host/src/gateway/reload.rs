//! Watches the files of pack and guest, or a folder of packs, and offers what is in them whenever that changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::Gateway;
use super::intake::Intent;
use super::state::State;
use crate::config::Config;
use crate::error::LoadError;
use crate::generation::Generation;
use crate::guest::Guest;
use crate::pack::{Digest, Pack};
use crate::shelf::{self, Shelf};

/// Editors and deploy tools write a file in several steps; this long after the last one it is read.
const SETTLED: Duration = Duration::from_millis(50);

/// A file that is held open for writing is read all the same once nothing was written for so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether the system says that a file was closed after writing; elsewhere only its size and time can tell.
const TELLS_CLOSING: bool = cfg!(target_os = "linux");

const IRREGULAR: &str = "it is no regular file: write the pack beside it and rename it over";

/// Reads the configuration's pack, and its guest, and offers them. None where no pack is configured.
pub(crate) fn reload(state: &State) -> Result<Option<Arc<Generation>>, LoadError> {
    let Some(path) = &state.config.pack else { return Ok(None) };
    let guest = || {
        let guest = state.config.guest.file.as_ref().map(|file| regular(file).and_then(|()| Guest::from_file(file)));
        guest.transpose()
    };
    let outcome = match path.is_dir() {
        true => guest().map_err(|error| state.refuse(error)).and_then(|guest| newest(state, path, guest.as_ref())),
        false => match regular(path).and_then(|()| Ok((Pack::from_file(path)?, guest()?))) {
            Ok((pack, guest)) => state.offer(guest.as_ref(), &pack, Intent::Supplied),
            Err(error) => Err(state.refuse(error)),
        },
    };
    state.intake.note_source(outcome.as_ref().err().map(ToString::to_string).as_ref());
    outcome.map(Some)
}

/// Offers the packs of a folder, the newest first, until one is taken; what comes after another is offered again when
/// that is active. What was refused isn't offered again until it changes.
fn newest(state: &State, folder: &Path, guest: Option<&Guest>) -> Result<Arc<Generation>, LoadError> {
    let unreadable = |reason: String| LoadError::Unreadable { name: folder.display().to_string(), reason };
    let Shelf { packs, refused } = Shelf::read(folder).map_err(|error| unreadable(error.to_string()))?;
    let mut wrong = None;
    for error in refused {
        if state.intake.is_news(&Digest::of(error.to_string().as_bytes())) {
            wrong = Some(state.refuse(error));
        }
    }
    loop {
        let active = state.runtime.generation();
        let is_newer = |pack: &&Pack| {
            let (order, serves) = (pack.order(), active.as_ref().map(|active| active.manifest()));
            serves.is_none_or(|serves| serves.name != order.name || serves.revision < order.revision)
        };
        let mut taken = None;
        for pack in packs.iter().filter(is_newer) {
            if !state.intake.is_news(&pack.digest()) {
                continue;
            }
            match state.offer(guest, pack, Intent::Supplied) {
                Ok(generation) => {
                    taken = Some(generation);
                    break;
                }
                Err(error) => {
                    if matches!(error, LoadError::TooEarly { .. }) {
                        state.intake.forget_news(&pack.digest());
                    }
                    wrong = Some(error);
                }
            }
        }
        match (taken, active) {
            // It may be what others come after.
            (Some(next), before) if before.as_ref().is_none_or(|before| before.id() != next.id()) => {
                if state.runtime.staged().is_some_and(|staged| staged.id() == next.id()) {
                    return Ok(next); // it waits for its promotion
                }
            }
            (Some(active), _) | (None, Some(active)) => return wrong.map_or(Ok(active), Err),
            (None, None) => {
                return Err(wrong.unwrap_or_else(|| unreadable("there is no pack in this folder".to_owned())));
            }
        }
    }
}

/// Reads the configuration's file again and takes what can change while it runs: the mode and the servers.
pub(crate) fn reread(gateway: &Gateway) {
    let old = &gateway.state.config;
    let Some(path) = &old.file else { return };
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
        gateway.state.warn_of_strangers(&generation);
    }
    let rest = Config {
        mode: old.mode,
        servers: old.servers.clone(),
        listen: old.listen.clone(),
        pack: old.pack.clone(),
        file: old.file.clone(),
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
        _ if path.is_dir() => &*path,
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => return,
    };
    let changes = Arc::new(Changes::default());
    let files = Files::of(&state.config, &path);
    let (seen, ours) = (changes.clone(), files.clone());
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
        Ok(event) => {
            let ours = event.paths.iter().any(|path| ours.has(path));
            seen.note(event.kind, ours);
        }
        Err(_) => seen.woken.notify_one(),
    });
    let others = state.config.guest.file.as_ref().and_then(|file| file.parent()).filter(|other| *other != folder);
    let watching = watcher.and_then(|mut watcher| {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        others.map_or(Ok(()), |other| watcher.watch(other, RecursiveMode::NonRecursive))?;
        Ok(watcher)
    });
    let _watcher = match watching {
        Ok(watcher) => watcher,
        Err(error) => {
            return tracing::error!(%error, folder = %folder.display(), "pack can't be watched: use SIGHUP");
        }
    };
    let mut last = files.read_settled().await.ok();
    // What changed between the first load and the watcher's start is seen here.
    changes.woken.notify_one();
    let (mut first, mut is_there) = (true, true);
    loop {
        changes.quiet().await;
        let now = match files.read_settled().await {
            Ok(now) => now,
            Err(reason) => {
                if std::mem::replace(&mut is_there, false) {
                    tracing::warn!(%reason, pack = %path.display(), "pack's file can't be read, what is active serves on");
                }
                continue;
            }
        };
        if changes.being_written.load(Ordering::SeqCst) {
            continue; // somebody has begun to write since
        }
        is_there = true;
        if !first && last.as_deref() == Some(&now[..]) {
            continue;
        }
        (first, last) = (false, Some(now));
        let state = state.clone();
        let _ = tokio::task::spawn_blocking(move || reload(&state)).await; // logs what it finds
    }
}

/// The files that make up an offer: pack and guest, each with its signature.
#[derive(Clone)]
struct Files {
    /// Where packs come and go.
    folder: Option<PathBuf>,
    needed: Vec<PathBuf>,
    signatures: Vec<PathBuf>,
}

impl Files {
    fn of(config: &Config, pack: &Path) -> Files {
        let (file, folder) = match pack.is_dir() {
            true => (None, Some(pack.to_owned())),
            false => (Some(pack.to_owned()), None),
        };
        let needed: Vec<PathBuf> = [file, config.guest.file.clone()].into_iter().flatten().collect();
        Files { folder, signatures: needed.iter().map(|path| signature(path)).collect(), needed }
    }

    fn has(&self, path: &Path) -> bool {
        let in_folder = || {
            let unsigned = path.with_extension("");
            shelf::is_pack(path)
                || (path.extension().is_some_and(|ending| ending == "minisig") && shelf::is_pack(&unsigned))
        };
        self.needed.iter().chain(&self.signatures).any(|ours| ours.file_name() == path.file_name())
            || (self.folder.is_some() && in_folder())
    }

    /// What lies in them, once none of them changes for a moment. A signature may be missing.
    async fn read_settled(&self) -> std::io::Result<Vec<u8>> {
        let mut all = Vec::new();
        for path in &self.needed {
            all.extend(read_settled(path).await?);
            all.push(0);
        }
        let mut signatures = self.signatures.clone();
        for path in self.folder.iter().map(|folder| shelf::files(folder)).collect::<Result<Vec<_>, _>>()?.concat() {
            // One that is gone by now was not there.
            all.extend(path.as_os_str().as_encoded_bytes());
            all.extend(read_settled(&path).await.unwrap_or_default());
            all.push(0);
            signatures.push(signature(&path));
        }
        for path in &signatures {
            all.extend(read_settled(path).await.unwrap_or_default());
            all.push(0);
        }
        Ok(all)
    }
}

/// Where the signature of a file lies.
fn signature(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(".minisig");
    PathBuf::from(name)
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

/// What is no regular file is never opened: a pipe would wait for its writer for ever.
fn regular(path: &Path) -> Result<(), LoadError> {
    match std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        true => Err(LoadError::Unreadable { name: path.display().to_string(), reason: IRREGULAR.to_string() }),
        false => Ok(()),
    }
}
