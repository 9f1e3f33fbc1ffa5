//! The edit of the incident's pack, version 1 to 2, as one would write it by hand on a tree, and the floor below that.
//!
//! It does less than the pack: it detects nothing, has no way back and keeps no carry.

use serde_json::{Map, Value, json};

/// Parses, edits and writes a record with `serde_json::Value`.
///
/// # Errors
/// If the record is no JSON object.
pub fn upgrade(record: &[u8]) -> serde_json::Result<Vec<u8>> {
    let mut session: Map<String, Value> = serde_json::from_slice(record)?;
    rename(&mut session, "sessionId", "session_id");
    rename(&mut session, "projectId", "project_id");
    to_milliseconds(&mut session);
    session.remove("legacyToken");
    if let Some(Value::Array(connections)) = session.get_mut("connections") {
        for connection in connections.iter_mut().filter_map(Value::as_object_mut) {
            rename(connection, "connectionId", "connection_id");
            to_milliseconds(connection);
            if !connection.contains_key("capabilities") {
                connection.insert("capabilities".to_owned(), json!(["publish", "subscribe"]));
            }
        }
    }
    let mut media = Map::new();
    if let Some(mode) = session.remove("mediaMode") {
        let mode = match mode.as_str() {
            Some("routed") => json!("sfu"),
            Some("relayed") => json!("p2p"),
            _ => mode,
        };
        media.insert("mode".to_owned(), mode);
    }
    media.insert("bitrate".to_owned(), json!(3000));
    session.insert("media".to_owned(), Value::Object(media));
    let mut archive = Map::new();
    if let Some(mode) = session.remove("archiveMode") {
        archive.insert("mode".to_owned(), mode);
    }
    archive.insert("resolution".to_owned(), json!("1280x720"));
    session.insert("archive".to_owned(), Value::Object(archive));
    session.insert("schema".to_owned(), json!(2));
    serde_json::to_vec(&session)
}

/// Parses and writes a record with `sonic_rs::Value` and changes nothing: what a fast tree costs before any edit.
///
/// # Errors
/// If the record is no JSON.
#[cfg(feature = "sonic")]
pub fn sonic_copy(record: &[u8]) -> sonic_rs::Result<Vec<u8>> {
    let session: sonic_rs::Value = sonic_rs::from_slice(record)?;
    sonic_rs::to_vec(&session)
}

// `remove` and not `shift_remove`: that is faster, and the order of members is as good as any to a server.
fn rename(object: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = object.remove(from) {
        object.insert(to.to_owned(), value);
    }
}

fn to_milliseconds(object: &mut Map<String, Value>) {
    if let Some(created) = object.get_mut("createdAt")
        && let Some(seconds) = created.as_i64()
    {
        *created = json!(seconds * 1000);
    }
}
