//! The configuration of the proxy-wasm filter, written from `unskew.toml`, and what that filter can't do.

use std::path::Path;

use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::StartError;
use crate::config::{Config, FailureKey, IdEntry, ModeKey, PolicyEntry, RecordEntry, Rule, ServerEntry};
use crate::pack::Pack;
use crate::runtime::Runtime;

/// What the filter reads.
#[derive(Serialize)]
struct Settings<'c> {
    pack: &'c RawValue,
    config: Needed<'c>,
}

/// What it needs of `unskew.toml`.
#[derive(Serialize)]
struct Needed<'c> {
    server: &'c [ServerEntry],
    create: &'c [Rule],
    join: &'c [Rule],
    end: &'c [Rule],
    record: &'c RecordEntry,
    policy: &'c PolicyEntry,
}

/// The configuration of the proxy-wasm filter (`plugins/wasm`), with the pack in it: a JSON text. The pack is loaded and
/// tried first, as in any gateway.
///
/// # Errors
/// If the pack can't be used, or the configuration asks for what the filter can't do.
pub fn filter_configuration(config: &Config) -> Result<String, StartError> {
    config.check()?;
    let refused = |what| StartError::Surface { surface: "the proxy-wasm filter", what };
    if let Some(what) = objection(config) {
        return Err(refused(what));
    }
    let path = config
        .pack
        .as_ref()
        .ok_or(refused("without a pack: say `pack`, whose rules become part of its configuration"))?;
    let pack = Pack::from_file(path)?;
    let runtime = Runtime::new(&pack)?;
    if runtime.generation().is_some_and(|generation| generation.carry_member().is_some()) {
        return Err(refused(
            "policy.carry = \"inline\" in the pack: it has no key to seal it with; say \"beside\" or \"none\"",
        ));
    }
    let json = std::str::from_utf8(pack.json()).ok().and_then(|text| serde_json::from_str::<&RawValue>(text).ok());
    let unwritten = || refused("this configuration: it can't be written as JSON");
    let settings = Settings {
        pack: json.ok_or_else(unwritten)?,
        config: Needed {
            server: &config.servers,
            create: &config.creates,
            join: &config.joins,
            end: &config.ends,
            record: &config.record,
            policy: &config.policy,
        },
    };
    serde_json::to_string(&settings).map_err(|_| unwritten())
}

/// The same as Envoy discovers it from a file (ECDS), with the filter's file in it.
///
/// # Errors
/// As [`filter_configuration`].
pub fn filter_discovery(config: &Config, filter: &Path) -> Result<String, StartError> {
    let configuration = filter_configuration(config)?;
    let typed = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
    let filter = json!({
        "name": "unskew",
        "root_id": "unskew",
        "failure_policy": "FAIL_RELOAD",
        "allow_on_headers_stop_iteration": true,
        "configuration": { "@type": "type.googleapis.com/google.protobuf.StringValue", "value": configuration },
        "vm_config": {
            "vm_id": "unskew",
            "runtime": "envoy.wasm.runtime.v8",
            "code": { "local": { "filename": filter.display().to_string() } },
        },
    });
    let resource = json!({
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": "unskew",
        "typed_config": { "@type": typed, "config": filter },
    });
    Ok(format!("{:#}\n", json!({ "resources": [resource] })))
}

/// The first thing that is asked for and that the filter can't do.
fn objection(config: &Config) -> Option<&'static str> {
    let rules = || config.creates.iter().chain(&config.joins).chain(&config.ends);
    let elsewhere = |id: &IdEntry| id.body.is_some() || id.response_body.is_some() || id.response_header.is_some();
    let policy = &config.policy;
    let open = |key: FailureKey| key == FailureKey::Open;
    let asked = [
        (config.source.is_some(), "[source]: new rules come to it as a new configuration"),
        (!config.trust.keys.is_empty(), "trust.keys: it checks no signature; `unskew wasm` is where packs come in"),
        (config.guest.file.is_some(), "guest.file: it is the standard guest itself"),
        (config.mode != ModeKey::Enforce, "a mode: leave the filter out instead"),
        (config.explain, "explain: leave it out"),
        (config.decisions.is_some(), "[decisions]: it writes no files"),
        (config.admin.is_some(), "[admin]: it has no listener"),
        (config.store.is_some() || config.record.store.is_some(), "[store]: it asks no store"),
        (config.seal.is_some(), "[seal]: it has no keys"),
        (
            rules().filter_map(|rule| rule.id.as_ref()).any(elsewhere),
            "an id in a body or in an answer: it keeps no directory; take the id from path, query, header or cookie, or leave it out",
        ),
        (policy.server_limit > 0, "policy.server_limit: it counts no requests in flight"),
        (
            open(policy.on_load_failure) || open(policy.on_call_failure),
            "a policy that is \"open\": what can't be read is refused",
        ),
    ];
    asked.into_iter().find_map(|(asked, what)| asked.then_some(what))
}
