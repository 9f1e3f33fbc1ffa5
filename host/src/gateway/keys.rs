//! Reads secrets and public keys from where the configuration says; secrets are never shown.

use super::StartError;
use crate::config::{Config, KeyEntry};
use crate::seal::{Seal, SealError};
use crate::trust::Trust;

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

/// The keys of `[trust]`.
pub(crate) fn trust(config: &Config) -> Result<Trust, StartError> {
    config.trust.keys.iter().try_fold(Trust::default(), |trust, entry| {
        let refused = |reason: String| StartError::Secret(format!("trust.keys: {reason}"));
        let text = match (&entry.key, &entry.file) {
            (_, Some(file)) => std::fs::read_to_string(file)
                .map_err(|error| refused(format!("file {}: can't be read: {error}", file.display())))?,
            (Some(key), None) => key.clone(),
            (None, None) => String::new(),
        };
        trust.key(&text, entry.packs.clone()).map_err(refused)
    })
}

/// A secret that is a text: a token, a password. `place` names the key of the configuration.
pub(crate) fn text(place: &str, entry: &KeyEntry) -> Result<String, StartError> {
    let refused = |reason: String| StartError::Secret(format!("{place}: {reason}"));
    let bytes = secret(entry).map_err(refused)?;
    String::from_utf8(bytes).map_err(|_| StartError::Secret(format!("{place}: {}it is no UTF-8", named(entry))))
}

fn key(entry: &KeyEntry) -> Result<Vec<u8>, StartError> {
    secret(entry).map_err(StartError::Seal)
}

fn secret(entry: &KeyEntry) -> Result<Vec<u8>, String> {
    let unread = |reason: &dyn std::fmt::Display| format!("{}can't be read: {reason}", named(entry));
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
