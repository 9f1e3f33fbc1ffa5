//! Reads the keys that inline carries are sealed with, from where the configuration says; they are never shown.

use super::StartError;
use crate::config::{Config, KeyEntry};
use crate::seal::{Seal, SealError};

/// The seal of a configuration, if it has one.
pub(crate) fn read(config: &Config) -> Result<Option<Seal>, StartError> {
    let Some(entry) = &config.seal else { return Ok(None) };
    let keys = entry.keys.iter().map(key).collect::<Result<Vec<_>, _>>()?;
    let seal = Seal::new(&keys).map_err(|error| {
        let place = match error {
            SealError::NoKey => String::new(),
            SealError::ShortKey { number, .. } => entry.keys.get(number - 1).map(named).unwrap_or_default(),
        };
        StartError::Seal(format!("{place}{error}"))
    })?;
    Ok(Some(seal))
}

fn key(entry: &KeyEntry) -> Result<Vec<u8>, StartError> {
    let unread = |reason: &dyn std::fmt::Display| StartError::Seal(format!("{}can't be read: {reason}", named(entry)));
    let mut key = match (&entry.file, &entry.env) {
        (Some(file), _) => {
            let found = std::fs::metadata(file).map_err(|error| unread(&error))?;
            if !found.is_file() {
                return Err(unread(&"it is no regular file"));
            }
            std::fs::read(file).map_err(|error| unread(&error))?
        }
        // An error of `var` would show what is in it.
        (None, Some(env)) => std::env::var_os(env).ok_or_else(|| unread(&"it is not set"))?.into_encoded_bytes(),
        (None, None) => Vec::new(),
    };
    // Editors and `echo` end a file with a line break that is no part of the secret.
    if key.ends_with(b"\n") {
        key.truncate(key.len() - if key.ends_with(b"\r\n") { 2 } else { 1 });
    }
    Ok(key)
}

fn named(entry: &KeyEntry) -> String {
    match (&entry.file, &entry.env) {
        (Some(file), _) => format!("file {}: ", file.display()),
        (None, Some(env)) => format!("environment variable {env}: "),
        (None, None) => String::new(),
    }
}
