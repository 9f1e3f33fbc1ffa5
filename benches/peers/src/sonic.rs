//! The edits on `sonic_rs::Value`, a copy by way of it, and a validating skip.

use anyhow::{Context, Result, bail};
use sonic_rs::{Array, JsonValueMutTrait, JsonValueTrait, LazyValue, Object, Value, json};

use crate::Edit;

/// The edit of this shape's pack.
pub(crate) fn edit(shape: &str) -> Result<Edit> {
    let change = match shape {
        "session" => session,
        "cookie" => cookie,
        "room" => room,
        other => bail!("no shape {other:?}"),
    };
    Ok(Box::new(move |record| {
        let mut tree: Value = sonic_rs::from_slice(record)?;
        change(tree.as_object_mut().context("a record is an object")?);
        Ok(sonic_rs::to_vec(&tree)?)
    }))
}

/// Parses and writes, and changes nothing: what the fastest tree costs before any edit.
pub(crate) fn copy(record: &[u8]) -> Result<Vec<u8>> {
    let tree: Value = sonic_rs::from_slice(record)?;
    Ok(sonic_rs::to_vec(&tree)?)
}

/// Checks that the record is JSON and says how long it is, the least that anybody has to do who doesn't trust it.
pub(crate) fn skip(record: &[u8]) -> Result<Vec<u8>> {
    let value: LazyValue<'_> = sonic_rs::from_slice(record)?;
    Ok(value.as_raw_str().len().to_string().into_bytes())
}

fn session(session: &mut Object) {
    rename(session, "sessionId", "session_id");
    rename(session, "projectId", "project_id");
    times_thousand(session, "createdAt");
    session.remove(&"legacyToken");
    for connection in objects(session.get_mut(&"connections")) {
        rename(connection, "connectionId", "connection_id");
        times_thousand(connection, "createdAt");
        if !connection.contains_key(&"capabilities") {
            connection.insert("capabilities", json!(["publish", "subscribe"]));
        }
    }
    let mut media = Object::new();
    if let Some(mode) = session.remove(&"mediaMode") {
        let mode = match mode.as_str() {
            Some("routed") => json!("sfu"),
            Some("relayed") => json!("p2p"),
            Some(_) | None => mode,
        };
        media.insert("mode", mode);
    }
    media.insert("bitrate", json!(3000));
    session.insert("media", media.into_value());
    let mut archive = Object::new();
    if let Some(mode) = session.remove(&"archiveMode") {
        archive.insert("mode", mode);
    }
    archive.insert("resolution", json!("1280x720"));
    session.insert("archive", archive.into_value());
    session.insert("schema", json!(2));
}

fn cookie(session: &mut Object) {
    let mut principal = Object::new();
    if let Some(user) = session.remove(&"user") {
        principal.insert("id", user);
    }
    principal.insert("roles", Array::new().into_value());
    principal.insert("kind", json!("person"));
    session.remove(&"flash");
    if let Some(cookie) = session.get_mut(&"cookie").and_then(Value::as_object_mut) {
        rename(cookie, "httpOnly", "http_only");
    }
    session.insert("principal", principal.into_value());
}

fn room(room: &mut Object) {
    rename(room, "joined_at", "joined_at_ms");
    times_thousand(room, "joined_at_ms");
    for participant in objects(room.get_mut(&"participants")) {
        rename(participant, "id", "identity");
        if let Some(since) = participant.get_mut(&"since")
            && let Some(seconds) = since.as_i64()
        {
            *since = json!(crate::rfc3339(seconds).as_str());
        }
        if let Some(state) = participant.get_mut(&"state") {
            *state = json!(match state.as_str() {
                Some("idle" | "away") => "inactive",
                Some(_) | None => "active",
            });
        }
    }
    room.insert("meta", json!({ "v": "2024-06" }));
}

fn objects(list: Option<&mut Value>) -> impl Iterator<Item = &mut Object> {
    list.and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

fn rename(object: &mut Object, from: &str, to: &str) {
    if let Some(value) = object.remove(&from) {
        object.insert(to, value);
    }
}

fn times_thousand(object: &mut Object, key: &str) {
    if let Some(created) = object.get_mut(&key)
        && let Some(seconds) = created.as_i64()
    {
        *created = json!(seconds * 1000);
    }
}
