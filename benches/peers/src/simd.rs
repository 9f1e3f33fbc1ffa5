//! The edits on `simd_json::BorrowedValue`. It parses in place, so the record is copied first: nobody may change the
//! request's own bytes.

use anyhow::{Context, Result, bail};
use simd_json::borrowed::{Object, Value};
use simd_json::prelude::*;

use crate::Edit;

/// The edit of this shape's pack.
pub(crate) fn edit(shape: &str) -> Result<Edit> {
    let change = match shape {
        "session" => session,
        "cookie" => cookie,
        "room" => room,
        other => bail!("no shape {other:?}"),
    };
    let mut buffers = simd_json::Buffers::default();
    Ok(Box::new(move |record| {
        let mut text = record.to_vec();
        let mut tree = simd_json::to_borrowed_value_with_buffers(&mut text, &mut buffers)?;
        change(tree.as_object_mut().context("a record is an object")?);
        let mut out = Vec::with_capacity(record.len() * 3 / 2);
        tree.write(&mut out)?;
        Ok(out)
    }))
}

fn session(session: &mut Object<'_>) {
    rename(session, "sessionId", "session_id");
    rename(session, "projectId", "project_id");
    times_thousand(session, "createdAt");
    session.remove("legacyToken");
    for connection in objects(session.get_mut("connections")) {
        rename(connection, "connectionId", "connection_id");
        times_thousand(connection, "createdAt");
        if !connection.contains_key("capabilities") {
            let capabilities = vec![Value::from("publish"), Value::from("subscribe")];
            connection.insert("capabilities".into(), Value::from(capabilities));
        }
    }
    let mut media = Object::default();
    if let Some(mode) = session.remove("mediaMode") {
        let mode = match mode.as_str() {
            Some("routed") => Value::from("sfu"),
            Some("relayed") => Value::from("p2p"),
            Some(_) | None => mode,
        };
        media.insert("mode".into(), mode);
    }
    media.insert("bitrate".into(), Value::from(3000));
    session.insert("media".into(), Value::from(media));
    let mut archive = Object::default();
    if let Some(mode) = session.remove("archiveMode") {
        archive.insert("mode".into(), mode);
    }
    archive.insert("resolution".into(), Value::from("1280x720"));
    session.insert("archive".into(), Value::from(archive));
    session.insert("schema".into(), Value::from(2));
}

fn cookie(session: &mut Object<'_>) {
    let mut principal = Object::default();
    if let Some(user) = session.remove("user") {
        principal.insert("id".into(), user);
    }
    principal.insert("roles".into(), Value::from(Vec::<Value<'_>>::new()));
    principal.insert("kind".into(), Value::from("person"));
    session.remove("flash");
    if let Some(cookie) = session.get_mut("cookie").and_then(|cookie| cookie.as_object_mut()) {
        rename(cookie, "httpOnly", "http_only");
    }
    session.insert("principal".into(), Value::from(principal));
}

fn room(room: &mut Object<'_>) {
    rename(room, "joined_at", "joined_at_ms");
    times_thousand(room, "joined_at_ms");
    for participant in objects(room.get_mut("participants")) {
        rename(participant, "id", "identity");
        if let Some(since) = participant.get_mut("since")
            && let Some(seconds) = since.as_i64()
        {
            *since = Value::from(crate::rfc3339(seconds));
        }
        if let Some(state) = participant.get_mut("state") {
            *state = Value::from(match state.as_str() {
                Some("idle" | "away") => "inactive",
                Some(_) | None => "active",
            });
        }
    }
    let mut meta = Object::default();
    meta.insert("v".into(), Value::from("2024-06"));
    room.insert("meta".into(), Value::from(meta));
}

fn objects<'a, 'v>(list: Option<&'a mut Value<'v>>) -> impl Iterator<Item = &'a mut Object<'v>> {
    let list = list.and_then(|list| list.as_array_mut());
    list.into_iter().flatten().filter_map(|element| element.as_object_mut())
}

fn rename<'v>(object: &mut Object<'v>, from: &str, to: &'static str) {
    if let Some(value) = object.remove(from) {
        object.insert(to.into(), value);
    }
}

fn times_thousand(object: &mut Object<'_>, key: &str) {
    if let Some(created) = object.get_mut(key)
        && let Some(seconds) = created.as_i64()
    {
        *created = Value::from(seconds * 1000);
    }
}
