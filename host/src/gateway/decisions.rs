//! The decision log: one JSON object a line for each request that was forwarded, by a thread of its own.
//!
//! A session stands in it as a digest. Records stand in it only where the configuration says so, with the values at its
//! `mask` replaced; a record that can't be masked, because it is no JSON, stays out. What can't be written in time is
//! dropped and counted: no request waits for a disk.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::StartError;
use super::request::Ctx;
use crate::config::DecisionsEntry;
use crate::generation::Generation;
use crate::moment;
use crate::pack::Digest;

/// Lines that wait for the disk at most.
const WAITING: usize = 4096;

/// A line is on the disk this long after its request at most.
const FLUSH: Duration = Duration::from_millis(200);

/// The log, open.
pub(crate) struct Decisions {
    entry: DecisionsEntry,
    lines: SyncSender<Value>,
    seen: AtomicU64,
    dropped: AtomicU64,
}

impl Decisions {
    /// Opens the file for appending.
    pub(crate) fn open(entry: &DecisionsEntry) -> Result<Decisions, StartError> {
        let refused = |reason| StartError::State { folder: entry.file.display().to_string(), reason };
        let file = OpenOptions::new().create(true).append(true).open(&entry.file).map_err(refused)?;
        let (lines, waiting) = sync_channel(WAITING);
        let writer = std::thread::Builder::new().name("unskew-decisions".into());
        writer.spawn(move || write(&waiting, file)).map_err(StartError::Threads)?;
        Ok(Decisions { entry: entry.clone(), lines, seen: AtomicU64::new(0), dropped: AtomicU64::new(0) })
    }

    /// How many lines were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Notes a request that was forwarded, if it is its turn.
    pub(crate) fn note(&self, ctx: &Ctx) {
        let Some(placed) = &ctx.placed else { return };
        if !self.seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.entry.one_of.max(1)) {
            return;
        }
        let manifest = ctx.generation.as_deref().map(Generation::manifest);
        let held = ctx.translated.and_then(|(from, _)| Some(manifest?.id(from)));
        let held = held.or_else(|| ctx.entry.as_ref().map(|entry| &*entry.version));
        let record = ctx.record.as_ref().filter(|_| self.entry.records);
        let line = json!({
            "at": moment::written(SystemTime::now()),
            "trace": ctx.trace.as_ref().map(ToString::to_string),
            "session": ctx.session.as_ref().map(|session| Digest::of(session.as_bytes()).to_string()[..16].to_owned()),
            "pack": manifest.map(|manifest| &manifest.name),
            "revision": manifest.map(|manifest| manifest.revision),
            "generation": ctx.generation.as_ref().map(|generation| generation.id()),
            "server": placed.server().name,
            "server_version": placed.server().version,
            "record_version": held,
            "tier": placed.tier.as_str(),
            "carried": ctx.counts.carried,
            "restored": ctx.counts.restored,
            "lost": ctx.counts.lost,
            "record": record.and_then(|record| masked(&record.bytes, &self.entry.mask)),
        });
        if self.lines.try_send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes until the gateway is gone.
fn write(lines: &Receiver<Value>, file: File) {
    let mut file = BufWriter::new(file);
    let mut dirty = false;
    loop {
        let written = match lines.recv_timeout(FLUSH) {
            Ok(line) => {
                dirty = true;
                writeln!(file, "{line}")
            }
            Err(RecvTimeoutError::Timeout) if std::mem::replace(&mut dirty, false) => file.flush(),
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => {
                let _ = file.flush(); // nobody is left to tell
                return;
            }
        };
        if let Err(error) = written {
            tracing::error!(%error, "decision log can't be written");
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

/// A record whose values at these places are others of the same type; none if it is no JSON.
fn masked(record: &[u8], mask: &[String]) -> Option<String> {
    let mut tree: Value = serde_json::from_slice(record).ok()?;
    if mask.is_empty() {
        return String::from_utf8(record.to_vec()).ok();
    }
    for path in mask {
        let tokens: Vec<String> =
            path.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~")).collect();
        cover(&mut tree, &tokens);
    }
    Some(tree.to_string())
}

fn cover(value: &mut Value, path: &[String]) {
    match (path.split_first(), value) {
        (None, Value::String(text)) => *text = "*".repeat(text.chars().count().min(16)),
        (None, Value::Number(number)) => *number = 0.into(),
        (None, Value::Bool(_) | Value::Null) => {}
        (None, Value::Array(items)) => items.iter_mut().for_each(|item| cover(item, &[])),
        (None, Value::Object(members)) => members.values_mut().for_each(|member| cover(member, &[])),
        (Some((star, rest)), Value::Array(items)) if star == "*" => items.iter_mut().for_each(|item| cover(item, rest)),
        (Some((star, rest)), Value::Object(members)) if star == "*" => {
            members.values_mut().for_each(|member| cover(member, rest));
        }
        (Some((token, rest)), Value::Object(members)) => {
            if let Some(member) = members.get_mut(token) {
                cover(member, rest);
            }
        }
        (Some((token, rest)), Value::Array(items)) => {
            if let Some(item) = token.parse::<usize>().ok().and_then(|index| items.get_mut(index)) {
                cover(item, rest);
            }
        }
        (Some(_), Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_masked_keeps_its_type_and_nothing_else() {
        let record = br#"{"token":"secret","users":[{"name":"ann","age":7},{"name":"bo"}],"keep":1}"#;
        let mask = ["/token", "/users/*/name", "/users/0/age", "/nowhere/at/all"].map(String::from);
        let masked = masked(record, &mask).unwrap();
        assert_eq!(masked, r#"{"keep":1,"token":"******","users":[{"age":0,"name":"***"},{"name":"**"}]}"#);
        assert_eq!(super::masked(b"no json", &mask), None);
    }
}
