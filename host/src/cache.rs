//! Compiled guests on disk, for the next start: each bound to its guest and engine, and sealed by a secret of this
//! installation.
//!
//! What is loaded from here runs outside of the sandbox, so nothing is believed but what this installation wrote: an entry
//! that is changed, cut off, of another engine or guest, or sealed by another key is passed over, spoken of, and replaced.
//! The secret lies beside in a file that its owner alone can read; whoever can read that can write code into the gateway,
//! and whoever can only write the folder can't.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::pack::Digest;

/// A folder of compiled guests.
pub(crate) struct Cache {
    folder: PathBuf,
    /// Keyed by the secret.
    sealing: Hmac<Sha256>,
}

/// What a compiled guest is bound to: the digest of the engine, with its version, settings and the CPU's features, and of
/// the guest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) engine: Digest,
    pub(crate) guest: Digest,
}

const KEY: usize = 32;
const MAC: usize = 32;

/// The form of an entry: another one in another release.
const FORM: &[u8; 16] = b"unskew-compiled1";

/// The longest entry, and how many are kept.
const LONGEST: u64 = 128 << 20;
const ENTRIES: usize = 8;

const ENDING: &str = "compiled";

impl Cache {
    /// Opens a folder, and makes it and its secret where they aren't there yet.
    ///
    /// # Errors
    /// If it can't be read or written.
    pub(crate) fn open(folder: &Path) -> io::Result<Cache> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let file = folder.join("key");
        for _ in 0..3 {
            match secret(&file) {
                Ok(Some(key)) => {
                    let sealing = Hmac::new_from_slice(&key).map_err(io::Error::other)?;
                    return Ok(Cache { folder: folder.to_owned(), sealing });
                }
                Ok(None) => {
                    tracing::warn!(file = %file.display(), "secret of compiled guests isn't this user's alone: another one takes its place");
                    fs::remove_file(&file)?;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => make_secret(folder, &file)?,
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("its secret is replaced again and again"))
    }

    /// What was compiled for this guest and engine, if it is here and was written here.
    pub(crate) fn read(&self, bound: Bound) -> Option<Vec<u8>> {
        let path = self.path(bound);
        let mut file = File::open(&path).ok()?;
        let entry = whole(&mut file);
        let sealed = entry.ok().and_then(|mut entry| {
            let (head, artefact) = entry.split_at_checked(FORM.len() + MAC)?;
            let mac = &head[FORM.len()..];
            (head.starts_with(FORM) && self.mac(bound, artefact).verify_slice(mac).is_ok())
                .then(|| entry.split_off(FORM.len() + MAC))
        });
        if sealed.is_none() {
            tracing::warn!(file = %path.display(), "compiled guest isn't as this installation wrote it: it is compiled anew");
            let _ = fs::remove_file(&path); // what takes its place is renamed over it in any case
        }
        sealed
    }

    /// Keeps what was compiled; the oldest entries go.
    ///
    /// # Errors
    /// If it can't be written.
    pub(crate) fn write(&self, bound: Bound, artefact: &[u8]) -> io::Result<()> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        if artefact.len() as u64 > LONGEST {
            return Ok(());
        }
        let mac = self.mac(bound, artefact).finalize().into_bytes();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let part = self.folder.join(format!("{}-{number}.part", std::process::id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        let written = [&FORM[..], &mac, artefact].into_iter().try_for_each(|bytes| file.write_all(bytes));
        let done = written.and_then(|()| file.sync_all()).and_then(|()| fs::rename(&part, self.path(bound)));
        if done.is_err() {
            let _ = fs::remove_file(&part); // the error says more
        }
        done?;
        self.tidy()
    }

    /// Removes all but the newest entries, and what killed processes were writing.
    fn tidy(&self) -> io::Result<()> {
        let mut entries: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.folder)?.flatten() {
            let (path, Ok(found)) = (entry.path(), entry.metadata()) else { continue };
            let when = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            match path.extension().and_then(|ending| ending.to_str()) {
                Some(ENDING) => entries.push((when, path)),
                // A part that is older than any compilation takes is nobody's.
                Some("part") if when.elapsed().is_ok_and(|age| age.as_secs() > 600) => drop(fs::remove_file(path)),
                _ => {}
            }
        }
        entries.sort();
        let over = entries.len().saturating_sub(ENTRIES);
        entries.into_iter().take(over).try_for_each(|(_, path)| fs::remove_file(path))
    }

    fn path(&self, bound: Bound) -> PathBuf {
        let (guest, engine) = (bound.guest.to_string(), bound.engine.to_string());
        self.folder.join(format!("{guest}-{}.{ENDING}", &engine[..16]))
    }

    fn mac(&self, bound: Bound, artefact: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.sealing.clone();
        mac.update(FORM);
        // Both of one length, so that nothing can move from one field into the next.
        mac.update(bound.engine.to_string().as_bytes());
        mac.update(bound.guest.to_string().as_bytes());
        mac.update(artefact);
        mac
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// The secret in a file; none where others than its owner could have read it, or it is none.
fn secret(path: &Path) -> io::Result<Option<[u8; KEY]>> {
    let mut file = File::open(path)?;
    let found = file.metadata()?;
    let ours = found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o077 == 0;
    if !found.is_file() || !ours || found.len() != KEY as u64 {
        return Ok(None);
    }
    let mut key = [0; KEY];
    file.read_exact(&mut key)?;
    Ok(Some(key))
}

/// Writes a new secret, unless another process was quicker.
fn make_secret(folder: &Path, path: &Path) -> io::Result<()> {
    let mut key = [0; KEY];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    let part = folder.join(format!("key-{}.part", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    file.write_all(&key)?;
    file.sync_all()?;
    let linked = fs::hard_link(&part, path); // fails where there is one by now, and never shows half of one
    fs::remove_file(&part)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn whole(file: &mut File) -> io::Result<Vec<u8>> {
    let found = file.metadata()?;
    if !found.is_file() || found.len() > LONGEST + 1024 {
        return Err(io::Error::other("no entry"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(found.len()).unwrap_or(0));
    file.take(LONGEST + 1024).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A folder that goes with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("unskew-cache-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn bound(engine: &str, guest: &str) -> Bound {
        Bound { engine: Digest::of(engine.as_bytes()), guest: Digest::of(guest.as_bytes()) }
    }

    #[test]
    fn an_entry_comes_back_for_its_guest_and_engine_and_for_no_other() {
        let folder = Folder::new("bound");
        let cache = Cache::open(&folder.0).unwrap();
        let ours = bound("engine", "guest");
        cache.write(ours, b"code").unwrap();
        assert_eq!(cache.read(ours).unwrap(), b"code");
        assert_eq!(Cache::open(&folder.0).unwrap().read(ours).unwrap(), b"code", "after a restart too");
        for other in [bound("engine", "other"), bound("other", "guest")] {
            assert_eq!(cache.read(other), None);
            // Under the name of another it is not taken either, and goes.
            fs::copy(cache.path(ours), cache.path(other)).unwrap();
            assert_eq!(cache.read(other), None);
            assert!(!cache.path(other).exists());
        }
        assert_eq!(cache.read(ours).unwrap(), b"code");
    }

    #[test]
    fn no_changed_bit_no_cut_and_no_other_key_is_taken() {
        let folder = Folder::new("changed");
        let cache = Cache::open(&folder.0).unwrap();
        let ours = bound("engine", "guest");
        cache.write(ours, &[7; 400]).unwrap();
        let good = fs::read(cache.path(ours)).unwrap();
        let put = |bytes: &[u8]| fs::write(cache.path(ours), bytes).unwrap();
        for bit in 0..good.len() * 8 {
            let mut changed = good.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            put(&changed);
            assert_eq!(cache.read(ours), None, "bit {bit}");
        }
        for length in 0..good.len() {
            put(&good[..length]);
            assert_eq!(cache.read(ours), None, "cut to {length} bytes");
        }
        put(&[&good[..], b"x"].concat());
        assert_eq!(cache.read(ours), None, "something is appended");
        put(&good);
        assert_eq!(cache.read(ours).unwrap(), [7; 400], "the check isn't blind: as it was it is taken");

        // The same entry in an installation with another secret.
        let elsewhere = Folder::new("elsewhere");
        let other = Cache::open(&elsewhere.0).unwrap();
        fs::copy(cache.path(ours), other.path(ours)).unwrap();
        assert_eq!(other.read(ours), None);
    }

    #[test]
    fn the_secret_is_its_owners_alone_or_another_one_takes_its_place() {
        let folder = Folder::new("secret");
        let cache = Cache::open(&folder.0).unwrap();
        let (file, ours) = (folder.0.join("key"), bound("engine", "guest"));
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&folder.0).unwrap().mode() & 0o777, 0o700);
        cache.write(ours, b"code").unwrap();
        assert_eq!(fs::metadata(cache.path(ours)).unwrap().mode() & 0o777, 0o600);
        let read = || fs::read(&file).unwrap();
        let before = read();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let cache = Cache::open(&folder.0).unwrap();
        assert_ne!(read(), before, "somebody else may know it");
        assert_eq!(cache.read(ours), None, "what it sealed is compiled anew");
        for broken in [&b"short"[..], &[0; 33], b""] {
            fs::write(&file, broken).unwrap();
            Cache::open(&folder.0).unwrap();
            assert_eq!(read().len(), KEY);
        }
    }

    #[test]
    fn no_more_than_so_many_are_kept() {
        let folder = Folder::new("many");
        let cache = Cache::open(&folder.0).unwrap();
        for number in 0..ENTRIES * 3 {
            cache.write(bound("engine", &number.to_string()), b"code").unwrap();
        }
        let count = |ending: &str| {
            let names = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().path());
            names.filter(|path| path.extension().is_some_and(|found| found == ending)).count()
        };
        assert_eq!((count(ENDING), count("part")), (ENTRIES, 0));
        assert!(cache.read(bound("engine", &(ENTRIES * 3 - 1).to_string())).is_some(), "the newest is among them");
    }
}
