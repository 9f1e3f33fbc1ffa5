//! Recorded records: folders and files with one record, or one in each line.

use std::path::{Path, PathBuf};

use unskew::Generation;

use super::super::input;

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    /// The records, each with its name: the file, and in a file of many the line.
    pub(super) records: Vec<(String, Vec<u8>)>,
    /// Those that were named one by one on the command line.
    pub(super) named: Vec<(String, Vec<u8>)>,
    /// Files that can't be read, with the reason.
    pub(super) unread: Vec<(String, String)>,
    /// Records of no version, with the reason.
    pub(super) unknown: Vec<(String, String)>,
}

impl Recorded {
    /// Reads folders and files, in the order of their names.
    pub(super) fn read(paths: &[PathBuf]) -> Recorded {
        let mut recorded = Recorded::default();
        for path in paths {
            recorded.path(path, Named::ByUser);
        }
        recorded
    }

    /// Puts the records aside that no version recognises, or more than one.
    pub(super) fn sort_out(&mut self, generation: &Generation) {
        for (name, record) in std::mem::take(&mut self.records) {
            match generation.detect(&record) {
                Ok(_) => self.records.push((name, record)),
                Err(error) => self.unknown.push((name, input::told(&record, &error))),
            }
        }
    }

    /// All that a version recognises, for the laws.
    pub(super) fn all(&self) -> Vec<(String, Vec<u8>)> {
        self.records.iter().chain(&self.named).cloned().collect()
    }

    fn path(&mut self, path: &Path, named: Named) {
        let name = path.display().to_string();
        if path.is_dir() {
            match std::fs::read_dir(path) {
                Ok(entries) => {
                    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
                    paths.sort();
                    paths.iter().for_each(|path| self.path(path, Named::ByFolder));
                }
                Err(error) => self.unread.push((name, format!("can't be read: {error}"))),
            }
            return;
        }
        let extension = path.extension().and_then(|extension| extension.to_str());
        let lines = match (extension, named) {
            (Some("ndjson" | "jsonl"), _) => true,
            (Some("json"), _) | (_, Named::ByUser) => false,
            (_, Named::ByFolder) => return, // something else that lies about
        };
        match std::fs::read(path) {
            Ok(bytes) if lines => {
                let lines = bytes.split(|byte| *byte == b'\n').enumerate();
                let full = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
                self.records.extend(full.map(|(at, line)| (format!("{name}:{}", at + 1), line.trim_ascii().to_vec())));
            }
            Ok(bytes) => self.records.push((name, bytes)),
            Err(error) => self.unread.push((name, format!("can't be read: {error}"))),
        }
    }
}

/// Who named a file.
#[derive(Clone, Copy)]
enum Named {
    ByUser,
    ByFolder,
}
