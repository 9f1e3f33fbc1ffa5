//! The routes of the admin API: each reads its body, does one thing off the event loop, and says what came of it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State as Shared};
use axum::routing::{get, post, put};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Answer, documents, metrics, openapi, problem};
use crate::config::ModeKey;
use crate::error::{CallError, LoadError};
use crate::gateway::intake::Intent;
use crate::gateway::state::{Draining, Service, State};
use crate::generation::Generation;
use crate::guest::Guest;
use crate::limits::Mode;
use crate::pack::Pack;

type Gateway = Shared<Arc<State>>;

/// Why a request is not done.
struct Refusal(StatusCode, String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Push {
    #[serde(default = "pushed")]
    name: String,
    pack: Option<String>,
    signature: Option<String>,
    guest: Option<String>,
    guest_signature: Option<String>,
    #[serde(default)]
    intent: IntentKey,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum IntentKey {
    #[default]
    Activate,
    Stage,
    Force,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Why {
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DryRun {
    record: String,
    #[serde(default)]
    carry: String,
    to: String,
    #[serde(default)]
    generation: Which,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Which {
    #[default]
    Active,
    Staged,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Drain {
    drain: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Share {
    percent: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Switch {
    mode: ModeKey,
}

fn pushed() -> String {
    "pushed".to_owned()
}

/// All routes of `openapi::ROUTES`.
pub(super) fn routes(state: Arc<State>) -> Router {
    Router::new()
        .route("/livez", get(|| async { said(json!({"alive": true})) }))
        .route("/readyz", get(ready))
        .route("/metrics", get(|Shared(state): Gateway| async move { text(metrics::text(&state)) }))
        .route("/openapi.json", get(|| async { said(openapi::document()) }))
        .route("/v1/status", get(|Shared(state): Gateway| async move { said(documents::status(&state)) }))
        .route("/v1/pack", get(pack))
        .route("/v1/generations", post(push))
        .route("/v1/promote", post(promote))
        .route("/v1/rollback", post(roll_back))
        .route("/v1/discard", post(discard))
        .route("/v1/canary", put(canary))
        .route("/v1/matrix", get(matrix))
        .route("/v1/dry-run", post(dry_run))
        .route("/v1/fleet", get(|Shared(state): Gateway| async move { said(documents::fleet(&state)) }))
        .route("/v1/fleet/{server}", put(drain))
        .route("/v1/mode", put(mode))
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "there is no such route: see /openapi.json") })
        .method_not_allowed_fallback(|| async {
            problem(StatusCode::METHOD_NOT_ALLOWED, "this route takes another method: see /openapi.json")
        })
        .with_state(state)
}

async fn ready(Shared(state): Gateway) -> Answer {
    match state.runtime.generation() {
        Some(_) => said(json!({"ready": true})),
        None => problem(StatusCode::SERVICE_UNAVAILABLE, "no generation is active"),
    }
}

async fn pack(Shared(state): Gateway) -> Answer {
    answer(active(&state).map(|active| {
        let pack = active.pack();
        let mut document = documents::generation(&active);
        document["name"] = json!(pack.name());
        document["text"] = json!(pack.text());
        document["signature"] = json!(pack.signature());
        document
    }))
}

async fn push(Shared(state): Gateway, body: Bytes) -> Answer {
    let push: Push = match read(&body) {
        Ok(push) => push,
        Err(refusal) => return refused(refusal),
    };
    off_loop(move || {
        let Push { name, pack, signature, guest, guest_signature, intent } = push;
        let name = printable(&name);
        let before = state.runtime.generation().map(|active| active.id());
        let pack = match pack {
            Some(text) => Pack::from_text(&name, &text).map_err(|error| unloaded(&error))?.signed(signature),
            None => active(&state)?.pack().clone(),
        };
        let guest = guest.map(|text| {
            let wasm = STANDARD.decode(text);
            let wasm = wasm.map_err(|_| Refusal(StatusCode::BAD_REQUEST, "guest: it is no base64".to_owned()))?;
            Ok(Guest::new("guest", wasm).signed(guest_signature))
        });
        let intent = match intent {
            IntentKey::Activate => Intent::Activate,
            IntentKey::Stage => Intent::Stage,
            IntentKey::Force => Intent::Force,
        };
        let taken = state.offer(guest.transpose()?.as_ref(), &pack, intent).map_err(|error| unloaded(&error))?;
        let now = state.runtime.generation().map(|active| active.id());
        let mut document = documents::generation(&taken);
        document["active"] = json!(now == Some(taken.id()));
        document["changed"] = json!(now != before || now != Some(taken.id()));
        Ok(document)
    })
    .await
}

async fn promote(Shared(state): Gateway) -> Answer {
    off_loop(move || {
        let promoted = state.promote().map_err(|error| unloaded(&error))?;
        tracing::info!(generation = promoted.id(), "admin API: promoted");
        Ok(documents::generation(&promoted))
    })
    .await
}

async fn roll_back(Shared(state): Gateway, body: Bytes) -> Answer {
    off_loop(move || {
        let reason = why(&body, "rolled back by hand")?;
        let back = state.roll_back(&reason).map_err(|error| unloaded(&error))?;
        tracing::info!(generation = back.id(), reason, "admin API: rolled back");
        Ok(documents::generation(&back))
    })
    .await
}

async fn discard(Shared(state): Gateway, body: Bytes) -> Answer {
    off_loop(move || {
        let reason = why(&body, "discarded by hand")?;
        let id = state.discard(&reason).ok_or_else(|| unloaded(&LoadError::NoStaged))?;
        tracing::info!(generation = id, reason, "admin API: discarded");
        Ok(json!({"generation": id}))
    })
    .await
}

async fn canary(Shared(state): Gateway, body: Bytes) -> Answer {
    answer(read(&body).and_then(|Share { percent }| match percent <= 100 {
        true => {
            state.set_canary(percent);
            tracing::info!(percent, "admin API: share of the canary is set");
            Ok(json!({"percent": percent, "staged": state.runtime.staged().map(|staged| staged.id())}))
        }
        false => Err(Refusal(StatusCode::UNPROCESSABLE_ENTITY, "at most 100 percent".to_owned())),
    }))
}

async fn matrix(Shared(state): Gateway) -> Answer {
    answer(active(&state).map(|active| documents::matrix(&active)))
}

async fn dry_run(Shared(state): Gateway, body: Bytes) -> Answer {
    off_loop(move || {
        let DryRun { record, carry, to, generation } = read(&body)?;
        let generation = match generation {
            Which::Active => active(&state)?,
            Which::Staged => state.runtime.staged().ok_or_else(|| unloaded(&LoadError::NoStaged))?,
        };
        let failed = |error: CallError| Refusal(StatusCode::UNPROCESSABLE_ENTITY, error.to_string());
        let manifest = generation.manifest();
        let to = manifest.version(&to).ok_or_else(|| failed(CallError::UnknownVersion(printable(&to))))?;
        let (record, carry) = (record.as_bytes(), carry.as_bytes());
        let found = generation.detect(record).map_err(failed)?.version;
        let there = generation.translate(record, carry, found, to).map_err(failed)?;
        let changes = generation.explain(record, carry, found, to).map_err(failed)?;
        let change = |change: &crate::contract::Change| {
            json!({
                "op": change.op, "place": change.place, "before": change.before, "after": change.after,
                "effect": change.effect, "outcome": change.outcome,
            })
        };
        let verdict = generation.judge(found, to);
        Ok(json!({
            "from": manifest.id(found),
            "to": manifest.id(to),
            "fidelity": verdict.fidelity.as_str(),
            "record": String::from_utf8_lossy(&there.record),
            "carry": String::from_utf8_lossy(&there.carry),
            "carried": there.counts.carried,
            "restored": there.counts.restored,
            "lost": there.counts.lost,
            "changes": changes.iter().map(change).collect::<Vec<_>>(),
        }))
    })
    .await
}

async fn drain(Shared(state): Gateway, Path(server): Path<String>, body: Bytes) -> Answer {
    off_loop(move || {
        let Drain { drain } = read(&body)?;
        let (status, detail) = match state.drain(&server, if drain { Service::None } else { Service::AsConfigured }) {
            Draining::Done => {
                tracing::info!(server = printable(&server), drain, "admin API: server is drained or back");
                return Ok(documents::fleet(&state));
            }
            Draining::NoSuchServer => (StatusCode::NOT_FOUND, "there is no server of this name: see /v1/fleet"),
            Draining::LastOne => (StatusCode::CONFLICT, "it is the last server that takes sessions"),
        };
        Err(Refusal(status, detail.to_owned()))
    })
    .await
}

async fn mode(Shared(state): Gateway, body: Bytes) -> Answer {
    answer(read(&body).map(|Switch { mode }| {
        state.set_mode(match mode {
            ModeKey::Off => Mode::Off,
            ModeKey::Observe => Mode::Observe,
            ModeKey::Enforce => Mode::Enforce,
        });
        tracing::info!(?mode, "admin API: mode is switched");
        json!({"mode": documents::mode(state.mode())})
    }))
}

/// Runs what takes CPU time or a lock on a blocking thread.
async fn off_loop(work: impl FnOnce() -> Result<Value, Refusal> + Send + 'static) -> Answer {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => answer(done),
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "it broke: the log says more"),
    }
}

fn active(state: &State) -> Result<Arc<Generation>, Refusal> {
    state.runtime.generation().ok_or_else(|| Refusal(StatusCode::CONFLICT, "no pack is active".to_owned()))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        // Its message may hold what stands there: a place is enough.
        let what = match error.classify() {
            serde_json::error::Category::Data => "another body is wanted here: see /openapi.json",
            _ => "the body is no JSON",
        };
        let message = format!("{what} (line {}, column {})", error.line(), error.column());
        Refusal(StatusCode::BAD_REQUEST, message)
    })
}

fn why(body: &[u8], otherwise: &str) -> Result<String, Refusal> {
    let why: Why = if body.is_empty() { Why::default() } else { read(body)? };
    Ok(why.reason.map_or_else(|| otherwise.to_owned(), |reason| printable(&reason)))
}

/// What others wrote, as it may stand in a log: short, and without what steers a terminal.
fn printable(text: &str) -> String {
    text.chars()
        .filter(|char| !char.is_control() && !matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
        .take(200)
        .collect()
}

fn unloaded(error: &LoadError) -> Refusal {
    let status = match error {
        LoadError::Revision { .. }
        | LoadError::TooEarly { .. }
        | LoadError::Leap { .. }
        | LoadError::Barred { .. }
        | LoadError::NoStaged
        | LoadError::NoPrevious => StatusCode::CONFLICT,
        LoadError::Untrusted { .. } => StatusCode::FORBIDDEN,
        LoadError::Unreadable { .. }
        | LoadError::Problems { .. }
        | LoadError::Examples { .. }
        | LoadError::Sample { .. }
        | LoadError::Guest(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Refusal(status, error.to_string())
}

fn answer(done: Result<Value, Refusal>) -> Answer {
    done.map_or_else(refused, said)
}

fn refused(Refusal(status, detail): Refusal) -> Answer {
    problem(status, &detail)
}

fn said(document: Value) -> Answer {
    let mut answer = Answer::new(document.to_string().into());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn text(text: String) -> Answer {
    let mut answer = Answer::new(text.into());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    answer
}
