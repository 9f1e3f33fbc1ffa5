//! A folder of packs: which files in it are packs, and which of them comes first.
//!
//! Packs are the files that end in `.toml` or `.json` and don't begin with a dot; whatever else lies there is nobody's
//! business. What looks like a pack and is none takes nothing away from the others.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::LoadError;
use crate::pack::Pack;

/// The longest file that may be a pack.
const LONGEST: u64 = 16 << 20;

/// What a folder holds.
#[derive(Default)]
pub(crate) struct Shelf {
    /// The newest first; of two of one revision the one whose name comes last.
    pub(crate) packs: Vec<Pack>,
    /// Files that look like packs and can't be read as such.
    pub(crate) refused: Vec<LoadError>,
}

impl Shelf {
    /// Reads a folder.
    ///
    /// # Errors
    /// If it can't be listed.
    pub(crate) fn read(folder: &Path) -> io::Result<Shelf> {
        let mut shelf = Shelf::default();
        for path in files(folder)? {
            match Pack::from_file(&path) {
                Ok(pack) => shelf.packs.push(pack),
                Err(error) => shelf.refused.push(error),
            }
        }
        shelf.packs.sort_by_cached_key(|pack| std::cmp::Reverse((pack.order().revision, pack.name().to_owned())));
        Ok(shelf)
    }
}

/// The files of a folder that may be packs, by name.
pub(crate) fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let regular = std::fs::metadata(&path).is_ok_and(|found| found.is_file() && found.len() <= LONGEST);
        if is_pack(&path) && regular {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Whether a file of this name may be a pack.
pub(crate) fn is_pack(path: &Path) -> bool {
    let named = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| !name.starts_with('.'));
    named && path.extension().is_some_and(|ending| ending == "toml" || ending == "json")
}

/// The newest pack of a folder.
pub(crate) fn newest(folder: &Path) -> Result<Pack, LoadError> {
    let name = || folder.display().to_string();
    let shelf = Shelf::read(folder);
    let shelf = shelf.map_err(|error| LoadError::Unreadable { name: name(), reason: error.to_string() })?;
    let none = || LoadError::Unreadable { name: name(), reason: "there is no pack in this folder".to_owned() };
    let Shelf { packs, refused } = shelf;
    packs.into_iter().next().ok_or_else(|| refused.into_iter().next().unwrap_or_else(none))
}
