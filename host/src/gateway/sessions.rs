//! What a gateway knows of its sessions: a directory of this process, or one that processes share.

use std::time::Duration;

use super::{StartError, keys};
use crate::config::Config;
use crate::directory::{
    Bounds, Directory, DirectoryLimits, DirectoryLink, DirectoryStatus, Entry, Guard, Redis, Shared,
};

/// A directory of this process, or one that processes share.
pub(crate) enum Sessions {
    Here(Directory),
    Shared(Box<Shared>),
}

impl Sessions {
    /// What the configuration asks for. Nothing runs yet.
    pub(crate) fn of(config: &Config) -> Result<Sessions, StartError> {
        let entry = &config.directory;
        let limits = DirectoryLimits {
            entries: entry.max_sessions,
            bytes: entry.max_bytes,
            idle: Duration::from_secs(entry.ttl_s),
        };
        let Some(url) = &entry.redis else { return Ok(Sessions::Here(Directory::new(&limits))) };
        let place = Redis::read(url).map_err(|message| StartError::Secret(format!("directory.redis: {message}")))?;
        let place = match &entry.password {
            Some(password) => place.with_password(&keys::text("directory.password", password)?),
            None => place,
        };
        let bounds = Bounds {
            limits,
            fresh: Duration::from_millis(entry.fresh_ms),
            away: Duration::from_secs(entry.away_s),
            timeout: Duration::from_millis(entry.timeout_ms),
            prefix: entry.prefix.clone(),
        };
        Ok(Sessions::Shared(Box::new(Shared::new(place, bounds))))
    }

    /// Starts what it needs.
    pub(crate) fn start(&self) -> Result<(), StartError> {
        match self {
            Sessions::Here(_) => Ok(()),
            Sessions::Shared(shared) => shared.start().map_err(StartError::Threads),
        }
    }

    pub(crate) fn status(&self) -> DirectoryStatus {
        match self {
            Sessions::Here(directory) => DirectoryStatus {
                link: DirectoryLink::Here,
                at: None,
                entries: directory.len(),
                asked: 0,
                unanswered: 0,
                unread: 0,
            },
            Sessions::Shared(shared) => shared.status(),
        }
    }

    /// What is known about this session.
    pub(crate) async fn look(&self, session: &str) -> Option<Entry> {
        match self {
            Sessions::Here(directory) => directory.get(session),
            Sessions::Shared(shared) => shared.look(session).await,
        }
    }

    /// The same for who can't wait as a future does: it may block the thread for as long as `directory.timeout_ms` says.
    pub(crate) fn look_now(&self, session: &str) -> Option<Entry> {
        match self {
            Sessions::Here(directory) => directory.get(session),
            Sessions::Shared(shared) => shared.look_now(session),
        }
    }

    /// Notes what is known about this session, if the guard allows it.
    pub(crate) async fn note(&self, session: &str, entry: Entry, guard: Guard) {
        match self {
            Sessions::Here(directory) => note_here(directory, session, entry, guard),
            Sessions::Shared(shared) => shared.note(session, Some(entry), guard).await,
        }
    }

    /// The same for who can't wait as a future does.
    pub(crate) fn note_now(&self, session: &str, entry: Entry, guard: Guard) {
        match self {
            Sessions::Here(directory) => note_here(directory, session, entry, guard),
            Sessions::Shared(shared) => shared.note_now(session, Some(entry), guard),
        }
    }

    /// Forgets the session with its carry.
    pub(crate) async fn forget(&self, session: &str) {
        match self {
            Sessions::Here(directory) => directory.forget(session),
            Sessions::Shared(shared) => shared.note(session, None, Guard::Any).await,
        }
    }
}

fn note_here(directory: &Directory, session: &str, entry: Entry, guard: Guard) {
    let stays = || directory.get(session).is_some_and(|known| !known.carry.is_empty());
    if guard == Guard::Any || !stays() {
        directory.note(session, entry);
    }
}
