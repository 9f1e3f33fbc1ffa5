//! What the admin API says, as JSON: status, fleet, matrix.

use serde_json::{Value, json};

use crate::config::ModeKey;
use crate::gateway::shadow::Compared;
use crate::gateway::state::State;
use crate::generation::Generation;
use crate::life::Life;
use crate::limits::Mode;
use crate::moment;
use crate::trust::Statement;

/// Where everything stands.
pub(super) fn status(state: &State) -> Value {
    let status = state.runtime.status();
    let [source, keeping] = state.intake.trouble();
    let named = |id: Option<u64>| {
        let life = status.lives.iter().find(|life| Some(life.id) == id)?;
        Some(json!({"generation": life.id, "pack": life.pack, "revision": life.revision}))
    };
    let stats = state.runtime.stats();
    json!({
        "mode": mode(state.mode()),
        "canary_percent": state.intake.percent(),
        "shadow": shadow(state),
        "ready": status.active.is_some(),
        "active": named(status.active),
        "previous": named(status.previous),
        "staged": named(status.staged),
        "expired": status.expired.map(moment::written),
        "source": source,
        "last_good": keeping,
        "directory": state.sessions.status().json(),
        "generations_alive": stats.generations_alive,
        "swaps": stats.swaps,
        "refused": stats.refused,
        "rollbacks": stats.rollbacks,
        "quarantines": stats.quarantines,
        "generations": status.lives.iter().rev().map(life).collect::<Vec<_>>(),
    })
}

/// One generation, with what its signer said of it.
pub(super) fn generation(generation: &Generation) -> Value {
    let Statement { expires, rollback_from } = generation.statement();
    let manifest = generation.manifest();
    json!({
        "generation": generation.id(),
        "pack": manifest.name,
        "revision": manifest.revision,
        "digest": generation.pack().digest().to_string(),
        "guest": generation.guest().to_string(),
        "expires": expires.map(moment::written),
        "rollback_from": rollback_from,
    })
}

/// The servers with what is on its way to each.
pub(super) fn fleet(state: &State) -> Value {
    let members = state.members();
    let drained = state.drained();
    let server = |(index, server): (usize, &crate::fleet::Server)| {
        json!({
            "name": server.name,
            "address": server.address,
            "version": server.version,
            "reads": server.reads,
            "weight": server.weight,
            "healthy": members.fleet.is_healthy(index),
            "drained": drained.contains(&server.name),
            "in_flight": members.in_flight[index].load(std::sync::atomic::Ordering::Relaxed),
        })
    };
    json!({"servers": members.fleet.servers().iter().enumerate().map(server).collect::<Vec<_>>()})
}

/// Every pair of versions with its verdict.
pub(super) fn matrix(generation: &Generation) -> Value {
    let manifest = generation.manifest();
    let pairs = generation.matrix().pairs().map(|(held, server, verdict)| {
        json!({
            "record": manifest.id(held),
            "server": manifest.id(server),
            "fidelity": verdict.fidelity.as_str(),
            "reason": verdict.reason,
        })
    });
    let versions: Vec<&str> = manifest.versions.iter().map(|version| &*version.id).collect();
    json!({"pack": manifest.name, "revision": manifest.revision, "versions": versions, "pairs": pairs.collect::<Vec<_>>()})
}

/// The word of a mode, as the configuration says it.
pub(super) fn mode(mode: Mode) -> Value {
    let key = match mode {
        Mode::Off => ModeKey::Off,
        Mode::Observe => ModeKey::Observe,
        Mode::Enforce => ModeKey::Enforce,
    };
    serde_json::to_value(key).unwrap_or_default()
}

/// What the staged generation makes of live records, against the active one.
fn shadow(state: &State) -> Value {
    let Compared { generation, same, differ, refused, places } = state.shadow.read();
    match state.runtime.staged().is_some_and(|staged| staged.id() == generation) {
        true => json!({"generation": generation, "same": same, "differ": differ, "refused": refused, "places": places}),
        false => Value::Null,
    }
}

fn life(life: &Life) -> Value {
    let phases = life.phases.iter().map(|(phase, when)| json!({"phase": phase.as_str(), "at": moment::written(*when)}));
    json!({
        "generation": life.id,
        "origin": life.origin,
        "pack": life.pack,
        "revision": life.revision,
        "digest": life.digest.to_string(),
        "guest": life.guest.map(|guest| guest.to_string()),
        "phase": life.phase.as_str(),
        "reason": life.reason,
        "phases": phases.collect::<Vec<_>>(),
    })
}
