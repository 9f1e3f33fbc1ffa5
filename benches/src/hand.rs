//! The edits of the packs that are measured, as one would write them by hand on a tree of `serde_json::Value`.
//!
//! They do less than the packs: they detect nothing, have no way back and keep no carry. The guest in `tree-guest/` is
//! built from this file too.

use serde_json::{Map, Value, json};

/// The shapes of records that are measured, each with a pack of `testdata/packs` and one step of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A session of an OpenTok-like service, whose clients three of twelve ops change: `opentok.toml`, 1 to 2.
    Session,
    /// What a web framework keeps for a cookie, most of it nobody's business: `express.toml`, nested to principal.
    Cookie,
    /// A room with participants, three ops on each of them: `livekit.toml`, 2024-01 to 2024-06.
    Room,
}

impl Shape {
    /// All of them.
    pub const ALL: [Shape; 3] = [Shape::Session, Shape::Cookie, Shape::Room];

    /// Its name, as benches have it.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Session => "session",
            Shape::Cookie => "cookie",
            Shape::Room => "room",
        }
    }

    /// The name of its pack.
    pub fn pack_name(self) -> &'static str {
        match self {
            Shape::Session => "opentok-sessions",
            Shape::Cookie => "express-sessions",
            Shape::Room => "livekit-rooms",
        }
    }

    /// The version that its records have, as an index of the pack; the next one is what they become.
    pub fn from(self) -> u16 {
        match self {
            Shape::Session | Shape::Room => 0,
            Shape::Cookie => 1,
        }
    }
}

/// Parses, edits and writes a record.
///
/// # Errors
/// If the record is no JSON object.
pub fn edit(shape: Shape, record: &[u8]) -> serde_json::Result<Vec<u8>> {
    let mut tree: Map<String, Value> = serde_json::from_slice(record)?;
    match shape {
        Shape::Session => session(&mut tree),
        Shape::Cookie => cookie(&mut tree),
        Shape::Room => room(&mut tree),
    }
    serde_json::to_vec(&tree)
}

fn session(session: &mut Map<String, Value>) {
    rename(session, "sessionId", "session_id");
    rename(session, "projectId", "project_id");
    times_thousand(session, "createdAt");
    session.remove("legacyToken");
    for connection in objects(session.get_mut("connections")) {
        rename(connection, "connectionId", "connection_id");
        times_thousand(connection, "createdAt");
        if !connection.contains_key("capabilities") {
            connection.insert("capabilities".to_owned(), json!(["publish", "subscribe"]));
        }
    }
    let mut media = Map::new();
    if let Some(mode) = session.remove("mediaMode") {
        let mode = match mode.as_str() {
            Some("routed") => json!("sfu"),
            Some("relayed") => json!("p2p"),
            Some(_) | None => mode,
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
}

fn cookie(session: &mut Map<String, Value>) {
    let mut principal = Map::new();
    if let Some(user) = session.remove("user") {
        principal.insert("id".to_owned(), user);
    }
    principal.insert("roles".to_owned(), json!([]));
    principal.insert("kind".to_owned(), json!("person"));
    session.remove("flash");
    if let Some(Value::Object(cookie)) = session.get_mut("cookie") {
        rename(cookie, "httpOnly", "http_only");
    }
    session.insert("principal".to_owned(), Value::Object(principal));
}

fn room(room: &mut Map<String, Value>) {
    rename(room, "joined_at", "joined_at_ms");
    times_thousand(room, "joined_at_ms");
    for participant in objects(room.get_mut("participants")) {
        rename(participant, "id", "identity");
        if let Some(since) = participant.get_mut("since")
            && let Some(seconds) = since.as_i64()
        {
            *since = Value::String(rfc3339(seconds));
        }
        if let Some(state) = participant.get_mut("state") {
            *state = json!(match state.as_str() {
                Some("idle" | "away") => "inactive",
                Some(_) | None => "active",
            });
        }
    }
    room.insert("meta".to_owned(), json!({ "v": "2024-06" }));
}

fn objects(list: Option<&mut Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    list.and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

// `remove` and not `shift_remove`: that is faster, and the order of members is as good as any to a server.
fn rename(object: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = object.remove(from) {
        object.insert(to.to_owned(), value);
    }
}

fn times_thousand(object: &mut Map<String, Value>, key: &str) {
    if let Some(time) = object.get_mut(key)
        && let Some(seconds) = time.as_i64()
    {
        *time = json!(seconds * 1000);
    }
}

/// A time in seconds as `2024-06-26T11:06:41Z`. Howard Hinnant, "chrono-compatible low-level date algorithms",
/// `civil_from_days`.
pub(crate) fn rfc3339(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400) + 719_468, seconds.rem_euclid(86_400));
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
