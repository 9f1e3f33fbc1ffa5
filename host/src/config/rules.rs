//! The configuration of rules and guests: where they come from, whose they must be, how they take over, who administers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::KeyEntry;

/// Where the pack comes from when it is no file: exactly one of these.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceEntry {
    /// An address that is asked again and again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpSourceEntry>,
    /// A key of etcd that is watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd: Option<EtcdSourceEntry>,
    /// How long the start waits for the first pack, in milliseconds, where no last good one is at hand.
    #[serde(default = "SourceEntry::default_start_ms")]
    pub start_ms: u64,
}

impl SourceEntry {
    fn default_start_ms() -> u64 {
        5000
    }
}

/// A pack at an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpSourceEntry {
    /// Where the pack is: `http://host:port/pack.toml` or `https://`, JSON where the path ends in `.json`. Its signature
    /// is asked for at the same address with `.minisig` behind it.
    pub url: String,
    /// Where a guest is that the pack runs in instead of the standard one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<String>,
    /// Milliseconds between two questions; they name the `ETag`.
    #[serde(default = "HttpSourceEntry::default_poll_ms")]
    pub poll_ms: u64,
    /// Seconds for which the server may hold its answer back until something changes (`Prefer: wait`); 0 asks for no
    /// such thing.
    #[serde(default)]
    pub wait_s: u64,
    /// The longest pack or guest.
    #[serde(default = "default_source_bytes")]
    pub max_bytes: usize,
    /// Milliseconds that a whole answer may take once it has begun.
    #[serde(default = "HttpSourceEntry::default_body_ms")]
    pub body_ms: u64,
    /// A bearer token for the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<KeyEntry>,
    /// Whose certificates are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsEntry>,
}

impl HttpSourceEntry {
    fn default_poll_ms() -> u64 {
        10_000
    }

    fn default_body_ms() -> u64 {
        60_000
    }
}

/// A pack under a key of etcd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EtcdSourceEntry {
    /// Client addresses of the cluster's members, tried in turn: `http://10.0.0.1:2379` or `https://`.
    pub endpoints: Vec<String>,
    /// The key that holds the pack; `KEY.minisig` holds its signature, `KEY.wasm` a guest, `KEY.wasm.minisig` its
    /// signature. The pack is JSON where the key ends in `.json`.
    pub key: String,
    /// A user of etcd's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The user's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<KeyEntry>,
    /// The longest pack or guest; etcd itself takes 1.5 MiB in a request.
    #[serde(default = "default_source_bytes")]
    pub max_bytes: usize,
    /// Whose certificates are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsEntry>,
}

/// TLS towards an `https://` address; files are PEM, relative to this one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsEntry {
    /// The authorities whose certificates are taken; without it those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// A certificate to show to servers that ask for one, with its `key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// The key of `certificate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

fn default_source_bytes() -> usize {
    4 << 20
}

/// Whose packs and guests are taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrustEntry {
    /// Public keys of `minisign`. With one or more, what they have not signed is refused.
    pub keys: Vec<TrustKeyEntry>,
}

/// A public key: exactly one of `key` and `file`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustKeyEntry {
    /// The second line of the `.pub` file that `minisign -G` wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The `.pub` file, relative to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Names of the packs that it signs; without it any pack, and guests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packs: Option<Vec<String>>,
}

/// The guest and what it may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GuestEntry {
    /// A component that the pack runs in instead of the standard guest, relative to this file; watched as the pack is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Whether instances are used again: `warm`, or `fresh` for guests that are not trusted to be pure.
    pub isolation: IsolationKey,
    /// CPU time of a call in microseconds, whatever its size.
    pub cpu_us: u64,
    /// CPU time of a call in microseconds for each KiB of record and carry, on top.
    pub cpu_us_per_kib: u64,
    /// CPU time of loading a pack and of its examples in milliseconds, each.
    pub load_ms: u64,
    /// Linear memory of an instance in bytes; 0 derives it from the pack's `max_bytes`.
    pub memory_bytes: usize,
    /// The most instances, which is also how many calls run at once.
    pub instances: usize,
    /// The longest artefact.
    pub max_bytes: usize,
    /// How long compiling it may take: CPU time, in a process of its own.
    pub compile_ms: u64,
    /// The memory that compiling it may take.
    pub compile_memory_bytes: u64,
    /// So many failures within a minute put a generation aside; 0 never does.
    pub quarantine_after: usize,
}

impl Default for GuestEntry {
    fn default() -> Self {
        GuestEntry {
            file: None,
            isolation: IsolationKey::Warm,
            cpu_us: 10_000,
            cpu_us_per_kib: 200,
            load_ms: 500,
            memory_bytes: 0,
            instances: 64,
            max_bytes: 4 << 20,
            compile_ms: 10_000,
            compile_memory_bytes: 512 << 20,
            quarantine_after: 20,
        }
    }
}

/// Whether instances are used again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IsolationKey {
    /// An instance serves one call after the other.
    #[default]
    Warm,
    /// Each call gets an instance of its own.
    Fresh,
}

/// How a new generation takes over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RolloutEntry {
    /// What happens to a pack that a source delivers: `at-once` makes it active when it has passed its checks, `by-hand`
    /// stages it until somebody promotes it.
    pub promote: PromoteKey,
    /// The share of sessions, in percent, that a staged generation serves: always the same sessions, by their id. The
    /// admin API changes it while it runs.
    pub canary_percent: u32,
    /// One of so many live translations is run on the staged generation as well, and compared; 0 compares none.
    pub shadow_one_of: u64,
    /// Calls that a generation must have answered, and the one before it too, until it can go back by itself.
    pub guard_calls: u64,
    /// By how much the share of its failing calls, in percent, may exceed that of the generation before.
    pub guard_failures_percent: f64,
    /// How many times as long as before its calls may take on average; 0 sets no limit.
    pub guard_latency_factor: f64,
    /// For how long after a source made a generation active it can go back by itself, in seconds.
    pub guard_s: u64,
    /// How many recent records a new generation is tried on before it serves, in memory alone; 0 keeps none.
    pub sample_records: usize,
    /// The most bytes of them.
    pub sample_bytes: usize,
    /// One of so many records that go by is kept.
    pub sample_one_of: u64,
    /// How long requests may run on a generation that was replaced, until its instances are freed, in milliseconds.
    pub drain_ms: u64,
}

impl Default for RolloutEntry {
    fn default() -> Self {
        RolloutEntry {
            promote: PromoteKey::AtOnce,
            canary_percent: 0,
            shadow_one_of: 0,
            guard_calls: 200,
            guard_failures_percent: 1.0,
            guard_latency_factor: 5.0,
            guard_s: 300,
            sample_records: 0,
            sample_bytes: 1 << 20,
            sample_one_of: 64,
            drain_ms: 60_000,
        }
    }
}

/// What happens to a pack that has passed its checks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PromoteKey {
    /// It is active at once.
    #[default]
    AtOnce,
    /// It waits for a person.
    ByHand,
}

/// The decision log: one JSON object a line, for `unskew replay` and for whoever asks later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionsEntry {
    /// The file, relative to this one; lines are appended.
    pub file: PathBuf,
    /// One of so many requests is logged.
    #[serde(default = "DecisionsEntry::default_one_of")]
    pub one_of: u64,
    /// Whether the record that came with a request is logged, with the values at `mask` replaced.
    #[serde(default)]
    pub records: bool,
    /// Places in records, as JSON Pointers with `*` for every element or member.
    #[serde(default)]
    pub mask: Vec<String>,
}

impl DecisionsEntry {
    fn default_one_of() -> u64 {
        1
    }
}

/// Traces to a collector, by OTLP over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TracingEntry {
    /// Where the collector takes traces: `http://127.0.0.1:4318/v1/traces` or `https://`.
    pub endpoint: String,
    /// Headers for the collector, by name, such as `authorization` or a vendor's own.
    #[serde(default)]
    pub headers: BTreeMap<String, KeyEntry>,
    /// Whose certificates are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsEntry>,
    /// What this gateway is called in traces (`service.name`).
    #[serde(default = "TracingEntry::default_service")]
    pub service: String,
    /// Of the traces that begin here, one of so many is exported. Those that come with a request say themselves whether
    /// they are.
    #[serde(default = "TracingEntry::default_one_of")]
    pub one_of: u64,
    /// Spans that wait for the collector at most; more are dropped and counted.
    #[serde(default = "TracingEntry::default_waiting")]
    pub waiting: usize,
    /// How often they are sent, in milliseconds.
    #[serde(default = "TracingEntry::default_every_ms")]
    pub every_ms: u64,
}

impl TracingEntry {
    fn default_service() -> String {
        "unskew".to_owned()
    }

    fn default_one_of() -> u64 {
        1
    }

    fn default_waiting() -> usize {
        8192
    }

    fn default_every_ms() -> u64 {
        1000
    }
}

/// The admin API, on a listener of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdminEntry {
    /// Where it listens; on no other address than one of this machine unless you say so here.
    #[serde(default = "AdminEntry::default_listen")]
    pub listen: String,
    /// The bearer token, at least 32 bytes.
    pub token: KeyEntry,
    /// The longest body.
    #[serde(default = "default_source_bytes")]
    pub max_bytes: usize,
}

impl AdminEntry {
    fn default_listen() -> String {
        "127.0.0.1:9180".to_string()
    }
}
