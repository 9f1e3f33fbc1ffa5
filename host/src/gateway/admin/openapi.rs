//! The routes of the admin API, and its OpenAPI document, which is made of the same table.

use serde_json::{Map, Value, json};

/// One route.
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    summary: &'static str,
    /// The members of the body: name, type, whether it must be there, and what it means.
    body: &'static [(&'static str, &'static str, bool, &'static str)],
    /// What else can be answered than 200 and 401.
    refusals: &'static [(&'static str, &'static str)],
}

const NO_RULES: (&str, &str) = ("409", "no pack is active");
const REASON: (&str, &str, bool, &str) = ("reason", "string", false, "why, for status and log");

/// All of them.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "get",
        path: "/livez",
        summary: "Whether the process answers; needs no token",
        body: &[],
        refusals: &[],
    },
    Route {
        method: "get",
        path: "/readyz",
        summary: "Whether a generation is active; needs no token",
        body: &[],
        refusals: &[("503", "no generation is active")],
    },
    Route { method: "get", path: "/metrics", summary: "Metrics in Prometheus' text format", body: &[], refusals: &[] },
    Route { method: "get", path: "/openapi.json", summary: "This document", body: &[], refusals: &[] },
    Route {
        method: "get",
        path: "/v1/status",
        summary: "Where everything stands: active, previous and staged generation, and the life of each that was offered",
        body: &[],
        refusals: &[],
    },
    Route {
        method: "get",
        path: "/v1/pack",
        summary: "The active pack as its author wrote it",
        body: &[],
        refusals: &[NO_RULES],
    },
    Route {
        method: "post",
        path: "/v1/generations",
        summary: "Push a pack, a guest, or both: checked, then active, staged or refused",
        body: &[
            ("name", "string", false, "the pack's file name: JSON where it ends in .json, else TOML"),
            ("pack", "string", false, "the pack's text; the active pack where it is left out"),
            ("signature", "string", false, "the text of the pack's .minisig file"),
            ("guest", "string", false, "a guest in base64; the one that serves where it is left out"),
            ("guest_signature", "string", false, "the text of the guest's .minisig file"),
            ("intent", "string", false, "activate (default), stage, or force: whatever the revision is"),
        ],
        refusals: &[
            ("409", "the revision doesn't grow, or it was put aside"),
            ("422", "it has problems, all of which are told"),
        ],
    },
    Route {
        method: "post",
        path: "/v1/promote",
        summary: "Make the staged generation active",
        body: &[],
        refusals: &[("409", "nothing is staged, or it was overtaken")],
    },
    Route {
        method: "post",
        path: "/v1/rollback",
        summary: "Go back to the generation before; sources don't bring back what was left",
        body: &[REASON],
        refusals: &[("409", "there is none")],
    },
    Route {
        method: "post",
        path: "/v1/discard",
        summary: "Put the staged generation aside",
        body: &[REASON],
        refusals: &[("409", "nothing is staged")],
    },
    Route {
        method: "put",
        path: "/v1/canary",
        summary: "Give the staged generation a share of the sessions, always the same ones",
        body: &[("percent", "integer", true, "0 to 100")],
        refusals: &[("422", "it is more than 100")],
    },
    Route {
        method: "get",
        path: "/v1/matrix",
        summary: "How well a server of each version serves a record of each version",
        body: &[],
        refusals: &[NO_RULES],
    },
    Route {
        method: "post",
        path: "/v1/dry-run",
        summary: "What would become of a record: translated, explained, and nothing counted or kept",
        body: &[
            ("record", "string", true, "the record's text"),
            ("carry", "string", false, "the carry's text"),
            ("to", "string", true, "the version that it is brought to"),
            ("generation", "string", false, "active (default) or staged"),
        ],
        refusals: &[NO_RULES, ("422", "the record can't be translated")],
    },
    Route {
        method: "get",
        path: "/v1/fleet",
        summary: "The servers: version, health, requests in flight",
        body: &[],
        refusals: &[],
    },
    Route {
        method: "put",
        path: "/v1/fleet/{server}",
        summary: "Drain a server, or let it take sessions again",
        body: &[("drain", "boolean", true, "whether it is to take no sessions")],
        refusals: &[("404", "there is no such server"), ("409", "it is the last one that takes sessions")],
    },
    Route {
        method: "put",
        path: "/v1/mode",
        summary: "Throw the switch",
        body: &[("mode", "string", true, "off, observe or enforce")],
        refusals: &[("422", "there is no such mode")],
    },
];

/// The document.
pub(super) fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        let operations = paths.entry(route.path).or_insert_with(|| json!({}));
        operations[route.method] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": "unskew admin API", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}],
    })
}

fn operation(route: &Route) -> Value {
    let mut answers = json!({"200": {"description": "done"}, "401": {"description": "the token is missing or wrong"}});
    for (status, meaning) in route.refusals {
        answers[status] = json!({
            "description": meaning,
            "content": {"application/problem+json": {"schema": {"type": "object"}}},
        });
    }
    let mut operation = json!({"summary": route.summary, "responses": answers});
    if matches!(route.path, "/livez" | "/readyz") {
        operation["security"] = json!([]);
    }
    if route.path.contains("{server}") {
        operation["parameters"] =
            json!([{"name": "server", "in": "path", "required": true, "schema": {"type": "string"}}]);
    }
    if !route.body.is_empty() {
        let member = |(name, kind, _, meaning): &(&str, &str, bool, &str)| {
            ((*name).to_owned(), json!({"type": kind, "description": meaning}))
        };
        let properties: Map<String, Value> = route.body.iter().map(member).collect();
        let required: Vec<&str> = route.body.iter().filter(|member| member.2).map(|member| member.0).collect();
        let schema = json!({
            "type": "object", "properties": properties, "required": required, "additionalProperties": false,
        });
        operation["requestBody"] = json!({"content": {"application/json": {"schema": schema}}});
    }
    operation
}
