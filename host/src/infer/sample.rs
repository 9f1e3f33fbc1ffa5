//! Sample records, from files of one record, of one record a line, or of an array of records.

use std::path::{Path, PathBuf};

use serde_json::value::RawValue;

use super::tree::{Kind, Node};

/// One record that a server wrote.
#[derive(Clone, Debug)]
pub struct Sample {
    name: String,
    text: String,
    tree: Node,
}

/// Why samples can't be read. Says which file, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {reason}")]
pub struct SampleError {
    name: String,
    reason: String,
}

impl Sample {
    /// A record with a name for messages.
    ///
    /// # Errors
    /// If the text is no JSON object.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Result<Sample, SampleError> {
        let (name, text) = (name.into(), text.into());
        let failed = |name: &str, reason: String| SampleError { name: name.to_owned(), reason };
        let tree = Node::parse(&text).map_err(|reason| failed(&name, reason))?;
        if tree.kind() != Kind::Object {
            return Err(failed(&name, format!("expected a JSON object, found {}", tree.kind().name())));
        }
        Ok(Sample { name, text, tree })
    }

    /// The samples in a file, or in all files of a folder that end in `.json`, `.ndjson` or `.jsonl`, in the order of
    /// their names. A file holds one record, or records one after the other (NDJSON), or an array of records.
    ///
    /// # Errors
    /// If something can't be read, or is no record, or there is none at all.
    pub fn read(path: impl AsRef<Path>) -> Result<Vec<Sample>, SampleError> {
        let path = path.as_ref();
        let failed = |path: &Path, reason: String| SampleError { name: path.display().to_string(), reason };
        let mut files = Vec::new();
        if path.is_dir() {
            list(path, &mut files).map_err(|error| failed(path, format!("can't be read: {error}")))?;
            files.sort();
        } else {
            files.push(path.to_owned());
        }
        let mut samples = Vec::new();
        for file in &files {
            let bytes = std::fs::read(file).map_err(|error| failed(file, format!("can't be read: {error}")))?;
            let text =
                String::from_utf8(bytes).map_err(|_| failed(file, "is no UTF-8: save it as UTF-8".to_owned()))?;
            samples.extend(records(&file.display().to_string(), &text)?);
        }
        match samples.is_empty() {
            true => {
                Err(failed(path, "holds no record: expected files that end in .json, .ndjson or .jsonl".to_owned()))
            }
            false => Ok(samples),
        }
    }

    /// The samples in a text: one record, or several one after the other, or an array of them.
    ///
    /// # Errors
    /// If it holds something else than records.
    pub fn parse(name: &str, text: &str) -> Result<Vec<Sample>, SampleError> {
        records(name, text)
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The record as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn tree(&self) -> &Node {
        &self.tree
    }
}

fn list(folder: &Path, into: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let named = path.extension().and_then(|ext| ext.to_str());
        if path.is_dir() {
            list(&path, into)?;
        } else if named.is_some_and(|ext| ["json", "ndjson", "jsonl"].contains(&ext)) {
            into.push(path);
        }
    }
    Ok(())
}

fn records(name: &str, text: &str) -> Result<Vec<Sample>, SampleError> {
    let mut values: Vec<&RawValue> = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        let failed =
            |error: serde_json::Error| SampleError { name: name.to_owned(), reason: format!("no JSON: {error}") };
        values.push(value.map_err(failed)?);
    }
    let inner: Option<Vec<&RawValue>> = match values.as_slice() {
        [one] if one.get().starts_with('[') => serde_json::from_str(one.get()).ok(),
        _ => None,
    };
    let values = inner.unwrap_or(values);
    let many = values.len() > 1;
    let called = |n: usize| if many { format!("{name}#{}", n + 1) } else { name.to_owned() };
    values.iter().enumerate().map(|(n, value)| Sample::new(called(n), value.get())).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_text_holds_one_record_or_many() {
        let names = |text: &str| -> Vec<String> {
            Sample::parse("f", text).unwrap().iter().map(|sample| sample.name().to_owned()).collect()
        };
        assert_eq!(names(" {\"a\":1}\n"), ["f"]);
        assert_eq!(names("{\"a\":1}\n{\"a\":2}\n"), ["f#1", "f#2"]);
        assert_eq!(names("[{\"a\":1},{\"a\":2}]"), ["f#1", "f#2"]);
        let error = |text: &str| Sample::parse("f", text).unwrap_err().to_string();
        assert_eq!(error("{\"a\":1}\n2"), "f#2: expected a JSON object, found number");
        assert!(error("{\"a\":").starts_with("f: no JSON: "));
    }
}
