//! The edits as typed structs by serde: the fastest that one would write by hand without a parser of one's own.
//!
//! Text is borrowed, and what the edit leaves alone is kept as raw JSON. A member that the structs don't know is lost.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::hand::{Shape, rfc3339};

/// Parses, edits and writes a record.
///
/// # Errors
/// If the record isn't of the shape.
pub fn edit(shape: Shape, record: &[u8]) -> serde_json::Result<Vec<u8>> {
    match shape {
        Shape::Session => serde_json::to_vec(&NewSession::from(serde_json::from_slice::<OldSession<'_>>(record)?)),
        Shape::Cookie => serde_json::to_vec(&NewWeb::from(serde_json::from_slice::<OldWeb<'_>>(record)?)),
        Shape::Room => serde_json::to_vec(&NewRoom::from(serde_json::from_slice::<OldRoom<'_>>(record)?)),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OldSession<'a> {
    #[serde(borrow)]
    session_id: Cow<'a, str>,
    #[serde(borrow)]
    project_id: Cow<'a, str>,
    created_at: i64,
    #[serde(borrow)]
    name: &'a RawValue,
    #[serde(borrow)]
    media_mode: Cow<'a, str>,
    #[serde(borrow)]
    archive_mode: &'a RawValue,
    #[serde(borrow)]
    location: &'a RawValue,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow)]
    connections: Vec<OldConnection<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OldConnection<'a> {
    #[serde(borrow)]
    connection_id: &'a RawValue,
    created_at: i64,
    #[serde(borrow)]
    role: &'a RawValue,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Serialize)]
struct NewSession<'a> {
    session_id: Cow<'a, str>,
    project_id: Cow<'a, str>,
    #[serde(rename = "createdAt")]
    created_at: i64,
    name: &'a RawValue,
    location: &'a RawValue,
    data: &'a RawValue,
    connections: Vec<NewConnection<'a>>,
    media: Media<'a>,
    archive: Archive<'a>,
    schema: u32,
}

#[derive(Serialize)]
struct NewConnection<'a> {
    connection_id: &'a RawValue,
    #[serde(rename = "createdAt")]
    created_at: i64,
    role: &'a RawValue,
    data: &'a RawValue,
    capabilities: [&'static str; 2],
}

#[derive(Serialize)]
struct Media<'a> {
    mode: Cow<'a, str>,
    bitrate: u32,
}

#[derive(Serialize)]
struct Archive<'a> {
    mode: &'a RawValue,
    resolution: &'static str,
}

impl<'a> From<OldSession<'a>> for NewSession<'a> {
    fn from(old: OldSession<'a>) -> NewSession<'a> {
        let mode = match &*old.media_mode {
            "routed" => Cow::Borrowed("sfu"),
            "relayed" => Cow::Borrowed("p2p"),
            _ => old.media_mode,
        };
        let connection = |old: OldConnection<'a>| NewConnection {
            connection_id: old.connection_id,
            created_at: old.created_at * 1000,
            role: old.role,
            data: old.data,
            capabilities: ["publish", "subscribe"],
        };
        NewSession {
            session_id: old.session_id,
            project_id: old.project_id,
            created_at: old.created_at * 1000,
            name: old.name,
            location: old.location,
            data: old.data,
            connections: old.connections.into_iter().map(connection).collect(),
            media: Media { mode, bitrate: 3000 },
            archive: Archive { mode: old.archive_mode, resolution: "1280x720" },
            schema: 2,
        }
    }
}

#[derive(Deserialize)]
struct OldWeb<'a> {
    #[serde(borrow)]
    cookie: OldCookie<'a>,
    #[serde(borrow)]
    user: &'a RawValue,
    #[serde(borrow)]
    csrf: &'a RawValue,
    #[serde(borrow, rename = "returnTo")]
    return_to: &'a RawValue,
    #[serde(borrow)]
    cart: &'a RawValue,
}

#[derive(Deserialize)]
struct OldCookie<'a> {
    #[serde(borrow)]
    original: &'a RawValue,
    #[serde(borrow)]
    path: &'a RawValue,
    #[serde(borrow, rename = "httpOnly")]
    http_only: &'a RawValue,
    #[serde(borrow)]
    expires: &'a RawValue,
    #[serde(borrow, rename = "maxAge")]
    max_age: &'a RawValue,
}

#[derive(Serialize)]
struct NewWeb<'a> {
    cookie: NewCookie<'a>,
    csrf: &'a RawValue,
    #[serde(rename = "returnTo")]
    return_to: &'a RawValue,
    cart: &'a RawValue,
    principal: Principal<'a>,
}

#[derive(Serialize)]
struct NewCookie<'a> {
    original: &'a RawValue,
    path: &'a RawValue,
    http_only: &'a RawValue,
    expires: &'a RawValue,
    #[serde(rename = "maxAge")]
    max_age: &'a RawValue,
}

#[derive(Serialize)]
struct Principal<'a> {
    id: &'a RawValue,
    roles: [(); 0],
    kind: &'static str,
}

impl<'a> From<OldWeb<'a>> for NewWeb<'a> {
    fn from(old: OldWeb<'a>) -> NewWeb<'a> {
        let OldCookie { original, path, http_only, expires, max_age } = old.cookie;
        NewWeb {
            cookie: NewCookie { original, path, http_only, expires, max_age },
            csrf: old.csrf,
            return_to: old.return_to,
            cart: old.cart,
            principal: Principal { id: old.user, roles: [], kind: "person" },
        }
    }
}

#[derive(Deserialize)]
struct OldRoom<'a> {
    #[serde(borrow)]
    name: &'a RawValue,
    joined_at: i64,
    #[serde(borrow)]
    participants: Vec<OldParticipant<'a>>,
    #[serde(borrow)]
    e2ee: &'a RawValue,
}

#[derive(Deserialize)]
struct OldParticipant<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    since: i64,
    #[serde(borrow)]
    state: Cow<'a, str>,
    #[serde(borrow)]
    name: &'a RawValue,
    #[serde(borrow)]
    audio: &'a RawValue,
}

#[derive(Serialize)]
struct NewRoom<'a> {
    name: &'a RawValue,
    joined_at_ms: i64,
    participants: Vec<NewParticipant<'a>>,
    e2ee: &'a RawValue,
    meta: Meta,
}

#[derive(Serialize)]
struct NewParticipant<'a> {
    identity: &'a RawValue,
    since: String,
    state: &'static str,
    name: &'a RawValue,
    audio: &'a RawValue,
}

#[derive(Serialize)]
struct Meta {
    v: &'static str,
}

impl<'a> From<OldRoom<'a>> for NewRoom<'a> {
    fn from(old: OldRoom<'a>) -> NewRoom<'a> {
        let participant = |old: OldParticipant<'a>| NewParticipant {
            identity: old.id,
            since: rfc3339(old.since),
            state: if matches!(&*old.state, "idle" | "away") { "inactive" } else { "active" },
            name: old.name,
            audio: old.audio,
        };
        NewRoom {
            name: old.name,
            joined_at_ms: old.joined_at * 1000,
            participants: old.participants.into_iter().map(participant).collect(),
            e2ee: old.e2ee,
            meta: Meta { v: "2024-06" },
        }
    }
}
