//! The last good generation on disk: written atomically after each swap, served at a start whose source is down.
//!
//! One file holds pack, signature and what was put aside, so that one rename replaces all of it; a guest lies beside
//! under its digest and is written before. Nothing here is a compiled artefact, and signatures are verified again when
//! it is read: whoever can write the folder can do no more than whoever can write the source.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::generation::Generation;
use crate::guest::Guest;
use crate::line::Content;
use crate::pack::{Digest, Pack};

/// The folder.
pub(crate) struct LastGood {
    folder: PathBuf,
    writing: Mutex<()>,
}

/// What lies in it.
pub(crate) struct Saved {
    pub(crate) pack: Pack,
    pub(crate) guest: Option<Guest>,
    /// What no source brings back, with the reason.
    pub(crate) barred: Vec<(Content, String)>,
}

/// The file's form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    /// What the pack was called: its ending says whether it is TOML or JSON.
    name: String,
    text: String,
    /// Of the text, against a disk that forgets.
    digest: String,
    signature: Option<String>,
    guest: Option<GuestFile>,
    barred: Vec<Barred>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GuestFile {
    name: String,
    digest: String,
    signature: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Barred {
    guest: String,
    pack: String,
    reason: String,
}

const FILE: &str = "last-good.json";

impl LastGood {
    /// Makes the folder if need be, and shows that it can be written.
    pub(crate) fn open(folder: &Path) -> io::Result<LastGood> {
        fs::create_dir_all(folder)?;
        let last = LastGood { folder: folder.to_owned(), writing: Mutex::new(()) };
        for entry in fs::read_dir(folder)?.flatten() {
            // What a killed process was writing.
            if entry.file_name().to_string_lossy().ends_with(".part") {
                let _ = fs::remove_file(entry.path());
            }
        }
        last.write("probe", b"")?;
        fs::remove_file(folder.join("probe"))?;
        Ok(last)
    }

    /// Replaces what is there.
    pub(crate) fn save(&self, generation: &Generation, barred: &[(Content, String)]) -> io::Result<()> {
        let _one = self.writing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let pack = generation.pack();
        let shipped = generation.guest_shipped();
        if let Some(guest) = shipped {
            let name = wasm(&guest.digest().to_string());
            if !self.folder.join(&name).exists() {
                self.write(&name, guest.wasm())?;
            }
        }
        let document = Document {
            name: pack.name().to_owned(),
            text: pack.text().to_owned(),
            digest: Digest::of(pack.text().as_bytes()).to_string(),
            signature: pack.signature().map(ToOwned::to_owned),
            guest: shipped.map(|guest| GuestFile {
                name: guest.name().to_owned(),
                digest: guest.digest().to_string(),
                signature: guest.signature().map(ToOwned::to_owned),
            }),
            barred: barred
                .iter()
                .map(|((guest, pack), reason)| Barred {
                    guest: guest.to_string(),
                    pack: pack.to_string(),
                    reason: reason.clone(),
                })
                .collect(),
        };
        self.write(FILE, &serde_json::to_vec_pretty(&document)?)?;
        let kept = document.guest.as_ref().map(|guest| wasm(&guest.digest));
        for entry in fs::read_dir(&self.folder)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".wasm") && Some(&name) != kept.as_ref() {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    /// What is there, if anything is.
    ///
    /// # Errors
    /// If it can't be used, in words.
    pub(crate) fn read(&self) -> Result<Option<Saved>, String> {
        let path = self.folder.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{}: can't be read: {error}", path.display())),
        };
        let damaged = |what: &dyn std::fmt::Display| format!("{}: damaged: {what}", path.display());
        let document: Document = serde_json::from_slice(&text).map_err(|error| damaged(&error))?;
        if Digest::of(document.text.as_bytes()).to_string() != document.digest {
            return Err(damaged(&"the pack isn't the one that was written"));
        }
        let pack = Pack::from_text(&document.name, &document.text).map_err(|error| damaged(&error))?;
        let guest = document.guest.map(|guest| {
            let file = self.folder.join(wasm(&guest.digest));
            let bytes = fs::read(&file).map_err(|error| format!("{}: can't be read: {error}", file.display()))?;
            match Digest::of(&bytes).to_string() == guest.digest {
                true => Ok(Guest::new(&guest.name, bytes).signed(guest.signature)),
                false => Err(format!("{}: damaged: it isn't the guest that was written", file.display())),
            }
        });
        let barred = document.barred.into_iter().filter_map(|barred| {
            let content = (Digest::read(&barred.guest)?, Digest::read(&barred.pack)?);
            Some((content, barred.reason))
        });
        Ok(Some(Saved { pack: pack.signed(document.signature), guest: guest.transpose()?, barred: barred.collect() }))
    }

    /// Beside, to the disk, and renamed over: a reader finds the old file or the new one, after a power cut as well.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let part = self.folder.join(format!("{name}.{}.part", std::process::id()));
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, self.folder.join(name))?;
        File::open(&self.folder)?.sync_all()
    }
}

fn wasm(digest: &str) -> String {
    format!("guest-{digest}.wasm")
}
