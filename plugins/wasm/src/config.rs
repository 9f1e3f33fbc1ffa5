//! The filter's configuration: what `unskew wasm` writes of unskew.toml, with its pack.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::contract::Fidelity;

/// Pack and configuration.
#[derive(Deserialize)]
pub(crate) struct Settings {
    /// As the guest reads it: its numbers keep their text.
    pub(crate) pack: Box<RawValue>,
    pub(crate) config: Config,
}

/// What the filter needs of unskew.toml; the host has checked all of it.
#[derive(Deserialize)]
pub(crate) struct Config {
    #[serde(default, rename = "server")]
    pub(crate) servers: Vec<ServerEntry>,
    #[serde(default, rename = "create")]
    pub(crate) creates: Vec<Rule>,
    #[serde(default, rename = "join")]
    pub(crate) joins: Vec<Rule>,
    #[serde(default, rename = "end")]
    pub(crate) ends: Vec<Rule>,
    #[serde(default)]
    pub(crate) record: RecordEntry,
    #[serde(default)]
    pub(crate) policy: PolicyEntry,
}

#[derive(Deserialize)]
pub(crate) struct ServerEntry {
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) address: String,
    #[serde(default)]
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) reads: Vec<String>,
    pub(crate) weight: u32,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Rule {
    #[serde(rename = "match")]
    pub(crate) pattern: String,
    #[serde(default)]
    pub(crate) id: Option<IdEntry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct IdEntry {
    pub(crate) path: Option<String>,
    pub(crate) query: Option<String>,
    pub(crate) header: Option<String>,
    pub(crate) cookie: Option<String>,
    pub(crate) body: Option<String>,
    pub(crate) response_header: Option<String>,
    pub(crate) response_body: Option<String>,
}

#[derive(Default, Deserialize)]
pub(crate) struct RecordEntry {
    pub(crate) body: Option<BodyEntry>,
    pub(crate) header: Option<PlaceEntry>,
    pub(crate) cookie: Option<PlaceEntry>,
    pub(crate) client_version: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct BodyEntry {
    pub(crate) request: Option<String>,
    pub(crate) response: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct PlaceEntry {
    pub(crate) name: String,
    pub(crate) encoding: Encoding,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Encoding {
    Json,
    Base64,
    Base64url,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct PolicyEntry {
    pub(crate) max_loss: FidelityKey,
    pub(crate) selection: SelectionKey,
    pub(crate) ramp: BTreeMap<String, u32>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FidelityKey {
    Native,
    Exact,
    #[default]
    Carried,
    Lossy,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SelectionKey {
    #[default]
    Writer,
    Latest,
    Oldest,
    Weighted,
}

impl From<FidelityKey> for Fidelity {
    fn from(key: FidelityKey) -> Fidelity {
        match key {
            FidelityKey::Native => Fidelity::Native,
            FidelityKey::Exact => Fidelity::Exact,
            FidelityKey::Carried => Fidelity::Carried,
            FidelityKey::Lossy => Fidelity::Lossy,
        }
    }
}
