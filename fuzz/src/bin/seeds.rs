//! Writes the first inputs of each target, from testdata: `seeds FOLDER`.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use unskew_fuzz::{PACKS, texts};

fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).expect("usage: seeds FOLDER"));
    let documents = texts("json/documents").into_iter().chain(texts("records")).map(|(_, text)| text);
    for text in documents {
        write(&folder, "scan", text.as_bytes());
    }
    for line in texts("json").iter().filter(|(name, _)| name != "LICENSE").flat_map(|(_, text)| text.lines()) {
        let (_, text) = line.split_once('\t').unwrap_or(("", line));
        write(&folder, "scan", text.replace("\\\\", "\\").as_bytes());
    }
    for (at, loaded) in PACKS.iter().enumerate() {
        let (at, source) = (at as u8, &loaded.source);
        write(&folder, "pack", source.json.as_bytes());
        let mut rules = loaded.rules();
        for (number, record) in source.records.iter().enumerate() {
            let number = number as u8;
            write(&folder, "scan", record.as_bytes());
            write(&folder, "translate", &[&[at], record.as_bytes()].concat());
            write(&folder, "portable", &[&[at], record.as_bytes()].concat());
            let picks: Vec<u8> = (0..source.ops().len() as u8).take(24).collect();
            write(&folder, "plan", &[&[at, number, 6], &picks[..]].concat());
            for carry in &source.carries {
                write(&folder, "carry", &[&[at, number, 0], carry.as_bytes()].concat());
            }
            let Ok(found) = rules.detect(record.as_bytes()) else { continue };
            for to in 0..rules.manifest().versions.len() as u16 {
                let Ok(done) = rules.translate(record.as_bytes(), b"", found.version, to) else { continue };
                let back = source.records.iter().position(|other| other.as_bytes() == done.record);
                let head = [at, back.map_or(number, |back| back as u8), found.version as u8];
                write(&folder, "carry", &[&head, &done.carry[..]].concat());
            }
        }
    }
}

/// Names a file by what it holds.
fn write(folder: &Path, target: &str, input: &[u8]) {
    let folder = folder.join(target);
    std::fs::create_dir_all(&folder).expect("a folder that can be written");
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    std::fs::write(folder.join(format!("{:016x}", hasher.finish())), input).expect("a file that can be written");
}
